package cause

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Rules that Go holds to for certificates, and others don't: openssl shows nothing wrong.
func TestStrictRulesOfCertificates(t *testing.T) {
	quiet(t)
	const wrong = "may not be used for a server|can't be read|made anew|its own, and none|private key"
	rsaKey := func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	template := func(name string, change func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(0x7abbccddee), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		if name == "a server" {
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		} else {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		}
		if change != nil {
			change(c)
		}
		return c
	}
	create := func(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	pool := func(certs ...*x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		for _, c := range certs {
			p.AddCert(c)
		}
		return p
	}
	caKey, key := rsaKey(), rsaKey()
	ca := create(template("an authority", nil), template("an authority", nil), caKey.Public(), caKey)
	leaf := func(change func(*x509.Certificate)) *x509.Certificate {
		return create(template("a server", change), ca, key.Public(), caKey)
	}
	sha1 := leaf(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })
	good := leaf(nil)
	negative := bytes.Replace(good.Raw, []byte{2, 5, 0x7a, 0xbb, 0xcc, 0xdd, 0xee}, []byte{2, 5, 0x8a, 0xbb, 0xcc, 0xdd, 0xee}, 1)
	large := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8200), big.NewInt(1)), E: 65537}
	short := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 511), big.NewInt(1)), E: 65537}
	helper, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	named := create(template("an authority", nil), template("an authority", nil), helper.Public(), helper)
	shortCA := create(template("an authority", func(c *x509.Certificate) { c.SubjectKeyId = ca.SubjectKeyId }), named, short, helper)
	noCA := create(template("an authority", func(c *x509.Certificate) { c.IsCA, c.KeyUsage, c.SubjectKeyId = false, 0, ca.SubjectKeyId }), template("an authority", nil), caKey.Public(), caKey)

	for _, test := range []struct {
		name  string
		chain [][]byte
		trust *x509.CertPool // nil for one that is not asked
		says  []string
		well  *x509.CertPool // what the advice leads to
	}{
		{"a negative serial number", [][]byte{negative}, nil, []string{"has a negative serial number", "GODEBUG=x509negativeserial=1", "RFC 5280"}, nil},
		{"a long key", [][]byte{create(template("a server", nil), ca, large, caKey).Raw}, nil, []string{"a longer RSA key than Caddy takes", "GODEBUG=tlsmaxrsasize=16384", "RSA 4096"}, nil},
		{"SHA-1 by a known authority", [][]byte{sha1.Raw}, pool(ca), []string{"signed in a way that Caddy takes of nobody any more: SHA1-RSA", `"CN=a server" is signed by SHA1-RSA`, "made again with a signature by SHA-256", "tls_trust_pool"}, pool(sha1)},
		{"SHA-1 by one that came along", [][]byte{sha1.Raw, ca.Raw}, pool(named), []string{"SHA1-RSA", "whether Caddy would trust the issuer otherwise"}, pool(sha1)},
		{"an authority with a short key", [][]byte{good.Raw}, pool(shortCA), []string{"too short for Caddy", "fewer than 1024 bits", "a longer key"}, pool(good)},
		{"an issuer that is no authority", [][]byte{good.Raw}, pool(noCA), []string{"not that of an authority", "may not sign others", "CA:TRUE"}, pool(good)},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &tls.Config{Certificates: []tls.Certificate{{Certificate: test.chain, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
			client := &tls.Config{RootCAs: test.trust, InsecureSkipVerify: test.trust == nil, MinVersion: tls.VersionTLS12} //nolint:gosec // as in the field
			f := Diagnose(to(t, serveTLS(t, server), withTLS(client), speaksTLS(failure.TLSSettings{TrustPool: test.trust != nil})).ask(t))
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			strict(t, f.Cause, f.Side, strings.Join(append(f.Evidence, f.Summary, f.Advice), "\n"), wrong, test.says...)
			if test.well != nil {
				client.RootCAs = test.well
				if f := Diagnose(to(t, serveTLS(t, server), withTLS(client)).ask(t)); f != nil {
					t.Errorf("as the advice says, and still %s: %s", f.Cause, f.Error)
				}
			}
		})
	}

	t.Run("a short key of its own", func(t *testing.T) { // Go's server signs by none
		err := rsa.VerifyPKCS1v15(short, crypto.SHA256, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{1}, 64))
		if err == nil {
			t.Fatal("Go takes it")
		}
		f := ownTLSCause(&listen.Attempt{TLS: true}, errors.New(textSignature+": "+err.Error()))
		if f.row == nil {
			t.Fatal("nothing was found")
		}
		strict(t, f.row.Name, f.row.Side, strings.Join(append(f.evidence, f.summary, f.advice), "\n"), wrong, "a shorter RSA key than Caddy takes", "GODEBUG=rsa1024min=0")
	})
}

// strict fails where what was said lacks one of the words, or has one of the wrong ones.
func strict(t *testing.T, cause string, side failure.Side, all, wrong string, says ...string) {
	t.Helper()
	if cause != CertificateInvalid.Name || side != failure.SideUpstream {
		t.Errorf("%s, side %s", cause, side)
	}
	for _, words := range says {
		if !strings.Contains(all, words) {
			t.Errorf("lacks %q:\n%s", words, all)
		}
	}
	for words := range strings.SplitSeq(wrong, "|") {
		if strings.Contains(all, words) {
			t.Errorf("has %q:\n%s", words, all)
		}
	}
}
