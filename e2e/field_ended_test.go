//go:build linux

package e2e

import (
	"bytes"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A gunicorn that asks for the body (100 Continue) and whose worker is killed then has not
// answered.
func TestGunicornIsKilledAfterItsContinue(t *testing.T) {
	t.Parallel()
	gunicorn := program(t, "gunicorn", "gunicorn")
	dir := workDir(t)
	write(t, filepath.Join(dir, "reads.py"), `
import threading

def application(environ, start_response):
    environ["wsgi.input"].read()
    threading.Event().wait()
`)
	address := freeAddress(t)
	startPart(t, dir, gunicorn, "--bind", address, "--workers", "1", "--timeout", "1", "reads:application").listening(t, "tcp", address)
	c := startCaddy(t, "reverse_proxy "+address)
	for path, expects := range map[string]bool{"/expects": true, "/plain": false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, bytes.NewReader(make([]byte, 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		if expects {
			r.Header.Set("Expect", "100-continue")
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		want{
			status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of (an|a final) answer came`},
		}.check(t, c.recorded(t, path))
	}
}
