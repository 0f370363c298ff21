package tests

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// roomy takes larger headers than the 16 KiB that Caddy does by default.
const roomy = "servers {\nmax_header_size 4MB\n}"

const (
	hostileValue = "the value of an environment variable"
	hostile      = `<script>alert(1)</script>"'{{env "HOSTILE"}}{env.HOSTILE}{$HOSTILE}`
)

// checkClean fails where a face shows what it must not, or is not text.
func checkClean(t *testing.T, face, shown string) {
	t.Helper()
	if strings.Contains(shown, hostileValue) {
		t.Errorf("%s: what the client sent was run: %s", face, shown)
	}
	if !utf8.ValidString(shown) {
		t.Errorf("%s is not UTF-8: %q", face, shown)
	}
	if i := strings.IndexFunc(shown, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }); i >= 0 {
		t.Errorf("%s has a control character: %q", face, shown[max(0, i-20):])
	}
}

// What a client or an upstream sends can neither run nor break what shows it.
func TestHostile(t *testing.T) {
	t.Setenv("HOSTILE", hostileValue)
	requests := map[string]func(c *testcaddy.Caddy) string{
		"markup and templates": func(c *testcaddy.Caddy) string {
			return c.Request("/"+strings.ReplaceAll(hostile, " ", "%20")+"?"+strings.ReplaceAll(hostile, " ", "%20")+"=1&keep="+strings.ReplaceAll(hostile, " ", "%20"),
				"User-Agent: "+hostile+"\r\n", "Referer: http://<script>alert(1)</script>/"+hostile+"\r\n", "X-Kept: "+hostile+"\r\n")
		},
		"escaped control characters": func(c *testcaddy.Caddy) string {
			return c.Request("/%00%0d%0aX-Injected:%201%1b[31m%7f%c2%9b%e2%80%ae?keep=%00%1b%0a&%0d%0a=1", "User-Agent: \tx\r\n")
		},
		"invalid UTF-8": func(c *testcaddy.Caddy) string {
			return c.Request("/\xff\xfe/%ff%fe?keep=\xff\xfe%ff&\xff=\xc3", "User-Agent: \xff\xfe\xc3\x28\xc2\x9b\xe2\x80\xae\r\n", "X-Kept: a\xffb\xc2\x9b31m\r\n", "Referer: http://\xff/\r\n")
		},
		"64 KiB": func(c *testcaddy.Caddy) string {
			long := strings.Repeat("a", 64<<10)
			return c.Request("/"+long+"?keep="+long, "User-Agent: "+long+"\r\n", "X-Kept: "+long+"\r\n", "Referer: http://"+long+"/\r\n")
		},
		"64 KiB of invalid UTF-8": func(c *testcaddy.Caddy) string {
			long := strings.Repeat("\xffa", 32<<10)
			return c.Request("/"+long+"?keep="+long, "User-Agent: "+long+"\r\n", "X-Kept: "+long+"\r\n")
		},
		"64 KiB of keys": func(c *testcaddy.Caddy) string {
			return c.Request("/?"+strings.Repeat("a=b&", 16<<10), strings.Repeat("Cookie: a=b\r\n", 1000))
		},
		"10000 fields":       func(c *testcaddy.Caddy) string { return c.Request("/", strings.Repeat("X-Kept: v\r\n", 10_000)) },
		"10000 empty fields": func(c *testcaddy.Caddy) string { return c.Request("/", strings.Repeat("X-Kept:\r\n", 10_000)) },
		"10000 names": func(c *testcaddy.Caddy) string {
			var fields strings.Builder
			for n := range 10_000 {
				fmt.Fprintf(&fields, "X-%d: v\r\n", n)
			}
			return c.Request("/", fields.String())
		},
		"a method": func(c *testcaddy.Caddy) string {
			return strings.Replace(c.Request("/"), "GET", strings.Repeat("M", 31)+"'", 1)
		},
		"a URL without a path": func(c *testcaddy.Caddy) string { return c.Request("http:opaque?keep=1") },
		"an absolute URL":      func(c *testcaddy.Caddy) string { return c.Request("http://user:password@127.0.0.1/?password=1") },
		"many ids": func(c *testcaddy.Caddy) string {
			return c.Request("/", "X-Forwarded-For: "+strings.Repeat("1.2.3.4, ", 5000)+"\r\n")
		},
	}
	line := strings.Repeat("<script>alert(1)</script>{{env `HOSTILE`}}\x1b[31m\xff", 100)
	down := map[string]string{
		"nobody":    testcaddy.Dead(t),
		"a status":  testcaddy.Blabbing(t, "HTTP/1.1 "+line+"\r\n\r\n"),
		"a header":  testcaddy.Blabbing(t, "HTTP/1.1 200 OK\r\n"+line+"\r\n\r\n"),
		"something": testcaddy.Blabbing(t, line+"\r\n"),
		"503":       testcaddy.Blabbing(t, "HTTP/1.1 503 "+line[:200]+"\r\nServer: "+strings.Repeat("<script>alert(1)</script>\xff", 500)+"\r\nVia: \xff"+hostile+"\r\nContent-Length: 0\r\n\r\n"),
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) { testHostile(t, request, map[string]string{"nobody": down["nobody"]}) })
	}
	t.Run("answers", func(t *testing.T) { testHostile(t, requests["markup and templates"], down) })
}

func testHostile(t *testing.T, request func(*testcaddy.Caddy) string, upstreams map[string]string) {
	l, access := testcaddy.NewLogFile(t), testcaddy.NewLogFile(t)
	site := `log ` + access.Block("") + `
		templates
		@operator header X-Operator yes
		upstream_diagnostics {
			details @operator
			intercept 5xx
			keep_query keep
			keep_headers X-Kept Cookie X-Forwarded-For
			proxy_status_name edge
		}
		`
	for name, address := range upstreams {
		site += "reverse_proxy @" + strings.ReplaceAll(name, " ", "_") + " " + address + "\n@" + strings.ReplaceAll(name, " ", "_") + " header X-To \"" + name + "\"\n"
	}
	c := testcaddy.StartWith(t, l.OfOurs()+"\n"+roomy, site)
	for name := range upstreams {
		for _, accept := range []string{"text/html", "application/json", "text/plain"} {
			for _, operator := range []bool{false, true} {
				face := fmt.Sprintf("%s, %s, operator %v", name, accept, operator)
				more := "Accept: " + accept + "\r\nX-To: " + name + "\r\n"
				if operator {
					more += "X-Operator: yes\r\n"
				}
				sent := request(c)
				a := c.Raw(sent[:len(sent)-2] + more + "\r\n")
				if a.Err != nil || a.Status == 200 || a.Header.Get("Upstream-Failure-Id") == "" {
					t.Fatalf("%s: got %d %v %.300s", face, a.Status, a.Err, a.Body)
				}
				if got := a.Header.Get("X-Injected"); got != "" {
					t.Errorf("%s: a header was injected", face)
				}
				for field, values := range a.Header {
					if field == "Server" || field == "Via" {
						continue // the upstream's own, which Caddy passes on
					}
					checkClean(t, face+", "+field, strings.Join(values, "\n"))
				}
				checkClean(t, face, a.Body)
				switch accept {
				case "text/html":
					if strings.Contains(strings.ToLower(a.Body), "<script>alert") || strings.Contains(a.Body, "<script ") || strings.Count(a.Body, "<script>") > 1 {
						t.Errorf("%s: unescaped: %s", face, a.Body)
					}
				case "application/json":
					if !json.Valid([]byte(a.Body)) {
						t.Errorf("%s: not JSON: %s", face, a.Body)
					}
				}
				if len(a.Body) > 64<<10 {
					t.Errorf("%s: %d bytes", face, len(a.Body))
				}
			}
		}
	}
	for _, f := range c.Failures() {
		checkBounds(t, f)
	}
	newest := c.Failure().ID
	for _, path := range []string{"/failures", "/failures?format=text", "/failures/" + newest, "/failures/" + newest + "?format=text", "?format=text"} {
		checkClean(t, "admin "+path, c.AdminDo("GET", path).Body)
	}
	l.Wait(testcaddy.LogMessage, 6*len(upstreams))
	access.Wait("handled request", 6*len(upstreams))
	content, err := os.ReadFile(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	checkClean(t, "log", string(content))
	for entry := range strings.Lines(string(content)) {
		if len(entry) > 32<<10 {
			t.Errorf("a log line of %d bytes", len(entry))
		}
	}
}

// checkBounds fails where a record keeps more than it may.
func checkBounds(t *testing.T, f *failure.Failure) {
	t.Helper()
	within := func(what, s string, limit int) {
		t.Helper()
		if len(s) > limit {
			t.Errorf("%s has %d bytes, more than %d", what, len(s), limit)
		}
	}
	within("method", f.Request.Method, 32)
	within("URI", f.Request.URI, 2048)
	within("host", f.Request.Host, 259)
	within("error", f.Error, 2048)
	for _, a := range f.Attempts {
		within("an attempt's error", a.Error, 256)
	}
	for _, line := range f.Evidence {
		within("a line of evidence", line, 256)
	}
	for field, values := range f.Request.Headers {
		within(field, strings.Join(values, ""), 2048)
		if len(values) > 256 {
			t.Errorf("%d values of %s", len(values), field)
		}
	}
	if f.Received != nil {
		within("Server", f.Received.Server, 256)
		within("Via", f.Received.Via, 256)
	}
	record, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	within("the record", string(record), 24<<10)
}

// Where something was cut, it says so; and of what is cut, the beginning stays.
func TestCutIsMarked(t *testing.T) {
	long := strings.Repeat("a", 64<<10)
	c := testcaddy.StartWith(t, roomy, "upstream_diagnostics {\nkeep_headers X-Kept X-Two\n}\nreverse_proxy "+testcaddy.Blabbing(t, long+"\r\n\r\n"))
	c.Raw(c.Request("/"+long, "User-Agent: "+long+"\r\n", "X-Kept: "+long+"\r\n", "X-Two: first\r\n", "X-Two: "+long+"\r\n", "X-Two: third\r\n"))
	f := c.Failure()
	for what, test := range map[string]struct {
		got   string
		limit int
	}{
		"URI":        {f.Request.URI, 2048},
		"User-Agent": {strings.Join(f.Request.Headers["User-Agent"], "|"), 2048},
		"X-Kept":     {strings.Join(f.Request.Headers["X-Kept"], "|"), 2048},
		"X-Two":      {strings.Join(f.Request.Headers["X-Two"], ""), 2048},
	} {
		if len(test.got) > test.limit || len(test.got) < test.limit-16 || !strings.HasSuffix(test.got, "…") || !strings.Contains(test.got, "aaa") {
			t.Errorf("%s has %d bytes, want %d with a mark at the end: %.40q … %q", what, len(test.got), test.limit, test.got, test.got[max(0, len(test.got)-20):])
		}
	}
	for _, text := range []string{f.Error, f.Attempts[0].Error} {
		if quoted := `"` + long[:64] + `"…`; !strings.HasSuffix(text, quoted) {
			t.Errorf("the error is %q, want %s at its end", text, quoted)
		}
	}
	if got := f.Request.Headers["X-Two"]; got[0] != "first" {
		t.Errorf("X-Two: %.40q", got)
	}
}

// A long host is cut where no name can be longer.
func TestLongHost(t *testing.T) {
	c := testcaddy.New(t)
	caddyfile := c.Caddyfile("default_bind 127.0.0.1", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	if err := testcaddy.Load(strings.Replace(caddyfile, "http://127.0.0.1:", "http://:", 1)); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	c.Raw("GET / HTTP/1.1\r\nHost: " + strings.Repeat("h", 5000) + "\r\nConnection: close\r\n\r\n")
	f := c.Failure()
	checkBounds(t, f)
	if f.Site != "srv0" || !strings.HasSuffix(f.Request.Host, "…") {
		t.Errorf("site %q, host %q", f.Site, f.Request.Host)
	}
}

// Nothing secret is kept, unless it is asked for by name.
func TestRedaction(t *testing.T) {
	tests := []struct {
		name, block, options string
		path                 string
		fields               []string
		want                 func(r failure.Request) (got, want any)
	}{
		{name: "query values", path: "/cart?id=1&token=secret&flag&=x&a=b=c",
			want: uri("/cart?id=REDACTED&token=REDACTED&REDACTED&=REDACTED&a=REDACTED")},
		{name: "keep_query", block: "keep_query id filter[x]", path: "/cart?id=1&token=secret&id=2&filter%5Bx%5D=3&ID=4&id",
			want: uri("/cart?id=1&token=REDACTED&id=2&filter%5Bx%5D=3&ID=REDACTED&id")},
		{name: "keep_query behind a semicolon", block: "keep_query id", path: "/cart?id=1;token=secret&key;secret=2",
			want: uri("/cart?id=REDACTED&REDACTED")},
		{name: "a bare token with padding", path: "/?c2VjcmV0=&secret==&a=b", want: uri("/?REDACTED&REDACTED&a=REDACTED")},
		{name: "an encoded equals sign", path: "/?token%3Dsecret&token%3Dsecret=1", want: uri("/?REDACTED&REDACTED")},
		{name: "a key that is a token", path: "/?" + strings.Repeat("secret", 11) + "=1", want: uri("/?REDACTED")},
		{name: "parameters of the path", path: "/cart;jsessionid=secret/x%3Bjsessionid%3Dsecret;secret", want: uri("/cart;jsessionid=REDACTED/x%3Bjsessionid%3DREDACTED;REDACTED")},
		{name: "no user in the URI", path: "/", want: uri("/")},
		{name: "no header but two", fields: []string{"User-Agent: test/1", "Referer: http://user:secret@example.com:8080/path?token=secret", "X-Other: x", "Cookie: secret"},
			want: headers(map[string][]string{"User-Agent": {"test/1"}, "Referer": {"http://example.com:8080"}})},
		{name: "no Referer that is none", fields: []string{"User-Agent: test/1", "Referer: secret"},
			want: headers(map[string][]string{"User-Agent": {"test/1"}})},
		{name: "keep_headers", block: "keep_headers x-kept Cookie Authorization Proxy-Authorization Referer X-Absent",
			fields: []string{"User-Agent: test/1", "X-Kept: 1", "X-Kept: 2", "Cookie: secret", "Authorization: Bearer secret", "Proxy-Authorization: Basic secret", "Referer: https://example.com/secret"},
			want: headers(map[string][]string{"User-Agent": {"test/1"}, "X-Kept": {"1", "2"}, "Cookie": {"REDACTED"}, "Authorization": {"REDACTED"},
				"Proxy-Authorization": {"REDACTED"}, "Referer": {"https://example.com"}})},
		{name: "keep_headers, by the looks of them", block: "keep_headers X-Access-Token Api-Key X-Amz-Security-Token Sec-WebSocket-Protocol X-Client-Secret X-Passwd X-Session X-Signature X-Xsrf X-Jwt X-Tenant",
			fields: []string{"X-Access-Token: secret", "Api-Key: secret", "X-Amz-Security-Token: secret", "Sec-WebSocket-Protocol: secret", "X-Client-Secret: secret",
				"X-Passwd: secret", "X-Session: secret", "X-Signature: secret", "X-Xsrf: secret", "X-Jwt: secret", "X-Tenant: kept"},
			want: headers(map[string][]string{"X-Access-Token": {"REDACTED"}, "Api-Key": {"REDACTED"}, "X-Amz-Security-Token": {"REDACTED"}, "Sec-Websocket-Protocol": {"REDACTED"},
				"X-Client-Secret": {"REDACTED"}, "X-Passwd": {"REDACTED"}, "X-Session": {"REDACTED"}, "X-Signature": {"REDACTED"}, "X-Xsrf": {"REDACTED"}, "X-Jwt": {"REDACTED"}, "X-Tenant": {"kept"}})},
		{name: "client_ip", want: ips("127.0.0.1", "127.0.0.1")},
		{name: "client_ip masked", block: "client_ip masked", want: ips("127.0.0.0", "127.0.0.0")},
		{name: "client_ip off", block: "client_ip off", want: ips("", "")},
		{name: "forged X-Forwarded-For", fields: []string{"X-Forwarded-For: 203.0.113.9"}, want: ips("127.0.0.1", "127.0.0.1")},
		{name: "trusted X-Forwarded-For", options: trusting, fields: []string{"X-Forwarded-For: 203.0.113.9"}, want: ips("127.0.0.1", "203.0.113.9")},
		{name: "trusted, masked", options: trusting, block: "client_ip masked", fields: []string{"X-Forwarded-For: 203.0.113.9"}, want: ips("127.0.0.0", "203.0.113.0")},
		{name: "trusted, masked, IPv6", options: trusting, block: "client_ip masked", fields: []string{"X-Forwarded-For: 2001:db8:1:2::3"}, want: ips("127.0.0.0", "2001:db8:1::")},
		{name: "trusted, off", options: trusting, block: "client_ip off", fields: []string{"X-Forwarded-For: 203.0.113.9"}, want: ips("", "")},
		{name: "trusted nonsense", options: trusting, fields: []string{`X-Forwarded-For: "><script>alert(1)</script>`}, want: ips("127.0.0.1", "127.0.0.1")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs()+"\n"+test.options, "upstream_diagnostics {\n"+test.block+"\n}\nreverse_proxy "+testcaddy.Dead(t))
			path := test.path
			if path == "" {
				path = "/"
			}
			var more []string
			for _, field := range test.fields {
				more = append(more, field+"\r\n")
			}
			if a := c.Raw(c.Request(path, more...)); a.Status != 502 {
				t.Fatalf("got %+v", a)
			}
			f := c.Failure()
			got, want := test.want(f.Request)
			if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
				t.Errorf("kept %s, want %s", g, w)
			}
			// Neither the record nor the log has it somewhere else.
			logged, _ := json.Marshal(l.Wait(testcaddy.LogMessage, 1))
			record, _ := json.Marshal(f)
			if strings.Contains(string(logged)+string(record), "secret") {
				t.Errorf("kept: %s\nlogged: %s", record, logged)
			}
		})
	}
}

const trusting = "servers {\ntrusted_proxies static 127.0.0.1/32\n}"

func uri(want string) func(failure.Request) (any, any) {
	return func(r failure.Request) (any, any) { return r.URI, want }
}

func headers(want map[string][]string) func(failure.Request) (any, any) {
	return func(r failure.Request) (any, any) { return r.Headers, want }
}

func ips(remote, client string) func(failure.Request) (any, any) {
	return func(r failure.Request) (any, any) {
		return []string{r.RemoteIP, r.ClientIP}, []string{remote, client}
	}
}

// What the record keeps of a request is what the client sent, not what handlers
// made of it.
func TestRecordsTheRequestAsSent(t *testing.T) {
	c := testcaddy.Start(t, `
		upstream_diagnostics
		handle_path /api/* {
			method DELETE
			rewrite /rewritten{uri}
			reverse_proxy `+testcaddy.Dead(t)+`
		}`)
	c.Do("POST", "/api/cart?x=1", strings.NewReader("body"))
	if r := c.Failure().Request; r.Method != "POST" || r.URI != "/api/cart?x=REDACTED" {
		t.Errorf("got %s %s", r.Method, r.URI)
	}
}

// The public's faces have nothing of the inside in them.
func TestPublicFacesTellNothing(t *testing.T) {
	addresses := map[string]string{
		"refused":  testcaddy.Dead(t),
		"cut":      testcaddy.Cutting(t),
		"answered": testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }),
	}
	for name, address := range addresses {
		c := testcaddy.StartWith(t, "", "upstream_diagnostics {\nintercept 5xx\n}\nreverse_proxy "+address)
		for _, asks := range []string{
			"Accept: text/html", "Accept: application/json", "Accept: text/plain", "Accept: application/graphql-response+json", "Sec-Fetch-Dest: iframe",
			"Content-Type: application/grpc", "Content-Type: application/grpc-web", "Content-Type: application/connect+json",
		} {
			a := c.Get("/", asks)
			f := c.Failure()
			_, port, _ := net.SplitHostPort(address)
			secrets := slices.DeleteFunc([]string{address, ":" + port, f.Cause, f.Error, f.Site + ":", f.Upstream, "reverse_proxy", "dial", "EOF"}, func(s string) bool { return s == "" })
			for _, secret := range secrets {
				if strings.Contains(a.Body+a.Header.Get("Grpc-Message"), secret) {
					t.Errorf("%s, %s: shows %q: %s", name, asks, secret, a.Body)
				}
			}
		}
		testcaddy.Stop(t)
	}
}
