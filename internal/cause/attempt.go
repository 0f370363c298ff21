package cause

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// try is an attempt that is diagnosed.
type try struct {
	*listen.Attempt
	// err is the exact error; where no ear heard it, the one that came up.
	err error
	// end is when it was over (see endOf).
	end time.Duration
	// clock is when the request came.
	clock time.Time
	// protocol is the attempt's, or that of another at the same upstream: only an
	// answer tells it.
	protocol string
	// source are the name servers of the dynamic source that gave the upstream; none
	// where it asks the system's, or where there is none.
	source []string
	// dynamic says that a dynamic source gave the upstream.
	dynamic bool
	// bodyless says that it repeats a request whose body was used up (see lostBody);
	// usedElsewhere by whom, where it was another reverse_proxy.
	bodyless      bool
	usedElsewhere string
	// again is the status with which the same address answered the request well when it was
	// asked again; 0 where it did not.
	again int
	// client is what was heard on the client's side.
	client *listen.Client
	// patience is Heard's.
	patience time.Duration
}

// endOf is when an attempt was over, or the request if it wasn't.
func endOf(h *listen.Heard, a *listen.Attempt) time.Duration {
	if a.End == 0 {
		return max(h.Duration, a.Start)
	}
	return a.End
}

func tryOf(h *listen.Heard, a *listen.Attempt) *try {
	t := &try{Attempt: a, err: a.Err, end: endOf(h, a), clock: h.Start, protocol: a.Protocol, client: &h.Client, patience: h.Patience}
	if h.Selection.Limits == a.Limits {
		t.source, t.dynamic = h.Selection.Resolvers, h.Selection.Source != ""
	}
	switch {
	case errors.Is(t.err, listen.ErrNotHeard):
		t.err = nil
	case t.err != nil && !a.Exact && h.Err != nil && a == lastAttempt(h):
		t.err = returned(h.Err) // what came up stands in for what was not heard
	}
	t.bodyless, t.usedElsewhere = lostBody(h, a), usedElsewhere(h, a)
	if !t.bodyless && usedBefore(a) {
		t.bodyless, t.usedElsewhere = true, "its body had been read or closed before this attempt, by another reverse_proxy or a handler in front of this one"
	}
	t.again = answeredAgain(h, a)
	for i := range h.Attempts {
		if t.protocol != "" {
			break
		}
		if other := &h.Attempts[i]; other.Limits == a.Limits && other.Upstream == a.Upstream {
			t.protocol = other.Protocol
		}
	}
	return t
}

// answeredAgain is the status with which another attempt after this one was answered by the
// same address, where the request was not refused; 0 for none.
func answeredAgain(h *listen.Heard, a *listen.Attempt) int {
	if a.Connection == nil || a.Connection.RemoteAddress == "" || a.ForwardProxy != "" || !a.CarriesRequest() {
		return 0
	}
	for i := range h.Attempts {
		other := &h.Attempts[i]
		if other.Start > a.Start && other.Upstream == a.Upstream && other.Connection != nil && other.Connection.RemoteAddress == a.Connection.RemoteAddress &&
			other.CarriesRequest() && other.Answered > 0 && other.Status < http.StatusBadRequest {
			return other.Status
		}
	}
	return 0
}

// rules are asked in this order: an attempt that didn't get to a phase has nothing
// to say there, so the first that knows its own error is right.
var rules = []func(*try) finding{
	forwardProxyCause,
	dnsCause,
	http3Cause,
	connectCause,
	tlsCause,
	ownTLSRule,
	portCause,
	bodylessCause,
	notSendableCause,
	http2Cause,
	fastCGICause,
	arrivedCause,
	beyondCause,
	sendCause,
	waitCause,
	headersCause,
}

// attemptCause finds the cause of an attempt that failed before it had an answer.
func attemptCause(t *try) finding {
	if canceled(t.err) {
		return found(Unknown).at(reached(t.Attempt))
	}
	if f := impatient(t); f.is() {
		return f.withPast(t)
	}
	for _, rule := range rules {
		if f := rule(t); f.is() {
			return misdirectedCause(t.Attempt, f.headersLimit(t).nextTimeout(t).withPast(t))
		}
	}
	return misdirectedCause(t.Attempt, found(Unknown).at(reached(t.Attempt)))
}

// reached is the phase in which an attempt is, or was when it ended.
func reached(a *listen.Attempt) failure.Phase {
	switch {
	case a.Sent == 0:
		return failure.PhaseSelect
	case !connected(a):
		return reachedDialling(a)
	case a.Answered > 0 || a.Status != 0 && a.Status != listen.StatusClientClosedRequest:
		return failure.PhaseBody
	case a.FirstByte > 0:
		return failure.PhaseHeaders
	case a.Connection == nil: // FastCGI tells nothing of what it sends
		return failure.PhaseWait
	case a.Wrote == 0 || a.WriteErr != nil:
		return failure.PhaseSend
	}
	return failure.PhaseWait
}

func reachedDialling(a *listen.Attempt) failure.Phase {
	d := a.Dialing
	switch {
	case d == nil:
		return failure.PhaseConnect
	case connectUnanswered(a):
		return failure.PhaseConnect
	case dialled(a) && a.TLS:
		return failure.PhaseTLS
	case d.Lookup != nil && len(connects(a)) == 0 && (d.Lookup.End == 0 || d.Lookup.Err != nil):
		return failure.PhaseDNS
	}
	return failure.PhaseConnect
}

// connected says that the attempt had a connection to send the request on. FastCGI
// has no hook that says so: there a dial that worked is one.
func connected(a *listen.Attempt) bool {
	return a.Connection != nil || a.Protocol == protocolFastCGI && dialled(a)
}

// dialled says that a network connection came about, TLS aside.
func dialled(a *listen.Attempt) bool {
	d := a.Dialing
	if d == nil {
		return false
	}
	if d.TLSDone > 0 || d.TLSErr != nil || d.End > 0 && d.Err == nil {
		return true
	}
	for _, c := range connects(a) {
		if c.End > 0 && c.Err == nil {
			return true
		}
	}
	return false
}

// connects are the connects to the upstream: those of the resolver, which go to a
// name server during the lookup, are none.
func connects(a *listen.Attempt) []listen.Connect {
	d := a.Dialing
	if d == nil {
		return nil
	}
	resolvers := func(c listen.Connect) bool {
		l := d.Lookup
		return isUDP(c.Network) && a.Protocol != protocolHTTP3 ||
			l != nil && c.Start >= l.Start && (l.End == 0 || c.Start < l.End)
	}
	if !slices.ContainsFunc(d.Connects, resolvers) {
		return d.Connects
	}
	return slices.DeleteFunc(slices.Clone(d.Connects), resolvers)
}

func isUDP(network string) bool { return strings.HasPrefix(network, "udp") }

// Protocols, as listen.Attempt names them.
const (
	protocolHTTP1   = "http/1.1"
	protocolH2      = "h2"
	protocolH2C     = "h2c"
	protocolHTTP3   = "h3"
	protocolFastCGI = listen.ProtocolFastCGI
)

// written says that the request was written whole. FastCGI tells nothing of that.
func written(a *listen.Attempt) bool { return a.Wrote > 0 && a.WriteErr == nil }

// nothingSent says that no byte of the request left, as far as the connection was
// listened to.
func nothingSent(a *listen.Attempt) bool {
	return a.Connection != nil && a.Connection.Carried != nil && a.Connection.Carried.Sent == 0
}

// hasEffect says whether a limit, where it is set, can end an attempt; a may be nil.
// Caddy's transport has read_timeout and write_timeout for TCP alone, and HTTP/3 has
// timers of its own instead of all the transport's (reverseproxy/httptransport.go).
func hasEffect(name string, limits *failure.Limits, a *listen.Attempt) bool {
	switch {
	case a == nil || limits == nil || limits.Transport != "http" || name == failure.TryDuration:
		return true
	case a.Protocol == protocolHTTP3:
		return false
	}
	return name != failure.ReadTimeout && name != failure.WriteTimeout || !strings.HasPrefix(a.Network, "unix")
}

// limitFor returns a limit as a record has it, nil where it isn't known or has no
// effect; a may be nil.
func limitFor(name string, limits *failure.Limits, a *listen.Attempt) *failure.Limit {
	if !hasEffect(name, limits, a) {
		return nil
	}
	return limits.Limit(name)
}

// ran names the limit that ran out between two moments: nil where it isn't known,
// isn't set, or is longer than that. A tenth is granted for clocks and timers.
func (t *try) ran(name string, from, to time.Duration) *failure.Limit {
	setting, ok := t.Limits.Setting(name)
	if !ok || setting.Source == failure.LimitAbsent || elapsed(from, to) < setting.Value-setting.Value/10 {
		return nil
	}
	return limitFor(name, t.Limits, t.Attempt)
}

// absent says that a limit is known not to be set, or to have no effect.
func (t *try) absent(name string) bool {
	setting, ok := t.Limits.Setting(name)
	return ok && (setting.Source == failure.LimitAbsent || !hasEffect(name, t.Limits, t.Attempt))
}

// text is the text of the error that all the others wrap.
func (t *try) text() string { return innermost(t.err) }

// errorText is the text of the attempt's error as a whole, "" for none.
func (t *try) errorText() string {
	if t.err == nil {
		return ""
	}
	return t.err.Error()
}

// is says that the attempt's error is one of these.
func (t *try) is(targets ...error) bool {
	for _, target := range targets {
		if errors.Is(t.err, target) {
			return true
		}
	}
	return false
}
