package cause

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Where an upstream died, Caddy closes the client's body while the transport may still
// read it: what each protocol's server says of that is not the client's doing.
func TestABodyThatWasClosedIsNotTheClients(t *testing.T) {
	ca := newAuthority(t)
	certificate := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS13}
	trusting := &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13}

	for _, test := range []struct {
		name  string
		start func(t *testing.T, handler http.Handler) (url string, client http.RoundTripper)
	}{
		{"HTTP/1.1", func(t *testing.T, handler http.Handler) (string, http.RoundTripper) {
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			return server.URL, server.Client().Transport
		}},
		{"HTTP/2", func(t *testing.T, handler http.Handler) (string, http.RoundTripper) {
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = true
			server.StartTLS()
			t.Cleanup(server.Close)
			return server.URL, server.Client().Transport
		}},
		{"HTTP/2 of x/net", func(t *testing.T, handler http.Handler) (string, http.RoundTripper) {
			server := httptest.NewUnstartedServer(handler)
			if err := http2.ConfigureServer(server.Config, nil); err != nil {
				t.Fatal(err)
			}
			server.TLS = server.Config.TLSConfig
			server.StartTLS()
			t.Cleanup(server.Close)
			client := &http2.Transport{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig}
			t.Cleanup(client.CloseIdleConnections)
			return server.URL, client
		}},
		{"HTTP/3", func(t *testing.T, handler http.Handler) (string, http.RoundTripper) {
			socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			server := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(certificate)}
			over := make(chan struct{})
			go func() {
				defer close(over)
				_ = server.Serve(socket) // until it is closed
			}()
			client := &http3.Transport{TLSClientConfig: trusting}
			t.Cleanup(func() {
				_ = client.Close()
				_ = server.Close()
				_ = socket.Close()
				<-over
			})
			return "https://" + socket.LocalAddr().String(), client
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			said := make(chan error, 1)
			url, client := test.start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 1))
				_ = r.Body.Close()
				_, err := io.Copy(io.Discard, r.Body)
				said <- err
				w.WriteHeader(http.StatusBadGateway)
			}))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(make([]byte, 1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			if res, err := client.RoundTrip(r); err == nil { // it may fail: not all was read
				_ = res.Body.Close()
			}
			if err := <-said; err == nil {
				t.Error("reading a closed body gave no error")
			} else if uploadExplains(&listen.Client{BodyErr: err}) {
				t.Errorf("the client is blamed for %T %q", err, err)
			}
		})
	}
	for _, err := range []error{io.ErrUnexpectedEOF, errors.New("client disconnected"), errors.New("H3_REQUEST_CANCELLED")} {
		if !uploadExplains(&listen.Client{BodyErr: err}) {
			t.Errorf("%q is the client's doing", err)
		}
	}
}

// Through TLS, a writer that finds the connection closed doesn't say that it was
// writing.
func TestAnUploadThatIsResetThroughTLS(t *testing.T) {
	ca := newAuthority(t)
	address := serve(t, func(c net.Conn) {
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS13})
		if _, err := io.ReadFull(secure, make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
		reset(c)
	})
	for range 10 {
		p := to(t, address, post(64<<20), withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13}))
		f := Diagnose(p.ask(t))
		if f == nil {
			t.Fatal("nothing was found")
		}
		check(t, f)
		// Right after the handshake it may as well be a certificate that was refused.
		if f.Cause != Unknown.Name && f.Cause != RequestWriteFailed.Name || !strings.Contains(strings.Join(f.Evidence, "\n"), "sending the request failed") {
			t.Errorf("cause %s; error %q, evidence %q", f.Cause, f.Error, f.Evidence)
		}
	}
}

// A request that can't be sent says which options in force make it so.
func TestOptionsOfARequestThatCannotBeSent(t *testing.T) {
	for text, test := range map[string]struct {
		limits *failure.Limits
		says   []string
	}{
		textNoLength + " so": {&failure.Limits{Transport: "fastcgi"}, []string{"request_buffers is not set", "Set request_buffers"}},
		textUpgradeH2 + "x":  {&failure.Limits{Transport: "http", Versions: []string{"1.1", "2"}}, []string{"the transport offers versions 1.1 2", "Set versions 1.1"}},
	} {
		f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) { a.Limits, a.Err, a.Wrote = test.limits, errors.New(text), 0 })))
		if f.Cause != RequestNotSendable.Name {
			t.Errorf("%s: %s", text, f.Cause)
		}
		says(t, f, test.says, []string{"header_up"})
	}
}

// What nothing tells apart is said to be so, with both ways on.
func TestWhatSpokeBeforeItWasAsked(t *testing.T) {
	f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) { a.Err, a.Wrote = errors.New(textUnsolicited), 0 })))
	if f.Cause != Unknown.Name || !strings.Contains(f.Summary, "nothing tells which") {
		t.Errorf("%s: %s", f.Cause, f.Summary)
	}
	says(t, f, []string{"HTTP/2 alone", "correct the port"}, nil)
}
