package terminal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// environment is one in which these variables are set.
type environment map[string]string

func (e environment) get(name string) string { return e[name] }

func TestScreenOfAPipe(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, test := range map[string]struct {
		environment environment
		want        Screen
	}{
		"nothing is set":      {nil, Screen{}},
		"colours are forced":  {environment{"CLICOLOR_FORCE": "1"}, Screen{Colour: true}},
		"colours by 0":        {environment{"CLICOLOR_FORCE": "0"}, Screen{}},
		"forced, and refused": {environment{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, Screen{}},
		"a dumb terminal":     {environment{"CLICOLOR_FORCE": "1", "TERM": "dumb"}, Screen{Colour: true}},
	} {
		if got := ScreenOf(file, test.environment.get); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		if got := ScreenOf(new(bytes.Buffer), test.environment.get); got != test.want {
			t.Errorf("%s, a buffer: %+v, want %+v", name, got, test.want)
		}
	}
}
