package cause

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// textsBadChunk are what net/http says of a body whose chunks are none.
var textsBadChunk = []string{
	textNoChunkSize,
	textEmptyChunkSize,
	"http chunk length too large",
	textChunkLonger,
	"chunked encoding contains too much non-data",
	"chunked line ends with bare LF",
	"invalid CR in chunked line",
	"header line too long",
	"http: suspiciously long trailer after chunked body",
}

const (
	textNoChunkSize    = "invalid byte in chunk length"
	textEmptyChunkSize = "empty hex number for chunk length"
	textChunkLonger    = "malformed chunked encoding"
)

const (
	textBadTrailer   = "bad trailer key "
	textTrailerCut   = "http: unexpected EOF reading trailer"
	textClosedByUs   = "http: read on closed response body"
	textClosedByUsH2 = "http2: response body closed"
)

// isChunkError says that a body's chunks, or its trailer, are malformed.
func isChunkError(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return true
	}
	text := innermost(err)
	return slices.Contains(textsBadChunk, text) || strings.HasPrefix(text, textBadTrailer)
}

// bodyCause finds what broke an answer's body, t's error.
func bodyCause(t *try) finding {
	if f := portSays(t.Attempt); f.is() {
		f.evidence = append(f.evidence, received(t))
		if f.row == TLSExpected && errnoOf(t.err) == syscall.ECONNRESET {
			f.evidence = append(f.evidence, "then the connection was reset: such a port reads no more than tells it that this is no TLS, and closing with the rest unread resets")
		}
		return f
	}
	f := brokenBody(t)
	if !f.is() {
		f = found(Unknown)
	}
	f.phase = failure.PhaseBody
	if f.row == TransferCodingInvalid {
		f.evidence = append(f.evidence, counted(t.Body.Bytes, "byte")+" of the answer came in good order, and then "+chunkWrong(t.err))
		return f
	}
	f.evidence = append(f.evidence, received(t))
	return f
}

// chunkWrong says what came where a chunk could not be read.
func chunkWrong(err error) string {
	switch text := innermost(err); {
	case text == textChunkLonger:
		return "something else where the chunk should have ended: its size is wrong, or it lacks its line break"
	case text == textNoChunkSize, text == textEmptyChunkSize:
		return "something else where a chunk's size belongs (a hexadecimal number)"
	}
	return "what is no chunk, or not the end of one"
}

func brokenBody(t *try) finding {
	switch text := t.text(); {
	case text == textClosedByUs, text == textClosedByUsH2:
		return nothing
	case isChunkError(t.err):
		return found(TransferCodingInvalid)
	case errors.Is(t.err, gzip.ErrChecksum), errors.Is(t.err, zlib.ErrChecksum):
		return found(ContentCodingInvalid, "all of it could be unpacked, and its checksum is another's").
			advise("Look for what changes the body after it was compressed, at {upstream} or between it and Caddy: all of it could be unpacked, and its checksum does not fit.").
			leavesOpen("whether the application or something in between changed it can't be told from here: asking the application directly tells")
	case errors.Is(t.err, gzip.ErrHeader):
		return noGzipHeader(t)
	case isCodingError(t.err):
		return found(ContentCodingInvalid, "it began as gzip does, and what followed could not be unpacked").
			advise("Look for what changes the body after it was compressed, at {upstream} or between it and Caddy, or prints into it.").
			leavesOpen("whether it was compressed wrongly or changed afterwards, and by the application or something in between, can't be told from here: asking the application directly tells")
	case isReadTimeout(t.err):
		if t.absent(failure.ReadTimeout) {
			return nothing
		}
		if f := notArrived(t); f.is() {
			return f.within(limitFor(failure.ReadTimeout, t.Limits, t.Attempt))
		}
		if f := slowlyTaken(t, limitFor(failure.ReadTimeout, t.Limits, t.Attempt)); f.is() {
			return f
		}
		limit := limitFor(failure.ReadTimeout, t.Limits, t.Attempt)
		if f := slowlySent(t, limit); f.is() {
			return f
		}
		return wrongLength(t, stalled(t), ", the limit").within(limit)
	case text == textConnectionLost:
		return found(ConnectionLost)
	}
	if alert, ok := receivedAlert(t.err); ok {
		return alertCause(t.Attempt, alert)
	}
	if f := ownTLSCause(t.Attempt, t.err); f.is() {
		return f
	}
	if f := http2Cause(t); f.is() {
		return f
	}
	if f := http3Cause(t); f.is() {
		return f
	}
	switch errno := errnoOf(t.err); {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost)
	case t.Body.Uncompressed && errors.Is(t.err, io.ErrUnexpectedEOF) && t.cameWhole():
		// It is the decoder's error, not the connection's.
		return found(ContentCodingInvalid, "the answer came whole, to the length or the last chunk that it announced; its gzip stream did not").
			advise("Look at the application's log at this time for an error while it compressed; without one, let what compresses finish its stream (close the gzip writer), and count Content-Length only then.").
			leavesOpen("whether what compresses did not finish, its length was counted too small, or a cache or a server in between cut it, can't be told from here: asking the application directly tells")
	case ours(t):
		return endedByUs(t)
	case died(t.err) && t.Status >= http.StatusBadRequest && uploadUnfinished(t):
		// What ended the sending of the upload ended the answer that refused it.
		return found(RequestWriteFailed, "an answer had begun before the upload was sent: "+strconv.Itoa(t.Status)).advise(adviceRefusedUnread)
	case died(t.err), t.text() == textTrailerCut:
		return slowDownload(t, truncatedCause(t))
	}
	return nothing
}

// noGzipHeader is for what is no gzip, or follows a gzip stream that is whole.
func noGzipHeader(t *try) finding {
	f := found(ContentCodingInvalid, "where gzip's header belongs, something else came")
	advice := "Check what sets Content-Encoding: gzip at {upstream} or between it and Caddy: the body is not compressed, compressed by another coding, or something is printed in front of it."
	if t.Body.Bytes > 0 {
		f.evidence[0] += ", after a gzip stream that was whole"
		advice = "Look for what prints behind the compressed body, at {upstream} or between it and Caddy."
	}
	if wrong, fix := t.codedAs(); wrong != "" {
		f.evidence, advice = append(f.evidence, wrong), fix
	}
	return f.advise(advice).leavesOpen("why it is so, and whether the application or something in between did it, can't be told from here: asking the application directly tells (curl -H \"Accept-Encoding: gzip\")")
}

// codings are how bodies begin that are compressed by another coding than gzip (RFC 8878
// section 3.1.1, RFC 1950 section 2.2). Brotli's begin as they like.
var codings = []struct{ begins, name string }{
	{"\x28\xb5\x2f\xfd", "zstd"}, {"\x78\x01", "deflate"}, {"\x78\x9c", "deflate"}, {"\x78\xda", "deflate"},
}

// codedAs says what a body is that is no gzip, by how it begins, and what to do then; ""
// where that wasn't heard, or nobody can tell.
func (t *try) codedAs() (says, advice string) {
	const enough = 64 // bytes, to tell
	if t.Body.Bytes > 0 || t.Connection == nil {
		return "", ""
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(t.Connection.Carried.Final())), nil)
	if err != nil {
		return "", ""
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, enough)) // what was kept of it ends somewhere
	if before := bytes.Index(body, []byte("\x1f\x8b\x08")); before > 0 {
		return counted(int64(before), "byte") + " of something else came before gzip's header",
			"Look for what prints in front of the compressed body, at {upstream} or between it and Caddy."
	}
	for _, c := range codings {
		if bytes.HasPrefix(body, []byte(c.begins)) {
			return "it begins as " + c.name + " does",
				"Let what compresses at {upstream}, or between it and Caddy, say " + c.name + " in Content-Encoding, and compress so only for who asks for it: Caddy had asked for gzip."
		}
	}
	if isText(body) {
		return "it begins as text does: it is not compressed", "Take Content-Encoding: gzip off answers that are not compressed, at {upstream} or between it and Caddy."
	}
	return "", ""
}

// isText says that bytes are nothing but ASCII's signs, blanks and line breaks.
func isText(b []byte) bool {
	return len(b) > 0 && !bytes.ContainsFunc(b, func(r rune) bool { return (r < ' ' || r > '~') && r != '\t' && r != '\r' && r != '\n' })
}

// stalled is for an answer in which nothing came any more for the limit. Where its end is
// told by itself, that speaks against one that has only its length wrong.
func stalled(t *try) finding {
	f, length := found(ResponseStalled), ""
	switch {
	case isHTTP2(t), t.protocol == protocolHTTP3:
		f.evidence = append(f.evidence, "its stream was not ended, which an application ends that has no more to send")
	case t.protocol == protocolFastCGI:
		f.evidence = append(f.evidence, "the end of the request (END_REQUEST), which comes when a script has no more to send, had not come")
		if t.Body.Last > 0 {
			f.evidence = append(f.evidence, "nothing of it had come for "+ms(elapsed(t.Body.Last, t.end)))
		}
	case t.Body.Expected > 0, t.Body.Uncompressed: // which hides the length
		length = "a length larger than what is sent, "
	}
	return f.leavesOpen("why it pauses can't be told from here (a pause that is meant, a lock, a process that hangs, " + length + "a server in between" + lostOnTheWay(t) + "): the log there tells")
}

// slowlySent is for an answer of FastCGI that was under way when the limit ended it, which
// Caddy sets once for all of an answer (fastcgi/client.go, SetReadTimeout).
func slowlySent(t *try, limit *failure.Limit) finding {
	if t.protocol != protocolFastCGI || limit == nil || limit.ValueMS == nil || t.Body.Last == 0 {
		return nothing
	}
	if silent := elapsed(t.Body.Last, t.end); silent < limit.ValueMS.Duration()/2 {
		f := found(ResponseStalled, "some of it came as late as "+ms(silent)+" before the limit ended it: over FastCGI read_timeout counts for the whole answer").within(limit)
		f.summary = "{upstream} did not send the whole of its answer within {limit}."
		return f.advise("Look at the application's log for why the whole of this answer takes so long; if it may, raise read_timeout in transport fastcgi.").
			leavesOpen("why it takes longer can't be told from here (much to send, a slow query, a lock, a server in between): the log there tells")
	}
	return nothing
}

// lostOnTheWay names lost packets where there is a way on which they may be: an address of
// this machine has none, if no forward proxy stands there.
func lostOnTheWay(t *try) string {
	address := addressOf(t.Attempt)
	if _, own := ownAddress(address); own && address == t.Address || strings.HasPrefix(t.Network, "unix") {
		return ""
	}
	return ", lost packets"
}

// uploadUnfinished says that the upstream ended the connection with some of an upload still
// to be sent.
func uploadUnfinished(t *try) bool {
	if t.RequestBytes < 0 || isHTTP2(t) || t.protocol == protocolHTTP3 {
		return false
	}
	return t.WriteErr != nil && died(t.WriteErr) || t.Request != nil && t.RequestBytes < t.Request.ContentLength
}

// judgeStalled: the client left during an answer. That is its own affair, unless nothing
// of a body with a length had come for so long that it may have left for that. Where no
// length is announced, a pause may be what the answer is made of: events, a watch.
func judgeStalled(h *listen.Heard, a *listen.Attempt) (verdict, bool) {
	silent := elapsed(max(a.Body.Last, a.Answered), a.End)
	if silent < longStall || a.Body.Expected < 0 || a.Body.Bytes >= a.Body.Expected {
		return verdict{}, false
	}
	t := tryOf(h, a)
	f := found(ResponseStalled, "nothing of it had come for "+ms(silent)+" when the client left", received(t)).
		within(limitFor(failure.ReadTimeout, a.Limits, a)).advise(adviceStalled)
	return verdict{failure.Truncated, h.Response.Status, a, f, a.Body.Err}, true
}

// longStall is how long nothing must have come of an answer which the client gave up.
const longStall = 3 * time.Second

// adviceStalled is for a stall that no limit of Caddy's ended.
const adviceStalled = "Look at the application's log at this time for what it waited for in the middle of its answer; read_timeout in the transport ends such a wait before visitors do."

// cameWhole says that an answer came to its end, as far as the connection tells:
// all of it came, or nothing ended the connection.
func (t *try) cameWhole() bool {
	switch {
	case t.Connection == nil:
		return false
	case t.Connection.HandedOn:
		return true
	case t.Connection.Carried == nil:
		return false
	}
	if complete, known := t.Connection.Carried.Complete(); known {
		return complete
	}
	return t.Connection.Carried.ReadErr == nil
}

// isCodingError says that a decoder refused the body.
func isCodingError(err error) bool {
	for _, known := range []error{gzip.ErrHeader, gzip.ErrChecksum, zlib.ErrHeader, zlib.ErrChecksum, zlib.ErrDictionary} {
		if errors.Is(err, known) {
			return true
		}
	}
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return true
	}
	_, ok := errors.AsType[flate.InternalError](err)
	return ok
}

// received says how much of an answer's body came.
func received(t *try) string {
	if t.Body.Uncompressed {
		return counted(t.Body.Bytes, "byte") + " of the answer could be unpacked; how many came packed is not counted"
	}
	if t.Body.Expected < 0 || t.Body.Expected < t.Body.Bytes {
		return counted(t.Body.Bytes, "byte") + " of the answer came, of a length that was not announced"
	}
	return fmt.Sprintf("%d of %s of the answer came", t.Body.Bytes, counted(t.Body.Expected, "byte"))
}

var TransferCodingInvalid = &Row{
	Name: "transfer_coding_invalid", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_transfer_coding",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "The answer of {upstream} is not framed as its Transfer-Encoding says.",
	Advice:       "Let the application's server set Transfer-Encoding and frame the answer, not the application. If the application sets none, look at what stands between it and Caddy.",
	Meaning:      "The answer can't be read by its Transfer-Encoding: it is one that Caddy does not support (chunked is all that it takes; HTTP/1.1 has others, such as gzip), or its chunks are none.",
	RecognisedBy: "The header's Transfer-Encoding was refused (phase headers), or a chunk's length or a trailer could not be read (phase body, outcome truncated).",
	Witnesses:    []Witness{WitnessError},
	Undecided:    "an application that writes chunks by itself, or prints between them, a fault of its server's, and a server in between that breaks them look the same from here: asking the application directly tells (curl --raw)",
	UsualReasons: []string{
		"the application writes chunks by hand, or sets Transfer-Encoding itself",
		"something printed into the connection between two chunks",
	},
	Fix: Fix{
		Caddy:       "Nothing: what cannot be read cannot be repaired.",
		Docker:      nothingToChange,
		Application: "Let its server frame the answer; set neither Transfer-Encoding nor Content-Length.",
	},
	Rivals: []Rival{
		{"response_truncated", "what came is no chunk; an answer that is cut lacks one"},
		{"response_malformed", "the error is about Transfer-Encoding or a chunk"},
		{"response_length_exceeded", "what came is no chunk; it was not after the last one"},
	},
}

var ResponseTruncated = &Row{
	Name: "response_truncated", Category: failure.CategoryInterrupted, ProxyError: "http_response_incomplete",
	Phase: failure.PhaseBody, Side: failure.SideUpstream,
	Summary:      "{upstream} closed the connection before its answer was complete.",
	Advice:       "Look at the application's log for a crash or a timeout while it was sending.",
	Meaning:      "Headers and a part of the body were passed on, and then the upstream's connection ended, or over HTTP/2 and HTTP/3 this answer's stream. The client has a part of the answer, with the status of a whole one.",
	RecognisedBy: "Reading the body failed: end of file or a reset before the length or the last chunk. The evidence says how many bytes came, and of how many. The client's side had no error. Over HTTP/2 and HTTP/3 the summary says which of the two ended, the connection or the stream.",
	Witnesses:    []Witness{WitnessError, WitnessReceived},
	Undecided:    "why it ended here can't be told (a crash, a killed worker, a restart, a limit of its own, a wrong length, a server in between): the logs tell",
	UsualReasons: []string{
		"the application crashed, or its worker was killed, while it was sending",
		"a limit for the whole answer: of the server (WriteTimeout of Go, request_terminate_timeout of php-fpm), or of a balancer on the way",
		"a wrong Content-Length, larger than what is sent: then all of it comes at once, and nothing more until the server ends the idle connection",
	},
	Fix: Fix{
		Caddy:       "Nothing: the status is sent already, and a part cannot be taken back.",
		Docker:      "Look at docker events and docker inspect (OOMKilled), and at memory limits in the compose file.",
		Application: "Look at its log at this time for a crash or a timeout while it was sending (max_execution_time, worker timeouts).",
	},
	Rivals: []Rival{
		{"tls_expected", "what came of the body is not the sentence of a TLS port"},
		{"client_closed_request", "writing to the client had no error; and a client that leaves after the headers makes no record"},
		{"response_cut_in_headers", "the headers were complete: the attempt has a status"},
		{"transfer_coding_invalid", "something is missing; nothing that came was malformed"},
		{"content_coding_invalid", "the connection ended before the body did"},
		{"response_stalled", "the connection ended; no time ran out"},
		{"response_length_exceeded", "less came than was announced"},
		{"a Content-Length larger than the body", "the evidence, where all that came had come at once and then nothing until the end; else only the application's log, which has no crash"},
		{"an answer without a length that ends too early", "nothing: where neither a length nor chunks are used, the end of the connection is the end of the answer, and no record is made"},
		{"upload_cut_by_early_response", "the upstream ended the connection, not this side"},
	},
}

var ResponseStalled = &Row{
	Name: "response_stalled", Category: failure.CategoryTimeout, ProxyError: "connection_read_timeout",
	Phase: failure.PhaseBody, Side: failure.SideUpstream,
	Summary:      "{upstream} stopped sending in the middle of its answer.",
	Advice:       "Look at the application's log at this time for what it waited for; if it may pause that long, raise read_timeout in the transport.",
	Meaning:      "Headers and a part of the body were passed on, and then nothing came for as long as read_timeout allows, or as the client had patience.",
	RecognisedBy: "Reading the body timed out; or the client left when nothing of a body whose length was announced had come for 3 s or more. The evidence says how many bytes had come, and names the limit.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessAsked, WitnessKernel},
	Undecided:    "why it pauses can't be told from here (a pause that is meant, a lock, a process that hangs, a length larger than what is sent, a server in between, lost packets): the log there tells",
	UsualReasons: []string{
		"an event stream or a long export with a pause longer than the limit",
		"the application waits for something in the middle of its answer",
		"a wrong Content-Length, larger than what is sent: then all of it comes at once, and nothing more",
	},
	Fix: Fix{
		Caddy:       "If it may pause so long, raise the limit.",
		Caddyfile:   inTransport("read_timeout 10m"),
		Docker:      "Look at the container's CPU limit and use (docker stats).",
		Application: "Let event streams send a comment line now and then; prepare exports before sending.",
	},
	Rivals: []Rival{
		{"read_timeout", "the headers had come: the phase is body"},
		{"client_closed_request", "the headers had come, and then nothing for seconds: the evidence says how long the client had waited for more"},
		{"response_truncated", "the connection had not ended; the time ran out"},
		{"connection_lost", "errno is left out: the limit of Caddy's ran out, the system had not given up"},
	},
}

var ContentCodingInvalid = &Row{
	Name: "content_coding_invalid", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_content_coding",
	Phase: failure.PhaseBody, Side: failure.SideUpstream,
	Summary:      "The answer of {upstream} is not compressed as it says.",
	Advice:       "Check the upstream's compression: a Content-Encoding that is set twice, or for a body that is not compressed.",
	Meaning:      "The answer says that it is compressed with gzip, Caddy had asked for that itself, and what came cannot be decoded.",
	RecognisedBy: "The decoder refused the body, or its stream ended while the answer was whole. Caddy decodes only where it had asked for gzip by itself.",
	Witnesses:    []Witness{WitnessError, WitnessReceived},
	Undecided:    "whether it was compressed wrongly or ended too early, and by the application or something in between, can't be told from here: asking the application directly tells",
	UsualReasons: []string{
		"Content-Encoding: gzip on a body that is not compressed, or compressed twice",
		"a cache that holds a part of a compressed body",
	},
	Fix: Fix{
		Caddy:       "Do not ask the upstream for compression; encode compresses for the client.",
		Caddyfile:   "encode\n" + inTransport("compression off"),
		Docker:      nothingToChange,
		Application: "Let only one part of it compress; remove Content-Encoding from what is not.",
	},
	Rivals: []Rival{
		{"response_truncated", "the answer came whole: its bytes are as many as promised, or the connection had not ended"},
	},
}
