package cause

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Where a connection ends without a byte, the time that it took and what the upstream did
// before decide what is advised.
func TestAdviceGoesByTimeAndPast(t *testing.T) {
	never, before := &listen.Before{}, &listen.Before{Answers: 12, Last: -3 * time.Second}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	proxied := &failure.Limits{Transport: "http", ProxyProtocol: "v2"}
	on := func(port string) func(*listen.Attempt) {
		return func(a *listen.Attempt) { a.Address = "10.0.0.7:" + port }
	}
	fastCGI := func(a *listen.Attempt) {
		a.Protocol, a.Connection, a.Wrote = "fastcgi", nil, 0
		a.Dialing = &listen.Dialing{Start: a.Sent, End: a.Sent, Connects: []listen.Connect{{Network: "tcp", Address: "10.0.0.7:9000", Start: a.Sent, End: a.Sent}}}
	}
	asksWebSocket := func(a *listen.Attempt) {
		a.Request = &http.Request{URL: &url.URL{Path: "/ws"}, Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}}
	}
	for _, test := range []struct {
		name   string
		took   time.Duration
		before *listen.Before
		err    error
		change func(*listen.Attempt)
		cause  *Row
		side   failure.Side
		says   []string
		not    []string
	}{
		{
			name: "at once, never answered", took: millisecond, before: never, cause: ClosedBeforeResponse,
			says: []string{"ask it from ", "(curl -v http://10.0.0.7:8080/)", "published Docker port", "https://", "php_fastcgi", "a crash upon this request", "had not answered anything before this request, since this Caddy began"}, not: []string{"nothing worked", "X-Forwarded-Proto"},
		},
		{name: "the same, reset", took: millisecond, before: never, err: reset, cause: ResetBeforeResponse, says: []string{"(curl -v http://10.0.0.7:8080/)", "published Docker port"}, not: []string{"killed", "nothing worked"}},
		{name: "a TLS port", took: millisecond, before: never, change: on("8443"), cause: ClosedBeforeResponse, side: failure.SideProxy, says: []string{"Write https:// in front", "Docker"}, not: []string{"(https://)"}},
		{name: "php-fpm's port", took: millisecond, before: never, err: reset, change: on("9000"), cause: ResetBeforeResponse, side: failure.SideProxy, says: []string{"Use php_fastcgi"}, not: []string{"something else than HTTP"}},
		{name: "uwsgi's port", took: millisecond, before: never, change: on("3031"), cause: ClosedBeforeResponse, side: failure.SideProxy, says: []string{"http-socket"}},
		{name: "Tomcat's other port", took: millisecond, before: never, change: on("8009"), cause: ClosedBeforeResponse, side: failure.SideProxy, says: []string{"AJP"}},
		{name: "a database's port", took: millisecond, before: never, change: on("5432"), cause: ClosedBeforeResponse, side: failure.SideProxy, says: []string{"database"}},
		{
			name: "a PROXY header went before", took: millisecond, before: never, change: func(a *listen.Attempt) { a.Limits = proxied }, cause: ClosedBeforeResponse,
			says: []string{"remove proxy_protocol", "PROXY protocol header (v2) was sent"}, not: []string{"a PROXY header first"},
		},
		{
			name: "a PROXY header went before, and was refused before", took: millisecond, before: before, change: func(a *listen.Attempt) { a.Limits = proxied }, cause: ClosedBeforeResponse,
			says: []string{"remove proxy_protocol", "it had given 12 answers before"},
		},
		{
			name: "a PROXY header went before, which is expected", took: millisecond, before: &listen.Before{Answers: 12, Worked: time.Second}, change: func(a *listen.Attempt) { a.Limits = proxied }, cause: ClosedBeforeResponse,
			says: []string{"crash"}, not: []string{"remove proxy_protocol"},
		},
		{
			name: "a PROXY header went before, and the request was being written", took: millisecond, before: before, err: &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}, cause: RequestWriteFailed,
			change: func(a *listen.Attempt) { a.Limits, a.WriteErr, a.RequestBytes = proxied, a.Err, 4 },
			says:   []string{"remove proxy_protocol", "PROXY protocol header (v2) was sent"}, not: []string{"413"},
		},
		{name: "over TLS", took: millisecond, before: never, change: func(a *listen.Attempt) { a.TLS = true }, cause: ClosedBeforeResponse, says: []string{"tls_client_auth", "(curl -vk --http1.1 https://10.0.0.7:8080/)", "set versions 2"}, not: []string{"Docker"}},
		{
			name: "a socket", took: millisecond, before: never, change: func(a *listen.Attempt) { a.Network, a.Address = "unix", "/run/app.sock" }, cause: ClosedBeforeResponse,
			says: []string{"php_fastcgi", "http-socket", "curl -v --unix-socket"}, not: []string{"Docker"},
		},
		{
			name: "before anything was sent", took: 0, before: before, change: func(a *listen.Attempt) { a.Connection.Carried, a.Wrote = &listen.Carried{}, 0 }, cause: ClosedBeforeResponse,
			says: []string{"before anything was sent", "a target that is gone look the same"}, not: []string{"look for a crash", "another program", "it had read"},
		},
		{
			name: "before anything was sent, never answered", took: 0, before: never, change: func(a *listen.Attempt) { a.Connection.Carried, a.Wrote = &listen.Carried{}, 0 }, cause: ClosedBeforeResponse,
			says: []string{"before anything was sent", "another program on this port look the same from here: what listens there, and its log, tell"}, not: []string{"it had read"},
		},
		{
			name: "at once, answered before", took: millisecond, before: before, cause: ClosedBeforeResponse,
			says: []string{"crash", "max_requests", "it had given 12 answers before, the last one 3 s before this request came"}, not: []string{"Docker"},
		},
		{
			name: "at once, a large header", took: millisecond, before: before, err: reset, cause: ResetBeforeResponse,
			change: func(a *listen.Attempt) {
				a.Request = &http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{"Cookie": {strings.Repeat("x", tightHeader)}}}
			},
			says: []string{"crash", "buffer-size of uwsgi", "the largest is Cookie", "connections or the size of a header"},
		},
		{
			name: "at once, a small header", took: millisecond, before: before, err: reset, cause: ResetBeforeResponse,
			change: func(a *listen.Attempt) {
				a.Request = &http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{"Cookie": {"a=b"}}}
			},
			says: []string{"crash"}, not: []string{"uwsgi", "size of a header", "the largest is"},
		},
		{name: "a WebSocket, answered before", took: millisecond, before: before, cause: ClosedBeforeResponse, change: asksWebSocket, says: []string{"asks for a WebSocket", "socket.destroy", "lb_policy cookie"}, not: []string{"max_requests"}},
		{name: "a WebSocket, never answered", took: millisecond, before: never, cause: ClosedBeforeResponse, change: asksWebSocket, says: []string{"https://"}, not: []string{"socket.destroy"}},
		{name: "at once, nothing known of the past", took: millisecond, cause: ClosedBeforeResponse, says: []string{ClosedBeforeResponse.Advice}},
		{name: "after a moment", took: 300 * millisecond, before: before, cause: ClosedBeforeResponse, says: []string{ClosedBeforeResponse.Advice}},
		{name: "after 30 s", took: 30*time.Second + 400*millisecond, before: before, cause: ClosedBeforeResponse, says: []string{"gunicorn's --timeout is 30 s", "about 30 s"}},
		{name: "after 30 s, the first of all", took: 30*time.Second + 400*millisecond, before: never, cause: ClosedBeforeResponse, says: []string{"gunicorn's --timeout is 30 s"}},
		{name: "after 5 s", took: 5 * time.Second, before: before, cause: ClosedBeforeResponse, says: []string{"a limit of 5 s", "WriteTimeout of a Go server, which logs nothing"}, not: []string{"a crash"}},
		{name: "after no such time", took: 6700 * millisecond, before: before, cause: ClosedBeforeResponse, says: []string{"below 6.7 s", "WriteTimeout"}, not: []string{"often set as a limit"}},
		{name: "after 350 s", took: 350 * time.Second, before: before, err: reset, cause: ResetBeforeResponse, says: []string{"Network Load Balancer 350 s"}},
		{name: "uwsgi's own protocol", took: 4 * time.Second, before: never, cause: ClosedBeforeResponse, says: []string{"http-socket"}, not: []string{"a crash"}},
		{name: "a balancer that tried again", took: 3 * time.Second, before: never, cause: ClosedBeforeResponse, says: []string{"has never answered", "balancer"}, not: []string{"a crash"}},
		{name: "FastCGI, at once", took: millisecond, before: never, change: fastCGI, cause: ClosedBeforeResponse, says: []string{"listen.allowed_clients", "reverse_proxy without FastCGI", "php-fpm's says whether it refused this client"}, not: []string{"no script ran"}},
		{name: "FastCGI, at once, answered before", took: millisecond, before: before, change: fastCGI, cause: ClosedBeforeResponse, says: []string{adviceScriptEnded}},
		{name: "FastCGI, after seconds", took: 5300 * millisecond, before: before, change: fastCGI, cause: ClosedBeforeResponse, says: []string{"request_terminate_timeout, if it is set to less than 5.3 s", "memory_limit"}},
		{
			name: "HTTP/2 in the clear, of which nothing came", took: millisecond, before: never, change: func(a *listen.Attempt) { a.Protocol = "h2c" }, cause: ClosedBeforeResponse,
			says: []string{"wants http:// instead of h2c://", "nothing of HTTP/2 had come"},
		},
		{
			name: "HTTP/2 in the clear, which had begun", took: millisecond, before: never, cause: ClosedBeforeResponse,
			change: func(a *listen.Attempt) {
				a.Protocol, a.Connection.Opening = "h2c", []byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")
			},
			says: []string{"--http2-prior-knowledge", "HTTP/2's first frame had come", "whether the header of an answer had begun can't be told"}, not: []string{"time limit", "another protocol"},
		},
		{
			name: "HTTP/2 in the clear, which had answered before", took: millisecond, before: before, change: func(a *listen.Attempt) { a.Protocol = "h2c" }, cause: ClosedBeforeResponse,
			says: []string{adviceWorkerEnded[:40]},
		},
		{name: "HTTP/2", took: millisecond, before: never, change: func(a *listen.Attempt) { a.Protocol, a.TLS = "h2", true }, cause: ClosedBeforeResponse, says: []string{"(curl -vk --http2 https://10.0.0.7:8080/)", "tls_client_auth", "agreed on in the TLS handshake"}, not: []string{"time limit", "another protocol"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Before, a.Err, a.Connection.Link = test.before, test.err, &listen.Link{End: listen.EndClosed}
				if a.Err == nil {
					a.Err = io.EOF
				}
				from := a.Wrote
				if test.change != nil {
					test.change(a)
				}
				if a.Wrote == 0 {
					from = a.Sent
				}
				a.End = from + test.took
			})))
			if f == nil {
				t.Fatal("nothing was found")
			}
			side := orText(string(test.side), string(failure.SideUpstream))
			if f.Cause != test.cause.Name || string(f.Side) != side {
				t.Errorf("%s, side %s", f.Cause, f.Side)
			}
			says(t, f, test.says, test.not)
		})
	}
}

// Where docker-proxy takes the connection, it is known for whom.
func TestPublishedPortIsNamed(t *testing.T) {
	saved := publishedPort
	t.Cleanup(func() { publishedPort = saved })
	publishedPort = func(port uint16) (string, bool) { return "172.17.0.2:3000", port == 8080 }
	for address, named := range map[string]bool{"127.0.0.1:8080": true, "127.0.0.1:8081": false, "192.0.2.7:8080": false} {
		f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.Before, a.Err, a.Connection.RemoteAddress = &listen.Before{}, io.EOF, address
		})))
		text := strings.Join(append(f.Evidence, f.Advice), "\n")
		if strings.Contains(text, "docker-proxy takes the connections to this port") != named || strings.Contains(f.Advice, "listen on 172.17.0.2:3000") != named {
			t.Errorf("%s: %s", address, text)
		}
	}
}

// A request that was ended while it was being sent was not too large, where nothing has
// ever worked, unless it is a large one, be it by what it announces alone.
func TestAdviceForARequestThatWasNotRead(t *testing.T) {
	writeErr := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
	const port, size = "published Docker port", "limit for the size of a request"
	for _, test := range []struct {
		name            string
		answers         int64
		read, announced int64
		says            []string
		not             string
	}{
		{"a small one, the first", 0, 100, 100, []string{port}, size},
		{"a large one, the first", 0, 1 << 20, -1, []string{size, port}, ""},
		{"one that says that it is large, the first", 0, 69504, 1 << 20, []string{size, port}, ""},
		{"a large one, after others", 3, 1 << 20, -1, []string{"413"}, port},
		{"one that says that it is large, to a port of another protocol", 0, 69504, 1 << 20, []string{"php_fastcgi"}, size},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Before, a.RequestBytes, a.WriteErr, a.Err = &listen.Before{Answers: test.answers}, test.read, writeErr, writeErr
				a.Request = &http.Request{Method: http.MethodPost, Header: http.Header{}, ContentLength: test.announced}
				if slices.Contains(test.says, "php_fastcgi") {
					a.Address, a.Connection.RemoteAddress = "app:9000", "10.0.0.7:9000"
				}
			})))
			if f.Cause != RequestWriteFailed.Name {
				t.Error(f.Cause)
			}
			for _, words := range test.says {
				if !strings.Contains(f.Advice, words) {
					t.Errorf("lacks %q: %s", words, f.Advice)
				}
			}
			if test.not != "" && strings.Contains(f.Advice, test.not) {
				t.Errorf("has %q: %s", test.not, f.Advice)
			}
		})
	}
}

func TestNearLimit(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		995 * millisecond:                 time.Second,
		5*time.Second + 200*millisecond:   5 * time.Second,
		6 * time.Second:                   0,
		31 * time.Second:                  30 * time.Second,
		33 * time.Second:                  0,
		61 * time.Second:                  time.Minute,
		10*time.Minute + 2*time.Second:    0,
		2*time.Minute + 500*millisecond:   2 * time.Minute,
		29*time.Second + 900*millisecond:  0,
		time.Hour + 300*millisecond:       time.Hour,
		350*time.Second + 100*millisecond: 350 * time.Second,
	} {
		if limit, near := nearLimit(took); limit != want || near != (want > 0) {
			t.Errorf("%s: got %s, %v", took, limit, near)
		}
	}
}

// What came over a reused connection between two answers belongs to the first.
func TestBytesBetweenAnswers(t *testing.T) {
	reused := func(l *listen.Link, change func(*listen.Attempt)) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			a.RequestBytes, a.Connection.Reused, a.Connection.WasIdle, a.Connection.Link = 1, true, true, l
			change(a)
		})
	}
	after := func(start string) *listen.Link {
		return &listen.Link{Requests: 1, End: listen.EndOurs, Previous: &listen.Previous{
			Method: "GET", Status: 200, Length: 21, Beyond: &listen.Beyond{Bytes: int64(len(start)), Start: []byte(start)},
		}}
	}
	came := func(head string, sent int64, err error) func(*listen.Attempt) {
		return func(a *listen.Attempt) {
			a.FirstByte, a.Err = a.Wrote+millisecond, err
			a.Connection.Carried = &listen.Carried{Sent: sent, Head: []byte(head), Received: int64(len(head))}
		}
	}
	unsent := func(err error) func(*listen.Attempt) {
		return func(a *listen.Attempt) { a.Connection.Carried, a.Wrote, a.Err = &listen.Carried{}, 0, err }
	}
	none := &listen.Link{Requests: 1, Previous: &listen.Previous{Method: "DELETE", Status: 204}}
	for _, test := range []struct {
		name    string
		attempt listen.Attempt
		want    *Row
		sent    failure.Sent
		says    []string
	}{
		{
			"before anything was sent", reused(after(`"}`), unsent(errors.New(textUnsolicited))), ResponseLengthExceeded, failure.SentNo,
			[]string{`the answer before on this connection: GET, 200, 21 bytes announced; 2 bytes more came after its end: "\"}"`},
		},
		{"closed for it by our side", reused(after(`"}`), unsent(net.ErrClosed)), ResponseLengthExceeded, failure.SentNo, []string{`GET, 200`}},
		{"of the transport's own doing", reused(after(`"}`), func(a *listen.Attempt) { a.Silent = true }), ResponseLengthExceeded, failure.SentMaybe, nil},
		{
			"glued to the next answer", reused(none, came("nullHTTP/1.1 200 OK\r\n", 200, errors.New(`malformed HTTP version "nullHTTP/1.1"`))), ResponseLengthExceeded, failure.SentMaybe,
			[]string{`it sent "null"`, "DELETE, 204, which has no body"},
		},
		{"glued, unheard over TLS", reused(nil, func(a *listen.Attempt) {
			a.TLS, a.FirstByte, a.Err = true, a.Wrote+millisecond, errors.New(`malformed HTTP version "nullHTTP/1.1"`)
		}), ResponseLengthExceeded, failure.SentMaybe, []string{`it sent "null"`}},
		{"before the request left, taken for its answer", reused(none, came("null", 0, errors.New(`malformed HTTP response "null"`))), ResponseLengthExceeded, failure.SentNo, nil},
		{"unheard", reused(nil, unsent(errors.New(textUnsolicited))), ResponseLengthExceeded, failure.SentNo, []string{"before this request was under way"}},
		{"what compression leaves", reused(none, came("\x1f\x8b\b\x00\x00", 200, errors.New(`malformed HTTP response "\x1f\x8b\b\x00\x00"`))), ResponseLengthExceeded, failure.SentMaybe, nil},
		{"another protocol", reused(none, came("SSH-2.0-x\r\n", 200, errors.New(`malformed HTTP response "SSH-2.0-x"`))), NotHTTP, failure.SentYes, nil},
		{"a second answer", reused(after("HTTP/1.1 400 Bad Request\r\n"), unsent(errors.New(textUnsolicited))), ResponseLengthExceeded, failure.SentNo, []string{"answered twice"}},
		{"the end of an idle connection", reused(after("HTTP/1.1 408 Request Timeout\r\n"), unsent(io.EOF)), KeepaliveRace, failure.SentNo, nil},
		{"a status line that is malformed", reused(none, came("HTTP/1.1 abc\r\n", 200, errors.New(`malformed HTTP status code "abc"`))), ResponseMalformed, failure.SentYes, nil},
		{"on a new connection", sentAttempt(came("nullHTTP/1.1 200 OK\r\n", 200, errors.New(`malformed HTTP version "nullHTTP/1.1"`))), ResponseMalformed, failure.SentYes, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			attempts := []listen.Attempt{test.attempt}
			if test.attempt.Silent {
				attempts = append(attempts, answered200(nil))
			}
			f := Diagnose(heard(func(h *listen.Heard) {
				if test.attempt.Silent {
					h.Response.Status = 200
				}
			}, attempts...))
			if f == nil {
				t.Fatal("nothing was found")
			}
			if f.Cause != test.want.Name || !test.attempt.Silent && f.RequestSent != test.sent {
				t.Errorf("%s, request_sent %s, evidence %q", f.Cause, f.RequestSent, f.Evidence)
			}
			says(t, f, test.says, nil)
		})
	}
}

// An answer that stops before its length is reached: all at once and then silence is no
// crash.
func TestShortAnswers(t *testing.T) {
	heardCut := func(change func(*listen.Heard, *listen.Attempt)) *listen.Heard {
		a := answered200(func(a *listen.Attempt) {
			a.Body = listen.Body{Bytes: 900, Expected: 1000, Err: io.ErrUnexpectedEOF, Last: a.Answered + millisecond}
			a.End = a.Answered + 2*millisecond
		})
		h := heard(func(h *listen.Heard) { h.Panicked, h.Response.Status = true, 200 }, a)
		change(h, &h.Attempts[0])
		return h
	}
	cut := func(change func(*listen.Attempt)) *listen.Heard {
		return heardCut(func(_ *listen.Heard, a *listen.Attempt) { change(a) })
	}
	timedOut := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	for _, test := range []struct {
		name  string
		heard *listen.Heard
		want  *Row
		says  []string
		not   []string
	}{
		{
			"all at once, then silence", cut(func(a *listen.Attempt) { a.End = a.Answered + 5*time.Second }), ResponseTruncated,
			[]string{"900 of 1000 bytes", "came within 1 ms; then nothing for 5 s, until the connection ended", "Compare the Content-Length"},
			[]string{"crash"},
		},
		{
			"the same, ended by a limit of Caddy's", cut(func(a *listen.Attempt) {
				a.End, a.Body.Err, a.Limits = a.Answered+5*time.Second, timedOut, &failure.Limits{Transport: "http", Settings: []failure.Setting{
					{Name: failure.ReadTimeout, Value: 5 * time.Second, Source: failure.LimitConfigured},
				}}
			}), ResponseStalled,
			[]string{"then nothing for 5 s, the limit", "Compare the Content-Length"}, nil,
		},
		{"while it was sending", cut(func(*listen.Attempt) {}), ResponseTruncated, []string{"a crash", "compare its Content-Length"}, nil},
		{
			"after a time that is often a limit", cut(func(a *listen.Attempt) { a.Body.Last, a.End = 30*time.Second, 30*time.Second+100*millisecond }), ResponseTruncated,
			[]string{"about 30 s", "gunicorn"}, nil,
		},
		{
			"events, and then none for a time that is often a limit", cut(func(a *listen.Attempt) {
				a.Body.Expected, a.Body.Last, a.End = -1, a.Answered+23*time.Second, a.Answered+83*time.Second+100*millisecond
			}), ResponseTruncated,
			[]string{"nothing of it had come for 60.1 s when it ended", "a limit of 60 s without a byte", "a line with a colon alone"}, []string{"gunicorn"},
		},
		{
			"the same, while the client was waited for", heardCut(func(h *listen.Heard, a *listen.Attempt) {
				h.Client.Writing = 20 * time.Second
				a.Body.Expected, a.Body.Last, a.End = -1, a.Answered+23*time.Second, a.Answered+83*time.Second+100*millisecond
			}), ResponseTruncated,
			nil, []string{"without a byte", "nothing of it had come"},
		},
		{
			"without a length", cut(func(a *listen.Attempt) { a.Body.Expected, a.End = -1, a.Answered+1100*millisecond }), ResponseTruncated,
			[]string{"900 bytes of the answer came, of a length that was not announced"}, []string{"Content-Length"},
		},
		{
			"FastCGI, after seconds", cut(func(a *listen.Attempt) {
				a.Protocol, a.Connection, a.Body.Expected, a.End = "fastcgi", nil, -1, 4*time.Second
				a.Dialing = &listen.Dialing{Start: 1, End: 1, Connects: []listen.Connect{{Network: "tcp", Address: "10.0.0.7:9000", Start: 1, End: 1}}}
			}), ResponseTruncated, []string{"request_terminate_timeout, if it is set to less than 4 s"}, nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(test.heard)
			if f == nil {
				t.Fatal("nothing was found")
			}
			if f.Cause != test.want.Name {
				t.Errorf("%s: %q", f.Cause, f.Evidence)
			}
			says(t, f, test.says, test.not)
		})
	}
}

// FastCGI notices nothing of a client that leaves.
func TestScriptThatAnswersNobody(t *testing.T) {
	a := answered200(func(a *listen.Attempt) {
		a.Protocol, a.Connection, a.Answered, a.End = "fastcgi", nil, 3*time.Second, 3*time.Second
		a.Dialing = &listen.Dialing{Start: 1, End: 1, Connects: []listen.Connect{{Network: "tcp", Address: "10.0.0.7:9000", Start: 1, End: 1}}}
	})
	for _, gone := range []bool{true, false} {
		f := Diagnose(heard(func(h *listen.Heard) { h.Response.Status, h.Client.Left, h.Client.Gone = 200, true, gone }, a))
		if !gone {
			if f != nil {
				t.Errorf("left during the answer: %s", f.Cause)
			}
			continue
		}
		if f == nil || f.Cause != ClientClosedRequest.Name || f.Outcome != failure.Abandoned || f.Phase != failure.PhaseWait ||
			!strings.Contains(strings.Join(f.Evidence, "\n"), "an answer came 3 s after the connect, when the client had left") {
			t.Errorf("%+v", f)
		}
	}
	killed := sentAttempt(func(a *listen.Attempt) {
		a.Protocol, a.Connection, a.Wrote, a.Err, a.End = "fastcgi", nil, 0, io.EOF, 6*time.Second
		a.Dialing = &listen.Dialing{Start: 1, End: 1, Connects: []listen.Connect{{Network: "tcp", Address: "10.0.0.7:9000", Start: 1, End: 1}}}
	})
	f := Diagnose(heard(func(h *listen.Heard) { h.Client.Left = true }, killed))
	if f.Outcome != failure.Abandoned || !strings.Contains(strings.Join(f.Evidence, "\n"), "it ended as closed_before_response") {
		t.Errorf("%+v", f)
	}
}

// A server that leaves a request's body unread takes it for the next request, and says so
// in its refusal.
func TestBodyTakenForARequest(t *testing.T) {
	for _, test := range []struct {
		name, head string
		status     int
		reused     bool
		want       string
	}{
		{"Python's", "HTTP/1.1 501 Unsupported method ('order=1POST')\r\n\r\n", 501, true, `"order=1POST"`},
		{"in the page", "HTTP/1.1 400 Bad Request\r\n\r\n<p>invalid method: {&quot;a&quot;:1}POST</p>", 400, true, `}POST"`},
		{"no more than the method", "HTTP/1.1 501 Unsupported method ('POST')\r\nAllow: GET,POST\r\n\r\n", 501, true, ""},
		{"a longer word", "HTTP/1.1 501 No\r\n\r\nthe xPOSTal service", 501, true, ""},
		{"on a new connection", "HTTP/1.1 501 Unsupported method ('order=1POST')\r\n\r\n", 501, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(heard(func(h *listen.Heard) { h.Response.Status = test.status }, answered200(func(a *listen.Attempt) {
				a.Status, a.Request = test.status, &http.Request{Method: "POST"}
				a.Connection.Reused, a.Connection.Carried = test.reused, &listen.Carried{Head: []byte(test.head), Received: int64(len(test.head))}
			})))
			if test.want == "" {
				if f != nil {
					t.Errorf("%s: %q", f.Cause, f.Evidence)
				}
				return
			}
			if f == nil || f.Cause != UpstreamStatus.Name || !strings.Contains(strings.Join(f.Evidence, "\n"), test.want) || !strings.Contains(f.Advice, "read the body of each request") {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A port that was waited for, and has never answered, may wait for something else.
func TestNeverSpoke(t *testing.T) {
	awaiting := timeoutError("net/http: " + textAwaiting)
	const never, hint = "this upstream had not answered anything before this request, since this Caddy began", "speaks TLS (https://)"
	for _, test := range []struct {
		name   string
		before *listen.Before
		change func(*listen.Attempt)
		hinted bool
	}{
		{"never answered", &listen.Before{}, nil, true},
		{"answered before", &listen.Before{Answers: 1}, nil, false},
		{"not known", nil, nil, false},
		{"over TLS", &listen.Before{}, func(a *listen.Attempt) { a.TLS = true }, false},
		{"over HTTP/2", &listen.Before{}, func(a *listen.Attempt) { a.Protocol = "h2c" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			attempt := func(err error) listen.Attempt {
				return sentAttempt(func(a *listen.Attempt) {
					a.Before, a.Err = test.before, err
					if test.change != nil {
						test.change(a)
					}
				})
			}
			for _, f := range []*failure.Failure{
				Diagnose(heard(nil, attempt(awaiting))),
				Diagnose(heard(func(h *listen.Heard) { h.Err, h.ErrStatus, h.Client.Left, h.Response.Status = nil, 0, true, 499 }, attempt(context.Canceled))),
			} {
				if hinted := strings.Contains(f.Advice, hint) && slices.Contains(f.Evidence, never); hinted != test.hinted {
					t.Errorf("%s: %q, advice %q", f.Cause, f.Evidence, f.Advice)
				}
			}
		})
	}
}

// A connection that was found dead before a byte of the request had left died of that neither
// soon nor late: a busy machine comes late to send it.
func TestDiedBeforeAnythingWasSent(t *testing.T) {
	for _, test := range []struct {
		name string
		sent int64
		want *Row
	}{
		{"nothing sent", 0, KeepaliveRace},
		{"sent, and dead much later", 100, Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			silent := sentAttempt(func(a *listen.Attempt) {
				a.Silent, a.Protocol, a.Wrote, a.End = true, "http/1.1", 0, 300*millisecond
				a.Connection.Reused, a.Connection.Carried = true, &listen.Carried{Sent: test.sent}
				if test.sent > 0 {
					a.Wrote = 4 * millisecond
				}
			})
			answer := sentAttempt(func(a *listen.Attempt) {
				a.Start, a.Sent, a.Wrote, a.Protocol = 300*millisecond, 301*millisecond, 303*millisecond, "http/1.1"
				a.Connection.At, a.FirstByte, a.Answered, a.End, a.Status, a.Header = 302*millisecond, 304*millisecond, 305*millisecond, 306*millisecond, 200, http.Header{}
			})
			f := Diagnose(heard(func(h *listen.Heard) { h.Response.Status, h.Duration = 200, 310*millisecond }, silent, answer))
			if f == nil || f.Outcome != failure.Rescued || f.Cause != test.want.Name {
				t.Fatalf("recorded as %+v", f)
			}
		})
	}
}
