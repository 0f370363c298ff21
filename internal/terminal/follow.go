package terminal

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// every is how often it is asked what is new.
const every = time.Second

// Follow shows the newest failures, the last one last, and those that come until ctx is
// over. Once it has begun it waits for a Caddy that is away: a reload goes unnoticed, a
// restart is told.
func (c *Command) Follow(ctx context.Context) error {
	first, err := c.page(ctx, url.Values{"limit": {strconv.Itoa(max(1, c.Limit))}})
	if err != nil {
		return orOver(ctx, err)
	}
	if !c.JSON {
		if err := c.openIncidents(ctx); err != nil {
			return orOver(ctx, err)
		}
		if err := c.write("\n"); err != nil {
			return err
		}
	}
	if c.Limit == 0 {
		first.Failures = nil
	}
	t, after := failureTable(), first.Newest
	show := func(found page, head bool) error {
		slices.Reverse(found.Failures)
		if c.JSON {
			return c.writeJSON(found.Failures...)
		}
		s := c.Screen()
		rows := make([][]cell, len(found.Failures))
		for i, raw := range found.Failures {
			f, err := readFailure(raw)
			if err != nil {
				return err
			}
			rows[i] = failureRow(s, f, s.clock(f.Time))
		}
		return c.write(t.draw(s, head, rows...))
	}
	if err := show(first, true); err != nil {
		return err
	}
	return c.poll(ctx, func() (more bool, unreachable, broken error) {
		// More than a page may have come: what is left is asked for at once.
		found, err := c.page(ctx, url.Values{"limit": {strconv.Itoa(failure.MaxLimit)}, "after": {after}})
		if err != nil {
			return false, err, nil
		}
		after = found.Newest
		more = len(found.Failures) == failure.MaxLimit
		return more, nil, show(found, false)
	})
}

// FollowIncidents shows those that are open, and each that opens, opens again or is
// resolved, until ctx is over.
func (c *Command) FollowIncidents(ctx context.Context) error {
	all, err := c.incidents(ctx, c.Filters)
	if err != nil {
		return orOver(ctx, err)
	}
	// Where a Caddy begins anew, incidents that are open may be gone: they are forgotten
	// here, too.
	states := map[string]string{}
	changed := func(all []incident) (changed []incident) {
		now := make(map[string]string, len(all))
		for _, i := range all {
			now[i.ID] = fmt.Sprint(i.State, i.FirstSeen, i.ReopenedCount)
			if now[i.ID] != states[i.ID] {
				changed = append(changed, i)
			}
		}
		states = now
		return changed
	}
	shown := slices.DeleteFunc(changed(all), func(i incident) bool { return i.State != failure.IncidentOpen })
	t := incidentTable()
	if err := c.writeIncidents(t, true, shown); err != nil {
		return err
	}
	return c.poll(ctx, func() (more bool, unreachable, broken error) {
		all, err := c.incidents(ctx, c.Filters)
		if err != nil {
			return false, err, nil
		}
		if shown := changed(all); len(shown) > 0 {
			return false, nil, c.writeIncidents(t, false, shown)
		}
		return false, nil, nil
	})
}

// poll asks again and again until ctx is over, at once where there is more. It says once
// that Caddy can't be reached; a single time is no news, for a reload swaps the endpoint.
func (c *Command) poll(ctx context.Context, ask func() (more bool, unreachable, broken error)) error {
	next := time.NewTicker(every)
	defer next.Stop()
	missed := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		for more := true; more; {
			var unreachable, broken error
			more, unreachable, broken = ask()
			switch {
			case ctx.Err() != nil:
				return nil
			case broken != nil:
				return broken
			case unreachable == nil:
				if missed > 1 {
					fmt.Fprintln(c.Err, "Caddy answers again.")
				}
				missed = 0
			default:
				if missed++; missed == 2 {
					fmt.Fprintf(c.Err, "%s\nWaiting for it; what comes is shown.\n", capitalized(Sentence(unreachable)))
				}
			}
		}
	}
}

// orOver is err, unless it came because ctx is over: that is no error.
func orOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
