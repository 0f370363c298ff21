package diagnostics

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// paths are the URIs of the recorded failures, newest first.
func paths(c *testcaddy.Caddy) string {
	c.T.Helper()
	var list failure.FailurePage
	c.AdminGet(adminPath+"/failures", &list)
	var paths []string
	for _, f := range list.Failures {
		paths = append(paths, f.Request.URI)
	}
	return strings.Join(paths, " ")
}

// A reload keeps the records, and nothing is kept once no config is loaded.
func TestReloadKeepsRecords(t *testing.T) {
	site := "upstream_diagnostics\nreverse_proxy " + testcaddy.Dead(t)
	c := testcaddy.Start(t, site)
	before := currentProcess()
	c.Visit("/1")
	for range 3 {
		if err := c.Load("", site); err != nil {
			t.Fatal(err)
		}
	}
	c.Visit("/2")
	if got := paths(c); got != "/2 /1" {
		t.Errorf("kept: %s", got)
	}
	if currentProcess() != before {
		t.Error("the process was made anew")
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if currentProcess() != nil {
		t.Error("the process outlives its last config")
	}
}

// A load that fails changes nothing: the running config serves, and its records
// can be read at an admin endpoint that is now the failed config's.
func TestFailedLoad(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.html")
	if err := os.WriteFile(broken, []byte("{{if}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()

	const small = "upstream_diagnostics {\nkeep 1\ninstance failed\n}"
	tests := []struct {
		name, options, site string
		others              string // other sites
		want                string // what the error says, once
	}{
		{name: "our handler fails", options: small, site: "upstream_diagnostics {\ntemplate " + broken + "\n}\nrespond new", want: "broken.html:1"},
		{name: "another handler fails", options: small, site: "upstream_diagnostics\nrespond new\nreverse_proxy 127.0.0.1:1 {\ntransport http {\ntls_trust_pool file /nonexistent\n}\n}", want: "open /nonexistent"},
		{name: "a server can't listen", options: small, site: "upstream_diagnostics\nrespond new", others: "http://" + busy.Addr().String() + " {\nbind 127.0.0.1\nrespond busy\n}", want: "address already in use"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.StartWith(t, "upstream_diagnostics {\nkeep 10\ninstance running\n}", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
			before := currentProcess()
			c.Visit("/1")
			c.Visit("/2")
			// Apps start in no order: ours before the one that fails, or not at all.
			for range 6 {
				err := testcaddy.Load(c.Caddyfile(test.options, test.site) + test.others)
				if err == nil {
					t.Fatal("the load did not fail")
				}
				if n := strings.Count(err.Error(), test.want); n != 1 {
					t.Fatalf("the error says %q %d times: %v", test.want, n, err)
				}
				if currentProcess() != before {
					t.Fatal("the process was made anew")
				}
			}
			if a := c.Visit("/3"); a.Status != 502 {
				t.Errorf("the running config answers %d", a.Status)
			}
			if got := paths(c); got != "/3 /2 /1" {
				t.Errorf("kept: %s", got)
			}
			if newest := currentProcess().journal.Query(failure.Query{Limit: 1}).Failures[0]; newest.Instance != "running" {
				t.Errorf("recorded for instance %q", newest.Instance)
			}
			var overview failure.Overview
			c.AdminGet(adminPath+"", &overview)
			if overview.Keep != 10 {
				t.Errorf("keeps %d", overview.Keep)
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			if currentProcess() != nil {
				t.Error("a config that failed holds the process")
			}
		})
	}
}

// slowUpstream takes requests and breaks each when it is released.
type slowUpstream struct {
	address string
	arrived chan struct{}
	release chan struct{}
	once    sync.Once
}

func slow(t *testing.T) *slowUpstream {
	s := &slowUpstream{arrived: make(chan struct{}, 16), release: make(chan struct{})}
	s.address = testcaddy.Upstream(t, func(http.ResponseWriter, *http.Request) {
		s.arrived <- struct{}{}
		<-s.release
		panic(http.ErrAbortHandler)
	})
	t.Cleanup(s.breaks) // before the server closes, which waits for its requests
	return s
}

// breaks ends all requests.
func (s *slowUpstream) breaks() { s.once.Do(func() { close(s.release) }) }

// A request of the config before is still under way while the next one serves.
func TestTwoConfigsAtOnce(t *testing.T) {
	s := slow(t)
	down := testcaddy.Dead(t)
	c := testcaddy.New(t)
	config := func(site string) string {
		config := c.Caddyfile("", "upstream_diagnostics {\nsite "+site+"\n}\nreverse_proxy /slow "+s.address+"\nreverse_proxy "+down)
		return strings.Replace(config, "grace_period 1s", "grace_period 20s", 1)
	}
	if err := testcaddy.Load(config("old")); err != nil {
		t.Fatal(err)
	}
	defer caddy.Stop() //nolint:errcheck // the test has ended

	answered := make(chan testcaddy.Answer, 1)
	go func() { answered <- c.Get("/slow") }()
	<-s.arrived
	loaded := make(chan error, 1)
	go func() { loaded <- testcaddy.Load(config("new")) }()
	testcaddy.Eventually(t, "the new config serves", func() bool {
		f, ok := currentProcess().journal.Get(c.Get("/").Header.Get("Upstream-Failure-Id"))
		return ok && f.Site == "new"
	})
	select {
	case a := <-answered:
		t.Fatalf("the old config's request ended before its upstream did: %+v", a)
	default:
	}

	s.breaks()
	a := <-answered
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	f, ok := currentProcess().journal.Get(a.Header.Get("Upstream-Failure-Id"))
	if !ok {
		t.Fatalf("not recorded: %+v", a)
	}
	if f.Site != "old" || f.Upstream != s.address || f.Cause != "closed_before_response" {
		t.Errorf("got %s %s %s", f.Site, f.Upstream, f.Cause)
	}
}

// A request that is still under way when its config is gone is answered as any
// other. Where another config holds the process it is recorded, too.
func TestRequestOutlivesItsConfig(t *testing.T) {
	tests := []struct {
		name     string
		end      func(c *testcaddy.Caddy, config string) error
		recorded bool
	}{
		{"reloaded", func(_ *testcaddy.Caddy, config string) error { return testcaddy.Load(config) }, true},
		{"stopped", func(*testcaddy.Caddy, string) error { return caddy.Stop() }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := slow(t)
			c := testcaddy.New(t)
			config := strings.Replace(c.Caddyfile("", "upstream_diagnostics\nreverse_proxy "+s.address), "grace_period 1s", "grace_period 1ms", 1)
			if err := testcaddy.Load(config); err != nil {
				t.Fatal(err)
			}
			defer caddy.Stop() //nolint:errcheck // the test has ended

			const requests = 4
			answered := make(chan testcaddy.Answer, requests)
			for range requests {
				go func() { answered <- c.Get("/") }()
				<-s.arrived
			}
			handlers := running(t).ours
			if err := test.end(c, config); err != nil {
				t.Fatal(err)
			}
			for _, h := range handlers {
				if h.release != nil {
					t.Fatal("the config was not cleaned up: the test shows nothing")
				}
			}
			s.breaks()
			for range requests {
				a := <-answered
				id := a.Header.Get("Upstream-Failure-Id")
				if a.Err != nil || a.Status != 502 || id == "" {
					t.Fatalf("got %+v", a)
				}
				if !test.recorded {
					continue
				}
				if _, ok := currentProcess().journal.Get(id); !ok {
					t.Errorf("%s is not recorded", id)
				}
			}
			if !test.recorded && currentProcess() != nil {
				t.Error("the process is held by nobody's config")
			}
		})
	}
}

// Another keep takes effect at a reload; the newest failures stay.
func TestReloadChangesKeep(t *testing.T) {
	keep := func(n int) string { return fmt.Sprintf("upstream_diagnostics {\nkeep %d\n}", n) }
	site := "upstream_diagnostics\nreverse_proxy " + testcaddy.Dead(t)
	c := testcaddy.StartWith(t, keep(5), site)
	for _, path := range []string{"/1", "/2", "/3", "/4", "/5", "/6"} {
		c.Visit(path)
	}
	if got := paths(c); got != "/6 /5 /4 /3 /2" {
		t.Errorf("keep 5: %s", got)
	}
	if err := c.Load(keep(2), site); err != nil {
		t.Fatal(err)
	}
	if got := paths(c); got != "/6 /5" {
		t.Errorf("keep 2: %s", got)
	}
	if err := c.Load(keep(3), site); err != nil {
		t.Fatal(err)
	}
	c.Visit("/7")
	c.Visit("/8")
	if got := paths(c); got != "/8 /7 /6" {
		t.Errorf("keep 3: %s", got)
	}
	if err := c.Load("", site); err != nil {
		t.Fatal(err)
	}
	var overview failure.Overview
	c.AdminGet(adminPath+"", &overview)
	if overview.Keep != defaultKeep || overview.KeptCount != 3 {
		t.Errorf("without the option: keeps %d of %d", overview.KeptCount, overview.Keep)
	}
}

// config is what runs.
type config struct {
	app     *caddyhttp.App
	proxies []*reverseproxy.Handler
	ours    []*Handler
}

// running looks through the running config's routes.
func running(t *testing.T) config {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		t.Fatal(err)
	}
	c := config{app: app.(*caddyhttp.App)}
	for _, server := range c.app.Servers {
		c.routes(server.Routes)
	}
	if len(c.proxies) == 0 || len(c.ours) == 0 {
		t.Fatalf("found %d reverse_proxy and %d of our handlers", len(c.proxies), len(c.ours))
	}
	return c
}

func (c *config) routes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddyhttp.Subroute:
				c.routes(h.Routes)
			case *reverseproxy.Handler:
				c.proxies = append(c.proxies, h)
			case *Handler:
				c.ours = append(c.ours, h)
			}
		}
	}
}

// layers counts how many decorators of ours are around a value of Caddy's; each
// holds the next one in the named field.
func layers(outermost any, field string) (ours int) {
	house := reflect.TypeFor[Handler]().PkgPath()
	for v := reflect.ValueOf(outermost); ; ours++ {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if !v.IsValid() || !strings.HasPrefix(v.Type().PkgPath(), house) {
			return ours
		}
		v = v.FieldByName(field)
	}
}

// Every request that is answered during reloads was heard by the ears, of which
// there is never more than one.
func TestReloadUnderLoad(t *testing.T) {
	const options = "upstream_diagnostics {\nkeep 100000\n}"
	cut := testcaddy.Cutting(t)
	site := "upstream_diagnostics\nreverse_proxy /checked " + cut + " {\nhealth_uri /\nhealth_fails 100000\n}\nreverse_proxy " + cut
	c := testcaddy.StartWith(t, options, site)

	stop := make(chan struct{})
	var workers sync.WaitGroup
	var mu sync.Mutex
	var ids []string
	for _, path := range []string{"/", "/checked"} {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := c.Get(path)
				if a.Err != nil {
					continue // a reload resets a few connections, without us too
				}
				mu.Lock()
				ids = append(ids, a.Header.Get("Upstream-Failure-Id"))
				mu.Unlock()
			}
		})
	}
	answered := func() int { mu.Lock(); defer mu.Unlock(); return len(ids) }
	deadline := time.Now().Add(30 * time.Second)
	for n := 0; n < 12 || answered() < 12 && time.Now().Before(deadline); n++ {
		if err := c.Load(options, site); err != nil {
			t.Error(err)
		}
		for i, proxy := range running(t).proxies {
			// Where active checks run, the transport stays as it is.
			want := 1
			if proxy.HealthChecks != nil && proxy.HealthChecks.Active != nil {
				want = 0
			}
			if n := layers(proxy.Transport, "RoundTripper"); n != want {
				t.Errorf("%d ears hang on transport %d, want %d", n, i, want)
			}
			if n := layers(proxy.LoadBalancing.SelectionPolicy, "Selector"); n != 1 {
				t.Errorf("%d ears hang on selection %d", n, i)
			}
		}
	}
	close(stop)
	workers.Wait()
	if len(ids) < 12 {
		t.Fatalf("only %d requests were answered", len(ids))
	}
	for _, id := range ids {
		f, ok := currentProcess().journal.Get(id)
		switch {
		case !ok:
			t.Errorf("%q is not recorded", id)
		case f.Upstream != cut || f.AttemptCount != 1 || f.Cause != "closed_before_response":
			t.Errorf("%s: %q, %d attempts, %s", id, f.Upstream, f.AttemptCount, f.Cause)
		}
	}
}

// secondWalk is an app that looks for the reverse_proxy handlers once more, before
// anything is started.
type secondWalk struct{}

func (secondWalk) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "second_walk", New: func() caddy.Module { return new(secondWalk) }}
}

func (secondWalk) Provision(ctx caddy.Context) error {
	app, err := ctx.App("http")
	if err != nil {
		return err
	}
	upstreams.Hang(app.(*caddyhttp.App), new(upstreams.Learnt), nil)
	return nil
}

func (secondWalk) Start() error { return nil }
func (secondWalk) Stop() error  { return nil }

func init() { caddy.RegisterModule(secondWalk{}) }

// However often a config is walked, one ear hangs at each place.
func TestNeverHungTwice(t *testing.T) {
	c := testcaddy.New(t)
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(
		[]byte(c.Caddyfile("", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	config["apps"].(map[string]any)["second_walk"] = map[string]any{}
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(raw, true); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	running(t).checkLayersAre(t, 2)
}

// A server that has started is never written to.
func TestHangLeavesStartedServersAlone(t *testing.T) {
	// Without the admin endpoint and the global option nobody hangs ears.
	c := &testcaddy.Caddy{T: t, Port: testcaddy.FreePort(t)}
	caddyfile := strings.Replace(c.Caddyfile("", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)), "admin 127.0.0.1:0", "admin off", 1)
	if err := testcaddy.Load(caddyfile); err != nil {
		t.Fatal(err)
	}
	defer caddy.Stop() //nolint:errcheck // the test has ended
	c1 := running(t)
	proxy, ours := c1.proxies[0], c1.ours[0]
	transport, policy, place := proxy.Transport, proxy.LoadBalancing.SelectionPolicy, ours.place

	upstreams.Hang(c1.app, new(upstreams.Learnt), nil)
	if proxy.Transport != transport || proxy.LoadBalancing.SelectionPolicy != policy || ours.place != place {
		t.Error("a started server was written to")
	}
	c1.checkLayersAre(t, 0)
}

func (c config) checkLayersAre(t *testing.T, want int) {
	t.Helper()
	for _, proxy := range c.proxies {
		if n := layers(proxy.Transport, "RoundTripper") + layers(proxy.LoadBalancing.SelectionPolicy, "Selector"); n != want {
			t.Errorf("%d ears hang, want %d", n, want)
		}
	}
}

// The remote admin endpoint provisions our module once more, after the servers were
// started: it shows the same records, and no ear is hung late.
func TestRemoteAdmin(t *testing.T) {
	dir := t.TempDir()
	before := caddy.DefaultStorage.Path // where the endpoint's own certificate goes
	caddy.DefaultStorage.Path = dir
	t.Cleanup(func() { caddy.DefaultStorage.Path = before })

	certificate := selfSigned(t)
	remote := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, ServerName: "localhost",
		InsecureSkipVerify: true, // the CA is made on the way
	}}}
	for _, test := range []struct {
		name  string
		local bool
		ears  int
	}{{"and the local one", true, 2}, {"alone", false, 0}} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.New(t)
			plain := c.Caddyfile("", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
			raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(plain), map[string]any{"filename": "Caddyfile"})
			if err != nil {
				t.Fatal(err)
			}
			var config map[string]any
			if err := json.Unmarshal(raw, &config); err != nil {
				t.Fatal(err)
			}
			address := "127.0.0.1:" + strconv.Itoa(testcaddy.FreePort(t))
			config["storage"] = map[string]any{"module": "file_system", "root": dir}
			config["admin"] = map[string]any{
				"disabled": !test.local,
				"listen":   "127.0.0.1:" + strconv.Itoa(c.AdminPort),
				"config":   map[string]any{"persist": false},
				"identity": map[string]any{"identifiers": []string{"localhost"}, "issuers": []any{map[string]any{"module": "internal"}}},
				"remote": map[string]any{"listen": address, "access_control": []any{map[string]any{
					"public_keys": []string{base64.StdEncoding.EncodeToString(certificate.Certificate[0])},
					"permissions": []any{map[string]any{"paths": []string{adminPath}, "methods": []string{"GET"}}},
				}}},
			}
			config["apps"].(map[string]any)["pki"] = map[string]any{"certificate_authorities": map[string]any{"local": map[string]any{"install_trust": false}}}
			if raw, err = json.Marshal(config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Load(raw, true); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := testcaddy.Load(plain); err != nil { // it ends the remote endpoint; Stop doesn't
					t.Error(err)
				}
				testcaddy.Stop(t)
			})

			id := c.Visit("/").Header.Get("Upstream-Failure-Id")
			running(t).checkLayersAre(t, test.ears)
			ask := func(method string) (status int, body string) {
				testcaddy.Eventually(t, "the remote endpoint has its certificate", func() bool {
					r, err := http.NewRequest(method, "https://"+address+adminPath+"/failures", nil)
					if err != nil {
						t.Fatal(err)
					}
					res, err := remote.Do(r)
					if err != nil {
						return false
					}
					defer res.Body.Close()
					got, err := io.ReadAll(res.Body)
					status, body = res.StatusCode, string(got)
					return err == nil
				})
				return status, body
			}
			if status, body := ask("GET"); status != 200 || id == "" || !strings.Contains(body, id) {
				t.Errorf("got %d %s", status, body)
			}
			if status, body := ask("DELETE"); status != 403 {
				t.Errorf("whoever may read could clear: %d %s", status, body)
			}
			if err := testcaddy.Load(plain); err != nil {
				t.Fatal(err)
			}
			if _, ok := currentProcess().journal.Get(id); !ok {
				t.Error("the record is gone")
			}
		})
	}
	if currentProcess() != nil {
		t.Error("an App that never started holds the process")
	}
}

// selfSigned is a certificate for a client.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The admin endpoint comes and goes with reloads; the records stay.
func TestReloadAdminOff(t *testing.T) {
	site := "upstream_diagnostics\nreverse_proxy " + testcaddy.Dead(t)
	c := testcaddy.New(t)
	defer caddy.Stop() //nolint:errcheck // the test has ended

	const option = "upstream_diagnostics {\nkeep 50\n}"
	steps := []struct {
		name, options string
		off           bool
		ears          int
	}{
		{name: "on", ears: 2},
		{name: "off", off: true, ears: 0},
		{name: "off, with the option", off: true, options: option, ears: 2},
		{name: "on again", ears: 2},
		{name: "on, with the option", options: option, ears: 2},
		{name: "off again", off: true, ears: 0},
	}
	for i, step := range steps {
		config := c.Caddyfile(step.options, site)
		if step.off {
			config = strings.Replace(config, "admin 127.0.0.1:"+strconv.Itoa(c.AdminPort), "admin off", 1)
		}
		if err := testcaddy.Load(config); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		running(t).checkLayersAre(t, step.ears)
		a := c.Visit("/" + strconv.Itoa(i))
		list := currentProcess().journal.Query(failure.Query{}).Failures
		if len(list) == 0 {
			t.Fatalf("%s: nothing is recorded; the client got %d %v", step.name, a.Status, a.Header)
		}
		if len(list) != i+1 || list[0].Request.URI != "/"+strconv.Itoa(i) || list[0].Cause != "connection_refused" {
			t.Errorf("%s: %d kept, the newest is %s of %s; the client got %d %v", step.name, len(list), list[0].Cause, list[0].Request.URI, a.Status, a.Header)
		}
	}
	testcaddy.Eventually(t, "the admin endpoint goes", func() bool {
		res, err := testcaddy.Client.Get(c.Admin + adminPath)
		if err == nil {
			res.Body.Close()
		}
		return err != nil
	})
}

// `caddy validate` provisions a config and drops it: nothing of ours stays.
func TestValidateLeavesNothing(t *testing.T) {
	c := testcaddy.New(t)
	for _, options := range []string{"", "upstream_diagnostics {\nkeep 5\n}"} {
		raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(
			[]byte(c.Caddyfile(options, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			t.Fatal(err)
		}
		config := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(raw, config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(config); err != nil {
			t.Fatal(err)
		}
		if currentProcess() != nil {
			t.Errorf("options %q: the process is still held", options)
		}
	}
}

// Reading the admin endpoint where no config holds a process is possible: after a
// load that failed, it may be another config's.
func TestAdminWithoutProcess(t *testing.T) {
	if currentProcess() != nil {
		t.Fatal("another test left a process")
	}
	view := processView{}
	if _, ok := view.Get("k3f9qw2ax"); ok || len(view.Query(failure.Query{}).Failures) != 0 || view.Overview().Keep != 0 {
		t.Error("something is kept of nothing")
	}
	view.Clear()
}
