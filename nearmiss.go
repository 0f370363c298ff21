package diagnostics

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// warningMessage is that of the line with which a warning begins.
const warningMessage = "upstream warning"

// hearNear hears what nearly went wrong at an upstream of this config.
func (a *App) hearNear(seen failure.Warning) { a.process.raise(a.logger, seen) }

// raise counts a near miss, and tells of one that is new.
func (p *process) raise(logger *zap.Logger, seen failure.Warning) {
	if begun := p.warnings.Raise(seen); begun != nil {
		p.tellWarning(logger, begun, seen.LastSeen.Time)
	}
}

// tellWarning tells of a warning that has begun.
func (p *process) tellWarning(logger *zap.Logger, begun *failure.Warning, now time.Time) {
	cause.TellWarning(begun, now)
	fields := []zap.Field{
		zap.String("kind", string(begun.Kind)), zap.String("upstream", begun.Upstream), zap.String("summary", begun.Summary),
		zap.String("advice", begun.Advice), zap.Strings("evidence", begun.Evidence),
	}
	p.logLine(logger, journal.Fingerprint{Upstream: begun.Upstream, Cause: warningMessage}, &ownLine{zapcore.WarnLevel, warningMessage, fields}, now)
	p.emit(eventWarning, begun)
}

// noticeRescued counts a request that only a retry saved, for each upstream that failed it.
func (h *Handler) noticeRescued(f *failure.Failure) {
	if f.Outcome != failure.Rescued {
		return
	}
	counted := make([]string, 0, 2)
	for i := range f.Attempts {
		a := &f.Attempts[i]
		if a.Upstream == "" || !f.Blames(a) || slices.Contains(counted, a.Upstream) {
			continue
		}
		counted = append(counted, a.Upstream)
		h.process.raise(h.logger, failure.Warning{
			Kind: failure.WarnRescued, Upstream: a.Upstream, LastSeen: f.Time,
			LastFailure: strings.Clone(f.ID), LastCause: strings.Clone(a.Cause),
		})
	}
}

// usagePercent is from how much on what this process has is near its limit.
const usagePercent = 80

// machine is what is asked of this machine, and replaced in tests.
type machine struct {
	files func() (host.Usage, bool)
	ports func() (u host.Usage, to string, known bool)
}

var thisMachine = machine{host.Files, func() (host.Usage, string, bool) {
	u, to, known := host.LocalPorts(usagePercent)
	return u, to.String(), known
}}

// sweepWarnings looks at what no request tells of, and forgets the warnings that are over.
func (p *process) sweepWarnings(logger *zap.Logger, now time.Time, m machine) {
	states := upstreams.States(p.boards()...)
	for i := range states {
		states[i].Check.Ask() // the board has the result of one that fails
	}
	for _, begun := range p.warnings.Measure(append(p.neverAnswered(states, now), m.warnings(now)...)) {
		p.tellWarning(logger, &begun, now)
	}
	ends := certificateEnds(states)
	p.warnings.Sweep(now, p.names, func(upstream string) time.Time { return ends[upstream] })
}

// neverAnswered are warnings of the upstreams that were asked, by a request or by their
// active check, and have not answered since the config was loaded. Of what a placeholder
// leads to nobody knows; a dynamic source gives others from time to time, so that of it
// only that it has given none at all is a warning.
func (p *process) neverAnswered(states []upstreams.State, now time.Time) (list []failure.Warning) {
	answered := make(map[string]bool)
	for i := range states {
		s := &states[i]
		answered[s.Upstream] = answered[s.Upstream] || s.LastAnswer != nil && !s.LastAnswer.Before(s.Loaded) ||
			s.Dynamic && !s.NeverGave || s.Unheard || strings.Contains(s.Upstream, "{")
	}
	for i := range states {
		s := &states[i]
		last := p.journal.Last(s.Upstream)
		failed := last != nil && !last.Time.Before(s.Loaded) && last.Blame(s.Upstream) != ""
		check := s.Check.Result() // one that gets an answer may fail all the same
		if answered[s.Upstream] || !failed && (check == nil || check.Status != 0) {
			continue
		}
		answered[s.Upstream] = true // it is told of once, in however many ways it is reached
		w := failure.Warning{Kind: failure.WarnNeverAnswered, Upstream: s.Upstream, LastSeen: failure.At(now)}
		if failed {
			w.LastFailure, w.LastCause = strings.Clone(last.ID), strings.Clone(last.Blame(s.Upstream))
		}
		list = append(list, w)
	}
	return list
}

// warnings are those of the process itself.
func (m machine) warnings(now time.Time) (list []failure.Warning) {
	add := func(kind failure.WarningKind, u host.Usage, name, unit, address string) {
		list = append(list, failure.Warning{
			Kind: kind, Address: address, LastSeen: failure.At(now),
			Measured: &failure.Measured{Name: name, Value: float64(u.Used), Limit: float64(u.Limit), Unit: unit},
		})
	}
	if u, known := m.files(); known && u.NearOf(usagePercent) {
		add(failure.WarnOpenFiles, u, "ulimit -n", "files", "")
	}
	if u, to, known := m.ports(); known && u.NearOf(usagePercent) {
		add(failure.WarnLocalPorts, u, "net.ipv4.ip_local_port_range", "ports", to)
	}
	return list
}

// certificateEnds gives when the certificate ends that each upstream of the running configs
// showed last, those that showed none left out.
func (p *process) certificateEnds() iter.Seq2[string, time.Time] {
	return maps.All(certificateEnds(upstreams.States(p.boards()...)))
}

// certificateEnds are those by upstream, of several the one that ends first.
func certificateEnds(states []upstreams.State) map[string]time.Time {
	ends := make(map[string]time.Time)
	for i := range states {
		at := states[i].CertificateNotAfter
		if at == nil {
			continue
		}
		if known, ok := ends[states[i].Upstream]; !ok || at.Before(known) {
			ends[states[i].Upstream] = at.Time
		}
	}
	return ends
}
