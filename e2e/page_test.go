//go:build linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/page"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// visitorsPage is one that a visitor can get.
type visitorsPage struct {
	category failure.Category
	status   int
	method   string
	sent     failure.Sent
	after    time.Duration
}

// visitorsPages are one for each situation, and for each of what became of the request.
var visitorsPages = []visitorsPage{
	{category: failure.CategoryUnavailable, status: 502},
	{category: failure.CategoryUnavailable, status: 503, after: 40 * time.Second},
	{category: failure.CategoryUnavailable, status: 502, method: "POST", sent: failure.SentNo},
	{category: failure.CategoryUnreachable, status: 502, method: "POST", sent: failure.SentMaybe},
	{category: failure.CategoryTimeout, status: 504, method: "POST", sent: failure.SentYes},
	{category: failure.CategoryInvalidResponse, status: 502, method: "POST", sent: failure.SentMaybe},
	{category: failure.CategoryErrorResponse, status: 500, method: "POST", sent: failure.SentYes},
	{category: failure.CategoryInterrupted, status: 502, after: 20 * time.Minute},
	{category: failure.CategoryRequest, status: 502, method: "POST", sent: failure.SentYes},
	{category: failure.CategoryRequest, status: 400, method: "POST", sent: failure.SentNo},
	{category: failure.CategoryRequest, status: 411, method: "POST", sent: failure.SentNo},
	{category: failure.CategoryRequest, status: 413, method: "POST", sent: failure.SentMaybe},
	{category: failure.CategoryUnknown, status: 502},
	{category: "", status: 502},
}

// mark is a logo.
const mark = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="2" fill="#c50"/><path d="M2 4h4M4 2v4" stroke="#fff"/></svg>`

// servePages serves visitorsPages, each at the path of its number, to a visitor of the
// brand that the query names.
func servePages(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		if err != nil || n >= len(visitorsPages) {
			http.NotFound(w, r)
			return
		}
		v := visitorsPages[n]
		p, err := page.New(page.Options{Brand: page.Brand{
			Name: r.URL.Query().Get("brand"), LogoDataURI: "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(mark)),
			Support: "mailto:help@example.com", StatusPage: "https://status.example.com",
		}})
		if err != nil {
			t.Error(err)
			return
		}
		if v.method != "" {
			r.Method = v.method // as if the browser had sent a form
		}
		if err := p.Answer(w, r, failure.Public{
			ID: "k3f9qw2ax", Time: failure.At(time.Date(2026, 11, 24, 4, 11, 26, 0, time.UTC)),
			Status: v.status, Category: v.category, RequestSent: v.sent, RetryAfter: v.after,
		}, nil); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// speaks makes the visitor ask in a language.
func (b *tab) speaks(t *testing.T, language string) {
	t.Helper()
	tell(t, b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}})
}

// misfits is a script that lists what doesn't fit: text that leaves its place or is cut, and
// what stands beyond the window's edges. A brand of more than two lines is cut on purpose.
const misfits = `(() => {
	const misfits = [], wide = document.documentElement.clientWidth
	if (document.documentElement.scrollWidth > wide) misfits.push('the page is ' + document.documentElement.scrollWidth + ' px wide')
	const all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange()
	while (all.nextNode()) {
		let place = all.currentNode.parentElement
		if (!all.currentNode.data.trim() || !place.checkVisibility()) continue
		while (getComputedStyle(place).display === 'inline') place = place.parentElement
		range.selectNodeContents(all.currentNode)
		const bounds = place.getBoundingClientRect()
		for (const at of range.getClientRects()) {
			if (at.left < bounds.left - 1 || at.right > bounds.right + 1) misfits.push(all.currentNode.data + ' leaves its place')
			if (!place.closest('header') && (at.top < bounds.top - 8 || at.bottom > bounds.bottom + 8)) misfits.push(all.currentNode.data + ' is cut')
		}
	}
	for (const e of document.body.querySelectorAll('*')) {
		if (!e.checkVisibility()) continue
		for (const at of e.getClientRects()) if (at.left < -.5 || at.right > wide + .5) misfits.push(e.outerHTML + ' ends at ' + at.left + ', ' + at.right)
	}
	return misfits
})()`

// faint is a script that lists the text whose contrast is below 4.5 to 1, or 3 to 1 where
// it is large (WCAG 2.2, 1.4.3).
const faint = `(() => {
	const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true})
	const rgba = colour => {
		canvas.clearRect(0, 0, 1, 1)
		canvas.fillStyle = colour
		canvas.fillRect(0, 0, 1, 1)
		return [...canvas.getImageData(0, 0, 1, 1).data]
	}
	const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
	const behind = e => {
		for (; e; e = e.parentElement) {
			const back = rgba(getComputedStyle(e).backgroundColor)
			if (back[3]) return back
		}
		return [255, 255, 255]
	}
	const faint = [], judge = (name, style, back) => {
		const [a, b] = [light(rgba(style.color)), light(back)].sort((a, b) => b - a), contrast = (a + .05) / (b + .05)
		const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700
		if (contrast < (large ? 3 : 4.5)) faint.push(name + ': ' + contrast.toFixed(2))
	}
	const all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
	let judged = 0
	while (all.nextNode()) {
		const e = all.currentNode.parentElement
		if (!all.currentNode.data.trim() || !e.checkVisibility() || e.localName === 'script') continue
		judge(all.currentNode.data, getComputedStyle(e), behind(e))
		judged++
	}
	for (const e of document.querySelectorAll('.h li')) {
		const style = getComputedStyle(e, ':before')
		judge('the mark of ' + e.textContent, style, rgba(style.backgroundColor))
	}
	if (judged < 8) faint.push('only ' + judged + ' texts were judged')
	return faint
})()`

// longBrand is one that a page has to bear.
const longBrand = "Arbeitsgemeinschaft der Wasserversorgungsunternehmen Oberschwaben-Donautal und Umgebung"

var schemes = []string{"light", "dark"}

// Every page in every language fits, light and dark, on a phone, a tablet and a desk, and
// can be read. PAGE_SHEETS names a folder for pictures, one a language, for people to look at.
func TestPageInEveryLanguage(t *testing.T) {
	sheets := os.Getenv("PAGE_SHEETS")
	server := servePages(t)
	b := openTab(t)
	all, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range all.Tags() {
		t.Run(language, func(t *testing.T) {
			b.speaks(t, language)
			want := all.For(http.Header{"Accept-Language": {language}})
			var rows [2][]image.Image
			shows := func(n int, scheme string, widths ...int64) {
				for _, width := range widths {
					b.sees(t, scheme, width)
					for _, misfit := range asks[[]string](t, b, misfits) {
						t.Errorf("page %d at %d px: %s", n, width, misfit)
					}
					if sheets != "" && (n == 0 || width == 320 && slices.Contains([]int{1, 2, 6, 11}, n)) {
						row := slices.Index(schemes, scheme)
						rows[row] = append(rows[row], b.picture(t, width))
					}
				}
			}
			for n := range visitorsPages {
				brand := "Example Shop"
				if n == 2 {
					brand = longBrand
				}
				b.do(t, chromedp.Navigate(fmt.Sprintf("%s/%d?brand=%s", server, n, url.QueryEscape(brand))))
				if is := asks[string](t, b, `document.documentElement.lang + ' ' + document.documentElement.dir`); is != language+" "+want.Dir() {
					t.Errorf("page %d is in %s", n, is)
				}
				if n < 2 {
					tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 375, Height: 667, DeviceScaleFactor: 1})
					if low := asks[float64](t, b, `Math.max(...[...document.querySelectorAll('nav a')].map(a => a.getBoundingClientRect().bottom))`); low > 667 {
						t.Errorf("page %d has a link at %v px, below the fold of a phone", n, low)
					}
				}
				if n > 0 { // the colours are those of the first
					shows(n, "light", 320, 1280)
					continue
				}
				for _, scheme := range schemes {
					shows(n, scheme, 320, 768, 1280)
					for _, text := range asks[[]string](t, b, faint) {
						t.Errorf("page %d, %s, is hard to read: %s", n, scheme, text)
					}
				}
			}
			if sheets != "" {
				writeSheet(t, filepath.Join(sheets, language+".png"), rows[:])
			}
		})
	}
	for _, requested := range b.requests {
		if path := strings.TrimPrefix(requested, server+"/"); !strings.Contains(path, "?brand=") && !strings.HasPrefix(path, "data:") {
			t.Errorf("a page asks for %s", requested)
		}
	}
	for _, v := range visitorsPages {
		b.excuse(strconv.Itoa(v.status))
	}
	b.clean(t, server)
}

// small is a script that lists what is too small to be hit, in CSS px: below 44 for a link of
// the page, which are the next steps, and below 24 for the buttons beside a text (WCAG 2.2,
// 2.5.5 and 2.5.8).
const small = `[...document.querySelectorAll('a, button')].filter(e => e.checkVisibility()).map(e => [e, e.getBoundingClientRect()])
	.filter(([e, at]) => at.width < 24 || at.height < (e.localName === 'a' ? 44 : 40)).map(([e, at]) => e.innerText + ': ' + at.width + ' × ' + at.height)`

// The page bears what its visitors set: larger text, their own colours, no motion, no script, paper.
func TestPageAsItsVisitorWantsIt(t *testing.T) {
	server := servePages(t)
	b := openTab(t)
	see := func(t *testing.T, n int, media string, features ...string) {
		t.Helper()
		p := emulation.SetEmulatedMediaParams{Media: media}
		for i := 0; i < len(features); i += 2 {
			p.Features = append(p.Features, &emulation.MediaFeature{Name: features[i], Value: features[i+1]})
		}
		tell(t, b, emulation.SetEmulatedMedia, p)
		tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: 900, DeviceScaleFactor: 1})
		b.do(t, chromedp.Navigate(fmt.Sprintf("%s/%d?brand=Example+Shop", server, n)))
	}
	none := func(t *testing.T, script, what string) {
		t.Helper()
		for _, found := range asks[[]string](t, b, script) {
			t.Errorf("%s: %s", what, found)
		}
	}

	t.Run("landmarks", func(t *testing.T) {
		see(t, 0, "screen")
		want := "header main h1 ol nav footer"
		if got := asks[string](t, b, `[...document.querySelectorAll('header, main, nav, footer, h1, h2, ol')].map(e => e.localName).join(' ')`); got != want {
			t.Errorf("it has %q, want %q", got, want)
		}
		if asks[bool](t, b, `!document.title.startsWith(document.querySelector('h1').innerText)`) {
			t.Error("its title isn't its heading")
		}
		none(t, small, "too small to be hit")
		if asks[bool](t, b, `document.querySelector('link[rel=icon]').href !== 'data:,'`) {
			t.Error("a browser with a window asks for an icon")
		}
	})

	t.Run("zoomed to 200 %", func(t *testing.T) {
		for n := range 3 {
			see(t, n, "screen")
			for _, width := range []int64{320, 640, 1280} { // a window of 1280 px has 640 of them
				tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 450, DeviceScaleFactor: 2})
				none(t, misfits, fmt.Sprintf("page %d in %d px", n, width))
			}
			asks[string](t, b, `document.documentElement.style.fontSize = '200%'`) // the text alone
			for _, width := range []int64{320, 1280} {
				tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
				none(t, misfits, fmt.Sprintf("page %d with its text at 200 %% in %d px", n, width))
			}
		}
	})

	t.Run("forced colours", func(t *testing.T) {
		for _, scheme := range schemes {
			see(t, 0, "screen", "forced-colors", "active", "prefers-color-scheme", scheme)
			if !asks[bool](t, b, `matchMedia('(forced-colors: active)').matches`) {
				t.Fatal("they are not forced")
			}
			none(t, faint, "hard to read, "+scheme)
			none(t, `[...document.querySelectorAll('main, nav .b')].filter(e => parseFloat(getComputedStyle(e).borderTopWidth) < 1).map(e => e.localName)`, "without an edge, "+scheme)
			none(t, `[...document.querySelectorAll('.h li')].filter(e => parseFloat(getComputedStyle(e, ':before').borderTopWidth) < 1).map(e => e.innerText)`, "without an edge, "+scheme)
		}
	})

	t.Run("reduced motion", func(t *testing.T) {
		see(t, 0, "screen", "prefers-reduced-motion", "reduce")
		none(t, `[...document.querySelectorAll('*')].filter(e => (s => s.transitionDuration !== '0s' || s.animationName !== 'none' || s.scrollBehavior !== 'auto')(getComputedStyle(e))).map(e => e.localName)`, "moves")
	})

	t.Run("on paper", func(t *testing.T) {
		for n := range 3 {
			see(t, n, "print", "prefers-color-scheme", "dark")
			none(t, `[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && getComputedStyle(e).color !== 'rgb(0, 0, 0)').map(e => e.outerHTML)`, "not black")
			none(t, `[...document.querySelectorAll('a, button')].filter(e => e.checkVisibility()).map(e => e.innerText)`, "of no use on paper")
			printed, err := chromedp.Call(b, cdppage.PrintToPDF, cdppage.PrintToPDFParams{})
			if err != nil {
				t.Fatal(err)
			}
			if pages := regexp.MustCompile(`/Type\s*/Page\b`).FindAll(printed.Data, -1); len(pages) != 1 {
				t.Errorf("page %d has %d pages on paper", n, len(pages))
			}
			if sheets := os.Getenv("PAGE_SHEETS"); sheets != "" {
				if err := os.WriteFile(filepath.Join(sheets, fmt.Sprintf("paper-%d.pdf", n)), printed.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			toText, err := exec.LookPath("pdftotext")
			if err != nil {
				t.Log("pdftotext is not installed: apt-get install poppler-utils")
				continue
			}
			cmd := exec.Command(toText, "-layout", "-", "-")
			cmd.Stdin = bytes.NewReader(printed.Data)
			text, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Example Shop", "This site is not available right now", "k3f9qw2ax", "04:11:26 UTC"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("page %d says no %q on paper, but\n%s", n, want, text)
				}
			}
			if strings.Contains(string(text), "Copy") || strings.Contains(string(text), "Try again") {
				t.Errorf("page %d has buttons on paper:\n%s", n, text)
			}
		}
	})

	t.Run("without a script", func(t *testing.T) {
		tell(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		see(t, 0, "screen")
		shown := result(t, b, chromedp.Text(chromedp.CSS("body")))
		for _, want := range []string{
			"This site is not available right now", "It cannot pass requests on", "Its server", "You can try again now", "Try again",
			"This page does not load again by itself.", "k3f9qw2ax", "2026-11-24 04:11:26 UTC",
		} {
			if !strings.Contains(shown, want) {
				t.Errorf("it doesn't say %q, but\n%s", want, shown)
			}
		}
		for _, button := range []string{"Copy", "Pause"} {
			if strings.Contains(shown, button) {
				t.Errorf("it has a button %q, which does nothing", button)
			}
		}
	})

	for _, v := range visitorsPages {
		b.excuse(strconv.Itoa(v.status))
	}
	b.clean(t, server)
}

// The operator's page has more of the same style, and fits too.
func TestOperatorsPageFits(t *testing.T) {
	c := startCaddy(t, fmt.Sprintf(`
	@operator remote_ip 127.0.0.1
	handle {
		upstream_diagnostics {
			details @operator
			brand {
				name "%s"
			}
		}
		reverse_proxy %s
	}`, longBrand, deadAddress(t)))
	b := openTab(t)
	b.do(t, chromedp.Navigate(c.url+"/"+strings.Repeat("long/", 30)))
	for _, scheme := range schemes {
		for _, width := range []int64{320, 768, 1280} {
			b.sees(t, scheme, width)
			for _, misfit := range asks[[]string](t, b, misfits) {
				t.Errorf("at %d px: %s", width, misfit)
			}
		}
		for _, text := range asks[[]string](t, b, faint) {
			t.Errorf("%s, is hard to read: %s", scheme, text)
		}
	}
	b.excuse("502")
	b.clean(t, c.url)
}

// A text browser shows it, too, with each word apart.
func TestPageInTextBrowser(t *testing.T) {
	t.Parallel()
	w3m := program(t, "w3m", "w3m")
	out, err := exec.Command(w3m, "-dump", "-cols", "80", "-o", "accept_language=en", servePages(t)+"/0?brand=Example+Shop").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"You connected", "Example Shop reached", "Its server not available", "give this reference: k3f9qw2ax", "Error 502 · 2026-11-24 04:11:26 UTC", "Try again"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it doesn't show %q, but\n%s", want, out)
		}
	}
	if os.Getenv("PAGE_SHEETS") != "" {
		t.Logf("%s", out)
	}
}

// picture is what the page shows at that width.
func (b *tab) picture(t *testing.T, width int64) image.Image {
	t.Helper()
	height := asks[float64](t, b, `Math.max(560, document.body.scrollHeight)`)
	picture, err := png.Decode(bytes.NewReader(b.clip(t, cdppage.Viewport{Width: float64(width), Height: height, Scale: 1})))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// clip is a part of what the page shows, as PNG.
func (b *tab) clip(t *testing.T, part cdppage.Viewport) []byte {
	t.Helper()
	beyond := true
	taken, err := chromedp.Call(b, cdppage.CaptureScreenshot, cdppage.CaptureScreenshotParams{CaptureBeyondViewport: &beyond, Clip: &part})
	if err != nil {
		t.Fatal(err)
	}
	return taken.Data
}

// The pictures of the README: PICTURES says where to.
func TestPagePictures(t *testing.T) {
	dir := os.Getenv("PICTURES")
	if dir == "" {
		t.Skip("PICTURES names no folder")
	}
	server := servePages(t)
	b := openTab(t)
	for _, picture := range []struct {
		file, language, scheme, brand string
		width, height                 int64
		part                          cdppage.Viewport
	}{
		{"page-light.png", "en", "light", "Example Shop", 1280, 640, cdppage.Viewport{X: 272, Width: 736, Height: 592, Scale: 1}},
		{"page-dark.png", "en", "dark", "Example Shop", 1280, 640, cdppage.Viewport{X: 272, Width: 736, Height: 592, Scale: 1}},
		{"page-arabic-phone.png", "ar", "light", "متجر المثال", 375, 667, cdppage.Viewport{Width: 375, Height: 640, Scale: 1}},
	} {
		b.speaks(t, picture.language)
		b.do(t, chromedp.Navigate(server+"/0?brand="+url.QueryEscape(picture.brand)))
		b.sees(t, picture.scheme, picture.width)
		tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: picture.width, Height: picture.height, DeviceScaleFactor: 1})
		if err := os.WriteFile(filepath.Join(dir, picture.file), b.clip(t, picture.part), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// writeSheet joins rows of pictures into one.
func writeSheet(t *testing.T, file string, rows [][]image.Image) {
	t.Helper()
	const gap = 12
	var size image.Point
	for _, row := range rows {
		width, height := gap, 0
		for _, picture := range row {
			width, height = width+picture.Bounds().Dx()+gap, max(height, picture.Bounds().Dy())
		}
		size = image.Pt(max(size.X, width), size.Y+height+gap)
	}
	sheet := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(sheet, sheet.Bounds(), image.NewUniform(color.Gray{0x80}), image.Point{}, draw.Src)
	y := gap / 2
	for _, row := range rows {
		x, height := gap, 0
		for _, picture := range row {
			draw.Draw(sheet, picture.Bounds().Add(image.Pt(x, y)), picture, image.Point{}, draw.Src)
			x, height = x+picture.Bounds().Dx()+gap, max(height, picture.Bounds().Dy())
		}
		y += height + gap
	}
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, sheet); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, encoded.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
