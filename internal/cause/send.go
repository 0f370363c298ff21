package cause

import (
	"errors"
	"net"
	"net/http"
	"net/url"
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
	textUpgradeH2,
	textConnectionH2,
	textCodingH2,
	"http2: invalid HTTP trailer ",
	"http3: invalid http header field ",
	"http3: invalid method ",
	"http3: no Host in request URL",
	"http3: nil Request.",
	"http3: unsupported protocol scheme",
	textNoLength,
	"request body length is not a valid CONTENT_LENGTH",
}

// textFieldName is of net/http, whose server refuses such a name as well.
const textFieldName = "net/http: invalid header field name "

// textNoLength is FastCGI's, whose requests begin with their length.
const textNoLength = "request body has no known length; increase request_buffers"

const (
	textInvalidHostH2 = "http2: invalid Host header"
	textHeaderListH2  = "http2: request header list larger than peer's advertised limit"
	// Fields of a connection, which HTTP/2 hasn't (RFC 9113 section 8.2.2).
	textUpgradeH2    = "http2: invalid Upgrade request header: "
	textConnectionH2 = "http2: invalid Connection request header: "
	textCodingH2     = "http2: invalid Transfer-Encoding request header: "
	textNoHost       = ": no Host in request URL" // after http or http3
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
		return emptyCause(t.Attempt)
	}
	var unparsed *url.Error
	if errors.As(t.err, &unparsed) && unparsed.Op == "parse" && t.Dialing == nil {
		return found(RequestNotSendable, "the URL of network_proxy can't be parsed").advise(adviceProxyURL)
	}
	for _, known := range textsNotSendable {
		if !strings.HasPrefix(text, known) && !strings.HasPrefix(whole, known) {
			continue
		}
		f := found(RequestNotSendable)
		switch {
		case strings.HasPrefix(text, textNoLength):
			f.summary = "{upstream} has to be told how long the request's body is (FastCGI), and that is not known."
			f.evidence = append([]string{"the request came without a Content-Length"}, buffersLine(t.Attempt)...)
			return f.advise(adviceBuffers)
		case whole == textInvalidHostH2 && strings.HasPrefix(t.Network, "unix"):
			f.evidence = []string{"the Host to be sent was the path of the socket, which HTTP/2 takes for no host"}
			return f.advise(adviceSocketHost)
		case whole == textHeaderListH2:
			f.summary = "Caddy did not send the request: its header is larger than {upstream} says that it takes."
			evidence, bytes := headerSize(t.Attempt)
			f.evidence = evidence
			f = f.leavesOpen("how much it takes, and whether the application's server or one in front of it says so, can't be told from here: its config tells")
			if bytes > 0 && bytes < smallHeader {
				f.side = failure.SideUpstream
				return f.advise("Raise the upstream's limit for the header of a request (SETTINGS_MAX_HEADER_LIST_SIZE): this header is a small one.")
			}
			return f.advise(adviceHeaderList)
		case strings.HasPrefix(whole, textUpgradeH2):
			f.evidence = append([]string{"HTTP/2 was negotiated, which has no Upgrade field"}, versionsLine(t.Attempt)...)
			return f.advise(adviceUpgradeH2)
		case strings.HasPrefix(whole, textConnectionH2), strings.HasPrefix(whole, textCodingH2):
			f.evidence = append([]string{"HTTP/2 was negotiated, which has no field for the connection alone", "what clients send of Connection and Transfer-Encoding Caddy takes out (but for an upgrade, over HTTP/1.1): header_up, which comes after that, set it"}, versionsLine(t.Attempt)...)
			return f.advise(adviceConnectionH2).leavesOpen("which line sets it can't be told from here: the Caddyfile tells")
		case strings.HasPrefix(text, textFieldName):
			f.evidence = []string{"no client can send such a name: Caddy's server refuses it"}
			return f.advise("Correct the name of the field that the error quotes: header_up or request_header of the Caddyfile sets it.").
				leavesOpen("which line sets it can't be told from here: the Caddyfile tells")
		}
		return f
	}
	return nothing
}

// adviceBuffers is for a body whose length Caddy has to find out by reading it.
const adviceBuffers = "Set request_buffers in reverse_proxy or php_fastcgi to more than such a body has (request_buffers 10MiB), or let the client send a Content-Length."

// buffersLine says how much of a request's body is buffered.
func buffersLine(a *listen.Attempt) []string {
	switch {
	case a.Limits == nil:
		return nil
	case a.Limits.RequestBuffers == 0:
		return []string{"request_buffers is not set"}
	}
	// Caddy gives FastCGI 4 KiB by itself.
	return []string{"request_buffers in force: " + counted(a.Limits.RequestBuffers, "byte") + ", and the body is longer"}
}

// versionsLine says which versions of HTTP the transport offers.
func versionsLine(a *listen.Attempt) []string {
	if a.Limits == nil || len(a.Limits.Versions) == 0 {
		return nil
	}
	return []string{"the transport offers versions " + strings.Join(a.Limits.Versions, " ")}
}

// adviceProxyURL is for a forward proxy whose URL a placeholder makes; Caddy checks others
// when it loads the config.
const adviceProxyURL = "Look at what the placeholder in network_proxy gives: it must be a URL such as http://proxy.example:3128."

// adviceSocketHost is for TLS on a unix socket, where Caddy takes the address for the
// Host that it sends: HTTP/1.1 leaves it out, HTTP/2 refuses it.
const adviceSocketHost = "Set header_up Host to the name by which the application is asked for, as example.com: over TLS Caddy sends the address, and over HTTP/2 the path of a socket can't be one."

// adviceHeaderList is for an upstream of HTTP/2 that takes only so much of a header.
const adviceHeaderList = "Raise the upstream's limit for the header of a request (SETTINGS_MAX_HEADER_LIST_SIZE), or send less: look for cookies and for fields that header_up adds."

// perField is what HTTP/2 counts for a field besides its name and value (RFC 9113 section
// 6.5.2).
const perField = 32

// smallHeader is how large a header may be that is no large one: servers take 8 KiB and
// more unless they are told otherwise (nginx, large_client_header_buffers).
const smallHeader = 4 << 10

// headerSize says how large a request's header is, and its largest field. What Caddy's
// transport adds to it is little.
func headerSize(a *listen.Attempt) (evidence []string, total int) {
	fields, total, largest, most := measured(a, perField)
	if fields == 0 {
		return nil, 0
	}
	return []string{"the request's header has about " + counted(int64(total), "byte") + " in " + counted(int64(fields), "field") + ", as HTTP/2 counts them; the largest is " +
		cut(failure.Visible(largest), maxName) + " with " + counted(int64(most), "byte")}, total
}

// headSize says the same of HTTP/1.1's, with its first line.
func headSize(a *listen.Attempt) (evidence string, total int) {
	fields, total, largest, most := measured(a, len(": \r\n"))
	if fields == 0 || a.Request.URL == nil {
		return "", 0
	}
	total += len(a.Request.URL.RequestURI())
	return "the request's header has about " + counted(int64(total), "byte") + " in " + counted(int64(fields), "field") + ", its URI counted too; the largest is " +
		cut(failure.Visible(largest), maxName) + " with " + counted(int64(most), "byte"), total
}

// measured is how large the fields of a request's header are, each with so much around it.
func measured(a *listen.Attempt, around int) (fields, total int, largest string, most int) {
	if a.Request == nil {
		return 0, 0, "", 0
	}
	for name, values := range a.Request.Header {
		size := 0
		for _, value := range values {
			size += len(name) + len(value) + around
			fields++
		}
		total += size
		if size > most || size == most && name < largest {
			most, largest = size, name
		}
	}
	return fields, total, largest, most
}

// adviceUpgradeH2 is for an upgrade other than WebSocket, for which Caddy turns HTTP/2
// off by itself.
const adviceUpgradeH2 = "Set versions 1.1 in the transport: the client asks to switch protocols (Upgrade), and over HTTP/2 nobody can."

// adviceConnectionH2 is for fields that Caddy itself would not send.
const adviceConnectionH2 = "Remove the header_up line that sets Connection or Transfer-Encoding, or set versions 1.1 in the transport: HTTP/2 has neither."

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
		limit := t.ran(failure.WriteTimeout, sendStart(t), t.end)
		if f := outlasted(t, err, limit); f.is() {
			return f
		}
		return notTaken(t, found(RequestWriteTimeout).within(limit))
	case diedIdle(t, err):
		return keepaliveCause(t)
	case reset && alertMayBeLost(t):
		return closedUnread(t).at(phase)
	case whole || nothingSent(t.Attempt) || t.text() == textServerClosed:
		return nothing // it was over before, or after
	case died(err) && t.protocol == protocolH2C && !spokeHTTP2(t):
		return afterPreface().at(phase)
	case died(err) && saidOther(t).is():
		return saidOther(t) // it spoke, and reset the connection for what it was sent
	case died(err) && t.protocol == protocolFastCGI && t.RequestBytes < 0:
		return nothing // without a body only what ends a request can be missing: the script may have run
	case died(err) && !byPeer(t, err):
		return endedByUs(t).at(phase)
	case died(err) && beyondAlert(t):
		return slowUpload(t, found(RequestWriteFailed, "it had accepted the handshake: more than an alert had come over TLS since, and no answer was read; an upload that is refused unread looks like this (413, 401)"))
	case died(err) && cameUnread(t):
		return slowUpload(t, found(RequestWriteFailed, "bytes had come that were not read: an upload that is refused unread looks like this (413, 401)").advise(adviceRefusedUnread))
	case died(err):
		f := found(RequestWriteFailed, peersEnd(t, err)...)
		if wasReset(t) {
			f.summary = "{upstream} reset the connection while the request was being sent."
		}
		if !spokeHTTP(t.Attempt) {
			f = f.leavesOpen(otherPortToo(RequestWriteFailed.Undecided, t))
			if t.protocol == protocolFastCGI {
				f = f.advise(RequestWriteFailed.Advice + " It has answered nothing yet: look what listens there, too (ss -ltnp on its machine), and whether php-fpm allows this client (listen.allowed_clients).")
			}
		}
		return slowUpload(t, endedUnread(t, f))
	}
	return nothing
}

// otherPortToo adds to what can't be told a port of another protocol, where nothing has
// answered there, and of what ends a connection php-fpm, which does so to who isn't allowed.
func otherPortToo(undecided string, t *try) string {
	port := "a port of another protocol, "
	if t.protocol == protocolFastCGI {
		port = "a port that speaks no FastCGI, "
		if undecided == RequestWriteFailed.Undecided {
			port += "php-fpm that refuses this client, "
		}
	}
	return strings.Replace(undecided, "a server in between", port+"a server in between", 1)
}

// notTaken says of an upload that ran out of time who was waited for, and what looks the
// same: the way, too, where nobody acknowledged what was sent.
func notTaken(t *try, f finding) finding {
	if t.RequestBytes >= 0 {
		f.evidence = append(f.evidence, uploadLine(t, elapsed(sendStart(t), t.end)))
	}
	f.evidence = append(f.evidence, spokenWords(t)...)
	open := RequestWriteTimeout.Undecided
	if !spokeHTTP(t.Attempt) {
		open = otherPortToo(open, t)
	}
	if overNetwork(t.Attempt) && len(windowEvidence(t.Attempt)) == 0 {
		open = strings.Replace(open, "a server in between", "a network that loses packets, a server in between", 1)
	}
	return f.leavesOpen(open)
}

// outlasted finds the cause where the client sent its body so slowly that a limit of the
// transport ran out meanwhile. Caddy sets write_timeout anew for each write, but HTTP/1.1
// without TLS copies a body in one (readfrom); FastCGI's client sets both limits once. When
// it was noticed tells nothing: closing the body waits for more of it. Where some of the
// body was still to be sent, it was not the client that was waited for in the end: on a
// busy machine it seems slow, too.
func outlasted(t *try, err error, limit *failure.Limit) finding {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "readfrom" && t.protocol != protocolFastCGI || limit == nil || limit.ValueMS == nil || t.Uploading <= limit.ValueMS.Duration()/4*3 || unsent(t.Attempt) {
		return nothing
	}
	f := found(ClientUploadFailed, "Caddy had waited "+ms(t.Uploading)+" for the client to send its body: "+limit.Name+" counts from before the upload here, and through all of it").within(limit)
	f.summary = "The client's upload to {upstream} took longer than {limit}."
	f.side = failure.SideProxy
	return f.advise("Set request_buffers in reverse_proxy or php_fastcgi, so that Caddy takes a slow upload first, or raise " + limit.Name + " in the transport to what a slow client may take: it counts for the whole upload here, and the upstream was not what was waited for.").
		leavesOpen(openSlowClient)
}

// unsent says that some of what the client had sent waited to be sent on when the connection
// ended; false where the system doesn't tell.
func unsent(a *listen.Attempt) bool {
	link := linkOf(a)
	return link != nil && link.TCP != nil && link.TCP.Unsent > 0
}

// closedAfterHandshake is all that is known where an alert may have been lost.
const closedAfterHandshake = "the connection was closed right after the TLS handshake: a missing or refused client certificate looks like this, and so does a crash"

// closedUnread is the finding of that, where an answer may have been lost as well.
func closedUnread(t *try) finding {
	if t.RequestBytes <= 0 {
		return afterHandshake()
	}
	f := found(Unknown, closedAfterHandshake+", or an upload that is refused unread (413, 401)")
	f.summary = "{upstream} closed the connection right after the TLS handshake: for want of a client certificate, for what was uploaded, or because it crashed; nothing tells which."
	return f.advise(adviceClosedUnread)
}

// afterHandshake is the finding of that.
func afterHandshake() finding {
	f := found(Unknown, closedAfterHandshake)
	f.summary = "{upstream} closed the connection right after the TLS handshake: for want of a client certificate, or because it crashed; nothing tells which."
	return f.advise("Look at the TLS log of {upstream} at this time: if it wants a client certificate, set tls_client_auth in the transport; else look for a crash.")
}

const adviceClosedUnread = "Look at the log of {upstream} at this time for what it refused: the client's certificate, the size of the upload (which request_body max_size can refuse before it is sent on), or its credentials."

// alertMayBeLost says that writing failed on a TLS connection that had just been
// made. In TLS 1.3 a server refuses a client's certificate after the handshake, and
// closes; who writes before the alert was read sees nothing but a closed connection.
func alertMayBeLost(t *try) bool {
	c := t.Connection
	return t.TLS && c != nil && !c.Reused && t.FirstByte == 0 && t.Interim == 0 && elapsed(c.At, t.end) <= roundTrip && !beyondAlert(t)
}

// beyondAlert says that more came over TLS since the handshake than an alert: the tickets
// of a session, which a server sends when it has accepted the client (RFC 8446 section
// 4.6.1), or an answer.
func beyondAlert(t *try) bool {
	if t.Connection == nil || t.Connection.Reused {
		return false
	}
	c := t.Connection.Carried
	return c != nil && c.Encrypted && max(c.Received, c.Arrived) > mostAlert
}

// adviceRefusedUnread is for an answer that came while the upload was being sent, to which
// the upstream did not listen any more.
const adviceRefusedUnread = "Let {upstream} read on for a while when it has answered an upload before its end (lingering_close of nginx does), for closing at once destroys the answer; what is too large is best refused before it is sent on (request_body max_size), and its limit for the size of a request is in its log."

// cameUnread says that something came back in the clear which nobody has read: an answer, as
// it is not HTTP/2's. Where a PROXY header was sent it is rather one to that.
func cameUnread(t *try) bool {
	if t.Connection == nil || t.Connection.Carried == nil || isHTTP2(t) || t.Limits != nil && t.Limits.ProxyProtocol != "" {
		return false
	}
	c := t.Connection.Carried
	return !c.Encrypted && c.Arrived > c.Received+endCounts
}

// endCounts is what Linux adds to the bytes that came when a peer has closed: its FIN has a
// number of its own in the stream (tcp_rcv_nxt_update in net/ipv4/tcp_input.c).
const endCounts = 1

// isWriteError says that err comes from writing to the upstream's connection.
// Copying a body into it is called "readfrom".
func isWriteError(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "write" || op.Op == "readfrom")
}

// uploadMalformed says that the client's body breaks the rules of its framing.
func uploadMalformed(err error) bool {
	return isChunkError(err) || err != nil && strings.HasPrefix(innermost(err), textDeclaredLength)
}

// textDeclaredLength is what a server of HTTP/2 says of a body that is not as long as its
// content-length.
const textDeclaredLength = "request declared a Content-Length of "

// textBodyClosedH2 is what a server of HTTP/2 says of a body that was closed by
// whoever reads it; http.ErrBodyReadAfterClose is HTTP/1's.
const textBodyClosedH2 = "body closed by handler"

// uploadExplains says that reading the client's body failed by itself, not because
// Caddy had stopped.
func uploadExplains(c *listen.Client) bool {
	err := c.BodyErr
	return err != nil && !c.BodyClosed && !canceled(err) && !errors.Is(err, http.ErrBodyReadAfterClose) &&
		innermost(err) != textBodyClosedH2 && layer(err, textH3Cancelled) == "" && layer(err, textH3NoError) == ""
}

var RequestWriteTimeout = &Row{
	Name: "request_write_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_write_timeout",
	Phase: failure.PhaseSend, Side: failure.SideUpstream, Status: 504,
	Summary:      "{upstream} did not take the request within {limit}.",
	Advice:       "Look at the log and the state of the upstream at this time for why it does not read (where it runs, ss -tn shows what waits for it as Recv-Q); if it may be so slow, raise write_timeout in the transport.",
	Meaning:      "The upstream took the connection, but did not read the request fast enough: writing it timed out.",
	RecognisedBy: "Writing to the upstream's connection timed out, and the client's side had no error. The evidence names write_timeout.",
	Witnesses:    []Witness{WitnessError, WitnessAsked, WitnessKernel},
	Undecided:    "why it does not read on can't be told from here (a process that hangs or is too busy, one that reads slowly, a server in between that waits for one behind it, a limit too short for this): its log and its state tell",
	UsualReasons: []string{
		"the application reads the body slowly, or not before something else is done",
		"it hangs: the system takes what fits into its buffers, and no more",
	},
	Fix: Fix{
		Caddy:       "If it may be so slow, raise write_timeout; request_buffers lets Caddy take a slow upload first.",
		Caddyfile:   inTransport("write_timeout 1m"),
		Docker:      "Look at the container's CPU and memory limits (docker stats).",
		Application: "Read the body as it comes; refuse what is too large before reading it.",
	},
	Rivals: []Rival{
		{"client_upload_failed", "the error is one of writing to the upstream; reading from the client had none, and was not what most of the limit was spent on"},
		{"request_write_failed", "the time ran out: errno is left out"},
		{"connection_lost", "the limit of Caddy's ran out; the system had not given up (ETIMEDOUT)"},
	},
}

var RequestWriteFailed = &Row{
	Name: "request_write_failed", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
	Phase: failure.PhaseSend, Side: failure.SideUpstream,
	Summary:      "{upstream} closed the connection while the request was being sent.",
	Advice:       "Look at the upstream's log and its limit for the size of a request: many close instead of answering 413.",
	Meaning:      "The upstream closed or reset the connection while the request was still being sent to it.",
	RecognisedBy: "The connection ended before the request was written whole: ECONNRESET, EPIPE, end of file or a closed connection, and the client's side had no error. request_bytes says how much of the body had been read for it.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessPast},
	Undecided:    "why it ended the upload can't be told from here (a limit for size or time, a refusal such as 401 or 413 whose answer was lost, a crash or restart, a server in between): its log tells",
	UsualReasons: []string{
		"the body is larger than the upstream allows, and it closes instead of answering 413",
		"the application crashed on the first part of it",
		"the connection was used again just when the upstream had ended it",
	},
	Fix: Fix{
		Caddy:       "Refuse what is too large before it is sent on, so that the client gets a 413.",
		Caddyfile:   "request_body {\n\tmax_size 10MB\n}\nreverse_proxy app:8080",
		Docker:      "Look for a container that was killed for its memory (docker inspect: OOMKilled).",
		Application: "Raise its limit (client_max_body_size, post_max_size), or let it read to the end before it answers 413.",
	},
	Rivals: []Rival{
		{"client_upload_failed", "the upstream's connection ended; reading from the client had no error"},
		{"request_write_timeout", "errno names a connection that ended; no time ran out"},
		{"reset_before_response", "the request had not been written whole"},
		{"keepalive_race", "the connection was new, or died later than one round trip"},
		{"an early answer, such as 413, that was lost", "nothing from here: a reset destroys what had come before it; look at the upstream's log"},
		{"upload_cut_by_early_response", "the upstream ended the connection, and no answer had begun"},
	},
}

var RequestNotSendable = &Row{
	Name: "request_not_sendable", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
	Phase: failure.PhaseSend, Side: failure.SideProxy,
	Summary:      "Caddy's own transport refused to send the request to {upstream}.",
	Advice:       "Correct what the error names: mostly a field that header_up sets.",
	Meaning:      "The transport refused to send the request: it has a header field, a method or a length that must not be sent, or no name is known to check the certificate by. Nothing of the request left this machine.",
	RecognisedBy: "The transport's own refusal, before any byte of the request was written; the error names the field.",
	Witnesses:    []Witness{WitnessError},
	UsualReasons: []string{
		"header_up builds a name or a value from a placeholder that holds a line break or a control character",
		"a FastCGI application, and a request whose length is not known",
		"an upstream with a scheme that the transport does not speak",
		"an upgrade other than WebSocket, or header_up Connection, to an upstream with which HTTP/2 was negotiated",
		"proxy_protocol to a TLS port without tls_server_name (phase tls)",
	},
	Fix: Fix{
		Caddy:       "Correct what header_up sets; where a length is missing, buffer the request.",
		Caddyfile:   inProxy("request_buffers 10MiB"),
		Docker:      nothingToChange,
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"retried_without_body", "no attempt before had used up the request's body"},
	},
}
