package failure

import (
	"fmt"
	"net/url"
	"time"
)

// IncidentQuery says which incidents are asked for. A filter that is empty lets all pass; one
// with several values lets any of them pass.
type IncidentQuery struct {
	State    []IncidentState
	Site     []string
	Upstream []string
	Cause    []string
	// Since asks for those that were seen then or later; the zero time for all.
	Since time.Time
}

// IncidentFilters are the parameters of ParseIncidentQuery, in the order of the documentation.
var IncidentFilters = []string{"state", "site", "upstream", "cause", "since"}

// ParseIncidentQuery reads a query from URL parameters, as ParseQuery does.
func ParseIncidentQuery(values url.Values, now time.Time) (q IncidentQuery, err error) {
	if err := CheckParameters(values, IncidentFilters); err != nil {
		return q, err
	}
	for _, name := range IncidentFilters {
		if err := q.set(name, values[name], now); err != nil {
			return IncidentQuery{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// set reads one parameter.
func (q *IncidentQuery) set(name string, values []string, now time.Time) error {
	if name == "since" {
		value, err := single(values)
		if value != "" && err == nil {
			q.Since, err = parseTime(value, now)
		}
		return err
	}
	list, err := split(values)
	if err != nil {
		return err
	}
	switch name {
	case "state":
		q.State, err = oneOf(list, IncidentStates)
	case "site":
		q.Site = list
	case "upstream":
		q.Upstream = list
	case "cause":
		q.Cause = list
	}
	return err
}

// Match says whether i passes all filters.
func (q IncidentQuery) Match(i *Incident) bool {
	return passes(q.State, i.State) && passes(q.Site, i.Site) && passes(q.Upstream, i.Upstream) && passes(q.Cause, i.Cause) &&
		(q.Since.IsZero() || !i.LastSeen.Before(q.Since))
}
