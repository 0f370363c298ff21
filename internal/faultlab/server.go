package faultlab

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// conn is a connection that a fault may break in its own way.
type conn struct {
	net.Conn               // what the fault reads and writes
	raw      net.Conn      // what lies under TLS; the same as Conn without
	reader   *bufio.Reader // reads Conn
	number   int           // counts the upstream's connections, from 1
	closing  <-chan struct{}
	reached  func()
}

// request reads one request with its body, and throws the body away.
func (c *conn) request() (*http.Request, error) {
	r, err := c.head()
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return r, err
}

// head reads one request without its body.
func (c *conn) head() (*http.Request, error) {
	r, err := http.ReadRequest(c.reader)
	if err == nil {
		c.reached()
	}
	return r, err
}

// say writes s. An error is no concern: the other side may be gone.
func (c *conn) say(s string) { _, _ = io.WriteString(c.Conn, s) }

// reset ends the connection with a RST.
func (c *conn) reset() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.raw.Close()
}

// hold reads and forgets until the other side or the upstream's Close ends the
// connection: nothing is said, and nothing is left unread.
func (c *conn) hold() { _, _ = io.Copy(io.Discard, c.reader) }

// wait lets d pass; where time is what the fault is made of.
func (c *conn) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.closing:
	}
}

// behaviour is what an upstream does with a connection, which is closed after it.
// It runs once for each connection, also at the same time.
type behaviour func(*conn)

// server gives its connections to a behaviour, and waits for all when it is closed.
type server struct {
	listener net.Listener
	behave   behaviour
	reached  func()
	closing  chan struct{}
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once closed
	count int
}

// serve starts a server on l, that u closes.
func (u *Upstream) serve(l net.Listener, b behaviour) {
	u.behave = b
	s := &server{
		listener: l, behave: b, reached: u.hasReached,
		closing: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
	s.running.Go(s.accept)
	u.undo = append(u.undo, s.close)
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		number, ok := s.add(c)
		if !ok {
			_ = c.Close()
			return
		}
		s.running.Go(func() {
			defer s.remove(c)
			s.behave(newConn(c, c, number, s.closing, s.reached))
		})
	}
}

func newConn(c, raw net.Conn, number int, closing <-chan struct{}, reached func()) *conn {
	return &conn{Conn: c, raw: raw, reader: bufio.NewReader(c), number: number, closing: closing, reached: reached}
}

func (s *server) add(c net.Conn) (number int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return 0, false
	}
	s.conns[c] = struct{}{}
	s.count++
	return s.count, true
}

func (s *server) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	_ = c.Close()
}

func (s *server) close() error {
	close(s.closing)
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// listenTCP listens on a port of the system's choice.
func listenTCP() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// overTCP makes an upstream that behaves like b.
func overTCP(b behaviour, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		l, err := listenTCP()
		if err != nil {
			return u.fails(err)
		}
		u.To = l.Addr().String()
		u.serve(l, b)
		return u, nil
	}
}

// overUnix does so on a unix socket.
func overUnix(b behaviour, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		if err := u.serveOnSocket(b); err != nil {
			return u.fails(err)
		}
		return u, nil
	}
}

func (u *Upstream) serveOnSocket(b behaviour) error {
	dir, err := u.tempDir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	u.To = unixAddress(path)
	u.serve(l, b)
	return nil
}

// overTLS does so on a TLS port with a certificate that is trusted; b starts after
// the handshake, and its conn's Close says close_notify first.
func overTLS(b behaviour, options ...option) func() (*Upstream, error) {
	return overTLSWith(new(tls.Config), b, options...)
}

// overTLSWith does so with more settings in config.
func overTLSWith(config *tls.Config, b behaviour, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		ca, certificate, err := newCertificate(nil)
		if err != nil {
			return nil, err
		}
		config := config.Clone()
		config.Certificates = []tls.Certificate{certificate}
		u, err := overTCP(secured(config, b), options...)()
		if err != nil {
			return nil, err
		}
		if err := u.trust(ca); err != nil {
			return u.fails(err)
		}
		return u, nil
	}
}

// secured makes the handshake, then behaves like b. A handshake that fails leaves
// the connection open, so that our alert isn't lost to a reset.
func secured(config *tls.Config, b behaviour) behaviour {
	return func(c *conn) {
		secure := tls.Server(c.Conn, config)
		if secure.Handshake() != nil {
			_, _ = io.Copy(io.Discard, c.Conn)
			return
		}
		b(newConn(secure, c.raw, c.number, c.closing, c.reached))
		_ = secure.Close()
	}
}

// unixAddress is path as Caddy has it: unix//run/app.sock.
func unixAddress(path string) string { return "unix/" + path }
