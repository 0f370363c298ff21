package cause

import (
	"bytes"
	"io"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Over HTTP/2 Go's transport repeats a GET by itself, without a pause and without an end,
// while an upstream takes it over none of its new connections. No limit of the transport
// ends that: who waits leaves, and is not to blame.

// leastTurnedAway is how many new connections there must have been for it to be what each
// one meets: a restart ends fewer.
const leastTurnedAway = 4

// turnedAway finds that an upstream had taken a request over no new connection when the
// client left. It is not what was waited for where the last one had most of the time.
func turnedAway(h *listen.Heard, last *listen.Attempt) finding {
	n, start, goaway := 0, last.Start, true
	for i := len(h.Attempts) - 2; i >= 0; i-- {
		a := &h.Attempts[i]
		if !a.Silent || a.Limits != last.Limits || a.Upstream != last.Upstream || !isHTTP2(tryOf(h, a)) || !alone(a) || a.Connection.Reused {
			break
		}
		n++
		start, goaway = a.Start, goaway && untaken(a) != nil
	}
	t := tryOf(h, last)
	took := elapsed(start, t.end)
	if n < leastTurnedAway || elapsed(last.Start, t.end) > took/4 {
		return nothing
	}
	count, least := int64(n)+1, "at least "
	if n+1 == len(h.Attempts) {
		count, least = int64(h.AttemptCount), ""
	}
	again := "Go's transport repeats by itself what was not taken, over a new connection and without a pause: " + least + counted(count, "attempt") + " in " + ms(took)
	if goaway {
		f := found(Goaway, again, untakenWords).at(failure.PhaseWait)
		f.summary = "{upstream} ended each new connection (GOAWAY) without taking this request, until the client left."
		return f.advise(adviceTurnedAway + avoidance(t)).leavesOpen(openTurnedAway)
	}
	f := found(ClientClosedRequest, append([]string{again}, spoken(t)...)...).at(failure.PhaseWait)
	f.side = failure.SideUpstream
	f.summary = "{upstream} took this request over none of its new connections, until the client left."
	return f.advise(adviceTurnedAway + avoidance(t)).leavesOpen("what ends them was not heard (a GOAWAY before the request, most likely), and " + openTurnedAway)
}

const (
	untakenWords     = "GOAWAY with the error code NO_ERROR: the upstream said that this request was not processed"
	adviceTurnedAway = "Look at the log of the server at {upstream} at this time for why it takes nothing over a new connection of HTTP/2: it may be stopping or overloaded, or fail upon how Caddy begins."
	openTurnedAway   = "a server or a box in between that stops without closing its port, that is overloaded, or that never takes HTTP/2 from Caddy, look the same from here: its log tells"
)

// untaken is the GOAWAY that an upstream sent over a new connection in the clear, by which
// it takes none of its requests; nil for none that was heard.
func untaken(a *listen.Attempt) *http2.GoAwayFrame {
	if !alone(a) {
		return nil
	}
	frames := http2.NewFramer(io.Discard, bytes.NewReader(a.Connection.Opening))
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return nil
		}
		if goaway, ok := frame.(*http2.GoAwayFrame); ok && goaway.LastStreamID == 0 && goaway.ErrCode == http2.ErrCodeNo {
			return goaway
		}
	}
}
