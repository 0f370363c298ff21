package cause

import (
	"net/http"
	"net/netip"
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
	f := found(ClientUploadFailed, "reading the request's body: "+ClientError(h.Client.BodyErr))
	if lost := notArrived(tryOf(h, last)); lost.is() && h.Client.Left && !uploadMalformed(h.Client.BodyErr) {
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
const adviceLimitSet = "Look at the log of {upstream} for how long it takes for such requests: if clients often leave before that, make it faster, or raise their own limit or that of what stands in front of Caddy. From here an upstream that hangs, a port that waits for something else, a client's limit that is too short and a visitor who went away look alike."

// adviceNoLimit is for where no limit of the transport would have ended the wait.
const adviceNoLimit = "Look how long {upstream} takes for such requests: if clients often leave before that, make it faster, or raise their own limit or that of what stands in front of Caddy. From here an upstream that hangs, a limit that is too short and a visitor who went away look alike; no limit of the transport has an effect in this phase."

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
		v.finding = misdirectedCause(last, v.finding)
	}
	if last != nil && last.Protocol == protocolFastCGI {
		v.finding = outlived(h, last, v.finding, unseen)
	}
	return v, true
}

// leftUnheard is for a client that left while this machine itself did not answer a connect.
func leftUnheard(f finding, at netip.AddrPort) finding {
	if queue, full := fullQueueAt(at.String()); full {
		f.evidence = append(f.evidence, queue)
		return f.advise(SocketBacklogFull.Advice + " dial_timeout lets Caddy answer first.").
			leavesOpen("a process that hangs, one that is only too busy, a client's limit that is too short, and a visitor who went away look the same from here: the state and the log there tell")
	}
	dropped := droppedHere(at)
	if dropped.advice == "" {
		return f
	}
	f.evidence = append(f.evidence, dropped.evidence...)
	return f.advise(dropped.advice + " dial_timeout lets Caddy answer first.").
		leavesOpen("a firewall or filter of " + here() + " that drops packets, a client's limit that is too short, and a visitor who went away look the same from here")
}

// adviceNotYet is for a client that left before an upstream could have the request, and
// what looks the same then; "" for a later phase.
func adviceNotYet(phase failure.Phase) (advice, undecided string) {
	switch phase {
	case failure.PhaseDNS:
		return "Look whether the resolver answers, and how soon: the name was being looked up when the client left.",
			"a resolver that is slow or down, a client's limit that is too short, and a visitor who went away look the same from here"
	case failure.PhaseConnect:
		return "Look whether {address} can be reached from " + thisMachine + " and takes connections: it had not when the client left. dial_timeout lets Caddy answer first.",
			"a firewall that drops packets, a machine that is down, a full queue there, a client's limit that is too short, and a visitor who went away look the same from here"
	case failure.PhaseTLS:
		return "Look whether {address} speaks TLS, and is not overloaded: the handshake was not over when the client left. tls_timeout lets Caddy answer first.",
			"a port that waits for something else, a server that hangs, a client's limit that is too short, and a visitor who went away look the same from here"
	}
	return "", ""
}

// answeredNobody says that FastCGI answered when the client had gone: its transport
// notices nothing of that, and goes on.
func answeredNobody(h *listen.Heard, last *listen.Attempt) bool {
	return h.Client.Gone && last != nil && last.Protocol == protocolFastCGI && last.HasAnswer() && !listen.Unpassable(last.Status)
}

// outlived says how a script went on for which nobody waited any more.
func outlived(h *listen.Heard, last *listen.Attempt, f finding, answered bool) finding {
	f.limit = limitFor(failure.ReadTimeout, last.Limits, last) // FastCGI has no other
	if f.advice == "" && f.limit != nil && f.limit.ValueMS != nil {
		f.advice = adviceLimitSet
	}
	t := tryOf(h, last)
	if answered {
		f.evidence = append(f.evidence, "an answer came "+ms(elapsed(sent(t), last.Answered))+" after the connect, when the client had left")
		return f
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
	Undecided:    "whether the client, its network, or a proxy in front broke it off can't be told from here",
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
	Advice:       "Look how long {upstream} takes for such requests: if clients often leave before that, make it faster, or raise their own limit or that of what stands in front of Caddy; a limit in the transport lets Caddy answer first. From here an upstream that hangs, a limit that is too short and a visitor who went away look alike.",
	Meaning:      "The client left before an answer had begun. The phase says what was being waited for, and the time for how long.",
	RecognisedBy: "The request's context had ended and nothing had been answered, or Caddy answered 499. The limit that would have ended the wait is named, or that none is set.",
	Witnesses:    []Witness{WitnessError, WitnessAsked, WitnessKernel},
	UsualReasons: []string{
		"a visitor who closed the page, or clicked again",
		"a client, or a balancer in front of Caddy, with a shorter timeout than the application needs",
		"an upstream that hangs, with no limit in Caddy that would end it",
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
		{"connection_lost", "no bytes in the evidence that were never acknowledged; the evidence may say that all were (Linux)"},
		{"tls_timeout", "no limit of Caddy's had run out"},
		{"response_truncated", "no header of an answer had been passed on"},
		{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
		{"forward_proxy_failed", "the request was not with a forward proxy that had never been told of the upstream"},
		{"response_stalled", "no header of an answer had been passed on"},
		{"upload_cut_by_early_response", "the client had left, and no answer had begun"},
	},
}
