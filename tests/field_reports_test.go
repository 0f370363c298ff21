package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// wantRecord fails where the only record is not of this cause, as "cause outcome phase
// side", or lacks one of these words; "" wants none.
func wantRecord(t *testing.T, c *testcaddy.Caddy, want string, words ...string) {
	t.Helper()
	if want == "" {
		for _, f := range c.Failures() {
			t.Errorf("%s %d recorded as %s: %s %q", f.Request.Method, f.Status, f.Cause, f.Summary, f.Evidence)
		}
		return
	}
	f := c.Failure()
	if got := fmt.Sprintf("%s %s %s %s", f.Cause, f.Outcome, f.Phase, f.Side); got != want {
		t.Errorf("recorded as %s: %s %q", got, f.Summary, f.Evidence)
	}
	all := strings.Join(append(f.Evidence, f.Summary, f.Advice, f.Error, "request_sent "+string(f.RequestSent)), "\n")
	for _, word := range words {
		if !strings.Contains(all, word) {
			t.Errorf("lacks %q:\n%s", word, all)
		}
	}
}

// Interim answers that people met behind other proxies; an upstream that sends one has the
// request, and is not done with it.
func TestReportsOfInterimAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, test := range []struct {
		name, says string
		silent     bool
		field      string
		status     int
		want       string
		words      []string
	}{
		{name: "103 and an answer (mitmproxy#2229)", says: "HTTP/1.1 103 Early Hints\r\nLink: </logo.png>; rel=preload\r\n\r\n" + ok, status: 200},
		{name: "another one with a length (nginx#1427)", says: "HTTP/1.1 199 Wait\r\nContent-Length: 168\r\n\r\n" + ok, status: 200},
		{name: "100 with a length of none (ratpack#1559)", says: "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + ok, field: "Expect: 100-continue", status: 200},
		{name: "103 with fields of the connection's (nginx#1604)", says: "HTTP/1.1 103 Early Hints\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + ok, status: 200},
		{name: "several 103 (nginx#1241)", says: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 20) + ok, status: 200},
		{
			name: "103 and silence (http-reverse-proxy#44)", says: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", silent: true, status: 504,
			want: "response_timeout failed wait upstream", words: []string{"103", "response_header_timeout 200 ms", "request_sent maybe"},
		},
		{
			name: "102 and the end", says: "HTTP/1.1 102 Processing\r\n\r\n", status: 502,
			want: "closed_before_response failed wait upstream", words: []string{"102", "request_sent maybe", "log"},
		},
		{
			name: "an end in the middle of a 103", says: "HTTP/1.1 103 Early Hints\r\nLink: </a", status: 502,
			want: "closed_before_response failed wait upstream", words: []string{"103", "request_sent maybe"},
		},
		{
			name: "103 with a body", says: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + ok, status: 502,
			want: "response_malformed failed headers upstream", words: []string{"103", `"helloHTTP/1.1 200 OK"`, "request_sent yes"},
		},
		{
			name: "100 for an answer", says: "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", status: 502,
			want: "response_malformed failed headers upstream", words: []string{"100", `"hello"`, "request_sent yes"},
		},
		{
			name: "101 that nobody asked for", says: "HTTP/1.1 101 Switching Protocols\r\n\r\n" + ok, status: 502,
			want: "upgrade_failed failed headers upstream", words: []string{"the client had asked for no upgrade"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := testcaddy.Blabbing
			if test.silent {
				to = testcaddy.Silent
			}
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+to(t, test.says)+" {\ntransport http {\nresponse_header_timeout 200ms\n}\n}")
			var fields []string
			if test.field != "" {
				fields = append(fields, test.field)
			}
			if a := c.Get("/", fields...); a.Status != test.status {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			wantRecord(t, c, test.want, test.words...)
		})
	}
}

// What Caddy itself does to a request's body, as people reported it of Caddy: it is read
// once, and whoever is asked instead gets nothing of it. The upstream is not blamed.
func TestReportsOfOurOwnEnd(t *testing.T) {
	counts := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "got %d", n)
	})
	fails := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusBadGateway)
	})
	garbage, dead := testcaddy.Silent(t, "garbage\r\n\r\n"), testcaddy.Dead(t)
	const handled = " {\n@failed status 5xx\nhandle_response @failed {\nreverse_proxy "
	lost := []string{"handle_response or handle_errors", "bytes of its body had been read for " + fails, "request_sent yes"}
	for _, test := range []struct {
		name, site, method string
		length             int // -1: not announced
		answer             string
		want               string
		words              []string
	}{
		{name: "asked elsewhere by handle_response", site: "upstream_diagnostics\nreverse_proxy " + fails + handled + counts + "\n}\n}", length: 100_000,
			answer: "502", want: "retried_without_body failed send proxy", words: append(lost, "100000 of 100000")},
		{name: "the same, buffered for the first", site: "upstream_diagnostics\nreverse_proxy " + fails + handled + counts + "\n}\nrequest_buffers 1MiB\n}", length: 100_000,
			answer: "502", want: "retried_without_body failed send proxy", words: lost},
		{name: "the same, of an unknown length", site: "upstream_diagnostics\nreverse_proxy " + fails + handled + counts + "\n}\n}", length: -1,
			answer: "200 got 0", want: "retried_without_body rescued send proxy", words: append(lost, "answered 200 to a request without its body")},
		{name: "the same, with nothing to lose", site: "upstream_diagnostics\nreverse_proxy " + fails + handled + counts + "\n}\n}", answer: "200 got 0"},
		{name: "the same, by another method", site: "upstream_diagnostics\nreverse_proxy " + fails + handled + counts + " {\nmethod GET\n}\n}\n}", length: 100_000, answer: "200 got 0"},
		{name: "an answer that has another fetched", site: "upstream_diagnostics\nreverse_proxy " + counts + " {\n@sent status 2xx\nhandle_response @sent {\nreverse_proxy " + counts + "\n}\n}", length: -1, answer: "200 got 0"},
		{name: "asked elsewhere by handle_errors (caddy#7713)", site: "upstream_diagnostics {\npage off\n}\nreverse_proxy " + garbage + "\nhandle_errors {\nreverse_proxy " + counts + "\n}", length: 100_000,
			answer: "502", want: "response_malformed failed headers upstream"},
		{name: "the same, heard there alone", site: "reverse_proxy " + garbage + "\nhandle_errors {\nupstream_diagnostics\nreverse_proxy " + counts + "\n}", length: 100_000,
			answer: "502", want: "retried_without_body failed send proxy", words: []string{"by another reverse_proxy or a handler in front"}},
		{name: "tried again after a connect (caddy#7546)", site: "upstream_diagnostics\nreverse_proxy " + dead + " " + counts + " {\nlb_policy first\nlb_retries 3\nfail_duration 10s\n}", length: 100_000,
			answer: "200 got 100000", want: "connection_refused rescued connect upstream"},
		{name: "larger than Caddy allows (caddyserver/website#114)", site: "upstream_diagnostics\nrequest_body {\nmax_size 1KB\n}\nreverse_proxy " + counts, length: 2_000, answer: "413"},
		{name: "handled without a word (caddy#4298)", site: "upstream_diagnostics\nreverse_proxy " + counts + " {\nhandle_response {\nheader X 1\n}\n}", answer: "200"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, test.site)
			var body io.Reader = strings.NewReader(strings.Repeat("x", max(0, test.length)))
			if test.length < 0 {
				body = io.MultiReader(strings.NewReader("hello"))
			}
			a := c.Do("POST", "/", body)
			if got := fmt.Sprint(a.Status, " ", a.Body); !strings.HasPrefix(got, test.answer) {
				t.Errorf("got %s", got)
			}
			wantRecord(t, c, test.want, test.words...)
		})
	}
}

// An answer such as 401 or 413 can be lost where an upstream ends a connection on which more
// comes (apisix#13366, tinyproxy#79): that comes before a port that works for nobody.
func TestALargeUploadThatIsEndedUnread(t *testing.T) {
	to := testcaddy.Peer(t, func(conn net.Conn) {
		_, _ = io.CopyN(io.Discard, conn, 1<<20)
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset destroys what was answered
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+to)
	c.Do("POST", "/", strings.NewReader(strings.Repeat("x", 64<<20)))
	wantRecord(t, c, "request_write_failed failed send upstream", "its limit for the size of a request", "If it takes such a size, ask it from", "401 or 413 whose answer was lost")
}
