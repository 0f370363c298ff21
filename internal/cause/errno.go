package cause

import (
	"errors"
	"os"
	"strings"
	"syscall"
)

// errnos are the errors of the system that a diagnosis tells apart. All of them
// are known to every platform's syscall package; see portable for Windows.
var errnos = []struct {
	errno syscall.Errno
	name  string
}{
	{syscall.ECONNREFUSED, "ECONNREFUSED"},
	{syscall.ECONNRESET, "ECONNRESET"},
	{syscall.ECONNABORTED, "ECONNABORTED"},
	{syscall.EPIPE, "EPIPE"},
	{syscall.ETIMEDOUT, "ETIMEDOUT"},
	{syscall.EHOSTUNREACH, "EHOSTUNREACH"},
	{syscall.ENETUNREACH, "ENETUNREACH"},
	{syscall.ENETDOWN, "ENETDOWN"},
	{syscall.EINVAL, "EINVAL"},
	{syscall.EACCES, "EACCES"},
	{syscall.EPERM, "EPERM"},
	{syscall.EADDRNOTAVAIL, "EADDRNOTAVAIL"},
	{syscall.EADDRINUSE, "EADDRINUSE"},
	{syscall.EAFNOSUPPORT, "EAFNOSUPPORT"},
	{syscall.EMFILE, "EMFILE"},
	{syscall.ENFILE, "ENFILE"},
	{syscall.ENOENT, "ENOENT"},
	{syscall.ENOTDIR, "ENOTDIR"},
	{syscall.EAGAIN, "EAGAIN"},
	{syscall.ENOBUFS, "ENOBUFS"},
	{syscall.ENOTSOCK, "ENOTSOCK"},
	{syscall.EPROTOTYPE, "EPROTOTYPE"},
}

// errnoOf returns the system's error in err, 0 for none.
func errnoOf(err error) syscall.Errno {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return portable(errno)
	}
	return 0
}

// errnoByText finds the system's error at the end of an error's text, where the
// type is hidden: resolvers and some dialers keep the text alone.
func errnoByText(text string) syscall.Errno {
	for _, e := range errnos {
		if text == e.errno.Error() || strings.HasSuffix(text, ": "+e.errno.Error()) {
			return e.errno
		}
	}
	return 0
}

// errnoName names errno, "" for one that isn't known.
func errnoName(errno syscall.Errno) string {
	for _, e := range errnos {
		if e.errno == errno {
			return e.name
		}
	}
	return ""
}

// isTimeout says that a limit ran out. What the system itself gave up, or a full
// queue (EAGAIN), calls itself a timeout too: the errno goes first.
func isTimeout(err error) bool {
	if err == nil || errnoOf(err) != 0 {
		return false
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}
