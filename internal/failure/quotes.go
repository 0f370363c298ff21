package failure

import (
	"iter"
	"strconv"
	"strings"
)

// Quote is something that a text quotes as Go does, and what stands before it.
type Quote struct {
	Before, Quoted string
	// Said is what is quoted. Cut says that the text ends before the quote does.
	Said string
	Cut  bool
}

// Quotes gives what a text quotes, one after the other; Quoted is "" in the last, which has
// what stands behind all of them.
func Quotes(text string) iter.Seq[Quote] {
	return func(yield func(Quote) bool) {
		for {
			before, _, quotes := strings.Cut(text, `"`)
			if !quotes {
				yield(Quote{Before: text})
				return
			}
			text = text[len(before):]
			q := Quote{Before: before}
			var err error
			if q.Quoted, err = strconv.QuotedPrefix(text); err != nil {
				q.Quoted, q.Cut = text, true
			}
			if q.Said, err = strconv.Unquote(q.Quoted); err != nil {
				q.Said = q.Quoted[1:]
			}
			text = text[len(q.Quoted):]
			if !yield(q) {
				return
			}
		}
	}
}
