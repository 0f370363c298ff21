//go:build linux

package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// grafanaDashboard is what is looked at of a dashboard as Grafana exports it.
type grafanaDashboard struct {
	UID, Title    string
	SchemaVersion int
	Links         []grafanaLink
	Templating    struct{ List []grafanaVariable }
	Panels        []grafanaPanel
}

type grafanaVariable struct {
	Name, Type, AllValue, Definition string
	Query                            json.RawMessage // a string, or for Prometheus an object with one
	Datasource                       grafanaSource
}

type grafanaSource struct{ Type, UID string }

type grafanaLink struct{ Title, URL string }

type grafanaPanel struct {
	ID                       int
	Type, Title, Description string
	Datasource               grafanaSource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []grafanaTarget
	FieldConfig              struct {
		Defaults struct {
			Unit  string
			Links []grafanaLink
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Options struct {
		SortBy []struct{ DisplayName string }
	}
	Transformations []struct {
		ID      string
		Options struct {
			IndexByName  map[string]int
			RenameByName map[string]string
		}
	}
}

type grafanaTarget struct {
	RefID, Expr, Format, LegendFormat string
	Instant, Range                    bool
	Datasource                        grafanaSource
}

// property gives the values of a property that overrides set, by the name of the field.
func property[T any](t *testing.T, p grafanaPanel, id string) map[string]T {
	t.Helper()
	values := make(map[string]T)
	for _, override := range p.FieldConfig.Overrides {
		for _, property := range override.Properties {
			if property.ID != id {
				continue
			}
			var value T
			if err := json.Unmarshal(property.Value, &value); err != nil {
				t.Fatalf("%s, %s: %v", p.Title, id, err)
			}
			values[override.Matcher.Options] = value
		}
	}
	return values
}

// links are all of a panel.
func (p grafanaPanel) links(t *testing.T) []grafanaLink {
	t.Helper()
	return slices.Concat(p.FieldConfig.Defaults.Links, slices.Concat(slices.Collect(maps.Values(property[[]grafanaLink](t, p, "links")))...))
}

// labelValues is the query of a variable, in parts: of which series, and which label.
var labelValues = regexp.MustCompile(`^label_values\((.+),\s*(\w+)\)$`)

func (v grafanaVariable) query(t *testing.T) (series, label string) {
	t.Helper()
	var query struct{ Query string }
	if err := json.Unmarshal(v.Query, &query); err != nil {
		t.Fatalf("$%s: %v", v.Name, err)
	}
	parts := labelValues.FindStringSubmatch(query.Query)
	if parts == nil || v.Definition != query.Query {
		t.Fatalf("$%s is by %q, defined as %q", v.Name, query.Query, v.Definition)
	}
	return parts[1], parts[2]
}

func exampleDashboard(t *testing.T) *grafanaDashboard {
	t.Helper()
	var d grafanaDashboard
	if err := json.Unmarshal([]byte(readFile(t, examples, "grafana.json")), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// What can be told of the dashboard without Grafana: it is whole, nothing lies over something
// else, each panel says what it tells and in which unit, and asks the Prometheus that is chosen.
func TestExampleDashboardIsWhole(t *testing.T) {
	d := exampleDashboard(t)
	if d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.SchemaVersion < 36 { // from 36 on a data source is an object
		t.Errorf("uid %q, title %q, schemaVersion %d", d.UID, d.Title, d.SchemaVersion)
	}
	source := grafanaSource{"prometheus", "${datasource}"}
	variables := make(map[string]grafanaVariable)
	for _, v := range d.Templating.List {
		if _, twice := variables[v.Name]; twice {
			t.Errorf("there are two $%s", v.Name)
		}
		variables[v.Name] = v
		if v.Type == "query" && v.Datasource != source {
			t.Errorf("$%s asks %v", v.Name, v.Datasource)
		}
	}
	if v := variables["datasource"]; v.Type != "datasource" || string(v.Query) != `"prometheus"` {
		t.Errorf("the data source is chosen by %+v", v)
	}
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s has no id of its own: %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") {
			t.Errorf("%d: title %q, description %q", p.ID, p.Title, p.Description)
		}
		at := p.GridPos
		if at.W < 1 || at.H < 3 || at.X < 0 || at.Y < 0 || at.X+at.W > 24 {
			t.Errorf("%s stands at %+v", p.Title, at)
		}
		for x := range at.W {
			for y := range at.H {
				place := [2]int{at.X + x, at.Y + y}
				if other := taken[place]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[place] = p.Title
			}
		}
		if p.FieldConfig.Defaults.Unit == "" && len(property[string](t, p, "unit")) == 0 {
			t.Errorf("%s has no unit", p.Title)
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			if target.RefID == "" || refs[target.RefID] {
				t.Errorf("%s has no query %q, or two", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			if target.Instant == target.Range || target.Datasource != source || p.Datasource != source {
				t.Errorf("%s, %s: instant %t, range %t, of %v and %v", p.Title, target.RefID, target.Instant, target.Range, target.Datasource, p.Datasource)
			}
			for _, used := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if _, declared := variables[used[1]]; !declared && !strings.HasPrefix(used[1], "__") {
					t.Errorf("%s uses %s", p.Title, used[0])
				}
			}
		}
		if len(refs) == 0 {
			t.Errorf("%s asks nothing", p.Title)
		}
	}
	// No column of the page has a hole, and none is longer than the others.
	if last := slices.MaxFunc(d.Panels, func(a, b grafanaPanel) int { return a.GridPos.Y + a.GridPos.H - b.GridPos.Y - b.GridPos.H }).GridPos; len(taken) != 24*(last.Y+last.H) {
		t.Errorf("%d places are taken of %d", len(taken), 24*(last.Y+last.H))
	}
}

// chosen is what stands for each variable of a dashboard, as in an expression.
type chosen map[string]string

// in puts what is chosen into an expression.
func (c chosen) in(t *testing.T, expression string) string {
	t.Helper()
	expression = regexp.MustCompile(`\$(\w+)`).ReplaceAllStringFunc(expression, func(name string) string {
		value, ok := c[name[1:]]
		if !ok {
			t.Fatalf("nothing is known of %s", name)
		}
		return value
	})
	if strings.Contains(expression, "$") {
		t.Fatalf("not all of %s is known", expression)
	}
	return expression
}

// sample is a series that came of a query: its labels, and whether it has a number.
type sample struct {
	labels map[string]string
	number bool
}

// samples asks as Grafana does, for now or for some time until now.
func (p *prometheus) samples(t *testing.T, expression string, overTime bool) []sample {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  []any
			Values [][]any
		}
	}
	path, query, now := "query", url.Values{"query": {expression}}, time.Now()
	if overTime {
		path = "query_range"
		query.Set("start", now.Add(-time.Minute).Format(time.RFC3339Nano))
		query.Set("end", now.Format(time.RFC3339Nano))
		query.Set("step", "1s")
	}
	if err := p.try(path, query, &data); err != nil {
		t.Errorf("%s: %v", expression, err)
		return nil
	}
	series := make([]sample, 0, len(data.Result))
	for _, result := range data.Result {
		s := sample{labels: result.Metric}
		for _, value := range append(result.Values, result.Value) {
			s.number = s.number || len(value) == 2 && value[1] != "NaN"
		}
		series = append(series, s)
	}
	return series
}

// selector is one of our metrics or Caddy's in an expression, with what it must match.
var selector = regexp.MustCompile(`caddy_\w+(\{[^}]*\})?`)

// checkQuery runs a query of a panel. All that it selects must be there, each by itself, for an
// `or` would hide what isn't, and all labels that it groups by; it gives what came of it.
func (p *prometheus) checkQuery(t *testing.T, title string, target grafanaTarget, with chosen) []sample {
	t.Helper()
	expression := with.in(t, target.Expr)
	selected := make(map[string]bool) // labels
	for _, part := range selector.FindAllString(expression, -1) {
		series := p.samples(t, part, false)
		if len(series) == 0 {
			t.Errorf("%s: there is no %s", title, part)
		}
		for _, s := range series {
			for label := range s.labels {
				selected[label] = true
			}
		}
	}
	for _, group := range regexp.MustCompile(`(?:by|on|without|ignoring) \(([^)]*)\)`).FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(group[1], ", ") {
			if !selected[label] {
				t.Errorf("%s: nothing has the label %q of %s", title, label, target.Expr)
			}
		}
	}
	series := p.samples(t, expression, target.Range)
	if !slices.ContainsFunc(series, func(s sample) bool { return s.number }) {
		t.Errorf("%s: %s gives no number", title, expression)
	}
	for _, named := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
		for _, s := range series {
			if s.labels[named[1]] == "" {
				t.Errorf("%s: a series has no %s for the legend: %v", title, named[1], s.labels)
			}
		}
	}
	return series
}

// checkColumns holds a table to what its queries give: a column that is renamed, sorted by or
// painted is one.
func checkColumns(t *testing.T, p grafanaPanel, labels map[string]bool) {
	t.Helper()
	columns := maps.Clone(labels)
	for _, target := range p.Targets {
		if len(p.Targets) == 1 {
			columns["Value"] = true
		} else {
			columns["Value #"+target.RefID] = true
		}
	}
	for _, transformation := range p.Transformations {
		for column := range transformation.Options.IndexByName {
			if !columns[column] {
				t.Errorf("%s has no column %s to place", p.Title, column)
			}
		}
		for before, after := range transformation.Options.RenameByName {
			if !columns[before] {
				t.Errorf("%s has no column %s to rename", p.Title, before)
			}
			delete(columns, before)
			columns[after] = true
		}
	}
	for _, override := range p.FieldConfig.Overrides {
		if override.Matcher.ID != "byName" || !columns[override.Matcher.Options] {
			t.Errorf("%s has no column %s to paint", p.Title, override.Matcher.Options)
		}
	}
	for _, by := range p.Options.SortBy {
		if !columns[by.DisplayName] {
			t.Errorf("%s has no column %s to sort by", p.Title, by.DisplayName)
		}
	}
}

// checkLink follows a link for one series: to a heading of the documentation, or to a page of
// upstream_dashboard, which must show the upstream.
func checkLink(t *testing.T, link grafanaLink, dashboard string, labels map[string]string) {
	t.Helper()
	unknown := ""
	followed := regexp.MustCompile(`\$\{([^}]+)\}`).ReplaceAllStringFunc(link.URL, func(variable string) string {
		name := variable[2 : len(variable)-1]
		label, of := strings.CutPrefix(name, "__field.labels.")
		if field, ok := strings.CutPrefix(name, "__data.fields."); ok {
			label, of = strings.TrimSuffix(field, ":percentencode"), true
		}
		switch {
		case name == "dashboard:raw":
			return dashboard
		case name == "__value.raw" && strings.Contains(link.URL, "causes.md#"):
			label, of = "cause", true
		}
		if !of || labels[label] == "" {
			unknown = variable
		}
		return url.QueryEscape(labels[label])
	})
	if unknown != "" {
		t.Errorf("%s: %s of %v is not known", link.URL, unknown, labels)
		return
	}
	if !strings.HasPrefix(followed, dashboard) {
		leadsToHeading(t, followed)
		return
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, followed, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(page, []byte(labels["upstream"])) {
		t.Errorf("%s gives %d, and not %s: %v", followed, res.StatusCode, labels["upstream"], err)
	}
}

// checkDashboard runs every query of the dashboard, twice: with what Grafana puts in for "All",
// and with all values by name, which a label that isn't there doesn't match. It follows the
// links, too.
func (p *prometheus) checkDashboard(t *testing.T, d *grafanaDashboard, upstreamDashboard string) {
	t.Helper()
	all := chosen{"__rate_interval": "5m", "__range": "1h"}
	named := maps.Clone(all)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		series, label := v.query(t)
		var values, quoted []string
		for _, with := range []chosen{named, all} { // what has no site is an upstream of all of them
			p.ask(t, "label/"+label+"/values", url.Values{"match[]": {with.in(t, series)}}, &values)
			if len(values) == 0 || slices.Contains(values, "") {
				t.Fatalf("$%s has the values %q", v.Name, values)
			}
		}
		for _, value := range values {
			quoted = append(quoted, strings.ReplaceAll(regexp.QuoteMeta(value), `\`, `\\`))
		}
		all[v.Name], named[v.Name] = v.AllValue, "("+strings.Join(quoted, "|")+")"
	}
	for _, panel := range d.Panels {
		labels, series := make(map[string]bool), []sample(nil)
		for _, target := range panel.Targets {
			p.checkQuery(t, panel.Title, target, named)
			series = p.checkQuery(t, panel.Title, target, all)
			for _, s := range series {
				for label := range s.labels {
					labels[label] = true
				}
			}
		}
		if panel.Type == "table" {
			checkColumns(t, panel, labels)
		}
		for _, link := range panel.links(t) {
			for _, s := range series {
				checkLink(t, link, upstreamDashboard, s.labels)
			}
		}
	}
	for _, link := range d.Links {
		checkLink(t, link, upstreamDashboard, nil)
	}
}

// broken is a site with upstreams that fail in several ways. The one that is to be mended refuses
// connections until then.
type broken struct {
	*caddy
	mended, dead, secure string
}

func startBroken(t *testing.T) *broken {
	t.Helper()
	b := &broken{mended: freeAddress(t), dead: deadAddress(t)}
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("less"))
		}
	}))
	t.Cleanup(well.Close)
	cert, key, _ := writeCertificate(t, workDir(t))
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	b.secure = secure.Listener.Addr().String()
	b.caddy = startCaddyWith(t, nil, fmt.Sprintf(`
	upstream_diagnostics {
		site shop
	}
	handle /refused {
		reverse_proxy %s
	}
	handle /slow {
		reverse_proxy %s {
			transport http {
				response_header_timeout 100ms
			}
		}
	}
	handle /cut {
		reverse_proxy %[3]s
	}
	handle /rescued {
		reverse_proxy %[4]s %[3]s {
			lb_policy first
			lb_retries 1
			lb_try_interval 1ms
			fail_duration 1s
		}
	}
	handle /secure {
		reverse_proxy https://%[5]s {
			transport http {
				tls_insecure_skip_verify
			}
		}
	}
	handle_path /ops* {
		upstream_dashboard {
			no_auth
		}
	}
`, b.mended, startHolder(t).address, well.Listener.Addr(), b.dead, b.secure), "metrics")
	return b
}

// mend starts the server that was missing, and asks it.
func (b *broken) mend(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", b.mended)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	server.Start()
	t.Cleanup(server.Close)
	if got := b.visit(t, visit{path: "/refused"}); got.status != http.StatusOK {
		t.Fatalf("the upstream that was mended gives %d", got.status)
	}
}

// The alerts of the example fire on Debian's Prometheus and a Caddy whose upstreams fail in
// several ways, and the one of an incident is over when its upstream is well again. Then every
// query of the dashboard has an answer.
func TestExamplesOnPrometheus(t *testing.T) {
	t.Parallel()
	program(t, "prometheus", "prometheus")
	b := startBroken(t)
	p := startPrometheus(t, b.admin, "exemplar-storage", readFile(t, examples, "rules.yml"))
	p.becomes(t, "up", "1")

	// What has risen, Prometheus sees from a series' second value on.
	for _, path := range []string{"/refused", "/slow", "/cut", "/rescued", "/secure"} {
		b.visit(t, visit{path: path})
	}
	p.becomes(t, `count(caddy_upstream_failures_total == 1)`, "4")
	p.becomes(t, `count(caddy_upstream_near_misses_total{kind="rescued"} == 1)`, "1")
	for range 30 {
		b.visit(t, visit{path: "/refused"})
	}
	await(t, "another rescued request", func() bool {
		b.visit(t, visit{path: "/rescued"}) // its dead upstream is left out for a second each time
		return p.value(t, `caddy_upstream_near_misses_total{kind="rescued"} > 1`) != ""
	})
	severities := exampleAlerts(t)
	delete(severities, "CaddyUpstreamRecordsDropped") // nothing is
	for alert, labels := range map[string]map[string]string{
		"CaddyUpstreamBroken":          {"site": "shop", "upstream": b.mended, "cause": "connection_refused"},
		"CaddyUpstreamFailuresBurst":   {"site": "shop", "upstream": b.mended, "cause": "connection_refused"},
		"CaddyUpstreamNearMiss":        {"upstream": b.dead, "kind": "rescued"},
		"CaddyUpstreamCertificateEnds": {"upstream": b.secure},
	} {
		labels["severity"] = severities[alert]
		await(t, alert+" fires", func() bool { return p.firing(t, alert, labels) })
		delete(severities, alert)
	}
	for alert := range severities {
		t.Errorf("%s was never seen to fire", alert)
	}

	b.mend(t)
	of := map[string]string{"upstream": b.mended}
	// It takes 30 s without another failure; nothing shortens that.
	awaitWithin(t, 90*time.Second, "CaddyUpstreamBroken is over", func() bool { return !p.firing(t, "CaddyUpstreamBroken", of) })
	p.becomes(t, fmt.Sprintf(`caddy_upstream_incidents_open{upstream=%s}`, strconv.Quote(b.mended)), "0")
	if !p.firing(t, "CaddyUpstreamBroken", map[string]string{"upstream": b.dead}) {
		t.Error("the alert of the upstream that nobody mended is over, too")
	}

	p.checkDashboard(t, exampleDashboard(t), b.url+"/ops")
}
