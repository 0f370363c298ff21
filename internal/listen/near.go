package listen

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Near is what nearly went wrong in an attempt.
type Near struct {
	Upstream string
	// Address is what was asked to be dialled.
	Address string
	// Connect, Handshake and Response are how long each took that was near its limit; 0 for
	// others.
	Connect, Handshake, Response time.Duration
	// Certificate is nil where none was seen that ends soon, or has ended.
	Certificate *failure.Certificate
}

// maxCertificateName is how many bytes are kept of a certificate's name: what can do harm
// in it is written out, as \x1b, so that it takes four times as many at the most.
const maxCertificateName = 64

// nearly gives where to put what nearly went wrong while dialling.
func (d *Dialing) nearly() *Near {
	if d.near == nil {
		d.near = new(Near)
	}
	return d.near
}

// hearConnected hears that a connect has succeeded. The caller holds the lock.
func (a *LiveAttempt) hearConnected(d *Dialing) {
	if a.Limits == nil {
		return
	}
	if near := a.Limits.Near.Connect; near > 0 && a.l.now()-d.Start >= near {
		d.nearly().Connect = a.l.now() - d.Start
	}
}

// hearHandshake hears that a handshake has succeeded, and looks when the certificate ends
// that the upstream showed. The caller holds the lock.
func (a *LiveAttempt) hearHandshake(d *Dialing, state *tls.ConnectionState) {
	if a.Limits != nil && a.Limits.Near.Handshake > 0 {
		if took := d.TLSDone - d.connectedAt(); took >= a.Limits.Near.Handshake {
			d.nearly().Handshake = took
		}
	}
	if len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	d.certificateEnds = leaf.NotAfter
	if failure.NearItsEnd(leaf.NotBefore, leaf.NotAfter, time.Now()) {
		d.nearly().Certificate = &failure.Certificate{Name: nameOf(leaf), NotAfter: failure.At(leaf.NotAfter)}
	}
}

// hearCertificate tells the upstream's past when its certificate ends. A forward proxy may
// have shown one before, and there may be none but that. The caller holds the lock.
func (a *LiveAttempt) hearCertificate() {
	if d := a.Dialing; d != nil && !d.certificateEnds.IsZero() && a.TLS && a.ForwardProxy == "" {
		a.Past.CertificateEnds(d.certificateEnds)
	}
}

// nameOf is whose a certificate is, or the first name that it is for: its own, and so that
// nothing in it can do harm.
func nameOf(leaf *x509.Certificate) string {
	name := leaf.Subject.CommonName
	switch {
	case name != "":
	case len(leaf.DNSNames) > 0:
		name = leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		name = leaf.IPAddresses[0].String()
	}
	if len(name) > maxCertificateName {
		name = name[:maxCertificateName] + "…"
	}
	quoted := strconv.QuoteToASCII(name)
	return quoted[1 : len(quoted)-1]
}

// connectedAt is when the last connect had succeeded, or dialling began.
func (d *Dialing) connectedAt() time.Duration {
	at := d.Start
	for i := range d.Connects {
		if c := &d.Connects[i]; c.End > at && c.Err == nil {
			at = c.End
		}
	}
	return at
}

// nearMisses gives what nearly went wrong, once; nil for nothing. The caller holds the lock.
func (a *LiveAttempt) nearMisses() (near *Near) {
	if d := a.Dialing; d != nil {
		near, d.near = d.near, nil
	}
	if a.Limits != nil && a.Limits.Near.Response > 0 && a.Answered > 0 {
		if since := a.waitsSince(); since > 0 && a.Answered-since >= a.Limits.Near.Response {
			if near == nil {
				near = new(Near)
			}
			near.Response = a.Answered - since
		}
	}
	if near != nil {
		near.Upstream, near.Address = a.Upstream, a.Address
	}
	return near
}

// waitsSince is since when the limit for an answer runs: in HTTP since the request was
// written, 0 where an answer came before that; in FastCGI since the connection was there
// (fastcgi/fastcgi.go, SetReadTimeout).
func (a *LiveAttempt) waitsSince() time.Duration {
	if a.Protocol == ProtocolFastCGI && a.Dialing != nil {
		return a.Dialing.connectedAt()
	}
	return a.Wrote
}
