package host

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
)

// openCount counts the files that this process has open. Linux 6.2 and later has the
// number as the folder's size (fs/proc/fd.c, proc_fd_getattr); before, names are counted.
func openCount() (int, bool) {
	const path = "/proc/self/fd"
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	if n := info.Size(); n > 0 {
		return int(n), true
	}
	folder, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	return len(names) - 1, err == nil // without the folder itself
}

// socketsCounted counts the TCP sockets that are in use, or wait in TIME_WAIT.
func socketsCounted() int {
	return socketsInUse("/proc/net/sockstat", "TCP:") + socketsInUse("/proc/net/sockstat6", "TCP6:")
}

// States of TCP whose sockets hold a local port (linux/net/tcp_states.h): all but those that
// listen, are closed, or are only half a connection yet.
const holdingStates = 1<<1 | 1<<2 | 1<<4 | 1<<5 | 1<<6 | 1<<8 | 1<<9 | 1<<11

// maxHolding bounds how many sockets are looked at: a machine has fewer ports than that to
// one address, but there may be many addresses.
const maxHolding = 1 << 18

// portsTo finds the address to which connections hold most of these local ports.
func portsTo(first, last int) (u Usage, to netip.AddrPort, known bool) {
	counts, known := portsHeld(first, last)
	u.Limit = last - first + 1
	for address, n := range counts {
		if n > u.Used {
			u.Used, to = n, address
		}
	}
	return u, to, known
}

// portsHeld counts by the address to which connections go how many of these local ports
// they hold. Of those that others made to us no two come from one port.
func portsHeld(first, last int) (counts map[netip.AddrPort]int, known bool) {
	counts = make(map[netip.AddrPort]int)
	known = diagnose(syscall.IPPROTO_TCP, holdingStates, maxHolding, func(answer []byte) {
		if port := int(binary.BigEndian.Uint16(answer[portAt:])); port >= first && port <= last {
			counts[netip.AddrPortFrom(addressIn(answer, remoteAddressAt), binary.BigEndian.Uint16(answer[remotePortAt:]))]++
		}
	})
	return counts, known
}
