package faultlab

import (
	"io"
	"net/http"
)

func sendFaults() []Fault {
	return []Fault{
		{
			Name: "upstream_never_reads", Number: "23c",
			Cause: "request_write_timeout", Phase: "send", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overTCP(neverReads, transport("write_timeout 200ms"), sends(upload())),
		},
		{
			Name: "reset_while_sending", Number: "17b",
			Cause: "request_write_failed", Phase: "send", Side: "upstream", Outcome: "failed", Status: 502,
			Start: overTCP(resetsAfterHead, sends(upload())),
		},
		{
			Name: "upload_broken_off", Number: "31a",
			Cause: "client_upload_failed", Phase: "send", Side: "client", Outcome: "abandoned",
			Start: overTCP(readsAll, app(answersAll), sends(Request{
				Method: http.MethodPost, Body: zeros(128 << 10), Length: 256 << 10, Leave: LeaveReached,
			})),
		},
		{
			Name: "upload_malformed", Number: "31b",
			Cause: "client_upload_failed", Phase: "send", Side: "client", Outcome: "failed", Status: 502,
			Start: overTCP(readsAll, app(answersAll), sends(Request{
				Method: http.MethodPost, Body: says("5\r\nhello\r\nzz\r\n"), Length: -1,
			})),
		},
		{
			// The server's read_body ends the reading and, by that, the request's
			// context: whichever Go's transport sees first makes it 504 or 499.
			Name: "upload_stalled", Number: "31c",
			Cause: "client_upload_failed", Phase: "send", Side: "client", Outcome: "failed", Status: 499, OrStatus: 504,
			Start: overTCP(readsAll, servers("timeouts {", "\tread_body 200ms", "}"), sends(Request{
				Method: http.MethodPost, Body: says("half of it"), Length: 20,
			})),
		},
		{
			// The upstream reads whatever comes; the client is what takes longer than the limit.
			Name:  "upload_slower_than_limit",
			Cause: "client_upload_failed", Phase: "send", Side: "proxy", Outcome: "failed", Status: 504, RequestSent: "maybe",
			Start: overTCP(readsAll, transport("write_timeout 100ms"), sends(Request{
				Method: http.MethodPost, Body: slowly(12), Length: 12,
			})),
		},
		{
			Name: "header_name_invalid", Number: "58",
			Cause: "request_not_sendable", Phase: "send", Side: "proxy", Outcome: "failed", Status: 502,
			Start: overTCP(answers(good), app(answersAll), block("header_up \"Bad Name\" value")),
		},
		{
			// Caddy makes the handshake by itself then, and takes no name from the address.
			Name:  "server_name_missing",
			Cause: "request_not_sendable", Phase: "tls", Side: "proxy", Outcome: "failed", Status: 502, RequestSent: "no",
			Start: overTCP((*conn).hold, transport("tls", "proxy_protocol v2")),
		},
	}
}

// neverReads leaves what comes where it is.
func neverReads(c *conn) {
	c.reached()
	<-c.closing
}

// resetsAfterHead resets the connection with most of the body to come; late, for a
// reset right after a TLS handshake could be about a certificate.
func resetsAfterHead(c *conn) {
	r, err := c.head()
	if err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, r.Body, 64<<10); err == nil {
		c.wait(lateness)
		c.reset()
	}
}

// readsAll reads a whole request and answers; where the request breaks off, it
// says nothing.
func readsAll(c *conn) {
	if _, err := c.request(); err != nil {
		return
	}
	c.say(good)
	c.hold()
}
