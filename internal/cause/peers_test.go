package cause

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// proxy does what a reverse_proxy with ears in it does, with a plain
// http.Transport: so the errors are Go's own, from real peers.
type proxy struct {
	transport *http.Transport
	tls       bool
	limits    *failure.Limits
	network   string
	address   string
	scheme    string // http or https unless named
	method    string
	header    http.Header
	body      io.Reader
	host      string        // the Host that is sent
	wired     bool          // the connection is listened to as well
	leave     time.Duration // after which the client leaves, if it does
}

// opaque hides what it wraps, as reverse_proxy's error of dialling does.
type opaque struct{ error }

// withStatus is an error that stands for a status, as Caddy's.
type withStatus struct {
	err    error
	status int
}

func (e withStatus) Error() string { return fmt.Sprintf("{id=abc} HTTP %d: %v", e.status, e.err) }
func (e withStatus) Unwrap() error { return e.err }

type listenerKey struct{}

// to makes a proxy in front of address.
func to(t *testing.T, address string, options ...func(*proxy)) *proxy {
	t.Helper()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	p := &proxy{
		network: "tcp", address: address, method: http.MethodGet,
		transport: &http.Transport{DialContext: dialer.DialContext, DisableCompression: true},
		limits:    &failure.Limits{Transport: "http"},
	}
	for _, option := range options {
		option(p)
	}
	dial := p.transport.DialContext
	p.transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		l, _ := ctx.Value(listenerKey{}).(*listen.Listener)
		a, ctx := l.Dial(ctx)
		network := p.network
		if network == "unix" {
			address = p.address
		}
		conn, err := dial(ctx, network, address)
		if a != nil {
			a.Dialed(err)
		}
		if err != nil {
			return nil, opaque{err}
		}
		if p.wired {
			conn = listen.NewWire(conn, nil)
			if a != nil {
				a.Wired(conn)
			}
		}
		return conn, nil
	}
	t.Cleanup(p.transport.CloseIdleConnections)
	return p
}

// ask sends one request, passes the answer on and returns what was heard.
func (p *proxy) ask(t *testing.T) *listen.Heard {
	t.Helper()
	scheme, host := "http", p.address
	if p.tls {
		scheme = "https"
	}
	if p.scheme != "" {
		scheme = p.scheme
	}
	if p.network == "unix" {
		host = "socket"
	}
	ctx := t.Context()
	if p.leave > 0 {
		client, leaves := context.WithCancel(ctx)
		ctx = client
		defer time.AfterFunc(p.leave, leaves).Stop()
		defer leaves()
	}
	r, err := http.NewRequestWithContext(ctx, p.method, scheme+"://"+host+"/", p.body)
	if err != nil {
		t.Fatal(err)
	}
	if p.header != nil {
		r.Header = p.header
	}
	if p.host != "" {
		r.Host = p.host
	}
	l := listen.To(httptest.NewRecorder(), r, nil)
	a := l.Selected(p.address, nil, p.limits)
	trace := new(httptrace.ClientTrace)
	r = r.WithContext(httptrace.WithClientTrace(context.WithValue(r.Context(), listenerKey{}, l), trace))
	l.RoundTrip(p.limits, listen.Trip{Network: p.network, Address: p.address, TLS: p.tls, Request: r, Trace: trace})
	r.Body = a.RequestBody(r.Body)
	res, err := p.transport.RoundTrip(r)
	_, dialErr := errors.AsType[opaque](err)
	a.Ended(res, err, dialErr)
	if err != nil {
		status := http.StatusBadGateway
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // as Caddy does
			status = http.StatusGatewayTimeout
		}
		return l.Seal(withStatus{err, status}, status, false)
	}
	defer func() { _ = res.Body.Close() }()
	l.WriteHeader(res.StatusCode)
	_, err = io.Copy(l, res.Body)
	return l.Seal(nil, 0, err != nil)
}

// serve gives every connection to handle, until the test is over.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	return serveOn(t, "tcp", "127.0.0.1:0", handle)
}

func serveOn(t *testing.T, network, address string, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// answer reads a request and writes these bytes before it closes.
func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
	}
}

// greet writes these bytes at once and waits for the other side to close.
func greet(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// hold reads for as long as the other side is there.
func hold(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func readRequest(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// nobody is an address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func limited(name string, value time.Duration) func(*proxy) {
	return func(p *proxy) {
		p.limits.Settings = append(p.limits.Settings, failure.Setting{Name: name, Value: value, Source: failure.LimitConfigured})
		switch name {
		case failure.DialTimeout:
			p.transport.DialContext = (&net.Dialer{Timeout: value}).DialContext
		case failure.TLSTimeout:
			p.transport.TLSHandshakeTimeout = value
		case failure.ResponseHeaderTimeout:
			p.transport.ResponseHeaderTimeout = value
		case failure.ReadTimeout, failure.WriteTimeout:
			p.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return limitedConn{conn, name, value}, err
			}
		}
	}
}

// limitedConn has a read or a write timeout, as the transport of Caddy has it.
type limitedConn struct {
	net.Conn
	name  string
	value time.Duration
}

func (c limitedConn) Read(p []byte) (int, error) {
	if c.name == failure.ReadTimeout {
		_ = c.SetReadDeadline(time.Now().Add(c.value))
	}
	return c.Conn.Read(p)
}

func (c limitedConn) Write(p []byte) (int, error) {
	if c.name == failure.WriteTimeout {
		_ = c.SetWriteDeadline(time.Now().Add(c.value))
	}
	return c.Conn.Write(p)
}

func post(size int64) func(*proxy) {
	return func(p *proxy) { p.method, p.body = http.MethodPost, io.LimitReader(zeros{}, size) }
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func unixSocket(p *proxy) { p.network = "unix" }

func withTLS(config *tls.Config) func(*proxy) {
	return func(p *proxy) { p.tls, p.transport.TLSClientConfig = true, config }
}

// resolvedBy makes the transport ask the name server at address.
func resolvedBy(address string, timeout time.Duration) func(*proxy) {
	return func(p *proxy) {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", address)
		}}
		p.transport.DialContext = (&net.Dialer{Timeout: timeout, Resolver: resolver}).DialContext
		p.limits.Settings = append(p.limits.Settings, failure.Setting{Name: failure.DialTimeout, Value: timeout, Source: failure.LimitDefault})
	}
}

// nameServer answers every question with this code and nothing more; with a
// negative one it says nothing.
func nameServer(t *testing.T, rcode int) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if rcode < 0 || n < 12 {
				continue
			}
			end := 12
			for end < n && buffer[end] != 0 {
				end += int(buffer[end]) + 1
			}
			reply := append([]byte(nil), buffer[:end+5]...)
			reply[2], reply[3] = 0x81, 0x80|byte(rcode)
			binary.BigEndian.PutUint64(reply[4:], 1<<48) // one question, nothing else
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return conn.LocalAddr().String()
}

// authority signs certificates for these tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := new(authority)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	ca.key, ca.cert = sign(t, template, nil)
	return ca
}

func sign(t *testing.T, template *x509.Certificate, ca *authority) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// issue makes a server's certificate for 127.0.0.1, changed by change.
func (ca *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	key, cert := sign(t, template, ca)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (ca *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// serveTLS answers 200 over TLS.
func serveTLS(t *testing.T, config *tls.Config) string {
	t.Helper()
	return serve(t, func(c net.Conn) {
		server := tls.Server(c, config)
		if server.HandshakeContext(t.Context()) != nil {
			return
		}
		answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(server)
	})
}

// serveHTTPS is a server of net/http that speaks TLS.
func serveHTTPS(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

const short = 50 * time.Millisecond // a limit that is to run out

// quiet drops what net/http itself logs about a server that speaks first.
func quiet(t *testing.T) {
	log.SetOutput(io.Discard)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
}

func TestRealPeers(t *testing.T) {
	quiet(t)
	ca := newAuthority(t)
	trusting := func(change func(*tls.Config)) func(*proxy) {
		config := &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}
		if change != nil {
			change(config)
		}
		return withTLS(config)
	}
	certified := func(change func(*x509.Certificate)) func(*testing.T) *proxy {
		return func(t *testing.T) *proxy {
			address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, change)}, MinVersion: tls.VersionTLS12})
			return to(t, address, trusting(nil))
		}
	}
	demanding := func(version uint16) func(*testing.T) *proxy {
		return func(t *testing.T) *proxy {
			address := serveTLS(t, &tls.Config{
				Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert,
				ClientCAs: ca.pool(), MinVersion: version, MaxVersion: version,
			})
			return to(t, address, trusting(nil))
		}
	}
	// alerting answers the ClientHello with an alert record.
	alerting := func(alert byte) func(*testing.T) *proxy {
		return func(t *testing.T) *proxy {
			return to(t, serve(t, func(c net.Conn) {
				_, _ = io.ReadFull(c, make([]byte, 5))
				_, _ = c.Write([]byte{0x15, 3, 3, 0, 2, 2, alert})
				hold(c)
			}), trusting(nil))
		}
	}
	answering := func(text string, options ...func(*proxy)) func(*testing.T) *proxy {
		return func(t *testing.T) *proxy { return to(t, serve(t, answer(text)), options...) }
	}
	serving := func(handle func(net.Conn), options ...func(*proxy)) func(*testing.T) *proxy {
		return func(t *testing.T) *proxy { return to(t, serve(t, handle), options...) }
	}
	const ok = "HTTP/1.1 200 OK\r\n"

	for _, test := range []struct {
		name    string
		proxy   func(*testing.T) *proxy
		want    *Row
		outcome failure.Outcome // failed unless named
		status  int             // 502 unless named
		sent    failure.Sent
		phase   failure.Phase // the row's unless named
		limit   string
		see     string // in the evidence
	}{
		{name: "nobody listens", proxy: func(t *testing.T) *proxy { return to(t, nobody(t)) }, want: ConnectionRefused, sent: failure.SentNo, see: "ECONNREFUSED after "},
		{name: "no socket", proxy: func(t *testing.T) *proxy { return to(t, filepath.Join(t.TempDir(), "x.sock"), unixSocket) }, want: SocketNotFound, sent: failure.SentNo, see: "ENOENT"},
		{name: "a socket that nobody listens on", proxy: func(t *testing.T) *proxy {
			path := filepath.Join(t.TempDir(), "x.sock")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			_ = l.Close()
			return to(t, path, unixSocket)
		}, want: ConnectionRefused, sent: failure.SentNo},
		{name: "a socket that is not for us", proxy: func(t *testing.T) *proxy {
			if os.Geteuid() == 0 || runtime.GOOS == "windows" {
				t.Skip("the modes of files don't hold this user back")
			}
			path := filepath.Join(t.TempDir(), "x.sock")
			serveOn(t, "unix", path, hold)
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			return to(t, path, unixSocket)
		}, want: SocketPermissionDenied, sent: failure.SentNo},
		{name: "no such name", proxy: func(t *testing.T) *proxy {
			return to(t, "app.test:80", resolvedBy(nameServer(t, 3), 10*time.Second))
		}, want: DNSNameNotFound, sent: failure.SentNo, see: "lookup app.test: no such host"},
		{name: "a name without address", proxy: func(t *testing.T) *proxy {
			return to(t, "app.test:80", resolvedBy(nameServer(t, 0), 10*time.Second))
		}, want: DNSNameNotFound, sent: failure.SentNo},
		{name: "SERVFAIL", proxy: func(t *testing.T) *proxy {
			return to(t, "app.test:80", resolvedBy(nameServer(t, 2), 10*time.Second))
		}, want: DNSServerFailed, sent: failure.SentNo},
		{name: "REFUSED", proxy: func(t *testing.T) *proxy {
			return to(t, "app.test:80", resolvedBy(nameServer(t, 5), 10*time.Second))
		}, want: DNSServerFailed, sent: failure.SentNo},
		{name: "no name server", proxy: func(t *testing.T) *proxy { return to(t, "app.test:80", resolvedBy(nobody(t), 10*time.Second)) }, want: DNSServerFailed, sent: failure.SentNo},
		{name: "a silent name server", proxy: func(t *testing.T) *proxy { return to(t, "app.test:80", resolvedBy(nameServer(t, -1), short)) }, want: DNSTimeout, status: 504, sent: failure.SentNo, limit: failure.DialTimeout},

		{name: "TLS to HTTP", proxy: serving(greet("HTTP/1.1 400 Bad Request\r\n\r\n"), trusting(nil)), want: TLSNotSpoken, sent: failure.SentNo, see: `"HTTP/"`},
		{name: "TLS to SSH", proxy: serving(greet("SSH-2.0-OpenSSH_9.6\r\n"), trusting(nil)), want: TLSNotSpoken, sent: failure.SentNo, see: `"SSH-2"`},
		{name: "FIN in the handshake", proxy: serving(func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)) }, trusting(nil)), want: TLSClosed, sent: failure.SentNo},
		{name: "RST in the handshake", proxy: serving(func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); reset(c) }, trusting(nil)), want: TLSClosed, sent: failure.SentNo},
		{name: "a handshake that stalls", proxy: serving(hold, trusting(nil), limited(failure.TLSTimeout, short)), want: TLSTimeout, status: 504, sent: failure.SentNo, limit: failure.TLSTimeout},
		{name: "a certificate that is good", proxy: certified(nil)},
		{name: "an unknown authority", proxy: func(t *testing.T) *proxy {
			return to(t, serveHTTPS(t), withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}))
		}, want: CertificateUntrusted, sent: failure.SentNo},
		{name: "self-signed", proxy: func(t *testing.T) *proxy {
			key, cert := sign(t, &x509.Certificate{
				SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "itself"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			}, nil)
			address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS12})
			return to(t, address, trusting(nil))
		}, want: CertificateUntrusted, sent: failure.SentNo, see: "it is self-signed"},
		{name: "expired", proxy: certified(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), want: CertificateExpired, sent: failure.SentNo, see: "is valid from"},
		{name: "not yet valid", proxy: certified(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), want: CertificateNotYetValid, sent: failure.SentNo},
		{name: "an authority that is not ours", proxy: func(t *testing.T) *proxy {
			return to(t, serveHTTPS(t), withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}))
		}, want: CertificateUntrusted, sent: failure.SentNo, see: "is valid from "},
		{name: "another name", proxy: certified(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.test"} }), want: CertificateNameMismatch, sent: failure.SentNo, see: "names in the certificate: other.test"},
		{name: "no names at all", proxy: certified(func(c *x509.Certificate) { c.IPAddresses = nil }), want: CertificateNameMismatch, sent: failure.SentNo},
		{name: "for clients only", proxy: certified(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want: CertificateInvalid, sent: failure.SentNo},
		{name: "a client certificate is missing, TLS 1.3", proxy: demanding(tls.VersionTLS13), want: ClientCertificateRejected, sent: failure.SentNo, see: "alert 116"},
		{name: "a client certificate is missing, TLS 1.2", proxy: demanding(tls.VersionTLS12), want: TLSAlert, sent: failure.SentNo, see: "alert 40"},
		{name: "no common version", proxy: func(t *testing.T) *proxy {
			address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MinVersion: tls.VersionTLS13})
			return to(t, address, trusting(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }))
		}, want: TLSVersionUnsupported, sent: failure.SentNo, see: "alert 70"},
		{name: "no common protocol", proxy: func(t *testing.T) *proxy {
			address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, NextProtos: []string{"other"}, MinVersion: tls.VersionTLS12})
			return to(t, address, trusting(func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }))
		}, want: HTTPVersionMismatch, sent: failure.SentNo, phase: failure.PhaseTLS, see: "alert 120"},
		{name: "alert 112", proxy: alerting(112), want: TLSServerNameRejected, sent: failure.SentNo},
		{name: "alert 40", proxy: alerting(40), want: TLSAlert, sent: failure.SentNo, see: "alert 40: handshake failure"},
		{name: "alert 48", proxy: alerting(48), want: ClientCertificateRejected, sent: failure.SentNo},
		{name: "no name to check the certificate by", proxy: func(t *testing.T) *proxy {
			return to(t, serveHTTPS(t), trusting(nil), func(p *proxy) {
				// As Caddy does with proxy_protocol.
				p.transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := p.transport.DialContext(ctx, network, address)
					if err != nil {
						return nil, err
					}
					secure := tls.Client(c, p.transport.TLSClientConfig.Clone())
					if err := secure.HandshakeContext(ctx); err != nil {
						_ = c.Close()
						return nil, err
					}
					return secure, nil
				}
			})
		}, want: RequestNotSendable, sent: failure.SentNo, phase: failure.PhaseTLS, see: "no name is known"},
		{name: "an alert without a name", proxy: alerting(200), want: TLSAlert, sent: failure.SentNo, see: "alert 200"},

		{name: "an upload that nobody reads", proxy: serving(func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); <-t.Context().Done() }, post(64<<20), limited(failure.WriteTimeout, short)), want: RequestWriteTimeout, status: 504, sent: failure.SentMaybe, limit: failure.WriteTimeout},
		{name: "RST in the upload", proxy: serving(func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 1<<20)); reset(c) }, post(64<<20)), want: RequestWriteFailed, sent: failure.SentMaybe, see: " bytes of the request's body"},

		{name: "closed without an answer", proxy: answering(""), want: ClosedBeforeResponse, sent: failure.SentMaybe, see: "no byte of an answer came"},
		{name: "reset without an answer", proxy: serving(func(c net.Conn) { readRequest(c); reset(c) }), want: ResetBeforeResponse, sent: failure.SentMaybe},
		{name: "no answer in time", proxy: serving(hold, limited(failure.ResponseHeaderTimeout, short)), want: ResponseTimeout, status: 504, sent: failure.SentMaybe, limit: failure.ResponseHeaderTimeout},
		{name: "nothing to read in time", proxy: serving(hold, limited(failure.ReadTimeout, short)), want: ReadTimeout, status: 504, sent: failure.SentMaybe, limit: failure.ReadTimeout},

		{name: "an answer that stalls in its headers", proxy: serving(func(c net.Conn) { readRequest(c); greet(ok + "A: b\r\n")(c) }, limited(failure.ResponseHeaderTimeout, short)), want: ResponseTimeout, status: 504, sent: failure.SentYes, phase: failure.PhaseHeaders, limit: failure.ResponseHeaderTimeout},
		{name: "cut after a line", proxy: answering(ok + "A: b\r\n"), want: ResponseCutInHeaders, sent: failure.SentYes},
		{name: "reset after a line", proxy: serving(func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, ok+"A: b\r\n")
			_, _ = c.Read(make([]byte, 1)) // until the other side has given up
			reset(c)
		}, limited(failure.ResponseHeaderTimeout, short)), want: ResponseTimeout, status: 504, sent: failure.SentYes, phase: failure.PhaseHeaders},
		{name: "cut in the first line", proxy: answering("HTTP/1"), want: ResponseCutInHeaders, sent: failure.SentYes, see: `"HTTP/1"`},
		{name: "no status", proxy: answering("HTTP/1.1 abc OK\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "no status but a version", proxy: answering("HTTP/1.1 v1.25 OK\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "no version", proxy: answering("HTP/1.1 200 OK\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "text instead of HTTP", proxy: answering("hello\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "no colon", proxy: answering(ok + "no colon here\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "an empty field name", proxy: answering(ok + ": x\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "NUL in a field", proxy: answering(ok + "A: b\x00c\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "a length that is none", proxy: answering(ok + "Content-Length: x\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "two lengths", proxy: answering(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), want: ResponseMalformed, sent: failure.SentYes},
		{name: "an unknown transfer coding", proxy: answering(ok + "Transfer-Encoding: gzip\r\n\r\n"), want: TransferCodingInvalid, sent: failure.SentYes, see: `unsupported transfer encoding: "gzip"`},
		{name: "two transfer codings", proxy: answering(ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), want: TransferCodingInvalid, sent: failure.SentYes},
		{name: "headers too large", proxy: answering(ok+"A: "+strings.Repeat("b", 8<<10)+"\r\n\r\n", func(p *proxy) { p.transport.MaxResponseHeaderBytes = 4 << 10 }), want: ResponseHeadersTooLarge, sent: failure.SentYes},
		{name: "SSH", proxy: serving(greet("SSH-2.0-OpenSSH_9.6\r\n")), want: NotHTTP, sent: failure.SentNo},
		{name: "SSH that waits for us", proxy: answering("SSH-2.0-OpenSSH_9.6\r\n"), want: NotHTTP, sent: failure.SentNo},
		{name: "SMTP", proxy: answering("220 mail.example.test ESMTP\r\n"), want: NotHTTP, sent: failure.SentNo},
		{name: "Redis", proxy: answering("-ERR\r\n"), want: NotHTTP, sent: failure.SentYes, see: `"-ERR`},
		{name: "MySQL", proxy: answering("J\x00\x00\x00\n8.0.36\x00"), want: NotHTTP, sent: failure.SentYes},
		{name: "an alert instead of an answer", proxy: answering("\x15\x03\x01\x00\x02\x02\x46"), want: TLSExpected, sent: failure.SentNo},
		{name: "an alert with a line's end in it", proxy: answering("\x15\x03\x03\x00\x02\x02\x0a"), want: TLSExpected, sent: failure.SentNo},
		{name: "a TLS port that speaks of it", proxy: func(t *testing.T) *proxy { return to(t, serveHTTPS(t)) }, want: TLSExpected, outcome: failure.UpstreamAnswered, status: 400, sent: failure.SentNo, see: "Client sent an HTTP request"},
		{name: "an HTTP/2 server", proxy: answering("\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"), want: HTTPVersionMismatch, sent: failure.SentNo},

		{name: "truncated", proxy: answering(ok + "Content-Length: 500\r\n\r\n1234567"), want: ResponseTruncated, outcome: failure.Truncated, status: 200, sent: failure.SentYes, see: "7 of 500 bytes"},
		{name: "chunks that end too soon", proxy: answering(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n12"), want: ResponseTruncated, outcome: failure.Truncated, status: 200, sent: failure.SentYes},
		{name: "a trailer without its end", proxy: answering(ok + "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nA: b"), want: TransferCodingInvalid, outcome: failure.Truncated, status: 200, sent: failure.SentYes, phase: failure.PhaseBody},
		{name: "no chunk", proxy: answering(ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), want: TransferCodingInvalid, outcome: failure.Truncated, status: 200, sent: failure.SentYes, phase: failure.PhaseBody},
		{name: "a chunk without its end", proxy: answering(ok + "Transfer-Encoding: chunked\r\n\r\n1\r\n1234\r\n"), want: TransferCodingInvalid, outcome: failure.Truncated, status: 200, sent: failure.SentYes, phase: failure.PhaseBody},
		{name: "a malformed trailer", proxy: answering(ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n"), want: TransferCodingInvalid, outcome: failure.Truncated, status: 200, sent: failure.SentYes, phase: failure.PhaseBody},
		{name: "a body that stalls", proxy: serving(func(c net.Conn) { readRequest(c); greet(ok + "Content-Length: 9\r\n\r\n1234")(c) }, limited(failure.ReadTimeout, short)), want: ResponseStalled, outcome: failure.Truncated, status: 200, sent: failure.SentYes, limit: failure.ReadTimeout},
		{name: "gzip that is none", proxy: answering(ok+"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzip at!", func(p *proxy) { p.transport.DisableCompression = false }), want: ContentCodingInvalid, outcome: failure.Truncated, status: 200, sent: failure.SentYes},

		{name: "its own 503", proxy: answering("HTTP/1.1 503 Busy\r\nServer: x\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"), want: UpstreamStatus, outcome: failure.UpstreamAnswered, status: 503, sent: failure.SentYes},
		{name: "its own 500", proxy: answering("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")},
		{name: "an answer that is fine", proxy: answering(ok + "Content-Length: 2\r\n\r\nhi")},
		{name: "a field that can't be sent", proxy: answering(ok+"\r\n", func(p *proxy) { p.header = http.Header{"A b": {"c"}} }), want: RequestNotSendable, sent: failure.SentNo},
		{name: "a value that can't be sent", proxy: answering(ok+"\r\n", func(p *proxy) { p.header = http.Header{"A": {"b\nc"}} }), want: RequestNotSendable, sent: failure.SentNo},
		{name: "a scheme that nobody speaks", proxy: answering(ok+"\r\n", func(p *proxy) { p.scheme = "gopher" }), want: RequestNotSendable, sent: failure.SentNo},
	} {
		for _, wired := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, wired %v", test.name, wired), func(t *testing.T) {
				p := test.proxy(t)
				p.wired = wired
				h := p.ask(t)
				f := Diagnose(h)
				if test.want == nil {
					if f != nil {
						t.Fatalf("a request that went well became %s: %q", f.Cause, f.Error)
					}
					return
				}
				if f == nil {
					t.Fatalf("nothing was found; the error was %v", h.Err)
				}
				check(t, f)
				if !wired && f.Cause == Unknown.Name && f.Error == textUnsolicited {
					return // it came too early, and nobody saw what
				}
				if f.Cause != test.want.Name {
					t.Fatalf("cause %s, want %s; error %q, evidence %q", f.Cause, test.want.Name, f.Error, f.Evidence)
				}
				if test.outcome == "" {
					test.outcome = failure.Failed
				}
				if test.status == 0 {
					test.status = http.StatusBadGateway
				}
				if test.phase == "" {
					test.phase = test.want.Phase
				}
				if f.Outcome != test.outcome || f.Status != test.status || f.Phase != test.phase {
					t.Errorf("%s %d in %s, want %s %d in %s", f.Outcome, f.Status, f.Phase, test.outcome, test.status, test.phase)
				}
				if test.sent != "" && f.RequestSent != test.sent {
					t.Errorf("request_sent %s, want %s", f.RequestSent, test.sent)
				}
				if test.limit != "" && (f.Limit == nil || f.Limit.Name != test.limit) {
					t.Errorf("limit %+v, want %s", f.Limit, test.limit)
				}
				if !strings.Contains(strings.Join(f.Evidence, "\n"), test.see) {
					t.Errorf("evidence %q lacks %q", f.Evidence, test.see)
				}
			})
		}
	}
}

// What net/http calls malformed was often cut, or is no HTTP: the connection tells.
func TestWhatTheConnectionTells(t *testing.T) {
	quiet(t)
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, test := range []struct {
		name   string
		handle func(net.Conn)
		want   *Row
	}{
		{"cut in the status", answer("HTTP/1.1 20"), ResponseCutInHeaders},
		{"cut in a field's name", answer(ok + "Content-Le"), ResponseCutInHeaders},
		{"reset in a field's name", func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, ok+"Content-Le")
			reset(c)
		}, nil}, // the system may throw away what came before a reset
		{"a status that is whole and wrong", answer("HTTP/1.1 20 OK\r\n\r\n"), ResponseMalformed},
		{"a field that is whole and wrong", answer(ok + "nonsense\r\n\r\n"), ResponseMalformed},
		{"a field that is wrong, then cut", answer(ok + "nonsense\r\nContent-Le"), ResponseMalformed},
		{"SSH with a comment", greet("SSH-2.0-OpenSSH_9.6 Debian-1\r\n"), NotHTTP},
		{"FTP", greet("220 (vsFTPd 3.0.5)\r\n"), NotHTTP},
		{"IMAP", greet("* OK [CAPABILITY IMAP4rev1] ready\r\n"), NotHTTP},
		{"Redis", answer("-ERR unknown command 'GET'\r\n"), NotHTTP},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := serve(t, test.handle)
			for range 20 { // a greeting and the request cross
				f := Diagnose(to(t, address, func(p *proxy) { p.wired = true }).ask(t))
				if f == nil {
					t.Fatal("nothing was found")
				}
				check(t, f)
				if test.want == nil && (f.Cause == ResponseCutInHeaders.Name || f.Cause == ResetBeforeResponse.Name) {
					continue
				}
				if test.want == nil || f.Cause != test.want.Name {
					t.Fatalf("%s: %q, %q", f.Cause, f.Error, f.Evidence)
				}
			}
		})
	}
	t.Run("a read timeout in the headers", func(t *testing.T) {
		address := serve(t, func(c net.Conn) { readRequest(c); greet(ok + "A: b\r\n")(c) })
		f := Diagnose(to(t, address, limited(failure.ReadTimeout, short), func(p *proxy) { p.wired = true }).ask(t))
		if f == nil || f.Cause != ReadTimeout.Name || f.Phase != failure.PhaseHeaders || f.Limit == nil {
			t.Errorf("%+v", f)
		}
	})
}

// check holds what is true of every record.
func check(t *testing.T, f *failure.Failure) {
	t.Helper()
	row := ByName(f.Cause)
	switch {
	case row == nil:
		t.Errorf("%q is no cause", f.Cause)
	case f.Category != row.Category:
		t.Errorf("category %q, the row has %q", f.Category, row.Category)
	}
	if f.Evidence == nil || f.Attempts == nil {
		t.Error("a list that holds nothing must be empty, not nil")
	}
	if f.Summary == "" || strings.ContainsAny(f.Summary+f.Advice, "{}") {
		t.Errorf("words are missing or unfilled: %q, %q", f.Summary, f.Advice)
	}
	if len(f.Error) > maxError {
		t.Errorf("the error has %d bytes", len(f.Error))
	}
	for _, a := range f.Attempts {
		if len(a.Error) > maxAttemptError {
			t.Errorf("an attempt's error has %d bytes", len(a.Error))
		}
	}
	if strings.HasPrefix(f.Error, "{id=") {
		t.Errorf("the error is Caddy's wrapping, not the cause's own: %q", f.Error)
	}
}

// A mail server greets at once, so its greeting and our request cross: whatever
// comes first, it must not be taken for an HTTP server.
func TestGreetingsCross(t *testing.T) {
	quiet(t)
	address := serve(t, greet("220 mx.example.com ESMTP\r\n"))
	for range 300 {
		f := Diagnose(to(t, address).ask(t))
		// Where the bytes aren't seen, a greeting that came too early may be anybody's.
		if f == nil || f.Cause != NotHTTP.Name && !(f.Cause == Unknown.Name && f.Error == textUnsolicited) {
			t.Fatalf("a mail server became %+v", f)
		}
	}
}

// Once a connection was used, an upstream may close it at any moment.
func TestKeepaliveRace(t *testing.T) {
	secondRequest := func(last func(net.Conn)) string {
		return serve(t, func(c net.Conn) {
			r := bufio.NewReader(c)
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if request, err := http.ReadRequest(r); err == nil {
				_, _ = io.Copy(io.Discard, request.Body)
				last(c)
			}
		})
	}
	for _, test := range []struct {
		name    string
		last    func(net.Conn)
		method  string
		outcome failure.Outcome
		sent    failure.Sent
	}{
		{"FIN, not to be repeated", func(net.Conn) {}, http.MethodPost, failure.Failed, failure.SentMaybe},
		{"RST, not to be repeated", reset, http.MethodPost, failure.Failed, failure.SentMaybe},
		{"FIN, repeated by the transport", func(net.Conn) {}, http.MethodGet, failure.Rescued, failure.SentYes},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := to(t, secondRequest(test.last))
			if f := Diagnose(p.ask(t)); f != nil {
				t.Fatalf("the first request became %s", f.Cause)
			}
			if p.method = test.method; p.method == http.MethodPost {
				p.body = struct{ io.Reader }{strings.NewReader("body")}
			}
			f := Diagnose(p.ask(t))
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != KeepaliveRace.Name || f.Outcome != test.outcome || f.RequestSent != test.sent {
				t.Errorf("%s %s sent %s, want %s %s sent %s (%q)", f.Outcome, f.Cause, f.RequestSent, test.outcome, KeepaliveRace.Name, test.sent, f.Error)
			}
			if a := f.Attempts[0]; a.Reused == nil || !*a.Reused || a.IdleMS == nil {
				t.Errorf("the attempt doesn't say that it reused an idle connection: %+v", a)
			}
		})
	}
}
