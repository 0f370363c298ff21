package faultlab

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"syscall"
	"testing"
)

var kernelProofs = map[string]check{
	"route_missing":     errno(syscall.ENETUNREACH, 0),
	"route_unreachable": errno(syscall.EHOSTUNREACH, 0),
	"route_prohibited":  errno(syscall.EACCES, 0),
	"route_blackhole":   errno(syscall.EINVAL, 0),
	"ports_exhausted":   errno(syscall.EADDRNOTAVAIL, 0),
	"ipv6_switched_off": errno(syscall.EADDRNOTAVAIL, 0),

	"connection_forgotten":     errno(syscall.ETIMEDOUT, 0),
	"h2_connection_forgotten":  errno(syscall.ETIMEDOUT, 0),
	"h2c_connection_forgotten": errno(syscall.ETIMEDOUT, 0),

	"request_lost":               text("timeout awaiting response headers"),
	"request_lost_read_timeout":  timeout("read"),
	"request_lost_client_leaves": is(context.Canceled),
	"h2_request_lost":            text("timeout awaiting response headers"),
	"h2c_request_lost":           text("timeout awaiting response headers"),
	"large_request_lost":         text("timeout awaiting response headers"),
	"upload_lost":                timeout("write"),
}

func TestKernelFaultsMisbehaveAsNamed(t *testing.T) {
	if !Isolated() {
		cmd, err := Isolate("-test.run=^"+t.Name()+"$", "-test.v")
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
		case errors.As(err, &exit):
			t.Fatalf("%v\n%s", err, out)
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSPC):
			t.Skipf("this system allows no user namespaces: %v", err)
		default:
			t.Fatal(err)
		}
		return
	}
	for _, fault := range KernelFaults() {
		t.Run(fault.Name, func(t *testing.T) {
			if shownByCaddy(fault.Name) {
				t.Skip("Go's own client does not speak FastCGI")
			}
			h, a := proxied(t, fault)
			if wrong := kernelProofs[fault.Name](h, a); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}
