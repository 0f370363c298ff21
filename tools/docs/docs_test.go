package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const root = "../.."

func TestPagesAreFresh(t *testing.T) {
	for name, make := range pages {
		t.Run(name, func(t *testing.T) {
			if name == "coverage" && runtime.GOOS != "linux" {
				t.Skip("it is told from the faults that run on Linux")
			}
			want, err := make()
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(root, "docs", name+".md"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("docs/%s.md is not what the tree says: run go generate ./...", name)
			}
		})
	}
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	links   = regexp.MustCompile(`(?:causes\.md|\]\()#([a-z_-]+)\)`)
)

// Whatever names a cause or a category by its anchor finds it.
func TestAnchorsExist(t *testing.T) {
	page, err := causesPage()
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]bool)
	for _, h := range heading.FindAllSubmatch(page, -1) {
		at := strings.ReplaceAll(string(h[1]), " ", "-") // as GitHub makes it
		if headings[at] {
			t.Errorf("the heading %s is there twice", h[1])
		}
		headings[at] = true
	}
	for _, link := range links.FindAllSubmatch(page, -1) {
		if !headings[string(link[1])] {
			t.Errorf("causes.md has no heading %s", link[1])
		}
	}
	for _, file := range []string{"README.md", "docs/operating.md", "docs/coverage.md"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`causes\.md#([^)\s"]+)`).FindAllSubmatch(text, -1) {
			if !headings[string(link[1])] {
				t.Errorf("%s leads to causes.md#%s, which is no heading", file, link[1])
			}
		}
	}
}

// No cell of the coverage is empty, and the tests that it speaks of are there.
func TestCoverageIsWhole(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "coverage.md"))
	if err != nil {
		t.Fatal(err)
	}
	cell := regexp.MustCompile(`^ (proven|(skipped|impossible) [1-9][0-9]*) $`)
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| [") {
			continue
		}
		rows++
		cells := strings.Split(strings.TrimSpace(line), "|")
		cells = cells[2 : len(cells)-1]
		if len(cells) != len(columns) {
			t.Errorf("%d cells, want %d: %s", len(cells), len(columns), line)
		}
		for _, c := range cells {
			if !cell.MatchString(c) {
				t.Errorf("a cell says %q: %s", c, line)
			}
		}
	}
	if rows == 0 {
		t.Error("the table is empty")
	}
	var tests bytes.Buffer
	files := []string{filepath.Join(root, "handler_test.go")}
	err = filepath.WalkDir(filepath.Join(root, "tests"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	for _, name := range regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllSubmatch(page, -1) {
		if !bytes.Contains(tests.Bytes(), append(append([]byte("func "), name[1]...), '(')) {
			t.Errorf("there is no %s", name[1])
		}
	}
}
