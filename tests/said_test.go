package tests

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// A browser's request is longer than what Go's server reads of it on a TLS port, so that
// a reset follows its sentence: it was said all the same. Only where the reset came
// before anything was read of it nothing can be told.
func TestTLSPortToBrowsers(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = new(tls.Config)
	server.StartTLS()
	t.Cleanup(server.Close)
	const sentence, tries = "Client sent an HTTP request to an HTTPS server.", 40
	for _, way := range []struct{ name, block string }{
		{"as it is", ""},
		{"with active checks", "health_port 1\nhealth_interval 1h\nhealth_fails 100000"},
		{"flushed at once", "flush_interval -1"},
		{"buffered", "response_buffers 64KiB"},
		{"with a retry", "lb_retries 1"},
	} {
		for _, request := range []struct {
			name, method string
			body         int
		}{
			{"GET", "GET", 0},
			{"HEAD", "HEAD", 0},
			{"POST of 64 KiB", "POST", 64 << 10},
		} {
			t.Run(way.name+", "+request.name, func(t *testing.T) {
				c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+server.Listener.Addr().String()+" {\n"+way.block+"\n}")
				said := 0
				for range tries {
					c.Forget()
					a := c.Do(request.method, "/", strings.NewReader(strings.Repeat("x", request.body)),
						"Cookie: session="+strings.Repeat("0123456789abcdef", 2<<10/16), "Accept: text/html")
					c.Idle()
					list := c.Failures()
					if len(list) == 0 {
						// The status line alone was read: it is a 400 like any other.
						if a.Status != 400 || a.Err != nil || a.Body != "" {
							t.Fatalf("got %d %q %v, and nothing was recorded", a.Status, a.Body, a.Err)
						}
						continue
					}
					f := list[0]
					evidence := strings.Join(f.Evidence, "\n")
					if f.Cause == "tls_expected" {
						said++
						if f.Side != failure.SideProxy || !strings.Contains(evidence, sentence) {
							t.Errorf("recorded %s %s %q", f.Cause, f.Side, f.Evidence)
						}
						if got := answeredAs(a); got != f.Outcome {
							t.Errorf("the client got %d %v, recorded %s %d", a.Status, a.Err, f.Outcome, f.Status)
						}
						continue
					}
					last := f.Attempts[len(f.Attempts)-1]
					if last.Status != 0 && last.ResponseBytes != nil && *last.ResponseBytes > 0 || strings.Contains(evidence, "an answer had come") || strings.Contains(a.Body, sentence) {
						t.Errorf("the sentence came, recorded is %s %q; the client got %d %q", f.Cause, f.Evidence, a.Status, a.Body)
					}
				}
				t.Logf("the sentence was heard in %d of %d", said, tries)
				if said == 0 && (request.method != "HEAD" || way.name != "with active checks") {
					t.Error("the sentence was never heard")
				}
			})
		}
	}
}

// answeredAs is what a client can tell of what happened.
func answeredAs(a testcaddy.Answer) failure.Outcome {
	switch {
	case a.Status == 400 && a.Err == nil:
		return failure.UpstreamAnswered
	case a.Status == 502:
		return failure.Failed
	}
	return failure.Truncated
}
