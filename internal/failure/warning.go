package failure

import "time"

// WarningKind is what a warning is about.
type WarningKind string

// The kinds of warnings. What is said of each stands in the catalogue (cause.Warnings).
const (
	WarnCertificate   WarningKind = "certificate_expiry"
	WarnConnect       WarningKind = "slow_connect"
	WarnHandshake     WarningKind = "slow_tls_handshake"
	WarnResponse      WarningKind = "slow_response"
	WarnRescued       WarningKind = "rescued"
	WarnRequests      WarningKind = "requests_near_limit"
	WarnNeverAnswered WarningKind = "never_answered"
	WarnOpenFiles     WarningKind = "open_files_near_limit"
	WarnLocalPorts    WarningKind = "local_ports_near_limit"
)

// CertificateNear is how long before its end an upstream's certificate is warned of; one
// that is valid for less than 56 days, in the last quarter of its time: the certificates of
// Caddy's own authority are made for 12 hours.
const CertificateNear = 14 * 24 * time.Hour

// NearItsEnd says whether a certificate that is valid between two times is warned of now.
func NearItsEnd(notBefore, notAfter, now time.Time) bool {
	return notAfter.Sub(now) <= min(CertificateNear, notAfter.Sub(notBefore)/4)
}

// Warning is what has nearly gone wrong in one way: of one kind, at one upstream.
type Warning struct {
	Kind WarningKind `json:"kind"`
	// Upstream is what is configured; left out where it is this process that the warning is
	// about.
	Upstream string `json:"upstream,omitempty"`
	// Address is the one that was dialled the last time, where it isn't the upstream's name.
	Address  string   `json:"address,omitempty"`
	Summary  string   `json:"summary"`
	Advice   string   `json:"advice"`
	Evidence []string `json:"evidence"`
	// Measured is what was near its limit the last time; left out where nothing is measured.
	Measured    *Measured    `json:"measured,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	// LastFailure is the id of the last failure of which it is known, LastCause its cause.
	LastFailure string    `json:"last_failure,omitempty"`
	LastCause   string    `json:"last_cause,omitempty"`
	FirstSeen   Timestamp `json:"first_seen"`
	LastSeen    Timestamp `json:"last_seen"`
	// Count is how often it was seen since FirstSeen; what is looked at again and again
	// (files, ports, who never answered) counts once, when it begins.
	Count uint64 `json:"count"`
}

// Measured is a number and what it must stay below.
type Measured struct {
	// Name is what the limit is called, in a Caddyfile where it stands there.
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	// Unit is ms, requests, files or ports.
	Unit string `json:"unit"`
}

// Certificate is one that an upstream has shown.
type Certificate struct {
	// Name is whose it is, or the first name that it is for: the beginning of it, escaped.
	Name     string    `json:"name,omitempty"`
	NotAfter Timestamp `json:"not_after"`
}
