package diagnostics

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/operator"
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

// processView is what the operator may read of the process.
type processView struct{}

func (processView) Overview() failure.Overview {
	if p := currentProcess(); p != nil {
		return p.journal.Overview()
	}
	return failure.Overview{}
}

func (processView) Query(q failure.Query) failure.FailurePage {
	if p := currentProcess(); p != nil {
		return p.journal.Query(q)
	}
	return failure.FailurePage{Failures: []*failure.Failure{}}
}

func (processView) Get(id string) (*failure.Failure, bool) {
	if p := currentProcess(); p != nil {
		return p.journal.Get(id)
	}
	return nil, false
}

func (processView) Clear() {
	if p := currentProcess(); p != nil {
		p.journal.Clear()
	}
}

var _ operator.View = processView{}
