package page

import (
	"fmt"
	"net/http"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// words is all that the page says in one language, besides the category's title
// and detail.
type words struct {
	Lang string

	// MinimalTitle and MinimalDetail stand in for those of every category.
	MinimalTitle, MinimalDetail string
	// YourSideIsFine is said unless the request itself was at fault, or may have been.
	YourSideIsFine string

	// What became of the request. Each has to go along with the detail of the category:
	// where that tells of a service that was not got at, an earlier attempt was received;
	// a request that did not arrive complete was not sent on complete.
	ReadAgain, NotCarriedOut                        string
	MaybeReceived, MaybeReceivedBefore, MaybeInPart string
	Received, ReceivedBefore, ReceivedInPart        string
	AnsweredWithError                               string
	// ComeBack has a %s for the time until then.
	ComeBack                string
	Second, Minute, Hour    string
	Seconds, Minutes, Hours string // with a %d

	// The hops: each one's name and its state.
	HopsLabel, You, Gateway, Service    string
	Connected, Answering, NotComplete   string
	NoFaultKnown                        string
	Broken                              map[failure.Category]string
	TryAgain, Support, StatusPage, Logo string
	Reference                           string
	OperatorsView, NotForVisitors       string
}

var english = words{
	Lang: "en",

	MinimalTitle:   "This request could not be answered",
	MinimalDetail:  "Something went wrong behind this site.",
	YourSideIsFine: "Your own connection and device are fine.",

	ReadAgain:           "You can try again now, or a little later.",
	NotCarriedOut:       "Your request was not carried out, so it is safe to try again.",
	MaybeReceived:       "Your request may have been received. Check whether it took effect before you send it again.",
	MaybeReceivedBefore: "Your request may already have been received. Check whether it took effect before you send it again.",
	MaybeInPart:         "A part of your request may have been sent on. Check whether it took effect before you send it again.",
	Received:            "Your request was received; it may have been carried out. Check before you send it again.",
	ReceivedBefore:      "Your request had already been received; it may have been carried out. Check before you send it again.",
	ReceivedInPart:      "A part of your request was sent on; it may have taken effect. Check before you send it again.",
	AnsweredWithError:   "Your request was received; the answer was an error. Check whether it took effect before you send it again.",
	ComeBack:            "Please try again in about %s.",
	Second:              "1 second", Minute: "1 minute", Hour: "1 hour",
	Seconds: "%d seconds", Minutes: "%d minutes", Hours: "%d hours",

	HopsLabel: "The way of your request", You: "You", Gateway: "Gateway", Service: "Service",
	Connected: "connected", Answering: "answering", NotComplete: "request incomplete",
	NoFaultKnown: "no fault known",
	Broken: map[failure.Category]string{
		failure.CategoryUnavailable:     "not available",
		failure.CategoryUnreachable:     "no connection",
		failure.CategoryTimeout:         "no answer in time",
		failure.CategoryInvalidResponse: "unusable answer",
		failure.CategoryErrorResponse:   "error",
		failure.CategoryInterrupted:     "interrupted",
	},
	TryAgain: "Try again", Support: "Get help", StatusPage: "Service status", Logo: "Logo",
	Reference: "Reference", OperatorsView: "Operator's view", NotForVisitors: "Visitors see nothing of this page.",
}

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

// became says what became of the request, in words that go along with the category's.
// Where it isn't known whether it was sent, it may have been.
func (t *words) became(category failure.Category, class methodClass, sent failure.Sent, retry bool) string {
	switch {
	case class != changes && retry:
		return "" // when to come back says it all
	case class != changes:
		return t.ReadAgain
	case sent == failure.SentNo:
		return t.NotCarriedOut
	}
	maybe, yes := t.MaybeReceived, t.Received
	switch category {
	case failure.CategoryUnavailable, failure.CategoryUnreachable:
		maybe, yes = t.MaybeReceivedBefore, t.ReceivedBefore
	case failure.CategoryRequest:
		maybe, yes = t.MaybeInPart, t.ReceivedInPart
	case failure.CategoryErrorResponse:
		yes = t.AnsweredWithError
	}
	if sent == failure.SentYes {
		return yes
	}
	return maybe
}

// about says d in one unit.
func (t *words) about(d time.Duration) string {
	count := func(n int64, one, many string) string {
		if n == 1 {
			return one
		}
		return fmt.Sprintf(many, n)
	}
	switch seconds := seconds(d); {
	case seconds < 90:
		return count(seconds, t.Second, t.Seconds)
	case seconds < 90*60:
		return count((seconds+30)/60, t.Minute, t.Minutes)
	default:
		return count((seconds+30*60)/3600, t.Hour, t.Hours)
	}
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

// hops shows where the way is broken; nil where that isn't known, or not to be told.
func (t *words) hops(category failure.Category) []Hop {
	switch category {
	case "", failure.CategoryUnknown:
		return nil
	case failure.CategoryRequest:
		return []Hop{{t.You, t.NotComplete, true}, {t.Gateway, t.Answering, false}, {t.Service, t.NoFaultKnown, false}}
	}
	return []Hop{{t.You, t.Connected, false}, {t.Gateway, t.Answering, false}, {t.Service, t.Broken[category], true}}
}
