package listen

import (
	"io"
	"net"
	"strings"
	"testing"
)

func TestCarried(t *testing.T) {
	const sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
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
				w := NewWire(ours)
				defer w.Close()
				w.begin()
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
				if w.begin(); w.carried().Received != 0 {
					t.Error("begin forgets nothing")
				}
			})
		}
	}
}
