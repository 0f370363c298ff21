//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// examples is where the examples for Prometheus, Grafana and Alertmanager are.
const examples = "../examples/observability"

// readFile is the text of a file.
func readFile(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// accepts runs a tool on the examples, which must succeed.
func accepts(t *testing.T, tool string, args ...string) {
	t.Helper()
	c := exec.Command(tool, args...)
	c.Dir = examples
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(tool), strings.Join(args, " "), err, out)
	}
}

// leadsToHeading checks a link to our documentation, as it is on GitHub.
func leadsToHeading(t *testing.T, link string) {
	t.Helper()
	file, anchor, _ := strings.Cut(strings.TrimPrefix(link, "https://github.com/seed-0f014f16/caddy-upstream-diagnostics/blob/main/"), "#")
	if !strings.HasPrefix(file, "docs/") {
		t.Errorf("%s is no link to the documentation", link)
		return
	}
	heading := regexp.MustCompile("(?mi)^#+ `?" + strings.ReplaceAll(regexp.QuoteMeta(anchor), "-", "[ -]") + "`?$")
	if text := readFile(t, "..", file); anchor != "" && !heading.MatchString(text) {
		t.Errorf("%s has no heading %s", file, anchor)
	}
}

// The alerts of the example are what Prometheus takes, say what their own test wants, name
// metrics that there are, and lead to headings that there are.
func TestExampleAlerts(t *testing.T) {
	promtool := program(t, "prometheus", "promtool")
	accepts(t, promtool, "check", "rules", "rules.yml")
	accepts(t, promtool, "test", "rules", "rules_test.yml")
	rules, readme := readFile(t, examples, "rules.yml"), readFile(t, "../README.md")
	names := regexp.MustCompile(`caddy_upstream_\w+`).FindAllString(rules, -1)
	for _, name := range names {
		if !strings.Contains(readme, "`"+name) {
			t.Errorf("%s is no metric that the README has", name)
		}
	}
	links := regexp.MustCompile(`https://github.com/\S+#[\w-]+"`).FindAllString(rules, -1)
	for _, link := range links {
		leadsToHeading(t, strings.TrimSuffix(link, `"`))
	}
	if len(names) < 5 || len(links) < 3 {
		t.Errorf("%d metrics, %d links", len(names), len(links))
	}
}

// Prometheus takes the example's config, with the rules, and it scrapes where the Caddy of the
// example beside it serves the metrics.
func TestExamplePrometheusConfig(t *testing.T) {
	accepts(t, program(t, "prometheus", "promtool"), "check", "config", "prometheus.yml")
	var config struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(readFile(t, examples, "prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.RuleFiles, []string{"rules.yml"}) {
		t.Errorf("its rules are %v", config.RuleFiles)
	}
	target := config.ScrapeConfigs[0].StaticConfigs[0].Targets[0]
	serves := regexp.MustCompile(`(?m)^http://` + regexp.QuoteMeta(target) + ` \{\n\s+metrics /metrics$`)
	if !serves.MatchString(readFile(t, examples, "Caddyfile")) {
		t.Errorf("nothing in the Caddyfile serves metrics at %s", target)
	}
}

// receivers are who is told of an alert in the example, by its severity.
var receivers = map[string]string{"page": "on-call", "ticket": "tickets", "": "tickets"}

// exampleAlerts are the alerts of rules.yml, with their severity.
func exampleAlerts(t *testing.T) map[string]string {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert  string
				Labels map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, examples, "rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	severities := make(map[string]string)
	for _, rule := range rules.Groups[0].Rules {
		severities[rule.Alert] = rule.Labels["severity"]
	}
	if len(severities) < 5 {
		t.Fatalf("rules.yml has %v", severities)
	}
	return severities
}

// Alertmanager takes the example, and each alert of rules.yml ends where it is meant to, as does
// one that nobody thought of.
func TestExampleAlertRoutes(t *testing.T) {
	amtool := program(t, "prometheus-alertmanager", "amtool")
	accepts(t, amtool, "check-config", "alertmanager.yml")
	severities := exampleAlerts(t)
	for _, named := range regexp.MustCompile(`alertname="(\w+)"`).FindAllStringSubmatch(readFile(t, examples, "alertmanager.yml"), -1) {
		if severities[named[1]] == "" {
			t.Errorf("rules.yml has no alert %s", named[1])
		}
	}
	severities["Another"] = ""
	for alert, severity := range severities {
		receiver := receivers[severity]
		if receiver == "" {
			t.Errorf("nobody is meant for %s, severity %s", alert, severity)
			continue
		}
		accepts(t, amtool, "config", "routes", "test", "--config.file=alertmanager.yml", "--verify.receivers="+receiver,
			"alertname="+alert, "severity="+severity, "site=shop", "upstream=app:8080")
	}
}

// Debian's Alertmanager, with the example: an open incident silences what else is said of its
// upstream, and of no other.
func TestExampleAlertmanager(t *testing.T) {
	t.Parallel()
	binary := program(t, "prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
	dir, listen := workDir(t), freeAddress(t)
	config := write(t, filepath.Join(dir, "alertmanager.yml"), readFile(t, examples, "alertmanager.yml"))
	part := startPart(t, dir, binary, "--config.file="+config, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen, "--cluster.listen-address=", "--log.level=warn")
	part.listening(t, "tcp", listen)
	part.await(t, "is ready", func() bool {
		res, err := client.Get("http://" + listen + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})

	type labels map[string]string
	type alert struct {
		Labels labels `json:"labels"`
	}
	const broken, burst, near = "CaddyUpstreamBroken", "CaddyUpstreamFailuresBurst", "CaddyUpstreamNearMiss"
	silenced := map[string]labels{
		"burst of the same":           {"alertname": burst, "site": "shop", "upstream": "app:8080", "cause": "response_timeout"},
		"near miss of the same":       {"alertname": near, "upstream": "app:8080", "kind": "rescued"},
		"burst where nobody was left": {"alertname": burst, "site": "blog", "cause": "upstreams_unhealthy"},
	}
	told := map[string]labels{
		"incident":                   {"alertname": broken, "site": "shop", "upstream": "app:8080", "cause": "connection_refused"},
		"incident without upstream":  {"alertname": broken, "site": "blog", "cause": "upstreams_unhealthy"},
		"burst at another site":      {"alertname": burst, "site": "wiki", "upstream": "app:8080", "cause": "response_timeout"},
		"burst of another upstream":  {"alertname": burst, "site": "shop", "upstream": "app:8081", "cause": "response_timeout"},
		"near miss of another":       {"alertname": near, "upstream": "app:8081", "kind": "rescued"},
		"near miss of this process":  {"alertname": near, "kind": "open_files_near_limit"},
		"certificate of the same":    {"alertname": "CaddyUpstreamCertificateEnds", "upstream": "app:8080"},
		"what could not be recorded": {"alertname": "CaddyUpstreamRecordsDropped", "reason": "fault"},
	}
	var all []alert
	for _, some := range []map[string]labels{silenced, told} {
		for _, of := range some {
			all = append(all, alert{of})
		}
	}
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	api := "http://" + listen + "/api/v2/alerts"
	res, err := client.Post(api, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager took them with %d", res.StatusCode)
	}
	type state struct {
		alert
		Status struct{ InhibitedBy []string } `json:"status"`
	}
	known := func() (states []state) {
		res, err := client.Get(api)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&states); err != nil {
			t.Fatal(err)
		}
		return states
	}
	inhibited := func(states []state, of labels) bool {
		return slices.ContainsFunc(states, func(s state) bool { return maps.Equal(s.Labels, of) && len(s.Status.InhibitedBy) > 0 })
	}
	for name, of := range silenced {
		await(t, "silence of the "+name, func() bool { return inhibited(known(), of) })
	}
	states := known()
	for name, of := range told {
		if inhibited(states, of) {
			t.Errorf("the %s is silenced", name)
		}
	}
	if len(states) != len(all) {
		t.Errorf("Alertmanager knows %d alerts of %d", len(states), len(all))
	}
}
