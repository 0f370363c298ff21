// Package diagnostics is a Caddy module that answers why a request through
// reverse_proxy failed: which upstream, in which phase, why, with what evidence,
// and what to change.
//
// A request goes through Handler.ServeHTTP (handler.go), from top to bottom. What
// is heard on its way is in internal/listen, how the ears got into reverse_proxy
// in internal/upstreams, how a cause is found in internal/cause.
package diagnostics

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

func init() {
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(Dashboard{})
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(adminAPI{})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
	_ upstreams.Placed            = (*Handler)(nil)

	_ caddy.Provisioner           = (*Dashboard)(nil)
	_ caddy.CleanerUpper          = (*Dashboard)(nil)
	_ caddyhttp.MiddlewareHandler = (*Dashboard)(nil)
	_ caddyfile.Unmarshaler       = (*Dashboard)(nil)
	_ upstreams.Last              = (*Dashboard)(nil)

	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.Validator       = (*App)(nil)
	_ caddy.CleanerUpper    = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)

	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)
