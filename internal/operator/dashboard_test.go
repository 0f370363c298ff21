package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// hostile is what nobody may take for anything but text: markup, an escape that colours a
// terminal, and a change of direction.
const hostile = "<script>alert(1)</script>\"'`\x1b[31m\u202eevil"

// incidentOf is one that began some minutes ago.
func incidentOf(n int, state failure.IncidentState) failure.Incident {
	now := time.Now()
	i := failure.Incident{
		ID: fmt.Sprintf("%016x", n), Site: "example.com", Upstream: fmt.Sprintf("app%d:8080", n), Cause: "connection_refused",
		ProxyError: "connection_refused", Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary: fmt.Sprintf("Nothing accepts connections at app%d:8080.", n), Advice: "Start the application, or correct the port in reverse_proxy.",
		State: state, Count: 25, Outcomes: map[failure.Outcome]uint64{failure.Failed: 20, failure.Rescued: 5},
		FirstSeen: failure.At(now.Add(-12 * time.Minute)), LastSeen: failure.At(now.Add(-5 * time.Second)), DurationS: 715,
		Samples: []string{"k3f9qw2ax", "hasgivenway"},
		Changes: []failure.Change{{Kind: failure.ChangeConfig, Summary: "It began 4 s after a config was loaded."}},
	}
	for minute := range 12 {
		i.PerMinute[failure.HistoryMinutes-1-minute] = uint32((minute * 7) % 11)
	}
	if state == failure.IncidentResolved {
		at := failure.At(now.Add(-2 * time.Minute))
		i.ResolvedAt, i.ResolvedBy = &at, failure.ResolvedByAnswer
	}
	return i
}

// dashboardOf shows what a test put into v. The catalogue is the whole one.
func dashboardOf(v View) *Dashboard { return NewDashboard(v, slices.Collect(cause.Rows())) }

// browse asks as a browser does that sees mount in front of the path.
func browse(d *Dashboard, mount, target string, accept ...string) *httptest.ResponseRecorder {
	return request(d, http.MethodGet, mount, target, accept...)
}

func request(d *Dashboard, method, mount, target string, accept ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://ops.example.com/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL = &url.URL{Path: path, RawQuery: query}
	if accept == nil {
		accept = []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
	}
	r.Header["Accept"] = accept
	w := httptest.NewRecorder()
	d.Serve(w, r, Visitor{URL: url.URL{Scheme: "https", Host: "ops.example.com", Path: mount + path, RawQuery: query}, User: "alice"})
	return w
}

var href = regexp.MustCompile(` href="([^"]*)"`)

// Every link of every page leads to a page, wherever the dashboard is mounted.
func TestDashboardLinks(t *testing.T) {
	f := record("k3f9qw2ax")
	f.Incident = incidentOf(1, failure.IncidentOpen).ID
	resolved := incidentOf(2, failure.IncidentResolved)
	now := failure.At(time.Now())
	warning := failure.Warning{Kind: failure.WarnConnect, Upstream: "app1:8080", Summary: "Slow.", Advice: "Look.", Evidence: []string{"900 ms"}, LastFailure: f.ID, FirstSeen: now, LastSeen: now, Count: 2}
	v := &fakeView{
		overview: failure.Overview{Since: now, Counts: map[failure.Outcome]uint64{failure.Failed: 1}, KeptCount: 1, OpenIncidents: 1, Warnings: 1},
		page:     failure.FailurePage{Failures: []*failure.Failure{f}, Next: failure.Cursor(7).String(), Newest: failure.Cursor(9).String()},
		incidents: []failure.Incident{
			incidentOf(1, failure.IncidentOpen), resolved,
		},
		board: failure.Board{Upstreams: []failure.UpstreamState{{
			Upstream: "app1:8080", Sites: []string{"example.com"}, OpenIncidents: []string{f.Incident}, Warnings: []failure.Warning{warning},
			LastFailure: &failure.LastFailure{ID: f.ID, Time: now, Cause: "connection_refused"},
			Lookup:      &failure.SourceLookup{Time: now, AddressCount: 1, Addresses: []failure.SourceAddress{{Address: "10.0.0.7:8080", LastSuccess: &now}}},
		}}},
	}
	d := dashboardOf(v)
	d.AllowClear = true
	for _, mount := range []string{"", "/ops", "/a/b%20c"} {
		pending, seen := []string{"/"}, map[string]bool{"/": true}
		for len(pending) > 0 {
			target := pending[0]
			pending = pending[1:]
			w := browse(d, mount, target)
			if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && !strings.Contains(target, "format=") {
				t.Errorf("%s%s: status %d, %s", mount, target, w.Code, w.Header().Get("Content-Type"))
				continue
			}
			if strings.Contains(w.Body.String(), "ZgotmplZ") {
				t.Errorf("%s: the template took out something", target)
			}
			base, err := url.Parse("https://ops.example.com" + mount + target)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range href.FindAllStringSubmatch(w.Body.String(), -1) {
				link := strings.ReplaceAll(found[1], "&amp;", "&")
				if strings.HasPrefix(link, "data:") || strings.HasPrefix(link, report.DocsURL) {
					continue
				}
				to, err := base.Parse(link)
				if err != nil {
					t.Errorf("%s has the link %s: %v", target, link, err)
					continue
				}
				stripped, ok := strings.CutPrefix(to.EscapedPath(), mount)
				if !ok || to.Host != base.Host {
					t.Errorf("%s%s leads away, to %s", mount, target, link)
					continue
				}
				if to.RawQuery != "" {
					stripped += "?" + to.RawQuery
				}
				if !seen[stripped] && len(seen) < 200 {
					seen[stripped] = true
					pending = append(pending, stripped)
				}
			}
		}
		for _, must := range []string{"/failures", "/failures/k3f9qw2ax", "/incidents/" + resolved.ID, "/upstreams", "/causes", "/forget", "/incidents"} {
			if !seen[must] {
				t.Errorf("mounted at %q, nothing leads to %s", mount, must)
			}
		}
	}
}

// What clients and upstreams sent is text, wherever it stands.
func TestDashboardHostileText(t *testing.T) {
	f := record("k3f9qw2ax")
	f.Site, f.Upstream, f.Summary, f.Advice, f.Error, f.Request.URI, f.Request.Host = hostile, hostile, hostile, hostile, hostile, "/"+hostile, hostile
	f.Evidence = []string{hostile}
	i := incidentOf(1, failure.IncidentOpen)
	i.Site, i.Upstream, i.Summary, i.Advice, i.Samples = hostile, hostile, hostile, hostile, []string{hostile}
	i.Changes = []failure.Change{{Summary: hostile, Value: hostile}}
	f.Incident = i.ID
	now := failure.At(time.Now())
	warning := failure.Warning{Upstream: hostile, Summary: hostile, Advice: hostile, Evidence: []string{hostile}, LastFailure: hostile, FirstSeen: now, LastSeen: now}
	v := &fakeView{
		overview:  failure.Overview{Since: now, Counts: map[failure.Outcome]uint64{failure.Failed: 1}, KeptCount: 1, OpenIncidents: 1},
		page:      failure.FailurePage{Failures: []*failure.Failure{f}},
		incidents: []failure.Incident{i},
		board: failure.Board{Warnings: []failure.Warning{warning}, Upstreams: []failure.UpstreamState{{
			Upstream: hostile, Address: hostile + "2", Check: hostile, Sites: []string{hostile}, Transport: hostile, Protocol: hostile, OpenIncidents: []string{i.ID},
			Warnings: []failure.Warning{warning}, Limits: []failure.Limit{{Name: hostile}}, LastFailure: &failure.LastFailure{ID: hostile, Cause: hostile},
			Lookup: &failure.SourceLookup{Error: hostile, Addresses: []failure.SourceAddress{{Address: hostile}}},
		}}},
	}
	d := dashboardOf(v)
	for _, target := range []string{
		"/", "/failures", "/failures?site=" + url.QueryEscape(hostile), "/failures/k3f9qw2ax", "/incidents", "/incidents/" + i.ID, "/upstreams",
		"/failures/" + hostile, "/incidents/" + hostile, "/nowhere" + hostile, "/failures?" + url.QueryEscape(hostile) + "=1", "/failures?cause=" + url.QueryEscape(hostile),
	} {
		w := browse(d, "/ops", target)
		body := w.Body.String()
		if strings.Contains(body, "<script>alert") || strings.ContainsAny(body, "\x1b\u202e") || strings.Contains(body, "ZgotmplZ") {
			t.Errorf("%.40q: hostile text came through", target)
		}
		if w.Code == 200 && !strings.Contains(body, "alert(1)") {
			t.Errorf("%.40q doesn't show it", target)
		}
	}
}

func TestDashboardState(t *testing.T) {
	now := time.Now()
	since := failure.At(now.Add(-3 * time.Hour))
	for _, test := range []struct {
		name   string
		view   fakeView
		shows  []string
		silent []string
	}{
		{name: "nothing recorded", view: fakeView{overview: failure.Overview{Since: since}}, shows: []string{"Nothing has failed", "3 hours ago", "No upstream is known"}, silent: []string{"Broken now"}},
		{name: "nobody listens", view: fakeView{overview: failure.Overview{Since: since, NoHandler: true}}, shows: []string{"Nothing is recorded", "Now no site has upstream_diagnostics"}, silent: []string{"Nothing has failed", "All is well"}},
		{name: "nobody listens any more", view: fakeView{
			overview:  failure.Overview{Since: since, NoHandler: true, OpenIncidents: 1},
			incidents: []failure.Incident{incidentOf(1, failure.IncidentOpen)},
		}, shows: []string{"1 thing is broken", "Now no site has upstream_diagnostics"}},
		{name: "well, never an incident", view: fakeView{overview: failure.Overview{Since: since, Counts: map[failure.Outcome]uint64{failure.Abandoned: 1}}}, shows: []string{"All is well", "There was no incident"}},
		{name: "well again", view: fakeView{
			overview:  failure.Overview{Since: since, Counts: map[failure.Outcome]uint64{failure.Failed: 1}},
			incidents: []failure.Incident{incidentOf(2, failure.IncidentResolved)},
		}, shows: []string{"All is well", "The last incident was resolved <time", "2 minutes ago", "Resolved in the last 24 hours", "its upstream has answered again"}},
		{name: "broken", view: fakeView{
			overview:  failure.Overview{Since: since, OpenIncidents: 1},
			incidents: []failure.Incident{incidentOf(1, failure.IncidentOpen)},
		}, shows: []string{"1 thing is broken", "Nothing accepts connections at app1:8080.", "12 minutes ago", "5 rescued", "Start the application", "What changed", "It began 4 s after a config was loaded.", `title="`, `aria-label="55 in the last hour, most in one minute 10, 3 minutes ago"`}, silent: []string{"hasgivenway"}},
		{name: "warned", view: fakeView{
			overview: failure.Overview{Since: since, Warnings: 1},
			board:    failure.Board{Warnings: []failure.Warning{{Summary: "Files are scarce.", Advice: "Raise it.", Count: 1, FirstSeen: since, LastSeen: since}}},
		}, shows: []string{"Nothing is broken, 1 warning", "Files are scarce.", "seen once"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := browse(dashboardOf(&test.view), "", "/").Body.String()
			for _, want := range test.shows {
				if !strings.Contains(body, want) {
					t.Errorf("doesn't say %q", want)
				}
			}
			for _, not := range test.silent {
				if strings.Contains(body, not) {
					t.Errorf("says %q", not)
				}
			}
		})
	}
}

// A page shows no more than can be read, whatever there is.
func TestDashboardBounds(t *testing.T) {
	v := &fakeView{overview: failure.Overview{OpenIncidents: 150}}
	for n := range 150 {
		v.incidents = append(v.incidents, incidentOf(n, failure.IncidentOpen))
	}
	for n := range 150 {
		v.incidents = append(v.incidents, incidentOf(1000+n, failure.IncidentResolved))
		v.board.Upstreams = append(v.board.Upstreams, failure.UpstreamState{Upstream: fmt.Sprint("app", n), Sites: []string{}})
		v.board.Warnings = append(v.board.Warnings, failure.Warning{Kind: failure.WarnConnect, Upstream: fmt.Sprint("app", n)})
	}
	d := dashboardOf(v)
	body := browse(d, "", "/").Body.String()
	for what, want := range map[string]int{`<article class="card incident`: maxCards, `<article class="card warned`: maxCards, `<li id="i-`: maxCards} {
		if got := strings.Count(body, what); got != want {
			t.Errorf("%d times %s, want %d", got, what, want)
		}
	}
	for _, want := range []string{"150 things are broken", "120 more that are open", "120 more that were resolved", "120 more warnings"} {
		if !strings.Contains(body, want) {
			t.Errorf("doesn't say %q", want)
		}
	}
	for target, want := range map[string]int{"/incidents": maxRows, "/incidents?skip=250": 50, "/incidents?skip=999": 0, "/incidents?state=open&skip=100": 50} {
		if got := strings.Count(browse(d, "", target).Body.String(), `<li id="i-`); got != want {
			t.Errorf("%s has %d rows, want %d", target, got, want)
		}
	}
	if got := strings.Count(browse(d, "", "/upstreams?skip=100").Body.String(), "<article"); got != 50+maxCards && got < 50 {
		t.Errorf("%d cards", got)
	}
	for _, target := range []string{"/failures?limit=101", "/incidents?skip=-1", "/incidents?skip=x", "/failures?skip=1", "/?skip=1"} {
		if w := browse(d, "", target); w.Code != 400 || !strings.Contains(w.Body.String(), "<h1>This can&#39;t be asked for</h1>") {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

// Who names HTML gets pages, everybody else the API.
func TestDashboardNegotiation(t *testing.T) {
	d := dashboardOf(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("k3f9qw2ax")}}, incidents: []failure.Incident{incidentOf(1, failure.IncidentOpen)}})
	for _, path := range []string{"/", "/failures", "/failures/latest", "/failures/k3f9qw2ax", "/incidents", "/incidents/" + incidentOf(1, "").ID, "/upstreams", "/causes"} {
		for accept, want := range map[string]string{
			"text/html": "text/html; charset=utf-8", "text/html;q=0.9, application/json": "application/json", "*/*": "application/json",
			"text/plain": "text/plain; charset=utf-8", "text/html;q=0": "application/json", "text/html, application/json": "text/html; charset=utf-8",
		} {
			w := browse(d, "/ops", path, accept)
			if got := w.Header().Get("Content-Type"); w.Code != 200 || got != want {
				t.Errorf("%s, %s: %d %s", path, accept, w.Code, got)
			}
			if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("the policy is %s", policy)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Frame-Options") != "DENY" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v", w.Header())
			}
		}
		for format, want := range map[string]string{"text": "text/plain; charset=utf-8", "json": "application/json"} {
			if got := browse(d, "/ops", path+"?format="+format).Header().Get("Content-Type"); got != want {
				t.Errorf("%s as %s: %s", path, format, got)
			}
		}
		if w := request(d, http.MethodHead, "/ops", path); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
}

// A link to the newest failure may be followed before there is one.
func TestDashboardNoneYet(t *testing.T) {
	d := dashboardOf(&fakeView{page: failure.FailurePage{Newest: failure.Cursor(9).String()}})
	for target, want := range map[string]struct{ says, again string }{
		"/failures/latest": {"<h1>No failure is recorded yet</h1>", `href="../failures/latest"`},
		"/failures/latest?site=%3Cb%3E&outcome=rescued": {"<h1>No such failure is recorded yet</h1>", `href="../failures/latest?outcome=rescued&amp;site=%3Cb%3E"`},
	} {
		w := browse(d, "/ops", target)
		body := w.Body.String()
		fresh := `data-ask="../failures?after=` + failure.Cursor(9).String()
		if w.Code != 200 || !strings.Contains(body, want.says) || !strings.Contains(body, want.again) || !strings.Contains(body, fresh) || strings.Contains(body, "<b>") || strings.Contains(body, "format=") {
			t.Errorf("%s: %d %s", target, w.Code, body)
		}
		for _, accept := range []string{"application/json", "text/plain"} {
			if w := browse(d, "/ops", target, accept); w.Code != 404 {
				t.Errorf("%s as %s: %d", target, accept, w.Code)
			}
		}
	}
	if w := browse(d, "/ops", "/failures/latest?cause=typo"); w.Code != 400 {
		t.Errorf("a cause that there isn't: %d", w.Code)
	}
}

// Without a slash behind where it is mounted, links would lead beside it.
func TestDashboardSlash(t *testing.T) {
	d := dashboardOf(&fakeView{})
	serve := func(written, stripped, query string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: stripped, RawQuery: query}
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		d.Serve(w, r, Visitor{URL: url.URL{Path: written, RawQuery: query}})
		return w
	}
	for _, test := range []struct{ written, stripped, query, location string }{
		{"/ops", "", "", "./ops/"}, {"/ops", "/", "", "./ops/"}, {"/a/b:c", "", "x=1", "./b:c/?x=1"}, {"/ops/", "/", "", ""}, {"/", "/", "", ""}, {"/a b", "", "", "./a%20b/"},
	} {
		w := serve(test.written, test.stripped, test.query)
		if got := w.Header().Get("Location"); got != test.location || (got == "") != (w.Code == 200) {
			t.Errorf("%s: %d, Location %q, want %q", test.written, w.Code, got, test.location)
		}
	}
	// One behind a page of it doesn't matter.
	if body := browse(d, "/ops", "/failures/").Body.String(); !strings.Contains(body, `href="../upstreams"`) {
		t.Error("links of /failures/ lead beside it")
	}
}

// An upstream is asked again where that is allowed, after a question, and the answer is shown.
func TestDashboardAsksAgain(t *testing.T) {
	v := &fakeView{
		incidents: []failure.Incident{incident()}, probe: failure.Probe{Upstream: "app:8080", Summary: "app:8080 answered <200>.", OK: true},
		board: failure.Board{Upstreams: []failure.UpstreamState{{Upstream: "app:8080"}, {Upstream: "{query.to}:80"}}},
	}
	d := NewDashboard(v, rows, WithoutProbe("set allow_probe in upstream_dashboard"))
	post := func(path, contentType, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://ops.example.com/", strings.NewReader(body))
		r.URL = &url.URL{Path: path}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		d.Serve(w, r, Visitor{URL: url.URL{Path: "/ops" + path}})
		return w
	}
	const form, asked = "application/x-www-form-urlencoded", `{"upstream": "app:8080"}`
	if w := post("/probe", "application/json", asked); w.Code != 403 || !strings.Contains(w.Body.String(), "set allow_probe in upstream_dashboard") {
		t.Errorf("not allowed: %d", w.Code)
	}
	if w := post("/ask", form, "upstream=app:8080"); w.Code != 405 {
		t.Errorf("its form, not allowed: %d", w.Code)
	}
	if body := browse(d, "/ops", "/").Body.String(); strings.Contains(body, "again …") || len(v.probed) > 0 {
		t.Error("it is offered where it isn't allowed")
	}
	d = dashboardOf(v)
	for _, page := range []string{"/", "/upstreams"} {
		if body := browse(d, "/ops", page).Body.String(); strings.Count(body, `href="./ask?upstream=app%3A8080"`) != 1 || strings.Contains(body, "ask?upstream=%7B") {
			t.Errorf("%s doesn't offer it once", page)
		}
	}
	if body := browse(d, "/ops", "/ask?upstream=%22%3Eapp").Body.String(); !strings.Contains(body, `value="&#34;&gt;app"`) || len(v.probed) > 0 {
		t.Errorf("it asks %s", body)
	}
	if w := post("/ask", form, "upstream=app:8080"); w.Code != 200 || !strings.Contains(w.Body.String(), "answered &lt;200&gt;") || len(v.probed) != 1 || v.probed[0].Upstream != "app:8080" {
		t.Errorf("%d %v %s", w.Code, v.probed, w.Body)
	}
	if w := post("/probe", "application/json", asked); w.Code != 200 || len(v.probed) != 2 {
		t.Errorf("the API: %d %s", w.Code, w.Body)
	}
	if w := post("/ask", form, "upstream="+strings.Repeat("x", 5000)); w.Code != 400 || len(v.probed) != 2 {
		t.Errorf("too long: %d", w.Code)
	}
	v.probeErr = &failure.ProbeRefused{Why: failure.ProbeTooOften, Message: "once a second", RetryAfter: 300 * time.Millisecond}
	if w := post("/ask", form, "upstream=app:8080"); w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "once a second") {
		t.Errorf("too often: %d", w.Code)
	}
	v.incidents[0].Probes = []failure.Probe{{Summary: "Nothing accepts connections at app:8080, still."}}
	if body := browse(d, "/ops", "/incidents/"+v.incidents[0].ID).Body.String(); !strings.Contains(body, "still.") || !strings.Contains(body, "<b>Not well</b>") {
		t.Error("the incident doesn't show it")
	}
}

func TestDashboardForget(t *testing.T) {
	v := &fakeView{overview: failure.Overview{KeptCount: 3}}
	d := dashboardOf(v)
	for _, refused := range []struct{ method, path string }{{"POST", "/forget"}, {"DELETE", "/failures"}, {"PUT", "/failures"}, {"POST", "/failures"}} {
		for _, accept := range []string{"text/html", "*/*"} {
			if w := request(d, refused.method, "/ops", refused.path, accept); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || v.cleared != 0 {
				t.Errorf("%s %s: %d, Allow %q", refused.method, refused.path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
	if w := browse(d, "/ops", "/forget"); w.Code != 404 {
		t.Errorf("it is asked for where it isn't allowed: %d", w.Code)
	}
	d.AllowClear = true
	if body := browse(d, "/ops", "/forget").Body.String(); !strings.Contains(body, "all 3 records") || !strings.Contains(body, `<form method="post" action="./forget">`) || v.cleared != 0 {
		t.Errorf("asked: %d times cleared", v.cleared)
	}
	r := httptest.NewRequest(http.MethodPost, "/forget", nil)
	w := httptest.NewRecorder()
	if d.Serve(w, r, Visitor{Foreign: true}); w.Code != 403 || v.cleared != 0 {
		t.Errorf("another site's form: %d", w.Code)
	}
	if w := request(d, "POST", "/ops", "/forget"); w.Code != 303 || w.Header().Get("Location") != "./" || v.cleared != 1 {
		t.Errorf("the form: %d, %q, %d times cleared", w.Code, w.Header().Get("Location"), v.cleared)
	}
	for n, accept := range []string{"*/*", "text/html"} {
		if w := request(d, "DELETE", "/ops", "/failures", accept); w.Code != 204 || v.cleared != 2+n {
			t.Errorf("DELETE by who accepts %s: %d, %d times cleared", accept, w.Code, v.cleared)
		}
	}
}

// What a path allows is what it says that it allows.
func TestDashboardAllows(t *testing.T) {
	v := &fakeView{}
	d := dashboardOf(v)
	d.AllowClear = true
	for path, want := range map[string]string{
		"/": "GET, HEAD", "/failures": "GET, HEAD, DELETE", "/incidents": "GET, HEAD",
		"/forget": "GET, HEAD, POST", "/ask": "GET, HEAD, POST", "/probe": "POST",
	} {
		w := request(d, "PATCH", "/ops", path, "*/*")
		if w.Code != 405 || w.Header().Get("Allow") != want || !strings.Contains(w.Body.String(), "expected one of the methods "+want+", got") {
			t.Errorf("%s: %d, Allow %q: %s", path, w.Code, w.Header().Get("Allow"), w.Body)
		}
	}
	// What may be forgotten is the records, and nothing else has a DELETE.
	if w := request(d, "DELETE", "/ops", "/incidents", "*/*"); w.Code != 405 || v.cleared != 0 {
		t.Errorf("DELETE of incidents: %d", w.Code)
	}
}

// A page that shows the same says so, and one that doesn't is sent.
func TestDashboardVersion(t *testing.T) {
	v := &fakeView{overview: failure.Overview{OpenIncidents: 1}, incidents: []failure.Incident{incidentOf(1, failure.IncidentOpen)}}
	d := dashboardOf(v)
	ask := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", "text/html")
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		d.Serve(w, r, Visitor{URL: url.URL{Path: "/"}})
		return w
	}
	tag := ask("").Header().Get("Etag")
	if w := ask(tag); tag == "" || w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("the same, %s: %d", tag, w.Code)
	}
	v.incidents[0].Count++
	if w := ask(tag); w.Code != 200 {
		t.Errorf("another: %d", w.Code)
	}
}

func TestDashboardCurl(t *testing.T) {
	f := record("k3f9qw2ax")
	d := dashboardOf(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{f}}})
	body := browse(d, "/ops", "/failures/k3f9qw2ax").Body.String()
	if want := `curl -u &#39;alice&#39; &#39;https://ops.example.com/ops/failures/k3f9qw2ax?format=text&#39;`; !strings.Contains(body, want) {
		t.Errorf("no %s", want)
	}
	if got := quoted(`it's $(rm) "x"`); got != `'it'\''s $(rm) "x"'` {
		t.Error(got)
	}
}

// The script stays small: it is sent with each page.
func TestDashboardScriptSize(t *testing.T) {
	if len(dashboardJS) > 8<<10 {
		t.Errorf("the script has %d bytes", len(dashboardJS))
	}
	for _, never := range []string{"innerHTML", "eval(", "http://", "https://", "localStorage", "document.write"} {
		if strings.Contains(dashboardJS, never) {
			t.Errorf("the script has %s", never)
		}
	}
}

func FuzzDashboard(f *testing.F) {
	d := dashboardOf(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("a")}}, incidents: []failure.Incident{incidentOf(1, failure.IncidentOpen)}})
	d.AllowClear = true
	f.Add("GET", "/failures/a", "cause=connection_refused", "text/html", "/ops/failures/a")
	f.Add("POST", "//forget/", "%zz", "text/html;q=0.1", "")
	f.Add("HEAD", "incidents", "skip=-1&state=x", "*/*", "ops")
	f.Fuzz(func(t *testing.T, method, path, query, accept, written string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		d.Serve(w, r, Visitor{URL: url.URL{Scheme: "http", Host: "ops.example.com", Path: written, RawQuery: query}})
		if !slices.Contains([]int{200, 204, 303, 307, 400, 404, 405}, w.Code) {
			t.Errorf("status is %d: %s", w.Code, w.Body)
		}
		if to := w.Header().Get("Location"); to != "" && !strings.HasPrefix(to, "./") {
			t.Errorf("it leads away, to %q", to)
		}
		if strings.Contains(w.Body.String(), "ZgotmplZ") {
			t.Error("the template took out something")
		}
	})
}

// A record that is copied is the record.
func TestVisible(t *testing.T) {
	f := record("a")
	f.Error = hostile + "\U000e0001é\n"
	source, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var back failure.Failure
	if err := json.Unmarshal([]byte(visible(string(source))), &back); err != nil || back.Error != f.Error || strings.ContainsAny(visible(string(source)), "\u202e\U000e0001") {
		t.Errorf("%v, %q", err, back.Error)
	}
}

// storedView has as much as is kept: a journal and incidents.
type storedView struct {
	*journal.Journal

	fake *fakeView
}

func (v storedView) Probe(ctx context.Context, q failure.ProbeQuery) (failure.Probe, error) {
	return v.fake.Probe(ctx, q)
}
func (v storedView) Upstreams() failure.Board                    { return v.fake.Upstreams() }
func (v storedView) Incidents() []failure.Incident               { return v.fake.Incidents() }
func (v storedView) Incident(id string) (failure.Incident, bool) { return v.fake.Incident(id) }

// The first page of 200 incidents and 10000 failures.
func BenchmarkNow(b *testing.B) {
	v := storedView{journal.New(10_000, time.Hour), &fakeView{}}
	for n := range 10_000 {
		v.Add(record(fmt.Sprint("f", n)))
	}
	for n := range 200 {
		i := incidentOf(n, failure.IncidentOpen)
		i.Samples = []string{"f1", "f2", "gone", "f9997", "f9998", "f9999"}
		v.fake.incidents = append(v.fake.incidents, i)
		v.fake.board.Upstreams = append(v.fake.board.Upstreams, failure.UpstreamState{Upstream: i.Upstream, Sites: []string{"example.com"}, OpenIncidents: []string{i.ID}})
	}
	d := dashboardOf(v)
	b.ReportAllocs()
	for b.Loop() {
		if w := browse(d, "/ops", "/"); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
