package diagnostics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// testCaddy is a real Caddy in this process, of which there can be one at a time.
type testCaddy struct {
	t *testing.T
	// url is where its first site is, admin where its admin endpoint is.
	url, admin string
	port       int
	adminPort  int
}

// Ports for tests lie below those that systems give to whoever connects (32768 and
// more on Linux, 49152 on others), and are given one after the other: a port where
// nobody listens stays so, though Caddy shares one that is listened on twice.
const firstPort, portCount = 20000, 12000

var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(portCount)) }

// freePort is a port of loopback that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	var err error
	for range 1000 {
		port := firstPort + int(lastPort.Add(1)%portCount)
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal(err)
	return 0
}

// startCaddy runs a Caddy whose site is what is given; it ends with the test.
func startCaddy(t *testing.T, site string) *testCaddy {
	t.Helper()
	return startCaddyWith(t, "", site)
}

// startCaddyWith is startCaddy with global options.
func startCaddyWith(t *testing.T, options, site string) *testCaddy {
	t.Helper()
	c := &testCaddy{t: t, port: freePort(t), adminPort: freePort(t)}
	c.url = "http://127.0.0.1:" + strconv.Itoa(c.port)
	c.admin = "http://127.0.0.1:" + strconv.Itoa(c.adminPort)
	if err := c.load(options, site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// caddyfile is the whole config.
func (c *testCaddy) caddyfile(options, site string) string {
	return fmt.Sprintf(`{
	admin 127.0.0.1:%d
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
`, c.adminPort, options, c.port, site)
}

// load loads a config in place of the one that runs.
func (c *testCaddy) load(options, site string) error {
	return loadCaddyfile(c.caddyfile(options, site))
}

func loadCaddyfile(caddyfile string) error {
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return fmt.Errorf("%w (%v)\n%s", err, warnings, caddyfile)
	}
	return caddy.Load(config, true)
}

// client keeps no connection, so that a test leaves none behind.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	Timeout:   20 * time.Second,
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// get sends a request with the given fields ("Accept: text/html").
func (c *testCaddy) get(path string, fields ...string) answer {
	c.t.Helper()
	return c.do(http.MethodGet, path, nil, fields...)
}

func (c *testCaddy) do(method, path string, body io.Reader, fields ...string) answer {
	c.t.Helper()
	r, err := http.NewRequest(method, c.url+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	res, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(got), err}
}

// adminGet reads from the admin endpoint, once more where a load that just ended has
// its server swapped at this moment.
func (c *testCaddy) adminGet(path string, into any) int {
	c.t.Helper()
	var status int
	var got []byte
	eventually(c.t, "an answer of the admin endpoint", func() bool {
		res, err := client.Get(c.admin + path)
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
			c.t.Fatalf("GET %s: %v in %s", path, err, got)
		}
	}
	return status
}

// failures are the recorded ones, newest first.
func (c *testCaddy) failures(filters ...string) []*failure.Failure {
	c.t.Helper()
	query := url.Values{}
	for _, filter := range filters {
		name, value, _ := strings.Cut(filter, "=")
		query.Set(name, value)
	}
	var list failure.FailurePage
	c.adminGet("/upstream_diagnostics/failures?"+query.Encode(), &list)
	return list.Failures
}

// failure is the newest one. It waits for it: a record may be made after the
// client has its answer.
func (c *testCaddy) failure() *failure.Failure {
	c.t.Helper()
	var list []*failure.Failure
	eventually(c.t, "a failure is recorded", func() bool {
		list = c.failures()
		return len(list) > 0
	})
	return list[0]
}

// forget clears the journal.
func (c *testCaddy) forget() {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodDelete, c.admin+"/upstream_diagnostics/failures", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	res.Body.Close()
}

// eventually polls until ok, with a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
