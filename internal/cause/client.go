package cause

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// answered says that something was written that a client could read.
func answered(h *listen.Heard) bool {
	return h.Response.Status != 0 && h.Response.Status != listen.StatusClientClosedRequest
}

// judgeUpload: the request's body broke off, stalled or was malformed while it was
// sent on. A server's limit for reading it ends the request's context as well, so
// this goes before a client that left.
func judgeUpload(h *listen.Heard) (verdict, bool) {
	last := lastAttempt(h)
	if !uploadExplains(&h.Client) || last == nil || last.Sent == 0 || last.HasAnswer() || answered(h) || h.Panicked {
		return verdict{}, false
	}
	if h.Err == nil && h.Response.Status != listen.StatusClientClosedRequest && !h.Client.Left {
		return verdict{}, false
	}
	t := tryOf(h, last)
	f := uploadFailed(t)
	if lost := notArrived(t); lost.is() && h.Client.Left && !uploadMalformed(h.Client.BodyErr) {
		f = lost // it could not go on
	}
	v := verdict{failure.Failed, h.Response.Status, last, f, h.Client.BodyErr}
	if v.status == 0 {
		v.status = h.ErrStatus
	}
	switch {
	case uploadMalformed(h.Client.BodyErr):
		if v.status == 0 || v.status >= 500 {
			v.status = http.StatusBadRequest
		}
	case h.Client.Left && !isTimeout(h.Client.BodyErr):
		v.outcome, v.status = failure.Abandoned, listen.StatusClientClosedRequest
	}
	return v, true
}

// uploadFailed is the finding of a client's body that could not be read: a limit of Caddy's
// server ran out, it breaks the rules, or it ended before its end.
func uploadFailed(t *try) finding {
	err := t.client.BodyErr
	f := found(ClientUploadFailed, "reading the request's body: "+clientError(err))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return uploadOutOfTime(t, f)
	case uploadMalformed(err):
		f.summary = "The client's request broke the rules of HTTP while it was passed to {upstream}."
		return f.advise("Nothing to do for single ones; if they come again, correct the client, or the proxy in front of Caddy, that writes the request's body: the error says what is wrong with it.").
			leavesOpen("whether the client or a proxy in front wrote it so can't be told from here: the log of what stands in front tells")
	case errors.Is(err, io.ErrUnexpectedEOF), errnoOf(err) != 0:
		f.evidence[0] += ": no limit of Caddy's ended it"
		f.summary = "The client's request broke off while it was passed to {upstream}."
		return f.advise("Nothing to do for single ones; if many break off, look at the limits for time and size of what stands in front of Caddy, and at the client's own.")
	}
	return f
}

// uploadOutOfTime is for a deadline of Caddy's server. Where read_body had not passed yet it
// was another: that between two reads, or one that a handler sets.
func uploadOutOfTime(t *try, f finding) finding {
	f.summary = "A time limit of Caddy's server ended the client's request while it was passed to {upstream}."
	ranOut := "the limit for the request's body"
	if readBodyRanOut(t) {
		f = f.within(t.client.Limits.Limit(failure.ReadBody))
		f.summary = "The client's request took longer than {limit} of Caddy's server while it was passed to {upstream}."
		f = f.advise("Nothing to do for single ones; if slow clients are cut off, raise read_body of the server's timeouts, which counts for the whole upload.")
		ranOut = failure.ReadBody
	} else {
		f = f.advise("Nothing to do for single ones; if slow clients are cut off, raise what is too short of the server's timeouts: read_body counts for the whole upload, read_body_idle (1m by default) for each pause.")
	}
	total := elapsed(sendStart(t), t.end)
	f.evidence = append(f.evidence, uploadLine(t, total))
	slow := ""
	if t.Uploading <= total/4*3 {
		slow = "an upstream that takes it slowly, "
	}
	return f.leavesOpen("a client that stalls or is only slow, its network, a proxy in front, " + slow + "and " + ranOut + " being too short for this look the same from here: the log of what stands in front tells")
}

// readBodyRanOut says that read_body was the limit that ended an upload. A tenth is granted
// for clocks and for what comes before us, unless the limit between two reads had passed.
func readBodyRanOut(t *try) bool {
	whole, ok := t.client.Limits.Setting(failure.ReadBody)
	if !ok || whole.Source == failure.LimitAbsent {
		return false
	}
	least := whole.Value
	if idle, _ := t.client.Limits.Setting(failure.ReadBodyIdle); idle.Source == failure.LimitAbsent || t.end < idle.Value {
		least -= least / 10
	}
	return t.end >= least
}

// limitOf names the limit that would end each phase.
var limitOf = map[failure.Phase]string{
	failure.PhaseSelect:  failure.TryDuration,
	failure.PhaseDNS:     failure.DialTimeout,
	failure.PhaseConnect: failure.DialTimeout,
	failure.PhaseTLS:     failure.TLSTimeout,
	failure.PhaseSend:    failure.WriteTimeout,
	failure.PhaseWait:    failure.ResponseHeaderTimeout,
	failure.PhaseHeaders: failure.ResponseHeaderTimeout,
	failure.PhaseBody:    failure.ReadTimeout,
}

// adviceLimitSet is for where a limit would have ended the wait.
const adviceLimitSet = "Look at the log of {upstream} for how long it takes for such requests: if clients often leave before that, make it faster, or raise their own limit or that of what stands in front of Caddy."

// adviceNoLimit is for where no limit of the transport would have ended the wait.
const adviceNoLimit = "Look how long {upstream} takes for such requests: if clients often leave before that, make it faster, or raise their own limit or that of what stands in front of Caddy; no limit of the transport has an effect in this phase."

// adviceMaxConns is for who waited until one of the others' connections is free.
const adviceMaxConns = "Raise max_conns_per_host, or find out why {upstream} is slow: all the connections to it that are allowed were in use."

// waitedForConnection says that an attempt had to wait for a connection that others
// used, and that no dial was begun for it, which a limit could have ended.
func waitedForConnection(a *listen.Attempt) bool {
	return a.Exact && a.Limits != nil && a.Limits.MaxConnsPerHost > 0 && a.Protocol != protocolHTTP3 && a.Dialing == nil && a.Connection == nil
}

// judgeAbandoned: the client left while an upstream was waited for. One that
// leaves after the answer's headers is no failure.
func judgeAbandoned(h *listen.Heard) (verdict, bool) {
	last := lastAttempt(h)
	left := h.Client.Left && !answered(h) || h.Response.Status == listen.StatusClientClosedRequest || h.ErrStatus == listen.StatusClientClosedRequest
	if !h.Client.Left && last != nil && last.Exact && last.Err == nil && last.Status == listen.StatusClientClosedRequest {
		left = false // the upstream's own answer
	}
	unseen := answeredNobody(h, last)
	left = left || unseen
	if !left || h.Response.Hijacked || h.Panicked || last == nil && h.Selection.Rounds == 0 {
		return verdict{}, false
	}
	if last != nil && worked(last) && !unseen && h.Response.Status != listen.StatusClientClosedRequest && !nobodyChosen(h, last) {
		return verdict{}, false // an answer had come: what the client left was something else
	}
	v := verdict{outcome: failure.Abandoned, status: listen.StatusClientClosedRequest, attempt: last}
	phase, limits := failure.PhaseSelect, h.Selection.Limits
	if last != nil {
		limits = last.Limits
		v.err = last.Err
	}
	if underWay(h, last) {
		phase = reached(last)
		if f := turnedAway(h, last); f.is() {
			v.finding = f
			return v, true
		}
		if f := notArrived(tryOf(h, last)); f.is() {
			v.finding = f // it would have waited in vain
			return v, true
		}
	}
	if unseen {
		phase = failure.PhaseWait
	}
	if phase == failure.PhaseConnect && waitedForConnection(last) {
		v.finding = found(ClientClosedRequest, "no connection was begun for it: max_conns_per_host "+strconv.Itoa(limits.MaxConnsPerHost)+" allows no more").
			at(phase).advise(adviceMaxConns)
		return v, true
	}
	v.finding = found(ClientClosedRequest).at(phase).within(limitFor(limitOf[phase], limits, last))
	if !hasEffect(limitOf[phase], limits, last) {
		v.finding.advice = adviceNoLimit
	}
	if underWay(h, last) && phase == failure.PhaseConnect && stoppedAtProxy(tryOf(h, last)) {
		v.finding = found(ClientClosedRequest).at(phase).advise(adviceProxySilent).leavesOpen(openProxySilent)
		return v, true
	}
	if advice, open := adviceNotYet(phase); advice != "" && underWay(h, last) {
		v.finding = v.finding.advise(advice).leavesOpen(open)
		if at, own := ownAddress(addressOf(last)); own && phase == failure.PhaseConnect && !dialled(last) && last.Protocol != protocolHTTP3 {
			v.finding = leftUnheard(v.finding, at)
		}
	}
	if underWay(h, last) {
		if phase == failure.PhaseWait {
			v.finding = neverSpoke(tryOf(h, last), v.finding)
		}
		if phase == failure.PhaseSend || phase == failure.PhaseWait || phase == failure.PhaseHeaders {
			v.finding = v.finding.leavesOpen(leftWaiting(last))
		}
		v.finding = misdirectedCause(last, v.finding)
	}
	if last != nil && last.Protocol == protocolFastCGI {
		v.finding = outlived(h, last, v.finding, unseen)
	}
	return v, true
}

// adviceProxySilent is for a forward proxy that took the connection, and did not open the
// tunnel; dial_timeout counts for the connect alone.
const (
	adviceProxySilent = "Look at the log of the forward proxy at this time for why it did not answer: it had taken the connection, and opened no way to {upstream} before the client left."
	openProxySilent   = "a forward proxy that hangs, one that waits for an upstream that does not answer it, a port that is no forward proxy's, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here: its log tells"
)

// leftWaiting is what looks the same where a client left during a wait for the upstream.
func leftWaiting(a *listen.Attempt) string {
	words := "an upstream that is slow or hangs, "
	if !spokeHTTP(a) {
		words += "a port that waits for something else, "
	}
	if overNetwork(a) && len(acknowledgedEvidence(a)) == 0 {
		words += "a network that loses packets, "
	}
	if isHTTP2(&try{Attempt: a, protocol: a.Protocol}) && spokeHTTP(a) && a.RequestBytes <= 0 && !a.HasAnswer() { // a GET that is refused is repeated unheard, with pauses that grow
		words += "a REFUSED_STREAM that Go repeats, "
	}
	return words + "a server in between, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here: the log there tells"
}

// leftUnheard is for a client that left while this machine itself did not answer a connect.
func leftUnheard(f finding, at netip.AddrPort) finding {
	if queue, full := fullQueueAt(at.String()); full {
		f.evidence = append(f.evidence, queue)
		return f.advise(SocketBacklogFull.Advice + " dial_timeout lets Caddy answer first.").
			leavesOpen("a process that hangs, one that is only too busy, a backlog that is too short for it, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here: the state and the log there tell")
	}
	dropped := droppedHere(at)
	if dropped.advice == "" {
		return f
	}
	f.evidence = append(f.evidence, dropped.evidence...)
	return f.advise(dropped.advice + " dial_timeout lets Caddy answer first.").
		leavesOpen("a firewall or filter of " + here() + " that drops packets, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here")
}

// adviceNotYet is for a client that left before an upstream could have the request, and
// what looks the same then; "" for a later phase.
func adviceNotYet(phase failure.Phase) (advice, undecided string) {
	switch phase {
	case failure.PhaseDNS:
		return "Look whether the resolver answers, and how soon: the name was being looked up when the client left.",
			"a resolver that is slow or down, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here"
	case failure.PhaseConnect:
		return "Look whether {address} can be reached from " + thisMachine + " and takes connections: it had not when the client left. dial_timeout lets Caddy answer first.",
			"a firewall that drops packets, a machine that is down, a full queue there, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here"
	case failure.PhaseTLS:
		return "Look whether {address} speaks TLS, and is not overloaded: the handshake was not over when the client left. tls_timeout lets Caddy answer first.",
			"a port that waits for something else, a server that hangs or is too busy, one in between, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here: the log there tells"
	}
	return "", ""
}

// answeredNobody says that FastCGI answered when the client had gone: its transport
// notices nothing of that, and goes on.
func answeredNobody(h *listen.Heard, last *listen.Attempt) bool {
	return h.Client.Gone && last != nil && last.Protocol == protocolFastCGI && last.HasAnswer() && !listen.Unpassable(last.Status)
}

// heldBack says that an answer without an announced length had come, and nothing of it to
// the client before it left: Caddy waits until response_buffers is full, or for the
// answer's end. One with a length ends by itself.
func heldBack(h *listen.Heard, a *listen.Attempt) bool {
	if !h.Client.Gone || a == nil || a.Limits == nil || !a.HasAnswer() || a.Body.Expected >= 0 || !canceled(a.Body.Err) {
		return false
	}
	buffer := a.Limits.ResponseBuffers
	return buffer < 0 || a.Body.Bytes < buffer
}

// judgeHeldBack: an answer that goes on for long, as events do, never fills the buffer.
func judgeHeldBack(h *listen.Heard, a *listen.Attempt) verdict {
	until := "its end"
	if most := a.Limits.ResponseBuffers; most > 0 {
		until = counted(most, "byte") + " of it are there, or " + until
	}
	f := found(ClientClosedRequest, "nothing of the answer went on to the client: response_buffers holds it back until "+until, received(tryOf(h, a))).
		at(failure.PhaseBody).
		advise("Remove response_buffers from this reverse_proxy, or give answers that go on for long (events, progress) a reverse_proxy of their own without it.").
		leavesOpen("whether the client left for that can't be told from here: its own limit, and a visitor who went away (or half-closed), look the same")
	f.side, f.summary = failure.SideProxy, "{upstream} answered, and Caddy held its answer back until the client left."
	return verdict{failure.Abandoned, listen.StatusClientClosedRequest, a, f, a.Body.Err}
}

// outlived says how a script went on for which nobody waited any more.
func outlived(h *listen.Heard, last *listen.Attempt, f finding, answered bool) finding {
	if connected(last) {
		f.limit = limitFor(failure.ReadTimeout, last.Limits, last) // FastCGI has no other
	}
	if f.advice == "" && f.limit != nil && f.limit.ValueMS != nil {
		f.advice = adviceLimitSet
	}
	t := tryOf(h, last)
	if answered {
		came := "an answer came " + ms(elapsed(sent(t), last.Answered)) + " after the connect"
		if last.Limits != nil && last.Limits.ResponseBuffers != 0 { // when it left isn't known then
			came += ", and response_buffers held it back: the client had left when it was to go on"
		} else {
			came += ", when the client had left"
		}
		f.evidence = append(f.evidence, came)
		return f.leavesOpen("an application that is slow, a client's limit that is too short, and a visitor who went away (or half-closed) look the same from here: its log tells")
	}
	if ended := attemptCause(t); ended.row != Unknown && last.Err != nil && !canceled(last.Err) && connected(last) {
		f.evidence = append(f.evidence, "Caddy waited on without the client, because its FastCGI is not told of that: it ended as "+ended.row.Name)
		f.evidence = append(f.evidence, ended.evidence...)
	}
	return f
}

// underWay says that an attempt was going on when the client left: it had not
// failed by itself before.
func underWay(h *listen.Heard, last *listen.Attempt) bool {
	if last == nil || nobodyChosen(h, last) {
		return false
	}
	// FastCGI notices nothing of a client that leaves, so that its attempt goes on
	// until it fails by itself. A gRPC server knows the client's deadline, and gives the
	// request up when the client does.
	return last.Err == nil || canceled(last.Err) || gaveUp(last.Err) || ours(tryOf(h, last)) || h.ErrStatus == listen.StatusClientClosedRequest || last.Protocol == protocolFastCGI
}

var ClientUploadFailed = &Row{
	Name: "client_upload_failed", Category: failure.CategoryRequest, ProxyError: "http_request_error",
	Phase: failure.PhaseSend, Side: failure.SideClient,
	Summary:      "The client's request broke off, stalled or was malformed while it was passed to {upstream}.",
	Advice:       "Nothing to do for single ones; if slow clients are cut off, raise read_body of the server's timeouts.",
	Meaning:      "The client's request body broke off, stalled, or was framed wrongly while it was passed on. The upstream did nothing wrong.",
	RecognisedBy: "Reading the request's body from the client failed; the evidence quotes that error. A malformed body is answered with 400, a client that has gone is outcome abandoned. Or a limit of the transport that counts for the whole upload ran out, most of which had been spent waiting for the client: the evidence has that time, and side is proxy.",
	Witnesses:    []Witness{WitnessError, WitnessKernel},
	Undecided:    "whether the client, its network, or a proxy in front broke it off can't be told from here: the log of what stands in front tells",
	UsualReasons: []string{
		"a visitor on a phone lost the network, or closed the page",
		"an upload slower than read_body allows, or than write_timeout does, which counts for all of it over HTTP/1.1 without TLS (with FastCGI, read_timeout too)",
		"a client that announces another length than it sends, or sends bad chunks",
	},
	Fix: Fix{
		Caddy:       "If slow clients are cut off, give them longer.",
		Caddyfile:   "{\n\tservers {\n\t\ttimeouts {\n\t\t\tread_body 10m\n\t\t}\n\t}\n}",
		Docker:      nothingToChange,
		Application: "Let large uploads be sent in parts that can be taken up again.",
	},
	Rivals: []Rival{
		{"request_write_failed", "the error in the evidence is one of reading from the client"},
		{"request_write_timeout", "the error in the evidence is one of reading from the client, or most of the limit had been spent waiting for it"},
		{"client_closed_request", "the body had not been read to its end"},
		{"retried_without_body", "reading failed while this side had the body open; no attempt before had used it up"},
		{"upload_cut_by_early_response", "no answer had begun; reading failed on the client's side"},
	},
}

var ClientClosedRequest = &Row{
	Name: "client_closed_request", Category: failure.CategoryRequest,
	Side:         failure.SideClient,
	Summary:      "The client left while it waited for {upstream}.",
	Advice:       "Look how long {upstream} takes for such requests: if clients often leave before that, make it faster, or raise their own limit or that of what stands in front of Caddy; a limit in the transport lets Caddy answer first.",
	Meaning:      "The client left before anything of an answer had come to it. The phase says what was being waited for, and the time for how long.",
	RecognisedBy: "The request's context had ended and nothing had been answered, or Caddy answered 499. The limit that would have ended the wait is named, or that none is set. Where the upstream had taken the request over none of its new connections of HTTP/2 meanwhile, the evidence counts them, and side is upstream. Where an answer had begun and response_buffers held it back, the phase is body, and side is proxy.",
	Witnesses:    []Witness{WitnessError, WitnessAsked, WitnessKernel},
	UsualReasons: []string{
		"a visitor who closed the page, or clicked again",
		"a client, or a balancer in front of Caddy, with a shorter timeout than the application needs",
		"an upstream that hangs, with no limit in Caddy that would end it",
		"response_buffers, where an answer goes on for long (events): nothing of it goes on before the buffer is full",
	},
	Fix: Fix{
		Caddy:       "Set a limit, so that Caddy answers before clients give up.",
		Caddyfile:   inTransport("response_header_timeout 20s", "tls_timeout 5s"),
		Docker:      nothingToChange,
		Application: "Find out why the answer takes so long, in the phase that the record names.",
	},
	Rivals: []Rival{
		{"client_upload_failed", "reading the request from the client had no error"},
		{"response_timeout", "no limit of Caddy's had run out"},
		{"goaway", "no GOAWAY was heard on each new connection, which over TLS is never"},
		{"connection_lost", "no bytes in the evidence that were never acknowledged; the evidence may say that all were (Linux)"},
		{"tls_timeout", "no limit of Caddy's had run out"},
		{"response_truncated", "no header of an answer had been passed on"},
		{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
		{"forward_proxy_failed", "the request was not with a forward proxy that had never been told of the upstream"},
		{"response_stalled", "no header of an answer had been passed on"},
		{"upload_cut_by_early_response", "the client had left, and no answer had begun"},
	},
}
