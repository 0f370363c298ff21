package transparency

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// theirs are fields that an owner sets for a whole site, none of which are meant for
// an answer of ours.
const theirs = `
	Cache-Control "public, max-age=3600"
	Cdn-Cache-Control "max-age=3600"
	Content-Security-Policy "default-src 'self'"
	Content-Type text/x-theirs
	X-Robots-Tag all
	X-Content-Type-Options theirs
	Referrer-Policy unsafe-url
	Retry-After 1
	+Vary Origin
	Access-Control-Allow-Origin *
	Access-Control-Allow-Credentials true
	Timing-Allow-Origin *
	Cross-Origin-Resource-Policy cross-origin
	X-Frame-Options ALLOWALL
	Strict-Transport-Security max-age=1
	-Upstream-Failure-Id
	-Grpc-Status
	Proxy-Status theirs
	-Server
`

// deferred is theirs with each field deferred by its own sign.
func deferred() string {
	var lines []string
	for line := range strings.Lines(theirs) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '-' {
			lines = append(lines, ">"+strings.TrimPrefix(line, "+"))
		}
	}
	return strings.Join(lines, "\n")
}

// answerForms are requests for each form of answer, and what they get.
var answerForms = []struct {
	name, method string
	fields       []string
	contentType  string
	status       int
}{
	{"page", "GET", []string{"Accept: text/html"}, "text/html; charset=utf-8", 502},
	{"problem", "GET", []string{"Accept: application/json"}, "application/problem+json", 502},
	{"text", "GET", nil, "text/plain; charset=utf-8", 502},
	{"gRPC", "POST", []string{"Content-Type: application/grpc"}, "application/grpc", 200},
	{"no body", "GET", []string{"Sec-Fetch-Dest: image"}, "", 502},
	{"HEAD", "HEAD", []string{"Accept: text/html"}, "text/html; charset=utf-8", 502},
}

// An answer's own fields reach the wire as we set them, whatever stands in front; what
// is the owner's and not ours stays.
func TestFieldsReachTheWire(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	const h1, h2c, h2, h3 = "h1", "h2c", "h2", "h3"
	for _, test := range []struct {
		name, front string
		// unset says that the front sets nothing: these are as without it.
		unset bool
		// nobody says that the operator's view is for nobody there.
		nobody    bool
		protocols []string
		after     string
		servers   string
	}{
		{name: "deferred by a deletion", front: "header {" + theirs + "}", protocols: []string{h1, h2c}},
		{name: "deferred by >", front: "header {\n" + deferred() + "\n}"},
		{name: "deferred by match", front: "header {\nmatch status 502 200\n" + theirs + "}"},
		{name: "two of them", front: "header {" + theirs + "}\nheader >Cache-Control public"},
		{name: "replaced in place", front: "header {" + theirs + "}\nheader >Cache-Control no-store public\nheader >Cache-Control no- yes-"},
		{name: "all deleted", front: "header -*", unset: true},
		{name: "over TLS", front: "header {" + theirs + "}", protocols: []string{h1, h2, h3}},
		{name: "encode", front: "header {" + theirs + "}\nencode gzip {\nminimum_length 1\nmatch header Content-Type *\n}", protocols: []string{h1, h2c}},
		{name: "encode outside", front: "encode gzip {\nminimum_length 1\nmatch header Content-Type *\n}\nheader {" + theirs + "}"},
		{name: "templates", front: "header {" + theirs + "}\ntemplates", nobody: true},
		{name: "intercept", front: "header {" + theirs + "}\nintercept {\n@other status 404\nhandle_response @other {\nrespond 500\n}\n}"},
		{name: "tracing", front: "tracing {\nspan test\n}\nheader {" + theirs + "}"},
		{name: "nothing of Caddy's behind it", front: "header {" + theirs + "}", servers: "timeouts {\nread_body_idle -1s\nwrite_idle -1s\n}"},
		{name: "tracing inside", front: "header {" + theirs + "}\ntracing {\nspan test\n}"},
		{name: "an access log", front: "header {" + theirs + "}", after: "log"},
		{name: "another handler of ours", front: "header {" + theirs + "}\nupstream_diagnostics {\nintercept 502\n}"},
		{name: "a wrapper of another plugin", front: "wrapped named\nheader {" + theirs + "}"},
		{name: "a wrapper of another plugin that changes it", front: "wrapped named_changing\nheader {" + theirs + "}"},
		{name: "a value", front: "header {" + theirs + "}\nwrapped value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := proxyConfig{site: test.front + "\n@key header X-Key right\nupstream_diagnostics {\ndetails @key\nretry_after 90s\nproxy_status_name edge\n}\nreverse_proxy " + testcaddy.Dead(t), after: test.after, servers: test.servers}
			if len(test.protocols) == 0 {
				test.protocols = []string{h1}
			}
			for _, protocol := range test.protocols {
				p.tls = p.tls || protocol == h2
				if protocol == h2c {
					p.servers = "protocols h1 h2c"
				}
			}
			c := startProxy(t, p)
			for _, protocol := range test.protocols {
				client := clientFor(t, protocol)
				for _, form := range answerForms {
					for _, operator := range []bool{false, true} {
						if operator && test.nobody {
							continue
						}
						t.Run(fmt.Sprintf("%s %s operator=%v", protocol, form.name, operator), func(t *testing.T) {
							a := doWith(t, c, client, form.method, operator, append([]string{"Accept-Encoding: gzip"}, form.fields...)...)
							if a.Err != nil {
								t.Fatal(a.Err)
							}
							if a.Status != form.status {
								t.Errorf("status %d", a.Status)
							}
							checkFields(t, c, a, form.contentType, operator, test.unset)
							checkBody(t, a, form.contentType, form.method, operator)
						})
					}
				}
			}
		})
	}
}

// doWith is Do with a client of its own; it asks for the operator's view where it is told to.
func doWith(t *testing.T, c *testcaddy.Caddy, client *http.Client, method string, operator bool, fields ...string) testcaddy.Answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if operator {
		r.Header.Set("X-Key", "right")
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		return testcaddy.Answer{Err: err}
	}
	defer res.Body.Close()
	var body io.Reader = res.Body
	if res.Header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		if body, err = gzip.NewReader(res.Body); err != nil {
			return testcaddy.Answer{Err: err}
		}
	}
	got, err := io.ReadAll(body)
	return testcaddy.Answer{Status: res.StatusCode, Header: res.Header, Body: string(got), Err: err}
}

// checkFields checks an answer's fields against what we set; unset says that nobody else
// has set any.
func checkFields(t *testing.T, c *testcaddy.Caddy, a testcaddy.Answer, contentType string, operator, unset bool) {
	t.Helper()
	only := func(name, want string) {
		t.Helper()
		if got := a.Header.Values(name); strings.Join(got, "|") != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	only("Cache-Control", "no-store")
	only("Cdn-Cache-Control", "")
	only("X-Robots-Tag", "noindex")
	only("X-Content-Type-Options", "nosniff")
	only("Upstream-Failure-Id", c.Failure().ID)
	only("Retry-After", "90")
	if got := a.Header.Get("Proxy-Status"); !strings.HasPrefix(got, "edge;error=connection_refused") {
		t.Errorf("Proxy-Status is %q", got)
	}
	if contentType != "" {
		only("Content-Type", contentType)
	}
	if contentType == "application/grpc" {
		only("Grpc-Status", "14")
	}
	if csp := a.Header.Get("Content-Security-Policy"); contentType == "text/html; charset=utf-8" && !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
	if operator {
		only("Vary", "*")
		only("Referrer-Policy", "no-referrer")
		only("Cross-Origin-Resource-Policy", "same-origin")
		only("X-Frame-Options", "DENY")
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Timing-Allow-Origin" {
				t.Errorf("%s is left", name)
			}
		}
	} else {
		vary := strings.Join(a.Header.Values("Vary"), ", ")
		depends := []string{"Accept", "Sec-Fetch-Dest"}
		switch contentType {
		case "":
			depends = depends[1:]
		case "application/grpc":
			depends = []string{"Content-Type"}
		}
		for _, want := range depends {
			if !strings.Contains(", "+vary+",", ", "+want+",") {
				t.Errorf("Vary is %q, without %s", vary, want)
			}
		}
		if a.Header.Get("Content-Encoding") != "" && !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("Vary is %q, and the body encoded", vary)
		}
	}
	if !unset {
		only("Strict-Transport-Security", "max-age=1")
		if !operator {
			only("Access-Control-Allow-Origin", "*")
			only("Referrer-Policy", "unsafe-url")
		}
	}
}

// checkBody checks that the body came whole, and that it is for whom it is meant.
func checkBody(t *testing.T, a testcaddy.Answer, contentType, method string, operator bool) {
	t.Helper()
	if method == http.MethodHead || contentType == "" || contentType == "application/grpc" {
		if a.Body != "" {
			t.Errorf("got a body: %q", a.Body)
		}
		return
	}
	if got := strings.Contains(a.Body, "connection_refused"); got != operator {
		t.Errorf("the operator's view is shown: %v", got)
	}
	end := map[string]string{"text/html; charset=utf-8": "</script>", "application/problem+json": "}", "text/plain; charset=utf-8": "\n"}[contentType]
	if operator && end == "</script>" {
		end = "</main>" // the record in it has what the visitor's footer says, and no script
	}
	if !strings.HasSuffix(strings.TrimRight(a.Body, "\n")+"\n", end+"\n") && end != "\n" || len(a.Body) < 100 {
		t.Errorf("the body isn't whole: %q", a.Body)
	}
	if length := a.Header.Get("Content-Length"); length != "" && a.Header.Get("Content-Encoding") == "" && length != strconv.Itoa(len(a.Body)) {
		t.Errorf("%d bytes, Content-Length %s", len(a.Body), length)
	}
}

// The bytes that leave: no field twice, in whatever letters, and the record's log has
// what the client got.
func TestWireBytes(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.Start(t, "log "+l.Block("")+"\nheader {"+theirs+"}\n@key header X-Key right\nupstream_diagnostics {\ndetails @key\n}\nreverse_proxy "+testcaddy.Dead(t))
	for i, key := range []string{"wrong", "right"} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Key: "+key+"\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(connection)
		connection.Close()
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(all), "\r\n\r\n")
		for _, field := range []string{"Cache-Control: no-store", "X-Robots-Tag: noindex", "Content-Type: text/html; charset=utf-8", "Upstream-Failure-Id: " + c.Failure().ID, "Content-Length: " + strconv.Itoa(len(body))} {
			name, _, _ := strings.Cut(field, ":")
			if strings.Count(head, "\r\n"+field+"\r\n")+strings.Count(head+"\r\n", "\r\n"+field+"\r\n") == 0 || strings.Count(strings.ToLower(head), "\n"+strings.ToLower(name)+":") != 1 {
				t.Errorf("not once %q in\n%s", field, head)
			}
		}
		entry := l.Wait("handled request", i+1)[i]
		header, _ := entry["resp_headers"].(map[string]any)
		if entry["status"] != 502.0 || entry["size"] != float64(len(body)) || fmt.Sprint(header["Cache-Control"]) != "[no-store]" {
			t.Errorf("logged: %v bytes of %d, status %v, %v", entry["size"], len(body), entry["status"], header)
		}
	}
}

// wrapping is a handler of another plugin that wraps the ResponseWriter in its own way.
type wrapping struct {
	How string `json:"how,omitempty"`
}

func (wrapping) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.wrapped", New: func() caddy.Module { return new(wrapping) }}
}

func (h wrapping) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch h.How {
	case "named":
		w = &namedWrapper{namedOnly: namedOnly{Inner: w}}
	case "named_changing":
		w = &namedWrapper{namedOnly: namedOnly{Inner: w}, changes: true}
	case "value":
		w = valueWrapper{w}
	case "unwrappable":
		w = &unwrappable{w}
	case "unsettable":
		w = &unsettable{w}
	case "twofold":
		w = &unsettable{&namedWrapper{namedOnly: namedOnly{Inner: w}}}
	}
	return next.ServeHTTP(w, r)
}

func makeCacheable(h http.Header) {
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Access-Control-Allow-Origin", "*")
}

// namedOnly has what it wraps in a named field.
type namedOnly struct{ Inner http.ResponseWriter }

type namedWrapper struct {
	namedOnly
	changes bool
}

func (w *namedWrapper) Header() http.Header         { return w.Inner.Header() }
func (w *namedWrapper) Write(b []byte) (int, error) { return w.Inner.Write(b) }
func (w *namedWrapper) Unwrap() http.ResponseWriter { return w.Inner }
func (w *namedWrapper) WriteHeader(status int) {
	if w.changes {
		makeCacheable(w.Header())
	}
	w.Inner.WriteHeader(status)
}

// valueWrapper is no pointer, so its field can't be set.
type valueWrapper struct{ http.ResponseWriter }

func (w valueWrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// unwrappable doesn't tell what it wraps.
type unwrappable struct{ http.ResponseWriter }

func (w *unwrappable) WriteHeader(status int) {
	makeCacheable(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// unsettable tells it, but nothing can be put there.
type unsettable struct{ inner http.ResponseWriter }

func (w *unsettable) Header() http.Header         { return w.inner.Header() }
func (w *unsettable) Write(b []byte) (int, error) { return w.inner.Write(b) }
func (w *unsettable) Unwrap() http.ResponseWriter { return w.inner }
func (w *unsettable) WriteHeader(status int) {
	makeCacheable(w.Header())
	w.inner.WriteHeader(status)
}

func init() {
	caddy.RegisterModule(wrapping{})
	httpcaddyfile.RegisterHandlerDirective("wrapped", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		w := new(wrapping)
		h.Next()
		if !h.Args(&w.How) {
			return nil, h.ArgErr()
		}
		return w, nil
	})
}

// Where something in front can change the header and can't be got behind, nobody gets
// the operator's view, and the log says why, once.
func TestDetailsOnlyWhereTheyCanBeShielded(t *testing.T) {
	// Without them nothing of Caddy's wraps the server's own writer.
	const noIdle = "servers {\ntimeouts {\nread_body_idle -1s\nwrite_idle -1s\n}\n}"
	for _, test := range []struct {
		name, front, timeouts, log string
		shown                      bool
	}{
		{name: "nothing", shown: true},
		{name: "nothing, and nothing of Caddy's", timeouts: noIdle, shown: true},
		{name: "one that doesn't tell what it wraps", front: "wrapped unwrappable"},
		{name: "one that takes nothing, with Caddy's idle timeouts behind it", front: "wrapped unsettable", shown: true},
		{name: "one that takes nothing", front: "wrapped unsettable", timeouts: noIdle},
		{name: "one that takes nothing, with an access log behind it", front: "wrapped unsettable", timeouts: noIdle, log: "log", shown: true},
		{name: "one that takes nothing, around one that does", front: "wrapped twofold", timeouts: noIdle, shown: true},
		{name: "templates, which would run what an upstream said", front: "templates"},
		{name: "templates, around what takes a shield", front: "header >X-A b\ntemplates"},
		{name: "intercept, which keeps a body too", front: "intercept {\n@other status 404\nhandle_response @other {\nrespond 500\n}\n}", shown: true},
		{name: "one that does, around one that takes nothing", front: "wrapped unsettable\nwrapped named", timeouts: noIdle},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs()+"\n"+test.timeouts, test.log+"\nroute {\n"+test.front+"\n@key header X-Key right\nupstream_diagnostics {\ndetails @key\nproxy_status_name edge\n}\nreverse_proxy "+testcaddy.Dead(t)+"\n}")
			for range 2 {
				a := c.Get("/", "X-Key: right", "Accept: text/html")
				shown := strings.Contains(a.Body, "connection_refused") || strings.Contains(a.Header.Get("Proxy-Status"), "next-hop")
				if a.Status != 502 || shown != test.shown {
					t.Errorf("got %d %v %s", a.Status, a.Header, a.Body)
				}
				if shown && (a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Access-Control-Allow-Origin") != "") {
					t.Errorf("shown with %v", a.Header)
				}
			}
			l.Wait("upstream failure", 2)
			warned := 0
			for _, entry := range l.Entries("") {
				if text, _ := entry["msg"].(string); strings.HasPrefix(text, "the operator's view is not shown") {
					warned++
				}
			}
			if want := map[bool]int{true: 0, false: 1}[test.shown]; warned != want {
				t.Errorf("warned %d times: %v", warned, l.Entries(""))
			}
		})
	}
}

// What an upstream says is never run, wherever `templates` stands.
func TestTemplatesRunNothingOfAnUpstream(t *testing.T) {
	upstream := testcaddy.Blabbing(t, "{{ `run` | upper }}\r\n\r\n")
	for _, order := range []string{"templates\n%s", "%s\ntemplates"} {
		c := testcaddy.Start(t, "@key header X-Key right\nroute {\n"+fmt.Sprintf(order, "upstream_diagnostics {\ndetails @key\n}")+"\nreverse_proxy "+upstream+"\n}")
		for _, accept := range []string{"text/html", "text/plain", "application/json"} {
			a := c.Get("/", "X-Key: right", "Accept: "+accept)
			if a.Status != 502 || strings.Contains(a.Body, "RUN") {
				t.Errorf("%s, %s: %d %s", order, accept, a.Status, a.Body)
			}
		}
	}
}

// An `intercept` in front that puts an answer of its own in place of ours has its own
// fields.
func TestReplacedAnswerIsNotOurs(t *testing.T) {
	c := testcaddy.Start(t, `route {
		intercept {
			@down status 502
			handle_response @down {
				header Content-Type text/x-theirs
				header Cache-Control max-age=5
				header -Content-Security-Policy
				respond "theirs" 502
			}
		}
		upstream_diagnostics
		reverse_proxy `+testcaddy.Dead(t)+"\n}")
	a := c.Get("/", "Accept: text/html")
	if a.Status != 502 || a.Body != "theirs" || a.Header.Get("Content-Type") != "text/x-theirs" || a.Header.Get("Content-Security-Policy") != "" || a.Header.Get("Cache-Control") != "max-age=5" {
		t.Errorf("got %d %v %s", a.Status, a.Header, a.Body)
	}
}

// With `page off` nothing of ours is answered, so nothing is held.
func TestPageOffIsNotShielded(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics {\npage off\n}\nreverse_proxy "+testcaddy.Dead(t)+"\nhandle_errors {\nheader {"+theirs+"}\nrespond \"own\"\n}")
	a := c.Get("/")
	if a.Status != 502 || a.Body != "own" || a.Header.Get("Cache-Control") != "public, max-age=3600" || a.Header.Get("Content-Type") != "text/x-theirs" || a.Header.Get("X-Robots-Tag") != "all" {
		t.Errorf("got %d %v %s", a.Status, a.Header, a.Body)
	}
}
