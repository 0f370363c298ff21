package faultlab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is a CA that lives in memory.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newCertificate makes a root and a certificate of it, with change made to that.
func newCertificate(change func(*x509.Certificate)) (*authority, tls.Certificate, error) {
	ca, err := newAuthority("Lab CA")
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	certificate, err := ca.issue(change)
	return ca, certificate, err
}

// newAuthority makes a root.
func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := authorityTemplate(name)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

// intermediate makes a CA that a vouches for.
func (a *authority) intermediate(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, authorityTemplate(name), a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-30 * 24 * time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

// issue makes a server's certificate for 127.0.0.1 and localhost, valid for a day,
// with change, if it isn't nil, made to it before it is signed.
func (a *authority) issue(change func(*x509.Certificate)) (tls.Certificate, error) {
	template := leafTemplate()
	if change != nil {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// selfSigned makes a server's certificate that nobody vouches for.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := leafTemplate()
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func leafTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "app.internal"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(23 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil { // crypto/rand never returns one
		return big.NewInt(time.Now().UnixNano())
	}
	return n
}

// pool is a pool of a alone.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// trust speaks TLS to the upstream and trusts a alone.
func (u *Upstream) trust(a *authority) error {
	dir, err := u.tempDir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "ca.pem")
	if err := writePEM(path, "CERTIFICATE", a.certificate.Raw); err != nil {
		return err
	}
	u.Transport = append(u.Transport, "tls", "tls_trust_pool file `"+path+"`")
	return nil
}

// present shows the upstream a client's certificate.
func (u *Upstream) present(certificate tls.Certificate) error {
	dir, err := u.tempDir()
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return err
	}
	certificateFile, keyFile := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	if err := writePEM(certificateFile, "CERTIFICATE", certificate.Certificate[0]); err != nil {
		return err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", key); err != nil {
		return err
	}
	u.Transport = append(u.Transport, "tls_client_auth `"+certificateFile+"` `"+keyFile+"`")
	return nil
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
