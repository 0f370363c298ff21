package cause

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
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
	textHeadersExceeded   = "net/http: server response headers exceeded "
	textH2HeadersExceeded = "http2: response header list larger than advertised limit"
	textManyCodings       = "too many transfer encodings: "
	textOtherCoding       = "unsupported transfer encoding: "
)

// textsMalformed are further beginnings, all of an answer that breaks HTTP's rules.
var textsMalformed = []string{
	textMalformedResponse,
	textMalformedStatus,
	"malformed HTTP version ",
	"bad Content-Length ",
	"invalid empty Content-Length ",
	"http: message cannot contain multiple Content-Length headers",
	"invalid Trailer key ",
}

// tlsPortSays are the sentences by which a TLS port answers plain HTTP: those of
// Go, nginx and Apache.
var tlsPortSays = [][]byte{
	[]byte("Client sent an HTTP request to an HTTPS server."),
	[]byte("The plain HTTP request was sent to HTTPS port"),
	[]byte("speaking plain HTTP to an SSL-enabled server port"),
}

// greetings are the first bytes of other protocols: SSH, mail, POP3, IMAP, Redis,
// memcached, AMQP, VNC, FTP.
var greetings = []string{"SSH-", "220 ", "220-", "+OK", "* OK", "-ERR", "-NOAUTH", "-DENIED", "ERROR", "AMQP", "RFB "}

// headersCause finds the cause where an answer began and couldn't be read.
func headersCause(t *try) finding {
	if t.FirstByte == 0 || t.Status != 0 {
		return nothing
	}
	text := t.text()
	switch {
	case isAwaitingTimeout(t):
		return found(ResponseTimeout).at(failure.PhaseHeaders).within(t.ran(failure.ResponseHeaderTimeout, sent(t), t.end))
	case isReadTimeout(t.err):
		if t.absent(failure.ReadTimeout) {
			return nothing
		}
		return found(ReadTimeout).at(failure.PhaseHeaders).within(t.ran(failure.ReadTimeout, t.FirstByte, t.end))
	case strings.HasPrefix(text, textHeadersExceeded), text == textH2HeadersExceeded:
		return found(ResponseHeadersTooLarge)
	case strings.HasPrefix(text, textManyCodings), strings.HasPrefix(text, textOtherCoding):
		return found(TransferCodingInvalid)
	case strings.HasPrefix(text, textMalformedResponse):
		return firstLineCause(t, text[len(textMalformedResponse):])
	case strings.HasPrefix(text, textMalformedStatus) && greeted(t):
		return found(NotHTTP, "it greeted before the request was written")
	}
	for _, known := range textsMalformed {
		if strings.HasPrefix(text, known) {
			return found(ResponseMalformed)
		}
	}
	if _, ok := errors.AsType[textproto.ProtocolError](t.err); ok {
		return found(ResponseMalformed)
	}
	switch errno := errnoOf(t.err); {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost).at(failure.PhaseHeaders)
	case died(t.err):
		// net/http hides a first timeout here, and ends with the second.
		if limit := t.ran(failure.ReadTimeout, t.FirstByte, t.end); limit != nil && t.is(io.ErrUnexpectedEOF) {
			return found(ReadTimeout).at(failure.PhaseHeaders).within(limit)
		}
		return found(ResponseCutInHeaders)
	}
	return nothing
}

// firstLineCause looks at the line with which an answer began, quoted as net/http
// has it in its error.
func firstLineCause(t *try, quoted string) finding {
	line, err := strconv.Unquote(quoted)
	if err != nil {
		return found(ResponseMalformed)
	}
	evidence := "the answer begins with " + quote([]byte(line))
	switch {
	case !t.TLS && isTLSAlert(line):
		return found(TLSExpected, evidence)
	case isHTTP2Settings(line):
		return found(HTTPVersionMismatch, evidence)
	case strings.HasPrefix("HTTP/1.1 ", line) && line != "":
		return found(ResponseCutInHeaders, evidence)
	case speaksOther(line), greeted(t):
		return found(NotHTTP, evidence)
	}
	return found(ResponseMalformed, evidence)
}

// isTLSAlert: an alert record (RFC 8446 section 5.1), type 21, version 3.x.
func isTLSAlert(line string) bool {
	return len(line) >= 3 && line[0] == 0x15 && line[1] == 3 && line[2] <= 4
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
	for _, greeting := range greetings {
		if strings.HasPrefix(line, greeting) {
			return true
		}
	}
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
			return !strings.HasPrefix(line, "HTTP/")
		}
	}
	return false
}

// greeted says that an answer came before the request had been written, which had
// no body that could be answered early.
func greeted(t *try) bool {
	return t.RequestBytes < 0 && !isHTTP2(t) && t.Connection != nil && !t.Connection.Reused && t.Wrote > 0 && t.FirstByte < t.Wrote
}

func isHTTP2(t *try) bool { return t.protocol == protocolH2 || t.protocol == protocolH2C }

// saysTLSExpected says that a 400 is that of a TLS port.
func saysTLSExpected(a *listen.Attempt) bool {
	if a.TLS || a.Status != http.StatusBadRequest {
		return false
	}
	for _, sentence := range tlsPortSays {
		if bytes.Contains(a.Body.Start, sentence) {
			return true
		}
	}
	return false
}

// answerCause is that of an upstream's own answer.
func answerCause(a *listen.Attempt) finding {
	return found(UpstreamStatus, "the upstream answered "+strconv.Itoa(a.Status))
}

// upgradeCause is that of a 101 that Caddy didn't pass on.
func upgradeCause(a *listen.Attempt) finding {
	f := found(UpgradeFailed)
	if upgrade := a.Header.Get("Upgrade"); upgrade != "" {
		f.evidence = []string{"the upstream's Upgrade: " + quote([]byte(upgrade))}
	}
	return f
}
