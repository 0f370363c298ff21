package tests

import (
	"strings"
	"testing"
)

// What is particular to a protocol must not be told in words of another one.
func TestWordsOfProtocols(t *testing.T) {
	for _, test := range []struct {
		fault     string
		says, not []string
	}{
		// Who answers 103 or 100 speaks HTTP and has the request: its log tells the rest.
		{
			fault: "cut_after_interim",
			says:  []string{"sent the interim answer 103 (Early Hints), and then closed the connection without a final one", "Look at the application's log", "has the request", "no byte of a final answer came"},
			not:   []string{"Docker", "curl", "has not answered anything", "no byte of an answer", "no answer came back"},
		},
		{
			fault: "cut_after_interim_reused",
			says:  []string{"sent the interim answer 103", "Look at the application's log"},
			not:   []string{"keepalive", "race"},
		},
		{
			fault: "closed_after_100",
			says:  []string{"sent the interim answer 100 (Continue)", "has the request's header", "Look at the upstream's log"},
			not:   []string{"has not answered anything", "no byte of an answer", "no answer came back"},
		},
		{fault: "closed_after_100_tls", says: []string{"sent the interim answer 100 (Continue)"}, not: []string{"has not answered anything"}},
		{fault: "reset_after_103", says: []string{"103 (Early Hints), and then reset the connection"}, not: []string{"has not answered anything"}},
		{fault: "cut_in_headers_after_100", says: []string{"a final answer began after it"}, not: []string{"the first byte of an answer"}},
		{fault: "response_header_timeout_after_100", says: []string{"no byte of a final answer came"}, not: []string{"no answer came back"}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			text := recordOf(t, test.fault)
			for _, words := range test.says {
				if !strings.Contains(text, words) {
					t.Errorf("lacks %q:\n%s", words, text)
				}
			}
			for _, words := range test.not {
				if strings.Contains(text, words) {
					t.Errorf("has %q:\n%s", words, text)
				}
			}
		})
	}
}
