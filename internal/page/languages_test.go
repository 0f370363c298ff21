package page

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// tags are the languages that a visitor can ask for.
func tags(t testing.TB) []string {
	t.Helper()
	languages, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(languages.Tags()) != languages.Len() || languages.Len() < 19 {
		t.Fatalf("%d languages", languages.Len())
	}
	return languages.Tags()
}

// asks are requests for each face of a record.
var asks = map[string][]string{
	"page":                  {"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Dest", "document"},
	"page in another":       {"Accept", "text/html", "Sec-Fetch-Dest", "iframe"},
	"problem":               {"Accept", "application/problem+json"},
	"json":                  {"Accept", "application/json"},
	"text":                  {"Accept", "text/plain"},
	"fetch without accept":  {"Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"},
	"XHR":                   {"Accept", "*/*", "X-Requested-With", "XMLHttpRequest"},
	"image":                 {"Accept", "image/avif,*/*;q=0.8", "Sec-Fetch-Dest", "image"},
	"gRPC":                  {"Content-Type", "application/grpc+proto", "Te", "trailers"},
	"gRPC-Web":              {"Content-Type", "application/grpc-web+proto"},
	"gRPC-Web in text":      {"Content-Type", "application/grpc-web-text", "Accept", "application/grpc-web-text"},
	"Connect":               {"Content-Type", "application/connect+json", "Connect-Protocol-Version", "1"},
	"Connect, unary":        {"Content-Type", "application/json", "Connect-Protocol-Version", "1", "Accept", "*/*"},
	"GraphQL":               {"Content-Type", "application/json", "Accept", "application/graphql-response+json, application/json;q=0.9"},
	"JSON-RPC":              {"Content-Type", "application/json-rpc", "Accept", "application/json-rpc"},
	"Server-Sent Events":    {"Accept", "text/event-stream"},
	"WebSocket's handshake": {"Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Version", "13"},
}

// Whatever a request holds and whatever it asks for, in whatever language: nothing of the
// record but its public part is told, and nothing of the request itself.
func TestNoFaceTellsInAnyLanguage(t *testing.T) {
	f := broken()
	secrets := []string{
		"secret", "10.0.0.7", "8080", "ECONNREFUSED", "dial tcp", "connection_refused", "example.com", "/cart", "192.0.2.1", "1234", "HTTP/1.1", "Go-http", "go1.",
	}
	ours, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]*Page{
		"built-in": newPage(t, Options{}),
		"minimal":  newPage(t, Options{Mode: Minimal}),
		"owner's":  newPage(t, Options{Template: `{{printf "%+v" .Public}} {{.Became}} {{.Hops}} {{template "next" .}}{{template "again" .}}{{template "reference" .}}`}),
	}
	codes := map[string]string{} // a face's codes are the same in each language
	for _, tag := range tags(t) {
		for name, p := range pages {
			for face, fields := range asks {
				for _, method := range []string{"GET", "POST", "HEAD"} {
					for _, status := range []int{502, 504, 413} {
						public := f.Public()
						public.Status, public.RetryAfter = status, time.Minute
						r := request(method, append([]string{
							"Accept-Language", tag + ";q=0.9", "X-Forwarded-For", "secret", "Cookie", "secret", "User-Agent", "secret", "Referer", "https://secret/",
						}, fields...)...)
						w := answer(t, p, r, public, nil)
						var all strings.Builder
						_ = w.Header().Write(&all)
						all.Write(w.Body.Bytes())
						for _, secret := range secrets {
							if strings.Contains(all.String(), secret) {
								t.Errorf("%s, %s, %s, %s tells %q:\n%s", tag, name, face, method, secret, all.String())
							}
						}
						checkLanguage(t, ours, tag, face, w)
						if got, same := codesOf(t, w), name+face+method+http.StatusText(status); codes[same] == "" {
							codes[same] = got
						} else if codes[same] != got {
							t.Errorf("%s, %s, %s: the codes %s are %s in another language", tag, name, face, got, codes[same])
						}
					}
				}
			}
		}
	}
}

// checkLanguage wants the language that was asked for where there are words, and says
// that others would get others.
func checkLanguage(t *testing.T, ours *texts.Languages, tag, face string, w *httptest.ResponseRecorder) {
	t.Helper()
	got := w.Header().Get("Content-Language")
	vary := strings.Join(w.Header()["Vary"], ",")
	if words := w.Body.Len() > 0 || got != ""; !words {
		return
	}
	if got != tag || !strings.Contains(vary, "Accept-Language") {
		t.Errorf("%s, %s: Content-Language %q, Vary %q", tag, face, got, vary)
	}
	wanted := ours.For(http.Header{"Accept-Language": {tag}})
	if html := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); html && strings.Contains(w.Body.String(), "<html") &&
		!strings.Contains(w.Body.String(), `<html lang="`+tag+`" dir="`+wanted.Dir()+`">`) {
		t.Errorf("%s, %s: %.80s", tag, face, w.Body)
	}
}

// codesOf is what programs read of an answer.
func codesOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	codes := []string{w.Header().Get("Content-Type"), w.Header().Get("Grpc-Status"), w.Header().Get("Retry-After"), w.Result().Status}
	var object map[string]any
	if json.Unmarshal(w.Body.Bytes(), &object) == nil {
		for _, key := range []string{"type", "status", "id", "category", "request_sent", "retry_after_s", "code"} {
			value, err := json.Marshal(object[key])
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, key, string(value))
		}
	}
	return strings.Join(codes, " ")
}

// With its header and its script the page has at most 8 KiB, in whatever language, with
// what the server and a careful owner set besides.
func TestPageIsSmallInEveryLanguage(t *testing.T) {
	p := newPage(t, Options{Brand: Brand{
		Name: "Example Shop", Support: "mailto:help@example.com", StatusPage: "https://status.example.com",
	}})
	type answered struct {
		size int
		what string
	}
	var largest answered
	for _, tag := range tags(t) {
		mostOf := 0
		for _, category := range append(slices.Clone(failure.Categories), "") {
			for _, status := range []int{400, 411, 413, 502, 504} {
				for _, sent := range triedSent {
					for _, method := range triedMethods {
						for _, retryAfter := range []time.Duration{0, 5 * time.Minute} {
							public := sample(category)
							public.Status, public.RequestSent, public.RetryAfter = status, sent, retryAfter
							w := httptest.NewRecorder()
							w.Header().Set("Server", "Caddy")
							w.Header().Set("Date", "Tue, 24 Nov 2026 04:11:26 GMT")
							w.Header().Set("Alt-Svc", `h3=":443"; ma=2592000`)
							w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
							if err := p.Answer(w, request(method, "Accept", "text/html", "Accept-Language", tag), public, nil); err != nil {
								t.Fatal(err)
							}
							var all strings.Builder
							all.WriteString("HTTP/1.1 502 Bad Gateway\r\n")
							_ = w.Header().Write(&all)
							size := all.Len() + len("\r\n") + w.Body.Len()
							if w.Header().Get("Content-Language") != tag || !strings.Contains(w.Body.String(), "</script>") {
								t.Fatalf("%s: %s", tag, w.Body)
							}
							mostOf = max(mostOf, size)
							if size > largest.size {
								largest = answered{size, strings.Join([]string{tag, string(category), w.Result().Status, string(sent), method}, ", ")}
							}
						}
					}
				}
			}
		}
		t.Logf("%s: at most %d bytes", tag, mostOf)
		if mostOf > 8<<10 {
			t.Errorf("%s: %d bytes", tag, mostOf)
		}
	}
	t.Logf("the largest has %d bytes: %s", largest.size, largest.what)
	if len(script) >= 1<<10 {
		t.Errorf("the script has %d bytes", len(script))
	}
}

// What an answer costs has nothing to do with how many languages there are.
func TestLanguagesCostNoAllocation(t *testing.T) {
	one, err := texts.New("en", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	alone, all := newPage(t, Options{Languages: one}), newPage(t, Options{})
	for face, fields := range asks {
		public := sample(failure.CategoryUnavailable)
		public.RetryAfter = 30 * time.Second
		allocations := func(p *Page, accept string) float64 {
			r := request("GET", append([]string{"Accept-Language", accept}, fields...)...)
			w := nowhere{http.Header{}}
			return testing.AllocsPerRun(200, func() { // the first run, which builds the page, isn't counted
				clear(w.header)
				if err := p.Answer(w, r, public, nil); err != nil {
					t.Fatal(err)
				}
			})
		}
		want := allocations(alone, "en")
		for _, tag := range tags(t) {
			// What is pooled may have been dropped now and then; gRPC's message is encoded,
			// which grows with what it says.
			if got := allocations(all, tag); got > want+2 && !strings.HasPrefix(face, "gRPC") {
				t.Errorf("%s, %s: %v allocations, English alone %v", face, tag, got, want)
			}
		}
	}
}

// How many pages are answered a second, by as many at once as there are processors
// (-cpu 2): English, a longer language, one from right to left, one of wide characters.
func BenchmarkAnswerPages(b *testing.B) {
	for _, tag := range []string{"en", "de", "ar", "zh"} {
		for name, retryAfter := range map[string]time.Duration{"": 0, ", retry after": 30 * time.Second} {
			b.Run(tag+name, func(b *testing.B) {
				p := newPage(b, Options{Brand: Brand{Name: "Shop", Support: "mailto:help@example.com", StatusPage: "https://status.example.com"}})
				public := sample(failure.CategoryUnavailable)
				public.RetryAfter = retryAfter
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					r := request("GET", "Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Accept-Language", tag+",en;q=0.5")
					w := nowhere{http.Header{}}
					for pb.Next() {
						clear(w.header)
						if err := p.Answer(w, r, public, nil); err != nil {
							b.Error(err)
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pages/s")
			})
		}
	}
}
