package diagnostics

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// App is what one config says for the whole process. It is there at every load,
// named in the config or not, and hangs the ears on the reverse_proxy handlers.
type App struct {
	// How many failures are kept in memory, of each site, upstream and cause a fair
	// share. Default: 1000. At most 100000.
	Keep int `json:"keep,omitempty"`

	// How long a failure is kept. Default: 24h. From 1m to 8760h.
	KeepFor caddy.Duration `json:"keep_for,omitempty"`

	// This instance's name in records. Default: the host name.
	Instance string `json:"instance,omitempty"`

	process *process
	checks  *upstreams.Checks // nil without an http app, as board
	// board knows the upstreams that the config names, which are upstreams.
	board     *upstreams.Board
	upstreams []string
	// loaded is when this config was, loadedBefore when the one was that ran before it; the
	// zero time where none did.
	loaded, loadedBefore time.Time

	release func() error
	logger  *zap.Logger
	// events is where ctx's events go, from when allStarted is closed on; wake has the
	// goroutine that emits them look for some.
	events     *caddyevents.App
	ctx        caddy.Context
	allStarted chan struct{}
	wake       chan struct{}
	stop       chan struct{}
	stopped    chan struct{}
	// stopChecks is nil where none are repeated.
	stopChecks func()
}

// CaddyModule returns the Caddy module information. Of a pointer, because the events app asks
// while the App changes.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "upstream_diagnostics",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision hangs the ears on all reverse_proxy handlers of the config: after they
// were provisioned and before anything is started.
func (a *App) Provision(ctx caddy.Context) error {
	var err error
	if a.process, a.release, err = acquireProcess(); err != nil {
		return err
	}
	a.logger = ctx.Logger(Handler{}) // it sums up what handlers log, under their name
	if err = a.process.register(ctx, a.logger); err != nil {
		return err
	}
	if a.Keep == 0 {
		a.Keep = defaultKeep
	}
	if a.KeepFor == 0 {
		a.KeepFor = caddy.Duration(defaultKeepFor)
	}
	if err := a.provisionEvents(ctx); err != nil {
		return err
	}

	// No http app, or one that fails to load: the latter Caddy reports itself when
	// it comes to it, once.
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	httpApp, ok := app.(*caddyhttp.App)
	if !ok {
		return fmt.Errorf("the http app is a %T, not Caddy's: its handlers can't be found", app)
	}
	a.checks, a.board = upstreams.Hang(httpApp, &a.process.learnt, a.hearNear)
	a.upstreams = a.board.Names()
	return nil
}

// Start applies what this config says.
func (a *App) Start() error {
	a.process.started(a)
	a.stop, a.stopped = make(chan struct{}), make(chan struct{})
	go a.run(a.stop, a.stopped)
	go a.emitEvents(a.stop)
	if a.checks != nil {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); a.checks.Run(ctx) }()
		a.stopChecks = func() { cancel(); <-ended }
	}
	return nil
}

// sweepInterval is how often what is over is looked for.
const sweepInterval = 10 * time.Second

// run is one goroutine from Start to Stop. Others repeat checks and emit events: both may
// take their time.
func (a *App) run(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			a.process.journal.Sweep(now)
			a.process.sumUp(a.logger, now)
			a.process.resolveIncidents(a.logger, now)
			a.process.sweepWarnings(a.logger, now, thisMachine)
			a.process.forgetLearnt()
		case <-stop:
			return
		}
	}
}

// Stop ends what Start began. An App that came with the remote admin endpoint,
// after all apps had been started, never was.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	close(a.stop)
	<-a.stopped
	if a.stopChecks != nil {
		a.stopChecks()
	}
	if last := a.process.stopped(a); last {
		a.process.sumUp(a.logger, time.Now().Add(journal.StormWindow)) // nobody will later
	}
	return nil
}

// Cleanup releases what Provision acquired.
func (a *App) Cleanup() error {
	if a.release == nil {
		return nil
	}
	release := a.release
	a.release = nil
	return release()
}
