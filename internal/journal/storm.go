package journal

import (
	"sync"
	"time"
)

const (
	// StormWindow and StormLines: so many lines of one fingerprint are logged in so
	// long, then one line that sums up the rest.
	StormWindow = time.Minute
	StormLines  = 10
	// stormFingerprints bounds how many fingerprints are counted apart; what is
	// beyond shares one.
	stormFingerprints = 1000
)

// Fingerprint is what lines of one kind have in common: those of failures their site,
// upstream and cause.
type Fingerprint struct{ Site, Upstream, Cause string }

// Storm keeps many lines of one kind from becoming as many lines in a log. Its zero
// value is ready; any number of goroutines may use it.
type Storm[Line any] struct {
	mu      sync.Mutex
	windows map[Fingerprint]*window[Line]
}

// window counts the lines of one fingerprint since it began.
type window[Line any] struct {
	begun      time.Time
	count      int
	suppressed int
	last       Line
}

// Sum stands for lines that were not logged each.
type Sum[Line any] struct {
	// Last is the last one of those that were left out.
	Last Line
	// Count is how many there were in the window, Suppressed how many of them were
	// left out.
	Count, Suppressed int
}

// Passes says whether line is to be logged, and gives the sum of the window that it
// ended, if there is one to be logged.
func (s *Storm[Line]) Passes(key Fingerprint, line Line, now time.Time) (passes bool, ended *Sum[Line]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.windows[key]
	if w == nil {
		if len(s.windows) >= stormFingerprints {
			key = Fingerprint{}
			w = s.windows[key]
		}
		if w == nil {
			if s.windows == nil {
				s.windows = make(map[Fingerprint]*window[Line])
			}
			w = &window[Line]{begun: now}
			s.windows[key] = w
		}
	}
	if w.over(now) {
		ended = w.sum()
		*w = window[Line]{begun: now}
	}
	w.count++
	if w.count <= StormLines {
		return true, ended
	}
	w.suppressed++
	w.last = line
	return false, ended
}

// over says that w is. A clock that is set back must not keep it open: then it began in what
// is the future now.
func (w *window[Line]) over(now time.Time) bool {
	since := now.Sub(w.begun)
	return since >= StormWindow || since <= -StormWindow
}

// sum sums up w, nil where nothing was left out.
func (w *window[Line]) sum() *Sum[Line] {
	if w.suppressed == 0 {
		return nil
	}
	return &Sum[Line]{Last: w.last, Count: w.count, Suppressed: w.suppressed}
}

// Sweep gives the sums of the windows that are over, and forgets these; left says how
// many aren't.
func (s *Storm[Line]) Sweep(now time.Time) (ended []*Sum[Line], left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, w := range s.windows {
		if !w.over(now) {
			continue
		}
		if sum := w.sum(); sum != nil {
			ended = append(ended, sum)
		}
		delete(s.windows, key)
	}
	return ended, len(s.windows)
}
