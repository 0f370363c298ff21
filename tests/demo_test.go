package tests

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// The parts of the demo's index: its rows, and in each the link that causes the fault, the
// one to its record, and the causes that it names.
var (
	demoRow    = regexp.MustCompile(`<li class="row">.*`)
	demoFault  = regexp.MustCompile(`<a class="fault" href="([^"]+)">`)
	demoRecord = regexp.MustCompile(`<a class="record" href="([^"]+)">(.*)`)
	demoCode   = regexp.MustCompile(`<code>([^<]+)</code>`)
	demoStatus = regexp.MustCompile(`<b class="who">Visitor</b> <p>([0-9]{3})?`)
	demoForm   = regexp.MustCompile(`<form method="post" action="([^"]+)">`)
)

// demo is examples/demo, on ports of its own. Visitors are at its URL.
type demo struct {
	*testcaddy.Caddy

	operator string // the URL of the index
	shop     string // the address of the upstream that is broken and mended
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	source, err := os.ReadFile("../examples/demo/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	c := testcaddy.New(t)
	c.URL = "http://localhost:" + strconv.Itoa(c.Port)
	c.Admin = "http://localhost:" + strconv.Itoa(c.AdminPort)
	ports := map[string]string{":8080": ":" + strconv.Itoa(c.Port), ":2020": ":" + strconv.Itoa(c.AdminPort)}
	config := regexp.MustCompile(`:(80|84|20)[0-9]{2}\b`).ReplaceAllStringFunc(string(source), func(port string) string {
		if ports[port] == "" {
			ports[port] = ":" + strconv.Itoa(testcaddy.FreePort(t))
		}
		return ports[port]
	})
	config = strings.Replace(config, "\n{\n", "\n{\n"+
		"\tstorage file_system \""+strings.ReplaceAll(t.TempDir(), `\`, `/`)+"\"\n\tlog {\n\t\toutput discard\n\t}\n\tgrace_period 1s\n", 1)
	if err := testcaddy.Load(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &demo{c, "http://localhost" + ports[":8081"], "127.0.0.1" + ports[":8093"]}
}

// ask asks the operator's site for a path or a whole URL.
func (d *demo) ask(method, target, accept string) testcaddy.Answer {
	d.T.Helper()
	base, err := url.Parse(d.operator + "/")
	if err != nil {
		d.T.Fatal(err)
	}
	to, err := base.Parse(target)
	if err != nil {
		d.T.Fatal(err)
	}
	r, err := http.NewRequestWithContext(d.T.Context(), method, to.String(), nil)
	if err != nil {
		d.T.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	res, err := testcaddy.Client.Do(r)
	if err != nil {
		return testcaddy.Answer{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return testcaddy.Answer{Status: res.StatusCode, Header: res.Header, Body: string(body), Err: err}
}

// Every link of the demo shows what its index says.
func TestDemo(t *testing.T) {
	d := startDemo(t)
	within := func(name string, test func()) {
		t.Run(name, func(t *testing.T) {
			d.T = t
			test()
		})
	}
	index := d.ask(http.MethodGet, "/", "text/html")
	if visitors := d.ask(http.MethodGet, d.URL+"/", "text/html"); index.Status != http.StatusOK || visitors.Body != index.Body {
		t.Fatalf("the index is answered with %d, and where visitors are with %d", index.Status, visitors.Status)
	}
	within("day", func() { d.followDay(index.Body) })
	within("links", func() { d.followLinks(index.Body) })
	within("broken and mended", func() { d.breakAndMend(index.Body) })
	rows := demoRow.FindAllString(index.Body, -1)
	if len(rows) < 20 {
		t.Fatalf("the index has %d rows, fewer than twenty", len(rows))
	}
	for _, row := range rows {
		fault, record := demoFault.FindStringSubmatch(row), demoRecord.FindStringSubmatch(row)
		if fault == nil || record == nil {
			t.Errorf("a row leads to no fault, or to no record: %s", row)
			continue
		}
		path := strings.TrimPrefix(fault[1], d.URL)
		status := demoStatus.FindStringSubmatch(row)[1]
		within(path, func() {
			d.followRow(path, status, html.UnescapeString(record[1]), strings.ReplaceAll(record[2], "<wbr>", ""))
		})
	}
}

// followRow causes the fault until its record link leads to it: a page that names the cause,
// and without a record one that says so.
func (d *demo) followRow(path, status, record, says string) {
	var causes []string
	for _, code := range demoCode.FindAllStringSubmatch(says, -1) {
		causes = append(causes, code[1])
	}
	d.Forget()
	if none := d.ask(http.MethodGet, record, "text/html"); none.Status != http.StatusOK || causes != nil && !strings.Contains(none.Body, "No such failure is recorded yet") {
		d.T.Errorf("%s, before there is a record: %d %s", record, none.Status, none.Body)
	}
	if causes == nil {
		got, _ := leaveAfter(d.Caddy, patience, d.URL+path)
		d.Idle()
		board := d.ask(http.MethodGet, record, "text/html")
		if got != http.StatusOK || !strings.Contains(board.Body, "Last success") || len(d.Failures()) != 0 {
			d.T.Errorf("status %d, %d records, the board: %s", got, len(d.Failures()), board.Body)
		}
		return
	}
	// Each as a visitor, and as who sees the record in place of the page.
	for _, site := range []string{d.URL, d.operator} {
		d.Forget()
		// Again until it is seen, for what the link before left behind passes: a dead
		// upstream that passive checks leave out for a while.
		testcaddy.Eventually(d.T, strings.Join(causes, ", ")+" from "+site+path, func() bool {
			got, body := leaveAfter(d.Caddy, patience, site+path)
			var f failure.Failure
			answer := d.ask(http.MethodGet, record, "application/json")
			if answer.Status != http.StatusOK || json.Unmarshal([]byte(answer.Body), &f) != nil || f.Request.URI != path || !slices.Contains(causes, f.Cause) {
				return false
			}
			if site == d.URL && f.Cause == causes[0] && status != "" && !strings.Contains(says, "second time") && strconv.Itoa(got) != status {
				d.T.Errorf("the visitor got %d, the index says %s", got, status)
			}
			if f.Outcome == failure.Failed && !strings.Contains(body, f.ID) {
				d.T.Errorf("the page doesn't have the reference %s", f.ID)
			}
			page := d.ask(http.MethodGet, record, "text/html")
			return page.Status == http.StatusOK && strings.Contains(page.Body, f.ID) && strings.Contains(strings.ReplaceAll(page.Body, "<wbr>", ""), f.Cause)
		})
	}
}

// followLinks follows all that lead to the operator's pages.
func (d *demo) followLinks(index string) {
	links := regexp.MustCompile(`href="(dashboard/[^"]*)"`).FindAllStringSubmatch(index, -1)
	if len(links) < 25 {
		d.T.Errorf("the index has %d links to the dashboard", len(links))
	}
	for _, link := range links {
		answer := d.ask(http.MethodGet, html.UnescapeString(link[1]), "text/html")
		if answer.Status != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
			d.T.Errorf("%s: %d", link[1], answer.Status)
		}
	}
}

// breakAndMend lets the shop die and come back. Its customer asks meanwhile, not this test.
func (d *demo) breakAndMend(index string) {
	forms := demoForm.FindAllStringSubmatch(index, -1)
	if len(forms) != 2 {
		d.T.Fatalf("the index has %d forms", len(forms))
	}
	listens := func() bool {
		conn, err := net.Dial("tcp", d.shop)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	incident := func() (found failure.Incident) {
		var list struct {
			Incidents []failure.Incident `json:"incidents"`
		}
		d.AdminGet("/upstream_diagnostics/incidents?upstream="+d.shop, &list)
		for _, found = range list.Incidents {
		}
		return found
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if answer := d.ask(method, forms[0][1], "text/html"); answer.Status != http.StatusNotFound || !listens() {
			d.T.Errorf("%s: %d", method, answer.Status)
		}
	}
	for range 2 { // a second click changes nothing
		if answer := d.ask(http.MethodPost, forms[0][1], "text/html"); answer.Status != http.StatusOK || answer.Body != index {
			d.T.Fatalf("breaking it: %d %s", answer.Status, answer.Body)
		}
		if listens() {
			d.T.Fatal("what is broken listens")
		}
	}
	testcaddy.Eventually(d.T, "an incident opens", func() bool { return incident().State == failure.IncidentOpen })
	if i := incident(); i.Cause != "connection_refused" {
		d.T.Errorf("the incident is of %s", i.Cause)
	}
	for range 2 {
		if answer := d.ask(http.MethodPost, forms[1][1], "text/html"); answer.Status != http.StatusOK || !listens() {
			d.T.Fatalf("mending it: %d %s", answer.Status, answer.Body)
		}
	}
	if answer := d.Get("/shop"); answer.Status != http.StatusOK {
		d.T.Errorf("what is mended answers %d", answer.Status)
	}
}

// The links of the demo's day, and the one to what is broken.
var (
	demoHour      = regexp.MustCompile(`<li><a href="([^"]+/day/[^"]+)">`)
	demoIncidents = regexp.MustCompile(`href="(dashboard/incidents[^"]+)"`)
)

// followDay follows the day's links, each of which leaves so many incidents open.
func (d *demo) followDay(index string) {
	hours, incidents := demoHour.FindAllStringSubmatch(index, -1), demoIncidents.FindStringSubmatch(index)
	if len(hours) != 5 || incidents == nil {
		d.T.Fatalf("the day has %d links", len(hours))
	}
	for n, open := range []int{0, 1, 2, 2, 2} {
		d.Get(strings.TrimPrefix(hours[n][1], d.URL))
		d.Idle()
		shown := d.ask(http.MethodGet, incidents[1]+"&format=text", "text/html")
		if got := strings.Count(shown.Body, "\nopen "); shown.Status != http.StatusOK || got != open {
			d.T.Errorf("%s: %d incidents are open, want %d in\n%s", hours[n][1], got, open, shown.Body)
		}
	}
}

// patience is how long a visitor of /patience waits.
const patience = 1500 * time.Millisecond

// leaveAfter sends a request as a browser does, and doesn't wait for longer than
// that for an answer to /patience. It gives what came of it.
func leaveAfter(c *testcaddy.Caddy, patience time.Duration, link string) (status int, body string) {
	c.T.Helper()
	ctx := c.T.Context()
	if strings.HasSuffix(link, "/patience") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		c.T.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	res, err := testcaddy.Client.Do(r)
	if err != nil {
		return 0, "" // the record says what happened
	}
	defer res.Body.Close()
	got, _ := io.ReadAll(res.Body) // which may break off
	return res.StatusCode, string(got)
}
