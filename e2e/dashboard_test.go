//go:build linux

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// tab is a browser's, which hears what is wrong with the pages that it shows.
type tab struct {
	context.Context

	mu       sync.Mutex
	wrong    []string // of the console, and of policies
	requests []string
	headed   []string // those by HEAD
}

// openTab opens a tab of a browser that ends with the test.
func openTab(t *testing.T) *tab {
	t.Helper()
	chromium := program(t, "chromium", "chromium", "chromium-browser", "google-chrome")
	dir := workDir(t)
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium), chromedp.NoSandbox, // its sandbox needs rights that a container hasn't
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(filepath.Join(dir, "profile")), chromedp.Flag("lang", "en-US"),
	)...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(allocator)
	t.Cleanup(cancelTab)
	// The browser lives as long as ctx; what it is told then has an end, too.
	limited, cancelTime := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancelTime)
	b := &tab{Context: limited}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, cdplog.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	tell(t, b, network.Enable, network.EnableParams{})
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch event := event.(type) {
	case *cdplog.EventEntryAdded: // policies are among these
		b.wrong = append(b.wrong, fmt.Sprintf("%s: %s", event.Entry.Source, event.Entry.Text))
	case *runtime.EventConsoleAPICalled:
		b.wrong = append(b.wrong, fmt.Sprint(event.Type))
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, event.ExceptionDetails.Text)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, event.Request.URL)
		if event.Request.Method == "HEAD" {
			b.headed = append(b.headed, event.Request.URL)
		}
	}
}

func tell[P, R any](t *testing.T, b *tab, command cdp.Command[P, R], parameters P) {
	t.Helper()
	if _, err := chromedp.Call(b, command, parameters); err != nil {
		t.Fatal(err)
	}
}

func (b *tab) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		t.Fatal(err)
	}
}

// sees sets what the pages are shown on.
func (b *tab) sees(t *testing.T, scheme string, width int64) {
	t.Helper()
	tell(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
}

// result is what an action gives.
func result[T any](t *testing.T, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(b, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// asks is what an expression is worth in the page.
func asks[T any](t *testing.T, b *tab, expression string) T {
	t.Helper()
	return result(t, b, chromedp.Evaluate[T](expression))
}

// until waits for an expression to become true.
func (b *tab) until(t *testing.T, expression string) {
	t.Helper()
	result(t, b, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(200*time.Millisecond)))
}

// excuse takes out what the browser has to say of a status.
func (b *tab) excuse(status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = slices.DeleteFunc(b.wrong, func(said string) bool { return strings.Contains(said, "status of "+status) })
}

// clean fails where something was wrong, or asked for elsewhere.
func (b *tab) clean(t *testing.T, of string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, wrong := range b.wrong {
		t.Errorf("the browser says: %s", wrong)
	}
	for _, requested := range b.requests {
		if !strings.HasPrefix(requested, of) && !strings.HasPrefix(requested, "data:") && requested != "about:blank" {
			t.Errorf("a page asks for %s", requested)
		}
	}
	b.wrong = nil
}

// reachesAllLinks fails where a link of a page can't be reached by the tabulator, or isn't
// seen to be.
func (b *tab) reachesAllLinks(t *testing.T, page string) {
	t.Helper()
	b.do(t, chromedp.Navigate(page))
	missing := asks[int](t, b, `window.links = new Set([...document.querySelectorAll('a[href], summary, button')].filter(e => e.checkVisibility())), links.size`)
	if missing == 0 || missing > 400 {
		t.Fatalf("%s has %d links", page, missing)
	}
	for range missing + 20 { // and what scrolls, and the browser's own
		b.do(t, chromedp.KeyEvent("\t"))
		missing = asks[int](t, b, `links.delete(document.activeElement), links.size`)
		if missing == 0 {
			break
		}
		if unseen := asks[string](t, b, `(e => e === document.body || getComputedStyle(e).outlineStyle !== 'none' ? '' : e.outerHTML)(document.activeElement)`); unseen != "" {
			t.Errorf("%s: the focus is not seen on %s", page, unseen)
		}
	}
	if missing > 0 {
		t.Errorf("%s: %d links are not reached, %s", page, missing, asks[string](t, b, `[...links][0].outerHTML`))
	}
}

// dashboardCaddy is a Caddy whose upstreams have failed in some ways, hostile ones among
// them, with the dashboard at /ops.
func dashboardCaddy(t *testing.T) *caddy {
	t.Helper()
	works := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	t.Cleanup(works.Close)
	c := startCaddy(t, fmt.Sprintf(`
	handle_path /ops* {
		upstream_dashboard {
			no_auth
			allow_clear
			allow_probe
		}
	}
	handle /forbidden {
		upstream_dashboard
	}
	handle {
		upstream_diagnostics {
			site "shop.example.com"
		}
		handle /late* {
			reverse_proxy %[2]s
		}
		handle /hostile* {
			reverse_proxy "unix//tmp/<script>alert(1)</script>"
		}
		handle /name* {
			reverse_proxy no-such-host-anywhere.invalid:8080
		}
		handle /certificate* {
			reverse_proxy https://%[3]s {
				transport http {
					tls_server_name shop.example.com
				}
			}
		}
		handle /rescued* {
			reverse_proxy %[4]s %[5]s {
				lb_policy first
				lb_retries 1
				fail_duration 1s
			}
		}
		handle /out* {
			reverse_proxy %[6]s {
				fail_duration 1h
			}
		}
		handle {
			reverse_proxy %[1]s
		}
	}`, deadAddress(t), deadAddress(t), hostileCertificate(t), deadAddress(t), works.Listener.Addr(), deadAddress(t)))
	paths := []string{
		"/a", "/hostile/%3Cscript%3Ealert(1)%3C/script%3E", "/%E2%80%AEgnp.exe", "/%1B[31mred", "/" + strings.Repeat("long", 60), "/name",
		"/certificate", "/rescued", "/out/of/service?id=1", "/out/again",
	}
	for _, path := range paths {
		c.visit(t, visit{path: path})
	}
	await(t, "all are recorded", func() bool { return len(c.failures(t)) == len(paths) })
	return c
}

// hostileName is what nobody may take for anything but text: markup, quotes, an escape that
// colours a terminal, and a change of direction.
const hostileName = "<script>alert(2)</script>\"'`\x1b[31m\u202egnp.exe"

// hostileCertificate is an upstream whose certificate, which nobody trusts, is of that name.
func hostileCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostileName, Organization: []string{hostileName}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"shop.example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// dashboardPages are those that the others are judged by; an id stands for {id}.
func dashboardPages(t *testing.T, c *caddy) []string {
	t.Helper()
	f := c.failures(t)
	of := func(cause string) *failure.Failure {
		n := slices.IndexFunc(f, func(one *failure.Failure) bool { return one.Cause == cause })
		if n < 0 {
			t.Fatalf("nothing failed by %s", cause)
		}
		return f[n]
	}
	refused := f[slices.IndexFunc(f, func(one *failure.Failure) bool { return strings.HasPrefix(one.Request.URI, "/out/of") })]
	return []string{
		"/", "/failures", "/failures?cause=connection_refused", "/failures/" + of("socket_not_found").ID, "/failures/" + of("certificate_untrusted").ID, "/incidents", "/incidents/" + refused.Incident,
		"/failures/" + of("upstreams_unhealthy").ID, "/ask?upstream=" + refused.Upstream, "/upstreams", "/causes", "/forget", "/nowhere",
	}
}

// askAgain has an upstream asked again, as the button on its page does.
func askAgain(t *testing.T, c *caddy, upstream string) {
	t.Helper()
	await(t, upstream+" is asked again", func() bool { // once a second
		got := c.visit(t, visit{path: "/ops/probe", body: strings.NewReader(fmt.Sprintf(`{"upstream": %q}`, upstream)), header: "Content-Type: application/json"})
		if got.status != http.StatusOK && got.status != http.StatusTooManyRequests {
			t.Fatalf("%s can't be asked again: %d %s", upstream, got.status, got.body)
		}
		return got.status == http.StatusOK
	})
}

func TestDashboardInBrowser(t *testing.T) {
	c := dashboardCaddy(t)
	b := openTab(t)
	pages := dashboardPages(t, c)

	t.Run("every page, at every width, dark and light", func(t *testing.T) {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{320, 768, 1100, 1280} {
				b.sees(t, scheme, width)
				for _, page := range pages {
					b.do(t, chromedp.Navigate(c.url+"/ops"+page))
					if wide := asks[int64](t, b, `document.documentElement.scrollWidth`); wide > width {
						t.Errorf("%s at %d px is %d px wide", page, width, wide)
					}
					if title := asks[string](t, b, `document.title`); !strings.Contains(title, "Upstream diagnostics") {
						t.Errorf("%s has the title %q", page, title)
					}
					light := asks[bool](t, b, `getComputedStyle(document.body).backgroundColor === 'rgb(246, 247, 249)'`)
					if light != (scheme == "light") {
						t.Errorf("%s is not %s", page, scheme)
					}
				}
			}
		}
		b.excuse("404") // of /nowhere
		b.clean(t, c.url)
	})

	t.Run("mounted without a slash", func(t *testing.T) {
		b.do(t, chromedp.Navigate(c.url+"/ops"), chromedp.Click(chromedp.CSS(`nav a[href="./failures"]`)), chromedp.WaitVisible(chromedp.CSS(`.failures`)))
		if at := asks[string](t, b, `location.pathname`); at != "/ops/failures" {
			t.Errorf("the link led to %s", at)
		}
	})

	t.Run("hostile text is text", func(t *testing.T) {
		for _, page := range pages {
			b.do(t, chromedp.Navigate(c.url+"/ops"+page))
			if n := asks[int](t, b, `document.scripts.length`); n > 1 {
				t.Errorf("%s has %d scripts", page, n)
			}
			if asks[bool](t, b, `/[\u001b\u202e]/.test(document.body.textContent)`) {
				t.Errorf("%s has what changes direction or colour", page)
			}
		}
		b.do(t, chromedp.Navigate(c.url+"/ops/failures"))
		if shown := asks[string](t, b, `document.querySelector('main').innerText`); !strings.Contains(shown, "<script>alert(1)</script>") {
			t.Error("it isn't shown")
		}
		b.do(t, chromedp.Navigate(c.url+"/ops"+pages[4]))
		if shown := asks[string](t, b, `document.querySelector('main').innerText`); !strings.Contains(shown, `script\\>alert(2)`) || !strings.Contains(shown, `\x1b[31m\u202egnp.exe`) {
			t.Errorf("the certificate's name isn't shown: %s", shown)
		}
		b.excuse("404")
		b.clean(t, c.url)
	})

	t.Run("by keyboard alone", func(t *testing.T) {
		for _, page := range pages[:6] {
			b.reachesAllLinks(t, c.url+"/ops"+page)
		}
	})

	t.Run("without motion, and on paper", func(t *testing.T) {
		const animation = `(e => { document.body.append(e); e.className = 'fresh'; return getComputedStyle(e).animationName })(document.createElement('p'))`
		b.do(t, chromedp.Navigate(c.url+"/ops/"))
		if got := asks[string](t, b, animation); got != "fresh" {
			t.Errorf("what is new moves by %q", got)
		}
		tell(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
		if got := asks[string](t, b, animation); got != "none" {
			t.Errorf("what is new moves by %q where nothing should", got)
		}
		if asks[bool](t, b, `document.querySelector('.top nav').checkVisibility()`) || !asks[bool](t, b, `document.querySelector('#open-cards').checkVisibility()`) {
			t.Error("on paper are links to other pages, or no incidents")
		}
		b.sees(t, "light", 1280)
	})

	t.Run("not allowed", func(t *testing.T) {
		b.do(t, chromedp.Navigate(c.url+"/forbidden"))
		if shown := asks[string](t, b, `document.body.innerText`); !strings.Contains(shown, "basic_auth") || strings.Contains(shown, "shop.example.com") {
			t.Errorf("it shows %q", shown)
		}
		b.excuse("404")
		b.excuse("403")
		b.clean(t, c.url)
	})

	t.Run("live", func(t *testing.T) {
		b.do(t, chromedp.Navigate(c.url+"/ops/"), chromedp.Evaluate[chromedp.Void](`window.same = true, document.querySelector('#open-cards a').focus(), document.querySelector('#open-cards > article').same = true`))
		focused := asks[string](t, b, `document.activeElement.href`)
		before := asks[int](t, b, `document.querySelectorAll('#open-cards > article').length`)
		c.visit(t, visit{path: "/late"})
		b.until(t, fmt.Sprintf(`document.querySelectorAll('#open-cards > article').length === %d`, before+1))
		if !asks[bool](t, b, `window.same && [...document.querySelectorAll('#open-cards > article')].some(card => card.same)`) {
			t.Error("what had not changed was drawn anew")
		}
		if at := asks[string](t, b, `document.activeElement.href`); at != focused {
			t.Errorf("the focus went from %s to %s", focused, at)
		}
		b.do(t, chromedp.Navigate(c.url+"/ops/failures"))
		rows := asks[int](t, b, `document.querySelectorAll('tbody tr').length`)
		c.visit(t, visit{path: "/late/again"})
		b.until(t, `document.querySelector('#fresh').innerText === '1 new, show'`)
		if now := asks[int](t, b, `document.querySelectorAll('tbody tr').length`); now != rows {
			t.Error("a row was pushed under the reader's eyes")
		}
		b.do(t, chromedp.Click(chromedp.CSS(`#fresh a`)), chromedp.WaitNotPresent(chromedp.CSS(`#fresh a`)))
		if now := asks[int](t, b, `document.querySelectorAll('tbody tr').length`); now != rows+1 {
			t.Errorf("%d rows, want %d", now, rows+1)
		}
		b.clean(t, c.url)
	})

	t.Run("asked again", func(t *testing.T) {
		compared := func() string {
			return asks[string](t, b, `[...document.querySelectorAll('.compare > section')].map(s => s.innerText).join('\n--\n')`)
		}
		b.do(t, chromedp.Navigate(c.url+"/ops"+pages[6]), chromedp.Click(chromedp.CSS(`.again a`)), chromedp.WaitVisible(chromedp.CSS(`form button`)), chromedp.Click(chromedp.CSS(`form button`)), chromedp.WaitVisible(chromedp.CSS(`.compare`)))
		for range 2 {
			before, now, ok := strings.Cut(compared(), "--")
			if !ok || !strings.Contains(before, "Connect failed") || !strings.Contains(now, "Connect failed") || !strings.Contains(before, "the last failure") || !strings.Contains(now, "asked again") {
				t.Errorf("it shows %q", compared())
			}
			b.do(t, chromedp.Navigate(c.url+"/ops"+pages[6]), chromedp.WaitVisible(chromedp.CSS(`.compare`)))
		}
		for width, beside := range map[int64]bool{1280: true, 320: false} {
			b.sees(t, "light", width)
			if got := asks[bool](t, b, `(([a, b]) => a.top === b.top)([...document.querySelectorAll('.compare > section')].map(s => s.getBoundingClientRect()))`); got != beside {
				t.Errorf("at %d px they stand side by side: %v", width, got)
			}
		}
		b.sees(t, "light", 1280)
		b.clean(t, c.url)
	})

	t.Run("filtered without a reload", func(t *testing.T) {
		told, live := `document.querySelector('#told').innerText`, `document.querySelector('#live').textContent`
		rows := `document.querySelectorAll('tbody tr, .lines > li').length`
		b.do(t, chromedp.Navigate(c.url+"/ops/failures"), chromedp.Evaluate[chromedp.Void](`window.same = true`))
		all := asks[int](t, b, rows)
		// By a link in a cell,
		b.do(t, chromedp.Click(chromedp.CSS(`tbody a[href*="cause=dns_name_not_found"]`)))
		b.until(t, `location.search === '?cause=dns_name_not_found' && `+rows+` === 1`)
		if said := asks[string](t, b, live); said != "1 failure" || asks[string](t, b, told) != said || asks[string](t, b, `document.activeElement.id`) != "told" {
			t.Errorf("it says %q, the focus is on %q", said, asks[string](t, b, `document.activeElement.outerHTML`))
		}
		// by the form, which keeps the other filter and the focus,
		b.do(t, chromedp.Evaluate[chromedp.Void](`(s => { s.focus(); s.value = 'rescued'; s.dispatchEvent(new Event('change', {bubbles: true})) })(document.querySelector('[name=outcome]'))`))
		b.until(t, `document.querySelector('.nothing') && new URLSearchParams(location.search).get('outcome') === 'rescued'`)
		if query := asks[string](t, b, `location.search`); !strings.Contains(query, "cause=dns_name_not_found") || asks[string](t, b, `document.activeElement.name`) != "outcome" {
			t.Errorf("it asks for %s, the focus is on %q", query, asks[string](t, b, `document.activeElement.outerHTML`))
		}
		// by Enter in a field, which asks once,
		b.do(t, chromedp.Evaluate[chromedp.Void](`window.pushed = 0, history.pushState = (...entry) => { window.pushed++; History.prototype.pushState.apply(history, entry) }, (f => { f.value = ''; f.focus() })(document.querySelector('[name=cause]'))`), chromedp.KeyEvent("\r"))
		b.until(t, `location.search === '?outcome=rescued' && `+rows+` === 1`)
		if n := asks[int](t, b, `window.pushed`); n != 1 {
			t.Errorf("it made %d entries of the history", n)
		}
		// and back again.
		b.do(t, chromedp.Evaluate[chromedp.Void](`history.back()`))
		b.until(t, `document.querySelector('.nothing') && location.search.includes('cause=')`)
		b.do(t, chromedp.Evaluate[chromedp.Void](`history.go(-2)`))
		b.until(t, fmt.Sprintf(`location.search === '' && %s === %d`, rows, all))
		if !asks[bool](t, b, `window.same`) {
			t.Error("the page was loaded anew")
		}
		// What is new is told of the list that is shown.
		b.do(t, chromedp.Click(chromedp.CSS(`tbody a[href*="outcome=failed"]`)))
		b.until(t, `location.search === '?outcome=failed'`)
		c.visit(t, visit{path: "/late/filtered"})
		b.until(t, `document.querySelector('#fresh').innerText === '1 new, show'`)
		b.do(t, chromedp.Click(chromedp.CSS(`#fresh a`)))
		b.until(t, `document.querySelector('#fresh').innerText === ''`)
		if !asks[bool](t, b, `window.same`) {
			t.Error("the page was loaded anew")
		}

		b.do(t, chromedp.Navigate(c.url+"/ops/incidents"), chromedp.Evaluate[chromedp.Void](`window.same = true, (s => { s.value = 'resolved'; s.dispatchEvent(new Event('change', {bubbles: true})) })(document.querySelector('[name=state]'))`))
		b.until(t, `document.querySelector('.nothing') && `+live+` === '0 incidents' && window.same`)
		b.clean(t, c.url)
		// What is refused is a page of its own.
		b.do(t, chromedp.Navigate(c.url+"/ops/failures"), chromedp.Evaluate[chromedp.Void](`window.same = true, (f => { f.value = 'no_such_cause'; f.dispatchEvent(new Event('change', {bubbles: true})) })(document.querySelector('[name=cause]'))`))
		await(t, "what was wrong", func() bool { // the page goes away meanwhile
			wrong, err := chromedp.Run(b, chromedp.Evaluate[bool](`document.querySelector('h1')?.innerText === "This can't be asked for"`))
			return err == nil && wrong
		})
		b.excuse("400")
		b.clean(t, c.url)
	})

	t.Run("copied", func(t *testing.T) {
		b.do(t, chromedp.Navigate(c.url+"/ops"+pages[3]), chromedp.Click(chromedp.CSS(`#copy-json summary`)), chromedp.Click(chromedp.CSS(`#copy-json button`)))
		b.until(t, `/Copied|Selected/.test(document.querySelector('#copy-json button').textContent)`)
		b.clean(t, c.url)
	})

	t.Run("forgotten", func(t *testing.T) {
		b.do(t, chromedp.Navigate(c.url+"/ops/"), chromedp.Click(chromedp.CSS(`footer a[href="./forget"]`)), chromedp.WaitVisible(chromedp.CSS(`form button`)), chromedp.Click(chromedp.CSS(`form button`)), chromedp.WaitVisible(chromedp.CSS(`#hero`)))
		if at := asks[string](t, b, `location.pathname`); at != "/ops/" {
			t.Errorf("at %s", at)
		}
		if n := len(c.failures(t)); n != 0 {
			t.Errorf("%d failures are kept", n)
		}
		b.clean(t, c.url)
	})
}

// Without a script, all is there too.
func TestDashboardWithoutScript(t *testing.T) {
	c := dashboardCaddy(t)
	b := openTab(t)
	tell(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(t, chromedp.Navigate(c.url+"/ops"))
	if shown := result(t, b, chromedp.TextContent(chromedp.CSS("main"))); !strings.Contains(shown, "things are broken") || !strings.Contains(shown, "What to do") {
		t.Errorf("it shows %q", shown)
	}
	b.do(t, chromedp.Click(chromedp.CSS(`nav a[href="./failures"]`)), chromedp.WaitVisible(chromedp.CSS(`.failures`)), chromedp.Click(chromedp.CSS(`tbody td[data-label=Cause] a`)), chromedp.WaitVisible(chromedp.CSS(`.chips .chip`)))
	b.do(t, chromedp.Click(chromedp.CSS(`.chips .chip`)), chromedp.WaitNotPresent(chromedp.CSS(`.chips .chip`)), chromedp.Click(chromedp.CSS(`tbody .what a`)), chromedp.WaitVisible(chromedp.CSS(`.uf`)))
	b.do(t, chromedp.Click(chromedp.CSS(`#copy-markdown summary`)), chromedp.WaitVisible(chromedp.CSS(`#text-markdown`)))
	b.do(t, chromedp.Click(chromedp.CSS(`nav a[href="../upstreams"]`)), chromedp.WaitVisible(chromedp.CSS(`.board`)), chromedp.Click(chromedp.CSS(`nav a[href="./causes"]`)), chromedp.WaitVisible(chromedp.CSS(`#connection_refused`)))
	b.clean(t, c.url)
}

// Pictures of all pages, for people to look at: PICTURES says where to.
func TestDashboardPictures(t *testing.T) {
	dir := os.Getenv("PICTURES")
	if dir == "" {
		t.Skip("PICTURES names no folder")
	}
	c := dashboardCaddy(t)
	b := openTab(t)
	pages := dashboardPages(t, c)
	for range 3 {
		askAgain(t, c, c.of(t, "/out/of/service?id=REDACTED")[0].Upstream)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1280} {
			b.sees(t, scheme, width)
			for n, page := range pages {
				if page == "/causes" && width == 320 {
					continue // too long for a picture
				}
				b.do(t, chromedp.Navigate(c.url+"/ops"+page))
				picture := result(t, b, chromedp.FullScreenshot(100))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d-%d-%s.png", n, width, scheme)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
