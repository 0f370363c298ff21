package faultlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// maxBacklog is how many connections a backlog of 0 is given to be full: the kernel
// takes one more than it is told, and one of them may still be on its way.
const maxBacklog = 8

// fillTCPBacklog listens with a backlog of 0 and connects until nothing more is
// let in.
func fillTCPBacklog() (address string, release func() error, err error) {
	fd, err := listenSocket(syscall.AF_INET, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		return "", nil, err
	}
	closers := []func() error{func() error { return syscall.Close(fd) }}
	release = func() error { return closeAll(closers) }

	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", nil, errors.Join(err, release())
	}
	inet, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return "", nil, errors.Join(fmt.Errorf("unexpected address %T", name), release())
	}
	address = fmt.Sprintf("127.0.0.1:%d", inet.Port)
	for range maxBacklog {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return address, release, nil
		}
		if err != nil {
			return "", nil, errors.Join(err, release())
		}
		closers = append(closers, c.Close)
	}
	return "", nil, errors.Join(errNeverFull, release())
}

// listenUnheard listens where nothing of a client comes through, as behind a firewall that
// drops it.
func listenUnheard() (address string, release func() error, err error) {
	// One of Multipath TCP, as Go's own listeners are, takes no filter.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return raw.Control(dropAll) }}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), l.Close, nil
}

// dropAll drops all that comes to a socket from now on, before its TCP sees it.
func dropAll(fd uintptr) { _ = dropLonger(int(fd), 0) }

// dropLonger drops the packets that are longer than that, with the header of TCP.
func dropLonger(fd int, size uint32) error {
	return syscall.AttachLsf(fd, []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_LEN},
		{Code: syscall.BPF_JMP | syscall.BPF_JGT | syscall.BPF_K, K: size, Jt: 1},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 1 << 18},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
	})
}

// fillUnixBacklog does so at the path of a unix socket.
func fillUnixBacklog(path string) (release func() error, err error) {
	fd, err := listenSocket(syscall.AF_UNIX, &syscall.SockaddrUnix{Name: path})
	if err != nil {
		return nil, err
	}
	closers := []func() error{func() error { return syscall.Close(fd) }}
	release = func() error { return closeAll(closers) }
	for range maxBacklog {
		c, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			return release, nil
		}
		if err != nil {
			return nil, errors.Join(err, release())
		}
		closers = append(closers, c.Close)
	}
	return nil, errors.Join(errNeverFull, release())
}

func listenSocket(family int, at syscall.Sockaddr) (fd int, err error) {
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := syscall.Bind(fd, at); err != nil {
		return 0, errors.Join(os.NewSyscallError("bind", err), syscall.Close(fd))
	}
	if err := syscall.Listen(fd, 0); err != nil {
		return 0, errors.Join(os.NewSyscallError("listen", err), syscall.Close(fd))
	}
	return fd, nil
}

func closeAll(closers []func() error) error {
	var errs []error
	for _, c := range closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
