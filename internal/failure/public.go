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

// Categories are all of them, in the order in which they are documented. What a visitor
// is told of one has to be true of each of its causes.
var Categories = []Category{
	CategoryUnavailable, CategoryUnreachable, CategoryTimeout, CategoryInvalidResponse,
	CategoryErrorResponse, CategoryInterrupted, CategoryRequest, CategoryUnknown,
}

// Public is all of a failure that anyone may see: no address, no port, no path,
// no version, no raw error, and of the cause its category alone.
type Public struct {
	ID          string
	Time        Timestamp
	Status      int
	Category    Category
	RequestSent Sent
	// RetryAfter is when it is worth trying again; 0 where nothing is known.
	RetryAfter time.Duration
}

// Public decides what is disclosed of f to those who may not see the details:
// here and nowhere else.
func (f *Failure) Public() Public {
	return Public{
		ID:          f.ID,
		Time:        f.Time,
		Status:      f.Status,
		Category:    f.Category,
		RequestSent: f.RequestSent,
	}
}
