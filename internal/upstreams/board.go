package upstreams

import (
	"cmp"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Board knows the upstreams of one config. It is made when that is loaded and doesn't
// change; how they are is read from them each time.
type Board struct {
	loaded time.Time // as precise as what is compared with it, to the millisecond
	rows   []boardRow
}

// boardRow is an upstream of one reverse_proxy, or its dynamic source.
type boardRow struct {
	via      *selection
	upstream *reverseproxy.Upstream // nil for the source
	server   string
	sites    []string
}

// add adds what a reverse_proxy of a server leads to, on the way from sites; "" stands for
// the server's own name.
func (b *Board) add(via *selection, server string, sites []string) {
	named := make([]string, 0, len(sites))
	for _, site := range sites {
		named = append(named, cmp.Or(site, server))
	}
	for _, upstream := range via.proxy.Upstreams {
		b.rows = append(b.rows, boardRow{via, upstream, server, named})
	}
	if via.source != "" {
		b.rows = append(b.rows, boardRow{via, nil, server, named})
	}
}

// Names are the upstreams that the config names, as records have them.
func (b *Board) Names() []string {
	names := make([]string, 0, len(b.rows))
	for i := range b.rows {
		names = append(names, b.rows[i].name())
	}
	return names
}

// Pasts are those of the upstreams that the config itself names, by this name, as far as
// somebody keeps them.
func (b *Board) Pasts() iter.Seq2[string, *listen.Past] {
	return func(yield func(string, *listen.Past) bool) {
		for i := range b.rows {
			row := &b.rows[i]
			if past := row.via.pasts[row.upstream]; past != nil && !yield(row.name(), past) {
				return
			}
		}
	}
}

func (row *boardRow) name() string {
	if row.upstream == nil {
		return row.via.source
	}
	return row.upstream.Dial
}

// State is how an upstream is, as far as its reverse_proxy and its past tell: failures,
// incidents and warnings are others' to add, and words for what its check got.
type State struct {
	failure.UpstreamState
	Settings *failure.Limits
	// Check knows how its active check goes; nil where none does, or it doesn't fail.
	Check *listen.Check
	// Loaded is when the newest config was loaded that names it.
	Loaded time.Time
	// NeverGave says that it is a source that was asked and has given nothing since then.
	NeverGave bool
	// Unheard says that nobody keeps whether it has answered: too many others are known.
	Unheard bool
}

// States are those of the upstreams of several configs, by name. Who is reached in one way
// and under the same settings is one, however many handlers and configs lead to it.
func States(boards ...*Board) []State {
	byName := make(map[string][]State)
	for _, b := range boards {
		for i := range b.rows {
			name := b.rows[i].name()
			byName[name] = b.rows[i].joins(byName[name], b.loaded)
		}
	}
	var states []State
	for _, same := range byName {
		states = append(states, same...)
	}
	for i := range states {
		s := &states[i]
		slices.Sort(s.Sites)
		slices.Sort(s.Servers)
		s.Sites, s.Servers = slices.Compact(s.Sites), slices.Compact(s.Servers)
	}
	slices.SortFunc(states, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Protocol, b.Protocol),
			slices.Compare(a.Sites, b.Sites), slices.Compare(a.Servers, b.Servers))
	})
	return states
}

// joins joins a row to the state among those of its name that says the same of it.
func (row *boardRow) joins(same []State, loaded time.Time) []State {
	state := row.state(loaded)
	for i := range same {
		s := &same[i]
		if s.Transport != state.Transport || s.Protocol != state.Protocol || s.TLS != state.TLS || s.Dynamic != state.Dynamic ||
			s.MaxRequests != state.MaxRequests || !reflect.DeepEqual(s.Settings, state.Settings) {
			continue
		}
		s.Sites, s.Servers = append(s.Sites, state.Sites...), append(s.Servers, state.Servers...)
		if s.Reason == "" && state.Reason != "" { // an active check is each handler's own
			s.Healthy, s.Reason, s.Check = state.Healthy, state.Reason, state.Check
		}
		if s.Lookup == nil || state.Lookup != nil && state.Lookup.Time.After(s.Lookup.Time.Time) {
			s.Lookup = state.Lookup
		}
		s.NeverGave = s.NeverGave && state.NeverGave
		if state.Loaded.After(s.Loaded) {
			s.Loaded = state.Loaded
		}
		return same
	}
	return append(same, state)
}

// state is how the row's upstream is now.
func (row *boardRow) state(loaded time.Time) State {
	via := row.via
	s := State{Settings: via.limits, Loaded: loaded, UpstreamState: failure.UpstreamState{
		Upstream: row.name(), Dynamic: row.upstream == nil, Sites: slices.Clone(row.sites), Servers: []string{row.server},
		Transport: via.limits.Transport, Protocol: via.protocol, TLS: via.tls, Limits: limitsShown(via.proxy, via.limits),
		OpenIncidents: []string{}, Warnings: []failure.Warning{},
	}}
	if s.Sites == nil {
		s.Sites = []string{}
	}
	if row.upstream == nil {
		row.addLookup(&s)
		return s
	}
	u := row.upstream
	s.Address = addressOf(u.Dial)
	fails, inFlight := u.Fails(), u.NumRequests()
	s.Fails, s.InFlight, s.MaxRequests = &fails, &inFlight, u.MaxRequests
	if via.limits.FailDuration > 0 {
		s.MaxFails = via.limits.MaxFails
	}
	s.Reason = via.reason(u)
	if via.limits.ActiveChecks || via.limits.FailDuration > 0 || via.proxy.CB != nil {
		healthy := s.Reason == "" || s.Reason == failure.ReasonFull
		s.Healthy = &healthy
	}
	if s.Reason == failure.ReasonUnhealthy {
		s.Check = via.checks[u]
	}
	past := via.pasts[u]
	s.Unheard = past == nil
	s.LastAnswer, s.LastSuccess, s.CertificateNotAfter = known(past.LastAnswer()), known(past.LastSuccess()), known(past.CertificateEnd())
	return s
}

// addLookup adds what a dynamic source gave last. What is known of its addresses is of the
// first of them.
func (row *boardRow) addLookup(s *State) {
	s.Lookup = row.via.gave.shown()
	if s.Lookup == nil {
		return
	}
	s.NeverGave = s.Lookup.AddressCount == 0
	for i := range s.Lookup.Addresses {
		a := &s.Lookup.Addresses[i]
		past := row.via.learntOf(a.Address)
		a.LastAnswer, a.LastSuccess = known(past.LastAnswer()), known(past.LastSuccess())
		s.LastAnswer, s.LastSuccess = later(s.LastAnswer, a.LastAnswer), later(s.LastSuccess, a.LastSuccess)
		if ends := known(past.CertificateEnd()); ends != nil && (s.CertificateNotAfter == nil || ends.Before(s.CertificateNotAfter.Time)) {
			s.CertificateNotAfter = ends
		}
	}
}

func known(at time.Time) *failure.Timestamp {
	if at.IsZero() {
		return nil
	}
	t := failure.At(at)
	return &t
}

func later(a, b *failure.Timestamp) *failure.Timestamp {
	if a == nil || b != nil && b.After(a.Time) {
		return b
	}
	return a
}

// addressOf is what is dialled for a configured upstream, "" where a placeholder decides.
func addressOf(dial string) string {
	if strings.Contains(dial, "{") {
		return ""
	}
	address, err := caddy.ParseNetworkAddress(dial)
	if err != nil {
		return ""
	}
	return address.JoinHostPort(0)
}

// limitsShown are those in force, and those that are absent.
func limitsShown(h *reverseproxy.Handler, l *failure.Limits) []failure.Limit {
	shown := make([]failure.Limit, 0, len(l.Settings)+4)
	for _, setting := range l.Settings {
		shown = append(shown, *l.Limit(setting.Name))
	}
	add := func(name string, value time.Duration, source failure.LimitSource) {
		if value > 0 {
			shown = append(shown, failure.Limit{Name: name, ValueMS: failure.MSPointer(value), Source: source})
		}
	}
	add("fail_duration", l.FailDuration, failure.LimitConfigured)
	add("unhealthy_latency", l.UnhealthyLatency, failure.LimitConfigured)
	if l.Check != nil {
		add("health_interval", l.Check.Interval, sourceOf(l.Check.Interval, defaultCheckInterval))
		add("health_timeout", l.Check.Timeout, sourceOf(l.Check.Timeout, defaultCheckTimeout))
	}
	return shown
}

// sourceOf says where a value in force comes from that Caddy has a default for.
func sourceOf(value, byDefault time.Duration) failure.LimitSource {
	if value == byDefault {
		return failure.LimitDefault
	}
	return failure.LimitConfigured
}

// lookups are what a dynamic source gave last. A request that is given the same as the one
// before costs it a look at the clock and at the first names.
type lookups struct {
	// named says that nothing but the owner's config has a part in what it gives: no plugin,
	// and no placeholder, which expands says that there is.
	named, expands bool

	at   atomic.Int64 // in Unix nanoseconds, 0 for never
	last atomic.Pointer[given]
}

// given is what a source gave: the first of its upstreams, and the error that it had since.
type given struct {
	addresses []string
	count     int
	err       string
}

// maxLookupError is how many bytes are kept of a lookup's error.
const maxLookupError = 256

// lookupFailed stands for an error that may have something in it which a client sent.
const lookupFailed = "the lookup failed: last_failure has its record"

func newLookups(source reverseproxy.UpstreamSource) *lookups {
	names := sourcesWithin(source)
	if names == nil {
		names = []string{sourceName(source)}
	}
	k := &lookups{named: true}
	for _, name := range names {
		_, _, named := strings.Cut(name, " ")
		k.expands = k.expands || failure.Expands(name)
		k.named = k.named && named && !k.expands
	}
	return k
}

// hear hears what a lookup gave.
func (k *lookups) hear(found []*reverseproxy.Upstream, err error) {
	k.at.Store(time.Now().UnixNano())
	if last := k.last.Load(); last == nil || !last.is(found, err) {
		k.last.Store(k.newGiven(found, err, last))
	}
}

// is says that a lookup gave the same as the last one.
func (g *given) is(found []*reverseproxy.Upstream, err error) bool {
	if err != nil || g.err != "" || len(found) != g.count {
		return false
	}
	for i, address := range g.addresses {
		if found[i] == nil || found[i].Dial != address {
			return false
		}
	}
	return true
}

// newGiven is what is kept of a lookup after another, which may be nil: what an upstream
// did is still known when the next lookup fails.
func (k *lookups) newGiven(found []*reverseproxy.Upstream, err error, last *given) *given {
	if err != nil {
		text := lookupFailed
		if k.named {
			text = failure.Visible(strings.ToValidUTF8(err.Error(), "�"))
			text = strings.ToValidUTF8(text[:min(len(text), maxLookupError)], "") // of its last letter all or nothing
		}
		g := &given{err: strings.Clone(text)}
		if last != nil {
			g.addresses, g.count = last.addresses, last.count
		}
		return g
	}
	g := &given{count: len(found)}
	for _, upstream := range found[:min(len(found), failure.MaxSourceAddresses)] {
		address := ""
		if upstream != nil {
			address = strings.Clone(upstream.Dial)
		}
		g.addresses = append(g.addresses, address)
	}
	return g
}

// shown is what is shown of it, nil where nothing was asked yet. What a plugin gives may be
// made of what a client sent: of that only plain addresses are shown, and none where a
// placeholder leads to many.
func (k *lookups) shown() *failure.SourceLookup {
	last := k.last.Load()
	if last == nil {
		return nil
	}
	l := &failure.SourceLookup{
		Time: failure.At(time.Unix(0, k.at.Load())), Error: last.err, AddressCount: last.count, Addresses: []failure.SourceAddress{},
	}
	for _, address := range last.addresses {
		if address != "" && (k.named || isPlain(address) && !k.expands) {
			l.Addresses = append(l.Addresses, failure.SourceAddress{Address: address})
		}
	}
	return l
}
