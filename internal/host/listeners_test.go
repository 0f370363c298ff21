package host

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"
)

func linuxOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells this")
	}
}

// A storm reads the list once a second.
func TestListenersAreKept(t *testing.T) {
	linuxOnly(t)
	k := kept[Listener]{read: listening}
	start := time.Now()
	k.now(start)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	is := func(l Listener) bool { return l.Address == ln.Addr().(*net.TCPAddr).AddrPort() }
	if again, _ := k.now(start.Add(keptFor - 1)); slices.ContainsFunc(again, is) {
		t.Error("read again at once")
	}
	if later, _ := k.now(start.Add(keptFor)); !slices.ContainsFunc(later, is) {
		t.Error("never read again")
	}
}

func TestListeners(t *testing.T) {
	linuxOnly(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("left out: %v", err) // no IPv6 here
			continue
		}
		defer ln.Close()
		find := func() Listener {
			list, known := ListenersNow()
			i := slices.IndexFunc(list, func(l Listener) bool { return l.Address == ln.Addr().(*net.TCPAddr).AddrPort() })
			if !known || i < 0 {
				t.Fatalf("%s is not among %v (%v)", ln.Addr(), list, known)
			}
			return list[i]
		}
		ownSockets.at = time.Time{} // as if a second had passed
		if l := find(); l.Waiting != 0 || l.Full() || !l.Ours() {
			t.Errorf("%+v, ours: %v", l, l.Ours())
		}
		if l := find(); l.Backlog < 1 {
			t.Errorf("it is not told how many may wait: %+v", l)
		}
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if l := find(); l.Waiting != 1 {
			t.Errorf("with one that waits: %+v", l)
		}
	}
}

func TestServes(t *testing.T) {
	for _, test := range []struct {
		listening, dialled string
		want               bool
	}{
		{"127.0.0.1:1", "127.0.0.1", true},
		{"127.0.0.1:1", "127.0.0.2", false},
		{"0.0.0.0:1", "127.0.0.2", true},
		{"0.0.0.0:1", "::1", false},
		{"[::]:1", "::1", true},
		{"[::]:1", "127.0.0.1", true},
		{"[::1]:1", "127.0.0.1", false},
	} {
		l := Listener{Address: netip.MustParseAddrPort(test.listening)}
		if got := l.Serves(netip.MustParseAddr(test.dialled)); got != test.want {
			t.Errorf("%s at %s: %v", test.listening, test.dialled, got)
		}
	}
}

func TestSocketListened(t *testing.T) {
	linuxOnly(t)
	path := t.TempDir() + "/a.sock"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	unixSockets.at = time.Time{}
	if listened, known := SocketListened(path); !listened || !known {
		t.Errorf("while it is listened on: %v %v", listened, known)
	}
	ln.Close()
	unixSockets.at = time.Time{} // as if a second had passed
	if listened, known := SocketListened(path); listened || !known {
		t.Errorf("when it is no more: %v %v", listened, known)
	}
}
