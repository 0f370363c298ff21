package terminal

import (
	"unicode"

	"golang.org/x/text/width"
)

// columnsOf is how many columns of a terminal a rune takes (UAX 11).
func columnsOf(r rune) int {
	if r < 0x300 { // nearly all: no mark and nothing wide is below
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func widthOf(text string) (columns int) {
	for _, r := range text {
		columns += columnsOf(r)
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
		if taken += columnsOf(r); taken > columns-1 {
			return text[:i] + "…"
		}
	}
	return text
}
