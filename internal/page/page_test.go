package page

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

var english = texts.English()

// sample is a public failure of that category.
func sample(category failure.Category) failure.Public {
	return failure.Public{
		ID: "k3f9qw2ax", Time: failure.At(time.Date(2026, 11, 24, 4, 11, 26, 0, time.UTC)),
		Status: http.StatusBadGateway, Category: category,
		RequestSent: failure.SentNo,
	}
}

func newPage(t testing.TB, o Options) *Page {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(method string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, "/cart", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func answer(t testing.TB, p *Page, r *http.Request, public failure.Public, details *failure.Failure) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Answer(w, r, public, details); err != nil {
		t.Fatal(err)
	}
	return w
}

const (
	htmlType    = "text/html; charset=utf-8"
	textType    = "text/plain; charset=utf-8"
	problemType = "application/problem+json"
)

func TestForm(t *testing.T) {
	for name, test := range map[string]struct {
		fields []string
		want   string // Content-Type, "" for no body
	}{
		"nothing":          {nil, textType},
		"anything":         {[]string{"Accept", "*/*"}, textType},
		"browser":          {[]string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Dest", "document"}, htmlType},
		"upper case":       {[]string{"Accept", "TEXT/HTML"}, htmlType},
		"html refused":     {[]string{"Accept", "text/html;q=0, */*"}, textType},
		"html, bad q":      {[]string{"Accept", "text/html;q=high"}, textType},
		"html, NaN q":      {[]string{"Accept", "text/html;q=NaN"}, textType},
		"html wildcard":    {[]string{"Accept", "text/*"}, textType},
		"json":             {[]string{"Accept", "application/json"}, problemType},
		"problem":          {[]string{"Accept", "application/problem+json"}, problemType},
		"vendor's json":    {[]string{"Accept", "application/vnd.api+json; ext=x"}, problemType},
		"axios":            {[]string{"Accept", "application/json, text/plain, */*"}, problemType},
		"jquery":           {[]string{"Accept", "application/json, text/javascript, */*; q=0.01"}, problemType},
		"json before html": {[]string{"Accept", "text/html;q=0.5, application/json;q=0.9"}, problemType},
		"html before json": {[]string{"Accept", "application/json;q=0.5, text/html;level=1;q=0.9"}, htmlType},
		"any before html":  {[]string{"Accept", "*/*, text/html"}, htmlType},
		"two fields":       {[]string{"Accept", "application/xml", "Accept", "text/html"}, htmlType},
		"xml":              {[]string{"Accept", "application/xml"}, textType},
		"text":             {[]string{"Accept", "text/plain, text/html;q=0.5"}, textType},
		"image":            {[]string{"Accept", "image/avif,image/webp,image/*,*/*;q=0.8"}, ""},
		"style":            {[]string{"Accept", "text/css,*/*;q=0.1"}, ""},
		"image, fetched":   {[]string{"Accept", "*/*", "Sec-Fetch-Dest", "image"}, ""},
		"script":           {[]string{"Accept", "*/*", "Sec-Fetch-Dest", "script"}, ""},
		"font":             {[]string{"Accept", "*/*", "Sec-Fetch-Dest", "font"}, ""},
		"fetch()":          {[]string{"Accept", "application/json", "Sec-Fetch-Dest", "empty"}, problemType},
		"iframe":           {[]string{"Accept", "text/html", "Sec-Fetch-Dest", "iframe"}, htmlType},
		"websocket":        {[]string{"Accept", "text/html", "Connection", "keep-alive, Upgrade", "Upgrade", "websocket"}, ""},
		"offer of h2c":     {[]string{"Accept", "application/json", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "Http2-Settings", "AAMAAABkAAQ"}, problemType},
		"upgrade unlisted": {[]string{"Accept", "text/html", "Upgrade", "websocket"}, htmlType},
		"too many ranges":  {[]string{"Accept", strings.Repeat("a/b,", 100) + "text/html"}, textType},
	} {
		t.Run(name, func(t *testing.T) {
			w := answer(t, newPage(t, Options{}), request("GET", test.fields...), sample(failure.CategoryUnavailable), nil)
			if got := w.Header().Get("Content-Type"); got != test.want {
				t.Errorf("Content-Type %q, want %q", got, test.want)
			}
			if got := w.Body.Len() > 0; got != (test.want != "") {
				t.Errorf("body %q", w.Body)
			}
			if w.Code != http.StatusBadGateway {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	if w := answer(t, newPage(t, Options{}), request("CONNECT"), sample(failure.CategoryTimeout), nil); w.Body.Len() > 0 {
		t.Errorf("CONNECT got a body: %q", w.Body)
	}
}

// On a real connection: what HEAD and GET say of the length is what comes.
func TestLength(t *testing.T) {
	p := newPage(t, Options{})
	details := broken()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var whole *failure.Failure
		if r.URL.Path == "/operator" {
			whole = details
		}
		if err := p.Answer(w, r, details.Public(), whole); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for _, path := range []string{"/", "/operator"} {
		for _, accept := range []string{"text/html", "application/json", "text/plain", "image/png"} {
			lengths := map[string]int64{}
			for _, method := range []string{"GET", "HEAD"} {
				r, err := http.NewRequest(method, server.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept", accept)
				response, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				if method == "HEAD" && len(body) > 0 || method == "GET" && int64(len(body)) != response.ContentLength {
					t.Errorf("%s %s %s: %d bytes, Content-Length %d", method, path, accept, len(body), response.ContentLength)
				}
				lengths[method] = response.ContentLength
			}
			if lengths["GET"] != lengths["HEAD"] || lengths["GET"] < 0 {
				t.Errorf("%s %s: Content-Length %v", path, accept, lengths)
			}
		}
	}
}

// forScript are the parts of the page that are hidden, or say only so, without the script,
// and their rules.
var forScript = []*regexp.Regexp{
	regexp.MustCompile(`(?s)<p class="a">.*?</p>`), regexp.MustCompile(`<button id="copy".*?</button>`),
	regexp.MustCompile(`}button\{.*?}`), regexp.MustCompile(`}\.a\{.*?}`),
}

// Without its script, of less than 1 KiB, and what is there for the script alone, the page
// has at most 4 KiB with its header.
func TestPublicPageIsSmall(t *testing.T) {
	p := newPage(t, Options{Brand: Brand{Name: "Example Shop", Support: "https://example.com/help", StatusPage: "https://status.example.com"}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "Caddy")
		w.Header().Set("Alt-Svc", `h3=":443"; ma=2592000`)
		w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		public := sample(failure.Category(r.URL.Query().Get("category")))
		public.RetryAfter = time.Hour
		public.RequestSent = failure.Sent(r.URL.Query().Get("sent"))
		_ = p.Answer(w, r, public, nil)
	}))
	defer server.Close()
	if len(script) >= 1024 {
		t.Errorf("the script has %d bytes", len(script))
	}
	for _, category := range failure.Categories {
		for _, request := range []string{"GET /?sent=no&", "POST /?sent=no&", "POST /?sent=maybe&", "POST /?sent=yes&"} {
			connection, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(connection, request+"category="+string(category)+" HTTP/1.1\r\nHost: example.com\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(bufio.NewReader(connection))
			connection.Close()
			if err != nil || !strings.Contains(string(all), "</footer>") {
				t.Fatalf("%v: %q", err, all)
			}
			size := len(all) - len("<script></script>") - len(script)
			for _, part := range forScript {
				size -= len(part.FindString(string(all)))
			}
			if size > 4096 {
				t.Errorf("%s, %s: %d bytes without what is for the script", request, category, size)
			}
		}
	}
}

// With its script, and in any language, it has at most 8 KiB.
func TestPublicPageIsSmallInEveryLanguage(t *testing.T) {
	p := newPage(t, Options{Brand: Brand{Name: "Example Shop", Support: "mailto:help@example.com", StatusPage: "https://status.example.com"}})
	for _, language := range p.languages.Tags() {
		for _, category := range failure.Categories {
			for _, method := range []string{"GET", "POST"} {
				for _, sent := range []failure.Sent{failure.SentNo, failure.SentMaybe, failure.SentYes} {
					public := sample(category)
					public.RequestSent, public.RetryAfter = sent, time.Minute
					w := answer(t, p, request(method, "Accept", "text/html", "Accept-Language", language), public, nil)
					var header strings.Builder
					if err := w.Header().Write(&header); err != nil {
						t.Fatal(err)
					}
					if size := header.Len() + w.Body.Len(); size > 8192 {
						t.Errorf("%s %s, %s, sent %s: %d bytes", language, method, category, sent, size)
					}
				}
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	p := newPage(t, Options{})
	w := httptest.NewRecorder()
	kept := map[string]string{
		"Access-Control-Allow-Origin": "*", "Strict-Transport-Security": "max-age=1", "Set-Cookie": "a=b", "X-Request-Id": "7",
	}
	for field, value := range kept {
		w.Header().Set(field, value)
	}
	w.Header().Set("Vary", "Origin, accept")
	for _, field := range stale {
		w.Header().Set(field, "1")
	}
	if err := p.Answer(w, request("GET", "Accept", "text/html"), sample(failure.CategoryUnavailable), nil); err != nil {
		t.Fatal(err)
	}
	for field, value := range kept {
		if w.Header().Get(field) != value {
			t.Errorf("%s is %q", field, w.Header().Get(field))
		}
	}
	for _, field := range stale {
		if field != "Content-Length" && field != "Content-Language" && w.Header().Get(field) != "" {
			t.Errorf("%s is left", field)
		}
	}
	if got := w.Header()["Vary"]; strings.Join(got, "|") != "Origin, accept|Sec-Fetch-Dest|Accept-Language" {
		t.Errorf("Vary %q", got)
	}
	for field, want := range map[string]string{
		"Cache-Control": "no-store", "X-Robots-Tag": "noindex", "Upstream-Failure-Id": "k3f9qw2ax", "Retry-After": "", "Content-Language": "en",
	} {
		if got := w.Header().Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
}

func TestPolicyIsForTheBuiltinPageOnly(t *testing.T) {
	owner := newPage(t, Options{Template: "<h1>{{.Title}}</h1>"})
	for name, test := range map[string]struct {
		page    *Page
		accept  string
		details *failure.Failure
		want    bool
	}{
		"built-in":         {newPage(t, Options{}), "text/html", nil, true},
		"json":             {newPage(t, Options{}), "application/json", nil, false},
		"owner's":          {owner, "text/html", nil, false},
		"owner's operator": {owner, "text/html", broken(), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := answer(t, test.page, request("GET", "Accept", test.accept), sample(failure.CategoryTimeout), test.details)
			got := w.Header().Get("Content-Security-Policy")
			if (got != "") != test.want {
				t.Fatalf("policy %q", got)
			}
			if !test.want {
				return
			}
			for _, element := range []string{"style", "script"} {
				for i, after := range strings.Split(w.Body.String(), "<"+element+">") {
					text, _, _ := strings.Cut(after, "</"+element+">")
					if i > 0 && !strings.Contains(got, element+"-src "+hashOf(text)) {
						t.Errorf("the policy %q doesn't allow the page's %s", got, element)
					}
				}
			}
			for _, forbidden := range []string{"style=", "<script ", "src=\"http", "url("} {
				if strings.Contains(w.Body.String(), forbidden) {
					t.Errorf("the page has %q", forbidden)
				}
			}
		})
	}
}

// The operator's page begins with what is known, and says folded what a visitor would have
// been shown instead: in this page's mode, word for word.
func TestOperatorsPage(t *testing.T) {
	f := broken()
	lookup := report.Lookup{Guide: func(cause string) report.Guide { return report.Guide{Reasons: []string{"why " + cause}} }}
	for mode, title := range map[Mode]string{Public: english.Of(f.Public()).Title, Minimal: english.Situations.Minimal.Title} {
		p := newPage(t, Options{Mode: mode, Lookup: lookup, Brand: Brand{Name: "Shop"}})
		public := f.Public()
		public.RetryAfter = 30 * time.Second
		body := answer(t, p, request("GET", "Accept", "text/html"), public, f).Body.String()
		for _, want := range []string{
			"<title>" + f.Summary + " · Shop</title>", "<h1>Operator's view</h1>", "<h2>" + f.Summary + "</h2>", "<li>why connection_refused</li>",
			"<summary>What visitors see</summary>\n<p>" + title + "</p><p>", "about 30 seconds.</p></details>",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("mode %d: no %q in\n%s", mode, want, body)
			}
		}
		if strings.Contains(body, "<footer>") || strings.Count(body, f.ID) != 1 {
			t.Errorf("mode %d: the reference is there twice:\n%s", mode, body)
		}
		asText := answer(t, p, request("GET", "Accept", "text/plain"), public, f).Body.String()
		if !strings.HasPrefix(asText, f.Summary+"\n") || !strings.Contains(asText, "\nUsual reasons\n  - why connection_refused\n") {
			t.Errorf("mode %d: the text is\n%s", mode, asText)
		}
		if visitor := answer(t, p, request("GET", "Accept", "text/html"), public, nil).Body.String(); strings.Contains(visitor, "why connection_refused") || !strings.Contains(visitor, "<footer>") {
			t.Errorf("mode %d: a visitor gets\n%s", mode, visitor)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		sent   failure.Sent
		after  time.Duration
		want   string
		status int
	}{
		"too large":      {"GET", failure.SentMaybe, 30 * time.Second, "", 413},
		"no length":      {"POST", failure.SentNo, 30 * time.Second, "", 411},
		"malformed":      {"QUERY", failure.SentNo, 30 * time.Second, "", 400},
		"rounded up":     {"GET", failure.SentMaybe, 1200 * time.Millisecond, "2", 502},
		"unknown":        {"GET", failure.SentNo, 0, "", 502},
		"negative":       {"GET", failure.SentNo, -5 * time.Second, "", 502},
		"POST, not sent": {"POST", failure.SentNo, 30 * time.Second, "30", 502},
		"POST, maybe":    {"POST", failure.SentMaybe, 30 * time.Second, "", 502},
		"DELETE, sent":   {"DELETE", failure.SentYes, 30 * time.Second, "", 502},
		"PUT, unknown":   {"PUT", "", 30 * time.Second, "", 502},
	} {
		t.Run(name, func(t *testing.T) {
			public := sample(failure.CategoryUnavailable)
			if test.status == http.StatusBadRequest {
				public.Category = failure.CategoryRequest
			}
			public.Status, public.RequestSent, public.RetryAfter = test.status, test.sent, test.after
			w := answer(t, newPage(t, Options{}), request(test.method, "Accept", "text/html"), public, nil)
			if got := w.Header().Get("Retry-After"); got != test.want {
				t.Errorf("Retry-After %q, want %q", got, test.want)
			}
			if got := strings.Contains(w.Body.String(), "try again in about"); got != (test.want != "") {
				t.Errorf("the page speaks of coming back: %v", got)
			}
		})
	}
}

func TestWhatBecameOfTheRequest(t *testing.T) {
	p := newPage(t, Options{})
	for _, test := range []struct {
		method string
		sent   failure.Sent
		says   string
		link   bool
	}{
		{"GET", failure.SentYes, english.ReadAgain, true},
		{"PROPFIND", failure.SentYes, english.ReadAgain, false},
		{"POST", failure.SentNo, english.NotCarriedOut, false},
		{"POST", failure.SentMaybe, english.MaybeReceived, false},
		{"PATCH", failure.SentYes, english.Received, false},
		{"BREW", "", english.MaybeReceived, false},
	} {
		t.Run(test.method+" "+string(test.sent), func(t *testing.T) {
			public := sample(failure.CategoryInterrupted)
			public.RequestSent = test.sent
			for accept, form := range map[string]string{"text/html": htmlType, "text/plain": textType} {
				w := answer(t, p, request(test.method, "Accept", accept), public, nil)
				if said := strings.Join(strings.Fields(w.Body.String()), " "); !strings.Contains(said, test.says) {
					t.Errorf("%s doesn't say %q: %s", form, test.says, w.Body)
				}
				if form == htmlType && strings.Contains(w.Body.String(), `href=""`) != test.link {
					t.Errorf("link to try again, want %v", test.link)
				}
			}
		})
	}
}

func TestYourSide(t *testing.T) {
	for _, category := range failure.Categories {
		w := answer(t, newPage(t, Options{}), request("GET", "Accept", "text/html"), sample(category), nil)
		known := category != failure.CategoryUnknown
		want := category != failure.CategoryRequest && known
		if got := strings.Contains(w.Body.String(), english.NotYourSide); got != want {
			t.Errorf("%s: says that the visitor's side is fine: %v", category, got)
		}
		if want && english.Of(sample(category)).State == "" {
			t.Errorf("%s: no word for the broken hop", category)
		}
		if n := strings.Count(w.Body.String(), `<li class="x">`); (n == 1) != known || n > 1 {
			t.Errorf("%s: %d hops are broken", category, n)
		}
	}
}

func TestProblem(t *testing.T) {
	public := sample(failure.CategoryTimeout)
	public.Status, public.RetryAfter = http.StatusGatewayTimeout, 30*time.Second
	accept := []string{"Accept", "application/json"}
	for name, test := range map[string]struct {
		mode    Mode
		details *failure.Failure
		want    map[string]any
	}{
		"public": {Public, nil, map[string]any{
			"type":  "https://github.com/seed-0f014f16/caddy-upstream-diagnostics/blob/main/docs/causes.md#timeout",
			"title": english.Of(public).Title, "status": 504.0, "detail": english.Of(public).Detail, "id": "k3f9qw2ax", "category": "timeout",
			"request_sent": "no", "retry_after_s": 30.0, "failure": nil,
		}},
		"minimal": {Minimal, nil, map[string]any{
			"type": "about:blank", "title": "Gateway Timeout", "status": 504.0, "id": "k3f9qw2ax", "category": nil, "failure": nil,
		}},
		"minimal, operator": {Minimal, broken(), map[string]any{
			"category": "timeout", "title": english.Of(public).Title,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := answer(t, newPage(t, Options{Mode: test.mode}), request("GET", accept...), public, test.details)
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			for field, want := range test.want {
				if got[field] != want {
					t.Errorf("%s is %v, want %v", field, got[field], want)
				}
			}
			if test.details == nil {
				return
			}
			if record, _ := got["failure"].(map[string]any); record["cause"] != test.details.Cause {
				t.Errorf("failure is %v", got["failure"])
			}
		})
	}
}

func TestMinimalTellsNoCategory(t *testing.T) {
	p := newPage(t, Options{Mode: Minimal})
	for name, face := range faces {
		answers := map[string]bool{}
		for _, category := range failure.Categories {
			public := sample(category)
			public.RequestSent = failure.SentMaybe
			w := answer(t, p, face.request("GET", "http://example.com/cart", "en"), public, nil)
			var head strings.Builder
			_ = w.Header().Write(&head)
			answers[strconv.Itoa(w.Code)+head.String()+w.Body.String()] = true
			if category != failure.CategoryUnknown && strings.Contains(w.Body.String(), english.Of(sample(category)).Detail) {
				t.Errorf("%s: %s is told", name, category)
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s: the answer differs by category: %v", name, answers)
		}
	}
}

func TestGRPC(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, wantType string
		category              failure.Category
		sent                  failure.Sent
		status                string
	}{
		"unavailable":       {"application/grpc", "application/grpc", failure.CategoryUnavailable, failure.SentYes, "14"},
		"timeout, sent":     {"application/grpc+proto", "application/grpc+proto", failure.CategoryTimeout, failure.SentMaybe, "4"},
		"timeout, not sent": {"application/grpc", "application/grpc", failure.CategoryTimeout, failure.SentNo, "14"},
		"json, parameters":  {"Application/gRPC+json; charset=utf-8", "application/grpc+json", failure.CategoryUnavailable, failure.SentNo, "14"},
		"no type":           {"application/grpc+\"x", "application/grpc+", failure.CategoryUnavailable, failure.SentNo, "14"},
	} {
		t.Run(name, func(t *testing.T) {
			public := sample(test.category)
			public.RequestSent = test.sent
			w := answer(t, newPage(t, Options{}), request("POST", "Content-Type", test.contentType, "Te", "trailers"), public, nil)
			if w.Code != 200 || w.Body.Len() != 0 {
				t.Errorf("status %d, body %q", w.Code, w.Body)
			}
			for field, want := range map[string]string{
				"Content-Type": test.wantType, "Grpc-Status": test.status, "Grpc-Message": percentEncoded(english.Of(public).Title),
				"Upstream-Failure-Id": "k3f9qw2ax",
			} {
				if got := w.Header().Get(field); got != want {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
		})
	}
}

// broken is a failure full of what the public must not see.
func broken() *failure.Failure {
	took := failure.Milliseconds(0.2)
	return &failure.Failure{
		ID: "k3f9qw2ax", Time: failure.At(time.Unix(1, 0)), Instance: "secret-instance", Site: "secret-site",
		Outcome: failure.Failed, Status: 502, Upstream: "secret-upstream:8080", Cause: "connection_refused",
		Category: failure.CategoryUnavailable, ProxyError: "connection_refused", Phase: failure.PhaseConnect,
		Summary: "Nothing accepts connections at secret-upstream:8080.", Advice: "secret-advice",
		Evidence: []string{"connect 10.0.0.7:8080: ECONNREFUSED"}, Error: "dial tcp 10.0.0.7:8080: secret-error",
		RequestSent: failure.SentNo, AttemptCount: 1,
		Attempts: []failure.Attempt{{
			Upstream: "secret-upstream:8080", Address: "10.0.0.7:8080", Cause: "connection_refused",
			Error: "secret-error", DurationMS: 0.4, PhasesMS: failure.Phases{Connect: &took},
		}},
		Request: failure.Request{Method: "GET", Host: "example.com", URI: "/secret-path", Proto: "HTTP/1.1"},
	}
}

func TestPublicFacesTellNothing(t *testing.T) {
	f := broken()
	secrets := []string{"secret", "10.0.0.7", "8080", "ECONNREFUSED", "dial tcp", "connection_refused"}
	pages := map[string]*Page{
		"built-in": newPage(t, Options{}),
		"minimal":  newPage(t, Options{Mode: Minimal}),
		"owner's":  newPage(t, Options{Template: `{{printf "%+v" .Public}} {{.Became}}`}),
	}
	for name, p := range pages {
		for face, of := range faces {
			for _, language := range []string{"en", "de"} {
				w := answer(t, p, of.request("GET", "http://example.com/cart", language), f.Public(), nil)
				var head strings.Builder
				_ = w.Header().Write(&head)
				told := head.String() + w.Body.String()
				if frame, err := base64.StdEncoding.DecodeString(w.Body.String()); err == nil {
					told += string(frame)
				}
				for _, secret := range secrets {
					if strings.Contains(told, secret) {
						t.Errorf("%s, %s tells %q:\n%s", name, face, secret, told)
					}
				}
			}
		}
	}
	for _, accept := range []string{"text/html", "application/json", "text/plain"} {
		w := answer(t, pages["minimal"], request("GET", "Accept", accept), f.Public(), f)
		for _, secret := range []string{"10.0.0.7", "secret-advice", "secret-error", "connection_refused"} {
			if !strings.Contains(w.Body.String(), secret) {
				t.Errorf("the operator's %s doesn't tell %q", accept, secret)
			}
		}
	}
	// The other faces have no place for a record, and tell operators as little.
	for name, face := range faces {
		if slices.Contains([]string{"page", "small page", "problem", "text", "JSON-RPC", "XHR"}, name) {
			continue
		}
		w := answer(t, pages["minimal"], face.request("GET", "http://example.com/cart", "en"), f.Public(), f)
		for _, secret := range secrets {
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("the operator's %s tells %q", name, secret)
			}
		}
	}
}

const hostile = "\"'><script>alert(1)</script>{{env \"HOME\"}}{env.HOME}\x00\x1b[31m\xff\u202e\r\nSet-Cookie: a=b"

func TestHostileValues(t *testing.T) {
	t.Setenv("HOME", "/the-home")
	public := sample(failure.CategoryUnavailable)
	public.ID = "id" + hostile
	whole := broken()
	whole.Summary, whole.Advice, whole.Cause, whole.Upstream = hostile, hostile, hostile, hostile
	whole.Evidence, whole.Error, whole.Request.URI = []string{hostile}, hostile, hostile
	whole.Request.Headers = map[string][]string{hostile: {hostile}}
	whole.Attempts[0].Error, whole.Attempts[0].Address, whole.Attempts[0].Upstream = hostile, hostile, hostile
	brand := Brand{Name: "brand" + hostile + mark(valueID), Support: template.URL("mailto:a" + hostile), StatusPage: "javascript:alert(1)"}
	for name, o := range map[string]Options{
		"built-in": {Brand: brand},
		"owner's":  {Brand: brand, Template: `<p title="{{.Title}}">{{.Detail}}<a href="{{.Brand.Support}}">{{.ID}}</a>{{.Method}}`},
	} {
		p := newPage(t, o)
		for _, accept := range []string{"text/html", "application/json", "text/plain"} {
			for view, details := range map[string]*failure.Failure{"public": nil, "operator": whole} {
				// Twice: made, then joined from what was made.
				for range 2 {
					w := answer(t, p, request("GET", "Accept", accept), public, details)
					body := w.Body.String()
					forbidden := []string{"\x00", "\x1b", "\xff", "\u202e", "/the-home", `href="javascript`}
					switch accept {
					case "application/json":
						forbidden = slices.DeleteFunc(forbidden, func(s string) bool { return s == "\u202e" }) // it is data
					case "text/html":
						forbidden = append(forbidden, "<script ", "<script>alert", "alert(1)</", `"'>`)
					}
					for _, s := range forbidden {
						if strings.Contains(body, s) {
							t.Errorf("%s, %s, %s has %q", name, accept, view, s)
						}
					}
					if w.Header().Get("Set-Cookie") != "" || strings.ContainsAny(w.Header().Get("Upstream-Failure-Id"), "\r\n\x00") {
						t.Errorf("header %q", w.Header())
					}
				}
			}
		}
	}
}

// A page that was made for one failure is joined with the next one's values.
func TestJoinedPageHasItsOwnValues(t *testing.T) {
	p := newPage(t, Options{Brand: Brand{Name: "Shop"}})
	for _, id := range []string{"first", "second"} {
		public := sample(failure.CategoryTimeout)
		public.ID = id
		public.RetryAfter = time.Duration(len(id)) * time.Second
		public.Time = failure.At(time.Unix(int64(len(id)), 0))
		body := answer(t, p, request("GET", "Accept", "text/html"), public, nil).Body.String()
		for _, want := range []string{
			"<code>" + id + "</code>", "<title>" + english.Of(public).Title + " · Shop</title>", "about " + strconv.Itoa(len(id)) + " seconds.", "1970-01-01 00:00:0" + strconv.Itoa(len(id)) + " UTC",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in %s", id, want, body)
			}
		}
		for v := range values {
			if strings.Contains(body, mark(v)) {
				t.Errorf("the mark of value %d is left", v)
			}
		}
	}
}

// What a browser would run is no link: html/template is not asked about these.
func TestSupportIsALink(t *testing.T) {
	for _, support := range []template.URL{"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", " javascript:alert(1)", "//example.com"} {
		if _, err := New(Options{Brand: Brand{Support: support}}); err == nil {
			t.Errorf("%s is taken", support)
		}
	}
}

func TestOwnersTemplate(t *testing.T) {
	p := newPage(t, Options{
		Brand:    Brand{Name: "Shop", LogoDataURI: "data:image/png;base64,AA=="},
		Template: `<img src="{{.Logo}}">{{.Brand.Name}} {{.Status}} {{.Title}} {{.Category}} {{.RequestSent}} {{.RetryAfterSeconds}} {{.Time}} {{.Method}}{{range .Hops}} {{.Name}}={{.State}}{{end}}`,
	})
	public := sample(failure.CategoryTimeout)
	public.RetryAfter = time.Minute
	w := answer(t, p, request("POST", "Accept", "text/html"), public, nil)
	want := `<img src="data:image/png;base64,AA==">Shop 502 This site took too long to answer timeout no 60 2026-11-24T04:11:26.000Z POST You=connected Shop=reached Its server=no answer in time`
	if got := w.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTemplateErrorsAreFoundAtLoad(t *testing.T) {
	for name, source := range map[string]string{
		"does not parse":       "<p>\n{{if}}",
		"no such function":     "<p>\n{{env \"HOME\"}}",
		"no such field":        "<p>\n{{.Upstream}}",
		"one category only":    "<p>\n{{if eq .Category \"timeout\"}}{{.Cause}}{{end}}",
		"POST only":            "<p>\n{{if eq .Method \"POST\"}}{{.Cause}}{{end}}",
		"HEAD only":            "<p>\n{{if eq .Method \"HEAD\"}}{{.Cause}}{{end}}",
		"harmless only":        "<p>\n{{if and (not .TryAgain) (not .Became)}}{{.Cause}}{{end}}",
		"other methods only":   "<p>\n{{if not (or (eq .Method \"GET\" \"HEAD\" \"OPTIONS\" \"POST\" \"PUT\" \"PATCH\" \"DELETE\"))}}{{.Cause}}{{end}}",
		"not sent only":        "<p>\n{{if eq .RequestSent \"no\"}}{{.Cause}}{{end}}",
		"maybe sent only":      "<p>\n{{if eq .RequestSent \"maybe\"}}{{.Cause}}{{end}}",
		"sent only":            "<p>\n{{if eq .RequestSent \"yes\"}}{{.Cause}}{{end}}",
		"nothing known only":   "<p>\n{{if not .RequestSent}}{{.Cause}}{{end}}",
		"504 only":             "<p>\n{{if eq .Status 504}}{{.Cause}}{{end}}",
		"413 only":             "<p>\n{{if eq .Status 413}}{{.Cause}}{{end}}",
		"no Retry-After only":  "<p>\n{{if not .RetryAfterSeconds}}{{.Cause}}{{end}}",
		"all at once":          "<p>\n{{if and (eq .Category \"timeout\") (eq .RequestSent \"no\") .ComeBack (eq .Status 504) (eq .Method \"POST\")}}{{.Cause}}{{end}}",
		"ambiguous to escape":  "<a href='{{if .ID}}x\n'{{end}}>",
		"endless by its range": "<p>\n{{range 100000000}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Template: source, TemplateName: "error.html"})
			if err == nil {
				t.Fatal("no error")
			}
			if (strings.HasSuffix(name, " only") || name == "all at once") && !strings.Contains(err.Error(), "tried with Category ") {
				t.Errorf("it doesn't say for what the template failed: %q", err)
			}
			if name == "endless by its range" { // it is nowhere wrong
				if !strings.HasPrefix(err.Error(), "template: error.html: writes more than 1 MiB (tried with") {
					t.Errorf("no file in %q", err)
				}
			} else if !strings.Contains(err.Error(), "error.html:2") && !strings.Contains(err.Error(), "error.html:1") {
				t.Errorf("no file and line in %q", err)
			}
		})
	}
	if _, err := New(Options{Brand: Brand{LogoDataURI: "https://example.com/logo.png"}}); err == nil {
		t.Error("a logo from elsewhere is taken")
	}
}

// A template is tried with what its own page gives it, and with nothing else: with
// page minimal there is no category, and a logo is there or not.
func TestTemplateIsTriedAsItIsUsed(t *testing.T) {
	brand := Brand{LogoDataURI: "data:image/png;base64,AA=="}
	for name, tc := range map[string]struct {
		options Options
		refused bool
	}{
		"category, public":     {Options{Template: `{{if not .Category}}{{.Cause}}{{end}}`}, false},
		"no category, minimal": {Options{Template: `{{if not .Category}}{{.Cause}}{{end}}`, Mode: Minimal}, true},
		"category, minimal":    {Options{Template: `{{if .Category}}{{.Cause}}{{end}}`, Mode: Minimal}, false},
		"status, minimal":      {Options{Template: `{{if eq .Status 504}}{{.Cause}}{{end}}`, Mode: Minimal}, true},
		"logo":                 {Options{Template: `{{if not .Logo}}{{.Cause}}{{end}}`, Brand: brand}, false},
		"no logo":              {Options{Template: `{{if not .Logo}}{{.Cause}}{{end}}`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tc.options); (err != nil) != tc.refused {
				t.Errorf("refused %v, want %v: %v", err != nil, tc.refused, err)
			}
		})
	}
}

// What no sample at load shows: the template fails on a request.
func TestTemplateFailureFallsBackToText(t *testing.T) {
	p := newPage(t, Options{Template: `<p>half a page{{if eq .ID "bad"}}{{index .Title 10000}}{{end}}`})
	public := sample(failure.CategoryUnavailable)
	public.ID = "bad"
	w := httptest.NewRecorder()
	err := p.Answer(w, request("GET", "Accept", "text/html"), public, nil)
	if err == nil {
		t.Error("no error for the log")
	}
	body := w.Body.String()
	if w.Code != public.Status || w.Header().Get("Content-Type") != textType || !strings.HasPrefix(body, english.Of(public).Title+"\n") {
		t.Errorf("%d %v %q", w.Code, w.Header(), body)
	}
	if w.Header().Get("Content-Length") != strconv.Itoa(len(body)) {
		t.Errorf("Content-Length %s of %d", w.Header().Get("Content-Length"), len(body))
	}
}

type refusing struct{ http.ResponseWriter }

func (refusing) Write([]byte) (int, error) { return 0, os.ErrClosed }

// A client that is gone is no error of the page's.
func TestWriteErrorIsTheClients(t *testing.T) {
	if err := newPage(t, Options{}).Answer(refusing{httptest.NewRecorder()}, request("GET"), sample(failure.CategoryTimeout), nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestStatusIsAlwaysOne(t *testing.T) {
	for _, status := range []int{0, -1, 99, 200, 304, 1000} {
		public := sample(failure.CategoryUnavailable)
		public.Status = status
		if w := answer(t, newPage(t, Options{}), request("GET"), public, nil); w.Code != http.StatusBadGateway {
			t.Errorf("%d became %d", status, w.Code)
		}
	}
}

// nowhere is a ResponseWriter that costs nothing itself.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

func BenchmarkAnswer(b *testing.B) {
	browser := "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	owner := Options{Template: "<!doctype html><title>{{.Title}}</title><h1>{{.Title}}</h1><p>{{.Detail}} {{.Became}}<p>{{.ID}}"}
	for _, bench := range []struct {
		name, accept string
		options      Options
		details      *failure.Failure
	}{
		{"html", browser, Options{}, nil},
		{"text", "*/*", Options{}, nil},
		{"problem", "application/json", Options{}, nil},
		{"owner", browser, owner, nil},
		{"operator", browser, Options{}, broken()},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := newPage(b, bench.options)
			r := request("GET", "Accept", bench.accept)
			public := sample(failure.CategoryUnavailable)
			w := nowhere{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				if err := p.Answer(w, r, public, bench.details); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a template of an owner costs when the config is loaded.
func BenchmarkNewOwner(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(Options{Template: source}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestConcurrentAnswers(t *testing.T) {
	p := newPage(t, Options{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for _, category := range failure.Categories {
				public := sample(category)
				public.ID = "id" + strconv.Itoa(i)
				w := httptest.NewRecorder()
				if err := p.Answer(w, request("GET", "Accept", "text/html"), public, nil); err != nil {
					t.Error(err)
				}
				if !strings.Contains(w.Body.String(), "<code>"+public.ID+"</code>") {
					t.Errorf("the page of another: no %s", public.ID)
				}
			}
		})
	}
	all.Wait()
}
