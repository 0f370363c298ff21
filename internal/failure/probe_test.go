package failure

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// hostileProbe has all fields, and what comes from others in it is long, of several lines and
// tells a terminal what to do.
func hostileProbe() Probe {
	long := strings.Repeat("\x1b[31m<script>\n\"\\ü", 400)
	many := make([]string, 40)
	for i := range many {
		many[i] = long
	}
	handshake := func() *Handshake {
		return &Handshake{Version: "TLS 1.3", ALPN: long, ServerName: long, Certificate: &PeerCertificate{
			Subject: long, Issuer: long, Names: append([]string{}, many...), NotAfter: At(time.Unix(0, 0)), Error: long,
		}}
	}
	p := Probe{
		Upstream: long, Address: long, Summary: long, Advice: long, Error: long, Cause: "certificate_untrusted", Evidence: append([]string{}, many...),
		Proxy:    ProbeProxy{Sites: append([]string{}, many...), Server: long},
		Request:  ProbeRequest{Method: long, Host: long, URI: long, By: ProbeByDefault},
		Received: &Received{Status: 503, Server: long, Via: long, RetryAfter: long, ProxyStatus: long, GRPCStatus: long, GRPCMessage: long},
		Limit:    &Limit{Name: DialTimeout, Source: LimitDefault, ValueMS: MSPointer(time.Second)},
		Steps:    []ProbeStep{}, Checks: []ProbeCheck{}, NotTried: []NotTried{},
	}
	for range 40 {
		p.Steps = append(p.Steps, ProbeStep{Step: ProbeTLS, Name: long, Addresses: append([]string{}, many...), Address: long, TLS: handshake(), Protocol: long, Server: long, Via: long, Error: long})
		p.NotTried = append(p.NotTried, NotTried{long, long})
	}
	for range 3 {
		p.Checks = append(p.Checks, ProbeCheck{Check: CheckTLS, Speaks: new(true), Summary: long, TLS: handshake()})
	}
	return p
}

// However much others say, a probe is small, and on one line each.
func TestProbeIsBounded(t *testing.T) {
	p := hostileProbe()
	p.Bound()
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(p); err != nil {
		t.Fatal(err)
	}
	if text.Len() > MaxProbeBytes {
		t.Errorf("it has %d bytes: %s", text.Len(), &text)
	}
	for _, bad := range []string{"\x1b", "\\u001b", "\\n"} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("%q is in %s", bad, &text)
		}
	}
	if p.Summary == "" || len(p.Steps) == 0 || len(p.Checks) != 3 || p.Cause == "" || p.Upstream == "" || p.Steps[0].Error == "" {
		t.Errorf("too much is gone: %s", &text)
	}
	if p.Steps == nil || p.NotTried == nil {
		t.Error("a list is null")
	}
}

// What fits stays as it is.
func TestProbeIsLeft(t *testing.T) {
	p := Probe{
		Upstream: "app:8080", Address: "10.0.0.7:8080", Summary: "Nothing accepts connections at app:8080.", Evidence: []string{"one", "two"},
		Steps:  []ProbeStep{{Step: ProbeDNS, OK: true, Name: "app", Addresses: []string{"10.0.0.7"}}, {Step: ProbeTLS, TLS: &Handshake{Version: "TLS 1.3", Certificate: &PeerCertificate{Subject: "CN=app", Names: []string{"app"}}}}},
		Checks: []ProbeCheck{{Check: CheckTLS, Summary: "It speaks TLS 1.3."}}, NotTried: []NotTried{},
	}
	before, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	p.Bound()
	after, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("it was\n%s, and is\n%s", before, after)
	}
}
