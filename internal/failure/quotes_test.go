package failure

import (
	"slices"
	"strings"
	"testing"
)

func TestQuotes(t *testing.T) {
	for text, want := range map[string][]Quote{
		"":                  {{}},
		"none":              {{Before: "none"}},
		`a "b" c`:           {{Before: "a ", Quoted: `"b"`, Said: "b"}, {Before: " c"}},
		`"a\"b"`:            {{Quoted: `"a\"b"`, Said: `a"b`}, {}},
		`"\x01é"…, "x"`:     {{Quoted: `"\x01é"`, Said: "\x01é"}, {Before: "…, ", Quoted: `"x"`, Said: "x"}, {}},
		`it says "and ends`: {{Before: "it says ", Quoted: `"and ends`, Said: "and ends", Cut: true}, {}},
	} {
		if got := slices.Collect(Quotes(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func FuzzQuotes(f *testing.F) {
	f.Add(`a "b\" c" d`)
	f.Fuzz(func(t *testing.T, text string) {
		var all strings.Builder
		for q := range Quotes(text) {
			all.WriteString(q.Before + q.Quoted)
		}
		if all.String() != text {
			t.Errorf("%q became %q", text, all.String())
		}
	})
}
