package testcaddy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

var (
	// Words of evidence: that something of an answer came, and that nothing did.
	somethingCame = regexp.MustCompile(`the first byte of an answer came|\b[1-9]\d* bytes? (of the answer )?came|\bbegins with "`)
	nothingCame   = regexp.MustCompile(`no byte of an answer|no byte came|nothing ever came`)
	answerBegan   = regexp.MustCompile(`the first byte of an answer came|the answer begins with "`)
	// An interim answer speaks HTTP, so that whoever listens there is known to.
	interimCame = regexp.MustCompile(`the interim answer \d{3}\b`)
	notHTTP     = regexp.MustCompile(`ha[sd] not answered anything|Docker|https://|speaks TLS|another protocol|PROXY`)
	// answeredBefore is for an attempt that the record doesn't list.
	answeredBefore = regexp.MustCompile(`not listed here, was answered`)
	limitOfRecord  = regexp.MustCompile(`^(?:gave up by|would have waited until|no limit is set:|limit:) (\w+)`)

	neverAnswered = regexp.MustCompile(`did not (begin to )?answer|without an answer|\S sent nothing for`)
	statusNamed   = regexp.MustCompile(`answered (\d{3})\b`)

	// changesProxy is an advice whose first clause is to change an option of reverse_proxy.
	changesProxy = regexp.MustCompile(`^(Set|Remove|Add|Name|Raise|Lower) [^,;.]*\b(tls_\w+|(dial|response_header|expect_continue|read|write)_timeout|lb_\w+|health_\w+|(request|response)_buffers|keepalive|header_up|flush_interval|max_response_header|max_conns_per_host|proxy_protocol|network_proxy|versions)\b`)
)

// Contradictions are what a record says that something else in it denies.
func Contradictions(f *failure.Failure) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	if f.RequestSent == failure.SentYes && !slices.ContainsFunc(f.Attempts, hasAnswer) && matching(f.Evidence, answeredBefore) == "" {
		say("request_sent is yes, and no attempt has a byte of a final answer")
	}

	came, none := matching(f.Evidence, somethingCame), matching(f.Evidence, nothingCame)
	if came != "" && none != "" {
		say("%q beside %q", came, none)
	}
	if interim := matching(f.Evidence, interimCame); interim != "" {
		if denied := matching(append(slices.Clone(f.Evidence), f.Advice), notHTTP); denied != "" || none != "" {
			say("%q beside %q", interim, none+denied)
		}
	}
	for i := range f.Attempts {
		if a := &f.Attempts[i]; a.Cause == f.Cause {
			for _, line := range append(slices.Clone(f.Evidence), f.Summary) {
				if a.Protocol == "h3" && strings.Contains(line, "HTTP/2") || strings.HasPrefix(a.Protocol, "h2") && strings.Contains(line, "HTTP/3") {
					say("%q, and %s was spoken", line, a.Protocol)
				}
			}
		}
	}
	for _, line := range f.Evidence {
		if strings.HasSuffix(line, "…") && !strings.HasSuffix(line, "\"…") { // a quote may be
			say("%q was cut", line)
		}
		if limit := limitOfRecord.FindStringSubmatch(line); limit != nil && (f.Limit == nil || f.Limit.Name != limit[1]) {
			say("%q, and limit is %+v", line, f.Limit)
		}
		if f.Limit != nil && strings.HasPrefix(line, "other limits in force: ") && regexp.MustCompile(`\b`+f.Limit.Name+`\b`).MatchString(line) {
			say("%q, and %s is the one that ended it", line, f.Limit.Name)
		}
	}

	if began := matching(f.Evidence, answerBegan); began != "" && neverAnswered.MatchString(f.Summary) && !strings.Contains(f.Summary, "began to answer") {
		say("the summary %q beside %q", f.Summary, began)
	}
	if named := statusNamed.FindStringSubmatch(f.Summary); named != nil {
		status, _ := strconv.Atoi(named[1])
		switch {
		case f.Received != nil && f.Received.Status != status:
			say("the summary %q, and received is %d", f.Summary, f.Received.Status)
		case !slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool { return a.Status == status }) && f.AttemptCount == len(f.Attempts):
			say("the summary %q, and no attempt has that status", f.Summary)
		}
	}

	switch {
	case f.Side == failure.SideUpstream && changesProxy.MatchString(f.Advice):
		say("it is the upstream's side, and the advice is about the proxy: %q", f.Advice)
	case f.Side == failure.SideProxy && f.Advice == "":
		say("it is the proxy's side, and there is no advice")
	}
	for _, a := range f.Attempts {
		if a.Protocol != "" && a.PhasesMS.DNS != nil && a.PhasesMS.Connect == nil && a.LocalAddress == "" {
			say("an attempt got no further than the lookup, and spoke %s", a.Protocol)
		}
	}
	return found
}

// hasAnswer says that a byte of a final answer came. FastCGI tells of no first byte.
func hasAnswer(a failure.Attempt) bool {
	return a.Status != 0 || a.PhasesMS.Headers != nil || a.Protocol == "fastcgi"
}

func matching(lines []string, words *regexp.Regexp) string {
	i := slices.IndexFunc(lines, words.MatchString)
	if i < 0 {
		return ""
	}
	return lines[i]
}

// consistent checks records that a test sees, each of them once.
func (c *Caddy) consistent(list []*failure.Failure) []*failure.Failure {
	c.T.Helper()
	for _, f := range list {
		for _, text := range Contradictions(f) {
			if _, told := c.told.LoadOrStore(f.ID+text, true); !told {
				c.T.Errorf("the record of %s contradicts itself: %s", f.Cause, text)
			}
		}
	}
	return list
}
