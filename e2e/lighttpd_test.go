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

// startLighttpd starts a lighttpd whose files are those of its directory, with these
// directives, and gives its address.
func startLighttpd(t *testing.T, directives string) string {
	t.Helper()
	lighttpd := program(t, "lighttpd", "lighttpd")
	dir, address := workDir(t), freeAddress(t)
	write(t, filepath.Join(dir, "index.html"), "fine")
	write(t, filepath.Join(dir, "race"), "fine")
	write(t, filepath.Join(dir, "killed.sh"), "kill -KILL $$\n")
	write(t, filepath.Join(dir, "cut.sh"), "printf 'Content-Length: 1000\\r\\n\\r\\nbegun'\nkill -KILL $$\n")
	config := write(t, filepath.Join(dir, "lighttpd.conf"), fmt.Sprintf(`
server.document-root = "%[1]s"
server.upload-dirs = ("%[1]s")
server.bind = "127.0.0.1"
server.port = %[2]d
index-file.names = ("index.html")
%[3]s
`, dir, portOf(t, address), directives))
	startPart(t, dir, lighttpd, "-D", "-f", config).listening(t, "tcp", address)
	return address
}

func TestLighttpd(t *testing.T) {
	t.Parallel()
	program(t, "lighttpd", "lighttpd")
	if _, err := os.Stat("/usr/lib/lighttpd/mod_openssl.so"); err != nil {
		t.Skip("mod_openssl is not installed: apt-get install lighttpd-mod-openssl")
	}
	_, _, both := writeCertificate(t, workDir(t))
	secure := freeAddress(t)
	plain := startLighttpd(t, fmt.Sprintf(`
server.modules = ("mod_openssl", "mod_cgi", "mod_proxy")
server.max-request-size = 1
server.max-keep-alive-idle = 1
server.feature-flags = ("server.h2proto" => "disable")
cgi.assign = (".sh" => "/bin/sh")
$HTTP["url"] =~ "^/down" { proxy.server = ("" => (("host" => "127.0.0.1", "port" => %d))) }
$SERVER["socket"] == %q { ssl.engine = "enable" ssl.pemfile = %q }
`, portOf(t, deadAddress(t)), secure, both))
	c := startCaddy(t, twoPorts(plain, secure))
	answered := want{
		status: 503, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
		outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`^the upstream answered 503$`}, also: received(503, "lighttpd"),
	}
	runAll(t, c, []scenario{
		{name: "fine", visit: visit{path: "/"}, wanted: want{status: 200}, body: "fine"},
		{name: "fine over TLS", visit: visit{path: "/tls/"}, wanted: want{status: 200}, body: "fine"},
		{
			name: "plain HTTP to its TLS port", visit: visit{path: "/plain_to_tls"},
			wanted: want{
				status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: "no|maybe",
			},
		},
		{
			name: "TLS to its plain port", visit: visit{path: "/tls_to_plain"},
			wanted: want{
				status: 502, cause: "tls_not_spoken", phase: failure.PhaseTLS, side: failure.SideProxy,
				outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`^the first bytes that came back: "HTTP/"$`}, also: advised("http://"),
			},
		},
		{
			name: "a PROXY header to its TLS port", visit: visit{path: "/proxy_to_tls"},
			wanted: want{
				status: 502, cause: "tls_closed", phase: failure.PhaseTLS, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`^a PROXY protocol header \(v1\) was sent`}, also: advised("proxy_protocol"),
			},
		},
		{
			name: "HTTP/2 where it is turned off", visit: visit{path: "/h2c"},
			wanted: want{
				status: 502, cause: "http_version_mismatch", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.Failed, sent: "no|maybe|yes", also: advised("versions"),
			},
		},
		{
			name: "FastCGI to its HTTP port", visit: visit{path: "/fastcgi"},
			wanted: want{
				status: 502, cause: "fastcgi_malformed", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe, also: advised("without transport fastcgi"),
			},
		},
		{name: "its own upstream is down", visit: visit{path: "/down"}, wanted: answered},
		// It answers in its script's place, and reads on.
		{name: "a script that is killed", visit: visit{path: "/killed.sh"}, wanted: want{status: 500}},
		{name: "an upload beyond its limit", visit: visit{path: "/upload", body: strings.NewReader(strings.Repeat("x", 2<<10))}, wanted: want{status: 413}},
		{
			// It doesn't notice, and waits for the next request as long as it always does.
			name: "a script that is killed in its answer", visit: visit{path: "/cut.sh"},
			wanted: want{
				status: 200, cause: "response_truncated", phase: failure.PhaseBody, side: failure.SideUpstream,
				outcome: failure.Truncated, sent: failure.SentYes, evidence: []string{`^5 of 1000 bytes of the answer came$`, `then nothing for [0-9.]+ m?s, until the connection ended`},
				also: func(t *testing.T, f *failure.Failure) {
					t.Helper()
					if !strings.Contains(f.Advice, "a script that was ended") {
						t.Errorf("the advice is %q", f.Advice)
					}
				},
			},
			body: "begun", cut: true,
		},
	})
	for _, path := range []string{"/upload/plain", "/tls/upload"} {
		t.Run("an upload beyond its limit "+path, func(t *testing.T) {
			status, _, _ := c.upload(t, client, path, strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20)
			c.idle(t)
			found := c.of(t, path)
			if status == http.StatusBadGateway {
				// It closes while Caddy still writes, and its answer may be lost by that.
				if len(found) != 1 || found[0].Cause != "request_write_failed" || !strings.Contains(string(whole(found[0])), "an upload that is refused unread looks like this (413") {
					t.Errorf("the answer was lost, and recorded is %d: %v", len(found), found)
				}
				return
			}
			if status != http.StatusRequestEntityTooLarge && status != 0 {
				t.Errorf("the client got %d", status)
			}
			if len(found) > 0 {
				t.Errorf("it was recorded as %s: %s", found[0].Cause, whole(found[0]))
			}
		})
	}
}

// lighttpd closes a connection that was idle for a second or two.
func TestLighttpdKeepalive(t *testing.T) {
	t.Parallel()
	startCaddy(t, "reverse_proxy "+startLighttpd(t, "server.max-keep-alive-idle = 1")).race(t, keepaliveTimeout, 3)
}

// twoPorts is a site that asks a server's plain port and its TLS port in the right way, and
// in several wrong ones.
func twoPorts(plain, secure string) string {
	return fmt.Sprintf(`
	upstream_diagnostics
	handle /plain_to_tls {
		rewrite * /
		reverse_proxy http://%[2]s {
			transport http {
				response_header_timeout 1s
			}
		}
	}
	handle /tls_to_plain {
		rewrite * /
		reverse_proxy https://%[1]s
	}
	handle /proxy_to_tls {
		rewrite * /
		reverse_proxy https://%[2]s {
			transport http {
				tls_insecure_skip_verify
				tls_server_name localhost
				tls_timeout 1s
				proxy_protocol v1
			}
		}
	}
	handle /h2c {
		rewrite * /
		reverse_proxy h2c://%[1]s
	}
	handle /fastcgi {
		rewrite * /
		reverse_proxy %[1]s {
			transport fastcgi
		}
	}
	handle_path /tls/* {
		reverse_proxy https://%[2]s {
			transport http {
				tls_insecure_skip_verify
			}
		}
	}
	handle {
		reverse_proxy %[1]s
	}`, plain, secure)
}
