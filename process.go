package diagnostics

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// Defaults of what one config says for the whole process.
const (
	defaultKeep    = 1000
	defaultKeepFor = 24 * time.Hour
)

// process is what outlives a config: one for all configs that are loaded at a
// time, so that a reload keeps it.
type process struct {
	journal *journal.Journal
	learnt  upstreams.Learnt
	storm   journal.Storm[line]
	// incidents are what goes wrong; configured are the upstreams that the running configs
	// name. beginnings has since when what is known of an upstream, by its
	// *listen.Past.
	incidents  journal.Incidents
	configured atomic.Pointer[map[string]*journal.Config]
	beginnings sync.Map // of *beginning
	// warnings are what nearly goes wrong.
	warnings journal.Warnings
	// metrics are what is counted for Caddy's /metrics.
	metrics *metrics
	// probing bounds how often upstreams are asked again.
	probing probing
	// upgrades are upgraded connections that were ended.
	upgrades journal.Upgrades
	// handlers is how many upstream_diagnostics the configs have.
	handlers atomic.Int64
	// attended says that an App is there to do what is to be done later.
	attended atomic.Bool
	// summing says that a timer is set which sums up what was left out of the log.
	summing atomic.Bool
	// instance is this instance's name.
	instance atomic.Pointer[string]

	mu sync.Mutex // guards what follows
	// running are the Apps that were started and not yet stopped, in this order.
	// During a reload there are two.
	running []*App
	// events wait to be emitted, eventsDropped is how many of them were too many.
	events        []event
	eventsDropped uint64
	// warned is the server that a warning was last about: servers are provisioned one
	// after the other, so it tells whether this one was warned about already.
	warned weak.Pointer[caddyhttp.Server]
	// watched is the events app of the config that is looked at once it has started.
	watched weak.Pointer[caddyevents.App]
}

// processes holds the one process, under processKey, as long as a config needs it.
var processes = caddy.NewUsagePool()

const processKey = "process"

// acquireProcess gives the process, and makes it for who comes first. release must
// be called once.
func acquireProcess() (p *process, release func() error, err error) {
	value, _, err := processes.LoadOrNew(processKey, func() (caddy.Destructor, error) {
		p := &process{journal: journal.New(defaultKeep, defaultKeepFor), metrics: newMetrics()}
		p.setInstance("")
		return p, nil
	})
	if err != nil {
		return nil, nil, err
	}
	release = func() error {
		_, err := processes.Delete(processKey)
		return err
	}
	return value.(*process), release, nil
}

// currentProcess gives the process without holding it; nil where no config does.
func currentProcess() *process {
	var p *process
	processes.Range(func(_, value any) bool {
		p, _ = value.(*process)
		return false
	})
	return p
}

// Destruct implements caddy.Destructor. Requests that outlive their config may
// still record: that must do no harm, and does none.
func (p *process) Destruct() error { return nil }

// started applies what a's config says.
func (p *process) started(a *App) {
	p.begin(a)
	p.journal.Shrink() // without the lock, for which a request may wait
}

func (p *process) begin(a *App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.loaded = time.Now()
	if n := len(p.running); n > 0 {
		a.loadedBefore = p.running[n-1].loaded
	}
	p.running = append(p.running, a)
	p.noteAsked(a)
	p.apply()
}

// beginning is since when an upstream is asked in some way, and answers.
type beginning struct {
	// asked is when the config was loaded that is the first one to do so; the zero time where
	// that was the first config, or isn't known.
	asked time.Time
	// worked is since when it is known to answer well, nil for never. The time has its
	// monotonic reading: a clock that is set makes it no longer.
	worked atomic.Pointer[time.Time]
}

// noteAsked keeps which ways there are since this config to ask an upstream. Of an address
// that a dynamic source gives it isn't known: it may have been asked before, without an answer.
func (p *process) noteAsked(a *App) {
	if a.board == nil {
		return
	}
	var since time.Time // the first config changes nothing
	if !a.loadedBefore.IsZero() {
		since = a.loaded
	}
	for _, past := range a.board.Pasts() {
		p.beginnings.LoadOrStore(past, &beginning{asked: since})
	}
}

// forgetAsked forgets which ways to ask an upstream came with a config whose load failed.
func (p *process) forgetAsked(a *App) {
	p.beginnings.Range(func(past, known any) bool {
		if b := known.(*beginning); b.asked.Equal(a.loaded) && b.worked.Load() == nil { //nolint:forcetypeassert // see process
			p.beginnings.Delete(past)
		}
		return true
	})
}

// forgetLearnt forgets upstreams to which nobody goes any more where too many are known, and
// since when they worked: also what a request has told since of one that was forgotten before.
func (p *process) forgetLearnt() {
	kept := make(map[*listen.Past]bool)
	for _, board := range p.boards() {
		for _, past := range board.Pasts() {
			kept[past] = true
		}
	}
	if len(p.learnt.Forget(func(past *listen.Past) bool { return kept[past] })) == 0 {
		return
	}
	for _, past := range p.learnt.All() {
		kept[past] = true
	}
	p.beginnings.Range(func(past, _ any) bool {
		if !kept[past.(*listen.Past)] { //nolint:forcetypeassert // see process
			p.beginnings.Delete(past)
		}
		return true
	})
}

// stopped goes back to what the configs that still run say; last says that none does.
func (p *process) stopped(a *App) (last bool) {
	last = p.end(a)
	p.journal.Shrink() // as above
	return last
}

func (p *process) end(a *App) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = slices.DeleteFunc(p.running, func(other *App) bool { return other == a })
	p.apply()
	if len(p.running) == 0 {
		p.events = nil
		return true
	}
	newest := p.running[len(p.running)-1]
	if newest.loaded.Before(a.loaded) { // the load of a failed
		p.forgetAsked(a)
	}
	newest.wakeUp() // it may have become the newest again
	return false
}

// apply applies what the running configs say. Of two, the more is kept: the load of
// the newer one may still fail, and then the older one's records must be there. The
// caller holds mu.
func (p *process) apply() {
	p.attended.Store(len(p.running) > 0)
	if len(p.running) == 0 {
		return
	}
	newest := p.running[len(p.running)-1]
	before, configured := p.configured.Load(), make(map[string]*journal.Config)
	keep, keepFor := 0, time.Duration(0)
	for _, a := range p.running {
		keep, keepFor = max(keep, a.Keep), max(keepFor, time.Duration(a.KeepFor))
		for _, upstream := range a.upstreams {
			config := &journal.Config{Loaded: newest.loaded, Before: newest.loadedBefore}
			if before == nil {
				// Nothing ran before.
			} else if known := (*before)[upstream]; known != nil {
				config.Added = known.Added
			} else {
				config.Added = a.loaded
			}
			configured[upstream] = config
		}
	}
	p.configured.Store(&configured)
	p.journal.Resize(keep, keepFor)
	p.setInstance(newest.Instance)
}

// firstOf says whether this is the first time for what is given, and keeps it in last.
func firstOf[T any](p *process, last *weak.Pointer[T], given *T) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := *last
	*last = weak.Make(given)
	return *last != before
}

// setInstance names this instance; "" is the host name.
func (p *process) setInstance(name string) {
	if name == "" {
		name, _ = os.Hostname() // without one the field is left out
	}
	p.instance.Store(&name)
}
