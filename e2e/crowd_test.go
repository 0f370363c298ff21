//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// How much the dashboard has to show in the worst case.
const (
	crowdFailures  = 10_000
	crowdIncidents = 200
)

// crowdedCaddy keeps that many failures of that many upstreams, at each of which nobody
// listens: every address of 127/8 is loopback's.
func crowdedCaddy(t *testing.T) *caddy {
	t.Helper()
	var handlers strings.Builder
	for n := range crowdIncidents {
		fmt.Fprintf(&handlers, "handle /%d/* {\n\treverse_proxy 127.1.%d.%d:1\n}\n", n, n/200+1, n%200+1)
	}
	c := startCaddyWith(t, nil, fmt.Sprintf(`
	handle_path /ops* {
		upstream_dashboard {
			no_auth
		}
	}
	handle {
		upstream_diagnostics
		%s
		handle /late {
			reverse_proxy 127.2.1.1:1
		}
	}`, handlers.String()),
		fmt.Sprintf("upstream_diagnostics {\n\tkeep %d\n}", crowdFailures))

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	began, next := time.Now(), make(chan int)
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for n := range next {
				res, err := client.Get(fmt.Sprintf("%s/%d/%d", c.url, n%crowdIncidents, n))
				if err != nil {
					t.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	for n := range crowdFailures {
		next <- n
	}
	close(next)
	working.Wait()
	var overview failure.Overview
	await(t, "all are kept", func() bool {
		if err := c.ask(t, "/upstream_diagnostics", &overview); err != nil {
			t.Fatal(err)
		}
		return overview.KeptCount == crowdFailures && overview.OpenIncidents == crowdIncidents
	})
	t.Logf("%d requests failed in %s", crowdFailures, time.Since(began).Round(time.Millisecond))
	return c
}

// firstByte is how long it takes until a page's answer begins.
func (c *caddy) firstByte(t *testing.T, path string) time.Duration {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	began := time.Now()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began) // its header is sent with the first bytes of the page
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", path, res.StatusCode, err)
	}
	return took
}

// With as much as there may be, every page is shown, fits a phone, and goes on.
func TestDashboardCrowded(t *testing.T) {
	c := crowdedCaddy(t)
	b := openTab(t)
	for _, page := range []string{"/", "/failures", "/incidents", "/upstreams"} {
		t.Logf("%s begins after %s", page, c.firstByte(t, "/ops"+page).Round(100*time.Microsecond))
		for _, width := range []int64{320, 1280} {
			b.sees(t, "light", width)
			b.do(t, chromedp.Navigate(c.url+"/ops"+page))
			if wide := asks[int64](t, b, `document.documentElement.scrollWidth`); wide > width {
				t.Errorf("%s at %d px is %d px wide", page, width, wide)
			}
		}
	}
	b.do(t, chromedp.Navigate(c.url+"/ops/"))
	if shown := asks[string](t, b, `document.querySelector('#hero').innerText`); !strings.Contains(shown, fmt.Sprint(crowdIncidents, " things are broken")) {
		t.Errorf("it shows %q", shown)
	}
	// What comes stands on top, without another visit.
	b.do(t, chromedp.Evaluate[chromedp.Void](`window.same = true`))
	c.visit(t, visit{path: "/late"})
	b.until(t, `document.querySelector('#open-cards > article').innerText.includes('127.2.1.1:1')`)
	if !asks[bool](t, b, `window.same`) {
		t.Error("the page was loaded anew")
	}
	b.do(t, chromedp.Navigate(c.url+"/ops/failures"))
	if rows := asks[int](t, b, `document.querySelectorAll('tbody tr').length`); rows < 50 {
		t.Errorf("%d rows", rows)
	}
	c.visit(t, visit{path: "/late"})
	b.until(t, `document.querySelector('#fresh').innerText === '1 new, show'`)
	// To the oldest of them, page by page.
	b.do(t, chromedp.Click(chromedp.CSS(`a[rel=next]`)), chromedp.WaitVisible(chromedp.CSS(`a[rel=first]`)))
	b.do(t, chromedp.Navigate(c.url+"/ops/incidents"), chromedp.Click(chromedp.CSS(`a[rel=next]`)), chromedp.WaitVisible(chromedp.CSS(`a[rel=prev]`)))
	b.clean(t, c.url)
}
