// Package journal is the bounded memory of failures.
package journal

import (
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Journal keeps the newest failures, of each fingerprint a fair share. Any number of
// goroutines may use it; who reads the list never holds up who adds to it.
type Journal struct {
	since time.Time
	// counts has one for each of failure.Outcomes.
	counts []atomic.Uint64
	// keep is how many are kept, keepFor for how long; 0 where their age doesn't matter.
	keep    atomic.Int64
	keepFor atomic.Int64
	entries entries

	// mu is held for a moment by who changes entries or uses last. The list is read
	// without it.
	mu sync.Mutex
	// last is the newest entry of each upstream that failed, if it is kept: so it is as
	// bounded as they are.
	last map[string]*entry
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
	j.entries.newest.Store(uint64(max(1, now.UnixMicro())))
	j.Resize(keep, keepFor)
	return j
}

// Add records f, which nobody may change any more.
func (j *Journal) Add(f *failure.Failure) {
	j.Count(f.Outcome)
	e := &entry{failure: f, names: f.FailedUpstreams()}

	j.mu.Lock()
	defer j.mu.Unlock()
	keep := int(j.keep.Load())
	if keep == 0 {
		return
	}
	j.forget(j.entries.add(e, keep))
	for _, name := range e.names {
		j.last[name] = e
	}
}

// Count counts an outcome of which nothing is kept.
func (j *Journal) Count(outcome failure.Outcome) {
	if i := slices.Index(failure.Outcomes, outcome); i >= 0 {
		j.counts[i].Add(1)
	}
}

// forget drops what leads to e, which is kept no more. The caller holds mu.
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
	newest := j.entries.newest.Load()
	if q.After == 0 || q.Before != 0 {
		return j.older(q, newest)
	}
	// A cursor of ours never lies beyond the newest: that one is of a process whose
	// clock ran ahead, and all that is here is new to its owner.
	if uint64(q.After) > newest {
		q.After = 0
	}
	return j.newer(q, newest)
}

// older gives the newest ones, of those before q.Before where it is given.
func (j *Journal) older(q failure.Query, newest uint64) failure.FailurePage {
	page := failure.FailurePage{Failures: []*failure.Failure{}}
	until := newest
	if q.Before == 0 {
		page.Newest = failure.Cursor(newest).String()
	} else {
		until = min(newest, uint64(q.Before)-1)
	}
	now := time.Now()
	var oldestShown uint64
	for e := range j.entries.between(uint64(q.After), until) {
		if j.expired(e.failure, now) || !q.Match(e.failure) {
			continue
		}
		if len(page.Failures) == q.Limit {
			page.Next = failure.Cursor(oldestShown).String()
			break
		}
		page.Failures = append(page.Failures, e.failure)
		oldestShown = e.sequence
	}
	return page
}

// newer gives the oldest ones of those after q.After.
func (j *Journal) newer(q failure.Query, newest uint64) failure.FailurePage {
	page := failure.FailurePage{Failures: []*failure.Failure{}, Newest: failure.Cursor(newest).String()}
	now := time.Now()
	var found []*entry
	for e := range j.entries.between(uint64(q.After), newest) {
		if j.expired(e.failure, now) || !q.Match(e.failure) {
			continue
		}
		if len(found) == 2*q.Limit { // half of them are too new
			found = append(found[:0], found[q.Limit:]...)
		}
		found = append(found, e)
	}
	if len(found) >= q.Limit { // there may be more
		found = found[len(found)-q.Limit:]
		page.Newest = failure.Cursor(found[0].sequence).String()
	}
	for _, e := range found {
		page.Failures = append(page.Failures, e.failure)
	}
	return page
}

// Get returns the failure with that id, if it is kept.
func (j *Journal) Get(id string) (*failure.Failure, bool) {
	now := time.Now()
	for e := range j.kept() {
		if e.failure.ID == id && !j.expired(e.failure, now) {
			return e.failure, true
		}
	}
	return nil, false
}

// Last returns the last failure recorded for that upstream or address, nil where it isn't
// kept: an earlier one that is was not the last. It takes one look at a map: requests ask
// it, in a storm all of them.
func (j *Journal) Last(upstream string) *failure.Failure {
	j.mu.Lock()
	e := j.last[upstream]
	j.mu.Unlock()
	if e == nil || j.expired(e.failure, time.Now()) {
		return nil
	}
	return e.failure
}

// LastBlamed gives of each upstream and address the last failure that is kept of it and was
// not the client's doing. It looks through all that is kept: no request may wait for it.
func (j *Journal) LastBlamed() map[string]*failure.Failure {
	last, now := make(map[string]*failure.Failure), time.Now()
	for e := range j.kept() {
		if j.expired(e.failure, now) {
			continue
		}
		for _, name := range e.names {
			if last[name] == nil && e.failure.Blame(name) != "" {
				last[name] = e.failure
			}
		}
	}
	return last
}

// Overview sums up what was recorded, and what is kept of it.
func (j *Journal) Overview() failure.Overview {
	o := failure.Overview{
		Since:    failure.At(j.since),
		Counts:   make(map[failure.Outcome]uint64, len(failure.Outcomes)),
		KeepForS: j.KeepFor().Seconds(),
	}
	for i, outcome := range failure.Outcomes {
		o.Counts[outcome] = j.counts[i].Load()
	}
	now := time.Now()
	var oldest *failure.Failure
	for e := range j.kept() {
		if j.expired(e.failure, now) {
			continue
		}
		o.KeptCount++
		if oldest == nil || e.failure.Time.Before(oldest.Time.Time) {
			oldest = e.failure
		}
	}
	if oldest != nil {
		at := oldest.Time
		o.Oldest = &at
	}
	o.Keep = int(j.keep.Load())
	o.KeptCount = min(o.KeptCount, o.Keep) // it may have become smaller meanwhile
	return o
}

// kept gives all entries, the newest one first.
func (j *Journal) kept() iter.Seq[*entry] { return j.entries.between(0, math.MaxUint64) }

// KeepFor is for how long a failure is kept; 0 where its age doesn't matter.
func (j *Journal) KeepFor() time.Duration { return time.Duration(j.keepFor.Load()) }

func (j *Journal) expired(f *failure.Failure, now time.Time) bool {
	keepFor := j.KeepFor()
	return keepFor > 0 && now.Sub(f.Time.Time) > keepFor
}

// Clear forgets all failures. What was counted stays, and cursors go on.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries.clear()
	clear(j.last)
}

// Resize changes how many failures are kept and for how long. Those that are too many then
// stay until Shrink.
func (j *Journal) Resize(keep int, keepFor time.Duration) {
	j.keepFor.Store(int64(keepFor))
	j.keep.Store(int64(max(0, keep)))
}

// Shrink forgets those that are too many. The newest of each fingerprint stay, and cursors
// go on. Of many it takes a while: some 20 ms for 100 000.
func (j *Journal) Shrink() {
	for j.forgetOne() {
	}
}

// forgetOne forgets one of those that are too many. It is done for each alone, so that no
// request waits for the whole walk.
func (j *Journal) forgetOne() (more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.entries.count <= int(j.keep.Load()) {
		return false
	}
	j.forget(j.entries.giveWay())
	return true
}

// Sweep frees the failures that are too old to be shown. It is worth a call every
// few minutes: where nothing fails any more, nothing else frees them.
func (j *Journal) Sweep(now time.Time) {
	for e := range j.kept() {
		if j.expired(e.failure, now) {
			j.remove(e)
		}
	}
}

// remove forgets e, if it is still kept: for each alone, as shrink.
func (j *Journal) remove(e *entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.entries.have(e) {
		j.entries.remove(e)
		j.forget(e)
	}
}
