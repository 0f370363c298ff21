// Package upstreams is all that knows Caddy's reverse_proxy: it finds the
// handlers of a config, hangs the ears on them, and reads their limits.
package upstreams

import (
	"cmp"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Place is where in a config one of our handlers stands.
type Place struct {
	// Site is the first host of the outermost host matcher on the way to the
	// handler; without one, the server's name.
	Site string
	// Heard says that ears hang in every reverse_proxy that may come after the
	// handler. It is false as well where nobody walked the config.
	Heard bool
	// Copies are the request fields that are copied from upstreams' answers in the
	// server; nil where nobody walked the config.
	Copies *Copies
	// Expands says that a request may be led by a placeholder somewhere in the server: an
	// upstream's address, a dynamic source's name or tls_server_name has one.
	Expands bool
	// Fit says whether there is anything to hear.
	Fit Fit
}

// Placed is one of our handlers, which is told its place.
type Placed interface{ Placed(Place) }

// Last is one of our handlers that asks nothing behind it.
type Last interface {
	// Hides hears that no request of this site comes to the reverse_proxy behind it, for
	// want of a matcher.
	Hides(site string)
}

// Hang walks the http app and hangs the ears on each reverse_proxy in it, and
// tells each of our handlers its place. It must be called after the app was
// provisioned and before it is started: a server that listens already is left alone. What
// it returns first repeats the active health checks, once somebody runs it; the second
// knows the upstreams of the config. What nearly goes wrong is told to nearly, by the
// goroutines of requests, which must not block; nil hears nothing.
func Hang(app *caddyhttp.App, learnt *Learnt, nearly Nearly) (checks *Checks, board *Board) {
	checks, board = newChecks(), &Board{loaded: failure.At(time.Now()).Time}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		if len(server.Listeners()) > 0 {
			continue
		}
		var found []*selection
		var ways []way
		w := newWalk(func(h *reverseproxy.Handler, y way) {
			if s := hangOn(h, server, learnt, checks, nearly); s != nil {
				s.server, s.host = server, cmp.Or(s.host, y.site)
				found, ways = append(found, s), append(ways, y)
			}
		})
		w.walk(server)
		w.tell(name)
		for i, s := range found {
			board.add(s, name, ways[i].sites())
		}
	}
	return checks, board
}

// SiteOf is the site of one of our handlers in a server that was not walked: it
// reads the server's routes and changes nothing.
func SiteOf(server *caddyhttp.Server, handler Placed) string {
	w := newWalk(func(*reverseproxy.Handler, way) {})
	w.walk(server)
	for _, m := range w.ours {
		if m.handler == handler && m.way.site != "" {
			return m.way.site
		}
	}
	return server.Name()
}

// SiteInProvision is the site whose handlers a server is loading; the server's name
// where that can't be told. Routes are loaded one after the other: it is the first
// route that has its handlers as JSON still.
func SiteInProvision(server *caddyhttp.Server) string {
	for i := range server.Routes {
		if route := &server.Routes[i]; len(route.Handlers) == 0 && len(route.HandlersRaw) > 0 {
			return cmp.Or(hostOf(route.MatcherSets), server.Name())
		}
	}
	return server.Name()
}

// walk is one server's.
type walk struct {
	// hang is done with each reverse_proxy, to which y leads.
	hang func(h *reverseproxy.Handler, y way)
	// ours are our handlers in the order in which they were met, each with how
	// many unknown handlers had been met before it.
	ours []met
	// unknown counts the handlers that may hold a reverse_proxy which the walk
	// can't see.
	unknown int
	// hiding are those that hide a reverse_proxy.
	hiding []hiding
	// copies are what the reverse_proxy handlers copy to requests.
	copies Copies
	// writers are the handlers that write variables and placeholders.
	writers []Writer
	// expands is Place's.
	expands bool
	// invokes says that a named route is invoked somewhere: what it holds may
	// come after any of ours.
	invokes bool
	// invoked are the ways to each named route; named says that one of them leads
	// through a named route, which the walk is in while inNamed.
	invoked        map[string][]way
	named, inNamed bool
}

func newWalk(hang func(*reverseproxy.Handler, way)) *walk {
	return &walk{hang: hang, invoked: make(map[string][]way)}
}

type hiding struct {
	last Last
	site string
}

type met struct {
	handler Placed
	way     way
	unknown int
}

func (w *walk) walk(server *caddyhttp.Server) {
	nothing := way{front: func() bool { return false }, behind: noReach, hidden: noReach, sites: func() []string { return nil }}
	w.routes(server.Routes, nothing)
	if server.Errors != nil {
		w.routes(server.Errors.Routes, nothing)
	}
	w.inNamed = true
	for name, route := range server.NamedRoutes {
		if route != nil {
			w.routes(caddyhttp.RouteList{*route}, w.invocations(name))
		}
	}
}

// invocations are the ways to a named route, and what comes after it there. Where a
// handler that isn't known may invoke it, or a named route, that is anybody's guess.
func (w *walk) invocations(name string) way {
	return way{
		hidden: noReach,
		front: func() bool { // a named route may invoke itself
			return !w.named && slices.ContainsFunc(w.invoked[name], func(y way) bool { return y.front() })
		},
		behind: func() (behind reach) {
			if w.unknown > 0 || w.named {
				return reach{proxy: true, alone: true}
			}
			for _, y := range w.invoked[name] {
				behind = behind.or(y.behind())
			}
			return behind
		},
		sites: func() (sites []string) {
			if w.named { // as above
				return nil
			}
			for _, y := range w.invoked[name] {
				sites = append(sites, y.sites()...)
			}
			return sites
		},
	}
}

// tell tells each of our handlers its place.
func (w *walk) tell(server string) {
	for _, m := range w.ours {
		heard := m.unknown == w.unknown
		if w.invokes && w.unknown > 0 {
			heard = false
		}
		m.handler.Placed(Place{Site: cmp.Or(m.way.site, server), Heard: heard, Copies: &w.copies, Expands: w.expands, Fit: m.way.fit()})
	}
	for _, h := range w.hiding {
		h.last.Hides(cmp.Or(h.site, server))
	}
}

func (w *walk) routes(routes caddyhttp.RouteList, y way) {
	for i := range routes {
		through := y.through(routes, i)
		for j, handler := range routes[i].Handlers {
			w.handler(handler, through.to(routes[i].Handlers, j))
		}
		if len(routes[i].Handlers) == 0 {
			w.unloaded(routes[i].HandlersRaw)
		}
	}
}

func (w *walk) handler(handler any, y way) {
	switch h := handler.(type) {
	case Placed:
		w.ours = append(w.ours, met{h, y, w.unknown})
	case *reverseproxy.Handler:
		w.expands = w.expands || expands(h) // which the ears would hide
		w.hang(h, y)
		w.copies.learn(h)
		y.front, y.hidden = func() bool { return true }, noReach
		for i := range h.HandleResponse {
			w.routes(h.HandleResponse[i].Routes, y)
		}
	case *caddyhttp.Subroute:
		w.routes(h.Routes, y)
		if h.Errors != nil {
			y.hidden = noReach
			w.routes(h.Errors.Routes, y)
		}
	case *intercept.Intercept:
		// Its routes run when what is behind it is over.
		over := way{site: y.site, behind: noReach, hidden: noReach, sites: y.sites}
		over.front = func() bool { return y.behind().sure || y.front() }
		for i := range h.HandleResponse {
			w.routes(h.HandleResponse[i].Routes, over)
		}
	case Last:
		if y.hidden().sure {
			w.hiding = append(w.hiding, hiding{h, y.site})
		}
	case *caddyhttp.VarsMiddleware:
		w.learnVars(*h)
	case *maphandler.Handler:
		w.learnMap(h.Destinations)
	case *caddyhttp.Invoke:
		w.invokes = true
		w.named = w.named || w.inNamed
		w.invoked[h.Name] = append(w.invoked[h.Name], y)
	default:
		if !isCaddys(h) {
			w.unknown++
		}
	}
}

// isCaddys says whether a handler is one of Caddy's own modules: those that hold
// routes are walked, the others hold none.
func isCaddys(handler any) bool {
	t := reflect.TypeOf(handler)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != nil && strings.HasPrefix(t.PkgPath(), "github.com/caddyserver/caddy/v2/")
}

// hostOf is the first host of the first host matcher, "" for none.
func hostOf(sets caddyhttp.MatcherSets) string {
	for _, set := range sets {
		for _, matcher := range set {
			var hosts caddyhttp.MatchHost
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				hosts = *m
			case caddyhttp.MatchHost:
				hosts = m
			}
			if len(hosts) > 0 {
				return hosts[0]
			}
		}
	}
	return ""
}

// hangOn hangs the three ears on one reverse_proxy of server, for which learnt keeps the past of its
// upstreams, and checks repeats what their checks ask. It never wraps twice, and gives the
// one that is there; nil for none.
func hangOn(h *reverseproxy.Handler, server *caddyhttp.Server, learnt *Learnt, checks *Checks, nearly Nearly) *selection {
	if h.LoadBalancing == nil || h.Transport == nil {
		return nil // not provisioned
	}
	if s, done := h.LoadBalancing.SelectionPolicy.(*selection); done {
		return s
	}
	limits := limitsOf(h)
	s := &selection{Selector: h.LoadBalancing.SelectionPolicy, proxy: h, limits: limits, nearly: nearly}
	if h.DynamicUpstreams != nil {
		s.source, s.gave = sourceName(h.DynamicUpstreams), newLookups(h.DynamicUpstreams)
		h.DynamicUpstreams = hearSource(h.DynamicUpstreams, limits, s.source, s.gave)
	}
	h.LoadBalancing.SelectionPolicy = s
	s.learnt = learnt
	if limits.ActiveChecks {
		s.checks = checks.of(h, server)
	}

	e := &ear{RoundTripper: h.Transport, limits: limits, nearly: nearly, handles: h.HandleResponse, copies: copies(h)}
	httpTransport, isHTTP := h.Transport.(*reverseproxy.HTTPTransport)
	if isHTTP {
		e.tls = httpTransport.TLS
		e.protocol = protocolOf(httpTransport)
	}
	s.learn(e.protocol, e.tls != nil)
	h3 := e.protocol == "h3"
	switch {
	case !isHTTP:
		// It dials by itself (fastcgi.Transport does).
		e.wholeTrace = true
		if _, ok := h.Transport.(*fastcgi.Transport); ok {
			e.protocol = "fastcgi"
		}
	case h3:
		// Its dialer is private, but it calls all hooks of the attempt's trace.
		e.quic = true
	case !limits.ActiveChecks:
		// A connection of HTTP/2 in the clear serves many requests at a time; one over
		// TLS says itself which protocol it speaks.
		hear := func(c net.Conn, past *listen.Past) net.Conn { return listen.NewWire(c, past) }
		if e.protocol == "h2c" {
			hear = func(c net.Conn, past *listen.Past) net.Conn { return listen.NewSharedWire(c, past) }
		}
		s.dial = httpTransport.Transport.DialContext
		hearDialer(httpTransport.Transport, hear)
	}
	s.protocol, s.tls = e.protocol, e.tls != nil
	if !limits.ActiveChecks {
		h.Transport = e
		return s
	}
	// The health checker's goroutine reads Handler.Transport and dials from
	// Provision on, so both stay untouched. Our requests reach the ear by a URL
	// scheme of our own, which the selection sets.
	if !isHTTP || h3 {
		s.traces = true
		return s
	}
	e.wholeTrace, e.byScheme = true, true
	httpTransport.Transport.RegisterProtocol(earScheme, e)
	s.scheme = earScheme
	return s
}

// expands says that a placeholder may lead a request.
func expands(h *reverseproxy.Handler) bool {
	if t, ok := h.Transport.(*reverseproxy.HTTPTransport); ok && t.TLS != nil && failure.Expands(t.TLS.ServerName) {
		return true
	}
	if h.DynamicUpstreams != nil && failure.Expands(sourceName(h.DynamicUpstreams)) {
		return true
	}
	return slices.ContainsFunc(h.Upstreams, func(u *reverseproxy.Upstream) bool { return failure.Expands(u.Dial) })
}

// earScheme is the URL scheme by which a request reaches the ear where the
// transport can't be replaced.
const earScheme = "upstream-diagnostics"

// protocolOf names the protocol that a transport speaks, "" where a TLS handshake
// decides between HTTP/1.1 and 2.
func protocolOf(t *reverseproxy.HTTPTransport) string {
	switch {
	case len(t.Versions) == 1 && t.Versions[0] == "3":
		return "h3"
	case t.TLS != nil:
		return ""
	case slices.Contains(t.Versions, "h2c"):
		return "h2c"
	default:
		return "http/1.1"
	}
}
