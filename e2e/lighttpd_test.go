//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

// startLighttpd starts a lighttpd whose files are those of its directory, with these
// directives, and gives its address.
func startLighttpd(t *testing.T, directives string) string {
	t.Helper()
	lighttpd := program(t, "lighttpd", "lighttpd")
	dir, address := workDir(t), freeAddress(t)
	write(t, filepath.Join(dir, "index.html"), "fine")
	config := write(t, filepath.Join(dir, "lighttpd.conf"), fmt.Sprintf(`
server.document-root = "%[1]s"
server.upload-dirs = ("%[1]s")
server.bind = "127.0.0.1"
server.port = %[2]d
index-file.names = ("index.html")
%[3]s
`, dir, portOf(t, address), directives))
	startPart(t, dir, lighttpd, "-D", "-f", config).listening(t, "tcp", address)
	return address
}
