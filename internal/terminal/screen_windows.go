package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// showsColours makes a console obey escapes, which some do only when they are told to.
func showsColours(console *os.File) bool {
	var mode uint32
	handle := windows.Handle(console.Fd())
	if windows.GetConsoleMode(handle, &mode) != nil {
		return false
	}
	const wanted = windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING
	return mode&wanted != 0 || windows.SetConsoleMode(handle, mode|wanted) == nil
}
