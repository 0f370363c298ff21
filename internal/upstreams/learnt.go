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
	deaths       atomic.Int64
}

// Worked is the longest that a connection had been idle which then served a
// request; 0 where none did.
func (i *Idle) Worked() time.Duration { return time.Duration(i.worked.Load()) }

// Died is the shortest that a connection had been idle which had then been closed
// by the upstream; 0 where none was.
func (i *Idle) Died() time.Duration { return time.Duration(i.died.Load()) }

// Deaths is how often one had been closed by the upstream while it was idle.
func (i *Idle) Deaths() int64 { return i.deaths.Load() }

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
		i.deaths.Add(1)
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

// Keepalive is the value of the keepalive directive to advise: below what was closed,
// with a margin, and if it can be above what worked. ok is false where there is none: one
// death alone doesn't tell a timeout from a restart, and below a second nobody is served
// by a number.
func (i *Idle) Keepalive() (value time.Duration, ok bool) {
	if i == nil || i.Deaths() < 2 {
		return 0, false
	}
	died, worked := i.Died(), i.Worked()
	most := died - max(died/20, 500*time.Millisecond)
	value = roundDown(most)
	if whole := most.Truncate(time.Second); value <= worked && worked < whole {
		value = whole
	}
	return value, value >= time.Second
}

// roundDown gives what a person would write.
func roundDown(d time.Duration) time.Duration {
	step := time.Second
	switch {
	case d >= 5*time.Minute:
		step = time.Minute
	case d >= time.Minute:
		step = 30 * time.Second
	case d >= 5*time.Second:
		step = 5 * time.Second
	}
	return d.Truncate(step)
}
