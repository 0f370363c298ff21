package faultlab

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
)

// forwardProxyFaults are those of a forward proxy on the way to a good upstream, and
// those of the PROXY protocol.
func forwardProxyFaults() []Fault {
	failed := func(name, cause, phase, side string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "47",
			Cause: cause, Phase: phase, Side: side, Outcome: "failed", Status: 502,
			RequestSent: "no",
			Start:       start,
		}
	}
	const (
		forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
		needsAuth = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\n\r\n"
		opened    = "HTTP/1.1 200 Connection established\r\n\r\n"
	)
	over := func(b behaviour) func() (*Upstream, error) { return proxiedBy("http", b, transport("tls")) }
	faults := []Fault{
		failed("forward_proxy_forbids", "forward_proxy_failed", "connect", "network", over(answers(forbidden))),
		failed("forward_proxy_wants_password", "forward_proxy_failed", "connect", "network", over(answers(needsAuth))),
		failed("forward_proxy_wants_ntlm", "forward_proxy_failed", "connect", "network", over(answers(strings.Replace(needsAuth, "Proxy-Authenticate: Basic realm=\"lab\"", "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM", 1)))),
		failed("forward_proxy_cannot_reach", "forward_proxy_failed", "connect", "network", over(answers(status(502)))),
		failed("forward_proxy_closes", "forward_proxy_failed", "connect", "network", over(closesUnanswered)),
		failed("forward_proxy_resets", "forward_proxy_failed", "connect", "network", over(resetsUnanswered)),
		failed("forward_proxy_malformed", "forward_proxy_failed", "connect", "network", over(answers("no HTTP at all\r\n\r\n"))),
		// The tunnel is open: what fails in it is the upstream's.
		failed("forward_proxy_tunnel_closed", "tls_closed", "tls", "network", over(answers(opened))),
		failed("forward_proxy_refused_tls", "forward_proxy_failed", "connect", "network", startForwardProxyRefusedTLS),
		{
			Name: "forward_proxy_silent", Number: "47",
			Cause: "client_closed_request", Phase: "connect", Side: "client", Outcome: "abandoned",
			RequestSent: "no",
			Start:       proxiedBy("http", neverAnswers, transport("tls"), sends(Request{Leave: LeaveReached})),
		},
		failed("socks_unreachable", "forward_proxy_failed", "connect", "network", proxiedBy("socks5", socksAnswers("\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"))),
		failed("socks_closes", "forward_proxy_failed", "connect", "network", proxiedBy("socks5", socksAnswers(""))),
		failed("socks_refused", "forward_proxy_failed", "connect", "network", startSOCKSRefused),
		{
			// Plain HTTP goes to the forward proxy as a request for the visitor's Host.
			Name: "forward_proxy_forbids_plain", Number: "47",
			Cause: "forward_proxy_answered", Phase: "headers", Side: "proxy", Outcome: "upstream_answered", Status: http.StatusForbidden,
			RequestSent: "maybe",
			Start:       proxiedBy("http", answers(forbidden)),
		},
		{
			Name: "forward_proxy_answers_plain", Number: "47",
			Cause: "forward_proxy_answered", Phase: "headers", Side: "proxy", Outcome: "upstream_answered", Status: http.StatusServiceUnavailable,
			RequestSent: "maybe",
			Start:       proxiedBy("http", answers(status(503))),
		},
		{
			Name: "forward_proxy_silent_plain", Number: "47",
			Cause: "forward_proxy_failed", Phase: "wait", Side: "proxy", Outcome: "abandoned",
			OrCause:     "client_closed_request", // where others have reached it, and this one has no connection yet
			RequestSent: "maybe",
			Start:       proxiedBy("http", neverAnswers, sends(Request{Leave: LeaveReached})),
		},
		{
			Name: "forward_proxy_closes_plain", Number: "47",
			Cause: "forward_proxy_failed", Phase: "wait", Side: "proxy", Outcome: "failed", Status: 502,
			RequestSent: "maybe",
			Start:       proxiedBy("http", closesUnanswered),
		},
		{
			// It was asked for the upstream: the 404 may be that one's own.
			Name: "forward_proxy_told_of_upstream", Number: "47", Status: http.StatusNotFound,
			Start: proxiedBy("http", answers(status(404)), block("header_up Host {upstream_hostport}")),
		},

		{
			// It closes with bytes unread, so that a reset may cut its answer.
			Name: "proxy_protocol_unexpected", Number: "42", OrCause: "response_truncated",
			Cause: "upstream_status", Phase: "headers", Side: "proxy", Outcome: "upstream_answered", Status: http.StatusBadRequest,
			Start: startRefusesPROXY,
		},
		{
			Name: "proxy_protocol_closes", Number: "42",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502,
			Start: overTCP(closesAtPROXY, transport("proxy_protocol v2")),
		},
		{
			Name: "proxy_protocol_missing", Number: "42",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 502,
			Start: overTCP(wantsPROXY),
		},
	}
	return faults
}

// proxiedBy makes a good upstream that is reached through a forward proxy, which
// behaves like b.
func proxiedBy(scheme string, b behaviour, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u, err := overTCP(answers(good), options...)()
		if err != nil {
			return nil, err
		}
		l, err := listenTCP()
		if err != nil {
			return u.fails(err)
		}
		u.serve(l, b)
		u.Transport = append(u.Transport, "network_proxy url "+scheme+"://"+l.Addr().String())
		return u, nil
	}
}

func startForwardProxyRefusedTLS() (*Upstream, error) {
	u, err := startForwardProxyRefused()
	if err == nil {
		u.Transport = append(u.Transport, "tls")
	}
	return u, err
}

func startSOCKSRefused() (*Upstream, error) {
	u, err := overTCP(answers(good))()
	if err != nil {
		return nil, err
	}
	proxy, err := u.closedPort()
	if err != nil {
		return u.fails(err)
	}
	u.Transport = append(u.Transport, "network_proxy url socks5://"+proxy)
	return u, nil
}

// socksAnswers agrees to no authentication, and answers CONNECT so (RFC 1928).
func socksAnswers(reply string) behaviour {
	return func(c *conn) {
		if _, err := io.ReadFull(c.reader, make([]byte, 3)); err != nil {
			return
		}
		c.say("\x05\x00")
		head := make([]byte, 4)
		if _, err := io.ReadFull(c.reader, head); err != nil {
			return
		}
		address := int64(net.IPv4len)
		if head[3] == 3 { // a name, with its length
			length, err := c.reader.ReadByte()
			if err != nil {
				return
			}
			address = int64(length)
		}
		if _, err := io.CopyN(io.Discard, c.reader, address+2); err != nil {
			return
		}
		c.reached()
		c.say(reply)
	}
}

// proxyHeader is the length of a PROXY header of version 2 for IPv4.
const proxyHeader = 28

// closesAtPROXY reads what comes and closes, as a server does that doesn't know the
// binary PROXY header.
func closesAtPROXY(c *conn) {
	if _, err := c.reader.Discard(proxyHeader); err != nil {
		return
	}
	_, _ = c.request() // so that nothing is left unread
}

// startRefusesPROXY makes Go's own server, which takes a PROXY header for a request and
// refuses it. It is shown the header with what follows: an answer to the header alone
// may come before the request is written, which Go's transport takes for one that
// nothing asked for, and the visitor gets a 502.
func startRefusesPROXY() (*Upstream, error) {
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	u := newUpstream(transport("proxy_protocol v1"))
	u.To = l.Addr().String()
	u.serveHTTP(withholdingListener{l}, goodHandler())
	return u, nil
}

// A withholdingListener's connections show nothing before a whole header has come.
type withholdingListener struct{ net.Listener }

func (l withholdingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &withholdingConn{Conn: c}, nil
}

type withholdingConn struct {
	net.Conn

	shown []byte
	whole bool
}

func (c *withholdingConn) Read(b []byte) (int, error) {
	for !c.whole {
		n, err := c.Conn.Read(b)
		c.shown = append(c.shown, b[:n]...)
		if err != nil {
			return 0, err
		}
		c.whole = bytes.Contains(c.shown, []byte("\r\n\r\n"))
	}
	if len(c.shown) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.shown)
	c.shown = c.shown[n:]
	return n, nil
}

// wantsPROXY closes where no PROXY header comes first.
func wantsPROXY(c *conn) {
	if start, err := c.reader.Peek(5); err != nil || string(start) != "PROXY" {
		_, _ = c.request()
		return
	}
	c.say(good)
}
