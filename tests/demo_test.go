package tests

import (
	"context"
	"io"
	"net/http"
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

// A row of the demo's index: the visitor's and the operator's link, and the cell
// with the causes.
var (
	demoRow  = regexp.MustCompile(`<tr><td><a href="([^"]+)">.*<a href="([^"]+)">.*<td>(.*)`)
	demoCode = regexp.MustCompile(`<code>([^<]+)</code>`)
)

// Every link of the demo shows what its index says.
func TestDemo(t *testing.T) {
	source, err := os.ReadFile("../examples/demo/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	c := testcaddy.New(t)
	c.URL = "http://localhost:" + strconv.Itoa(c.Port)
	c.Admin = "http://localhost:" + strconv.Itoa(c.AdminPort)
	ports := []string{":8080", ":" + strconv.Itoa(c.Port), ":2020", ":" + strconv.Itoa(c.AdminPort)}
	for _, port := range []string{":8081", ":8091", ":8092", ":8443", ":8444"} {
		ports = append(ports, port, ":"+strconv.Itoa(testcaddy.FreePort(t)))
	}
	demo := strings.NewReplacer(ports...).Replace(string(source))
	demo = strings.Replace(demo, "\n{\n", "\n{\n"+
		"\tstorage file_system \""+strings.ReplaceAll(t.TempDir(), `\`, `/`)+"\"\n\tlog {\n\t\toutput discard\n\t}\n\tgrace_period 1s\n", 1)
	if err := testcaddy.Load(demo); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})

	t.Run("day", func(t *testing.T) {
		c.T = t
		followDemoDay(c)
	})
	c.T = t
	rows := demoRow.FindAllStringSubmatch(c.Get("/").Body, -1)
	if len(rows) < 12 {
		t.Fatalf("the index has %d links, fewer than a dozen", len(rows))
	}
	for _, row := range rows {
		for i, link := range row[1:3] {
			reader := []string{"visitor", "operator"}[i]
			t.Run(row[1][strings.LastIndex(row[1], "/")+1:]+"/"+reader, func(t *testing.T) {
				c.T = t
				followDemoLink(c, link, row[3])
			})
		}
	}
}

// The links of the demo's day, and the one to what is broken.
var (
	demoHour      = regexp.MustCompile(`<li><a href="([^"]+)">`)
	demoDashboard = regexp.MustCompile(`http://localhost:[0-9]+/dashboard/`)
)

// followDemoDay follows the day's links, each of which leaves so many incidents open.
func followDemoDay(c *testcaddy.Caddy) {
	index := c.Get("/").Body
	hours := demoHour.FindAllStringSubmatch(index, -1)
	if len(hours) != 5 {
		c.T.Fatalf("the day has %d links", len(hours))
	}
	for n, open := range []int{0, 1, 2, 2, 2} {
		c.Get(strings.TrimPrefix(hours[n][1], c.URL))
		c.Idle()
		res, err := testcaddy.Client.Get(demoDashboard.FindString(index) + "incidents?format=text")
		if err != nil {
			c.T.Fatal(err)
		}
		shown, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got := strings.Count(string(shown), "\nopen "); err != nil || res.StatusCode != http.StatusOK || got != open {
			c.T.Errorf("%s: %d incidents are open, want %d in\n%s", hours[n][1], got, open, shown)
		}
	}
}

// followDemoLink follows a link once for each cause that the index names one after
// the other ("then"), and else once for all that it may be.
func followDemoLink(c *testcaddy.Caddy, link, says string) {
	var causes []string
	for _, code := range demoCode.FindAllStringSubmatch(says, -1) {
		causes = append(causes, code[1])
	}
	wanted := [][]string{causes}
	if strings.Contains(says, "then") {
		wanted = nil
		for _, cause := range causes {
			wanted = append(wanted, []string{cause})
		}
	}
	for _, wanted := range wanted {
		c.Forget()
		// Again until it is seen, for what the link before left behind passes: a dead
		// upstream that passive checks leave out for a while.
		testcaddy.Eventually(c.T, strings.Join(wanted, ", ")+" from "+link, func() bool {
			leaveAfter(c, 1500*time.Millisecond, link)
			failures := c.Failures()
			if len(wanted) == 0 {
				return len(failures) == 0
			}
			return slices.ContainsFunc(failures, func(f *failure.Failure) bool {
				return slices.Contains(wanted, f.Cause) && (f.Outcome == failure.Rescued) == slices.Contains(wanted, "rescued")
			})
		})
	}
}

// leaveAfter sends a request as a browser does, and doesn't wait for longer than
// that for an answer to /patience.
func leaveAfter(c *testcaddy.Caddy, patience time.Duration, link string) {
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
		return // the record says what happened
	}
	res.Body.Close()
}
