package cause

import (
	"errors"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Each code by which an upstream ends a request has advice of its own, where it says more
// than that.
func TestCodesSayWhereToLook(t *testing.T) {
	for _, test := range []struct {
		code      http2.ErrCode
		says, not []string
	}{
		{http2.ErrCodeRefusedStream, []string{"not at its application's"}, []string{"panic"}},
		{http2.ErrCodeInternal, []string{"a panic"}, []string{"limits"}},
		{http2.ErrCodeCancel, []string{"grpc-timeout"}, []string{"panic"}},
		{http2.ErrCodeEnhanceYourCalm, []string{"Caddy asks too much of it", "limits of the server"}, []string{"panic"}},
		{http2.ErrCodeProtocol, []string{"it finds fault with what Caddy sent", "header_up"}, []string{"Report it", "panic"}},
		{http2.ErrCodeNo, []string{"error code NO_ERROR", StreamReset.Advice[:20]}, []string{"which says"}},
	} {
		t.Run(test.code.String(), func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Protocol, a.TLS = "h2", true
				a.Err = http2.StreamError{StreamID: 1, Code: test.code, Cause: errors.New(textFromPeer)}
			})))
			check(t, f)
			if f.Cause != StreamReset.Name || f.Side != failure.SideUpstream {
				t.Errorf("%s, side %s", f.Cause, f.Side)
			}
			tells(t, f, append(test.says, "the upstream reset the stream: HTTP/2 error code "+test.code.String()), test.not)
		})
	}
}

// What can't be decoded is this request's answer only where no other request ever had the
// connection.
func TestAHeaderThatCannotBeRead(t *testing.T) {
	for name, test := range map[string]struct {
		err      error
		requests int
		sent     failure.Sent
		says     []string
	}{
		"undecodable, alone":          {http2.ConnectionError(http2.ErrCodeCompression), 0, failure.SentYes, []string{"the first byte of an answer came", "Caddy's side ended the connection"}},
		"undecodable, among others":   {http2.ConnectionError(http2.ErrCodeCompression), 2, failure.SentMaybe, []string{"or for another on the same connection"}},
		"another rule of connections": {http2.ConnectionError(http2.ErrCodeFlowControl), 0, failure.SentMaybe, []string{"can't be read as an answer"}},
		"a field, among others":       {http2.StreamError{StreamID: 3, Code: http2.ErrCodeProtocol, Cause: errors.New(`invalid header field name "X-A"`)}, 2, failure.SentYes, []string{"the first byte of an answer came", "lower case"}},
		"a rule that has no words":    {http2.StreamError{StreamID: 3, Code: http2.ErrCodeProtocol}, 0, failure.SentMaybe, []string{"can't be read as an answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Protocol, a.Err = "h2c", test.err
				a.Connection.Link = &listen.Link{Shared: true, Requests: test.requests}
				a.Limits = &failure.Limits{Transport: "http"}
			})))
			check(t, f)
			if f.Cause != HTTPFramingError.Name || f.RequestSent != test.sent || f.Phase != failure.PhaseHeaders {
				t.Errorf("%s in phase %s, sent %s, want %s", f.Cause, f.Phase, f.RequestSent, test.sent)
			}
			tells(t, f, test.says, nil)
		})
	}
}
