package report

import (
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// got is what the client got, in one line.
func (l Lookup) got(f *failure.Failure) string {
	status := func(what string) string { return strings.TrimPrefix(number(f.Status)+", "+what, ", ") }
	switch f.Outcome {
	case failure.Rescued:
		return status("the answer of a later attempt: nothing but the time that it took")
	case failure.Truncated:
		return status("and a part of the upstream's answer, which broke off")
	case failure.Abandoned:
		return "nothing: it left before there was an answer"
	case failure.UpstreamAnswered:
		return status("the upstream's own answer, or this site's page where intercept names that status")
	case failure.Failed:
		if len(l.Visitors) > 0 {
			return status("this site's page: “" + l.Visitors[0] + "”")
		}
		return status("an answer of this site's: “" + texts.English().Of(f.Public()).Title + "”, unless page, template or handle_errors say otherwise")
	}
	return ""
}

// What the words mean by which a failure is told apart.
var (
	outcomeTerms = map[failure.Outcome]string{
		failure.Failed:           "no upstream gave an answer that could be passed on",
		failure.Rescued:          "an attempt failed and a later one succeeded",
		failure.Truncated:        "the answer broke off after its header had been sent",
		failure.Abandoned:        "the client left while the upstream was awaited",
		failure.UpstreamAnswered: "the upstream itself answered with an error",
	}
	phaseTerms = map[failure.Phase]string{
		failure.PhaseSelect:  "it failed before any upstream was asked, when one was to be chosen",
		failure.PhaseDNS:     "it failed when the upstream's name was looked up",
		failure.PhaseConnect: "it failed when the connection was being made",
		failure.PhaseTLS:     "it failed in the TLS handshake, before the upstream reads a request",
		failure.PhaseSend:    "it failed while the request was being sent",
		failure.PhaseWait:    "it failed after the request was sent, before an answer began",
		failure.PhaseHeaders: "it failed in the header of the answer",
		failure.PhaseBody:    "it failed in the body of the answer, after its header",
	}
	sideTerms = map[failure.Side]string{
		failure.SideClient:   "the client ended it: nothing is to be done here",
		failure.SideProxy:    "this Caddy's config has to change",
		failure.SideNetwork:  "what lies between has to change: names, routes, firewalls",
		failure.SideUpstream: "the upstream has to change: its application, its server or its machine",
	}
)

// terms explain the words of a failure, and these alone.
func terms(f *failure.Failure) []fact {
	category := ""
	if f.Category != "" {
		category = "all that visitors are told of the cause: “" + texts.English().Words(texts.SituationOf(f.Category, f.Status)).Title + "”"
	}
	return explained(
		fact{Label: "Outcome " + string(f.Outcome), Value: outcomeTerms[f.Outcome]},
		fact{Label: "Phase " + string(f.Phase), Value: phaseTerms[f.Phase]},
		fact{Label: "Side " + string(f.Side), Value: sideTerms[f.Side]},
		fact{Label: "Category " + string(f.Category), Value: category},
	)
}

// explained are sentences, each with its end.
func explained(facts ...fact) []fact {
	for i := range facts {
		if value := facts[i].Value; value != "" {
			facts[i].Value = strings.ToUpper(value[:1]) + value[1:] + "."
		}
	}
	return facts
}
