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
	CategoryInterrupted     Category = "interrupted"
	CategoryRequest         Category = "request"
)

// CategoryWords is what a visitor reads of a category.
type CategoryWords struct {
	Category Category
	// Title says what happened, Detail what it means for the visitor.
	Title, Detail string
}

// Categories is the table of categories, in the order in which they are documented.
var Categories = []CategoryWords{
	{CategoryUnavailable, "This service is unavailable", "The server behind this site is not taking requests at the moment."},
	{CategoryUnreachable, "This service cannot be reached", "This site could not connect to the server behind it."},
	{CategoryTimeout, "This service did not answer in time", "The server behind this site took too long."},
	{CategoryInvalidResponse, "This service gave an unusable answer", "The server behind this site answered in a way that could not be understood."},
	{CategoryInterrupted, "This service was interrupted", "The connection to the server behind this site ended before the answer was complete."},
	{CategoryRequest, "The request did not arrive complete", "The request ended before all of it was received."},
}

// Words returns the row of c.
func (c Category) Words() CategoryWords {
	for _, words := range Categories {
		if words.Category == c {
			return words
		}
	}
	return Categories[0]
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
