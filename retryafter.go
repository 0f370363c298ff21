package diagnostics

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Bounds of what is told where it is known only how long such incidents usually last.
const (
	leastUsualWait = time.Second
	mostUsualWait  = 5 * time.Minute
)

// spreadPart is the part of a time by which what is told differs from one client to the next:
// 20 %. All at once they would break again what has just recovered.
const spreadPart = 5

// retryAfterOf is when it is worth trying again: as configured, or where it is known or can
// be expected. 0 says that it can't. It is another one each time.
func (h *Handler) retryAfterOf(f *failure.Failure) time.Duration {
	if !h.retry.auto {
		return h.retry.fixed
	}
	if f.Received != nil && f.Received.RetryAfter != "" { // its word goes on as it is
		return retryAfterReceived(f.Received.RetryAfter, f.Time.Time)
	}
	if known := soonestOf(f); known > 0 {
		return spreadAfter(known)
	}
	return spreadAround(h.process.incidents.Expected(f.Incident, f.Time.Time))
}

// soonestOf is when the first of the upstreams that could not be chosen can be again; 0 where
// that isn't known.
func soonestOf(f *failure.Failure) (soonest time.Duration) {
	for _, u := range f.Unavailable {
		if u.Until == nil {
			continue
		}
		if wait := u.Until.Sub(f.Time.Time); soonest == 0 || wait < soonest {
			soonest = wait
		}
	}
	return soonest
}

// spreadAfter spreads a wait before whose end nothing can be had: it becomes longer, never
// shorter.
func spreadAfter(wait time.Duration) time.Duration {
	wait = wholeSeconds(wait)
	return secondsBetween(wait, wait+max(wait/spreadPart, time.Second))
}

// spreadAround spreads what is left of the time that an incident usually takes. What all that
// come meanwhile are told is meant for the same moment: it is spread by a part of the whole
// time, since a part of what is left would bring the later ones there more and more exactly.
func spreadAround(left, usually time.Duration) time.Duration {
	if left <= 0 {
		return 0
	}
	left, spread := min(left, mostUsualWait), min(usually, mostUsualWait)/spreadPart
	from := wholeSeconds(max(left-spread, leastUsualWait))
	return secondsBetween(from, max(min(left+spread, mostUsualWait), from+time.Second))
}

// secondsBetween is a random number of whole seconds, as the field has them: what is rounded
// later would be spread less. from is whole.
func secondsBetween(from, to time.Duration) time.Duration {
	return from + time.Second*rand.N((to-from)/time.Second+1) //nolint:gosec // it is no secret
}

func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// retryAfterReceived is what an upstream's own Retry-After says at that time, in either
// form (RFC 9110, 10.2.3); 0 where it says nothing that can be passed on.
func retryAfterReceived(value string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	if wait < 0 || wait > maxRetryAfter {
		return 0
	}
	return wait
}
