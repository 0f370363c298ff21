// Package report draws one failure for an operator: as an HTML fragment, as
// plain text and as Markdown. All of them show the same view of the record, with
// one waterfall of its attempts.
package report

import (
	_ "embed"
	"errors"
	"html/template"
	"io"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// DocsURL is where the causes and the categories are explained, each under a
// heading of its own.
const DocsURL = "https://github.com/seed-0f014f16/caddy-upstream-diagnostics/blob/main/docs/causes.md"

//go:embed report.html
var source string

//go:embed report.css
var stylesheet string

var fragment = template.Must(template.New("report.html").Parse(source))

// Style is the style sheet of the fragment, for the style element of the page
// that it is put into: the fragment itself has no inline style, so that the page
// can have a Content-Security-Policy without unsafe-inline.
var Style = CompactCSS(stylesheet)

var errNothing = errors.New("no failure to draw")

// HTML draws f as Lookup's method does, from the record alone.
func HTML(f *failure.Failure) (template.HTML, error) { return Lookup{}.HTML(f) }

// Text draws f as Lookup's method does, from the record alone.
func Text(w io.Writer, f *failure.Failure) error { return Lookup{}.Text(w, f) }

// Markdown draws f as Lookup's method does, from the record alone.
func Markdown(w io.Writer, f *failure.Failure) error { return Lookup{}.Markdown(w, f) }

// CompactCSS joins the lines of a style sheet that is written to be read, without
// their indentation.
func CompactCSS(sheet string) string {
	var compact strings.Builder
	for line := range strings.Lines(sheet) {
		compact.WriteString(strings.TrimSpace(line))
	}
	return compact.String()
}

// CauseURL is where a cause is explained.
func CauseURL(cause string) string { return DocsURL + "#" + CauseHeading(cause, "-") }

// CauseHeading is a cause's heading in there, its words joined by separator: " " as it
// stands, "-" for a link. The name alone is a category's heading where it has the same.
func CauseHeading(cause, separator string) string {
	for _, category := range failure.Categories {
		if string(category) == cause {
			return cause + separator + "cause"
		}
	}
	return cause
}
