package operator

import (
	"fmt"
	"io"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// writeChanges writes what has changed, nothing where nothing is known to have.
func writeChanges(w io.Writer, changes []failure.Change) {
	if len(changes) == 0 {
		return
	}
	fmt.Fprint(w, "\nWhat changed\n")
	for n := range changes {
		c := &changes[n]
		fmt.Fprintf(w, "  %s%s\n", report.Printable(c.Summary), byChance(c))
	}
}

// byChance says how likely it is that this is none.
func byChance(c *failure.Change) string {
	switch {
	case c.Chance == 0:
		return ""
	case c.Chance < 1e-6:
		return " (by chance: less than 1 in a million)"
	}
	return fmt.Sprintf(" (by chance: 1 in %.0f)", 1/c.Chance)
}
