package cause

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What looks the same from here is said, once, and only where nothing told more.
func TestWhatIsLeftOpenIsSaid(t *testing.T) {
	f := Diagnose(heard(nil, dialAttempt("tcp", "203.0.113.9:8080", "connect", syscall.ETIMEDOUT)))
	if f == nil || !slices.Contains(f.Evidence, ConnectTimeout.Undecided) {
		t.Errorf("a machine that does not answer: %+v", f)
	}
	answered := sentAttempt(func(a *listen.Attempt) {
		a.Status, a.FirstByte, a.Answered = 503, 3*time.Millisecond, 4*time.Millisecond
	})
	answered.Err = nil
	f = Diagnose(heard(func(h *listen.Heard) { h.Err, h.Response.Status = nil, 503 }, answered))
	if f == nil || !slices.Contains(f.Evidence, UpstreamStatus.Undecided) {
		t.Errorf("an upstream's own answer: %+v", f)
	}
	f = Diagnose(heard(nil, dialAttempt("unix", "/run/app.sock", "connect", syscall.ENOENT)))
	if f == nil || slices.ContainsFunc(f.Evidence, func(line string) bool { return line == ConnectionRefused.Undecided }) {
		t.Errorf("a socket: %+v", f)
	}
}
