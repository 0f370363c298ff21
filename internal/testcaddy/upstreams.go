package testcaddy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"testing"
)

// Upstream is a server that does what is given; its address is host:port.
func Upstream(t *testing.T, do http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(do)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Good is an upstream that answers "good".
func Good(t *testing.T) string {
	return Upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "good") })
}

// Cutting is a server that closes each connection once a request has come.
func Cutting(t *testing.T) string {
	return Upstream(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Dead is an address where nobody listens.
func Dead(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", FreePort(t)) }

// Peer is a server that does what is given with each connection, and then closes it.
func Peer(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				do(conn)
			}()
		}
	}()
	return ln.Addr().String()
}

// Blabbing is an upstream that answers with what is given, and closes.
func Blabbing(t *testing.T, answer string) string {
	t.Helper()
	return Peer(t, func(conn net.Conn) { blab(conn, answer) })
}

// Silent is an upstream that says something, and then nothing more.
func Silent(t *testing.T, says string) string {
	t.Helper()
	return Peer(t, func(conn net.Conn) {
		blab(conn, says)
		_, _ = io.Copy(io.Discard, conn)
	})
}

func blab(conn net.Conn, answer string) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = io.WriteString(conn, answer)
	}
}

// FastCGI serves scripts until the test ends.
func FastCGI(t *testing.T, scripts http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = fcgi.Serve(ln, scripts) // always returns an error
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	return ln.Addr().String()
}

// CloseWrite ends what this side sends, where a connection can do so.
func CloseWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// Reset ends a connection with a RST.
func Reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
