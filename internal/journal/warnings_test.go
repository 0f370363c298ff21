package journal

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func near(kind failure.WarningKind, upstream string, at time.Time) failure.Warning {
	return failure.Warning{Kind: kind, Upstream: upstream, LastSeen: failure.At(at)}
}

// all names every upstream, and ends is the certificate of none.
func all(string) bool       { return true }
func ends(string) time.Time { return time.Time{} }

// A warning begins with its first near miss, counts the others, and is over after an hour
// without one; then another one begins.
func TestWarning(t *testing.T) {
	var s Warnings
	begun := s.Raise(near(failure.WarnConnect, "app:80", noon))
	if begun == nil || begun.Count != 1 || !begun.FirstSeen.Equal(noon) {
		t.Fatalf("%+v", begun)
	}
	last := near(failure.WarnConnect, "app:80", noon.Add(time.Minute))
	last.Measured = &failure.Measured{Value: 9}
	if again := s.Raise(last); again != nil {
		t.Errorf("it has begun twice: %+v", again)
	}
	if s.Raise(near(failure.WarnResponse, "app:80", noon)) == nil || s.Raise(near(failure.WarnConnect, "app2:80", noon)) == nil {
		t.Error("another kind, another upstream, is another one")
	}
	list := s.List()
	if len(list) != 3 || list[0].Upstream != "app2:80" || list[1].Kind != failure.WarnConnect || list[1].Count != 2 || list[1].Measured.Value != 9 ||
		!list[1].FirstSeen.Equal(noon) || !list[1].LastSeen.Equal(noon.Add(time.Minute)) {
		t.Errorf("%+v", list)
	}
	if s.Sweep(noon.Add(time.Hour), all, ends); len(s.List()) != 1 {
		t.Errorf("an hour later: %+v", s.List())
	}
	if s.Sweep(noon.Add(time.Hour), func(upstream string) bool { return upstream != "app:80" }, ends); len(s.List()) != 0 {
		t.Errorf("no config names it: %+v", s.List())
	}
	if begun := s.Raise(near(failure.WarnConnect, "app:80", noon.Add(2*time.Hour))); begun == nil || begun.Count != 1 {
		t.Errorf("it has not begun again: %+v", begun)
	}
	counts := maps.Collect(s.Counts())
	if counts[NearMiss{"app:80", failure.WarnConnect}] != 3 || counts[NearMiss{"app2:80", failure.WarnConnect}] != 1 || len(counts) != 3 {
		t.Errorf("counts go down: %v", counts)
	}
}

// A certificate is warned of as long as it is the last that was shown.
func TestWarningOfACertificate(t *testing.T) {
	var s Warnings
	for _, test := range []struct {
		name  string
		ends  time.Time // that is known
		after time.Duration
		over  bool
	}{
		{"still shown", noon.Add(5 * 24 * time.Hour), 3 * time.Hour, false},
		{"still shown, days later", noon.Add(5 * 24 * time.Hour), 4 * 24 * time.Hour, false},
		{"it has ended", noon.Add(5 * 24 * time.Hour), 6 * 24 * time.Hour, false},
		{"renewed", noon.Add(90 * 24 * time.Hour), time.Minute, true},
		{"renewed for a week", noon.Add(7 * 24 * time.Hour), time.Minute, true},
		{"nobody knows", time.Time{}, 3 * time.Hour, false},
		{"nobody knows for a day", time.Time{}, 24 * time.Hour, true},
	} {
		shown := near(failure.WarnCertificate, "app:443", noon)
		shown.Certificate = &failure.Certificate{NotAfter: failure.At(noon.Add(5 * 24 * time.Hour))}
		s.Raise(shown)
		s.Sweep(noon.Add(test.after), all, func(string) time.Time { return test.ends })
		if over := len(s.List()) == 0; over != test.over {
			t.Errorf("%s: over is %t", test.name, over)
		}
	}
}

// What is measured counts once when it begins, and is over when it holds no more; a sweep
// leaves it alone.
func TestMeasure(t *testing.T) {
	var s Warnings
	s.Raise(near(failure.WarnConnect, "app:80", noon))
	files, never := near(failure.WarnOpenFiles, "", noon), near(failure.WarnNeverAnswered, "app:80", noon)
	if begun := s.Measure([]failure.Warning{files, never}); len(begun) != 2 {
		t.Errorf("%+v", begun)
	}
	files.LastSeen, files.Measured = failure.At(noon.Add(time.Minute)), &failure.Measured{Value: 7}
	if begun := s.Measure([]failure.Warning{files}); len(begun) != 0 {
		t.Errorf("%+v", begun)
	}
	list := s.List()
	if len(list) != 2 || list[0].Kind != failure.WarnOpenFiles || list[0].Count != 1 || list[0].Measured.Value != 7 || !list[0].FirstSeen.Equal(noon) || list[1].Kind != failure.WarnConnect {
		t.Errorf("%+v", list)
	}
	if s.Sweep(noon.Add(2*time.Hour), func(string) bool { return false }, ends); len(s.List()) != 1 {
		t.Errorf("%+v", s.List())
	}
	if s.Measure(nil); len(s.List()) != 0 {
		t.Errorf("%+v", s.List())
	}
	if begun := s.Measure([]failure.Warning{files}); len(begun) != 1 || maps.Collect(s.Counts())[NearMiss{"", failure.WarnOpenFiles}] != 2 {
		t.Errorf("%+v", begun)
	}
}

// However many upstreams there are, what is kept is bounded, and what comes beyond is
// counted.
func TestWarningsAreBounded(t *testing.T) {
	var s Warnings
	const upstreams = 1500
	for n := range upstreams {
		s.Raise(near(failure.WarnConnect, fmt.Sprint("app:", n), noon))
	}
	kept, dropped := s.Kept()
	counts := maps.Collect(s.Counts())
	if kept != maxWarnings || dropped != upstreams-maxWarnings || len(s.List()) != maxWarnings {
		t.Errorf("%d are kept, %d dropped", kept, dropped)
	}
	if len(counts) != maxWarnings+1 || counts[NearMiss{otherUpstreams, failure.WarnConnect}] != upstreams-maxWarnings {
		t.Errorf("%d counts, of others %d", len(counts), counts[NearMiss{otherUpstreams, failure.WarnConnect}])
	}
	s.Sweep(noon.Add(time.Hour), all, ends)
	if s.Raise(near(failure.WarnConnect, "app:1499", noon)) == nil {
		t.Error("there is room again")
	}
	if kept, _ := s.Kept(); kept != 1 {
		t.Errorf("%d are kept", kept)
	}
}

// Many at once, read and forgotten meanwhile, are all counted, and each warning begins
// once as long as it isn't forgotten.
func TestWarningsAtOnce(t *testing.T) {
	var s Warnings
	var begun atomic.Int64
	var raising, reading sync.WaitGroup
	over := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				s.List()
				s.Sweep(noon, all, ends)
				s.Measure(nil)
			}
		}
	})
	const each, workers = 2000, 4
	for range workers {
		raising.Go(func() {
			for n := range each {
				if s.Raise(near(failure.WarnConnect, fmt.Sprint("app:", n%7), noon)) != nil {
					begun.Add(1)
				}
			}
		})
	}
	raising.Wait()
	close(over)
	reading.Wait()
	sum := uint64(0)
	for _, n := range s.Counts() {
		sum += n
	}
	told := uint64(0)
	for _, w := range s.List() {
		told += w.Count
	}
	if sum != each*workers || told != sum || begun.Load() != 7 {
		t.Errorf("%d are counted, %d told, %d begun", sum, told, begun.Load())
	}
}
