package journal

import (
	"hash/maphash"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// keptDurations is how many of the last incidents of an upstream and a cause tell how long
// such a one usually lasts.
const keptDurations = 15

// lasted is how long the incidents of one upstream and cause have lasted. All of them that are
// kept have the same one, and it goes with the last of them: there are no more of these than
// of incidents.
type lasted struct {
	// median is that of durations, 0 where there are none.
	median atomic.Uint32
	// durations are those of the last ones that were resolved, in a ring; count is how many
	// there were, incidents how many are kept. Incidents.mu guards the three. All are in
	// seconds, as a Retry-After: what is over within half of one tells nobody to wait. What is
	// longer than 18 hours counts as that.
	durations [keptDurations]uint16
	incidents uint16
	count     uint32
	// atSite says that they are one site's: see lastedKey.
	atSite bool
}

// lastedKey is of what incidents have in common that last about as long: their upstream and
// their cause. Of an upstream that a config names that is so at every site. The others share
// no more than a name, that of a placeholder, or none where a whole pool could not be chosen
// from: their site counts as well. As a hash it takes a sixth of the memory, and that two of
// 1000 are the same happens once in 10^13 times, to no more than a wait.
func (f *fingerprint) lastedKey(atSite bool) uint64 {
	of := [...]string{f.Upstream, f.Cause, ""}
	if atSite {
		of[2] = f.Site
	}
	return maphash.Comparable(lastedSeed, of)
}

var lastedSeed = maphash.MakeSeed()

// add keeps the duration of one that was resolved. One that opens again counts once more, with
// the time since then.
func (l *lasted) add(duration time.Duration) {
	seconds := int64(duration.Round(time.Second) / time.Second)
	l.durations[l.count%keptDurations] = uint16(min(max(seconds, 0), math.MaxUint16)) //nolint:gosec // it is within
	l.count++
	sorted := l.durations // a copy
	known := sorted[:min(l.count, keptDurations)]
	slices.Sort(known)
	half := len(known) / 2
	median := known[half]
	if len(known)%2 == 0 {
		median = known[half-1] + (median-known[half-1])/2
	}
	l.median.Store(uint32(median))
}

// lastedFor gives what is known of incidents like a new one, for it to keep. The caller holds
// mu, as that of leaves.
func (s *Incidents) lastedFor(of *fingerprint, configured bool) *lasted {
	key := of.lastedKey(!configured)
	l := s.lasted[key]
	if l == nil {
		l = &lasted{atSite: !configured}
		if s.lasted == nil {
			s.lasted = make(map[uint64]*lasted)
		}
		s.lasted[key] = l
	}
	l.incidents++
	return l
}

// leaves is for an incident that is forgotten.
func (s *Incidents) leaves(i *incident) {
	if i.lasted.incidents--; i.lasted.incidents == 0 {
		delete(s.lasted, i.of.lastedKey(i.lasted.atSite))
	}
}

// Expected tells how long ones like an incident that is open usually last, from their first
// failure to their last one: the median of those that ended with an answer; and how much of
// that is left at a time. Both are 0 where none has ended so, and where it has lasted longer
// already. It takes no lock.
func (s *Incidents) Expected(id string, at time.Time) (left, usually time.Duration) {
	known, ok := s.byID.Load(id)
	if !ok {
		return 0, 0
	}
	i := known.(*incident)
	state := i.state.Load()
	usually = time.Duration(i.lasted.median.Load()) * time.Second
	left = usually - max(0, at.Sub(time.Unix(0, state.opened))) // a clock may go back
	if !state.open || left <= 0 {
		return 0, 0
	}
	return left, usually
}
