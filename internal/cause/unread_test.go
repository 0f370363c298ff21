package cause

import (
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// An upload that an upstream refuses unread: over TLS the end of the connection looks like
// that of a refused client certificate, unless more came since the handshake than an alert.
func TestUploadRefusedUnread(t *testing.T) {
	unwritten := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	unreadable := &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
	overTLS := func(carried listen.Carried, change func(*listen.Attempt)) listen.Attempt {
		return sentAttempt(func(a *listen.Attempt) {
			carried.Encrypted, carried.Sent = true, 1<<16
			a.TLS, a.Connection.Carried, a.Connection.Link = true, &carried, &listen.Link{End: listen.EndReset}
			a.RequestBytes, a.WriteErr, a.Err, a.Before = 1<<16, unwritten, unwritten, &listen.Before{Answers: 1}
			if change != nil {
				change(a)
			}
		})
	}
	answered := func(status int) func(*listen.Attempt) {
		return func(a *listen.Attempt) {
			a.FirstByte, a.Answered, a.Status, a.Err, a.WriteErr, a.Body.Err, a.Body.Expected = 5*millisecond, 6*millisecond, status, nil, nil, unreadable, 9
			a.Request = &http.Request{ContentLength: 1 << 20}
		}
	}
	inTheClear := func(arrived int64, limits *failure.Limits) listen.Attempt {
		return overTLS(listen.Carried{Arrived: arrived}, func(a *listen.Attempt) {
			a.TLS, a.Connection.Carried.Encrypted, a.Before, a.Limits = false, false, &listen.Before{}, limits
		})
	}
	withoutBody := func(a *listen.Attempt) { a.RequestBytes = -1 }
	for _, test := range []struct {
		name    string
		attempt listen.Attempt
		want    *Row
		says    string
	}{
		{"nothing came", overTLS(listen.Carried{}, nil), Unknown, "or an upload that is refused unread (413, 401)"},
		{"nothing came, and nothing was uploaded", overTLS(listen.Carried{}, withoutBody), Unknown, "a missing or refused client certificate looks like this, and so does a crash"},
		{"an alert came", overTLS(listen.Carried{Received: 24}, nil), Unknown, "client certificate"},
		{"an alert came, unread", overTLS(listen.Carried{Arrived: 24}, nil), Unknown, "client certificate"},
		{"tickets came", overTLS(listen.Carried{Received: 574}, nil), RequestWriteFailed, "it had accepted the handshake"},
		{"an answer came, unread", overTLS(listen.Carried{Arrived: 300}, nil), RequestWriteFailed, "it had accepted the handshake"},
		{"an answer began", overTLS(listen.Carried{Received: 300}, func(a *listen.Attempt) { a.FirstByte = 4 * millisecond }), RequestWriteFailed, "an answer began while the request was still being sent"},
		{"an answer broke off", overTLS(listen.Carried{Received: 300}, answered(http.StatusRequestEntityTooLarge)), RequestWriteFailed, "an answer had begun before the upload was sent: 413"},
		{"an answer that is none to the upload broke off", overTLS(listen.Carried{Received: 300}, answered(http.StatusOK)), ResponseTruncated, "0 of 9 bytes"},
		{"an answer came in the clear, unread", inTheClear(200, handler), RequestWriteFailed, "bytes had come that were not read"},
		{"its end alone came in the clear", inTheClear(1, handler), RequestWriteFailed, "this upstream had not answered anything"},
		{"nothing came in the clear", inTheClear(0, handler), RequestWriteFailed, "this upstream had not answered anything"},
		{"an answer to a PROXY header", inTheClear(200, &failure.Limits{Transport: "http", ProxyProtocol: "v1"}), RequestWriteFailed, "a PROXY protocol header (v1) was sent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(heard(func(h *listen.Heard) { h.Panicked, h.Response.Status = test.attempt.Status != 0, test.attempt.Status }, test.attempt))
			if f == nil || f.Cause != test.want.Name || f.Cause != Unknown.Name && f.Side != failure.SideUpstream {
				t.Fatalf("%+v", f)
			}
			if !strings.Contains(strings.Join(f.Evidence, "\n"), test.says) {
				t.Errorf("%q", f.Evidence)
			}
		})
	}
}
