package host

import (
	"errors"
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

// Errno returns the system's error in err, 0 for none.
func Errno(err error) syscall.Errno {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return portable(errno)
	}
	return 0
}

// ErrnoByText finds the system's error at the end of an error's text, where the
// type is hidden: resolvers and some dialers keep the text alone.
func ErrnoByText(text string) syscall.Errno {
	for _, e := range errnos {
		if text == e.errno.Error() || strings.HasSuffix(text, ": "+e.errno.Error()) {
			return e.errno
		}
	}
	return 0
}

// ErrnoName names errno, "" for one that isn't known.
func ErrnoName(errno syscall.Errno) string {
	for _, e := range errnos {
		if e.errno == errno {
			return e.name
		}
	}
	return ""
}
