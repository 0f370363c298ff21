//go:build linux

package e2e

import (
	"path/filepath"
	"testing"
)

const rackApplication = `
run ->(env) { [200, { "content-type" => "text/plain" }, ["fine"]] }
`

// startPuma starts a Puma with these further arguments, and gives its address.
func startPuma(t *testing.T, args ...string) string {
	t.Helper()
	puma := program(t, "puma", "puma")
	dir, address := workDir(t), freeAddress(t)
	args = append(args, "--bind", "tcp://"+address, write(t, filepath.Join(dir, "config.ru"), rackApplication))
	startPart(t, dir, puma, args...).listening(t, "tcp", address)
	return address
}
