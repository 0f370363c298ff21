package host

import "syscall"

// Winsock's error numbers are not those that the syscall package names for
// portable code; see "Windows Sockets Error Codes".
var winsock = map[syscall.Errno]syscall.Errno{
	10013: syscall.EACCES,
	10022: syscall.EINVAL,
	10024: syscall.EMFILE,
	10038: syscall.ENOTSOCK,
	10041: syscall.EPROTOTYPE,
	10047: syscall.EAFNOSUPPORT,
	10048: syscall.EADDRINUSE,
	10049: syscall.EADDRNOTAVAIL,
	10050: syscall.ENETDOWN,
	10051: syscall.ENETUNREACH,
	10053: syscall.ECONNABORTED,
	10054: syscall.ECONNRESET,
	10055: syscall.ENOBUFS,
	10060: syscall.ETIMEDOUT,
	10061: syscall.ECONNREFUSED,
	10065: syscall.EHOSTUNREACH,
}

// portable translates Winsock's number of an error.
func portable(errno syscall.Errno) syscall.Errno {
	if known, ok := winsock[errno]; ok {
		return known
	}
	return errno
}
