package failure

// Board is how the upstreams of the running configs are now.
type Board struct {
	// Upstreams are those that a config names: those that get no request first, then those
	// with an open incident, by name.
	Upstreams []UpstreamState `json:"upstreams"`
	// Warnings are those of this process: open files, local ports.
	Warnings []Warning `json:"warnings"`
	// WarningsDropped is how often something was no warning, because too many were kept;
	// left out for none.
	WarningsDropped uint64 `json:"warnings_dropped,omitempty"`
}

// UpstreamState is how an upstream is that is reached in one way. What isn't known is left
// out.
type UpstreamState struct {
	// Upstream is what is configured: an address, placeholders unexpanded, or a dynamic
	// source.
	Upstream string `json:"upstream"`
	// Dynamic says that it is a source of upstreams; see Lookup.
	Dynamic bool `json:"dynamic"`
	// Address is what is dialled; left out where it isn't one address.
	Address string `json:"address,omitempty"`
	// Sites are the labels of the sites that lead to it, as records have them, Servers the
	// names of their servers.
	Sites   []string `json:"sites"`
	Servers []string `json:"servers"`
	// Transport is the transport's name, as its module: http, fastcgi. Protocol is left out
	// where a TLS handshake decides it.
	Transport string `json:"transport"`
	Protocol  string `json:"protocol,omitempty"`
	TLS       bool   `json:"tls"`
	// Limits are those in force, and those that are absent.
	Limits []Limit `json:"limits"`
	// Healthy is what health checks and circuit breakers say; left out where there are none.
	// Reason is why it gets no requests now; left out where it does.
	Healthy *bool  `json:"healthy,omitempty"`
	Reason  Reason `json:"reason,omitempty"`
	// Check is what its active check asked and got when it was last repeated, where that
	// fails.
	Check string `json:"check,omitempty"`
	// Fails are the failures that count against it now, MaxFails how many are too many, 0
	// where none are counted. Both and what follows are of its address, whoever leads to it.
	Fails    *int `json:"fails,omitempty"`
	MaxFails int  `json:"max_fails,omitempty"`
	// InFlight are the requests that it has now, MaxRequests how many it may have at a time,
	// 0 for any number.
	InFlight    *int `json:"in_flight,omitempty"`
	MaxRequests int  `json:"max_requests,omitempty"`
	// LastAnswer is when the last answer came, LastSuccess when the last one was over that
	// was whole and no error of a server (a status below 500).
	LastAnswer  *Timestamp   `json:"last_answer,omitempty"`
	LastSuccess *Timestamp   `json:"last_success,omitempty"`
	LastFailure *LastFailure `json:"last_failure,omitempty"`
	// CertificateNotAfter is when the certificate ends that it showed last; of several
	// addresses', the one that ends first.
	CertificateNotAfter *Timestamp `json:"certificate_not_after,omitempty"`
	// OpenIncidents are the ids of those that are open, FailingSince is when the first of
	// them began.
	OpenIncidents []string   `json:"open_incidents"`
	FailingSince  *Timestamp `json:"failing_since,omitempty"`
	// Lookup is what a dynamic source gave last; left out where it was not asked yet.
	Lookup   *SourceLookup `json:"lookup,omitempty"`
	Warnings []Warning     `json:"warnings"`
}

// LastFailure is the last failure that is kept of an upstream, and was not the client's doing.
type LastFailure struct {
	ID    string    `json:"id"`
	Time  Timestamp `json:"time"`
	Cause string    `json:"cause"`
}

// SourceLookup is what a dynamic source gave last.
type SourceLookup struct {
	// Time is when it was asked last, Error why it gave nothing then.
	Time  Timestamp `json:"time"`
	Error string    `json:"error,omitempty"`
	// AddressCount counts what it gave the last time that it had no error; Addresses are the first of them, those that are not
	// made of what a client sent.
	AddressCount int             `json:"address_count"`
	Addresses    []SourceAddress `json:"addresses"`
}

// MaxSourceAddresses is how many addresses of a dynamic source are shown.
const MaxSourceAddresses = 16

// SourceAddress is one upstream of a dynamic source.
type SourceAddress struct {
	Address     string       `json:"address"`
	LastAnswer  *Timestamp   `json:"last_answer,omitempty"`
	LastSuccess *Timestamp   `json:"last_success,omitempty"`
	LastFailure *LastFailure `json:"last_failure,omitempty"`
}
