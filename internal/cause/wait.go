package cause

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// roundTrip is the least that is granted to a round trip, where a reused
// connection is found to be dead: a connection's own is not known.
const roundTrip = 50 * time.Millisecond

// Texts of the transports, none of which has a type of its own.
const (
	textAwaiting       = "timeout awaiting response headers" // after net/http: or http2:
	textServerClosed   = "http: server closed idle connection"
	textConnectionLost = "http2: client connection lost"
	textUnsolicited    = "readLoopPeekFailLocked: %!w(<nil>)" // bytes came before a request was under way
)

// waitCause finds the cause where the request was sent and no byte came.
func waitCause(t *try) finding {
	if t.FirstByte > 0 {
		return nothing
	}
	if !connected(t.Attempt) {
		return nothing
	}
	if t.Silent {
		return silentCause(t)
	}
	errno := errnoOf(t.err)
	text := t.text()
	switch {
	case text == textUnsolicited && t.Connection != nil && !t.Connection.Reused:
		// HTTP/2's servers may begin as well: only the bytes tell.
		if f := saidOther(t); f.is() {
			return f
		}
		return found(Unknown, "it sent something before the request was written")
	case isAwaitingTimeout(t):
		return found(ResponseTimeout).within(t.ran(failure.ResponseHeaderTimeout, sent(t), t.end))
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH, errno == syscall.ENETUNREACH,
		text == textConnectionLost:
		return found(ConnectionLost)
	case isReadTimeout(t.err):
		if t.absent(failure.ReadTimeout) {
			return nothing
		}
		return found(ReadTimeout).within(t.ran(failure.ReadTimeout, sent(t), t.end))
	case diedIdle(t, t.err):
		return keepaliveCause(t)
	case errno == syscall.ECONNRESET, errno == syscall.EPIPE, errno == syscall.ECONNABORTED:
		if f := saidOther(t); f.is() {
			return f
		}
		f := found(ResetBeforeResponse, sentPROXY(t)...)
		if t.protocol == protocolFastCGI {
			return f.advise(adviceScriptEnded)
		}
		return f
	case died(t.err) && isHTTP2(t) && t.Wrote == 0 && t.RequestBytes == 0:
		// Its transport returns before it says how far it had written.
		return found(RequestWriteFailed, "the request's body had not begun")
	case t.is(io.EOF, net.ErrClosed), text == textServerClosed, t.is(io.ErrUnexpectedEOF) && t.Connection != nil:
		// Go's transport itself closes a connection on which something came unasked,
		// and writing may find it closed before that is told.
		if f := saidOther(t); f.is() {
			return f
		}
		return closedCause(t)
	}
	return nothing
}

// adviceScriptEnded is for FastCGI, where php-fpm ends a worker without a word.
const adviceScriptEnded = "Look at the log of php-fpm at this time: a script that ran longer than request_terminate_timeout, a crash, or a worker that was killed for its memory (compare memory_limit with what the machine has)."

func closedCause(t *try) finding {
	f := found(ClosedBeforeResponse, sentPROXY(t)...)
	if t.protocol == protocolFastCGI { // which has no connection to tell of
		f.evidence = append(f.evidence, "the connection was closed, and no byte of an answer had come, "+ms(elapsed(sent(t), t.end))+" after the connect")
		return f.advise(adviceScriptEnded)
	}
	return f
}

// sentPROXY says what may be behind a close without a word, where a PROXY header goes
// before the request. Nothing tells it from a crash.
func sentPROXY(t *try) []string {
	if t.Limits == nil || t.Limits.ProxyProtocol == "" {
		return nil
	}
	return []string{"a PROXY protocol header (" + t.Limits.ProxyProtocol + ") was sent: an upstream that does not expect one closes like this"}
}

// silentCause: Go's transport tries again by itself only where a reused connection
// died before the first byte. HTTP/2 and 3 have other reasons to.
func silentCause(t *try) finding {
	if t.protocol == protocolHTTP3 || t.protocol == protocolH2 || t.protocol == protocolH2C || t.protocol == "" && t.TLS || !soon(t) {
		return nothing
	}
	return keepaliveCause(t)
}

func keepaliveCause(t *try) finding {
	since := "the request was written"
	if !written(t.Attempt) {
		since = "it was taken for the request"
	}
	return found(KeepaliveRace, fmt.Sprintf("the connection died %s after %s, within the %s granted to a round trip", ms(diedAfter(t)), since, ms(bound(t))))
}

// diedIdle says that a connection from the idle pool was found dead: it died before
// the first byte, and within one round trip. Later, the application had the
// request, and may have worked on it.
func diedIdle(t *try, err error) bool {
	c := t.Connection
	if c == nil || !c.Reused || !c.WasIdle || t.FirstByte > 0 || !died(err) {
		return false
	}
	return soon(t)
}

// soon says that a connection was found dead within one round trip of the request.
func soon(t *try) bool { return diedAfter(t) <= bound(t) }

// diedAfter is how long after the request a connection was found dead. Where writing
// found it, that moment is known, and the attempt may have ended any time later.
func diedAfter(t *try) time.Duration {
	if t.WriteErr != nil {
		return elapsed(sendStart(t), t.Wrote)
	}
	return elapsed(sent(t), t.end)
}

// bound is what is granted to a round trip: as long as a connect took.
func bound(t *try) time.Duration {
	longest := roundTrip
	for _, c := range connects(t.Attempt) {
		if c.Err == nil && c.End > 0 {
			longest = max(longest, elapsed(c.Start, c.End))
		}
	}
	return longest
}

// died says that a connection ended.
func died(err error) bool {
	switch errnoOf(err) {
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return true
	case 0:
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || innermost(err) == textServerClosed
	}
	return false
}

// sent is when the request was written, or since when it was being.
func sent(t *try) time.Duration {
	if written(t.Attempt) { // else that is when writing failed
		return t.Wrote
	}
	return sendStart(t)
}

// sendStart is when there was a connection to send on.
func sendStart(t *try) time.Duration {
	if t.Connection != nil {
		return t.Connection.At
	}
	return max(handshakeStart(t), t.Sent)
}

// isAwaitingTimeout: the transport's own timer ran out. The errors of HTTP/1 and
// HTTP/2 have different types, and their text in common.
func isAwaitingTimeout(t *try) bool {
	return isTimeout(t.err) && strings.HasSuffix(t.err.Error(), textAwaiting) && !isReadTimeout(t.err)
}

// isReadTimeout says that reading from the connection timed out.
func isReadTimeout(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "read" && isTimeout(err)
}
