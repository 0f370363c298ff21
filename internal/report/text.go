package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// columns is the width of a waterfall in text, which leaves room for 100 columns in all, and
// fewestColumns what a narrow terminal leaves of it.
const (
	columns       = 50
	fewestColumns = 10
)

// cellWidth is how many characters of a name a table shows.
const cellWidth = 40

// Part is a part of a text that a terminal may show in a colour of its own.
type Part int

// The parts that are told apart.
const (
	PartHeadline Part = iota
	PartHeading
	PartLabel
	PartLink
	// PartFailed is what failed: a cause, the phase in which an attempt did.
	PartFailed
	// PartWorked is that an attempt worked.
	PartWorked
	// PartPhase is a phase of an attempt.
	PartPhase
)

// Terminal is where a text is drawn. The zero value is any that shows plain text.
type Terminal struct {
	Lookup Lookup
	// Paint colours a part, and changes nothing else of what is seen of it; nil leaves all
	// as it is.
	Paint func(Part, string) string
	// Width is how many columns there are: sentences are broken between words, and a
	// waterfall gets narrower; 0 for as many as it likes.
	Width int
}

func (t Terminal) paint(part Part, text string) string {
	if t.Paint == nil || text == "" {
		return text
	}
	return t.Paint(part, text)
}

// narrowestText is with how many columns sentences are still broken by us.
const narrowestText = 30

// wrapped breaks text into lines between words, for what stands indent columns from the
// left. A word that is too long stays whole: it is copied.
func (t Terminal) wrapped(text string, indent int) (lines []string) {
	room := t.Width - indent
	if t.Width == 0 || room < narrowestText {
		return []string{text}
	}
	line, used := "", 0
	for i, word := range strings.Split(text, " ") {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
			line, used = word, length
		case used+1+length > room:
			lines = append(lines, line)
			line, used = word, length
		default:
			line += " " + word
			used += 1 + length
		}
	}
	return append(lines, line)
}

// hanging is text behind a mark, below which its other lines stand.
func (t Terminal) hanging(mark, text string) string {
	indent := utf8.RuneCountInString(mark)
	return mark + strings.Join(t.wrapped(text, indent), "\n"+strings.Repeat(" ", indent)) + "\n"
}

// Text draws f as Lookup's method does, in colours and to a width.
func (t Terminal) Text(w io.Writer, f *failure.Failure) error {
	if f == nil {
		return errNothing
	}
	var drawn bytes.Buffer
	writeText(&drawn, t.Lookup.look(f), t)
	_, err := w.Write(drawn.Bytes())
	return err
}

func writeText(b *bytes.Buffer, v view, t Terminal) {
	fmt.Fprintf(b, "%s\n\n", t.paint(PartHeadline, strings.Join(t.wrapped(v.Summary, 0), "\n")))
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	facts := func(list ...fact) {
		indent := 0
		for _, one := range list {
			indent = max(indent, utf8.RuneCountInString(one.Label)+2)
		}
		for _, one := range list {
			label := one.Label
			for _, line := range t.wrapped(one.Value, indent) {
				// Each label is painted, so that all are as much longer than they look.
				fmt.Fprintf(table, "%s\t%s\n", t.paint(PartLabel, label), line)
				label = " "
			}
		}
		_ = table.Flush() // a bytes.Buffer takes all
	}
	heading := func(text string) { fmt.Fprintf(b, "\n%s\n", t.paint(PartHeading, text)) }
	list := func(items []string) {
		for _, item := range items {
			b.WriteString(t.hanging("  - ", item))
		}
	}
	tags := append([]fact{{Label: "Cause", Value: t.paint(PartFailed, v.Cause)}}, v.Tags...) // the cause is one word
	facts(append(tags, known(fact{Label: "Client got", Value: v.Got})...)...)
	if v.Advice != "" {
		heading("What to do")
		b.WriteString(t.hanging("  ", v.Advice))
	}
	if v.Docs != "" {
		fmt.Fprintf(b, "  %s\n", t.paint(PartLink, v.Docs))
	}
	if len(v.Guide.Reasons) > 0 {
		heading("Usual reasons")
		list(v.Guide.Reasons)
	}
	if places := v.Guide.places(); len(places) > 0 {
		heading("How to change it")
		for _, place := range places {
			b.WriteString(t.hanging("  - ", place.Label+": "+place.Value))
			if place.Label == inCaddy && v.Guide.Caddyfile != "" {
				b.WriteString("\n      " + strings.ReplaceAll(strings.ReplaceAll(v.Guide.Caddyfile, "\t", "    "), "\n", "\n      ") + "\n\n")
			}
		}
	}
	if len(v.Evidence) > 0 {
		heading("Evidence")
		list(v.Evidence)
	}
	if len(v.Attempts) > 0 {
		heading("Attempts")
		writeWaterfall(b, v, "  ", t)
	}
	if len(v.Unavailable) > 0 {
		heading("Not available")
		for _, one := range v.Unavailable {
			b.WriteString(t.hanging("  - ", one.Upstream+": "+one.text()))
		}
	}
	for _, group := range v.Groups {
		heading(group.Name)
		var indented []fact
		for _, one := range group.Facts {
			one.Label = "  " + one.Label
			indented = append(indented, one)
		}
		facts(indented...)
	}
}

const inCaddy = "in Caddy"

// places are how to end a cause, each with where.
func (g Guide) places() []fact {
	return known(fact{Label: inCaddy, Value: g.Caddy}, fact{Label: "in Docker", Value: g.Docker}, fact{Label: "in the application", Value: g.Application})
}

// writeWaterfall draws all attempts on one axis: a phase as a row of its first letter (they
// all differ), in capitals where the attempt failed in it, and time in which no phase ran
// as dots.
func writeWaterfall(b *bytes.Buffer, v view, indent string, t Terminal) {
	wide := columns
	if t.Width > 0 {
		wide = max(fewestColumns, min(columns, t.Width-len(indent)-len("    []")))
	}
	failed := false
	for _, a := range v.Attempts {
		if a.Skipped > 0 {
			fmt.Fprintf(b, "%s … %d more …\n", indent, a.Skipped)
		}
		outcome := t.paint(PartFailed, a.Cause)
		if outcome == "" {
			outcome = t.paint(PartWorked, "worked")
		}
		head := slices.Concat(words(a.Upstream, a.Role), a.Path)
		b.WriteString(t.hanging(fmt.Sprintf("%s%2d  ", indent, a.Number), strings.Join(append(head, outcome), ", ")))
		fmt.Fprintf(b, "%s    [%s]", indent, line(a, wide, t))
		if t.Width > 0 && len(indent)+len("    [] ")+wide+utf8.RuneCountInString(a.Took) > t.Width {
			fmt.Fprintf(b, "\n%s   ", indent)
		}
		fmt.Fprintf(b, " %s\n", a.Took)
		for _, said := range words(a.Label, a.Error) {
			b.WriteString(t.hanging(indent+"    ", said))
		}
		failed = failed || slices.ContainsFunc(a.Bars, func(bar bar) bool { return bar.Failed })
	}
	fmt.Fprintf(b, "%s     %s\n", indent, ruler(v.Ticks, wide))
	legend := make([]string, 0, len(v.Phases))
	for _, phase := range v.Phases {
		legend = append(legend, phase[:1]+" "+phase)
	}
	if len(legend) > 0 {
		legend = append(legend, ". none of these")
	}
	if failed {
		legend = append(legend, "in capitals where it failed")
	}
	b.WriteString(t.hanging(indent+"    ", "The request took "+v.Took+prefixed(". ", strings.Join(legend, ", "))))
}

// ruler is an axis of that many columns: each point's label begins, behind a mark, at its
// place. One that has no room is left out.
func ruler(ticks []tick, wide int) string {
	var drawn strings.Builder
	used := 0
	for _, tick := range ticks {
		at := min(tick.At*wide/thousandths, wide-1)
		label := "|" + tick.Label
		length := utf8.RuneCountInString(label)
		if at < used {
			continue
		}
		drawn.WriteString(strings.Repeat(" ", at-used) + label)
		if used = at + length; used < wide {
			drawn.WriteByte(' ')
			used++
		}
	}
	return strings.TrimRight(drawn.String(), " ")
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// line draws an attempt in that many columns.
func line(a attempt, wide int, t Terminal) string {
	drawn := bytes.Repeat([]byte{' '}, wide)
	fill := func(at span, letter byte) {
		from := at.Start * wide / thousandths
		to := max((at.Start+at.Width)*wide/thousandths, from+1)
		for i := from; i < to; i++ {
			drawn[i] = letter
		}
	}
	fill(a.Whole, '.')
	for _, bar := range a.Bars {
		fill(bar.span, bar.Phase[0])
	}
	for _, bar := range a.Bars {
		if bar.Failed { // no other may hide it
			fill(bar.span, bar.Phase[0]-('a'-'A'))
		}
	}
	var painted strings.Builder
	for rest := drawn; len(rest) > 0; {
		n := len(rest) - len(bytes.TrimLeft(rest, string(rest[:1])))
		part := PartPhase
		if 'A' <= rest[0] && rest[0] <= 'Z' {
			part = PartFailed
		}
		if rest[0] == ' ' || rest[0] == '.' {
			painted.Write(rest[:n])
		} else {
			painted.WriteString(t.paint(part, string(rest[:n])))
		}
		rest = rest[n:]
	}
	return painted.String()
}

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
