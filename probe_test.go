package diagnostics

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// probeFor bounds probes in a test, whose config is yet to be loaded.
func probeFor(t *testing.T, d time.Duration) {
	t.Helper()
	before := upstreams.ProbeTimeout
	upstreams.ProbeTimeout = d
	t.Cleanup(func() { upstreams.ProbeTimeout = before })
}

// postProbe asks the admin endpoint to ask again.
func postProbe(c *testcaddy.Caddy, body, parameters string) (status int, answer string, header http.Header) {
	c.T.Helper()
	res, err := testcaddy.Client.Post(c.Admin+adminPath+"/probe"+parameters, "application/json", strings.NewReader(body))
	if err != nil {
		c.T.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		c.T.Fatal(err)
	}
	return res.StatusCode, string(got), res.Header
}

// askFor is the body that asks an upstream again.
func askFor(q failure.ProbeQuery) string {
	body, err := json.Marshal(q)
	if err != nil {
		panic(err) // it has no value that can't be written
	}
	return string(body)
}

// askAgain asks an upstream again, however soon after the last time.
func askAgain(c *testcaddy.Caddy, q failure.ProbeQuery) (p failure.Probe) {
	c.T.Helper()
	currentProcess().probing.forget()
	status, answer, _ := postProbe(c, askFor(q), "")
	if status != http.StatusOK {
		c.T.Fatalf("%s: got %d: %s", askFor(q), status, answer)
	}
	decoder := json.NewDecoder(strings.NewReader(answer))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		c.T.Fatalf("%v in %s", err, answer)
	}
	return p
}

// forget lets upstreams be asked at once again.
func (p *probing) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nil
}

// stepsOf are a probe's steps, in short.
func stepsOf(p *failure.Probe) string {
	var steps []string
	for _, s := range p.Steps {
		name := string(s.Step)
		if !s.OK {
			name += " failed"
		}
		steps = append(steps, name)
	}
	return strings.Join(steps, ", ")
}

// checksOf are a probe's checks, in short.
func checksOf(p *failure.Probe) string {
	var checks []string
	for _, c := range p.Checks {
		speaks := "?"
		if c.Speaks != nil {
			speaks = map[bool]string{true: "yes", false: "no"}[*c.Speaks]
		}
		checks = append(checks, string(c.Check)+" "+speaks)
	}
	return strings.Join(checks, ", ")
}

func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// tlsUpstream is a server that speaks TLS with a certificate of its own for these names, and
// these protocols; the file has that certificate.
func tlsUpstream(t *testing.T, do http.Handler, protocols []string, names ...string) (address, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app.internal"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(do)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = slices.Contains(protocols, "h2")
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP2(server.EnableHTTP2)
	server.Config.Protocols.SetHTTP1(slices.Contains(protocols, "http/1.1"))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: protocols}
	server.StartTLS()
	t.Cleanup(server.Close)
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return server.Listener.Addr().String(), file
}

// h2cUpstream is a server that speaks HTTP/2 in the clear alone.
func h2cUpstream(t *testing.T, do http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(do)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// What comes of asking upstreams that answer, and of those that don't.
func TestProbe(t *testing.T) {
	const tlsLines = "transport http {\ntls\n"
	holds := func(t *testing.T) string {
		return testcaddy.Peer(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	}
	for _, test := range []struct {
		name string
		// upstream is what is asked; to is what stands in reverse_proxy where it isn't that.
		start func(t *testing.T) (upstream, to, block string)
		// ok, cause, steps and checks are what is to be found.
		ok     bool
		cause  string
		steps  string
		checks string
		// says are words that are to be in the answer.
		says []string
	}{
		{
			name:  "nobody listens",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Dead(t), "", "" },
			cause: "connection_refused", steps: "connect failed",
			says: []string{`"errno":"ECONNREFUSED"`, `no connection came about`, `Start the application`},
		},
		{
			name:  "it works",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Good(t), "", "" },
			ok:    true, steps: "connect, http", checks: "h2c no, tls no",
			says: []string{`"method":"HEAD"`, `"by":"default"`, `answered HEAD / with 200`},
		},
		{
			name: "it names itself",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Server", "nginx <b>")
					w.Header().Set("Via", "1.1 varnish")
				}), "", ""
			},
			ok: true, steps: "connect, http", checks: "h2c no, tls no",
			says: []string{`"server":"nginx <b>"`, `"via":"1.1 varnish"`},
		},
		{
			name:  "a 404 is an answer",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Upstream(t, answers(404)), "", "" },
			ok:    true, steps: "connect, http", checks: "h2c no, tls no", says: []string{`answered HEAD / with 404`, `"status":404`},
		},
		{
			name:  "a 503 is a failure",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Upstream(t, answers(503)), "", "" },
			cause: "upstream_status", steps: "connect, http", checks: "h2c no, tls no", says: []string{`itself answered 503`, `"received":{"status":503`},
		},
		{
			name:  "a 400 is asked again by GET",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Upstream(t, answers(400)), "", "" },
			ok:    true, steps: "connect, http", checks: "h2c no, tls no", says: []string{`answered GET / with 400`, `{"what":"HEAD"`},
		},
		{
			name:  "it never answers",
			start: func(t *testing.T) (string, string, string) { return holds(t), "", "" },
			cause: "response_timeout", steps: "connect, http failed", checks: "h2c ?, http/1.1 ?, tls ?",
			says: []string{`that a probe waits`, `no limit of the transport ended it`, `can't be told: nothing came within`},
		},
		{
			name: "it runs into its own limit first",
			start: func(t *testing.T) (string, string, string) {
				return holds(t), "", "transport http {\nresponse_header_timeout 50ms\n}"
			},
			cause: "response_timeout", steps: "connect, http failed", checks: "h2c ?, http/1.1 ?, tls ?",
			says: []string{`"limit":{"name":"response_header_timeout","value_ms":50,"source":"configured"}`},
		},
		{
			name:  "it never shakes hands",
			start: func(t *testing.T) (string, string, string) { return holds(t), "", tlsLines + "}" },
			cause: "tls_timeout", steps: "connect, tls failed", checks: "h2 ?, http/1.1 ?, plain_http ?",
			says: []string{`that a probe waits`},
		},
		{
			name: "it resets",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Peer(t, func(conn net.Conn) {
					_, _ = http.ReadRequest(bufio.NewReader(conn))
					_ = conn.(*net.TCPConn).SetLinger(0)
				}), "", ""
			},
			cause: "reset_before_response", steps: "connect, http failed", checks: "h2c no, http/1.1 no, tls no",
			says: []string{`"errno":"ECONNRESET"`, `it ended the connection`},
		},
		{
			name: "TLS is expected",
			start: func(t *testing.T) (string, string, string) {
				address, _ := tlsUpstream(t, answers(200), []string{"h2", "http/1.1"}, "localhost")
				return address, "", ""
			},
			cause: "tls_expected", steps: "connect, http", checks: "h2c no, tls yes",
			says: []string{`It speaks TLS 1.3 and agrees on h2.`, `"subject":"CN=app.internal"`, `"names":["localhost"]`, `"verified":false`},
		},
		{
			name:  "TLS is not spoken",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Good(t), "", tlsLines + "}" },
			cause: "tls_not_spoken", steps: "connect, tls failed", checks: "h2 no, http/1.1 no, plain_http yes",
			says: []string{`It speaks plain HTTP, and answers 200.`},
		},
		{
			name: "TLS is expected, and says nothing to plain HTTP",
			start: func(t *testing.T) (string, string, string) {
				address, _ := tlsUpstream(t, answers(200), []string{"http/1.1"}, "localhost")
				return testcaddy.Peer(t, func(conn net.Conn) {
					r := bufio.NewReader(conn)
					if first, err := r.Peek(1); err != nil || first[0] != 0x16 { // a handshake
						_, _ = io.Copy(io.Discard, r)
						return
					}
					to, err := net.Dial("tcp", address)
					if err != nil {
						return
					}
					defer to.Close()
					go func() { _, _ = io.Copy(to, r) }()
					_, _ = io.Copy(conn, to)
				}), "", ""
			},
			cause: "tls_expected", steps: "connect, http failed", checks: "h2c ?, http/1.1 ?, tls yes",
			says: []string{`on a connection of its own: It speaks TLS 1.3`, `https://`},
		},
		{
			name: "TLS works, and HTTP/1.1 would",
			start: func(t *testing.T) (string, string, string) {
				address, file := tlsUpstream(t, answers(200), []string{"h2", "http/1.1"}, "localhost")
				return address, "", tlsLines + "tls_server_name localhost\ntls_trust_pool file " + file + "\n}"
			},
			ok: true, steps: "connect, tls, http", checks: "http/1.1 yes, plain_http no",
			says: []string{`"version":"TLS 1.3","alpn":"h2","server_name":"localhost"`, `"verified":true`, `"protocol":"h2"`, `It answers plain HTTP with 400, as a TLS port does.`},
		},
		{
			name: "HTTP/2 alone over TLS",
			start: func(t *testing.T) (string, string, string) {
				address, file := tlsUpstream(t, answers(200), []string{"h2"}, "localhost")
				return address, "", tlsLines + "tls_server_name localhost\ntls_trust_pool file " + file + "\n}"
			},
			ok: true, steps: "connect, tls, http", checks: "http/1.1 no, plain_http no",
			says: []string{`It does not speak HTTP/1.1`},
		},
		{
			name: "HTTP/1.1 alone over TLS",
			start: func(t *testing.T) (string, string, string) {
				address, file := tlsUpstream(t, answers(204), []string{"http/1.1"}, "localhost")
				return address, "", tlsLines + "tls_server_name localhost\ntls_trust_pool file " + file + "\n}"
			},
			ok: true, steps: "connect, tls, http", checks: "h2 no, plain_http no",
		},
		{
			name: "a certificate for another name",
			start: func(t *testing.T) (string, string, string) {
				address, file := tlsUpstream(t, answers(200), []string{"h2", "http/1.1"}, "other.internal", "\x1b]0;x\x07<script>")
				return address, "", tlsLines + "tls_server_name localhost\ntls_trust_pool file " + file + "\n}"
			},
			cause: "certificate_name_mismatch", steps: "connect, tls failed", checks: "h2 yes, http/1.1 yes, plain_http no",
			says: []string{`"names":["other.internal","�]0;x�<script>"]`, `"verified":false`},
		},
		{
			name: "a certificate that is not checked",
			start: func(t *testing.T) (string, string, string) {
				address, _ := tlsUpstream(t, answers(200), []string{"http/1.1"}, "other.internal")
				return address, "", tlsLines + "tls_insecure_skip_verify\n}"
			},
			ok: true, steps: "connect, tls, http", checks: "h2 no, plain_http no", says: []string{`"verified":false`},
		},
		{
			name: "HTTP/2 in the clear",
			start: func(t *testing.T) (string, string, string) {
				address := h2cUpstream(t, answers(200))
				return address, "h2c://" + address, ""
			},
			ok: true, steps: "connect, http", checks: "http/1.1 no, tls no", says: []string{`"protocol":"h2c"`},
		},
		{
			name:  "HTTP/1.1 to HTTP/2 in the clear",
			start: func(t *testing.T) (string, string, string) { return h2cUpstream(t, answers(200)), "", "" },
			// What it does with HTTP/1.1 is the server's affair.
			cause: "closed_before_response|reset_before_response|http_version_mismatch", steps: "connect, http failed", checks: "h2c yes, http/1.1 no, tls no",
			says: []string{`It speaks HTTP/2 in the clear (h2c).`},
		},
		{
			name: "a socket",
			start: func(t *testing.T) (string, string, string) {
				path := filepath.Join(socketDir(t), "app.sock")
				ln, err := net.Listen("unix", path)
				if err != nil {
					t.Skip(err)
				}
				server := &http.Server{Handler: answers(200), ErrorLog: log.New(io.Discard, "", 0)}
				go func() { _ = server.Serve(ln) }()
				t.Cleanup(func() { server.Close() })
				return "unix/" + path, "", ""
			},
			ok: true, steps: "connect, http", checks: "h2c no, tls no", says: []string{`app.sock`},
		},
		{
			name: "no socket",
			start: func(t *testing.T) (string, string, string) {
				return "unix/" + filepath.Join(socketDir(t), "none.sock"), "", ""
			},
			cause: "socket_not_found", steps: "connect failed",
		},
		{
			name: "FastCGI",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.FastCGI(t, answers(404)), "", "transport fastcgi"
			},
			ok: true, steps: "connect, http", says: []string{`"protocol":"fastcgi"`, `answered HEAD / with 404`, `a script of the site`},
		},
		{
			name:  "FastCGI to HTTP",
			start: func(t *testing.T) (string, string, string) { return testcaddy.Good(t), "", "transport fastcgi" },
			cause: "fastcgi_malformed", steps: "connect, http failed", checks: "fastcgi ?, plain_http yes",
			says: []string{`It speaks plain HTTP, and answers 200.`},
		},
		{
			name: "FastCGI whose worker hangs",
			start: func(t *testing.T) (string, string, string) {
				hung := make(chan struct{})
				address := testcaddy.FastCGI(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
				t.Cleanup(func() { close(hung) })
				return address, "", "transport fastcgi"
			},
			cause: "response_timeout", steps: "connect, http failed", checks: "fastcgi yes, plain_http no",
			says: []string{`that a probe waits`, `It speaks FastCGI.`},
		},
		{
			name: "something else greets",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Blabbing(t, "SSH-2.0-\x1b[31m<script>\r\n"), "", ""
			},
			cause: "not_http", steps: "connect, http failed", checks: "h2c no, http/1.1 no, tls no",
			says: []string{`SSH-2.0-\\x1b[31m<script>`},
		},
		{
			name: "a status that is none",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Blabbing(t, "HTTP/1.1 042 No\r\n\r\n"), "", ""
			},
			cause: "response_malformed", steps: "connect, http failed", checks: "h2c no, tls no",
		},
		{
			name: "an upgrade that nobody asked for",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Blabbing(t, "HTTP/1.1 101 Yes\r\n\r\n"), "", ""
			},
			cause: "upgrade_failed", steps: "connect, http failed", checks: "h2c no, tls no",
		},
		{
			name: "interim answers first",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusEarlyHints)
					w.WriteHeader(http.StatusOK)
				}), "", ""
			},
			ok: true, steps: "connect, http", checks: "h2c no, tls no",
		},
		{
			name: "a name of several addresses",
			start: func(t *testing.T) (string, string, string) {
				_, port, err := net.SplitHostPort(testcaddy.Good(t))
				if err != nil {
					t.Fatal(err)
				}
				return "localhost:" + port, "", ""
			},
			ok: true, steps: "dns, connect( failed, connect)?, http", checks: "h2c no, tls no", says: []string{`"name":"localhost"`, `127.0.0.1`},
		},
		{
			name:  "no such port",
			start: func(t *testing.T) (string, string, string) { return "127.0.0.1:0", "", "" },
			cause: "connection_refused|dial_address_invalid", steps: "connect failed",
		},
		{
			name: "a rewrite of its own",
			start: func(t *testing.T) (string, string, string) {
				return testcaddy.Good(t), "", "rewrite /other\ntransport http {\nmax_conns_per_host 1\n}"
			},
			ok: true, steps: "connect, http", checks: "h2c no, tls no", says: []string{`rewrite and method of reverse_proxy`, `answered HEAD / with`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			switch waits := strings.Contains(test.checks, "?") || slices.Contains(test.says, "that a probe waits"); {
			case waits && strings.Contains(test.checks, "yes"): // for that there has to be time
				probeFor(t, 2*time.Second)
			case waits:
				probeFor(t, time.Second)
			}
			upstream, to, block := test.start(t)
			if to == "" {
				to = upstream
			}
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+to+" {\n"+block+"\n}")
			status, answer, _ := postProbe(c, askFor(failure.ProbeQuery{Upstream: upstream}), "")
			var p failure.Probe
			if err := json.Unmarshal([]byte(answer), &p); err != nil || status != http.StatusOK {
				t.Fatalf("got %d, %v: %s", status, err, answer)
			}
			if p.OK != test.ok || !regexp.MustCompile("^("+test.cause+")$").MatchString(p.Cause) || p.Upstream != upstream {
				t.Errorf("%s: ok is %t, the cause %q, want %t, %q", p.Upstream, p.OK, p.Cause, test.ok, test.cause)
			}
			if got := stepsOf(&p); !regexp.MustCompile("^" + test.steps + "$").MatchString(got) {
				t.Errorf("the steps are %q, want %q", got, test.steps)
			}
			sorted := strings.Split(checksOf(&p), ", ")
			slices.Sort(sorted)
			if got := strings.Join(sorted, ", "); got != test.checks {
				t.Errorf("the checks are %q, want %q", got, test.checks)
			}
			unescaped := strings.NewReplacer(`\"`, `"`, `\u003c`, "<", `\u003e`, ">").Replace(answer)
			for _, words := range test.says {
				if !strings.Contains(unescaped, words) {
					t.Errorf("%s isn't in it", words)
				}
			}
			if p.Summary == "" || p.OK != (p.Cause == "") || !p.OK && p.Advice == "" || len(answer) > failure.MaxProbeBytes {
				t.Errorf("%d bytes, the summary is %q, the advice %q", len(answer), p.Summary, p.Advice)
			}
			if strings.ContainsAny(answer, "\x1b\x07") {
				t.Errorf("it has control characters: %q", answer)
			}
			if p.Phase != failure.PhaseWait && p.Phase != failure.PhaseTLS { // for that it would wait again
				currentProcess().probing.forget()
				status, text, header := postProbe(c, askFor(failure.ProbeQuery{Upstream: upstream}), "?format=text")
				if status != http.StatusOK || strings.ContainsAny(text, "\x1b\x07") || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") || strings.Count(text, "\n") < 8 {
					t.Errorf("as text, %d: %q", status, text)
				}
			}
			if t.Failed() {
				t.Log(answer)
			}
			if list := c.Failures(); len(list) > 0 {
				t.Errorf("%d are recorded", len(list))
			}
		})
	}
}

// socketDir is a folder whose name is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// asksOf keeps what an upstream was asked by a probe; what its checks ask is left out.
type asksOf struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (a *asksOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Header.Get("Connection") != "close" && !r.Close {
		a.seen = append(a.seen, r)
	}
	w.Header().Set("Content-Length", "0")
}

func (a *asksOf) last(t *testing.T) *http.Request {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		t.Fatal("it was not asked")
	}
	return a.seen[len(a.seen)-1]
}

// The request is as reverse_proxy sends it, as far as that needs no client.
func TestProbeRequest(t *testing.T) {
	asks := new(asksOf)
	address := testcaddy.Upstream(t, asks.ServeHTTP)
	_, port, _ := net.SplitHostPort(address)
	for _, test := range []struct {
		name, block string
		host        string // of the request
		header      map[string]string
		leftOut     []string
	}{
		{"plain", "", "127.0.0.1", map[string]string{
			"User-Agent": "caddy-upstream-diagnostics (probe)", "Via": "1.1 Caddy",
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "127.0.0.1",
		}, nil},
		{"its address as Host", "header_up Host {upstream_hostport}", address, nil, nil},
		{"a name as Host", "header_up Host app.internal", "app.internal", nil, nil},
		{"of a client's request", "header_up Host {host}\nheader_up X-Real-IP {remote_host}\nheader_up +X-Made {http.request.uuid}-of", "127.0.0.1",
			map[string]string{"X-Real-Ip": "", "X-Made": ""}, []string{"header_up Host", "header_up X-Made", "header_up X-Real-Ip"}},
		{"set, added, deleted and replaced", "header_up X-Port {upstream_hostport}\nheader_up +X-Two 2\nheader_up -X-Forwarded-*\nheader_up Via Caddy Kilroy", "127.0.0.1",
			map[string]string{"X-Port": address, "X-Two": "2", "X-Forwarded-For": "", "Via": "1.1 Kilroy"}, nil},
		{"a proxy header", "transport http {\nproxy_protocol v1\n}", "", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			upstream := address
			if test.name == "a proxy header" {
				line := make(chan string, 1)
				upstream = testcaddy.Peer(t, func(conn net.Conn) {
					r := bufio.NewReader(conn)
					first, _ := r.ReadString('\n')
					select {
					case line <- first:
					default:
					}
					if _, err := http.ReadRequest(r); err == nil {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				})
				c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream+" {\n"+test.block+"\n}")
				p := askAgain(c, failure.ProbeQuery{Upstream: upstream})
				if got := <-line; !p.OK || !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 ") {
					t.Errorf("it came with %q: %+v", got, p)
				}
				return
			}
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream+" {\n"+test.block+"\n}")
			p := askAgain(c, failure.ProbeQuery{Upstream: upstream})
			r := asks.last(t)
			if r.Method != http.MethodHead || r.RequestURI != "/" || r.Host != test.host || p.Request.Host != test.host {
				t.Errorf("asked was %s %s of %s, told of %+v, want the Host %s", r.Method, r.RequestURI, r.Host, p.Request, test.host)
			}
			for field, want := range test.header {
				if got := r.Header.Get(field); got != want {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
			var left []string
			for _, one := range p.NotTried {
				if strings.HasPrefix(one.What, "header_up") {
					left = append(left, one.What)
				}
			}
			if !slices.Equal(left, test.leftOut) {
				t.Errorf("left out are %q, want %q", left, test.leftOut)
			}
		})
	}
	t.Run("the site's name as Host", func(t *testing.T) {
		c := testcaddy.New(t)
		if err := testcaddy.Load(c.Caddyfile("", "respond no") + "http://shop.example:" + fmt.Sprint(testcaddy.FreePort(t)) + " {\nupstream_diagnostics\nreverse_proxy " + address + "\n}\n"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { testcaddy.Stop(t) })
		p := askAgain(c, failure.ProbeQuery{Upstream: address})
		if r := asks.last(t); r.Host != "shop.example" || p.Request.Host != "shop.example" || !slices.Equal(p.Proxy.Sites, []string{"shop.example"}) {
			t.Errorf("the Host is %s: %+v", r.Host, p)
		}
	})
	t.Run("a handler's own connections", func(t *testing.T) {
		// A request goes over the connection that was there before the probe.
		c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address)
		c.Get("/1")
		before := asks.last(t).RemoteAddr
		p := askAgain(c, failure.ProbeQuery{Upstream: address})
		if probed := asks.last(t).RemoteAddr; probed == before || stepsOf(&p) != "connect, http" {
			t.Errorf("the probe went over the connection of a request: %s", stepsOf(&p))
		}
		c.Get("/2")
		if after := asks.last(t).RemoteAddr; after != before {
			t.Errorf("a request went over %s, and before the probe over %s (port %s)", after, before, port)
		}
	})
}

// An upstream with an active check is asked as that asks, and told how it goes.
func TestProbeHealthCheck(t *testing.T) {
	probeFor(t, 2*time.Second)
	asks := new(asksOf)
	const checks = "health_interval 1h\nhealth_uri /up?token=secret\nhealth_method POST\nhealth_headers {\nHost status.internal\nX-Check 1\n}\n"
	for _, test := range []struct {
		name, block string
		do          http.HandlerFunc
		ok          bool
		by          failure.ProbeBy
		says        []string
	}{
		{"it passes", checks, asks.ServeHTTP, true, failure.ProbeByHealthCheck, []string{"answered POST /up?token=REDACTED with 200"}},
		{"another status", checks, answers(404), false, failure.ProbeByHealthCheck, []string{"fails its active health check", "is answered 404", "Set health_uri to a path that the application serves", "expects any 2xx"}},
		{"as it is wanted", checks + "health_status 4xx\n", answers(404), true, failure.ProbeByHealthCheck, nil},
		{"another body", checks + "health_body fine\n", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "broken") }, false, failure.ProbeByHealthCheck, []string{"whose body does not match"}},
		{"an error is a failure's", checks, answers(503), false, failure.ProbeByHealthCheck, []string{"itself answered 503"}},
		{"too late", checks + "health_timeout 1ns\n", answers(200), false, failure.ProbeByHealthCheck, []string{"is answered 200 after ", ", too late.", "none within health_timeout 1ns"}},
		{"of another port", checks + "health_port 1\n", asks.ServeHTTP, true, failure.ProbeByDefault, []string{"health_upstream, health_port"}},
		{"where it leads to isn't followed", checks + "health_follow_redirects\n", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, true, failure.ProbeByHealthCheck, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := testcaddy.Upstream(t, test.do)
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address+" {\n"+test.block+"}")
			p := askAgain(c, failure.ProbeQuery{Upstream: address})
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if p.OK != test.ok || p.Request.By != test.by || strings.Contains(string(text), "secret") {
				t.Errorf("got %s", text)
			}
			for _, words := range test.says {
				if !strings.Contains(string(text), words) {
					t.Errorf("%q isn't in %s", words, text)
				}
			}
			if test.name == "it passes" {
				r := asks.last(t)
				if r.Method != http.MethodPost || r.RequestURI != "/up?token=secret" || r.Host != "status.internal" || r.Header.Get("X-Check") != "1" || p.Request.Host != "status.internal" {
					t.Errorf("asked was %s %s of %s", r.Method, r.RequestURI, r.Host)
				}
			}
		})
	}
}

// What a dynamic source gave last may be asked, by its address or as the source.
func TestProbeDynamic(t *testing.T) {
	_, port, err := net.SplitHostPort(testcaddy.Good(t))
	if err != nil {
		t.Fatal(err)
	}
	source := "a 127.0.0.1:" + port
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy {\ndynamic a 127.0.0.1 "+port+"\n}")
	status, answer, _ := postProbe(c, askFor(failure.ProbeQuery{Upstream: source}), "")
	if status != http.StatusBadRequest || !strings.Contains(answer, "has given no address") {
		t.Errorf("before it was asked: %d %s", status, answer)
	}
	if status, answer, _ = postProbe(c, askFor(failure.ProbeQuery{Upstream: "127.0.0.1:" + port}), ""); status != http.StatusNotFound {
		t.Errorf("an address that it has not given: %d %s", status, answer)
	}
	if got := c.Get("/"); got.Status != http.StatusOK {
		t.Fatal(got)
	}
	for _, upstream := range []string{source, "127.0.0.1:" + port} {
		p := askAgain(c, failure.ProbeQuery{Upstream: upstream})
		if !p.OK || p.Upstream != source || p.Address != "127.0.0.1:"+port || !strings.Contains(p.Summary, "127.0.0.1:"+port) {
			t.Errorf("%s: %+v", upstream, p)
		}
	}
	if status, answer, _ := postProbe(c, askFor(failure.ProbeQuery{Upstream: "127.0.0.1:1"}), ""); status != http.StatusNotFound {
		t.Errorf("another address: %d %s", status, answer)
	}
}

// Of several handlers that lead to an upstream the first is asked, or the one that is named.
func TestProbeWhich(t *testing.T) {
	address := testcaddy.Good(t)
	c := testcaddy.New(t)
	port := fmt.Sprint(testcaddy.FreePort(t))
	sites := "http://one.example:" + port + " {\nupstream_diagnostics\nreverse_proxy " + address + "\n}\n" +
		"http://two.example:" + port + " {\nupstream_diagnostics {\nsite second\n}\nreverse_proxy " + address + " {\ntransport http {\ntls\n}\n}\n}\n"
	if err := testcaddy.Load(c.Caddyfile("", "respond no") + sites); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testcaddy.Stop(t) })
	first, second := 0, 1
	for _, test := range []struct {
		name  string
		query failure.ProbeQuery
		want  failure.ProbeProxy
		cause string
	}{
		{"the first", failure.ProbeQuery{}, failure.ProbeProxy{Index: 0, Count: 2, Sites: []string{"one.example"}}, ""},
		{"by index", failure.ProbeQuery{Index: &second}, failure.ProbeProxy{Index: 1, Count: 2, Sites: []string{"second"}, TLS: true}, "tls_not_spoken"},
		{"by site", failure.ProbeQuery{Site: "second"}, failure.ProbeProxy{Index: 0, Count: 1, Sites: []string{"second"}, TLS: true}, "tls_not_spoken"},
		{"by both", failure.ProbeQuery{Site: "one.example", Index: &first}, failure.ProbeProxy{Index: 0, Count: 1, Sites: []string{"one.example"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.query.Upstream = address
			p := askAgain(c, test.query)
			test.want.Server, test.want.Transport = p.Proxy.Server, "http"
			if fmt.Sprint(p.Proxy) != fmt.Sprint(test.want) || p.Cause != test.cause {
				t.Errorf("got %+v, %s, want %+v, %s", p.Proxy, p.Cause, test.want, test.cause)
			}
		})
	}
	third := 2
	for _, test := range []struct {
		name   string
		query  failure.ProbeQuery
		status int
		want   string
	}{
		{"no such index", failure.ProbeQuery{Upstream: address, Index: &third}, 404, "expected a number from 0 to 1, got 2"},
		{"no such site", failure.ProbeQuery{Upstream: address, Site: "three"}, 404, `"three\" does not lead to this upstream, expected one of \"one.example\", \"second\"`},
		{"no such upstream", failure.ProbeQuery{Upstream: "\x1b[31m<"}, 404, `"\\x1b[31m<\" is neither configured nor what a dynamic source gave last, expected one of \"` + address + `\"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			currentProcess().probing.forget()
			status, answer, _ := postProbe(c, askFor(test.query), "")
			if status != test.status || !strings.Contains(answer, strings.TrimPrefix(test.want, `"`)) {
				t.Errorf("got %d: %s", status, answer)
			}
		})
	}
}

// What only a client's request leads to can't be asked.
func TestProbePlaceholder(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy {query.tenant}:8080")
	status, answer, _ := postProbe(c, `{"upstream": "{http.request.uri.query.tenant}:8080"}`, "")
	if status != http.StatusBadRequest || !strings.Contains(answer, "which only a client's request fills in") {
		t.Errorf("got %d: %s", status, answer)
	}
}

// An upstream is asked once a second, and few at a time.
func TestProbeTooOften(t *testing.T) {
	var p probing
	now := time.Now()
	ask := func(address string, after time.Duration) *failure.ProbeRefused {
		err := p.begin(address, now.Add(after))
		refused, _ := errors.AsType[*failure.ProbeRefused](err)
		return refused
	}
	if ask("a", 0) != nil || ask("b", 0) != nil {
		t.Error("the first ones are refused")
	}
	if r := ask("a", 300*time.Millisecond); r == nil || r.Why != failure.ProbeTooOften || r.RetryAfter != 700*time.Millisecond {
		t.Errorf("again at once: %+v", r)
	}
	if ask("a", probeEvery) != nil {
		t.Error("a second later it is refused")
	}
	if ask("c", probeEvery) != nil {
		t.Error("a third one is refused")
	}
	if r := ask("d", probeEvery); r == nil || r.RetryAfter != probeEvery {
		t.Errorf("%d at a time: %+v", maxProbing+1, r)
	}
	p.ended()
	if ask("d", probeEvery) != nil {
		t.Error("one that is over counts still")
	}
	if len(p.asked) > 3 {
		t.Errorf("%d are remembered", len(p.asked))
	}
}

// Over the admin endpoint too, with words and a time.
func TestProbeTooOftenOverHTTP(t *testing.T) {
	address := testcaddy.Good(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address)
	postProbe(c, askFor(failure.ProbeQuery{Upstream: address}), "")
	p := currentProcess()
	p.probing.mu.Lock()
	p.probing.asked[address] = time.Now().Add(time.Hour) // however long this test takes
	p.probing.mu.Unlock()
	status, answer, header := postProbe(c, askFor(failure.ProbeQuery{Upstream: address}), "")
	if status != http.StatusTooManyRequests || !strings.Contains(answer, "once in 1s at the most") || header.Get("Retry-After") == "" {
		t.Errorf("got %d, Retry-After %q: %s", status, header.Get("Retry-After"), answer)
	}
}

// Who leaves ends the probe, and nothing of it is kept.
func TestProbeLeft(t *testing.T) {
	reached, left := make(chan struct{}), make(chan struct{})
	var once sync.Once
	address := testcaddy.Peer(t, func(conn net.Conn) {
		once.Do(func() { close(reached) })
		_, _ = io.Copy(io.Discard, conn)
		left <- struct{}{}
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := processView{}.Probe(ctx, failure.ProbeQuery{Upstream: address})
		done <- err
	}()
	<-reached
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	<-left
	p := currentProcess()
	testcaddy.Eventually(t, "its place is free", func() bool {
		p.probing.mu.Lock()
		defer p.probing.mu.Unlock()
		return p.probing.underWay == 0
	})
	_ = c
}

// Incidents of an upstream keep the last three probes of it, and others none.
func TestProbeOfIncidents(t *testing.T) {
	upstream := &dayUpstream{t: t, address: testcaddy.Dead(t)}
	defer upstream.stops()
	other := testcaddy.Dead(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nhandle /other {\nreverse_proxy "+other+"\n}\nreverse_proxy "+upstream.address)
	c.Get("/")
	c.Get("/other")
	incidents := func(upstream string) failure.Incident {
		t.Helper()
		list := incidentsOf(c, "?upstream="+upstream)
		if len(list) != 1 {
			t.Fatalf("%d incidents", len(list))
		}
		return list[0]
	}
	if got := incidents(upstream.address).Probes; got == nil || len(got) != 0 {
		t.Errorf("before there was one: %v", got)
	}
	for range 3 {
		askAgain(c, failure.ProbeQuery{Upstream: upstream.address})
	}
	upstream.answersBy(well)
	last := askAgain(c, failure.ProbeQuery{Upstream: upstream.address})
	i := incidents(upstream.address)
	if len(i.Probes) != failure.MaxProbes || i.Probes[0].OK || !i.Probes[2].OK || i.Probes[2].Time != last.Time {
		t.Errorf("kept are %+v", i.Probes)
	}
	if i.Count != 1 || i.State != failure.IncidentOpen {
		t.Errorf("the incident is %+v", i)
	}
	if got := incidents(other).Probes; len(got) != 0 {
		t.Errorf("another's incident has %v", got)
	}
	text := c.AdminDo(http.MethodGet, "/incidents/"+i.ID+"?format=text").Body
	before, now := strings.Index(text, "  before  "), strings.Index(text, "  now     ")
	if before < 0 || now < before || !strings.Contains(text[now:], "answered HEAD / with 204") || strings.Count(text, "  then    ") != 2 {
		t.Errorf("the text is\n%s", text)
	}
}

// A probe in a storm changes nothing of an upstream's health, and is in no count.
func TestProbeCountsForNothing(t *testing.T) {
	probeFor(t, time.Second)
	refusing := testcaddy.Dead(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+refusing+" {\nfail_duration 1h\nmax_fails 1000000\n}")
	const visits = 40
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range visits / 4 {
				c.Get("/")
			}
		})
	}
	for range 10 {
		if p := askAgain(c, failure.ProbeQuery{Upstream: refusing}); p.Cause != "connection_refused" {
			t.Errorf("got %+v", p)
		}
	}
	all.Wait()
	c.Idle()
	p := currentProcess()
	state := c.UpstreamStates()[0]
	if state.Fails != visits || state.NumRequests != 0 {
		t.Errorf("%d failures count and %d requests are under way, want %d and 0", state.Fails, state.NumRequests, visits)
	}
	var overview failure.Overview
	c.AdminGet(adminPath, &overview)
	if overview.Counts[failure.Failed] != visits || overview.KeptCount != visits {
		t.Errorf("%d are counted, %d kept, want %d", overview.Counts[failure.Failed], overview.KeptCount, visits)
	}
	if list := incidentsOf(c, ""); len(list) != 1 || list[0].Count != visits {
		t.Errorf("incidents: %+v", list)
	}
	for upstream, past := range p.learnt.All() {
		if !past.LastAnswer().IsZero() {
			t.Errorf("%s is said to have answered", upstream)
		}
	}

	answering := testcaddy.Good(t)
	if err := c.Load("", "upstream_diagnostics\nreverse_proxy "+answering+" {\nfail_duration 1h\nunhealthy_status 2xx\n}"); err != nil {
		t.Fatal(err)
	}
	if p := askAgain(c, failure.ProbeQuery{Upstream: answering}); !p.OK {
		t.Errorf("got %+v", p)
	}
	for upstream, past := range p.learnt.All() {
		if !past.LastAnswer().IsZero() || !past.LastSuccess().IsZero() {
			t.Errorf("%s is said to have answered", upstream)
		}
	}
	for _, state := range c.UpstreamStates() {
		if state.Address == answering && state.Fails != 0 {
			t.Errorf("%d failures count for it", state.Fails)
		}
	}
	// What was learnt before is told of all the same.
	c.Get("/")
	if list := p.learnt.All(); len(list) == 0 {
		t.Error("nothing is learnt of a request")
	}
}

// counted counts the connections that are open.
type counted struct {
	net.Listener
	mu   sync.Mutex
	open int
	all  int
}

func (l *counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.add(1)
	return &countedConn{Conn: conn, l: l}, nil
}

func (l *counted) counts() (open, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open, l.all
}

func (l *counted) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += n
	l.all += max(n, 0)
}

type countedConn struct {
	net.Conn
	l    *counted
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.l.add(-1) })
	return c.Conn.Close()
}

// A probe leaves no connection behind, whatever is spoken.
func TestProbeLeavesNoConnection(t *testing.T) {
	for _, test := range []struct {
		name, scheme, block string
		protocols           func(*http.Protocols)
		tls                 bool
	}{
		{"HTTP/1.1", "", "", func(p *http.Protocols) { p.SetHTTP1(true) }, false},
		{"h2c", "h2c://", "", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, false},
		{"h2", "https://", "transport http {\ntls_insecure_skip_verify\n}", func(p *http.Protocols) { p.SetHTTP2(true) }, true},
		{"HTTP/1.1 with an active check", "", "health_interval 1h\nhealth_uri /", func(p *http.Protocols) { p.SetHTTP1(true) }, false},
		{"h2 with an active check", "https://", "health_interval 1h\nhealth_uri /\ntransport http {\ntls_insecure_skip_verify\n}", func(p *http.Protocols) { p.SetHTTP2(true) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(answers(200))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Config.Protocols = new(http.Protocols)
			test.protocols(server.Config.Protocols)
			connections := &counted{Listener: server.Listener}
			server.Listener = connections
			if server.EnableHTTP2 = test.tls; test.tls {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			address := connections.Addr().String()
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+test.scheme+address+" {\n"+test.block+"\n}")
			checked := strings.Contains(test.block, "health_interval")
			own := 0
			if checked { // that of its first check stays
				testcaddy.Eventually(t, "its check", func() bool {
					own, _ = connections.counts()
					return own == 1
				})
			}
			_, before := connections.counts()
			if p := askAgain(c, failure.ProbeQuery{Upstream: address}); !p.OK {
				t.Errorf("got %+v", p)
			}
			testcaddy.Eventually(t, "all connections of the probe are closed", func() bool {
				open, all := connections.counts()
				return open == own && all > before
			})
		})
	}
}

// stuckTransport heeds no context.
type stuckTransport struct{}

var stuck struct {
	mu       sync.Mutex
	released chan struct{}
	panics   bool
}

func (stuckTransport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.stuck", New: func() caddy.Module { return new(stuckTransport) }}
}

func (*stuckTransport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*stuckTransport) RoundTrip(*http.Request) (*http.Response, error) {
	stuck.mu.Lock()
	released, panics := stuck.released, stuck.panics
	stuck.mu.Unlock()
	if panics {
		panic("no such request")
	}
	<-released
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}}, nil
}

func init() { caddy.RegisterModule(stuckTransport{}) }

// Another plugin's transport may not return, or panic: the answer comes all the same, and who
// doesn't return takes a place until it does.
func TestProbeOfAnotherTransport(t *testing.T) {
	probeFor(t, 200*time.Millisecond)
	stuck.mu.Lock()
	stuck.released, stuck.panics = make(chan struct{}), false
	stuck.mu.Unlock()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy 127.0.0.1:1 {\ntransport stuck\n}")
	query := failure.ProbeQuery{Upstream: "127.0.0.1:1"}
	p := askAgain(c, query)
	if p.OK || p.Cause != "unknown" || !strings.Contains(fmt.Sprint(p.NotTried), "the transport has not returned") || p.Proxy.Transport != "" {
		t.Errorf("got %+v", p)
	}
	underWay := func() int {
		probing := &currentProcess().probing
		probing.mu.Lock()
		defer probing.mu.Unlock()
		return probing.underWay
	}
	if underWay() != 1 {
		t.Errorf("%d are under way", underWay())
	}
	close(stuck.released)
	testcaddy.Eventually(t, "its place is free", func() bool { return underWay() == 0 })
	if p := askAgain(c, query); !p.OK || !strings.Contains(fmt.Sprint(p.NotTried), "the transport is another plugin's") {
		t.Errorf("got %+v", p)
	}
	stuck.mu.Lock()
	stuck.panics = true
	stuck.mu.Unlock()
	if p := askAgain(c, query); p.OK || p.Cause != "unknown" || !strings.Contains(p.Error, "the transport panicked") {
		t.Errorf("got %+v", p)
	}
}
