//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// heldTime makes a page's seconds pass when the test says so, by tick().
const heldTime = `(real => window.setInterval = (f, ms) => ms === 1000 ? window.tick = f : real(f, ms))(window.setInterval)`

// countdown is after how many seconds the page says that it looks next; -1 where it doesn't.
const countdown = `(n => n ? +n[0] : -1)(document.querySelector('#next').innerText.match(/\d+/))`

// said is what the page tells a screen reader.
const said = `document.querySelector('#said').innerText`

// heads are how many HEADs the page has sent, and for what.
func (b *tab) heads() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.headed)
}

// front opens a tab before b's, which is hidden then, or waits until it is no more.
func (b *tab) front(t *testing.T) (close func()) {
	t.Helper()
	other, end := chromedp.NewContext(b, chromedp.WithNewWindow(false))
	if err := chromedp.Do(other, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(other, cdppage.BringToFront, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	return func() {
		end()
		tell(t, b, cdppage.BringToFront, cdp.Empty{})
		b.until(t, `!document.hidden`)
	}
}

// The page counts down where it is seen and not paused, asks with one HEAD to its own
// address, waits longer after each, and loads again when the site answers.
func TestPageReturns(t *testing.T) {
	upstream := freeAddress(t)
	c := startCaddy(t, "reverse_proxy "+upstream)
	b := openTab(t)
	held, err := chromedp.Call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: heldTime})
	if err != nil {
		t.Fatal(err)
	}
	address := c.url + "/shelf?of=books"
	b.do(t, chromedp.Navigate(address))

	first := asks[int](t, b, countdown)
	if first < 5 || first > 10 {
		t.Fatalf("it looks first after %d s", first)
	}
	if got := asks[int](t, b, `tick(), tick(), `+countdown); got != first-2 {
		t.Errorf("after two of %d s it counts %d", first, got)
	}
	if got := asks[string](t, b, said); got != "" {
		t.Errorf("a screen reader is told of each second: %q", got)
	}

	b.do(t, chromedp.Click(chromedp.CSS("#stop")))
	asks[bool](t, b, `(() => { for (let i = 0; i < 100; i++) tick() })(), true`)
	if got := asks[int](t, b, countdown); got != -1 || len(b.heads()) > 0 {
		t.Errorf("paused, it counts %d, and asked for %q", got, b.heads())
	}
	if got, button := asks[string](t, b, said), asks[string](t, b, `document.querySelector('#stop').innerText`); !strings.HasPrefix(got, "Paused") || button != "Continue" {
		t.Errorf("paused, it says %q, and the button %q", got, button)
	}
	b.do(t, chromedp.Click(chromedp.CSS("#stop")))
	resumed := asks[int](t, b, countdown)
	if resumed < 1 || resumed > first-2 {
		t.Errorf("it resumes at %d of %d s", resumed, first)
	}
	if got, button := asks[string](t, b, said), asks[string](t, b, `document.querySelector('#stop').innerText`); got != "" || button != "Pause" {
		t.Errorf("resumed, it says %q, and the button %q", got, button)
	}

	reveal := b.front(t)
	await(t, "the page is hidden", func() bool { return asks[bool](t, b, `document.hidden`) })
	asks[bool](t, b, `(() => { for (let i = 0; i < 100; i++) tick() })(), true`)
	if got := asks[int](t, b, countdown); got != resumed || len(b.heads()) > 0 {
		t.Errorf("hidden, it counts from %d to %d, and asked for %q", resumed, got, b.heads())
	}
	reveal()

	// The site is down still: one HEAD, and a longer wait. A tick while it is on its way does nothing.
	asks[bool](t, b, fmt.Sprintf(`(() => { for (let i = 0; i < %d + 50; i++) tick() })(), true`, resumed))
	if got := asks[string](t, b, `document.querySelector('#next').innerText`); !strings.HasPrefix(got, "Checking") {
		t.Errorf("while it looks, it says %q", got)
	}
	b.until(t, `(tick(), `+countdown+` > 0)`)
	if second := asks[int](t, b, countdown); second < 5 || second > 20 {
		t.Errorf("then it looks after %d s", second)
	}
	if got := b.heads(); !slices.Equal(got, []string{address}) {
		t.Errorf("it asked for %q", got)
	}
	b.excuse("502")
	b.clean(t, c.url)

	// In real time, the upstream comes back: so does the visitor, alone.
	tell(t, b, cdppage.RemoveScriptToEvaluateOnNewDocument, cdppage.RemoveScriptToEvaluateOnNewDocumentParams{Identifier: held.Identifier})
	b.do(t, chromedp.Navigate(address))
	listener, err := net.Listen("tcp", upstream)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<link rel=icon href=data:,><title>The shelf</title>")
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	await(t, "the page came back", func() bool {
		// A document that is left has no answer.
		title, err := chromedp.Run(b, chromedp.Title())
		return err == nil && title == "The shelf"
	})
	if at := asks[string](t, b, `location.href`); at != address {
		t.Errorf("it came back to %s", at)
	}
	b.excuse("502")
	b.clean(t, c.url)
}

// Where the site answers HEAD and still fails, the page that is loaded again waits longer
// than the one before it did: each of its looks would be a request that fails.
func TestPageReturnsMoreRarely(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	c := startCaddy(t, "reverse_proxy "+server.Listener.Addr().String())
	b := openTab(t)
	if _, err := chromedp.Call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: heldTime}); err != nil {
		t.Fatal(err)
	}
	loaded := `document.querySelector('code')?.innerText`
	b.do(t, chromedp.Navigate(c.url))
	for _, least := range []int{5, 10, 20, 40, 80} {
		counts := asks[int](t, b, countdown)
		if counts < least || least == 5 && counts > 10 {
			t.Errorf("it looks after %d s, and not after %d or more", counts, least)
		}
		before := asks[string](t, b, loaded)
		asks[bool](t, b, fmt.Sprintf(`(() => { for (let i = 0; i < %d; i++) tick() })(), true`, counts))
		await(t, "the page was loaded again", func() bool {
			now, err := chromedp.Run(b, chromedp.Evaluate[string](loaded+` ?? ''`)) // a document that is left has no answer
			return err == nil && now != "" && now != before
		})
	}
	// A page that is opened is not one that was loaded again, and what a window is called stays.
	b.do(t, chromedp.Navigate("about:blank"), chromedp.Navigate(c.url+"/other"))
	if counts := asks[int](t, b, countdown); counts < 5 || counts > 10 {
		t.Errorf("opened anew, it looks after %d s", counts)
	}
	before := asks[string](t, b, loaded)
	asks[bool](t, b, `window.name = 'shop', (() => { for (let i = 0; i < 10; i++) tick() })(), true`)
	await(t, "the page was loaded again", func() bool {
		now, err := chromedp.Run(b, chromedp.Evaluate[string](loaded+` ?? ''`))
		return err == nil && now != "" && now != before
	})
	if called := asks[string](t, b, `window.name`); called != "shop" {
		t.Errorf("the window is called %q", called)
	}
}

// What changes something is never sent again by the page itself.
func TestPageStays(t *testing.T) {
	server := servePages(t)
	b := openTab(t)
	for n, v := range visitorsPages {
		b.do(t, chromedp.Navigate(fmt.Sprintf("%s/%d", server, n)))
		if returns := asks[bool](t, b, `!!document.querySelector('#next')`); returns != (v.method == "") {
			t.Errorf("page %d returns by itself: %v", n, returns)
		}
		if again := asks[bool](t, b, `!!document.querySelector('nav a[href=""]')`); again != (v.method == "") {
			t.Errorf("page %d offers to try again: %v", n, again)
		}
	}
}

func TestPageCopiesTheReference(t *testing.T) {
	server := servePages(t)
	b := openTab(t)
	for _, permission := range []string{"clipboard-read", "clipboard-write"} {
		if _, err := chromedp.CallBrowser(b, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: permission}, Setting: browser.PermissionSettingGranted, Origin: server,
		}); err != nil {
			t.Fatal(err)
		}
	}
	b.do(t, chromedp.Navigate(server+"/0"), chromedp.Click(chromedp.CSS("#copy")))
	b.until(t, `document.querySelector('#copy').innerText === 'Copied'`)
	if copied := result(t, b, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise)); copied != "k3f9qw2ax" {
		t.Errorf("copied is %q", copied)
	}
	b.excuse("502")
	b.clean(t, server)
}

// The time is the visitor's own, too, in the visitor's words and zone.
func TestPageHasTheLocalTime(t *testing.T) {
	server := servePages(t)
	b := openTab(t)
	tell(t, b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"})
	b.speaks(t, "ja")
	b.do(t, chromedp.Navigate(server+"/0"))
	if shown := asks[string](t, b, `document.querySelector('time').parentElement.innerText`); !strings.Contains(shown, "2026-11-24 04:11:26 UTC · 2026/11/24\u00a013:11") {
		t.Errorf("it shows %q", shown)
	}
}

// All is reached and done by keyboard, in the order in which it stands.
func TestPageByKeyboard(t *testing.T) {
	server := servePages(t)
	b := openTab(t)
	b.do(t, chromedp.Navigate(server+"/0"))
	var reached []string
	for range 5 {
		b.do(t, chromedp.KeyEvent("\t"))
		reached = append(reached, asks[string](t, b, `document.activeElement.innerText`))
		if asks[bool](t, b, `(s => s.outlineStyle === 'none' || parseFloat(s.outlineWidth) < 2)(getComputedStyle(document.activeElement))`) {
			t.Errorf("the focus isn't seen on %s", reached[len(reached)-1])
		}
	}
	if want := []string{"Try again", "Status of this site", "Get help", "Pause", "Copy"}; !slices.Equal(reached, want) {
		t.Errorf("reached are %q, want %q", reached, want)
	}
	b.do(t, chromedp.KeyEvent("\r"))
	b.until(t, `document.activeElement.innerText === 'Copied'`)
	b.do(t, chromedp.KeyEvent("\t", chromedp.KeyModifiers(chromedp.ModifierShift)), chromedp.KeyEvent(" "))
	b.until(t, `document.activeElement.innerText === 'Continue' && /^Paused/.test(`+said+`)`)
	b.do(t, chromedp.KeyEvent("\r"))
	b.until(t, `document.activeElement.innerText === 'Pause'`)
}

// crowd is a script for Node: 1000 visitors open the page in one second, while the site is
// down, for 10 minutes. Time is made; the script of the page is the one that is served. It
// prints when they asked, and when the page was loaded again.
const crowd = `
const [source, wait, jitter] = [require("fs").readFileSync(process.argv[2], "utf8"), process.argv[3], process.argv[4]];
let seed = 1; // chance is made, too, so that the test ends as it did before
Math.random = jitter === "none" ? () => 0 : () => {
	let z = seed += 0x6d2b79f5;
	z = Math.imul(z ^ z >>> 15, z | 1);
	z ^= z + Math.imul(z ^ z >>> 7, z | 61);
	return ((z ^ z >>> 14) >>> 0) / 2 ** 32;
};
const down = 600, asked = [], returned = [];
let now = 0;
const visitors = Array.from({length: 1000}, () => {
	const visitor = {}, element = {dataset: {wait, next: "{n}", now: "", back: "", off: ""}, after() {}, dateTime: "2026-11-24T04:11:26Z"};
	const document = {hidden: false, querySelector: () => ({...element, lang: "en"})};
	const fetch = (address, {method}) => {
		if (address !== "" || method !== "HEAD") throw new Error("it asks for " + address + " by " + method);
		asked.push(now);
		return {then(use) { use({status: now < down ? 502 : 200, headers: new Headers()}); }}; // a promise that is kept at once
	};
	const location = {reload() {
		returned.push(now);
		visitor.tick = () => {};
	}};
	const setInterval = f => { visitor.tick = f; };
	new Function("document", "fetch", "location", "setInterval", "name", "performance", source)(document, fetch, location, setInterval, "", {});
	return visitor;
});
while (returned.length < visitors.length && ++now < 3600) for (const visitor of visitors) visitor.tick();
console.log(JSON.stringify({asked, returned}));
`

// Many who wait don't ask at once, nor return at once.
func TestPageReturnsSpread(t *testing.T) {
	t.Parallel()
	node := program(t, "nodejs", "node", "nodejs")
	dir := t.TempDir()
	asking, err := http.NewRequest("GET", servePages(t)+"/0", nil)
	if err != nil {
		t.Fatal(err)
	}
	asking.Header.Set("Accept", "text/html")
	answer, err := http.DefaultClient.Do(asking)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(body), "<script>")
	script, _, found := strings.Cut(script, "</script>")
	if !found {
		t.Fatalf("no script in %s", body)
	}
	served, harness := write(t, filepath.Join(dir, "page.js"), script), write(t, filepath.Join(dir, "crowd.js"), crowd)

	for name, test := range map[string]struct {
		wait, jitter string
		spread       bool
	}{
		"not known when":             {"5", "own", true},
		"known to be in 40 s":        {"40", "own", true},
		"where nothing spreads them": {"5", "none", false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(node, harness, served, test.wait, test.jitter).Output()
			if err != nil {
				t.Fatal(err)
			}
			var seconds struct{ Asked, Returned []int }
			if err := json.Unmarshal(out, &seconds); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if len(seconds.Returned) != 1000 {
				t.Fatalf("%d of 1000 returned", len(seconds.Returned))
			}
			later := slices.DeleteFunc(slices.Clone(seconds.Asked), func(s int) bool { return s <= 60 })
			slices.Sort(seconds.Returned)
			middle := seconds.Returned[950] - seconds.Returned[50] // nine of ten
			asking, returning := busiest(later), busiest(seconds.Returned)
			t.Logf("%d HEADs, at most %d in a second after the first minute; nine of ten return within %d s, at most %d in one; the last at %d s", len(seconds.Asked), asking, middle, returning, seconds.Returned[999])
			if spread := asking <= 70 && returning <= 30 && middle >= 180; spread != test.spread {
				t.Errorf("they are spread: %v", spread)
			}
		})
	}
}

// busiest is how many are in the second that has the most.
func busiest(seconds []int) int {
	count, most := map[int]int{}, 0
	for _, s := range seconds {
		count[s]++
		most = max(most, count[s])
	}
	return most
}
