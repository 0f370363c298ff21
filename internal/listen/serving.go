package listen

import (
	"cmp"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Serving knows the requests that one handler is serving. Its zero value is ready.
//
// Every request comes by here twice, so that they are spread by the connection over
// which they came: those of different connections hardly ever wait for each other.
type Serving struct {
	shards [servingShards]shard
}

const servingShards = 64

// shard is a part of the requests that are being served.
type shard struct {
	mu sync.Mutex
	// served are in the order in which they came; who has left has left a gap.
	served []servedRequest
	gaps   int

	// room is that of the first ones, beside the lock. No two shards share a line of a
	// processor's cache.
	room [5]servedRequest
	_    [8]byte
}

// servedRequest is one that is being served.
type servedRequest struct {
	*Listener               // nil for a gap
	came      time.Duration // since the process began; no two of a shard have the same
}

// seed is what spreads the requests over the shards.
var seed = maphash.MakeSeed()

// shardOf is where the requests are that came from that end of a connection.
func (s *Serving) shardOf(remote string) *shard {
	return &s.shards[maphash.String(seed, remote)%servingShards]
}

// Enter adds l, until Leave.
func (s *Serving) Enter(l *Listener) {
	l.shard = s.shardOf(l.remote)
	if len(l.remote) <= len("@") { // a unix socket's clients have no names: any shard will do
		l.shard = &s.shards[uint(l.start)%servingShards]
	}
	l.shard.enter(l)
}

func (s *shard) enter(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	came := l.start
	if n := len(s.served); n > 0 {
		came = max(came, s.served[n-1].came+1)
	}
	if s.served == nil {
		s.served = s.room[:0]
	}
	l.index = int32(len(s.served)) //nolint:gosec // as many requests don't fit into memory
	grows := len(s.served) == cap(s.served)
	s.served = append(s.served, servedRequest{l, came})
	if grows {
		clear(s.room[:]) // what has moved out of it is not to be kept by it
	}
}

// Leave takes l out.
func (s *Serving) Leave(l *Listener) { l.shard.leave(l) }

func (s *shard) leave(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[l.index].Listener = nil
	s.gaps++
	for n := len(s.served); n > 0 && s.served[n-1].Listener == nil; n-- {
		s.served = s.served[:n-1]
		s.gaps--
	}
	if s.gaps > len(s.served)/2 {
		s.closeGaps()
	}
}

// closeGaps is called once as many have left as it has to move. The caller holds the
// lock.
func (s *shard) closeGaps() {
	s.served = slices.DeleteFunc(s.served, func(r servedRequest) bool { return r.Listener == nil })
	s.gaps = 0
	for i, r := range s.served {
		r.index = int32(i) //nolint:gosec // as above
	}
}

func (s *shard) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.served) == 0
}

// since is where the requests begin that came at that time or later. The caller holds
// the lock.
func (s *shard) since(came time.Duration) int {
	i, _ := slices.BinarySearchFunc(s.served, came, func(r servedRequest, came time.Duration) int {
		return cmp.Compare(r.came, came)
	})
	return i
}

// maxNeighbours is how many requests Loops looks at that came before its own, and how
// many that came after: a request that comes back does so within the time of a dial.
// All that are being served can be ten thousand streams.
const maxNeighbours = 250

// sameTime is how far apart two may be that came at the same time of a coarse clock.
const sameTime = time.Microsecond

// Loops says whether it is proven that a request goes round in a circle: the
// connection of its last attempt is the one by which another request came to this
// same handler, or it came by the connection of another one's. It is only asked once
// there is a failure, and while l is being served.
func (s *Serving) Loops(l *Listener, h *Heard) bool {
	came := l.shard.came(l)
	if n := len(h.Attempts); n > 0 && h.Attempts[n-1].Connection != nil {
		c := h.Attempts[n-1].Connection
		if s.cameBack(l, came, ends{c.LocalAddress, c.RemoteAddress}) {
			return true
		}
	}
	return s.cameFromAnother(l, came)
}

func (s *shard) came(l *Listener) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[l.index].came
}

// cameBack says that a request came by our connection: it is where all are that came by
// that one. It has mostly come after l, which came at that time.
func (s *Serving) cameBack(l *Listener, came time.Duration, ours ends) bool {
	shard := s.shardOf(ours.local)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	now := shard.since(came)
	near := shard.served[max(0, now-maxNeighbours):min(len(shard.served), now+2*maxNeighbours)]
	return slices.ContainsFunc(near, func(r servedRequest) bool {
		return r.Listener != nil && r.Listener != l && ours.cameBack(r.Listener)
	})
}

// cameFromAnother says that l, which came at that time, came by the connection of
// another one's attempt. That one came before it, and may be anywhere: the latest of
// all are looked at.
func (s *Serving) cameFromAnother(l *Listener, came time.Duration) bool {
	from, err := netip.ParseAddrPort(l.remote)
	if err != nil || !ourPorts.has(from.Port()) {
		return false
	}
	left := make([]earlier, 0, servingShards) // the shards that have more
	for i := range s.shards {
		if s.shards[i].empty() { // as most are
			continue
		}
		e := earlier{shard: &s.shards[i]}
		if e.read(came + sameTime); e.n > 0 {
			left = append(left, e)
		}
	}
	before := 0
	for range 2 * maxNeighbours {
		latest := -1
		for i := range left {
			if latest < 0 || left[i].latest > left[latest].latest {
				latest = i
			}
		}
		if latest < 0 {
			return false
		}
		if left[latest].latest < came {
			before++
		}
		r := left[latest].next()
		if before > maxNeighbours {
			return false
		}
		if r != l && r.ends(from).cameBack(l) {
			return true
		}
		if left[latest].latest < 0 {
			left[latest] = left[len(left)-1]
			left = left[:len(left)-1]
		}
	}
	return false
}

// earlier are requests of one shard that came before some time, the latest first. They
// are read a few at a time, so that nobody waits long who comes or goes meanwhile.
type earlier struct {
	shard  *shard
	latest time.Duration // when the next one came; -1 if there is none
	few    [8]servedRequest
	at, n  int
}

// read reads some that came before that time.
func (e *earlier) read(before time.Duration) {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	e.at, e.n, e.latest = 0, 0, -1
	for i := e.shard.since(before) - 1; i >= 0 && e.n < len(e.few); i-- {
		if r := e.shard.served[i]; r.Listener != nil {
			e.few[e.n] = r
			e.n++
		}
	}
	if e.n > 0 {
		e.latest = e.few[0].came
	}
}

// next is the next one: there is one unless latest is -1.
func (e *earlier) next() *Listener {
	r := e.few[e.at]
	e.at++
	switch {
	case e.at < e.n:
		e.latest = e.few[e.at].came
	case e.n == len(e.few):
		e.read(r.came)
	default:
		e.latest = -1
	}
	return r.Listener
}

// ports is a set of ports, in 8 KiB. What is in it stays: it only spares looking through
// all requests for what can't be there.
type ports [1 << 16 / 64]atomic.Uint64

// ourPorts are those at which a connection of an attempt began, whose addresses have one.
var ourPorts ports

func (p *ports) add(conn net.Conn) {
	if conn == nil {
		return
	}
	addr := conn.LocalAddr()
	if _, unix := addr.(*net.UnixAddr); unix { // whose ends have no ports
		return
	}
	port := uint16(0)
	if at, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
		port = at.AddrPort().Port()
	} else if at, err := netip.ParseAddrPort(addressOf(addr)); err == nil {
		port = at.Port()
	}
	if !p.has(port) { // so that who comes after does not write where others read
		p[port/64].Or(1 << (port % 64))
	}
}

func (p *ports) has(port uint16) bool { return p[port/64].Load()>>(port%64)&1 == 1 }

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
