package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// following runs until it is ended, which gives its error.
func following(t *testing.T, follow func(context.Context) error) (end func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- follow(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-ended
	}
}

// tick lets it ask so many times more.
func tick(times int) {
	time.Sleep(time.Duration(times)*every + time.Millisecond)
	synctest.Wait()
}

// ids are the failures that were written, in their order.
func ids(c *Command) (ids []string) {
	for line := range strings.Lines(written(c)) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "id-") {
				ids = append(ids, word)
			}
		}
	}
	return ids
}

func (f *fake) fail(ids ...int) {
	f.do(func() {
		for _, id := range ids {
			one := failureOf(failure.Failed, "app:8080", "connection_refused", 0)
			one.ID = fmt.Sprint("id-", id)
			f.failures = append(f.failures, one)
		}
	})
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(t)
		f.fail(1, 2, 3)
		c.Limit = 2
		end := following(t, c.Follow)
		if got := fmt.Sprint(ids(c)); got != "[id-2 id-3]" || !strings.HasPrefix(written(c), "No incident was opened") {
			t.Fatalf("it begins with %s", written(c))
		}
		tick(3)
		f.fail(4, 5)
		tick(1)
		tick(3)
		if got := fmt.Sprint(ids(c)); got != "[id-2 id-3 id-4 id-5]" {
			t.Fatalf("got %s", got)
		}

		// A reload: a connection breaks, a single question has no answer.
		f.do(func() { f.away = true })
		tick(1)
		f.do(func() { f.away = false })
		f.fail(6)
		tick(1)
		if got := fmt.Sprint(ids(c)); got != "[id-2 id-3 id-4 id-5 id-6]" || told(c) != "" {
			t.Fatalf("after a reload: %s, told %q", got, told(c))
		}

		// It is away for longer, and told once.
		f.do(func() { f.away = true })
		tick(5)
		const away = "Nothing listens at localhost:2019: is Caddy running, and without \"admin off\"? If its admin endpoint is another one, name it by --address, or its config by --config\nWaiting for it; what comes is shown.\n"
		if told(c) != away {
			t.Errorf("told %q", told(c))
		}
		f.do(func() { f.away = false })
		f.fail(7)
		tick(2)
		if told(c) != away+"Caddy answers again.\n" {
			t.Errorf("told %q", told(c))
		}
		if got := fmt.Sprint(ids(c)); !strings.HasSuffix(got, " id-6 id-7]") {
			t.Errorf("got %s", got)
		}
		if strings.Count(written(c), "TIME") != 1 {
			t.Errorf("more than one head:\n%s", written(c))
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// More than a page may come in a second.
func TestFollowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(t)
		c.JSON, c.Limit = true, 0
		f.fail(0)
		end := following(t, c.Follow)
		if written(c) != "" {
			t.Fatalf("with 0 only new ones are shown, not %s", written(c))
		}
		for n := range 2*failure.MaxLimit + 5 {
			f.fail(n + 1)
		}
		tick(1)
		lines := strings.Split(strings.TrimSpace(written(c)), "\n")
		if len(lines) != 2*failure.MaxLimit+5 {
			t.Fatalf("%d lines", len(lines))
		}
		for n, line := range lines {
			if !strings.HasPrefix(line, fmt.Sprintf(`{"id":"id-%d",`, n+1)) {
				t.Fatalf("line %d is %s", n, line)
			}
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// What was never there isn't waited for: a wrong address is an error.
func TestFollowNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(t)
		f.away = true
		for name, follow := range map[string]func(context.Context) error{"failures": c.Follow, "incidents": c.FollowIncidents} {
			if err := follow(t.Context()); err == nil {
				t.Errorf("%s: no error", name)
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := follow(ended); err != nil {
				t.Errorf("%s: Ctrl-C at once gives %v", name, err)
			}
		}
	})
}

type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

// Where nothing can be written it ends.
func TestFollowIntoAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(t)
		c.JSON, c.Out = true, full{}
		c.Limit = 0
		ended := make(chan error, 1)
		go func() { ended <- c.Follow(t.Context()) }()
		synctest.Wait()
		f.fail(1)
		if err := <-ended; !errors.Is(err, errFull) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowIncidents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFake(t)
		first, second := incidentOf(failure.IncidentOpen, "app:1", time.Hour), incidentOf(failure.IncidentResolved, "app:2", time.Hour)
		first.ID, second.ID = "id-1", "id-2"
		f.incidents = []*failure.Incident{first, second}
		end := following(t, c.FollowIncidents)
		seen := func(want string) {
			t.Helper()
			tick(2)
			var lines []string
			for line := range strings.Lines(written(c)) {
				if fields := strings.Fields(line); fields[0] != "STATE" {
					lines = append(lines, fields[0]+" "+fields[5])
				}
			}
			if got := strings.Join(lines, ", "); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		seen("open app:1")
		f.do(func() { first.Count++; first.LastSeen = failure.At(now) }) // is no news
		seen("open app:1")
		f.do(func() { first.State = failure.IncidentResolved })
		seen("open app:1, resolved app:1")
		f.do(func() { first.State, first.ReopenedCount = failure.IncidentOpen, 1 })
		seen("open app:1, resolved app:1, open app:1")
		f.do(func() { f.incidents = nil }) // it was restarted
		seen("open app:1, resolved app:1, open app:1")
		f.do(func() { f.incidents = []*failure.Incident{first} })
		seen("open app:1, resolved app:1, open app:1, open app:1")
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
