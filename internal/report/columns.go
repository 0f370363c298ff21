package report

import (
	"unicode"

	"golang.org/x/text/width"
)

// Columns is how many columns of a terminal a rune takes (UAX 11).
func Columns(r rune) int {
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
