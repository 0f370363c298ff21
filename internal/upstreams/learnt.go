package upstreams

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxLearnt bounds how many upstreams something is learnt of.
const maxLearnt = 1000

// Learnt is what was learnt of each upstream while requests went to it. Its zero
// value is ready; any number of goroutines may use it.
type Learnt struct {
	count     atomic.Int64
	upstreams sync.Map // of *Idle, by the upstream's address
}

// Idle is how long connections to an upstream may be idle.
type Idle struct {
	worked, died atomic.Int64 // time.Duration; 0 for never
}

// Worked is the longest that a connection had been idle which then served a
// request; 0 where none did.
func (i *Idle) Worked() time.Duration { return time.Duration(i.worked.Load()) }

// Died is the shortest that a connection had been idle which had then been closed
// by the upstream; 0 where none was.
func (i *Idle) Died() time.Duration { return time.Duration(i.died.Load()) }

// Idle gives what is known of an upstream, nil for nothing.
func (l *Learnt) Idle(upstream string) *Idle {
	known, ok := l.upstreams.Load(upstream)
	if !ok {
		return nil
	}
	return known.(*Idle)
}

// IdleWorked learns that a connection served a request after it had been idle. It
// is asked on every request that reuses one.
func (l *Learnt) IdleWorked(upstream string, idle time.Duration) {
	if i := l.of(upstream); i != nil {
		for known := i.worked.Load(); int64(idle) > known && !i.worked.CompareAndSwap(known, int64(idle)); known = i.worked.Load() {
		}
	}
}

// IdleDied learns that a connection had been closed after it had been idle.
func (l *Learnt) IdleDied(upstream string, idle time.Duration) {
	if i := l.of(upstream); i != nil {
		for known := i.died.Load(); (known == 0 || int64(idle) < known) && !i.died.CompareAndSwap(known, int64(idle)); known = i.died.Load() {
		}
	}
}

// of gives what is known of an upstream, and begins to learn; nil where too many
// are known.
func (l *Learnt) of(upstream string) *Idle {
	if known, ok := l.upstreams.Load(upstream); ok {
		return known.(*Idle)
	}
	if upstream == "" || l.count.Load() >= maxLearnt {
		return nil
	}
	known, loaded := l.upstreams.LoadOrStore(upstream, new(Idle))
	if !loaded {
		l.count.Add(1)
	}
	return known.(*Idle)
}

// Keepalive is the value of the keepalive directive to advise: below what was
// closed, and if it can be above what worked. ok is false where nothing was closed.
func (i *Idle) Keepalive() (value time.Duration, ok bool) {
	if i == nil || i.Died() == 0 {
		return 0, false
	}
	// Halfway between the two, where what worked is the shorter one; else well
	// below, for it is the shortest that died which an upstream guarantees.
	low := i.Worked()
	if low >= i.Died() {
		low = 0
	}
	value = (low + i.Died()) / 2
	for _, unit := range []time.Duration{time.Minute, time.Second, 100 * time.Millisecond, time.Millisecond} {
		if rounded := value.Truncate(unit); rounded > low {
			return rounded, true
		}
	}
	return max(value, time.Millisecond), true
}
