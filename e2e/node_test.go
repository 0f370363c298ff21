//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// nodeServer is given a port, and what is set of Node's server, as JSON.
const nodeServer = `
const http = require("http");
const [port, settings] = process.argv.slice(2);
const server = http.createServer({ connectionsCheckingInterval: 50 }, (req, res) => {
	switch (req.url) {
	case "/hang":
		return;
	case "/upload": // answers when all of it has come
		req.resume().on("end", () => res.end("fine"));
		return;
	case "/crash":
		throw new Error("crashed on purpose");
	case "/crash-in-headers":
		res.socket.write("HTTP/1.1 200 OK\r\nX-Begun: 1\r\n", () => process.exit(1));
		return;
	case "/crash-in-body":
		res.writeHead(200, { "Content-Length": 1000 });
		res.write("begun", () => process.exit(1));
		return;
	case "/crash-in-chunks":
		res.write("begun", () => process.exit(1));
		return;
	case "/double-encoded": // says gzip, and is none
		res.writeHead(200, { "Content-Encoding": "gzip" });
		return res.end("fine");
	}
	req.resume();
	res.end("fine");
});
Object.assign(server, JSON.parse(settings));
server.listen(Number(port), "127.0.0.1");
`

// nodeHTTP2 speaks HTTP/2 without TLS alone.
const nodeHTTP2 = `
require("http2").createServer((req, res) => res.end("fine")).listen(Number(process.argv[2]), "127.0.0.1");
`

func startNode(t *testing.T, script string, args ...string) string {
	t.Helper()
	node := program(t, "nodejs", "node", "nodejs")
	dir := workDir(t)
	address := freeAddress(t)
	args = append([]string{write(t, filepath.Join(dir, "server.js"), script), strconv.Itoa(portOf(t, address))}, args...)
	startPart(t, dir, node, args...).listening(t, "tcp", address)
	return address
}

func TestNode(t *testing.T) {
	t.Parallel()
	server := startNode(t, nodeServer, `{"timeout": 300}`)
	patient := startNode(t, nodeServer, `{"headersTimeout": 500, "requestTimeout": 500}`)
	http2 := startNode(t, nodeHTTP2)
	c := startCaddy(t, fmt.Sprintf(`
	handle_path /patient/* {
		upstream_diagnostics
		reverse_proxy %[2]s {
			transport http {
				response_header_timeout 300ms
			}
		}
	}
	handle /http1-to-http2 {
		upstream_diagnostics
		reverse_proxy http://%[3]s
	}
	handle /http2-to-http1 {
		upstream_diagnostics
		reverse_proxy h2c://%[1]s
	}
	handle {
		upstream_diagnostics
		reverse_proxy %[1]s
	}`, server, patient, http2))
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "its timeout for a silent socket", visit: visit{path: "/hang"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
		{
			name: "response_header_timeout", visit: visit{path: "/patient/hang"},
			wanted: want{
				status: 504, cause: "response_timeout", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`gave up by response_header_timeout 300 ms`},
			},
		},
		{
			// Its 408 is for the client, who is the slow one.
			name: "its requestTimeout", visit: visit{path: "/patient/upload", stalls: true}, wanted: want{status: 408},
		},
		{
			name: "HTTP/1 to its HTTP/2", visit: visit{path: "/http1-to-http2"},
			wanted: want{
				status: 502, cause: "http_version_mismatch", phase: failure.PhaseHeaders, side: failure.SideProxy,
				// Its settings may come before the request is sent.
				outcome: failure.Failed, sent: "no|maybe|yes", evidence: []string{`the answer begins with "\\x00\\x00`},
			},
		},
		{
			name: "HTTP/2 to its HTTP/1", visit: visit{path: "/http2-to-http1"},
			wanted: want{
				// Go's transport may hide what came behind "conn could not be established".
				status: 502, cause: "http_version_mismatch|unknown", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.Failed, sent: "maybe|no",
			},
		},
	})
}

// Each crash ends the process, so that each has one of its own.
func TestNodeCrash(t *testing.T) {
	t.Parallel()
	for _, s := range []scenario{
		{
			name: "before its answer", visit: visit{path: "/crash"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
		{
			name: "in the headers", visit: visit{path: "/crash-in-headers"},
			wanted: want{
				status: 502, cause: "response_cut_in_headers", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentYes,
			},
		},
		{
			name: "in the body", visit: visit{path: "/crash-in-body"},
			wanted: want{
				status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
				outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 of 1000 bytes of the answer came$`},
			},
			body: "begun", cut: true,
		},
		{
			name: "between chunks", visit: visit{path: "/crash-in-chunks"},
			wanted: want{
				status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
				outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 bytes of the answer came, of a length that was not announced$`},
			},
			body: "begun", cut: true,
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			address := startNode(t, nodeServer, "{}")
			s.run(t, startCaddy(t, "reverse_proxy "+address))
		})
	}
}

// Node closes an idle connection after 5 s unless it is told otherwise: the common
// reason for single 502s.
func TestNodeKeepalive(t *testing.T) {
	t.Parallel()
	address := startNode(t, nodeServer, fmt.Sprintf(`{"keepAliveTimeout": %d}`, keepaliveTimeout.Milliseconds()))
	startCaddy(t, "reverse_proxy "+address).race(t, keepaliveTimeout, 3)
}
