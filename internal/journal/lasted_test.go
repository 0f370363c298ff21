package journal

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"
)

// lastingSight is of an upstream that a test names.
func lastingSight(site, upstream string, at time.Time, by Answering) Sighting {
	seen := sighting("refused", "a", at, by)
	seen.Of.ID, seen.Of.Site, seen.Of.Upstream = site+" "+upstream, site, upstream
	return seen
}

// What is expected of an incident comes from those of its upstream and cause that have ended
// with an answer, each with its own stretch.
func TestExpected(t *testing.T) {
	var s Incidents
	app := new(answering)
	now := incidentsStart
	// fails has it fail for some time, and then answer or not; it is over when it returns.
	fails := func(site string, lasts time.Duration, answers bool) {
		t.Helper()
		s.See(lastingSight(site, "app:8080", now, app))
		now = now.Add(lasts)
		s.See(lastingSight(site, "app:8080", now, app))
		if answers {
			app.answers(now.Add(time.Second))
		}
		now = now.Add(silence)
		if over := s.Sweep(now, 0, everybody); len(over) != 1 {
			t.Fatalf("%d are over", len(over))
		}
	}
	opens := func(site, upstream string) { s.See(lastingSight(site, upstream, now, app)) }
	expect := func(id string, after, left, usually time.Duration) {
		t.Helper()
		if gotLeft, got := s.Expected(id, now.Add(after)); gotLeft != left || got != usually {
			t.Errorf("%s after %s: %s left of %s, want %s of %s", id, after, gotLeft, got, left, usually)
		}
	}

	expect("shop app:8080", 0, 0, 0) // there is none yet
	fails("shop", time.Hour, false)  // nobody knows when it was over
	opens("shop", "app:8080")
	expect("shop app:8080", 0, 0, 0)
	app.answers(now.Add(time.Second))
	now = now.Add(silence)
	s.Sweep(now, 0, everybody) // it failed once, for no time that is known
	opens("shop", "app:8080")
	expect("shop app:8080", 0, 0, 0)

	s.Clear()
	fails("shop", 40*time.Second, true)
	expect("shop app:8080", 0, 0, 0) // it isn't open
	opens("shop", "app:8080")
	expect("shop app:8080", 0, 40*time.Second, 40*time.Second)
	expect("shop app:8080", -time.Second, 40*time.Second, 40*time.Second)
	expect("shop app:8080", 15*time.Second, 25*time.Second, 40*time.Second)
	expect("shop app:8080", 40*time.Second, 0, 0)
	expect("shop app:8080", time.Hour, 0, 0)

	// Other sites have the same upstream, another upstream and another cause are their own.
	opens("blog", "app:8080")
	expect("blog app:8080", 10*time.Second, 30*time.Second, 40*time.Second)
	opens("shop", "other:8080")
	expect("shop other:8080", 0, 0, 0)
	slow := lastingSight("shop", "app:8080", now, app)
	slow.Of.ID, slow.Of.Cause = "slow", "slow"
	s.See(slow)
	expect("slow", 0, 0, 0)

	// Of two it is the middle, of more that of the last ones.
	s.Clear()
	fails("shop", 20*time.Second, true)
	fails("blog", 60*time.Second, true)
	opens("shop", "app:8080")
	expect("shop app:8080", 0, 40*time.Second, 40*time.Second)
	s.Clear()
	for n := range 2 * keptDurations {
		fails("shop", time.Duration(n)*time.Second, true)
	}
	opens("shop", "app:8080")
	want := time.Duration(keptDurations+keptDurations/2) * time.Second
	expect("shop app:8080", 0, want, want)

	// What is over at once tells nobody to wait; what is longest doesn't become short.
	s.Clear()
	fails("shop", 499*time.Millisecond, true)
	opens("shop", "app:8080")
	expect("shop app:8080", 0, 0, 0)
	s.Clear()
	fails("shop", 1000*time.Hour, true)
	opens("shop", "app:8080")
	expect("shop app:8080", 0, math.MaxUint16*time.Second, math.MaxUint16*time.Second)
}

// One that opens again lasts from then on.
func TestExpectedOfOneThatOpensAgain(t *testing.T) {
	var s Incidents
	app := new(answering)
	now := incidentsStart
	for range 3 {
		s.See(lastingSight("shop", "app:8080", now, app))
		now = now.Add(10 * time.Second)
		s.See(lastingSight("shop", "app:8080", now, app))
		app.answers(now.Add(time.Second))
		now = now.Add(time.Minute)
		if over := s.Sweep(now, 0, everybody); len(over) != 1 {
			t.Fatalf("%d are over", len(over))
		}
	}
	s.See(lastingSight("shop", "app:8080", now, app))
	if i := s.List(now)[0]; i.ReopenedCount != 3 {
		t.Fatalf("%+v", i)
	}
	if left, usually := s.Expected("shop app:8080", now.Add(4*time.Second)); left != 6*time.Second || usually != 10*time.Second {
		t.Errorf("%s left of %s", left, usually)
	}
}

// What no config names may be another thing at each site: that nothing of a pool could be
// chosen has no upstream at all.
func TestExpectedOfWhatNoConfigNames(t *testing.T) {
	var s Incidents
	app := new(answering)
	see := func(site string, at time.Time) {
		seen := lastingSight(site, "", at, app)
		seen.Configured = false
		s.See(seen)
	}
	see("shop", incidentsStart)
	see("shop", incidentsStart.Add(20*time.Second))
	app.answers(incidentsStart.Add(30 * time.Second))
	now := incidentsStart.Add(time.Minute)
	s.Sweep(now, 0, everybody)
	see("shop", now)
	see("blog", now)
	if left, _ := s.Expected("shop ", now); left != 20*time.Second {
		t.Errorf("%s at the site that had one", left)
	}
	if left, _ := s.Expected("blog ", now); left != 0 {
		t.Errorf("%s at another", left)
	}
}

// It is kept as long as an incident is.
func TestExpectedIsForgotten(t *testing.T) {
	for name, forget := range map[string]func(s *Incidents, now time.Time){
		"by time":          func(s *Incidents, now time.Time) { s.Sweep(now.Add(2*silence), time.Hour, everybody) },
		"all of them":      func(s *Incidents, _ time.Time) { s.Clear() },
		"to make room":     nil,
		"while they start": nil,
	} {
		t.Run(name, func(t *testing.T) {
			var s Incidents
			for n := range maxIncidents {
				s.See(lastingSight("shop", fmt.Sprint(n), incidentsStart, nil))
			}
			now := incidentsStart.Add(silence)
			s.Sweep(now, 0, everybody)
			if len(s.lasted) != maxIncidents {
				t.Fatalf("%d are kept", len(s.lasted))
			}
			if forget != nil {
				if forget(&s, now); len(s.lasted) != 0 {
					t.Errorf("%d are kept", len(s.lasted))
				}
				return
			}
			before := s.lasted[lastingSight("shop", "0", now, nil).lastedKey()]
			for n := range 2 * maxIncidents {
				at := now
				if name == "while they start" { // others of the same
					n, at = n%maxIncidents, now.Add(again+time.Second)
				} else {
					n += maxIncidents
				}
				s.See(lastingSight("shop", fmt.Sprint(n), at, nil))
			}
			if len(s.lasted) != maxIncidents {
				t.Errorf("%d are kept", len(s.lasted))
			}
			after := s.lasted[lastingSight("shop", "0", now, nil).lastedKey()]
			if stays := name == "while they start"; (before == after) != stays {
				t.Errorf("what was known stays: %v", !stays)
			}
		})
	}
}

func (s Sighting) lastedKey() uint64 {
	of := fingerprint{Site: s.Of.Site, Upstream: s.Of.Upstream, Cause: s.Of.Cause}
	return of.lastedKey(!s.Configured)
}

// It is read while others fail and are resolved.
func TestExpectedAtOnce(t *testing.T) {
	var s Incidents
	app := new(answering)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for n := range 500 {
				at := incidentsStart.Add(time.Duration(n) * time.Hour)
				s.See(lastingSight("shop", "app:8080", at, app))
				s.Expected("shop app:8080", at)
				app.answers(at.Add(time.Second))
				s.Sweep(at.Add(time.Minute), 30*time.Minute, everybody)
			}
		})
	}
	running.Wait()
	s.Sweep(incidentsStart.Add(1000*time.Hour), 0, everybody)
	s.Sweep(incidentsStart.Add(2000*time.Hour), time.Hour, everybody)
	if len(s.lasted) != 0 || s.kept != 0 {
		t.Errorf("%d and %d are kept", len(s.lasted), s.kept)
	}
}

func BenchmarkExpected(b *testing.B) {
	var s Incidents
	s.See(lastingSight("shop", "app:8080", incidentsStart, nil))
	b.ReportAllocs()
	for b.Loop() {
		s.Expected("shop app:8080", incidentsStart)
	}
}
