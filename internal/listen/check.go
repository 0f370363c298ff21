package listen

import (
	"sync/atomic"
	"time"
)

// Check is an upstream's active health check, as far as it is repeated here: what the
// health checker itself found is its own. Any number of goroutines may use it.
type Check struct {
	// again has it repeated soon; false says that it can't be now.
	again  func() bool  // nil where none can be
	asked  atomic.Int64 // when it last was, in Unix nanoseconds
	result atomic.Pointer[CheckResult]
}

// CheckResult is what came of one repetition.
type CheckResult struct {
	At time.Time
	// Status is the answer's, 0 for none; Location where a redirect leads to.
	Status   int
	Location string
	// Err is why there was no answer, without what it was asked for.
	Err error
	// PlainHTTP says that TLS was spoken to a port that doesn't.
	PlainHTTP bool
	// Passed says that it would do; BodyRefused that all would but for the body.
	Passed, BodyRefused bool
}

// checkEvery is how often a check is repeated at the most.
const checkEvery = time.Minute

// NewCheck makes a Check that is repeated by again, which must not
// block; nil repeats it never.
func NewCheck(again func() bool) *Check { return &Check{again: again} }

// Ask has the check repeated, at most once a minute. Nobody waits for the result.
func (c *Check) Ask() {
	if c == nil || c.again == nil {
		return
	}
	now, last := time.Now().UnixNano(), c.asked.Load()
	if last != 0 && now-last < int64(checkEvery) || !c.asked.CompareAndSwap(last, now) {
		return
	}
	if !c.again() {
		c.asked.Store(last)
	}
}

// Found hears what came of a repetition.
func (c *Check) Found(r *CheckResult) { c.result.Store(r) }

// Result is what came of the last repetition, nil if there was none.
func (c *Check) Result() *CheckResult {
	if c == nil {
		return nil
	}
	return c.result.Load()
}
