package diagnostics

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// logMessage is the contract's.
const logMessage = "upstream failure"

// log writes the entry of f, unless a storm of its kind is summed up.
func (h *Handler) log(f *failure.Failure) {
	passes, ended := h.process.storm.passes(f, f.Time.Time)
	if ended != nil {
		logSummary(h.logger, ended)
	}
	if !passes {
		h.process.sumUpLater(h.logger)
		return
	}
	if c := h.logger.Check(levelOf(f), logMessage); c != nil {
		c.Write(append(fieldsOf(f), zap.Any("request", f.Request))...)
	}
}

// sumUpLater sums up what was left out where no App does it, which is so with
// `admin off` and no global option: one timer, as long as there are windows.
func (p *process) sumUpLater(logger *zap.Logger) {
	if p.attended() || !p.summing.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(stormWindow, func() {
		p.summing.Store(false)
		if p.sumUp(logger, time.Now()) > 0 {
			p.sumUpLater(logger)
		}
	})
}

// sumUp sums up the windows that are over, and says how many aren't.
func (p *process) sumUp(logger *zap.Logger, now time.Time) (left int) {
	ended, left := p.storm.sweep(now)
	for _, s := range ended {
		logSummary(logger, s)
	}
	return left
}

// logSummary writes the line for failures that got none of their own.
func logSummary(logger *zap.Logger, s *summary) {
	if c := logger.Check(levelOf(s.failure), logMessage); c != nil {
		c.Write(append(fieldsOf(s.failure), zap.Int("count", s.count), zap.Int("suppressed", s.suppressed))...)
	}
}

// levelOf is INFO for what is the client's doing, ERROR for what the client felt.
func levelOf(f *failure.Failure) zapcore.Level {
	switch {
	case f.Side == failure.SideClient, f.Outcome == failure.Abandoned:
		return zapcore.InfoLevel
	case f.Outcome == failure.Failed, f.Outcome == failure.Truncated:
		return zapcore.ErrorLevel
	default:
		return zapcore.WarnLevel
	}
}

func fieldsOf(f *failure.Failure) []zap.Field {
	fields := make([]zap.Field, 0, 20)
	fields = append(fields,
		zap.String("err_id", f.ID),
		zap.String("site", f.Site),
		zap.String("outcome", string(f.Outcome)),
		zap.Int("status", f.Status),
		zap.String("cause", f.Cause),
		zap.String("category", string(f.Category)),
	)
	// What isn't known is left out, here as in the record.
	for _, field := range [...]struct{ name, value string }{
		{"proxy_error", f.ProxyError},
		{"phase", string(f.Phase)},
		{"side", string(f.Side)},
		{"upstream", f.Upstream},
		{"summary", f.Summary},
		{"error", f.Error},
		{"request_sent", string(f.RequestSent)},
		{"incident", f.Incident},
		{"traceID", f.TraceID},
	} {
		if field.value != "" {
			fields = append(fields, zap.String(field.name, field.value))
		}
	}
	return append(fields,
		zap.Strings("evidence", f.Evidence),
		zap.Int("attempt_count", f.AttemptCount),
		zap.Float64("duration_ms", float64(f.DurationMS)),
	)
}

// accessLogFields are what the access log gets of f: two fields in one, because each
// that is set makes Caddy forget what it keeps for all.
func accessLogFields(f *failure.Failure) zap.Field {
	fields := zap.Inline(zapcore.ObjectMarshalerFunc(func(log zapcore.ObjectEncoder) error {
		log.AddString("upstream_diagnostics_id", f.ID)
		log.AddString("upstream_diagnostics_cause", f.Cause)
		return nil
	}))
	// No encoder shows the key of what is inline: it lets a later failure of the same
	// request replace this one.
	fields.Key = "upstream_diagnostics"
	return fields
}
