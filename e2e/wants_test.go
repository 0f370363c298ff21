//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// secureNode makes servers of HTTP/2 alone, of HTTPS, and of one that resets each stream.
const secureNode = `
const fs = require("fs"), http2 = require("http2");
const [h2, https, resets, plain, cert, key] = process.argv.slice(2);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const fine = (req, res) => res.end("fine");
http2.createSecureServer(options, fine).listen(Number(h2), "127.0.0.1");
require("https").createServer(options, fine).listen(Number(https), "127.0.0.1");
http2.createSecureServer(options).on("stream", (s) => { s.on("error", () => {}); s.close(13); }).listen(Number(resets), "127.0.0.1");
require("http").createServer(fine).listen(Number(plain), "127.0.0.1");
`

// What real servers say of how they were asked, or that they say nothing.
func TestWhatServersWant(t *testing.T) {
	t.Parallel()
	haproxy, node := program(t, "haproxy", "haproxy"), program(t, "nodejs", "node", "nodejs")
	uvicorn, openssl := program(t, "uvicorn", "uvicorn"), program(t, "openssl", "openssl")
	dir := workDir(t)
	cert, key, both := writeCertificate(t, dir)
	address := func() string { return freeAddress(t) }
	port := func(address string) string { return strconv.Itoa(portOf(t, address)) }

	nginxPlain, nginxTLS, nginxNames, nginxPROXY, nginxH2 := address(), address(), address(), address(), address()
	startNginx(t, dir, nginxH2, fmt.Sprintf(`
	ssl_certificate %[1]s;
	ssl_certificate_key %[2]s;
	server { listen %[3]s; return 200 fine; }
	server { listen %[4]s ssl; return 200 fine; }
	server { listen %[5]s ssl; ssl_reject_handshake on; }
	server { listen %[6]s proxy_protocol; return 200 fine; }
	server { listen %[7]s http2; return 200 fine; }`, cert, key, nginxPlain, nginxTLS, nginxNames, nginxPROXY, nginxH2))

	haproxyNames, haproxyTLS := address(), address()
	startPart(t, dir, haproxy, "-db", "-f", write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(haproxyServes+`
frontend names
	bind %[1]s ssl crt %[3]s strict-sni
	http-request return status 200
frontend tls
	bind %[2]s ssl crt %[3]s
	http-request return status 200
`, haproxyNames, haproxyTLS, both))).listening(t, "tcp", haproxyTLS)

	nodeH2, nodeTLS, nodeResets, nodePlain := address(), address(), address(), address()
	startPart(t, dir, node, write(t, filepath.Join(dir, "secure.js"), secureNode), port(nodeH2), port(nodeTLS), port(nodeResets), port(nodePlain), cert, key).
		listening(t, "tcp", nodePlain)

	write(t, filepath.Join(dir, "asgi.py"), fmt.Sprintf(asgiApplication, 0))
	uvicornPlain, uvicornTLS := address(), address()
	startPart(t, dir, uvicorn, "--port", port(uvicornPlain), "--lifespan", "off", "--ws", "none", "asgi:application").listening(t, "tcp", uvicornPlain)
	startPart(t, dir, uvicorn, "--port", port(uvicornTLS), "--lifespan", "off", "--ssl-certfile", cert, "--ssl-keyfile", key, "asgi:application").listening(t, "tcp", uvicornTLS)

	opensslCert, opensslTLS := address(), address()
	startPart(t, dir, openssl, "s_server", "-accept", opensslCert, "-cert", cert, "-key", key, "-www", "-quiet", "-Verify", "1", "-verify_return_error").listening(t, "tcp", opensslCert)
	startPart(t, dir, openssl, "s_server", "-accept", opensslTLS, "-cert", cert, "-key", key, "-www", "-quiet").listening(t, "tcp", opensslTLS)

	// A Caddy that has a certificate for its name alone.
	inner := address()
	innerConfig := write(t, filepath.Join(dir, "Inner"), fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https disable_redirects
	skip_install_trust
	https_port %[1]s
}
https://app.example.test {
	bind 127.0.0.1
	tls internal
	respond fine
}
`, port(inner)))
	startPart(t, dir, caddyBinary, "run", "--config", innerConfig, "--adapter", "caddyfile").listening(t, "tcp", inner)

	insecure := func(lines string) string {
		return "{\n header_up Host app.example.test\n transport http {\n tls_insecure_skip_verify\n" + lines + "\n}\n}"
	}
	site := "upstream_diagnostics\n"
	handle := func(path, to, block string) {
		site += "handle " + path + " {\n reverse_proxy " + to + " " + block + "\n}\n"
	}
	for name, to := range map[string]string{"haproxy": haproxyTLS, "node": nodeTLS, "uvicorn": uvicornTLS, "openssl": opensslTLS} {
		handle("/tls_port/"+name, "http://"+to, "")
	}
	for name, to := range map[string]string{"nginx": nginxPlain, "node": nodePlain, "uvicorn": uvicornPlain} {
		handle("/tls_to_plain/"+name, "https://"+to, "")
	}
	for name, to := range map[string]string{"nginx": nginxNames, "haproxy": haproxyNames, "caddy": inner} {
		handle("/no_name/"+name, "https://"+to, insecure(""))
	}
	handle("/name/caddy", "https://"+inner, insecure("tls_server_name app.example.test"))
	handle("/proxy_header_to_tls/nginx", "https://"+nginxTLS, insecure("tls_server_name app.example.test\nproxy_protocol v1"))
	handle("/proxy_missing/nginx", nginxPROXY, "")
	handle("/http1/nginx", nginxH2, "")
	handle("/http1/node", "https://"+nodeH2, insecure("versions 1.1"))
	handle("/h2/node", "https://"+nodeResets, insecure(""))
	handle("/upgrade_h2/node", "https://"+nodeH2, "{\n header_up Connection Upgrade\n header_up Upgrade SPDY/3.1\n transport http {\n tls_insecure_skip_verify\n}\n}")
	handle("/h2c/node", "h2c://"+nodePlain, "")
	handle("/h2c/nginx", "h2c://"+nginxPlain, "")
	handle("/websocket/uvicorn", uvicornPlain, "{\n header_up Connection Upgrade\n header_up Upgrade websocket\n}")
	handle("/certificate/openssl", "https://"+opensslCert, insecure(""))
	c := startCaddy(t, site)

	failed := func(cause string, phase failure.Phase, side failure.Side, sent failure.Sent, evidence ...string) want {
		return want{status: 502, cause: cause, phase: phase, side: side, outcome: failure.Failed, sent: sent, evidence: evidence}
	}
	const noName = `^no server name was sent: 127\.0\.0\.1 is an address$`
	var scenarios []scenario
	add := func(path string, wanted want) {
		scenarios = append(scenarios, scenario{name: path[1:], visit: visit{path: path}, wanted: wanted})
	}
	for _, name := range []string{"haproxy", "node", "uvicorn", "openssl"} { // without a word
		add("/tls_port/"+name, failed("closed_before_response|reset_before_response", failure.PhaseWait, failure.SideUpstream, "no|maybe"))
	}
	for _, name := range []string{"nginx", "node", "uvicorn"} {
		add("/tls_to_plain/"+name, failed("tls_not_spoken", failure.PhaseTLS, failure.SideProxy, failure.SentNo, `^the first bytes that came back: `))
	}
	for _, name := range []string{"nginx", "haproxy"} {
		add("/no_name/"+name, failed("tls_server_name_rejected", failure.PhaseTLS, failure.SideProxy, failure.SentNo, noName, `alert 112`))
	}
	alert80 := failed("tls_alert", failure.PhaseTLS, failure.SideProxy, failure.SentNo, noName, `alert 80`)
	alert80.also = func(t *testing.T, f *failure.Failure) {
		t.Helper()
		if want := "Set tls_server_name app.example.test in the transport"; len(f.Advice) < len(want) || f.Advice[:len(want)] != want {
			t.Errorf("the advice is %q", f.Advice)
		}
	}
	add("/no_name/caddy", alert80)
	scenarios = append(scenarios, scenario{name: "name/caddy: the advice cures it", visit: visit{path: "/name/caddy"}, wanted: want{status: 200}, body: "fine"})
	add("/proxy_header_to_tls/nginx", failed("tls_not_spoken", failure.PhaseTLS, failure.SideProxy, failure.SentNo, `"HTTP/"`, `a PROXY protocol header \(v1\) was sent`))
	add("/proxy_missing/nginx", failed("closed_before_response|reset_before_response", failure.PhaseWait, failure.SideUpstream, "no|maybe"))
	add("/http1/nginx", failed("http_version_mismatch", failure.PhaseHeaders, failure.SideProxy, "no|maybe|yes"))
	add("/http1/node", want{
		status: 403, cause: "http_version_mismatch", phase: failure.PhaseHeaders, side: failure.SideProxy, outcome: failure.UpstreamAnswered, sent: failure.SentNo,
		evidence: []string{"Missing ALPN Protocol"},
	})
	add("/h2/node", failed("http_version_mismatch", failure.PhaseWait, failure.SideProxy, failure.SentMaybe, `HTTP_1_1_REQUIRED`))
	add("/h2c/node", failed("http_version_mismatch", failure.PhaseHeaders, failure.SideProxy, "no|maybe|yes"))
	add("/h2c/nginx", failed("http_version_mismatch", failure.PhaseHeaders, failure.SideProxy, "no|maybe|yes"))
	add("/certificate/openssl", failed("client_certificate_rejected", failure.PhaseTLS, failure.SideProxy, "no|maybe", `alert 116`, `^tls_client_auth is not set: no certificate was presented$`))
	add("/upgrade_h2/node", failed("request_not_sendable", failure.PhaseSend, failure.SideProxy, failure.SentNo, `^HTTP/2 was negotiated, which has no Upgrade field$`))
	scenarios = append(scenarios, scenario{
		name: "websocket/uvicorn", visit: visit{path: "/websocket/uvicorn", header: "Upgrade: websocket"},
		wanted: want{
			status: 400, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream, outcome: failure.UpstreamAnswered, sent: failure.SentNo,
			evidence: []string{`^the answer says: "Unsupported upgrade request`},
		},
	})
	runAll(t, c, scenarios)
}
