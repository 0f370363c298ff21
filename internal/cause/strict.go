package cause

import (
	"crypto/x509"
	"strings"
)

// strictRule is a rule that Go holds to for certificates, and others don't: openssl takes
// what breaks it, so that all looks well at the upstream.
type strictRule struct {
	// text is what the error has in it.
	text string
	// summary says what is wrong; evidence is the rule.
	summary, evidence string
	// again is how it is to be made again; setting takes the rule away.
	again, setting string
}

// strictRules are those of a certificate's own, whatever its chain. Each setting is one that
// Go reads when Caddy starts.
var strictRules = []strictRule{
	{"x509: negative serial number",
		"A certificate that {upstream} sent has a negative serial number, and Caddy takes none that has.",
		"the rule is that of RFC 5280 section 4.1.2.2: a serial number is positive; openssl takes it all the same",
		"with a positive serial number", "x509negativeserial=1"},
	{textLargeKey,
		"A certificate that {upstream} sent has a longer RSA key than Caddy takes.",
		"the rule is Go's own, against keys that cost much to check; openssl takes it all the same",
		"with a shorter key (RSA 4096, or ECDSA)", "tlsmaxrsasize=16384"},
	{textShortKey,
		"The certificate of {upstream} has a shorter RSA key than Caddy takes.",
		"the rule is Go's own: an RSA key has 1024 bits or more",
		"with a longer key (RSA 2048, or ECDSA)", "rsa1024min=0"},
}

// Texts of why a certificate's issuer, which is known or came along, does not do.
const (
	textShortKey   = "-bit keys are insecure"
	textWeakSigned = "cannot verify signature: insecure algorithm "
	textNoIssuer   = "parent certificate cannot sign this kind of certificate"
)

// strictCause finds the rule that a certificate breaks by the error's text: none has a type.
func strictCause(text string) finding {
	for _, rule := range strictRules {
		if !strings.Contains(text, rule.text) {
			continue
		}
		f := found(CertificateInvalid, rule.evidence)
		f.summary = rule.summary
		return f.advise("Have the certificate of {upstream} made again " + rule.again + "; where that can't be, as on an old device, start Caddy with GODEBUG=" + rule.setting + " in its environment.")
	}
	return nothing
}

// issuerRefusedCause is for a certificate whose issuer is there, and does not do: it signed
// in a way that nobody trusts any more (SHA-1, MD5), its key is too short, or it is no
// authority. Go calls it unknown all the same, and says this as what may be the reason. That
// one which did not sign has the issuer's name is no such reason: see untrustedCause.
func issuerRefusedCause(unknown x509.UnknownAuthorityError, evidence []string) finding {
	why, _, ok := strings.Cut(unknown.Error(), textOtherKey)
	if !ok || unknown.Cert == nil {
		return nothing
	}
	certificate := "the certificate " + owner(unknown.Cert)
	var again string
	f := found(CertificateInvalid, evidence...)
	switch {
	case strings.Contains(why, textWeakSigned):
		how := unknown.Cert.SignatureAlgorithm.String()
		f.summary = "The certificate of {upstream}, or that of its authority, is signed in a way that Caddy takes of nobody any more: " + how + "."
		f.evidence = append(f.evidence, cut(certificate+" is signed by "+how, maxEvidence))
		again = "Have that certificate made again with a signature by SHA-256"
	case strings.Contains(why, textShortKey):
		f.summary = "The certificate of {upstream}, or that of its authority, is signed by an RSA key that is too short for Caddy."
		f.evidence = append(f.evidence, cut(certificate+" is signed by an RSA key of fewer than 1024 bits, which is the least that Go takes", maxEvidence))
		again = "Have that certificate made again by an authority with a longer key (RSA 2048, or ECDSA)"
	case strings.Contains(why, textNoIssuer):
		f.summary = "The certificate of {upstream}, or that of its authority, is from an issuer whose own certificate is not that of an authority."
		f.evidence = append(f.evidence, cut("the issuer of "+certificate+" has a certificate that may not sign others", maxEvidence))
		again = "Have the issuer's certificate made again as an authority's (basicConstraints CA:TRUE, and keyCertSign where it has a keyUsage)"
	default:
		return nothing
	}
	return f.advise(again + "; where that can't be, look whether this is the server that is meant, and name its own certificate, not its issuer's, by tls_trust_pool in the transport: no signature is asked for then.").
		leavesOpen("whether Caddy would trust the issuer otherwise, and whether this is the server that is meant or a box in between, can't be told from here: its certificate's file there tells (openssl x509 -noout -text)")
}
