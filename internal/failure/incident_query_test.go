package failure

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseIncidentQuery(t *testing.T) {
	for query, want := range map[string]IncidentQuery{
		"":                              {},
		"state=&site=,&since=":          {},
		"state=open,resolved":           {State: []IncidentState{IncidentOpen, IncidentResolved}},
		"site=a&site=b&upstream=app:80": {Site: []string{"a", "b"}, Upstream: []string{"app:80"}},
		"cause=dns_timeout&since=1d":    {Cause: []string{"dns_timeout"}, Since: noon.Add(-24 * time.Hour)},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseIncidentQuery(values, noon); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", query, got, err, want)
		}
	}
	for query, want := range map[string]string{
		"state=opne":                        `state: expected one of open, resolved, got "opne" (did you mean open?)`,
		"state=broken":                      `state: expected one of open, resolved, got "broken"`,
		"since=yesterday":                   "since: expected a time",
		"since=1h&since=2h":                 "since: expected one value, got 2",
		"limit=5":                           `unknown parameter "limit": expected one of state, site, upstream, cause, since`,
		"site=" + strings.Repeat("a,", 101): "site: expected at most 100 values, got 101",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseIncidentQuery(values, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", query, err, want)
		}
	}
}

// Every filter that is announced is read, and asked.
func TestIncidentFilters(t *testing.T) {
	i := &Incident{State: IncidentOpen, Site: "shop", Upstream: "app:80", Cause: "dns_timeout", LastSeen: At(noon)}
	for _, test := range []struct {
		name, passing, failing string
	}{
		{"state", "open", "resolved"},
		{"site", "other,shop", "sho"},
		{"upstream", "app:80", "app"},
		{"cause", "dns_timeout", "dns"},
		{"since", At(noon).String(), At(noon.Add(time.Millisecond)).String()},
	} {
		if !slices.Contains(IncidentFilters, test.name) {
			t.Errorf("%s is not announced", test.name)
		}
		for value, want := range map[string]bool{test.passing: true, test.failing: false} {
			q, err := ParseIncidentQuery(url.Values{test.name: {value}}, noon)
			if err != nil {
				t.Fatal(err)
			}
			if got := q.Match(i); got != want {
				t.Errorf("%s=%s: %v", test.name, value, got)
			}
		}
	}
}
