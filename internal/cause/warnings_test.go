package cause

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Each kind has its words, and nothing in them is left to be filled in.
func TestTellWarning(t *testing.T) {
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	certificate := func(ends, seen time.Duration) failure.Warning {
		return failure.Warning{
			Kind: failure.WarnCertificate, Upstream: "app:443", LastSeen: failure.At(noon.Add(seen)),
			Certificate: &failure.Certificate{Name: "app.internal", NotAfter: failure.At(noon.Add(ends))},
		}
	}
	measured := func(kind failure.WarningKind, upstream, name string, value, limit float64, unit string) failure.Warning {
		return failure.Warning{Kind: kind, Upstream: upstream, Measured: &failure.Measured{Name: name, Value: value, Limit: limit, Unit: unit}}
	}
	ports := measured(failure.WarnLocalPorts, "", "net.ipv4.ip_local_port_range", 25000, 28232, "ports")
	ports.Address = "10.0.0.7:80"
	slow := measured(failure.WarnConnect, "srv app", failure.DialTimeout, 2600, 3000, "ms")
	slow.Address = "10.0.0.7:80"
	told := make(map[failure.WarningKind]bool)
	for _, test := range []struct {
		w        failure.Warning
		summary  string
		evidence []string
	}{
		{certificate(5*24*time.Hour, 0), "The certificate of app:443 ends in 5 days.", []string{"the certificate of 'app.internal' is valid until 2026-12-01T12:00:00Z"}},
		{certificate(-3*24*time.Hour, 0), "The certificate of app:443 ended 72 h ago, and is let pass.", []string{"the certificate of 'app.internal' is valid until 2026-11-23T12:00:00Z"}},
		{certificate(-time.Minute, -time.Hour), "The certificate of app:443 ended 60 s ago.", []string{"the certificate of 'app.internal' is valid until 2026-11-26T11:59:00Z"}},
		{slow, "Connecting to srv app took 2.6 s of dial_timeout 3 s.", []string{"2.6 s of dial_timeout 3 s, which is 86 %", "the last time at 10.0.0.7:80"}},
		{measured(failure.WarnHandshake, "app:443", failure.TLSTimeout, 900, 1000, "ms"), "The TLS handshake with app:443 took 900 ms of tls_timeout 1 s.", []string{"900 ms of tls_timeout 1 s, which is 90 %"}},
		{measured(failure.WarnResponse, "app:80", failure.ReadTimeout, 55000, 60000, "ms"), "app:80 answered after 55 s of read_timeout 60 s.", []string{"55 s of read_timeout 60 s, which is 91 %"}},
		{failure.Warning{Kind: failure.WarnRescued, Upstream: "app:80", LastFailure: "k3f9qw2ax", LastCause: "connection_refused"}, "Requests failed at app:80, and only another attempt saved them.", []string{"the last failure was connection_refused, k3f9qw2ax"}},
		{measured(failure.WarnRequests, "app:80", "unhealthy_request_count", 8, 10, "requests"), "app:80 had 8 requests at a time, of at most 10.", []string{"8 requests of unhealthy_request_count 10 requests, which is 80 %"}},
		{failure.Warning{Kind: failure.WarnNeverAnswered, Upstream: "app:80"}, "app:80 has not answered once since the config was loaded.", []string{}},
		{measured(failure.WarnOpenFiles, "", "ulimit -n", 900, 1024, "files"), "This process has 900 files open, of at most 1024.", []string{"900 files of ulimit -n 1024 files, which is 87 %"}},
		{ports, "Connections to 10.0.0.7:80 hold 25000 ports, of 28232 local ones.", []string{"25000 ports of net.ipv4.ip_local_port_range 28232 ports, which is 88 %"}},
	} {
		told[test.w.Kind] = true
		TellWarning(&test.w, noon)
		if test.w.Summary != test.summary || !slices.Equal(test.w.Evidence, test.evidence) || test.w.Advice == "" || strings.ContainsAny(test.w.Advice, "{}") {
			t.Errorf("%s: %q %q, want %q %q; %q", test.w.Kind, test.w.Summary, test.w.Evidence, test.summary, test.evidence, test.w.Advice)
		}
	}
	for row := range Warnings() {
		if !told[row.Kind] {
			t.Errorf("%s is not told here", row.Kind)
		}
		if strings.ContainsAny(row.Meaning, "|\n{}") || !strings.HasSuffix(row.Advice, ".") || !strings.HasSuffix(row.Summary, ".") {
			t.Errorf("%s: no words for a table", row.Kind)
		}
	}
	unknown := failure.Warning{Kind: "none"}
	if TellWarning(&unknown, noon); unknown.Summary != "" {
		t.Errorf("%+v", unknown)
	}
	// A name that is a placeholder stays as it is.
	placeholder := failure.Warning{Kind: failure.WarnRescued, Upstream: "{http.request.header.X-Limit}{limit}:80"}
	if TellWarning(&placeholder, noon); placeholder.Summary != "Requests failed at {http.request.header.X-Limit}{limit}:80, and only another attempt saved them." {
		t.Errorf("%q", placeholder.Summary)
	}
}
