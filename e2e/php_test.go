//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// The scripts that php-fpm runs. wait is given the address of a holder.
var phpScripts = map[string]string{
	"fine.php":       `<?php echo "fine";`,
	"killed.php":     `<?php posix_kill(getmypid(), 9); sleep(60);`,
	"cut.php":        `<?php header("Content-Length: 1000"); echo "begun"; flush(); include "wait.php";`,
	"fatal.php":      `<?php undefined();`,
	"maintained.php": `<?php http_response_code(503); header("Retry-After: 120"); echo "back soon";`,
	"wait.php":       `<?php $to = stream_socket_client("tcp://" . getenv("HOLDER")); fread($to, 1);`,
	"headers.php":    `<?php header("Status: none"); echo "fine";`,
	// As joomla-cms#6368 did, for each page while its database was down.
	"exception.php": `<?php try { throw new RuntimeException("Access denied", 1045); } catch (RuntimeException $e) { http_response_code($e->getCode()); echo $e->getMessage(); }`,
}

func TestPHP(t *testing.T) {
	t.Parallel()
	fpm := program(t, "php-fpm", "php-fpm", "php-fpm[0-9]*")
	dir := workDir(t)
	held := startHolder(t)
	for name, script := range phpScripts {
		write(t, filepath.Join(dir, name), script)
	}
	socket := func(name string) string { return filepath.Join(dir, name+".sock") }
	overTCP := freeAddress(t)
	config := write(t, filepath.Join(dir, "fpm.conf"), fmt.Sprintf(`
[global]
daemonize = no
error_log = %[7]s/fpm.log
[www]
listen = %[1]s
pm = static
pm.max_children = 4
env[HOLDER] = %[5]s
[tcp]
listen = %[6]s
pm = static
pm.max_children = 1
[denied]
listen = %[2]s
listen.mode = 0000
pm = static
pm.max_children = 1
[one]
listen = %[3]s
listen.backlog = 1
pm = static
pm.max_children = 1
env[HOLDER] = %[5]s
[terminating]
listen = %[4]s
pm = static
pm.max_children = 1
request_terminate_timeout = 1s
env[HOLDER] = %[5]s
`, socket("www"), socket("denied"), socket("one"), socket("terminating"), held.address, overTCP, dir))
	startPart(t, dir, fpm, "-n", "-F", "-y", config, "-d", "extension=posix", "-d", "display_errors=0", "-d", "log_errors=0").listening(t, "unix", socket("www"))

	stale, err := net.Listen("unix", socket("stale"))
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	give(t, socket("stale"))

	pool := func(name, options string) string {
		return fmt.Sprintf(`handle_path /%s/* {
	upstream_diagnostics
	php_fastcgi unix/%s {
		%s
	}
}
`, name, socket(name), options)
	}
	c := startCaddy(t, "root "+dir+"\n"+
		pool("missing", "")+
		pool("stale", "")+
		pool("denied", "")+
		pool("one", "read_timeout 500ms")+
		pool("terminating", "")+
		fmt.Sprintf(`handle_path /intercepted/* {
	upstream_diagnostics {
		intercept 500
	}
	php_fastcgi unix/%[1]s
}
handle_path /elsewhere/* {
	upstream_diagnostics
	php_fastcgi unix/%[1]s {
		root /nonexistent
		try_files {path}
	}
}
handle_path /as_http/* {
	upstream_diagnostics
	reverse_proxy %[2]s
}
handle {
	upstream_diagnostics
	php_fastcgi unix/%[1]s {
		read_timeout 500ms
	}
}`, socket("www"), overTCP))

	failed := func(status int, cause string, phase failure.Phase, side failure.Side, sent failure.Sent, evidence ...string) want {
		return want{
			status: status, cause: cause, phase: phase, side: side, outcome: failure.Failed, sent: sent, evidence: evidence,
			also: func(t *testing.T, f *failure.Failure) {
				t.Helper()
				spoken := "fastcgi"
				if f.Phase == failure.PhaseConnect {
					spoken = ""
				}
				if f.Attempts[0].Protocol != spoken {
					t.Errorf("protocol %q", f.Attempts[0].Protocol)
				}
			},
		}
	}
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/fine.php"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "no socket", visit: visit{path: "/missing/fine.php"},
			wanted: failed(502, "socket_not_found", failure.PhaseConnect, failure.SideUpstream, failure.SentNo, `missing\.sock: ENOENT`),
		},
		{
			name: "a socket that nobody listens on", visit: visit{path: "/stale/fine.php"},
			wanted: failed(502, "connection_refused", failure.PhaseConnect, failure.SideUpstream, failure.SentNo, `stale\.sock: ECONNREFUSED`),
		},
		{
			name: "wrong permissions", visit: visit{path: "/denied/fine.php"},
			wanted: failed(502, "socket_permission_denied", failure.PhaseConnect, failure.SideProxy, failure.SentNo, `denied\.sock: EACCES`),
		},
		{
			name: "a slow script", visit: visit{path: "/wait.php"},
			wanted: failed(504, "read_timeout", failure.PhaseWait, failure.SideUpstream, failure.SentMaybe, `gave up by read_timeout 500 ms`),
		},
		{
			name: "the pool is exhausted, the queue not", visit: visit{path: "/one/fine.php"},
			before: func(t *testing.T) {
				t.Helper()
				for len(held.held) > 0 { // those of others
					held.wait(t)
				}
				// It outlasts Caddy's patience: the worker is busy from here on.
				if got := c.visit(t, visit{path: "/one/wait.php"}); got.status != 504 {
					t.Fatalf("got %d", got.status)
				}
				held.wait(t)
			},
			wanted: failed(504, "read_timeout", failure.PhaseWait, failure.SideUpstream, failure.SentMaybe, `gave up by read_timeout 500 ms`),
		},
		{
			name: "the pool and its queue are exhausted", visit: visit{path: "/one/killed.php"},
			before: func(t *testing.T) {
				t.Helper()
				await(t, "the queue is full", func() bool {
					conn, err := net.Dial("unix", socket("one"))
					if err == nil {
						t.Cleanup(func() { conn.Close() })
					}
					return errors.Is(err, syscall.EAGAIN)
				})
			},
			wanted: failed(502, "socket_backlog_full", failure.PhaseConnect, failure.SideUpstream, failure.SentNo, `one\.sock: EAGAIN`),
		},
		{
			// It may be dead before the record that ends the request has been written.
			name: "the script is killed", visit: visit{path: "/killed.php"},
			wanted: failed(502, "closed_before_response|reset_before_response", failure.PhaseWait, failure.SideUpstream, failure.SentMaybe),
		},
		{
			name: "request_terminate_timeout", visit: visit{path: "/terminating/wait.php"},
			wanted: failed(502, "closed_before_response", failure.PhaseWait, failure.SideUpstream, failure.SentMaybe),
		},
		{
			name: "request_terminate_timeout in the middle of the answer", visit: visit{path: "/terminating/cut.php"},
			wanted: want{
				status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
				outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 of 1000 bytes of the answer came$`},
			},
			body: "begun", cut: true,
		},
		{
			name: "a script that php-fpm doesn't find", visit: visit{path: "/elsewhere/fine.php"},
			wanted: want{
				status: 404, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes,
				evidence: []string{`^Caddy itself has this script below the site's root: `, `root in php_fastcgi or its transport is "?/nonexistent`},
				also:     advised("Set root in php_fastcgi"),
			},
			body: "File not found.",
		},
		{name: "a fatal error", visit: visit{path: "/fatal.php"}, wanted: want{status: 500}},
		{
			name: "a fatal error, intercepted", visit: visit{path: "/intercepted/fatal.php", header: "Accept: text/html"},
			wanted: want{
				status: 500, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 500`}, also: received(500, ""),
			},
			body: "<h1",
		},
		{
			name: "an application in maintenance", visit: visit{path: "/maintained.php"},
			wanted: want{
				status: 503, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 503`},
				also: func(t *testing.T, f *failure.Failure) {
					t.Helper()
					if f.Received == nil || f.Received.RetryAfter != "120" {
						t.Errorf("received %+v", f.Received)
					}
				},
			},
			body: "back soon",
		},
		{
			// The transport doesn't tell when a byte came: that the answer is malformed does.
			name: "a status that is no number", visit: visit{path: "/headers.php"},
			wanted: failed(502, "fastcgi_malformed", failure.PhaseHeaders, failure.SideUpstream, failure.SentYes),
		},
		{
			name: "an exception's code for a status", visit: visit{path: "/exception.php"},
			wanted: want{
				status: 502, cause: "response_malformed", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentYes, evidence: []string{`answered with the status 1045`},
				also: func(t *testing.T, f *failure.Failure) {
					t.Helper()
					if !strings.Contains(f.Advice, "not an exception's own code") {
						t.Error(f.Advice)
					}
				},
			},
		},
		{
			// php-fpm reads a header of its own and closes on the rest, without a word.
			name: "reverse_proxy to php-fpm", visit: visit{path: "/as_http/fine.php"},
			wanted: want{
				status: 502, cause: "reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
	})
}
