// Package operator is what the operator reads over HTTP: the failures and the
// catalogue of causes, as JSON and as text.
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// View is all that the operator is shown.
type View interface {
	Overview() failure.Overview
	// Query returns the failures that a query asks for, newest first.
	Query(failure.Query) failure.FailurePage
	Get(id string) (*failure.Failure, bool)
	// Incidents are all that are kept, open ones first.
	Incidents() []failure.Incident
	Incident(id string) (failure.Incident, bool)
	// Upstreams is how the upstreams of the running configs are.
	Upstreams() failure.Board
	// Probe asks an upstream once more. Its error is a failure.ProbeRefused where nobody was
	// asked, and otherwise that of who has left.
	Probe(context.Context, failure.ProbeQuery) (failure.Probe, error)
	// Clear forgets all failures and incidents.
	Clear()
}

// Operator serves what a View shows.
type Operator struct {
	view   View
	causes []*cause.Row
	// noProbe says what to set so that upstreams may be asked again; "" where they may.
	noProbe string
}

// Option is a choice of who mounts it.
type Option func(*Operator)

// WithoutProbe refuses to ask upstreams again, and says what to set so that it doesn't.
func WithoutProbe(set string) Option { return func(o *Operator) { o.noProbe = set } }

// New makes the handler of Requests, whose paths are relative to where it is mounted (with
// http.StripPrefix): no answer has a link or a redirect, so that it can be mounted
// anywhere. Who may ask is decided by who mounts it. The catalogue is rows.
//
// HEAD is answered as GET. Answers are JSON, or with `?format=text` or `Accept:
// text/plain` text for people; errors are JSON always.
func New(view View, rows []*cause.Row, options ...Option) http.Handler {
	return newOperator(view, rows, options)
}

func newOperator(view View, rows []*cause.Row, options []Option) *Operator {
	o := &Operator{view: view, causes: withLists(rows)}
	for _, option := range options {
		option(o)
	}
	return o
}

// withLists returns rows of which each has a list of rivals: null is no list.
func withLists(rows []*cause.Row) []*cause.Row {
	complete := make([]*cause.Row, 0, len(rows))
	for _, row := range rows {
		if row.Rivals == nil {
			withList := *row
			withList.Rivals = []cause.Rival{}
			row = &withList
		}
		complete = append(complete, row)
	}
	return complete
}

// answer is what is shown of one thing.
type answer struct {
	data any
	// text draws data for people.
	text func(io.Writer) error
}

// problem is an error that the operator is told.
type problem struct {
	status  int
	message string
	// retryAfter is after how long it may be asked again; 0 where that isn't known.
	retryAfter time.Duration
}

func (p *problem) Error() string { return p.message }

// sayWhen says after how long it may be asked again.
func (p *problem) sayWhen(header http.Header) {
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
}

func wrong(format string, values ...any) error {
	return &problem{status: http.StatusBadRequest, message: fmt.Sprintf(format, values...)}
}

// ServeHTTP implements http.Handler.
func (o *Operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	// Records hold what clients sent: no browser may take them for HTML.
	header.Set("X-Content-Type-Options", "nosniff")
	header.Add("Vary", "Accept")

	requests, id := requestsOf(r.URL.Path)
	if requests == nil {
		fail(w, r, &problem{status: http.StatusNotFound, message: "no such path: expected one of " + strings.Join(paths(), ", ")})
		return
	}
	request := withMethod(requests, r.Method)
	if request == nil {
		allowed := strings.Join(methods(requests), ", ")
		header.Set("Allow", allowed)
		fail(w, r, &problem{status: http.StatusMethodNotAllowed, message: fmt.Sprintf("expected one of the methods %s, got %+.16q", allowed, r.Method)})
		return
	}

	// Not r.URL.Query(), which leaves out what it can't read.
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		fail(w, r, wrong("the query can't be read: %v", err))
		return
	}
	if err := failure.CheckParameters(parameters, request.known()); err != nil {
		fail(w, r, wrong("%v", err))
		return
	}
	asText, err := wantsText(r, parameters)
	if err != nil {
		fail(w, r, err)
		return
	}
	parameters.Del("format")
	found, err := request.answer(o, asked{id, parameters, r})
	if err != nil {
		fail(w, r, err)
		return
	}
	if found.data == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	show(w, r, found, asText)
}

func (o *Operator) overview(asked) (answer, error) {
	overview := o.view.Overview()
	return answer{overview, func(w io.Writer) error { return writeOverview(w, overview) }}, nil
}

func (o *Operator) failures(asked asked) (answer, error) {
	page, err := o.query(asked.parameters)
	if err != nil {
		return answer{}, err
	}
	return answer{page, func(w io.Writer) error { return writeFailures(w, page) }}, nil
}

// query asks the view for what the parameters say.
func (o *Operator) query(parameters url.Values) (page failure.FailurePage, err error) {
	query, err := failure.ParseQuery(parameters, time.Now())
	if err != nil {
		return page, wrong("%v", err)
	}
	if err := o.knownCauses(query.Cause); err != nil {
		return page, err
	}
	if err := o.known("proxy_error", query.ProxyError, func(row *cause.Row) string { return row.ProxyError }); err != nil {
		return page, err
	}
	if page = o.view.Query(query); page.Failures == nil {
		page.Failures = []*failure.Failure{}
	}
	return page, nil
}

func (o *Operator) latest(asked asked) (answer, error) {
	asked.parameters.Set("limit", "1")
	page, err := o.query(asked.parameters)
	switch {
	case err != nil:
		return answer{}, err
	case len(page.Failures) > 0:
		return o.ofFailure(page.Failures[0]), nil
	case len(asked.parameters) > 1:
		return answer{}, &problem{status: http.StatusNotFound, message: "no failure that is kept passes these filters: /failures has those that do without them"}
	}
	return answer{}, &problem{status: http.StatusNotFound, message: "no failure is kept: none has happened yet, or they were forgotten"}
}

func (o *Operator) failure(asked asked) (answer, error) {
	f, ok := o.view.Get(asked.id)
	if !ok {
		return answer{}, &problem{status: http.StatusNotFound, message: fmt.Sprintf("no failure %+.64q is kept: expected the id of one that hasn't given way to newer ones yet, or latest", asked.id)}
	}
	return o.ofFailure(f), nil
}

func (o *Operator) ofFailure(f *failure.Failure) answer {
	return answer{f, func(w io.Writer) error { return LookupIn(o.view, o.causes).Text(w, f) }}
}

// incidentList is the answer that lists incidents.
type incidentList struct {
	Incidents []failure.Incident `json:"incidents"`
}

func (o *Operator) incidents(asked asked) (answer, error) {
	now := time.Now()
	query, err := failure.ParseIncidentQuery(asked.parameters, now)
	if err != nil {
		return answer{}, wrong("%v", err)
	}
	if err := o.knownCauses(query.Cause); err != nil {
		return answer{}, err
	}
	list := incidentList{[]failure.Incident{}}
	for _, i := range o.view.Incidents() {
		if query.Match(&i) {
			list.Incidents = append(list.Incidents, i)
		}
	}
	return answer{list, func(w io.Writer) error { return writeIncidents(w, list.Incidents) }}, nil
}

func (o *Operator) incident(asked asked) (answer, error) {
	i, ok := o.view.Incident(asked.id)
	if !ok {
		return answer{}, &problem{status: http.StatusNotFound, message: fmt.Sprintf("no incident %+.64q is kept: expected the id of one that /incidents lists", asked.id)}
	}
	return answer{i, func(w io.Writer) error { return writeIncident(w, &i, time.Now()) }}, nil
}

// causeList is the answer that lists the catalogue.
type causeList struct {
	Causes []*cause.Row `json:"causes"`
}

func (o *Operator) catalogue(asked) (answer, error) {
	return answer{causeList{o.causes}, func(w io.Writer) error { return writeCauses(w, o.causes) }}, nil
}

func (o *Operator) clear(asked) (answer, error) {
	o.view.Clear()
	return answer{}, nil
}

// knownCauses refuses a filter for a cause that is none.
func (o *Operator) knownCauses(names []string) error {
	return o.known("cause", names, func(row *cause.Row) string { return row.Name })
}

// known refuses a filter for something that no row of the catalogue has: a typo
// would look as if nothing had failed.
func (o *Operator) known(parameter string, values []string, of func(*cause.Row) string) error {
	var names []string
	for _, row := range o.causes {
		names = append(names, of(row))
	}
	for _, value := range values {
		if !slices.Contains(names, value) {
			return wrong("%s: expected one that the list of causes has, got %+.64q%s", parameter, value, typo.DidYouMean(typo.Nearest(value, names)))
		}
	}
	return nil
}

// wantsText says whether the answer is for people. JSON is, unless text is asked for
// by name: clients that take anything (curl, fetch) and those that prefer neither
// (axios sends "application/json, text/plain, */*") get JSON.
func wantsText(r *http.Request, parameters url.Values) (bool, error) {
	if formats, ok := parameters["format"]; ok {
		switch strings.Join(formats, ",") {
		case "text":
			return true, nil
		case "json":
			return false, nil
		}
		return false, wrong("format: expected json or text, got %+.64q", strings.Join(formats, ","))
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return quality(accept, "text/plain") > quality(accept, "application/json"), nil
}

// quality is how much an Accept field wants a type that it names (RFC 9110, section
// 12.5.1); 0 where it doesn't name it, or can't be read.
func quality(accept, mediaType string) (highest float64) {
	for element := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(element, ";")
		if !strings.EqualFold(strings.TrimSpace(name), mediaType) {
			continue
		}
		q := 1.0
		for parameter := range strings.SplitSeq(parameters, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if !strings.EqualFold(key, "q") {
				continue
			}
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil || !(0 <= q && q <= 1) {
				q = 0
			}
		}
		highest = max(highest, q)
	}
	return highest
}

// show writes an answer. It is drawn as a whole before, so that an error on the way
// is an error to the operator too, not half an answer.
func show(w http.ResponseWriter, r *http.Request, found answer, asText bool) {
	var drawn bytes.Buffer
	contentType, err := "text/plain; charset=utf-8", error(nil)
	if asText {
		err = found.text(&drawn)
	} else {
		contentType, err = "application/json", encode(&drawn, found.data)
	}
	if err != nil {
		fail(w, r, fmt.Errorf("the answer can't be drawn: %w", err))
		return
	}
	write(w, r, http.StatusOK, contentType, drawn.Bytes())
}

// errorAnswer is the answer that tells an error.
type errorAnswer struct {
	Error string `json:"error"`
}

// fail tells an error.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if p, ok := errors.AsType[*problem](err); ok {
		status = p.status
		p.sayWhen(w.Header())
	}
	var drawn bytes.Buffer
	_ = encode(&drawn, errorAnswer{err.Error()}) // a string always can be
	write(w, r, status, "application/json", drawn.Bytes())
}

func write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // who asked has left: nobody is there to be told
}

// encode writes data as one line of JSON, with <, > and & as they are.
func encode(w io.Writer, data any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(data)
}
