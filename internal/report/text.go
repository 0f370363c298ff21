package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// columns is the width of a waterfall in text.
const columns = 50

// cellWidth is how many characters of a name a table shows.
const cellWidth = 40

func writeText(b *bytes.Buffer, v view) {
	fmt.Fprintf(b, "%s\n\n", v.Summary)
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, one := range append([]fact{{"Cause", v.Cause}}, v.Tags...) {
		fmt.Fprintf(table, "%s\t%s\n", one.Label, one.Value)
	}
	_ = table.Flush() // a bytes.Buffer takes all
	if v.Advice != "" {
		fmt.Fprintf(b, "\nWhat to do\n  %s\n", v.Advice)
	}
	if v.Docs != "" {
		fmt.Fprintf(b, "  %s\n", v.Docs)
	}
	if len(v.Evidence) > 0 {
		b.WriteString("\nEvidence\n")
		for _, evidence := range v.Evidence {
			fmt.Fprintf(b, "  - %s\n", evidence)
		}
	}
	if len(v.Attempts) > 0 {
		b.WriteString("\nAttempts\n")
		writeWaterfall(b, v, "  ")
	}
	if len(v.Unavailable) > 0 {
		b.WriteString("\nNot available\n")
		for _, one := range v.Unavailable {
			fmt.Fprintf(b, "  - %s: %s\n", one.Label, one.Value)
		}
	}
	b.WriteByte('\n')
	for _, one := range v.Facts {
		fmt.Fprintf(table, "%s\t%s\n", one.Label, one.Value)
	}
	_ = table.Flush()
}

// writeWaterfall draws a phase as a row of its first letter (they all differ), and
// time in which no phase ran as dots.
func writeWaterfall(b *bytes.Buffer, v view, indent string) {
	for _, a := range v.Attempts {
		if a.Skipped > 0 {
			fmt.Fprintf(b, "%s … %d more …\n", indent, a.Skipped)
		}
		outcome := a.Cause
		if outcome == "" {
			outcome = "worked"
		}
		head := append(words(a.Upstream), a.Path...)
		fmt.Fprintf(b, "%s%2d  %s\n", indent, a.Number, strings.Join(append(head, outcome), ", "))
		fmt.Fprintf(b, "%s    [%s] %s%s\n", indent, line(a), a.Took, prefixed(": ", a.Label))
		if a.Error != "" {
			fmt.Fprintf(b, "%s    %s\n", indent, a.Error)
		}
	}
	legend := make([]string, 0, len(v.Phases))
	for _, phase := range v.Phases {
		legend = append(legend, phase[:1]+" "+phase)
	}
	if len(legend) > 0 {
		legend = append(legend, ". none of these")
	}
	fmt.Fprintf(b, "%s    0 to %s%s\n", indent, v.Length, prefixed(": ", strings.Join(legend, ", ")))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func line(a attempt) string {
	drawn := bytes.Repeat([]byte{' '}, columns)
	fill := func(at span, letter byte) {
		from := at.Start * columns / thousandths
		to := max((at.Start+at.Width)*columns/thousandths, from+1)
		for i := from; i < to; i++ {
			drawn[i] = letter
		}
	}
	fill(a.Whole, '.')
	for _, bar := range a.Bars {
		fill(bar.span, bar.Phase[0])
	}
	return string(drawn)
}

func writeMarkdown(b *bytes.Buffer, v view) {
	fmt.Fprintf(b, "### %s\n\n", escaped(v.Summary))
	tags := []string{"cause " + code(v.Cause)}
	for _, tag := range v.Tags {
		tags = append(tags, strings.ToLower(tag.Label)+" "+code(tag.Value))
	}
	fmt.Fprintf(b, "%s\n", strings.Join(tags, ", "))
	if v.Advice != "" {
		fmt.Fprintf(b, "\n**What to do**: %s", escaped(v.Advice))
		if v.Docs != "" {
			fmt.Fprintf(b, " ([about this cause](<%s>))", strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", `\`, "%5C").Replace(v.Docs))
		}
		b.WriteByte('\n')
	}
	if len(v.Evidence) > 0 {
		b.WriteString("\n**Evidence**\n\n")
		for _, evidence := range v.Evidence {
			fmt.Fprintf(b, "- %s\n", code(evidence))
		}
	}
	if len(v.Attempts) > 0 {
		var rows bytes.Buffer
		writeWaterfall(&rows, v, "")
		fence := strings.Repeat("`", max(longestRun(rows.String(), '`')+1, 3))
		fmt.Fprintf(b, "\n**Attempts**\n\n%stext\n%s%s\n", fence, rows.String(), fence)
	}
	if len(v.Unavailable) > 0 {
		b.WriteString("\n**Not available**\n\n")
		for _, one := range v.Unavailable {
			fmt.Fprintf(b, "- %s: %s\n", code(one.Label), code(one.Value))
		}
	}
	b.WriteString("\n| | |\n|---|---|\n")
	for _, one := range v.Facts {
		// GitHub's tables end a cell at a bar even inside of code.
		fmt.Fprintf(b, "| %s | %s |\n", escaped(one.Label), strings.ReplaceAll(code(one.Value), "|", `\|`))
	}
}

// code makes a code span, in which Markdown means nothing.
func code(s string) string {
	if s == "" {
		return ""
	}
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if len(fence) > 1 {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

func longestRun(s string, of byte) (longest int) {
	run := 0
	for i := range len(s) {
		if s[i] != of {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// escaped makes a sentence mean nothing but itself in Markdown.
func escaped(s string) string {
	return markdown.Replace(s)
}

var markdown = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `<`, `\<`, `>`, `\>`,
	`|`, `\|`, `#`, `\#`, `~`, `\~`, `&`, `\&`, `!`, `\!`, `$`, `\$`,
)

// Table lists failures in a line each, for a terminal.
func Table(w io.Writer, failures []*failure.Failure) error {
	if len(failures) == 0 {
		_, err := io.WriteString(w, "No failures.\n")
		return err
	}
	var drawn bytes.Buffer
	table := tabwriter.NewWriter(&drawn, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tID\tSITE\tOUTCOME\tSTATUS\tUPSTREAM\tCAUSE\tSUMMARY")
	for _, f := range failures {
		if f == nil {
			continue
		}
		cells := []string{
			timeOf(f), f.ID, f.Site, string(f.Outcome), number(f.Status), f.Upstream, f.Cause,
		}
		for i, value := range cells {
			cells[i] = Cell(value)
		}
		fmt.Fprintf(table, "%s\t%s\n", strings.Join(cells, "\t"), Printable(f.Summary))
	}
	_ = table.Flush() // a bytes.Buffer takes all
	_, err := w.Write(drawn.Bytes())
	return err
}

// Cell is s as a table shows it: printable, not too wide, and a dash for nothing.
func Cell(s string) string {
	s = Printable(s)
	if s == "" {
		return "-"
	}
	if utf8.RuneCountInString(s) <= cellWidth {
		return s
	}
	return string([]rune(s)[:cellWidth-1]) + "…"
}
