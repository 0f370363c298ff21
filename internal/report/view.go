package report

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// view is a failure in words: every string is printable and stands on one line, but for the
// lines of Guide.Caddyfile.
type view struct {
	Summary, Cause, Advice, Docs string
	// Tags are the words by which a failure is filtered, Terms what each of them means.
	Tags, Terms []fact
	// Got is what the client got, in one line; Visitors what it read there.
	Got      string
	Guide    Guide
	Evidence []string
	Attempts []attempt
	// Took is how long the request took, Length how long the waterfall's axis is.
	Took, Length string
	Ticks        []tick
	Phases       []string
	Unavailable  []unavailable
	Groups       []group
	Visitors     []string
}

// group are facts about one thing.
type group struct {
	Name  string
	Facts []fact
}

// fact is a value with its label.
type fact struct {
	Label, Value string
	// URL is where more is said of it, Time the time that it is; "" for neither.
	URL, Time string
}

// attempt is a row of the waterfall.
type attempt struct {
	Number int
	// Skipped is how many attempts before this one the record doesn't keep.
	Skipped int
	// Role says whose attempt it was, where it is another's than the record is about.
	Role string
	// Upstream, then how it was reached: address, connection, protocol.
	Upstream string
	Path     []string
	// Cause is empty for an attempt that worked.
	Cause, Error string
	// Took says when the attempt began and how long it took.
	Took string
	// Whole is the attempt's place in the waterfall, Bars its phases.
	Whole span
	Bars  []bar
	// Label tells the bars in words.
	Label string
}

// FailedAt is where the attempt failed: at the end of the phase in which it did, and where
// that isn't known at its own end; "" for one that worked.
func (a attempt) FailedAt() string {
	if a.Cause == "" {
		return ""
	}
	for _, bar := range a.Bars {
		if bar.Failed {
			return bar.End()
		}
	}
	return a.Whole.End()
}

// unavailable is an upstream that could not be selected.
type unavailable struct {
	Upstream, Reason string
	// Until is when it may be selected again, More how long that is from the failure on.
	Until, More string
	// Last is what its last failure was, LastID that failure's id.
	Last, LastCause, LastID, LastURL string
	Check                            string
}

// span is a place in the waterfall, in thousandths of its length.
type span struct{ Start, Width int }

// X, Middle, End and Wide are the place as SVG has it.
func (s span) X() string      { return percent(s.Start) }
func (s span) Middle() string { return percent(s.Start + s.Width/2) }
func (s span) End() string    { return percent(s.Start + s.Width) }
func (s span) Wide() string   { return percent(s.Width) }

func percent(thousandths int) string {
	return strconv.FormatFloat(float64(thousandths)/10, 'f', -1, 64) + "%"
}

// bar is a phase of an attempt.
type bar struct {
	span
	Phase string
	// Took is how long it took, Label also says when it began.
	Took, Label string
	// Failed says that the attempt failed in this phase.
	Failed bool
}

// Named says whether the phase's name fits into its bar, on a phone too.
func (b bar) Named() bool { return b.Width >= 220 }

// tick is a point of the axis.
type tick struct {
	At    int
	Label string
}

func (t tick) X() string { return percent(t.At) }

// Anchor is the side of its point on which the label stands, so that none leaves the axis.
func (t tick) Anchor() string {
	switch {
	case t.At == 0:
		return "start"
	case t.At > 940:
		return "end"
	}
	return "middle"
}

// thousandths is the length of the whole waterfall, and narrowest the least
// width that can still be seen.
const (
	thousandths = 1000
	narrowest   = 8
)

// look puts f into words.
func (l Lookup) look(f *failure.Failure) view {
	v := view{
		Summary:  Printable(f.Summary),
		Cause:    Printable(f.Cause),
		Advice:   Printable(f.Advice),
		Guide:    l.guide(f),
		Got:      Printable(l.got(f)),
		Visitors: l.visitors(f),
		Took:     duration(f.DurationMS),
	}
	if f.Cause != "" {
		if v.Docs = found(l.CauseURL, v.Cause); v.Docs == "" {
			v.Docs = CauseURL(v.Cause)
		}
	}
	v.Tags = known(
		fact{Label: "Outcome", Value: string(f.Outcome)},
		fact{Label: "Status", Value: number(f.Status)},
		fact{Label: "Phase", Value: string(f.Phase)},
		fact{Label: "Side", Value: string(f.Side)},
		fact{Label: "Category", Value: string(f.Category)},
	)
	v.Terms = known(terms(f)...)
	for _, evidence := range f.Evidence {
		v.Evidence = append(v.Evidence, Printable(evidence))
	}
	v.waterfall(f)
	for _, u := range f.Unavailable {
		v.Unavailable = append(v.Unavailable, l.unavailable(f, u))
	}
	v.Groups = l.groups(f)
	return v
}

// groups are the facts that nothing before them has told.
func (l Lookup) groups(f *failure.Failure) []group {
	request := []fact{
		{Label: "Asked", Value: strings.Join(words(f.Request.Method, f.Request.Host, f.Request.URI, f.Request.Proto), " ")},
		{Label: "Request sent", Value: sent(f)},
		{Label: "Client", Value: client(f.Request)},
	}
	for _, name := range slices.Sorted(maps.Keys(f.Request.Headers)) {
		request = append(request, fact{Label: name, Value: strings.Join(f.Request.Headers[name], ", ")})
	}
	upstream := []fact{
		{Label: "Configured", Value: unlessAttempted(f, f.Upstream, func(a failure.Attempt) string { return a.Upstream })},
		{Label: "Limit", Value: limit(f.Limit)},
		{Label: "Received", Value: received(f.Received)},
		{Label: "Error", Value: unlessAttempted(f, f.Error, func(a failure.Attempt) string { return a.Error })},
	}
	identity := []fact{
		{Label: "Reference", Value: f.ID},
		{Label: "Time", Value: timeOf(f), Time: timeOf(f)},
		{Label: "Site", Value: f.Site},
	}
	if f.ProxyError != f.Cause {
		identity = append(identity, fact{Label: "Proxy error", Value: f.ProxyError})
	}
	if len(f.Attempts) == 0 { // else the waterfall tells
		identity = append(identity, fact{Label: "Duration", Value: duration(f.DurationMS)})
	}
	identity = append(identity,
		fact{Label: "Incident", Value: f.Incident, URL: found(l.IncidentURL, f.Incident)},
		fact{Label: "Trace", Value: f.TraceID},
		fact{Label: "Instance", Value: f.Instance},
	)
	groups := make([]group, 0, 3)
	for _, one := range []group{{"Request", known(request...)}, {"Upstream", known(upstream...)}, {"Record", known(identity...)}} {
		if len(one.Facts) > 0 {
			groups = append(groups, one)
		}
	}
	return groups
}

// unlessAttempted is a value that no attempt has: the waterfall tells those.
func unlessAttempted(f *failure.Failure, value string, of func(failure.Attempt) string) string {
	if slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool { return of(a) == value }) {
		return ""
	}
	return value
}

// known leaves out what isn't known, and makes the rest printable.
func known(facts ...fact) []fact {
	kept := facts[:0]
	for _, one := range facts {
		if one.Value == "" {
			continue
		}
		one.Label, one.Value = Printable(one.Label), Printable(one.Value)
		kept = append(kept, one)
	}
	return kept
}

// words leaves out those that are empty.
func words(all ...string) []string {
	kept := all[:0]
	for _, word := range all {
		if word != "" {
			kept = append(kept, word)
		}
	}
	return kept
}

func sent(f *failure.Failure) string {
	switch f.RequestSent {
	case failure.SentNo:
		if n := len(f.Attempts); n > 0 && f.Attempts[n-1].Status != 0 {
			return "no: what answered " + statusOf(f.Attempts[n-1]) + " did not process it, so trying again is safe"
		}
		if len(f.Attempts) == 0 {
			return "no: no upstream was asked, so trying again is safe"
		}
		return "no: the upstream did not process it, so trying again is safe"
	case failure.SentMaybe:
		if n := len(f.Attempts); n > 0 && f.Attempts[n-1].Status != 0 {
			return "maybe: who answered " + statusOf(f.Attempts[n-1]) + " may be another than the upstream, and nothing tells who had the request"
		}
		if slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool { return a.PhasesMS.Headers != nil }) {
			return "maybe: bytes of it left, and what came back is no answer to it, so the upstream may have processed it"
		}
		if !slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool { return a.PhasesMS.Send != nil }) {
			return "maybe: there was a connection, and what was sent over it is not known, so the upstream may have processed it"
		}
		return "maybe: bytes of it left and no final answer came back, so the upstream may have processed it"
	case failure.SentYes:
		return "yes: " + answered(f)
	default:
		return string(f.RequestSent)
	}
}

// answered says who answered, and how far: the last attempt's upstream, for the record's
// own may be one that never did.
func answered(f *failure.Failure) string {
	who, last := "the upstream", failure.Attempt{}
	if n := len(f.Attempts); n > 0 {
		last = f.Attempts[n-1]
		if last.Upstream != "" && (last.Role != "" || slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool { return a.Upstream != last.Upstream })) {
			who = last.Upstream
		}
	}
	switch {
	case last.Status == 0 && last.PhasesMS.Headers == nil && last.Protocol != "fastcgi":
		return "an upstream began to answer" // one before
	case last.Status == 0, f.Outcome == failure.Truncated, f.Outcome == failure.Abandoned:
		return who + " began to answer"
	}
	if last.Role == failure.RoleOtherProxy {
		return who + " answered " + statusOf(last) + " to another reverse_proxy, before this one was reached"
	}
	return who + " answered " + statusOf(last)
}

// statusOf is an answer's status as it came.
func statusOf(a failure.Attempt) string {
	if a.Protocol == "http/1.1" {
		return fmt.Sprintf("%03d", a.Status) // there it has three digits
	}
	return strconv.Itoa(a.Status)
}

func limit(l *failure.Limit) string {
	if l == nil {
		return ""
	}
	value := l.Name
	if l.ValueMS != nil {
		value += " " + duration(*l.ValueMS)
	}
	if l.ValueBytes > 0 {
		value += " " + strconv.FormatInt(l.ValueBytes, 10) + " bytes"
	}
	switch l.Source {
	case failure.LimitConfigured:
		return value + " (configured)"
	case failure.LimitDefault:
		return value + " (Caddy's default)"
	case failure.LimitAbsent:
		return "no limit is set: " + l.Name
	default:
		return value
	}
}

func received(r *failure.Received) string {
	if r == nil {
		return ""
	}
	parts := words(number(r.Status))
	for _, field := range [][2]string{
		{"server", r.Server}, {"via", r.Via}, {"retry-after", r.RetryAfter}, {"proxy-status", r.ProxyStatus},
		{"grpc-status", r.GRPCStatus}, {"grpc-message", r.GRPCMessage},
	} {
		if field[1] != "" {
			parts = append(parts, field[0]+": "+field[1])
		}
	}
	return strings.Join(parts, ", ")
}

// unavailable puts u into words, as it was when f happened.
func (l Lookup) unavailable(f *failure.Failure, u failure.Unavailable) unavailable {
	said := unavailable{
		Upstream: Printable(u.Upstream),
		Reason:   Printable(u.Reason.Words()),
		Check:    Printable(u.Check),
	}
	if u.Reason == failure.ReasonFails || u.Reason == failure.ReasonCircuitOpen { // others aren't out because of it
		said.Last, said.LastCause = found(l.Summary, u.LastFailure), Printable(u.LastCause)
		said.LastID, said.LastURL = Printable(u.LastFailure), found(l.FailureURL, u.LastFailure)
	}
	if u.Until == nil {
		return said
	}
	said.Until = u.Until.String()
	if rest := u.Until.Sub(f.Time.Time); rest > 0 && !f.Time.IsZero() {
		said.More = "for " + duration(failure.MS(rest)) + " more"
	}
	return said
}

// text is u as one sentence, after its name.
func (u unavailable) text() string {
	why := u.Reason
	switch {
	case u.More != "":
		why += ", " + u.More + " (until " + u.Until + ")"
	case u.Until != "":
		why += ", until " + u.Until
	}
	if u.LastID != "" {
		why += "; last failure " + u.LastID
		if u.LastCause != "" {
			why += " (" + u.LastCause + ")"
		}
		why += prefixed(": ", u.Last)
	}
	if u.Check != "" {
		why += "; " + u.Check
	}
	return why
}

func client(r failure.Request) string {
	if r.ClientIP != "" && r.RemoteIP != "" && r.ClientIP != r.RemoteIP {
		return r.ClientIP + " by way of " + r.RemoteIP
	}
	return cmp.Or(r.ClientIP, r.RemoteIP)
}

func timeOf(f *failure.Failure) string {
	if f.Time.IsZero() {
		return ""
	}
	return f.Time.String()
}

// waterfall makes the rows, all on one axis, and lists the phases that occur in them.
func (v *view) waterfall(f *failure.Failure) {
	total := f.DurationMS
	for _, a := range f.Attempts {
		total = max(total, a.StartMS+a.DurationMS)
	}
	v.Length, v.Ticks = duration(total), ticks(total)
	seen := map[failure.Phase]bool{}
	for i, a := range f.Attempts {
		row := row(f, a, total)
		row.Number = f.AttemptNumber(i)
		if i > 0 {
			row.Skipped = row.Number - v.Attempts[i-1].Number - 1
		}
		if i > 0 && row.Skipped == 0 && a.Upstream == f.Attempts[i-1].Upstream && a.Error == f.Attempts[i-1].Error {
			row.Error = "" // the one before has said it
		}
		for _, bar := range row.Bars {
			seen[failure.Phase(bar.Phase)] = true
		}
		v.Attempts = append(v.Attempts, row)
	}
	for _, phase := range failure.PhaseOrder {
		if seen[phase] {
			v.Phases = append(v.Phases, string(phase))
		}
	}
}

// mostTicks is into how many parts an axis is divided at most.
const mostTicks = 6

// ticks are the points of an axis of that length, in round numbers.
func ticks(total failure.Milliseconds) []tick {
	points := []tick{{Label: "0"}}
	if !(total > 0) || math.IsInf(float64(total), 0) {
		return points
	}
	step := roundStep(total / mostTicks)
	for at := step; at <= total && len(points) <= mostTicks; at = step * failure.Milliseconds(len(points)) {
		points = append(points, tick{scale(at, total), tickLabel(at)})
	}
	return points
}

// roundStep is the first round number that isn't less than least.
func roundStep(least failure.Milliseconds) failure.Milliseconds {
	const second, minute, hour, day = 1000, 60_000, 3_600_000, 24 * 3_600_000
	unit, factors := failure.Milliseconds(math.Pow(10, math.Floor(math.Log10(float64(least))))), []failure.Milliseconds{1, 2, 2.5, 5, 10}
	switch { // beyond some seconds, people count in sixties
	case least > 12*hour:
		return day * failure.Milliseconds(math.Ceil(float64(least/day)))
	case least > 30*minute:
		unit, factors = hour, []failure.Milliseconds{1, 2, 3, 4, 6, 12}
	case least > 30*second:
		unit, factors = minute, []failure.Milliseconds{1, 2, 5, 10, 20, 30}
	case least > 10*second:
		unit, factors = second, []failure.Milliseconds{20, 30}
	}
	for _, factor := range factors {
		if unit*factor >= least*0.999999 { // what Pow gives isn't exact
			return unit * factor
		}
	}
	return least
}

// tickLabel is a round number as people read it: exactly, and without zeros at its end (2m,
// not 2m0s).
func tickLabel(at failure.Milliseconds) string {
	exactly := func(value failure.Milliseconds) string { return strconv.FormatFloat(float64(value), 'g', 6, 64) }
	switch {
	case at < 1000:
		return exactly(at) + " ms"
	case at < 60_000:
		return exactly(at/1000) + " s"
	}
	return withoutZeros(at.Duration().Round(time.Second))
}

// row draws one attempt of f: its phases one after the other, in their order.
func row(f *failure.Failure, a failure.Attempt, total failure.Milliseconds) attempt {
	drawn := attempt{
		Role:     Printable(a.Role.Words()),
		Upstream: Printable(a.Upstream),
		Cause:    Printable(a.Cause),
		Error:    Printable(a.Error),
		Took:     placed(a.StartMS, a.DurationMS),
		Whole:    place(a.StartMS, a.DurationMS, total),
	}
	for _, detail := range details(f, a) {
		drawn.Path = append(drawn.Path, Printable(detail))
	}

	start := a.StartMS
	for _, phase := range phasesOf(a.PhasesMS) {
		if phase.took == nil {
			continue
		}
		drawn.Bars = append(drawn.Bars, bar{
			span:  place(start, *phase.took, total),
			Phase: string(phase.name),
			Took:  duration(*phase.took),
			Label: string(phase.name) + ": " + placed(start, *phase.took),
		})
		start += *phase.took
	}
	if i := failedIn(f, a, drawn.Bars); i >= 0 {
		drawn.Bars[i].Failed = true
	}

	labels := make([]string, 0, len(drawn.Bars))
	for _, bar := range drawn.Bars {
		label := bar.Phase + " " + bar.Took
		if bar.Failed {
			label += " (failed here)"
		}
		labels = append(labels, label)
	}
	drawn.Label = strings.Join(labels, ", ")
	return drawn
}

// placed says when something began and how long it took.
func placed(start, took failure.Milliseconds) string {
	at := duration(start)
	if start >= 1000 && start < 60_000 { // finer than a duration: what is a moment apart stands apart
		at = rounded(float64(start)/1000, 100) + " s"
	}
	return "started at " + at + ", took " + duration(took)
}

// failedIn is the bar of the phase in which an attempt failed, -1 where it isn't known:
// that of the record where it speaks of this attempt, else the last that was reached,
// unless an answer came.
func failedIn(f *failure.Failure, a failure.Attempt, bars []bar) int {
	if a.Cause == "" {
		return -1
	}
	if a.Cause == f.Cause {
		if i := slices.IndexFunc(bars, func(b bar) bool { return b.Phase == string(f.Phase) }); i >= 0 {
			return i
		}
	}
	if a.Status != 0 {
		return -1
	}
	return len(bars) - 1
}

type phase struct {
	name failure.Phase
	took *failure.Milliseconds
}

func phasesOf(p failure.Phases) []phase {
	return []phase{
		{failure.PhaseDNS, p.DNS},
		{failure.PhaseConnect, p.Connect},
		{failure.PhaseTLS, p.TLS},
		{failure.PhaseSend, p.Send},
		{failure.PhaseWait, p.Wait},
		{failure.PhaseHeaders, p.Headers},
		{failure.PhaseBody, p.Body},
	}
}

// details says how an upstream was reached and what went over the connection. An address
// that is the upstream's name isn't said again, nor an errno that the evidence names.
func details(f *failure.Failure, a failure.Attempt) []string {
	var said []string
	address := a.Address
	if strings.HasSuffix(a.Upstream, address) { // behind a scheme, or unix/
		address = ""
	}
	switch {
	case a.LocalAddress != "" && address != "":
		said = append(said, a.LocalAddress+" → "+address)
	case a.LocalAddress != "":
		said = append(said, "from "+a.LocalAddress)
	case address != "":
		said = append(said, "at "+address)
	}
	if a.Reused != nil {
		switch {
		case !*a.Reused:
			said = append(said, "new connection")
		case a.IdleMS != nil:
			said = append(said, "reused after "+duration(*a.IdleMS)+" idle")
		default:
			said = append(said, "reused connection")
		}
	}
	said = append(said, words(a.Protocol)...)
	if a.Status != 0 {
		said = append(said, "status "+statusOf(a))
	}
	if a.Errno != "" && !slices.ContainsFunc(f.Evidence, func(line string) bool { return strings.Contains(line, a.Errno) }) {
		said = append(said, a.Errno)
	}
	if a.TLSAlert != nil {
		said = append(said, fmt.Sprintf("TLS alert %d (%s)", *a.TLSAlert, strings.TrimPrefix(tls.AlertError(*a.TLSAlert).Error(), "tls: ")))
	}
	if a.RequestBytes != nil {
		said = append(said, "read "+size(*a.RequestBytes)+" of the request body")
	}
	switch {
	case a.ResponseBytes != nil && a.ResponseBytesExpected != nil:
		said = append(said, "received "+size(*a.ResponseBytes)+" of "+size(*a.ResponseBytesExpected))
	case a.ResponseBytes != nil:
		said = append(said, "received "+size(*a.ResponseBytes))
	}
	return said
}

// place puts a time into the waterfall. Whatever a record says, a bar stays
// inside of it and can be seen.
func place(start, took, total failure.Milliseconds) span {
	return inside(scale(start, total), scale(took, total))
}

func inside(start, width int) span {
	start = min(max(start, 0), thousandths-narrowest)
	return span{Start: start, Width: min(max(width, narrowest), thousandths-start)}
}

func scale(part, total failure.Milliseconds) int {
	share := float64(part) / float64(total)
	if math.IsNaN(share) || share < 0 {
		return 0
	}
	return int(math.Round(min(share, 1) * thousandths))
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
