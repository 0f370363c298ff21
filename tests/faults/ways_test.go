package faults

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// A fault is called the same over every way that leads to it: one fault of each
// cause is tried over each.
func TestFaultsOverWays(t *testing.T) {
	testOverWays(t, faultlab.Faults())
}

func testOverWays(t *testing.T, faults []faultlab.Fault) {
	t.Helper()
	testcaddy.RecordsAbandoned(t)
	for _, way := range faultlab.Ways() {
		t.Run(way.Name, func(t *testing.T) {
			proven := make(map[string]bool)
			for _, fault := range faults {
				if fault.Cause == "" || fault.Skip != "" || proven[fault.Cause] {
					continue
				}
				t.Run(fault.Name, func(t *testing.T) {
					if testOver(t, way, fault) {
						proven[fault.Cause] = true
					}
				})
			}
		})
	}
}

// testOver says whether the fault can be met over this way.
func testOver(t *testing.T, way faultlab.Way, fault faultlab.Fault) bool {
	broken, options := testcaddy.Break(t, fault)
	site, unfit, err := way.Over(fault, broken)
	if err != nil {
		t.Fatal(err)
	}
	if unfit != "" {
		return false
	}
	c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+site)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := broken.Visit(ctx, c.URL+"/order"); err != nil {
		t.Fatal(err)
	}
	f := c.Newest(fault.Cause)
	if f.Cause == fault.OrCause {
		return false
	}
	got := []string{f.Cause, string(f.Phase), string(f.Side), string(f.Outcome)}
	want := []string{fault.Cause, fault.Phase, fault.Side, fault.Outcome}
	if way.Name == "forward proxy" && fault.Cause == "tls_closed" {
		want[2] = "network" // who ended the tunnel, the forward proxy or the upstream, nothing tells
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		record, _ := json.MarshalIndent(f, "", "  ")
		t.Errorf("got %v, want %v\n%s\n%s", got, want, site, record)
	}
	return true
}

// loops are the ways by which a site may be its own upstream. Over two of them it
// can't be proven: HTTP/3's socket has no address of its own on our side, and the PROXY
// protocol's header hides which one it is.
var loops = []struct {
	way, scheme, servers string
	block                []string // of reverse_proxy, or of forward_auth
	unproven             bool
}{
	{way: "TLS", scheme: "https://", block: []string{"transport http {", "tls_insecure_skip_verify", "versions 1.1", "}"}},
	{way: "h2", scheme: "https://", block: []string{"transport http {", "tls_insecure_skip_verify", "}"}},
	{way: "h2c", scheme: "h2c://", servers: "protocols h1 h2c"},
	{way: "dynamic upstreams", block: []string{"dynamic a 127.0.0.1 PORT"}},
	{way: "active checks", block: []string{"health_port 1", "health_interval 1h", "health_fails 100000"}},
	{way: "forward_auth", block: []string{"uri /auth"}},
	{way: "HTTP/3", scheme: "https://", servers: "protocols h1 h2 h3", block: []string{"transport http {", "tls_insecure_skip_verify", "versions 3", "}"}, unproven: true},
	{way: "PROXY protocol", servers: "listener_wrappers {\nproxy_protocol {\nallow 127.0.0.1/32\n}\n}", block: []string{"transport http {", "proxy_protocol v2", "}"}, unproven: true},
}

// A site that is its own upstream is told so over every way.
func TestProxyLoopOverWays(t *testing.T) {
	for _, loop := range loops {
		t.Run(loop.way, func(t *testing.T) {
			port := strconv.Itoa(testcaddy.FreePort(t))
			address := "127.0.0.1:" + port
			directive, to, site := "reverse_proxy", loop.scheme+address, "http://"+address
			if loop.way == "forward_auth" {
				directive = loop.way
			}
			if loop.way == "dynamic upstreams" {
				to = ""
			}
			secure, entry := "", ""
			if loop.scheme == "https://" {
				cert, key := testcaddy.CertificateFiles(t)
				site, secure, entry = to, "tls "+cert+" "+key+"\n", " {\ntransport http {\ntls_insecure_skip_verify\n}\n}"
			}
			options := ""
			if loop.servers != "" {
				options = "servers :" + port + " {\n" + loop.servers + "\n}"
			}
			// The third time round it goes on to an upstream that refuses.
			c := testcaddy.StartWith(t, options, "reverse_proxy "+site+entry+"\n}\n"+site+" {\n"+secure+"upstream_diagnostics\n"+
				"@round not header_regexp X-Round ...\n"+
				directive+" @round "+to+" {\nheader_up X-Round \"{header.X-Round}x\"\n"+strings.ReplaceAll(strings.Join(loop.block, "\n"), "PORT", port)+"\n}\n"+
				"reverse_proxy "+testcaddy.Dead(t))
			c.Get("/")
			testcaddy.Eventually(t, "what ends the loop is recorded", func() bool {
				list := c.Failures("cause=connection_refused")
				if !loop.unproven {
					list = c.Failures("cause=proxy_loop")
				}
				return len(list) > 0
			})
			if list := c.Failures("cause=proxy_loop"); loop.unproven && len(list) > 0 {
				t.Errorf("it can be proven now: %v", list[0].Evidence)
			}
		})
	}
}
