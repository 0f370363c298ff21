package cause

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// impatient finds where the time ran out that a probe waits, and no limit of the
// transport's.
func impatient(t *try) finding {
	if t.patience == 0 || t.end < t.patience-t.patience/10 || !isTimeout(t.err) && !errors.Is(t.err, context.DeadlineExceeded) {
		return nothing
	}
	var f finding
	switch phase := reached(t.Attempt); {
	case phase == failure.PhaseDNS:
		f = found(DNSTimeout)
	case phase == failure.PhaseTLS && t.protocol != protocolHTTP3: // whose handshake is its connect
		f = unfinished(t)
		f.advice = orText(f.advice, "Check that {upstream} speaks TLS on this port and is not overloaded.")
	case phase == failure.PhaseSend:
		f = found(RequestWriteTimeout).advise("Look at the log and the state of {upstream} for why it does not read (where it runs, ss -tn shows what waits for it as Recv-Q).")
	case phase == failure.PhaseWait:
		f = neverSpoke(t, found(ResponseTimeout).advise(adviceNobodyLimits))
	case phase == failure.PhaseHeaders:
		f = headerUnfinished(t, found(ResponseTimeout).advise(adviceNobodyLimits))
	case t.Dialing == nil && t.Limits != nil && t.Limits.Transport == "": // another plugin's, of which nothing is heard
		return nothing
	default:
		f = found(ConnectTimeout).advise("Check the address, the firewall between here and there, and whether the application there still takes connections.")
	}
	f.summary = strings.ReplaceAll(orText(f.summary, f.row.Summary), "{limit}", "the "+ms(t.patience)+" that a probe waits")
	f.evidence = append(f.evidence, "no limit of the transport ended it")
	return f
}

const adviceNobodyLimits = "Look at the application's log at this time for what it waited for: no limit of the transport ended it, so that a visitor would have waited for longer."

// Steps are how far an upstream was asked, each with what came of it.
func Steps(h *listen.Heard, told listen.Told) []failure.ProbeStep {
	steps := []failure.ProbeStep{}
	last := lastAttempt(h)
	if last == nil {
		return steps
	}
	t := tryOf(h, last)
	if t.err == nil && h.Err != nil {
		t.err = returned(h.Err)
	}
	between := func(step failure.ProbeStep, from, to time.Duration) failure.ProbeStep {
		step.StartMS, step.DurationMS = failure.MS(from), failure.MS(elapsed(from, orElse(to, t.end)))
		return step
	}
	failed := func(step failure.ProbeStep, err error) failure.ProbeStep {
		step.OK = false
		if err != nil {
			step.Error, step.Errno = errorWords(err), errnoName(errnoOf(err))
		}
		return step
	}
	d := last.Dialing
	if d != nil && d.Lookup != nil {
		step := between(failure.ProbeStep{Step: failure.ProbeDNS, OK: d.Lookup.End > 0 && d.Lookup.Err == nil, Name: d.Lookup.Host, Addresses: told.Addresses}, d.Lookup.Start, d.Lookup.End)
		if !step.OK {
			step = failed(step, firstError(d.Lookup.Err, t.err))
			if d.Lookup.Err != nil {
				step.Error = lookupWords(d.Lookup.Err)
			}
		}
		steps = append(steps, step)
	}
	shaken := t.protocol == protocolHTTP3 && layer(firstError(tlsErr(last), t.err), textQUICCrypto) != ""
	for _, c := range connects(last) {
		if shaken && c.Err != nil {
			continue // that is the handshake's: UDP has no connect
		}
		step := between(failure.ProbeStep{Step: failure.ProbeConnect, OK: c.End > 0 && c.Err == nil, Address: c.Address}, c.Start, c.End)
		switch {
		case step.OK:
		case c.Err == nil:
			step.Error = "no answer"
		default:
			step = failed(step, c.Err)
		}
		steps = append(steps, step)
	}
	if last.Connection == nil && !dialled(last) {
		if len(steps) == 0 { // it didn't even come to a connect
			steps = append(steps, failed(between(failure.ProbeStep{Step: failure.ProbeConnect, Address: last.Address}, last.Sent, 0), t.err))
		}
		return steps
	}
	if stoppedAtProxy(t) { // the connect that it was asked for
		step := failure.ProbeStep{Step: failure.ProbeConnect, Address: last.Address}
		return append(steps, failed(between(step, handshakeStart(t), 0), t.err))
	}
	if last.TLS && (last.Connection == nil || !last.Connection.Reused) {
		step := failure.ProbeStep{Step: failure.ProbeTLS, OK: last.Connection != nil, TLS: told.Handshake}
		to := time.Duration(0)
		if d != nil {
			to = d.TLSDone
		}
		if to == 0 && last.Connection != nil {
			to = last.Connection.At
		}
		step = between(step, handshakeStart(t), to)
		if !step.OK {
			steps = append(steps, failed(step, firstError(tlsErr(last), t.err)))
			return steps
		}
		steps = append(steps, step)
	}
	step := failure.ProbeStep{Step: failure.ProbeHTTP, OK: last.HasAnswer(), Protocol: t.protocol, Status: last.Status}
	step = between(step, max(sendStart(t), last.Sent), last.Answered)
	if step.OK {
		step.Server, step.Via = cut(withoutSecrets(told.Server), maxField), cut(withoutSecrets(told.Via), maxField)
	}
	switch {
	case unpassable(last):
		step.OK, step.Error = false, "the status "+fmt.Sprintf("%03d", last.Status)+" is none of HTTP's"
	case last.Status == http.StatusSwitchingProtocols:
		step.OK, step.Error = false, "the status 101 was not asked for"
	case !step.OK:
		step = failed(step, t.err)
		step.Error = errorText(h, last, t.err)
	case last.Body.Err != nil && h.Panicked:
		step = failed(step, last.Body.Err)
	}
	return append(steps, step)
}

// TellSpoken says what came of speaking a protocol to an upstream.
func TellSpoken(s *listen.Spoken) failure.ProbeCheck {
	c := failure.ProbeCheck{Check: s.What, Speaks: s.Speaks, DurationMS: failure.MS(s.Took), TLS: s.Handshake}
	if s.What != failure.CheckTLS && c.TLS != nil { // it is that of the request
		c.TLS = nil
	}
	spoken := spokenNames[s.What]
	begins := ""
	if len(s.Head) > 0 {
		begins = ", but answers what begins with " + said(string(s.Head))
	}
	timedOut := errors.Is(s.Err, context.DeadlineExceeded)
	switch {
	case s.Speaks != nil && *s.Speaks:
		c.Summary = "It speaks " + spoken
		switch {
		case s.What == failure.CheckTLS && s.Handshake != nil:
			c.Summary = "It speaks " + s.Handshake.Version
			if s.Handshake.ALPN != "" {
				c.Summary += " and agrees on " + s.Handshake.ALPN
			}
		case s.What == failure.CheckTLS && s.Err != nil:
			c.Summary += ", and refuses the handshake: " + errorWords(s.Err)
		case s.Status > 0:
			c.Summary += ", and answers " + strconv.Itoa(s.Status)
		}
	case s.What == failure.CheckPlain && s.Status > 0:
		c.Summary = "It answers " + spoken + " with " + strconv.Itoa(s.Status) + ", as a TLS port does"
	case s.Speaks != nil && s.Status > 0:
		c.Summary = "It does not speak " + spoken + ", but answers " + strconv.Itoa(s.Status) + " in HTTP/1"
	case s.Speaks != nil && begins == "" && s.Handshake != nil && s.Err == nil:
		c.Summary = "It does not speak " + spoken + ": TLS does not agree on it"
	case s.Speaks != nil && begins == "" && s.Err != nil:
		c.Summary = "It does not speak " + spoken + ": it ended the connection (" + errorWords(s.Err) + ")"
	case s.Speaks != nil:
		c.Summary = "It does not speak " + spoken + begins
	case timedOut:
		c.Summary = fmt.Sprintf("Whether it speaks %s can't be told: nothing came within %s", spoken, ms(s.Patience))
	case s.Err != nil:
		c.Summary = "Whether it speaks " + spoken + " can't be told: " + errorWords(s.Err)
	default:
		c.Summary = "Whether it speaks " + spoken + " can't be told"
	}
	c.Summary += "."
	return c
}

// spokenNames are protocols as people know them.
var spokenNames = map[failure.ProbeCheckName]string{
	failure.CheckTLS: "TLS", failure.CheckPlain: "plain HTTP", failure.CheckHTTP1: "HTTP/1.1", failure.CheckH2: "HTTP/2 (h2)",
	failure.CheckH2C: "HTTP/2 in the clear (h2c)", failure.CheckFastCGI: "FastCGI",
}

// TellProbe says whether what was heard of a probe is well, and what is wrong where it
// isn't: by the same rules as a request's failure, and by what else is spoken there. check
// is what the active health check makes of the answer, nil where it was not asked for. The
// probe has its Request.
func TellProbe(p *failure.Probe, h *listen.Heard, limits *failure.Limits, check *listen.CheckResult, spoken []listen.Spoken) {
	last := lastAttempt(h)
	tellProbe(p, h, limits, check)
	row := otherSpoken(p, last, spoken)
	if row == nil {
		return
	}
	name := nameOf(h, p.Upstream, p.Address)
	p.OK, p.Cause, p.Category, p.ProxyError, p.Phase, p.Side, p.Limit = false, row.Name, row.Category, row.ProxyError, row.Phase, row.Side, nil
	p.Summary, p.Advice = fillIn(row.Summary, name, p.Address, nil), fillIn(row.Advice, name, p.Address, nil)
	var seen []string // of what came of the request, what it took; the rest is guesses
	for _, line := range p.Evidence {
		if strings.HasPrefix(line, "connect ") || strings.HasPrefix(line, "TLS handshake: ") || strings.HasPrefix(line, "the request was written") {
			seen = append(seen, line)
		}
	}
	for i := range spoken {
		if s := &spoken[i]; s.Speaks != nil && *s.Speaks {
			seen = append(seen, "on a connection of its own: "+TellSpoken(s).Summary)
		}
	}
	p.Evidence = seen
}

// otherSpoken is the row that is proven where another protocol is spoken than the transport
// speaks, nil for none. A request that came to nothing doesn't tell that: some ports say
// nothing at all to another.
func otherSpoken(p *failure.Probe, last *listen.Attempt, spoken []listen.Spoken) *Row {
	if last == nil || last.HasAnswer() && last.Status != http.StatusBadRequest {
		return nil
	}
	yes := func(what failure.ProbeCheckName) bool {
		for i := range spoken {
			if s := &spoken[i]; s.What == what && s.Speaks != nil && *s.Speaks {
				return true
			}
		}
		return false
	}
	switch p.Cause {
	case "", ResponseTimeout.Name, ReadTimeout.Name, TLSTimeout.Name, TLSClosed.Name, ClosedBeforeResponse.Name, ResetBeforeResponse.Name, Unknown.Name:
	default:
		return nil
	}
	overHTTP := yes(failure.CheckHTTP1) || yes(failure.CheckH2C)
	switch {
	case last.Protocol == protocolFastCGI:
		if yes(failure.CheckPlain) && !yes(failure.CheckFastCGI) {
			return FastCGIMalformed
		}
	case last.TLS:
		if yes(failure.CheckPlain) && !last.HasAnswer() && !yes(failure.CheckHTTP1) && !yes(failure.CheckH2) {
			return TLSNotSpoken
		}
	case yes(failure.CheckTLS) && !overHTTP:
		return TLSExpected
	case overHTTP && !last.HasAnswer() && (last.Protocol == protocolH2C) == yes(failure.CheckHTTP1) && yes(failure.CheckHTTP1) != yes(failure.CheckH2C):
		return HTTPVersionMismatch
	}
	return nil
}

// tellProbe is TellProbe by the request alone.
func tellProbe(p *failure.Probe, h *listen.Heard, limits *failure.Limits, check *listen.CheckResult) {
	last := lastAttempt(h)
	if last != nil {
		p.Address = cut(addressOf(last), maxAddress)
	}
	p.DurationMS = failure.MS(h.Duration)
	name := nameOf(h, p.Upstream, p.Address)
	if f := Diagnose(h); f != nil {
		p.Cause, p.Category, p.ProxyError, p.Phase, p.Side = f.Cause, f.Category, f.ProxyError, f.Phase, f.Side
		p.Summary, p.Advice, p.Evidence, p.Error, p.Limit, p.Received = f.Summary, f.Advice, f.Evidence, f.Error, f.Limit, f.Received
		return
	}
	if last == nil || !last.HasAnswer() { // nothing that a request's failure could be
		p.Cause, p.Category, p.Phase = Unknown.Name, Unknown.Category, failure.PhaseSelect
		if last != nil {
			p.Phase = reached(last)
		}
		p.Summary, p.Advice = fillIn(Unknown.Summary, name, p.Address, nil), Unknown.Advice
		if h.Err != nil {
			p.Error = cut(errorText(h, last, returned(h.Err)), maxError)
		}
		return
	}
	asked := p.Request.Method + " " + p.Request.URI
	if check != nil && !check.Passed && !(limits.Check.FollowsRedirects && check.Status/100 == 3) {
		p.Side = failure.SideUpstream
		p.Summary = fmt.Sprintf("%s fails its active health check: %s is answered %d", name, asked, last.Status)
		if check.Status == 0 {
			p.Summary += " after " + ms(elapsed(last.Start, last.Answered)) + ", too late"
		}
		p.Summary += "."
		p.Advice = orText(adviceOnResult(limits, check), "Look at the log of "+name+" for why it answers so: it stays out until its check succeeds.")
		p.Evidence = []string{checkAsks(limits, p.Upstream) + ": " + checkGot(check)}
		return
	}
	p.OK = true
	p.Summary = fmt.Sprintf("%s answered %s with %d in %s.", name, asked, last.Status, ms(elapsed(last.Start, last.Answered)))
}
