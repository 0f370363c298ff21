package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// askAgain asks an upstream again.
func askAgain(c *testcaddy.Caddy, upstream string) (status int, answer string) {
	body, err := json.Marshal(failure.ProbeQuery{Upstream: upstream})
	if err != nil {
		return 0, err.Error()
	}
	res, err := testcaddy.Client.Post(c.Admin+"/upstream_diagnostics/probe", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(got)
}

// otherwise are the faults of which asking again tells something else than the record of a
// request, and rightly: "" is that it is well.
var otherwise = map[string]string{
	// It has no body.
	"reset_while_sending": "closed_before_response", "h2_upload_closed": "closed_before_response", "h2c_upload_closed": "closed_before_response",
	"upstream_never_reads": "response_timeout", "h2_upstream_never_reads": "response_timeout", "h2c_upstream_never_reads": "response_timeout",
	"fastcgi_write_timeout": "response_timeout", "fastcgi_reset_while_sending": "closed_before_response",
	"fastcgi_retried_without_body": "closed_before_response", "fastcgi_length_unknown": "", "upload_malformed": "",
}

// families are how the names of faults begin that are of one transport.
var families = []string{"h2_", "h2c_", "h3_", "fastcgi_", "tls_", "socks_", "forward_proxy_"}

func familyOf(name string) string {
	for _, family := range families {
		if strings.HasPrefix(name, family) {
			return family
		}
	}
	return ""
}

// Of a broken upstream of the lab for each cause and transport, asking again says the same as
// the record of a request.
func TestProbeOfFaults(t *testing.T) {
	before := upstreams.ProbeTimeout
	upstreams.ProbeTimeout = 2 * time.Second
	t.Cleanup(func() { upstreams.ProbeTimeout = before })
	type asked struct {
		fault    faultlab.Fault
		upstream string
	}
	var all []asked
	var site strings.Builder
	known, taken := map[string]bool{}, map[string]bool{}
	for _, fault := range faultlab.Faults() {
		kind := familyOf(fault.Name) + fault.Cause
		if fault.Skip != "" || fault.Outcome != "failed" && fault.Outcome != "upstream_answered" || known[kind] ||
			// These are of the whole process, and of a name that all of them have.
			strings.HasPrefix(fault.Name, "descriptors") || strings.HasPrefix(fault.Name, "dns_") ||
			// Their checks go on and on.
			strings.HasSuffix(fault.Name, "_checked") {
			continue
		}
		broken, options := testcaddy.Break(t, fault)
		upstream := upstreamOf(broken)
		if options != "" || broken.Prepared() || upstream == "" || strings.ContainsAny(upstream, " {") ||
			// The system gives a port of UDP the number of one of TCP at times: two reverse_proxy
			// handlers lead there then, and which is asked is not the test's question.
			taken[upstream] {
			continue
		}
		known[kind], taken[upstream] = true, true
		fmt.Fprintf(&site, "handle /%d {\n%s}\n", len(all), broken.Caddyfile())
		all = append(all, asked{fault, upstream})
	}
	c := testcaddy.Start(t, "upstream_diagnostics\n"+site.String())
	next := make(chan asked)
	var workers sync.WaitGroup
	for range 4 { // as many as may be asked at a time
		workers.Go(func() {
			for one := range next {
				status, answer := askAgain(c, one.upstream)
				for _, wrong := range wrongWithProbe(one.fault, status, answer) {
					t.Errorf("%s: %s: %s", one.fault.Name, wrong, answer)
				}
			}
		})
	}
	for _, one := range all {
		next <- one
	}
	close(next)
	workers.Wait()
	t.Logf("%d were asked", len(all))
	if list := c.Failures(); len(list) > 0 {
		t.Errorf("%d are recorded", len(list))
	}
}

func wrongWithProbe(fault faultlab.Fault, status int, answer string) (wrong []string) {
	var p failure.Probe
	if err := json.Unmarshal([]byte(answer), &p); err != nil || status != http.StatusOK {
		return []string{fmt.Sprintf("got %d, %v", status, err)}
	}
	want, other := otherwise[fault.Name]
	if !other {
		want = fault.Cause
	}
	if p.Cause != want && (other || fault.OrCause == "" || p.Cause != fault.OrCause) {
		wrong = append(wrong, "the cause is not "+want)
	}
	if p.OK != (p.Cause == "") || p.Summary == "" || len(p.Steps) == 0 || len(answer) > failure.MaxProbeBytes {
		return append(wrong, "it contradicts itself")
	}
	for i, step := range p.Steps {
		last := i == len(p.Steps)-1
		if step.OK == (step.Error != "") || last && p.OK && !step.OK {
			wrong = append(wrong, fmt.Sprintf("its step %d does", i))
		}
	}
	return wrong
}

// The steps of what a name leads to, and over what the connection is one of its own kind.
func TestProbeSteps(t *testing.T) {
	for _, test := range []struct {
		fault string
		ok    bool
		steps string
		says  []string
	}{
		{"dns_nxdomain", false, "dns failed", []string{`"name":"app.test","error":"no such host"`, "no connection came about"}},
		{"dns_silent", false, "dns failed", []string{`"name":"app.test","error":"i/o timeout"`, `"limit":{"name":"dial_timeout","value_ms":300`}},
		{"h3_good", true, "connect, tls, http", []string{`"alpn":"h3"`, `"protocol":"h3"`, `"verified":true`, "over UDP"}},
		{"h3_certificate_untrusted", false, "tls failed", []string{`"issuer":"CN=Stranger CA"`, `"verified":false`}},
		{"forward_proxy_forbids", false, "connect, connect failed", []string{"requests go by a forward proxy"}},
		{"client_certificate_missing", false, "connect, tls, http failed", []string{"certificate required"}},
	} {
		t.Run(test.fault, func(t *testing.T) {
			fault, err := faultlab.Find(test.fault)
			if err != nil {
				t.Fatal(err)
			}
			if fault.Skip != "" {
				t.Skip(fault.Skip)
			}
			before := upstreams.ProbeTimeout
			upstreams.ProbeTimeout = 2 * time.Second
			t.Cleanup(func() { upstreams.ProbeTimeout = before })
			broken, _ := testcaddy.Break(t, fault)
			c := testcaddy.Start(t, "upstream_diagnostics\n"+broken.Caddyfile())
			status, answer := askAgain(c, upstreamOf(broken))
			for _, wrong := range wrongWithProbe(fault, status, answer) {
				t.Errorf("%s: %s", wrong, answer)
			}
			var p failure.Probe
			if err := json.Unmarshal([]byte(answer), &p); err != nil {
				t.Fatal(err)
			}
			var steps []string
			for _, step := range p.Steps {
				steps = append(steps, string(step.Step)+map[bool]string{false: " failed"}[step.OK])
			}
			if got := strings.Join(steps, ", "); got != test.steps || p.OK != test.ok {
				t.Errorf("ok is %t, the steps are %s, want %t, %s: %s", p.OK, got, test.ok, test.steps, answer)
			}
			for _, words := range test.says {
				if !strings.Contains(answer, words) {
					t.Errorf("%s isn't in %s", words, answer)
				}
			}
		})
	}
}

// upstreamOf is a broken upstream as it is configured, without a scheme.
func upstreamOf(broken *faultlab.Upstream) string {
	if _, after, ok := strings.Cut(broken.To, "://"); ok {
		return after
	}
	return broken.To
}
