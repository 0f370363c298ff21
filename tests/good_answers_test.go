package tests

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// However an answer is framed within HTTP/1's rules, and in whatever pieces it comes: of one
// that is whole nothing is recorded.
func TestGoodAnswersLeaveNoRecord(t *testing.T) {
	var mu sync.Mutex
	var open []net.Conn
	given := make(map[string]string) // by path
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range open {
			conn.Close()
		}
	})
	peer := testcaddy.Peer(t, func(conn net.Conn) {
		mu.Lock()
		random := rand.New(rand.NewPCG(1, uint64(len(open))))
		open = append(open, conn)
		mu.Unlock()
		requests := bufio.NewReader(conn)
		for closes := false; !closes; {
			r, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			var answer string
			answer, closes = framedAnswer(random, r.Method)
			mu.Lock()
			given[r.URL.Path] = answer
			mu.Unlock()
			for rest := answer; rest != ""; {
				n := len(rest)
				if random.IntN(3) == 0 {
					n = 1 + random.IntN(n)
				}
				if _, err := io.WriteString(conn, rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+peer)
	var asked atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := asked.Add(1); n <= 1000; n = asked.Add(1) {
				method, body := []string{"GET", "HEAD", "OPTIONS", "POST"}[n%4], io.Reader(nil)
				if method == http.MethodPost {
					body = strings.NewReader(strings.Repeat("b", int(n)))
				}
				if a := c.Do(method, "/"+strconv.Itoa(int(n)), body); a.Err != nil || a.Status >= 500 {
					t.Errorf("%s /%d: %d %v", method, n, a.Status, a.Err)
				}
			}
		})
	}
	all.Wait()
	c.Idle()
	for _, f := range c.Failures() {
		t.Errorf("%s %s %q of %s %.400q", f.Outcome, f.Cause, f.Evidence, f.Request.Method, given[f.Request.URI])
	}
}

// framedAnswer is an answer, and whether the connection ends with it.
func framedAnswer(random *rand.Rand, method string) (answer string, closes bool) {
	one := func(in int) bool { return random.IntN(in) == 0 }
	var b strings.Builder
	version := func() string {
		if one(4) {
			return "HTTP/1.0"
		}
		return "HTTP/1.1"
	}
	for range random.IntN(3) {
		fmt.Fprintf(&b, "%s %d Interim\r\n", version(), []int{100, 102, 103, 199}[random.IntN(4)])
		if one(2) {
			b.WriteString("Link: </a.css>; rel=preload\r\nContent-Length: 7\r\n")
		}
		b.WriteString("\r\n")
	}
	final, status := version(), []int{200, 201, 204, 206, 301, 304, 400, 401, 404, 409, 416, 429}[random.IntN(12)]
	fmt.Fprintf(&b, "%s %d Final\r\n", final, status)
	if one(8) {
		b.WriteString("X-Long: " + strings.Repeat("x", 2000) + "\r\n")
	}
	body := strings.Repeat([]string{"a", "\r\n0\r\n\r\n", "0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}[random.IntN(4)], random.IntN(200))
	if one(6) {
		body += strings.Repeat("long", 5000)
	}
	empty := method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	closes = final == "HTTP/1.0" || one(4)
	lengthless := !empty && one(3)
	if closes = closes || lengthless; closes {
		b.WriteString("Connection: close\r\n")
	}
	switch {
	case lengthless:
		return b.String() + "\r\n" + body, true
	case empty && status == http.StatusNoContent:
		return b.String() + "\r\n", closes
	case final == "HTTP/1.0" || one(2):
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
		if !empty {
			b.WriteString(body)
		}
		return b.String(), closes
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	if empty {
		return b.String(), closes
	}
	for rest := body; rest != ""; {
		n := 1 + random.IntN(len(rest))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	b.WriteString("0\r\n")
	if one(2) {
		b.WriteString("X-Trailer: x\r\n")
	}
	return b.String() + "\r\n", closes
}
