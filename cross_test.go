package diagnostics

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
)

// situation is a way in which a fault may be met, besides first and alone.
type situation struct {
	name string
	// site makes the site of a broken upstream; "" where the situation doesn't fit.
	site func(t *testing.T, broken *faultlab.Upstream) string
	// clients come at the same time, 1 by default.
	clients int
	// leaves says that the client leaves at once, whatever the fault wants.
	leaves bool
}

var situations = []situation{
	{
		name: "after a retry",
		site: func(t *testing.T, broken *faultlab.Upstream) string {
			if strings.Contains(broken.Directives(), "lb_") || strings.Contains(broken.Directives(), "dynamic") || strings.ContainsAny(broken.To, " {") {
				return ""
			}
			// Round robin begins with the second.
			return "reverse_proxy " + broken.To + " " + dead(t) + " {\nlb_policy round_robin\nlb_retries 1\n" + broken.Directives() + "}"
		},
	},
	{
		name: "behind forward_auth",
		site: func(t *testing.T, broken *faultlab.Upstream) string {
			return "forward_auth " + good(t) + " {\nuri /auth\n}\n" + broken.Caddyfile()
		},
	},
	{
		name:    "under load",
		site:    func(_ *testing.T, broken *faultlab.Upstream) string { return broken.Caddyfile() },
		clients: 8,
	},
	{
		name:   "with a client that leaves",
		site:   func(_ *testing.T, broken *faultlab.Upstream) string { return broken.Caddyfile() },
		leaves: true,
	},
}

// A wrong name is looked for on purpose: every fault in every situation is named as
// it is alone, or as what the situation makes of it.
func TestFaultsCrossed(t *testing.T) {
	recordsAbandoned(t)
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			for _, fault := range faultlab.Faults() {
				// HTTP/3's faults take seconds each: TestFaults has them once.
				if fault.Skip == "" && fault.Cause != "" && !strings.HasPrefix(fault.Name, "h3_") {
					t.Run(fault.Name, func(t *testing.T) { crossed(t, fault, s) })
				}
			}
		})
	}
}

func crossed(t *testing.T, fault faultlab.Fault, s situation) {
	broken, options := breakUpstream(t, fault)
	site := s.site(t, broken)
	if site == "" || s.clients > 1 && broken.Prepared() {
		t.Skip("does not fit")
	}
	c := startCaddyWith(t, options, "upstream_diagnostics\n"+site)
	if s.leaves {
		broken.Request.Leave = faultlab.LeaveSent
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	for range max(s.clients, 1) {
		clients.Go(func() {
			if _, err := broken.Visit(ctx, c.url+"/"); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	c.idle()

	shared := s.clients > 1 && strings.HasPrefix(fault.Name, "h2") && fault.Cause == "response_truncated"

	// What else is true, and what is unknown, is no wrong name.
	allowed := map[string]bool{fault.Cause: true, fault.OrCause: true, "unknown": true}
	if s.clients > 1 && fault.Cause == "response_truncated" && strings.HasPrefix(fault.Name, "h2") {
		// All are on one connection: some had no answer yet when it died.
		allowed["closed_before_response"], allowed["reset_before_response"] = true, true
	}
	if s.leaves {
		allowed["client_closed_request"], allowed["client_upload_failed"] = true, true
	}
	if s.clients > 1 {
		// The lab's servers end a connection after one answer, when another client's
		// request may be on it.
		allowed["keepalive_race"] = true
		if fault.Cause == "closed_before_response" {
			allowed["reset_before_response"] = true // by who closes with bytes unread
		}
		if shared {
			// Where the connection of all ends, one has a part of its answer, another
			// none yet, and a third is still sending.
			allowed["closed_before_response"], allowed["reset_before_response"], allowed["request_write_failed"] = true, true, true
		}
		if strings.Contains(broken.Directives(), "fail_duration") {
			allowed["upstreams_unhealthy"] = true // by another client's failure
		}
	}
	// A record may be made after the client has its answer.
	named := func(f *failure.Failure) bool { return f.Cause == fault.Cause }
	must := !s.leaves && !shared && fault.OrCause == ""
	list := c.failures("limit=1000")
	for deadline := time.Now().Add(2 * time.Second); must && !slices.ContainsFunc(list, named) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
		list = c.failures("limit=1000")
	}
	for _, f := range list {
		if !allowed[f.Cause] && !broken.Prepared() {
			t.Errorf("named %s, and it is %s: %s", f.Cause, fault.Cause, f.Error)
		}
		for _, a := range f.Attempts {
			if a.Cause != "" && a.Cause != "connection_refused" && !allowed[a.Cause] && !broken.Prepared() {
				t.Errorf("an attempt is named %s, and it is %s: %s", a.Cause, fault.Cause, a.Error)
			}
		}
	}
	if must && !slices.ContainsFunc(list, named) {
		t.Errorf("never named %s, in %d records", fault.Cause, len(list))
	}
}
