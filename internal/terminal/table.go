package terminal

import (
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// gap is between two columns.
const gap = "  "

// column is one of a table.
type column struct {
	title string
	// least is how narrow it may get on a terminal that is too narrow for all, before a
	// column leaves; 0 for as wide as its cells.
	least int
	// leaves says which columns leave there: the one with the highest first, one with 0
	// never.
	leaves int
}

// cell is what stands in a column. Its text may be hostile.
type cell struct {
	text   string
	colour colour
}

// table is lines below each other: more may come, so that its columns get wider, never
// narrower.
type table struct {
	columns []column
	widths  []int
}

func newTable(columns ...column) *table {
	t := &table{columns: columns, widths: make([]int, len(columns))}
	for i, column := range columns {
		t.widths[i] = widthOf(column.title)
	}
	return t
}

// draw draws rows, below a head where one is asked for.
func (t *table) draw(s Screen, head bool, rows ...[]cell) string {
	for _, row := range rows {
		for i := range row {
			if row[i].text = report.Printable(row[i].text); row[i].text == "" {
				row[i].text = "-"
			}
			t.widths[i] = max(t.widths[i], widthOf(row[i].text))
		}
	}
	if head {
		titles := make([]cell, len(t.columns))
		for i, column := range t.columns {
			titles[i] = cell{column.title, dim}
		}
		rows = append([][]cell{titles}, rows...)
	}
	widths := t.fit(s)
	var drawn strings.Builder
	for _, row := range rows {
		t.line(&drawn, s, widths, row)
	}
	return drawn.String()
}

// fit returns how wide each column is on a screen; 0 for one that leaves.
func (t *table) fit(s Screen) []int {
	widths := slices.Clone(t.widths)
	if s.Width <= 0 {
		return widths
	}
	for i, column := range t.columns {
		if column.least > 0 {
			widths[i] = min(widths[i], column.least)
		}
	}
	for taken(widths) > s.Width {
		leaving := 0
		for i, column := range t.columns {
			if widths[i] > 0 && column.leaves > t.columns[leaving].leaves {
				leaving = i
			}
		}
		if t.columns[leaving].leaves == 0 || widths[leaving] == 0 {
			break // what doesn't fit is cut
		}
		widths[leaving] = 0
	}
	for i := range widths { // what is left goes to those that were made narrower
		if widths[i] > 0 {
			widths[i] = min(t.widths[i], widths[i]+max(0, s.Width-taken(widths)))
		}
	}
	return widths
}

// taken is how wide a line is.
func taken(widths []int) (columns int) {
	for _, wide := range widths {
		if wide > 0 {
			columns += wide + len(gap)
		}
	}
	return columns - len(gap)
}

// line draws a row. It is never longer than the screen is wide.
func (t *table) line(drawn *strings.Builder, s Screen, widths []int, row []cell) {
	blank, used := 0, 0
	for i, one := range row {
		if widths[i] == 0 {
			continue
		}
		room := widths[i]
		if s.Width > 0 {
			room = min(room, s.Width-used-blank)
		}
		text := cut(one.text, room)
		if text == "" {
			break
		}
		drawn.WriteString(strings.Repeat(" ", blank))
		drawn.WriteString(s.paint(one.colour, text))
		used += blank + widthOf(text)
		blank = widths[i] - widthOf(text) + len(gap)
	}
	drawn.WriteByte('\n')
}
