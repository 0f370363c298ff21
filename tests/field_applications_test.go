package tests

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

const ofTheProxy = "upstream_status upstream_answered headers proxy"

// A WebSocket that an application refuses, since its Host is not the name in its Origin.
// gorilla/websocket says no more than Forbidden (leg100/otf#772, varbhat/exatorrent#10).
func TestGorillaRefusesAnOrigin(t *testing.T) {
	upstream := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch origin := strings.TrimPrefix(r.Header.Get("Origin"), "http://"); {
		case r.URL.Path == "/secret":
			http.Error(w, "Forbidden", http.StatusForbidden)
		case origin != r.Host:
			w.Header().Set("Sec-Websocket-Version", "13")
			http.Error(w, "Forbidden", http.StatusForbidden)
		}
	})
	for _, test := range []struct {
		name, host, path, origin string // "" for the site's
		status                   int
		want                     string
	}{
		{"refused", "{upstream_hostport}", "/ws", "", 403, ofTheProxy},
		{"as the advice says", "{hostport}", "/ws", "", 200, ""},
		{"another site's", "{upstream_hostport}", "/ws", "https://evil.test", 403, ""},
		{"no WebSocket's 403", "{upstream_hostport}", "/secret", "", 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream+" {\nheader_up Host "+test.host+"\n}")
			origin := test.origin
			if origin == "" {
				origin = c.URL
			}
			if a := c.Get(test.path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Origin: "+origin); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			c.Idle()
			var words []string
			if test.want != "" {
				words = []string{"took a request of its own site for another site's", "its 403 has Sec-WebSocket-Version", "header_up Host {hostport}", "request_sent no"}
			}
			wantRecord(t, c, test.want, words...)
		})
	}
}

// Cockpit refuses the WebSocket of its own page where it does not know the site by this name
// and scheme (cockpit-project/cockpit#10707, #12890).
func TestCockpitRefusesItsOwnSite(t *testing.T) {
	const refusal = "<html><head><title>403 Forbidden</title></head>\r\n<body>Received invalid WebSocket request</body></html>\r\n"
	cockpit := func(scheme string) string {
		return testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Origin") != scheme+r.Host {
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, refusal)
			}
		})
	}
	for _, test := range []struct {
		name, scheme, host, origin string // "" for the site's
		status                     int
		want                       string
		words                      []string
	}{
		{"the upstream's address", "http://", "{upstream_hostport}", "", 403, ofTheProxy, []string{"took a request of its own site for another site's", "header_up Host {hostport}"}},
		{"as that advice says", "http://", "{hostport}", "", 200, "", nil},
		{"another scheme", "https://", "{hostport}", "", 403, "upstream_status upstream_answered headers upstream", []string{
			"Cockpit at ", "that of the site which the visitor asked for", "X-Forwarded-Proto http was sent to it", "/etc/cockpit/cockpit.conf", "ProtocolHeader", "request_sent no",
		}},
		{"another site's", "http://", "{hostport}", "https://evil.test", 403, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+cockpit(test.scheme)+" {\nheader_up Host "+test.host+"\n}")
			origin := test.origin
			if origin == "" {
				origin = c.URL
			}
			if a := c.Get("/cockpit/socket", "Connection: Upgrade", "Upgrade: websocket", "Origin: "+origin); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			c.Idle()
			wantRecord(t, c, test.want, test.words...)
		})
	}
}
