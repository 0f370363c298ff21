package journal

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// of returns a failure of that fingerprint, with the id <upstream>-<n>.
func of(upstream string, n int) *failure.Failure {
	return &failure.Failure{
		ID: fmt.Sprint(upstream, "-", n), Time: failure.At(time.Now()), Site: "shop", Upstream: upstream, Cause: "connection_refused",
		Outcome: failure.Failed,
	}
}

// kept counts what is kept by upstream.
func kept(j *Journal) map[string]int {
	counts := make(map[string]int)
	for e := range j.kept() {
		counts[e.failure.Upstream]++
	}
	return counts
}

// A storm of some fingerprints leaves the others all of their records.
func TestAStormPushesNobodyOut(t *testing.T) {
	const keep, rare, size = 1000, 100, 100_000
	storm := func(upstreams ...string) func(n int) *failure.Failure {
		return func(n int) *failure.Failure { return of(upstreams[n%len(upstreams)], n) }
	}
	for _, test := range []struct {
		name  string
		storm func(n int) *failure.Failure
		want  map[string]int
	}{
		{"of one", storm("a"), map[string]int{"a": 900, "rare": 100}},
		{"of five", storm("a", "b", "c", "d", "e"), map[string]int{"a": 180, "b": 180, "c": 180, "d": 180, "e": 180, "rare": 100}},
		{"of clients that leave", func(n int) *failure.Failure {
			f := of("a", n)
			f.Outcome, f.Cause = failure.Abandoned, "client_left"
			return f
		}, map[string]int{"a": 900, "rare": 100}},
		{"where no upstream was selected", storm(""), map[string]int{"": 900, "rare": 100}},
	} {
		for _, when := range []struct {
			name  string
			comes func(n int) bool
		}{
			{"before", func(n int) bool { return n == 0 }},
			{"amidst", func(n int) bool { return n%(size/rare) == 0 }},
		} {
			t.Run(test.name+", "+when.name, func(t *testing.T) {
				j := New(keep, 0)
				added := 0
				for n := range size {
					for when.comes(n) && added < rare {
						j.Add(of("rare", added))
						if added++; when.name == "amidst" {
							break
						}
					}
					j.Add(test.storm(n))
				}
				if got := kept(j); !maps.Equal(got, test.want) {
					t.Errorf("kept are %v, want %v", got, test.want)
				}
				page := j.Query(failure.Query{Upstream: []string{"rare"}, Limit: failure.MaxLimit})
				for i, f := range page.Failures {
					if want := fmt.Sprint("rare-", rare-1-i); f.ID != want {
						t.Fatalf("the rare ones' number %d is %s, want %s", i, f.ID, want)
					}
				}
				if got := len(page.Failures); got != rare {
					t.Errorf("%d rare ones are found, want %d", got, rare)
				}
				// Of the storm, too, the newest are kept.
				newest := j.Query(failure.Query{Limit: 1}).Failures[0]
				if want := test.storm(size - 1).ID; newest.ID != want {
					t.Errorf("the newest is %s, want %s", newest.ID, want)
				}
			})
		}
	}
}

// Site, upstream and cause make a fingerprint, each of them.
func TestWhatSharesAreOf(t *testing.T) {
	j := New(40, 0)
	for n := range 1000 {
		f := of("a", n)
		switch {
		case n < 10:
			f.Site = "other"
		case n < 20:
			f.Upstream = "other"
		case n < 30:
			f.Cause = "other"
		}
		j.Add(f)
	}
	if got := len(j.entries.shares); got != 4 {
		t.Errorf("%d shares, want 4", got)
	}
	for name, s := range j.entries.shares {
		if s.count != 10 {
			t.Errorf("%v has %d, want 10", name, s.count)
		}
	}
}

// Of more fingerprints than there are slots, the newest ones have one each.
func TestMoreFingerprintsThanSlots(t *testing.T) {
	const keep = 100
	j := New(keep, 0)
	for n := range 10 * keep {
		j.Add(of(fmt.Sprint("u", n), n))
	}
	for i, f := range j.Query(failure.Query{Limit: keep}).Failures {
		if want := fmt.Sprint("u", 10*keep-1-i); f.Upstream != want {
			t.Fatalf("number %d is of %s, want %s", i, f.Upstream, want)
		}
	}
	// And a storm has one of them.
	for n := range 10 * keep {
		j.Add(of("storm", n))
	}
	if got := kept(j); len(got) != keep || got["storm"] != 1 {
		t.Errorf("%d upstreams are kept, %d of the storm", len(got), got["storm"])
	}
	if got := len(j.entries.shares); got != keep {
		t.Errorf("%d shares are held, want %d", got, keep)
	}
}

// A reload keeps the newest of each fingerprint, and whose share it was stays fair.
func TestResizeIsFair(t *testing.T) {
	j := New(1000, 0)
	for n := range 50 {
		j.Add(of("rare", n))
	}
	for n := range 5000 {
		j.Add(of([]string{"a", "b"}[n%2], n))
	}
	steps := []struct {
		name string
		do   func()
		want map[string]int
	}{
		{"at first", func() {}, map[string]int{"rare": 50, "a": 475, "b": 475}},
		{"smaller", func() { j.Resize(210, 0); j.Shrink() }, map[string]int{"rare": 50, "a": 80, "b": 80}},
		{"smaller than the shares", func() { j.Resize(30, 0); j.Shrink() }, map[string]int{"rare": 10, "a": 10, "b": 10}},
		{"larger", func() { j.Resize(100, 0); j.Shrink() }, map[string]int{"rare": 10, "a": 10, "b": 10}},
		{"after a storm", func() {
			for n := range 5000 {
				j.Add(of("a", 5000+n))
			}
		}, map[string]int{"rare": 10, "a": 80, "b": 10}},
		{"after all of it", func() { j.Clear() }, map[string]int{}},
		{"after another storm", func() {
			for n := range 5000 {
				j.Add(of("b", n))
			}
		}, map[string]int{"b": 100}},
	}
	for _, step := range steps {
		if step.do(); !maps.Equal(kept(j), step.want) {
			t.Errorf("%s: kept are %v, want %v", step.name, kept(j), step.want)
		}
		switch step.name {
		case "smaller than the shares":
			if got, want := ids(j.Query(failure.Query{Upstream: []string{"rare"}})), "rare-49 rare-48 rare-47 rare-46 rare-45 rare-44 rare-43 rare-42 rare-41 rare-40"; got != want {
				t.Errorf("%s: got %q, want %q", step.name, got, want)
			}
		}
	}
}

// model does slowly, by the words of the issue, what entries do.
type model struct {
	keep int
	kept []*failure.Failure // oldest first
}

func (m *model) add(f *failure.Failure) {
	m.kept = append(m.kept, f)
	m.shrink()
}

func (m *model) shrink() {
	for len(m.kept) > m.keep {
		counts := make(map[string]int)
		for _, f := range m.kept {
			counts[f.Upstream]++
		}
		largest := slices.Max(slices.Collect(maps.Values(counts)))
		oldest := slices.IndexFunc(m.kept, func(f *failure.Failure) bool { return counts[f.Upstream] == largest })
		m.kept = slices.Delete(m.kept, oldest, oldest+1)
	}
}

func (m *model) resize(keep int) {
	m.keep = keep
	m.shrink()
}

func (m *model) newest(count int) (list []string) {
	for _, f := range slices.Backward(m.kept) {
		if len(list) < count {
			list = append(list, f.ID)
		}
	}
	return list
}

// Whatever is done, in whatever order, what is kept is what the model keeps.
func TestEntriesAgainstModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keepFor = time.Hour
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		j, m := New(10, keepFor), &model{keep: 10}
		upstreams := 1
		for n := range 5000 {
			did := ""
			switch random.IntN(50) {
			case 0:
				keep := random.IntN(40)
				did = fmt.Sprint("Resize to ", keep)
				j.Resize(keep, keepFor)
				j.Shrink()
				m.resize(keep)
			case 1:
				did = "Sweep"
				time.Sleep(time.Duration(random.IntN(40)) * time.Minute) // the bubble's clock
				j.Sweep(time.Now())
				m.kept = slices.DeleteFunc(m.kept, func(f *failure.Failure) bool { return time.Since(f.Time.Time) > keepFor })
			case 2:
				if random.IntN(10) == 0 {
					did = "Clear"
					j.Clear()
					m.kept = nil
				}
			case 3:
				upstreams = 1 + random.IntN(30)
			default:
				// Those with low numbers come more often. Some are as old as others long before.
				f := of(fmt.Sprint("u", random.IntN(1+random.IntN(upstreams))), n)
				f.Time = failure.At(f.Time.Add(-time.Duration(random.IntN(30)) * time.Minute))
				did = "Add " + f.ID
				j.Add(f)
				m.add(f)
			}
			limit := 1 + random.IntN(40)
			page := j.Query(failure.Query{Limit: limit})
			if got, want := ids(page), fmt.Sprint(m.newest(limit)); "["+got+"]" != want || (page.Next != "") != (len(m.kept) > limit) {
				t.Fatalf("seed %d, step %d, after %s, limit %d: got [%s] and next %q, want %s of %d", seed, n, did, limit, got, page.Next, want, len(m.kept))
			}
			counts := make(map[string]int)
			for name, s := range j.entries.shares {
				counts[name.Upstream] = s.count
			}
			if !maps.Equal(counts, kept(j)) || j.entries.count != len(m.kept) || len(j.entries.givingWay) != len(counts) {
				t.Fatalf("seed %d, step %d, after %s: the shares %v have %d, want %v and %d", seed, n, did, counts, j.entries.count, kept(j), len(m.kept))
			}
		}
	})
}

// Who polls in a storm that laps the ring again and again sees all that isn't of the storm,
// once and in its order: nobody is shown a later one before an earlier one is there.
func TestPollingInAStorm(t *testing.T) {
	const each, rareEach = 20_000, 20
	j := New(2*writers*each/rareEach, 0)
	after := cursor(t, j.Query(failure.Query{}).Newest)
	done := write(each, func(w, n int) {
		if n%rareEach == 0 {
			j.Add(of(fmt.Sprint("rare", w), n/rareEach))
		} else {
			j.Add(of("storm", n))
		}
	})
	next := make(map[string]int) // by rare upstream
	for last := false; !last; {
		last = closed(done)
		for more := true; more; {
			page := j.Query(failure.Query{After: after, Limit: 100})
			for _, f := range slices.Backward(page.Failures) {
				if f.Upstream == "storm" {
					continue
				}
				if want := fmt.Sprint(f.Upstream, "-", next[f.Upstream]); f.ID != want {
					t.Fatalf("%s came, want %s", f.ID, want)
				}
				next[f.Upstream]++
			}
			after = cursor(t, page.Newest)
			more = len(page.Failures) == 100
		}
	}
	for w := range writers {
		if got := next[fmt.Sprint("rare", w)]; got != each/rareEach {
			t.Errorf("of rare%d %d came, want %d", w, got, each/rareEach)
		}
	}
}

// Who reads the newest ones in a storm of one fingerprint sees them without a gap.
func TestReadingInAStorm(t *testing.T) {
	const size, keep, limit = 50_000, 20_000, 20
	j := New(keep, 0)
	for n := range keep {
		j.Add(of("storm", n))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range size {
			j.Add(of("storm", keep+n))
		}
	}()
	for last := false; !last; {
		last = closed(done)
		page := j.Query(failure.Query{Limit: limit})
		var newest int
		if _, err := fmt.Sscanf(page.Failures[0].ID, "storm-%d", &newest); err != nil {
			t.Fatal(err)
		}
		for i, f := range page.Failures {
			if want := fmt.Sprint("storm-", newest-i); f.ID != want {
				t.Fatalf("number %d is %s, want %s", i, f.ID, want)
			}
		}
		if len(page.Failures) != limit {
			t.Fatalf("got %d", len(page.Failures))
		}
	}
}

// What gave way or was forgotten while somebody looks at it is not taken out twice.
func TestTakenOutWhileSwept(t *testing.T) {
	j := New(2, 0)
	j.Add(of("a", 0))
	gone := j.entries.head.Load()
	j.Add(of("a", 1))
	j.Add(of("a", 2))
	forgotten := j.entries.head.Load()
	j.remove(gone)
	if got, want := ids(j.Query(failure.Query{})), "a-2 a-1"; got != want {
		t.Errorf("after one that gave way: got %q, want %q", got, want)
	}
	j.Clear()
	j.Add(of("a", 3))
	j.remove(forgotten)
	if got := ids(j.Query(failure.Query{})); got != "a-3" || j.entries.count != 1 || len(j.last) != 1 {
		t.Errorf("after one that was forgotten: got %q, %d are counted, of %d upstreams", got, j.entries.count, len(j.last))
	}
}

// A reader that is with one that gives way still finds all that is older.
func TestReadingOnFromOneThatGaveWay(t *testing.T) {
	j := New(5, 0)
	j.Add(of("old", 0))
	j.Add(of("old", 1))
	for n := range 3 {
		j.Add(of("a", n))
	}
	var seen []string
	for e := range j.kept() {
		seen = append(seen, e.failure.ID)
		if e.failure.ID == "a-1" {
			for n := range 10 { // a-0, a-1 and a-2 give way
				j.Add(of("a", 3+n))
			}
		}
	}
	if got, want := fmt.Sprint(seen), "[a-2 a-1 old-1 old-0]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A share goes on when its first record has given way, and keeps nothing of it.
func TestAShareKeepsNoRecord(t *testing.T) {
	j := New(3, 0)
	large := addLarge(j)
	for n := range 3 {
		j.Add(of("a", n))
	}
	if got := len(j.entries.shares); got != 1 {
		t.Fatalf("%d shares, want 1", got)
	}
	for deadline := time.Now().Add(5 * time.Second); large.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the first record's texts are still in memory")
		}
	}
	runtime.KeepAlive(j)
}

// addLarge adds a record whose fingerprint is a part of something large.
//
//go:noinline
func addLarge(j *Journal) weak.Pointer[[1 << 20]byte] {
	large := new([1 << 20]byte)
	f := of("a", 0)
	n := copy(large[:], f.Site+f.Upstream+f.Cause)
	text := unsafe.String(&large[0], n)
	f.Site, text = text[:len(f.Site)], text[len(f.Site):]
	f.Upstream, f.Cause = text[:len(f.Upstream)], text[len(f.Upstream):]
	j.Add(f)
	return weak.Make(large)
}
