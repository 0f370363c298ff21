package cause

import (
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
			return found(UpstreamLookupFailed, "lookup of "+s.Source+": "+cut(s.LookupErr.Error(), maxEvidence))
		}
		if s.Source != "" {
			return found(UpstreamsMissing, s.Source+" returned none")
		}
		return found(UpstreamsMissing, "no upstream is configured")
	}
	var evidence []string
	var full, unclear bool
	for _, c := range s.Pool {
		switch c.Reason {
		case failure.ReasonFull:
			full = true
		case "":
			unclear = true
			evidence = append(evidence, c.Upstream+": available by now, or refused by the selection policy")
			continue
		}
		evidence = append(evidence, c.Upstream+": "+reasonWords[c.Reason])
	}
	if s.LookupErr != nil {
		evidence = append(evidence, "lookup of "+s.Source+": "+cut(s.LookupErr.Error(), maxEvidence))
	}
	switch {
	case full:
		return found(UpstreamsFull, evidence...)
	case unclear:
		return found(Unknown, evidence...).at(failure.PhaseSelect)
	}
	return found(UpstreamsUnhealthy, evidence...)
}

var reasonWords = map[failure.Reason]string{
	failure.ReasonFails:       "failed too often (max_fails)",
	failure.ReasonUnhealthy:   "unhealthy by its active check",
	failure.ReasonCircuitOpen: "its circuit breaker is open",
	failure.ReasonFull:        "full (unhealthy_request_count)",
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
