package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
)

var rows = []*cause.Row{
	{
		Name: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream, Summary: "Nothing accepts connections at {address}.", Advice: "Start it.",
		Rivals: []cause.Rival{{Cause: "a firewall's REJECT", RuledOutBy: "nothing can"}},
	},
	{
		Name: "dns_timeout", Category: failure.CategoryTimeout, ProxyError: "dns_timeout",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork, Status: 504, Summary: "The resolver didn't answer.",
	},
	{Name: "unknown", Category: failure.CategoryUnavailable, Summary: "The cause isn't known."},
}

// fakeView shows what a test put there, and remembers what it was asked.
type fakeView struct {
	overview failure.Overview
	page     failure.FailurePage
	asked    failure.Query
	cleared  int

	incidents []failure.Incident
	board     failure.Board

	probed   []failure.ProbeQuery
	probe    failure.Probe
	probeErr error
}

func (v *fakeView) Probe(_ context.Context, q failure.ProbeQuery) (failure.Probe, error) {
	v.probed = append(v.probed, q)
	return v.probe, v.probeErr
}

func (v *fakeView) Upstreams() failure.Board {
	board := v.board
	board.Upstreams = slices.Clone(board.Upstreams)
	return board
}

func (v *fakeView) Incidents() []failure.Incident { return v.incidents }

func (v *fakeView) Incident(id string) (failure.Incident, bool) {
	for _, i := range v.incidents {
		if i.ID == id {
			return i, true
		}
	}
	return failure.Incident{}, false
}

func (v *fakeView) Overview() failure.Overview { return v.overview }
func (v *fakeView) Clear()                     { v.cleared++ }

func (v *fakeView) Query(q failure.Query) failure.FailurePage {
	v.asked = q
	return v.page
}

func (v *fakeView) Get(id string) (*failure.Failure, bool) {
	for _, f := range v.page.Failures {
		if f.ID == id {
			return f, true
		}
	}
	return nil, false
}

// journalView shows a journal, which knows of no incidents.
type journalView struct{ *journal.Journal }

func (journalView) Probe(context.Context, failure.ProbeQuery) (p failure.Probe, err error) {
	return p, nil
}

func (journalView) Upstreams() (b failure.Board)                  { return b }
func (journalView) Incidents() []failure.Incident                 { return nil }
func (journalView) Incident(string) (i failure.Incident, ok bool) { return i, false }

func record(id string) *failure.Failure {
	return &failure.Failure{
		ID: id, Time: failure.At(time.Now()), Site: "example.com", Outcome: failure.Failed, Status: 502,
		Upstream: "app:8080", Cause: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream, Summary: "Nothing accepts connections at app:8080.",
		Evidence: []string{}, Attempts: []failure.Attempt{},
		Request: failure.Request{Method: "GET", Host: "example.com", URI: "/a?b=<script>&c", Proto: "HTTP/1.1"},
	}
}

func ask(h http.Handler, method, target string, accept ...string) *httptest.ResponseRecorder {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(`{"upstream": "app:8080"}`)
	}
	r := httptest.NewRequest(method, "http://localhost:2019/", body)
	path, query, _ := strings.Cut(target, "?")
	r.URL = &url.URL{Path: path, RawQuery: query}
	for _, value := range accept {
		r.Header.Add("Accept", value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (data T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &data); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return data
}

// errorOf is the error that an answer tells.
func errorOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	return decode[errorAnswer](t, w).Error
}

// What holds for every answer.
func check(t *testing.T, w *httptest.ResponseRecorder, status int, contentType string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status is %d, want %d: %s", w.Code, status, w.Body)
	}
	h := w.Header()
	if got := h.Get("Content-Type"); got != contentType {
		t.Errorf("Content-Type is %q, want %q", got, contentType)
	}
	if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Vary") != "Accept" {
		t.Errorf("fields are %v", h)
	}
	if h.Get("Location") != "" {
		t.Errorf("a redirect to %s", h.Get("Location"))
	}
	if contentType != "" && w.Body.Len() > 0 && h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
		t.Errorf("Content-Length is %s, the body has %d bytes", h.Get("Content-Length"), w.Body.Len())
	}
	if contentType == "application/json" && w.Body.Len() > 0 && (!json.Valid(w.Body.Bytes()) || strings.Count(w.Body.String(), "\n") != 1) {
		t.Errorf("not a line of JSON: %s", w.Body)
	}
}

const (
	typeJSON = "application/json"
	typeText = "text/plain; charset=utf-8"
)

func TestOverview(t *testing.T) {
	since := failure.At(time.Date(2026, 11, 24, 4, 11, 26, 123e6, time.UTC))
	view := &fakeView{overview: failure.Overview{
		Since:  since,
		Counts: map[failure.Outcome]uint64{"failed": 3, "rescued": 0, "truncated": 0, "abandoned": 1, "upstream_answered": 0},
		Keep:   1000, KeptCount: 4, KeepForS: 86400, Oldest: &since,
	}}
	h := New(view, rows)
	for _, path := range []string{"", "/"} {
		w := ask(h, "GET", path)
		check(t, w, 200, typeJSON)
		want := `{"since":"2026-11-24T04:11:26.123Z","counts":{"abandoned":1,"failed":3,"rescued":0,"truncated":0,"upstream_answered":0},` +
			`"open_incidents":0,"warnings":0,"kept_count":4,"keep":1000,"keep_for_s":86400,"oldest":"2026-11-24T04:11:26.123Z"}` + "\n"
		if got := w.Body.String(); got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	}

	w := ask(h, "GET", "/?format=text")
	check(t, w, 200, typeText)
	want := `Failures since 2026-11-24T04:11:26.123Z

  failed             3
  rescued            0
  truncated          0
  abandoned          1
  upstream_answered  0

Open incidents: 0
Warnings: 0

Kept: 4 of at most 1000, each for 24h, the oldest of 2026-11-24T04:11:26.123Z
`
	if got := w.Body.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestFailures(t *testing.T) {
	view := &fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("b"), record("a")}, Next: "n1", Newest: "n2"}}
	h := New(view, rows)

	w := ask(h, "GET", "/failures")
	check(t, w, 200, typeJSON)
	page := decode[failure.FailurePage](t, w)
	if len(page.Failures) != 2 || page.Failures[0].ID != "b" || page.Next != "n1" || page.Newest != "n2" {
		t.Errorf("got %s", w.Body)
	}
	if !strings.Contains(w.Body.String(), `/a?b=<script>&c`) {
		t.Errorf("the URI is escaped as for HTML: %s", w.Body)
	}
	if view.asked.Limit != failure.DefaultLimit {
		t.Errorf("limit is %d", view.asked.Limit)
	}

	w = ask(h, "GET", "/failures?format=text")
	check(t, w, 200, typeText)
	for _, want := range []string{"connection_refused", "app:8080", "before=n1"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q isn't in:\n%s", want, w.Body)
		}
	}
}

func TestNoFailures(t *testing.T) {
	h := New(&fakeView{}, rows)
	w := ask(h, "GET", "/failures")
	check(t, w, 200, typeJSON)
	if got := w.Body.String(); got != `{"failures":[]}`+"\n" {
		t.Errorf("got %s", got)
	}
	check(t, ask(h, "GET", "/failures?format=text"), 200, typeText)
}

// Every filter of the contract reaches the view.
func TestFilters(t *testing.T) {
	view := &fakeView{}
	w := ask(New(view, rows), "GET", "/failures?site=s&upstream=u1,u2&cause=connection_refused&category=timeout&proxy_error=dns_timeout"+
		"&phase=dns&side=network&outcome=failed,rescued&status=502&host=h&id=i&instance=*&since=15m&until=1m&limit=7&before="+failure.Cursor(1295).String()+"&after="+failure.Cursor(36).String()+"&incident=n")
	check(t, w, 200, typeJSON)
	q := view.asked
	got := fmt.Sprint(q.Site, q.Upstream, q.Cause, q.Category, q.ProxyError, q.Phase, q.Side, q.Outcome, q.Status, q.Host, q.ID, q.Instance,
		q.Until.Sub(q.Since), q.Limit, uint64(q.Before), uint64(q.After), q.Incident)
	want := "[s] [u1 u2] [connection_refused] [timeout] [dns_timeout] [dns] [network] [failed rescued] [502] [h] [i] [*] 14m0s 7 1295 36 [n]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFailure(t *testing.T) {
	h := New(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("k3f9qw2ax")}}}, rows)

	w := ask(h, "GET", "/failures/k3f9qw2ax")
	check(t, w, 200, typeJSON)
	if f := decode[failure.Failure](t, w); f.ID != "k3f9qw2ax" || f.Cause != "connection_refused" {
		t.Errorf("got %s", w.Body)
	}

	w = ask(h, "GET", "/failures/k3f9qw2ax", "text/plain")
	check(t, w, 200, typeText)
	if !strings.Contains(w.Body.String(), "Nothing accepts connections at app:8080.") {
		t.Errorf("got:\n%s", w.Body)
	}
}

// The newest one that passes the filters, and what is said where there is none.
func TestLatest(t *testing.T) {
	view := &fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("k3f9qw2ax")}}}
	h := New(view, rows)
	w := ask(h, "GET", "/failures/latest?site=s&outcome=failed&since=1h")
	check(t, w, 200, typeJSON)
	if f := decode[failure.Failure](t, w); f.ID != "k3f9qw2ax" {
		t.Errorf("got %s", w.Body)
	}
	if q := view.asked; q.Limit != 1 || q.Before != 0 || q.After != 0 || !slices.Equal(q.Site, []string{"s"}) || !slices.Equal(q.Outcome, []failure.Outcome{"failed"}) {
		t.Errorf("asked %+v", q)
	}
	one, latest := ask(h, "GET", "/failures/k3f9qw2ax", "text/plain"), ask(h, "GET", "/failures/latest?format=text")
	check(t, latest, 200, typeText)
	if one.Body.String() != latest.Body.String() {
		t.Errorf("got:\n%s\nwant:\n%s", latest.Body, one.Body)
	}

	none := New(&fakeView{}, rows)
	for target, want := range map[string]string{
		"/failures/latest":           "no failure is kept: none has happened yet",
		"/failures/latest?site=shop": "no failure that is kept passes these filters",
	} {
		w := ask(none, "GET", target)
		check(t, w, 404, typeJSON)
		if got := errorOf(t, w); !strings.Contains(got, want) {
			t.Errorf("%s: got %q", target, got)
		}
	}
	for target, want := range map[string]string{
		"/failures/latest?limit=2":      `unknown parameter "limit": expected one of site, upstream,`,
		"/failures/latest?before=1010":  `unknown parameter "before"`,
		"/failures/latest?after=1010":   `unknown parameter "after"`,
		"/failures/latest?cause=typo":   "cause: expected one that the list of causes has",
		"/failures/latest?since=latest": "since: expected a time",
	} {
		w := ask(h, "GET", target)
		check(t, w, 400, typeJSON)
		if got := errorOf(t, w); !strings.Contains(got, want) {
			t.Errorf("%s: got %q", target, got)
		}
	}
}

// incident is one of 25 requests, 20 of which failed.
func incident() failure.Incident {
	first := time.Date(2026, 11, 24, 4, 11, 26, 123e6, time.UTC)
	i := failure.Incident{
		ID: "57d54133a3361326", Site: "shop", Upstream: "app:8080", Cause: "connection_refused", ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream, Summary: "Nothing accepts connections at app:8080.", Advice: "Start the application.",
		State: failure.IncidentOpen, Count: 25, Outcomes: map[failure.Outcome]uint64{"failed": 20, "rescued": 5, "truncated": 0},
		FirstSeen: failure.At(first), LastSeen: failure.At(first.Add(12*time.Minute + 3*time.Second)), DurationS: 723,
		Samples: []string{"aaaaaaaa1", "aaaaaaaa2", "aaaaaaaa3", "aaaaaaa23", "aaaaaaa24", "aaaaaaa25"},
	}
	for minute, n := range map[int]uint32{46: 1, 47: 2, 58: 10, 59: 12} {
		i.PerMinute[minute] = n
	}
	return i
}

func TestIncidents(t *testing.T) {
	resolved := incident()
	resolved.ID, resolved.State, resolved.Cause, resolved.Site = "01b821fbd04372e7", failure.IncidentResolved, "dns_timeout", "blog"
	resolved.LastSeen = failure.At(resolved.FirstSeen.Add(time.Second))
	h := New(&fakeView{incidents: []failure.Incident{incident(), resolved}}, rows)
	for query, want := range map[string]string{
		"":                                       "57d54133a3361326 01b821fbd04372e7",
		"?state=":                                "57d54133a3361326 01b821fbd04372e7",
		"?state=open":                            "57d54133a3361326",
		"?state=open,resolved&site=blog":         "01b821fbd04372e7",
		"?upstream=app:8080,b&cause=dns_timeout": "01b821fbd04372e7",
		"?upstream=app":                          "",
		"?since=2026-11-24T04:15:00Z":            "57d54133a3361326",
	} {
		w := ask(h, "GET", "/incidents"+query)
		check(t, w, 200, typeJSON)
		list := decode[incidentList](t, w)
		var ids []string
		for _, i := range list.Incidents {
			ids = append(ids, i.ID)
		}
		if got := strings.Join(ids, " "); got != want || list.Incidents == nil {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}

	w := ask(h, "GET", "/incidents?format=text")
	check(t, w, 200, typeText)
	want := `STATE     FIRST SEEN                LAST SEEN                 COUNT  LAST 15 MIN      INCIDENT          SITE  UPSTREAM  CAUSE               SUMMARY
open      2026-11-24T04:11:26.123Z  2026-11-24T04:23:29.123Z  25     ·▁▂··········▇█  57d54133a3361326  shop  app:8080  connection_refused  Nothing accepts connections at app:8080.
resolved  2026-11-24T04:11:26.123Z  2026-11-24T04:11:27.123Z  25     ·▁▂··········▇█  01b821fbd04372e7  blog  app:8080  dns_timeout         Nothing accepts connections at app:8080.
`
	if got := w.Body.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if w := ask(h, "GET", "/incidents?format=text&site=none"); w.Body.String() != "No incidents.\n" {
		t.Errorf("got %s", w.Body)
	}

	w = ask(h, "GET", "/incidents/01b821fbd04372e7")
	check(t, w, 200, typeJSON)
	if i := decode[failure.Incident](t, w); i.Cause != "dns_timeout" {
		t.Errorf("got %s", w.Body)
	}
	w = ask(h, "GET", "/incidents/57d54133a3361326", "text/plain")
	check(t, w, 200, typeText)
	if !strings.Contains(w.Body.String(), "What to do\n  Start the application.\n") {
		t.Errorf("got %s", w.Body)
	}
	w = ask(h, "GET", "/incidents/57d5")
	check(t, w, 404, typeJSON)
	if got := errorOf(t, w); !strings.Contains(got, `no incident "57d5" is kept: expected the id of one that /incidents lists`) {
		t.Errorf("got %q", got)
	}
}

// An incident as people read it.
func TestIncidentText(t *testing.T) {
	i := incident()
	now := i.LastSeen.Add(5 * time.Second)
	shown := func() string {
		t.Helper()
		var drawn strings.Builder
		if err := writeIncident(&drawn, &i, now); err != nil {
			t.Fatal(err)
		}
		return drawn.String()
	}
	want := `Nothing accepts connections at app:8080.

State        open for 12m8s, last seen 5s ago
Cause        connection_refused
Phase        connect
Side         upstream
Proxy error  connection_refused

What to do
  Start the application.
  https://github.com/seed-0f014f16/caddy-upstream-diagnostics/blob/main/docs/causes.md#connection_refused

Requests that met it
  25: 20 failed, 5 rescued
  [··············································▁▂··········▇█] each is a minute of the last hour, the highest 12

Failures
  aaaaaaaa1 aaaaaaaa2 aaaaaaaa3 … aaaaaaa23 aaaaaaa24 aaaaaaa25
  one of them: /failures/aaaaaaa25, all that are kept: /failures?incident=57d54133a3361326

Site        shop
Upstream    app:8080
First seen  2026-11-24T04:11:26.123Z
Last seen   2026-11-24T04:23:29.123Z
Incident    57d54133a3361326
`
	if got := shown(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}

	over := failure.At(i.LastSeen.Add(30 * time.Second))
	i.State, i.ResolvedAt, i.ResolvedBy, i.ReopenedCount = failure.IncidentResolved, &over, failure.ResolvedByAnswer, 1
	i.PerMinute = [failure.HistoryMinutes]uint32{}
	now = over.Add(2 * time.Hour)
	for _, want := range []string{
		"State        resolved 2h ago, after 12m3s: its upstream has answered again; it has come back once\n",
		"[" + strings.Repeat("·", failure.HistoryMinutes) + "] each is a minute of the last hour, none in it\n",
		"Resolved    2026-11-24T04:23:59.123Z\n",
	} {
		if got := shown(); !strings.Contains(got, want) {
			t.Errorf("%q isn't in:\n%s", want, got)
		}
	}

	// Few failures, all of them named; what an upstream said obeys nothing.
	i = failure.Incident{ID: "1", Cause: "unknown", Summary: "a \x1b[31mred\n word", State: failure.IncidentOpen, Count: 4, ReopenedCount: 3, Samples: []string{"a", "b", "c", "d"}}
	got := shown()
	if strings.Contains(got, "\x1b") || !strings.HasPrefix(got, `a \x1b[31mred\n word`) || !strings.Contains(got, "\n  a b c d\n") || !strings.Contains(got, "it has come back 3 times") {
		t.Errorf("got:\n%s", got)
	}
}

func TestBars(t *testing.T) {
	for want, numbers := range map[string][]uint32{
		"···":      {0, 0, 0},
		"·█·":      {0, 1, 0},
		"▁▂▃▄▅▆▇█": {1, 2, 3, 4, 5, 6, 7, 8},
		"▁█":       {1, math.MaxUint32},
		"▄█":       {500, 1000},
	} {
		if got := bars(numbers); got != want {
			t.Errorf("%v: got %s, want %s", numbers, got, want)
		}
	}
}

func TestCauses(t *testing.T) {
	h := New(&fakeView{}, rows)
	w := ask(h, "GET", "/causes")
	check(t, w, 200, typeJSON)
	got := decode[struct{ Causes []map[string]any }](t, w).Causes
	if len(got) != 3 || got[0]["cause"] != "connection_refused" || got[1]["status"] != 504.0 || got[2]["phase"] != nil {
		t.Errorf("got %s", w.Body)
	}
	if rivals, ok := got[2]["rivals"].([]any); !ok || len(rivals) != 0 {
		t.Errorf("no rivals are %v, want an empty list", got[2]["rivals"])
	}
	if rows[2].Rivals != nil {
		t.Error("the catalogue itself was changed")
	}

	w = ask(h, "GET", "/causes?format=text")
	check(t, w, 200, typeText)
	want := `CAUSE               CATEGORY     PHASE    SIDE      STATUS  PROXY ERROR         SUMMARY
connection_refused  unavailable  connect  upstream  -       connection_refused  Nothing accepts connections at {address}.
dns_timeout         timeout      dns      network   504     dns_timeout         The resolver didn't answer.
unknown             unavailable  -        -         -       -                   The cause isn't known.
`
	if got := w.Body.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestClear(t *testing.T) {
	view := &fakeView{}
	h := New(view, rows)
	w := ask(h, "DELETE", "/failures")
	check(t, w, 204, "")
	if view.cleared != 1 || w.Body.Len() != 0 {
		t.Errorf("cleared %d times, answered %q", view.cleared, w.Body)
	}
	for _, query := range []string{"?cause=unknown", "?x", "?%zz"} {
		check(t, ask(h, "DELETE", "/failures"+query), 400, typeJSON)
	}
	if got, want := errorOf(t, ask(h, "DELETE", "/failures?site=shop")), `expected no parameters, got "site": it is done to all, never to some`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if view.cleared != 1 {
		t.Error("a filtered DELETE forgot everything")
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	h := New(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("a")}}}, rows)
	for _, target := range []string{"/", "/failures", "/failures/a", "/causes", "/upstreams", "/failures?format=text", "/failures/none", "/none", "/failures?limit=x"} {
		get, head := ask(h, "GET", target), ask(h, "HEAD", target)
		if head.Code != get.Code || head.Body.Len() != 0 || fmt.Sprint(head.Header()) != fmt.Sprint(get.Header()) {
			t.Errorf("%s: HEAD gave %d, %v and %d bytes; GET %d, %v", target, head.Code, head.Header(), head.Body.Len(), get.Code, get.Header())
		}
	}
}

func TestMethodsAndPaths(t *testing.T) {
	view := &fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("a")}}}
	h := New(view, rows)
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"POST", "/", 405, "GET, HEAD"},
		{"DELETE", "/", 405, "GET, HEAD"},
		{"POST", "/failures", 405, "GET, HEAD, DELETE"},
		{"PUT", "/failures/a", 405, "GET, HEAD"},
		{"DELETE", "/failures/a", 405, "GET, HEAD"},
		{"DELETE", "/causes", 405, "GET, HEAD"},
		{"POST", "/upstreams", 405, "GET, HEAD"},
		{"GET", "/upstreams/app:80", 404, ""},
		{"GET", "/upstreams/", 200, ""},
		{"OPTIONS", "/failures", 405, "GET, HEAD, DELETE"},
		{"get", "/failures", 405, "GET, HEAD, DELETE"},
		{"POST", "/failures/latest", 405, "GET, HEAD"},
		{"DELETE", "/incidents", 405, "GET, HEAD"},
		{"PATCH", "/incidents/a", 405, "GET, HEAD"},
		{strings.Repeat("X", 1<<16), "/", 405, "GET, HEAD"},
		{"GET", "/none", 404, ""},
		{"POST", "/none", 404, ""},
		{"GET", "/failures/b", 404, ""},
		{"GET", "/failures/a/b", 404, ""},
		{"GET", "/failures/../causes", 404, ""},
		{"GET", "/failures/" + strings.Repeat("x", 64<<10), 404, ""},
		{"GET", "/failures/\x00<script>\xff", 404, ""},
		{"GET", "/failures/a/", 200, ""},
		{"GET", "/causes/", 200, ""},
	} {
		w := ask(h, test.method, test.path)
		check(t, w, test.status, typeJSON)
		if got := w.Header().Get("Allow"); got != test.allow {
			t.Errorf("%s %.40s: Allow is %q, want %q", test.method, test.path, got, test.allow)
		}
		if test.status >= 400 && (errorOf(t, w) == "" || w.Body.Len() > 300) {
			t.Errorf("%.16s %.40s: got %s", test.method, test.path, w.Body)
		}
		if test.status == 405 && !strings.Contains(errorOf(t, w), "expected one of the methods "+test.allow+", got ") {
			t.Errorf("%.16s %.40s: got %s", test.method, test.path, w.Body)
		}
	}
	if view.cleared != 0 {
		t.Error("something was cleared")
	}
	// Who asks for what isn't there is told what is.
	told := errorOf(t, ask(h, "GET", "/none"))
	for _, r := range Requests {
		if !strings.Contains(told+",", " "+r.Path+",") {
			t.Errorf("%s isn't in %q", r.Path, told)
		}
	}
}

func TestWrongQueries(t *testing.T) {
	view := &fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("a")}}}
	h := New(view, rows)
	for _, test := range []struct{ target, want string }{
		{"/failures?limit=0", `limit: expected a number from 1 to 1000, got "0"`},
		{"/failures?outcome=lost", `got "lost"`},
		{"/failures?cause=conection_refused", `cause: expected one that the list of causes has, got "conection_refused" (did you mean connection_refused?)`},
		{"/failures?proxy_error=none", `proxy_error: expected one that the list of causes has, got "none"`},
		{"/failures?upstrem=app", `unknown parameter "upstrem"`},
		{"/failures?since=tomorrow", `since: expected a time`},
		{"/failures?after=%00%ff", `after: expected a cursor`},
		{"/failures?site=%zz", `the query can't be read: invalid URL escape "%zz"`},
		{"/failures?site=a;b", `the query can't be read`},
		{"/failures?format=html", `format: expected json or text, got "html"`},
		{"/failures?format=", `format: expected json or text, got ""`},
		{"/failures?format=text&format=json", `format: expected json or text`},
		{"/failures?phase=%1b%5b31m%3cscript%3e", `got "\x1b[31m<script>"`},
		{"/failures?id=" + strings.Repeat("a,", 100000), `id: expected at most 100 values`},
		{"/failures?" + strings.Repeat("x", 1<<16) + "=1", `unknown parameter "xxx`},
		{"/?site=a", `unknown parameter "site"`},
		{"/causes?cause=unknown", `unknown parameter "cause": expected one of format`},
		{"/failures?before=yesterday", `before: expected a cursor as an earlier answer gave it (its next or newest), got "yesterday"`},
		{"/incidents?limit=1", `unknown parameter "limit": expected one of state, site, upstream, cause, since, format`},
		{"/incidents?state=broken", `state: expected one of open, resolved, got "broken"`},
		{"/incidents?cause=typo", `cause: expected one that the list of causes has`},
		{"/incidents/a?site=a", `unknown parameter "site"`},
		{"/failures/a?limit=1", `unknown parameter "limit"`},
	} {
		w := ask(h, "GET", test.target, "text/plain") // an error is JSON always
		check(t, w, 400, typeJSON)
		if got := decode[map[string]string](t, w)["error"]; !strings.Contains(got, test.want) || len(got) > 400 {
			t.Errorf("%.60s: got %q, want %q", test.target, got, test.want)
		}
	}
	if view.asked.Limit != 0 {
		t.Error("a wrong query was asked")
	}
}

func TestFormat(t *testing.T) {
	h := New(&fakeView{}, rows)
	for _, test := range []struct {
		name   string
		target string
		accept []string
		want   string
	}{
		{"nothing asked", "/failures", nil, typeJSON},
		{"curl", "/failures", []string{"*/*"}, typeJSON},
		{"axios", "/failures", []string{"application/json, text/plain, */*"}, typeJSON},
		{"a browser", "/failures", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, typeJSON},
		{"text", "/failures", []string{"text/plain"}, typeText},
		{"text in capitals", "/failures", []string{"Text/Plain; charset=utf-8"}, typeText},
		{"text first", "/failures", []string{"text/plain, application/json;q=0.9"}, typeText},
		{"text last", "/failures", []string{"text/plain;q=0.1, application/json"}, typeJSON},
		{"in two fields", "/failures", []string{"application/json;q=0.5", "text/plain"}, typeText},
		{"no text", "/failures", []string{"text/plain;q=0"}, typeJSON},
		{"a q that is none", "/failures", []string{"text/plain;q=NaN"}, typeJSON},
		{"a q beyond", "/failures", []string{"text/plain;q=9"}, typeJSON},
		{"the parameter says text", "/failures?format=text", []string{"application/json"}, typeText},
		{"the parameter says json", "/failures?format=json", []string{"text/plain"}, typeJSON},
	} {
		t.Run(test.name, func(t *testing.T) {
			check(t, ask(h, "GET", test.target, test.accept...), 200, test.want)
		})
	}
}

// An answer that can't be drawn is an error, not half an answer.
func TestNotDrawn(t *testing.T) {
	broken := record("a")
	broken.DurationMS = failure.Milliseconds(math.NaN())
	w := ask(New(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("b"), broken}}}, rows), "GET", "/failures")
	check(t, w, 500, typeJSON)
	if got := decode[map[string]string](t, w)["error"]; !strings.Contains(got, "NaN") {
		t.Errorf("got %q", got)
	}
}

// goneWriter is a client that has left.
type goneWriter struct{ http.ResponseWriter }

func (goneWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestClientGone(t *testing.T) {
	h := New(&fakeView{}, rows)
	h.ServeHTTP(goneWriter{httptest.NewRecorder()}, httptest.NewRequest("GET", "/failures", nil))
}

// Over a real server, mounted under two paths, with a real journal behind it.
func TestMounted(t *testing.T) {
	j := journal.New(100, time.Hour)
	h := New(journalView{j}, rows)
	mux := http.NewServeMux()
	for _, base := range []string{"/upstream_diagnostics", "/ops/deep"} {
		mux.Handle(base, http.StripPrefix(base, h))
		mux.Handle(base+"/", http.StripPrefix(base, h))
	}
	server := httptest.NewServer(mux)
	defer server.Close()

	get := func(target string, into any) int {
		t.Helper()
		r, err := server.Client().Get(server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(into); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		return r.StatusCode
	}

	for n := range 5 {
		f := record(fmt.Sprint("f", n))
		if n%2 == 1 {
			f.Outcome, f.Status, f.Cause = failure.Rescued, 200, "dns_timeout"
		}
		j.Add(f)
	}

	var overview failure.Overview
	for _, target := range []string{"/upstream_diagnostics", "/upstream_diagnostics/", "/ops/deep", "/ops/deep/"} {
		if status := get(target, &overview); status != 200 || overview.KeptCount != 5 || overview.Counts[failure.Rescued] != 2 {
			t.Errorf("%s: got %d, %+v", target, status, overview)
		}
	}

	pages := func(target string) (all []string) {
		before := ""
		for {
			var page failure.FailurePage
			if status := get(target+before, &page); status != 200 {
				t.Fatalf("%s: got %d", target+before, status)
			}
			for _, f := range page.Failures {
				all = append(all, f.ID)
			}
			if page.Next == "" {
				return all
			}
			before = "&before=" + page.Next
		}
	}
	for target, want := range map[string][]string{
		"/upstream_diagnostics/failures?limit=2":                 {"f4", "f3", "f2", "f1", "f0"},
		"/ops/deep/failures?limit=1&outcome=rescued":             {"f3", "f1"},
		"/ops/deep/failures?cause=connection_refused&status=502": {"f4", "f2", "f0"},
		"/ops/deep/failures?since=1m&host=EXAMPLE.com&id=f1,f4":  {"f4", "f1"},
		"/ops/deep/failures?until=1m":                            nil,
	} {
		if got := pages(target); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", target, got, want)
		}
	}

	var page failure.FailurePage
	get("/upstream_diagnostics/failures?limit=1", &page)
	newest := page.Newest
	j.Add(record("f5"))
	get("/upstream_diagnostics/failures?after="+newest, &page)
	if len(page.Failures) != 1 || page.Failures[0].ID != "f5" {
		t.Errorf("after %s: got %v", newest, page.Failures)
	}

	var f failure.Failure
	if status := get("/upstream_diagnostics/failures/f3", &f); status != 200 || f.ID != "f3" || f.Cause != "dns_timeout" {
		t.Errorf("got %d, %+v", status, f)
	}

	r, err := http.NewRequest(http.MethodDelete, server.URL+"/upstream_diagnostics/failures", nil)
	if err != nil {
		t.Fatal(err)
	}
	cleared, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	cleared.Body.Close()
	if cleared.StatusCode != 204 {
		t.Errorf("DELETE gave %d", cleared.StatusCode)
	}
	get("/upstream_diagnostics", &overview)
	if overview.KeptCount != 0 || overview.Counts[failure.Failed] != 4 {
		t.Errorf("after DELETE: got %+v", overview)
	}
	var e map[string]string
	if status := get("/upstream_diagnostics/failures/f3", &e); status != 404 || e["error"] == "" {
		t.Errorf("after DELETE: got %d, %v", status, e)
	}
}

// Clients ask while failures come in.
func TestReadingWhileWriting(t *testing.T) {
	j := journal.New(50, time.Hour)
	h := New(journalView{j}, rows)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 2000 {
			j.Add(record(fmt.Sprint("f", n)))
		}
	}()
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		for _, target := range []string{"/", "/failures", "/failures?format=text", "/failures?cause=unknown"} {
			if w := ask(h, "GET", target); w.Code != 200 {
				t.Fatalf("%s: got %d, %s", target, w.Code, w.Body)
			}
		}
	}
}

func FuzzOperator(f *testing.F) {
	h := New(&fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("a")}}}, rows)
	f.Add("GET", "/failures", "since=1d&format=text", "text/plain;q=0.5")
	f.Add("DELETE", "/failures/a", "%zz", ",;q=,")
	f.Fuzz(func(t *testing.T, method, path, query, accept string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case !slices.Contains([]int{200, 204, 400, 404, 405}, w.Code):
			t.Errorf("status is %d", w.Code)
		case w.Code >= 400 && method != "HEAD" && !json.Valid(w.Body.Bytes()):
			t.Errorf("not JSON: %q", w.Body)
		}
	})
}
