package redact

import (
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
		{"no value", "{http.request.uri.query.empty}:80", ":80", map[string]string{"dial tcp :80: connection refused": "dial tcp :80: connection refused"}},
		{"no placeholder", "app:80", "app:80", map[string]string{"at app:80": "at app:80"}},
		{"no end", "{http.request.uri.query.u", "{http.request.uri.query.u", map[string]string{"at hunter2hunter2": "at hunter2hunter2"}},
		{"nothing", "", "", map[string]string{"hunter2hunter2": "hunter2hunter2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sent Sent
			sent.Add(New([]string{"kept"}, []string{"X-Kept", "X-Token"}, ClientIPMasked), test.upstream, test.address, func(name string) string {
				if strings.HasPrefix(name, "http.request.body") {
					t.Error("the body was asked for")
				}
				return values[name]
			})
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
