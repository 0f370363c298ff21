package cause

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

const millisecond = time.Millisecond

var handler = &failure.Limits{Transport: "http", Settings: []failure.Setting{
	{Name: failure.DialTimeout, Value: 3 * time.Second, Source: failure.LimitDefault},
	{Name: failure.TLSTimeout, Source: failure.LimitAbsent},
	{Name: failure.ResponseHeaderTimeout, Source: failure.LimitAbsent},
	{Name: failure.ReadTimeout, Source: failure.LimitAbsent},
	{Name: failure.WriteTimeout, Source: failure.LimitAbsent},
}}

// sentAttempt is an attempt whose request was written.
func sentAttempt(change func(*listen.Attempt)) listen.Attempt {
	a := listen.Attempt{
		Upstream: "app:8080", Limits: handler, Exact: true, Network: "tcp", Address: "app:8080",
		Start: 1 * millisecond, Sent: 2 * millisecond, Wrote: 4 * millisecond, End: 10 * millisecond, RequestBytes: -1,
		Connection: &listen.Connection{At: 3 * millisecond, RemoteAddress: "10.0.0.7:8080"},
	}
	if change != nil {
		change(&a)
	}
	return a
}

// dialAttempt is an attempt whose connect ended with this error of a system call.
func dialAttempt(network, address, call string, errno syscall.Errno) listen.Attempt {
	err := &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError(call, errno)}
	return sentAttempt(func(a *listen.Attempt) {
		a.Network, a.Address, a.Connection, a.Wrote, a.DialErr, a.Err = network, address, nil, 0, true, opaque{err}
		a.Dialing = &listen.Dialing{
			Start: 2 * millisecond, End: 3 * millisecond, Err: err,
			Connects: []listen.Connect{{Network: network, Address: address, Start: 2 * millisecond, End: 3 * millisecond, Err: err}},
		}
	})
}

func answered200(change func(*listen.Attempt)) listen.Attempt {
	return sentAttempt(func(a *listen.Attempt) {
		a.FirstByte, a.Answered, a.Status, a.Protocol = 5*millisecond, 6*millisecond, 200, "http/1.1"
		if change != nil {
			change(a)
		}
	})
}

func heard(change func(*listen.Heard), attempts ...listen.Attempt) *listen.Heard {
	h := &listen.Heard{Start: time.Unix(1_700_000_000, 0), Duration: 20 * millisecond, Attempts: attempts, AttemptCount: len(attempts)}
	if n := len(attempts); n > 0 && attempts[n-1].Err != nil {
		h.Err, h.ErrStatus = withStatus{attempts[n-1].Err, 502}, 502
	}
	if change != nil {
		change(h)
	}
	return h
}

func caddyError(text string, status int) func(*listen.Heard) {
	return func(h *listen.Heard) { h.Err, h.ErrStatus = withStatus{errors.New(text), status}, status }
}

func nobodyFor(pool ...listen.Candidate) func(*listen.Heard) {
	return func(h *listen.Heard) {
		caddyError("no upstreams available", 503)(h)
		h.Selection = listen.Selection{Limits: handler, Rounds: 1, At: 15 * millisecond, Pool: pool}
	}
}

func TestDiagnose(t *testing.T) {
	saved1, saved2 := hasIPv6, portsUsedUp
	t.Cleanup(func() { hasIPv6, portsUsedUp = saved1, saved2 })
	hasIPv6, portsUsedUp = func() bool { return false }, func() (string, bool) { return "", false }

	writeErr := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
	readReset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	clientTimeout := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	fromPeer := errors.New("received from peer")
	idle := func(after time.Duration, err error) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			a.Connection.Reused, a.Connection.WasIdle, a.Connection.Idle = true, true, time.Second
			a.End, a.Err = a.Wrote+after, err
		})
	}
	writing := func(idle func(time.Duration, error) listen.Attempt, after, end time.Duration) listen.Attempt {
		a := idle(0, writeErr)
		a.RequestBytes, a.WriteErr, a.Wrote, a.End = 1<<20, writeErr, a.Connection.At+after, a.Connection.At+end
		return a
	}
	saidSettings := func(err error) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			const settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
			a.Connection.Carried = &listen.Carried{Sent: 100, Received: int64(len(settings)), Head: []byte(settings)}
			a.RequestBytes, a.Err = 5, err
			if err == writeErr {
				a.WriteErr = err
			}
		})
	}
	script := func(body int64, err error) listen.Attempt {
		a := dialAttempt("unix", "/run/php.sock", "connect", 0)
		a.Protocol, a.RequestBytes, a.DialErr, a.Err = "fastcgi", body, false, err
		a.Dialing.Err, a.Dialing.Connects[0].Err = nil, nil
		return a
	}
	left := func(h *listen.Heard) { h.Err, h.ErrStatus, h.Client.Left, h.Response.Status = nil, 0, true, 499 }

	for _, test := range []struct {
		name    string
		heard   *listen.Heard
		want    *Row // nil where it is no upstream's doing
		outcome failure.Outcome
		status  int
		sent    failure.Sent
		phase   failure.Phase
		limit   failure.LimitSource
	}{
		{name: "nothing happened", heard: heard(nil)},
		{name: "a 404 of another handler", heard: heard(caddyError("not found", 404))},
		{name: "an error after an answer", heard: heard(caddyError("no such template", 500), answered200(nil))},
		{name: "refused before it was sent", heard: heard(caddyError("incremental refused", 501), sentAttempt(func(a *listen.Attempt) { a.Sent, a.Wrote, a.Connection = 0, 0, nil }))},
		{name: "too large for request_body", heard: heard(func(h *listen.Heard) {
			h.Err, h.ErrStatus = withStatus{&http.MaxBytesError{Limit: 1}, 413}, 413
			h.Client.BodyErr = &http.MaxBytesError{Limit: 1}
		}, sentAttempt(func(a *listen.Attempt) { a.Err = &http.MaxBytesError{Limit: 1} }))},
		{name: "a panic of somebody else", heard: heard(func(h *listen.Heard) { h.Panicked, h.Response.Status = true, 200 }, answered200(nil))},
		{name: "FastCGI refuses a path", heard: heard(func(h *listen.Heard) { h.ErrStatus = 400 }, sentAttempt(func(a *listen.Attempt) {
			a.Err, a.Connection, a.Wrote, a.Protocol = errors.New("invalid request path"), nil, 0, "fastcgi"
		}))},

		{name: "all unhealthy", heard: heard(nobodyFor(listen.Candidate{Upstream: "a", Reason: failure.ReasonFails}, listen.Candidate{Upstream: "b", Reason: failure.ReasonUnhealthy})), want: UpstreamsUnhealthy, outcome: failure.Failed, status: 503, sent: failure.SentNo},
		{name: "one full, one down", heard: heard(nobodyFor(listen.Candidate{Upstream: "a", Reason: failure.ReasonFails}, listen.Candidate{Upstream: "b", Reason: failure.ReasonFull})), want: UpstreamsFull, outcome: failure.Failed, status: 503, sent: failure.SentNo},
		{name: "one whose reason isn't known", heard: heard(nobodyFor(listen.Candidate{Upstream: "a", Reason: failure.ReasonFails}, listen.Candidate{Upstream: "b"})), want: Unknown, outcome: failure.Failed, status: 503, phase: failure.PhaseSelect},
		{name: "no pool", heard: heard(nobodyFor()), want: UpstreamsMissing, outcome: failure.Failed, status: 503},
		{name: "a lookup that failed", heard: heard(func(h *listen.Heard) {
			nobodyFor()(h)
			h.Selection.Source, h.Selection.LookupErr = "srv _http._tcp.app", &net.DNSError{Err: "no such host", IsNotFound: true}
		}), want: UpstreamLookupFailed, outcome: failure.Failed, status: 503},
		{name: "nobody, without an ear", heard: heard(caddyError("no upstreams available", 503)), want: Unknown, outcome: failure.Failed, status: 503, phase: failure.PhaseSelect},
		{name: "an attempt failed, then nobody", heard: heard(func(h *listen.Heard) {
			err := h.Err
			nobodyFor(listen.Candidate{Upstream: "app:8080", Reason: failure.ReasonFails})(h)
			h.Err, h.ErrStatus = err, 502
		}, dialAttempt("tcp", "10.0.0.7:8080", "connect", syscall.ECONNREFUSED)), want: ConnectionRefused, outcome: failure.Failed, status: 502},
		{name: "forward_auth worked, then nobody", heard: heard(nobodyFor(), answered200(func(a *listen.Attempt) { a.Limits = &failure.Limits{AsksFirst: true} })), want: UpstreamsMissing, outcome: failure.Failed, status: 503, sent: failure.SentNo},
		{name: "a placeholder that gives a range", heard: heard(caddyError("making dial info: upstream {x}: invalid dial address", 502), sentAttempt(func(a *listen.Attempt) { a.Sent, a.Wrote, a.Connection = 0, 0, nil })), want: DialAddressInvalid, outcome: failure.Failed, status: 502, sent: failure.SentNo},
		{name: "a placeholder that is empty", heard: heard(nil, dialAttempt("tcp", ":0", "connect", syscall.ECONNREFUSED)), want: DialAddressInvalid, outcome: failure.Failed, status: 502, sent: failure.SentNo},

		{name: "no route to the host", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.EHOSTUNREACH)), want: HostUnreachable, outcome: failure.Failed, status: 502, sent: failure.SentNo},
		{name: "no route to the network", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ENETUNREACH)), want: NetworkUnreachable, outcome: failure.Failed, status: 502},
		{name: "a blackhole route", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.EINVAL)), want: NetworkUnreachable, outcome: failure.Failed, status: 502},
		{name: "a link-local address without zone", heard: heard(nil, dialAttempt("tcp", "[fe80::1]:80", "connect", syscall.EINVAL)), want: Unknown, outcome: failure.Failed, status: 502, phase: failure.PhaseConnect},
		{name: "a link-local address of IPv4", heard: heard(nil, dialAttempt("tcp", "169.254.0.1:80", "connect", syscall.EINVAL)), want: Unknown, outcome: failure.Failed, status: 502, phase: failure.PhaseConnect},
		{name: "prohibited", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.EACCES)), want: ConnectProhibited, outcome: failure.Failed, status: 502},
		{name: "a socket that may not be made", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "socket", syscall.EPERM)), want: Unknown, outcome: failure.Failed, status: 502, phase: failure.PhaseConnect},
		{name: "the kernel gave up", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ETIMEDOUT)), want: ConnectTimeout, outcome: failure.Failed, status: 504},
		{name: "IPv6 is off", heard: heard(nil, dialAttempt("tcp", "[2001:db8::1]:80", "connect", syscall.EADDRNOTAVAIL)), want: AddressFamilyUnavailable, outcome: failure.Failed, status: 502},
		{name: "a family that is forbidden", heard: heard(nil, dialAttempt("tcp", "[2001:db8::1]:80", "socket", syscall.EAFNOSUPPORT)), want: AddressFamilyUnavailable, outcome: failure.Failed, status: 502},
		{name: "EADDRNOTAVAIL without proof", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.EADDRNOTAVAIL)), want: Unknown, outcome: failure.Failed, status: 502, phase: failure.PhaseConnect},
		{name: "no more files", heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "socket", syscall.EMFILE)), want: FileDescriptorsExhausted, outcome: failure.Failed, status: 502},
		{name: "no more files to look up with", heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
			err := &net.DNSError{Err: "dial udp 127.0.0.53:53: socket: " + syscall.EMFILE.Error(), Name: "app"}
			a.Connection, a.Wrote, a.DialErr, a.Err = nil, 0, true, opaque{err}
			a.Dialing = &listen.Dialing{Start: 2 * millisecond, Err: err, Lookup: &listen.Lookup{Host: "app", Start: 2 * millisecond, End: 3 * millisecond, Err: err}}
		})), want: FileDescriptorsExhausted, outcome: failure.Failed, status: 502},
		{name: "unix, not a directory", heard: heard(nil, dialAttempt("unix", "/run/x", "connect", syscall.ENOTDIR)), want: SocketNotFound, outcome: failure.Failed, status: 502},
		{name: "unix, not for us", heard: heard(nil, dialAttempt("unix", "/run/x", "connect", syscall.EACCES)), want: SocketPermissionDenied, outcome: failure.Failed, status: 502},
		{name: "the forward proxy refuses", heard: heard(nil, func() listen.Attempt {
			a := dialAttempt("tcp", "10.0.0.9:3128", "connect", syscall.ECONNREFUSED)
			a.Err = &net.OpError{Op: "proxyconnect", Net: "tcp", Err: a.Err}
			return a
		}()), want: ForwardProxyFailed, outcome: failure.Failed, status: 502},

		{name: "an idle connection was dead", heard: heard(nil, idle(millisecond, io.EOF)), want: KeepaliveRace, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "an idle connection was dead while writing", heard: heard(nil, idle(millisecond, writeErr)), want: KeepaliveRace, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "an idle connection was dead while writing, and the attempt ended late", heard: heard(nil, writing(idle, 20*time.Microsecond, 400*millisecond)), want: KeepaliveRace, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "an upload on an idle connection was reset late", heard: heard(nil, writing(idle, 10*time.Second, 10*time.Second)), want: RequestWriteFailed, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "HTTP/2 was said before an upload was reset", heard: heard(nil, saidSettings(writeErr)), want: HTTPVersionMismatch, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "HTTP/2 was said before a reset", heard: heard(nil, saidSettings(readReset)), want: HTTPVersionMismatch, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "a script was dead before the end of its input", heard: heard(nil, script(-1, writeErr)), want: ResetBeforeResponse, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "a script was dead before the end of its body", heard: heard(nil, script(100, writeErr)), want: RequestWriteFailed, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "it worked for 800 ms and crashed", heard: heard(nil, idle(800*millisecond, io.EOF)), want: ClosedBeforeResponse, outcome: failure.Failed, status: 502},
		{name: "it worked for 800 ms and was reset", heard: heard(nil, idle(800*millisecond, readReset)), want: ResetBeforeResponse, outcome: failure.Failed, status: 502},
		{name: "a connection forgotten on the way", heard: heard(nil, idle(15*time.Second, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)})), want: ConnectionLost, outcome: failure.Failed, status: 502},
		{name: "a deadline that nobody is known to have set", heard: heard(nil, sentAttempt(func(a *listen.Attempt) { a.Err = context.DeadlineExceeded })), want: Unknown, outcome: failure.Failed, status: 502, phase: failure.PhaseWait},

		{name: "RST_STREAM", heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.Err = http2.StreamError{StreamID: 1, Code: http2.ErrCodeInternal, Cause: fromPeer}
		})), want: StreamReset, outcome: failure.Failed, status: 502, sent: failure.SentMaybe},
		{name: "REFUSED_STREAM", heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.Err = fmt.Errorf("http2: Transport: cannot retry err [%v] after Request.Body was written; define Request.GetBody to avoid this error", http2.StreamError{StreamID: 1, Code: http2.ErrCodeRefusedStream, Cause: fromPeer})
		})), want: StreamReset, outcome: failure.Failed, status: 502, sent: failure.SentNo},
		{name: "a stream that we reset", heard: heard(nil, sentAttempt(func(a *listen.Attempt) { a.Err = http2.StreamError{Code: http2.ErrCodeProtocol} })), want: HTTPFramingError, phase: failure.PhaseWait, outcome: failure.Failed, status: 502},
		{name: "GOAWAY", heard: heard(nil, sentAttempt(func(a *listen.Attempt) { a.Err = http2.GoAwayError{ErrCode: http2.ErrCodeEnhanceYourCalm} })), want: Goaway, outcome: failure.Failed, status: 502},
		{name: "COMPRESSION_ERROR", heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.FirstByte, a.Err = 5*millisecond, http2.ConnectionError(http2.ErrCodeCompression)
		})), want: HTTPFramingError, outcome: failure.Failed, status: 502, phase: failure.PhaseHeaders},

		{name: "retried and rescued", heard: heard(func(h *listen.Heard) { h.Response.Status = 200 }, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED), answered200(nil)), want: ConnectionRefused, outcome: failure.Rescued, status: 200, sent: failure.SentYes},
		{name: "forward_auth was rescued, the main one needn't be", heard: heard(func(h *listen.Heard) { h.Response.Status = 200 }, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED), answered200(func(a *listen.Attempt) { a.Limits = &failure.Limits{} }))},
		{name: "a timeout that was rescued keeps the answer's status", heard: heard(func(h *listen.Heard) { h.Response.Status = 200 }, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ETIMEDOUT), answered200(nil)), want: ConnectTimeout, outcome: failure.Rescued, status: 200},
		{name: "its own 502", heard: heard(func(h *listen.Heard) { h.Response.Status = 502 }, answered200(func(a *listen.Attempt) { a.Status = 502 })), want: UpstreamStatus, outcome: failure.UpstreamAnswered, status: 502, sent: failure.SentYes},
		{name: "its own 500, intercepted", heard: heard(func(h *listen.Heard) { h.Response = listen.Response{Status: 500, Intercepted: true} }, answered200(func(a *listen.Attempt) { a.Status = 500 })), want: UpstreamStatus, outcome: failure.UpstreamAnswered, status: 500},
		{name: "a 503 of another handler", heard: heard(func(h *listen.Heard) { h.Response.Status = 503 }, answered200(nil))},
		{name: "retries used up", heard: heard(caddyError("upstream response matched retry_match (status 503)", 503), answered200(func(a *listen.Attempt) { a.Status = 503 })), want: UpstreamStatus, outcome: failure.Failed, status: 503},
		{name: "an upgrade that doesn't fit", heard: heard(nil, answered200(func(a *listen.Attempt) { a.Status = 101 })), want: UpgradeFailed, outcome: failure.Failed, status: 502},
		{name: "an upgrade", heard: heard(func(h *listen.Heard) { h.Response = listen.Response{Status: 101, Hijacked: true} }, answered200(func(a *listen.Attempt) { a.Status = 101 }))},

		{name: "left while connecting", heard: heard(left, func() listen.Attempt {
			a := dialAttempt("tcp", "10.0.0.7:80", "connect", 0)
			a.Err, a.Dialing.Err, a.Dialing.End = context.Canceled, nil, 0
			a.Dialing.Connects[0].Err, a.Dialing.Connects[0].End = nil, 0
			return a
		}()), want: ClientClosedRequest, outcome: failure.Abandoned, status: 499, sent: failure.SentNo, phase: failure.PhaseConnect, limit: failure.LimitDefault},
		{name: "left during the handshake", heard: heard(left, func() listen.Attempt {
			a := dialAttempt("tcp", "10.0.0.7:443", "connect", 0)
			a.TLS, a.Err, a.Dialing.Err, a.Dialing.Connects[0].Err = true, context.Canceled, nil, nil
			return a
		}()), want: ClientClosedRequest, outcome: failure.Abandoned, status: 499, sent: failure.SentNo, phase: failure.PhaseTLS, limit: failure.LimitAbsent},
		{name: "left while waiting", heard: heard(left, sentAttempt(func(a *listen.Attempt) { a.Err = context.Canceled })), want: ClientClosedRequest, outcome: failure.Abandoned, status: 499, sent: failure.SentMaybe, phase: failure.PhaseWait, limit: failure.LimitAbsent},
		{name: "left while FastCGI dialled", heard: heard(func(h *listen.Heard) { h.ErrStatus, h.Client.Left = 499, true }, func() listen.Attempt {
			a := dialAttempt("tcp", "10.0.0.7:9000", "connect", 0)
			a.Protocol, a.Err, a.Dialing.Err, a.Dialing.Connects = "fastcgi", opaque{errors.New("dialing backend: operation was canceled")}, nil, nil
			a.Dialing.End = 0
			return a
		}()), want: ClientClosedRequest, outcome: failure.Abandoned, status: 499, sent: failure.SentNo, phase: failure.PhaseConnect},
		{name: "left while a retry was due", heard: heard(func(h *listen.Heard) { h.Client.Left = true }, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)), want: ClientClosedRequest, outcome: failure.Abandoned, status: 499, sent: failure.SentNo, phase: failure.PhaseSelect},
		{name: "left during the answer", heard: heard(func(h *listen.Heard) {
			h.Panicked, h.Client.Left, h.Response.Status = true, true, 200
		}, answered200(func(a *listen.Attempt) { a.Body.Err = context.Canceled }))},
		{name: "left during the answer, heard by writing", heard: heard(func(h *listen.Heard) {
			h.Panicked, h.Client.WriteErr, h.Response.Status = true, writeErr, 200
		}, answered200(func(a *listen.Attempt) { a.Body.Err = readReset }))},
		{name: "left before anything of ours", heard: heard(func(h *listen.Heard) { h.Client.Left = true })},

		{name: "an upload broken off", heard: heard(func(h *listen.Heard) { left(h); h.Client.BodyErr = io.ErrUnexpectedEOF }, sentAttempt(func(a *listen.Attempt) { a.Err, a.RequestBytes = context.Canceled, 7 })), want: ClientUploadFailed, outcome: failure.Abandoned, status: 499},
		{name: "an upload that stalls", heard: heard(func(h *listen.Heard) { left(h); h.Client.BodyErr = clientTimeout }, sentAttempt(func(a *listen.Attempt) { a.Err, a.RequestBytes = context.Canceled, 7 })), want: ClientUploadFailed, outcome: failure.Failed, status: 499},
		{name: "an upload that is malformed", heard: heard(func(h *listen.Heard) { h.Client.BodyErr = errors.New("invalid byte in chunk length") }, sentAttempt(func(a *listen.Attempt) { a.Err, a.RequestBytes = errors.New("invalid byte in chunk length"), 7 })), want: ClientUploadFailed, outcome: failure.Failed, status: 400},
		{name: "an upload that Caddy stopped reading", heard: heard(func(h *listen.Heard) { h.Client.BodyErr = http.ErrBodyReadAfterClose }, sentAttempt(func(a *listen.Attempt) { a.Err, a.WriteErr, a.RequestBytes = writeErr, writeErr, 7 })), want: RequestWriteFailed, outcome: failure.Failed, status: 502},

		{name: "no ear: refused", heard: heard(nil, func() listen.Attempt {
			a := dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)
			a.Exact, a.DialErr, a.Err = false, false, nil
			return a
		}()), want: nil},
		{name: "no ear: refused, with the error that came up", heard: heard(caddyError("dial tcp 10.0.0.7:80: connect: connection refused", 502), func() listen.Attempt {
			a := dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)
			a.Exact, a.DialErr, a.Err = false, false, nil
			return a
		}()), want: ConnectionRefused, outcome: failure.Failed, status: 502, sent: failure.SentNo},
		{name: "no ear: an answer, then somebody's error", heard: heard(caddyError("not found", 404), sentAttempt(func(a *listen.Attempt) { a.Exact, a.FirstByte = false, 5*millisecond }))},
		{name: "no ear: an attempt whose error was not heard, rescued", heard: heard(func(h *listen.Heard) { h.Err, h.Response.Status = nil, 200 }, sentAttempt(func(a *listen.Attempt) { a.Err = listen.ErrNotHeard }), answered200(nil)), want: Unknown, outcome: failure.Rescued, status: 200, phase: failure.PhaseWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(test.heard)
			if test.want == nil {
				if f != nil {
					t.Fatalf("it became %s %s: %q", f.Outcome, f.Cause, f.Error)
				}
				return
			}
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if test.phase == "" {
				test.phase = test.want.Phase
			}
			if f.Cause != test.want.Name || f.Outcome != test.outcome || f.Status != test.status || f.Phase != test.phase {
				t.Errorf("%s %d by %s in %s, want %s %d by %s in %s; evidence %q",
					f.Outcome, f.Status, f.Cause, f.Phase, test.outcome, test.status, test.want.Name, test.phase, f.Evidence)
			}
			if test.sent != "" && f.RequestSent != test.sent {
				t.Errorf("request_sent %s, want %s", f.RequestSent, test.sent)
			}
			if test.limit != "" && (f.Limit == nil || f.Limit.Source != test.limit) {
				t.Errorf("limit %+v, want one that is %s", f.Limit, test.limit)
			}
		})
	}
}

func TestPortsExhaustedWithProof(t *testing.T) {
	saved := portsUsedUp
	t.Cleanup(func() { portsUsedUp = saved })
	portsUsedUp = func() (string, bool) { return "10 of 10", true }
	f := Diagnose(heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.EADDRNOTAVAIL)))
	if f == nil || f.Cause != PortsExhausted.Name || !strings.Contains(strings.Join(f.Evidence, "\n"), "10 of 10") {
		t.Errorf("%+v", f)
	}
}

// Of several addresses, one that this machine can't even try hides nothing.
func TestOneOfSeveralAddresses(t *testing.T) {
	refused := dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)
	noFamily := dialAttempt("tcp", "[::1]:80", "connect", syscall.EADDRNOTAVAIL)
	noFamily.Dialing.Connects = append(noFamily.Dialing.Connects, refused.Dialing.Connects...)
	f := Diagnose(heard(nil, noFamily))
	if f == nil || f.Cause != ConnectionRefused.Name || !slices.Equal(f.Evidence, []string{"connect [::1]:80: EADDRNOTAVAIL after 1 ms", "connect 10.0.0.7:80: ECONNREFUSED after 1 ms", ConnectionRefused.Undecided}) {
		t.Errorf("%+v", f)
	}
}

func TestTheWholeRecord(t *testing.T) {
	f := Diagnose(heard(nil, dialAttempt("tcp", "10.0.0.7:8080", "connect", syscall.ECONNREFUSED)))
	if f == nil {
		t.Fatal("nothing was found")
	}
	if f.Summary != "Nothing accepts connections at app:8080." {
		t.Errorf("summary %q", f.Summary)
	}
	if !slices.Equal(f.Evidence, []string{"connect 10.0.0.7:8080: ECONNREFUSED after 1 ms", ConnectionRefused.Undecided}) {
		t.Errorf("evidence %q", f.Evidence)
	}
	a := f.Attempts[0]
	if a.Cause != "connection_refused" || a.Errno != "ECONNREFUSED" || a.Address != "10.0.0.7:8080" || a.PhasesMS.Connect == nil || a.PhasesMS.DNS != nil || a.Reused != nil {
		t.Errorf("attempt %+v", a)
	}
	if f.AttemptCount != 1 || f.DurationMS != 20 {
		t.Errorf("%d attempts in %v ms", f.AttemptCount, f.DurationMS)
	}
}

func TestWhatIsCutIsMarked(t *testing.T) {
	long := strings.Repeat("ü", 4<<10)
	f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) { a.Err = errors.New(long) })))
	if f == nil {
		t.Fatal("nothing was found")
	}
	check(t, f)
	for _, text := range []string{f.Error, f.Attempts[0].Error} {
		if !strings.HasSuffix(text, "ü…") {
			t.Errorf("the cut of %d bytes isn't marked, or broke a letter: %q", len(text), text[max(0, len(text)-8):])
		}
	}
}

// Whatever an error's text says, what has a type stays what it is, and nothing
// panics.
func FuzzTextIsTheLast(f *testing.F) {
	for _, text := range append(append([]string{
		"", textMakingDialInfo, textRetryMatch, textNoUpstreams, textAwaiting, textServerClosed, textConnectionLost, textQUICIdle, textUnsolicited,
		textHandshakeTimeout, textServerSelectedTLS, textMalformedResponse + `"\x15\x03\x01"`, textMalformedResponse + `"`, textMalformedStatus,
		textCannotRetry + textStreamError, "dial tcp 1.2.3.4:5: connect: connection refused", "x: i/o timeout", textSentGoaway, "fcgi: x",
		textFramePayload + "x" + textLooksLikeHTTP1, textReceivedGoaway + "NO_ERROR", textGracefulGoaway, textNotEstablished,
		textQUICIdle, textQUICStatelessReset, textQUICAlert + "74" + textQUICRemote, textQUICAlert + "zz" + textQUICRemote, textQUICAlert,
		textH3Code, textH3Rejected, textH3Cancelled, textH3Goaway, textH3NoHeaders, textH3Invalid, textH3FrameTooLarge, textMissingColon + `"x"`,
	}, textsMalformed...), textsBadChunk...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		wrap := func(err error) error { return fmt.Errorf("%s: %w", text, err) }
		typed := func(name string, h *listen.Heard, want *Row) {
			t.Helper()
			if got := Diagnose(h); got == nil || got.Cause != want.Name {
				t.Fatalf("%s with the text %q became %+v", name, text, got)
			} else {
				check(t, got)
			}
		}
		refused := dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)
		refused.Err = opaque{errors.New(text)}
		typed("a refused connect", heard(nil, refused), ConnectionRefused)
		typed("a reset", heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.Err = wrap(&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
		})), ResetBeforeResponse)
		typed("an end", heard(nil, sentAttempt(func(a *listen.Attempt) { a.Err = wrap(io.EOF) })), ClosedBeforeResponse)
		typed("a stream's reset", heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.Err = wrap(http2.StreamError{Code: http2.ErrCodeInternal, Cause: errors.New("received from peer")})
		})), StreamReset)

		// By text alone: no panic, and whatever is found is a row.
		for _, a := range []listen.Attempt{
			sentAttempt(func(a *listen.Attempt) { a.Err = errors.New(text) }),
			sentAttempt(func(a *listen.Attempt) { a.Err, a.FirstByte = errors.New(text), 5*millisecond }),
			sentAttempt(func(a *listen.Attempt) { a.Err, a.Connection, a.Wrote, a.DialErr = errors.New(text), nil, 0, true }),
			sentAttempt(func(a *listen.Attempt) { a.Err, a.Protocol = errors.New(text), "fastcgi" }),
			sentAttempt(func(a *listen.Attempt) { a.Err, a.Protocol, a.TLS = errors.New(text), "h3", true }),
			sentAttempt(func(a *listen.Attempt) { a.Err, a.Protocol, a.TLS = errors.New(text), "h2", true }),
			sentAttempt(func(a *listen.Attempt) { a.Err, a.Exact = errors.New(text), false }),
		} {
			if got := Diagnose(heard(nil, a)); got != nil {
				check(t, got)
			}
		}
		if got := Diagnose(heard(func(h *listen.Heard) { h.Panicked, h.Response.Status = true, 200 }, answered200(func(a *listen.Attempt) { a.Body.Err = errors.New(text) }))); got != nil {
			check(t, got)
		}
		if got := Diagnose(heard(caddyError(text, 502))); got != nil {
			check(t, got)
		}
	})
}

// The system's own errors call themselves timeouts too.
func TestATimeoutIsALimitThatRanOut(t *testing.T) {
	for err, want := range map[error]bool{
		os.ErrDeadlineExceeded:                           true,
		context.DeadlineExceeded:                         true,
		os.NewSyscallError("connect", syscall.EAGAIN):    false,
		os.NewSyscallError("connect", syscall.ETIMEDOUT): false,
		io.EOF: false,
	} {
		if isTimeout(err) != want {
			t.Errorf("isTimeout(%v) = %v", err, !want)
		}
	}
}

// A source of several gives nobody for other reasons where it has none to ask.
func TestNoneOfSeveral(t *testing.T) {
	for name, test := range map[string]struct {
		within       []string
		evidence     string
		says, denies []string
	}{
		"not known": {nil, "it passes over a source of its own that fails", []string{"whether it has no source"}, nil},
		"none":      {[]string{}, "no source is named in it", []string{"Name a source"}, []string{"lookups failed"}},
		"two":       {[]string{"srv _http._tcp.app", "a app:8080"}, "it asks srv _http._tcp.app, a app:8080, and passes over one that fails", []string{"whether their lookups failed"}, []string{"has no source"}},
		"five":      {[]string{"a a:1", "a b:1", "a c:1", "a d:1", "a e:1"}, "it asks a a:1, a b:1, a c:1 and 2 more, and passes", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := noneOfSeveral(&listen.Selection{Source: "multi", Within: test.within})
			all := strings.Join(append(f.evidence, f.advice, f.undecided), "\n")
			for _, want := range append(test.says, test.evidence) {
				if !strings.Contains(all, want) {
					t.Errorf("lacks %q:\n%s", want, all)
				}
			}
			for _, not := range test.denies {
				if strings.Contains(all, not) {
					t.Errorf("has %q:\n%s", not, all)
				}
			}
		})
	}
}
