package cause

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What a server said in the handshake before its alert is read from how its bytes begin,
// however they are cut.
func TestClearMessages(t *testing.T) {
	const (
		hello   = "\x02\x00\x00\x03abc"
		asked   = "\x0d\x00\x00\x01x"
		done    = "\x0e\x00\x00\x00"
		refused = "\x15\x03\x03\x00\x02\x02\x28"
	)
	record := func(payload string) string { return "\x16\x03\x03\x00" + string(rune(len(payload))) + payload }
	for head, want := range map[string]string{
		"":                             "",
		refused:                        "",
		"HTTP/1.1 400 Bad Request\r\n": "",
		"\x16\x03":                     "",
		record(hello) + refused:        "\x02",
		record(hello + asked + done):   "\x02\x0d\x0e",
		record(hello+asked[:2]) + record(asked[2:]) + record(done) + refused: "\x02\x0d\x0e",
		record(hello + asked)[:5+len(hello)+4]:                               "\x02\x0d",
		record(hello + asked)[:5+len(hello)+2]:                               "\x02",
		record(hello) + "\x14\x03\x03\x00\x01\x01" + record(asked):           "\x02", // what follows is encrypted
	} {
		a := &listen.Attempt{Dialing: &listen.Dialing{Carried: &listen.Carried{Head: []byte(head)}}}
		if kinds := clearMessages(a); !bytes.Equal(kinds, []byte(want)) {
			t.Errorf("of %q: %q", head, kinds)
		}
		if came := alertCameFirst(a); came != (head == refused) {
			t.Errorf("%q: an alert came first: %v", head, came)
		}
	}
	if clearMessages(&listen.Attempt{}) != nil {
		t.Error("nothing was heard")
	}
}

// What answers where TLS belongs is quoted as any answer is: without its credentials.
func TestNotTLSTellsNoSecret(t *testing.T) {
	a := &listen.Attempt{Address: "10.0.0.7:443", TLS: true, Dialing: &listen.Dialing{Carried: &listen.Carried{Head: []byte("HELLO token: abc123\r\nmore")}}}
	told := strings.Join(notTLS(&try{Attempt: a}, "HELLO").evidence, "\n")
	if !strings.Contains(told, `the first line that came back: "HELLO token`) || strings.Contains(told, "abc123") {
		t.Error(told)
	}
}
