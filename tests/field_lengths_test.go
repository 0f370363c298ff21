package tests

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// answersEach answers each request on a connection with what answer gives, and the
// connection goes on.
func answersEach(t *testing.T, answer func(r *http.Request) string) string {
	t.Helper()
	return testcaddy.Peer(t, func(c net.Conn) {
		for in := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(c, answer(r)); err != nil {
				return
			}
		}
	})
}

// A page that is larger than what the transport reads at a time is cut at its length like
// a small one. What is too much of it is seen a moment after its end: of many visitors who
// got a part, some leave a record.
func TestLargeAnswerThatIsTooLong(t *testing.T) {
	to := answersEach(t, func(*http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000) + "tail"
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+to)
	var found *failure.Failure
	for deadline := time.Now().Add(20 * time.Second); found == nil; {
		if time.Now().After(deadline) {
			t.Fatal("no record")
		}
		if got := c.Get("/"); got.Status != http.StatusOK {
			t.Fatalf("got %d", got.Status)
		}
		for _, f := range c.Failures("cause=response_length_exceeded") {
			if f.Outcome == failure.Truncated {
				found = f
			}
		}
	}
	if evidence := strings.Join(found.Evidence, "\n"); !strings.Contains(evidence, `100000 bytes of the answer came, as announced; 4 bytes more came after its end: "tail"`) {
		t.Error(evidence)
	}
	if found.RequestSent != failure.SentYes || found.Side != failure.SideUpstream {
		t.Errorf("%+v", found)
	}
}
