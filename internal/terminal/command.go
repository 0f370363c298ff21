// Package terminal is what an operator reads in a terminal: it asks the API where Caddy
// serves it, and draws what it answers.
package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// Latest stands for the id of the newest failure.
const Latest = "latest"

// DefaultLimit is how many failures are listed: with the incidents above them, as many as
// a terminal shows at once.
const DefaultLimit = 15

// Command is what is asked for on the command line.
type Command struct {
	API *API
	Out io.Writer
	// Err gets what is no part of what was asked for.
	Err io.Writer
	// Screen is what Out is; it is asked each time, for a window changes its size.
	Screen func() Screen
	// Filters are those of the API, by their names: `a,b` means any of them.
	Filters url.Values
	// Limit is how many failures or incidents are listed at most. With Follow, 0 shows
	// new ones only.
	Limit int
	// JSON writes each as one line of JSON, as the API has it.
	JSON bool
	// Lookup finds what a failure that is shown in full points to.
	Lookup report.Lookup
}

// incidentFilters are those that incidents have too.
var incidentFilters = []string{"site", "upstream", "cause"}

// page is the API's answer to /failures.
type page struct {
	Failures []json.RawMessage `json:"failures"`
	Next     string            `json:"next"`
	Newest   string            `json:"newest"`
}

// incident is one in both forms.
type incident struct {
	failure.Incident
	raw json.RawMessage
}

// List shows what is broken now, and the newest failures below. As JSON these alone.
func (c *Command) List(ctx context.Context) error {
	found, err := c.page(ctx, url.Values{"limit": {strconv.Itoa(c.Limit)}})
	if err != nil {
		return err
	}
	if c.JSON {
		return c.writeJSON(found.Failures...)
	}
	if err := c.openIncidents(ctx); err != nil {
		return err
	}
	s, now := c.Screen(), time.Now()
	if len(found.Failures) == 0 {
		err := c.recording(ctx)
		if err == nil {
			err = c.checkNames(ctx, addressesOf)
		}
		if err != nil { // a note: what was asked for is shown
			fmt.Fprintf(c.Err, "%s\n", Sentence(err))
		}
		none := "No failure is kept."
		if len(c.Filters) > 0 {
			none = "No failure that is kept is one of those asked for."
		}
		return c.write("\n" + none + "\n")
	}
	rows := make([][]cell, len(found.Failures))
	for i, raw := range found.Failures {
		f, err := readFailure(raw)
		if err != nil {
			return err
		}
		rows[i] = failureRow(s, f, s.when(f.Time, now))
	}
	drawn := "\n" + failureTable().draw(s, true, rows...)
	if s.Terminal {
		hint := "One in full: caddy upstream-failures <ID>"
		if found.Next != "" && c.Limit < failure.MaxLimit {
			hint += fmt.Sprintf("   Older ones: --limit %d", min(10*c.Limit, failure.MaxLimit))
		}
		drawn += "\n" + s.paint(dim, hint) + "\n"
	}
	return c.write(drawn)
}

// errNoHandler is for a Caddy whose silence says nothing.
var errNoHandler = errors.New(failure.NothingRecorded)

// recording gives errNoHandler where no failure would be recorded.
func (c *Command) recording(ctx context.Context) error {
	var overview failure.Overview
	if err := c.API.get(ctx, "", nil, &overview); err != nil {
		return err
	}
	if overview.NoHandler {
		return errNoHandler
	}
	return nil
}

// openIncidents shows those that are open, or says since when none is.
func (c *Command) openIncidents(ctx context.Context) error {
	all, err := c.incidents(ctx, c.only(incidentFilters))
	if err != nil {
		return err
	}
	s, now := c.Screen(), time.Now()
	opened := slices.DeleteFunc(slices.Clone(all), func(i incident) bool { return i.State != failure.IncidentOpen })
	if len(opened) > 0 {
		are := " are open"
		if len(opened) == 1 {
			are = " is open"
		}
		rows := make([][]cell, len(opened))
		for n := range opened {
			rows[n] = incidentRow(s, &opened[n].Incident, now)
		}
		return c.write(s.line(open, count(len(opened), "incident")+are) + incidentTable().draw(s, true, rows...))
	}

	var resolved *failure.Incident
	for n := range all {
		if i := &all[n].Incident; i.ResolvedAt != nil && (resolved == nil || i.ResolvedAt.After(resolved.ResolvedAt.Time)) {
			resolved = i
		}
	}
	var overview failure.Overview
	if resolved == nil {
		if err := c.API.get(ctx, "", nil, &overview); err != nil {
			return err
		}
	}
	filtered := len(c.only(incidentFilters)) > 0
	return c.write(s.line(solved, s.calmSentence(resolved, overview.Since, now, filtered)))
}

// Failure shows one in full. The newest one is that of those which pass the filters.
func (c *Command) Failure(ctx context.Context, id string) error {
	var raw json.RawMessage
	if id == Latest {
		found, err := c.page(ctx, url.Values{"limit": {"1"}})
		if err != nil {
			return err
		}
		if len(found.Failures) == 0 {
			return errors.New("no failure is kept that is one of those asked for")
		}
		raw = found.Failures[0]
	} else {
		if err := checkID(id); err != nil {
			return err
		}
		if err := c.API.get(ctx, "failures/"+id, nil, &raw); err != nil {
			return err
		}
	}
	if c.JSON {
		return c.writeJSON(raw)
	}
	f, err := readFailure(raw)
	if err != nil {
		return err
	}
	return c.Screen().report(c.Lookup).Text(c.Out, f)
}

// checkID refuses what would ask for something else than one record.
func checkID(id string) error {
	if id == "" || strings.Trim(id, ".") == "" || url.PathEscape(id) != id {
		return fmt.Errorf("expected an id such as k3f9qw2ax, or %s, got %+.64q", Latest, id)
	}
	return nil
}

// Incidents lists all, open ones first.
func (c *Command) Incidents(ctx context.Context) error {
	all, err := c.incidents(ctx, c.Filters)
	if err != nil {
		return err
	}
	all = all[:min(len(all), c.Limit)]
	if !c.JSON && len(all) == 0 {
		return c.write("No incidents.\n")
	}
	return c.writeIncidents(incidentTable(), true, all)
}

// Incident shows one in full, in the API's own text.
func (c *Command) Incident(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return c.text(ctx, http.MethodGet, "incidents/"+id, nil)
}

// Probe has an upstream asked now, as it is asked from that site where one is named, and
// shows what came of it.
func (c *Command) Probe(ctx context.Context, upstream, site string) error {
	query := map[string]string{"upstream": upstream}
	if site != "" {
		query["site"] = site
	}
	body, err := json.Marshal(query)
	if err != nil {
		return err
	}
	return c.text(ctx, http.MethodPost, "probe", body)
}

// Check says whether an incident is open, and shows those that are.
func (c *Command) Check(ctx context.Context) (isOpen bool, err error) {
	filters := c.only(incidentFilters)
	filters.Set("state", string(failure.IncidentOpen))
	all, err := c.incidents(ctx, filters)
	if err != nil {
		return false, err
	}
	if len(all) == 0 {
		if err := c.recording(ctx); err != nil {
			return false, err
		}
		return false, c.checkNames(ctx, nil)
	}
	return true, c.writeIncidents(incidentTable(), true, all)
}

// checkNames refuses a site or an upstream that nothing has: of a name that is mistyped,
// nothing will ever be told. Those of incidents that are kept are known, too, and what else
// an upstream is found by; nil for nothing.
func (c *Command) checkNames(ctx context.Context, also func(*failure.UpstreamState) []string) error {
	if len(c.Filters["site"])+len(c.Filters["upstream"]) == 0 {
		return nil
	}
	var board failure.Board
	if err := c.API.get(ctx, "upstreams", nil, &board); err != nil {
		return err
	}
	incidents, err := c.incidents(ctx, nil)
	if err != nil {
		return err
	}
	var sites, upstreams, others []string
	allSites := true // where the way to an upstream isn't known, its site isn't either
	for n := range board.Upstreams {
		u := &board.Upstreams[n]
		sites, upstreams = append(sites, u.Sites...), append(upstreams, u.Upstream)
		allSites = allSites && len(u.Sites) > 0
		if also != nil {
			others = append(others, also(u)...)
		}
	}
	for n := range incidents {
		sites, upstreams = append(sites, incidents[n].Site), append(upstreams, incidents[n].Upstream)
	}
	if err := checkNamed("upstream", c.Filters["upstream"], upstreams, others); err != nil || !allSites {
		return err
	}
	return checkNamed("site", c.Filters["site"], sites, nil)
}

// addressesOf are those of an upstream, by which a failure is found as well.
func addressesOf(u *failure.UpstreamState) []string {
	addresses := []string{u.Address}
	if u.Lookup != nil {
		for _, a := range u.Lookup.Addresses {
			addresses = append(addresses, a.Address)
		}
	}
	return addresses
}

// maxNames is how many names an error has.
const maxNames = 10

// checkNamed wants each value of a filter to be one of those that there are, or of others.
func checkNamed(filter string, values, there, others []string) error {
	slices.Sort(there)
	there = slices.DeleteFunc(slices.Compact(there), func(name string) bool { return name == "" })
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name == "" || slices.Contains(there, name) || slices.Contains(others, name) {
				continue
			}
			told := "there is none"
			if n := len(there); n > 0 {
				told = "there are " + strings.Join(there[:min(n, maxNames)], ", ")
				if n > maxNames {
					told += fmt.Sprintf(" and %d more", n-maxNames)
				}
			}
			meant := ""
			if _, err := netip.ParseAddrPort(name); err != nil { // of addresses several are as near
				meant = typo.DidYouMean(typo.Nearest(name, there))
			}
			return fmt.Errorf("--%s: no running config has %q, so nothing can be told of it; %s%s", filter, name, told, meant)
		}
	}
	return nil
}

// page asks for failures.
func (c *Command) page(ctx context.Context, more url.Values) (found page, err error) {
	query := c.only(nil)
	for name, values := range more {
		query[name] = values
	}
	err = c.API.get(ctx, "failures", query, &found)
	return found, err
}

// only returns the filters of these names, with nil all.
func (c *Command) only(names []string) url.Values {
	kept := url.Values{}
	for name, values := range c.Filters {
		if names == nil || slices.Contains(names, name) {
			kept[name] = values
		}
	}
	return kept
}

func (c *Command) incidents(ctx context.Context, filters url.Values) ([]incident, error) {
	var list struct {
		Incidents []json.RawMessage `json:"incidents"`
	}
	if err := c.API.get(ctx, "incidents", filters, &list); err != nil {
		return nil, err
	}
	all := make([]incident, len(list.Incidents))
	for n, raw := range list.Incidents {
		all[n].raw = raw
		if err := json.Unmarshal(raw, &all[n].Incident); err != nil {
			return nil, fmt.Errorf("an incident can't be read: %w", err)
		}
	}
	return all, nil
}

func readFailure(raw json.RawMessage) (*failure.Failure, error) {
	f := new(failure.Failure)
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, fmt.Errorf("a failure can't be read: %w", err)
	}
	return f, nil
}

// writeIncidents writes a line for each.
func (c *Command) writeIncidents(t *table, head bool, list []incident) error {
	s, now := c.Screen(), time.Now()
	rows := make([][]cell, len(list))
	for n := range list {
		if c.JSON {
			if err := c.writeJSON(list[n].raw); err != nil {
				return err
			}
			continue
		}
		rows[n] = incidentRow(s, &list[n].Incident, now)
	}
	if c.JSON {
		return nil
	}
	return c.write(t.draw(s, head, rows...))
}

// text writes an answer's own text for people.
func (c *Command) text(ctx context.Context, method, path string, body []byte) error {
	query := url.Values{}
	if !c.JSON {
		query.Set("format", "text")
	}
	answer, err := c.API.ask(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.writeJSON(answer)
	}
	var drawn strings.Builder
	for line := range strings.Lines(string(answer)) {
		drawn.WriteString(report.Printable(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return c.write(drawn.String())
}

func (c *Command) writeJSON(values ...json.RawMessage) error {
	var lines strings.Builder
	for _, raw := range values {
		lines.WriteString(oneLine(raw) + "\n")
	}
	return c.write(lines.String())
}

func (c *Command) write(text string) error {
	_, err := io.WriteString(c.Out, text)
	return err
}
