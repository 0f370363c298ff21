package diagnostics

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// incidentsOf is what the admin endpoint has of incidents.
func incidentsOf(c *testcaddy.Caddy, query string) []failure.Incident {
	c.T.Helper()
	var list struct {
		Incidents []failure.Incident `json:"incidents"`
	}
	if status := c.AdminGet("/upstream_diagnostics/incidents"+query, &list); status != http.StatusOK {
		c.T.Fatalf("status %d", status)
	}
	return list.Incidents
}

// A dead upstream of a pool has one open incident, also where each request is rescued; it
// is over when that one answers again.
func TestIncidentOfADeadUpstream(t *testing.T) {
	dead := testcaddy.Dead(t)
	alive := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	other := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy "+dead+" "+alive+" "+other+" {\nlb_policy round_robin\nlb_retries 2\n}")
	for range 30 {
		if answer := c.Get("/order"); answer.Status != http.StatusOK {
			t.Fatalf("got %d", answer.Status)
		}
		if c.Idle(); len(c.Failures()) == 4 {
			break
		}
	}
	list := incidentsOf(c, "")
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	i := list[0]
	if i.State != failure.IncidentOpen || i.Upstream != dead || i.Cause != "connection_refused" || i.Count != 4 || i.Outcomes[failure.Rescued] != 4 ||
		len(i.Samples) != 4 || i.ReopenedCount != 0 || !strings.Contains(i.Summary, dead) || i.Advice == "" || i.Side != failure.SideUpstream {
		t.Errorf("%+v", i)
	}
	for _, f := range c.Failures() {
		if f.Attempts[0].Incident != i.ID || f.Attempts[1].Incident != "" || f.Incident != i.ID || !slices.Contains(i.Samples, f.ID) {
			t.Errorf("a record of it: %+v", f.Attempts)
		}
	}
	var overview failure.Overview
	if c.AdminGet("/upstream_diagnostics", &overview); overview.OpenIncidents != 1 || overview.Dropped != 0 {
		t.Errorf("%+v", overview)
	}
	if lines := l.Entries(incidentMessage); len(lines) != 1 || lines[0]["incident"] != i.ID || lines[0]["state"] != "open" || lines[0]["upstream"] != dead {
		t.Errorf("lines %v", lines)
	}

	// It answers again.
	p := currentProcess()
	if p.resolveIncidents(zap.NewNop(), time.Now().Add(time.Minute)); len(incidentsOf(c, "?state=open")) != 1 {
		t.Error("it was resolved before it answered")
	}
	again, err := net.Listen("tcp", dead)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	go func() { _ = server.Serve(again) }()
	defer server.Close()
	for range 3 { // one of them goes there
		c.Get("/order")
	}
	p.resolveIncidents(zap.NewNop(), time.Now().Add(time.Minute))
	if list := incidentsOf(c, "?state=resolved&upstream="+dead); len(list) != 1 || list[0].ResolvedBy != failure.ResolvedByAnswer || list[0].Count != 4 {
		t.Errorf("%+v", list)
	}
}

// An upstream that is asked over TLS from now on, because it expects that, is well by its
// answers there.
func TestIncidentMendedInTheConfig(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	upstream := server.Listener.Addr().String()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream)
	c.Get("/")
	c.Idle()
	p := currentProcess()
	const overTLS = "transport http {\ntls_insecure_skip_verify\n}"
	for _, step := range []struct {
		name, site string
		state      failure.IncidentState
		visits     bool
	}{
		{"nobody asked yet", "upstream_diagnostics\nreverse_proxy https://" + upstream, failure.IncidentOpen, false},
		{"the old way is asked too", "upstream_diagnostics\nhandle /tls {\nreverse_proxy https://" + upstream + " {\n" + overTLS + "\n}\n}\nreverse_proxy " + upstream, failure.IncidentOpen, true},
		{"and it answers", "upstream_diagnostics\nreverse_proxy https://" + upstream + " {\n" + overTLS + "\n}", failure.IncidentResolved, true},
	} {
		if err := c.Load("", step.site); err != nil {
			t.Fatal(err)
		}
		if step.visits {
			// A connection that waits in the old config's listener when that is closed is reset.
			answer := c.Get("/tls")
			for range 10 {
				if answer.Status != 0 {
					break
				}
				answer = c.Get("/tls")
			}
			if answer.Status != http.StatusNoContent {
				t.Fatalf("%s: %+v", step.name, answer)
			}
			c.Idle()
		}
		p.resolveIncidents(zap.NewNop(), time.Now().Add(time.Minute))
		if list := incidentsOf(c, ""); len(list) != 1 || list[0].Cause != "tls_expected" || list[0].State != step.state ||
			step.state == failure.IncidentResolved && list[0].ResolvedBy != failure.ResolvedByAnswer {
			t.Errorf("%s: %+v", step.name, list)
		}
	}
}

// Each failed attempt counts for its own upstream's incident, a failure without one for
// its own, and what the client did for none.
func TestIncidentsOfAttempts(t *testing.T) {
	one, two := testcaddy.Dead(t), testcaddy.Dead(t)
	c := testcaddy.Start(t, `route /both {
	upstream_diagnostics
	reverse_proxy `+one+" "+two+` {
		lb_policy round_robin
		lb_retries 1
	}
}
route /nobody {
	upstream_diagnostics
	reverse_proxy {
		dynamic multi {
		}
	}
}`)
	c.Get("/both")
	c.Get("/nobody")
	c.Idle()
	upstreams := map[string]uint64{}
	for _, i := range incidentsOf(c, "") {
		upstreams[i.Upstream] += i.Count
		if i.Summary == "" || i.Outcomes[failure.Failed] != 1 {
			t.Errorf("%+v", i)
		}
	}
	if len(upstreams) != 3 || upstreams[one] != 1 || upstreams[two] != 1 || upstreams["multi"] != 1 {
		t.Errorf("%v", upstreams)
	}
	if both := incidentsOf(c, "?cause=connection_refused&upstream="+one+","+two); len(both) != 2 {
		t.Errorf("%+v", both)
	}
	for path, want := range map[string]struct {
		status int
		says   string
	}{
		"/incidents?cause=typo":                                   {http.StatusBadRequest, "cause: expected one"},
		"/incidents?state=broken":                                 {http.StatusBadRequest, "expected one of open, resolved"},
		"/incidents?color=red":                                    {http.StatusBadRequest, "expected one of state, site, upstream, cause, since"},
		"/incidents/none":                                         {http.StatusNotFound, "no incident"},
		"/incidents?format=text":                                  {http.StatusOK, "connection_refused"},
		"/incidents?format=text&state=resolved":                   {http.StatusOK, "No incidents."},
		"/incidents/" + incidentsOf(c, "")[0].ID:                  {http.StatusOK, `"samples":[`},
		"/incidents/" + incidentsOf(c, "")[0].ID + "?format=text": {http.StatusOK, "of the last hour"},
	} {
		if answer := c.AdminDo(http.MethodGet, path); answer.Status != want.status || !strings.Contains(answer.Body, want.says) {
			t.Errorf("%s: %d %s", path, answer.Status, answer.Body)
		}
	}
	if answer := c.AdminDo(http.MethodPost, "/incidents"); answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", answer.Status)
	}
	c.AdminDo(http.MethodDelete, "/failures")
	if list := incidentsOf(c, ""); len(list) != 0 {
		t.Errorf("forgotten, and there: %+v", list)
	}

	// A reload without them ends those that the config named.
	c.Get("/both")
	c.Idle()
	if err := c.Load("", "respond fine"); err != nil {
		t.Fatal(err)
	}
	currentProcess().resolveIncidents(zap.NewNop(), time.Now())
	for _, i := range incidentsOf(c, "") {
		if i.State != failure.IncidentResolved || i.ResolvedBy != failure.ResolvedByConfig {
			t.Errorf("%+v", i)
		}
	}
}
