package operator

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// How bad an incident is for those who ask, as pages show it: by shape, colour and words.
const (
	kindBad   = "bad"   // visitors notice
	kindSaved = "saved" // retries have kept it from all of them
	kindGood  = "good"  // it is over
)

// kindOfIncident is how bad an incident is.
func kindOfIncident(i *failure.Incident) string {
	switch {
	case i.State != failure.IncidentOpen:
		return kindGood
	case saved(i):
		return kindSaved
	}
	return kindBad
}

// saved says that each request that met an incident was rescued.
func saved(i *failure.Incident) bool {
	for outcome, n := range i.Outcomes {
		if outcome != failure.Rescued && n > 0 {
			return false
		}
	}
	return i.Outcomes[failure.Rescued] > 0
}

// rank is in which order incidents are to be looked at.
func rank(i *failure.Incident) int {
	return slices.Index([]string{kindBad, kindSaved, kindGood}, kindOfIncident(i))
}

// openIncidents are those that are open, in the order in which they are to be looked at.
type openIncidents struct {
	// seen are noticed by visitors, saved are not. Neither has what only follows from
	// another.
	seen, saved []*failure.Incident
	// because has for what follows from others which these are, follows the other way round.
	because, follows map[string][]*failure.Incident
}

// sortOpen puts incidents in order.
func (s *sheet) sortOpen(incidents []failure.Incident) openIncidents {
	sorted := openIncidents{because: map[string][]*failure.Incident{}, follows: map[string][]*failure.Incident{}}
	for n := range incidents {
		if i := &incidents[n]; i.State == failure.IncidentOpen && choosesNobody(i) {
			for _, origin := range s.originsOf(i, incidents) {
				sorted.because[i.ID] = append(sorted.because[i.ID], origin)
				sorted.follows[origin.ID] = append(sorted.follows[origin.ID], i)
			}
		}
	}
	for n := range incidents {
		i := &incidents[n]
		switch {
		case i.State != failure.IncidentOpen || len(sorted.because[i.ID]) > 0:
		case saved(i) && !slices.ContainsFunc(sorted.follows[i.ID], func(other *failure.Incident) bool { return !saved(other) }):
			sorted.saved = append(sorted.saved, i)
		default:
			sorted.seen = append(sorted.seen, i)
		}
	}
	return sorted
}

// choosesNobody says that an incident is of requests for which no upstream was left.
func choosesNobody(i *failure.Incident) bool {
	return i.Cause == cause.UpstreamsUnhealthy.Name || i.Cause == cause.UpstreamsFull.Name
}

// originsOf are the open incidents of the same site that have put an upstream out which i
// had to choose from.
func (s *sheet) originsOf(i *failure.Incident, incidents []failure.Incident) (origins []*failure.Incident) {
	out := map[string]failure.Reason{}
	for _, f := range s.samples(i) {
		for _, u := range f.Unavailable {
			out[u.Upstream] = u.Reason
		}
	}
	for n := range incidents {
		other := &incidents[n]
		reason := out[other.Upstream]
		if other.State != failure.IncidentOpen || other.Site != i.Site || choosesNobody(other) || reason == "" {
			continue
		}
		if s.began(other).After(i.LastSeen.Time) {
			continue // i was not met since then
		}
		if row := cause.ByName(other.Cause); reason == failure.ReasonFull && (row == nil || row.Category != failure.CategoryTimeout) {
			continue // what fails at once takes no room from others
		}
		origins = append(origins, other)
	}
	return origins
}

// began is when the first request came that met an incident: it is seen when that was over.
func (s *sheet) began(i *failure.Incident) time.Time {
	began := i.FirstSeen.Time
	if kept := s.samples(i); len(kept) > 0 {
		began = began.Add(-kept[len(kept)-1].DurationMS.Duration())
	}
	return began
}

// samples are the records of an incident that are still kept, newest first.
func (s *sheet) samples(i *failure.Incident) (kept []*failure.Failure) {
	if s.records == nil {
		s.records = s.allSamples()
	}
	for _, id := range slices.Backward(i.Samples) {
		f, known := s.records[id]
		if !known { // it came since then
			f, _ = s.view.Get(id)
			s.records[id] = f
		}
		if f != nil {
			kept = append(kept, f)
		}
	}
	return kept
}

// allSamples are those of all incidents, nil for one that isn't kept. They are found in one
// walk through all that is kept: to look for each of some hundred among 100,000 takes seconds.
func (s *sheet) allSamples() map[string]*failure.Failure {
	records := make(map[string]*failure.Failure)
	for n := range s.incidents {
		for _, id := range s.incidents[n].Samples {
			records[id] = nil
		}
	}
	if len(records) == 0 {
		return records
	}
	for _, f := range s.view.Query(failure.Query{Limit: math.MaxInt}).Failures {
		if _, wanted := records[f.ID]; wanted {
			records[f.ID] = f
		}
	}
	return records
}

// allIncidents are all that there are, open ones first; a page asks for them once.
func (s *sheet) allIncidents() []failure.Incident {
	s.openNow()
	return s.incidents
}

// openNow are those that are open now.
func (s *sheet) openNow() openIncidents {
	if s.open.because == nil {
		s.incidents = s.view.Incidents()
		s.open = s.sortOpen(s.incidents)
	}
	return s.open
}

// incidentCard is one incident.
type incidentCard struct {
	ID, URL                      string
	Summary, Advice              string
	Cause, Upstream, Site        link
	About                        string
	Kind                         string
	Open                         bool
	Whole                        bool // it has a page of its own
	First, Last                  moment
	Resolved                     *moment
	ResolvedBy, Lasted, Reopened string
	Closes                       string
	Count                        string
	Once                         bool
	Outcomes                     []count
	History                      spark
	Changes                      []string
	Samples                      []link
	Asked                        []string // the last requests that met it, newest first
	All                          string
	Ask                          string // where its upstream is asked again, "" for nowhere
	// Because are those from which it follows, Follows those that follow from it.
	Because, Follows []related
}

// related is another incident.
type related struct {
	URL, Summary, Kind string
	Outcomes           []count
}

// asks is where an upstream is asked again, "" for nowhere.
func (s *sheet) asks(upstream string) string {
	if !s.AllowProbe || upstream == "" || strings.Contains(upstream, "{") {
		return ""
	}
	return s.Root + askPath + "?" + url.Values{"upstream": {upstream}}.Encode()
}

func (s *sheet) incident(i *failure.Incident) incidentCard {
	card := incidentCard{
		ID: i.ID, URL: s.ofIncident(i.ID), Summary: i.Summary, Advice: i.Advice,
		Cause: link{i.Cause, s.filtered("cause", i.Cause)}, Upstream: link{i.Upstream, s.filtered("upstream", i.Upstream)},
		Site: link{i.Site, s.filtered("site", i.Site)}, About: s.about(i.Cause), Kind: kindOfIncident(i),
		Open: i.State == failure.IncidentOpen, First: s.moment(i.FirstSeen), Last: s.moment(i.LastSeen), Resolved: s.momentOf(i.ResolvedAt),
		ResolvedBy: i.ResolvedBy.Words(), Lasted: took(i.FirstSeen.Time, i.LastSeen.Time),
		Count: humanize.Comma(int64(min(i.Count, 1<<62))), Once: i.Count == 1, History: drawHistory(i.PerMinute[:]), All: s.filtered("incident", i.ID),
		Outcomes: s.outcomes(i), Ask: s.asks(i.Upstream),
	}
	switch i.ReopenedCount {
	case 0:
	case 1:
		card.Reopened = "It has come back once."
	default:
		card.Reopened = fmt.Sprintf("It has come back %d times.", i.ReopenedCount)
	}
	for _, change := range i.Changes {
		card.Changes = append(card.Changes, change.Summary)
	}
	for _, f := range s.samples(i) {
		card.Samples = append(card.Samples, s.ofFailure(f.ID))
		if asked := askedFor(f); asked != "" && len(card.Asked) < maxAsked && !slices.Contains(card.Asked, asked) {
			card.Asked = append(card.Asked, asked)
		}
	}
	slices.Reverse(card.Samples) // as they happened
	if !card.Open {
		return card
	}
	card.Closes = closes(i)
	open := s.openNow()
	for _, other := range open.because[i.ID] {
		card.Because = append(card.Because, s.related(other))
	}
	for _, other := range open.follows[i.ID] {
		card.Follows = append(card.Follows, s.related(other))
		if !saved(other) {
			card.Kind = kindBad
		}
	}
	return card
}

func (s *sheet) related(i *failure.Incident) related {
	return related{s.ofIncident(i.ID), i.Summary, kindOfIncident(i), s.outcomes(i)}
}

// outcomes are how the requests ended that met an incident.
func (s *sheet) outcomes(i *failure.Incident) (known []count) {
	for _, one := range s.counts(i.Outcomes, "incident", i.ID) {
		if one.Known {
			known = append(known, one)
		}
	}
	return known
}

// closes says when an open incident is over.
func closes(i *failure.Incident) string {
	whose := "its upstream answers"
	if i.Upstream == "" {
		whose = "one of its upstreams answers"
	}
	in := func(d time.Duration) string { return took(time.Time{}, time.Time{}.Add(d)) }
	return fmt.Sprintf("Closes %s after %s well again; or after %s without a failure.", in(failure.IncidentCalm), whose, in(failure.IncidentSilence))
}

// maxAsked is how many requests a card names, maxAskedLetters how much of each.
const maxAsked, maxAskedLetters = 2, 72

// askedFor is what a request asked for, as its record has it, without the query.
func askedFor(f *failure.Failure) string {
	path, _, _ := strings.Cut(f.Request.URI, "?")
	asked := strings.TrimSpace(f.Request.Method + " " + path)
	if utf8.RuneCountInString(asked) > maxAskedLetters {
		asked = string([]rune(asked)[:maxAskedLetters-1]) + "…"
	}
	return asked
}
