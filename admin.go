package diagnostics

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/operator"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// adminAPI shows recent failures at Caddy's admin endpoint. It reads the process,
// never its own config's App: after a load that failed, the endpoint is served by
// the modules of the config that failed.
type adminAPI struct{}

// adminPath is where it is mounted.
const adminPath = "/upstream_diagnostics"

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.upstream_diagnostics",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Provision asks for our App, so that there is one at every load.
func (*adminAPI) Provision(ctx caddy.Context) error {
	_, err := ctx.App("upstream_diagnostics")
	return err
}

// Routes implements caddy.AdminRouter.
func (*adminAPI) Routes() []caddy.AdminRoute {
	api := http.StripPrefix(adminPath, operator.New(processView{}, slices.Collect(cause.Rows())))
	serve := caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		api.ServeHTTP(w, r)
		return nil
	})
	return []caddy.AdminRoute{
		{Pattern: adminPath, Handler: serve},
		{Pattern: adminPath + "/", Handler: serve},
	}
}

// lookup finds what a report of a failure shows beyond its record.
func lookup() report.Lookup {
	return operator.LookupIn(processView{}, slices.Collect(cause.Rows()))
}

// processView is what the operator may read of the process.
type processView struct{}

// journal is the process's, or an empty one where no config holds a process.
func (processView) journal() *journal.Journal {
	if p := currentProcess(); p != nil {
		return p.journal
	}
	return journal.New(0, 0)
}

func (v processView) Overview() failure.Overview {
	o := v.journal().Overview()
	p := currentProcess()
	o.NoHandler = p == nil || p.handlers.Load() == 0
	if p != nil {
		o.UpgradesEnded = p.upgrades.Counts()
		o.OpenIncidents, o.Dropped = p.incidents.Counts()
		o.Warnings, _ = p.warnings.Kept()
	}
	return o
}

func (v processView) Query(q failure.Query) failure.FailurePage   { return v.journal().Query(q) }
func (v processView) Get(id string) (f *failure.Failure, ok bool) { return v.journal().Get(id) }

func (processView) Incidents() []failure.Incident {
	if p := currentProcess(); p != nil {
		return p.incidents.List(time.Now())
	}
	return nil
}

func (processView) Incident(id string) (i failure.Incident, ok bool) {
	if p := currentProcess(); p != nil {
		return p.incidents.Get(id, time.Now())
	}
	return i, false
}

func (processView) Upstreams() failure.Board {
	if p := currentProcess(); p != nil {
		return p.boardNow(time.Now())
	}
	return failure.Board{Upstreams: []failure.UpstreamState{}, Warnings: []failure.Warning{}}
}

func (processView) Probe(ctx context.Context, q failure.ProbeQuery) (failure.Probe, error) {
	if p := currentProcess(); p != nil {
		return p.probe(ctx, q)
	}
	return failure.Probe{}, &failure.ProbeRefused{Why: failure.ProbeUnknown, Message: "no config runs that has an upstream"}
}

func (v processView) Clear() {
	v.journal().Clear()
	if p := currentProcess(); p != nil {
		p.incidents.Clear()
	}
}

var _ operator.View = processView{}
