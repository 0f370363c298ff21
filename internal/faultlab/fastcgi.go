package faultlab

import (
	"encoding/binary"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Types of FastCGI's records (FastCGI specification, section 8).
const (
	fcgiEndRequest = 3
	fcgiStdin      = 5
	fcgiStdout     = 6
	fcgiHead       = 8 // bytes
)

func fastCGIFaults() []Fault {
	failed := func(name, cause, phase, side string, status int, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "36",
			Cause: cause, Phase: phase, Side: side, Outcome: "failed", Status: status,
			Start: start,
		}
	}
	truncated := func(name, cause string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "36b",
			Cause: cause, Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200,
			Start: start,
		}
	}
	const (
		whole = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
		part  = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nthe first part\n"
	)
	missing := func(path string) (string, error) { return path, nil }
	faults := []Fault{
		failed("fastcgi_refused", "connection_refused", "connect", "upstream", 502, refused(fastCGI())),
		failed("fastcgi_socket_missing", "socket_not_found", "connect", "upstream", 502, onPath(missing, fastCGI())),
		failed("fastcgi_socket_stale", "connection_refused", "connect", "upstream", 502, onPath(staleSocket, fastCGI())),
		failed("fastcgi_connect_timeout", "connect_timeout", "connect", "network", 502, unheard(fastCGI("dial_timeout 300ms"))),
		failed("fastcgi_backlog_full", "socket_backlog_full", "connect", "upstream", 502, tcpBacklogFull(fastCGI("dial_timeout 300ms"))),
		{
			// Caddy answers 499 with an error, and counts it against the upstream.
			Name: "fastcgi_client_leaves_while_dialling", Number: "61",
			Cause: "client_closed_request", Phase: "connect", Side: "client", Outcome: "abandoned",
			Start: tcpBacklogFull(fastCGI("dial_timeout 3s"), sends(Request{Leave: LeaveDelayed})),
		},
		{
			// Nothing ends the waiting for FastCGI but its own limit, which is
			// reached when the client has left.
			Name: "fastcgi_client_leaves_while_waiting", Number: "36b",
			Cause: "client_closed_request", Phase: "wait", Side: "client", Outcome: "abandoned",
			Start: overTCP(responds(holds), fastCGI("read_timeout 500ms"), sends(Request{Leave: LeaveReached})),
		},

		failed("fastcgi_closed_unanswered", "closed_before_response", "wait", "upstream", 502, overTCP(responds(ends), fastCGI())),
		failed("fastcgi_closed_unanswered_unix", "closed_before_response", "wait", "upstream", 502, overUnix(responds(ends), fastCGI())),
		// Caddy's FastCGI client reads headers with a reader that hides a reset.
		failed("fastcgi_reset_unanswered", "closed_before_response", "wait", "upstream", 502, overTCP(responds((*conn).reset), fastCGI())),
		failed("fastcgi_ended_unanswered", "closed_before_response", "wait", "upstream", 502, overTCP(responds(endsUnanswered), fastCGI())),
		failed("fastcgi_read_timeout", "read_timeout", "wait", "upstream", 504, overTCP(responds(holds), fastCGI("read_timeout 200ms"))),
		failed("fastcgi_write_timeout", "request_write_timeout", "send", "upstream", 504, overTCP(neverReads, fastCGI("write_timeout 200ms"), sends(upload()))),
		failed("fastcgi_reset_while_sending", "request_write_failed", "send", "upstream", 502, overTCP(resetsInStdin, fastCGI(), sends(upload()))),

		failed("fastcgi_speaks_http", "fastcgi_malformed", "headers", "upstream", 502, overTCP(responds(saysRaw("HTTP/1.1 400 Bad Request\r\n\r\n")), fastCGI())),
		failed("fastcgi_header_without_colon", "fastcgi_malformed", "headers", "upstream", 502, overTCP(responds(saysOut("no colon here\r\n\r\n")), fastCGI())),
		failed("fastcgi_status_malformed", "fastcgi_malformed", "headers", "upstream", 502, overTCP(responds(saysOut("Status: fine\r\n\r\n")), fastCGI())),
		failed("fastcgi_status_0", "response_malformed", "headers", "upstream", 502, overTCP(responds(saysOut("Status: 0\r\n\r\nhello")), fastCGI())),
		failed("fastcgi_status_42", "response_malformed", "headers", "upstream", 502, overTCP(responds(saysOut("Status: 42 Answer\r\n\r\nhello")), fastCGI())),
		failed("fastcgi_status_1000", "response_malformed", "headers", "upstream", 502, overTCP(responds(saysOut("Status: 1000\r\n\r\nhello")), fastCGI())),
		// A field's name that ends where the answer does may be cut, or be all there is.
		failed("fastcgi_cut_in_header", "unknown", "headers", "", 502, overTCP(responds(cutsOut("Content-Type: text/plain\r\nX-Po")), fastCGI())),
		{
			Name: "fastcgi_length_unknown", Number: "36b",
			Cause: "request_not_sendable", Phase: "send", Side: "proxy", Outcome: "failed", Status: http.StatusLengthRequired,
			Start: overTCP(responds(saysOut(whole)), fastCGI(), sends(Request{Method: http.MethodPost, Body: chunkOf(8 << 10), Length: -1})),
		},
		{
			Name: "fastcgi_answers_503", Number: "27",
			Cause: "upstream_status", Phase: "headers", Side: "upstream", Outcome: "upstream_answered", Status: 503,
			Start: overTCP(responds(saysOut("Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nsorry\n")), fastCGI()),
		},
		// Caddy takes a header that ends with the connection for whole, and what follows
		// it for empty.
		{Name: "fastcgi_cut_between_headers", Number: "36b", Status: 200, Start: overTCP(responds(cutsOut("Status: 200 OK\r\nContent-Type: text/plain\r\n")), fastCGI())},
		{Name: "fastcgi_reset_between_headers", Number: "36b", Status: 200, Start: overTCP(responds(resetsOut("Status: 200 OK\r\nContent-Type: text/plain\r\n")), fastCGI())},
		{Name: "fastcgi_good", Status: 200, Start: overTCP(responds(saysOut(whole)), fastCGI())},

		truncated("fastcgi_body_cut", "response_truncated", overTCP(responds(cutsOut(part)), fastCGI())),
		truncated("fastcgi_body_reset", "response_truncated", overTCP(responds(resetsOut(part)), fastCGI())),
		// The script ended in good order, and Caddy does not count.
		truncated("fastcgi_body_shorter_than_said", "response_truncated", overTCP(responds(saysOut(part)), fastCGI())),
		truncated("fastcgi_body_slow", "response_stalled", overTCP(responds(tricklesOut(part)), fastCGI("read_timeout 400ms"))),
		truncated("fastcgi_body_stalled", "response_stalled", overTCP(responds(stallsOut(part)), fastCGI("read_timeout 200ms"))),
	}
	for i := range faults {
		switch faults[i].Name {
		case "fastcgi_socket_missing", "fastcgi_socket_stale", "fastcgi_closed_unanswered_unix":
			faults[i].Skip = unless(!onWindows, needsUnixSockets)
		case "fastcgi_connect_timeout", "fastcgi_backlog_full", "fastcgi_client_leaves_while_dialling":
			faults[i].Skip = unless(onLinux, needsLinux)
		case "fastcgi_body_reset":
			faults[i].Skip = unless(!onWindows, resetLosesData)
		}
		switch faults[i].Name {
		case "fastcgi_refused", "fastcgi_length_unknown", "fastcgi_client_leaves_while_dialling":
			faults[i].RequestSent = "no"
		case "fastcgi_closed_unanswered", "fastcgi_read_timeout":
			faults[i].RequestSent = "maybe"
		}
	}
	return faults
}

// fastCGI speaks FastCGI to the upstream, with these lines in the transport's block.
func fastCGI(lines ...string) option {
	return func(u *Upstream) {
		u.FastCGI = true
		u.Transport = append(u.Transport, lines...)
	}
}

// responds reads a whole FastCGI request before it behaves like b.
func responds(b behaviour) behaviour {
	return func(c *conn) {
		for {
			kind, length, err := c.record()
			if err != nil {
				return
			}
			if kind == fcgiStdin && length == 0 { // the end of the request's body
				c.reached()
				b(c)
				return
			}
		}
	}
}

// record reads one record and forgets its content.
func (c *conn) record() (kind byte, length int64, err error) {
	head := make([]byte, fcgiHead)
	if _, err := io.ReadFull(c.reader, head); err != nil {
		return 0, 0, err
	}
	length = int64(binary.BigEndian.Uint16(head[4:]))
	_, err = io.CopyN(io.Discard, c.reader, length+int64(head[6]))
	return head[1], length, err
}

// record is a record's bytes, of request 1.
func record(kind byte, content string) string {
	head := []byte{1, kind, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(head[4:], uint16(len(content)))
	return string(head) + content
}

func ends(*conn) {}

func holds(c *conn) { c.hold() }

func saysRaw(s string) behaviour {
	return func(c *conn) {
		c.say(s)
		c.hold()
	}
}

// endsUnanswered ends the request with no output at all.
func endsUnanswered(c *conn) { c.say(record(fcgiEndRequest, strings.Repeat("\x00", 8))) }

// saysOut answers with this output of a script, and ends the request.
func saysOut(output string) behaviour {
	return saysRaw(record(fcgiStdout, output) + record(fcgiStdout, "") + record(fcgiEndRequest, strings.Repeat("\x00", 8)))
}

// cutsOut closes after this output, resetsOut with a reset; stallsOut says no more.
func cutsOut(output string) behaviour {
	return func(c *conn) { c.say(record(fcgiStdout, output)) }
}

func resetsOut(output string) behaviour {
	return func(c *conn) {
		c.say(record(fcgiStdout, output))
		c.reset()
	}
}

func stallsOut(output string) behaviour { return saysRaw(record(fcgiStdout, output)) }

// tricklesOut sends an answer without a pause that would be long, and not to its end.
func tricklesOut(output string) behaviour {
	return func(c *conn) {
		for next := output; ; next = "." {
			if _, err := io.WriteString(c, record(fcgiStdout, next)); err != nil {
				return
			}
			c.wait(20 * time.Millisecond)
		}
	}
}

// resetsInStdin resets the connection when the request's body has begun.
func resetsInStdin(c *conn) {
	for {
		kind, _, err := c.record()
		if err != nil {
			return
		}
		if kind == fcgiStdin {
			c.reset()
			return
		}
	}
}

// chunkOf is a body of n bytes in one chunk.
func chunkOf(n int64) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, strconv.FormatInt(n, 16)+"\r\n"); err != nil {
			return err
		}
		if err := zeros(n)(w); err != nil {
			return err
		}
		_, err := io.WriteString(w, "\r\n0\r\n\r\n")
		return err
	}
}
