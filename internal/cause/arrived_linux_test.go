package cause

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// dropLarger drops the packets that come to a socket, before its TCP sees them, if they
// are larger than that with TCP's own header: 0 makes a black hole, more an MTU hole. Those
// that a listener accepts do the same.
func dropLarger(t *testing.T, socket syscall.RawConn, size uint32) {
	t.Helper()
	err := socket.Control(func(fd uintptr) {
		if err := syscall.AttachLsf(int(fd), []syscall.SockFilter{
			{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_LEN},
			{Code: syscall.BPF_JMP | syscall.BPF_JGT | syscall.BPF_K, K: size, Jt: 1},
			{Code: syscall.BPF_RET | syscall.BPF_K, K: 1 << 18},
			{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
		}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bare is more than a packet of TCP that carries nothing.
const bare = 60

// swallowing serves every connection by the handler, and swallows what is larger than
// size once the handler has seen a request for it.
type swallowing struct {
	net.Listener
	size  uint32
	fresh bool // from the beginning
	conns chan net.Conn
}

func (s *swallowing) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s.conns <- c
	return c, nil
}

// askSwallowed sends a request to an upstream that gets nothing of it, after one that went
// well unless the connection is to be fresh.
func askSwallowed(t *testing.T, s *swallowing, overTLS, overH2 bool, option ...func(*proxy)) *listen.Heard {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		if s.fresh {
			dropLarger(t, socket, max(s.size, bare))
		}
		return nil
	}}
	config.SetMultipathTCP(false) // which takes no filter
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener, s.conns = ln, make(chan net.Conn, 8)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	if overTLS {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t, nil)}, NextProtos: []string{"http/1.1"}}
		if overH2 {
			server.TLSConfig.NextProtos = []string{"h2"}
		}
		go func() { _ = server.ServeTLS(s, "", "") }()
	} else {
		go func() { _ = server.Serve(s) }()
	}
	t.Cleanup(func() { _ = server.Close() })
	p := to(t, ln.Addr().String(), append([]func(*proxy){func(p *proxy) {
		p.wired = true
		p.tls = overTLS
		p.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it has to be broken
		p.transport.ForceAttemptHTTP2 = overH2
	}}, option...)...)
	if !s.fresh {
		header, leave := p.header, p.leave
		p.header, p.leave = nil, 0
		if f := Diagnose(p.ask(t)); f != nil {
			t.Fatalf("the first request failed: %+v", f)
		}
		p.header, p.leave = header, leave
		socket, err := (<-s.conns).(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		dropLarger(t, socket, s.size)
	}
	return p.ask(t)
}

func TestRequestNeverArrived(t *testing.T) {
	const patience = 1500 * time.Millisecond
	large := func(p *proxy) { p.header = http.Header{"Cookie": {strings.Repeat("c", 2500)}} }
	limit := func(p *proxy) {
		p.transport.ResponseHeaderTimeout = patience
		limited(failure.ResponseHeaderTimeout, patience)(p)
	}
	leave := func(p *proxy) { p.leave = patience }
	handshake := limited(failure.TLSTimeout, patience)
	tests := []struct {
		name            string
		to              swallowing
		tls, h2         bool
		idle            time.Duration
		options         []func(*proxy)
		cause           string
		outcome         failure.Outcome
		evidence        string
		advice, noWords string
	}{
		{"black hole after an idle time", swallowing{}, false, false, time.Minute, []func(*proxy){limit}, "connection_lost", failure.Failed, "bytes of the request were never acknowledged", "keepalive", "raise"},
		{"the client leaves first", swallowing{}, false, false, time.Minute, []func(*proxy){leave}, "connection_lost", failure.Abandoned, "bytes of the request were never acknowledged", "keepalive", "slow"},
		{"TLS", swallowing{}, true, false, time.Minute, []func(*proxy){limit}, "connection_lost", failure.Failed, "bytes of the request were never acknowledged", "keepalive", "raise"},
		{"HTTP/2", swallowing{}, true, true, 0, []func(*proxy){limit}, "connection_lost", failure.Failed, "nothing came over this connection for 1.", "longer limit in Caddy does not help", "raise"},
		{"HTTP/2, the client leaves first", swallowing{}, true, true, 0, []func(*proxy){leave}, "connection_lost", failure.Abandoned, "nothing came over this connection for 1.", "longer limit in Caddy does not help", "slow"},
		{"MTU hole", swallowing{size: 1400}, false, false, 0, []func(*proxy){limit, large}, "connection_lost", failure.Failed, "smaller packets passed", "MTU", "raise"},
		{"MTU hole, fresh", swallowing{size: 1400, fresh: true}, false, false, 0, []func(*proxy){limit, large}, "connection_lost", failure.Failed, "the connect, which takes small packets, had been answered", "MTU", "raise"},
		{"black hole behind the connect", swallowing{fresh: true}, false, false, 0, []func(*proxy){limit}, "connection_lost", failure.Failed, "the connect had been answered", "longer limit in Caddy does not help", "raise"},
		{"MTU hole in the handshake", swallowing{size: 1000, fresh: true}, true, false, 0, []func(*proxy){handshake}, "connection_lost", failure.Failed, "bytes of the TLS handshake were never acknowledged", "MTU", "raise"},
		{"MTU hole in the handshake, the client leaves first", swallowing{size: 1000, fresh: true}, true, false, 0, []func(*proxy){leave}, "connection_lost", failure.Abandoned, "bytes of the TLS handshake were never acknowledged", "tls_curves x25519", "slow"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := askSwallowed(t, &test.to, test.tls, test.h2, test.options...)
			phase, sent := failure.PhaseWait, failure.SentMaybe
			if c := h.Attempts[0].Connection; c == nil {
				phase, sent = failure.PhaseTLS, failure.SentNo
			} else {
				c.Idle = test.idle
			}
			f := Diagnose(h)
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != test.cause || f.Outcome != test.outcome || f.Side != failure.SideNetwork || f.Phase != phase || f.RequestSent != sent {
				t.Errorf("%s %s, side %s, phase %s, sent %s", f.Cause, f.Outcome, f.Side, f.Phase, f.RequestSent)
			}
			if all := strings.Join(f.Evidence, "\n"); !strings.Contains(all, test.evidence) {
				t.Errorf("%q is not in\n%s", test.evidence, all)
			}
			if !strings.Contains(f.Advice, test.advice) || strings.Contains(f.Advice, test.noWords) {
				t.Errorf("advice: %s", f.Advice)
			}
		})
	}
}

// An application that is merely slow has the request.
func TestSlowIsNotLost(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		p := to(t, serve(t, hold), wired, func(p *proxy) {
			p.transport.ResponseHeaderTimeout = 700 * time.Millisecond
			limited(failure.ResponseHeaderTimeout, 700*time.Millisecond)(p)
			if leaves {
				p.leave = 650 * time.Millisecond
			}
		})
		f := Diagnose(p.ask(t))
		if f == nil {
			t.Fatal("nothing was found")
		}
		check(t, f)
		if want := map[bool]string{false: "response_timeout", true: "client_closed_request"}[leaves]; f.Cause != want {
			t.Errorf("%s: %q", f.Cause, f.Evidence)
		}
	}
}

// What an upstream answers may be lost where its requests come through: then its smaller
// packets come, and those before them don't.
func TestAnswerNeverArrived(t *testing.T) {
	address := serve(t, func(c net.Conn) {
		readRequestHead(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3100\r\n\r\n"+strings.Repeat("a", 3000))
		_, _ = io.WriteString(c, strings.Repeat("b", 100)) // a packet of its own
		hold(c)
	})
	const patience = 800 * time.Millisecond
	dialer := &net.Dialer{Control: func(_, _ string, socket syscall.RawConn) error {
		dropLarger(t, socket, 1400)
		return nil
	}}
	for _, leaves := range []bool{false, true} {
		p := to(t, address, wired, func(p *proxy) {
			if leaves {
				p.leave = patience
				return
			}
			limited(failure.ResponseHeaderTimeout, patience)(p)
		}, func(p *proxy) { p.transport.DialContext = dialer.DialContext })
		f := Diagnose(p.ask(t))
		if f == nil {
			t.Fatal("nothing was found")
		}
		check(t, f)
		if all := strings.Join(f.Evidence, "\n"); f.Cause != "connection_lost" || f.Side != failure.SideNetwork || !strings.Contains(all, "larger packets of its answer are lost") || !strings.Contains(f.Advice, "MTU") {
			t.Errorf("%s, side %s: %s\n%s", f.Cause, f.Side, f.Advice, all)
		}
	}
}

// readRequestHead reads until a request's head has ended.
func readRequestHead(c net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(c)) }
