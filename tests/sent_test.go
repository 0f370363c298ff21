package tests

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// intake is what came to an upstream of the requests that were meant for it.
type intake struct {
	mu sync.Mutex
	// bytes came to the machine, TLS and what goes before a request aside; body of
	// them the application took for a body.
	bytes, body int64
	// heads and whole count the requests whose header, and whose all, the application
	// has read.
	heads, whole int
	// disclaimed says that the upstream said that it did nothing with it.
	disclaimed bool
}

func (in *intake) String() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return fmt.Sprintf("%d bytes came, the application read %d headers, %d bytes of bodies, %d whole requests, disclaimed: %t",
		in.bytes, in.heads, in.body, in.whole, in.disclaimed)
}

func (in *intake) add(change func(*intake)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	change(in)
}

// taker is a connection of an upstream's that counts what comes.
type taker struct {
	net.Conn
	in     *intake
	reader *bufio.Reader
	// framed says that not every byte is a request's: HTTP/2 counts by itself.
	framed bool
	// first says that it is the upstream's first connection.
	first bool
	// over is closed when there is a record, head when a header has been read.
	over, head chan struct{}
	headRead   *sync.Once
}

// Read counts what comes.
func (c *taker) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.framed {
		c.in.add(func(in *intake) { in.bytes += int64(n) })
	}
	return n, err
}

func (c *taker) tookHead() {
	c.in.add(func(in *intake) { in.heads++ })
	c.headRead.Do(func() { close(c.head) })
}

// request reads a header, body the rest of it.
func (c *taker) request() *http.Request {
	r, err := http.ReadRequest(c.reader)
	if err != nil {
		return nil
	}
	c.tookHead()
	return r
}

func (c *taker) body(r *http.Request) bool {
	n, err := io.Copy(io.Discard, r.Body)
	c.in.add(func(in *intake) {
		in.body += n
		if err == nil {
			in.whole++
		}
	})
	return err == nil
}

func (c *taker) readAll() bool {
	r := c.request()
	return r != nil && c.body(r)
}

// drain lets the machine take what comes, for nobody.
func (c *taker) drain() { io.Copy(io.Discard, c.reader) }

// farewell ends our half, and drains the other: so all that came is counted.
func (c *taker) farewell() {
	testcaddy.CloseWrite(c.Conn)
	c.drain()
}

func (c *taker) say(s string) { io.WriteString(c.Conn, s) }

// stream reads a request of HTTP/2.
func (c *taker) stream() (framer *http2.Framer, stream uint32) {
	if _, err := c.reader.Discard(len(http2.ClientPreface)); err != nil {
		return nil, 0
	}
	framer = http2.NewFramer(c.Conn, c.reader)
	framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil, 0
		}
		ended := false
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			c.tookHead()
			c.in.add(func(in *intake) { in.bytes += int64(f.Length) })
			ended = f.StreamEnded()
		case *http2.DataFrame:
			c.in.add(func(in *intake) { in.bytes += int64(f.Length); in.body += int64(len(f.Data())) })
			ended = f.StreamEnded()
		}
		if ended {
			c.in.add(func(in *intake) { in.whole++ })
			return framer, frame.Header().StreamID
		}
	}
}

// records reads a request of FastCGI: a script's header, then its body.
func (c *taker) records() bool {
	const params, stdin = 4, 5 // types of records (FastCGI specification, section 8)
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c.reader, head); err != nil {
			return false
		}
		length := int64(binary.BigEndian.Uint16(head[4:]))
		if _, err := io.CopyN(io.Discard, c.reader, length+int64(head[6])); err != nil {
			return false
		}
		switch {
		case head[1] == params && length == 0:
			c.tookHead()
		case head[1] == stdin:
			c.in.add(func(in *intake) { in.body += length })
			if length == 0 {
				c.in.add(func(in *intake) { in.whole++ })
				return true
			}
		}
	}
}

// takers is an upstream.
type takers struct {
	in       *intake
	listener net.Listener
	secure   *tls.Config
	framed   bool
	behave   func(*taker)
	accepted bool // that there was a connection; the accepting goroutine's
	over     chan struct{}
	head     chan struct{}
	headRead sync.Once
	running  sync.WaitGroup
}

func (u *takers) start(t *testing.T) string {
	t.Helper()
	u.in, u.over, u.head = new(intake), make(chan struct{}), make(chan struct{})
	var err error
	if u.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.running.Go(func() {
		for {
			raw, err := u.listener.Accept()
			if err != nil {
				return
			}
			first := !u.accepted
			u.accepted = true
			u.running.Go(func() { u.serve(raw, first) })
		}
	})
	return u.listener.Addr().String()
}

func (u *takers) serve(raw net.Conn, first bool) {
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := raw
	if u.secure != nil {
		secure := tls.Server(raw, u.secure)
		if secure.Handshake() != nil {
			io.Copy(io.Discard, raw) // so that our alert isn't lost to a reset
			return
		}
		defer secure.Close()
		c = secure
	}
	taker := &taker{Conn: c, in: u.in, framed: u.framed, first: first, over: u.over, head: u.head, headRead: &u.headRead}
	taker.reader = bufio.NewReader(taker)
	u.behave(taker)
}

// stop ends the upstream, once all that came has been counted.
func (u *takers) stop() {
	close(u.over)
	u.listener.Close()
	u.running.Wait()
}

const (
	orderGET   = "GET /order HTTP/1.1\r\nHost: HOST\r\n\r\n"
	orderPOST  = "POST /order HTTP/1.1\r\nHost: HOST\r\nContent-Length: 7\r\n\r\norder=1"
	uploadSize = 16 << 20
	goodAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
)

var orderUpload = fmt.Sprintf("POST /order HTTP/1.1\r\nHost: HOST\r\nContent-Length: %d\r\n\r\n", uploadSize) + strings.Repeat("x", uploadSize)

// answersAfter reads a whole request, says this and closes.
func answersAfter(s string) func(*taker) {
	return func(c *taker) {
		if c.readAll() {
			c.say(s)
		}
	}
}

// warmed answers a first request well, and behaves so upon the second. Further
// connections are for what is tried again: they answer well.
func warmed(then func(*taker)) func(*taker) {
	return func(c *taker) {
		if !c.readAll() {
			return
		}
		if c.first {
			c.in.add(func(in *intake) { in.bytes, in.body, in.heads, in.whole = 0, 0, 0, 0 })
		}
		c.say(goodAnswer)
		if !c.first {
			return
		}
		if _, err := c.reader.Peek(1); err == nil {
			then(c)
		}
	}
}

// whether sent is true is known best by who should have got it: request_sent is held
// against what upstreams count.
func TestRequestSent(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	const (
		no, maybe, yes = failure.SentNo, failure.SentMaybe, failure.SentYes

		skipVerify = "transport http {\ntls_insecure_skip_verify\n}\n"
		h2c        = "transport http {\nversions h2c\n}\n"
		fastCGI    = "transport fastcgi\n"
		checks     = "health_port 1\nhealth_interval 1h\nhealth_fails 100000\n"
		fcgiPart   = "Status: 200 OK\r\nContent-Length: 1000\r\n\r\nthe first part"
	)
	waits := func(c *taker) { <-c.over; c.drain() }
	readsAll := func(c *taker) { c.readAll() }
	resets := func(c *taker) {
		if c.readAll() {
			testcaddy.Reset(rawOf(c.Conn))
		}
	}
	headThen := func(end func(*taker)) func(*taker) {
		return func(c *taker) {
			if c.request() != nil {
				end(c)
			}
		}
	}
	// The application never sees what comes.
	greets := func(s string) func(*taker) {
		return func(c *taker) { c.say(s); c.farewell() }
	}
	streamThen := func(then func(c *taker, framer *http2.Framer, stream uint32)) func(*taker) {
		return func(c *taker) {
			if framer, stream := c.stream(); framer != nil {
				then(c, framer, stream)
				c.drain()
			}
		}
	}
	refuses := streamThen(func(c *taker, framer *http2.Framer, stream uint32) {
		c.in.add(func(in *intake) { in.disclaimed = true })
		framer.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
	})
	goesAway := streamThen(func(c *taker, framer *http2.Framer, _ uint32) {
		c.in.add(func(in *intake) { in.disclaimed = true })
		framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	resetsStream := streamThen(func(_ *taker, framer *http2.Framer, stream uint32) {
		framer.WriteRSTStream(stream, http2.ErrCodeInternal)
	})
	hangsUp := streamThen(func(c *taker, _ *http2.Framer, _ uint32) { c.farewell() })
	scriptThen := func(s string) func(*taker) {
		return func(c *taker) {
			if c.records() {
				c.say(s)
			}
		}
	}

	tests := []struct {
		name   string
		behave func(*taker) // nil: nobody listens
		secure *tls.Config
		// framed says that HTTP/2 is spoken.
		framed bool
		block  string
		// others are further upstreams, DEAD and GOOD.
		others string
		global string
		warm   bool
		// request is what the client sends, orderGET by default; it leaves when the
		// header has come to the application, if it leaves.
		request string
		leaves  bool
		// cause is what the case is about; "" where a race decides it.
		cause string
		want  []failure.Sent
		// greeted says that what came may be a greeting.
		greeted bool
	}{
		{name: "refused", cause: "connection_refused", want: []failure.Sent{no}},
		{name: "refused, fastcgi", block: fastCGI, cause: "connection_refused", want: []failure.Sent{no}},
		{name: "refused, with active checks", block: checks, cause: "connection_refused", want: []failure.Sent{no}},
		{name: "refused, heard by the request's trace", global: "admin off", cause: "connection_refused", want: []failure.Sent{no}},
		{name: "certificate untrusted", behave: readsAll, secure: new(tls.Config), block: "transport http {\ntls\n}\n", cause: "certificate_untrusted", want: []failure.Sent{no}},
		{
			name: "our certificate missing", behave: readsAll, secure: &tls.Config{ClientAuth: tls.RequireAnyClientCert}, block: skipVerify,
			request: orderPOST, want: []failure.Sent{no, maybe}, // by whether the alert was read
		},
		{
			name: "closed in the handshake", behave: func(c *taker) { c.framed = true; c.reader.Peek(1); c.farewell() }, block: skipVerify,
			cause: "tls_closed", want: []failure.Sent{no},
		},
		{
			name: "no TLS there", behave: func(c *taker) {
				c.framed = true
				c.reader.Peek(1)
				c.say("HTTP/1.1 400 Bad Request\r\n\r\n")
				c.drain()
			}, block: skipVerify,
			cause: "tls_not_spoken", want: []failure.Sent{no},
		},
		{
			name: "the forward proxy forbids", block: "transport http {\ntls_insecure_skip_verify\nnetwork_proxy url http://UPSTREAM\n}\n",
			behave: func(c *taker) {
				c.framed = true // its CONNECT is not the client's request
				if _, err := http.ReadRequest(c.reader); err == nil {
					c.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
				}
			},
			cause: "forward_proxy_failed", want: []failure.Sent{no},
		},
		{name: "a header that can't be sent", behave: readsAll, block: "header_up \"Bad Name\" value\n", cause: "request_not_sendable", want: []failure.Sent{no}},
		{name: "a header that can't be sent, with active checks", behave: readsAll, block: "header_up \"Bad Name\" value\n" + checks, cause: "request_not_sendable", want: []failure.Sent{no}},

		{name: "closed at accept, GET", behave: (*taker).farewell, want: []failure.Sent{no, maybe}},
		{name: "closed at accept, POST", behave: (*taker).farewell, request: orderPOST, want: []failure.Sent{no, maybe}},
		{name: "closed at accept, upload", behave: (*taker).farewell, request: orderUpload, want: []failure.Sent{no, maybe}},
		{name: "closed at accept, TLS", behave: (*taker).farewell, secure: new(tls.Config), block: skipVerify, want: []failure.Sent{no, maybe}},
		{name: "closed at accept, with active checks", behave: (*taker).farewell, block: checks, want: []failure.Sent{no, maybe}},
		{name: "closed at accept, fastcgi", behave: (*taker).farewell, block: fastCGI, want: []failure.Sent{no, maybe}},
		// Without a body: Caddy's own has a data race where HTTP/2 closes it (see leaving_test.go).
		{name: "closed at accept, h2c", behave: (*taker).farewell, framed: true, block: h2c, want: []failure.Sent{no, maybe}},
		{name: "reset at accept", behave: func(c *taker) { testcaddy.Reset(c.Conn) }, request: orderPOST, want: []failure.Sent{no, maybe}},
		{
			name: "closed after the PROXY header", block: "transport http {\nproxy_protocol v2\n}\n",
			behave: func(c *taker) { io.ReadFull(c.Conn, make([]byte, 28)); c.farewell() }, want: []failure.Sent{no, maybe},
		},

		{name: "nothing is read, GET", behave: waits, block: "transport http {\nresponse_header_timeout 100ms\n}\n", cause: "response_timeout", want: []failure.Sent{maybe}},
		{name: "nothing is read, upload", behave: waits, block: "transport http {\nwrite_timeout 100ms\n}\n", request: orderUpload, cause: "request_write_timeout", want: []failure.Sent{maybe}},
		{name: "nothing is read, fastcgi", behave: waits, block: "transport fastcgi {\nread_timeout 100ms\n}\n", cause: "read_timeout", want: []failure.Sent{maybe}},
		{name: "closed after the header, upload", behave: headThen(func(*taker) {}), request: orderUpload, want: []failure.Sent{maybe}},
		{name: "reset after the header, upload", behave: headThen(func(c *taker) { testcaddy.Reset(c.Conn) }), request: orderUpload, want: []failure.Sent{maybe}},
		{
			name: "Expect, and closed after the header", behave: headThen((*taker).farewell), block: "transport http {\nexpect_continue_timeout 5s\n}\n",
			request: strings.Replace(orderPOST, "\r\n", "\r\nExpect: 100-continue\r\n", 1), cause: "closed_before_response", want: []failure.Sent{maybe},
		},
		{name: "the client leaves in its upload", behave: readsAll, request: orderUpload[:1<<20], leaves: true, cause: "client_upload_failed", want: []failure.Sent{maybe}},
		{
			name: "the client's body is malformed", behave: readsAll, request: "POST /order HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
			cause: "client_upload_failed", want: []failure.Sent{no, maybe},
		},

		{name: "read whole and closed, GET", behave: readsAll, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and closed, POST", behave: readsAll, request: orderPOST, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and closed, upload", behave: readsAll, request: orderUpload, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and closed, TLS", behave: readsAll, secure: new(tls.Config), block: skipVerify, request: orderPOST, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and closed, with active checks", behave: readsAll, block: checks, request: orderPOST, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and closed, heard by the request's trace", behave: readsAll, global: "admin off", request: orderPOST, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and closed, fastcgi", behave: scriptThen(""), block: fastCGI, request: orderPOST, cause: "closed_before_response", want: []failure.Sent{maybe}},
		{name: "read whole and reset", behave: resets, request: orderPOST, cause: "reset_before_response", want: []failure.Sent{maybe}},
		{name: "the client leaves while it waits", behave: func(c *taker) { c.readAll(); c.drain() }, leaves: true, cause: "client_closed_request", want: []failure.Sent{maybe}},

		{name: "answered and cut in the status line", behave: answersAfter("HTTP/1.1 20"), request: orderPOST, cause: "response_cut_in_headers", want: []failure.Sent{yes}},
		{name: "answered and cut in the headers", behave: answersAfter("HTTP/1.1 200 OK\r\nContent-Le"), request: orderPOST, cause: "response_cut_in_headers", want: []failure.Sent{yes}},
		{name: "answered and cut in the body", behave: answersAfter("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), request: orderPOST, cause: "response_truncated", want: []failure.Sent{yes}},
		{name: "answered and cut in the body, fastcgi", behave: scriptThen(fcgiOut(fcgiPart)), block: fastCGI, request: orderPOST, cause: "response_truncated", want: []failure.Sent{yes}},
		{name: "answered malformed, fastcgi", behave: scriptThen(fcgiOut("Status: fine\r\n\r\n")), block: fastCGI, request: orderPOST, cause: "fastcgi_malformed", want: []failure.Sent{yes}},
		{name: "answered 503", behave: answersAfter("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), request: orderPOST, cause: "upstream_status", want: []failure.Sent{yes}},
		{name: "answered 503, upload", behave: answersAfter("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), request: orderUpload, cause: "upstream_status", want: []failure.Sent{yes}},

		{
			name: "answered 503 before the body is read", behave: headThen(func(c *taker) { c.say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"); waits(c) }),
			request: orderUpload, cause: "upstream_status", want: []failure.Sent{yes},
		},
		// What came counts as an answer, unless it was there before the request: a greeting
		// that crosses with it can't be told from one.
		{name: "greeted and closed, GET", behave: greets("-ERR max number of clients reached\r\n"), want: []failure.Sent{no, maybe, yes}, greeted: true},
		{name: "greeted and closed, upload", behave: greets("421 too many connections\r\n"), request: orderUpload, want: []failure.Sent{no, maybe, yes}, greeted: true},

		{name: "read whole and closed, then refused", behave: readsAll, others: "DEAD", block: "lb_policy first\nlb_retries 1\nfail_duration 30s\n", want: []failure.Sent{maybe}, cause: "connection_refused"},
		{name: "read whole and closed, then rescued", behave: readsAll, others: "GOOD", block: "lb_policy first\nlb_retries 1\nfail_duration 30s\n", want: []failure.Sent{yes}, cause: "closed_before_response"},
		{name: "refused, then rescued", others: "GOOD", block: "lb_policy first\nlb_retries 1\nfail_duration 30s\n", request: orderPOST, want: []failure.Sent{yes}, cause: "connection_refused"},

		{name: "reused and closed unread, POST", behave: warmed((*taker).farewell), warm: true, request: orderPOST, cause: "keepalive_race", want: []failure.Sent{maybe}},
		{name: "reused and closed unread, GET", behave: warmed((*taker).farewell), warm: true, cause: "keepalive_race", want: []failure.Sent{yes}},
		{name: "reused and reset unread, POST", behave: warmed(func(c *taker) { testcaddy.Reset(c.Conn) }), warm: true, request: orderPOST, cause: "keepalive_race", want: []failure.Sent{maybe}},
		{name: "reused, read whole and closed, POST", behave: warmed(readsAll), warm: true, request: orderPOST, cause: "keepalive_race", want: []failure.Sent{maybe}},
		{name: "reused, read whole and closed, GET", behave: warmed(readsAll), warm: true, cause: "keepalive_race", want: []failure.Sent{yes}},
		{name: "reused, answered and cut, POST", behave: warmed(answersAfter("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")), warm: true, request: orderPOST, cause: "response_truncated", want: []failure.Sent{yes}},

		{name: "stream refused, h2", behave: refuses, framed: true, secure: &tls.Config{NextProtos: []string{"h2"}}, block: skipVerify, request: orderPOST, cause: "stream_reset", want: []failure.Sent{no}},
		{name: "stream refused, h2c", behave: refuses, framed: true, block: h2c, request: orderPOST, cause: "stream_reset", want: []failure.Sent{no}},
		{name: "GOAWAY before it, h2", behave: goesAway, framed: true, secure: &tls.Config{NextProtos: []string{"h2"}}, block: skipVerify, request: orderPOST, cause: "goaway", want: []failure.Sent{no}},
		{name: "GOAWAY before it, h2c", behave: goesAway, framed: true, block: h2c, request: orderPOST, cause: "goaway", want: []failure.Sent{no}},
		{name: "stream reset, h2", behave: resetsStream, framed: true, secure: &tls.Config{NextProtos: []string{"h2"}}, block: skipVerify, request: orderPOST, cause: "stream_reset", want: []failure.Sent{maybe}},
		{name: "stream reset, h2c", behave: resetsStream, framed: true, block: h2c, request: orderPOST, cause: "stream_reset", want: []failure.Sent{maybe}},
		{name: "closed unanswered, h2c", behave: hangsUp, framed: true, block: h2c, request: orderPOST, cause: "closed_before_response", want: []failure.Sent{maybe}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in, head := new(intake), make(chan struct{})
			address := testcaddy.Dead(t)
			stop := func() {}
			if test.behave != nil {
				u := &takers{secure: test.secure, framed: test.framed, behave: test.behave}
				if u.secure != nil {
					u.secure = u.secure.Clone()
					u.secure.Certificates = testCertificates()
				}
				address = u.start(t)
				in, head, stop = u.in, u.head, sync.OnceFunc(u.stop)
				defer stop()
			}
			to := address
			if strings.Contains(test.block, "UPSTREAM") {
				to = "upstream.test:443"
			}
			well := testcaddy.Upstream(t, func(http.ResponseWriter, *http.Request) { in.add(func(in *intake) { in.heads++ }) })
			others := strings.NewReplacer("DEAD", testcaddy.Dead(t), "GOOD", well).Replace(test.others)
			c := testcaddy.StartWith(t, test.global, "upstream_diagnostics\nreverse_proxy "+to+" "+others+" {\n"+strings.ReplaceAll(test.block, "UPSTREAM", address)+"}")
			if test.warm {
				if a := c.Get("/"); a.Status != 200 {
					t.Fatalf("the first request got %d %v", a.Status, a.Err)
				}
			}
			request := test.request
			if request == "" {
				request = orderGET
			}
			left := (<-chan struct{})(nil)
			if test.leaves {
				left = head
			}
			sendRaw(t, c, request, left)
			var list []*failure.Failure
			testcaddy.Eventually(t, "a failure is recorded", func() bool {
				list = c.Kept()
				return len(list) > 0
			})
			f := list[0]
			if err := caddy.Stop(); err != nil { // which closes what it has kept
				t.Error(err)
			}
			stop()

			if test.cause != "" && f.Cause != test.cause {
				t.Errorf("named %s, want %s", f.Cause, test.cause)
			}
			if !slices.Contains(test.want, f.RequestSent) {
				t.Errorf("request_sent is %s, want %v", f.RequestSent, test.want)
			}
			if wrong := in.contradicts(f); wrong != nil && !test.greeted {
				t.Errorf("request_sent is %s: %v", f.RequestSent, wrong)
			}
			t.Logf("%s, request_sent %s: %v", f.Cause, f.RequestSent, in)
			if t.Failed() {
				record, _ := json.MarshalIndent(f, "", "  ")
				t.Logf("%s", record)
			}
		})
	}
}

// However many reverse_proxies a request passes, each that was sent it counts, and none
// that was only asked about it.
func TestRequestSentOverAll(t *testing.T) {
	stores := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	allows := testcaddy.Good(t)
	manyDead := func(number int, other string) (pool string) {
		for i := range 20 {
			if i == number {
				pool += " " + other
			}
			pool += " " + testcaddy.Dead(t)
		}
		return pool
	}
	const then = "@gone status 404\nhandle_response @gone {\n"
	tests := []struct {
		name          string
		options, site string
		method        string // POST by default
		want          failure.Sent
	}{
		{name: "stored, then a fallback refuses", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy STORES {\n" + then + "reverse_proxy DEAD\n}\n}", want: failure.SentYes},
		{name: "stored, then a fallback is asked by GET", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy STORES {\n" + then + "reverse_proxy DEAD {\nmethod GET\n}\n}\n}", want: failure.SentYes},
		{name: "stored, then nobody is there", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy STORES {\n" + then + "reverse_proxy {\ndynamic multi {\n}\n}\n}\n}", want: failure.SentYes},
		{name: "stored as PUT", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy STORES {\nmethod PUT\n" + then + "reverse_proxy DEAD\n}\n}", want: failure.SentYes},
		{name: "stored, told by the handler of the fallback", site: "upstream_diagnostics\nreverse_proxy STORES {\n" + then + "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy DEAD\n}\n}", want: failure.SentYes},
		{name: "closed, told by the handler of the error's routes", site: "upstream_diagnostics {\npage off\n}\nreverse_proxy CUTS\nhandle_errors {\nupstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy DEAD\n}", want: failure.SentMaybe},
		{name: "closed, told by the handler of the error's routes after one inside", site: "upstream_diagnostics {\npage off\n}\nhandle {\nupstream_diagnostics {\npage off\n}\nreverse_proxy CUTS\n}\nhandle_errors {\nupstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy DEAD\n}", want: failure.SentMaybe},
		{name: "allowed by forward_auth, then refused", site: "upstream_diagnostics {\nretry_after 30s\n}\nforward_auth ALLOWS {\nuri /auth\n}\nreverse_proxy DEAD", want: failure.SentNo},
		{name: "allowed by a question of the owner's, then refused", site: "upstream_diagnostics {\nretry_after 30s\n}\nroute {\nreverse_proxy ALLOWS {\nmethod GET\n@ok status 2xx\nhandle_response @ok {\nvars ok yes\n}\n}\nreverse_proxy DEAD\n}", want: failure.SentNo},
		{name: "allowed by forward_auth, then stored", site: "upstream_diagnostics {\nretry_after 30s\n}\nforward_auth ALLOWS {\nuri /auth\n}\nreverse_proxy STORES {\n" + then + "reverse_proxy DEAD\n}\n}", want: failure.SentYes},
		{name: "stored, without an ear", options: "admin off", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy STORES {\n" + then + "reverse_proxy DEAD\n}\n}", want: failure.SentMaybe},
		{name: "stored, with active checks and FastCGI after it", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy STORES {\n" + then + "reverse_proxy DEAD {\nhealth_port 1\nhealth_interval 1h\nhealth_fails 100000\ntransport fastcgi\n}\n}\n}", want: failure.SentYes},
		{name: "closed by the tenth of many", method: "GET", site: "upstream_diagnostics\nreverse_proxy" + manyDead(10, "CUTS") + " {\nlb_policy round_robin\nlb_retries 20\n}", want: failure.SentMaybe},
		{name: "answered by the tenth of many", method: "GET", site: "upstream_diagnostics\nreverse_proxy" + manyDead(10, "STORES") + " {\nlb_policy round_robin\nlb_retries 20\nlb_retry_match expression `{rp.status_code} == 404 || {rp.is_transport_error} == true`\n}", want: failure.SentYes},
		{name: "refused by all of many", site: "upstream_diagnostics {\nretry_after 30s\n}\nreverse_proxy" + manyDead(-1, "") + " {\nlb_policy round_robin\nlb_retries 20\n}", want: failure.SentNo},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			site := strings.NewReplacer("STORES", stores, "ALLOWS", allows, "CUTS", testcaddy.Cutting(t), "DEAD", testcaddy.Dead(t)).Replace(test.site)
			c := testcaddy.StartWith(t, test.options, site)
			method := test.method
			if method == "" {
				method = http.MethodPost
			}
			a := c.Do(method, "/order", strings.NewReader("order=1"), "Accept: application/json")
			var problem struct {
				RequestSent failure.Sent `json:"request_sent"`
				RetryAfterS float64      `json:"retry_after_s"`
			}
			if err := json.Unmarshal([]byte(a.Body), &problem); err != nil {
				t.Fatalf("%v: %d %s", err, a.Status, a.Body)
			}
			f := c.Kept()[0]
			if f.RequestSent != test.want || problem.RequestSent != test.want {
				t.Errorf("request_sent is %s, the client is told %s, want %s", f.RequestSent, problem.RequestSent, test.want)
			}
			if method == http.MethodGet {
				return
			}
			want := ""
			if test.want == failure.SentNo {
				want = "30"
			}
			if got := a.Header.Get("Retry-After"); got != want || (problem.RetryAfterS > 0) != (want != "") {
				t.Errorf("Retry-After is %q, retry_after_s %v, want %q", got, problem.RetryAfterS, want)
			}
			words := map[failure.Sent]*regexp.Regexp{
				failure.SentYes:   regexp.MustCompile("Your request (was|had already been) received"),
				failure.SentMaybe: regexp.MustCompile("Your request may (have|already have) been received"),
				failure.SentNo:    regexp.MustCompile("Your request was not carried out"),
			}[test.want]
			if page := c.Do(method, "/order", strings.NewReader("order=1"), "Accept: text/html"); !words.MatchString(page.Body) {
				t.Errorf("the page doesn't say %q:\n%s", words, page.Body)
			}
		})
	}
}

// contradicts says what of a record is not true of what came.
func (in *intake) contradicts(f *failure.Failure) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case f.RequestSent == failure.SentNo && in.bytes > 0 && !in.disclaimed:
		return fmt.Errorf("%d bytes came", in.bytes)
	case f.RequestSent == failure.SentYes && in.heads == 0:
		return errors.New("the application has read no request")
	}
	var read int64
	known := false // the request's trace hears nothing of the body
	for _, a := range f.Attempts {
		if a.RequestBytes != nil {
			known, read = true, read+*a.RequestBytes
		}
	}
	if known && in.body > read {
		return fmt.Errorf("%d bytes of a body came, and %d were read to be sent", in.body, read)
	}
	return nil
}

// sendRaw is a client that sends these bytes, and reads the answer or, if it leaves,
// does so then.
func sendRaw(t *testing.T, c *testcaddy.Caddy, request string, leaves <-chan struct{}) {
	t.Helper()
	address := strings.TrimPrefix(c.URL, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	var writing sync.WaitGroup
	writing.Go(func() { writeRaw(conn, request) })
	defer writing.Wait()
	defer conn.Close()
	if leaves != nil {
		select {
		case <-leaves:
		case <-time.After(20 * time.Second):
			t.Error("the request has not come to the upstream")
		}
		return
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return
	}
	io.Copy(io.Discard, res.Body) // which may break off
}

// writeRaw writes a request piece by piece, with its host put in.
func writeRaw(conn net.Conn, request string) {
	head, body, _ := strings.Cut(request, "\r\n\r\n")
	io.WriteString(conn, strings.Replace(head, "HOST", conn.RemoteAddr().String(), 1)+"\r\n\r\n")
	for piece := range slices.Chunk([]byte(body), 64<<10) {
		if _, err := conn.Write(piece); err != nil {
			return // Caddy has given up
		}
	}
}

// testCertificates are those of httptest's servers.
var testCertificates = sync.OnceValue(func() []tls.Certificate {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return server.TLS.Certificates
})

// rawOf is the connection below TLS.
func rawOf(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
}

// fcgiOut is a record of a script's output.
func fcgiOut(output string) string {
	head := []byte{1, 6, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(head[4:], uint16(len(output)))
	return string(head) + output
}
