package diagnostics

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// boards are those of the running configs: during a reload there are two, and what both
// lead to is shown once.
func (p *process) boards() (boards []*upstreams.Board) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.running {
		if a.board != nil {
			boards = append(boards, a.board)
		}
	}
	return boards
}

// boardNow is how the upstreams of the running configs are, with what is remembered of
// each.
func (p *process) boardNow(now time.Time) failure.Board {
	board := failure.Board{Upstreams: []failure.UpstreamState{}, Warnings: []failure.Warning{}}
	incidents, last := p.openIncidents(now), p.journal.LastBlamed()
	warnings := make(map[string][]failure.Warning)
	for _, w := range p.warnings.List() {
		cause.TellWarning(&w, now)
		warnings[w.Upstream] = append(warnings[w.Upstream], w)
	}
	_, board.WarningsDropped = p.warnings.Kept()
	board.Warnings = append(board.Warnings, warnings[""]...)
	for _, state := range upstreams.States(p.boards()...) {
		s := state.UpstreamState
		s.Check = cause.CheckWords(state.Settings, s.Upstream, state.Check)
		s.LastFailure = lastFailureAt(last, s.Upstream)
		s.Warnings = append(s.Warnings, warnings[s.Upstream]...)
		for _, i := range incidents[s.Upstream] {
			s.OpenIncidents = append(s.OpenIncidents, i.ID)
			if s.FailingSince == nil || i.FirstSeen.Before(s.FailingSince.Time) {
				s.FailingSince = &i.FirstSeen
			}
		}
		if s.Lookup != nil {
			for n := range s.Lookup.Addresses {
				a := &s.Lookup.Addresses[n]
				a.LastFailure = lastFailureAt(last, a.Address)
			}
		}
		board.Upstreams = append(board.Upstreams, s)
	}
	slices.SortStableFunc(board.Upstreams, func(a, b failure.UpstreamState) int { return cmp.Compare(urgency(&a), urgency(&b)) })
	return board
}

// urgency is low for what comes first.
func urgency(s *failure.UpstreamState) int {
	switch {
	case s.Reason != "":
		return 0
	case len(s.OpenIncidents) > 0:
		return 1
	default:
		return 2
	}
}

// Label is the handler's own, "" for none: the board names sites as records do.
func (h *Handler) Label() string { return h.Site }

// openIncidents are those that are open, by upstream.
func (p *process) openIncidents(now time.Time) map[string][]failure.Incident {
	open := make(map[string][]failure.Incident)
	for _, i := range p.incidents.List(now) {
		if i.State == failure.IncidentOpen && i.Upstream != "" {
			open[i.Upstream] = append(open[i.Upstream], i)
		}
	}
	return open
}

// lastFailureAt is the last failure that an upstream, or an address, is to be blamed for; nil
// for none.
func lastFailureAt(last map[string]*failure.Failure, name string) *failure.LastFailure {
	f := last[name]
	if f == nil {
		return nil
	}
	return &failure.LastFailure{ID: f.ID, Time: f.Time, Cause: f.Blame(name)}
}
