package testcaddy

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Main runs a package's tests, and fails where a goroutine is left when they are over.
func Main(m *testing.M) {
	code := m.Run()
	if code != 0 {
		os.Exit(code) // a test that failed may leave what it likes
	}
	if left := leftGoroutines(10 * time.Second); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		os.Exit(1)
	}
}

// lasting are functions whose goroutines last as long as the process, none of them
// ours, and why they do.
var lasting = []string{
	"caddy/v2.replaceLocalAdminServer",         // the last config's admin endpoint outlives caddy.Stop
	"reverseproxy.(*Upstream).fillDynamicHost", // looks for stale addresses of dynamic upstreams, for ever
	"testing.",                         // the tests themselves
	"testcaddy.Main",                   // this one
	"os/signal.",                       // Caddy listens to signals once it was imported
	"github.com/caddyserver/certmagic", // its caches have maintenance of their own
	"caddyserver/caddy/v2.init",        // the remembered state of the process
	"modules/caddytls.",                // keeps certificates and tickets until the process ends
	"go.opencensus.io/stats/view",      // a worker that its import starts
	"github.com/golang/glog",           // a flusher that its import starts
	"github.com/dgraph-io/",            // as above
	"k8s.io/klog",                      // as above
	"quic-go",                          // its transports close behind the listener
}

// leftGoroutines gives the stacks of those that don't end in time.
func leftGoroutines(within time.Duration) []string {
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		Client.CloseIdleConnections()
		left := slices.DeleteFunc(stacks(), func(stack string) bool {
			return slices.ContainsFunc(lasting, func(name string) bool { return strings.Contains(stack, name) })
		})
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// stacks gives the stack of each goroutine.
func stacks() []string {
	for size := 1 << 20; ; size *= 2 {
		buffer := make([]byte, size)
		if n := runtime.Stack(buffer, true); n < size {
			return strings.Split(strings.TrimSpace(string(buffer[:n])), "\n\n")
		}
	}
}
