//go:build linux

package e2e

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// keepaliveTimeout is how long the servers under test keep an idle connection.
const keepaliveTimeout = time.Second

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
	lost := 0
	for _, f := range c.failures(t) {
		if f.Outcome != failure.Rescued {
			lost++
		}
		if f.Cause != "keepalive_race" {
			t.Errorf("recorded as %s %s: %s", f.Outcome, f.Cause, whole(f))
		}
	}
	if lost != statuses {
		t.Errorf("%d visitors got no answer, and %d of their failures were recorded", statuses, lost)
	}
	t.Logf("hit %d times", len(c.failures(t)))
}
