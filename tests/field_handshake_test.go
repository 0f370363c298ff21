package tests

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// begun is a connection of which some was read already.
type begun struct {
	net.Conn
	all io.Reader
}

func (b begun) Read(p []byte) (int, error) { return b.all.Read(p) }

// A server, or a box in between, that reads only the first packet of a handshake ends what
// Go has sent in two since it offers X25519MLKEM768 (canonical/lxd#14839): an older openssl
// by hand works, with a name and without.
func TestALargeClientHello(t *testing.T) {
	site := httptest.NewUnstartedServer(http.NotFoundHandler())
	site.StartTLS()
	t.Cleanup(site.Close)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	upstream := func(end func(net.Conn)) string {
		return testcaddy.Peer(t, func(conn net.Conn) {
			const packet, recordHeader = 1400, 5
			first := make([]byte, packet)
			n, _ := conn.Read(first)
			if n < recordHeader || n < recordHeader+int(binary.BigEndian.Uint16(first[3:])) {
				end(conn)
				return
			}
			secure := tls.Server(begun{conn, io.MultiReader(bytes.NewReader(first[:n]), conn)}, site.TLS)
			if secure.Handshake() == nil {
				_, _ = secure.Read(first)
				_, _ = io.WriteString(secure, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
	}
	const transport = " {\ntransport http {\ntls_insecure_skip_verify\ntls_timeout 300ms\nversions 1.1\n"
	for _, test := range []struct {
		name   string
		end    func(net.Conn)
		want   string
		status int
	}{
		{"reset", func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }, "tls_closed failed tls upstream", 502},
		{"silent", func(net.Conn) { <-over }, "tls_timeout failed tls upstream", 504},
		{"alert 50", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "\x15\x03\x01\x00\x02\x02\x32")
			_, _ = io.Copy(io.Discard, conn) // to close with some of it unread would reset
		}, "tls_alert failed tls upstream", 502},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := "upstream_diagnostics\nreverse_proxy https://" + upstream(test.end) + transport
			c := testcaddy.Start(t, to+"}\n}")
			if a := c.Get("/"); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			wantRecord(t, c, test.want, "the first message of the handshake (ClientHello) had 1", "works just as well without a name", "set tls_curves x25519 in the transport")
			// As the advice says.
			c = testcaddy.Start(t, to+"tls_curves x25519\n}\n}")
			if a := c.Get("/"); a.Status != http.StatusOK {
				t.Errorf("with a smaller one: %d %s", a.Status, a.Body)
			}
		})
	}
}

// An old device takes ciphers alone that Caddy does not offer (mrlhansen/idrac_exporter#204),
// and has no log.
func TestNoCipherInCommon(t *testing.T) {
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_256_GCM_SHA384}} //nolint:gosec // that is what is wrong with it
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	t.Cleanup(old.Close)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+strings.Replace(old.URL, "127.0.0.1", "localhost", 1)+" {\ntransport http {\ntls_insecure_skip_verify\n}\n}")
	c.Get("/")
	wantRecord(t, c, "tls_alert failed tls upstream", "alert 40: handshake failure", "openssl s_client -connect ", " -servername localhost", "begins with neither TLS_ nor ECDHE", "GODEBUG=tlsrsakex=1", "GODEBUG=tlssha1=1")
}

// The authority is the right one, and named, and it signs by SHA-1 (fatedier/frp#2957); or a
// serial number is negative, which Go 1.23 began to refuse (caddyserver/caddy#7115).
func TestCertificatesThatOnlyGoRefuses(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "our own"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	server := *authority
	server.SerialNumber, server.Subject.CommonName, server.DNSNames = big.NewInt(0x7abbccddee), "an old device", []string{"localhost"}
	server.IsCA, server.KeyUsage, server.SignatureAlgorithm = false, 0, x509.SHA1WithRSA
	signed := func(c *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, authority, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	der := signed(&server)
	negative := bytes.Replace(der, []byte{2, 5, 0x7a, 0xbb}, []byte{2, 5, 0x8a, 0xbb}, 1)
	file := func(name string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	start := func(der []byte, setting string) *testcaddy.Caddy {
		config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}} //nolint:gosec // as an old device
		device := testcaddy.Peer(t, func(conn net.Conn) {
			secure := tls.Server(conn, config)
			if secure.Handshake() == nil {
				_, _ = secure.Read(make([]byte, 4096))
				_, _ = io.WriteString(secure, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		})
		return testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy https://"+strings.Replace(device, "127.0.0.1", "localhost", 1)+" {\ntransport http {\n"+setting+"\n}\n}")
	}
	c := start(der, "tls_trust_pool file "+file("ca.pem", signed(authority)))
	c.Get("/")
	wantRecord(t, c, "certificate_invalid failed tls upstream", `"CN=an old device" is signed by SHA1-RSA`, `insecure algorithm SHA1-RSA" while`, "a signature by SHA-256", "its own certificate, not its issuer's, by tls_trust_pool")
	c = start(der, "tls_trust_pool file "+file("device.pem", der)) // as the advice says
	if a := c.Get("/"); a.Status != http.StatusNotFound {
		t.Errorf("with its own certificate: %d %s", a.Status, a.Body)
	}
	c = start(negative, "tls_insecure_skip_verify")
	c.Get("/")
	wantRecord(t, c, "certificate_invalid failed tls upstream", "a negative serial number", "GODEBUG=x509negativeserial=1")
}
