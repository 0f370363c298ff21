package cause

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// ending is what ended the trying of one reverse_proxy.
type ending uint8

const (
	endingUnknown ending = iota
	// endingRetries: lb_retries were used up.
	endingRetries
	// endingDuration: lb_try_duration was over.
	endingDuration
	// endingKind: what had failed is of a kind that is not tried again.
	endingKind
)

// endingOf says why a request that failed was not tried again, in the order in which
// reverse_proxy asks (LoadBalancing.tryAgain); it is endingUnknown where no retries are
// configured. last is the attempt that failed last, nil where nobody was ever chosen.
func endingOf(h *listen.Heard, limits *failure.Limits, last *listen.Attempt) ending {
	if limits == nil || limits.Retries == 0 && tryDuration(limits) == 0 {
		return endingUnknown
	}
	tries := triesOf(h, limits)
	switch {
	case limits.Retries > 0 && tries.count > limits.Retries:
		return endingRetries
	case tryDuration(limits) > 0 && tries.lasted+clockGrain >= tryDuration(limits):
		return endingDuration
	case last == nil, last.DialErr, last.HasAnswer(), last.Request == nil:
		return endingUnknown
	case limits.RetriesAnswers || last.Request.Method != http.MethodGet:
		return endingKind
	}
	return endingUnknown
}

// takenForFailure is the evidence for an answer that was whole, and was not passed on.
const takenForFailure = "lb_retry_match takes this answer for a failure: the client got an error of Caddy's instead of it"

// clockGrain is granted to two clocks that were not read at the same moment.
const clockGrain = 2 * time.Millisecond

func tryDuration(limits *failure.Limits) time.Duration {
	setting, _ := limits.Setting(failure.TryDuration)
	return setting.Value
}

// tries are those of one reverse_proxy, the rounds in which it could choose nobody among
// them.
type tries struct {
	count  int
	lasted time.Duration
}

func triesOf(h *listen.Heard, limits *failure.Limits) (t tries) {
	t.count = max(0, h.AttemptCount-len(h.Attempts)) // who made those isn't known
	var from, to time.Duration
	for i := range h.Attempts {
		a := &h.Attempts[i]
		if a.Limits != limits || a.Silent {
			continue
		}
		if to == 0 {
			from = a.Start
		}
		t.count++
		to = max(to, endOf(h, a))
	}
	if h.Selection.Limits == limits && h.Selection.Rounds > 0 {
		t.count += h.Selection.Rounds
		to = max(to, h.Selection.At)
	}
	t.lasted = elapsed(from, to)
	return t
}

// notAgain is a line of evidence about retries that are configured, and didn't help.
func notAgain(h *listen.Heard, v verdict) []string {
	if v.outcome != failure.Failed || v.finding.limit != nil && v.finding.limit.Name == failure.TryDuration {
		return nil
	}
	limits := h.Selection.Limits
	if v.attempt != nil {
		limits = v.attempt.Limits
	}
	why := ""
	switch endingOf(h, limits, v.attempt) {
	case endingRetries:
		why = "lb_retries " + strconv.Itoa(limits.Retries) + " is used up, within " + ms(triesOf(h, limits).lasted)
	case endingDuration:
		why = failure.TryDuration + " " + ms(tryDuration(limits)) + " is over"
	case endingKind:
		why = notOfThisKind(limits, v.attempt)
	default:
		return nil
	}
	return []string{"not tried again: " + why}
}

// notOfThisKind says what retries of limits don't cover.
func notOfThisKind(limits *failure.Limits, a *listen.Attempt) string {
	if limits.RetriesAnswers {
		return "lb_retry_match does not match it"
	}
	set := "lb_retries " + strconv.Itoa(limits.Retries)
	if limits.Retries == 0 {
		set = failure.TryDuration + " " + ms(tryDuration(limits))
	}
	method := failure.Visible(cut(a.Request.Method, maxField))
	if sentBy(a) == failure.SentNo {
		return fmt.Sprintf("of a %s, %s covers only connects that fail (lb_retry_match can name more)", method, set)
	}
	return fmt.Sprintf("a %s had been sent (%s covers only what was not sent, and GET; lb_retry_match can name more)", method, set)
}
