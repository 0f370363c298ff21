package faultlab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// heard is what a proxy heard of its last attempt.
type heard struct {
	err     error // the round trip's
	status  int
	body    string
	bodyErr error
}

// miniProxy stands in for Caddy's reverse_proxy: one attempt at the first upstream,
// with Go's transport set as the upstream's directives say.
type miniProxy struct {
	transport *http.Transport
	scheme    string
	// flush sends on what came at once; without it the client has its answer after
	// the transport has its idle connection back.
	flush bool

	mu    sync.Mutex
	last  heard
	ended chan struct{} // gets a value for each request that has ended
}

// proxied starts the fault, visits it through a miniProxy and returns what the
// proxy heard, and what the client got.
func proxied(t *testing.T, fault Fault) (heard, *Answer) {
	t.Helper()
	u, err := fault.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	p := &miniProxy{scheme: "http", ended: make(chan struct{}, 1000)}
	address := p.configure(t, u)
	handler := func(w http.ResponseWriter, r *http.Request) {
		defer func() { p.ended <- struct{}{} }()
		p.pass(w, r, address)
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	front.Config.ErrorLog = quiet()
	for _, line := range u.Servers {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "read_body "); ok {
			front.Config.ReadTimeout = duration(t, value)
		}
	}
	front.Start()
	t.Cleanup(front.Close)
	t.Cleanup(p.transport.CloseIdleConnections)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answer, err := u.Visit(ctx, front.URL)
	if err != nil {
		t.Fatalf("visit: %v", err)
	}
	select { // the last one may outlive a client that left
	case <-p.ended:
	case <-ctx.Done():
		t.Fatal("the proxy has not ended the request")
	}
	front.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, answer
}

func (p *miniProxy) pass(w http.ResponseWriter, r *http.Request, address string) {
	var h heard
	defer func() { p.mu.Lock(); p.last = h; p.mu.Unlock() }()

	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = p.scheme, address, ""
	if r.ContentLength == 0 {
		out.Body = nil
	}
	response, err := p.transport.RoundTrip(out)
	if err != nil {
		h.err = err
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	h.status = response.StatusCode
	if response.StatusCode == http.StatusSwitchingProtocols {
		w.WriteHeader(http.StatusOK)
		return
	}
	if response.ContentLength >= 0 {
		w.Header().Set("Content-Length", fmt.Sprint(response.ContentLength))
	}
	w.WriteHeader(response.StatusCode)
	flush := http.NewResponseController(w)
	buffer := make([]byte, 4096)
	for {
		n, err := response.Body.Read(buffer)
		h.body += string(buffer[:n])
		if n > 0 {
			_, _ = w.Write(buffer[:n])
		}
		if n > 0 && p.flush {
			_ = flush.Flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			h.bodyErr = err
			panic(http.ErrAbortHandler)
		}
	}
}

// configure reads the directives, as far as the faults use them, and returns the
// address to dial.
func (p *miniProxy) configure(t *testing.T, u *Upstream) string {
	t.Helper()
	dialer := &net.Dialer{Timeout: 3 * time.Second, FallbackDelay: -1}
	var readTimeout, writeTimeout time.Duration
	http2Too := true
	p.transport = &http.Transport{DisableCompression: false}
	config := &tls.Config{}
	network, address := "tcp", strings.Fields(u.To + " -")[0]
	if path, ok := strings.CutPrefix(address, "unix/"); ok {
		network, address = "unix", path
	}
	for _, line := range append(append([]string(nil), u.Transport...), u.Block...) {
		word := strings.Fields(strings.ReplaceAll(line, "`", ""))
		switch word[0] {
		case "tls":
			p.scheme = "https"
		case "tls_timeout":
			p.transport.TLSHandshakeTimeout = duration(t, word[1])
		case "tls_server_name":
			config.ServerName = word[1]
		case "tls_trust_pool":
			pem, err := os.ReadFile(word[2])
			if err != nil {
				t.Fatal(err)
			}
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(pem)
		case "tls_client_auth":
			certificate, err := tls.LoadX509KeyPair(word[1], word[2])
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{certificate}
		case "dial_timeout":
			dialer.Timeout = duration(t, word[1])
		case "read_timeout":
			readTimeout = duration(t, word[1])
		case "write_timeout":
			writeTimeout = duration(t, word[1])
		case "response_header_timeout", "response_header_timeout_after_100":
			p.transport.ResponseHeaderTimeout = duration(t, word[1])
		case "max_response_header":
			p.transport.MaxResponseHeaderBytes = bytesOf(t, word[1])
		case "local_address":
			dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(word[1])}
		case "network_proxy":
			proxy, err := url.Parse(word[2])
			if err != nil {
				t.Fatal(err)
			}
			p.transport.Proxy = http.ProxyURL(proxy)
		case "resolvers":
			resolver := word[1]
			dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp", resolver)
			}}
		case "versions":
			if word[1] == "h2c" {
				p.transport.Protocols = new(http.Protocols)
				p.transport.Protocols.SetUnencryptedHTTP2(true)
			}
			http2Too = word[1] != "1.1"
		case "flush_interval":
			p.flush = true
		case "name": // of a dynamic source
			address = word[1] + ":80"
		}
	}
	p.transport.TLSClientConfig = config
	if http2Too { // as Caddy does
		if err := http2.ConfigureTransport(p.transport); err != nil {
			t.Fatal(err)
		}
	}
	p.transport.DialContext = func(ctx context.Context, proposed, to string) (net.Conn, error) {
		if network == "unix" {
			proposed, to = network, address
		}
		c, err := dialer.DialContext(ctx, proposed, to)
		if err != nil || readTimeout+writeTimeout == 0 {
			return c, err
		}
		return &timedConn{c, readTimeout, writeTimeout}, nil
	}
	if network == "unix" {
		return "app.sock"
	}
	return address
}

// timedConn has a deadline for each read and write, as Caddy's.
type timedConn struct {
	net.Conn
	readTimeout, writeTimeout time.Duration
}

func (c *timedConn) Read(b []byte) (int, error) {
	if c.readTimeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.readTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *timedConn) Write(b []byte) (int, error) {
	if c.writeTimeout > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

func bytesOf(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSuffix(s, "KiB"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
