package faults

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// reusing stands before a broken upstream, and has its fault happen on a connection
// that served another request before: it answers the first request of each connection
// well, and when a second comes it joins the connection with a fresh one to the broken
// upstream. How that one ends, in good order, with a reset or without TLS's farewell,
// the proxy sees as it would without.
type reusing struct {
	network, address string      // of the broken upstream
	secure           *tls.Config // nil without TLS
	listener         net.Listener

	mu      sync.Mutex
	conns   []net.Conn
	closed  bool
	running sync.WaitGroup
}

// reuse puts one before broken, where the fault is that of a connection which can be
// reused; unfit says why it isn't. FastCGI's never are: Caddy closes them.
func reuse(t *testing.T, fault faultlab.Fault, broken *faultlab.Upstream) (unfit string) {
	t.Helper()
	has := func(word string) bool {
		return slices.ContainsFunc(broken.Transport, func(line string) bool { return strings.HasPrefix(line, word) })
	}
	switch {
	case !slices.Contains([]string{"send", "wait", "headers", "body"}, fault.Phase):
		return "it happens before there is a connection"
	case fault.Cause == "request_not_sendable":
		return "no request is ever sent"
	case fault.Name == "h2c_to_ssh", fault.Name == "h2c_to_tls":
		return "only how a connection begins tells what is spoken there"
	case broken.FastCGI:
		return "Caddy uses no connection of FastCGI again"
	case broken.Prepared():
		return "it is one of a reused connection already"
	case fault.Outcome == "rescued", strings.Contains(broken.Directives(), "lb_"):
		return "it is tried again, over another connection"
	case broken.Request.Header["Upgrade"] != "":
		return "Go's transport has connections of their own for WebSockets"
	case fault.Cause == "tls_renegotiation_refused":
		return "what goes between speaks TLS by itself"
	case has("network_proxy"), has("proxy_protocol"):
		return "something else is spoken first"
	}
	p := &reusing{network: "tcp", address: broken.To}
	to := "127.0.0.1:0"
	if path, ok := strings.CutPrefix(broken.To, "unix/"); ok {
		p.network, p.address = "unix", path
		to = filepath.Join(t.TempDir(), "app.sock")
	}
	if has("tls") {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		p.secure = &tls.Config{Certificates: server.TLS.Certificates}
		if strings.HasPrefix(fault.Name, "h2_") {
			p.secure.NextProtos = []string{"h2"}
		}
		broken.Transport = slices.DeleteFunc(broken.Transport, func(line string) bool { return strings.HasPrefix(line, "tls_trust_pool") })
		broken.Transport = append(broken.Transport, "tls_insecure_skip_verify")
	}
	var err error
	if p.listener, err = net.Listen(p.network, to); err != nil {
		t.Fatal(err)
	}
	broken.To = p.listener.Addr().String()
	if p.network == "unix" {
		broken.To = "unix/" + broken.To
	}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return ""
}

func (p *reusing) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.add(c) {
			p.running.Go(func() { p.serve(c) })
		}
	}
}

// add remembers c, to close it in the end.
func (p *reusing) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.conns = append(p.conns, c)
	return true
}

func (p *reusing) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// serve serves one connection of the proxy's.
func (p *reusing) serve(raw net.Conn) {
	defer raw.Close()
	c, protocol := raw, ""
	if p.secure != nil {
		secure := tls.Server(raw, p.secure)
		if secure.Handshake() != nil {
			return
		}
		c, protocol = secure, secure.ConnectionState().NegotiatedProtocol
	}
	reader := bufio.NewReader(c)
	first := answerFirst
	if start, err := reader.Peek(3); err == nil && string(start) == http2.ClientPreface[:3] {
		first = answerFirstStream
	}
	second := first(c, reader)
	if second == nil {
		return
	}
	rawBroken, err := net.Dial(p.network, p.address)
	if err != nil || !p.add(rawBroken) {
		return
	}
	defer rawBroken.Close()
	broken := rawBroken
	if p.secure != nil {
		config := &tls.Config{InsecureSkipVerify: true}
		if protocol != "" {
			config.NextProtos = []string{protocol}
		}
		broken = tls.Client(rawBroken, config)
	}

	var up sync.WaitGroup
	to := &sender{Writer: broken}
	up.Go(func() {
		if readErr, _ := pass(to, second); readErr != nil { // the proxy has gone
			rawBroken.Close()
		}
	})
	defer up.Wait()
	readErr, writeErr := pass(c, broken)
	switch {
	case writeErr != nil: // the proxy has gone
		rawBroken.Close()
	case errors.Is(readErr, syscall.ECONNRESET), to.wasReset():
		testcaddy.Reset(raw)
	case errors.Is(readErr, io.EOF):
		testcaddy.CloseWrite(c)
		testcaddy.CloseWrite(raw)
	default: // cut off without TLS's farewell
		testcaddy.CloseWrite(raw)
	}
}

// answerFirst answers a request well, and returns what comes from the second one on;
// nil where none comes.
func answerFirst(c net.Conn, reader *bufio.Reader) io.Reader {
	r, err := http.ReadRequest(reader)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
	if _, err := reader.Peek(1); err != nil {
		return nil
	}
	return reader
}

// answerFirstStream does so in HTTP/2. What comes from the second request on looks
// like a connection's beginning, but for the number of the stream and the settings,
// which have been agreed on.
func answerFirstStream(c net.Conn, reader *bufio.Reader) io.Reader {
	if _, err := reader.Discard(len(http2.ClientPreface)); err != nil {
		return nil
	}
	const status200 = "\x88" // HPACK's static entry 8 (RFC 7541, appendix A)
	framer := http2.NewFramer(c, reader)
	framer.WriteSettings()
	for answered := false; ; {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				framer.WritePing(true, f.Data)
			}
		case *http2.HeadersFrame:
			head := http2.HeadersFrameParam{
				StreamID: f.StreamID, BlockFragment: []byte(status200), EndStream: true, EndHeaders: true,
			}
			if !answered {
				framer.WriteHeaders(head)
				answered = true
				continue
			}
			head.BlockFragment, head.EndStream, head.EndHeaders = f.HeaderBlockFragment(), f.StreamEnded(), f.HeadersEnded()
			again := bytes.NewBufferString(http2.ClientPreface)
			http2.NewFramer(again, nil).WriteHeaders(head)
			return io.MultiReader(again, reader)
		}
	}
}

// sender remembers a reset that it met: the system tells of one only once, to who reads
// or to who writes, and what came before it is still there to be read.
type sender struct {
	io.Writer
	mu    sync.Mutex // held while it writes
	reset bool
}

// Write implements io.Writer.
func (s *sender) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.Writer.Write(p)
	s.reset = s.reset || errors.Is(err, syscall.ECONNRESET)
	return n, err
}

func (s *sender) wasReset() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reset
}

// pass passes on what comes, until one of both ends.
func pass(to io.Writer, from io.Reader) (readErr, writeErr error) {
	for buffer := make([]byte, 32<<10); ; {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return err, nil
		}
	}
}
