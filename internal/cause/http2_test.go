package cause

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// In TLS 1.3 a server refuses a client's certificate after the handshake. Over HTTP/2
// the request may meet a connection that is closed already, before the alert was
// read: then nothing tells it from a crash, and it has no name.
func TestARefusedClientCertificateOverHTTP2(t *testing.T) {
	ca := newAuthority(t)
	for _, polite := range []bool{true, false} {
		t.Run(fmt.Sprintf("waits for the client to close: %v", polite), func(t *testing.T) {
			address := serve(t, func(c net.Conn) {
				server := tls.Server(c, &tls.Config{
					Certificates: []tls.Certificate{ca.issue(t, nil)}, NextProtos: []string{"h2"},
					ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
				})
				if server.HandshakeContext(t.Context()) == nil {
					t.Error("no certificate was good enough")
				}
				if polite {
					hold(c)
				}
			})
			for range 20 {
				p := to(t, address, withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS13}), overHTTP2(t))
				f := Diagnose(p.ask(t))
				if f == nil {
					t.Fatal("nothing was found")
				}
				check(t, f)
				if f.Cause != ClientCertificateRejected.Name && f.Cause != Unknown.Name {
					t.Fatalf("cause %s; error %q, evidence %q", f.Cause, f.Error, f.Evidence)
				}
				p.transport.CloseIdleConnections()
			}
		})
	}
}

// overHTTP2 lets the transport speak HTTP/2, as Caddy's does.
func overHTTP2(t *testing.T) func(*proxy) {
	return func(p *proxy) {
		if err := http2.ConfigureTransport(p.transport); err != nil {
			t.Fatal(err)
		}
	}
}

// What is rare or slow to make with a real peer.
func TestHTTP2And3Literally(t *testing.T) {
	brokenPipe := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
	over := func(protocol string, usesTLS bool, err error) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) { a.Protocol, a.TLS, a.Err = protocol, usesTLS, err })
	}
	later := func(a listen.Attempt) listen.Attempt {
		a.End = a.Connection.At + time.Second
		return a
	}
	unwritten := func(a listen.Attempt) listen.Attempt {
		a.WriteErr = a.Err
		return a
	}
	uploading := func(a listen.Attempt) listen.Attempt {
		a.RequestBytes = 1 << 20
		return a
	}
	hasty := &failure.Limits{Transport: "http", Settings: []failure.Setting{{Name: failure.WriteTimeout, Value: millisecond, Source: failure.LimitConfigured}}}
	large := &failure.Limits{MaxResponseHeader: 1 << 10}
	limited := func(a listen.Attempt, limits *failure.Limits) listen.Attempt {
		a.Limits = limits
		return a
	}
	h3 := func(text string) listen.Attempt {
		return over("h3", true, fmt.Errorf("http3: parsing frame failed: %w", errors.New(text)))
	}
	afterGreeting := func(a listen.Attempt) listen.Attempt {
		c := *a.Connection
		c.Carried = &listen.Carried{Head: []byte("* OK ready\r\n"), Received: int64(len("* OK ready\r\n"))}
		a.Connection = &c
		return a
	}
	for _, test := range []struct {
		name    string
		attempt listen.Attempt
		want    *Row
		sent    failure.Sent
	}{
		{"the connection was lost", over("h2", true, errors.New("http2: client connection lost")), ConnectionLost, failure.SentMaybe},
		{"closed before it was used", over("h2c", false, errors.New("http2: client conn could not be established")), Unknown, failure.SentNo},
		{"closed before it was used, after TLS", over("h2", true, errors.New("http2: client conn could not be established")), Unknown, failure.SentNo},
		{"writing failed right after TLS", over("h2", true, brokenPipe), Unknown, failure.SentMaybe},
		{"writing the request failed a second after TLS", unwritten(later(over("h2", true, brokenPipe))), RequestWriteFailed, failure.SentMaybe},
		{"writing failed a second after TLS, after the request", later(over("h2", true, brokenPipe)), ResetBeforeResponse, failure.SentMaybe},
		{"writing the request failed in the clear", unwritten(later(over("h2c", false, brokenPipe))), Unknown, failure.SentMaybe},
		{"writing a request failed that was taken for a while", uploading(unwritten(later(over("h2c", false, brokenPipe)))), RequestWriteFailed, failure.SentMaybe},
		{"writing failed after the request", over("h2c", false, brokenPipe), ResetBeforeResponse, failure.SentMaybe},
		{"writing timed out after the request", limited(over("h2c", false, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}), hasty), Unknown, failure.SentMaybe},
		{"writing the request timed out", limited(unwritten(over("h2c", false, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded})), hasty), RequestWriteTimeout, failure.SentMaybe},
		{"found closed while writing, right after TLS", unwritten(over("http/1.1", true, net.ErrClosed)), Unknown, failure.SentMaybe},
		{"found closed while writing, a second after TLS", unwritten(later(over("http/1.1", true, net.ErrClosed))), RequestWriteFailed, failure.SentMaybe},
		{"found closed while writing, for a greeting", afterGreeting(unwritten(over("http/1.1", false, net.ErrClosed))), NotHTTP, failure.SentNo},
		{"a peer's PROTOCOL_ERROR for a body that can't be sent again", over("h2", true, errors.New(
			"http2: Transport: cannot retry err [stream error: stream ID 1; PROTOCOL_ERROR; received from peer] after Request.Body was written; define Request.GetBody to avoid this error")), StreamReset, failure.SentMaybe},
		{"broken headers with the usual limit", over("h2", true, http2.ConnectionError(http2.ErrCodeCompression)), HTTPFramingError, failure.SentMaybe},
		{"broken headers with a limit of the config", limited(over("h2", true, http2.ConnectionError(http2.ErrCodeCompression)), large), Unknown, failure.SentMaybe},
		{"a flow control error with a limit of the config", limited(over("h2", true, http2.ConnectionError(http2.ErrCodeFlowControl)), large), HTTPFramingError, failure.SentMaybe},

		{"QUIC's stateless reset", h3("received a stateless reset"), ConnectionLost, failure.SentMaybe},
		{"QUIC's idle timeout", h3("timeout: no recent network activity"), ConnectionLost, failure.SentMaybe},
		{"HTTP/3's GOAWAY", h3("connection in graceful shutdown"), Goaway, failure.SentNo},
		{"an alert of the upstream", h3("CRYPTO_ERROR 0x150 (remote): tls: internal error"), TLSAlert, failure.SentMaybe},
		{"our certificate is missing", h3("CRYPTO_ERROR 0x174 (remote): tls: certificate required"), ClientCertificateRejected, failure.SentNo},
		{"an alert of our own", h3("CRYPTO_ERROR 0x150 (local): tls: internal error"), Unknown, failure.SentMaybe},
		{"a stream that was reset", h3("H3_INTERNAL_ERROR"), StreamReset, failure.SentMaybe},
		{"a stream that was rejected", h3("H3_REQUEST_REJECTED"), StreamReset, failure.SentNo},
		{"a stream that we reset", h3("H3_FRAME_UNEXPECTED (local)"), HTTPFramingError, failure.SentMaybe},
		{"a stream that we cancelled", h3("H3_REQUEST_CANCELLED (local)"), Unknown, failure.SentMaybe},
		{"the words of a peer", h3("H3_INTERNAL_ERROR: H3_REQUEST_CANCELLED (local)"), StreamReset, failure.SentMaybe},
		{"headers too large", over("h3", true, errors.New("http3: HEADERS frame too large: 2000 bytes (max: 1000)")), ResponseHeadersTooLarge, failure.SentMaybe},
		{"QUIC's words in another protocol", over("http/1.1", false, errors.New("H3_INTERNAL_ERROR")), Unknown, failure.SentMaybe},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(heard(nil, test.attempt))
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != test.want.Name || f.RequestSent != test.sent {
				t.Errorf("got %s, sent %s; want %s, %s; evidence %q", f.Cause, f.RequestSent, test.want.Name, test.sent, f.Evidence)
			}
		})
	}
}

func TestThroughProxy(t *testing.T) {
	for _, test := range []struct {
		name, address, lookup, dialled string
		want                           bool
	}{
		{"the address itself", "10.0.0.7:443", "", "10.0.0.7:443", false},
		{"another port", "10.0.0.7:443", "", "10.0.0.7:3128", true},
		{"another address", "10.0.0.7:443", "", "10.0.0.9:443", true},
		{"the name itself", "app:443", "app", "10.0.0.7:443", false},
		{"another name", "app:443", "proxy", "10.0.0.9:443", true},
		{"a name that was never looked up", "app:443", "", "10.0.0.9:443", true},
		{"an address, and a name was looked up", "10.0.0.7:443", "proxy", "10.0.0.7:443", true},
		{"a port by its name", "app:https", "app", "10.0.0.7:443", false},
		{"the same address, written as IPv6", "10.0.0.7:443", "", "[::ffff:10.0.0.7]:443", false},
		{"nothing dialled", "10.0.0.7:443", "", "", false},
		{"no host", ":443", "", "127.0.0.1:443", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := listen.Attempt{Network: "tcp", Address: test.address, Dialing: &listen.Dialing{Start: 1}}
			if test.lookup != "" {
				a.Dialing.Lookup = &listen.Lookup{Host: test.lookup, Start: 1, End: 2}
			}
			if test.dialled != "" {
				a.Dialing.Connects = []listen.Connect{{Network: "tcp", Address: test.dialled, Start: 3, End: 4}}
			}
			if got := throughProxy(&a); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
