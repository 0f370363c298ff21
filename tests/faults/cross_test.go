package faults

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// situation is a way in which a fault may be met, besides first and alone, as
// TestFaults meets each.
type situation struct {
	name string
	// site makes the site of a broken upstream, which it may change; unfit says why the
	// fault can't be met so.
	site func(t *testing.T, fault faultlab.Fault, broken *faultlab.Upstream) (site, unfit string)
	// warm says that a request goes well first, over the connection that the fault
	// is then met on.
	warm bool
	// clients come at the same time, 1 by default.
	clients int
	// leaves says that the client leaves at once, whatever the fault wants.
	leaves bool
}

const (
	afterRetry        = "after a retry"
	onReused          = "on a reused connection"
	behindForwardAuth = "behind forward_auth"
	underLoad         = "under load"
	clientLeaves      = "with a client that leaves"
)

var situations = []situation{
	{
		// All but those made of no upstream or several: a second one stands beside it.
		name: afterRetry,
		site: func(t *testing.T, _ faultlab.Fault, broken *faultlab.Upstream) (site, unfit string) {
			if strings.Contains(broken.Directives(), "lb_") || strings.Contains(broken.Directives(), "dynamic") || strings.ContainsAny(broken.To, " {") {
				return "", "it is made of other upstreams"
			}
			// Round robin begins with the second.
			return "reverse_proxy " + broken.To + " " + testcaddy.Dead(t) + " {\nlb_policy round_robin\nlb_retries 1\n" + broken.Directives() + "}", ""
		},
	},
	{
		// By nature only those that happen to a request, not to a connection that is
		// being made, and over no FastCGI: half of all.
		name: onReused,
		site: func(t *testing.T, fault faultlab.Fault, broken *faultlab.Upstream) (site, unfit string) {
			unfit = reuse(t, fault, broken)
			return broken.Caddyfile(), unfit
		},
		warm: true,
	},
	{
		name: behindForwardAuth,
		site: func(t *testing.T, _ faultlab.Fault, broken *faultlab.Upstream) (site, unfit string) {
			return "forward_auth " + testcaddy.Good(t) + " {\nuri /auth\n}\n" + broken.Caddyfile(), ""
		},
	},
	{
		// All but those that other requests have to prepare.
		name: underLoad,
		site: func(_ *testing.T, _ faultlab.Fault, broken *faultlab.Upstream) (site, unfit string) {
			if broken.Prepared() {
				return "", "another client's request would come between"
			}
			return broken.Caddyfile(), ""
		},
		clients: 8,
	},
	{
		name: clientLeaves,
		site: func(_ *testing.T, fault faultlab.Fault, broken *faultlab.Upstream) (site, unfit string) {
			if strings.HasPrefix(fault.Name, "h2") && fault.Cause == "request_write_timeout" {
				return "", "Caddy's own body has a data race then (reverseproxy.go, bodyNopCloserIfNotRead)"
			}
			return broken.Caddyfile(), ""
		},
		leaves: true,
	},
}

// alsoRight are the names that a situation makes right besides the fault's own. What
// is unknown is never a wrong name.
var alsoRight = []struct {
	situation string // "" for each
	why       string
	when      func(fault faultlab.Fault, broken *faultlab.Upstream) bool
	causes    []string
	// ofAttempt says that they are right of an attempt, not of the whole.
	ofAttempt bool
	// instead says that the fault's own name need not be given at all.
	instead bool
}{
	{
		situation: afterRetry, why: "the attempt before it, at an upstream that isn't there",
		causes:    []string{"connection_refused"},
		ofAttempt: true,
	},
	{
		situation: afterRetry, why: "a request that prepares the fault is rescued from there",
		when:   func(_ faultlab.Fault, broken *faultlab.Upstream) bool { return broken.Prepared() },
		causes: []string{"connection_refused"},
	},
	{
		why:    "the failure by which it becomes unhealthy",
		when:   func(fault faultlab.Fault, _ *faultlab.Upstream) bool { return fault.Name == "unhealthy_after_failures" },
		causes: []string{"connection_refused"},
	},
	{
		situation: onReused, why: "what died unanswered and at once is a race by its definition; a GET is tried again, and goes well",
		when:    diesUnanswered,
		causes:  []string{"keepalive_race"},
		instead: true,
	},
	{
		situation: onReused, why: "Go's transport tries a GET again, whatever ended it, and hides the error",
		when: func(fault faultlab.Fault, broken *faultlab.Upstream) bool {
			return (fault.Cause == "read_timeout" || fault.Cause == "goaway" || strings.HasPrefix(fault.Name, "h2_goaway_")) && broken.Request.Body == nil
		},
		instead: true,
	},
	{
		situation: underLoad, why: "the lab's servers end a connection after one answer, when another client's request may be on it",
		causes: []string{"keepalive_race"},
	},
	{
		situation: underLoad, why: "who closes with bytes unread resets",
		when:   isCause("closed_before_response"),
		causes: []string{"reset_before_response"},
	},
	{
		situation: underLoad, why: "where the connection of all ends, one has a part of its answer, another none yet, and a third is still sending",
		when: func(fault faultlab.Fault, _ *faultlab.Upstream) bool {
			return fault.Cause == "response_truncated" && strings.HasPrefix(fault.Name, "h2")
		},
		causes:  []string{"closed_before_response", "reset_before_response", "request_write_failed"},
		instead: true,
	},
	{
		situation: underLoad, why: "another client's failure made it so",
		when: func(_ faultlab.Fault, broken *faultlab.Upstream) bool {
			return strings.Contains(broken.Directives(), "fail_duration")
		},
		causes: []string{"upstreams_unhealthy"},
	},
	{
		why: "the attempt whose failure had the request sent again, or the repeat without its body",
		when: func(fault faultlab.Fault, broken *faultlab.Upstream) bool {
			return strings.Contains(broken.Directives(), "lb_retry_match") && broken.Request.Body != nil
		},
		causes:    []string{"closed_before_response", "stream_reset", "retried_without_body"},
		ofAttempt: true,
	},
	{
		situation: underLoad, why: "the first answer alone is thrown away, and its repeat may meet a connection that ends",
		when:    func(fault faultlab.Fault, _ *faultlab.Upstream) bool { return fault.Name == "answer_thrown_away" },
		instead: true,
	},
	{
		situation: underLoad, why: "where the connection of all ends, the transport can't send another's body again",
		when: func(fault faultlab.Fault, _ *faultlab.Upstream) bool {
			return (fault.Cause == "request_write_timeout" || fault.Cause == "goaway" || fault.Cause == "stream_reset") && strings.HasPrefix(fault.Name, "h2")
		},
		causes: []string{"retried_without_body"},
	},
	{
		situation: underLoad, why: "on a busy machine their connection is reset before any of them has begun on it",
		when: func(fault faultlab.Fault, _ *faultlab.Upstream) bool {
			return fault.Cause == "request_write_failed" && strings.HasPrefix(fault.Name, "h2")
		},
		causes:  []string{"retried_without_body"},
		instead: true,
	},
	{
		situation: clientLeaves, why: "it left, perhaps before the fault was met",
		causes:  []string{"client_closed_request", "client_upload_failed"},
		instead: true,
	},
	{
		situation: clientLeaves, why: "it left before the forward proxy had answered, which had not been told of the upstream",
		when:   isCause("forward_proxy_answered"),
		causes: []string{"forward_proxy_failed"},
	},
}

func isCause(name string) func(faultlab.Fault, *faultlab.Upstream) bool {
	return func(fault faultlab.Fault, _ *faultlab.Upstream) bool { return fault.Cause == name }
}

func diesUnanswered(fault faultlab.Fault, _ *faultlab.Upstream) bool {
	return fault.Cause == "closed_before_response" || fault.Cause == "reset_before_response"
}

// rightNames are those that are true of a record of the fault in a situation, and of
// one of its attempts; must says that the fault's own has to be given.
func (s situation) rightNames(fault faultlab.Fault, broken *faultlab.Upstream) (ofRecord, ofAttempt []string, must bool) {
	ofRecord = []string{fault.Cause, fault.OrCause, "unknown"}
	must = fault.OrCause == ""
	for _, row := range alsoRight {
		if row.situation != "" && row.situation != s.name || row.when != nil && !row.when(fault, broken) {
			continue
		}
		must = must && !row.instead
		ofAttempt = append(ofAttempt, row.causes...)
		if !row.ofAttempt {
			ofRecord = append(ofRecord, row.causes...)
		}
	}
	return ofRecord, append(ofAttempt, ofRecord...), must
}

// crossedFaults is how many faults have to be met in every situation.
const crossedFaults = 40

// A wrong name is looked for on purpose: every fault in every situation is named as
// it is alone, or as what the situation makes of it.
func TestFaultsCrossed(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	// HTTP/3's faults take seconds each: TestFaults has them once.
	faults := slices.DeleteFunc(faultlab.Faults(), func(fault faultlab.Fault) bool {
		return fault.Skip != "" || fault.Cause == "" || strings.HasPrefix(fault.Name, "h3_")
	})
	t.Logf("first and alone: %d faults (TestFaults)", len(faults))
	asked, met := 0, make(map[string]int)
	for _, s := range situations {
		count := 0
		t.Run(s.name, func(t *testing.T) {
			for _, fault := range faults {
				t.Run(fault.Name, func(t *testing.T) {
					asked++
					crossed(t, fault, s)
					count++
					met[fault.Name]++
				})
			}
		})
		t.Logf("%s: %d faults", s.name, count)
	}
	if asked < len(situations)*len(faults) {
		return // not all were to be run
	}
	inAll := 0
	for _, count := range met {
		if count == len(situations) {
			inAll++
		}
	}
	t.Logf("in all %d situations: %d faults", len(situations)+1, inAll)
	if inAll < crossedFaults {
		t.Errorf("%d faults were met in every situation, want %d", inAll, crossedFaults)
	}
}

// crossed meets a fault in a situation, and looks for a wrong name in all records.
func crossed(t *testing.T, fault faultlab.Fault, s situation) {
	broken, options := testcaddy.Break(t, fault)
	site, unfit := s.site(t, fault, broken)
	if unfit != "" {
		t.Skip(unfit)
	}
	c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+site)
	if s.leaves {
		broken.Request.Leave = faultlab.LeaveSent
	}
	if s.warm {
		if a := c.Get("/"); a.Status != 200 {
			t.Fatalf("the first request got %d %v", a.Status, a.Err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	for range max(s.clients, 1) {
		clients.Go(func() {
			if _, err := broken.Visit(ctx, c.URL+"/"); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	c.Idle()

	ofRecord, ofAttempt, must := s.rightNames(fault, broken)
	// A record may be made after the client has its answer.
	named := func(f *failure.Failure) bool { return f.Cause == fault.Cause }
	list := c.Failures("limit=1000")
	for deadline := time.Now().Add(2 * time.Second); must && !slices.ContainsFunc(list, named) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
		list = c.Failures("limit=1000")
	}
	if must && !slices.ContainsFunc(list, named) {
		t.Errorf("never named %s, in %d records", fault.Cause, len(list))
	}
	reused := false
	for _, f := range list {
		if !slices.Contains(ofRecord, f.Cause) {
			t.Errorf("named %s, and it is %s: %s %q", f.Cause, fault.Cause, f.Error, f.Evidence)
		}
		if f.Cause == fault.Cause && (f.Outcome != failure.Abandoned || fault.Outcome == string(failure.Abandoned)) { // who leaves breaks off its upload, whatever else would have
			blamed(t, fault, broken, f)
		}
		for _, a := range f.Attempts {
			if a.Cause != "" && !slices.Contains(ofAttempt, a.Cause) {
				t.Errorf("an attempt is named %s, and it is %s: %s", a.Cause, fault.Cause, a.Error)
			}
			reused = reused || a.Reused != nil && *a.Reused
		}
	}
	if s.warm && !reused {
		t.Errorf("no connection was reused, in %d records", len(list))
	}
}

// blamed checks whom a record with the fault's own name blames: side and phase are
// right in every situation, but where a client leaves that is for it to choose, and
// what is neither client's nor proxy's doing is this very upstream's.
func blamed(t *testing.T, fault faultlab.Fault, broken *faultlab.Upstream, f *failure.Failure) {
	t.Helper()
	// Of a request that takes its time all may have been written when the end comes.
	written := fault.Phase == string(failure.PhaseSend) && f.Phase == failure.PhaseWait
	if string(f.Side) != fault.Side || string(f.Phase) != fault.Phase && !written && f.Side != failure.SideClient && f.Outcome != failure.Abandoned {
		t.Errorf("%s in phase %q of side %q, want %q of %q", f.Cause, f.Phase, f.Side, fault.Phase, fault.Side)
	}
	ours := f.Side == failure.SideUpstream || f.Side == failure.SideNetwork
	if ours && f.Phase != failure.PhaseSelect && !slices.Contains(strings.Fields(broken.To), f.Upstream) {
		t.Errorf("%s of upstream %q, want %q", f.Cause, f.Upstream, broken.To)
	}
}
