package tests

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// A record says what an active check asks for and what comes, and whom it is to ask
// instead.
func TestWhyACheckFails(t *testing.T) {
	asked := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/" && strings.HasPrefix(r.Host, "127.0.0.1"):
			http.NotFound(w, r)
		case r.URL.Path == "/login":
			http.Redirect(w, r, "/sign-in?token=secret", http.StatusFound)
		case r.URL.Path == "/redirected":
			http.Redirect(w, r, "/private", http.StatusFound)
		case r.URL.Path == "/slow":
			<-r.Context().Done()
		case r.URL.Path == "/private":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/host" && r.Host != "app.example.test":
			w.WriteHeader(http.StatusMisdirectedRequest)
		case r.URL.Path == "/post" && r.Method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	plain := testcaddy.Upstream(t, asked)
	_, port, err := net.SplitHostPort(plain)
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(http.HandlerFunc(asked))
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)

	socket := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	onSocket := &http.Server{Handler: http.HandlerFunc(asked), ReadHeaderTimeout: time.Minute}
	go func() { _ = onSocket.Serve(ln) }()
	t.Cleanup(func() { onSocket.Close() })

	root := t.TempDir() // of which php-fpm knows nothing but what it is told
	scripts := testcaddy.FastCGI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch fcgi.ProcessEnv(r)["SCRIPT_FILENAME"] {
		case filepath.Join(root, "index.php"):
		case root:
			http.Error(w, "Access denied.", http.StatusForbidden)
		default:
			http.Error(w, "File not found.", http.StatusNotFound)
		}
	}))

	for _, tc := range []struct {
		name, to, block string
		evidence        string
		side            failure.Side
		advice          string
	}{
		{"a path that isn't there", plain, "health_uri /", "the check asks GET / of " + plain + ", and expects any 2xx: got 404, ", failure.SideProxy, "Set health_uri to a path that the application serves"},
		{"a redirect to a login", plain, "health_uri /login?key=secret", "the check asks GET /login?REDACTED of " + plain + ", and expects any 2xx: got 302 to \"/sign-in\", ", failure.SideProxy, "health_follow_redirects"},
		{"a path behind a login", plain, "health_uri /private", ": got 401, ", failure.SideProxy, "needs no login"},
		{"a Host that is refused", plain, "health_uri /host\nhealth_headers {\nHost other.example.test\n}", " for the Host other.example.test, and expects any 2xx: got 421, ", failure.SideProxy, "health_headers"},
		{"a method that is refused", plain, "health_uri /post", ": got 405, ", failure.SideProxy, "health_method"},
		{"another status than expected", plain, "health_uri /fine\nhealth_status 204", ", and expects 204: got 200, ", failure.SideProxy, "Set health_status to what the application answers, which is 200"},
		{"another body than expected", plain, "health_uri /fine\nhealth_body ok", "got 200, whose body does not match health_body", failure.SideProxy, "health_body"},
		{"a plain port for a transport with TLS", "https://" + secure.Listener.Addr().String(), "health_uri /fine\nhealth_port " + port + "\ntransport http {\ntls_insecure_skip_verify\n}", "of " + plain + " over TLS, and expects any 2xx: got plain HTTP where TLS was spoken, ", failure.SideProxy, "health_port"},
		{"a path behind a login, on a socket", "unix/" + socket, "health_uri /private", "of unix/" + socket + ", and expects any 2xx: got 401, ", failure.SideProxy, "needs no login"},
		{"another address than the upstream's", testcaddy.Dead(t), "health_uri /private\nhealth_upstream " + plain, "of " + plain + ", and expects any 2xx: got 401, ", failure.SideProxy, "needs no login"},
		{"a redirect that is followed", plain, "health_uri /redirected\nhealth_follow_redirects", ": got 401, ", failure.SideProxy, "needs no login"},
		{"TCP for HTTP/3", "https://" + plain, "health_uri /\nhealth_timeout 200ms\ntransport http {\nversions 3\ntls_insecure_skip_verify\n}", ": got no answer: ", failure.SideUpstream, "until its check succeeds"},
		{"no answer in time", plain, "health_uri /slow\nhealth_timeout 50ms", ": got no answer: none within health_timeout 50ms, ", failure.SideUpstream, "until its check succeeds"},
		{"a broken application", plain, "health_uri /broken", ": got 500, ", failure.SideUpstream, "until its check succeeds"},
		{"a script, by the site's root", scripts, "health_uri /index.php\ntransport fastcgi {\nsplit .php\n}", ": got 404, ", failure.SideProxy, "Set root to the application's folder in php_fastcgi"},
		{"a folder instead of a script", scripts, "health_uri /\ntransport fastcgi {\nroot " + root + "\n}", ": got 403, ", failure.SideProxy, "Set health_uri to a script itself, such as /index.php"},
		{"nobody there", testcaddy.Dead(t), "health_uri /", "connection refused, ", failure.SideUpstream, "Start the application, or correct its address in reverse_proxy"},
		{"nobody at its own port (caddyserver/caddy#7544)", plain, "health_uri /fine\nhealth_port " + strconv.Itoa(testcaddy.FreePort(t)), "connection refused, ", failure.SideProxy, "Correct health_port, or let what is to answer the check listen there"},
		{"nobody at its own address", plain, "health_uri /fine\nhealth_upstream " + testcaddy.Dead(t), "connection refused, ", failure.SideProxy, "Correct health_upstream"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+tc.to+" {\nhealth_interval 20ms\n"+tc.block+"\n}")
			f := unhealthyUntil(c, tc.evidence)
			if f.Cause != "upstreams_unhealthy" || f.Side != tc.side {
				t.Errorf("recorded as %s, side %s", f.Cause, f.Side)
			}
			if !strings.Contains(f.Advice, tc.advice) {
				t.Errorf("the advice is %q", f.Advice)
			}
			if len(f.Unavailable) != 1 || !strings.HasPrefix(f.Unavailable[0].Check, "the check asks ") {
				t.Errorf("unavailable is %+v", f.Unavailable)
			}
			if all := strings.Join(f.Evidence, "\n") + f.Advice + f.Unavailable[0].Check; strings.Contains(all, "secret") {
				t.Errorf("kept: %s", all)
			}
		})
	}
}

// unhealthyUntil asks until a record has that evidence.
func unhealthyUntil(c *testcaddy.Caddy, evidence string) (f *failure.Failure) {
	c.T.Helper()
	defer func() {
		if c.T.Failed() && f != nil {
			c.T.Logf("%q", f.Evidence)
		}
	}()
	testcaddy.Eventually(c.T, "evidence of "+evidence, func() bool {
		c.Get("/api")
		list := c.Failures()
		if len(list) > 0 {
			f = list[0]
		}
		return f != nil && strings.Contains(strings.Join(f.Evidence, "\n"), evidence)
	})
	return f
}

// A check is repeated rarely, never by a request, and changes nobody's health.
func TestChecksAreRepeatedRarely(t *testing.T) {
	var checks atomic.Int64
	address := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && checks.Add(1) == 1 {
			w.WriteHeader(http.StatusInternalServerError) // Caddy's own, which isn't repeated within the hour
		}
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address+" {\nhealth_uri /health\nhealth_interval 1h\n}")
	unhealthyUntil(c, ": got 200, which passes, ")
	for range 50 {
		if a := c.Get("/"); a.Status != http.StatusServiceUnavailable {
			t.Fatalf("answered %d: the repetition changed the upstream's health", a.Status)
		}
	}
	if n := checks.Load(); n != 2 {
		t.Errorf("checked %d times", n)
	}
}

// A reload ends a repetition that hangs.
func TestARepeatedCheckEndsWithItsConfig(t *testing.T) {
	var checks atomic.Int64
	address := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/health":
		case checks.Add(1) == 1:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			<-r.Context().Done()
		}
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address+" {\nhealth_uri /health\nhealth_interval 1h\nhealth_timeout 1h\n}")
	testcaddy.Eventually(t, "the check is repeated", func() bool { c.Get("/"); return checks.Load() == 2 })
	start := time.Now()
	if err := c.Load("", "respond ok"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the load took %s", took)
	}
}

// A record says how many failures are enough, which answer was one, and that a single
// upstream is not served by fail_duration.
func TestWhatCountsAgainstHealth(t *testing.T) {
	var status atomic.Int64
	app := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			<-time.After(30 * time.Millisecond)
		}
		w.WriteHeader(int(status.Load()))
	})
	for _, tc := range []struct {
		name, to, block, path string
		status                int64
		evidence              []string
		side                  failure.Side
		advice                string
	}{
		{
			"a connect", testcaddy.Dead(t), "fail_duration 30s", "/", 0,
			[]string{"max_fails 1: one failure within fail_duration 30 s is enough"}, failure.SideUpstream, "with one upstream leave fail_duration out",
		},
		{
			"an answer by its status", app, "fail_duration 30s\nmax_fails 2\nunhealthy_status 5xx", "/", 503,
			[]string{"max_fails 2: as many failures within fail_duration 30 s are enough", "answers count as failures, too: unhealthy_status 5xx", app + ": the last answer that counted was 503 after ", "(unhealthy_status)"},
			failure.SideUpstream, "leave fail_duration out",
		},
		{
			"an answer that is a visitor's fault", app, "fail_duration 30s\nunhealthy_status 404", "/", 404,
			[]string{"the last answer that counted was 404"}, failure.SideProxy, "Take 404 out of unhealthy_status",
		},
		{
			"an answer by its time", app, "fail_duration 30s\nunhealthy_latency 20ms", "/slow", 200,
			[]string{"answers count as failures, too: unhealthy_latency 20 ms", "the last answer that counted was 200 after ", "(unhealthy_latency)"},
			failure.SideUpstream, "leave fail_duration out",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status.Store(tc.status)
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+tc.to+" {\n"+tc.block+"\n}")
			var f *failure.Failure
			testcaddy.Eventually(t, "the upstream is out", func() bool {
				c.Get(tc.path)
				list := c.Failures("cause=upstreams_unhealthy")
				if len(list) > 0 {
					f = list[0]
				}
				return f != nil
			})
			evidence := strings.Join(f.Evidence, "\n")
			for _, want := range tc.evidence {
				if !strings.Contains(evidence, want) {
					t.Errorf("lacks %q:\n%s", want, evidence)
				}
			}
			if f.Side != tc.side || !strings.Contains(f.Advice, tc.advice) {
				t.Errorf("side %s, advice %q", f.Side, f.Advice)
			}
		})
	}
}

// The limit that ended the wait for a healthy upstream is named.
func TestTryDurationEndsTheWait(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)+" {\nlb_try_duration 100ms\nlb_try_interval 10ms\nfail_duration 1m\n}")
	c.Get("/1")
	c.Get("/2")
	f := c.Newest("upstreams_unhealthy")
	if f.Limit == nil || f.Limit.Name != failure.TryDuration || f.Limit.ValueMS == nil || f.Limit.ValueMS.Duration() != 100*time.Millisecond {
		t.Errorf("the limit is %+v", f.Limit)
	}
	if !slices.Contains(f.Evidence, "gave up by lb_try_duration 100 ms") {
		t.Errorf("the evidence is %q", f.Evidence)
	}
}

// A record says why a request was not tried again, though retries are configured.
func TestNotTriedAgain(t *testing.T) {
	closes := testcaddy.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	for _, tc := range []struct {
		name, method, to, block string
		want                    string // "" for no word of it
	}{
		{"a POST that was sent", "POST", closes, "lb_retries 3", "not tried again: a POST had been sent (lb_retries 3 covers only what was not sent, and GET; lb_retry_match can name more)"},
		{"a DELETE within a duration", "DELETE", closes, "lb_try_duration 5s", "not tried again: a DELETE had been sent (lb_try_duration 5 s covers only what was not sent, and GET; lb_retry_match can name more)"},
		{"a GET until no retry is left", "GET", closes, "lb_retries 2\nlb_try_interval 1ms", "not tried again: lb_retries 2 is used up"},
		{"a connect until no retry is left", "POST", testcaddy.Dead(t), "lb_retries 2\nlb_try_interval 1ms", "not tried again: lb_retries 2 is used up"},
		{"a connect until the time is over", "POST", testcaddy.Dead(t), "lb_try_duration 50ms\nlb_try_interval 1ms", "not tried again: lb_try_duration 50 ms is over"},
		{"what lb_retry_match doesn't name", "POST", closes, "lb_retries 2\nlb_retry_match {\nmethod PUT\n}", "not tried again: lb_retry_match does not match it"},
		{"a handshake that failed", "POST", "https://" + closes, "lb_retries 2", "not tried again: of a POST, lb_retries 2 covers only connects that fail (lb_retry_match can name more)"},
		{"no retries", "POST", closes, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+tc.to+" {\n"+tc.block+"\n}")
			var body io.Reader
			if tc.method == "POST" {
				body = strings.NewReader("a=1")
			}
			c.Do(tc.method, "/", body)
			f := c.Failure()
			got := ""
			for _, line := range f.Evidence {
				if strings.HasPrefix(line, "not tried again") {
					got = line
				}
			}
			if until, _, cut := strings.Cut(got, ", within "); until != tc.want || cut != strings.HasSuffix(tc.want, "is used up") {
				t.Errorf("got %q, want %q (%s)", got, tc.want, f.Cause)
			}
		})
	}
}
