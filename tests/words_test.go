package tests

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Who has the text of a record alone is left with one cause, the right first step, and
// knows whether the request came to the application. What a reader once took wrong, or
// could not tell, stands here.
func TestWordsOfARecord(t *testing.T) {
	for _, test := range []struct {
		fault     string
		says, not []string
	}{
		{
			// Idle for less than a second, no idle timeout has ended it.
			fault: "keepalive_race",
			says:  []string{"used again after only", "keepalive off", "a crash upon this very request look the same from here", "read 7 B of the request body"},
			not:   []string{"idle timeout", "at the moment when"},
		},
		{
			// It may have crashed upon the request: nothing says that nobody worked on it.
			fault: "closed_unanswered",
			says:  []string{"ask it from ", "curl -v http://127.0.0.1:", "a crash upon this request", "maybe:"},
			not:   []string{"nothing worked on the request"},
		},
		{
			fault: "reset_unanswered",
			says:  []string{"ask it from ", "curl -v http://127.0.0.1:"},
			not:   []string{"nothing worked on the request"},
		},
		{
			fault: "closed_unanswered_unix",
			says:  []string{"curl -v --unix-socket /", "/app.sock http://localhost/", "php_fastcgi"},
			not:   []string{"nothing worked on the request"},
		},
		{
			fault: "rescued_after_close",
			says:  []string{" answered 200", "the failed attempt's upstream may have processed the request before "},
			not:   []string{"yes: the upstream began to answer"},
		},
		{
			fault: "answer_thrown_away",
			says:  []string{"yes: the upstream answered 200", "the failed attempt's upstream had answered the request with 502 before another attempt answered it with 200"},
			not:   []string{"began to answer"},
		},
		{
			// What was whole did not only begin; what Caddy returns then is no error of the upstream's.
			fault: "retries_used_up",
			says:  []string{"yes: the upstream answered 503", "lb_retry_match takes this answer for a failure: the client got an error of Caddy's", "Retry-After", "lb_retries 1 is used up, within "},
			not:   []string{"began to answer", "matched retry_match"},
		},
		{
			fault: "answers_503_tls",
			says:  []string{"yes: the upstream answered 503", "Retry-After"},
			not:   []string{"began to answer"},
		},
		{
			// Before anybody is trusted: is it the right server, and what is missing?
			fault: "certificate_authority_unknown",
			says: []string{
				"it is for the name that was asked for, 127.0.0.1", `the certificate of the issuer, "CN=Stranger CA", did not come: it is an authority that Caddy lacks, or an intermediate`,
				"Look whether the issuer in the evidence is yours", "another server than is meant answers at 127.0.0.1:",
			},
		},
		{
			fault: "certificate_self_signed",
			says:  []string{"it is self-signed", "Look whether this certificate is that of the server that is meant"},
			not:   []string{"whole chain"},
		},
		{
			// It was there, and answered.
			fault: "socks_unreachable",
			says:  []string{"answered that it can't reach 127.0.0.1:", `it answered "host unreachable" (reply 4) after `, "Check the way from the forward proxy to ", "destination_unavailable"},
			not:   []string{"could not be used"},
		},
		{
			fault: "socks_closes",
			says:  []string{"ended the connection instead of answering", "it closed the connection upon CONNECT after ", "network_proxy names this forward proxy", "Look at the log of the SOCKS proxy at "},
			not:   []string{"could not be used"},
		},
		{fault: "forward_proxy_forbids", says: []string{"refused to connect to 127.0.0.1:", "it answered 403 Forbidden", "allow 127.0.0.1:"}, not: []string{"could not be used"}},
		{fault: "forward_proxy_wants_password", says: []string{"user and the password", "it answered 407"}, not: []string{"could not be used"}},
		{fault: "forward_proxy_cannot_reach", says: []string{"answered that it can't reach 127.0.0.1:", "it answered 502"}, not: []string{"could not be used"}},
		{fault: "forward_proxy_malformed", says: []string{"does not speak the forward proxy's protocol"}, not: []string{"could not be used"}},
		{fault: "socks_refused", says: []string{"could not be used", "connection_refused"}},
		{
			// FastCGI tells of nothing between the connect and the answer.
			fault: "fastcgi_read_timeout",
			says:  []string{"wait 20", "no header of an answer came in 20", "pm.max_children", "what was sent over it is not known"},
			not:   []string{"bytes of it left"},
		},
		{
			fault: "status_000",
			says:  []string{"answered with the status 000", "from 200 to 599", `the answer begins with "HTTP/1.1 000 Nothing"`},
			not:   []string{"to 999"},
		},
		{
			fault: "fastcgi_backlog_full",
			says:  []string{"(backlog 0, and Linux takes one more)", "restart one that hangs or was stopped"},
		},
		{
			fault: "dynamic_lookup_not_found",
			says:  []string{"The lookup of the upstreams (dynamic a app.test:80) found none.", "Error         lookup app.test on 127.0.0.1:", "Go does not say which"},
			not:   []string{"of a app.test", "no upstreams available"},
		},
		{fault: "dynamic_lookup_server_failed", says: []string{"The lookup of the upstreams (dynamic a app.test:80) failed."}, not: []string{"NXDOMAIN"}},
		{fault: "dns_nxdomain", says: []string{"Go does not say which"}},
		{fault: "dns_label_too_long", says: []string{"no resolver was asked: "}, not: []string{"Go does not say which"}}, // nobody was asked
		{
			fault: "fastcgi_length_unknown_checked",
			says:  []string{"(FastCGI), and that is not known", "the request came without a Content-Length", "request_buffers in force: 4096 bytes, and the body is longer", "Set request_buffers"},
			not:   []string{"header_up", "wait "},
		},
		{
			fault: "server_name_missing",
			says:  []string{"Caddy knows no name by which", "TLS handshake: not begun", "proxy_protocol v", " is set, and tls_server_name is not", "Set tls_server_name"},
			not:   []string{"ended after", "tls 0", "refused to send"},
		},
		{
			fault: "speaks_ssh_at_once",
			says:  []string{"an SSH server answers there", "Correct the host or the port in reverse_proxy: an SSH server answers at 127.0.0.1:"},
			not:   []string{"mail", "database"},
		},
		{fault: "http_to_tls_alert", says: []string{`\n": a fatal TLS alert, unexpected message`, "correct the port"}},
		{
			fault: "reset_in_header",
			says:  []string{`the connection ended in the middle of a line, after "Content-Ty": the line was cut off, it is not malformed`, "reset the connection"},
		},
		{
			fault: "transfer_coding_unknown",
			says:  []string{"a Transfer-Encoding that Caddy does not support", `"gzip, chunked"`, "Transfer-Encoding: chunked alone", "Content-Encoding"},
			not:   []string{"not framed", "Content-Length"},
		},
		{
			fault: "h3_headers_without_status",
			says:  []string{"breaks the rules of HTTP/3, ", "versions 1.1 2 in the transport"},
			not:   []string{"HTTP/2 or HTTP/3", "tls 0"},
		},
		{
			// QUIC's handshake is TLS's: neither is there twice.
			fault: "h3_server_name_rejected",
			says:  []string{"TLS handshake: ended after", "wants a server name in the TLS handshake, and none was sent.", "the Host to be sent was "},
			not:   []string{"connect 0 ms", "connect 127.0.0.1", "or none was", "the Host sent was"},
		},
		{
			// A new connection was never idle, and who says that it is not known is there.
			fault: "h3_moved",
			says:  []string{"no longer knew the connection", "restarted or crashed", "Side         upstream"},
			not:   []string{"on the way", "idle", "tls 0"},
		},
		{
			fault: "http1_to_node_h2",
			says:  []string{"the transport offers versions 1.1", "Set versions 2 in the transport", "no: what answered 403 did not process it"},
			not:   []string{"h2c"},
		},
		{
			fault: "h2_headers_far_too_large",
			says:  []string{"nothing tells which", "max_response_header (", "curl -vk --http2"},
			not:   []string{"has no name yet"},
		},
		{
			fault: "socket_is_a_file",
			says:  []string{"There is no socket at unix//", ", but a regular file.", "correct the path in reverse_proxy"},
			not:   []string{"port", "owner", "mode"},
		},
		{fault: "fastcgi_refused", says: []string{"nobody listened on port "}, not: []string{"Start the application, or correct the port in reverse_proxy; if"}},
		// What one kind of failure has in common with another is said of that, too.
		{fault: "cut_in_header_tls", says: []string{"nothing tells which", "for a crash at this time; without one, correct the line"}, not: []string{"has no name yet"}},
		{fault: "fastcgi_cut_in_header", says: []string{"nothing tells which"}, not: []string{"has no name yet"}},
		{fault: "h2_stream_refused_post", says: []string{"refused the request's stream", "can be sent again"}, not: []string{"application's log"}},
		{fault: "h3_request_rejected", says: []string{"refused the request's stream", "can be sent again"}, not: []string{"application's log"}},
		{fault: "h2_goaway_then_closed", says: []string{"ended the connection for an error"}, not: []string{"was restarted"}},
		{fault: "h3_lost", says: []string{"in QUIC it answers by itself"}, not: []string{"forgets idle connections"}},
		{fault: "h3_port_silent", says: []string{"connect 127.0.0.1:"}, not: []string{"TLS handshake", "tls "}},
		{fault: "h3_protocol_not_common", says: []string{"Take 3 out of versions"}, not: []string{"h2c"}},
		{fault: "tls_protocol_not_common", says: []string{"in TLS (ALPN: http/1.1 or h2)", "the transport offers versions "}, not: []string{"h2c"}},
		{fault: "http1_to_h2c", says: []string{"Write h2c:// in front of 127.0.0.1:", "HTTP/2's first frame"}, not: []string{"yes:"}},
		{fault: "http1_to_h2_tls", says: []string{"Set versions 2 in the transport"}, not: []string{"h2c://", "yes:"}},
		{fault: "h2c_to_http1", says: []string{"Write http:// in front of 127.0.0.1:", "instead of h2c://"}},
		{fault: "header_name_invalid", says: []string{"header_up"}, not: []string{"request_buffers"}},
		{fault: "fastcgi_speaks_http", says: []string{"Caddy's FastCGI refused what came: fcgi: "}},
		{fault: "fastcgi_header_without_colon", says: []string{"a line of the answer's header has no colon: "}},
		{fault: "fastcgi_closed_unanswered_unix", not: []string{"published Docker port", "allowed_clients"}},
		{fault: "cut_after_interim", says: []string{"application's log"}, not: []string{"it speaks TLS", "something else than HTTP"}}, // who sends 103 speaks HTTP
		{fault: "h3_too_many_interim", says: []string{"more interim answers (1xx) than Caddy takes", "Let the application send its answer"}, not: []string{"has no name yet"}},
		{fault: "https_to_ssh", says: []string{"does not speak TLS: an SSH server answers there", "Correct the host or the port"}, not: []string{"Use http://"}},
		{fault: "speaks_postgres", says: []string{"a server of PostgreSQL's protocol answers there"}},
		{fault: "misdirected_tls", says: []string{"began without a server name."}, not: []string{"or none was"}},
		{fault: "forward_proxy_answers_plain", says: []string{"who answered 503 may be another than the upstream"}, not: []string{"no answer came back"}},
		{fault: "after_too_long_an_answer", says: []string{"what came back is no answer to it"}, not: []string{"no answer came back"}},
		{fault: "tls_version_chosen_too_old", says: []string{"302, which is TLS 1.1"}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			wantWords(t, recordOf(t, test.fault), test.says, test.not)
		})
	}
}

// wantWords holds the text of a record against words that it must have, and others that it
// must not. How far a table's columns are apart doesn't matter.
func wantWords(t *testing.T, text string, says, not []string) {
	t.Helper()
	spaces := regexp.MustCompile(` {2,}`)
	table := spaces.ReplaceAllString(text, " ")
	for _, words := range says {
		if !strings.Contains(table, spaces.ReplaceAllString(words, " ")) {
			t.Errorf("lacks %q:\n%s", words, text)
		}
	}
	for _, words := range not {
		if strings.Contains(table, spaces.ReplaceAllString(words, " ")) {
			t.Errorf("has %q:\n%s", words, text)
		}
	}
}

// recordOf is the text of the record that one of the lab's faults leaves.
func recordOf(t *testing.T, name string) string {
	t.Helper()
	fault, err := faultlab.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if fault.Skip != "" {
		t.Skip(fault.Skip)
	}
	broken, options := testcaddy.Break(t, fault)
	c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+broken.Caddyfile())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := broken.Visit(ctx, c.URL+"/order"); err != nil {
		t.Fatal(err)
	}
	f := c.Newest(fault.Cause)
	if fault.OrCause != "" && f.Cause == fault.OrCause {
		t.Skip("a race decided that it is ", f.Cause)
	}
	var text bytes.Buffer
	if err := report.Text(&text, f); err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		t.Logf("\n%s", text.String())
	}
	return text.String()
}
