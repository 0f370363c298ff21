package faultlab

import "time"

func waitFaults() []Fault {
	failed := func(name, number, cause, side string, status int, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "wait", Side: side, Outcome: "failed", Status: status,
			Start: start,
		}
	}
	faults := []Fault{
		failed("keepalive_race", "26a", "keepalive_race", "proxy", 502,
			overTCP(answersOnce((*conn).drop), sends(post()), after(warmUp))),
		failed("keepalive_race_reset", "26a", "keepalive_race", "proxy", 502,
			overTCP(answersOnce((*conn).reset), sends(post()), after(warmUp))),
		{
			// Go's transport tries again by itself, for a GET may be sent twice.
			Name: "keepalive_race_get", Number: "26a",
			Cause: "keepalive_race", Phase: "wait", Side: "proxy", Outcome: "rescued", Status: 200,
			Start: overTCP(answersOnce((*conn).drop), after(warmUp)),
		},
		// Long after the request was written it is no race but the application.
		failed("closed_late_on_reused", "26a", "closed_before_response", "upstream", 502,
			overTCP(answersOnce((*conn).dropLate), sends(post()), after(warmUp))),

		failed("closed_unanswered", "16a", "closed_before_response", "upstream", 502, overTCP(closesUnanswered)),
		failed("closed_late", "16a", "closed_before_response", "upstream", 502, overTCP(closesLate)),
		failed("closed_at_accept", "16b", "closed_before_response", "upstream", 502, overTCP(closesAtOnce)),
		failed("closed_unanswered_unix", "16a", "closed_before_response", "upstream", 502, overUnix(closesUnanswered)),
		failed("closed_unanswered_tls", "16a", "closed_before_response", "upstream", 502, overTLS(closesUnanswered)),
		// The same without close_notify, as a process that is killed does.
		failed("cut_unanswered_tls", "16a", "closed_before_response", "upstream", 502, overTLS(cutsUnanswered)),
		failed("reset_unanswered", "17a", "reset_before_response", "upstream", 502, overTCP(resetsUnanswered)),
		failed("reset_unanswered_unix", "17a", "reset_before_response", "upstream", 502, overUnix(closesUnread)),
		failed("reset_unanswered_tls", "17a", "reset_before_response", "upstream", 502, overTLS(resetsUnanswered)),

		failed("response_header_timeout", "22", "response_timeout", "upstream", 504,
			overTCP(neverAnswers, transport("response_header_timeout 200ms"))),
		failed("read_timeout", "23a", "read_timeout", "upstream", 504,
			overTCP(neverAnswers, transport("read_timeout 200ms"))),
		{
			Name: "client_leaves_while_waiting", Number: "30",
			Cause: "client_closed_request", Phase: "wait", Side: "client", Outcome: "abandoned",
			Start: overTCP(neverAnswers, sends(Request{Leave: LeaveReached})),
		},
	}
	for i := range faults {
		if faults[i].Name == "closed_at_accept" {
			faults[i].OrCause = "reset_before_response"
		}
		switch faults[i].Name {
		case "closed_unanswered_unix":
			faults[i].Skip = unless(!onWindows, needsUnixSockets)
		case "reset_unanswered_unix":
			faults[i].Skip = unless(onLinux, needsUnixSockets)
		}
	}
	return faults
}

// lateness is how long an application works before it crashes: longer than any
// round trip on loopback.
const lateness = 250 * time.Millisecond

// drop ends the connection in good order, with all read that came.
func (c *conn) drop() { _ = c.Close() }

func (c *conn) dropLate() {
	c.wait(lateness)
	c.drop()
}

// answersOnce answers the first request of a connection; upon the second it ends
// the connection.
func answersOnce(end func(*conn)) behaviour {
	return func(c *conn) {
		if _, err := c.request(); err != nil {
			return
		}
		c.say(good)
		if _, err := c.request(); err != nil {
			return
		}
		end(c)
	}
}

func closesAtOnce(c *conn) { c.reached() }

func closesUnanswered(c *conn) { _, _ = c.request() }

func closesLate(c *conn) {
	if _, err := c.request(); err == nil {
		c.wait(lateness)
	}
}

func cutsUnanswered(c *conn) {
	_, _ = c.request()
	_ = c.raw.Close()
}

func resetsUnanswered(c *conn) {
	if _, err := c.request(); err == nil {
		c.reset()
	}
}

// closesUnread closes with most of a request unread, which is a reset, on a unix
// socket of Linux too.
func closesUnread(c *conn) {
	if _, err := c.Read(make([]byte, 1)); err == nil {
		c.reached()
	}
}

func neverAnswers(c *conn) {
	if _, err := c.request(); err == nil {
		c.hold()
	}
}
