package cause

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

func TestDestination(t *testing.T) {
	tests := []struct {
		name, method, destination, host string
		tls                             bool
		status                          int
		header                          http.Header
		cause                           string
		side                            failure.Side
		advice                          string
	}{
		{"TLS ends at Caddy", "MOVE", "https://files.example.test/b?token=1", "files.example.test", false, 502, nil, "upstream_status", failure.SideProxy, "header_up Destination ^https: http: in"},
		{"TLS begins at Caddy", "COPY", "http://files.example.test/b", "files.example.test", true, 502, nil, "upstream_status", failure.SideProxy, "header_up Destination ^http: https: in"},
		{"another Host is sent", "MOVE", "http://files.example.test/b", "app:8080", false, 502, nil, "upstream_status", failure.SideProxy, "header_up Destination ^[a-z]+://[^/]+ http://app:8080 in"},
		{"nginx", "MOVE", "https://files.example.test/b", "files.example.test", false, 400, nil, "upstream_status", failure.SideProxy, "header_up Destination ^https: http: in"},
		{"its own", "MOVE", "http://files.example.test/b", "FILES.example.test", false, 502, nil, "upstream_status", failure.SideUpstream, "log"},
		{"its own, refused", "MOVE", "http://files.example.test/b", "files.example.test", false, 400, nil, "", "", ""},
		{"a path", "MOVE", "/b", "files.example.test", false, 502, nil, "upstream_status", failure.SideUpstream, "log"},
		{"a gateway behind it", "MOVE", "https://files.example.test/b", "files.example.test", false, 502, http.Header{"Proxy-Status": {"inner; error=connection_refused"}}, "upstream_status", failure.SideUpstream, "log"},
		{"another method", "PUT", "https://files.example.test/b", "files.example.test", false, 400, nil, "", "", ""},
		{"a host that is none", "MOVE", "https://a b/b", "files.example.test", false, 502, nil, "upstream_status", failure.SideUpstream, "log"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Method: test.method, Host: test.host, Header: http.Header{"Destination": {test.destination}}}
			limits := &failure.Limits{Transport: "http"}
			f := Diagnose(&listen.Heard{
				Response: listen.Response{Status: test.status}, AttemptCount: 1,
				Attempts: []listen.Attempt{{Upstream: "app:8080", Limits: limits, Exact: true, TLS: test.tls, Sent: 1, Answered: 2, FirstByte: 2, Status: test.status, Header: test.header, Request: r}},
			})
			if test.cause == "" {
				if f != nil {
					t.Errorf("%+v", f)
				}
				return
			}
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != test.cause || f.Side != test.side || f.Outcome != failure.UpstreamAnswered || !strings.Contains(f.Advice, test.advice) {
				t.Errorf("%s %s, side %s: %s", f.Cause, f.Outcome, f.Side, f.Advice)
			}
			if all := strings.Join(f.Evidence, "\n"); strings.Contains(all, "token") {
				t.Errorf("evidence: %s", all)
			}
		})
	}
}
