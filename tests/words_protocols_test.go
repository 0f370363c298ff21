package tests

import (
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// What is particular to a protocol must not be told in words of another one.
func TestWordsOfProtocols(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	for _, test := range []struct {
		fault     string
		says, not []string
	}{
		// Who answers 103 or 100 speaks HTTP and has the request: its log tells the rest.
		{
			fault: "cut_after_interim",
			says:  []string{"sent the interim answer 103 (Early Hints), and then closed the connection without a final one", "Look at the application's log", "has the request", "no byte of a final answer came"},
			not:   []string{"Docker", "curl", "had not answered anything", "no byte of an answer", "no answer came back"},
		},
		{
			fault: "cut_after_interim_reused",
			says:  []string{"sent the interim answer 103", "Look at the application's log"},
			not:   []string{"keepalive", "race"},
		},
		{
			fault: "closed_after_100",
			says:  []string{"sent the interim answer 100 (Continue)", "has the request's header", "Look at the upstream's log"},
			not:   []string{"had not answered anything", "no byte of an answer", "no answer came back"},
		},
		{fault: "closed_after_100_tls", says: []string{"sent the interim answer 100 (Continue)"}, not: []string{"had not answered anything"}},
		{fault: "reset_after_103", says: []string{"103 (Early Hints), and then reset the connection"}, not: []string{"had not answered anything"}},
		{fault: "cut_in_headers_after_100", says: []string{"a final answer began after it"}, not: []string{"the first byte of an answer"}},
		{fault: "response_header_timeout_after_100", says: []string{"no byte of a final answer came"}, not: []string{"no answer came back"}},

		// What was seen of the answer's header is seen, and Caddy's own verdict is no code of
		// the upstream's.
		{
			fault: "h2_header_name_in_capitals",
			says:  []string{"answered with a header that breaks the rules of HTTP/2, and Caddy refused", "Caddy's side ended the stream: HTTP/2 error code PROTOCOL_ERROR", "names in lower case", "yes: the upstream began to answer", "headers "},
			not:   []string{"no answer", "maybe:", "HTTP/3"},
		},
		{fault: "h2_header_with_newline", says: []string{"no line break in a value", "yes: the upstream began to answer"}, not: []string{"no answer", "maybe:"}},
		{fault: "h2_headers_without_status", says: []string{"Caddy's side ended the stream", "gets an answer", "yes:"}, not: []string{"HTTP/3"}},
		{
			fault: "h2c_hpack_broken",
			says:  []string{"answered with a header that Caddy could not decode", "Caddy's side ended the connection: HTTP/2 error code COMPRESSION_ERROR", "http:// in place of h2c://", "yes: the upstream began to answer"},
			not:   []string{"no answer", "maybe:", "HTTP/3", "another on the same connection"},
		},
		{fault: "h2_hpack_broken", says: []string{"could not decode", "yes:"}, not: []string{"no answer", "maybe:"}},
		{fault: "h2_data_before_headers", says: []string{"can't be read as an answer to it", "Caddy's side ended the stream"}, not: []string{"no answer to it"}},
		{fault: "h2_headers_far_too_large", says: []string{"can't be read as an answer to it"}, not: []string{"no answer to it"}},
		{fault: "h3_qpack_broken", says: []string{"answered with a header that Caddy could not decode.", "Caddy's side refused the answer's header", "without 3"}, not: []string{"HTTP/2"}},
		{fault: "h3_headers_without_status", says: []string{"Caddy's side refused the answer's header"}, not: []string{"HTTP/2"}},
		{fault: "h3_data_before_headers", says: []string{"Caddy's side ended the stream", "without 3"}, not: []string{"HTTP/2"}},

		// A code by which the upstream ends the request says where to look.
		{
			fault: "h2_stream_refused_post",
			says:  []string{"refused the request's stream without processing it", "the upstream reset the stream: HTTP/2 error code REFUSED_STREAM, which says that it did not process the request", "not at its application's", "request_buffers", "no:"},
			not:   []string{"Look at the application's log", "GetBody"},
		},
		{fault: "h3_request_rejected", says: []string{"without processing it", "H3_REQUEST_REJECTED", "not at its application's"}, not: []string{"HTTP/2"}},
		{fault: "h2_stream_reset_on_reused", says: []string{"the upstream reset the stream: HTTP/2 error code INTERNAL_ERROR", "a panic"}},
		{fault: "h3_stream_reset", says: []string{"the upstream reset the stream: HTTP/3 error code H3_INTERNAL_ERROR", "a panic"}, not: []string{"HTTP/2"}},
		{fault: "h2_stream_reset_cancel", says: []string{"which says that it no longer works on the request", "grpc-timeout"}},
		{fault: "h2_goaway_unprocessed_error", says: []string{"GOAWAY with the error code ENHANCE_YOUR_CALM", "Caddy asks too much of it", "the limit that it names"}},

		// A handshake that is ended without a word is one to make by hand; a name that was
		// sent is known.
		{
			fault: "tls_closed",
			says:  []string{"openssl s_client -connect 127.0.0.1:", "none was sent", "http:// in reverse_proxy", "published Docker port", "PROXY header", "look the same from here: what listens there, and its log, tell"},
			not:   []string{"TLS log", "a name it does not serve", "ms: EOF"},
		},
		{
			fault: "tls_unrecognized_name",
			says:  []string{"does not serve the name app.internal, which TLS was asked for", "the server name sent was app.internal, from tls_server_name", "change tls_server_name in the transport", "or let it serve app.internal"},
			not:   []string{"or none was", "Set tls_server_name"},
		},
		{fault: "h3_server_name_rejected", says: []string{"and none was sent", "Set tls_server_name in the transport"}, not: []string{"or none was"}},

		// HTTP/2 and HTTP/3 end a request's stream, and not the connection.
		{
			fault: "h2_body_shorter_than_said",
			says:  []string{"ended its answer before it was complete", "stream was ended in good order, and the connection was not", "Compare the Content-Length"},
			not:   []string{"closed the connection", "crash or"},
		},
		{fault: "h2c_body_closed", says: []string{"closed the connection before its answer was complete", "for a crash while it was sending", "why it ended here can't be told"}, not: []string{"stream was ended"}},
		{fault: "h2c_body_reset", says: []string{"the connection before its answer was complete"}, not: []string{"stream was ended"}},
		{fault: "h3_stream_ended_unanswered", says: []string{"ended the request's stream without an answer", "stream was ended in good order", "a handler that ended without an answer"}, not: []string{"closed the connection", "crash"}},
		{fault: "h3_cut_in_headers", says: []string{"ended the request's stream in the middle of its answer's headers", "half a header", "without 3"}, not: []string{"closed the connection", "for a crash"}},
		{fault: "h3_ended_after_interim", says: []string{"sent the interim answer 103 (Early Hints), and then ended the request's stream without a final one"}, not: []string{"closed the connection"}},
		{fault: "h3_client_leaves_while_waiting", not: []string{"tls 0", "[::]:"}},

		// An answer that breaks off: how, and what looks the same.
		{fault: "body_without_last_chunk", says: []string{"it came in chunks, of which the last is missing", "leaves out the last one", "an application that leaves out the last chunk"}, not: []string{"a timeout"}},
		{fault: "body_cut_tls", says: []string{"for a crash while it was sending", "compare its Content-Length with what it sends", "a wrong length"}, not: []string{"a timeout"}},
		{
			// What the client got is whole by its length; no other request was hurt yet.
			fault: "length_too_short",
			says:  []string{"the client got as much as was announced, and not the rest", "in bytes and not in characters"},
			not:   []string{"spoils", "with 204", "HEAD"},
		},

		// Where nothing can be below a file, starting the application does not help.
		{
			fault: "socket_below_a_file",
			says:  []string{"a part of this path is a file, not a folder", "/app.sock is a file, not a folder: nothing can be below it", "Correct the socket's path in reverse_proxy"},
			not:   []string{"Start the application", "owner", "Caddy runs as"},
		},
		{fault: "socket_missing", says: []string{"Start the application"}, not: []string{"not a folder"}},

		// An answer that refuses how it was asked: what that rests on, and who is to change.
		{
			fault: "version_not_supported",
			says:  []string{"answered 505: it does not take the version of HTTP", "an application that refuses the request by a 505 of its own look the same from here", "Write h2c:// in front of 127.0.0.1:"},
			not:   []string{"speak different versions"},
		},
		{
			fault: "upgrade_not_passed_on",
			says:  []string{"answered 426: it wants to switch protocols, and Caddy did not pass the client's wish", `the client's Connection: "Upgrade"`, "Remove what header_up does"},
			not:   []string{"itself answered"},
		},

		{
			fault: "h2_header_list_limited",
			says:  []string{"its header is larger than 127.0.0.1:", "the request's header has about ", " as HTTP/2 counts them; the largest is "},
			not:   []string{"refused to send"},
		},
		{fault: "h3_client_leaves_while_waiting", says: []string{"look the same from here", "no limit of the transport has an effect"}, not: []string{"ends this wait"}},
		{fault: "header_without_colon", says: []string{"a line of the answer's header has no colon", ". none of these"}, not: []string{" 0 ms"}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			wantWords(t, recordOf(t, test.fault), test.says, test.not)
		})
	}
}
