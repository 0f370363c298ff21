//go:build !windows

package terminal

import "os"

// showsColours says that a terminal obeys escapes, as all do but Windows' consoles.
func showsColours(*os.File) bool { return true }
