package operator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/dustin/go-humanize"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// How much a page shows.
const (
	// maxCards is how many incidents are shown in full, maxRows how many of anything in a
	// table.
	maxCards = 30
	maxRows  = 100
	// justResolved is for how long what is over is still on the first page.
	justResolved = 24 * time.Hour
)

// skipParameter is that of a page of a list that has no cursor.
const skipParameter = "skip"

// moment is a time as a page shows it.
type moment struct{ Machine, Exact, Ago string }

func (s *sheet) moment(t failure.Timestamp) moment {
	ago := humanize.RelTime(t.Time, s.now, "ago", "from now")
	if ago == "now" {
		ago = "just now"
	}
	return moment{t.String(), t.UTC().Format("2006-01-02 15:04:05.000 UTC"), ago}
}

func (s *sheet) momentOf(t *failure.Timestamp) *moment {
	if t == nil {
		return nil
	}
	m := s.moment(*t)
	return &m
}

// took is the time between two as people say it.
func took(from, to time.Time) string {
	if to.Sub(from) < time.Second {
		return "less than a second"
	}
	return strings.TrimSpace(humanize.RelTime(from, to, "", ""))
}

// link is a word that leads somewhere; nowhere without URL.
type link struct{ Word, URL string }

// named is a value with its name.
type named struct{ Name, Value string }

// filtered leads to the failures that pass filters: name, value, name, value.
func (s *sheet) filtered(filters ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(filters); i += 2 {
		values.Add(filters[i], filters[i+1])
	}
	return s.Root + "failures?" + values.Encode()
}

// about leads to what the catalogue says of a cause.
func (s *sheet) about(name string) string {
	return s.Root + "causes#" + report.CauseHeading(name, "-")
}

func (s *sheet) ofFailure(id string) link {
	return link{id, s.Root + "failures/" + url.PathEscape(id)}
}

func (s *sheet) ofIncident(id string) string { return s.Root + "incidents/" + url.PathEscape(id) }

// count is how many requests ended in one way.
type count struct {
	Word  string
	N     string
	URL   string
	Known bool
}

func (s *sheet) counts(of map[failure.Outcome]uint64, filters ...string) (counts []count) {
	for _, outcome := range failure.Outcomes {
		counts = append(counts, count{
			Word: outcomeWords(outcome), N: humanize.Comma(int64(min(of[outcome], 1<<62))),
			URL: s.filtered(append(filters, "outcome", string(outcome))...), Known: of[outcome] > 0,
		})
	}
	return counts
}

// spark is a history as bars.
type spark struct {
	// Path draws the bars, Height is that of the picture.
	Path          string
	Width, Height int
	Label         string
	None          bool
}

// How a history is drawn: a bar for each minute.
const (
	sparkBar    = 3
	sparkGap    = 1
	sparkHeight = 28
	sparkLeast  = 2 // a single one among thousands is seen
)

func drawHistory(perMinute []uint32) spark {
	drawn := spark{Width: len(perMinute)*(sparkBar+sparkGap) - sparkGap, Height: sparkHeight}
	var path strings.Builder
	total, most, when := uint64(0), uint32(0), 0
	for n, number := range perMinute {
		total += uint64(number)
		if number > most {
			most, when = number, n
		}
	}
	if total == 0 {
		drawn.None, drawn.Label = true, "none in the last hour"
		return drawn
	}
	for n, number := range perMinute {
		if number == 0 {
			continue
		}
		height := max(sparkLeast, int(uint64(number)*sparkHeight/uint64(most)))
		fmt.Fprintf(&path, "M%d %dh%dv%dh-%dz", n*(sparkBar+sparkGap), sparkHeight-height, sparkBar, height, sparkBar)
	}
	drawn.Path = path.String()
	ago := len(perMinute) - 1 - when
	drawn.Label = fmt.Sprintf("%s in the last hour, most in one minute %s, %s", humanize.Comma(int64(min(total, 1<<62))), humanize.Comma(int64(most)),
		map[bool]string{true: "the present one", false: quantity(ago, "minute", "minutes") + " ago"}[ago == 0])
	return drawn
}

// warningCard is one warning.
type warningCard struct {
	*failure.Warning

	First, Last moment
	Upstream    link
	LastFailure link
	Times       string
}

func (s *sheet) warnings(board *failure.Board) (cards []warningCard) {
	for _, one := range allWarnings(board) {
		card := warningCard{Warning: &one, First: s.moment(one.FirstSeen), Last: s.moment(one.LastSeen), Times: "once"}
		if one.Upstream != "" {
			card.Upstream = link{one.Upstream, s.Root + "upstreams?" + url.Values{"upstream": {one.Upstream}}.Encode()}
		}
		if one.LastFailure != "" {
			card.LastFailure = s.ofFailure(one.LastFailure)
		}
		if one.Count != 1 {
			card.Times = humanize.Comma(int64(min(one.Count, 1<<62))) + " times"
		}
		cards = append(cards, card)
	}
	return cards
}

// nowPage is what the first page shows.
type nowPage struct {
	State, Headline string
	// Deaf is what to do where nothing is recorded, "" where something is.
	Deaf  string
	Since *moment
	// Open is what visitors notice, Saved what retries have kept from all of them.
	Open, Saved     []incidentCard
	MoreOpen        int
	Warnings        []warningCard
	MoreWarnings    int
	Resolved        []incidentCard
	MoreResolved    int
	Counts          []count
	Counting        moment
	Upstreams, Down int
	Kept, Keep      string
	Dropped         uint64
}

// The states of the first page.
const (
	stateBroken = "broken"
	stateSaved  = "saved"
	stateWarned = "warned"
	stateWell   = "well"
	stateDeaf   = "deaf"
	stateEmpty  = "empty"
)

func (d *Dashboard) drawNow(s *sheet, _ asked) error {
	s.Part, s.Template = "now", "now"
	overview, incidents, board := d.view.Overview(), s.allIncidents(), d.view.Upstreams()
	page := nowPage{
		Counts: s.counts(overview.Counts), Counting: s.moment(overview.Since), Upstreams: len(board.Upstreams),
		Kept: humanize.Comma(int64(overview.KeptCount)), Keep: humanize.Comma(int64(overview.Keep)), Dropped: overview.Dropped,
	}
	for _, list := range []struct {
		from  []*failure.Incident
		cards *[]incidentCard
	}{{s.open.seen, &page.Open}, {s.open.saved, &page.Saved}} {
		for _, i := range list.from {
			if len(page.Open)+len(page.Saved) == maxCards {
				page.MoreOpen++
				continue
			}
			*list.cards = append(*list.cards, s.incident(i))
		}
	}
	var quiet *failure.Timestamp // since when nothing is wrong
	for n := range incidents {
		i := &incidents[n]
		if i.ResolvedAt == nil {
			continue
		}
		if quiet == nil || quiet.Before(i.ResolvedAt.Time) {
			quiet = i.ResolvedAt
		}
		if s.now.Sub(i.ResolvedAt.Time) < justResolved {
			if len(page.Resolved) < maxCards {
				page.Resolved = append(page.Resolved, s.incident(i))
			} else {
				page.MoreResolved++
			}
		}
	}
	if overview.NoHandler {
		page.Deaf = failure.NothingRecorded
	}
	page.Warnings = s.warnings(&board)
	if more := len(page.Warnings) - maxCards; more > 0 {
		page.Warnings, page.MoreWarnings = page.Warnings[:maxCards], more
	}
	for n := range board.Upstreams {
		if board.Upstreams[n].Reason != "" {
			page.Down++
		}
	}
	recorded := uint64(0)
	for _, n := range overview.Counts {
		recorded += n
	}
	broken, saved := len(s.open.seen), len(s.open.saved)
	switch {
	case broken > 0:
		page.State, page.Headline = stateBroken, quantity(broken, "thing is broken", "things are broken")
		if saved > 0 {
			page.Headline += ", " + quantity(saved, "more is saved by retries", "more are saved by retries")
		}
	case saved > 0:
		page.State, page.Headline = stateSaved, "Retries save every request"
	case len(page.Warnings) > 0:
		page.State, page.Headline = stateWarned, "Nothing is broken, "+quantity(len(page.Warnings)+page.MoreWarnings, "warning", "warnings")
	case overview.NoHandler:
		page.State, page.Headline = stateDeaf, "Nothing is recorded"
	case recorded == 0:
		page.State, page.Headline = stateEmpty, "Nothing has failed"
	default:
		page.State, page.Headline = stateWell, "All is well"
	}
	page.Since = s.momentOf(quiet)
	s.Title, s.Body = page.Headline, page
	s.Open, s.Saved = broken, saved
	var err error
	s.Version, err = versionOf(overview, incidents, board, s.now.Truncate(time.Hour))
	return err
}

func quantity(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + several
}

// failureRow is one failure in a table.
type failureRow struct {
	ID                                     string
	URL                                    string
	Time                                   moment
	Summary                                string
	Site, Upstream, Cause, Outcome, Status link
	// Kind is how bad it is: failed, saved or left.
	Kind string
}

// failuresPage is a page of failures.
type failuresPage struct {
	Form    filterForm
	Told    string // how many are shown
	Filters []filter
	Rows    []failureRow
	Older   string
	Newest  string
	Paged   bool
	Fresh   string // where the script asks whether there are newer ones
	Reload  string // where these are shown
	All     string
	Since   moment
	Kept    string
}

// filter is one that is active; URL leads to the page without it.
type filter struct{ Name, Value, URL string }

func (d *Dashboard) drawFailures(s *sheet, asked asked) error {
	s.Part, s.Template, s.Title = "failures", "failures", "Failures"
	if limit, err := strconv.Atoi(asked.parameters.Get("limit")); err == nil && limit > maxRows {
		return wrong("limit: a page shows at most %d failures; the API gives up to %d", maxRows, failure.MaxLimit)
	}
	found, err := d.query(asked.parameters)
	if err != nil {
		return err
	}
	page := failuresPage{Paged: asked.parameters.Get("before") != "" || asked.parameters.Get("after") != "", All: s.Root + "failures"}
	filters := url.Values{}
	for key, values := range asked.parameters {
		if key != "before" && key != "after" && strings.Join(values, "") != "" { // a form sends what is empty, too
			filters[key] = values
		}
	}
	with := func(name, value string) string {
		changed := maps.Clone(filters)
		if name != "" {
			changed.Set(name, value)
		}
		if len(changed) == 0 {
			return s.Root + "failures"
		}
		return s.Root + "failures?" + changed.Encode()
	}
	page.Filters = s.active("failures", failure.Filters, filters)
	to := func(name, value string) link { return link{value, with(name, value)} }
	for _, f := range found.Failures {
		row := failureRow{
			ID: f.ID, URL: s.ofFailure(f.ID).URL, Time: s.moment(f.Time), Summary: f.Summary,
			Site: to("site", f.Site), Upstream: to("upstream", f.Upstream), Cause: to("cause", f.Cause),
			Outcome: link{outcomeWords(f.Outcome), with("outcome", string(f.Outcome))},
			Kind:    kindOf(f.Outcome),
		}
		if f.Status != 0 {
			row.Status = to("status", strconv.Itoa(f.Status))
		}
		page.Rows = append(page.Rows, row)
	}
	page.Reload = with("", "")
	if found.Next != "" {
		page.Older = with("before", found.Next)
	}
	if !page.Paged && found.Newest != "" {
		page.Fresh = with("after", found.Newest)
	}
	page.Form = s.form("failures", filters, outcomeChoice)
	page.Told = quantity(len(page.Rows), "failure", "failures")
	if page.Older != "" {
		page.Told += ", and there are older ones"
	}
	overview := d.view.Overview()
	page.Since, page.Kept = s.moment(overview.Since), humanize.Comma(int64(overview.KeptCount))
	s.Body = page
	return nil
}

// outcomeWords says how a request ended.
func outcomeWords(outcome failure.Outcome) string {
	return strings.ReplaceAll(string(outcome), "_", " ")
}

// kindOf is how bad an outcome was for who asked.
func kindOf(outcome failure.Outcome) string {
	switch outcome {
	case failure.Rescued:
		return "saved"
	case failure.Abandoned:
		return "left"
	}
	return "failed"
}

// failurePage is one failure.
type failurePage struct {
	Failure  *failure.Failure
	Time     moment
	Report   template.HTML
	Incident *incidentCard
	Compare  *compared
	Ask      string // where its upstream is asked again, "" for nowhere
	Copies   []copied
	Filters  []link
}

// copied is a failure in a form in which it is taken elsewhere.
type copied struct{ ID, Name, What, Text string }

func (d *Dashboard) drawLatest(s *sheet, asked asked) error {
	asked.parameters.Set("limit", "1")
	page, err := d.query(asked.parameters)
	if err != nil {
		return err
	}
	if len(page.Failures) == 0 {
		s.drawNoneYet(asked.parameters, page.Newest)
		return nil
	}
	return d.drawOne(s, page.Failures[0])
}

// noneYet says that no failure passes the filters; Fresh and Reload are as those of a
// failuresPage.
type noneYet struct {
	Filters       []filter
	Fresh, Reload string
	All           string
}

// drawNoneYet is for a link to the newest failure of a kind that may be followed before there
// is one. The API answers 404.
func (s *sheet) drawNoneYet(filters url.Values, newest string) {
	filters.Del("limit")
	query := filters.Encode()
	s.Part, s.Template, s.Title = "failures", "none yet", "None is recorded yet"
	page := noneYet{Filters: s.active("failures/latest", failure.Filters, filters), Reload: s.Root + "failures/latest", All: s.Root + "failures"}
	if query != "" {
		page.Reload += "?" + query
	}
	if newest != "" {
		filters.Set("after", newest)
		page.Fresh = s.Root + "failures?" + filters.Encode()
	}
	s.Body = page
}

func (d *Dashboard) drawFailure(s *sheet, asked asked) error {
	f, ok := d.view.Get(asked.id)
	if !ok {
		return &problem{status: http.StatusNotFound, message: fmt.Sprintf("no failure %+.64q is kept: it has given way to newer ones, was forgotten, or another instance has it", asked.id)}
	}
	return d.drawOne(s, f)
}

func (d *Dashboard) drawOne(s *sheet, f *failure.Failure) error {
	s.Part, s.Template, s.Title = "failures", "failure", f.Summary
	page := failurePage{Failure: f, Time: s.moment(f.Time)}
	lookup := LookupIn(d.view, d.causes)
	here := lookup // with links that lead to pages of ours
	here.FailureURL = func(id string) string { return s.ofFailure(id).URL }
	here.IncidentURL = s.ofIncident
	here.CauseURL = s.about
	var err error
	if page.Report, err = here.HTML(f); err != nil {
		return err
	}
	page.Ask = s.asks(f.Upstream)
	if i, ok := d.view.Incident(f.Incident); ok && f.Incident != "" {
		card := s.incident(&i)
		page.Incident, page.Compare = &card, s.compare(f, i.Probes)
	}
	record, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	var markdown strings.Builder
	if err := lookup.Markdown(&markdown, f); err != nil {
		return err
	}
	page.Copies = []copied{
		{"markdown", "Markdown", "for a ticket", markdown.String()},
		{"json", "JSON", "the whole record", visible(string(record))},
		{"curl", "curl", "which shows it in a terminal", s.curl("failures/" + url.PathEscape(f.ID) + "?format=text")},
	}
	for _, one := range []named{{"site", f.Site}, {"upstream", f.Upstream}, {"cause", f.Cause}, {"host", f.Request.Host}} {
		if one.Value != "" {
			page.Filters = append(page.Filters, link{one.Name + " " + one.Value, s.filtered(one.Name, one.Value)})
		}
	}
	s.Body = page
	return nil
}

// As leads to what the page shows in a format of the API.
func (s *sheet) As(format string) string {
	parameters := withoutSkip(s.asker.URL.Query())
	parameters.Set("format", format)
	return "?" + parameters.Encode()
}

// visible writes out what a browser would obey rather than show, as JSON writes it.
func visible(record string) string {
	var shown strings.Builder
	for _, r := range record {
		switch {
		case r == '\n' || report.Printable(string(r)) == string(r):
			shown.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&shown, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&shown, `\u%04x`, r)
		}
	}
	return shown.String()
}

// curl is the command that asks for a path of the dashboard, for a shell.
func (s *sheet) curl(path string) string {
	mount := s.asker.URL
	mount.RawQuery, mount.Fragment, mount.User = "", "", nil
	escaped := mount.EscapedPath()
	for range 1 + strings.Count(s.Root, "../") {
		escaped = escaped[:max(0, strings.LastIndexByte(escaped, '/'))]
	}
	target := (&url.URL{Scheme: mount.Scheme, Host: mount.Host}).String() + escaped + "/" + path
	command := "curl "
	if s.asker.User != "" {
		command += "-u " + quoted(s.asker.User) + " "
	}
	return command + quoted(target)
}

// quoted is a word for a POSIX shell.
func quoted(word string) string {
	return "'" + strings.ReplaceAll(report.Printable(word), "'", `'\''`) + "'"
}

// row is what the catalogue says of a cause, nil where it has nothing.
func (d *Dashboard) row(name string) *cause.Row {
	for _, row := range d.causes {
		if row.Name == name {
			return row
		}
	}
	return nil
}

// listPage is a part of a list, with where the rest is.
type listPage struct {
	Earlier, Later string
	From, To, Of   int
}

// part is which part of a list of n is asked for.
func (s *sheet) part(path string, asked asked, n int) (page listPage, err error) {
	from := 0
	if value := asked.parameters.Get(skipParameter); value != "" {
		if from, err = strconv.Atoi(value); err != nil || from < 0 {
			return page, wrong("%s: expected how many to leave out, got %+.64q", skipParameter, value)
		}
	}
	from = min(from, n)
	page.From, page.To, page.Of = from, min(n, from+maxRows), n
	to := func(skip int) string {
		values := url.Values{}
		for key, value := range withoutSkip(asked.parameters) {
			values[key] = value
		}
		if skip > 0 {
			values.Set(skipParameter, strconv.Itoa(skip))
		}
		if len(values) == 0 {
			return s.Root + path
		}
		return s.Root + path + "?" + values.Encode()
	}
	if page.From > 0 {
		page.Earlier = to(max(0, from-maxRows))
	}
	if page.To < n {
		page.Later = to(page.To)
	}
	return page, nil
}

// withoutSkip are the parameters that the API knows too, and that say something.
func withoutSkip(parameters url.Values) url.Values {
	rest := url.Values{}
	for key, values := range parameters {
		if key != skipParameter && strings.Join(values, "") != "" {
			rest[key] = values
		}
	}
	return rest
}

// incidentsPage lists incidents.
type incidentsPage struct {
	listPage

	Form      filterForm
	Told      string // how many are shown
	Incidents []incidentCard
	Filters   []filter
}

func (d *Dashboard) drawIncidents(s *sheet, asked asked) error {
	s.Part, s.Template, s.Title = "now", "incidents", "Incidents"
	parameters := withoutSkip(asked.parameters)
	query, err := failure.ParseIncidentQuery(parameters, s.now)
	if err != nil {
		return wrong("%v", err)
	}
	if err := d.knownCauses(query.Cause); err != nil {
		return err
	}
	list := slices.DeleteFunc(slices.Clone(s.allIncidents()), func(i failure.Incident) bool { return !query.Match(&i) })
	slices.SortStableFunc(list, func(a, b failure.Incident) int { return cmp.Compare(rank(&a), rank(&b)) })
	page := incidentsPage{Filters: s.active("incidents", failure.IncidentFilters, parameters)}
	if page.listPage, err = s.part("incidents", asked, len(list)); err != nil {
		return err
	}
	page.Form = s.form("incidents", parameters, stateChoice)
	page.Told = quantity(len(list), "incident", "incidents")
	if page.Earlier != "" || page.Later != "" {
		page.Told += fmt.Sprintf(", %d to %d are shown", page.From+1, page.To)
	}
	for n := page.From; n < page.To; n++ {
		page.Incidents = append(page.Incidents, s.incident(&list[n]))
	}
	s.Body = page
	return nil
}

// active are the filters that are named, each with the page without it.
func (s *sheet) active(path string, names []string, parameters url.Values) (filters []filter) {
	for _, name := range names {
		value := strings.Join(parameters[name], ",")
		if value == "" {
			continue
		}
		without := url.Values{}
		for key, values := range parameters {
			if key != name {
				without[key] = values
			}
		}
		leads := s.Root + path
		if len(without) > 0 {
			leads += "?" + without.Encode()
		}
		filters = append(filters, filter{strings.ReplaceAll(name, "_", " "), value, leads})
	}
	return filters
}

// incidentPage is one incident.
type incidentPage struct {
	incidentCard

	Row     *cause.Row
	Compare *compared
}

func (d *Dashboard) drawIncident(s *sheet, asked asked) error {
	s.Part, s.Template = "now", "incident"
	i, ok := d.view.Incident(asked.id)
	if !ok {
		return &problem{status: http.StatusNotFound, message: fmt.Sprintf("no incident %+.64q is kept", asked.id)}
	}
	card := s.incident(&i)
	card.Whole = true
	row := d.row(i.Cause)
	if kept := s.samples(&i); row != nil && len(kept) > 0 {
		named := *row
		named.Fix.Caddyfile = GuideIn(d.causes)(i.Cause).Sample(kept[0])
		row = &named
	}
	s.Title, s.Body = i.Summary, incidentPage{card, row, s.compareIncident(&i)}
	return nil
}

// upstreamsPage is the board.
type upstreamsPage struct {
	listPage

	Upstreams []upstreamCard
	Filters   []filter
	Warnings  []warningCard
}

// upstreamCard is one upstream.
type upstreamCard struct {
	*failure.UpstreamState

	Name     link
	State    string
	Kind     string
	Why      string
	Failing  *moment
	InFlight string
	Fails    string
	Success  *moment
	Failed   *lastFailed
	Sites    []link
	History  spark
	Open     []incidentCard
	Warned   []warningCard
	Reached  string
	Limits   []named
	Cert     *moment
	Ended    bool // the certificate has
	Asked    *moment
	Given    []address
	Ask      string // where it is asked again, "" for nowhere
}

type lastFailed struct {
	link

	Cause link
	Time  moment
}

type address struct {
	Name    string
	Success *moment
	Failed  *lastFailed
}

func (s *sheet) lastFailed(last *failure.LastFailure) *lastFailed {
	if last == nil {
		return nil
	}
	return &lastFailed{s.ofFailure(last.ID), link{last.Cause, s.about(last.Cause)}, s.moment(last.Time)}
}

func (d *Dashboard) drawUpstreams(s *sheet, asked asked) error {
	s.Part, s.Template, s.Title = "upstreams", "upstreams", "Upstreams"
	parameters := withoutSkip(asked.parameters)
	query, err := failure.ParseBoardQuery(parameters)
	if err != nil {
		return wrong("%v", err)
	}
	board := d.view.Upstreams()
	board.Upstreams = slices.DeleteFunc(board.Upstreams, func(u failure.UpstreamState) bool { return !query.Match(&u) })
	page := upstreamsPage{Filters: s.active("upstreams", failure.BoardFilters, parameters)}
	if page.listPage, err = s.part("upstreams", asked, len(board.Upstreams)); err != nil {
		return err
	}
	incidents := s.allIncidents()
	for n := page.From; n < page.To; n++ {
		page.Upstreams = append(page.Upstreams, s.upstream(&board.Upstreams[n], incidents))
	}
	page.Warnings = s.warnings(&failure.Board{Warnings: board.Warnings})
	s.Body = page
	return nil
}

func (s *sheet) upstream(u *failure.UpstreamState, incidents []failure.Incident) upstreamCard {
	card := upstreamCard{
		UpstreamState: u, Ask: s.asks(u.Upstream), Name: link{u.Upstream, s.filtered("upstream", u.Upstream)}, State: stateOf(u), Why: whyOf(u),
		Failing: s.momentOf(u.FailingSince), Success: s.momentOf(u.LastSuccess), Failed: s.lastFailed(u.LastFailure),
		Warned: s.warnings(&failure.Board{Warnings: u.Warnings}), Cert: s.momentOf(u.CertificateNotAfter),
	}
	card.Ended = u.CertificateNotAfter != nil && u.CertificateNotAfter.Before(s.now)
	if u.InFlight != nil {
		card.InFlight = inFlight(u)
	}
	if u.Fails != nil && u.MaxFails > 0 {
		card.Fails = fmt.Sprintf("%d of %d", *u.Fails, u.MaxFails)
	}
	card.Kind = map[string]string{"full": "bad", "down": "bad", "failing": "bad", "up": "good"}[card.State]
	if card.Kind == "good" && len(u.Warnings) > 0 {
		card.Kind = "warned"
	}
	for _, site := range u.Sites {
		card.Sites = append(card.Sites, link{site, s.Root + "upstreams?" + url.Values{"site": {site}}.Encode()})
	}
	var history [failure.HistoryMinutes]uint32
	for n := range incidents {
		i := &incidents[n]
		if i.Upstream == u.Upstream {
			for minute, number := range i.PerMinute {
				history[minute] += number
			}
		}
		if slices.Contains(u.OpenIncidents, i.ID) {
			card.Open = append(card.Open, s.incident(i))
		}
	}
	card.History = drawHistory(history[:])
	if card.State == "failing" && len(card.Open) > 0 && !slices.ContainsFunc(card.Open, func(i incidentCard) bool { return i.Kind != kindSaved }) {
		card.Kind = kindSaved
	}
	card.Reached = cmp.Or(u.Transport, "another transport")
	if u.Protocol != "" && u.Protocol != u.Transport {
		card.Reached += ", " + u.Protocol
	}
	if u.TLS {
		card.Reached += ", TLS"
	}
	for _, limit := range u.Limits {
		card.Limits = append(card.Limits, named{limit.Name, limitWords(limit)})
	}
	if u.Lookup != nil {
		card.Asked = s.momentOf(&u.Lookup.Time)
		for _, a := range u.Lookup.Addresses {
			card.Given = append(card.Given, address{a.Address, s.momentOf(a.LastSuccess), s.lastFailed(a.LastFailure)})
		}
	}
	return card
}

// causeSection is one cause of the catalogue.
type causeSection struct {
	*cause.Row

	Anchor, Heading string
	ProvenBy        string
	Failures        string
	Rivals          []rival
}

// rival is a cause that looks like another; URL is "" where it is none of the catalogue.
type rival struct{ Name, URL, RuledOutBy string }

func (d *Dashboard) drawCauses(s *sheet, _ asked) error {
	s.Part, s.Template, s.Title = "causes", "causes", "Causes"
	sections := make([]causeSection, 0, len(d.causes))
	for _, row := range d.causes {
		section := causeSection{
			Row: row, Anchor: report.CauseHeading(row.Name, "-"), Heading: row.Name, Failures: s.filtered("cause", row.Name),
		}
		var names []string
		for _, witness := range row.Witnesses {
			names = append(names, witness.Words())
		}
		section.ProvenBy = strings.Join(names, "; ")
		for _, one := range row.Rivals {
			other := rival{Name: one.Cause, RuledOutBy: one.RuledOutBy}
			if d.row(one.Cause) != nil {
				other.URL = "#" + report.CauseHeading(one.Cause, "-")
			}
			section.Rivals = append(section.Rivals, other)
		}
		sections = append(sections, section)
	}
	s.Body = sections
	return nil
}

// soft is a name that may be long, with places where a line may break.
func soft(name string) template.HTML {
	var broken strings.Builder
	for part := range strings.SplitAfterSeq(report.Printable(name), "") {
		broken.WriteString(template.HTMLEscapeString(part))
		if strings.ContainsAny(part, "_/.:-") {
			broken.WriteString("<wbr>")
		}
	}
	return template.HTML(broken.String()) //nolint:gosec // each part is escaped
}

// rowWords are a row's, with what stands in for its placeholders.
func rowWords(text string) string {
	return strings.NewReplacer("{upstream}", "the upstream", "{address}", "the address", "{limit}", "the limit").Replace(text)
}
