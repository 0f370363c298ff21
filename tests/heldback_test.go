package tests

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// closings is a listener that tells when a client closes one of its connections.
type closings struct {
	net.Listener
	closed chan struct{}
}

func (c *closings) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return &closingConn{Conn: conn, closed: c.closed}, err
}

type closingConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *closingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() { c.closed <- struct{}{} })
	}
	return n, err
}

// An answer that is replaced by the page is not waited for: its body may have no end,
// or stall. Its upstream sees the end of its connection, or of its stream.
func TestInterceptWaitsForNoBody(t *testing.T) {
	part := bytes.Repeat([]byte("OWN"), 1000)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(part)
	_ = z.Flush()
	bodies := []struct {
		name  string
		write func(w http.ResponseWriter, r *http.Request)
	}{
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}},
		{"stalled", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}},
		{"stalled in gzip", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(zipped.Bytes())
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
		{"shorter than it should be", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
	}
	ways := []struct {
		name, block, site string
		serve             func(t *testing.T, h http.Handler, closed chan struct{}) (address string)
		seesNoClose       bool // the application doesn't, only the connection
	}{
		{name: "HTTP/1.1"},
		{name: "with active checks", block: "health_port 1\nhealth_interval 1h\nhealth_fails 100000"},
		{name: "behind encode", site: "encode gzip"},
		{name: "flushed at once", block: "flush_interval -1"},
		{name: "h2c", block: "transport http {\nversions h2c\n}", serve: serveH2C},
		{name: "h2", block: "transport http {\ntls_insecure_skip_verify\n}", serve: serveH2},
		{name: "FastCGI", block: "transport fastcgi", serve: serveFastCGI, seesNoClose: true},
	}
	for _, way := range ways {
		for _, body := range bodies {
			if way.seesNoClose && body.name != "endless" {
				continue // Go's server of FastCGI doesn't tell its application
			}
			if way.site != "" && strings.HasPrefix(body.name, "stalled") {
				continue // encode holds the header back until it has seen some of a body
			}
			t.Run(way.name+", "+body.name, func(t *testing.T) {
				closed := make(chan struct{}, 100)
				ended := make(chan struct{}, 1)
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer func() { ended <- struct{}{} }()
					w.Header().Set("X-Own", "own")
					if strings.HasSuffix(body.name, "gzip") {
						w.Header().Set("Content-Encoding", "gzip")
					}
					if strings.HasPrefix(body.name, "shorter") {
						w.Header().Set("Content-Length", "1000000")
					}
					w.WriteHeader(http.StatusServiceUnavailable)
					_ = http.NewResponseController(w).Flush()
					body.write(w, r)
				})
				serve := way.serve
				if serve == nil {
					serve = serveHTTP1
				}
				c := testcaddy.Start(t, way.site+"\nupstream_diagnostics {\nintercept 503\n}\nreverse_proxy "+serve(t, handler, closed)+" {\n"+way.block+"\n}")
				a := c.Get("/", "Accept: text/html")
				if a.Status != 503 || a.Err != nil || !strings.Contains(a.Body, "<html") || strings.Contains(a.Body, "OWN") || a.Header.Get("X-Own") != "" {
					t.Errorf("got %d %v %.200s %v", a.Status, a.Header, a.Body, a.Err)
				}
				f := c.Failure()
				if f.Cause != "upstream_status" || f.Outcome != failure.UpstreamAnswered || f.Received.Status != 503 {
					t.Errorf("recorded %s %s %+v", f.Outcome, f.Cause, f.Received)
				}
				if text, _ := json.Marshal(f); strings.Contains(string(text), "the answer came") {
					t.Errorf("something is said of a body that nobody read: %s", text)
				}
				for event, happened := range map[string]chan struct{}{"the application's end": ended, "the connection's": closed} {
					if strings.HasPrefix(way.name, "h2") && event == "the connection's" {
						continue // it serves others
					}
					select {
					case <-happened:
					case <-time.After(10 * time.Second):
						t.Errorf("not seen by the upstream: %s", event)
					}
				}
			})
		}
	}
}

// serveHTTP1 serves h until the test ends.
func serveHTTP1(t *testing.T, h http.Handler, closed chan struct{}) string {
	return serveWith(t, h, closed, func(*httptest.Server) {})
}

func serveH2(t *testing.T, h http.Handler, closed chan struct{}) string {
	return "https://" + serveWith(t, h, closed, func(s *httptest.Server) { s.EnableHTTP2 = true })
}

func serveH2C(t *testing.T, h http.Handler, closed chan struct{}) string {
	return serveWith(t, h, closed, func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	})
}

func serveWith(t *testing.T, h http.Handler, closed chan struct{}, configure func(*httptest.Server)) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener = &closings{s.Listener, closed}
	configure(s)
	if s.EnableHTTP2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func serveFastCGI(t *testing.T, h http.Handler, closed chan struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = fcgi.Serve(&closings{l, closed}, h) // always returns an error
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

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
					broken, options := testcaddy.Break(t, fault)
					directive := "page " + page
					if page == "intercept" {
						directive = "intercept 5xx"
					}
					broken.Block = append(broken.Block, test.site)
					c := testcaddy.StartWith(t, options, "route {\nheader X-Before us\nupstream_diagnostics {\n"+directive+"\n}\n"+broken.Caddyfile()+"}")
					a := c.Do(method, "/", strings.NewReader(""), "Accept: text/html")
					f := c.Failure()
					want := failure.Failure{Outcome: failure.Failed, Cause: "response_malformed", Phase: "headers", Side: "upstream", Status: 502}
					if page == "off" {
						want.Status = 0
					}
					if f.Outcome != want.Outcome || f.Cause != want.Cause || f.Phase != want.Phase || f.Side != want.Side || f.Status != want.Status {
						t.Errorf("recorded %s %s %s %s %d", f.Outcome, f.Cause, f.Phase, f.Side, f.Status)
					}
					if !slices.ContainsFunc(f.Evidence, func(line string) bool {
						return strings.Contains(line, "the status "+strconv.Itoa(test.status)+":") || strings.Contains(line, fmt.Sprintf("the status %03d:", test.status))
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
						if a.Err == nil {
							t.Errorf("got %d %s", a.Status, a.Body)
						}
						return
					}
					if a.Err != nil || a.Status != 502 || a.Header.Get("X-Before") != "us" || a.Header.Get("Upstream-Failure-Id") != f.ID || a.Header.Get("Via") != "" {
						t.Errorf("got %d %v %v", a.Status, a.Header, a.Err)
					}
					if method != "HEAD" && (!strings.Contains(a.Body, "<html") || strings.Contains(a.Body, "hello")) {
						t.Errorf("got %.200s", a.Body)
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
			broken, options := testcaddy.Break(t, fault)
			broken.Block = append(broken.Block, site)
			c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+broken.Caddyfile())
			if a := c.Get("/"); a.Status != 200 || a.Err != nil {
				t.Errorf("got %d %v", a.Status, a.Err)
			}
			c.Idle()
			if list := c.Failures(); len(list) > 0 {
				t.Errorf("recorded %s", list[0].Cause)
			}
		})
	}
}

// An upstream's own 499 is an answer like any other, wherever its client waits; Caddy's
// is for a client that left.
func TestOwn499(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	answers := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "own")
		w.WriteHeader(499)
		_, _ = io.WriteString(w, "own")
	})
	reached := make(chan struct{}, 1)
	waits := testcaddy.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
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
		{name: "after another failed", site: "reverse_proxy " + testcaddy.Dead(t) + " " + answers + " {\nlb_policy first\nlb_retries 1\nfail_duration 10s\n}", status: 499, want: []string{"rescued connection_refused"}},
		{name: "then an error of the owner's", site: "reverse_proxy " + answers + " {\nhandle_response {\nerror 404\n}\n}", status: 404},
		{name: "the client leaves", site: "reverse_proxy " + waits, leaves: true, want: []string{"abandoned client_closed_request"}},
		{name: "then the client leaves another", site: "reverse_proxy " + answers + " {\nhandle_response {\nreverse_proxy " + waits + "\n}\n}", leaves: true, want: []string{"abandoned client_closed_request"}},
	} {
		for _, page := range []string{"public", "off"} {
			t.Run(test.name+", page "+page, func(t *testing.T) {
				c := testcaddy.Start(t, "upstream_diagnostics {\npage "+page+"\n}\n"+test.site)
				if test.leaves {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
					if err != nil {
						t.Fatal(err)
					}
					left := make(chan error, 1)
					go func() {
						res, err := testcaddy.Client.Do(r) //nolint:bodyclose // none comes
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
					_ = c.Failure()
				} else if a := c.Get("/"); a.Status != test.status || a.Err != nil || test.status == 499 && (a.Body != "own" || a.Header.Get("X-Own") != "own") {
					t.Errorf("got %d %v %s %v", a.Status, a.Header, a.Body, a.Err)
				}
				c.Idle()
				var got []string
				for _, f := range c.Failures() {
					got = append(got, string(f.Outcome)+" "+f.Cause)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("recorded %q, want %q", got, test.want)
				}
			})
		}
	}
}
