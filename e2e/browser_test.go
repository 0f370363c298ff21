//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// consoleLine is what Chromium's console says, in what it prints. Only a page's own
// faults get there: what its policy forbids, and its scripts' errors.
var consoleLine = regexp.MustCompile(`(?m)^.*:CONSOLE.*$`)

// A real browser shows the pages as they are meant: with the policy that they are
// sent with, nothing in them is blocked.
func TestBrowser(t *testing.T) {
	t.Parallel()
	chromium := program(t, "chromium", "chromium", "chromium-browser", "google-chrome")
	dir := workDir(t)
	logo := write(t, filepath.Join(dir, "logo.svg"),
		`<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>`)
	c := startCaddy(t, fmt.Sprintf(`
	@operator remote_ip 127.0.0.1 ::1
	handle /control {
		header Content-Type text/html
		header Content-Security-Policy "default-src 'none'"
		respond "<title>control</title><style>p{color:red}</style><p>blocked"
	}
	handle /operator {
		upstream_diagnostics {
			details @operator
		}
		reverse_proxy %[2]s
	}
	handle {
		upstream_diagnostics {
			brand {
				name Example
				logo %[1]s
				support mailto:help@example.com
				status_page https://status.example.com
			}
		}
		reverse_proxy %[2]s
	}`, logo, deadAddress(t)))

	for _, test := range []struct {
		name    string
		path    string
		shows   []string
		console bool
	}{
		// That the console is heard at all.
		{name: "control", path: "/control", shows: []string{"<title>control</title>", "blocked"}, console: true},
		{name: "public", path: "/", shows: []string{"<title>This site is not available right now · Example</title>", `<img src="data:image/svg+xml`, "mailto:help@example.com?subject=Reference%20", "https://status.example.com"}},
		{name: "operator", path: "/operator", shows: []string{"<title>Nothing accepts connections at 127.0.0.1:", "connection_refused", "ECONNREFUSED", "What visitors see"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			printed := inBrowser(t, chromium, dir, "1280,800", c.url+test.path)
			for _, want := range test.shows {
				if !strings.Contains(printed, want) {
					t.Errorf("the page doesn't have %q", want)
				}
			}
			if said := consoleLine.FindAllString(printed, -1); (len(said) > 0) != test.console {
				t.Errorf("the console says %q", said)
			}
		})
	}
}
