package tests

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
)

// The lines that the catalogue shows are lines of a Caddyfile, as caddy fmt writes
// them.
func TestCatalogueCaddyfiles(t *testing.T) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	shown := map[string]string{}
	for row := range cause.Rows() {
		shown[row.Name], shown[row.Name+", alone"] = row.Fix.Caddyfile, row.Fix.CaddyfileAlone
	}
	for name, lines := range shown {
		if lines == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			caddyfile := lines + "\n"
			if !strings.HasPrefix(caddyfile, "{") { // it belongs into a site
				caddyfile = "example.test {\n\t" + strings.ReplaceAll(lines, "\n", "\n\t") + "\n}\n"
			}
			_, warnings, err := adapter.Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
			if err != nil {
				t.Fatalf("%v\n%s", err, caddyfile)
			}
			for _, warning := range warnings {
				t.Errorf("%s\n%s", warning, caddyfile)
			}
		})
	}
}
