package diagnostics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Names of the events that are emitted on Caddy's events app.
const (
	eventIncidentOpened   = "upstream_incident_opened"
	eventIncidentResolved = "upstream_incident_resolved"
	eventWarning          = "upstream_warning"
)

// maxPendingEvents bounds how many events wait for a handler that takes its time.
const maxPendingEvents = 1000

// event is one to be emitted. Its data are the fields of what it tells of.
type event struct {
	name string
	of   any
}

// emit leaves an event to the newest App, which emits it when it comes to it: nobody who
// handles events holds up a request.
func (p *process) emit(name string, of any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.running) == 0 {
		return // nobody can have subscribed
	}
	if len(p.events) >= maxPendingEvents {
		p.eventsDropped++
		return
	}
	p.events = append(p.events, event{name, of})
	p.running[len(p.running)-1].wakeUp()
}

// nextEvent takes the event that has waited longest, where a is the newest App.
func (p *process) nextEvent(a *App) (e event, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 || len(p.running) == 0 || p.running[len(p.running)-1] != a {
		return e, false
	}
	e = p.events[0]
	p.events = p.events[1:]
	if len(p.events) == 0 {
		p.events = nil // and what it held
	}
	return e, true
}

// droppedEvents is how many events no handler was told of, because too many waited.
func (p *process) droppedEvents() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.eventsDropped
}

// wakeUp has the App look for events.
func (a *App) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// emitEvents is a goroutine from Start on. Stop doesn't wait for it: it may be in the
// hands of a handler that hangs.
func (a *App) emitEvents(stop <-chan struct{}) {
	select {
	case <-a.allStarted: // until then, the events app may be taking subscriptions
	case <-stop:
		return
	}
	for {
		select {
		case <-a.wake:
		case <-stop:
			return
		}
		for e, ok := a.process.nextEvent(a); ok; e, ok = a.process.nextEvent(a) {
			a.emitEvent(e)
		}
	}
}

func (a *App) emitEvent(e event) {
	defer func() {
		// A handler's fault must not become the process's.
		if fault := recover(); fault != nil {
			a.logger.Error("handling an event panicked", zap.String("event", e.name), zap.Any("panic", fault), zap.Stack("stack"))
		}
	}()
	if !a.events.ShouldEmit(e.name) {
		return
	}
	data, err := fieldsAsJSON(e.of)
	if err != nil {
		a.logger.Error("making an event", zap.String("event", e.name), zap.Error(err))
		return
	}
	// A reload ends neither the telling nor a command that a handler runs for it.
	ctx := a.ctx
	ctx.Context = context.WithoutCancel(a.ctx.Context)
	a.events.Emit(ctx, e.name, data)
}

// fieldsAsJSON are the fields of a struct by their names in JSON. What an upstream has named
// breaks no line that it is put into.
func fieldsAsJSON(of any) (map[string]any, error) {
	text, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // so that a placeholder shows a number as it is
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, err
	}
	visible(fields)
	return fields, nil
}

// visible is failure.Visible of all texts in value.
func visible(value any) any {
	switch v := value.(type) {
	case string:
		return failure.Visible(v)
	case []any:
		for n := range v {
			v[n] = visible(v[n])
		}
	case map[string]any:
		for name := range v {
			v[name] = visible(v[name])
		}
	}
	return value
}

// provisionEvents finds the events app, which is there in every config with an http app.
func (a *App) provisionEvents(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	var ok bool
	if a.events, ok = app.(*caddyevents.App); !ok {
		return fmt.Errorf("the events app is a %T, not Caddy's: no events can be emitted", app)
	}
	a.ctx, a.wake, a.allStarted = ctx, make(chan struct{}, 1), make(chan struct{})
	// It refuses an App that came with the remote admin endpoint, after all apps had been
	// started: that one is never started, and emits nothing.
	_ = a.events.On("started", &allStarted{at: a.allStarted})
	return nil
}

// allStarted hears that all apps of a config have been started.
type allStarted struct {
	once sync.Once
	at   chan struct{}
}

// Handle implements caddyevents.Handler.
func (s *allStarted) Handle(context.Context, caddy.Event) error {
	s.once.Do(func() { close(s.at) })
	return nil
}
