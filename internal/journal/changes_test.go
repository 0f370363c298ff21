package journal

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// The probabilities, by hand: ways that have at least as many, of all ways.
func TestChanceOf(t *testing.T) {
	for _, test := range []struct {
		name   string
		shares failure.Shares
		want   float64
	}{
		{"a lady tastes tea: 17 of 70", failure.Shares{FailedCount: 3, FailedOf: 4, WellCount: 1, WellOf: 4}, 17.0 / 70},
		{"one way of 1001", failure.Shares{FailedCount: 4, FailedOf: 4, WellCount: 0, WellOf: 10}, 1.0 / 1001},
		{"455 ways of C(52,12)", failure.Shares{FailedCount: 12, FailedOf: 12, WellCount: 3, WellOf: 40}, 455.0 / 206379406870},
		{"2126 ways of C(20,10)", failure.Shares{FailedCount: 8, FailedOf: 10, WellCount: 2, WellOf: 10}, 2126.0 / 184756},
		{"nothing went well", failure.Shares{FailedCount: 5, FailedOf: 5}, 1},
		{"nothing failed", failure.Shares{WellCount: 2, WellOf: 5}, 1},
		{"all have it", failure.Shares{FailedCount: 9, FailedOf: 9, WellCount: 7, WellOf: 7}, 1},
		{"a storm counts as many as went well: 1 of C(14,7)", failure.Shares{FailedCount: 4e9, FailedOf: 4e9, WellCount: 0, WellOf: 7}, 1.0 / 3432},
		{"a storm of which nine of ten have it: 100+1 of C(20,10)", failure.Shares{FailedCount: 9e8, FailedOf: 1e9, WellCount: 1, WellOf: 10}, 101.0 / 184756},
		{"hardly by chance", failure.Shares{FailedCount: 1e6, FailedOf: 1e6, WellCount: 0, WellOf: 1e6}, leastChance},
		{"as what went well has", failure.Shares{FailedCount: 9e8, FailedOf: 1e9, WellCount: 270, WellOf: 300}, 0.5},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := chanceOf(&test.shares)
			near := 1e-6
			if test.want == 0.5 { // about so
				near = 0.2
			}
			if math.IsNaN(got) || math.Abs(got-test.want) > near*test.want {
				t.Errorf("%g, want %g", got, test.want)
			}
		})
	}
	if got := significant(2.2047e-9); got != 2.2e-9 {
		t.Errorf("%g", got)
	}
}

// scene is one site with its incidents.
type scene struct {
	t       *testing.T
	s       Incidents
	limits  *failure.Limits
	sampler *Sampler
	now     time.Time
	in      Circumstances // of what fails, but for what is above
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, limits: new(failure.Limits), sampler: new(Sampler), now: incidentsStart}
}

// usual are the traits of a request of which nothing is special.
var usual = Traits{"GET", "shop.example.com", "HTTP/2.0", failure.ConnectionReused, "10.0.0.7:80", "app/1"}

// with are other traits than the usual ones: a trait's number, its value, and so on.
func with(other ...any) Traits {
	traits := usual
	for n := 0; n < len(other); n += 2 {
		traits[other[n].(int)] = other[n+1].(string)
	}
	return traits
}

func (c *scene) after(d time.Duration) { c.now = c.now.Add(d) }

// fails and works are of so many requests, one in 100 ms.
func (c *scene) fails(times int, cause string, traits Traits) {
	for range times {
		c.after(100 * time.Millisecond)
		seen := sighting(cause, "a", c.now, nil)
		seen.Circumstances = c.in
		seen.Start, seen.Limits, seen.Sampler, seen.Traits = c.now.Add(-50*time.Millisecond), c.limits, c.sampler, traits
		c.s.See(seen)
	}
}

func (c *scene) works(times int, upstream string, traits Traits) {
	for range times {
		c.after(100 * time.Millisecond)
		c.sampler.Add(&Worked{At: c.now, Upstream: upstream, Limits: c.limits, Traits: traits})
	}
}

// says checks what is said of an incident's changes.
func (c *scene) says(cause string, want ...string) []failure.Change {
	c.t.Helper()
	i, ok := c.s.Get("of "+cause, c.now)
	if !ok {
		c.t.Fatalf("no incident of %s", cause)
	}
	var got []string
	for _, change := range i.Changes {
		got = append(got, change.Summary)
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if i.Changes == nil {
		c.t.Error("null")
	}
	return i.Changes
}

const app = "app:8080"

// What most that fail have, and few that work, is told; what is by chance, or so with both,
// isn't.
func TestWhatFailuresHave(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*scene)
		want []string
	}{
		{"only POST", func(c *scene) {
			for range 3 {
				c.fails(4, "slow", with(TraitMethod, "POST"))
				c.works(12, app, usual)
				c.works(1, app, with(TraitMethod, "POST"))
			}
			c.fails(1, "slow", with(TraitMethod, "POST"))
		}, []string{"Only POST fails: 13 of 13 failures, 3 of 39 requests that went well at the same time."}},
		{"mostly one host", func(c *scene) {
			c.fails(9, "slow", with(TraitHost, "old.example.com"))
			c.works(30, app, usual)
			c.fails(1, "slow", usual)
		}, []string{`Mostly the host "old.example.com" fails: 9 of 10 failures, 0 of 30 requests that went well at the same time.`}},
		{"too many of them work", func(c *scene) {
			c.fails(50, "slow", with(TraitMethod, "POST"))
			c.works(20, app, usual)
			c.works(25, app, with(TraitMethod, "POST"))
			c.fails(50, "slow", with(TraitMethod, "POST"))
		}, nil},
		{"too many others fail", func(c *scene) {
			c.fails(30, "slow", with(TraitMethod, "POST"))
			c.works(60, app, usual)
			c.fails(9, "slow", usual)
		}, nil},
		{"too few to tell", func(c *scene) {
			c.fails(3, "slow", with(TraitMethod, "POST"))
			c.works(9, app, usual)
			c.fails(1, "slow", with(TraitMethod, "POST"))
		}, nil},
		{"reused connections and HTTP/1.1", func(c *scene) {
			c.fails(6, "slow", with(TraitProtocol, "HTTP/1.1"))
			c.works(40, app, with(TraitConnection, failure.ConnectionFresh))
			c.works(4, app, usual)
			c.fails(1, "slow", with(TraitProtocol, "HTTP/1.1"))
		}, []string{
			"Only requests that came by HTTP/1.1 fail: 7 of 7 failures, 0 of 44 requests that went well at the same time.",
			"Only reused connections fail: 7 of 7 failures, 4 of 44 requests that went well at the same time.",
		}},
		{"one address behind the name", func(c *scene) {
			c.fails(8, "slow", with(TraitAddress, "10.0.0.8:80"))
			c.works(20, app, usual)
			c.works(20, app, with(TraitAddress, "10.0.0.9:80"))
			c.fails(1, "slow", with(TraitAddress, "10.0.0.8:80"))
		}, []string{"Only 10.0.0.8:80 of 3 addresses fails: 9 of 9 failures, 0 of 40 requests that went well at the same time."}},
		{"one upstream of a pool", func(c *scene) {
			c.fails(8, "slow", with(TraitAddress, "10.0.0.8:80"))
			c.works(20, "other:8080", usual)
			c.fails(1, "slow", with(TraitAddress, "10.0.0.8:80"))
		}, []string{"Only 10.0.0.8:80 of 2 addresses fails: 9 of 9 failures, 0 of 20 requests that went well at the same time."}},
		{"another address fails by another cause", func(c *scene) {
			c.fails(8, "slow", with(TraitAddress, "10.0.0.8:80"))
			c.fails(3, "refused", with(TraitAddress, "10.0.0.9:80"))
			c.works(20, app, usual)
			c.fails(1, "slow", with(TraitAddress, "10.0.0.8:80"))
		}, []string{"10.0.0.8:80 is one of 2 addresses that fail, of 3: 9 of 9 failures, 0 of 20 requests that went well at the same time."}},
		{"the only address that there is", func(c *scene) {
			c.fails(10, "slow", usual)
			c.works(40, app, usual)
			c.fails(10, "slow", usual)
		}, nil},
		{"what is led to another upstream is not compared", func(c *scene) {
			c.fails(10, "slow", with(TraitHost, "a.example.com", TraitMethod, "POST"))
			c.works(40, "other:8080", with(TraitHost, "b.example.com"))
			c.fails(10, "slow", with(TraitHost, "a.example.com", TraitMethod, "POST"))
		}, nil},
		{"what another reverse_proxy made is not compared", func(c *scene) {
			c.fails(10, "slow", with(TraitMethod, "POST"))
			mine := c.limits
			c.limits = new(failure.Limits)
			c.works(40, app, usual)
			c.fails(40, "slow", usual) // nor is what fails there
			c.limits = mine
			c.fails(10, "slow", with(TraitMethod, "POST"))
		}, nil},
		{"what another handler made is not compared", func(c *scene) {
			c.fails(10, "slow", with(TraitMethod, "POST"))
			mine := c.sampler
			c.sampler = new(Sampler)
			c.works(40, app, usual)
			c.fails(40, "slow", usual)
			c.sampler = mine
			c.works(8, app, usual)
			c.fails(10, "slow", with(TraitMethod, "POST"))
		}, []string{"Only POST fails: 20 of 20 failures, 0 of 8 requests that went well at the same time."}},
		{"what worked before, or after, is not compared", func(c *scene) {
			c.works(40, app, usual)
			c.fails(20, "slow", with(TraitMethod, "POST"))
			c.works(40, app, usual)
		}, nil},
		{"answers of another server, also before", func(c *scene) {
			c.works(40, app, usual)
			c.fails(9, "slow", with(TraitServer, "front/2"))
		}, []string{`Only answers with the Server field "front/2" fail: 9 of 9 failures, 0 of 40 requests that went well.`}},
		{"no answer has a Server field", func(c *scene) {
			c.works(40, app, with(TraitServer, ""))
			c.fails(9, "slow", with(TraitServer, ""))
		}, nil},
		{"hosts without end", func(c *scene) {
			for n := range 60 {
				c.fails(1, "slow", with(TraitHost, fmt.Sprint(n, ".example.com"), TraitMethod, "POST"))
				c.works(1, app, with(TraitHost, fmt.Sprint(n, ".example.com")))
			}
			c.fails(1, "slow", with(TraitHost, "0.example.com", TraitMethod, "POST"))
		}, []string{"Only POST fails: 61 of 61 failures, 0 of 60 requests that went well at the same time."}},
		{"what most have changes", func(c *scene) {
			c.fails(1, "slow", usual)
			c.works(30, app, usual)
			c.fails(1, "slow", usual)
			c.says("slow")
			c.fails(9, "slow", with(TraitMethod, "PUT"))
		}, []string{"Mostly PUT fails: 9 of 11 failures, 0 of 30 requests that went well at the same time."}},
		{"hostile names", func(c *scene) {
			c.fails(9, "slow", with(TraitHost, "a\x1b[31m\"\xff"+strings.Repeat("ä", 100)))
			c.works(30, app, usual)
			c.fails(1, "slow", with(TraitHost, "a\x1b[31m\"\xff"+strings.Repeat("ä", 100)))
		}, []string{`Only the host "a�[31m\"�` + strings.Repeat("ä", 24) + `…" fails: 10 of 10 failures, 0 of 30 requests that went well at the same time.`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newScene(t)
			test.do(c)
			for _, change := range c.says("slow", test.want...) {
				if change.Shares == nil || change.Chance <= 0 || change.Chance > failure.MaxChance || change.BeganAfterS != nil || len(change.Value) > maxTrait {
					t.Errorf("%+v", change)
				}
			}
		})
	}
}

// Where requests have nothing to do with what fails, next to nothing is told, however often
// somebody looks.
func TestNoiseChangesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(values ...string) string { return values[min(random.IntN(len(values)), random.IntN(len(values)))] } // the first ones more often
	traits := func() Traits {
		return Traits{
			pick("GET", "POST", "PUT"), pick("a.example.com", "b.example.com", "c.example.com", "d.example.com"), pick("HTTP/2.0", "HTTP/1.1", "HTTP/3.0"),
			pick(failure.ConnectionReused, failure.ConnectionFresh), pick("10.0.0.7:80", "10.0.0.8:80", "10.0.0.9:80"), pick("app/1", "app/2"),
		}
	}
	const incidents, looks = 1000, 20
	for _, test := range []struct {
		name  string
		burst int // how often the same request comes, at most
	}{{"each request by itself", 1}, {"clients that try again", 9}} {
		t.Run(test.name, func(t *testing.T) {
			told, wrong := 0, 0
			for range incidents {
				c, toldBefore := newScene(t), told
				for range looks {
					for range random.IntN(20) {
						if random.IntN(3) == 0 {
							c.works(1, app, traits())
						} else {
							c.fails(1, "slow", traits())
						}
					}
					c.fails(random.IntN(test.burst+1), "slow", traits())
					if i, ok := c.s.Get("of slow", c.now); ok && len(i.Changes) > 0 {
						told++
					}
				}
				if told > toldBefore {
					wrong++
				}
			}
			t.Logf("told at %d of %d looks, of %d of %d incidents", told, looks*incidents, wrong, incidents)
			if told > looks*incidents/1000 || wrong > incidents/100 {
				t.Errorf("told at %d of %d looks, of %d of %d incidents", told, looks*incidents, wrong, incidents)
			}
		})
	}
}

// An incident that is opened again goes on counting; what worked while it was over is not
// counted, and its sampler is let go meanwhile.
func TestChangesOfAReopenedIncident(t *testing.T) {
	c := newScene(t)
	c.fails(3, "slow", with(TraitMethod, "POST"))
	c.works(10, app, usual)
	c.fails(1, "slow", with(TraitMethod, "POST"))
	one := "Only POST fails: 4 of 4 failures, 0 of 10 requests that went well at the same time."
	c.says("slow", one)
	known, _ := c.s.byID.Load("of slow")
	compared := known.(*incident).comparison.Load()
	c.after(silence)
	if over := c.s.Sweep(c.now, 0, everybody); len(over) != 1 || len(over[0].Changes) != 1 || over[0].Changes[0].Summary != one || compared.sampler.Load() != nil {
		t.Fatalf("%+v", over)
	}
	c.works(20, app, usual)
	c.fails(2, "slow", with(TraitMethod, "POST"))
	c.works(2, app, usual)
	c.fails(1, "slow", with(TraitMethod, "POST"))
	c.says("slow", "Only POST fails: 7 of 7 failures, 0 of 12 requests that went well at the same time.")

	// A reload: what the new config does is compared with itself, once the old one is gone.
	old := c.sampler
	c.limits, c.sampler = new(failure.Limits), new(Sampler)
	c.fails(9, "slow", with(TraitMethod, "PUT"))
	c.says("slow", "Only POST fails: 7 of 7 failures, 0 of 12 requests that went well at the same time.")
	old.Close()
	c.fails(5, "slow", with(TraitMethod, "PUT"))
	c.works(20, app, usual)
	c.fails(5, "slow", with(TraitMethod, "PUT"))
	c.says("slow", "Only PUT fails: 10 of 10 failures, 0 of 20 requests that went well at the same time.")
}

// A storm of days counts up to a bound.
func TestTallyIsBounded(t *testing.T) {
	var counts tally
	counts.of.Store(math.MaxUint32/2 - 1)
	counts.slots[0].Store(7<<countBits | math.MaxUint32/2)
	for range 5 {
		counts.add(7)
	}
	if of, count := counts.of.Load(), counts.countOf(7); of != math.MaxUint32/2+1 || count != math.MaxUint32/2+2 {
		t.Errorf("%d of %d", count, of)
	}
}

// Samples that stand for many requests are not mixed with those that stand for one.
func TestSamplesOfDifferentRarity(t *testing.T) {
	c := newScene(t)
	c.fails(5, "slow", with(TraitMethod, "POST"))
	c.works(64, app, with(TraitMethod, "POST")) // 64 requests
	c.fails(5, "slow", with(TraitMethod, "POST"))
	c.says("slow")
	c.sampler.rarity.Store(4)
	c.works(64, app, usual) // 1024 requests
	c.fails(1, "slow", with(TraitMethod, "POST"))
	changes := c.says("slow", "Only POST fails: 11 of 11 failures, 4 of 68 requests that went well at the same time.")
	if len(changes) != 1 {
		t.FailNow()
	}
	c.sampler.rarity.Store(0)
	c.works(64, app, usual)
	c.fails(1, "slow", with(TraitMethod, "POST"))
	if i, _ := c.s.Get("of slow", c.now); i.Changes[0].WellOf < 68 || i.Changes[0].WellOf > 68+20 {
		t.Errorf("%+v", i.Changes[0].Shares)
	}
}

func answeredWell(since, last time.Time) Answered {
	return Answered{Known: true, Since: since, Last: last}
}

// How an incident began: with a config, where that is more than chance, and how long after
// the last success.
func TestHowAnIncidentBegan(t *testing.T) {
	began := incidentsStart
	ago := func(d time.Duration) time.Time { return began.Add(-d) }
	never := time.Time{}
	const last5s = "This upstream last answered well at 2026-11-24 04:00:25 UTC, 5s before the first request that failed."
	for _, test := range []struct {
		name     string
		answered Answered
		config   *Config
		over     time.Time // another incident of the same fingerprint
		want     []string
		chance   float64
	}{
		{name: "nothing is known"},
		{"the first config", answeredWell(ago(time.Hour), ago(5*time.Second)), &Config{Loaded: ago(2 * time.Hour)}, never, []string{last5s}, 0},
		{"soon after a reload", answeredWell(ago(time.Hour), ago(5*time.Second)), &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, never, []string{
			"Since the config of 2026-11-24 04:00:26 UTC: it began 4s after that was loaded. Before, this upstream had answered well for 59m55s.", last5s,
		}, 0.0014},
		{"some time after a reload", answeredWell(ago(time.Hour), ago(5*time.Second)), &Config{Loaded: ago(time.Minute), Before: ago(24 * time.Hour)}, never, []string{last5s}, 0},
		{"soon after one of many reloads", answeredWell(ago(time.Hour), ago(5*time.Second)), &Config{Loaded: ago(4 * time.Second), Before: ago(time.Minute)}, never, []string{last5s}, 0},
		{"it worked under the new config", answeredWell(ago(time.Hour), ago(time.Second)), &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, never, []string{
			"Since the config of 2026-11-24 04:00:26 UTC: it began 4s after that was loaded. Before, this upstream had answered well for 59m56s.",
			"This upstream last answered well at 2026-11-24 04:00:29 UTC, 1s before the first request that failed.",
		}, 0.0011},
		{"nobody had asked it for long", answeredWell(ago(time.Hour), ago(30*time.Minute)), &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, never, []string{
			"This upstream last answered well at 2026-11-24 03:30:30 UTC, 30m0s before the first request that failed.",
		}, 0},
		{"it is not known to have worked for long", answeredWell(never, ago(5*time.Second)), &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, never, []string{last5s}, 0},
		{"it failed so a minute ago", answeredWell(ago(time.Hour), ago(5*time.Second)), &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, ago(time.Minute), []string{last5s}, 0},
		{"a config that was loaded meanwhile", answeredWell(ago(time.Hour), began.Add(time.Second)), &Config{Loaded: began.Add(2 * time.Second), Before: ago(24 * time.Hour)}, never, []string{
			"This upstream last answered well at 2026-11-24 04:00:31 UTC, while the first request that failed was under way.",
		}, 0},
		{"a config that added it", Answered{Known: true}, &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour), Added: ago(4 * time.Second)}, never, []string{
			"Since the config of 2026-11-24 04:00:26 UTC, which added this upstream: it had not answered well before.",
		}, 0},
		{"a config that asks it in another way", Answered{Known: true, Asked: ago(4 * time.Second)}, &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, never, []string{
			"Since the config of 2026-11-24 04:00:26 UTC, which asks this upstream in another way: it had not answered that well before.",
		}, 0},
		{"it never answered, and was there always", Answered{Known: true}, &Config{Loaded: ago(4 * time.Second), Before: ago(24 * time.Hour)}, never, nil, 0},
		{"added, and it worked", answeredWell(ago(9*time.Minute), ago(5*time.Second)), &Config{Loaded: ago(10 * time.Minute), Before: ago(24 * time.Hour), Added: ago(10 * time.Minute)}, never, []string{last5s}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := beganWith(&Circumstances{Start: began, Answered: test.answered, Config: test.config}, test.over)
			var got []string
			for _, change := range b.tell() {
				got = append(got, change.Summary)
				at, err := time.Parse(failure.TimestampLayout, change.Value)
				if err != nil || change.BeganAfterS == nil || *change.BeganAfterS != max(0, began.Sub(at).Seconds()) || change.Shares != nil {
					t.Errorf("%+v", change)
				}
				if change.Kind == failure.ChangeConfig && change.Chance != test.chance || change.Kind == failure.ChangeLastSuccess && change.Chance != 0 {
					t.Errorf("%s: chance %g", change.Kind, change.Chance)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// Another incident of the same fingerprint doesn't begin with a config that was there before
// the one before it ended.
func TestAnIncidentAfterAnother(t *testing.T) {
	c := newScene(t)
	since := c.now.Add(-time.Hour)
	c.in.Answered = answeredWell(since, c.now)
	c.in.Config = &Config{Loaded: c.now, Before: since}
	c.fails(1, "slow", usual)
	if i, _ := c.s.Get("of slow", c.now); len(i.Changes) != 2 || i.Changes[0].Kind != failure.ChangeConfig {
		t.Fatalf("%+v", i.Changes)
	}
	c.after(silence)
	c.s.Sweep(c.now, 0, everybody)
	c.after(again + time.Minute)
	c.in.Answered.Last = c.now
	c.in.Config = &Config{Loaded: c.now, Before: since}
	c.fails(1, "slow", usual)
	// It had worked since then for eleven minutes, and fails within 50 ms.
	if i, _ := c.s.Get("of slow", c.now); i.Count != 1 || len(i.Changes) != 2 || !strings.Contains(i.Changes[0].Summary, "answered well for 11m0s") {
		t.Errorf("%+v", i)
	}
}

// The Server field of what works changes when it begins to fail, also where what fails has no
// answer.
func TestServerFieldChanges(t *testing.T) {
	for _, test := range []struct {
		name   string
		before time.Duration // between the change and the first failure
		worked int
		want   bool
	}{
		{"at that time", 0, 200, true},
		{"at that time, and it had not been there for long", 0, 5, false},
		{"a minute before", time.Minute, 200, false},
		{"two seconds after", -2 * time.Second, 250, true},
		{"a minute after", -time.Minute, 200, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newScene(t)
			c.sampler.rarity.Store(1) // what counts is the time
			for range test.worked {
				c.works(1, app, usual)
				c.after(2 * time.Second)
			}
			failsNow := func() { c.fails(1, "closed", with(TraitServer, "", TraitMethod, "POST")) }
			if test.before < 0 {
				failsNow()
				c.after(-test.before)
			}
			c.works(3, app, with(TraitServer, "app/2"))
			c.after(max(0, test.before))
			failsNow()
			c.works(3, app, with(TraitServer, "app/2"))
			failsNow()
			i, _ := c.s.Get("of closed", c.now)
			n := slices.IndexFunc(i.Changes, func(change failure.Change) bool { return change.Kind == failure.ChangeServer })
			if n >= 0 != test.want {
				t.Fatalf("%+v", i.Changes)
			}
			if n < 0 {
				return
			}
			if change := i.Changes[n]; change.Value != "app/2" || change.Chance == 0 || change.Chance > failure.MaxTimeChance ||
				change.Summary != `Since the upstream's answers changed their Server field from "app/1" to "app/2".` {
				t.Errorf("%+v", change)
			}
			// It stays so, whatever the field becomes later.
			c.works(3, app, usual)
			failsNow()
			if i, _ := c.s.Get("of closed", c.now); !slices.ContainsFunc(i.Changes, func(change failure.Change) bool { return change.Value == "app/2" }) {
				t.Errorf("%+v", i.Changes)
			}
		})
	}
}
