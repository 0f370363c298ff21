//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// demo is examples/demo, on ports of its own.
type demo struct {
	*caddy
	index string // as url is where visitors are
	shop  string // the address of the upstream that is broken and mended
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	source, err := os.ReadFile("../examples/demo/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	moved := make(map[string]string)
	config := regexp.MustCompile(`:(80|84|20)[0-9]{2}\b`).ReplaceAllStringFunc(string(source), func(port string) string {
		if moved[port] == "" {
			_, free, _ := net.SplitHostPort(freeAddress(t))
			moved[port] = ":" + free
		}
		return moved[port]
	})
	dir := workDir(t)
	c := &caddy{url: "http://localhost" + moved[":8080"], address: "127.0.0.1" + moved[":8080"], admin: "localhost" + moved[":2020"]}
	c.part = startPart(t, dir, caddyBinary, "run", "--config", write(t, filepath.Join(dir, "Caddyfile"), config), "--adapter", "caddyfile")
	c.listening(t, "tcp", c.address)
	c.await(t, "has its admin endpoint", func() bool { return c.ask(t, "/upstream_diagnostics", nil) == nil })
	return &demo{c, "http://localhost" + moved[":8081"], "127.0.0.1" + moved[":8093"]}
}

// The demo's index leads from each fault to its record, and to an incident that opens and is
// resolved before the eyes.
func TestDemoInBrowser(t *testing.T) {
	t.Parallel()
	c := startDemo(t)
	b := openTab(t)
	const ours = "http://localhost:" // each port of the demo

	t.Run("at every width, dark and light", func(t *testing.T) {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{320, 360, 768, 1280} {
				b.sees(t, scheme, width)
				b.do(t, chromedp.Navigate(c.index))
				if wide := asks[int64](t, b, `document.documentElement.scrollWidth`); wide > width {
					t.Errorf("at %d px it is %d px wide", width, wide)
				}
				if low := asks[[]string](t, b, `[...document.querySelectorAll('a, button')].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)`); len(low) > 0 {
					t.Errorf("at %d px these are lower than 24 px: %s", width, low)
				}
				if light := asks[bool](t, b, `getComputedStyle(document.body).backgroundColor === 'rgb(246, 247, 249)'`); light != (scheme == "light") {
					t.Errorf("it is not %s", scheme)
				}
			}
		}
		for _, one := range []string{"html[lang]", "title", "h1", "body > header", "body > header nav[aria-label]", "body > main", "body > footer"} {
			if n := asks[int](t, b, fmt.Sprintf(`document.querySelectorAll('%s').length`, one)); n != 1 {
				t.Errorf("it has %d of %s", n, one)
			}
		}
		b.clean(t, ours)
	})

	t.Run("by keyboard alone", func(t *testing.T) {
		b.reachesAllLinks(t, c.index)
		b.clean(t, ours)
	})

	t.Run("from a fault to its record", func(t *testing.T) {
		const row = `.row:has(.fault[href$="/closed"])`
		b.do(t, chromedp.Navigate(c.index), chromedp.Click(chromedp.CSS(row+` .record`)), chromedp.WaitVisible(chromedp.CSS(`.hero.empty`)))
		if shown := result(t, b, chromedp.TextContent(chromedp.CSS("main"))); !strings.Contains(shown, "No such failure is recorded yet") {
			t.Errorf("before the fault it shows %q", shown)
		}
		c.visit(t, visit{path: "/closed"})
		b.do(t, chromedp.Click(chromedp.CSS(`#fresh a`)), chromedp.WaitVisible(chromedp.CSS(`.uf`)))
		b.do(t, chromedp.Navigate(c.index), chromedp.Click(chromedp.CSS(row+` .fault`)), chromedp.WaitVisible(chromedp.CSS(`h1`)))
		if at := asks[string](t, b, `location.href`); at != c.url+"/closed" {
			t.Errorf("the fault is at %s", at)
		}
		reference := c.of(t, "/closed")[0].ID
		if shown := result(t, b, chromedp.TextContent(chromedp.CSS("body"))); !strings.Contains(shown, reference) {
			t.Errorf("the visitor doesn't see the reference %s in %q", reference, shown)
		}
		b.do(t, chromedp.Navigate(c.index), chromedp.Click(chromedp.CSS(row+` .record`)), chromedp.WaitVisible(chromedp.CSS(`.uf`)))
		if shown := result(t, b, chromedp.TextContent(chromedp.CSS("main"))); !strings.Contains(shown, "closed_before_response") || !strings.Contains(shown, reference) {
			t.Errorf("the record of %s is %q", reference, shown)
		}
		b.excuse("502")
		b.clean(t, ours)
	})

	t.Run("broken and mended", func(t *testing.T) {
		toDashboard := chromedp.Click(chromedp.CSS(`.steps ul a[href="dashboard/"]`))
		const done = `[...document.querySelectorAll('.done')].filter(e => e.checkVisibility()).map(e => e.id).join()`
		b.do(t, chromedp.Navigate(c.index))
		if said := asks[string](t, b, done); said != "" {
			t.Errorf("it says %s before anything was done", said)
		}
		b.do(t, chromedp.Click(chromedp.CSS(`.break button`)), chromedp.WaitVisible(chromedp.CSS(`#broken`)))
		if said := asks[string](t, b, done); said != "broken" {
			t.Errorf("it says %s", said)
		}
		b.do(t, toDashboard, chromedp.WaitVisible(chromedp.CSS(`#hero`)))
		b.until(t, `[...document.querySelectorAll('.incident.bad')].some(e => e.textContent.includes('`+c.shop+`'))`)

		b.do(t, chromedp.Navigate(c.index), chromedp.Click(chromedp.CSS(`.mend button`)), chromedp.WaitVisible(chromedp.CSS(`#mended`)), toDashboard, chromedp.WaitVisible(chromedp.CSS(`#hero`)))
		// Nobody touches the page, nor asks the upstream, from here on.
		result(t, b, chromedp.Poll[bool](`[...document.querySelectorAll('#s-resolved li')].some(e => e.textContent.includes('`+c.shop+`'))`, chromedp.WithPollingInterval(time.Second), chromedp.WithPollingTimeout(time.Minute)))
		b.clean(t, ours)
	})
}

// Pictures of it, for people to look at: PICTURES says where to.
func TestDemoPictures(t *testing.T) {
	dir := os.Getenv("PICTURES")
	if dir == "" {
		t.Skip("PICTURES names no folder")
	}
	c := startDemo(t)
	b := openTab(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			b.sees(t, scheme, width)
			for name, page := range map[string]string{"demo": "", "demo-broken": "/#broken", "demo-none": "/dashboard/failures/latest?outcome=truncated"} {
				b.do(t, chromedp.Navigate("about:blank"), chromedp.Navigate(c.index+page))
				picture := result(t, b, chromedp.FullScreenshot(100))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
