package terminal

import "github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"

func widthOf(text string) (columns int) {
	for _, r := range text {
		columns += report.Columns(r)
	}
	return columns
}

// cut is text in that many columns at most, with … where something of it is missing.
func cut(text string, columns int) string {
	if widthOf(text) <= columns {
		return text
	}
	if columns < 1 {
		return ""
	}
	taken := 0
	for i, r := range text {
		if taken += report.Columns(r); taken > columns-1 {
			return text[:i] + "…"
		}
	}
	return text
}
