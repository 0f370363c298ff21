//go:build linux

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const wsgiApplication = `
import os, signal, threading

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hang":
        threading.Event().wait()
    if path == "/killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/raise":
        raise ValueError("raised on purpose")
    if path == "/cut":
        start_response("200 OK", [("Content-Length", "1000")])
        def body():
            yield b"begun"
            os.kill(os.getpid(), signal.SIGKILL)
        return body()
    start_response("200 OK", [("Content-Length", "4")])
    return [b"fine"]
`

func TestGunicorn(t *testing.T) {
	t.Parallel()
	gunicorn := program(t, "gunicorn", "gunicorn")
	dir := workDir(t)
	write(t, filepath.Join(dir, "wsgi.py"), wsgiApplication)
	address := freeAddress(t)
	startPart(t, dir, gunicorn, "--bind", address, "--workers", "1", "--timeout", "1", "wsgi:application").listening(t, "tcp", address)
	c := startCaddy(t, "reverse_proxy "+address)
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "its worker is killed", visit: visit{path: "/killed"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
			},
		},
		{
			name: "its worker is killed in the middle of its answer", visit: visit{path: "/cut"},
			wanted: want{
				status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
				outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 of 1000 bytes of the answer came$`},
			},
			body: "begun", cut: true,
		},
		{
			name: "its worker's timeout", visit: visit{path: "/hang"},
			wanted: want{
				status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came in`},
			},
		},
		// Last: a worker that only starts doesn't hear that it shall end.
		{name: "an exception", visit: visit{path: "/raise"}, wanted: want{status: 500}, body: "Internal Server Error"},
	})
}
