package cause

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// maxTold is how many upstreams of a pool have their own line in the evidence.
const maxTold = 3

// Advice for upstreams that are out.
const (
	adviceCheck   = "Look at the log of an upstream for why it fails what the active check asks (health_uri), or correct the check: it stays out until its check succeeds."
	adviceCircuit = "The circuit breaker lets nobody through until it closes by itself; repair what makes requests fail or slow, or change what trips it."
)

// unhealthy finds what may be said where all upstreams of a pool are out, for one reason
// or for several. now is when that was seen.
func unhealthy(s *listen.Selection, count map[failure.Reason]int, evidence []string, now time.Time) finding {
	f := found(UpstreamsUnhealthy, evidence...)
	switch len(s.Pool) {
	case count[failure.ReasonUnhealthy]:
		f = f.advise(adviceCheck).leavesOpen("why the check fails there (the application, or a server in front of it), and whether it asks for the right thing, can't be told from here: the upstream's log tells")
		if advice := adviceOnCheck(s); advice != "" {
			f.side = failure.SideProxy
			f = f.advise(advice)
		}
		f = nobodyToCheck(s, f)
	case count[failure.ReasonCircuitOpen]:
		f = f.advise(adviceCircuit)
	case count[failure.ReasonFails]:
		f = f.leavesOpen("whether who is out would work by now can't be told from here, for nobody is asked while out; why it failed, the record of its last failure tells")
		lines, nobody := outNow(s)
		f.evidence = append(f.evidence, lines...)
		if nobody {
			f = f.leavesOpen("why nobody listens there (not started, ended, another port or address) can't be told from here: the application's log, and ss -ltnp, tell")
		}
		switch advice := adviceOnCounted(s, now); {
		case advice != "":
			f.side = failure.SideProxy
			f = f.advise(advice)
		case len(s.Pool) == 1 && s.Limits != nil:
			look := "Look at the record of its last failure"
			if nobody {
				look = "Start the application at " + cut(s.Pool[0].Upstream, maxAddress)
			}
			f = f.advise(fmt.Sprintf("%s; with one upstream leave fail_duration out: it sends visitors away for %s after each failure, though nobody else could serve them.", look, ms(s.Limits.FailDuration)))
		}
	}
	return f
}

// outNow says of upstreams on this machine whether somebody listens there now; nobody that
// there is none at any upstream of the pool.
func outNow(s *listen.Selection) (lines []string, nobody bool) {
	listening := 0
	for _, c := range s.Pool {
		at, own := ownAddress(c.Upstream)
		if !own {
			listening++ // it isn't known
			continue
		}
		list, known := host.Listeners()
		if !known {
			return nil, false
		}
		there, words := false, "nobody listens at "
		if _, there = listenerAt(list, at); there {
			words = "somebody listens at "
			listening++
		}
		if len(lines) < maxTold {
			lines = append(lines, words+c.Upstream+" of "+here()+" now")
		}
	}
	return lines, listening == 0
}

// healthEvidence says what puts the upstreams of a pool out: how many failures are enough
// and which answer was one, and what the active checks ask and get.
func healthEvidence(s *listen.Selection, count map[failure.Reason]int, now time.Time) []string {
	if s.Limits == nil {
		return nil
	}
	var lines []string
	if count[failure.ReasonFull] > 0 {
		lines = fullLines(s)
	}
	if count[failure.ReasonFails] > 0 && s.Limits.FailDuration > 0 {
		lines = append(lines, failsLines(s, now)...)
	}
	if count[failure.ReasonUnhealthy] > 0 && s.Limits.Check != nil {
		lines = append(lines, checkLines(s, now)...)
	}
	return lines
}

// fullLines say how many requests at once are enough for who is full.
func fullLines(s *listen.Selection) []string {
	for _, c := range s.Pool {
		switch {
		case c.Reason != failure.ReasonFull || c.MaxRequests == 0:
		case c.MaxRequests == 1:
			return []string{"unhealthy_request_count 1: one request under way is enough"}
		default:
			return []string{"unhealthy_request_count " + strconv.Itoa(c.MaxRequests) + ": as many requests under way are enough"}
		}
	}
	return nil
}

func failsLines(s *listen.Selection, now time.Time) []string {
	enough := "one failure within fail_duration " + ms(s.Limits.FailDuration) + " is enough"
	if s.Limits.MaxFails > 1 {
		enough = "as many failures within fail_duration " + ms(s.Limits.FailDuration) + " are enough"
	}
	lines := []string{"max_fails " + strconv.Itoa(max(1, s.Limits.MaxFails)) + ": " + enough}
	if s.Limits.AnswersCount {
		lines = append(lines, "answers count as failures, too: "+countedWords(s.Limits))
	}
	told := 0
	for _, c := range s.Pool {
		counted := lastCounted(c, s.Limits, now)
		if counted == nil || told == maxTold {
			continue
		}
		told++
		why := "unhealthy_status"
		if !countsByStatus(s.Limits, counted.Status) {
			why = "unhealthy_latency"
		}
		lines = append(lines, fmt.Sprintf("%s: the last answer that counted was %d after %s (%s)", cut(c.Upstream, maxAddress), counted.Status, ms(counted.Latency), why))
	}
	return lines
}

// lastCounted is the last answer of a candidate that counted, nil for none that still does.
func lastCounted(c listen.Candidate, limits *failure.Limits, now time.Time) *listen.Counted {
	counted := c.Past.LastCounted()
	if c.Reason != failure.ReasonFails || counted == nil || now.Sub(counted.At) > limits.FailDuration+time.Second {
		return nil
	}
	return counted
}

func countsByStatus(limits *failure.Limits, status int) bool {
	byStatus := failure.Limits{UnhealthyStatus: limits.UnhealthyStatus}
	return byStatus.Counts(status, 0)
}

// countedWords are the answers that count.
func countedWords(limits *failure.Limits) string {
	var words []string
	if len(limits.UnhealthyStatus) > 0 {
		statuses := make([]string, 0, len(limits.UnhealthyStatus))
		for _, status := range limits.UnhealthyStatus {
			statuses = append(statuses, statusWords(status))
		}
		words = append(words, "unhealthy_status "+strings.Join(statuses, " "))
	}
	if limits.UnhealthyLatency > 0 {
		words = append(words, "unhealthy_latency "+ms(limits.UnhealthyLatency))
	}
	return strings.Join(words, ", ")
}

// statusWords is a status as a Caddyfile has it, that of one digit being a class.
func statusWords(status int) string {
	if status < 10 {
		return strconv.Itoa(status) + "xx"
	}
	return strconv.Itoa(status)
}

// adviceOnCounted is for where what counts is no failure of the upstream: an answer that
// is a visitor's own fault.
func adviceOnCounted(s *listen.Selection, now time.Time) string {
	if s.Limits == nil {
		return ""
	}
	status := 0
	for _, c := range s.Pool {
		counted := lastCounted(c, s.Limits, now)
		if counted == nil || counted.Status >= http.StatusInternalServerError || !countsByStatus(s.Limits, counted.Status) {
			return ""
		}
		status = counted.Status
	}
	return fmt.Sprintf("Take %d out of unhealthy_status: such an answer is about one request, and puts the whole upstream out.", status)
}

func checkLines(s *listen.Selection, now time.Time) []string {
	var lines []string
	for _, c := range s.Pool {
		if c.Reason != failure.ReasonUnhealthy || len(lines) == maxTold {
			continue
		}
		line := checkAsks(s.Limits, c.Upstream)
		if r := c.Check.Result(); r != nil {
			line += ": " + checkGot(r) + ", " + ms(now.Sub(r.At)) + " before"
		} else if c.Check != nil {
			line += ": it is asked again, the next record says what came"
		}
		lines = append(lines, line)
	}
	return lines
}

// checkWords are what a check of a candidate asks for and what came, "" where that isn't
// known.
func checkWords(limits *failure.Limits, c listen.Candidate) string {
	r := c.Check.Result()
	if limits == nil || limits.Check == nil || r == nil {
		return ""
	}
	return cut(failure.Visible(checkAsks(limits, c.Upstream)+": "+checkGot(r)), maxEvidence)
}

// checkAsks is what the active check of an upstream asks for, and what it takes for
// healthy.
func checkAsks(limits *failure.Limits, upstream string) string {
	check := limits.Check
	asks := "the check asks " + check.Method + " " + cut(withoutURLSecrets(orText(check.URI, "/"), true), maxQuoted) + " of " + cut(checkedAt(check, upstream), maxAddress)
	if limits.TLS != nil {
		asks += " over TLS"
	}
	if check.Host != "" {
		asks += " for the Host " + cut(check.Host, maxQuoted)
	}
	expects := "any 2xx"
	switch {
	case check.Status > 9:
		expects = strconv.Itoa(check.Status)
	case check.Status > 0:
		expects = "any " + statusWords(check.Status)
	}
	if check.Body {
		expects += " and looks at the body"
	}
	return asks + ", and expects " + expects
}

// checkedAt is the address that a check asks.
func checkedAt(check *failure.Check, upstream string) string {
	switch {
	case check.Upstream != "":
		return check.Upstream
	case check.Port == 0:
		return upstream
	}
	port := strconv.Itoa(check.Port)
	if host, _, err := net.SplitHostPort(upstream); err == nil {
		return net.JoinHostPort(host, port)
	}
	return "port " + port
}

// checkGot is what came of a check that was repeated.
func checkGot(r *listen.CheckResult) string {
	status := strconv.Itoa(r.Status)
	switch {
	case r.PlainHTTP:
		return "got plain HTTP where TLS was spoken"
	case r.Err != nil && r.Status == 0:
		return "got no answer: " + cut(errorWords(r.Err), maxQuoted)
	case r.Err != nil:
		return "got " + status + ", whose body broke off: " + cut(errorWords(r.Err), maxQuoted)
	case r.BodyRefused:
		return "got " + status + ", whose body does not match health_body"
	case r.Passed:
		return "got " + status + ", which passes"
	case r.Location != "":
		location, _, _ := strings.Cut(r.Location, "?")
		return "got " + status + " to " + said(location)
	}
	return "got " + status
}

// adviceOnCheck is for a pool whose active checks ask for the wrong thing, "" where it
// can't be told of each that they do.
func adviceOnCheck(s *listen.Selection) string {
	if s.Limits == nil || s.Limits.Check == nil {
		return ""
	}
	advice := ""
	for _, c := range s.Pool {
		r := c.Check.Result()
		if r == nil {
			return ""
		}
		if advice = adviceOnResult(s.Limits, r); advice == "" {
			return ""
		}
	}
	return advice
}

// nobodyToCheck is f of a pool in which nothing accepts the connections of the active checks.
// Where these go elsewhere than requests do, it need not be the application that is down.
func nobodyToCheck(s *listen.Selection, f finding) finding {
	if s.Limits == nil || s.Limits.Check == nil {
		return f
	}
	check, elsewhere := s.Limits.Check, 0
	for _, c := range s.Pool {
		r := c.Check.Result()
		if r == nil || r.Err == nil {
			return f
		}
		text := r.Err.Error() // that of a forward proxy says first whose it is
		if !strings.HasPrefix(text, "dial ") || errnoByText(text) != syscall.ECONNREFUSED {
			return f
		}
		if checkedAt(check, c.Upstream) != c.Upstream {
			elsewhere++
		}
	}
	const open = "whether what is to answer the check is down, or listens on another port or address, can't be told from here: its own machine tells (ss -ltnp)"
	switch elsewhere {
	case 0:
		return f.advise("Start the application, or correct its address in reverse_proxy: nothing accepts connections where the check asks, which is where requests go, too. It stays out until its check succeeds.").leavesOpen(open)
	case len(s.Pool):
		option := "health_port"
		if check.Upstream != "" {
			option = "health_upstream"
		}
		f.side = failure.SideProxy
		return f.advise("Correct " + option + ", or let what is to answer the check listen there: nothing accepts connections where the check asks, which is not where requests go. It stays out until its check succeeds.").leavesOpen(open)
	}
	return f
}

// adviceOnScript is for a check of FastCGI that found no script to run: it is sent as it is
// written, and none of the site's directives is run for it.
func adviceOnScript(check *failure.Check, status string) string {
	if check.Rootless {
		return "Set root to the application's folder in php_fastcgi (or in transport fastcgi), and health_uri to a script in it, such as /index.php: the check is answered " + status + ", for neither the site's root nor the rewriting of php_fastcgi counts for it."
	}
	return "Set health_uri to a script itself, such as /index.php: the check is answered " + status + ", for the rewriting that php_fastcgi does for visitors is not done for it."
}

func adviceOnResult(limits *failure.Limits, r *listen.CheckResult) string {
	check, status := limits.Check, strconv.Itoa(r.Status)
	switch {
	case r.PlainHTTP:
		return "Let the check ask a port that speaks TLS as the transport does: set health_port to one, or leave it out."
	case r.Err != nil, r.Passed:
		return ""
	case r.BodyRefused:
		return "Correct health_body, or the page that the check asks for (health_uri): the answer's body does not match."
	case limits.Transport == "fastcgi" && (check.Rootless || !strings.Contains(check.URI, ".php")) && (r.Status == http.StatusForbidden || r.Status == http.StatusNotFound):
		return adviceOnScript(check, status)
	case r.Status >= 300 && r.Status < 400:
		return "Set health_uri to a path that answers by itself and without a login: it is answered " + status + " (or set health_follow_redirects, or health_status 3xx)."
	case slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired}, r.Status):
		return "Set health_uri to a path that needs no login: it is answered " + status + " (or send what it asks for by health_headers)."
	case slices.Contains([]int{http.StatusNotFound, http.StatusGone}, r.Status):
		return "Set health_uri to a path that the application serves: it is answered " + status + "."
	case slices.Contains([]int{http.StatusMethodNotAllowed, http.StatusNotImplemented}, r.Status):
		return "Set health_method to one that the application takes: " + check.Method + " is answered " + status + "."
	case slices.Contains([]int{http.StatusBadRequest, http.StatusMisdirectedRequest}, r.Status):
		return "Send the Host that the application expects by health_headers: the check is answered " + status + ", and sends " + orText(check.Host, "the upstream's address") + "."
	case r.Status >= 200 && r.Status < 300:
		return "Set health_status to what the application answers, which is " + status + ", or leave it out."
	}
	return ""
}
