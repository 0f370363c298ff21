package faultlab

import (
	"bufio"
	"net"
	"time"
)

// lengthFaults are answers that are longer or shorter than they say, and connections that
// somebody takes who can't answer.
func lengthFaults() []Fault {
	const (
		noBody = "HTTP/1.1 204 No Content\r\n\r\n"
		sized  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"
	)
	spoilt := func(name string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "20",
			Cause: "response_length_exceeded", Phase: "headers", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: start,
		}
	}
	return []Fault{
		// Who asks next gets what was left over of the answer before.
		spoilt("after_too_long_an_answer", overTCP(answersAfter(good, "tail"+good), sends(post()), after(warmUp))),
		spoilt("after_too_long_an_answer_tls", overTLS(answersAfter(good, "tail"+good), sends(post()), after(warmUp))),
		spoilt("after_too_long_an_answer_alone", overTCP(answersAfter(good, "\"}\r\n"), sends(post()), after(warmUp))),
		{
			Name: "length_too_short", Number: "20",
			Cause: "response_length_exceeded", Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200, RequestSent: "yes",
			Start: overTCP(answers(sized + "too long")),
		},
		{
			Name: "bytes_after_the_last_chunk", Number: "20",
			Cause: "response_length_exceeded", Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200, RequestSent: "yes",
			Start: overTCP(answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\ntoo long")),
		},
		// Nobody loses anything by these.
		{Name: "body_after_204", Number: "20", Status: 204, Start: overTCP(answers(noBody + "null"))},
		{Name: "line_after_body", Number: "20", Status: 200, Start: overTCP(answers(good + "\r\n"))},
		{
			// The server ends the idle connection, as it would any.
			Name: "length_too_long", Number: "24a",
			Cause: "response_truncated", Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200, RequestSent: "yes",
			Start: overTCP(fallsSilent(sized + "tea")),
		},
		{
			// What accepts hands on to a port on which nobody listens, as docker-proxy does.
			Name: "published_port", Number: "16b",
			Cause: "closed_before_response", OrCause: "reset_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502,
			Start: overTCP(handsOnToNobody),
		},
		{
			// As php-fpm does: it closes on what is no FastCGI, with most of it unread.
			Name: "http_to_fastcgi", Number: "17a",
			Cause: "reset_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Skip:  unless(!onWindows, needsUnixSockets),
			Start: overTCP(readsOneRecord),
		},
		{
			Name: "ended_by_its_own_limit", Number: "16a",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(closesAfterASecond),
		},
	}
}

// answersAfter answers the first request of a connection with one, and each that follows
// with the other.
func answersAfter(first, then string) behaviour {
	return func(c *conn) {
		for reply := first; ; reply = then {
			if _, err := c.request(); err != nil {
				return
			}
			c.say(reply)
			if reply != first {
				return
			}
		}
	}
}

// fallsSilent says reply at once, and closes the connection when nothing follows.
func fallsSilent(reply string) behaviour {
	return func(c *conn) {
		if _, err := c.request(); err == nil {
			c.say(reply)
			c.wait(600 * time.Millisecond)
		}
	}
}

// handsOnToNobody accepts, and closes when it finds nobody to hand the connection to.
func handsOnToNobody(c *conn) {
	c.reached()
	l, err := listenTCP()
	if err != nil {
		return
	}
	address := l.Addr().String()
	_ = l.Close()
	if other, err := net.Dial("tcp", address); err == nil {
		_ = other.Close()
	}
}

// readsOneRecord reads the header of a FastCGI record, and closes on another version.
func readsOneRecord(c *conn) {
	if _, err := bufio.NewReaderSize(c, 16).Peek(8); err == nil {
		c.reached()
	}
}

func closesAfterASecond(c *conn) {
	if _, err := c.request(); err == nil {
		c.wait(time.Second)
	}
}
