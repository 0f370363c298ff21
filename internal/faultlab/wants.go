package faultlab

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Error codes by which an upstream says which HTTP it wants.
const (
	http11Required     = 13
	inadequateSecurity = 12
	h3VersionFallback  = 0x110
)

// wantsFaults are of upstreams that say that they were asked in the wrong way.
func wantsFaults() []Fault {
	answered := func(name, number, cause, side string, status int, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "headers", Side: side, Outcome: "upstream_answered", Status: status, RequestSent: "no",
			Start: start,
		}
	}
	failed := func(name, number, cause, phase, side string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: phase, Side: side, Outcome: "failed", Status: 502,
			Start: start,
		}
	}
	upgrade := sends(Request{Header: map[string]string{"Connection": "Upgrade", "Upgrade": "backup-v1"}})
	webSocket := sends(Request{Header: map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}})
	faults := []Fault{
		answered("http_to_tls_tomcat", "", "tls_expected", "proxy", 400, overTCP(answers(tomcatBadRequest))),
		answered("http_to_tls_jetty", "", "tls_expected", "proxy", 400, overTCP(answers(says400("HTTP request to HTTPS port")))),
		answered("http_to_tls_cheroot", "", "tls_expected", "proxy", 400,
			overTCP(answers(says400("The client sent a plain HTTP request, but this server only speaks HTTPS on this port.")))),
		answered("upgrade_to_tls_required", "", "tls_expected", "proxy", 426, overTCP(answers(statusWith(426, "Upgrade: TLS/1.2, HTTP/1.1\r\n")))),

		answered("http1_to_kestrel_h2c", "", "http_version_mismatch", "proxy", 400,
			overTCP(answers(says400("An HTTP/1.x request was sent to an HTTP/2 only endpoint.")))),
		answered("http1_to_node_h2", "", "http_version_mismatch", "proxy", 403, overTLS(answers(nodeForbidden), transport("versions 1.1"))),
		answered("version_not_supported", "", "http_version_mismatch", "proxy", 505, overTCP(answers(statusWith(505, "")))),
		failed("h2_http11_required", "", "http_version_mismatch", "wait", "proxy", overH2(resetsStream(http11Required))),
		failed("h2c_http11_required", "", "http_version_mismatch", "wait", "proxy", overH2C(resetsStream(http11Required))),
		failed("h2_goaway_http11_required", "", "http_version_mismatch", "wait", "proxy", overH2(closesAfter(saysGoaway(firstStream, http11Required)))),
		failed("h2_goaway_inadequate_security", "", "http_version_mismatch", "wait", "proxy", overH2(closesAfter(saysGoaway(firstStream, inadequateSecurity)))),
		failed("h3_version_fallback", "", "http_version_mismatch", "wait", "proxy",
			overH3(h3Server{protocols: []string{"h3"}, answer: h3Resets("", h3VersionFallback)})),

		answered("misdirected_tls", "", "tls_server_name_rejected", "proxy", 421, overTLS(answers(status(421)), app(answersStatus(421)))),
		answered("misdirected", "", "upstream_status", "proxy", 421, overTCP(answers(status(421)))),
		answered("sni_invalid_jetty", "", "tls_server_name_rejected", "proxy", 400, overTLS(answers(says400("Invalid SNI")))),
		answered("hostname_invalid_iis", "", "upstream_status", "proxy", 400, overTCP(answers(says400("HTTP Error 400. The request hostname is invalid.")))),
		failed("tls_name_missing_go", "", "tls_alert", "tls", "proxy", startNamesOnly),
		failed("tls_name_missing", "", "tls_server_name_rejected", "tls", "proxy", overTCP(afterHello(alert(112)), transport("tls"))),

		answered("upgrade_not_passed_on", "", "upstream_status", "proxy", 426,
			overTCP(answers(statusWith(426, "Connection: Upgrade\r\nUpgrade: websocket\r\n")), block("header_up -Upgrade", "header_up -Connection"), webSocket)),
		// Whoever opens the address of a WebSocket in a browser is told so, and by whom it was meant.
		{Name: "upgrade_not_asked_for", Status: 426, Start: overTCP(answers(statusWith(426, "Connection: Upgrade\r\nUpgrade: websocket\r\n")))},
		{
			Name:  "websocket_unsupported_uvicorn",
			Cause: "upstream_status", Phase: "headers", Side: "upstream", Outcome: "upstream_answered", Status: 400, RequestSent: "no",
			Start: overTCP(answers(says400("Unsupported upgrade request.")), webSocket),
		},
		{
			Name:  "upgrade_without_connection",
			Cause: "upgrade_failed", Phase: "headers", Side: "upstream", Outcome: "failed", Status: http.StatusOK,
			Start: overTCP(answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: backup-v1\r\n\r\n"), upgrade),
		},
		failed("upgrade_over_h2", "", "request_not_sendable", "send", "proxy", overH2(saysNothing, upgrade)),
		failed("connection_set_over_h2", "", "request_not_sendable", "send", "proxy", overH2(saysNothing, block(`header_up Connection "upgrade"`))),
		failed("transfer_encoding_set_over_h2", "", "request_not_sendable", "send", "proxy", overH2(saysNothing, block(`header_up Transfer-Encoding "gzip, chunked"`))),

		{
			Name:  "proxy_header_not_expected",
			Cause: "upstream_status", Phase: "headers", Side: "proxy", Outcome: "upstream_answered", Status: 400, RequestSent: "yes",
			Start: overTCP(refusesPROXY, transport("proxy_protocol v1")),
		},
		{Name: "application_says_400", Status: 400, Start: overTCP(answers(says400("no such order")))},
		failed("proxy_header_to_tls", "", "tls_not_spoken", "tls", "proxy", overTCP(refusesPROXY, transport("tls", "tls_server_name localhost", "proxy_protocol v2"))),

		{
			Name:  "grpc_unavailable",
			Cause: "upstream_status", Phase: "headers", Side: "upstream", Outcome: "upstream_answered", Status: 200, RequestSent: "yes",
			Start: overH2C(answersHeadersAlone(status200 + field("content-type", "application/grpc") + field("grpc-status", "14") + field("grpc-message", "upstream connect error"))),
		},
		{
			Name: "grpc_not_found", Status: 200,
			Start: overH2C(answersHeadersAlone(status200 + field("content-type", "application/grpc") + field("grpc-status", "5"))),
		},

		failed("tls_renegotiation", "", "tls_renegotiation_refused", "wait", "proxy", startRenegotiates),
		failed("tls_key_of_another", "", "tls_malformed", "tls", "upstream", startKeyOfAnother),
		failed("tls_message_unexpected", "", "tls_malformed", "tls", "upstream", overTCP(afterHello([]byte{22, 3, 3, 0, 4, 20, 0, 0, 0}), transport("tls"))),
		failed("tls_certificate_unreadable", "", "certificate_invalid", "tls", "upstream", startUnreadable),
	}
	for i := range faults {
		switch f := &faults[i]; f.Name {
		case "h2_http11_required", "h2_goaway_http11_required":
			f.RequestSent = "maybe"
		case "upgrade_over_h2", "connection_set_over_h2", "tls_name_missing", "tls_key_of_another":
			f.RequestSent = "no"
		}
	}
	return faults
}

// tomcatBadRequest is how Tomcat answers plain HTTP on a TLS port, byte for byte.
const tomcatBadRequest = "HTTP/1.1 400 \r\nContent-Type: text/plain;charset=UTF-8\r\nConnection: close\r\n\r\nBad Request\r\nThis combination of host and port requires TLS.\r\n"

// nodeForbidden is how Node's server of HTTP/2 alone answers who has not asked for it in
// the handshake, byte for byte.
const nodeForbidden = "HTTP/1.0 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nMissing ALPN Protocol, expected `h2` to be available.\n" +
	"If this is a HTTP request: The server was not configured with the `allowHTTP1` option or a listener for the `unknownProtocol` event.\n"

// says400 is a 400 with a sentence in its body, that leaves the connection open.
func says400(sentence string) string {
	body := "<html><head><title>Bad Request</title></head><body><h2>" + sentence + "</h2></body></html>\n"
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// statusWith is an answer without a body, with these lines of header.
func statusWith(code int, lines string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\n\r\n", code, http.StatusText(code), lines)
}

// refusesPROXY is an HTTP server that takes the first line for a request's.
func refusesPROXY(c *conn) {
	// More than the header: what is answered sooner, the transport takes for nobody's.
	if _, err := c.reader.Peek(120); err != nil {
		return
	}
	c.reached()
	c.say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	c.hold() // what is unread would reset the connection
}

// answersHeadersAlone answers with a header block that ends the stream.
func answersHeadersAlone(block string) reply {
	return func(p *peer, stream uint32) bool {
		p.frame(frameHeaders, flagEndOfHeaders|flagEndOfStream, stream, block)
		return true
	}
}

// startNamesOnly makes an upstream that has a certificate for its name alone, as Caddy:
// whoever asks for none gets Go's alert 80.
func startNamesOnly() (*Upstream, error) {
	ca, certificate, err := newCertificate(func(c *x509.Certificate) { c.DNSNames = []string{"app.internal"} })
	if err != nil {
		return nil, err
	}
	return handshakes(&tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != "app.internal" {
			return nil, fmt.Errorf("no certificate available for %q", hello.ServerName)
		}
		return &certificate, nil
	}}, ca)
}

// startKeyOfAnother makes an upstream whose key does not belong to its certificate.
func startKeyOfAnother() (*Upstream, error) {
	ca, certificate, err := newCertificate(nil)
	if err != nil {
		return nil, err
	}
	other, err := ca.issue(nil)
	if err != nil {
		return nil, err
	}
	certificate.PrivateKey = other.PrivateKey
	return handshakes(&tls.Config{Certificates: []tls.Certificate{certificate}}, ca)
}

// startUnreadable makes an upstream whose certificate is none.
func startUnreadable() (*Upstream, error) {
	ca, certificate, err := newCertificate(nil)
	if err != nil {
		return nil, err
	}
	certificate.Certificate = [][]byte{[]byte("no certificate")}
	return handshakes(&tls.Config{Certificates: []tls.Certificate{certificate}}, ca)
}

// startRenegotiates makes an upstream that reads a request and begins another handshake,
// as Apache and IIS do for a path that wants a client certificate.
func startRenegotiates() (*Upstream, error) {
	ca, certificate, err := newCertificate(nil)
	if err != nil {
		return nil, err
	}
	u, err := overTCP(renegotiates(certificate))()
	if err != nil {
		return nil, err
	}
	if err := u.trust(ca); err != nil {
		return u.fails(err)
	}
	return u, nil
}

// renegotiates writes a HelloRequest (RFC 5246 section 7.4.1.1) by hand, for Go's server
// never asks for a handshake of its own.
func renegotiates(certificate tls.Certificate) behaviour {
	return func(c *conn) {
		heard, secrets := &tap{Conn: c.raw}, new(keyLog)
		secure := tls.Server(heard, &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, KeyLogWriter: secrets,
		})
		if secure.Handshake() != nil {
			return
		}
		inner := newConn(secure, c.raw, c.number, c.closing, c.reached)
		if _, err := inner.request(); err != nil {
			return
		}
		record, err := secrets.seal(heard.random(), 22, []byte{0, 0, 0, 0})
		if err != nil {
			return
		}
		_, _ = c.raw.Write(record)
		_, _ = io.Copy(io.Discard, c.raw)
	}
}

// tap keeps the first bytes that a TLS server writes.
type tap struct {
	net.Conn
	wrote bytes.Buffer
}

func (t *tap) Write(p []byte) (int, error) {
	if t.wrote.Len() < 64 {
		t.wrote.Write(p)
	}
	return t.Conn.Write(p)
}

// random is that of the ServerHello, which stands first: after the record's header, the
// message's, and the version.
func (t *tap) random() []byte { return t.wrote.Bytes()[5+4+2:][:32] }

// keyLog hears a connection's secret, as SSLKEYLOGFILE has it.
type keyLog struct {
	mu   sync.Mutex
	line string
}

func (k *keyLog) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.line += string(p)
	return len(p), nil
}

// seal makes the server's second encrypted record of TLS 1.2 with AES-128-GCM: the first
// was its Finished (RFC 5246 sections 5 and 6.3, RFC 5288 section 3).
func (k *keyLog) seal(serverRandom []byte, kind byte, message []byte) ([]byte, error) {
	k.mu.Lock()
	words := strings.Fields(k.line) // CLIENT_RANDOM, it, the master secret
	k.mu.Unlock()
	if len(words) < 3 {
		return nil, fmt.Errorf("no secret was logged: %q", words)
	}
	clientRandom, err := hex.DecodeString(words[1])
	if err != nil {
		return nil, err
	}
	master, err := hex.DecodeString(words[2])
	if err != nil {
		return nil, err
	}
	const key, salt = 16, 4
	block := expand(master, "key expansion"+string(serverRandom)+string(clientRandom), 2*key+2*salt)
	aesBlock, err := aes.NewCipher(block[key : 2*key])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(aesBlock)
	if err != nil {
		return nil, err
	}
	const number = 1
	explicit := binary.BigEndian.AppendUint64(nil, number)
	nonce := append(append([]byte(nil), block[2*key+salt:]...), explicit...)
	about := append(binary.BigEndian.AppendUint64(nil, number), kind, 3, 3, 0, byte(len(message)))
	sealed := append(explicit, gcm.Seal(nil, nonce, message, about)...)
	return append([]byte{kind, 3, 3, 0, byte(len(sealed))}, sealed...), nil
}

// expand is TLS 1.2's P_SHA256 (RFC 5246 section 5).
func expand(secret []byte, seed string, n int) []byte {
	mac := func(data []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(data)
		return h.Sum(nil)
	}
	var out []byte
	for a := mac([]byte(seed)); len(out) < n; a = mac(a) {
		out = append(out, mac(append(append([]byte(nil), a...), seed...))...)
	}
	return out[:n]
}
