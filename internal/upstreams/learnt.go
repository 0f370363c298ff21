package upstreams

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

const (
	// maxLearnt bounds how many upstreams something is learnt of.
	maxLearnt = 1000
	// mostForgotten is how many make room at a time.
	mostForgotten = maxLearnt / 10
)

// Learnt is the past of each upstream to which requests went. Its zero value is ready;
// any number of goroutines may use it, and none waits.
type Learnt struct {
	count     atomic.Int64
	upstreams sync.Map // of *learnt, by the upstream's address
	// turn is how often somebody looked for what to forget: a clock that costs a request
	// nothing.
	turn atomic.Uint32
}

// learnt is what is known of an upstream, and in which turn somebody asked for it.
type learnt struct {
	past listen.Past
	seen atomic.Uint32
}

// Past gives what is known of an upstream that a request goes to, and begins to learn; nil
// where too many are known.
func (l *Learnt) Past(upstream string) *listen.Past {
	turn := l.turn.Load()
	if known, ok := l.upstreams.Load(upstream); ok {
		k := known.(*learnt)
		if k.seen.Load() != turn {
			k.seen.Store(turn)
		}
		return &k.past
	}
	if upstream == "" || l.count.Load() >= maxLearnt {
		return nil
	}
	begun := new(learnt)
	begun.seen.Store(turn)
	known, loaded := l.upstreams.LoadOrStore(upstream, begun)
	if !loaded {
		l.count.Add(1)
	}
	return &known.(*learnt).past
}

// Known gives what is known of an upstream; nil for nothing.
func (l *Learnt) Known(upstream string) *listen.Past {
	if known, ok := l.upstreams.Load(upstream); ok {
		return &known.(*learnt).past //nolint:forcetypeassert // see upstreams
	}
	return nil
}

// All gives what is known, by what is spoken to an upstream and its address.
func (l *Learnt) All() map[string]*listen.Past {
	all := make(map[string]*listen.Past)
	l.upstreams.Range(func(upstream, known any) bool {
		all[upstream.(string)] = &known.(*learnt).past //nolint:forcetypeassert // see upstreams
		return true
	})
	return all
}

// Forget makes room where no more can be learnt: those are forgotten that no request went to
// for longest. Who was asked since the turn before stays, and who is held, for a config has
// it. It is worth a call every few seconds.
func (l *Learnt) Forget(held func(*listen.Past) bool) (forgotten []*listen.Past) {
	turn := l.turn.Add(1)
	if l.count.Load() < maxLearnt {
		return nil
	}
	type candidate struct {
		upstream any
		known    *learnt
		unseen   int32 // for so many turns
	}
	var candidates []candidate
	l.upstreams.Range(func(upstream, value any) bool {
		known := value.(*learnt)
		if unseen := int32(turn - known.seen.Load()); unseen > 1 && !held(&known.past) { //nolint:gosec // both go round
			candidates = append(candidates, candidate{upstream, known, unseen})
		}
		return true
	})
	slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.unseen, a.unseen) })
	for _, c := range candidates[:min(len(candidates), mostForgotten)] {
		if l.upstreams.CompareAndDelete(c.upstream, c.known) {
			l.count.Add(-1)
			forgotten = append(forgotten, &c.known.past)
		}
	}
	return forgotten
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
