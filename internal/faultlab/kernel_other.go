//go:build !linux

package faultlab

import (
	"errors"
	"os/exec"
)

// Isolated says that this process has a network of its own: on Linux alone.
func Isolated() bool { return false }

// Isolate runs this program again in namespaces of its own: on Linux alone.
func Isolate(...string) (*exec.Cmd, error) {
	return nil, errors.New("needs Linux, which has namespaces")
}

// KernelFaults lists the faults that need the kernel's help: on Linux alone.
func KernelFaults() []Fault { return nil }
