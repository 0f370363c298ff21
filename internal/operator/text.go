package operator

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// columns makes a table whose columns are two spaces apart.
func columns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func writeOverview(w io.Writer, o failure.Overview) error {
	fmt.Fprintf(w, "Failures since %s\n\n", o.Since)
	if o.NoHandler {
		fmt.Fprintf(w, "Now %s.\n\n", failure.NothingRecorded)
	}
	table := columns(w)
	for _, outcome := range failure.Outcomes {
		fmt.Fprintf(table, "  %s\t%d\n", outcome, o.Counts[outcome])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nOpen incidents: %d\n", o.OpenIncidents)
	if o.OpenIncidents > 0 {
		fmt.Fprintln(w, "  what they are: /incidents?state=open")
	}
	if o.Dropped > 0 {
		fmt.Fprintf(w, "Of no incident, because too many were open: %d\n", o.Dropped)
	}
	fmt.Fprintf(w, "Warnings: %d\n", o.Warnings)
	if len(o.UpgradesEnded) > 0 {
		fmt.Fprint(w, "\nUpgraded connections ended")
		for i, by := range slices.Sorted(maps.Keys(o.UpgradesEnded)) {
			fmt.Fprintf(w, "%s by the %s: %d", map[bool]string{true: "", false: ","}[i == 0], by, o.UpgradesEnded[by])
		}
		fmt.Fprintln(w)
	}
	kept := fmt.Sprintf("Kept: %d of at most %d", o.KeptCount, o.Keep)
	if o.KeepForS > 0 {
		kept += ", each for " + duration(time.Duration(o.KeepForS*float64(time.Second)))
	}
	if o.Oldest != nil {
		kept += fmt.Sprintf(", the oldest of %s", o.Oldest)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", kept)
	return err
}

func writeFailures(w io.Writer, page failure.FailurePage) error {
	if err := report.Table(w, page.Failures); err != nil {
		return err
	}
	if page.Next == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nOlder ones: before=%s\n", page.Next)
	return err
}

// recentMinutes is how much of an incident's history a list shows.
const recentMinutes = 15

func writeIncidents(w io.Writer, list []failure.Incident) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No incidents.")
		return err
	}
	table := columns(w)
	fmt.Fprintf(table, "STATE\tFIRST SEEN\tLAST SEEN\tCOUNT\tLAST %d MIN\tINCIDENT\tSITE\tUPSTREAM\tCAUSE\tSUMMARY\n", recentMinutes)
	for n := range list {
		i := &list[n]
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", i.State, i.FirstSeen, i.LastSeen, i.Count,
			bars(i.PerMinute[failure.HistoryMinutes-recentMinutes:]), report.Cell(i.ID), report.Cell(i.Site), report.Cell(i.Upstream),
			report.Cell(i.Cause), report.Printable(i.Summary))
	}
	return table.Flush()
}

// writeIncident draws an incident as report.Text draws a failure.
func writeIncident(w io.Writer, i *failure.Incident, now time.Time) error {
	fmt.Fprintf(w, "%s\n\n", report.Printable(i.Summary))
	facts := func(rows ...[2]string) {
		table := columns(w)
		for _, row := range rows {
			if row[1] != "" {
				fmt.Fprintf(table, "%s\t%s\n", row[0], report.Printable(row[1]))
			}
		}
		_ = table.Flush() // the answer is drawn into memory, which takes all
	}
	facts(
		[2]string{"State", incidentState(i, now)},
		[2]string{"Cause", i.Cause},
		[2]string{"Phase", string(i.Phase)},
		[2]string{"Side", string(i.Side)},
		[2]string{"Proxy error", i.ProxyError},
	)
	writeChanges(w, i.Changes)
	if i.Advice != "" {
		fmt.Fprintf(w, "\nWhat to do\n  %s\n  %s\n", report.Printable(i.Advice), report.CauseURL(report.Printable(i.Cause)))
	}
	fmt.Fprintf(w, "\nRequests that met it\n  %s\n  [%s] each is a minute of the last hour, %s\n", outcomesOf(i), bars(i.PerMinute[:]), mostOf(i.PerMinute[:]))
	if len(i.Samples) > 0 {
		fmt.Fprintf(w, "\nFailures\n  %s\n  one of them: /failures/%s, all that are kept: /failures?incident=%s\n",
			samplesOf(i), report.Printable(i.Samples[len(i.Samples)-1]), report.Printable(i.ID))
	}
	if err := writeProbes(w, i); err != nil {
		return err
	}
	fmt.Fprintln(w)
	facts(
		[2]string{"Site", i.Site},
		[2]string{"Upstream", i.Upstream},
		[2]string{"First seen", i.FirstSeen.String()},
		[2]string{"Last seen", i.LastSeen.String()},
		[2]string{"Resolved", timeOf(i.ResolvedAt)},
		[2]string{"Incident", i.ID},
	)
	return nil
}

// incidentState says how it stands with an incident.
func incidentState(i *failure.Incident, now time.Time) string {
	state := fmt.Sprintf("open for %s, last seen %s ago", since(i.FirstSeen, now), since(i.LastSeen, now))
	if i.ResolvedAt != nil {
		state = fmt.Sprintf("resolved %s ago, after %s: %s", since(*i.ResolvedAt, now), since(i.FirstSeen, i.LastSeen.Time), i.ResolvedBy.Words())
	}
	switch i.ReopenedCount {
	case 0:
	case 1:
		state += "; it has come back once"
	default:
		state += fmt.Sprintf("; it has come back %d times", i.ReopenedCount)
	}
	return state
}

// since is the time between two, in whole seconds.
func since(from failure.Timestamp, to time.Time) string {
	return duration(max(0, to.Sub(from.Time)).Round(time.Second))
}

func timeOf(t *failure.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.String()
}

// outcomesOf says how the requests of an incident ended.
func outcomesOf(i *failure.Incident) string {
	ended := make([]string, 0, len(failure.Outcomes))
	for _, outcome := range failure.Outcomes {
		if n := i.Outcomes[outcome]; n > 0 {
			ended = append(ended, fmt.Sprintf("%d %s", n, outcome))
		}
	}
	return fmt.Sprintf("%d: %s", i.Count, strings.Join(ended, ", "))
}

// samplesOf lists ids, with a gap where the incident had failures in between.
func samplesOf(i *failure.Incident) string {
	ids := make([]string, 0, len(i.Samples)+1)
	for n, id := range i.Samples {
		if n == failure.MaxSamples/2 && i.Count > uint64(len(i.Samples)) {
			ids = append(ids, "…")
		}
		ids = append(ids, report.Printable(id))
	}
	return strings.Join(ids, " ")
}

// levels are how high a bar can be.
var levels = []rune("▁▂▃▄▅▆▇█")

// bars draws a number as a bar of its height, and 0 as a dot: a single one among thousands
// is seen.
func bars(numbers []uint32) string {
	drawn, most := make([]rune, len(numbers)), uint64(slices.Max(numbers))
	for n, number := range numbers {
		if drawn[n] = '·'; number > 0 {
			drawn[n] = levels[(uint64(number)*uint64(len(levels))-1)/most]
		}
	}
	return string(drawn)
}

// mostOf says how high the highest bar is.
func mostOf(numbers []uint32) string {
	if most := slices.Max(numbers); most > 0 {
		return fmt.Sprintf("the highest %d", most)
	}
	return "none in it"
}

func writeCauses(w io.Writer, rows []*cause.Row) error {
	table := columns(w)
	fmt.Fprintln(table, "CAUSE\tCATEGORY\tPHASE\tSIDE\tSTATUS\tPROXY ERROR\tSUMMARY")
	for _, row := range rows {
		status := ""
		if row.Status != 0 {
			status = strconv.Itoa(row.Status)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, row.Category,
			dash(string(row.Phase)), dash(string(row.Side)), dash(status), dash(row.ProxyError), row.Summary)
	}
	return table.Flush()
}

// duration is d without the zeros behind it: 24h.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
