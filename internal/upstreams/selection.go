package upstreams

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// selection is a selection policy that tells the request's listener whom it chose,
// or why it could choose nobody.
type selection struct {
	reverseproxy.Selector
	proxy  *reverseproxy.Handler
	limits *failure.Limits
	// nearly hears what nearly goes wrong, nil for nobody.
	nearly Nearly
	// source names the dynamic source, "" for none; gave is what it gave last.
	source string
	gave   *lookups
	// pasts are those of the static pool, learnt has them all, under the way in which
	// they are spoken to and their address.
	pasts  map[*reverseproxy.Upstream]*listen.Past
	learnt *Learnt
	spoken string
	// checks are the active checks of the static pool, nil where there are none.
	checks map[*reverseproxy.Upstream]*listen.Check
	// scheme is set on requests that are listened to; "" leaves it.
	scheme string
	// traces says that no ear can be put into the transport: the attempt's trace
	// goes along with the request from here.
	traces bool
	// server is the handler's, host the first host name of a site that leads to it, "" for
	// none.
	server *caddyhttp.Server
	host   string
	// dial is the transport's own dialer where it is listened to; nil elsewhere.
	dial dialFunc
	// protocol and tls are what the transport speaks, as far as it is known.
	protocol string
	tls      bool
}

// Select implements reverseproxy.Selector.
func (s *selection) Select(pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	upstream := s.Selector.Select(pool, r, w)
	l := listenerOf(r.Context())
	if l == nil {
		return upstream
	}
	if upstream == nil {
		l.NobodySelected(s.limits, s.candidates(pool))
		return nil
	}
	name := s.nameOf(upstream)
	a := l.Selected(name, s.pastOf(upstream), s.limits)
	if upstream.MaxRequests >= leastFull && s.nearly != nil {
		s.hearFull(name, upstream)
	}
	if s.scheme != "" {
		r.URL.Scheme = s.scheme
	}
	if s.traces {
		// r is reverse_proxy's own copy. Each attempt's trace replaces the one
		// before, which has nothing more to hear.
		base, ok := r.Context().Value(untracedKey{}).(context.Context)
		if !ok {
			base = r.Context()
			base = context.WithValue(base, untracedKey{}, base)
		}
		a.SentUnheard(r, s.protocol, s.tls)
		*r = *r.WithContext(httptrace.WithClientTrace(base, a.Trace()))
	}
	return upstream
}

// untracedKey is where the context without an attempt's trace is kept.
type untracedKey struct{}

// learn prepares what pastOf gives for an upstream of the static pool, which this
// protocol is spoken to. Who is spoken to in another way may answer otherwise.
func (s *selection) learn(protocol string, usesTLS bool) {
	s.spoken = strings.Join([]string{s.limits.Transport, protocol, s.limits.ProxyProtocol, strconv.FormatBool(usesTLS)}, " ")
	s.pasts = make(map[*reverseproxy.Upstream]*listen.Past, len(s.proxy.Upstreams))
	for _, upstream := range s.proxy.Upstreams {
		s.pasts[upstream] = s.pastAt(upstream.Dial)
	}
}

// pastOf is that of an upstream; nil where nobody keeps it.
func (s *selection) pastOf(upstream *reverseproxy.Upstream) *listen.Past {
	if past, ok := s.pasts[upstream]; ok {
		return past
	}
	return s.pastAt(upstream.Dial)
}

func (s *selection) pastAt(address string) *listen.Past {
	if s.learnt == nil || strings.Contains(address, "{") { // which leads to many
		return nil
	}
	return s.learnt.Past(s.spoken + " " + address)
}

// learntOf is what is known of an address already; nil for nothing.
func (s *selection) learntOf(address string) *listen.Past {
	if s.learnt == nil {
		return nil
	}
	return s.learnt.Known(s.spoken + " " + address)
}

// nameOf is what is configured for upstream: its address with placeholders
// unexpanded, or the dynamic source that gave it.
func (s *selection) nameOf(upstream *reverseproxy.Upstream) string {
	if s.source != "" && !slices.Contains(s.proxy.Upstreams, upstream) {
		return s.source
	}
	return upstream.Dial
}

// candidates says why each of the pool could not be chosen.
func (s *selection) candidates(pool reverseproxy.UpstreamPool) []listen.Candidate {
	candidates := make([]listen.Candidate, 0, len(pool))
	for _, upstream := range pool {
		c := listen.Candidate{Upstream: upstream.Dial, Reason: s.reason(upstream)}
		switch c.Reason {
		case failure.ReasonFails:
			c.Fails, c.Past = upstream.Fails(), s.pastOf(upstream)
		case failure.ReasonFull:
			c.MaxRequests = upstream.MaxRequests
		case failure.ReasonUnhealthy:
			c.Check = s.checks[upstream]
		}
		candidates = append(candidates, c)
	}
	return candidates
}

// reason says why an upstream is not available, in the order in which
// reverse_proxy asks. What an active check found is private, so it is what remains.
func (s *selection) reason(upstream *reverseproxy.Upstream) failure.Reason {
	if upstream.Healthy() {
		if upstream.Full() {
			return failure.ReasonFull
		}
		return ""
	}
	if checks := s.proxy.HealthChecks; checks != nil && checks.Passive != nil && upstream.Fails() >= checks.Passive.MaxFails {
		return failure.ReasonFails
	}
	if s.proxy.CB != nil && !s.proxy.CB.OK() {
		return failure.ReasonCircuitOpen
	}
	return failure.ReasonUnhealthy
}

// source is a dynamic source that tells the request's listener how a lookup ended.
type source struct {
	reverseproxy.UpstreamSource
	limits *failure.Limits
	name   string
	// resolvers are the name servers that it asks; none where it asks the system's.
	resolvers []string
	// within are the sources of a source of several.
	within []string
	gave   *lookups
}

// GetUpstreams implements reverseproxy.UpstreamSource.
func (s *source) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	found, err := s.UpstreamSource.GetUpstreams(r)
	s.gave.hear(found, err)
	if l := listenerOf(r.Context()); l != nil {
		l.LookedUp(s.limits, s.name, s.resolvers, s.within, err)
	}
	return found, err
}

// cachingSource forwards what reverse_proxy asks of a source that caches.
type cachingSource struct {
	source
	caching reverseproxy.CachingUpstreamSource
}

// ResetCache implements reverseproxy.CachingUpstreamSource.
func (s *cachingSource) ResetCache(r *http.Request) error { return s.caching.ResetCache(r) }

func hearSource(inner reverseproxy.UpstreamSource, limits *failure.Limits, name string, gave *lookups) reverseproxy.UpstreamSource {
	s := source{UpstreamSource: inner, limits: limits, name: name, resolvers: sourceResolvers(inner), within: sourcesWithin(inner), gave: gave}
	if caching, ok := inner.(reverseproxy.CachingUpstreamSource); ok {
		return &cachingSource{source: s, caching: caching}
	}
	return &s
}

// sourceName names a dynamic source as a Caddyfile does.
func sourceName(s reverseproxy.UpstreamSource) string {
	switch s := s.(type) {
	case *reverseproxy.SRVUpstreams:
		if s.Service == "" && s.Proto == "" {
			return "srv " + s.Name
		}
		return fmt.Sprintf("srv _%s._%s.%s", s.Service, s.Proto, s.Name)
	case *reverseproxy.AUpstreams:
		if s.Port == "" {
			return "a " + s.Name
		}
		return "a " + s.Name + ":" + s.Port
	case *reverseproxy.MultiUpstreams:
		return severalSources
	default:
		return dynamicSource
	}
}

// Names of a source of several, and of one of which nothing is known.
const (
	severalSources = "multi"
	dynamicSource  = "dynamic"
)

// sourcesWithin names the sources of a source of several; nil where they can't be told.
// Caddy has them in a field of its own: where that has another name, nothing is told.
func sourcesWithin(s reverseproxy.UpstreamSource) []string {
	multi, ok := s.(*reverseproxy.MultiUpstreams)
	if !ok {
		return nil
	}
	sources := reflect.ValueOf(multi).Elem().FieldByName("sources")
	if !sources.IsValid() || sources.Kind() != reflect.Slice {
		return nil
	}
	names := make([]string, 0, sources.Len())
	for i := range sources.Len() {
		name := dynamicSource
		switch inner := reflect.Indirect(sources.Index(i).Elem()); inner.Type() {
		case reflect.TypeFor[reverseproxy.SRVUpstreams]():
			name = sourceName(&reverseproxy.SRVUpstreams{Service: text(inner, "Service"), Proto: text(inner, "Proto"), Name: text(inner, "Name")})
		case reflect.TypeFor[reverseproxy.MultiUpstreams]():
			name = sourceName(new(reverseproxy.MultiUpstreams))
		case reflect.TypeFor[reverseproxy.AUpstreams]():
			name = sourceName(&reverseproxy.AUpstreams{Name: text(inner, "Name"), Port: text(inner, "Port")})
		}
		names = append(names, name)
	}
	return names
}

func text(of reflect.Value, field string) string { return of.FieldByName(field).String() }

// sourceResolvers are the name servers that a dynamic source asks. Those of several
// keep their errors for themselves.
func sourceResolvers(s reverseproxy.UpstreamSource) []string {
	switch s := s.(type) {
	case *reverseproxy.SRVUpstreams:
		return resolversOf(s.Resolver)
	case *reverseproxy.AUpstreams:
		return resolversOf(s.Resolver)
	}
	return nil
}

// Interface guards
var (
	_ reverseproxy.Selector              = (*selection)(nil)
	_ reverseproxy.UpstreamSource        = (*source)(nil)
	_ reverseproxy.CachingUpstreamSource = (*cachingSource)(nil)
)
