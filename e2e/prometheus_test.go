//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prometheus is a Prometheus that scrapes one Caddy.
type prometheus struct {
	*part
	url string
}

// startPrometheus scrapes Caddy's metrics at an address five times a second, and keeps
// exemplars. Its rules are those that are given, as text, but for a `for`: an alert fires at once.
func startPrometheus(t *testing.T, address, features, rules string) *prometheus {
	t.Helper()
	binary := program(t, "prometheus", "prometheus")
	dir := workDir(t)
	listen := freeAddress(t)
	write(t, filepath.Join(dir, "rules.yml"), regexp.MustCompile(`for: \S+`).ReplaceAllString(rules, "for: 0s"))
	config := write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
  evaluation_interval: 200ms
rule_files: [%s]
scrape_configs:
  - job_name: caddy
    static_configs:
      - targets: ["%s"]
`, filepath.Join(dir, "rules.yml"), address))
	p := &prometheus{url: "http://" + listen}
	p.part = startPart(t, dir, binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen,
		"--enable-feature="+features, "--log.level=warn")
	p.await(t, "is ready", func() bool {
		res, err := client.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return p
}

// documentedQueries are the expressions of the README.
func documentedQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```promql\n")
	queries, _, closed := strings.Cut(after, "\n```")
	if !found || !closed {
		t.Fatal("README.md has no queries")
	}
	return strings.Split(queries, "\n")
}

// documentedAlerts are the alerts of docs/operating.md.
func documentedAlerts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```yaml\ngroups:")
	rules, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("docs/operating.md has no alerts")
	}
	return "groups:" + rules
}

// ask reads from its API.
func (p *prometheus) ask(t *testing.T, path string, query url.Values, into any) {
	t.Helper()
	if err := p.try(path, query, into); err != nil {
		t.Fatal(err)
	}
}

// try is ask where a refusal is no end of the test.
func (p *prometheus) try(path string, query url.Values, into any) error {
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	res, err := client.Get(p.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("%s: %v %s", path, err, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// firing says whether an alert fires that has these labels.
func (p *prometheus) firing(t *testing.T, alert string, labels map[string]string) bool {
	t.Helper()
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	p.ask(t, "alerts", nil, &data)
	for _, a := range data.Alerts {
		fits := a.State == "firing" && a.Labels["alertname"] == alert
		for name, value := range labels {
			fits = fits && a.Labels[name] == value
		}
		if fits {
			return true
		}
	}
	return false
}

// value is what an expression gives, "" for nothing; it must give one series at most.
func (p *prometheus) value(t *testing.T, expression string) string {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	p.ask(t, "query", url.Values{"query": {expression}}, &data)
	switch len(data.Result) {
	case 0:
		return ""
	case 1:
		return data.Result[0].Value[1].(string)
	}
	t.Fatalf("%s gives %d series", expression, len(data.Result))
	return ""
}

// becomes waits for the value of an expression.
func (p *prometheus) becomes(t *testing.T, expression, want string) {
	t.Helper()
	var got string
	deadline := time.Now().Add(20 * time.Second)
	for got = p.value(t, expression); got != want; got = p.value(t, expression) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q", expression, got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Debian's Prometheus scrapes a Caddy with this module, has what was recorded, takes the
// traces' ids for exemplars, and fires the alerts that the documentation has.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		at       func(c *caddy) string
		features string
	}{
		// In OpenMetrics, which Caddy's admin endpoint doesn't speak.
		{"the metrics directive", func(c *caddy) string { return c.address }, "exemplar-storage"},
		// Prometheus asks for protobuf as soon as it takes native histograms.
		{"the admin endpoint", func(c *caddy) string { return c.admin }, "exemplar-storage,native-histograms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			program(t, "prometheus", "prometheus")
			dead := deadAddress(t)
			c := startCaddyWith(t, []string{"OTEL_TRACES_EXPORTER=none"}, `
	tracing
	metrics /metrics
	upstream_diagnostics {
		site shop
	}
	reverse_proxy `+dead)
			p := startPrometheus(t, test.at(c), test.features, documentedAlerts(t))
			p.becomes(t, "up", "1")
			p.becomes(t, `sum(caddy_upstream_diagnostics_dropped_total)`, "0")

			c.visit(t, visit{path: "/refused"})
			f := c.recorded(t, "/refused")
			labels := fmt.Sprintf(`site="shop",upstream=%q,cause="connection_refused"`, dead)
			p.becomes(t, `caddy_upstream_failures_total{`+labels+`,outcome="failed"}`, "1")
			p.becomes(t, `caddy_upstream_attempt_failures_total{`+labels+`}`, "1")
			p.becomes(t, `caddy_upstream_incidents_open{`+labels+`}`, "1")
			if f.TraceID == "" {
				t.Fatal("the record has no trace")
			}
			await(t, "the exemplar of "+f.TraceID, func() bool {
				var data []struct {
					SeriesLabels map[string]string
					Exemplars    []struct {
						Labels map[string]string
						Value  string
					}
				}
				now := time.Now()
				p.ask(t, "query_exemplars", url.Values{
					"query": {"caddy_upstream_failures_total"}, "start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Add(time.Hour).Format(time.RFC3339)},
				}, &data)
				return len(data) == 1 && data[0].SeriesLabels["cause"] == "connection_refused" && data[0].Exemplars[0].Labels["trace_id"] == f.TraceID
			})

			// More of them: what has risen, Prometheus sees from the second value on.
			for range 9 {
				c.visit(t, visit{path: "/refused"})
			}
			p.becomes(t, `sum by (cause) (caddy_upstream_failures_total)`, "10")
			for _, query := range documentedQueries(t) {
				await(t, query+" tells of it", func() bool {
					value, err := strconv.ParseFloat(p.value(t, query), 64) // of one series
					return err == nil && value > 0
				})
			}
			for _, alert := range []string{"UpstreamBroken", "UpstreamFailuresReachVisitors"} {
				await(t, alert+" fires", func() bool { return p.firing(t, alert, map[string]string{"site": "shop"}) })
			}
		})
	}
}
