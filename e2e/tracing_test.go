//go:build linux

package e2e

import (
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// otlpCollector takes spans by OTLP over HTTP, as protobuf.
type otlpCollector struct {
	url   string
	mu    sync.Mutex
	spans []*trace.Span
}

func startCollector(t *testing.T) *otlpCollector {
	t.Helper()
	c := new(otlpCollector)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		export := new(collector.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(body, export)
		}
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range export.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				c.spans = append(c.spans, scope.GetSpans()...)
			}
		}
		answer, err := proto.Marshal(new(collector.ExportTraceServiceResponse))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(answer)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// environment is that of a Caddy which exports to it at once.
func (c *otlpCollector) environment() []string {
	return []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT=" + c.url, "OTEL_BSP_SCHEDULE_DELAY=10"}
}

// of waits for the span of a path.
func (c *otlpCollector) of(t *testing.T, path string) *trace.Span {
	t.Helper()
	var found *trace.Span
	await(t, "the span of "+path, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, span := range c.spans {
			if attributesOf(span.GetAttributes())["url.path"] == path {
				found = span
			}
		}
		return found != nil
	})
	return found
}

// attributesOf are attributes as text, by their key.
func attributesOf(attributes []*common.KeyValue) map[string]string {
	values := make(map[string]string)
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			values[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			values[a.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		default:
			values[a.GetKey()] = a.GetValue().String()
		}
	}
	return values
}

// What Caddy exports by OTLP has the failures that this module found: in the span that
// Caddy's tracing makes, beside what that one says by itself.
func TestTracing(t *testing.T) {
	t.Parallel()
	spans := startCollector(t)
	good := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(good.Close)
	dead := deadAddress(t)
	_, deadPort, err := net.SplitHostPort(dead)
	if err != nil {
		t.Fatal(err)
	}
	const ours = "caddy.upstream_diagnostics."
	site := `
	tracing {
		span shop
	}
	handle /off {
		upstream_diagnostics {
			page off
		}
		reverse_proxy ` + dead + `
	}
	handle /rescued {
		upstream_diagnostics
		reverse_proxy ` + dead + ` unix//nonexistent/app.sock ` + good.Listener.Addr().String() + ` {
			lb_policy first
			lb_retries 2
			fail_duration 10m
		}
	}
	handle /fine {
		upstream_diagnostics
		reverse_proxy ` + good.Listener.Addr().String() + `
	}
	handle {
		upstream_diagnostics
		reverse_proxy ` + dead + `
	}`
	c := startCaddyWith(t, spans.environment(), site)
	for _, test := range []struct {
		path      string
		outcome   failure.Outcome
		status    trace.Status_StatusCode
		says      bool // its status has words
		errorType string
		code      string // tracing's own
		upstreams []string
	}{
		{path: "/refused", outcome: failure.Failed, status: trace.Status_STATUS_CODE_ERROR, errorType: "connection_refused", code: "502", upstreams: []string{dead}},
		{path: "/off", outcome: failure.Failed, status: trace.Status_STATUS_CODE_ERROR, says: true, errorType: "connection_refused", upstreams: []string{dead}},
		{path: "/rescued", outcome: failure.Rescued, code: "200", upstreams: []string{dead, "unix//nonexistent/app.sock"}},
	} {
		t.Run(test.path, func(t *testing.T) {
			c.visit(t, visit{path: test.path})
			f := c.recorded(t, test.path)
			span := spans.of(t, test.path)
			if f.Outcome != test.outcome || f.TraceID == "" || f.TraceID != hex.EncodeToString(span.GetTraceId()) || span.GetName() != "shop" {
				t.Errorf("outcome %s, trace %q, span %s of %s", f.Outcome, f.TraceID, span.GetName(), hex.EncodeToString(span.GetTraceId()))
			}
			if span.GetStatus().GetCode() != test.status || test.says && span.GetStatus().GetMessage() != f.Summary {
				t.Errorf("status %s", span.GetStatus())
			}
			got := attributesOf(span.GetAttributes())
			for key, want := range map[string]string{
				"error.type": test.errorType, ours + "id": f.ID, ours + "cause": f.Cause, ours + "outcome": string(f.Outcome), ours + "summary": f.Summary,
				ours + "phase": string(f.Phase), ours + "side": string(f.Side), ours + "attempt_count": strconv.Itoa(f.AttemptCount),
				// Caddy's own, of the client's request.
				"server.address": "127.0.0.1", "network.peer.address": "127.0.0.1", "http.request.method": "GET",
			} {
				if got[key] != want {
					t.Errorf("%s is %q, want %q", key, got[key], want)
				}
			}
			if test.code != "" && got["http.response.status_code"] != test.code {
				t.Errorf("tracing has status %q", got["http.response.status_code"])
			}
			if got["server.port"] == deadPort {
				t.Error("the span's server is an upstream's")
			}
			if len(span.GetEvents()) != len(test.upstreams) {
				t.Fatalf("%d events: %v", len(span.GetEvents()), span.GetEvents())
			}
			for n, event := range span.GetEvents() {
				got := attributesOf(event.GetAttributes())
				if event.GetName() != ours+"attempt_failed" || got[ours+"upstream"] != test.upstreams[n] || got["error.type"] != f.Attempts[n].Cause {
					t.Errorf("event %s: %v", event.GetName(), got)
				}
				if at := event.GetTimeUnixNano(); at < span.GetStartTimeUnixNano() || at > span.GetEndTimeUnixNano() {
					t.Errorf("the event is at %d of a span from %d to %d", at, span.GetStartTimeUnixNano(), span.GetEndTimeUnixNano())
				}
				if test.upstreams[n] == dead && (got["server.address"] != "127.0.0.1" || got["server.port"] != deadPort || got["network.peer.port"] != deadPort) {
					t.Errorf("event %d: %v", n, got)
				}
			}
		})
	}
	t.Run("what goes well", func(t *testing.T) {
		c.visit(t, visit{path: "/fine"})
		span := spans.of(t, "/fine")
		for key := range attributesOf(span.GetAttributes()) {
			if len(key) > len(ours) && key[:len(ours)] == ours || key == "error.type" {
				t.Errorf("it has %s", key)
			}
		}
		if len(span.GetEvents()) != 0 || span.GetStatus().GetCode() != trace.Status_STATUS_CODE_UNSET {
			t.Errorf("%v", span)
		}
	})
	t.Run("a trace of the client's that is not sampled", func(t *testing.T) {
		c.visit(t, visit{path: "/unsampled", header: "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"})
		if f := c.recorded(t, "/unsampled"); f.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("trace %q", f.TraceID)
		}
	})
}
