//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// nodeLengths sets Content-Length by hand, and wrongly.
const nodeLengths = `
const server = require("http").createServer((req, res) => {
	const body = JSON.stringify({ name: "Zo\u00eb M\u00fcller" });
	req.resume();
	switch (req.url) {
	case "/characters":
		res.writeHead(200, { "Content-Length": body.length });
		return res.end(body);
	case "/too-long":
		res.writeHead(200, { "Content-Length": 1000 });
		return res.end(body);
	case "/late": // what is too much comes when the next request is there
		res.writeHead(200, { "Content-Length": 2 });
		req.socket.late = "null";
		return res.end("ok");
	}
	if (req.socket.late) req.socket.write(req.socket.late);
	res.end("fine");
});
server.keepAliveTimeout = Number(process.argv[3]);
server.listen(Number(process.argv[2]), "127.0.0.1");
`

// gunicornLengths is an application that does the same in Python.
const gunicornLengths = `
def app(environ, start_response):
    body = "Zo\u00eb"
    start_response("200 OK", [("Content-Length", str(len(body) + (500 if environ["PATH_INFO"] == "/too-long" else 0)))])
    return [body.encode()]
`

func TestWrongLengths(t *testing.T) {
	t.Parallel()
	server := startNode(t, nodeLengths, "700")
	c := startCaddy(t, "upstream_diagnostics\nreverse_proxy "+server)
	exceeded := want{
		status: 200, cause: "response_length_exceeded", phase: failure.PhaseBody, side: failure.SideUpstream,
		outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^21 bytes of the answer came, as announced; 2 bytes more came after its end: "\\"}"$`},
	}
	runAll(t, c, []scenario{
		{name: "in characters", visit: visit{path: "/characters"}, wanted: exceeded, body: `{"name":"Zo`},
		{name: "larger than what is sent", visit: visit{path: "/too-long"}, wanted: want{
			status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
			outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^23 of 1000 bytes`, `then nothing for [0-9.]+ m?s, until the connection ended`},
			also: advised("Compare the Content-Length"),
		}, body: `{"name"`, cut: true},
	})
	t.Run("who asks next", func(t *testing.T) {
		if got := c.visit(t, visit{path: "/late"}); got.status != 200 {
			t.Fatalf("got %d", got.status)
		}
		if got := c.visit(t, visit{path: "/order", body: strings.NewReader("order=1")}); got.status != 502 {
			t.Fatalf("got %d", got.status)
		}
		want{
			status: 502, cause: "response_length_exceeded", phase: failure.PhaseHeaders, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe,
			evidence: []string{`it sent "null"`, `the answer before on this connection: GET, 200, 2 bytes announced`},
		}.check(t, c.recorded(t, "/order"))
	})
}

func TestWrongLengthsOfGunicorn(t *testing.T) {
	t.Parallel()
	gunicorn := program(t, "gunicorn", "gunicorn")
	dir := workDir(t)
	write(t, filepath.Join(dir, "lengths.py"), gunicornLengths)
	address := freeAddress(t)
	startPart(t, dir, gunicorn, "--bind", address, "lengths:app").listening(t, "tcp", address)
	c := startCaddy(t, "upstream_diagnostics\nreverse_proxy "+address)
	runAll(t, c, []scenario{
		{name: "larger than what is sent", visit: visit{path: "/too-long"}, wanted: want{
			status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
			outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^4 of 503 bytes`},
			also: func(t *testing.T, f *failure.Failure) {
				t.Helper()
				if !strings.Contains(f.Advice, "compare its Content-Length with what it sends") {
					t.Error(f.Advice)
				}
			},
		}, body: "Zo", cut: true},
	})
}

// FastCGI tells nothing of a client that leaves, and often no length.
func TestLengthsOfPHP(t *testing.T) {
	t.Parallel()
	fpm := program(t, "php-fpm", "php-fpm", "php-fpm[0-9]*")
	dir := workDir(t)
	write(t, filepath.Join(dir, "endless.php"), `<?php for (;;) { echo str_repeat("x", 200); flush(); usleep(20000); }`)
	address := freeAddress(t)
	startPart(t, dir, fpm, "-n", "-F", "-y", write(t, filepath.Join(dir, "fpm.conf"), fmt.Sprintf(`
[global]
daemonize = no
error_log = %[2]s/fpm.log
[www]
listen = %[1]s
pm = static
pm.max_children = 1
request_terminate_timeout = 2s
`, address, dir))).listening(t, "tcp", address)
	c := startCaddy(t, fmt.Sprintf("root %s\nupstream_diagnostics\nphp_fastcgi %s", dir, address))
	runAll(t, c, []scenario{
		{name: "ended in an answer without a length", visit: visit{path: "/endless.php"}, wanted: want{
			status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
			outcome: failure.Truncated, sent: failure.SentYes,
			evidence: []string{`^[0-9]+ bytes of the answer came, of a length that was not announced$`, `it ended [2-4][0-9.]* s after the connect`},
			also: func(t *testing.T, f *failure.Failure) {
				t.Helper()
				if f.Attempts[0].ResponseBytesExpected != nil || !strings.Contains(f.Advice, "request_terminate_timeout") {
					t.Errorf("expected %v, %s", f.Attempts[0].ResponseBytesExpected, f.Advice)
				}
			},
		}, body: "xxx", cut: true},
	})
}

// unreadPython answers each request without reading its body, as many small handlers do.
const unreadPython = `
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"fine")

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
`

// What is left of one request is the beginning of the next.
func TestBodyLeftUnread(t *testing.T) {
	t.Parallel()
	python := program(t, "python3", "/usr/bin/python3")
	dir := workDir(t)
	address := freeAddress(t)
	startPart(t, dir, python, write(t, filepath.Join(dir, "unread.py"), unreadPython), strconv.Itoa(portOf(t, address))).listening(t, "tcp", address)
	c := startCaddy(t, "upstream_diagnostics\nreverse_proxy "+address)
	order := func() visit { return visit{path: "/order", body: strings.NewReader("order=1")} }
	if got := c.visit(t, order()); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	if got := c.visit(t, order()); got.status != 501 {
		t.Fatalf("got %d", got.status)
	}
	want{
		status: 501, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
		outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`names the method "order=1POST"`, `leaves bodies unread, or something in front of it`},
		also: advised("read the body of each request"),
	}.check(t, c.recorded(t, "/order"))
}
