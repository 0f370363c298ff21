package diagnostics

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// aliceHash is that of Alice's password, "secret", as cheap as bcrypt allows.
const aliceHash = "$2a$04$/4iQZAqRueUhvyBLuQVxZ..QqZqH5nysIKw7BMxfpmfLGLd7NOPiS"

// dashboardCaddy has a dashboard at /ops that asks who one is, one at /open that doesn't
// and lets records be forgotten, and one failure of /down.
func dashboardCaddy(t *testing.T) *testcaddy.Caddy {
	t.Helper()
	c := testcaddy.Start(t, `
		handle_path /ops* {
			basic_auth {
				alice `+aliceHash+`
			}
			upstream_dashboard
		}
		handle_path /closed* {
			upstream_dashboard
		}
		handle_path /open* {
			upstream_dashboard {
				no_auth
				allow_clear
				allow_probe
			}
		}
		handle {
			upstream_diagnostics
			reverse_proxy `+testcaddy.Dead(t)+`
		}`)
	c.Visit("/down")
	return c
}

const (
	html = "Accept: text/html,*/*;q=0.8"
	// asAlice is what a browser sends once it was asked for her password.
	asAlice = "Authorization: Basic YWxpY2U6c2VjcmV0"
)

// Nobody is let in whom nothing in front has let in.
func TestDashboardFailsClosed(t *testing.T) {
	c := dashboardCaddy(t)
	for _, path := range []string{"/closed", "/closed/", "/closed/failures", "/closed/causes", "/closed/nowhere", "/closed/forget"} {
		for _, test := range []struct{ accept, contentType, says string }{
			{"text/html", "text/html; charset=utf-8", "<code>basic_auth</code>"},
			{"application/json", "application/json", `{"error":"nobody has authenticated this request`},
			{"text/plain", "text/plain; charset=utf-8", "no_auth"},
			{"*/*", "application/json", "basic_auth"},
		} {
			a := c.Get(path, "Accept: "+test.accept, asAlice) // nobody has checked what she says
			if a.Status != 403 || a.Header.Get("Content-Type") != test.contentType || !strings.Contains(a.Body, test.says) || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s as %s: %d %s %.120s", path, test.accept, a.Status, a.Header.Get("Content-Type"), a.Body)
			}
			if strings.Contains(a.Body, "connection_refused") || strings.Contains(a.Body, "127.0.0.1") {
				t.Errorf("%s tells a stranger: %s", path, a.Body)
			}
		}
	}
	if a := c.Get("/ops/", html); a.Status != 401 {
		t.Errorf("without a password: %d", a.Status)
	}
	if a := c.Get("/ops/", html, asAlice); a.Status != 200 || !strings.Contains(a.Body, "1 thing is broken") {
		t.Errorf("with one: %d %.200s", a.Status, a.Body)
	}
}

// Wherever it is mounted, with a slash behind it or without, its links lead to its pages.
func TestDashboardMounted(t *testing.T) {
	c := dashboardCaddy(t)
	for path, link := range map[string]string{
		"/open": `href="./failures"`, "/open/": `href="./failures"`, "/open/failures": `href="./upstreams"`, "/open/failures/latest": `href="../upstreams"`,
	} {
		if a := c.Get(path, html); a.Status != 200 || !strings.Contains(a.Body, link) {
			t.Errorf("%s: %d, no %s", path, a.Status, link)
		}
	}
	r, err := http.NewRequest(http.MethodGet, c.URL+"/open?x=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	res, err := testcaddy.Client.Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Location"); res.StatusCode != 307 || got != "./open/?x=1" {
		t.Errorf("without a slash: %d to %q", res.StatusCode, got)
	}
}

// What clients sent is never run, though Caddy's order has templates in front.
func TestDashboardBehindTemplates(t *testing.T) {
	c := testcaddy.Start(t, `
		templates
		handle_path /ops* {
			upstream_dashboard {
				no_auth
			}
		}
		handle_path /closed* {
			upstream_dashboard
		}
		handle {
			upstream_diagnostics
			reverse_proxy `+testcaddy.Dead(t)+`
		}`)
	c.Get("/down", "User-Agent: {{ `run` | upper }}")
	for _, path := range []string{"/ops/", "/ops/failures/" + c.Failure().ID, "/ops/failures/latest?format=text", "/ops/failures"} {
		a := c.Get(path, html)
		if a.Status != 500 || strings.Contains(a.Body, "RUN") || !strings.Contains(a.Body, "such as templates") || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", path, a.Status, a.Header, a.Body)
		}
	}
	if a := c.Get("/closed/", html); a.Status != 403 || !strings.Contains(a.Body, "<code>basic_auth</code>") {
		t.Errorf("who isn't let in is told %d %s", a.Status, a.Body)
	}
}

// It serves what the admin endpoint does.
func TestDashboardAPI(t *testing.T) {
	c := dashboardCaddy(t)
	for _, path := range []string{"/failures", "/failures?cause=connection_refused&format=text", "/failures/latest", "/incidents?state=resolved", "/causes", "/nowhere", "/failures?limit=x"} {
		here, there := c.Get("/open"+path), c.AdminDo("GET", path)
		if here.Status != there.Status || here.Body != there.Body || here.Header.Get("Content-Type") != there.Header.Get("Content-Type") {
			t.Errorf("%s: %d %.200s\nthe admin endpoint has %d %.200s", path, here.Status, here.Body, there.Status, there.Body)
		}
	}
	var page failure.FailurePage
	if err := json.Unmarshal([]byte(c.Get("/open/failures").Body), &page); err != nil || len(page.Failures) != 1 {
		t.Errorf("%v, %d failures", err, len(page.Failures))
	}
}

// No other site's page may ask, and records are forgotten only where that is allowed.
func TestDashboardOrigin(t *testing.T) {
	c := dashboardCaddy(t)
	for _, test := range []struct {
		name, method, path string
		fields             []string
		status             int
	}{
		{"another site's form", "POST", "/open/forget", []string{html, "Origin: https://evil.example"}, 403},
		{"a form of nowhere", "POST", "/open/forget", []string{html, "Origin: null"}, 403},
		{"another port's form", "POST", "/open/forget", []string{html, "Origin: http://127.0.0.1:1"}, 403},
		{"another site's form, whose Origin is taken out on the way", "POST", "/open/forget", []string{html, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{"another site's script", "GET", "/open/failures", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, 403},
		{"another site's script deletes", "DELETE", "/open/failures", []string{"Origin: https://evil.example"}, 403},
		{"a link on another site", "GET", "/open/", []string{html, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"where it isn't allowed", "DELETE", "/ops/failures", []string{asAlice}, 405},
		{"its form where it isn't allowed", "POST", "/ops/forget", []string{asAlice, "Origin: " + c.URL}, 405},
		{"a probe where it isn't allowed", "POST", "/ops/probe", []string{asAlice, "Origin: " + c.URL}, 403},
		{"another site's probe", "POST", "/open/ask", []string{html, "Origin: https://evil.example"}, 403},
		{"a probe of nobody", "POST", "/open/probe", []string{"Origin: " + c.URL}, 400},
	} {
		a := c.Do(test.method, test.path, nil, test.fields...)
		if a.Status != test.status || len(c.Failures()) != 1 {
			t.Errorf("%s: %d %.200s, %d failures are kept", test.name, a.Status, a.Body, len(c.Failures()))
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: others may read it", test.name)
		}
	}
	if a := c.Do("POST", "/open/forget", nil, html, "Origin: "+c.URL); a.Status != 200 || len(c.Failures()) != 0 {
		t.Errorf("its own form: %d, %d failures are kept", a.Status, len(c.Failures()))
	}
}

// The dashboard asks an upstream again, and its incident has what came of it.
func TestDashboardProbes(t *testing.T) {
	c := dashboardCaddy(t)
	upstream := c.Failure().Upstream
	ask := func(path, body, contentType string) testcaddy.Answer {
		return c.Do("POST", path, strings.NewReader(body), html, "Origin: "+c.URL, "Content-Type: "+contentType)
	}
	if a := ask("/open/ask", "upstream="+upstream, "application/x-www-form-urlencoded"); a.Status != 200 || !strings.Contains(a.Body, "Nothing accepts connections at "+upstream) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if i := incidentsOf(c, "")[0]; len(i.Probes) != 1 || i.Probes[0].OK || i.Count != 1 {
		t.Errorf("%+v", i)
	}
	if a := ask("/open/ask", "upstream=nobody:1", "application/x-www-form-urlencoded"); a.Status != 404 {
		t.Errorf("nobody's: %d", a.Status)
	}
}

// A dashboard alone keeps what was recorded, across a reload and without the admin endpoint.
func TestDashboardReload(t *testing.T) {
	const dashboard = "handle_path /ops* {\nupstream_dashboard {\nno_auth\n}\n}"
	c := testcaddy.StartWith(t, "admin off", dashboard+`
		upstream_diagnostics
		reverse_proxy `+testcaddy.Dead(t))
	c.Visit("/down")
	if err := c.Load("admin off", dashboard); err != nil {
		t.Fatal(err)
	}
	if a := c.Get("/ops/failures", html); a.Status != 200 || !strings.Contains(a.Body, "Nothing accepts connections") {
		t.Errorf("%d %.300s", a.Status, a.Body)
	}
}
