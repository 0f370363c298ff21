package diagnostics

import (
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// noticeIncidents counts a failure for the incidents that its request met, for each once:
// those of its failed attempts, and its own where no attempt made it.
func (h *Handler) noticeIncidents(r *http.Request, fields http.Header, heard *listen.Heard, f *failure.Failure) {
	h.sampleRescue(r, fields, heard, f)
	at := heard.Start.Add(heard.Duration)
	own := failure.Incident{
		ID: f.Incident, Site: f.Site, Upstream: f.Upstream, Cause: f.Cause,
		ProxyError: f.ProxyError, Phase: f.Phase, Side: f.Side, Summary: f.Summary, Advice: f.Advice,
	}
	met := own.ID == ""
	for n := range f.Attempts {
		a := &f.Attempts[n]
		if a.Incident == "" || metBefore(f, n) {
			continue
		}
		of := own
		if met = met || a.Incident == own.ID; a.Incident != own.ID {
			row := cause.ByName(a.Cause) // there is one: see describe
			of = failure.Incident{ID: a.Incident, Site: f.Site, Upstream: a.Upstream, Cause: a.Cause, ProxyError: row.ProxyError, Phase: row.Phase, Side: row.Side}
			of.Summary, of.Advice = row.Said(a.Upstream, a.Address)
		}
		h.seeIncident(of, f, at, answering(heard.Attempts[n].Past), h.circumstancesOf(r, heard, f, n))
	}
	if met {
		return
	}
	h.seeIncident(own, f, at, nil, journal.Circumstances{Start: heard.Start})
	for _, candidate := range heard.Selection.Pool {
		if by := answering(candidate.Past); by != nil {
			h.process.incidents.Remember(f.Incident, by)
		}
	}
}

// metBefore says that an attempt before belongs to the same incident.
func metBefore(f *failure.Failure, n int) bool {
	for k := range n {
		if f.Attempts[k].Incident == f.Attempts[n].Incident {
			return true
		}
	}
	return false
}

// answering is nil where nobody knows of the upstream's answers.
func answering(past *listen.Past) journal.Answering {
	if past == nil {
		return nil
	}
	return past
}

func (h *Handler) seeIncident(of failure.Incident, f *failure.Failure, at time.Time, by journal.Answering, in journal.Circumstances) {
	opened := h.process.incidents.See(journal.Sighting{
		Of: of, Outcome: f.Outcome, Failure: f.ID, At: at, By: by, Configured: h.process.names(of.Upstream), Circumstances: in,
	})
	if opened != nil {
		h.logLine(journal.Fingerprint{Site: of.Site, Upstream: of.Upstream, Cause: incidentMessage}, &ownLine{zapcore.WarnLevel, incidentMessage, incidentFields(opened)}, at)
		h.process.emit(eventIncidentOpened, opened)
	}
}

// incidentMessage is that of the lines with which an incident opens and is resolved.
const incidentMessage = "upstream incident"

func incidentFields(i *failure.Incident) []zap.Field {
	fields := []zap.Field{
		zap.String("incident", i.ID), zap.String("state", string(i.State)), zap.String("site", i.Site), zap.String("upstream", i.Upstream),
		zap.String("cause", i.Cause), zap.String("summary", i.Summary), zap.String("advice", i.Advice), zap.Uint64("count", i.Count),
		zap.Stringer("first_seen", i.FirstSeen), zap.Stringer("last_seen", i.LastSeen), zap.Int("reopened_count", i.ReopenedCount),
	}
	if i.ResolvedAt != nil {
		fields = append(fields, zap.Float64("duration_s", i.DurationS), zap.String("resolved_by", string(i.ResolvedBy)))
	}
	if len(i.Changes) > 0 {
		changes := make([]string, 0, len(i.Changes))
		for n := range i.Changes {
			changes = append(changes, i.Changes[n].Summary)
		}
		fields = append(fields, zap.Strings("changes", changes))
	}
	return fields
}

// names says whether a running config names an upstream.
func (p *process) names(upstream string) bool {
	return p.configOf(upstream) != nil
}

// configOf is what is known of the running configs that name an upstream; nil where none
// does.
func (p *process) configOf(upstream string) *journal.Config {
	configured := p.configured.Load()
	if configured == nil {
		return nil
	}
	return (*configured)[upstream]
}

// asked are those that the running configs ask, by the upstream's name.
func (p *process) asked() map[string][]journal.Answering {
	asked := make(map[string][]journal.Answering)
	for _, board := range p.boards() {
		for upstream, past := range board.Pasts() {
			asked[upstream] = append(asked[upstream], past)
		}
	}
	return asked
}

// resolveIncidents resolves what is over, and tells of each in one line.
func (p *process) resolveIncidents(logger *zap.Logger, now time.Time) {
	asked := p.asked()
	configured := func(upstream string) (bool, []journal.Answering) { return p.names(upstream), asked[upstream] }
	for _, i := range p.incidents.Sweep(now, p.journal.KeepFor(), configured) {
		logger.Info(incidentMessage, incidentFields(&i.Incident)...)
		p.emit(eventIncidentResolved, i.Incident)
		p.metrics.durations.WithLabelValues(i.Cause).Observe(i.Lasted.Seconds())
	}
}
