package page

import (
	"net/http"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// methodClass is what a method means for trying again.
type methodClass int

const (
	reloads  methodClass = iota // GET and HEAD: the browser can do it
	harmless                    // nothing is changed by sending it twice
	changes                     // it may have changed something
	methodClasses
)

// classOf takes a method that it doesn't know as one that changes something.
func classOf(method string) methodClass {
	switch method {
	case http.MethodGet, http.MethodHead:
		return reloads
	case http.MethodOptions, http.MethodTrace, "PROPFIND", "QUERY", "REPORT", "SEARCH":
		return harmless
	default:
		return changes
	}
}

// became says what became of the request, in words that go along with the situation's.
// Where it isn't known whether it was sent, it may have been.
func became(t *texts.Texts, situation texts.Situation, class methodClass, sent failure.Sent, retry bool) string {
	switch {
	case class != changes && (retry || !situation.Again()):
		return "" // when to come back says it all, or what to change
	case class != changes:
		return t.ReadAgain
	case sent == failure.SentNo:
		return t.NotCarriedOut
	}
	maybe, yes := t.MaybeReceived, t.Received
	switch situation {
	case texts.Unavailable, texts.Unreachable:
		maybe, yes = t.MaybeReceivedBefore, t.ReceivedBefore
	case texts.Request, texts.TooLarge, texts.LengthRequired, texts.Malformed:
		maybe, yes = t.MaybeInPart, t.ReceivedInPart
	case texts.ErrorResponse:
		yes = t.AnsweredWithError
	}
	if sent == failure.SentYes {
		return yes
	}
	return maybe
}

// seconds is d in seconds, rounded up.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// Hop is a station on the request's way.
type Hop struct {
	Name, State string
	Broken      bool
}

// hops shows where the way is broken; nil where that isn't known, or not to be told. site
// is the owner's name for it, or "".
func hops(t *texts.Texts, situation texts.Situation, site string) []Hop {
	state := t.Words(situation).State
	if state == "" {
		return nil
	}
	if site == "" {
		site = t.Site
	}
	if situation.ByVisitor() {
		return []Hop{{t.You, state, true}, {site, t.Reached, false}, {t.Server, t.NoFaultKnown, false}}
	}
	return []Hop{{t.You, t.Connected, false}, {site, t.Reached, false}, {t.Server, state, true}}
}
