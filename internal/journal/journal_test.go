package journal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// numbered returns a failure with id f<n>, of upstream u<n modulo 3>.
func numbered(n int) *failure.Failure {
	return &failure.Failure{
		ID:       fmt.Sprint("f", n),
		Time:     failure.At(time.Now()),
		Outcome:  failure.Failed,
		Upstream: fmt.Sprint("u", n%3),
		Status:   502,
	}
}

func ids(page failure.FailurePage) string {
	list := []string{}
	for _, f := range page.Failures {
		list = append(list, f.ID)
	}
	return strings.Join(list, " ")
}

func filled(keep, count int) *Journal {
	j := New(keep, 0)
	for n := range count {
		j.Add(numbered(n))
	}
	return j
}

func cursor(t *testing.T, s string) failure.Cursor {
	t.Helper()
	c, err := failure.ParseCursor(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKeepsTheNewest(t *testing.T) {
	for _, test := range []struct {
		name        string
		keep, count int
		want        string
	}{
		{"empty", 3, 0, ""},
		{"not full", 3, 2, "f1 f0"},
		{"full", 3, 3, "f2 f1 f0"},
		{"overwritten", 3, 8, "f7 f6 f5"},
		{"one", 1, 8, "f7"},
		{"none", 0, 8, ""},
		{"less than none", -1, 8, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := filled(test.keep, test.count)
			page := j.Query(failure.Query{})
			if got := ids(page); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if page.Failures == nil {
				t.Error("the list is nil, want it empty")
			}
			if page.Next != "" {
				t.Errorf("next is %q, but there is no more", page.Next)
			}
			if o := j.Overview(); o.KeptCount != len(page.Failures) || o.Counts[failure.Failed] != uint64(test.count) {
				t.Errorf("overview has %d kept, %d counted", o.KeptCount, o.Counts[failure.Failed])
			}
			for n := range test.count {
				id := fmt.Sprint("f", n)
				f, ok := j.Get(id)
				kept := strings.Contains(" "+test.want+" ", " "+id+" ")
				if ok != kept || ok && f.ID != id {
					t.Errorf("Get(%s) gave %v, %v", id, f, ok)
				}
			}
		})
	}
}

func TestLimit(t *testing.T) {
	j := filled(200, 200)
	if got := len(j.Query(failure.Query{}).Failures); got != failure.DefaultLimit {
		t.Errorf("without a limit: got %d", got)
	}
	if got := len(j.Query(failure.Query{Limit: 120}).Failures); got != 120 {
		t.Errorf("with limit 120: got %d", got)
	}
}

func TestFilters(t *testing.T) {
	j := filled(10, 10)
	if got, want := ids(j.Query(failure.Query{Upstream: []string{"u1"}})), "f7 f4 f1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPagingBack(t *testing.T) {
	j := filled(10, 10)
	page := j.Query(failure.Query{Limit: 4})
	var pages []string
	for {
		pages = append(pages, ids(page))
		if page.Next == "" {
			break
		}
		j.Add(numbered(9 + len(pages))) // moves the ring on under the reader
		page = j.Query(failure.Query{Limit: 4, Before: cursor(t, page.Next)})
		if page.Newest != "" {
			t.Errorf("newest is %q while paging back", page.Newest)
		}
	}
	// f0 and f1, which the second page announced, gave way to the two added meanwhile.
	if got, want := strings.Join(pages, "; "), "f9 f8 f7 f6; f5 f4 f3 f2; "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPagingBackWithFilter(t *testing.T) {
	j := filled(10, 10)
	q := failure.Query{Limit: 2, Upstream: []string{"u0"}}
	page := j.Query(q)
	if got, want := ids(page), "f9 f6"; got != want {
		t.Errorf("first page: got %q, want %q", got, want)
	}
	q.Before = cursor(t, page.Next)
	page = j.Query(q)
	if got, want := ids(page), "f3 f0"; got != want {
		t.Errorf("second page: got %q, want %q", got, want)
	}
	if page.Next != "" {
		t.Errorf("next is %q, but no more match", page.Next)
	}
}

func TestPolling(t *testing.T) {
	j := New(100, 0)
	after := cursor(t, j.Query(failure.Query{}).Newest) // of an empty journal
	poll := func(limit int, want string) {
		t.Helper()
		page := j.Query(failure.Query{After: after, Limit: limit})
		if got := ids(page); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if page.Next != "" {
			t.Errorf("next is %q while polling", page.Next)
		}
		after = cursor(t, page.Newest)
	}
	poll(3, "")
	for n := range 7 {
		j.Add(numbered(n))
	}
	poll(3, "f2 f1 f0")
	poll(3, "f5 f4 f3")
	j.Add(numbered(7))
	poll(3, "f7 f6")
	poll(3, "")
	j.Clear()
	poll(3, "")
	j.Add(numbered(8))
	poll(3, "f8")
	j.Resize(2, 0)
	j.Shrink()
	poll(3, "")
	for n := 9; n < 14; n++ {
		j.Add(numbered(n))
	}
	poll(3, "f13 f12")
}

func TestPollingWithFilter(t *testing.T) {
	j := filled(100, 10)
	q := failure.Query{Upstream: []string{"u0"}, Limit: 2}
	q.After = cursor(t, j.Query(failure.Query{Limit: 1}).Newest)
	for n := 10; n < 20; n++ {
		j.Add(numbered(n))
	}
	var got []string
	for range 3 {
		page := j.Query(q)
		got = append(got, ids(page))
		q.After = cursor(t, page.Newest)
	}
	if got, want := strings.Join(got, "; "), "f15 f12; f18; "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBetweenTwoCursors(t *testing.T) {
	j := filled(10, 10)
	before := cursor(t, j.Query(failure.Query{Limit: 3}).Next) // f7
	after := before - 4                                        // f3
	page := j.Query(failure.Query{Before: before, After: after, Limit: 2})
	if got, want := ids(page), "f6 f5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	page = j.Query(failure.Query{Before: cursor(t, page.Next), After: after, Limit: 2})
	if got, want := ids(page), "f4"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if page.Next != "" {
		t.Errorf("next is %q, but the window ends here", page.Next)
	}
}

// A cursor outlives the process: who polls across a restart gets all that the new
// process recorded.
func TestPollingAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := filled(10, 5)
		after := cursor(t, old.Query(failure.Query{}).Newest)
		time.Sleep(time.Second) // the bubble's clock
		for _, test := range []struct {
			name  string
			after failure.Cursor
		}{
			{"of the process before", after},
			{"of one whose clock ran ahead", after + 1e15},
		} {
			j := filled(10, 8)
			page := j.Query(failure.Query{After: test.after, Limit: 5})
			rest := j.Query(failure.Query{After: cursor(t, page.Newest), Limit: 5})
			if got, want := ids(page)+"; "+ids(rest), "f4 f3 f2 f1 f0; f7 f6 f5"; got != want {
				t.Errorf("%s: got %q, want %q", test.name, got, want)
			}
		}
	})
}

// Who reads while the ring moves on misses what gave way, and takes nothing newer for it.
func TestOverwrittenWhileReading(t *testing.T) {
	j := filled(5, 5)
	newest := j.entries.newest.Load() // a reader has come so far: f4
	for n := 5; n < 8; n++ {
		j.Add(numbered(n))
	}
	all := failure.Query{Limit: 10}
	if got, want := ids(j.older(all, newest)), "f4 f3"; got != want {
		t.Errorf("walking back: got %q, want %q", got, want)
	}
	if got, want := ids(j.newer(all, newest)), "f4 f3"; got != want {
		t.Errorf("walking forward: got %q, want %q", got, want)
	}
}

func TestHostileCursors(t *testing.T) {
	j := filled(5, 8)
	for _, c := range []failure.Cursor{1, 2, 1 << 63, 1<<64 - 1} {
		for _, q := range []failure.Query{{Before: c}, {After: c}, {Before: c, After: c}, {Before: 1, After: c}, {Before: c, After: 1}} {
			if got := len(j.Query(q).Failures); got > 5 {
				t.Errorf("%+v: got %d failures", q, got)
			}
		}
	}
}

func TestResize(t *testing.T) {
	for _, test := range []struct {
		name string
		keep int
		want string
		more string
	}{
		{"larger", 8, "f9 f8 f7 f6 f5", "f10 f9 f8 f7 f6 f5"},
		{"the same", 5, "f9 f8 f7 f6 f5", "f10 f9 f8 f7 f6"},
		{"smaller", 2, "f9 f8", "f10 f9"},
		{"nothing", 0, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := filled(5, 10)
			back := cursor(t, j.Query(failure.Query{Limit: 1}).Next) // f9
			j.Resize(test.keep, 0)
			j.Shrink()
			if got := ids(j.Query(failure.Query{})); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got, want := ids(j.Query(failure.Query{Before: back})), strings.TrimPrefix(strings.TrimPrefix(test.want, "f9"), " "); got != want {
				t.Errorf("with an earlier cursor: got %q, want %q", got, want)
			}
			if got := j.Overview().Keep; got != test.keep {
				t.Errorf("keep is %d, want %d", got, test.keep)
			}
			for upstream, last := range map[string]string{"u0": "f9", "u2": "f8", "u1": "f7"} {
				kept := strings.Contains(test.want, last)
				if id, ok := lastID(j, upstream); ok != kept || kept && id != last {
					t.Errorf("Last(%s) gave %q, %v", upstream, id, ok)
				}
			}
			j.Add(numbered(10))
			if got := ids(j.Query(failure.Query{})); got != test.more {
				t.Errorf("after one more: got %q, want %q", got, test.more)
			}
		})
	}
}

func TestClear(t *testing.T) {
	j := filled(5, 10)
	j.Clear()
	if got := ids(j.Query(failure.Query{})); got != "" {
		t.Errorf("got %q after Clear", got)
	}
	if _, ok := j.Get("f9"); ok {
		t.Error("f9 is still there")
	}
	if _, ok := lastID(j, "u0"); ok {
		t.Error("u0 still has a last failure")
	}
	o := j.Overview()
	if o.Counts[failure.Failed] != 10 || o.KeptCount != 0 || o.Oldest != nil || o.Keep != 5 {
		t.Errorf("got %+v", o)
	}
	j.Add(numbered(10))
	if got := ids(j.Query(failure.Query{})); got != "f10" {
		t.Errorf("got %q after one more", got)
	}
}

func TestLast(t *testing.T) {
	j := New(4, 0)
	want := func(upstream, id string) {
		t.Helper()
		if got, ok := lastID(j, upstream); got != id || ok != (id != "") {
			t.Errorf("Last(%q) gave %q, %v; want %q", upstream, got, ok, id)
		}
	}
	want("u0", "")
	for n := range 3 {
		j.Add(numbered(n))
	}
	want("u0", "f0")
	want("u1", "f1")
	j.Add(numbered(3))
	want("u0", "f3")
	nobody := numbered(4)
	nobody.Upstream = ""
	j.Add(nobody)
	want("", "")
	j.Add(numbered(6)) // f1 is the oldest of those that are alone of their kind, and f3 of the largest share
	want("u1", "f1")
	want("u2", "f2")
	want("u0", "f6")
	j.Add(numbered(7))
	j.Add(numbered(10))
	want("u1", "f10") // f1 and f7 gave way, each to its own kind
	for n := range 4 {
		other := numbered(20 + n)
		other.Upstream = fmt.Sprint("other", n)
		j.Add(other)
	}
	for n := range 3 {
		want(fmt.Sprint("u", n), "") // gave way
	}
}

// Where the last failure of an upstream gave way, an earlier one that is still kept is not
// taken for the last.
func TestLastIsNoEarlierOne(t *testing.T) {
	j := New(4, 0)
	j.Add(numbered(0))
	both := numbered(1) // u1's record, in which u0 failed as well
	both.Attempts = []failure.Attempt{{Upstream: "u0", Cause: "dns_timeout"}}
	j.Add(both)
	if id, _ := lastID(j, "u0"); id != "f1" {
		t.Fatalf("the last failure of u0 is %q", id)
	}
	for n := range 4 {
		j.Add(numbered(4 + 3*n)) // of u1
	}
	if got, want := ids(j.Query(failure.Query{})), "f13 f10 f7 f0"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, keep := range []int{4, 3} {
		j.Resize(keep, 0)
		j.Shrink()
		if id, ok := lastID(j, "u0"); ok {
			t.Errorf("with keep %d the last failure of u0 is %q", keep, id)
		}
	}
}

// Of each upstream the last failure is found that isn't the client's, as long as it is kept.
func TestLastBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(10, time.Hour)
		add := func(n int, side failure.Side) {
			f := numbered(n)
			f.Side, f.Cause = side, fmt.Sprint("cause of ", side)
			j.Add(f)
		}
		last := func() string {
			var list []string
			for name, f := range j.LastBlamed() {
				list = append(list, name+" "+f.ID)
			}
			slices.Sort(list)
			return strings.Join(list, ", ")
		}
		add(0, failure.SideUpstream)
		time.Sleep(40 * time.Minute) // the bubble's clock
		add(1, failure.SideUpstream)
		add(4, failure.SideNetwork)
		add(3, failure.SideClient)
		add(2, failure.SideClient)
		if got := last(); got != "u0 f0, u1 f4" {
			t.Errorf("got %q", got)
		}
		time.Sleep(40 * time.Minute)
		if got := last(); got != "u1 f4" {
			t.Errorf("when f0 is too old: %q", got)
		}
	})
}

// The map behind Last is as bounded as the ring, whatever the upstreams are called.
func TestLastIsBounded(t *testing.T) {
	j := New(10, 0)
	for n := range 1000 {
		f := numbered(n)
		f.Upstream = fmt.Sprint("dynamic-", n)
		j.Add(f)
	}
	if got := len(j.last); got != 10 {
		t.Errorf("the map holds %d upstreams, want 10", got)
	}
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(10, time.Hour)
		start := failure.At(time.Now())
		j.Add(numbered(0))
		time.Sleep(40 * time.Minute) // the bubble's clock
		j.Add(numbered(1))
		if got := ids(j.Query(failure.Query{})); got != "f1 f0" {
			t.Errorf("after 40 minutes: got %q", got)
		}
		if o := j.Overview(); o.KeptCount != 2 || !o.Oldest.Equal(start.Time) || o.KeepForS != 3600 {
			t.Errorf("after 40 minutes: got %+v", o)
		}

		time.Sleep(40 * time.Minute)
		if got := ids(j.Query(failure.Query{})); got != "f1" {
			t.Errorf("after 80 minutes: got %q", got)
		}
		if got := ids(j.Query(failure.Query{After: 1})); got != "f1" {
			t.Errorf("after 80 minutes, polling: got %q", got)
		}
		if _, ok := j.Get("f0"); ok {
			t.Error("f0 can be got after 80 minutes")
		}
		if _, ok := lastID(j, "u0"); ok {
			t.Error("f0 is the last of u0 after 80 minutes")
		}
		if o := j.Overview(); o.KeptCount != 1 || o.Counts[failure.Failed] != 2 || o.Oldest.Equal(start.Time) {
			t.Errorf("after 80 minutes: got %+v", o)
		}

		j.Resize(10, 2*time.Hour)
		j.Shrink()
		if got := ids(j.Query(failure.Query{})); got != "f1 f0" {
			t.Errorf("kept for longer: got %q", got)
		}
		time.Sleep(1000 * time.Hour)
		j.Resize(10, 0)
		j.Shrink()
		if got := ids(j.Query(failure.Query{})); got != "f1 f0" {
			t.Errorf("kept for ever: got %q", got)
		}
	})
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(10, time.Hour)
		j.Add(numbered(0))
		j.Add(numbered(1))
		time.Sleep(2 * time.Hour) // the bubble's clock
		j.Add(numbered(4))
		j.Sweep(time.Now())

		held := 0
		for range j.kept() {
			held++
		}
		if held != 1 || len(j.last) != 1 {
			t.Errorf("%d entries and %d upstreams are held, want 1 each", held, len(j.last))
		}
		if got := ids(j.Query(failure.Query{})); got != "f4" {
			t.Errorf("got %q", got)
		}
		if id, ok := lastID(j, "u1"); id != "f4" || !ok {
			t.Errorf("Last(u1) gave %q, %v", id, ok)
		}
	})
}

func TestOverview(t *testing.T) {
	j := New(10, 24*time.Hour)
	for i, outcome := range failure.Outcomes {
		for range i {
			j.Add(&failure.Failure{Time: failure.At(time.Now()), Outcome: outcome})
		}
	}
	got := j.Overview()
	for i, outcome := range failure.Outcomes {
		if count, ok := got.Counts[outcome]; !ok || count != uint64(i) {
			t.Errorf("%s: got %d, %v; want %d", outcome, count, ok, i)
		}
	}
	if got.KeptCount != 10 || got.Keep != 10 || got.KeepForS != 86400 || got.Since.IsZero() {
		t.Errorf("got %+v", got)
	}
}

// What is only counted takes no one's place, and moves no cursor.
func TestCount(t *testing.T) {
	j := filled(2, 2)
	newest := j.Query(failure.Query{}).Newest
	j.Count(failure.Abandoned)
	page := j.Query(failure.Query{})
	if got := ids(page); got != "f1 f0" || page.Newest != newest {
		t.Errorf("got %q and newest %s, which was %s", got, page.Newest, newest)
	}
	if o := j.Overview(); o.Counts[failure.Abandoned] != 1 || o.KeptCount != 2 {
		t.Errorf("got %+v", o)
	}
}

// within fails the test if f doesn't return: the deadline only ends what would
// otherwise hang.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// Who reads works while a writer is at it, whatever it does: it takes no lock.
func TestReadersTakeNoLock(t *testing.T) {
	j := filled(10, 20)
	j.mu.Lock()
	defer j.mu.Unlock()
	within(t, "Query", func() { j.Query(failure.Query{}) })
	within(t, "Query with a cursor", func() { j.Query(failure.Query{After: 1}) })
	within(t, "Get", func() { j.Get("f19") })
	within(t, "Overview", func() { j.Overview() })
}

const writers = 8

// write has each of the writers add that many failures, and closes the channel that it
// returns when all are done.
func write(each int, add func(writer, n int)) <-chan struct{} {
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := range each {
				add(w, n)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	return done
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Who polls while others write sees each failure, and sees it once.
func TestPollingWhileWriting(t *testing.T) {
	const each = 1000
	j := New(writers*each, 0)
	after := cursor(t, j.Query(failure.Query{}).Newest)
	done := write(each, func(w, n int) { j.Add(numbered(w*each + n)) })
	seen := map[string]int{}
	for last := false; !last; {
		last = closed(done)
		for more := true; more; {
			page := j.Query(failure.Query{After: after, Limit: 7})
			for _, f := range page.Failures {
				seen[f.ID]++
			}
			after = cursor(t, page.Newest)
			more = len(page.Failures) == 7
		}
	}
	if len(seen) != writers*each {
		t.Errorf("saw %d of %d", len(seen), writers*each)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("saw %s %d times", id, times)
		}
	}
}

// Who pages back while others write sees no failure twice, and the order holds.
func TestPagingBackWhileWriting(t *testing.T) {
	const each = 1000
	j := New(writers*each/4, 0)
	done := write(each, func(w, n int) { j.Add(numbered(w*each + n)) })
	for last := false; !last; {
		last = closed(done)
		seen := map[string]bool{}
		newestOf := map[int]int{} // by writer: each writes in order
		q := failure.Query{Limit: 50}
		for {
			page := j.Query(q)
			for _, f := range page.Failures {
				var n int
				if _, err := fmt.Sscanf(f.ID, "f%d", &n); err != nil {
					t.Fatal(err)
				}
				if newer, ok := newestOf[n/each]; ok && n >= newer {
					t.Fatalf("f%d came after f%d", n, newer)
				}
				newestOf[n/each] = n
				if seen[f.ID] {
					t.Fatalf("%s came twice", f.ID)
				}
				seen[f.ID] = true
			}
			if page.Next == "" {
				break
			}
			q.Before = cursor(t, page.Next)
		}
	}
	if got := j.Overview(); got.KeptCount != writers*each/4 || got.Counts[failure.Failed] != writers*each {
		t.Errorf("got %+v", got)
	}
}

// Everything at once: for the race detector, and nothing counted is lost.
func TestEverythingAtOnce(t *testing.T) {
	const each = 500
	j := New(100, time.Hour)
	done := write(each, func(w, n int) { j.Add(numbered(w*each + n)) })
	var group sync.WaitGroup
	for _, act := range []func(){
		func() { j.Resize(rand.IntN(300), time.Hour); j.Shrink() },
		func() { j.Resize(1+rand.IntN(10), 0); j.Shrink() },
		func() { j.Clear() },
		func() { j.Sweep(time.Now().Add(2 * time.Hour)) },
		func() { j.Last("u1") },
		func() { j.Get("f77") },
		func() {
			o := j.Overview()
			if o.KeptCount > o.Keep {
				t.Errorf("%d are kept of at most %d", o.KeptCount, o.Keep)
			}
		},
		func() {
			page := j.Query(failure.Query{Limit: 20})
			if next, err := failure.ParseCursor(page.Next); err == nil {
				j.Query(failure.Query{Before: next})
			}
			j.Query(failure.Query{After: cursor(t, page.Newest)})
		},
	} {
		group.Go(func() {
			for act(); !closed(done); { // once, where the writers are done at once
				act()
			}
		})
	}
	group.Wait()
	if got := j.Overview().Counts[failure.Failed]; got != writers*each {
		t.Errorf("counted %d, want %d", got, writers*each)
	}
	j.Resize(10, 0)
	j.Shrink()
	for n := range 10 {
		j.Add(numbered(n))
	}
	if got, want := ids(j.Query(failure.Query{})), "f9 f8 f7 f6 f5 f4 f3 f2 f1 f0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(j.last) != 3 {
		t.Errorf("the map holds %d upstreams, want 3", len(j.last))
	}
}

// text returns n bytes that no other string shares.
func text(n int) string { return string(slices.Repeat([]byte{'x'}, n)) }

// fullRecord is a record with every field, its texts as long as they usually are.
func fullRecord(attempts int) *failure.Failure {
	f := &failure.Failure{
		ID: text(9), Time: failure.At(time.Now()), Instance: "edge-1", Site: "example.com", Outcome: failure.Failed, Status: 502,
		Upstream: "app:8080", Cause: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream, Summary: text(45), Advice: text(90),
		Evidence: []string{text(60), text(60)}, Error: text(70),
		Limit:       &failure.Limit{Name: failure.DialTimeout, ValueMS: failure.MSPointer(3 * time.Second), Source: failure.LimitDefault},
		RequestSent: failure.SentNo, AttemptCount: attempts, Attempts: make([]failure.Attempt, attempts),
		Request: failure.Request{
			Method: "GET", Host: text(11), URI: text(80), Proto: "HTTP/2.0", RemoteIP: text(14), ClientIP: text(14),
			Headers: map[string][]string{"User-Agent": {text(110)}, "Referer": {text(30)}},
		},
		DurationMS: 0.6, Incident: text(16), TraceID: text(32),
	}
	for i := range f.Attempts {
		f.Attempts[i] = failure.Attempt{
			Upstream: "app:8080", Address: text(14), LocalAddress: text(15), Protocol: "http/1.1", Reused: new(bool), IdleMS: failure.MSPointer(1),
			StartMS: 0.1, DurationMS: 0.4,
			PhasesMS: failure.Phases{DNS: failure.MSPointer(1), Connect: failure.MSPointer(1), TLS: failure.MSPointer(1), Send: failure.MSPointer(1), Wait: failure.MSPointer(1)},
			Cause:    "connection_refused", Error: text(60), Errno: "ECONNREFUSED", RequestBytes: new(int64), ResponseBytes: new(int64),
		}
	}
	return f
}

// largestRecord has every text at its cap: 2 KiB, in an attempt 256 B.
func largestRecord() *failure.Failure {
	const long, short = 2048, 256
	f := fullRecord(failure.MaxAttempts)
	f.Error, f.Summary, f.Request.URI, f.Request.Host = text(long), text(long), text(long), text(long)
	f.Evidence = nil
	for range 16 {
		f.Evidence = append(f.Evidence, text(short))
	}
	for i := range f.Attempts {
		f.Attempts[i].Error = text(short)
		f.Unavailable = append(f.Unavailable, failure.Unavailable{Upstream: text(30), Reason: failure.ReasonFails, Until: &f.Time, LastFailure: text(9)})
	}
	f.Received = &failure.Received{Status: 503, Server: text(short), Via: text(short), RetryAfter: text(short), ProxyStatus: text(long)}
	for n := range 8 {
		f.Request.Headers[fmt.Sprint("X-Kept-", n)] = []string{text(long)}
	}
	f.Request.Headers["User-Agent"] = []string{text(long)}
	f.Request.Headers["Referer"] = []string{text(long)}
	return f
}

// What `keep 1000` costs in memory: run it with -v. It can't grow with what was
// recorded, only with what is kept.
func TestMemory(t *testing.T) {
	const keep = 1000
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	for _, test := range []struct {
		name   string
		record func() *failure.Failure
		bound  int64 // bytes
	}{
		{"one attempt", func() *failure.Failure { return fullRecord(1) }, 4 << 20},
		{"three attempts", func() *failure.Failure { return fullRecord(3) }, 6 << 20},
		{"every field at its cap, 10 header fields", largestRecord, 80 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := heap()
			j := New(keep, 0)
			for range 2 * keep {
				j.Add(test.record())
			}
			used := heap() - before
			size, err := json.Marshal(test.record())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("keep %d: %.2f MiB, %d B each; %d B each as JSON", keep, float64(used)/(1<<20), used/keep, len(size))
			if used > test.bound {
				t.Errorf("%d bytes are held, want at most %d", used, test.bound)
			}
			runtime.KeepAlive(j)
		})
	}
}

// Adding in a storm of so many fingerprints: it is done within each failing request.
func BenchmarkAdd(b *testing.B) {
	for _, fingerprints := range []int{1, 5, 1000, 5000} {
		b.Run(strconv.Itoa(fingerprints), func(b *testing.B) {
			j := New(1000, 24*time.Hour)
			storm := make([]*failure.Failure, fingerprints)
			for n := range storm {
				storm[n] = numbered(n)
				storm[n].Upstream = fmt.Sprint("app", n, ":8080")
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					j.Add(storm[int(next.Add(1))%fingerprints])
				}
			})
		})
	}
}

// Adding while an operator reads all the time.
func BenchmarkAddWhileReading(b *testing.B) {
	j := filled(1000, 1000)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for !closed(stop) {
			j.Query(failure.Query{Cause: []string{"none"}})
		}
	})
	f := numbered(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			j.Add(f)
		}
	})
	close(stop)
	group.Wait()
}

// What an operator asks of a full ring.
func BenchmarkRead(b *testing.B) {
	for _, keep := range []int{1000, 100000} {
		j := filled(keep, 3*keep)
		for _, read := range []struct {
			name string
			do   func()
		}{
			{"none", func() { j.Query(failure.Query{Cause: []string{"none"}}) }},
			{"newest50", func() { j.Query(failure.Query{}) }},
			{"newest1000", func() { j.Query(failure.Query{Limit: failure.MaxLimit}) }},
			{"oldest1000", func() { j.Query(failure.Query{Limit: failure.MaxLimit, After: 1}) }},
			{"get", func() { j.Get("none") }},
			{"overview", func() { j.Overview() }},
		} {
			b.Run(fmt.Sprint(keep, "/", read.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					read.do()
				}
			})
		}
	}
}

func BenchmarkLast(b *testing.B) {
	j := filled(100000, 100000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			j.Last("u1")
		}
	})
}

// lastID is the id of the last failure of an upstream.
func lastID(j *Journal, upstream string) (id string, ok bool) {
	if f := j.Last(upstream); f != nil {
		return f.ID, true
	}
	return "", false
}

// Each upstream that failed in a record knows it as its last failure, for as long as the
// record is kept: what is remembered is as bounded as the ring.
func TestLastOfEachAttempt(t *testing.T) {
	const keep = 4
	j := New(keep, 0)
	record := func(i int) *failure.Failure {
		f := &failure.Failure{ID: fmt.Sprint(i), Outcome: failure.Failed, Upstream: fmt.Sprint("app", i, "-0"), Cause: "connection_refused"}
		for n := range failure.MaxAttempts {
			f.Attempts = append(f.Attempts, failure.Attempt{
				Upstream: fmt.Sprint("app", i, "-", n), Address: fmt.Sprint("10.0.", i, ".", n, ":80"), Cause: "connection_refused",
			})
		}
		return f
	}
	const records = 3 * keep
	for i := range records {
		j.Add(record(i))
	}
	for i := range records {
		for _, name := range []string{fmt.Sprint("app", i, "-0"), fmt.Sprint("app", i, "-15"), fmt.Sprint("10.0.", i, ".7:80")} {
			if last, kept := j.Last(name), i >= records-keep; (last != nil) != kept || kept && last.ID != fmt.Sprint(i) {
				t.Errorf("the last failure of %s is %+v", name, last)
			}
		}
	}
	if most := keep * 2 * failure.MaxAttempts; len(j.last) > most {
		t.Errorf("%d names are remembered, more than %d", len(j.last), most)
	}
	j.Add(&failure.Failure{ID: "rescued", Outcome: failure.Rescued, Upstream: "b", Cause: "connection_refused", Attempts: []failure.Attempt{{Upstream: "a", Cause: "dns_timeout"}, {Upstream: "b", Cause: "connection_refused"}, {Upstream: "c"}}})
	for name, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if last := j.Last(name); (last != nil && last.ID == "rescued") != want {
			t.Errorf("the last failure of %s is %+v", name, last)
		}
	}
}
