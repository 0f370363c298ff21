package cause

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// fullQueue listens with the shortest queue and fills it, so that the system lets
// the next connect wait (TCP) or refuses it with EAGAIN (unix).
func fullQueue(t *testing.T, family int, address syscall.Sockaddr) syscall.Sockaddr {
	t.Helper()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, address); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		filler, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(filler) })
		_ = syscall.Connect(filler, bound)
	}
	return bound
}

func TestFullQueues(t *testing.T) {
	t.Run("TCP", func(t *testing.T) {
		bound := fullQueue(t, syscall.AF_INET, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
		f := Diagnose(to(t, address, limited(failure.DialTimeout, short)).ask(t))
		if f == nil {
			t.Fatal("nothing was found")
		}
		check(t, f)
		if f.Cause != SocketBacklogFull.Name || f.Side != failure.SideUpstream || f.Limit == nil || f.Limit.Name != failure.DialTimeout || f.RequestSent != failure.SentNo {
			t.Errorf("%s %s by %+v, sent %s: %q", f.Cause, f.Side, f.Limit, f.RequestSent, f.Error)
		}
		if all := strings.Join(f.Evidence, "\n"); !strings.Contains(all, "wait") || !strings.Contains(all, " to be accepted at "+address+" (backlog 0, and Linux takes one more)") {
			t.Errorf("evidence:\n%s", all)
		}
	})
	t.Run("unix", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.sock")
		fullQueue(t, syscall.AF_UNIX, &syscall.SockaddrUnix{Name: path})
		f := Diagnose(to(t, path, unixSocket).ask(t))
		if f == nil {
			t.Fatal("nothing was found")
		}
		check(t, f)
		if f.Cause != SocketBacklogFull.Name || f.Attempts[0].Errno != "EAGAIN" {
			t.Errorf("%s, errno %s: %q", f.Cause, f.Attempts[0].Errno, f.Error)
		}
	})
}

func TestLocalAddressIsNotOurs(t *testing.T) {
	p := to(t, serve(t, hold), func(p *proxy) {
		p.transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}).DialContext
	})
	if f := Diagnose(p.ask(t)); f == nil || f.Cause != LocalAddressUnavailable.Name {
		t.Errorf("%+v", f)
	}
}
