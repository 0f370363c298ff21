package tests

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// upgrading is an upstream that upgrades each connection, and gives it out then.
func upgrading(t *testing.T) (address string, conns chan net.Conn) {
	t.Helper()
	conns = make(chan net.Conn, 16)
	address = testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		conns <- conn
	})
	return address, conns
}

// upgrade is a client's upgraded connection.
func upgrade(c *testcaddy.Caddy) net.Conn {
	c.T.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
	if err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() { conn.Close() })
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		c.T.Fatalf("%v, %v", res, err)
	}
	return conn
}

func upgradesEnded(c *testcaddy.Caddy) map[string]uint64 {
	c.T.Helper()
	var o failure.Overview
	c.AdminGet("/upstream_diagnostics", &o)
	return o.UpgradesEnded
}

// Upgraded connections that a reload closes, or an upstream breaks off, are counted and
// told of in one line. Those that somebody ends in good order are not.
func TestUpgradesEnded(t *testing.T) {
	for _, tc := range []struct {
		name, block string
		end         func(client, upstream net.Conn) // nil for a reload
		by          string                          // "" where it isn't counted
	}{
		{"a reload", "", nil, "reload"},
		{"a reload that gives time", "stream_close_delay 100ms", nil, "reload"},
		{"an upstream's reset", "", func(_, upstream net.Conn) { resetsConn(upstream) }, "upstream"},
		{"an upstream's end", "", func(_, upstream net.Conn) { upstream.Close() }, ""},
		{"a client's end", "", func(client, _ net.Conn) { client.Close() }, ""},
		{"a client's reset", "", func(client, _ net.Conn) { resetsConn(client) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, conns := upgrading(t)
			log := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, log.OfOurs(), "upstream_diagnostics\nreverse_proxy "+address+" {\n"+tc.block+"\n}")
			var clients, upstreams []net.Conn
			for range 3 {
				clients, upstreams = append(clients, upgrade(c)), append(upstreams, <-conns)
			}
			if tc.end == nil {
				if err := c.Load(log.OfOurs(), "upstream_diagnostics\nreverse_proxy "+address); err != nil {
					t.Fatal(err)
				}
			}
			for i := range clients {
				if tc.end != nil {
					tc.end(clients[i], upstreams[i])
				}
			}
			for i, client := range clients {
				// Until both ends are closed: an upstream that closes as soon as its client
				// is gone would have ended the connection itself.
				_, _ = io.Copy(io.Discard, client)
				_, _ = io.Copy(io.Discard, upstreams[i])
				client.Close()
				upstreams[i].Close()
			}
			if tc.by == "" {
				c.Idle()
				if got := upgradesEnded(c); len(got) > 0 {
					t.Errorf("counted: %v", got)
				}
				return
			}
			testcaddy.Eventually(t, "all are counted", func() bool { return upgradesEnded(c)[tc.by] == 3 })
			entry := log.Wait("upgraded connections ended", 1)[0]
			if entry["count"] != 3.0 || entry["ended_by"] != tc.by || entry["upstream"] != address {
				t.Errorf("logged: %v", entry)
			}
			if list := c.Failures(); len(list) > 0 {
				t.Errorf("recorded: %s", list[0].Summary)
			}
		})
	}
}

// resetsConn ends a connection by a reset.
func resetsConn(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// A wish to switch protocols that the config takes away is told with who took it.
func TestUpgradeTakenAway(t *testing.T) {
	address := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusUpgradeRequired)
		}
	})
	for _, test := range []struct{ name, handler, block, evidence, advice string }{
		{"by header_up", "", "header_up -Upgrade", "header_up took it away, no handler before", "Remove what header_up does"},
		{"by request_header", "request_header -Upgrade", "", `what came to reverse_proxy had Upgrade: "", Connection: "Upgrade": a handler in front of it took it away`, "Remove what request_header does"},
		{"by request_header, Connection alone", "request_header -Connection", "", `what came to reverse_proxy had Upgrade: "websocket", Connection: ""`, "Remove what request_header does"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\n"+test.handler+"\nreverse_proxy "+address+" {\n"+test.block+"\n}")
			req, err := http.NewRequest(http.MethodGet, c.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "websocket")
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			f := c.Newest("upstream_status")
			if !strings.Contains(strings.Join(f.Evidence, "\n"), test.evidence) || !strings.HasPrefix(f.Advice, test.advice) || f.Side != failure.SideProxy || res.StatusCode != http.StatusUpgradeRequired {
				t.Errorf("%d, side %s: %q\n%s", res.StatusCode, f.Side, f.Advice, strings.Join(f.Evidence, "\n"))
			}
		})
	}
}
