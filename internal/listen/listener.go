// Package listen hears what one request does on both sides of a proxy, typed,
// until it is over. It judges nothing and changes nothing: what it heard becomes
// a Heard when the request's end is known.
//
// The ears that are hung inside a reverse_proxy (package upstreams) tell a
// Listener of each attempt; the client's side it hears by itself, because it is
// the http.ResponseWriter that the next handler gets, and reads the request's body.
package listen

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Listener listens to one request. Its hooks may be called by any goroutine, and
// late: what comes after Seal is not heard.
type Listener struct {
	http.ResponseWriter

	request    *http.Request
	method     string        // the client's, which a handler behind us may change
	wish       *upgradeWish  // as well; nil for none
	start      time.Duration // since the process began
	intercepts func(status int) bool

	// ctx and remote are the request's: other requests look at them, while a handler
	// behind us may change the request.
	ctx    context.Context
	remote string

	// shard is where it is in Serving, at index.
	shard *shard

	// outer listens to the same request, from further out.
	outer *Listener

	// The response is written by one goroutine, the one that seals. before is the
	// header before the next handler got it, or before an answer came that can't be
	// passed on; nil where nothing is held back.
	response Response
	writeErr error
	writing  atomic.Int64 // how long the client was waited for, in nanoseconds
	before   http.Header

	mu sync.Mutex
	// body is the request's body, nil where it has none. It is in one piece of memory with
	// its Listener.
	body *clientBody

	// selection is nil until there is something to tell of it.
	selection *Selection

	// count counts all attempts; over are those that ended, the first and the
	// last; current is the one under way or the last one.
	count   int
	over    []Attempt
	current *LiveAttempt
	// first is the memory of the first attempt: most requests have one.
	first LiveAttempt
	// elsewhere is how far the request came in attempts that are not in over.
	elsewhere Reach
	// troubled says that something is worth a diagnosis even if the request
	// ends well: an attempt failed, nobody could be selected.
	troubled bool
	// exact says that an ear in a transport has heard an attempt.
	exact bool
	// goneBefore says that the client had left before the answer began.
	goneBefore bool
	// yielded says that one inside of us has told of the request already.
	yielded bool
	// answers says that an answer which can't be passed on is held back.
	answers bool
	// sampled says that what can be compared of its answers is kept.
	sampled bool
	// sealed is changed with the lock held, and may be read without.
	sealed atomic.Bool
	index  int32
}

// To begins to listen. The Listener is the http.ResponseWriter for the next
// handler; r's body is listened to in place. An upstream's own answer with a
// status for which intercepts says true is held back; intercepts may be nil.
func To(w http.ResponseWriter, r *http.Request, intercepts func(status int) bool) *Listener {
	// A CONNECT's body is a tunnel, not a request's body.
	hasBody := r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && r.Method != http.MethodConnect
	l := new(Listener)
	if hasBody {
		with := new(struct {
			Listener
			body clientBody
		})
		l = &with.Listener
		with.body.ReadCloser, with.body.l = r.Body, l
		l.body, r.Body = &with.body, &with.body
	}
	l.ResponseWriter, l.request, l.method, l.intercepts = w, r, r.Method, intercepts
	if len(r.Header["Upgrade"]) > 0 {
		wish := wishOf(r)
		l.wish = &wish
	}
	l.start, l.ctx, l.remote = time.Since(began), r.Context(), r.RemoteAddr
	if intercepts != nil {
		l.before = w.Header().Clone()
	}
	return l
}

// An upgradeWish is what a request says of another protocol; "" for none.
type upgradeWish struct{ upgrade, connection string }

func wishOf(r *http.Request) upgradeWish {
	return upgradeWish{r.Header.Get("Upgrade"), strings.Join(r.Header.Values("Connection"), ", ")}
}

// Answers says that whoever began to listen answers for an upstream whose answer can't
// be passed on (see Unpassable): it is held back then.
func (l *Listener) Answers() { l.answers = true }

// Inside says that l listens inside of what outer listens to; outer may be nil.
func (l *Listener) Inside(outer *Listener) { l.outer = outer }

// After says that l listens to a request to which another has listened before.
func (l *Listener) After(before *Listener) { l.elsewhere = before.reach() }

// reach is how far the request came, as far as l has heard.
func (l *Listener) reach() Reach {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reachOver()
	if l.current != nil {
		current := l.current.freeze()
		r.add(&current)
	}
	return r
}

// reachOver is reach by the attempts that are over. The caller holds the lock.
func (l *Listener) reachOver() Reach {
	r := l.elsewhere
	for i := range l.over {
		r.add(&l.over[i])
	}
	return r
}

// reached tells l how far the request came, as one inside of it has heard.
func (l *Listener) reached(r Reach) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elsewhere.join(r)
}

// Outer is the listener that l listens inside of, nil for none.
func (l *Listener) Outer() *Listener { return l.outer }

// Yield says that the request has been told of: those further out need not.
func (l *Listener) Yield() {
	for outer := l.outer; outer != nil; outer = outer.outer {
		outer.yielded = true
	}
}

// Yielded says whether one inside of l has told of the request.
func (l *Listener) Yielded() bool { return l.yielded }

// Open says whether l still listens. A nil Listener doesn't.
func (l *Listener) Open() bool {
	return l != nil && !l.sealed.Load()
}

// now is the time since the request's start; never 0, which means "never".
func (l *Listener) now() time.Duration { return max(time.Since(began)-l.start, 1) }

// Selected begins an attempt: upstream, with this past, was chosen by the handler with
// these limits. The past is nil where nobody keeps it.
func (l *Listener) Selected(upstream string, past *Past, limits *failure.Limits) *LiveAttempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.begin(limits)
	a.Upstream, a.Past = upstream, past
	if l.selection != nil {
		l.selection.Limits = limits
	}
	return a
}

// NobodySelected hears that no upstream of the pool could be chosen.
func (l *Listener) NobodySelected(limits *failure.Limits, pool []Candidate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed.Load() {
		return
	}
	l.troubled = true
	s := l.selecting(limits)
	s.Rounds++
	s.At = l.now()
	s.Pool = pool
}

// selecting is the selection that the handler with these limits makes. The caller
// holds the lock.
func (l *Listener) selecting(limits *failure.Limits) *Selection {
	if l.selection == nil {
		l.selection = new(Selection)
	}
	l.selection.Limits = limits
	return l.selection
}

// LookedUp hears how the lookup of a dynamic source ended, which asks these name servers,
// none standing for the system's, or the sources within it.
func (l *Listener) LookedUp(limits *failure.Limits, source string, resolvers, within []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed.Load() {
		return
	}
	s := l.selecting(limits)
	s.Source, s.Resolvers, s.Within = source, resolvers, within
	s.LookupErr = err
	if err != nil {
		l.troubled = true
	}
}

// begin makes a new attempt of the handler with these limits the current one.
// The caller holds the lock.
func (l *Listener) begin(limits *failure.Limits) *LiveAttempt {
	l.finish(limits)
	a := &l.first
	if l.count > 0 {
		a = new(LiveAttempt)
	}
	a.l = l
	a.Limits = limits
	a.RequestBytes = -1
	a.Start = l.now()
	if l.sealed.Load() {
		return a // heard by nobody: it is not the current one
	}
	l.count++
	l.current = a
	return a
}

// finish puts the current attempt to those that are over, because the handler
// with the limits next begins another. The caller holds the lock.
func (l *Listener) finish(next *failure.Limits) {
	a := l.current
	if a == nil || l.sealed.Load() {
		return
	}
	if !a.HasAnswer() && a.Err == nil && a.FirstByte == 0 && a.Limits == next {
		// The same handler tries again, so this one failed. Its error was not heard.
		a.Err = ErrNotHeard
		l.troubled = true
	}
	if a.HasAnswer() && a.Limits == next && next != nil && next.RetriesAnswers {
		l.troubled = true // the answer was thrown away
	}
	if a.Limits != next && a.Status >= http.StatusBadRequest && a.RequestBytes > 0 {
		l.troubled = true // another is asked instead, and the request's body is used up
	}
	if a.Limits != next {
		a.succeeded(a.Status)
	}
	l.keep(a.freeze())
	l.current = nil
}

// keep keeps an attempt that is over, and drops from the middle what is too much: the
// first half and the last of failure.MaxAttempts stay. The caller holds the lock.
func (l *Listener) keep(a Attempt) {
	const half = failure.MaxAttempts / 2
	if len(l.over) == failure.MaxAttempts {
		l.elsewhere.add(&l.over[half])
		copy(l.over[half:], l.over[half+1:])
		l.over = l.over[:failure.MaxAttempts-1]
	}
	l.over = append(l.over, a)
}

// GivenUp hears that whoever asked waits no longer for the attempt under way, whose
// transport doesn't return.
func (l *Listener) GivenUp(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.current; a != nil && a.Err == nil && !a.HasAnswer() && !l.sealed.Load() {
		a.End, a.Err = l.now(), err
		l.troubled = true
	}
}

// WentWell says that nothing happened which is worth a diagnosis, after the next
// handler returned no error; the listening has ended then. It is asked for every
// request.
func (l *Listener) WentWell() bool {
	if l.response.Intercepted || l.response.Status >= http.StatusInternalServerError {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	well := !l.troubled
	if a := l.current; a != nil {
		a.hearBeyond()
		// An upgrade that Caddy refused leaves nothing written; an error that came by a
		// forward proxy may be its own.
		upgradeFailed := a.Status == http.StatusSwitchingProtocols && l.response.Status == 0
		well = well && !upgradeFailed && !(l.goneBefore && a.Protocol == ProtocolFastCGI) && !a.wanting && a.Body.Err == nil &&
			a.Body.Beyond == nil && (a.ForwardProxy == "" || a.TLS)
		status := a.Status
		if !a.Exact && status == 0 && a.Err == nil { // no ear heard its answer, which was passed on
			status = l.response.Status
		}
		if !upgradeFailed && a.Body.Beyond == nil && !a.wanting { // else see NoFailure
			a.succeeded(status)
		}
	}
	if l.response.Status == StatusClientClosedRequest {
		// Caddy's own, for a client that left, unless it is the upstream's.
		well = well && l.ctx.Err() == nil && l.current != nil && l.current.Status == StatusClientClosedRequest
	}
	if well {
		l.sealed.Store(true)
	}
	return well
}

// NoFailure hears that an answer which might have said that its upstream was asked in the
// wrong way, or is unavailable by gRPC, was found to be none of these.
func (l *Listener) NoFailure() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.current; a != nil && a.wanting && a.Err == nil && a.Body.Beyond == nil && a.Status < http.StatusInternalServerError {
		a.succeeded(a.Status)
	}
}

// Upgraded is what became of an upgraded connection.
type Upgraded struct {
	Upstream string
	// End says who ended the upstream's side of it; EndNone where that wasn't heard.
	End End
	// CloseDelay is stream_close_delay, for which one outlives its config.
	CloseDelay time.Duration
}

// Upgraded says whether the request became an upgraded connection, which is over. It is
// asked for every request.
func (l *Listener) Upgraded() (u Upgraded, ok bool) {
	if !l.response.Hijacked && l.method != http.MethodConnect {
		return u, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.current
	if a == nil || a.Status != http.StatusSwitchingProtocols || !l.response.Hijacked && l.response.Status != http.StatusOK {
		return u, false
	}
	u.Upstream = a.Upstream
	if wire, _ := wireOf(a.conn.Conn); wire != nil {
		u.End = wire.whoEnded()
	}
	if a.Limits != nil {
		u.CloseDelay = a.Limits.StreamCloseDelay
	}
	return u, true
}

// StatusClientClosedRequest is what Caddy writes for a client that left.
const StatusClientClosedRequest = 499

// Seal ends the listening and gives what was heard. The next handler returned
// err, which stands for status, or a panic goes up.
func (l *Listener) Seal(err error, status int, panicked bool) *Heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		l.current.hearBeyond()
	}
	took := l.now()
	h := &Heard{
		Start:     time.Now().Add(-took), // by the clock as it is now
		Duration:  took,
		Err:       err,
		ErrStatus: status,
		Panicked:  panicked,
		Client: Client{
			Left:     l.ctx.Err() != nil,
			WriteErr: l.writeErr,
			Gone:     l.goneBefore,

			Writing: time.Duration(l.writing.Load()),
		},
		Response:     l.response,
		AttemptCount: l.count,
	}
	if b := l.body; b != nil {
		h.Client.BodyErr, h.Client.BodyClosed = b.err, b.failedClosed
	}
	switch {
	case l.selection != nil:
		h.Selection = *l.selection
	case l.current != nil:
		h.Selection.Limits = l.current.Limits
	}
	if a := l.current; a != nil {
		if !a.Exact && !a.HasAnswer() && a.Err == nil {
			// No ear in the transport: how the request ended tells how it did.
			a.Err = err
			if status := l.response.Status; err == nil && status != 0 && status != StatusClientClosedRequest {
				a.Status, a.Answered = status, h.Duration
			}
		}
		l.keep(a.freeze())
	}
	h.Attempts = l.over
	own := l.reachOver()
	h.Elsewhere = l.elsewhere
	for outer := l.outer; outer != nil; outer = outer.outer {
		h.Elsewhere.join(outer.reach())
		outer.reached(own)
	}
	l.sealed.Store(true)
	return h
}

// clientBody is the request's body, with what became of reading it. Its zero value
// stands for one that isn't listened to.
type clientBody struct {
	io.ReadCloser
	l      *Listener
	waited waiting
	// closed says that our side has closed it, failedClosed that err came after that.
	closed       atomic.Bool
	err          error
	failedClosed bool
}

// Close implements io.Closer.
func (b *clientBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	closed := b.closed.Load()
	b.waited.begin()
	n, err := b.ReadCloser.Read(p)
	b.waited.end()
	if err == nil || err == io.EOF {
		return n, err
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.err == nil && !b.l.sealed.Load() {
		b.err, b.failedClosed = err, closed
	}
	return n, err
}

// waiting adds up how long somebody has been waited for, in nanoseconds; a wait that is
// under way counts. Its zero value is ready, and any number of goroutines may use it.
type waiting struct{ before, since atomic.Int64 }

// begin and end hear that a wait does.
func (w *waiting) begin() { w.since.Store(int64(time.Since(began))) }

func (w *waiting) end() (at time.Duration) {
	at = time.Since(began)
	w.before.Add(int64(at) - w.since.Swap(0))
	return at
}

func (w *waiting) total() time.Duration {
	total := w.before.Load()
	if since := w.since.Load(); since > 0 {
		total += int64(time.Since(began)) - since
	}
	return time.Duration(max(total, 0))
}

// breakOff ends a read that is under way. HTTP/1's body can't: closing it waits for
// the read.
func (b *clientBody) breakOff() error {
	if b == nil || b.l.request.ProtoMajor < 2 {
		return nil
	}
	return b.Close()
}
