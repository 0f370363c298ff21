package operator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// compared is how it went when a request failed, beside how it went when the upstream was
// asked again.
type compared struct {
	// Before is nil where no record is kept.
	Before *course
	Now    course
	// Probes are all that are kept, newest first.
	Probes []course
}

// course is how it went, step by step.
type course struct {
	At moment
	OK bool
	// State says how it was, "" where it is known without.
	State   string
	Summary string
	// Cause is why it went wrong.
	Cause link
	// Failure leads to the record.
	Failure link
	Steps   []step
	// Nothing says why there is no step.
	Nothing string
}

// step is a part of it; neither OK nor Failed where it isn't known.
type step struct {
	Name        string
	OK, Failed  bool
	Took, Words string
}

// compareIncident compares an incident's last failure with what came since then; nil where
// its upstream was not asked again.
func (s *sheet) compareIncident(i *failure.Incident) *compared {
	var last *failure.Failure
	if kept := s.samples(i); len(kept) > 0 {
		last = kept[0]
	}
	return s.compare(last, i.Probes)
}

// compare compares a failure with what came since then; nil where its upstream was not asked
// again. Without a failure, there is nothing before.
func (s *sheet) compare(f *failure.Failure, probes []failure.Probe) *compared {
	if len(probes) == 0 {
		return nil
	}
	c := new(compared)
	for n := range slices.Backward(probes) {
		c.Probes = append(c.Probes, s.courseOfProbe(&probes[n]))
	}
	c.Now = c.Probes[0]
	if f != nil {
		before := s.courseOfFailure(f)
		c.Before = &before
	}
	return c
}

func (s *sheet) courseOfProbe(p *failure.Probe) course {
	drawn := course{At: s.moment(p.Time), OK: p.OK, Summary: p.Summary, Nothing: "Nobody was asked.", State: "Not well"}
	if p.OK {
		drawn.State = "Well"
	}
	if p.Cause != "" {
		drawn.Cause = link{p.Cause, s.about(p.Cause)}
	}
	for n := range p.Steps {
		one := &p.Steps[n]
		drawn.Steps = append(drawn.Steps, step{Name: stepName(string(one.Step)), OK: one.OK, Failed: !one.OK, Took: inMS(one.DurationMS), Words: stepWords(one)})
	}
	return drawn
}

func (s *sheet) courseOfFailure(f *failure.Failure) course {
	drawn := course{At: s.moment(f.Time), Summary: f.Summary, Cause: link{f.Cause, s.about(f.Cause)}, Failure: s.ofFailure(f.ID), Nothing: "No upstream was asked."}
	if a := f.FailedAttempt(f.Upstream); a != nil && f.Upstream != "" {
		drawn.Steps = stepsOf(f, a)
	}
	return drawn
}

// stepsOf are the phases of a failed attempt, as the steps of a probe are.
func stepsOf(f *failure.Failure, a *failure.Attempt) (steps []step) {
	failed := f.Phase
	if a.Cause != f.Cause {
		failed = ""
	}
	p := &a.PhasesMS
	for _, part := range []struct {
		name   string
		phases map[failure.Phase]*failure.Milliseconds
		words  []string
	}{
		{"dns", map[failure.Phase]*failure.Milliseconds{failure.PhaseDNS: p.DNS}, nil},
		{"connect", map[failure.Phase]*failure.Milliseconds{failure.PhaseConnect: p.Connect}, []string{a.Address}},
		{"tls", map[failure.Phase]*failure.Milliseconds{failure.PhaseTLS: p.TLS}, nil},
		{"http", map[failure.Phase]*failure.Milliseconds{failure.PhaseSend: p.Send, failure.PhaseWait: p.Wait, failure.PhaseHeaders: p.Headers, failure.PhaseBody: p.Body}, []string{a.Protocol, answeredWith(a.Status)}},
	} {
		total, reached := failure.Milliseconds(0), false
		for _, took := range part.phases {
			if took != nil {
				total, reached = total+*took, true
			}
		}
		_, here := part.phases[failed]
		switch {
		case !reached && !here:
			continue
		case !reached && part.name == "connect" && a.Reused != nil && *a.Reused:
			continue
		}
		words := part.words
		if here {
			words = append(words, a.Error)
		}
		steps = append(steps, step{Name: stepName(part.name), OK: !here && failed != "", Failed: here, Took: inMS(failure.MS(total.Duration())), Words: strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), ", ")})
		if here {
			break
		}
	}
	if failed == "" && len(steps) > 0 { // the last that was reached
		last := &steps[len(steps)-1]
		for n := range steps {
			steps[n].OK = n < len(steps)-1
		}
		last.Failed, last.Words = true, strings.TrimPrefix(last.Words+", "+a.Error, ", ")
	}
	return steps
}

func answeredWith(status int) string {
	if status == 0 {
		return ""
	}
	return fmt.Sprint("answered ", status)
}

// stepName is a step as people call it.
func stepName(name string) string {
	return map[string]string{"dns": "DNS", "connect": "Connect", "tls": "TLS", "http": "HTTP"}[name]
}

// askedPage is what came of asking an upstream again.
type askedPage struct {
	Compare *compared
	// Text is all that was found.
	Text string
	// Incidents are the open ones of the upstream, which keep it.
	Incidents []related
}

func (s *sheet) asked(p *failure.Probe, text string) askedPage {
	page := askedPage{Text: text}
	var last *failure.Failure
	incidents := s.allIncidents()
	for n := range incidents {
		i := &incidents[n]
		if i.Upstream != p.Upstream || i.State != failure.IncidentOpen {
			continue
		}
		page.Incidents = append(page.Incidents, s.related(i))
		if kept := s.samples(i); len(kept) > 0 && (last == nil || last.Time.Before(kept[0].Time.Time)) {
			last = kept[0]
		}
	}
	page.Compare = s.compare(last, []failure.Probe{*p})
	return page
}
