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
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
)

// MaxHead is how many bytes are kept of what an upstream sent first: most answers'
// header is in it.
const MaxHead = 1 << 10

// lastChunk is how a body in chunks ends, if no trailer follows (RFC 9112, 7.1).
const lastChunk = "0\r\n\r\n"

// Wire is a connection that remembers a little of what went over it: enough to tell a
// line that is wrong from one that was cut off, whether a byte of the request left and
// arrived, and who ended it.
type Wire struct {
	net.Conn
	// past is that of the upstream that it leads to; nil where nobody keeps it.
	past *Past
	// shared says that it serves many requests at a time, so that what went over it is
	// no single request's.
	shared bool
	// encrypted says that TLS is spoken over it.
	encrypted bool
	// writing says that the sending of the request has begun: an answer may come before
	// that is told to have been written.
	writing bool
	end     End

	mu sync.Mutex
	// requests counts those that got it.
	requests int32
	// Of the connection as a whole, since the process began; 0 says never. idle is since
	// when nobody has it.
	opened, received, sent, ended, idle time.Duration
	tcp                                 *host.TCPInfo
	// read counts the bytes that were, begun those of them that the request found.
	read, begun int64

	now    Carried
	answer lastAnswer
}

// Carried is what went over a connection since its request got it; of one that is
// shared, since it began.
type Carried struct {
	// Sent and Received count bytes, on a TLS connection the encrypted ones.
	Sent, Received int64
	// Head are the first bytes received, Tail the last ones.
	Head []byte
	Tail [len(lastChunk)]byte
	// Arrived counts the bytes that had come when writing found the connection ended,
	// whether they were read or not, and one more where the peer had closed it; 0 where
	// that can't be told.
	Arrived int64
	// ReadErr is the error that ended reading: io.EOF where the peer closed.
	ReadErr error
	// Encrypted says that Head and Tail can't be read.
	Encrypted bool
}

// Link is what was heard of a connection as a whole. A time is since the request's
// start, and negative for what was before.
type Link struct {
	// Opened is when it was dialled.
	Opened time.Duration
	// Requests is how many requests it had carried before this one.
	Requests int
	// Shared says that it carries others at the same time.
	Shared bool
	// Sent and Received are when bytes went over it last; nil for never.
	Sent, Received *time.Duration
	// End says who ended it, Ended when; EndNone where it is open.
	End   End
	Ended time.Duration
	// TCP is what the kernel knew of it: when our side closed it, else when it was asked
	// for what it carried; nil where that can't be told.
	TCP *host.TCPInfo
	// Previous is the answer to the request before; nil where none was heard.
	Previous *Previous
}

// End says who ended a connection.
type End uint8

const (
	// EndNone: nobody has.
	EndNone End = iota
	// EndClosed: the peer closed it, properly.
	EndClosed
	// EndReset: the peer reset it, or somebody on the way in its name.
	EndReset
	// EndLost: the system gave it up, because nothing came back.
	EndLost
	// EndOurs: our side closed it.
	EndOurs
)

// ByPeer says that it wasn't our side that ended a connection, nor the network.
func (e End) ByPeer() bool { return e == EndClosed || e == EndReset }

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
	header := headerEnd(c.Head)
	if header == 0 {
		return false, false
	}
	_, fields, _ := bytes.Cut(c.Final(), []byte("\r\n"))
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
	return c.Received >= header+length, true
}

// NewWire listens to what goes over conn, which leads to the upstream with this past; nil
// for one of which none is kept.
func NewWire(conn net.Conn, past *Past) *Wire {
	return &Wire{Conn: conn, opened: time.Since(began), past: past}
}

// NewSharedWire is NewWire for a connection that serves many requests at a time.
func NewSharedWire(conn net.Conn, past *Past) *Wire {
	w := NewWire(conn, past)
	w.shared = true
	return w
}

// Read implements net.Conn.
func (w *Wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	if n > 0 {
		if missing := MaxHead - len(w.now.Head); missing > 0 {
			w.now.Head = append(w.now.Head, p[:min(n, missing)]...)
		}
		w.now.Received += int64(n)
		w.read += int64(n)
		last := p[max(0, n-len(w.now.Tail)):n]
		copy(w.now.Tail[:], w.now.Tail[len(last):])
		copy(w.now.Tail[len(w.now.Tail)-len(last):], last)
		w.received = time.Since(began)
		w.overran(p[:n])
	}
	idle := time.Duration(0)
	if err != nil {
		if w.now.ReadErr == nil {
			w.now.ReadErr = err
		}
		if w.endedBy(err) && w.end.ByPeer() && w.idle > 0 {
			idle = w.ended - w.idle
		}
	}
	w.mu.Unlock()
	w.past.IdleDied(idle)
	return n, err
}

// endedBy hears the error that a read or a write failed with, and says whether it is the
// first that ended the connection. The caller holds the lock.
func (w *Wire) endedBy(err error) bool {
	if w.end != EndNone {
		return false
	}
	if w.end = endOf(err); w.end == EndNone {
		return false
	}
	w.ended = time.Since(began)
	return true
}

// endOf says who ended a connection on which a read or a write fails with err; EndNone
// where it goes on, as after a deadline.
func endOf(err error) End {
	switch {
	case err == io.EOF:
		return EndClosed
	case errors.Is(err, net.ErrClosed):
		return EndOurs
	}
	switch host.Errno(err) {
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return EndReset
	case syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN:
		return EndLost
	}
	return EndNone
}

// Write implements net.Conn.
func (w *Wire) Write(p []byte) (int, error) {
	w.writes()
	n, err := w.Conn.Write(p)
	w.wrote(int64(n), err)
	return n, err
}

func (w *Wire) writes() {
	w.mu.Lock()
	w.writing = true
	w.mu.Unlock()
}

func (w *Wire) wrote(n int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.now.Sent += n
		w.sent = time.Since(began)
	}
	if err == nil || !w.endedBy(err) || w.shared {
		return
	}
	if info := tcpInfo(w.Conn); info != nil {
		w.now.Arrived = max(0, info.Received-w.begun)
	}
}

// Close implements net.Conn. Where our side ends the connection while something is
// awaited, what the kernel knows of it is asked for first: then it is gone.
func (w *Wire) Close() error {
	w.mu.Lock()
	idle := time.Duration(0)
	if w.end == EndNone {
		w.end, w.ended = EndOurs, time.Since(began)
		if w.awaits() {
			w.tcp = tcpInfo(w.Conn)
		}
		switch {
		case w.tcp != nil && w.tcp.PeerClosed:
			w.end = EndClosed
		case w.encrypted && w.idle > 0 && w.received > w.idle:
			// A peer that closes over TLS says so first, which nobody reads past.
			w.end, w.ended = EndClosed, w.received
			idle = w.ended - w.idle
		}
	}
	w.mu.Unlock()
	w.past.IdleDied(idle)
	return w.Conn.Close()
}

// awaits says that something was sent and nothing has come since. The caller holds the
// lock.
func (w *Wire) awaits() bool { return w.sent > w.received }

func tcpInfo(conn net.Conn) *host.TCPInfo {
	info, ok := host.TCPInfoOf(conn)
	if !ok {
		return nil
	}
	return &info
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
	w.writes()
	n, err := io.Copy(w.Conn, r)
	if ofReader(err) {
		w.wrote(n, nil)
	} else {
		w.wrote(n, err)
	}
	return n, err
}

// ofReader says that copying failed with reading, which is not the connection's doing: the
// client's own may have been reset.
func ofReader(err error) bool {
	for err != nil {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok {
			return false
		}
		if op.Op == "read" {
			return true
		}
		err = op.Err
	}
	return false
}

// begin hears that a request got the connection. What came before counts in the clear,
// on a fresh one: it is the upstream's greeting. It gives the request's number.
func (w *Wire) begin(fresh, encrypted, shared bool) int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	w.idle, w.encrypted, w.shared = 0, encrypted, w.shared || shared
	w.answer.end, w.writing = 0, false
	w.begun = w.read
	if (!fresh || encrypted) && !w.shared {
		w.now = Carried{Head: w.now.Head[:0]}
	}
	return w.requests
}

// movedOn says that the connection is another request's by now: the transport hands it on
// before it tells that an answer came, or has ended. What goes over it is that one's. A
// connection that is shared is nobody's alone. The caller holds the lock.
func (w *Wire) movedOn(request int32) bool { return !w.shared && w.requests != request }

// rest hears that a request is over, which leaves the connection idle. One that is shared
// may have others.
func (w *Wire) rest(request int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shared || w.movedOn(request) {
		return
	}
	w.idle = time.Since(began)
	w.endsInChunks()
}

// heard is what is known of the connection as a whole and what went over it, for the
// request that begin numbered so, 0 for one that was never sent, and which began at start,
// since the process began. Both are nil where another has the connection.
func (w *Wire) heard(request int32, start time.Duration) (*Link, *Carried) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.movedOn(request) {
		return nil, nil
	}
	return w.link(start), w.carried()
}

// carried is what went over since begin. The caller holds the lock.
func (w *Wire) carried() *Carried {
	c := w.now
	c.Head = append([]byte(nil), c.Head...)
	return &c
}

// link is what is known of the connection as a whole. The caller holds the lock.
func (w *Wire) link(start time.Duration) *Link {
	since := func(at time.Duration) *time.Duration {
		if at == 0 {
			return nil
		}
		at -= start
		return &at
	}
	l := &Link{
		Opened: w.opened - start, Requests: max(0, int(w.requests)-1), Shared: w.shared,
		Sent: since(w.sent), Received: since(w.received), End: w.end, TCP: w.tcp, Previous: w.previous(),
	}
	if w.end != EndNone {
		l.Ended = w.ended - start
	}
	if l.TCP == nil && w.end == EndNone && w.awaits() {
		l.TCP = tcpInfo(w.Conn)
	}
	return l
}

// whoEnded says who ended the connection, EndNone where it is open.
func (w *Wire) whoEnded() End {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
}

// wireOf finds the Wire in a connection that an attempt got, nil where there is none.
func wireOf(conn net.Conn) (w *Wire, encrypted bool) {
	if c, ok := conn.(*tls.Conn); ok {
		w, _ = c.NetConn().(*Wire)
		return w, true
	}
	w, _ = conn.(*Wire)
	return w, false
}

// isHTTP2 says that HTTP/2 was negotiated for a connection.
func isHTTP2(conn net.Conn) bool {
	c, ok := conn.(*tls.Conn)
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}
