package cause

import "net"

// What is asked of this machine, only once an errno has two meanings; replaced in
// tests.
var (
	hasIPv6     = interfacesHaveIPv6
	portsUsedUp = localPortsUsedUp
	noIPv6      = "no interface of this machine has an IPv6 address"
)

// interfacesHaveIPv6 says whether any interface has an IPv6 address, the loopback
// included. It says yes where that can't be told.
func interfacesHaveIPv6() bool {
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
