//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// patient keeps its connections, and sends an upload on while the answer comes. Caddy's
// server treats an upload otherwise if its client asks to close the connection.
var patient = &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 30 * time.Second}

// dripping is an upload that comes little by little.
type dripping struct{ left int }

func (d *dripping) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	<-time.After(time.Millisecond) // a slow client is what is tried
	n := min(d.left, 1<<10, len(p))
	d.left -= n
	return copy(p, make([]byte, n)), nil
}

// upload posts so much, and gives what came of the answer; status 0 where none did.
func (c *caddy) upload(t *testing.T, by *http.Client, path string, body io.Reader, length int) (status int, answer []byte, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(length)
	res, err := by.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// nodeProgress answers with a line for each part of an upload that comes.
const nodeProgress = `
require("http").createServer((req, res) => {
	let n = 0;
	req.on("error", () => {});
	req.on("data", (d) => { n += d.length; res.write(n + "\n"); });
	req.on("end", () => res.end("all " + n + "\n"));
}).listen(Number(process.argv[2]), "127.0.0.1");
`

// An answer that begins before the upload has ended: over HTTP/1.1 Go's server reads what is
// left of the upload itself then, so that Caddy can't send it on.
func TestAnswerBeginsDuringTheUpload(t *testing.T) {
	t.Parallel()
	const length = 200_000 // of more than 256 KiB that are left nothing is taken away
	node, dir, nginx := startNode(t, nodeProgress), workDir(t), freeAddress(t)
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	startNginx(t, dir, nginx, fmt.Sprintf(`
	server {
		listen %[1]s;
		root %[2]s;
		location /upload/ { return 405; error_page 405 =200 /large; }
	}`, nginx, dir))
	c := startCaddy(t, fmt.Sprintf(`
	upstream_diagnostics
	handle_path /node/* {
		reverse_proxy %[1]s
	}
	handle_path /buffered/* {
		reverse_proxy %[1]s {
			request_buffers 1MiB
		}
	}
	handle /upload/* {
		reverse_proxy %[2]s
	}`, node, nginx))
	cut := want{
		status: 200, cause: "upload_cut_by_early_response", phase: failure.PhaseBody, side: failure.SideProxy,
		outcome: failure.Truncated, sent: failure.SentYes,
		evidence: []string{`^Caddy stopped reading the upload when the answer had begun: [0-9]+ of 200000 bytes of it had been read$`, `^Caddy's own side ended it; the upstream had not$`},
		also:     advised("enable_full_duplex", "request_buffers"),
	}
	for name, path := range map[string]string{"Node": "/node/upload", "nginx": "/upload/nginx"} {
		t.Run(name, func(t *testing.T) {
			if status, answer, err := c.upload(t, patient, path, &dripping{length}, length); err == nil {
				t.Errorf("the client got %d and %d bytes, whole", status, len(answer))
			}
			cut.check(t, c.recorded(t, path))
		})
	}
	t.Run("what is advised cures it", func(t *testing.T) {
		status, answer, err := c.upload(t, patient, "/buffered/upload", &dripping{length}, length)
		if status != 200 || err != nil || !bytes.HasSuffix(answer, []byte("all "+strconv.Itoa(length)+"\n")) {
			t.Errorf("the client got %d %.40q %v", status, answer, err)
		}
		c.idle(t)
		if found := c.of(t, "/buffered/upload"); len(found) > 0 {
			t.Errorf("it was recorded as %s", found[0].Cause)
		}
	})
}

// refusingNode and refusingWSGI answer 413 before they have read an upload, and close.
const refusingNode = `
const [port, secure, key, cert] = process.argv.slice(2), fs = require("fs");
const refuse = (req, res) => res.writeHead(413, { "Connection": "close" }).end("too large");
require("http").createServer(refuse).listen(Number(port), "127.0.0.1");
require("https").createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, refuse).listen(Number(secure), "127.0.0.1");
`

const refusingWSGI = `
def application(environ, start_response):
    start_response("413 Content Too Large", [("Content-Length", "9")])
    return [b"too large"]
`

// An upload that is refused unread: a server that reads on for a while after its answer gets
// it through. One that closes at once resets the connection, which may be found before the
// answer is read. It is no missing client certificate then, though that looks alike over TLS.
func TestUploadRefusedUnread(t *testing.T) {
	t.Parallel()
	gunicorn, haproxy := program(t, "gunicorn", "gunicorn"), program(t, "haproxy", "haproxy")
	dir := workDir(t)
	cert, key, both := writeCertificate(t, dir)
	// Of TLS's own each address is one of these; the others are in the clear.
	address := map[string]string{}
	for _, name := range []string{
		"nginx", "nginx-tls", "nginx-h2", "nginx-tls12", "nginx-auth-tls", "gunicorn", "gunicorn-tls", "node", "node-tls", "certificate-tls",
	} {
		address[name] = freeAddress(t)
	}
	startNginx(t, dir, address["nginx"], fmt.Sprintf(`
	ssl_certificate %[1]s;
	ssl_certificate_key %[2]s;
	client_max_body_size 1k;
	root %[3]s;
	server { listen %[4]s; }
	server { listen %[5]s ssl; }
	server { listen %[6]s ssl http2; }
	server { listen %[7]s ssl; ssl_protocols TLSv1.2; }
	server { listen %[8]s ssl; client_max_body_size 0; return 401; }`,
		cert, key, dir, address["nginx"], address["nginx-tls"], address["nginx-h2"], address["nginx-tls12"], address["nginx-auth-tls"]))
	write(t, filepath.Join(dir, "refuses.py"), refusingWSGI)
	startPart(t, dir, gunicorn, "--bind", address["gunicorn"], "refuses:application").listening(t, "tcp", address["gunicorn"])
	startPart(t, dir, gunicorn, "--bind", address["gunicorn-tls"], "--keyfile", key, "--certfile", cert, "refuses:application").listening(t, "tcp", address["gunicorn-tls"])
	startPart(t, dir, program(t, "nodejs", "node", "nodejs"), write(t, filepath.Join(dir, "refuses.js"), refusingNode),
		strconv.Itoa(portOf(t, address["node"])), strconv.Itoa(portOf(t, address["node-tls"])), key, cert).listening(t, "tcp", address["node-tls"])
	startPart(t, dir, haproxy, "-db", "-f", write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(haproxyServes+`
frontend certificate
	bind %s ssl crt %s ca-file %s verify required
	http-request return status 200
`, address["certificate-tls"], both, cert))).listening(t, "tcp", address["certificate-tls"])

	site := "upstream_diagnostics\n"
	for name, to := range address {
		if !strings.Contains(name, "-") {
			site += "handle_path /" + name + "/* {\n reverse_proxy " + to + "\n}\n"
			continue
		}
		site += "handle_path /" + name + "/* {\n reverse_proxy https://" + to + " {\n transport http {\n tls_insecure_skip_verify\n}\n}\n}\n"
	}
	c := startCaddy(t, site)

	unread := want{
		status: 502, cause: "request_write_failed", phase: failure.PhaseSend, side: failure.SideUpstream, outcome: failure.Failed, sent: "maybe|yes",
	}
	unread.also = func(t *testing.T, f *failure.Failure) {
		t.Helper()
		if !strings.Contains(f.Advice, "limit for the size of a request") {
			t.Errorf("the advice is %q", f.Advice)
		}
	}
	unreadTLS := unread
	unreadTLS.evidence = []string{`an upload that is refused unread looks like this \(413, 401\)`}
	// Its answer may have begun to be passed on.
	brokenOff := unread
	brokenOff.status, brokenOff.phase, brokenOff.outcome, brokenOff.sent = 413, failure.PhaseBody, failure.Truncated, failure.SentYes
	brokenOff.evidence = []string{`^an answer had begun before the upload was sent: 413$`}
	certificate := want{
		status: 502, cause: "client_certificate_rejected|unknown", phase: failure.PhaseTLS, side: failure.SideProxy, outcome: failure.Failed, sent: "no|maybe",
	}
	for _, s := range []struct {
		name   string
		status int   // what gets through
		lost   *want // of an answer that was lost; nil where none is
	}{
		{"nginx", 413, nil},
		{"nginx-tls", 413, nil},
		{"nginx-h2", 413, nil},
		{"nginx-tls12", 413, nil},
		{"nginx-auth-tls", 401, nil},
		{"gunicorn", 413, &unread},
		{"gunicorn-tls", 413, &unreadTLS},
		{"node", 413, &unread},
		{"node-tls", 413, &unreadTLS},
		{"certificate-tls", 0, &certificate},
	} {
		t.Run(s.name, func(t *testing.T) {
			lost := 0
			for i := range 20 {
				path := fmt.Sprintf("/%s/%d", s.name, i)
				const size = 1 << 20
				status, _, _ := c.upload(t, client, path, bytes.NewReader(make([]byte, size)), size)
				c.idle(t)
				found := c.of(t, path)
				switch {
				case len(found) > 0 && found[0].Outcome == failure.Truncated && s.lost != nil:
					lost++
					brokenOff.check(t, found[0])
				case status == http.StatusBadGateway && s.lost != nil:
					lost++
					s.lost.check(t, c.recorded(t, path))
				case status != s.status && status != 0 || len(found) > 0 && s.lost == nil:
					t.Errorf("the client got %d; recorded: %d", status, len(found))
				case len(found) > 0: // the client did not hear of it
					s.lost.check(t, found[0])
				}
			}
			t.Logf("%d of 20 were lost", lost)
		})
	}
}
