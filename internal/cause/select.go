package cause

import (
	"fmt"
	"net"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Texts of reverse_proxy's own errors, none of which has a type that can be told
// from outside.
const (
	textNoUpstreams    = "no upstreams available"
	textMakingDialInfo = "making dial info: "
	textRetryMatch     = "upstream response matched retry_match"
)

// selectCause finds why nobody could be chosen.
func selectCause(s *listen.Selection) finding {
	if len(s.Pool) == 0 {
		if s.LookupErr != nil {
			return found(UpstreamLookupFailed, lookupEvidence(s))
		}
		if s.Source != "" {
			return found(UpstreamsMissing, s.Source+" returned none")
		}
		return found(UpstreamsMissing, "no upstream is configured")
	}
	count := make(map[failure.Reason]int)
	for _, c := range s.Pool {
		count[c.Reason]++
	}
	evidence := poolEvidence(count, len(s.Pool))
	if s.LookupErr != nil {
		evidence = append(evidence, lookupEvidence(s))
	}
	switch {
	case count[failure.ReasonFull] > 0:
		return found(UpstreamsFull, evidence...)
	case count[""] > 0:
		return found(Unknown, evidence...).at(failure.PhaseSelect)
	case count[failure.ReasonUnhealthy] == len(s.Pool):
		return found(UpstreamsUnhealthy, evidence...).advise("Ask an upstream yourself for what the active check asks (health_uri): it stays out until its check succeeds.")
	case count[failure.ReasonCircuitOpen] == len(s.Pool):
		return found(UpstreamsUnhealthy, evidence...).advise("The circuit breaker lets nobody through until it closes by itself; repair what makes requests fail or slow, or change what trips it.")
	}
	return found(UpstreamsUnhealthy, evidence...)
}

// lookupEvidence is how the dynamic source's lookup failed.
func lookupEvidence(s *listen.Selection) string {
	return "lookup of " + s.Source + ": " + withoutSecrets(asked(s.LookupErr.Error(), s.Resolvers, s.LookupErr))
}

// poolEvidence says how many upstreams could not be chosen for which reason: which one
// has which stands in the record's list, which has a bound.
func poolEvidence(count map[failure.Reason]int, all int) []string {
	var lines []string
	for _, reason := range []failure.Reason{failure.ReasonFails, failure.ReasonUnhealthy, failure.ReasonCircuitOpen, failure.ReasonFull, ""} {
		if n := count[reason]; n > 0 {
			lines = append(lines, fmt.Sprintf("%d of %d upstreams: %s", n, all, reason.Words()))
		}
	}
	return lines
}

// addressIsEmpty says that an upstream's placeholder gave no host, or port 0.
func addressIsEmpty(a *listen.Attempt) bool {
	if strings.HasPrefix(a.Network, "unix") {
		return false
	}
	host, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		return false
	}
	return port == "" || port == "0" || host == "" && strings.HasPrefix(a.Upstream, "{")
}
