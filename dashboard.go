package diagnostics

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/operator"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/page"
)

// Dashboard shows browsers what upstreams failed and why, and serves everybody else the
// same API as the admin endpoint. Its links are relative: `handle_path` can mount it.
//
// It answers 403 unless the request was authenticated (`{http.auth.user.id}` is set).
type Dashboard struct {
	// Let who sees it have an upstream asked again (`POST probe`): one
	// request of this Caddy's own. Default: false.
	AllowProbe bool `json:"allow_probe,omitempty"`

	// Let who sees it forget the records and the incidents. Default: false.
	AllowClear bool `json:"allow_clear,omitempty"`

	// Serve requests that nobody authenticated too, where something else says who may come
	// here (`forward_auth`, client certificates, a private network). Default: false.
	NoAuth bool `json:"no_auth,omitempty"`

	dashboard *operator.Dashboard
	logger    *zap.Logger
	release   func() error // nil where there is nothing to release
}

func init() {
	httpcaddyfile.RegisterHandlerDirective("upstream_dashboard", parseDashboard)
	httpcaddyfile.RegisterDirectiveOrder("upstream_dashboard", httpcaddyfile.After, "metrics")
}

// CaddyModule returns the Caddy module information.
func (Dashboard) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.upstream_dashboard",
		New: func() caddy.Module { return new(Dashboard) },
	}
}

// Provision takes hold of what was recorded.
func (d *Dashboard) Provision(ctx caddy.Context) (err error) {
	d.logger = ctx.Logger()
	var options []operator.Option
	if !d.AllowProbe {
		options = append(options, operator.WithoutProbe("set allow_probe in upstream_dashboard"))
	}
	d.dashboard = operator.NewDashboard(processView{}, slices.Collect(cause.Rows()), options...)
	d.dashboard.AllowClear = d.AllowClear
	_, d.release, err = acquireProcess()
	return err
}

// Cleanup releases what Provision acquired.
func (d *Dashboard) Cleanup() error {
	if d.release == nil {
		return nil
	}
	release := d.release
	d.release = nil
	return release()
}

// Hides implements upstreams.Last: a site all of which is the dashboard's is rarely meant.
func (d *Dashboard) Hides(site string) {
	d.logger.Warn("upstream_dashboard answers every request that comes to it, so none comes to the reverse_proxy behind it: give it a path, as in `handle_path /ops* { ... }`, or a site of its own",
		zap.String("site", site))
}

// userPlaceholder is set by what authenticates: basic_auth and its like.
const userPlaceholder = "http.auth.user.id"

// ServeHTTP implements caddyhttp.MiddlewareHandler. What stands behind it is never asked.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	from := operator.Visitor{URL: asWritten(r), Foreign: originFrom(r).foreign()}
	if replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		from.User, _ = replacer.GetString(userPlaceholder)
	}
	if from.User == "" && !d.NoAuth {
		d.dashboard.Forbid(w, r)
		return nil
	}
	if page.BodyIsKept(w) {
		d.dashboard.Withhold(w, r)
		return nil
	}
	d.dashboard.Serve(w, r, from)
	return nil
}

// asWritten is the URL that the client asked for, before anything stripped or rewrote it.
func asWritten(r *http.Request) url.URL {
	written := *r.URL
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		written = *original.URL
	}
	written.Scheme, written.Host = "http", r.Host
	if r.TLS != nil {
		written.Scheme = "https"
	}
	return written
}

// parseDashboard sets up the handler. Its syntax is that of Dashboard.UnmarshalCaddyfile.
func parseDashboard(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d := new(Dashboard)
	if err := d.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	return d, nil
}

// dashboardOptions may stand in its block, in the order in which it is documented.
var dashboardOptions = []string{"allow_probe", "allow_clear", "no_auth"}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	upstream_dashboard [<matcher>] {
//		allow_probe
//		allow_clear
//		no_auth
//	}
func (d *Dashboard) UnmarshalCaddyfile(dispenser *caddyfile.Dispenser) error {
	dispenser.Next() // consume directive name
	if dispenser.NextArg() {
		return dispenser.ArgErr()
	}
	seen := make(map[string]bool)
	for dispenser.NextBlock(0) {
		if err := checkFirst(dispenser, seen); err != nil {
			return err
		}
		name := dispenser.Val()
		switch name {
		case "allow_probe":
			d.AllowProbe = true
		case "allow_clear":
			d.AllowClear = true
		case "no_auth":
			d.NoAuth = true
		default:
			return unrecognized(dispenser, dashboardOptions, elsewhere{slices.Concat(handlerOptions, appOptions), "is an option of upstream_diagnostics"})
		}
		if dispenser.NextArg() {
			return dispenser.Errf("%s takes no argument, got %q: leave the line out for no", name, dispenser.Val())
		}
	}
	return nil
}
