package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// An answer may come while the request is still being sent. Then two things go wrong at
// once, and Go's transport tells of one: what is wrong with the answer is no cut, and
// what is cut is not malformed.
func TestEarlyAnswers(t *testing.T) {
	const line = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		answer string
		block  string
		// right are the names that are true, besides "unknown" and that the request
		// could not be sent any more.
		right []string
	}{
		{name: "status malformed", answer: "HTTP/1.1 abc Wrong\r\n\r\n", right: []string{"response_malformed"}},
		{name: "header without colon", answer: line + "no colon here\r\n\r\n", right: []string{"response_malformed"}},
		{name: "lengths differ", answer: line + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", right: []string{"response_malformed"}},
		{name: "transfer coding unknown", answer: line + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", right: []string{"transfer_coding_invalid"}},
		{
			name: "headers too large", answer: line + "X-Large: " + strings.Repeat("x", 16<<10) + "\r\n\r\n",
			block: "transport http {\nmax_response_header 4KiB\n}\n", right: []string{"response_headers_too_large"},
		},
		{name: "SSH", answer: "SSH-2.0-OpenSSH_9.9\r\n", right: []string{"not_http"}},
		{name: "SMTP is busy", answer: "421 mail.example.test too many connections\r\n", right: []string{"not_http", "response_malformed"}},
		{name: "Redis is full", answer: "-ERR max number of clients reached\r\n", right: []string{"not_http"}},
		{name: "HTTP/2", answer: "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", right: []string{"http_version_mismatch"}},
		{name: "TLS alert", answer: "\x15\x03\x03\x00\x02\x02\x0a", right: []string{"tls_expected"}},
		{name: "cut after the first byte", answer: "H", right: []string{"response_cut_in_headers"}},
		{name: "cut in a header", answer: line + "Content-Le", right: []string{"response_cut_in_headers"}},
		{name: "cut between headers", answer: line + "Content-Length: 5\r\n", right: []string{"response_cut_in_headers"}},
		{name: "body cut", answer: line + "Content-Length: 5\r\n\r\nhel", right: []string{"response_truncated"}},
		{name: "503", answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", right: []string{"upstream_status"}},
	}
	// The upstream ends its half, or all at once, which resets what still comes.
	ends := map[string]func(*taker){
		"drained": (*taker).farewell,
		"reset":   func(*taker) {},
	}
	for _, test := range tests {
		for name, end := range ends {
			t.Run(test.name+", "+name, func(t *testing.T) {
				u := &takers{behave: func(c *taker) {
					if c.request() != nil {
						c.say(test.answer)
						end(c)
					}
				}}
				address := u.start(t)
				defer u.stop()
				c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+address+" {\n"+test.block+"}")
				sendRaw(t, c, orderUpload, nil)
				var list []*failure.Failure
				testcaddy.Eventually(t, "a failure is recorded", func() bool {
					list = c.Failures()
					return len(list) > 0
				})
				f := list[0]
				right := append([]string{"unknown", "request_write_failed"}, test.right...)
				if !slices.Contains(right, f.Cause) {
					t.Errorf("named %s, and it is %v: %s, %q", f.Cause, test.right, f.Error, f.Evidence)
				}
				t.Logf("%s, request_sent %s: %s", f.Cause, f.RequestSent, f.Error)
			})
		}
	}
}
