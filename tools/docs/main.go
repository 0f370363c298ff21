// Command docs writes what is generated of the documentation: docs/causes.md, the
// catalogue for readers, and docs/coverage.md, which tells what proves each cause
// over each way to an upstream.
//
//	go run ./tools/docs            # writes both into docs/
//	go run ./tools/docs coverage   # prints one of them
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . -C ../..

// pages are the files that are generated.
var pages = map[string]func() ([]byte, error){
	"causes":   causesPage,
	"coverage": coveragePage,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	root := "."
	if len(args) == 2 && args[0] == "-C" {
		root, args = args[1], nil
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if len(args) == 1 && pages[args[0]] != nil {
		page, err := pages[args[0]]()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(page)
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("expected causes, coverage or nothing, got %q", args)
	}
	for name, make := range pages {
		page, err := make()
		if err != nil {
			return err
		}
		file := filepath.Join("docs", name+".md")
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, page) {
			continue
		}
		if err := os.WriteFile(file, page, 0o644); err != nil { //nolint:gosec // documentation is for everybody
			return err
		}
	}
	return nil
}
