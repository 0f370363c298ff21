package tests

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// An answer that has no body by its status or method may say how long one would be, over
// every transport; that is no broken one.
func TestAnswersThatHaveNoBody(t *testing.T) {
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Etag", `"a"`)
		if r.Method != http.MethodHead {
			w.WriteHeader(http.StatusNotModified)
		}
	})
	secure := httptest.NewUnstartedServer(answers)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quic := &http3.Server{Handler: answers, TLSConfig: &tls.Config{Certificates: secure.TLS.Certificates}}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = quic.Serve(datagrams) }()
	t.Cleanup(func() { _ = quic.Close(); _ = datagrams.Close(); <-ended })

	const overTLS = " {\ntransport http {\ntls\ntls_insecure_skip_verify\nversions "
	for name, upstream := range map[string]string{
		"HTTP/1.1": serveHTTP(t, answers.ServeHTTP),
		"HTTP/2":   secure.Listener.Addr().String() + overTLS + "2\n}\n}",
		"HTTP/3":   datagrams.LocalAddr().String() + overTLS + "3\n}\n}",
		"FastCGI":  testcaddy.FastCGI(t, answers) + " {\ntransport fastcgi\n}",
	} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream)
			if a := c.Get("/", `If-None-Match: "a"`); a.Status != http.StatusNotModified {
				t.Errorf("got %d", a.Status)
			}
			if a := c.Do(http.MethodHead, "/", nil); a.Status != http.StatusOK {
				t.Errorf("got %d to HEAD", a.Status)
			}
			if name == "HTTP/2" { // whose transport breaks off such a 304, as Caddy says in its log
				wantRecord(t, c, "response_truncated truncated body proxy", "Content-Length of a 304", "versions 1.1")
				return
			}
			wantRecord(t, c, "")
		})
	}
}
