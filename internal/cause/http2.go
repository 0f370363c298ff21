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
		return streamCause(stream, phase, framing)
	}
	if goaway, ok := errors.AsType[http2.GoAwayError](t.err); ok {
		return found(Goaway, "GOAWAY with the error code "+goaway.ErrCode.String()).at(phase)
	}
	if broken, ok := errors.AsType[http2.ConnectionError](t.err); ok {
		return connectionErrorCause(t, http2.ErrCode(broken), framing)
	}
	if whole := t.errorText(); strings.HasPrefix(whole, textFramePayload) && strings.HasSuffix(whole, textLooksLikeHTTP1) {
		return found(HTTPVersionMismatch, "where a frame belongs, HTTP/1 came")
	}
	if errors.Is(t.err, http2.ErrFrameTooLarge) {
		return found(HTTPFramingError, "a frame is larger than HTTP/2 allows").at(framing)
	}
	text := strings.TrimPrefix(t.text(), textCannotRetry)
	switch {
	case strings.HasPrefix(text, textReceivedGoaway), strings.HasPrefix(text, textGracefulGoaway):
		return found(Goaway, "the upstream said that this request was not processed").at(phase)
	case strings.HasPrefix(text, textSentGoaway):
		return found(Goaway).at(phase)
	case strings.HasPrefix(t.text(), textCannotRetry+textStreamError):
		// Only what the peer reset is ever tried again; its code stands in the middle.
		code := strings.TrimSuffix(strings.TrimPrefix(t.text(), textCannotRetry+textStreamError), "; "+textFromPeer)
		if parts := strings.Split(code, "; "); len(parts) > 1 {
			return found(StreamReset, "HTTP/2 error code "+cut(clean(parts[1]), maxEvidence)).at(phase)
		}
		return found(StreamReset).at(phase)
	case text == textTooMuchForLength:
		return found(ResponseMalformed).at(failure.PhaseBody)
	case text == textNotEstablished && !t.TLS:
		return found(ClosedBeforeResponse, "the connection was closed before the request was sent")
	case text == textNotEstablished:
		return found(Unknown, closedAfterHandshake).at(failure.PhaseSend)
	}
	return nothing
}

// streamCause is that of one stream's error: the upstream reset it, or our side did
// because of what came.
func streamCause(stream http2.StreamError, phase, framing failure.Phase) finding {
	evidence := "HTTP/2 error code " + stream.Code.String()
	switch {
	case stream.Cause != nil && stream.Cause.Error() == textFromPeer:
		return found(StreamReset, evidence).at(phase)
	case stream.Cause != nil && stream.Cause.Error() == textH2HeadersExceeded:
		return found(ResponseHeadersTooLarge)
	case stream.Code == http2.ErrCodeCancel:
		return nothing // of our own making
	case stream.Cause != nil:
		evidence += ": " + cut(clean(stream.Cause.Error()), maxEvidence)
	}
	return found(HTTPFramingError, evidence).at(framing)
}

// connectionErrorCause is that of a connection which our side ended because of what
// came. Headers that are much larger than allowed have the same error as broken ones:
// x/net's Framer gives the one up with PROTOCOL_ERROR, a single long field with
// COMPRESSION_ERROR. Its own limit is 10 MiB, that of a config may be anything.
func connectionErrorCause(t *try, code http2.ErrCode, framing failure.Phase) finding {
	evidence := "HTTP/2 error code " + code.String()
	ambiguous := code == http2.ErrCodeProtocol || code == http2.ErrCodeCompression
	if ambiguous && t.FirstByte == 0 && (t.Limits == nil || t.Limits.MaxResponseHeader > 0) {
		return found(Unknown, evidence, "broken headers, or more than max_response_header: both give this error").at(framing)
	}
	return found(HTTPFramingError, evidence).at(framing)
}

// fastCGICause finds the cause where an answer is not FastCGI, or its headers are
// not what CGI says.
func fastCGICause(t *try) finding {
	if t.protocol != protocolFastCGI {
		return nothing
	}
	if mayBeCut(t.text()) {
		return found(Unknown, "the answer's headers end in the middle of a line, or are malformed").at(failure.PhaseHeaders)
	}
	_, malformed := errors.AsType[textproto.ProtocolError](t.err)
	_, noNumber := errors.AsType[*strconv.NumError](t.err)
	if malformed || noNumber || strings.HasPrefix(t.text(), "fcgi: ") {
		return found(FastCGIMalformed)
	}
	return nothing
}

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
	if strings.HasPrefix(text, textCannotRetry+textStreamError) {
		return strings.Contains(text, "; REFUSED_STREAM; "+textFromPeer)
	}
	text = strings.TrimPrefix(text, textCannotRetry)
	return text == textNotEstablished || strings.HasPrefix(text, textReceivedGoaway) || strings.HasPrefix(text, textGracefulGoaway)
}
