package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Whatever a failed lookup is told by, the name server that is named is the one that
// was asked: Go's errors name the first of this machine.
func TestNameServerThatWasAsked(t *testing.T) {
	named := regexp.MustCompile(`lookup (?:of )?[^":]+ on ((?:one of )?[0-9.]+:\d+(?:, [0-9.]+:\d+)*)`)
	configured := regexp.MustCompile(`resolvers (.+)`)
	for _, test := range []struct {
		fault string
		twice bool // it is configured twice, so that one of two is asked
		way   string
	}{
		{fault: "dns_nxdomain"}, {fault: "dns_servfail"}, {fault: "dns_refused"}, {fault: "dns_lame"}, {fault: "dns_server_closed"}, {fault: "dns_silent"},
		{fault: "dns_nxdomain", twice: true},
		{fault: "dns_nxdomain", way: "active checks"}, {fault: "dns_nxdomain", way: "TLS"}, {fault: "dns_nxdomain", way: "forward_auth"},
		{fault: "dynamic_lookup_not_found"}, {fault: "dynamic_lookup_server_failed"}, {fault: "dynamic_srv_not_found"}, {fault: "dynamic_srv_server_failed"},
	} {
		t.Run(fmt.Sprint(test.fault, " ", test.way, " ", test.twice), func(t *testing.T) {
			fault, err := faultlab.Find(test.fault)
			if err != nil {
				t.Fatal(err)
			}
			broken, options := testcaddy.Break(t, fault)
			site := broken.Caddyfile()
			for _, way := range faultlab.Ways() {
				if way.Name == test.way {
					if site, _, err = way.Over(fault, broken); err != nil {
						t.Fatal(err)
					}
				}
			}
			server := configured.FindStringSubmatch(site)[1]
			want := server
			if test.twice {
				site = strings.ReplaceAll(site, "resolvers "+server, "resolvers "+server+" "+server)
				want = "one of " + server + ", " + server
			}
			c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+site)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err := broken.Visit(ctx, c.URL+"/"); err != nil {
				t.Fatal(err)
			}
			f := c.Newest(fault.Cause)
			told := map[string]string{"evidence": strings.Join(f.Evidence, "\n")}
			if fault.Phase == string(failure.PhaseDNS) && fault.Name != "dns_silent" { // whose error names none
				told["error"], told["the attempt's error"] = f.Error, f.Attempts[0].Error
			}
			for what, text := range told {
				if found := named.FindStringSubmatch(text); found == nil || found[1] != want {
					t.Errorf("%s names %q, %s was asked: %q", what, found, want, text)
				}
			}
			record, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range named.FindAllStringSubmatch(string(record), -1) {
				if found[1] != want {
					t.Errorf("the record also names %s", found[1])
				}
			}
		})
	}
}
