// Command compiles says whether the Go packages below the working directory, tests
// included, compile for the system that GOOS names. It checks the types of all that they
// are made of and makes no code, which for Caddy takes minutes.
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/packages"
)

func main() {
	loaded, err := packages.Load(&packages.Config{Mode: packages.LoadAllSyntax, Tests: true}, "./...")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(loaded) == 0 || packages.PrintErrors(loaded) > 0 {
		os.Exit(1)
	}
}
