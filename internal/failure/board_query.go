package failure

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
)

// Health is what health checks and circuit breakers say of an upstream.
type Health string

// What they say; unknown where there are none.
const (
	HealthTrue    Health = "true"
	HealthFalse   Health = "false"
	HealthUnknown Health = "unknown"
)

// Healths are all of them.
var Healths = []Health{HealthTrue, HealthFalse, HealthUnknown}

// BoardQuery says which upstreams of a board are asked for. A filter that is empty lets all
// pass; one with several values lets any of them pass.
type BoardQuery struct {
	// Upstream is what is configured, what is dialled, or what a dynamic source gave last.
	Upstream []string
	Site     []string
	Healthy  []Health
}

// BoardFilters are the parameters of ParseBoardQuery, in the order of the documentation.
var BoardFilters = []string{"upstream", "site", "healthy"}

// ParseBoardQuery reads a query from URL parameters, as ParseQuery does.
func ParseBoardQuery(values url.Values) (q BoardQuery, err error) {
	if err := CheckParameters(values, BoardFilters); err != nil {
		return q, err
	}
	for _, name := range BoardFilters {
		list, err := split(values[name])
		switch name {
		case "upstream":
			q.Upstream = list
		case "site":
			q.Site = list
		case "healthy":
			if err == nil {
				q.Healthy, err = oneOf(list, Healths)
			}
		}
		if err != nil {
			return BoardQuery{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// Match says whether s passes all filters.
func (q BoardQuery) Match(s *UpstreamState) bool {
	return (len(q.Upstream) == 0 || slices.ContainsFunc(q.Upstream, s.isNamed)) &&
		(len(q.Site) == 0 || slices.ContainsFunc(q.Site, func(site string) bool { return slices.Contains(s.Sites, site) })) &&
		passes(q.Healthy, s.health())
}

// isNamed says that s is configured so, or that this is dialled, or was given last.
func (s *UpstreamState) isNamed(name string) bool {
	return s.Upstream == name || s.Address == name ||
		s.Lookup != nil && slices.ContainsFunc(s.Lookup.Addresses, func(a SourceAddress) bool { return a.Address == name })
}

func (s *UpstreamState) health() Health {
	if s.Healthy == nil {
		return HealthUnknown
	}
	return Health(strconv.FormatBool(*s.Healthy))
}
