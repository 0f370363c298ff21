package tests

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Since 2.11 Caddy sends the upstream's own address for a Host to https:// upstreams
// (opnsense/plugins#5401), which applications refuse that have a list of names. What they
// say of a client's own Host is their affair.
func TestOwnAddressForAHost(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		page   string // with HOST for the one that was asked for
		want   string
	}{
		{"Vite", 403, "Blocked request. This host (\"HOST\") is not allowed.\nTo allow this host, add \"HOST\" to `server.allowedHosts` in vite.config.js.", "Blocked request. This host ("},
		{"webpack-dev-server", 403, "Invalid Host header", "Invalid Host header"},
		{"Syncthing", 403, "Host check error\n", "Host check error"},
		{"Starlette", 400, "Invalid host header", "Invalid host header"},
		{"Django", 400, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n  <meta http-equiv=\"content-type\" content=\"text/html; charset=utf-8\">\n  <meta name=\"robots\" content=\"NONE,NOARCHIVE\">\n  <title>DisallowedHost\n          at /</title>", "DisallowedHost"},
		{"IIS", 400, "<h2>Bad Request - Invalid Hostname</h2>\n<hr><p>HTTP Error 400. The request hostname is invalid.</p>", "The request hostname is invalid."},
	} {
		t.Run(test.name, func(t *testing.T) {
			app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "127.0.0.1" { // for which visitors ask
					w.WriteHeader(test.status)
					_, _ = io.WriteString(w, strings.ReplaceAll(test.page, "HOST", r.Host))
				}
			}))
			t.Cleanup(app.Close)
			site := "upstream_diagnostics\nreverse_proxy " + app.URL + " {\nheader_up Host HOST\ntransport http {\ntls_insecure_skip_verify\n}\n}"
			c := testcaddy.Start(t, strings.ReplaceAll(site, "header_up Host HOST", ""))
			if a := c.Get("/"); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			wantRecord(t, c, "upstream_status upstream_answered headers proxy", test.want, "that is the upstream's own address, which Caddy sends to https:// upstreams", "{host}")

			c = testcaddy.Start(t, strings.ReplaceAll(site, "HOST", "{host}"))
			if a := c.Get("/"); a.Status != http.StatusOK {
				t.Errorf("as the advice says: %d %s", a.Status, a.Body)
			}
			if test.name == "IIS" { // which is a server, not an application
				return
			}
			c = testcaddy.Start(t, strings.ReplaceAll(site, "HOST", "stranger.example.test"))
			if a := c.Get("/"); a.Status != test.status {
				t.Errorf("a stranger got %d: %s", a.Status, a.Body)
			}
			if kept := c.Failures(); len(kept) != 1 {
				t.Errorf("%d records, of which the first alone is Caddy's doing", len(kept))
			}
		})
	}
}
