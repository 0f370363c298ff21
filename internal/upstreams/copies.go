package upstreams

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Copies are the request fields that the reverse_proxy handlers of a server copy from
// an upstream's answer to the client's request, as forward_auth does: what such a
// field says is the upstream's word, and the client's own where no such answer came.
type Copies struct {
	proxies []copying
	// fields has all of them, by their canonical names.
	fields map[string]bool
}

// copying is one reverse_proxy that copies.
type copying struct {
	// limits tell which one it is; nil where no ear hangs in it.
	limits *failure.Limits
	// answers are what it has routes for, in their order.
	answers []answered
}

// answered is what is copied of an answer that match fits; it is nil for any.
type answered struct {
	match *caddyhttp.ResponseMatcher
	// from has the answer's field for each of the request's.
	from map[string]string
}

// CopiesOf are those of a server that was not walked: it reads the server's routes and
// changes nothing.
func CopiesOf(server *caddyhttp.Server) *Copies {
	w := newWalk(func(*reverseproxy.Handler, way) {})
	w.walk(server)
	return &w.copies
}

// Has says whether a field of requests is copied anywhere.
func (c *Copies) Has(field string) bool {
	return c != nil && c.fields[http.CanonicalHeaderKey(field)]
}

// Prove gives the fields of a request by what they prove: those that its client sent,
// less those that are copied somewhere; of these what the upstream said for this
// request, if it was heard to. It changes sent.
func (c *Copies) Prove(sent http.Header, heard *listen.Heard) http.Header {
	if c == nil {
		return nil // which fields are somebody else's is not known
	}
	for field := range c.fields {
		delete(sent, field)
	}
	// Of several attempts of one handler the last one is the one that counted.
	var over []*failure.Limits
	for _, a := range slices.Backward(heard.Attempts) {
		if a.Limits == nil || slices.Contains(over, a.Limits) {
			continue
		}
		over = append(over, a.Limits)
		for field, from := range c.copied(a.Limits, a.Status, a.Copied) {
			if values := a.Copied.Values(from); len(values) > 0 && sent[field] == nil {
				sent[field] = []string{strings.Join(values, ",")} // as the placeholder has them
			}
		}
	}
	return sent
}

// copied is what a handler copies of an answer.
func (c *Copies) copied(limits *failure.Limits, status int, answer http.Header) map[string]string {
	if answer == nil {
		return nil
	}
	for _, proxy := range c.proxies {
		if proxy.limits != limits {
			continue
		}
		for _, a := range proxy.answers {
			if a.match == nil || a.match.Match(status, answer) {
				return a.from
			}
		}
	}
	return nil
}

// learn learns what a reverse_proxy copies, after the ears were hung on it.
func (c *Copies) learn(h *reverseproxy.Handler) {
	proxy := copying{}
	if s, ok := selectionOf(h); ok {
		proxy.limits = s.limits
	}
	found := false
	for _, handler := range h.HandleResponse {
		a := answered{match: handler.Match, from: make(map[string]string)}
		if handler.StatusCode == "" { // else the routes are not run
			c.learnRoutes(handler.Routes, a.from)
		}
		found = found || len(a.from) > 0
		proxy.answers = append(proxy.answers, a)
	}
	if found {
		c.proxies = append(c.proxies, proxy)
	}
}

func (c *Copies) learnRoutes(routes caddyhttp.RouteList, from map[string]string) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddyhttp.Subroute:
				c.learnRoutes(h.Routes, from)
			case *headers.Handler:
				c.learnFields(h.Request, from)
			}
		}
	}
}

// learnFields learns which fields are set or deleted, and from which of the answer's
// each is copied.
func (c *Copies) learnFields(ops *headers.HeaderOps, from map[string]string) {
	if ops == nil {
		return
	}
	if c.fields == nil {
		c.fields = make(map[string]bool)
	}
	for _, field := range ops.Delete {
		c.fields[http.CanonicalHeaderKey(field)] = true
	}
	for field := range ops.Add {
		c.fields[http.CanonicalHeaderKey(field)] = true
	}
	for field, values := range ops.Set {
		field = http.CanonicalHeaderKey(field)
		c.fields[field] = true
		if name, ok := answerField(values); ok {
			from[field] = name
		}
	}
}

// answerField is the answer's field that is all of the values.
func answerField(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	name, ok := strings.CutPrefix(values[0], "{http.reverse_proxy.header.")
	if !ok || !strings.HasSuffix(name, "}") || strings.Count(name, "}") != 1 {
		return "", false
	}
	return strings.TrimSuffix(name, "}"), true
}

// copies says whether a reverse_proxy copies fields of its upstreams' answers.
func copies(h *reverseproxy.Handler) bool {
	var c Copies
	c.learn(h)
	return len(c.proxies) > 0
}

// selectionOf gives the ear in the selection of a reverse_proxy.
func selectionOf(h *reverseproxy.Handler) (*selection, bool) {
	if h.LoadBalancing == nil {
		return nil, false
	}
	s, ok := h.LoadBalancing.SelectionPolicy.(*selection)
	return s, ok
}
