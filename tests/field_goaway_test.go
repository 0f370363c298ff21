package tests

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// wantWithout fails where the only record has these words.
func wantWithout(t *testing.T, c *testcaddy.Caddy, words string) {
	t.Helper()
	f := c.Failure()
	if all := strings.Join(append(f.Evidence, f.Summary, f.Advice), "\n"); strings.Contains(all, words) {
		t.Errorf("has %q:\n%s", words, all)
	}
}

// A server of gRPC says in words why it ends a connection, and an age, a stop and too many pings
// are mended in different places: the words decide, and stand in the record.
func TestReportsOfGoawayInWords(t *testing.T) {
	for _, test := range []struct {
		name, said string
		code       http2.ErrCode
		begins     bool // it had begun to answer
		want       string
		words      []string
		not        string
	}{
		{
			name: "a stream on an old connection (grpc/grpc-go#6232)", said: "max_age", begins: true, want: "goaway truncated body upstream",
			words: []string{`it said "max_age"`, "max_connection_age_grace", "by default without an end"}, not: "restarted",
		},
		{
			name: "a call on an old connection (grpc/grpc-go#5969)", said: "max_age", want: "goaway failed wait upstream",
			words: []string{`it said "max_age"`, "max_connection_age_grace"}, not: "that was new",
		},
		{
			name: "a server that stops (grpc/grpc-go#2849)", said: "graceful_stop", begins: true, want: "goaway truncated body upstream",
			words: []string{`it said "graceful_stop"`, "it was being stopped"}, not: "raise the number of requests",
		},
		{
			name: "pings of requests that were given up (golang/go#70575)", said: "too_many_pings", code: http2.ErrCodeEnhanceYourCalm, want: "goaway failed wait upstream",
			words: []string{"ENHANCE_YOUR_CALM", `it said "too_many_pings"`, "take pings more often", "min_ping_interval_without_data_ms"}, not: "header",
		},
		{
			name: "words of an earlier one", said: "max_age", code: http2.ErrCodeInternal, want: "goaway failed wait upstream",
			words: []string{"INTERNAL_ERROR", `it said "max_age"`}, not: "max_connection_age",
		},
		{
			name: "words of its own", said: "Connection idle", want: "goaway failed wait upstream",
			words: []string{`it said "Connection idle"`, "why it ended a connection that was new"},
		},
		{
			name: "no words", want: "goaway failed wait upstream", not: "it said",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := testcaddy.Peer(t, func(conn net.Conn) {
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
					asked, ok := frame.(*http2.HeadersFrame)
					if !ok {
						continue
					}
					if test.begins {
						var header bytes.Buffer
						_ = hpack.NewEncoder(&header).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
						_ = frames.WriteHeaders(http2.HeadersFrameParam{StreamID: asked.StreamID, BlockFragment: header.Bytes(), EndHeaders: true})
						_ = frames.WriteData(asked.StreamID, false, []byte("first"))
					}
					_ = frames.WriteGoAway(asked.StreamID, test.code, []byte(test.said))
					_ = conn.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, conn) // what is unread would make a reset of the end
					return
				}
			})
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy h2c://"+to)
			c.Get("/")
			wantRecord(t, c, test.want, test.words...)
			if test.not != "" {
				wantWithout(t, c, test.not)
			}
		})
	}
}
