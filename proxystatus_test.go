package diagnostics

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

func TestProxyStatus(t *testing.T) {
	alert := uint8(40)
	refused := &failure.Failure{
		ProxyError: "connection_refused", Summary: `Nothing accepts connections at app:8080.`,
		Attempts: []failure.Attempt{{Address: "10.0.0.7:8080"}},
	}
	tests := []struct {
		name, proxy string
		before      []string
		failure     *failure.Failure
		details     bool
		want        string
	}{
		{"a token", "edge-1", nil, refused, false, `edge-1;error=connection_refused`},
		{"a string", "the edge", nil, refused, false, `"the edge";error=connection_refused`},
		{"details", "edge", nil, refused, true, `edge;error=connection_refused;next-hop="10.0.0.7:8080";details="Nothing accepts connections at app:8080."`},
		{"after others", "edge", []string{"a;received-status=502", `"b";x=1`}, refused, false, `edge;error=connection_refused`},
		{"after others, with details", "edge", []string{"a;received-status=502", `"b";x=1`}, &failure.Failure{ProxyError: "dns_error"}, true, `a;received-status=502, "b";x=1, edge;error=dns_error`},
		{"after a malformed one", "edge", []string{"=="}, &failure.Failure{ProxyError: "dns_error"}, true, `edge;error=dns_error`},
		{"an upstream's own answer", "edge", nil, &failure.Failure{Received: &failure.Received{Status: 503}}, false, `edge;received-status=503`},
		{"an alert", "edge", nil, &failure.Failure{ProxyError: "tls_alert_received", Attempts: []failure.Attempt{{TLSAlert: &alert}}}, true, `edge;error=tls_alert_received;alert-id=40`},
		{"what can't be written", "edge", nil, &failure.Failure{ProxyError: "dns_error", Summary: "名前 is not found."}, true, `edge;error=dns_error`},
		{"nothing to say", "edge", []string{"a"}, &failure.Failure{}, true, `a`},
		{"nothing to say to the public", "edge", []string{"a"}, &failure.Failure{}, false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Proxy-Status": test.before}
			if err := addProxyStatus(header, test.proxy, nil, test.failure, test.details); err != nil {
				t.Fatal(err)
			}
			if got := header.Get("Proxy-Status"); got != test.want || len(header["Proxy-Status"]) > 1 {
				t.Errorf("got %q, want %q", header["Proxy-Status"], test.want)
			}
		})
	}
}

// Through a real Caddy: only where it is named, and an upstream's own answer that passes
// keeps its member.
func TestProxyStatusSent(t *testing.T) {
	busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "inner;error=connection_timeout")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "busy")
	})
	tests := []struct {
		name, site, want string
	}{
		{"not named", "upstream_diagnostics\nreverse_proxy " + testcaddy.Dead(t), ""},
		{"named", "upstream_diagnostics {\nproxy_status_name edge\n}\nreverse_proxy " + testcaddy.Dead(t), "edge;error=connection_refused"},
		{"with the error passed on", "upstream_diagnostics {\npage off\nproxy_status_name edge\n}\nreverse_proxy " + testcaddy.Dead(t), "edge;error=connection_refused"},
		{"an answer that is replaced", "upstream_diagnostics {\nintercept 503\nproxy_status_name edge\n}\nreverse_proxy " + busy, "edge;received-status=503"},
		{"an answer that passes", "upstream_diagnostics {\nproxy_status_name edge\n}\nreverse_proxy " + busy, "inner;error=connection_timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := testcaddy.Start(t, test.site).Get("/")
			if got := a.Header.Get("Proxy-Status"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Of what an upstream's own answer, which is replaced, says in Proxy-Status, the public
// gets nothing, not even names, and nobody gets it without a bound.
func TestProxyStatusReceived(t *testing.T) {
	const inside = `next-hop="10.0.0.7:8080"`
	for _, test := range []struct {
		name     string
		sent     []string
		operator string // before our own member; "" for none
	}{
		{"an inner proxy", []string{`inner;error=connection_timeout;` + inside + `;details="secret"`}, `inner;error=connection_timeout;` + inside + `;details="secret"`},
		{"a name that is an address", []string{`"10.0.0.7:8080";error=connection_timeout`, `app.internal`}, `"10.0.0.7:8080";error=connection_timeout, app.internal`},
		{"several, in two fields", []string{`a;` + inside + `, "b";received-status=500`, `c`}, `a;` + inside + `, "b";received-status=500, c`},
		{"no names", []string{`7;` + inside + `, (a b), ?1, d`}, `d`},
		{"malformed", []string{`inner;next-hop=`}, ""},
		{"many", []string{strings.Repeat("a, ", 100) + "a"}, strings.TrimSuffix(strings.Repeat("a, ", 16), ", ")},
		{"long names", []string{strings.Repeat("a", 700), strings.Repeat("b", 700)}, strings.Repeat("a", 700) + ", " + strings.Repeat("b", 700)},
		{"long details", []string{`a, b;details="` + strings.Repeat("x", 5000) + `"`}, `a`},
		{"too long to be read", []string{strings.Repeat("a", 20000)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Proxy-Status"] = test.sent
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			c := testcaddy.Start(t, "@key header X-Key right\nupstream_diagnostics {\nintercept 503\nproxy_status_name edge\ndetails @key\n}\nreverse_proxy "+busy)
			const ours = "edge;received-status=503"
			if got := c.Get("/").Header.Values("Proxy-Status"); len(got) != 1 || got[0] != ours {
				t.Errorf("the public gets %.200q, want %.200q", got, ours)
			}
			want := ours
			if test.operator != "" {
				want = test.operator + ", " + ours
			}
			got := c.Get("/", "X-Key: right").Header.Get("Proxy-Status")
			if !strings.HasPrefix(got, want) || len(got) > 5<<10 {
				t.Errorf("the operator gets %d bytes, %.200q, want %.200q", len(got), got, want)
			}
		})
	}
}

// `page minimal` doesn't tell the public the error's type in a header either.
func TestProxyStatusMinimal(t *testing.T) {
	busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "inner;error=connection_timeout")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	for name, test := range map[string]struct{ to, want string }{
		"failed":                     {testcaddy.Dead(t), "edge;error=connection_refused;next-hop="},
		"an answer that is replaced": {busy, "inner;error=connection_timeout, edge;received-status=503;next-hop="},
	} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "@key header X-Key right\nupstream_diagnostics {\npage minimal\nintercept 503\nproxy_status_name edge\ndetails @key\n}\nreverse_proxy "+test.to)
			if a := c.Get("/"); a.Header.Get("Proxy-Status") != "" || a.Header.Get("Upstream-Failure-Id") == "" {
				t.Errorf("the public gets %v", a.Header)
			}
			if got := c.Get("/", "X-Key: right").Header.Get("Proxy-Status"); !strings.HasPrefix(got, test.want) {
				t.Errorf("the operator gets %q", got)
			}
		})
	}
}
