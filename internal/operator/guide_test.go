package operator

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Each cause of the catalogue has a guide, which has nothing that there is nothing to change.
func TestGuides(t *testing.T) {
	guideOf := GuideIn(slices.Collect(cause.Rows()))
	for row := range cause.Rows() {
		guide := guideOf(row.Name)
		places := guide.Caddy + guide.Docker + guide.Application
		if len(guide.Reasons) == 0 || places == "" || strings.Contains(places, "Nothing to change.") || guide.Caddyfile != row.Fix.Caddyfile {
			t.Errorf("%s: %+v", row.Name, guide)
		}
	}
	if guide := guideOf("no such cause"); guide.Reasons != nil || guide.Caddy != "" {
		t.Errorf("%+v", guide)
	}
}

// The text of a failure has the catalogue's reasons, and what the last failure of an
// upstream was that could not be selected.
func TestFailureTextLooksUp(t *testing.T) {
	all := slices.Collect(cause.Rows())
	f, last := record("k3f9qw2ax"), record("k3f9qw2ay")
	last.Summary = "What it was before."
	f.Unavailable = []failure.Unavailable{{Upstream: "app2:8080", Reason: failure.ReasonFails, LastFailure: last.ID}, {Upstream: "app3:8080", Reason: failure.ReasonFails, LastFailure: "forgotten"}}
	h := New(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{f, last}}}, all)
	w := ask(h, "GET", "/failures/k3f9qw2ax?format=text")
	check(t, w, 200, typeText)
	row := cause.ByName("connection_refused")
	for _, want := range []string{"last failure k3f9qw2ay: What it was before.\n", "last failure forgotten\n", "  - " + row.UsualReasons[0] + "\n", row.Fix.Docker, "    lb_try_duration 10s\n"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, w.Body)
		}
	}
}
