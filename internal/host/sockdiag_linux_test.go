package host

import (
	"net"
	"slices"
	"testing"
)

// Where the kernel's socket diagnosis is not to be had, its table says the same, but for
// how many may wait.
func TestTabledListeners(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("left out: %v", err) // no IPv6 here
			continue
		}
		defer ln.Close()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
		find := func(read func() ([]Listener, bool)) Listener {
			list, known := read()
			i := slices.IndexFunc(list, func(l Listener) bool { return l.Address.Port() == port })
			if !known || i < 0 {
				t.Fatalf("%s is not among %v (%v)", ln.Addr(), list, known)
			}
			return list[i]
		}
		diagnosed, tabled := find(diagnosedListeners), find(tabledListeners)
		if tabled.Backlog != -1 || tabled.Full() {
			t.Errorf("the table has no backlog: %+v", tabled)
		}
		tabled.Backlog = diagnosed.Backlog
		if tabled != diagnosed || diagnosed.Waiting != 1 {
			t.Errorf("the table has %+v, the diagnosis %+v", tabled, diagnosed)
		}
	}
}

func TestBoundUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	is := func(l Listener) bool { return l.Address == conn.LocalAddr().(*net.UDPAddr).AddrPort() }
	if list, known := BoundUDP(); !known || !slices.ContainsFunc(list, is) {
		t.Errorf("%s is not among %v (%v)", conn.LocalAddr(), list, known)
	}
	conn.Close()
	if list, known := BoundUDP(); !known || slices.ContainsFunc(list, is) {
		t.Errorf("%s is still among %v (%v)", conn.LocalAddr(), list, known)
	}
}

// BenchmarkListening is what a failure costs that asks who listens here.
func BenchmarkListening(b *testing.B) {
	for b.Loop() {
		listening()
	}
}
