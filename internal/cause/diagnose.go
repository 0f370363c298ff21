// Package cause is the catalogue of causes, one table, and what finds the row that
// fits what was heard of a request.
//
// A cause is found by types first: the attempt's own trace errors, the transport's
// exact error, the attempt's state; by an error's text last. What can't be told is
// Unknown: a wrong name is worse than none.
package cause

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// finding is the row that fits, and what a diagnosis knows better than the row.
type finding struct {
	row   *Row
	phase failure.Phase
	side  failure.Side
	// proxyError stands in for the row's.
	proxyError string
	// advice and summary stand in for the row's.
	advice, summary string
	// limit is the limit that ran out, or that is missing.
	limit    *failure.Limit
	evidence []string
	// undecided stands in for the row's, too; decided says that nothing is left open.
	undecided string
	decided   bool
}

// found is a finding of r without more.
func found(r *Row, evidence ...string) finding { return finding{row: r, evidence: evidence} }

// nothing is what a rule returns that doesn't apply.
var nothing finding

// is says that a rule applied.
func (f finding) is() bool { return f.row != nil }

// at moves the finding to another phase than its row's.
func (f finding) at(phase failure.Phase) finding { f.phase = phase; return f }

// advise gives better advice than the row's.
func (f finding) advise(advice string) finding { f.advice = advice; return f }

// leavesOpen says better than the row what can't be told from here.
func (f finding) leavesOpen(undecided string) finding { f.undecided = undecided; return f }

// decides says that nothing is left open: the upstream itself says what it wants.
func (f finding) decides() finding { f.decided = true; return f }

// within names the limit that ran out.
func (f finding) within(limit *failure.Limit) finding { f.limit = limit; return f }

// verdict is what became of a request.
type verdict struct {
	outcome failure.Outcome
	status  int
	// attempt is the one that the record speaks of, nil where none was made.
	attempt *listen.Attempt
	finding finding
	// err is the error that the record quotes.
	err error
}

// Diagnose names the cause of what was heard. It returns nil where it is no
// upstream's doing. The caller fills in ID, Time, Instance, Site, Request,
// Incident and TraceID.
func Diagnose(h *listen.Heard) *failure.Failure {
	for i := range h.Attempts {
		hearUnreadHeader(&h.Attempts[i])
	}
	v, ok := judge(h)
	if !ok {
		return nil
	}
	if h.Looped && v.outcome != failure.Rescued {
		v.finding = found(ProxyLoop, append(v.finding.evidence, "the request came back to this same handler, over the connection that was made for it")...)
	}
	return record(h, v)
}

// judge asks the client's side first, because a client that leaves makes every
// other error; then how the request ended.
func judge(h *listen.Heard) (verdict, bool) {
	if refusedByCaddy(h) {
		return verdict{}, false
	}
	if v, ok := judgeUpload(h); ok {
		return v, true
	}
	if v, ok := judgeAbandoned(h); ok {
		return v, true
	}
	if v, ok := judgeUnpassable(h); ok {
		return v, true
	}
	switch {
	case h.Panicked:
		return judgePanic(h)
	case h.Err != nil:
		return judgeError(h)
	default:
		return judgeAnswer(h)
	}
}

// refusedByCaddy says that the request was too large for Caddy's own request_body.
func refusedByCaddy(h *listen.Heard) bool {
	for _, err := range []error{h.Err, h.Client.BodyErr} {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return true
		}
	}
	return false
}

// judgeUnpassable: the answer's status is one that no server of Go's passes on. Either
// it was held back, or the server panicked and the client got nothing.
func judgeUnpassable(h *listen.Heard) (verdict, bool) {
	last := lastAttempt(h)
	if last == nil || !unpassable(last) || last.Status != h.Response.Status || !h.Panicked && !h.Response.Intercepted {
		return verdict{}, false
	}
	v := verdict{failure.Failed, 0, last, answerCause(last), nil}
	if h.Response.Intercepted {
		v.status = http.StatusBadGateway
	}
	return v, true
}

// unpassable says that an answer came with a status that can't be passed on.
func unpassable(a *listen.Attempt) bool { return a.HasAnswer() && listen.Unpassable(a.Status) }

// judgePanic: Caddy breaks an answer off by a panic. It was an upstream's doing if
// the answer's body had an error and the client none.
func judgePanic(h *listen.Heard) (verdict, bool) {
	if last := lastAttempt(h); heldBack(h, last) {
		return judgeHeldBack(h, last), true
	}
	if h.Client.WriteErr != nil {
		return verdict{}, false
	}
	for i := len(h.Attempts) - 1; i >= 0; i-- {
		a := &h.Attempts[i]
		if a.Body.Err == nil {
			continue
		}
		if canceled(a.Body.Err) {
			return judgeStalled(h, a) // the client left during the answer
		}
		t := tryOf(h, a)
		t.err = a.Body.Err
		f := bodyCause(t)
		if ours(t) || sendingFailed(h, t) {
			if h.Client.Left || uploadExplains(&h.Client) {
				return verdict{}, false // it left, or its upload broke off, during the answer
			}
			if early := cutUpload(h, t); early.is() {
				early.evidence = append(early.evidence, received(t))
				f = early
			}
		}
		return verdict{failure.Truncated, h.Response.Status, a, f, a.Body.Err}, true
	}
	return verdict{}, false
}

// judgeError finds what the error that was returned is about: nobody could be
// chosen, or an attempt failed.
func judgeError(h *listen.Heard) (verdict, bool) {
	last := lastAttempt(h)
	if nobodyChosen(h, last) {
		// Caddy keeps the error of an attempt that was made before.
		if failed := lastFailed(h, h.Selection.Limits); failed != nil {
			return judgeFailed(h, failed), true
		}
		f := selectCause(h)
		if endingOf(h, h.Selection.Limits, nil) == endingDuration {
			f = f.within(h.Selection.Limits.Limit(failure.TryDuration))
		}
		err := returned(h.Err)
		if f.row == UpstreamLookupFailed {
			err = h.Selection.LookupErr // Caddy keeps it to itself, and says that there is nobody
		}
		return verdict{failure.Failed, statusOf(f.row, h.ErrStatus), nil, f, err}, true
	}
	if last == nil {
		if hasText(h.Err, textNoUpstreams) { // no ear was there to hear why
			return verdict{failure.Failed, h.ErrStatus, nil, found(Unknown).at(failure.PhaseSelect), returned(h.Err)}, true
		}
		return verdict{}, false
	}
	unsent := last.Sent == 0 || !last.Exact && last.Dialing == nil && last.Connection == nil
	if unsent && hasText(h.Err, textMakingDialInfo) {
		f := dialInfoCause(last, innermost(h.Err))
		return verdict{failure.Failed, statusOf(f.row, h.ErrStatus), last, f, returned(h.Err)}, true
	}
	if last.Sent == 0 {
		return verdict{}, false // refused before the transport was asked
	}
	if last.HasAnswer() && hasText(h.Err, textRetryMatch) {
		f, _ := wantedBy(last)
		if !f.is() {
			f = answerCause(last)
		}
		// What Caddy returns then is no error of the upstream's.
		f.evidence = append(f.evidence, takenForFailure)
		return verdict{failure.Failed, statusOf(f.row, h.ErrStatus), last, f, nil}, true
	}
	if worked(last) || refusedByTransport(h, last) {
		return verdict{}, false
	}
	if v, ok := judgeRepeat(h, last); ok {
		return v, true
	}
	v := judgeFailed(h, last)
	if !last.Exact && v.finding.row == Unknown && last.FirstByte > 0 && h.ErrStatus != http.StatusBadGateway && h.ErrStatus != http.StatusGatewayTimeout {
		return verdict{}, false // an answer came: the error may be anybody's
	}
	return v, true
}

// judgeFailed is the verdict on an attempt whose error ended the request: where no
// ear heard it, it is the one that came up.
func judgeFailed(h *listen.Heard, a *listen.Attempt) verdict {
	if repeated(h, a) {
		f := thrownAway(a)
		err := returned(h.Err)
		if hasText(err, textRetryMatch) {
			err = nil
		}
		return verdict{failure.Failed, statusOf(f.row, h.ErrStatus), a, f, err}
	}
	t := tryOf(h, a)
	if t.err == nil && !a.Silent {
		t.err = returned(h.Err)
	}
	f := attemptCause(t)
	return verdict{failure.Failed, statusOf(f.row, h.ErrStatus), a, f, t.err}
}

// refusedByTransport says that the transport refused the request itself, with a
// status of its own that blames the client: FastCGI does so for paths.
func refusedByTransport(h *listen.Heard, a *listen.Attempt) bool {
	return a.Dialing == nil && a.Connection == nil && 400 <= h.ErrStatus && h.ErrStatus < 499 && h.ErrStatus != http.StatusLengthRequired
}

// judgeAnswer: no error. The answer itself may be an upstream's error, or an
// attempt before it failed.
func judgeAnswer(h *listen.Heard) (verdict, bool) {
	last := lastAttempt(h)
	if last == nil {
		return verdict{}, false
	}
	switch {
	case last.Status == http.StatusSwitchingProtocols && h.Response.Status != http.StatusSwitchingProtocols && !h.Response.Hijacked:
		return verdict{failure.Failed, UpgradeFailed.Status, last, upgradeCause(last), nil}, true
	case last.Status == 0 || last.Status != h.Response.Status:
	case h.Response.Intercepted || noteworthy(last.Status) || answeredInPlace(last):
		return verdict{failure.UpstreamAnswered, h.Response.Status, last, answerCause(last), nil}, true
	case grpcUnavailable(last):
		status := h.Response.Status
		if last.Request != nil && strings.HasPrefix(last.Request.Header.Get("Content-Type"), "application/grpc") {
			status = http.StatusServiceUnavailable // what gRPC's client takes it for
		}
		return verdict{failure.UpstreamAnswered, status, last, answerCause(last), nil}, true
	default:
		if f, _ := wantedBy(last); f.is() {
			return verdict{failure.UpstreamAnswered, h.Response.Status, last, f, nil}, true
		}
		if f := destinationCause(last); f.is() {
			return verdict{failure.UpstreamAnswered, h.Response.Status, last, f, nil}, true
		}
	}
	if f := unreadBefore(last); f.is() && last.Status == h.Response.Status {
		return verdict{failure.UpstreamAnswered, h.Response.Status, last, f, nil}, true
	}
	if last.Body.Ended && last.Body.Err != nil && last.Status == h.Response.Status {
		t := tryOf(h, last)
		t.err = last.Body.Err
		return verdict{failure.Truncated, h.Response.Status, last, bodyCause(t), last.Body.Err}, true
	}
	if overlong(h, last) {
		return verdict{failure.Truncated, h.Response.Status, last, overlongCause(last), nil}, true
	}
	if worked(last) && lostBody(h, last) {
		return judgeBodyless(h, last), true
	}
	failed := lastFailed(h, last.Limits)
	if failed == nil {
		return verdict{}, false
	}
	t := tryOf(h, failed)
	if failed == last {
		// The error was handled on the way up, by routes of its own.
		if h.Response.Status == 0 || failed.Silent {
			return verdict{}, false
		}
		f := attemptCause(t)
		return verdict{failure.Failed, h.Response.Status, failed, f, t.err}, true
	}
	if repeated(h, failed) {
		return verdict{failure.Rescued, h.Response.Status, failed, thrownAway(failed), nil}, true
	}
	return verdict{failure.Rescued, h.Response.Status, failed, attemptCause(t), t.err}, true
}

// statusOf is the status that the client gets: the row's instead of Caddy's, but
// never instead of one that blames the client.
func statusOf(r *Row, caddys int) int {
	if caddys != 0 && listen.Unpassable(caddys) { // that of an answer which lb_retry_match found
		return http.StatusBadGateway
	}
	if r.Status != 0 && (caddys == 0 || caddys >= 500) {
		return r.Status
	}
	return caddys
}

// nobodyChosen says that the error was returned because the last thing that
// happened was that nobody could be chosen.
func nobodyChosen(h *listen.Heard, last *listen.Attempt) bool {
	return h.Selection.Rounds > 0 && (last == nil || h.Selection.At >= last.Start)
}

// lastAttempt returns the last attempt, or nil.
func lastAttempt(h *listen.Heard) *listen.Attempt {
	if len(h.Attempts) == 0 {
		return nil
	}
	return &h.Attempts[len(h.Attempts)-1]
}

// lastFailed returns the last attempt of one handler that failed, or nil. A silent
// retry of Go's transport counts only if nothing else does.
func lastFailed(h *listen.Heard, handler *failure.Limits) *listen.Attempt {
	for i := len(h.Attempts) - 1; i >= 0; i-- {
		a := &h.Attempts[i]
		if a.Limits == handler && (failed(h, a) || repeated(h, a)) {
			return a
		}
	}
	return nil
}

// failed says that an attempt failed. Where only the request's trace heard it, its
// error is not known, but that no connection or no byte came of it is.
func failed(h *listen.Heard, a *listen.Attempt) bool {
	if a.Err != nil || a.Silent {
		return true
	}
	if a.Exact || a.Sent == 0 || a.Status != 0 {
		return false
	}
	if a == lastAttempt(h) {
		return h.Err != nil
	}
	if a.Connection != nil {
		return a.FirstByte == 0
	}
	return a.Dialing != nil && !dialled(a)
}

// worked says that an attempt is known to have brought an answer. A 499 that an ear
// heard is the upstream's own; Caddy writes one for a client that left.
func worked(a *listen.Attempt) bool {
	return a.Err == nil && !a.Silent && (a.Exact || a.Status != 0 && a.Status != listen.StatusClientClosedRequest)
}

// returned is the error below the one that gives it a status.
func returned(err error) error {
	if below := errors.Unwrap(err); below != nil {
		return below
	}
	return err
}

// canceled says that err comes from a context that was ended.
func canceled(err error) bool {
	return errors.Is(err, context.Canceled)
}

// innermost is the text of the error that all the others wrap.
func innermost(err error) string {
	if err == nil {
		return ""
	}
	return root(err).Error()
}

// root is the innermost of an error's wrapped ones.
func root(err error) error {
	for {
		below := errors.Unwrap(err)
		if below == nil {
			return err
		}
		err = below
	}
}

// hasText says that the innermost error's text begins with one of Caddy's own.
func hasText(err error, text string) bool {
	return strings.HasPrefix(innermost(err), text)
}

// elapsed is the time from one moment to another, 0 if they are in no order.
func elapsed(from, to time.Duration) time.Duration { return max(0, to-from) }

var Unknown = &Row{
	Name: "unknown", Category: failure.CategoryUnknown,
	Summary:      "A request to {upstream} failed for a reason that has no name yet.",
	Advice:       "Read the error and the evidence; please report them, so that the cause gets a name.",
	Meaning:      "The request failed, and nothing that was heard proves one of the other causes. No name is better than a wrong one.",
	RecognisedBy: "No rule applies. The raw error and the phase are kept.",
	Witnesses:    []Witness{},
	UsualReasons: []string{
		"an error that a new version of Go or Caddy words differently",
		"a reverse_proxy inside another plugin, of which only a part can be heard",
		"EADDRNOTAVAIL without a proof that the local ports are used up",
		"a link-local address (fe80::) that does not name its interface: the advice says so (side proxy)",
		"over HTTP/2, headers that are far too large: they end as broken frames do",
		"over HTTP/2, a connection that was closed before its first request was sent",
	},
	Fix: Fix{
		Caddy:       "Read the error and the evidence; debug in the global options makes Caddy log each attempt.",
		Caddyfile:   "{\n\tdebug\n}",
		Docker:      "Look at docker compose logs of both containers at this time.",
		Application: "Look at its log at this time.",
	},
	Rivals: []Rival{},
}
