package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// speaksTLS says what a config says of TLS.
func speaksTLS(settings failure.TLSSettings) func(*proxy) {
	return func(p *proxy) { p.limits.TLS = &settings }
}

func sendsPROXY(p *proxy) { p.limits.ProxyProtocol = "v1" }

func asksFor(host string) func(*proxy) { return func(p *proxy) { p.host = host } }

func listens(p *proxy) { p.wired = true }

// What a server says that it wants is heard, and what is to be done is said.
func TestWants(t *testing.T) {
	quiet(t)
	ca := newAuthority(t)
	trusting := func(name string) func(*proxy) {
		return withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12, ServerName: name})
	}
	over := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS12}
			return serve(t, func(c net.Conn) {
				server := tls.Server(c, config)
				if server.HandshakeContext(t.Context()) == nil {
					answer(text)(server)
				}
			})
		}
	}
	plain := func(text string) func(*testing.T) string {
		return func(t *testing.T) string { t.Helper(); return serve(t, answer(text)) }
	}
	alerts := func(alert byte) func(*testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			return serve(t, func(c net.Conn) {
				_, _ = io.ReadFull(c, make([]byte, 5))
				_, _ = c.Write([]byte{0x15, 3, 3, 0, 2, 2, alert})
				hold(c)
			})
		}
	}
	demands := func(t *testing.T) string {
		t.Helper()
		return serveTLS(t, &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS13,
		})
	}
	namesOnly := func(t *testing.T) string { // as Caddy does
		t.Helper()
		return serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("no certificate for " + hello.ServerName)
		}})
	}
	const empty = "Content-Length: 0\r\n\r\n"

	for _, test := range []struct {
		name    string
		server  func(*testing.T) string
		options []func(*proxy)
		want    *Row // nil for no record
		side    failure.Side
		sent    failure.Sent
		says    []string // in the evidence, the summary or the advice
		not     string   // in none of them
	}{
		{name: "421 over TLS to an address", server: over("HTTP/1.1 421 Misdirected Request\r\n" + empty),
			options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{}), asksFor("a.example.test")},
			want:    TLSServerNameRejected, side: failure.SideProxy, sent: failure.SentNo,
			says: []string{"the upstream answered 421", "no server name was sent: 127.0.0.1 is an address", "the Host sent was a.example.test", "Set tls_server_name a.example.test in the transport"}},
		{name: "421 over TLS to another name", server: over("HTTP/1.1 421 Misdirected Request\r\n" + empty),
			options: []func(*proxy){withTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "b.example.test"}), speaksTLS(failure.TLSSettings{ServerName: "{label}"}), asksFor("a.example.test")}, //nolint:gosec // as in the field
			want:    TLSServerNameRejected, side: failure.SideProxy, sent: failure.SentNo, says: []string{"the server name sent was b.example.test"}},
		{name: "421 in the clear", server: plain("HTTP/1.1 421 Misdirected Request\r\n" + empty), options: []func(*proxy){asksFor("a.example.test")},
			want: UpstreamStatus, side: failure.SideProxy, sent: failure.SentNo, says: []string{"the Host sent was a.example.test", "header_up Host"}},
		{name: "alert 80 to an address", server: namesOnly, options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{}), asksFor("app.example.test:443")},
			want: TLSAlert, side: failure.SideProxy, sent: failure.SentNo,
			says: []string{"alert 80", "no server name was sent: 127.0.0.1 is an address", "Set tls_server_name app.example.test in the transport"}},
		{name: "alert 80 to a name", server: namesOnly, options: []func(*proxy){trusting("app.example.test"), speaksTLS(failure.TLSSettings{ServerName: "app.example.test"})},
			want: TLSAlert, side: failure.SideUpstream, sent: failure.SentNo, says: []string{"the server name sent was app.example.test"}},
		{name: "a Host that can't be a name", server: namesOnly, options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{}), asksFor("10.0.0.7")},
			want: TLSAlert, side: failure.SideProxy, says: []string{"for the alert's reason", "set tls_server_name in the transport to the name"}, not: "tls_server_name 10."},
		{name: "alert 112 to an address", server: alerts(112), options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{}), asksFor("app.example.test")},
			want: TLSServerNameRejected, side: failure.SideProxy, says: []string{"no server name was sent", "Set tls_server_name app.example.test"}},
		{name: "alert 112 to a placeholder's name", server: alerts(112), options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{ServerName: "{label}"})},
			want: TLSServerNameRejected, side: failure.SideProxy, says: []string{"what tls_server_name {label} gave"}, not: "no server name"},
		{name: "alert 40 says all that was asked", server: alerts(40), options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{})},
			want: TLSAlert, side: failure.SideUpstream, says: []string{"no server name was sent", "tls_client_auth is not set"}},
		{name: "nothing was presented", server: demands, options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{})},
			want: ClientCertificateRejected, side: failure.SideProxy, sent: failure.SentNo, says: []string{"alert 116", "no certificate was presented", "Set tls_client_auth"}, not: "accept what Caddy presented"},
		{name: "one was presented", server: alerts(42), options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{ClientCertificate: true})},
			want: ClientCertificateRejected, side: failure.SideProxy, says: []string{"there was a certificate to present", "Replace the certificate in tls_client_auth"}},
		{name: "another name in the certificate", server: func(t *testing.T) string {
			t.Helper()
			return serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) {
				c.IPAddresses, c.DNSNames = nil, []string{"other.test"}
			})}})
		}, options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{}), asksFor("app.example.test")},
			want: CertificateNameMismatch, side: failure.SideProxy, says: []string{"is the server that is meant; if it is", "no server name was sent", "the Host to be sent was app.example.test"}},

		{name: "an authority that was made anew", server: func(t *testing.T) string {
			t.Helper()
			return serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{newAuthority(t).issue(t, nil)}})
		}, options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{TrustPool: true})},
			want: CertificateUntrusted, side: failure.SideProxy, says: []string{"an authority of the issuer's name is known", "was made anew, under the same name"}, not: "did not come"},
		{name: "closed in the handshake", server: func(t *testing.T) string {
			t.Helper()
			return serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)) })
		}, options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{ServerName: "app.example.test"}), listens},
			want: TLSClosed, side: failure.SideUpstream, says: []string{"the server name sent was app.example.test", "no byte came back"}},
		{name: "silent in the handshake", server: func(t *testing.T) string { t.Helper(); return serve(t, hold) },
			options: []func(*proxy){trusting(""), speaksTLS(failure.TLSSettings{}), listens, limited(failure.TLSTimeout, short)},
			want:    TLSTimeout, side: failure.SideUpstream, says: []string{"no server name was sent: 127.0.0.1 is an address", "no byte came back"}},
		{name: "closed after some bytes", server: func(t *testing.T) string {
			t.Helper()
			return serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)); _, _ = io.WriteString(c, "\x16\x03") })
		}, options: []func(*proxy){trusting(""), listens}, want: TLSClosed, side: failure.SideUpstream, says: []string{`2 bytes came back: "\x16\x03"`}},
		{name: "a PROXY header to a TLS port", server: func(t *testing.T) string {
			t.Helper()
			return serve(t, greet("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, options: []func(*proxy){trusting(""), sendsPROXY},
			want: TLSNotSpoken, side: failure.SideProxy, says: []string{"a PROXY protocol header (v1) was sent", "Remove proxy_protocol"}},
		{name: "a PROXY header to a TLS port that answers with an alert", server: func(t *testing.T) string {
			t.Helper()
			return serve(t, greet("\x15\x03\x03\x00\x02\x02\x50"))
		}, options: []func(*proxy){trusting("app.example.test"), sendsPROXY},
			want: TLSAlert, side: failure.SideUpstream, sent: failure.SentNo, says: []string{"a PROXY protocol header (v1) was sent", "expects a PROXY header"}},
		{name: "the same alert without a PROXY header", server: func(t *testing.T) string {
			t.Helper()
			return serve(t, greet("\x15\x03\x03\x00\x02\x02\x50"))
		}, options: []func(*proxy){trusting("app.example.test")}, want: TLSAlert, side: failure.SideUpstream, sent: failure.SentNo, not: "PROXY"},

		{name: "400 after a PROXY header", server: plain("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n" + empty), options: []func(*proxy){sendsPROXY},
			want: UpstreamStatus, side: failure.SideProxy, sent: failure.SentYes, says: []string{"a PROXY protocol header (v1) was sent before the request", "Remove proxy_protocol"}},
		{name: "400 on an open connection after a PROXY header", server: plain("HTTP/1.1 400 Bad Request\r\n" + empty), options: []func(*proxy){sendsPROXY}},
		{name: "400 that closes, without a PROXY header", server: plain("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n" + empty)},
		{name: "426 that wants TLS", server: plain("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n" + empty), want: TLSExpected, side: failure.SideProxy, sent: failure.SentNo},
		{name: "426 that wants HTTP/2", server: plain("HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\n" + empty), want: HTTPVersionMismatch, side: failure.SideProxy, sent: failure.SentNo},
		{name: "426 to who asked for nothing", server: plain("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n" + empty)},
		{name: "505", server: plain("HTTP/1.1 505 HTTP Version Not Supported\r\n" + empty), want: HTTPVersionMismatch, side: failure.SideProxy, sent: failure.SentNo, says: []string{"it was asked in http/1.1"}},
		{name: "Jetty's sentence in the clear", server: plain("HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\n\r\nInvalid SNI")},
		{name: "Node's 403", server: over("HTTP/1.0 403 Forbidden\r\n\r\nMissing ALPN Protocol, expected `h2` to be available.\n"), options: []func(*proxy){trusting("")},
			want: HTTPVersionMismatch, side: failure.SideProxy, sent: failure.SentNo, says: []string{"Missing ALPN Protocol", "versions 2"}},
		{name: "any other 403", server: over("HTTP/1.0 403 Forbidden\r\n\r\nno"), options: []func(*proxy){trusting("")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(to(t, test.server(t), test.options...).ask(t))
			if test.want == nil {
				if f != nil {
					t.Fatalf("it became %s: %q", f.Cause, f.Evidence)
				}
				return
			}
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != test.want.Name || f.Side != test.side || test.sent != "" && f.RequestSent != test.sent {
				t.Errorf("%s, side %s, sent %s; want %s, %s, %s (%q)", f.Cause, f.Side, f.RequestSent, test.want.Name, test.side, test.sent, f.Error)
			}
			all := strings.Join(append(f.Evidence, f.Summary, f.Advice), "\n")
			for _, words := range test.says {
				if !strings.Contains(all, words) {
					t.Errorf("lacks %q:\n%s", words, all)
				}
			}
			if test.not != "" && strings.Contains(all, test.not) {
				t.Errorf("has %q:\n%s", test.not, all)
			}
			for _, line := range f.Evidence {
				if len(line) > maxEvidence {
					t.Errorf("a line of %d bytes: %s", len(line), line)
				}
			}
		})
	}
}

// Where a connection has served a second request, the PROXY header is expected, and a 400
// is the application's.
func TestPROXYThatIsExpected(t *testing.T) {
	refused := func(before *listen.Before) *failure.Failure {
		return Diagnose(heard(func(h *listen.Heard) { h.Response.Status = http.StatusBadRequest }, answered200(func(a *listen.Attempt) {
			a.Status, a.Header, a.Before, a.Limits = http.StatusBadRequest, http.Header{":close": nil}, before, &failure.Limits{Transport: "http", ProxyProtocol: "v2"}
		})))
	}
	if f := refused(&listen.Before{Answers: 9}); f == nil || f.Cause != UpstreamStatus.Name {
		t.Errorf("%+v", f)
	}
	if f := refused(&listen.Before{Answers: 9, Worked: time.Second}); f != nil {
		t.Errorf("%s: %q", f.Cause, f.Evidence)
	}
}

// A 101 that is not passed on says what was sent, and clears header_up only where that
// changed nothing.
func TestUpgradeSaysWhatWasSent(t *testing.T) {
	const unchanged = "header_up changed nothing"
	for _, test := range []struct {
		name, upgrade, connection, answered string
		says, not, advice                   string
	}{
		{name: "to another", upgrade: "websocket", connection: "Upgrade", answered: "other", says: unchanged, advice: adviceOtherUpgrade},
		{name: "as it should be", upgrade: "websocket", connection: "Upgrade", answered: "websocket", says: unchanged},
		{name: "sent without Connection", upgrade: "websocket", answered: "websocket", says: `what was sent had Upgrade: "websocket", Connection: ""`, not: unchanged},
		{name: "sent for another", upgrade: "other", connection: "Upgrade", answered: "other", says: `the client's Upgrade: "websocket"`, not: unchanged},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := upgradeCause(&listen.Attempt{
				Status:  http.StatusSwitchingProtocols,
				Header:  http.Header{"Connection": {"Upgrade"}, "Upgrade": {test.answered}, ":upgrade": {"websocket"}, ":connection": {"Upgrade"}},
				Request: &http.Request{Header: http.Header{"Upgrade": {test.upgrade}, "Connection": {test.connection}}},
			})
			all := strings.Join(f.evidence, "\n")
			if !strings.Contains(all, test.says) || test.not != "" && strings.Contains(all, test.not) || f.advice != test.advice {
				t.Errorf("advice %q:\n%s", f.advice, all)
			}
		})
	}
}

// Whatever our own side of TLS refuses has a cause.
func TestOwnTLS(t *testing.T) {
	quiet(t)
	ca := newAuthority(t)
	trusting := func(change func(*tls.Config)) func(*proxy) {
		config := &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}
		if change != nil {
			change(config)
		}
		return withTLS(config)
	}
	// flipped changes a bit of the first record that the server sends after its handshake.
	flipped := func(t *testing.T) string {
		t.Helper()
		config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}
		return serve(t, func(c net.Conn) {
			f := &flipping{Conn: c}
			server := tls.Server(f, config)
			if server.HandshakeContext(t.Context()) != nil {
				return
			}
			readRequest(server)
			f.flips = true
			_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			hold(c)
		})
	}
	otherKey := func(t *testing.T) string {
		t.Helper()
		certificate, other := ca.issue(t, nil), ca.issue(t, nil)
		certificate.PrivateKey = other.PrivateKey
		return serveTLS(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	unreadable := func(t *testing.T) string {
		t.Helper()
		certificate := ca.issue(t, nil)
		certificate.Certificate = [][]byte{[]byte("nothing")}
		return serveTLS(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	demanding := func(t *testing.T) string {
		t.Helper()
		return serveTLS(t, &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
		})
	}
	for _, test := range []struct {
		name   string
		server func(*testing.T) string
		change func(*tls.Config)
		want   *Row
		phase  failure.Phase
		side   failure.Side
		says   string
	}{
		{"a record that was changed", flipped, nil, TLSMalformed, failure.PhaseWait, failure.SideUpstream, "bad record MAC"},
		{"the key of another", otherKey, nil, TLSMalformed, failure.PhaseTLS, failure.SideUpstream, "invalid signature by the server certificate"},
		{"a certificate that is none", unreadable, nil, CertificateInvalid, failure.PhaseTLS, failure.SideUpstream, "failed to parse certificate from server"},
		{"no certificate of our own", demanding, func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return nil, errors.New("no client certificate found for automate name: app.internal") // Caddy's own words
			}
		}, RequestNotSendable, failure.PhaseTLS, failure.SideProxy, "tls_client_auth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(to(t, test.server(t), trusting(test.change)).ask(t))
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != test.want.Name || f.Phase != test.phase || f.Side != test.side {
				t.Errorf("%s in %s, side %s: %q", f.Cause, f.Phase, f.Side, f.Error)
			}
			if all := strings.Join(append(f.Evidence, f.Advice), "\n"); !strings.Contains(all, test.says) {
				t.Errorf("lacks %q:\n%s", test.says, all)
			}
		})
	}
}

// flipping changes the last byte of what it writes.
type flipping struct {
	net.Conn
	flips bool
}

func (f *flipping) Write(p []byte) (int, error) {
	if f.flips {
		p = append([]byte(nil), p...)
		p[len(p)-1] ^= 1
	}
	return f.Conn.Write(p)
}

// Every error that crypto/tls may give a client has a cause.
func TestOwnTLSErrors(t *testing.T) {
	for _, text := range []string{
		"tls: server selected unsupported group", "tls: server chose an unconfigured cipher suite", "tls: too many ignored records",
		"tls: received unexpected handshake message of type *tls.serverHelloMsg when waiting for *tls.finishedMsg",
		"tls: server's Finished message was incorrect", "tls: invalid server finished hash", "tls: server selected unadvertised ALPN protocol",
		"tls: handshake message of length 70000 bytes exceeds maximum of 65536 bytes",
		"tls: server's identity changed during renegotiation", "tls: server's certificate contains an unsupported type of public key: *dsa.PublicKey",
		"tls: failed to sign handshake: x", "tls: no supported versions satisfy MinVersion and MaxVersion", "chain is not signed by an acceptable CA",
		"tls: downgrade attempt detected, possibly due to a MitM attack or a broken middlebox",
	} {
		for _, established := range []bool{false, true} {
			a := &listen.Attempt{TLS: true, Sent: 1}
			if established {
				a.Connection, a.Wrote = &listen.Connection{}, 2
			}
			f := ownTLSCause(a, opaque{errors.New(text)})
			if !f.is() || f.row == Unknown {
				t.Errorf("%q has no cause", text)
			}
		}
	}
	for _, err := range []error{nil, io.EOF, errors.New("tls: protocol is shutdown"), &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}} {
		if f := ownTLSCause(&listen.Attempt{}, err); f.is() {
			t.Errorf("%v became %s", err, f.row.Name)
		}
	}
}

// An answer that stalls until the client leaves is the upstream's doing; a client that
// leaves during one that goes on, or that may pause, is nobody's.
func TestStalledAnswers(t *testing.T) {
	left := func(change func(*listen.Attempt)) *listen.Heard {
		return heard(func(h *listen.Heard) { h.Response.Status, h.Panicked, h.Client.Left = 200, true, true }, answered200(func(a *listen.Attempt) {
			a.Body = listen.Body{Bytes: 30000, Expected: 100000, Err: context.Canceled, Last: time.Second}
			a.End = 6 * time.Second
			change(a)
		}))
	}
	f := Diagnose(left(func(*listen.Attempt) {}))
	if f == nil || f.Cause != ResponseStalled.Name || f.Outcome != failure.Truncated || f.Side != failure.SideUpstream || f.Status != 200 {
		t.Fatalf("%+v", f)
	}
	check(t, f)
	if all := strings.Join(f.Evidence, "\n"); !strings.Contains(all, "nothing of it had come for 5 s when the client left") || !strings.Contains(all, "30000 of 100000 bytes") {
		t.Errorf("%s", all)
	}
	for name, change := range map[string]func(*listen.Attempt){
		"at once":          func(a *listen.Attempt) { a.Body.Last = 5 * time.Second },
		"an event stream":  func(a *listen.Attempt) { a.Body.Expected = -1 },
		"all of it came":   func(a *listen.Attempt) { a.Body.Bytes = a.Body.Expected },
		"nothing was lost": func(a *listen.Attempt) { a.Body.Err = nil },
	} {
		if f := Diagnose(left(change)); f != nil {
			t.Errorf("%s: %s", name, f.Cause)
		}
	}
}

// FastCGI answers a client that has left: it was abandoned all the same.
func TestLateAnswers(t *testing.T) {
	late := func(protocol string) *listen.Heard {
		return heard(func(h *listen.Heard) { h.Response.Status, h.Client.Left, h.Client.Gone = 200, true, true }, answered200(func(a *listen.Attempt) {
			a.Protocol, a.Start, a.Answered = protocol, time.Millisecond, 4*time.Second
		}))
	}
	f := Diagnose(late(protocolFastCGI))
	if f == nil || f.Cause != ClientClosedRequest.Name || f.Outcome != failure.Abandoned || f.Status != listen.StatusClientClosedRequest || f.Phase != failure.PhaseWait {
		t.Fatalf("%+v", f)
	}
	check(t, f)
	if f := Diagnose(late("http/1.1")); f != nil {
		t.Errorf("over HTTP it became %s", f.Cause)
	}
}

// What refuses an upgrade over HTTP/2 is the transport itself.
func TestConnectionFieldsOverHTTP2(t *testing.T) {
	for _, test := range []struct{ text, advice string }{
		{`http2: invalid Upgrade request header: ["SPDY/3.1"]`, adviceUpgradeH2},
		{`http2: invalid Connection request header: ["upgrade"]`, adviceConnectionH2},
		{`http2: invalid Transfer-Encoding request header: ["gzip, chunked"]`, adviceConnectionH2},
	} {
		f := Diagnose(heard(func(h *listen.Heard) {
			h.Err, h.ErrStatus = withStatus{errors.New(test.text), 502}, http.StatusBadGateway
		},
			sentAttempt(func(a *listen.Attempt) { a.Err, a.Wrote, a.Protocol = errors.New(test.text), 0, protocolH2 })))
		if f == nil || f.Cause != RequestNotSendable.Name || f.RequestSent != failure.SentNo || f.Side != failure.SideProxy || f.Advice != test.advice {
			t.Errorf("%s: %+v", test.text, f)
		}
	}
}

// An upstream that does not expect the PROXY header may answer before the request is there,
// or leave it unread, so that its answer breaks off or sending the request fails.
func TestPROXYThatIsNotExpected(t *testing.T) {
	const (
		closing = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request"
		open    = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
	)
	limits := &failure.Limits{Transport: "http", ProxyProtocol: "v2"}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	unwritten := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	heardBack := func(a *listen.Attempt, head string, sent int64) {
		a.Limits, a.Connection.Carried = limits, &listen.Carried{Sent: sent, Received: int64(len(head)), Head: []byte(head)}
	}
	unasked := func(head string) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			heardBack(a, head, 0)
			a.Wrote, a.Err = 0, errors.New(textUnsolicited)
		})
	}
	crossed := func(head string) listen.Attempt {
		a := unasked(head)
		a.FirstByte, a.Wrote = 3*millisecond, 4*millisecond
		return a
	}
	unread := func(head string) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			heardBack(a, head, 100)
			a.FirstByte, a.RequestBytes, a.WriteErr, a.Err = 4*millisecond, 5, unwritten, unwritten
		})
	}
	brokenOff := answered200(func(a *listen.Attempt) {
		heardBack(a, closing, 100)
		a.Status, a.Header, a.Body.Err, a.Body.Expected = http.StatusBadRequest, http.Header{":close": nil}, reset, -1
	})
	plain := crossed(closing)
	plain.Limits = handler
	shared := unread(closing)
	shared.Connection.Link = &listen.Link{Shared: true}
	for _, test := range []struct {
		name    string
		attempt listen.Attempt
		want    *Row
		sent    failure.Sent
		outcome failure.Outcome
	}{
		{"before the request", unasked(closing), UpstreamStatus, failure.SentNo, failure.Failed},
		{"before the request, with a length", unasked(open), UpstreamStatus, failure.SentNo, failure.Failed},
		{"crossing with the request", crossed(closing), UpstreamStatus, failure.SentMaybe, failure.Failed},
		{"the request could not be written", unread(closing), UpstreamStatus, failure.SentYes, failure.Failed},
		{"its end was reset", brokenOff, UpstreamStatus, failure.SentYes, failure.Truncated},
		{"an application's own that leaves the connection open", unread(open), RequestWriteFailed, failure.SentYes, failure.Failed},
		{"another status", unasked(strings.Replace(closing, "400", "503", 1)), Unknown, failure.SentNo, failure.Failed},
		{"without a header", plain, Unknown, failure.SentMaybe, failure.Failed},
		{"over a connection of HTTP/2", shared, RequestWriteFailed, failure.SentYes, failure.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(heard(func(h *listen.Heard) {
				if test.outcome == failure.Truncated {
					h.Panicked, h.Response.Status = true, http.StatusBadRequest
				}
			}, test.attempt))
			if f == nil || f.Cause != test.want.Name || f.Outcome != test.outcome || f.RequestSent != test.sent {
				t.Fatalf("%+v", f)
			}
			asked := f.Side == failure.SideProxy && strings.HasPrefix(f.Advice, "Remove proxy_protocol") &&
				slices.ContainsFunc(f.Evidence, func(line string) bool {
					return strings.HasPrefix(line, "a PROXY protocol header (v2) was sent before the request")
				})
			if asked != (test.want == UpstreamStatus) {
				t.Errorf("side %s, %q, advice %q", f.Side, f.Evidence, f.Advice)
			}
			if test.want == Unknown && !slices.ContainsFunc(f.Evidence, func(line string) bool { return strings.HasPrefix(line, `what came begins with "HTTP/1.1 `) }) {
				t.Errorf("%q", f.Evidence)
			}
		})
	}
}
