// Package host is what this machine can testify of itself: its sockets and their
// queues, networks and routes, files, limits, its clock. It asks no network, and is
// asked only once there is a failure. Linux can tell most of it; elsewhere it says less.
package host

import "net"

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
