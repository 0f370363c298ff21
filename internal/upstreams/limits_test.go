package upstreams

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestLimits(t *testing.T) {
	off := false
	http := &reverseproxy.HTTPTransport{
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
		{"Caddy's default", &reverseproxy.Handler{Transport: http}, failure.DialTimeout, 3 * time.Second, failure.LimitDefault},
		{"configured", &reverseproxy.Handler{Transport: http}, failure.ReadTimeout, time.Second, failure.LimitConfigured},
		{"absent", &reverseproxy.Handler{Transport: http}, failure.TLSTimeout, 0, failure.LimitAbsent},
		{"keepalive", &reverseproxy.Handler{Transport: http}, failure.Keepalive, 2 * time.Minute, failure.LimitDefault},
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
