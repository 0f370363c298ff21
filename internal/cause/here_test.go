package cause

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

// What is said of this machine is said of the container that this process runs in.
func TestWordsOfAContainer(t *testing.T) {
	defer func(before func() string) { here = before }(here)
	for _, place := range []string{"this machine", "this container"} {
		here = func() string { return place }
		for r := range Rows() {
			for _, words := range []string{r.Summary, r.Advice} {
				filled := strings.ToLower(fillIn(words, "app:8080", "10.0.0.7:8080", nil))
				if other := strings.Contains(filled, "this machine") && place == "this container"; other {
					t.Errorf("%s in a container: %s", r.Name, filled)
				}
			}
		}
		if got := fillIn(PortsExhausted.Summary, "app:8080", "", nil); !strings.HasPrefix(strings.ToLower(got), place+" has no free") {
			t.Errorf("%s: %s", place, got)
		}
	}
	if got := fillIn(ConnectionRefused.Summary, "this machine:80", "", nil); !strings.Contains(got, "this machine:80") {
		t.Errorf("an upstream's name was changed: %s", got)
	}
}

func TestWhetherTheClockIsKept(t *testing.T) {
	const notKept = ": no time service keeps this machine's clock, or none says so; it may be right all the same"
	defer func(before func() (bool, bool)) { clockIsKept = before }(clockIsKept)
	ca := newAuthority(t)
	for _, test := range []struct {
		name        string
		kept, known bool
		start, end  time.Duration
		cause, want string
	}{
		{"expired, kept", true, true, -2 * time.Hour, -time.Hour, "certificate_expired", ", by a clock that a time service keeps"},
		{"expired, not kept", false, true, -2 * time.Hour, -time.Hour, "certificate_expired", notKept},
		{"early, not kept", false, true, time.Hour, 2 * time.Hour, "certificate_not_yet_valid", notKept},
		{"early, kept", true, true, time.Hour, 2 * time.Hour, "certificate_not_yet_valid", ", by a clock that a time service keeps"},
		{"not known", false, false, time.Hour, 2 * time.Hour, "certificate_not_yet_valid", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			clockIsKept = func() (bool, bool) { return test.kept, test.known }
			address := serveTLS(t, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(test.start), time.Now().Add(test.end)
			})}})
			f := Diagnose(to(t, address, withTLS(&tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12})).ask(t))
			if f == nil || f.Cause != test.cause {
				t.Fatalf("%+v", f)
			}
			check(t, f)
			line := ""
			for _, l := range f.Evidence {
				if strings.HasPrefix(l, "the time here was ") {
					line = l
				}
			}
			if test.want != "" && !strings.HasSuffix(line, test.want) || test.want == "" && !strings.HasSuffix(line, "Z") {
				t.Errorf("%q", f.Evidence)
			}
		})
	}
}
