package terminal

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal opens a terminal that has that many columns (pts(4)).
func openTerminal(t *testing.T, columns uint16) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal can be opened here: ", err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return terminal
}

func TestScreenOfATerminal(t *testing.T) {
	terminal, unknown := openTerminal(t, 97), openTerminal(t, 0)
	for name, test := range map[string]struct {
		environment environment
		want        Screen
	}{
		"nothing is set":          {nil, Screen{Terminal: true, Colour: true, Width: 97}},
		"colours are refused":     {environment{"NO_COLOR": "1"}, Screen{Terminal: true, Width: 97}},
		"NO_COLOR is empty":       {environment{"NO_COLOR": ""}, Screen{Terminal: true, Colour: true, Width: 97}},
		"refused though forced":   {environment{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, Screen{Terminal: true, Width: 97}},
		"a dumb one":              {environment{"TERM": "dumb"}, Screen{Terminal: true, Width: 97}},
		"a dumb one that is told": {environment{"TERM": "dumb", "CLICOLOR_FORCE": "1"}, Screen{Terminal: true, Colour: true, Width: 97}},
	} {
		if got := ScreenOf(terminal, test.environment.get); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	if got := ScreenOf(unknown, environment{}.get); got != (Screen{Terminal: true, Colour: true}) {
		t.Errorf("of no width: %+v", got)
	}
}
