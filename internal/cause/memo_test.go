package cause

import (
	"strconv"
	"sync"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A memo never gives one key another's value, however many come at once.
func TestMemo(t *testing.T) {
	var m memo[string, string]
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for i := range 1000 {
				key := strconv.Itoa(i % 100)
				if value, ok := m.get(key); ok && value != "of "+key {
					t.Errorf("%s has %q", key, value)
				}
				m.put(key, "of "+key)
			}
		})
	}
	running.Wait()
	kept := 0
	for i := range m.places {
		if m.places[i].Load() != nil {
			kept++
		}
	}
	if kept == 0 || kept > len(m.places) {
		t.Errorf("%d are kept", kept)
	}
}

// Words that are filled in again are the same as at first, also where only the limit or
// where Caddy runs is another.
func TestFilledAgain(t *testing.T) {
	limited := func(ms float64) *failure.Limit {
		value := failure.Milliseconds(ms)
		return &failure.Limit{Name: failure.DialTimeout, Source: failure.LimitConfigured, ValueMS: &value}
	}
	before := here
	defer func() { here = before }()
	for range 2 {
		for want, got := range map[string]func() string{
			"app:8080 waited dial_timeout 1 s at 10.0.0.7:8080": func() string {
				return fillOnce("{upstream} waited {limit} at {address}", "app:8080", "10.0.0.7:8080", limited(1000))
			},
			"app:8080 waited dial_timeout 2 s at 10.0.0.7:8080": func() string {
				return fillOnce("{upstream} waited {limit} at {address}", "app:8080", "10.0.0.7:8080", limited(2000))
			},
			"on this machine": func() string {
				here = func() string { return "this machine" }
				return fillOnce("on this machine", "a", "b", nil)
			},
			"on this container": func() string {
				here = func() string { return "this container" }
				return fillOnce("on this machine", "a", "b", nil)
			},
		} {
			if text := got(); text != want {
				t.Errorf("got %q, want %q", text, want)
			}
		}
	}
}
