package upstreams

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// seat is where the ears find a request's listener: in its Replacer, because Caddy's
// vars are not locked and dial goroutines read late. It is a provider and no static
// value: so the placeholders need not be put into the Replacer's map one by one, which
// would grow twice for them.
type seat struct {
	listener atomic.Pointer[listen.Listener]
	// failure is what the placeholders tell of; nil until something failed.
	failure atomic.Pointer[failure.Failure]
	// answered is the error that we answered in Caddy's place; nil until there is one.
	answered atomic.Pointer[error]
}

// prefix is what our placeholders begin with; seatKey gives the seat itself. errorKey is
// Caddy's for the error that came up, and begins its others for it.
const (
	prefix   = "http.upstream_diagnostics."
	seatKey  = prefix + "listener"
	errorKey = "http.error"
)

// replace is the seat's caddy.ReplacerFunc.
func (s *seat) replace(key string) (any, bool) {
	if name, ok := strings.CutPrefix(key, prefix); ok {
		if key == seatKey {
			return s, true
		}
		return s.failure.Load().Placeholder(name)
	}
	if err := s.answered.Load(); err != nil && strings.HasPrefix(key, errorKey) {
		repl := caddy.NewEmptyReplacer()
		ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, repl)
		asCaddyDoes(new(http.Request).WithContext(ctx), *err)
		return repl.Get(key)
	}
	return nil, false
}

// asCaddyDoes sets the placeholders of an error that came up.
func asCaddyDoes(r *http.Request, err error) {
	(*caddyhttp.HTTPErrorConfig)(nil).WithError(r, err)
}

// Answered lets Caddy's placeholders tell of an error that we answer in its place. Most are
// asked for none of them, so that none is set before that; but for those of an error before
// it, which would be found first.
func Answered(r *http.Request, err error) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	if _, before := repl.Get(errorKey); before {
		asCaddyDoes(r, err)
	} else if s := find(repl); s != nil {
		s.answered.Store(&err)
	}
}

// String implements fmt.Stringer for the Replacer: nothing is to be seen.
func (*seat) String() string { return "" }

// Attach puts l where the ears find it. One in front of it yields until Detach.
// Where place says that a handler may come which could not be listened to, the
// returned request carries a trace that stands in.
func Attach(r *http.Request, l *listen.Listener, place Place) *http.Request {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return r
	}
	s := find(repl)
	if s == nil {
		// Nobody reads the Replacer meanwhile, which does not lock its providers: the
		// ears wait until the first of ours has been here (hearDial).
		s = new(seat)
		repl.Map(s.replace)
	}
	if before := s.listener.Load(); before.Open() {
		l.Inside(before)
	} else if before != nil {
		l.After(before) // it ended with an error, for which there are routes
	}
	s.listener.Store(l)
	if place.Heard {
		return r
	}
	return r.WithContext(httptrace.WithClientTrace(r.Context(), l.StandIn()))
}

// Detach gives the place back to the listener in front of l, if there is one.
func Detach(r *http.Request, l *listen.Listener) {
	outer := l.Outer()
	if outer == nil {
		return
	}
	if s := seatOf(r.Context()); s != nil {
		s.listener.Store(outer)
	}
}

// Tell lets the placeholders of r, which was attached, tell of f.
func Tell(r *http.Request, f *failure.Failure) {
	if s := seatOf(r.Context()); s != nil {
		s.failure.Store(f)
	}
}

// seatOf gives the seat of the request that ctx belongs to; nil where it passed none
// of our handlers.
func seatOf(ctx context.Context) *seat {
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	return find(repl)
}

func find(repl *caddy.Replacer) *seat {
	value, _ := repl.Get(seatKey)
	s, _ := value.(*seat)
	return s
}

// listenerOf gives the listener of the request that ctx belongs to; nil if none
// listens.
func listenerOf(ctx context.Context) *listen.Listener {
	s := seatOf(ctx)
	if s == nil {
		return nil
	}
	if l := s.listener.Load(); l.Open() {
		return l
	}
	return nil
}
