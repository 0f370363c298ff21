package cause

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
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
	textOtherLength,
	"unsupported protocol scheme",
	textInvalidHostH2,
	textHeaderListH2,
	"http2: invalid request :path ",
	"http2: invalid HTTP header ",
	"http2: invalid HTTP trailer ",
	"http3: invalid http header field ",
	"http3: invalid method ",
	"http3: no Host in request URL",
	"http3: nil Request.",
	"http3: unsupported protocol scheme",
	"request body has no known length; increase request_buffers",
	"request body length is not a valid CONTENT_LENGTH",
}

const (
	textInvalidHostH2 = "http2: invalid Host header"
	textHeaderListH2  = "http2: request header list larger than peer's advertised limit"
	textNoHost        = ": no Host in request URL" // after http or http3
)

// textOtherLength is the one of them that is found out while sending.
const textOtherLength = "http: ContentLength="

// refusedUnsent says that the transport refused a request before it sent any of it.
func refusedUnsent(a *listen.Attempt) bool {
	return notSendableCause(&try{Attempt: a, err: a.Err}).is() && !strings.HasPrefix(innermost(a.Err), textOtherLength)
}

// notSendableCause: nothing came back, and the transport itself refused to send.
func notSendableCause(t *try) finding {
	if t.FirstByte > 0 || t.err == nil {
		return nothing
	}
	text, whole := t.text(), t.errorText() // HTTP/2 says who it is in the outermost alone
	if t.Exact && t.Address == "" && strings.HasSuffix(text, textNoHost) {
		// The transports check the request before they dial: a placeholder gave nothing.
		return found(DialAddressInvalid, "the address that was dialled: "+quote([]byte(t.Address)))
	}
	for _, known := range textsNotSendable {
		if !strings.HasPrefix(text, known) && !strings.HasPrefix(whole, known) {
			continue
		}
		f := found(RequestNotSendable)
		switch {
		case whole == textInvalidHostH2 && strings.HasPrefix(t.Network, "unix"):
			return f.advise(adviceSocketHost)
		case whole == textHeaderListH2:
			return f.advise(adviceHeaderList)
		}
		return f
	}
	return nothing
}

// adviceSocketHost is for TLS on a unix socket, where Caddy takes the address for the
// Host that it sends: HTTP/1.1 leaves it out, HTTP/2 refuses it.
const adviceSocketHost = "Set header_up Host to the upstream's name: over TLS Caddy sends the address, and over HTTP/2 the path of a socket can't be one."

// adviceHeaderList is for an upstream of HTTP/2 that takes only so much of a header.
const adviceHeaderList = "Raise the upstream's limit for the header of a request (SETTINGS_MAX_HEADER_LIST_SIZE), or send less: look for cookies and for fields that header_up adds."

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
	case died(err) && saidOther(t).is():
		return saidOther(t) // it spoke, and reset the connection for what it was sent
	case died(err) && t.protocol == protocolFastCGI && t.RequestBytes < 0:
		return nothing // without a body only what ends a request can be missing: the script may have run
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
