//go:build linux

package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A forward proxy that Caddy goes by without being meant for the upstream: what it answers
// is its own, and where it finds this very site it goes round in a circle.
func TestTinyproxy(t *testing.T) {
	t.Parallel()
	tinyproxy := program(t, "tinyproxy", "tinyproxy")
	dir := workDir(t)
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(dir, "tinyproxy.conf"), fmt.Sprintf("Port %s\nListen 127.0.0.1\nTimeout 10\nMaxClients 20\nAllow 127.0.0.1\nViaProxyName \"corp\"\n", port))
	startPart(t, dir, tinyproxy, "-d", "-c", config).listening(t, "tcp", address)

	c := startCaddy(t, fmt.Sprintf(`
	handle /unknown {
		reverse_proxy my-backend:8080 {
			header_up Host shop.invalid
			transport http {
				network_proxy url http://%[1]s
			}
		}
	}
	handle {
		reverse_proxy my-backend:8080 {
			transport http {
				response_header_timeout 500ms
				network_proxy url http://%[1]s
			}
		}
	}`, address))

	a := c.visit(t, visit{path: "/unknown?token=secret"})
	f := c.failures(t)[0]
	if f.Cause != "forward_proxy_answered" || f.Side != failure.SideProxy || f.Status != a.status || f.Received == nil || !strings.Contains(f.Received.Server, "tinyproxy") {
		t.Errorf("an answer of %d was recorded as %s, side %s: %q, %+v", a.status, f.Cause, f.Side, f.Evidence, f.Received)
	}
	if evidence := strings.Join(f.Evidence, "\n"); !strings.Contains(evidence, "it was asked for http://shop.invalid/unknown") || strings.Contains(evidence, "secret") {
		t.Errorf("the evidence is %q", evidence)
	}

	c.visit(t, visit{path: "/round"})
	looped := 0
	c.await(t, "records that it went round", func() bool {
		looped = 0
		for _, f := range c.failures(t) {
			if strings.HasPrefix(f.Request.URI, "/round") {
				looped++
				if f.Cause != "forward_proxy_failed" && f.Cause != "forward_proxy_answered" || f.Side != failure.SideProxy {
					t.Fatalf("recorded as %s, side %s: %q", f.Cause, f.Side, f.Evidence)
				}
				if !strings.Contains(strings.Join(f.Evidence, "\n"), "it was asked for "+c.url+"/round") {
					t.Fatalf("the evidence is %q", f.Evidence)
				}
			}
		}
		return looped > 1
	})
}
