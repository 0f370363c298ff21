package diagnostics

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// allOf is all that an operator may read.
func allOf(c *testcaddy.Caddy) string {
	var all strings.Builder
	for _, path := range []string{"/failures", "/incidents", "/upstreams", "/incidents?format=text", "/upstreams?format=text", "/failures?format=text"} {
		all.WriteString(c.AdminDo(http.MethodGet, path).Body)
	}
	for _, i := range incidentsOf(c, "") {
		all.WriteString(c.AdminDo(http.MethodGet, "/incidents/"+i.ID+"?format=text").Body)
	}
	return all.String()
}

// Nothing that a client sent comes back in the Server field of an answer that went well, which
// an incident's changes show.
func TestServerFieldOfWhatWentWell(t *testing.T) {
	h := &Handler{redact: redact.New(nil, nil, redact.ClientIPFull), harmless: new(atomic.Pointer[string])}
	for server, want := range map[string]string{
		"nginx/1.25": "nginx/1.25", "": "", "app hunter2hunter2": "", "app Bearer-letmein0": "", "for tracking-cookie": "", strings.Repeat("x", maxServer+1): "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/?token=hunter2hunter2", nil)
		r.Header.Set("Authorization", "Bearer Bearer-letmein0")
		r.Header.Set("Cookie", "id=tracking-cookie")
		for range 2 {
			if got := h.serverOf(r, nil, &listen.Attempt{Server: &server}); got != want {
				t.Errorf("%.64q: %.64q", server, got)
			}
		}
	}
}

// The name of a certificate that a client asked for is not told.
func TestWarningOfACertificateThatAClientNames(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := endingAt(t, hello.ServerName, time.Now().Add(5*day))
		return &cert, nil
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy https://"+server.Listener.Addr().String()+" {\ntransport http {\ntls_insecure_skip_verify\ntls_server_name {query.sni}\nkeepalive off\n}\n}")
	c.Get("/?sni=topsecrettenant.example.com")
	c.Idle()
	if all := allOf(c) + fmt.Sprint(l.Entries(warningMessage)); strings.Contains(all, "topsecret") {
		t.Errorf("%s", all)
	}
}

// The certificate of a forward proxy is not the upstream's.
func TestCertificateOfAForwardProxy(t *testing.T) {
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{endingAt(t, "proxy", time.Now().Add(5*day))}}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	upstream := testcaddy.Dead(t)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy https://"+upstream+" {\ntransport http {\ntls_insecure_skip_verify\nnetwork_proxy url https://"+proxy.Listener.Addr().String()+"\nkeepalive off\n}\n}")
	c.Get("/")
	c.Idle()
	if s := stateOf(c, upstream); s.CertificateNotAfter != nil || s.LastFailure == nil || s.LastFailure.Cause == "connection_refused" {
		t.Errorf("%v %+v", s.CertificateNotAfter, s.LastFailure)
	}
}

// zoned is a plugin's source, which gives an address with a zone that the client sent.
type zoned struct{}

func (zoned) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.zoned", New: func() caddy.Module { return new(zoned) }}
}

func (zoned) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	return []*reverseproxy.Upstream{{Dial: "[fe80::1%" + r.URL.Query().Get("zone") + "]:80"}}, nil
}

func init() { caddy.RegisterModule(zoned{}) }

// A zone is what anybody may have written.
func TestBoardHasNoZone(t *testing.T) {
	c := testcaddy.New(t)
	adapted := c.Caddyfile("", "upstream_diagnostics\nreverse_proxy {\ndynamic a localhost 1\n}")
	loadAdapted(t, adapted, func(text string) string {
		return regexp.MustCompile(`"dynamic_upstreams": \{[^}]*\}`).ReplaceAllString(text, `"dynamic_upstreams": {"source": "zoned"}`)
	})
	t.Cleanup(func() { testcaddy.Stop(t) })
	c.Get("/?zone=topsecretzone")
	c.Idle()
	if all := allOf(c); strings.Contains(all, "topsecret") {
		t.Errorf("%s", all)
	}
}

// An answer that is a failure is no success before it.
func TestFailureIsNoSuccess(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter)
	}{
		{"gRPC unavailable", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "14")
		}},
		{"misdirected", func(w http.ResponseWriter) { w.WriteHeader(http.StatusMisdirectedRequest) }},
		{"upgrade required", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUpgradeRequired) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			upstream := testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { test.answer(w) })
			c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream)
			for range 3 {
				c.Get("/")
				c.Idle()
			}
			for _, i := range incidentsOf(c, "") {
				if len(i.Changes) > 0 {
					t.Errorf("%s %+v", i.Cause, i.Changes)
				}
			}
			// Where nobody asked for an upgrade, an answer that demands one is an answer.
			if s := stateOf(c, upstream); s.LastSuccess != nil != (len(c.Failures()) == 0) {
				t.Errorf("last success %v", s.LastSuccess)
			}
		})
	}
}

// What the client did is not the upstream's failure.
func TestNeverAnsweredIsNotTheClients(t *testing.T) {
	silent := testcaddy.Peer(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+silent)
	c.Raw("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n")
	c.Idle()
	if f := c.Failure(); f.Side != failure.SideClient || f.Upstream != silent {
		t.Fatalf("%+v", f)
	}
	sweep(time.Now())
	if w := warningsAt(c, silent); len(w) != 0 {
		t.Errorf("%+v", w)
	}
}

// A config that changed nothing of a source is not what its address began to fail with.
func TestSourceIsAskedAsBefore(t *testing.T) {
	_, port, _ := net.SplitHostPort(testcaddy.Dead(t))
	site := "upstream_diagnostics\nreverse_proxy {\ndynamic a localhost " + port + " {\nversions ipv4\n}\n}"
	c := testcaddy.Start(t, site)
	c.Get("/")
	c.Idle()
	if err := c.Load("", site+"\nrespond /unrelated hello"); err != nil {
		t.Fatal(err)
	}
	c.AdminDo(http.MethodDelete, "/failures")
	c.Visit("/")
	c.Idle()
	for _, i := range incidentsOf(c, "") {
		if len(i.Changes) > 0 {
			t.Errorf("%s %+v", i.Cause, i.Changes)
		}
	}
}

func loadAdapted(t *testing.T, caddyfile string, change func(string) string) {
	t.Helper()
	config, err := adaptCaddyfile(t, caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(config)
	if changed == config {
		t.Fatalf("nothing to change: %s", config)
	}
	if err := testcaddy.LoadJSON([]byte(changed)); err != nil {
		t.Fatal(err)
	}
}

// Of an upstream beyond those of which anything is kept, nobody knows whether it has answered.
func TestNeverAnsweredIsKnown(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	for n := range 1000 {
		currentProcess().learnt.Past(fmt.Sprint("10.0.0.1:", n))
	}
	upstream := testcaddy.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			panic(http.ErrAbortHandler)
		}
	})
	if err := c.Load("", "upstream_diagnostics\nreverse_proxy "+upstream); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/fails", "/"} {
		c.Visit(path)
		c.Idle()
	}
	if f := c.Failure(); f.Upstream != upstream {
		t.Fatalf("%+v", f)
	}
	if sweep(time.Now()); len(warningsAt(c, upstream)) != 0 {
		t.Errorf("it has answered: %+v", warningsAt(c, upstream))
	}
}

// A config whose load failed has changed nothing.
func TestFailedLoadIsNoChange(t *testing.T) {
	const handler = "upstream_diagnostics\nreverse_proxy "
	dead := testcaddy.Dead(t)
	c := testcaddy.Start(t, handler+dead)
	secured := handler + dead + " {\ntransport http {\ntls\n}\n}"
	for range 20 { // Caddy starts the apps in any order: in half of them ours comes first
		if err := c.Load("", secured+"\n}\nhttp://192.0.2.99:1 {\nbind 192.0.2.99\nrespond x"); err == nil {
			t.Fatal("it could listen there")
		}
	}
	failed := time.Now()
	testcaddy.Eventually(t, "its time is another one to the millisecond", func() bool { return time.Since(failed) > 5*time.Millisecond })
	failed = time.Now()
	if err := c.Load("", secured); err != nil {
		t.Fatal(err)
	}
	c.Visit("/")
	c.Idle()
	list := incidentsOf(c, "")
	if len(list) != 1 || !slices.Equal(kindsOf(&list[0]), []string{"config"}) {
		t.Fatalf("%+v", list)
	}
	change := list[0].Changes[0]
	if at, err := time.Parse(failure.TimestampLayout, change.Value); err != nil || at.Before(failed.Truncate(time.Millisecond)) {
		t.Errorf("%v: %s, which is before %s", err, change.Value, failed)
	}
}
