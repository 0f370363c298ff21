// Package page answers a client whose request an upstream failed: in the form
// that the client can use, with what this client may know.
package page

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// Mode is how much the public is told.
type Mode int

const (
	// Public names the category of the cause.
	Public Mode = iota
	// Minimal doesn't.
	Minimal
)

// Options are what a handler's config says of its page.
type Options struct {
	Mode Mode
	// Template is the source of the owner's own page, an html/template over
	// Data; "" for the built-in page. TemplateName is what its errors call it.
	Template, TemplateName string
	Brand                  Brand
	// Languages are those that it can answer in; nil for the embedded ones, each visitor's.
	Languages *texts.Languages
	// Lookup finds what the operator's view shows beyond a record.
	Lookup report.Lookup
}

// Brand is how a page names the owner. All of it may be empty.
type Brand struct {
	Name string
	// LogoDataURI is an image as a data: URI.
	LogoDataURI string
	// LogoOnly shows the logo without the name, which is what it says to who can't see it.
	LogoOnly bool
	// Support is an http, https, mailto or tel URL, which the caller has checked.
	Support template.URL
	// StatusPage is a URL.
	StatusPage string
}

// Data is what a template is executed over: ID, Time, Status, Category, RequestSent and
// RetryAfter of the failure, and these. In the owner's template every value is escaped
// for the place where it stands. Templates depend on it: a field may be added, none goes
// nor gets another name. docs/page.md says what each is.
type Data struct {
	failure.Public
	// Title says what happened, Detail what it means, and Help what the visitor can
	// change; it may be empty.
	Title, Detail, Help string
	// Method is the request's.
	Method string
	Brand  Brand
	// Logo is Brand.LogoDataURI, for the src of an image.
	Logo template.URL
	// Support is Brand.Support; mail to it has the reference as its subject.
	Support template.URL
	// RetryAfterSeconds is RetryAfter rounded up; 0 where nothing is known or
	// trying again may do harm.
	RetryAfterSeconds int64
	// Became says what became of the request, ComeBack when to try again, GoBack that
	// what was typed may still be there; each may be empty.
	Became, ComeBack, GoBack string
	// TryAgain says that a link to the same address is a safe way to try again.
	TryAgain bool
	// Returns says that the page may look by itself whether the site answers again, Wait
	// after how many seconds first.
	Returns bool
	Wait    int64
	// YourSide says that the visitor's own side is fine; empty where it isn't.
	YourSide string
	// DoesNotHelp says what visitors try, and what changes nothing; empty where it may, and
	// where the page can't be loaded again.
	DoesNotHelp string
	// Hops show where the request's way is broken; none in minimal mode.
	Hops []Hop
	// ErrorNumber says Status.
	ErrorNumber string
	// TimeUTC is Time as people read it, TimeMachine as the datetime of <time> has it.
	TimeUTC, TimeMachine string
	// Lang is the language of all these words, Dir the direction of its script (ltr, rtl).
	Lang, Dir string
	// Texts are all words in that language.
	Texts *texts.Texts
	// Small says that the page is shown within another.
	Small bool

	// Style and Script are the built-in page's, for the partials of it.
	Style  template.CSS
	Script template.JS
	// Report is the operator's, in the built-in page only.
	Report template.HTML

	situation texts.Situation
}

// Page answers for one handler. It is safe for concurrent use.
type Page struct {
	mode  Mode
	brand Brand
	// lookup is for the operator's view.
	lookup report.Lookup
	owner  *template.Template // nil for the built-in page

	languages *texts.Languages
	// built are the parts of the built-in page for each language, made when first needed.
	built []atomic.Pointer[builtPages]
	// written is the time that was written last: in a storm, many answers have the same.
	written atomic.Pointer[writtenTime]
}

// writtenTime is a second as the page writes it.
type writtenTime struct {
	unix              int64
	people, forScript string
}

// times writes a time to the second: as people read it, and as a script does.
func (p *Page) times(at time.Time) (people, forScript string) {
	unix := at.Unix()
	w := p.written.Load()
	if w == nil || w.unix != unix {
		w = &writtenTime{unix, at.UTC().Format("2006-01-02 15:04:05 UTC"), at.UTC().Format(time.RFC3339)}
		p.written.Store(w)
	}
	return w.people, w.forScript
}

//go:embed page.html
var source string

// partials are the parts of the built-in page that an owner's template can have, too.
//
//go:embed partials.html
var partials string

//go:embed page.js
var scriptSource string

//go:embed page.css
var stylesheet string

// smallStylesheet is what a page within another has besides.
//
//go:embed small.css
var smallStylesheet string

//go:embed operator.css
var operatorStylesheet string

var (
	builtin       = template.Must(template.Must(template.New("page.html").Parse(partials)).Parse(source))
	style         = template.CSS(report.CompactCSS(stylesheet))
	smallStyle    = style + template.CSS(report.CompactCSS(smallStylesheet))
	operatorStyle = style + template.CSS(report.CompactCSS(operatorStylesheet)+report.Style)
	script        = template.JS(compactScript(scriptSource))

	smallPolicy    = policyOf(smallStyle, "")
	scriptPolicy   = policyOf(style, script)
	operatorPolicy = policyOf(operatorStyle, "") + "; frame-ancestors 'none'"
)

// supportSchemes are how a link to support may begin.
var supportSchemes = []string{"http", "https", "mailto", "tel"}

// New parses the owner's template, if there is one, and tries it with every value
// that it can get, so that what is wrong with it is found when the config is loaded.
// Its error has the template's name and line.
func New(o Options) (*Page, error) {
	if o.Brand.LogoDataURI != "" && !strings.HasPrefix(o.Brand.LogoDataURI, "data:image/") {
		return nil, errors.New("the logo must be a data: URI of an image")
	}
	if scheme, _, _ := strings.Cut(string(o.Brand.Support), ":"); scheme != "" && !slices.Contains(supportSchemes, strings.ToLower(scheme)) {
		return nil, fmt.Errorf("a link to support begins with one of %s", strings.Join(supportSchemes, ", "))
	}
	o.Brand.Name = report.Printable(o.Brand.Name)
	if o.Languages == nil {
		var err error
		if o.Languages, err = texts.New(texts.Auto, nil, ""); err != nil {
			return nil, err
		}
	}
	p := &Page{
		mode:      o.Mode,
		brand:     o.Brand,
		lookup:    o.Lookup,
		languages: o.Languages,
		built:     make([]atomic.Pointer[builtPages], o.Languages.Len()),
	}
	if o.Template == "" {
		return p, nil
	}
	var err error
	if p.owner, err = parseOwner(cmp.Or(o.TemplateName, "template"), o.Template); err != nil {
		return nil, err
	}
	return p, p.tryOwner()
}

// Answer writes the answer to r: public for everybody, with details, the whole
// failure, only for who may see it (and only where w is Shieldable). set are the fields
// that the caller has set already and that belong to the answer. An error says that
// writing failed, or that a template did and a plain text was written instead.
func (p *Page) Answer(w http.ResponseWriter, r *http.Request, public failure.Public, details *failure.Failure, set ...string) error {
	if public.Status < 400 || public.Status > 599 {
		public.Status = http.StatusBadGateway // WriteHeader panics on what is no status
	}
	if details == nil {
		public = p.disclosed(public)
	}
	language := p.languages.For(r.Header)
	if details != nil {
		language = texts.English() // as all of an operator's view
	}
	d := p.data(language, r.Method, public)
	chosen := choose(r)
	form := chosen.form
	if form == formSmall {
		form, d.Small, d.Style, d.Script = formHTML, true, smallStyle, ""
	}

	body := buffers.Get().(*bytes.Buffer)
	defer giveBack(body)
	form, failed := p.render(body, form, d, details)

	h := w.Header()
	dropStale(h)
	o := &own{fields: make([]field, 0, 8), operators: details != nil, depends: chosen.by}
	for _, name := range set {
		if value := h.Get(name); value != "" {
			o.set(name, value)
		}
	}
	o.set("Cache-Control", "no-store")
	o.set("X-Robots-Tag", "noindex")
	o.set("X-Content-Type-Options", "nosniff")
	o.set("Upstream-Failure-Id", d.ID)
	if d.RetryAfterSeconds > 0 {
		o.set("Retry-After", strconv.FormatInt(d.RetryAfterSeconds, 10))
	}
	if details != nil {
		o.set("Vary", "*")
		o.set("Referrer-Policy", "no-referrer")
		o.set("Cross-Origin-Resource-Policy", "same-origin")
		o.set("X-Frame-Options", "DENY")
	}

	status := d.Status
	switch form {
	case formBare:
		h.Del("Content-Type")
	case formHTML:
		o.set("Content-Type", "text/html; charset=utf-8")
		switch {
		case details != nil:
			o.set("Content-Security-Policy", operatorPolicy)
		case p.owner != nil:
		// Anybody may frame it: there is nothing in it to be tricked into, and a frame
		// that shows it is better than one that the browser blanks.
		case d.Small:
			o.set("Content-Security-Policy", smallPolicy)
		default:
			o.set("Content-Security-Policy", scriptPolicy)
		}
	case formProblem:
		o.set("Content-Type", "application/problem+json")
	case formGraphQL:
		o.set("Content-Type", "application/graphql-response+json; charset=utf-8")
	case formGRPC:
		status = http.StatusOK
		o.set("Content-Type", rpcType(chosen.mediaType))
		o.set("Grpc-Status", rpcCodeOf(d).number)
		o.set("Grpc-Message", percentEncoded(d.Title))
	case formGRPCWeb, formGRPCWebText, formConnectStream:
		status = http.StatusOK
		o.set("Content-Type", rpcType(chosen.mediaType))
	case formConnect:
		status = rpcCodeOf(d).status
		o.set("Content-Type", "application/json")
	default:
		o.set("Content-Type", "text/plain; charset=utf-8")
	}
	if details != nil && form != formHTML {
		o.set("Content-Security-Policy", nothingAllowed)
	}
	if body.Len() > 0 || form == formGRPC {
		o.set("Content-Language", d.Lang)
		o.varies = p.languages.Vary()
	}
	o.apply(h)
	h["Content-Length"] = []string{strconv.Itoa(body.Len())}
	shielded(w, o)
	w.WriteHeader(status)
	if r.Method == http.MethodHead || body.Len() == 0 {
		return failed
	}
	_, _ = w.Write(body.Bytes()) // a client that is gone is nothing to tell of
	return failed
}

// render writes the body and returns the form that it has: after a template
// failed, and the error says so, it is plain text.
func (p *Page) render(body *bytes.Buffer, form form, d Data, details *failure.Failure) (form, error) {
	var err error
	switch form {
	case formBare, formGRPC:
		return form, nil
	case formHTML:
		switch {
		case details != nil:
			err = p.writeOperator(body, d, details)
		case p.owner != nil:
			err = p.runOwner(body, d)
		default:
			err = p.writeBuiltin(body, d)
		}
	case formProblem:
		err = writeProblem(body, d, p.mode == Minimal && details == nil, details)
	case formGraphQL:
		err = writeGraphQL(body, d)
	case formGRPCWeb, formGRPCWebText:
		writeGRPCWeb(body, d, form == formGRPCWebText)
	case formConnect:
		err = writeConnect(body, d)
	case formConnectStream:
		err = writeConnectStream(body, d)
	default:
		if details != nil {
			err = p.lookup.Text(body, details)
		} else {
			writeText(body, d)
		}
	}
	if err == nil {
		return form, nil
	}
	body.Reset()
	writeText(body, d)
	return formText, fmt.Errorf("a plain text was sent instead of the page: %w", err)
}

// disclosed is what the public is told of public in this page's mode.
func (p *Page) disclosed(public failure.Public) failure.Public {
	if p.mode != Minimal {
		return public
	}
	public.Category = ""
	return public
}

// firstWait is after how many seconds a page looks first whether the site answers again,
// where it isn't known when that is worth it. The script doubles it each time, to 150 s,
// and adds up to as much again, so that those who wait don't look at once. A page that it
// has loaded again goes on from there, by the window's name unless that is somebody's.
const firstWait = 5

// data puts public into words. Its strings are printable from here on.
func (p *Page) data(t *texts.Texts, method string, public failure.Public) Data {
	public.ID = report.Printable(public.ID)
	situation := texts.SituationOf(public.Category, public.Status)
	words := t.Words(situation)
	class := classOf(method)
	if !situation.Again() || class == changes && public.RequestSent != failure.SentNo {
		public.RetryAfter = 0 // it can't help, or nobody should be told to send it twice
	}
	d := Data{
		Public:            public,
		Title:             words.Title,
		Detail:            words.Detail,
		Help:              words.Help,
		Method:            method,
		Brand:             p.brand,
		Logo:              template.URL(p.brand.LogoDataURI),
		Support:           p.brand.Support,
		RetryAfterSeconds: max(seconds(public.RetryAfter), 0),
		TryAgain:          class == reloads && situation.Again(),
		Returns:           class == reloads && situation.Again(),
		Wait:              firstWait,
		Hops:              hops(t, situation, p.brand.Name),
		ErrorNumber:       t.Status(public.Status),
		Lang:              t.Lang(),
		Dir:               t.Dir(),
		Texts:             t,
		Style:             style,
		Script:            script,
		situation:         situation,
	}
	if p.owner != nil { // the built-in page has its own: see build
		d.Support = supportFor(p.brand.Support, t, public.ID)
	}
	d.TimeUTC, d.TimeMachine = p.times(public.Time.Time)
	d.Became = became(t, situation, class, public.RequestSent, d.RetryAfterSeconds > 0)
	if d.RetryAfterSeconds > 0 && situation.Again() {
		d.ComeBack, d.Wait = t.ComeBack(d.RetryAfterSeconds), d.RetryAfterSeconds
	}
	if class == changes {
		d.GoBack = t.GoBack
	}
	if !situation.ByVisitor() {
		d.YourSide = t.NotYourSide
		if d.TryAgain {
			d.DoesNotHelp = t.DoesNotHelp
		}
	}
	return d
}

// supportFor is where a visitor finds help; a mail to there has the reference in its
// subject, after the owner's own (RFC 6068).
func supportFor(support template.URL, t *texts.Texts, id string) template.URL {
	address, query, _ := strings.Cut(string(support), "?")
	if !strings.HasPrefix(address, "mailto:") {
		return support
	}
	// In there, + is itself and no space, and ; separates nothing.
	fields, err := url.ParseQuery(strings.NewReplacer("+", "%2B", ";", "%3B").Replace(query))
	if err != nil {
		return support
	}
	for name, values := range fields {
		if name != "subject" && strings.EqualFold(name, "subject") {
			delete(fields, name)
			fields["subject"] = values
		}
	}
	fields.Set("subject", strings.TrimSpace(fields.Get("subject")+" "+t.ReferenceLabel+" "+id))
	return template.URL(address + "?" + strings.ReplaceAll(fields.Encode(), "+", "%20"))
}

// compactScript joins the lines of our script, each of which ends where a statement or a
// bracket does, and takes the space around its operators out. Its texts have none of them.
func compactScript(source string) string {
	joined := report.CompactCSS(source)
	for _, operator := range []string{"=", "=>", "+", ",", "?", ":", "<", ">", "*", "|", "||", ";"} {
		joined = strings.ReplaceAll(joined, " "+operator+" ", operator)
	}
	return strings.NewReplacer(", ", ",", "; ", ";", ": ", ":", "if (", "if(", ") ", ")", ";}", "}").Replace(joined)
}

// buffers are reused; one that has grown beyond keptCapacity is not kept.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const keptCapacity = 64 << 10

func giveBack(b *bytes.Buffer) {
	if b.Cap() > keptCapacity {
		return
	}
	b.Reset()
	buffers.Put(b)
}
