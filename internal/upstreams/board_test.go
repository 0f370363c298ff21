package upstreams

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What nearly goes wrong in a real round trip is told with the limit that it was near.
func TestEarHearsWhatIsNear(t *testing.T) {
	answers := make(chan struct{}, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-answers }))
	defer server.Close()
	address := server.Listener.Addr().String()
	transport := server.Client().Transport.(*http.Transport)
	hearDialer(transport, func(c net.Conn, past *listen.Past) net.Conn { return listen.NewWire(c, past) })
	defer transport.CloseIdleConnections()
	limits := &failure.Limits{
		Settings: []failure.Setting{
			{Name: failure.DialTimeout, Value: 3 * time.Second}, {Name: failure.TLSTimeout, Value: 4 * time.Second},
			{Name: failure.ResponseHeaderTimeout, Value: time.Minute}, {Name: failure.ReadTimeout, Value: 30 * time.Second},
		},
		Near: failure.Near{Connect: 1, Handshake: 1, Response: 1}, // all take longer
	}
	var told []failure.Warning
	e := &ear{RoundTripper: transport, limits: limits, nearly: func(w failure.Warning) { told = append(told, w) }, tls: new(reverseproxy.TLSConfig)}
	vars := make(map[string]any)
	ask := func(name string) {
		t.Helper()
		told = nil
		r, _ := requestWithReplacer()
		l := listen.To(httptest.NewRecorder(), r, nil)
		Attach(r, l, Place{Heard: true})
		l.Selected(name, new(listen.Past), limits)
		// As reverse_proxy does: a request of its own, with a trace of its own.
		ctx := context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars)
		ctx = context.WithValue(ctx, dialInfoKey, reverseproxy.DialInfo{Network: "tcp", Address: address})
		out, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, new(httptrace.ClientTrace)), http.MethodGet, "https://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		answers <- struct{}{}
		res, err := e.RoundTrip(out)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	ask("app:443")
	var got []string
	for _, w := range told {
		if w.Upstream != "app:443" || w.Address != address || w.LastSeen.IsZero() || w.Measured == nil || w.Measured.Value <= 0 {
			t.Errorf("%+v", w)
			continue
		}
		got = append(got, fmt.Sprint(w.Kind, " ", w.Measured.Name, " ", w.Measured.Limit))
	}
	if want := []string{"slow_connect dial_timeout 3000", "slow_response read_timeout 30000", "slow_tls_handshake tls_timeout 4000"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if ask(address); len(told) != 1 || told[0].Kind != failure.WarnResponse || told[0].Address != "" {
		t.Errorf("over the same connection: %+v", told)
	}
	if ask(""); len(told) != 0 {
		t.Errorf("of nobody: %+v", told)
	}
	transport.CloseIdleConnections()
	vars[forwardProxyVar] = &url.URL{Scheme: "https", Host: "192.0.2.3:3128"}
	if ask("app:443"); len(told) != 2 || told[0].Kind != failure.WarnConnect || told[1].Kind != failure.WarnResponse {
		t.Errorf("by way of a forward proxy: %+v", told)
	}
	if shownAddress("srv app", "10.0.0.7:80") != "10.0.0.7:80" || shownAddress("srv app", "app-1:80") != "" || shownAddress("{http.request.uri.query.to}", "10.0.0.7:80") != "" {
		t.Error("which addresses are told")
	}
	limits.Near = failure.Near{}
	if ask("app:443"); len(told) != 0 {
		t.Errorf("without limits: %+v", told)
	}
}

// The same upstream is one, in however many configs; in another way, or with other
// settings, it is another.
func TestStatesAreJoined(t *testing.T) {
	proxy := func(limit time.Duration, dials ...string) *selection {
		h := &reverseproxy.Handler{LoadBalancing: new(reverseproxy.LoadBalancing), Transport: &reverseproxy.HTTPTransport{ResponseHeaderTimeout: caddy.Duration(limit), Transport: new(http.Transport)}}
		for _, dial := range dials {
			h.Upstreams = append(h.Upstreams, &reverseproxy.Upstream{Host: new(reverseproxy.Host), Dial: dial})
		}
		return hangOn(h, nil, new(Learnt), newChecks(), nil)
	}
	older, newer := &Board{loaded: time.Unix(1, 0)}, &Board{loaded: time.Unix(2, 0)}
	older.add(proxy(time.Second, "app:80", "old:80"), "srv0", []string{"one", ""})
	newer.add(proxy(time.Second, "app:80"), "srv0", []string{"two"})
	newer.add(proxy(time.Minute, "app:80", "10.0.0.{env.X}:80", "unix//run/app.sock", "[::1]:80"), "srv1", nil)
	var got []string
	for _, s := range States(older, newer) {
		got = append(got, fmt.Sprintf("%s %s %v %v %d", s.Upstream, s.Address, s.Sites, s.Servers, s.Loaded.Unix()))
	}
	want := []string{
		"10.0.0.{env.X}:80  [] [srv1] 2",
		"[::1]:80 [::1]:80 [] [srv1] 2",
		"app:80 app:80 [] [srv1] 2",
		"app:80 app:80 [one srv0 two] [srv0] 2",
		"old:80 old:80 [one srv0] [srv0] 1",
		"unix//run/app.sock /run/app.sock [] [srv1] 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if names := newer.Names(); len(names) != 5 || names[0] != "app:80" {
		t.Errorf("%q", names)
	}
}

// What a dynamic source gave last is bounded, and has nothing in it that a client sent.
func TestLookups(t *testing.T) {
	give := func(addresses ...string) (found []*reverseproxy.Upstream) {
		for _, address := range addresses {
			found = append(found, &reverseproxy.Upstream{Dial: address})
		}
		return found
	}
	shown := func(k *lookups) string {
		l := k.shown()
		if l == nil {
			return "nothing"
		}
		addresses := make([]string, 0, len(l.Addresses))
		for _, a := range l.Addresses {
			addresses = append(addresses, a.Address)
		}
		return fmt.Sprintf("%d%v%s", l.AddressCount, addresses, l.Error)
	}
	named := newLookups(&reverseproxy.SRVUpstreams{Name: "app"})
	if got := shown(named); got != "nothing" {
		t.Errorf("nobody asked: %s", got)
	}
	secret := errors.New("no such host hunter2\x1b[31m" + strings.Repeat("x", 1000))
	for _, test := range []struct {
		found []*reverseproxy.Upstream
		err   error
		want  string
	}{
		{give("app-1:80", "10.0.0.7:80"), nil, "2[app-1:80 10.0.0.7:80]"},
		{give("app-1:80", "10.0.0.8:80"), nil, "2[app-1:80 10.0.0.8:80]"},
		{nil, errors.New("no such host"), "2[app-1:80 10.0.0.8:80]no such host"},
		{nil, secret, "2[app-1:80 10.0.0.8:80]no such host hunter2�[31m" + strings.Repeat("x", maxLookupError-len("no such host hunter2�[31m"))},
		{nil, nil, "0[]"},
		{give(slices.Repeat([]string{"10.0.0.7:80"}, 40)...), nil, "40[" + strings.TrimSuffix(strings.Repeat("10.0.0.7:80 ", failure.MaxSourceAddresses), " ") + "]"},
		{[]*reverseproxy.Upstream{nil}, nil, "1[]"},
	} {
		if named.hear(test.found, test.err); shown(named) != test.want {
			t.Errorf("got %s, want %s", shown(named), test.want)
		}
	}
	for _, test := range []struct {
		name   string
		source reverseproxy.UpstreamSource
		want   string
	}{
		{"a placeholder", &reverseproxy.SRVUpstreams{Name: "{http.request.uri.query.name}"}, "2[]"},
		{"a plugin", pluginSource{}, "2[10.0.0.7:80]"},
		{"several, and none of them a plugin", new(reverseproxy.MultiUpstreams), "2[hunter2:80 10.0.0.7:80]"},
		{"a placeholder of the owner's", &reverseproxy.SRVUpstreams{Name: "{env.APP}"}, "2[hunter2:80 10.0.0.7:80]"},
	} {
		k := newLookups(test.source)
		if k.hear(give("hunter2:80", "10.0.0.7:80"), nil); shown(k) != test.want {
			t.Errorf("%s: %s", test.name, shown(k))
		}
		if k.hear(nil, secret); !k.named && shown(k) != test.want+lookupFailed {
			t.Errorf("%s: %s", test.name, shown(k))
		}
	}
	zoned := newLookups(pluginSource{})
	if zoned.hear(give("[fe80::1%hunter2]:80", "[fe80::1]:80"), nil); shown(zoned) != "2[[fe80::1]:80]" {
		t.Errorf("a zone is any text: %s", shown(zoned))
	}
	same := give("app-1:80", "10.0.0.7:80")
	named.hear(same, nil)
	if allocs := testing.AllocsPerRun(100, func() { named.hear(same, nil) }); allocs != 0 {
		t.Errorf("to be given the same once more takes %v allocations", allocs)
	}
}

type pluginSource struct{}

func (pluginSource) GetUpstreams(*http.Request) ([]*reverseproxy.Upstream, error) { return nil, nil }
