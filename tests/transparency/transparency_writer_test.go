package transparency

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// recording is a handler that notes what those behind it do to each answer.
type recording struct {
	Name string `json:"name,omitempty"`
}

// recorded is what was done to one answer, and how its handler ended.
type recorded struct {
	http.ResponseWriter
	mu       sync.Mutex
	ops      []string
	err      error
	panicked any
	ended    chan struct{}
}

// recordings are the answers that were begun, by the recording's name.
var recordings = struct {
	mu sync.Mutex
	by map[string][]*recorded
}{by: map[string][]*recorded{}}

// forgetRecordings begins anew.
func forgetRecordings() {
	recordings.mu.Lock()
	defer recordings.mu.Unlock()
	clear(recordings.by)
}

// lastRecorded is the answer that was begun last, once it has ended.
func lastRecorded(t *testing.T, name string) *recorded {
	t.Helper()
	recordings.mu.Lock()
	list := recordings.by[name]
	recordings.mu.Unlock()
	if len(list) == 0 {
		t.Fatalf("nothing was recorded by %s", name)
	}
	last := list[len(list)-1]
	select {
	case <-last.ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: the request has not ended", name)
	}
	return last
}

func (recording) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.recording", New: func() caddy.Module { return new(recording) }}
}

func (rec *recording) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	it := &recorded{ResponseWriter: w, ended: make(chan struct{})}
	recordings.mu.Lock()
	recordings.by[rec.Name] = append(recordings.by[rec.Name], it)
	recordings.mu.Unlock()
	defer close(it.ended)
	panicked := true
	defer func() {
		if panicked {
			it.panicked = recover()
			panic(it.panicked)
		}
	}()
	it.err = next.ServeHTTP(it, r)
	panicked = false
	return it.err
}

func init() {
	caddy.RegisterModule(recording{})
	httpcaddyfile.RegisterHandlerDirective("recording", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		rec := new(recording)
		h.Next()
		if !h.Args(&rec.Name) {
			return nil, h.ArgErr()
		}
		return rec, nil
	})
}

func (w *recorded) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops = append(w.ops, fmt.Sprintf(format, args...))
}

// done is what was done so far.
func (w *recorded) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ops)
}

func (w *recorded) WriteHeader(status int) {
	w.note("WriteHeader %d %s", status, fields(w.Header()))
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorded) Write(p []byte) (int, error) {
	w.note("Write %q", p)
	return w.ResponseWriter.Write(p)
}

func (w *recorded) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.note("ReadFrom %d", n)
	return n, err
}

func (w *recorded) FlushError() error {
	w.note("Flush")
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *recorded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.note("Hijack")
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *recorded) SetReadDeadline(deadline time.Time) error {
	w.note("SetReadDeadline %t", deadline.IsZero())
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(deadline)
}

func (w *recorded) SetWriteDeadline(deadline time.Time) error {
	w.note("SetWriteDeadline %t", deadline.IsZero())
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline)
}

func (w *recorded) EnableFullDuplex() error {
	w.note("EnableFullDuplex")
	return http.NewResponseController(w.ResponseWriter).EnableFullDuplex()
}

// Whatever a handler behind us asks of its ResponseWriter reaches the one in front
// of us, in the same order, and works.
func TestTransparencyResponseWriter(t *testing.T) {
	// plain hides that a reader can write itself.
	type plain struct{ io.Reader }
	past := time.Unix(1, 0)
	tests := []struct {
		name string
		do   func(s *seen, w http.ResponseWriter, r *http.Request)
		body string // what the client sends, with the method POST; "" for a GET
		// wantOps are the calls in front of us; where it is nil, only that they are
		// the same as without us.
		wantOps string
		// wantClient must be part of what the client sees.
		wantClient string
		read       func(t *testing.T, res *http.Response, s *seen)
	}{
		{
			name: "ReadFrom",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusOK)
				n, err := io.Copy(w, plain{strings.NewReader("read from")})
				s.upstream("%d %v", n, err)
			},
			wantOps:    `WriteHeader 200|ReadFrom 9`,
			wantClient: `"read from" <nil>`,
		},
		{
			name: "Flush through the controller",
			do: func(s *seen, w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusAccepted)
				_, _ = io.WriteString(w, "half")
				s.upstream("%v", http.NewResponseController(w).Flush())
				s.untilReceived(r.Context())
				_, _ = io.WriteString(w, "rest")
			},
			wantOps: `WriteHeader 202|Write "half"|Flush|Write "rest"`,
			read:    readHalves,
		},
		{
			name: "a flush before anything is written",
			do: func(s *seen, w http.ResponseWriter, r *http.Request) {
				s.upstream("%v", http.NewResponseController(w).Flush())
				s.untilReceived(r.Context())
				_, _ = io.WriteString(w, "halfrest")
			},
			wantOps: `Flush|Write "halfrest"`,
			read: func(t *testing.T, res *http.Response, s *seen) {
				s.client("%s", res.Status)
				s.received()
				s.response(res, nil)
			},
		},
		{
			name: "nothing is written",
			do:   func(s *seen, _ http.ResponseWriter, _ *http.Request) { s.upstream("nothing") },
		},
		{
			name: "a body without a status",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				n, err := io.WriteString(w, "body")
				s.upstream("%d %v", n, err)
			},
			wantOps:    `Write "body"`,
			wantClient: `"body" <nil>`,
		},
		{
			name: "ReadFrom without a status",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				n, err := io.Copy(w, plain{strings.NewReader("read from")})
				s.upstream("%d %v", n, err)
			},
			wantOps:    `ReadFrom 9`,
			wantClient: `"read from" <nil>`,
		},
		{
			name: "interim statuses",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", "</a>")
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusProcessing)
				w.WriteHeader(http.StatusNotFound)
				w.WriteHeader(http.StatusOK) // superfluous: without an effect
				s.upstream("written")
			},
			wantOps:    `WriteHeader 103|WriteHeader 102|WriteHeader 404|WriteHeader 200`,
			wantClient: `404`,
		},
		{
			name: "a body where none is allowed",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNoContent)
				n, err := io.WriteString(w, "body")
				s.upstream("%d %t", n, errors.Is(err, http.ErrBodyNotAllowed))
			},
			wantOps:    `WriteHeader 204|Write "body"`,
			wantClient: `204`,
		},
		{
			name: "Hijack",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				s.upstream("%v", err)
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = rw.WriteString("HTTP/1.1 299 By Hand\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhand")
				s.upstream("%v", rw.Flush())
			},
			wantOps:    `Hijack`,
			wantClient: `299 By Hand`,
		},
		{
			name: "a read deadline",
			do: func(s *seen, w http.ResponseWriter, r *http.Request) {
				s.upstream("%v", http.NewResponseController(w).SetReadDeadline(past))
				_, err := io.ReadAll(r.Body)
				s.upstream("timed out: %t", errors.Is(err, os.ErrDeadlineExceeded))
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusRequestTimeout)
			},
			body:       "UNFINISHED",
			wantOps:    `SetReadDeadline false|WriteHeader 408`,
			wantClient: "408",
		},
		{
			name: "a write deadline",
			do: func(s *seen, w http.ResponseWriter, _ *http.Request) {
				s.upstream("%v", http.NewResponseController(w).SetWriteDeadline(past))
				_, err := io.WriteString(w, "never seen")
				if err == nil {
					err = http.NewResponseController(w).Flush()
				}
				s.upstream("timed out: %t", errors.Is(err, os.ErrDeadlineExceeded))
			},
			wantOps: `SetWriteDeadline false|Write "never seen"|Flush`,
		},
		{
			name: "full duplex",
			do: func(s *seen, w http.ResponseWriter, r *http.Request) {
				s.upstream("%v", http.NewResponseController(w).EnableFullDuplex())
				w.WriteHeader(http.StatusOK)
				s.upstream("%v", http.NewResponseController(w).Flush())
				body, err := io.ReadAll(r.Body)
				s.upstream("%q %v", body, err)
				_, _ = w.Write(body)
			},
			body:       strings.Repeat("x", 20),
			wantOps:    `EnableFullDuplex|WriteHeader 200|Flush|Write "xxxxxxxxxxxxxxxxxxxx"`,
			wantClient: "xxxxxxxxxxxxxxxxxxxx",
		},
	}
	for _, test := range tests {
		forgetRecordings()
		transparent(t, exchange{
			name: test.name,
			site: func(_ *testing.T, s *seen) string {
				doing.Store(test.name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { test.do(s, w, r) }))
				return fmt.Sprintf("does %q", test.name)
			},
			talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
				conn, r := dial(c)
				switch {
				case test.body == "UNFINISHED":
					say(t, conn, "POST / HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000", "", test.body)
				case test.body != "":
					say(t, conn, "POST / HTTP/1.1", "Host: 127.0.0.1", fmt.Sprintf("Content-Length: %d", len(test.body)), "", test.body)
				default:
					say(t, conn, "GET / HTTP/1.1", "Host: 127.0.0.1", "", "")
				}
				res, err := http.ReadResponse(r, nil)
				for err == nil && res.StatusCode < 200 {
					s.client("%s %s", res.Status, fields(res.Header))
					res, err = http.ReadResponse(r, nil)
				}
				if err != nil && test.name == "a write deadline" {
					s.client("no answer")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if test.read != nil {
					test.read(t, res, s)
				} else {
					s.response(res, err)
				}
				if got := s.by("client"); !strings.Contains(got, test.wantClient) {
					t.Errorf("the client saw %s", got)
				}
			},
		})

		t.Run(test.name+", call by call", func(t *testing.T) {
			s := newSeen()
			c := startProxy(t, proxyConfig{site: fmt.Sprintf("recording outer\nupstream_diagnostics\nrecording inner\ndoes %q", test.name)})
			forgetRecordings()
			doing.Store(test.name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { test.do(s, w, r) }))
			conn, r := dial(c)
			body := test.body
			length := len(body)
			if body == "UNFINISHED" {
				length = 1000
			}
			say(t, conn, "POST / HTTP/1.1", "Host: 127.0.0.1", fmt.Sprintf("Content-Length: %d", length), "", body)
			s.got <- struct{}{}
			_, _ = http.ReadResponse(r, nil)
			outer, inner := lastRecorded(t, "outer").done(), lastRecorded(t, "inner").done()
			if !slices.Equal(outer, inner) {
				t.Errorf("behind us: %q\nin front of us: %q", inner, outer)
			}
			var calls []string
			for _, op := range inner {
				name, _, _ := strings.Cut(op, " {")
				calls = append(calls, name)
			}
			if got := strings.Join(calls, "|"); test.wantOps != "" && got != test.wantOps {
				t.Errorf("behind us: %s, want %s", got, test.wantOps)
			}
		})
	}
}

// readHalves reads what was flushed before it lets the rest be sent.
func readHalves(t *testing.T, res *http.Response, s *seen) {
	half := make([]byte, 4)
	_, err := io.ReadFull(res.Body, half)
	s.client("%s %q %v", res.Status, half, err)
	s.received()
	rest, err := io.ReadAll(res.Body)
	s.client("%q %v", rest, err)
	if string(half)+string(rest) != "halfrest" {
		t.Errorf("read %q, then %q", half, rest)
	}
}
