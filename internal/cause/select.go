package cause

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
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

// noneOfSeveral is for a source of several that gave nobody. It writes the error of a
// source within it to the log, and goes on.
func noneOfSeveral(s *listen.Selection) finding {
	f := found(UpstreamsMissing, "dynamic multi returned none")
	switch {
	case s.Within == nil:
		f.evidence = append(f.evidence, "it passes over a source of its own that fails")
		return f.advise("Look whether dynamic multi has any source in it, then in Caddy's log at this time for errors of its sources, and at what they return.").
			leavesOpen("whether it has no source, or their lookups failed or gave nobody, can't be told from here: the config and Caddy's log tell")
	case len(s.Within) == 0:
		f.evidence = append(f.evidence, "no source is named in it")
		return f.advise("Name a source in dynamic multi, such as a or srv: it has none to ask.").
			leavesOpen("whether none was written, or what makes the config gave none, can't be told from here: the config as it runs tells (curl localhost:2019/config/)")
	}
	names := make([]string, 0, maxTold)
	for _, name := range s.Within[:min(len(s.Within), maxTold)] {
		names = append(names, cut(name, maxAddress))
	}
	line := "it asks " + strings.Join(names, ", ")
	if more := len(s.Within) - len(names); more > 0 {
		line += " and " + strconv.Itoa(more) + " more"
	}
	f.evidence = append(f.evidence, line+", and passes over one that fails")
	return f.advise("Look in Caddy's log at this time for errors of the sources within dynamic multi, and ask their names by hand (dig).").
		leavesOpen("whether their lookups failed, or succeeded and gave nobody, can't be told from here: Caddy's log tells")
}

// selectCause finds why nobody could be chosen.
func selectCause(h *listen.Heard) finding {
	s, now := &h.Selection, h.Start.Add(h.Duration)
	if len(s.Pool) == 0 {
		if s.LookupErr != nil {
			f := found(UpstreamLookupFailed, lookupEvidence(s))
			if words := notFoundWords(s.LookupErr); words != nil {
				f.evidence = append(f.evidence, words...)
				f.summary = "The lookup of the upstreams (dynamic {upstream}) found none."
				return f.advise("Ask the resolver in the evidence for the name by hand (dig), and correct the name after dynamic, or what that resolver has under it: a container that does not run has no name.").
					leavesOpen("whether the name after dynamic is wrong, is missing at that resolver, or another resolver should be asked can't be told from here: dig tells")
			}
			lookup, ok := errors.AsType[*net.DNSError](s.LookupErr)
			server := askedServerOf(s.Resolvers, "resolvers of dynamic", lookup)
			switch {
			case !ok:
				return f.leavesOpen("why it failed can't be told from here: the error, and Caddy's log, tell")
			case lookup.IsTimeout:
				return server.silent(f.leavesOpen(DNSTimeout.Undecided))
			}
			return server.ofContainer(server.failed(f, lookup), lookup)
		}
		if s.Source == "multi" || strings.HasPrefix(s.Source, "multi ") {
			return noneOfSeveral(s)
		}
		if s.Source != "" {
			return found(UpstreamsMissing, "dynamic "+s.Source+" returned none").advise("Look at what the dynamic source returns: its lookup succeeded, and gave nobody.")
		}
		return found(UpstreamsMissing, "no upstream is configured, and none is looked up").advise("Name an upstream in reverse_proxy.").
			leavesOpen("whether none was written, or a variable of the Caddyfile ({$NAME}) or what makes the config gave none, can't be told from here: the config as it runs tells (curl localhost:2019/config/)")
	}
	count := make(map[failure.Reason]int)
	for _, c := range s.Pool {
		count[c.Reason]++
	}
	evidence := poolEvidence(count, len(s.Pool))
	if s.LookupErr != nil {
		evidence = append(evidence, lookupEvidence(s))
	}
	evidence = append(evidence, healthEvidence(s, count, now)...)
	switch {
	case count[failure.ReasonFull] > 0:
		return found(UpstreamsFull, evidence...)
	case count[""] > 0:
		return found(Unknown, evidence...).at(failure.PhaseSelect)
	}
	return unhealthy(s, count, evidence, now)
}

// lookupEvidence is how the dynamic source's lookup failed.
func lookupEvidence(s *listen.Selection) string {
	return "dynamic " + s.Source + ": " + withoutSecrets(asked(s.LookupErr.Error(), s.Resolvers, s.LookupErr))
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

// dialInfoCause is that of an upstream's address which reverse_proxy could make no dial
// info of. Its words have the value, which may be the client's and is not kept: what is
// wrong with it is.
func dialInfoCause(a *listen.Attempt, text string) finding {
	f := found(DialAddressInvalid)
	text, ok := strings.CutPrefix(text, textMakingDialInfo+"upstream "+a.Upstream+": ")
	if !ok || !strings.Contains(a.Upstream, "{") {
		return f.leavesOpen(openPlaceholder)
	}
	const setBy = " Look at what sets the placeholder in the upstream's address in reverse_proxy."
	if strings.HasPrefix(text, "dial address must represent precisely one socket: ") {
		f.evidence = append(f.evidence, "the placeholder gave something, with a range of ports in it")
		return ofRequest(a, f).advise("Let the placeholder give one port, not a range." + setBy)
	}
	reason := ""
	for _, known := range [...]struct{ says, means string }{
		{": invalid start port: ", "a port that is no number from 1 to 65535"},
		{": invalid end port: ", "a range of ports that is none"},
		{": invalid port: longer than ", "a port that is too long"},
		{": end port must not be less than start port", "a range of ports that is none"},
		{": port range exceeds ", "a range of ports"},
		{": too many colons in address", "too many colons for a host and a port, as an IPv6 address without brackets has"},
		{": missing ']' in address", "a bracket that is not closed"},
	} {
		if strings.Contains(text, known.says) {
			if reason != "" && reason != known.means {
				return f.leavesOpen(openPlaceholder) // the value has such words in it
			}
			reason = known.means
		}
	}
	if reason == "" {
		return f.leavesOpen(openPlaceholder)
	}
	f.evidence = append(f.evidence, "the placeholder gave something, and it has "+reason)
	return ofRequest(a, f).advise("Let the placeholder give one host and one port." + setBy)
}

// fromClient are placeholders of what a client sends.
var fromClient = regexp.MustCompile(`\{http\.request\.(header|cookie|uri|orig_uri|body)[.}_]`)

// ofRequest says whose what a placeholder gave may be.
func ofRequest(a *listen.Attempt, f finding) finding {
	if !fromClient.MatchString(a.Upstream) {
		return f
	}
	f.evidence = append(f.evidence, ofTheRequest)
	return f.leavesOpen("whether the client, or something in front of Caddy, sent it so can't be told from here")
}

const ofTheRequest = "the placeholder is of the request: unless something in front or this config sets it, each client chooses where Caddy connects to"

// openPlaceholder is for where nothing tells what a placeholder gave.
const openPlaceholder = "whether the placeholder gave nothing, or something that is not one host and port, can't be told from here: what sets it tells"

// advicePlaceholderEmpty is for an address of which a placeholder left nothing.
const advicePlaceholderEmpty = "Look at what sets the placeholder in the upstream's address in reverse_proxy: give it a default, or refuse requests for which it is empty."

// emptyCause is that of an address that lacks its host or its port.
func emptyCause(a *listen.Attempt) finding {
	f := found(DialAddressInvalid, "the address that was dialled: "+quote([]byte(a.Address)))
	if !strings.Contains(a.Upstream, "{") {
		return f
	}
	if fromClient.MatchString(a.Upstream) {
		f.evidence = append(f.evidence, ofTheRequest)
		f = f.leavesOpen("whether the client left it out, what ought to set it did (in front of Caddy, or a line of this config), or the placeholder names another than is sent, can't be told from here")
	}
	host, port, err := net.SplitHostPort(a.Address)
	noPort := port == "" || port == "0"
	switch {
	case err == nil && host == "" && noPort:
		f.evidence = append(f.evidence, "it has no host and no port: the placeholder gave nothing for this request")
		return f.advise(advicePlaceholderEmpty)
	case a.Address == "":
		f.evidence = append(f.evidence, "the placeholder gave nothing for this request")
		return f.advise(advicePlaceholderEmpty)
	case err == nil && host == "":
		f.evidence = append(f.evidence, "it has a port, and no host")
	case err == nil && noPort:
		f.evidence = append(f.evidence, "it has a host, and no port")
	}
	return f
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

var UpstreamsUnhealthy = &Row{
	Name: "upstreams_unhealthy", Category: failure.CategoryUnavailable, ProxyError: "destination_unavailable",
	Phase: failure.PhaseSelect, Side: failure.SideUpstream,
	Summary:      "No upstream is healthy, so none was tried.",
	Advice:       "Look at the last failure of each upstream in the list; fail_duration and max_fails say how long one stays out.",
	Meaning:      "Every upstream of the pool is marked as unhealthy, so Caddy answered without trying one. The fault that counts is the one that marked them.",
	RecognisedBy: "reverse_proxy chose nobody, and each upstream of the pool is out by max_fails, by its active check or by its circuit breaker; the record lists each one's reason. The evidence says how many failures are enough and which answer was one, and what the check asks and gets: it is repeated for that, so that the first record may lack what came.",
	Witnesses:    []Witness{WitnessPast, WitnessAsked, WitnessReceived},
	UsualReasons: []string{
		"the application is down, or failed max_fails times within fail_duration",
		"the health check asks for a path that the application does not serve, or with a Host that it refuses",
		"one slow or broken request after another counts against a single upstream, with max_fails at its default of 1",
	},
	Fix: Fix{
		Caddy:          "With one upstream, leave fail_duration out: nobody else could serve the request. With several, raise max_fails or shorten fail_duration if single failures put a good one out. Let the request wait for one with lb_try_duration.",
		Caddyfile:      inProxyTo("app1:8080 app2:8080", "max_fails 3", "fail_duration 10s", "lb_try_duration 5s"),
		CaddyfileAlone: inProxy("lb_try_duration 5s"),
		Docker:         "Look with docker compose ps whether the container runs or restarts in a loop, and let Caddy start after it: depends_on with condition: service_healthy.",
		Application:    "Repair what the last failure of each upstream says; make the path of the health check cheap, and let it answer 200 without a login.",
	},
	Rivals: []Rival{
		{"upstreams_full", "no upstream in unavailable has the reason full"},
		{"upstreams_missing", "unavailable lists at least one upstream"},
	},
}

var UpstreamsFull = &Row{
	Name: "upstreams_full", Category: failure.CategoryUnavailable, ProxyError: "connection_limit_reached",
	Phase: failure.PhaseSelect, Side: failure.SideProxy,
	Summary:      "Every healthy upstream has as many requests as it may have.",
	Advice:       "Raise unhealthy_request_count, add upstreams, or let requests wait with lb_try_duration.",
	Meaning:      "At least one upstream is healthy, but has as many requests in flight as it may have, and all others are full or unhealthy. Nobody was tried.",
	RecognisedBy: "reverse_proxy chose nobody, and at least one upstream of the pool had reached unhealthy_request_count; the record lists each one's reason.",
	Witnesses:    []Witness{WitnessAsked},
	Undecided:    "whether more visitors, slower answers or none, requests that stay open (WebSocket, event streams, slow clients), or a limit that is too low fill the slots can't be told from here: the application's own times tell",
	UsualReasons: []string{
		"more visitors than usual, or a slow application whose requests pile up",
		"unhealthy_request_count is lower than what the application can do",
		"long-lived requests (WebSocket, event streams) fill the slots",
	},
	Fix: Fix{
		Caddy:       "Raise unhealthy_request_count, add upstreams, or let requests wait for a free slot.",
		Caddyfile:   inProxy("unhealthy_request_count 200", "lb_try_duration 5s"),
		Docker:      "Run more containers of the service (docker compose up --scale app=3) and let dynamic a find them.",
		Application: "Find out which requests take long; give the application more workers.",
	},
	Rivals: []Rival{
		{"upstreams_unhealthy", "at least one upstream in unavailable has the reason full"},
		{"upstream_status", "the request was sent to nobody: attempts is empty and received is left out"},
	},
}

var UpstreamsMissing = &Row{
	Name: "upstreams_missing", Category: failure.CategoryUnavailable, ProxyError: "destination_not_found",
	Phase: failure.PhaseSelect, Side: failure.SideProxy,
	Summary:      "There is no upstream to choose from.",
	Advice:       "Name an upstream in reverse_proxy, or look at what its dynamic source returns.",
	Meaning:      "The pool was empty: no upstream is configured, or the dynamic source found none.",
	RecognisedBy: "reverse_proxy chose nobody, its pool was empty, and no lookup of a dynamic source failed.",
	Witnesses:    []Witness{WitnessAsked, WitnessError},
	UsualReasons: []string{
		"the DNS name of a dynamic source exists, but has no records of the kind asked for",
		"a service that is scaled to zero",
		"a config made by a generator, without upstreams",
	},
	Fix: Fix{
		Caddy:       "Name an upstream, or correct the name that the dynamic source looks up.",
		Caddyfile:   inProxyTo("", "dynamic a app 8080"),
		Docker:      "Start the service (docker compose up -d app); the name of a service without running containers has no addresses.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"upstream_lookup_failed", "the lookup gave no error, and the evidence has none"},
		{"upstreams_unhealthy", "unavailable is left out, for there was nobody to list"},
	},
}

var UpstreamLookupFailed = &Row{
	Name: "upstream_lookup_failed", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
	Phase: failure.PhaseSelect, Side: failure.SideNetwork,
	Summary:      "The lookup of the upstreams (dynamic {upstream}) failed.",
	Advice:       "Ask the resolver for the name by hand, and check the name and the resolvers of dynamic.",
	Meaning:      "The upstreams come from a dynamic source, and its lookup failed. Caddy had no earlier result to go on with, and tried nobody.",
	RecognisedBy: "The dynamic source returned an error, and the pool was empty; the evidence quotes the lookup and its error.",
	Witnesses:    []Witness{WitnessError, WitnessAsked},
	UsualReasons: []string{
		"the name does not exist, often just after a deployment",
		"the resolver is down, or refuses to answer",
		"the resolvers line names a server that does not know the internal zone",
	},
	Fix: Fix{
		Caddy:       "Correct the name or the resolvers; for SRV records, grace_period keeps the last result while lookups fail.",
		Caddyfile:   inProxyTo("", "dynamic srv _http._tcp.app.internal {", "\tresolvers 10.0.0.2", "\tgrace_period 1m", "}"),
		Docker:      "Put Caddy on the network of the service: Docker's resolver, 127.0.0.11, answers only for names of networks that the container is on.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"upstreams_missing", "the evidence has the lookup's error; an empty answer has none"},
		{"dns_name_not_found", "the phase is select and attempts is empty: no upstream had been chosen"},
		{"dns_server_failed", "the phase is select and attempts is empty: no upstream had been chosen"},
		{"dns_timeout", "the phase is select and attempts is empty: no upstream had been chosen"},
	},
}

var DialAddressInvalid = &Row{
	Name: "dial_address_invalid", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
	Phase: failure.PhaseSelect, Side: failure.SideProxy,
	Summary:      "{upstream} does not give an address that can be dialled.",
	Advice:       "Check the placeholder in the upstream's address in reverse_proxy: it is empty, or not one host and port.",
	Meaning:      "The upstream's address could not be made into one host and one port, mostly because a placeholder in it was empty. Nothing was connected.",
	RecognisedBy: "reverse_proxy refused to make dial info of the address, or the address that was dialled has no host or port 0; the evidence quotes it.",
	Witnesses:    []Witness{WitnessError, WitnessAsked},
	UsualReasons: []string{
		"an environment variable or a map that sets no value for this request",
		"a placeholder that holds a whole URL, or a range of ports",
		"a header of the client's that is used as an address and is missing",
	},
	Fix: Fix{
		Caddy:       "Give the placeholder a default, so that it is never empty.",
		Caddyfile:   "reverse_proxy {$APP_HOST:app}:8080",
		Docker:      "Set the variable in the environment of Caddy's container, not of the application's.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"dns_name_not_found", "no name was looked up: attempts has no dns phase"},
		{"connection_refused", "the address in the evidence has no host or port 0, on which nobody can listen"},
	},
}
