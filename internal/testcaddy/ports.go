package testcaddy

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// Ports for tests lie below those that systems give to whoever connects (32768 and
// more on Linux, 49152 on others), and are given one after the other: a port where
// nobody listens stays so, though Caddy shares one that is listened on twice. Packages
// are tested at the same time, so each process has a block of ports to itself.
const firstPort, blockCount, blockSize = 21000, 11, 1000

var lastPort atomic.Uint32

// claim finds a block that no other process has. Listening on its first port, until the
// process ends, is what keeps others away.
var claim = sync.OnceValues(func() (first int, err error) {
	start := rand.IntN(blockCount)
	for i := range blockCount {
		first = firstPort + (start+i)%blockCount*blockSize
		if claimed, err = listen(first); err == nil {
			return first, nil
		}
	}
	return 0, errors.New("other processes have all ports that are for tests: " + err.Error())
})

var claimed net.Listener // so that it is not collected

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
}

// FreePort is a port of loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	first, err := claim()
	if err != nil {
		t.Fatal(err)
	}
	for range blockSize {
		port := first + 1 + int(lastPort.Add(1)%(blockSize-1))
		var ln net.Listener
		if ln, err = listen(port); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal(err)
	return 0
}
