package cause

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
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
		return unasked(t)
	case strings.HasSuffix(text, textManyInterim):
		return manyInterim()
	case isAwaitingTimeout(t):
		return neverSpoke(t, found(ResponseTimeout).within(t.ran(failure.ResponseHeaderTimeout, sent(t), t.end)))
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH, errno == syscall.ENETUNREACH,
		text == textConnectionLost:
		return found(ConnectionLost)
	case isReadTimeout(t.err):
		if t.absent(failure.ReadTimeout) {
			return nothing
		}
		f := found(ReadTimeout).within(t.ran(failure.ReadTimeout, sent(t), t.end))
		if t.protocol == protocolFastCGI {
			if slow := outlasted(t, t.err, f.limit); slow.is() {
				return slow
			}
			f.evidence = []string{"no header of an answer came in " + ms(elapsed(sent(t), t.end)) + " after the connect; Caddy's FastCGI does not tell what it sent"}
			return f.advise(adviceScriptSlow)
		}
		return neverSpoke(t, f)
	case diedIdle(t, t.err):
		return keepaliveCause(t)
	case errno == syscall.ECONNRESET, errno == syscall.EPIPE, errno == syscall.ECONNABORTED:
		if f := saidOther(t); f.is() {
			return f
		}
		return endedUnanswered(t, found(ResetBeforeResponse, sentPROXY(t)...))
	case died(t.err) && isHTTP2(t) && t.Wrote == 0 && t.RequestBytes == 0:
		// Its transport returns before it says how far it had written.
		return found(RequestWriteFailed, "the request's body had not begun")
	case t.is(io.EOF, net.ErrClosed), text == textServerClosed, t.is(io.ErrUnexpectedEOF) && t.Connection != nil:
		// Go's transport itself closes a connection on which something came unasked,
		// and writing may find it closed before that is told.
		if f := saidOther(t); f.is() {
			return f
		}
		if !byPeer(t, t.err) {
			return endedByUs(t)
		}
		return closedCause(t)
	}
	return nothing
}

// adviceScriptSlow is for a script that doesn't answer, or that nobody has begun: the
// system takes the connection, whether a worker is free or not.
const adviceScriptSlow = "Look at the slow log and the status page of php-fpm: a script that waits for something, or no free worker (pm.max_children, listen queue). If it may take that long, raise read_timeout in transport fastcgi."

// openScript is what looks the same in FastCGI's wait. A worker of php-fpm takes the
// connection itself, when it is free.
func openScript(a *listen.Attempt, taken bool) string {
	begun := "one that no worker has begun, "
	if taken {
		begun = "one that a worker began late, "
	}
	other := "and a port that is not php-fpm's "
	if spokeHTTP(a) { // it has answered
		other = "and a server in between "
	}
	return "a script that waits or hangs, " + begun + "one that needs longer than the limit, " + other + "look the same from here: php-fpm's status page and slow log tell"
}

// speaksHTTP2 is what HTTP/2's settings tell, which come unasked; agreedHTTP2 what TLS does.
const (
	speaksHTTP2 = "HTTP/2's first frame had come: it speaks HTTP/2"
	agreedHTTP2 = "HTTP/2 had been agreed on in the TLS handshake (ALPN)"
)

// saidItsSettings says that HTTP/2's settings came over a connection of it in the clear.
func saidItsSettings(t *try) bool {
	return t.protocol == protocolH2C && t.Connection != nil && isHTTP2Settings(string(t.Connection.Opening))
}

// adviceAcceptsNone is for a wait during which further connections waited for the same
// application: it takes none, so that no longer limit helps.
const adviceAcceptsNone = "Look what the application at {address} waits for: connections wait there to be accepted. Restart one that hangs; if it only works on other requests, give it more workers (--workers of gunicorn, --processes of uwsgi, a server with threads instead of one for development), or let it answer those sooner."

// neverSpoke adds to a wait for an answer that this upstream has never given any: what is
// waited for may be no HTTP in the clear. Puma's TLS port says nothing to that, ever.
func neverSpoke(t *try, f finding) finding {
	if t.protocol != protocolFastCGI && len(waitingEvidence(addressOf(t.Attempt))) > 0 {
		// A port of another protocol is there for who connects: this one is for nobody.
		f.evidence = append(f.evidence, spokenWords(t)...)
		return f.advise(adviceAcceptsNone).leavesOpen("whether it hangs (a lock, a debugger, something behind it that does not answer) or has too few workers for what it does at once can't be told from here: its state and its log tell")
	}
	switch {
	case saidItsSettings(t), t.protocol == protocolH2 && t.TLS, t.Before != nil && t.Before.Answers > 0:
		f.evidence = append(f.evidence, spokenWords(t)...)
		return f
	case t.Before == nil, t.Interim != 0, t.TLS, t.FirstByte > 0, !written(t.Attempt), isHTTP2(t):
		return f
	case t.protocol == protocolFastCGI, t.protocol == protocolHTTP3:
		return f
	}
	f.evidence = append(f.evidence, beforeWords(t)...)
	return f.advise(orText(f.advice, f.row.Advice) + " It has never answered: if it never does, look whether this port speaks TLS (https://) or another protocol, and waits for more of it.").leavesOpen(f.row.Undecided)
}

// spokeHTTP says that the port of an attempt is known to speak HTTP.
func spokeHTTP(a *listen.Attempt) bool {
	return a.Interim != 0 || a.FirstByte > 0 || a.Before != nil && a.Before.Answers > 0 || a.Protocol == protocolH2 || a.Protocol == protocolHTTP3 ||
		a.Connection != nil && isHTTP2Settings(string(a.Connection.Opening))
}

// unasked is all that is known of an answer to nobody.
func unasked(t *try) finding {
	f := found(Unknown, "it sent something before the request was written")
	f.summary = "{upstream} sent something before it was asked: it speaks HTTP/2 alone, or another protocol that greets first; nothing tells which."
	if head := t.head(); head != "" {
		f.evidence = append(f.evidence, "what came begins with "+said(head))
	}
	return f.advise("If {upstream} speaks HTTP/2 alone, set versions 2 in the transport, or write h2c:// without TLS; else correct the port: a mail, SSH or database server greets first.")
}

// adviceScriptEnded is for FastCGI, where php-fpm ends a worker without a word.
const adviceScriptEnded = "Look at the log of php-fpm at this time: a crash, a restart, or a worker that was killed for its memory (compare memory_limit with what the machine has). If it has nothing of this, look for a script that ends without any output."

// closedInOrder says that the other end had read all of the request when it closed: who
// closes with something unread makes the system send a reset (RFC 2525 section 2.17).
func closedInOrder(t *try) bool {
	link := linkOf(t.Attempt)
	return link != nil && link.End == listen.EndClosed && written(t.Attempt) && !t.TLS && !isHTTP2(t)
}

func closedCause(t *try) finding {
	f := found(ClosedBeforeResponse, sentPROXY(t)...)
	switch {
	case !closedInOrder(t), nothingSent(t.Attempt):
	case soon(t) && !strings.HasPrefix(t.Network, "unix"): // it may have closed before all of it was there
		f.evidence = append(f.evidence, "it closed in good order, without a reset: it had read what had come by then")
	default:
		f.evidence = append(f.evidence, "it closed in good order, without a reset: it had read all that was sent")
	}
	if t.protocol == protocolFastCGI { // whose client tells no reset, nor the end of a request, from a close
		f.summary = "{upstream} ended the request, or its connection, without an answer."
		f.evidence = append(f.evidence, "it ended the request, or closed or reset the connection, and no byte of an answer had come, "+ms(elapsed(sent(t), t.end))+" after the connect")
	}
	return endedUnanswered(t, f)
}

// sentPROXY says what may be behind a close without a word, where a PROXY header goes
// before the request. Nothing tells it from a crash.
func sentPROXY(t *try) []string {
	if t.Limits == nil || t.Limits.ProxyProtocol == "" || t.Interim != 0 {
		return nil
	}
	return []string{"a PROXY protocol header (" + t.Limits.ProxyProtocol + ") was sent: an upstream that does not expect one closes like this"}
}

// silentCause: Go's transport tries again by itself only where a reused connection
// died before the first byte. HTTP/2 and 3 have other reasons to.
func silentCause(t *try) finding {
	if renegotiates(t.Attempt) {
		return renegotiationRefused(t.Attempt)
	}
	switch {
	case t.protocol == protocolH2C && untaken(t.Attempt) != nil:
		return goawayCause(t, untakenWords)
	case t.protocol == protocolHTTP3, t.protocol == protocolH2, t.protocol == protocolH2C, t.protocol == "" && t.TLS:
		return nothing
	case !byPeer(t, t.err):
		return endedByUs(t)
	case soon(t):
		return keepaliveCause(t)
	}
	return endCause(t)
}

func keepaliveCause(t *try) finding {
	since := "the request was written"
	if !written(t.Attempt) {
		since = "it was taken for the request"
	}
	within := ", within the " + ms(bound(t)) + " granted to a round trip"
	if diedAfter(t) > bound(t) {
		within = ", before anything was sent"
	}
	f := found(KeepaliveRace, "the connection died "+ms(diedAfter(t))+" after "+since+within)
	f.evidence = append(append(f.evidence, endOverHTTP2(t)...), askedAgain(t)...)
	or := ", " + inBetween(t) + ", a rule against this request, and a crash upon this very request look the same from here: its log tells"
	if nothingSent(t.Attempt) || t.again != 0 {
		or = ", " + inBetween(t) + ", and a crash meanwhile look the same from here: its log tells"
	}
	f = f.leavesOpen("an idle timeout, a restart" + or)
	if c := t.Connection; c.WasIdle && c.Idle < leastIdleTimeout {
		f = f.leavesOpen("an end after each answer or after a number of them, a recycled worker, a restart" + or)
		f.summary = "{upstream} closed a connection that was used again after only " + ms(c.Idle) + ", and gave no answer."
		return f.advise(adviceNoReuse)
	}
	return f
}

// leastIdleTimeout is the shortest idle timeout that servers are given: theirs are whole
// seconds (gunicorn 2, Node and uvicorn 5). What is closed sooner was closed for something
// else.
const leastIdleTimeout = time.Second

// adviceNoReuse is for a connection that was closed when it had hardly been idle.
const adviceNoReuse = "Set keepalive off in the transport: most likely {upstream} closes connections after an answer without saying so (Connection: close). If its log has a crash or a restart at this time, repair that instead."

// diedIdle says that a connection from the idle pool was found dead: it died before
// the first byte, and within one round trip. Later, the application had the
// request, and may have worked on it.
func diedIdle(t *try, err error) bool {
	c := t.Connection
	if c == nil || !c.Reused || !c.WasIdle || t.FirstByte > 0 || t.Interim != 0 || !died(err) {
		return false
	}
	return soon(t) && byPeer(t, err)
}

// soon says that a connection was found dead within one round trip of the request, or before
// a byte of that had left, however late this process, a busy one, came to send it.
func soon(t *try) bool {
	return diedAfter(t) <= bound(t) || nothingSent(t.Attempt)
}

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

var KeepaliveRace = &Row{
	Name: "keepalive_race", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseWait, Side: failure.SideProxy,
	Summary:      "{upstream} closed an idle connection at the moment when it was used again.",
	Advice:       "Set keepalive in the transport to less than the upstream's own idle timeout.",
	Meaning:      "Caddy used a connection again, and the upstream closed it just then: mostly because it had been idle for as long as the upstream allows. The application most likely never saw the request. Where it had been idle for less than a second no idle timeout has ended it, and summary and advice say so.",
	RecognisedBy: "The connection was reused and had been idle, and it died without a byte of an answer within one round trip of the request (at least 50 ms are granted), or before anything of the request was sent. The evidence has how long it was idle, and where something had been sent, that a crash upon this request would look the same.",
	Witnesses:    []Witness{WitnessError, WitnessPast},
	UsualReasons: []string{
		"the upstream's idle timeout is shorter than Caddy's keepalive, which is 2 minutes by default: Node closes after 5 s, gunicorn after 2 s, uvicorn after 5 s",
		"a balancer or NAT on the way that closes idle connections",
		"idle for less than a second: a server that closes connections after its answers without saying so, or after a number of requests",
		"the upstream was restarted, or crashed upon this request",
	},
	Fix: Fix{
		Caddy:       "Close idle connections before the upstream does: a little less than its own idle timeout.",
		Caddyfile:   inTransport("keepalive 4s"),
		Docker:      "Swarm's load balancing forgets idle connections after 15 minutes: stay below that.",
		Application: "Or let it keep idle connections longer than Caddy: keepAliveTimeout of Node above 120000, --keep-alive of gunicorn above 120.",
	},
	Rivals: []Rival{
		{"closed_before_response", "the connection was reused (idle_ms), and died within one round trip: too soon for work to have been done"},
		{"reset_before_response", "the connection was reused (idle_ms), and died within one round trip: too soon for work to have been done"},
		{"request_write_failed", "the connection was reused (idle_ms), and died within one round trip"},
		{"response_length_exceeded", "nothing came over the idle connection before it ended"},
		{"an application that crashes at once upon a request", "nothing where it dies within one round trip on a reused connection; on a new one it shows as closed_before_response"},
		{"tls_renegotiation_refused", "the error is not that Caddy refused a renegotiation"},
	},
}

// undecidedEnd, undecidedWait and undecidedPort are what rows that differ in other things
// leave open alike; adviceLookAtLog is for whichever way an upstream ends a request.
const (
	undecidedEnd    = "why it ended this can't be told from here (a crash, a killed worker, a limit of its own for time, size or requests, a refusal, a server in between): its log tells"
	undecidedWait   = "why it takes longer can't be told from here (a slow query, a lock, a queue, a process that hangs, a port that waits for something else, a server in between that waits for one slow or gone, a limit too short for this): the application tells"
	undecidedSpoken = "why it takes longer can't be told from here (a slow query, a lock, a queue, a process that hangs, a server in between that waits for one behind it, a limit too short for this): the application tells"
	// Over TLS nobody hears whether HTTP/2's settings had come.
	undecidedAgreed = "why it takes longer can't be told from here (a slow query, a lock, a queue, a process that hangs, a limit too short for this, a server in between that waits or hands HTTP/2 to what speaks none): the application and curl -vk --http2 tell"
	undecidedPort   = "whether the scheme or the address (host or port) is the wrong one can't be told from here: what is meant to be there tells"
	adviceLookAtLog = "Look at the application's log at this time for a crash, a killed worker or a time limit of its own."
)

// rivalDocker is what ends a connection at once, each time.
var rivalDocker = Rival{"a published Docker port behind which nothing listens", "nothing from here, but it ends at once and each time: docker-proxy takes the connection before it knows; look whether the application listens on 0.0.0.0 and that port in its container"}

var ClosedBeforeResponse = &Row{
	Name: "closed_before_response", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseWait, Side: failure.SideUpstream,
	Summary:      "{upstream} closed the connection without an answer.",
	Advice:       adviceLookAtLog,
	Meaning:      "The upstream took the connection and closed it in good order without a byte of an answer. Caddy's FastCGI does not tell that from a reset, or from a request that is ended without any output.",
	RecognisedBy: "End of file on a connection that was new, or that died later than one round trip after the request. The evidence says how long after, and whether this upstream has answered before: the advice goes by these.",
	Witnesses:    []Witness{WitnessError, WitnessPast, WitnessReceived},
	Undecided:    undecidedEnd,
	UsualReasons: []string{
		"the application crashed, or its worker was killed for its time or its memory",
		"nginx's return 444 for a Host that it does not know, an application that wants X-Forwarded-Proto https, or a firewall in its own server",
		"at once, where it never answered: a port that speaks TLS or another protocol, or expects a PROXY protocol header",
		"at once, where it never answered: a published Docker port, a tunnel or a balancer behind which nothing listens",
		"after seconds: the server's own limit (--timeout of gunicorn, request_terminate_timeout of php-fpm, WriteTimeout of Go's server, which logs nothing)",
		"a worker that was killed after it had sent 100 or 103, which are no final answers: then the evidence says so, and nobody but it is asked about",
	},
	Fix: Fix{
		Caddy:       "A GET may be tried again at another upstream.",
		Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_retries 1"),
		Docker:      "Look at docker events and docker inspect (OOMKilled, RestartCount), and at memory limits in the compose file.",
		Application: "Look at its log at this time for a crash, a killed worker or its own timeout (--timeout of gunicorn is 30 s by default).",
	},
	Rivals: []Rival{
		{"keepalive_race", "the connection was new, or died later than one round trip after the request"},
		{"reset_before_response", "the end was end of file: errno is not ECONNRESET"},
		{"response_cut_in_headers", "no byte of an answer came"},
		{"tls_closed", "the handshake had finished, or there was none"},
		{"tls_expected", "nothing from here: some TLS ports close on plain HTTP without a word"},
		{"goaway", "nothing over HTTP/2, where a connection that is dropped says no more; over HTTP/1.1 there is none"},
		{"fastcgi_malformed", "the error is end of file"},
		{"a PROXY protocol header that is missing or not expected", "nothing from here: look at proxy_protocol on both sides"},
		{"tls_renegotiation_refused", "the error is not that Caddy refused a renegotiation"},
		rivalDocker,
	},
}

var ResetBeforeResponse = &Row{
	Name: "reset_before_response", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseWait, Side: failure.SideUpstream,
	Summary:      "{upstream} reset the connection without an answer.",
	Advice:       adviceLookAtLog,
	Meaning:      "The upstream, or something on the way, reset the connection without a byte of an answer.",
	RecognisedBy: "ECONNRESET, EPIPE or ECONNABORTED after the request was written, on a connection that was new, or that died later than one round trip after the request.",
	Witnesses:    []Witness{WitnessError, WitnessKernel, WitnessPast, WitnessReceived},
	Undecided:    undecidedEnd,
	UsualReasons: []string{
		"the application's process was killed with the request unread",
		"a published Docker port, a tunnel or a balancer whose target has gone",
		"at once, where it never answered: a port of php-fpm, uwsgi or TLS, which closes on HTTP that it has not read",
		"a worker that was killed after it had sent 100 or 103, which are no final answers",
		"a firewall that resets connections it does not know",
		"a server that speaks only HTTP/2, and was sent HTTP/1.1",
	},
	Fix: Fix{
		Caddy:       "A GET may be tried again at another upstream.",
		Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_retries 1"),
		Docker:      "Look at docker events and docker inspect (OOMKilled, RestartCount); give it time to end by stop_grace_period.",
		Application: "Look at its log at this time for a crash or a killed worker; let it finish its requests before it stops.",
	},
	Rivals: []Rival{
		{"keepalive_race", "the connection was new, or died later than one round trip after the request"},
		{"closed_before_response", "errno names a reset"},
		{"request_write_failed", "the request had been written"},
		{"connection_lost", "errno is not ETIMEDOUT or EHOSTUNREACH"},
		{"http_version_mismatch", "nothing from here: a server that speaks HTTP/2 alone may reset what it cannot read"},
		{"a firewall that resets connections", "nothing from here: capture on the upstream's machine"},
		rivalDocker,
	},
}

var ConnectionLost = &Row{
	Name: "connection_lost", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseWait, Side: failure.SideNetwork,
	Summary:      "The connection to {upstream} was lost on the way.",
	Advice:       "Look for a NAT, balancer or firewall that forgets idle connections; set keepalive in the transport shorter than its time.",
	Meaning:      "The connection had worked, and then nothing came through any more. Nobody closed it: this machine gave it up, or a limit of Caddy's ran out or the client left before that.",
	RecognisedBy: "ETIMEDOUT or EHOSTUNREACH after the connect had worked, \"http2: client connection lost\", or QUIC's idle timeout; or bytes that were sent at least three times and never acknowledged (Linux): the evidence has how many, and how often they were sent again; or packets of an answer came without those in front of them.",
	Witnesses:    []Witness{WitnessKernel, WitnessError},
	Undecided:    "where on the way it was lost can't be told from here",
	UsualReasons: []string{
		"a NAT, balancer or firewall that forgot the idle connection",
		"the upstream's machine lost its power or its network",
		"packets that are too large for a part of the way (MTU)",
	},
	Fix: Fix{
		Caddy:       "Close idle connections sooner than the box on the way forgets them; write_timeout ends an upload into nowhere long before the system does, which takes a quarter of an hour.",
		Caddyfile:   inTransport("keepalive 30s", "write_timeout 30s"),
		Docker:      "With a VPN or overlay network, set the network's MTU (com.docker.network.driver.mtu).",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"response_timeout", "the system gave the connection up, or the evidence counts bytes that were never acknowledged: a slow application's machine acknowledges"},
		{"read_timeout", "the system gave the connection up, or the evidence counts bytes that were never acknowledged"},
		{"tls_timeout", "the system gave the connection up, or the evidence counts bytes that were never acknowledged"},
		{"client_closed_request", "the evidence counts bytes that were never acknowledged: the client would have waited in vain"},
		{"reset_before_response", "errno is not that of a reset"},
		{"host_unreachable", "the connection had come about"},
		{"socket_backlog_full", "the address is another machine's, or the connection had been accepted"},
		{"request_write_timeout", "the system gave the connection up, or the evidence counts bytes that were never acknowledged"},
		{"response_stalled", "the system gave the connection up, or the evidence counts bytes that were never acknowledged"},
	},
}

var ResponseTimeout = &Row{
	Name: "response_timeout", Category: failure.CategoryTimeout, ProxyError: "http_response_timeout",
	Phase: failure.PhaseWait, Side: failure.SideUpstream, Status: 504,
	Summary:      "{upstream} did not begin to answer within {limit}.",
	Advice:       "Look at the application's log at this time for what it waited for; if it may take that long, raise response_header_timeout in the transport.",
	Meaning:      "The request was sent, and the upstream did not send a whole response header in time. It may still be working on it.",
	RecognisedBy: "The transport's timer for the response header ran out (response_header_timeout). The phase is headers if a byte had come.",
	Witnesses:    []Witness{WitnessError, WitnessAsked, WitnessKernel},
	Undecided:    undecidedWait,
	UsualReasons: []string{
		"a slow query, a lock, or a service that the application waits for",
		"all workers are busy, and the request waits in the application's queue",
		"the limit is shorter than this request takes",
	},
	Fix: Fix{
		Caddy:       "If it may take so long, raise the limit.",
		Caddyfile:   inTransport("response_header_timeout 2m"),
		Docker:      "Look at the container's CPU limit and use (docker stats).",
		Application: "Log slow requests; answer long work at once with 202 and let the client ask for the result.",
	},
	Rivals: []Rival{
		{"read_timeout", "the limit in the evidence is response_header_timeout"},
		{"connection_lost", "no bytes in the evidence that were never acknowledged; the evidence may say that all were (Linux)"},
		{"client_closed_request", "Caddy's limit ran out; the client was still there"},
		{"socket_backlog_full", "the other end took the connection, and acknowledged what was sent"},
		{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
	},
}

var ReadTimeout = &Row{
	Name: "read_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_read_timeout",
	Phase: failure.PhaseWait, Side: failure.SideUpstream, Status: 504,
	Summary:      "{upstream} sent nothing for {limit}.",
	Advice:       "Look at the application's log at this time for what it waited for; if it may take that long, raise read_timeout in the transport.",
	Meaning:      "The request was sent, and the upstream sent nothing for as long as Caddy waits for each read. It may still be working on it.",
	RecognisedBy: "Reading from the upstream's connection timed out (read_timeout) before there was a whole response header. FastCGI's read_timeout is found so, too.",
	Witnesses:    []Witness{WitnessError, WitnessAsked, WitnessKernel},
	Undecided:    undecidedWait,
	UsualReasons: []string{
		"a slow query, a lock, or a service that the application waits for",
		"an event stream or long poll with a pause longer than the limit",
	},
	Fix: Fix{
		Caddy:       "If it may pause so long, raise the limit.",
		Caddyfile:   inTransport("read_timeout 5m"),
		Docker:      "Look at the container's CPU limit and use (docker stats).",
		Application: "Log slow requests; let event streams send a comment line now and then.",
	},
	Rivals: []Rival{
		{"response_timeout", "the limit in the evidence is read_timeout"},
		{"response_stalled", "no response header had come: the phase is wait or headers"},
		{"connection_lost", "errno is left out: the limit of Caddy's ran out, the system had not given up; and no bytes in the evidence that were never acknowledged (Linux)"},
	},
}
