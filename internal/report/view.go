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

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// view is a failure in words: every string is printable and stands on one line.
type view struct {
	ID, Summary, Cause, Advice, Docs string
	// Tags are the words by which a failure is filtered.
	Tags     []fact
	Evidence []string
	Attempts []attempt
	// Length is how long the whole waterfall is.
	Length      string
	Phases      []string
	Unavailable []fact
	Facts       []fact
}

// fact is a value with its label.
type fact struct{ Label, Value string }

// attempt is a row of the waterfall.
type attempt struct {
	Number int
	// Skipped is how many attempts before this one the record doesn't keep.
	Skipped int
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

// span is a place in the waterfall, in thousandths of its length.
type span struct{ Start, Width int }

// bar is a phase of an attempt.
type bar struct {
	span
	Phase string
	Took  string
	// Failed says that the attempt failed in this phase.
	Failed bool
}

// thousandths is the length of the whole waterfall, and narrowest the least
// width that can still be seen.
const (
	thousandths = 1000
	narrowest   = 4
)

// look puts f into words.
func look(f *failure.Failure) view {
	v := view{
		ID:      Printable(f.ID),
		Summary: Printable(f.Summary),
		Cause:   Printable(f.Cause),
		Advice:  Printable(f.Advice),
	}
	if f.Cause != "" {
		v.Docs = CauseURL(v.Cause)
	}
	v.Tags = known(
		fact{"Outcome", string(f.Outcome)},
		fact{"Status", number(f.Status)},
		fact{"Phase", string(f.Phase)},
		fact{"Side", string(f.Side)},
		fact{"Category", string(f.Category)},
		fact{"Proxy error", f.ProxyError},
	)
	for _, evidence := range f.Evidence {
		v.Evidence = append(v.Evidence, Printable(evidence))
	}
	v.Attempts, v.Phases, v.Length = waterfall(f)
	for _, u := range f.Unavailable {
		v.Unavailable = append(v.Unavailable, fact{Printable(u.Upstream), Printable(whyUnavailable(u))})
	}
	facts := []fact{
		{"Request sent", sent(f)},
		{"Limit", limit(f.Limit)},
		{"Received", received(f.Received)},
		{"Error", f.Error},
		{"Site", f.Site},
		{"Upstream", f.Upstream},
		{"Request", strings.Join(words(f.Request.Method, f.Request.Host, f.Request.URI, f.Request.Proto), " ")},
		{"Client", client(f.Request)},
	}
	for _, name := range slices.Sorted(maps.Keys(f.Request.Headers)) {
		facts = append(facts, fact{name, strings.Join(f.Request.Headers[name], ", ")})
	}
	v.Facts = known(append(facts,
		fact{"Time", timeOf(f)},
		fact{"Duration", duration(f.DurationMS)},
		fact{"Attempts", number(f.AttemptCount)},
		fact{"Reference", f.ID},
		fact{"Incident", f.Incident},
		fact{"Trace", f.TraceID},
		fact{"Instance", f.Instance},
	)...)
	return v
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
		if last.Upstream != "" && slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool { return a.Upstream != last.Upstream }) {
			who = last.Upstream
		}
	}
	switch {
	case last.Status == 0 && last.PhasesMS.Headers == nil && last.Protocol != "fastcgi":
		return "an upstream began to answer" // one before
	case last.Status == 0, f.Outcome == failure.Truncated, f.Outcome == failure.Abandoned:
		return who + " began to answer"
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
	for _, field := range []fact{
		{"server", r.Server}, {"via", r.Via}, {"retry-after", r.RetryAfter}, {"proxy-status", r.ProxyStatus},
		{"grpc-status", r.GRPCStatus}, {"grpc-message", r.GRPCMessage},
	} {
		if field.Value != "" {
			parts = append(parts, field.Label+": "+field.Value)
		}
	}
	return strings.Join(parts, ", ")
}

func whyUnavailable(u failure.Unavailable) string {
	why := u.Reason.Words()
	if u.Until != nil {
		why += ", until " + u.Until.String()
	}
	if u.LastFailure != "" {
		why += ", last failure " + u.LastFailure
		if u.LastCause != "" {
			why += " (" + u.LastCause + ")"
		}
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

// waterfall makes the rows, lists the phases that occur in them, and says how
// long the whole is.
func waterfall(f *failure.Failure) (rows []attempt, phases []string, length string) {
	total := f.DurationMS
	for _, a := range f.Attempts {
		total = max(total, a.StartMS+a.DurationMS)
	}
	skipped := max(f.AttemptCount-len(f.Attempts), 0)
	seen := map[failure.Phase]bool{}
	for i, a := range f.Attempts {
		row := row(f, a, total)
		row.Number = i + 1
		if i >= failure.MaxAttempts/2 {
			row.Number += skipped
		}
		if i == failure.MaxAttempts/2 {
			row.Skipped = skipped
		}
		for _, bar := range row.Bars {
			seen[failure.Phase(bar.Phase)] = true
		}
		rows = append(rows, row)
	}
	for _, phase := range failure.PhaseOrder {
		if seen[phase] {
			phases = append(phases, string(phase))
		}
	}
	return rows, phases, duration(total)
}

// row draws one attempt of f: its phases one after the other, in their order.
func row(f *failure.Failure, a failure.Attempt, total failure.Milliseconds) attempt {
	drawn := attempt{
		Upstream: Printable(a.Upstream),
		Cause:    Printable(a.Cause),
		Error:    Printable(a.Error),
		Took:     "at " + duration(a.StartMS) + " for " + duration(a.DurationMS),
		Whole:    place(a.StartMS, a.DurationMS, total),
	}
	for _, detail := range details(a) {
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
		})
		start += *phase.took
	}
	if i := failedIn(f, a, drawn.Bars); i >= 0 {
		drawn.Bars[i].Failed = true
	}

	labels := make([]string, 0, len(drawn.Bars))
	for _, bar := range drawn.Bars {
		labels = append(labels, bar.Phase+" "+bar.Took)
	}
	drawn.Label = strings.Join(labels, ", ")
	return drawn
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

// details says how an upstream was reached and what went over the connection.
func details(a failure.Attempt) []string {
	var said []string
	switch {
	case a.LocalAddress != "" && a.Address != "":
		said = append(said, a.LocalAddress+" → "+a.Address)
	case a.Address != "" && a.Address != a.Upstream:
		said = append(said, a.Address)
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
	if a.Errno != "" {
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
