package main

import (
	"slices"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// exception says why causes can't be met, or aren't proven, in columns.
type exception struct {
	verdict string
	reason  string
	columns []string // all, if empty
	causes  []string // all, if empty
	phases  []failure.Phase
}

const (
	impossible = "impossible"
	skipped    = "skipped"
)

var (
	tcpOnly = []string{
		"proxy_loop", "dns_name_not_found", "dns_server_failed", "dns_timeout", "connect_timeout", "host_unreachable", "network_unreachable",
		"connect_prohibited", "address_family_unavailable", "local_address_unavailable", "ports_exhausted", "forward_proxy_failed", "connection_lost",
		"forward_proxy_answered",
	}
	socketOnly = []string{"socket_not_found", "socket_permission_denied"}
	framesOnly = []string{"stream_reset", "goaway", "http_framing_error"}
)

// exceptions are asked in this order.
var exceptions = []exception{
	{impossible, "HTTP/3's socket has no address of its own on our side, by which the connection that comes back would be known", []string{http3}, []string{"proxy_loop"}, nil},
	{impossible, "the header hides the end of the connection that comes back", []string{proxyHeader}, []string{"proxy_loop"}, nil},
	{impossible, "what comes back is the forward proxy's own connection", []string{forwardProxy}, []string{"proxy_loop"}, nil},
	{impossible, "Caddy serves no FastCGI, so that nothing comes back", []string{fastCGI}, []string{"proxy_loop"}, nil},

	{impossible, "only a unix socket has this error", []string{http3, forwardProxy}, socketOnly, nil},
	{impossible, "UDP has no queue of connections", []string{http3}, []string{"socket_backlog_full"}, nil},
	{impossible, "a dynamic source gives hosts and ports, no sockets", []string{dynamic}, socketOnly, nil},

	{impossible, "a unix socket has no name, address, port or network", []string{unixSocket}, tcpOnly, nil},
	{impossible, "a dynamic source gives hosts and ports, no sockets", []string{unixSocket}, []string{"upstreams_missing", "upstream_lookup_failed"}, nil},

	{impossible, "no TLS is spoken", []string{http1, h2c, fastCGI}, nil, []failure.Phase{failure.PhaseTLS}},
	{impossible, "TLS is spoken", []string{overTLS, h2, http3}, []string{"tls_expected"}, nil},
	{impossible, "FastCGI alone has it", []string{http1, overTLS, h2, h2c, http3, forwardProxy, proxyHeader}, []string{"fastcgi_malformed"}, nil},
	{impossible, "HTTP/1.1 has no streams and no frames", []string{http1, overTLS}, framesOnly, nil},
	{impossible, "FastCGI has no streams of HTTP and no frames of it", []string{fastCGI}, framesOnly, nil},

	{impossible, "HTTP/2 and HTTP/3 have no transfer codings (RFC 9113 section 8.2.2)", []string{h2, h2c, http3}, []string{"transfer_coding_invalid"}, nil},
	{impossible, "HTTP/2 and HTTP/3 have no status 101 (RFC 9113 section 8.6)", []string{h2, h2c, http3}, []string{"upgrade_failed"}, nil},
	{impossible, "HTTP/2 reads a header block whole: a cut shows as closed_before_response", []string{h2, h2c}, []string{"response_cut_in_headers"}, nil},
	{impossible, "the handshake agreed on the protocol: other bytes show as http_framing_error", []string{h2, http3}, []string{"not_http"}, nil},

	{impossible, "QUIC says that the connection was closed: it shows as closed_before_response", []string{http3}, []string{"keepalive_race"}, nil},
	{impossible, "UDP passes no refusal on: it shows as connect_timeout", []string{http3}, []string{"connection_refused"}, nil},
	{impossible, "UDP has no reset: QUIC's shows as connection_lost, HTTP/3's as stream_reset", []string{http3}, []string{"reset_before_response"}, nil},
	{impossible, "QUIC has TLS 1.3 in its own handshake, and stays silent to all else: it shows as connect_timeout", []string{http3}, []string{"tls_not_spoken", "tls_closed", "tls_timeout", "tls_version_unsupported"}, nil},
	{impossible, "Caddy's transport for HTTP/3 has no such limit", []string{http3}, []string{"request_write_timeout", "response_timeout", "read_timeout", "response_stalled"}, nil},
	{impossible, "HTTP/3's transport tells what ended its reading: it shows as stream_reset, closed_before_response or connection_lost", []string{http3}, []string{"request_write_failed"}, nil},
	{impossible, "Caddy's transport for HTTP/3 uses neither forward proxies nor local_address, and one local port for all", []string{http3}, []string{"forward_proxy_failed", "forward_proxy_answered", "local_address_unavailable", "ports_exhausted"}, nil},

	{impossible, "transport fastcgi has no such directive", []string{fastCGI}, []string{"forward_proxy_failed", "forward_proxy_answered", "local_address_unavailable", "response_timeout", "response_headers_too_large"}, nil},
	{impossible, "transport fastcgi undoes no coding", []string{fastCGI}, []string{"content_coding_invalid"}, nil},
	{impossible, "Caddy takes a header that ends with FastCGI's connection for whole", []string{fastCGI}, []string{"response_cut_in_headers"}, nil},
	{impossible, "no HTTP is spoken: it shows as fastcgi_malformed", []string{fastCGI}, []string{"not_http", "tls_expected", "http_version_mismatch", "response_malformed"}, nil},
	{impossible, "FastCGI makes a connection for each request", []string{fastCGI}, []string{"keepalive_race"}, nil},
	{impossible, "transport fastcgi itself drops what is beyond a body's length, and says so in Caddy's log", []string{fastCGI}, []string{"response_length_exceeded"}, nil},
	{impossible, "FastCGI has no upgrades", []string{fastCGI}, []string{"upgrade_failed"}, nil},
	{impossible, "FastCGI's reader hides a reset: it shows as closed_before_response", []string{fastCGI}, []string{"reset_before_response"}, nil},
	{impossible, "FastCGI's records carry the length: a coding is not undone", []string{fastCGI}, []string{"transfer_coding_invalid"}, nil},

	{impossible, "HTTP/1.1's transport sends nothing of a request whose body can't be read: the failure of the attempt before is told", []string{http1, overTLS, forwardProxy, proxyHeader}, []string{"retried_without_body"}, nil},
	{impossible, "over HTTP/2 and HTTP/3 only the upload is cut: the answer goes on", []string{h2, h2c, http3}, []string{"upload_cut_by_early_response"}, nil},
	{impossible, "over HTTP/3 the transport closes the body: the failure of the attempt before is told", []string{http3}, []string{"retried_without_body"}, nil},
	{impossible, "transport fastcgi sends all of a body before it reads", []string{fastCGI}, []string{"upload_cut_by_early_response"}, nil},

	{impossible, "the forward proxy looks up and connects: it shows as forward_proxy_failed, or as the proxy's own answer", []string{forwardProxy}, nil, []failure.Phase{failure.PhaseDNS, failure.PhaseConnect}},

	{impossible, "no forward proxy speaks HTTP/2 in the clear, or expects the PROXY protocol's header", []string{h2c, proxyHeader}, []string{"forward_proxy_answered"}, nil},
	{impossible, "over TLS a forward proxy is asked for a tunnel to the upstream, in which nobody else answers", []string{overTLS, h2}, []string{"forward_proxy_answered"}, nil},

	{impossible, "Caddy has read_timeout and write_timeout for TCP alone", []string{unixSocket}, []string{"request_write_timeout", "read_timeout", "response_stalled"}, nil},
	{impossible, "forward_auth sends a GET, which Go's transport sends again by itself", []string{forwardAuth}, []string{"keepalive_race"}, nil},

	{impossible, "with the PROXY protocol a connection is used again for the same client's connection alone", []string{proxyHeader}, []string{"keepalive_race"}, nil},
	{impossible, "the dynamic source looks the name up: it shows as upstream_lookup_failed", []string{dynamic}, []string{"dns_name_not_found", "dns_server_failed", "dns_timeout"}, nil},
	{impossible, "a dynamic source gives addresses that are whole", []string{dynamic}, []string{"dial_address_invalid"}, nil},
	{impossible, "dynamic upstreams are not checked actively", []string{activeChecks}, []string{"upstreams_missing", "upstream_lookup_failed"}, nil},

	{impossible, "forward_auth sends a GET without a body", []string{forwardAuth}, []string{"request_write_timeout", "request_write_failed", "client_upload_failed", "retried_without_body"}, nil},
	{impossible, "forward_auth does not read the body of an answer that lets the request pass", []string{forwardAuth}, nil, []failure.Phase{failure.PhaseBody}},
	{impossible, "forward_auth does not upgrade", []string{forwardAuth}, []string{"upgrade_failed"}, nil},
}

// unproven says why a cause has no proof in a column.
func unproven(row *cause.Row, column string) (verdict, reason string) {
	for _, e := range exceptions {
		all := len(e.causes) == 0 && len(e.phases) == 0
		if (len(e.columns) == 0 || slices.Contains(e.columns, column)) && (all || slices.Contains(e.causes, row.Name) || slices.Contains(e.phases, row.Phase)) {
			return e.verdict, e.reason
		}
	}
	return skipped, "no fault of the lab makes it yet"
}
