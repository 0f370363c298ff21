package operator

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// One is no plural.
func TestPagesCountOne(t *testing.T) {
	var history [failure.HistoryMinutes]uint32
	history[failure.HistoryMinutes-2] = 3
	if label := drawHistory(history[:]).Label; !strings.HasSuffix(label, "most in one minute 3, 1 minute ago") {
		t.Error(label)
	}

	f := &failure.Failure{ID: "k3f9qw2ax"}
	v := &fakeView{overview: failure.Overview{KeptCount: 1, Dropped: 1}, page: failure.FailurePage{Failures: []*failure.Failure{f}}}
	resolved := failure.At(time.Now())
	for n := range maxCards + 1 {
		i := incidentOf(n, failure.IncidentOpen)
		over := incidentOf(maxCards+1+n, failure.IncidentResolved)
		over.ResolvedAt = &resolved
		v.incidents = append(v.incidents, i, over)
		v.board.Warnings = append(v.board.Warnings, failure.Warning{Count: 1})
	}
	v.board.Upstreams = []failure.UpstreamState{{Upstream: "srv app", Lookup: &failure.SourceLookup{AddressCount: 1, Addresses: []failure.SourceAddress{{Address: "10.0.0.1:80"}}}}}
	d := dashboardOf(v)
	for path, want := range map[string][]string{
		"/":          {"1 more that is open<", "1 more that was resolved<", "1 more warning, at its upstream<", "1 failure belongs to no incident"},
		"/upstreams": {"<summary>1 address <"},
	} {
		body := browse(d, "", path).Body.String()
		for _, words := range want {
			if !strings.Contains(body, words) {
				t.Errorf("%s has no %q", path, words)
			}
		}
	}
	v.page.Failures = nil
	if body := browse(d, "", "/failures?site=other").Body.String(); !strings.Contains(body, `1 is kept. <a href="./failures">Show it</a>`) {
		t.Error("one that is kept")
	}
}
