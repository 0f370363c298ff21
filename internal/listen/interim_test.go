package listen

import (
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

func TestInterimAnswersAreNone(t *testing.T) {
	const (
		hundred = "HTTP/1.1 100 Continue\r\n\r\n"
		hints   = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	)
	for name, test := range map[string]struct {
		head    string
		heard   int // by the trace
		hidden  bool
		interim int
		only    bool
	}{
		"nothing":                    {},
		"an answer":                  {head: "HTTP/1.1 200 OK\r\n"},
		"an upgrade":                 {head: "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
		"no status of three digits":  {head: "HTTP/1.1 1xx no\r\n\r\n"},
		"a status of four digits":    {head: "HTTP/1.1 1000 Large\r\n\r\n"},
		"100":                        {head: hundred, interim: 100, only: true},
		"100 and 103":                {head: hundred + hints, interim: 103, only: true},
		"103 that is cut":            {head: hints[:20], interim: 103, only: true},
		"100 and an answer's start":  {head: hundred + "H", interim: 100},
		"100 over TLS":               {head: "\x17\x03\x03", heard: 100, hidden: true, interim: 100, only: true},
		"nothing that tells of TLS":  {head: "\x17\x03\x03", hidden: true},
		"100 that was heard as well": {head: hundred, heard: 100, interim: 100, only: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Carried{Head: []byte(test.head), Encrypted: test.hidden}
			if interim, only := c.onlyInterim(test.heard); interim != test.interim || only != test.only {
				t.Errorf("got %d, %v, want %d, %v", interim, only, test.interim, test.only)
			}
		})
	}
	if (*Carried)(nil).Final() != nil {
		t.Error("something came over what nobody heard")
	}
}

// A body that could not be read is not the end of the connection that it was sent on.
func TestReadingABodyIsNotTheConnectionsEnd(t *testing.T) {
	reset := func(op string) error {
		return &net.OpError{Op: "readfrom", Err: &net.OpError{Op: op, Err: syscall.ECONNRESET}}
	}
	for name, test := range map[string]struct {
		err  error
		want End
	}{
		"the client was reset":   {reset("read"), EndNone},
		"the upstream was reset": {reset("write"), EndReset},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWire(readsFrom{nil, test.err}, nil)
			if _, err := w.ReadFrom(struct{ io.Reader }{strings.NewReader("x")}); err == nil {
				t.Fatal("the error is gone")
			}
			if w.end != test.want {
				t.Errorf("the end is %d, want %d", w.end, test.want)
			}
		})
	}
}

// readsFrom is a connection whose ReadFrom fails.
type readsFrom struct {
	net.Conn
	err error
}

func (r readsFrom) ReadFrom(io.Reader) (int64, error) { return 0, r.err }

// What our side has closed fails by our doing, whatever its error says.
func TestAClosedBodyFailsByOurDoing(t *testing.T) {
	for _, closed := range []bool{false, true} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", brokenBody{})
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = 7
		l := To(nil, r, nil)
		if closed {
			_ = r.Body.Close()
		}
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Fatal("the body can be read")
		}
		if h := l.Seal(nil, 0, false); h.Client.BodyErr == nil || h.Client.BodyClosed != closed {
			t.Errorf("closed: %v, heard as %v", closed, h.Client)
		}
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, syscall.EIO }
func (brokenBody) Close() error             { return nil }
