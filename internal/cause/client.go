package cause

import (
	"net/http"
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
	if !uploadExplains(h.Client.BodyErr) || last == nil || last.Sent == 0 || last.Status != 0 || answered(h) || h.Panicked {
		return verdict{}, false
	}
	if h.Err == nil && h.Response.Status != listen.StatusClientClosedRequest && !h.Client.Left {
		return verdict{}, false
	}
	f := found(ClientUploadFailed, "reading the request's body: "+errorWords(h.Client.BodyErr))
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

// adviceNoLimit is for where no limit of the transport would have ended the wait.
const adviceNoLimit = "If clients often give up here, find out why the upstream is slow: nothing that the transport can be told ends this wait."

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
	left := h.Client.Left && !answered(h) || h.Response.Status == listen.StatusClientClosedRequest || h.ErrStatus == listen.StatusClientClosedRequest
	last := lastAttempt(h)
	if !left || h.Response.Hijacked || h.Panicked || last == nil && h.Selection.Rounds == 0 {
		return verdict{}, false
	}
	if last != nil && worked(last) && h.Response.Status != listen.StatusClientClosedRequest && !nobodyChosen(h, last) {
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
	return v, true
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
	return last.Err == nil || canceled(last.Err) || gaveUp(last.Err) || h.ErrStatus == listen.StatusClientClosedRequest || last.Protocol == protocolFastCGI
}
