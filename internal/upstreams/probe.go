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
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// ProbeTimeout bounds a probe as a whole. Tests don't wait; they change it before a config is
// loaded.
var ProbeTimeout = 10 * time.Second

const (
	// probeCheckTimeout bounds what is tried on connections of their own, all at once, after
	// the request.
	probeCheckTimeout = 2 * time.Second
	// probeMargin is what is left of ProbeTimeout: Caddy's admin endpoint takes who has waited
	// for 10 s for gone (admin.go, ReadTimeout).
	probeMargin = 500 * time.Millisecond
	// probeGrace is how long a transport may take to return once its time is over.
	probeGrace = 100 * time.Millisecond
	// probeAgent is the User-Agent of a probe, where no health check chooses one.
	probeAgent = "caddy-upstream-diagnostics (probe)"
	// probeFrom stands for the client, of which there is none.
	probeFrom = "127.0.0.1"
	// maxProbeBody is how much of an answer's body is read.
	maxProbeBody = 64 << 10
	// maxNamed is how many upstreams or sites an error names.
	maxNamed = 10
)

// Target is an upstream that can be asked, by way of one reverse_proxy.
type Target struct {
	via *selection
	// name is what is configured, dial what is to be dialled, without placeholders.
	name, dial string
	proxy      failure.ProbeProxy
}

// Upstream is what is configured.
func (t *Target) Upstream() string { return t.name }

// Dial is what is dialled.
func (t *Target) Dial() string { return t.dial }

// Proxy says which reverse_proxy it is.
func (t *Target) Proxy() failure.ProbeProxy { return t.proxy }

// Limits are those of the reverse_proxy.
func (t *Target) Limits() *failure.Limits { return t.via.limits }

// Target finds whom a query means, in the config of this board. Its errors are of
// failure.ProbeRefused. A nil board has nobody.
func (b *Board) Target(q failure.ProbeQuery) (*Target, error) {
	if b == nil {
		return nil, &failure.ProbeRefused{Why: failure.ProbeUnknown, Message: "no config that runs has a reverse_proxy whose upstreams are known"}
	}
	var found []*Target
	var sites []string
	for i := range b.rows {
		row := &b.rows[i]
		dial, ok := row.dialFor(q.Upstream)
		if !ok {
			continue
		}
		sites = append(sites, row.sites...)
		if q.Site != "" && !slices.Contains(row.sites, q.Site) {
			continue
		}
		if same := slices.IndexFunc(found, func(t *Target) bool { return t.via == row.via }); same >= 0 {
			found[same].proxy.Sites = append(found[same].proxy.Sites, row.sites...)
			continue
		}
		found = append(found, &Target{via: row.via, name: row.name(), dial: dial, proxy: failure.ProbeProxy{
			Sites: append([]string{}, row.sites...), Server: row.server, Transport: row.via.limits.Transport, TLS: row.via.tls,
		}})
	}
	switch {
	case len(found) == 0 && len(sites) == 0:
		return nil, &failure.ProbeRefused{Why: failure.ProbeUnknown, Message: b.unknown(q.Upstream)}
	case len(found) == 0:
		return nil, &failure.ProbeRefused{Why: failure.ProbeUnknown, Message: fmt.Sprintf("site: %+.64q does not lead to this upstream, expected %s", q.Site, listed(sites))}
	}
	index := 0
	if q.Index != nil {
		index = *q.Index
	}
	if index < 0 || index >= len(found) {
		return nil, &failure.ProbeRefused{Why: failure.ProbeUnknown, Message: fmt.Sprintf("index: expected a number from 0 to %d, got %d", len(found)-1, index)}
	}
	t := found[index]
	t.proxy.Index, t.proxy.Count = index, len(found)
	slices.Sort(t.proxy.Sites)
	t.proxy.Sites = slices.Compact(t.proxy.Sites)
	return t, t.resolve()
}

// dialFor is what is to be dialled where the row is the upstream of that name; "" where a
// source has given nothing yet.
func (row *boardRow) dialFor(name string) (dial string, ok bool) {
	if row.upstream != nil {
		return row.upstream.Dial, name == row.upstream.Dial || name != "" && name == addressOf(row.upstream.Dial)
	}
	lookup := row.via.gave.shown()
	if lookup == nil || len(lookup.Addresses) == 0 {
		return "", name == row.name()
	}
	for _, a := range lookup.Addresses {
		if a.Address == name {
			return name, true
		}
	}
	return lookup.Addresses[0].Address, name == row.name()
}

// resolve says whether the target has an address without a client's request.
func (t *Target) resolve() error {
	impossible := func(why string) error {
		return &failure.ProbeRefused{Why: failure.ProbeImpossible, Message: fmt.Sprintf("upstream: %+.128q can't be asked: %s", t.name, why)}
	}
	if t.dial == "" {
		return impossible("it is a dynamic source which has given no address that can be named, as it does when a request needs it")
	}
	dial, err := caddy.NewReplacer().ReplaceOrErr(t.dial, true, true)
	if err != nil {
		return impossible("its address has a placeholder, which only a client's request fills in")
	}
	t.dial = dial
	if at, err := caddy.ParseNetworkAddress(dial); err != nil || at.PortRangeSize() != 1 {
		return impossible("it is no address of one socket")
	}
	return nil
}

// unknown says which upstreams there are.
func (b *Board) unknown(name string) string {
	names := b.Names()
	if len(names) == 0 {
		return "upstream: the config names none"
	}
	return fmt.Sprintf("upstream: %+.128q is neither configured nor what a dynamic source gave last, expected %s", name, listed(names))
}

// listed names the first of a list.
func listed(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	more := ""
	if len(names) > maxNamed {
		more = fmt.Sprintf(" (and %d more)", len(names)-maxNamed)
		names = names[:maxNamed]
	}
	shown := make([]string, 0, len(names))
	for _, name := range names {
		shown = append(shown, fmt.Sprintf("%+.128q", name))
	}
	return "one of " + strings.Join(shown, ", ") + more
}

// Asked is what came of asking.
type Asked struct {
	// Heard is what was heard of the request, which By chose.
	Heard  *listen.Heard
	Method string
	Host   string
	URL    *url.URL
	By     failure.ProbeBy
	Told   listen.Told
	// Check is what the active health check makes of the answer; nil where it was not asked
	// for.
	Check *listen.CheckResult
	// Spoken is what else was tried.
	Spoken   []listen.Spoken
	NotTried []failure.NotTried
	// Finished is closed when nothing of it goes on any more: there are transports that don't
	// heed a context.
	Finished <-chan struct{}
}

// answered is the status that was answered, 0 for none.
func (a *Asked) answered() int { return a.Heard.Response.Status }

// Ask asks once, and looks what else is spoken there. Nothing of it counts: neither the
// handler nor its pool know of it. It takes ProbeTimeout at most, and less where ctx has an
// earlier deadline; its error is that of who has left, and Asked has Finished then, too.
func (t *Target) Ask(ctx context.Context) (*Asked, error) {
	whole, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	deadline, _ := whole.Deadline()
	patience := time.Until(deadline)
	waiting, stop := context.WithTimeout(whole, forRequest(patience))
	defer stop()
	asked, p := t.ask(waiting, "")
	if status := asked.answered(); asked.By == failure.ProbeByDefault && (status == http.StatusBadRequest || status == http.StatusForbidden && t.via.tls) {
		// To a HEAD nobody says why: a TLS port, or one of HTTP/2 alone, does so in its
		// answer's body.
		p.own.close()
		again, other := t.ask(waiting, http.MethodGet)
		again.NotTried = append(again.NotTried, failure.NotTried{What: "HEAD", Why: fmt.Sprintf("it was answered %d, so that GET was asked, whose answer may say why", status)})
		asked, p = again, other
	} else if asked.Method == http.MethodHead && status > 0 {
		asked.NotTried = append(asked.NotTried, failure.NotTried{What: "the answer's body", Why: "HEAD has none"})
	}
	defer func() { p.own.close() }()
	if errors.Is(ctx.Err(), context.Canceled) {
		return asked, ctx.Err()
	}
	asked.Spoken = p.speakOtherwise(whole, asked)
	if errors.Is(ctx.Err(), context.Canceled) {
		return asked, ctx.Err()
	}
	return asked, nil
}

// forRequest is the part of a probe's time in which the request is waited for.
func forRequest(patience time.Duration) time.Duration {
	return patience - min(probeCheckTimeout+probeMargin, patience/4)
}

// probe is one request under way.
type probe struct {
	*Target
	request *http.Request
	by      failure.ProbeBy
	own     ownTransport
	// finished is closed when the exchange is over.
	finished chan struct{}

	mu sync.Mutex // guards what follows
	// over says that nobody waits any more.
	over bool
	// err ended the round trip, status is that of an answer, which broke off where broke says
	// so; check is what the active health check makes of it.
	err    error
	status int
	broke  bool
	check  *listen.CheckResult
	told   listen.Told
	state  *tls.ConnectionState
}

// ask sends a request by a transport that is as the handler's, with connections of its own.
// A method other than "" stands in for the default one.
func (t *Target) ask(ctx context.Context, method string) (*Asked, *probe) {
	p := &probe{Target: t, finished: make(chan struct{})}
	asked := &Asked{NotTried: []failure.NotTried{}, Finished: p.finished}
	p.request, p.by = t.newRequest(ctx, method, asked)
	asked.By, asked.Method, asked.Host, asked.URL = p.by, p.request.Method, p.request.Host, p.request.URL
	p.own = t.ownTransport(replacerOf(p.request.Context()))
	asked.NotTried = append(asked.NotTried, p.own.notTried...)

	// Who has asked waits no longer than ctx, which is no client's leaving.
	listened := p.request.WithContext(context.WithoutCancel(p.request.Context()))
	l := listen.To(make(discard), listened, nil)
	_, _ = Attach(listened, l, Place{Heard: true})
	if t.via.source != "" && t.name == t.via.source {
		l.LookedUp(t.via.limits, t.via.source, nil, nil, nil)
	}
	l.Selected(t.name, t.via.learntOf(t.dial).Copy(), t.via.limits)
	patience := ProbeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	err, broke := p.exchange(ctx, l)
	status := 0
	if err != nil {
		status = http.StatusBadGateway
	}
	heard := l.Seal(err, status, broke)
	heard.Patience = max(patience, 1)
	asked.Heard = heard
	p.mu.Lock()
	defer p.mu.Unlock()
	asked.Check, asked.Told = p.check, p.told
	asked.Told.Handshake = p.handshake(heard)
	return asked, p
}

// exchange does the round trip and reads the answer, and waits for neither beyond ctx: not
// all transports heed it. broke says that the answer broke off.
func (p *probe) exchange(ctx context.Context, l *listen.Listener) (err error, broke bool) { //nolint:revive // as Seal takes them
	r := p.request.WithContext(httptrace.WithClientTrace(p.request.Context(), p.trace(l)))
	began := time.Now()
	go func() {
		defer close(p.finished)
		defer func() {
			if fault := recover(); fault != nil { // a transport may not bear such a request
				p.end(func() {
					p.err = fmt.Errorf("the transport panicked: %v", fault)
					l.GivenUp(p.err)
				})
			}
		}()
		res, err := p.own.RoundTrip(r)
		if err != nil {
			p.end(func() { p.err = err })
			return
		}
		defer res.Body.Close()
		p.end(func() {
			p.status = res.StatusCode
			p.told.Server, p.told.Via = strings.Join(res.Header.Values("Server"), ", "), strings.Join(res.Header.Values("Via"), ", ")
			if res.StatusCode != http.StatusSwitchingProtocols { // which nobody has asked for
				l.WriteHeader(res.StatusCode)
			}
		})
		if listen.Unpassable(res.StatusCode) {
			p.end(func() { p.broke = true }) // as reverse_proxy's panic
			return
		}
		var check *listen.CheckResult
		if p.by == failure.ProbeByHealthCheck {
			check = p.healthOf(res, time.Since(began))
		}
		_, err = io.CopyN(io.Discard, res.Body, maxProbeBody)
		p.end(func() {
			p.check = check
			p.broke = err != nil && err != io.EOF && ctx.Err() == nil
		})
	}()
	select {
	case <-p.finished:
	case <-ctx.Done():
		select {
		case <-p.finished:
		case <-time.After(probeGrace):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.err == nil && p.status == 0 {
		p.err = ctx.Err()
		l.GivenUp(p.err)
	}
	if p.err != nil {
		return caddyhttp.Error(http.StatusBadGateway, p.err), false
	}
	return nil, p.broke
}

// healthOf is what the active health check makes of an answer that took so long.
func (p *probe) healthOf(res *http.Response, took time.Duration) *listen.CheckResult {
	a := p.via.proxy.HealthChecks.Active
	if timeout := cmp.Or(time.Duration(a.Timeout), defaultCheckTimeout); took > timeout {
		return &listen.CheckResult{At: time.Now(), Err: fmt.Errorf("none within health_timeout %s", timeout)}
	}
	check := checkResult(res, a)
	checkBody(check, res.Body, a)
	return check
}

// end keeps what the exchange has come to, unless nobody waits for it any more.
func (p *probe) end(keep func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		keep()
	}
}

// trace hears what the ear does not keep.
func (p *probe) trace(l *listen.Listener) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
			l.WriteHeader(status)
			return nil
		},
		DNSDone: func(info httptrace.DNSDoneInfo) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, address := range info.Addrs {
				p.told.Addresses = append(p.told.Addresses, address.String())
			}
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if err == nil {
				p.state = &state
			}
		},
	}
}

// handshake is what TLS tells. The caller holds the lock.
func (p *probe) handshake(heard *listen.Heard) *failure.Handshake {
	if p.state != nil {
		return handshakeOf(p.state, p.own.tls, p.own.name)
	}
	if len(heard.Attempts) == 0 {
		return nil
	}
	a := &heard.Attempts[len(heard.Attempts)-1]
	errs := []error{a.Err}
	if a.Dialing != nil {
		errs = append(errs, a.Dialing.TLSErr)
	}
	for _, err := range errs {
		if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(refused.UnverifiedCertificates) > 0 {
			return &failure.Handshake{ServerName: p.own.name, Certificate: certificateOf(refused.UnverifiedCertificates[0], refused.Err)}
		}
	}
	return nil
}

// newRequest is the request to ask with: that of the active health check where there is one
// that asks this very address, else the plainest there is. It says what it leaves out.
func (t *Target) newRequest(ctx context.Context, method string, asked *Asked) (*http.Request, failure.ProbeBy) {
	ctx = t.context(ctx)
	leaveOut := func(what, why string) {
		asked.NotTried = append(asked.NotTried, failure.NotTried{What: what, Why: why})
	}
	if t.via.limits.ActiveChecks && t.name != t.via.source {
		a := t.via.proxy.HealthChecks.Active
		if a.Upstream != "" || a.Port != 0 {
			leaveOut("the active health check's request", "it is for another address or port (health_upstream, health_port)")
		} else if r := checkRequest(ctx, t.bareTransport(), a, t.dial); r != nil {
			t.direct(r)
			return r, failure.ProbeByHealthCheck
		}
	}
	if t.via.proxy.Rewrite != nil {
		leaveOut("rewrite and method of reverse_proxy", "they are for a client's request")
	}
	if method == "" {
		method = http.MethodHead
	}
	repl := caddy.NewReplacer()
	info := t.dialInfo()
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, repl)
	ctx = context.WithValue(ctx, dialInfoKey, info)
	host := t.via.host
	if host == "" || strings.ContainsAny(host, "*{") {
		host = info.Address
		if strings.HasPrefix(info.Network, "unix") {
			host = "localhost"
		}
	}
	r := (&http.Request{
		Method: method, URL: &url.URL{Path: "/", Host: info.Address}, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {probeAgent}, "Via": {"1.1 Caddy"}}, RemoteAddr: probeFrom + ":0",
	}).WithContext(ctx)
	proto := "http"
	if len(t.via.server.TLSConnPolicies) > 0 {
		proto = "https"
	}
	r.Header.Set("X-Forwarded-For", probeFrom)
	r.Header.Set("X-Forwarded-Proto", proto)
	r.Header.Set("X-Forwarded-Host", host)
	repl.Set("http.reverse_proxy.upstream.address", info.String())
	repl.Set("http.reverse_proxy.upstream.hostport", info.Address)
	repl.Set("http.reverse_proxy.upstream.host", info.Host)
	repl.Set("http.reverse_proxy.upstream.port", info.Port)
	if of, ok := t.bareTransport().(reverseproxy.RequestHeaderOpsTransport); ok {
		if ops := of.RequestHeaderOps(); ops != nil {
			ops.ApplyToRequest(r)
		}
	}
	if h := t.via.proxy.Headers; h != nil && h.Request != nil {
		ops, left := fillable(h.Request)
		ops.ApplyToRequest(r)
		for _, field := range left {
			leaveOut("header_up "+field, "it has a placeholder, which only a client's request fills in")
		}
	}
	t.direct(r)
	return r.WithContext(context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, *r)), failure.ProbeByDefault
}

// context has what reverse_proxy's transports look for in that of a request.
func (t *Target) context(ctx context.Context) context.Context {
	vars := map[string]any{proxyProtocolVar: reverseproxy.ProxyProtocolInfo{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(probeFrom), 0)}}
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, vars)
	return context.WithValue(ctx, caddyhttp.ServerCtxKey, t.via.server)
}

// proxyProtocolVar is where Caddy's transport finds who is named in a PROXY header
// (reverseproxy/hosts.go, proxyProtocolInfoVarKey).
const proxyProtocolVar = "reverse_proxy.proxy_protocol_info"

// direct lets a request's URL tell as whose it is sent, as reverse_proxy does where a PROXY
// header goes before it.
func (t *Target) direct(r *http.Request) {
	repl := replacerOf(r.Context())
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	repl.Set("http.request.host", name) // tls_server_name may have it
	repl.Set("http.request.hostport", r.Host)
	if t.via.limits.ProxyProtocol != "" {
		r.URL.Host = url.QueryEscape(probeFrom + ":0->" + r.URL.Host)
	}
}

func (t *Target) dialInfo() reverseproxy.DialInfo {
	at, _ := caddy.ParseNetworkAddress(t.dial) // see resolve
	return reverseproxy.DialInfo{
		Upstream: &reverseproxy.Upstream{Dial: t.dial}, Network: at.Network, Address: at.JoinHostPort(0),
		Host: at.Host, Port: fmt.Sprint(at.StartPort),
	}
}

// fillable are those of header operations that need no client's request, and the names of
// the fields that do.
func fillable(ops *headers.HeaderOps) (known headers.HeaderOps, left []string) {
	fits := func(field string, texts ...string) bool {
		for _, text := range append(texts, field) {
			if failure.Expands(upstreamPlaceholders.Replace(text)) {
				left = append(left, field)
				return false
			}
		}
		return true
	}
	some := func(from http.Header) http.Header {
		kept := make(http.Header)
		for field, values := range from {
			if fits(field, values...) {
				kept[field] = values
			}
		}
		return kept
	}
	known.Add, known.Set = some(ops.Add), some(ops.Set)
	for _, field := range ops.Delete {
		if fits("-" + field) {
			known.Delete = append(known.Delete, field)
		}
	}
	known.Replace = make(map[string][]headers.Replacement)
	for field, replacements := range ops.Replace {
		for _, one := range replacements {
			if fits(field, one.Search, one.SearchRegexp, one.Replace) {
				known.Replace[field] = append(known.Replace[field], one)
			}
		}
	}
	slices.Sort(left)
	return known, slices.Compact(left)
}

// upstreamPlaceholders are those that are known of an upstream without a request.
var upstreamPlaceholders = strings.NewReplacer(
	"{http.reverse_proxy.upstream.address}", "", "{http.reverse_proxy.upstream.hostport}", "",
	"{http.reverse_proxy.upstream.host}", "", "{http.reverse_proxy.upstream.port}", "",
)

func replacerOf(ctx context.Context) *caddy.Replacer {
	repl, _ := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl
}

// discard is an http.ResponseWriter that nobody reads.
type discard http.Header

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
