package diagnostics

import (
	"strconv"
	"strings"
	"testing"
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
