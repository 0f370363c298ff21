package host

import "net/netip"

// Usage is how much is in use of something of which there are Limit.
type Usage struct{ Used, Limit int }

// NearOf says that at least so many hundredths are in use.
func (u Usage) NearOf(percent int) bool { return u.Limit > 0 && u.Used*100 >= u.Limit*percent }

// Files are those that this process has open, and may have; known is false where that
// can't be told. It is cheap enough to be asked every few seconds.
func Files() (u Usage, known bool) {
	limit := OpenFilesLimit()
	used, known := openCount()
	if limit == 0 || !known {
		return u, false
	}
	return Usage{used, int(min(limit, 1<<31-1))}, true //nolint:gosec // it is in these bounds
}

// LocalPorts says of how many of the local ports connections to one address hold, that
// address which has most. known is false where less than so many hundredths of them can be
// in use at all, which is cheap to know, and where it can't be told.
func LocalPorts(percent int) (u Usage, to netip.AddrPort, known bool) {
	first, last, ok := localPortRange()
	if !ok || !(Usage{socketsCounted(), last - first + 1}).NearOf(percent) {
		return u, to, false
	}
	return portsTo(first, last)
}
