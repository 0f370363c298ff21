package cause

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Alerts that have a row of their own, or one with others: RFC 8446 section 6,
// RFC 6066 section 9 and RFC 7301 section 3.2.
const (
	alertBadCertificate        = 42
	alertCertificateUnknown    = 46
	alertUnknownCA             = 48
	alertProtocolVersion       = 70
	alertUnrecognizedName      = 112
	alertCertificateRequired   = 116
	alertNoApplicationProtocol = 120
	textServerSelectedTLS      = "tls: server selected unsupported protocol version"
	textHandshakeTimeout       = "net/http: TLS handshake timeout"
	textNoServerName           = "tls: either ServerName or InsecureSkipVerify must be specified"
	maxNames                   = 8 // of a certificate, in the evidence
	certificateTimeLayout      = time.RFC3339
)

// tlsCause finds the cause where the handshake failed. In TLS 1.3 a server says
// only after the handshake that it refuses our certificate: an alert counts
// wherever it comes.
func tlsCause(t *try) finding {
	err := t.err
	inHandshake := t.Connection == nil && dialled(t.Attempt) && (t.TLS || t.Dialing.TLSErr != nil)
	if inHandshake && t.Dialing.TLSErr != nil {
		err = t.Dialing.TLSErr
	}
	if alert, ok := receivedAlert(err); ok {
		return alertCause(alert)
	}
	if !inHandshake {
		return nothing
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return found(TLSNotSpoken, "the first bytes that came back: "+quote(plain.RecordHeader[:]))
	}
	if f := certificateCause(t, err); f.is() {
		return f
	}
	switch errno := errnoOf(err); {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost).at(failure.PhaseTLS)
	case errno == syscall.ECONNRESET, errno == syscall.EPIPE, errno == syscall.ECONNABORTED:
		return found(TLSClosed, append([]string{"the connection was reset during the handshake"}, sentPROXY(t)...)...)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return found(TLSClosed, append([]string{"the connection was closed during the handshake"}, sentPROXY(t)...)...)
	case isTimeout(err), err != nil && err.Error() == textHandshakeTimeout:
		return found(TLSTimeout).within(t.ran(failure.TLSTimeout, handshakeStart(t), t.end))
	case strings.HasPrefix(innermost(err), textServerSelectedTLS):
		return found(TLSVersionUnsupported, errorWords(err))
	case strings.HasPrefix(innermost(err), textNoServerName):
		// With proxy_protocol Caddy makes the handshake by itself, without the name
		// that net/http would take from the address.
		return found(RequestNotSendable, "no name is known to check the certificate by").at(failure.PhaseTLS).advise(adviceServerName)
	}
	return nothing
}

// receivedAlert returns the number of the alert that the peer sent. crypto/tls
// has the type unexported, so its kind is what can be asked.
func receivedAlert(err error) (alert uint8, ok bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	value := reflect.ValueOf(op.Err)
	if value.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(value.Uint()), true
}

// adviceServerName is for proxy_protocol over TLS.
const adviceServerName = "Set tls_server_name in the transport to the name in the upstream's certificate: with proxy_protocol Caddy takes none from the address."

// ofOurCertificate says that an alert refuses the certificate that we sent, or didn't:
// a server can only speak of that.
func ofOurCertificate(alert uint8) bool {
	return alert == alertCertificateRequired || alert == alertUnknownCA ||
		alertBadCertificate <= alert && alert <= alertCertificateUnknown
}

func alertCause(alert uint8) finding {
	evidence := fmt.Sprintf("alert %d: %s", alert, strings.TrimPrefix(tls.AlertError(alert).Error(), "tls: "))
	switch {
	case ofOurCertificate(alert):
		return found(ClientCertificateRejected, evidence)
	case alert == alertUnrecognizedName:
		return found(TLSServerNameRejected, evidence)
	case alert == alertProtocolVersion:
		return found(TLSVersionUnsupported, evidence)
	case alert == alertNoApplicationProtocol:
		return found(HTTPVersionMismatch, evidence).at(failure.PhaseTLS)
	}
	return found(TLSAlert, evidence)
}

// certificateCause tells what is wrong with the certificate that the upstream sent.
func certificateCause(t *try, err error) finding {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return nothing
	}
	chain := failed.UnverifiedCertificates
	evidence := describeChain(chain)
	invalid, outdated := errors.AsType[x509.CertificateInvalidError](err)
	outdated = outdated && invalid.Reason == x509.Expired && invalid.Cert != nil
	if len(chain) > 0 && !outdated {
		evidence = append(evidence, validity(chain[0]))
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return found(CertificateNameMismatch, append(evidence, "asked for: "+name.Host)...)
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return found(CertificateUntrusted, append(evidence, "this machine has no trusted authorities at all")...)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return untrustedCause(chain, evidence)
	}
	if !outdated {
		return found(CertificateInvalid, append(evidence, errorWords(err))...)
	}
	// Which of the chain it is, and that the one reason has two causes.
	cert, now := invalid.Cert, t.clock.Add(t.end)
	evidence = append(evidence, validity(cert), "the time here was "+now.UTC().Format(certificateTimeLayout))
	if now.Before(cert.NotBefore) {
		return found(CertificateNotYetValid, evidence...)
	}
	return found(CertificateExpired, evidence...)
}

// untrustedCause tells a self-signed certificate, and an intermediate that is
// missing, from an authority that is simply unknown.
func untrustedCause(chain []*x509.Certificate, evidence []string) finding {
	f := found(CertificateUntrusted)
	switch {
	case len(chain) == 0:
	case selfSigned(chain[0]):
		evidence = append(evidence, "it is self-signed")
	case len(chain) == 1 && len(chain[0].IssuingCertificateURL) > 0:
		// It names where its issuer's certificate is to be had, as those from
		// public authorities do, which always sign with an intermediate.
		evidence = append(evidence, "the upstream sent no intermediate certificate")
		f.side = failure.SideUpstream
	}
	f.evidence = evidence
	return f
}

func selfSigned(cert *x509.Certificate) bool {
	return string(cert.RawIssuer) == string(cert.RawSubject) && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// describeChain says which certificate came, and for which names it is.
func describeChain(chain []*x509.Certificate) []string {
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	names := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	offered := "none"
	if len(names) > maxNames {
		offered = strings.Join(names[:maxNames], ", ") + ", …"
	} else if len(names) > 0 {
		offered = strings.Join(names, ", ")
	}
	issuer := ""
	if name := leaf.Issuer.String(); name != "" {
		issuer = fmt.Sprintf(", issued by %q", name)
	}
	return []string{
		cut(fmt.Sprintf("certificate %s%s, %d in the chain", owner(leaf), issuer, len(chain)), maxEvidence),
		cut("names in the certificate: "+clean(offered), maxEvidence),
	}
}

// validity says when a certificate is valid.
func validity(cert *x509.Certificate) string {
	return fmt.Sprintf("the certificate %s is valid from %s to %s", cut(owner(cert), maxEvidence/2),
		cert.NotBefore.UTC().Format(certificateTimeLayout), cert.NotAfter.UTC().Format(certificateTimeLayout))
}

// owner says whose a certificate is: its subject, or where that is empty, as public
// authorities leave it, the first name that it is for.
func owner(cert *x509.Certificate) string {
	name := cert.Subject.String()
	switch {
	case name != "":
	case len(cert.DNSNames) > 0:
		name = cert.DNSNames[0]
	case len(cert.IPAddresses) > 0:
		name = cert.IPAddresses[0].String()
	case len(cert.URIs) > 0:
		name = cert.URIs[0].String()
	default:
		return "without a name"
	}
	return fmt.Sprintf("of %q", name)
}

// handshakeStart is when the network connection had come about, as far as it was
// heard. A dialer that does TLS itself ends only after the handshake.
func handshakeStart(t *try) time.Duration {
	d := t.Dialing
	if d == nil {
		return t.Start
	}
	for _, c := range connects(t.Attempt) {
		if c.End > 0 && c.Err == nil {
			return c.End
		}
	}
	if d.End > 0 && d.Err == nil {
		return d.End
	}
	return d.Start
}

func dialStart(t *try) time.Duration {
	if t.Dialing == nil {
		return t.Start
	}
	return t.Dialing.Start
}
