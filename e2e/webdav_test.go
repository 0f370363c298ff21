//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// TLS ends at Caddy, and what a WebDAV client calls the target of a MOVE still says https:
// the server takes that for another's. Apache answers 502, nginx 400.
func TestWebDAV(t *testing.T) {
	t.Parallel()
	for _, server := range []struct {
		name   string
		start  func(t *testing.T, dir, address string)
		status int
	}{
		{"Apache", startApacheDAV, http.StatusBadGateway},
		{"nginx", startNginxDAV, http.StatusBadRequest},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			dir, address := workDir(t), freeAddress(t)
			for _, name := range []string{"a.txt", "b.txt", "c.txt"} {
				write(t, filepath.Join(dir, name), "fine")
			}
			server.start(t, dir, address)
			c := startCaddy(t, fmt.Sprintf(`
	handle /b.txt {
		reverse_proxy %[1]s {
			header_up Destination ^https: http:
		}
	}
	handle /c.txt {
		reverse_proxy %[1]s {
			header_up Destination ^https: http:
			header_up Host files.other.test
		}
	}
	handle {
		reverse_proxy %[1]s
	}`, address))
			move := func(path string) int {
				r, err := http.NewRequestWithContext(t.Context(), "MOVE", c.url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Destination", "https://"+c.address+path+".moved")
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				return res.StatusCode
			}
			if got := move("/a.txt"); got != server.status {
				t.Errorf("got %d, want %d", got, server.status)
			}
			f := c.recorded(t, "/a.txt")
			want{
				status: server.status, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.UpstreamAnswered, sent: failure.SentYes,
				evidence: []string{`^Destination: https://` + c.address + `, and the upstream is asked as http://` + c.address + `: `},
			}.check(t, f)
			if !strings.Contains(f.Advice, "header_up Destination ^https: http: in") {
				t.Errorf("advice: %s", f.Advice)
			}
			// And that ends it.
			if got := move("/b.txt"); got/100 != 2 {
				t.Errorf("with what is advised: %d", got)
			}
			if _, err := os.Stat(filepath.Join(dir, "b.txt.moved")); err != nil {
				t.Error(err)
			}
			if server.name == "Apache" {
				return // with one site it takes any host for its own
			}
			if got := move("/c.txt"); got != server.status {
				t.Errorf("by another name: %d", got)
			}
			if f := c.recorded(t, "/c.txt"); f.Side != failure.SideProxy || !strings.Contains(f.Advice, "http://files.other.test in") {
				t.Errorf("side %s: %s", f.Side, f.Advice)
			}
		})
	}
}

func startApacheDAV(t *testing.T, dir, address string) {
	t.Helper()
	apache := program(t, "apache2", "apache2", "httpd")
	const modules = "/usr/lib/apache2/modules/"
	if _, err := os.Stat(modules + "mod_dav_fs.so"); err != nil {
		t.Skip(err)
	}
	var load strings.Builder
	for _, name := range []string{"mpm_event", "authz_core", "dav", "dav_fs"} {
		fmt.Fprintf(&load, "LoadModule %s_module %smod_%s.so\n", name, modules, name)
	}
	config := write(t, filepath.Join(dir, "apache.conf"), fmt.Sprintf(`
%[3]s
ServerRoot %[1]s
PidFile %[1]s/apache.pid
ErrorLog %[1]s/error.log
Mutex fcntl:%[1]s
Listen %[2]s
ServerName localhost
DocumentRoot %[1]s
DavLockDB %[1]s/locks
<Directory %[1]s>
	Require all granted
	Dav On
</Directory>
`, dir, address, load.String()))
	startPart(t, dir, apache, "-f", config, "-D", "FOREGROUND").listening(t, "tcp", address)
}

func startNginxDAV(t *testing.T, dir, address string) {
	t.Helper()
	startNginx(t, dir, address, fmt.Sprintf(`
	server {
		listen %[2]s;
		root %[1]s;
		dav_methods PUT DELETE MKCOL COPY MOVE;
	}`, dir, address))
}
