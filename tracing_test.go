package diagnostics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// spanned is a handler that makes a span for what is behind it, as Caddy's tracing does.
// Its tracer is the running test's.
type spanned struct{}

var spanTracer trace.Tracer

func (spanned) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.spanned", New: func() caddy.Module { return new(spanned) }}
}

func (spanned) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ctx, span := spanTracer.Start(r.Context(), "request")
	defer span.End()
	return next.ServeHTTP(w, r.WithContext(ctx))
}

func init() {
	caddy.RegisterModule(spanned{})
	httpcaddyfile.RegisterHandlerDirective("spanned", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return spanned{}, nil })
}

// spans are those of a test.
type spans struct {
	t        *testing.T
	recorder *tracetest.SpanRecorder
}

func recordSpans(t *testing.T, options ...sdktrace.TracerProviderOption) *spans {
	t.Helper()
	s := &spans{t, tracetest.NewSpanRecorder()}
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSpanProcessor(s.recorder))...)
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	spanTracer = provider.Tracer("test")
	return s
}

// directive is the one that makes them; it stands in a route.
func (*spans) directive() string { return "spanned" }

// one waits for the one span that has ended.
func (s *spans) one() sdktrace.ReadOnlySpan {
	s.t.Helper()
	testcaddy.Eventually(s.t, "a span has ended", func() bool { return len(s.recorder.Ended()) > 0 })
	ended := s.recorder.Ended()
	if len(ended) > 1 {
		s.t.Fatalf("%d spans", len(ended))
	}
	return ended[0]
}

// valuesOf are attributes as text, by their key.
func valuesOf(attributes []attribute.KeyValue) map[string]string {
	values := make(map[string]string)
	for _, a := range attributes {
		values[string(a.Key)] = a.Value.Emit()
	}
	return values
}

// leave asks, and leaves when the request has arrived.
func leave(t *testing.T, url string, arrived <-chan struct{}) {
	t.Helper()
	testcaddy.Eventually(t, "the request arrives", func() bool { // a reload resets a few
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		left := make(chan bool, 1)
		go func() {
			select {
			case <-arrived:
				left <- true
				cancel()
			case <-ctx.Done():
				left <- false
			}
		}()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := testcaddy.Client.Do(r); err == nil {
			res.Body.Close()
			t.Fatal("the client did not leave")
		}
		cancel()
		return <-left
	})
}

// A failure is told to the span of its request: what the client has of it in attributes,
// each failed attempt in an event of its own.
func TestSpan(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	dead, good, cut, s := testcaddy.Dead(t), testcaddy.Good(t), cutInBody(t), slow(t)
	deadPort := dead[strings.LastIndex(dead, ":")+1:]
	busy := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	refused := map[string]string{
		"error.type": "connection_refused", "server.address": "127.0.0.1", "server.port": deadPort, "network.peer.address": "127.0.0.1", "network.peer.port": deadPort,
		attributePrefix + "upstream": dead, attributePrefix + "errno": "ECONNREFUSED", attributePrefix + "attempt": "1", "http.response.status_code": "",
	}
	for _, test := range []struct {
		name, proxy, options string
		leave                bool
		status               codes.Code
		errorType            string
		outcome              failure.Outcome
		events               []map[string]string
	}{
		{
			name: "failed", proxy: dead, status: codes.Error, errorType: "connection_refused", outcome: failure.Failed,
			events: []map[string]string{refused},
		},
		{
			name: "failed, with page off", proxy: dead, options: " {\npage off\n}", status: codes.Error, errorType: "connection_refused", outcome: failure.Failed,
			events: []map[string]string{refused},
		},
		{
			name: "rescued", proxy: dead + " " + good + " {\nlb_policy first\nlb_retries 1\nfail_duration 1s\n}", outcome: failure.Rescued,
			events: []map[string]string{refused},
		},
		{
			name: "every one of two", proxy: dead + " {\nlb_retries 1\n}", status: codes.Error, errorType: "connection_refused", outcome: failure.Failed,
			events: []map[string]string{refused, {attributePrefix + "attempt": "2"}},
		},
		{
			name: "truncated", proxy: cut, status: codes.Error, errorType: "response_truncated", outcome: failure.Truncated,
			events: []map[string]string{{"error.type": "response_truncated", "http.response.status_code": "200", "network.protocol.name": "http", "network.protocol.version": "1.1"}},
		},
		{
			name: "the upstream's own", proxy: busy, errorType: "upstream_status", outcome: failure.UpstreamAnswered,
			events: []map[string]string{{"error.type": "upstream_status", "http.response.status_code": "503", attributePrefix + "upstream": busy}},
		},
		{
			name: "abandoned", proxy: s.address, leave: true, errorType: "client_closed_request", outcome: failure.Abandoned,
		},
		{
			name: "no socket", proxy: "unix//nonexistent/app.sock", status: codes.Error, errorType: "socket_not_found", outcome: failure.Failed,
			events: []map[string]string{{"network.transport": "unix", "server.address": "/nonexistent/app.sock", "network.peer.address": "/nonexistent/app.sock", "server.port": ""}},
		},
		{
			name: "a name that isn't there", proxy: "nobody.invalid:80", status: codes.Error, errorType: "dns_name_not_found", outcome: failure.Failed,
			events: []map[string]string{{"server.address": "nobody.invalid", "server.port": "80", "network.peer.address": ""}},
		},
		{
			name: "nobody was selected", proxy: "{\ndynamic multi {\n}\n}", status: codes.Error, errorType: "upstreams_missing", outcome: failure.Failed,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			recorded := recordSpans(t)
			c := testcaddy.Start(t, "route {\nspanned\nupstream_diagnostics"+test.options+"\nreverse_proxy "+test.proxy+"\n}")
			begun := time.Now()
			if test.leave {
				leave(t, c.URL+"/order?token=secret", s.arrived)
			} else {
				c.Get("/order?token=secret", "Authorization: Bearer secret")
			}
			f := c.Failure()
			span := recorded.one()
			if f.TraceID == "" || f.TraceID != span.SpanContext().TraceID().String() {
				t.Errorf("the record's trace is %q, the span's %s", f.TraceID, span.SpanContext().TraceID())
			}
			if f.Outcome != test.outcome || span.Status().Code != test.status || (test.status == codes.Error) != (span.Status().Description == f.Summary) {
				t.Errorf("%s: %+v", f.Outcome, span.Status())
			}
			got := valuesOf(span.Attributes())
			for key, want := range map[string]string{
				"error.type": test.errorType, attributePrefix + "id": f.ID, attributePrefix + "cause": f.Cause, attributePrefix + "outcome": string(f.Outcome),
				attributePrefix + "phase": string(f.Phase), attributePrefix + "side": string(f.Side), attributePrefix + "summary": f.Summary,
				attributePrefix + "incident": f.Incident, attributePrefix + "upstream": f.Upstream, attributePrefix + "site": f.Site,
				attributePrefix + "request_sent": string(f.RequestSent),
				"server.address":                 "", "network.peer.address": "", "http.response.status_code": "", // those of the client's request are not ours to set
			} {
				if got[key] != want {
					t.Errorf("%s is %q, want %q", key, got[key], want)
				}
			}
			// A panic that goes up, as where an answer broke off, is an event that isn't ours.
			events := slices.DeleteFunc(span.Events(), func(event sdktrace.Event) bool { return event.Name == "exception" })
			if len(events) != len(test.events) {
				t.Fatalf("%d events: %+v", len(events), events)
			}
			for n, event := range events {
				if event.Name != attemptEvent || event.Time.Before(begun) || event.Time.After(span.EndTime()) {
					t.Errorf("%s at %s, of a span from %s to %s", event.Name, event.Time, span.StartTime(), span.EndTime())
				}
				got := valuesOf(event.Attributes)
				for key, want := range test.events[n] {
					if got[key] != want {
						t.Errorf("event %d: %s is %q, want %q", n, key, got[key], want)
					}
				}
			}
			all := append(slices.Clone(span.Attributes()), attribute.String("status", span.Status().Description))
			for _, event := range events {
				all = append(all, event.Attributes...)
			}
			for key, value := range valuesOf(all) {
				if strings.Contains(value, "secret") {
					t.Errorf("%s is %q", key, value)
				}
			}
		})
	}
}

// A span that isn't recorded is told nothing, and its id is known; requests that go well
// tell nothing, nor does a second handler of ours.
func TestSpanIsLeftAlone(t *testing.T) {
	t.Run("not sampled", func(t *testing.T) {
		recorded := recordSpans(t, sdktrace.WithSampler(sdktrace.NeverSample()))
		l := testcaddy.NewLogFile(t)
		c := testcaddy.StartWith(t, l.OfOurs(), "route {\nspanned\nupstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)+"\n}")
		c.Get("/")
		f := c.Failure()
		if len(f.TraceID) != 32 || len(recorded.recorder.Ended()) != 0 {
			t.Errorf("trace %q, %d spans", f.TraceID, len(recorded.recorder.Ended()))
		}
		if logged := l.Wait(logMessage, 1)[0]["traceID"]; logged != f.TraceID {
			t.Errorf("logged: %v", logged)
		}
	})
	t.Run("no failure", func(t *testing.T) {
		recorded := recordSpans(t)
		c := testcaddy.Start(t, "route {\nspanned\nupstream_diagnostics\nreverse_proxy "+testcaddy.Good(t)+"\n}")
		c.Get("/")
		if span := recorded.one(); len(span.Attributes()) != 0 || len(span.Events()) != 0 || span.Status().Code != codes.Unset {
			t.Errorf("%v %v %v", span.Attributes(), span.Events(), span.Status())
		}
	})
	t.Run("two handlers", func(t *testing.T) {
		recorded := recordSpans(t)
		c := testcaddy.Start(t, "route {\nspanned\nupstream_diagnostics {\nsite outer\n}\nupstream_diagnostics {\nsite inner\n}\nreverse_proxy "+testcaddy.Dead(t)+"\n}")
		c.Get("/")
		if span := recorded.one(); len(span.Events()) != 1 || valuesOf(span.Attributes())[attributePrefix+"site"] != "inner" {
			t.Errorf("%v %v", span.Attributes(), span.Events())
		}
	})
	t.Run("no trace", func(t *testing.T) {
		c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
		c.Get("/")
		if f := c.Failure(); f.TraceID != "" {
			t.Errorf("trace %q", f.TraceID)
		}
	})
}

// Of many attempts those that are kept have their own number, and the time when they failed.
func TestSpanOfManyAttempts(t *testing.T) {
	recorded := recordSpans(t)
	c := testcaddy.Start(t, "route {\nspanned\nupstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)+" {\nlb_retries 19\nlb_try_interval 1ms\n}\n}")
	c.Get("/")
	f := c.Failure()
	var numbers []string
	for n, event := range recorded.one().Events() {
		numbers = append(numbers, valuesOf(event.Attributes)[attributePrefix+"attempt"])
		a := f.Attempts[n]
		failed := f.Time.Add((a.StartMS + a.DurationMS - f.DurationMS).Duration())
		// The record's time has no less than milliseconds, its durations microseconds.
		if late := event.Time.Sub(failed); late < -2*time.Microsecond || late > time.Millisecond+2*time.Microsecond {
			t.Errorf("event %d is at %s, the attempt failed at %s", n, event.Time, failed)
		}
	}
	if got := strings.Join(numbers, " "); got != "1 2 3 4 5 6 7 8 13 14 15 16 17 18 19 20" {
		t.Errorf("attempts %s", got)
	}
}

// The server of an attempt is the one that is configured, where a name is; its peer is the
// address that was dialled.
func TestSpanPeer(t *testing.T) {
	for _, test := range []struct {
		name, upstream, address, network string
		want                             string
	}{
		{name: "a name", upstream: "app:8080", address: "10.0.0.7:8080", network: "tcp", want: "network.peer.address=10.0.0.7 network.peer.port=8080 server.address=app server.port=8080"},
		{name: "a name that wasn't found", upstream: "app:8080", address: "app:8080", network: "tcp", want: "server.address=app server.port=8080"},
		{name: "IPv6", upstream: "[2001:db8::7]:80", address: "[2001:db8::7]:80", network: "tcp", want: "network.peer.address=2001:db8::7 network.peer.port=80 server.address=2001:db8::7 server.port=80"},
		{name: "a dynamic source", upstream: "srv _http._tcp.app", address: "10.0.0.7:8080", network: "tcp", want: "network.peer.address=10.0.0.7 network.peer.port=8080 server.address=10.0.0.7 server.port=8080"},
		{name: "a placeholder", upstream: "{query.tenant}:80", address: "REDACTED:80", network: "tcp", want: "server.address=REDACTED server.port=80"},
		{name: "none that is known", address: "10.0.0.7:8080", network: "tcp", want: "network.peer.address=10.0.0.7 network.peer.port=8080 server.address=10.0.0.7 server.port=8080"},
		{name: "a socket", upstream: "unix//run/app.sock", address: "/run/app.sock", network: "unix", want: "network.peer.address=/run/app.sock network.transport=unix server.address=/run/app.sock"},
		{name: "nothing was dialled", upstream: "{query.tenant}", want: ""},
		{name: "a hostile one", upstream: "a\xff\n:80", address: "10.0.0.7:80", network: "tcp", want: "network.peer.address=10.0.0.7 network.peer.port=80 server.address=a�� server.port=80"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var as attributes
			as.peer(&failure.Attempt{Upstream: test.upstream, Address: test.address}, test.network)
			var got []string
			for key, value := range valuesOf(as) {
				got = append(got, key+"="+value)
			}
			slices.Sort(got)
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// What a failure costs that is told to a span, and one that no span records.
func BenchmarkTellSpan(b *testing.B) {
	f := &failure.Failure{
		ID: "k3f9qw2ax", Site: "example.com", Outcome: failure.Failed, Status: 502, Upstream: "app:8080", Cause: "connection_refused", Category: "unavailable",
		ProxyError: "connection_refused", Phase: failure.PhaseConnect, Side: failure.SideUpstream, Summary: "Nothing accepts connections at app:8080.",
		Evidence: []string{"connect 10.0.0.7:8080: ECONNREFUSED after 0.2 ms"}, Error: "connection refused", RequestSent: failure.SentNo, AttemptCount: 1, Incident: "57d54133a3361326",
		Attempts: []failure.Attempt{{Upstream: "app:8080", Address: "10.0.0.7:8080", Cause: "connection_refused", Incident: "57d54133a3361326", Errno: "ECONNREFUSED"}},
	}
	heard := &listen.Heard{Start: time.Now(), Attempts: []listen.Attempt{{Network: "tcp"}}}
	for name, sampler := range map[string]sdktrace.Sampler{"sampled": sdktrace.AlwaysSample(), "not sampled": sdktrace.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler)).Tracer("test")
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				ctx, span := tracer.Start(b.Context(), "request")
				r := request.WithContext(ctx)
				b.StartTimer()
				tellSpan(r, heard, f)
				b.StopTimer()
				span.End()
				b.StartTimer()
			}
		})
	}
}
