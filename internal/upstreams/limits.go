package upstreams

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Caddy's own defaults, as its transports set them when they are provisioned
// (reverseproxy/httptransport.go, fastcgi/fastcgi.go). Who configures the same
// value can't be told from who configures none.
const (
	defaultDialTimeout = 3 * time.Second
	defaultKeepalive   = 2 * time.Minute
	// caddyhttp/app.go sets this one.
	defaultReadBodyIdle = time.Minute
	// reverseproxy/healthchecks.go keeps its own to itself.
	defaultCheckTimeout  = 5 * time.Second
	defaultCheckInterval = 30 * time.Second
)

// ServerLimits are those of the server for what clients send, nil where it isn't known.
func ServerLimits(r *http.Request) *failure.Limits {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil {
		return nil
	}
	return &failure.Limits{Settings: []failure.Setting{
		setting(failure.ReadBody, server.ReadTimeout, 0),
		setting(failure.ReadBodyIdle, server.ReadIdleTimeout, defaultReadBodyIdle),
	}}
}

// limitsOf reads the limits of a handler that has been provisioned.
func limitsOf(h *reverseproxy.Handler) *failure.Limits {
	l := &failure.Limits{
		AsksFirst: asksFirst(h), RequestBuffers: h.RequestBuffers, ResponseBuffers: h.ResponseBuffers,
		StreamCloseDelay: time.Duration(h.StreamCloseDelay),
	}
	switch t := h.Transport.(type) {
	case *reverseproxy.HTTPTransport:
		l.Transport = "http"
		l.MaxConnsPerHost = max(0, t.MaxConnsPerHost)
		l.ProxyProtocol = t.ProxyProtocol
		l.MaxResponseHeader = t.MaxResponseHeaderSize
		l.Versions = t.Versions
		l.TLS = tlsOf(t)
		if protocolOf(t) != "h3" { // whose transport asks the system's
			l.Resolvers = resolversOf(t.Resolver)
		}
		l.Settings = append(l.Settings,
			setting(failure.DialTimeout, t.DialTimeout, defaultDialTimeout),
			setting(failure.ResponseHeaderTimeout, t.ResponseHeaderTimeout, 0),
			setting(failure.ExpectContinueTimeout, t.ExpectContinueTimeout, 0),
			setting(failure.ReadTimeout, t.ReadTimeout, 0),
			setting(failure.WriteTimeout, t.WriteTimeout, 0),
		)
		if t.TLS != nil {
			l.Settings = append(l.Settings, setting(failure.TLSTimeout, t.TLS.HandshakeTimeout, 0))
		}
		if t.KeepAlive != nil && (t.KeepAlive.Enabled == nil || *t.KeepAlive.Enabled) {
			l.Settings = append(l.Settings, setting(failure.Keepalive, t.KeepAlive.IdleConnTimeout, defaultKeepalive))
		}
	case *fastcgi.Transport:
		l.Transport = "fastcgi"
		l.ScriptRoot = t.Root
		l.Settings = append(l.Settings,
			setting(failure.DialTimeout, t.DialTimeout, defaultDialTimeout),
			setting(failure.ReadTimeout, t.ReadTimeout, 0),
			setting(failure.WriteTimeout, t.WriteTimeout, 0),
		)
	}
	if h.LoadBalancing != nil {
		l.Retries = h.LoadBalancing.Retries
		l.RetriesAnswers = len(h.LoadBalancing.RetryMatch) > 0
		l.Settings = append(l.Settings, setting(failure.TryDuration, h.LoadBalancing.TryDuration, 0))
	}
	if checks := h.HealthChecks; checks != nil {
		l.ActiveChecks = checks.Active != nil && checks.Active.IsEnabled()
		if l.ActiveChecks {
			l.Check = checkOf(checks.Active)
			if t, ok := h.Transport.(*fastcgi.Transport); ok {
				l.Check.Rootless = failure.Expands(t.Root)
			}
		}
		if checks.Passive != nil {
			l.MaxFails = checks.Passive.MaxFails
			l.FailDuration = time.Duration(checks.Passive.FailDuration)
			l.AnswersCount = len(checks.Passive.UnhealthyStatus) > 0 || checks.Passive.UnhealthyLatency > 0
			l.UnhealthyStatus, l.UnhealthyLatency = checks.Passive.UnhealthyStatus, time.Duration(checks.Passive.UnhealthyLatency)
		}
	}
	l.Near = nearOf(h, l)
	return l
}

// nearOf are the times from which a phase is near its limit. Caddy's transport of HTTP/3
// has none of these limits.
func nearOf(h *reverseproxy.Handler, l *failure.Limits) (near failure.Near) {
	if t, ok := h.Transport.(*reverseproxy.HTTPTransport); ok && protocolOf(t) == "h3" {
		return near
	}
	connect, _ := l.Setting(failure.DialTimeout)
	handshake, _ := l.Setting(failure.TLSTimeout)
	response, _ := l.ResponseLimit()
	return failure.Near{Connect: failure.NearOf(connect.Value), Handshake: failure.NearOf(handshake.Value), Response: failure.NearOf(response.Value)}
}

func tlsOf(t *reverseproxy.HTTPTransport) *failure.TLSSettings {
	if t.TLS == nil {
		return nil
	}
	s := &failure.TLSSettings{
		ServerName:        t.TLS.ServerName,
		ClientCertificate: t.TLS.ClientCertificateFile != "" || t.TLS.ClientCertificateAutomate != "",
		Insecure:          t.TLS.InsecureSkipVerify,
		Renegotiation:     t.TLS.Renegotiation,
	}
	if t.Transport != nil && t.Transport.TLSClientConfig != nil {
		s.TrustPool = t.Transport.TLSClientConfig.RootCAs != nil // its JSON is gone once it is loaded
	}
	return s
}

func checkOf(a *reverseproxy.ActiveHealthChecks) *failure.Check {
	c := &failure.Check{
		Method: a.Method, URI: a.URI, Host: a.Headers.Get("Host"), Upstream: a.Upstream, Port: a.Port,
		Status: a.ExpectStatus, Body: a.ExpectBody != "" || a.MaxSize > 0, FollowsRedirects: a.FollowRedirects,
		Interval: time.Duration(a.Interval), Timeout: time.Duration(a.Timeout),
	}
	if c.URI == "" {
		c.URI = a.Path
	}
	if c.Timeout == 0 {
		c.Timeout = defaultCheckTimeout
	}
	return c
}

// resolversOf are the name servers that are asked, one of them each time, as addresses.
func resolversOf(r *reverseproxy.UpstreamResolver) []string {
	if r == nil {
		return nil
	}
	var addresses []string
	for _, configured := range r.Addresses {
		if address, err := caddy.ParseNetworkAddressWithDefaults(configured, "udp", 53); err == nil {
			addresses = append(addresses, address.JoinHostPort(0))
		}
	}
	return addresses
}

// asksFirst says that a handler is what the Caddyfile's forward_auth makes: it asks by
// GET, and names the method of the request in question (forwardauth/caddyfile.go).
func asksFirst(h *reverseproxy.Handler) bool {
	if h.Rewrite == nil || h.Rewrite.Method != http.MethodGet || h.Headers == nil || h.Headers.Request == nil {
		return false
	}
	_, ok := h.Headers.Request.Set["X-Forwarded-Method"]
	return ok
}

// setting names a value in force and where it comes from. A byDefault of 0 says
// that Caddy has no default.
func setting(name string, value caddy.Duration, byDefault time.Duration) failure.Setting {
	s := failure.Setting{Name: name, Value: time.Duration(value), Source: failure.LimitConfigured}
	switch {
	case value <= 0:
		s.Value, s.Source = 0, failure.LimitAbsent
	case s.Value == byDefault:
		s.Source = failure.LimitDefault
	}
	return s
}
