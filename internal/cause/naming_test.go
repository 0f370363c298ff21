package cause

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// However much is known of which upstream it was, a summary names it without empty
// brackets.
func TestUpstreamIsNamed(t *testing.T) {
	for _, test := range []struct{ upstream, source, address, want string }{
		{"", "", "127.0.0.1:2", "Nothing accepts connections at 127.0.0.1:2."},
		{"", "a app:8080", "127.0.0.1:2", "Nothing accepts connections at 127.0.0.1:2."},
		{"", "", "", "Nothing accepts connections at the upstream."},
		{"app:8080", "", "10.0.0.7:8080", "Nothing accepts connections at app:8080."},
		{"app:8080", "a app:8080", "10.0.0.7:8080", "Nothing accepts connections at app:8080."},
		{"app:8080", "", "", "Nothing accepts connections at app:8080."},
		{"a app", "a app", "10.0.0.7:80", "Nothing accepts connections at 10.0.0.7:80 (a app)."},
		{"a app", "a app", "", "Nothing accepts connections at a app."},
		{"{vars.app}", "", "10.0.0.7:80", "Nothing accepts connections at 10.0.0.7:80 ({vars.app})."},
		{"{vars.app}", "", "", "Nothing accepts connections at {vars.app}."},
	} {
		name := test.upstream + ", " + test.source + ", " + test.address
		t.Run(name, func(t *testing.T) {
			a := dialAttempt("tcp", test.address, "connect", syscall.ECONNREFUSED)
			a.Upstream = test.upstream
			f := Diagnose(heard(func(h *listen.Heard) { h.Selection.Source = test.source }, a))
			if f == nil || f.Summary != test.want {
				t.Errorf("got %+v, want %q", f, test.want)
			}
		})
	}
}

// A certificate is known by its subject, or by the first name that it is for.
func TestCertificateIsNamed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*x509.Certificate)
		want   []string
	}{
		{"a subject", nil, []string{`certificate of "CN=a server", issued by "CN=itself"`, `the certificate of "CN=a server" is valid from`}},
		{"names alone", func(c *x509.Certificate) {
			c.Subject, c.DNSNames = pkix.Name{}, []string{"app.test", "other.test"}
		}, []string{`certificate of "app.test", issued by`, `the certificate of "app.test" is valid from`}},
		{"an address alone", func(c *x509.Certificate) { c.Subject = pkix.Name{} }, []string{`certificate of "127.0.0.1", issued by`}},
		{"a URI alone", func(c *x509.Certificate) {
			c.Subject, c.IPAddresses, c.URIs = pkix.Name{}, nil, []*url.URL{{Scheme: "spiffe", Host: "app"}}
		}, []string{`certificate of "spiffe://app", issued by`}},
		{"nothing", func(c *x509.Certificate) { c.Subject, c.IPAddresses = pkix.Name{}, nil }, []string{"certificate without a name, issued by", "the certificate without a name is valid from"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "itself"}, NotBefore: time.Now(), NotAfter: time.Now(), IsCA: true, BasicConstraintsValid: true}
			key, cert := sign(t, template, nil)
			unknown := &authority{cert: cert, key: key}
			address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{unknown.issue(t, test.change)}, MinVersion: tls.VersionTLS12})
			f := Diagnose(to(t, address, withTLS(&tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12})).ask(t))
			if f == nil || f.Cause != CertificateUntrusted.Name && f.Cause != CertificateNameMismatch.Name {
				t.Fatalf("got %+v", f)
			}
			says(t, f, test.want, []string{`""`})
		})
	}
	t.Run("an authority without a name", func(t *testing.T) {
		key, cert := sign(t, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now()}, nil)
		address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS12})
		f := Diagnose(to(t, address, withTLS(&tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12})).ask(t))
		if f == nil {
			t.Fatal("nothing was found")
		}
		says(t, f, []string{"certificate without a name, 1 in the chain"}, []string{`""`})
	})
}

// says holds against all words of f what must be in them, and what must not.
func says(t *testing.T, f *failure.Failure, want, not []string) {
	t.Helper()
	all := strings.Join(append(f.Evidence, f.Summary, f.Advice, f.Error), "\n")
	for _, words := range want {
		if !strings.Contains(all, words) {
			t.Errorf("lacks %q:\n%s", words, all)
		}
	}
	for _, words := range not {
		if strings.Contains(all, words) {
			t.Errorf("has %q:\n%s", words, all)
		}
	}
}

// What is said of a forward proxy that led nowhere is what it was asked for, and no
// handshake that never began.
func TestForwardProxyEvidence(t *testing.T) {
	quiet(t)
	ca := newAuthority(t)
	// connects reads what it is asked for, and answers so.
	connects := func(reply string) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, reply)
			}
		}
	}
	secured := func(change func(*x509.Certificate), handle func(net.Conn)) func(net.Conn) {
		config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, change)}, MinVersion: tls.VersionTLS12}
		return func(c net.Conn) {
			server := tls.Server(c, config)
			if server.HandshakeContext(t.Context()) == nil {
				handle(server)
			}
		}
	}
	socks := func(reply string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 3))
			_, _ = io.WriteString(c, "\x05\x00")
			_, _ = io.ReadFull(c, make([]byte, len("\x05\x01\x00\x03")+1+len("app.test")+2))
			_, _ = io.WriteString(c, reply)
		}
	}
	const asked, secureAsked = "CONNECT app.test:443 to the forward proxy at PROXY: ", "SOCKS CONNECT app.test:443 to the forward proxy at PROXY: "
	for _, test := range []struct {
		name, scheme string
		handle       func(net.Conn) // nil: nobody listens
		plain        bool           // the upstream speaks no TLS
		want         *Row
		says         string
		shakes       bool // hands with the upstream
	}{
		{name: "forbids", scheme: "http", handle: connects("HTTP/1.1 403 Forbidden\r\n\r\n"), want: ForwardProxyFailed, says: asked + "it answered 403 Forbidden after "},
		{name: "wants a password", scheme: "http", handle: connects("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), want: ForwardProxyFailed, says: asked + "it answered 407 Proxy Authentication Required after "},
		{name: "closes", scheme: "http", handle: connects(""), want: ForwardProxyFailed, says: asked + "it closed the connection after "},
		{name: "resets", scheme: "http", handle: func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); reset(c) }, want: ForwardProxyFailed, says: asked + "ECONNRESET after "},
		{name: "speaks no HTTP", scheme: "http", handle: connects("no HTTP at all\r\n\r\n"), want: ForwardProxyFailed, says: asked + `malformed HTTP `},
		{name: "forbids, over TLS", scheme: "https", handle: secured(nil, connects("HTTP/1.1 403 Forbidden\r\n\r\n")), want: ForwardProxyFailed, says: asked + "it answered 403 Forbidden after "},
		{name: "closes, over TLS", scheme: "https", handle: secured(nil, connects("")), want: ForwardProxyFailed, says: asked + "it closed the connection after "},
		{name: "has another name", scheme: "https", handle: secured(func(c *x509.Certificate) { c.IPAddresses = nil }, connects("")), want: ForwardProxyFailed, says: "TLS handshake with the forward proxy at PROXY: x509: "},
		{name: "does not listen", scheme: "http", want: ForwardProxyFailed, says: "connect PROXY: ECONNREFUSED after "},
		{name: "cannot reach it, SOCKS", scheme: "socks5", handle: socks("\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), want: ForwardProxyFailed, says: secureAsked + `it answered "host unreachable" (reply 4) after `},
		{name: "cannot reach it, SOCKS without TLS", scheme: "socks5", handle: socks("\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), plain: true, want: ForwardProxyFailed, says: secureAsked + `it answered "host unreachable" (reply 4) after `},
		{name: "closes, SOCKS", scheme: "socks5", handle: socks(""), want: ForwardProxyFailed, says: secureAsked + "it closed the connection upon CONNECT after "},
		{name: "closes at once, SOCKS", scheme: "socks5", handle: func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 3)) }, want: ForwardProxyFailed, says: secureAsked + "it closed the connection upon the greeting after "},
		{name: "opens a tunnel that is closed", scheme: "http", handle: connects("HTTP/1.1 200 OK\r\n\r\n"), want: TLSClosed, says: "TLS handshake: ", shakes: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := nobody(t)
			if test.handle != nil {
				address = serve(t, test.handle)
			}
			p := to(t, "app.test:443", withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}))
			p.tls, p.wired = !test.plain, test.scheme == "socks5"
			p.transport.Proxy = http.ProxyURL(&url.URL{Scheme: test.scheme, Host: address})
			f := Diagnose(p.ask(t))
			if f == nil || f.Cause != test.want.Name || f.RequestSent != failure.SentNo {
				t.Fatalf("got %+v, want %s", f, test.want.Name)
			}
			not := []string{"TLS handshake: "}
			if test.shakes {
				not = nil
			}
			says(t, f, []string{strings.ReplaceAll(test.says, "PROXY", address)}, not)
			phases := f.Attempts[0].PhasesMS
			if (phases.TLS != nil) != test.shakes || phases.Connect == nil || !test.shakes && f.Phase != failure.PhaseConnect {
				t.Errorf("in %s, phases %+v", f.Phase, phases)
			}
		})
	}
}

// Where nothing is configured, the name server that Go names is the one that was asked.
func TestNameServerIsNamed(t *testing.T) {
	server := nameServer(t, 3)
	for _, test := range []struct {
		name      string
		resolvers []string
		want, not string
	}{
		{name: "the system's", want: "lookup app.test on ", not: server},
		{name: "its own", resolvers: []string{server}, want: "lookup app.test on " + server + ": no such host"},
		{name: "many of its own", resolvers: []string{server, "10.0.0.2:53", "10.0.0.3:53", "10.0.0.4:53"}, want: "lookup app.test on one of " + server + ", 10.0.0.2:53, 10.0.0.3:53, …: no such host", not: "10.0.0.4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := to(t, "app.test:80", resolvedBy(server, 10*time.Second))
			p.limits.Resolvers = test.resolvers
			f := Diagnose(p.ask(t))
			if f == nil || f.Cause != DNSNameNotFound.Name {
				t.Fatalf("got %+v", f)
			}
			for what, text := range map[string]string{"error": f.Error, "the attempt's": f.Attempts[0].Error} {
				if !strings.Contains(text, test.want) || test.not != "" && strings.Contains(text, test.not) {
					t.Errorf("%s is %q, want %q in it, without %q", what, text, test.want, test.not)
				}
			}
			if evidence := strings.Join(f.Evidence, "\n"); test.resolvers != nil && !strings.Contains(evidence, test.want) {
				t.Errorf("the evidence is %q, want %q in it", evidence, test.want)
			}
		})
	}
}
