package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/http/httpguts"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// hidden is what no public answer may hold. It is a part of all that a request and a record
// have and that is not the public's.
const hidden = "hidden-7h3q"

// place is where an owner's template prints a value.
type place struct {
	name string
	// source prints a field that is named NAME.
	source string
	// whole says that the value is a whole URL: html/template lets each value be one that
	// begins with http, https or mailto.
	whole bool
}

var places = []place{
	{name: "text", source: `<p>{{.NAME}}</p>`},
	{name: "title", source: `<title>{{.NAME}}</title>`},
	{name: "textarea", source: `<textarea>{{.NAME}}</textarea>`},
	{name: "attribute", source: `<p title="{{.NAME}}" data-x='{{.NAME}}'></p>`},
	{name: "attribute without quotes", source: `<p title={{.NAME}} id=x></p>`},
	{name: "whole URL", source: `<a href="{{.NAME}}"></a><img src='{{.NAME}}'><form action={{.NAME}}></form>`, whole: true},
	{name: "part of a URL", source: `<a href="/x/{{.NAME}}?q={{.NAME}}#{{.NAME}}"></a><a href="https://example.com/{{.NAME}}"></a>`},
	{name: "srcset", source: `<img srcset="/a?{{.NAME}} 1x, /b?{{.NAME}} 2x">`},
	{name: "script", source: "<script>var NAME = {{.NAME}};</script>"},
	{name: "quoted in a script", source: "<script>var NAME = '{{.NAME}}' + \"{{.NAME}}\";</script>"},
	{name: "event", source: `<p onclick="f({{.NAME}})" onkeyup='f("{{.NAME}}")'></p>`},
	{name: "JSON", source: `<script type="application/ld+json">{"NAME": {{.NAME}}}</script>`},
	{name: "style", source: "<style>p{color:{{.NAME}};width:1px}</style>"},
	{name: "quoted in a style", source: "<style>p{content:'{{.NAME}}';width:1px}</style>"},
	{name: "style attribute", source: `<p style="color:{{.NAME}};width:1px"></p>`},
}

// owners are templates that print every field of Data at one place each; the last has our
// partials.
var owners = sync.OnceValue(func() []*template.Template {
	var all []*template.Template
	parse := func(source string) {
		all = append(all, template.Must(template.Must(template.New("owner").Parse(partials)).Parse("<!doctype html><html lang=en><body>"+source)))
	}
	for _, place := range places {
		var source strings.Builder
		for _, field := range reflect.VisibleFields(reflect.TypeFor[Data]()) {
			if field.IsExported() && !slices.Contains([]string{"Style", "Script", "Report"}, field.Name) { // the built-in page's own
				source.WriteString(strings.ReplaceAll(place.source, "NAME", field.Name) + "\n")
			}
		}
		parse(source.String())
	}
	parse(`<h1>{{.Title}}</h1>{{range .Hops}}<b>{{.Name}}</b>{{end}}{{template "hops" .}}{{template "next" .}}{{template "again" .}}{{template "reference" .}}`)
	return all
})

// asked are all the values that a fuzzed answer is made of.
type asked struct {
	// choice chooses among what can only be this or that.
	choice uint32
	// Of the request.
	method, accept, language, destination, contentType string
	// said is what an upstream, an error or a text says.
	said string
	// Of the brand, as far as config.go lets it pass.
	brand, support, statusPage, logo string
	status                           int
	retryAfter                       int64
}

// pick takes one of n off the choice.
func (a *asked) pick(n int) int {
	picked := a.choice % uint32(n)
	a.choice /= uint32(n)
	return int(picked)
}

// harmless is the same with values of no meaning wherever there are some.
func (a asked) harmless() asked {
	if classOf(a.method) == changes && a.method != http.MethodConnect {
		a.method = http.MethodPost
	}
	for _, value := range []*string{&a.said, &a.brand, &a.logo} {
		if *value != "" {
			*value = "harmless"
		}
	}
	if scheme, _, _ := strings.Cut(a.support, ":"); scheme != "" {
		a.support = map[string]string{"mailto": "mailto:help@example.com", "tel": "tel:1"}[scheme]
		if a.support == "" {
			a.support = "https://example.com/"
		}
	}
	if a.statusPage != "" {
		a.statusPage = "https://example.com/"
	}
	return a
}

// passed leaves out what config.go refuses.
func (a asked) passed() asked {
	printable := func(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) }
	link := func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && printable(s)
	}
	if len(a.brand) > 128 || !printable(a.brand) {
		a.brand = ""
	}
	switch scheme, rest, _ := strings.Cut(a.support, ":"); scheme {
	case "mailto":
		address, _, _ := strings.Cut(rest, "?")
		address, err := url.PathUnescape(address)
		if err == nil {
			_, err = mail.ParseAddress(address)
		}
		if err != nil || !printable(a.support) {
			a.support = ""
		}
	case "tel":
		if strings.Trim(rest, "+0123456789-.()") != "" {
			a.support = ""
		}
	default:
		if !link(a.support) {
			a.support = ""
		}
	}
	if !link(a.statusPage) {
		a.statusPage = ""
	}
	return a
}

// speaking are languages all of whose texts say something.
func speaking(t *testing.T, says string) *texts.Languages {
	t.Helper()
	var all map[string]any
	encoded, err := json.Marshal(texts.English())
	if err == nil {
		err = json.Unmarshal(encoded, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	// What the file's check refuses is left out.
	says = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '{' || r == '}' || r == utf8.RuneError {
			return -1
		}
		return r
	}, says)
	for len(says) > 500 {
		_, size := utf8.DecodeLastRuneInString(says)
		says = says[:len(says)-size]
	}
	var replace func(values map[string]any)
	replace = func(values map[string]any) {
		for key, value := range values {
			switch value := value.(type) {
			case map[string]any:
				replace(value)
			case string:
				text := says + "."
				for _, placeholder := range []string{"{n}", "{status}"} {
					if strings.Contains(value, placeholder) {
						text = says + placeholder
					}
				}
				values[key] = text
			}
		}
	}
	replace(all)
	if encoded, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	languages, err := texts.New("en", fstest.MapFS{"en.json": {Data: encoded}}, "fuzzed")
	if err != nil {
		t.Fatalf("%v: %s", err, encoded)
	}
	return languages
}

// answer answers what is asked; place is that of the owner's template, nil for a page of ours.
func (a asked) answer(t *testing.T) (w *httptest.ResponseRecorder, where *place, operators bool) {
	t.Helper()
	o := Options{Brand: Brand{Name: a.brand, Support: template.URL(a.support), StatusPage: a.statusPage}}
	if a.logo != "" {
		o.Brand.LogoDataURI = "data:image/" + a.logo
	}
	o.Brand.LogoOnly = a.pick(2) == 1
	o.Mode = Mode(a.pick(2))
	operators = a.pick(4) == 1
	o.Lookup = report.Lookup{
		Guide: func(string) report.Guide {
			text := "x" + a.said
			return report.Guide{Reasons: []string{text}, Caddy: text, Docker: text, Application: text, Caddyfile: text}
		},
		Summary:     func(string) string { return a.said },
		FailureURL:  func(id string) string { return "/failures/" + url.PathEscape(id) },
		IncidentURL: func(id string) string { return "/incidents/" + url.PathEscape(id) },
	}
	if a.pick(3) == 1 {
		o.Languages = speaking(t, a.said)
	}
	p := newPage(t, o)
	if at := a.pick(len(owners()) + 3); at < len(owners()) {
		// New would try it some thousand times.
		p.owner, where = owners()[at], &place{}
		if at < len(places) {
			where = &places[at]
		}
	}
	record := a.record()
	public := record.Public()
	public.RetryAfter = time.Duration(a.retryAfter)

	r := httptest.NewRequest(http.MethodGet, "http://"+hidden+".example.com:47110/"+hidden+"?q="+hidden, nil)
	r.Method, r.RemoteAddr = a.method, hidden+":47110815"
	for name, value := range map[string]string{
		"Accept": a.accept, "Accept-Language": a.language, "Sec-Fetch-Dest": a.destination, "Content-Type": a.contentType,
		"Cookie": hidden, "Referer": "https://" + hidden, "User-Agent": hidden, "X-Request-Id": hidden, "Authorization": hidden,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	details := record
	if !operators {
		details = nil
	}
	w = httptest.NewRecorder()
	if err := p.Answer(w, r, public, details); err != nil {
		t.Errorf("the page failed: %v", err)
	}
	return w, where, operators
}

// record is a failure whose every text is what was said; the public's have nothing hidden.
func (a *asked) record() *failure.Failure {
	secret := a.said + hidden
	took, yes, length := failure.Milliseconds(0.2), true, int64(7)
	categories := append(slices.Clone(failure.Categories), failure.Category(a.said))
	sent := []failure.Sent{"", failure.SentNo, failure.SentMaybe, failure.SentYes}
	f := &failure.Failure{
		ID: a.said, Time: failure.At(time.Unix(1, 0)), Status: a.status,
		Category: categories[a.pick(len(categories))], RequestSent: sent[a.pick(len(sent))],
		Outcome: failure.Failed, Instance: secret, Site: secret, Upstream: secret, Cause: secret, ProxyError: secret,
		Phase: failure.PhaseConnect, Summary: secret, Advice: secret, Evidence: []string{secret, "connect 10.0.0.7:47110815"}, Error: secret,
		Incident: secret, TraceID: secret, AttemptCount: 3, DurationMS: 3,
		Limit: &failure.Limit{Name: secret, ValueMS: &took, Source: failure.LimitSource(secret)},
		Attempts: []failure.Attempt{{
			Upstream: secret, Address: secret, LocalAddress: secret, Protocol: secret, Reused: &yes, IdleMS: &took, DurationMS: 1,
			PhasesMS: failure.Phases{DNS: &took, Connect: &took}, Cause: secret, Error: secret, Errno: secret, ResponseBytes: &length,
		}, {Upstream: "other" + secret, DurationMS: 1}},
		Unavailable: []failure.Unavailable{{
			Upstream: secret, Reason: failure.Reason(secret), LastFailure: secret, LastCause: secret, Check: secret,
		}},
		Request: failure.Request{
			Method: a.method, Host: secret, URI: "/" + secret, Proto: secret, Headers: map[string][]string{"X-" + secret: {secret}},
		},
	}
	return f
}

// outline is what a browser makes of a page, without what is text: its elements, their
// attributes' names, and of scripts and styles what isn't a value.
func outline(t *testing.T, page []byte, scripting bool) (elements []string, links []string) {
	t.Helper()
	document, err := html.ParseWithOptions(bytes.NewReader(page), html.ParseOptionEnableScripting(scripting))
	if err != nil {
		t.Fatal(err)
	}
	for node := range document.Descendants() {
		switch node.Type {
		case html.ElementNode:
			var names []string
			for _, attribute := range node.Attr {
				name := attribute.Namespace + ":" + attribute.Key
				switch {
				case strings.HasPrefix(attribute.Key, "on"):
					name += "=" + code(attribute.Val)
				case attribute.Key == "style":
					name += "=" + rules(attribute.Val)
				case attribute.Key == "srcset":
					for _, candidate := range strings.Split(attribute.Val, ",") {
						links = append(links, strings.TrimSpace(candidate))
					}
				case slices.Contains([]string{"href", "src", "action", "formaction", "data", "poster", "cite", "background", "ping", "manifest"}, attribute.Key):
					links = append(links, attribute.Val)
				case attribute.Key == "http-equiv" || attribute.Key == "srcdoc":
					t.Errorf("the page has %s=%q", attribute.Key, attribute.Val)
				}
				names = append(names, name)
			}
			slices.Sort(names)
			elements = append(elements, fmt.Sprintf("%d %s:%s %s", depth(node), node.Namespace, node.Data, strings.Join(names, " ")))
		case html.CommentNode, html.DoctypeNode:
			elements = append(elements, fmt.Sprintf("%d <!%s", depth(node), node.Data))
		case html.TextNode:
			if node.Parent.Data == "script" {
				elements = append(elements, code(node.Data))
			}
			if node.Parent.Data == "style" {
				elements = append(elements, rules(node.Data))
			}
		}
	}
	return elements, links
}

func depth(node *html.Node) (depth int) {
	for range node.Ancestors() {
		depth++
	}
	return depth
}

// code is a script without the values of its strings and numbers.
func code(script string) string {
	var kept strings.Builder
	for i := 0; i < len(script); i++ {
		switch c := script[i]; {
		case c == '"' || c == '\'' || c == '`':
			kept.WriteString("''")
			for i++; i < len(script) && script[i] != c; i++ {
				if script[i] == '\n' || script[i] == '\r' || strings.HasPrefix(script[i:], "\u2028") || strings.HasPrefix(script[i:], "\u2029") {
					kept.WriteString("broken string")
				}
				if script[i] == '\\' {
					i++
				}
			}
			if i >= len(script) {
				kept.WriteString("string without end")
			}
		case c >= '0' && c <= '9', c == '-', c == '.': // of numbers
		default:
			kept.WriteByte(c)
		}
	}
	return kept.String()
}

// rules is what a style sheet's values can't have: what ends one, or calls a function.
func rules(style string) string {
	var kept strings.Builder
	for i := 0; i < len(style); i++ {
		switch c := style[i]; {
		case c == '\\': // what follows is a character of a value
			i++
		case c == '"' || c == '\'':
			kept.WriteString("''")
			for i++; i < len(style) && style[i] != c; i++ {
				if style[i] == '\n' || style[i] == '\r' || style[i] == '\f' {
					kept.WriteString("broken string")
				}
				if style[i] == '\\' {
					i++
				}
			}
			if i >= len(style) {
				kept.WriteString("string without end")
			}
		case strings.ContainsRune("{};()@<>", rune(c)):
			kept.WriteByte(c)
		}
	}
	return kept.String()
}

// origin is the scheme and host to which a browser takes a link, "" for this site; it reads
// links by https://url.spec.whatwg.org: without space and control characters at their ends,
// without breaks and tabs, and with \ as /.
func origin(link string) string {
	link = strings.TrimFunc(link, func(r rune) bool { return r <= ' ' })
	link = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(link)
	scheme, rest, ok := strings.Cut(link, ":")
	if !ok || scheme == "" || strings.ContainsAny(scheme, "/?#") {
		if strings.HasPrefix(link, "//") {
			return "//" + authority(link)
		}
		return ""
	}
	scheme = strings.ToLower(scheme)
	if scheme == "http" || scheme == "https" {
		return scheme + "://" + authority(rest)
	}
	return scheme + ":"
}

func authority(afterScheme string) string {
	host := strings.TrimLeft(afterScheme, "/")
	if end := strings.IndexAny(host, "/?#"); end >= 0 {
		host = host[:end]
	}
	if decoded, err := url.PathUnescape(host); err == nil { // as browsers do
		host = decoded
	}
	return strings.ToLower(host)
}

func FuzzPage(f *testing.F) {
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	views := []uint32{0, 1, 2, 4, 2 * 2 * 4, 1 + 4 + 2*2*4} // logo alone, minimal, the operator's, an owner's texts
	add := func(view, page, category uint32, said string) {
		f.Add(view+2*2*4*3*(page+uint32(len(owners())+3)*category), "GET", browser, "de", "", "", said, said,
			"mailto:help@example.com?subject=a%20b&cc=c@example.com", "https://status.example.com/a?b=c", "png;base64,AA=="+said, 502, int64(time.Minute))
	}
	for page := range uint32(len(owners()) + 3) {
		for _, view := range views {
			add(view, page, 1, hostile)
		}
	}
	for _, said := range []string{
		"id", "", "k3f9qw2ax&body=x", hostile, mark(valueID) + mark(valueStyle) + mark(valueWait),
		`</title></style></textarea></script><script>alert(1)</script><img src=x onerror=alert(1)>`,
		`javascript:alert(1)`, ` jAvascript:alert(1)//"onclick=alert(1) x=`, `//evil.example/\`, "https://evil.example", "data:text/html,<script>alert(1)</script>",
		"<!--<script>", "]]>--><svg><style><!--", `\'; alert(1)//`, "${alert(1)}`", "\u2028alert(1)", "expression(alert(1))", `}*{background:url(//evil.example)}`, "\\3c/style>",
		"x onmouseover=alert(1)", "{{.ID}}", "&lt;b&gt;&#60;", "<plaintext>", "<math><mtext></table><mglyph><style>",
	} {
		for choice := range uint32(len(owners()) + 3) { // each place of an owner's template, then ours: see answer
			add(0, choice, 0, said)
		}
		for _, view := range views {
			add(view, uint32(len(owners())), 3, said)
		}
		f.Add(uint32(0), "POST", "application/json", "ar", "", "", said, said, "tel:+49-30-1", "", "", 413, int64(0))
		f.Add(uint32(8), "DELETE", "text/html", "zh", "iframe", "", said, said, "https://example.com/?a=b&c", "https://status.example.com", said, 504, int64(-1))
		f.Add(uint32(4), said, said, said, said, said, said, said, said, said, said, -1, int64(1)<<62)
		f.Add(uint32(4), "POST", "*/*", said, "", "application/grpc-web-text+proto", said, said, "mailto:<a@example.com>", "http://[::1]:80/"+said, said, 599, int64(1)<<40)
		f.Add(uint32(0), "POST", "application/graphql-response+json", "he", "", "application/connect+json", said, "", "", "", "", 411, int64(time.Second))
	}
	f.Fuzz(func(t *testing.T, choice uint32, method, accept, language, destination, contentType, said, brand, support, statusPage, logo string, status int, retryAfter int64) {
		a := asked{choice, method, accept, language, destination, contentType, said, brand, support, statusPage, logo, status, retryAfter}.passed()
		if strings.Contains(fmt.Sprint(a), hidden) {
			t.Skip("it knows what is hidden")
		}
		w, where, operators := a.answer(t)
		checkHeader(t, w, method)
		body := w.Body.Bytes()
		var all bytes.Buffer
		_ = w.Header().Write(&all)
		all.Write(body)
		if !operators {
			for _, secret := range []string{hidden, "10.0.0.7", "47110815"} {
				if bytes.Contains(all.Bytes(), []byte(secret)) && !strings.Contains(fmt.Sprint(a), secret) {
					t.Errorf("the public is told %q:\n%s", secret, all.Bytes())
				}
			}
		}
		mediaType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		switch {
		case len(body) == 0:
		case mediaType == "text/html":
			checkPage(t, a, w, where, operators)
		case strings.HasSuffix(mediaType, "json"):
			if !json.Valid(body) && !strings.HasPrefix(mediaType, "application/connect+") { // which is in an envelope
				t.Errorf("no JSON: %q", body)
			}
		case mediaType == "text/plain":
			checkPrintable(t, body)
		}
	})
}

// checkHeader wants a header that can be sent, with nothing in it that an answer of ours
// has no use for.
func checkHeader(t *testing.T, w *httptest.ResponseRecorder, method string) {
	t.Helper()
	for name, values := range w.Header() {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				t.Errorf("the field %q: %q can't be sent", name, value)
			}
		}
	}
	for _, name := range []string{"Set-Cookie", "Location", "Refresh", "Link", "Access-Control-Allow-Origin", "Server"} {
		if w.Header()[name] != nil {
			t.Errorf("%s is %q", name, w.Header()[name])
		}
	}
	if got, want := w.Header().Get("Content-Length"), strconv.Itoa(w.Body.Len()); got != want && method != http.MethodHead {
		t.Errorf("Content-Length %s of %s", got, want)
	}
	if w.Code != http.StatusOK && (w.Code < 400 || w.Code > 599) {
		t.Errorf("status %d", w.Code)
	}
}

// checkPrintable wants text that moves no cursor and turns no direction.
func checkPrintable(t *testing.T, body []byte) {
	t.Helper()
	if !utf8.Valid(body) {
		t.Errorf("no UTF-8: %q", body)
	}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSuffix(line, "\n"); report.Printable(line) != line {
			t.Errorf("not printable: %q", line)
		}
	}
}

// checkPage wants a page that differs from the harmless one in its texts alone.
func checkPage(t *testing.T, a asked, w *httptest.ResponseRecorder, where *place, operators bool) {
	t.Helper()
	reference, _, _ := a.harmless().answer(t)
	if got, want := reference.Header().Get("Content-Type"), w.Header().Get("Content-Type"); got != want {
		t.Fatalf("%s and %s can't be compared", got, want)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Header())) {
		if name != "Upstream-Failure-Id" && name != "Content-Length" && !slices.Equal(w.Header()[name], reference.Header()[name]) {
			t.Errorf("%s is %q, without harm %q", name, w.Header()[name], reference.Header()[name])
		}
	}
	ours := where == nil || operators
	if ours {
		checkPrintable(t, bytes.ReplaceAll(w.Body.Bytes(), []byte("\t"), nil))
	}
	allowed := []string{"", "data:"}
	for _, link := range []string{a.support, a.statusPage, report.DocsURL, "https://example.com"} {
		allowed = append(allowed, origin(link))
	}
	if where != nil && where.whole {
		allowed = append(allowed, "mailto:")
	}
	for _, scripting := range []bool{true, false} {
		got, links := outline(t, w.Body.Bytes(), scripting)
		want, _ := outline(t, reference.Body.Bytes(), scripting)
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("not the template's own: %q\nwhere without harm there is %q, in\n%s", got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))], w.Body)
			}
		}
		for _, link := range links {
			to := origin(link)
			elsewhere := where != nil && where.whole && (strings.HasPrefix(to, "http://") || strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "//"))
			if !slices.Contains(allowed, to) && !elsewhere || to == "data:" && !strings.HasPrefix(link, "data:image/") && !strings.HasPrefix(link, "data:,") && link != "data:" {
				t.Errorf("a link leads to %q, by %q", to, link)
			}
			// A mail goes to whom the owner named, and says what the owner and the reference say.
			if mailTo, is := strings.CutPrefix(link, "mailto:"); is && ours {
				checkMail(t, mailTo, a.support)
			}
		}
	}
}

func checkMail(t *testing.T, link, support string) {
	t.Helper()
	to, query, _ := strings.Cut(link, "?")
	owners, ownQuery, _ := strings.Cut(strings.TrimPrefix(support, "mailto:"), "?")
	if to != owners && !strings.Contains(owners, "%") {
		if unescaped, err := url.PathUnescape(to); err != nil || unescaped != owners {
			t.Errorf("a mail goes to %q, not %q", to, owners)
		}
	}
	want, err := url.ParseQuery(strings.NewReplacer("+", "%2B", ";", "%3B").Replace(ownQuery)) // RFC 6068
	if err != nil {
		return // it is the owner's as it is
	}
	got, err := url.ParseQuery(query)
	if err != nil {
		t.Errorf("the mail's fields are %q: %v", query, err)
	}
	for name := range got {
		if name != "subject" && !slices.Equal(got[name], want[name]) {
			t.Errorf("the mail has %s %q, the owner's %q", name, got[name], want[name])
		}
	}
}
