package faultlab

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// check says what is wrong with what a proxy heard; "" for nothing.
type check func(h heard, a *Answer) string

// proofs says for each fault what Go's own client makes of it. "" stands for a
// fault that shows in Caddy alone.
var proofs = map[string]check{
	"unhealthy_after_failures":     errno(syscall.ECONNREFUSED, 10061),
	"unhealthy_by_check":           nil, // its health is Caddy's to find out
	"all_slots_taken":              answered(200),
	"no_upstream_configured":       nil,
	"dynamic_source_empty":         nil,
	"dynamic_lookup_not_found":     dns(func(e *net.DNSError) bool { return e.IsNotFound }),
	"dynamic_lookup_server_failed": dns(func(e *net.DNSError) bool { return e.IsTemporary && !e.IsNotFound }),
	"placeholder_empty":            nil,
	"placeholder_bad_port":         nil,
	"placeholder_port_range":       nil,
	"placeholder_socket_empty":     nil,
	"rescued_after_refused":        errno(syscall.ECONNREFUSED, 10061),
	"rescued_after_close":          is(io.EOF),
	"refused_twice":                errno(syscall.ECONNREFUSED, 10061),
	"retries_used_up":              answered(503),

	"dns_nxdomain":       dns(func(e *net.DNSError) bool { return e.IsNotFound }),
	"dns_no_address":     dns(func(e *net.DNSError) bool { return e.IsNotFound }),
	"dns_label_too_long": dns(func(e *net.DNSError) bool { return e.IsNotFound }),
	"dns_lame":           dns(func(e *net.DNSError) bool { return !e.IsNotFound && !e.IsTimeout }),
	"dns_servfail":       dns(func(e *net.DNSError) bool { return e.IsTemporary && !e.IsTimeout }),
	"dns_refused":        dns(func(e *net.DNSError) bool { return !e.IsNotFound && !e.IsTimeout }),
	"dns_server_closed":  dns(func(e *net.DNSError) bool { return strings.Contains(e.Err, "refused") || runtime.GOOS == "windows" }),
	"dns_silent":         dns(func(e *net.DNSError) bool { return e.IsTimeout }),

	"dns_target_unknown_here": nil, // a SRV record is Caddy's to look up

	"port_closed":                  errno(syscall.ECONNREFUSED, 10061),
	"socket_stale":                 errno(syscall.ECONNREFUSED, 10061),
	"socket_is_a_file":             errno(syscall.ECONNREFUSED, 10061),
	"socket_missing":               errno(syscall.ENOENT, 0),
	"socket_below_a_file":          errno(syscall.ENOTDIR, 0),
	"socket_forbidden":             errno(syscall.EACCES, 0),
	"socket_backlog_full":          errno(syscall.EAGAIN, 0),
	"backlog_full":                 timeout("dial"),
	"connect_unanswered":           timeout("dial"),
	"client_leaves_while_dialling": is(context.Canceled),
	"descriptors_exhausted":        errno(syscall.EMFILE, 0),
	"local_address_foreign":        errno(syscall.EADDRNOTAVAIL, 10049),
	"forward_proxy_refused":        operation("proxyconnect"),

	"https_to_http_port":               as[tls.RecordHeaderError](),
	"https_to_ssh":                     as[tls.RecordHeaderError](),
	"tls_closed":                       is(io.EOF),
	"tls_reset":                        errno(syscall.ECONNRESET, 10054),
	"tls_silent":                       text("TLS handshake timeout"),
	"client_leaves_in_handshake":       is(context.Canceled),
	"certificate_authority_unknown":    as[x509.UnknownAuthorityError](),
	"certificate_self_signed":          as[x509.UnknownAuthorityError](),
	"certificate_intermediate_missing": as[x509.UnknownAuthorityError](),
	"certificate_expired":              invalid(x509.Expired, "is after"),
	"certificate_not_yet_valid":        invalid(x509.Expired, "is before"),
	"certificate_wrong_usage":          invalid(x509.IncompatibleUsage, ""),
	"certificate_other_name":           as[x509.HostnameError](),
	"certificate_without_address":      as[x509.HostnameError](),
	"certificate_common_name_only":     as[x509.HostnameError](),
	"client_certificate_missing":       alerted(116),
	"client_certificate_missing_tls12": alerted(40),
	"client_certificate_unknown":       alerted(48),
	"client_certificate_unknown_tls12": alerted(48),
	"tls_versions_too_old":             alerted(70),
	"tls_version_chosen_too_old":       text("server selected unsupported protocol version 302"),
	"tls_handshake_failure":            alerted(40),
	"tls_internal_error":               alerted(80),
	"tls_unrecognized_name":            alerted(112),
	"tls_protocol_not_common":          alerted(120),

	"upstream_never_reads": timeout("write"),
	// Which of the two is up to who sees the reset first: the one who writes, or the
	// one who waits for an answer and closes the connection.
	"reset_while_sending":      cutWhileSending,
	"upload_broken_off":        anyOf(is(io.ErrUnexpectedEOF), is(context.Canceled)),
	"upload_malformed":         text("invalid byte in chunk length"),
	"upload_stalled":           anyOf(timeout("read"), is(context.Canceled)),
	"upload_slower_than_limit": nil,           // Caddy's own limit ends it
	"header_name_invalid":      answered(200), // Caddy's header_up makes the fault
	"server_name_missing":      nil,           // Caddy's own handshake does

	"keepalive_race":              is(io.EOF),
	"keepalive_race_reset":        errno(syscall.ECONNRESET, 10054),
	"keepalive_race_get":          answered(200),
	"closed_late_on_reused":       is(io.EOF),
	"closed_unanswered":           is(io.EOF),
	"closed_late":                 is(io.EOF),
	"closed_at_accept":            anyOf(is(io.EOF), text("server closed idle connection"), errno(syscall.ECONNRESET, 10054), errno(syscall.EPIPE, 10053)),
	"closed_unanswered_unix":      is(io.EOF),
	"closed_unanswered_tls":       is(io.EOF),
	"cut_unanswered_tls":          is(io.EOF), // crypto/tls lets it pass between two records
	"reset_unanswered":            errno(syscall.ECONNRESET, 10054),
	"reset_unanswered_unix":       errno(syscall.ECONNRESET, 0),
	"reset_unanswered_tls":        errno(syscall.ECONNRESET, 10054),
	"response_header_timeout":     text("timeout awaiting response headers"),
	"read_timeout":                timeout("read"),
	"client_leaves_while_waiting": is(context.Canceled),

	"cut_after_first_byte":     text(`malformed HTTP response "H"`),
	"cut_in_status_line":       text(`malformed HTTP status code "20"`),
	"cut_after_status_line":    is(io.ErrUnexpectedEOF),
	"cut_between_headers":      is(io.ErrUnexpectedEOF),
	"cut_in_header":            as[textproto.ProtocolError](),
	"cut_in_header_tls":        as[textproto.ProtocolError](),
	"cut_in_status_line_tls":   text(`malformed HTTP status code "20"`),
	"header_without_colon_tls": as[textproto.ProtocolError](),
	"cut_after_interim":        is(io.ErrUnexpectedEOF),
	"cut_after_interim_reused": is(io.ErrUnexpectedEOF),
	"reset_between_headers":    is(io.ErrUnexpectedEOF),
	"reset_in_header":          as[textproto.ProtocolError](),
	"stalled_in_headers":       text("timeout awaiting response headers"),
	"status_malformed":         text("malformed HTTP status code"),
	"status_000":               answered(0),
	"status_042":               answered(42),
	"status_042_tls":           answered(42),
	"status_1000":              text("malformed HTTP status code"),
	"http_version_malformed":   text("malformed HTTP version"),
	"header_without_colon":     as[textproto.ProtocolError](),
	"header_with_nul":          as[textproto.ProtocolError](),
	"header_without_name":      as[textproto.ProtocolError](),
	"length_not_a_number":      text("bad Content-Length"),
	"length_negative":          text("bad Content-Length"),
	"lengths_differ":           text("multiple Content-Length headers"),
	"transfer_coding_unknown":  text("transfer encoding"),
	"headers_too_large":        text("response headers exceeded"),
	"speaks_ssh":               text("malformed HTTP response"),
	"speaks_smtp":              text("malformed HTTP"),
	"speaks_ssh_at_once":       anyOf(text("malformed HTTP response"), text("readLoopPeekFailLocked")),
	"speaks_smtp_at_once":      anyOf(text("malformed HTTP"), text("readLoopPeekFailLocked")),
	"speaks_redis":             text("malformed HTTP"),
	"speaks_postgres":          text("malformed HTTP"),
	"speaks_http2":             text("malformed HTTP response"),
	"http_to_tls_alert":        text(`malformed HTTP response "\x15\x03`),
	"http_to_tls_go":           answeredWith(400, "Client sent an HTTP request to an HTTPS server."),
	"http_to_tls_go_browser":   cutAfter("Client sent an HTTP request to an HTTPS server."),
	"http_to_tls_apache":       answeredWith(400, "speaking plain HTTP to an SSL-enabled server port"),
	"http_to_tls_nginx":        answeredWith(400, nginxPlainToTLS),
	"upgrade_to_other":         answered(101),
	"upgrade_unasked":          answered(101),
	"answers_499":              answered(499),
	"answers_502":              answered(502),
	"answers_503":              answered(503),
	"answers_503_unix":         answered(503),
	"answers_503_tls":          answered(503),
	"answers_504":              answered(504),
	"answers_520":              answered(520),

	"body_cut":                broken(is(io.ErrUnexpectedEOF)),
	"body_cut_unix":           broken(is(io.ErrUnexpectedEOF)),
	"body_cut_tls":            broken(is(io.ErrUnexpectedEOF)),
	"body_reset":              broken(errno(syscall.ECONNRESET, 10054)),
	"body_without_last_chunk": broken(is(io.ErrUnexpectedEOF)),
	"body_cut_in_chunk":       broken(is(io.ErrUnexpectedEOF)),
	"chunk_size_malformed":    broken(text("invalid byte in chunk length")),
	"chunk_longer_than_said":  broken(text("malformed chunked encoding")),
	"body_stalled":            broken(timeout("read")),
	"gzip_not_gzip":           broken(is(gzip.ErrHeader)),
	"gzip_corrupt":            broken(is(gzip.ErrChecksum)),
	"gzip_cut":                broken(is(io.ErrUnexpectedEOF)),
	"client_leaves_in_body":   broken(is(context.Canceled)),

	"after_too_long_an_answer":       text(`malformed HTTP version "tailHTTP/1.1"`),
	"after_too_long_an_answer_tls":   text(`malformed HTTP version "tailHTTP/1.1"`),
	"after_too_long_an_answer_alone": text(`malformed HTTP response "\"}"`),
	"length_too_short":               answered(200),
	"bytes_after_the_last_chunk":     answered(200),
	"body_after_204":                 answered(204),
	"line_after_body":                answered(200),
	"length_too_long":                broken(is(io.ErrUnexpectedEOF)),
	"published_port":                 anyOf(is(io.EOF), text("server closed idle connection"), errno(syscall.ECONNRESET, 10054), errno(syscall.EPIPE, 10053)),
	"http_to_fastcgi":                errno(syscall.ECONNRESET, 10054),
	"ended_by_its_own_limit":         is(io.EOF),

	"h2_stream_reset":                reset(http2.ErrCodeInternal),
	"h2_stream_reset_cancel":         reset(http2.ErrCodeCancel),
	"h2c_stream_reset":               reset(http2.ErrCodeInternal),
	"h2_stream_refused_post":         text("cannot retry err [stream error: stream ID 1; REFUSED_STREAM; received from peer]"),
	"h2c_stream_refused_post":        text("cannot retry err [stream error: stream ID 1; REFUSED_STREAM; received from peer]"),
	"h2_stream_refused_once":         answered(200),
	"h2_stream_reset_on_reused":      reset(http2.ErrCodeInternal),
	"h2_upload_stream_reset":         reset(http2.ErrCodeInternal),
	"h2c_upload_stream_reset":        reset(http2.ErrCodeInternal),
	"h2_upload_goaway":               as[http2.GoAwayError](),
	"h2_upload_closed":               is(io.ErrUnexpectedEOF),
	"h2c_upload_closed":              is(io.ErrUnexpectedEOF),
	"h2_reset_while_sending":         cutWhileSending,
	"h2c_reset_while_sending":        cutWhileSending,
	"h2_upstream_never_reads":        timeout("write"),
	"h2c_upstream_never_reads":       timeout("write"),
	"h2_header_list_limited":         text("request header list larger than peer's advertised limit"),
	"h2_host_is_a_socket":            nil, // Caddy takes the socket for the host
	"h2_reset_unanswered":            errno(syscall.ECONNRESET, 10054),
	"h2c_reset_unanswered":           errno(syscall.ECONNRESET, 10054),
	"h2_keepalive_race":              is(io.ErrUnexpectedEOF),
	"h2c_keepalive_race":             is(io.ErrUnexpectedEOF),
	"h2_cut_in_headers":              is(io.ErrUnexpectedEOF),
	"h2c_cut_in_headers":             is(io.ErrUnexpectedEOF),
	"h2_read_timeout":                timeout("read"),
	"h2c_to_ssh":                     anyOf(is(http2.ErrFrameTooLarge), hidden),
	"h2c_to_tls":                     anyOf(is(io.ErrUnexpectedEOF), hidden),
	"h2c_to_tls_nginx":               anyOf(is(http2.ErrFrameTooLarge), hidden),
	"h2c_headers_too_large":          text("PROTOCOL_ERROR; http2: response header list larger than advertised limit"),
	"h2c_headers_far_too_large":      is(http2.ConnectionError(http2.ErrCodeProtocol)),
	"h2_body_longer_than_said":       broken(text("more than declared Content-Length")),
	"h2c_body_longer_than_said":      broken(text("more than declared Content-Length")),
	"h2_body_stalled":                broken(timeout("read")),
	"h2c_body_stalled":               broken(timeout("read")),
	"h2_goaway_unprocessed":          text("cannot retry err [http2: Transport received Server's graceful shutdown GOAWAY]"),
	"h2_goaway_unprocessed_error":    text("http2: Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM"),
	"h2_goaway_then_closed":          as[http2.GoAwayError](),
	"h2c_goaway_then_closed":         as[http2.GoAwayError](),
	"h2_closed_unanswered":           is(io.ErrUnexpectedEOF),
	"h2c_closed_unanswered":          is(io.ErrUnexpectedEOF),
	"h2_response_header_timeout":     text("http2: timeout awaiting response headers"),
	"h2c_response_header_timeout":    text("http2: timeout awaiting response headers"),
	"h2c_read_timeout":               timeout("read"),
	"h2_client_leaves_while_waiting": is(context.Canceled),
	"h2_hpack_broken":                is(http2.ConnectionError(http2.ErrCodeCompression)),
	"h2c_hpack_broken":               is(http2.ConnectionError(http2.ErrCodeCompression)),
	"h2_status_042":                  answered(42),
	"h2_status_1000":                 answered(1000),
	"h2c_status_1000":                answered(1000),
	"h2_headers_without_status":      text("PROTOCOL_ERROR; malformed response from server: missing status pseudo header"),
	"h2_header_name_in_capitals":     text("PROTOCOL_ERROR; invalid header field name"),
	"h2_header_with_newline":         text("PROTOCOL_ERROR; invalid header field value"),
	"h2_data_before_headers":         text("PROTOCOL_ERROR"),
	"h2_frame_too_large":             is(http2.ErrFrameTooLarge),
	"h2_window_overflows":            text("FLOW_CONTROL_ERROR"),
	"h2c_settings_malformed":         anyOf(is(http2.ConnectionError(http2.ErrCodeFrameSize)), hidden),
	"h2c_to_http1":                   anyOf(text("http2: frame too large, note that the frame header looked like an HTTP/1.1 header"), hidden),
	"h2c_to_http1_cut":               anyOf(text("http2: frame too large, note that the frame header looked like an HTTP/1.1 header"), hidden),
	"http1_to_h2c":                   anyOf(text(`malformed HTTP response "\x00\x00\x00\x04`), text("readLoopPeekFailLocked")), // as Go's two loops race
	"http1_to_h2_tls":                anyOf(text(`malformed HTTP response "\x00\x00\x00\x04`), text("readLoopPeekFailLocked")),
	"http1_to_h2c_of_go":             errno(syscall.ECONNRESET, 10054),
	"h2_headers_too_large":           text("PROTOCOL_ERROR; http2: response header list larger than advertised limit"),
	"h2_headers_far_too_large":       is(http2.ConnectionError(http2.ErrCodeProtocol)),
	"h2_body_stream_reset":           broken(reset(http2.ErrCodeInternal)),
	"h2c_body_stream_reset":          broken(reset(http2.ErrCodeInternal)),
	"h2_body_goaway":                 broken(as[http2.GoAwayError]()),
	"h2_body_closed":                 broken(is(io.ErrUnexpectedEOF)),
	"h2c_body_closed":                broken(is(io.ErrUnexpectedEOF)),
	"h2c_body_reset":                 broken(anyOf(is(io.ErrUnexpectedEOF), errno(syscall.ECONNRESET, 10054))),
	"h2_body_shorter_than_said":      broken(is(io.ErrUnexpectedEOF)),
	"h2_body_framing":                broken(text("FLOW_CONTROL_ERROR")),

	"upload_cut_by_answer":              nil, // Go's server cuts it, not its client
	"h2_retried_without_body":           text("cannot retry err [stream error: stream ID 1; REFUSED_STREAM"),
	"h2c_retried_without_body":          text("cannot retry err [stream error: stream ID 1; REFUSED_STREAM"),
	"retried_body_used_up":              is(io.EOF),
	"buffered_body_retried":             is(io.EOF),
	"answer_thrown_away":                answered(502),
	"closed_late_on_reused_get":         answered(200),
	"reset_late_on_reused_get":          answered(200),
	"closed_late_on_reused_get_tls":     answered(200),
	"closed_after_100":                  is(io.ErrUnexpectedEOF),
	"closed_after_100_tls":              is(io.ErrUnexpectedEOF),
	"reset_after_103":                   errno(syscall.ECONNRESET, 10054),
	"reset_while_sending_after_100":     cutWhileSending,
	"response_header_timeout_after_100": text("timeout awaiting response headers"),
	"cut_in_headers_after_100":          is(io.ErrUnexpectedEOF),

	"forward_proxy_forbids":        text("Forbidden"),
	"forward_proxy_wants_password": text("Proxy Authentication Required"),
	"forward_proxy_wants_ntlm":     text("Proxy Authentication Required"),
	"forward_proxy_cannot_reach":   text("Bad Gateway"),
	"forward_proxy_closes":         is(io.ErrUnexpectedEOF),
	"forward_proxy_resets":         errno(syscall.ECONNRESET, 10054),
	"forward_proxy_malformed":      text("malformed HTTP"),
	"forward_proxy_tunnel_closed":  anyOf(is(io.EOF), errno(syscall.ECONNRESET, 10054)), // by whether the handshake had come
	"forward_proxy_refused_tls":    operation("proxyconnect"),
	"forward_proxy_silent":         is(context.Canceled),
	"socks_unreachable":            operation("socks connect"),
	"socks_closes":                 operation("socks connect"),
	"socks_refused":                operation("proxyconnect"),
	"forward_proxy_forbids_plain":  answered(403),
	"forward_proxy_answers_plain":  answered(503),
	"forward_proxy_silent_plain":   is(context.Canceled),
	"forward_proxy_closes_plain":   is(io.EOF),

	"forward_proxy_told_of_upstream": answered(404),

	// Caddy alone sends the PROXY header.
	"proxy_protocol_unexpected": answered(200),
	"proxy_protocol_closes":     nil,
	"proxy_protocol_missing":    is(io.EOF),

	"http_to_tls_tomcat":            answered(400),
	"http_to_tls_jetty":             answered(400),
	"http_to_tls_cheroot":           answered(400),
	"upgrade_to_tls_required":       answered(426),
	"http1_to_kestrel_h2c":          answered(400),
	"http1_to_node_h2":              answered(403),
	"version_not_supported":         answered(505),
	"h2_http11_required":            reset(http2.ErrCodeHTTP11Required),
	"h2c_http11_required":           reset(http2.ErrCodeHTTP11Required),
	"h2_goaway_http11_required":     as[http2.GoAwayError](),
	"h2_goaway_inadequate_security": as[http2.GoAwayError](),
	"misdirected_tls":               answered(421),
	"misdirected":                   answered(421),
	"sni_invalid_jetty":             answered(400),
	"hostname_invalid_iis":          answered(400),
	"tls_name_missing_go":           alerted(80),
	"tls_name_missing":              alerted(112),
	"upgrade_not_passed_on":         answered(426),
	"upgrade_not_asked_for":         answered(426),
	"websocket_unsupported_uvicorn": answered(400),
	"upgrade_without_connection":    answered(101),
	"upgrade_over_h2":               text("http2: invalid Upgrade request header"),
	"connection_set_over_h2":        nil, // Caddy's header_up makes the fault
	"transfer_encoding_set_over_h2": nil,
	"proxy_header_not_expected":     nil, // Caddy alone sends the header
	"proxy_header_to_tls":           nil,
	"application_says_400":          answered(400),
	"grpc_unavailable":              answered(200),
	"grpc_not_found":                answered(200),
	"tls_renegotiation":             text("tls: no renegotiation"),
	"tls_key_of_another":            text("tls: invalid signature by the server certificate"),
	"tls_message_unexpected":        text("tls: "),
	"tls_certificate_unreadable":    text("tls: failed to parse certificate from server"),

	"dynamic_srv_not_found":     nil, // a SRV record is Caddy's to look up
	"dynamic_srv_server_failed": nil,
	"dynamic_multi_not_found":   nil,
}

// shownByCaddy says that Go's own client doesn't speak what a fault needs: such a
// fault shows in Caddy alone.
func shownByCaddy(name string) bool {
	return strings.HasPrefix(name, "h3_") || strings.HasPrefix(name, "fastcgi_")
}

func TestFaultsMisbehaveAsNamed(t *testing.T) {
	for _, fault := range Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			if fault.Skip != "" {
				t.Skip(fault.Skip)
			}
			if strings.HasSuffix(fault.Name, checkedSuffix) {
				t.Skip("Go's own client checks nothing: it would be the same fault again")
			}
			proof, ok := proofs[fault.Name]
			if !ok && !shownByCaddy(fault.Name) {
				t.Fatal("nothing proves this fault")
			}
			if proof == nil {
				startAndClose(t, fault)
				return
			}
			h, a := proxied(t, fault)
			if wrong := proof(h, a); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

func TestFaultsAreDescribed(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)
	phases := []string{"select", "dns", "connect", "tls", "send", "wait", "headers", "body"}
	sides := []string{"client", "proxy", "network", "upstream"}
	outcomes := []string{"failed", "rescued", "truncated", "abandoned", "upstream_answered"}
	seen := make(map[string]bool)
	for _, fault := range Faults() {
		if seen[fault.Name] {
			t.Errorf("%s: the name is taken", fault.Name)
		}
		seen[fault.Name] = true
		if fault.Cause == "" && fault.Phase+fault.Side+fault.Outcome == "" {
			continue // it is no failure
		}
		if !snake.MatchString(fault.Name) || !snake.MatchString(fault.Cause) {
			t.Errorf("%s, cause %s: not snake_case", fault.Name, fault.Cause)
		}
		if !slices.Contains(phases, fault.Phase) || !slices.Contains(sides, fault.Side) && fault.Cause != "unknown" || !slices.Contains(outcomes, fault.Outcome) {
			t.Errorf("%s: unknown word in %q, %q, %q", fault.Name, fault.Phase, fault.Side, fault.Outcome)
		}
	}
	for name := range proofs {
		if !seen[name] {
			t.Errorf("%s is proven, but no fault", name)
		}
	}
}

func TestCheckedFaultsExist(t *testing.T) {
	for _, name := range checked {
		if _, err := Find(name + checkedSuffix); err != nil {
			t.Error(err)
		}
	}
}

func TestFind(t *testing.T) {
	if fault, err := Find("port_closed"); err != nil || fault.Cause != "connection_refused" {
		t.Errorf("got %q, %v", fault.Cause, err)
	}
	if _, err := Find("nothing"); err == nil {
		t.Error("found a fault that isn't there")
	}
}

func TestCaddyfile(t *testing.T) {
	u := newUpstream(block("lb_retries 1"), transport("tls", "tls_timeout 200ms"))
	u.To = "127.0.0.1:1"
	const want = "reverse_proxy 127.0.0.1:1 {\nlb_retries 1\ntransport http {\n\ttls\n\ttls_timeout 200ms\n}\n}\n"
	if got := u.Caddyfile(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A closed port must stay closed as long as its upstream lives.
func TestClosedPortIsTaken(t *testing.T) {
	u, err := refused()()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if l, err := net.Listen("tcp", u.To); err == nil {
		l.Close()
		t.Errorf("%s could be listened on", u.To)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, name := range []string{"closed_unanswered", "tls_silent", "dns_silent", "http_to_tls_go"} {
		fault, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		u, err := fault.Start()
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Transport) == 0 || u.Transport[0] == "tls" {
			c, err := net.Dial("tcp", u.To) // one that still hangs there
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if err := u.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines before, %d after", before, now)
	}
}

func TestGood(t *testing.T) {
	u, err := Good()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	tests := []struct {
		path, body, want string
		status           int
	}{
		{"/", "", "ok\n", 200},
		{"/echo?a=b", "hello", "POST /echo?a=b HTTP/1.1\n", 200},
		{"/echo", "hello", "\nhello", 200},
		{"/stream?n=2", "", "0\n1\n", 200},
		{"/bytes?n=5", "", "\x00\x00\x00\x00\x00", 200},
		{"/status?n=503", "", "", 503},
	}
	for _, test := range tests {
		response, err := http.Post("http://"+u.To+test.path, "text/plain", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status || !strings.Contains(string(body), test.want) {
			t.Errorf("%s: got %d %q %v, want %d with %q", test.path, response.StatusCode, body, err, test.status, test.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func startAndClose(t *testing.T, fault Fault) {
	t.Helper()
	u, err := fault.Start()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}

func is(target error) check {
	return func(h heard, _ *Answer) string {
		if errors.Is(h.err, target) {
			return ""
		}
		return fmt.Sprintf("got %#v (%v), want %v", h.err, h.err, target)
	}
}

func as[T error]() check {
	return func(h heard, _ *Answer) string {
		var target T
		if errors.As(h.err, &target) {
			return ""
		}
		return fmt.Sprintf("got %#v (%v), want a %T", h.err, h.err, target)
	}
}

// errno wants a system's error, by its number on Unix and on Windows.
func errno(unix, windows syscall.Errno) check {
	if runtime.GOOS == "windows" {
		return is(windows)
	}
	return is(unix)
}

func text(part string) check {
	return func(h heard, _ *Answer) string {
		if h.err != nil && strings.Contains(h.err.Error(), part) {
			return ""
		}
		return fmt.Sprintf("got %v, want %q in it", h.err, part)
	}
}

func timeout(op string) check {
	return func(h heard, _ *Answer) string {
		for err := h.err; err != nil; err = errors.Unwrap(err) {
			if e, ok := err.(*net.OpError); ok && e.Op == op && e.Timeout() {
				return ""
			}
		}
		return fmt.Sprintf("got %v, want a timeout of %s", h.err, op)
	}
}

func operation(op string) check {
	return func(h heard, _ *Answer) string {
		var e *net.OpError
		if errors.As(h.err, &e) && e.Op == op {
			return ""
		}
		return fmt.Sprintf("got %v, want it of %s", h.err, op)
	}
}

func dns(fits func(*net.DNSError) bool) check {
	return func(h heard, _ *Answer) string {
		var e *net.DNSError
		if errors.As(h.err, &e) && fits(e) {
			return ""
		}
		return fmt.Sprintf("got %#v (%v), want another DNS error", h.err, h.err)
	}
}

// reset wants a stream that the other side has reset.
func reset(code http2.ErrCode) check {
	return func(h heard, _ *Answer) string {
		var e http2.StreamError
		if errors.As(h.err, &e) && e.Code == code && e.Cause != nil && e.Cause.Error() == "received from peer" {
			return ""
		}
		return fmt.Sprintf("got %#v (%v), want a stream that was reset with %v", h.err, h.err, code)
	}
}

func invalid(reason x509.InvalidReason, part string) check {
	return func(h heard, _ *Answer) string {
		var e x509.CertificateInvalidError
		if errors.As(h.err, &e) && e.Reason == reason && strings.Contains(e.Error(), part) {
			return ""
		}
		return fmt.Sprintf("got %v, want reason %d, %q", h.err, reason, part)
	}
}

// alerted wants an alert of the other side. Its type is crypto/tls's own: the
// number is read by reflection.
func alerted(number uint64) check {
	return func(h heard, _ *Answer) string {
		var e *net.OpError
		if errors.As(h.err, &e) && e.Op == "remote error" && reflect.ValueOf(e.Err).Uint() == number {
			return ""
		}
		return fmt.Sprintf("got %#v (%v), want alert %d", h.err, h.err, number)
	}
}

func answered(status int) check { return answeredWith(status, "") }

func answeredWith(status int, part string) check {
	return func(h heard, _ *Answer) string {
		if h.err == nil && h.bodyErr == nil && h.status == status && strings.Contains(h.body, part) {
			return ""
		}
		return fmt.Sprintf("got %v, %d, %v, %q; want %d with %q", h.err, h.status, h.bodyErr, h.body, status, part)
	}
}

// broken wants the answer to have come and its body to have failed like this.
func broken(how check) check {
	return func(h heard, a *Answer) string {
		if h.err != nil || h.status != 200 {
			return fmt.Sprintf("got %v, %d, want an answer", h.err, h.status)
		}
		return how(heard{err: h.bodyErr}, a)
	}
}

// cutAfter wants the 400 to have come with these words, and its body to have been reset
// then. Who reads too late may find the reset first.
func cutAfter(words string) check {
	return func(h heard, a *Answer) string {
		reset := errno(syscall.ECONNRESET, 10054)
		switch {
		case h.err != nil:
			return reset(h, a)
		case h.status != http.StatusBadRequest || !strings.Contains(h.body, words) && h.body != "":
			return fmt.Sprintf("got %d %q", h.status, h.body)
		}
		return reset(heard{err: h.bodyErr}, a)
	}
}

// cutWhileSending is a reset as either of the two sees it.
var cutWhileSending = anyOf(errno(syscall.ECONNRESET, 10054), errno(syscall.EPIPE, 10053), is(net.ErrClosed))

// hidden is the error of a connection of HTTP/2 that died before it was used.
var hidden = text("client conn could not be established")

func anyOf(checks ...check) check {
	return func(h heard, a *Answer) string {
		var wrong []string
		for _, c := range checks {
			w := c(h, a)
			if w == "" {
				return ""
			}
			wrong = append(wrong, w)
		}
		return strings.Join(wrong, "; or: ")
	}
}
