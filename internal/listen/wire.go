package listen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"sync"
)

// MaxHead is how many bytes are kept of what an upstream sent first: most answers'
// header is in it.
const MaxHead = 1 << 10

// lastChunk is how a body in chunks ends, if no trailer follows (RFC 9112, 7.1).
const lastChunk = "0\r\n\r\n"

// Wire is a connection that remembers a little of what went over it for the
// request that has it: enough to tell a line that is wrong from one that was cut
// off, and whether a byte of the request left. It is only for connections that
// serve one request at a time.
type Wire struct {
	net.Conn

	mu  sync.Mutex
	now Carried
}

// Carried is what went over a connection since its request got it.
type Carried struct {
	// Sent and Received count bytes, on a TLS connection the encrypted ones.
	Sent, Received int64
	// Head are the first bytes received, Tail the last ones.
	Head []byte
	Tail [len(lastChunk)]byte
	// ReadErr is the error that ended reading: io.EOF where the peer closed.
	ReadErr error
	// Encrypted says that Head and Tail can't be read.
	Encrypted bool
}

// EndedInLine says that the connection ended in the middle of a line.
func (c *Carried) EndedInLine() bool {
	return c != nil && !c.Encrypted && c.ReadErr != nil && c.Received > 0 && c.Tail[len(c.Tail)-1] != '\n'
}

// Complete says whether all of an HTTP/1 answer came over the connection. known is
// false where that can't be told.
func (c *Carried) Complete() (complete, known bool) {
	if c == nil || c.Encrypted {
		return false, false
	}
	const end = "\r\n\r\n"
	header := bytes.Index(c.Head, []byte(end)) + len(end)
	if header < len(end) {
		return false, false
	}
	_, fields, _ := bytes.Cut(c.Head[:header], []byte("\r\n"))
	parsed, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(fields))).ReadMIMEHeader()
	if err != nil {
		return false, false
	}
	if parsed.Get("Transfer-Encoding") != "" {
		return string(c.Tail[:]) == lastChunk, true
	}
	length, err := strconv.ParseInt(parsed.Get("Content-Length"), 10, 64)
	if err != nil {
		return false, false
	}
	return c.Received >= int64(header)+length, true
}

// NewWire listens to what goes over conn.
func NewWire(conn net.Conn) *Wire { return &Wire{Conn: conn} }

// Read implements net.Conn.
func (w *Wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		if missing := MaxHead - len(w.now.Head); missing > 0 {
			w.now.Head = append(w.now.Head, p[:min(n, missing)]...)
		}
		w.now.Received += int64(n)
		last := p[max(0, n-len(w.now.Tail)):n]
		copy(w.now.Tail[:], w.now.Tail[len(last):])
		copy(w.now.Tail[len(w.now.Tail)-len(last):], last)
	}
	if err != nil && w.now.ReadErr == nil {
		w.now.ReadErr = err
	}
	return n, err
}

// Write implements net.Conn.
func (w *Wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.mu.Lock()
	w.now.Sent += int64(n)
	w.mu.Unlock()
	return n, err
}

// CloseWrite ends our half of a tunnel; the other may go on.
func (w *Wire) CloseWrite() error {
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// ReadFrom implements io.ReaderFrom: the connection takes a request's body as it
// would without us, and says so in its errors.
func (w *Wire) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.Conn, r)
	w.mu.Lock()
	w.now.Sent += n
	w.mu.Unlock()
	return n, err
}

// begin forgets what went over for the request before.
func (w *Wire) begin() {
	w.mu.Lock()
	w.now = Carried{Head: w.now.Head[:0]}
	w.mu.Unlock()
}

// carried is what went over since begin.
func (w *Wire) carried() *Carried {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.now
	c.Head = append([]byte(nil), c.Head...)
	return &c
}

// wireOf finds the Wire in a connection that an attempt got, nil where there is
// none. Connections of HTTP/2 serve many requests at a time.
func wireOf(conn net.Conn) (w *Wire, encrypted bool) {
	if c, ok := conn.(*tls.Conn); ok {
		if c.ConnectionState().NegotiatedProtocol == "h2" {
			return nil, true
		}
		w, _ = c.NetConn().(*Wire)
		return w, true
	}
	w, _ = conn.(*Wire)
	return w, false
}
