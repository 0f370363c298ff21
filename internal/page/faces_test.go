package page

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// face is a kind of client, and what it gets of the failure told.
type face struct {
	// method is that of its requests where it isn't the one that is tried.
	method, query string
	fields        []string
	status        int
	contentType   string
	vary          string
	// wordless says that there is nothing in any language.
	wordless bool
	// parse reads a body as such a client does.
	parse func(h http.Header, body []byte) (any, error)
	// want is what is read then.
	want func(t *texts.Texts, mode Mode) any
}

// told is the failure that all faces are shown with.
var told = failure.Public{
	ID: "k3f9qw2ax", Time: failure.At(time.Date(2026, 11, 24, 4, 11, 26, 0, time.UTC)),
	Status: http.StatusGatewayTimeout, Category: failure.CategoryTimeout,
	RequestSent: failure.SentNo, RetryAfter: 40 * time.Second,
}

type fields = map[string]any

var faces = map[string]face{
	"page": {
		fields: []string{"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Dest", "document"},
		status: 504, contentType: htmlType, vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseHTML,
		want: func(t *texts.Texts, mode Mode) any {
			return fields{"lang": t.Lang(), "title": wordsIn(t, mode).Title, "nav": true, "script": true}
		},
	},
	"small page": {
		fields: []string{"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Dest", "iframe"},
		status: 504, contentType: htmlType, vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseHTML,
		want: func(t *texts.Texts, mode Mode) any {
			return fields{"lang": t.Lang(), "title": wordsIn(t, mode).Title, "nav": false, "script": false}
		},
	},
	"problem": {
		fields: []string{"Accept", "application/json"},
		status: 504, contentType: problemType, vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseJSON, want: wantProblem,
	},
	"JSON-RPC": { // which is left alone
		method: "POST", fields: []string{"Accept", "application/json", "Content-Type", "application/json"},
		status: 504, contentType: problemType, vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseJSON, want: wantProblem,
	},
	"text": {
		fields: []string{"Accept", "text/plain"},
		status: 504, contentType: textType, vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseText, want: wantText,
	},
	"XHR": { // and fetch without an Accept
		fields: []string{"Accept", "*/*", "Sec-Fetch-Dest", "empty"},
		status: 504, contentType: textType, vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseText, want: wantText,
	},
	"GraphQL": {
		fields: []string{"Accept", "application/graphql-response+json, application/json;q=0.9", "Content-Type", "application/json"},
		status: 504, contentType: "application/graphql-response+json; charset=utf-8", vary: "Accept, Sec-Fetch-Dest, Accept-Language", parse: parseJSON,
		want: func(t *texts.Texts, mode Mode) any {
			words := wordsIn(t, mode)
			extensions := fields{"id": told.ID, "category": "timeout", "request_sent": "no", "retry_after_s": 40.0}
			if mode == Minimal {
				delete(extensions, "category")
			}
			return fields{"errors": []any{fields{"message": words.Title + " – " + words.Detail, "extensions": extensions}}}
		},
	},
	"gRPC": {
		method: "POST", fields: []string{"Content-Type", "application/grpc+proto", "Te", "trailers"},
		status: 200, contentType: "application/grpc+proto", vary: "Content-Type, Accept-Language", parse: parseTrailersOnly, want: wantGRPC,
	},
	"gRPC-Web": {
		method: "POST", fields: []string{"Content-Type", "application/grpc-web+proto", "X-Grpc-Web", "1"},
		status: 200, contentType: "application/grpc-web+proto", vary: "Content-Type, Accept, Accept-Language", parse: parseGRPCWeb, want: wantGRPC,
	},
	"gRPC-Web, text": {
		method: "POST", fields: []string{"Content-Type", "application/grpc-web-text", "Accept", "application/grpc-web-text"},
		status: 200, contentType: "application/grpc-web-text", vary: "Content-Type, Accept, Accept-Language", parse: parseGRPCWebText, want: wantGRPC,
	},
	"gRPC-Web, text by Accept": {
		method: "POST", fields: []string{"Content-Type", "application/grpc-web+proto", "Accept", "application/grpc-web-text+proto;q=1, */*"},
		status: 200, contentType: "application/grpc-web-text+proto", vary: "Content-Type, Accept, Accept-Language", parse: parseGRPCWebText, want: wantGRPC,
	},
	"Connect": {
		method: "POST", fields: []string{"Content-Type", "application/proto", "Connect-Protocol-Version", "1"},
		status: 503, contentType: "application/json", vary: "Content-Type, Connect-Protocol-Version, Accept-Language", parse: parseJSON, want: wantConnect,
	},
	"Connect, GET": {
		query: "?connect=v1&encoding=json&message=%7B%7D", fields: []string{"Accept", "*/*"},
		status: 503, contentType: "application/json", vary: "Accept-Language", parse: parseJSON, want: wantConnect,
	},
	"Connect, stream": {
		method: "POST", fields: []string{"Content-Type", "application/connect+proto", "Connect-Protocol-Version", "1"},
		status: 200, contentType: "application/connect+proto", vary: "Content-Type, Accept-Language", parse: parseEndStream,
		want: func(t *texts.Texts, mode Mode) any { return fields{"error": wantConnect(t, mode)} },
	},
	"Connect, stream of JSON": {
		method: "POST", fields: []string{"Content-Type", "application/connect+json"},
		status: 200, contentType: "application/connect+json", vary: "Content-Type, Accept-Language", parse: parseEndStream,
		want: func(t *texts.Texts, mode Mode) any { return fields{"error": wantConnect(t, mode)} },
	},
	"Server-Sent Events": {
		fields: []string{"Accept", "text/event-stream"},
		status: 504, vary: "Accept, Sec-Fetch-Dest", wordless: true, parse: parseNothing, want: wantNothing,
	},
	"image": {
		fields: []string{"Accept", "image/avif,*/*;q=0.8", "Sec-Fetch-Dest", "image"},
		status: 504, vary: "Sec-Fetch-Dest", wordless: true, parse: parseNothing, want: wantNothing,
	},
	"WebSocket": {
		fields: []string{"Connection", "Upgrade", "Upgrade", "websocket", "Accept", "text/html"},
		status: 504, wordless: true, parse: parseNothing, want: wantNothing,
	},
}

// request is what such a client sends. Without a method of its own, one can be chosen.
func (f face) request(method, address, language string) *http.Request {
	if f.method != "" {
		method = f.method
	}
	r := httptest.NewRequest(method, address+f.query, nil)
	r.RequestURI = "" // it may be a client's, too
	for i := 0; i < len(f.fields); i += 2 {
		r.Header.Set(f.fields[i], f.fields[i+1])
	}
	r.Header.Set("Accept-Language", language)
	return r
}

func wordsIn(t *texts.Texts, mode Mode) *texts.Words {
	if mode == Minimal {
		return &t.Situations.Minimal
	}
	return t.Of(told)
}

func wantProblem(t *texts.Texts, mode Mode) any {
	words := wordsIn(t, mode)
	want := fields{
		"type":  "https://github.com/seed-0f014f16/caddy-upstream-diagnostics/blob/main/docs/causes.md#timeout",
		"title": words.Title, "detail": words.Detail, "status": 504.0, "id": told.ID, "category": "timeout", "request_sent": "no", "retry_after_s": 40.0,
	}
	if mode == Minimal {
		delete(want, "category")
		want["type"], want["title"] = "about:blank", "Gateway Timeout"
		if t.Lang() != "en" {
			want["title"] = t.Status(504)
		}
	}
	return want
}

func wantText(t *texts.Texts, mode Mode) any {
	words := wordsIn(t, mode)
	said := words.Title + " " + words.Detail
	if mode != Minimal {
		said += " " + t.NotYourSide
	}
	text := said + " " + t.ComeBack(40) + " " + t.Reference + " " + told.ID + " " + t.Status(504) + " · 2026-11-24 04:11:26 UTC"
	return strings.Join(strings.Fields(text), " ")
}

func wantGRPC(t *texts.Texts, mode Mode) any {
	return map[string]string{"grpc-status": "14", "grpc-message": wordsIn(t, mode).Title}
}

func wantConnect(t *texts.Texts, mode Mode) any {
	return fields{"code": "unavailable", "message": wordsIn(t, mode).Title}
}

func wantNothing(*texts.Texts, Mode) any { return "" }

func parseNothing(_ http.Header, body []byte) (any, error) { return string(body), nil }

func parseJSON(_ http.Header, body []byte) (got any, err error) {
	return got, json.Unmarshal(body, &got)
}

func parseText(_ http.Header, body []byte) (any, error) {
	return strings.Join(strings.Fields(string(body)), " "), nil
}

func parseHTML(_ http.Header, body []byte) (any, error) {
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	got := fields{"nav": false, "script": false}
	for n := range root.Descendants() {
		switch n.Data {
		case "html":
			for _, a := range n.Attr {
				if a.Key == "lang" {
					got["lang"] = a.Val
				}
			}
		case "h1":
			got["title"] = n.FirstChild.Data
		case "nav", "script":
			got[n.Data] = true
		}
	}
	return got, nil
}

// parseFrame reads a body that is one frame, as the specifications of gRPC-Web and Connect
// have it.
func parseFrame(body []byte, flags byte) ([]byte, error) {
	if len(body) < 5 || body[0] != flags || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
		return nil, fmt.Errorf("no single frame: %q", body)
	}
	return body[5:], nil
}

func parseEndStream(h http.Header, body []byte) (any, error) {
	content, err := parseFrame(body, 0x02)
	if err != nil {
		return nil, err
	}
	return parseJSON(h, content)
}

func parseTrailersOnly(h http.Header, body []byte) (any, error) {
	if len(body) > 0 {
		return nil, fmt.Errorf("a body: %q", body)
	}
	message, err := url.PathUnescape(h.Get("Grpc-Message"))
	return map[string]string{"grpc-status": h.Get("Grpc-Status"), "grpc-message": message}, err
}

func parseGRPCWeb(h http.Header, body []byte) (any, error) {
	if h.Get("Grpc-Status") != "" {
		return nil, fmt.Errorf("grpc-status is in the header, too")
	}
	content, err := parseFrame(body, 0x80)
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(content), "\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if got[name], err = url.PathUnescape(strings.TrimSpace(value)); err != nil {
			return nil, err
		}
	}
	return got, nil
}

func parseGRPCWebText(h http.Header, body []byte) (any, error) {
	decoded, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil {
		return nil, err
	}
	return parseGRPCWeb(h, decoded)
}

// Each client gets what it can read, in its visitor's language, and no more in page
// minimal than that; HEAD says of it what GET does.
func TestFaces(t *testing.T) {
	all, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for modeName, mode := range map[string]Mode{"public": Public, "minimal": Minimal} {
		p := newPage(t, Options{Mode: mode})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := p.Answer(w, r, told, nil); err != nil {
				t.Error(err)
			}
		}))
		defer server.Close()
		for name, face := range faces {
			for _, lang := range []string{"en", "de"} {
				t.Run(strings.Join([]string{modeName, name, lang}, "/"), func(t *testing.T) {
					do := func(method string) (*http.Response, []byte) {
						response, err := server.Client().Do(face.request(method, server.URL+"/cart", lang))
						if err != nil {
							t.Fatal(err)
						}
						defer response.Body.Close()
						body, err := io.ReadAll(response.Body)
						if err != nil {
							t.Fatal(err)
						}
						return response, body
					}
					response, body := do("GET")
					if response.StatusCode != face.status {
						t.Errorf("status %d, want %d", response.StatusCode, face.status)
					}
					language := lang
					if face.wordless {
						language = ""
					}
					for field, want := range map[string]string{
						"Content-Type": face.contentType, "Vary": face.vary, "Content-Language": language,
						"Upstream-Failure-Id": told.ID, "Retry-After": "40", "Cache-Control": "no-store",
					} {
						if got := strings.Join(response.Header.Values(field), ", "); got != want {
							t.Errorf("%s is %q, want %q", field, got, want)
						}
					}
					if response.ContentLength != int64(len(body)) {
						t.Errorf("Content-Length %d of %d bytes", response.ContentLength, len(body))
					}
					got, err := face.parse(response.Header, body)
					if err != nil {
						t.Fatal(err)
					}
					t.Log(string(body))
					if want := face.want(all.For(http.Header{"Accept-Language": {lang}}), mode); !reflect.DeepEqual(got, want) {
						t.Errorf("read\n%v, want\n%v", got, want)
					}
					if face.method != "" {
						return // an RPC is a POST
					}
					head, nothing := do("HEAD")
					if len(nothing) > 0 {
						t.Errorf("HEAD got a body: %q", nothing)
					}
					head.Header.Del("Date")
					response.Header.Del("Date")
					if !reflect.DeepEqual(head.Header, response.Header) || head.StatusCode != response.StatusCode {
						t.Errorf("HEAD has\n%v, GET\n%v", head.Header, response.Header)
					}
				})
			}
		}
	}
}

// What looks like an RPC, and is none, is answered by what it accepts.
func TestNoRPC(t *testing.T) {
	for name, test := range map[string]struct {
		method, target string
		fields         []string
		want           string
	}{
		"JSON-RPC":                   {"POST", "/", []string{"Content-Type", "application/json-rpc", "Accept", "application/json-rpc, application/json"}, problemType},
		"JSON-RPC, accepts anything": {"POST", "/", []string{"Content-Type", "application/json", "Accept", "*/*"}, textType},
		"MCP":                        {"POST", "/", []string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream"}, problemType},
		"another version of Connect": {"POST", "/", []string{"Content-Type", "application/json", "Connect-Protocol-Version", "2"}, textType},
		"a form with its version":    {"POST", "/", []string{"Content-Type", "multipart/form-data", "Connect-Protocol-Version", "1", "Accept", "text/html"}, htmlType},
		"a query of the same name":   {"GET", "/?connect=v1", []string{"Accept", "text/html"}, htmlType},
		"no GET":                     {"DELETE", "/?connect=v1&encoding=json", []string{"Accept", "application/json"}, problemType},
		"GraphQL before 2025":        {"POST", "/", []string{"Content-Type", "application/json", "Accept", "application/json"}, problemType},
		"GraphQL refused":            {"POST", "/", []string{"Accept", "application/graphql-response+json;q=0, */*"}, textType},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, nil)
			for i := 0; i < len(test.fields); i += 2 {
				r.Header.Set(test.fields[i], test.fields[i+1])
			}
			w := answer(t, newPage(t, Options{}), r, sample(failure.CategoryUnavailable), nil)
			if got := w.Header().Get("Content-Type"); got != test.want || w.Code != http.StatusBadGateway {
				t.Errorf("%d %q, want %q", w.Code, got, test.want)
			}
		})
	}
}

// The code says whether to send it again: never what won't do however often.
func TestRPCCode(t *testing.T) {
	for name, test := range map[string]struct {
		mode     Mode
		category failure.Category
		sent     failure.Sent
		status   int
		code     string
		http     int
	}{
		"unavailable":             {Public, failure.CategoryUnavailable, failure.SentYes, 502, "unavailable", 503},
		"timeout, sent":           {Public, failure.CategoryTimeout, failure.SentMaybe, 504, "deadline_exceeded", 504},
		"timeout, not sent":       {Public, failure.CategoryTimeout, failure.SentNo, 504, "unavailable", 503},
		"its own 504":             {Public, failure.CategoryErrorResponse, failure.SentYes, 504, "unavailable", 503},
		"minimal, 504":            {Minimal, failure.CategoryTimeout, failure.SentMaybe, 504, "deadline_exceeded", 504},
		"minimal, its own 504":    {Minimal, failure.CategoryErrorResponse, failure.SentYes, 504, "deadline_exceeded", 504},
		"minimal, 502":            {Minimal, failure.CategoryTimeout, failure.SentYes, 502, "unavailable", 503},
		"too large":               {Public, failure.CategoryRequest, failure.SentMaybe, 413, "invalid_argument", 400},
		"too large, minimal":      {Minimal, failure.CategoryRequest, failure.SentMaybe, 413, "invalid_argument", 400},
		"can't be read":           {Public, failure.CategoryRequest, failure.SentNo, 400, "invalid_argument", 400},
		"did not arrive complete": {Public, failure.CategoryRequest, failure.SentNo, 502, "unavailable", 503},
	} {
		t.Run(name, func(t *testing.T) {
			public := sample(test.category)
			public.RequestSent, public.Status = test.sent, test.status
			w := answer(t, newPage(t, Options{Mode: test.mode}), faces["Connect"].request("POST", "http://example.com/", "en"), public, nil)
			var got struct{ Code string }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Code != test.code || w.Code != test.http {
				t.Errorf("%s with %d, want %s with %d", got.Code, w.Code, test.code, test.http)
			}
		})
	}
}

// In a terminal of 80 columns no line is broken but by us, in any language; the reference
// is whole, and nothing is lost.
func TestTextFitsATerminal(t *testing.T) {
	all, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t, Options{Languages: all})
	const id = "k3f9qw2ax"
	for _, lang := range all.Tags() {
		for _, category := range failure.Categories {
			for _, status := range []int{400, 411, 413, 502} {
				for _, sent := range []failure.Sent{failure.SentNo, failure.SentMaybe, failure.SentYes} {
					public := sample(category)
					public.Status, public.RequestSent = status, sent
					w := answer(t, p, request("POST", "Accept-Language", lang), public, nil)
					text := w.Body.String()
					for line := range strings.Lines(text) {
						line = strings.TrimSuffix(line, "\n")
						used := 0
						for _, r := range line {
							switch {
							case unicode.Is(unicode.Mn, r): // the signs of Arabic and Devanagari
							case r >= 0x1100 && r < 0x1200 || r >= 0x2e80: // Hangul, CJK
								used += 2
							default:
								used++
							}
						}
						if used > 80 {
							t.Errorf("%s: %d columns: %s", lang, used, line)
						}
						if first := []rune(line + " ")[0]; strings.ContainsRune(neverFirst+" ", first) && line != "" {
							t.Errorf("%s: a line begins with %q: %s", lang, first, text)
						}
					}
					if !strings.Contains(text, id) {
						t.Errorf("%s: no whole reference: %s", lang, text)
					}
					d := p.data(all.For(http.Header{"Accept-Language": {lang}}), "POST", public)
					whole := strings.Join([]string{d.Title, d.Detail, d.YourSide, d.Help, d.Became, d.ComeBack, d.Texts.Reference, id, d.ErrorNumber, "·", d.TimeUTC}, " ")
					squeezed := func(s string) string { return strings.Join(strings.Fields(s), "") }
					if squeezed(text) != squeezed(whole) {
						t.Errorf("%s: something is lost:\n%s\nof\n%s", lang, text, whole)
					}
				}
			}
		}
	}
}

func TestWrap(t *testing.T) {
	a := strings.Repeat("a", 40)
	for name, test := range map[string]struct{ text, want string }{
		"short":           {"a b", "a b\n"},
		"nothing":         {"", ""},
		"just fits":       {a + " " + a[1:], a + " " + a[1:] + "\n"},
		"one too much":    {a + " " + a, a + "\n" + a + "\n"},
		"long word":       {a + a + a + " b", a + a + a + "\nb\n"},
		"long word, last": {"b " + a + a + a, "b\n" + a + a + a + "\n"},
		"no break":        {a + " b\u00a0" + a, a + "\nb\u00a0" + a + "\n"},
		"wide":            {strings.Repeat("漢", 41), strings.Repeat("漢", 40) + "\n漢\n"},
		"kinsoku":         {strings.Repeat("漢", 40) + "。漢", strings.Repeat("漢", 39) + "\n漢。漢\n"},
		"opening":         {strings.Repeat("漢", 39) + "「漢」", strings.Repeat("漢", 39) + "\n「漢」\n"},
		"space and wide":  {strings.Repeat("漢", 39) + " 漢漢", strings.Repeat("漢", 39) + "\n漢漢\n"},
		"Latin inside":    {strings.Repeat("漢", 38) + "Cookie漢", strings.Repeat("漢", 38) + "\nCookie漢\n"},
		"Korean":          {strings.Repeat("가", 38) + " 나나나", strings.Repeat("가", 38) + "\n나나나\n"},
		"narrow bytes":    {strings.Repeat("я", 80), strings.Repeat("я", 80) + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var body bytes.Buffer
			wrap(&body, test.text)
			if got := body.String(); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// A part of another page has a small one: no way round, nothing to press, no script.
func TestSmallPage(t *testing.T) {
	p := newPage(t, Options{Brand: Brand{Name: "Shop", Support: "https://example.com/help"}})
	for _, destination := range []string{"iframe", "frame", "embed", "object", "IFrame"} {
		w := answer(t, p, request("GET", "Accept", "text/html", "Sec-Fetch-Dest", destination), told, nil)
		body := w.Body.String()
		_, style, _ := strings.Cut(body, "<style>")
		style, _, _ = strings.Cut(style, "</style>")
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, hashOf(style)) || strings.Contains(policy, "script-src") {
			t.Errorf("%s: the policy %q is not for its style alone", destination, policy)
		}
		if !strings.Contains(body, `<body class="s">`) || !strings.Contains(body, told.ID) {
			t.Errorf("%s: not the small page: %s", destination, body)
		}
		for _, none := range []string{"<nav", "<script", "<header", "<ol", "Shop</span>"} {
			if strings.Contains(body, none) {
				t.Errorf("%s: it has %s", destination, none)
			}
		}
	}
}

func BenchmarkFaces(b *testing.B) {
	names := []string{}
	for name := range faces {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			p := newPage(b, Options{})
			r := faces[name].request("GET", "http://example.com/", "en")
			w := nowhere{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				if err := p.Answer(w, r, told, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
