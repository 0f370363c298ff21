package diagnostics

import (
	"sync"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const (
	// stormWindow and stormLines: so many lines of one fingerprint are logged in
	// so long, then one line that sums up the rest.
	stormWindow = time.Minute
	stormLines  = 10
	// stormFingerprints bounds how many fingerprints are counted apart; what is
	// beyond shares one.
	stormFingerprints = 1000
)

// fingerprint is what failures have in common.
type fingerprint struct{ site, upstream, cause string }

func fingerprintOf(f *failure.Failure) fingerprint {
	return fingerprint{f.Site, f.Upstream, f.Cause}
}

// storm keeps many failures of one kind from becoming as many lines in the log.
// Its zero value is ready.
type storm struct {
	mu      sync.Mutex
	windows map[fingerprint]*window
}

// window counts the failures of one fingerprint since it began.
type window struct {
	begun      time.Time
	count      int
	suppressed int
	// last is the failure that stands for those which got no line.
	last *failure.Failure
}

// summary is the line for failures that got none of their own.
type summary struct {
	failure           *failure.Failure
	count, suppressed int
}

// passes says whether f gets a line of its own, and gives the summary of the
// window that it ended, if there is one to be logged.
func (s *storm) passes(f *failure.Failure, now time.Time) (passes bool, ended *summary) {
	key := fingerprintOf(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.windows[key]
	if w == nil {
		if len(s.windows) >= stormFingerprints {
			key = fingerprint{}
			w = s.windows[key]
		}
		if w == nil {
			if s.windows == nil {
				s.windows = make(map[fingerprint]*window)
			}
			w = &window{begun: now}
			s.windows[key] = w
		}
	}
	if now.Sub(w.begun) >= stormWindow {
		ended = w.summary()
		*w = window{begun: now}
	}
	w.count++
	if w.count <= stormLines {
		return true, ended
	}
	w.suppressed++
	w.last = f
	return false, ended
}

// summary sums up w, nil where nothing was suppressed.
func (w *window) summary() *summary {
	if w.suppressed == 0 {
		return nil
	}
	return &summary{failure: w.last, count: w.count, suppressed: w.suppressed}
}

// sweep gives the summaries of the windows that are over, and forgets these; left says
// how many aren't.
func (s *storm) sweep(now time.Time) (ended []*summary, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, w := range s.windows {
		if now.Sub(w.begun) < stormWindow {
			continue
		}
		if sum := w.summary(); sum != nil {
			ended = append(ended, sum)
		}
		delete(s.windows, key)
	}
	return ended, len(s.windows)
}
