package cause

import (
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Texts of HTTP/2's transport, for errors that have no type of their own.
const (
	textFramePayload     = "http2: failed reading the frame payload: "
	textLooksLikeHTTP1   = ", note that the frame header looked like an HTTP/1.1 header"
	textReceivedGoaway   = "http2: Transport received GOAWAY from server ErrCode:"
	textGracefulGoaway   = "http2: Transport received Server's graceful shutdown GOAWAY"
	textSentGoaway       = "http2: server sent GOAWAY and closed the connection"
	textNotEstablished   = "http2: client conn could not be established"
	textCannotRetry      = "http2: Transport: cannot retry err ["
	textStreamError      = "stream error: "
	textFromPeer         = "received from peer"
	textTooMuchForLength = "net/http: server replied with more than declared Content-Length; truncated"
)

// closedAfterPreface is all that is known where a connection in the clear was gone
// before its first request: what came back is kept from us.
const closedAfterPreface = "the connection was closed before the request had been sent: an upstream that does not speak HTTP/2 does so, and so does one that crashed"

// afterPreface is the finding of that.
func afterPreface() finding {
	f := found(Unknown, closedAfterPreface)
	f.summary = "{upstream} closed the connection before it was sent the request over HTTP/2: it does not speak that, or it crashed; nothing tells which."
	return f.advise("Look whether {upstream} speaks HTTP/2 without TLS (curl -v --http2-prior-knowledge http://{address}/): if it does not, write http:// instead of h2c://; if it does, look in its log for a crash at this time.")
}

// spokeHTTP2 says that an upstream has shown that it speaks HTTP/2: it kept an idle
// connection, or took more of a body than may be sent unasked, which is 64 KiB (RFC
// 9113 section 6.9.2) and as much again for what was read but not sent.
func spokeHTTP2(t *try) bool {
	return t.Connection != nil && t.Connection.WasIdle && t.Connection.Idle > roundTrip || t.RequestBytes > 128<<10
}

// http2Cause finds the cause where HTTP/2 has an error of its own.
func http2Cause(t *try) finding {
	phase, framing := reached(t.Attempt), framedIn(t)
	switch phase {
	case failure.PhaseSend:
		if !uploading(t) {
			phase = failure.PhaseWait
		}
	case failure.PhaseBody:
		framing = failure.PhaseBody
	}
	if f := openingCause(t); f.is() {
		return f
	}
	if stream, ok := errors.AsType[http2.StreamError](t.err); ok {
		return streamCause(t, stream, phase, framing)
	}
	if goaway, ok := errors.AsType[http2.GoAwayError](t.err); ok {
		said := "GOAWAY with the error code " + goaway.ErrCode.String()
		if f := codeWants(t.Attempt, goaway.ErrCode.String(), said); f.is() {
			return f.at(phase)
		}
		f, decides := goawayCause(t, said).inWords(goaway.DebugData, goaway.ErrCode.String())
		if !decides {
			f = f.blamed(t, goaway.ErrCode.String())
		}
		return f.at(phase)
	}
	if broken, ok := errors.AsType[http2.ConnectionError](t.err); ok {
		return connectionErrorCause(t, http2.ErrCode(broken), framing)
	}
	if whole := t.errorText(); strings.HasPrefix(whole, textFramePayload) && strings.HasSuffix(whole, textLooksLikeHTTP1) {
		return onlyHTTP1(t, "where a frame belongs, HTTP/1 came")
	}
	if errors.Is(t.err, http2.ErrFrameTooLarge) {
		return framingCause(t, "Caddy's side ended the connection: a frame came that is larger than Caddy takes, which it had said (SETTINGS_MAX_FRAME_SIZE), and is no HTTP/1.1").at(framing).leavesOpen(openTooLarge(t))
	}
	text := strings.TrimPrefix(t.text(), textCannotRetry)
	switch {
	case strings.HasPrefix(text, textReceivedGoaway):
		code := text[len(textReceivedGoaway):]
		if end := strings.IndexFunc(code, func(r rune) bool { return !isNameRune(r) }); end >= 0 {
			code = code[:end]
		}
		return goawayCause(t, "GOAWAY with the error code "+code+": the upstream said that this request was not processed").blamed(t, code).at(phase)
	case strings.HasPrefix(text, textGracefulGoaway):
		said := "the upstream said that this request was not processed"
		if alone(t.Attempt) { // of a connection's first request, another code would be told
			said = "GOAWAY with the error code NO_ERROR: " + said
		}
		return goawayCause(t, said).at(phase)
	case strings.HasPrefix(text, textSentGoaway):
		return goawayCause(t).at(phase)
	case strings.HasPrefix(t.text(), textCannotRetry+textStreamError):
		// Only what the peer reset is ever tried again; its code stands in the middle.
		code := strings.TrimSuffix(strings.TrimPrefix(t.text(), textCannotRetry+textStreamError), "; "+textFromPeer)
		if parts := strings.Split(code, "; "); len(parts) > 1 {
			return resetCause(t, parts[1], phase)
		}
		return found(StreamReset).at(phase)
	case text == textTooMuchForLength:
		return found(ResponseLengthExceeded, "more of a body came than its Content-Length says").at(failure.PhaseBody).cutAtLength()
	case text == textNotEstablished && !t.TLS:
		return afterPreface().at(failure.PhaseSend)
	case text == textNotEstablished:
		return afterHandshake().at(failure.PhaseSend)
	}
	return nothing
}

// openTooLarge is openMaker for a frame that is too large: bytes that are no frame at all
// mostly look so. Over TLS nobody hears whether HTTP/2's settings had come.
func openTooLarge(t *try) string {
	if saidItsSettings(t) {
		return openMaker
	}
	return "whether the server makes it so, a box in between, or what speaks no HTTP/2 behind one that agreed on it, and for this request or for each, can't be told from here: curl -v --http2, and a debug log of the server, tell"
}

// uploading says that an attempt ended in the middle of the request's body. One that was
// read whole may have been sent or not.
func uploading(t *try) bool {
	return t.RequestBytes > 0 && t.Request != nil && (t.Request.ContentLength < 0 || t.RequestBytes < t.Request.ContentLength)
}

// openingCause looks at how a connection of HTTP/2 in the clear began, where no
// answer came: what speaks another protocol shows there.
func openingCause(t *try) finding {
	if t.protocol != protocolH2C || t.FirstByte > 0 || t.Connection == nil {
		return nothing
	}
	first := string(t.Connection.Opening)
	evidence := "the connection begins with " + said(first)
	switch {
	case isTLSAlert(first):
		return wantsTLS(t.Attempt, found(TLSExpected, evidence+alertWords(first)))
	case saysTLS(t.Connection.Opening):
		return wantsTLS(t.Attempt, found(TLSExpected, evidence))
	case strings.HasPrefix(first, "HTTP/"):
		return onlyHTTP1(t, evidence)
	case isGreeting(first):
		return otherProtocol(first, evidence)
	}
	return nothing
}

// streamCause is that of one stream's error: the upstream reset it, or our side did
// because of what came.
func streamCause(t *try, stream http2.StreamError, phase, framing failure.Phase) finding {
	evidence := "Caddy's side ended the stream: HTTP/2 error code " + stream.Code.String()
	known := false
	switch {
	case stream.Cause != nil && stream.Cause.Error() == textFromPeer:
		return resetCause(t, stream.Code.String(), phase)
	case stream.Cause != nil && stream.Cause.Error() == textH2HeadersExceeded:
		return found(ResponseHeadersTooLarge, "Caddy's side ended the stream, for its own limit: the error code is not the upstream's")
	case stream.Code == http2.ErrCodeCancel:
		return nothing // of our own making
	case stream.Cause == nil:
		var rule string
		rule, known = ruleOfStream(t, stream.Code)
		evidence += rule
	default:
		known = true
		evidence += ": " + withoutSecrets(stream.Cause.Error())
	}
	f := framingCause(t, evidence).at(framing)
	if known {
		f = f.leavesOpen(openMaker)
	}
	switch {
	case framing != failure.PhaseHeaders || !ofHeader(stream.Cause):
	case isField(stream.Cause):
		f.summary = summaryBrokenHeader
		f.advice = fieldAdvice(t, stream.Cause.Error())
		f.undecided = "whether the application or a server in front of it sets it so, and in this answer or in each, can't be told from here: asking the application directly tells"
	default:
		f.summary = summaryBrokenHeader
	}
	return f
}

// gaveUp says that the upstream gave the request up by RST_STREAM with CANCEL.
func gaveUp(err error) bool {
	stream, ok := errors.AsType[http2.StreamError](err)
	return ok && stream.Code == http2.ErrCodeCancel && stream.Cause != nil && stream.Cause.Error() == textFromPeer
}

// connectionErrorCause is that of a connection which our side ended because of what
// came. Headers that are much larger than allowed have the same error as broken ones:
// x/net's Framer gives the one up with PROTOCOL_ERROR, a single long field with
// COMPRESSION_ERROR. Its own limit is 10 MiB, that of a config may be anything.
func connectionErrorCause(t *try, code http2.ErrCode, framing failure.Phase) finding {
	evidence := "Caddy's side ended the connection: HTTP/2 error code " + code.String()
	unread := unreadHeader(t.Attempt)
	ambiguous := code == http2.ErrCodeProtocol || code == http2.ErrCodeCompression
	if ambiguous && (t.FirstByte == 0 || unread) && (t.Limits == nil || t.Limits.MaxResponseHeader > 0) {
		most := "max_response_header"
		if t.Limits != nil {
			most += " (" + counted(t.Limits.MaxResponseHeader, "byte") + ")"
		}
		f := found(Unknown, evidence, "broken headers, or more than "+most+": both give this error").at(failure.PhaseHeaders)
		f.summary = "{upstream} answered in HTTP/2 with broken headers, or with far more than max_response_header allows: nothing tells which."
		byHand := "curl -vk --http2 https://{address}/"
		if t.protocol == protocolH2C {
			byHand = "curl -v --http2-prior-knowledge http://{address}/"
		}
		return f.advise("Measure the headers of this answer (" + byHand + "): if they are large, cut them (cookies mostly) or raise max_response_header; if not, report them to whoever makes the upstream's server.").
			leavesOpen("whether the headers are too large or break the rules, and the application's or a server's in front of it, can't be told from here: what comes by hand tells")
	}
	known := code == http2.ErrCodeCompression
	if known {
		evidence += ": a header came that can't be decoded (HPACK)"
		if framing == failure.PhaseWait {
			framing = failure.PhaseHeaders
		}
	}
	evidence += ruleBroken(code)
	if !alone(t.Attempt) {
		evidence += ", upon what came for this request or for another on the same connection"
	}
	f := framingCause(t, evidence).at(framing)
	if code == http2.ErrCodeFrameSize && saidItsSettings(t) {
		if size := int(t.Connection.Opening[1])<<8 | int(t.Connection.Opening[2]); size%6 != 0 {
			f.evidence = append(f.evidence, fmt.Sprintf("its first frame, SETTINGS, has %d bytes, which is no multiple of 6", size))
			known = true
		}
	}
	if known {
		f = f.leavesOpen(openMaker)
	}
	if ambiguous && (t.FirstByte == 0 || unread) {
		f.evidence = append(f.evidence, "no max_response_header is set that a long header could exceed")
	}
	if unread {
		f.summary = summaryUnreadHeader
	}
	return f
}

// fastCGICause finds the cause where an answer is not FastCGI, or its headers are
// not what CGI says.
func fastCGICause(t *try) finding {
	if t.protocol != protocolFastCGI {
		return nothing
	}
	if mayBeCut(t.text()) {
		return cutOrMalformed(t)
	}
	if noNumber, ok := errors.AsType[*strconv.NumError](t.err); ok {
		says := noNumber.Num
		if failure.IsCredential(says) {
			says = failure.Redacted
		}
		return found(FastCGIMalformed, "where a status belongs, the script says "+said(says), fastCGIRead).advise("Let the script begin its Status with a number from 200 to 599 (Status: 404 Not Found).")
	}
	if _, malformed := errors.AsType[textproto.ProtocolError](t.err); malformed {
		return found(FastCGIMalformed, append(malformedLine(t.text()), fastCGIRead)...).advise("Correct the header that the script prints: a name and a colon in each line, and an empty line after the last.")
	}
	if strings.HasPrefix(t.text(), "fcgi: ") {
		f := found(FastCGIMalformed, "Caddy's FastCGI refused what came: "+errorWords(t.err))
		if t.text() == textFastCGIVersion {
			f.evidence[0] += ", where a record of FastCGI's begins with 1"
		}
		f.evidence = append(f.evidence, beforeWords(t)...)
		return f.leavesOpen("a server of HTTP or of another protocol there, and one of FastCGI that writes broken records, look the same from here: what listens there tells")
	}
	return nothing
}

// textFastCGIVersion is Caddy's, of a record that does not begin as one.
const textFastCGIVersion = "fcgi: invalid header version"

// fastCGIRead is for an answer whose header, the script's own, was not good.
const fastCGIRead = "the records of FastCGI around it could be read: it speaks FastCGI"

// refusedUnprocessed says that the peer said of the request that it wasn't
// processed: it refused the stream, or its GOAWAY names an earlier one as the last
// (RFC 9113 sections 6.8 and 8.7). A connection that closed before it was used
// carried no request at all.
func refusedUnprocessed(err error) bool {
	if stream, ok := errors.AsType[http2.StreamError](err); ok {
		return stream.Code == http2.ErrCodeRefusedStream && stream.Cause != nil && stream.Cause.Error() == textFromPeer
	}
	if strings.HasPrefix(layer(err, textH3Code), textH3Rejected) || layer(err, textH3Goaway) != "" {
		return true // RFC 9114 sections 4.1.1 and 5.2
	}
	text := innermost(err)
	if text == textCannotRewind {
		return true // the connection took no more requests
	}
	if strings.HasPrefix(text, textCannotRetry+textStreamError) {
		return strings.Contains(text, "; REFUSED_STREAM; "+textFromPeer)
	}
	text = strings.TrimPrefix(text, textCannotRetry)
	return text == textNotEstablished || strings.HasPrefix(text, textReceivedGoaway) || strings.HasPrefix(text, textGracefulGoaway)
}

var StreamReset = &Row{
	Name: "stream_reset", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseWait, Side: failure.SideUpstream,
	Summary:      "{upstream} ended the request's stream with an error.",
	Advice:       "Look at the log of the server at {upstream} at this time for the error's code, which is in the evidence.",
	Meaning:      "Over HTTP/2 or HTTP/3, the upstream ended this request alone, with an error code; the connection goes on.",
	RecognisedBy: "RST_STREAM of the upstream's, or its HTTP/3 twin; the evidence has the code, and what it says: the advice goes by it. REFUSED_STREAM and H3_REQUEST_REJECTED mean that the request was not processed.",
	Witnesses:    []Witness{WitnessReceived, WitnessError},
	Undecided:    "whether the application, its server, or a box in between gave it up, why, and for this request alone or for each, can't be told from here: their logs tell",
	UsualReasons: []string{
		"the application's handler crashed (INTERNAL_ERROR)",
		"too many streams at once, or a restart (REFUSED_STREAM)",
		"the upstream gave the request up for its own timeout (CANCEL)",
		"the upstream is asked more than it allows (ENHANCE_YOUR_CALM), or finds fault with the request (PROTOCOL_ERROR)",
	},
	Fix: Fix{
		Caddy:       "HTTP/1.1 shows whether it is the protocol or the application.",
		Caddyfile:   inTransportTo("https://app:8443", "versions 1.1"),
		Docker:      nothingToChange,
		Application: "Look at its log at this time; where the code is REFUSED_STREAM, at its server's: the application saw nothing.",
	},
	Rivals: []Rival{
		{"http_framing_error", "the reset was received from the upstream; the error says so"},
		{"goaway", "the error is about one stream, not the connection"},
		{"http_version_mismatch", "the code does not say which version of HTTP is wanted (HTTP_1_1_REQUIRED)"},
	},
}

var Goaway = &Row{
	Name: "goaway", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseWait, Side: failure.SideUpstream,
	Summary:      "{upstream} ended the whole connection (GOAWAY) before this request was answered in full.",
	Advice:       "If the upstream was restarted, let it finish what runs before it stops; else raise the number of requests or the age after which it ends a connection.",
	Meaning:      "Over HTTP/2 or HTTP/3, the upstream said that it takes no more requests on the connection, and this one was not answered, or not in full.",
	RecognisedBy: "GOAWAY of the upstream's, or a request that could not be repeated after one, or was without an end until the client left; the evidence has the code where there is one, what the upstream said of it in words, and how many requests the connection had carried.",
	Witnesses:    []Witness{WitnessReceived, WitnessError, WitnessPast},
	Undecided:    "a restart, and a limit on a connection's requests or its age, look the same from here: its log tells",
	UsualReasons: []string{
		"the upstream is restarting or was deployed anew",
		"it ends connections after a number of requests (keepalive_requests of nginx, 1000 by default) or an age",
		"it disliked what was sent on the connection (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)",
		"a server of gRPC ends connections of some age, and what still runs on them a while later (max_age)",
		"it can't go on from how Go's HTTP/2 begins, and ends each new connection (old Tengine)",
	},
	Fix: Fix{
		Caddy:       "A GET is tried again by itself; a POST is where its body is buffered and lb_retry_match names it.",
		Caddyfile:   inProxyTo("h2c://app:8080", "request_buffers 1MiB", "lb_retries 2", "lb_retry_match {", "\tmethod POST", "}"),
		Docker:      "Give the container time to end its requests: stop_grace_period.",
		Application: "Send GOAWAY with NO_ERROR first, finish what runs, and close then.",
	},
	Rivals: []Rival{
		{"stream_reset", "the error is about the connection, not one stream"},
		{"closed_before_response", "the error names GOAWAY, or it was heard"},
		{"client_closed_request", "the client left while each new connection was ended so"},
		{"http_framing_error", "the GOAWAY was received from the upstream"},
		{"http_version_mismatch", "its code does not say which version of HTTP is wanted (HTTP_1_1_REQUIRED)"},
		{"retried_without_body", "the request was refused by the connection it was sent on; no repeat of it was sent"},
	},
}

var HTTPFramingError = &Row{
	Name: "http_framing_error", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "{upstream} broke the rules of HTTP/2 or HTTP/3.",
	Advice:       "Report it to whoever makes the upstream's server; versions 1.1 in the transport avoids it.",
	Meaning:      "The upstream sent HTTP/2 or HTTP/3 frames that break the protocol's rules, and Caddy's side ended the stream or the connection.",
	RecognisedBy: "An error of the protocol that this side raised: it was not received from the upstream. The evidence has its code.",
	Witnesses:    []Witness{WitnessError, WitnessAsked},
	Undecided:    "which frame breaks which rule beyond this, for this request or for each, and whether the application, its server, or a box in between made it, can't be told from here: a debug log of the server, or a capture, tells",
	UsualReasons: []string{
		"a server or a box on the way with a broken implementation",
		"header fields that HTTP/2 forbids, such as Connection, or names with capital letters",
	},
	Fix: Fix{
		Caddy:       "Speak HTTP/1.1 to it.",
		Caddyfile:   inTransportTo("https://app:8443", "versions 1.1"),
		Docker:      nothingToChange,
		Application: "Update its HTTP server; report what the error says to whoever makes it.",
	},
	Rivals: []Rival{
		{"stream_reset", "the error does not say that it was received from the upstream"},
		{"goaway", "the error does not say that it was received from the upstream"},
		{"response_headers_too_large", "max_response_header is not set, or the error code in the evidence is not one that headers which are too large have; else the cause is unknown"},
	},
}

var FastCGIMalformed = &Row{
	Name: "fastcgi_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "The answer of {upstream} breaks the rules of FastCGI or CGI.",
	Advice:       "Check that a FastCGI server listens at this address; for an HTTP server use reverse_proxy without transport fastcgi.",
	Meaning:      "The upstream answered, and its answer is not FastCGI, or its headers are not what CGI allows.",
	RecognisedBy: "FastCGI's reader refused the record, the header or the Status field; the error says which.",
	Witnesses:    []Witness{WitnessError, WitnessReceived},
	Undecided:    "whether the script, something that runs before it (a file that is prepended, a warning of PHP's), or its server prints this, and for this request alone or for all, can't be told from here: the script tells",
	UsualReasons: []string{
		"an HTTP server behind php_fastcgi or transport fastcgi",
		"a script that prints before its headers",
	},
	Fix: Fix{
		Caddy:       "Use php_fastcgi for a FastCGI server alone, and plain reverse_proxy for one that speaks HTTP.",
		Caddyfile:   "php_fastcgi unix//run/php/php-fpm.sock",
		Docker:      "The images php:fpm speak FastCGI on port 9000; php:apache speak HTTP on port 80.",
		Application: "Let the script print its headers first, each in a line of its own.",
	},
	Rivals: []Rival{
		{"closed_before_response", "something came back that is no FastCGI"},
	},
}
