// Package testcaddy runs a real Caddy for tests, with this module in it where the test
// imports the root: its config, its clients, its records, and small upstreams.
package testcaddy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
)

const adminPath = "/upstream_diagnostics"

// Caddy is a real Caddy in this process, of which there can be one at a time.
type Caddy struct {
	T *testing.T
	// URL is where its first site is, Admin where its admin endpoint is.
	URL, Admin string
	Port       int
	AdminPort  int

	told sync.Map // contradictions, by record
}

// New has ports, and is yet to be loaded.
func New(t *testing.T) *Caddy {
	t.Helper()
	c := &Caddy{T: t, Port: FreePort(t), AdminPort: FreePort(t)}
	c.URL = "http://127.0.0.1:" + strconv.Itoa(c.Port)
	c.Admin = "http://127.0.0.1:" + strconv.Itoa(c.AdminPort)
	return c
}

// Start runs a Caddy whose site is what is given; it ends with the test.
func Start(t *testing.T, site string) *Caddy {
	t.Helper()
	return StartWith(t, "", site)
}

// StartWith is Start with global options.
func StartWith(t *testing.T, options, site string) *Caddy {
	t.Helper()
	c := New(t)
	if err := c.Load(options, site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Caddyfile is the whole config; options may say `admin off`.
func (c *Caddy) Caddyfile(options, site string) string {
	admin := "admin 127.0.0.1:" + strconv.Itoa(c.AdminPort)
	if strings.Contains(options, "admin off") {
		admin = ""
	}
	return fmt.Sprintf(`{
	%s
	persist_config off
	auto_https off
	grace_period 1s
	log {
		output discard
	}
	%s
}
http://127.0.0.1:%d {
	%s
}
`, admin, options, c.Port, site)
}

// Load loads a config in place of the one that runs.
func (c *Caddy) Load(options, site string) error {
	return Load(c.Caddyfile(options, site))
}

// Load loads a whole Caddyfile in place of the config that runs.
func Load(caddyfile string) error {
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return fmt.Errorf("%w (%v)\n%s", err, warnings, caddyfile)
	}
	return LoadJSON(config)
}

// LoadJSON is Load for a config in JSON.
func LoadJSON(config []byte) error {
	err := caddy.Load(config, true)
	alone()
	return err
}

// alone waits until no address is listened on twice. Caddy lets the listener of the config
// before close a little after it has loaded the next, and the system resets who waits in its
// queue then.
func alone() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		listeners, _ := host.ListenersNow()
		twice := false
		seen := map[netip.AddrPort]bool{}
		for _, l := range listeners {
			twice = twice || seen[l.Address] && inBlock(l.Address.Port())
			seen[l.Address] = true
		}
		if !twice {
			return
		}
	}
}

// Client keeps no connection, so that a test leaves none behind.
var Client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	Timeout:   20 * time.Second,
}

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Err    error // of reading the body
}

// Get sends a request with the given fields ("Accept: text/html").
func (c *Caddy) Get(path string, fields ...string) Answer {
	c.T.Helper()
	return c.Do(http.MethodGet, path, nil, fields...)
}

// Do is Get with another method and a body.
func (c *Caddy) Do(method, path string, body io.Reader, fields ...string) Answer {
	c.T.Helper()
	r, err := http.NewRequest(method, c.URL+path, body)
	if err != nil {
		c.T.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	res, err := Client.Do(r)
	if err != nil {
		return Answer{Err: err}
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, string(got), err}
}

// AdminGet reads from the admin endpoint, once more where a load that just ended has
// its server swapped at this moment.
func (c *Caddy) AdminGet(path string, into any) int {
	c.T.Helper()
	var status int
	var got []byte
	Eventually(c.T, "an answer of the admin endpoint", func() bool {
		res, err := Client.Get(c.Admin + path)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		status = res.StatusCode
		got, err = io.ReadAll(res.Body)
		return err == nil
	})
	if into != nil {
		decoder := json.NewDecoder(bytes.NewReader(got))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			c.T.Fatalf("GET %s: %v in %s", path, err, got)
		}
	}
	return status
}

// Failures are the recorded ones, newest first. None may contradict itself.
func (c *Caddy) Failures(filters ...string) []*failure.Failure {
	c.T.Helper()
	var list failure.FailurePage
	c.AdminGet(failuresPath(filters), &list)
	return c.consistent(list.Failures)
}

// Kept are Failures where there may be no admin endpoint: it asks the module that would
// be mounted there.
func (c *Caddy) Kept(filters ...string) []*failure.Failure {
	c.T.Helper()
	module, err := caddy.GetModule("admin.api.upstream_diagnostics")
	if err != nil {
		c.T.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, failuresPath(filters), nil)
	for _, route := range module.New().(caddy.AdminRouter).Routes() {
		if route.Pattern != adminPath+"/" {
			continue
		}
		w := httptest.NewRecorder()
		if err := route.Handler.ServeHTTP(w, r); err != nil {
			c.T.Fatal(err)
		}
		var list failure.FailurePage
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			c.T.Fatalf("%v in %s", err, w.Body)
		}
		return c.consistent(list.Failures)
	}
	c.T.Fatal("the module has no routes")
	return nil
}

func failuresPath(filters []string) string {
	query := url.Values{}
	for _, filter := range filters {
		name, value, _ := strings.Cut(filter, "=")
		query.Set(name, value)
	}
	return adminPath + "/failures?" + query.Encode()
}

// Failure is the newest one. It waits for it: a record may be made after the
// client has its answer.
func (c *Caddy) Failure() *failure.Failure {
	c.T.Helper()
	var list []*failure.Failure
	Eventually(c.T, "a failure is recorded", func() bool {
		list = c.Failures()
		return len(list) > 0
	})
	return list[0]
}

// Newest is the newest failure. It waits a moment for one of that cause: a record
// may be made after the client has its answer, and what prepared the fault may have
// been recorded before.
func (c *Caddy) Newest(cause string) *failure.Failure {
	c.T.Helper()
	deadline := time.Now().Add(2 * time.Second)
	for {
		list := c.Failures()
		if len(list) > 0 && (list[0].Cause == cause || time.Now().After(deadline)) {
			return list[0]
		}
		if time.Now().After(deadline) {
			c.T.Fatal("nothing was recorded")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Forget clears the journal.
func (c *Caddy) Forget() {
	c.T.Helper()
	r, err := http.NewRequest(http.MethodDelete, c.Admin+adminPath+"/failures", nil)
	if err != nil {
		c.T.Fatal(err)
	}
	res, err := Client.Do(r)
	if err != nil {
		c.T.Fatal(err)
	}
	res.Body.Close()
}

// Eventually polls until ok, with a deadline.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// AdminDo asks the admin endpoint below our path.
func (c *Caddy) AdminDo(method, path string, fields ...string) Answer {
	c.T.Helper()
	r, err := http.NewRequest(method, c.Admin+adminPath+path, nil)
	if err != nil {
		c.T.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	res, err := Client.Do(r)
	if err != nil {
		c.T.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, string(got), err}
}

// RecordsAbandoned makes who leaves at once be recorded, too.
func RecordsAbandoned(t *testing.T) {
	t.Helper()
	before := failure.AbandonedAfter
	failure.AbandonedAfter = 0
	t.Cleanup(func() { failure.AbandonedAfter = before })
}

// UpstreamState is what Caddy says of an upstream.
type UpstreamState struct {
	Address     string `json:"address"`
	NumRequests int    `json:"num_requests"`
	Fails       int    `json:"fails"`
}

// UpstreamStates are what Caddy says of its upstreams.
func (c *Caddy) UpstreamStates() (states []UpstreamState) {
	c.T.Helper()
	c.AdminGet("/reverse_proxy/upstreams", &states)
	return states
}

// Idle waits until no request is with an upstream any more.
func (c *Caddy) Idle() {
	c.T.Helper()
	Eventually(c.T, "the requests are over", func() bool {
		for _, upstream := range c.UpstreamStates() {
			if upstream.NumRequests > 0 {
				return false
			}
		}
		return true
	})
}

// Raw sends bytes as they are and reads one answer.
func (c *Caddy) Raw(request string) Answer {
	c.T.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
	if err != nil {
		c.T.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }() // it may be answered before it was read
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return Answer{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Answer{res.StatusCode, res.Header, string(body), err}
}

// Request is a GET of path; more are whole header lines.
func (c *Caddy) Request(path string, more ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(c.URL, "http://") + "\r\nConnection: close\r\n" + strings.Join(more, "") + "\r\n"
}

// Visit is Get, once more where a reload reset the connection: it does to a few, with
// and without us.
func (c *Caddy) Visit(path string) (a Answer) {
	c.T.Helper()
	Eventually(c.T, "an answer to "+path, func() bool {
		a = c.Get(path)
		return a.Err == nil
	})
	return a
}

// Stop stops Caddy before its test ends.
func Stop(t *testing.T) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
}
