package tests

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// A gateway that answers for an upstream of its own is named by its own words, whatever its
// Server field says.
func TestAGatewayBehindIsNamed(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
		advice     string
	}{
		{"Envoy", "upstream connect error or disconnect/reset before headers. reset reason: connection termination", 503, "the log of the Envoy "},
		{"HAProxy", "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n", 503, "the log of the HAProxy "},
		{"nginx", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n", 502, "the log of the nginx "},
		{"nginx at a limit of its own", "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>\r\n", 503, "the upstream's own log"},
		{"the application", "no healthy database", 503, "the upstream's own log"},
		{"its words under another status", "No server is available to handle this request.", 502, "the upstream's own log"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			if a := c.Get("/"); a.Body != test.body {
				t.Errorf("the client got %q", a.Body)
			}
			f := c.Newest("upstream_status")
			if f.Cause != "upstream_status" || !strings.Contains(f.Advice, test.advice) {
				t.Errorf("%s: %s", f.Cause, f.Advice)
			}
		})
	}
}
