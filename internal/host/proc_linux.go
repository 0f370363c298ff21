package host

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxTable bounds how much of one of the kernel's tables is read.
const maxTable = 256 << 10

// table goes through the rows of one of the kernel's tables, each in its fields, and
// leaves out as many as are headings; no row where it can't be read.
func table(path string, headings int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		file, err := os.Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		lines := bufio.NewScanner(io.LimitReader(file, maxTable))
		for range headings {
			lines.Scan()
		}
		for lines.Scan() {
			if !yield(strings.Fields(lines.Text())) {
				return
			}
		}
	}
}

// listening lists who listens on TCP. The kernel's table is for where its socket
// diagnosis is not to be had: to read it takes it milliseconds, because it looks for
// connections in all of a large hash table.
func listening() (found []Listener, ok bool) {
	if found, ok = diagnosedListeners(); ok {
		return found, true
	}
	return tabledListeners()
}

// tabledListeners lists who listens on TCP, as the kernel's tables have it: not how many
// each lets wait.
func tabledListeners() (found []Listener, ok bool) {
	const stateListen = "0A" // TCP_LISTEN (linux/net/tcp_states.h)
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for fields := range table(path, 1) {
			ok = true
			if len(fields) < 10 || fields[3] != stateListen {
				continue
			}
			address, known := parseSocketAddress(fields[1])
			if !known {
				continue
			}
			_, waiting, _ := strings.Cut(fields[4], ":")
			n, _ := strconv.ParseUint(waiting, 16, 31) // the field is the kernel's own
			found = append(found, Listener{Address: address, Waiting: int(n), Backlog: -1, inode: fields[9]})
		}
	}
	return found, ok
}

// parseSocketAddress reads 0100007F:1F90: the address in words of the machine's own
// order.
func parseSocketAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	addr, ok := parseAddress(host)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, uint16(n)), true
}

func parseAddress(s string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw)%4 != 0 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return addr.Unmap(), ok
}

// maxOwnFiles is how many of this process's open files are looked at for a socket.
const maxOwnFiles = 4096

// socketsOfOurs lists the sockets that this process has open, by their inodes.
func socketsOfOurs() ([]string, bool) {
	folder, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil, false
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(maxOwnFiles)
	var found []string
	for _, name := range names {
		to, err := os.Readlink("/proc/self/fd/" + name)
		if inode, ok := strings.CutPrefix(to, "socket:["); ok && err == nil {
			found = append(found, strings.TrimSuffix(inode, "]"))
		}
	}
	return found, true
}

// listenedPaths lists the paths at which unix sockets were bound that somebody listens on.
func listenedPaths() (found []string, ok bool) {
	const acceptsConnections = 1 << 16 // __SO_ACCEPTCON (linux/net.h)
	for fields := range table("/proc/net/unix", 1) {
		ok = true
		if len(fields) < 8 {
			continue
		}
		if flags, err := strconv.ParseUint(fields[3], 16, 32); err == nil && flags&acceptsConnections != 0 {
			found = append(found, fields[7])
		}
	}
	return found, ok
}

// routes reads the main table: addresses of the kernel's own order and masks for IPv4,
// plain hexadecimal and a length for IPv6.
func routes() (found []route, ok bool) {
	const (
		up     = 0x1   // RTF_UP
		reject = 0x200 // RTF_REJECT (linux/route.h)
	)
	for fields := range table("/proc/net/route", 1) {
		ok = true
		if len(fields) < 8 {
			continue
		}
		to, known := parseAddress(fields[1])
		gateway, _ := parseAddress(fields[2])
		flags, err := strconv.ParseUint(fields[3], 16, 32)
		mask, isMask := parseAddress(fields[7])
		if !known || !isMask || err != nil || flags&up == 0 && flags&reject == 0 {
			continue
		}
		bits := 0
		for _, b := range mask.AsSlice() {
			for ; b&0x80 != 0; b <<= 1 {
				bits++
			}
		}
		// A blackhole has no interface, which is written so, and no other mark.
		nowhere := flags&reject != 0 || fields[0] == "*"
		found = append(found, route{netip.PrefixFrom(to, bits), Route{Interface: fields[0], Gateway: gateway}, nowhere})
	}
	for fields := range table("/proc/net/ipv6_route", 0) {
		ok = true
		if len(fields) < 10 {
			continue
		}
		to, err1 := hex.DecodeString(fields[0])
		bits, err2 := strconv.ParseUint(fields[1], 16, 8)
		gateway, err3 := hex.DecodeString(fields[4])
		flags, err4 := strconv.ParseUint(fields[8], 16, 64)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil || flags&up == 0 && flags&reject == 0 {
			continue
		}
		network, known := netip.AddrFromSlice(to)
		by, _ := netip.AddrFromSlice(gateway)
		if nowhere := flags&reject != 0; known && (nowhere || fields[9] != "lo") {
			found = append(found, route{netip.PrefixFrom(network, int(bits)), Route{Interface: fields[9], Gateway: by}, nowhere})
		}
	}
	return found, ok
}

// ConfinedAs is the label by which a security policy knows this process (SELinux, AppArmor);
// "" for none.
func ConfinedAs() string {
	label, err := os.ReadFile("/proc/self/attr/current")
	if err != nil || strings.Contains(string(label), "unconfined") {
		return ""
	}
	return strings.Trim(string(label), "\x00\n")
}

// unresolvedNeighbours lists the addresses on this machine's networks that were asked for
// (ARP), and to which nobody has answered.
func unresolvedNeighbours() (found []netip.Addr, ok bool) {
	const incomplete = "0x0" // no ATF_COM (linux/if_arp.h)
	for fields := range table("/proc/net/arp", 1) {
		ok = true
		if len(fields) < 3 || fields[2] != incomplete {
			continue
		}
		if addr, err := netip.ParseAddr(fields[0]); err == nil {
			found = append(found, addr)
		}
	}
	return found, ok
}

// openFiles counts what this process has open. Each number is asked for by itself: to list
// the folder takes a descriptor, and none may be left.
func openFiles() ([]OpenFiles, bool) {
	var open OpenFiles
	limit := int(min(OpenFilesLimit(), maxOpenFiles)) //nolint:gosec // at most maxOpenFiles
	for number := range limit {
		target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(number))
		switch {
		case err != nil:
		case strings.HasPrefix(target, "socket:"):
			open.Sockets++
		default:
			open.Others++
		}
	}
	return []OpenFiles{open}, open.Sockets+open.Others > 0
}
