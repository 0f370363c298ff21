package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// maxBody bounds what is read of a request's body.
const maxBody = 4 << 10

// probe asks an upstream once more, and answers with what came of it.
func (o *Operator) probe(asked asked) (answer, error) {
	if o.noProbe != "" {
		return answer{}, &problem{status: http.StatusForbidden, message: "asking an upstream again is not allowed here: " + o.noProbe}
	}
	query, err := readQuery(asked.request.Body)
	if err != nil {
		return answer{}, err
	}
	p, err := o.askAgain(asked.request.Context(), query)
	if err != nil {
		return answer{}, err
	}
	return answer{p, func(w io.Writer) error { return writeProbe(w, &p) }}, nil
}

// askAgain asks an upstream once more. What is refused is a problem.
func (o *Operator) askAgain(ctx context.Context, query failure.ProbeQuery) (failure.Probe, error) {
	p, err := o.view.Probe(ctx, query)
	if refused, ok := errors.AsType[*failure.ProbeRefused](err); ok {
		status := map[failure.ProbeRefusal]int{
			failure.ProbeUnknown: http.StatusNotFound, failure.ProbeImpossible: http.StatusBadRequest, failure.ProbeTooOften: http.StatusTooManyRequests,
		}[refused.Why]
		return p, &problem{status: status, message: refused.Message, retryAfter: refused.RetryAfter}
	}
	if err != nil {
		return p, fmt.Errorf("asking again: %w", err)
	}
	return p, nil
}

// readQuery reads a request's body. What it doesn't know it refuses by its name.
func readQuery(body io.Reader) (q failure.ProbeQuery, err error) {
	const expected = `expected {"upstream": "app:8080"}, and site or index where several reverse_proxy handlers lead there`
	text, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	switch {
	case err != nil:
		return q, wrong("the body can't be read: %v", err)
	case len(text) > maxBody:
		return q, wrong("the body is longer than %d bytes: %s", maxBody, expected)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return q, wrong("the body: %s: %s", words(err), expected)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return q, wrong("the body has more than one value: %s", expected)
	}
	if q.Upstream == "" {
		return q, wrong("upstream is missing: %s", expected)
	}
	return q, nil
}

// words are what is wrong with JSON, without the names of Go's types, and not much of what
// was sent.
func words(err error) string {
	if of, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if of.Field == "" {
			return "it is a " + of.Value + " and no object"
		}
		return fmt.Sprintf("%s can't be a %s", of.Field, of.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	switch {
	case errors.Is(err, io.EOF):
		text = "it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		text = "it ends too early"
	}
	if len(text) > 128 {
		text = strings.ToValidUTF8(text[:128], "") + "…"
	}
	return text
}

// writeProbe draws a probe: what it found, then how.
func writeProbe(w io.Writer, p *failure.Probe) error {
	fmt.Fprintf(w, "%s\n\n", report.Printable(p.Summary))
	facts := columns(w)
	row := func(table *tabwriter.Writer, name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, report.Printable(value))
		}
	}
	row(facts, "Well", map[bool]string{true: "yes", false: "no"}[p.OK])
	row(facts, "Cause", p.Cause)
	row(facts, "Phase", string(p.Phase))
	row(facts, "Side", string(p.Side))
	if err := facts.Flush(); err != nil {
		return err
	}
	if p.Advice != "" {
		fmt.Fprintf(w, "\nWhat to do\n  %s\n", report.Printable(p.Advice))
		if p.Cause != "" {
			fmt.Fprintf(w, "  %s\n", report.CauseURL(report.Printable(p.Cause)))
		}
	}
	if len(p.Evidence) > 0 {
		fmt.Fprintln(w, "\nEvidence")
		for _, line := range p.Evidence {
			fmt.Fprintf(w, "  - %s\n", report.Printable(line))
		}
	}
	fmt.Fprintln(w, "\nSteps")
	steps := columns(w)
	for i := range p.Steps {
		s := &p.Steps[i]
		outcome := "ok"
		if !s.OK {
			outcome = "failed"
		}
		fmt.Fprintf(steps, "  %s\t%s\t%s\t%s\n", s.Step, outcome, inMS(s.DurationMS), report.Printable(stepWords(s)))
	}
	if err := steps.Flush(); err != nil {
		return err
	}
	if len(p.Checks) > 0 {
		fmt.Fprintln(w, "\nWhat else is spoken there")
		for i := range p.Checks {
			c := &p.Checks[i]
			fmt.Fprintf(w, "  - %s\n", report.Printable(c.Summary))
			if c.TLS != nil && c.TLS.Certificate != nil {
				fmt.Fprintf(w, "    %s\n", report.Printable(certificateWords(c.TLS.Certificate)))
			}
		}
	}
	if len(p.NotTried) > 0 {
		fmt.Fprintln(w, "\nNot tried")
		for _, one := range p.NotTried {
			fmt.Fprintf(w, "  - %s: %s\n", report.Printable(one.What), report.Printable(one.Why))
		}
	}
	fmt.Fprintln(w)
	row(facts, "Upstream", p.Upstream)
	if p.Address != p.Upstream {
		row(facts, "Address", p.Address)
	}
	row(facts, "Request", fmt.Sprintf("%s %s, Host %s (%s)", p.Request.Method, p.Request.URI, p.Request.Host, map[failure.ProbeBy]string{
		failure.ProbeByDefault: "as this reverse_proxy sends it", failure.ProbeByHealthCheck: "as its active health check",
	}[p.Request.By]))
	handler := strings.Join(p.Proxy.Sites, ", ")
	if handler == "" {
		handler = p.Proxy.Server
	}
	if p.Proxy.Count > 1 {
		handler += fmt.Sprintf(" (index %d of %d that lead there)", p.Proxy.Index, p.Proxy.Count)
	}
	row(facts, "By way of", handler)
	row(facts, "Error", p.Error)
	row(facts, "Time", fmt.Sprintf("%s, took %s", p.Time, inMS(p.DurationMS)))
	return facts.Flush()
}

func inMS(ms failure.Milliseconds) string { return fmt.Sprintf("%g ms", ms) }

// stepWords are what came of a step.
func stepWords(s *failure.ProbeStep) string {
	var words []string
	add := func(format string, value string) {
		if value != "" {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	add("%s", s.Name)
	add("is %s", strings.Join(s.Addresses, ", "))
	add("%s", s.Address)
	if s.Status > 0 {
		words = append(words, fmt.Sprintf("answered %d", s.Status))
	}
	add("in %s", s.Protocol)
	add("by %s", s.Server)
	add("via %s", s.Via)
	if h := s.TLS; h != nil {
		add("%s", h.Version)
		add("ALPN %s", h.ALPN)
		add("asked for %s", h.ServerName)
		if h.Certificate != nil {
			words = append(words, certificateWords(h.Certificate))
		}
	}
	if s.TLS == nil || s.TLS.Certificate == nil || s.TLS.Certificate.Error != s.Error {
		add("%s", s.Error)
	}
	return strings.Join(words, ", ")
}

func certificateWords(c *failure.PeerCertificate) string {
	words := fmt.Sprintf("certificate of %s for %s, issued by %s, until %s", dash(c.Subject), dash(strings.Join(c.Names, ", ")), dash(c.Issuer), c.NotAfter)
	if !c.Verified {
		words += ", not to be trusted: " + c.Error
	}
	return words
}

// writeProbes draws what an incident was and what came of asking its upstream since then.
func writeProbes(w io.Writer, i *failure.Incident) error {
	if len(i.Probes) == 0 {
		return nil
	}
	now := &i.Probes[len(i.Probes)-1]
	fmt.Fprintln(w, "\nAsked again")
	table := columns(w)
	fmt.Fprintf(table, "  before\t%s\t%s\t%s\n", i.LastSeen, report.Printable(i.Cause), report.Printable(i.Summary))
	for n := range i.Probes[:len(i.Probes)-1] {
		writeProbeLine(table, "then", &i.Probes[n])
	}
	writeProbeLine(table, "now", now)
	return table.Flush()
}

func writeProbeLine(w io.Writer, when string, p *failure.Probe) {
	outcome := "well"
	if !p.OK {
		outcome = dash(p.Cause)
	}
	fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", when, p.Time, report.Printable(outcome), report.Printable(p.Summary))
}
