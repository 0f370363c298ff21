//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A server that asks to negotiate TLS anew for one request, as IIS does for a client's
// certificate: OpenSSL's does when it is told to.
func TestOpenSSLRenegotiates(t *testing.T) {
	t.Parallel()
	openssl, dir, address := program(t, "openssl", "openssl"), workDir(t), freeAddress(t)
	cert, key, _ := writeCertificate(t, dir)
	pipe := filepath.Join(dir, "commands")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	give(t, pipe)
	commands, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer commands.Close()
	server := startPart(t, dir, "/bin/sh", "-c", fmt.Sprintf("exec %s s_server -accept %s -cert %s -key %s -tls1_2 <%s", openssl, address, cert, key, pipe))
	server.await(t, "takes connections", func() bool {
		printed, _ := os.ReadFile(server.log)
		return strings.Contains(string(printed), "ACCEPT")
	})
	c := startCaddy(t, fmt.Sprintf(`
	upstream_diagnostics
	reverse_proxy https://%s {
		transport http {
			tls_insecure_skip_verify
		}
	}`, address))
	status := make(chan int, 1)
	go func() { status <- statusOf(client.Post(c.url+"/secure", "text/plain", strings.NewReader("x=1"))) }()
	server.await(t, "has the request", func() bool {
		printed, _ := os.ReadFile(server.log)
		return strings.Contains(string(printed), "POST /secure")
	})
	if _, err := io.WriteString(commands, "R\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != http.StatusBadGateway {
		t.Errorf("the client got %d", got)
	}
	want{
		status: 502, cause: "tls_renegotiation_refused", phase: failure.PhaseWait, side: failure.SideProxy,
		outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`^tls_client_auth is not set: no certificate was presented$`},
		also: advised("Set tls_renegotiation once", "tls_client_auth"),
	}.check(t, c.recorded(t, "/secure"))
}

// slowNode answers an upload some time after it has come.
const slowNode = `
require("http").createServer((req, res) => req.resume().on("end", () => setTimeout(() => res.end("fine"), 10))).listen(Number(process.argv[2]), "127.0.0.1");
`

// nginx ends a connection after a number of requests, and says so in HTTP/2 while others are
// under way to it. Go's transport can't send an upload again.
func TestNginxEndsConnectionsAfterSomeRequests(t *testing.T) {
	t.Parallel()
	behind, address := startNode(t, slowNode), freeAddress(t)
	startNginx(t, workDir(t), address, fmt.Sprintf(`
	server {
		listen %s http2;
		keepalive_requests 10;
		location / { proxy_pass http://%s; }
	}`, address, behind))
	c := startCaddy(t, fmt.Sprintf(`
	upstream_diagnostics
	handle /plain {
		reverse_proxy h2c://%[1]s
	}
	handle /repeated {
		reverse_proxy h2c://%[1]s {
			lb_retries 2
			lb_retry_match {
				method POST
			}
		}
	}
	handle /buffered {
		reverse_proxy h2c://%[1]s {
			request_buffers 1MiB
			lb_retries 2
			lb_retry_match {
				method POST
			}
		}
	}`, address))
	limit := want{
		cause: "goaway", phase: failure.PhaseWait, side: failure.SideProxy, sent: failure.SentNo,
		evidence: []string{`^the upstream said that this request was not processed$`, `^the connection had carried \d+ requests? before`},
		also:     advised("request_buffers", "keepalive_requests"),
	}
	// Or the transport had gone on to another connection, without the body.
	bodyless := want{
		cause: "retried_without_body", phase: failure.PhaseSend, side: failure.SideProxy, sent: "no|maybe", also: advised("request_buffers"),
	}
	for _, s := range []struct {
		path     string
		outcomes map[int]failure.Outcome // by the status that the client got
	}{
		{"/plain", map[int]failure.Outcome{502: failure.Failed}},
		// Of some the body had not been touched yet.
		{"/repeated", map[int]failure.Outcome{200: failure.Rescued, 400: failure.UpstreamAnswered, 502: failure.Failed}},
		{"/buffered", map[int]failure.Outcome{200: failure.Rescued}},
	} {
		t.Run(s.path[1:], func(t *testing.T) {
			var found []*failure.Failure
			lost := 0
			for round := 0; round < 10 && len(found) == 0; round++ {
				for _, status := range c.posts(t, s.path, 8, 30) {
					if status != http.StatusOK {
						lost++
						if s.outcomes[status] == "" {
							t.Errorf("a visitor got %d", status)
						}
					}
				}
				c.idle(t)
				await(t, fmt.Sprintf("the record of each of the %d that were lost", lost), func() bool {
					found = c.of(t, s.path)
					n := 0
					for _, f := range found {
						if f.Outcome != failure.Rescued {
							n++
						}
					}
					return n == lost
				})
			}
			t.Logf("%d of them were lost, %d recorded", lost, len(found))
			for _, f := range found {
				goaway, without := limit, bodyless
				goaway.status, goaway.outcome = f.Status, s.outcomes[f.Status]
				without.status, without.outcome = f.Status, s.outcomes[f.Status]
				switch f.Outcome {
				case failure.Rescued:
					goaway.sent, without.sent = failure.SentYes, failure.SentYes
				case failure.UpstreamAnswered: // to what was no longer the client's request
					without.sent = failure.SentYes
				}
				checkOneOf(t, f, goaway, without)
			}
		})
	}
}

// posts makes as many POSTs one after another as are said, by several visitors at once, and
// gives the statuses that they got.
func (c *caddy) posts(t *testing.T, path string, visitors, each int) (statuses []int) {
	t.Helper()
	var at sync.Mutex
	var visits sync.WaitGroup
	for range visitors {
		visits.Go(func() {
			for range each {
				res, err := client.Post(c.url+path, "text/plain", strings.NewReader("once"))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				at.Lock()
				statuses = append(statuses, res.StatusCode)
				at.Unlock()
			}
		})
	}
	visits.Wait()
	return statuses
}

// Node ends an idle connection when a GET is on its way: Go's transport sends that again by
// itself, and nobody notices. Hard to hit, so that none may be seen.
func TestNodeKeepaliveRescued(t *testing.T) {
	t.Parallel()
	address := startNode(t, nodeServer, fmt.Sprintf(`{"keepAliveTimeout": %d}`, keepaliveTimeout.Milliseconds()))
	c := startCaddy(t, "reverse_proxy "+address)
	const visitors, rounds, step = 40, 3, 250 * time.Microsecond
	var visits sync.WaitGroup
	for i := range visitors {
		visits.Go(func() {
			for range rounds {
				res, err := client.Get(c.url + "/race")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("a visitor got %d", res.StatusCode)
				}
				<-time.After(keepaliveTimeout + time.Duration(i-visitors/2)*step) // what is tried is the server's clock
			}
		})
	}
	visits.Wait()
	c.idle(t)
	found := c.failures(t)
	for _, f := range found {
		late := f.Attempts[0].DurationMS > roundTripMS
		if f.Outcome != failure.Rescued || f.Cause != "keepalive_race" && !(late && among("closed_before_response|reset_before_response", f.Cause)) {
			t.Errorf("recorded as %s %s: %s", f.Outcome, f.Cause, whole(f))
		}
	}
	t.Logf("hit %d times", len(found))
}

// nodeWorkers are two workers behind one port. Who is asked first for /slow tells a holder,
// and does not answer.
const nodeWorkers = `
const cluster = require("cluster"), [port, held, taken] = process.argv.slice(2);
if (cluster.isPrimary) {
	cluster.fork();
	cluster.fork();
} else {
	require("http").createServer((req, res) => {
		if (req.url === "/slow") {
			try {
				require("fs").closeSync(require("fs").openSync(taken, "wx"));
				return require("net").connect(Number(held), "127.0.0.1");
			} catch (err) {}
		}
		res.end(String(process.pid));
	}).listen(Number(port), "127.0.0.1");
}
`

// A worker is killed with a GET that it works on: Go's transport sends it again by itself,
// to the other, and hides why.
func TestNodeWorkerKilledAtWork(t *testing.T) {
	t.Parallel()
	held := startHolder(t)
	address := startNode(t, nodeWorkers, strconv.Itoa(portOf(t, held.address)), filepath.Join(workDir(t), "taken"))
	c := startCaddy(t, "reverse_proxy "+address)
	worker, err := strconv.Atoi(c.visit(t, visit{path: "/"}).body)
	if err != nil {
		t.Fatal(err)
	}
	c.idle(t)
	status := make(chan int, 1)
	go func() { status <- statusOf(client.Get(c.url + "/slow")) }()
	held.wait(t)
	<-time.After(6 * roundTripMS * time.Millisecond) // within a round trip nobody works on it
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != http.StatusOK {
		t.Errorf("the client got %d", got)
	}
	want{
		status: 200, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
		outcome: failure.Rescued, sent: failure.SentYes, evidence: []string{`^reused a connection that had been idle`, `no byte of an answer came`},
	}.check(t, c.recorded(t, "/slow"))
}

// statusOf is the status of an answer of which nothing else is asked, 0 for none.
func statusOf(res *http.Response, err error) int {
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
