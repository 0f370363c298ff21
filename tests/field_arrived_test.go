package tests

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// visited is the record of one visit to a fault of the lab.
func visited(t *testing.T, fault faultlab.Fault) *failure.Failure {
	t.Helper()
	broken, options := testcaddy.Break(t, fault)
	c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+broken.Caddyfile())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := broken.Visit(ctx, c.URL+"/"); err != nil {
		t.Fatal(err)
	}
	return c.Newest(fault.Cause)
}

// says looks for each of these in what a record says.
func says(t *testing.T, f *failure.Failure, evidence, advice string) {
	t.Helper()
	if all := strings.Join(f.Evidence, "\n"); !strings.Contains(all, evidence) || !strings.Contains(f.Advice, advice) {
		t.Errorf("%s, side %s: %s\n%s\n%s\nwant %q and %q", f.Cause, f.Side, f.Summary, f.Advice, all, evidence, advice)
	}
}

// A service's record is asked for at the source's own resolvers, the address of the host
// that it names at the system's: who says that the name is unknown is told, and where to
// name the others.
func TestTheTargetIsLookedUpElsewhere(t *testing.T) {
	fault, err := faultlab.Find("dns_target_unknown_here")
	if err != nil {
		t.Fatal(err)
	}
	f := visited(t, fault)
	if f.Cause != "dns_name_not_found" || f.Side != failure.SideProxy || f.RequestSent != failure.SentNo {
		t.Errorf("%s, side %s, sent %s", f.Cause, f.Side, f.RequestSent)
	}
	says(t, f, "were not asked for it: they serve only the source's own lookup", "transport http { resolvers 127.0.0.1:")
	says(t, f, "from the system's resolver ", "")
}

// A port without a host is one of this machine.
func TestNoHostIsThisMachine(t *testing.T) {
	fault := faultlab.Fault{Cause: "connection_refused", Start: func() (*faultlab.Upstream, error) {
		closed, err := faultlab.Find("port_closed")
		if err != nil {
			return nil, err
		}
		u, err := closed.Start()
		if err == nil {
			u.To = u.To[strings.LastIndexByte(u.To, ':'):]
		}
		return u, err
	}}
	f := visited(t, fault)
	if f.Side != failure.SideProxy {
		t.Errorf("side %s", f.Side)
	}
	says(t, f, "' has no host: Caddy dials itself, this ", "Write the application's host before the port")
	says(t, f, "nobody listened on port ", "")

	// So is an address that is for listening (caddy#5300).
	for _, all := range []string{"0.0.0.0", "[::]"} {
		c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+strings.Replace(testcaddy.Dead(t), "127.0.0.1", all, 1))
		c.Get("/")
		f := c.Newest("connection_refused")
		advice := "Start the application"
		if host.InContainer() {
			advice = "Write the application's own host in reverse_proxy instead of " + strings.Trim(all, "[]")
		}
		says(t, f, strings.Trim(all, "[]")+" is for listening: who dials it dials itself, this ", advice)
		says(t, f, "nobody listened on port ", "")
	}
}
