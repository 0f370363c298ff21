package cause

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// How a body begins tells why it is no gzip, where that was heard.
func TestCodedAs(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"
	const chunked = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct{ name, came, says string }{
		{"text", head + "<!doctype html>\n", "as text does"},
		{"text in chunks", chunked + "64\r\n{\"order\": 1}", "as text does"},
		{"zstd", head + "\x28\xb5\x2f\xfd\x04", "as zstd does"},
		{"deflate", head + "\x78\x9c\x03", "as deflate does"},
		{"something in front", head + "Notice: x\n\x1f\x8b\x08\x00", "10 bytes of something else came before gzip's header"},
		{"after an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n" + head + "text", "as text does"},
		{"brotli", head + "\x0b\x02\x80hello\x03", ""},
		{"nothing of it", head, ""},
		{"no header's end", head[:20], ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			says, advice := (&try{Attempt: &listen.Attempt{Connection: &listen.Connection{Carried: &listen.Carried{Head: []byte(test.came)}}}}).codedAs()
			if !strings.Contains(says, test.says) || (test.says == "") != (says == "") || (advice == "") != (says == "") {
				t.Errorf("%q: %q", says, advice)
			}
		})
	}
	if says, _ := (&try{Attempt: &listen.Attempt{Connection: new(listen.Connection)}}).codedAs(); says != "" {
		t.Error(says)
	}
}

// One is no plural.
func TestReceivedOneByte(t *testing.T) {
	for want, body := range map[string]listen.Body{
		"0 of 1 byte of the answer came":                                              {Expected: 1},
		"1 of 20 bytes of the answer came":                                            {Bytes: 1, Expected: 20},
		"1 byte of the answer came, of a length that was not announced":               {Bytes: 1, Expected: -1},
		"1 byte of the answer could be unpacked; how many came packed is not counted": {Bytes: 1, Uncompressed: true},
	} {
		if got := received(&try{Attempt: &listen.Attempt{Body: body}}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// An answer of no announced length that response_buffers kept from its client until that
// left is the config's; nothing else is.
func TestHeldBack(t *testing.T) {
	const stalled = "response_stalled"
	for _, test := range []struct {
		name   string
		change func(h *listen.Heard, a *listen.Attempt)
		want   string // the cause, "" for no record
	}{
		{"events", nil, "client_closed_request"},
		{"until its end", func(_ *listen.Heard, a *listen.Attempt) { a.Limits.ResponseBuffers = -1 }, "client_closed_request"},
		{"no buffer", func(_ *listen.Heard, a *listen.Attempt) { a.Limits.ResponseBuffers = 0 }, ""},
		{"a buffer that was full", func(_ *listen.Heard, a *listen.Attempt) { a.Body.Bytes = 4096 }, ""},
		{"the client had something of it", func(h *listen.Heard, _ *listen.Attempt) { h.Client.Gone = false }, ""},
		{"a length", func(_ *listen.Heard, a *listen.Attempt) { a.Body.Expected = 100_000 }, ""},
		{"a length, and nothing came for long", func(_ *listen.Heard, a *listen.Attempt) {
			a.Body.Expected, a.End = 100_000, 30*time.Second
		}, stalled},
		{"another handler's buffer", func(_ *listen.Heard, a *listen.Attempt) { a.Limits = new(failure.Limits) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := sentAttempt(func(a *listen.Attempt) {
				a.Limits = &failure.Limits{ResponseBuffers: 4096}
				a.FirstByte, a.Answered, a.Status, a.Header = 5*millisecond, 6*millisecond, 200, http.Header{}
				a.Body = listen.Body{Expected: -1, Bytes: 13, Last: 7 * millisecond, Err: context.Canceled}
			})
			h := heard(func(h *listen.Heard) {
				h.Panicked, h.Client.Left, h.Client.Gone, h.Response.Status = true, true, true, 200
			}, a)
			if test.change != nil {
				test.change(h, &h.Attempts[0])
			}
			got := ""
			if f := Diagnose(h); f != nil {
				got = f.Cause
				if held := strings.Contains(strings.Join(f.Evidence, "\n"), "response_buffers"); f.Cause != stalled && (!held || f.Side != failure.SideProxy || f.Phase != failure.PhaseBody) {
					t.Errorf("phase %s, side %s, %q", f.Phase, f.Side, f.Evidence)
				}
			}
			if got != test.want {
				t.Errorf("recorded as %q, want %q", got, test.want)
			}
		})
	}
}
