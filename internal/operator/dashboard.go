package operator

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// Dashboard serves browsers pages of what a View shows, and everybody else the API of New
// under the same paths.
type Dashboard struct {
	*Operator
	// AllowClear lets who sees it forget the records.
	AllowClear bool
}

// Visitor is what is known of who asks, besides the request whose path was stripped of where
// the dashboard is mounted.
type Visitor struct {
	// URL is what was asked for, as the client wrote it.
	URL url.URL
	// User is who was authenticated, "" where nobody was.
	User string
	// Foreign says that another site's page made the browser ask.
	Foreign bool
}

// NewDashboard makes a dashboard. Who may see it is decided by who calls Serve.
func NewDashboard(view View, rows []*cause.Row, options ...Option) *Dashboard {
	return &Dashboard{Operator: newOperator(view, rows, options)}
}

// allowsProbe says whether an upstream may be asked again.
func (d *Dashboard) allowsProbe() bool { return d.noProbe == "" }

// pages are what a browser is shown, each under the path of the same request of the API.
// Parameters are those that it has besides the API's.
var pages = map[string]struct {
	draw       func(*Dashboard, *sheet, asked) error
	parameters []string
}{
	"/":                {draw: (*Dashboard).drawNow},
	"/failures":        {draw: (*Dashboard).drawFailures},
	"/failures/latest": {draw: (*Dashboard).drawLatest},
	"/failures/{id}":   {draw: (*Dashboard).drawFailure},
	"/incidents":       {draw: (*Dashboard).drawIncidents, parameters: []string{skipParameter}},
	"/incidents/{id}":  {draw: (*Dashboard).drawIncident},
	"/upstreams":       {draw: (*Dashboard).drawUpstreams, parameters: []string{skipParameter}},
	"/causes":          {draw: (*Dashboard).drawCauses},
}

// forgetPath is where a browser is asked whether to forget the records, and its form leads:
// a form knows no DELETE.
const forgetPath = "forget"

// askPath is where a browser is asked whether to ask an upstream again, and its form leads;
// probePath is the API's.
const askPath, probePath = "ask", "probe"

//go:embed dashboard.html
var dashboardHTML string

//go:embed dashboard.css
var dashboardCSS string

//go:embed dashboard.js
var dashboardJS string

var (
	dashboardPages = template.Must(template.New("dashboard").Funcs(template.FuncMap{
		"printable": report.Printable,
		"quantity":  quantity,
		"soft":      soft,
		"words":     rowWords,
	}).Parse(dashboardHTML))
	dashboardStyle  = template.CSS(report.CompactCSS(dashboardCSS)) + template.CSS(report.Style)
	dashboardScript = template.JS(dashboardJS) //nolint:gosec // it is ours, word for word
	// dashboardPolicy allows a page its own style and script, word for word, and to ask
	// where it came from.
	dashboardPolicy = "default-src 'none'; style-src " + hashOf(string(dashboardStyle)) + "; script-src " + hashOf(string(dashboardScript)) +
		"; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func hashOf(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// sheet is one page.
type sheet struct {
	// Root leads from the page to where the dashboard is mounted: "./", "../".
	Root string
	// Part is which of the parts it belongs to, Template what draws it from Body.
	Part, Template string
	Title          string
	Body           any
	Style          template.CSS
	Script         template.JS
	// Version changes when what the page shows does; "" where it is never looked for.
	Version string
	// Bare is a page for who may see nothing else.
	Bare bool
	// Open is how many things visitors notice, Saved how many retries keep from them.
	Open, Saved int
	AllowClear  bool
	AllowProbe  bool
	At          moment

	view View
	// incidents are all that there are, open those that are open, once they were asked for.
	incidents []failure.Incident
	open      openIncidents
	// records are the samples of incidents, once they were asked for: see samples.
	records map[string]*failure.Failure
	now     time.Time
	asker   Visitor
	status  int
}

// Serve answers a request.
func (d *Dashboard) Serve(w http.ResponseWriter, r *http.Request, from Visitor) {
	guard(w.Header())
	path := strings.Trim(r.URL.Path, "/")
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case from.Foreign:
		d.fail(w, r, from, &problem{status: http.StatusForbidden, message: "another site's page has made this request: open the dashboard itself"})
	case path == forgetPath && d.AllowClear:
		d.forget(w, r, from)
	case path == askPath && d.allowsProbe():
		d.ask(w, r, from)
	case path == probePath && r.Method == http.MethodPost: // the API's, which refuses it where it isn't allowed
		d.ServeHTTP(w, r)
	case r.Method == http.MethodDelete && !d.AllowClear:
		d.refuse(w, r, from, "nothing may be forgotten here: allow_clear of upstream_dashboard allows it")
	case r.Method == http.MethodDelete: // the API's, whatever is accepted: no page is drawn for it
		d.ServeHTTP(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		d.refuse(w, r, from, "")
	case err != nil || !wantsPage(r, parameters):
		d.ServeHTTP(w, r)
	case path == "" && !strings.HasSuffix(from.URL.Path, "/"):
		// Links are relative to the folder that the dashboard is.
		target := "./" + lastSegment(from.URL.EscapedPath()) + "/"
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusTemporaryRedirect)
	default:
		d.page(w, r, from, parameters)
	}
}

// Forbid answers who isn't allowed in, and says what to do.
func (d *Dashboard) Forbid(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	const message = "nobody has authenticated this request: put basic_auth in front of upstream_dashboard, " +
		"or give it no_auth where something else says who may come here (forward_auth, client certificates, a private network)"
	parameters, _ := url.ParseQuery(r.URL.RawQuery) // of one that can't be read, it makes no difference
	asText, err := wantsText(r, parameters)
	switch {
	case wantsPage(r, parameters):
		d.draw(w, r, &sheet{Bare: true, Template: "forbidden", Title: "Not allowed", status: http.StatusForbidden})
	case err == nil && asText:
		write(w, r, http.StatusForbidden, "text/plain; charset=utf-8", []byte(message+"\n"))
	default:
		fail(w, r, &problem{status: http.StatusForbidden, message: message})
	}
}

// Withhold answers who is allowed in where what would be shown would be run on the way.
func (d *Dashboard) Withhold(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	fail(w, r, &problem{status: http.StatusInternalServerError, message: "a handler in front of upstream_dashboard, such as templates, keeps what it answers, and would run what clients and upstreams sent: " +
		"put upstream_dashboard in front of that handler, or that handler where other pages are"})
}

// guard keeps an answer from caches, from other sites, and from being taken for something
// else. The policy holds for pages; of anything else a browser may do nothing with it.
func guard(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	// Not no-referrer: with that, a browser says that its own form comes from nowhere
	// (Fetch, "append a request Origin header").
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("X-Robots-Tag", "noindex")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

// wantsPage says whether HTML is named, and wanted no less than what else there is.
func wantsPage(r *http.Request, parameters url.Values) bool {
	if _, named := parameters["format"]; named {
		return false
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	q := quality(accept, "text/html")
	return q > 0 && q >= quality(accept, "application/json") && q >= quality(accept, "text/plain")
}

func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// page draws the page of a request.
func (d *Dashboard) page(w http.ResponseWriter, r *http.Request, from Visitor, parameters url.Values) {
	requests, id := requestsOf(r.URL.Path)
	if requests == nil {
		d.fail(w, r, from, &problem{status: http.StatusNotFound, message: "there is no such page"})
		return
	}
	request := withMethod(requests, r.Method)
	if request == nil { // a form that leads where only others ask
		d.fail(w, r, from, &problem{status: http.StatusNotFound, message: "there is no such page"})
		return
	}
	page, ok := pages[request.Path]
	if !ok {
		d.ServeHTTP(w, r)
		return
	}
	if err := failure.CheckParameters(parameters, append(request.known(), page.parameters...)); err != nil {
		d.fail(w, r, from, wrong("%v", err))
		return
	}
	s := d.sheet(r, from)
	if err := page.draw(d, s, asked{id, parameters, r}); err != nil {
		d.fail(w, r, from, err)
		return
	}
	d.draw(w, r, s)
}

// sheet is a page on which nothing stands yet.
func (d *Dashboard) sheet(r *http.Request, from Visitor) *sheet {
	s := &sheet{view: d.view, now: time.Now(), AllowClear: d.AllowClear, AllowProbe: d.allowsProbe(), asker: from, status: http.StatusOK}
	s.Root = "./"
	if depth := strings.Count(strings.TrimPrefix(r.URL.Path, "/"), "/"); depth > 0 {
		s.Root = strings.Repeat("../", depth)
	}
	s.At = s.moment(failure.At(s.now))
	open := s.openNow()
	s.Open, s.Saved = len(open.seen), len(open.saved)
	return s
}

// refuse tells that a method is none of those that are allowed here; message says why, where
// there is more to say.
func (d *Dashboard) refuse(w http.ResponseWriter, r *http.Request, from Visitor, message string) {
	allowed := d.allowedAt(strings.Trim(r.URL.Path, "/"))
	w.Header().Set("Allow", allowed)
	if message == "" {
		message = fmt.Sprintf("expected one of the methods %s, got %+.16q", allowed, r.Method)
	}
	d.fail(w, r, from, &problem{status: http.StatusMethodNotAllowed, message: message})
}

// allowedAt are the methods that are allowed at a path.
func (d *Dashboard) allowedAt(path string) string {
	switch {
	case path == forgetPath && d.AllowClear, path == askPath && d.allowsProbe():
		return "GET, HEAD, POST"
	case path == "failures" && d.AllowClear:
		return "GET, HEAD, DELETE"
	case path == probePath && d.allowsProbe():
		return "POST"
	}
	return "GET, HEAD"
}

// fail tells an error, to a browser as a page.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, from Visitor, err error) {
	if !wantsPage(r, nil) {
		fail(w, r, err)
		return
	}
	s := d.sheet(r, from)
	s.Template, s.status, s.Body = "message", http.StatusInternalServerError, err.Error()
	if p, ok := errors.AsType[*problem](err); ok {
		s.status = p.status
		p.sayWhen(w.Header())
	}
	s.Title = map[int]string{
		http.StatusBadRequest: "This can't be asked for", http.StatusNotFound: "Not here", http.StatusForbidden: "Not allowed",
		http.StatusMethodNotAllowed: "Not allowed", http.StatusTooManyRequests: "Not so often",
	}[s.status]
	if s.Title == "" {
		s.Title = "This page can't be drawn"
	}
	d.draw(w, r, s)
}

// draw writes a page.
func (d *Dashboard) draw(w http.ResponseWriter, r *http.Request, s *sheet) {
	header := w.Header()
	header.Set("Content-Security-Policy", dashboardPolicy)
	header.Add("Vary", "Accept")
	if s.Version != "" {
		tag := `W/"` + s.Version + `"`
		header.Set("Etag", tag)
		if s.status == http.StatusOK && slices.Contains(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	s.Style, s.Script = dashboardStyle, dashboardScript
	var drawn bytes.Buffer
	if err := dashboardPages.ExecuteTemplate(&drawn, "sheet", s); err != nil {
		fail(w, r, fmt.Errorf("the page can't be drawn: %w", err))
		return
	}
	write(w, r, s.status, "text/html; charset=utf-8", drawn.Bytes())
}

// versionOf changes when any of what is given does.
func versionOf(shown ...any) (string, error) {
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(shown); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// forget asks whether to forget the records, and does so.
func (d *Dashboard) forget(w http.ResponseWriter, r *http.Request, from Visitor) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s := d.sheet(r, from)
		s.Template, s.Title, s.Body = "forget", "Forget all records?", d.view.Overview()
		d.draw(w, r, s)
	case http.MethodPost:
		d.view.Clear()
		w.Header().Set("Location", "./")
		w.WriteHeader(http.StatusSeeOther)
	default:
		d.refuse(w, r, from, "")
	}
}

// ask asks whether to ask an upstream again, and does so.
func (d *Dashboard) ask(w http.ResponseWriter, r *http.Request, from Visitor) {
	s := d.sheet(r, from)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.Template, s.Title, s.Body = "ask", "Ask this upstream again?", r.URL.Query().Get("upstream")
		d.draw(w, r, s)
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			d.fail(w, r, from, wrong("the form can't be read: %v", err))
			return
		}
		p, err := d.askAgain(r.Context(), failure.ProbeQuery{Upstream: r.PostForm.Get("upstream")})
		if err != nil {
			d.fail(w, r, from, err)
			return
		}
		var text strings.Builder
		if err := writeProbe(&text, &p); err != nil {
			d.fail(w, r, from, err)
			return
		}
		s.Template, s.Title, s.Body = "asked", p.Summary, s.asked(&p, text.String())
		d.draw(w, r, s)
	default:
		d.refuse(w, r, from, "")
	}
}
