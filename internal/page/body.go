package page

import (
	"bytes"
	"encoding/json"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// problem is RFC 9457's object, with our extensions.
type problem struct {
	Type        string           `json:"type"`
	Title       string           `json:"title"`
	Status      int              `json:"status"`
	Detail      string           `json:"detail"`
	ID          string           `json:"id"`
	Category    failure.Category `json:"category,omitempty"`
	RequestSent failure.Sent     `json:"request_sent,omitempty"`
	RetryAfterS int64            `json:"retry_after_s,omitempty"`
	Failure     *failure.Failure `json:"failure,omitempty"`
}

func writeProblem(body *bytes.Buffer, d Data, minimal bool, details *failure.Failure) error {
	answer := problem{
		Type:        report.DocsURL + "#" + string(d.Category),
		Title:       d.Title,
		Status:      d.Status,
		Detail:      d.Detail,
		ID:          d.ID,
		Category:    d.Category,
		RequestSent: d.RequestSent,
		RetryAfterS: d.RetryAfterSeconds,
		Failure:     details,
	}
	if minimal {
		answer.Type, answer.Title = "about:blank", statusTitle(d)
	}
	return json.NewEncoder(body).Encode(answer)
}

// statusTitle is the title of about:blank, by RFC 9457, 4.2.1, the phrase of the status,
// which may be localized.
func statusTitle(d Data) string {
	phrase := http.StatusText(d.Status)
	if base, _, _ := strings.Cut(d.Lang, "-"); base != "en" || phrase == "" {
		return d.ErrorNumber
	}
	return phrase
}

// graphQLError is an error as the GraphQL specification has it,
// https://spec.graphql.org/October2021/#sec-Errors.
type graphQLError struct {
	Message    string            `json:"message"`
	Extensions graphQLExtensions `json:"extensions"`
}

// graphQLExtensions are a problem's, by the same names.
type graphQLExtensions struct {
	ID          string           `json:"id"`
	Category    failure.Category `json:"category,omitempty"`
	RequestSent failure.Sent     `json:"request_sent,omitempty"`
	RetryAfterS int64            `json:"retry_after_s,omitempty"`
}

// writeGraphQL writes a response without data, which may have any status of 400 or more:
// https://graphql.github.io/graphql-over-http/draft/#sec-application-graphql-response-json.
func writeGraphQL(body *bytes.Buffer, d Data) error {
	return json.NewEncoder(body).Encode(struct {
		Errors []graphQLError `json:"errors"`
	}{[]graphQLError{{
		Message:    d.Title + " – " + d.Detail,
		Extensions: graphQLExtensions{d.ID, d.Category, d.RequestSent, d.RetryAfterSeconds},
	}}})
}

// writeText writes the page's paragraphs for a terminal.
func writeText(body *bytes.Buffer, d Data) {
	for _, sentences := range [][]string{{d.Title}, {d.Detail, d.YourSide}, {d.Help, d.Became, d.ComeBack}} {
		if paragraph := join(d.Texts.Space(), sentences...); paragraph != "" {
			wrap(body, paragraph)
			body.WriteByte('\n')
		}
	}
	wrap(body, d.Texts.Reference+" "+d.ID)
	wrap(body, d.ErrorNumber+" · "+d.TimeUTC)
}

// join joins what there is.
func join(space string, sentences ...string) string {
	return strings.Join(slices.DeleteFunc(sentences, func(s string) bool { return s == "" }), space)
}

// writeOperator writes the built-in page with the whole failure in it.
func (p *Page) writeOperator(body *bytes.Buffer, d Data, details *failure.Failure) error {
	lookup := p.lookup
	lookup.Visitors = p.visitors(d)
	drawn, err := lookup.HTML(details)
	if err != nil {
		return err
	}
	d.Title, d.Report = report.Printable(details.Summary), drawn
	d.Style, d.Script = operatorStyle, ""
	return builtin.Execute(body, d)
}

// visitors are the sentences that a visitor would have been shown in the place of d.
func (p *Page) visitors(d Data) []string {
	d = p.data(d.Texts, d.Method, p.disclosed(d.Public))
	space := d.Texts.Space()
	return []string{d.Title, join(space, d.Detail, d.YourSide), join(space, d.Help, d.Became, d.ComeBack)}
}

// parts is a built-in page, cut where a value stands that changes from one
// request to the next. Running a template for each request costs a tenth of
// what the failing path does.
type parts []part

// part is a piece of the page and the value that follows it.
type part struct {
	text  string
	value value
}

// value is a changing value of the page.
type value int

const (
	valueID value = iota
	valueIDInLink
	valueTime
	valueTimeMachine
	valueComeBack
	valueWait
	valueErrorNumber
	// These are the same on many pages, which need not hold them each.
	valueStyle
	valueScript
	values
	noValue
)

// mark is a private-use character that stands for a value while the page is made.
// The template lets it through as it is, and Printable lets none of it into a
// brand's name.
func mark(v value) string { return string(firstMark + rune(v)) }

const firstMark = '\uE000'

// builtPages are the built-in pages of one language: for each situation, class of methods,
// request_sent, whether there is a Retry-After, whether it returns by itself, and whether
// it is small.
type builtPages [int(texts.SituationCount) * int(methodClasses) * sentStates * 8]atomic.Pointer[parts]

const sentStates = 4

// place is that of d's page.
func (b *builtPages) place(d Data) *atomic.Pointer[parts] {
	sent := 0
	switch d.RequestSent {
	case failure.SentNo:
		sent = 1
	case failure.SentMaybe:
		sent = 2
	case failure.SentYes:
		sent = 3
	}
	index := (int(d.situation)*int(methodClasses)+int(classOf(d.Method)))*sentStates + sent
	for _, yes := range []bool{d.RetryAfterSeconds > 0, d.Returns, d.Small} {
		index *= 2
		if yes {
			index++
		}
	}
	return &b[index]
}

func (p *Page) writeBuiltin(body *bytes.Buffer, d Data) error {
	pages := p.built[d.Texts.Index()].Load()
	if pages == nil {
		pages = new(builtPages)
		p.built[d.Texts.Index()].Store(pages)
	}
	place := pages.place(d)
	page := place.Load()
	if page == nil {
		made, err := p.build(d)
		if err != nil {
			return err
		}
		page = &made
		place.Store(page)
	}
	page.join(body, d)
	return nil
}

// build runs the template once, with marks in place of the changing values.
func (p *Page) build(d Data) (parts, error) {
	d.ID, d.TimeUTC, d.TimeMachine = mark(valueID), mark(valueTime), mark(valueTimeMachine)
	d.ErrorNumber, d.Style = mark(valueErrorNumber), template.CSS(mark(valueStyle))
	inLink := mark(valueIDInLink)
	d.Support = supportFor(p.brand.Support, d.Texts, inLink)
	d.Wait = waitMark
	if d.ComeBack != "" {
		d.ComeBack = mark(valueComeBack)
	}
	if d.Small {
		d.Script = ""
	} else {
		d.Script = template.JS(mark(valueScript))
	}
	var page bytes.Buffer
	if err := builtin.Execute(&page, d); err != nil {
		return nil, err
	}
	// In a link, and for a number, a mark is written otherwise.
	return cut(strings.NewReplacer(url.PathEscape(inLink), inLink, strings.ToLower(url.PathEscape(inLink)), inLink,
		strconv.Itoa(waitMark), mark(valueWait)).Replace(page.String())), nil
}

// waitMark stands for Wait, which is a number; no text of ours has it.
const waitMark = 7_919_000_001

// cut cuts a page at its marks.
func cut(page string) parts {
	var cut parts
	text := 0
	for i, r := range page {
		if r >= firstMark && r < firstMark+rune(values) {
			cut = append(cut, part{page[text:i], value(r - firstMark)})
			text = i + utf8.RuneLen(r)
		}
	}
	return append(cut, part{page[text:], noValue})
}

// join writes the page with d's values, escaped for text between tags and for attributes
// in quotes: that is where they stand.
func (ps parts) join(body *bytes.Buffer, d Data) {
	filled := [values]string{
		valueID:          html.EscapeString(d.ID),
		valueIDInLink:    strings.ReplaceAll(url.QueryEscape(d.ID), "+", "%20"),
		valueTime:        html.EscapeString(d.TimeUTC),
		valueTimeMachine: html.EscapeString(d.TimeMachine),
		valueComeBack:    html.EscapeString(d.ComeBack),
		valueWait:        strconv.FormatInt(d.Wait, 10),
		valueErrorNumber: html.EscapeString(d.ErrorNumber),
		valueStyle:       string(d.Style),
		valueScript:      string(script),
	}
	for _, part := range ps {
		body.WriteString(part.text)
		if part.value != noValue {
			body.WriteString(filled[part.value])
		}
	}
}
