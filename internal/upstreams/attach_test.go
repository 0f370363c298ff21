package upstreams

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

func requestWithReplacer() (*http.Request, *caddy.Replacer) {
	repl := caddy.NewReplacer()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	return r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)), repl
}

// However many of our handlers a request passes, there is one place for who listens,
// and one for the last failure.
func TestSeat(t *testing.T) {
	r, repl := requestWithReplacer()
	listens := func(want *listen.Listener) {
		t.Helper()
		if got := listenerOf(r.Context()); got != want {
			t.Errorf("%p listens, want %p", got, want)
		}
	}
	placeholder := func(name, want string) {
		t.Helper()
		if got := repl.ReplaceAll("{http.upstream_diagnostics."+name+"}", "unset"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var seat *Seat
	attach := func() *listen.Listener {
		t.Helper()
		l := listen.To(httptest.NewRecorder(), r, nil)
		taken, _ := Attach(r, l, Place{Heard: true})
		if seat != nil && taken != seat {
			t.Error("there is another seat")
		}
		seat = taken
		return l
	}

	listens(nil)
	outer := attach()
	listens(outer)
	inner := attach()
	listens(inner)
	placeholder("cause", "unset") // known, and empty
	if value, known := repl.GetString("http.upstream_diagnostics.cause"); !known || value != "" {
		t.Errorf("cause is %q, known: %v, before anything failed", value, known)
	}
	seat.Tell(&failure.Told{Failure: &failure.Failure{Cause: "dial_timeout"}})
	placeholder("cause", "dial_timeout")
	inner.Seal(nil, 0, false)
	seat.Detach(inner)
	listens(outer)
	seat.Tell(&failure.Told{Failure: &failure.Failure{Cause: "connection_refused"}})
	placeholder("cause", "connection_refused")
	placeholder("listener", "unset") // it has nothing to print
	placeholder("no_such_name", "unset")
	if _, known := repl.Get("http.upstream_diagnostics.no_such_name"); known {
		t.Error("a name that isn't ours is known")
	}
	outer.Seal(nil, 0, false)
	seat.Detach(outer)
	listens(nil)
	placeholder("cause", "connection_refused")
}

// A dial may begin after its request has gone on to the first of our handlers, which
// then adds to the Replacer without a lock. (The race detector sees it.)
func TestDialThatNobodyHears(t *testing.T) {
	r, _ := requestWithReplacer()
	failed := errors.New("refused")
	dial := hearDial(func(context.Context, string, string) (net.Conn, error) { return nil, failed }, nil)
	ctx := httptrace.WithClientTrace(r.Context(), new(httptrace.ClientTrace))
	done := make(chan error)
	go func() {
		_, err := dial(ctx, "tcp", "127.0.0.1:1")
		done <- err
	}()
	Attach(r, listen.To(httptest.NewRecorder(), r, nil), Place{Heard: true})
	if err := <-done; !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}
