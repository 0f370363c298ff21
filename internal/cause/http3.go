package cause

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
)

// What quic-go's errors say. Its types are not imported here, so that the catalogue
// needs no QUIC: each layer of an error is known by how its text begins.
const (
	textQUICIdle           = "timeout: no recent network activity"
	textQUICStatelessReset = "received a stateless reset"
	textQUICApplication    = "Application error " // the code with which a connection was closed
	textQUICCrypto         = "CRYPTO_ERROR "      // of the handshake, which is TLS's
	textQUICAlert          = "CRYPTO_ERROR 0x1"   // then the alert's number, and who sent it
	textQUICRemote         = " (remote)"
	textH3Code             = "H3_" // RFC 9114 section 8.1
	textH3Local            = " (local)"
	textH3Rejected         = "H3_REQUEST_REJECTED"
	textH3Cancelled        = "H3_REQUEST_CANCELLED (local)"
	textH3NoError          = "H3_NO_ERROR (local)" // a handler that returned before it read all
	textH3Goaway           = "connection in graceful shutdown"
	textH3TooMuchBody      = "peer sent too much data"
	textH3NoHeaders        = "http3: expected first frame to be a HEADERS frame"
	textH3Invalid          = "http3: invalid response: "
	textQPACK              = "qpack: " // how headers are compressed
	textH3FrameTooLarge    = "http3: HEADERS frame too large: "
	textH3HeadersTooLarge  = "http3: headers too large"
)

// quicIdle is how soon a silent connection can't have been given up by quic-go's own limit,
// which Caddy leaves as it is; the server's may be shorter, and holds then.
const quicIdle = 29 * time.Second // a second less, for clocks

// http3Cause finds the cause where HTTP/3, or QUIC below it, has an error of its own.
// All of QUIC's errors say of themselves that the connection is closed, so this goes
// before the rules that take that for the upstream's doing.
func http3Cause(t *try) finding {
	if t.protocol != protocolHTTP3 || t.err == nil {
		return nothing
	}
	phase, framing := reached(t.Attempt), framedIn(t)
	switch phase {
	case failure.PhaseSend:
		phase = failure.PhaseWait
	case failure.PhaseBody:
		framing = failure.PhaseBody
	}
	if alert, ok := quicAlert(t.err); ok {
		return alertCause(t.Attempt, alert)
	}
	if t.Connection == nil {
		// There is no connect in UDP: the system refuses to send, or to give a socket.
		if f := udpConnectCause(t); f.is() {
			return f
		}
	}
	if layer(t.err, textQUICIdle) != "" {
		if t.Connection == nil { // a port that is silent
			return silentUDP(t, found(ConnectTimeout))
		}
		f := found(ConnectionLost, "QUIC gave the connection up: nothing came over it any more", "Caddy's QUIC asks by itself whether the other end is still there, and a server that lives answers that, however slow its application is").at(phase)
		if took := elapsed(t.Connection.At, t.end); !t.Connection.Reused && took < quicIdle {
			f.evidence = append(f.evidence, "it was given up within "+ms(took)+", by the limit that the server asked for (5 s at the least): Caddy's own is 30 s")
		}
		if t.Connection.Idle < leastForgotten {
			if _, own := ownAddress(addressOf(t.Attempt)); own {
				return f.advise("Look whether the server's process at {upstream} hangs, has crashed or was stopped, and at its log at this time: it is on " + thisMachine + " itself, and in QUIC it answers by itself, not its system. If it lives, look for a firewall of " + thisMachine + " that drops UDP (nft list ruleset).").
					leavesOpen("a server that hangs, has crashed or was stopped, and a firewall of " + here() + " that drops packets, look the same from here: its state and its log tell")
			}
			f = f.advise(adviceLost).leavesOpen("a network that loses packets, a machine that is down, and a server that hangs, has crashed or was stopped (in QUIC it answers by itself, not its system) look the same from here: whether its machine and its process live, tells")
		}
		return f
	}
	if layer(t.err, textQUICStatelessReset) != "" {
		f := found(ConnectionLost, "the upstream knows nothing of this connection any more (a QUIC stateless reset)").at(phase).
			leavesOpen("a restart, a crash, and a balancer that leads a connection elsewhere look the same from here: its log tells").
			advise("Look whether {upstream} was restarted or crashed at this time; with several instances behind its address, let the balancer keep a connection at one of them.")
		f.summary, f.side = "{upstream} no longer knew the connection over which it was asked.", failure.SideUpstream // who says so is there
		return f
	}
	if layer(t.err, textH3Goaway) != "" {
		return goawayCause(t, "the upstream had sent GOAWAY: Caddy's side sent the request no more over this connection").at(phase)
	}
	if code := layer(t.err, textH3Code); code != "" {
		return http3CodeCause(t, code, phase, framing)
	}
	switch text := t.errorText(); {
	case strings.HasPrefix(text, textH3FrameTooLarge):
		return h3HeadersTooLarge("the frame says how long the headers are, and was not read").
			leavesOpen("headers that are too large, of the application or of a server in front of it, for this request alone or for all, and a server that writes a wrong length, look the same from here: what comes by hand tells")
	case layer(t.err, textH3HeadersTooLarge) != "":
		return h3HeadersTooLarge()
	case text == textH3NoHeaders:
		return framingCause(t, "Caddy's side ended the stream: the answer does not begin with its headers").leavesOpen(openMaker)
	case text == textH3TooMuchBody:
		return found(ResponseLengthExceeded, "more of a body came than its Content-Length says").at(failure.PhaseBody).cutAtLength()
	case strings.HasPrefix(text, textH3Invalid):
		f := framingCause(t, "Caddy's side refused the answer's header: "+withoutSecrets(text[len(textH3Invalid):])).leavesOpen(openMaker)
		f.summary = summaryBrokenHeaderH3
		if strings.HasPrefix(text, textH3Invalid+textQPACK) {
			f.summary = summaryUnreadHeader
		}
		return f
	case t.FirstByte > 0 && !t.HasAnswer() && t.is(io.EOF, io.ErrUnexpectedEOF):
		return streamCutInHeaders()
	}
	return nothing
}

// http3CodeCause is that of an error code: of a stream or of the whole connection,
// and sent by the upstream or by our side.
func http3CodeCause(t *try, code string, phase, framing failure.Phase) finding {
	name, _, _ := strings.Cut(code, ": ") // what the upstream said of it follows
	evidence := "HTTP/3 error code " + name
	closed := layer(t.err, textQUICApplication) != ""
	if f := codeWants(t.Attempt, strings.TrimSuffix(name, textQUICRemote), "the upstream answered with the "+evidence); f.is() {
		return f.at(phase)
	}
	switch {
	case name == textH3Cancelled:
		return nothing // of our own making
	case name == textH3NoError:
		// Our side ends a connection so, once GOAWAY has come and nothing is under way.
		return goawayCause(t, "the upstream said that it takes no more requests").at(phase)
	case strings.HasSuffix(name, textH3Local):
		return framingCause(t, "Caddy's side ended it: HTTP/3 error code "+strings.TrimSuffix(name, textH3Local)).at(framing)
	case closed && framing == failure.PhaseBody:
		evidence += closedFor(name)
		return found(ResponseTruncated, evidence+": the upstream closed the connection").
			advise("Look at the log of the server at {upstream} at this time for an error while it was sending: what closed the connection was still there to say so.").
			leavesOpen("why it ended here can't be told (a failure in the application or what stands behind it, in the server's HTTP/3, a limit of its own, a restart, a server in between): its log tells")
	case closed && t.FirstByte > 0:
		evidence += closedFor(name)
		return found(ResponseCutInHeaders, evidence+": the upstream closed the connection")
	case closed:
		f := found(ClosedBeforeResponse, evidence+closedFor(name)+": the upstream closed the connection")
		if t.Interim != 0 {
			return endedAfterInterim(t, f)
		}
		f.evidence = append(append(f.evidence, beforeWords(t)...), spoken(t)...)
		return closedByCode(t, f, strings.TrimSuffix(name, textQUICRemote))
	}
	return resetCause(t, strings.TrimSuffix(name, textQUICRemote), phase)
}

// closedByCode is for a connection of QUIC that its server closed with a code. What crashes
// or is killed sends none.
func closedByCode(t *try, f finding, code string) finding {
	switch m := meaningOf(code); {
	case code == "H3_NO_ERROR":
		f.evidence = append(f.evidence, "H3_NO_ERROR says that the server itself ended the connection, and for no error: what crashes or is killed sends nothing")
		limit, crossed := "a limit of its own", ""
		if elapsed(sent(t), t.end) <= bound(t) {
			limit += " for connections or requests"
		}
		if t.Connection != nil && t.Connection.Reused {
			crossed = ", an idle timeout that crossed with the request"
		}
		return f.advise("Look at the log of the server at {upstream} at this time for why it closed a connection on which a request waited: a stop or a restart, a limit of its own, or a rule against this request; if another server answers there for it, in that one's log, too.").
			leavesOpen("why it ended this can't be told from here (a stop or restart, " + limit + crossed + ", a rule, a server in between, a target behind it that is gone): its log tells")
	case m != nil && m.codes[0] == "INTERNAL_ERROR":
		return f.advise(m.advice + " If the application has none, its server's log tells what failed in its HTTP/3.").
			leavesOpen("why it ended this can't be told from here (a failure in the application, in the server's HTTP/3, or of a server in between): its log tells")
	case m != nil:
		return f.advise(m.advice).leavesOpen(orText(m.undecided, "why it ended this can't be told from here (what Caddy sent, the server's HTTP/3, a server in between): its log tells"))
	}
	return f
}

// closedFor says what the code means with which a connection was closed: what is killed says
// nothing any more.
func closedFor(name string) string {
	if m := meaningOf(strings.TrimSuffix(name, textQUICRemote)); m != nil {
		return ", which says that " + m.says
	}
	return ""
}

// untilByTCP is how to do without HTTP/3 meanwhile.
const untilByTCP = " Until it does, versions 1.1 2 in the transport, without 3, goes by TCP, if the server takes that."

// silentUDP is for a port of UDP that answered nothing: one on which nobody listens is as
// silent as one behind a firewall, because no refusal is passed on.
func silentUDP(t *try, f finding) finding {
	f.advice = "Check that the server at {upstream} serves HTTP/3, on this port of UDP (ss -lunp where it runs), and that no firewall drops UDP to it." + untilByTCP
	f.undecided = "a port of UDP on which nobody listens, a firewall that drops UDP, a machine that is down, a server that hangs, a wrong address, and a network that is slow or loses packets look the same from here"
	at, own := ownAddress(addressOf(t.Attempt))
	if !own {
		return f
	}
	list, known := host.BoundUDP()
	if _, there := listenerAt(list, at); !known {
		return f
	} else if there {
		f.evidence = append(f.evidence, "somebody has port "+strconv.Itoa(int(at.Port()))+" of UDP on "+here()+", and does not answer")
		return f.leavesOpen("a server that hangs, one that speaks no HTTP/3, and a firewall of " + here() + " that drops UDP look the same from here: what has the port (ss -lunp), and its log, tell")
	}
	nobody := "nobody had port " + strconv.Itoa(int(at.Port())) + " of UDP on " + here()
	if tcp, known := host.Listeners(); known {
		if _, there := listenerAt(tcp, at); there {
			nobody += "; somebody listens on the same port of TCP"
		} else {
			nobody += ", nor that of TCP"
		}
	}
	f.evidence = append(f.evidence, nobody)
	f.side = failure.SideUpstream
	f.advice = "Start the server at {upstream}, or let it serve HTTP/3 on this port of UDP: nobody has it (ss -lunp)." + untilByTCP
	return f.leavesOpen("whether the server is down, serves no HTTP/3, or serves it elsewhere can't be told from here: its log, and ss -lunp where it runs, tell")
}

// streamUnanswered is for a stream that was ended without an answer: a connection that ends
// has another error in QUIC.
func streamUnanswered(f finding) finding {
	f.summary = "{upstream} ended the request's stream without an answer."
	f.evidence = append(f.evidence, "the stream was ended in good order, and the connection was not")
	return f.advise("Look at the log of the server at {upstream} at this time for a handler that ended without an answer; if there is none, its HTTP/3 is at fault: without 3 in versions of the transport that shows, if it speaks HTTP over TCP as well.").
		leavesOpen("whether a handler, a rule, or what stands behind the server ended it without an answer, or the server's HTTP/3 is broken, can't be told from here: its log tells")
}

// h3HeadersTooLarge is for headers that exceed the limit of HTTP/3's transport, which no
// option of Caddy's changes.
func h3HeadersTooLarge(evidence ...string) finding {
	return found(ResponseHeadersTooLarge, append(evidence, "HTTP/3's transport takes some 10 MB: max_response_header has no effect on it")...).
		advise("Measure the headers of this answer (curl --http3-only -o /dev/null -D -), and find the field that grows, mostly Set-Cookie; if all are meant so, versions 1.1 2 in the transport, without 3, lets max_response_header count. If they are small, report the length to whoever makes the server at {upstream}.").
		leavesOpen("whether the application or a server in front of it sets headers so large, and for this request alone or for all, can't be told from here: asking the application directly tells")
}

// streamCutInHeaders is for a stream that was ended within an answer's header.
func streamCutInHeaders() finding {
	f := found(ResponseCutInHeaders, "the stream was ended in good order within the answer's header, and the connection was not").at(failure.PhaseHeaders)
	f.summary = "{upstream} ended the request's stream in the middle of its answer's headers."
	return f.advise("Report it to whoever makes the server at {upstream}, which ends a stream in good order with half a header: what crashes does not. Until then, versions 1.1 2 in the transport, without 3, avoids it, if it speaks HTTP over TCP as well.").
		leavesOpen("whether the server itself, an application that writes HTTP/3 by itself, or a box in between does so, and for this request alone or for all, can't be told from here: its log, and asking it by hand (curl --http3-only), tell")
}

// layer is the text of the first error, of all that err wraps, that begins so; "" for
// none.
func layer(err error, prefix string) string {
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.HasPrefix(text, prefix) {
			return text
		}
	}
	return ""
}

// quicAlert returns the number of the TLS alert that the peer sent in QUIC, which has
// it in the lower byte of its own code (RFC 9001 section 4.8).
func quicAlert(err error) (alert uint8, ok bool) {
	text := layer(err, textQUICAlert)
	if len(text) < len(textQUICAlert)+2 {
		return 0, false
	}
	number, rest := text[len(textQUICAlert):len(textQUICAlert)+2], text[len(textQUICAlert)+2:]
	if !strings.HasPrefix(rest, textQUICRemote) {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 16, 8)
	return uint8(n), err == nil
}
