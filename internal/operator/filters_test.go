package operator

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A form has the filters in force, and what is known of their values.
func TestFilterForm(t *testing.T) {
	v := &fakeView{page: failure.FailurePage{Failures: []*failure.Failure{record("k3f9qw2ax")}}}
	for n := range 150 {
		v.incidents = append(v.incidents, incidentOf(n, failure.IncidentOpen))
	}
	d := dashboardOf(v)
	for target, test := range map[string]struct{ has, not []string }{
		"/failures": {has: []string{
			`<form class="filters" method="get" action="./failures"`, `name="site" value=""`, `<option value="example.com">`, `<option value="connection_refused">`, `<option value="" selected>any</option>`,
			`<option value="upstream_answered">upstream answered</option>`, "1 failure</p>",
		}, not: []string{`type="hidden"`}},
		"/failures?cause=connection_refused&outcome=rescued&since=15m&side=proxy&phase=": {has: []string{
			`name="cause" value="connection_refused"`, `<option value="rescued" selected>`, `<option value="15m" selected>15 minutes ago`, `<input type="hidden" name="side" value="proxy">`,
		}, not: []string{`name="phase"`, "phase="}},
		"/failures?since=3h":                         {has: []string{`<option value="3h" selected>3h</option>`}},
		"/failures?site=a&site=b":                    {has: []string{`<input type="hidden" name="site" value="a"><input type="hidden" name="site" value="b">`}, not: []string{`list="known-site"`}},
		"/failures?outcome=failed,rescued":           {has: []string{`<option value="failed,rescued" selected>`}},
		"/incidents?state=open&site=":                {has: []string{`action="./incidents"`, `<option value="open" selected>`, "150 incidents, 1 to 100 are shown", "incidents?skip=100&amp;state=open"}, not: []string{"site=&amp;", `name="outcome"`}},
		"/failures?site=" + url.QueryEscape(hostile): {has: []string{`name="site" value=""`}},
	} {
		w := browse(d, "", target)
		body := w.Body.String()
		if w.Code != 200 {
			t.Errorf("%s: %d", target, w.Code)
		}
		for _, want := range test.has {
			if !strings.Contains(body, want) {
				t.Errorf("%s doesn't have %s", target, want)
			}
		}
		for _, not := range test.not {
			if strings.Contains(body, not) {
				t.Errorf("%s has %s", target, not)
			}
		}
	}
	body := browse(d, "", "/failures").Body.String()
	if n := strings.Count(body, `<option value="app`); n != maxKnown {
		t.Errorf("%d upstreams are offered", n)
	}
	if len(body) > 200_000 {
		t.Error(fmt.Sprint("the page has ", len(body), " bytes"))
	}
}
