//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// keepaliveTimeout is how long the servers under test keep an idle connection.
const keepaliveTimeout = time.Second

// roundTripMS is the least that the catalogue grants to a round trip.
const roundTripMS = 50

// race sends rounds of POSTs, each round as long after the one before as the server
// keeps a connection, some a little earlier and some a little later. Whatever is
// recorded must be the race.
func (c *caddy) race(t *testing.T, timeout time.Duration, rounds int) {
	t.Helper()
	const visitors, step = 40, 250 * time.Microsecond
	failed := make(chan int, visitors*(rounds+1)) // statuses
	var visits sync.WaitGroup
	for i := range visitors {
		visits.Go(func() {
			offset := time.Duration(i-visitors/2) * step
			for range rounds + 1 {
				res, err := client.Post(c.url+"/race", "text/plain", strings.NewReader("once"))
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil {
					t.Error(err)
				}
				if res.StatusCode != http.StatusOK {
					failed <- res.StatusCode
				}
				<-time.After(timeout + offset) // what is tried is the server's clock
			}
		})
	}
	visits.Wait()
	close(failed)
	c.idle(t)
	statuses := len(failed)
	for status := range failed {
		if status != http.StatusBadGateway {
			t.Errorf("a visitor got %d", status)
		}
	}
	var recorded []*failure.Failure
	defer func() {
		if t.Failed() {
			for _, f := range recorded {
				t.Logf("recorded: %s", whole(f))
			}
		}
	}()
	await(t, fmt.Sprintf("failures of the %d visitors that got no answer", statuses), func() bool {
		recorded = c.failures(t)
		lost := slices.DeleteFunc(slices.Clone(recorded), func(f *failure.Failure) bool { return f.Outcome == failure.Rescued })
		return len(lost) == statuses
	})
	for _, f := range recorded {
		// A server under load may be late to close: what dies later than one round trip
		// looks like a crash.
		late := f.Attempts[len(f.Attempts)-1].DurationMS > roundTripMS
		if f.Cause != "keepalive_race" && !(late && among("closed_before_response|reset_before_response", f.Cause)) {
			t.Errorf("recorded as %s %s: %s", f.Outcome, f.Cause, whole(f))
		}
	}
	t.Logf("hit %d times", len(recorded))
}
