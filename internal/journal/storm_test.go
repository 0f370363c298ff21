package journal

import (
	"strconv"
	"testing"
	"time"
)

// The storm by its own clock.
func TestStorm(t *testing.T) {
	start := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	of := func(cause string) Fingerprint {
		return Fingerprint{Site: "shop", Upstream: "app:8080", Cause: cause}
	}
	var s Storm[int]
	for n := 1; n <= 30; n++ {
		passes, ended := s.Passes(of("a"), n, start.Add(time.Duration(n)*time.Second))
		if passes != (n <= 10) || ended != nil {
			t.Fatalf("line %d: %v %v", n, passes, ended)
		}
	}
	if passes, _ := s.Passes(of("b"), 1, start); !passes {
		t.Error("another fingerprint is suppressed")
	}
	if ended, _ := s.Sweep(start.Add(60 * time.Second)); len(ended) != 0 {
		// b's window is over, with nothing suppressed; a's began a second later.
		t.Errorf("summed up before the minute was over: %v", ended)
	}
	ended, _ := s.Sweep(start.Add(61 * time.Second))
	if len(ended) != 1 || *ended[0] != (Sum[int]{Last: 30, Count: 30, Suppressed: 20}) {
		t.Fatalf("summed up: %+v", ended)
	}
	if len(s.windows) != 0 {
		t.Errorf("%d windows are kept", len(s.windows))
	}

	// Where the next line comes before the sweep, it brings the sum along.
	s = Storm[int]{}
	for n := 1; n <= 12; n++ {
		s.Passes(of("a"), n, start)
	}
	passes, sum := s.Passes(of("a"), 13, start.Add(time.Minute))
	if !passes || sum == nil || *sum != (Sum[int]{Last: 12, Count: 12, Suppressed: 2}) {
		t.Errorf("got %v %+v", passes, sum)
	}
	if ended, _ := s.Sweep(start.Add(2 * time.Minute)); len(ended) != 0 {
		t.Errorf("summed up twice: %v", ended)
	}

	// A clock that is set back hides nothing of what comes; lines that come in another order
	// than they were made in begin no window.
	s = Storm[int]{}
	for n := 1; n <= 12; n++ {
		s.Passes(of("a"), n, start)
	}
	if passes, ended := s.Passes(of("a"), 13, start.Add(-time.Second)); passes || ended != nil {
		t.Errorf("a second before: %v %v", passes, ended)
	}
	if passes, ended := s.Passes(of("a"), 14, start.Add(-time.Hour)); !passes || ended == nil || ended.Suppressed != 3 {
		t.Errorf("an hour before: %v %+v", passes, ended)
	}
	if ended, left := s.Sweep(start.Add(-2 * time.Hour)); len(ended) != 0 || left != 0 {
		t.Errorf("two hours before: %v, %d left", ended, left)
	}

	// Fingerprints without end share what is left.
	s = Storm[int]{}
	lines := 0
	for n := range 10 * stormFingerprints {
		if passes, _ := s.Passes(of(strconv.Itoa(n)), n, start); passes {
			lines++
		}
	}
	if len(s.windows) > stormFingerprints+1 || lines != stormFingerprints+StormLines {
		t.Errorf("%d windows, %d lines", len(s.windows), lines)
	}
}
