package tests

import (
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// What people wrote where an upstream's host belongs, and is none: nothing has to be created at
// a resolver then.
func TestReportsOfHostsThatAreNone(t *testing.T) {
	knowsNothing := "{\ntransport http {\nresolvers " + resolver(t) + "\n}\n}"
	for _, test := range []struct {
		name, to string
		words    []string
		not      string
	}{
		{
			name: "srv+ before a service's name (caddyserver/caddy#7128)", to: "srv+_router._tcp.service.test",
			words: []string{"named like a service (SRV)", "Write dynamic srv _router._tcp.service.test in reverse_proxy", "no syntax of Caddy's"}, not: "create the name",
		},
		{
			name: "a service's name alone (Kong/kong#2964)", to: "_http._tcp.app.test:8080 " + knowsNothing,
			words: []string{"named like a service (SRV)", "Write dynamic srv _http._tcp.app.test in reverse_proxy", "only its addresses are asked for"}, not: "syntax",
		},
		{
			name: "a number that no address has", to: "192.168.1.300:8080",
			words: []string{"neither an address nor a name", "four numbers from 0 to 255"}, not: "create the name",
		},
		{
			name: "a number with a 0 in front", to: "127.0.0.08:8080",
			words: []string{"neither an address nor a name", "none with a 0 in front (10, not 010)"}, not: "create the name",
		},
		{
			name: "an IPv6 address that is none", to: "[2001:db8::zz]:8080",
			words: []string{"neither an address nor a name", "it is no IPv6 address"}, not: "create the name",
		},
		{
			name: "a dash out of a text", to: "my\u2013app.test:8080",
			words: []string{"a character in it that no name has", `no name has a "\u2013" in it`}, not: "xn--",
		},
		{
			name: "a name in letters that DNS does not have", to: "bücher.test:8080",
			words: []string{"a character in it that no name has", "(xn--)"}, not: "create the name",
		},
		{
			name: "a sign that no name has", to: "app+1.test:8080",
			words: []string{"a character in it that no name has", `no name has a "+" in it`}, not: "xn--",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+test.to)
			if a := c.Get("/"); a.Status != 502 {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			wantRecord(t, c, "dns_name_not_found failed dns proxy", append(test.words, "request_sent no")...)
			wantWithout(t, c, test.not)
		})
	}
}
