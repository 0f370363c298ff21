package host

import (
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

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
