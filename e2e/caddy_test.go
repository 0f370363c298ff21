//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// caddy is a Caddy with this module, in a process of its own.
type caddy struct {
	*part
	url, address, admin string
}

// startCaddy runs a Caddy whose one site is what is given, with upstream_diagnostics
// in front unless the site has it.
func startCaddy(t *testing.T, site string) *caddy {
	t.Helper()
	return startCaddyWith(t, nil, site)
}

// startCaddyWith is startCaddy with an environment, each `name=value`, and global options.
func startCaddyWith(t *testing.T, env []string, site string, options ...string) *caddy {
	t.Helper()
	dir := workDir(t)
	c := &caddy{address: freeAddress(t), admin: freeAddress(t)}
	c.url = "http://" + c.address
	if !strings.Contains(site, "upstream_diagnostics") {
		site = "upstream_diagnostics\n" + site
	}
	config := write(t, filepath.Join(dir, "Caddyfile"), fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	grace_period 1s
	servers {
		protocols h1 h2 h2c
	}
	%s
}
%s {
	bind 127.0.0.1
	%s
}
`, c.admin, strings.Join(options, "\n"), c.url, site))
	run := append(slices.Clone(env), caddyBinary, "run", "--config", config, "--adapter", "caddyfile")
	c.part = startPart(t, dir, "/usr/bin/env", run...)
	c.listening(t, "tcp", c.address)
	c.await(t, "has its admin endpoint", func() bool { return c.ask(t, "/upstream_diagnostics", nil) == nil })
	return c
}

// client asks each time on a connection of its own, and takes an answer as it is.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       30 * time.Second,
}

// visit is a request to Caddy. It is a GET, or a POST of body.
type visit struct {
	path   string
	body   io.Reader
	stalls bool   // its body begins, and never goes on
	header string // "Name: value"
}

// answer is what a client got; err that of reading the body.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c *caddy) visit(t *testing.T, v visit) answer {
	t.Helper()
	if v.stalls {
		r, w := io.Pipe()
		go func() { _, _ = w.Write([]byte("begun")) }() // until it is read, or closed
		// The client's own timeout waits for whoever reads the body.
		defer time.AfterFunc(client.Timeout, func() { w.Close() }).Stop()
		defer w.Close()
		v.body = r
	}
	method := http.MethodGet
	if v.body != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+v.path, v.body)
	if err != nil {
		t.Fatal(err)
	}
	if name, value, ok := strings.Cut(v.header, ": "); ok {
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body), err}
}

// ask reads from the admin endpoint.
func (c *caddy) ask(t *testing.T, path string, into any) error {
	t.Helper()
	res, err := client.Get("http://" + c.admin + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, res.StatusCode, body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

// failures are those that were recorded, newest first.
func (c *caddy) failures(t *testing.T) []*failure.Failure {
	t.Helper()
	var page failure.FailurePage
	if err := c.ask(t, "/upstream_diagnostics/failures?limit=1000", &page); err != nil {
		t.Fatal(err)
	}
	return page.Failures
}

// recorded waits for the one failure of the path: the record may be made after the
// client has its answer.
func (c *caddy) recorded(t *testing.T, path string) *failure.Failure {
	t.Helper()
	var found []*failure.Failure
	await(t, "a failure of "+path, func() bool {
		found = c.of(t, path)
		return len(found) > 0
	})
	if len(found) > 1 {
		t.Errorf("%d failures of %s were recorded", len(found), path)
	}
	return found[0]
}

// of are the failures of one path.
func (c *caddy) of(t *testing.T, path string) []*failure.Failure {
	t.Helper()
	return slices.DeleteFunc(c.failures(t), func(f *failure.Failure) bool { return f.Request.URI != path })
}

// idle waits until Caddy's upstreams have no request under way.
func (c *caddy) idle(t *testing.T) {
	t.Helper()
	await(t, "all requests are over", func() bool {
		var upstreams []struct {
			Address     string `json:"address"`
			NumRequests int    `json:"num_requests"`
		}
		if err := c.ask(t, "/reverse_proxy/upstreams", &upstreams); err != nil {
			t.Fatal(err)
		}
		for _, upstream := range upstreams {
			if upstream.NumRequests > 0 {
				return false
			}
		}
		return true
	})
}

// want is what a record must say.
type want struct {
	status  int    // what the client gets
	cause   string // where the peer's own timing decides, "one|another"; so are phase and sent
	phase   failure.Phase
	side    failure.Side
	outcome failure.Outcome
	sent    failure.Sent
	// evidence are patterns, each of which a line of evidence must match.
	evidence []string
	// also checks what else is decisive.
	also func(t *testing.T, f *failure.Failure)
}

// check compares a record to what it must say, and holds it to what every record
// must.
func (w want) check(t *testing.T, f *failure.Failure) {
	t.Helper()
	if f.Cause == "unknown" && w.cause != "unknown" && among(w.cause, f.Cause) {
		w.phase, w.side = f.Phase, f.Side // nothing tells these either
	}
	got := want{f.Status, f.Cause, f.Phase, f.Side, f.Outcome, f.RequestSent, nil, nil}
	if got.status != w.status || !among(w.cause, got.cause) || !among(string(w.phase), string(got.phase)) || got.side != w.side || got.outcome != w.outcome || !among(string(w.sent), string(got.sent)) {
		t.Errorf("got  %d %s %s %s %s, request_sent %s\nwant %d %s %s %s %s, request_sent %s",
			got.status, got.cause, got.phase, got.side, got.outcome, got.sent, w.status, w.cause, w.phase, w.side, w.outcome, w.sent)
	}
	for _, pattern := range w.evidence {
		if !slices.ContainsFunc(f.Evidence, regexp.MustCompile(pattern).MatchString) {
			t.Errorf("no evidence like %q", pattern)
		}
	}
	if f.Summary == "" || f.Upstream == "" || len(f.Attempts) == 0 {
		t.Error("a summary, the upstream or its attempt is missing")
	}
	if w.also != nil {
		w.also(t, f)
	}
	if t.Failed() {
		t.Logf("the record: %s", whole(f))
	}
}

// whole is all of a record, to be read.
func whole(f *failure.Failure) []byte {
	text, _ := json.MarshalIndent(f, "", "  ")
	return text
}

// checkOneOf checks a record where the peer's own timing decides what is true.
func checkOneOf(t *testing.T, f *failure.Failure, wanted ...want) {
	t.Helper()
	for _, w := range wanted {
		if among(w.cause, f.Cause) {
			w.check(t, f)
			return
		}
	}
	wanted[0].check(t, f)
}

// among says that got is one of those that are wanted.
func among(wanted, got string) bool { return slices.Contains(strings.Split(wanted, "|"), got) }

// scenario is one visit, and what must be recorded of it: nothing where wanted has
// no cause.
type scenario struct {
	name   string
	visit  visit
	before func(t *testing.T) // makes the server be at fault
	wanted want
	// body is what the client must get, where it is the upstream's own answer.
	body string
	// cut says that the client's answer breaks off.
	cut bool
}

func (s scenario) run(t *testing.T, c *caddy) {
	t.Helper()
	if s.before != nil {
		s.before(t)
	}
	got := c.visit(t, s.visit)
	if got.status != s.wanted.status {
		t.Errorf("the client got %d %q, want %d", got.status, got.body, s.wanted.status)
	}
	if !strings.Contains(got.body, s.body) {
		t.Errorf("the client got %q, want %q in it", got.body, s.body)
	}
	if (got.err != nil) != s.cut {
		t.Errorf("reading the answer gave the client %v", got.err)
	}
	if s.wanted.cause == "" {
		c.idle(t)
		for _, f := range c.of(t, s.visit.path) {
			t.Errorf("it was recorded as %s: %s", f.Cause, whole(f))
		}
		return
	}
	f := c.recorded(t, s.visit.path)
	if id := got.header.Get("Upstream-Failure-Id"); f.Outcome == failure.Failed && id != f.ID {
		t.Errorf("the client's reference is %q, the record's %q", id, f.ID)
	}
	s.wanted.check(t, f)
}

// runAll runs each as a subtest.
func runAll(t *testing.T, c *caddy, scenarios []scenario) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) { s.run(t, c) })
	}
}

// inBackground makes a visit whose answer nobody waits for; it ends with the test.
func (c *caddy) inBackground(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
		if err != nil {
			return
		}
		if res, err := client.Do(r); err == nil {
			res.Body.Close()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
}

// received checks what the upstream's own answer said.
func received(status int, server string) func(*testing.T, *failure.Failure) {
	return func(t *testing.T, f *failure.Failure) {
		t.Helper()
		if f.Received == nil || f.Received.Status != status || !strings.HasPrefix(f.Received.Server, server) || (server == "") != (f.Received.Server == "") {
			t.Errorf("received %+v, want %d of %q", f.Received, status, server)
		}
	}
}
