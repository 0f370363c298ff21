package tests

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// turnsAway speaks HTTP/2 and takes nothing over any connection, as some servers do that
// can't bear the settings of Go's transport (golang/go#20979, alibaba/tengine#930).
func turnsAway(conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	frames := http2.NewFramer(conn, conn)
	_ = frames.WriteSettings()
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			_ = frames.WriteGoAway(0, http2.ErrCodeNo, nil)
			return
		}
	}
}

// Go's transport repeats a GET without an end over HTTP/2 while the upstream takes it over
// none of its new connections: the client leaves at last, and is not to blame.
func TestTurnedAwayByEachNewConnection(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{NextProtos: []string{"h2"}}
	server.StartTLS()
	defer server.Close()
	for _, test := range []struct {
		name, scheme, transport, cause, advice string
		secure                                 bool
	}{
		{name: "h2c", scheme: "h2c://", cause: "goaway", advice: "http:// in place of h2c:// avoids it"},
		{name: "h2", scheme: "https://", transport: "transport http {\ntls_insecure_skip_verify\n}", secure: true, cause: "client_closed_request", advice: "versions 1.1 in the transport avoids it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testcaddy.RecordsAbandoned(t)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			var connections atomic.Int32
			to := testcaddy.Peer(t, func(conn net.Conn) {
				if test.secure {
					conn = tls.Server(conn, server.TLS)
				}
				turnsAway(conn)
				if connections.Add(1) == 3*failure.MaxAttempts {
					leave()
				}
			})
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+test.scheme+to+" {\n"+test.transport+"\n}")
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := testcaddy.Client.Do(r); err == nil {
				_ = res.Body.Close()
				t.Fatalf("%s", res.Status)
			}
			f := c.Newest(test.cause)
			if f.Cause != test.cause || f.Side != failure.SideUpstream || f.Outcome != failure.Abandoned {
				t.Errorf("%s of %s, %s: %s", f.Cause, f.Side, f.Outcome, f.Summary)
			}
			says(t, f, "over a new connection and without a pause", test.advice)
		})
	}
}
