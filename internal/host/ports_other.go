//go:build !linux

package host

// LocalPortsUsedUp has no cheap proof on this system.
func LocalPortsUsedUp() (proof string, ok bool) { return "", false }
