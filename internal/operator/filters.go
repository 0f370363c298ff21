package operator

import (
	"maps"
	"net/url"
	"slices"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// filterForm asks for filters of a list.
type filterForm struct {
	Action string
	// Fields are written, Choices chosen; Kept are the other filters in force.
	Fields  []filterField
	Choices []filterChoice
	Kept    []named
}

// filterField is a filter that is written; Known are values that it may have.
type filterField struct {
	Label, Name, Value string
	Known              []string
}

// filterChoice is a filter of which each value is known.
type filterChoice struct {
	Label, Name string
	Options     []option
}

type option struct {
	Value, Words string
	Chosen       bool
}

// outcomeChoice and stateChoice are what a list has to choose from, and sinceChoice what both
// have.
var (
	outcomeChoice = filterChoice{Label: "Outcome", Name: "outcome", Options: optionsOf(failure.Outcomes)}
	stateChoice   = filterChoice{Label: "State", Name: "state", Options: optionsOf(failure.IncidentStates)}
	sinceChoice   = filterChoice{Label: "Since", Name: "since", Options: []option{
		{Value: "", Words: "ever"}, {Value: "15m", Words: "15 minutes ago"}, {Value: "1h", Words: "an hour ago"}, {Value: "24h", Words: "a day ago"},
	}}
)

func optionsOf[T ~string](values []T) []option {
	options := []option{{Words: "any"}}
	for _, value := range values {
		options = append(options, option{Value: string(value), Words: outcomeWords(failure.Outcome(value))})
	}
	return options
}

// choosing is the choice with what is chosen; a value that is none of its options becomes one.
func (c filterChoice) choosing(value string) filterChoice {
	c.Options = slices.Clone(c.Options)
	for n := range c.Options {
		if c.Options[n].Value == value {
			c.Options[n].Chosen = true
			return c
		}
	}
	c.Options = append(c.Options, option{value, value, true})
	return c
}

// maxKnown bounds how many values are offered for a filter.
const maxKnown = 100

// form asks for filters of a list; each of its values is one that an incident has.
func (s *sheet) form(path string, filters url.Values, choice filterChoice) filterForm {
	var sites, upstreams, causes []string
	incidents := s.allIncidents()
	for n := range incidents {
		i := &incidents[n]
		sites, upstreams, causes = append(sites, i.Site), append(upstreams, i.Upstream), append(causes, i.Cause)
	}
	form := filterForm{Action: s.Root + path}
	for _, field := range []filterField{
		{"Site", "site", filters.Get("site"), known(sites)},
		{"Upstream", "upstream", filters.Get("upstream"), known(upstreams)},
		{"Cause", "cause", filters.Get("cause"), known(causes)},
	} {
		if len(filters[field.Name]) > 1 {
			continue // it stands among those that are kept
		}
		if !plain(field.Value) {
			field.Value = ""
		}
		form.Fields = append(form.Fields, field)
	}
	for _, one := range []filterChoice{choice, sinceChoice} {
		if value := filters.Get(one.Name); plain(value) {
			form.Choices = append(form.Choices, one.choosing(value))
		}
	}
	asked := []string{choice.Name, sinceChoice.Name}
	for _, field := range form.Fields {
		asked = append(asked, field.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		if slices.Contains(asked, name) {
			continue
		}
		for _, value := range filters[name] {
			if plain(value) {
				form.Kept = append(form.Kept, named{name, value})
			}
		}
	}
	return form
}

// plain says that a value looks in a field like what it is: a field shows it as it is, or does
// as it says. One that isn't is filtered by links alone.
func plain(value string) bool { return report.Printable(value) == value }

// known are the values that there are, once each.
func known(values []string) []string {
	slices.Sort(values)
	values = slices.DeleteFunc(slices.Compact(values), func(value string) bool { return value == "" || !plain(value) })
	return values[:min(len(values), maxKnown)]
}
