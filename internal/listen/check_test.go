package listen

import (
	"testing"
	"testing/synctest"
	"time"
)

// A check is repeated once a minute at the most; one that can't be now may be at once.
func TestCheckIsAskedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, busy := 0, false
		c := NewCheck(func() bool { asked++; return !busy })
		for _, step := range []struct {
			after time.Duration
			busy  bool
			want  int
		}{
			{0, true, 1}, {0, false, 2}, {0, false, 2}, {59 * time.Second, false, 2}, {time.Second, false, 3}, {time.Second, false, 3},
		} {
			time.Sleep(step.after)
			busy = step.busy
			c.Ask()
			if asked != step.want {
				t.Fatalf("asked %d times, want %d", asked, step.want)
			}
		}
	})
	var none *Check
	none.Ask()
	if none.Result() != nil {
		t.Error("nothing has a result")
	}
}

// The last answer that counted comes back as it went in.
func TestPastCounts(t *testing.T) {
	var p Past
	if p.LastCounted() != nil {
		t.Error("something counted")
	}
	for _, want := range []Counted{{Status: 503, Latency: 12 * time.Millisecond}, {Status: 999, Latency: time.Hour}, {Status: 200}} {
		p.Counts(want.Status, want.Latency)
		got := p.LastCounted()
		if got == nil || got.Status != want.Status || got.Latency != want.Latency || time.Since(got.At) > 2*time.Second {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	p.Counts(0, 100*time.Hour)
	if got := p.LastCounted(); got == nil || got.Status != 1 || got.Latency != (1<<22-1)*time.Millisecond {
		t.Errorf("got %+v", got)
	}
	(*Past)(nil).Counts(503, 0)
}
