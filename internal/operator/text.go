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
	table := columns(w)
	for _, outcome := range failure.Outcomes {
		fmt.Fprintf(table, "  %s\t%d\n", outcome, o.Counts[outcome])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nOpen incidents: %d\n", o.OpenIncidents)
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

func writeIncidents(w io.Writer, list []failure.Incident) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No incidents.")
		return err
	}
	table := columns(w)
	fmt.Fprintln(table, "STATE\tFIRST SEEN\tLAST SEEN\tCOUNT\tCAUSE\tUPSTREAM\tSITE\tINCIDENT")
	for i := range list {
		one := &list[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", one.State, one.FirstSeen, one.LastSeen, one.Count, one.Cause, dash(one.Upstream), dash(one.Site), one.ID)
	}
	return table.Flush()
}

func writeIncident(w io.Writer, i failure.Incident) error {
	fmt.Fprintf(w, "%s\n\n", i.Summary)
	table := columns(w)
	row := func(name string, value any) { fmt.Fprintf(table, "%s\t%v\n", name, value) }
	row("State", i.State)
	row("Cause", i.Cause)
	row("Upstream", dash(i.Upstream))
	row("Site", dash(i.Site))
	row("First seen", i.FirstSeen)
	row("Last seen", fmt.Sprintf("%s, %s later", i.LastSeen, duration(i.LastSeen.Sub(i.FirstSeen.Time).Round(time.Second))))
	if i.ResolvedAt != nil {
		row("Resolved", fmt.Sprintf("%s (%s)", i.ResolvedAt, i.ResolvedBy))
	}
	if i.ReopenedCount > 0 {
		row("Reopened", i.ReopenedCount)
	}
	ended := make([]string, 0, len(failure.Outcomes))
	for _, outcome := range failure.Outcomes {
		if n := i.Outcomes[outcome]; n > 0 {
			ended = append(ended, fmt.Sprintf("%d %s", n, outcome))
		}
	}
	row("Requests", fmt.Sprintf("%d: %s", i.Count, strings.Join(ended, ", ")))
	row("Last hour", fmt.Sprint(i.PerMinute[:]))
	row("Failures", strings.Join(i.Samples, " "))
	row("Incident", i.ID)
	if err := table.Flush(); err != nil {
		return err
	}
	if i.Advice == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nWhat to do\n  %s\n", i.Advice)
	return err
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
