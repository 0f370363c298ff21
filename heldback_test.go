package diagnostics

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
)

// An answer whose status can't be passed on ends as it does without us with `page off`,
// and leaves a record. With a page the client gets it, with nothing of the answer but
// everything that was set before it.
func TestUnpassableStatus(t *testing.T) {
	faults := []struct {
		name, site string
		status     int
	}{
		{name: "status_000", status: 0},
		{name: "status_042", status: 42},
		{name: "status_042_checked", status: 42},
		{name: "h2_status_1000", status: 1000},
		{name: "fastcgi_status_0", status: 0},
		{name: "fastcgi_status_1000", status: 1000},
		{name: "status_042", site: "handle_response {\ncopy_response\n}", status: 42},
		{name: "status_000", site: "handle_response {\ncopy_response\n}", status: 0},
		{name: "status_042", site: "lb_retries 1\nlb_retry_match {\nexpression `{rp.status_code} == 42`\n}", status: 42},
	}
	for _, page := range []string{"public", "minimal", "off", "intercept"} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			for _, test := range faults {
				t.Run(strings.Join([]string{page, method, test.name, test.site}, " "), func(t *testing.T) {
					fault, err := faultlab.Find(test.name)
					if err != nil {
						t.Fatal(err)
					}
					broken, options := breakUpstream(t, fault)
					directive := "page " + page
					if page == "intercept" {
						directive = "intercept 5xx"
					}
					broken.Block = append(broken.Block, test.site)
					c := startCaddyWith(t, options, "route {\nheader X-Before us\nupstream_diagnostics {\n"+directive+"\n}\n"+broken.Caddyfile()+"}")
					a := c.do(method, "/", strings.NewReader(""), "Accept: text/html")
					f := c.failure()
					want := failure.Failure{Outcome: failure.Failed, Cause: "response_malformed", Phase: "headers", Side: "upstream", Status: 502}
					if page == "off" {
						want.Status = 0
					}
					if f.Outcome != want.Outcome || f.Cause != want.Cause || f.Phase != want.Phase || f.Side != want.Side || f.Status != want.Status {
						t.Errorf("recorded %s %s %s %s %d", f.Outcome, f.Cause, f.Phase, f.Side, f.Status)
					}
					if !slices.ContainsFunc(f.Evidence, func(line string) bool {
						return strings.Contains(line, "the status "+strconv.Itoa(test.status)+":")
					}) {
						t.Errorf("the evidence is %q", f.Evidence)
					}
					if test.status > 0 && (f.Received == nil || f.Received.Status != test.status) {
						t.Errorf("received %+v", f.Received)
					}
					if f.RequestSent != failure.SentYes {
						t.Errorf("request_sent is %s", f.RequestSent)
					}
					if page == "off" {
						if a.err == nil {
							t.Errorf("got %d %s", a.status, a.body)
						}
						return
					}
					if a.err != nil || a.status != 502 || a.header.Get("X-Before") != "us" || a.header.Get("Upstream-Failure-Id") != f.ID || a.header.Get("Via") != "" {
						t.Errorf("got %d %v %v", a.status, a.header, a.err)
					}
					if method != "HEAD" && (!strings.Contains(a.body, "<html") || strings.Contains(a.body, "hello")) {
						t.Errorf("got %.200s", a.body)
					}
				})
			}
		}
	}
}

// A status that the owner's routes replaced is no failure.
func TestUnpassableStatusReplaced(t *testing.T) {
	fault, err := faultlab.Find("status_042")
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range []string{"replace_status 200", "handle_response {\ncopy_response 200\n}", "handle_response {\nrespond good\n}"} {
		t.Run(site, func(t *testing.T) {
			broken, options := breakUpstream(t, fault)
			broken.Block = append(broken.Block, site)
			c := startCaddyWith(t, options, "upstream_diagnostics\n"+broken.Caddyfile())
			if a := c.get("/"); a.status != 200 || a.err != nil {
				t.Errorf("got %d %v", a.status, a.err)
			}
			c.idle()
			if list := c.failures(); len(list) > 0 {
				t.Errorf("recorded %s", list[0].Cause)
			}
		})
	}
}

// An upstream's own 499 is an answer like any other, wherever its client waits; Caddy's
// is for a client that left.
func TestOwn499(t *testing.T) {
	recordsAbandoned(t)
	answers := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "own")
		w.WriteHeader(499)
		_, _ = io.WriteString(w, "own")
	})
	reached := make(chan struct{}, 1)
	waits := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done()
	})
	for _, test := range []struct {
		name, site string
		leaves     bool
		status     int
		want       []string
	}{
		{name: "answered", site: "reverse_proxy " + answers, status: 499},
		{name: "answered, with active checks", site: "reverse_proxy " + answers + " {\nhealth_port 1\nhealth_interval 1h\nhealth_fails 100000\n}", status: 499},
		{name: "in a route of its own", site: "reverse_proxy " + answers + " {\nhandle_response {\ncopy_response\n}\n}", status: 499},
		{name: "by forward_auth", site: "forward_auth " + answers + " {\nuri /auth\n}\nrespond good", status: 499},
		{name: "after another failed", site: "reverse_proxy " + dead(t) + " " + answers + " {\nlb_policy first\nlb_retries 1\nfail_duration 10s\n}", status: 499, want: []string{"rescued connection_refused"}},
		{name: "then an error of the owner's", site: "reverse_proxy " + answers + " {\nhandle_response {\nerror 404\n}\n}", status: 404},
		{name: "the client leaves", site: "reverse_proxy " + waits, leaves: true, want: []string{"abandoned client_closed_request"}},
		{name: "then the client leaves another", site: "reverse_proxy " + answers + " {\nhandle_response {\nreverse_proxy " + waits + "\n}\n}", leaves: true, want: []string{"abandoned client_closed_request"}},
	} {
		for _, page := range []string{"public", "off"} {
			t.Run(test.name+", page "+page, func(t *testing.T) {
				c := startCaddy(t, "upstream_diagnostics {\npage "+page+"\n}\n"+test.site)
				if test.leaves {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
					if err != nil {
						t.Fatal(err)
					}
					left := make(chan error, 1)
					go func() {
						res, err := client.Do(r) //nolint:bodyclose // none comes
						if err == nil {
							err = fmt.Errorf("got %s", res.Status)
						} else {
							err = nil
						}
						left <- err
					}()
					<-reached
					cancel()
					if err := <-left; err != nil {
						t.Fatal(err)
					}
					_ = c.failure()
				} else if a := c.get("/"); a.status != test.status || a.err != nil || test.status == 499 && (a.body != "own" || a.header.Get("X-Own") != "own") {
					t.Errorf("got %d %v %s %v", a.status, a.header, a.body, a.err)
				}
				c.idle()
				var got []string
				for _, f := range c.failures() {
					got = append(got, string(f.Outcome)+" "+f.Cause)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("recorded %q, want %q", got, test.want)
				}
			})
		}
	}
}
