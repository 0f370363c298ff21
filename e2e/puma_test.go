//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const rackApplication = `
run ->(env) do
  case env["PATH_INFO"]
  when "/killed"
    Process.kill(:KILL, Process.pid)
    sleep
  when "/cut"
    [200, { "content-length" => "1000" }, Enumerator.new { |body| body << "begun"; Process.kill(:KILL, Process.pid); sleep }]
  when "/raise"
    raise "on purpose"
  else
    [200, { "content-type" => "text/plain" }, ["fine"]]
  end
end
`

// startPuma starts a Puma with these further arguments, and gives its address.
func startPuma(t *testing.T, args ...string) string {
	t.Helper()
	puma := program(t, "puma", "puma")
	dir, address := workDir(t), freeAddress(t)
	args = append(args, "--bind", "tcp://"+address, write(t, filepath.Join(dir, "config.ru"), rackApplication))
	startPart(t, dir, puma, args...).listening(t, "tcp", address)
	return address
}

func TestPuma(t *testing.T) {
	t.Parallel()
	program(t, "puma", "puma")
	cert, key, _ := writeCertificate(t, workDir(t))
	secure := freeAddress(t)
	plain := startPuma(t, "--bind", fmt.Sprintf("ssl://%s?key=%s&cert=%s", secure, key, cert))
	c := startCaddy(t, twoPorts(plain, secure))
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{
			// It waits for more, for ever, and says nothing.
			name: "plain HTTP to its TLS port", visit: visit{path: "/plain_to_tls"},
			wanted: want{
				status: 504, cause: "response_timeout", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe,
				evidence: []string{`^this upstream had not answered anything before this request, since this Caddy began$`}, also: advised("speaks TLS (https://)"),
			},
		},
		{name: "fine over TLS", visit: visit{path: "/tls/"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "TLS to its plain port", visit: visit{path: "/tls_to_plain"},
			wanted: want{
				status: 502, cause: "tls_not_spoken", phase: failure.PhaseTLS, side: failure.SideProxy,
				outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`^the first bytes that came back: "HTTP/"$`},
			},
		},
		{
			name: "a PROXY header to its TLS port", visit: visit{path: "/proxy_to_tls"},
			wanted: want{
				status: 504, cause: "tls_timeout", phase: failure.PhaseTLS, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentNo,
			},
		},
		{
			// Its application is asked for "*" by the method PRI, and answers.
			name: "HTTP/2 to it", visit: visit{path: "/h2c"},
			wanted: want{
				status: 502, cause: "http_version_mismatch", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.Failed, sent: "no|maybe|yes",
			},
		},
		{name: "an exception", visit: visit{path: "/raise"}, wanted: want{status: 500}},
	})
}

// Each kill ends the process, so that each has one of its own.
func TestPumaKilled(t *testing.T) {
	t.Parallel()
	for _, s := range []scenario{
		{
			name: "at work", visit: visit{path: "/killed"},
			wanted: want{
				status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
				also: func(t *testing.T, f *failure.Failure) {
					t.Helper()
					if want := "Look at the application's log for a crash or a killed worker"; len(f.Advice) < len(want) || f.Advice[:len(want)] != want {
						t.Errorf("the advice is %q", f.Advice)
					}
				},
			},
		},
		{
			name: "in its answer", visit: visit{path: "/cut"},
			wanted: want{
				status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
				outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 of 1000 bytes of the answer came$`},
			},
			body: "begun", cut: true,
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			// On a connection that was used before it would look like the race.
			c := startCaddy(t, fmt.Sprintf("reverse_proxy %s {\n transport http {\n keepalive off\n}\n}", startPuma(t)))
			if got := c.visit(t, visit{path: "/"}); got.body != "fine" {
				t.Fatalf("got %d", got.status)
			}
			s.run(t, c)
		})
	}
}

// Puma closes a connection that was idle for its persistent timeout.
func TestPumaKeepalive(t *testing.T) {
	t.Parallel()
	program(t, "puma", "puma")
	dir := workDir(t)
	config := write(t, filepath.Join(dir, "puma.rb"), "persistent_timeout 1\n")
	startCaddy(t, "reverse_proxy "+startPuma(t, "--config", config)).race(t, keepaliveTimeout, 3)
}
