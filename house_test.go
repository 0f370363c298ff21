package diagnostics

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/seed-0f014f16/caddy-upstream-diagnostics"

// rooms is the house: what each room may know of ours. Only the root and upstreams
// may import Caddy, and testcaddy, which is no part of the program: tests alone have it.
var rooms = map[string][]string{
	"failure":   {"typo"},
	"host":      {},
	"listen":    {"failure", "host"},
	"upstreams": {"failure", "listen"},
	"cause":     {"failure", "host", "listen"},
	"journal":   {"failure"},
	"redact":    {"failure"},
	"report":    {"failure", "texts"},
	"texts":     {"failure", "typo"},
	"typo":      {},
	"page":      {"failure", "report", "texts", "typo"},
	"operator":  {"failure", "cause", "report", "typo"},
	"terminal":  {"failure", "host", "report", "typo"},
	"faultlab":  {},
	"testcaddy": {"failure", "faultlab", "host"},
}

func TestHouse(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".", "./internal/...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if words[0] == modulePath {
			if slices.Contains(words, modulePath+"/internal/testcaddy") {
				t.Error("testcaddy is no part of the program")
			}
			continue
		}
		room := strings.TrimPrefix(words[0], modulePath+"/internal/")
		knows, ok := rooms[room]
		if !ok {
			t.Errorf("%s is no room of the house", room)
			continue
		}
		seen++
		for _, imported := range words[1:] {
			other, ours := strings.CutPrefix(imported, modulePath+"/internal/")
			switch {
			case ours && !slices.Contains(knows, other):
				t.Errorf("%s must not know %s", room, other)
			case imported == modulePath:
				t.Errorf("%s must not know the root", room)
			case strings.HasPrefix(imported, "github.com/caddyserver/") && room != "upstreams" && room != "testcaddy":
				t.Errorf("%s must not import Caddy (%s)", room, imported)
			case room == "listen" && !ours && strings.Contains(imported, "."):
				t.Errorf("listen is the standard library's alone, not %s", imported)
			}
		}
	}
	if seen != len(rooms) {
		t.Errorf("found %d rooms, want %d", seen, len(rooms))
	}
}
