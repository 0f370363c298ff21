package diagnostics

import (
	"cmp"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
)

// logMessage is the contract's.
const logMessage = "upstream failure"

// line is something to be logged.
type line interface {
	// write logs it with further fields, those of a sum.
	write(logger *zap.Logger, more ...zap.Field)
}

// log writes the entry of f.
func (h *Handler) log(f *failure.Failure) {
	h.logLine(journal.Fingerprint{Site: f.Site, Upstream: f.Upstream, Cause: f.Cause}, (*failureLine)(f), f.Time.Time)
}

// say logs what concerns ourselves, not an upstream.
func (h *Handler) say(level zapcore.Level, message string, fields ...zap.Field) {
	h.logLine(journal.Fingerprint{Site: cmp.Or(h.Site, h.place.Site), Cause: message}, &ownLine{level, message, fields}, time.Now())
}

// logLine writes a line, unless a storm of its kind is summed up: nothing that a
// request can cause is logged without a bound.
func (h *Handler) logLine(kind journal.Fingerprint, l line, now time.Time) {
	h.process.logLine(h.logger, kind, l, now)
}

func (p *process) logLine(logger *zap.Logger, kind journal.Fingerprint, l line, now time.Time) {
	passes, ended := p.storm.Passes(kind, l, now)
	if ended != nil {
		logSum(logger, ended)
	}
	if passes {
		l.write(logger)
	} else {
		p.sumUpLater(logger)
	}
}

// failureLine is the entry of a failure.
type failureLine failure.Failure

func (l *failureLine) write(logger *zap.Logger, more ...zap.Field) {
	f := (*failure.Failure)(l)
	c := logger.Check(levelOf(f), logMessage)
	if c == nil {
		return
	}
	if len(more) == 0 { // a sum is of many requests
		more = []zap.Field{zap.Any("request", f.Request)}
	}
	c.Write(append(fieldsOf(f), more...)...)
}

// ownLine is a line about ourselves.
type ownLine struct {
	level   zapcore.Level
	message string
	fields  []zap.Field
}

func (l *ownLine) write(logger *zap.Logger, more ...zap.Field) {
	if c := logger.Check(l.level, l.message); c != nil {
		c.Write(append(l.fields[:len(l.fields):len(l.fields)], more...)...)
	}
}

// sumUpLater sums up what was left out where no App does it, which is so with
// `admin off` and no global option: one timer, as long as there are windows.
func (p *process) sumUpLater(logger *zap.Logger) {
	if p.attended.Load() || !p.summing.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(journal.StormWindow, func() {
		p.summing.Store(false)
		if p.sumUp(logger, time.Now()) > 0 {
			p.sumUpLater(logger)
		}
	})
}

// sumUp sums up the windows that are over, and says how many aren't.
func (p *process) sumUp(logger *zap.Logger, now time.Time) (left int) {
	ended, left := p.storm.Sweep(now)
	for _, sum := range ended {
		logSum(logger, sum)
	}
	return left
}

// logSum writes the line for those that were left out.
func logSum(logger *zap.Logger, sum *journal.Sum[line]) {
	sum.Last.write(logger, zap.Int("count", sum.Count), zap.Int("suppressed", sum.Suppressed))
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
	fields := make([]zap.Field, 0, 22)
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
		{"advice", f.Advice},
		{"error", f.Error},
		{"request_sent", string(f.RequestSent)},
		{"incident", f.Incident},
		{"traceID", f.TraceID},
	} {
		if field.value != "" {
			fields = append(fields, zap.String(field.name, field.value))
		}
	}
	if len(f.Unavailable) > 0 {
		fields = append(fields, zap.Array("unavailable", unavailableLog(f.Unavailable)))
	}
	return append(fields,
		zap.Strings("evidence", f.Evidence),
		zap.Int("attempt_count", f.AttemptCount),
		zap.Float64("duration_ms", float64(f.DurationMS)),
	)
}

// unavailableLog writes who could not be selected as the record's JSON has it.
type unavailableLog []failure.Unavailable

func (list unavailableLog) MarshalLogArray(log zapcore.ArrayEncoder) error {
	for n := range list {
		if err := log.AppendObject((*unavailableUpstream)(&list[n])); err != nil {
			return err
		}
	}
	return nil
}

type unavailableUpstream failure.Unavailable

func (u *unavailableUpstream) MarshalLogObject(log zapcore.ObjectEncoder) error {
	log.AddString("upstream", u.Upstream)
	if u.Until != nil {
		log.AddString("until", u.Until.String())
	}
	for _, field := range [...]struct{ name, value string }{
		{"reason", string(u.Reason)}, {"last_failure", u.LastFailure}, {"last_cause", u.LastCause}, {"check", u.Check},
	} {
		if field.value != "" {
			log.AddString(field.name, field.value)
		}
	}
	return nil
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
