//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestNginx(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	cert, key, _ := writeCertificate(t, dir)
	held := startHolder(t)
	plain, secure, clientCert := freeAddress(t), freeAddress(t), freeAddress(t)
	startNginx(t, dir, plain, fmt.Sprintf(`
	limit_req_zone all zone=rate:64k rate=1r/m;
	limit_conn_zone all zone=connections:64k;
	ssl_certificate %[1]s;
	ssl_certificate_key %[2]s;
	server {
		listen %[3]s;
		location / { return 200 fine; }
		location /444 { return 444; }
		location /limit_req { limit_req zone=rate; proxy_pass http://%[6]s; }
		location /limit_conn { limit_conn connections 1; proxy_pass http://%[6]s; }
		location /bad_gateway { proxy_pass http://%[7]s; }
		location /gateway_timeout { proxy_read_timeout 100ms; proxy_pass http://%[6]s; }
		location /too_large { client_max_body_size 1k; proxy_pass http://%[6]s; }
	}
	server {
		listen %[4]s ssl;
		location / { return 200 fine; }
	}
	server {
		listen %[5]s ssl;
		ssl_client_certificate %[1]s;
		ssl_verify_client on;
		location / { return 200 fine; }
	}`, cert, key, plain, secure, clientCert, held.address, deadAddress(t)))

	c := startCaddy(t, fmt.Sprintf(`
	handle /plain_to_tls {
		reverse_proxy http://%[2]s
	}
	handle /tls_to_plain {
		reverse_proxy https://%[1]s
	}
	handle /fastcgi {
		reverse_proxy %[1]s {
			transport fastcgi
		}
	}
	handle /untrusted {
		reverse_proxy https://%[2]s
	}
	handle /client_certificate {
		reverse_proxy https://%[3]s {
			transport http {
				tls_insecure_skip_verify
			}
		}
	}
	handle {
		reverse_proxy %[1]s
	}`, plain, secure, clientCert))

	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "return 444", visit: visit{path: "/444"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
		{
			name: "limit_req", visit: visit{path: "/limit_req"},
			before: func(t *testing.T) {
				t.Helper()
				c.inBackground(t, "/limit_req?first")
				held.wait(t)
			},
			wanted: want{
				status: 503, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 503`}, also: received(503, "nginx"),
			},
			body: "503 Service Temporarily Unavailable",
		},
		{
			name: "limit_conn", visit: visit{path: "/limit_conn"},
			before: func(t *testing.T) {
				t.Helper()
				c.inBackground(t, "/limit_conn?first")
				held.wait(t)
			},
			wanted: want{
				status: 503, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 503`}, also: received(503, "nginx"),
			},
		},
		{
			name: "its own upstream is down", visit: visit{path: "/bad_gateway"},
			wanted: want{
				status: 502, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 502`, "its body has what nginx writes there by itself"}, also: received(502, "nginx"),
			},
		},
		{
			name: "its own upstream is slow", visit: visit{path: "/gateway_timeout"},
			wanted: want{
				status: 504, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 504`, "its body has what nginx writes there by itself"}, also: received(504, "nginx"),
			},
		},
		{
			// It refuses before it has read the body, and the client hears why. Of more than
			// is written at once the client may be told while it still writes, and miss it.
			name: "a request that is too large", visit: visit{path: "/too_large", body: strings.NewReader(strings.Repeat("x", 2<<10))},
			wanted: want{status: 413}, body: "413 Request Entity Too Large",
		},
		{
			name: "plain HTTP to its TLS port", visit: visit{path: "/plain_to_tls"},
			wanted: want{
				status: 400, cause: "tls_expected", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.UpstreamAnswered, sent: failure.SentNo, evidence: []string{`the answer says: `},
			},
			body: "The plain HTTP request was sent to HTTPS port",
		},
		{
			name: "TLS to its plain port", visit: visit{path: "/tls_to_plain"},
			wanted: want{
				status: 502, cause: "tls_not_spoken", phase: failure.PhaseTLS, side: failure.SideProxy,
				outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`the first bytes that came back: "(HTTP/|<html)`},
			},
		},
		{
			name: "FastCGI to its HTTP port", visit: visit{path: "/fastcgi"},
			wanted: want{
				status: 502, cause: "fastcgi_malformed", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe,
			},
		},
		{
			name: "a certificate that nobody knows", visit: visit{path: "/untrusted"},
			wanted: want{
				status: 502, cause: "certificate_untrusted", phase: failure.PhaseTLS, side: failure.SideProxy,
				outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`^it is self-signed$`, `names in the certificate: 127\.0\.0\.1`},
			},
		},
		{
			// A 400 of its own, after a handshake that went well.
			name: "no client certificate", visit: visit{path: "/client_certificate"},
			wanted: want{
				status: 400, cause: "client_certificate_rejected", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.UpstreamAnswered, sent: failure.SentNo, evidence: []string{`the answer says: .*No required SSL certificate`},
			},
			body: "No required SSL certificate was sent",
		},
	})
}

// A connection that nginx closes at the moment when it is used again: hard to hit,
// so that none may be seen; what is seen must have the one name.
func TestNginxKeepalive(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	address := freeAddress(t)
	startNginx(t, dir, address, fmt.Sprintf(`
	keepalive_timeout 1s;
	server {
		listen %[1]s;
		location / { return 200 fine; }
	}`, address))
	c := startCaddy(t, "reverse_proxy "+address)
	c.race(t, keepaliveTimeout, 3)
}
