package tests

import (
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Where an advice names more than one cause, a line of evidence says openly that they look
// the same from here, and who can tell.
func TestWordsLeaveOpen(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	for _, test := range []struct {
		fault     string
		says, not []string
	}{
		{fault: "fastcgi_closed_unanswered", says: []string{"a port that speaks no FastCGI look the same from here: ", "php-fpm's says whether it refused this client", "had not answered anything before this request"}, not: []string{"something else listens on"}},
		{fault: "fastcgi_closed_unanswered_unix", says: []string{"look the same from here: php-fpm's log"}},
		{fault: "closed_unanswered", says: []string{"what listens there, and its log, tell"}, not: []string{"(which, can't be told"}},
		{fault: "certificate_not_yet_valid", says: []string{"it begins 24 h after the time here", " from here: "}, not: []string{"clock is not synchronised"}},
		{fault: "certificate_expired", says: []string{"before the time here"}},
		{fault: "socket_missing", says: []string{"look the same from here: its log, and ss -xl there, tell", " is empty"}, not: []string{"Caddy runs as"}},
		{fault: "speaks_http2", says: []string{"the port of gRPC beside one of HTTP, look the same from here: the application's config tells", "correct the port instead", "no: the upstream did not process it"}},
		{fault: "upgrade_to_tls_required", says: []string{"answered 426: it wants TLS", "X-Forwarded-Proto http was sent to it", "look the same from here: curl -vk https://", "trusted_proxies"}, not: []string{"if one of plain HTTP was meant"}},
		{fault: "placeholder_bad_port", says: []string{"the placeholder gave something, and it has a port that is no number from 1 to 65535"}, not: []string{"70000"}},
		{fault: "placeholder_port_range", says: []string{"a range of ports"}, not: []string{"80-81"}},
		{fault: "placeholder_empty", says: []string{"the placeholder gave nothing for this request", "give it a default"}},
		{fault: "h3_goaway", says: []string{"had carried no request before", "look the same from here: its log tells", "the transport tried again by itself"}, not: []string{"raise the number"}},
		{fault: "chunk_longer_than_said", says: []string{"look the same from here: asking the application directly tells (curl --raw)", "of the answer came in good order, and then"}, not: []string{"not announced"}},
		{fault: "forward_proxy_tunnel_closed", says: []string{"by way of the forward proxy at 127.0.0.1:", "the forward proxy had granted CONNECT 127.0.0.1:", "can't be told from here: the forward proxy's log tells", "Side         network"}},
		{fault: "dns_target_unknown_here", says: []string{"The system's resolver has no address for a name that the dynamic source gave", "for it was not asked: dig @127.0.0.1 -p ", "If not, create the name there"}},
		{fault: "cut_between_headers", says: []string{" of it came, and its header had no end: the answer begins with \"HTTP/1.1 200", "why it ended here can't be told (a crash, a killed worker, a limit, a header that lacks its end, a server in between)"}},
		{fault: "h2_body_closed", says: []string{"why it ended here can't be told (a crash, a killed worker, a limit of its own, a wrong length, a server in between)"}},
		{fault: "h2_headers_too_large", says: []string{"Caddy's side ended the stream, for its own limit", "can't be told from here: what the application means to send tells", "Measure the headers", "Limit         max_response_header 4096 bytes (configured)"}},
		{fault: "h2_goaway_http11_required", says: []string{"speaks HTTP/2, and refuses it here: it wants HTTP/1.1"}, not: []string{"different versions"}},
		{fault: "https_to_http_port", says: []string{"does not speak TLS on this port: it answered in plain HTTP."}},
		{fault: "answers_503", says: []string{"it wants to be asked again later", "look the same from here: its log tells"}},

		// What this machine knows of an address of its own.
		{fault: "connect_unanswered", says: []string{"somebody listens there, on ", "and has room: 0 connections wait", "nft list ruleset"}, not: []string{"a machine that is down"}},
		{fault: "fastcgi_client_leaves_while_dialling", says: []string{"1 connection waits to be accepted at 127.0.0.1:", "restart one that hangs"}, not: []string{"has room", "nft list ruleset"}},
		{fault: "forward_proxy_refused", says: []string{"nobody listened on the forward proxy's port of "}, not: []string{"a firewall refuses"}},
		{fault: "h3_port_closed", says: []string{"nobody had port ", " of UDP on ", ", nor that of TCP", "Side         upstream"}, not: []string{"firewall"}},

		// Who is waited for, and what came.
		{fault: "upstream_never_reads", says: []string{"bytes that it had room for: nothing is lost on the way"}},
		{fault: "upload_slower_than_limit", says: []string{"took longer than write_timeout 100 ms", "for the client to send its body: write_timeout counts from before", "request_buffers"}, not: []string{"did not take the request", "had room for"}},
		{fault: "h2c_read_timeout", says: []string{"it speaks HTTP/2"}, not: []string{"a port that waits for something else"}},
		{fault: "reset_between_headers", says: []string{"or something on the way, reset the connection"}},
		{fault: "tls_handshake_failure", says: []string{"the server had asked for no certificate yet"}},
		{fault: "h2_goaway_inadequate_security", says: []string{"agreed on were TLS 1."}},
		{fault: "h3_version_fallback", says: []string{"for this request alone or for all can't be told from here"}},

		// What is damaged, and by what.
		{fault: "tls_key_of_another", says: []string{"does not prove that the private key of its certificate is its own", "openssl pkey -pubout"}, not: []string{"Update the TLS library"}},
		{fault: "tls_certificate_unreadable", says: []string{"can't be read as one"}, not: []string{"may not be used"}},
		{fault: "gzip_corrupt", says: []string{"its checksum is another's"}, not: []string{"set twice"}},
		{fault: "gzip_cut", says: []string{"its gzip stream did not"}, not: []string{"set twice"}},

		// Nothing that a record says denies another part of it.
		{fault: "buffered_body_retried", says: []string{"had not answered anything before this request", "this POST may have been carried out twice"}, not: []string{"has not answered"}},
		{fault: "h2c_upload_stream_reset", says: []string{"Phase        send", "servers send this code for those"}, not: []string{"for these servers"}},
		{fault: "h2_window_overflows", says: []string{"Phase        wait", "FLOW_CONTROL_ERROR, which says that the upstream sent more", "Update the server at ", "avoids it, if curl -vk --http1.1"}},
		{fault: "reset_while_sending_after_100", says: []string{"bytes of the request's body, and the client's side had no error; how many of them the upstream took is not known"}},
		{fault: "h2_header_with_newline", says: []string{`as value of the field "x-bad"`, "HTTP takes no line break in a value"}, not: []string{"avoids it", "lower case"}},
		{fault: "h2_header_name_in_capitals", says: []string{"Correct the name of the field ", "lower case alone", "avoids it"}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			wantWords(t, recordOf(t, test.fault), test.says, test.not)
		})
	}
}
