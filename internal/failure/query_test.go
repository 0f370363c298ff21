package failure

import (
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestParseQuery(t *testing.T) {
	for _, test := range []struct {
		name  string
		query string
		want  Query
	}{
		{"nothing", "", Query{}},
		{"one value", "site=example.com", Query{Site: []string{"example.com"}}},
		{"several values", "cause=connection_refused,dns_timeout", Query{Cause: []string{"connection_refused", "dns_timeout"}}},
		{"named twice", "upstream=app:8080&upstream=app:8081", Query{Upstream: []string{"app:8080", "app:8081"}}},
		{"empty filters nothing", "site=&status=&since=&limit=&outcome=,", Query{}},
		{"every filter", "site=s&upstream=u&cause=c&category=timeout&proxy_error=dns_timeout&phase=dns&side=network&outcome=failed&status=502,504&host=h&id=i&incident=n&instance=*", Query{
			Site: []string{"s"}, Upstream: []string{"u"}, Cause: []string{"c"}, Category: []Category{CategoryTimeout},
			ProxyError: []string{"dns_timeout"}, Phase: []Phase{PhaseDNS}, Side: []Side{SideNetwork}, Outcome: []Outcome{Failed},
			Status: []int{502, 504}, Host: []string{"h"}, ID: []string{"i"}, Incident: []string{"n"}, Instance: []string{"*"},
		}},
		{"times", "since=2026-11-24T10:00:00Z&until=2026-11-24T12:00:00%2B01:00", Query{
			Since: noon.Add(-2 * time.Hour), Until: noon.Add(-time.Hour),
		}},
		{"an offset that nobody escaped", "since=2026-11-24T12:00:00+01:00", Query{Since: noon.Add(-time.Hour)}},
		{"minutes back", "since=15m", Query{Since: noon.Add(-15 * time.Minute)}},
		{"days back", "since=2d&until=1d12h", Query{Since: noon.Add(-48 * time.Hour), Until: noon.Add(-36 * time.Hour)}},
		{"no time back", "until=0s", Query{Until: noon}},
		{"since ever", "since=0001-01-01T00:00:00Z", Query{}},
		{"until the zero time, which bounds", "until=0001-01-01T00:00:00Z", Query{Until: time.Time{}.Add(1)}},
		{"limit", "limit=1000", Query{Limit: 1000}},
		{"cursors", "before=zz04&after=1010", Query{Before: 1295, After: 36}},
	} {
		t.Run(test.name, func(t *testing.T) {
			values, err := url.ParseQuery(test.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseQuery(values, noon)
			if err != nil {
				t.Fatal(err)
			}
			if test.want.Limit == 0 {
				test.want.Limit = DefaultLimit
			}
			if !got.Since.Equal(test.want.Since) || !got.Until.Equal(test.want.Until) {
				t.Errorf("got since %v until %v, want %v and %v", got.Since, got.Until, test.want.Since, test.want.Until)
			}
			got.Since, got.Until = test.want.Since, test.want.Until
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestParseQueryRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		query url.Values
		want  []string
	}{
		{"an unknown parameter", url.Values{"upstrem": {"app:8080"}}, []string{`"upstrem"`, "expected one of site, upstream", "(did you mean upstream?)"}},
		{"an unknown outcome", url.Values{"outcome": {"failed,lost"}}, []string{"outcome:", `"lost"`, "failed, rescued, truncated, abandoned, upstream_answered"}},
		{"an unknown phase", url.Values{"phase": {"DNS"}}, []string{"phase:", `"DNS"`, "select, dns, connect"}},
		{"an unknown side", url.Values{"side": {"server"}}, []string{"side:", `"server"`, "client, proxy, network, upstream"}},
		{"an unknown category", url.Values{"category": {"connection_refused"}}, []string{"category:", "unavailable, unreachable"}},
		{"a status class", url.Values{"status": {"5xx"}}, []string{"status:", `"5xx"`, "502"}},
		{"a status that is none", url.Values{"status": {"0"}}, []string{"status:", `"0"`}},
		{"a word as time", url.Values{"since": {"yesterday"}}, []string{"since:", `"yesterday"`, "15m", "2026-11-24T04:11:26Z"}},
		{"a time to come", url.Values{"since": {"-15m"}}, []string{"since:", `"-15m"`}},
		{"days to come", url.Values{"until": {"1d-48h"}}, []string{"until:", `"1d-48h"`}},
		{"more days than fit", url.Values{"since": {"99999999999d"}}, []string{"since:"}},
		{"more hours than fit", url.Values{"since": {"65535d2562047h"}}, []string{"since:"}},
		{"a number without unit", url.Values{"since": {"15"}}, []string{"since:", `"15"`}},
		{"since after until", url.Values{"since": {"1h"}, "until": {"2h"}}, []string{"since:", "before until", "2026-11-24T10:00:00.000Z"}},
		{"no limit at all", url.Values{"limit": {"0"}}, []string{"limit:", `"0"`, "from 1 to 1000"}},
		{"too high a limit", url.Values{"limit": {"1001"}}, []string{"limit:", `"1001"`}},
		{"a limit that is no number", url.Values{"limit": {"all"}}, []string{"limit:", `"all"`}},
		{"two limits", url.Values{"limit": {"1", "2"}}, []string{"limit:", "one value, got 2"}},
		{"a cursor nobody gave", url.Values{"before": {"../etc"}}, []string{"before:", "cursor", `"../etc"`}},
		{"the cursor zero", url.Values{"after": {"000"}}, []string{"after:", "cursor"}},
		{"a word as cursor", url.Values{"before": {"yesterday"}}, []string{"before:", "cursor", `"yesterday"`}},
		{"an id as cursor", url.Values{"after": {"k3f9qw2ax"}}, []string{"after:", "cursor"}},
		{"a time as cursor", url.Values{"after": {"15m"}}, []string{"after:", "cursor"}},
		{"less than a cursor", url.Values{"after": {"z"}}, []string{"after:", "cursor"}},
		{"a cursor in capitals", url.Values{"before": {"ZZ04"}}, []string{"before:", "cursor"}},
		{"a cursor beyond all numbers", url.Values{"after": {strings.Repeat("z", 40)}}, []string{"after:", "cursor"}},
		{"too many values", url.Values{"id": {strings.Repeat("a,", 101)}}, []string{"id:", "at most 100 values, got 101"}},
		{"control characters", url.Values{"phase": {"\x1b[31m\x00\xff\u202e"}}, []string{"phase:", `"\x1b[31m\x00\xff\u202e"`}},
		{"a hostile name", url.Values{"<script>\x00": {""}}, []string{`"<script>\x00"`}},
		{"64 KiB", url.Values{"since": {strings.Repeat("x", 64<<10)}}, []string{"since:", `xxx"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseQuery(test.query, noon)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q isn't in %q", want, err)
				}
			}
			if len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// Every parameter that is announced is read: none falls through the switch.
func TestParseQueryReadsEveryParameter(t *testing.T) {
	valid := map[string]string{
		"category": "timeout", "phase": "dns", "side": "client", "outcome": "failed", "status": "502",
		"since": "1h", "until": "1h", "limit": "7", "before": Cursor(7).String(), "after": Cursor(7).String(),
	}
	for _, name := range QueryParameters {
		value, ok := valid[name]
		if !ok {
			value = "abc"
		}
		q, err := ParseQuery(url.Values{name: {value}}, noon)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if reflect.DeepEqual(q, Query{Limit: DefaultLimit}) {
			t.Errorf("%s isn't read", name)
		}
	}
}

func TestMatch(t *testing.T) {
	f := &Failure{
		ID: "k3f9qw2ax", Time: At(noon), Instance: "edge-1", Site: "example.com", Outcome: Failed, Status: 502,
		Upstream: "app:8080", Cause: "connection_refused", Category: CategoryUnavailable, ProxyError: "connection_refused",
		Phase: PhaseConnect, Side: SideUpstream, Request: Request{Host: "WWW.example.com"},
		Incident: "57d54133a3361326", Attempts: []Attempt{{Incident: "01b821fbd04372e7"}},
	}
	for _, test := range []struct {
		name string
		q    Query
		want bool
	}{
		{"no filter", Query{}, true},
		{"site", Query{Site: []string{"a", "example.com"}}, true},
		{"another site", Query{Site: []string{"a"}}, false},
		{"part of a site", Query{Site: []string{"example"}}, false},
		{"upstream", Query{Upstream: []string{"app:8080"}}, true},
		{"another upstream", Query{Upstream: []string{"app:8081"}}, false},
		{"cause", Query{Cause: []string{"connection_refused"}}, true},
		{"another cause", Query{Cause: []string{"dns_timeout"}}, false},
		{"category", Query{Category: []Category{CategoryUnavailable}}, true},
		{"another category", Query{Category: []Category{CategoryTimeout}}, false},
		{"proxy_error", Query{ProxyError: []string{"connection_refused"}}, true},
		{"another proxy_error", Query{ProxyError: []string{"dns_error"}}, false},
		{"phase", Query{Phase: []Phase{PhaseDNS, PhaseConnect}}, true},
		{"another phase", Query{Phase: []Phase{PhaseDNS}}, false},
		{"side", Query{Side: []Side{SideUpstream}}, true},
		{"another side", Query{Side: []Side{SideClient}}, false},
		{"outcome", Query{Outcome: []Outcome{Failed}}, true},
		{"another outcome", Query{Outcome: []Outcome{Rescued}}, false},
		{"status", Query{Status: []int{504, 502}}, true},
		{"another status", Query{Status: []int{504}}, false},
		{"host in another case", Query{Host: []string{"www.EXAMPLE.com"}}, true},
		{"another host", Query{Host: []string{"example.com"}}, false},
		{"incident", Query{Incident: []string{"57d54133a3361326"}}, true},
		{"an attempt's incident", Query{Incident: []string{"other", "01b821fbd04372e7"}}, true},
		{"another incident", Query{Incident: []string{"01b8"}}, false},
		{"id", Query{ID: []string{"k3f9qw2ax"}}, true},
		{"another id", Query{ID: []string{"k3f9qw2ay"}}, false},
		{"instance", Query{Instance: []string{"edge-1"}}, true},
		{"another instance", Query{Instance: []string{"edge-2"}}, false},
		{"all instances", Query{Instance: []string{"*"}}, true},
		{"since its own time", Query{Since: noon}, true},
		{"since later", Query{Since: noon.Add(time.Millisecond)}, false},
		{"until later", Query{Until: noon.Add(time.Millisecond)}, true},
		{"until its own time", Query{Until: noon}, false},
		{"all of several", Query{Site: []string{"example.com"}, Status: []int{502}}, true},
		{"one of several isn't met", Query{Site: []string{"example.com"}, Status: []int{504}}, false},
		{"limit and cursors are no filters", Query{Limit: 1, Before: 1, After: 9}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.q.Match(f); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A host is found with its port and without, and one that is named with a port on no other.
func TestMatchHost(t *testing.T) {
	for _, test := range []struct {
		wanted, host string
		want         bool
	}{
		{"example.com", "example.com", true},
		{"example.com", "example.com:8443", true},
		{"Example.COM", "EXAMPLE.com:8443", true},
		{"example.com:8443", "example.com:8443", true},
		{"example.com:8443", "example.COM:8443", true},
		{"example.com:8443", "example.com", false},
		{"example.com:8443", "example.com:443", false},
		{"example.com", "www.example.com:8443", false},
		{"[::1]", "[::1]:8080", true},
		{"[::1]", "[::1]", true},
		{"::1", "[::1]:8080", true},
		{"::1", "[::1]", true},
		{"[::1]:8080", "[::1]:8080", true},
		{"[::1]:8080", "[::1]", false},
		{"[::1]:8080", "[::1]:9090", false},
		{"2001:db8::A", "[2001:DB8::a]:443", true},
		{"::1:8080", "[::1]:8080", false}, // that is another address
		{"[::1", "[::1]:8080", false},
		{"8443", "example.com:8443", false},
		{":8443", "example.com:8443", false},
		{"example.com", "", false},
		{"example.com", "a:b:c", false},
	} {
		if got := (Query{Host: []string{"other", test.wanted}}).Match(&Failure{Request: Request{Host: test.host}}); got != test.want {
			t.Errorf("%q finds %q: %v, want %v", test.wanted, test.host, got, test.want)
		}
	}
}

// A failure is found by each upstream that failed in it, or could not be selected.
func TestMatchUpstream(t *testing.T) {
	f := &Failure{
		Outcome: Failed, Upstream: "b:80", Cause: "connection_refused",
		Attempts: []Attempt{
			{Upstream: "a:80", Address: "10.0.0.1:80", Cause: "dns_timeout"},
			{Upstream: "srv app", Address: "10.0.0.3:80"},
			{Upstream: "b:80", Address: "10.0.0.2:80", Cause: "connection_refused"},
		},
		Unavailable: []Unavailable{{Upstream: "c:80"}},
	}
	left := *f
	left.Outcome = Abandoned
	for name, want := range map[string][2]bool{ // failed, abandoned
		"a:80": {true, true}, "10.0.0.1:80": {true, true}, "b:80": {true, true}, "10.0.0.2:80": {true, true}, "c:80": {true, true},
		"srv app": {}, "10.0.0.3:80": {}, "d:80": {}, "a": {}, "": {},
	} {
		q := Query{Upstream: []string{"other", name}}
		if got := [2]bool{q.Match(f), q.Match(&left)}; got != want {
			t.Errorf("by %q it is found: %v, want %v", name, got, want)
		}
	}
	if got, want := f.FailedUpstreams(), []string{"b:80", "a:80", "10.0.0.1:80", "10.0.0.2:80"}; !slices.Equal(got, want) {
		t.Errorf("failed are %q, want %q", got, want)
	}
	if got, want := left.FailedUpstreams(), []string{"a:80", "10.0.0.1:80"}; !slices.Equal(got, want) {
		t.Errorf("failed before the client left are %q, want %q", got, want)
	}
}

// An upstream is blamed for what it failed by, and not for what the client did there.
func TestBlame(t *testing.T) {
	refused := Attempt{Upstream: "a:80", Address: "10.0.0.1:80", Cause: "connection_refused"}
	client := Attempt{Upstream: "a:80", Address: "10.0.0.1:80", Cause: "request_body_incomplete"}
	for name, test := range map[string]struct {
		f    Failure
		want [3]string // a:80, its address, another
	}{
		"its failure":            {Failure{Outcome: Failed, Upstream: "a:80", Cause: refused.Cause, Attempts: []Attempt{refused}}, [3]string{refused.Cause, refused.Cause, ""}},
		"rescued by another":     {Failure{Outcome: Rescued, Upstream: "a:80", Cause: refused.Cause, Attempts: []Attempt{refused, {Upstream: "b:80"}}}, [3]string{refused.Cause, refused.Cause, ""}},
		"its attempt isn't kept": {Failure{Outcome: Failed, Upstream: "a:80", Cause: refused.Cause}, [3]string{refused.Cause, "", ""}},
		"the client's doing":     {Failure{Outcome: Failed, Upstream: "a:80", Cause: client.Cause, Side: SideClient, Attempts: []Attempt{client}}, [3]string{}},
		"and the client's after": {Failure{Outcome: Failed, Upstream: "a:80", Cause: client.Cause, Side: SideClient, Attempts: []Attempt{refused, client}}, [3]string{refused.Cause, refused.Cause, ""}},
		"the client left":        {Failure{Outcome: Abandoned, Upstream: "a:80", Cause: "client_left", Attempts: []Attempt{{Upstream: "a:80", Address: "10.0.0.1:80", Cause: "client_left"}}}, [3]string{}},
		"and left after":         {Failure{Outcome: Abandoned, Upstream: "b:80", Cause: "client_left", Attempts: []Attempt{refused, {Upstream: "b:80", Cause: "client_left"}}}, [3]string{refused.Cause, refused.Cause, ""}},
	} {
		if got := [3]string{test.f.Blame("a:80"), test.f.Blame("10.0.0.1:80"), test.f.Blame("b:80")}; got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestCursor(t *testing.T) {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	for _, c := range []Cursor{1, 36, Cursor(noon.UnixMicro()), 1<<64 - 1} {
		given := c.String()
		got, err := ParseCursor(given)
		if err != nil || got != c {
			t.Errorf("%d became %s, then %d, %v", c, given, got, err)
		}
		for at := range given {
			for _, digit := range digits {
				if typo := given[:at] + string(digit) + given[at+1:]; typo != given {
					if got, err := ParseCursor(typo); err == nil {
						t.Errorf("%s for %s passes as %d", typo, given, got)
					}
				}
			}
		}
	}
}

func TestFailurePageJSON(t *testing.T) {
	got, err := json.Marshal(FailurePage{Failures: []*Failure{}})
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != `{"failures":[]}` {
		t.Errorf("got %s", got)
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("since=2d&until=1h&limit=5&status=502,504&before=zz")
	f.Add("since=1d-1ns&after=%00&outcome=failed,%ff")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := ParseQuery(values, noon)
		if err != nil {
			return
		}
		if q.Limit < 1 || q.Limit > MaxLimit {
			t.Errorf("limit is %d", q.Limit)
		}
		q.Match(&Failure{})
	})
}
