//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// plainServers are servers that expect no PROXY header; each answers at / by GET.
var plainServers = []struct {
	name  string
	start func(t *testing.T) (address string)
}{
	{"nginx", func(t *testing.T) string {
		t.Helper()
		address := freeAddress(t)
		startNginx(t, workDir(t), address, fmt.Sprintf("server { listen %s; return 200 fine; }", address))
		return address
	}},
	{"haproxy", func(t *testing.T) string {
		t.Helper()
		haproxy, dir, address := program(t, "haproxy", "haproxy"), workDir(t), freeAddress(t)
		startPart(t, dir, haproxy, "-db", "-f", write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(haproxyServes+`
frontend plain
	bind %s
	http-request return status 200
`, address))).listening(t, "tcp", address)
		return address
	}},
	{"apache", func(t *testing.T) string {
		t.Helper()
		apache, dir, address := program(t, "apache2", "apache2"), workDir(t), freeAddress(t)
		startPart(t, dir, apache, "-X", "-DFOREGROUND", "-f", write(t, filepath.Join(dir, "apache.conf"), fmt.Sprintf(`
ServerRoot %[1]s
DocumentRoot %[1]s
PidFile %[1]s/pid
ErrorLog %[1]s/error.log
ServerName apache
Mutex pthread
Listen %[2]s
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
`, dir, address))).listening(t, "tcp", address)
		return address
	}},
	{"lighttpd", func(t *testing.T) string { t.Helper(); return startLighttpd(t, "") }},
	{"node", func(t *testing.T) string { t.Helper(); return startNode(t, nodeServer, "{}") }},
	{"puma", func(t *testing.T) string { t.Helper(); return startPuma(t) }},
	{"gunicorn", func(t *testing.T) string { t.Helper(); return startGunicorn(t) }},
	{"uvicorn", func(t *testing.T) string {
		t.Helper()
		uvicorn, dir, address := program(t, "uvicorn", "uvicorn"), workDir(t), freeAddress(t)
		write(t, filepath.Join(dir, "asgi.py"), fmt.Sprintf(asgiApplication, 0))
		startPart(t, dir, uvicorn, "--port", strconv.Itoa(portOf(t, address)), "--lifespan", "off", "--ws", "none", "asgi:application").listening(t, "tcp", address)
		return address
	}},
	{"caddy", func(t *testing.T) string { t.Helper(); return startCaddy(t, "respond fine").address }},
}

// A server answers 400 to a PROXY header that it does not expect as soon as it has come:
// before Caddy has sent the request, so that Go's transport throws the answer away, or with
// the request unread, which resets the connection. It is one fault, whatever became of it.
func TestPROXYHeaderNotExpected(t *testing.T) {
	t.Parallel()
	for _, server := range plainServers {
		t.Run(server.name, func(t *testing.T) {
			address := server.start(t)
			site := "upstream_diagnostics\n"
			for _, version := range []string{"v1", "v2"} {
				site += fmt.Sprintf("handle /%[1]s/* {\n reverse_proxy %[2]s {\n transport http {\n proxy_protocol %[1]s\n}\n}\n}\n", version, address)
			}
			c := startCaddy(t, site)
			outcomes := map[failure.Outcome]int{}
			for i := range 15 {
				for _, version := range []string{"v1", "v2"} {
					for _, method := range []string{http.MethodGet, http.MethodPost} {
						path := fmt.Sprintf("/%s/%s/%d", version, method, i)
						outcomes[c.refusesPROXY(t, method, path, version)]++
					}
				}
			}
			t.Log(outcomes)
		})
	}
}

// refusesPROXY makes a request that fails for the PROXY header, and checks its record.
func (c *caddy) refusesPROXY(t *testing.T, method, path, version string) failure.Outcome {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("once")
	}
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := client.Do(r); err == nil { // else it broke off
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	f := c.recorded(t, path)
	wanted := want{
		status: http.StatusBadRequest, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideProxy,
		outcome: f.Outcome, sent: failure.SentYes,
		evidence: []string{`^the upstream answered 400$`, `^a PROXY protocol header \(` + version + `\) was sent before the request: an upstream that does not expect one answers so`},
		also:     advised("Remove proxy_protocol from the transport, or let"),
	}
	if f.Outcome == failure.Failed {
		wanted.status, wanted.sent = http.StatusBadGateway, "no|maybe|yes" // as far as writing came
	}
	// Writing the request may find it gone before its answer was read.
	lost := want{
		status: http.StatusBadGateway, cause: "request_write_failed", phase: failure.PhaseSend, side: failure.SideUpstream,
		outcome: failure.Failed, sent: failure.SentMaybe,
		evidence: []string{`^a PROXY protocol header \(` + version + `\) was sent: an upstream that does not expect one closes like this`},
		also:     advised("expect the PROXY header, or remove proxy_protocol"),
	}
	ended := lost
	ended.cause, ended.phase, ended.sent = "closed_before_response|reset_before_response", failure.PhaseWait, "no|maybe"
	checkOneOf(t, f, wanted, lost, ended)
	return f.Outcome
}
