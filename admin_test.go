package diagnostics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/operator"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// adminCaddy starts a Caddy with two kinds of failures: of /down two, of /cut one, and
// one that the upstream itself answered.
func adminCaddy(t *testing.T) *testcaddy.Caddy {
	t.Helper()
	c := testcaddy.StartWith(t, "upstream_diagnostics {\nkeep 20 1h\ninstance edge-1\n}", `
		upstream_diagnostics {
			site shop
		}
		reverse_proxy /down `+testcaddy.Dead(t)+`
		reverse_proxy /cut `+testcaddy.Cutting(t)+`
		reverse_proxy `+testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	for _, path := range []string{"/down", "/cut", "/own", "/down"} {
		if a := c.Visit(path); a.Header.Get("Server") != "Caddy" && a.Header.Get("Via") == "" && a.Header.Get("Upstream-Failure-Id") == "" {
			t.Fatalf("somebody else answered: %+v", a)
		}
	}
	return c
}

func TestAdminOverview(t *testing.T) {
	c := adminCaddy(t)
	var o failure.Overview
	if status := c.AdminGet("/upstream_diagnostics", &o); status != 200 {
		t.Fatalf("status %d", status)
	}
	if o.Counts[failure.Failed] != 3 || o.Counts[failure.UpstreamAnswered] != 1 || len(o.Counts) != len(failure.Outcomes) {
		t.Errorf("counts %v", o.Counts)
	}
	if o.KeptCount != 4 || o.Keep != 20 || o.KeepForS != 3600 || o.Since.IsZero() || o.Oldest == nil {
		t.Errorf("got %+v", o)
	}
	if got := c.AdminDo("GET", "/"); got.Status != 200 {
		t.Errorf("with a slash: %d", got.Status)
	}
}

func TestAdminFailures(t *testing.T) {
	c := adminCaddy(t)
	all := c.Failures()
	if len(all) != 4 {
		t.Fatalf("%d failures", len(all))
	}
	upstreamOfCut := all[2].Upstream
	for _, test := range []struct {
		query string
		want  int
	}{
		{"", 4},
		{"cause=connection_refused", 2},
		{"cause=connection_refused,closed_before_response", 3},
		{"cause=connection_refused&outcome=rescued", 0},
		{"site=shop", 4}, {"site=other", 0},
		{"upstream=" + upstreamOfCut, 1},
		{"category=unavailable", 2},
		{"category=error_response", 1},
		{"proxy_error=connection_refused", 2},
		{"phase=wait", 1},
		{"side=upstream", 4}, {"side=client", 0},
		{"outcome=upstream_answered", 1},
		{"status=503", 1}, {"status=502,503", 4},
		{"host=127.0.0.1:" + strconv.Itoa(c.Port), 4}, {"host=127.0.0.1", 4}, {"host=127.0.0.1:1", 0}, {"host=example.com", 0},
		{"id=" + all[0].ID + "," + all[1].ID, 2},
		{"incident=" + all[0].Incident, 2}, {"incident=" + all[1].Incident + "," + all[2].Incident, 2}, {"incident=none", 0},
		{"instance=edge-1", 4}, {"instance=*", 4}, {"instance=edge-2", 0},
		{"since=15m", 4}, {"until=15m", 0}, {"since=2026-01-01T00:00:00Z", 4},
		{"limit=3", 3},
	} {
		var page failure.FailurePage
		if status := c.AdminGet("/upstream_diagnostics/failures?"+test.query, &page); status != 200 || len(page.Failures) != test.want {
			t.Errorf("%s: %d, %d failures, want %d", test.query, status, len(page.Failures), test.want)
		}
	}
	if got := c.AdminDo("GET", "/failures?cause=goaway"); !strings.HasPrefix(got.Body, `{"failures":[]`) {
		t.Errorf("a list that holds nothing is %s", got.Body)
	}
}

// A failure is found by whatever failed in it or could not be selected, by the name that is
// configured and by the address: also one behind a name that is looked up, and a socket.
func TestAdminUpstreamFilter(t *testing.T) {
	first, second, lookedUp := testcaddy.Dead(t), testcaddy.Dead(t), testcaddy.Dead(t)
	socket := filepath.Join(t.TempDir(), "none.sock")
	_, port, _ := strings.Cut(lookedUp, ":")
	c := testcaddy.Start(t, `upstream_diagnostics
reverse_proxy /pool `+first+" "+second+` {
	lb_policy round_robin
	lb_retries 1
	fail_duration 1m
}
reverse_proxy /dynamic {
	dynamic a {
		name localhost
		port `+port+`
		versions ipv4
	}
	fail_duration 1m
}
reverse_proxy /socket unix/`+socket+`
reverse_proxy `+testcaddy.Good(t))
	for _, path := range []string{"/pool", "/pool?nobody", "/dynamic", "/dynamic?nobody", "/socket", "/"} {
		c.Get(path)
	}
	for upstream, want := range map[string]string{
		first:                   "/pool?REDACTED /pool",
		second:                  "/pool?REDACTED /pool",
		lookedUp:                "/dynamic?REDACTED /dynamic",
		"a localhost:" + port:   "/dynamic?REDACTED /dynamic",
		"unix/" + socket:        "/socket",
		socket:                  "/socket",
		first + "," + socket:    "/socket /pool?REDACTED /pool",
		"127.0.0.1":             "",
		"unix/" + socket + "/x": "",
	} {
		var uris []string
		for _, f := range c.Failures("upstream=" + upstream) {
			uris = append(uris, f.Request.URI)
		}
		if got := strings.Join(uris, " "); got != want {
			t.Errorf("%s: got %q, want %q", upstream, got, want)
		}
	}
}

// The newest failure, by the same filters as the list.
func TestAdminLatest(t *testing.T) {
	c := adminCaddy(t)
	all := c.Failures()
	for query, want := range map[string]string{
		"":                               all[0].ID,
		"?outcome=upstream_answered":     all[1].ID,
		"?cause=closed_before_response":  all[2].ID,
		"?site=shop&host=127.0.0.1":      all[0].ID,
		"?incident=" + all[2].Incident:   all[2].ID,
		"?since=15m&upstream=not:1":      "",
		"?id=" + all[3].ID:               all[3].ID,
		"?until=2026-01-01T00:00:00.00Z": "",
	} {
		got := c.AdminDo("GET", "/failures/latest"+query)
		var f failure.Failure
		if err := json.Unmarshal([]byte(got.Body), &f); err != nil {
			t.Fatal(err)
		}
		if f.ID != want || (got.Status == 404) != (want == "") {
			t.Errorf("%s: got %d %s, want %q", query, got.Status, got.Body, want)
		}
	}
	if got := c.AdminDo("GET", "/failures/latest?format=text"); got.Status != 200 || !strings.Contains(got.Body, "What to do") {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	if got := c.AdminDo("GET", "/failures/latest?limit=1"); got.Status != 400 {
		t.Errorf("a limit: %d", got.Status)
	}
	c.Forget()
	if got := c.AdminDo("GET", "/failures/latest"); got.Status != 404 || !strings.Contains(got.Body, "no failure is kept") {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
}

// README's table has what is served, row by row. It doesn't repeat parameters that a row
// before has.
func TestReadmeNamesAllRequests(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	var named []string
	for _, r := range operator.Requests {
		row := "| `" + r.Method + " " + strings.TrimSuffix(adminPath+r.Path, "/") + "` | " + r.Answer
		if slices.ContainsFunc(r.Parameters, func(name string) bool { return !slices.Contains(named, name) }) {
			row += "; parameters `" + strings.Join(r.Parameters, "` `") + "`"
			named = r.Parameters
		}
		want.WriteString(row + " |\n")
	}
	_, table, _ := strings.Cut(string(readme), "| request | answer |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if table+"\n" != want.String() {
		t.Errorf("its table is\n%s\n\nwant\n%s", table, &want)
	}
}

// Cursors lead back through all failures, and forward to those that came since.
func TestAdminCursors(t *testing.T) {
	c := adminCaddy(t)
	var seen []string
	newest := ""
	for before := ""; ; {
		var page failure.FailurePage
		c.AdminGet("/upstream_diagnostics/failures?limit=1&before="+before, &page)
		for _, f := range page.Failures {
			seen = append(seen, f.Request.URI)
		}
		if before == "" {
			newest = page.Newest
		}
		if before = page.Next; before == "" {
			break
		}
		if len(seen) > 10 {
			t.Fatal("the cursors lead nowhere")
		}
	}
	if got := strings.Join(seen, " "); got != "/down /own /cut /down" {
		t.Errorf("page by page: %s", got)
	}
	poll := func() string {
		var page failure.FailurePage
		c.AdminGet("/upstream_diagnostics/failures?after="+newest, &page)
		newest = page.Newest
		var paths []string
		for _, f := range page.Failures {
			paths = append(paths, f.Request.URI)
		}
		return strings.Join(paths, " ")
	}
	if got := poll(); got != "" {
		t.Errorf("new without a failure: %s", got)
	}
	c.Get("/cut?new")
	c.Get("/down")
	if got := poll(); got != "/down /cut?REDACTED" {
		t.Errorf("new: %s", got)
	}
	c.Forget()
	c.Get("/own")
	if got := poll(); got != "/own" {
		t.Errorf("new after all was forgotten: %s", got)
	}
}

func TestAdminFailure(t *testing.T) {
	c := adminCaddy(t)
	newest := c.Failures()[0]
	var f failure.Failure
	if status := c.AdminGet("/upstream_diagnostics/failures/"+newest.ID, &f); status != 200 || f.ID != newest.ID || f.Cause != "connection_refused" {
		t.Errorf("got %d %+v", status, f)
	}
	got := c.AdminDo("GET", "/failures/"+newest.ID)
	if strings.Contains(got.Body, "null") || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v %s", got.Header, got.Body)
	}
}

func TestAdminCauses(t *testing.T) {
	c := testcaddy.Start(t, "respond ok")
	var list struct {
		Causes []map[string]any `json:"causes"`
	}
	c.AdminGet("/upstream_diagnostics/causes", &list)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), fmt.Sprintf("And %d causes", len(list.Causes))) {
		t.Errorf("the README says another number than %d", len(list.Causes))
	}
	for _, row := range list.Causes {
		for _, field := range []string{"cause", "category", "summary", "advice", "rivals"} {
			if row[field] == nil || row[field] == "" {
				t.Errorf("%v has no %s", row["cause"], field)
			}
		}
	}
}

func TestAdminClear(t *testing.T) {
	c := adminCaddy(t)
	if got := c.AdminDo("DELETE", "/failures"); got.Status != 204 || got.Body != "" {
		t.Errorf("got %d %q", got.Status, got.Body)
	}
	var o failure.Overview
	c.AdminGet("/upstream_diagnostics", &o)
	if o.KeptCount != 0 || o.Counts[failure.Failed] != 3 {
		t.Errorf("got %+v: counts stay, records go", o)
	}
}

func TestAdminErrors(t *testing.T) {
	c := testcaddy.Start(t, "respond ok")
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/failures/nosuchid1", 404, ""},
		{"GET", "/nothing", 404, ""},
		{"GET", "/failures/latest", 404, ""},
		{"GET", "/failures/latest?before=yesterday", 400, ""},
		{"POST", "/failures/latest", 405, "GET, HEAD"},
		{"GET", "/incidents/nosuchincident", 404, ""},
		{"GET", "/incidents?state=broken", 400, ""},
		{"GET", "/incidents/a/b", 404, ""},
		{"GET", "/failures?before=yesterday", 400, ""},
		{"GET", "/failures?after=k3f9qw2ax", 400, ""},
		{"GET", "/failures/a/b", 404, ""},
		{"GET", "/failures?cause=conection_refused", 400, ""},
		{"GET", "/failures?colour=red", 400, ""},
		{"GET", "/failures?limit=1001", 400, ""},
		{"GET", "/failures?limit=0", 400, ""},
		{"GET", "/failures?status=abc", 400, ""},
		{"GET", "/failures?since=yesterday", 400, ""},
		{"GET", "/failures?before=!", 400, ""},
		{"GET", "/failures?phase=dial", 400, ""},
		{"GET", "/failures?%zz", 400, ""},
		{"GET", "/failures?format=xml", 400, ""},
		{"GET", "/causes?limit=1", 400, ""},
		{"DELETE", "/failures?site=shop", 400, ""},
		{"POST", "/failures", 405, "GET, HEAD, DELETE"},
		{"DELETE", "/failures/k3f9qw2ax", 405, "GET, HEAD"},
		{"DELETE", "/causes", 405, "GET, HEAD"},
		{"PUT", "", 405, "GET, HEAD"},
	} {
		got := c.AdminDo(test.method, test.path)
		var told map[string]string
		if err := json.Unmarshal([]byte(got.Body), &told); err != nil || len(told) != 1 || told["error"] == "" {
			t.Errorf("%s %s: %v %s", test.method, test.path, err, got.Body)
		}
		if got.Status != test.status || got.Header.Get("Allow") != test.allow || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d, Allow %q, want %d, %q", test.method, test.path, got.Status, got.Header.Get("Allow"), test.status, test.allow)
		}
	}
}

func TestAdminText(t *testing.T) {
	c := adminCaddy(t)
	id := c.Failures()[0].ID
	for path, want := range map[string]string{
		"":                "Kept: 4 of at most 20, each for 1h",
		"/failures":       "connection_refused",
		"/failures/" + id: "What to do",
		"/causes":         "CAUSE",
	} {
		for _, asked := range []struct{ query, accept string }{
			{"?format=text", "*/*"},       // curl …?format=text
			{"", "text/plain"},            // curl -H 'Accept: text/plain'
			{"", "text/plain, */*;q=0.1"}, //
			{"?format=text", "text/html"}, // named beats asked
			{"?format=text", "application/json"},
		} {
			got := c.AdminDo("GET", path+asked.query, "Accept: "+asked.accept)
			if got.Status != 200 || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") || !strings.Contains(got.Body, want) {
				t.Errorf("%s%s, Accept %s: %d %v\n%s", path, asked.query, asked.accept, got.Status, got.Header, got.Body)
			}
		}
		// What curl sends by itself.
		if got := c.AdminDo("GET", path, "Accept: */*"); got.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(got.Body)) {
			t.Errorf("%s: %v", path, got.Header)
		}
		if got := c.AdminDo("HEAD", path); got.Status != 200 || got.Body != "" || got.Header.Get("Content-Length") == "0" {
			t.Errorf("HEAD %s: %d %v", path, got.Status, got.Header)
		}
	}
}

// Caddy lets no browser at its admin endpoint, ours included.
func TestAdminRefusesBrowsers(t *testing.T) {
	c := testcaddy.Start(t, "respond ok")
	for _, test := range []struct {
		status int
		fields []string
	}{
		{403, []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none"}},
		{403, []string{"Sec-Fetch-Mode: cors", "Origin: http://evil.example"}},
		{400, []string{"Sec-Fetch-Mode: no-cors"}},
	} {
		if got := c.AdminDo("GET", "/failures", test.fields...); got.Status != test.status || strings.Contains(got.Body, "failures") {
			t.Errorf("%v: %d %s", test.fields, got.Status, got.Body)
		}
	}
	if got := c.AdminDo("GET", "/failures"); got.Status != 200 {
		t.Errorf("without: %d", got.Status)
	}
}
