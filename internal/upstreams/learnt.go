package upstreams

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// maxLearnt bounds how many upstreams something is learnt of.
const maxLearnt = 1000

// Learnt is the past of each upstream to which requests went. Its zero value is ready;
// any number of goroutines may use it.
type Learnt struct {
	count     atomic.Int64
	upstreams sync.Map // of *listen.Past, by the upstream's address
}

// Past gives what is known of an upstream, and begins to learn; nil where too many are
// known.
func (l *Learnt) Past(upstream string) *listen.Past {
	if known := l.Known(upstream); known != nil {
		return known
	}
	if upstream == "" || l.count.Load() >= maxLearnt {
		return nil
	}
	known, loaded := l.upstreams.LoadOrStore(upstream, new(listen.Past))
	if !loaded {
		l.count.Add(1)
	}
	return known.(*listen.Past)
}

// Known gives what is known of an upstream; nil for nothing.
func (l *Learnt) Known(upstream string) *listen.Past {
	if known, ok := l.upstreams.Load(upstream); ok {
		return known.(*listen.Past) //nolint:forcetypeassert // see upstreams
	}
	return nil
}

// All gives what is known, by what is spoken to an upstream and its address.
func (l *Learnt) All() map[string]*listen.Past {
	all := make(map[string]*listen.Past)
	l.upstreams.Range(func(upstream, past any) bool {
		all[upstream.(string)] = past.(*listen.Past) //nolint:forcetypeassert // see upstreams
		return true
	})
	return all
}

// Keepalive is the value of the keepalive directive to advise: below what was closed,
// with a margin, and if it can be above what worked. ok is false where there is none: one
// death alone doesn't tell a timeout from a restart, and below a second nobody is served
// by a number.
func Keepalive(past *listen.Past) (value time.Duration, ok bool) {
	worked, died, deaths := past.Idle()
	if deaths < 2 {
		return 0, false
	}
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
