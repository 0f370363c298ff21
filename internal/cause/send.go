package cause

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// textsNotSendable are the beginnings of what the transports say of a request
// that they refuse to send. None has a type.
var textsNotSendable = []string{
	"net/http: invalid header ",
	"net/http: invalid trailer ",
	"net/http: invalid method ",
	"net/http: can't write control character in Request.URL",
	"http: no Host in request URL",
	"http: nil Request.URL",
	"http: nil Request.Header",
	"http: invalid Host header",
	"http: ContentLength=",
	"unsupported protocol scheme",
	"request body has no known length; increase request_buffers",
	"request body length is not a valid CONTENT_LENGTH",
}

// notSendableCause: nothing came back, and the transport itself refused to send.
func notSendableCause(t *try) finding {
	if t.FirstByte > 0 || t.err == nil {
		return nothing
	}
	text := t.text()
	for _, known := range textsNotSendable {
		if strings.HasPrefix(text, known) {
			return found(RequestNotSendable)
		}
	}
	return nothing
}

// sendCause finds the cause where sending the request failed.
func sendCause(t *try) finding {
	if !connected(t.Attempt) || t.FirstByte > 0 {
		return nothing
	}
	if t.WriteErr == nil && !isWriteError(t.err) {
		return nothing
	}
	err := t.err
	if err == nil {
		err = t.WriteErr
	}
	// Over HTTP/2 something else may be written after the request was.
	whole, phase := written(t.Attempt), failure.PhaseSend
	if whole {
		phase = failure.PhaseWait
	}
	errno := errnoOf(err)
	// Where our side saw the end first, writing finds the connection closed; through
	// TLS without the operation's name.
	reset := errno != 0 && died(err) || errors.Is(err, net.ErrClosed)
	switch {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost).at(phase)
	case isWriteError(err) && isTimeout(err):
		if whole || t.absent(failure.WriteTimeout) {
			return nothing
		}
		return found(RequestWriteTimeout).within(t.ran(failure.WriteTimeout, sendStart(t), t.end))
	case diedIdle(t, err):
		return keepaliveCause(t)
	case reset && alertMayBeLost(t):
		return found(Unknown, closedAfterHandshake).at(phase)
	case whole || nothingSent(t.Attempt) || t.text() == textServerClosed:
		return nothing // it was over before, or after
	case died(err) && t.protocol == protocolH2C && !spokeHTTP2(t):
		return found(Unknown, closedAfterPreface).at(phase)
	case died(err):
		return found(RequestWriteFailed)
	}
	return nothing
}

// closedAfterHandshake is all that is known where an alert may have been lost.
const closedAfterHandshake = "the connection was closed right after the TLS handshake: a missing or refused client certificate looks like this, and so does a crash"

// alertMayBeLost says that writing failed on a TLS connection that had just been
// made. In TLS 1.3 a server refuses a client's certificate after the handshake, and
// closes; who writes before the alert was read sees nothing but a closed connection.
func alertMayBeLost(t *try) bool {
	c := t.Connection
	return t.TLS && c != nil && !c.Reused && t.FirstByte == 0 && elapsed(c.At, t.end) <= roundTrip
}

// isWriteError says that err comes from writing to the upstream's connection.
// Copying a body into it is called "readfrom".
func isWriteError(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "write" || op.Op == "readfrom")
}

// uploadMalformed says that the client's body breaks the rules of its framing.
func uploadMalformed(err error) bool { return isChunkError(err) }

// textBodyClosedH2 is what a server of HTTP/2 says of a body that was closed by
// whoever reads it; http.ErrBodyReadAfterClose is HTTP/1's.
const textBodyClosedH2 = "body closed by handler"

// uploadExplains says that reading the client's body failed by itself, not because
// Caddy had stopped.
func uploadExplains(err error) bool {
	return err != nil && !canceled(err) && !errors.Is(err, http.ErrBodyReadAfterClose) &&
		innermost(err) != textBodyClosedH2 && layer(err, textH3Cancelled) == "" && layer(err, textH3NoError) == ""
}
