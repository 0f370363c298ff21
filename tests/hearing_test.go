package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// Wherever a reverse_proxy stands in a config, its attempts are heard exactly.
func TestHearing(t *testing.T) {
	tests := []struct {
		name    string
		options string
		site    string
		path    string
		// what the newest failure must be; "" for no failure at all
		cause    string
		outcome  failure.Outcome
		status   int
		attempts string // upstream:cause of each, DEAD CUT and GOOD for the addresses
		site2    string // its site, where it isn't 127.0.0.1
	}{
		{name: "nothing failed", site: `
			upstream_diagnostics
			reverse_proxy GOOD`, status: 200},
		{name: "refused", site: `
			upstream_diagnostics
			reverse_proxy DEAD`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "closed", site: `
			upstream_diagnostics
			reverse_proxy CUT`, cause: "closed_before_response", outcome: failure.Failed, status: 502, attempts: "CUT:closed_before_response"},
		{name: "every retry", site: `
			upstream_diagnostics
			reverse_proxy DEAD CUT DEAD {
				lb_policy round_robin
				lb_retries 2
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "CUT:closed_before_response DEAD:connection_refused DEAD:connection_refused"},
		{name: "rescued", site: `
			upstream_diagnostics
			reverse_proxy DEAD GOOD {
				lb_policy first
				lb_retries 1
				fail_duration 10s
			}`, cause: "connection_refused", outcome: failure.Rescued, status: 200, attempts: "DEAD:connection_refused GOOD:"},
		{name: "in a handle block", site: `
			upstream_diagnostics
			handle /x* {
				reverse_proxy DEAD
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "in a route of a handle_path", site: `
			upstream_diagnostics
			handle_path /x* {
				route {
					reverse_proxy CUT
				}
			}`, cause: "closed_before_response", outcome: failure.Failed, status: 502, attempts: "CUT:closed_before_response"},
		{name: "forward_auth is down", site: `
			upstream_diagnostics
			forward_auth DEAD {
				uri /auth
			}
			reverse_proxy GOOD`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "forward_auth answers, the upstream is down", site: `
			upstream_diagnostics
			forward_auth GOOD {
				uri /auth
			}
			reverse_proxy DEAD`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "GOOD: DEAD:connection_refused"},
		{name: "php_fastcgi is down", site: `
			root .
			upstream_diagnostics
			php_fastcgi DEAD {
				try_files /index.php
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "fastcgi with active checks", site: `
			upstream_diagnostics
			reverse_proxy DEAD {
				transport fastcgi
				health_port 1
				health_fails 100000
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "with active checks", site: `
			upstream_diagnostics
			reverse_proxy CUT {
				health_uri /
				health_interval 1ms
				health_fails 100000
			}`, cause: "closed_before_response", outcome: failure.Failed, status: 502, attempts: "CUT:closed_before_response"},
		{name: "a named route", options: "", site: `
			upstream_diagnostics
			invoke app`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "handle_response", site: `
			upstream_diagnostics
			reverse_proxy GOOD {
				@ok status 200
				handle_response @ok {
					reverse_proxy DEAD
				}
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "GOOD: DEAD:connection_refused"},
		{name: "an error route without the directive", site: `
			handle_errors {
				reverse_proxy DEAD
			}
			upstream_diagnostics {
				page off
			}
			reverse_proxy CUT`, cause: "closed_before_response", outcome: failure.Failed, status: 502, attempts: "CUT:closed_before_response"},
		{name: "an error route with the directive", site: `
			handle_errors {
				upstream_diagnostics
				reverse_proxy DEAD
			}
			error 500`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused"},
		{name: "the inner of two", site: `
			upstream_diagnostics {
				site outer
			}
			handle {
				upstream_diagnostics {
					site inner
				}
				reverse_proxy DEAD
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: "DEAD:connection_refused", site2: "inner"},
		{name: "a foreign handler", site: `
			route {
				upstream_diagnostics
				foreign DEAD
			}`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: ":connection_refused"},
		{name: "admin off, with the global option", options: "admin off\nupstream_diagnostics {\nkeep 10\n}", site: `
			upstream_diagnostics
			reverse_proxy CUT`, cause: "closed_before_response", outcome: failure.Failed, status: 502, attempts: "CUT:closed_before_response"},
		{name: "admin off, the request's trace stands in", options: "admin off", site: `
			upstream_diagnostics
			reverse_proxy DEAD`, cause: "connection_refused", outcome: failure.Failed, status: 502, attempts: ":connection_refused"},
		{name: "an error that is not an upstream's", site: `
			upstream_diagnostics
			error 503`, status: 503},
		{name: "a 404", site: `
			upstream_diagnostics
			reverse_proxy /other DEAD
			respond 404`, status: 404},
		{name: "the upstream's own answer", site: `
			upstream_diagnostics
			reverse_proxy OWN503`, cause: "upstream_status", outcome: failure.UpstreamAnswered, status: 503, attempts: "OWN503:upstream_status"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			addresses := map[string]string{"DEAD": testcaddy.Dead(t), "CUT": testcaddy.Cutting(t), "GOOD": testcaddy.Good(t), "OWN503": testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(503)
			})}
			named := []string{}
			for name, address := range addresses {
				named = append(named, name, address)
			}
			c := testcaddy.New(t)
			caddyfile := c.Caddyfile(test.options, test.site)
			if strings.Contains(test.site, "invoke") {
				caddyfile += "&(app) {\nreverse_proxy DEAD\n}\n"
			}
			if err := testcaddy.Load(strings.NewReplacer(named...).Replace(caddyfile)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = caddy.Stop() })
			defer testcaddy.Client.CloseIdleConnections()

			a := c.Get("/x" + test.path)
			if a.Err != nil || a.Status != test.status {
				t.Errorf("got %d %v, want %d", a.Status, a.Err, test.status)
			}
			list := c.Kept()
			if test.cause == "" {
				if len(list) > 0 {
					t.Errorf("recorded: %+v", list[0])
				}
				return
			}
			if len(list) != 1 {
				t.Fatalf("recorded %d times", len(list))
			}
			f := list[0]
			var got []string
			for _, attempt := range f.Attempts {
				name := attempt.Upstream
				for short, address := range addresses {
					name = strings.ReplaceAll(name, address, short)
				}
				got = append(got, name+":"+attempt.Cause)
			}
			if test.site2 == "" {
				test.site2 = "127.0.0.1"
			}
			if f.Cause != test.cause || f.Outcome != test.outcome || strings.Join(got, " ") != test.attempts || f.Status != test.status || f.Site != test.site2 {
				record, _ := json.MarshalIndent(f, "", "  ")
				t.Errorf("got %s %s %v %d %q, want %s %s [%s] %d %q\n%s", f.Cause, f.Outcome, got, f.Status, f.Site, test.cause, test.outcome, test.attempts, test.status, test.site2, record)
			}
		})
	}
}
