package cause

import (
	"iter"
	"slices"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// all is the catalogue, in the order in which the rows are declared below: the
// order in which they are documented.
var all []*Row

// row enters r into the catalogue.
func row(r Row) *Row {
	if r.Rivals == nil {
		r.Rivals = []Rival{}
	}
	all = append(all, &r)
	return &r
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

// Noteworthy says whether a status that an upstream itself answered is worth a
// record: those with which a gateway speaks of what is behind it, 520 to 530
// being Cloudflare's.
func Noteworthy(status int) bool {
	switch status {
	case 502, 503, 504:
		return true
	}
	return 520 <= status && status <= 530
}

// Before an upstream was chosen.
var (
	UpstreamsUnhealthy = row(Row{
		Name: "upstreams_unhealthy", Category: failure.CategoryUnavailable, ProxyError: "destination_unavailable",
		Phase: failure.PhaseSelect, Side: failure.SideUpstream,
		Summary: "No upstream is healthy, so none was tried.",
		Advice:  "Look at the last failure of each upstream in the list; fail_duration and max_fails say how long one stays out.",
		Rivals:  []Rival{{"upstreams_full", "no upstream in the list is full"}},
	})
	UpstreamsFull = row(Row{
		Name: "upstreams_full", Category: failure.CategoryUnavailable, ProxyError: "connection_limit_reached",
		Phase: failure.PhaseSelect, Side: failure.SideProxy,
		Summary: "Every healthy upstream has as many requests as it may have.",
		Advice:  "Raise unhealthy_request_count, add upstreams, or let requests wait with lb_try_duration.",
		Rivals:  []Rival{{"upstreams_unhealthy", "at least one upstream in the list is healthy, and full"}},
	})
	UpstreamsMissing = row(Row{
		Name: "upstreams_missing", Category: failure.CategoryUnavailable, ProxyError: "destination_not_found",
		Phase: failure.PhaseSelect, Side: failure.SideProxy,
		Summary: "There is no upstream to choose from.",
		Advice:  "Name an upstream in reverse_proxy, or look at what its dynamic source returns.",
		Rivals:  []Rival{{"upstream_lookup_failed", "the source's lookup worked and returned nothing"}},
	})
	UpstreamLookupFailed = row(Row{
		Name: "upstream_lookup_failed", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
		Phase: failure.PhaseSelect, Side: failure.SideNetwork,
		Summary: "Looking up the upstreams of {upstream} failed.",
		Advice:  "Ask the resolver for the name by hand, and check the name and the resolvers of dynamic.",
		Rivals:  []Rival{{"upstreams_missing", "the lookup returned an error, not an empty answer"}},
	})
	DialAddressInvalid = row(Row{
		Name: "dial_address_invalid", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseSelect, Side: failure.SideProxy,
		Summary: "{upstream} does not give an address that can be dialled.",
		Advice:  "Check the placeholder in the upstream's address in reverse_proxy: it is empty, or not one host and port.",
	})
)

// Until a connection came about.
var (
	ProxyLoop = row(Row{
		Name: "proxy_loop", Category: failure.CategoryUnavailable, ProxyError: "proxy_loop_detected",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary: "{upstream} leads back to this same site.",
		Advice:  "Let reverse_proxy point at the application, not at an address that this site serves.",
	})
	DNSNameNotFound = row(Row{
		Name: "dns_name_not_found", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork,
		Summary: "The name of {upstream} does not exist, or has no address.",
		Advice:  "Correct the host in reverse_proxy, or create the name; in Docker, both containers must be on one network.",
		Rivals:  []Rival{{"dns_server_failed", "the resolver answered that there is no such name"}},
	})
	DNSServerFailed = row(Row{
		Name: "dns_server_failed", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork,
		Summary: "The resolver could not look up the name of {upstream}.",
		Advice:  "Check the resolver of this machine, or name others with resolvers in the transport.",
		Rivals:  []Rival{{"dns_name_not_found", "the resolver did not say that the name does not exist"}},
	})
	DNSTimeout = row(Row{
		Name: "dns_timeout", Category: failure.CategoryTimeout, ProxyError: "dns_timeout",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork, Status: 504,
		Summary: "No resolver answered for the name of {upstream} in time.",
		Advice:  "Check that the resolver of this machine can be reached, or name others with resolvers in the transport.",
		Rivals:  []Rival{{"connect_timeout", "the name had not been resolved when the time was over"}},
	})
	ConnectionRefused = row(Row{
		Name: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary: "Nothing accepts connections at {upstream}.",
		Advice:  "Start the application, or correct the port in reverse_proxy.",
		Rivals: []Rival{
			{"a firewall that rejects", "nothing on this machine: look from the upstream's own machine"},
			{"a Kubernetes Service without endpoints", "nothing on this machine: list the endpoints of the Service"},
		},
	})
	SocketBacklogFull = row(Row{
		Name: "socket_backlog_full", Category: failure.CategoryUnavailable, ProxyError: "connection_limit_reached",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary: "The queue of connections at {upstream} is full.",
		Advice:  "Give the application more workers, or raise its listen backlog.",
		Rivals:  []Rival{{"connect_timeout", "the system said EAGAIN at once, no time ran out"}},
	})
	ConnectTimeout = row(Row{
		Name: "connect_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_timeout",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork, Status: 504,
		Summary: "{upstream} did not take a connection within {limit}.",
		Advice:  "Check the address and the firewall between here and there; a slow network needs a longer dial_timeout.",
		Rivals: []Rival{
			{"host_unreachable", "no answer came at all; a longer dial_timeout lets the system tell that a host is not there"},
			{"a listener whose queue is full", "nothing on this machine: look at the queue on the upstream's machine"},
		},
	})
	HostUnreachable = row(Row{
		Name: "host_unreachable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary: "There is no way to the host of {upstream}.",
		Advice:  "Check that the host is up, that its address is right, and the route to it.",
		Rivals:  []Rival{{"a firewall that rejects", "a firewall answers within 100 ms, a host that is not there takes 1 to 3 s"}},
	})
	NetworkUnreachable = row(Row{
		Name: "network_unreachable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary: "This machine has no route to the network of {upstream}.",
		Advice:  "Check the routes of this machine, and whether the upstream's name leads to an IPv6 address that cannot be reached from here.",
	})
	ConnectProhibited = row(Row{
		Name: "connect_prohibited", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_prohibited",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary: "A firewall or a route of this machine forbids connecting to {upstream}.",
		Advice:  "Look for a prohibiting route or an outgoing firewall rule on this machine.",
		Rivals:  []Rival{{"a security policy for this process", "the policy's own log, of SELinux or AppArmor"}},
	})
	AddressFamilyUnavailable = row(Row{
		Name: "address_family_unavailable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary: "This process cannot use the kind of address that {upstream} has.",
		Advice:  "Use an IPv4 address in reverse_proxy, or turn on IPv6 here (Docker's network, systemd's RestrictAddressFamilies).",
		Rivals:  []Rival{{"ports_exhausted", "no interface of this machine has an address of this family"}},
	})
	LocalAddressUnavailable = row(Row{
		Name: "local_address_unavailable", Category: failure.CategoryUnreachable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary: "The local address to connect from is not one of this machine.",
		Advice:  "Correct local_address in the transport.",
		Rivals:  []Rival{{"ports_exhausted", "binding failed, before anything was connected"}},
	})
	PortsExhausted = row(Row{
		Name: "ports_exhausted", Category: failure.CategoryUnavailable, ProxyError: "proxy_internal_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary: "This machine has no free local port to connect to {upstream} from.",
		Advice:  "Keep connections open with keepalive, or widen net.ipv4.ip_local_port_range.",
		Rivals:  []Rival{{"address_family_unavailable", "the sockets in use fill the range of local ports"}},
	})
	FileDescriptorsExhausted = row(Row{
		Name: "file_descriptors_exhausted", Category: failure.CategoryUnavailable, ProxyError: "proxy_internal_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary: "This process may not open another socket to reach {upstream}.",
		Advice:  "Raise the limit of open files (LimitNOFILE in systemd, ulimit -n), and look for what holds them.",
	})
	SocketNotFound = row(Row{
		Name: "socket_not_found", Category: failure.CategoryUnavailable, ProxyError: "destination_unavailable",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary: "There is no socket at {upstream}.",
		Advice:  "Start the application, or correct the socket's path in reverse_proxy.",
		Rivals:  []Rival{{"connection_refused", "there is no file at the path"}},
	})
	SocketPermissionDenied = row(Row{
		Name: "socket_permission_denied", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary: "Caddy may not open the socket at {upstream}.",
		Advice:  "Let Caddy's user into the socket's group, or change the socket's mode (listen.group, listen.mode of php-fpm).",
		Rivals:  []Rival{{"a security policy for this process", "the socket's owner and mode would let Caddy's user in"}},
	})
	ForwardProxyFailed = row(Row{
		Name: "forward_proxy_failed", Category: failure.CategoryUnreachable,
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary: "The forward proxy on the way to {upstream} could not be used.",
		Advice:  "Check the proxy that network_proxy names, or HTTP_PROXY and HTTPS_PROXY in Caddy's environment.",
		Rivals:  []Rival{{"connection_refused", "the address that was tried is the forward proxy's"}},
	})
	TLSNotSpoken = row(Row{
		Name: "tls_not_spoken", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary: "{upstream} does not speak TLS on this port.",
		Advice:  "Use http:// in reverse_proxy, or the port on which the upstream speaks TLS.",
		Rivals:  []Rival{{"tls_closed", "bytes came back, and they are no TLS"}},
	})
	TLSClosed = row(Row{
		Name: "tls_closed", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary: "{upstream} closed the connection during the TLS handshake.",
		Advice:  "Look at the upstream's TLS log: a name it does not serve (tls_server_name), or a port that speaks no TLS.",
		Rivals:  []Rival{{"a box on the way that drops a large ClientHello", "nothing from here: try with tls_curves x25519 in the transport"}},
	})
	TLSTimeout = row(Row{
		Name: "tls_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_timeout",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream, Status: 504,
		Summary: "{upstream} did not finish the TLS handshake within {limit}.",
		Advice:  "Check that the upstream speaks TLS on this port and is not overloaded; a slow one needs a longer tls_timeout.",
		Rivals:  []Rival{{"connect_timeout", "the connection had come about"}},
	})
	CertificateUntrusted = row(Row{
		Name: "certificate_untrusted", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary: "The certificate of {upstream} is from an authority that Caddy does not trust.",
		Advice:  "Name the authority with tls_trust_pool in the transport, or let the upstream send its whole chain.",
	})
	CertificateExpired = row(Row{
		Name: "certificate_expired", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary: "The certificate of {upstream} has expired.",
		Advice:  "Renew the upstream's certificate and reload the upstream.",
		Rivals:  []Rival{{"this machine's clock", "the time in the evidence is the true one"}},
	})
	CertificateNotYetValid = row(Row{
		Name: "certificate_not_yet_valid", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary: "The certificate of {upstream} is not valid yet.",
		Advice:  "Check the clock of this machine, and of the one that made the certificate.",
		Rivals:  []Rival{{"this machine's clock", "the time in the evidence is the true one"}},
	})
	CertificateNameMismatch = row(Row{
		Name: "certificate_name_mismatch", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary: "The certificate of {upstream} is for another name.",
		Advice:  "Set tls_server_name in the transport to a name that the certificate has.",
	})
	CertificateInvalid = row(Row{
		Name: "certificate_invalid", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary: "The certificate of {upstream} may not be used for a server.",
		Advice:  "Give the upstream a certificate for server authentication that breaks none of its authority's constraints.",
	})
	ClientCertificateRejected = row(Row{
		Name: "client_certificate_rejected", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary: "{upstream} wants a client certificate and did not accept what Caddy presented.",
		Advice:  "Set tls_client_auth in the transport to a certificate from an authority that the upstream trusts.",
		Rivals:  []Rival{{"tls_alert", "the alert's number speaks of a certificate"}},
	})
	TLSServerNameRejected = row(Row{
		Name: "tls_server_name_rejected", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary: "{upstream} does not serve the name that was asked for in the TLS handshake.",
		Advice:  "Set tls_server_name in the transport to a name that the upstream serves.",
	})
	TLSVersionUnsupported = row(Row{
		Name: "tls_version_unsupported", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary: "Caddy and {upstream} have no version of TLS in common.",
		Advice:  "Turn on TLS 1.2 or newer at the upstream.",
	})
	TLSAlert = row(Row{
		Name: "tls_alert", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary: "{upstream} refused the TLS handshake with an alert.",
		Advice:  "Look at the upstream's TLS log for the alert's reason.",
		Rivals: []Rival{
			{"client_certificate_rejected", "nothing for alert 40: before TLS 1.3 it is also sent where a client certificate is missing"},
			{"tls_server_name_rejected", "nothing for alert 40: some servers send it for a name that they do not serve"},
			{"tls_version_unsupported", "nothing for alert 40: some servers send it where no cipher suite is shared"},
		},
	})
)

// Until the request was sent.
var (
	RequestWriteTimeout = row(Row{
		Name: "request_write_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_write_timeout",
		Phase: failure.PhaseSend, Side: failure.SideUpstream, Status: 504,
		Summary: "{upstream} did not take the request within {limit}.",
		Advice:  "Find out why the upstream reads so slowly; if it may, raise write_timeout in the transport.",
		Rivals:  []Rival{{"client_upload_failed", "the client's side had no error"}},
	})
	RequestWriteFailed = row(Row{
		Name: "request_write_failed", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseSend, Side: failure.SideUpstream,
		Summary: "{upstream} closed the connection while the request was being sent.",
		Advice:  "Look at the upstream's log and its limit for the size of a request: many close instead of answering 413.",
		Rivals:  []Rival{{"client_upload_failed", "the client's side had no error"}},
	})
	ClientUploadFailed = row(Row{
		Name: "client_upload_failed", Category: failure.CategoryRequest, ProxyError: "http_request_error",
		Phase: failure.PhaseSend, Side: failure.SideClient,
		Summary: "The client's request broke off, stalled or was malformed while it was passed to {upstream}.",
		Advice:  "Nothing to do for single ones; if slow clients are cut off, raise read_body of the server's timeouts.",
		Rivals:  []Rival{{"request_write_failed", "the error is the one of reading from the client"}},
	})
	RequestNotSendable = row(Row{
		Name: "request_not_sendable", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseSend, Side: failure.SideProxy,
		Summary: "The request to {upstream} has a field or a length that cannot be sent.",
		Advice:  "Check what header_up sets; where a length is missing, set request_buffers.",
	})
)

// Until an answer came.
var (
	KeepaliveRace = row(Row{
		Name: "keepalive_race", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideProxy,
		Summary: "{upstream} closed an idle connection at the moment when it was used again.",
		Advice:  "Set keepalive in the transport to less than the upstream's own idle timeout.",
		Rivals:  []Rival{{"closed_before_response", "the reused connection died within one round trip, too soon for work to have been done"}},
	})
	ClosedBeforeResponse = row(Row{
		Name: "closed_before_response", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary: "{upstream} took the request and closed the connection without an answer.",
		Advice:  "Look at the application's log for a crash or a killed worker at this time.",
		Rivals: []Rival{
			{"keepalive_race", "the connection was new, or died later than one round trip after the request"},
			{"tls_expected", "nothing: some TLS ports close on plain HTTP without a word"},
			{"a PROXY protocol header that is missing or not expected", "nothing: look at proxy_protocol on both sides"},
		},
	})
	ResetBeforeResponse = row(Row{
		Name: "reset_before_response", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary: "{upstream} reset the connection without an answer.",
		Advice:  "Look at the application's log for a crash or a killed worker at this time.",
		Rivals: []Rival{
			{"keepalive_race", "the connection was new, or died later than one round trip after the request"},
			{"a firewall that resets connections", "nothing from here: capture on the upstream's machine"},
		},
	})
	ConnectionLost = row(Row{
		Name: "connection_lost", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideNetwork,
		Summary: "The connection to {upstream} was lost on the way.",
		Advice:  "Look for a NAT, balancer or firewall that forgets idle connections; set keepalive in the transport shorter than its time.",
		Rivals:  []Rival{{"read_timeout", "the system gave the connection up, not a limit of Caddy's"}},
	})
	ResponseTimeout = row(Row{
		Name: "response_timeout", Category: failure.CategoryTimeout, ProxyError: "http_response_timeout",
		Phase: failure.PhaseWait, Side: failure.SideUpstream, Status: 504,
		Summary: "{upstream} did not begin to answer within {limit}.",
		Advice:  "Find out what the application waits for; if it may take that long, raise response_header_timeout in the transport.",
		Rivals:  []Rival{{"read_timeout", "the transport named the limit"}},
	})
	ReadTimeout = row(Row{
		Name: "read_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_read_timeout",
		Phase: failure.PhaseWait, Side: failure.SideUpstream, Status: 504,
		Summary: "{upstream} sent nothing for {limit}.",
		Advice:  "Find out what the application waits for; if it may take that long, raise read_timeout in the transport.",
		Rivals:  []Rival{{"response_timeout", "reading from the connection timed out"}},
	})
	StreamReset = row(Row{
		Name: "stream_reset", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary: "{upstream} ended the request's stream with an error.",
		Advice:  "Look at the application's log; the error's code is in the evidence.",
		Rivals:  []Rival{{"http_framing_error", "the reset came from the upstream"}},
	})
	Goaway = row(Row{
		Name: "goaway", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary: "{upstream} closed the HTTP/2 connection before it answered.",
		Advice:  "Usually a restart of the upstream; let it drain its connections before it stops.",
		Rivals:  []Rival{{"stream_reset", "the whole connection was ended, not one stream"}},
	})
)

// The answer's headers.
var (
	ResponseCutInHeaders = row(Row{
		Name: "response_cut_in_headers", Category: failure.CategoryInterrupted, ProxyError: "http_response_incomplete",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "{upstream} closed the connection in the middle of its answer's headers.",
		Advice:  "Look at the application's log for a crash at this time.",
		Rivals:  []Rival{{"closed_before_response", "a byte of an answer had come"}},
	})
	NotHTTP = row(Row{
		Name: "not_http", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "{upstream} speaks another protocol than HTTP.",
		Advice:  "Correct the port in reverse_proxy: a mail, SSH or database server answers there.",
		Rivals:  []Rival{{"response_malformed", "it greeted before it was asked, or its first bytes are those of another protocol"}},
	})
	TLSExpected = row(Row{
		Name: "tls_expected", Category: failure.CategoryUnreachable, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideProxy,
		Summary: "{upstream} expects TLS, and was sent plain HTTP.",
		Advice:  "Use https:// in reverse_proxy, or tls in its transport.",
		Rivals:  []Rival{{"not_http", "it said itself that it expects TLS"}},
	})
	HTTPVersionMismatch = row(Row{
		Name: "http_version_mismatch", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideProxy,
		Summary: "Caddy and {upstream} speak different versions of HTTP.",
		Advice:  "Set versions in the transport to what the upstream speaks: h2c for HTTP/2 without TLS.",
		Rivals:  []Rival{{"not_http", "the first bytes are those of the other version"}},
	})
	ResponseMalformed = row(Row{
		Name: "response_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "The answer of {upstream} is not valid HTTP.",
		Advice:  "Look at what the application writes as status line and header fields; the error quotes the place.",
		Rivals: []Rival{
			{"response_cut_in_headers", "nothing where a line is incomplete: a cut within a line looks the same"},
			{"not_http", "the first bytes are not known to be those of another protocol"},
		},
	})
	ResponseHeadersTooLarge = row(Row{
		Name: "response_headers_too_large", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_header_section_size",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "The headers of the answer of {upstream} are too large.",
		Advice:  "Find the field that grows, mostly cookies; or raise max_response_header in the transport.",
	})
	HTTPFramingError = row(Row{
		Name: "http_framing_error", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "{upstream} broke the rules of HTTP/2 or HTTP/3.",
		Advice:  "Report it to whoever makes the upstream's server; versions 1.1 in the transport avoids it.",
		Rivals:  []Rival{{"stream_reset", "Caddy's side ended the stream, not the upstream"}},
	})
	FastCGIMalformed = row(Row{
		Name: "fastcgi_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "The answer of {upstream} is not valid FastCGI.",
		Advice:  "Check that a FastCGI server listens at this address; for an HTTP server use reverse_proxy without transport fastcgi.",
	})
	UpgradeFailed = row(Row{
		Name: "upgrade_failed", Category: failure.CategoryInvalidResponse, ProxyError: "http_upgrade_failed",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream, Status: 502,
		Summary: "{upstream} switched to another protocol than the client asked for.",
		Advice:  "Check the Upgrade field of the upstream's 101 answer, and what header_up does to Upgrade and Connection.",
	})
	TransferCodingInvalid = row(Row{
		Name: "transfer_coding_invalid", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_transfer_coding",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "The answer of {upstream} is not framed as its Transfer-Encoding says.",
		Advice:  "Let the application's server set Transfer-Encoding and Content-Length, not the application.",
		Rivals:  []Rival{{"response_truncated", "what came is not a chunk, rather than missing"}},
	})
)

// The answer's body, and what belongs to no phase.
var (
	ResponseTruncated = row(Row{
		Name: "response_truncated", Category: failure.CategoryInterrupted, ProxyError: "http_response_incomplete",
		Phase: failure.PhaseBody, Side: failure.SideUpstream,
		Summary: "{upstream} closed the connection before its answer was complete.",
		Advice:  "Look at the application's log for a crash or a timeout while it was sending.",
		Rivals:  []Rival{{"client_closed_request", "the client was still there"}},
	})
	ResponseStalled = row(Row{
		Name: "response_stalled", Category: failure.CategoryTimeout, ProxyError: "connection_read_timeout",
		Phase: failure.PhaseBody, Side: failure.SideUpstream,
		Summary: "{upstream} stopped sending in the middle of its answer, for {limit}.",
		Advice:  "Find out what the application waits for; if it may pause that long, raise read_timeout in the transport.",
	})
	ContentCodingInvalid = row(Row{
		Name: "content_coding_invalid", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_content_coding",
		Phase: failure.PhaseBody, Side: failure.SideUpstream,
		Summary: "The answer of {upstream} is not compressed as it says.",
		Advice:  "Check the upstream's compression: a Content-Encoding that is set twice, or for a body that is not compressed.",
		Rivals:  []Rival{{"response_truncated", "the decoder refused what came, rather than missing more"}},
	})
	ClientClosedRequest = row(Row{
		Name: "client_closed_request", Category: failure.CategoryRequest,
		Side:    failure.SideClient,
		Summary: "The client left while it waited for {upstream}.",
		Advice:  "If clients often give up here, find out why the upstream is slow; a limit in the transport lets Caddy answer first.",
		Rivals:  []Rival{{"client_upload_failed", "reading from the client had no error"}},
	})
	UpstreamStatus = row(Row{
		Name: "upstream_status", Category: failure.CategoryUnavailable,
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary: "{upstream} itself answered with an error status.",
		Advice:  "Look at the upstream's own log: the answer is its own, or that of something behind it.",
	})
	Unknown = row(Row{
		Name: "unknown", Category: failure.CategoryUnavailable,
		Summary: "A request to {upstream} failed for a reason that has no name yet.",
		Advice:  "Read the error and the evidence; please report them, so that the cause gets a name.",
	})
)
