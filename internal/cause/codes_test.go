package cause

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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
		{http2.ErrCodeEnhanceYourCalm, []string{"Caddy asks too much of it", "the limit that it names"}, []string{"panic"}},
		{http2.ErrCodeProtocol, []string{"it finds fault with what Caddy sent", "header_up"}, []string{"Report it", "panic"}},
		{http2.ErrCodeCompression, []string{"it finds fault with the frames", "Update the server", "versions 1.1 in the transport avoids it"}, []string{"header_up"}},
		{http2.ErrCodeFlowControl, []string{"it finds fault with the frames", "Update the server"}, []string{"header_up"}},
		{http2.ErrCodeFrameSize, []string{"it finds fault with the frames", "Update the server"}, []string{"header_up"}},
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
			says(t, f, append(test.says, "the upstream reset the stream: HTTP/2 error code "+test.code.String()), test.not)
		})
	}
}

// A GOAWAY that names a fault is put down to no restart, and to no limit of a connection.
func TestGoawaySaysWhereToLook(t *testing.T) {
	for code, advice := range map[http2.ErrCode]string{http2.ErrCodeCompression: "Update the server", http2.ErrCodeProtocol: "header_up"} {
		t.Run(code.String(), func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Protocol, a.Err = "h2c", http2.GoAwayError{LastStreamID: 5, ErrCode: code}
				a.Connection.Reused, a.Connection.Link = true, &listen.Link{Requests: 2}
			})))
			check(t, f)
			if f.Cause != Goaway.Name {
				t.Error(f.Cause)
			}
			says(t, f, []string{advice}, []string{"a restart"})
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
			if f.Cause != HTTPFramingError.Name || f.RequestSent != test.sent || (f.Phase == failure.PhaseHeaders) == (len(test.says) == 1 && strings.HasPrefix(test.says[0], "can't be read")) {
				t.Errorf("%s in phase %s, sent %s, want %s", f.Cause, f.Phase, f.RequestSent, test.sent)
			}
			says(t, f, test.says, nil)
		})
	}
}

// A client that sends Upgrade without naming it in Connection asks for nothing, so that
// Caddy rightly passes nothing on.
func TestAnUpgradeThatNobodyAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		connection []string
		advice     string
	}{
		"named in Connection":     {[]string{"keep-alive, upgrade"}, "Remove what header_up does"},
		"not named":               {[]string{"keep-alive"}, "Let the client, or what stands in front of Caddy"},
		"no Connection field":     {nil, "Let the client, or what stands in front of Caddy"},
		"named in a second field": {[]string{"keep-alive", "Upgrade"}, "Remove what header_up does"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Diagnose(heard(func(h *listen.Heard) { h.Response.Status = 426 }, answered200(func(a *listen.Attempt) {
				a.Status = 426
				a.Header = http.Header{"Upgrade": {"websocket"}, ":upgrade": {"websocket"}, ":connection": {strings.Join(test.connection, ", ")}}
			})))
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != UpstreamStatus.Name || f.Side != failure.SideProxy {
				t.Errorf("%s, side %s", f.Cause, f.Side)
			}
			says(t, f, []string{test.advice}, nil)
		})
	}
}

// A socket's path that leads through another socket is not the socket's.
func TestASocketBelowASocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs the errors that a Unix has for its sockets")
	}
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f := Diagnose(to(t, filepath.Join(path, "app.sock"), unixSocket).ask(t))
	if f == nil || f.Cause != SocketNotFound.Name {
		t.Fatalf("%+v", f)
	}
	check(t, f)
	says(t, f, []string{path + " is a socket, not a folder", "most likely the one that is meant"}, []string{"Start the application"})
}

// What a stream's place on its connection, the time and the request exclude is not advised.
func TestCodesAdviseNothingThatIsExcluded(t *testing.T) {
	deadline := &http.Request{Header: http.Header{"Grpc-Timeout": {"1S"}}}
	large := &http.Request{Header: http.Header{"Cookie": {strings.Repeat("x", smallHeader)}}}
	many := &http.Request{Header: http.Header{"X-A": slices.Repeat([]string{"b"}, manyFields)}}
	for name, test := range map[string]struct {
		code      http2.ErrCode
		stream    uint32
		request   *http.Request
		took      time.Duration
		says, not []string
	}{
		"refused, the first":          {http2.ErrCodeRefusedStream, 1, nil, 0, []string{"the first stream of its connection"}, []string{"too many at once"}},
		"refused, the sixth":          {http2.ErrCodeRefusedStream, 11, nil, 0, []string{"too many at once (max concurrent streams)"}, []string{"the first stream"}},
		"too much, the first":         {http2.ErrCodeEnhanceYourCalm, 1, nil, 0, []string{"over all connections"}, []string{"resets, pings"}},
		"too much, a small header":    {http2.ErrCodeEnhanceYourCalm, 1, deadline, 0, []string{"over all connections", "the request's header has about"}, []string{"the size of a header", "one on a header"}},
		"too much, a large header":    {http2.ErrCodeEnhanceYourCalm, 1, large, 0, []string{"the largest is Cookie", "the size of a header", "one on a header"}, nil},
		"too much, large, the sixth":  {http2.ErrCodeEnhanceYourCalm, 11, large, 0, []string{"resets, pings", "the largest is Cookie", "large_client_header_buffers"}, nil},
		"a fault, a large header":     {http2.ErrCodeProtocol, 11, large, 0, []string{"what it finds wrong", "the largest is Cookie", "large_client_header_buffers"}, nil},
		"undecodable, a large header": {http2.ErrCodeCompression, 11, large, 0, []string{"Update the server", "the largest is Cookie"}, nil},
		"a fault, many fields":        {http2.ErrCodeProtocol, 1, many, 0, []string{"in 90 fields", "Envoy takes 100"}, nil},
		"a fault, a small header":     {http2.ErrCodeProtocol, 1, deadline, 0, []string{"what it finds wrong"}, []string{"the largest is", "Envoy"}},
		"too much, the sixth":         {http2.ErrCodeEnhanceYourCalm, 11, nil, 0, []string{"resets, pings"}, []string{"the first stream"}},
		"given up at once":            {http2.ErrCodeCancel, 1, &http.Request{}, 0, []string{"has no deadline of gRPC", "at once"}, []string{"a timeout of its own"}},
		"given up a second later":     {http2.ErrCodeCancel, 1, &http.Request{}, time.Second, []string{"has no deadline of gRPC", "a timeout of its own"}, []string{"at once"}},
		"given up, with a deadline":   {http2.ErrCodeCancel, 1, deadline, time.Second, []string{"that a gRPC client sends along"}, []string{"has no deadline"}},
		"given up, nobody knows why":  {http2.ErrCodeCancel, 1, nil, 0, []string{"that a gRPC client sends along"}, []string{"has no deadline"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Protocol, a.TLS, a.Request = "h2", true, test.request
				a.End += test.took
				a.Err = http2.StreamError{StreamID: test.stream, Code: test.code, Cause: errors.New(textFromPeer)}
			})))
			check(t, f)
			says(t, f, test.says, test.not)
		})
	}
}
