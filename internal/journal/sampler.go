package journal

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Traits are what is compared of attempts; "" for what isn't known, or proves nothing.
type Traits [len(Compared)]string

// Where which is in Traits.
const (
	TraitMethod = iota
	TraitHost
	TraitProtocol
	TraitConnection
	TraitAddress
	TraitServer
)

// Compared is what each trait is called.
var Compared = [...]failure.ChangeKind{
	TraitMethod: failure.ChangeMethod, TraitHost: failure.ChangeHost, TraitProtocol: failure.ChangeProtocol,
	TraitConnection: failure.ChangeConnection, TraitAddress: failure.ChangeAddress, TraitServer: failure.ChangeServer,
}

const (
	// maxSampled is how many attempts that worked a Sampler keeps.
	maxSampled = 256
	// leastSpan is how long ago the first of these was, at least: where they come faster, fewer
	// are taken.
	leastSpan = time.Minute
	// longGap is after how long without a sample more are taken. Where maxSampled come in
	// leastSpan, a gap of this length doesn't come by chance.
	longGap = leastSpan / 16
	// maxRarity is that of which at most one of 2^maxRarity requests is a sample.
	maxRarity = 31
	// maxServers bounds of how many upstreams it is known what their Server field was.
	maxServers = 64
	// maxTrait bounds a trait that is shown, in bytes.
	maxTrait = 64
)

// Worked is an attempt that worked.
type Worked struct {
	At       time.Time
	Upstream string
	// Limits are those of the reverse_proxy that made it.
	Limits *failure.Limits
	Traits Traits
}

// Sampler keeps some of the attempts that worked at one site: all of them where requests are
// few, and fewer of each number where they are many, so that it always has some of the last
// minutes. Its zero value is ready; any number of goroutines may use it.
type Sampler struct {
	// rarity says that one of 2^rarity requests is a sample.
	rarity atomic.Uint32
	last   atomic.Int64 // when there was one, in Unix nanoseconds
	closed atomic.Bool

	mu      sync.Mutex // nobody waits for it while a request does
	kept    []sample   // oldest first
	servers []serverField
}

// sample is what is kept of an attempt that worked. Its texts are hashed: they are only
// compared.
type sample struct {
	at       int64
	limits   *failure.Limits
	traits   [len(Compared)]uint32
	upstream uint32
	rarity   uint16
	lot      uint16 // drawn by chance
}

// among says whether it is one where one of 2^rarity requests is a sample, which is fewer
// than there were when it was taken.
func (s *sample) among(rarity uint16) bool { return s.lot<<(16-min(rarity-s.rarity, 16)) == 0 }

// serverField is what an upstream's answers said of who gave them, and before that.
type serverField struct {
	limits      *failure.Limits
	upstream    uint32
	now, before serverSpan
}

// serverSpan is when which text came first, and last.
type serverSpan struct {
	text        string
	first, last int64
}

// Wants says whether the next request is to be a sample.
func (s *Sampler) Wants() bool {
	rarity := s.rarity.Load()
	return rarity == 0 || rand.Uint64()<<(64-rarity) == 0
}

// Add takes an attempt of a sample.
func (s *Sampler) Add(w *Worked) {
	if !s.mu.TryLock() {
		return // a request doesn't wait for it
	}
	defer s.mu.Unlock()
	at := w.At.UnixNano()
	if last := s.last.Swap(at); last != 0 {
		for gap := at - last; gap > int64(longGap) && s.takeMore(); gap /= 2 {
		}
	}
	if len(s.kept) == maxSampled {
		switch span := time.Duration(at - s.kept[0].at); {
		case span < leastSpan/64: // by far too many
			s.thin(3)
		case span < leastSpan:
			s.thin(1)
		default:
			s.kept = append(s.kept[:0], s.kept[1:]...)
		}
	}
	kept := sample{at: at, limits: w.Limits, upstream: hashOf(w.Upstream), rarity: uint16(s.rarity.Load()), lot: uint16(rand.Uint32())} //nolint:gosec // see maxRarity
	for n, text := range w.Traits {
		kept.traits[n] = hashOf(text)
	}
	s.kept = append(s.kept, kept)
	if server := w.Traits[TraitServer]; server != "" {
		s.serverSaid(&kept, server)
	}
}

// takeMore makes twice as many requests samples, if that can be.
func (s *Sampler) takeMore() bool {
	rarity := s.rarity.Load()
	return rarity > 0 && s.rarity.CompareAndSwap(rarity, rarity-1)
}

// thin leaves one of 2^by samples, and makes one of as many requests a sample that were
// before. The caller holds mu.
func (s *Sampler) thin(by uint32) {
	s.rarity.Store(min(s.rarity.Load()+by, maxRarity))
	each, left := 1<<by, s.kept[:0]
	for n := each - 1; n < len(s.kept); n += each {
		kept := s.kept[n]
		kept.rarity += uint16(by) //nolint:gosec // it is small
		left = append(left, kept)
	}
	s.kept = left
}

// Failing hears that something fails at the site: where few requests go well, each of them
// is worth more then.
func (s *Sampler) Failing(at time.Time) {
	if s.rarity.Load() > 0 && at.UnixNano()-s.last.Load() > int64(longGap) {
		s.takeMore()
	}
}

// Close says that no request comes any more.
func (s *Sampler) Close() { s.closed.Store(true) }

// serverSaid keeps which Server field came. The caller holds mu.
func (s *Sampler) serverSaid(kept *sample, text string) {
	text = shown(text)
	for n := range s.servers {
		field := &s.servers[n]
		if field.limits != kept.limits || field.upstream != kept.upstream {
			continue
		}
		if field.now.text != text {
			field.before, field.now = field.now, serverSpan{text: strings.Clone(text), first: kept.at}
		}
		field.now.last = kept.at
		return
	}
	if len(s.servers) < maxServers {
		s.servers = append(s.servers, serverField{
			limits: kept.limits, upstream: kept.upstream, now: serverSpan{text: strings.Clone(text), first: kept.at, last: kept.at},
		})
	}
}

// each goes through the samples of one reverse_proxy, oldest first. do must not wait.
func (s *Sampler) each(limits *failure.Limits, do func(*sample)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.kept {
		if s.kept[n].limits == limits {
			do(&s.kept[n])
		}
	}
}

// serverOf is what is known of an upstream's Server field.
func (s *Sampler) serverOf(limits *failure.Limits, upstream uint32) (field serverField, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.servers, func(f serverField) bool { return f.limits == limits && f.upstream == upstream })
	if n < 0 {
		return field, false
	}
	return s.servers[n], true
}

var seed = maphash.MakeSeed()

// hashOf is never 0 but for "".
func hashOf(text string) uint32 {
	if text == "" {
		return 0
	}
	return uint32(maphash.String(seed, text)) | 1 //nolint:gosec // the lower half
}

// shown is a trait as it is shown: it may be what anybody sent.
func shown(text string) string {
	const cutMark = "…"
	text = strings.ToValidUTF8(failure.Visible(text), "�")
	if len(text) <= maxTrait {
		return text
	}
	return shorten(text, maxTrait-len(cutMark)) + cutMark
}
