package failure

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// How many failures a page holds: where no limit is named, and at most.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// maxValues is how many values one filter may name: each is compared with each
// record.
const maxValues = 100

// Query says which failures are asked for. A filter that is empty lets all pass;
// one with several values lets any of them pass. The zero value asks for the
// newest DefaultLimit failures.
type Query struct {
	Site []string
	// Upstream also finds those in which one of several upstreams failed or could not
	// be selected, by what is configured or by its address.
	Upstream   []string
	Cause      []string
	Category   []Category
	ProxyError []string
	Phase      []Phase
	Side       []Side
	Outcome    []Outcome
	Status     []int
	// Host is the request's: with a port that one alone, without it on every port. Its
	// case doesn't matter.
	Host []string
	ID   []string
	// Incident is that of the record or of one of its attempts.
	Incident []string
	// Instance "*" stands for all.
	Instance []string
	// Since is the first moment asked for, Until the first one not asked for;
	// the zero time bounds nothing.
	Since, Until time.Time
	// Limit is how many failures a page holds at most; 0 stands for DefaultLimit.
	Limit int
	// Before asks for those that were recorded before this cursor: a page's Next.
	Before Cursor
	// After asks for those that were recorded after this cursor: a page's Newest.
	After Cursor
}

// FailurePage is a part of the failures that a Query asks for.
type FailurePage struct {
	// Failures are those asked for, newest first. They are shared with all other
	// readers: nobody may change them. With Query.After (and no Before) they are
	// the oldest of those that are newer, so that who polls misses none.
	Failures []*Failure `json:"failures"`
	// Next is the cursor before which the older ones are; left out where there
	// are none, and when polling.
	Next string `json:"next,omitempty"`
	// Newest is the cursor after which those will be that this page doesn't have;
	// left out when paging back.
	Newest string `json:"newest,omitempty"`
}

// Overview sums up what was recorded.
type Overview struct {
	// Since is when counting began: when the process first had a journal.
	Since Timestamp `json:"since"`
	// NoHandler says that no config that runs has an upstream_diagnostics, so that nothing is
	// recorded; left out where one has.
	NoHandler bool `json:"no_handler,omitempty"`
	// Counts has every outcome. It counts on where failures are forgotten.
	Counts map[Outcome]uint64 `json:"counts"`
	// OpenIncidents is how many incidents are open.
	OpenIncidents int `json:"open_incidents"`
	// Dropped is what was of no incident, because too many were open; left out for none.
	Dropped uint64 `json:"dropped,omitempty"`
	// Warnings is how many warnings there are, of upstreams and of this process.
	Warnings int `json:"warnings"`
	// UpgradesEnded says how many upgraded connections an upstream broke off, and how many
	// a reload closed; left out for none. They are in no count.
	UpgradesEnded map[string]uint64 `json:"upgrades_ended,omitempty"`
	// KeptCount is how many failures are kept now, Keep how many at most.
	KeptCount int `json:"kept_count"`
	Keep      int `json:"keep"`
	// KeepForS is for how many seconds a failure is kept; left out where its age
	// doesn't matter.
	KeepForS float64 `json:"keep_for_s,omitempty"`
	// Oldest is the time of the oldest one that is kept.
	Oldest *Timestamp `json:"oldest,omitempty"`
}

// Cursor is a place in the order in which failures were recorded; 0 is none.
type Cursor uint64

// cursorCheck makes the last two digits of a cursor a check of the others, by which one
// that nobody gave is told: a word is a number to base 36, too. It is the largest prime
// that fits into them, so that no cursor with one wrong digit passes.
const cursorCheck = 1291

// String is the cursor as users get it: opaque to them.
func (c Cursor) String() string {
	check := strconv.FormatUint(uint64(c)%cursorCheck, 36)
	if len(check) < 2 {
		check = "0" + check
	}
	return strconv.FormatUint(uint64(c), 36) + check
}

// ParseCursor reads what String wrote.
func ParseCursor(s string) (Cursor, error) {
	n, err := strconv.ParseUint(s[:max(0, len(s)-2)], 36, 64)
	c := Cursor(n)
	if err != nil || c == 0 || c.String() != s {
		return 0, fmt.Errorf("expected a cursor as an earlier answer gave it (its next or newest), got %+.64q", s)
	}
	return c, nil
}

// Filters are the parameters of ParseQuery that let failures pass or not, in the order of
// the documentation; QueryParameters are all of them, with those of a page.
var (
	Filters = []string{
		"site", "upstream", "cause", "category", "proxy_error", "phase", "side", "outcome", "status",
		"host", "id", "incident", "instance", "since", "until",
	}
	QueryParameters = slices.Concat(Filters, []string{"limit", "before", "after"})
)

// NothingRecorded is what there is to do where no handler listens (see Overview.NoHandler).
const NothingRecorded = "no site has upstream_diagnostics, so nothing is recorded: put it into each site that has a reverse_proxy"

// CheckParameters refuses a parameter that isn't among those that are known.
func CheckParameters(values url.Values, known []string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case slices.Contains(known, name):
		case len(known) == 0:
			return fmt.Errorf("expected no parameters, got %+.64q: it is done to all, never to some", name)
		default:
			return fmt.Errorf("unknown parameter %+.64q: expected one of %s%s", name, strings.Join(known, ", "), typo.DidYouMean(typo.Nearest(strings.ToLower(name), known)))
		}
	}
	return nil
}

// ParseQuery reads a query from URL parameters. `a,b` means any of them, as does a
// filter that is named twice; an empty value filters nothing, as in a form that is
// sent half filled. Durations count back from now.
func ParseQuery(values url.Values, now time.Time) (Query, error) {
	q := Query{Limit: DefaultLimit}
	if err := CheckParameters(values, QueryParameters); err != nil {
		return Query{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := q.set(name, values[name], now); err != nil {
			return Query{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && q.Since.After(q.Until) {
		return Query{}, fmt.Errorf("since: expected a time before until (%s), got %s", At(q.Until), At(q.Since))
	}
	return q, nil
}

// set reads one parameter.
func (q *Query) set(name string, values []string, now time.Time) (err error) {
	switch name {
	case "limit", "since", "until", "before", "after":
		return q.setSingle(name, values, now)
	}

	list, err := split(values)
	if err != nil {
		return err
	}
	switch name {
	case "site":
		q.Site = list
	case "upstream":
		q.Upstream = list
	case "cause":
		q.Cause = list
	case "category":
		q.Category, err = oneOf(list, Categories)
	case "proxy_error":
		q.ProxyError = list
	case "phase":
		q.Phase, err = oneOf(list, PhaseOrder)
	case "side":
		q.Side, err = oneOf(list, Sides)
	case "outcome":
		q.Outcome, err = oneOf(list, Outcomes)
	case "status":
		q.Status, err = statuses(list)
	case "host":
		q.Host = list
	case "id":
		q.ID = list
	case "incident":
		q.Incident = list
	case "instance":
		q.Instance = list
	}
	return err
}

// setSingle reads a parameter that has one value.
func (q *Query) setSingle(name string, values []string, now time.Time) (err error) {
	value, err := single(values)
	if value == "" || err != nil {
		return err
	}
	switch name {
	case "limit":
		q.Limit, err = strconv.Atoi(value)
		if err != nil || q.Limit < 1 || q.Limit > MaxLimit {
			return fmt.Errorf("expected a number from 1 to %d, got %+.64q", MaxLimit, value)
		}
	case "since":
		q.Since, err = parseTime(value, now)
	case "until":
		q.Until, err = parseTime(value, now)
		if err == nil && q.Until.IsZero() {
			q.Until = q.Until.Add(1) // it bounds all, and the zero time would bound nothing
		}
	case "before":
		q.Before, err = ParseCursor(value)
	case "after":
		q.After, err = ParseCursor(value)
	}
	return err
}

// Match says whether f passes all filters. Limit and cursors are no filters: they
// belong to who keeps the order.
func (q Query) Match(f *Failure) bool {
	return passes(q.Site, f.Site) &&
		(len(q.Upstream) == 0 || slices.ContainsFunc(q.Upstream, f.concerns)) &&
		passes(q.Cause, f.Cause) &&
		passes(q.Category, f.Category) &&
		passes(q.ProxyError, f.ProxyError) &&
		passes(q.Phase, f.Phase) &&
		passes(q.Side, f.Side) &&
		passes(q.Outcome, f.Outcome) &&
		passes(q.Status, f.Status) &&
		passes(q.ID, f.ID) &&
		(len(q.Incident) == 0 || slices.ContainsFunc(q.Incident, f.belongsTo)) &&
		(passes(q.Instance, f.Instance) || slices.Contains(q.Instance, "*")) &&
		(len(q.Host) == 0 || slices.ContainsFunc(q.Host, func(host string) bool { return namesHost(host, f.Request.Host) })) &&
		(q.Since.IsZero() || !f.Time.Before(q.Since)) &&
		(q.Until.IsZero() || f.Time.Before(q.Until))
}

func passes[T comparable](wanted []T, value T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

// namesHost says that a filter names a request's host: with the same port, or without one.
func namesHost(wanted, host string) bool {
	if strings.EqualFold(wanted, host) {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil { // it has no port
		name = host
	}
	return strings.EqualFold(withoutBrackets(wanted), withoutBrackets(name))
}

// withoutBrackets is an IPv6 address without those around it.
func withoutBrackets(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

// split returns the values between commas, without the empty ones.
func split(values []string) (list []string, err error) {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	if len(list) > maxValues {
		return nil, fmt.Errorf("expected at most %d values, got %d", maxValues, len(list))
	}
	return list, nil
}

// single returns the one value of a parameter that has no more.
func single(values []string) (string, error) {
	if len(values) > 1 {
		return "", fmt.Errorf("expected one value, got %d", len(values))
	}
	return strings.Join(values, ""), nil
}

// oneOf converts the values of a closed set.
func oneOf[T ~string](list []string, allowed []T) (converted []T, err error) {
	for _, value := range list {
		if !slices.Contains(allowed, T(value)) {
			return nil, fmt.Errorf("expected one of %s, got %+.64q%s", strings.Join(words(allowed), ", "), value,
				typo.DidYouMean(typo.Nearest(strings.ToLower(value), words(allowed))))
		}
		converted = append(converted, T(value))
	}
	return converted, nil
}

func statuses(list []string) (converted []int, err error) {
	for _, value := range list {
		status, err := strconv.Atoi(value)
		if err != nil || status < 100 || status > 999 {
			return nil, fmt.Errorf("expected an HTTP status such as 502, got %+.64q", value)
		}
		converted = append(converted, status)
	}
	return converted, nil
}

// parseTime reads a time, or a duration that counts back from now.
func parseTime(value string, now time.Time) (time.Time, error) {
	// In a URL, the + of an offset that nobody escaped is a space.
	if t, err := time.Parse(time.RFC3339, strings.Replace(value, " ", "+", 1)); err == nil {
		return t, nil
	}
	back, err := parseDuration(value)
	if err != nil || back < 0 {
		return time.Time{}, fmt.Errorf("expected a time such as 2026-11-24T04:11:26Z or a duration back such as 15m or 2d, got %+.64q", value)
	}
	return now.Add(-back), nil
}

// parseDuration is time.ParseDuration with days of 24 hours in front: 1d12h.
func parseDuration(value string) (time.Duration, error) {
	days, rest, ok := strings.Cut(value, "d")
	if !ok {
		return time.ParseDuration(value)
	}
	// 16 bits are 179 years: far from time.Duration's end.
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	whole := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return whole, nil
	}
	part, err := time.ParseDuration(rest)
	if err != nil {
		return 0, err
	}
	if part < 0 || whole+part < whole {
		return 0, errors.New("out of range")
	}
	return whole + part, nil
}

func words[T ~string](names []T) []string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = string(name)
	}
	return words
}
