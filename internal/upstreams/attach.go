package upstreams

import (
	"context"
	"net/http"
	"net/http/httptrace"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// listenerKey is where the ears find the request's listener: in its Replacer,
// which is locked. Caddy's vars are not, and dial goroutines read them late.
const listenerKey = "http.upstream_diagnostics.listener"

// held keeps a listener out of what a placeholder can print.
type held struct{ *listen.Listener }

// String implements fmt.Stringer for the Replacer: nothing is to be seen.
func (held) String() string { return "" }

// Attach puts l where the ears find it. One in front of it yields until Detach.
// Where place says that a handler may come which could not be listened to, the
// returned request carries a trace that stands in.
func Attach(r *http.Request, l *listen.Listener, place Place) *http.Request {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return r
	}
	if before := find(repl); before.Open() {
		l.Inside(before)
	}
	repl.Set(listenerKey, held{l})
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
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(listenerKey, held{outer})
	}
}

func find(repl *caddy.Replacer) *listen.Listener {
	value, _ := repl.Get(listenerKey)
	h, _ := value.(held)
	return h.Listener
}

// listenerOf gives the listener of the request that ctx belongs to; nil if none
// listens.
func listenerOf(ctx context.Context) *listen.Listener {
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	if l := find(repl); l.Open() {
		return l
	}
	return nil
}
