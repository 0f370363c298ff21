package diagnostics

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// boardOf is what the admin endpoint has of the upstreams.
func boardOf(c *testcaddy.Caddy, query string) (board failure.Board) {
	c.T.Helper()
	if status := c.AdminGet("/upstream_diagnostics/upstreams"+query, &board); status != http.StatusOK {
		c.T.Fatalf("status %d", status)
	}
	return board
}

// stateOf is how the one upstream of that name is.
func stateOf(c *testcaddy.Caddy, upstream string) failure.UpstreamState {
	c.T.Helper()
	var found []failure.UpstreamState
	for _, s := range boardOf(c, "").Upstreams {
		if s.Upstream == upstream {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		c.T.Fatalf("%d times %s", len(found), upstream)
	}
	return found[0]
}

func limitOf(s *failure.UpstreamState, name string) string {
	for _, limit := range s.Limits {
		if limit.Name == name {
			value := "none"
			if limit.ValueMS != nil {
				value = limit.ValueMS.Duration().String()
			}
			return value + " " + string(limit.Source)
		}
	}
	return ""
}

// Each upstream has its line: one that is out, one that works, one that nobody asked, one
// that a placeholder leads to.
func TestBoard(t *testing.T) {
	dead, good, unasked := testcaddy.Dead(t), testcaddy.Good(t), testcaddy.Dead(t)
	c := testcaddy.Start(t, `handle /pool* {
	upstream_diagnostics {
		site shop
	}
	reverse_proxy `+dead+" "+good+` {
		lb_policy first
		lb_retries 1
		fail_duration 1h
		max_fails 1
		unhealthy_request_count 7
		transport http {
			dial_timeout 5s
			response_header_timeout 1m
		}
	}
}
handle /same {
	upstream_diagnostics {
		site other
	}
	reverse_proxy `+good+`
}
handle /again {
	reverse_proxy `+good+`
}
handle /unasked {
	upstream_diagnostics
	php_fastcgi `+unasked+`
}
handle {
	upstream_diagnostics
	reverse_proxy {query.to} unix//run/app.sock
}`)
	before := boardOf(c, "")
	if len(before.Upstreams) != 6 || before.Warnings == nil {
		t.Fatalf("%+v", before)
	}
	for range 2 {
		if answer := c.Get("/pool"); answer.Body != "good" {
			t.Fatalf("%+v", answer)
		}
	}
	c.Idle()
	f := c.Failures()[0]

	first := boardOf(c, "").Upstreams[0] // who gets no requests is the first
	if first.Upstream != dead || first.Address != dead || first.Healthy == nil || *first.Healthy || first.Reason != failure.ReasonFails ||
		*first.Fails != 1 || first.MaxFails != 1 || first.LastSuccess != nil || first.LastAnswer != nil || first.Dynamic {
		t.Errorf("the dead one: %+v", first)
	}
	if first.LastFailure == nil || first.LastFailure.ID != f.ID || first.LastFailure.Cause != "connection_refused" || first.LastFailure.Time != f.Time {
		t.Errorf("its failure: %+v", first.LastFailure)
	}
	if !slices.Equal(first.OpenIncidents, []string{f.Attempts[0].Incident}) || first.FailingSince == nil || first.FailingSince.After(f.Time.Time) {
		t.Errorf("its incidents: %v since %v", first.OpenIncidents, first.FailingSince)
	}
	if limitOf(&first, "dial_timeout") != "5s configured" || limitOf(&first, "response_header_timeout") != "1m0s configured" ||
		limitOf(&first, "read_timeout") != "none absent" || limitOf(&first, "keepalive") != "2m0s default" || limitOf(&first, "fail_duration") != "1h0m0s configured" {
		t.Errorf("its limits: %+v", first.Limits)
	}

	var ways []string // in which the good one is reached
	for _, s := range boardOf(c, "?upstream="+good).Upstreams {
		ways = append(ways, fmt.Sprintf("%v %v %d %t %q %d %t", s.Sites, s.Servers, s.MaxRequests, s.Healthy != nil, s.Reason, *s.InFlight, s.LastSuccess != nil))
	}
	if want := []string{`[127.0.0.1 other] [srv0] 0 false "" 0 true`, `[shop] [srv0] 7 true "" 0 true`}; !slices.Equal(ways, want) {
		t.Errorf("the good one is reached by %q, want %q", ways, want)
	}
	php := stateOf(c, unasked)
	if php.Transport != "fastcgi" || php.Protocol != "fastcgi" || php.LastFailure != nil || php.LastAnswer != nil || len(php.Warnings) != 0 || len(php.Sites) != 1 || php.Sites[0] != "127.0.0.1" {
		t.Errorf("the one that nobody asked: %+v", php)
	}
	if s := stateOf(c, "{http.request.uri.query.to}"); s.Address != "" || s.LastAnswer != nil {
		t.Errorf("where a placeholder leads: %+v", s)
	}
	if s := stateOf(c, "unix//run/app.sock"); s.Address != "/run/app.sock" {
		t.Errorf("a socket: %+v", s)
	}

	for query, want := range map[string]int{
		"?site=shop": 2, "?site=shop,other": 3, "?site=none": 0, "?healthy=false": 1, "?healthy=true": 1, "?healthy=unknown": 4, "?healthy=true,false": 2,
		"?upstream=/run/app.sock": 1, "?upstream=" + dead + "&site=other": 0, "?upstream=": 6,
	} {
		if got := len(boardOf(c, query).Upstreams); got != want {
			t.Errorf("%s: %d upstreams, want %d", query, got, want)
		}
	}
	for request, want := range map[string]struct {
		status int
		says   string
	}{
		"GET /upstreams?color=red":                    {http.StatusBadRequest, "expected one of upstream, site, healthy, format"},
		"GET /upstreams?healthy=maybe":                {http.StatusBadRequest, "expected one of true, false, unknown"},
		"GET /upstreams/x":                            {http.StatusNotFound, "/upstreams, /causes"},
		"POST /upstreams":                             {http.StatusMethodNotAllowed, "GET, HEAD"},
		"DELETE /upstreams":                           {http.StatusMethodNotAllowed, "GET, HEAD"},
		"HEAD /upstreams":                             {http.StatusOK, ""},
		"GET /upstreams?format=text":                  {http.StatusOK, "failed too often (max_fails)"},
		"GET /upstreams?format=text&upstream=" + dead: {http.StatusOK, "dial_timeout 5s, response_header_timeout 1m, expect_continue_timeout none"},
	} {
		method, path, _ := strings.Cut(request, " ")
		if answer := c.AdminDo(method, path); answer.Status != want.status || !strings.Contains(answer.Body, want.says) {
			t.Errorf("%s: %d %s", request, answer.Status, answer.Body)
		}
	}

	// The next config has one of them, which kept its past; who left is gone.
	if err := c.Load("", "upstream_diagnostics\nreverse_proxy "+good); err != nil {
		t.Fatal(err)
	}
	after := boardOf(c, "").Upstreams
	if len(after) != 1 || after[0].Upstream != good || after[0].LastSuccess == nil || !slices.Equal(after[0].Sites, []string{"127.0.0.1"}) {
		t.Errorf("%+v", after)
	}
}

// An answer is no success if it is a server's error or broke off; whoever is asked in
// another way has a past of its own.
func TestLastSuccess(t *testing.T) {
	do := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/error":
			w.WriteHeader(http.StatusInternalServerError)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/asked":
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = io.WriteString(w, "good")
		}
	})
	for _, way := range []struct{ name, directive string }{
		{"HTTP", "reverse_proxy " + testcaddy.Upstream(t, do)},
		{"HTTP with active checks", "reverse_proxy " + testcaddy.Upstream(t, do) + " {\nhealth_uri /\nhealth_interval 1h\n}"},
		{"FastCGI", "reverse_proxy " + testcaddy.FastCGI(t, do) + " {\ntransport fastcgi\n}"},
		{"FastCGI with active checks", "reverse_proxy " + testcaddy.FastCGI(t, do) + " {\nhealth_uri /\nhealth_interval 1h\ntransport fastcgi\n}"},
		{"a question before", "forward_auth " + testcaddy.Upstream(t, do) + " {\nuri /asked\n}\nrespond /good good"},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics\n"+way.directive)
			state := func() failure.UpstreamState {
				t.Helper()
				c.Idle()
				list := boardOf(c, "").Upstreams
				if len(list) != 1 {
					t.Fatalf("%+v", list)
				}
				return list[0]
			}
			if s := state(); s.LastSuccess != nil || s.LastAnswer != nil {
				t.Errorf("nobody was asked: %+v", s)
			}
			if !strings.HasPrefix(way.directive, "forward_auth") {
				c.Get("/error")
				c.Get("/cut")
				if s := state(); s.LastSuccess != nil {
					t.Errorf("failed only: %s", s.LastSuccess)
				}
			}
			if way.name == "HTTP" && state().LastAnswer == nil {
				t.Error("it has answered")
			}
			for _, path := range []string{"/missing", "/good"} {
				before := state()
				c.Get(path)
				testcaddy.Eventually(t, "a success is known", func() bool {
					s := state()
					return s.LastSuccess != nil && (before.LastSuccess == nil || !s.LastSuccess.Before(before.LastSuccess.Time)) && s.LastAnswer != nil
				})
			}
		})
	}
}

// Of two that are asked for one request each has its own success.
func TestLastSuccessOfAQuestion(t *testing.T) {
	asked, good := testcaddy.Upstream(t, func(http.ResponseWriter, *http.Request) {}), testcaddy.Good(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nforward_auth "+asked+" {\nuri /asked\n}\nreverse_proxy "+good)
	c.Get("/")
	c.Idle()
	for _, upstream := range []string{asked, good} {
		if s := stateOf(c, upstream); s.LastSuccess == nil {
			t.Errorf("%+v", s)
		}
	}
}

// What a client did is not the upstream's last failure, and does not hide that one.
func TestLastFailureIsNotTheClients(t *testing.T) {
	answered := make(chan bool, 1)
	answered <- false
	peer := testcaddy.Peer(t, func(conn net.Conn) {
		if <-answered { // the first request finds nobody who answers
			_, _ = io.Copy(io.Discard, conn)
		}
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+peer)
	c.Visit("/")
	c.Idle()
	own := c.Failure()
	answered <- true
	c.Raw("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n")
	c.Idle()
	if list := c.Failures(); len(list) != 2 || list[0].Side != failure.SideClient || list[0].Upstream != peer {
		t.Fatalf("%+v", list)
	}
	if last := stateOf(c, peer).LastFailure; last == nil || last.ID != own.ID || last.Cause != own.Cause {
		t.Errorf("the last failure is %+v, want %s, %s", last, own.ID, own.Cause)
	}
}

// Where addresses come and go, those that came last have a past after all, and who stands in
// the config keeps its own.
func TestPastsAreForgotten(t *testing.T) {
	good := testcaddy.Good(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+good)
	c.Get("/")
	c.Idle()
	before := stateOf(c, good).LastSuccess
	p := currentProcess()
	p.forgetLearnt() // those that come are newer
	for n := 0; p.learnt.Past(fmt.Sprint("10.0.0.1:", n)) != nil; n++ {
	}
	known := p.learnt.All()
	for _, past := range known {
		p.works(past, time.Now())
	}
	for range 3 {
		p.forgetLearnt()
	}
	kept := p.learnt.All()
	if len(kept) == len(known) {
		t.Error("none is forgotten")
	}
	for upstream, past := range known {
		if _, ok := p.beginnings.Load(past); ok != (kept[upstream] == past) {
			t.Errorf("%s: its past is kept: %t, since when it worked: %t", upstream, kept[upstream] == past, ok)
		}
		p.works(past, time.Now()) // a request that had begun before
	}
	for n := 0; p.learnt.Past(fmt.Sprint("10.0.0.2:", n)) != nil; n++ {
	}
	for range 3 {
		p.forgetLearnt()
	}
	stays := slices.Collect(maps.Values(p.learnt.All()))
	p.beginnings.Range(func(past, _ any) bool {
		if !slices.Contains(stays, past.(*listen.Past)) {
			t.Error("since when one worked that is forgotten is still known")
			return false
		}
		return true
	})
	if err := c.Load("", "upstream_diagnostics\nreverse_proxy "+good+"\nheader X-Config second"); err != nil {
		t.Fatal(err)
	}
	if after := stateOf(c, good).LastSuccess; before == nil || after == nil || !after.Equal(before.Time) {
		t.Errorf("its last success was %v, and is %v", before, after)
	}
}

// Where two handlers lead to an upstream in the same way, and the check of one fails, it is
// out.
func TestBoardHasWhoIsOutAtOne(t *testing.T) {
	for _, out := range []string{"a", "b"} {
		upstream := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-For") == out {
				w.WriteHeader(http.StatusNotFound)
			}
		})
		site := ""
		for _, name := range []string{"a", "b"} {
			site += "handle /" + name + " {\nupstream_diagnostics\nreverse_proxy " + upstream + " {\nhealth_uri /\nhealth_interval 1h\nhealth_headers {\nX-For " + name + "\n}\n}\n}\n"
		}
		c := testcaddy.Start(t, site)
		testcaddy.Eventually(t, "one check has failed", func() bool { return stateOf(c, upstream).Reason == failure.ReasonUnhealthy })
		if s := stateOf(c, upstream); s.Healthy == nil || *s.Healthy {
			t.Errorf("%+v", s)
		}
	}
}

// A dynamic source has what it gave last, and the error of its last lookup.
func TestBoardOfDynamicSources(t *testing.T) {
	good := testcaddy.Good(t)
	_, port, _ := net.SplitHostPort(good)
	c := testcaddy.Start(t, `handle /a {
	upstream_diagnostics
	reverse_proxy {
		dynamic a localhost `+port+` {
			versions ipv4
		}
	}
}
handle /broken {
	upstream_diagnostics
	reverse_proxy {
		dynamic srv _http._tcp.app.invalid {
			resolvers `+testcaddy.Dead(t)+`
			dial_timeout 1s
		}
	}
}
handle /hidden {
	upstream_diagnostics
	reverse_proxy {
		dynamic srv {query.secret}.invalid {
			resolvers `+testcaddy.Dead(t)+`
			dial_timeout 1s
		}
	}
}
handle /unasked {
	upstream_diagnostics
	reverse_proxy {
		dynamic multi {
			a localhost `+port+`
		}
	}
}`)
	for _, path := range []string{"/a", "/broken", "/hidden?secret=hunter2"} {
		c.Get(path)
	}
	c.Idle()
	s := stateOf(c, "a localhost:"+port)
	if !s.Dynamic || s.Lookup == nil || s.Lookup.AddressCount != 1 || len(s.Lookup.Addresses) != 1 || s.Lookup.Addresses[0].Address != good ||
		s.Lookup.Addresses[0].LastSuccess == nil || s.LastSuccess == nil || s.Fails != nil || s.InFlight != nil || s.Address != "" || s.Lookup.Error != "" {
		t.Errorf("%+v %+v", s, s.Lookup)
	}
	if found := boardOf(c, "?upstream="+good).Upstreams; len(found) != 1 || found[0].Upstream != s.Upstream {
		t.Errorf("by its address: %+v", found)
	}
	broken := stateOf(c, "srv _http._tcp.app.invalid")
	if broken.Lookup == nil || broken.Lookup.AddressCount != 0 || len(broken.Lookup.Addresses) != 0 || !strings.Contains(broken.Lookup.Error, "app.invalid") || broken.LastFailure == nil {
		t.Errorf("%+v %+v", broken, broken.Lookup)
	}
	hidden := stateOf(c, "srv {http.request.uri.query.secret}.invalid")
	if hidden.Lookup == nil || !strings.HasPrefix(hidden.Lookup.Error, "the lookup failed") {
		t.Errorf("%+v", hidden.Lookup)
	}
	if s := stateOf(c, "multi"); s.Lookup != nil {
		t.Errorf("it was not asked: %+v", s.Lookup)
	}
	for _, query := range []string{"", "?format=text", "?format=text&upstream=" + good} {
		answer := c.AdminDo(http.MethodGet, "/upstreams"+query)
		if strings.Contains(answer.Body, "hunter2") {
			t.Errorf("%s tells what a client sent: %s", query, answer.Body)
		}
		if !strings.Contains(answer.Body, "localhost:"+port) {
			t.Errorf("%s: %s", query, answer.Body)
		}
	}
}

// The sites that lead to an upstream are those under whose label its failures are
// recorded, in named routes and behind other directives, too.
func TestSitesOfTheBoard(t *testing.T) {
	port := testcaddy.FreePort(t)
	c := testcaddy.New(t)
	at := func(n int) string { return "127.0.0.1:" + strconv.Itoa(n) }
	caddyfile := strings.Replace(c.Caddyfile("", "respond fine"), "http://127.0.0.1", `&(named) {
	reverse_proxy `+at(1)+`
}
http://one.example:`+strconv.Itoa(port)+`, http://uno.example:`+strconv.Itoa(port)+` {
	upstream_diagnostics
	reverse_proxy /a `+at(2)+`
	handle /b {
		upstream_diagnostics {
			site inner
		}
		reverse_proxy `+at(3)+`
	}
	invoke named
}
http://two.example:`+strconv.Itoa(port)+` {
	upstream_diagnostics {
		site two
	}
	intercept {
		@missing status 404
		handle_response @missing {
			reverse_proxy `+at(5)+`
		}
	}
	invoke named
	reverse_proxy `+at(2)+`
}
http://unheard.example:`+strconv.Itoa(port)+` {
	reverse_proxy `+at(4)+`
}
http://127.0.0.1`, 1)
	if err := testcaddy.Load(caddyfile); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	for n, want := range map[int][]string{1: {"one.example", "two"}, 2: {"one.example", "two"}, 3: {"inner"}, 4: {"unheard.example"}, 5: {"two"}} {
		if got := stateOf(c, at(n)).Sites; !slices.Equal(got, want) {
			t.Errorf("%s is led to from %q, want %q", at(n), got, want)
		}
	}
}
