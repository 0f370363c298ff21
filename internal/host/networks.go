package host

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Networks lists the networks that this machine is in, the loopback's left out, each as
// this machine's own address in it; known is false where that can't be told.
func Networks() (list []netip.Prefix, known bool) { return networks.now(time.Now()) }

func interfaceNetworks() (list []netip.Prefix, known bool) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, false
	}
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(network.IP)
		bits, _ := network.Mask.Size()
		if ok && !addr.IsLoopback() {
			list = append(list, netip.PrefixFrom(addr.Unmap(), bits))
		}
	}
	return list, true
}

// Own says whether an address is one of this machine's.
func Own(addr netip.Addr) bool {
	if addr = addr.Unmap(); addr.IsLoopback() {
		return true
	}
	list, _ := Networks()
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// NetworkOf is the network of this machine that an address is in.
func NetworkOf(addr netip.Addr) (network netip.Prefix, found bool) {
	list, _ := Networks()
	for _, p := range list {
		if p.Contains(addr.Unmap()) {
			return p.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

// NobodyAnswers says that the system has asked on a network of this machine who has an
// address (ARP), and nobody has answered. It is told of IPv4 alone.
func NobodyAnswers(addr netip.Addr) bool {
	list, _ := unresolved.now(time.Now())
	return slices.Contains(list, addr.Unmap())
}

// Route is how packets to an address leave this machine.
type Route struct {
	Interface string
	// Gateway is the router that they go to; the unspecified address for none.
	Gateway netip.Addr
}

type route struct {
	to netip.Prefix
	Route
	// nowhere says that it lets nothing out.
	nowhere bool
}

// HasRoute says whether the system would send packets to an address out, by all its rules;
// known is false where that can't be told. Nothing is sent.
func HasRoute(addr netip.Addr) (has, known bool) {
	const discard = 9 // the port that RFC 863 has for it
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, discard)))
	if err == nil {
		return true, conn.Close() == nil
	}
	switch Errno(err) {
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EINVAL, syscall.EACCES, syscall.EADDRNOTAVAIL:
		return false, true
	}
	return false, false
}

// RouteTo is the route by which packets to an address leave, by the system's main table:
// rules that choose another table are not looked at. known is false where the table
// can't be read; found is false where it has no route.
func RouteTo(addr netip.Addr) (r Route, found, known bool) {
	list, known := routing.now(time.Now())
	longest := -1
	for _, candidate := range list {
		if bits := candidate.to.Bits(); candidate.to.Contains(addr.Unmap()) && (bits > longest || bits == longest && !found) {
			longest, found = bits, !candidate.nowhere
			r = candidate.Route
		}
	}
	if !found {
		r = Route{}
	}
	return r, found, known
}

// IsGateway says that an address is that of a router by which packets leave this machine.
// In a container's network it is the host itself.
func IsGateway(addr netip.Addr) bool {
	list, _ := routing.now(time.Now())
	return slices.ContainsFunc(list, func(r route) bool { return r.Gateway == addr.Unmap() && !addr.IsUnspecified() })
}
