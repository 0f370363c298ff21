package host

import (
	"net/netip"
	"sync"
	"time"
)

// Listeners lists the TCP addresses of this machine on which somebody listens; ok is
// false where that can't be told. The list is read at most once in listenersFor: a
// storm of failures reads it as often as a single one.
func Listeners() (addresses []netip.AddrPort, ok bool) { return listeners.now(time.Now()) }

const listenersFor = time.Second

var listeners listenerCache

type listenerCache struct {
	mu        sync.Mutex
	read      time.Time
	addresses []netip.AddrPort
	ok        bool
}

func (c *listenerCache) now(now time.Time) ([]netip.AddrPort, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read.IsZero() || now.Sub(c.read) >= listenersFor {
		c.addresses, c.ok = listening()
		c.read = now
	}
	return c.addresses, c.ok
}
