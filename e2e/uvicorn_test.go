//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// asgiApplication is given the port of a holder, by which it tells that it hangs.
const asgiApplication = `
import asyncio, os, signal, threading

async def application(scope, receive, send):
    path = scope["path"]
    if path == "/hang": # until the client leaves
        await asyncio.open_connection("127.0.0.1", %d)
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if path == "/block": # its worker, with all that it does
        threading.Event().wait()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    if path == "/killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/raise":
        raise ValueError("raised on purpose")
    await send({"type": "http.response.body", "body": b", fine"})
`

func TestUvicorn(t *testing.T) {
	t.Parallel()
	uvicorn, gunicorn := program(t, "uvicorn", "uvicorn"), program(t, "gunicorn", "gunicorn")
	dir := workDir(t)
	held := startHolder(t)
	write(t, filepath.Join(dir, "asgi.py"), fmt.Sprintf(asgiApplication, portOf(t, held.address)))
	alone, managed := freeAddress(t), freeAddress(t)
	startPart(t, dir, uvicorn, "--port", strconv.Itoa(portOf(t, alone)), "--lifespan", "off", "--limit-concurrency", "2", "asgi:application").
		listening(t, "tcp", alone)
	// uvicorn has no timeout for a worker: gunicorn, which many run it under, has. A
	// worker must start within it, too.
	startPart(t, dir, gunicorn, "--bind", managed, "--worker-class", "uvicorn.workers.UvicornWorker", "--preload", "--timeout", "3", "asgi:application").
		listening(t, "tcp", managed)
	c := startCaddy(t, fmt.Sprintf(`
	handle_path /managed/* {
		upstream_diagnostics
		reverse_proxy %[2]s
	}
	handle {
		upstream_diagnostics
		reverse_proxy %[1]s
	}`, alone, managed))

	truncated := want{
		status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
		outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 bytes of the answer came, of a length that was not announced$`},
	}
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "an exception in the middle of its answer", visit: visit{path: "/raise"},
			wanted: truncated, body: "begun", cut: true,
		},
		{
			// An idle connection counts as well.
			name: "limit-concurrency", visit: visit{path: "/"},
			before: func(t *testing.T) {
				t.Helper()
				c.inBackground(t, "/hang")
				held.wait(t)
			},
			wanted: want{
				status: 503, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`answered 503`}, also: received(503, "uvicorn"),
			},
			body: "Service Unavailable",
		},
		{
			name: "its worker is killed in the middle of its answer", visit: visit{path: "/managed/killed"},
			wanted: truncated, body: "begun", cut: true,
		},
		{
			name: "its worker's timeout", visit: visit{path: "/managed/block"}, wanted: closedBeforeResponse(),
		},
		// Last: a worker that only starts doesn't hear that it shall end.
		{name: "fine under gunicorn", visit: visit{path: "/managed/"}, wanted: want{status: 200}, body: "fine"},
	})
}

// uvicorn closes an idle connection after 5 s unless it is told otherwise.
func TestUvicornKeepalive(t *testing.T) {
	t.Parallel()
	uvicorn := program(t, "uvicorn", "uvicorn")
	dir := workDir(t)
	write(t, filepath.Join(dir, "asgi.py"), fmt.Sprintf(asgiApplication, 0))
	address := freeAddress(t)
	startPart(t, dir, uvicorn, "--port", strconv.Itoa(portOf(t, address)), "--lifespan", "off", "--timeout-keep-alive", "1", "asgi:application").
		listening(t, "tcp", address)
	startCaddy(t, "reverse_proxy "+address).race(t, keepaliveTimeout, 3)
}
