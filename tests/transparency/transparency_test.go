package transparency

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/quic-go/quic-go/http3"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// exchange is what a client and an upstream have to say to each other through a
// Caddy. Whether our directive stands in front of the proxy must make no difference
// to what either of them sees.
type exchange struct {
	name string
	// servers are lines for the global option of that name.
	servers string
	// tls says that the site is an https one.
	tls bool
	// site starts the upstream and returns the directive that proxies to it.
	site func(t *testing.T, s *seen) string
	// talk is the client's part.
	talk func(t *testing.T, c *testcaddy.Caddy, s *seen)
}

// transparent runs an exchange through a Caddy without us, then with our directive,
// and compares what was seen. In the second, nothing may have been recorded.
func transparent(t *testing.T, e exchange) {
	t.Run(e.name, func(t *testing.T) {
		bare, ours := newSeen(), newSeen()
		if !t.Run("bare", func(t *testing.T) { e.run(t, "", bare) }) {
			return // the exchange itself is at fault
		}
		t.Run("with the directive", func(t *testing.T) { e.run(t, "upstream_diagnostics", ours) })
		for _, side := range []string{"client", "upstream"} {
			if b, o := bare.by(side), ours.by(side); b != o {
				t.Errorf("the %s saw a difference\nonly bare:\n%s\nonly with the directive:\n%s", side, without(b, o), without(o, b))
			}
			if bare.by(side) == "" {
				t.Errorf("the %s saw nothing", side)
			}
		}
	})
}

// without are the lines of a that b doesn't have, or all if they differ in order only.
func without(a, b string) string {
	others := strings.Split(b, "\n")
	lines := slices.DeleteFunc(strings.Split(a, "\n"), func(line string) bool { return slices.Contains(others, line) })
	if len(lines) == 0 {
		return a
	}
	return strings.Join(lines, "\n")
}

func (e exchange) run(t *testing.T, front string, s *seen) {
	c := startProxy(t, proxyConfig{tls: e.tls, bare: front == "", servers: e.servers, site: "in_flight\n" + front + "\n" + e.site(t, s)})
	e.talk(t, c, s)
	testcaddy.Eventually(t, "all requests have ended", func() bool { return inFlight.Load() == 0 })
	if front == "" {
		return
	}
	for _, f := range c.Failures() {
		t.Errorf("recorded: %s %s %s", f.Outcome, f.Cause, f.Error)
	}
}

// proxyConfig is a Caddy with one site, whose directives stand in a route.
type proxyConfig struct {
	tls, bare     bool
	servers, site string
	// after follows the route.
	after string
}

// startProxy runs it until the test ends. Where it is bare, there is no admin
// endpoint and so nothing of ours at all, not even in the reverse_proxy.
func startProxy(t *testing.T, p proxyConfig) *testcaddy.Caddy {
	t.Helper()
	c := testcaddy.New(t)
	admin, tlsLine := fmt.Sprintf("127.0.0.1:%d", c.AdminPort), ""
	if p.bare {
		admin = "off"
	}
	if p.tls {
		c.URL = fmt.Sprintf("https://127.0.0.1:%d", c.Port)
		cert, key := testcaddy.CertificateFiles(t)
		tlsLine = fmt.Sprintf("tls %q %q", cert, key)
	}
	err := testcaddy.Load(fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	grace_period 1s
	log {
		output discard
	}
	servers {
		%s
	}
}
%s {
	%s
	route {
		%s
	}
	%s
}
`, admin, p.servers, c.URL, tlsLine, p.site, p.after))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What Stop stops doesn't include the admin endpoint.
		if err := caddy.Load([]byte(`{"admin": {"disabled": true, "config": {"persist": false}}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}}}`), true); err != nil {
			t.Error(err)
		}
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// inFlight counts the requests that the directive in_flight has let through.
var inFlight atomic.Int64

// counting counts requests, and touches neither them nor their answers.
type counting struct{}

func (counting) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.in_flight", New: func() caddy.Module { return new(counting) }}
}

func (counting) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	inFlight.Add(1)
	defer inFlight.Add(-1)
	return next.ServeHTTP(w, r)
}

// does is a handler whose work is a function of the test, found by its name.
type does struct {
	What string `json:"what,omitempty"`
}

var doing sync.Map // what → http.HandlerFunc

func (does) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.does", New: func() caddy.Module { return new(does) }}
}

func (d *does) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	do, ok := doing.Load(d.What)
	if !ok {
		return fmt.Errorf("nothing is called %q", d.What)
	}
	do.(http.HandlerFunc)(w, r)
	return nil
}

func init() {
	caddy.RegisterModule(counting{})
	httpcaddyfile.RegisterHandlerDirective("in_flight", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(counting), nil
	})
	caddy.RegisterModule(does{})
	httpcaddyfile.RegisterHandlerDirective("does", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		d := new(does)
		h.Next()
		if !h.Args(&d.What) {
			return nil, h.ArgErr()
		}
		return d, nil
	})
}

// seen is what each side of a Caddy saw, in its own order.
type seen struct {
	mu    sync.Mutex
	lines map[string][]string
	// got lets the upstream wait until the client has what was sent so far.
	got chan struct{}
}

func newSeen() *seen {
	return &seen{lines: map[string][]string{}, got: make(chan struct{}, 1)}
}

func (s *seen) client(format string, args ...any)   { s.note("client", format, args...) }
func (s *seen) upstream(format string, args ...any) { s.note("upstream", format, args...) }

// ports differ from one Caddy to the next.
var ports = regexp.MustCompile(`:\d{4,5}\b`)

func (s *seen) note(side, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[side] = append(s.lines[side], ports.ReplaceAllString(fmt.Sprintf(format, args...), ":PORT"))
}

func (s *seen) by(side string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines[side], "\n")
}

// received says that the client has what was sent.
func (s *seen) received() { s.got <- struct{}{} }

// untilReceived waits for that, until ctx is over or the test hangs.
func (s *seen) untilReceived(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case <-s.got:
	case <-ctx.Done():
		s.upstream("the client has not received what was sent")
	}
}

// request notes what of a request came to the upstream.
func (s *seen) request(r *http.Request) {
	s.upstream("%s %s %s, host %s, length %d, %s", r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength, fields(r.Header))
}

// response notes what of an answer came to the client, and reads its body.
func (s *seen) response(res *http.Response, err error) {
	if err != nil {
		s.client("no answer: %v", err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if len(body) > 1000 {
		body = fmt.Appendf(nil, "%d bytes", len(body))
	}
	s.client("%s %s, length %d, coding %v, %s: %q %v, trailers %s", res.Proto, res.Status, res.ContentLength, res.TransferEncoding, fields(res.Header), body, err, fields(res.Trailer))
}

// fields are a header's, in order, without what differs from one request to another.
func fields(h http.Header) string {
	var all []string
	for name, values := range h {
		switch name {
		case "Date", "Alt-Svc": // the latter is there once the HTTP/3 listener is
		case "Sec-Websocket-Key", "Sec-WebSocket-Key":
			all = append(all, name)
		default:
			all = append(all, fmt.Sprintf("%s=%q", name, values))
		}
	}
	slices.Sort(all)
	return "{" + strings.Join(all, " ") + "}"
}

// proxied starts an upstream and returns the reverse_proxy to it.
func proxied(do func(s *seen) http.Handler, lines ...string) func(*testing.T, *seen) string {
	return func(t *testing.T, s *seen) string {
		server := httptest.NewServer(do(s))
		t.Cleanup(server.Close)
		return reverseProxy(server.Listener.Addr(), lines...)
	}
}

func reverseProxy(to net.Addr, lines ...string) string {
	return fmt.Sprintf("reverse_proxy %s {\n%s\n}", to, strings.Join(lines, "\n"))
}

// clientFor is a client of one protocol, without connections of another test.
func clientFor(t *testing.T, protocol string) *http.Client {
	t.Helper()
	insecure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is the test's own
	if protocol == "h3" {
		transport := &http3.Transport{TLSClientConfig: insecure, DisableCompression: true}
		t.Cleanup(func() { _ = transport.Close() })
		return &http.Client{Transport: transport, Timeout: 60 * time.Second}
	}
	transport := &http.Transport{TLSClientConfig: insecure, DisableCompression: true, Protocols: new(http.Protocols), ExpectContinueTimeout: 20 * time.Second}
	switch protocol {
	case "h1":
		transport.Protocols.SetHTTP1(true)
	case "h2":
		transport.Protocols.SetHTTP2(true)
	case "h2c":
		transport.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Fatalf("no client for %s", protocol)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

// everyday is an upstream that does most of what an application does.
func everyday(s *seen) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.request(r)
		s.upstream("a body of %d bytes, %v, trailers %s", len(body), err, fields(r.Trailer))
		w.Header().Add("X-Two", "one")
		w.Header().Add("X-Two", "two")
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "5") // of an unknown length, a timer of Caddy's decides what HTTP/3 says
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/unchanged", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	})
	mux.HandleFunc("/missing", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		http.Error(w, "not here", http.StatusNotFound)
	})
	mux.HandleFunc("/own500", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		http.Error(w, "the application's own words", http.StatusInternalServerError)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			s.untilReceived(r.Context())
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush() // else HTTP/2 tells the length, and Caddy drops the trailers for HTTP/1
		w.Header().Set("X-Sum", "42")
	})
	mux.HandleFunc("/trailers/unannounced", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "43")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		s.untilReceived(r.Context())
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "after the hints")
	})
	return mux
}

// visitEveryday is the client of it.
func visitEveryday(protocol string) func(*testing.T, *testcaddy.Caddy, *seen) {
	return func(t *testing.T, c *testcaddy.Caddy, s *seen) {
		client := clientFor(t, protocol)
		send := func(method, path string, body io.Reader, prepare ...func(*http.Request)) (*http.Response, error) {
			r, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Two", "from the client")
			for _, p := range prepare {
				p(r)
			}
			return client.Do(r)
		}
		s.response(send("GET", "/echo?q=%2F", nil))
		s.response(send("HEAD", "/echo", nil))
		s.response(send("POST", "/echo", strings.NewReader("small")))
		s.response(send("POST", "/echo", strings.NewReader(strings.Repeat("large ", 100_000))))
		s.response(send("PUT", "/echo", io.MultiReader(strings.NewReader("of unknown "), strings.NewReader("length"))))
		s.response(send("GET", "/empty", nil))
		s.response(send("GET", "/unchanged", nil))
		s.response(send("GET", "/missing", nil))
		s.response(send("GET", "/own500", nil))
		s.response(send("GET", "/trailers", nil))
		s.response(send("GET", "/trailers/unannounced", nil))

		s.response(send("POST", "/echo", io.MultiReader(strings.NewReader("with "), strings.NewReader("trailers")), func(r *http.Request) {
			r.Trailer = http.Header{"X-Sum": {"44"}}
		}))
		s.response(send("GET", "/hints", nil, func(r *http.Request) {
			*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
					s.client("interim %d %s", code, fields(http.Header(header)))
					s.received()
					return nil
				},
			}))
		}))

		res, err := send("GET", "/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		s.client("%s %s %s", res.Proto, res.Status, fields(res.Header))
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			s.client("event %q", lines.Text())
			if lines.Text() == "" {
				s.received()
			}
		}
		s.client("the end of events: %v", lines.Err())

		if got := s.by("client"); strings.Count(got, "event ") != 6 || strings.Count(got, "interim 103") != 1 {
			t.Errorf("the client saw\n%s", got)
		}
		if strings.Contains(s.by("upstream"), "not received") {
			t.Errorf("the upstream saw\n%s", s.by("upstream"))
		}
		for _, trailers := range []string{`{X-Sum=["42"]}`, `{X-Sum=["43"]}`} {
			if !strings.Contains(s.by("client"), trailers) {
				t.Errorf("the client saw no trailers %s:\n%s", trailers, s.by("client"))
			}
		}
		if protocol != "h3" && !strings.Contains(s.by("upstream"), `trailers {X-Sum=["44"]}`) {
			t.Errorf("the upstream saw no trailers:\n%s", s.by("upstream"))
		}
	}
}

// Requests, answers, events, trailers and interim responses pass unchanged,
// whatever the client and the upstream speak.
func TestTransparency(t *testing.T) {
	h2c := func(t *testing.T, s *seen) string {
		server := httptest.NewUnstartedServer(everyday(s))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		t.Cleanup(server.Close)
		return reverseProxy(server.Listener.Addr(), "transport http {\nversions h2c\n}")
	}
	h2 := func(t *testing.T, s *seen) string {
		server := httptest.NewUnstartedServer(everyday(s))
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		return reverseProxy(server.Listener.Addr(), "transport http {\ntls_insecure_skip_verify\n}")
	}
	// Our requests go another way where active health checks run.
	checked := proxied(everyday, "health_uri /empty-check", "health_interval 1h", "health_status 404")
	for _, e := range []exchange{
		{name: "h1 to h1", site: proxied(everyday), talk: visitEveryday("h1")},
		{name: "h1 to h1 with active checks", site: checked, talk: visitEveryday("h1")},
		{name: "h1 to h2c", site: h2c, talk: visitEveryday("h1")},
		{name: "h2 to h1", tls: true, site: proxied(everyday), talk: visitEveryday("h2")},
		{name: "h2 to h2", tls: true, site: h2, talk: visitEveryday("h2")},
		{name: "h2c to h2c", servers: "protocols h1 h2c", site: h2c, talk: visitEveryday("h2c")},
		{name: "h3 to h1", tls: true, site: proxied(everyday), talk: visitEveryday("h3")},
		// Not h3 to h2: an h3 request without a length has a body, and an HTTP/2
		// transport's reading and closing it race in reverse_proxy itself.
	} {
		transparent(t, e)
	}
}

// dial is a client that writes its requests by hand.
func dial(c *testcaddy.Caddy) (net.Conn, *bufio.Reader) {
	c.T.Helper()
	conn, err := new(net.Dialer).DialContext(c.T.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", c.Port))
	if err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // of a test that hangs
	return conn, bufio.NewReader(conn)
}

func say(t *testing.T, w io.Writer, lines ...string) {
	t.Helper()
	if _, err := io.WriteString(w, strings.Join(lines, "\r\n")); err != nil {
		t.Fatal(err)
	}
}

// 100-continue, written by hand: the body is sent when it was asked for.
func TestTransparencyContinue(t *testing.T) {
	ask := func(path string) []string {
		return []string{"POST " + path + " HTTP/1.1", "Host: 127.0.0.1", "Expect: 100-continue", "Content-Length: 4", "", ""}
	}
	upstream := func(s *seen) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("/welcome", func(w http.ResponseWriter, r *http.Request) {
			s.request(r)
			body, err := io.ReadAll(r.Body)
			s.upstream("%q %v", body, err)
			_, _ = io.WriteString(w, "thank you")
		})
		mux.HandleFunc("/refused", func(w http.ResponseWriter, r *http.Request) {
			s.request(r)
			w.WriteHeader(http.StatusExpectationFailed)
			s.received() // that the client is refused
		})
		return mux
	}
	lines := []string{"transport http {", "expect_continue_timeout 20s", "}"}
	transparent(t, exchange{name: "welcome", site: proxied(upstream, lines...), talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
		conn, r := dial(c)
		say(t, conn, ask("/welcome")...)
		interim, err := http.ReadResponse(r, nil)
		if err != nil || interim.StatusCode != http.StatusContinue {
			t.Fatalf("got %v %v, want 100", interim, err)
		}
		s.client("%s", interim.Status)
		say(t, conn, "body")
		// Caddy may say 100 twice, in either order: for the upstream, with its fields, and
		// because the body is read, with none.
		res, err := http.ReadResponse(r, nil)
		for err == nil && res.StatusCode == http.StatusContinue {
			res, err = http.ReadResponse(r, nil)
		}
		s.response(res, err)
		if !strings.Contains(s.by("upstream"), `"body" <nil>`) {
			t.Errorf("the upstream saw %s", s.by("upstream"))
		}
	}})
	transparent(t, exchange{name: "refused", site: proxied(upstream, lines...), talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
		conn, r := dial(c)
		say(t, conn, ask("/refused")...)
		s.untilReceived(t.Context())
		// Caddy's server holds the answer back until the body has come, by itself.
		say(t, conn, "body")
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusExpectationFailed {
			t.Fatalf("got %v %v, want 417 with no 100 before it", res, err)
		}
		s.response(res, err)
	}})
}

// Trailers that nobody announced, of a request.
func TestTransparencyUnannouncedTrailers(t *testing.T) {
	transparent(t, exchange{name: "h1", site: proxied(everyday), talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
		conn, r := dial(c)
		say(t, conn, "POST /echo HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked", "", "4", "body", "0", "X-Sum: 45", "", "")
		s.response(http.ReadResponse(r, nil))
	}})
}

// Incremental (RFC 10036): each part passes before the next is sent, whatever the
// framing; where Caddy must refuse it, the refusal is Caddy's own.
func TestTransparencyIncremental(t *testing.T) {
	transparent(t, exchange{
		name: "request",
		site: proxied(func(s *seen) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.request(r)
				for {
					part := make([]byte, 3)
					if _, err := io.ReadFull(r.Body, part); err != nil {
						s.upstream("%v", err)
						break
					}
					s.upstream("%q", part)
					s.received() // the other way round: the client waits
				}
				_, _ = io.WriteString(w, "good")
			})
		}),
		talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			conn, r := dial(c)
			say(t, conn, "POST / HTTP/1.1", "Host: 127.0.0.1", "Incremental: ?1", "Content-Length: 9", "", "")
			for _, part := range []string{"one", "two", "six"} {
				say(t, conn, part)
				s.untilReceived(t.Context())
			}
			s.response(http.ReadResponse(r, nil))
			if !strings.Contains(s.by("upstream"), `"six"`) {
				t.Errorf("the upstream saw %s", s.by("upstream"))
			}
		},
	})
	transparent(t, exchange{
		name: "response",
		site: proxied(func(s *seen) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.request(r)
				w.Header().Set("Incremental", "?1")
				w.Header().Set("Content-Length", "9")
				for _, part := range []string{"one", "two", "six"} {
					_, _ = io.WriteString(w, part)
					_ = http.NewResponseController(w).Flush()
					s.untilReceived(r.Context())
				}
			})
		}),
		talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			res, err := clientFor(t, "h1").Get(c.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			s.client("%s %s", res.Status, fields(res.Header))
			for {
				part := make([]byte, 3)
				if _, err := io.ReadFull(res.Body, part); err != nil {
					s.client("%v", err)
					break
				}
				s.client("%q", part)
				s.received()
			}
			if !strings.Contains(s.by("client"), "\"six\"\nEOF") || strings.Contains(s.by("upstream"), "not received") {
				t.Errorf("the client saw %s", s.by("client"))
			}
		},
	})
	transparent(t, exchange{
		name: "refused",
		site: proxied(func(s *seen) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.upstream("reached") })
		}, "request_buffers 4KiB"),
		talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			s.upstream("is not reached")
			conn, r := dial(c)
			say(t, conn, "POST / HTTP/1.1", "Host: 127.0.0.1", "Incremental: ?1", "Content-Length: 4", "", "body")
			res, err := http.ReadResponse(r, nil)
			if err != nil || res.StatusCode != http.StatusNotImplemented {
				t.Fatalf("got %v %v, want 501", res, err)
			}
			s.response(res, err)
		},
	})
}

// The PROXY protocol tells each client's own address, though connections are kept.
func TestTransparencyPROXY(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		transparent(t, exchange{
			name: version,
			site: func(t *testing.T, s *seen) string {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = ln.Close() })
				go func() {
					for {
						conn, err := ln.Accept()
						if err != nil {
							return
						}
						go servePROXY(conn, s)
					}
				}()
				return reverseProxy(ln.Addr(), "transport http {", "proxy_protocol "+version, "}")
			},
			// Caddy tells no port, so the clients differ in what a trusted proxy in
			// front of Caddy says of them.
			servers: "trusted_proxies static 127.0.0.1/32",
			talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
				conn, r := dial(c)
				for _, client := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1"} {
					say(t, conn, "GET / HTTP/1.1", "Host: 127.0.0.1", "X-Forwarded-For: "+client, "", "")
					res, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatal(err)
					}
					told, err := io.ReadAll(res.Body)
					s.client("%s %s %v", res.Status, told, err)
					if string(told) != client {
						t.Errorf("the upstream was told of %s, want %s", told, client)
					}
				}
			},
		})
	}
}

// servePROXY answers each request of a connection with the address that the PROXY
// protocol told in front of them.
func servePROXY(conn net.Conn, s *seen) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	from, err := readPROXY(r)
	if err != nil {
		s.upstream("%v", err)
		return
	}
	for {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		s.request(request)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(from), from)
	}
}

// readPROXY reads the header of either version for TCP over IPv4: the source's
// address.
func readPROXY(r *bufio.Reader) (string, error) {
	if first, err := r.Peek(5); err != nil {
		return "", err
	} else if string(first) == "PROXY" {
		line, err := r.ReadString('\n')
		words := strings.Fields(line)
		if err != nil || len(words) != 6 {
			return "", fmt.Errorf("not the PROXY protocol: %q %w", line, err)
		}
		return words[2], nil
	}
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	rest := make([]byte, int(head[14])<<8|int(head[15]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return "", err
	}
	if len(rest) < 12 {
		return "", fmt.Errorf("not an address: %x %x", head, rest)
	}
	return net.IP(rest[:4]).String(), nil
}

// A download of 1 GiB passes through memory, but never lies in it.
func TestTransparencyDownload(t *testing.T) {
	const (
		size  = 1 << 30
		bound = 64 << 20 // of what the heap may grow; buffers need less than 1 MiB
	)
	transparent(t, exchange{
		name: "1 GiB",
		site: proxied(func(s *seen) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.request(r)
				w.Header().Set("Content-Type", "application/octet-stream")
				w.Header().Set("Content-Length", fmt.Sprint(size))
				part := make([]byte, 256<<10)
				for range size / len(part) {
					if _, err := w.Write(part); err != nil {
						s.upstream("%v", err)
						return
					}
				}
			})
		}),
		talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			var stats runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&stats)
			before, peak := stats.HeapAlloc, uint64(0)
			res, err := clientFor(t, "h1").Get(c.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var read int64
			for err == nil {
				var n int64
				n, err = io.CopyN(io.Discard, res.Body, 32<<20)
				read += n
				runtime.ReadMemStats(&stats)
				peak = max(peak, stats.HeapAlloc)
			}
			s.client("%s: %d bytes, %v", res.Status, read, err)
			if read != size || !errors.Is(err, io.EOF) {
				t.Errorf("read %d of %d bytes: %v", read, size, err)
			}
			if peak > before+bound {
				t.Errorf("the heap grew from %d to %d MiB", before>>20, peak>>20)
			}
		},
	})
}
