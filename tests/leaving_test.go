package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// leavers are clients that leave, each at its own moment, and an upstream that does
// nothing wrong: whatever is recorded is the clients' own doing.
type leavers struct {
	// unnoticed says that nobody tells the upstream that a client has left, and that
	// nobody has to notice.
	unnoticed bool

	mu    sync.Mutex
	steps map[string]*steps // by path
}

// steps are what happens to one request.
type steps struct {
	reached, left chan struct{}
	reach         sync.Once
}

func (l *leavers) of(path string) *steps {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps[path] == nil {
		l.steps[path] = &steps{reached: make(chan struct{}), left: make(chan struct{})}
	}
	return l.steps[path]
}

// ServeHTTP is the upstream: it answers who stays, and keeps who leaves waiting until
// Caddy gives the request up.
func (l *leavers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if asked := r.Header.Get("X-Forwarded-Uri"); asked != "" && path == "/auth" {
		path = asked
	}
	s := l.of(path)
	if strings.HasPrefix(path, "/body/") {
		io.WriteString(w, "the first part")
		http.NewResponseController(w).Flush()
	}
	s.reach.Do(func() { close(s.reached) })
	if r.ContentLength > 0 { // FastCGI's empty bodies are one and the same, and race
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler) // who left while it uploaded gets no answer
		}
	}
	switch {
	case strings.HasPrefix(path, "/stay/"):
	case l.unnoticed:
		<-s.left
	default:
		<-r.Context().Done()
	}
	io.WriteString(w, "ok")
}

// moments are when a client leaves, and what may be recorded of it; must says that
// something has to be.
var moments = []struct {
	name   string
	head   string // of the request, after its first line
	causes []string
	must   bool
}{
	{name: "stay", head: "Connection: close\r\n\r\n"},
	{name: "once", head: "\r\n", causes: []string{"client_closed_request"}},
	{name: "reached", head: "\r\n", causes: []string{"client_closed_request"}, must: true},
	{name: "body", head: "\r\n"}, // after the answer's headers it is no failure
	{name: "upload", head: "Content-Length: 20\r\n\r\nhalf of it", causes: []string{"client_closed_request", "client_upload_failed"}, must: true},
}

// visit is one client.
func (l *leavers) visit(address, moment, head, path string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	method := "GET"
	if strings.Contains(head, "Content-Length") {
		method = "POST"
	}
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, path, address, head); err != nil {
		return err
	}
	s := l.of(path)
	defer close(s.left)
	defer c.Close()
	switch moment {
	case "reached", "upload":
		select {
		case <-s.reached:
		case <-time.After(20 * time.Second):
			return errors.New("the request has not reached the upstream")
		}
	case "body":
		_, err = io.ReadFull(c, make([]byte, len("HTTP/1.1 200 OK\r\n\r\n")))
		return err
	case "stay":
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			return fmt.Errorf("who stays got %q %v", answer, err)
		}
	}
	return nil
}

// A client that leaves is never an upstream's failure, its own or another client's.
func TestLeavingBlamesNobody(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	plain := func(t *testing.T, l *leavers) string {
		server := httptest.NewServer(l)
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	secure := func(http2 bool) func(*testing.T, *leavers) string {
		return func(t *testing.T, l *leavers) string {
			server := httptest.NewUnstartedServer(l)
			server.EnableHTTP2 = http2
			server.StartTLS()
			t.Cleanup(server.Close)
			return server.Listener.Addr().String() + " {\ntransport http {\ntls_insecure_skip_verify\n}\n"
		}
	}
	tests := []struct {
		name string
		// site is what follows reverse_proxy, the last brace aside where there is a block.
		site func(t *testing.T, l *leavers) string
		// unnoticed says that Caddy doesn't see a client that leaves.
		unnoticed bool
		// uploads says that some leave while they upload. Over HTTP/2 Caddy's own body
		// has a data race then (reverseproxy.go, bodyNopCloserIfNotRead), and FastCGI
		// sends nothing before it has more of the body.
		uploads bool
	}{
		{name: "http/1.1", uploads: true, site: plain},
		{name: "unix socket", uploads: true, site: func(t *testing.T, l *leavers) string {
			if runtime.GOOS == "windows" {
				t.Skip("needs unix sockets")
			}
			ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "app.sock"))
			if err != nil {
				t.Fatal(err)
			}
			server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: l}}
			server.Start()
			t.Cleanup(server.Close)
			return "unix/" + ln.Addr().String()
		}},
		{name: "TLS", uploads: true, site: secure(false)},
		{name: "h2", site: secure(true)},
		{name: "h2c", site: func(t *testing.T, l *leavers) string {
			server := httptest.NewUnstartedServer(l)
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			t.Cleanup(server.Close)
			return server.Listener.Addr().String() + " {\ntransport http {\nversions h2c\n}\n"
		}},
		{name: "FastCGI", unnoticed: true, site: func(t *testing.T, l *leavers) string {
			return testcaddy.FastCGI(t, l) + " {\ntransport fastcgi\nflush_interval -1\n"
		}},
		{name: "retries", uploads: true, site: func(t *testing.T, l *leavers) string {
			return plain(t, l) + " " + plain(t, l) + " {\nlb_policy round_robin\nlb_retries 3\nlb_try_duration 5s\nlb_try_interval 1ms\nfail_duration 30s\nmax_fails 1000\n"
		}},
		{name: "active checks", uploads: true, site: func(t *testing.T, l *leavers) string {
			return plain(t, l) + " {\nhealth_uri /stay/check\nhealth_interval 5ms\n"
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := &leavers{steps: make(map[string]*steps), unnoticed: test.unnoticed}
			site := "reverse_proxy " + test.site(t, l)
			if strings.Contains(site, "{") {
				site += "}"
			}
			c := testcaddy.Start(t, "upstream_diagnostics\n"+site)
			l.check(t, c, test.uploads)
		})
	}
	t.Run("forward_auth", func(t *testing.T) {
		l := &leavers{steps: make(map[string]*steps)}
		c := testcaddy.Start(t, "upstream_diagnostics\nforward_auth "+plain(t, l)+" {\nuri /auth\n}\nreverse_proxy "+testcaddy.Good(t))
		l.check(t, c, false) // forward_auth sends no body
	})
}

// check has clients leave at the same time, and looks at all that is recorded.
func (l *leavers) check(t *testing.T, c *testcaddy.Caddy, uploads bool) {
	t.Helper()
	moments := moments
	if !uploads {
		moments = moments[:len(moments)-1]
	}
	const times = 6
	var clients sync.WaitGroup
	for i := range times {
		for _, m := range moments {
			clients.Go(func() {
				if err := l.visit(strings.TrimPrefix(c.URL, "http://"), m.name, m.head, fmt.Sprintf("/%s/%d", m.name, i)); err != nil {
					t.Errorf("%s: %v", m.name, err)
				}
			})
		}
	}
	clients.Wait()
	c.Idle()

	recorded := make(map[string][]*failure.Failure)
	read := func() {
		clear(recorded)
		for _, f := range c.Failures("limit=1000") {
			moment := strings.Split(f.Request.URI, "/")[1]
			recorded[moment] = append(recorded[moment], f)
		}
	}
	for _, m := range moments {
		if m.must && !l.unnoticed {
			testcaddy.Eventually(t, "all who left when "+m.name, func() bool { read(); return len(recorded[m.name]) == times })
		}
	}
	read()
	for _, m := range moments {
		for _, f := range recorded[m.name] {
			own := func(name string) bool { return strings.Contains(strings.Join(m.causes, " "), name) && name != "" }
			if !own(f.Cause) || f.Side != failure.SideClient || f.Outcome != failure.Abandoned || f.Incident != "" {
				t.Errorf("%s: recorded as %s, side %s, outcome %s, incident %q: %s", m.name, f.Cause, f.Side, f.Outcome, f.Incident, f.Error)
			}
			for _, a := range f.Attempts {
				if a.Cause != "" && !own(a.Cause) {
					t.Errorf("%s: an attempt is named %s: %s", m.name, a.Cause, a.Error)
				}
			}
		}
	}
}

// Where response_buffers holds an answer back that goes on for long, its client gets nothing
// and leaves: that is the config's doing. What is passed on is nobody's failure.
func TestLeavesAnAnswerThatIsHeldBack(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	begun := make(chan struct{}, 1)
	events := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: hello\n\n")
		http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	})
	for _, test := range []struct {
		name, buffers string
		want          string
		words         []string
	}{
		{"until the buffer is full", "4KiB", "client_closed_request abandoned body proxy", []string{"until 4096 bytes of it are there, or its end", "of the answer came", "Remove response_buffers"}},
		{"until its end", "unlimited", "client_closed_request abandoned body proxy", []string{"until its end"}},
		{"a buffer that is full at once", "4", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+events+" {\nresponse_buffers "+test.buffers+"\n}")
			// ask leaves so long after the answer has begun, and says what came.
			ask := func(patience time.Duration) (came string) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				left := make(chan struct{})
				go func() {
					defer close(left)
					<-begun
					time.AfterFunc(patience, cancel)
				}()
				defer func() { <-left }()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := testcaddy.Client.Do(r)
				if err != nil {
					return ""
				}
				defer res.Body.Close()
				b := make([]byte, len("data: hello"))
				n, _ := io.ReadFull(res.Body, b)
				return string(b[:n])
			}
			if test.want == "" {
				if came := ask(20 * time.Second); came != "data: hello" {
					t.Errorf("the client got %q", came)
				}
				c.Idle()
				wantRecord(t, c, "")
				return
			}
			for patience := 50 * time.Millisecond; ; patience *= 2 { // Caddy may not have read it yet
				c.Forget()
				if came := ask(patience); came != "" {
					t.Fatalf("it was not held back: %q", came)
				}
				if c.Newest("client_closed_request").Phase == failure.PhaseBody || patience > 5*time.Second {
					break
				}
			}
			wantRecord(t, c, test.want, test.words...)
		})
	}
}
