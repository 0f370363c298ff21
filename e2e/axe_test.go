//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// axeEnvironment names the file of axe-core, axe.min.js: .ci/run installs it, and so does
// `npm install --prefix /tmp/axe axe-core`, as /tmp/axe/node_modules/axe-core/axe.min.js.
const axeEnvironment = "AXE_CORE"

// axe is the source of axe-core, which finds what people can't use in a page. Without it the
// test is skipped; never in the gate.
func axe(t *testing.T) string {
	t.Helper()
	path := os.Getenv(axeEnvironment)
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("axe-core is not installed: %s names no file", axeEnvironment)
		}
		t.Skipf("axe-core is not installed: %s names no file", axeEnvironment)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// violation is a rule that a page breaks, and where.
type violation struct {
	ID    string   `json:"id"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"`
}

// accessible fails where the page that is shown breaks a rule of axe-core's, with all that is
// folded unfolded. source is that of axe.
func (b *tab) accessible(t *testing.T, source, what string) {
	t.Helper()
	for _, found := range b.violations(t, source) {
		nodes := found.Nodes[:min(len(found.Nodes), 3)]
		t.Errorf("%s: %s (%s), %d times:\n%s", what, found.Help, found.ID, len(found.Nodes), strings.Join(nodes, "\n"))
	}
}

// violations are the rules that the page breaks which is shown.
func (b *tab) violations(t *testing.T, source string) []violation {
	t.Helper()
	b.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelectorAll('details').forEach(d => { d.open = true })`))
	// By the debugger: the pages' own policies let nobody else in.
	b.do(t, chromedp.Evaluate[chromedp.Void](source+"\n;void 0"))
	b.do(t, chromedp.Evaluate[chromedp.Void](`void axe.run(document, {resultTypes: ['violations']}).then(
		result => { window.axeFound = result.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 200) + ' ' + n.any.concat(n.all, n.none).map(c => c.message).join('; '))})) },
		error => { window.axeFound = [{id: 'axe', help: String(error), nodes: []}] })`))
	b.until(t, `Array.isArray(window.axeFound)`)
	return asks[[]violation](t, b, `window.axeFound`)
}

// Everybody can use the dashboard, as far as a program can tell.
func TestDashboardAccessible(t *testing.T) {
	source := axe(t)
	c := dashboardCaddy(t)
	b := openTab(t)
	pages := dashboardPages(t, c)
	askAgain(t, c, c.of(t, "/out/of/service?id=REDACTED")[0].Upstream)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1280} {
			b.sees(t, scheme, width)
			for _, page := range append(pages, "/incidents?state=open", "/failures?cause=unknown") {
				if page == "/causes" && width == 320 {
					continue // it is long, and nothing in it depends on the width
				}
				b.do(t, chromedp.Navigate(c.url+"/ops"+page))
				b.accessible(t, source, page+", "+scheme)
			}
		}
	}
	b.do(t, chromedp.Navigate(c.url+"/forbidden"))
	b.accessible(t, source, "/forbidden")
	// It would be found.
	b.do(t, chromedp.Evaluate[chromedp.Void](`void document.querySelector('main').append(document.createElement('button'))`))
	if found := b.violations(t, source); len(found) != 1 || found[0].ID != "button-name" {
		t.Errorf("a button without a name is %+v", found)
	}
	b.excuse("404")
	b.excuse("403")
	b.clean(t, c.url)
}

// Everybody can use the visitor's page, in each language and whatever it tells.
func TestPageAccessible(t *testing.T) {
	source := axe(t)
	server := servePages(t)
	b := openTab(t)
	all, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range all.Tags() {
		b.speaks(t, language)
		for n := range visitorsPages {
			if n > 0 && language != "en" && language != "ar" {
				continue // what is another element is so in each language
			}
			b.do(t, chromedp.Navigate(fmt.Sprintf("%s/%d?brand=Example+Shop", server, n)))
			for _, scheme := range schemes {
				b.sees(t, scheme, 320)
				b.accessible(t, source, fmt.Sprintf("page %d in %s, %s", n, language, scheme))
			}
		}
	}
}
