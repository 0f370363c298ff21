package upstreams

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestLimits(t *testing.T) {
	off := false
	transport := &reverseproxy.HTTPTransport{
		DialTimeout: caddy.Duration(3 * time.Second),
		ReadTimeout: caddy.Duration(time.Second),
		TLS:         new(reverseproxy.TLSConfig),
		KeepAlive:   &reverseproxy.KeepAlive{IdleConnTimeout: caddy.Duration(2 * time.Minute)},
	}
	tests := []struct {
		name   string
		proxy  *reverseproxy.Handler
		limit  string
		value  time.Duration
		source failure.LimitSource // "" where nothing is to be known
	}{
		{"Caddy's default", &reverseproxy.Handler{Transport: transport}, failure.DialTimeout, 3 * time.Second, failure.LimitDefault},
		{"configured", &reverseproxy.Handler{Transport: transport}, failure.ReadTimeout, time.Second, failure.LimitConfigured},
		{"absent", &reverseproxy.Handler{Transport: transport}, failure.TLSTimeout, 0, failure.LimitAbsent},
		{"keepalive", &reverseproxy.Handler{Transport: transport}, failure.Keepalive, 2 * time.Minute, failure.LimitDefault},
		{"no keepalive", &reverseproxy.Handler{Transport: &reverseproxy.HTTPTransport{KeepAlive: &reverseproxy.KeepAlive{Enabled: &off}}}, failure.Keepalive, 0, ""},
		{"no TLS, no limit of it", &reverseproxy.Handler{Transport: new(reverseproxy.HTTPTransport)}, failure.TLSTimeout, 0, ""},
		{"FastCGI", &reverseproxy.Handler{Transport: &fastcgi.Transport{DialTimeout: caddy.Duration(time.Minute)}}, failure.DialTimeout, time.Minute, failure.LimitConfigured},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := limitsOf(test.proxy).Setting(test.limit)
			if ok != (test.source != "") || got.Value != test.value || got.Source != test.source {
				t.Errorf("got %+v %v", got, ok)
			}
		})
	}
}

func TestSourceName(t *testing.T) {
	for want, source := range map[string]reverseproxy.UpstreamSource{
		"srv _http._tcp.app": &reverseproxy.SRVUpstreams{Service: "http", Proto: "tcp", Name: "app"},
		"srv app":            &reverseproxy.SRVUpstreams{Name: "app"},
		"a app:8080":         &reverseproxy.AUpstreams{Name: "app", Port: "8080"},
		"multi":              &reverseproxy.MultiUpstreams{},
		"dynamic":            nil,
	} {
		if got := sourceName(source); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What a source of several asks is Caddy's own affair, but for its names.
func TestSourcesWithin(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	for name, test := range map[string]struct {
		sources []string
		want    []string
	}{
		"none":    {nil, []string{}},
		"several": {[]string{`{"source": "srv", "service": "http", "proto": "tcp", "name": "app"}`, `{"source": "a", "name": "app", "port": "8080"}`, `{"source": "multi"}`}, []string{"srv _http._tcp.app", "a app:8080", "multi"}},
	} {
		t.Run(name, func(t *testing.T) {
			multi := new(reverseproxy.MultiUpstreams)
			for _, source := range test.sources {
				multi.SourcesRaw = append(multi.SourcesRaw, json.RawMessage(source))
			}
			if err := multi.Provision(ctx); err != nil {
				t.Fatal(err)
			}
			if got := sourcesWithin(multi); got == nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got := sourcesWithin(new(reverseproxy.AUpstreams)); got != nil {
		t.Errorf("got %q of a source that is one", got)
	}
}

// What is asked of an upstream, as it is configured.
func TestAsked(t *testing.T) {
	l := limitsOf(&reverseproxy.Handler{
		Transport: &reverseproxy.HTTPTransport{
			Versions: []string{"1.1"},
			TLS:      &reverseproxy.TLSConfig{ServerName: "app.example", ClientCertificateAutomate: "edge", Renegotiation: "once"},
		},
		RequestBuffers: 4096,
		LoadBalancing:  &reverseproxy.LoadBalancing{Retries: 3},
		HealthChecks: &reverseproxy.HealthChecks{
			Active:  &reverseproxy.ActiveHealthChecks{URI: "/health", Port: 81, ExpectStatus: 204, Headers: http.Header{"Host": {"app"}}},
			Passive: &reverseproxy.PassiveHealthChecks{UnhealthyStatus: []int{5}, UnhealthyLatency: caddy.Duration(time.Second)},
		},
	})
	if want := (failure.TLSSettings{ServerName: "app.example", ClientCertificate: true, Renegotiation: "once"}); l.TLS == nil || *l.TLS != want {
		t.Errorf("TLS: got %+v", l.TLS)
	}
	if want := (failure.Check{URI: "/health", Host: "app", Port: 81, Status: 204, Timeout: 5 * time.Second}); l.Check == nil || *l.Check != want {
		t.Errorf("check: got %+v", l.Check)
	}
	if l.Retries != 3 || l.RequestBuffers != 4096 || len(l.Versions) != 1 || len(l.UnhealthyStatus) != 1 || l.UnhealthyLatency != time.Second {
		t.Errorf("got %+v", l)
	}
	if l := limitsOf(&reverseproxy.Handler{Transport: new(reverseproxy.HTTPTransport)}); l.TLS != nil || l.Check != nil {
		t.Errorf("nothing configured: got %+v", l)
	}
}
