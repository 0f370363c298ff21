package diagnostics

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// kindsOf are the kinds of an incident's changes, and their values where these are no times.
func kindsOf(i *failure.Incident) (kinds []string) {
	for _, change := range i.Changes {
		kind := string(change.Kind)
		if change.BeganAfterS == nil {
			kind += " " + change.Value
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// What the requests have in common that fail, of real ones.
func TestChanges(t *testing.T) {
	answersOn := func(method string) string {
		return testcaddy.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
			if r.Method != method {
				panic(http.ErrAbortHandler)
			}
		})
	}
	var fails atomic.Bool // what the upstreams below do from some time on
	tests := []struct {
		name, site string
		directive  string // upstream_diagnostics by default
		// visits are methods and paths, or hosts and paths, each of which is asked 15 times in
		// turn. then ones, if any, are asked when the upstreams begin to fail.
		visits, then []string
		cause        string
		changes      []string
		summary      string // the beginning of the last one's
	}{
		{
			name: "one of three upstreams is dead", site: "reverse_proxy DEAD GOOD1 GOOD2 {\nlb_policy round_robin\nlb_retries 2\n}", visits: []string{"GET /", "POST /"},
			cause: "connection_refused", changes: []string{"address DEAD"}, summary: "Only DEAD of 3 addresses fails",
		},
		{
			name: "each request is rescued", site: "reverse_proxy DEAD GOOD1 {\nlb_policy round_robin\nlb_retries 1\n}", visits: []string{"GET /"},
			cause: "connection_refused", changes: []string{"address DEAD"}, summary: "Only DEAD of 2 addresses fails: 1",
		},
		{
			name: "one of three upstreams of FastCGI is dead", site: "reverse_proxy DEAD FASTCGI1 FASTCGI2 {\nlb_policy round_robin\nlb_retries 2\ntransport fastcgi\n}", visits: []string{"GET /", "POST /"},
			cause: "connection_refused", changes: []string{"address DEAD"}, summary: "Only DEAD of 3 addresses fails",
		},
		{
			name: "one of the addresses that a source gives", visits: []string{"GET /", "POST /"}, cause: "connection_refused",
			site: "reverse_proxy {\ndynamic multi {\na HOST DEADPORT\na HOST GOOD1PORT\na HOST GOOD2PORT\n}\nlb_policy round_robin\n}", changes: []string{"address DEAD"}, summary: "Only DEAD of 3 addresses fails",
		},
		{
			name: "POST", site: "reverse_proxy " + answersOn(http.MethodGet) + " {\ntransport http {\nkeepalive off\n}\n}", visits: []string{"GET /", "POST /"},
			cause: "closed_before_response", changes: []string{"method POST"}, summary: "Only POST fails: 15 of 15 failures, 0 of 1",
		},
		{
			name: "one host", site: "reverse_proxy " + testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Host == "old.example.com" {
					w.WriteHeader(http.StatusBadGateway)
				}
			}), visits: []string{"new.example.com /", "old.example.com /", "other.example.com /"},
			cause: "upstream_status", changes: []string{"host old.example.com"}, summary: `Only the host "old.example.com" fails: 15 of 15 failures, 0 of `,
		},
		{
			name: "reused connections", site: "reverse_proxy " + testcaddy.Peer(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				for _, answer := range []string{"200 OK\r\n", "502 Bad Gateway\r\nConnection: close\r\n"} {
					if _, err := http.ReadRequest(in); err == nil {
						_, _ = io.WriteString(conn, "HTTP/1.1 "+answer+"Content-Length: 0\r\n\r\n")
					}
				}
			}), visits: []string{"GET /", "GET /"},
			cause: "upstream_status", changes: []string{"connection reused"}, summary: "Only reused connections fail: 15 of 15 failures, 0 of 1",
		},
		{
			name: "answers of another server", site: "reverse_proxy " + testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
				if w.Header().Set("Server", "app/1"); fails.Load() {
					w.Header().Set("Server", "front/2")
					w.WriteHeader(http.StatusBadGateway)
				}
			}), visits: []string{"GET /"}, then: []string{"GET /"},
			cause: "upstream_status", changes: []string{"server front/2"}, summary: `Only answers with the Server field "front/2" fail: 15 of 15 failures, 0 of 15 requests that went well.`,
		},
		{
			// What is at hand in both is the same; and routing says which host fails.
			name: "hosts that are routed", site: "@old host old.example.com\nreverse_proxy @old DEAD\nreverse_proxy GOOD1", visits: []string{"old.example.com /", "new.example.com /"},
			cause: "connection_refused",
		},
		{name: "the only upstream", site: "reverse_proxy DEAD", visits: []string{"GET /", "POST /"}, cause: "connection_refused"},
		{
			// It is on fresh ones by what it is, and what works is on reused ones.
			name: "what can only be on fresh connections", site: "reverse_proxy DEAD GOOD1 {\nlb_policy round_robin\n}", visits: []string{"GET /", "GET /"},
			cause: "connection_refused", changes: []string{"address DEAD"},
		},
		{
			name: "an address that the client sent", site: "reverse_proxy {query.to} {\ntransport http {\nkeepalive off\n}\n}", visits: []string{"GET /?to=DEAD", "GET /?to=GOOD1", "GET /?to=GOOD2"},
			cause: "connection_refused",
		},
		{
			name: "an address that the client sent, and that is kept", directive: "upstream_diagnostics {\nkeep_query to\n}",
			site: "reverse_proxy {query.to} {\ntransport http {\nkeepalive off\n}\n}", visits: []string{"GET /?to=DEAD", "GET /?to=GOOD1", "GET /?to=GOOD2"},
			cause: "connection_refused", changes: []string{"address DEAD"}, summary: "Only DEAD of 3 addresses fails: 15 of 15",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fails.Store(false)
			ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			var names []string
			for name, address := range map[string]string{
				"DEAD": testcaddy.Dead(t), "GOOD1": testcaddy.Good(t), "GOOD2": testcaddy.Good(t),
				"FASTCGI1": testcaddy.FastCGI(t, ok), "FASTCGI2": testcaddy.FastCGI(t, ok),
			} {
				_, port, _ := strings.Cut(address, ":")
				names = append([]string{name + "PORT", port}, append(names, name, address)...)
			}
			put := strings.NewReplacer(append(names, "HOST", "127.0.0.1")...).Replace
			c := testcaddy.New(t)
			ofAnyHost := strings.Replace(c.Caddyfile("", cmp.Or(test.directive, "upstream_diagnostics")+"\n"+put(test.site)), "http://127.0.0.1:", "http://:", 1)
			if err := testcaddy.Load(ofAnyHost); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { testcaddy.Stop(t) })
			visit := func(visits []string) {
				for range 15 {
					for _, visit := range visits {
						method, path, _ := strings.Cut(put(visit), " ")
						host := "any.example.com"
						if strings.Contains(method, ".") {
							method, host = http.MethodGet, method
						}
						c.Do(method, path, nil, "Host: "+host)
						c.Idle() // its connection is
					}
				}
			}
			visit(test.visits)
			fails.Store(true)
			visit(test.then)
			list := incidentsOf(c, "?state=open")
			if len(list) != 1 || list[0].Cause != test.cause {
				t.Fatalf("%+v", list)
			}
			i := &list[0]
			want := slices.Clone(test.changes)
			for n := range want {
				want[n] = put(want[n])
			}
			got := slices.DeleteFunc(kindsOf(i), func(kind string) bool { return kind == string(failure.ChangeLastSuccess) })
			if !slices.Equal(got, want) {
				t.Fatalf("%q, want %q: %+v", got, want, i.Changes)
			}
			if test.summary == "" {
				return
			}
			last := i.Changes[len(i.Changes)-1]
			if !strings.HasPrefix(last.Summary, put(test.summary)) || last.Chance > failure.MaxChance || last.Chance <= 0 || last.WellOf == 0 {
				t.Errorf("%+v %+v", last, last.Shares)
			}
			if text := c.AdminDo(http.MethodGet, "/incidents/"+i.ID+"?format=text"); !strings.Contains(text.Body, "\nWhat changed\n  ") || !strings.Contains(text.Body, "\n  "+put(test.summary)) || !strings.Contains(text.Body, " (by chance: ") {
				t.Errorf("%s", text.Body)
			}
		})
	}
}

// A config with the wrong port, one that asks in another way, and one with which something
// broke that had worked for long.
func TestChangesWithAConfig(t *testing.T) {
	var broken atomic.Bool
	upstream := testcaddy.Upstream(t, func(http.ResponseWriter, *http.Request) {
		if broken.Load() {
			panic(http.ErrAbortHandler)
		}
	})
	const handler = "upstream_diagnostics\nreverse_proxy "
	for _, test := range []struct {
		name, site string
		want       []string
		says       string
	}{
		{"the wrong port", handler + testcaddy.Dead(t), []string{"config"}, ", which added this upstream: it had not answered well before."},
		{"another way to ask", handler + upstream + " {\ntransport http {\ntls\n}\n}", []string{"config"}, ", which asks this upstream in another way: it had not answered that well before."},
		{"it broke", handler + upstream + " {\nheader_up X-New yes\n}", []string{"config", "last_success"}, " Before, this upstream had answered well for "},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken.Store(false)
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), handler+upstream)
			c.Get("/")
			c.Idle()
			p := currentProcess()
			testcaddy.Eventually(t, "it is known to work", func() bool { return workingSince(p, -time.Hour) > 0 })
			loaded := time.Now()
			if err := c.Load(l.OfOurs(), test.site); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			c.Visit("/")
			c.Idle()
			list := incidentsOf(c, "")
			if len(list) != 1 || !slices.Equal(kindsOf(&list[0]), test.want) {
				t.Fatalf("%+v", list)
			}
			change := list[0].Changes[0]
			at, err := time.Parse(failure.TimestampLayout, change.Value)
			if err != nil || at.Before(loaded.Add(-time.Millisecond)) || at.After(list[0].FirstSeen.Time) || !strings.HasPrefix(change.Summary, "Since the config of ") || !strings.Contains(change.Summary, test.says) {
				t.Errorf("%v %+v", err, change)
			}
			p.resolveIncidents(zap.NewNop(), time.Now())
			if lines := l.Entries(incidentMessage); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["changes"]), test.says) {
				t.Errorf("lines %v", lines)
			}
		})
	}
}

// workingSince makes the process know for so much longer what runs, and what works; it gives
// how many of these there are.
func workingSince(p *process, before time.Duration) (working int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[0].loaded = p.running[0].loaded.Add(before)
	p.beginnings.Range(func(_, known any) bool {
		if b := known.(*beginning); b.worked.Load() != nil {
			b.worked.Store(new(b.worked.Load().Add(before)))
			working++
		}
		return true
	})
	return working
}

// What a process knows of the configs that it runs.
func TestWhatConfigsAdd(t *testing.T) {
	p := &process{journal: journal.New(10, time.Hour)}
	config := func(upstreams ...string) *App { return &App{Keep: 10, upstreams: upstreams} }
	check := func(upstream string, loaded, before, added *App) {
		t.Helper()
		at := func(a *App) (at time.Time) {
			if a != nil {
				at = a.loaded
			}
			return at
		}
		if got := p.configOf(upstream); got == nil || !got.Loaded.Equal(at(loaded)) || !got.Before.Equal(at(before)) || !got.Added.Equal(at(added)) {
			t.Errorf("%s: %+v", upstream, got)
		}
	}
	first, second, third, fourth := config("a", "b"), config("a", "c"), config("a", "b"), config("a")
	p.started(first)
	check("a", first, nil, nil)
	p.started(second)
	check("a", second, first, nil)
	check("b", second, first, nil) // while both run
	check("c", second, first, second)
	p.stopped(first)
	check("c", second, first, second)
	if p.names("b") || p.configOf("b") != nil {
		t.Error("b is named by none")
	}
	p.started(third)
	p.stopped(second)
	check("a", third, second, nil)
	check("b", third, second, third)
	// One whose load failed.
	p.started(fourth)
	p.stopped(fourth)
	check("a", third, second, nil)
	check("b", third, second, third)
}

// An answer alone is no success.
func TestAnsweredBefore(t *testing.T) {
	p, past := new(process), new(listen.Past)
	if got := p.answeredBefore(&listen.Attempt{Past: past}); !got.Known || !got.Last.IsZero() || !got.Since.IsZero() {
		t.Errorf("%+v", got)
	}
	past.Answered(0)
	if got := p.answeredBefore(&listen.Attempt{Past: past}); !got.Known || !got.Last.IsZero() {
		t.Errorf("%+v", got)
	}
	past.Succeeded(1)
	now := time.Now()
	p.works(past, now)
	p.works(past, now.Add(time.Hour))
	if got := p.answeredBefore(&listen.Attempt{Past: past}); !got.Known || got.Last.IsZero() || got.Since != now { // with its monotonic reading
		t.Errorf("%+v", got)
	}
	if got := p.answeredBefore(new(listen.Attempt)); got.Known {
		t.Errorf("nobody keeps it: %+v", got)
	}
}

// What can't be compared is left out.
func TestCircumstances(t *testing.T) {
	limits := new(failure.Limits)
	refused := func(change func(*listen.Attempt, *failure.Failure)) journal.Circumstances {
		heard := &listen.Heard{Start: time.Now(), Attempts: []listen.Attempt{{
			Upstream: "app:80", Limits: limits, Status: http.StatusBadGateway, Header: http.Header{"Server": {"nginx"}}, Connection: &listen.Connection{Reused: true},
		}}}
		f := &failure.Failure{
			Attempts: []failure.Attempt{{Address: "10.0.0.7:80", Cause: "upstream_status"}}, Received: &failure.Received{Server: "nginx"},
		}
		change(&heard.Attempts[0], f)
		h := &Handler{process: new(process), sampler: new(journal.Sampler)}
		r, err := http.NewRequest(http.MethodPost, "http://shop.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		return h.circumstancesOf(r, heard, f, 0)
	}
	all := journal.Traits{"POST", "shop.example.com", "HTTP/1.1", failure.ConnectionReused, "10.0.0.7:80", "nginx"}
	for _, test := range []struct {
		name   string
		change func(*listen.Attempt, *failure.Failure)
		left   []int // out
	}{
		{"all is known", func(*listen.Attempt, *failure.Failure) {}, nil},
		{"a fresh connection", func(a *listen.Attempt, _ *failure.Failure) { a.Connection.Reused = false }, nil},
		{"no connection", func(a *listen.Attempt, _ *failure.Failure) { a.Connection = nil }, []int{journal.TraitConnection}},
		{"of a cause that tells", func(_ *listen.Attempt, f *failure.Failure) { f.Attempts[0].Cause = "upgrade_failed" }, []int{journal.TraitMethod, journal.TraitProtocol, journal.TraitConnection}},
		{"an address that isn't kept", func(_ *listen.Attempt, f *failure.Failure) { f.Attempts[0].Address = "REDACTED:80" }, []int{journal.TraitAddress}},
		{"a Server field that isn't kept", func(_ *listen.Attempt, f *failure.Failure) { f.Received.Server = "REDACTED" }, []int{journal.TraitServer}},
		{"the Server field of another attempt", func(_ *listen.Attempt, f *failure.Failure) { f.Received = nil }, []int{journal.TraitServer}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := all
			for _, n := range test.left {
				want[n] = ""
			}
			if test.name == "a fresh connection" {
				want[journal.TraitConnection] = failure.ConnectionFresh
			}
			if got := refused(test.change); got.Traits != want || got.Limits != limits || got.Sampler == nil {
				t.Errorf("%q, want %q", got.Traits, want)
			}
		})
	}
	if got := refused(func(a *listen.Attempt, _ *failure.Failure) { a.Limits = nil }); got.Limits != nil || got.Sampler != nil {
		t.Errorf("%+v", got)
	}
}
