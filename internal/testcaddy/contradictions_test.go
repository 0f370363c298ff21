package testcaddy

import (
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestContradictions(t *testing.T) {
	ms := failure.Milliseconds(1)
	limit := &failure.Limit{Name: failure.ResponseHeaderTimeout, ValueMS: &ms, Source: failure.LimitConfigured}
	for _, test := range []struct {
		name string
		f    failure.Failure
		want string // "" for none
	}{
		{name: "nothing", f: failure.Failure{}},
		{
			name: "sent, and no answer", want: "request_sent is yes",
			f: failure.Failure{RequestSent: failure.SentYes, AttemptCount: 1, Attempts: []failure.Attempt{{Protocol: "http/1.1"}}},
		},
		{
			name: "sent, and an answer began",
			f:    failure.Failure{RequestSent: failure.SentYes, AttemptCount: 1, Attempts: []failure.Attempt{{PhasesMS: failure.Phases{Headers: &ms}}}},
		},
		{
			name: "came and didn't", want: "beside",
			f: failure.Failure{Evidence: []string{"the request was written; no byte of an answer came in 1 ms", `the connection begins with "SSH-2.0"`}},
		},
		{
			name: "an interim answer, and no HTTP", want: "beside",
			f: failure.Failure{Evidence: []string{"the interim answer 103 (Early Hints) came"}, Advice: "Look for a published Docker port."},
		},
		{
			name: "an interim answer, and no byte", want: "beside",
			f: failure.Failure{Evidence: []string{"the interim answer 100 (Continue) came", "no byte of an answer came"}},
		},
		{
			name: "an interim answer",
			f:    failure.Failure{Evidence: []string{"the interim answer 103 (Early Hints) came", "no byte of a final answer came"}, Advice: "Look at the application's log."},
		},
		{
			name: "another protocol's words", want: "h3 was spoken",
			f: failure.Failure{Cause: "stream_reset", Evidence: []string{"HTTP/2 error code CANCEL"}, Attempts: []failure.Attempt{{Cause: "stream_reset", Protocol: "h3"}}},
		},
		{
			name: "a request unsent, and a greeting",
			f:    failure.Failure{Evidence: []string{"no byte of the request had been sent after 1 ms", `the answer begins with "SSH-2.0"`}},
		},
		{
			name: "another limit", want: "and limit is",
			f: failure.Failure{Limit: limit, Evidence: []string{"gave up by read_timeout 5 s"}},
		},
		{name: "a limit, and none", want: "and limit is", f: failure.Failure{Evidence: []string{"no limit is set: read_timeout"}}},
		{
			name: "its own limit among the others", want: "ended it",
			f: failure.Failure{Limit: limit, Evidence: []string{"gave up by response_header_timeout 1 ms", "other limits in force: response_header_timeout 1 ms"}},
		},
		{
			name: "its limit",
			f:    failure.Failure{Limit: limit, Evidence: []string{"gave up by response_header_timeout 1 ms", "other limits in force: read_timeout 5 s"}},
		},
		{
			name: "no beginning, and a first byte", want: "the summary",
			f: failure.Failure{Summary: "app did not begin to answer within 5 s.", Evidence: []string{"the first byte of an answer came 1 ms after the request was written"}},
		},
		{
			name: "a beginning",
			f:    failure.Failure{Summary: "app began to answer, and then sent nothing for 5 s.", Evidence: []string{"the first byte of an answer came 1 ms after the request was written"}},
		},
		{
			name: "another status", want: "received is 502",
			f: failure.Failure{Summary: "app itself answered 503.", Received: &failure.Received{Status: 502}},
		},
		{name: "a status that nobody had", want: "no attempt has", f: failure.Failure{Summary: "app itself answered 503."}},
		{
			name: "the upstream's, and the proxy is to change", want: "upstream's side",
			f: failure.Failure{Side: failure.SideUpstream, Advice: "Name the authority with tls_trust_pool in the transport."},
		},
		{
			name: "the upstream's, and another's option",
			f:    failure.Failure{Side: failure.SideUpstream, Advice: "Raise the number of requests (keepalive_requests of nginx)."},
		},
		{name: "the proxy's, and nothing to do", want: "proxy's side", f: failure.Failure{Side: failure.SideProxy}},
		{
			name: "a lookup that spoke", want: "no further than the lookup",
			f: failure.Failure{Attempts: []failure.Attempt{{Protocol: "http/1.1", PhasesMS: failure.Phases{DNS: &ms}}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(Contradictions(&test.f), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
