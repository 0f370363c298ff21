package journal

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// traffic lets so many requests a second go well for some time, and gives how many of them
// were samples.
func (c *scene) traffic(perSecond int, lasting time.Duration) (samples int) {
	for range int(lasting.Seconds() * float64(perSecond)) {
		c.after(time.Second / time.Duration(perSecond))
		if c.sampler.Wants() {
			c.sampler.Add(&Worked{At: c.now, Upstream: app, Limits: c.limits, Traits: usual})
			samples++
		}
	}
	return samples
}

// Few requests are all samples; of many, as many as span some minutes, evenly.
func TestSamplerAdapts(t *testing.T) {
	c := newScene(t)
	s := c.sampler
	if n := c.traffic(1, 3*time.Minute); n != 180 || len(s.kept) != 180 {
		t.Errorf("%d samples of 180, %d kept", n, len(s.kept))
	}
	if n := c.traffic(1, time.Hour); n != 3600 || len(s.kept) != maxSampled {
		t.Errorf("%d samples of 3600, %d kept", n, len(s.kept))
	}

	// A thousand times as many.
	c.traffic(1000, 5*time.Minute)
	for quarter := range 4 { // of twenty minutes
		if n := c.traffic(1000, 5*time.Minute); n > 5*60*maxSampled/60 {
			t.Errorf("%d samples of %d", n, 5*60*1000)
		}
		span := time.Duration(s.kept[len(s.kept)-1].at - s.kept[0].at)
		if len(s.kept) < maxSampled/4 || len(s.kept) > maxSampled || span < leastSpan/4 || span > 10*leastSpan {
			t.Errorf("quarter %d: %d samples span %s", quarter, len(s.kept), span)
		}
		var tenths [10]int
		for _, kept := range s.kept {
			tenths[min(9, (kept.at-s.kept[0].at)*10/int64(span))]++
		}
		for n, count := range tenths {
			if want := len(s.kept) / 10; count < want/3 || count > want*3 {
				t.Errorf("quarter %d: %d of %d samples are of tenth %d", quarter, count, len(s.kept), n)
			}
		}
	}
	rarity := s.rarity.Load()
	if rarity < 6 || rarity > 10 { // some 4 of 1000 a second
		t.Errorf("one of 2^%d", rarity)
	}

	// Few again: soon all are samples.
	c.traffic(1, 2*time.Hour)
	if n := c.traffic(1, time.Minute); n != 60 {
		t.Errorf("%d samples of 60", n)
	}
}

// Where something fails and nobody knows what works, more samples are taken.
func TestSamplerHearsOfFailures(t *testing.T) {
	c := newScene(t)
	c.sampler.rarity.Store(12)
	c.works(1, app, usual)
	c.sampler.Failing(c.now.Add(longGap))
	if rarity := c.sampler.rarity.Load(); rarity != 12 {
		t.Errorf("one of 2^%d after a moment", rarity)
	}
	c.after(longGap + time.Second)
	c.fails(20, "slow", usual)
	if rarity := c.sampler.rarity.Load(); rarity != 0 {
		t.Errorf("one of 2^%d", rarity)
	}
}

// What is kept is bounded, whatever upstreams say.
func TestSamplerIsBounded(t *testing.T) {
	c := newScene(t)
	for n := range 1000 {
		c.works(1, fmt.Sprint(n), with(TraitServer, fmt.Sprint(n, strings.Repeat("x", 1000)), TraitHost, fmt.Sprint(n)))
	}
	if len(c.sampler.kept) > maxSampled || cap(c.sampler.kept) > 2*maxSampled || len(c.sampler.servers) != maxServers {
		t.Errorf("%d of %d samples, %d servers", len(c.sampler.kept), cap(c.sampler.kept), len(c.sampler.servers))
	}
	if text := c.sampler.servers[0].now.text; len(text) > maxTrait {
		t.Errorf("%d bytes", len(text))
	}
}

// A request waits for nobody who reads.
func TestSamplerMakesNobodyWait(t *testing.T) {
	c := newScene(t)
	c.works(1, app, usual)
	c.sampler.each(c.limits, func(*sample) {
		c.works(1, app, usual) // it would wait for ever
		if c.sampler.Wants(); len(c.sampler.kept) != 1 {
			t.Error("it was taken")
		}
	})
}

// Many at once.
func TestSamplerAtOnce(t *testing.T) {
	var s Incidents
	limits, sampler := new(failure.Limits), new(Sampler)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for n := range 2000 {
				at := incidentsStart.Add(time.Duration(n) * time.Millisecond)
				if sampler.Wants() {
					sampler.Add(&Worked{At: at, Upstream: app, Limits: limits, Traits: with(TraitHost, fmt.Sprint(n%20))})
				}
				seen := sighting("slow", "a", at, nil)
				seen.Circumstances = Circumstances{Start: at, Limits: limits, Sampler: sampler, Traits: with(TraitMethod, fmt.Sprint(g))}
				s.See(seen)
				if n%100 == 0 {
					s.List(at)
					s.Sweep(at, 0, everybody)
				}
			}
		})
	}
	all.Wait()
	known, _ := s.byID.Load("of slow")
	i := known.(*incident)
	c := i.comparison.Load()
	for n := range c.failed {
		if of := c.failed[n].of.Load(); uint64(of) != i.count.Load() {
			t.Errorf("%d of %d are counted", of, i.count.Load())
		}
	}
}

// What a request costs that is no sample.
func BenchmarkSamplerWants(b *testing.B) {
	var s Sampler
	s.rarity.Store(10)
	b.ReportAllocs()
	for b.Loop() {
		s.Wants()
	}
}

// What one costs that is.
func BenchmarkSamplerAdd(b *testing.B) {
	var s Sampler
	w := Worked{At: incidentsStart, Upstream: app, Limits: new(failure.Limits), Traits: usual}
	b.ReportAllocs()
	for b.Loop() {
		w.At = w.At.Add(time.Second)
		s.Add(&w)
	}
}
