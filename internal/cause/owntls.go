package cause

import (
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What crypto/tls says where our own side ends a connection; none has a type, but for
// the alert that was sent.
const (
	opLocalError         = "local error"
	opRemoteError        = "remote error"
	textInternalTLS      = "tls: internal error"
	alertNoRenegotiation = 100
	textOwnTLS           = "tls: "
	textParseCertificate = "tls: failed to parse certificate from server: "
	textShutdown         = "tls: protocol is shutdown"
	textSignature        = "tls: invalid signature by the server certificate"
	textLargeKey         = "tls: server sent certificate containing RSA key larger than "
	textCloseNotify      = "tls: failed to send closeNotify alert"
	textDowngrade        = "tls: downgrade attempt detected"
)

// textsOfCertificate are of a certificate that can't be used whatever its chain.
var textsOfCertificate = []string{
	textParseCertificate,
	textLargeKey,
	"tls: server's certificate contains an unsupported type of public key: ",
	"tls: received empty certificates message",
}

// textsOfOurs are of the certificate that is configured for us, or of the config.
var textsOfOurs = []string{
	"no client certificate found for automate name: ",
	"chain is not signed by an acceptable CA",
	textNoServerName,
	"tls: failed to sign handshake: ",
	"tls: client certificate private key ",
	"tls: certificate private key ",
	"tls: certificate used with ",
	"tls: unsupported certificate",
	"tls: peer doesn't support any of the certificate's signature algorithms",
	"client doesn't support ",
	"tls: no supported versions satisfy MinVersion and MaxVersion",
	"tls: no supported elliptic curves for ECDHE",
	"tls: CurvePreferences includes unsupported curve",
	"tls: EncryptedClientHelloConfigList ",
	"tls: NextProtos values too large",
	"tls: invalid NextProtos value",
}

// ownTLSCause finds the cause where our side of TLS refused what came, or could not go
// on, in the handshake or after it.
func ownTLSCause(a *listen.Attempt, err error) finding {
	if op, ok := errors.AsType[*net.OpError](err); err == nil || ok && op.Op == opRemoteError {
		return nothing
	}
	text := innermost(err)
	if _, words, ok := strings.Cut(text, textH3Local+": "); ok && strings.HasPrefix(text, textQUICAlert) {
		text = words // QUIC says first which alert it sent
	}
	alert, ours := localAlert(err)
	begins := func(known string) bool { return strings.HasPrefix(text, known) }
	switch {
	case begins(textShutdown), begins(textCloseNotify):
		return nothing // our side had ended it, and what for is not known here
	case begins(textInternalTLS), ours && alert == alertInternalError:
		if a.Connection != nil {
			return nothing // a bug of Go's, or of Caddy's: nothing that came
		}
		return found(RequestNotSendable, "Caddy's own side: "+withoutSecrets(text)).at(failure.PhaseTLS).advise(adviceOwnTLS)
	case ours && alert == alertNoRenegotiation:
		f := renegotiationRefused(a)
		if phase := reached(a); phase == failure.PhaseBody {
			f.phase = phase
		}
		return f
	case slices.ContainsFunc(textsOfOurs, begins):
		return found(RequestNotSendable, "Caddy's own side: "+withoutSecrets(text)).at(failure.PhaseTLS).advise(adviceOwnTLS)
	case begins(textParseCertificate), begins(textLargeKey), begins(textSignature):
		if f := strictCause(text); f.is() {
			return f
		}
	}
	switch {
	case begins(textParseCertificate):
		f := found(CertificateInvalid, "what came as certificate can't be read as one")
		f.summary = "The certificate that {upstream} sent can't be read."
		return f.
			advise("Let {upstream} send its certificate whole and unchanged, or have it made again: what it sends can't be read as one (openssl x509 -noout -text -in cert.pem, where it runs, tells whether its file can).").
			leavesOpen("whether the file at the upstream is damaged, was made against rules that Caddy's TLS holds to, or a box in between or another server sends it so can't be told from here: its file tells")
	case slices.ContainsFunc(textsOfCertificate, begins):
		return found(CertificateInvalid, withoutSecrets(text))
	case begins(textDowngrade):
		f := found(TLSMalformed, withoutSecrets(text)).advise(adviceDowngrade)
		f.side = failure.SideNetwork
		return f
	case ours:
		text = strings.TrimPrefix(tls.AlertError(alert).Error(), textOwnTLS)
		return brokenLater(a, found(TLSMalformed, "Caddy ended TLS with the alert "+text).at(tlsPhase(a)))
	case begins(textOwnTLS):
		f := found(TLSMalformed, "Caddy ended TLS: "+withoutSecrets(strings.TrimPrefix(text, textOwnTLS))).at(tlsPhase(a))
		if begins(textSignature) {
			f.summary = "{upstream} does not prove that the private key of its certificate is its own."
			return f.advise("Give the server at {upstream} the private key that belongs to its certificate: most likely it has another's (openssl x509 -noout -pubkey -in cert.pem and openssl pkey -pubout -in key.pem print the same where they belong together).").
				leavesOpen("whether the key is another certificate's, or the server's TLS library or a box in between breaks the signature, can't be told from here: comparing key and certificate there tells")
		}
		return brokenLater(a, f)
	}
	return nothing
}

// brokenLater says what is left open where TLS had come about before it broke: then it
// is TLS that the port speaks.
func brokenLater(a *listen.Attempt, f finding) finding {
	if a.Connection == nil {
		return f
	}
	return f.leavesOpen("whether the upstream's TLS, or a box in between that changes bytes, breaks it can't be told from here: its TLS log tells")
}

// renegotiationRefused says what Caddy allows, and has to present.
func renegotiationRefused(a *listen.Attempt) finding {
	f := found(TLSRenegotiationRefused, certificateLine(a)...)
	switch s := tlsSettings(a); {
	case s == nil:
	case s.Renegotiation == "" || s.Renegotiation == "never":
		f.evidence = append(f.evidence, "tls_renegotiation is "+orText(s.Renegotiation, "not set")+": Caddy allows none")
	case s.Renegotiation == "once":
		f.evidence = append(f.evidence, "tls_renegotiation is once: another one is refused")
		return f.advise("Set tls_renegotiation freely in the transport, if the upstream needs more than one, or let it ask for the certificate in the first handshake.")
	}
	return f
}

// renegotiates says that a handshake's record came where an answer was awaited: before
// TLS 1.3 its type can be read (RFC 5246 section 6.2.1). Go's transport hides the error of
// an attempt that it repeats.
func renegotiates(a *listen.Attempt) bool {
	const handshake = 22
	c := a.Connection
	return c != nil && c.Carried != nil && c.Carried.Encrypted && a.FirstByte == 0 && len(c.Carried.Head) > 0 && c.Carried.Head[0] == handshake
}

// tlsPhase is where an attempt was when TLS broke: what follows the handshake has phases
// of its own.
func tlsPhase(a *listen.Attempt) failure.Phase {
	if a.Connection == nil {
		return failure.PhaseTLS
	}
	return reached(a)
}

// localAlert is the alert that our own side sent and failed by. crypto/tls has the type
// unexported, so its kind is what can be asked.
func localAlert(err error) (alert uint8, ok bool) { return alertOf(err, opLocalError) }

func alertOf(err error, operation string) (alert uint8, ok bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != operation || op.Err == nil {
		return 0, false
	}
	value := reflect.ValueOf(op.Err)
	if value.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(value.Uint()), true
}

const (
	// adviceOwnTLS is for what our own config makes impossible.
	adviceOwnTLS = "Check tls_client_auth and tls_curves in the transport: Caddy could not use what is set there for {upstream}."
	// adviceDowngrade is for a handshake that somebody changed.
	adviceDowngrade = "Look for a box between here and {upstream} that takes part in TLS: the server says that it offered a newer version than came here."
)

// ownTLSRule asks for it as one of the rules.
func ownTLSRule(t *try) finding { return ownTLSCause(t.Attempt, t.err) }

var TLSRenegotiationRefused = &Row{
	Name: "tls_renegotiation_refused", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
	Phase: failure.PhaseWait, Side: failure.SideProxy,
	Summary:      "{upstream} asked to renegotiate TLS for this request, mostly for a client certificate, and Caddy refused.",
	Advice:       "Set tls_renegotiation once in the transport, and tls_client_auth to the certificate that the upstream wants.",
	Meaning:      "The upstream had read the request, and began a second TLS handshake on the connection before it would answer. Caddy does not renegotiate unless it is told to, and ended the connection.",
	RecognisedBy: "Caddy's own side ended TLS with the alert no_renegotiation, which answers nothing else.",
	Witnesses:    []Witness{WitnessError, WitnessAsked},
	Undecided:    "whether it wants a client certificate for this request, or only new keys, and whether the application or a server in front of it asks can't be told from here: its TLS config tells",
	UsualReasons: []string{
		"Apache (SSLVerifyClient for a path) or IIS, which want a client certificate for some paths alone, over TLS 1.2",
		"a server that renegotiates to refresh its keys",
	},
	Fix: Fix{
		Caddy:       "Allow one renegotiation, and present a certificate.",
		Caddyfile:   inTransportTo("https://app:8443", "tls_renegotiation once", "tls_client_auth /etc/caddy/client.pem /etc/caddy/client.key"),
		Docker:      "Mount certificate and key into Caddy's container, readable for its user.",
		Application: "Ask for the certificate in the first handshake, for the whole site (SSLVerifyClient optional), or on a port or name of its own.",
	},
	Rivals: []Rival{
		{"closed_before_response", "Caddy closed the connection, not the upstream: the error is a local one"},
		{"keepalive_race", "Caddy closed the connection, not the upstream: the error is a local one"},
		{"client_certificate_rejected", "no alert came from the upstream, which had not seen a certificate yet"},
	},
}

var TLSMalformed = &Row{
	Name: "tls_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "tls_protocol_error",
	Phase: failure.PhaseTLS, Side: failure.SideUpstream,
	Summary:      "What came from {upstream} breaks the rules of TLS.",
	Advice:       "Update the TLS library of the upstream, or of what stands in front of it; the evidence says which rule was broken.",
	Meaning:      "Caddy's side of TLS ended the connection because of what came: a message that is not allowed, a signature that is wrong, or a record that was changed on the way.",
	RecognisedBy: "crypto/tls's own refusal, or the alert that Caddy sent (a local error); the evidence has its words. The upstream sent no alert.",
	Witnesses:    []Witness{WitnessError},
	Undecided:    "whether the upstream's TLS, a server or a box in between breaks it, or another program answers on this port, can't be told from here: its TLS log, and openssl s_client where it runs, tell",
	UsualReasons: []string{
		"a certificate and a key that do not belong together",
		"a broken or very old implementation of TLS",
		"a box on the way that takes part in TLS, or changes bytes (bad record MAC)",
	},
	Fix: Fix{
		Caddy:       "Nothing: what breaks the rules cannot be trusted.",
		Docker:      nothingToChange,
		Application: "Check that its key belongs to its certificate; update its TLS library.",
	},
	Rivals: []Rival{
		{"tls_alert", "no alert came from the upstream: tls_alert is left out of the attempt"},
		{"tls_not_spoken", "what came is TLS"},
		{"certificate_invalid", "it is about the protocol, not about what the certificate may be used for"},
	},
}
