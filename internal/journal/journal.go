// Package journal is the bounded memory of failures.
package journal

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Journal keeps the newest failures. Any number of goroutines may use it; who
// reads the list never holds up who adds to it.
type Journal struct {
	since time.Time
	// counts has one for each of failure.Outcomes.
	counts []atomic.Uint64
	// ring is swapped as a whole by Clear and Resize.
	ring atomic.Pointer[ring]

	// mu is held for a moment by who changes a ring or uses last. The list is read
	// without it.
	mu sync.Mutex
	// last is the newest entry kept for each upstream that failed: so it is as bounded
	// as the ring.
	last map[string]*entry
}

// ring holds the entry with sequence number n in slots[n % len(slots)], until a
// later one takes its place.
type ring struct {
	slots []atomic.Pointer[entry]
	// newest is the sequence number given last. It is stored after the entry: an
	// entry up to newest that isn't found is gone, not yet to come. So a cursor
	// never skips one.
	newest  atomic.Uint64
	keepFor time.Duration
}

type entry struct {
	sequence uint64
	failure  *failure.Failure
	// names are those of which the failure is the last, as many as its attempts have.
	names []string
}

// New makes a journal that keeps that many failures, and each for that long; with
// 0 its age doesn't matter.
func New(keep int, keepFor time.Duration) *Journal {
	now := time.Now()
	j := &Journal{
		since:  now,
		counts: make([]atomic.Uint64, len(failure.Outcomes)),
		last:   map[string]*entry{},
	}
	// Sequence numbers begin at the time in microseconds, so that a cursor of an
	// earlier process lies before all of this one's, and who polls loses none.
	j.ring.Store(newRing(keep, keepFor, uint64(max(1, now.UnixMicro()))))
	return j
}

func newRing(keep int, keepFor time.Duration, newest uint64) *ring {
	r := &ring{slots: make([]atomic.Pointer[entry], max(0, keep)), keepFor: keepFor}
	r.newest.Store(newest)
	return r
}

// Add records f, which nobody may change any more.
func (j *Journal) Add(f *failure.Failure) {
	j.Count(f.Outcome)
	e := &entry{failure: f, names: f.FailedUpstreams()}

	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.ring.Load()
	e.sequence = r.newest.Load() + 1
	j.put(r, e)
	r.newest.Store(e.sequence)
}

// Count counts an outcome of which nothing is kept.
func (j *Journal) Count(outcome failure.Outcome) {
	if i := slices.Index(failure.Outcomes, outcome); i >= 0 {
		j.counts[i].Add(1)
	}
}

// put gives e its slot in r. The caller holds mu.
func (j *Journal) put(r *ring, e *entry) {
	if len(r.slots) == 0 {
		return
	}
	j.forget(r.slot(e.sequence).Swap(e))
	for _, name := range e.names {
		j.last[name] = e
	}
}

// forget drops what leads to e besides its slot. The caller holds mu.
func (j *Journal) forget(e *entry) {
	if e == nil {
		return
	}
	for _, name := range e.names {
		if j.last[name] == e {
			delete(j.last, name)
		}
	}
}

// Query returns the failures that q asks for.
func (j *Journal) Query(q failure.Query) failure.FailurePage {
	if q.Limit <= 0 {
		q.Limit = failure.DefaultLimit
	}
	r := j.ring.Load()
	newest := r.newest.Load()
	if q.After == 0 || q.Before != 0 {
		return r.older(q, newest)
	}
	// A cursor of ours never lies beyond the newest: that one is of a process whose
	// clock ran ahead, and all that is here is new to its owner.
	if uint64(q.After) > newest {
		q.After = 0
	}
	return r.newer(q, newest)
}

// older walks back in time, from q.Before where it is given.
func (r *ring) older(q failure.Query, newest uint64) failure.FailurePage {
	page := failure.FailurePage{Failures: []*failure.Failure{}}
	from := newest
	if q.Before == 0 {
		page.Newest = failure.Cursor(newest).String()
	} else {
		from = min(newest, uint64(q.Before)-1)
	}
	now := time.Now()
	var oldestShown uint64
	for n := from; n >= r.oldest(newest) && n > uint64(q.After); n-- {
		f := r.get(n, now)
		if f == nil || !q.Match(f) {
			continue
		}
		if len(page.Failures) == q.Limit {
			page.Next = failure.Cursor(oldestShown).String()
			break
		}
		page.Failures = append(page.Failures, f)
		oldestShown = n
	}
	return page
}

// newer walks forward in time from q.After, and shows what it finds newest first.
func (r *ring) newer(q failure.Query, newest uint64) failure.FailurePage {
	page := failure.FailurePage{Failures: []*failure.Failure{}, Newest: failure.Cursor(newest).String()}
	now := time.Now()
	for n := max(uint64(q.After)+1, r.oldest(newest)); n <= newest; n++ {
		f := r.get(n, now)
		if f == nil || !q.Match(f) {
			continue
		}
		page.Failures = append(page.Failures, f)
		if len(page.Failures) == q.Limit {
			page.Newest = failure.Cursor(n).String()
			break
		}
	}
	slices.Reverse(page.Failures)
	return page
}

// Get returns the failure with that id, if it is kept.
func (j *Journal) Get(id string) (*failure.Failure, bool) {
	r := j.ring.Load()
	now, newest := time.Now(), r.newest.Load()
	for n := newest; n >= r.oldest(newest); n-- {
		if f := r.get(n, now); f != nil && f.ID == id {
			return f, true
		}
	}
	return nil, false
}

// Last returns the last failure recorded for that upstream or address, nil where none is
// kept. It takes one look at a map: requests ask it, in a storm all of them.
func (j *Journal) Last(upstream string) *failure.Failure {
	j.mu.Lock()
	e := j.last[upstream]
	j.mu.Unlock()
	if e == nil || j.ring.Load().expired(e.failure, time.Now()) {
		return nil
	}
	return e.failure
}

// Overview sums up what was recorded, and what is kept of it.
func (j *Journal) Overview() failure.Overview {
	r := j.ring.Load()
	o := failure.Overview{
		Since:    failure.At(j.since),
		Counts:   make(map[failure.Outcome]uint64, len(failure.Outcomes)),
		Keep:     len(r.slots),
		KeepForS: r.keepFor.Seconds(),
	}
	for i, outcome := range failure.Outcomes {
		o.Counts[outcome] = j.counts[i].Load()
	}
	now, newest := time.Now(), r.newest.Load()
	for n := r.oldest(newest); n <= newest; n++ {
		f := r.get(n, now)
		if f == nil {
			continue
		}
		o.KeptCount++
		if o.Oldest == nil || f.Time.Before(o.Oldest.Time) {
			oldest := f.Time
			o.Oldest = &oldest
		}
	}
	return o
}

// KeepFor is for how long a failure is kept; 0 where its age doesn't matter.
func (j *Journal) KeepFor() time.Duration { return j.ring.Load().keepFor }

// Clear forgets all failures. What was counted stays, and cursors go on.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.ring.Load()
	clear(j.last)
	j.ring.Store(newRing(len(r.slots), r.keepFor, r.newest.Load()))
}

// Resize changes how many failures are kept and for how long. The newest stay, and
// cursors go on.
func (j *Journal) Resize(keep int, keepFor time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.ring.Load()
	newest := old.newest.Load()
	fresh := newRing(keep, keepFor, newest)
	clear(j.last)
	for n := max(old.oldest(newest), fresh.oldest(newest)); n <= newest; n++ {
		if e := old.entry(n); e != nil {
			j.put(fresh, e)
		}
	}
	j.ring.Store(fresh)
}

// Sweep frees the failures that are too old to be shown. It is worth a call every
// few minutes: where nothing fails any more, nothing else frees them.
func (j *Journal) Sweep(now time.Time) {
	r := j.ring.Load()
	for i := range r.slots {
		e := r.slots[i].Load()
		if e == nil || !r.expired(e.failure, now) {
			continue
		}
		// For each alone, so that no request waits for the whole walk. Where another
		// entry took the place meanwhile, put has forgotten this one.
		j.mu.Lock()
		if r.slots[i].CompareAndSwap(e, nil) {
			j.forget(e)
		}
		j.mu.Unlock()
	}
}

// oldest is the lowest sequence number that r may still hold.
func (r *ring) oldest(newest uint64) uint64 {
	return newest + 1 - min(newest, uint64(len(r.slots)))
}

func (r *ring) slot(n uint64) *atomic.Pointer[entry] {
	return &r.slots[n%uint64(len(r.slots))]
}

// entry returns the entry with that sequence number, or nil where another took its
// place or it was swept away.
func (r *ring) entry(n uint64) *entry {
	e := r.slot(n).Load()
	if e == nil || e.sequence != n {
		return nil
	}
	return e
}

// get returns the failure with that sequence number, or nil where it isn't kept or
// is too old.
func (r *ring) get(n uint64, now time.Time) *failure.Failure {
	e := r.entry(n)
	if e == nil || r.expired(e.failure, now) {
		return nil
	}
	return e.failure
}

func (r *ring) expired(f *failure.Failure, now time.Time) bool {
	return r.keepFor > 0 && now.Sub(f.Time.Time) > r.keepFor
}
