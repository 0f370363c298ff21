package journal

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Circumstances are those in which an attempt failed, to tell what has changed.
type Circumstances struct {
	// Start is when its request began.
	Start time.Time
	// Limits are those of the reverse_proxy that made it, Sampler has what worked at the same
	// site. Where one is nil, nothing is compared.
	Limits  *failure.Limits
	Sampler *Sampler
	Traits  Traits
	// Answered is what the upstream had done before.
	Answered Answered
	// Config is what is known of the configs that run, nil for nothing.
	Config *Config
}

// Answered is when an upstream answered well.
type Answered struct {
	// Known says that it is known whether it ever did.
	Known bool
	// Last is when it did last; the zero time for never. Since is from when on it is known to
	// have done so, the zero time where that isn't known.
	Since, Last time.Time
	// Asked is when the config was loaded that is the first one to ask it in this way, by its
	// protocol and whether by TLS; the zero time where the first config did.
	Asked time.Time
}

// Config is what is known of the running configs.
type Config struct {
	// Loaded is when the newest one was loaded, Before when the one was that ran before it;
	// the zero time where none did.
	Loaded, Before time.Time
	// Added is when the one was loaded that added the upstream; the zero time where the first
	// config had it, or none names it.
	Added time.Time
}

// began is what is known of the beginning of an incident.
type began struct {
	// start is when its first request began, success when the upstream last answered well
	// before that; the zero time for never.
	start, success time.Time
	// config is when the config was loaded with which it began, the zero time where it can't
	// be told that it did. added says that this one added the upstream, asked that it asks it
	// in another way; else it had answered well for the time of worked, and chance is that it
	// was none of the config's.
	config       time.Time
	added, asked bool
	worked       time.Duration
	chance       float64
}

// beganWith tells how an incident began. It is another one of the same fingerprint if one was
// over at the time that is given.
func beganWith(of *Circumstances, over time.Time) began {
	b := began{start: of.Start}
	if !of.Answered.Known {
		return b
	}
	b.success = of.Answered.Last
	config := of.Config
	switch {
	case config == nil, config.Before.IsZero(), config.Loaded.After(b.start):
		return b
	case b.success.IsZero():
		switch {
		case !config.Added.IsZero() && !config.Added.After(b.start):
			b.config, b.added = config.Added, true
		case !of.Answered.Asked.IsZero() && !of.Answered.Asked.After(b.start):
			b.config, b.asked = of.Answered.Asked, true
		}
		return b
	case of.Answered.Since.IsZero():
		return b
	}
	// It worked until the config was loaded, or broke some time after it had last worked:
	// had that come at any time since it is known to work, how likely was it that close?
	until := earlier(b.success, config.Loaded)
	from := later(later(of.Answered.Since, config.Before), later(config.Added, over))
	apart, worked := max(0, b.start.Sub(until)), until.Sub(from)
	if worked <= 0 {
		return b
	}
	if chance := chanceInTime(apart, worked); chance <= failure.MaxTimeChance {
		b.config, b.worked, b.chance = config.Loaded, worked, chance
	}
	return b
}

// chanceInTime is that of two things which have nothing to do with each other to come this
// close, where the one could have come at any time while it was watched for before.
func chanceInTime(apart, watched time.Duration) float64 {
	return max(apart.Seconds()/(apart+watched).Seconds(), leastChance)
}

// leastChance stands for all that is less: 0 says that it is not the question.
const leastChance = 1e-300

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// comparison compares what failed with what worked at the same time, through the same
// reverse_proxy.
type comparison struct {
	limits *failure.Limits
	// sampler is nil once the incident is over, so that it keeps no old config alive.
	sampler atomic.Pointer[Sampler]

	failed  [len(Compared)]tally
	leading [len(Compared)]atomic.Pointer[leading]

	// counted is nil until somebody has swept, or read.
	counted atomic.Pointer[counted]

	mu sync.Mutex // guards what follows, for those
	// since is when the first request that failed began, also after the incident had been
	// over, until up to when what worked is counted, both in Unix nanoseconds; count is how
	// many had failed by then.
	since, until int64
	count        uint64
	// rarity is the highest of the samples that were counted: all must stand for as many
	// requests.
	rarity uint16
}

// counted is what is known of those that worked. It is never changed.
type counted struct {
	worked [len(Compared)]worked
	addresses
	// server is nil where the Server field did not change when the incident began.
	server *serverChange
}

// addresses are how many a reverse_proxy reached, or could not reach, and of how many of these
// something fails now.
type addresses struct{ all, failing int32 }

// worked counts how many of those that worked have what most of those that failed have.
type worked struct{ hash, count, of uint32 }

// leading is what most of those that failed have.
type leading struct {
	hash uint32
	text string
}

type serverChange struct {
	before, now string
	chance      float64
}

// tally counts how many have which trait. A slot has a trait's hash in its upper half, and
// its count in the lower one. What finds no slot is counted in of alone.
type tally struct {
	slots [tallySlots]atomic.Uint64
	of    atomic.Uint32
}

// tallySlots is enough: what fewer than four of five have is never told, so that only those
// matter which are seen early.
const tallySlots = 5

// add counts one, and gives how many of how many have the same.
func (t *tally) add(hash uint32) (count, of uint32) {
	if of = t.of.Load(); of > math.MaxUint32/2 {
		return 0, of // they are enough
	}
	of = t.of.Add(1)
	for n := range t.slots {
		slot := &t.slots[n]
		for known := slot.Load(); known == 0 || hashIn(known) == hash; known = slot.Load() {
			next := known + 1
			if known == 0 {
				next = uint64(hash)<<countBits | 1
			}
			if slot.CompareAndSwap(known, next) {
				return uint32(next), of //nolint:gosec // the lower half
			}
		}
	}
	return 0, of
}

func hashIn(slot uint64) uint32 { return uint32(slot >> countBits) } //nolint:gosec // the upper half

// countOf is how many have this.
func (t *tally) countOf(hash uint32) uint32 {
	for n := range t.slots {
		if known := t.slots[n].Load(); hashIn(known) == hash {
			return uint32(known) //nolint:gosec // the lower half
		}
	}
	return 0
}

// addTo adds the hashes that it has to others.
func (t *tally) addTo(hashes map[uint32]bool) {
	for n := range t.slots {
		if known := t.slots[n].Load(); known != 0 {
			hashes[hashIn(known)] = true
		}
	}
}

// compare counts a sighting for the comparison of its incident.
func (i *incident) compare(seen *Sighting) {
	if seen.Limits == nil || seen.Sampler == nil {
		return
	}
	c := i.comparison.Load()
	if c == nil || c.limits != seen.Limits && c.over() {
		fresh := &comparison{limits: seen.Limits, since: seen.Start.UnixNano()}
		fresh.sampler.Store(seen.Sampler)
		if i.comparison.CompareAndSwap(c, fresh) {
			c = fresh
		} else {
			c = i.comparison.Load()
		}
	}
	if c.limits != seen.Limits {
		return // another reverse_proxy of the same site leads there, and is compared with nothing
	}
	if c.sampler.Load() == nil {
		c.again(seen)
	}
	if c.sampler.Load() != seen.Sampler {
		return // nor is what another handler of the site made, by a reverse_proxy of both
	}
	c.fail(&seen.Traits)
	seen.Sampler.Failing(seen.At)
}

// over says that nothing comes any more that could be counted.
func (c *comparison) over() bool {
	sampler := c.sampler.Load()
	return sampler == nil || sampler.closed.Load()
}

// again goes on where the incident had been over: what worked meanwhile is not counted.
func (c *comparison) again(seen *Sighting) {
	if !c.mu.TryLock() {
		return // a request doesn't wait for it; the next one does it
	}
	defer c.mu.Unlock()
	if c.sampler.Load() == nil {
		c.since = seen.Start.UnixNano()
		c.sampler.Store(seen.Sampler)
	}
}

// mostly is how many of those that failed must have something that is told: four of five.
func mostly(count, of uint32) bool { return uint64(count)*5 >= uint64(of)*4 }

func (c *comparison) fail(traits *Traits) {
	for n, text := range traits {
		if text == "" {
			continue
		}
		hash := hashOf(text)
		count, of := c.failed[n].add(hash)
		if known := c.leading[n].Load(); (known == nil || known.hash != hash) && mostly(count, of) {
			c.leading[n].Store(&leading{hash, strings.Clone(shown(text))})
		}
	}
}

// takeSamples counts what worked, up to the last failure.
func (i *incident) takeSamples(c *comparison, reached addresses) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count, until := i.count.Load(), i.last.Load()
	sampler := c.sampler.Load()
	if sampler == nil || count == c.count {
		return
	}
	var by counted
	if before := c.counted.Load(); before != nil {
		by = *before
	}
	var after [len(Compared)]int64
	for n := range after {
		after[n] = c.until
		if l := c.leading[n].Load(); l != nil && l.hash != by.worked[n].hash {
			by.worked[n], after[n] = worked{hash: l.hash}, 0 // from the beginning, as far as it is known
		}
	}
	upstream := hashOf(i.of.Upstream)
	sampler.each(c.limits, func(s *sample) {
		if s.at <= until {
			c.take(s, upstream, &by.worked, &after)
		}
	})
	c.until = max(c.until, until)
	c.count, by.addresses = count, reached
	if field, ok := sampler.serverOf(c.limits, upstream); ok && by.server == nil {
		by.server = field.changedAt(i.began.start.UnixNano())
	}
	c.counted.Store(&by)
}

// take counts a sample of what worked after these times. The caller holds mu.
func (c *comparison) take(s *sample, upstream uint32, counts *[len(Compared)]worked, after *[len(Compared)]int64) {
	if s.rarity > c.rarity {
		for n := range counts {
			counts[n].count >>= s.rarity - c.rarity
			counts[n].of >>= s.rarity - c.rarity
		}
		c.rarity = s.rarity
	}
	if !s.among(c.rarity) {
		return
	}
	for n, hash := range s.traits {
		switch w := &counts[n]; {
		case hash == 0, w.hash == 0, s.at <= after[n]:
		case n != TraitAddress && s.upstream != upstream:
		case n != TraitServer && s.at < c.since: // all others are compared at the same time alone
		default:
			w.of++
			if hash == w.hash {
				w.count++
			}
		}
	}
}

// changedAt says whether the field changed at this time, nil for no.
func (f *serverField) changedAt(at int64) *serverChange {
	if f.before.text == "" {
		return nil
	}
	// It was some time after the one came last, and before the other came first.
	apart := max(at-f.before.last, f.before.last-at, at-f.now.first, f.now.first-at)
	chance := chanceInTime(time.Duration(apart), time.Duration(f.before.last-f.before.first))
	if chance > failure.MaxTimeChance {
		return nil
	}
	return &serverChange{f.before.text, f.now.text, chance}
}

// takeSamples counts for all incidents that are open what worked meanwhile.
func (s *Incidents) takeSamples() {
	if s.open.Load() == 0 {
		return
	}
	var open []*incident
	reached := make(map[*failure.Limits]*addressSet)
	s.byID.Range(func(_, value any) bool {
		i := value.(*incident)
		c := i.comparison.Load()
		if c == nil || !i.state.Load().open {
			return true
		}
		open = append(open, i)
		if reached[c.limits] == nil {
			reached[c.limits] = &addressSet{c.sampler.Load(), make(map[uint32]bool)}
		}
		c.failed[TraitAddress].addTo(reached[c.limits].hashes)
		return true
	})
	counts := make(map[*failure.Limits]addresses, len(reached))
	for limits, set := range reached {
		counts[limits] = set.count(limits)
	}
	for _, i := range open {
		c := i.comparison.Load()
		if count, ok := counts[c.limits]; ok { // else it is another one by now
			i.takeSamples(c, count)
		}
	}
}

// addressSet are the addresses of a reverse_proxy of which something fails.
type addressSet struct {
	sampler *Sampler // nil where all of its incidents are just over
	hashes  map[uint32]bool
}

// count adds those that it reached to them.
func (s *addressSet) count(limits *failure.Limits) addresses {
	failing := len(s.hashes)
	if s.sampler != nil {
		s.sampler.each(limits, func(kept *sample) {
			if address := kept.traits[TraitAddress]; address != 0 {
				s.hashes[address] = true
			}
		})
	}
	return addresses{int32(len(s.hashes)), int32(failing)} //nolint:gosec // there are few
}

// changes is what is said of it: what it began with, then what those that failed have, the
// least likely first.
func (i *incident) changes() []failure.Change {
	changes := append(make([]failure.Change, 0, 2), i.began.tell()...)
	c := i.comparison.Load()
	if c == nil {
		return changes
	}
	by := c.counted.Load()
	if by == nil {
		return changes
	}
	var shares []failure.Change
	for n := range Compared {
		if change, ok := c.tell(n, by); ok {
			shares = append(shares, change)
		}
	}
	slices.SortStableFunc(shares, func(a, b failure.Change) int { return cmp.Compare(a.Chance, b.Chance) })
	return append(changes, shares...)
}

func (b *began) tell() (changes []failure.Change) {
	change := func(kind failure.ChangeKind, at time.Time, chance float64, summary string, with ...any) {
		after := math.Round(max(0, b.start.Sub(at)).Seconds()*1000) / 1000
		changes = append(changes, failure.Change{
			Kind: kind, Value: failure.At(at).String(), Summary: fmt.Sprintf(summary, with...), BeganAfterS: &after, Chance: significant(chance),
		})
	}
	switch at := b.config; {
	case b.asked:
		change(failure.ChangeConfig, at, 0, "Since the config of %s, which asks this upstream in another way: it had not answered that well before.", moment(at))
	case b.added:
		change(failure.ChangeConfig, at, 0, "Since the config of %s, which added this upstream: it had not answered well before.", moment(at))
	case !at.IsZero():
		change(failure.ChangeConfig, at, b.chance, "Since the config of %s: it began %s after that was loaded. Before, this upstream had answered well for %s.", moment(at), lasting(b.start.Sub(at)), lasting(b.worked))
	}
	switch at := b.success; {
	case at.IsZero():
	case at.After(b.start):
		change(failure.ChangeLastSuccess, at, 0, "This upstream last answered well at %s, while the first request that failed was under way.", moment(at))
	default:
		change(failure.ChangeLastSuccess, at, 0, "This upstream last answered well at %s, %s before the first request that failed.", moment(at), lasting(b.start.Sub(at)))
	}
	return changes
}

// tell tells of a trait; ok where it is more than chance, and much.
func (c *comparison) tell(n int, by *counted) (change failure.Change, ok bool) {
	if s := by.server; n == TraitServer && s != nil {
		return failure.Change{
			Kind: failure.ChangeServer, Value: s.now, Chance: significant(s.chance),
			Summary: fmt.Sprintf("Since the upstream's answers changed their Server field from %q to %q.", s.before, s.now),
		}, true
	}
	leading := c.leading[n].Load()
	if leading == nil {
		return change, false
	}
	count, worked := c.failed[n].countOf(leading.hash), by.worked[n]
	shares := failure.Shares{FailedCount: count, FailedOf: c.failed[n].of.Load(), WellCount: worked.count, WellOf: worked.of}
	if worked.hash != leading.hash || !mostly(count, shares.FailedOf) || !lessThanHalf(&shares) {
		return change, false
	}
	chance := chanceOf(&shares)
	if chance > failure.MaxChance {
		return change, false
	}
	return failure.Change{Kind: Compared[n], Value: leading.text, Shares: &shares, Chance: significant(chance), Summary: by.summary(n, leading.text, &shares)}, true
}

// lessThanHalf says that what worked has it at most half as often as what failed.
func lessThanHalf(s *failure.Shares) bool {
	return 2*uint64(s.WellCount)*uint64(s.FailedOf) <= uint64(s.FailedCount)*uint64(s.WellOf)
}

// summary says it in one sentence.
func (c *counted) summary(n int, value string, s *failure.Shares) string {
	only := "Only"
	if s.FailedCount < s.FailedOf {
		only = "Mostly"
	}
	what, fails := value, "fails"
	proof := fmt.Sprintf("%d of %d failures, %d of %d requests that went well", s.FailedCount, s.FailedOf, s.WellCount, s.WellOf)
	if n != TraitServer { // which is compared with those before, too
		proof += " at the same time"
	}
	switch n {
	case TraitHost:
		what = "the host " + strconv.Quote(value)
	case TraitProtocol:
		what, fails = "requests that came by "+value, "fail"
	case TraitConnection:
		what, fails = value+" connections", "fail"
	case TraitServer:
		what, fails = "answers with the Server field "+strconv.Quote(value), "fail"
	case TraitAddress:
		if c.failing > 1 {
			return fmt.Sprintf("%s is one of %d addresses that fail, of %d: %s.", value, c.failing, c.all, proof)
		}
		what = fmt.Sprintf("%s of %d addresses", value, c.all)
	}
	return fmt.Sprintf("%s %s %s: %s.", only, what, fails, proof)
}

// chanceOf is how likely it is that at least as many of those that failed have it, if those
// that have it are dealt out among all by chance (Fisher's exact test, one-sided). That would
// take each for one that has nothing to do with the others; but failures come in storms of
// the same, so that no more of them count than went well.
func chanceOf(s *failure.Shares) float64 {
	failed, well, count := float64(s.FailedOf), float64(s.WellOf), float64(s.FailedCount)
	if failed > well {
		failed, count = well, math.Floor(count*well/failed)
	}
	having, all := count+float64(s.WellCount), failed+well
	term := math.Exp(logChoose(having, count) + logChoose(all-having, failed-count) - logChoose(all, failed))
	sum := term
	for ; count < min(having, failed) && term > sum*1e-9; count++ {
		term *= (having - count) * (failed - count) / ((count + 1) * (all - having - failed + count + 1))
		sum += term
	}
	return max(min(sum, 1), leastChance)
}

// logChoose is the logarithm of how many ways there are to choose so many of all.
func logChoose(all, chosen float64) float64 {
	log := func(n float64) float64 { value, _ := math.Lgamma(n + 1); return value }
	return log(all) - log(chosen) - log(all-chosen)
}

// significant rounds a probability to two digits; one that is too small for a number is the
// smallest.
func significant(chance float64) float64 {
	if chance == 0 {
		return 0
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(chance, 'e', 1, 64), 64)
	if err != nil {
		return chance
	}
	return rounded
}

func moment(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// lasting is how long something took, as people say it.
func lasting(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
