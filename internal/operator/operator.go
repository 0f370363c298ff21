// Package operator is what the operator reads over HTTP: the failures and the
// catalogue of causes, as JSON and as text.
package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
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
	// Clear forgets all failures and incidents.
	Clear()
}

// Operator serves what a View shows.
type Operator struct {
	view   View
	causes []*cause.Row
}

// New makes the handler of the paths below, which are relative to where it is
// mounted (with http.StripPrefix): no answer has a link or a redirect, so that it
// can be mounted anywhere. Who may ask is decided by who mounts it.
//
//	GET    /               counts by outcome, and what is kept
//	GET    /failures       the failures, filtered and paged as failure.ParseQuery says
//	GET    /failures/{id}  one failure
//	GET    /incidents      what goes wrong, open ones first
//	GET    /incidents/{id} one of them
//	GET    /upstreams      how each upstream is, those that get no requests first
//	GET    /causes         the catalogue, which is rows
//	DELETE /failures       forget them, and incidents; counts stay
//
// HEAD is answered as GET. Answers are JSON, or with `?format=text` or `Accept:
// text/plain` text for people; errors are JSON always.
func New(view View, rows []*cause.Row) http.Handler {
	return &Operator{view: view, causes: withLists(rows)}
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
}

func (p *problem) Error() string { return p.message }

func wrong(format string, values ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, values...)}
}

// action answers one method on one path. An answer without data is none: done.
type action func(parameters url.Values) (answer, error)

// ServeHTTP implements http.Handler.
func (o *Operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	// Records hold what clients sent: no browser may take them for HTML.
	header.Set("X-Content-Type-Options", "nosniff")
	header.Add("Vary", "Accept")

	get, remove := o.route(r.URL.Path)
	if get == nil {
		fail(w, r, &problem{http.StatusNotFound, "no such path: expected /, /failures, /failures/{id}, /incidents, /incidents/{id}, /upstreams or /causes"})
		return
	}
	do := get
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodDelete:
		do = remove
	default:
		do = nil
	}
	if do == nil {
		allowed := "GET, HEAD"
		if remove != nil {
			allowed += ", DELETE"
		}
		header.Set("Allow", allowed)
		fail(w, r, &problem{http.StatusMethodNotAllowed, "expected one of the methods " + allowed})
		return
	}

	// Not r.URL.Query(), which leaves out what it can't read.
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		fail(w, r, wrong("the query can't be read: %v", err))
		return
	}
	asText, err := wantsText(r, parameters)
	if err != nil {
		fail(w, r, err)
		return
	}
	parameters.Del("format")
	found, err := do(parameters)
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

// route returns what answers GET and DELETE on that path; nil where nothing does.
func (o *Operator) route(path string) (get, remove action) {
	switch path = strings.Trim(path, "/"); path {
	case "":
		return o.overview, nil
	case "failures":
		return o.failures, o.clear
	case "incidents":
		return o.incidents, nil
	case "upstreams":
		return o.upstreams, nil
	case "causes":
		return o.catalogue, nil
	}
	of, id, _ := strings.Cut(path, "/")
	if id == "" || strings.Contains(id, "/") {
		return nil, nil
	}
	switch of {
	case "failures":
		return func(parameters url.Values) (answer, error) { return o.failure(id, parameters) }, nil
	case "incidents":
		return func(parameters url.Values) (answer, error) { return o.incident(id, parameters) }, nil
	}
	return nil, nil
}

func (o *Operator) overview(parameters url.Values) (answer, error) {
	if err := none(parameters); err != nil {
		return answer{}, err
	}
	overview := o.view.Overview()
	return answer{overview, func(w io.Writer) error { return writeOverview(w, overview) }}, nil
}

func (o *Operator) failures(parameters url.Values) (answer, error) {
	query, err := failure.ParseQuery(parameters, time.Now())
	if err != nil {
		return answer{}, wrong("%v", err)
	}
	if err := o.known("cause", query.Cause, func(row *cause.Row) string { return row.Name }); err != nil {
		return answer{}, err
	}
	if err := o.known("proxy_error", query.ProxyError, func(row *cause.Row) string { return row.ProxyError }); err != nil {
		return answer{}, err
	}
	page := o.view.Query(query)
	if page.Failures == nil {
		page.Failures = []*failure.Failure{}
	}
	return answer{page, func(w io.Writer) error { return writeFailures(w, page) }}, nil
}

func (o *Operator) failure(id string, parameters url.Values) (answer, error) {
	if err := none(parameters); err != nil {
		return answer{}, err
	}
	f, ok := o.view.Get(id)
	if !ok {
		return answer{}, &problem{http.StatusNotFound, fmt.Sprintf("no failure %+.64q is kept: it may have given way to newer ones", id)}
	}
	return answer{f, func(w io.Writer) error { return report.Text(w, f) }}, nil
}

// incidents answers with those that pass all filters that are named: of one with several
// values, any of them.
func (o *Operator) incidents(parameters url.Values) (answer, error) {
	filters := map[string]func(*failure.Incident) string{
		"state":    func(i *failure.Incident) string { return string(i.State) },
		"site":     func(i *failure.Incident) string { return i.Site },
		"upstream": func(i *failure.Incident) string { return i.Upstream },
		"cause":    func(i *failure.Incident) string { return i.Cause },
	}
	list := o.view.Incidents()
	for name, given := range parameters {
		of := filters[name]
		if of == nil {
			return answer{}, wrong("unknown parameter %+.64q: expected one of %s, format", name, strings.Join(slices.Sorted(maps.Keys(filters)), ", "))
		}
		values := slices.DeleteFunc(strings.Split(strings.Join(given, ","), ","), func(value string) bool { return value == "" })
		if name == "cause" {
			if err := o.known(name, values, func(row *cause.Row) string { return row.Name }); err != nil {
				return answer{}, err
			}
		}
		for _, value := range values {
			if name == "state" && !slices.Contains(failure.IncidentStates, failure.IncidentState(value)) {
				return answer{}, wrong("state: expected open or resolved, got %+.64q", value)
			}
		}
		if len(values) > 0 {
			list = slices.DeleteFunc(list, func(i failure.Incident) bool { return !slices.Contains(values, of(&i)) })
		}
	}
	data := struct {
		Incidents []failure.Incident `json:"incidents"`
	}{append([]failure.Incident{}, list...)}
	return answer{data, func(w io.Writer) error { return writeIncidents(w, data.Incidents) }}, nil
}

func (o *Operator) incident(id string, parameters url.Values) (answer, error) {
	if err := none(parameters); err != nil {
		return answer{}, err
	}
	i, ok := o.view.Incident(id)
	if !ok {
		return answer{}, &problem{http.StatusNotFound, fmt.Sprintf("no incident %+.64q is kept", id)}
	}
	return answer{i, func(w io.Writer) error { return writeIncident(w, i) }}, nil
}

func (o *Operator) catalogue(parameters url.Values) (answer, error) {
	if err := none(parameters); err != nil {
		return answer{}, err
	}
	data := struct {
		Causes []*cause.Row `json:"causes"`
	}{o.causes}
	return answer{data, func(w io.Writer) error { return writeCauses(w, o.causes) }}, nil
}

func (o *Operator) clear(parameters url.Values) (answer, error) {
	if len(parameters) > 0 {
		return answer{}, wrong("expected no parameters: DELETE forgets all failures, not only some")
	}
	o.view.Clear()
	return answer{}, nil
}

// known refuses a filter for something that no row of the catalogue has: a typo
// would look as if nothing had failed.
func (o *Operator) known(parameter string, values []string, of func(*cause.Row) string) error {
	for _, value := range values {
		if !slices.ContainsFunc(o.causes, func(row *cause.Row) bool { return of(row) == value }) {
			return wrong("%s: expected one that the list of causes has, got %+.64q", parameter, value)
		}
	}
	return nil
}

// none refuses parameters where there is nothing to filter.
func none(parameters url.Values) error {
	for name := range parameters {
		return wrong("unknown parameter %+.64q: expected format or none", name)
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

// fail tells an error.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	if p, ok := errors.AsType[*problem](err); ok {
		status = p.status
	}
	data := struct {
		Error string `json:"error"`
	}{err.Error()}
	var drawn bytes.Buffer
	_ = encode(&drawn, data) // a string always can be
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
