package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// LocalPortsUsedUp says whether at least as many TCP sockets are in use, or wait
// in TIME_WAIT, as there are local ports to connect from, and how many. Together
// with EADDRNOTAVAIL that is the proof. The counters are cheap to read, a list of
// all sockets wouldn't be.
func LocalPortsUsedUp() (proof string, ok bool) {
	first, last, ok := localPortRange()
	ports := last - first + 1
	used := socketsCounted()
	if !ok || used < ports {
		return "", false
	}
	return fmt.Sprintf("%d TCP sockets in use or waiting, %d local ports (%d to %d)", used, ports, first, last), true
}

// localPortRange are the first and the last of the ports that connections get.
func localPortRange() (first, last int, ok bool) {
	bounds, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(bounds))
	if len(fields) != 2 {
		return 0, 0, false
	}
	first, err1 := strconv.Atoi(fields[0])
	last, err2 := strconv.Atoi(fields[1])
	return first, last, err1 == nil && err2 == nil && last >= first
}

// socketsInUse adds up the counters inuse and tw of one line of file, 0 where it
// can't be read.
func socketsInUse(file, line string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	sum := 0
	for l := range strings.Lines(string(text)) {
		fields := strings.Fields(l)
		if len(fields) == 0 || fields[0] != line {
			continue
		}
		for i := 1; i+1 < len(fields); i += 2 {
			if fields[i] != "inuse" && fields[i] != "tw" {
				continue
			}
			if n, err := strconv.Atoi(fields[i+1]); err == nil {
				sum += n
			}
		}
	}
	return sum
}
