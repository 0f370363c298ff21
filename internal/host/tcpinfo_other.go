//go:build !linux

package host

import "net"

// TCPInfoOf can't be told here.
func TCPInfoOf(net.Conn) (TCPInfo, bool) { return TCPInfo{}, false }
