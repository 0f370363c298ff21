package diagnostics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// unloading knows when a config is unloaded, which ends its upgraded connections.
type unloading struct {
	done <-chan struct{}
	at   atomic.Int64 // in Unix nanoseconds, 0 until then
}

func unloadingOf(ctx caddy.Context) *unloading {
	u := &unloading{done: ctx.Done()}
	context.AfterFunc(ctx.Context, func() { u.at.Store(time.Now().UnixNano()) })
	return u
}

// over says that the config has been unloaded for so long.
func (u *unloading) over(delay time.Duration) bool {
	if u == nil {
		return false
	}
	select {
	case <-u.done:
	default:
		return false
	}
	// It may be known late when it was, by as much as the machine is busy.
	most := delay - max(delay/10, time.Second)
	at := u.at.Load()
	return most <= 0 || at != 0 && time.Now().UnixNano()-at >= int64(most)
}

// upgradeEnded counts an upgraded connection that an upstream broke off or a reload
// closed, and has it told of: nobody else does.
func (h *Handler) upgradeEnded(l *listen.Listener) {
	u, ok := l.Upgraded()
	if !ok {
		return
	}
	by := ""
	switch {
	case u.End == listen.EndReset, u.End == listen.EndLost:
		by = journal.EndedByUpstream
	case (u.End == listen.EndOurs || u.End == listen.EndNone) && h.unload.over(u.CloseDelay):
		by = journal.EndedByReload
	default:
		return
	}
	site := h.Site
	if site == "" {
		site = h.place.Site
	}
	if !h.process.upgrades.Add(journal.UpgradeEnd{Site: site, Upstream: u.Upstream, By: by}) {
		return
	}
	// Those that end at the same moment are told of together.
	logger, p := h.logger, h.process
	time.AfterFunc(upgradesMoment, func() { p.tellUpgrades(logger) })
}

// upgradesMoment is how long others are waited for which end at the same moment.
const upgradesMoment = time.Second

// upgradesMessage is what the line says that sums them up.
const upgradesMessage = "upgraded connections ended"

// tellUpgrades logs how many upgraded connections ended, by the logger of the config that
// runs by now; where none does, by the one given.
func (p *process) tellUpgrades(logger *zap.Logger) {
	p.mu.Lock()
	if n := len(p.running); n > 0 {
		logger = p.running[n-1].logger
	}
	p.mu.Unlock()
	for end, count := range p.upgrades.Take() {
		advice := "Look at the log of the upstream at this time: it broke off connections that were open."
		if end.By == journal.EndedByReload {
			advice = "Set stream_close_delay in reverse_proxy, so that a reload gives clients time to leave by themselves."
		}
		logger.Warn(upgradesMessage,
			zap.String("site", end.Site), zap.String("upstream", end.Upstream), zap.String("ended_by", end.By),
			zap.Int("count", count), zap.String("advice", advice))
	}
}
