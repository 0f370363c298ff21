// Package faultlab is a laboratory of broken upstreams, for tests and for the
// demo: each fails in one way that a reverse proxy meets in the field, on loopback
// and without other programs.
package faultlab

import (
	"fmt"
	"runtime"
)

// Fault is one way in which an upstream fails, and what is to be said of it.
type Fault struct {
	// Name is unique: snake_case.
	Name string
	// Number is the case's number in the catalogue's notes, "" where it has none.
	Number string

	// Cause is the name of the catalogue's row that has to be found. Phase, Side
	// and Outcome are the words of the record. All are "" where it is no failure.
	Cause, Phase, Side, Outcome string
	// Status is what Caddy answers by itself; 0 where the client has left and
	// sees no answer. OrStatus is another that it may be, where two goroutines
	// of Go's transport race; 0 where there is none.
	Status, OrStatus int
	// RequestSent is the record's word for whether the request reached the
	// upstream; "" where it isn't looked at.
	RequestSent string

	// OrCause is another that it may be, and rightly, where a race decides what there
	// is to hear: who closes with bytes unread resets, and Go's transport may hide
	// what happened behind an error that tells nothing. "" where there is none.
	OrCause string

	// Skip says why the fault cannot be made here; "" where it can.
	Skip string

	// Start makes the upstream. Whoever starts it closes it.
	Start func() (*Upstream, error)
}

// Faults lists all faults, in the order of the phases.
func Faults() []Fault {
	var all []Fault
	for _, phase := range [][]Fault{
		selectFaults(), dnsFaults(), connectFaults(), tlsFaults(),
		sendFaults(), waitFaults(), headersFaults(), bodyFaults(), lengthFaults(),
		http2Faults(), http3Faults(), fastCGIFaults(), forwardProxyFaults(), wantsFaults(), endedFaults(),
	} {
		all = append(all, phase...)
	}
	return append(all, checkedFaults(all)...)
}

// Find returns the fault of that name.
func Find(name string) (Fault, error) {
	for _, fault := range Faults() {
		if fault.Name == name {
			return fault, nil
		}
	}
	return Fault{}, fmt.Errorf("no fault is named %q", name)
}

// Where a fault cannot be made, and why.
const (
	needsLinux       = "needs Linux, where a full backlog leaves the next connection waiting"
	needsUnixSockets = "needs the errors that a Unix has for its sockets"
	resetLosesData   = "Windows drops what was received when a reset follows it"
)

// unless returns reason if the system isn't fit.
func unless(fit bool, reason string) string {
	if fit {
		return ""
	}
	return reason
}

const (
	onLinux   = runtime.GOOS == "linux"
	onWindows = runtime.GOOS == "windows"
)
