// Package host is what this machine can testify of itself: its sockets and their
// queues, networks and routes, files, limits, its clock. It asks no network, and is
// asked only once there is a failure. Linux can tell most of it; elsewhere it says less.
package host

import (
	"net"
	"time"
)

// HasIPv6 says whether any interface has an IPv6 address, the loopback included. It
// says yes where that can't be told.
func HasIPv6() bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() == nil {
			return true
		}
	}
	return false
}

// OpenFiles are the files that this process has open, by kind.
type OpenFiles struct{ Sockets, Others int }

// maxOpenFiles is up to which number they are looked at: that takes some milliseconds.
const maxOpenFiles = 4096

// OpenNow counts them, at most once in keptFor. Those numbered above 4095 are not counted:
// whole says that there can be none. known is false where none can be told.
func OpenNow() (open OpenFiles, whole, known bool) {
	list, known := files.now(time.Now())
	if !known {
		return open, false, false
	}
	return list[0], OpenFilesLimit() <= maxOpenFiles, true
}
