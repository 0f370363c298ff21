package diagnostics

import (
	"io"
	"net/http"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
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
		{"after others", "edge", []string{"a;received-status=502", `"b";x=1`}, refused, false, `a;received-status=502, "b";x=1, edge;error=connection_refused`},
		{"after a malformed one", "edge", []string{"=="}, refused, false, `edge;error=connection_refused`},
		{"an upstream's own answer", "edge", nil, &failure.Failure{Received: &failure.Received{Status: 503}}, false, `edge;received-status=503`},
		{"an alert", "edge", nil, &failure.Failure{ProxyError: "tls_alert_received", Attempts: []failure.Attempt{{TLSAlert: &alert}}}, true, `edge;error=tls_alert_received;alert-id=40`},
		{"what can't be written", "edge", nil, &failure.Failure{ProxyError: "dns_error", Summary: "名前 is not found."}, true, `edge;error=dns_error`},
		{"nothing to say", "edge", []string{"a"}, &failure.Failure{}, true, `a`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Proxy-Status": test.before}
			if err := addProxyStatus(header, test.proxy, test.failure, test.details); err != nil {
				t.Fatal(err)
			}
			if got := header.Get("Proxy-Status"); got != test.want || len(header["Proxy-Status"]) > 1 {
				t.Errorf("got %q, want %q", header["Proxy-Status"], test.want)
			}
		})
	}
}

// Through a real Caddy: only where it is named, and an upstream's own member stays.
func TestProxyStatusSent(t *testing.T) {
	busy := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "inner;error=connection_timeout")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "busy")
	})
	tests := []struct {
		name, site, want string
	}{
		{"not named", "upstream_diagnostics\nreverse_proxy " + dead(t), ""},
		{"named", "upstream_diagnostics {\nproxy_status_name edge\n}\nreverse_proxy " + dead(t), "edge;error=connection_refused"},
		{"with the error passed on", "upstream_diagnostics {\npage off\nproxy_status_name edge\n}\nreverse_proxy " + dead(t), "edge;error=connection_refused"},
		{"an answer that is replaced", "upstream_diagnostics {\nintercept 503\nproxy_status_name edge\n}\nreverse_proxy " + busy, "inner;error=connection_timeout, edge;received-status=503"},
		{"an answer that passes", "upstream_diagnostics {\nproxy_status_name edge\n}\nreverse_proxy " + busy, "inner;error=connection_timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := startCaddy(t, test.site).get("/")
			if got := a.header.Get("Proxy-Status"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
