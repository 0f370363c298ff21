package diagnostics

import (
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// What a page of another site makes a browser ask gets what everybody gets.
func TestForeignOrigin(t *testing.T) {
	c := testcaddy.Start(t, "header >Access-Control-Allow-Origin *\n@key header X-Key right\nupstream_diagnostics {\ndetails @key\nproxy_status_name edge\n}\nrequest_header -Origin\nreverse_proxy "+testcaddy.Dead(t))
	for _, test := range []struct {
		name   string
		fields []string
		shown  bool
	}{
		{"none", nil, true},
		{"its own", []string{"Origin: " + c.URL}, true},
		{"its own, behind something that ended TLS", []string{"Host: 127.0.0.1", "Origin: https://127.0.0.1"}, true},
		{"another", []string{"Origin: https://evil.example"}, false},
		{"another port", []string{"Origin: http://127.0.0.1"}, false},
		{"null", []string{"Origin: null"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := c.Get("/", append([]string{"X-Key: right", "Accept: application/json"}, test.fields...)...)
			shown := strings.Contains(a.Body, "connection_refused")
			if a.Status != 502 || shown != test.shown || strings.Contains(a.Header.Get("Proxy-Status"), "next-hop") != test.shown {
				t.Errorf("got %d %v %s", a.Status, a.Header, a.Body)
			}
			if allowed := a.Header.Get("Access-Control-Allow-Origin") != ""; allowed == shown {
				t.Errorf("got %v", a.Header)
			}
		})
	}
}

func TestOrigin(t *testing.T) {
	for _, test := range []struct {
		host, origin string
		tls, foreign bool
	}{
		{"example.com", "https://example.com", true, false},
		{"example.com", "http://example.com", true, true},
		{"example.com", "http://example.com", false, false},
		{"example.com", "https://example.com", false, false},
		{"EXAMPLE.com", "https://example.COM", true, false},
		{"example.com:443", "https://example.com", true, false},
		{"example.com", "https://example.com:443", true, false},
		{"example.com:8443", "https://example.com:8443", true, false},
		{"example.com:8443", "https://example.com", true, true},
		{"example.com", "https://example.com:80", true, true},
		{"example.com", "https://www.example.com", true, true},
		{"example.com", "https://example.com.evil.example", true, true},
		{"example.com", "https://example.com@evil.example", true, true},
		{"example.com", "https://evil.example/example.com", true, true},
		{"[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true, false},
		{"[2001:db8::1]", "https://[2001:db8::2]", true, true},
		{"example.com", "chrome-extension://example.com", false, true},
		{"example.com", "https://", true, true},
		{"example.com", "example.com", true, true},
		{"example.com", "https://example.com:x", true, true},
		{"example.com", "", true, true},
		{"", "null", false, true},
	} {
		if got := (origin{origin: test.origin, count: 1, host: test.host, tls: test.tls}).foreign(); got != test.foreign {
			t.Errorf("%q at %q, TLS %v: foreign %v", test.origin, test.host, test.tls, got)
		}
	}
	if !(origin{origin: "https://example.com", count: 2, host: "example.com", tls: true}).foreign() {
		t.Error("two of them are taken")
	}
	// Without, a browser still says whose page makes it ask, and for what.
	for _, test := range []struct {
		method, site, mode, dest string
		foreign                  bool
	}{
		{"GET", "", "", "", false}, // no browser
		{"GET", "none", "navigate", "document", false},
		{"GET", "same-origin", "no-cors", "script", false},
		{"GET", "cross-site", "navigate", "document", false}, // a link
		{"HEAD", "cross-site", "navigate", "document", false},
		{"POST", "cross-site", "navigate", "document", true}, // a form, without its Origin
		{"POST", "same-site", "navigate", "document", true},
		{"POST", "same-origin", "navigate", "document", false},
		{"GET", "cross-site", "navigate", "iframe", true},
		{"GET", "same-site", "navigate", "frame", true},
		{"GET", "cross-site", "no-cors", "script", true},
		{"GET", "cross-site", "no-cors", "image", true},
		{"GET", "same-site", "cors", "empty", true},
	} {
		if got := (origin{method: test.method, site: test.site, mode: test.mode, dest: test.dest}).foreign(); got != test.foreign {
			t.Errorf("%+v: foreign %v", test, got)
		}
	}
}
