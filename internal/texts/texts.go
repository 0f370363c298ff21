// Package texts has all that a visitor is told, in each language.
package texts

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Texts is all that a page says in one language. Each field is a key of the language's
// file; what has a {n}, {status} has it in every language.
type Texts struct {
	// Name is the language's own name.
	Name string `json:"name"`

	// The stations of a request's way: each one's name, and its state where it isn't broken.
	You          string `json:"you"`
	Site         string `json:"site"`
	Server       string `json:"server"`
	Route        string `json:"route"`
	Connected    string `json:"connected"`
	Reached      string `json:"reached"`
	NoFaultKnown string `json:"no_fault_known"`

	Situations Situations `json:"situations"`

	NotYourSide string `json:"not_your_side"`
	DoesNotHelp string `json:"does_not_help"`

	// What became of the request. Each has to go along with the detail of the situation:
	// where that tells of a server that was not got at, an earlier attempt was received; a
	// request that did not arrive complete was not sent on complete.
	ReadAgain           string `json:"read_again"`
	NotCarriedOut       string `json:"not_carried_out"`
	MaybeReceived       string `json:"maybe_received"`
	MaybeReceivedBefore string `json:"maybe_received_before"`
	MaybeInPart         string `json:"maybe_in_part"`
	Received            string `json:"received"`
	ReceivedBefore      string `json:"received_before"`
	ReceivedInPart      string `json:"received_in_part"`
	AnsweredWithError   string `json:"answered_with_error"`
	GoBack              string `json:"go_back"`

	ComeBackSeconds Plural `json:"come_back_seconds"`
	ComeBackMinutes Plural `json:"come_back_minutes"`
	ComeBackHours   Plural `json:"come_back_hours"`

	TryAgain   string `json:"try_again"`
	StatusPage string `json:"status_page"`
	Support    string `json:"support"`
	Logo       string `json:"logo"`

	// Reference stands before the reference in a sentence, ReferenceLabel where there is
	// no room for one.
	Reference      string `json:"reference"`
	ReferenceLabel string `json:"reference_label"`
	Copy           string `json:"copy"`
	Copied         string `json:"copied"`
	ErrorNumber    string `json:"error_number"`

	// What the page says while it checks by itself whether the site answers again.
	CheckingIn string `json:"checking_in"`
	Checking   string `json:"checking"`
	IsBack     string `json:"is_back"`
	Paused     string `json:"paused"`
	Pause      string `json:"pause"`
	Resume     string `json:"resume"`
	NoScript   string `json:"no_script"`

	tag   language.Tag
	index int
	// What is asked of the tag for each answer.
	lang, dir, space string
}

// Plural has a text for each form that the language's numbers have (CLDR's cardinal
// plural rules): "one", "other" and the like.
type Plural map[string]string

// Words say what happened: a title, what it means, the state of the station that is
// broken (empty where none is named), and what the visitor can change (or nothing).
type Words struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	State  string `json:"state,omitempty"`
	Help   string `json:"help,omitempty"`
}

// Situations are all that can have happened, as a visitor may know it.
type Situations struct {
	Unavailable     Words `json:"unavailable"`
	Unreachable     Words `json:"unreachable"`
	Timeout         Words `json:"timeout"`
	InvalidResponse Words `json:"invalid_response"`
	ErrorResponse   Words `json:"error_response"`
	Interrupted     Words `json:"interrupted"`
	Request         Words `json:"request"`
	LengthRequired  Words `json:"length_required"`
	TooLarge        Words `json:"too_large"`
	Malformed       Words `json:"malformed"`
	Unknown         Words `json:"unknown"`
	Minimal         Words `json:"minimal"`
}

// Situation is one of them: a category, or what is more to the point.
type Situation int

// The situations.
const (
	Unknown Situation = iota
	Unavailable
	Unreachable
	Timeout
	InvalidResponse
	ErrorResponse
	Interrupted
	Request
	LengthRequired
	TooLarge
	Malformed
	Minimal // no category is told
	SituationCount
)

// SituationOf is what a visitor is told of a category and the status of the answer.
func SituationOf(category failure.Category, status int) Situation {
	switch status { // which is no secret
	case http.StatusLengthRequired:
		return LengthRequired
	case http.StatusRequestEntityTooLarge:
		return TooLarge
	}
	switch category {
	case "":
		return Minimal
	case failure.CategoryUnavailable:
		return Unavailable
	case failure.CategoryUnreachable:
		return Unreachable
	case failure.CategoryTimeout:
		return Timeout
	case failure.CategoryInvalidResponse:
		return InvalidResponse
	case failure.CategoryErrorResponse:
		return ErrorResponse
	case failure.CategoryInterrupted:
		return Interrupted
	case failure.CategoryRequest:
		if status == http.StatusBadRequest {
			return Malformed
		}
		return Request
	}
	return Unknown
}

// Words are those of a situation.
func (t *Texts) Words(s Situation) *Words {
	all := &t.Situations
	switch s {
	case Unavailable:
		return &all.Unavailable
	case Unreachable:
		return &all.Unreachable
	case Timeout:
		return &all.Timeout
	case InvalidResponse:
		return &all.InvalidResponse
	case ErrorResponse:
		return &all.ErrorResponse
	case Interrupted:
		return &all.Interrupted
	case Request:
		return &all.Request
	case LengthRequired:
		return &all.LengthRequired
	case TooLarge:
		return &all.TooLarge
	case Malformed:
		return &all.Malformed
	case Minimal:
		return &all.Minimal
	default:
		return &all.Unknown
	}
}

// Of are the words for what anyone may know of a failure.
func (t *Texts) Of(public failure.Public) *Words {
	return t.Words(SituationOf(public.Category, public.Status))
}

// Again says whether to send the same once more can help.
func (s Situation) Again() bool {
	switch s {
	case LengthRequired, TooLarge, Malformed:
		return false
	}
	return true
}

// ByVisitor says that what happened is, or may be, of the visitor's side.
func (s Situation) ByVisitor() bool {
	switch s {
	case Request, LengthRequired, TooLarge, Malformed, Unknown, Minimal:
		return true
	}
	return false
}

// setTag says which language the texts are in.
func (t *Texts) setTag(tag language.Tag) {
	t.tag, t.lang, t.dir, t.space = tag, tag.String(), "ltr", " "
	switch script, _ := tag.Script(); script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg", "Mand", "Samr":
		t.dir = "rtl"
	}
	switch base, _ := tag.Base(); base.String() {
	case "zh", "ja":
		t.space = ""
	}
}

// Lang is the language as BCP 47 writes it.
func (t *Texts) Lang() string { return t.lang }

// Dir is the direction of its script, as HTML has it: "ltr" or "rtl".
func (t *Texts) Dir() string { return t.dir }

// Space is what stands between two sentences: Chinese and Japanese have none.
func (t *Texts) Space() string { return t.space }

// Index is the place of t among the languages of its Languages, from 0.
func (t *Texts) Index() int { return t.index }

// ComeBack says in the digits of the reference and the status after how long to try
// again, in one unit: seconds below 90 of them, minutes below 90 of those.
func (t *Texts) ComeBack(seconds int64) string {
	switch {
	case seconds < 90:
		return t.count(t.ComeBackSeconds, seconds)
	case seconds < 90*60:
		return t.count(t.ComeBackMinutes, (seconds+30)/60)
	default:
		return t.count(t.ComeBackHours, (seconds+30*60)/3600)
	}
}

func (t *Texts) count(forms Plural, n int64) string {
	text, ok := forms[formOf(t.tag, int(n))]
	if !ok {
		text = forms["other"]
	}
	return strings.Replace(text, "{n}", strconv.FormatInt(n, 10), 1)
}

// Status says an answer's status to a visitor.
func (t *Texts) Status(status int) string {
	return strings.Replace(t.ErrorNumber, "{status}", strconv.Itoa(status), 1)
}

// formNames are the forms as CLDR and our files name them.
var formNames = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

// formOf is the form that a whole number has in a language.
func formOf(tag language.Tag, n int) string {
	return formNames[plural.Cardinal.MatchPlural(tag, n, 0, 0, 0, 0)]
}
