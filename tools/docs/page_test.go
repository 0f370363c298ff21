package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// Each of the twenty points says how it is met, and the tests that it names are there; so
// are the languages, and what a visitor is told.
func TestPageIsTold(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "page.md"))
	if err != nil {
		t.Fatal(err)
	}
	var tests bytes.Buffer
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	point := 0
	row := regexp.MustCompile("^\\| ([0-9]+) \\| [^|]+ \\| [^|]+ \\| [^|]*(`(Test|Fuzz))[^|]* \\|$")
	for line := range strings.Lines(string(page)) {
		if cells := row.FindStringSubmatch(strings.TrimSpace(line)); cells != nil {
			if point++; cells[1] != strconv.Itoa(point) {
				t.Errorf("point %d is numbered %s", point, cells[1])
			}
		}
	}
	if point != 20 {
		t.Errorf("%d points, want 20", point)
	}
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z]+`).FindAll(page, -1) {
		if !bytes.Contains(tests.Bytes(), append(append([]byte("func "), name...), '(')) {
			t.Errorf("there is no %s", name)
		}
	}
	languages, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range languages.Tags() {
		if !bytes.Contains(page, []byte("`"+tag+"`")) {
			t.Errorf("there is nothing of the language %s", tag)
		}
	}
	english, err := os.ReadFile(filepath.Join(root, "internal", "texts", "languages", "en.json"))
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(english, &keys); err != nil {
		t.Fatal(err)
	}
	for key, text := range keys {
		if text, ok := text.(string); ok && !regexp.MustCompile("(?m)^\\| `"+key+"` \\| [^|]+ \\| "+regexp.QuoteMeta(text)+" \\|$").Match(page) {
			t.Errorf("the text %s is not told as it is: %s", key, text)
		}
	}
	for situation := range texts.SituationCount {
		if title := texts.English().Words(situation).Title; !bytes.Contains(page, []byte("| "+title+" |")) {
			t.Errorf("there is nothing of %q", title)
		}
	}
}
