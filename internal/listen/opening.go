package listen

import (
	"net"
	"sync"
	"sync/atomic"
)

// maxOpening is how many bytes are kept of how a connection began: a refusal in
// HTTP/1.1 with its sentence is in them.
const maxOpening = 512

// Opening is a connection that remembers how it began. It is for those that serve
// many requests at a time: what came first tells what the upstream speaks.
type Opening struct {
	net.Conn

	full  atomic.Bool
	mu    sync.Mutex
	first []byte
}

// NewOpening listens to how conn begins.
func NewOpening(conn net.Conn) *Opening { return &Opening{Conn: conn} }

// Read implements net.Conn.
func (o *Opening) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if n > 0 && !o.full.Load() {
		o.mu.Lock()
		o.first = append(o.first, p[:min(n, maxOpening-len(o.first))]...)
		o.full.Store(len(o.first) == maxOpening)
		o.mu.Unlock()
	}
	return n, err
}

// bytes are those that came first.
func (o *Opening) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]byte(nil), o.first...)
}
