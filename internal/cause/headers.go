package cause

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Beginnings of what net/http says of an answer; what the upstream wrote comes
// after them, quoted.
const (
	textMalformedResponse = "malformed HTTP response "
	textMalformedStatus   = "malformed HTTP status code "
	textMalformedVersion  = "malformed HTTP version "
	textMissingColon      = "malformed MIME header: missing colon: "
	textHeadersExceeded   = "net/http: server response headers exceeded "
	textH2HeadersExceeded = "http2: response header list larger than advertised limit"
	textManyCodings       = "too many transfer encodings: "
	textOtherCoding       = "unsupported transfer encoding: "
)

// Texts of a length that is no number, or a negative one; of an empty one; of two that differ.
const (
	textBadLength   = "bad Content-Length "
	textEmptyLength = "invalid empty Content-Length "
	textTwoLengths  = "http: message cannot contain multiple Content-Length headers"
)

// textsMalformed are further beginnings, all of an answer that breaks HTTP's rules.
var textsMalformed = []string{
	textMalformedResponse,
	textMalformedStatus,
	textMalformedVersion,
	textBadLength,
	textEmptyLength,
	textTwoLengths,
	"invalid Trailer key ",
}

// greetings are the first bytes of other protocols: SSH, mail, POP3, IMAP, Redis,
// memcached, AMQP, VNC, FTP.
var greetings = []string{"SSH-", "220 ", "220-", "+OK", "* OK", "-ERR", "-NOAUTH", "-DENIED", "ERROR", "AMQP", "RFB "}

// speakers are whose greetings these are.
var speakers = []struct{ greeting, name string }{
	{"SSH-", "an SSH server"}, {"220", "a mail or an FTP server"}, {"+OK", "a POP3 server or Redis"}, {"* OK", "an IMAP server"},
	{"-ERR unknown command '", speaksRedis}, {"-ERR unknown command `", speaksRedis}, {"-ERR wrong number of arguments for '", speaksRedis},
	{"-ERR", "Redis or a POP3 server"}, {"-NOAUTH", speaksRedis}, {"-DENIED", speaksRedis}, {"ERROR", "memcached"}, {"AMQP", "a message broker (AMQP)"}, {"RFB ", "a VNC server"},
}

// Others than the ones who made them speak these two: Valkey, PgBouncer.
const (
	speaksRedis    = "a server of Redis's protocol"
	speaksPostgres = "a server of PostgreSQL's protocol"
)

// otherProtocol is that of what speaks another protocol, and began so.
func otherProtocol(line, evidence string) finding {
	f := found(NotHTTP, evidence)
	name := ""
	for _, s := range speakers {
		if name == "" && strings.HasPrefix(line, s.greeting) {
			name = s.name
		}
	}
	if strings.HasPrefix(line, "E\x00\x00\x00") && strings.Contains(line, "SFATAL\x00") {
		name = speaksPostgres // an ErrorResponse, and its severity
	}
	if name == "" {
		return f
	}
	f.summary = "{upstream} does not speak HTTP: " + name + " answers there."
	return f.advise("Correct the host or the port in reverse_proxy: " + name + " answers at {address}.")
}

// banners are the greetings that a port says unasked: the others may be answers.
var banners = []string{"SSH-", "220 ", "220-", "+OK", "* OK", "RFB "}

// noApplication says that what came over a new connection is another protocol's banner,
// or a TLS port's alert: no HTTP application had the request.
func noApplication(t *try) bool {
	if t.Connection == nil || t.Connection.Reused || t.HasAnswer() {
		return false
	}
	line := t.head()
	if line == "" && t.protocol == protocolH2C && t.FirstByte == 0 {
		line = string(t.Connection.Opening)
	}
	if line == "" { // where it was not heard, the error quotes it
		if status, ok := strings.CutPrefix(t.text(), textMalformedStatus); ok {
			return isHostName(status)
		}
		line, _ = strconv.Unquote(strings.TrimPrefix(t.text(), textMalformedResponse))
	}
	return !t.TLS && isTLSAlert(line) || slices.ContainsFunc(banners, func(banner string) bool { return strings.HasPrefix(line, banner) })
}

// headersCause finds the cause where an answer began and couldn't be read.
func headersCause(t *try) finding {
	if t.FirstByte == 0 || t.Status != 0 {
		return nothing
	}
	if isWriteError(t.err) && died(t.err) {
		return givenUpCause(t)
	}
	text := t.text()
	if f := saidOther(t); f.is() {
		return f
	}
	switch {
	case text == textUnsolicited && t.Connection != nil && !t.Connection.Reused:
		return unasked(t).at(failure.PhaseHeaders)
	case strings.HasSuffix(text, textManyInterim):
		return manyInterim()
	case isAwaitingTimeout(t):
		return headerUnfinished(t, found(ResponseTimeout)).within(t.ran(failure.ResponseHeaderTimeout, sent(t), t.end))
	case isReadTimeout(t.err):
		if t.absent(failure.ReadTimeout) {
			return nothing
		}
		return headerUnfinished(t, found(ReadTimeout)).within(t.ran(failure.ReadTimeout, t.FirstByte, t.end))
	case strings.HasPrefix(text, textHeadersExceeded):
		return found(ResponseHeadersTooLarge, largeWords(t)...)
	case strings.HasPrefix(text, textManyCodings), strings.HasPrefix(text, textOtherCoding):
		f := found(TransferCodingInvalid, errorWords(t.err), "Caddy takes chunked alone, once", speaksHTTP(t))
		f.summary = "{upstream} answered with a Transfer-Encoding that Caddy does not support."
		return f.advise("Let {upstream} send Transfer-Encoding: chunked alone; what is compressed belongs into Content-Encoding.").
			leavesOpen("whether the application, its server, or one in front of it sets it so can't be told from here: asking the application directly tells (curl -v --raw)")
	case strings.HasPrefix(text, textMalformedResponse):
		line, err := strconv.Unquote(text[len(textMalformedResponse):])
		if err != nil {
			return found(ResponseMalformed)
		}
		return firstLineCause(t, line)
	case isReadTimeout(t.readErr()) && !isTimeout(t.err): // net/http hides the first timeout here
		return headerUnfinished(t, found(ReadTimeout)).within(t.ran(failure.ReadTimeout, t.FirstByte, t.end))
	case t.cutInLine():
		return cutInHeaders(t, cutWords(t, text)...).leavesOpen(undecidedCutInLine)
	case t.lineUnheard() && mayBeCut(text):
		return cutOrMalformed(t)
	case strings.HasPrefix(text, textMalformedStatus) && greeted(t):
		return found(NotHTTP, "it greeted before the request was written")
	case strings.HasPrefix(text, textMalformedStatus) && isHostName(text[len(textMalformedStatus):]):
		// A mail server's greeting is "220" and its own name (RFC 5321 section
		// 4.2); often it crosses with the request, so that time doesn't tell.
		return found(NotHTTP, "where a status belongs, its first line has a host name")
	}
	for _, known := range textsMalformed {
		if strings.HasPrefix(text, known) {
			return malformedAs(t, known)
		}
	}
	if _, ok := errors.AsType[textproto.ProtocolError](t.err); ok {
		f := found(ResponseMalformed, append(malformedLine(text), speaksHTTP(t))...)
		if strings.HasPrefix(text, textMissingColon) {
			return f.leavesOpen("a line break in a field's value, a body that begins without an empty line before it, and such a line itself, of the application's or of a server in front of it, look the same from here: asking the application directly tells (curl -v)")
		}
		return f
	}
	switch errno := errnoOf(t.err); {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost).at(failure.PhaseHeaders)
	case died(t.err):
		// net/http hides a first timeout here, and ends with the second.
		if limit := t.ran(failure.ReadTimeout, t.FirstByte, t.end); limit != nil && t.is(io.ErrUnexpectedEOF) {
			return headerUnfinished(t, found(ReadTimeout)).within(limit)
		}
		came := cameWords(t)
		f := cutInHeaders(t, came...)
		if len(came) > 0 && t.headWhole() && strings.HasSuffix(t.head(), "\n") {
			// Nothing is cut within a line: that may be all that was meant.
			if link := linkOf(t.Attempt); link != nil && link.End == listen.EndClosed {
				return f.advise(adviceNoEmptyLine).leavesOpen(ResponseCutInHeaders.Undecided)
			}
			return f.advise("Look at the application's log for a crash at this time, and at that of a server in front of it; without one, let the application end its header with an empty line.").
				leavesOpen(ResponseCutInHeaders.Undecided)
		}
		return f
	}
	return nothing
}

// adviceNoEmptyLine is for a header that was closed in good order after a whole line. Servers
// mostly write a header at once, so that a crash leaves none or all of it.
const adviceNoEmptyLine = "Let what answers end its header with an empty line, where no body follows, too (end_headers of Python's http.server): curl -v shows whether such answers always end so. If they don't, look at the application's log for a crash at this time, and at that of a server in front of it."

// cutInHeaders is for a header that was cut off, of which lines say what came: it says who
// ended the connection, and how soon.
func cutInHeaders(t *try, lines ...string) finding {
	f := found(ResponseCutInHeaders, lines...)
	link := linkOf(t.Attempt)
	if link == nil || !link.End.ByPeer() {
		return f
	}
	after := ""
	if t.Interim == 0 { // else the first byte is the interim one's
		after = ", " + ms(elapsed(t.FirstByte, link.Ended)) + " after its answer's first byte"
	}
	if link.End == listen.EndReset {
		f.summary = "{upstream} reset the connection in the middle of its answer's headers."
		f.evidence = append(f.evidence, "the upstream, or something on the way, reset the connection"+after)
		return f
	}
	f.evidence = append(f.evidence, "the upstream closed the connection"+after)
	return f
}

// undecidedCutInLine is that of a header that was cut off in the middle of a line.
const undecidedCutInLine = "why it ended here can't be told (a crash, a killed worker, a limit of its own, a server in between): the logs tell"

// headerUnfinished is for a header that had no end when a limit ran out.
func headerUnfinished(t *try, f finding) finding {
	f.evidence = cameWords(t)
	return f.at(failure.PhaseHeaders).
		leavesOpen("why its header had no end yet can't be told from here (a process that waits or hangs, a header that lacks its empty line, a server in between, a limit too short for this): asking the application directly tells")
}

// cameWords say what came of a header that was cut off, where it was heard.
func cameWords(t *try) []string {
	line, _, whole := strings.Cut(t.head(), "\n")
	if t.lineUnheard() || !whole || !strings.HasPrefix(line, "HTTP/") {
		return nil
	}
	carried := t.Connection.Carried
	interim := len(carried.Head) - len(carried.Final())
	came := carried.Received - int64(interim)
	if came <= 0 || t.Interim != 0 && interim == 0 {
		return nil
	}
	of := "it"
	if t.Interim != 0 {
		of = "the final answer"
	}
	return []string{counted(came, "byte") + " of " + of + " came, and its header had no end: the answer begins with " + said(strings.TrimSuffix(line, "\r"))}
}

// beginsWith says how an answer begins, "" where its first line was not heard.
func beginsWith(t *try) string {
	line, _, _ := strings.Cut(t.head(), "\n")
	if line == "" {
		return ""
	}
	return "the answer begins with " + said(strings.TrimSuffix(line, "\r"))
}

// largeWords say how headers that are too large begin, and which field alone is longer than
// what is kept of them, where they were heard.
func largeWords(t *try) []string {
	begins := beginsWith(t)
	if begins == "" {
		return nil
	}
	head := t.head()
	last := head[strings.LastIndexByte(head, '\n')+1:]
	name, value, ok := strings.Cut(last, ":")
	if !ok || len(last) == len(head) || len(value) < listen.MaxHead/2 {
		return []string{begins}
	}
	return []string{begins, "the field " + said(name) + " alone is longer than " + counted(int64(len(value)), "byte")}
}

// speaksHTTP is how an answer begins whose status line net/http could read: no other
// protocol does so.
func speaksHTTP(t *try) string {
	if begins := beginsWith(t); begins != "" {
		return begins
	}
	return "its status line could be read: it speaks HTTP"
}

// malformedAs is that of an answer which is refused with one of textsMalformed.
func malformedAs(t *try, text string) finding {
	begins := beginsWith(t)
	f := found(ResponseMalformed, "the answer was refused for this: "+errorWords(t.err))
	switch text {
	case textMalformedStatus, textMalformedVersion:
		if begins == "" { // what stands before the quoted part tells whether it may be quoted
			return f
		}
		f.evidence[0] = begins + ", where its version belongs first (HTTP/1.1)"
		if text == textMalformedStatus {
			f.evidence[0] = begins + ", where a status of three digits belongs"
		}
		if !strings.HasPrefix(t.head(), "HTTP/") {
			return noStatusLine(t, f)
		}
		if text == textMalformedStatus {
			if _, status, _ := strings.Cut(t.head(), " "); status == "" || status[0] < '0' || status[0] > '9' {
				return f.advise(adviceStatusDigits)
			}
			return f.advise(adviceStatus)
		}
		return f
	case textBadLength:
		f.evidence[0] += ", which is no number of bytes"
	}
	f.evidence = append(f.evidence, speaksHTTP(t))
	switch text {
	case textBadLength, textEmptyLength:
		return f.advise("Let the application's server count the bytes and set Content-Length, not the application by hand; else look at what a server in front of it sets (curl -v).")
	case textTwoLengths:
		return f.advise("Let one alone set Content-Length, best the application's server: curl -v shows what comes.").
			leavesOpen("whether the application sets both lengths, or its server or one in front of it adds one, can't be told from here: asking the application directly tells (curl -v)")
	}
	return f
}

// withPast adds what the upstream did before, where what speaks no HTTP answers there.
func (f finding) withPast(t *try) finding {
	if f.row == NotHTTP {
		f.evidence = append(f.evidence, beforeWords(t)...)
	}
	return f
}

// noStatusLine is for an answer that doesn't begin as one of HTTP's.
func noStatusLine(t *try, f finding) finding {
	if t.Interim != 0 || t.Before != nil && t.Before.Answers > 0 {
		return f // it speaks HTTP
	}
	f.evidence = append(f.evidence, beforeWords(t)...)
	return f.leavesOpen("another protocol there, and an application or a server in front of it that writes something before the status line, look the same from here: what listens there tells")
}

// malformedLine is the evidence of a header line that net/http refuses: which it is, and
// what is wrong with it.
func malformedLine(text string) []string {
	for _, known := range [...]struct{ text, wrong string }{
		{textMissingColon, "a line of the answer's header has no colon: "},
		{"malformed MIME header initial line: ", "the answer's header begins with a blank: "},
		{"malformed MIME header line: ", ""},
	} {
		quoted, ok := strings.CutPrefix(text, known.text)
		if !ok {
			continue
		}
		line, err := strconv.Unquote(quoted)
		if err != nil {
			return nil
		}
		wrong := known.wrong
		if name, _, _ := strings.Cut(line, ":"); wrong == "" {
			wrong = "a field's value has a character that none may have: "
			if name == "" {
				wrong = "a field of the answer's header has no name: "
			} else if strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) && !strings.ContainsRune("!#$%&'*+^`|~", r) }) {
				wrong = "a field's name has a character that none may have: "
			}
		}
		return []string{wrong + said(line)}
	}
	return nil
}

// givenUpCause finds the cause where an answer began while the request was still being
// sent, and the transport's error is that of the sending: whether the connection died
// or the transport closed it, because it could not read the answer. What came of it is
// read once more.
func givenUpCause(t *try) finding {
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(t.head())), nil)
	reset := !errors.Is(t.err, net.ErrClosed)
	switch {
	case err != nil && !died(err):
		again := *t
		again.err = err
		return headersCause(&again)
	case err == nil && reset:
		return found(RequestWriteFailed, "an answer had come before it was sent: "+strconv.Itoa(res.StatusCode)).advise(adviceRefusedUnread)
	case reset && t.TLS:
		return found(RequestWriteFailed, "an answer began while the request was still being sent, and was not read: an upload that is refused unread looks like this (413, 401)").advise(adviceRefusedUnread)
	case err != nil && t.headWhole() && (reset || died(t.readErr()) && !errors.Is(t.readErr(), net.ErrClosed)):
		return cutInHeaders(t, cameWords(t)...)
	}
	return found(Unknown, "an answer began while the request was still being sent, and was not read").at(failure.PhaseHeaders)
}

// saidOther finds the cause where the first bytes that came back are not HTTP/1's,
// whatever became of the connection then.
func saidOther(t *try) finding {
	if head := t.head(); head != "" {
		if f := firstLineCause(t, head); f.row != ResponseMalformed && f.row != ResponseCutInHeaders {
			return f
		}
	}
	return nothing
}

// firstLineCause looks at how an answer began.
func firstLineCause(t *try, line string) finding {
	evidence := "the answer begins with " + said(line)
	switch {
	case !t.TLS && isTLSAlert(line):
		return wantsTLS(t.Attempt, found(TLSExpected, evidence+alertWords(line)))
	case isHTTP2Settings(line):
		return wantsHTTP2(t.Attempt, found(HTTPVersionMismatch, evidence+": HTTP/2's first frame"))
	case speaksOther(line):
		return otherProtocol(line, evidence)
	case strings.HasPrefix("HTTP/1.1 ", line) && line != "", t.cutInLine() && strings.HasPrefix(line, "HTTP/"):
		if !t.headWhole() {
			return cutInHeaders(t, evidence)
		}
		f := cutInHeaders(t, counted(t.Connection.Carried.Received, "byte")+" of an answer came, and no end of a line: "+evidence)
		if strings.HasPrefix(line, "HTTP/") || strings.HasPrefix("HTTP/", line) || t.Before != nil && t.Before.Answers > 0 {
			return f.leavesOpen(undecidedCutInLine)
		}
		f.evidence = append(f.evidence, beforeWords(t)...)
		return f.leavesOpen("why it ended here can't be told (a crash, a killed worker, a limit of its own, a server in between, another protocol that begins so): the logs, and what listens there, tell")
	case greeted(t) && !strings.HasPrefix(line, "HTTP/"): // an answer of HTTP's to nobody is one, too
		return found(NotHTTP, evidence)
	}
	if !strings.HasPrefix(line, "HTTP/") {
		return noStatusLine(t, found(ResponseMalformed, evidence))
	}
	return found(ResponseMalformed, evidence)
}

// head are the first bytes that came back of a final answer, "" where they were not
// heard.
func (t *try) head() string {
	if t.Connection == nil {
		return ""
	}
	return string(t.Connection.Carried.Final())
}

// headWhole says that head is all that came back.
func (t *try) headWhole() bool {
	return !t.lineUnheard() && t.Connection.Carried.Received == int64(len(t.Connection.Carried.Head))
}

// readErr is what ended reading from the connection, nil where it wasn't heard.
func (t *try) readErr() error {
	if t.Connection == nil || t.Connection.Carried == nil {
		return nil
	}
	return t.Connection.Carried.ReadErr
}

// cutInLine says that the connection ended in the middle of a line: net/http then
// calls the line malformed.
func (t *try) cutInLine() bool {
	return t.Connection != nil && t.Connection.Carried.EndedInLine() && died(t.readErr())
}

// cutWords say where a header was cut off, and by what: net/http calls the rest of the line
// malformed, which it is not.
func cutWords(t *try, text string) []string {
	line, _, whole := strings.Cut(t.head(), "\n")
	if quoted, ok := strings.CutPrefix(text, textMissingColon); ok {
		line, _ = strconv.Unquote(quoted)
		whole = false
	}
	words := "the connection ended in the middle of a line"
	if !whole && line != "" {
		words += ", after " + said(line) + ": the line was cut off, it is not malformed"
	}
	return append([]string{words}, cameWords(t)...)
}

// cutOrMalformed is for a line of which nothing tells which it is.
func cutOrMalformed(t *try) finding {
	byHand := "curl -v"
	if t.protocol == protocolFastCGI {
		byHand = "cgi-fcgi -bind -connect " + addressOf(t.Attempt)
	}
	f := found(Unknown, "the answer's headers end in the middle of a line, or are malformed").at(failure.PhaseHeaders)
	f.summary = "{upstream} began to answer, and its headers were cut off in the middle of a line, or are malformed: nothing tells which."
	return f.advise("Look at the application's log for a crash at this time; without one, correct the line of which the error quotes a part.").
		leavesOpen("whether it was cut off or is malformed, and by the application or a server in between, can't be told from here: asking it directly tells (" + byHand + "), and its log")
}

// mayBeCut says that a line which is called malformed may be the beginning of one
// that was cut off: of a field's name, which lacks its colon then, or of a status.
func mayBeCut(text string) bool {
	if quoted, ok := strings.CutPrefix(text, textMissingColon); ok {
		line, err := strconv.Unquote(quoted)
		return err == nil && !strings.ContainsAny(line, " \t")
	}
	quoted, ok := strings.CutPrefix(text, textMalformedStatus)
	if !ok {
		return false
	}
	digits, err := strconv.Unquote(quoted)
	return err == nil && len(digits) < 3 && strings.Trim(digits, "0123456789") == ""
}

// lineUnheard says that it can't be told whether a line of an answer was cut off:
// nothing listened to the connection, or what came was encrypted, where TLS ends
// before the connection does.
func (t *try) lineUnheard() bool {
	return t.Connection == nil || t.Connection.Carried == nil || t.Connection.Carried.Encrypted
}

// isTLSAlert: an alert record (RFC 8446 section 5.1), type 21, version 3.x.
func isTLSAlert(line string) bool {
	return len(line) >= 3 && line[0] == 0x15 && line[1] == 3 && line[2] <= 4
}

// alertWords are what such a record says (RFC 8446 section 6): after a length of two
// bytes, how bad it is, and which alert.
func alertWords(line string) string {
	const fatal, level, alert = 2, 5, 6
	switch {
	case len(line) <= alert || line[3] != 0 || line[4] != 2:
		return ": a TLS alert"
	case line[level] == fatal:
		return ": a fatal TLS alert, " + alertName(line[alert])
	}
	return ": a TLS alert, " + alertName(line[alert])
}

// isHTTP2Settings: the frame by which an HTTP/2 server begins (RFC 9113 sections
// 3.4 and 6.5), a length, type 4, flags 0, stream 0. A line ends at 0x0a, so that
// not all of it need be here.
func isHTTP2Settings(line string) bool {
	return len(line) >= 9 && line[0] == 0 && line[3] == 4 && line[4:9] == "\x00\x00\x00\x00\x00"
}

// speaksOther says that a line is another protocol's: it begins with one of its
// greetings, or is binary.
func speaksOther(line string) bool {
	if isGreeting(line) {
		return true
	}
	if strings.HasPrefix(line, "HTTP/") {
		return false
	}
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			return true
		}
	}
	return false
}

func isGreeting(line string) bool {
	return slices.ContainsFunc(greetings, func(greeting string) bool { return strings.HasPrefix(line, greeting) })
}

// isHostName says that a quoted word is a host name with a domain.
func isHostName(quoted string) bool {
	word := strings.Trim(quoted, `"`)
	dot := strings.LastIndexByte(word, '.')
	if dot <= 0 || len(word)-dot < 3 {
		return false
	}
	for i := range len(word) {
		c := word[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i > dot || (c < '0' || c > '9') && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// greeted says that an answer came before the request had been written, which had
// no body that could be answered early.
func greeted(t *try) bool {
	return t.RequestBytes < 0 && !isHTTP2(t) && t.Connection != nil && !t.Connection.Reused && t.Wrote > 0 && t.FirstByte < t.Wrote
}

func isHTTP2(t *try) bool { return t.protocol == protocolH2 || t.protocol == protocolH2C }

// adviceStatusDigits is for a status that can't be read as one.
const adviceStatusDigits = "Look at what the application writes as status: a number of three digits belongs there (200 to 599)."

// adviceStatus is for a status that is none.
const adviceStatus = "Look at what the application sets as status: it has to be from 200 to 599, not an exception's own code, and not a variable that was never set."

// answerCause is that of an upstream's own answer.
func answerCause(a *listen.Attempt) finding {
	if unpassable(a) {
		status := strconv.Itoa(a.Status)
		if a.Protocol == "http/1.1" {
			status = fmt.Sprintf("%03d", a.Status) // there it has three digits
		}
		f := found(ResponseMalformed, "the upstream answered with the status "+status+": those of an answer are from 200 to 599")
		if begins := beginsWith(&try{Attempt: a}); begins != "" && a.Protocol == protocolHTTP1 {
			f.evidence = append(f.evidence, begins)
		}
		f.evidence = append(f.evidence, "all else of its header could be read: another protocol is ruled out")
		f.summary = "{upstream} answered with the status " + status + ", which is none of HTTP's."
		if a.Protocol == protocolFastCGI {
			f = f.leavesOpen("whether the script sets it so, something that runs before it, or its server, and for this request alone or for all, can't be told from here: the script tells")
		}
		return f.advise(adviceStatus)
	}
	if answeredInPlace(a) {
		return inPlaceCause(a)
	}
	if f := destinationCause(a); f.is() {
		return f
	}
	if grpcUnavailable(a) {
		f := found(UpstreamStatus, "the upstream answered grpc-status 14 (UNAVAILABLE) in its header")
		if message := a.Header.Get("Grpc-Message"); message != "" {
			f.evidence = append(f.evidence, "its grpc-message: "+said(message))
		}
		return f
	}
	// A want knows better, where the owner had such an answer held back.
	if f, w := wantedBy(a); w != nil {
		return f
	}
	f := found(UpstreamStatus, "the upstream answered "+strconv.Itoa(a.Status))
	if f := gatewayCause(a, f); f.advice != "" {
		return f
	}
	if after := a.Header.Get("Retry-After"); after != "" && a.Status == http.StatusServiceUnavailable {
		return f.advise("Look at the log of the server at {upstream}: it wants to be asked again later (Retry-After " + said(after) + "), as one in maintenance or one that is overloaded does.").
			leavesOpen("maintenance, an overload, a limit on requests, and a failure of something behind it, at the application or at a server in front of it, look the same from here: its log tells")
	}
	return f
}

// grpcUnavailable says that an answer is gRPC's own 503, which has no body.
func grpcUnavailable(a *listen.Attempt) bool {
	return a.Status == http.StatusOK && a.Header.Get("Grpc-Status") == "14"
}

// upgradeCause is that of a 101 that Caddy didn't pass on.
func upgradeCause(a *listen.Attempt) finding {
	f := found(UpgradeFailed)
	switches := false
	for _, name := range [...]string{"Connection", "Upgrade"} {
		values := strings.Join(a.Header.Values(name), ", ")
		if values == "" {
			f.evidence = append(f.evidence, "the upstream's 101 has no "+name+" field")
			continue
		}
		f.evidence = append(f.evidence, "the upstream's "+name+": "+said(values))
		for word := range strings.SplitSeq(values, ",") {
			switches = switches || name == "Connection" && strings.EqualFold(strings.TrimSpace(word), "Upgrade")
		}
	}
	asked := a.ClientUpgrade()
	line := "the client had asked for no upgrade"
	if asked != "" {
		line = "the client had asked for " + said(asked)
	}
	sent, connection := "", ""
	if a.Request != nil {
		sent, connection = a.Request.Header.Get("Upgrade"), strings.Join(a.Request.Header.Values("Connection"), ", ")
	}
	switch {
	case a.Request == nil:
		f.evidence = append(f.evidence, line)
	case !strings.EqualFold(sent, asked), names(connection, "Upgrade") != (asked != ""):
		// A WebSocket over HTTP/2 or 3 has no such fields, until Caddy sets them.
		f.evidence = append(f.evidence, "the client's Upgrade: "+said(asked), "what was sent had Upgrade: "+said(sent)+", Connection: "+said(connection))
		return f
	case asked == "":
		f.evidence = append(f.evidence, line+", and header_up set none")
		return f.advise(adviceUpgradeUnasked)
	default:
		f.evidence = append(f.evidence, line+", and what was sent asked for it, too: header_up changed nothing")
	}
	switch {
	case asked != "" && !switches:
		return f.advise(adviceConnectionUpgrade)
	case sent != "" && !strings.EqualFold(sent, a.Header.Get("Upgrade")):
		return f.advise(adviceOtherUpgrade)
	}
	return f
}

// adviceUpgradeUnasked and adviceOtherUpgrade are for a 101 that is no answer to what was
// sent.
const (
	adviceUpgradeUnasked = "Look at what answers 101 at {upstream}: it was asked for no upgrade, and may not switch to what nobody asked for (RFC 9110 section 7.8)."
	adviceOtherUpgrade   = "Look at what answers 101 at {upstream}: it may switch only to what it was asked for, and has to name that in its Upgrade field (RFC 9110 section 7.8)."
)

// adviceConnectionUpgrade is for a 101 that doesn't say that the connection switches.
const adviceConnectionUpgrade = "Let {upstream} send Connection: Upgrade with its 101 (RFC 9110 section 7.8): without it Caddy does not switch."

var ResponseCutInHeaders = &Row{
	Name: "response_cut_in_headers", Category: failure.CategoryInterrupted, ProxyError: "http_response_incomplete",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "{upstream} closed the connection in the middle of its answer's headers.",
	Advice:       "Look at the application's log for a crash at this time, and at that of a server in front of it.",
	Meaning:      "An answer had begun, and the connection ended before its headers were complete.",
	RecognisedBy: "At least one byte had come, and the connection ended: unexpected end of file, or a line that is not finished. Where the bytes were heard, the evidence quotes how the answer began.",
	Witnesses:    []Witness{WitnessError, WitnessReceived},
	Undecided:    "why it ended here can't be told (a crash, a killed worker, a limit of its own, a header that lacks its end, a server in between): the logs tell",
	UsualReasons: []string{
		"the application crashed or was killed while it answered",
		"a server in front of it that gave up in between",
	},
	Fix: Fix{
		Caddy:       "A GET may be tried again at another upstream.",
		Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_retries 1"),
		Docker:      "Look at docker events and docker inspect (OOMKilled, RestartCount).",
		Application: "Look at its log at this time for a crash.",
	},
	Rivals: []Rival{
		{"closed_before_response", "a byte of an answer had come"},
		{"response_malformed", "the connection ended in the middle of a line; over TLS, where bytes are not heard, nothing tells a cut within a line"},
		{"response_truncated", "the headers were not complete: the attempt has no status"},
	},
}

var NotHTTP = &Row{
	Name: "not_http", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "{upstream} speaks another protocol than HTTP.",
	Advice:       "Correct the host or the port in reverse_proxy: what answers there speaks another protocol; the evidence has how it begins, where it was heard.",
	Meaning:      "What answers at this port speaks another protocol than HTTP.",
	RecognisedBy: "The first bytes are those of another protocol or binary, or it spoke before the request was written; the evidence quotes them where they were heard.",
	Witnesses:    []Witness{WitnessReceived, WitnessError, WitnessPast},
	Undecided:    "whether the host, the port, or what leads there (a name, a published port, a forwarding) is the wrong one, or another program took the application's port, can't be told from here: what the application listens on tells",
	UsualReasons: []string{
		"the port of SSH, mail, a database or a cache instead of the application's",
		"a FastCGI, uwsgi or AJP port that is addressed as HTTP",
	},
	Fix: Fix{
		Caddy:       "Correct the port; for PHP use php_fastcgi.",
		Caddyfile:   "reverse_proxy app:8080",
		Docker:      "Use the port on which the container serves HTTP (docker compose ps shows which it has).",
		Application: "Turn on its HTTP port, if it has one.",
	},
	Rivals: []Rival{
		{"response_malformed", "it greeted before it was asked, or its first bytes are those of another protocol"},
		{"response_length_exceeded", "the connection was new: it had brought no answer before"},
		{"tls_expected", "the first bytes are no TLS record"},
		{"http_version_mismatch", "the first bytes are not HTTP/2's"},
		{"tls_not_spoken", "no TLS was spoken to it"},
	},
}

var TLSExpected = &Row{
	Name: "tls_expected", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseHeaders, Side: failure.SideProxy,
	Summary:      "{upstream} expects TLS, and was sent plain HTTP.",
	Advice:       "Use https:// in reverse_proxy, or tls in its transport; or correct the port or the host, if one of plain HTTP was meant.",
	Meaning:      "Caddy sent plain HTTP to a port that expects TLS.",
	RecognisedBy: "The port's own 400 has a sentence that says so (Go, nginx, Apache, Tomcat, Jetty, Cheroot), a 426 asks for TLS, or a TLS alert came instead of an answer; the evidence quotes it.",
	Witnesses:    []Witness{WitnessReceived, WitnessAsked},
	Undecided:    undecidedPort,
	UsualReasons: []string{
		"port 443 or 8443 without https:// in reverse_proxy",
		"the application turned TLS on",
	},
	Fix: Fix{
		Caddy:       "Speak TLS to it.",
		Caddyfile:   "reverse_proxy https://app:8443",
		Docker:      "Or use the container's port without TLS: inside a Docker network TLS can end at Caddy.",
		Application: "Or let it serve plain HTTP on a port for Caddy.",
	},
	Rivals: []Rival{
		{"not_http", "the first bytes are a TLS alert, or the answer says itself that TLS is expected"},
		{"closed_before_response", "something came back; a port that closes without a word cannot be told from here"},
		{"upstream_status", "the answer has the sentence of a TLS port, which the evidence quotes"},
		{"response_truncated", "the sentence came before the connection was reset: such a port reads less than a browser sends, and what is left unread resets it"},
	},
}

var HTTPVersionMismatch = &Row{
	Name: "http_version_mismatch", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseHeaders, Side: failure.SideProxy,
	Summary:      "Caddy and {upstream} speak different versions of HTTP.",
	Advice:       "Set versions in the transport to what the upstream speaks: h2c for HTTP/2 without TLS.",
	Meaning:      "Caddy and the upstream speak different versions of HTTP: HTTP/1.1 was sent to a server of HTTP/2, or the reverse.",
	RecognisedBy: "The answer to HTTP/1.1 begins with HTTP/2's settings frame, HTTP/2's transport saw an HTTP/1.1 answer, or the upstream says so itself: by alert 120 (no application protocol), the error codes HTTP_1_1_REQUIRED, INADEQUATE_SECURITY or H3_VERSION_FALLBACK, the status 505, or a sentence in its answer (Kestrel, Node).",
	Witnesses:    []Witness{WitnessReceived, WitnessError, WitnessAsked},
	Undecided:    "whether the version or the address is the wrong one, and whether the application or a server in front of it speaks so, can't be told from here: what is meant to be there tells",
	UsualReasons: []string{
		"a gRPC server without TLS, which needs h2c",
		"h2c:// for an application that speaks HTTP/1.1",
		"IIS, Exchange or Apache, which want HTTP/1.1 for a path with authentication of its own (NTLM, a client certificate)",
	},
	Fix: Fix{
		Caddy:       "Use the version that the upstream speaks: h2c:// for HTTP/2 without TLS, http:// for HTTP/1.1.",
		Caddyfile:   "reverse_proxy h2c://app:50051",
		Docker:      nothingToChange,
		Application: "Let it speak HTTP/1.1 as well, or offer both in TLS (ALPN).",
	},
	Rivals: []Rival{
		{"not_http", "the first bytes are those of the other version"},
		{"reset_before_response", "something came back"},
		{"stream_reset", "the error code says which version is wanted"},
		{"goaway", "the code says which version is wanted"},
		{"upstream_status", "the answer says which version is wanted"},
	},
}

var ResponseMalformed = &Row{
	Name: "response_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "The answer of {upstream} is not valid HTTP.",
	Advice:       "Look at what the application, or a server in front of it, writes as status line and header fields (curl -v); the evidence says where.",
	Meaning:      "The upstream answered, and what it wrote breaks HTTP's rules: the status line, a header field, or the length; or its status is below 100 or above 999, which no server of Go's passes on.",
	RecognisedBy: "The parser refused it; the error quotes the place, and the evidence how the answer began where the bytes were heard. Of a status that can't be passed on the evidence has the number.",
	Witnesses:    []Witness{WitnessReceived, WitnessError},
	Undecided:    "whether the application, its server, or one in front of it writes so, and for this request alone or for all, can't be told from here: asking the application directly tells (curl -v)",
	UsualReasons: []string{
		"a script that prints before its headers, or a line break in a header value",
		"a number of the application's own where the status belongs: 0, 42, or the code of an exception (1045 and 2002 of MySQL)",
		"two different Content-Length fields, or one that is no number",
		"a home-made server",
	},
	Fix: Fix{
		Caddy:       "Nothing: what cannot be read cannot be repaired.",
		Docker:      nothingToChange,
		Application: "Correct what it writes as status line and header fields; set no Content-Length by hand.",
	},
	Rivals: []Rival{
		{"response_cut_in_headers", "the connection had not ended within a line; over TLS, where bytes are not heard, nothing tells a cut within a line"},
		{"not_http", "the first bytes are not known to be those of another protocol"},
		{"response_length_exceeded", "the connection was new, or what came began with a status line"},
		{"transfer_coding_invalid", "the error is not about Transfer-Encoding"},
	},
}

var ResponseHeadersTooLarge = &Row{
	Name: "response_headers_too_large", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_header_section_size",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "The headers of the answer of {upstream} are too large.",
	Advice:       "Measure the headers of this answer (curl -o /dev/null -D -), and raise max_response_header in the transport if they are meant so; if not, find the field that grows, mostly Set-Cookie.",
	Meaning:      "The upstream's header fields are together larger than Caddy accepts: max_response_header, about 10 MB unless it is set. Where this config sets it, it is the config that refuses the answer: side proxy.",
	RecognisedBy: "The transport's own error, which names the limit in bytes.",
	Witnesses:    []Witness{WitnessError, WitnessAsked},
	Undecided:    "whether the limit is too small or the headers are too large, of the application or of a server in front of it, and for this request alone or for all, can't be told from here: what the application means to send tells",
	UsualReasons: []string{
		"cookies or debugging fields that grow with each answer",
		"max_response_header is set too low",
	},
	Fix: Fix{
		Caddy:       "Raise the limit, if such headers are meant.",
		Caddyfile:   inTransport("max_response_header 1MiB"),
		Docker:      nothingToChange,
		Application: "Find the field that grows, mostly Set-Cookie; keep sessions on the server.",
	},
	Rivals: []Rival{
		{"http_framing_error", "the error names the limit; headers that are far too large over HTTP/2 end as an error code that broken frames have, too, and are then unknown"},
	},
}

var UpgradeFailed = &Row{
	Name: "upgrade_failed", Category: failure.CategoryInvalidResponse, ProxyError: "http_upgrade_failed",
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream, Status: 502,
	Summary:      "{upstream} answered 101, and not as an upgrade is answered that the client asked for.",
	Advice:       "Check the Upgrade field of the upstream's 101 answer, and what header_up does to Upgrade and Connection.",
	Meaning:      "The upstream answered 101, Switching Protocols, but to another protocol than the client asked for, unasked, or without Connection: Upgrade. Caddy does not pass that on.",
	RecognisedBy: "The upstream's status was 101, and the client was given no 101. The evidence has the upstream's Upgrade and Connection fields, and what the client had asked for.",
	Witnesses:    []Witness{WitnessReceived, WitnessAsked},
	Undecided:    "whether the application, or a server in front of it, answers so can't be told from here: asking the application directly tells",
	UsualReasons: []string{
		"header_up changes or removes Upgrade or Connection",
		"an application that upgrades to something else, or whatever it is asked",
		"a server that leaves Connection: Upgrade out of its 101 (Proxmox Backup Server)",
	},
	Fix: Fix{
		Caddy:       "Remove what header_up does to Upgrade and Connection; or refuse upgrades altogether.",
		Caddyfile:   inProxy("header_up -Connection", "header_up -Upgrade"),
		Docker:      nothingToChange,
		Application: "Answer 101 only to a request with that Upgrade, and repeat its value.",
	},
	Rivals: []Rival{
		{"upstream_status", "the upstream's status is 101"},
	},
}

var UpstreamStatus = &Row{
	Name: "upstream_status", Category: failure.CategoryErrorResponse,
	Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
	Summary:      "{upstream} itself answered with an error status.", // which one is put in, see verdict.summary
	Advice:       "Look at the upstream's own log: the answer is its own, or that of something behind it.",
	Meaning:      "The upstream answered in good order, and its answer is an error of its own: 502, 503, 504, 520 to 530, gRPC's UNAVAILABLE, or what intercept names; or one to how Caddy asked: a Host that is not served, or by which a request of the site looks like another site's, fields that contradict each other about the visitor's scheme, a PROXY header that was not expected, a body of a length that was not told, a script that php-fpm does not find or may not run and Caddy has, an upgrade that was not passed on, a Destination that a WebDAV server takes for another's (side proxy).",
	RecognisedBy: "A status came from the upstream. received has it, with the fields that tell who said it: Server, Via, Retry-After, Proxy-Status, grpc-status. A COPY or MOVE whose Destination has another scheme or host than the upstream is asked by is told by that: 502 by RFC 4918, 400 of nginx. A gateway that answers for an upstream of its own is known by what it writes into the body (Envoy, HAProxy, nginx). A 400 of aiohttp's without a word of the application's, to a plain request for the site's first page, is told as what Home Assistant does to a proxy that it does not trust, which stays open.",
	Witnesses:    []Witness{WitnessReceived, WitnessAsked, WitnessPast},
	Undecided:    "why it answers so, for this request alone or for all, and whether the application, a server in front of it or something behind it does, can't be told from here: its log tells",
	UsualReasons: []string{
		"the application is in maintenance, or overloaded",
		"the upstream is itself a gateway, and what is behind it fails",
		"TLS ends at Caddy, and a WebDAV client's Destination still says https",
		"php-fpm has the site's files elsewhere than Caddy, or not at all (its container lacks the volume)",
		"it takes no body without a Content-Length (411, S3's 501), and the client sent none",
		"it was not told to trust the proxy (Home Assistant's 400), or of the site's name and scheme (Cockpit's 403 to its WebSocket)",
	},
	Fix: Fix{
		Caddy:       "Show the visitor your own page instead.",
		Caddyfile:   "upstream_diagnostics {\n\tintercept 5xx\n}\nreverse_proxy app:8080",
		Docker:      "If a proxy runs in between, look at its container's log first.",
		Application: "Look at its log at this time; the answer is its own.",
	},
	Rivals: []Rival{
		{"tls_expected", "the answer does not have the sentence of a TLS port"},
		{"client_certificate_rejected", "the answer does not have the sentence about a client certificate"},
		{"upgrade_failed", "the upstream's status is not 101"},
		{"http_version_mismatch", "the answer does not say that another version of HTTP is wanted"},
		{"tls_server_name_rejected", "the answer is not a 421 over TLS"},
		{"upstreams_full", "an upstream was asked, and answered: received is there"},
		{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
		{"forward_proxy_answered", "the connection leads to no forward proxy, or the upstream's address was the Host that it was asked for"},
		{"a gateway behind the upstream", "received: Server, Via and Proxy-Status, where that gateway names itself"},
		{"retried_without_body", "the request that was answered had its body"},
	},
}
