//go:build linux

package e2e

import (
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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
    if path == "/large":
        start_response("200 OK", [("Content-Length", str(64 << 20))])
        return [bytes(64 << 20)]
    if path == "/upload":
        environ["wsgi.input"].read()
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

// startGunicorn runs wsgiApplication, and gives its address.
func startGunicorn(t *testing.T, options ...string) (address string) {
	t.Helper()
	gunicorn, dir, address := program(t, "gunicorn", "gunicorn"), workDir(t), freeAddress(t)
	write(t, filepath.Join(dir, "wsgi.py"), wsgiApplication)
	startPart(t, dir, gunicorn, append([]string{"--bind", address, "wsgi:application"}, options...)...).listening(t, "tcp", address)
	return address
}

// A worker of gunicorn's sync kind is its client's until it has sent or read all, and
// killed for that after --timeout (benoitc/gunicorn#3259): Caddy waited for the client.
func TestSlowClientHoldsAWorkerOfGunicorn(t *testing.T) {
	t.Parallel()
	c := startCaddy(t, "reverse_proxy "+startGunicorn(t, "--workers", "1", "--timeout", "1"))

	held := func(t *testing.T, path, advice, evidence string) {
		t.Helper()
		var f *failure.Failure
		c.await(t, "has a record of "+path, func() bool {
			if list := c.of(t, path); len(list) > 0 {
				f = list[0]
			}
			return f != nil
		})
		if f.Side != failure.SideProxy || !strings.Contains(f.Advice, advice) || !slices.ContainsFunc(f.Evidence, regexp.MustCompile(evidence).MatchString) {
			t.Errorf("%s, side %s: %s\n%s", f.Cause, f.Side, f.Advice, strings.Join(f.Evidence, "\n"))
		}
	}
	t.Run("download", func(t *testing.T) {
		res, err := client.Get(c.url + "/large")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		time.Sleep(2500 * time.Millisecond) // the client is slow: that is the fault
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("the answer came whole")
		}
		held(t, "/large", "response_buffers", `of the answer, Caddy waited .* for the client`)
	})
	t.Run("upload", func(t *testing.T) {
		body, upload := io.Pipe()
		go func() {
			for range 60 {
				if _, err := upload.Write(make([]byte, 1<<10)); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			upload.Close()
		}()
		defer body.Close()
		r, err := http.NewRequest(http.MethodPost, c.url+"/upload", body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = 60 << 10
		if res, err := client.Do(r); err == nil {
			res.Body.Close()
		}
		held(t, "/upload", "request_buffers", `Caddy waited .* for the client`)
	})
}

func TestGunicorn(t *testing.T) {
	t.Parallel()
	c := startCaddy(t, "reverse_proxy "+startGunicorn(t, "--workers", "1", "--timeout", "1"))
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
