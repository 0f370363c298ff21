package diagnostics

import (
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// dayUpstream is an upstream that changes its ways while its address stays.
type dayUpstream struct {
	t       *testing.T
	address string
	server  *http.Server
}

func (u *dayUpstream) answersBy(handler http.HandlerFunc) {
	u.t.Helper()
	u.stops()
	listener, err := net.Listen("tcp", u.address)
	if err != nil {
		u.t.Fatal(err)
	}
	u.server = &http.Server{Handler: handler}
	u.server.SetKeepAlivesEnabled(false) // so that each request sees how it is now
	go func(s *http.Server) { _ = s.Serve(listener) }(u.server)
}

func (u *dayUpstream) stops() {
	if u.server != nil {
		_ = u.server.Close()
		u.server = nil
	}
}

func well(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// closes ends the connection without an answer.
func closes(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// A day of one upstream: it is well, refuses, closes unanswered, recovers, and flaps. At
// each step the API, the events, the log and the metrics say the same.
func TestADay(t *testing.T) {
	events := recordEvents(t, 20)
	l := testcaddy.NewLogFile(t)
	upstream := &dayUpstream{t: t, address: testcaddy.Dead(t)}
	defer upstream.stops()
	c := testcaddy.StartWith(t, l.OfOurs()+"\n"+subscribed, "upstream_diagnostics {\nsite shop\n}\nreverse_proxy "+upstream.address)
	p := currentProcess()
	core, resolvedLines := observer.New(zap.InfoLevel)
	visit := func(times, status int) {
		t.Helper()
		for range times {
			if answer := c.Get("/order"); answer.Status != status {
				t.Fatalf("got %d, want %d", answer.Status, status)
			}
		}
		c.Idle()
	}
	// The sweep is what looks at a clock, and gets it from here.
	sweepIn := func(d time.Duration) { p.resolveIncidents(zap.New(core), time.Now().Add(d)) }
	check := func(when string, want ...failure.Incident) {
		t.Helper()
		list := incidentsOf(c, "?site=shop&upstream="+upstream.address)
		if len(list) != len(want) {
			t.Fatalf("%s: %d incidents, want %d: %+v", when, len(list), len(want), list)
		}
		for _, w := range want {
			n := slices.IndexFunc(list, func(i failure.Incident) bool { return i.Cause == w.Cause })
			if n < 0 {
				t.Fatalf("%s: no incident of %s", when, w.Cause)
			}
			i, perMinute := list[n], uint64(0)
			for _, count := range i.PerMinute {
				perMinute += uint64(count)
			}
			labels := []string{`site="shop"`, `cause="` + w.Cause + `"`, `upstream="` + upstream.address + `"`}
			counted, isOpen := metricsOf(c), 0.0
			if w.State == failure.IncidentOpen {
				isOpen = 1
			}
			if n := counted.sum("caddy_upstream_failures_total", labels...); n != float64(w.Count) {
				t.Errorf("%s: %v failures of %s are counted", when, n, w.Cause)
			}
			if n := counted.sum("caddy_upstream_incidents_open", labels...); n != isOpen {
				t.Errorf("%s: %v incidents of %s are open", when, n, w.Cause)
			}
			if n := counted.sum("caddy_upstream_incident_duration_seconds_count", labels[1]); n != float64(w.ReopenedCount)+1-isOpen {
				t.Errorf("%s: %v durations of %s are observed", when, n, w.Cause)
			}
			if i.State != w.State || i.Count != w.Count || perMinute != w.Count || i.Outcomes[failure.Failed] != w.Count ||
				i.ReopenedCount != w.ReopenedCount || i.ResolvedBy != w.ResolvedBy || (i.ResolvedAt != nil) != (w.State == failure.IncidentResolved) ||
				uint64(len(i.Samples)) != min(w.Count, failure.MaxSamples) {
				t.Errorf("%s: %+v", when, i)
			}
		}
	}
	told := func(when, name, cause string, count, reopened int) {
		t.Helper()
		e := nextEvent(t, events)
		if e.Name() != name || e.Data["cause"] != cause || number(e.Data["count"]) != count || number(e.Data["reopened_count"]) != reopened {
			t.Errorf("%s: event %s %v", when, e.Name(), e.Data)
		}
	}
	const refused, closed = "connection_refused", "closed_before_response"
	open := func(cause string, count uint64, reopened int) failure.Incident {
		return failure.Incident{Cause: cause, State: failure.IncidentOpen, Count: count, ReopenedCount: reopened}
	}
	over := func(cause string, count uint64, reopened int) failure.Incident {
		return failure.Incident{Cause: cause, State: failure.IncidentResolved, Count: count, ReopenedCount: reopened, ResolvedBy: failure.ResolvedByAnswer}
	}

	upstream.answersBy(well)
	visit(3, http.StatusNoContent)
	sweepIn(time.Minute)
	check("well")

	upstream.stops()
	visit(4, http.StatusBadGateway)
	told("refusing", eventIncidentOpened, refused, 1, 0)
	sweepIn(time.Minute)
	check("refusing", open(refused, 4, 0))

	upstream.answersBy(closes)
	visit(2, http.StatusBadGateway)
	told("closing", eventIncidentOpened, closed, 1, 0)
	sweepIn(time.Minute)
	check("closing", open(refused, 4, 0), open(closed, 2, 0))

	upstream.answersBy(well)
	visit(10, http.StatusNoContent) // the first may come within sameAnswer
	sweepIn(10 * time.Second)
	check("well again, for too short", open(refused, 4, 0), open(closed, 2, 0))
	sweepIn(31 * time.Second)
	told("recovered", eventIncidentResolved, refused, 4, 0)
	told("recovered", eventIncidentResolved, closed, 2, 0)
	check("recovered", over(refused, 4, 0), over(closed, 2, 0))

	// A flap is one failure, from whose first to whose last no time passes.
	lasted := func() float64 {
		return metricsOf(c).sum("caddy_upstream_incident_duration_seconds_sum", `cause="`+refused+`"`)
	}
	before := lasted()
	for flap := 1; flap <= 2; flap++ {
		upstream.stops()
		visit(1, http.StatusBadGateway)
		count := 4 + flap
		told("flapping", eventIncidentOpened, refused, count, flap)
		check("flapping", open(refused, uint64(count), flap), over(closed, 2, 0))
		upstream.answersBy(well)
		visit(10, http.StatusNoContent)
		sweepIn(31 * time.Second)
		told("flapped", eventIncidentResolved, refused, count, flap)
		check("flapped", over(refused, uint64(count), flap), over(closed, 2, 0))
		if sum := lasted(); sum != before {
			t.Errorf("flapped: incidents lasted %v s, before %v s", sum, before)
		}
	}

	// Handlers log the opening, the sweep what is resolved.
	var opened, resolved []string
	for _, line := range l.Entries(incidentMessage) {
		opened = append(opened, line["cause"].(string))
	}
	if want := []string{refused, closed, refused, refused}; !slices.Equal(opened, want) {
		t.Errorf("lines of %v, want of %v", opened, want)
	}
	for _, line := range resolvedLines.FilterMessage(incidentMessage).All() {
		fields := line.ContextMap()
		if fields["state"] != string(failure.IncidentResolved) || fields["resolved_by"] != string(failure.ResolvedByAnswer) {
			t.Errorf("a line: %v", fields)
		}
		resolved = append(resolved, fields["cause"].(string))
	}
	if want := []string{refused, closed, refused, refused}; !slices.Equal(resolved, want) {
		t.Errorf("resolved lines of %v, want of %v", resolved, want)
	}
	select {
	case e := <-events:
		t.Errorf("one event too many: %s %v", e.Name(), e.Data)
	default:
	}
}

// number is that of an event's field.
func number(field any) int {
	n, ok := field.(interface{ Int64() (int64, error) })
	if !ok {
		return -1
	}
	value, err := n.Int64()
	if err != nil {
		return -1
	}
	return int(value)
}
