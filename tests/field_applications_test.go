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
				words = []string{"took a request of its own site for another site's", "its 403 has Sec-WebSocket-Version", "header_up Host {hostport}", "request_sent yes"}
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

// gunicorn refuses what says by one field that the visitor came by https, and by another one
// that not (benoitc/gunicorn#1857, TandoorRecipes/recipes#4187).
func TestFieldsThatContradictEachOther(t *testing.T) {
	secure := map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Protocol": "ssl", "X-Forwarded-Ssl": "on"}
	gunicorn := func(add string) string {
		return testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if add != "" { // by a server in front of the application
				r.Header.Add(add, "on")
			}
			said := make(map[bool]bool)
			for field, value := range secure {
				for _, got := range r.Header.Values(field) {
					said[got == value] = true
				}
			}
			if len(said) == 2 {
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, "<html>\n  <head>\n    <title>Bad Request</title>\n  </head>\n  <body>\n    <h1><p>Bad Request</p></h1>\n    Contradictory scheme headers\n  </body>\n</html>\n")
			}
		})
	}
	for _, test := range []struct {
		name, block, add string
		fields           []string
		status           int
		want             string
		words            []string
	}{
		{"TLS ends before Caddy", "", "", []string{"X-Forwarded-Proto: https", "X-Forwarded-Ssl: on"}, 400, ofTheProxy, []string{
			`X-Forwarded-Proto "http" was sent to it`, `X-Forwarded-Ssl "on" was sent to it`, "set trusted_proxies", "header_up -X-Forwarded-Ssl", "request_sent no",
		}},
		{"trusted, as the advice says", "trusted_proxies 127.0.0.1/32", "", []string{"X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-For: 192.0.2.7"}, 200, "", nil},
		{"taken away, as the advice says", "header_up -X-Forwarded-Ssl", "", []string{"X-Forwarded-Ssl: on"}, 200, "", nil},
		{"the config's own", "header_up X-Forwarded-Proto https\nheader_up X-Forwarded-Protocol https", "", nil, 400, ofTheProxy, []string{
			`X-Forwarded-Protocol "https" was sent to it`, "Take X-Forwarded-Protocol away", "X-Forwarded-Proto says it alone",
		}},
		{"sent twice", "header_up +X-Forwarded-Proto https", "", nil, 400, ofTheProxy, []string{`X-Forwarded-Proto "http" was sent to it`, `X-Forwarded-Proto "https" was sent to it`, "sent once"}},
		{"one in between that undoes it", "header_up X-Forwarded-Proto https\nheader_up X-Forwarded-Ssl on", "X-Forwarded-Protocol", nil, 400, "upstream_status upstream_answered headers upstream", []string{"does not contradict itself"}},
		{"one in between", "", "X-Forwarded-Ssl", nil, 400, "upstream_status upstream_answered headers upstream", []string{"what stands between Caddy and the application", "secure_scheme_headers"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+gunicorn(test.add)+" {\n"+test.block+"\n}")
			if a := c.Get("/", test.fields...); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			c.Idle()
			wantRecord(t, c, test.want, test.words...)
		})
	}
}

// Home Assistant refuses whatever a proxy asks that it does not trust, without a word in its
// answer (home-assistant/core#63083, hassio-addons/app-nginx-proxy-manager#633).
func TestHomeAssistantDoesNotTrustTheProxy(t *testing.T) {
	const aiohttp = "Python/3.13 aiohttp/3.12.15"
	for _, test := range []struct {
		name, server, says, method, path, block string
		status                                  int
		want                                    string
	}{
		{"Home Assistant", aiohttp, "400: Bad Request", "GET", "/", "", 400, "upstream_status upstream_answered headers upstream"},
		{"not as by a proxy", aiohttp, "400: Bad Request", "GET", "/", "header_up -X-Forwarded-For", 200, ""},
		{"what an application may refuse", aiohttp, "400: Bad Request", "GET", "/?page=x", "", 400, ""},
		{"a page below", aiohttp, "400: Bad Request", "GET", "/api", "", 400, ""},
		{"a body", aiohttp, "400: Bad Request", "POST", "/", "", 400, ""},
		{"a reason", aiohttp, "400: Bad Request: no token", "GET", "/", "", 400, ""},
		{"another server", "gunicorn", "400: Bad Request", "GET", "/", "", 400, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			app := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Server", test.server)
				if r.Header.Get("X-Forwarded-For") != "" {
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, test.says)
				}
			})
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+app+" {\n"+test.block+"\n}")
			if a := c.Do(test.method, test.path, nil); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			c.Idle()
			var words []string
			if test.want != "" {
				words = []string{"refused with 400 even the site's first page", aiohttp, "trusted_proxies", "use_x_forwarded_for: true", "its own log says why"}
			}
			wantRecord(t, c, test.want, words...)
		})
	}
}
