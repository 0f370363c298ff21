package listen

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"time"
)

// WriteHeader implements http.ResponseWriter. Informational statuses pass; an
// upstream's own answer may be held back (see To).
func (l *Listener) WriteHeader(status int) {
	// 1xx responses may come from a goroutine of the transport, so they touch
	// nothing of the response's. A 101 is final.
	if status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols {
		l.interim(status)
		l.ResponseWriter.WriteHeader(status)
		return
	}
	if l.response.Intercepted {
		return
	}
	if l.response.Status == 0 {
		l.response.Status = status
		l.goneBefore = l.ctx.Err() != nil
		if l.holdsBack(status) {
			l.intercept()
			return
		}
	}
	l.ResponseWriter.WriteHeader(status)
}

// interim hears an interim answer. reverse_proxy passes those of an upstream on as they
// come, which spares the attempt's trace a hook.
func (l *Listener) interim(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.current; a != nil && !l.sealed.Load() && a.FirstByte > 0 && a.Answered == 0 {
		a.Interim = int32(status)
	}
}

// holdsBack says that an answer with this status is not passed on: the owner said so,
// or it can't be.
func (l *Listener) holdsBack(status int) bool {
	wished := l.intercepts != nil && l.intercepts(status)
	unpassable := l.answers && Unpassable(status)
	return (wished || unpassable) && l.upstreamAnswered(status)
}

// intercept holds an answer back, and takes its fields out of the header again: what
// was set before it came stays. Its body is not waited for.
func (l *Listener) intercept() {
	header := l.ResponseWriter.Header()
	clear(header)
	maps.Copy(header, l.before)
	l.response.Intercepted = true
	l.before = make(http.Header) // for what is yet to be set of the answer
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		l.current.unwanted.Store(true)
	}
}

// Header implements http.ResponseWriter. An answer that is held back may still set
// fields, its trailers: nobody gets them.
func (l *Listener) Header() http.Header {
	if l.response.Intercepted {
		return l.before
	}
	return l.ResponseWriter.Header()
}

// upstreamAnswered says whether status is the last attempt's own, and nobody else has
// made something of it. The owner's routes can pass one on that is Unpassable, but make
// nothing of it; where no ear heard it come, nothing is known of the header before.
func (l *Listener) upstreamAnswered(status int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.current
	switch {
	case a == nil:
		return false
	case Unpassable(status):
		return a.Exact && a.HasAnswer() && a.Status == status && l.before != nil
	}
	return !a.handled && (a.Status == status || !a.Exact && a.FirstByte > 0)
}

// Write implements http.ResponseWriter.
func (l *Listener) Write(p []byte) (int, error) {
	if l.response.Intercepted {
		return len(p), nil
	}
	if l.response.Status == 0 {
		l.response.Status = http.StatusOK // as net/http does
	}
	begun := time.Now()
	n, err := l.ResponseWriter.Write(p)
	l.writing.Add(int64(time.Since(begun)))
	l.wrote(err)
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that sendfile stays possible.
func (l *Listener) ReadFrom(r io.Reader) (int64, error) {
	if l.response.Intercepted {
		return io.Copy(io.Discard, r)
	}
	if l.response.Status == 0 {
		l.response.Status = http.StatusOK // as net/http does
	}
	// io.Copy asks the inner writer for its ReadFrom. Whether an error is r's or
	// the client's can't be told here, so none is kept.
	return io.Copy(l.ResponseWriter, r)
}

// FlushError implements what http.ResponseController asks for.
func (l *Listener) FlushError() error {
	if l.response.Intercepted {
		return nil
	}
	if l.response.Status == 0 {
		l.response.Status = http.StatusOK // as net/http does
	}
	begun := time.Now()
	err := http.NewResponseController(l.ResponseWriter).Flush()
	l.writing.Add(int64(time.Since(begun)))
	l.wrote(err)
	return err
}

// Flush implements http.Flusher, for handlers that ask for it by its old name.
func (l *Listener) Flush() { _ = l.FlushError() }

// Hijack implements http.Hijacker.
func (l *Listener) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(l.ResponseWriter).Hijack()
	if err == nil {
		l.response.Hijacked = true
	}
	return conn, rw, err
}

// Push implements http.Pusher.
func (l *Listener) Push(target string, opts *http.PushOptions) error {
	if pusher, ok := l.ResponseWriter.(http.Pusher); ok {
		return pusher.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap lets http.ResponseController reach what this type doesn't have.
func (l *Listener) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// wrote keeps the first error of writing to the client.
func (l *Listener) wrote(err error) {
	if err != nil && l.writeErr == nil {
		l.writeErr = err
	}
}

// Interface guards
var (
	_ http.ResponseWriter = (*Listener)(nil)
	_ http.Flusher        = (*Listener)(nil)
	_ http.Hijacker       = (*Listener)(nil)
	_ http.Pusher         = (*Listener)(nil)
	_ io.ReaderFrom       = (*Listener)(nil)
)
