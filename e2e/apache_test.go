//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Apache says of each thing that it wants that it does: over plain HTTP, in TLS, and by
// the codes of HTTP/2.
func TestApache(t *testing.T) {
	t.Parallel()
	apache := program(t, "apache2", "apache2")
	dir := workDir(t)
	cert, key, _ := writeCertificate(t, dir)
	plain, names, pathOld, pathNew, pathH2, proxied := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	config := write(t, filepath.Join(dir, "apache.conf"), fmt.Sprintf(`
ServerRoot %[1]s
DocumentRoot %[1]s
PidFile %[1]s/pid
ErrorLog %[1]s/error.log
ServerName files.example.test
Mutex pthread
Listen %[4]s
Listen %[5]s
Listen %[6]s
Listen %[7]s
Listen %[8]s
Listen %[9]s
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so
SSLCertificateFile %[2]s
SSLCertificateKeyFile %[3]s
SSLCACertificateFile %[2]s
SSLSessionCache none
<VirtualHost %[4]s>
</VirtualHost>
<VirtualHost %[5]s>
	ServerName b.example.test
	SSLEngine on
	SSLProtocol TLSv1.2
</VirtualHost>
<VirtualHost %[5]s>
	ServerName a.example.test
	SSLEngine on
</VirtualHost>
<VirtualHost %[6]s>
	SSLEngine on
	SSLProtocol TLSv1.2
	<Location /path>
		SSLVerifyClient require
	</Location>
</VirtualHost>
<VirtualHost %[7]s>
	SSLEngine on
	SSLProtocol TLSv1.3
	<Location /path>
		SSLVerifyClient require
	</Location>
</VirtualHost>
<VirtualHost %[8]s>
	SSLEngine on
	SSLProtocol TLSv1.2
	Protocols h2 http/1.1
	<Location /path>
		SSLVerifyClient require
	</Location>
</VirtualHost>
<VirtualHost %[9]s>
	RemoteIPProxyProtocol On
</VirtualHost>
`, dir, cert, key, plain, names, pathOld, pathNew, pathH2, proxied))
	startPart(t, dir, apache, "-X", "-f", config, "-DFOREGROUND").listening(t, "tcp", proxied)

	insecure := func(lines string) string {
		return "transport http {\n tls_insecure_skip_verify\n" + lines + "\n}"
	}
	c := startCaddy(t, fmt.Sprintf(`
	upstream_diagnostics
	handle /plain_to_tls {
		reverse_proxy http://%[2]s
	}
	handle /misdirected {
		reverse_proxy https://%[2]s {
			header_up Host a.example.test
			%[7]s
		}
	}
	handle /old/* {
		uri strip_prefix /old
		reverse_proxy https://%[3]s {
			%[7]s
		}
	}
	handle /new/* {
		uri strip_prefix /new
		reverse_proxy https://%[4]s {
			%[7]s
		}
	}
	handle /h2/* {
		uri strip_prefix /h2
		reverse_proxy https://%[5]s {
			%[7]s
		}
	}
	handle /proxy_to_tls {
		reverse_proxy https://%[2]s {
			%[8]s
		}
	}
	handle /h2c_to_plain {
		reverse_proxy h2c://%[1]s
	}
	handle /proxy_missing {
		reverse_proxy %[6]s
	}`, plain, names, pathOld, pathNew, pathH2, proxied, insecure(""), insecure("proxy_protocol v2\ntls_server_name a.example.test")))

	answered := func(status int, cause string, evidence ...string) want {
		return want{
			status: status, cause: cause, phase: failure.PhaseHeaders, side: failure.SideProxy,
			outcome: failure.UpstreamAnswered, sent: failure.SentNo, evidence: evidence,
		}
	}
	runAll(t, c, []scenario{
		{
			name: "plain HTTP to its TLS port", visit: visit{path: "/plain_to_tls"},
			wanted: answered(400, "tls_expected", `^the answer says: "speaking plain HTTP to an SSL-enabled server port`),
		},
		{
			name: "a Host that is not the name of the handshake", visit: visit{path: "/misdirected"},
			wanted: answered(421, "tls_server_name_rejected", `^no server name was sent: 127\.0\.0\.1 is an address$`, `^the Host sent was a\.example\.test$`),
		},
		{
			// On a connection that was used before, Go's transport repeats a GET and hides why.
			name: "a client certificate for a path, TLS 1.2", visit: visit{path: "/old/path"},
			before: func(t *testing.T) { t.Helper(); c.visit(t, visit{path: "/old/"}) },
			wanted: want{
				status: 502, cause: "tls_renegotiation_refused", phase: failure.PhaseWait, side: failure.SideProxy,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`^tls_client_auth is not set`},
				also: func(t *testing.T, f *failure.Failure) {
					t.Helper()
					for _, a := range f.Attempts {
						if a.Cause != "tls_renegotiation_refused" {
							t.Errorf("an attempt is named %s", a.Cause)
						}
					}
					if len(f.Attempts) != 2 {
						t.Errorf("%d attempts", len(f.Attempts))
					}
				},
			},
		},
		{
			name: "a client certificate for a path, TLS 1.3", visit: visit{path: "/new/path"},
			wanted: want{
				status: 403, cause: "client_certificate_rejected", phase: failure.PhaseHeaders, side: failure.SideUpstream,
				outcome: failure.UpstreamAnswered, sent: failure.SentNo, evidence: []string{`^the answer says: "Cannot perform Post-Handshake Authentication`},
			},
		},
		{
			name: "a client certificate for a path, HTTP/2", visit: visit{path: "/h2/path"},
			wanted: want{
				status: 502, cause: "http_version_mismatch", phase: failure.PhaseWait, side: failure.SideProxy,
				outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`HTTP_1_1_REQUIRED`},
			},
		},
		{
			name: "a PROXY header to its TLS port", visit: visit{path: "/proxy_to_tls"},
			wanted: want{
				status: 502, cause: "tls_closed", phase: failure.PhaseTLS, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`a PROXY protocol header \(v2\) was sent`},
			},
		},
		{
			name: "HTTP/2 to its plain port", visit: visit{path: "/h2c_to_plain"},
			wanted: want{
				status: 502, cause: "http_version_mismatch", phase: failure.PhaseHeaders, side: failure.SideProxy,
				outcome: failure.Failed, sent: "no|maybe|yes",
			},
		},
		{
			name: "no PROXY header where it expects one", visit: visit{path: "/proxy_missing"},
			wanted: want{
				status: 502, cause: "closed_before_response|reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
				outcome: failure.Failed, sent: failure.SentMaybe,
			},
		},
	})
}
