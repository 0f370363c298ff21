package terminal

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestList(t *testing.T) {
	f, c := newFake(t)
	if err := c.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := written(c), "No incident was opened since recording began, at 2026-11-24T04:11:26.000Z.\n\nNo failure is kept.\n"; got != want {
		t.Errorf("of nothing: %q, want %q", got, want)
	}

	for n := range 3 {
		f.failures = append(f.failures, failureOf(failure.Failed, "app:"+string(rune('1'+n)), "connection_refused", 0))
	}
	f.incidents = []*failure.Incident{incidentOf(failure.IncidentOpen, "app:1", time.Hour), incidentOf(failure.IncidentResolved, "app:2", time.Hour)}
	_, again := newFake(t)
	again.API, again.Limit = c.API, 2
	again.Screen = func() Screen { return Screen{Terminal: true} }
	again.Filters = url.Values{"upstream": {"app:1,app:2", "app:3"}, "since": {"1h"}}
	f.asked = nil
	if err := again.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := written(again)
	for _, want := range []string{"● 1 incident is open\n", "● open", "app:3", "app:2", "One in full: caddy upstream-failures <ID>   Older ones: --limit 20\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "resolved") || strings.Index(got, "app:3  ") > strings.Index(got, "app:2  ") {
		t.Errorf("got\n%s", got)
	}
	want := []string{
		"GET /upstream_diagnostics/failures?limit=2&since=1h&upstream=app%3A1%2Capp%3A2&upstream=app%3A3",
		"GET /upstream_diagnostics/incidents?upstream=app%3A1%2Capp%3A2&upstream=app%3A3", // which know no since
	}
	if !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}

	f.incidents, f.failures = f.incidents[1:], nil
	_, calm := newFake(t)
	calm.API, calm.Filters = c.API, again.Filters
	if err := calm.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := written(calm); !strings.HasPrefix(got, "No incident of what is asked for is open; the last one was resolved at 2026-11-24T03:41:26.000Z (app:2, connection_refused).\n") ||
		!strings.HasSuffix(got, "\nNo failure that is kept is one of those asked for.\n") {
		t.Errorf("got %q", got)
	}
}

// Whatever comes, as text and as JSON, nothing of it is obeyed by a terminal.
func TestHostileAnswers(t *testing.T) {
	f, c := newFake(t)
	whole := failureOf(failure.Failed, hostile, hostile, 0)
	whole.ID, whole.Site, whole.Evidence, whole.Error = hostile, hostile, []string{hostile}, hostile
	whole.Attempts = []failure.Attempt{{Upstream: hostile, Cause: hostile, Error: hostile}}
	whole.Request = failure.Request{URI: hostile, Headers: map[string][]string{hostile: {hostile}}}
	i := incidentOf(failure.IncidentOpen, hostile, 0)
	i.ID, i.Cause, i.Site = hostile, hostile, hostile
	resolved := incidentOf(failure.IncidentResolved, hostile, 0)
	resolved.Cause = hostile
	f.failures, f.incidents = []*failure.Failure{whole}, []*failure.Incident{i, resolved}
	f.answers["/probe"], f.answers["/incidents/x"] = hostile+"\n\x1b]0;title\x07", hostile

	for _, json := range []bool{false, true} {
		c.JSON = json
		for name, run := range map[string]func() error{
			"list":      func() error { return c.List(t.Context()) },
			"latest":    func() error { return c.Failure(t.Context(), Latest) },
			"incidents": func() error { return c.Incidents(t.Context()) },
			"incident":  func() error { return c.Incident(t.Context(), "x") },
			"check":     func() error { _, err := c.Check(t.Context()); return err },
			"probe":     func() error { return c.Probe(t.Context(), hostile, "") },
			"calm": func() error {
				return c.write(Screen{}.line(solved, Screen{}.calmSentence(resolved, failure.Timestamp{}, now, true)))
			},
		} {
			if err := run(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if strings.ContainsAny(written(c), wicked+"\x07") {
				t.Fatalf("%s (JSON: %v) writes %q", name, json, written(c))
			}
		}
	}
	err := c.Failure(t.Context(), "gone")
	if err == nil || strings.ContainsAny(Sentence(err), wicked+"\n") || !strings.Contains(Sentence(err), `no such thing: a\x1b[31mb`) {
		t.Errorf("the error is %v", err)
	}
}

func TestCheck(t *testing.T) {
	f, c := newFake(t)
	f.incidents = []*failure.Incident{incidentOf(failure.IncidentResolved, "app:2", time.Hour)}
	if open, err := c.Check(t.Context()); open || err != nil || written(c) != "" {
		t.Errorf("nothing is open: %v, %v, %q", open, err, written(c))
	}
	f.incidents = append(f.incidents, incidentOf(failure.IncidentOpen, "app:1", time.Hour))
	if open, err := c.Check(t.Context()); !open || err != nil || strings.Count(written(c), "\n") != 2 || !strings.Contains(written(c), "app:1") {
		t.Errorf("one is: %v, %v, %q", open, err, written(c))
	}
	f.incidents, f.answers[""] = nil, `{"no_handler": true}`
	if open, err := c.Check(t.Context()); open || !errors.Is(err, errNoHandler) {
		t.Errorf("nothing is recorded: %v, %v", open, err)
	}
	f.away = true
	if open, err := c.Check(t.Context()); open || err == nil {
		t.Errorf("nobody is there: %v, %v", open, err)
	}
}

// A name that is mistyped would never have an open incident.
func TestCheckRefusesNamesOfNothing(t *testing.T) {
	const shop = `{"upstream": "app:8080", "address": "127.0.0.1:8080", "sites": ["shop"]}`
	for name, test := range map[string]struct {
		filters url.Values
		board   string
		want    string
	}{
		"no filter, no upstream": {nil, "", ""},
		"both are there":         {url.Values{"site": {"shop"}, "upstream": {"app:8080"}}, shop, ""},
		"one of an incident":     {url.Values{"site": {"shop, blog"}, "upstream": {"app:2"}}, shop, ""},
		"an upstream mistyped":   {url.Values{"upstream": {"app:8080,ap:8080"}}, shop, `--upstream: no running config has "ap:8080", so nothing can be told of it; there are app:2, app:8080 (did you mean app:8080?)`},
		"its address":            {url.Values{"upstream": {"127.0.0.1:8080"}}, shop, `--upstream: no running config has "127.0.0.1:8080"`},
		"a site mistyped":        {url.Values{"site": {"shpo"}}, shop, `there are blog, shop (did you mean shop?)`},
		"a site that isn't told": {url.Values{"site": {"hidden"}}, shop + `, {"upstream": "app:1", "sites": []}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, c := newFake(t)
			resolved := incidentOf(failure.IncidentResolved, "app:2", time.Hour)
			resolved.Site = "blog"
			f.incidents = []*failure.Incident{resolved}
			f.answers["/upstreams"] = `{"upstreams": [` + test.board + `], "warnings": []}`
			c.Filters = test.filters
			open, err := c.Check(t.Context())
			if open || written(c) != "" {
				t.Errorf("%v, %q", open, written(c))
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	f, c := newFake(t)
	f.answers["/probe"] = "app:8080 answers.\n\n  connect  0.2 ms\n"
	if err := c.Probe(t.Context(), "app:8080", ""); err != nil || written(c) != f.answers["/probe"] {
		t.Errorf("%v, %q", err, written(c))
	}
	c.JSON = true
	f.answers["/probe"] = "{\"ok\": true}\n"
	if err := c.Probe(t.Context(), `a"b`, "shop"); err != nil || !strings.HasSuffix(written(c), "\n{\"ok\": true}\n") {
		t.Errorf("%v, %q", err, written(c))
	}
	want := []string{`POST /upstream_diagnostics/probe?format=text {"upstream":"app:8080"}`, `POST /upstream_diagnostics/probe {"site":"shop","upstream":"a\"b"}`}
	if !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
}

// JSON is the API's own object, also what this version knows nothing of.
func TestJSONLines(t *testing.T) {
	f, c := newFake(t)
	c.JSON = true
	f.answers["/failures"] = `{"failures":[{"id":"b","new":{"x":[1]}},{"id":"a"}],"newest":"x"}`
	f.answers["/failures/b"] = ` {"id":"b", "new": {"x":[1]}} `
	f.answers["/incidents"] = `{"incidents":[{"id":"i","state":"open","changes":[]}]}`
	for _, run := range []func() error{
		func() error { return c.List(t.Context()) },
		func() error { return c.Failure(t.Context(), "b") },
		func() error { return c.Incidents(t.Context()) },
		func() error { _, err := c.Check(t.Context()); return err },
	} {
		if err := run(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for line := range strings.Lines(written(c)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q", line)
		}
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{`{"id":"b","new":{"x":[1]}}`, `{"id":"a"}`, `{"id":"b", "new": {"x":[1]}}`, `{"id":"i","state":"open","changes":[]}`, `{"id":"i","state":"open","changes":[]}`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIDs(t *testing.T) {
	f, c := newFake(t)
	for _, id := range []string{"", ".", "..", "a/b", "../incidents", "a?b", hostile, "%2e"} {
		for name, show := range map[string]error{"failure": c.Failure(t.Context(), id), "incident": c.Incident(t.Context(), id)} {
			if show == nil || !strings.HasPrefix(show.Error(), "expected an id such as k3f9qw2ax, or latest, got ") {
				t.Errorf("%s %q: %v", name, id, show)
			}
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("asked %q", f.asked)
	}
	if err := c.Failure(t.Context(), Latest); err == nil || !strings.HasPrefix(err.Error(), "no failure is kept") {
		t.Errorf("the newest of none: %v", err)
	}
}
