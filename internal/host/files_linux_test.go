package host

import (
	"net"
	"os"
	"testing"
)

// Sockets are told from other files, without a descriptor to list them with.
func TestOpenFiles(t *testing.T) {
	count := func() OpenFiles {
		t.Helper()
		list, known := openFiles()
		if !known {
			t.Fatal("nothing is known of them")
		}
		return list[0]
	}
	before := count()
	for range 3 {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// The runtime may open some of its own meanwhile: those of its poller.
	if after := count(); after.Sockets != before.Sockets+3 || after.Others < before.Others+1 || after.Others > before.Others+4 {
		t.Errorf("%+v after %+v, three sockets and a file", after, before)
	}
}
