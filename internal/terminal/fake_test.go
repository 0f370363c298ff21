package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// fake serves the API in memory. It can be away, and forgets nothing then: what a real
// one forgets is seen where a real one is asked.
type fake struct {
	mu        sync.Mutex
	away      bool
	failures  []*failure.Failure // oldest first; a cursor is the number of those before it
	incidents []*failure.Incident
	asked     []string
	// answers are those of other paths, as they are.
	answers map[string]string
	server  *http.Server
	dialled chan net.Conn
}

func newFake(t *testing.T) (*fake, *Command) {
	f := &fake{answers: map[string]string{}, dialled: make(chan net.Conn)}
	f.server = &http.Server{Handler: f}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f) }()
	c := &Command{
		Out: new(buffer), Err: new(buffer), Filters: url.Values{}, Limit: DefaultLimit,
		Screen: func() Screen { return Screen{} },
		API:    NewAPI(Endpoint{Address: "localhost:2019", Host: "localhost:2019", Origin: "http://localhost:2019", Path: "/upstream_diagnostics", Dial: f.dial}),
	}
	t.Cleanup(func() {
		c.API.Close()
		if err := f.server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return f, c
}

func (f *fake) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	ours, theirs := net.Pipe()
	select {
	case f.dialled <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr implement net.Listener.
func (f *fake) Accept() (net.Conn, error) {
	conn, ok := <-f.dialled
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (f *fake) Close() error   { close(f.dialled); return nil }
func (f *fake) Addr() net.Addr { return new(net.UnixAddr) }

func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away { // it went while this connection was open
		panic(http.ErrAbortHandler)
	}
	body := new(bytes.Buffer)
	_, _ = body.ReadFrom(r.Body)
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+body.String()))
	path := strings.TrimPrefix(r.URL.Path, "/upstream_diagnostics")
	if answer, ok := f.answers[path]; ok {
		_, _ = w.Write([]byte(answer))
		return
	}
	query := r.URL.Query()
	var answer any
	switch path {
	case "":
		answer = failure.Overview{Since: failure.At(now)}
	case "/incidents":
		list := slices.Clone(f.incidents)
		if state := query.Get("state"); state != "" {
			list = slices.DeleteFunc(list, func(i *failure.Incident) bool { return string(i.State) != state })
		}
		answer = map[string]any{"incidents": list}
	case "/failures":
		answer = f.page(query)
	default:
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]string{"error": "no such thing: " + hostile}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer)
}

func (f *fake) page(query url.Values) failure.FailurePage {
	limit, _ := strconv.Atoi(query.Get("limit"))
	page := failure.FailurePage{Newest: strconv.Itoa(len(f.failures)), Failures: []*failure.Failure{}}
	from := max(0, len(f.failures)-limit)
	to := len(f.failures)
	if after := query.Get("after"); after != "" {
		from, _ = strconv.Atoi(after)
		to = min(from+limit, to)
		page.Newest = strconv.Itoa(to)
	} else if from > 0 {
		page.Next = "older"
	}
	page.Failures = append(page.Failures, f.failures[from:to]...)
	slices.Reverse(page.Failures)
	return page
}

// buffer is what was written, while it still is written to.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func written(c *Command) string { return c.Out.(*buffer).String() }
func told(c *Command) string    { return c.Err.(*buffer).String() }
