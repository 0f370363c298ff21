package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What a record says beyond the name: its evidence, its summary and its advice.
func TestWhatARecordSays(t *testing.T) {
	limited := &failure.Limits{Transport: "http", ProxyProtocol: "v2", Settings: []failure.Setting{
		{Name: failure.DialTimeout, Value: 3 * time.Second, Source: failure.LimitDefault},
		{Name: failure.ResponseHeaderTimeout, Value: 5 * millisecond, Source: failure.LimitConfigured},
		{Name: failure.ReadTimeout, Value: time.Minute, Source: failure.LimitConfigured},
		{Name: failure.WriteTimeout, Value: time.Minute, Source: failure.LimitConfigured},
	}}
	fastCGI := func(err error) listen.Attempt {
		a := dialAttempt("tcp", "10.0.0.7:9000", "connect", 0)
		a.Protocol, a.DialErr, a.Err = "fastcgi", false, err
		a.Dialing.Err, a.Dialing.Connects[0].Err = nil, nil
		a.End = a.Dialing.Connects[0].End + 30*time.Second
		return a
	}
	with := func(a listen.Attempt, limits *failure.Limits) listen.Attempt {
		a.Limits = limits
		return a
	}
	left := func(h *listen.Heard) { h.Err, h.ErrStatus, h.Client.Left, h.Response.Status = nil, 0, true, 499 }
	waiting := func(maxConnsPerHost int) listen.Attempt {
		a := sentAttempt(func(a *listen.Attempt) { a.Err, a.Connection, a.Dialing, a.Wrote = context.Canceled, nil, nil, 0 })
		limits := *a.Limits
		limits.MaxConnsPerHost = maxConnsPerHost
		return with(a, &limits)
	}
	stalled := func(whole, idle, waited time.Duration) *listen.Heard {
		return heard(func(h *listen.Heard) {
			left(h)
			h.Client.BodyErr = os.ErrDeadlineExceeded
			h.Client.Limits = &failure.Limits{Settings: []failure.Setting{
				{Name: failure.ReadBody, Value: whole, Source: failure.LimitConfigured},
				{Name: failure.ReadBodyIdle, Value: idle, Source: failure.LimitDefault},
			}}
		}, sentAttempt(func(a *listen.Attempt) {
			a.Err, a.RequestBytes, a.Uploading, a.End = context.Canceled, 7, waited, 10*millisecond
		}))
	}
	notSent := func(tcp host.TCPInfo) *listen.Heard {
		return heard(nil, with(sentAttempt(func(a *listen.Attempt) {
			a.Err = &net.OpError{Op: "readfrom", Net: "tcp", Err: &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}}
			a.Wrote, a.RequestBytes, a.Uploading, a.Connection.Link = 0, 70_000, 9*millisecond, &listen.Link{TCP: &tcp}
			a.End = a.Connection.At + 10*millisecond
		}), &failure.Limits{Transport: "http", Settings: []failure.Setting{{Name: failure.WriteTimeout, Value: 10 * millisecond, Source: failure.LimitConfigured}}}))
	}
	readTimeout := &net.OpError{Op: "read", Net: "unix", Err: os.ErrDeadlineExceeded}
	number := func(text string) error {
		_, err := strconv.Atoi(text)
		return err
	}
	answers400 := func(usesTLS bool, page string) *listen.Heard {
		return heard(func(h *listen.Heard) { h.Response.Status = 400 }, answered200(func(a *listen.Attempt) {
			a.Status, a.TLS, a.Body.Start = 400, usesTLS, []byte(page)
		}))
	}

	// twoTimeouts has a read_timeout that would end the wait next.
	twoTimeouts := &failure.Limits{Transport: "http", Settings: []failure.Setting{
		{Name: failure.ResponseHeaderTimeout, Value: 5 * millisecond, Source: failure.LimitConfigured},
		{Name: failure.ReadTimeout, Value: 5 * millisecond, Source: failure.LimitConfigured},
	}}
	smallHeaders := &failure.Limits{Transport: "http", MaxResponseHeader: 4096}
	proxied := func(change func(*listen.Attempt)) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			a.Address, a.Upstream, a.ForwardProxy, a.FromEnvironment = "my-backend:8080", "my-backend:8080", "http://127.0.0.1:3128", true
			a.Request = &http.Request{Method: http.MethodGet, Host: "shop.example.test", URL: &url.URL{Scheme: "http", Host: "my-backend:8080", Path: "/x y", RawQuery: "token=secret"}}
			change(a)
		})
	}
	wantsUser := func(a *listen.Attempt) {
		a.Connection, a.Wrote, a.TLS, a.Err = nil, 0, true, errors.New("Proxy Authentication Required")
		a.Dialing = &listen.Dialing{Start: 2 * millisecond, Connects: []listen.Connect{
			{Network: "tcp", Address: "127.0.0.1:3128", Start: 2 * millisecond, End: 3 * millisecond},
		}}
	}
	refusedProxy := &net.OpError{Op: "proxyconnect", Net: "tcp", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}

	malformed := func(format, line string) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			a.FirstByte, a.Err = 5*millisecond, textproto.ProtocolError(fmt.Sprintf(format, line))
		})
	}
	unverified := func(err error, settings *failure.TLSSettings) listen.Attempt {
		a := dialAttempt("tcp", "10.0.0.7:443", "connect", 0)
		a.TLS, a.DialErr, a.Err = true, false, &tls.CertificateVerificationError{Err: err}
		a.Dialing.Err, a.Dialing.Connects[0].Err, a.Dialing.TLSErr, a.Dialing.TLSDone = nil, nil, a.Err, 4*millisecond
		return with(a, &failure.Limits{Transport: "http", TLS: settings})
	}

	for _, test := range []struct {
		name  string
		heard *listen.Heard
		want  *Row // nil where it is no upstream's doing
		phase failure.Phase
		sent  failure.Sent
		says  []string
		not   []string
	}{
		{
			name: "nobody is configured", heard: heard(nobodyFor()), want: UpstreamsMissing,
			says: []string{"no upstream is configured", "Name an upstream in reverse_proxy."},
			not:  []string{"dynamic"},
		},
		{
			name: "a source that gives nobody", want: UpstreamsMissing, says: []string{"a app:8080 returned none"}, not: []string{"is configured"},
			heard: heard(func(h *listen.Heard) { nobodyFor()(h); h.Selection.Source = "a app:8080" }),
		},
		{
			name: "the system gave up the connect", want: ConnectTimeout, sent: failure.SentNo,
			heard: heard(nil, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ETIMEDOUT)),
			says:  []string{"the system gave up by itself", "limits in force: dial_timeout 3 s (Caddy's default)"},
			not:   []string{"gave up by dial_timeout"},
		},
		{
			name: "a client left that waited for a connection", want: ClientClosedRequest, phase: failure.PhaseConnect, sent: failure.SentNo,
			heard: heard(left, waiting(7)), says: []string{"max_conns_per_host 7 allows no more"}, not: []string{"dial_timeout"},
		},
		{
			name: "a client left before the dial was begun", want: ClientClosedRequest, phase: failure.PhaseConnect, sent: failure.SentNo,
			heard: heard(left, waiting(0)), says: []string{"would have waited until dial_timeout"}, not: []string{"max_conns_per_host"},
		},
		{
			name: "FastCGI asks the system's resolver alone", want: DNSServerFailed, sent: failure.SentNo,
			heard: heard(nil, unresolved("fastcgi", &net.DNSError{Err: "server misbehaving", Name: "php", Server: "127.0.0.53:53", IsTemporary: true})),
			says:  []string{"(/etc/resolv.conf), or write the upstream's address in place of its name"}, not: []string{"resolvers in the transport"},
		},
		{
			name: "so it does in time", want: DNSTimeout, sent: failure.SentNo,
			heard: heard(nil, unresolved("fastcgi", &net.DNSError{Err: "i/o timeout", Name: "php", Server: "127.0.0.53:53", IsTimeout: true})),
			says:  []string{"can be reached (/etc/resolv.conf), or write"}, not: []string{"resolvers in the transport"},
		},
		{
			name: "HTTP has resolvers", want: DNSServerFailed, sent: failure.SentNo,
			heard: heard(nil, unresolved("http/1.1", &net.DNSError{Err: "server misbehaving", Name: "php", Server: "127.0.0.53:53", IsTemporary: true})),
			says:  []string{"or name others with resolvers in the transport"},
		},
		{
			name: "a name that is empty", want: DialAddressInvalid, sent: failure.SentNo,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Address, a.Protocol, a.TLS, a.Connection, a.Wrote = ":0", "h3", true, nil, 0
				a.Err = &net.DNSError{Err: "no such host", IsNotFound: true}
				a.Dialing = &listen.Dialing{Start: 2 * millisecond}
			})),
			says: []string{`the address that was dialled: ":0"`},
		},
		{
			name: "closed in the handshake, after a PROXY header", want: TLSClosed, sent: failure.SentNo,
			heard: heard(nil, with(func() listen.Attempt {
				a := dialAttempt("tcp", "10.0.0.7:443", "connect", 0)
				a.TLS, a.DialErr, a.Err, a.Dialing.Err, a.Dialing.Connects[0].Err = true, false, io.EOF, nil, nil
				a.Dialing.TLSErr, a.Dialing.TLSDone = io.EOF, 4*millisecond
				return a
			}(), limited)),
			says: []string{"closed during the handshake", "a PROXY protocol header (v2) was sent"},
		},
		{
			name: "closed before anything was written", want: ClosedBeforeResponse, sent: failure.SentNo,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Wrote, a.WriteErr, a.Err = 4*millisecond, net.ErrClosed, errors.New(textServerClosed)
				a.Connection.Carried = &listen.Carried{ReadErr: io.EOF}
			})),
			says: []string{"no byte of the request had been sent", "app:8080 closed the connection without an answer."},
			not:  []string{"took the request", "the request was written", "sending the request"},
		},
		{
			name: "reset before anything was written", want: ResetBeforeResponse, sent: failure.SentNo,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.WriteErr = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
				a.Err = a.WriteErr
				a.Connection.Carried = &listen.Carried{}
			})),
			says: []string{"no byte of the request had been sent"},
		},
		{
			name: "reading ended while the request was being written", want: RequestWriteFailed, phase: failure.PhaseSend, sent: failure.SentMaybe,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Err, a.WriteErr, a.RequestBytes = io.EOF, net.ErrClosed, 70_000
				a.Connection.Carried = &listen.Carried{Sent: 65_536, ReadErr: io.EOF}
			})),
			says: []string{"Caddy's transport had taken 70000 bytes of the request's body, and the client's side had no error"},
		},
		{
			name: "an upload that breaks off", want: ClientUploadFailed, phase: failure.PhaseSend,
			heard: heard(func(h *listen.Heard) { left(h); h.Client.BodyErr = io.ErrUnexpectedEOF }, sentAttempt(func(a *listen.Attempt) { a.Err, a.RequestBytes = context.Canceled, 7 })),
			says:  []string{"Caddy's transport had taken 7 bytes of the request's body;"},
		},
		{
			name: "an upload longer than read_body", want: ClientUploadFailed,
			heard: stalled(10*millisecond, time.Minute, 10*millisecond),
			says:  []string{"took longer than read_body 10 ms of Caddy's server", "gave up by read_body 10 ms", "raise read_body of"}, not: []string{"takes it slowly", "broke off"},
		},
		{
			name: "an upload that another limit may have ended", want: ClientUploadFailed,
			heard: stalled(11*millisecond, 5*millisecond, 10*millisecond),
			says:  []string{"A time limit of Caddy's server ended", "read_body_idle"}, not: []string{"gave up by", "broke off"},
		},
		{
			name: "an upload that the upstream took slowly", want: ClientUploadFailed,
			heard: stalled(10*millisecond, time.Minute, millisecond),
			says:  []string{"an upstream that takes it slowly"},
		},
		{
			name: "an upload that the client sent slowly", want: ClientUploadFailed,
			heard: notSent(host.TCPInfo{Acknowledged: 5000}),
			says:  []string{"Caddy had waited 9 ms for the client", "gave up by write_timeout 10 ms"}, not: []string{"had room for"},
		},
		{
			name: "an upload that waited for the upstream in the end", want: RequestWriteTimeout,
			heard: notSent(host.TCPInfo{Acknowledged: 5000, Unsent: 70}),
			says:  []string{"of the 10 ms of sending, Caddy waited 9 ms for the client", "acknowledged the 5000 bytes that it had room for"}, not: []string{"counts from before the upload"},
		},
		{
			name: "an upload that waited for the network in the end", want: RequestWriteTimeout,
			heard: notSent(host.TCPInfo{Acknowledged: 5000, Unacknowledged: 1400, Unsent: 70}),
			not:   []string{"had room for"},
		},
		{
			name: "an idle connection that was dead", want: KeepaliveRace,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Connection.Reused, a.Connection.WasIdle, a.Connection.Idle, a.Err = true, true, time.Second, io.EOF
			})),
			says: []string{"died 6 ms after the request was written, within the 50 ms granted to a round trip"},
		},
		{
			name: "an idle connection that could not be written to", want: KeepaliveRace,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Connection.Reused, a.Connection.WasIdle, a.Connection.Idle, a.Err, a.WriteErr = true, true, time.Second, io.EOF, io.EOF
			})),
			not: []string{"after the request was written"},
		},
		{
			name: "no answer in time", want: ResponseTimeout,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) { a.Err = timeoutError("net/http: " + textAwaiting) }), limited)),
			says:  []string{"gave up by response_header_timeout 5 ms", "other limits in force: read_timeout 60 s"},
		},
		{
			name: "an answer that trickles", want: ResponseTimeout, phase: failure.PhaseHeaders, sent: failure.SentYes,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) {
				a.FirstByte, a.Err = 5*millisecond, timeoutError("net/http: "+textAwaiting)
			}), limited)),
			says: []string{"app:8080 began to answer, and did not finish its headers within response_header_timeout 5 ms."},
			not:  []string{"did not begin"},
		},
		{
			name: "an answer over HTTP/2 that can't be decoded", want: HTTPFramingError, phase: failure.PhaseWait, sent: failure.SentMaybe,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Protocol, a.TLS, a.Err = protocolH2, true, http2.ConnectionError(http2.ErrCodeProtocol)
			})),
			says: []string{"can't be read as an answer to it"},
			not:  []string{"no byte"},
		},
		{
			name: "an answer that stops in its headers", want: ReadTimeout, phase: failure.PhaseHeaders, sent: failure.SentYes,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) {
				a.FirstByte, a.Err = 5*millisecond, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
			}), twoTimeouts)),
			says: []string{"app:8080 began to answer, and then sent nothing for read_timeout 5 ms."},
		},
		{
			name: "a line without a colon", want: ResponseMalformed,
			heard: heard(nil, malformed("malformed MIME header: missing colon: %q", "no colon here")),
			says:  []string{`a line of the answer's header has no colon: "no colon here"`},
		},
		{
			name: "a line without a name", want: ResponseMalformed,
			heard: heard(nil, malformed("malformed MIME header line: %q", ": value")),
			says:  []string{`a field of the answer's header has no name: ": value"`},
		},
		{
			name: "a name with a blank", want: ResponseMalformed,
			heard: heard(nil, malformed("malformed MIME header line: %q", "Set-Cookie : sid=secret")),
			says:  []string{"a field's name has a character that none may have: "}, not: []string{"sid=secret"},
		},
		{
			name: "a value with NUL", want: ResponseMalformed,
			heard: heard(nil, malformed("malformed MIME header line: %q", "X-Bad: a\x00b")),
			says:  []string{"a field's value has a character that none may have: ", `X-Bad: a\x00b`},
		},
		{
			name: "a header that begins with a blank", want: ResponseMalformed,
			heard: heard(nil, malformed("malformed MIME header initial line: %q", " folded")),
			says:  []string{`the answer's header begins with a blank: " folded"`},
		},
		{
			name: "an upstream's own status", want: UpstreamStatus, sent: failure.SentYes,
			heard: heard(func(h *listen.Heard) { h.Response.Status = 503 }, answered200(func(a *listen.Attempt) { a.Status = 503 })),
			says:  []string{"app:8080 itself answered 503."},
		},
		{
			name: "an authority that the system does not know", want: CertificateUntrusted, sent: failure.SentNo,
			heard: heard(nil, unverified(x509.UnknownAuthorityError{}, &failure.TLSSettings{})),
			says:  []string{"checked by the system's authorities"},
		},
		{
			name: "an authority that is not among those configured", want: CertificateUntrusted, sent: failure.SentNo,
			heard: heard(nil, unverified(x509.UnknownAuthorityError{}, &failure.TLSSettings{TrustPool: true})),
			says:  []string{"checked by the authorities that the transport names (tls_trust_pool), not the system's", "TLS handshake: ended after 1 ms: tls: failed to verify certificate: x509: "},
			not:   []string{"authority after 1 ms"},
		},
		{
			name: "answered before, elsewhere", want: ConnectionRefused, sent: failure.SentYes,
			heard: heard(func(h *listen.Heard) { h.Elsewhere = listen.Reach{Left: true, Answered: true} }, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)),
			says:  []string{"an attempt before, which is not listed here, was answered"},
		},
		{
			name: "sent before, elsewhere", want: ConnectionRefused, sent: failure.SentMaybe,
			heard: heard(func(h *listen.Heard) { h.Elsewhere = listen.Reach{Left: true} }, dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)),
			says:  []string{"an attempt before, which is not listed here, had sent the request"},
		},
		{
			name: "lost on the way", want: ConnectionLost,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) {
				a.Err = &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
			}), limited)),
			says: []string{"limits in force: response_header_timeout 5 ms"},
		},
		{
			name: "nothing can run out on a unix socket", want: ConnectionLost,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) {
				a.Network, a.Err = "unix", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
			}), limited)),
			says: []string{"limits in force: response_header_timeout 5 ms"},
			not:  []string{"read_timeout", "write_timeout"},
		},
		{
			name: "a read that timed out on a unix socket", want: Unknown, phase: failure.PhaseWait,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) { a.Network, a.Err = "unix", readTimeout }), limited)),
			not:   []string{"read_timeout"},
		},
		{
			name: "a client that left while HTTP/3 waited", want: ClientClosedRequest, phase: failure.PhaseWait,
			heard: heard(left, with(sentAttempt(func(a *listen.Attempt) { a.Protocol, a.TLS, a.Err = "h3", true, context.Canceled }), limited)),
			says:  []string{"no limit of the transport has an effect"},
			not:   []string{"limit in", "limit is"},
		},
		{
			name: "a client that left while a unix socket took its upload", want: ClientClosedRequest, phase: failure.PhaseSend,
			heard: heard(left, with(sentAttempt(func(a *listen.Attempt) { a.Network, a.Wrote, a.Err = "unix", 0, context.Canceled }), limited)),
			says:  []string{"no limit of the transport has an effect"},
			not:   []string{"limit in", "limit is"},
		},

		{
			name: "FastCGI ends without an answer", want: ClosedBeforeResponse, sent: failure.SentMaybe,
			heard: heard(nil, fastCGI(io.EOF)),
			says:  []string{"no byte of an answer had come, 30 s after the connect", "request_terminate_timeout", "memory_limit"},
		},
		{
			name: "a script's status", want: FastCGIMalformed, sent: failure.SentYes,
			heard: heard(nil, fastCGI(number("fine"))),
			says:  []string{`where a status belongs, the script says "fine"`, "begin its Status with a number"},
			not:   []string{"a FastCGI server listens"},
		},
		{
			name: "a script's field", want: FastCGIMalformed, sent: failure.SentYes,
			heard: heard(nil, fastCGI(textproto.ProtocolError("malformed MIME header line: no colon here"))),
			not:   []string{"a FastCGI server listens"},
		},
		{
			name: "no FastCGI", want: FastCGIMalformed, sent: failure.SentMaybe,
			heard: heard(nil, fastCGI(errors.New("fcgi: invalid header version"))),
			says:  []string{"a FastCGI server listens"},
		},

		{
			name: "the upstream gave the stream up", want: StreamReset,
			heard: heard(nil, sentAttempt(func(a *listen.Attempt) {
				a.Err = http2.StreamError{Code: http2.ErrCodeCancel, Cause: errors.New(textFromPeer)}
			})),
			says: []string{"HTTP/2 error code CANCEL", "grpc-timeout"},
		},
		{
			name: "the client and the upstream gave up at the same deadline", want: ClientClosedRequest, phase: failure.PhaseWait, sent: failure.SentMaybe,
			heard: heard(func(h *listen.Heard) { h.Client.Left = true }, sentAttempt(func(a *listen.Attempt) {
				a.Err = http2.StreamError{Code: http2.ErrCodeCancel, Cause: errors.New(textFromPeer)}
			})),
			says: []string{"no limit is set: response_header_timeout"},
		},
		{
			name: "nginx has no client certificate", want: ClientCertificateRejected, phase: failure.PhaseHeaders, sent: failure.SentNo,
			heard: answers400(true, "<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n"),
			says:  []string{"the answer says: ", "tls_client_auth"},
		},
		{
			name: "nginx does not like the client certificate", want: ClientCertificateRejected, phase: failure.PhaseHeaders,
			heard: answers400(true, "<html>\r\n<head><title>400 The SSL certificate error</title></head>\r\n"),
		},
		{
			name: "a limit beside which another would end the wait", want: ResponseTimeout,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) {
				a.Err = timeoutError("net/http: " + textAwaiting)
			}), twoTimeouts)),
			says: []string{"raise response_header_timeout and read_timeout in the transport: read_timeout 5 ms would end it next"},
		},
		{
			name: "headers beyond max_response_header", want: ResponseHeadersTooLarge,
			heard: heard(nil, with(sentAttempt(func(a *listen.Attempt) {
				a.FirstByte, a.Err = 5*millisecond, errors.New(textHeadersExceeded+"4096 bytes; aborted")
			}), smallHeaders)),
			says: []string{"max_response_header is 4096 bytes", "raise max_response_header 4096 in the transport", "whether the limit is too small"}, not: []string{"gave up"},
		},
		{
			name: "a forward proxy of the environment that is not there", want: ForwardProxyFailed, sent: failure.SentNo,
			heard: heard(nil, proxied(func(a *listen.Attempt) {
				a.Connection, a.Wrote, a.TLS, a.Err = nil, 0, true, refusedProxy
				a.Dialing = &listen.Dialing{Start: 2 * millisecond, End: 3 * millisecond, Err: refusedProxy.Err, Connects: []listen.Connect{
					{Network: "tcp", Address: "127.0.0.1:3128", Start: 2 * millisecond, End: 3 * millisecond, Err: refusedProxy.Err},
				}}
			})),
			says: []string{"HTTPS_PROXY of Caddy's environment names it", "name my-backend in NO_PROXY"},
		},
		{
			name: "a forward proxy that wants a user", want: ForwardProxyFailed, sent: failure.SentNo,
			heard: heard(nil, proxied(wantsUser)),
			says:  []string{"wants a user and a password, and Caddy has none for it"}, not: []string{"does not take"},
		},
		{
			name: "a forward proxy that does not take the user", want: ForwardProxyFailed, sent: failure.SentNo,
			heard: heard(nil, proxied(func(a *listen.Attempt) { wantsUser(a); a.ProxyUser = true })),
			says:  []string{"does not take the user and the password that Caddy has for it", "whether the user or the password is wrong"}, not: []string{"has none"},
		},
		{
			name: "a forward proxy that closed", want: ForwardProxyFailed, phase: failure.PhaseWait, sent: failure.SentMaybe,
			heard: heard(nil, proxied(func(a *listen.Attempt) { a.Err = io.EOF })),
			says:  []string{"The forward proxy 127.0.0.1:3128 (HTTP_PROXY of Caddy's environment) was asked in place of my-backend:8080, and did not answer.", "it was asked for http://shop.example.test/x%20y", "the forward proxy: closed_before_response"},
			not:   []string{"secret", "log for a crash"},
		},
		{
			name: "a client that left while a forward proxy was asked", want: ForwardProxyFailed, phase: failure.PhaseWait, sent: failure.SentMaybe,
			heard: heard(left, proxied(func(a *listen.Attempt) { a.Err = context.Canceled })),
			says:  []string{"it was asked for http://shop.example.test/x%20y", "network_proxy none"}, not: []string{"why the upstream is slow"},
		},
		{
			name: "a forward proxy that broke off", want: ForwardProxyFailed, phase: failure.PhaseHeaders, sent: failure.SentMaybe,
			heard: heard(nil, proxied(func(a *listen.Attempt) { a.FirstByte, a.Err = 5*millisecond, io.ErrUnexpectedEOF })),
			says:  []string{"was asked in place of my-backend:8080, and gave no whole answer.", "the forward proxy: response_cut_in_headers"},
		},
		{
			name: "a forward proxy that was told of the upstream", want: ClosedBeforeResponse,
			heard: heard(nil, proxied(func(a *listen.Attempt) { a.Request.Host, a.Err = "MY-backend:8080", io.EOF })),
			not:   []string{"in place of"},
		},
		{
			name: "a tunnel to the upstream", want: ClosedBeforeResponse,
			heard: heard(nil, proxied(func(a *listen.Attempt) { a.TLS, a.Err = true, io.EOF })),
			not:   []string{"in place of"},
		},
		{
			name: "SOCKS, which leads to the upstream", want: ClosedBeforeResponse,
			heard: heard(nil, proxied(func(a *listen.Attempt) { a.ForwardProxy, a.Err = "socks5://127.0.0.1:1080", io.EOF })),
			not:   []string{"in place of"},
		},
		{name: "the same sentence without TLS", heard: answers400(false, "No required SSL certificate was sent")},
		{name: "any other 400", heard: answers400(true, "<html>\r\n<head><title>400 Bad Request</title></head>")},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(test.heard)
			if test.want == nil {
				if f != nil {
					t.Fatalf("it became %s %s", f.Outcome, f.Cause)
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
			if f.Cause != test.want.Name || f.Phase != test.phase || test.sent != "" && f.RequestSent != test.sent {
				t.Errorf("%s in %s, sent %s; want %s in %s, %s", f.Cause, f.Phase, f.RequestSent, test.want.Name, test.phase, test.sent)
			}
			all := strings.Join(append(f.Evidence, f.Summary, f.Advice), "\n")
			for _, words := range test.says {
				if !strings.Contains(all, words) {
					t.Errorf("lacks %q:\n%s", words, all)
				}
			}
			for _, words := range test.not {
				if strings.Contains(all, words) {
					t.Errorf("has %q:\n%s", words, all)
				}
			}
		})
	}
}

// Where no connection came about nothing was spoken, whatever was to be.
func TestNothingWasSpoken(t *testing.T) {
	refused := dialAttempt("tcp", "10.0.0.7:80", "connect", syscall.ECONNREFUSED)
	refused.Protocol = "http/1.1"
	closed := sentAttempt(func(a *listen.Attempt) { a.Protocol, a.Err = "http/1.1", io.EOF })
	f := Diagnose(heard(nil, closed, refused))
	if f == nil || f.Attempts[0].Protocol != "http/1.1" || f.Attempts[1].Protocol != "" {
		t.Errorf("%+v", f)
	}
}

// timeoutError is a timeout that has no more than its text.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }

// What refuses our certificate never reads the request, however late it says so.
func TestACertificateThatWasRefused(t *testing.T) {
	for alert, want := range map[uint8]failure.Sent{116: failure.SentNo, 48: failure.SentNo, 42: failure.SentNo, 80: failure.SentMaybe} {
		f := Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.TLS, a.Err = true, &net.OpError{Op: "remote error", Err: tls.AlertError(alert)}
		})))
		if f == nil || f.RequestSent != want {
			t.Errorf("alert %d became %+v, want it sent %s", alert, f, want)
			continue
		}
		// Nor does the evidence contradict that it was not sent.
		said := strings.Join(f.Evidence, "\n")
		if taken := strings.Contains(said, "it never took the request in"); taken != (want == failure.SentNo) || taken && strings.Contains(said, "no byte of an answer") {
			t.Errorf("alert %d is told by\n%s", alert, said)
		}
	}
}

// unresolved is an attempt whose upstream's name could not be looked up.
func unresolved(protocol string, err error) listen.Attempt {
	return sentAttempt(func(a *listen.Attempt) {
		a.Protocol, a.Connection, a.Wrote, a.DialErr, a.Err = protocol, nil, 0, true, err
		a.Dialing = &listen.Dialing{Start: 2 * millisecond, Err: err, Lookup: &listen.Lookup{Host: "php", Start: 2 * millisecond, End: 3 * millisecond, Err: err}}
	})
}
