package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```")
	target = regexp.MustCompile(`(?:\]\(|src=")([^)"\s]+)[)"]`)
	// What GitHub leaves out of a heading's anchor: a link's address, and all but letters,
	// digits, hyphens and low lines.
	address = regexp.MustCompile(`\]\([^)]*\)`)
	sign    = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// What a document leads to is there: the file, and in a document the heading.
func TestLinksLeadSomewhere(t *testing.T) {
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md"))
	texts := make(map[string]string)
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		texts[document] = fenced.ReplaceAllString(strings.ReplaceAll(string(text), "\r\n", "\n"), "")
	}
	anchors := func(document string) map[string]bool {
		at := make(map[string]bool)
		for _, h := range heading.FindAllStringSubmatch(texts[document], -1) {
			name := sign.ReplaceAllString(address.ReplaceAllString(h[1], ""), "")
			at[strings.ReplaceAll(strings.ToLower(name), " ", "-")] = true
		}
		return at
	}
	followed := 0
	for _, document := range documents {
		for _, link := range target.FindAllStringSubmatch(texts[document], -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			followed++
			to := document
			if path != "" {
				to = filepath.Join(filepath.Dir(document), filepath.FromSlash(path))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s leads to %s: %v", filepath.Base(document), link[1], err)
			} else if anchor != "" && !anchors(to)[anchor] {
				t.Errorf("%s leads to %s, which is no heading", filepath.Base(document), link[1])
			}
		}
	}
	if followed == 0 {
		t.Error("no document leads anywhere")
	}
}
