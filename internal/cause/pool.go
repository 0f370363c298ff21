package cause

import (
	"fmt"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// pool is what became of the upstreams of one reverse_proxy, where not only one of them
// failed.
type pool struct {
	// upstreams are those that were tried, and those that could not be.
	upstreams map[string]bool
	// refused says that none of them accepted a connection.
	refused bool
}

// poolOf is the pool to which the verdict's attempt belongs; ok is false where that
// attempt alone ended the request.
func poolOf(h *listen.Heard, v verdict, f *failure.Failure) (p pool, ok bool) {
	last := v.attempt
	if last == nil || v.outcome != failure.Failed || len(f.Attempts) != len(h.Attempts) || len(h.Attempts)+len(f.Unavailable) < 2 {
		return p, false
	}
	p.upstreams = make(map[string]bool)
	p.refused = v.finding.row == ConnectionRefused
	retriesAnswers := last.Limits != nil && last.Limits.RetriesAnswers
	for i := range h.Attempts {
		a := &h.Attempts[i]
		if a.Limits != last.Limits || a.Sent == 0 && a != last {
			continue
		}
		if a != last && worked(a) && !retriesAnswers {
			return p, false
		}
		p.upstreams[nameInPool(h, a)] = true
		p.refused = p.refused && f.Attempts[i].Cause == ConnectionRefused.Name
	}
	if h.AttemptCount > len(h.Attempts) && (h.Elsewhere.Left || !last.CarriesRequest()) {
		p.refused = false // it isn't known of those that were not kept
	}
	if len(f.Unavailable) > 0 {
		tried := len(p.upstreams)
		for _, c := range h.Selection.Pool {
			p.upstreams[c.Upstream] = true
		}
		p.refused = p.refused && tried == len(p.upstreams)
	}
	return p, len(p.upstreams) > 1
}

// nameInPool is by what an attempt's upstream is told from the others of its pool.
func nameInPool(h *listen.Heard, a *listen.Attempt) string {
	if a.Upstream == "" || a.Upstream == h.Selection.Source {
		return a.Address
	}
	return a.Upstream
}

// summary blames no single upstream for what none of the pool could do; last is what
// there is to say of the last one that was tried.
func (p *pool) summary(last string) string {
	if p.refused {
		return fmt.Sprintf("None of %d upstreams accepted a connection.", len(p.upstreams))
	}
	return fmt.Sprintf("None of %d upstreams could serve the request. The last one tried: %s", len(p.upstreams), last)
}

// namesOne says that a row's summary speaks of one upstream.
func (r *Row) namesOne() bool {
	return strings.Contains(r.Summary, "{upstream}") || strings.Contains(r.Summary, "{address}")
}
