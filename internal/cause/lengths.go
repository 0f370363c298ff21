package cause

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// beyondCause finds the cause where what came over a reused connection belongs to the
// answer before: more than its length allows. The transport takes it for the answer to
// this request, or closes the connection for it, which looks like a dead one.
func beyondCause(t *try) finding {
	c := t.Connection
	if c == nil || !c.Reused || t.HasAnswer() || isHTTP2(t) || t.protocol == protocolHTTP3 {
		return nothing
	}
	var before *listen.Previous
	if c.Link != nil {
		before = c.Link.Previous
	}
	phase := reached(t.Attempt)
	if before != nil && before.Beyond != nil {
		if start := string(before.Beyond.Start); isGreeting(start) || isHTTP2Settings(start) {
			return nothing // somebody else answers there now
		}
		f := found(ResponseLengthExceeded, beforeLine(before)+"; "+beyondWords(before.Beyond, saidToAnother)).at(phase)
		switch answerStatus(string(before.Beyond.Start)) {
		case 0:
			return f.leavesOpen("whether the length or the body of the answer before is the wrong one" + openBefore)
		case http.StatusRequestTimeout: // an idle connection is ended so
			return nothing
		}
		return f.advise(adviceSecondAnswer)
	}
	if junk, followed, ok := beforeStatusLine(t); ok {
		f := found(ResponseLengthExceeded, "where the status line of its answer belongs, it sent "+saidToAnother(junk)).at(phase)
		f.summary = "{upstream} sent something where its answer should begin: most likely the rest of the answer before, on the same connection."
		or := "an answer without its header"
		if followed {
			f.evidence[0] += ", and after it \"HTTP/1.\", with which an answer begins"
			or = "printed in front of this one"
		}
		f = f.leavesOpen("whether what came is of the answer before, whose length or body is wrong, or " + or + openBefore)
		if before != nil {
			f.evidence = append(f.evidence, beforeLine(before))
		}
		return f
	}
	if t.text() == textUnsolicited {
		f := found(ResponseLengthExceeded, "something came over the connection before this request was under way").at(phase)
		if before != nil {
			f.evidence = append(f.evidence, beforeLine(before))
		}
		return f
	}
	return nothing
}

// openBefore is what is left open of an answer that another request met.
const openBefore = ", whether the application or a server in front of it made it, and for which path that was, can't be told from here: its access log and curl -v tell"

// adviceSecondAnswer is for a whole answer that nobody had asked for.
const adviceSecondAnswer = "Look for a request that {upstream} answered twice, or whose body it left unread and took for the next request: a server that answers early has to read the rest, or to close the connection."

// answerStatus is the status of an HTTP/1 answer that begins so, 0 where none does.
func answerStatus(start string) int {
	version, rest, _ := strings.Cut(start, " ")
	if end := strings.IndexAny(rest, " \r\n"); end >= 0 {
		rest = rest[:end]
	}
	if status, err := strconv.Atoi(rest); err == nil && strings.HasPrefix(version, "HTTP/1.") {
		return status
	}
	return 0
}

// beforeStatusLine is what came where the status line of an answer belongs, on a
// connection that had brought one before: by HTTP's rules it belongs to that. Over TLS
// only the transport's error quotes it. followed says that an answer begins after it.
func beforeStatusLine(t *try) (junk string, followed, ok bool) {
	if t.FirstByte == 0 {
		return "", false, false
	}
	junk = t.head()
	if junk == "" {
		text := t.text()
		quoted, ok := strings.CutPrefix(text, textMalformedResponse)
		if !ok {
			if quoted, ok = strings.CutPrefix(text, textMalformedVersion); !ok {
				return "", false, false
			}
		}
		var err error
		if junk, err = strconv.Unquote(quoted); err != nil {
			return "", false, false
		}
	}
	if strings.HasPrefix(junk, "HTTP/") || strings.HasPrefix("HTTP/", junk) {
		return "", false, false
	}
	if i := strings.Index(junk, "HTTP/1."); i > 0 {
		return junk[:i], true, true
	}
	// By itself it may be another protocol's, unless it is what compression leaves.
	return junk, false, strings.HasPrefix(junk, gzipMagic) || !speaksOther(junk)
}

// gzipMagic is how gzip begins (RFC 1952).
const gzipMagic = "\x1f\x8b"

// beforeLine tells of the answer before on a connection.
func beforeLine(p *listen.Previous) string {
	what := counted(p.Length, "byte") + " announced"
	switch {
	case p.Method == http.MethodHead, p.Status == http.StatusNoContent, p.Status == http.StatusNotModified:
		what = "which has no body"
	case p.Length < 0:
		what = "no length announced"
	}
	return fmt.Sprintf("the answer before on this connection: %s, %d, %s", p.Method, p.Status, what)
}

func beyondWords(b *listen.Beyond, quote func(text string) string) string {
	words := counted(b.Bytes, "byte") + " more came after its end"
	if len(b.Start) > 0 {
		words += ": " + quote(string(b.Start))
	}
	return words
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}

// overlongCause is that of an answer which was cut at its length, nil where it wasn't.
func overlongCause(a *listen.Attempt) finding {
	if a.Body.Beyond == nil {
		return nothing
	}
	f := found(ResponseLengthExceeded, fmt.Sprintf("%s of the answer came, as announced; %s", counted(a.Body.Bytes, "byte"), beyondWords(a.Body.Beyond, said)))
	chunked := a.Body.Expected < 0 && !a.Body.Uncompressed // which hides the length
	if a.Body.Expected < 0 {
		end := "its end"
		if chunked {
			end = "its last chunk"
		}
		f.evidence[0] = fmt.Sprintf("%s of the answer came, to %s; %s", counted(a.Body.Bytes, "byte"), end, beyondWords(a.Body.Beyond, said))
	}
	if status := answerStatus(string(a.Body.Beyond.Start)); status != 0 {
		return f.advise(adviceSecondAnswer)
	}
	if chunked {
		f.summary = "{upstream} sent more after the last chunk of its answer: the client got the answer to that, and not the rest."
		return f.advise("Let the application's server frame the answer, not the application: something was written after the last chunk.").
			leavesOpen("whether what came last belongs to the answer, whose last chunk came too early then, or to none, and whether the application or a server in front of it made it, can't be told from here: asking the application directly tells")
	}
	return f.cutAtLength()
}

// cutAtLength is for an answer that the client itself got cut.
func (f finding) cutAtLength() finding {
	f.summary = "{upstream} sent more than its answer's length allows: the client got as much as was announced, and not the rest."
	return f.advise("Let the application's server count Content-Length, in bytes and not in characters.")
}

// overlong says that the last attempt's answer is the client's, and was cut at its length.
func overlong(h *listen.Heard, last *listen.Attempt) bool {
	return last.Body.Beyond != nil && last.CarriesRequest() && last.Status == h.Response.Status &&
		answerStatus(string(last.Body.Beyond.Start)) == 0
}

// adviceUnread is for a server that takes the rest of one request for the next.
const adviceUnread = "Let the application read the body of each request to its end, or close the connection after its answer: {upstream} took what was left of the one before for the beginning of this one. Until then: keepalive off in the transport."

// unreadBefore is that of an answer which refuses what was never asked: it quotes the
// request's method with the end of the body before glued to it.
func unreadBefore(a *listen.Attempt) finding {
	if a.Status != http.StatusBadRequest && a.Status != http.StatusNotImplemented || a.Connection == nil || !a.Connection.Reused || a.Request == nil {
		return nothing
	}
	method := a.Request.Method
	_, rest, _ := strings.Cut((&try{Attempt: a}).head(), " ")
	for {
		before, after, found := strings.Cut(rest, method)
		if !found || method == "" {
			return nothing
		}
		if endsInBody(before) && (after == "" || !isWordByte(after[0])) {
			start := strings.LastIndexAny(before, " \r\n'\"<>;(") + 1
			return unread(said(before[start:] + method))
		}
		rest = after
	}
}

func unread(quoted string) finding {
	return found(UpstreamStatus, "its answer names the method "+quoted+": the end of another request's body, and this one's method").advise(adviceUnread).
		leavesOpen("whether the application leaves bodies unread, or something in front of it passes on more than was asked, can't be told from here: asking the application directly tells")
}

// endsInBody says that a text ends as a form's or a JSON's body does.
func endsInBody(text string) bool {
	if text == "" {
		return false
	}
	last := text[len(text)-1]
	return isWordByte(last) || strings.IndexByte("=}]", last) >= 0
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// silence is the least time without a byte that tells a length which is wrong from an
// application that was ended while it was sending.
const silence = 500 * time.Millisecond

// fellSilent says how long nothing had come of an answer when it was given up, where all
// that ever came of it had come much faster.
func fellSilent(t *try) (sending, silent time.Duration, ok bool) {
	if t.Body.Expected <= 0 || t.Body.Last == 0 || t.Body.Bytes == 0 {
		return 0, 0, false
	}
	sending, silent = elapsed(t.Answered, t.Body.Last), elapsed(t.Body.Last, t.end)
	return sending, silent, silent >= silence && silent >= 5*sending
}

const (
	adviceEnded       = "Look at the application's log at this time for {ends} while it was sending."
	adviceWrongLength = "Compare the Content-Length that the application sets with what it sends, in bytes: what came, it sent at once, and then nothing more. Let its server count, and compress only before the length is set. Else look at its log at this time for what it waited for, or for a script that was ended there, which its server may not notice (CGI of lighttpd)."
	adviceTruncated   = "Look at the application's log at this time for {ends} while it was sending; without one, compare its Content-Length with what it sends, and look at what stands in between."
	adviceChunks      = "Look at the application's log at this time for {ends} while it was sending; without one, look whether it writes chunks by itself and leaves out the last one, and at what stands in between."
	adviceInChunk     = "Look at the application's log at this time for {ends} while it was sending; without one, look at what stands in between, and whether the application writes chunks by itself."
	adviceScriptCut   = "Look at the log of php-fpm at this time for a crash while it was sending; without one, look in the script's for what ended it early, and compare its Content-Length with what it sends."
	adviceWorkerCut   = "Look at the log of php-fpm at this time for a crash, a restart, or a worker that was killed; without one, look at what stands in between."
	adviceEndedStream = "Compare the Content-Length that the application sets with what it sends, in bytes: it ended the answer in good order. Let its server count. Its log at this time says whether it swallowed an error instead, or what stands behind it failed."
)

// adviceCut is one of these, with what may have ended an application in so short a time.
func adviceCut(t *try, advice string) string {
	ends := "a crash or a timeout"
	if elapsed(sent(t), t.end) < time.Second { // the shortest that anybody sets
		ends = "a crash"
	}
	return strings.Replace(advice, "{ends}", ends, 1)
}

// streamEnded says that an answer's end was that of its stream, which goes by itself in
// HTTP/2 and HTTP/3: known is false where its connection may have ended as well.
func streamEnded(t *try) (ended, known bool) {
	eof := t.is(io.EOF, io.ErrUnexpectedEOF)
	switch {
	case t.protocol == protocolHTTP3: // a connection that ends has another error there
		return eof, true
	case t.protocol == protocolFastCGI: // Caddy reads the end of either as the same
		return false, !eof
	case !isHTTP2(t):
		return false, true
	case t.Connection == nil || t.Connection.Link == nil || t.Connection.Link.End == listen.EndOurs:
		return false, !eof
	}
	return eof && t.Connection.Link.End == listen.EndNone, true
}

// ofEnd says how the upstream ended an answer that is not complete.
func (f finding) ofEnd(t *try) finding {
	switch ended, known := streamEnded(t); {
	case ended:
		f.summary = "{upstream} ended its answer before it was complete."
		f.evidence = append(f.evidence, "the answer's stream was ended in good order, and the connection was not")
	case !known:
		f.summary = "{upstream} ended its answer, or the connection, before the answer was complete."
	case wasReset(t):
		f.summary = "{upstream} reset the connection before its answer was complete."
	}
	return f
}

// openEnd is what may have ended an answer, with what only one of its kind allows.
func openEnd(t *try, own string) string {
	return "why it ended here can't be told (a crash, a killed worker, a restart, a limit of its own, " + own + inBetween(t) + "): the logs tell"
}

// truncatedCause tells what is known of an answer that its connection's end cut off, or
// that of its stream.
func truncatedCause(t *try) finding {
	if t.Status == http.StatusNotModified && isHTTP2(t) {
		// x/net waits for the body unless the header itself ends the stream.
		f := found(ResponseTruncated, "a 304 has no body; its Content-Length is that of what has not changed (RFC 9110 section 8.6)")
		f.side, f.summary = failure.SideProxy, "Caddy's transport of HTTP/2 took the Content-Length of a 304 of {upstream} for that of a body, and broke the answer off."
		return f.advise("Set versions 1.1 in the transport, or let {upstream} leave Content-Length out of a 304.")
	}
	f := found(ResponseTruncated).ofEnd(t)
	if ended, _ := streamEnded(t); ended && t.Body.Expected > 0 {
		return f.advise(adviceEndedStream).leavesOpen("whether the length or the body is the wrong one, an error was swallowed, what stands behind it failed, or a server in front of the application ended it, can't be told from here: its log tells")
	}
	if t.Body.Expected < 0 {
		if f := endedAfter(t, f); f.advice != "" {
			return f
		}
		// Without chunks the end of the connection is that of the answer, but over TLS.
		if t.protocol == protocolHTTP1 && !t.TLS && !t.Body.Uncompressed && t.is(io.ErrUnexpectedEOF) {
			if t.Connection != nil && t.Connection.Carried.EndedInLine() { // a line ends each chunk
				f.evidence = append(f.evidence, "it came in chunks, and ended in the middle of one")
				return f.advise(adviceCut(t, adviceInChunk)).leavesOpen(openEnd(t, "an application that counts a chunk wrong, "))
			}
			f.evidence = append(f.evidence, "it came in chunks, of which the last is missing")
			return f.advise(adviceCut(t, adviceChunks)).leavesOpen(openEnd(t, "an application that leaves out the last chunk, "))
		}
		own := ""
		if t.protocol == protocolHTTP1 {
			own = "a wrong length or a missing last chunk, "
		}
		return f.advise(adviceCut(t, adviceEnded)).leavesOpen(openEnd(t, own))
	}
	if f := wrongLength(t, f, ", until the connection ended"); f.advice != "" {
		return f
	}
	if f := endedAfter(t, f); f.advice != "" {
		return f
	}
	if _, known := streamEnded(t); known && isHTTP2(t) && t.Body.Expected > 0 {
		// What counts its length wrong ends the stream.
		f.evidence = append(f.evidence, "the whole connection ended, not the answer's stream alone")
		return f.advise(adviceCut(t, adviceEnded)).leavesOpen(openEnd(t, ""))
	}
	if t.protocol == protocolFastCGI && wasReset(t) {
		f.evidence = append(f.evidence, "the end of the request (END_REQUEST), which comes also where a script has only counted its length wrong, had not come")
		return f.advise(adviceWorkerCut).leavesOpen(openEnd(t, ""))
	}
	if t.protocol == protocolFastCGI {
		return f.advise(adviceScriptCut).leavesOpen(openEnd(t, "a script that ended early, a wrong length, "))
	}
	if t.Body.Expected > 0 {
		return f.advise(adviceCut(t, adviceTruncated)).leavesOpen(openEnd(t, "a wrong length, "))
	}
	return f
}

// wrongLength adds what speaks for a length that is larger than the body. Where an answer's
// end is told by itself, whoever counts wrong comes to it.
func wrongLength(t *try, f finding, until string) finding {
	sending, silent, ok := fellSilent(t)
	if !ok {
		return f
	}
	f.evidence = append(f.evidence, "what came of the body came within "+ms(sending)+"; then nothing for "+ms(silent)+until)
	if t.protocol != protocolHTTP1 {
		return f
	}
	waited := "it waited for something until its worker died, or a restart, a limit or a server in between ended it"
	if f.row == ResponseStalled {
		waited = "it waits for something still (a pause that is meant, a lock, a process that hangs, a server in between" + lostOnTheWay(t) + ")"
	}
	return f.advise(adviceWrongLength).leavesOpen("whether the length is wrong, what sends the rest was ended unnoticed, or " + waited + ", can't be told from here: asking it directly and its log tell")
}

var ResponseLengthExceeded = &Row{
	Name: "response_length_exceeded", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseBody, Side: failure.SideUpstream,
	Summary:      "{upstream} sent more than an answer's length allows, and the rest is no part of any answer.",
	Advice:       "Let the application's server count Content-Length, in bytes and not in characters, and send no body with 204, 304 or to HEAD.",
	Meaning:      "Bytes came after the end of an answer. Whoever asked for that answer gets it cut at its length; whoever gets the connection next gets an error, or those bytes for an answer. Both leave this record.",
	RecognisedBy: "More bytes came over the connection than the answer's header and its Content-Length, or any after a 204, a 304 or the answer to a HEAD; on a reused connection, what comes before an answer's status line; over HTTP/2 and 3 the transport's own error. The evidence quotes them, with the answer before where another request met them. Over TLS with HTTP/1.1 they are seen only where a request meets them; over FastCGI Caddy itself drops them, and says so in its log.",
	Witnesses:    []Witness{WitnessReceived, WitnessPast, WitnessError},
	Undecided:    "whether the length or the body is the wrong one, and whether the application or a server in front of it made it, can't be told from here: asking the application directly tells",
	UsualReasons: []string{
		"Content-Length is set by hand, in characters: each ä or é is two bytes",
		"Content-Length is that of the body before it was translated, compressed or extended",
		"a body is written with 204 or 304, such as \"null\", or to HEAD",
		"a request was answered twice, or its body was left unread and taken for the next request",
	},
	Fix: Fix{
		Caddy:       "Until the application is mended, one connection for each request keeps others out of it.",
		Caddyfile:   inTransport("keepalive off"),
		Docker:      nothingToChange,
		Application: "Set no Content-Length by hand (Buffer.byteLength in Node, len() of the encoded bytes in Python); write nothing with 204 and 304.",
	},
	Rivals: []Rival{
		{"response_malformed", "the connection had brought a whole answer before: what comes next belongs to that, until a status line begins"},
		{"keepalive_race", "bytes came over the idle connection, and our side closed it for them"},
		{"transfer_coding_invalid", "the answer was whole by its own framing; what came after it is too much"},
		{"response_truncated", "more came than was announced, not less"},
		{"not_http", "the connection had brought an answer of HTTP before"},
		{"an application that prints in front of its own status line", "nothing from here: bytes between two answers belong to the one before"},
	},
}
