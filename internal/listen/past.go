package listen

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Past is what is known of an upstream from the requests before this one, in 64
// bytes at most. Its zero value is ready; a nil one hears nothing and knows nothing. Any
// number of goroutines may use it.
type Past struct {
	// answers counts those of HTTP or FastCGI; its highest bit says that more came of one
	// than its length allows.
	answers atomic.Uint64
	// answered is when the last answer came; succeeded when the last one was over that was
	// whole and no error of a server. Both are since the process began: a clock that is set
	// changes neither.
	answered, succeeded atomic.Int64
	// worked is the longest that a connection had been idle which then served a request.
	worked atomic.Int64
	// counted is the last answer that counted as a failure (see Counted).
	counted atomic.Uint64
	// ends is when the certificate ends that it showed last, in Unix seconds; 0 for none.
	ends atomic.Uint32

	// deaths counts connections that the upstream ended while they were idle, after about
	// the same time; died is the shortest of these times, moment that of the last one that
	// counted, both in milliseconds: a moment comes again after 49 days, which harms nobody.
	mu           sync.Mutex
	deaths       int32
	died, moment uint32
}

// overran is a bit of Past.answers.
const overran = 1 << 63

// began is when the process did: what is kept for long is a time since then.
var began = time.Now()

// Answered hears that an answer came, over a connection that had been idle for so long
// before; 0 for none.
func (p *Past) Answered(idle time.Duration) {
	if p == nil {
		return
	}
	p.answers.Add(1)
	p.answered.Store(int64(time.Since(began)))
	for known := p.worked.Load(); int64(idle) > known && !p.worked.CompareAndSwap(known, int64(idle)); known = p.worked.Load() {
	}
}

const (
	// LeastIdle is the shortest idle time that an upstream may have as its own: what is
	// closed earlier was closed for another reason.
	LeastIdle = 100 * time.Millisecond
	// sameMoment is within which deaths are one event: a restart ends many at a time.
	sameMoment = time.Second
)

// IdleDied hears that the upstream ended a connection that had been idle for so long.
func (p *Past) IdleDied(idle time.Duration) {
	if p == nil || idle < LeastIdle {
		return
	}
	now, after := uint32(time.Since(began).Milliseconds()), uint32(min(idle.Milliseconds(), math.MaxUint32)) //nolint:gosec // see moment
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.deaths == 0, !alike(p.diedAfter(), idle):
		// Not after the same time as the one before: one of the two was no timeout.
		p.deaths, p.died, p.moment = 1, after, now
		return
	case now-p.moment >= uint32(sameMoment.Milliseconds()):
		p.deaths++
		p.moment = now
	}
	p.died = min(p.died, after)
}

func (p *Past) diedAfter() time.Duration { return time.Duration(p.died) * time.Millisecond }

// alike says that both are the same timeout, give or take.
func alike(a, b time.Duration) bool {
	return max(a, b)-min(a, b) <= max(max(a, b)/10, 500*time.Millisecond)
}

// Idle is what is known of how long connections may be idle: the longest that worked, and
// how many died after about the same time, the shortest of these; 0 for none.
func (p *Past) Idle() (worked, died time.Duration, deaths int) {
	if p == nil {
		return 0, 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.worked.Load()), p.diedAfter(), int(p.deaths)
}

// Counted is an answer that counted as a failure against an upstream's health.
type Counted struct {
	// Status is that of the answer, Latency how long it took to come.
	Status  int
	Latency time.Duration
	// At is when it came.
	At time.Time
}

// Counts hears that an answer counts as a failure. It is kept in 64 bits: 10 for the
// status, 22 for the latency in milliseconds, 32 for the seconds since the process began.
func (p *Past) Counts(status int, latency time.Duration) {
	if p == nil {
		return
	}
	ms, s := min(latency.Milliseconds(), 1<<22-1), min(int64(time.Since(began)/time.Second), 1<<32-1)
	p.counted.Store(uint64(min(max(status, 1), 1<<10-1))<<54 | uint64(ms)<<32 | uint64(s)) //nolint:gosec // none is negative
}

// LastCounted is the last answer that counted as a failure, nil for none.
func (p *Past) LastCounted() *Counted {
	if p == nil {
		return nil
	}
	c := p.counted.Load()
	if c == 0 {
		return nil
	}
	return &Counted{
		Status: int(c >> 54), Latency: time.Duration(c>>32&(1<<22-1)) * time.Millisecond, //nolint:gosec // see Counts
		At: began.Add(time.Duration(c&(1<<32-1)) * time.Second), //nolint:gosec // see Counts
	}
}

// Overran hears that more came of an answer than its length allows.
func (p *Past) Overran() {
	if p != nil {
		p.answers.Or(overran)
	}
}

// overruns says that this has happened before.
func (p *Past) overruns() bool { return p != nil && p.answers.Load()&overran != 0 }

// count is how many answers came.
func (p *Past) count() int64 { return int64(p.answers.Load() &^ overran) } //nolint:gosec // its highest bit is another's

// Succeeded hears that an answer was whole and no error of a server, and when it was over,
// since the process began.
func (p *Past) Succeeded(over time.Duration) {
	if p != nil {
		p.succeeded.Store(int64(over))
	}
}

// LastSuccess is when the last such answer was over; the zero time for never.
func (p *Past) LastSuccess() time.Time {
	if p == nil || p.succeeded.Load() == 0 {
		return time.Time{}
	}
	return atNow(time.Duration(p.succeeded.Load()))
}

// atNow is a time since the process began by the clock as it is now.
func atNow(since time.Duration) time.Time { return time.Now().Add(since - time.Since(began)) }

// LastAnswer is when the last answer came; the zero time for never. Where none of the ears
// hears an answer's header it is known by its end.
func (p *Past) LastAnswer() time.Time {
	if p == nil {
		return time.Time{}
	}
	if p.count() == 0 {
		return p.LastSuccess()
	}
	return atNow(time.Duration(p.answered.Load()))
}

// CertificateEnds hears when the certificate ends that the upstream has shown.
func (p *Past) CertificateEnds(at time.Time) {
	if p != nil {
		p.ends.Store(uint32(min(max(at.Unix(), 1), math.MaxUint32))) //nolint:gosec // it is in these bounds
	}
}

// CertificateEnd is when the certificate ends that it showed last; the zero time for none.
func (p *Past) CertificateEnd() time.Time {
	if p == nil || p.ends.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(int64(p.ends.Load()), 0)
}

// Copy is the past as it is now, which hears nothing of what comes.
func (p *Past) Copy() *Past {
	if p == nil {
		return nil
	}
	c := new(Past)
	c.answers.Store(p.answers.Load())
	c.answered.Store(p.answered.Load())
	c.succeeded.Store(p.succeeded.Load())
	c.worked.Store(p.worked.Load())
	c.counted.Store(p.counted.Load())
	c.ends.Store(p.ends.Load())
	p.mu.Lock()
	defer p.mu.Unlock()
	c.deaths, c.died, c.moment = p.deaths, p.died, p.moment
	return c
}

// Before is what an upstream had done before an attempt ended.
type Before struct {
	// Answers is how many answers it had given to this process, Last when the last one
	// came, since the request's start; 0 for never.
	Answers int64
	Last    time.Duration
	// Worked is the longest that a connection had been idle which then served a request;
	// 0 where none has served a second one.
	Worked time.Duration
}

// before is what is known when so much time has passed since a request began; nil where
// not even that it never answered is.
func (p *Past) before(elapsed time.Duration) *Before {
	if p == nil {
		return nil
	}
	b := &Before{Answers: p.count(), Worked: time.Duration(p.worked.Load())}
	if b.Answers > 0 {
		b.Last = elapsed - (time.Since(began) - time.Duration(p.answered.Load()))
	}
	return b
}
