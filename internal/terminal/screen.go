package terminal

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// Screen is what is written to.
type Screen struct {
	// Terminal says that a person looks at it now, who reads "2 min ago". A pipe gets
	// exact times, and lines as long as they are.
	Terminal bool
	// Colour says that it shows colours.
	Colour bool
	// Width is how many columns it has; 0 where that isn't known, or no limit.
	Width int
}

// ScreenOf looks at what is written to. NO_COLOR (no-color.org) and CLICOLOR_FORCE
// (bixense.com/clicolors) overrule what would be done with colours.
func ScreenOf(w io.Writer, environment func(name string) string) (s Screen) {
	forced := environment("CLICOLOR_FORCE")
	s.Colour = forced != "" && forced != "0"
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		s.Terminal = true
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			s.Width = width
		}
		s.Colour = showsColours(file) && (s.Colour || environment("TERM") != "dumb")
	}
	if environment("NO_COLOR") != "" {
		s.Colour = false
	}
	return s
}

// symbols says whether a symbol stands beside a word: for those who don't see colours.
func (s Screen) symbols() bool { return s.Terminal || s.Colour }

// colour is the parameter of an ANSI escape (ECMA-48, SGR).
type colour string

const (
	plain  colour = ""
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	cyan   colour = "36"
	alarm  colour = "1;31"
)

// paint colours a text. What hostile text is made of it has no escapes of its own: see
// report.Printable.
func (s Screen) paint(c colour, text string) string {
	if !s.Colour || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// parts are the colours of a report.
var parts = map[report.Part]colour{
	report.PartHeadline: bold,
	report.PartHeading:  bold,
	report.PartLabel:    dim,
	report.PartLink:     dim,
	report.PartFailed:   alarm,
	report.PartWorked:   green,
	report.PartPhase:    cyan,
}

// report is where a report is drawn on this screen.
func (s Screen) report(lookup report.Lookup) report.Terminal {
	return report.Terminal{
		Width: s.Width, Lookup: lookup,
		Paint: func(part report.Part, text string) string { return s.paint(parts[part], text) },
	}
}
