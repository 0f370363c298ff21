package diagnostics

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// inputs are what records are made of, each a small part of something large.
type inputs struct {
	names []string
	large []weak.Pointer[[1 << 20]byte]
}

// part is a text that is a part of a large piece of memory of its own.
func (in *inputs) part(name, text string) string {
	large := new([1 << 20]byte)
	n := copy(large[:], text)
	in.names = append(in.names, name)
	in.large = append(in.large, weak.Make(large))
	return unsafe.String(&large[0], n)
}

// long is part with more than any field may have.
func (in *inputs) long(name string) string { return in.part(name, strings.Repeat("long ", 1000)) }

// alive names those that are still in memory.
func (in *inputs) alive() (names []string) {
	runtime.GC()
	for i, large := range in.large {
		if large.Value() != nil {
			names = append(names, in.names[i])
		}
	}
	return names
}

// A record keeps nothing alive of what it was made from: each of its texts, those that
// will be added as well, is made from a part of something large, which must be gone.
func TestARecordKeepsNothingElseAlive(t *testing.T) {
	in := new(inputs)
	records := recordsOf(t, in)
	deadline := time.Now().Add(5 * time.Second)
	for alive := in.alive(); len(alive) > 0; alive = in.alive() {
		if time.Now().After(deadline) {
			t.Fatalf("a record keeps alive what these were a part of: %q", alive)
		}
	}

	filled := make(map[string]bool)
	for _, f := range records {
		testcaddy.EachText(reflect.ValueOf(f), "", func(path, text string) {
			filled[path] = filled[path] || text != ""
			if len(text) > 2<<10 {
				t.Errorf("%s has %d bytes: %.60s …", path, len(text), text)
			}
		})
	}
	for _, path := range textsOf(reflect.TypeFor[failure.Failure](), "") {
		if !filled[path] {
			t.Errorf("%s is not filled in. Make it from a part of something large in recordsOf", path)
		}
	}
	runtime.KeepAlive(records)
}

// textsOf are the paths of all strings in a type, as eachText names them.
func textsOf(typ reflect.Type, path string) (paths []string) {
	switch typ.Kind() {
	case reflect.String:
		return []string{path}
	case reflect.Pointer:
		return textsOf(typ.Elem(), path)
	case reflect.Slice:
		return textsOf(typ.Elem(), path+"[]")
	case reflect.Map:
		return append(textsOf(typ.Key(), path+"{}"), textsOf(typ.Elem(), path+"[]")...)
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return nil
		}
		for field := range typ.Fields() {
			if field.IsExported() {
				paths = append(paths, textsOf(field.Type, path+"."+field.Name)...)
			}
		}
	}
	return paths
}

// recordsOf makes records from inputs, as a request does.
//
//go:noinline
func recordsOf(t *testing.T, in *inputs) (records []*failure.Failure) {
	h := &Handler{Site: in.part("site", "example.com"), KeepHeaders: []string{in.part("keep_headers", "X-Kept")}, KeepQuery: []string{in.part("keep_query", "q")}}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Cleanup() }()

	limits := &failure.Limits{Transport: in.part("transport", "http"), Check: &failure.Check{Method: in.part("check's method", "GET"), URI: in.part("check", "/health")}, Settings: []failure.Setting{
		{Name: in.part("limit", failure.ResponseHeaderTimeout), Value: time.Second, Source: failure.LimitConfigured},
		{Name: in.part("limit in evidence", "other_timeout"), Value: time.Second, Source: failure.LimitConfigured},
	}}
	upstream := in.part("upstream", "app.example:8080")
	attempt := func(change func(a *listen.Attempt)) listen.Attempt {
		a := listen.Attempt{
			Upstream: upstream, Limits: limits, Network: in.part("network", "tcp"), Address: in.long("address"),
			Protocol: in.part("protocol", "http/1.1"), Exact: true, Start: 1, Sent: 2, Wrote: 4, End: 2 * time.Second, RequestBytes: 7,
			Connection: &listen.Connection{
				At: 3, LocalAddress: in.long("local address"), RemoteAddress: in.long("remote address"), WasIdle: true, Idle: time.Second,
				Opening: []byte(in.long("opening")), Carried: &listen.Carried{Head: []byte("x"), Sent: 1, ReadErr: errors.New(in.long("read error"))},
			},
			Body: listen.Body{Expected: -1, Start: []byte("x")},
		}
		change(&a)
		return a
	}
	answered := attempt(func(a *listen.Attempt) {
		a.FirstByte, a.Answered, a.Status, a.Body.Bytes, a.Body.Expected = 5, 6, 503, 1, 2
		a.Header = http.Header{}
		for _, field := range []string{"Server", "Via", "Retry-After", "Proxy-Status", "Grpc-Status", "Grpc-Message"} {
			a.Header[in.part(field+"'s name", field)] = []string{in.long(field)}
		}
	})
	refused := errors.Join(errors.New(in.long("dial error")), os.NewSyscallError(in.part("call", "connect"), syscall.ECONNREFUSED))
	dialled := attempt(func(a *listen.Attempt) {
		a.Connection, a.Wrote, a.Err, a.DialErr = nil, 0, refused, true
		a.Dialing = &listen.Dialing{
			Start: 2, End: 3, Err: refused,
			Lookup:   &listen.Lookup{Host: in.long("host"), Start: 2, End: 3, Err: errors.New(in.part("lookup error", "no such host"))},
			Connects: []listen.Connect{{Network: "tcp", Address: in.long("connect"), Start: 2, End: 3, Err: refused}},
		}
	})
	timedOut := attempt(func(a *listen.Attempt) {
		a.Err = timeout(in.part("timeout", "net/http: timeout awaiting response headers"))
	})
	malformed := attempt(func(a *listen.Attempt) {
		a.FirstByte, a.Err = 5, errors.New(in.part("malformed", `malformed HTTP response "`+strings.Repeat("x", 5000)+`"`))
	})
	other := attempt(func(a *listen.Attempt) { a.Err = errors.New(in.long("error")) })
	tunnel := attempt(func(a *listen.Attempt) {
		*a = dialled
		a.TLS, a.Err = true, errors.New(in.part("phrase", "a phrase of its own"))
		a.Address = in.part("tunnelled", "app.example:8443")
		a.Dialing = &listen.Dialing{Start: 2, Connects: []listen.Connect{{Network: "tcp", Address: in.part("proxy", "192.0.2.3:3128"), Start: 2, End: 3}}}
	})

	request := func() *http.Request {
		r := &http.Request{
			Method: in.part("method", "GET"), Host: in.part("Host", "example.com"), Proto: in.part("proto", "HTTP/1.1"),
			RemoteAddr: in.part("remote", "192.0.2.1:1234"), RequestURI: in.long("request URI"),
			URL: &url.URL{Path: in.long("path"), RawPath: in.part("raw path", "/%2F"), RawQuery: in.part("query", "q=1")},
			Header: http.Header{
				"User-Agent": {in.long("User-Agent")}, "Referer": {in.part("Referer", "http://example.com/secret")}, "X-Kept": {in.part("X-Kept", "short"), in.long("X-Kept")},
			},
		}
		span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
		r = r.WithContext(trace.ContextWithSpanContext(r.Context(), span))
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, in.part("client", "198.51.100.1"))
		return r
	}
	record := func(heard *listen.Heard) {
		heard.Start, heard.Duration, heard.AttemptCount = time.Now(), 3*time.Second, len(heard.Attempts)
		f := cause.Diagnose(heard)
		if f == nil {
			t.Fatal("nothing was found")
		}
		h.describe(request(), heard, f)
		h.process.journal.Add(f)
		records = append(records, f)
	}
	failed := func(attempts ...listen.Attempt) *listen.Heard {
		err := caddyhttp.HandlerError{Err: attempts[len(attempts)-1].Err, ID: in.part("id", "k3f9qw2ax"), StatusCode: 502}
		return &listen.Heard{Attempts: attempts, Err: err, ErrStatus: 502}
	}
	for _, a := range []listen.Attempt{dialled, timedOut, malformed, other, tunnel} {
		record(failed(a))
	}
	record(failed(attempt(func(a *listen.Attempt) { // of forward_auth
		a.Limits, a.FirstByte, a.Answered, a.Status = &failure.Limits{AsksFirst: true}, 5, 6, 200
	}), timedOut))
	record(&listen.Heard{Attempts: []listen.Attempt{other, answered}, Response: listen.Response{Status: 503}})
	check := listen.NewCheck(nil)
	check.Found(&listen.CheckResult{Status: 302, Location: in.long("location")})
	nobody := &listen.Heard{
		Err: caddyhttp.HandlerError{Err: errors.New(in.part("nobody", "no upstreams available")), StatusCode: 503}, ErrStatus: 503,
		Selection: listen.Selection{
			Limits: limits, Rounds: 1, At: 1, Source: in.long("source"), LookupErr: errors.New(in.long("source's error")),
			Pool: []listen.Candidate{{Upstream: upstream, Reason: failure.ReasonFails}, {Upstream: in.long("candidate"), Reason: failure.ReasonFull}, {Upstream: in.long("checked"), Reason: failure.ReasonUnhealthy, Check: check}},
		},
	}
	record(nobody)
	upload := failed(other)
	upload.Client.BodyErr = errors.New(in.long("upload"))
	record(upload)
	h.process.journal.Clear()
	return records
}

// timeout is an error that is one.
type timeout string

func (e timeout) Error() string { return string(e) }
func (timeout) Timeout() bool   { return true }
