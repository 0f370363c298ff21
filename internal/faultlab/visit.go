package faultlab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Request is what a client has to send for a fault to show. It is written by hand,
// for a client that behaves badly is a fault too.
type Request struct {
	// Method. Default: GET.
	Method string
	Header map[string]string
	// Body writes the body, framing and all; nil for none.
	Body func(w io.Writer) error
	// Length is the Content-Length of a Body; -1 says chunked instead.
	Length int64
	// Leave says when the client closes its connection. Default: when the
	// answer has come.
	Leave Leaving
}

// Leaving says when a client closes its connection.
type Leaving int

// A client leaves when it has its answer, when its request has come to the
// upstream, when the first byte of the answer's body has come, or after LeaveDelay,
// where nothing that an upstream sees could tell the moment.
const (
	LeaveAnswered Leaving = iota
	LeaveReached
	LeaveInBody
	LeaveDelayed
	// LeaveSent is at once, when the head of the request was written.
	LeaveSent
	// LeaveLate is after LateDelay.
	LeaveLate
)

// LeaveDelay is how long a client that sees no event waits before it leaves: long
// enough for a proxy to be dialling.
const LeaveDelay = 250 * time.Millisecond

// LateDelay is how long a client waits in vain for what the system sends again and again.
const LateDelay = 1500 * time.Millisecond

// Answer is what the client got.
type Answer struct {
	// Status is 0 where no answer came: the client left, or Err says why.
	Status int
	Header http.Header
	// Body is at most 1 MiB of it; Err is what broke off the answer.
	Body []byte
	Err  error
}

const maxAnswer = 1 << 20

// Visit does what the fault needs of a client: first whatever has to have happened
// before, then the request that fails. target is the URL of a proxy in front of the
// upstream, http alone.
func (u *Upstream) Visit(ctx context.Context, target string) (*Answer, error) {
	v := &visitor{ctx: ctx, target: target, upstream: u}
	if u.before != nil {
		end, err := u.before(v)
		if end != nil {
			defer end()
		}
		if err != nil {
			return nil, fmt.Errorf("before the request that fails: %w", err)
		}
	}
	return v.send(u.Request)
}

// visitor is a client of one proxy.
type visitor struct {
	ctx      context.Context
	target   string
	upstream *Upstream
	// conn is a connection to the proxy that is there already; nil for none.
	conn net.Conn
}

func (v *visitor) dial() (net.Conn, error) {
	to, err := url.Parse(v.target)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(v.ctx, "tcp", to.Host)
}

// warm gets a good answer over a connection, and keeps that.
func (v *visitor) warm() error {
	c, err := v.dial()
	if err != nil {
		return err
	}
	v.conn = c
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: warm\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the good answer has status %d", res.StatusCode)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func (v *visitor) send(r Request) (*Answer, error) {
	to, err := url.Parse(v.target)
	if err != nil {
		return nil, err
	}
	c := v.conn
	if c == nil {
		if c, err = v.dial(); err != nil {
			return nil, err
		}
	}
	defer c.Close()
	defer context.AfterFunc(v.ctx, func() { _ = c.Close() })()

	if _, err := io.WriteString(c, r.head(to)); err != nil {
		return nil, err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if r.Body != nil {
			_ = r.Body(c) // a proxy that gave up closes it
		}
	}()
	defer func() { _ = c.Close(); <-written }()

	switch r.Leave {
	case LeaveSent:
		return new(Answer), nil
	case LeaveReached:
		return new(Answer), v.await(v.upstream.reached)
	case LeaveDelayed, LeaveLate:
		delay := LeaveDelay
		if r.Leave == LeaveLate {
			delay = LateDelay
		}
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			return new(Answer), nil
		case <-v.ctx.Done():
			return nil, v.ctx.Err()
		}
	}
	return r.answer(c), v.ctx.Err()
}

// await waits until the event has happened.
func (v *visitor) await(event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-v.ctx.Done():
		return fmt.Errorf("the request has not reached the upstream: %w", v.ctx.Err())
	}
}

func (r Request) method() string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func (r Request) head(to *url.URL) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method(), to.RequestURI(), to.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, r.Header[name])
	}
	switch {
	case r.Body == nil:
	case r.Length < 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	default:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.Length)
	}
	b.WriteString("\r\n")
	return b.String()
}

func (r Request) answer(c net.Conn) *Answer {
	response, err := r.response(bufio.NewReader(c))
	if err != nil {
		return &Answer{Err: fmt.Errorf("no answer: %w", err)}
	}
	// The body isn't closed: that would wait for its end, and what we do is to
	// close the connection.
	a := &Answer{Status: response.StatusCode, Header: response.Header}
	if a.Status == http.StatusSwitchingProtocols {
		return a
	}
	limit := int64(maxAnswer)
	if r.Leave == LeaveInBody {
		limit = 1
	}
	a.Body, a.Err = io.ReadAll(io.LimitReader(response.Body, limit))
	return a
}

// response reads the final response; interim ones are passed over.
func (r Request) response(from *bufio.Reader) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(from, &http.Request{Method: r.method()})
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
}

// zeros is a body of n bytes.
func zeros(n int64) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.CopyN(w, zeroReader{}, n)
		return err
	}
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// says is a body of these very bytes.
func says(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// slowly is a body that comes by single bytes, each a while after the one before.
func slowly(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		for range n {
			if _, err := io.WriteString(w, "x"); err != nil {
				return err
			}
			time.Sleep(lateness / 4)
		}
		return nil
	}
}

// post is a request with a small body, that must not be sent twice.
func post() Request {
	return Request{Method: http.MethodPost, Body: says("order=1"), Length: 7}
}

// upload is a request whose body is more than any socket buffers.
func upload() Request {
	const size = 64 << 20
	return Request{Method: http.MethodPost, Body: zeros(size), Length: size}
}

// warmUp lets one request go well, so that the proxy has an idle connection.
func warmUp(v *visitor) (func(), error) {
	a, err := v.send(Request{})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("the first request got %d, not 200", a.Status)
	}
	return nil, a.Err
}

// after says what has to have happened before the request that fails.
func after(before func(*visitor) (func(), error)) option {
	return func(u *Upstream) { u.before = before }
}
