//go:build linux

package e2e

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A server whose only worker is busy takes connections until its queue is full: who waits
// there is told, and that the network is well.
func TestAcceptQueue(t *testing.T) {
	t.Parallel()
	address := startGunicorn(t, "--workers", "1", "--timeout", "600", "--backlog", "2")
	c := startCaddy(t, `
	reverse_proxy `+address+` {
		transport http {
			dial_timeout 500ms
			response_header_timeout 1s
		}
	}`)
	// The worker is busy, as soon as nobody else is answered any more.
	busy, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := busy.Write([]byte("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	await(t, "the worker is busy", func() bool {
		res, err := client.Get(c.url + "/busy")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode != 200
	})
	f := c.recorded(t, "/busy")
	want{
		status: 504, cause: "response_timeout", phase: failure.PhaseWait, side: failure.SideUpstream,
		outcome: failure.Failed, sent: failure.SentMaybe,
		evidence: []string{
			`^the other end acknowledged every byte of the request`,
			`wait.? to be accepted at ` + address + ` \(backlog 2, and Linux takes one more\): the application accepts none$`,
		},
	}.check(t, f)
	if !strings.Contains(f.Advice, "connections wait there to be accepted") || strings.Contains(f.Advice, "raise response_header_timeout") {
		t.Errorf("advice: %s", f.Advice)
	}

	await(t, "the queue is full", func() bool {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return errors.Is(err, os.ErrDeadlineExceeded)
	})
	if res, err := client.Get(c.url + "/full"); err != nil {
		t.Fatal(err)
	} else {
		res.Body.Close()
	}
	f = c.recorded(t, "/full")
	want{
		status: 502, cause: "socket_backlog_full", phase: failure.PhaseConnect, side: failure.SideUpstream,
		outcome: failure.Failed, sent: failure.SentNo,
		evidence: []string{`^3 connections wait to be accepted at ` + address + ` \(backlog 2, and Linux takes one more\)$`, `dial_timeout 500 ms`},
	}.check(t, f)
	if !strings.Contains(f.Advice, "workers") {
		t.Errorf("advice: %s", f.Advice)
	}
}
