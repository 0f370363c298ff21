//go:build !unix

package host

import "io/fs"

func OwnerOf(fs.FileInfo) string { return "" }

func WeAre() string { return "" }

func OpenFilesLimit() uint64 { return 0 }
