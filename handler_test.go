package diagnostics

import (
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
)

func TestRefused(t *testing.T) {
	dead := freePort(t)
	c := startCaddy(t, `upstream_diagnostics
	reverse_proxy 127.0.0.1:`+itoa(dead))
	a := c.get("/cart?id=1", "Accept: text/html")
	if a.status != 502 || !strings.Contains(a.body, "<h1") {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	f := c.failure()
	if f.Cause != "connection_refused" || f.ID != a.header.Get("Upstream-Failure-Id") {
		t.Errorf("got %+v", f)
	}
	t.Logf("%+v", f)
}

func itoa(n int) string { return strconv.Itoa(n) }

// A connection that had been idle and died teaches which keepalive to advise.
func TestKeepaliveIsLearnt(t *testing.T) {
	fault, err := faultlab.Find("keepalive_race")
	if err != nil {
		t.Fatal(err)
	}
	broken, err := fault.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broken.Close() })
	c := startCaddy(t, "upstream_diagnostics\n"+broken.Caddyfile())
	if _, err := broken.Visit(t.Context(), c.url); err != nil {
		t.Fatal(err)
	}
	f := newest(c, "keepalive_race")
	idle := currentProcess().learnt.Idle(f.Upstream)
	if idle == nil || idle.Died() == 0 || !strings.Contains(f.Advice, "Set keepalive ") || !strings.Contains(strings.Join(f.Evidence, "\n"), "were closed after") {
		t.Errorf("got %q %q", f.Advice, f.Evidence)
	}
}

// A site whose upstream is the site itself.
func TestProxyLoop(t *testing.T) {
	recordsAbandoned(t)
	c := &testCaddy{t: t, port: freePort(t), adminPort: freePort(t)}
	c.url, c.admin = "http://127.0.0.1:"+itoa(c.port), "http://127.0.0.1:"+itoa(c.adminPort)
	// The third time round it goes on to an upstream that refuses.
	site := "upstream_diagnostics\n@round not header_regexp X-Round ...\n" +
		"reverse_proxy @round 127.0.0.1:" + itoa(c.port) + " {\nheader_up X-Round \"{header.X-Round}x\"\n}\n" +
		"reverse_proxy " + dead(t)
	if err := c.load("", site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	if a := c.get("/"); a.status != 502 {
		t.Errorf("got %d", a.status)
	}
	eventually(t, "the loop is proven", func() bool {
		list := c.failures("cause=proxy_loop")
		return len(list) > 0 && list[0].Side == failure.SideProxy
	})
}

// Another handler of this same Caddy is an ordinary upstream.
func TestNoProxyLoop(t *testing.T) {
	c := &testCaddy{t: t, port: freePort(t), adminPort: freePort(t)}
	c.url, c.admin = "http://127.0.0.1:"+itoa(c.port), "http://127.0.0.1:"+itoa(c.adminPort)
	site := "handle_path /outer {\nupstream_diagnostics {\nsite outer\n}\nreverse_proxy 127.0.0.1:" + itoa(c.port) + "\n}\n" +
		"handle {\nupstream_diagnostics {\nsite inner\n}\nreverse_proxy " + dead(t) + "\n}"
	if err := c.load("", site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	c.get("/outer")
	for site, cause := range map[string]string{"inner": "connection_refused", "outer": "upstream_status"} {
		var list []*failure.Failure
		eventually(t, "the failure of "+site, func() bool {
			list = c.failures("site=" + site)
			return len(list) > 0
		})
		if list[0].Cause != cause {
			t.Errorf("%s: got %s, want %s", site, list[0].Cause, cause)
		}
	}
}
