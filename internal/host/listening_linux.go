package host

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxSocketTable bounds how much of the kernel's list of sockets is read. Those that
// listen come first.
const maxSocketTable = 256 << 10

// listening lists the TCP addresses of this machine on which somebody listens; ok is
// false where that can't be read.
func listening() (addresses []netip.AddrPort, ok bool) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(table)
		if err != nil {
			continue // IPv6 may be off
		}
		addresses = append(addresses, readListening(io.LimitReader(file, maxSocketTable))...)
		file.Close()
		ok = true
	}
	return addresses, ok
}

func readListening(table io.Reader) []netip.AddrPort {
	const stateListen = "0A" // TCP_LISTEN (linux/net/tcp_states.h)
	var addresses []netip.AddrPort
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != stateListen {
			continue
		}
		if address, ok := parseSocketAddress(fields[1]); ok {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// parseSocketAddress reads 0100007F:1F90: the address in words of the machine's own
// order.
func parseSocketAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), true
}
