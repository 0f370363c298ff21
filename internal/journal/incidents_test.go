package journal

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// answering is an upstream that answers when a test says so.
type answering struct{ last, success atomic.Int64 }

func timeAt(at *atomic.Int64) time.Time {
	if n := at.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func (a *answering) LastAnswer() time.Time  { return timeAt(&a.last) }
func (a *answering) LastSuccess() time.Time { return timeAt(&a.success) }

// answers well, begins an answer that may break off.
func (a *answering) answers(at time.Time) { a.begins(at); a.success.Store(at.UnixNano()) }
func (a *answering) begins(at time.Time)  { a.last.Store(at.UnixNano()) }

var incidentsStart = time.Date(2026, 11, 24, 4, 0, 30, 0, time.UTC)

func sighting(cause, id string, at time.Time, by Answering) Sighting {
	return Sighting{
		Of:      failure.Incident{ID: "of " + cause, Site: "shop", Upstream: "app:8080", Cause: cause, Summary: cause + " it is", Side: failure.SideUpstream},
		Outcome: failure.Failed, Failure: id, At: at, By: by, Configured: true,
	}
}

func everybody(string) (bool, []Answering) { return true, nil }

// Where answers are what fails, another that begins is no sign that it is over: one whose
// body breaks off has begun long before.
func TestAnswersThatFail(t *testing.T) {
	for _, test := range []struct {
		phase failure.Phase
		over  bool
	}{{failure.PhaseConnect, true}, {failure.PhaseWait, true}, {failure.PhaseHeaders, false}, {failure.PhaseBody, false}} {
		t.Run(string(test.phase), func(t *testing.T) {
			var s Incidents
			app := new(answering)
			seen := sighting("broken", "a", incidentsStart, app)
			seen.Of.Phase = test.phase
			s.See(seen)
			app.begins(incidentsStart.Add(time.Second))
			if over := len(s.Sweep(incidentsStart.Add(time.Minute), 0, everybody)) == 1; over != test.over {
				t.Errorf("an answer has begun: over is %v", over)
			}
			app.answers(incidentsStart.Add(2 * time.Second))
			s.Sweep(incidentsStart.Add(2*time.Minute), 0, everybody)
			if i := s.List(incidentsStart)[0]; i.ResolvedBy != failure.ResolvedByAnswer {
				t.Errorf("a whole answer has come, and it is %s", i.State)
			}
		})
	}
}

// byClock is a time by a clock that has been set by so much: its monotonic reading stays.
func byClock(at time.Time, set time.Duration) time.Time {
	by := at.Add(set)
	const monotonic = 1 // word of a Time (ext in time/time.go)
	(*[2]int64)(unsafe.Pointer(&by))[monotonic] = (*[2]int64)(unsafe.Pointer(&at))[monotonic]
	return by
}

// answeredAt is an upstream that answered then.
type answeredAt struct{ time.Time }

func (a answeredAt) LastAnswer() time.Time  { return a.Time }
func (a answeredAt) LastSuccess() time.Time { return a.Time }

// Nothing is over because a clock was set, and nothing lasts longer for it.
func TestClockIsSet(t *testing.T) {
	for name, set := range map[string]time.Duration{"on": 8 * time.Hour, "back": -8 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			failed := time.Now()
			now := byClock(failed.Add(time.Minute), set)
			for answered, over := range map[time.Duration]int{-10 * time.Second: 0, 10 * time.Second: 1} {
				var s Incidents
				s.See(sighting("refused", "a", failed, &answeredAt{byClock(failed.Add(answered), set)}))
				if got := len(s.Sweep(now, 0, everybody)); got != over {
					t.Errorf("answered %s after it failed: %d are over, want %d", answered, got, over)
				}
			}
		})
	}
}

// A day of one upstream: it refuses, then is slow, recovers, flaps, and is left alone.
func TestIncidentsOfADay(t *testing.T) {
	var s Incidents
	app := new(answering)
	now := incidentsStart
	after := func(d time.Duration) time.Time { now = now.Add(d); return now }
	see := func(cause, id string) *failure.Incident { return s.See(sighting(cause, id, now, app)) }
	resolved := func(want ...failure.Resolution) []Resolved {
		t.Helper()
		list := s.Sweep(now, 0, everybody)
		var got []failure.Resolution
		for _, i := range list {
			got = append(got, i.ResolvedBy)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("at %s resolved %v, want %v", now.Sub(incidentsStart), got, want)
		}
		return list
	}

	// It was well, then refuses: one incident, opened once.
	app.answers(now)
	after(time.Minute)
	if i := see("refused", "a"); i == nil || i.State != failure.IncidentOpen || i.Count != 1 || i.ReopenedCount != 0 {
		t.Fatalf("%+v", i)
	}
	for _, id := range []string{"b", "c", "d", "e", "f", "g", "h"} {
		after(10 * time.Second)
		if see("refused", id) != nil {
			t.Fatalf("%s opened it again", id)
		}
	}
	after(time.Minute)
	resolved() // nobody has answered yet
	i, _ := s.Get("of refused", now)
	if i.Count != 8 || i.Outcomes[failure.Failed] != 8 || !slices.Equal(i.Samples, []string{"a", "b", "c", "f", "g", "h"}) || i.DurationS != 70 {
		t.Errorf("%+v", i)
	}
	if got := i.PerMinute[failure.HistoryMinutes-4:]; !reflect.DeepEqual(got, []uint32{0, 3, 5, 0}) {
		t.Errorf("per minute %v", got)
	}

	// Another cause is another incident; the first one goes on until an answer comes.
	if see("slow", "s") == nil {
		t.Error("the second was not opened")
	}
	app.answers(after(time.Second))
	over := resolved(failure.ResolvedByAnswer)
	if over[0].Cause != "refused" || over[0].State != failure.IncidentResolved || over[0].ResolvedAt == nil || over[0].DurationS != 70 || over[0].Lasted != 70*time.Second {
		t.Errorf("%+v", over[0])
	}
	after(28 * time.Second)
	resolved() // not 30 s yet
	after(time.Second)
	resolved(failure.ResolvedByAnswer)

	// It flaps: within ten minutes it is the same one, opened again.
	after(9 * time.Minute)
	if i := see("refused", "x"); i == nil || i.ReopenedCount != 1 || i.Count != 9 || !i.FirstSeen.Equal(incidentsStart.Add(time.Minute)) {
		t.Fatalf("%+v", i)
	}
	after(20 * time.Second)
	see("refused", "z")
	app.answers(after(31 * time.Second))
	// What it lasted is since it opened again: it was well in between.
	if over := resolved(failure.ResolvedByAnswer); over[0].Lasted != 20*time.Second || over[0].DurationS < 600 {
		t.Errorf("lasted %s, from first to last %v s", over[0].Lasted, over[0].DurationS)
	}
	// Later it is another one.
	after(11 * time.Minute)
	if i := see("refused", "y"); i == nil || i.ReopenedCount != 0 || i.Count != 1 || !slices.Equal(i.Samples, []string{"y"}) {
		t.Fatalf("%+v", i)
	}
	after(59 * time.Minute)
	resolved()
	after(time.Minute)
	resolved(failure.ResolvedBySilence)
	if open, dropped := s.Counts(); open != 0 || dropped != 0 {
		t.Errorf("%d open, %d dropped", open, dropped)
	}
	if list := s.List(now); len(list) != 2 || list[0].Cause != "refused" || list[1].Cause != "slow" {
		t.Errorf("%+v", list)
	}
	s.Clear()
	if list := s.List(now); len(list) != 0 || list == nil {
		t.Errorf("%+v", list)
	}
}

// The answer that is the failure itself ends nothing.
func TestAnErrorIsNoGoodAnswer(t *testing.T) {
	var s Incidents
	app := new(answering)
	s.See(sighting("answers_503", "a", incidentsStart, app))
	app.answers(incidentsStart.Add(200 * time.Microsecond))
	if over := s.Sweep(incidentsStart.Add(time.Minute), 0, everybody); len(over) != 0 {
		t.Errorf("%+v", over)
	}
	app.answers(incidentsStart.Add(20 * time.Millisecond))
	if over := s.Sweep(incidentsStart.Add(time.Minute), 0, everybody); len(over) != 1 {
		t.Errorf("%+v", over)
	}
}

// Who mends an upstream in the config may ask it in another way from then on, as over TLS:
// then its answers count, and where the way that failed is still asked, that one's alone.
func TestMendedInTheConfig(t *testing.T) {
	for name, test := range map[string]struct {
		by, answers int   // of the upstreams that failed, and of the one that answers
		asked       []int // by the config
		over        bool
	}{
		"in another way":           {0, 1, []int{1}, true},
		"in two other ways":        {0, 2, []int{1, 2}, true},
		"but no answer came":       {0, 2, []int{1}, false},
		"the old way is asked too": {0, 1, []int{0, 1}, false},
		"and answers again":        {0, 0, []int{0, 1}, true},
		"nobody knows who failed":  {-1, 1, []int{1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var s Incidents
			ways := []*answering{new(answering), new(answering), new(answering)}
			var by Answering
			if test.by >= 0 {
				by = ways[test.by]
			}
			s.See(sighting("tls_expected", "a", incidentsStart, by))
			ways[test.answers].answers(incidentsStart.Add(time.Second))
			over := s.Sweep(incidentsStart.Add(time.Minute), 0, func(upstream string) (bool, []Answering) {
				var asked []Answering
				for _, n := range test.asked {
					asked = append(asked, ways[n])
				}
				return upstream == "app:8080", asked
			})
			if (len(over) == 1) != test.over || test.over && over[0].ResolvedBy != failure.ResolvedByAnswer {
				t.Errorf("%+v", over)
			}
		})
	}
}

// An upstream that no config names any more has no open incident; one that none ever
// named goes on.
func TestIncidentsLeaveWithTheConfig(t *testing.T) {
	var s Incidents
	unknown := sighting("unknown_here", "b", incidentsStart, nil)
	unknown.Configured = false
	s.See(sighting("refused", "a", incidentsStart, nil))
	s.See(unknown)
	over := s.Sweep(incidentsStart.Add(time.Second), 0, func(string) (bool, []Answering) { return false, nil })
	if len(over) != 1 || over[0].Cause != "refused" || over[0].ResolvedBy != failure.ResolvedByConfig {
		t.Errorf("%+v", over)
	}
	// What was resolved long ago is forgotten.
	s.Sweep(incidentsStart.Add(25*time.Hour), 24*time.Hour, everybody)
	if list := s.List(incidentsStart); len(list) != 1 || list[0].Cause != "unknown_here" {
		t.Errorf("%+v", list)
	}
}

// As many as are bounded: resolved ones give way, and what is beyond is counted.
func TestIncidentsAreBounded(t *testing.T) {
	var s Incidents
	see := func(n int, at time.Time) { s.See(sighting(fmt.Sprint(n), "a", at, nil)) }
	for n := range maxIncidents {
		see(n, incidentsStart)
	}
	see(maxIncidents, incidentsStart)
	if open, dropped := s.Counts(); open != maxIncidents || dropped != 1 {
		t.Errorf("%d open, %d dropped", open, dropped)
	}
	later := incidentsStart.Add(silence)
	if over := s.Sweep(later, 0, everybody); len(over) != maxIncidents {
		t.Errorf("%d resolved", len(over))
	}
	for n := range 3 {
		see(maxIncidents+n, later)
	}
	if open, dropped := s.Counts(); open != 3 || dropped != 1 || len(s.List(later)) != maxIncidents {
		t.Errorf("%d open, %d dropped, %d kept", open, dropped, len(s.List(later)))
	}
}

// What was forgotten while somebody swept is not resolved as well.
func TestIncidentsForgottenWhileSwept(t *testing.T) {
	var s Incidents
	s.See(sighting("refused", "a", incidentsStart, nil))
	swept, _ := s.byID.Load("of refused")
	s.Clear()
	if _, over := s.resolve(swept.(*incident), incidentsStart.Add(silence), everybody); over {
		t.Error("it was resolved")
	}
	if open, _ := s.Counts(); open != 0 {
		t.Errorf("%d are open", open)
	}
}

// Many at once are counted exactly, while others read and resolve.
func TestIncidentsAtOnce(t *testing.T) {
	var s Incidents
	const each, goroutines = 2000, 8
	var opened atomic.Int64
	var running, reading sync.WaitGroup
	stop := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.List(incidentsStart)
				s.Sweep(incidentsStart.Add(silence), 0, everybody)
			}
		}
	})
	for g := range goroutines {
		running.Go(func() {
			for n := range each {
				if s.See(sighting([]string{"a", "b", "c"}[n%3], fmt.Sprint(g), incidentsStart, nil)) != nil {
					opened.Add(1)
				}
			}
		})
	}
	running.Wait()
	close(stop)
	reading.Wait()
	total := uint64(0)
	for _, i := range s.List(incidentsStart) {
		total += i.Count
		if i.Outcomes[failure.Failed] != i.Count || len(i.Samples) != failure.MaxSamples {
			t.Errorf("%+v", i)
		}
	}
	if total != each*goroutines || opened.Load() < 3 {
		t.Errorf("counted %d, opened %d", total, opened.Load())
	}
	s.Sweep(incidentsStart.Add(silence), 0, everybody)
	if open, _ := s.Counts(); open != 0 {
		t.Errorf("%d are open", open)
	}
}

// Nothing of a record stays alive with an incident, and its words are bounded.
func TestAnIncidentIsSmall(t *testing.T) {
	var s Incidents
	long := sighting("refused", "a", incidentsStart, nil)
	long.Of.Summary, long.Of.Advice = strings.Repeat("ä", 4000), strings.Repeat("b", 4000)
	s.See(long)
	i, _ := s.Get("of refused", incidentsStart)
	if len(i.Summary) > maxSummary || len(i.Advice) > maxAdvice || !strings.HasSuffix(i.Summary, "ä") {
		t.Errorf("%d and %d bytes of words", len(i.Summary), len(i.Advice))
	}
	if len(failure.Outcomes) != outcomes {
		t.Errorf("%d outcomes are counted", outcomes)
	}
}

// Incidents of an upstream keep its last probes, those of others and later ones none.
func TestIncidentsProbed(t *testing.T) {
	var s Incidents
	s.Probed(failure.Probe{Upstream: "app:8080"}) // of which there is none yet
	for _, cause := range []string{"refused", "slow"} {
		s.See(sighting(cause, "f1", incidentsStart, nil))
	}
	other := sighting("down", "f2", incidentsStart, nil)
	other.Of.Upstream = "other:8080"
	s.See(other)
	if list := s.Sweep(incidentsStart.Add(2*silence), 0, everybody); len(list) != 3 {
		t.Fatalf("%d are resolved", len(list))
	}
	s.See(sighting("slow", "f3", incidentsStart.Add(2*silence+time.Minute), nil)) // the same again
	for n := range 5 {
		s.Probed(failure.Probe{Upstream: "app:8080", Summary: fmt.Sprint(n)})
	}
	told := map[string]string{}
	for _, i := range s.List(incidentsStart.Add(2 * silence)) {
		told[i.Cause] = ""
		for _, p := range i.Probes {
			told[i.Cause] += p.Summary
		}
		if i.Probes == nil {
			t.Errorf("those of %s are null", i.Cause)
		}
	}
	if want := map[string]string{"refused": "234", "slow": "234", "down": ""}; !reflect.DeepEqual(told, want) {
		t.Errorf("got %v, want %v", told, want)
	}
	s.See(sighting("refused", "f4", incidentsStart.Add(4*silence), nil))
	if i, _ := s.Get("of refused", incidentsStart.Add(4*silence)); len(i.Probes) != 0 {
		t.Errorf("another incident has %v", i.Probes)
	}
}

// An incident takes at most 4 KiB of memory, its probes aside, also one of which all is as long as can be.
func TestAnIncidentsMemory(t *testing.T) {
	for _, names := range []struct{ site, upstream int }{{64, 128}, {128, 512}} {
		t.Run(fmt.Sprintf("names of %d and %d bytes", names.site, names.upstream), func(t *testing.T) {
			incidentsMemory(t, names.site, names.upstream)
		})
	}
}

func incidentsMemory(t *testing.T, site, upstream int) {
	const incidents = 200
	long := func(what string, n, bytes int) string {
		return fmt.Sprintf("%s %d %s", what, n, strings.Repeat("x", bytes))[:bytes]
	}
	limits, sampler := new(failure.Limits), new(Sampler)
	upstreams := make([]answering, maxAnswering)
	configs := &Config{Loaded: incidentsStart, Before: incidentsStart.Add(-time.Hour)}
	var s Incidents
	fill := func() {
		for n := range incidents {
			of := failure.Incident{
				ID: long("id", n, 16), Site: long("site", n, site), Upstream: long("upstream", n, upstream), Cause: long("cause", n, 32), ProxyError: long("proxy error", n, 32),
				Summary: long("summary", n, 2000), Advice: long("advice", n, 2000), Phase: failure.PhaseWait, Side: failure.SideUpstream,
			}
			for k := range 10 * tallySlots {
				in := Circumstances{
					Start: incidentsStart, Limits: limits, Sampler: sampler, Config: configs,
					Answered: answeredWell(incidentsStart.Add(-time.Hour), incidentsStart),
				}
				value := max(0, k-9*tallySlots) // the first one is what most have
				for trait := range Compared {
					in.Traits[trait] = long("trait", 1000*n+value, 300)
				}
				in.Traits[TraitProtocol], in.Traits[TraitConnection] = "HTTP/1.1", failure.ConnectionReused
				s.See(Sighting{
					Of: of, Outcome: failure.Failed, Failure: long("f", k, 9), At: incidentsStart.Add(time.Duration(k) * time.Minute),
					By: &upstreams[k%maxAnswering], Configured: true, Circumstances: in,
				})
			}
			known, _ := s.byID.Load(of.ID)
			i := known.(*incident)
			s.takeSamples()
			i.comparison.Load().counted.Load().server = &serverChange{long("server", n, maxTrait), long("other server", n, maxTrait), 0.001}
		}
	}
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	fill() // what is shared is there by now
	s.Clear()
	before := memory()
	fill()
	each := (memory() - before) / incidents
	if open, _ := s.Counts(); open != incidents {
		t.Fatalf("%d incidents", open)
	}
	if i := s.List(incidentsStart)[0]; len(i.Summary) != maxSummary || len(i.Changes) != 2+1 {
		t.Errorf("%+v", i.Changes)
	}
	t.Logf("%d bytes each", each)
	if each > 4<<10 {
		t.Errorf("%d bytes", each)
	}
}

// What a failed attempt costs that meets an incident which is open.
func BenchmarkSee(b *testing.B) {
	var s Incidents
	app := new(answering)
	seen := sighting("refused", "abcdefghi", incidentsStart, app)
	seen.Circumstances = Circumstances{
		Start: incidentsStart, Limits: new(failure.Limits), Sampler: new(Sampler),
		Traits: Traits{"POST", "shop.example.com", "HTTP/2.0", failure.ConnectionReused, "10.0.0.7:8080", "nginx"},
	}
	b.ReportAllocs()
	for b.Loop() {
		s.See(seen)
	}
}
