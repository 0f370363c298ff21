package terminal

import (
	"fmt"
	"strconv"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// look is a word's symbol and colour.
type look struct {
	symbol string
	colour colour
}

// What happened hurts whoever asked, is to be known, or is nobody's concern: as the levels
// of the log, error, warning and information.
var (
	hurts  = look{"✗", red}
	warns  = look{"!", yellow}
	saved  = look{"↻", yellow}
	calm   = look{"·", dim}
	open   = look{"●", alarm}
	solved = look{"✓", green}
)

func lookOf(f *failure.Failure) look {
	switch {
	case f.Side == failure.SideClient || f.Outcome == failure.Abandoned:
		return calm
	case f.Outcome == failure.Rescued:
		return saved
	case f.Outcome == failure.UpstreamAnswered:
		return warns
	}
	return hurts
}

// word is a word with its symbol.
func (s Screen) word(l look, word string) cell {
	if s.symbols() {
		word = l.symbol + " " + word
	}
	return cell{word, l.colour}
}

// line is a sentence that begins with a symbol. It may have hostile words in it.
func (s Screen) line(l look, sentence string) string {
	return s.paint(l.colour, s.word(l, report.Printable(sentence)).text) + "\n"
}

func failureTable() *table {
	return newTable(
		column{title: "TIME"},
		column{title: "ID"},
		column{title: "OUTCOME", leaves: 1},
		column{title: "STATUS", leaves: 2},
		column{title: "SITE", least: 12, leaves: 4},
		column{title: "UPSTREAM", least: 14},
		column{title: "CAUSE", least: 18},
		column{title: "SUMMARY", least: 30, leaves: 3},
	)
}

func failureRow(s Screen, f *failure.Failure, time string) []cell {
	l, status := lookOf(f), ""
	if f.Status != 0 {
		status = strconv.Itoa(f.Status)
	}
	return []cell{
		{text: time}, {f.ID, cyan}, s.word(l, string(f.Outcome)), {text: status}, {text: f.Site}, {text: f.Upstream},
		{f.Cause, l.colour}, {text: f.Summary},
	}
}

func incidentTable() *table {
	return newTable(
		column{title: "STATE", leaves: 3},
		column{title: "SINCE"},
		column{title: "LAST SEEN", leaves: 1},
		column{title: "REQUESTS", leaves: 2},
		column{title: "SITE", least: 12, leaves: 6},
		column{title: "UPSTREAM", least: 14},
		column{title: "CAUSE", least: 18},
		column{title: "INCIDENT", leaves: 5},
		column{title: "SUMMARY", least: 30, leaves: 4},
	)
}

func incidentRow(s Screen, i *failure.Incident, now time.Time) []cell {
	l := open
	if i.State != failure.IncidentOpen {
		l = solved
	}
	return []cell{
		s.word(l, string(i.State)), {text: s.when(i.FirstSeen, now)}, {text: s.when(i.LastSeen, now)},
		{text: strconv.FormatUint(i.Count, 10)}, {text: i.Site}, {text: i.Upstream},
		{i.Cause, l.colour}, {i.ID, cyan}, {text: i.Summary},
	}
}

// calmSentence says that nothing is open, and since when: since the last one was resolved,
// or since failures are recorded.
func (s Screen) calmSentence(resolved *failure.Incident, recordedSince failure.Timestamp, now time.Time, filtered bool) string {
	of := ""
	if filtered {
		of = " of what is asked for"
	}
	if resolved == nil {
		return fmt.Sprintf("No incident%s was opened since recording began, %s.", of, s.at(recordedSince, now))
	}
	what := resolved.Cause
	if resolved.Upstream != "" {
		what = resolved.Upstream + ", " + what
	}
	return fmt.Sprintf("No incident%s is open; the last one was resolved %s (%s).", of, s.at(*resolved.ResolvedAt, now), what)
}
