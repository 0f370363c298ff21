package faultlab

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// app says that this application would do the same as what the upstream does: what is
// broken is not how it speaks, so that a server of any protocol may have it.
func app(h http.HandlerFunc) option { return func(u *Upstream) { u.app = h } }

// application is u's, and tells when a request has come.
func (u *Upstream) application() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.hasReached()
		u.app(w, r)
	})
}

// answersStatus is an application's own answer, as status is.
func answersStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "the application's own words\n") // the client may be gone
	}
}

// answersCoded says of a body that it is gzip.
func answersCoded(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body)
	}
}

// answersAll reads a whole request and answers; where the request breaks off, it says
// nothing, as readsAll does.
func answersAll(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, "ok\n") // the client may be gone
}

// servesHTTP2 has Go's own server of HTTP/2 serve h, over TLS or in the clear.
func servesHTTP2(h http.Handler) behaviour {
	return func(c *conn) {
		new(http2.Server).ServeConn(c.Conn, &http2.ServeConnOpts{
			Handler:    h,
			BaseConfig: &http.Server{ErrorLog: quiet()}, //nolint:gosec // it is broken on purpose
		})
	}
}

// servesFastCGI has Go's own server of FastCGI serve h. It knows no handler that aborts.
func servesFastCGI(h http.Handler) behaviour {
	aborting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { _ = recover() }()
		h.ServeHTTP(w, r)
	})
	return func(c *conn) {
		_ = fcgi.Serve(&oneConn{Conn: c.Conn, ended: make(chan struct{})}, aborting) // always returns an error, io.EOF
	}
}

// oneConn is a listener with one connection, that is over when the connection is.
type oneConn struct {
	net.Conn
	given sync.Once
	close sync.Once
	ended chan struct{}
}

// Accept implements net.Listener.
func (o *oneConn) Accept() (c net.Conn, err error) {
	o.given.Do(func() { c = o })
	if c != nil {
		return c, nil
	}
	<-o.ended
	return nil, io.EOF
}

// Addr implements net.Listener.
func (o *oneConn) Addr() net.Addr { return o.LocalAddr() }

// Close implements net.Listener and net.Conn.
func (o *oneConn) Close() error {
	o.close.Do(func() { close(o.ended) })
	return o.Conn.Close()
}

// serveHTTP3 has quic-go's own server of HTTP/3 serve h.
func (u *Upstream) serveHTTP3(config *tls.Config, h http.Handler) error {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	carrier := &quic.Transport{Conn: socket}
	listener, err := carrier.ListenEarly(http3.ConfigureTLSConfig(config), nil)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	u.To = socket.LocalAddr().String()
	server := &http3.Server{Handler: h}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeListener(listener) // always returns an error, http.ErrServerClosed
	}()
	u.undo = append(u.undo, func() error {
		err := errors.Join(server.Close(), listener.Close(), carrier.Close(), socket.Close())
		<-ended
		return err
	})
	return nil
}
