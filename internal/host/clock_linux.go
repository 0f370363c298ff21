package host

import "golang.org/x/sys/unix"

// ClockSynchronised says whether the system's clock is kept right by a time service;
// known is false where that can't be told.
func ClockSynchronised() (synchronised, known bool) {
	var clock unix.Timex
	if _, err := unix.Adjtimex(&clock); err != nil {
		return false, false
	}
	return clock.Status&unix.STA_UNSYNC == 0, true
}
