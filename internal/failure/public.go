package failure

import "time"

// Category is a cause as a visitor may know it: all that the public is told.
type Category string

// The categories.
const (
	CategoryUnavailable     Category = "unavailable"
	CategoryUnreachable     Category = "unreachable"
	CategoryTimeout         Category = "timeout"
	CategoryInvalidResponse Category = "invalid_response"
	CategoryErrorResponse   Category = "error_response"
	CategoryInterrupted     Category = "interrupted"
	CategoryRequest         Category = "request"
	CategoryUnknown         Category = "unknown"
)

// CategoryWords is what a visitor reads of a category.
type CategoryWords struct {
	Category Category
	// Title says what happened, Detail what it means for the visitor.
	Title, Detail string
}

// Categories is the table of categories, in the order in which they are documented. What
// it says has to be true of each cause of the category.
var Categories = []CategoryWords{
	{CategoryUnavailable, "This service is unavailable", "This site cannot hand requests to the server behind it at the moment."},
	{CategoryUnreachable, "The connection to this service failed", "This site could not set up a working connection to the server behind it."},
	{CategoryTimeout, "This service did not answer in time", "This site waited too long for the server behind it."},
	{CategoryInvalidResponse, "This service gave an unusable answer", "The server behind this site answered in a way that could not be used."},
	{CategoryErrorResponse, "This service answered with an error", "The server behind this site answered with an error of its own."},
	{CategoryInterrupted, "This service was interrupted", "The connection to the server behind this site ended before the answer was complete."},
	{CategoryRequest, "This request was not completed", "The request ended, or could not be read, before it was answered."},
	unknown,
}

// unknown stands for every cause of which nothing more is known.
var unknown = CategoryWords{CategoryUnknown, "This request could not be answered", "Something went wrong behind this site."}

// Words returns the row of c.
func (c Category) Words() CategoryWords {
	for _, words := range Categories {
		if words.Category == c {
			return words
		}
	}
	return unknown
}

// Public is all of a failure that anyone may see: no address, no port, no path,
// no version, no raw error, and of the cause its category alone.
type Public struct {
	ID          string
	Time        Timestamp
	Status      int
	Category    Category
	Title       string
	Detail      string
	RequestSent Sent
	// RetryAfter is when it is worth trying again; 0 where nothing is known.
	RetryAfter time.Duration
}

// Public decides what is disclosed of f to those who may not see the details:
// here and nowhere else.
func (f *Failure) Public() Public {
	words := f.Category.Words()
	return Public{
		ID:          f.ID,
		Time:        f.Time,
		Status:      f.Status,
		Category:    f.Category,
		Title:       words.Title,
		Detail:      words.Detail,
		RequestSent: f.RequestSent,
	}
}
