package diagnostics

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// eventRecorder is a handler of events that hands them to the test.
type eventRecorder struct{}

// recorded is where events go; nil for nowhere.
var recorded atomic.Pointer[chan caddy.Event]

func (eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.recorder", New: func() caddy.Module { return new(eventRecorder) }}
}
func (*eventRecorder) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }
func (*eventRecorder) Handle(_ context.Context, e caddy.Event) error {
	if events := recorded.Load(); events != nil {
		*events <- e
	}
	return nil
}

func init() { caddy.RegisterModule(eventRecorder{}) }

// recordEvents has all events that are subscribed to sent to a channel of that size.
func recordEvents(t *testing.T, size int) <-chan caddy.Event {
	events := make(chan caddy.Event, size)
	recorded.Store(&events)
	t.Cleanup(func() { recorded.Store(nil) })
	return events
}

const subscribed = "events {\non " + eventIncidentOpened + " recorder\non " + eventIncidentResolved + " recorder\n}\n"

const subscribedToWarnings = "events {\non " + eventWarning + " recorder\n}\n"

func nextEvent(t *testing.T, events <-chan caddy.Event) caddy.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return caddy.Event{}
	}
}

// An incident that opens and is resolved is told of by its fields.
func TestIncidentEvents(t *testing.T) {
	events := recordEvents(t, 10)
	dead := testcaddy.Dead(t)
	c := testcaddy.StartWith(t, subscribed, "upstream_diagnostics\nreverse_proxy "+dead)
	for range 3 {
		c.Get("/order")
	}
	opened := nextEvent(t, events)
	c.Idle()
	i := incidentsOf(c, "")[0]
	if opened.Name() != eventIncidentOpened || opened.Data["id"] != i.ID || opened.Data["upstream"] != dead || opened.Data["cause"] != "connection_refused" ||
		opened.Data["state"] != "open" || opened.Data["count"] != json.Number("1") || opened.Data["summary"] != i.Summary || opened.Data["advice"] != i.Advice {
		t.Errorf("%s %v", opened.Name(), opened.Data)
	}
	if origin := opened.Origin(); origin == nil || origin.CaddyModule().ID != "upstream_diagnostics" {
		t.Errorf("it comes from %v", origin)
	}

	currentProcess().resolveIncidents(zap.NewNop(), time.Now().Add(2*time.Hour))
	resolved := nextEvent(t, events)
	if resolved.Name() != eventIncidentResolved || resolved.Data["id"] != i.ID || resolved.Data["count"] != json.Number("3") ||
		resolved.Data["state"] != "resolved" || resolved.Data["resolved_by"] != string(failure.ResolvedBySilence) {
		t.Errorf("%s %v", resolved.Name(), resolved.Data)
	}
	select {
	case e := <-events:
		t.Errorf("one too many: %s %v", e.Name(), e.Data)
	default:
	}
}

// A warning that begins is told of by its fields, once.
func TestWarningEvent(t *testing.T) {
	events := recordEvents(t, 10)
	dead, alive := testcaddy.Dead(t), testcaddy.Upstream(t, well)
	c := testcaddy.StartWith(t, subscribedToWarnings, "upstream_diagnostics\nreverse_proxy "+dead+" "+alive+" {\nlb_policy first\nlb_retries 1\nlb_try_interval 1ms\nfail_duration 10s\n}")
	if answer := c.Get("/"); answer.Status != http.StatusNoContent {
		t.Fatalf("got %d", answer.Status)
	}
	e := nextEvent(t, events)
	c.Idle()
	if e.Name() != eventWarning || e.Data["kind"] != string(failure.WarnRescued) || e.Data["upstream"] != dead || e.Data["summary"] == "" || e.Data["advice"] == "" ||
		e.Data["last_failure"] != c.Failure().ID {
		t.Errorf("%s %v", e.Name(), e.Data)
	}
	currentProcess().raise(zap.NewNop(), failure.Warning{Kind: failure.WarnRescued, Upstream: dead, LastSeen: failure.At(time.Now())})
	currentProcess().raise(zap.NewNop(), failure.Warning{
		Kind: failure.WarnCertificate, Upstream: alive, LastSeen: failure.At(time.Now()), Certificate: &failure.Certificate{Name: "shop\r\nexample", NotAfter: failure.At(time.Now())},
	})
	// The next one is of the certificate; what an upstream has named breaks no line.
	if e := nextEvent(t, events); e.Data["kind"] != string(failure.WarnCertificate) || e.Data["certificate"].(map[string]any)["name"] != "shop��example" {
		t.Errorf("%s %v", e.Name(), e.Data)
	}
}

// The example's events and placeholders are there.
func TestEventsExample(t *testing.T) {
	example, err := os.ReadFile("examples/events/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.ReplaceAll(string(example), " exec ", " recorder ") // of a plugin that isn't here
	if _, err := adaptCaddyfile(t, config); err != nil {
		t.Error(err)
	}
	fields, err := fieldsAsJSON(failure.Incident{ResolvedBy: failure.ResolvedByAnswer, Upstream: "app:8080", Advice: "Start it."})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\{event\.data\.(\w+)\}`).FindAllStringSubmatch(config, -1)
	for _, name := range named {
		if _, ok := fields[name[1]]; !ok {
			t.Errorf("an incident has no %s", name[1])
		}
	}
	if len(named) == 0 || strings.Count(config, " recorder ") != 2 {
		t.Errorf("got\n%s", config)
	}
}

// A handler that hangs holds up neither requests nor a reload nor what is resolved, and what
// waits for it is bounded.
func TestEventsHoldNobodyUp(t *testing.T) {
	events := recordEvents(t, 0) // who sends waits
	dead, other := testcaddy.Dead(t), testcaddy.Dead(t)
	site := "upstream_diagnostics\nreverse_proxy /other " + other + "\nreverse_proxy " + dead
	c := testcaddy.StartWith(t, subscribed, site)
	c.Get("/")
	p := currentProcess()
	testcaddy.Eventually(t, "the handler has it", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.events) == 0 })
	for range maxPendingEvents + 5 {
		p.emit(eventIncidentOpened, failure.Incident{ID: "filler"})
	}
	if dropped := p.droppedEvents(); dropped != 5 {
		t.Errorf("%d are counted as dropped", dropped)
	}
	if answer := c.Get("/other"); answer.Status != http.StatusBadGateway {
		t.Errorf("got %d", answer.Status)
	}
	c.Idle()
	p.resolveIncidents(zap.NewNop(), time.Now().Add(2*time.Hour))
	if list := incidentsOf(c, "?state=resolved"); len(list) != 2 {
		t.Errorf("%+v", list)
	}
	if err := c.Load(subscribed, site); err != nil {
		t.Fatal(err)
	}
	// The App of the new config has those that waited.
	for range maxPendingEvents + 1 {
		if e := nextEvent(t, events); e.Data["id"] == nil {
			t.Errorf("%v", e.Data)
		}
	}
}

// A fault of a handler's is its own.
func TestEventHandlerPanics(t *testing.T) {
	events := make(chan caddy.Event)
	close(events) // sending to it panics
	recorded.Store(&events)
	t.Cleanup(func() { recorded.Store(nil) })
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs()+"\n"+subscribed, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	c.Get("/")
	testcaddy.Eventually(t, "it is logged", func() bool { return len(l.Entries("handling an event panicked")) == 1 })
	if answer := c.Get("/"); answer.Status != http.StatusBadGateway {
		t.Errorf("got %d", answer.Status)
	}
}
