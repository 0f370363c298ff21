package host

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ClockSynchronised says whether the system's clock is kept right by a time service;
// known is false where that can't be told.
func ClockSynchronised() (synchronised, known bool) {
	if filtered() {
		return false, false
	}
	var clock unix.Timex
	if _, err := unix.Adjtimex(&clock); err != nil {
		return false, false
	}
	return clock.Status&unix.STA_UNSYNC == 0, true
}

// filtered says that this process's system calls are filtered: one that sets clocks as
// well may then be the end of it (SystemCallFilter=@system-service of systemd).
var filtered = sync.OnceValue(func() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err != nil || !strings.Contains(string(status), "\nSeccomp:\t0\n")
})
