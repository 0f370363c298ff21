package cause

import (
	"errors"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Texts of HTTP/2's transport, for errors that have no type of their own.
const (
	textLooksLikeHTTP1   = "note that the frame header looked like an HTTP/1.1 header"
	textReceivedGoaway   = "http2: Transport received GOAWAY from server ErrCode:"
	textGracefulGoaway   = "http2: Transport received Server's graceful shutdown GOAWAY"
	textSentGoaway       = "http2: server sent GOAWAY and closed the connection"
	textCannotRetry      = "http2: Transport: cannot retry err ["
	textStreamError      = "stream error: "
	textFromPeer         = "received from peer"
	textTooMuchForLength = "net/http: server replied with more than declared Content-Length; truncated"
)

// http2Cause finds the cause where HTTP/2 has an error of its own.
func http2Cause(t *try) finding {
	phase, framing := reached(t.Attempt), failure.PhaseHeaders
	switch phase {
	case failure.PhaseSend:
		phase = failure.PhaseWait
	case failure.PhaseBody:
		framing = failure.PhaseBody
	}
	if stream, ok := errors.AsType[http2.StreamError](t.err); ok {
		evidence := "HTTP/2 error code " + stream.Code.String()
		if stream.Cause == nil || stream.Cause.Error() != textFromPeer {
			if stream.Code == http2.ErrCodeCancel {
				return nothing // of our own making
			}
			return found(HTTPFramingError, evidence).at(framing)
		}
		return found(StreamReset, evidence).at(phase)
	}
	if goaway, ok := errors.AsType[http2.GoAwayError](t.err); ok {
		return found(Goaway, "HTTP/2 error code "+goaway.ErrCode.String()).at(phase)
	}
	if broken, ok := errors.AsType[http2.ConnectionError](t.err); ok {
		return found(HTTPFramingError, "HTTP/2 error code "+http2.ErrCode(broken).String()).at(framing)
	}
	text := strings.TrimPrefix(t.text(), textCannotRetry)
	switch {
	case strings.HasPrefix(text, textReceivedGoaway), strings.HasPrefix(text, textGracefulGoaway), strings.HasPrefix(text, textSentGoaway):
		return found(Goaway).at(phase)
	case strings.HasPrefix(t.text(), textCannotRetry+textStreamError):
		return found(StreamReset).at(phase) // only what the peer refused is ever tried again
	case strings.HasPrefix(text, "http2: ") && strings.HasSuffix(text, textLooksLikeHTTP1):
		return found(HTTPVersionMismatch)
	case text == textTooMuchForLength:
		return found(ResponseMalformed).at(failure.PhaseBody)
	}
	return nothing
}

// fastCGICause finds the cause where an answer is not FastCGI, or its headers are
// not what CGI says.
func fastCGICause(t *try) finding {
	if t.protocol != protocolFastCGI {
		return nothing
	}
	_, malformed := errors.AsType[textproto.ProtocolError](t.err)
	_, noNumber := errors.AsType[*strconv.NumError](t.err)
	if malformed || noNumber || strings.HasPrefix(t.text(), "fcgi: ") {
		return found(FastCGIMalformed)
	}
	return nothing
}

// refusedUnprocessed says that the peer said of the request that it wasn't
// processed (RFC 9113 section 8.7).
func refusedUnprocessed(err error) bool {
	if stream, ok := errors.AsType[http2.StreamError](err); ok {
		return stream.Code == http2.ErrCodeRefusedStream && stream.Cause != nil && stream.Cause.Error() == textFromPeer
	}
	text := innermost(err)
	return strings.HasPrefix(text, textCannotRetry+textStreamError) && strings.Contains(text, "; REFUSED_STREAM; "+textFromPeer)
}
