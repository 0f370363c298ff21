package report

import (
	"bytes"
	"html/template"
	"io"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// Lookup finds what a record points to and doesn't hold. The zero value finds nothing: then
// the record alone is drawn. Its functions may be called at the same time.
type Lookup struct {
	// Guide is what the catalogue says of a cause; the zero Guide where it has none.
	Guide func(cause string) Guide
	// Summary is that of the failure with this id, "" where it isn't kept.
	Summary func(id string) string
	// FailureURL is where the failure with this id is shown, "" for no link.
	FailureURL func(id string) string
	// IncidentURL is where the incident with this id is shown, "" for no link.
	IncidentURL func(id string) string
	// CauseURL is where a cause is explained; without it, that is DocsURL.
	CauseURL func(cause string) string
	// Visitors are the sentences that this failure's visitor was shown, a paragraph each.
	// Without them, the record's outcome and category tell.
	Visitors []string
}

// Guide is what is known of all failures of a cause.
type Guide struct {
	// Reasons are why it mostly happens, the most frequent first.
	Reasons []string
	// Caddy, Docker and Application are how to end it at that place, "" where it can't be.
	Caddy, Docker, Application string
	// Caddyfile is an example, of one or more lines; CaddyfileAlone the one for where there is
	// no other upstream, "" for the same.
	Caddyfile, CaddyfileAlone string
}

// HTML draws f as a fragment without script and style: see Style. Its headings
// start at h2.
func (l Lookup) HTML(f *failure.Failure) (template.HTML, error) {
	if f == nil {
		return "", errNothing
	}
	var drawn strings.Builder
	if err := fragment.Execute(&drawn, l.look(f)); err != nil {
		return "", err
	}
	return template.HTML(drawn.String()), nil
}

// Text draws f as plain text. Nothing in it can move the cursor or change a colour: see
// Printable. A sentence stands on one line, so that it is found by its words; what is drawn
// takes no more than 100 columns.
func (l Lookup) Text(w io.Writer, f *failure.Failure) error { return Terminal{Lookup: l}.Text(w, f) }

// Markdown draws f as Markdown, to be pasted into an issue. What others have said stands in
// it as text: nothing of it is a link, an image, a heading or a mention of somebody.
func (l Lookup) Markdown(w io.Writer, f *failure.Failure) error {
	if f == nil {
		return errNothing
	}
	var drawn bytes.Buffer
	writeMarkdown(&drawn, l.look(f))
	_, err := w.Write(drawn.Bytes())
	return err
}

// guide is what the catalogue says of a failure's cause, printable, with the failure's own
// names in its Caddyfile lines.
func (l Lookup) guide(f *failure.Failure) Guide {
	if l.Guide == nil {
		return Guide{}
	}
	g := l.Guide(f.Cause)
	printable := Guide{Caddy: Printable(g.Caddy), Docker: Printable(g.Docker), Application: Printable(g.Application)}
	for _, reason := range g.Reasons {
		printable.Reasons = append(printable.Reasons, Printable(reason))
	}
	printable.Caddyfile = g.Sample(f)
	return printable
}

// printableLines keeps the breaks between lines, and the tabs that begin them.
func printableLines(s string) string {
	var kept []string
	for line := range strings.Lines(s) {
		text := strings.TrimLeft(strings.TrimRight(line, "\r\n"), "\t")
		indent := len(line) - len(strings.TrimLeft(line, "\t"))
		kept = append(kept, strings.Repeat("\t", indent)+Printable(text))
	}
	return strings.Join(kept, "\n")
}

// found is what a function of a Lookup gives, printable; "" without one, or for nothing.
func found(look func(string) string, id string) string {
	if look == nil || id == "" {
		return ""
	}
	return Printable(look(id))
}

// visitors are the sentences that a visitor was shown, as far as the record tells.
func (l Lookup) visitors(f *failure.Failure) (sentences []string) {
	said := l.Visitors
	if said == nil {
		said = visitorsOf(f)
	}
	for _, sentence := range words(append([]string(nil), said...)...) {
		sentences = append(sentences, Printable(sentence))
	}
	return sentences
}

func visitorsOf(f *failure.Failure) []string {
	told := texts.English().Of(f.Public())
	with := ""
	if f.Status != 0 {
		with = " with status " + number(f.Status)
	}
	switch f.Outcome {
	case failure.Rescued:
		return []string{"The answer of a later attempt" + with + ": a visitor saw nothing of this failure, but for the time that it took."}
	case failure.Truncated:
		return []string{"An answer" + with + " that broke off. Its header had been sent, so there was no other answer to give."}
	case failure.Abandoned:
		return []string{"Nothing: the client left before there was an answer."}
	case failure.UpstreamAnswered:
		return []string{"The upstream's own answer" + with + ", or where intercept names its status, a page that says:", told.Title, told.Detail}
	}
	return []string{"An answer" + with + ". Unless the site is told otherwise (page, template), it says:", told.Title, told.Detail}
}
