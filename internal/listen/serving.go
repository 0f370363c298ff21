package listen

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Serving knows the requests that one handler is serving. Its zero value is ready.
type Serving struct {
	mu    sync.Mutex
	first *Listener
}

// Enter adds l, until Leave.
func (s *Serving) Enter(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.next = s.first
	if l.next != nil {
		l.next.previous = l
	}
	s.first = l
}

// Leave takes l out.
func (s *Serving) Leave(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.previous != nil {
		l.previous.next = l.next
	} else {
		s.first = l.next
	}
	if l.next != nil {
		l.next.previous = l.previous
	}
	l.next, l.previous = nil, nil
}

// maxNeighbours is how many requests Loops looks at that came before its own, and how
// many that came after: a request that comes back does so within the time of a dial.
// All that are being served can be ten thousand streams, and everybody who comes or
// goes waits for whoever looks.
const maxNeighbours = 250

// Loops says whether it is proven that a request goes round in a circle: the
// connection of its last attempt is the one by which another request came to this
// same handler, or it came by the connection of another one's. It is only asked once
// there is a failure, and while l is being served.
func (s *Serving) Loops(l *Listener, h *Heard) bool {
	var ours ends
	if n := len(h.Attempts); n > 0 && h.Attempts[n-1].Connection != nil {
		c := h.Attempts[n-1].Connection
		ours = ends{c.LocalAddress, c.RemoteAddress}
	}
	from, _ := netip.ParseAddrPort(l.remote)
	loops := func(other *Listener) bool {
		return ours.cameBack(other) || other.ends(from).cameBack(l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for newer, n := l.previous, 0; newer != nil && n < maxNeighbours; newer, n = newer.previous, n+1 {
		if loops(newer) {
			return true
		}
	}
	for older, n := l.next, 0; older != nil && n < maxNeighbours; older, n = older.next, n+1 {
		if loops(older) {
			return true
		}
	}
	return false
}

// ends are those of a connection that we made, "" for none.
type ends struct{ local, remote string }

// ends are those of the connection that l's attempt has, if it begins at local: their
// names are not made for each request that is looked at.
func (l *Listener) ends(local netip.AddrPort) ends {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.current
	if a == nil || a.at == 0 || a.conn.Conn == nil {
		return ends{}
	}
	addr := a.conn.Conn.LocalAddr()
	if at, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok && at.AddrPort().Port() != local.Port() {
		return ends{}
	}
	return ends{addressOf(addr), addressOf(a.conn.Conn.RemoteAddr())}
}

// cameBack says that l's request came by the connection with these ends. Both count: a
// system gives one local port to several connections that lead to different places.
func (e ends) cameBack(l *Listener) bool {
	if e.local == "" || !sameEnd(e.local, l.remote) {
		return false
	}
	listener, ok := l.ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return ok && sameEnd(e.remote, listener.String())
}

// sameEnd says whether two addresses are one connection's end: unix sockets, which
// have no names on a client's side, never are.
func sameEnd(a, b string) bool {
	if a != b {
		return false
	}
	end, err := netip.ParseAddrPort(a)
	return err == nil && end.Port() != 0
}
