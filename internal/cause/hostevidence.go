package cause

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What is asked of this machine, only once an errno has two meanings; replaced in
// tests.
var (
	hasIPv6     = host.HasIPv6
	portsUsedUp = host.LocalPortsUsedUp
)

// hostEvidence is what this machine knows of a failure, where it is about this
// machine: nothing is asked over a network. address is the attempt's.
func hostEvidence(row *Row, a *listen.Attempt, address string) []string {
	if a == nil {
		return nil
	}
	switch row {
	case ConnectionRefused:
		if a.Network == "unix" {
			return socketEvidence(a.Address)
		}
		if refused, err := netip.ParseAddrPort(address); err == nil {
			return refusedEvidence(refused)
		}
	case SocketNotFound, SocketPermissionDenied:
		return socketEvidence(a.Address)
	case ResponseTimeout, ReadTimeout, TLSTimeout, ClientClosedRequest:
		return append(acknowledgedEvidence(a), waitingEvidence(address)...)
	case FileDescriptorsExhausted:
		if limit := host.OpenFilesLimit(); limit > 0 {
			return []string{"this process may have " + strconv.FormatUint(limit, 10) + " files open (ulimit -n)"}
		}
	}
	return nil
}

// refusedEvidence says who listens where a connection was refused by this machine
// itself: on the port, or next to it.
func refusedEvidence(refused netip.AddrPort) []string {
	if !refused.Addr().IsLoopback() {
		return nil // only the loopback is this machine for sure
	}
	list, known := host.Listeners()
	if !known {
		return nil
	}
	port := strconv.Itoa(int(refused.Port()))
	var near []string
	for _, l := range list {
		address := l.Address
		switch distance := int(address.Port()) - int(refused.Port()); {
		case distance == 0 && l.Serves(refused.Addr()):
			return []string{"somebody listens on " + address.String() + " now: it began only then, or its queue was full"}
		case distance == 0:
			return []string{"port " + port + " is listened on at " + address.Addr().String() + ", not at " + refused.Addr().String()}
		case distance >= -neighbours && distance <= neighbours && l.Serves(refused.Addr()) && len(near) == 0:
			near = append(near, "somebody listens on "+address.String())
		}
	}
	return append([]string{"nobody listens on port " + port + " of this machine"}, near...)
}

// neighbours is how far from the port somebody is looked for.
const neighbours = 10

// socketEvidence says whose a socket is, or how far its path leads.
func socketEvidence(path string) []string {
	info, err := os.Stat(path)
	if err == nil {
		return socketLines(path, info)
	}
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err == nil {
			return socketLines(folder, info)
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

func socketLines(path string, info os.FileInfo) []string {
	lines := []string{cut(path+": "+host.OwnerOf(info)+"mode "+info.Mode().String(), maxEvidence)}
	if who := host.WeAre(); who != "" {
		lines = append(lines, who)
	}
	return lines
}
