package cause

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Only what the peer ended is a race with its timeout.
func TestAKeepaliveRaceIsThePeers(t *testing.T) {
	closed := &net.OpError{Op: "write", Err: net.ErrClosed}
	link := func(end listen.End) *listen.Link { return &listen.Link{End: end} }
	hidden := func(first string, received int64) *listen.Carried {
		return &listen.Carried{Encrypted: true, Head: []byte(first), Received: received}
	}
	for name, test := range map[string]struct {
		link    *listen.Link
		carried *listen.Carried
		err     error
		want    *Row
	}{
		"nobody listened":                          {nil, nil, closed, KeepaliveRace},
		"the peer closed":                          {link(listen.EndClosed), nil, closed, KeepaliveRace},
		"the peer reset":                           {link(listen.EndReset), nil, closed, KeepaliveRace},
		"our side closed":                          {link(listen.EndOurs), new(listen.Carried), closed, Unknown},
		"it was lost":                              {link(listen.EndLost), new(listen.Carried), closed, ConnectionLost},
		"our side, after end of file":              {link(listen.EndOurs), new(listen.Carried), io.EOF, KeepaliveRace},
		"our side, after a reset":                  {link(listen.EndOurs), new(listen.Carried), syscall.ECONNRESET, KeepaliveRace},
		"our side, over TLS, after its alert":      {link(listen.EndOurs), hidden("\x15\x03\x03", 31), closed, KeepaliveRace},
		"our side, over TLS 1.3, after its alert":  {link(listen.EndOurs), hidden("\x17\x03\x03", 24), closed, KeepaliveRace},
		"our side, over TLS, asked to renegotiate": {link(listen.EndOurs), hidden("\x16\x03\x03", 33), closed, TLSRenegotiationRefused},
		"our side, over TLS, after much else":      {link(listen.EndOurs), hidden("\x17\x03\x03", 900), closed, Unknown},
	} {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/silent %v", name, silent), func(t *testing.T) {
				a := listen.Attempt{
					Exact: true, Protocol: "http/1.1", Sent: 1, Wrote: 3, End: 4, Silent: silent, Err: test.err,
					Connection: &listen.Connection{At: 2, Reused: true, WasIdle: true, Idle: time.Second, Link: test.link, Carried: test.carried},
				}
				if silent {
					a.Err = nil
					if errors.Is(test.err, io.EOF) || errors.Is(test.err, syscall.ECONNRESET) {
						t.Skip("there is no error then")
					}
				} else if test.want == TLSRenegotiationRefused {
					t.Skip("the error says so, and it is another")
				}
				h := &listen.Heard{Attempts: []listen.Attempt{a}}
				if f := attemptCause(tryOf(h, &h.Attempts[0])); f.row != test.want {
					t.Errorf("found %s %q, want %s", f.row.Name, f.evidence, test.want.Name)
				}
			})
		}
	}
}

// What our own side ended is the upstream's failure over no protocol.
func TestOurOwnEndIsNotTheUpstreams(t *testing.T) {
	fromPeer := http2.StreamError{Code: http2.ErrCodeCancel, Cause: errors.New(textFromPeer)}
	readClosed := &net.OpError{Op: "read", Err: net.ErrClosed}
	for name, test := range map[string]struct {
		client   listen.Client
		protocol string
		err      error
		writeErr error
		end      listen.End
		want     *Row // nil for no record
	}{
		"HTTP/1, the client left":              {client: listen.Client{Left: true}, err: readClosed, end: listen.EndOurs},
		"HTTP/1, its upload broke off":         {client: listen.Client{BodyErr: io.ErrUnexpectedEOF}, err: readClosed, end: listen.EndOurs},
		"HTTP/1, and over TLS the peer too":    {client: listen.Client{BodyErr: syscall.EIO}, err: io.ErrUnexpectedEOF, writeErr: syscall.EIO, end: listen.EndOurs},
		"HTTP/1, the upload was cut":           {client: listen.Client{BodyErr: http.ErrBodyReadAfterClose}, err: readClosed, end: listen.EndOurs, want: UploadCutByEarlyResponse},
		"HTTP/1, nobody knows why":             {err: readClosed, end: listen.EndOurs, want: Unknown},
		"HTTP/1, the peer closed":              {client: listen.Client{Left: true}, err: readClosed, end: listen.EndClosed, want: ResponseTruncated},
		"h2, the client left":                  {client: listen.Client{Left: true}, protocol: protocolH2, err: http2.StreamError{Code: http2.ErrCodeCancel}},
		"h2, the peer gave up":                 {client: listen.Client{Left: true}, protocol: protocolH2, err: fromPeer, want: StreamReset},
		"h3, the client left":                  {client: listen.Client{Left: true}, protocol: protocolHTTP3, err: errors.New("H3_REQUEST_CANCELLED (local)")},
		"h3, the client left after GOAWAY":     {client: listen.Client{Left: true}, protocol: protocolHTTP3, err: errors.New("H3_NO_ERROR (local)")},
		"h3, the connection was lost":          {client: listen.Client{Left: true}, protocol: protocolHTTP3, err: errors.New(textQUICIdle), want: ConnectionLost},
		"HTTP/1, the answer came to its end":   {err: io.ErrUnexpectedEOF, end: listen.EndClosed, want: ResponseTruncated},
		"HTTP/1, the writing was what was cut": {err: io.ErrUnexpectedEOF, writeErr: http.ErrBodyReadAfterClose, end: listen.EndOurs, want: UploadCutByEarlyResponse},
	} {
		t.Run(name, func(t *testing.T) {
			h := &listen.Heard{
				Panicked: true, Client: test.client, Response: listen.Response{Status: 200},
				Attempts: []listen.Attempt{{
					Exact: true, Protocol: test.protocol, Sent: 1, Wrote: 3, WriteErr: test.writeErr, FirstByte: 4, Answered: 5, Status: 200,
					Body:       listen.Body{Err: test.err, Expected: -1, Bytes: 5},
					Connection: &listen.Connection{At: 2, Link: &listen.Link{End: test.end}},
				}},
			}
			f := Diagnose(h)
			switch {
			case test.want == nil && f != nil:
				t.Errorf("recorded as %s, side %s", f.Cause, f.Side)
			case test.want != nil && (f == nil || f.Cause != test.want.Name):
				t.Errorf("got %+v, want %s", f, test.want.Name)
			}
		})
	}
}

// A connection that carried many requests was ended by a limit rather than by a restart.
func TestGoawayAfterManyRequests(t *testing.T) {
	graceful := errors.New(textCannotRetry + textGracefulGoaway + "] after Request.Body was written")
	for name, test := range map[string]struct {
		requests int
		body     int64
		side     failure.Side
		advice   string
	}{
		"the first request": {0, 7, failure.SideUpstream, "restarted"},
		"a few":             {3, 7, failure.SideUpstream, "restarted"},
		"many":              {20, -1, failure.SideUpstream, "keepalive_requests"},
		"many, and a body":  {20, 7, failure.SideProxy, "request_buffers"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &listen.Heard{Err: graceful, ErrStatus: 502, Attempts: []listen.Attempt{{
				Exact: true, Protocol: protocolH2, Sent: 1, Err: graceful, RequestBytes: test.body,
				Connection: &listen.Connection{At: 2, Reused: true, Link: &listen.Link{Requests: test.requests, Shared: true}},
			}}}
			f := Diagnose(h)
			if f.Cause != Goaway.Name || f.Side != test.side || !strings.Contains(f.Advice, test.advice) || f.RequestSent != failure.SentNo {
				t.Errorf("%s, side %s, sent %s: %s", f.Cause, f.Side, f.RequestSent, f.Advice)
			}
			if told := strings.Contains(strings.Join(f.Evidence, "\n"), "requests before"); told != (test.requests > 0) {
				t.Errorf("evidence: %q", f.Evidence)
			}
		})
	}
}

// Go's transport says by itself that it could not send a body again.
func TestABodyThatGoCannotRewind(t *testing.T) {
	err := errors.New(textCannotRewind)
	h := &listen.Heard{Err: err, ErrStatus: 502, Attempts: []listen.Attempt{{
		Exact: true, Protocol: protocolH2C, Sent: 1, Err: err, RequestBytes: 1, Connection: &listen.Connection{At: 2, Reused: true},
	}}}
	if f := Diagnose(h); f.Cause != RetriedWithoutBody.Name || f.RequestSent != failure.SentNo {
		t.Errorf("%s, sent %s", f.Cause, f.RequestSent)
	}
}

// Who leaves while the request is sent leaves in that phase, whatever the transport says.
func TestAClientThatLeavesMakesTheTransportClose(t *testing.T) {
	err := &net.OpError{Op: "write", Err: net.ErrClosed}
	h := &listen.Heard{Err: err, ErrStatus: 502, Client: listen.Client{Left: true}, Attempts: []listen.Attempt{{
		Exact: true, Protocol: "http/1.1", Sent: 1, Err: err, WriteErr: err, Wrote: 3,
		Connection: &listen.Connection{At: 2, Link: &listen.Link{End: listen.EndOurs}, Carried: &listen.Carried{Sent: 9}},
	}}}
	if f := Diagnose(h); f.Cause != ClientClosedRequest.Name || f.Phase != failure.PhaseSend {
		t.Errorf("%s in phase %s", f.Cause, f.Phase)
	}
}

// No idle timeout has ended a connection that was idle for less than a second; and a crash
// can be ruled out only where nothing of the request had been sent.
func TestAConnectionThatWasHardlyIdle(t *testing.T) {
	const crash, off, less = "a crash upon this very request", "Set keepalive off", "less than the upstream's own idle timeout"
	for name, test := range map[string]struct {
		idle      time.Duration
		sent      int64
		says, not []string
	}{
		"hardly":                       {300 * time.Microsecond, 90, []string{"again after only 0.3 ms", off, crash}, []string{"at the moment", less}},
		"hardly, and nothing was sent": {300 * time.Microsecond, 0, []string{"again after only 0.3 ms", off}, []string{less, crash}},
		"for seconds":                  {5 * time.Second, 90, []string{"at the moment when it was used again", less, crash}, []string{off}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Err, a.RequestBytes = io.EOF, 7
				a.Connection.Reused, a.Connection.WasIdle, a.Connection.Idle = true, true, test.idle
				a.Connection.Carried, a.Connection.Link = &listen.Carried{Sent: test.sent}, &listen.Link{End: listen.EndClosed}
			})))
			if f.Cause != KeepaliveRace.Name || f.Side != failure.SideProxy {
				t.Errorf("%s, side %s", f.Cause, f.Side)
			}
			f.Evidence = append(f.Evidence, f.Summary)
			says(t, f, test.says, test.not)
		})
	}
}
