package operator

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// aBoard has an upstream of each state.
func aBoard() failure.Board {
	at := failure.At(time.Date(2026, 11, 24, 4, 11, 26, 123e6, time.UTC))
	no, yes, none, some := false, true, 0, 3
	warning := failure.Warning{
		Kind: failure.WarnRequests, Upstream: "app:3", Summary: "app:3 had 3 requests at a time, of at most 3.", Advice: "Add another upstream.",
		Evidence: []string{"3 requests of unhealthy_request_count 3 requests, which is 100 %"}, FirstSeen: at, LastSeen: at, Count: 2,
	}
	files := failure.Warning{Kind: failure.WarnOpenFiles, Summary: "This process has 9 files open, of at most 10.", Advice: "Raise it.", Evidence: []string{}, FirstSeen: at, LastSeen: at, Count: 1}
	return failure.Board{
		Upstreams: []failure.UpstreamState{
			{
				Upstream: "app:1", Address: "app:1", Sites: []string{"shop"}, Servers: []string{"srv0"}, Transport: "http", Protocol: "http/1.1", Healthy: &no, Reason: failure.ReasonFails,
				Fails: &some, MaxFails: 1, InFlight: &none, FailingSince: &at, OpenIncidents: []string{"57d54133a3361326"}, LastAnswer: &at,
				LastFailure: &failure.LastFailure{ID: "k3f9qw2ax", Time: at, Cause: "connection_refused"},
				Limits:      []failure.Limit{{Name: "dial_timeout", ValueMS: failure.MSPointer(3 * time.Second), Source: failure.LimitDefault}, {Name: "read_timeout", Source: failure.LimitAbsent}},
			},
			{Upstream: "app:2", Sites: []string{"shop", "other"}, Healthy: &no, Reason: failure.ReasonUnhealthy, Check: "the check asks GET /\x1b[31m: got 404", InFlight: &none},
			{Upstream: "app:3", Sites: []string{"shop"}, Healthy: &yes, Reason: failure.ReasonFull, InFlight: &some, MaxRequests: 3, LastSuccess: &at, Warnings: []failure.Warning{warning}},
			{Upstream: "app:3", Sites: []string{"other"}, OpenIncidents: []string{"57d54133a3361327"}, FailingSince: &at, LastFailure: &failure.LastFailure{ID: "k3f9qw2ay", Time: at, Cause: "response_timeout"}, Warnings: []failure.Warning{warning}},
			{Upstream: "app:4", LastSuccess: &at},
			{
				Upstream: "srv _http._tcp.app", Dynamic: true, Sites: []string{"shop"}, Servers: []string{"srv0"}, Transport: "http", Protocol: "http/1.1", TLS: true, CertificateNotAfter: &at,
				Lookup: &failure.SourceLookup{Time: at, AddressCount: 2, Addresses: []failure.SourceAddress{
					{Address: "10.0.0.7:80", LastSuccess: &at}, {Address: "10.0.0.8:80", LastFailure: &failure.LastFailure{ID: "k3f9qw2az", Time: at, Cause: "connect_timeout"}},
				}, Error: "no such host"},
			},
			{Upstream: "unix//run/app.sock"},
		},
		Warnings: []failure.Warning{files},
	}
}

func TestBoardAsText(t *testing.T) {
	h := New(&fakeView{board: aBoard()}, rows)
	w := ask(h, "GET", "/upstreams?format=text")
	check(t, w, 200, typeText)
	want := `STATE      SINCE                     UPSTREAM            SITES        IN FLIGHT  LAST SUCCESS              LAST FAILURE                                           WHY
down       2026-11-24T04:11:26.123Z  app:1               shop         0          -                         connection_refused 2026-11-24T04:11:26.123Z k3f9qw2ax  failed too often (max_fails)
down       -                         app:2               shop, other  0          -                         -                                                      fails its active health check; the check asks GET /\x1b[31m: got 404
full       -                         app:3               shop         3 of 3     2026-11-24T04:11:26.123Z  -                                                      full (unhealthy_request_count)
failing    2026-11-24T04:11:26.123Z  app:3               other        -          -                         response_timeout 2026-11-24T04:11:26.123Z k3f9qw2ay    -
up         -                         app:4               -            -          2026-11-24T04:11:26.123Z  -                                                      -
unknown    -                         srv _http._tcp.app  shop         -          -                         -                                                      no such host
not asked  -                         unix//run/app.sock  -            -          -                         -                                                      -

One that is reached in several ways (by another transport, or with other limits) has a line for each; ?upstream= shows what differs.

Warning: This process has 9 files open, of at most 10.
  - open_files_near_limit, seen once, from 2026-11-24T04:11:26.123Z to 2026-11-24T04:11:26.123Z
  What to do: Raise it.

Warning: app:3 had 3 requests at a time, of at most 3.
  - 3 requests of unhealthy_request_count 3 requests, which is 100 %
  - requests_near_limit, seen 2 times, from 2026-11-24T04:11:26.123Z to 2026-11-24T04:11:26.123Z
  What to do: Add another upstream.
`
	if got := w.Body.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}

	for query, want := range map[string]string{
		"upstream=app:1": `
Address      app:1
Servers      srv0
Transport    http, http/1.1
Healthy      no
Fails        3 of 1 (max_fails)
Last answer  2026-11-24T04:11:26.123Z
Incidents    57d54133a3361326
Limits       dial_timeout 3s (default), read_timeout none

Warning: This process`,
		"upstream=10.0.0.8:80": `
Servers      srv0
Transport    http, http/1.1, TLS
Last answer  -
Certificate  valid until 2026-11-24T04:11:26.123Z
Asked        2026-11-24T04:11:26.123Z
Gave         2

ADDRESS      LAST SUCCESS              LAST FAILURE
10.0.0.7:80  2026-11-24T04:11:26.123Z  -
10.0.0.8:80  -                         connect_timeout 2026-11-24T04:11:26.123Z k3f9qw2az
`,
		"upstream=app:3": `
Transport    another
Healthy      yes
Last answer  -

Transport    another
Last answer  -
Incidents    57d54133a3361327
`,
		"site=none": "No upstreams.\n\nWarning: This process",
	} {
		if w := ask(h, "GET", "/upstreams?format=text&"+query); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s gives:\n%s\nwant in it:\n%s", query, w.Body, want)
		}
	}
}

func TestBoardIsFiltered(t *testing.T) {
	h := New(&fakeView{board: aBoard()}, rows)
	for query, want := range map[string]int{
		"": 7, "?upstream=app:1": 1, "?upstream=app:1,app:3": 3, "?site=other": 2, "?site=shop&healthy=false": 2, "?healthy=unknown": 4, "?healthy=true": 1, "?healthy=": 7, "?upstream=10.0.0.7:80": 1, "?format=json": 7,
	} {
		w := ask(h, "GET", "/upstreams"+query)
		check(t, w, 200, typeJSON)
		if board := decode[failure.Board](t, w); len(board.Upstreams) != want || len(board.Warnings) != 1 {
			t.Errorf("%s: %d upstreams, want %d", query, len(board.Upstreams), want)
		}
	}
	for _, query := range []string{"?healthy=yes", "?cause=unknown", "?upstreams=x", "?limit=1", "?format=html", "?%zz"} {
		check(t, ask(h, "GET", "/upstreams"+query), 400, typeJSON)
	}
}

// Whoever waits for an answer, or was warned of, was asked.
func TestStateOfWhomNothingIsKnown(t *testing.T) {
	busy, idle := 1, 0
	for name, test := range map[string]struct {
		state failure.UpstreamState
		want  string
	}{
		"nothing":               {failure.UpstreamState{InFlight: &idle}, "not asked"},
		"a request is waiting":  {failure.UpstreamState{InFlight: &busy}, "unknown"},
		"its records are gone":  {failure.UpstreamState{Warnings: []failure.Warning{{}}}, "unknown"},
		"it failed":             {failure.UpstreamState{LastFailure: &failure.LastFailure{}}, "unknown"},
		"its source has failed": {failure.UpstreamState{Lookup: &failure.SourceLookup{Error: "no such host"}}, "unknown"},
	} {
		if got := stateOf(&test.state); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
