package diagnostics

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// An upstream fails, recovers, and fails again. When it may be over is told from the second
// time on, in the field and in the body alike, and not where the owner wants none.
func TestRetryAfterByWhatWasBefore(t *testing.T) {
	upstream := &dayUpstream{t: t, address: testcaddy.Dead(t)}
	defer upstream.stops()
	c := testcaddy.Start(t, `route /off {
	upstream_diagnostics {
		site shop
		retry_after off
	}
	reverse_proxy `+upstream.address+`
}
upstream_diagnostics {
	site shop
}
reverse_proxy `+upstream.address)
	fails := func() (field, body string) {
		t.Helper()
		answer := c.Get("/order", "Accept: application/json")
		if answer.Status != http.StatusBadGateway {
			t.Fatalf("got %d", answer.Status)
		}
		return answer.Header.Get("Retry-After"), answer.Body
	}
	// It fails for the second that can be told at least.
	testcaddy.Eventually(t, "an incident that lasts", func() bool {
		if field, body := fails(); field != "" || strings.Contains(body, "retry_after_s") {
			t.Fatalf("invented: %s and %s", field, body)
		}
		c.Idle()
		return incidentsOf(c, "")[0].DurationS >= 1
	})
	upstream.answersBy(well)
	for range 10 { // the first may come within a millisecond
		c.Get("/order")
	}
	c.Idle()
	currentProcess().resolveIncidents(zap.NewNop(), time.Now().Add(31*time.Second))
	if i := incidentsOf(c, "")[0]; i.ResolvedBy != failure.ResolvedByAnswer {
		t.Fatalf("%+v", i)
	}
	upstream.stops()
	field, body := fails()
	if seconds, err := strconv.Atoi(field); err != nil || seconds < 1 || seconds > 300 || !strings.Contains(body, `"retry_after_s":`+field) {
		t.Errorf("Retry-After %q and %s", field, body)
	}
	if a := c.Get("/off"); a.Status != http.StatusBadGateway || a.Header.Get("Retry-After") != "" {
		t.Errorf("off, and got %d, Retry-After %q", a.Status, a.Header.Get("Retry-After"))
	}
}

// answeredLater is an upstream that answered at that time.
type answeredLater struct{ at atomic.Pointer[time.Time] }

func (a *answeredLater) LastAnswer() time.Time  { return *a.at.Load() }
func (a *answeredLater) LastSuccess() time.Time { return *a.at.Load() }

// 1000 clients meet an incident of which two minutes are usual: they come back one after the
// other.
func TestReturnsAreSpread(t *testing.T) {
	const clients, usually = 1000, 2 * time.Minute
	dead := testcaddy.Dead(t)
	c := testcaddy.Start(t, "upstream_diagnostics {\nsite shop\n}\nreverse_proxy "+dead)
	p := currentProcess()
	// One has been, an hour ago.
	const refused = "connection_refused"
	began := time.Now().Add(-time.Hour)
	ended, answered := began.Add(usually), new(answeredLater)
	at := ended.Add(time.Second)
	answered.at.Store(&at)
	for _, at := range []time.Time{began, ended} {
		p.incidents.See(journal.Sighting{
			Of:      failure.Incident{ID: incidentID("shop", dead, refused), Site: "shop", Upstream: dead, Cause: refused, Summary: "it refused"},
			Outcome: failure.Failed, Failure: "before", At: at, By: answered, Configured: true,
		})
	}
	p.resolveIncidents(zap.NewNop(), ended.Add(time.Minute))

	told := map[int]int{}
	earliest, latest := 24*60*60, 0
	for range clients {
		a := c.Get("/order", "Accept: application/json")
		field := a.Header.Get("Retry-After")
		seconds, err := strconv.Atoi(field)
		if err != nil || a.Status != http.StatusBadGateway || !strings.Contains(a.Body, `"retry_after_s":`+field+"}") {
			t.Fatalf("got %d, Retry-After %q and %s", a.Status, field, a.Body)
		}
		told[seconds]++
		earliest, latest = min(earliest, seconds), max(latest, seconds)
	}
	c.Idle()
	i := incidentsOf(c, "")[0]
	if i.Count != clients || i.ReopenedCount != 0 {
		t.Fatalf("%+v", i)
	}
	// What the last one is told is by so much less as the incident lasts.
	lasts := int(i.DurationS) + 1
	if earliest < 96-lasts || earliest < 1 || latest > 144 {
		t.Errorf("they come back after %d to %d s, %d s after the incident began", earliest, latest, lasts)
	}
	if len(told) < 40 {
		t.Errorf("they come back in %d different seconds", len(told))
	}
	for seconds, n := range told {
		if n > clients/10 {
			t.Errorf("%d of %d come back after %d s", n, clients, seconds)
		}
	}
}

// What is told stays within its bounds, and is never the same for all.
func TestSpread(t *testing.T) {
	const often = 2000
	for _, test := range []struct {
		name             string
		wait             func() time.Duration
		earliest, latest time.Duration
	}{
		{name: "an upstream can be chosen at once", wait: func() time.Duration { return spreadAfter(time.Millisecond) }, earliest: time.Second, latest: 2 * time.Second},
		{name: "it can be soon", wait: func() time.Duration { return spreadAfter(29500 * time.Millisecond) }, earliest: 30 * time.Second, latest: 36 * time.Second},
		{name: "it can be tomorrow", wait: func() time.Duration { return spreadAfter(1000 * time.Second) }, earliest: 1000 * time.Second, latest: 1200 * time.Second},
		{name: "an incident takes a second", wait: func() time.Duration { return spreadAround(time.Second, time.Second) }, earliest: time.Second, latest: 2 * time.Second},
		{name: "little is left of a second", wait: func() time.Duration { return spreadAround(time.Millisecond, time.Second) }, earliest: time.Second, latest: 2 * time.Second},
		{name: "an incident takes a minute", wait: func() time.Duration { return spreadAround(time.Minute, time.Minute) }, earliest: 48 * time.Second, latest: 72 * time.Second},
		{name: "half of a minute is left", wait: func() time.Duration { return spreadAround(30*time.Second, time.Minute) }, earliest: 18 * time.Second, latest: 42 * time.Second},
		{name: "little is left of a minute", wait: func() time.Duration { return spreadAround(time.Second, time.Minute) }, earliest: time.Second, latest: 13 * time.Second},
		{name: "an incident takes five minutes", wait: func() time.Duration { return spreadAround(5*time.Minute, 5*time.Minute) }, earliest: 4 * time.Minute, latest: 5 * time.Minute},
		{name: "an incident takes hours", wait: func() time.Duration { return spreadAround(3*time.Hour, 4*time.Hour) }, earliest: 4 * time.Minute, latest: 5 * time.Minute},
		{name: "two minutes are left of hours", wait: func() time.Duration { return spreadAround(2*time.Minute, 4*time.Hour) }, earliest: time.Minute, latest: 3 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			earliest, latest, told := time.Hour, time.Duration(0), map[time.Duration]int{}
			for range often {
				wait := test.wait()
				if wait%time.Second != 0 {
					t.Fatalf("%s is rounded later", wait)
				}
				told[wait]++
				earliest, latest = min(earliest, wait), max(latest, wait)
			}
			if earliest < test.earliest || latest > test.latest {
				t.Errorf("from %s to %s, want from %s to %s", earliest, latest, test.earliest, test.latest)
			}
			if seconds := int((test.latest-test.earliest)/time.Second) + 1; len(told) < max(2, seconds*9/10) {
				t.Errorf("%d different waits of %d", len(told), seconds)
			}
		})
	}
	if wait := spreadAround(0, 0); wait != 0 {
		t.Errorf("nothing is known, and told is %s", wait)
	}
}

// What tells a wait, and what comes before what.
func TestRetryAfterOf(t *testing.T) {
	now := failure.At(time.Now())
	until := failure.At(now.Add(10 * time.Second))
	later := failure.At(now.Add(time.Hour))
	auto, dates := retryPolicy{auto: true}, now.Add(90*time.Second).UTC().Format(http.TimeFormat)
	unavailable := []failure.Unavailable{{Until: &later}, {}, {Until: &until}}
	for name, test := range map[string]struct {
		retry            retryPolicy
		of               failure.Failure
		earliest, latest time.Duration
	}{
		"fixed":                         {retry: retryPolicy{fixed: 7 * time.Second}, of: failure.Failure{Incident: "known"}, earliest: 7 * time.Second, latest: 7 * time.Second},
		"off":                           {of: failure.Failure{Incident: "known", Unavailable: unavailable}},
		"nothing is known":              {retry: auto, of: failure.Failure{Incident: "another"}},
		"no incident":                   {retry: auto},
		"an incident":                   {retry: auto, of: failure.Failure{Incident: "known"}, earliest: 80 * time.Second, latest: 120 * time.Second},
		"its own word":                  {retry: auto, of: failure.Failure{Incident: "known", Received: &failure.Received{RetryAfter: "7"}}, earliest: 7 * time.Second, latest: 7 * time.Second},
		"its own word is a time":        {retry: auto, of: failure.Failure{Incident: "known", Received: &failure.Received{RetryAfter: dates}}, earliest: 89 * time.Second, latest: 90 * time.Second},
		"its own word is far too long":  {retry: auto, of: failure.Failure{Incident: "known", Received: &failure.Received{RetryAfter: "864000"}}},
		"an answer without a word":      {retry: auto, of: failure.Failure{Incident: "known", Received: &failure.Received{Status: 503}}, earliest: 80 * time.Second, latest: 120 * time.Second},
		"one that can be chosen sooner": {retry: auto, of: failure.Failure{Incident: "known", Unavailable: unavailable}, earliest: 10 * time.Second, latest: 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Handler{retry: test.retry, process: new(process)}
			ended, at := now.Add(-time.Hour), now.Add(-50*time.Minute)
			answered := new(answeredLater)
			answered.at.Store(&at)
			for _, at := range []time.Time{ended.Add(-100 * time.Second), ended} {
				h.process.incidents.See(journal.Sighting{Of: failure.Incident{ID: "known"}, At: at, By: answered})
			}
			h.process.incidents.Sweep(at.Add(time.Minute), 0, func(string) (bool, []journal.Answering) { return true, nil })
			h.process.incidents.See(journal.Sighting{Of: failure.Incident{ID: "known"}, At: now.Time})
			test.of.Time = now
			for range 100 {
				if wait := h.retryAfterOf(&test.of); wait < test.earliest || wait > test.latest {
					t.Fatalf("got %s, want from %s to %s", wait, test.earliest, test.latest)
				}
			}
		})
	}
}
