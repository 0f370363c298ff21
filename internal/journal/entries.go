package journal

import (
	"container/heap"
	"iter"
	"strings"
	"sync/atomic"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// entries are what is kept, of each fingerprint a fair share: where there are too many, the
// oldest one of the largest share gives way. So a storm of one fingerprint has what the
// others leave over, and never pushes theirs out; the newest one always stays.
//
// Who changes them holds the journal's mu, who reads them doesn't: a reader goes from the
// newest one back, and an entry that gives way under its feet still leads on.
type entries struct {
	// newest is the sequence number given last. It is stored after head: an
	// entry up to newest that isn't found is gone, not yet to come. So a cursor
	// never skips one.
	newest atomic.Uint64
	head   atomic.Pointer[entry] // the newest one, nil for none

	count int
	// shares has each share that isn't empty, as does givingWay.
	shares    map[Fingerprint]*share
	givingWay heapOfShares
}

// entry is a failure that is kept. Readers have the first three fields, which never change,
// and older.
type entry struct {
	sequence uint64
	failure  *failure.Failure
	// names are those of which the failure is the last, as many as its attempts have.
	names []string
	older atomic.Pointer[entry]
	newer *entry

	share      *share // nil for one that was taken out
	shareOlder *entry
	shareNewer *entry
}

// share is the entries of one fingerprint.
type share struct {
	of             Fingerprint
	count          int
	oldest, newest *entry
	place          int // in the heap
}

// between gives the entries up to a sequence number, the newest one first, until those that
// a reader has already.
func (s *entries) between(after, until uint64) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := s.head.Load(); e != nil && e.sequence > after; e = e.older.Load() {
			if e.sequence <= until && !yield(e) {
				return
			}
		}
	}
}

// add puts e in front. Of more than keep, which is 1 at least, one gives way: never e.
func (s *entries) add(e *entry, keep int) (gone *entry) {
	e.sequence = s.newest.Load() + 1
	s.push(e)
	if s.count > keep {
		gone = s.giveWay()
	}
	if head := s.head.Load(); head != nil {
		e.older.Store(head)
		head.newer = e
	}
	s.head.Store(e)
	s.newest.Store(e.sequence)
	return gone
}

// giveWay takes out the one that is to give way next, of one or more.
func (s *entries) giveWay() *entry {
	e := s.givingWay[0].oldest
	s.remove(e)
	return e
}

// remove takes e out. It leads readers that are with it to what is older still.
func (s *entries) remove(e *entry) {
	older := e.older.Load()
	if older != nil {
		older.newer = e.newer
	}
	if e.newer != nil {
		e.newer.older.Store(older)
	} else {
		s.head.Store(older)
	}
	e.newer = nil // a reader that holds it holds no newer ones
	s.pull(e)
}

// have says whether e is still there.
func (s *entries) have(e *entry) bool { return e.share != nil && s.shares[e.share.of] == e.share }

// clear takes all out.
func (s *entries) clear() {
	s.head.Store(nil)
	s.count, s.shares, s.givingWay = 0, nil, nil
}

// push puts e into the share of its fingerprint, as the newest one.
func (s *entries) push(e *entry) {
	s.count++
	of := Fingerprint{Site: e.failure.Site, Upstream: e.failure.Upstream, Cause: e.failure.Cause}
	in := s.shares[of]
	if in == nil {
		// A copy of its own: the texts of a record are of one piece, and the share may
		// outlive the record.
		of = Fingerprint{Site: strings.Clone(of.Site), Upstream: strings.Clone(of.Upstream), Cause: strings.Clone(of.Cause)}
		if s.shares == nil {
			s.shares = make(map[Fingerprint]*share)
		}
		in = &share{of: of, count: 1, oldest: e, newest: e}
		e.share, s.shares[of] = in, in
		heap.Push(&s.givingWay, in)
		return
	}
	e.share, e.shareOlder = in, in.newest
	in.newest.shareNewer = e
	in.newest = e
	in.count++
	heap.Fix(&s.givingWay, in.place)
}

// pull takes e out of its share. An empty share is forgotten.
func (s *entries) pull(e *entry) {
	s.count--
	from, older, newer := e.share, e.shareOlder, e.shareNewer
	e.share, e.shareOlder, e.shareNewer = nil, nil, nil
	if from.count--; from.count == 0 {
		heap.Remove(&s.givingWay, from.place)
		delete(s.shares, from.of)
		return
	}
	if older != nil {
		older.shareNewer = newer
	} else {
		from.oldest = newer
	}
	if newer != nil {
		newer.shareOlder = older
	} else {
		from.newest = older
	}
	heap.Fix(&s.givingWay, from.place)
}

// heapOfShares has first the share of which one gives way next: the largest one, and of
// equal ones the one whose oldest entry is the oldest.
type heapOfShares []*share

func (h heapOfShares) Len() int { return len(h) }

func (h heapOfShares) Less(i, j int) bool {
	if h[i].count != h[j].count {
		return h[i].count > h[j].count
	}
	return h[i].oldest.sequence < h[j].oldest.sequence
}

func (h heapOfShares) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *heapOfShares) Push(s any) {
	added := s.(*share) //nolint:forcetypeassert // nothing else is pushed
	added.place = len(*h)
	*h = append(*h, added)
}

func (h *heapOfShares) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}
