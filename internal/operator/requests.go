package operator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Request is one thing that the operator may ask.
type Request struct {
	Method string
	// Path is relative to where this is mounted; {id} in it stands for an id.
	Path string
	// Parameters are those of the query, besides the format, which each has that is answered
	// with something.
	Parameters []string
	// Answer is what is answered, in one line.
	Answer string

	answer func(*Operator, asked) (answer, error)
}

// asked is what one request asks for.
type asked struct {
	id         string
	parameters url.Values
	request    *http.Request
}

// Requests are all that there are: what is served, what a 404 names, and what README.md and
// docs/openapi.yaml describe. A path is that of the first one that fits.
var Requests = []Request{
	{http.MethodGet, "/", nil, "counts by outcome, open incidents, warnings, what is kept, since when", (*Operator).overview},
	{http.MethodGet, "/failures", failure.QueryParameters, "the records, newest first", (*Operator).failures},
	{http.MethodGet, "/failures/latest", failure.Filters, "the newest record that passes the same filters", (*Operator).latest},
	{http.MethodGet, "/failures/{id}", nil, "one record", (*Operator).failure},
	{http.MethodGet, "/incidents", failure.IncidentFilters, "what is broken and what was, open ones first", (*Operator).incidents},
	{http.MethodGet, "/incidents/{id}", nil, "one incident", (*Operator).incident},
	{http.MethodGet, "/upstreams", failure.BoardFilters, "the board: each upstream, healthy or why not, its limits, requests in flight, last success and last failure, open incidents, and warnings before something breaks", (*Operator).upstreams},
	{http.MethodGet, "/causes", nil, "the catalogue", (*Operator).catalogue},
	{http.MethodPost, "/probe", nil, "ask an upstream once more, step by step", (*Operator).probe},
	{http.MethodDelete, "/failures", nil, "forget the records and the incidents; the counts stay", (*Operator).clear},
}

// known are the parameters that a request may have.
func (r *Request) known() []string {
	if r.Method == http.MethodDelete {
		return r.Parameters
	}
	return append(slices.Clone(r.Parameters), "format")
}

// idSegment stands for an id in a path.
const idSegment = "{id}"

// fits says whether a path is that of the request, and what its id is. A slash too many at
// either end doesn't matter.
func (r *Request) fits(path string) (id string, ok bool) {
	path, pattern := strings.Trim(path, "/"), strings.Trim(r.Path, "/")
	before, ofOne := strings.CutSuffix(pattern, idSegment)
	if !ofOne {
		return "", path == pattern
	}
	id, ok = strings.CutPrefix(path, before)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// requestsOf returns the requests of a path, and the id in it.
func requestsOf(path string) (found []*Request, id string) {
	for n := range Requests {
		r := &Requests[n]
		if len(found) > 0 && found[0].Path != r.Path {
			continue
		}
		if named, ok := r.fits(path); ok {
			found, id = append(found, r), named
		}
	}
	return found, id
}

// withMethod returns the request with a method; HEAD is GET.
func withMethod(requests []*Request, method string) *Request {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, r := range requests {
		if r.Method == method {
			return r
		}
	}
	return nil
}

// methods are those that requests are answered with.
func methods(requests []*Request) (list []string) {
	for _, r := range requests {
		list = append(list, r.Method)
		if r.Method == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	return list
}

// paths are those of all requests, each once.
func paths() (list []string) {
	for _, r := range Requests {
		if !slices.Contains(list, r.Path) {
			list = append(list, r.Path)
		}
	}
	return list
}
