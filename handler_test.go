package diagnostics

import (
	"strconv"
	"strings"
	"testing"

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
