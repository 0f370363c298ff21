package tests

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// heapInUse is what the heap holds for good.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// What a record takes in memory is little more than what it says, however much the
// client sent.
func TestHeapOfARecord(t *testing.T) {
	const requests = 300
	for _, test := range []struct {
		name string
		sent func(c *testcaddy.Caddy) string
	}{
		{"a URL of 90 kB", func(c *testcaddy.Caddy) string { return c.Request("/" + strings.Repeat("a", 90_000) + "?q=1") }},
		{"a query of 90 kB", func(c *testcaddy.Caddy) string { return c.Request("/?" + strings.Repeat("q=1&", 22_500)) }},
		{"fields of 90 kB", func(c *testcaddy.Caddy) string {
			long := strings.Repeat("a", 30_000)
			return c.Request("/", "User-Agent: "+long+"\r\n", "X-Kept: "+long+"\r\n", "X-Other: "+long+"\r\n")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.StartWith(t, roomy, "upstream_diagnostics {\nkeep_headers X-Kept\n}\nreverse_proxy "+testcaddy.Dead(t))
			ask := func(n int) {
				for range n {
					if a := c.Raw(test.sent(c)); a.Status != http.StatusBadGateway {
						t.Fatalf("got %d %v", a.Status, a.Err)
					}
				}
			}
			ask(20) // what is made once is there then
			c.Forget()
			before := heapInUse()
			ask(requests)
			list := c.Failures("limit=1000")
			if len(list) != requests {
				t.Fatalf("%d failures are kept", len(list))
			}
			text, err := json.Marshal(list[0])
			if err != nil {
				t.Fatal(err)
			}
			list = nil
			most, each := int64(2*len(text)+2<<10), int64(0)
			// What still answers the last request lets go of it soon.
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if each = (heapInUse() - before) / requests; each <= most || time.Now().After(deadline) {
					break
				}
			}
			t.Logf("%d B a record, %d B as JSON", each, len(text))
			if each > most {
				t.Errorf("a record holds %d B of memory, want at most %d", each, most)
			}
		})
	}
}
