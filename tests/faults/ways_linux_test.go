package faults

import (
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// What the kernel refuses is called the same over every way, too.
func TestKernelFaultsOverWays(t *testing.T) {
	if faultlab.Isolated() {
		testOverWays(t, faultlab.KernelFaults())
		return
	}
	again, err := faultlab.Isolate("-test.run=^" + t.Name() + "$")
	if err != nil {
		t.Fatal(err)
	}
	testcaddy.RunAgain(t, again)
}
