package diagnostics

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Where no upstream of a pool could serve, none of them is blamed alone, and each is
// found by its name.
func TestDeadPool(t *testing.T) {
	const (
		refused = "None of 3 upstreams accepted a connection."
		none    = "None of 3 upstreams could serve the request. The last one tried: "
	)
	busy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	tests := []struct {
		name, options, site string
		visits              int // 1 by default
		summary             string
		cause               string
		outcome             failure.Outcome
		// found are those by whose names the failure must be found, of A, B and C, and
		// unknown those by whose it must not.
		found, unknown string
		// out are those that could not be selected, after a failure of that visit.
		out map[string]int
	}{
		{name: "all refuse", site: "reverse_proxy A B C {\nlb_policy first\nlb_retries 2\n}", summary: "Nothing accepts connections at A.", cause: "connection_refused", outcome: failure.Failed, found: "A", unknown: "BC"},
		{name: "all refuse in turn", site: "reverse_proxy A B C {\nlb_policy round_robin\nlb_retries 2\n}", summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC"},
		{name: "all refuse often", site: "reverse_proxy A B C {\nlb_policy round_robin\nlb_retries 30\n}", summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC"},
		{
			name: "all refuse, and are out then", site: "reverse_proxy A B C {\nlb_policy first\nlb_retries 3\nfail_duration 1h\n}",
			summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC", out: map[string]int{"A": 0, "B": 0, "C": 0},
		},
		{
			name: "all refuse for some time", site: "reverse_proxy A B C {\nlb_policy first\nlb_try_duration 100ms\nlb_try_interval 10ms\nfail_duration 1h\n}",
			summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC", out: map[string]int{"A": 0, "B": 0, "C": 0},
		},
		{
			name: "one was out before", visits: 2, site: "reverse_proxy /first A {\nfail_duration 1h\n}\nreverse_proxy A B C {\nlb_policy first\nlb_retries 3\nfail_duration 1h\n}",
			summary: none + "Nothing accepts connections at C.", cause: "connection_refused", outcome: failure.Failed, found: "BC", out: map[string]int{"A": 1, "B": 0, "C": 0},
		},
		{name: "one closes", site: "reverse_proxy CUTS B C {\nlb_policy round_robin\nlb_retries 2\n}", summary: none + "CUTS closed the connection without an answer.", cause: "closed_before_response", outcome: failure.Failed, found: "BC"},
		{name: "one answers what is tried again", site: "reverse_proxy A BUSY1 BUSY2 {\nlb_policy round_robin\nlb_retries 2\nlb_retry_match expression `{rp.status_code} == 503`\n}", summary: none + "Nothing accepts connections at A.", cause: "connection_refused", outcome: failure.Failed, found: "A"},
		{name: "all answer what is tried again", site: "reverse_proxy BUSY1 BUSY2 {\nlb_policy round_robin\nlb_retries 1\nlb_retry_match expression `{rp.status_code} == 503`\n}", summary: "None of 2 upstreams could serve the request. The last one tried: BUSY1 itself answered 503.", cause: "upstream_status", outcome: failure.Failed},
		{name: "one is tried often", site: "reverse_proxy A {\nlb_retries 2\n}", summary: "Nothing accepts connections at A.", cause: "connection_refused", outcome: failure.Failed, found: "A", unknown: "BC"},
		{name: "behind forward_auth", site: "forward_auth GOOD {\nuri /auth\n}\nreverse_proxy A B C {\nlb_policy round_robin\nlb_retries 2\n}", summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC"},
		{name: "after an answer of another", site: "reverse_proxy BUSY1 {\n@busy status 503\nhandle_response @busy {\nreverse_proxy A B C {\nlb_policy round_robin\nlb_retries 2\n}\n}\n}", summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC"},
		{name: "a dynamic source", site: "reverse_proxy {\ndynamic multi {\na HOST PORTA\na HOST PORTB\na HOST PORTC\n}\nlb_policy first\nlb_retries 3\nfail_duration 1h\n}", summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC", out: map[string]int{"A": 0, "B": 0, "C": 0}},
		{name: "without an ear", options: "admin off", site: "reverse_proxy A B C {\nlb_policy round_robin\nlb_retries 2\n}", summary: refused, cause: "connection_refused", outcome: failure.Failed, found: "ABC"},
		{name: "rescued by the third", site: "reverse_proxy A B GOOD {\nlb_policy first\nlb_retries 2\nfail_duration 1h\n}", summary: "Nothing accepts connections at B.", cause: "connection_refused", outcome: failure.Rescued, found: "AB", unknown: "C"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			addresses := map[string]string{"A": testcaddy.Dead(t), "B": testcaddy.Dead(t), "C": testcaddy.Dead(t)}
			var names []string
			for name, address := range map[string]string{"CUTS": testcaddy.Cutting(t), "BUSY1": testcaddy.Upstream(t, busy), "BUSY2": testcaddy.Upstream(t, busy), "GOOD": testcaddy.Good(t)} {
				names = append(names, name, address)
			}
			for name, address := range addresses {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, " "+name+" ", " "+address+" ", "at "+name+".", "at "+address+".", "HOST", host, "PORT"+name, port)
			}
			put := func(text string) string { // twice, for neighbours share a space
				return strings.NewReplacer(names...).Replace(strings.NewReplacer(names...).Replace(text))
			}
			c := testcaddy.StartWith(t, test.options, "upstream_diagnostics\n"+put(test.site))
			paths := []string{"/first", "/"}
			if test.visits < 2 {
				paths = paths[1:]
			}
			var visits []*failure.Failure // newest first
			for _, path := range paths {
				c.Get(path)
				visits = currentProcess().journal.Query(failure.Query{Limit: 10}).Failures
			}
			f := visits[0]
			if f.Cause != test.cause || f.Outcome != test.outcome || f.Summary != put(test.summary) {
				t.Errorf("%s %s: %q, want %s %s: %q", f.Outcome, f.Cause, f.Summary, test.outcome, test.cause, put(test.summary))
			}
			for name, address := range addresses {
				list := currentProcess().journal.Query(failure.Query{Upstream: []string{address}, Limit: 10}).Failures
				found, last := slices.Contains(list, f), currentProcess().journal.Last(address)
				_, out := test.out[name]
				if out && !found || strings.Contains(test.found, name) && (!found || last != f) || strings.Contains(test.unknown, name) && (found || last != nil) {
					t.Errorf("by %s %d are found, the last is %+v", name, len(list), last)
				}
			}
			if len(f.Unavailable) != len(test.out) {
				t.Errorf("unavailable are %+v", f.Unavailable)
			}
			for name, visit := range test.out {
				i := slices.IndexFunc(f.Unavailable, func(u failure.Unavailable) bool { return u.Upstream == addresses[name] })
				if i < 0 || f.Unavailable[i].LastFailure != visits[visit].ID || f.Unavailable[i].Until == nil {
					t.Errorf("%s is not out since the failure %s: %+v", name, visits[visit].ID, f.Unavailable)
					continue
				}
				if late := f.Unavailable[i].Until.Sub(f.Time.Time); late > time.Hour {
					t.Errorf("%s is out for %v from now", name, late)
				}
			}
		})
	}
}

// The admin endpoint finds a failure by each upstream that failed, or was out.
func TestFoundByEachUpstream(t *testing.T) {
	first, second := testcaddy.Dead(t), testcaddy.Dead(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+first+" "+second+" {\nlb_policy first\nlb_retries 1\nfail_duration 1h\n}")
	c.Get("/")
	for _, name := range []string{first, second} {
		if list := c.Failures("upstream=" + name); len(list) != 1 || list[0].AttemptCount != 2 {
			t.Errorf("by %s: %+v", name, list)
		}
	}
	if list := c.Failures("upstream=" + testcaddy.Dead(t)); len(list) > 0 {
		t.Errorf("by another name: %+v", list)
	}
}
