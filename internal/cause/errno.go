package cause

import (
	"errors"
	"os"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
)

var (
	errnoOf     = host.Errno
	errnoByText = host.ErrnoByText
	errnoName   = host.ErrnoName
)

// isTimeout says that a limit ran out. What the system itself gave up, or a full
// queue (EAGAIN), calls itself a timeout too: the errno goes first.
func isTimeout(err error) bool {
	if err == nil || errnoOf(err) != 0 {
		return false
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}
