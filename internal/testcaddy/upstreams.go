package testcaddy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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

// Blabbing is an upstream that answers with what is given.
func Blabbing(t *testing.T, answer string) string {
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
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, answer)
			}
			conn.Close()
		}
	}()
	return ln.Addr().String()
}
