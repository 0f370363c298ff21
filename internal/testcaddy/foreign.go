package testcaddy

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// foreign is a handler of somebody else's that holds a reverse_proxy where no walk
// finds it.
type foreign struct {
	Upstream string `json:"upstream,omitempty"`
	proxy    reverseproxy.Handler
}

func (foreign) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.foreign", New: func() caddy.Module { return new(foreign) }}
}

func (f *foreign) Provision(ctx caddy.Context) error {
	f.proxy.Upstreams = reverseproxy.UpstreamPool{{Dial: f.Upstream}}
	return f.proxy.Provision(ctx)
}

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return f.proxy.ServeHTTP(w, r, next)
}

func (f *foreign) Cleanup() error { return f.proxy.Cleanup() }

func init() {
	caddy.RegisterModule(foreign{})
	httpcaddyfile.RegisterHandlerDirective("foreign", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		f := new(foreign)
		h.Next()
		if !h.Args(&f.Upstream) {
			return nil, h.ArgErr()
		}
		return f, nil
	})
}
