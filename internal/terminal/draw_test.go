package terminal

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// hostile is a text that would do something to a terminal, or to whoever reads it there.
const hostile = "a\x1b[31mb\rc\u202ed\u009be\x00\x7f\n"

// wicked are the characters of it that must not reach a terminal.
const wicked = "\x1b\r\u202e\u009b\x00\x7f"

var now = time.Date(2026, 11, 24, 4, 11, 26, 0, time.UTC)

func failureOf(outcome failure.Outcome, upstream, cause string, ago time.Duration) *failure.Failure {
	return &failure.Failure{
		ID: "k3f9qw2ax", Time: failure.At(now.Add(-ago)), Site: "example.com", Outcome: outcome, Status: 502, Upstream: upstream,
		Cause: cause, Side: failure.SideUpstream, Summary: "Nothing accepts connections at " + upstream + ".",
	}
}

func incidentOf(state failure.IncidentState, upstream string, ago time.Duration) *failure.Incident {
	i := &failure.Incident{
		ID: "57d54133a3361326", Site: "example.com", Upstream: upstream, Cause: "connection_refused", State: state, Count: 340,
		FirstSeen: failure.At(now.Add(-ago)), LastSeen: failure.At(now.Add(-ago / 2)), Summary: "Nothing accepts connections at " + upstream + ".",
	}
	if state == failure.IncidentResolved {
		at := i.LastSeen
		i.ResolvedAt = &at
	}
	return i
}

func TestFailures(t *testing.T) {
	list := []*failure.Failure{
		failureOf(failure.Failed, "app:8080", "connection_refused", 2*time.Minute),
		failureOf(failure.UpstreamAnswered, "unix//run/a-name-that-is-long.sock", "answered_503", 26*time.Hour),
		failureOf(failure.Rescued, "アプリ:8080", "dial_timeout", 0),
		{ID: "zff9ge3t7", Cause: "unknown", Outcome: failure.Abandoned, Time: failure.At(now.Add(-72 * time.Hour)), Summary: hostile, Upstream: hostile},
	}
	for name, test := range map[string]struct {
		screen Screen
		want   string
	}{
		"a pipe: exact and uncut": {Screen{}, `
TIME                      ID         OUTCOME            STATUS  SITE         UPSTREAM                               CAUSE               SUMMARY
2026-11-24T04:09:26.000Z  k3f9qw2ax  failed             502     example.com  app:8080                               connection_refused  Nothing accepts connections at app:8080.
2026-11-23T02:11:26.000Z  k3f9qw2ax  upstream_answered  502     example.com  unix//run/a-name-that-is-long.sock     answered_503        Nothing accepts connections at unix//run/a-name-that-is-long.sock.
2026-11-24T04:11:26.000Z  k3f9qw2ax  rescued            502     example.com  アプリ:8080                            dial_timeout        Nothing accepts connections at アプリ:8080.
2026-11-21T04:11:26.000Z  zff9ge3t7  abandoned          -       -            a\x1b[31mb\rc\u202ed\u009be\x00\x7f\n  unknown             a\x1b[31mb\rc\u202ed\u009be\x00\x7f\n
`},
		"a wide terminal": {Screen{Terminal: true, Width: 140}, `
TIME       ID         OUTCOME              STATUS  SITE         UPSTREAM                  CAUSE               SUMMARY
2 min ago  k3f9qw2ax  ✗ failed             502     example.com  app:8080                  connection_refused  Nothing accepts connections a…
26 h ago   k3f9qw2ax  ! upstream_answered  502     example.com  unix//run/a-name-that-i…  answered_503        Nothing accepts connections a…
now        k3f9qw2ax  ↻ rescued            502     example.com  アプリ:8080               dial_timeout        Nothing accepts connections a…
3 d ago    zff9ge3t7  · abandoned          -       -            a\x1b[31mb\rc\u202ed\u0…  unknown             a\x1b[31mb\rc\u202ed\u009be\x…
`},
		"a usual one": {Screen{Terminal: true, Width: 80}, `
TIME       ID         OUTCOME              UPSTREAM           CAUSE
2 min ago  k3f9qw2ax  ✗ failed             app:8080           connection_refused
26 h ago   k3f9qw2ax  ! upstream_answered  unix//run/a-name…  answered_503
now        k3f9qw2ax  ↻ rescued            アプリ:8080        dial_timeout
3 d ago    zff9ge3t7  · abandoned          a\x1b[31mb\rc\u2…  unknown
`},
		"one no wider than a time": {Screen{Terminal: true, Width: 7}, `
TIME
2 min …
26 h a…
now
3 d ago
`},
	} {
		t.Run(name, func(t *testing.T) {
			rows := make([][]cell, len(list))
			for i, f := range list {
				rows[i] = failureRow(test.screen, f, test.screen.when(f.Time, now))
			}
			drawnAs(t, test.screen, failureTable().draw(test.screen, true, rows...), test.want)
		})
	}
}

func TestIncidents(t *testing.T) {
	list := []*failure.Incident{
		incidentOf(failure.IncidentOpen, "app:8080", 12*time.Minute),
		incidentOf(failure.IncidentResolved, hostile, 30*time.Hour),
	}
	for name, test := range map[string]struct {
		screen Screen
		want   string
	}{
		"a pipe": {Screen{}, `
STATE     SINCE                     LAST SEEN                 REQUESTS  SITE         UPSTREAM                               CAUSE               INCIDENT          SUMMARY
open      2026-11-24T03:59:26.000Z  2026-11-24T04:05:26.000Z  340       example.com  app:8080                               connection_refused  57d54133a3361326  Nothing accepts connections at app:8080.
resolved  2026-11-22T22:11:26.000Z  2026-11-23T13:11:26.000Z  340       example.com  a\x1b[31mb\rc\u202ed\u009be\x00\x7f\n  connection_refused  57d54133a3361326  Nothing accepts connections at a\x1b[31mb\rc\u202ed\u009be\x00\x7f\n.
`},
		"a terminal": {Screen{Terminal: true, Width: 100}, `
STATE       SINCE       LAST SEEN  REQUESTS  UPSTREAM                             CAUSE
● open      12 min ago  6 min ago  340       app:8080                             connection_refused
✓ resolved  30 h ago    15 h ago   340       a\x1b[31mb\rc\u202ed\u009be\x00\x7…  connection_refused
`},
	} {
		t.Run(name, func(t *testing.T) {
			rows := make([][]cell, len(list))
			for n, i := range list {
				rows[n] = incidentRow(test.screen, i, now)
			}
			drawnAs(t, test.screen, incidentTable().draw(test.screen, true, rows...), test.want)
		})
	}
}

func drawnAs(t *testing.T, s Screen, got, want string) {
	t.Helper()
	if got = "\n" + got; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for line := range strings.Lines(got) {
		if wide := widthOf(strings.TrimSuffix(line, "\n")); s.Width > 0 && wide > s.Width {
			t.Errorf("%d columns: %s", wide, line)
		}
	}
}

// Colours change nothing of what is seen: without its escapes a line is the plain one.
func TestColours(t *testing.T) {
	uncoloured, coloured := Screen{Terminal: true, Width: 120}, Screen{Terminal: true, Width: 120, Colour: true}
	draw := func(s Screen) string {
		f := failureOf(failure.Failed, hostile, "connection_refused", time.Hour)
		fromClient := failureOf(failure.Failed, "app:8080", "client_sent_too_much", time.Hour)
		fromClient.Side = failure.SideClient
		return failureTable().draw(s, true, failureRow(s, f, "now"), failureRow(s, fromClient, "now"),
			failureRow(s, failureOf(failure.Rescued, "app:8080", "dial_timeout", 0), "now"))
	}
	got := draw(coloured)
	for _, want := range []string{"\x1b[31m✗ failed\x1b[0m", "\x1b[2m· failed\x1b[0m", "\x1b[33m↻ rescued\x1b[0m", "\x1b[36mk3f9qw2ax\x1b[0m"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%q", want, got)
		}
	}
	if without := withoutColours(got); without != draw(uncoloured) {
		t.Errorf("got\n%s\nwant\n%s", without, draw(uncoloured))
	}
}

// withoutColours takes out the escapes that are ours.
func withoutColours(text string) string {
	for _, c := range []colour{"0", bold, dim, red, green, yellow, cyan, alarm} {
		text = strings.ReplaceAll(text, "\x1b["+string(c)+"m", "")
	}
	return text
}

// More lines may come under the same head: columns get wider, never narrower.
func TestLinesThatCome(t *testing.T) {
	table, s := failureTable(), Screen{}
	drawn := table.draw(s, true, failureRow(s, failureOf(failure.UpstreamAnswered, "application:8080", "answered_503", 0), "now"))
	drawn += table.draw(s, false, failureRow(s, failureOf(failure.Failed, "a:1", "unknown", 0), "now"))
	drawn += table.draw(s, false)
	want := `TIME  ID         OUTCOME            STATUS  SITE         UPSTREAM          CAUSE         SUMMARY
now   k3f9qw2ax  upstream_answered  502     example.com  application:8080  answered_503  Nothing accepts connections at application:8080.
now   k3f9qw2ax  failed             502     example.com  a:1               unknown       Nothing accepts connections at a:1.
`
	if drawn != want {
		t.Errorf("got\n%s\nwant\n%s", drawn, want)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		text    string
		columns int
		want    string
	}{
		{"upstream", 8, "upstream"}, {"upstream", 7, "upstre…"}, {"upstream", 1, "…"}, {"upstream", 0, ""}, {"", 0, ""}, {"upstream", -3, ""},
		{"アプリ", 6, "アプリ"}, {"アプリ", 5, "アプ…"}, {"アプリ", 4, "ア…"},
		{"e\u0301te\u0301", 3, "e\u0301te\u0301"}, {"e\u0301te\u0301", 2, "e\u0301…"},
	} {
		if got := cut(test.text, test.columns); got != test.want {
			t.Errorf("%q in %d columns is %q, want %q", test.text, test.columns, got, test.want)
		}
	}
}
