package tests

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Many visitors share few connections to a server that answers well: one is handed on to the
// next request before the one before has heard of its end. Nobody's answer is taken for
// another's, and nothing is recorded but the errors that it answered with.
func TestBusyConnections(t *testing.T) {
	pieces := func(w http.ResponseWriter, parts ...string) {
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	}
	upstream := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/sized":
			w.Header().Set("Content-Length", "10")
			pieces(w, "begun", "ended")
		case "/error":
			w.WriteHeader(http.StatusServiceUnavailable)
			pieces(w, "begun", "ended")
		default:
			pieces(w, "begun", ", fine")
		}
	})
	c := testcaddy.Start(t, fmt.Sprintf(`
	upstream_diagnostics
	reverse_proxy %s {
		transport http {
			max_conns_per_host 16
		}
	}`, upstream))
	const visitors, rounds = 64, 30
	var visits sync.WaitGroup
	for range visitors {
		visits.Go(func() {
			for range rounds {
				for _, visit := range []struct {
					method, path, body, want string
				}{
					{"GET", "/none", "", ""},
					{"POST", "/", "once", "begun, fine"},
					{"HEAD", "/sized", "", ""},
					{"GET", "/sized", "", "begunended"},
					{"GET", "/error", "", "begunended"},
				} {
					res := c.Do(visit.method, visit.path, strings.NewReader(visit.body))
					if res.Body != visit.want {
						t.Errorf("%s %s got %q", visit.method, visit.path, res.Body)
					}
				}
			}
		})
	}
	visits.Wait()
	c.Idle()
	for _, f := range c.Failures("limit=1000") {
		if f.Cause != "upstream_status" || f.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %s", f.Request.URI, f.Summary)
		}
	}
}
