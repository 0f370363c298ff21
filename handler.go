package diagnostics

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/page"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// Handler listens to the reverse_proxy handlers behind it, names the cause of
// every upstream failure, records it, and answers the client.
type Handler struct {
	// The label of this handler in records and metrics. Default: the first host of
	// the outermost host matcher on the way to this handler; without one, the
	// server's name.
	Site string `json:"site,omitempty"`

	// What the client gets when an upstream failed: `public`, a page that names
	// the category of the cause; `minimal`, the same without the category; `off`,
	// nothing of ours: the failure is recorded and the error passed on, for
	// `handle_errors`. Default: `public`.
	Page string `json:"page,omitempty"`

	// A file with an html/template to use instead of the built-in page.
	// Default: the built-in page.
	Template string `json:"template,omitempty"`

	// Matcher sets for the clients who see the operator's view instead of the
	// public page. Each set must prove who the client is: by its address, its
	// certificate or its user (`http.auth.user.*`). Default: nobody.
	DetailsRaw caddyhttp.RawMatcherSets `json:"details,omitempty" caddy:"namespace=http.matchers"`

	// An upstream's own answers to replace by the page: statuses from 500 to 599,
	// or 5 for all of them. Default: none.
	Intercept []int `json:"intercept,omitempty"`

	// How the built-in page names the owner.
	Brand *Brand `json:"brand,omitempty"`

	// What Retry-After says: `auto`, `off`, or a duration. Default: `auto`, which
	// sends it where it is known when the cause passes by itself, or how long it
	// took before.
	RetryAfter string `json:"retry_after,omitempty"`

	// Send the Proxy-Status field (RFC 9209) under this name. Default: not sent.
	ProxyStatusName string `json:"proxy_status_name,omitempty"`

	// Query keys whose values are kept in records and logs; all other values are
	// REDACTED. Default: none.
	KeepQuery []string `json:"keep_query,omitempty"`

	// Request fields that are kept in records and logs besides User-Agent and
	// Referer's origin; credentials, and what is called like one, stay REDACTED.
	// Default: none.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// How much of the client's address is kept: `full`, `masked` (/24 and /48) or
	// `off`. Default: `full`.
	ClientIP string `json:"client_ip,omitempty"`

	// The language of what visitors read: `auto`, that of each by Accept-Language, or the
	// tag of one for all. Default: `auto`.
	Language string `json:"language,omitempty"`

	// A folder with the owner's own texts, one file a language (`de.json`), which add to
	// ours or change them. Default: none.
	Languages string `json:"languages,omitempty"`

	details        *operators // nil for nobody
	redact         *redact.Rules
	intercepts     func(status int) bool
	retry          retryPolicy
	page           *page.Page // nil with `page off`
	languages      *texts.Languages
	place          upstreams.Place
	serving        *listen.Serving
	site           *site
	known          *knownIncidents
	unreached      *sync.Once
	unload         *unloading
	process        *process
	sampler        *journal.Sampler
	harmless       *atomic.Pointer[string] // see serverOf
	abandonedAfter time.Duration
	where          string       // the site, for what is wrong with the config
	release        func() error // nil where there is nothing to release
	logger         *zap.Logger
}

// Brand is how the built-in page names the owner.
type Brand struct {
	// The name of the site. Default: none.
	Name string `json:"name,omitempty"`
	// An image file, inlined when the config is loaded. Default: none.
	Logo string `json:"logo,omitempty"`
	// Show the logo without the name, which becomes its alternative text. Default: false.
	LogoOnly bool `json:"logo_only,omitempty"`
	// Where a visitor finds help: an http, https, mailto or tel URL. Default: none.
	Support string `json:"support,omitempty"`
	// Where a visitor sees the state of the service: an http or https URL.
	// Default: none.
	StatusPage string `json:"status_page,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.upstream_diagnostics",
		New: func() caddy.Module { return new(Handler) },
	}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler. It is the whole way of a
// request; each step has its place elsewhere.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	from := originFrom(r)
	l := listen.To(w, r, h.intercepts)
	if h.page != nil {
		l.Answers()
	}
	if h.sampler.Wants() {
		l.Sample()
	}
	seat, r := upstreams.Attach(r, l, h.place)
	h.serving.Enter(l)
	defer h.serving.Leave(l)
	sent := h.fieldsSent(r)
	aborted := true
	defer func() {
		seat.Detach(l)
		if aborted { // a panic goes up by itself: seen, never touched
			h.expose(r, seat, h.record(asSent(r), sent, l, l.Seal(nil, 0, aborted)))
		}
	}()
	err := next.ServeHTTP(l, r)
	aborted = false
	if err == nil && l.WentWell() {
		h.sampleWell(r, sent, l)
		h.upgradeEnded(l)
		return nil
	}
	heard := l.Seal(err, statusOf(err), aborted)
	r = asSent(r)
	f := h.record(r, sent, l, heard) // diagnose, describe, journal, log
	if f == nil {
		return err // no upstream's doing: the very value that came
	}
	h.expose(r, seat, f) // placeholders, the access log's fields
	r = h.withFields(r, sent, heard)
	if f.Outcome == failure.Abandoned || !heard.Unanswered() {
		return err
	}
	details := h.seesDetails(r) && !from.foreign() && h.reaches(w)
	named := h.nameProxy(w, heard, f, details) // Proxy-Status, where the owner gave us a name
	if h.page == nil {
		return err
	}
	if err != nil {
		seat.Answered(err) // Caddy's placeholders of it
	}
	h.answer(w, r, f, details, named...)
	return nil
}

// record makes the record of what was heard, and keeps it. It gives nil where it
// is no upstream's doing, where a handler of ours behind this one has recorded it,
// and for a client that left at once, which is only counted.
func (h *Handler) record(r *http.Request, sent http.Header, l *listen.Listener, heard *listen.Heard) (f *failure.Failure) {
	defer func() {
		// A fault of ours must not become the request's.
		if fault := recover(); fault != nil {
			h.faulted("diagnosing an upstream failure panicked", fault)
			f = nil
		}
	}()
	if l.Yielded() {
		return nil
	}
	heard.Looped = h.serving.Loops(l, heard)
	if heard.Client.BodyErr != nil {
		heard.Client.Limits = upstreams.ServerLimits(r)
	}
	upstreams.FindScripts(heard)
	f = cause.Diagnose(heard)
	if f == nil {
		l.NoFailure()
		return nil
	}
	l.Yield()
	if f.Outcome == failure.Abandoned && heard.Duration < h.abandonedAfter {
		h.countOnly(r, f)
		return nil
	}
	h.describe(r, heard, f)
	h.takeOutSent(r, sent, heard, f)
	h.process.journal.Add(f)
	h.process.count(f)
	h.log(f)
	h.noticeIncidents(r, sent, heard, f)
	h.noticeRescued(f)
	tellSpan(r, heard, f)
	return f
}

// faulted tells of a fault of ours, and counts it.
func (h *Handler) faulted(message string, fault any) {
	h.say(zapcore.ErrorLevel, message, zap.Any("panic", fault), zap.Stack("stack"))
	h.process.metrics.faults.Add(1)
}

// expose lets the other handlers and the access log see what was found.
func (h *Handler) expose(r *http.Request, seat *upstreams.Seat, f *failure.Failure) {
	if f == nil {
		return
	}
	words := h.languages.For(r.Header).Of(f.Public())
	seat.Tell(&failure.Told{Failure: f, Title: words.Title, Detail: words.Detail})
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(accessLogFields(f))
	}
}

// nameProxy says in the Proxy-Status field who we are and what failed, and returns the
// field's name where it did. The error's type is more than `page minimal` tells the
// public.
func (h *Handler) nameProxy(w http.ResponseWriter, heard *listen.Heard, f *failure.Failure, details bool) (named []string) {
	if h.ProxyStatusName == "" || h.Page == pageMinimal && !details {
		return nil
	}
	var received []string
	if n := len(heard.Attempts); heard.Response.Intercepted && n > 0 {
		received = heard.Attempts[n-1].Header.Values(proxyStatus)
	}
	if err := addProxyStatus(w.Header(), h.ProxyStatusName, received, f, details); err != nil {
		h.say(zapcore.WarnLevel, "writing Proxy-Status", zap.String("err_id", f.ID), zap.Error(err))
	}
	return []string{proxyStatus}
}

// answer gives the client our answer, in place of the error. named are the fields that are
// set already.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, f *failure.Failure, details bool, named ...string) {
	public := f.Public()
	public.RetryAfter = h.retryAfterOf(f)
	var shown *failure.Failure
	if details {
		shown = f
	}
	if err := h.page.Answer(w, r, public, shown, named...); err != nil {
		h.say(zapcore.WarnLevel, "answering for an upstream", zap.String("err_id", f.ID), zap.Error(err))
	}
}

// reaches says whether an operator's answer reaches the client as it is. Where a handler
// in front could make it cacheable, or another site's to read, nobody gets one.
func (h *Handler) reaches(w http.ResponseWriter) bool {
	if h.page == nil || page.Shieldable(w) {
		return true
	}
	h.unreached.Do(func() {
		h.logger.Warn("the operator's view is not shown: a handler in front wraps the response in a way that could change its header, or runs its body as templates does; put upstream_diagnostics in front of it, or turn the access log on if it is the header alone",
			zap.String("wrapper", fmt.Sprintf("%T", w)))
	})
	return false
}

// statusOf is the status that an error stands for, as Caddy's server sees it.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return handlerErr.StatusCode
	}
	return http.StatusInternalServerError
}

// Provision loads what the config names.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server != nil {
		h.where = upstreams.SiteInProvision(server)
	}
	if h.Site != "" && checkLabel("site", h.Site) == nil {
		h.where = h.Site
	}
	if err := h.load(ctx); err != nil {
		return h.here(err)
	}
	h.warnOfNoEffect()
	h.warnOfErrorRoutes(server)
	return h.warnWithoutApp(ctx)
}

// load is what Provision does.
func (h *Handler) load(ctx caddy.Context) error {
	if h.ClientIP == "" {
		h.ClientIP = redact.ClientIPFull
	}
	h.redact = redact.New(h.KeepQuery, h.KeepHeaders, h.ClientIP)
	if err := h.loadDetails(ctx); err != nil {
		return err
	}
	err := h.loadPage()
	if err != nil {
		return err
	}
	h.site, h.known, h.unreached, h.serving, h.abandonedAfter = new(site), new(knownIncidents), new(sync.Once), new(listen.Serving), failure.AbandonedAfter
	h.unload, h.sampler, h.harmless = unloadingOf(ctx), new(journal.Sampler), new(atomic.Pointer[string])
	if h.process, h.release, err = acquireProcess(); err != nil {
		return err
	}
	h.process.handlers.Add(1)
	return h.process.register(ctx, h.logger)
}

// loadPage loads what a visitor's answer is made of.
func (h *Handler) loadPage() (err error) {
	if h.Page == "" {
		h.Page = pagePublic
	}
	h.intercepts = interceptsOf(h.Intercept)
	if h.retry, err = h.retryAfter(); err != nil {
		return err
	}
	if h.languages, err = h.loadLanguages(); err != nil {
		return err
	}
	if h.Page != pageOff {
		h.page, err = h.newPage()
	}
	return err
}

// here says at which site an error of the config is. Of a Caddyfile's line nothing is
// known any more when the JSON that was made of it is loaded.
func (h *Handler) here(err error) error {
	if err == nil || h.where == "" {
		return err
	}
	return fmt.Errorf("site %s: %w", h.where, err)
}

func (h *Handler) newPage() (*page.Page, error) {
	options := page.Options{Mode: page.Public, TemplateName: absolute(h.Template), Languages: h.languages, Lookup: lookup()}
	if h.Page == pageMinimal {
		options.Mode = page.Minimal
	}
	var err error
	if options.Template, err = h.loadTemplate(); err != nil {
		return nil, err
	}
	if h.Brand != nil {
		// Before Validate: what it refuses must not become a part of a page.
		if err := h.Brand.validate(); err != nil {
			return nil, err
		}
		options.Brand = page.Brand{Name: h.Brand.Name, LogoOnly: h.Brand.LogoOnly, Support: template.URL(h.Brand.Support), StatusPage: h.Brand.StatusPage}
		if options.Brand.LogoDataURI, err = h.loadLogo(); err != nil {
			return nil, err
		}
	}
	return page.New(options)
}

// interceptsOf says for which statuses an upstream's own answer is replaced; a
// status of one digit is a class. It is nil where none is.
func interceptsOf(statuses []int) func(int) bool {
	if len(statuses) == 0 {
		return nil
	}
	return func(status int) bool {
		for _, s := range statuses {
			if caddyhttp.StatusCodeMatches(status, s) {
				return true
			}
		}
		return false
	}
}

// Placed implements upstreams.Placed. It is called before the server starts.
func (h *Handler) Placed(place upstreams.Place) {
	h.place = place
	h.warnOfWords(place.Copies)
	h.warnOfPlace()
}

// Cleanup releases what Provision acquired. Requests outlive their config and may
// still record: the process stays where they find it.
func (h *Handler) Cleanup() error {
	if h.release == nil {
		return nil
	}
	release := h.release
	h.release = nil
	h.process.handlers.Add(-1)
	h.sampler.Close()
	return release()
}
