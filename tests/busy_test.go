package tests

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Many visitors share connections to a server that answers well: one is handed on to the
// next request before the one before has heard of its end. Nobody's answer is taken for
// another's, and nothing is recorded but the errors that it answered with.
func TestBusyConnections(t *testing.T) {
	over := func(protocols ...string) func(*testing.T) string {
		return func(t *testing.T) string { return serve(t, answerWell, protocols...) }
	}
	const anyCertificate = "tls\ntls_insecure_skip_verify\n"
	for _, test := range []struct {
		name, transport string
		start           func(t *testing.T) string
	}{
		{"HTTP/1.1", "http", over()},
		{"HTTP/1.1, few connections", "http {\nmax_conns_per_host 16\n}", over()},
		{"HTTP/1.1 over TLS", "http {\n" + anyCertificate + "versions 1.1\n}", over("http/1.1")},
		{"HTTP/2", "http {\n" + anyCertificate + "}", over("h2")},
		{"h2c", "http {\nversions h2c\n}", over()},
		{"HTTP/3", "http {\n" + anyCertificate + "versions 3\n}", serveHTTP3},
		{"FastCGI", "fastcgi", func(t *testing.T) string { return testcaddy.FastCGI(t, http.HandlerFunc(answerWell)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+test.start(t)+" {\ntransport "+test.transport+"\n}")
			visitMuch(t, c)
			c.Idle()
			for _, f := range c.Failures("limit=1000") {
				if f.Cause != "upstream_status" || f.Status != http.StatusServiceUnavailable {
					t.Errorf("%s: %s", f.Request.URI, f.Summary)
				}
			}
		})
	}
}

// What only a decoder finds out comes after the connection was handed on.
func TestGzipCutOnBusyConnections(t *testing.T) {
	var whole bytes.Buffer
	compress := gzip.NewWriter(&whole)
	_, _ = io.WriteString(compress, strings.Repeat("fine", 1000))
	_ = compress.Close()
	cut := whole.Bytes()[:whole.Len()-8]
	upstream := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(cut)
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream+" {\ntransport http {\nmax_conns_per_host 2\n}\n}")
	var visits sync.WaitGroup
	for range 32 {
		visits.Go(func() {
			for range 20 {
				c.Get("/")
			}
		})
	}
	visits.Wait()
	c.Idle()
	found := c.Failures("limit=1000")
	if len(found) == 0 {
		t.Error("nothing was recorded")
	}
	for _, f := range found {
		if f.Cause != "content_coding_invalid" {
			t.Errorf("%s: %s", f.Cause, f.Summary)
		}
	}
}

// serve serves over TLS if protocols are offered; without, HTTP/1 and h2c.
func serve(t *testing.T, handle http.HandlerFunc, protocols ...string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handle)
	if len(protocols) > 0 {
		server.TLS = &tls.Config{NextProtos: protocols}
		server.EnableHTTP2 = protocols[0] == "h2"
		server.StartTLS()
	} else {
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetHTTP1(true)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func serveHTTP3(t *testing.T) string {
	t.Helper()
	certificates := httptest.NewTLSServer(nil)
	certificates.Close()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: http.HandlerFunc(answerWell), TLSConfig: &tls.Config{Certificates: certificates.TLS.Certificates}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(conn) // always returns an error
	}()
	t.Cleanup(func() { server.Close(); conn.Close(); <-ended })
	return conn.LocalAddr().String()
}

// answerWell answers with no body, one of a length, one of none, and one in pieces.
func answerWell(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // net/http/fcgi's requests without a body share one reader
		_, _ = io.Copy(io.Discard, r.Body)
	}
	switch r.URL.Path {
	case "/none":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/error":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/sized":
		w.Header().Set("Content-Length", "10")
	}
	for _, part := range []string{"begun", "ended"} {
		_, _ = io.WriteString(w, part)
		_ = http.NewResponseController(w).Flush()
	}
}

// visitMuch has many visitors at once make requests of every kind.
func visitMuch(t *testing.T, c *testcaddy.Caddy) {
	t.Helper()
	const visitors, rounds = 64, 20
	var visits sync.WaitGroup
	for range visitors {
		visits.Go(func() {
			for range rounds {
				for _, visit := range []struct{ method, path, body, want string }{
					{"GET", "/none", "", ""},
					{"POST", "/", "once", "begunended"},
					{"HEAD", "/sized", "", ""},
					{"GET", "/sized", "", "begunended"},
					{"GET", "/error", "", "begunended"},
				} {
					a := c.Do(visit.method, visit.path, strings.NewReader(visit.body))
					if a.Err != nil || a.Body != visit.want {
						t.Errorf("%s %s got %q, %v", visit.method, visit.path, a.Body, a.Err)
					}
				}
			}
		})
	}
	visits.Wait()
}
