package cause

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Alerts that have a row of their own, or one with others: RFC 8446 section 6,
// RFC 6066 section 9 and RFC 7301 section 3.2.
const (
	alertHandshakeFailure      = 40
	alertBadCertificate        = 42
	alertCertificateExpired    = 45
	alertCertificateUnknown    = 46
	alertIllegalParameter      = 47
	alertUnknownCA             = 48
	alertDecodeError           = 50
	alertProtocolVersion       = 70
	alertInternalError         = 80
	alertUnrecognizedName      = 112
	alertCertificateRequired   = 116
	alertNoApplicationProtocol = 120
	textServerSelectedTLS      = "tls: server selected unsupported protocol version"
	textHandshakeTimeout       = "net/http: TLS handshake timeout"
	textOtherKey               = " while trying to verify candidate authority certificate "
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
		return alertCause(t.Attempt, alert)
	}
	if !inHandshake {
		return nothing
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return notTLS(t, string(plain.RecordHeader[:]))
	}
	if f := certificateCause(t, err); f.is() {
		return f
	}
	switch errno := errnoOf(err); {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost).at(failure.PhaseTLS)
	case errno == syscall.ECONNRESET, errno == syscall.EPIPE, errno == syscall.ECONNABORTED:
		f := closedInHandshake(t, "the connection was reset during the handshake")
		f.summary = orText(f.summary, "The connection to {upstream} was reset during the TLS handshake.")
		return f
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return closedInHandshake(t, "the connection was closed during the handshake")
	case isTimeout(err), err != nil && err.Error() == textHandshakeTimeout:
		f := notArrived(t)
		if !f.is() {
			f = unfinished(t)
		}
		return f.within(t.ran(failure.TLSTimeout, handshakeStart(t), t.end))
	case strings.HasPrefix(innermost(err), textServerSelectedTLS):
		words := errorWords(err)
		if version, parsed := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(innermost(err), textServerSelectedTLS)), 16, 16); parsed == nil {
			words += ", which is " + tls.VersionName(uint16(version))
		}
		f := found(TLSVersionUnsupported, append([]string{words}, offeredTLS(t.Attempt)...)...)
		f.proxyError = "tls_protocol_error" // no alert came
		return f
	case strings.HasPrefix(innermost(err), textNoServerName):
		// With proxy_protocol Caddy makes the handshake by itself, without the name
		// that net/http would take from the address.
		f := found(RequestNotSendable, "no name is known to check the certificate by").at(failure.PhaseTLS).advise(adviceServerName)
		if t.Limits != nil && t.Limits.ProxyProtocol != "" {
			f.evidence = append(f.evidence, "proxy_protocol "+t.Limits.ProxyProtocol+" is set, and tls_server_name is not")
		}
		f.summary = "Caddy knows no name by which to check the certificate of {upstream}, and began no TLS handshake."
		return f
	}
	return ownTLSCause(t.Attempt, err)
}

// endedHandshake says that a handshake ended with its connection.
func endedHandshake(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errnoOf(err) != 0 && died(err)
}

// adviceExpectPROXY is for a handshake that a PROXY header went before.
const adviceExpectPROXY = "Check that {upstream} expects a PROXY header on this port, else remove proxy_protocol from the transport; then look at its TLS log."

func closedInHandshake(t *try, how string) finding {
	proxied := sentPROXY(t)
	f := found(TLSClosed, slices.Concat([]string{how}, handshakeLines(t), proxied)...)
	switch {
	case len(proxied) > 0:
		return f.advise(adviceExpectPROXY).leavesOpen("a port that expects no PROXY header, a server that refuses this client, this name or what Caddy offers, and one that is being restarted look the same from here: what listens there, and its log, tell")
	case throughProxy(t.Attempt):
		return closedInTunnel(t, f)
	case t.Before != nil && t.Before.Answers > 0:
		f.evidence = append(f.evidence, beforeWords(t)...)
		return f.advise(adviceSpokeTLS).leavesOpen("a restart, a limit on connections, a handshake that it refused, and a box in between that ends it look the same from here: its log tells")
	case t.Dialing != nil && t.Dialing.Carried != nil && t.Dialing.Carried.Received > 0:
		return f.leavesOpen("a server that refuses the handshake without an alert, one that crashes or is being restarted, and a box in between that ends it look the same from here: its log tells")
	}
	return f.advise(shakeHands(t)).leavesOpen("a port without TLS, one that expects a PROXY header, a server that refuses this client or name, has no certificate, is full or restarted, one that hands on to nobody, and a box in between look the same from here: what listens there, and its log, tell")
}

// closedInTunnel is for a handshake through a forward proxy, over whose connection nobody
// tells which of the two ended it.
func closedInTunnel(t *try, f finding) finding {
	f.summary = "The TLS handshake with {upstream} by way of the forward proxy at {address} ended with its connection."
	f.side = failure.SideNetwork
	if t.ForwardProxy != "" { // Go begins TLS in a tunnel only once that was granted
		f.evidence = append(f.evidence, "the forward proxy had granted CONNECT "+t.Address+": the TLS that was begun then was to be the upstream's, not the proxy's")
	}
	if c := t.Dialing.Carried; c != nil && bytes.HasPrefix(c.Head, []byte("HTTP/1.")) && bytes.HasSuffix(c.Head, []byte("\r\n\r\n")) && c.Received == int64(len(c.Head)) {
		f.evidence = append(f.evidence, "no byte came back through the tunnel")
	}
	return f.advise("Look at the log of the forward proxy at {address} at this time: whether it reached {upstream}, and who ended the tunnel. If {upstream} did, look at its TLS log, for the name that it was asked for first (tls_server_name).").
		leavesOpen("whether the forward proxy ended the tunnel, or the upstream (a port without TLS, a name that it refuses), can't be told from here: the forward proxy's log tells")
}

// notTLS is for what came back and is no record of TLS.
func notTLS(t *try, head string) finding {
	f := found(TLSNotSpoken, "the first bytes that came back: "+quote([]byte(head)))
	if c := t.Dialing.Carried; c != nil && !throughProxy(t.Attempt) && len(c.Head) > len(head) && strings.HasPrefix(string(c.Head), head) {
		line, _, _ := strings.Cut(string(c.Head), "\r\n")
		f.evidence = append(f.evidence, "the first line that came back: "+said(line))
	}
	if other := otherProtocol(head, ""); other.summary != "" {
		f.summary, f.advice = strings.Replace(other.summary, "speak HTTP", "speak TLS", 1), other.advice
		return f.leavesOpen(NotHTTP.Undecided)
	}
	if len(sentPROXY(t)) > 0 {
		f.summary = "{upstream} answered a PROXY header and a TLS handshake with what is no TLS."
		f.evidence = append(f.evidence, "a PROXY protocol header ("+t.Limits.ProxyProtocol+") was sent before the handshake: a TLS port that does not expect one takes it for the beginning of plain HTTP")
		return f.advise(adviceNoPROXY).leavesOpen("a port of TLS that expects no PROXY header, and one that speaks no TLS at all, look the same from here: what this port is for tells")
	}
	if head == "HTTP/" {
		f.summary = "{upstream} does not speak TLS on this port: it answered in plain HTTP."
	}
	return f
}

// unfinished is for a handshake that took too long, and of which nothing was lost.
func unfinished(t *try) finding {
	f := found(TLSTimeout, handshakeLines(t)...)
	if t.Before == nil || t.Before.Answers == 0 || throughProxy(t.Attempt) {
		if helloIsLarge(t.Attempt) {
			_, none := askedFor(t.Attempt)
			f.advice = "Check that the upstream speaks TLS on this port and is not overloaded: ask it from " + thisMachine + " (" + byOpenSSL(t.Attempt) + "). If it works just as well " + asAsked(none) + ", " + adviceSmallHello + " A slow one needs a longer tls_timeout."
		}
		return f
	}
	f.evidence = append(f.evidence, beforeWords(t)...)
	return f.advise("Look whether {upstream} hangs, is overloaded or at a limit on connections: it has answered before. One that is only slow needs a longer tls_timeout.").
		leavesOpen("a server that hangs, is overloaded or slower than the limit, and a box in between that holds the handshake look the same from here: its log tells")
}

// adviceSpokeTLS is for an upstream that has answered before: its port is the right one.
const adviceSpokeTLS = "Look at the log of {upstream} at this time for a restart, a limit on connections, or a handshake that it refused: it has answered before."

// shakeHands is the first step where nothing that came tells why a handshake was ended: to
// make one by hand. What it may be if that is ended, too, looks alike from here.
func shakeHands(t *try) string {
	_, none := askedFor(t.Attempt)
	named := "If another name works, set that by tls_server_name in the transport."
	if none != "" {
		named = "If that works, set tls_server_name in the transport to that name: none was sent."
	}
	if helloIsLarge(t.Attempt) {
		named += " If it works just as well " + asAsked(none) + ", " + adviceSmallHello
	}
	return "Look at the log of what listens on {address} at this time. If that has nothing of this, ask it from " + thisMachine + " (" + byOpenSSL(t.Attempt) + "). " + named +
		" If it is ended with every name, the port speaks no TLS (http:// in reverse_proxy), wants a PROXY header (proxy_protocol), takes no connections from here, or hands on to nobody (a published Docker port, a balancer, a tunnel)."
}

// byOpenSSL is the command that makes a handshake by hand.
func byOpenSSL(a *listen.Attempt) string {
	to := "-connect {address}"
	if strings.HasPrefix(a.Network, "unix") {
		to = "-unix {address}"
	}
	name, none := askedFor(a)
	switch {
	case none != "":
		name = "<a name that it serves>"
	case name == "", strings.Contains(name, "{"):
		name = "<the name>"
	}
	return "openssl s_client " + to + " -servername " + name
}

// asAsked is how a handshake by hand asks for what Caddy's did, none being why no name was
// sent.
func asAsked(none string) string {
	if none != "" {
		return "without a name (-noservername)"
	}
	return "with this name"
}

// adviceSmallHello is for a server, or a box in between, that waits for the end of a
// handshake's first message in the packet that begins it.
const adviceSmallHello = "set tls_curves x25519 in the transport: Caddy's first message is larger than that of an openssl before 3.5, and what reads only its first packet ends it, or waits."

// firstPacket is how much of a message the first packet of a connection holds at most,
// where it crosses a network: an Ethernet frame without the headers.
const firstPacket = 1460

// helloIsLarge says that a handshake's first message took more than one packet, and that
// the server said nothing else than an alert.
func helloIsLarge(a *listen.Attempt) bool {
	if a.Connection != nil || a.Dialing == nil || a.Dialing.Carried == nil || throughProxy(a) || a.Limits != nil && a.Limits.ProxyProtocol != "" {
		return false
	}
	c := a.Dialing.Carried
	return c.Sent > firstPacket && (c.Received == 0 || isTLSAlert(string(c.Head)))
}

// helloLine says so.
func helloLine(a *listen.Attempt) []string {
	if !helloIsLarge(a) {
		return nil
	}
	return []string{"the first message of the handshake (ClientHello) had " + strconv.FormatInt(a.Dialing.Carried.Sent, 10) + " bytes: more than one packet holds on most networks"}
}

// handshakeLines say what TLS was asked for, and whether anything came back.
func handshakeLines(t *try) []string {
	lines := nameLine(t.Attempt)
	if t.Dialing == nil || t.Dialing.Carried == nil || throughProxy(t.Attempt) {
		return lines
	}
	c := t.Dialing.Carried
	if c.Received == 0 {
		return append(append(lines, helloLine(t.Attempt)...), "no byte came back")
	}
	return append(lines, strconv.FormatInt(c.Received, 10)+" bytes came back: "+quote(c.Head[:min(len(c.Head), maxQuoted)]))
}

// receivedAlert returns the number of the alert that the peer sent. crypto/tls
// has the type unexported, so its kind is what can be asked.
func receivedAlert(err error) (alert uint8, ok bool) { return alertOf(err, opRemoteError) }

// adviceServerName is for proxy_protocol over TLS.
const adviceServerName = "Set tls_server_name in the transport to the name in the upstream's certificate: with proxy_protocol Caddy takes none from the address."

// ofOurCertificate says that an alert refuses the certificate that we sent, or didn't:
// a server can only speak of that.
func ofOurCertificate(alert uint8) bool {
	return alert == alertCertificateRequired || alert == alertUnknownCA ||
		alertBadCertificate <= alert && alert <= alertCertificateUnknown
}

// alertName is an alert as RFC 8446 has it.
func alertName(alert uint8) string {
	return strings.TrimPrefix(tls.AlertError(alert).Error(), "tls: ")
}

// The kinds of a handshake's messages (RFC 8446 section 4, RFC 5246 section 7.4).
const (
	messageServerHello        = 2
	messageCertificateRequest = 13
	messageServerHelloDone    = 14
)

// clearMessages are the kinds of the messages of a handshake that the server sent, as long
// as they were not encrypted and were heard.
func clearMessages(a *listen.Attempt) []byte {
	if a.Dialing == nil || a.Dialing.Carried == nil || throughProxy(a) {
		return nil
	}
	const handshake, recordHeader, messageHeader = 22, 5, 4
	var messages, kinds []byte
	for rest := a.Dialing.Carried.Head; len(rest) > recordHeader && rest[0] == handshake; {
		end := min(len(rest), recordHeader+int(binary.BigEndian.Uint16(rest[3:])))
		messages, rest = append(messages, rest[recordHeader:end]...), rest[end:]
	}
	for len(messages) >= messageHeader {
		kinds = append(kinds, messages[0])
		length := int(messages[1])<<16 | int(binary.BigEndian.Uint16(messages[2:]))
		messages = messages[min(len(messages), messageHeader+length):]
	}
	return kinds
}

// alertCameFirst says that the server said nothing in the handshake before its alert.
func alertCameFirst(a *listen.Attempt) bool {
	return a.Connection == nil && a.Dialing != nil && a.Dialing.Carried != nil && !throughProxy(a) && isTLSAlert(string(a.Dialing.Carried.Head))
}

// offeredTLS says which versions of TLS Caddy offers: its transport has no setting for them.
func offeredTLS(a *listen.Attempt) []string {
	switch {
	case tlsSettings(a) == nil:
		return nil
	case a.Protocol == protocolHTTP3:
		return []string{"Caddy offered TLS 1.3: HTTP/3 has no other"}
	}
	return []string{"Caddy offered TLS 1.2 and 1.3, which no setting of the transport changes"}
}

// alertCause is that of an alert which the upstream sent.
func alertCause(a *listen.Attempt, alert uint8) finding {
	f := alertSays(a, alert)
	if f.row != TLSAlert || a.Limits == nil || a.Limits.ProxyProtocol == "" || a.Connection != nil {
		return f
	}
	// Tomcat answers so to what is no TLS.
	f.evidence = append(f.evidence, "a PROXY protocol header ("+a.Limits.ProxyProtocol+") was sent: a TLS port that does not expect one may answer so")
	return f.advise(adviceExpectPROXY)
}

func alertSays(a *listen.Attempt, alert uint8) finding {
	evidence := fmt.Sprintf("alert %d: %s", alert, alertName(alert))
	if ofOurCertificate(alert) {
		return refusesCertificate(a, found(ClientCertificateRejected, evidence), alert)
	}
	for i := range wants {
		if w := &wants[i]; w.alert != 0 && w.alert == alert {
			f := found(w.row, evidence)
			if w.tell != nil {
				f = w.tell(a, f)
			}
			return f
		}
	}
	f := found(TLSAlert, append([]string{evidence}, nameLine(a)...)...)
	if (alert == alertDecodeError || alert == alertIllegalParameter) && helloIsLarge(a) {
		_, none := askedFor(a)
		f.evidence = append(f.evidence, helloLine(a)...)
		f = f.advise("Look at the upstream's TLS log for the alert's reason. If it has none, ask it from " + thisMachine + " (" + byOpenSSL(a) + "): if that works just as well " + asAsked(none) + ", " + adviceSmallHello).
			leavesOpen("a server, or a box in between, that can't read a first message in several packets, and one that finds another fault in it, look the same from here: its TLS log tells")
	}
	return f
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
		f := found(CertificateNameMismatch, append(evidence, "asked for: "+name.Host+hostSource(t.Attempt, name.Host))...)
		if noNameSent(t.Attempt) {
			f.evidence = append(append(f.evidence, nameLine(t.Attempt)...), hostLine(t.Attempt)...)
		} else if s := tlsSettings(t.Attempt); s != nil && s.ServerName != "" {
			f = f.advise("Check by the certificate's names that {address} is the server that is meant; if it is, change tls_server_name in the transport to one of them.")
		}
		if c := name.Certificate; c != nil && len(c.DNSNames)+len(c.IPAddresses) == 0 && strings.EqualFold(c.Subject.CommonName, name.Host) {
			f.summary = "The certificate of {upstream} has the name that was asked for in its common name alone, where Caddy does not look for it."
			return f.advise("Have the certificate of {upstream} made again with that name among its subject alternative names (SAN): a common name alone counts no more (RFC 9110 section 4.3.4).").decides()
		}
		return f
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return found(CertificateUntrusted, append(evidence, here()+" has no trusted authorities at all")...)
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if f := issuerRefusedCause(unknown, evidence); f.is() {
			return f
		}
		return untrustedCause(t.Attempt, chain, strings.Contains(unknown.Error(), textOtherKey), append(evidence, trusted(t.Attempt)...))
	}
	if !outdated {
		f := found(CertificateInvalid, append(evidence, errorWords(err))...)
		if invalid.Reason == x509.IncompatibleUsage && len(chain) > 0 {
			f.evidence = append(append(f.evidence, usageLine(chain[0])...), namedIn(t.Attempt, chain[0])...)
		}
		return f
	}
	// Which of the chain it is, and that the one reason has two causes.
	cert, now := invalid.Cert, t.clock.Add(t.end)
	evidence = append(evidence, validity(cert), "the time here was "+now.UTC().Format(certificateTimeLayout)+clockWords())
	if now.Before(cert.NotBefore) {
		f := found(CertificateNotYetValid, append(evidence, "it begins "+spanWords(cert.NotBefore.Sub(now))+" after the time here")...)
		if kept, known := clockIsKept(); kept && known {
			return f.advise("Let {upstream} have a certificate that is valid already: a time service keeps the clock here.").
				leavesOpen("whether it was made for later, or by a clock that is ahead, can't be told from here: who made it knows")
		}
		return f
	}
	f := found(CertificateExpired, append(evidence, "it ended "+spanWords(now.Sub(cert.NotAfter))+" before the time here")...)
	kept, known := clockIsKept()
	if len(chain) > 0 && !cert.Equal(chain[0]) {
		f.summary = "The certificate of {upstream} is from an authority whose own certificate has expired."
		f = f.advise("Let {upstream} send a chain in which no certificate has expired; if this one is in tls_trust_pool, or the system's, replace it there.").
			leavesOpen("whether the upstream sends an old chain, or its authority was not renewed, can't be told from here: the chain at the upstream tells")
		if !kept || !known {
			f = f.leavesOpen("whether the upstream sends an old chain, its authority was not renewed, or the clock here is ahead can't be told from here: the chain at the upstream, and a true clock, tell")
		}
		return f
	}
	if kept && known {
		return f
	}
	return f.advise("Renew the upstream's certificate and reload the upstream, if the clock here is right: compare it with a true one first (date -u).").
		leavesOpen("whether it was not renewed, or not loaded, another server or a box in between answers with an old one, or the clock here is ahead can't be told from here: the certificate's file at the upstream, and a true clock, tell")
}

// hostSource is nameSource for the name that a certificate was checked by, which may be a
// forward proxy's.
func hostSource(a *listen.Attempt, host string) string {
	if s := tlsSettings(a); s != nil && s.ServerName == "" && bareHost(a.Address) != host {
		return ""
	}
	return nameSource(a)
}

// usageLine says what a certificate may be used for that is not for servers.
func usageLine(cert *x509.Certificate) []string {
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil // that of its authority is what does not fit
	}
	words := "the certificate itself says what it is for, and servers are not among it"
	if slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		words = "the certificate itself is for clients (client authentication), not for servers"
	}
	return []string{words}
}

// spanWords writes a span as people compare clocks: whole days, hours, minutes.
func spanWords(d time.Duration) string {
	switch {
	case d > 72*time.Hour:
		return counted(int64(d.Round(24*time.Hour)/(24*time.Hour)), "day")
	case d > 3*time.Hour:
		return strconv.FormatInt(int64(d.Round(time.Hour)/time.Hour), 10) + " h"
	case d > 3*time.Minute:
		return strconv.FormatInt(int64(d.Round(time.Minute)/time.Minute), 10) + " min"
	}
	return strconv.FormatInt(int64(d.Round(time.Second)/time.Second), 10) + " s"
}

// trusted says whose word the certificate was checked by.
func trusted(a *listen.Attempt) []string {
	switch {
	case a.Limits == nil || a.Limits.TLS == nil:
		return nil
	case a.Limits.TLS.TrustPool:
		return []string{"it was checked by the authorities that the transport names (tls_trust_pool), not the system's"}
	}
	return []string{"it was checked by the system's authorities: the transport names none (tls_trust_pool)"}
}

// clockWords says whether the clock here can be trusted, as far as the system says.
func clockWords() string {
	synchronised, known := clockIsKept()
	switch {
	case !known:
		return ""
	case synchronised:
		return ", by a clock that a time service keeps"
	}
	return ": no time service keeps this machine's clock, or none says so; it may be right all the same"
}

// untrustedCause tells a self-signed certificate, and an intermediate that is
// missing, from an authority that is simply unknown. namesake says that an authority of the
// issuer's name is known, and did not sign.
func untrustedCause(a *listen.Attempt, chain []*x509.Certificate, namesake bool, evidence []string) finding {
	f := found(CertificateUntrusted)
	trust := "name it with tls_trust_pool in the transport"
	if a.Limits != nil && a.Limits.TLS != nil && a.Limits.TLS.TrustPool {
		trust = "add it to tls_trust_pool in the transport, which has others"
	}
	if len(chain) == 0 {
		f.evidence = evidence
		return f
	}
	evidence = append(evidence, namedIn(a, chain[0])...)
	switch top := chain[len(chain)-1]; {
	case selfSigned(chain[0]):
		evidence = append(evidence, "it is self-signed")
		f.summary = "The certificate of {upstream} is self-signed, and none that Caddy trusts."
		f = f.advise("Look whether this certificate is that of the server that is meant: if it is, " + trust + "; if it is not, another one answers at {address}.").
			leavesOpen("whether this is the certificate of the server that is meant, another server's, or that of a box in between can't be told from here: the certificate's file there tells (openssl x509 -noout -fingerprint)")
	case namesake:
		evidence = append(evidence, "an authority of the issuer's name is known, or came along, and does not fit: the error says which, and why")
		f = f.advise("Look whether the authority that the error names was made anew, under the same name: if it was, " + trust + "; if it was not, another server than is meant answers at {address}, or somebody in between.").
			leavesOpen("whether the authority was made anew, a wrong certificate is in the chain, or another server or a box in between answers can't be told from here: the authority's own certificate tells")
	case len(chain) == 1 && len(chain[0].IssuingCertificateURL) > 0:
		// It names where its issuer's certificate is to be had, as those from
		// public authorities do, which always sign with an intermediate.
		evidence = append(evidence, "the upstream sent no intermediate certificate")
		f.side = failure.SideUpstream
		f.summary = "The certificate of {upstream} leads to no authority that Caddy trusts: it came without its issuer's."
		f = f.advise("Let {upstream} send its whole chain (fullchain.pem), not its own certificate alone; else name the authority with tls_trust_pool in the transport.").
			leavesOpen("whether the intermediate alone is missing, its authority is not among those that Caddy trusts, or another server or a box in between answers can't be told from here: the intermediate's issuer tells")
	case selfSigned(top):
		evidence = append(evidence, cut("the whole chain came, up to "+owner(top)+", which is not among them", maxEvidence))
		f = f.advise("Look whether the last authority in the evidence is yours: if it is, " + trust + "; if it is not, another server than is meant answers at {address}, or somebody in between.").
			leavesOpen("whether this authority is to be trusted, or another server or a box in between answers, can't be told from here: the authority's name tells you")
	default:
		evidence = append(evidence, cut("the certificate of the issuer, "+issuerOf(top)+", did not come: it is an authority that Caddy lacks, or an intermediate that the upstream leaves out", maxEvidence))
		f = f.advise("Look whether the issuer in the evidence is yours: if it is an authority, " + trust + "; if it is an intermediate, let {upstream} send its whole chain; if it is not yours, another server than is meant answers at {address}, or somebody in between.")
	}
	f.evidence = evidence
	return f
}

// issuerOf is whose word a certificate is.
func issuerOf(cert *x509.Certificate) string {
	if name := cert.Issuer.String(); name != "" {
		return strconv.Quote(name)
	}
	return "which has no name"
}

// namedIn says that a certificate is for the name that the upstream is known by here: then
// it speaks for the right server, whoever signed it.
func namedIn(a *listen.Attempt, cert *x509.Certificate) []string {
	name, _ := askedFor(a)
	if name == "" {
		name = bareHost(orText(a.Address, a.Upstream))
		if s := tlsSettings(a); s != nil && s.ServerName != "" { // an address
			name = s.ServerName
		}
	}
	if name == "" || cert.VerifyHostname(name) != nil {
		return nil
	}
	return []string{cut("it is for the name that was asked for, "+failure.Visible(name), maxEvidence)}
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
		cut(failure.CertificateNames+failure.Visible(offered), maxEvidence),
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

var TLSNotSpoken = &Row{
	Name: "tls_not_spoken", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
	Phase: failure.PhaseTLS, Side: failure.SideProxy,
	Summary:      "{upstream} does not speak TLS on this port.",
	Advice:       "Use http:// in reverse_proxy, or the port on which the upstream speaks TLS.",
	Meaning:      "Caddy began a TLS handshake, and what came back is no TLS: the port speaks something else.",
	RecognisedBy: "The first bytes of the answer are no TLS record; the evidence quotes them, so that it shows what speaks there.",
	Witnesses:    []Witness{WitnessReceived, WitnessAsked},
	Undecided:    "whether the scheme, the port or the host is the wrong one, TLS is turned off there, or a box in between answered, can't be told from here: what this port is for, and its log, tell",
	UsualReasons: []string{
		"https:// for a port that speaks plain HTTP",
		"port 443 in the address of an upstream without TLS",
		"a mail or database server that starts TLS only when it is asked (STARTTLS)",
	},
	Fix: Fix{
		Caddy:       "Use plain HTTP to this port, or the port with TLS.",
		Caddyfile:   "reverse_proxy http://app:8080",
		Docker:      "Inside a Docker network most applications speak plain HTTP: TLS ends at Caddy.",
		Application: "If it is to speak TLS, give it a certificate and turn TLS on for this port.",
	},
	Rivals: []Rival{
		{"tls_closed", "bytes came back, and the evidence quotes them"},
		{"a PROXY protocol header that the TLS port does not expect", "proxy_protocol is not set: the evidence says so where one was sent"},
		{"not_http", "the phase is tls: no HTTP had been sent"},
		{"tls_malformed", "what came is no TLS"},
	},
}

var TLSClosed = &Row{
	Name: "tls_closed", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "{upstream} closed the connection during the TLS handshake.",
	Advice:       "Look at the upstream's TLS log at this time: it broke off the handshake without saying why; a name that it does not serve is the most frequent reason (tls_server_name).",
	Meaning:      "The connection came about, and the upstream ended it in the middle of the TLS handshake, without an alert that says why.",
	RecognisedBy: "The handshake ended with end of file or a reset, after the connect had worked and before there was a connection to send on. The evidence has the name that was asked for, or that none was, and whether any byte came.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessAsked},
	UsualReasons: []string{
		"the server has no certificate for the name, and closes",
		"the port speaks no TLS, and closes on what it cannot read",
		"the port expects a PROXY protocol header first",
		"a balancer, a tunnel or a published Docker port behind which nothing listens",
	},
	Fix: Fix{
		Caddy:       "Ask for the name that the upstream serves; where a large ClientHello does not get through, send a smaller one.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_server_name app.internal", "tls_curves x25519"),
		Docker:      "Use the port on which the container speaks TLS.",
		Application: "Look at its TLS log at this time.",
	},
	Rivals: []Rival{
		{"a box on the way that drops a large ClientHello", "nothing from here: try with tls_curves x25519"},
		{"tls_not_spoken", "no byte came back"},
		{"tls_alert", "no alert came: tls_alert is left out of the attempt"},
		{"closed_before_response", "the handshake had not finished: the phase is tls"},
		{"forward_proxy_failed", "a handshake with the upstream had begun: the evidence has how it ended"},
		{"a PROXY protocol header that is missing or not expected", "nothing from here: look at proxy_protocol on both sides"},
	},
}

var TLSTimeout = &Row{
	Name: "tls_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_timeout",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream, Status: 504,
	Summary:      "{upstream} did not finish the TLS handshake within {limit}.",
	Advice:       "Check that the upstream speaks TLS on this port and is not overloaded; a slow one needs a longer tls_timeout.",
	Meaning:      "The connection came about, but the TLS handshake did not finish in time.",
	RecognisedBy: "The transport's timer for the handshake ran out after the connect had worked. The evidence has both times and the limit, the name that was asked for, and whether any byte came.",
	Witnesses:    []Witness{WitnessError, WitnessAsked, WitnessKernel, WitnessReceived},
	Undecided:    "a port that speaks something else or waits for a PROXY header, a TLS server that hangs or is slower than the limit, one that hands on to nobody, and a box in between look the same from here: openssl s_client by hand, and its log, tell",
	UsualReasons: []string{
		"the port speaks another protocol, and waits for the client to say something it knows",
		"the upstream is overloaded, or a balancer accepts and has no backend",
		"packets of the handshake are lost: an MTU that is too large on the way",
		"an old server, or a box in between, that waits for what it has missed of a first message in several packets (tls_curves x25519)",
	},
	Fix: Fix{
		Caddy:       "If the upstream is slow, give it longer.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_timeout 20s"),
		Docker:      "With a VPN or overlay network, set the network's MTU (com.docker.network.driver.mtu).",
		Application: "Check that it speaks TLS on this port, and what it does at this time.",
	},
	Rivals: []Rival{
		{"connect_timeout", "the evidence has a connect that says connected"},
		{"connection_lost", "no bytes in the evidence that were never acknowledged (Linux)"},
		{"a box on the way that drops a large ClientHello", "no bytes in the evidence that were never acknowledged (Linux); elsewhere try with tls_curves x25519"},
		{"client_closed_request", "the limit that ran out is tls_timeout; the client was still there"},
	},
}

var CertificateUntrusted = &Row{
	Name: "certificate_untrusted", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
	Phase: failure.PhaseTLS, Side: failure.SideProxy,
	Summary:      "The certificate of {upstream} leads to no authority that Caddy trusts.",
	Advice:       "Look whether the certificate in the evidence is that of the server that is meant; if it is, name its authority with tls_trust_pool in the transport, or let the upstream send its whole chain.",
	Meaning:      "The upstream's certificate is signed by an authority that Caddy does not trust, or the chain to one is incomplete. Caddy ended the handshake.",
	RecognisedBy: "The verification's typed error says unknown authority. The evidence has the certificate's subject, issuer and names, by which authorities it was checked (the system's, or those of tls_trust_pool), whether it is for the name that was asked for, whether it is self-signed, comes without its intermediate (side upstream) or without its issuer, or this machine has no trusted authorities at all.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessAsked},
	Undecided:    "whether this authority is to be trusted, the chain is incomplete, or another server or a box in between answers can't be told from here: the issuer's name tells you",
	UsualReasons: []string{
		"an internal authority, or a self-signed certificate",
		"the upstream sends its own certificate without the intermediate",
		"a container image without ca-certificates",
		"another server than is meant answers at this address, or a box on the way that intercepts TLS",
	},
	Fix: Fix{
		Caddy:       "Trust the authority's certificate.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_trust_pool file /etc/caddy/app-ca.pem"),
		Docker:      "Mount the authority's certificate into Caddy's container; install ca-certificates in a bare image.",
		Application: "Let it send the whole chain (fullchain.pem, not cert.pem).",
	},
	Rivals: []Rival{
		{"an intermediate certificate that is missing", "the evidence says how many certificates came, and that the intermediate is missing where the certificate tells"},
		{"a box on the way that intercepts TLS", "the issuer in the evidence"},
		{"certificate_invalid", "the error says unknown authority, and names no rule that the certificate or its issuer breaks"},
		{"certificate_expired", "the error says unknown authority; dates are checked before"},
		{"certificate_name_mismatch", "the error says unknown authority; the name is checked before"},
		{"client_certificate_rejected", "Caddy ended the handshake: it is about the upstream's certificate, and tls_alert is left out"},
	},
}

var CertificateExpired = &Row{
	Name: "certificate_expired", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "The certificate of {upstream} has expired.",
	Advice:       "Renew the upstream's certificate and reload the upstream.",
	Meaning:      "A certificate in the upstream's chain was valid only until a time that has passed, as this machine's clock has it.",
	RecognisedBy: "The verification's typed error says expired, and the time here is after the end. The evidence has the certificate, both dates and the time here.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessKernel},
	Undecided:    "whether it was not renewed, renewed and not loaded, or another server or a box in between answers with an old one can't be told from here: the certificate's file at the upstream tells",
	UsualReasons: []string{
		"the renewal failed, or the server was not reloaded after it",
		"an intermediate in the chain has expired",
		"this machine's clock is wrong",
	},
	Fix: Fix{
		Caddy:       "Nothing: trusting an expired certificate would end the check for all others as well.",
		Docker:      "Mount the folder of the certificates, not single files: a renewal replaces the files.",
		Application: "Renew the certificate, and reload the server.",
	},
	Rivals: []Rival{
		{"this machine's clock", "the time here, in the evidence, is the true one; it says whether a time service keeps the clock, where the system tells (Linux)"},
		{"certificate_not_yet_valid", "the time here is after the end, not before the start"},
		{"certificate_untrusted", "the error says expired"},
	},
}

var CertificateNotYetValid = &Row{
	Name: "certificate_not_yet_valid", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "The certificate of {upstream} is not valid yet.",
	Advice:       "Compare the clock here with a true one (date -u): if it is behind, set it; if it is right, let the upstream have a certificate that is valid already.",
	Meaning:      "A certificate in the upstream's chain becomes valid only later, as this machine's clock has it.",
	RecognisedBy: "The verification's typed error says that a date does not fit, and the time here is before the start. The evidence has the certificate, both dates and the time here.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessKernel},
	Undecided:    "a clock here that is behind (the proxy's side), and a certificate made for later or by a clock that is ahead (the upstream's), look the same from here: comparing the clock here with a true one tells",
	UsualReasons: []string{
		"this machine's clock is behind, as after a boot without a battery or NTP",
		"the certificate was made by a machine whose clock is ahead",
	},
	Fix: Fix{
		Caddy:       "Nothing in the Caddyfile; set this machine's clock (timedatectl, chronyc).",
		Docker:      "A container has its host's clock: set that.",
		Application: "Make the certificate again with a start that lies in the past.",
	},
	Rivals: []Rival{
		{"this machine's clock", "the time here, in the evidence, is the true one; it says whether a time service keeps the clock, where the system tells (Linux)"},
		{"certificate_expired", "the time here is before the start, not after the end"},
	},
}

var CertificateNameMismatch = &Row{
	Name: "certificate_name_mismatch", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
	Phase: failure.PhaseTLS, Side: failure.SideProxy,
	Summary:      "The certificate of {upstream} is for another name.",
	Advice:       "Check by the certificate's names that {address} is the server that is meant; if it is, set tls_server_name in the transport to one of them.",
	Meaning:      "The upstream's certificate is for other names than the one Caddy asked for. Caddy ended the handshake.",
	RecognisedBy: "The verification's typed error is about the name. The evidence has the name asked for and the names in the certificate, and says where no name was sent, because the upstream is written as an address.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessAsked},
	Undecided:    "whether another server or a box in between answers, or the right server under another name, or with a wrong or its default certificate, can't be told from here: whose the names in the certificate are, you know",
	UsualReasons: []string{
		"reverse_proxy names an address or a container, and the certificate is for the public name",
		"a certificate with a common name and no names of the modern kind (SAN)",
		"the server sends its default certificate, for it does not know the name",
	},
	Fix: Fix{
		Caddy:       "Ask for a name that the certificate has.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_server_name www.example.com"),
		Docker:      "Keep the service's name in reverse_proxy, and the certificate's name in tls_server_name.",
		Application: "Make a certificate that has the name under which Caddy asks as SAN.",
	},
	Rivals: []Rival{
		{"another server at this address", "the names in the certificate, in the evidence"},
		{"tls_server_name_rejected", "a certificate came; no alert did"},
		{"certificate_untrusted", "the error is about the name; whether the authority is trusted had not been checked yet"},
	},
}

var CertificateInvalid = &Row{
	Name: "certificate_invalid", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "The certificate of {upstream} may not be used for a server.",
	Advice:       "Give the upstream a certificate for server authentication that breaks none of its authority's constraints.",
	Meaning:      "The upstream's certificate breaks a rule other than its dates, its name or whom Caddy trusts: what it may be used for, a constraint of its chain, or how it was made (a signature by SHA-1, an RSA key that is too short or too long, a negative serial number). openssl takes some of them all the same.",
	RecognisedBy: "The verification's typed error has another reason; or it calls the authority unknown and says of an issuer that was found why it does not do; or the certificate could not be read, or its key not be used. The evidence says which.",
	Witnesses:    []Witness{WitnessError, WitnessReceived},
	Undecided:    "whether it is the wrong certificate for this server, was made wrongly, or is that of another server or a box in between can't be told from here: who made it tells",
	UsualReasons: []string{
		"a certificate for clients that is used by a server (extended key usage)",
		"a certificate that signs others without being an authority, or more than its authority allows",
		"an old device, or an old authority: a signature by SHA-1, a negative serial number, an RSA key of fewer than 1024 or more than 8192 bits",
	},
	Fix: Fix{
		Caddy:       "Mostly nothing: the certificate has to be made again. Where it can't be, the server's own certificate in tls_trust_pool spares the question who signed it; GODEBUG in Caddy's environment takes back x509negativeserial=1, rsa1024min=0 and tlsmaxrsasize=16384.",
		Docker:      nothingToChange,
		Application: "Make a certificate with the usage server authentication, within its authority's constraints.",
	},
	Rivals: []Rival{
		{"certificate_untrusted", "the evidence says what is wrong with the certificate, or with the issuer that was found"},
		{"tls_malformed", "it is about the certificate, not about the protocol"},
	},
}

var ClientCertificateRejected = &Row{
	Name: "client_certificate_rejected", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
	Phase: failure.PhaseTLS, Side: failure.SideProxy,
	Summary:      "{upstream} wants a client certificate, and got none that it accepts.",
	Advice:       "Set tls_client_auth in the transport to a certificate from an authority that the upstream trusts.",
	Meaning:      "The upstream wants a certificate of its client, and Caddy presented none, or one that the upstream does not accept.",
	RecognisedBy: "The upstream sent an alert that only speaks of the client's certificate: 116 (required), 48 (unknown authority), or 42 to 46. The evidence says whether there was one to present. In TLS 1.3 it comes after the handshake. Or its own 400 has the sentence by which nginx says so (phase headers, outcome upstream_answered); the evidence quotes it.",
	Witnesses:    []Witness{WitnessReceived, WitnessAsked},
	Undecided:    "why it does not accept the certificate (its authority, its time, what it may be used for), or whether another server than is meant answers, can't be told from here: its log tells",
	UsualReasons: []string{
		"tls_client_auth is not set",
		"the certificate is from another authority, has expired, or is not meant for clients",
	},
	Fix: Fix{
		Caddy:       "Present a certificate that the upstream accepts.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_client_auth /etc/caddy/client.pem /etc/caddy/client.key"),
		Docker:      "Mount certificate and key into Caddy's container, readable for its user.",
		Application: "Let it trust the authority of Caddy's certificate; its log says what it disliked.",
	},
	Rivals: []Rival{
		{"tls_alert", "the alert's number, tls_alert in the attempt, speaks of a certificate"},
		{"upstream_status", "the answer has the sentence about the certificate, which the evidence quotes"},
		{"certificate_untrusted", "the alert came from the upstream: it is about Caddy's certificate"},
		{"tls_renegotiation_refused", "the upstream refused; Caddy did not"},
	},
}

var TLSServerNameRejected = &Row{
	Name: "tls_server_name_rejected", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
	Phase: failure.PhaseTLS, Side: failure.SideProxy,
	Summary:      "{upstream} does not serve the name that was asked for in the TLS handshake, or none was.",
	Advice:       "Set tls_server_name in the transport to a name that the upstream serves.",
	Meaning:      "The upstream refused the handshake because it does not serve the name that Caddy asked for; or it refused the request, because its Host is not the name of the handshake. An upstream that is written as an address is asked for no name at all.",
	RecognisedBy: "The upstream sent alert 112, unrecognized name; or it answered 421, misdirected request, over TLS (Apache, nginx, Caddy), or 400 with the words Invalid SNI (Jetty), in phase headers and with the outcome upstream_answered. The evidence has the name that was sent, or that none was, and the Host.",
	Witnesses:    []Witness{WitnessReceived, WitnessAsked},
	Undecided:    "whether the name that was asked for is the wrong one, the upstream lacks it, or another server or a box in between answers can't be told from here: the names that the upstream serves tell",
	UsualReasons: []string{
		"reverse_proxy names a container or an internal host, and the upstream serves its public name only",
		"the upstream has no site for this name yet",
	},
	Fix: Fix{
		Caddy:       "Ask for a name that the upstream serves. An upstream that is written as an IP address is asked for no name at all.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_server_name www.example.com"),
		Docker:      nothingToChange,
		Application: "Add the name to its sites, or give it a default certificate.",
	},
	Rivals: []Rival{
		{"tls_alert", "tls_alert in the attempt is 112"},
		{"upstream_status", "a 421 came over TLS, or the answer says so"},
		{"certificate_name_mismatch", "an alert came, and no certificate"},
	},
}

var TLSVersionUnsupported = &Row{
	Name: "tls_version_unsupported", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "Caddy and {upstream} have no version of TLS in common.",
	Advice:       "Turn on TLS 1.2 or newer at the upstream, or at the box in front of it that ends TLS.",
	Meaning:      "Caddy speaks TLS 1.2 and 1.3 to upstreams, and this one speaks neither.",
	RecognisedBy: "The upstream sent alert 70, protocol version, or chose a version that Caddy does not speak. The evidence has those that Caddy offered.",
	Witnesses:    []Witness{WitnessReceived, WitnessError, WitnessAsked},
	Undecided:    "whether the server knows no version that Caddy offers, has these turned off, or another server or a box in between answers with older ones can't be told from here: its TLS config and log tell",
	UsualReasons: []string{
		"an old device or library with TLS 1.0 or 1.1 only",
		"a server that is set to TLS 1.3 only, behind a box that allows less",
	},
	Fix: Fix{
		Caddy:       "Nothing: older versions cannot be turned on. If the network between is yours, plain HTTP is the honest choice.",
		Caddyfile:   "reverse_proxy http://app:8080",
		Docker:      nothingToChange,
		Application: "Turn on TLS 1.2 or newer.",
	},
	Rivals: []Rival{
		{"tls_alert", "tls_alert in the attempt is 70, or the error names the version"},
	},
}

var TLSAlert = &Row{
	Name: "tls_alert", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "{upstream} refused the TLS handshake with an alert.",
	Advice:       "Look at the upstream's TLS log for the alert's reason.",
	Meaning:      "The upstream ended the handshake with an alert that has no cause of its own here. Its number says as much as the upstream told.",
	RecognisedBy: "Any other alert of the upstream's; number and name are in the evidence, the number also in tls_alert of the attempt.",
	Witnesses:    []Witness{WitnessReceived},
	Undecided:    "why it sends this alert can't be told from here (the name that was asked for, a client certificate that it wants, versions or ciphers that are not shared, a fault of its own, a box in between that sends it): its TLS log tells",
	UsualReasons: []string{
		"alert 40, handshake failure: no cipher suite or curve in common (old devices take RSA key exchange alone, which Caddy offers only with GODEBUG=tlsrsakex=1, or sign by SHA-1, tlssha1=1), no certificate for the name, or a missing client certificate before TLS 1.3",
		"alert 47 or 50, which say that Caddy's first message can't be read: an old server, or a box in between, that reads only its first packet (tls_curves x25519)",
		"alert 80, internal error: Go's servers, so Caddy, have no certificate for the name, or were asked for none (side proxy); of others the TLS setup is broken",
	},
	Fix: Fix{
		Caddy:       "Ask for the name that the upstream serves; present a client certificate if it wants one.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_server_name app.internal"),
		Docker:      nothingToChange,
		Application: "Look at its TLS log: the alert is its own, and it alone knows the reason.",
	},
	Rivals: []Rival{
		{"client_certificate_rejected", "nothing for alert 40: before TLS 1.3 it is also sent where a client certificate is missing; the evidence says whether the server had asked for one, where that was heard; any other number rules it out"},
		{"tls_server_name_rejected", "nothing for alerts 40 and 80: the evidence says which name was sent; some servers send it for a name that they do not serve; any other number rules it out"},
		{"tls_malformed", "the alert came from the upstream"},
		{"tls_version_unsupported", "nothing for alert 40: some servers send it where versions differ; any other number rules it out"},
		{"tls_closed", "an alert came"},
	},
}
