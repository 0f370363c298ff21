package tests

import (
	"net"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// The lines that the catalogue shows are lines of a Caddyfile, as caddy fmt writes
// them.
func TestCatalogueCaddyfiles(t *testing.T) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	shown := map[string]string{}
	byFastCGI := &failure.Failure{Upstream: "php:9000", Attempts: []failure.Attempt{{Upstream: "php:9000", Protocol: "fastcgi"}}}
	for row := range cause.Rows() {
		shown[row.Name], shown[row.Name+", alone"] = row.Fix.Caddyfile, row.Fix.CaddyfileAlone
		for name, lines := range map[string]string{row.Name: row.Fix.Caddyfile, row.Name + ", alone": row.Fix.CaddyfileAlone} {
			shown[name+", of FastCGI"] = report.Guide{Caddyfile: lines}.Sample(byFastCGI)
		}
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

// A PHP site is shown lines of php_fastcgi, also where nothing was spoken yet.
func TestLinesForPHP(t *testing.T) {
	for name, upstream := range map[string]string{
		"refused": testcaddy.Dead(t),
		"closed":  testcaddy.Peer(t, func(net.Conn) {}),
	} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nphp_fastcgi "+upstream+" {\ntry_files index.php\n}")
			c.Get("/index.php")
			told := c.AdminDo("GET", "/failures/latest?format=text").Body
			if !strings.Contains(told, "\n      php_fastcgi "+upstream) || strings.Contains(told, "\n      reverse_proxy") || strings.Contains(told, " in reverse_proxy") {
				t.Errorf("no lines of php_fastcgi in\n%s", told)
			}
		})
	}
}
