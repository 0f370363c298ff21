//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestHAProxy(t *testing.T) {
	t.Parallel()
	haproxy := program(t, "haproxy", "haproxy")
	dir := workDir(t)
	cert, _, both := writeCertificate(t, dir)
	held := startHolder(t)
	http, tcp, secure := freeAddress(t), freeAddress(t), freeAddress(t)
	notHTTP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer notHTTP.Close()
	go func() {
		for {
			conn, err := notHTTP.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "no HTTP\r\n\r\n")
			conn.Close()
		}
	}()
	config := write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`
global
	nbthread 1
	maxconn 256
defaults
	mode http
	retries 0
	timeout connect 1s
	timeout client 20s
	timeout server 20s
frontend http
	bind %[1]s
	option http-buffer-request
	timeout http-request 500ms
	timeout http-keep-alive 20s
	http-request return status 200 content-type text/plain string fine if { path / }
	http-request reject if { path /reject }
	http-request silent-drop if { path /silent-drop }
	http-request deny if { path /deny }
	use_backend slow if { path /slow }
	use_backend full if { path_beg /full }
	use_backend broken if { path /broken }
	default_backend dead
backend dead
	server it %[5]s
backend slow
	timeout server 200ms
	server it %[6]s
backend full
	timeout queue 200ms
	server it %[6]s maxconn 1
backend broken
	server it %[8]s
frontend secure
	bind %[3]s ssl crt %[4]s ca-file %[7]s verify required
	http-request return status 200
listen tcp
	mode tcp
	bind %[2]s
	server it %[5]s
`, http, tcp, secure, both, deadAddress(t), held.address, cert, notHTTP.Addr()))
	startPart(t, dir, haproxy, "-db", "-f", config).listening(t, "tcp", http)

	c := startCaddy(t, fmt.Sprintf(`
	handle /tcp {
		reverse_proxy %[2]s
	}
	handle /client_certificate {
		reverse_proxy https://%[3]s {
			transport http {
				tls_insecure_skip_verify
			}
		}
	}
	handle /plain_to_tls {
		reverse_proxy http://%[3]s
	}
	handle /silent-drop {
		reverse_proxy %[1]s {
			transport http {
				response_header_timeout 1s
			}
		}
	}
	handle {
		reverse_proxy %[1]s
	}`, http, tcp, secure))

	answered := func(status int) want {
		return want{
			status: status, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
			outcome: failure.UpstreamAnswered, sent: failure.SentYes,
			evidence: []string{fmt.Sprintf("answered %d", status), "its body has what HAProxy writes there by itself"}, also: received(status, ""),
		}
	}
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{name: "its backend is down", visit: visit{path: "/dead"}, wanted: answered(503), body: "503 Service Unavailable"},
		{name: "its backend is slow", visit: visit{path: "/slow"}, wanted: answered(504)},
		{name: "its backend is broken", visit: visit{path: "/broken"}, wanted: answered(502)},
		{
			name: "its backend is full", visit: visit{path: "/full"},
			before: func(t *testing.T) {
				t.Helper()
				for len(held.held) > 0 { // those of others
					held.wait(t)
				}
				c.inBackground(t, "/full?first")
				held.wait(t)
			},
			wanted: answered(503),
		},
		{name: "deny", visit: visit{path: "/deny"}, wanted: want{status: 403}},
		{
			// It takes the client's slowness for ours, and its 408 is the client's to read.
			name: "timeout http-request", visit: visit{path: "/upload", stalls: true}, wanted: want{status: 408},
		},
		{
			name: "reject", visit: visit{path: "/reject"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
		{
			// Without the right to repair a socket it resets it, with a TTL that reaches
			// loopback alone.
			name: "silent-drop", visit: visit{path: "/silent-drop"},
			wanted: want{
				status: 502, cause: "reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
		{
			// It takes the connection first, and gives it up before or after it was sent
			// a request.
			name: "tcp mode to nowhere", visit: visit{path: "/tcp"},
			wanted: want{
				status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: "no|maybe",
			},
		},
		{
			// In TLS 1.3 its alert crosses with the request.
			name: "no client certificate", visit: visit{path: "/client_certificate"},
			wanted: want{
				status: 502, cause: "client_certificate_rejected", phase: failure.PhaseTLS, side: failure.SideProxy,
				outcome: failure.Failed, sent: "no|maybe", evidence: []string{`alert 116: certificate required`},
			},
		},
		{
			name: "plain HTTP to its TLS port", visit: visit{path: "/plain_to_tls"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe,
			},
		},
	})
}
