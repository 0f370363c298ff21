package testcaddy

import (
	"fmt"
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

func init() { lastPort.Store(rand.Uint32N(blockSize)) }

// ours is this process's block.
var ours = sync.OnceValues(claim)

// block is a block of ports. Listening on its first one, until the process ends, is what
// keeps others away.
type block struct {
	first   int
	claimed net.Listener
}

// claim finds a block that nobody has.
func claim() (block, error) {
	var err error
	start := rand.IntN(blockCount)
	for i := range blockCount {
		b := block{first: firstPort + (start+i)%blockCount*blockSize}
		if b.claimed, err = listen(b.first); err == nil {
			return b, nil
		}
	}
	return block{}, fmt.Errorf("other processes have all ports that are for tests: %w", err)
}

// inBlock says whether it is a port of this process's block.
func inBlock(port uint16) bool {
	b, err := ours()
	return err == nil && int(port) > b.first && int(port) < b.first+blockSize
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
}

// FreePort is a port of loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	b, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	for range blockSize {
		port := b.first + 1 + int(lastPort.Add(1)%(blockSize-1))
		var ln net.Listener
		if ln, err = listen(port); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal(err)
	return 0
}
