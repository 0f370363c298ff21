package diagnostics

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// What a request costs in a whole Caddy, without and with this module in front of
// reverse_proxy: one that goes well, and one whose upstream refuses.
func BenchmarkRequest(b *testing.B) {
	ok := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	defer ok.Close()
	for _, upstream := range []struct {
		name, address string
		status        int
	}{
		{"works", ok.Listener.Addr().String(), http.StatusOK},
		{"refuses", "127.0.0.1:1", http.StatusBadGateway},
	} {
		for _, with := range []struct{ name, directive string }{
			{"bare", ""},
			{"listened", "upstream_diagnostics"},
			{"recorded", "upstream_diagnostics {\npage off\n}"},
		} {
			b.Run(upstream.name+"/"+with.name, func(b *testing.B) {
				server := benchServer(b, with.directive+"\nreverse_proxy "+upstream.address)
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
					r.Header.Set("Accept", "text/html")
					w := deadlines{httptest.NewRecorder()}
					server.ServeHTTP(w, r)
					if w.Code != upstream.status {
						b.Fatalf("got %d", w.Code)
					}
				}
			})
		}
	}
}

// What requests cost that come at once, over many connections: what they have to wait
// for each other. Nothing is asked of an upstream, so that nothing else hides it.
func BenchmarkRequestsAtOnce(b *testing.B) {
	for _, with := range []struct{ name, directive string }{{"bare", ""}, {"listened", "upstream_diagnostics"}} {
		b.Run(with.name, func(b *testing.B) {
			server := benchServer(b, with.directive+"\nrespond ok")
			var port atomic.Int32
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
					r.RemoteAddr = "192.0.2.1:" + strconv.Itoa(int(uint16(port.Add(1))))
					w := httptest.NewRecorder()
					server.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Errorf("got %d", w.Code)
						return
					}
				}
			})
		})
	}
}

// benchServer is the server of a running Caddy, to be called without a socket.
func benchServer(b *testing.B, site string) *caddyhttp.Server {
	b.Helper()
	config := "{\nadmin off\nauto_https off\npersist_config off\nupstream_diagnostics\nlog {\noutput discard\n}\n}\nhttp://127.0.0.1:0 {\n" + site + "\n}\n"
	if err := testcaddy.Load(config); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		b.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	b.Fatal("no server")
	return nil
}

// What each step costs that a failing request takes after reverse_proxy returned.
func BenchmarkStep(b *testing.B) {
	refused := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	heard := &listen.Heard{
		Start: time.Now(), Duration: time.Millisecond, Err: caddyhttp.Error(http.StatusBadGateway, refused), ErrStatus: http.StatusBadGateway,
		AttemptCount: 1,
		Attempts: []listen.Attempt{{
			Upstream: "127.0.0.1:1", Limits: new(failure.Limits), Past: new(listen.Past), Exact: true, Network: "tcp", Address: "127.0.0.1:1", Protocol: "http/1.1",
			Start: 1000, Sent: 2000, End: 20000, RequestBytes: -1, Err: refused, DialErr: true,
			Dialing: &listen.Dialing{
				Start: 3000, End: 10000, Err: refused,
				Connects: []listen.Connect{{Network: "tcp", Address: "127.0.0.1:1", Start: 4000, End: 9000, Err: refused}},
			},
		}},
	}
	h := new(Handler)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	if err := h.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = h.Cleanup() }()
	request := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/cart?id=1", nil)
		r.Header.Set("Accept", "text/html")
		return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	}
	r := request()
	f := cause.Diagnose(heard)
	h.describe(r, heard, f)
	w := httptest.NewRecorder()
	discarding := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zapcore.InfoLevel))
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"diagnose", func() { cause.Diagnose(heard) }},
		{"describe", func() { h.describe(r, heard, f) }},
		{"remember", func() { h.process.journal.Add(f) }},
		{"log", func() { h.log(f) }}, // most of a storm is counted only
		{"log line", func() { (*failureLine)(f).write(discarding) }},
		{"count", func() { h.process.count(f) }},
		{"notice", func() { h.noticeIncidents(r, nil, heard, f) }},
		{"expose", func() { h.expose(r, nil, f) }},
		{"answer", func() {
			w.Body.Reset()
			h.answer(w, r, f, false)
		}},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.do()
			}
		})
	}
}
