package cause

import (
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRefusedEvidence(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who listens is told on Linux alone")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	listens := ln.Addr().(*net.TCPAddr).AddrPort()
	other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), listens.Port())
	tests := []struct {
		name    string
		refused netip.AddrPort
		want    string
	}{
		{"it listens by now", listens, "somebody listens on " + listens.String() + " now"},
		{"on another address", other, "is listened on at 127.0.0.1, not at 127.0.0.2"},
		{"on a neighbour", netip.AddrPortFrom(listens.Addr(), listens.Port()+1), "somebody listens on "},
		{"not this machine", netip.MustParseAddrPort("192.0.2.1:80"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			listeners = listenerCache{}
			got := strings.Join(refusedEvidence(test.refused), "\n")
			if !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A storm reads the list once a second.
func TestListenersAreRemembered(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who listens is told on Linux alone")
	}
	var c listenerCache
	start := time.Now()
	c.now(start)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	listens := ln.Addr().(*net.TCPAddr).AddrPort()
	if again, _ := c.now(start.Add(listenersFor - 1)); slices.Contains(again, listens) {
		t.Error("read again at once")
	}
	if later, _ := c.now(start.Add(listenersFor)); !slices.Contains(later, listens) {
		t.Error("never read again")
	}
}

func TestReadListening(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who listens is told on Linux alone")
	}
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	defer ln.Close()
	addresses, ok := listening()
	for _, address := range addresses {
		if address == ln.Addr().(*net.TCPAddr).AddrPort() {
			return
		}
	}
	t.Errorf("%v is not among %v (%v)", ln.Addr(), addresses, ok)
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
