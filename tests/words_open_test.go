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
		{fault: "speaks_http2", says: []string{"the port of gRPC beside one of HTTP, and a wrong address look the same from here: the application's config tells", "correct the port instead", "no: the upstream did not process it"}},
		{fault: "upgrade_to_tls_required", says: []string{"answered 426: it wants TLS", "X-Forwarded-Proto http was sent to it", "look the same from here: curl -vk https://", "trusted_proxies"}, not: []string{"if one of plain HTTP was meant"}},
		{fault: "placeholder_bad_port", says: []string{"the placeholder gave something, and it has a port that is no number from 1 to 65535"}, not: []string{"70000"}},
		{fault: "placeholder_port_range", says: []string{"a range of ports", "or something in front of Caddy, sent it so"}, not: []string{"80-81"}},
		{fault: "placeholder_empty", says: []string{"the placeholder gave nothing for this request", "give it a default"}},
		{fault: "h3_goaway", says: []string{"had carried no request before", "look the same from here: its log tells", "the transport tried again by itself"}, not: []string{"raise the number"}},
		{fault: "chunk_longer_than_said", says: []string{"look the same from here: asking the application directly tells (curl --raw)", "of the answer came in good order, and then something else where the chunk should have ended: its size is wrong, or it lacks its line break"}, not: []string{"not announced"}},
		{fault: "forward_proxy_tunnel_closed", says: []string{"by way of the forward proxy at 127.0.0.1:", "the forward proxy had granted CONNECT 127.0.0.1:", "no byte came back through the tunnel", "can't be told from here: the forward proxy's log tells", "Side         network"}},
		{fault: "dns_target_unknown_here", says: []string{"The system's resolver has no address for a name that the dynamic source gave", "for it was not asked: dig @127.0.0.1 -p ", "If not, create the name there"}},
		{fault: "cut_between_headers", says: []string{" of it came, and its header had no end: the answer begins with \"HTTP/1.1 200", "why it ended here can't be told (a crash, a killed worker, a limit of its own, a header that lacks its end, a server in between)", "the upstream closed the connection, "}},
		{fault: "h2_body_closed", says: []string{"why it ended here can't be told (a crash, a killed worker, a restart, a limit of its own, a wrong length, a server in between)"}},
		{fault: "h2_headers_too_large", says: []string{"Caddy's side ended the stream, for its own limit", "can't be told from here: what the application means to send tells", "Measure the headers", "Limit         max_response_header 4096 bytes (configured)"}},
		{fault: "h2_goaway_http11_required", says: []string{"speaks HTTP/2, and refuses it here: it wants HTTP/1.1", "for this request alone (a client certificate by renegotiation, NTLM) or for all"}, not: []string{"different versions"}},
		{fault: "h2c_http11_required", says: []string{"Write http:// in front of ", "instead of h2c://"}, not: []string{"Set versions 1.1"}},
		{fault: "answers_502", says: []string{"for this request alone or for all, and whether the application, a server in front of it or something behind it does, can't be told from here"}},
		{fault: "misdirected", says: []string{"another server than is meant answers, or an application refuses it by a 421 of its own, can't be told from here"}},
		{fault: "h3_protocol_not_common", says: []string{"another program's that speaks QUIC, can't be told from here"}},
		{fault: "tls_protocol_not_common", says: []string{"for all or for who asks for no name, can't be told from here"}},
		{fault: "proxy_header_not_expected", says: []string{"in its other version, look the same from here"}},
		{fault: "answers_503", says: []string{"it wants to be asked again later", "at a server in front of it, look the same from here: its log tells"}},

		// What this machine knows of an address of its own.
		{fault: "fastcgi_client_leaves_while_dialling", says: []string{"1 connection waits to be accepted at 127.0.0.1:", "restart one that hangs", "Limit         dial_timeout 3 s", "a backlog that is too short for it"}, not: []string{"has room", "nft list ruleset", "read_timeout"}},
		{fault: "connect_unanswered", says: []string{"somebody listens there, on ", "with no router on the way, and has room: 0 connections wait", "nft list ruleset", "or whether the queue was full only when the connect began"}, not: []string{"a machine that is down"}},
		{fault: "forward_proxy_refused", says: []string{"nobody listened on the forward proxy's port of "}, not: []string{"a firewall refuses"}},
		{fault: "h3_port_closed", says: []string{"nobody had port ", " of UDP on ", ", nor that of TCP", "Side         upstream"}, not: []string{"firewall"}},
		{fault: "backlog_full", says: []string{"a backlog that is too short look the same from here"}},
		{fault: "refused_twice", says: []string{"nobody listened on port ", "nobody listened at 127.0.0.1:", " either"}},
		{fault: "dns_silent", says: []string{"somebody has port ", ", and did not answer", "another program on that port, and a firewall of "}, not: []string{"is down", "start it"}},
		{fault: "dns_server_closed", says: []string{"it was refused: nobody had port ", "Start the name server at 127.0.0.1:", "(resolvers in the transport)", "whether the resolver does not run, or another address is its"}, not: []string{"its zone", "a firewall"}},
		{fault: "descriptors_exhausted", says: []string{"the limit of this process alone, not the whole machine's"}},

		// Who is waited for, and what came.
		{fault: "upstream_never_reads", says: []string{"bytes that it had room for: nothing is lost on the way"}},
		{fault: "upload_slower_than_limit", says: []string{"took longer than write_timeout 100 ms", "whether the client, its network, or a proxy in front is slow", "for the client to send its body: write_timeout counts from before", "request_buffers"}, not: []string{"did not take the request", "had room for"}},
		{fault: "h2c_read_timeout", says: []string{"it speaks HTTP/2"}, not: []string{"a port that waits for something else"}},
		{fault: "reset_between_headers", says: []string{" reset the connection in the middle of its answer's headers", "or something on the way, reset the connection, ", " after its answer's first byte"}, not: []string{"closed the connection"}},
		{fault: "h3_too_many_interim", says: []string{"its server has the request"}},
		{fault: "upload_stalled", says: []string{"took longer than read_body 200 ms of Caddy's server", "gave up by read_body 200 ms", "for the client", "read_body being too short for this look the same from here"}, not: []string{"broke off", "malformed"}},
		{fault: "upload_broken_off", says: []string{"The client's request broke off while", "no limit of Caddy's ended it", "the log of what stands in front tells", "what stands in front of Caddy"}, not: []string{"stalled", "malformed", "read_body"}},
		{fault: "upload_malformed", says: []string{"broke the rules of HTTP", "whether the client or a proxy in front wrote it so"}, not: []string{"broke off", "read_body"}},
		{fault: "fastcgi_reset_while_sending", says: []string{"a port that speaks no FastCGI, php-fpm that refuses this client, a server in between", "had not answered anything before this request"}},
		{fault: "reset_while_sending", says: []string{"a port of another protocol, a server in between", "had not answered anything before this request"}},
		{fault: "h2_reset_while_sending", says: []string{"HTTP/2 had been agreed on"}, not: []string{"a port of another protocol"}},
		{fault: "h2c_upload_closed", says: []string{"it speaks HTTP/2"}, not: []string{"a port of another protocol"}},
		{fault: "fastcgi_write_timeout", says: []string{"of sending, Caddy waited ", "a port that speaks no FastCGI, a server in between", "a limit too short for this", "reached over no network"}},
		{fault: "upstream_never_reads_checked", says: []string{"reached over no network", "a port of another protocol"}, not: []string{"a network that loses packets"}},
		{fault: "h2_response_header_timeout", says: []string{"HTTP/2 had been agreed on"}, not: []string{"a port that waits for something else"}},
		{fault: "read_timeout", says: []string{"had not answered anything before this request", "a server in between that waits"}},
		{fault: "fastcgi_read_timeout", says: []string{"a script that waits or hangs, ", "a port that is not php-fpm's look the same from here"}, not: []string{"why it takes longer"}},
		{fault: "stalled_in_headers", says: []string{"36 bytes of it came, and its header had no end", "a header that lacks its empty line"}, not: []string{"a queue"}},
		{fault: "h3_lost", says: []string{"a server that lives answers that, however slow its application is", "by the limit that the server asked for", "a firewall of this "}},
		{fault: "forward_proxy_silent", says: []string{"Look at the log of the forward proxy", "a port that is no forward proxy's"}, not: []string{"dial_timeout", "a machine that is down", "takes connections"}},
		{fault: "client_leaves_while_waiting", says: []string{"a port that waits for something else, a server in between, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here"}},
		{fault: "h2_client_leaves_while_waiting", says: []string{"a REFUSED_STREAM that Go repeats, ", "a visitor who went away (or half-closed) look the same from here"}, not: []string{"a port that waits for something else"}},
		{fault: "header_name_invalid", says: []string{"no client can send such a name", "which line sets it can't be told from here"}},
		{fault: "connection_set_over_h2", says: []string{"Caddy takes out (but for an upgrade"}},
		{fault: "h2_header_list_limited", says: []string{"whether the application's server or one in front of it says so"}},
		{fault: "h2_headers_far_too_large", says: []string{"the application's or a server's in front of it, can't be told"}},

		// What came of an answer's header, and what that excludes.
		{fault: "cut_after_first_byte", says: []string{"1 byte of an answer came, and no end of a line", "why it ended here can't be told (a crash, a killed worker, a limit of its own, a server in between)"}, not: []string{"another protocol", "a header that lacks its end"}},
		{fault: "cut_in_status_line", says: []string{`in the middle of a line, after "HTTP/1.1 20": the line was cut off, it is not malformed`, "a limit of its own, a server in between)"}, not: []string{"lacks its end", "another protocol"}},
		{fault: "cut_in_header", says: []string{`after "Content-Ty": `, `the answer begins with "HTTP/1.1 200 OK"`, "the upstream closed the connection, "}, not: []string{"lacks its end"}},
		{fault: "cut_in_headers_after_100", says: []string{`43 bytes of the final answer came, and its header had no end: the answer begins with "HTTP/1.1 200 OK"`, "the upstream closed the connection", "end its header with an empty line"}, not: []string{"first byte"}},
		{fault: "h3_cut_in_headers", says: []string{"an application that writes HTTP/3 by itself, or a box in between does so, and for this request alone or for all, can't be told from here: its log, and asking it by hand (curl --http3-only), tell"}},
		{fault: "status_1000", says: []string{`the answer begins with "HTTP/1.1 1000 Large", where a status of three digits belongs`, "Look at what the application sets as status", "whether the application, its server, or one in front of it writes so, and for this request alone or for all, can't be told from here"}},
		{fault: "http_version_malformed", says: []string{`the answer begins with "HTTP/x.y 200 OK", where its version belongs first (HTTP/1.1)`}, not: []string{"sets as status"}},
		{fault: "status_042_tls", says: []string{"another protocol is ruled out", "or one in front of it writes so"}},
		{fault: "fastcgi_status_0", says: []string{"another protocol is ruled out", "something that runs before it", "the script tells"}, not: []string{"curl"}},
		{fault: "fastcgi_status_malformed", says: []string{"it speaks FastCGI", "Let the script begin its Status with a number", "a file that is prepended, a warning of PHP's"}, not: []string{"a colon"}},
		{fault: "fastcgi_header_without_colon", says: []string{"it speaks FastCGI", "a name and a colon in each line"}, not: []string{"Status with a number"}},
		{fault: "fastcgi_speaks_http", says: []string{"where a record of FastCGI's begins with 1", "had not answered anything before this request", "a server of HTTP or of another protocol there, and one of FastCGI that writes broken records, look the same from here"}},
		{fault: "fastcgi_cut_in_header", says: []string{"(cgi-fcgi -bind -connect 127.0.0.1:"}, not: []string{"{address}"}},
		{fault: "header_without_colon", says: []string{`the answer begins with "HTTP/1.1 200 OK"`, "a line break in a field's value, a body that begins without an empty line before it, "}},
		{fault: "header_without_colon_tls", says: []string{"its status line could be read: it speaks HTTP"}},
		{fault: "length_not_a_number", says: []string{"Let the application's server count the bytes", "which is no number of bytes", `the answer begins with "HTTP/1.1 200 OK"`}},
		{fault: "header_with_nul", says: []string{`the answer begins with "HTTP/1.1 200 OK"`}},
		{fault: "lengths_differ", says: []string{"Let one alone set Content-Length", `the answer begins with "HTTP/1.1 200 OK"`, "whether the application sets both lengths, or its server or one in front of it adds one, can't be told from here"}},
		{fault: "speaks_redis", says: []string{"a server of Redis's protocol answers there", "had not answered anything before this request", "or another program took the application's port, can't be told from here"}, not: []string{"POP3"}},
		{fault: "speaks_ssh_at_once", says: []string{"or another program took the application's port"}, not: []string{" 0 ms after the request was written"}},
		{fault: "h2c_to_ssh", says: []string{"had not answered anything before this request", "or another program took the application's port"}},
		{fault: "headers_too_large", says: []string{`the answer begins with "HTTP/1.1 200 OK"`, `the field "X-Large" alone is longer than `, "how much larger the headers are is not known", "of the application or of a server in front of it, and for this request alone or for all, can't be told from here"}},
		{fault: "h3_headers_too_large", says: []string{"max_response_header has no effect on it", "the frame says how long the headers are, and was not read", "a server that writes a wrong length, look the same from here"}, not: []string{"raise max_response_header"}},
		{fault: "chunk_size_malformed", says: []string{"something else where a chunk's size belongs (a hexadecimal number)", "a fault of its server's"}, not: []string{"or not the end of one"}},
		{fault: "transfer_coding_unknown", says: []string{"whether the application, its server, or one in front of it sets it so can't be told from here"}, not: []string{"writes chunks"}},
		{fault: "h2_goaway_inadequate_security", says: []string{"agreed on were TLS 1.3", "the rule is the server's own", "what it finds too weak, and whether"}},
		{fault: "h3_version_fallback", says: []string{"speaks HTTP/3, and refuses it here", "the upstream answered with the HTTP/3 error code H3_VERSION_FALLBACK", "or for all, and whether"}, not: []string{"different versions"}},
		{fault: "http_to_tls_go_browser", says: []string{"then the connection was reset: such a port reads no more"}},
		{fault: "h2c_to_tls", says: []string{"Write https:// in front of ", "instead of h2c://"}},
		{fault: "h2c_to_tls_nginx", says: []string{"Write https:// in front of ", "instead of h2c://"}},
		{fault: "upgrade_to_other", says: []string{`the client had asked for "websocket", and what was sent asked for it, too`, "it may switch only to what it was asked for"}, not: []string{"what header_up does"}},
		{fault: "upgrade_unasked", says: []string{"the client had asked for no upgrade, and header_up set none", "may not switch to what nobody asked for"}, not: []string{"what header_up does"}},
		{fault: "upgrade_without_connection", says: []string{"and what was sent asked for it, too"}},
		{fault: "h2c_to_http1", says: []string{"or HTTP/2 is off there and is meant to be on", "turn that on there instead"}},
		{fault: "h2_read_timeout", says: []string{"hands HTTP/2 to what speaks none"}},
		{fault: "upgrade_not_passed_on", says: []string{"header_up took it away, no handler before"}},

		// What a resolver's answer says of it.
		{fault: "dns_servfail", says: []string{"answered SERVFAIL: it runs, and could not find out"}, not: []string{"REFUSED", "does not serve"}},
		{fault: "dns_refused", says: []string{"neither SERVFAIL nor NXDOMAIN (REFUSED or the like): it runs", "does not serve this client or this name"}, not: []string{"DNSSEC"}},
		{fault: "dns_lame", says: []string{"it runs, has no such zone of its own, and offers to ask nobody else"}, not: []string{"does not run"}},
		{fault: "dns_nxdomain", says: []string{"another resolver should be asked can't be told", "leave resolvers out for them"}, not: []string{"both containers"}},
		{fault: "dns_label_too_long", says: []string{"a part of its name is too long", "no name has so long a part"}, not: []string{"dig", "create the name"}},
		{fault: "dynamic_lookup_server_failed", says: []string{"answered SERVFAIL"}},

		// What this process and its config tell of themselves.
		{fault: "descriptors_exhausted", says: []string{" sockets and ", " files of other kinds", "so neither visitors nor upstreams", "whether they leak"}, not: []string{"so many visitors or such slow"}},
		{fault: "dynamic_source_empty", says: []string{"no source is named in it", "Name a source in dynamic multi"}, not: []string{"passes over"}},
		{fault: "forward_proxy_wants_ntlm", says: []string{"in a way that Caddy does not have", "it wants them by Negotiate or NTLM", "Let the forward proxy take Basic"}, not: []string{"Write the user"}},
		{fault: "forward_proxy_wants_password", says: []string{"it wants them by Basic", "no user is written in the forward proxy's URL", "or ought to take"}},
		{fault: "tls_protocol_not_common", says: []string{"takes neither of the protocols that Caddy offers in TLS", "or a box in between takes no HTTP there", "set tls_server_name to one of its names"}},

		// How an answer over FastCGI ended.
		{fault: "fastcgi_body_reset", says: []string{"which comes also where a script has only counted its length wrong, had not come"}, not: []string{"a wrong length", "compare its Content-Length"}},
		{fault: "fastcgi_body_slow", says: []string{"did not send the whole of its answer within read_timeout 400 ms", "read_timeout counts for the whole answer"}, not: []string{"stopped sending", "had not come"}},

		// Who is out, and for how much.
		{fault: "unhealthy_after_failures", says: []string{"(connection_refused)", "nobody listens at 127.0.0.1:", "Start the application at 127.0.0.1:", "why nobody listens there"}, not: []string{"would work by now"}},
		{fault: "unhealthy_by_check", says: []string{"(the application, or a server in front of it)"}},
		{fault: "all_slots_taken", says: []string{"unhealthy_request_count 1: one request under way is enough", "requests that stay open"}},

		// What was sent again, and what was cut.
		{fault: "fastcgi_retried_without_body", says: []string{"to the whole one is not known", "request_buffers in force: 4096 bytes, and the body is longer", "or a server in front of it"}},
		{fault: "h2c_retried_without_body", says: []string{"request_buffers is not set", "for the attempt before was not carried out"}, not: []string{"Take such requests out"}},
		{fault: "upload_cut_by_answer", says: []string{"means to answer before the upload's end, or failed early"}, not: []string{"refuses"}},
		{fault: "socket_below_a_file", says: []string{"or a folder belongs where the file is, can't be told from here"}},

		// How a connection ended without an answer: what the time, the protocol, a code and a
		// second try exclude, and who may have reset it.
		{fault: "h2_closed_unanswered", says: []string{"no GOAWAY had come", "whether the header of an answer had begun can't be told", "no client certificate): what listens there", "its HTTP/2 fails upon Caddy's"}, not: []string{"time limit", "another protocol", "…"}},
		{fault: "h2c_closed_unanswered", says: []string{"it speaks HTTP/2", "no GOAWAY had come", "curl -v --http2-prior-knowledge http://"}, not: []string{"time limit", "another protocol"}},
		{fault: "h2c_cut_in_headers", says: []string{"whether the header of an answer had begun can't be told: over HTTP/2 it shows only once it is whole"}},
		{fault: "h2c_keepalive_race", says: []string{"no GOAWAY had come", "a rule against this request, and a crash upon this very request look the same"}},
		{fault: "h2_reset_unanswered", says: []string{"a server or a firewall in between", "it has never answered, and ended this after "}, not: []string{"for time, size", "another protocol", "no GOAWAY"}},
		{fault: "reset_unanswered_tls", says: []string{"no client certificate, a firewall in between): what listens there, and its log, tell"}, not: []string{"…"}},
		{fault: "reset_unanswered_unix", not: []string{"firewall"}},
		{fault: "reset_after_103", says: []string{"a server or a firewall in between, code that takes 103 for the answer"}},
		{fault: "cut_after_interim", says: []string{"a killed worker or a restart: it had the request"}, not: []string{"timeout", "a limit of its own", "had read all"}},
		{fault: "closed_late", says: []string{"had read all that was sent", "it has never answered, and ended this after ", "a port of another protocol"}, not: []string{"size"}},
		{fault: "closed_late_on_reused", says: []string{"was not found dead (keepalive_race): it lived on for "}, not: []string{"size"}},
		{fault: "buffered_body_retried", says: []string{"asked again, the same address answered this request with 200"}, not: []string{"another protocol", "a refusal"}},
		{fault: "reset_late_on_reused_get", says: []string{"it had given 1 answer before", "asked again, the same address answered this request with 200", "was not found dead (keepalive_race)"}, not: []string{"a refusal"}},
		{fault: "keepalive_race_get", says: []string{"asked again, the same address answered this request with 200"}, not: []string{"upon this very request", "a rule against"}},
		{fault: "closed_at_accept", says: []string{"what listens there, and its log, tell"}, not: []string{"had read all"}}, // a race decides whether it was asked before
		{fault: "closed_unanswered", says: []string{"it had read what had come by then", "another protocol or a PROXY header first"}, not: []string{"had read all"}},
		{fault: "fastcgi_reset_unanswered", says: []string{"ended the request, or its connection, without an answer", "closed or reset the connection", "a script without any output, and a port that speaks no FastCGI look the same"}, not: []string{"closed the connection without an answer"}},
		{fault: "h3_connection_closed", says: []string{"H3_NO_ERROR says that the server itself ended the connection", "had not answered anything before this request", "agreed on in the handshake (ALPN)"}, not: []string{"a crash", "a killed worker", "time limit"}},
		{fault: "h3_closed_on_reused", says: []string{"an idle timeout that crossed with the request"}, not: []string{"a crash", "a killed worker"}},
		{fault: "h3_upload_connection_closed", says: []string{"a panic, an exception or a handler that was aborted", "what failed in its HTTP/3"}, not: []string{"a killed worker", "time limit"}},

		// What is damaged, and by what.
		{fault: "tls_key_of_another", says: []string{"does not prove that the private key of its certificate is its own", "openssl pkey -pubout"}, not: []string{"Update the TLS library"}},
		{fault: "tls_certificate_unreadable", says: []string{"can't be read as one"}, not: []string{"may not be used"}},
		{fault: "gzip_corrupt", says: []string{"its checksum is another's"}, not: []string{"set twice"}},
		{fault: "gzip_cut", says: []string{"its gzip stream did not"}, not: []string{"set twice"}},
		{fault: "gzip_not_gzip", says: []string{"where gzip's header belongs, something else came", "it begins as text does: it is not compressed"}, not: []string{"printed in front of it", "set twice", "ended too early", "after a gzip stream"}},

		// How an answer ended, and what came after it.
		{fault: "body_cut", says: []string{"a restart", "a server in between"}, not: []string{"firewall"}},
		{fault: "body_reset", says: []string{"reset the connection", "a server or a firewall in between"}},
		{fault: "body_cut_in_chunk", says: []string{"it came in chunks, and ended in the middle of one", "an application that counts a chunk wrong"}, not: []string{"the last is missing", "leaves out the last"}},
		{fault: "fastcgi_body_cut", says: []string{"ended its answer, or the connection, before", "a script that ended early", "log of php-fpm"}, not: []string{"closed the connection"}},
		{fault: "fastcgi_body_shorter_than_said", says: []string{"ended its answer, or the connection, before", "a wrong length"}, not: []string{"closed the connection"}},
		{fault: "fastcgi_body_stalled", says: []string{"which comes when a script has no more to send, had not come", "nothing of it had come for ", "a pause that is meant"}, not: []string{"a length larger"}},
		{fault: "h2_body_stalled", says: []string{"its stream was not ended", "a pause that is meant"}, not: []string{"a length larger"}},
		{fault: "body_stalled", says: []string{"a length larger than what is sent"}, not: []string{"lost packets"}},
		{fault: "length_too_long", says: []string{"whether the length is wrong, what sends the rest was ended unnoticed, or it waited for something until its worker died", "a server in between"}, not: []string{"no more to say"}},
		{fault: "h2_body_shorter_than_said", says: []string{"a server in front of the application ended it"}},
		{fault: "h3_body_connection_closed", says: []string{"was still there to say so", "a server in between"}, not: []string{"a killed worker", "for a crash"}},
		{fault: "length_too_short", says: []string{"asking the application directly tells"}},
		{fault: "bytes_after_the_last_chunk", says: []string{"to its last chunk; 8 bytes more came", "after the last chunk of its answer", "the application or a server in front of it"}, not: []string{"Content-Length", "as was announced"}},
		{fault: "after_too_long_an_answer", says: []string{"and after it \"HTTP/1.\", with which an answer begins", "or printed in front of this one", "the application or a server in front of it"}, not: []string{"without its header"}},
		{fault: "after_too_long_an_answer_tls", says: []string{"and after it \"HTTP/1.\", with which an answer begins"}, not: []string{"without its header"}},
		{fault: "after_too_long_an_answer_alone", says: []string{"without its header", "the application or a server in front of it", "for which path that was, can't be told from here: its access log and curl -v tell"}, not: []string{"and after it"}},

		// What a forward proxy said, and what else may be there.
		{fault: "forward_proxy_cannot_reach", says: []string{"a wrong address, a firewall, an application that is down, a server that is no forward proxy, or none is meant for this upstream"}, not: []string{"name is known"}},
		{fault: "socks_unreachable", says: []string{"an application that is down, or none is meant for this upstream"}, not: []string{"name is known", "is no forward proxy"}},
		{fault: "forward_proxy_forbids", says: []string{"a server that is no forward proxy, or none is meant for this upstream"}},
		{fault: "forward_proxy_wants_password", says: []string{"wants a user and a password, and Caddy has none for it"}, not: []string{"another user", "a wrong one"}},
		{fault: "forward_proxy_malformed", says: []string{`what it answered begins with "no HTTP at all"`, "the scheme, the address or the port"}},
		{fault: "forward_proxy_closes", says: []string{"a published port leads to nobody"}, not: []string{"firewall"}},
		{fault: "forward_proxy_resets", says: []string{"a published port leads to nobody", "a firewall reset this"}},
		{fault: "forward_proxy_silent_plain", says: []string{"the client left before it had a whole answer", "whether the client was impatient"}, not: []string{"did this, why"}},
		{fault: "forward_proxy_closes_plain", says: []string{"or what else listens there did this", ", by the Host that was sent"}},
		{fault: "forward_proxy_answers_plain", says: []string{"is a server that is no forward proxy", ", by the Host that was sent"}},

		// TLS: what the handshake had said so far, what Caddy offered, and who else may answer.
		{fault: "tls_versions_too_old", says: []string{"Caddy offered TLS 1.2 and 1.3", "a box in between answers with older ones can't be told from here: "}},
		{fault: "tls_version_chosen_too_old", says: []string{"Caddy offered TLS 1.2 and 1.3", "Proxy error  tls_protocol_error", "has these turned off"}, not: []string{"tls_alert_received"}},
		{fault: "tls_handshake_failure", says: []string{"the server had asked for no certificate yet", "Caddy offered TLS 1.2 and 1.3", "whether it refuses a handshake without a name", "a box in between sends this"}},
		{fault: "client_certificate_missing_tls12", says: []string{"it had asked for a client certificate, and got none", "had chosen a version and a cipher of those offered", "set tls_client_auth"}, not: []string{"ciphers that are not shared"}},
		{fault: "tls_internal_error", says: []string{"nothing came before it", "a server that has no certificate for this name"}, not: []string{"a client certificate that it wants", "ciphers"}},
		{fault: "tls_name_missing_go", says: []string{"nothing came before it", "no certificate where no name is asked for"}},
		{fault: "h3_internal_error", says: []string{"one with a fault of its own, and a box in between look the same from here: its TLS log tells"}},
		{fault: "tls_unrecognized_name", says: []string{"another server or a box in between answers"}},
		{fault: "tls_name_missing", says: []string{"another server than is meant or a box in between answers"}},
		{fault: "misdirected_tls", says: []string{"does not serve this Host over a connection that began without a server name", "an application refuses it by a 421 of its own"}, not: []string{"wants a server name", "whether it has a certificate"}},
		{fault: "sni_invalid_jetty", says: []string{"another server than is meant answers"}, not: []string{"whether it has a certificate"}},
		{fault: "client_certificate_missing", says: []string{"by the application or a server in front of it"}},
		{fault: "client_certificate_unknown", says: []string{"does not know the authority of the client certificate that Caddy presented", "lacks an intermediate"}, not: []string{"its time, what it may be used for"}},
		{fault: "tls_renegotiation", says: []string{"tls_renegotiation is not set", "or only new keys"}},
		{fault: "tls_message_unexpected", says: []string{"or another program answers on this port", "tell"}},
		{fault: "tls_reset", says: []string{"was reset during the TLS handshake.", "and a box in between look the same from here"}, not: []string{"closed the connection"}},
		{fault: "tls_silent", says: []string{"waits for a PROXY header", "and a box in between look the same from here"}},
		{fault: "https_to_http_port", says: []string{"does not speak TLS on this port: it answered in plain HTTP.", `the first line that came back: "HTTP/1.1 400 Bad Request"`, "TLS is turned off there"}},
		{fault: "proxy_header_to_tls", says: []string{"answered a PROXY header and a TLS handshake with what is no TLS", "look the same from here: what this port is for tells"}, not: []string{"closes like this", "does not speak TLS"}},
		{fault: "certificate_other_name", says: []string{"asked for: db.internal, from tls_server_name", "change tls_server_name", "or its default certificate"}},
		{fault: "certificate_wrong_usage", says: []string{"the certificate itself is for clients", "it is for the name that was asked for"}},
		{fault: "certificate_self_signed", says: []string{"is self-signed, and none that Caddy trusts", "that of a box in between"}},
		{fault: "certificate_intermediate_missing", says: []string{"it came without its issuer's"}, not: []string{"is from an authority"}},
		{fault: "certificate_authority_unknown", says: []string{"another server or a box in between answers can't be told"}, not: []string{"is from an authority"}},
		{fault: "h3_certificate_untrusted_checked", says: []string{"it is for the name that was asked for"}},

		// Nothing that a record says denies another part of it.
		{fault: "buffered_body_retried", says: []string{"had not answered anything before this request", "this POST may have been carried out twice"}, not: []string{"has not answered"}},
		{fault: "h2c_upload_stream_reset", says: []string{"Phase        send", "servers send this code for those"}, not: []string{"for these servers"}},
		{fault: "h2_window_overflows", says: []string{"Phase        wait", "FLOW_CONTROL_ERROR, which says that the upstream allowed more to be sent on this stream", "Update the server at ", "avoids it, if curl -vk --http1.1"}, not: []string{"sent more than it was allowed", "which frame breaks"}},
		{fault: "reset_while_sending_after_100", says: []string{"bytes of the request's body, and the client's side had no error; how many of them the upstream took is not known"}},
		{fault: "h2_header_with_newline", says: []string{`as value of the field "x-bad"`, "HTTP takes no line break in a value"}, not: []string{"avoids it", "lower case"}},
		{fault: "h2_header_name_in_capitals", says: []string{"Correct the name of the field ", "lower case alone", "avoids it"}},

		// Who ended a stream or a connection of HTTP/2 or HTTP/3, and what that can't have been.
		{fault: "h2_stream_refused_post", says: []string{"it was the first stream of its connection", "a box in between, was stopping"}, not: []string{"too many at once"}},
		{fault: "h2_stream_refused_post_checked", says: []string{"it was the first stream of its connection"}, not: []string{"too many at once"}},
		{fault: "h3_request_rejected", says: []string{"no more streams are opened at once than the upstream allows"}, not: []string{"too many at once"}},
		{fault: "h2_stream_reset", says: []string{"or a box in between gave it up, why, and for this request alone or for each, can't be told", "If there is none, look at the log of its server"}},
		{fault: "h2_stream_reset_cancel", says: []string{"has no deadline of gRPC (grpc-timeout)", "gave the request up at once"}, not: []string{"a timeout of its own"}},
		{fault: "h2_goaway_unprocessed_error", says: []string{"one over all connections", "had carried nothing before"}, not: []string{"resets, pings"}},
		{fault: "h2_goaway_unprocessed", says: []string{"GOAWAY with the error code NO_ERROR: the upstream said", "a server or a box in between that stops, that is overloaded", "request_buffers"}},
		{fault: "h2_goaway_then_closed", says: []string{"INTERNAL_ERROR says that something failed in it", "in the application, its server or in between"}},

		// Which rule was broken, where that is known.
		{fault: "h2_body_framing", says: []string{"than HTTP/2 can count (WINDOW_UPDATE)"}, not: []string{"sent more than it was allowed", "which frame breaks"}},
		{fault: "h2_data_before_headers", says: []string{"PROTOCOL_ERROR: a body (DATA) came before its header, or ", "for this request or for each"}},
		{fault: "h2_frame_too_large", says: []string{"larger than Caddy takes, which it had said (SETTINGS_MAX_FRAME_SIZE)"}, not: []string{"which frame breaks"}},
		{fault: "h2c_settings_malformed", says: []string{"its first frame, SETTINGS, has 3 bytes, which is no multiple of 6"}, not: []string{"which frame breaks"}},
		{fault: "h2_hpack_broken", says: []string{"no max_response_header is set", "makes it so, and for this request or for each"}, not: []string{"which frame breaks"}},
		{fault: "h2_headers_without_status", says: []string{"missing status", "makes it so, and for this request or for each"}, not: []string{"which frame breaks"}},
		{fault: "h3_headers_without_status", says: []string{"breaks the rules of HTTP/3, and Caddy refused", "missing :status field"}, not: []string{"which frame breaks"}},
		{fault: "h3_data_before_headers", says: []string{"does not begin with its headers"}, not: []string{"which frame breaks"}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			wantWords(t, recordOf(t, test.fault), test.says, test.not)
		})
	}
}
