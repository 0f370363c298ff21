package operator

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// upstreams answers with the upstreams that pass all filters. The warnings of the process
// pass all.
func (o *Operator) upstreams(asked asked) (answer, error) {
	query, err := failure.ParseBoardQuery(asked.parameters)
	if err != nil {
		return answer{}, wrong("%v", err)
	}
	board := o.view.Upstreams()
	board.Upstreams = slices.DeleteFunc(board.Upstreams, func(s failure.UpstreamState) bool { return !query.Match(&s) })
	return answer{board, func(w io.Writer) error { return writeBoard(w, board) }}, nil
}

// writeBoard draws the board: a line for each way to an upstream, and what there is to say of
// each where all lead to one.
func writeBoard(w io.Writer, board failure.Board) error {
	if len(board.Upstreams) == 0 {
		fmt.Fprintln(w, "No upstreams.")
	} else {
		table := columns(w)
		fmt.Fprintln(table, "STATE\tSINCE\tUPSTREAM\tSITES\tIN FLIGHT\tLAST SUCCESS\tLAST FAILURE\tWHY")
		for i := range board.Upstreams {
			s := &board.Upstreams[i]
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stateOf(s), when(s.FailingSince), report.Printable(s.Upstream), dash(report.Printable(strings.Join(s.Sites, ", "))),
				inFlight(s), when(s.LastSuccess), failureOf(s.LastFailure), dash(report.Printable(whyOf(s))))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	ways := make(map[string]int)
	for i := range board.Upstreams {
		ways[board.Upstreams[i].Upstream]++
	}
	switch {
	case len(ways) == 1:
		for i := range board.Upstreams {
			if err := writeUpstream(w, &board.Upstreams[i]); err != nil {
				return err
			}
		}
	case len(ways) < len(board.Upstreams):
		fmt.Fprintln(w, "\nOne that is reached in several ways (by another transport, or with other limits) has a line for each; ?upstream= shows what differs.")
	}
	writeWarnings(w, allWarnings(&board))
	return nil
}

// allWarnings are the process's and its upstreams', each once.
func allWarnings(board *failure.Board) []failure.Warning {
	warnings := slices.Clone(board.Warnings)
	for i := range board.Upstreams {
		for _, warning := range board.Upstreams[i].Warnings {
			told := func(before failure.Warning) bool {
				return before.Kind == warning.Kind && before.Upstream == warning.Upstream
			}
			if !slices.ContainsFunc(warnings, told) { // an upstream that is reached in two ways has them twice
				warnings = append(warnings, warning)
			}
		}
	}
	return warnings
}

// stateOf is how an upstream is in one word.
func stateOf(s *failure.UpstreamState) string {
	switch {
	case s.Reason == failure.ReasonFull:
		return "full"
	case s.Reason != "":
		return "down"
	case len(s.OpenIncidents) > 0:
		return "failing"
	case s.LastSuccess != nil, s.Healthy != nil:
		return "up"
	case !wasAsked(s):
		return "not asked"
	}
	return "unknown"
}

// wasAsked says that somebody has asked an upstream, as far as it is known: its records may be
// forgotten, which leaves its warnings.
func wasAsked(s *failure.UpstreamState) bool {
	return s.LastAnswer != nil || s.LastFailure != nil || s.Lookup != nil && s.Lookup.Error != "" ||
		len(s.Warnings) > 0 || s.InFlight != nil && *s.InFlight > 0
}

// whyOf is why an upstream gets no requests; why those fail that it gets, its last failure
// says.
func whyOf(s *failure.UpstreamState) string {
	var why []string
	if s.Reason != "" {
		why = append(why, s.Reason.Words())
	}
	if s.Check != "" {
		why = append(why, s.Check)
	}
	if s.Lookup != nil && s.Lookup.Error != "" {
		why = append(why, s.Lookup.Error)
	}
	return strings.Join(why, "; ")
}

func inFlight(s *failure.UpstreamState) string {
	if s.InFlight == nil {
		return "-"
	}
	n := strconv.Itoa(*s.InFlight)
	if s.MaxRequests > 0 {
		n += " of " + strconv.Itoa(s.MaxRequests)
	}
	return n
}

func when(at *failure.Timestamp) string {
	if at == nil {
		return "-"
	}
	return at.String()
}

func failureOf(last *failure.LastFailure) string {
	if last == nil {
		return "-"
	}
	return last.Cause + " " + last.Time.String() + " " + last.ID
}

// writeUpstream says the rest of one upstream.
func writeUpstream(w io.Writer, s *failure.UpstreamState) error {
	fmt.Fprintln(w)
	table := columns(w)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, report.Printable(value))
		}
	}
	row("Address", s.Address)
	row("Servers", strings.Join(s.Servers, ", "))
	transport := cmp.Or(s.Transport, "another")
	if s.Protocol != "" && s.Protocol != s.Transport {
		transport += ", " + s.Protocol
	}
	if s.TLS {
		transport += ", TLS"
	}
	row("Transport", transport)
	if s.Healthy != nil {
		row("Healthy", map[bool]string{true: "yes", false: "no"}[*s.Healthy])
	}
	if s.Fails != nil && s.MaxFails > 0 {
		row("Fails", fmt.Sprintf("%d of %d (max_fails)", *s.Fails, s.MaxFails))
	}
	row("Last answer", when(s.LastAnswer))
	if s.CertificateNotAfter != nil {
		row("Certificate", "valid until "+s.CertificateNotAfter.String())
	}
	row("Incidents", strings.Join(s.OpenIncidents, " "))
	limits := make([]string, 0, len(s.Limits))
	for _, limit := range s.Limits {
		limits = append(limits, limit.Name+" "+limitWords(limit))
	}
	row("Limits", strings.Join(limits, ", "))
	if s.Lookup != nil {
		row("Asked", s.Lookup.Time.String())
		row("Gave", strconv.Itoa(s.Lookup.AddressCount))
	}
	if err := table.Flush(); err != nil || s.Lookup == nil || len(s.Lookup.Addresses) == 0 {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(table, "ADDRESS\tLAST SUCCESS\tLAST FAILURE")
	for _, a := range s.Lookup.Addresses {
		fmt.Fprintf(table, "%s\t%s\t%s\n", report.Printable(a.Address), when(a.LastSuccess), failureOf(a.LastFailure))
	}
	return table.Flush()
}

// writeWarnings tells of each warning, nothing where there is none.
func writeWarnings(w io.Writer, warnings []failure.Warning) {
	for _, one := range warnings {
		fmt.Fprintf(w, "\nWarning: %s\n", report.Printable(one.Summary))
		for _, evidence := range one.Evidence {
			fmt.Fprintf(w, "  - %s\n", report.Printable(evidence))
		}
		times := "once"
		if one.Count != 1 {
			times = strconv.FormatUint(one.Count, 10) + " times"
		}
		fmt.Fprintf(w, "  - %s, seen %s, from %s to %s\n  What to do: %s\n", one.Kind, times, one.FirstSeen, one.LastSeen, report.Printable(one.Advice))
	}
}

// limitWords is the value of a limit in force, and whether nobody has set it.
func limitWords(limit failure.Limit) string {
	value := "none"
	if limit.ValueMS != nil {
		value = duration(limit.ValueMS.Duration())
	}
	if limit.Source == failure.LimitDefault {
		value += " (default)"
	}
	return value
}
