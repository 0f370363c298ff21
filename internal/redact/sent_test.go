package redact

import (
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// What a placeholder made of the client's is taken out of each text, and nothing else.
func TestSent(t *testing.T) {
	const secret = "hunter2hunter2"
	values := map[string]string{
		"http.request.uri.query.u": secret, "http.request.uri.query.one": "a", "http.request.uri.query.kept": secret,
		"http.request.uri.query.address": secret + ":8080", "http.request.uri.query.path": "/run/" + secret + "/app.sock",
		"http.request.uri.query.odd": "hunter\x00\"é\xff2", "http.request.uri.query.long": strings.Repeat("hunter2", 100),
		"http.request.cookie.c": secret, "http.request.header.X-Tenant": secret, "http.request.header.X-Kept": secret, "http.request.header.X-Token": secret,
		"http.request.uri.query": "u=" + secret, "http.request.uri": "/?u=" + secret, "http.request.orig_uri": "/?u=" + secret, "http.request.orig_uri.query": "u=" + secret,
		"http.request.uri.query.mapped": "[::ffff:203.0.113.9]", "http.request.uri.query.network": "HUNTER2/x", "http.request.uri.query.slash": "N/x",
		"http.request.remote.host": "203.0.113.9", "http.request.host": "app.example", "http.vars.x": "app.example", "http.request.uri.query.empty": "",
	}
	for _, test := range []struct {
		name, upstream, address string
		texts                   map[string]string // what is said, and what is kept of it
	}{
		{"a whole host", "{http.request.uri.query.u}:80", secret + ":80", map[string]string{
			"Nothing accepts connections at hunter2hunter2:80 ({http.request.uri.query.u}:80).": "Nothing accepts connections at REDACTED:80 ({http.request.uri.query.u}:80).",
			"dial tcp: lookup hunter2hunter2 on 127.0.0.11:53: no such host":                    "dial tcp: lookup REDACTED on 127.0.0.11:53: no such host",
			"hunter2hunter2s and xhunter2hunter2":                                               "hunter2hunter2s and xhunter2hunter2",
			"hunter2hunter2":                                                                    "REDACTED",
			"a text that was cut at hunter2hu…":                                                 "a text that was cut at REDACTED…",
			`a quote that was cut: "hunter2hu"…`:                                                `a quote that was cut: "REDACTED"…`,
			"making dial info: x: invalid dial address hunter2hun:y":                            "making dial info: x: invalid dial address REDACTED",
		}},
		{"a part of a host", "{http.request.uri.query.u}.internal:80", secret + ".internal:80", map[string]string{
			"lookup hunter2hunter2.internal: no such host": "lookup REDACTED: no such host",
		}},
		{"a part of a word", "app{http.request.uri.query.u}x:80", "apphunter2hunter2x:80", map[string]string{
			"connect apphunter2hunter2x:80": "connect REDACTED:80",
		}},
		{"one letter", "{http.request.uri.query.one}:80", "a:80", map[string]string{
			"Nothing accepts a connection at a:80.":        "Nothing accepts a connection at REDACTED:80.",
			"dial tcp: lookup a on a server: no such host": "dial tcp: lookup REDACTED on a server: no such host",
		}},
		{"host and port", "{http.request.uri.query.address}", secret + ":8080", map[string]string{
			"dial tcp: lookup hunter2hunter2: no such host": "dial tcp: lookup REDACTED: no such host",
			"at hunter2hunter2:8080.":                       "at REDACTED.",
		}},
		{"a socket", "unix/{http.request.uri.query.path}", "/run/hunter2hunter2/app.sock", map[string]string{
			"dial unix /run/hunter2hunter2/app.sock: no such file": "dial unix REDACTED: no such file",
			"/run/hunter2hunter2: owner root, mode drwx------":     "REDACTED: owner root, mode drwx------",
		}},
		{"what can't be shown", "{http.request.uri.query.odd}:80", "hunter\x00\"é\xff2:80", map[string]string{
			"lookup hunter�\"é�2: no such host": "lookup REDACTED: no such host",
			`address "hunter\x00\"é\xff2:80"`:   `address "REDACTED:80"`,
		}},
		{"a long one", "{http.request.uri.query.long}:80", strings.Repeat("hunter2", 100) + ":80", map[string]string{
			"connect " + strings.Repeat("hunter2", 30) + "hun…": "connect REDACTED…",
		}},
		{"a cookie", "{http.request.cookie.c}:80", "", map[string]string{"at hunter2hunter2:80": "at REDACTED:80"}},
		{"a field", "{http.request.header.X-Tenant}:80", "", map[string]string{"at hunter2hunter2:80": "at REDACTED:80"}},
		{"a field that is kept", "{http.request.header.X-Kept}:80", secret + ":80", map[string]string{"at hunter2hunter2:80": "at hunter2hunter2:80"}},
		{"a credential that is named", "{http.request.header.X-Token}:80", "", map[string]string{"at hunter2hunter2:80": "at REDACTED:80"}},
		{"a key that is kept", "{http.request.uri.query.kept}:80", secret + ":80", map[string]string{"at hunter2hunter2:80": "at hunter2hunter2:80"}},
		{"the query", "{http.request.uri.query}:80", "", map[string]string{"at u=hunter2hunter2:80": "at REDACTED:80"}},
		{"the URI", "x{http.request.uri}:80", "", map[string]string{"at x/?u=hunter2hunter2:80": "at x/REDACTED:80"}},
		{"the URI as it came", "x{http.request.orig_uri}:80", "", map[string]string{"at x/?u=hunter2hunter2:80": "at x/REDACTED:80"}},
		{"the query as it came", "{http.request.orig_uri.query}:80", "", map[string]string{"at u=hunter2hunter2:80": "at REDACTED:80"}},
		{"the body", "{http.request.body}:80", secret + ":80", map[string]string{"at hunter2hunter2:80": "at REDACTED:80", "lookup hunter2hunter2: x": "lookup REDACTED: x"}},
		{"the client's address", "{http.request.remote.host}:80", "203.0.113.9:80", map[string]string{"at 203.0.113.9:80": "at REDACTED:80"}},
		{"host, variable", "{http.request.host}.{http.vars.x}:80", "app.example.app.example:80", map[string]string{"at app.example.app.example:80": "at app.example.app.example:80"}},
		{"an address in another form", "{http.request.uri.query.mapped}:80", "[::ffff:203.0.113.9]:80", map[string]string{"connect 203.0.113.9:80: ECONNREFUSED": "connect REDACTED:80: ECONNREFUSED"}},
		{"in capitals or not", "{http.request.uri.query.u}:80", secret + ":80", map[string]string{"lookup Hunter2HUNTER2: no such host": "lookup REDACTED: no such host"}},
		{"a network", "{http.request.uri.query.network}", "", map[string]string{
			"dial hunter2: unknown network hunter2":                       "dial REDACTED: unknown network REDACTED",
			"dial ip:hunter2: address hunter2: unknown IP protocol":       "dial ip:REDACTED: address REDACTED: unknown IP protocol",
			"upstream x: invalid dial address HUNTER2/x: invalid port: 9": "upstream x: invalid dial address REDACTED",
			"dial tcp 10.0.0.7:80: connect: connection refused":           "dial tcp 10.0.0.7:80: connect: connection refused",
		}},
		{"a port", "10.0.0.7:{http.request.uri.query.u}", "", map[string]string{
			"upstream 10.0.0.7:{u}: invalid dial address 10.0.0.7:hunter2hunter2: x": "upstream 10.0.0.7:{u}: invalid dial address REDACTED",
			"dial 10.0.0.7:hunter2hunter2":                                           "dial REDACTED",
		}},
		{"a network of one letter", "{http.request.uri.query.slash}", "", map[string]string{"dial n: unknown network n": "dial REDACTED: unknown network REDACTED"}},
		{"no value", "{http.request.uri.query.empty}:80", ":80", map[string]string{"dial tcp :80: connection refused": "dial tcp :80: connection refused"}},
		{"no placeholder", "app:80", "app:80", map[string]string{"at app:80": "at app:80"}},
		{"no end", "{http.request.uri.query.u", "{http.request.uri.query.u", map[string]string{"at hunter2hunter2": "at hunter2hunter2"}},
		{"nothing", "", "", map[string]string{"hunter2hunter2": "hunter2hunter2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules, r := New([]string{"kept"}, []string{"X-Kept", "X-Token"}, ClientIPMasked), httptest.NewRequest("GET", "/", nil)
			kept := rules.Request(r, "")
			sent := rules.Sent(func() Came { return Came{Request: r, Kept: &kept} }, func(name string) string {
				if strings.HasPrefix(name, "http.request.body") {
					t.Error("the body was asked for")
				}
				return values[name]
			})
			sent.Add(test.upstream, "tcp", test.address)
			for said, want := range test.texts {
				f := &failure.Failure{
					Upstream: test.upstream, Summary: said, Advice: said, Error: said, Evidence: []string{said},
					Attempts: []failure.Attempt{{Upstream: test.upstream, Address: said, LocalAddress: said, Error: said}},
					Received: &failure.Received{Via: said}, Unavailable: []failure.Unavailable{{Upstream: said}},
				}
				sent.TakeOutOf(f)
				for field, got := range map[string]string{
					"summary": f.Summary, "advice": f.Advice, "error": f.Error, "evidence": f.Evidence[0],
					"address": f.Attempts[0].Address, "local address": f.Attempts[0].LocalAddress, "attempt's error": f.Attempts[0].Error,
					"via": f.Received.Via, "unavailable": f.Unavailable[0].Upstream,
				} {
					if got != want {
						t.Errorf("%s: %q is kept as %q, want %q", field, said, got, want)
					}
				}
				if f.Upstream != test.upstream || f.Attempts[0].Upstream != test.upstream {
					t.Errorf("the upstream became %q", f.Upstream)
				}
			}
		})
	}
}

// What the client sent is found in an address whatever way it came there; what a record
// shows anyway, and what is the owner's own, is left.
func TestMadeOfWhatTheClientSent(t *testing.T) {
	const secret = "hunter2hunter2"
	const browsers = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for _, test := range []struct {
		name, upstream, value, address string // value of the placeholder
		uri                            string
		fields                         []string
		taken                          bool
	}{
		{"a query", "{tgt}", secret + ".invalid:80", "", "/?t=" + secret, nil, true},
		{"in capitals", "{tgt}", strings.ToUpper(secret) + ".invalid:80", "", "/?t=" + secret, nil, true},
		{"in a part of a word", "{tgt}", "x" + secret + "x.invalid:80", "", "/?t=" + secret, nil, true},
		{"a part of it", "{tgt}", "hunter2.invalid:80", "", "/?t=" + secret, nil, true},
		{"encoded", "{tgt}", "two.words.invalid:80", "", "/?t=two%2ewords", nil, true},
		{"a query that is kept", "{tgt}", secret + ".invalid:80", "", "/?kept=" + secret, nil, false},
		{"a query that is kept, encoded", "{tgt}", "tenant-blue.invalid:80", "", "/?kept=tenant%2dblue", nil, false},
		{"a bare key", "{tgt}", secret + ".invalid:80", "", "/?" + secret, nil, true},
		{"a cookie", "{tgt}", secret + ".invalid:80", "", "/", []string{"Cookie", "a=1; t=" + secret}, true},
		{"a field", "{tgt}", secret + ".invalid:80", "", "/", []string{"X-Up", secret}, true},
		{"a field that is kept", "{tgt}", secret + ".invalid:80", "", "/", []string{"X-Kept", secret}, false},
		{"a credential that is named", "{tgt}", secret + ".invalid:80", "", "/", []string{"X-Token", secret}, true},
		{"a user", "{tgt}", "alice.invalid:80", "", "/", []string{"Authorization", "Basic YWxpY2U6aHVudGVyMg=="}, true},
		{"a password", "{tgt}", "hunter2.invalid:80", "", "/", []string{"Authorization", "Basic YWxpY2U6aHVudGVyMg=="}, true},
		{"a path's parameter", "{tgt}", "a;jsessionid=" + secret + ":80", "", "/md/a;jsessionid=" + secret, nil, true},
		{"a path", "{tgt}", secret + ".invalid:80", "", "/md/" + secret, nil, false},
		{"the client's address", "{tgt}", "203.0.113.9:80", "", "/", nil, true},
		{"the peer's", "{tgt}", "198.51.100.7:80", "", "/", nil, true},
		{"the host", "{tgt}", "app.example.org.internal:80", "", "/", []string{"Referer", "https://app.example.org/x", "Origin", "https://app.example.org"}, false},
		{"a backend", "{tgt}", "backend-1.internal:8080", "", "/?t=" + secret, []string{"Cookie", "t=" + secret, "Accept", browsers}, false},
		{"a backend with a browser's word", "{tgt}", "image-html.internal:80", "", "/", []string{"Accept", browsers, "Sec-Fetch-Dest", "image"}, false},
		{"a word of the config", "{tgt}.internal:80", "backend", "", "/?q=internal", nil, false},
		{"a port", "{tgt}", "backend:8080", "", "/?t=8080", nil, false},
		{"a port alone", "127.0.0.1:{tgt}", "54321", "", "/?t=54321", nil, true},
		{"short words", "{tgt}", "a.bc.def:80", "", "/?t=a&u=bc&v=def", nil, false},
		{"a network", "{tgt}", secret + "/x", "", "/?t=" + secret, nil, true},
		{"dialled, and another by now", "{tgt}:80", "other", secret + ":80", "/?t=" + secret, nil, true},
		{"the owner's", "{env.HOST}:80", secret, secret + ":80", "/?t=" + secret, nil, false},
		{"no placeholder", secret + ":80", "", secret + ":80", "/?t=" + secret, nil, false},
		{"not known", "", "", secret + ":80", "/?t=" + secret, nil, true},
		{"an address of version 6", "{tgt}", "[2001:db8:cafe::7]:80", "", "/?t=2001:db8:cafe::7", nil, true},
		{"one with a number in it that was sent", "{tgt}", "[2001:db8:cafe::7]:80", "", "/?t=cafe-2001", nil, false},
		{"one in another form", "{tgt}", "[::ffff:203.0.113.77]:80", "", "/?t=203.0.113.77", nil, true},
		{"not known, and not sent", "", "", "backend:80", "/?t=" + secret, nil, false},
		{"more than is looked at", "{tgt}", "backend.internal:80", "", "/", []string{"Cookie", strings.Repeat("x", maxSentBytes)}, true},
		{"longer than a host can be", "{tgt}", strings.Repeat("backend.", 100), "", "/", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules, r := New([]string{"kept"}, []string{"X-Kept", "X-Token"}, ClientIPMasked), httptest.NewRequest("GET", test.uri, nil)
			r.Host, r.RemoteAddr = "app.example.org", "198.51.100.7:1"
			for field := range slices.Chunk(test.fields, 2) {
				r.Header.Set(field[0], field[1])
			}
			kept := rules.Request(r, "203.0.113.9")
			sent := rules.Sent(func() Came { return Came{Request: r, Fields: r.Header, ClientIP: "203.0.113.9", Kept: &kept} }, func(string) string { return test.value })
			if test.upstream == "" {
				sent.AddUnknown(test.address)
			}
			sent.Add(test.upstream, "tcp", test.address)
			led := strings.ReplaceAll(strings.ReplaceAll(test.upstream, "{tgt}", test.value), "{env.HOST}", test.value)
			if test.address != "" {
				led = test.address
			}
			f := &failure.Failure{Error: "at " + led + " it failed"}
			sent.TakeOutOf(f)
			if taken := f.Error != "at "+led+" it failed"; taken != test.taken || taken && f.Error != "at REDACTED it failed" && f.Error != "at REDACTED:80 it failed" && f.Error != "at REDACTED/x it failed" {
				t.Errorf("%s is kept as %q", led, f.Error)
			}
		})
	}
}

// However much a client sends, finding it again takes no time.
func BenchmarkSent(b *testing.B) {
	rules, r := New(nil, nil, ClientIPFull), httptest.NewRequest("GET", "/", nil)
	for i := range 400 {
		r.Header.Add("Cookie", strings.Repeat("a", 70)+strconv.Itoa(i))
	}
	kept := rules.Request(r, "")
	for b.Loop() {
		sent := rules.Sent(func() Came { return Came{Request: r, Fields: r.Header, Kept: &kept} }, func(string) string { return "backend.internal:80" })
		for i := range 16 {
			sent.Add("{tgt}", "tcp", strings.Repeat("aab.", 100)+strconv.Itoa(i)+":80")
		}
	}
}
