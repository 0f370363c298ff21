package cause

import (
	"iter"
	"slices"
	"strings"
)

// all is the catalogue, in the order in which it is documented. Each row is declared
// beside the rules of its phase.
var all = []*Row{
	// Before an upstream was chosen.
	UpstreamsUnhealthy,
	UpstreamsFull,
	UpstreamsMissing,
	UpstreamLookupFailed,
	DialAddressInvalid,
	// Until a connection came about.
	ProxyLoop,
	DNSNameNotFound,
	DNSServerFailed,
	DNSTimeout,
	ConnectionRefused,
	SocketBacklogFull,
	ConnectTimeout,
	HostUnreachable,
	NetworkUnreachable,
	ConnectProhibited,
	AddressFamilyUnavailable,
	LocalAddressUnavailable,
	PortsExhausted,
	FileDescriptorsExhausted,
	SocketNotFound,
	SocketPermissionDenied,
	ForwardProxyFailed,
	TLSNotSpoken,
	TLSClosed,
	TLSTimeout,
	CertificateUntrusted,
	CertificateExpired,
	CertificateNotYetValid,
	CertificateNameMismatch,
	CertificateInvalid,
	ClientCertificateRejected,
	TLSServerNameRejected,
	TLSVersionUnsupported,
	TLSAlert,
	TLSMalformed,
	TLSRenegotiationRefused,
	// Until the request was sent.
	RequestWriteTimeout,
	RequestWriteFailed,
	ClientUploadFailed,
	RequestNotSendable,
	RetriedWithoutBody,
	// Until an answer came.
	KeepaliveRace,
	ClosedBeforeResponse,
	ResetBeforeResponse,
	ConnectionLost,
	ResponseTimeout,
	ReadTimeout,
	StreamReset,
	Goaway,
	// The answer's headers.
	ResponseCutInHeaders,
	NotHTTP,
	TLSExpected,
	HTTPVersionMismatch,
	ResponseMalformed,
	ResponseHeadersTooLarge,
	HTTPFramingError,
	FastCGIMalformed,
	UpgradeFailed,
	ForwardProxyAnswered,
	TransferCodingInvalid,
	// The answer's body, and what belongs to no phase.
	UploadCutByEarlyResponse,
	ResponseTruncated,
	ResponseLengthExceeded,
	ResponseStalled,
	ContentCodingInvalid,
	ClientClosedRequest,
	UpstreamStatus,
	Unknown,
}

// nothingToChange says that a fault can't be ended at this place.
const nothingToChange = "Nothing to change."

// Changes says whether what a Fix says of a place is more than that there is nothing to
// change.
func Changes(fix string) bool { return fix != nothingToChange }

// Where a line of a Caddyfile belongs: in the block of reverse_proxy, or in that of
// its transport.

func inProxy(lines ...string) string { return inProxyTo("app:8080", lines...) }

func inProxyTo(upstreams string, lines ...string) string {
	directive := "reverse_proxy "
	if upstreams != "" {
		directive += upstreams + " "
	}
	return directive + "{\n\t" + strings.Join(lines, "\n\t") + "\n}"
}

func inTransport(lines ...string) string { return inTransportTo("app:8080", lines...) }

func inTransportTo(upstreams string, lines ...string) string {
	return inProxyTo(upstreams, "transport http {", "\t"+strings.Join(lines, "\n\t\t"), "}")
}

// Rows goes through the catalogue in its order.
func Rows() iter.Seq[*Row] { return slices.Values(all) }

// ByName returns the row of that name, or nil.
func ByName(name string) *Row {
	for _, r := range all {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// noteworthy says whether a status that an upstream itself answered is worth a
// record: those with which a gateway speaks of what is behind it, 520 to 530
// being Cloudflare's.
func noteworthy(status int) bool {
	switch status {
	case 502, 503, 504:
		return true
	}
	return 520 <= status && status <= 530
}
