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

// Seat is where the ears find a request's listener: in its Replacer, because Caddy's
// vars are not locked and dial goroutines read late. It is a provider and no static
// value: so the placeholders need not be put into the Replacer's map one by one, which
// would grow twice for them. That of a request without a Replacer is nil, and does nothing.
type Seat struct {
	repl     *caddy.Replacer
	listener atomic.Pointer[listen.Listener]
	// told is what the placeholders tell of; nil until something failed.
	told atomic.Pointer[failure.Told]
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
func (s *Seat) replace(key string) (any, bool) {
	if name, ok := strings.CutPrefix(key, prefix); ok {
		if key == seatKey {
			return s, true
		}
		return s.told.Load().Placeholder(name)
	}
	if err := s.answered.Load(); err != nil && strings.HasPrefix(key, errorKey) {
		repl := caddy.NewEmptyReplacer()
		setError(repl, *err)
		return repl.Get(key)
	}
	return nil, false
}

// setError sets the placeholders of an error that came up, as Caddy does.
func setError(repl *caddy.Replacer, err error) {
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, repl)
	(*caddyhttp.HTTPErrorConfig)(nil).WithError(new(http.Request).WithContext(ctx), err)
}

// String implements fmt.Stringer for the Replacer: nothing is to be seen.
func (*Seat) String() string { return "" }

// Attach puts l where the ears find it. One in front of it yields until Detach.
// Where place says that a handler may come which could not be listened to, the
// returned request carries a trace that stands in.
func Attach(r *http.Request, l *listen.Listener, place Place) (*Seat, *http.Request) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil, r
	}
	s := find(repl)
	if s == nil {
		// Nobody reads the Replacer meanwhile, which does not lock its providers: the
		// ears wait until the first of ours has been here (hearDial).
		s = &Seat{repl: repl}
		repl.Map(s.replace)
	}
	if before := s.listener.Load(); before.Open() {
		l.Inside(before)
	} else if before != nil {
		l.After(before) // it ended with an error, for which there are routes
	}
	s.listener.Store(l)
	if place.Heard {
		return s, r
	}
	return s, r.WithContext(httptrace.WithClientTrace(r.Context(), l.StandIn()))
}

// Detach gives the place back to the listener in front of l, if there is one.
func (s *Seat) Detach(l *listen.Listener) {
	if outer := l.Outer(); outer != nil && s != nil {
		s.listener.Store(outer)
	}
}

// Tell lets our placeholders tell of f.
func (s *Seat) Tell(told *failure.Told) {
	if s != nil {
		s.told.Store(told)
	}
}

// Answered lets Caddy's placeholders tell of an error that we answer in its place. Most are
// asked for none of them, so that none is set before that; but for those of an error before
// it, which would be found first.
func (s *Seat) Answered(err error) {
	if s == nil {
		return
	}
	if _, before := s.repl.Get(errorKey); before {
		setError(s.repl, err)
	} else {
		s.answered.Store(&err)
	}
}

func find(repl *caddy.Replacer) *Seat {
	value, _ := repl.Get(seatKey)
	s, _ := value.(*Seat)
	return s
}

// listenerOf gives the listener of the request that ctx belongs to; nil if none
// listens.
func listenerOf(ctx context.Context) *listen.Listener {
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	s := find(repl)
	if s == nil {
		return nil
	}
	if l := s.listener.Load(); l.Open() {
		return l
	}
	return nil
}
