//go:build unix

package host

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// OwnerOf says whose a file is.
func OwnerOf(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("owner %d:%d, ", stat.Uid, stat.Gid)
}

// WeAre says as whom this process runs.
func WeAre() string { return fmt.Sprintf("Caddy runs as %d:%d", os.Geteuid(), os.Getegid()) }

// OpenFilesLimit is how many files this process may have open, 0 where that isn't
// known.
func OpenFilesLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on FreeBSD
}
