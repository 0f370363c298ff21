package testcaddy

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
)

// Break starts the broken upstream of a fault, which ends with the test, and
// gives the global options that it needs.
func Break(t *testing.T, fault faultlab.Fault) (broken *faultlab.Upstream, options string) {
	t.Helper()
	broken, err := fault.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broken.Close(); err != nil {
			t.Error(err)
		}
	})
	if len(broken.Servers) > 0 {
		options = "servers {\n" + strings.Join(broken.Servers, "\n") + "\n}"
	}
	return broken, options
}

// RunAgain runs this program again, and skips where the system doesn't allow it.
func RunAgain(t *testing.T, again *exec.Cmd) string {
	t.Helper()
	out, err := again.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		t.Fatalf("%v\n%s", err, out)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSPC):
		t.Skipf("this system does not allow it: %v", err)
	default:
		t.Fatal(err)
	}
	return string(out)
}
