package operator

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// ended changes how the requests of an incident ended.
func ended(i failure.Incident, outcomes map[failure.Outcome]uint64) failure.Incident {
	i.Outcomes, i.Count = outcomes, 0
	for _, n := range outcomes {
		i.Count += n
	}
	return i
}

// cardsOf are the cards of a page's section, each as the classes of its article and its text.
func cardsOf(body string) map[string]string {
	cards := map[string]string{}
	for _, found := range regexp.MustCompile(`(?s)<article class="card incident (\w+)" id="i-([0-9a-f]+)">.*?</article>`).FindAllStringSubmatch(body, -1) {
		cards[found[2]] = found[1] + " " + found[0]
	}
	return cards
}

// walkingView counts the walks through all records that are kept.
type walkingView struct {
	*fakeView
	walks int
}

func (v *walkingView) Query(q failure.Query) failure.FailurePage {
	v.walks++
	return v.fakeView.Query(q)
}

func (v *walkingView) Get(id string) (*failure.Failure, bool) {
	v.walks++
	return v.fakeView.Get(id)
}

// However many incidents a page shows, their failures are looked for once: 100,000 may be
// kept, and the page is asked for each five seconds.
func TestPagesLookThroughRecordsOnce(t *testing.T) {
	f := &failure.Failure{ID: "k3f9qw2ax"}
	v := &walkingView{fakeView: &fakeView{page: failure.FailurePage{Failures: []*failure.Failure{f}}}}
	for n := range 20 {
		i := incidentOf(n, failure.IncidentOpen)
		v.incidents = append(v.incidents, i)
		v.board.Upstreams = append(v.board.Upstreams, failure.UpstreamState{Upstream: i.Upstream, OpenIncidents: []string{i.ID}})
	}
	for path, shown := range map[string]int{"/": 20, "/incidents": 0, "/upstreams": 0} { // cards, and lines
		v.walks = 0
		body := browse(dashboardOf(v), "", path).Body.String()
		if n := strings.Count(body, `href="./failures/k3f9qw2ax"`); v.walks != 1 || n != shown {
			t.Errorf("%s: %d walks, %d cards show the failure that is kept", path, v.walks, n)
		}
	}
}

// What visitors notice stands above what retries have saved, and looks worse.
func TestDashboardOrder(t *testing.T) {
	rescued := ended(incidentOf(1, failure.IncidentOpen), map[failure.Outcome]uint64{failure.Rescued: 25})
	failed := ended(incidentOf(2, failure.IncidentOpen), map[failure.Outcome]uint64{failure.Failed: 1, failure.Rescued: 900})
	truncated := ended(incidentOf(3, failure.IncidentOpen), map[failure.Outcome]uint64{failure.Truncated: 1})
	v := &fakeView{overview: failure.Overview{OpenIncidents: 3}, incidents: []failure.Incident{rescued, failed, truncated}}
	body := browse(dashboardOf(v), "", "/").Body.String()
	at := func(i failure.Incident) int { return strings.Index(body, `id="i-`+i.ID+`"`) }
	if !(at(failed) < at(rescued) && at(truncated) < at(rescued)) {
		t.Error("what was rescued stands above what wasn't")
	}
	cards := cardsOf(body)
	for _, test := range []struct {
		incident failure.Incident
		kind     string
		says     string
	}{{rescued, kindSaved, "<b>Open, and retries save every request</b>"}, {failed, kindBad, "<b>Open</b>"}, {truncated, kindBad, "<b>Open</b>"}} {
		card := cards[test.incident.ID]
		if !strings.HasPrefix(card, test.kind+" ") || !strings.Contains(card, test.says) || !strings.Contains(card, `class="icon `+test.kind+`"`) {
			t.Errorf("the card is %.400s", card)
		}
	}
	for _, want := range []string{"<h1>2 things are broken, 1 more is saved by retries</h1>", `<h2 id="saved">Saved by retries</h2>`, `<b class="badge bad">2<`} {
		if !strings.Contains(body, want) {
			t.Errorf("it doesn't say %s", want)
		}
	}
	list := browse(dashboardOf(v), "", "/incidents").Body.String()
	if strings.Index(list, rescued.ID) < strings.Index(list, truncated.ID) || !strings.Contains(list, `class="icon saved"`) {
		t.Error("the list has what was rescued above what wasn't")
	}

	v.incidents = []failure.Incident{rescued}
	v.board.Upstreams = []failure.UpstreamState{{Upstream: rescued.Upstream, OpenIncidents: []string{rescued.ID}}}
	if board := browse(dashboardOf(v), "", "/upstreams").Body.String(); !strings.Contains(board, `<article class="card saved">`) || !strings.Contains(board, "failing, and retries save every request") {
		t.Error("the board shows its upstream as if visitors noticed")
	}
	body = browse(dashboardOf(v), "", "/").Body.String()
	for _, want := range []string{`<section class="hero saved"`, "<h1>Retries save every request</h1>", `<b class="badge saved">1<`} {
		if !strings.Contains(body, want) {
			t.Errorf("with that alone, it doesn't say %s", want)
		}
	}
	if strings.Contains(body, "Broken now") {
		t.Error("with that alone, something is broken")
	}
}

// What follows from another incident stands with that one.
func TestDashboardFollows(t *testing.T) {
	refused := incidentOf(1, failure.IncidentOpen) // app1:8080
	other := incidentOf(2, failure.IncidentOpen)   // app2:8080, which is in the pool and no reason
	elsewhere := incidentOf(3, failure.IncidentOpen)
	elsewhere.Site, elsewhere.Upstream = "another.example", "app1:8080"
	nobody := incidentOf(4, failure.IncidentOpen)
	nobody.Upstream, nobody.Cause, nobody.Phase, nobody.Summary, nobody.Samples = "", "upstreams_unhealthy", failure.PhaseSelect, "No upstream is healthy, so none was tried.", []string{"k3f9qw2ax"}
	f := record("k3f9qw2ax")
	f.Unavailable = []failure.Unavailable{{Upstream: "app1:8080", Reason: failure.ReasonFails}, {Upstream: "app9:8080", Reason: failure.ReasonFails}}
	f.Incident, f.Cause, f.Upstream = nobody.ID, nobody.Cause, ""

	shown := func(incidents ...failure.Incident) string {
		v := &fakeView{incidents: incidents, page: failure.FailurePage{Failures: []*failure.Failure{f}}}
		return browse(dashboardOf(v), "", "/").Body.String()
	}
	body := shown(nobody, refused, other, elsewhere)
	cards := cardsOf(body)
	if len(cards) != 3 || cards[nobody.ID] != "" || !strings.Contains(body, "3 things are broken") {
		t.Errorf("there are %d cards", len(cards))
	}
	for id, want := range map[string]bool{refused.ID: true, other.ID: false, elsewhere.ID: false} {
		if got := strings.Contains(cards[id], "What follows from it") && strings.Contains(cards[id], "No upstream is healthy"); got != want {
			t.Errorf("%s has what follows: %v", id, got)
		}
	}
	// A consequence that visitors notice makes its origin as bad.
	saved := ended(refused, map[failure.Outcome]uint64{failure.Rescued: 3})
	if card := cardsOf(shown(nobody, saved))[saved.ID]; !strings.HasPrefix(card, kindBad) {
		t.Errorf("the origin is %.20s", card)
	}
	// Without an origin that is open it stands alone.
	over := incidentOf(1, failure.IncidentResolved)
	if cards := cardsOf(shown(nobody, over)); cards[nobody.ID] == "" {
		t.Error("nothing stands there")
	}
	// Where upstreams are full, only what takes time is a reason.
	nobody.Cause, f.Unavailable[0].Reason = "upstreams_full", failure.ReasonFull
	if cards := cardsOf(shown(nobody, refused)); cards[nobody.ID] == "" {
		t.Error("what is refused at once has filled an upstream")
	}
	refused.Cause = "response_timeout"
	if cards := cardsOf(shown(nobody, refused)); cards[nobody.ID] != "" {
		t.Error("what waits has not filled an upstream")
	}
	late := refused
	late.FirstSeen = failure.At(nobody.LastSeen.Add(time.Second))
	if cards := cardsOf(shown(nobody, late)); cards[nobody.ID] == "" {
		t.Error("what came later is its reason")
	}
	waiting := record("waitedfor")
	waiting.DurationMS, late.Samples = 2000, []string{"waitedfor"}
	v2 := &fakeView{incidents: []failure.Incident{nobody, late}, page: failure.FailurePage{Failures: []*failure.Failure{f, waiting}}}
	if cards := cardsOf(browse(dashboardOf(v2), "", "/").Body.String()); cards[nobody.ID] != "" {
		t.Error("what was under way is no reason")
	}
	// Both pages lead to each other.
	v := &fakeView{incidents: []failure.Incident{nobody, refused}, page: failure.FailurePage{Failures: []*failure.Failure{f}}}
	if body := browse(dashboardOf(v), "", "/incidents/"+nobody.ID).Body.String(); !strings.Contains(body, "<b>Because of</b>") || !strings.Contains(body, `href="../incidents/`+refused.ID+`"`) {
		t.Error("the consequence doesn't lead to its origin")
	}
	if body := browse(dashboardOf(v), "", "/failures/k3f9qw2ax").Body.String(); !strings.Contains(body, "It follows from") {
		t.Error("the failure doesn't lead to its origin")
	}
}

// A card says what was asked for, and when it closes.
func TestDashboardCardTells(t *testing.T) {
	i := incidentOf(1, failure.IncidentOpen)
	i.Samples = []string{"aaaaaaaaa", "bbbbbbbbb", "ccccccccc", "ddddddddd"}
	v := &fakeView{incidents: []failure.Incident{i}}
	for n, uri := range []string{"/old", "/api/cart?id=REDACTED", "/" + strings.Repeat("long", 40), "/api/cart?id=REDACTED&page=2"} {
		f := record(i.Samples[n])
		f.Request.Method, f.Request.URI = "POST", uri
		v.page.Failures = append(v.page.Failures, f)
	}
	body := strings.ReplaceAll(browse(dashboardOf(v), "", "/").Body.String(), "<wbr>", "")
	at, long := strings.Index(body, "POST /api/cart<"), strings.Index(body, "POST /longlong")
	if at < 0 || long < at || strings.Contains(body, "POST /old") || strings.Contains(body, strings.Repeat("long", 20)) {
		t.Errorf("it names %d %d %s", at, long, body)
	}
	v.page.Failures[3].Upstream = "10.0.0.7:3000" // that its sample for the Caddyfile has
	if body := browse(dashboardOf(v), "", "/incidents/"+i.ID).Body.String(); !strings.Contains(body, "reverse_proxy 10.0.0.7:3000 {") {
		t.Error("its lines for the Caddyfile name another upstream")
	}
	if !strings.Contains(body, "Closes 30 seconds after its upstream answers well again; or after 1 hour without a failure.") {
		t.Error("it doesn't say when it closes")
	}
	if body := browse(dashboardOf(&fakeView{incidents: []failure.Incident{incidentOf(1, failure.IncidentResolved)}}), "", "/incidents/"+i.ID).Body.String(); strings.Contains(body, "Closes") {
		t.Error("one that is over closes")
	}
}

// Where an upstream was asked again, how it went is beside how it had gone.
func TestDashboardCompares(t *testing.T) {
	now := failure.At(time.Now())
	i := incidentOf(1, failure.IncidentOpen)
	f := record("k3f9qw2ax")
	f.Incident, f.Upstream, f.Cause, f.Phase = i.ID, "app1:8080", "connection_refused", failure.PhaseConnect
	f.Attempts = []failure.Attempt{{Upstream: "app1:8080", Address: "10.0.0.7:8080", Cause: "connection_refused", Error: "connect: connection refused", PhasesMS: failure.Phases{DNS: failure.MSPointer(time.Millisecond), Connect: failure.MSPointer(2 * time.Millisecond)}}}
	for n, ok := range []bool{false, false, true} {
		p := failure.Probe{Upstream: i.Upstream, Time: now, OK: ok, Summary: []string{"First asked.", "Then asked.", "It answered 204."}[n], Steps: []failure.ProbeStep{
			{Step: failure.ProbeConnect, OK: true, Address: "10.0.0.7:8080"}, {Step: failure.ProbeHTTP, OK: ok, Status: 204, Error: hostile},
		}}
		i.Probes = append(i.Probes, p)
	}
	v := &fakeView{incidents: []failure.Incident{i}, page: failure.FailurePage{Failures: []*failure.Failure{f}}}
	d := dashboardOf(v)
	for _, target := range []string{"/incidents/" + i.ID, "/failures/k3f9qw2ax"} {
		body := browse(d, "", target).Body.String()
		_, compared, ok := strings.Cut(body, `<div class="compare">`)
		if !ok {
			t.Errorf("%s compares nothing", target)
			continue
		}
		before, after, _ := strings.Cut(compared, `id="after"`)
		for _, want := range []string{"Before", f.Summary, `<li class="good"`, `<li class="bad"`, "Connect</b> failed", "10.0.0.7:8080, connect: connection refused", "k3f9qw2ax"} {
			if !strings.Contains(before, want) {
				t.Errorf("%s: before, no %q in %s", target, want, before)
			}
		}
		for _, want := range []string{"It answered 204.", "<b>HTTP</b>", "answered 204", "The last 3 times", "First asked.", "Then asked."} {
			if !strings.Contains(after, want) {
				t.Errorf("%s: after, no %q", target, want)
			}
		}
		if strings.Contains(body, "<script>alert") || strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s: hostile text came through", target)
		}
	}
	v.page.Failures = nil
	if body := browse(d, "", "/incidents/"+i.ID).Body.String(); !strings.Contains(body, "No record of it is kept any more.") {
		t.Error("without a record it doesn't say so")
	}
	v.incidents[0].Probes = nil
	if body := browse(d, "", "/incidents/"+i.ID).Body.String(); strings.Contains(body, "Asked again") {
		t.Error("it was not asked again")
	}
}

// The steps of an attempt are those of a probe.
func TestStepsOf(t *testing.T) {
	ms := failure.MSPointer
	for name, test := range map[string]struct {
		phase  failure.Phase
		cause  string
		phases failure.Phases
		want   []string
	}{
		"connecting":         {failure.PhaseConnect, "c", failure.Phases{DNS: ms(1), Connect: ms(1)}, []string{"+DNS", "-Connect"}},
		"in the handshake":   {failure.PhaseTLS, "c", failure.Phases{Connect: ms(1), TLS: ms(1), Send: ms(1), Wait: ms(1)}, []string{"+Connect", "-TLS"}},
		"waiting":            {failure.PhaseWait, "c", failure.Phases{Connect: ms(1), Send: ms(1), Wait: ms(1)}, []string{"+Connect", "-HTTP"}},
		"before it was told": {failure.PhaseConnect, "c", failure.Phases{}, []string{"-Connect"}},
		"another's phase":    {failure.PhaseWait, "other", failure.Phases{DNS: ms(1), Connect: ms(1)}, []string{"+DNS", "-Connect"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, one := range stepsOf(&failure.Failure{Phase: test.phase, Cause: "c"}, &failure.Attempt{Cause: test.cause, PhasesMS: test.phases, Error: "why"}) {
				sign := map[bool]string{true: "+", false: "?"}[one.OK]
				if one.Failed {
					sign = "-"
				}
				if one.Failed != strings.Contains(one.Words, "why") {
					t.Errorf("%s says %q", one.Name, one.Words)
				}
				got = append(got, sign+one.Name)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
