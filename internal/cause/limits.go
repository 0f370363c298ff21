package cause

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// otherLimits names the limits that can end an attempt in the phase of f, besides the one
// that ran out, if one did.
func otherLimits(a *listen.Attempt, f finding) []string {
	if a.Limits == nil {
		return nil
	}
	phase := f.phase
	if phase == "" {
		phase = f.row.Phase
	}
	ranOut := f.limit
	var words []string
	for _, name := range limitsIn[phase] {
		limit := limitFor(name, a.Limits, a)
		if limit != nil && limit.ValueMS != nil && (ranOut == nil || ranOut.Name != limit.Name) {
			words = append(words, limitWords(limit))
		}
	}
	switch {
	case len(words) == 0:
		return nil
	case ranOut == nil:
		return []string{"limits in force: " + strings.Join(words, ", ")}
	}
	return []string{"other limits in force: " + strings.Join(words, ", ")}
}

// limitsIn are the limits that can end an attempt in each phase. Those of reading and
// writing are the connection's, whatever is spoken over it.
var limitsIn = map[failure.Phase][]string{
	failure.PhaseDNS:     {failure.DialTimeout},
	failure.PhaseConnect: {failure.DialTimeout},
	failure.PhaseTLS:     {failure.TLSTimeout, failure.ReadTimeout, failure.WriteTimeout},
	failure.PhaseSend:    {failure.WriteTimeout},
	failure.PhaseWait:    {failure.ResponseHeaderTimeout, failure.ReadTimeout},
	failure.PhaseHeaders: {failure.ResponseHeaderTimeout, failure.ReadTimeout},
	failure.PhaseBody:    {failure.ReadTimeout},
}

// nextTimeout lets the advice to raise the limit that ran out name the other one as well
// which would end the same wait not much later.
func (f finding) nextTimeout(t *try) finding {
	if f.limit == nil || f.limit.ValueMS == nil || f.advice != "" {
		return f
	}
	next := ""
	switch f.row {
	case ResponseTimeout:
		next = failure.ReadTimeout
	case ReadTimeout:
		next = failure.ResponseHeaderTimeout
	default:
		return f
	}
	other := limitFor(next, t.Limits, t.Attempt)
	if other == nil || other.ValueMS == nil || *other.ValueMS > 2**f.limit.ValueMS {
		return f
	}
	return f.advise(fmt.Sprintf("Look at the application's log at this time for what it waited for; if it may take that long, raise %s and %s in the transport: %s would end it next.", f.limit.Name, next, limitWords(other)))
}

// headersLimit names the limit that an answer's headers exceeded. HTTP/3's transport has
// its own.
func (f finding) headersLimit(t *try) finding {
	if f.row != ResponseHeadersTooLarge || t.Limits == nil || t.Limits.Transport != "http" || t.protocol == protocolHTTP3 {
		return f
	}
	limit := &failure.Limit{Name: "max_response_header", Source: failure.LimitDefault}
	says := "max_response_header is not set: the transport takes some 10 MB"
	if most := t.Limits.MaxResponseHeader; most > 0 {
		limit.Source, limit.ValueBytes = failure.LimitConfigured, most
		set := "max_response_header " + strconv.FormatInt(most, 10)
		says = "max_response_header is " + strconv.FormatInt(most, 10) + " bytes: how much larger the headers are is not known"
		// It is this config that refuses them: without the line, some 10 MB would pass.
		f.side = failure.SideProxy
		f.summary = "The headers of the answer of {upstream} are larger than " + set + " allows, which this config sets."
		f = f.advise("Measure the headers of this answer (curl -o /dev/null -D -): if they are meant so, raise " + set + " in the transport, or leave it out (then some 10 MB are allowed); if not, find the field that grows, mostly Set-Cookie.").
			leavesOpen(f.row.Undecided)
	}
	f.evidence = append(f.evidence, says)
	return f.within(limit)
}
