//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// nobody is who everything runs as where the tests run as root: some servers refuse
// to be root, and root may open any socket.
const nobody = 65534

// part is a process under test: a server, or Caddy.
type part struct {
	name string
	log  string // the file with what it printed
	// exited is closed when it has.
	exited chan struct{}
}

// startPart runs a program until the end of the test.
func startPart(t *testing.T, dir, program string, args ...string) *part {
	t.Helper()
	p := &part{name: filepath.Base(program), exited: make(chan struct{})}
	log, err := os.CreateTemp(dir, p.name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.log = log.Name()
	cmd := command(dir, program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := guard(t, cmd.Process.Pid)
	go func() {
		_ = cmd.Wait() // the tests say whether it may end
		close(p.exited)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			printed, _ := os.ReadFile(p.log)
			t.Logf("%s printed:\n%s", p.name, printed[max(0, len(printed)-4<<10):])
		}
		// SIGINT is the quick way to end each of them.
		_ = syscall.Kill(cmd.Process.Pid, syscall.SIGINT)
		select {
		case <-p.exited:
		case <-time.After(5 * time.Second):
		}
		end()
		<-p.exited
	})
	return p
}

// guard ends a part with all its children, which have a process group of their own,
// when it is told to, or when the tests break off.
func guard(t *testing.T, group int) (end func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "cat; kill -KILL -$0", strconv.Itoa(group))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tests, err := cmd.StdinPipe() // ends with whoever holds it: us
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		tests.Close()
		_ = cmd.Wait() // it fails where nobody is left to be killed
	}
}

// command is a program in dir, as nobody where we are root.
func command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "LC_ALL=C.UTF-8",
	}
	// Should the tests break off, it ends too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// program finds an installed one by any of its names, and skips the test without.
func program(t *testing.T, debianPackage string, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, pattern := range []string{"", "/usr/sbin/", "/usr/lib/postgresql/*/bin/"} {
			if pattern == "" {
				if path, err := exec.LookPath(name); err == nil {
					return path
				}
				continue
			}
			if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
				return found[len(found)-1]
			}
		}
	}
	t.Skipf("%s is not installed: apt-get install %s", names[0], debianPackage)
	return ""
}

// workDir is a directory for what the parts of a test write. Its path is short:
// a socket's may have 107 bytes.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	give(t, dir)
	return dir
}

// give makes a file the property of whom the parts run as.
func give(t *testing.T, path string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

// write makes a file that the parts own and only they may read, as a server's key
// must be.
func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	give(t, path)
	return path
}

// listening waits until the part takes connections.
func (p *part) listening(t *testing.T, network, address string) {
	t.Helper()
	p.await(t, "listens on "+address, func() bool {
		conn, err := net.Dial(network, address)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// await polls until ok, which it must be before the part ends and in good time.
func (p *part) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	await(t, p.name+" "+what, func() bool {
		select {
		case <-p.exited:
			t.Fatalf("%s has ended", p.name)
		default:
		}
		return ok()
	})
}

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	awaitWithin(t, 30*time.Second, what, ok)
}

// awaitWithin is await for what may take longer.
func awaitWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in time: %s", what)
		}
	}
}

// freeAddress is an address of loopback for one part to listen on, and for no other
// until the end of the test.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, fd := bind(t)
	// From here on who reuses addresses, as servers do, may bind to it too.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	return address
}

// deadAddress is an address of loopback on which nobody listens, nor can.
func deadAddress(t *testing.T) string {
	t.Helper()
	address, _ := bind(t)
	return address
}

// bind binds a socket until the end of the test, to a port below those that Linux
// gives to whoever connects (ip_local_port_range).
func bind(t *testing.T) (address string, fd int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		if err == nil {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), fd
		}
	}
	t.Fatal(err)
	return "", 0
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// holder takes connections and never answers: what a server under test waits for.
type holder struct {
	address string
	held    chan struct{} // one for each connection that came
}

func startHolder(t *testing.T) *holder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{address: ln.Addr().String(), held: make(chan struct{}, 64)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // at the end: they are held until then
			h.held <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-over
	})
	return h
}

// wait waits until one more connection is held.
func (h *holder) wait(t *testing.T) {
	t.Helper()
	select {
	case <-h.held:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody came to be held")
	}
}

// startNginx starts an nginx with these directives in its http block, and waits until it
// listens on address.
func startNginx(t *testing.T, dir, address, directives string) {
	t.Helper()
	nginx := program(t, "nginx", "nginx")
	config := write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
%[2]s
}
`, dir, directives))
	startPart(t, dir, nginx, "-p", dir, "-c", config, "-e", "stderr").listening(t, "tcp", address)
}

// haproxyServes is what a haproxy.cfg begins with that answers requests itself.
const haproxyServes = `
global
	maxconn 64
defaults
	mode http
	timeout client 5s
	timeout server 5s
	timeout connect 1s`
