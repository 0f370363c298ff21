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

// Ports of other protocols, to which reverse_proxy is pointed by mistake.

func closedBeforeResponse() want {
	return want{
		status: 502, cause: "closed_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
		outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`no byte of an answer came`},
	}
}

func requestWriteFailed() want {
	return want{
		status: 502, cause: "request_write_failed", phase: failure.PhaseSend, side: failure.SideUpstream,
		outcome: failure.Failed, sent: failure.SentMaybe,
	}
}

func notHTTP(evidence string) want {
	return want{
		status: 502, cause: "not_http", phase: failure.PhaseHeaders, side: failure.SideUpstream,
		// Its greeting may come before the request is sent.
		outcome: failure.Failed, sent: "no|maybe|yes", evidence: []string{evidence},
	}
}

func tlsNotSpoken(evidence string) want {
	return want{
		status: 502, cause: "tls_not_spoken", phase: failure.PhaseTLS, side: failure.SideProxy,
		outcome: failure.Failed, sent: failure.SentNo, evidence: []string{evidence},
	}
}

// plainAndTLS sends /plain to an address as http, and /tls as https.
func plainAndTLS(address string) string {
	return fmt.Sprintf(`
	handle /plain* {
		reverse_proxy %[1]s
	}
	handle /tls {
		reverse_proxy https://%[1]s
	}`, address)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	initdb, postgres := program(t, "postgresql", "initdb"), program(t, "postgresql", "postgres")
	dir := workDir(t)
	data := filepath.Join(dir, "data")
	if out, err := command(dir, initdb, "-D", data, "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	address := freeAddress(t)
	startPart(t, dir, postgres, "-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(portOf(t, address)), "-k", dir, "-c", "fsync=off").
		listening(t, "tcp", address)
	c := startCaddy(t, plainAndTLS(address))
	runAll(t, c, []scenario{
		// It takes what comes for the length of a packet, and closes without a word.
		{name: "HTTP", visit: visit{path: "/plain"}, wanted: closedBeforeResponse()},
		{name: "TLS", visit: visit{path: "/tls"}, wanted: want{
			status: 502, cause: "tls_closed", phase: failure.PhaseTLS, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`closed during the handshake`},
		}},
	})
}

func TestRedis(t *testing.T) {
	t.Parallel()
	redis := program(t, "redis-server", "redis-server")
	dir := workDir(t)
	address := freeAddress(t)
	startPart(t, dir, redis, "--port", strconv.Itoa(portOf(t, address)), "--bind", "127.0.0.1", "--save", "", "--dir", dir).
		listening(t, "tcp", address)
	c := startCaddy(t, fmt.Sprintf(`
	handle /tls {
		reverse_proxy https://%[1]s {
			transport http {
				tls_timeout 500ms
			}
		}
	}
	handle {
		reverse_proxy %[1]s
	}`, address))
	runAll(t, c, []scenario{
		// It knows HTTP by the field Host, and closes for safety.
		{name: "GET", visit: visit{path: "/get"}, wanted: closedBeforeResponse()},
		// It waits for the end of a line.
		{name: "TLS", visit: visit{path: "/tls"}, wanted: want{
			status: 504, cause: "tls_timeout", phase: failure.PhaseTLS, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`gave up by tls_timeout 500 ms`},
		}},
	})
	t.Run("POST", func(t *testing.T) {
		// It closes at the first word: before or after the body was sent.
		if got := c.visit(t, visit{path: "/post", body: strings.NewReader("x")}); got.status != 502 {
			t.Errorf("got %d", got.status)
		}
		checkOneOf(t, c.recorded(t, "/post"), want{
			status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe,
		}, requestWriteFailed())
	})
}

func TestSSH(t *testing.T) {
	t.Parallel()
	sshd, keygen := program(t, "openssh-server", "sshd"), program(t, "openssh-client", "ssh-keygen")
	dir := workDir(t)
	key := filepath.Join(dir, "host_key")
	if out, err := command(dir, keygen, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	address := freeAddress(t)
	config := write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf("ListenAddress %s\nHostKey %s\nPidFile none\nUsePAM no\n", address, key))
	startPart(t, dir, sshd, "-D", "-e", "-f", config).listening(t, "tcp", address)
	c := startCaddy(t, plainAndTLS(address))
	runAll(t, c, []scenario{
		{name: "HTTP", visit: visit{path: "/plain"}, wanted: notHTTP(`the answer begins with "SSH-2\.0-OpenSSH`)},
		{name: "TLS", visit: visit{path: "/tls"}, wanted: tlsNotSpoken(`the first bytes that came back: "SSH-2`)},
	})
}
