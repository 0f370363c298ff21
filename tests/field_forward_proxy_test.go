package tests

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// forwardProxyAnswering is a forward proxy that gives every request this answer; asked
// has what it was asked for.
func forwardProxyAnswering(t *testing.T, status int) (address string, asked chan string) {
	t.Helper()
	asked = make(chan string, 16)
	address = testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		w.Header().Set("Connection", "close") // the environment names it to another process, which leaves nothing behind
		w.Header().Set("Via", "1.1 corp (squid)")
		w.WriteHeader(status)
	})
	return address, asked
}

// Whatever a forward proxy answers to a request for the client's Host, it is not the
// upstream's answer.
func TestForwardProxyAnswersInPlace(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			proxy, asked := forwardProxyAnswering(t, status)
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy my-backend:8080 {\nheader_up Host shop.example.test\ntransport http {\nnetwork_proxy url http://"+proxy+"\n}\n}")
			if a := c.Get("/x?token=secret"); a.Status != status {
				t.Fatalf("the client got %d", a.Status)
			}
			if got := <-asked; got != "http://shop.example.test/x?token=secret" {
				t.Fatalf("the forward proxy was asked for %s", got)
			}
			f := c.Failure()
			wantForwardProxyAnswered(t, f, proxy+" (network_proxy)")
			if f.Received == nil || f.Received.Status != status || f.Received.Via != "1.1 corp (squid)" {
				t.Errorf("received is %+v", f.Received)
			}
		})
	}
}

func wantForwardProxyAnswered(t *testing.T, f *failure.Failure, proxy string) {
	t.Helper()
	if f.Cause != "forward_proxy_answered" || f.Side != failure.SideProxy || f.Outcome != failure.UpstreamAnswered || f.RequestSent != failure.SentMaybe {
		t.Errorf("recorded as %s, side %s, %s, request_sent %s", f.Cause, f.Side, f.Outcome, f.RequestSent)
	}
	if want := "The forward proxy " + proxy + " answered in place of my-backend:8080."; f.Summary != want {
		t.Errorf("the summary is %q, want %q", f.Summary, want)
	}
	evidence := strings.Join(f.Evidence, "\n")
	if !strings.Contains(evidence, "it was asked for http://shop.example.test/x") || strings.Contains(evidence, "secret") {
		t.Errorf("the evidence is %q", evidence)
	}
	if !strings.Contains(f.Advice, "network_proxy none") {
		t.Errorf("the advice is %q", f.Advice)
	}
}

// What the upstream may have answered itself, because the forward proxy was told of it, is
// not called the forward proxy's.
func TestForwardProxyToldOfUpstream(t *testing.T) {
	proxy, _ := forwardProxyAnswering(t, http.StatusNotFound)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy my-backend:8080 {\nheader_up Host {upstream_hostport}\ntransport http {\nnetwork_proxy url http://"+proxy+"\n}\n}")
	c.Get("/x")
	c.Idle()
	if list := c.Failures(); len(list) > 0 {
		t.Errorf("recorded: %s", list[0].Summary)
	}
}

// forwardProxyTest is set in the environment of a test that another one runs.
const forwardProxyTest = "TEST_FORWARD_PROXY_FROM_ENVIRONMENT"

// A forward proxy that the environment names says so. Go reads the environment once, so
// that it takes a process of its own.
func TestForwardProxyFromEnvironment(t *testing.T) {
	proxy := os.Getenv(forwardProxyTest)
	if proxy == "" {
		proxy, asked := forwardProxyAnswering(t, http.StatusServiceUnavailable)
		test := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v") //nolint:gosec // this very program
		test.Env = append(os.Environ(), forwardProxyTest+"="+proxy, "HTTP_PROXY=http://"+proxy, "NO_PROXY=")
		if output, err := test.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		if len(asked) == 0 {
			t.Error("the forward proxy was not asked")
		}
		return
	}
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy my-backend:8080 {\nheader_up Host shop.example.test\n}")
	c.Get("/x")
	f := c.Failure()
	wantForwardProxyAnswered(t, f, proxy+" (HTTP_PROXY of Caddy's environment)")
	if !strings.Contains(f.Advice, "name my-backend in NO_PROXY of Caddy's environment") {
		t.Errorf("the advice is %q", f.Advice)
	}
}

// A forward proxy that gives no answer is named for what was asked of it, too.
func TestForwardProxySilentInPlace(t *testing.T) {
	release := make(chan struct{})
	proxy := testcaddy.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	})
	t.Cleanup(func() { close(release) })
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy my-backend:8080 {\nheader_up Host shop.example.test\ntransport http {\nresponse_header_timeout 50ms\nnetwork_proxy url http://"+proxy+"\n}\n}")
	c.Get("/x")
	f := c.Failure()
	if f.Cause != "forward_proxy_failed" || f.Side != failure.SideProxy || f.Phase != failure.PhaseWait || f.ProxyError != "http_response_timeout" {
		t.Errorf("recorded as %s, side %s, phase %s, %s", f.Cause, f.Side, f.Phase, f.ProxyError)
	}
	if f.Limit == nil || f.Limit.Name != failure.ResponseHeaderTimeout {
		t.Errorf("the limit is %+v", f.Limit)
	}
	if evidence := strings.Join(f.Evidence, "\n"); !strings.Contains(evidence, "it was asked for http://shop.example.test/x") || !strings.Contains(evidence, "the forward proxy: response_timeout") {
		t.Errorf("the evidence is %q", evidence)
	}
}
