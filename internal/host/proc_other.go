//go:build !linux

package host

import "net/netip"

// listening can't be told here.
func listening() ([]Listener, bool) { return nil, false }

// boundUDP can't be told here.
func boundUDP() ([]Listener, bool) { return nil, false }

// socketsOfOurs can't be told here.
func socketsOfOurs() ([]string, bool) { return nil, false }

// openFiles can't be told here.
func openFiles() ([]OpenFiles, bool) { return nil, false }

// listenedPaths can't be told here.
func listenedPaths() ([]string, bool) { return nil, false }

// routes can't be told here.
func routes() ([]route, bool) { return nil, false }

// unresolvedNeighbours can't be told here.
func unresolvedNeighbours() ([]netip.Addr, bool) { return nil, false }

// ConfinedAs can't be told here.
func ConfinedAs() string { return "" }
