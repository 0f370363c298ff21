package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func pointer[T any](v T) *T { return &v }

// whole is a failure that has every field.
func whole() *failure.Failure {
	return &failure.Failure{
		ID: "k3f9qw2ax", Time: failure.At(time.Date(2026, 11, 24, 4, 11, 26, 123e6, time.UTC)),
		Instance: "edge-1", Site: "example.com", Outcome: failure.Failed, Status: 502, Upstream: "app:8080",
		Cause: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream, Summary: "Nothing accepts connections at app:8080.",
		Advice:   "Start the application, or correct the port in reverse_proxy.",
		Evidence: []string{"connect 10.0.0.7:8080: ECONNREFUSED after 0.2 ms"},
		Error:    "dial tcp 10.0.0.7:8080: connect: connection refused",
		Limit:    &failure.Limit{Name: "dial_timeout", ValueMS: pointer(failure.Milliseconds(3000)), Source: failure.LimitDefault},

		RequestSent: failure.SentMaybe, AttemptCount: 2,
		Attempts: []failure.Attempt{
			{
				Upstream: "app2:443", Address: "10.0.0.8:443", LocalAddress: "10.0.0.2:51000", Protocol: "h2",
				Reused: pointer(true), IdleMS: pointer(failure.Milliseconds(40)), StartMS: 0, DurationMS: 60,
				PhasesMS: failure.Phases{Send: pointer(failure.Milliseconds(10)), Wait: pointer(failure.Milliseconds(50))},
				Cause:    "stream_reset", Error: "stream error", TLSAlert: pointer(uint8(116)), Status: 200,
				RequestBytes: pointer(int64(120)), ResponseBytes: pointer(int64(7)), ResponseBytesExpected: pointer(int64(500)),
			},
			{
				Upstream: "app:8080", Address: "10.0.0.7:8080", Protocol: "http/1.1", Reused: pointer(false),
				StartMS: 70, DurationMS: 30,
				PhasesMS: failure.Phases{DNS: pointer(failure.Milliseconds(10)), Connect: pointer(failure.Milliseconds(20))},
				Cause:    "connection_refused", Error: "connect: connection refused", Errno: "ECONNREFUSED",
			},
		},
		Unavailable: []failure.Unavailable{{
			Upstream: "app3:8080", Reason: failure.ReasonFails,
			Until: pointer(failure.At(time.Date(2026, 11, 24, 4, 11, 56, 0, time.UTC))), LastFailure: "k3f9qw2ay",
		}},
		Received: &failure.Received{Status: 503, Server: "nginx", Via: "1.1 varnish", RetryAfter: "120", ProxyStatus: "edge", GRPCStatus: "14", GRPCMessage: "no healthy upstream"},
		Request: failure.Request{
			Method: "GET", Host: "example.com", URI: "/cart?id=REDACTED", Proto: "HTTP/2.0",
			RemoteIP: "203.0.113.9", ClientIP: "198.51.100.1", Headers: map[string][]string{"User-Agent": {"Mozilla/5.0"}},
		},
		DurationMS: 100, Incident: "c7d1aa", TraceID: "4bf92f3577b34da6",
	}
}

// faces are all the ways to draw a failure.
var faces = map[string]func(*failure.Failure) (string, error){
	"html": func(f *failure.Failure) (string, error) {
		drawn, err := HTML(f)
		return string(drawn), err
	},
	"text":     written(Text),
	"markdown": written(Markdown),
}

func written(draw func(io.Writer, *failure.Failure) error) func(*failure.Failure) (string, error) {
	return func(f *failure.Failure) (string, error) {
		var b strings.Builder
		err := draw(&b, f)
		return b.String(), err
	}
}

func TestEveryFaceTellsAll(t *testing.T) {
	for name, draw := range faces {
		t.Run(name, func(t *testing.T) {
			drawn, err := draw(whole())
			if err != nil {
				t.Fatal(err)
			}
			drawn = strings.ReplaceAll(strings.ReplaceAll(drawn, `\_`, "_"), "The request took", "the request took")
			for _, want := range []string{
				"connection_refused", "Nothing accepts connections at app:8080.", "Start the application",
				DocsURL + "#connection_refused", "connect 10.0.0.7:8080: ECONNREFUSED after 0.2 ms",
				"dial tcp 10.0.0.7:8080", "dial_timeout 3 s (Caddy", "bytes of it left", "app2:443",
				"10.0.0.2:51000 → 10.0.0.8:443", "reused after 40 ms idle", "h2", "stream_reset", "stream error",
				"TLS alert 116 (certificate required)", "status 200", "read 120 B of the request body", "received 7 B of 500 B", "started at 70 ms, took 30 ms", "the request took 100 ms",
				"send 10 ms", "wait 50 ms", "new connection", "ECONNREFUSED", "app3:8080",
				"failed too often (max_fails), ", "for 29.9 s more", "2026-11-24T04:11:56.000Z", "k3f9qw2ay",
				"503, server: nginx, via: 1.1 varnish, retry-after: 120, proxy-status: edge, grpc-status: 14, grpc-message: no healthy upstream",
				"GET example.com /cart?id=REDACTED HTTP/2.0", "198.51.100.1 by way of 203.0.113.9", "Mozilla/5.0",
				"2026-11-24T04:11:26.123Z", "100 ms", "k3f9qw2ax", "c7d1aa", "4bf92f3577b34da6", "edge-1",
				"failed", "upstream", "unavailable",
			} {
				if !strings.Contains(drawn, want) {
					t.Errorf("no %q in\n%s", want, drawn)
				}
			}
		})
	}
}

// A record with nothing in it, and numbers that no request has, are drawn too.
func TestOddRecords(t *testing.T) {
	odd := whole()
	odd.DurationMS = 0
	odd.Attempts = []failure.Attempt{
		{StartMS: -5, DurationMS: failure.Milliseconds(math.NaN())},
		{StartMS: 1e9, DurationMS: -1, PhasesMS: failure.Phases{Wait: pointer(failure.Milliseconds(math.Inf(1)))}},
		{StartMS: 10, DurationMS: 5, PhasesMS: failure.Phases{Wait: pointer(failure.Milliseconds(500)), Body: pointer(failure.Milliseconds(500))}},
		{ResponseBytes: pointer(int64(-1))},
	}
	for name, f := range map[string]*failure.Failure{"empty": {}, "odd": odd} {
		for face, draw := range faces {
			if _, err := draw(f); err != nil {
				t.Errorf("%s, %s: %v", name, face, err)
			}
		}
		for _, a := range (Lookup{}).look(f).Attempts {
			spans := []span{a.Whole}
			for _, bar := range a.Bars {
				spans = append(spans, bar.span)
			}
			for _, s := range spans {
				if s.Start < 0 || s.Width < narrowest || s.Start+s.Width > thousandths {
					t.Errorf("%s: %+v is outside", name, s)
				}
			}
		}
	}
	for face, draw := range faces {
		if _, err := draw(nil); err == nil {
			t.Errorf("%s: nothing is drawn without an error", face)
		}
	}
}

func TestWaterfall(t *testing.T) {
	v := Lookup{}.look(whole())
	if v.Length != "100 ms" || strings.Join(v.Phases, " ") != "dns connect send wait" {
		t.Errorf("length %s, phases %v", v.Length, v.Phases)
	}
	second := v.Attempts[1]
	if second.Whole != (span{700, 300}) || second.Bars[0].span != (span{700, 100}) || second.Bars[1].span != (span{800, 200}) {
		t.Errorf("%+v", second)
	}
	if second.Bars[0].Failed || !second.Bars[1].Failed {
		t.Errorf("failed in another phase: %+v", second.Bars)
	}
	if got, want := line(second, columns, Terminal{}), strings.Repeat(" ", 35)+"dddddCCCCCCCCCC"; got != want {
		t.Errorf("line\n%q, want\n%q", got, want)
	}
}

// One is no plural.
func TestOneAttemptThatIsNotKept(t *testing.T) {
	f := whole()
	f.Attempts, f.AttemptCount = nil, failure.MaxAttempts+1
	for range failure.MaxAttempts {
		f.Attempts = append(f.Attempts, failure.Attempt{Upstream: "app:8080"})
	}
	drawn, err := HTML(f)
	var markdown strings.Builder
	if err := errors.Join(err, Markdown(&markdown, f)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(drawn), "1 more attempt is not kept") || !strings.Contains(markdown.String(), "| … | 1 more is not kept |") {
		t.Errorf("got\n%s\n%s", drawn, markdown.String())
	}
}

func TestAttemptsThatAreNotKept(t *testing.T) {
	f := whole()
	f.Attempts, f.AttemptCount = nil, 100
	for range failure.MaxAttempts {
		f.Attempts = append(f.Attempts, failure.Attempt{Upstream: "app:8080"})
	}
	rows := Lookup{}.look(f).Attempts
	for i, want := range map[int]int{0: 1, 7: 8, 8: 93, 15: 100} {
		if rows[i].Number != want {
			t.Errorf("row %d is attempt %d, want %d", i, rows[i].Number, want)
		}
	}
	for face, draw := range faces {
		drawn, err := draw(f)
		if err != nil || !strings.Contains(drawn, "84 more") || !strings.Contains(drawn, "worked") {
			t.Errorf("%s: %v\n%s", face, err, drawn)
		}
	}
}

const hostile = "\"'><script>alert(1)</script>{{env \"HOME\"}}`|`` <!-- **b** [x](y)\x00\x1b[31m\xff\u202e\r\n# h"

func TestHostileRecord(t *testing.T) {
	f := whole()
	for _, field := range []*string{
		&f.ID, &f.Instance, &f.Site, &f.Upstream, &f.Cause, &f.ProxyError, &f.Summary, &f.Advice, &f.Error, &f.Evidence[0],
		&f.Incident, &f.TraceID, &f.Limit.Name, &f.Attempts[0].Upstream, &f.Attempts[0].Address, &f.Attempts[0].Error,
		&f.Attempts[0].Cause, &f.Attempts[0].Protocol, &f.Attempts[1].Errno, &f.Unavailable[0].Upstream,
		&f.Unavailable[0].LastFailure, &f.Received.Server, &f.Request.Method, &f.Request.Host, &f.Request.URI, &f.Request.ClientIP,
	} {
		*field = hostile
	}
	f.Outcome, f.Phase, f.Side, f.Category = hostile, hostile, hostile, hostile
	f.RequestSent, f.Limit.Source, f.Unavailable[0].Reason = hostile, hostile, hostile
	f.Request.Headers = map[string][]string{hostile: {hostile}}

	for face, draw := range faces {
		drawn, err := draw(f)
		if err != nil {
			t.Fatal(err)
		}
		forbidden := []string{"\x00", "\x1b", "\xff", "\u202e", "\r", "\n# h"}
		if face == "html" {
			forbidden = append(forbidden, "<script", "<!--", `"'>`)
			if err := wellFormed(drawn); err != nil {
				t.Errorf("the fragment isn't well formed: %v", err)
			}
		}
		for _, s := range forbidden {
			if strings.Contains(drawn, s) {
				t.Errorf("%s has %q", face, s)
			}
		}
	}
	var table bytes.Buffer
	if err := Table(&table, []*failure.Failure{f}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(table.String(), "\x00\x1b\r\u202e") || strings.Count(table.String(), "\n") != 2 {
		t.Errorf("table %q", table.String())
	}
}

func wellFormed(fragment string) error {
	decoder := xml.NewDecoder(strings.NewReader(fragment))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestMarkdownCode(t *testing.T) {
	for in, want := range map[string]string{"a": "`a`", "a`b": "`` a`b ``", "``": "``` `` ```", "": ""} {
		if got := code(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	long := whole()
	long.Site = strings.Repeat("x", 100)
	if err := Table(&b, []*failure.Failure{whole(), nil, long, {Summary: "Only this."}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%q", lines)
	}
	for i, want := range [][]string{
		{"TIME", "ID", "SITE", "OUTCOME", "STATUS", "UPSTREAM", "CAUSE", "SUMMARY"},
		{"2026-11-24T04:11:26.123Z", "k3f9qw2ax", "example.com", "failed", "502", "app:8080", "connection_refused", "Nothing"},
		{"2026-11-24T04:11:26.123Z", "k3f9qw2ax", strings.Repeat("x", 39) + "…", "failed"},
		{"-", "-", "-", "-", "-", "-", "-", "Only", "this."},
	} {
		fields := strings.Fields(lines[i])
		if len(fields) < len(want) || strings.Join(fields[:len(want)], " ") != strings.Join(want, " ") {
			t.Errorf("line %d: %q, want %q", i, fields, want)
		}
	}
	b.Reset()
	if err := Table(&b, nil); err != nil || b.String() != "No failures.\n" {
		t.Errorf("%v %q", err, b.String())
	}
}

func TestDuration(t *testing.T) {
	for ms, want := range map[failure.Milliseconds]string{
		0: "0 ms", 0.034: "0.034 ms", 0.2: "0.2 ms", 9.96: "10 ms", 312.4: "312 ms", 999.7: "1000 ms", 1000: "1 s", 3050: "3.1 s",
		30_000: "30 s", 125_000: "2m5s",
	} {
		if got := duration(ms); got != want {
			t.Errorf("%v ms is %q, want %q", float64(ms), got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"plain ünïcode 日本": "plain ünïcode 日本",
		"a\u00a0b\u200cc":  "a\u00a0b\u200cc",
		"\x1b[31m":         `\x1b[31m`,
		"a\nb":             `a\nb`,
		"\xff":             `\xff`,
		"\u202e":           `\u202e`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("%s is %q, want %q", strconv.Quote(in), got, want)
		}
	}
}

type refusing struct{}

var errRefused = errors.New("refused")

func (refusing) Write([]byte) (int, error) { return 0, errRefused }

func TestWriteErrorIsReturned(t *testing.T) {
	for name, err := range map[string]error{
		"text": Text(refusing{}, whole()), "markdown": Markdown(refusing{}, whole()),
		"table": Table(refusing{}, []*failure.Failure{whole()}), "empty table": Table(refusing{}, nil),
	} {
		if !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Colours change nothing of what is seen, and a waterfall gives way to a narrow terminal.
func TestTerminal(t *testing.T) {
	hostileOne := whole()
	hostileOne.Upstream, hostileOne.Summary, hostileOne.Attempts[1].Cause = hostile, hostile, hostile
	for name, f := range map[string]*failure.Failure{"whole": whole(), "hostile": hostileOne} {
		painted := map[Part][]string{}
		var coloured, uncoloured strings.Builder
		paint := func(part Part, text string) string {
			painted[part] = append(painted[part], text)
			return "<" + text + ">"
		}
		if err := (Terminal{Paint: paint}).Text(&coloured, f); err != nil {
			t.Fatal(err)
		}
		if err := Text(&uncoloured, f); err != nil {
			t.Fatal(err)
		}
		for part, texts := range painted {
			for _, text := range texts {
				if strings.ContainsAny(text, "\x1b\r\n") {
					t.Errorf("%s: part %d is %q", name, part, text)
				}
			}
		}
		for part := PartHeadline; part <= PartPhase; part++ {
			if len(painted[part]) == 0 && part != PartWorked {
				t.Errorf("%s: no part %d", name, part)
			}
		}
		if name != "whole" {
			continue // it has the marks in it
		}
		if got := strings.NewReplacer("<", "", ">", "").Replace(coloured.String()); got != uncoloured.String() {
			t.Errorf("got\n%s\nwant\n%s", got, uncoloured.String())
		}
		if want := "[" + strings.Repeat(" ", 35) + "<ddddd><CCCCCCCCCC>] started at 70 ms, took 30 ms\n      dns 10 ms, connect 20 ms (failed here)\n"; !strings.Contains(coloured.String(), want) {
			t.Errorf("no %q in\n%s", want, coloured.String())
		}
	}
	for width, want := range map[int]string{
		1000: "  Start the application, or correct the port in reverse_proxy.\n",
		45:   "Nothing accepts connections at app:8080.\n\n",
		42: "\nWhat to do\n  Start the application, or correct the\n  port in reverse_proxy.\n  " + DocsURL + "#connection_refused\n" +
			"\nEvidence\n  - connect 10.0.0.7:8080: ECONNREFUSED\n    after 0.2 ms\n",
		50: "\n  Request sent  maybe: bytes of it left and no\n                final answer came back, so the\n                upstream may have processed it\n  Client  ",
		60: "\n      [" + strings.Repeat(" ", 35) + "dddddCCCCCCCCCC]\n      started at 70 ms, took 30 ms\n      dns 10 ms, connect 20 ms (failed here)\n",
		40: "\n      [" + strings.Repeat(" ", 22) + "dddCCCCCCC]\n      started at 70 ms, took",
		1:  "\n      [" + strings.Repeat(" ", 7) + "dCC]\n      started at 70 ms, took",
	} {
		var drawn strings.Builder
		if err := (Terminal{Width: width}).Text(&drawn, whole()); err != nil || !strings.Contains(drawn.String(), want) {
			t.Errorf("%v: in %d columns no %q in\n%s", err, width, want, drawn.String())
		}
	}
}

// What the fragment costs: on the operator's path alone.
func BenchmarkHTML(b *testing.B) {
	many := whole()
	for len(many.Attempts) < failure.MaxAttempts {
		many.Attempts = append(many.Attempts, many.Attempts[:2]...)
	}
	for name, f := range map[string]*failure.Failure{"two attempts": whole(), "16 attempts": many} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := HTML(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
