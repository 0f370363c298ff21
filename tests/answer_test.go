package tests

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// The operator's view is for whom the matcher means, and for nobody else. It sees
// method and URI as the client sent them.
func TestDetails(t *testing.T) {
	down := testcaddy.Dead(t)
	tests := []struct {
		name, block string
		method      string
		path        string
		fields      []string
		want        bool
	}{
		{name: "nobody by default"},
		{name: "a header", block: "details @key", fields: []string{"X-Key: right"}, want: true},
		{name: "another header", block: "details @key", fields: []string{"X-Key: wrong"}},
		{name: "an address", block: "details @local", want: true},
		{name: "another address", block: "details @elsewhere"},
		{name: "an address and the path as sent", block: "details @path", path: "/api/cart", want: true},
		{name: "an address and another path", block: "details @path", path: "/cart"},
		{name: "an address and the method as sent", block: "details @method", method: "POST", path: "/api/cart", want: true},
		{name: "an address and another method", block: "details @method", path: "/api/cart"},
		{name: "a matcher that fails", block: "details @failing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, `
				@key header X-Key right
				@local remote_ip 127.0.0.1
				@elsewhere remote_ip 203.0.113.9
				@path {
					path /api/*
					remote_ip 127.0.0.1
				}
				@method {
					method POST
					remote_ip 127.0.0.1
				}
				@failing expression `+"`"+`{http.auth.user.id}.no.such == 'ops'`+"`"+`
				upstream_diagnostics {
					`+test.block+`
				}
				handle_path /api/* {
					method GET
					reverse_proxy `+down+`
				}
				reverse_proxy `+down)
			method, path := test.method, test.path
			if method == "" {
				method = "GET"
			}
			if path == "" {
				path = "/"
			}
			for accept, inside := range map[string]string{"text/html": down, "application/json": `"failure":`, "text/plain": down} {
				a := c.Do(method, path, nil, append(test.fields, "Accept: "+accept)...)
				if a.Status != 502 || strings.Contains(a.Body, inside) != test.want || strings.Contains(a.Body, "connection_refused") != test.want {
					t.Errorf("%s: %d %s", accept, a.Status, a.Body)
				}
			}
		})
	}
}

// The operator's page has what the record doesn't: the catalogue's reasons, and what the
// last failure of an upstream was that could not be selected.
func TestDetailsLookUp(t *testing.T) {
	down := testcaddy.Dead(t)
	c := testcaddy.Start(t, `
		@local remote_ip 127.0.0.1
		upstream_diagnostics {
			details @local
		}
		reverse_proxy `+down+` {
			fail_duration 1h
		}`)
	c.Get("/", "Accept: text/html")
	last := c.Failure()
	page := c.Get("/", "Accept: text/html")
	for _, want := range []string{
		"<h2>No upstream is healthy, so none was tried.</h2>", "<h4>Usual reasons</h4>", "lb_try_duration 5s", "reverse_proxy " + down, "Last failure: " + last.Summary, last.ID,
		`for 1h more</time>`, "<summary>What visitors see</summary>",
	} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("no %q in\n%s", want, page.Body)
		}
	}
}

// The problem's members, for everybody and in the operator's view.
func TestProblem(t *testing.T) {
	c := testcaddy.Start(t, "@key header X-Key right\nupstream_diagnostics {\ndetails @key\n}\nreverse_proxy "+testcaddy.Dead(t))
	for _, fields := range [][]string{nil, {"X-Key: right"}} {
		a := c.Get("/", append(fields, "Accept: application/json")...)
		var problem map[string]any
		if err := json.Unmarshal([]byte(a.Body), &problem); err != nil {
			t.Fatal(err)
		}
		f := c.Failure()
		words := texts.English().Of(f.Public())
		for member, want := range map[string]any{
			"type":  "https://github.com/seed-0f014f16/caddy-upstream-diagnostics/blob/main/docs/causes.md#unavailable",
			"title": words.Title, "detail": words.Detail, "status": 502.0, "id": f.ID, "category": "unavailable", "request_sent": "no",
		} {
			if problem[member] != want {
				t.Errorf("%s is %v, want %v", member, problem[member], want)
			}
			delete(problem, member)
		}
		if fields == nil && len(problem) > 0 {
			t.Errorf("also told: %v", problem)
		}
		if whole, _ := problem["failure"].(map[string]any); fields != nil && (whole["id"] != f.ID || whole["cause"] != f.Cause) {
			t.Errorf("the failure is %v", whole)
		}
	}
}

func TestPageMinimal(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics {\npage minimal\n}\nreverse_proxy "+testcaddy.Dead(t))
	words := texts.English().Situations.Unavailable
	for _, accept := range []string{"text/html", "application/json", "text/plain"} {
		a := c.Get("/", "Accept: "+accept)
		id := c.Failure().ID
		if a.Status != 502 || a.Header.Get("Upstream-Failure-Id") != id || !strings.Contains(a.Body, id) {
			t.Errorf("%s: %d %v %s", accept, a.Status, a.Header, a.Body)
		}
		for _, told := range []string{words.Title, words.Detail, `"unavailable"`, "causes.md"} {
			if strings.Contains(a.Body, told) {
				t.Errorf("%s: tells %q: %s", accept, told, a.Body)
			}
		}
		if accept == "application/json" && !strings.Contains(a.Body, `"type":"about:blank"`) {
			t.Errorf("got %s", a.Body)
		}
	}
}

// errorProbe keeps the error that passes it on the way up.
type errorProbe struct {
	Name string `json:"name,omitempty"`
}

// probed are the last errors by a probe's name.
var probed sync.Map

func (errorProbe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.error_probe", New: func() caddy.Module { return new(errorProbe) }}
}

func (p errorProbe) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	err := next.ServeHTTP(w, r)
	probed.Store(p.Name, &err)
	return err
}

func init() {
	caddy.RegisterModule(errorProbe{})
	httpcaddyfile.RegisterHandlerDirective("error_probe", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		p := new(errorProbe)
		h.Next()
		if !h.Args(&p.Name) {
			return nil, h.ArgErr()
		}
		return p, nil
	})
}

// What isn't ours to answer goes up as the very value that came.
func TestErrorGoesUp(t *testing.T) {
	tests := []struct {
		name, page, site string
		status           int
		passes           bool
	}{
		{"page off", "off", "reverse_proxy " + testcaddy.Dead(t), 502, true},
		{"page", "public", "reverse_proxy " + testcaddy.Dead(t), 502, false},
		{"not an upstream's", "public", "error 503", 503, true},
		{"an upstream's own 503", "public", "reverse_proxy " + testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }), 503, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "route {\nerror_probe outer\nupstream_diagnostics {\npage "+test.page+"\n}\nerror_probe inner\n"+test.site+"\n}")
			probed.Clear()
			a := c.Get("/")
			inner, _ := probed.Load("inner")
			outer, _ := probed.Load("outer")
			came, went := *inner.(*error), *outer.(*error)
			switch {
			case a.Status != test.status:
				t.Errorf("status %d", a.Status)
			case test.passes && went != came:
				t.Errorf("came %#v, went up %#v", came, went)
			case !test.passes && went != nil:
				t.Errorf("answered, and went up %#v", went)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(`own {{.Status}} {{.Category}} {{.ID}} {{.Brand.Name}} {{.Method}} {{.RequestSent}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testcaddy.Start(t, "@key header X-Key right\nupstream_diagnostics {\ntemplate "+file+"\ndetails @key\nbrand {\nname \"Tom & <Tim>\"\n}\n}\nreverse_proxy "+testcaddy.Dead(t))
	a := c.Get("/", "Accept: text/html")
	want := "own 502 unavailable " + c.Failure().ID + " Tom &amp; &lt;Tim&gt; GET no"
	if a.Body != want || a.Header.Get("Content-Security-Policy") != "" || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %v %s, want %s", a.Header, a.Body, want)
	}
	// Only where HTML is wanted, and not for the operator.
	if a := c.Get("/", "Accept: application/json"); strings.HasPrefix(a.Body, "own") {
		t.Errorf("got %s", a.Body)
	}
	if a := c.Get("/", "Accept: text/html", "X-Key: right"); !strings.Contains(a.Body, "connection_refused") {
		t.Errorf("got %s", a.Body)
	}
}

// pixel is a GIF.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;"

func TestBrand(t *testing.T) {
	logo := filepath.Join(t.TempDir(), "logo")
	if err := os.WriteFile(logo, []byte(pixel), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testcaddy.Start(t, `
		upstream_diagnostics {
			brand {
				name "Tom & <Tim>"
				logo `+logo+`
				support mailto:help@example.com
				status_page https://status.example.com/?a=1&b=2
			}
		}
		reverse_proxy `+testcaddy.Dead(t))
	a := c.Get("/", "Accept: text/html")
	for _, want := range []string{"Tom &amp; &lt;Tim&gt;", "data:image/gif;base64,", `"mailto:help@example.com?subject=Reference%20` + c.Failure().ID + `"`, "https://status.example.com/?a=1&amp;b=2"} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("no %s in %s", want, a.Body)
		}
	}
}

// An upstream's own answer is replaced where the owner said so: nothing of it is
// left. Other answers pass untouched.
func TestIntercept(t *testing.T) {
	const size = 8 << 20
	own := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			status = 200
		}
		h := w.Header()
		h.Set("Content-Type", "text/x-own")
		h.Set("Content-Encoding", "x-own")
		h.Set("Content-Disposition", "attachment")
		h.Set("Etag", `"own"`)
		h.Set("Last-Modified", "Tue, 24 Nov 2026 04:11:26 GMT")
		h.Set("Cache-Control", "max-age=60")
		h.Set("Retry-After", "7")
		h.Set("Via", "1.1 own")
		h.Set("Www-Authenticate", "own")
		h.Set("Proxy-Status", "own")
		h.Set("Trailer", "X-Trailer")
		h.Set("Content-Security-Policy", "own")
		w.WriteHeader(status)
		part := strings.Repeat("OWN", 1000)
		for sent := 0; sent < size && r.Method != http.MethodHead; sent += len(part) {
			if _, err := io.WriteString(w, part); err != nil {
				return
			}
		}
		h.Set("X-Trailer", "own")
	})
	c := testcaddy.Start(t, "upstream_diagnostics {\nintercept 503 504\n}\nreverse_proxy "+own)

	for _, method := range []string{"GET", "HEAD", "POST"} {
		a := c.Do(method, "/503", nil, "Accept: text/html")
		f := c.Failure()
		if a.Status != 503 || a.Err != nil || f.Outcome != failure.UpstreamAnswered || f.Cause != "upstream_status" || f.Status != 503 {
			t.Fatalf("%s: got %d %v, recorded %+v", method, a.Status, a.Err, f)
		}
		if f.ID != a.Header.Get("Upstream-Failure-Id") || f.Received == nil || f.Received.RetryAfter != "7" {
			t.Errorf("%s: recorded %+v", method, f)
		}
		retryAfter := "7"
		if method == "POST" {
			retryAfter = "" // it may have been carried out
		}
		for field, want := range map[string]string{
			"Via": "", "Www-Authenticate": "", "Proxy-Status": "",
			"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "", "Content-Disposition": "", "Etag": "", "Last-Modified": "",
			"Cache-Control": "no-store", "Trailer": "", "X-Robots-Tag": "noindex", "Retry-After": retryAfter,
		} {
			if got := a.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", method, field, got, want)
			}
		}
		if strings.Contains(a.Header.Get("Content-Security-Policy"), "own") {
			t.Errorf("%s: the policy is the upstream's: %v", method, a.Header)
		}
		if method == "HEAD" {
			if a.Body != "" || a.Header.Get("Content-Length") == "" || a.Header.Get("Content-Length") == "0" {
				t.Errorf("HEAD: %v %s", a.Header, a.Body)
			}
			continue
		}
		if strings.Contains(a.Body, "OWN") || !strings.Contains(a.Body, "<html") || a.Header.Get("Content-Length") != strconv.Itoa(len(a.Body)) {
			t.Errorf("%s: %v %.200s", method, a.Header, a.Body)
		}
	}

	// Not named, and not an error.
	c.Forget()
	for _, path := range []string{"/200", "/404", "/500", "/502"} {
		a := c.Get(path, "Accept: text/html")
		if strconv.Itoa(a.Status) != path[1:] || len(a.Body) < size || a.Header.Get("Etag") != `"own"` || a.Header.Get("Upstream-Failure-Id") != "" {
			t.Errorf("%s: %d, %d bytes, %v", path, a.Status, len(a.Body), a.Header)
		}
	}
	if list := c.Failures(); len(list) != 1 || list[0].Status != 502 {
		t.Errorf("recorded: %v", list)
	}
}

// The trailers of an answer that was held back don't become our answer's header.
func TestInterceptDropsTrailers(t *testing.T) {
	own := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		w.WriteHeader(503)
		_, _ = io.WriteString(w, "own")
		w.Header().Set("X-Announced", "own")
	})
	c := testcaddy.Start(t, "upstream_diagnostics {\nintercept 503\n}\nreverse_proxy "+own)
	a := c.Get("/", "Accept: text/html")
	if a.Status != 503 || a.Header.Get("Upstream-Failure-Id") == "" {
		t.Fatalf("got %d %v", a.Status, a.Header)
	}
	for field := range a.Header {
		if strings.Contains(field, "X-Announced") {
			t.Errorf("%s is in the header", field)
		}
	}
}

// An answer of nobody's upstream is not intercepted.
func TestInterceptOnlyUpstreams(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics {\nintercept 5xx\n}\nrespond /own \"own\" 503\nreverse_proxy "+testcaddy.Good(t))
	if a := c.Get("/own"); a.Status != 503 || a.Body != "own" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if list := c.Failures(); len(list) != 0 {
		t.Errorf("recorded: %+v", list[0])
	}
}

// What the client can't use is not sent.
func TestAnswerForms(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	whole := c.Get("/", "Accept: text/html")
	if a := c.Do("HEAD", "/", nil, "Accept: text/html"); a.Status != 502 || a.Body != "" || a.Header.Get("Content-Length") != strconv.Itoa(len(whole.Body)) {
		t.Errorf("HEAD: %d %v", a.Status, a.Header)
	}
	for name, fields := range map[string][]string{
		"an image":   {"Sec-Fetch-Dest: image", "Accept: image/avif,*/*;q=0.8"},
		"a script":   {"Sec-Fetch-Dest: script", "Accept: */*"},
		"a style":    {"Accept: text/css,*/*;q=0.1"},
		"an upgrade": {"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Accept: text/html"},
	} {
		a := c.Get("/", fields...)
		if a.Status != 502 || a.Body != "" || a.Header.Get("Content-Type") != "" || a.Header.Get("Upstream-Failure-Id") == "" {
			t.Errorf("%s: %d %v %s", name, a.Status, a.Header, a.Body)
		}
	}
	a := c.Do("POST", "/service/Method", strings.NewReader("\x00\x00\x00\x00\x00"), "Content-Type: application/grpc+proto", "Te: trailers")
	if a.Status != 200 || a.Body != "" || a.Header.Get("Grpc-Status") != "14" || a.Header.Get("Grpc-Message") == "" || a.Header.Get("Content-Type") != "application/grpc+proto" {
		t.Errorf("gRPC: %d %v %s", a.Status, a.Header, a.Body)
	}
	if f := c.Failure(); f.Status != 502 || f.ID != a.Header.Get("Upstream-Failure-Id") {
		t.Errorf("gRPC is recorded as %d", f.Status)
	}
	a = c.Do("POST", "/service/Method", strings.NewReader("\x00\x00\x00\x00\x00"), "Content-Type: application/grpc-web+proto")
	if a.Status != 200 || !strings.HasPrefix(a.Body, "\x80") || !strings.Contains(a.Body, "grpc-status: 14\r\n") || a.Header.Get("Content-Length") != strconv.Itoa(len(a.Body)) {
		t.Errorf("gRPC-Web: %d %v %q", a.Status, a.Header, a.Body)
	}
	a = c.Do("POST", "/service/Method", strings.NewReader("{}"), "Content-Type: application/json", "Connect-Protocol-Version: 1")
	if a.Status != 503 || a.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(a.Body, `{"code":"unavailable","message":"`) {
		t.Errorf("Connect: %d %v %q", a.Status, a.Header, a.Body)
	}
	if f := c.Failure(); f.Status != 502 || f.ID != a.Header.Get("Upstream-Failure-Id") {
		t.Errorf("Connect is recorded as %d", f.Status)
	}
}

func TestRetryAfterField(t *testing.T) {
	tests := []struct {
		name, setting, method, to string
		want                      string
	}{
		{"fixed", "retry_after 90s", "GET", testcaddy.Dead(t), "90"},
		{"fixed, not sent", "retry_after 90s", "POST", testcaddy.Dead(t), "90"},
		{"fixed, may have been received", "retry_after 90s", "POST", testcaddy.Cutting(t), ""},
		{"fixed, harmless", "retry_after 90s", "GET", testcaddy.Cutting(t), "90"},
		{"auto, nothing is known", "", "GET", testcaddy.Dead(t), ""},
		{"off", "retry_after off", "GET", testcaddy.Dead(t), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics {\n"+test.setting+"\n}\nreverse_proxy "+test.to)
			if a := c.Do(test.method, "/", nil); a.Status != 502 || a.Header.Get("Retry-After") != test.want {
				t.Errorf("%d, Retry-After %q, want %q", a.Status, a.Header.Get("Retry-After"), test.want)
			}
		})
	}

	// auto: when the failure that counts against the upstream is forgotten.
	for _, setting := range []string{"", "retry_after auto", "retry_after off"} {
		c := testcaddy.Start(t, "upstream_diagnostics {\n"+setting+"\n}\nreverse_proxy "+testcaddy.Dead(t)+" {\nfail_duration 30s\n}")
		c.Get("/")
		first := c.Failure()
		a := c.Get("/", "Accept: application/json")
		f := c.Failure()
		if a.Status != 503 || f.Cause != "upstreams_unhealthy" || len(f.Unavailable) != 1 || f.Unavailable[0].LastFailure != first.ID || f.Unavailable[0].Until == nil {
			t.Fatalf("got %d %+v", a.Status, f)
		}
		until := f.Unavailable[0].Until
		if want := first.Time.Add(30 * time.Second); !until.Equal(want) {
			t.Errorf("until %s, want %s", until, want)
		}
		field := a.Header.Get("Retry-After")
		if strings.Contains(a.Body, `"retry_after_s":`+field) != (field != "") {
			t.Errorf("got %s", a.Body)
		}
		if setting == "retry_after off" {
			if field != "" {
				t.Errorf("Retry-After %q", field)
			}
		} else {
			// Never before that, and spread after it.
			earliest := int((until.Sub(f.Time.Time) + time.Second - 1) / time.Second)
			if seconds, err := strconv.Atoi(field); err != nil || seconds < earliest || seconds > earliest+6 {
				t.Errorf("Retry-After %q, want %d to %d", field, earliest, earliest+6)
			}
		}
		testcaddy.Stop(t)
	}
}

// Fields that were set before us stay; those that make an answer ours are there.
func TestAnswerFields(t *testing.T) {
	c := testcaddy.Start(t, `
		header Strict-Transport-Security max-age=31536000
		header Access-Control-Allow-Origin https://app.example.com
		header Vary Origin
		upstream_diagnostics
		reverse_proxy `+testcaddy.Dead(t))
	a := c.Get("/", "Accept: text/html")
	for field, want := range map[string]string{
		"Strict-Transport-Security":   "max-age=31536000",
		"Access-Control-Allow-Origin": "https://app.example.com",
		"Cache-Control":               "no-store",
		"X-Robots-Tag":                "noindex",
		"X-Content-Type-Options":      "nosniff",
		"Upstream-Failure-Id":         c.Failure().ID,
		"Content-Length":              strconv.Itoa(len(a.Body)),
		"Proxy-Status":                "",
	} {
		if got := a.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	vary := strings.Join(a.Header.Values("Vary"), ", ")
	if !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept") {
		t.Errorf("Vary is %q", vary)
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
}

func TestSite(t *testing.T) {
	down := testcaddy.Dead(t)
	// Caddy takes only the first directive of a named route, so there is one.
	const named = "&(app) {\nroute {\nupstream_diagnostics\nreverse_proxy DOWN\n}\n}\n"
	tests := []struct{ name, options, site, more, want string }{
		{name: "the host", site: "upstream_diagnostics\nreverse_proxy DOWN", want: "127.0.0.1"},
		{name: "the option", site: "upstream_diagnostics {\nsite shop\n}\nreverse_proxy DOWN", want: "shop"},
		{name: "a host further in", site: "@inner host inner.example\nhandle @inner {\nrespond inner\n}\nhandle {\nupstream_diagnostics\nreverse_proxy DOWN\n}", want: "127.0.0.1"},
		{name: "a named route", site: "invoke app", more: named, want: "srv0"},
		{name: "no walk", options: "admin off", site: "upstream_diagnostics\nreverse_proxy DOWN", want: "127.0.0.1"},
		{name: "no walk, a named route", options: "admin off", site: "invoke app", more: named, want: "srv0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.New(t)
			config := c.Caddyfile(test.options, test.site) + test.more
			if err := testcaddy.Load(strings.ReplaceAll(config, "DOWN", down)); err != nil {
				t.Fatal(err)
			}
			defer testcaddy.Stop(t)
			a := c.Get("/")
			list := c.Kept()
			if len(list) != 1 {
				t.Fatalf("recorded %d failures, the client got %+v", len(list), a)
			}
			if list[0].Site != test.want {
				t.Errorf("site %q, want %q", list[0].Site, test.want)
			}
		})
	}
}

// What handle_response makes of an answer is the owner's, and is not replaced.
func TestInterceptLeavesHandleResponse(t *testing.T) {
	busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	c := testcaddy.Start(t, "upstream_diagnostics {\nintercept 503\n}\nreverse_proxy "+busy+" {\n@down status 503\nhandle_response @down {\nrespond mine 503\n}\n}")
	if a := c.Get("/"); a.Status != 503 || a.Body != "mine" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if f := c.Failure(); f.Cause != "upstream_status" || f.Status != 503 {
		t.Errorf("recorded %+v", f)
	}
}

// With `page off` the record has the status that Caddy answers.
func TestStatusPassedOn(t *testing.T) {
	upgrading := testcaddy.Blabbing(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")
	for name, to := range map[string]string{
		"refused":        testcaddy.Dead(t),
		"an upgrade":     upgrading,
		"a bad response": testcaddy.Blabbing(t, "nonsense\r\n\r\n"),
		"a cut":          testcaddy.Cutting(t),
	} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics {\npage off\n}\nreverse_proxy "+to)
			a := c.Get("/")
			if f := c.Failure(); f.Status != a.Status {
				t.Errorf("recorded %d, the client got %d", f.Status, a.Status)
			}
		})
	}
}

// What is said of an upstream that is out: its last failure, by its address where the
// pool is dynamic, and until when only where that failure is the one that counts.
func TestUnavailable(t *testing.T) {
	answering := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	host, port, err := net.SplitHostPort(testcaddy.Dead(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, site string
		visits     []string
		until      bool
	}{
		{"a dynamic pool", "reverse_proxy {\ndynamic a " + host + " " + port + "\nfail_duration 30s\n}", []string{"/"}, true},
		{"answers count, too", "reverse_proxy " + answering + " {\nfail_duration 30s\nunhealthy_status 500\n}", []string{"/busy", "/"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\n"+test.site)
			for _, path := range test.visits {
				c.Get(path)
			}
			first := c.Failures()
			c.Get("/")
			f := c.Failures()[0]
			if f.Cause != "upstreams_unhealthy" || len(f.Unavailable) != 1 || f.Unavailable[0].LastFailure != first[0].ID || (f.Unavailable[0].Until != nil) != test.until {
				t.Errorf("recorded %+v", f)
			}
		})
	}

	// A large pool.
	var pool strings.Builder
	for range 20 {
		pool.WriteString(" " + testcaddy.Dead(t))
	}
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy"+pool.String()+" {\nlb_policy round_robin\nfail_duration 30s\n}")
	for range 21 {
		c.Get("/")
	}
	f := c.Failures()[0]
	if f.Cause != "upstreams_unhealthy" || len(f.Unavailable) != failure.MaxUnavailable || f.Evidence[0] != "20 of 20 upstreams: failed too often (max_fails)" {
		t.Errorf("recorded %+v", f)
	}
}

// forward_auth asks about a request and doesn't send it: whatever it answers, it has not
// been carried out. So does a reverse_proxy that makes a GET of it.
func TestForwardAuthIsNotSent(t *testing.T) {
	busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for name, auth := range map[string]string{"answers 503": busy, "closes": testcaddy.Cutting(t)} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nforward_auth "+auth+" {\nuri /auth\n}\nreverse_proxy "+testcaddy.Good(t))
			c.Do("POST", "/order", strings.NewReader("order"))
			if f := c.Failure(); f.RequestSent != failure.SentNo {
				t.Errorf("request_sent is %s: %+v", f.RequestSent, f)
			}
		})
	}
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+busy+" {\nmethod GET\n@gone status 410\nhandle_response @gone {\nrespond gone 410\n}\n}")
	c.Do("POST", "/order", strings.NewReader("order"))
	if f := c.Failure(); f.RequestSent != failure.SentNo {
		t.Errorf("request_sent is %s: %+v", f.RequestSent, f)
	}
}
