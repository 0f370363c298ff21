package cause

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An interim answer (1xx) is no answer yet, but who sends one speaks HTTP and has the
// request: what would explain that nobody there read it is refuted.

// interimWords are a status as people read it: 103 (Early Hints).
func interimWords(status int) string {
	words := strconv.Itoa(status)
	if text := http.StatusText(status); text != "" {
		words += " (" + text + ")"
	}
	return words
}

// interimLine says which interim answer came, and what that proves. A server answers 100
// as soon as it has the header, mostly without its application.
func interimLine(t *try) string {
	has := "the request"
	if t.Interim == http.StatusContinue {
		has = "the request's header"
	}
	return "the interim answer " + interimWords(int(t.Interim)) + " came, which is no final one: the upstream speaks HTTP, and its server has " + has
}

// endedAfterInterim is for a connection that was ended after an interim answer: only who
// works on the request can tell why.
func endedAfterInterim(t *try, f finding) finding {
	ended := "closed the connection"
	switch {
	case f.row == ResetBeforeResponse:
		ended = "reset the connection"
	case t.protocol == protocolHTTP3 && t.is(io.EOF, io.ErrUnexpectedEOF): // see streamUnanswered
		ended = "ended the request's stream"
	}
	f.summary = "{upstream} sent the interim answer " + interimWords(int(t.Interim)) + ", and then " + ended + " without a final one."
	if took := elapsed(sent(t), t.end); took >= time.Second {
		known := *t
		known.Attempt = new(*t.Attempt)
		known.Before = nil // it has spoken, whether it has ever finished or not
		return ownLimit(&known, f, took)
	}
	or, limit := " or a timeout of its own", "a limit of its own, "
	if atOnce := elapsed(sent(t), t.end) <= bound(t); atOnce { // no timeout is as short
		or, limit = " or a restart", "a restart, "
	}
	between := inBetween(t)
	if t.Interim == http.StatusContinue {
		return f.advise("Look at the upstream's log at this time for a crash, a killed worker" + or + ": its server had answered 100 (Continue), to go on with the request.").leavesOpen("why it ended this can't be told from here (a crash, a killed worker, " + limit + "a refusal, " + between + ", code that takes 100 for the answer): its log tells")
	}
	if t.protocol == protocolHTTP3 && t.is(io.EOF, io.ErrUnexpectedEOF) {
		f = streamUnanswered(f)
		f.summary = "{upstream} sent the interim answer " + interimWords(int(t.Interim)) + ", and then " + ended + " without a final one."
		return f
	}
	return f.advise("Look at the application's log at this time for a crash, a killed worker" + or + ": it had the request, and came no further than " + strconv.Itoa(int(t.Interim)) + ". If nothing of that is there, its code takes " + strconv.Itoa(int(t.Interim)) + " for the answer, and closes.").leavesOpen("why it ended this can't be told from here (a crash, a killed worker, " + limit + between + ", code that takes " + strconv.Itoa(int(t.Interim)) + " for the answer): its log tells")
}

// noFinal says of what a line tells that did not come that it is of a final answer, where
// an interim one did.
func noFinal(t *try, line string) string {
	if t.Interim == 0 {
		return line
	}
	return strings.NewReplacer("an answer", "a final answer", "no answer", "no final answer").Replace(line)
}
