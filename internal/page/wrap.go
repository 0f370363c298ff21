package page

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// columns is how wide a terminal is taken to be.
const columns = 80

// wrap writes a text in lines of at most columns. A word that is longer stays whole.
func wrap(body *bytes.Buffer, text string) {
	for len(text) > columns { // no text has more columns than bytes
		end, next := lineEnd(text)
		body.WriteString(text[:end])
		body.WriteByte('\n')
		text = text[next:]
	}
	if text != "" {
		body.WriteString(text)
		body.WriteByte('\n')
	}
}

// lineEnd is where the first line of a text ends, and where the next one begins. Lines
// break at spaces, other than those that are made not to, and around what is written
// without any.
func lineEnd(text string) (end, next int) {
	used, before := 0, rune(0)
	for i, r := range text {
		if r == ' ' || before != ' ' && breaksBetween(before, r) {
			if used > columns && end > 0 {
				return end, next
			}
			end, next = i, i
			if r == ' ' {
				next++
			}
		}
		used += report.Columns(r)
		before = r
	}
	if used > columns && end > 0 {
		return end, next
	}
	return len(text), len(text)
}

// What no line begins or ends with, of what Unicode's line breaking has
// (https://www.unicode.org/reports/tr14/, classes CL, CP, EX, IS, NS, CJ, and OP) and our
// texts may have.
const (
	neverFirst = "、。，．・：；！？）」』】〉》〕…”’％ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ),.:;!?]%"
	neverLast  = "（「『【〈《〔“‘(["
)

// breaksBetween says whether a line may break between two characters: in Chinese and
// Japanese it may where the two belong together by nothing. Korean has spaces.
func breaksBetween(before, after rune) bool {
	return (isIdeographic(before) || isIdeographic(after)) &&
		!strings.ContainsRune(neverFirst, after) && !strings.ContainsRune(neverLast, before)
}

func isIdeographic(r rune) bool {
	return r >= '\u2E80' && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) ||
		'\u3000' <= r && r <= '\u303F' || '\uFF00' <= r && r <= '\uFFEF')
}
