package journal

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const (
	// maxWarnings bounds how many are kept, and how many counts there are.
	maxWarnings = 1000
	// unseen is after how long without another near miss a warning is over.
	unseen = time.Hour
	// unseenCertificate is the same for a certificate of which nobody knows whether it is
	// still shown: there are days between two handshakes of busy connections.
	unseenCertificate = 24 * time.Hour
	// otherUpstreams stands for those beyond the counts that there may be.
	otherUpstreams = "_other"
)

// NearMiss is what near misses have in common that are counted together; Upstream is ""
// for those of the process.
type NearMiss struct {
	Upstream string
	Kind     failure.WarningKind
}

// Warnings keeps what has nearly gone wrong. Its zero value is ready; any number of
// goroutines may use it. Who reads it takes no lock that a request waits for.
type Warnings struct {
	kept   sync.Map // of *warning, by its NearMiss
	counts sync.Map // of *atomic.Uint64, by its NearMiss
	// mu is held by what begins or forgets a warning, or a count.
	mu              sync.Mutex
	keptN, countedN int
	dropped         atomic.Uint64
}

// warning is one of them.
type warning struct {
	first time.Time
	// measured says that it holds until Measure doesn't have it any more.
	measured bool
	count    atomic.Uint64
	// seen is the last near miss.
	seen atomic.Pointer[failure.Warning]
}

// Raise counts a near miss, which has its kind, upstream and time (LastSeen), and what was
// measured. It gives the warning that this has begun, nil where it was there before.
func (s *Warnings) Raise(seen failure.Warning) (begun *failure.Warning) {
	key := NearMiss{seen.Upstream, seen.Kind}
	s.counter(key).Add(1)
	for {
		w, fresh := s.warning(key, seen, false)
		if w == nil {
			return nil
		}
		if fresh {
			told := w.tell()
			return &told
		}
		w.count.Add(1)
		w.seen.Store(&seen)
		if still, _ := s.kept.Load(key); still == any(w) {
			return nil
		} // else it was forgotten meanwhile
	}
}

// warning gives the one of that key, and begins it if there is none; nil where there are
// too many.
func (s *Warnings) warning(key NearMiss, seen failure.Warning, measured bool) (w *warning, fresh bool) {
	if known, ok := s.kept.Load(key); ok {
		return known.(*warning), false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.kept.Load(key); ok {
		return known.(*warning), false
	}
	if s.keptN >= maxWarnings {
		s.dropped.Add(1)
		return nil, false
	}
	w = &warning{first: seen.LastSeen.Time, measured: measured}
	w.count.Store(1)
	w.seen.Store(&seen)
	key.Upstream = strings.Clone(key.Upstream)
	s.kept.Store(key, w)
	s.keptN++
	return w, true
}

// counter counts those of one kind and upstream, and goes on when they are forgotten.
func (s *Warnings) counter(key NearMiss) *atomic.Uint64 {
	if known, ok := s.counts.Load(key); ok {
		return known.(*atomic.Uint64)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.countedN >= maxWarnings {
		key.Upstream = otherUpstreams
	}
	key.Upstream = strings.Clone(key.Upstream)
	known, loaded := s.counts.LoadOrStore(key, new(atomic.Uint64))
	if !loaded {
		s.countedN++
	}
	return known.(*atomic.Uint64)
}

// Measure says which of the conditions hold that are looked at again and again: each has
// its LastSeen. It gives those that have begun, which count once; the others of before are
// over.
func (s *Warnings) Measure(holding []failure.Warning) (begun []failure.Warning) {
	holds := make(map[NearMiss]bool, len(holding))
	for _, seen := range holding {
		key := NearMiss{seen.Upstream, seen.Kind}
		holds[key] = true
		switch w, fresh := s.warning(key, seen, true); {
		case w == nil:
		case fresh:
			s.counter(key).Add(1)
			begun = append(begun, w.tell())
		default:
			w.seen.Store(&seen)
		}
	}
	s.kept.Range(func(key, value any) bool {
		if w := value.(*warning); w.measured && !holds[key.(NearMiss)] {
			s.forget(key.(NearMiss), w)
		}
		return true
	})
	return begun
}

// Sweep forgets what is over. configured says whether a running config names an upstream,
// certificateEnd when the certificate ends that it showed last; the zero time where that
// isn't known.
func (s *Warnings) Sweep(now time.Time, configured func(upstream string) bool, certificateEnd func(upstream string) time.Time) {
	s.kept.Range(func(key, value any) bool {
		of, w := key.(NearMiss), value.(*warning)
		since := now.Sub(w.seen.Load().LastSeen.Time)
		over := since >= unseen
		if of.Kind == failure.WarnCertificate {
			over = since >= unseenCertificate
			if ends, warned := certificateEnd(of.Upstream), w.seen.Load().Certificate; !ends.IsZero() && warned != nil {
				over = ends.Sub(warned.NotAfter.Time) >= time.Second // another one, of which nothing was said
			}
		}
		if !w.measured && (over || !configured(of.Upstream)) {
			s.forget(of, w)
		}
		return true
	})
}

func (s *Warnings) forget(key NearMiss, w *warning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept.CompareAndDelete(key, w) {
		s.keptN--
	}
}

// tell is what is known of a warning; words are others' to add.
func (w *warning) tell() failure.Warning {
	told := *w.seen.Load()
	told.FirstSeen, told.Count = failure.At(w.first), w.count.Load()
	return told
}

// List gives all warnings, by upstream and kind.
func (s *Warnings) List() []failure.Warning {
	list := []failure.Warning{}
	s.kept.Range(func(_, value any) bool {
		list = append(list, value.(*warning).tell())
		return true
	})
	slices.SortFunc(list, func(a, b failure.Warning) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// Counts gives how many near misses there were since the process began, of each kind and
// upstream: these numbers never go down. At most 1000 are told apart, and then one of each
// kind has the others, as upstream `_other`.
func (s *Warnings) Counts() iter.Seq2[NearMiss, uint64] {
	return func(yield func(NearMiss, uint64) bool) {
		s.counts.Range(func(key, value any) bool {
			return yield(key.(NearMiss), value.(*atomic.Uint64).Load())
		})
	}
}

// Kept says how many warnings there are, and how many near misses were of none because too
// many were kept.
func (s *Warnings) Kept() (kept int, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keptN, s.dropped.Load()
}
