package cause

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// listenElsewhere has another process listen, on the loopback of IPv4 or 6.
func listenElsewhere(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestListensElsewhere$") //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), "LISTEN_ELSEWHERE="+address)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(line, "none") {
		t.Skip(line)
	}
	return netip.MustParseAddrPort(strings.TrimSpace(line))
}

// TestListensElsewhere is that other process.
func TestListensElsewhere(t *testing.T) {
	address := os.Getenv("LISTEN_ELSEWHERE")
	if address == "" {
		t.Skip("listenElsewhere starts it")
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println("none:", err)
		return
	}
	fmt.Println(ln.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = ln.Close()
}

func TestRefusedTestimony(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who listens is told on Linux alone")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours := ln.Addr().(*net.TCPAddr).AddrPort()
	theirs, six := listenElsewhere(t, "127.0.0.1:0"), listenElsewhere(t, "[::1]:0")
	at := func(addr string, port uint16) string {
		return netip.AddrPortFrom(netip.MustParseAddr(addr), port).String()
	}
	none := func(port uint16) string { return ":" + strconv.Itoa(int(port)) }
	tests := []struct {
		name             string
		dialled, address string
		want, not        string
		advice           string
		side             failure.Side
	}{
		{"it listens by now", theirs.String(), theirs.String(), "somebody listened on " + theirs.String() + " within a second of it", "", "", ""},
		{"on another address", at("127.0.0.2", theirs.Port()), at("127.0.0.2", theirs.Port()), "is listened on at 127.0.0.1, not at 127.0.0.2", "", "Write " + theirs.String() + " in reverse_proxy", failure.SideProxy},
		{"on another address, by us", at("127.0.0.2", ours.Port()), at("127.0.0.2", ours.Port()), "by this very Caddy", "", "", ""},
		{"on a neighbour", at("127.0.0.1", theirs.Port()+1), at("127.0.0.1", theirs.Port()+1), "somebody listened on " + theirs.String(), "", "", ""},
		{"we are no neighbour", at("127.0.0.1", ours.Port()+1), at("127.0.0.1", ours.Port()+1), "nobody listened on port", "somebody listened on " + ours.String(), "", ""},
		{"no host, on IPv6 alone", none(six.Port()), none(six.Port()), "is listened on at ::1, not at 127.0.0.1", "", "Write " + six.String() + " in reverse_proxy", failure.SideProxy},
		{"no host", none(theirs.Port() + 1), at("127.0.0.1", theirs.Port()+1), "' has no host: Caddy dials itself", "", "host before the port", failure.SideProxy},
		{"not this machine", "192.0.2.1:80", "192.0.2.1:80", "", "listen", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The list may be one of a second ago, from before it was listened on.
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				f := refusedTestimony(test.dialled, test.address)
				got := strings.Join(f.evidence, "\n")
				if strings.Contains(got, test.want) && (test.not == "" || !strings.Contains(got, test.not)) &&
					strings.Contains(f.advice, test.advice) && f.side == test.side {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("got %q, advice %q, side %q", got, f.advice, f.side)
				}
			}
		})
	}
}

// A file may have the path of a socket, and not be the one that somebody listens on.
func TestSocketTestimony(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who listens is told on Linux alone")
	}
	path := filepath.Join(t.TempDir(), "app.sock")
	listenAt := func() *net.UnixListener {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		return ln
	}
	ask := func(row *Row, evidence, advice string) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			f := Diagnose(to(t, path, unixSocket).ask(t))
			if f == nil || f.Cause != row.Name {
				t.Fatalf("%+v", f)
			}
			check(t, f)
			all := strings.Join(f.Evidence, "\n")
			if strings.Contains(all, evidence) && strings.Contains(f.Advice, advice) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s\n%s", all, f.Advice)
			}
		}
	}
	first := listenAt()
	defer first.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ask(SocketNotFound, "its file is gone", "PrivateTmp")
	second := listenAt() // as a second instance does, and ends
	second.Close()
	ask(ConnectionRefused, "this file is another", "mount the socket's folder")
	first.Close()
	ask(ConnectionRefused, "nobody listens on this socket", "Start the application")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ask(ConnectionRefused, "app.sock is no socket, but a regular file", "correct the path")
}

func TestSocketEvidence(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Join(folder, "not", "there.sock")} {
		got := strings.Join(socketEvidence(path), "\n")
		if !strings.Contains(got, folder+": ") || !strings.Contains(got, "mode d") {
			t.Errorf("%s: got %q", path, got)
		}
		if runtime.GOOS != "windows" && !strings.Contains(got, "Caddy runs as ") {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

// What else is in a folder tells a wrong name from an application that has not started.
func TestFolderOfASocketThatIsMissing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and sockets are others there")
	}
	folder, err := os.MkdirTemp("", "f") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	evidence := func(path string) string { return strings.Join(folderEvidence(path), "\n") }
	if got := evidence(filepath.Join(folder, "app.sock")); !strings.Contains(got, " is empty") || !strings.Contains(got, "only its owner and root") {
		t.Errorf("empty: %q", got)
	}
	if got := evidence(filepath.Join(folder, "php", "app.sock")); !strings.Contains(got, "its folder is not there: the path ends for Caddy at "+folder) {
		t.Errorf("no folder: %q", got)
	}
	if err := os.Chmod(folder, 0o777); err != nil { //nolint:gosec // everybody may make a socket there
		t.Fatal(err)
	}
	for _, name := range []string{"a.sock", "b.sock", "c.sock", "d.sock"} {
		l, err := net.Listen("unix", filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // of a test
	}
	if got := evidence(filepath.Join(folder, "app.sock")); !strings.HasSuffix(got, "has other sockets: a.sock, b.sock, c.sock, …") {
		t.Errorf("others: %q", got)
	}
}

// What Docker leads on to a container says nothing of who listens on this machine.
func TestPublishedPortIsNotJudgedHere(t *testing.T) {
	saved := publishedPort
	t.Cleanup(func() { publishedPort = saved })
	publishedPort = func(uint16) (string, bool) { return "172.17.0.2:3000", true }
	if f := droppedHere(netip.MustParseAddrPort("192.0.2.1:8080")); len(f.evidence) > 0 || f.advice != "" || f.undecided != "" {
		t.Errorf("a published port: %+v", f)
	}
}

// Nor does it say anything of a name server there.
func TestNameServerThatIsNotHere(t *testing.T) {
	saved := publishedPort
	t.Cleanup(func() { publishedPort = saved })
	publishedPort = func(port uint16) (string, bool) { return "172.17.0.2:53", port == 5353 }
	for address, want := range map[string]bool{"127.0.0.1:53": true, "127.0.0.11:53": false, "127.0.0.1:5353": false, "203.0.113.9:53": false, "": false, "one:53": false} {
		if _, got := (askedServer{address: address}).here(); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

// Where a route lets packets out, EACCES is a policy's about this process, as SELinux is one
// (RiotGamesCookbooks/nexus-cookbook#115).
func TestAPolicyForbidsAConnect(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("of Linux")
	}
	saved := confinedAs
	t.Cleanup(func() { confinedAs = saved })
	confinedAs = func() string { return "system_u:system_r:httpd_t:s0" }
	f := Diagnose(heard(nil, dialAttempt("tcp", "127.0.0.1:8081", "connect", syscall.EACCES)))
	if f == nil || f.Cause != ConnectProhibited.Name || !strings.HasPrefix(f.Summary, "A security policy of this ") || !strings.Contains(f.Advice, "httpd_can_network_connect") {
		t.Fatalf("%+v", f)
	}
	if all := strings.Join(f.Evidence, "\n"); !strings.Contains(all, "confined as system_u:system_r:httpd_t:s0") || strings.Contains(all, "which rule or route") {
		t.Errorf("%s", all)
	}
	f = Diagnose(heard(nil, dialAttempt("tcp", "127.0.0.1:8081", "connect", syscall.EPERM)))
	if f == nil || f.Cause != ConnectProhibited.Name || strings.Contains(f.Summary, "policy") {
		t.Errorf("%+v", f)
	}
}
