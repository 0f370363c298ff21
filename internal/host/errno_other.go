//go:build !windows

package host

import "syscall"

// portable is the identity: these systems know one number for each error.
func portable(errno syscall.Errno) syscall.Errno { return errno }
