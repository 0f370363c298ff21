package faultlab

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"time"
)

func tlsFaults() []Fault {
	failed := func(name, number, cause, side string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "tls", Side: side, Outcome: "failed", Status: 502,
			Start: start,
		}
	}
	speaksTLS := transport("tls")
	faults := []Fault{
		failed("https_to_http_port", "09a", "tls_not_spoken", "proxy", overTCP(answersAnything, speaksTLS)),
		failed("https_to_ssh", "09b", "tls_not_spoken", "proxy", overTCP(speaksFirst(sshBanner), speaksTLS)),
		failed("tls_closed", "09c", "tls_closed", "upstream", overTCP(closesInHandshake, speaksTLS)),
		failed("tls_reset", "09d", "tls_closed", "upstream", overTCP(resetsInHandshake, speaksTLS)),
		{
			Name: "tls_silent", Number: "15a",
			Cause: "tls_timeout", Phase: "tls", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overTCP((*conn).hold, transport("tls", "tls_timeout 200ms")),
		},
		{
			Name: "client_leaves_in_handshake", Number: "15b",
			Cause: "client_closed_request", Phase: "tls", Side: "client", Outcome: "abandoned",
			Start: overTCP(silentAfterHello, speaksTLS, sends(Request{Leave: LeaveReached})),
		},

		failed("certificate_authority_unknown", "11", "certificate_untrusted", "proxy", startUntrusted(issuedByStranger)),
		failed("certificate_self_signed", "11", "certificate_untrusted", "proxy", startUntrusted(selfSigned)),
		failed("certificate_intermediate_missing", "11", "certificate_untrusted", "upstream", startIntermediateMissing),
		failed("certificate_expired", "12", "certificate_expired", "upstream", certified(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
		})),
		failed("certificate_not_yet_valid", "12", "certificate_not_yet_valid", "upstream", certified(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
		})),
		failed("certificate_wrong_usage", "12", "certificate_invalid", "upstream", certified(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})),
		failed("certificate_other_name", "13", "certificate_name_mismatch", "proxy", certified(func(c *x509.Certificate) {
			c.DNSNames = []string{"app.internal", "www.app.internal"}
		}, transport("tls_server_name db.internal"))),
		failed("certificate_without_address", "13", "certificate_name_mismatch", "proxy", certified(func(c *x509.Certificate) {
			c.IPAddresses = nil
		})),
		failed("certificate_common_name_only", "13", "certificate_name_mismatch", "proxy", certified(func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = nil, nil
		}, transport("tls_server_name app.internal"))),

		// TLS 1.3 says alert 116 for a missing certificate; TLS 1.2 has but
		// handshake_failure for it, which may mean anything.
		failed("client_certificate_missing", "14a", "client_certificate_rejected", "proxy", asksForCertificate(tls.VersionTLS13, false)),
		failed("client_certificate_missing_tls12", "14b", "tls_alert", "upstream", asksForCertificate(tls.VersionTLS12, false)),
		failed("client_certificate_unknown", "14a", "client_certificate_rejected", "proxy", asksForCertificate(tls.VersionTLS13, true)),
		failed("client_certificate_unknown_tls12", "14b", "client_certificate_rejected", "proxy", asksForCertificate(tls.VersionTLS12, true)),

		failed("tls_versions_too_old", "14c", "tls_version_unsupported", "upstream", startOldTLS),
		failed("tls_version_chosen_too_old", "14e", "tls_version_unsupported", "upstream", overTCP(afterHello(oldServerHello()), speaksTLS)),
		failed("tls_handshake_failure", "14b", "tls_alert", "upstream", overTCP(afterHello(alert(40)), speaksTLS)),
		failed("tls_internal_error", "14d", "tls_alert", "upstream", overTCP(afterHello(alert(80)), transport("tls", "tls_server_name app.internal"))),
		failed("tls_unrecognized_name", "", "tls_server_name_rejected", "proxy", overTCP(afterHello(alert(112)), transport("tls", "tls_server_name app.internal"))),
		failed("tls_protocol_not_common", "", "http_version_mismatch", "proxy", overTCP(afterHello(alert(120)), speaksTLS)),
	}
	return faults
}

// answersAnything is an HTTP port that answers 400 to what it can't read.
func answersAnything(c *conn) {
	_, _ = c.reader.Peek(1)
	c.reached()
	c.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	c.hold()
}

// hello reads a TLS record, the first of which is the ClientHello.
func (c *conn) hello() error {
	header := make([]byte, 5)
	if _, err := io.ReadFull(c.reader, header); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c.reader, int64(binary.BigEndian.Uint16(header[3:])))
	if err == nil {
		c.reached()
	}
	return err
}

func closesInHandshake(c *conn) { _ = c.hello() }

func resetsInHandshake(c *conn) {
	if c.hello() == nil {
		c.reset()
	}
}

func silentAfterHello(c *conn) {
	if c.hello() == nil {
		c.hold()
	}
}

// afterHello answers the ClientHello with these bytes.
func afterHello(reply []byte) behaviour {
	return func(c *conn) {
		if c.hello() == nil {
			c.say(string(reply))
			c.hold()
		}
	}
}

// alert is a fatal alert's record (RFC 8446, section 6).
func alert(number byte) []byte { return []byte{21, 3, 3, 0, 2, 2, number} }

// oldServerHello is the record of a ServerHello that chooses TLS 1.1.
func oldServerHello() []byte {
	body := []byte{3, 2}                     // the version
	body = append(body, make([]byte, 32)...) // random
	body = append(body, 0, 0xc0, 0x13, 0)    // no session, a cipher suite, no compression
	handshake := append([]byte{2, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 3, 2, 0, byte(len(handshake))}, handshake...)
}

// certified makes an upstream with a certificate of a trusted authority, with
// change made to it.
func certified(change func(*x509.Certificate), options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		ca, certificate, err := newCertificate(change)
		if err != nil {
			return nil, err
		}
		return handshakes(&tls.Config{Certificates: []tls.Certificate{certificate}}, ca, options...)
	}
}

// handshakes makes an upstream whose authority is trusted; after the handshake all
// is well.
func handshakes(config *tls.Config, ca *authority, options ...option) (*Upstream, error) {
	u, err := overTCP(secured(config, answers(good)), options...)()
	if err != nil {
		return nil, err
	}
	u.handshake = config
	if err := u.trust(ca); err != nil {
		return u.fails(err)
	}
	return u, nil
}

// startUntrusted makes an upstream whose certificate nobody trusts: what is trusted
// is another authority.
func startUntrusted(issue func() (tls.Certificate, error)) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		other, err := newAuthority("Other CA")
		if err != nil {
			return nil, err
		}
		certificate, err := issue()
		if err != nil {
			return nil, err
		}
		return handshakes(&tls.Config{Certificates: []tls.Certificate{certificate}}, other)
	}
}

func issuedByStranger() (tls.Certificate, error) {
	stranger, err := newAuthority("Stranger CA")
	if err != nil {
		return tls.Certificate{}, err
	}
	return stranger.issue(nil)
}

// startIntermediateMissing makes an upstream whose root is trusted, but which
// doesn't send the intermediate that leads there.
func startIntermediateMissing() (*Upstream, error) {
	root, err := newAuthority("Lab CA")
	if err != nil {
		return nil, err
	}
	intermediate, err := root.intermediate("Lab Intermediate")
	if err != nil {
		return nil, err
	}
	// As public authorities do, it says where the intermediate is to be had.
	certificate, err := intermediate.issue(func(c *x509.Certificate) {
		c.IssuingCertificateURL = []string{"http://ca.invalid/intermediate.crt"}
	})
	if err != nil {
		return nil, err
	}
	return handshakes(&tls.Config{Certificates: []tls.Certificate{certificate}}, root)
}

// asksForCertificate makes an upstream that wants a client's certificate. It is
// shown none, or one of an authority of the same name with another key.
func asksForCertificate(version uint16, present bool) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		ca, certificate, err := newCertificate(nil)
		if err != nil {
			return nil, err
		}
		u, err := handshakes(&tls.Config{
			Certificates: []tls.Certificate{certificate},
			MaxVersion:   version,
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    ca.pool(),
		}, ca)
		if err != nil || !present {
			return u, err
		}
		namesake, err := newAuthority("Lab CA")
		if err != nil {
			return u.fails(err)
		}
		shown, err := namesake.issue(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			c.DNSNames, c.IPAddresses = []string{"proxy.internal"}, []net.IP(nil)
		})
		if err != nil {
			return u.fails(err)
		}
		if err := u.present(shown); err != nil {
			return u.fails(err)
		}
		return u, nil
	}
}

// startOldTLS makes an upstream that speaks nothing newer than TLS 1.1.
func startOldTLS() (*Upstream, error) {
	ca, certificate, err := newCertificate(nil)
	if err != nil {
		return nil, err
	}
	return handshakes(&tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS10, // the fault
		MaxVersion:   tls.VersionTLS11,
	}, ca)
}
