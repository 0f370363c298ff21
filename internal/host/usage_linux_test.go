package host

import (
	"net"
	"os"
	"testing"
)

// The number of open files grows with them.
func TestFiles(t *testing.T) {
	before, known := Files()
	if !known || before.Used <= 0 || uint64(before.Limit) > OpenFilesLimit() {
		t.Fatalf("%+v %t", before, known)
	}
	for range 20 {
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	if after, _ := Files(); after.Used < before.Used+20 || after.Used > before.Used+30 { // the runtime opens some of its own
		t.Errorf("%d open after %d, and 20 more", after.Used, before.Used)
	}
}

// The address to which most connections go is found, those that wait after their end
// included, and none of who came to us.
func TestPortsTo(t *testing.T) {
	first, last, ok := localPortRange()
	if !ok {
		t.Fatal("the range of ports isn't known")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const connections = 40
	highest := 0
	for n := range connections {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		defer conn.Close()
		highest = max(highest, conn.LocalAddr().(*net.TCPAddr).Port)
		if n%2 == 0 {
			conn.Close()
		}
	}
	address := ln.Addr().(*net.TCPAddr).AddrPort()
	counts, known := portsHeld(first, last)
	if !known {
		t.Skip("the socket diagnosis is not to be had here")
	}
	if counts[address] != connections {
		t.Errorf("%d to %s, want %d", counts[address], address, connections)
	}
	if counts, _ := portsHeld(highest+1, last); counts[address] != 0 {
		t.Errorf("of other ports: %d", counts[address])
	}
	// Others on this machine may have more.
	if u, to, known := portsTo(first, last); !known || u.Used < connections || u.Limit != last-first+1 || !to.IsValid() {
		t.Errorf("%+v to %s", u, to)
	}
	if _, _, known := LocalPorts(100); known {
		t.Error("they can't all be in use")
	}
	if u := (Usage{Used: 8, Limit: 10}); !u.NearOf(80) || u.NearOf(81) || (Usage{}).NearOf(0) {
		t.Error("what is near")
	}
}
