package host

import (
	"io"
	"net"
	"testing"
	"time"
)

// What was written is acknowledged where the peer's kernel has it, though nobody reads.
func TestTCPInfo(t *testing.T) {
	linuxOnly(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(peer, "hi"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	var info TCPInfo
	for deadline := time.Now().Add(5 * time.Second); info.Acknowledged != 5; time.Sleep(time.Millisecond) {
		var ok bool
		if info, ok = TCPInfoOf(conn); !ok || time.Now().After(deadline) {
			t.Fatalf("%+v %v", info, ok)
		}
	}
	if info.Unacknowledged != 0 || info.Received != 2 || info.Retransmits != 0 {
		t.Errorf("%+v", info)
	}
	if info.Unsent != 0 {
		t.Errorf("nothing waits, and it says %d", info.Unsent)
	}
	// The peer reads no more: what it has no room for waits.
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, 64<<20)); err == nil {
		t.Fatal("the peer has room for 64 MiB")
	}
	if info, ok := TCPInfoOf(conn); !ok || info.Unsent == 0 {
		t.Errorf("waiting: %+v", info)
	}
	conn.Close()
	if info, ok := TCPInfoOf(conn); ok {
		t.Errorf("of a closed one: %+v", info)
	}
}
