//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The alerts of the example are what Prometheus takes, say what their own test wants, name
// metrics that there are, and lead to headings that there are.
func TestExampleAlerts(t *testing.T) {
	promtool := program(t, "prometheus", "promtool")
	const folder = "../examples/observability"
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		c := exec.Command(promtool, args...)
		c.Dir = folder
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	read := func(path ...string) string {
		content, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	rules, readme := read(folder, "rules.yml"), read("..", "README.md")
	names := regexp.MustCompile(`caddy_upstream_\w+`).FindAllString(rules, -1)
	for _, name := range names {
		if !strings.Contains(readme, "`"+name) {
			t.Errorf("%s is no metric that the README has", name)
		}
	}
	links := regexp.MustCompile(`blob/main/(docs/\w+\.md)#([\w-]+)"`).FindAllStringSubmatch(rules, -1)
	for _, link := range links {
		heading := regexp.MustCompile("(?mi)^#+ `?" + strings.ReplaceAll(regexp.QuoteMeta(link[2]), "-", "[ -]") + "`?$")
		if !heading.MatchString(read("..", link[1])) {
			t.Errorf("%s has no heading %s", link[1], link[2])
		}
	}
	if len(names) < 5 || len(links) < 3 {
		t.Errorf("%d metrics, %d links", len(names), len(links))
	}
}
