package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// hear runs do in a real server, as the next handler behind a Listener, and gives
// what was heard.
func hear(t *testing.T, intercepts func(int) bool, body io.Reader, do func(l *Listener, r *http.Request) error) (*Heard, *http.Response) {
	t.Helper()
	heard := make(chan *Heard, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := To(w, r, intercepts)
		err := do(l, r)
		heard <- l.Seal(err, 0, false)
	}))
	defer server.Close()
	res, err := http.Post(server.URL, "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return <-heard, res
}

func TestResponse(t *testing.T) {
	answered := func(status int) func(*Listener) {
		return func(l *Listener) {
			a := l.Selected("app:80", nil, nil)
			l.RoundTrip(a.Limits, Trip{Network: "tcp", Address: "app:80"})
			a.Ended(&http.Response{StatusCode: status, ProtoMajor: 1}, nil, false)
		}
	}
	fiveXX := func(status int) bool { return status >= 500 }
	tests := []struct {
		name       string
		intercepts func(int) bool
		do         func(l *Listener)
		want       Response
		wantStatus int
		wantBody   string
	}{
		{"nothing written", nil, func(*Listener) {}, Response{}, 200, ""},
		{"a body alone is a 200", nil, func(l *Listener) { _, _ = io.WriteString(l, "ok") }, Response{Status: 200}, 200, "ok"},
		{"ReadFrom is a 200", nil, func(l *Listener) { _, _ = l.ReadFrom(strings.NewReader("ok")) }, Response{Status: 200}, 200, "ok"},
		{"a flush is a 200", nil, func(l *Listener) { _ = l.FlushError() }, Response{Status: 200}, 200, ""},
		{"early hints are not final", nil, func(l *Listener) {
			l.WriteHeader(103)
			l.WriteHeader(404)
		}, Response{Status: 404}, 404, ""},
		{"the first status counts", nil, func(l *Listener) {
			l.WriteHeader(404)
			l.WriteHeader(500)
		}, Response{Status: 404}, 404, ""},
		{"an upstream's own answer is held back", fiveXX, func(l *Listener) {
			answered(503)(l)
			l.WriteHeader(503)
			_, _ = io.WriteString(l, "secret")
			_, _ = l.ReadFrom(strings.NewReader("secret"))
			_ = l.FlushError()
		}, Response{Status: 503, Intercepted: true}, 200, ""},
		{"an answer of somebody else is not", fiveXX, func(l *Listener) {
			answered(200)(l)
			l.WriteHeader(503)
		}, Response{Status: 503}, 503, ""},
		{"an answer without an attempt is not", fiveXX, func(l *Listener) { l.WriteHeader(503) }, Response{Status: 503}, 503, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			heard, res := hear(t, test.intercepts, nil, func(l *Listener, _ *http.Request) error {
				test.do(l)
				return nil
			})
			body, _ := io.ReadAll(res.Body)
			if heard.Response != test.want || res.StatusCode != test.wantStatus || string(body) != test.wantBody {
				t.Errorf("got %+v, %d %q; want %+v, %d %q", heard.Response, res.StatusCode, body, test.want, test.wantStatus, test.wantBody)
			}
		})
	}
}

func TestHijack(t *testing.T) {
	heard, res := hear(t, nil, nil, func(l *Listener, _ *http.Request) error {
		conn, _, err := http.NewResponseController(l).Hijack()
		if err != nil {
			return err
		}
		_, err = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		return errors.Join(err, conn.Close())
	})
	if heard.Err != nil || !heard.Response.Hijacked || res.StatusCode != 204 || heard.Unanswered() {
		t.Errorf("got %+v, %d", heard, res.StatusCode)
	}
}

func TestClientBody(t *testing.T) {
	heard, _ := hear(t, nil, strings.NewReader("12345"), func(_ *Listener, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	})
	if heard.Client.BodyErr != nil {
		t.Errorf("got %+v", heard.Client)
	}

	heard, _ = hear(t, nil, strings.NewReader("12345"), func(l *Listener, r *http.Request) error {
		r.Body = http.MaxBytesReader(l, r.Body, 2) // outside of us: not the client's doing
		_, err := io.Copy(io.Discard, r.Body)
		return err
	})
	if heard.Client.BodyErr != nil {
		t.Errorf("got %v", heard.Client.BodyErr)
	}
}

// deadOnReuse answers the first request of each of its first connections, and
// closes when the second comes.
func deadOnReuse(t *testing.T, connections int) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for served := 0; ; served++ {
					r, err := http.ReadRequest(bufio.NewReader(conn))
					if err != nil || served > 0 && n < connections {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}()
		}
	}()
	return ln
}

// proxy is what an ear does, without Caddy.
func proxy(l *Listener, transport *http.Transport, limits *failure.Limits, url string) (*http.Response, error) {
	a := l.Selected(url, new(Past), limits)
	trace := &httptrace.ClientTrace{Got1xxResponse: nil}
	ctx := httptrace.WithClientTrace(context.WithValue(context.Background(), listenerKey{}, l), trace)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	l.RoundTrip(limits, Trip{Network: "tcp", Address: url, Trace: trace})
	res, err := transport.RoundTrip(r)
	a.Ended(res, err, false)
	return res, err
}

type listenerKey struct{}

// listened is a transport whose dialer is listened to.
func listened(t *testing.T) *http.Transport {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			a, ctx := ctx.Value(listenerKey{}).(*Listener).Dial(ctx)
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if a != nil {
				a.Dialed(err)
			}
			return conn, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestSilentRetry(t *testing.T) {
	ln := deadOnReuse(t, 1)
	transport := listened(t)
	limits := new(failure.Limits)
	once := func() *Heard {
		heard, _ := hear(t, nil, nil, func(l *Listener, _ *http.Request) error {
			res, err := proxy(l, transport, limits, "http://"+ln.Addr().String())
			if err != nil {
				return err
			}
			_, err = io.Copy(l, res.Body)
			return errors.Join(err, res.Body.Close())
		})
		return heard
	}
	if first := once(); first.AttemptCount != 1 || first.Attempts[0].Dialing == nil || first.Attempts[0].Connection.Reused {
		t.Fatalf("got %+v", first)
	}
	second := once()
	if second.AttemptCount != 2 || len(second.Attempts) != 2 {
		t.Fatalf("got %+v", second)
	}
	dead, fresh := second.Attempts[0], second.Attempts[1]
	if !dead.Silent || !dead.Connection.Reused || !dead.Connection.WasIdle || dead.Dialing != nil || dead.FirstByte != 0 {
		t.Errorf("the dead connection: %+v", dead)
	}
	if fresh.Silent || fresh.Connection.Reused || fresh.Dialing == nil || fresh.Status != 200 || !fresh.Body.Ended || fresh.Body.Bytes != 2 {
		t.Errorf("the fresh one: %+v", fresh)
	}
	if fresh.Past == nil || fresh.Past != dead.Past {
		t.Error("the fresh one is not known to be of the same upstream")
	}
}

func TestAttempts(t *testing.T) {
	tests := []struct {
		name string
		n    int
		want []int // the numbers of those kept
	}{
		{"none", 0, nil},
		{"one", 1, []int{0}},
		{"as many as are kept", 16, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		{"more", 100, []int{0, 1, 2, 3, 4, 5, 6, 7, 92, 93, 94, 95, 96, 97, 98, 99}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := To(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil)
			for i := range test.n {
				a := l.Selected(fmt.Sprint(i), nil, nil)
				l.RoundTrip(a.Limits, Trip{Network: "tcp", Address: ""})
				a.Ended(nil, io.EOF, false)
			}
			heard := l.Seal(io.EOF, 502, false)
			var got []int
			for _, a := range heard.Attempts {
				var n int
				_, _ = fmt.Sscan(a.Upstream, &n)
				got = append(got, n)
				if a.Err != io.EOF {
					t.Errorf("attempt %d: %v", n, a.Err)
				}
			}
			if heard.AttemptCount != test.n || fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %d %v, want %d %v", heard.AttemptCount, got, test.n, test.want)
			}
		})
	}
}

// A hook of an attempt that is over must not mark the next one, nor what is sealed.
func TestLateHooks(t *testing.T) {
	l := To(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil)
	first := l.Selected("first", nil, nil)
	l.RoundTrip(first.Limits, Trip{Network: "tcp", Address: "first"})
	first.Ended(nil, io.EOF, false)
	second := l.Selected("second", nil, nil)
	l.RoundTrip(second.Limits, Trip{Network: "tcp", Address: "second"})

	var hooks sync.WaitGroup
	trace := first.Trace()
	for range 8 {
		hooks.Go(func() {
			trace.ConnectDone("tcp", "first", io.EOF)
			trace.GotConn(httptrace.GotConnInfo{})
			trace.WroteRequest(httptrace.WroteRequestInfo{Err: io.EOF})
			trace.GotFirstResponseByte()
		})
	}
	hooks.Wait()
	second.Ended(nil, io.ErrUnexpectedEOF, false)
	heard := l.Seal(io.EOF, 502, false)
	for _, a := range heard.Attempts {
		if a.Dialing != nil || a.Connection != nil || a.Wrote != 0 || a.FirstByte != 0 {
			t.Errorf("marked: %+v", a)
		}
	}
	second.Trace().GotFirstResponseByte()
	l.Selected("third", nil, nil).Ended(nil, io.EOF, false)
	if len(heard.Attempts) != 2 || heard.Attempts[1].FirstByte != 0 || heard.Attempts[1].Err != io.ErrUnexpectedEOF {
		t.Errorf("changed after Seal: %+v", heard.Attempts)
	}
}

// While an ear hears an attempt, the stand-in is silent.
func TestStandIn(t *testing.T) {
	l := To(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil)
	standIn := l.StandIn()
	a := l.Selected("app:80", nil, new(failure.Limits))
	l.RoundTrip(a.Limits, Trip{Network: "tcp", Address: "app:80"})
	standIn.GetConn("app:80")
	standIn.ConnectStart("tcp", "127.0.0.1:80")
	standIn.ConnectDone("tcp", "127.0.0.1:80", io.EOF)
	a.Ended(&http.Response{StatusCode: 200}, nil, false)
	standIn.ConnectDone("tcp", "127.0.0.1:80", io.EOF) // late

	standIn.GetConn("other:80") // somebody whom no ear hears
	standIn.ConnectStart("tcp", "127.0.0.2:80")
	standIn.ConnectDone("tcp", "127.0.0.2:80", io.EOF)
	heard := l.Seal(io.EOF, 502, false)
	if heard.AttemptCount != 2 {
		t.Fatalf("got %+v", heard.Attempts)
	}
	exact, unheard := heard.Attempts[0], heard.Attempts[1]
	if !exact.Exact || exact.Dialing != nil || exact.Err != nil {
		t.Errorf("got %+v", exact)
	}
	if unheard.Exact || unheard.Address != "other:80" || unheard.Err != io.EOF || len(unheard.Dialing.Connects) != 1 {
		t.Errorf("got %+v", unheard)
	}
}

func BenchmarkWentWell(b *testing.B) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	limits := new(failure.Limits)
	b.ReportAllocs()
	for b.Loop() {
		l := To(w, r, nil)
		a := l.Selected("app:80", nil, limits)
		l.RoundTrip(limits, Trip{Network: "tcp", Address: "app:80", Trace: new(httptrace.ClientTrace)})
		a.Ended(&http.Response{StatusCode: 200, Body: http.NoBody}, nil, false)
		if !l.WentWell() {
			b.Fatal("it didn't")
		}
	}
}

// slowBody is a body like Caddy's: nobody may close it while it is read, or read it
// after that.
type slowBody struct {
	begun, more              chan struct{}
	reads                    int
	reading, closed, tooSoon bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.reads++
	b.reading = true
	close(b.begun)
	<-b.more
	b.reading = false
	return copy(p, "half"), nil
}

func (b *slowBody) Close() error {
	b.closed = true
	b.tooSoon = b.tooSoon || b.reading
	return nil
}

// What the client was waited for before an attempt is not the attempt's: all of its body
// may have been buffered then.
func TestUploadingIsOfTheAttempt(t *testing.T) {
	for _, buffered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", slowReader{time.Second})
			l := To(httptest.NewRecorder(), r, nil)
			want := time.Second
			if buffered {
				want = 0
				if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			a := l.RoundTrip(nil, Trip{})
			body := a.RequestBody(r.Body)
			if !buffered {
				if _, err := io.ReadFull(body, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			a.Ended(nil, io.EOF, false)
			if h := l.Seal(io.EOF, 0, false); len(h.Attempts) != 1 || h.Attempts[0].Uploading != want {
				t.Errorf("buffered before: %v: waited %v for the client, want %v", buffered, h.Attempts, want)
			}
		})
	}
}

// slowReader gives bytes, each after a while.
type slowReader struct{ after time.Duration }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(r.after)
	return copy(p, "x"), nil
}

// A body that is closed while it is read is closed once that is over, and is not read
// any more.
func TestRequestBodyClosedWhileRead(t *testing.T) {
	l := To(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil), nil)
	a := l.RoundTrip(nil, Trip{})
	inner := &slowBody{begun: make(chan struct{}), more: make(chan struct{})}
	body := a.RequestBody(inner)
	read := make(chan error)
	go func() {
		n, err := body.Read(make([]byte, 10))
		if n != len("half") {
			t.Errorf("read %d bytes", n)
		}
		read <- err
	}()
	<-inner.begun
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	close(inner.more)
	if err := <-read; err != nil {
		t.Error(err)
	}
	if !inner.closed || inner.tooSoon {
		t.Errorf("closed: %t, while it was read: %t", inner.closed, inner.tooSoon)
	}
	if n, err := body.Read(make([]byte, 10)); n != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("read %d bytes and %v of a closed body", n, err)
	}
	if inner.reads != 1 {
		t.Error("it was read after it was closed")
	}
	if a.RequestBytes != int64(len("half")) {
		t.Errorf("%d bytes were counted", a.RequestBytes)
	}
}

// What is kept of a request that goes well is one piece of memory: one byte more, and
// the next larger one that Go's allocator has is taken (768 bytes hold 760, as above 512
// the allocator keeps 8 for itself).
func TestListenerIsSmall(t *testing.T) {
	if size := reflect.TypeFor[Listener]().Size(); strconv.IntSize == 64 && size > 760 {
		t.Errorf("%d bytes", size)
	}
}
