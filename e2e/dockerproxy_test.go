//go:build linux

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Docker's own proxy takes connections for a container in which nobody listens, and ends
// each at once: a close or a reset, by what it had read (moby/moby#18189).
func TestDockerProxy(t *testing.T) {
	t.Parallel()
	proxy := program(t, "docker.io", "docker-proxy")
	published, container := freeAddress(t), deadAddress(t)
	hostIP, hostPort, _ := net.SplitHostPort(published)
	containerIP, containerPort, _ := net.SplitHostPort(container)
	// It says on descriptor 3 that it listens, and closes that.
	startPart(t, workDir(t), "sh", "-c", `exec "$0" "$@" 3>/dev/null`, proxy, "-proto", "tcp", "-host-ip", hostIP, "-host-port", hostPort, "-container-ip", containerIP, "-container-port", containerPort).
		listening(t, "tcp", published)
	c := startCaddy(t, "reverse_proxy "+published)
	ended := want{
		status: 502, cause: "closed_before_response|reset_before_response|request_write_failed", phase: "send|wait", side: failure.SideUpstream,
		outcome: failure.Failed, sent: "no|maybe", evidence: []string{`docker-proxy`},
		also: func(t *testing.T, f *failure.Failure) {
			t.Helper()
			if !strings.HasPrefix(f.Advice, "Let the application listen on "+container+", which is 0.0.0.0 seen from inside its container") {
				t.Error(f.Advice)
			}
		},
	}
	for i := range 4 {
		scenario{visit: visit{path: fmt.Sprintf("/get/%d", i)}, wanted: ended}.run(t, c)
	}
	scenario{visit: visit{path: "/post", body: strings.NewReader("a=1")}, wanted: ended}.run(t, c)
}
