package upstreams

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// ear is a transport that tells the request's listener of each round trip. All
// that reverse_proxy asks of its transport while it runs is forwarded.
type ear struct {
	http.RoundTripper
	limits *failure.Limits
	// nearly hears what nearly goes wrong, nil for nobody.
	nearly Nearly
	// handles are what handle_response has routes for.
	handles []caddyhttp.ResponseHandler
	// copies says that they copy fields of the answer to the client's request.
	copies bool
	// protocol names what the transport speaks; "" where a TLS handshake decides.
	protocol string
	// tls is nil where no TLS is spoken.
	tls *reverseproxy.TLSConfig
	// quic transports call the connect hooks of the attempt's trace themselves.
	quic bool
	// wholeTrace says that the dialer is not listened to, so the net hooks go
	// along with the attempt.
	wholeTrace bool
	// byScheme says that requests come here by earScheme, which must be taken
	// off before they go on.
	byScheme bool
}

// RoundTrip implements http.RoundTripper.
func (e *ear) RoundTrip(r *http.Request) (*http.Response, error) {
	if e.byScheme {
		r = withoutScheme(r)
	}
	l := listenerOf(r.Context())
	if l == nil {
		return e.RoundTripper.RoundTrip(r)
	}
	info, _ := reverseproxy.GetDialInfo(r.Context())
	trip := listen.Trip{
		Network: info.Network, Address: info.Address, Protocol: e.protocol, Request: r,
		TLS: e.tls != nil && !slices.Contains(e.tls.ExceptPorts, info.Port),
	}
	if !e.wholeTrace {
		// reverse_proxy makes r and its trace afresh for each attempt.
		trip.Trace = httptrace.ContextClientTrace(r.Context())
	}
	a := l.RoundTrip(e.limits, trip)
	switch {
	case trip.Trace == nil:
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), a.Trace()))
	case e.quic:
		a.HearDial(trip.Trace)
	}
	r.Body = a.RequestBody(r.Body)
	res, err := e.RoundTripper.RoundTrip(r)
	if err != nil || res.StatusCode >= http.StatusBadRequest {
		if chosen, fromEnvironment := forwardProxy(r); chosen != nil {
			a.Through(chosen.Scheme+"://"+chosen.Host, fromEnvironment, chosen.User != nil) // without its credentials
		}
	}
	if near := a.Ended(res, err, isDialError(err)); near != nil && e.nearly != nil {
		e.hearNear(near, r)
	}
	if err == nil && e.handled(res) {
		a.Handled()
		if e.copies {
			a.KeepCopied(res.Header)
		}
	}
	return res, err
}

// forwardProxyVar is where Caddy's transport leaves the forward proxy that it chose for a
// request (reverseproxy/httptransport.go, proxyVarKey).
const forwardProxyVar = "reverse_proxy.proxy"

// forwardProxy is the one that r went by; nil for none.
func forwardProxy(r *http.Request) (chosen *url.URL, fromEnvironment bool) {
	chosen, ok := caddyhttp.GetVar(r.Context(), forwardProxyVar).(*url.URL)
	if !ok || chosen == nil {
		return nil, false
	}
	byEnvironment, err := http.ProxyFromEnvironment(r)
	return chosen, err == nil && byEnvironment != nil && *byEnvironment == *chosen
}

func isDialError(err error) bool {
	if err == nil {
		return false
	}
	_, ok := errors.AsType[reverseproxy.DialError](err)
	return ok
}

// handled says whether handle_response takes an answer: the first that matches does,
// and with a status alone it only replaces that (reverseproxy/reverseproxy.go).
func (e *ear) handled(res *http.Response) bool {
	for _, handler := range e.handles {
		if handler.Match == nil || handler.Match.Match(res.StatusCode, res.Header) {
			return handler.StatusCode == ""
		}
	}
	return false
}

// withoutScheme copies r with no scheme, so that the transport sets its own.
func withoutScheme(r *http.Request) *http.Request {
	c := *r
	u := *r.URL
	u.Scheme = ""
	c.URL = &u
	return &c
}

// ProxyProtocolEnabled implements reverseproxy.ProxyProtocolTransport.
func (e *ear) ProxyProtocolEnabled() bool {
	t, ok := e.RoundTripper.(reverseproxy.ProxyProtocolTransport)
	return ok && t.ProxyProtocolEnabled()
}

// RequiresContentLength implements reverseproxy.ContentLengthRequiredTransport.
func (e *ear) RequiresContentLength() bool {
	t, ok := e.RoundTripper.(reverseproxy.ContentLengthRequiredTransport)
	return ok && t.RequiresContentLength()
}

// OverrideHealthCheckScheme implements reverseproxy.HealthCheckSchemeOverriderTransport.
func (e *ear) OverrideHealthCheckScheme(base *url.URL, port string) {
	if t, ok := e.RoundTripper.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		t.OverrideHealthCheckScheme(base, port)
	}
}

// Unwrap gives the transport that is listened to.
func (e *ear) Unwrap() http.RoundTripper { return e.RoundTripper }

// dialFunc is the type of http.Transport's DialContext and DialTLSContext.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// hearFunc listens to a connection, which leads to the upstream with this past.
type hearFunc func(conn net.Conn, past *listen.Past) net.Conn

// hearDialer listens to a transport's dialer, and by way of hear to what goes over its
// connections. DialTLSContext calls Caddy's own dialer, not the field, so
// it is listened to as well; the transport must see its connections as they are.
func hearDialer(t *http.Transport, hear hearFunc) {
	t.DialContext = hearDial(t.DialContext, hear)
	if t.DialTLSContext != nil {
		t.DialTLSContext = hearDial(t.DialTLSContext, nil)
	}
}

func hearDial(dial dialFunc, hear hearFunc) dialFunc {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var a *listen.LiveAttempt
		if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotFirstResponseByte != nil {
			// Some attempt's own hooks are on it. Without, nobody listened when the
			// round trip began, and one of our handlers that comes only now may just
			// be adding to the Replacer.
			if l := listenerOf(ctx); l != nil {
				a, ctx = l.Dial(ctx)
			}
		}
		conn, err := dial(ctx, network, address)
		if a != nil {
			a.Dialed(err)
		}
		if err == nil && hear != nil {
			var past *listen.Past
			if a != nil {
				past = a.PastOfUpstream()
			}
			conn = hear(conn, past)
			if a != nil {
				a.Wired(conn)
			}
		}
		return conn, err
	}
}

// Interface guards
var (
	_ http.RoundTripper                                = (*ear)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*ear)(nil)
	_ reverseproxy.ContentLengthRequiredTransport      = (*ear)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*ear)(nil)
)
