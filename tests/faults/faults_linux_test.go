package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Routes and ports are broken in a network namespace that this test makes for
// itself, by starting itself again.
func TestKernelFaults(t *testing.T) {
	if faultlab.Isolated() {
		testFaults(t, faultlab.KernelFaults())
		return
	}
	again, err := faultlab.Isolate("-test.run=^" + t.Name() + "$")
	if err != nil {
		t.Fatal(err)
	}
	testcaddy.RunAgain(t, again)
}

// What root is never denied is tried as nobody.
func TestFaultsAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("TestFaults has tried them, for it is not root's")
	}
	// The folder of a test's program may be root's alone: this leads to the file.
	again := exec.Command("/proc/self/exe", "-test.run=^TestFaults$/^socket_forbidden$|^TestFaultsOverWays$/.*/^socket_forbidden$", "-test.v")
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	home, err := os.MkdirTemp("", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chmod(home, 0o777); err != nil { //nolint:gosec // nobody writes there
		t.Fatal(err)
	}
	again.Dir = home
	again.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"))
	out := testcaddy.RunAgain(t, again)
	for _, tried := range []string{"TestFaults/socket_forbidden", "TestFaultsOverWays/TLS/socket_forbidden"} {
		if !strings.Contains(out, "--- PASS: "+tried) {
			t.Errorf("%s was not tried:\n%s", tried, out)
		}
	}
}
