package listen

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestCarried(t *testing.T) {
	const sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	const interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
	tests := []struct {
		name, sent      string
		inLine          bool
		complete, known bool
	}{
		{"nothing", "", false, false, false},
		{"half a line", "HTTP/1.1 20", true, false, false},
		{"a line", "HTTP/1.1 200 OK\r\n", false, false, false},
		{"half a body", sized + "123", true, false, true},
		{"a body", sized + "12345", true, true, true},
		{"half a chunk", chunked + "5\r\n123", true, false, true},
		{"chunks", chunked + "5\r\n12345\r\n0\r\n\r\n", false, true, true},
		{"half a body, after an interim answer", interim + sized + "123", true, false, true},
		{"a body, after an interim answer", interim + sized + "12345", true, true, true},
		{"an interim answer", interim, false, false, false},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n12345", true, false, false},
		{"a large header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", MaxHead) + "\r\nContent-Length: 1\r\n\r\n1", true, false, false},
	}
	for _, test := range tests {
		for _, size := range []int{1, 7, 4096} { // of a read
			t.Run(test.name, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() {
					_, _ = io.WriteString(theirs, test.sent)
					theirs.Close()
				}()
				w := NewWire(ours, nil)
				defer w.Close()
				w.begin(true, false, false)
				buffer := make([]byte, size)
				for {
					if _, err := w.Read(buffer); err != nil {
						break
					}
				}
				c := w.carried()
				complete, known := c.Complete()
				if c.EndedInLine() != test.inLine || complete != test.complete || known != test.known {
					t.Errorf("got %v %v %v", c.EndedInLine(), complete, known)
				}
				if c.Received != int64(len(test.sent)) || !strings.HasPrefix(test.sent, string(c.Head)) || len(c.Head) != min(len(test.sent), MaxHead) || c.ReadErr != io.EOF {
					t.Errorf("got %d bytes, %q, %v", c.Received, c.Head, c.ReadErr)
				}
				if w.begin(false, false, false); w.carried().Received != 0 {
					t.Error("begin forgets nothing")
				}
			})
		}
	}
}

// linked is a Wire over TCP, and its peer.
func linked(t *testing.T, past *Past) (*Wire, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWire(conn, past)
	t.Cleanup(func() { w.Close(); peer.Close() })
	w.begin(true, false, false)
	return w, peer.(*net.TCPConn)
}

// Who ended a connection is told by what a read or a write of ours found first.
func TestLinkEnd(t *testing.T) {
	read := func(t *testing.T, w *Wire) {
		t.Helper()
		if _, err := w.Read(make([]byte, 1)); err == nil {
			t.Error("something was read")
		}
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, w *Wire, peer *net.TCPConn)
		want End
	}{
		{"open", func(*testing.T, *Wire, *net.TCPConn) {}, EndNone},
		{"a deadline of ours ends nothing", func(t *testing.T, w *Wire, _ *net.TCPConn) {
			_ = w.SetReadDeadline(time.Now())
			read(t, w)
		}, EndNone},
		{"the peer closed", func(t *testing.T, w *Wire, peer *net.TCPConn) {
			peer.Close()
			read(t, w)
			w.Close()
		}, EndClosed},
		{"the peer reset", func(t *testing.T, w *Wire, peer *net.TCPConn) {
			_ = peer.SetLinger(0)
			peer.Close()
			read(t, w)
		}, EndReset},
		{"a write found that the peer reset", func(t *testing.T, w *Wire, peer *net.TCPConn) {
			_ = peer.SetLinger(0)
			peer.Close()
			for err := error(nil); err == nil; {
				_, err = w.Write([]byte("x"))
			}
		}, EndReset},
		{"we closed, then the read that was under way ended", func(t *testing.T, w *Wire, _ *net.TCPConn) {
			w.Close()
			read(t, w)
		}, EndOurs},
		{"the peer closed after we had", func(t *testing.T, w *Wire, peer *net.TCPConn) {
			w.Close()
			peer.Close()
			read(t, w)
		}, EndOurs},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, peer := linked(t, nil)
			test.do(t, w, peer)
			l := w.link(0)
			if l.End != test.want || (l.Ended != 0) != (test.want != EndNone) {
				t.Errorf("got %d at %s, want %d", l.End, l.Ended, test.want)
			}
		})
	}
}

// The kernel is asked where something is awaited, and only then.
func TestLinkTCP(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells this")
	}
	w, peer := linked(t, nil)
	if l := w.link(0); l.TCP != nil || l.Sent != nil || l.Received != nil {
		t.Errorf("of a connection that nobody used: %+v", l)
	}
	if _, err := io.WriteString(w, "request"); err != nil {
		t.Fatal(err)
	}
	if l := w.link(0); l.TCP == nil || l.Sent == nil {
		t.Errorf("while it waits: %+v", l)
	}
	if _, err := io.WriteString(peer, "answer"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if l := w.link(0); l.TCP != nil {
		t.Errorf("closed when all had come: %+v", l.TCP)
	}

	w, _ = linked(t, nil)
	if _, err := io.WriteString(w, "request"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if l := w.link(0); l.End != EndOurs || l.TCP == nil || l.TCP.Acknowledged+l.TCP.Unacknowledged != int64(len("request")) {
		t.Errorf("closed while it waited: %+v %+v", l, l.TCP)
	}
}

// What a test makes older is not older than the process.
func init() { began = began.Add(-time.Minute) }

// A connection that the peer ends between two requests died while it was idle: not one
// that ends while a request is under way, nor before the first, nor one that we close.
func TestDiedIdle(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(w *Wire, peer *net.TCPConn)
		want bool
	}{
		{"between two", func(_ *Wire, peer *net.TCPConn) { peer.Close() }, true},
		{"under way", func(w *Wire, peer *net.TCPConn) {
			w.begin(false, false, false)
			_, _ = io.WriteString(w, "request")
			_, _ = peer.Read(make([]byte, 16))
			peer.Close()
		}, false},
		{"ours", func(w *Wire, _ *net.TCPConn) { w.Close() }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			past := new(Past)
			w, peer := linked(t, past)
			_, _ = io.WriteString(w, "request")
			_, _ = peer.Read(make([]byte, 16))
			_, _ = io.WriteString(peer, "answer")
			if _, err := w.Read(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			w.rest(w.requests)
			w.idle -= LeastIdle // it is idle since then
			test.do(w, peer)
			if _, err := w.Read(make([]byte, 1)); err == nil {
				t.Fatal("something was read")
			}
			if _, died, _ := past.Idle(); (died > 0) != test.want {
				t.Errorf("died after %s", died)
			}
		})
	}
}

// What had come when writing found the connection reset counts, though nobody has read it.
func TestArrivedUnread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux's kernel says how much has come")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWire(ours, nil)
	defer w.Close()
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(theirs, text); err != nil {
			t.Fatal(err)
		}
	}
	say("handshake")
	if _, err := io.ReadFull(w, make([]byte, len("handshake"))); err != nil {
		t.Fatal(err)
	}
	w.begin(true, true, false)
	say("unread")
	if err := theirs.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := w.Write([]byte("request")); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("writing goes on")
		}
	}
	if c := w.carried(); c.Arrived != int64(len("unread")) || c.Received != 0 {
		t.Errorf("arrived %d, received %d", c.Arrived, c.Received)
	}
	if w.begin(false, true, false); w.carried().Arrived != 0 {
		t.Error("begin forgets nothing")
	}
}
