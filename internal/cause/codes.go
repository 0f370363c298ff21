package cause

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What an error code of HTTP/2 or HTTP/3 says, and who raised it: the upstream, of the
// request, or Caddy's side, of the answer.

// meaning is what a code says by which an upstream ends a request (RFC 9113 section 7,
// RFC 9114 section 8.1).
type meaning struct {
	codes []string
	// says is what it says, after its name.
	says string
	// summary stands in for the row's; "" where that will do.
	summary, advice string
	// undecided is what the code leaves open, "" for what the row says.
	undecided string
	// onFirst and undecidedOnFirst stand in for advice and undecided where a connection's
	// limits can't be what was reached; "" where that makes no difference.
	onFirst, undecidedOnFirst string
	// avoidable says that another version of HTTP does without it.
	avoidable bool
}

// advises is what is advised by a code.
func (m *meaning) advises(t *try) string {
	if m.avoidable {
		return m.advice + avoidance(t)
	}
	return m.advice
}

// adviceGaveUp is for a stream that the upstream gave up. A gRPC server knows the
// client's deadline by grpc-timeout; where the request has none, or where it had no time to
// run out, that is not it.
const (
	adviceGaveUp       = "Look at the log of {upstream} at this time for why it gave the request up: a timeout of its own, or the deadline that a gRPC client sends along (grpc-timeout)."
	adviceGaveUpLater  = "Look at the log of {upstream} at this time for why it gave the request up: a timeout of its own, or a handler that was aborted."
	adviceGaveUpAtOnce = "Look at the log of {upstream} at this time for why it gave the request up at once: a handler that was aborted, a rule against it, or a failure of what it passes requests on to."
)

// adviceSendAgain is for what the upstream did not process.
const adviceSendAgain = " What it refuses can be sent again: a GET is by itself, others by request_buffers, lb_retries and lb_retry_match."

// meanings are those of the codes that tell where to look.
var meanings = []meaning{
	{
		codes:     []string{"REFUSED_STREAM", "H3_REQUEST_REJECTED"},
		says:      "it did not process the request",
		summary:   "{upstream} refused the request's stream without processing it.",
		advice:    "Look at the log of the server at {upstream} at this time, not at its application's, which saw nothing of this request: servers refuse streams while they stop, when they are overloaded, and where there are too many at once (max concurrent streams)." + adviceSendAgain,
		undecided: "whether it, or a box in between, was stopping, overloaded, at a limit of its own, or refuses this on purpose can't be told from here: the log of each tells",

		onFirst:          "Look at the log of the server at {upstream} at this time, not at its application's, which saw nothing of this request: servers refuse streams while they stop, when they are overloaded, and at a limit of theirs other than max concurrent streams." + adviceSendAgain,
		undecidedOnFirst: "whether it, or a box in between, was stopping, overloaded, at another limit of its own (of all connections), or refuses this on purpose can't be told from here: the log of each tells",
	},
	{
		codes:  []string{"INTERNAL_ERROR", "H3_INTERNAL_ERROR"},
		says:   "something failed in it",
		advice: "Look at the log of the application at {upstream} at this time for a panic, an exception or a handler that was aborted: servers send this code for those. If there is none, look at the log of its server, or of a box in between.",
	},
	{
		codes:  []string{"CANCEL", "H3_REQUEST_CANCELLED"},
		says:   "it no longer works on the request",
		advice: adviceGaveUp,
	},
	{
		codes:     []string{tooMuch, "H3_EXCESSIVE_LOAD"},
		says:      "Caddy asks too much of it",
		advice:    "Look at the log of the server at {upstream} at this time for the limit that it names (streams and requests on a connection or of all clients, resets, pings, the size of a header): raise that one, or send less.",
		undecided: "which limit of its own was reached, and by what, or whether it says so wrongly, can't be told from here: its log tells",

		onFirst:          "Look at the log of the server at {upstream} at this time for the limit that it names, one over all connections (how many there are, requests in a time): this connection had carried nothing before. Raise that one, or send less.",
		undecidedOnFirst: "whether it, or a box in between, was at a limit over all connections, and who reached it, or whether it says so wrongly, can't be told from here: its log tells",
	},
	{
		codes: []string{
			"PROTOCOL_ERROR", "H3_GENERAL_PROTOCOL_ERROR", "H3_MESSAGE_ERROR", "H3_REQUEST_INCOMPLETE",
		},
		says:      "it finds fault with what Caddy sent",
		advice:    "Look in the log of the server at {upstream} for what it finds wrong with the request: mostly a field of its header (what does header_up set?), which its application never sees.",
		undecided: "what it finds wrong, and whether it, or a box in between, is right in that, can't be told from here: its log tells",
	},
	{
		codes: []string{
			"FLOW_CONTROL_ERROR", "FRAME_SIZE_ERROR", "COMPRESSION_ERROR", "H3_FRAME_ERROR", "H3_FRAME_UNEXPECTED", "QPACK_DECOMPRESSION_FAILED",
		},
		says:      "it finds fault with the frames in which Caddy sent it",
		advice:    "Update the server at {upstream}, or the box in between that speaks this protocol: it finds fault with frames, which the words of a request mostly don't decide. Its log, with debugging on, names the frame.",
		undecided: "which side breaks the rules, and in which frame, can't be told from here: a debug log of the server, or a capture, tells",
		avoidable: true,
	},
}

// meaningOf is what a code says; nil where it tells nothing of where to look.
func meaningOf(code string) *meaning {
	for i := range meanings {
		if slices.Contains(meanings[i].codes, code) {
			return &meanings[i]
		}
	}
	return nil
}

// resetCause is that of a stream which the upstream reset with this code.
func resetCause(t *try, code string, phase failure.Phase) finding {
	protocol := "HTTP/2"
	if t.protocol == protocolHTTP3 {
		protocol = "HTTP/3"
	}
	evidence := "the upstream reset the stream: " + protocol + " error code " + code
	if f := codeWants(t.Attempt, code, evidence); f.is() {
		return f.at(phase)
	}
	m := meaningOf(code)
	if m == nil {
		return found(StreamReset, append([]string{evidence}, workedBefore(t)...)...).at(phase)
	}
	f := found(StreamReset, append([]string{evidence + ", which says that " + m.says}, workedBefore(t)...)...).at(phase).advise(m.advises(t))
	f.summary, f.undecided = m.summary, m.undecided
	switch {
	case m.onFirst == "":
		f = f.ofLargeHeader(t, code)
	case code == textH3Rejected:
		f.evidence = append(f.evidence, "over QUIC no more streams are opened at once than the upstream allows: it was not max concurrent streams")
		f = m.upon(t, f)
	case strings.Contains(t.errorText(), textStreamError+"stream ID 1; "): // HTTP/2 numbers a connection's streams 1, 3, 5
		f.evidence = append(f.evidence, "it was the first stream of its connection: no other one counted against max concurrent streams")
		f = m.upon(t, f)
	default:
		f = f.ofLargeHeader(t, code)
	}
	if m.advice == adviceGaveUp && t.Request != nil && t.Request.Header.Get("Grpc-Timeout") == "" {
		f.evidence = append(f.evidence, "the request has no deadline of gRPC (grpc-timeout)")
		f.advice = adviceGaveUpLater
		if t.FirstByte == 0 && elapsed(sent(t), t.end) <= bound(t) {
			f.advice = adviceGaveUpAtOnce
		}
	}
	return f
}

// upon advises by a code that ended a connection's first request. A small header reaches no
// limit.
func (m *meaning) upon(t *try, f finding) finding {
	f = f.advise(m.onFirst).leavesOpen(m.undecidedOnFirst)
	if m.codes[0] != tooMuch {
		return f
	}
	evidence, size := headerSize(t.Attempt)
	f.evidence = append(f.evidence, evidence...)
	if t.Request == nil || size >= smallHeader {
		f.advice += " It may be one on the size of a header, too."
		f.undecided = strings.Replace(f.undecided, "over all connections, and", "over all connections or at one on a header, and", 1)
	}
	return f
}

// ofLargeHeader adds how large a request's header is, where that may be what the upstream finds
// fault with by this code: nginx says tooMuch of it, others (Envoy, Jetty) that a rule was broken.
func (f finding) ofLargeHeader(t *try, code string) finding {
	switch code {
	case tooMuch, http2.ErrCodeProtocol.String(), http2.ErrCodeCompression.String():
	default:
		return f
	}
	evidence, size := headerSize(t.Attempt)
	fields, _, _, _ := measured(t.Attempt, perField)
	if size < smallHeader && fields < manyFields {
		return f
	}
	f.evidence = append(f.evidence, evidence...)
	return f.advise(f.advice + adviceLargeHeader)
}

// manyFields is about how many a header may have at servers that count them: Envoy takes 100,
// and Caddy's transport adds some.
const manyFields = 90

// adviceLargeHeader is for a code that says of no limit which one it is.
const adviceLargeHeader = " This request's header is a large one: most likely it is a limit on that, if only such requests end so (large_client_header_buffers of nginx; Envoy takes 100 fields)."

// tooMuch is the code of a server that is asked too much.
const tooMuch = "ENHANCE_YOUR_CALM"

// blamed advises by the code with which the upstream ended a connection, where that says
// more than that it was ended.
func (f finding) blamed(t *try, code string) finding {
	switch code {
	case tooMuch, "PROTOCOL_ERROR", "FLOW_CONTROL_ERROR", "FRAME_SIZE_ERROR", "COMPRESSION_ERROR":
		m := meaningOf(code)
		f.evidence = append(f.evidence, code+" says that "+m.says)
		f.side = ""
		if m.onFirst != "" && strings.HasPrefix(f.advice, adviceGoawayAtOnce) {
			return m.upon(t, f)
		}
		return f.advise(m.advises(t)).leavesOpen(orText(m.undecided, f.undecided)).ofLargeHeader(t, code)
	}
	if code != http2.ErrCodeNo.String() && (f.advice == "" || strings.HasPrefix(f.advice, adviceGoawayAtOnce)) {
		if m := meaningOf(code); m != nil {
			f.evidence = append(f.evidence, code+" says that "+m.says)
		}
		return f.advise("Look at the log of {upstream} at this time: it ended the connection for an error, whose code is in the evidence, and not because it stops.").
			leavesOpen("why can't be told from here (a failure upon this request, or on each connection, in the application, its server or in between): its log tells")
	}
	return f
}

// goawayWords are what servers of gRPC say of a GOAWAY in words. They tell what a code does not:
// an age, a stop and a restart all have NO_ERROR. Of several GOAWAY, Go keeps the first words and
// the last code, so that both have to fit.
var goawayWords = []struct {
	words, code       string
	advice, undecided string
}{
	{
		words: "max_age", code: "NO_ERROR",
		advice:    "Look in the log of the gRPC server at {upstream} whether it was stopped: it had said that the connection was old enough, after which what still runs may go on for as long as max_connection_age_grace says, by default without an end. If that is set, raise it; for streams that never end raise max_connection_age instead, or let their client open them again.",
		undecided: "whether that time was over, or the server was stopped or crashed within it, can't be told from here: its log tells",
	},
	{
		words: "graceful_stop", code: "NO_ERROR",
		advice:    "Let the gRPC server at {upstream} finish what runs before its process ends: it was being stopped (GracefulStop in Go), and its connection ended before this request did. Streams that never end have to be ended by the application when it stops.",
		undecided: "what ended it before this request (a limit of its own on the time to stop, or who stops it: docker stop waits for 10 s) can't be told from here: its log tells",
	},
	{
		words: "too_many_pings", code: "ENHANCE_YOUR_CALM",
		advice:    "Let the gRPC server at {upstream} take pings more often (grpc.http2.min_ping_interval_without_data_ms; MinTime and PermitWithoutStream of keepalive.EnforcementPolicy in Go; permitKeepAliveTime in Java). Caddy sends one along when it gives up a request, mostly because a client left.",
		undecided: "whether clients leave too often, or its rule is too strict, can't be told from here: its log, and Caddy's, tell",
	},
}

// inWords adds what the upstream said of its GOAWAY beside the code (RFC 9113 section 6.8), and
// says whether that decides where to look.
func (f finding) inWords(words, code string) (finding, bool) {
	if words == "" {
		return f, false
	}
	f.evidence = append(f.evidence, "of its GOAWAY it said "+said(words))
	for _, known := range goawayWords {
		if words == known.words && code == known.code {
			return f.advise(known.advice).leavesOpen(known.undecided), true
		}
	}
	return f, false
}

// framingCause is that of what came and breaks the protocol's rules, so that Caddy's side
// ended the stream or the connection.
func framingCause(t *try, evidence string) finding {
	return found(HTTPFramingError, append(append([]string{evidence}, spoken(t)...), workedBefore(t)...)...).at(framedIn(t)).advise(adviceBrokenServer + avoidance(t))
}

// spoken says by what the protocol of a server is known, where it breaks its rules: no
// other one listens there.
func spoken(t *try) []string {
	switch {
	case t.protocol == protocolHTTP3:
		return []string{"HTTP/3 had been agreed on in the handshake (ALPN)"}
	case t.protocol == protocolH2 && t.TLS:
		return []string{agreedHTTP2}
	case saidItsSettings(t):
		return []string{speaksHTTP2}
	}
	return nil
}

// adviceBrokenServer is for a server that breaks its protocol's rules: nothing that is set
// at Caddy mends it.
const adviceBrokenServer = "Update the server at {upstream}, or report this to whoever makes it: its log, with debugging on, names the frame at fault."

// framedIn is the phase in which something came that is no part of an answer: the headers,
// unless nothing of these is known to have begun.
func framedIn(t *try) failure.Phase {
	if t.FirstByte == 0 && !t.HasAnswer() {
		return failure.PhaseWait
	}
	return failure.PhaseHeaders
}

// avoidance is how to do without a protocol that an upstream breaks, as far as it can.
func avoidance(t *try) string {
	switch t.protocol {
	case protocolHTTP3:
		return " Until then, versions 1.1 2 in the transport, without 3, avoids it, if curl -vk https://{address}/ gets an answer (TCP)."
	case protocolH2C:
		return " Until then, http:// in place of h2c:// avoids it, if curl -v http://{address}/ gets an answer."
	}
	return " Until then, versions 1.1 in the transport avoids it, if curl -vk --http1.1 https://{address}/ gets an answer."
}

// Summaries for a header that Caddy's side refused.
const (
	summaryBrokenHeader   = "{upstream} answered with a header that breaks the rules of HTTP/2, and Caddy refused the answer."
	summaryBrokenHeaderH3 = "{upstream} answered with a header that breaks the rules of HTTP/3, and Caddy refused the answer."
	summaryUnreadHeader   = "{upstream} answered with a header that Caddy could not decode."
)

// fieldAdvice is for a field that may be the application's own. What is wrong with a value
// is so in HTTP/1.1, too.
func fieldAdvice(t *try, text string) string {
	field := "the field that the evidence names"
	if i := strings.IndexByte(text, '"'); i >= 0 {
		if quoted, err := strconv.QuotedPrefix(text[i:]); err == nil && len(quoted) <= maxName {
			field = "the field " + quoted
		}
	}
	if strings.HasPrefix(text, textFieldValue) {
		return "Correct what {upstream} sets as value of " + field + ", in the application or in its server: HTTP takes no line break in a value, and no other control character."
	}
	return "Correct the name of " + field + " where {upstream} sets it, in the application or in its server: HTTP/2 takes names in lower case alone." + avoidance(t)
}

// textFieldValue is what HTTP/2's reader says of a value.
const textFieldValue = "invalid header field value for "

// openMaker is for a rule that is known: who breaks it is not.
const openMaker = "whether the application, its server, or a box in between makes it so, and for this request or for each, can't be told from here: a debug log of the server, or a capture, tells"

// ruleOfStream says which rule was broken where the code is one stream's and comes without a
// word: these are all for which the transport ends a stream so.
func ruleOfStream(t *try, code http2.ErrCode) (rule string, known bool) {
	switch {
	case code == http2.ErrCodeFlowControl: // who sends too much ends the connection
		return ", which says that the upstream allowed more to be sent on this stream than HTTP/2 can count (WINDOW_UPDATE)", true
	case code == http2.ErrCodeProtocol && t.FirstByte == 0 && !t.HasAnswer():
		return ": a body (DATA) came before its header, or a frame whose padding or window can't be (HEADERS, WINDOW_UPDATE)", false
	}
	return ruleBroken(code), false
}

// ruleBroken says which rule was broken, by the code with which our side ends a connection.
func ruleBroken(code http2.ErrCode) string {
	switch code {
	case http2.ErrCodeFlowControl:
		return ", which says that the upstream sent more than it was allowed to, or allowed more than HTTP/2 can count"
	case http2.ErrCodeFrameSize:
		return ", which says that a frame came whose size its kind may not have"
	case http2.ErrCodeStreamClosed:
		return ", which says that something came for a request that was over"
	}
	return ""
}

// textsField and textsPseudo are what HTTP/2's reader says of a header that it refuses.
var (
	textsField  = []string{"invalid header field name ", textFieldValue}
	textsPseudo = []string{
		"invalid pseudo-header ", "duplicate pseudo-header ", "mix of request and response pseudo headers",
		"pseudo header field after regular", "malformed response from server: ",
	}
)

func begins(err error, with []string) bool {
	return err != nil && slices.ContainsFunc(with, func(text string) bool { return strings.HasPrefix(err.Error(), text) })
}

// isField says that an error of HTTP/2's reader is about one field of a header, ofHeader
// that it is about a header.
func isField(err error) bool  { return begins(err, textsField) }
func ofHeader(err error) bool { return isField(err) || begins(err, textsPseudo) }

// alone says that no other request has ever had an attempt's connection.
func alone(a *listen.Attempt) bool {
	return a.Connection != nil && a.Connection.Link != nil && a.Connection.Link.Requests == 0
}

// unreadHeader says that the header of an answer came and could not be read. What can't be
// decoded may be another request's, where there is one.
func unreadHeader(a *listen.Attempt) bool {
	if stream, ok := errors.AsType[http2.StreamError](a.Err); ok {
		return ofHeader(stream.Cause)
	}
	broken, ok := errors.AsType[http2.ConnectionError](a.Err)
	return ok && http2.ErrCode(broken) == http2.ErrCodeCompression && alone(a)
}

// hearUnreadHeader makes up for HTTP/2's transport, which tells of an answer's first byte
// only once its header was read. The error came with it.
func hearUnreadHeader(a *listen.Attempt) {
	if a.FirstByte == 0 && !a.HasAnswer() && a.Connection != nil && unreadHeader(a) {
		a.FirstByte = a.End
	}
}

// unreadable says that our side ended the stream or the connection for what came.
func unreadable(t *try) bool {
	if stream, ok := errors.AsType[http2.StreamError](t.err); ok {
		return !ours(t) && (stream.Cause == nil || stream.Cause.Error() != textFromPeer)
	}
	_, broken := errors.AsType[http2.ConnectionError](t.err)
	return broken || errors.Is(t.err, http2.ErrFrameTooLarge) || strings.HasSuffix(layer(t.err, textH3Code), textH3Local)
}
