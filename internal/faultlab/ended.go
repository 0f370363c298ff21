package faultlab

import (
	"io"
	"net/http"
	"time"
)

// endedFaults are those where it isn't the upstream alone that ends something: our own
// side does, or a request is sent again.
func endedFaults() []Fault {
	const (
		interim = "HTTP/1.1 100 Continue\r\n\r\n"
		begins  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
	)
	// Caddy buffers a small body for FastCGI by itself.
	unbuffered := Request{Method: http.MethodPost, Body: zeros(256 << 10), Length: 256 << 10}
	rescued := func(name, cause, phase string, start func() (*Upstream, error)) Fault {
		return Fault{Name: name, Cause: cause, Phase: phase, Side: "upstream", Outcome: "rescued", Status: 200, RequestSent: "yes", Start: start}
	}
	// The repeat is sent if the body's end was read before the transport closed it.
	repeatedOverH2 := func(name string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name:  name,
			Cause: "retried_without_body", Phase: "send", Side: "proxy", Outcome: "rescued", Status: 200, RequestSent: "yes",
			OrCause: "stream_reset", Start: start,
		}
	}
	faults := []Fault{
		{
			// Go's server reads no more of an upload over HTTP/1.1 once the answer begins.
			Name:  "upload_cut_by_answer",
			Cause: "upload_cut_by_early_response", Phase: "body", Side: "proxy", Outcome: "truncated", Status: 200, RequestSent: "yes",
			Start: overTCP(answersEarly(begins), sends(slowUpload())),
		},
		{
			// A script that gets no body may well answer: FastCGI sends the repeat's end.
			Name:  "fastcgi_retried_without_body",
			Cause: "retried_without_body", Phase: "send", Side: "proxy", Outcome: "upstream_answered", Status: 400, RequestSent: "yes",
			Start: overTCP(responds(firstThen(ends, saysOut("Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nno body\n"))),
				fastCGI(), retriesPosts(), sends(unbuffered)),
		},
		{
			Name:  "fastcgi_rescued_without_body",
			Cause: "retried_without_body", Phase: "send", Side: "proxy", Outcome: "rescued", Status: 200, RequestSent: "yes",
			Start: overTCP(responds(firstThen(ends, saysOut("Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nok\n"))),
				fastCGI(), retriesPosts(), sends(unbuffered)),
		},
		repeatedOverH2("h2_retried_without_body", overH2(once(resetsStream(refusedStream)), retriesPosts(), sends(post()))),
		repeatedOverH2("h2c_retried_without_body", overH2C(once(resetsStream(refusedStream)), retriesPosts(), sends(post()))),
		{
			// Over HTTP/1.1 the repeat can't be sent: what failed is the first attempt.
			Name:  "retried_body_used_up",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(firstThen(closesLate, answers(good)), retriesPosts(), sends(post())),
		},
		{
			Name:  "buffered_body_retried",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "rescued", Status: 200, RequestSent: "yes",
			Start: overTCP(firstThen(closesLate, answers(good)), retriesPosts(), block("request_buffers 1MiB"), sends(post())),
		},
		rescued("answer_thrown_away", "upstream_status", "headers",
			overTCP(firstThen(answers("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), answers(good)),
				block("lb_retries 1", "lb_retry_match {", "\texpression `{rp.status_code} in [502, 503]`", "}"))),
		// Go's transport sends a GET again by itself, and keeps the error to itself.
		rescued("closed_late_on_reused_get", "closed_before_response", "wait", overTCP(answersOnce((*conn).dropLate), after(warmUp))),
		rescued("reset_late_on_reused_get", "reset_before_response", "wait", overTCP(answersOnce((*conn).resetLate), after(warmUp))),
		rescued("closed_late_on_reused_get_tls", "closed_before_response", "wait", overTLS(answersOnce((*conn).dropLate), after(warmUp))),

		// An interim answer is none.
		{
			Name: "cut_after_interim", Number: "20",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(answers("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")),
		},
		{
			// Nobody who had not read the request answers 103, so that it is no race either.
			Name:  "cut_after_interim_reused",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(answersOnce(func(c *conn) { c.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") }), sends(post()), after(warmUp)),
		},
		{
			Name:  "closed_after_100",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(continues(interim, func(*conn) {}), sends(post())),
		},
		{
			Name:  "reset_after_103",
			Cause: "reset_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(continues("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", (*conn).resetLate)),
		},
		{
			Name:  "closed_after_100_tls",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTLS(continues(interim, func(*conn) {}), sends(post())),
		},
		{
			Name:  "reset_while_sending_after_100",
			Cause: "request_write_failed", Phase: "send", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "maybe",
			Start: overTCP(func(c *conn) {
				r, err := c.head()
				if err != nil {
					return
				}
				c.say(interim)
				if _, err := io.CopyN(io.Discard, r.Body, 64<<10); err == nil {
					c.wait(lateness)
					c.reset()
				}
			}, sends(upload())),
		},
		{
			Name:  "response_header_timeout_after_100",
			Cause: "response_timeout", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 504, RequestSent: "maybe",
			Start: overTCP(continues(interim, (*conn).hold), transport("response_header_timeout 200ms"), sends(post())),
		},
		{
			Name:  "cut_in_headers_after_100",
			Cause: "response_cut_in_headers", Phase: "headers", Side: "upstream", Outcome: "failed", Status: 502, RequestSent: "yes",
			Start: overTCP(continues(interim, func(c *conn) { c.say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n") }), sends(post())),
		},
	}
	for i := range faults {
		switch faults[i].Name {
		case "reset_late_on_reused_get", "reset_after_103":
			faults[i].Skip = unless(!onWindows, resetLosesData)
		}
	}
	return faults
}

// answersEarly answers so as soon as a request's head has come, and reads on.
func answersEarly(text string) behaviour {
	return func(c *conn) {
		if _, err := c.head(); err != nil {
			return
		}
		c.say(text)
		c.hold()
	}
}

// slowUpload is an upload that goes on when an answer has begun long ago.
func slowUpload() Request {
	r := upload()
	r.Body = func(w io.Writer) error {
		if err := zeros(64 << 10)(w); err != nil {
			return err
		}
		time.Sleep(lateness)
		return zeros(r.Length - 64<<10)(w)
	}
	return r
}

// continues sends an interim answer as soon as a request's head has come, reads its body,
// and goes on as b does.
func continues(interim string, b behaviour) behaviour {
	return func(c *conn) {
		r, err := c.head()
		if err != nil {
			return
		}
		c.say(interim)
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			c.wait(lateness / 2)
			b(c)
		}
	}
}

// firstThen behaves like first on an upstream's first connection, and like others on all
// after it.
func firstThen(first, others behaviour) behaviour {
	return func(c *conn) {
		if c.number == 1 {
			first(c)
			return
		}
		others(c)
	}
}

// retriesPosts has Caddy try a POST again.
func retriesPosts() option {
	return block("lb_retries 1", "lb_retry_match {", "\tmethod "+http.MethodPost, "}")
}

func (c *conn) resetLate() {
	c.wait(lateness)
	c.reset()
}
