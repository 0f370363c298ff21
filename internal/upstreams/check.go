package upstreams

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Checks repeats active health checks, of which Caddy's own checker tells nobody why they
// fail. It changes nobody's health.
type Checks struct{ asked chan func(context.Context) }

const (
	// maxChecksAsked is how many may wait to be repeated.
	maxChecksAsked = 32
	// maxCheckBody is how much of an answer's body is read.
	maxCheckBody = 64 << 10
	// maxLocation is how much is kept of where a redirect leads to.
	maxLocation = 256
)

// newChecks makes one for the handlers of one config.
func newChecks() *Checks { return &Checks{asked: make(chan func(context.Context), maxChecksAsked)} }

// Run repeats what is asked for, one after the other, until ctx is done. It doesn't wait for
// one that goes on then: there are transports that don't heed a context.
func (c *Checks) Run(ctx context.Context) {
	for {
		select {
		case again := <-c.asked:
			over := make(chan struct{})
			go func() { defer close(over); again(ctx) }()
			select {
			case <-over:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// of are the checks of a handler's static pool, in server: Caddy checks no others.
func (c *Checks) of(h *reverseproxy.Handler, server *caddyhttp.Server) map[*reverseproxy.Upstream]*listen.Check {
	if c == nil {
		return nil
	}
	checks := make(map[*reverseproxy.Upstream]*listen.Check, len(h.Upstreams))
	transport := h.Transport // before an ear is put there
	for _, upstream := range h.Upstreams {
		var check *listen.Check
		repeat := func(ctx context.Context) {
			ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, server) // FastCGI's transport can't do without
			if r := repeatCheck(ctx, transport, h.HealthChecks.Active, upstream.Dial); r != nil {
				check.Found(r)
			}
		}
		check = listen.NewCheck(func() bool {
			select {
			case c.asked <- repeat:
				return true
			default:
				return false
			}
		})
		checks[upstream] = check
	}
	return checks
}

// dialInfoKey is where reverse_proxy's transports find what to dial
// (reverseproxy/hosts.go, dialInfoCtxKey).
const dialInfoKey caddy.CtxKey = "reverse_proxy.dial_info"

// repeatCheck sends the very request that Caddy's checker does (reverseproxy/
// healthchecks.go); nil where it can't be made, or ctx ended it.
func repeatCheck(ctx context.Context, transport http.RoundTripper, a *reverseproxy.ActiveHealthChecks, dial string) (result *listen.CheckResult) {
	defer func() {
		if recover() != nil { // as the checker does: a transport may not bear such a request
			result = nil
		}
	}()
	timeout := cmp.Or(time.Duration(a.Timeout), defaultCheckTimeout)
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := checkRequest(within, transport, a, dial)
	if r == nil {
		return nil
	}
	client := &http.Client{Transport: transport}
	if !a.FollowRedirects {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	res, err := client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("none within health_timeout %s", timeout)
		}
		return checkFailed(err)
	}
	defer res.Body.Close()
	result = checkResult(res, a)
	checkBody(result, res.Body, a)
	return result
}

// checkResult is what a check makes of an answer, its body aside.
func checkResult(res *http.Response, a *reverseproxy.ActiveHealthChecks) *listen.CheckResult {
	result := &listen.CheckResult{At: time.Now(), Status: res.StatusCode, Location: res.Header.Get("Location")}
	if len(result.Location) > maxLocation {
		result.Location = result.Location[:maxLocation]
	}
	result.Location = strings.Clone(result.Location)
	result.Passed = res.StatusCode >= 200 && res.StatusCode < 300
	if a.ExpectStatus > 0 {
		result.Passed = caddyhttp.StatusCodeMatches(res.StatusCode, a.ExpectStatus)
	}
	return result
}

// checkBody reads the body of an answer, as far as it is looked at.
func checkBody(result *listen.CheckResult, body io.Reader, a *reverseproxy.ActiveHealthChecks) {
	most := int64(maxCheckBody)
	if a.MaxSize > 0 {
		most = min(most, a.MaxSize)
	}
	start, err := io.ReadAll(io.LimitReader(body, most))
	if !result.Passed || a.ExpectBody == "" {
		return
	}
	pattern, badPattern := regexp.Compile(a.ExpectBody)
	switch {
	case badPattern != nil:
	case err != nil:
		result.Err, result.Passed = err, false
	case !pattern.Match(start) && (len(start) < maxCheckBody || most == a.MaxSize):
		result.BodyRefused, result.Passed = true, false
	}
}

// checkFailed is that of a check without an answer.
func checkFailed(err error) *listen.CheckResult {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return &listen.CheckResult{
		At: time.Now(), Err: errors.New(err.Error()), // its text alone: it may hold on to a whole certificate
		PlainHTTP: plain || strings.HasSuffix(err.Error(), "server gave HTTP response to HTTPS client"),
	}
}

// checkRequest is the request of a check, nil where the health checker makes none either.
func checkRequest(ctx context.Context, transport http.RoundTripper, a *reverseproxy.ActiveHealthChecks, dial string) *http.Request {
	repl := caddy.NewReplacer()
	address, err := repl.ReplaceOrErr(dial, true, true)
	if err != nil {
		return nil
	}
	u, info, ok := checkTarget(transport, a, address, repl)
	if !ok {
		return nil
	}
	u.Path = a.Path
	if a.URI != "" {
		asked, err := url.Parse(a.URI)
		if err != nil {
			return nil
		}
		u.Path, u.RawQuery = asked.Path, asked.RawQuery
	}
	var body io.Reader
	if a.Body != "" {
		body = strings.NewReader(repl.ReplaceKnown(a.Body, ""))
	}
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, dialInfoKey, info)
	r, err := http.NewRequestWithContext(ctx, a.Method, u.String(), body)
	if err != nil {
		return nil
	}
	r = r.WithContext(context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, *r)) //nolint:contextcheck // its own
	repl.Set("http.reverse_proxy.active.target_upstream", address)
	for name, values := range a.Headers {
		name = repl.ReplaceAll(name, "")
		if name == "Host" {
			r.Host = repl.ReplaceAll(a.Headers.Get(name), "")
			continue
		}
		for _, value := range values {
			r.Header.Add(name, repl.ReplaceKnown(value, ""))
		}
	}
	return r
}

// checkTarget is whom a check asks, and what is dialled for it.
func checkTarget(transport http.RoundTripper, a *reverseproxy.ActiveHealthChecks, address string, repl *caddy.Replacer) (*url.URL, reverseproxy.DialInfo, bool) {
	at, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil, reverseproxy.DialInfo{}, false
	}
	socket := at.IsUnixNetwork() || at.IsFdNetwork()
	byPort := a.Upstream == "" && a.Port != 0
	if byPort {
		if socket {
			at.Network, socket = "tcp", false
		}
		at.StartPort, at.EndPort = uint(a.Port), uint(a.Port) //nolint:gosec // a port
	}
	host := at.JoinHostPort(0)
	if socket {
		host = "localhost"
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	u := &url.URL{Scheme: "http", Host: host}
	switch {
	case a.Upstream != "":
		u.Host = a.Upstream
		if at, err = caddy.ParseNetworkAddress(repl.ReplaceAll(a.Upstream, "")); err != nil {
			return nil, reverseproxy.DialInfo{}, false
		}
	case byPort:
		u.Host = net.JoinHostPort(name, strconv.Itoa(a.Port))
	}
	if t, ok := transport.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		t.OverrideHealthCheckScheme(u, port)
	}
	info := reverseproxy.DialInfo{
		Upstream: &reverseproxy.Upstream{Dial: address}, Network: at.Network, Address: at.JoinHostPort(0),
		Host: at.Host, Port: strconv.FormatUint(uint64(at.StartPort), 10),
	}
	return u, info, at.PortRangeSize() == 1
}
