//go:build !linux

package host

import "net/netip"

// openCount can't be told here.
func openCount() (int, bool) { return 0, false }

// localPortRange can't be told here.
func localPortRange() (first, last int, ok bool) { return 0, 0, false }

// socketsCounted can't be told here.
func socketsCounted() int { return 0 }

// portsTo can't be told here.
func portsTo(int, int) (u Usage, to netip.AddrPort, known bool) { return u, to, false }
