package diagnostics

import (
	"cmp"
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// A config that loads may not do what was meant. Each such thing is said once when it
// is loaded: what happens, and what to write. What can't be known is not said.

// warnOfNoEffect says what stands beside `page off` in vain.
func (h *Handler) warnOfNoEffect() {
	if h.Page != pageOff {
		return
	}
	var inVain []string
	if h.Template != "" {
		inVain = append(inVain, "template")
	}
	if h.Brand != nil {
		inVain = append(inVain, "brand")
	}
	if h.details != nil && h.ProxyStatusName == "" { // whose details are in Proxy-Status
		inVain = append(inVain, "details")
	}
	if h.retry.fixed > 0 {
		inVain = append(inVain, "retry_after")
	}
	if len(inVain) > 0 {
		h.logger.Warn("with `page off` this module answers nobody, so what stands beside it has no effect: remove it, or remove `page off`",
			zap.String("site", h.where), zap.Strings("no_effect", inVain))
	}
}

// warnOfErrorRoutes says once a server that its handle_errors isn't asked.
func (h *Handler) warnOfErrorRoutes(server *caddyhttp.Server) {
	if server == nil || h.page == nil || server.Errors == nil || len(server.Errors.Routes) == 0 {
		return
	}
	if firstOf(h.process, &h.process.warned, server) {
		h.logger.Warn("the page replaces what handle_errors shows for an upstream's failure; `page off` leaves it to handle_errors")
	}
}

// warnOfPlace says that there is nothing to hear where the handler stands.
func (h *Handler) warnOfPlace() {
	var warning string
	switch h.place.Fit {
	case upstreams.NoProxy:
		warning = "no reverse_proxy comes after this upstream_diagnostics, so it hears nothing: put it in front of one, or remove it"
	case upstreams.BehindProxy:
		warning = "the reverse_proxy stands in front of this upstream_diagnostics, so it hears nothing: put it in front of the reverse_proxy; in a `route` the order is yours"
	case upstreams.Doubled:
		warning = "each reverse_proxy after this upstream_diagnostics stands behind another one too, which records and answers in its place: remove one of the two, or put each into a `handle` with its own reverse_proxy"
	default:
		return
	}
	h.logger.Warn(warning, zap.String("site", cmp.Or(h.Site, h.place.Site)))
}

// warnWithoutApp says once a config that none of our Apps came with it, which is so
// with `admin off`. It is known for sure when all apps have been started.
func (h *Handler) warnWithoutApp(ctx caddy.Context) error {
	app, err := ctx.AppIfConfigured("events")
	if err != nil {
		return nil //nolint:nilerr // the http app brings it; who provisions a handler without, in a test, starts nothing
	}
	events, ok := app.(*caddyevents.App)
	if !ok || !firstOf(h.process, &h.process.watched, events) {
		return nil
	}
	return events.On("started", withoutApp{ctx, h.logger})
}

// withoutApp hears that all apps of a config have been started.
type withoutApp struct {
	ctx    caddy.Context
	logger *zap.Logger
}

// Handle implements caddyevents.Handler.
func (w withoutApp) Handle(context.Context, caddy.Event) error {
	if _, err := w.ctx.AppIfConfigured("upstream_diagnostics"); errors.Is(err, caddy.ErrNotConfigured) {
		w.logger.Warn("with `admin off` nothing listens inside reverse_proxy unless upstream_diagnostics is named as a global option too: less is known of each failure")
	}
	return nil
}
