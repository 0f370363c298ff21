//go:build linux

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// advised checks that the advice names all of these, and a crash only where a request by
// hand is answered.
func advised(words ...string) func(*testing.T, *failure.Failure) {
	return func(t *testing.T, f *failure.Failure) {
		t.Helper()
		for _, word := range words {
			if !strings.Contains(f.Advice, word) {
				t.Errorf("the advice lacks %q: %s", word, f.Advice)
			}
		}
		if first, _, _ := strings.Cut(f.Advice, "if it is answered"); strings.Contains(first, "crash") {
			t.Errorf("nothing crashed: %s", f.Advice)
		}
	}
}

// Ports on which something accepts a connection and ends it at once, because nothing
// there can answer HTTP.
func TestEndsAtOnce(t *testing.T) {
	t.Parallel()
	haproxy, node := program(t, "haproxy", "haproxy"), program(t, "nodejs", "node", "nodejs")
	fpm, openssl := program(t, "php-fpm", "php-fpm", "php-fpm[0-9]*"), program(t, "openssl", "openssl")
	dir := workDir(t)
	cert, key, both := writeCertificate(t, dir)
	wantsPROXY, unknownHost, balancer, retrying, secure, nodeTLS, sClient := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	script, denied := freeAddress(t), freeAddress(t)

	startNginx(t, dir, wantsPROXY, fmt.Sprintf(`
	server {
		listen %[1]s proxy_protocol;
		location / { return 200 fine; }
	}
	server {
		listen %[2]s default_server;
		return 444;
	}`, wantsPROXY, unknownHost))
	startPart(t, dir, haproxy, "-db", "-f", write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`
global
	nbthread 1
	maxconn 64
defaults
	timeout connect 1s
	timeout client 20s
	timeout server 20s
listen balancer
	mode tcp
	retries 0
	bind %[1]s
	server it %[4]s
listen retrying
	mode tcp
	retries 2
	bind %[2]s
	server it %[4]s
frontend secure
	mode http
	bind %[3]s ssl crt %[5]s
	http-request return status 200
`, balancer, retrying, secure, deadAddress(t), both))).listening(t, "tcp", secure)
	startPart(t, dir, node, "-e", fmt.Sprintf(`const fs = require("fs");
require("https").createServer({ key: fs.readFileSync(%q), cert: fs.readFileSync(%q) }, (q, r) => r.end("fine")).listen(%d, "127.0.0.1")`,
		key, cert, portOf(t, nodeTLS))).listening(t, "tcp", nodeTLS)
	startPart(t, dir, openssl, "s_server", "-quiet", "-accept", sClient, "-cert", cert, "-key", key).listening(t, "tcp", sClient)
	startPart(t, dir, fpm, "-n", "-F", "-y", write(t, filepath.Join(dir, "fpm.conf"), fmt.Sprintf(`
[global]
daemonize = no
error_log = %[3]s/fpm.log
[www]
listen = %[1]s
pm = static
pm.max_children = 1
[denied]
listen = %[2]s
listen.allowed_clients = 192.0.2.1
pm = static
pm.max_children = 1
`, script, denied, dir))).listening(t, "tcp", denied)

	c := startCaddy(t, fmt.Sprintf(`
	handle /wants_proxy {
		reverse_proxy %[1]s
	}
	handle /unknown_host {
		reverse_proxy %[2]s
	}
	handle /balancer* {
		reverse_proxy %[3]s
	}
	handle /retrying {
		reverse_proxy %[4]s
	}
	handle /tls_haproxy {
		reverse_proxy %[5]s
	}
	handle /tls_node {
		reverse_proxy %[6]s
	}
	handle /tls_openssl {
		reverse_proxy %[7]s
	}
	handle /script {
		reverse_proxy %[8]s
	}
	handle /denied {
		reverse_proxy %[9]s {
			transport fastcgi
		}
	}`, wantsPROXY, unknownHost, balancer, retrying, secure, nodeTLS, sClient, script, denied))
	ends := func(advice func(*testing.T, *failure.Failure)) want {
		return want{
			status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: "no|maybe", evidence: []string{`had not answered anything before this request`}, also: advice,
		}
	}
	// It may end the connection before the body is written, or after.
	posted := ends(advised("balancer whose target is gone"))
	posted.cause, posted.phase = posted.cause+"|request_write_failed", "send|wait"
	runAll(t, c, []scenario{
		{name: "a port that wants a PROXY header", visit: visit{path: "/wants_proxy"}, wanted: ends(advised("proxy_protocol"))},
		{name: "a Host that nginx does not know", visit: visit{path: "/unknown_host"}, wanted: ends(advised("444", "header_up Host"))},
		{name: "a TCP balancer whose target is gone", visit: visit{path: "/balancer"}, wanted: ends(advised("balancer whose target is gone", "published Docker port"))},
		{name: "the same, asked by POST", visit: visit{path: "/balancer/post", body: strings.NewReader("x")}, wanted: posted},
		{name: "one that tries again", visit: visit{path: "/retrying"}, wanted: ends(advised("it has never answered", "balancer"))},
		{name: "HAProxy's TLS port", visit: visit{path: "/tls_haproxy"}, wanted: ends(advised("https://"))},
		{name: "Node's TLS port", visit: visit{path: "/tls_node"}, wanted: ends(advised("https://"))},
		{name: "OpenSSL's TLS port", visit: visit{path: "/tls_openssl"}, wanted: ends(advised("https://"))},
		{name: "php-fpm's port", visit: visit{path: "/script"}, wanted: ends(advised("php_fastcgi"))},
		{name: "php-fpm that does not allow this address", visit: visit{path: "/denied"}, wanted: ends(advised("listen.allowed_clients"))},
	})
}

// A server of Go's ends a connection for its WriteTimeout without a word in its log, and
// only when the handler is done.
func TestWriteTimeoutOfGo(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{WriteTimeout: 500 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(1300 * time.Millisecond) // the fault itself
		}
		fmt.Fprint(w, "fine")
	})}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close() })
	c := startCaddy(t, "reverse_proxy 127.0.0.1:"+strconv.Itoa(portOf(t, ln.Addr().String())))
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{name: "slow", visit: visit{path: "/slow"}, wanted: want{
			status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`had given 1 answer before`},
			also: func(t *testing.T, f *failure.Failure) {
				t.Helper()
				if !strings.Contains(f.Advice, "WriteTimeout of a Go server, which logs nothing") {
					t.Error(f.Advice)
				}
			},
		}},
	})
}

// uwsgi that listens for its own protocol takes HTTP for the beginning of a packet of
// 21573 bytes: it closes at once, or where it would take so much, waits 4 s for the rest.
func TestUWSGIProtocol(t *testing.T) {
	t.Parallel()
	uwsgi := program(t, "uwsgi-core", "uwsgi", "uwsgi-core")
	dir := workDir(t)
	small, large := freeAddress(t), freeAddress(t)
	startPart(t, dir, uwsgi, "--socket", small, "--die-on-term").listening(t, "tcp", small)
	startPart(t, dir, uwsgi, "--socket", large, "--die-on-term", "--buffer-size", "32768").listening(t, "tcp", large)
	c := startCaddy(t, fmt.Sprintf(`
	handle /small {
		reverse_proxy %s
	}
	handle /large {
		reverse_proxy %s
	}`, small, large))
	runAll(t, c, []scenario{
		{name: "at once", visit: visit{path: "/small"}, wanted: want{
			status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe, also: advised("uwsgi"),
		}},
		{name: "after 4 s", visit: visit{path: "/large"}, wanted: want{
			status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`about 4 s`}, also: advised("http-socket"),
		}},
	})
}
