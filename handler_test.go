package diagnostics

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

func TestRefused(t *testing.T) {
	dead := testcaddy.FreePort(t)
	c := testcaddy.Start(t, `upstream_diagnostics
	reverse_proxy 127.0.0.1:`+strconv.Itoa(dead))
	a := c.Get("/cart?id=1", "Accept: text/html")
	if a.Status != 502 || !strings.Contains(a.Body, "<h1") {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	f := c.Failure()
	if f.Cause != "connection_refused" || f.ID != a.Header.Get("Upstream-Failure-Id") {
		t.Errorf("got %+v", f)
	}
	t.Logf("%+v", f)
}

// An upstream that closes idle connections teaches which keepalive to advise, though no
// request was lost yet: each death is seen while the connection is idle.
func TestKeepaliveIsLearnt(t *testing.T) {
	const idle = 3 * leastLearnt
	for _, usesTLS := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS: ", usesTLS), func(t *testing.T) {
			var closed atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
			server.Config.IdleTimeout = idle
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					closed.Add(1)
				}
			}
			transport := ""
			if usesTLS {
				server.StartTLS()
				transport = " {\ntransport http {\ntls_insecure_skip_verify\nversions 1.1\n}\n}"
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+server.URL+transport)
			var worked, died time.Duration
			// Two deaths of one moment are one event, such as a restart. Over TLS one isn't
			// seen where our side closes before the peer's FIN has come.
			testcaddy.Eventually(t, "two deaths", func() bool {
				before := closed.Load()
				if got := c.Get("/"); got.Status != http.StatusOK {
					t.Fatalf("got %d %v", got.Status, got.Err)
				}
				testcaddy.Eventually(t, "the connection was closed", func() bool { return closed.Load() > before })
				deaths := 0
				worked, died, deaths = pastOf(t).Idle()
				return deaths >= 2
			})
			// The server's time begins when it has answered, ours when we have read that.
			if worked != 0 || died < idle/2 || died > 10*idle {
				t.Errorf("worked after %s, died after %s, want about %s", worked, died, idle)
			}
			if kept := len(c.Failures()); kept != 0 {
				t.Errorf("%d failures", kept)
			}
		})
	}
}

// leastLearnt is the shortest idle time that is learnt from.
const leastLearnt = 100 * time.Millisecond

// pastOf is that of the one upstream.
func pastOf(t *testing.T) *listen.Past {
	t.Helper()
	pasts := currentProcess().learnt.All()
	if len(pasts) != 1 {
		t.Fatalf("%d upstreams are known", len(pasts))
	}
	for _, past := range pasts {
		return past
	}
	return nil
}

// What is advised when connections died after these times of being idle, each request's
// in a list of its own.
func TestKeepaliveAdvice(t *testing.T) {
	for _, test := range []struct {
		name   string
		deaths [][]time.Duration
		worked time.Duration
		advice string // "" for the row's own
		says   []string
	}{
		{name: "one", deaths: [][]time.Duration{{5 * time.Second}}, worked: 4 * time.Second, says: []string{"seen once: an idle connection to it was closed, after 5s", "others still worked after 4s"}},
		{name: "two that one request met", deaths: [][]time.Duration{{5 * time.Second, 4 * time.Second}}, says: []string{"seen once: an idle connection to it was closed, after 4s"}},
		{name: "two", deaths: [][]time.Duration{{5 * time.Second}, {5200 * time.Millisecond}}, advice: "Set keepalive 4s in the transport: below the time after which app:80 closes idle connections.", says: []string{"were closed 2 times, after 5s at the earliest"}},
		{name: "after minutes", deaths: [][]time.Duration{{75 * time.Second}, {76 * time.Second}}, advice: "Set keepalive 1m in the transport: below the time after which app:80 closes idle connections."},
		{name: "two after different times", deaths: [][]time.Duration{{5 * time.Second}, {20 * time.Second}}, says: []string{"seen once"}},
		{name: "at once, which is no timeout", deaths: [][]time.Duration{{2 * time.Millisecond}, {3 * time.Millisecond}}},
		{name: "at once, and others after a while", deaths: [][]time.Duration{{5 * time.Second}, {5200 * time.Millisecond}, {2 * time.Millisecond}}},
		{name: "too soon", deaths: [][]time.Duration{{200 * time.Millisecond}, {300 * time.Millisecond}}, advice: "Let app:80 keep idle connections for longer, or set keepalive off in the transport: it closes them too soon for any number."},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, past := &Handler{process: new(process)}, new(listen.Past)
				if test.worked > 0 {
					past.Answered(test.worked)
				}
				var f *failure.Failure
				for _, deaths := range test.deaths {
					time.Sleep(time.Minute) // each is an event of its own
					heard := new(listen.Heard)
					f = &failure.Failure{Upstream: "app:80", Cause: cause.KeepaliveRace.Name, Advice: cause.KeepaliveRace.Advice}
					for _, idle := range deaths {
						f.Attempts = append(f.Attempts, failure.Attempt{Upstream: "app:80", Cause: cause.KeepaliveRace.Name, IdleMS: failure.MSPointer(idle)})
						heard.Attempts = append(heard.Attempts, listen.Attempt{Past: past})
					}
					h.learn(heard, f)
				}
				if test.advice == "" {
					test.advice = cause.KeepaliveRace.Advice
				}
				if f.Advice != test.advice {
					t.Errorf("advises %q, want %q", f.Advice, test.advice)
				}
				for _, words := range test.says {
					if evidence := strings.Join(f.Evidence, "\n"); !strings.Contains(evidence, words) {
						t.Errorf("the evidence is %q, want %q in it", evidence, words)
					}
				}
			})
		})
	}
}

// A site whose upstream is the site itself.
func TestProxyLoop(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	c := testcaddy.New(t)
	// The third time round it goes on to an upstream that refuses.
	site := "upstream_diagnostics\n@round not header_regexp X-Round ...\n" +
		"reverse_proxy @round 127.0.0.1:" + strconv.Itoa(c.Port) + " {\nheader_up X-Round \"{header.X-Round}x\"\n}\n" +
		"reverse_proxy " + testcaddy.Dead(t)
	if err := c.Load("", site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	if a := c.Get("/"); a.Status != 502 {
		t.Errorf("got %d", a.Status)
	}
	testcaddy.Eventually(t, "the loop is proven", func() bool {
		list := c.Failures("cause=proxy_loop")
		return len(list) > 0 && list[0].Side == failure.SideProxy
	})
}

// Another handler of this same Caddy is an ordinary upstream.
func TestNoProxyLoop(t *testing.T) {
	c := testcaddy.New(t)
	site := "handle_path /outer {\nupstream_diagnostics {\nsite outer\n}\nreverse_proxy 127.0.0.1:" + strconv.Itoa(c.Port) + "\n}\n" +
		"handle {\nupstream_diagnostics {\nsite inner\n}\nreverse_proxy " + testcaddy.Dead(t) + "\n}"
	if err := c.Load("", site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	c.Get("/outer")
	for site, cause := range map[string]string{"inner": "connection_refused", "outer": "upstream_status"} {
		var list []*failure.Failure
		testcaddy.Eventually(t, "the failure of "+site, func() bool {
			list = c.Failures("site=" + site)
			return len(list) > 0
		})
		if list[0].Cause != cause {
			t.Errorf("%s: got %s, want %s", site, list[0].Cause, cause)
		}
	}
}
