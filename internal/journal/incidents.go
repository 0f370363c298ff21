package journal

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// How long it takes until an incident is over, and until it is another one.
const (
	calm, silence = failure.IncidentCalm, failure.IncidentSilence
	// again is within which a resolved one is reopened.
	again = 10 * time.Minute
	// sameAnswer is how much later than a failure an answer may seem to have come that was
	// the failure itself: a 503, or one that broke off.
	sameAnswer = time.Millisecond
	// maxIncidents bounds how many are kept, open and resolved ones.
	maxIncidents = 1000
	// maxSummary and maxAdvice bound an incident's words, in bytes. Where its site and its
	// upstream together are longer than usualNames, its advice is shorter by that.
	maxSummary = 480
	maxAdvice  = 640
	usualNames = 192
	// maxAnswering bounds how many upstreams behind one name are asked whether they have
	// answered again, as those of a dynamic source.
	maxAnswering = 8
)

// Answering tells when an upstream answered last, with whatever status, and when the last
// answer was over that was whole and no error; the zero time for never.
type Answering interface {
	LastAnswer() time.Time
	LastSuccess() time.Time
}

// Sighting is that a request met an incident.
type Sighting struct {
	// Of has what an incident says of itself: ID, Site, Upstream, Cause, ProxyError, Phase,
	// Side, Summary and Advice.
	Of failure.Incident
	// Outcome is how the request ended, Failure the id of its record, At when it was over.
	Outcome failure.Outcome
	Failure string
	At      time.Time
	// By is the upstream that failed, nil where it isn't known or was none alone.
	By Answering
	// Configured says that a running config names the upstream.
	Configured bool
	Circumstances
}

// Incidents keeps what goes wrong. Its zero value is ready; any number of goroutines may
// use it. Who reads it takes no lock that a request waits for.
type Incidents struct {
	byID sync.Map // of *incident, by its id
	// mu is held by what makes, opens, resolves or forgets an incident: not while one is
	// open and goes on.
	mu   sync.Mutex
	kept int
	// lasted is how long those of an upstream and a cause have lasted.
	lasted  map[uint64]*lasted // by its lastedKey
	open    atomic.Int64
	dropped atomic.Uint64
}

// incident is one of them. What changes while it is open is atomic.
type incident struct {
	of     fingerprint // which never changes, nor does lasted
	lasted *lasted
	words  atomic.Pointer[incidentWords]
	state  atomic.Pointer[incidentState]

	count    atomic.Uint64
	outcomes [outcomes]atomic.Uint64
	first    atomic.Int64 // in Unix nanoseconds, as last
	last     atomic.Int64
	// seen is last again, since the process began: this one is compared with what came later.
	// A clock that is set doesn't change it.
	seen atomic.Int64
	// minutes has the count of the minute m at m % 60, with m in its upper half.
	minutes [failure.HistoryMinutes]atomic.Uint64
	// samples are the first ones, then the last ones in a ring.
	samples [failure.MaxSamples]atomic.Pointer[sampleID]
	sampled atomic.Uint64

	answering [maxAnswering]atomic.Pointer[Answering]

	began      began // never changes either
	comparison atomic.Pointer[comparison]
	// probes are the last ones, newest last, and are not changed; nil for none.
	probes atomic.Pointer[[]failure.Probe]
}

// processBegan is when the process did.
var processBegan = time.Now()

// fingerprint is which incident it is.
type fingerprint struct{ ID, Site, Upstream, Cause, ProxyError string }

const outcomes = 5

type incidentWords struct {
	summary, advice string
	phase           failure.Phase
	side            failure.Side
}

type incidentState struct {
	open       bool
	configured bool
	reopened   int
	// opened is when it failed first, or first since it was resolved, in Unix nanoseconds.
	opened     int64
	resolvedAt time.Time
	resolvedBy failure.Resolution
}

// See counts a sighting. It says whether it opened an incident, or opened one again.
func (s *Incidents) See(seen Sighting) (opened *failure.Incident) {
	known, ok := s.byID.Load(seen.Of.ID)
	if ok {
		i := known.(*incident)
		if state := i.state.Load(); state.open {
			i.see(&seen)
			// Where it was resolved meanwhile, it was a failure too many for that.
			if i.state.Load() == state {
				return nil
			}
			return s.openFor(&seen, i)
		}
	}
	return s.openFor(&seen, nil)
}

// openFor makes an incident, or opens a resolved one again. counted is the one that counts
// the sighting already, nil for none.
func (s *Incidents) openFor(seen *Sighting, counted *incident) *failure.Incident {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.byID.Load(seen.Of.ID)
	var i *incident
	if ok {
		i = known.(*incident)
	}
	switch {
	case i == nil:
		if !s.room() {
			s.dropped.Add(1)
			return nil
		}
		i = s.newIncident(seen, time.Time{})
		s.byID.Store(i.of.ID, i)
		s.kept++
	case i.state.Load().open: // another goroutine was faster
		if i != counted {
			i.see(seen)
		}
		return nil
	case seen.At.Sub(i.state.Load().resolvedAt) <= again:
		i.state.Store(&incidentState{open: true, opened: seen.At.UnixNano(), configured: seen.Configured, reopened: i.state.Load().reopened + 1})
		if i != counted {
			i.see(seen)
		}
	default: // it is another one, of the same fingerprint
		before := i
		i = s.newIncident(seen, before.state.Load().resolvedAt)
		s.byID.Store(i.of.ID, i)
		s.leaves(before) // after i has what is known
	}
	s.open.Add(1)
	told := i.tell(seen.At)
	return &told
}

// room makes room for one more: for it the one that was resolved first is forgotten.
// The caller holds mu.
func (s *Incidents) room() bool {
	if s.kept < maxIncidents {
		return true
	}
	if int(s.open.Load()) >= s.kept { // nobody looks through them in vain, in a storm
		return false
	}
	var oldest *incident
	s.byID.Range(func(_, value any) bool {
		i := value.(*incident)
		if state := i.state.Load(); !state.open && (oldest == nil || state.resolvedAt.Before(oldest.state.Load().resolvedAt)) {
			oldest = i
		}
		return true
	})
	if oldest == nil {
		return false
	}
	s.byID.Delete(oldest.of.ID)
	s.leaves(oldest)
	s.kept--
	return true
}

// newIncident begins one; another of the same fingerprint may have been over at the time
// that is given. What it keeps is its own: a record's texts are of one piece. The caller holds
// mu.
func (s *Incidents) newIncident(seen *Sighting, over time.Time) *incident {
	i := &incident{of: fingerprint{
		ID: strings.Clone(seen.Of.ID), Site: strings.Clone(seen.Of.Site), Upstream: strings.Clone(seen.Of.Upstream),
		Cause: strings.Clone(seen.Of.Cause), ProxyError: strings.Clone(seen.Of.ProxyError),
	}, began: beganWith(&seen.Circumstances, over)}
	i.lasted = s.lastedFor(&i.of, seen.Configured)
	i.state.Store(&incidentState{open: true, opened: seen.At.UnixNano(), configured: seen.Configured})
	i.first.Store(seen.At.UnixNano())
	i.seen.Store(int64(seen.At.Sub(processBegan)))
	i.see(seen)
	return i
}

// see counts a sighting of an incident that is open.
func (i *incident) see(seen *Sighting) {
	i.count.Add(1)
	if n := slices.Index(failure.Outcomes, seen.Outcome); n >= 0 {
		i.outcomes[n].Add(1)
	}
	raise(&i.last, seen.At.UnixNano())
	raise(&i.seen, int64(seen.At.Sub(processBegan)))
	i.countMinute(minuteOf(seen.At))
	i.sample(seen.Failure)
	i.say(seen.Of)
	i.remember(seen.By)
	i.compare(seen)
}

// raise stores what is more.
func raise(to *atomic.Int64, value int64) {
	for known := to.Load(); value > known && !to.CompareAndSwap(known, value); known = to.Load() {
	}
}

const countBits = 32

func minuteOf(at time.Time) int64 { return at.UnixMilli() / time.Minute.Milliseconds() }

func (i *incident) countMinute(minute int64) {
	slot := &i.minutes[minute%failure.HistoryMinutes]
	for {
		known := slot.Load()
		next := known + 1
		if int64(known>>countBits) < minute {
			next = uint64(minute)<<countBits | 1
		}
		if int64(known>>countBits) > minute || slot.CompareAndSwap(known, next) {
			return
		}
	}
}

// sample keeps the ids of the first failures and of the last ones.
func (i *incident) sample(id string) {
	const half = failure.MaxSamples / 2
	n := i.sampled.Add(1) - 1
	if n >= half {
		n = half + (n-half)%half
	}
	i.samples[n].Store(newSampleID(id))
}

// sampleID is a failure's id, in one piece of memory where it is one of ours or Caddy's:
// their nine letters. It is kept for each failure of a storm.
type sampleID struct {
	letters [9]byte
	other   string
}

func newSampleID(id string) *sampleID {
	s := new(sampleID)
	if len(id) == len(s.letters) {
		copy(s.letters[:], id)
	} else {
		s.other = strings.Clone(id)
	}
	return s
}

func (s *sampleID) String() string {
	if s.letters[0] == 0 {
		return s.other
	}
	return string(s.letters[:])
}

// say keeps the words of the last failure, where they are others: mostly they are the
// same as before.
func (i *incident) say(of failure.Incident) {
	if of.Summary == "" {
		return
	}
	known := i.words.Load()
	advice := max(0, maxAdvice-max(0, len(i.of.Site)+len(i.of.Upstream)-usualNames))
	words := incidentWords{shorten(of.Summary, maxSummary), shorten(of.Advice, advice), of.Phase, of.Side}
	if known != nil && *known == words {
		return
	}
	words.summary, words.advice = strings.Clone(words.summary), strings.Clone(words.advice)
	i.words.Store(&words)
}

func shorten(words string, cut int) string {
	if len(words) <= cut {
		return words
	}
	for cut > 0 && words[cut]>>6 == 0b10 { // not within a letter
		cut--
	}
	return words[:cut]
}

// remember keeps who failed, to be asked whether it answers again.
func (i *incident) remember(by Answering) {
	if by == nil {
		return
	}
	for n := range i.answering {
		known := i.answering[n].Load()
		if known != nil && *known == by {
			return
		}
		if known == nil {
			if kept := by; i.answering[n].CompareAndSwap(nil, &kept) { // allocated here alone
				return
			}
		}
	}
}

// answeredSince says that one of those that failed has answered well after a time: where
// its answers are what failed, with a whole one that is no error. now are those that a
// running config asks under its name. Where none of these is among those that failed, they
// count instead: it was mended in the config, and is asked in another way, as over TLS.
func (i *incident) answeredSince(since time.Time, now []Answering) bool {
	words := i.words.Load()
	answers := words != nil && (words.phase == failure.PhaseHeaders || words.phase == failure.PhaseBody)
	answered := func(by Answering) bool {
		last := by.LastSuccess()
		if !answers {
			last = by.LastAnswer()
		}
		return last.After(since.Add(sameAnswer))
	}
	known, asked := 0, false
	for ; known < len(i.answering) && i.answering[known].Load() != nil; known++ {
		by := *i.answering[known].Load()
		if answered(by) {
			return true
		}
		asked = asked || slices.Contains(now, by)
	}
	return known > 0 && !asked && slices.ContainsFunc(now, answered)
}

// Remember adds one that may answer again to an incident of several.
func (s *Incidents) Remember(id string, by Answering) {
	if known, ok := s.byID.Load(id); ok {
		known.(*incident).remember(by)
	}
}

// Resolved is an incident that is over.
type Resolved struct {
	failure.Incident
	// Lasted is from the failure with which it opened, or opened again, to the last one.
	Lasted time.Duration
}

// Configured tells whether a running config names an upstream, and who is asked under that
// name, as far as it is known who answers there.
type Configured func(upstream string) (named bool, asked []Answering)

// Sweep resolves what is over, and gives it. What was resolved more than keepFor ago is
// forgotten; with 0 nothing is.
func (s *Incidents) Sweep(now time.Time, keepFor time.Duration, configured Configured) (resolved []Resolved) {
	s.takeSamples()
	s.byID.Range(func(_, value any) bool {
		i := value.(*incident)
		if state := i.state.Load(); !state.open {
			if keepFor > 0 && now.Sub(state.resolvedAt) > keepFor {
				s.forget(i)
			}
			return true
		}
		if r, over := s.resolve(i, now, configured); over {
			resolved = append(resolved, r)
		}
		return true
	})
	slices.SortFunc(resolved, func(a, b Resolved) int { return byFirstSeen(a.Incident, b.Incident) })
	return resolved
}

func (s *Incidents) forget(i *incident) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !i.state.Load().open && s.byID.CompareAndDelete(i.of.ID, i) {
		s.leaves(i)
		s.kept--
	}
}

// resolve resolves an incident that is over.
func (s *Incidents) resolve(i *incident, now time.Time, configured Configured) (r Resolved, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := i.state.Load()
	seen := i.seen.Load()
	last := processBegan.Add(time.Duration(seen))
	by := failure.Resolution("")
	named, asked := configured(i.of.Upstream)
	switch kept, _ := s.byID.Load(i.of.ID); {
	case !state.open, kept != any(i): // or Clear was faster
	case state.configured && !named:
		by = failure.ResolvedByConfig
	case now.Sub(last) >= calm && i.answeredSince(last, asked):
		by = failure.ResolvedByAnswer
	case now.Sub(last) >= silence:
		by = failure.ResolvedBySilence
	}
	if by == "" {
		return r, false
	}
	i.state.Store(&incidentState{opened: state.opened, configured: state.configured, reopened: state.reopened, resolvedAt: now, resolvedBy: by})
	if i.seen.Load() != seen { // meanwhile
		i.state.Store(state)
		return r, false
	}
	s.open.Add(-1)
	lasted := max(0, time.Duration(i.last.Load()-state.opened))
	if by == failure.ResolvedByAnswer { // else nobody knows when it would have been over
		i.lasted.add(lasted)
	}
	if c := i.comparison.Load(); c != nil {
		c.sampler.Store(nil)
	}
	return Resolved{i.tell(now), lasted}, true
}

// tell is what is said of an incident.
func (i *incident) tell(now time.Time) (told failure.Incident) {
	state := i.state.Load()
	told = failure.Incident{ID: i.of.ID, Site: i.of.Site, Upstream: i.of.Upstream, Cause: i.of.Cause, ProxyError: i.of.ProxyError}
	if words := i.words.Load(); words != nil {
		told.Summary, told.Advice, told.Phase, told.Side = words.summary, words.advice, words.phase, words.side
	}
	told.State, told.ReopenedCount = failure.IncidentOpen, state.reopened
	if !state.open {
		at := failure.At(state.resolvedAt)
		told.State, told.ResolvedAt, told.ResolvedBy = failure.IncidentResolved, &at, state.resolvedBy
	}
	told.Count = i.count.Load()
	told.Outcomes = make(map[failure.Outcome]uint64, outcomes)
	for n, outcome := range failure.Outcomes {
		told.Outcomes[outcome] = i.outcomes[n].Load()
	}
	first, last := time.Unix(0, i.first.Load()), time.Unix(0, i.last.Load())
	told.FirstSeen, told.LastSeen = failure.At(first), failure.At(last)
	told.DurationS = max(0, last.Sub(first).Round(time.Millisecond).Seconds())
	minute := minuteOf(now)
	for n := range i.minutes {
		known := i.minutes[n].Load()
		if ago := minute - int64(known>>countBits); ago >= 0 && ago < failure.HistoryMinutes {
			told.PerMinute[failure.HistoryMinutes-1-ago] = uint32(known) //nolint:gosec // the lower half
		}
	}
	told.Samples = i.sampleIDs()
	told.Changes = i.changes()
	told.Probes = []failure.Probe{}
	if probes := i.probes.Load(); probes != nil {
		told.Probes = append(told.Probes, *probes...)
	}
	return told
}

func (i *incident) sampleIDs() []string {
	const half = failure.MaxSamples / 2
	ids := make([]string, 0, failure.MaxSamples)
	add := func(n uint64) {
		if id := i.samples[n].Load(); id != nil {
			ids = append(ids, id.String())
		}
	}
	n := i.sampled.Load()
	for k := range min(n, half) {
		add(k)
	}
	for k := max(n, 2*half) - half; k < n; k++ { // oldest first
		add(half + (k-half)%half)
	}
	return ids
}

// Probed keeps a probe with the incidents of its upstream, open and resolved ones, each of
// which keeps the last failure.MaxProbes.
func (s *Incidents) Probed(p failure.Probe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID.Range(func(_, value any) bool {
		i := value.(*incident)
		if i.of.Upstream != p.Upstream {
			return true
		}
		var kept []failure.Probe
		if before := i.probes.Load(); before != nil {
			kept = append(kept, (*before)[max(0, len(*before)-failure.MaxProbes+1):]...)
		}
		kept = append(kept, p)
		i.probes.Store(&kept)
		return true
	})
}

// List gives all incidents: open ones first, of each kind those first that began last.
func (s *Incidents) List(now time.Time) []failure.Incident {
	s.takeSamples()
	list := []failure.Incident{}
	s.byID.Range(func(_, value any) bool {
		list = append(list, value.(*incident).tell(now))
		return true
	})
	slices.SortFunc(list, func(a, b failure.Incident) int {
		return cmp.Or(cmp.Compare(a.State, b.State), byFirstSeen(b, a))
	})
	return list
}

func byFirstSeen(a, b failure.Incident) int {
	return cmp.Or(a.FirstSeen.Compare(b.FirstSeen.Time), cmp.Compare(a.ID, b.ID))
}

// Get gives one incident.
func (s *Incidents) Get(id string, now time.Time) (failure.Incident, bool) {
	known, ok := s.byID.Load(id)
	if !ok {
		return failure.Incident{}, false
	}
	s.takeSamples()
	return known.(*incident).tell(now), true
}

// Counts says how many incidents are open, and how many sightings were of none because too
// many were open.
func (s *Incidents) Counts() (open int, dropped uint64) {
	return int(s.open.Load()), s.dropped.Load()
}

// Clear forgets all incidents.
func (s *Incidents) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID.Clear()
	clear(s.lasted)
	s.kept = 0
	s.open.Store(0)
}
