package diagnostics

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// cutInBody is a server whose answer breaks off.
func cutInBody(t *testing.T) string {
	return testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// One entry for each failure: at the level of its outcome, with the contract's
// fields, which say what the record says.
func TestLogEntry(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	s := slow(t)
	tests := []struct {
		name, site string
		level      string
		outcome    failure.Outcome
		leave      bool     // the client leaves
		without    []string // fields that aren't known
	}{
		{name: "failed", site: "reverse_proxy " + testcaddy.Dead(t), level: "error", outcome: failure.Failed},
		{name: "truncated", site: "reverse_proxy " + cutInBody(t), level: "error", outcome: failure.Truncated},
		{name: "rescued", site: "reverse_proxy " + testcaddy.Dead(t) + " " + testcaddy.Good(t) + " {\nlb_policy first\nlb_retries 1\nfail_duration 1s\n}", level: "warn", outcome: failure.Rescued},
		{name: "upstream_answered", site: "reverse_proxy " + testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }),
			level: "warn", outcome: failure.UpstreamAnswered, without: []string{"error", "proxy_error"}},
		{name: "abandoned", site: "reverse_proxy " + s.address, level: "info", outcome: failure.Abandoned, leave: true, without: []string{"incident", "proxy_error"}},
		{name: "nobody selected", site: "reverse_proxy {\ndynamic a {\nname localhost\nport 1\nversions ipv4\n}\n}", level: "error", outcome: failure.Failed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics {\nsite shop\n}\n"+test.site)
			if test.leave {
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-s.arrived; cancel() }()
				r, err := http.NewRequestWithContext(ctx, "GET", c.URL+"/order?token=secret", nil)
				if err != nil {
					t.Fatal(err)
				}
				if res, err := testcaddy.Client.Do(r); err == nil {
					res.Body.Close()
					t.Fatal("the client did not leave")
				}
			} else {
				c.Get("/order?token=secret", "Authorization: Bearer secret", "User-Agent: test/1")
			}
			entry := l.Wait(logMessage, 1)[0]
			f := c.Failure()
			incidents, warnings := 0, 0
			if f.Incident != "" {
				incidents = 1
			}
			if f.Outcome == failure.Rescued {
				warnings = 1
			}
			l.Wait(incidentMessage, incidents)
			l.Wait(warningMessage, warnings)
			if len(l.Entries("")) != 1+incidents+warnings { // and nothing else from our logger
				t.Errorf("logged: %v", l.Entries(""))
			}

			if f.Outcome != test.outcome {
				t.Fatalf("outcome %s", f.Outcome)
			}
			if entry["msg"] != "upstream failure" || entry["logger"] != "http.handlers.upstream_diagnostics" || entry["level"] != test.level {
				t.Errorf("got %v %v %v", entry["msg"], entry["logger"], entry["level"])
			}
			raw, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			var record map[string]any
			if err := json.Unmarshal(raw, &record); err != nil {
				t.Fatal(err)
			}
			record["err_id"] = record["id"]
			for _, field := range []string{
				"err_id", "site", "outcome", "status", "cause", "category", "proxy_error", "phase", "side", "upstream", "summary", "advice", "error",
				"evidence", "attempt_count", "request_sent", "duration_ms", "incident", "request",
			} {
				got, _ := json.Marshal(entry[field])
				want, _ := json.Marshal(record[field])
				if string(got) != string(want) {
					t.Errorf("%s: logged %s, recorded %s", field, got, want)
				}
				if _, there := entry[field]; there == slices.Contains(test.without, field) {
					t.Errorf("%s: %v", field, entry[field])
				}
			}
			if line, _ := json.Marshal(entry); strings.Contains(string(line), "secret") {
				t.Errorf("logged: %s", line)
			}
		})
	}
}

// Who could not be selected is in the entry as in the record.
func TestLogUnavailable(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)+" {\nfail_duration 1m\n}")
	c.Get("/")
	c.Get("/")
	entry := l.Wait(logMessage, 2)[1]
	f := c.Failure()
	if got, _ := json.Marshal(entry["unavailable"]); !sameJSON(t, got, f.Unavailable) || len(f.Unavailable) != 1 || f.Unavailable[0].LastFailure == "" {
		t.Errorf("logged %s, recorded %+v", got, f.Unavailable)
	}
	if _, there := l.Entries(logMessage)[0]["unavailable"]; there {
		t.Error("where all were there, it is logged too")
	}
}

// The log has every field of who could not be selected, by the record's names.
func TestLogUnavailableFields(t *testing.T) {
	until := failure.At(time.Date(2026, 11, 24, 4, 11, 56, 0, time.UTC))
	for _, list := range [][]failure.Unavailable{
		{{Upstream: "a:80", Reason: failure.ReasonFails, Until: &until, LastFailure: "k3f9qw2ax", LastCause: "dns_timeout", Check: "it answered 500"}},
		{{Upstream: "a:80", Reason: failure.ReasonFull}, {Upstream: "b:80", Reason: failure.ReasonUnhealthy, Check: "it timed out"}, {Upstream: "c:80"}},
	} {
		encoder := zapcore.NewMapObjectEncoder()
		if err := encoder.AddArray("unavailable", unavailableLog(list)); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(encoder.Fields["unavailable"]); !sameJSON(t, got, list) {
			t.Errorf("logged %s for %+v", got, list)
		}
	}
	for n, all := 0, reflect.ValueOf(failure.Unavailable{Upstream: "a", Reason: "b", Until: &until, LastFailure: "c", LastCause: "d", Check: "e"}); n < all.NumField(); n++ {
		if all.Field(n).IsZero() {
			t.Errorf("%s is a new field: log it, and test it here", all.Type().Field(n).Name)
		}
	}
}

// sameJSON says whether data is what JSON says.
func sameJSON(t *testing.T, got []byte, data any) bool {
	t.Helper()
	want, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	return json.Unmarshal(got, &a) == nil && json.Unmarshal(want, &b) == nil && reflect.DeepEqual(a, b)
}

// What is no upstream's doing is not logged by us.
func TestLogSilence(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nerror /503 503\nrespond /404 404\nreverse_proxy /down "+testcaddy.Dead(t)+"\nreverse_proxy "+testcaddy.Good(t))
	for _, path := range []string{"/", "/503", "/404", "/down"} {
		c.Get(path)
	}
	if got := l.Wait(logMessage, 1)[0]["cause"]; got != "connection_refused" || len(l.Entries("")) != 2 { // and that of its incident
		t.Errorf("logged: %v", got)
	}
}

// A request that fails in a storm waits for nobody who loads or reads the config.
func TestStormWaitsForNoLoad(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	c.Get("/") // opens the incident, which is told
	p := currentProcess()
	testcaddy.Eventually(t, "that is told", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.events) == 0 })
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 25 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := testcaddy.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
}

// In a storm the first ten have a line each.
func TestLogStorm(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy /cut "+testcaddy.Cutting(t)+"\nreverse_proxy "+testcaddy.Dead(t))
	for range 25 {
		c.Get("/")
	}
	c.Get("/cut") // another fingerprint
	var causes []any
	for _, entry := range l.Wait(logMessage, 11) {
		causes = append(causes, entry["cause"])
	}
	if causes[9] != "connection_refused" || causes[10] != "closed_before_response" {
		t.Errorf("logged: %v", causes)
	}
	if kept := len(c.Failures()); kept != 26 {
		t.Errorf("%d failures are recorded", kept)
	}

	// What is not yet summed up when Caddy stops is then.
	last := c.Failures("cause=connection_refused")[0].ID
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	sum := l.Wait(logMessage, 12)[11]
	if sum["count"] != 25.0 || sum["suppressed"] != 15.0 || sum["cause"] != "connection_refused" || sum["logger"] != testcaddy.LoggerName || sum["level"] != "error" {
		t.Errorf("summed up: %v", sum)
	}
	if id, _ := sum["err_id"].(string); id != last {
		t.Errorf("the sum stands for %s", id)
	}
}

// Lines about ourselves are as bounded as those of failures, and name what they are
// about.
func TestLogOwnLines(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	// It runs with every failure that it is tried with, and with no real one.
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(`{{if ne .ID "k3f9qw2ax"}}{{index .Hops 9}}{{end}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics {\ntemplate "+file+"\n}\nreverse_proxy "+testcaddy.Dead(t))
	for range 25 {
		if got := c.Get("/", "Accept: text/html"); got.Status != http.StatusBadGateway || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
			t.Fatalf("answered: %d %v", got.Status, got.Header)
		}
	}
	const message = "answering for an upstream"
	l.Wait(logMessage, journal.StormLines)
	l.Wait(message, journal.StormLines)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	sum := l.Wait(message, journal.StormLines+1)[journal.StormLines]
	if text, _ := sum["error"].(string); sum["count"] != 25.0 || sum["suppressed"] != 15.0 || !strings.Contains(text, "page.html:1") {
		t.Errorf("summed up: %v", sum)
	}
}

// A client that is gone before it has its answer is nothing to warn of.
func TestLogClientGone(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(strings.Repeat("a long page\n", 80_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics {\ntemplate "+file+"\n}\nreverse_proxy "+testcaddy.Dead(t))
	for n := range 40 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(1) // what it doesn't read soon holds the server up
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		testcaddy.Eventually(t, "a failure is recorded", func() bool { return len(c.Failures()) > n })
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset
		conn.Close()
	}
	if err := caddy.Stop(); err != nil { // it waits for the answers
		t.Fatal(err)
	}
	for _, entry := range l.Entries("") {
		if entry["msg"] != logMessage && entry["msg"] != incidentMessage {
			t.Fatalf("logged: %v", entry)
		}
	}
}

// The access log names id and cause, for requests of every outcome.
func TestAccessLog(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	tests := []struct{ name, site, page string }{
		{"failed", "reverse_proxy " + testcaddy.Dead(t), "public"},
		{"passed on", "reverse_proxy " + testcaddy.Dead(t), "off"},
		{"truncated", "reverse_proxy " + cutInBody(t), "public"},
		{"rescued", "reverse_proxy " + testcaddy.Dead(t) + " " + testcaddy.Good(t) + " {\nlb_policy first\nlb_retries 1\nfail_duration 1s\n}", "public"},
		{"went well", "reverse_proxy " + testcaddy.Good(t), "public"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.Start(t, "log "+l.Block("")+"\nupstream_diagnostics {\npage "+test.page+"\n}\n"+test.site)
			c.Get("/")
			entry := l.Wait("handled request", 1)[0]
			if test.name == "went well" {
				if _, there := entry["upstream_diagnostics_id"]; there {
					t.Errorf("got %v", entry)
				}
				return
			}
			f := c.Failure()
			if entry["upstream_diagnostics_id"] != f.ID || entry["upstream_diagnostics_cause"] != f.Cause {
				t.Errorf("got %v %v, want %s %s", entry["upstream_diagnostics_id"], entry["upstream_diagnostics_cause"], f.ID, f.Cause)
			}
		})
	}
}

// With `page off`, handle_errors sees the error as ever and our placeholders.
func TestPlaceholders(t *testing.T) {
	names := []string{
		"id", "title", "detail", "category", "request_sent",
		"cause", "proxy_error", "phase", "side", "outcome", "site", "upstream", "attempt_count", "duration_ms", "summary",
	}
	var lines []string
	for _, name := range names {
		lines = append(lines, name+"={http.upstream_diagnostics."+name+"}")
	}
	down := testcaddy.Dead(t)
	c := testcaddy.Start(t, `
		upstream_diagnostics {
			page off
			site shop
		}
		reverse_proxy `+down+`
		handle_errors 502 {
			respond "err_id={err.id}|status={err.status_code}|`+strings.Join(lines, "|")+`"
		}`)
	a := c.Get("/")
	f := c.Failure()
	got := make(map[string]string)
	for line := range strings.SplitSeq(a.Body, "|") {
		name, value, _ := strings.Cut(line, "=")
		got[name] = value
	}
	told := texts.English().Of(f.Public())
	for name, want := range map[string]string{
		"err_id": f.ID, "id": f.ID, "status": "502",
		"title": told.Title, "detail": told.Detail, "category": "unavailable", "request_sent": "no",
		"cause": "connection_refused", "proxy_error": "connection_refused", "phase": "connect", "side": "upstream", "outcome": "failed",
		"site": "shop", "upstream": down, "attempt_count": "1", "summary": f.Summary,
		"duration_ms": strconv.FormatFloat(float64(f.DurationMS), 'f', -1, 64),
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if a.Status != 502 || a.Header.Get("Upstream-Failure-Id") != "" {
		t.Errorf("got %d %v", a.Status, a.Header)
	}
}

// Where nothing failed, or not yet, they are empty; a name that isn't ours stays as it is.
func TestPlaceholdersWhereNothingFailed(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.Start(t, "log "+l.Block("")+`
		log_append failed {http.upstream_diagnostics.cause}
		log_append count {http.upstream_diagnostics.attempt_count}
		header >X-Deferred "[{http.upstream_diagnostics.id}]"
		route {
			upstream_diagnostics
			header X-Now "[{http.upstream_diagnostics.id}]"
			header X-No-Such "[{http.upstream_diagnostics.no_such}]"
			reverse_proxy /down `+testcaddy.Dead(t)+`
			reverse_proxy `+testcaddy.Good(t)+`
		}
		handle_errors {
			respond "[{http.upstream_diagnostics.id}]"
		}`)
	check := func(path string, status int, deferred string) {
		t.Helper()
		a := c.Get(path)
		for field, want := range map[string]string{"X-Deferred": deferred, "X-Now": "[]", "X-No-Such": "[{http.upstream_diagnostics.no_such}]"} {
			if got := a.Header.Get(field); got != want || a.Status != status {
				t.Errorf("%s: %d, %s is %q, want %q", path, a.Status, field, got, want)
			}
		}
	}
	check("/", 200, "[]")
	entry := l.Wait("handled request", 1)[0]
	if entry["failed"] != "" || entry["count"] != "" {
		t.Errorf("logged %q and %q", entry["failed"], entry["count"])
	}
	a := c.Get("/down")
	if f := c.Failure(); a.Header.Get("X-Deferred") != "["+f.ID+"]" || a.Header.Get("X-Now") != "[]" {
		t.Errorf("got %v", a.Header)
	}
}

// With the page, {err.*} are there for who logs after us: those of the error that we
// answered, also where another had come before it.
func TestErrorPlaceholdersBehindThePage(t *testing.T) {
	const logged = `
		log_append err_id {http.error.id}
		log_append err_status {http.error.status_code}
		log_append err_message {http.error.message}
		log_append cause {http.upstream_diagnostics.cause}
		upstream_diagnostics
		reverse_proxy `
	for _, test := range []struct{ name, site string }{
		{"alone", logged + testcaddy.Dead(t)},
		{"after another", "\nerror before 418\nhandle_errors {" + logged + testcaddy.Dead(t) + "\n}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.Start(t, "log "+l.Block("")+test.site)
			c.Get("/")
			entry := l.Wait("handled request", 1)[0]
			message, _ := entry["err_message"].(string)
			if f := c.Failure(); entry["err_id"] != f.ID || entry["err_status"] != 502.0 || entry["cause"] != f.Cause || !strings.HasSuffix(message, "connection refused") {
				t.Errorf("got %v %v %v %q", entry["err_id"], entry["err_status"], entry["cause"], message)
			}
		})
	}
}

// That the page takes the place of handle_errors is said once, when the config is
// loaded.
func TestWarnsOfErrorRoutes(t *testing.T) {
	tests := []struct {
		name, site string
		want       int
	}{
		{"page and error routes", "upstream_diagnostics\nhandle_errors {\nrespond error\n}", 1},
		{"no page", "upstream_diagnostics {\npage off\n}\nhandle_errors {\nrespond error\n}", 0},
		{"no error routes", "upstream_diagnostics", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), test.site+"\nreverse_proxy "+testcaddy.Good(t))
			c.Get("/a")
			c.Get("/b")
			warnings := slices.DeleteFunc(l.Entries(""), func(entry map[string]any) bool { return entry["level"] != "warn" })
			if len(warnings) != test.want {
				t.Errorf("%d warnings, want %d: %v", len(warnings), test.want, warnings)
			}
			for _, warning := range warnings {
				if text, _ := warning["msg"].(string); !strings.Contains(text, "page off") {
					t.Errorf("it doesn't say what to do: %s", text)
				}
			}
		})
	}
}

// Where no App runs, what was left out is summed up too.
func TestLogSummaryWithoutApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.InfoLevel)
		h := Handler{process: &process{}, logger: zap.New(core)}
		for n := range 25 {
			h.log(&failure.Failure{ID: strconv.Itoa(n), Time: failure.At(time.Now()), Outcome: failure.Failed, Cause: "connection_refused"})
		}
		time.Sleep(journal.StormWindow)
		synctest.Wait()
		entries := logged.TakeAll()
		if len(entries) != 11 || entries[10].ContextMap()["suppressed"] != int64(15) {
			t.Errorf("%d entries, the last %v", len(entries), entries[len(entries)-1].ContextMap())
		}
		if _, left := h.process.storm.Sweep(time.Now()); h.process.summing.Load() || left > 0 {
			t.Error("it goes on, with nothing left")
		}
	})
}

// Who has error routes and our page is told once a server that the page replaces them.
func TestLogErrorRoutes(t *testing.T) {
	for _, test := range []struct {
		name, options string
		warnings      int
	}{
		{name: "a page", warnings: 1},
		{name: "page off", options: " {\npage off\n}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), "route /a {\nupstream_diagnostics"+test.options+"\n}\nroute /b {\nupstream_diagnostics"+test.options+"\n}\nreverse_proxy "+testcaddy.Dead(t)+"\nhandle_errors {\nrespond oh\n}")
			c.Get("/b")
			if warnings := len(l.Entries("the page replaces what handle_errors shows for an upstream's failure; `page off` leaves it to handle_errors")); warnings != test.warnings {
				t.Errorf("%d warnings", warnings)
			}
		})
	}
}
