package operator

import (
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestWriteChanges(t *testing.T) {
	var text strings.Builder
	if writeChanges(&text, nil); text.Len() > 0 {
		t.Errorf("%q", text.String())
	}
	writeChanges(&text, []failure.Change{
		{Summary: "It last answered well."}, {Summary: "Since the config.", Chance: 0.0014}, {Summary: "Only \x1b[31m fails.", Chance: 2.2e-9},
	})
	const want = "\nWhat changed\n  It last answered well.\n  Since the config. (by chance: 1 in 714)\n  Only \\x1b[31m fails. (by chance: less than 1 in a million)\n"
	if text.String() != want {
		t.Errorf("%q", text.String())
	}
}
