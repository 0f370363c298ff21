package tests

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// serveHTTP starts an upstream of Go, and gives its address.
func serveHTTP(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func echoes(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	b := make([]byte, 1<<10)
	for {
		n, err := r.Body.Read(b)
		if _, failed := w.Write(b[:n]); failed != nil || err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
	}
}

// A client whose upload breaks off after the answer began makes no upstream's failure.
func TestAnUploadThatBreaksOffDuringTheAnswer(t *testing.T) {
	ends := map[string]func(net.Conn){
		"the client leaves": func(c net.Conn) { _ = c.Close() },
		"the client resets": func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"a malformed chunk": func(c net.Conn) { _, _ = io.WriteString(c, "zz\r\n"); _, _ = io.Copy(io.Discard, c) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			returned := make(chan struct{}, 1)
			to := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { echoes(w, r); returned <- struct{}{} })
			c := testcaddy.StartWith(t, "servers {\n enable_full_duplex\n}", "upstream_diagnostics\nreverse_proxy "+to)
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			end(conn)
			<-returned
			c.Idle()
			if list := c.Failures(); len(list) > 0 {
				t.Errorf("recorded as %s of side %s: %s", list[0].Cause, list[0].Side, list[0].Error)
			}
		})
	}
}

// A slow client holds an upstream's worker, until that is ended.
func TestASlowClientHoldsTheWorker(t *testing.T) {
	const size = 64 << 20
	t.Run("download", func(t *testing.T) {
		to := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.Copy(w, io.LimitReader(endless{}, size))
			panic(http.ErrAbortHandler)
		})
		c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+to)
		res, err := testcaddy.Client.Get(c.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		time.Sleep(1500 * time.Millisecond) // the client is slow: that is the fault
		_, _ = io.Copy(io.Discard, res.Body)
		f := c.Newest("response_truncated")
		wantSlow(t, f, "response_buffers", "of the answer, Caddy waited")
		says(t, f, " after the request was sent", "Raise the limit that ended it at "+to) // memory is not for such an answer (caddy#5972)
	})
	send := func(t *testing.T, size int64, advice string) {
		upstream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer upstream.Close()
		go func() {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 500)) // and some of the body
			time.Sleep(1200 * time.Millisecond)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}()
		c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream.Addr().String())
		body, upload := io.Pipe()
		go func() {
			for range 30 {
				if _, err := upload.Write(make([]byte, 1<<10)); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			_ = upload.Close()
		}()
		r, err := http.NewRequest(http.MethodPost, c.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = size
		if res, err := testcaddy.Client.Do(r); err == nil {
			_ = res.Body.Close()
		}
		f := c.Newest("request_write_failed")
		wantSlow(t, f, "request_buffers", "of sending, Caddy waited")
		if !strings.Contains(strings.Join(f.Evidence, "\n"), fmt.Sprintf(" of %d bytes of the request's body", size)) {
			t.Errorf("the announced length is missing: %q", f.Evidence)
		}
		says(t, f, "", advice)
	}
	t.Run("upload", func(t *testing.T) { send(t, 1<<20, "Set request_buffers") })
	t.Run("large upload", func(t *testing.T) { send(t, size, "Raise the limit that ended it at ") }) // opencloud-eu/opencloud#1341
}

// read_timeout runs out while the client is waited for, where it counts for more than a
// read that Caddy waits for: the upstream is not to blame.
func TestReadTimeoutWhileTheClientIsWaitedFor(t *testing.T) {
	const size = 64 << 20
	large := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(endless{}, size)) }
	for _, test := range []struct {
		name, transport string
		start           func(t *testing.T) string
		whole           bool
	}{
		{"HTTP/1.1", "http {\nread_timeout 1s\n}", func(t *testing.T) string { return serve(t, large) }, true},
		{"HTTP/2", "http {\nread_timeout 1s\ntls\ntls_insecure_skip_verify\n}", func(t *testing.T) string { return serve(t, large, "h2") }, false},
		{"h2c", "http {\nread_timeout 1s\nversions h2c\n}", func(t *testing.T) string { return serve(t, large) }, false},
		{"FastCGI", "fastcgi {\nread_timeout 1s\n}", func(t *testing.T) string { return testcaddy.FastCGI(t, http.HandlerFunc(large)) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+test.start(t)+" {\ntransport "+test.transport+"\n}")
			res, err := testcaddy.Client.Get(c.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			time.Sleep(2500 * time.Millisecond) // the client is slow: that is the fault
			if n, err := io.Copy(io.Discard, res.Body); (err == nil && n == size) != test.whole {
				t.Fatalf("%d bytes came, %v", n, err)
			}
			if test.whole {
				c.Idle()
				if list := c.Failures(); len(list) > 0 {
					t.Errorf("recorded: %s", list[0].Summary)
				}
				return
			}
			wantSlow(t, c.Newest("response_stalled"), "response_buffers", "of the answer, Caddy waited")
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func wantSlow(t *testing.T, f *failure.Failure, directive, evidence string) {
	t.Helper()
	if f.Side != failure.SideProxy || !strings.Contains(f.Advice, directive) || !strings.Contains(strings.Join(f.Evidence, "\n"), evidence) {
		t.Errorf("%s, side %s: %s %q", f.Cause, f.Side, f.Advice, f.Evidence)
	}
}

// An upload over HTTP/2 that isn't as long as its content-length is the client's, with the
// status of HTTP/1's bad chunk.
func TestAnUploadOverHTTP2OfAnotherLength(t *testing.T) {
	to := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := testcaddy.StartWith(t, "servers {\n protocols h1 h2c\n}", "upstream_diagnostics\nreverse_proxy "+to)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var fields bytes.Buffer
	encoder := hpack.NewEncoder(&fields)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "127.0.0.1"}, {":path", "/"}, {"content-length", "10"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, true, []byte("hello"))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if headers, ok := frame.(*http2.MetaHeadersFrame); ok {
			if status := headers.PseudoValue("status"); status != "400" {
				t.Errorf("the client got %s", status)
			}
			break
		}
	}
	if f := c.Newest("client_upload_failed"); f.Cause != "client_upload_failed" || f.Status != 400 {
		t.Errorf("recorded as %s with %d: %q", f.Cause, f.Status, f.Evidence)
	}
}

// Both answers that lb_retry_match threw away are told.
func TestBothAnswersThatWereThrownAway(t *testing.T) {
	to := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+to+" {\n lb_retries 1\n lb_retry_match {\n expression `{rp.status_code} in [502, 503]`\n }\n}")
	c.Get("/")
	f := c.Newest("upstream_status")
	for i, a := range f.Attempts {
		if a.Cause != "upstream_status" || a.Status != http.StatusBadGateway {
			t.Errorf("attempt %d is told as %q with %d", i, a.Cause, a.Status)
		}
	}
	if len(f.Attempts) != 2 {
		t.Errorf("%d attempts", len(f.Attempts))
	}
}

// The evidence says that a repeat lacked its body.
func TestARepeatThatLostItsBody(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	go func() {
		for {
			conn, err := upstream.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_ = conn.Close()
		}
	}()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream.Addr().String()+" {\n lb_retries 2\n lb_retry_match {\n method POST\n }\n}")
	c.Do(http.MethodPost, "/", strings.NewReader("order=1"))
	f := c.Newest("closed_before_response")
	const want = "tried again without its body, of which 7 of 7 bytes had been read for the attempt before; request_buffers would have kept it"
	if f.Cause != "closed_before_response" || !strings.Contains(strings.Join(f.Evidence, "\n"), want) {
		t.Errorf("%s: %q", f.Cause, f.Evidence)
	}
	if last := f.Attempts[len(f.Attempts)-1]; last.Cause != "retried_without_body" {
		t.Errorf("the repeat is told as %q: %s", last.Cause, last.Error)
	}
}

// A server written by hand forgets the empty line where no body follows (haproxy#459), and
// closes: a crash would seldom end a header after a whole line.
func TestAHeaderWithoutItsEmptyLine(t *testing.T) {
	const header = "HTTP/1.0 200 OK\r\nServer: HookHandler/0.1 Python/2.7.16\r\nDate: Tue, 21 Jan 2020 15:01:30 GMT\r\n"
	for name, test := range map[string]struct{ answer, advice string }{
		"after a whole line": {header, "Let what answers end its header with an empty line"},
		"within a line":      {header + "Content-Ty", "Look at the application's log for a crash"},
	} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Blabbing(t, test.answer))
			c.Get("/")
			f := c.Newest("response_cut_in_headers")
			if !strings.HasPrefix(f.Advice, test.advice) {
				t.Error(f.Advice)
			}
		})
	}
}
