// Package page answers a client whose request an upstream failed: in the form
// that the client can use, with what this client may know.
package page

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
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
	// Lookup finds what the operator's view shows beyond a record.
	Lookup report.Lookup
}

// Brand is how a page names the owner. All of it may be empty.
type Brand struct {
	Name string
	// LogoDataURI is an image as a data: URI.
	LogoDataURI string
	// Support and StatusPage are URLs.
	Support, StatusPage string
}

// Data is what a template is executed over: ID, Time, Status, Category, Title,
// Detail, RequestSent and RetryAfter of the failure, and these. In the owner's
// template every value is escaped for the place where it stands.
type Data struct {
	failure.Public
	// Method is the request's.
	Method string
	Brand  Brand
	// Logo is Brand.LogoDataURI, for the src of an image.
	Logo template.URL
	// RetryAfterSeconds is RetryAfter rounded up; 0 where nothing is known or
	// trying again may do harm.
	RetryAfterSeconds int64
	// Became says what became of the request, ComeBack when to try again;
	// either may be empty.
	Became, ComeBack string
	// TryAgain says that a link to the same address is a safe way to try again.
	TryAgain bool
	// YourSide says that the visitor's own side is fine; empty where it isn't.
	YourSide string
	// Hops show where the request's way is broken; none in minimal mode.
	Hops []Hop
	// TimeUTC is Time as people read it.
	TimeUTC string
	// Lang is the language of all these words.
	Lang string

	// For the built-in page only; Report is the operator's.
	Words  *words
	Style  template.CSS
	Report template.HTML
}

// Page answers for one handler. It is safe for concurrent use.
type Page struct {
	mode  Mode
	brand Brand
	// lookup is for the operator's view.
	lookup report.Lookup
	owner  *template.Template // nil for the built-in page
	words  *words

	policy         string // Content-Security-Policy of the built-in page
	operatorPolicy string
	// built are the parts of the built-in page, made when first needed.
	built [builtPages]atomic.Pointer[parts]
	// written is the time that was written last: in a storm, many answers have the same.
	written atomic.Pointer[writtenTime]
}

// writtenTime is a second as the page writes it.
type writtenTime struct {
	unix int64
	text string
}

// timeUTC writes a time to the second.
func (p *Page) timeUTC(at time.Time) string {
	unix := at.Unix()
	if w := p.written.Load(); w != nil && w.unix == unix {
		return w.text
	}
	w := &writtenTime{unix, at.UTC().Format("2006-01-02 15:04:05 UTC")}
	p.written.Store(w)
	return w.text
}

//go:embed page.html
var source string

//go:embed page.css
var stylesheet string

//go:embed operator.css
var operatorStylesheet string

var (
	builtin       = template.Must(template.New("page.html").Parse(source))
	style         = template.CSS(report.CompactCSS(stylesheet))
	operatorStyle = style + template.CSS(report.CompactCSS(operatorStylesheet)+report.Style)
)

// New parses the owner's template, if there is one, and tries it with every value
// that it can get, so that what is wrong with it is found when the config is loaded.
// Its error has the template's name and line.
func New(o Options) (*Page, error) {
	if o.Brand.LogoDataURI != "" && !strings.HasPrefix(o.Brand.LogoDataURI, "data:image/") {
		return nil, errors.New("the logo must be a data: URI of an image")
	}
	o.Brand.Name = report.Printable(o.Brand.Name)
	p := &Page{
		mode:           o.Mode,
		brand:          o.Brand,
		lookup:         o.Lookup,
		words:          &english,
		policy:         policy(style),
		operatorPolicy: policy(operatorStyle) + "; frame-ancestors 'none'",
	}
	if o.Template == "" {
		return p, nil
	}
	name := o.TemplateName
	if name == "" {
		name = "template"
	}
	owner, err := template.New(name).Parse(o.Template)
	if err != nil {
		return nil, err
	}
	p.owner = owner
	return p, p.tryOwner()
}

// What the owner's template is tried with, besides each category.
var (
	// One method of each class, with every status.
	triedMethods = []string{http.MethodGet, http.MethodOptions, http.MethodPost}
	// Other methods, one that nobody knows among them, with the common status.
	otherMethods = []string{http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, "PURGE"}
	// What Caddy answers for an upstream, and one that only an upstream answers.
	triedStatuses = []int{
		http.StatusBadRequest, http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 599,
	}
	triedSent       = []failure.Sent{"", failure.SentNo, failure.SentMaybe, failure.SentYes}
	triedRetryAfter = []time.Duration{0, 30 * time.Second}
)

// tryOwner runs the owner's template with every value that it gets when something
// failed: what it does with one of them would be found out by a visitor.
func (p *Page) tryOwner() error {
	for _, words := range failure.Categories {
		for _, sent := range triedSent {
			for _, retryAfter := range triedRetryAfter {
				for _, status := range triedStatuses {
					sample := p.disclosed(failure.Public{
						ID: "k3f9qw2ax", Time: failure.At(time.Unix(0, 0)), Status: status,
						Category: words.Category, Title: words.Title, Detail: words.Detail,
						RequestSent: sent, RetryAfter: retryAfter,
					})
					methods := triedMethods
					if status == http.StatusBadGateway {
						methods = slices.Concat(triedMethods, otherMethods)
					}
					if err := p.tryMethods(methods, sample); err != nil {
						return err
					}
				}
			}
		}
		if p.mode == Minimal {
			return nil // to the public all categories are one
		}
	}
	return nil
}

func (p *Page) tryMethods(methods []string, sample failure.Public) error {
	for _, method := range methods {
		if err := p.owner.Execute(&limited{io.Discard, maxOwner}, p.data(method, sample)); err != nil {
			return fmt.Errorf("%w (tried with Category %q, RequestSent %q, RetryAfterSeconds %d, Status %d and Method %s)",
				err, sample.Category, sample.RequestSent, seconds(sample.RetryAfter), sample.Status, method)
		}
	}
	return nil
}

// Answer writes the answer to r: public for everybody, with details, the whole
// failure, only for who may see it (and only where w is Shieldable). set are the fields
// that the caller has set already and that belong to the answer. An error says that
// writing failed, or that a template did and a plain text was written instead.
func (p *Page) Answer(w http.ResponseWriter, r *http.Request, public failure.Public, details *failure.Failure, set ...string) error {
	if public.Status < 400 || public.Status > 599 {
		public.Status = http.StatusBadGateway // WriteHeader panics on what is no status
	}
	timeout := public.Category == failure.CategoryTimeout
	if details == nil {
		public = p.disclosed(public)
	}
	d := p.data(r.Method, public)
	form := formFor(r)

	body := buffers.Get().(*bytes.Buffer)
	defer giveBack(body)
	form, failed := p.render(body, form, d, details)

	h := w.Header()
	dropStale(h)
	o := &own{fields: make([]field, 0, 8), operators: details != nil}
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
			o.set("Content-Security-Policy", p.operatorPolicy)
		case p.owner == nil:
			// Anybody may frame it: there is nothing in it to be tricked into, and a
			// frame that shows it is better than one that the browser blanks.
			o.set("Content-Security-Policy", p.policy)
		}
	case formProblem:
		o.set("Content-Type", "application/problem+json")
	case formGRPC:
		status = http.StatusOK
		o.set("Content-Type", grpcType(r.Header.Get("Content-Type")))
		o.set("Grpc-Status", grpcStatus(timeout, public.RequestSent))
		o.set("Grpc-Message", percentEncoded(d.Title))
	default:
		o.set("Content-Type", "text/plain; charset=utf-8")
	}
	if details != nil && form != formHTML {
		o.set("Content-Security-Policy", nothingAllowed)
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
			err = p.writeOwner(body, d)
		default:
			err = p.writeBuiltin(body, d)
		}
	case formProblem:
		err = writeProblem(body, d, p.mode == Minimal && details == nil, details)
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
	public.Title = p.words.MinimalTitle
	public.Detail = p.words.MinimalDetail
	return public
}

// data puts public into words. Its strings are printable from here on.
func (p *Page) data(method string, public failure.Public) Data {
	public.ID = report.Printable(public.ID)
	public.Title = report.Printable(public.Title)
	public.Detail = report.Printable(public.Detail)
	class := classOf(method)
	if class == changes && public.RequestSent != failure.SentNo {
		public.RetryAfter = 0 // nobody should be told to send it twice
	}
	d := Data{
		Public:            public,
		Method:            method,
		Brand:             p.brand,
		Logo:              template.URL(p.brand.LogoDataURI),
		RetryAfterSeconds: max(seconds(public.RetryAfter), 0),
		TryAgain:          class == reloads,
		Hops:              p.words.hops(public.Category),
		TimeUTC:           p.timeUTC(public.Time.Time),
		Lang:              p.words.Lang,
		Words:             p.words,
		Style:             style,
	}
	d.Became = p.words.became(public.Category, class, public.RequestSent, d.RetryAfterSeconds > 0)
	if d.RetryAfterSeconds > 0 {
		d.ComeBack = fmt.Sprintf(p.words.ComeBack, p.words.about(public.RetryAfter))
	}
	switch public.Category {
	case "", failure.CategoryRequest, failure.CategoryUnknown:
	default:
		d.YourSide = p.words.YourSideIsFine
	}
	return d
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
