package diagnostics

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// scrape asks for metrics, as whoever accepts what is given.
func scrape(t *testing.T, url, accept string) (contentType, body string) {
	t.Helper()
	testcaddy.Eventually(t, "an answer of "+url, func() bool { // a reload swaps its server
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		res, err := testcaddy.Client.Do(r)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, got)
		}
		contentType, body = res.Header.Get("Content-Type"), string(got)
		return err == nil
	})
	return contentType, body
}

// series are our metrics of an exposition, each by its name and labels.
type series map[string]float64

func seriesOf(t *testing.T, exposition string) series {
	t.Helper()
	found := make(series)
	for line := range strings.Lines(exposition) {
		if !strings.HasPrefix(line, "caddy_upstream_") {
			continue
		}
		line, _, _ = strings.Cut(line, " # ") // an exemplar
		name, text, _ := cutLast(strings.TrimSpace(line), " ")
		value, err := strconv.ParseFloat(text, 64)
		if _, twice := found[name]; twice || err != nil {
			t.Fatalf("there twice, or no value: %q", line)
		}
		found[name] = value
	}
	return found
}

func cutLast(text, by string) (before, after string, found bool) {
	at := strings.LastIndex(text, by)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(by):], true
}

// sum adds up those of one name that have all these labels, each `name="value"`.
func (s series) sum(name string, labels ...string) (sum float64) {
next:
	for key, value := range s {
		if !strings.HasPrefix(key, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(key, "{"+label) && !strings.Contains(key, ","+label) {
				continue next
			}
		}
		sum += value
	}
	return sum
}

func metricsOf(c *testcaddy.Caddy) series {
	c.T.Helper()
	_, body := scrape(c.T, c.Admin+"/metrics", "")
	return seriesOf(c.T, body)
}

// inTurn selects an upstream by the attempt's number.
type inTurn struct{}

func (inTurn) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.selection_policies.in_turn", New: func() caddy.Module { return new(inTurn) }}
}

func (*inTurn) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	return nil
}

func (inTurn) Select(pool reverseproxy.UpstreamPool, r *http.Request, _ http.ResponseWriter) *reverseproxy.Upstream {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	made, _ := repl.Get("attempts")
	n, _ := made.(int)
	repl.Set("attempts", n+1)
	return pool[n%len(pool)]
}

func init() { caddy.RegisterModule(inTurn{}) }

// agree holds the metrics against what the process has by itself.
func (s series) agree(t *testing.T) {
	t.Helper()
	p := currentProcess()
	for outcome, count := range p.journal.Overview().Counts {
		if got := s.sum("caddy_upstream_failures_total", fmt.Sprintf("outcome=%q", outcome)); got != float64(count) {
			t.Errorf("%s: %v, and the journal has %d", outcome, got, count)
		}
	}
	open, dropped := p.incidents.Counts()
	if got := s.sum("caddy_upstream_incidents_open"); got != float64(open) {
		t.Errorf("%v incidents are open, not %d", got, open)
	}
	if got := s.sum("caddy_upstream_diagnostics_dropped_total"); got != float64(dropped) {
		t.Errorf("%v are dropped, not %d", got, dropped)
	}
}

// Metrics are what was recorded, of two sites and every outcome, and reloads change nothing
// of it: one that succeeds, one that fails at any step, and one after a stop.
func TestMetrics(t *testing.T) {
	before := failure.AbandonedAfter
	failure.AbandonedAfter = time.Hour // whoever leaves is only counted
	t.Cleanup(func() { failure.AbandonedAfter = before })
	broken := filepath.Join(t.TempDir(), "broken.html")
	if err := os.WriteFile(broken, []byte("{{if}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	dead, alsoDead, good, s := testcaddy.Dead(t), testcaddy.Dead(t), testcaddy.Good(t), slow(t)
	busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	cut := cutInBody(t)
	site := `handle /shop/* {
	upstream_diagnostics {
		site shop
	}
	reverse_proxy /shop/rescued ` + dead + " " + good + ` {
		lb_policy in_turn
		lb_retries 1
	}
	reverse_proxy /shop/cut ` + cut + `
	reverse_proxy /shop/slow ` + alsoDead + " " + s.address + ` {
		lb_policy in_turn
		lb_retries 1
	}
	reverse_proxy ` + dead + `
}
handle {
	upstream_diagnostics {
		site blog
	}
	reverse_proxy /busy ` + busy + `
	reverse_proxy ` + dead + `
}
`
	c := testcaddy.Start(t, site)
	visits := func() {
		t.Helper()
		for _, path := range []string{"/shop/rescued", "/shop/cut", "/shop/refused", "/busy", "/refused", "/refused"} {
			testcaddy.Eventually(t, "an answer to "+path, func() bool { return c.Get(path).Status != 0 }) // a reload resets a few
		}
		leave(t, c.URL+"/shop/slow", s.arrived)
		c.Idle()
	}
	check := func(n float64) {
		t.Helper()
		var got series
		testcaddy.Eventually(t, "all are counted", func() bool { // one that was cut off is so a moment later
			got = metricsOf(c)
			return got.sum("caddy_upstream_failures_total") >= 7*n
		})
		got.agree(t)
		quoted := func(name, value string) string { return name + `="` + value + `"` }
		ofDead, refused := quoted("upstream", dead), quoted("cause", "connection_refused")
		for _, want := range []struct {
			name   string
			labels []string
			value  float64
		}{
			{"caddy_upstream_failures_total", nil, 7 * n},
			{"caddy_upstream_failures_total", []string{`site="shop"`, ofDead, refused, `outcome="rescued"`}, n},
			{"caddy_upstream_failures_total", []string{`site="shop"`, ofDead, refused, `outcome="failed"`}, n},
			{"caddy_upstream_failures_total", []string{`site="shop"`, quoted("upstream", cut), `outcome="truncated"`}, n},
			{"caddy_upstream_failures_total", []string{`site="shop"`, quoted("upstream", s.address), quoted("cause", "client_closed_request"), `outcome="abandoned"`}, n},
			{"caddy_upstream_failures_total", []string{`site="blog"`, ofDead, refused, `outcome="failed"`}, 2 * n},
			{"caddy_upstream_failures_total", []string{`site="blog"`, quoted("upstream", busy), quoted("cause", "upstream_status"), `outcome="upstream_answered"`}, n},
			{"caddy_upstream_attempt_failures_total", nil, 7 * n}, // none for who was left, one before it
			{"caddy_upstream_attempt_failures_total", []string{`site="shop"`, ofDead, refused}, 2 * n},
			{"caddy_upstream_attempt_failures_total", []string{`site="shop"`, quoted("upstream", alsoDead), refused}, n},
			{"caddy_upstream_attempt_failures_total", []string{`site="blog"`, ofDead, refused}, 2 * n},
			{"caddy_upstream_attempt_failures_total", []string{quoted("upstream", s.address)}, 0},
			{"caddy_upstream_incidents_open", nil, 4},
			{"caddy_upstream_incidents_open", []string{`site="blog"`, ofDead, refused}, 1},
			{"caddy_upstream_diagnostics_dropped_total", nil, 0},
		} {
			if value := got.sum(want.name, want.labels...); value != want.value {
				t.Errorf("%s%v is %v, want %v", want.name, want.labels, value, want.value)
			}
		}
		if t.Failed() {
			t.Fatal(got)
		}
	}
	visits()
	check(1)
	for n := range 3 {
		if err := c.Load("", site); err != nil {
			t.Fatal(err)
		}
		check(1 + float64(n))
		visits()
		check(2 + float64(n))
	}
	busyPort, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busyPort.Close()
	for says, load := range map[string]func() error{
		"broken.html": func() error {
			return c.Load("", "upstream_diagnostics {\ntemplate "+broken+"\n}\nreverse_proxy "+dead)
		},
		"open /nonexistent": func() error {
			return c.Load("", "upstream_diagnostics\nreverse_proxy "+dead+" {\ntransport http {\ntls_trust_pool file /nonexistent\n}\n}")
		},
		"address already in use": func() error {
			return testcaddy.Load(c.Caddyfile("", site) + "http://" + busyPort.Addr().String() + " {\nbind 127.0.0.1\nrespond busy\n}")
		},
		"keep -1": func() error { // it is our App that fails
			return caddy.Load([]byte(`{"admin": {"listen": "127.0.0.1:`+strconv.Itoa(c.AdminPort)+`"}, "apps": {"upstream_diagnostics": {"keep": -1}}}`), true)
		},
	} {
		if err := load(); err == nil || !strings.Contains(err.Error(), says) {
			t.Fatalf("%s: %v", says, err)
		}
		check(4)
	}
	visits()
	check(5)

	// Incidents that are over are observed, and stay as 0.
	p := currentProcess()
	if err := c.Load("", "respond fine"); err != nil {
		t.Fatal(err)
	}
	p.resolveIncidents(zap.NewNop(), time.Now())
	got := metricsOf(c)
	got.agree(t)
	if n := got.sum("caddy_upstream_incident_duration_seconds_count"); n != 4 {
		t.Errorf("%v durations", n)
	}
	if n := got.sum("caddy_upstream_incident_duration_seconds_count", `cause="connection_refused"`); n != 2 {
		t.Errorf("%v durations of connection_refused", n)
	}
	if _, there := got[`caddy_upstream_incidents_open{cause="connection_refused",site="blog",upstream="`+dead+`"}`]; !there {
		t.Errorf("a resolved incident is left out: %v", got)
	}
	// Who forgets the records keeps the counts.
	c.Forget()
	if got := metricsOf(c); got.sum("caddy_upstream_failures_total") != 35 || got.sum("caddy_upstream_incidents_open") != 0 {
		t.Errorf("forgotten: %v", got)
	}

	// What a stop ends begins anew.
	testcaddy.Stop(t)
	if err := c.Load("", site); err != nil {
		t.Fatal(err)
	}
	if currentProcess() == p {
		t.Fatal("the process is the same")
	}
	testcaddy.Eventually(t, "no failure before there was one", func() bool { // the admin endpoint before may still answer
		return metricsOf(c).sum("caddy_upstream_failures_total") == 0
	})
	visits()
	check(1)
}

// What is under way when another config takes over is counted with the rest, and shows in
// what that one exposes.
func TestMetricsOfTwoConfigs(t *testing.T) {
	s := slow(t)
	c := testcaddy.New(t)
	config := func(site string) string {
		config := c.Caddyfile("", "upstream_diagnostics {\nsite "+site+"\n}\nreverse_proxy /slow "+s.address+"\nreverse_proxy "+testcaddy.Dead(t))
		return strings.Replace(config, "grace_period 1s", "grace_period 20s", 1)
	}
	if err := testcaddy.Load(config("before")); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	c.Visit("/")
	var under sync.WaitGroup
	under.Go(func() { c.Get("/slow") })
	<-s.arrived
	if err := testcaddy.Load(config("after")); err != nil {
		t.Fatal(err)
	}
	c.Visit("/")
	s.breaks()
	under.Wait()
	got := metricsOf(c)
	got.agree(t)
	for site, want := range map[string]float64{"before": 2, "after": 1} {
		if n := got.sum("caddy_upstream_failures_total", fmt.Sprintf("site=%q", site)); n != want {
			t.Errorf("%s: %v, want %v in %v", site, n, want, got)
		}
	}
}

// Metrics are well formed, in each format that Caddy has them in, whatever an upstream's
// name is; the trace's id is an exemplar where the format has exemplars.
func TestMetricsExposition(t *testing.T) {
	spans := recordSpans(t)
	site := "route {\n" + spans.directive() + "\nmetrics /metrics\nupstream_diagnostics\nreverse_proxy " + testcaddy.Dead(t) + "\n}"
	c := testcaddy.Start(t, site)
	c.Get("/order")
	f := c.Failure()
	hostile := "bad\"} 1\n# HELP \\\xff \u202e" + strings.Repeat("é", 200)
	p := currentProcess()
	p.count(&failure.Failure{Site: hostile, Upstream: hostile, Cause: "connection_refused", Outcome: failure.Failed, Attempts: []failure.Attempt{{Upstream: hostile, Cause: "connection_refused", Incident: "x"}}})
	p.incidents.See(journal.Sighting{Of: failure.Incident{ID: "x", Site: hostile, Upstream: hostile, Cause: "connection_refused"}, Outcome: failure.Failed, At: time.Now()})
	p.metrics.durations.WithLabelValues("connection_refused").Observe(7)

	for _, test := range []struct {
		name, url, accept, is string
		exemplar              bool
	}{
		{name: "text", url: c.Admin, accept: "text/plain;version=0.0.4", is: "text/plain; version=0.0.4"},
		{name: "protobuf", url: c.Admin, accept: "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", is: "application/vnd.google.protobuf", exemplar: true},
		{name: "OpenMetrics", url: c.URL, accept: "application/openmetrics-text;version=1.0.0", is: "application/openmetrics-text", exemplar: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			contentType, body := scrape(t, test.url+"/metrics", test.accept)
			if !strings.HasPrefix(contentType, test.is) {
				t.Errorf("it is %s", contentType)
			}
			if strings.Contains(body, f.TraceID) != test.exemplar || f.TraceID == "" {
				t.Errorf("trace %q in it: %t", f.TraceID, !test.exemplar)
			}
			if test.name == "protobuf" {
				return
			}
			if got := seriesOf(t, body); len(got) < 10 || got.sum("caddy_upstream_failures_total") != 2 {
				t.Errorf("%v", got)
			}
			if strings.Contains(body, "\u202e\n") || !utf8.ValidString(body) {
				t.Error("a name broke out")
			}
			if test.name == "OpenMetrics" {
				if want := `} 1.0 # {trace_id="` + f.TraceID + `"} 1.0`; !strings.Contains(body, want) {
					t.Errorf("no exemplar: %s", body)
				}
				return
			}
			problems, err := promlint.New(strings.NewReader(body)).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range problems {
				if strings.HasPrefix(problem.Metric, "caddy_upstream_") {
					t.Errorf("%s: %s", problem.Metric, problem.Text)
				}
			}
		})
	}
}

// A site and an upstream have a label each, as long as they are few.
func TestLabels(t *testing.T) {
	name := func(n int) string { return "10.0.0." + strconv.Itoa(n) + ":80" }
	t.Run("clean and bounded", func(t *testing.T) {
		var l labels
		for name, want := range map[string]string{
			"":                             "",
			"app:8080":                     "app:8080",
			"unix//run/ä.sock":             "unix//run/ä.sock",
			"a\x00b\nc\x7f":                "a�b�c�",
			"\xff":                         "�",
			strings.Repeat("x", 129):       strings.Repeat("x", 128),
			"x" + strings.Repeat("é", 100): "x" + strings.Repeat("é", 63),
		} {
			for range 2 {
				if got := l.of(name); got != want {
					t.Errorf("%q becomes %q, want %q", name, got, want)
				}
			}
		}
	})
	t.Run("the first hundred", func(t *testing.T) {
		var l labels
		for n := range 150 {
			want := otherLabel
			if n < maxLabels {
				want = name(n)
			}
			if got := l.of(name(n)); got != want {
				t.Errorf("%d becomes %q", n, got)
			}
		}
		if got := l.of(name(7)); got != name(7) {
			t.Errorf("one that is known becomes %q", got)
		}
	})
}

// gather is what a registry that holds nothing else exposes.
func gather(t *testing.T, p *process) series {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(collector{p, zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return seriesOf(t, w.Body.String())
}

// Beyond the hundred they are counted together, in each metric, and nothing is lost.
func TestMetricsOfManyUpstreams(t *testing.T) {
	p := emptyProcess(t)
	const upstreams = 150
	for n := range upstreams {
		upstream := "10.0.0." + strconv.Itoa(n) + ":80"
		id := incidentID("shop", upstream, "connection_refused")
		p.count(&failure.Failure{Site: "shop", Upstream: upstream, Cause: "connection_refused", Outcome: failure.Failed, Attempts: []failure.Attempt{{Upstream: upstream, Cause: "connection_refused", Incident: id}}})
		p.incidents.See(journal.Sighting{Of: failure.Incident{ID: id, Site: "shop", Upstream: upstream, Cause: "connection_refused"}, Outcome: failure.Failed, At: time.Now()})
	}
	got := gather(t, p)
	for _, name := range []string{"caddy_upstream_failures_total", "caddy_upstream_attempt_failures_total", "caddy_upstream_incidents_open"} {
		if n := got.sum(name); n != upstreams {
			t.Errorf("%s: %v in all", name, n)
		}
		if n := got.sum(name, `upstream="_other"`); n != upstreams-maxLabels {
			t.Errorf("%s: %v of others", name, n)
		}
	}
}

// Any number of requests count at once, and none is lost while somebody reads.
func TestMetricsAtOnce(t *testing.T) {
	p := emptyProcess(t)
	const workers, each = 8, 2000
	var counting, reading sync.WaitGroup
	done := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				gather(t, p)
			}
		}
	})
	for worker := range workers {
		counting.Go(func() {
			for n := range each {
				f := &failure.Failure{Site: "shop", Upstream: strconv.Itoa(n % 120), Cause: "connection_refused", Outcome: failure.Outcomes[n%5]}
				if worker == 0 {
					f.TraceID = "4bf92f3577b34da6a3ce929d0e0e4736"
				}
				p.count(f)
			}
		})
	}
	counting.Wait()
	close(done)
	reading.Wait()
	if n := gather(t, p).sum("caddy_upstream_failures_total"); n != workers*each {
		t.Errorf("%v are counted of %d", n, workers*each)
	}
}

// With no admin endpoint and no global option no App looks what is over: who asks for the
// metrics does.
func TestMetricsWithoutApp(t *testing.T) {
	c := testcaddy.New(t)
	if err := c.Load("admin off", "metrics /metrics\nupstream_diagnostics {\nsite shop\n}\nreverse_proxy "+testcaddy.Dead(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	p := currentProcess()
	if p.attended.Load() {
		t.Fatal("an App runs")
	}
	c.Get("/")
	ask := func() series {
		_, body := scrape(t, c.URL+"/metrics", "")
		return seriesOf(t, body)
	}
	got := ask()
	got.agree(t)
	// Nobody hears inside reverse_proxy, so that its upstream isn't known.
	if n := got.sum("caddy_upstream_failures_total", `upstream=""`, `site="shop"`, `cause="connection_refused"`); n != 1 || got.sum("caddy_upstream_incidents_open") != 1 {
		t.Errorf("%v", got)
	}
	// One that began and ended long ago.
	p.incidents.See(journal.Sighting{Of: failure.Incident{ID: "x", Cause: "connection_reset"}, Outcome: failure.Failed, At: time.Now().Add(-2 * time.Hour)})
	got = ask()
	if got.sum("caddy_upstream_incidents_open") != 1 || got.sum("caddy_upstream_incident_duration_seconds_count") != 1 {
		t.Errorf("%v", got)
	}
}

// A record that a fault of ours has cost is counted.
func TestMetricsOfAFault(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	running(t).ours[0].redact = nil
	if a := c.Get("/"); a.Status != http.StatusBadGateway || len(c.Failures()) != 0 {
		t.Fatalf("got %d, and %d records", a.Status, len(c.Failures()))
	}
	got := metricsOf(c)
	if n := got.sum("caddy_upstream_diagnostics_dropped_total", `reason="fault"`); n != 1 || got.sum("caddy_upstream_failures_total") != 0 {
		t.Errorf("%v", got)
	}
}

// A fault while a sample is kept harms no request that goes well.
func TestFaultOfASample(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "app")
		w.WriteHeader(http.StatusNoContent)
	}))
	running(t).ours[0].redact = nil
	if a := c.Get("/"); a.Status != http.StatusNoContent {
		t.Errorf("got %d %v", a.Status, a.Err)
	}
	if n := metricsOf(c).sum("caddy_upstream_diagnostics_dropped_total", `reason="fault"`); n != 1 {
		t.Errorf("%v faults are counted", n)
	}
}

// Near misses and the certificates that upstreams showed are looked up where they are kept.
func TestMetricsBeforeItBreaks(t *testing.T) {
	upstream := httptest.NewTLSServer(http.HandlerFunc(well))
	defer upstream.Close()
	dead, at := testcaddy.Dead(t), upstream.Listener.Addr().String()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+dead+" "+at+" {\nlb_policy first\nlb_retries 1\nfail_duration 10s\ntransport http {\ntls_insecure_skip_verify\n}\n}")
	if answer := c.Get("/"); answer.Status != http.StatusNoContent {
		t.Fatalf("got %d", answer.Status)
	}
	c.Idle()
	got := metricsOf(c)
	if n := got.sum("caddy_upstream_near_misses_total", `upstream="`+dead+`"`, `kind="rescued"`); n != 1 || got.sum("caddy_upstream_near_misses_total") != 1 {
		t.Errorf("%v rescued", n)
	}
	if ends := got.sum("caddy_upstream_certificate_expiry_timestamp_seconds", `upstream="`+at+`"`); ends != float64(upstream.Certificate().NotAfter.Unix()) {
		t.Errorf("it ends at %v", ends)
	}
}

// What counting a failure costs.
func BenchmarkCount(b *testing.B) {
	for _, with := range []struct {
		name    string
		traceID string
	}{{"plain", ""}, {"with a trace", "4bf92f3577b34da6a3ce929d0e0e4736"}} {
		b.Run(with.name, func(b *testing.B) {
			p := emptyProcess(b)
			f := &failure.Failure{Site: "example.com", Upstream: "app:8080", Cause: "connection_refused", Outcome: failure.Failed, TraceID: with.traceID,
				Attempts: []failure.Attempt{{Upstream: "app:8080", Cause: "connection_refused", Incident: "57d54133a3361326"}}}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p.count(f)
				}
			})
		})
	}
}

// emptyProcess is one that no config holds.
func emptyProcess(t testing.TB) *process {
	t.Helper()
	p, release, err := acquireProcess()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	return p
}
