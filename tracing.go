package diagnostics

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

const (
	// attributePrefix is that of attributes for which OpenTelemetry's conventions have no
	// name; what follows is the record's.
	attributePrefix = "caddy.upstream_diagnostics."
	// attemptEvent is the name of a failed attempt's event.
	attemptEvent = attributePrefix + "attempt_failed"
)

// traceID is that of the trace which a handler in front of ours takes part in, as Caddy's
// tracing does; "" for none.
func traceID(r *http.Request) string {
	span := trace.SpanContextFromContext(r.Context())
	if !span.HasTraceID() {
		return ""
	}
	return span.TraceID().String()
}

// tellSpan tells the span of the request what failed. The span is of what the client asked
// of Caddy: what concerns an upstream alone stands in the event of its attempt.
func tellSpan(r *http.Request, heard *listen.Heard, f *failure.Failure) {
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() { // nobody in front traces, or not this one
		return
	}
	span.SetAttributes(failureAttributes(f)...)
	for n := range f.Attempts {
		if a := &f.Attempts[n]; f.Blames(a) {
			ended := heard.Start.Add((a.StartMS + a.DurationMS).Duration())
			span.AddEvent(attemptEvent, trace.WithTimestamp(ended), trace.WithAttributes(attemptAttributes(f, n, heard.Attempts[n].Network)...))
		}
	}
	if isServerError(f) {
		// Where an answer of 500 or more goes through it, otelhttp sets the same without
		// words.
		span.SetStatus(codes.Error, failure.Visible(f.Summary))
	}
}

// isServerError says that the span is in error, by the conventions: not by what the client
// did, nor where it was helped in the end.
func isServerError(f *failure.Failure) bool {
	switch f.Outcome {
	case failure.Failed:
		return f.Side != failure.SideClient && (f.Status == 0 || f.Status >= http.StatusInternalServerError)
	case failure.Truncated:
		return f.Side != failure.SideClient
	default:
		return false
	}
}

// attributes are those of a span or an event. What isn't known is left out.
type attributes []attribute.KeyValue

func (as *attributes) text(key attribute.Key, value string) {
	if value != "" {
		*as = append(*as, key.String(failure.Visible(value))) // an exporter takes clean UTF-8 only
	}
}

func (as *attributes) number(key attribute.Key, value int) {
	if value != 0 {
		*as = append(*as, key.Int(value))
	}
}

func failureAttributes(f *failure.Failure) (as attributes) {
	as = make(attributes, 0, 20)
	if f.Outcome != failure.Rescued { // what went well in the end has none
		as.text(semconv.ErrorTypeKey, f.Cause)
	}
	for _, field := range [...]struct {
		key   attribute.Key
		value string
	}{
		{attributePrefix + "id", f.ID},
		{attributePrefix + "site", f.Site},
		{attributePrefix + "outcome", string(f.Outcome)},
		{attributePrefix + "upstream", f.Upstream},
		{attributePrefix + "cause", f.Cause},
		{attributePrefix + "category", string(f.Category)},
		{attributePrefix + "proxy_error", f.ProxyError},
		{attributePrefix + "phase", string(f.Phase)},
		{attributePrefix + "side", string(f.Side)},
		{attributePrefix + "summary", f.Summary},
		{attributePrefix + "advice", f.Advice},
		{attributePrefix + "error", f.Error},
		{attributePrefix + "request_sent", string(f.RequestSent)},
		{attributePrefix + "incident", f.Incident},
	} {
		as.text(field.key, field.value)
	}
	evidence := make([]string, len(f.Evidence))
	for n, line := range f.Evidence {
		evidence[n] = failure.Visible(line)
	}
	return append(as, attribute.StringSlice(attributePrefix+"evidence", evidence), attribute.Int(attributePrefix+"attempt_count", f.AttemptCount))
}

// attemptAttributes are those of the attempt f.Attempts[n], by the conventions for an HTTP
// client.
func attemptAttributes(f *failure.Failure, n int, network string) (as attributes) {
	a := &f.Attempts[n]
	as = make(attributes, 0, 16)
	as.text(semconv.ErrorTypeKey, a.Cause)
	as.peer(a, network)
	protocol := networkProtocols[a.Protocol]
	as.text(semconv.NetworkProtocolNameKey, protocol.name)
	as.text(semconv.NetworkProtocolVersionKey, protocol.version)
	as.number(semconv.HTTPResponseStatusCodeKey, a.Status)

	as.text(attributePrefix+"upstream", a.Upstream)
	as.text(attributePrefix+"error", a.Error)
	as.text(attributePrefix+"errno", a.Errno)
	as.text(attributePrefix+"incident", a.Incident)
	return append(as, attribute.Int(attributePrefix+"attempt", f.AttemptNumber(n)), attribute.Float64(attributePrefix+"duration_ms", float64(a.DurationMS)))
}

// peer says which server was asked, and where that was.
func (as *attributes) peer(a *failure.Attempt, network string) {
	if strings.HasPrefix(network, "unix") {
		as.text(semconv.NetworkTransportKey, "unix")
		as.text(semconv.ServerAddressKey, a.Address)
		as.text(semconv.NetworkPeerAddressKey, a.Address)
		return
	}
	host, port := hostAndPort(a.Address)
	server, serverPort := hostAndPort(a.Upstream)
	if server == "" || failure.Expands(a.Upstream) { // a source's name, or none that is known
		server, serverPort = host, port
	}
	as.text(semconv.ServerAddressKey, server)
	as.number(semconv.ServerPortKey, serverPort)
	if _, err := netip.ParseAddr(host); err == nil { // no name that was never found
		as.text(semconv.NetworkPeerAddressKey, host)
		as.number(semconv.NetworkPeerPortKey, port)
	}
}

// hostAndPort are those of an address; "" and 0 where they can't be told.
func hostAndPort(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, "/ ") {
		return "", 0
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0
	}
	return host, port
}

// networkProtocols are the conventions' words for a record's protocol.
var networkProtocols = map[string]struct{ name, version string }{
	"http/1.1": {"http", "1.1"},
	"h2":       {"http", "2"},
	"h2c":      {"http", "2"},
	"h3":       {"http", "3"},
	"fastcgi":  {name: "fastcgi"},
}
