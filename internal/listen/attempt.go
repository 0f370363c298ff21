package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// ErrNotHeard stands for the error of an attempt that failed where no ear could
// be put into the transport.
var ErrNotHeard = errors.New("the attempt failed; its error could not be heard")

// LiveAttempt is an attempt under way. Its hooks belong to it alone: what a hook
// of an earlier attempt says late is not heard.
type LiveAttempt struct {
	Attempt

	l *Listener
	// trace is the httptrace.ClientTrace that this attempt has for itself: its
	// identity for a dial that begins late.
	trace *httptrace.ClientTrace
	// conn is the connection that the attempt got, at.
	conn httptrace.GotConnInfo
	at   time.Duration
	// number is which of the connection's requests it is.
	number int32
	// unwanted says that the answer is held back, so that nobody waits for what is to
	// come of it: it may have no end. Who closes it without having read that ends its
	// connection.
	unwanted atomic.Bool

	// uploadedBefore is how long the client had been waited for before, to send its body: all
	// of it may have been buffered then.
	uploadedBefore time.Duration

	requestBody  requestBody
	responseBody responseBody
}

// Handled hears that the owner's own routes (handle_response) take the answer: what
// comes of it is not the upstream's own.
func (a *LiveAttempt) Handled() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.handled = true
}

// Through hears that the attempt went by a forward proxy, which may be named by the
// process's environment, and whether a user is named to it.
func (a *LiveAttempt) Through(proxy string, fromEnvironment, user bool) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() {
		a.ForwardProxy, a.FromEnvironment, a.ProxyUser = proxy, fromEnvironment, user
	}
}

// KeepCopied hears that they copy fields of this header to the client's request.
func (a *LiveAttempt) KeepCopied(answer http.Header) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() {
		a.Copied = answer
	}
}

// live says whether a is what l listens to. The caller holds the lock.
func (a *LiveAttempt) live() bool { return a.l.current == a && !a.l.sealed.Load() }

// succeeded hears that the attempt is over, with an answer of that status, and tells the
// upstream's past where it was whole and no error of a server. The caller holds the lock.
func (a *LiveAttempt) succeeded(status int) {
	if status < http.StatusSwitchingProtocols || status >= http.StatusInternalServerError || a.Body.Err != nil || status == StatusClientClosedRequest && a.Status == 0 {
		return
	}
	over := max(a.End, a.Answered)
	if over == 0 {
		over = a.l.now()
	}
	a.Past.Succeeded(a.l.start + over)
}

// freeze gives what is known of a, which is not live from here on: late hooks change
// nothing of it. The caller holds the lock.
func (a *LiveAttempt) freeze() Attempt {
	frozen := a.Attempt
	if frozen.End == 0 {
		frozen.End = a.l.now()
	}
	frozen.Body.Reading = a.responseBody.waited.total()
	if b := a.l.body; b != nil {
		frozen.Uploading = b.waited.total() - a.uploadedBefore
	}
	frozen.Before = a.Past.before(a.l.now())
	if a.at > 0 {
		c := &Connection{At: a.at, Reused: a.conn.Reused, WasIdle: a.conn.WasIdle, Idle: a.conn.IdleTime}
		if a.conn.Conn != nil {
			c.LocalAddress = addressOf(a.conn.Conn.LocalAddr())
			c.RemoteAddress = addressOf(a.conn.Conn.RemoteAddr())
		}
		if wire, encrypted := wireOf(a.conn.Conn); wire != nil {
			link, carried := wire.heard(a.number, a.l.start)
			switch c.Link = link; {
			case link == nil:
				c.HandedOn = true
			case !link.Shared:
				carried.Encrypted = encrypted
				c.Carried = carried
			case !encrypted:
				c.Opening = carried.Head
			}
		}
		if secure, ok := a.conn.Conn.(*tls.Conn); ok {
			state := secure.ConnectionState()
			c.ServerName, c.TLSVersion, c.CipherSuite = state.ServerName, state.Version, state.CipherSuite
		}
		frozen.Connection = c
		frozen.passOverInterim()
	} else if frozen.Dialing != nil && frozen.Dialing.wire != nil {
		d := *frozen.Dialing
		d.Link, d.Carried = d.wire.heard(0, a.l.start)
		frozen.Dialing = &d
	}
	return frozen
}

// passOverInterim takes back that a byte of an answer came, where it was of an interim
// answer alone: the trace's hook tells of that, too.
func (a *Attempt) passOverInterim() {
	if a.FirstByte == 0 || a.Answered > 0 {
		return
	}
	interim, only := a.Connection.Carried.onlyInterim(int(a.Interim))
	if a.Interim = int32(interim); only {
		a.FirstByte = 0
	}
}

func addressOf(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}

// Trip is a round trip that a transport is asked for.
type Trip struct {
	Network, Address string
	// Protocol is "" where a TLS handshake decides it.
	Protocol string
	TLS      bool
	// Request is the one that goes out.
	Request *http.Request
	// Trace is the trace that the attempt has for itself, nil where it has none.
	Trace *httptrace.ClientTrace
}

// RoundTrip hears that a transport is asked for a round trip, by an ear in it: for
// the attempt that was selected last, or where that one has been sent, for another
// of the handler with these limits.
func (l *Listener) RoundTrip(limits *failure.Limits, trip Trip) *LiveAttempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.current
	if a == nil || a.Sent > 0 || a.Limits != limits {
		a = l.begin(limits)
	}
	l.exact = true
	a.Exact = true
	a.Sent = l.now()
	a.Network, a.Address, a.Protocol, a.TLS = trip.Network, trip.Address, trip.Protocol, trip.TLS
	if a.Request = trip.Request; a.Request != nil {
		a.Asks = l.asks(a.Request.Method)
	}
	if a.trace = trip.Trace; a.trace != nil {
		a.hear(a.trace)
	}
	return a
}

// asks says that what goes out by this method is not the client's request but a
// question of the owner's, which changes nothing. A WebSocket that HTTP/2 or 3 asks for
// by CONNECT goes out as HTTP/1.1 has it.
func (l *Listener) asks(method string) bool {
	if method == l.method || l.method == http.MethodConnect {
		return false
	}
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// SentUnheard hears that the round trip of r is about to begin where no ear can hear its
// end. The protocol is "" where it isn't known.
func (a *LiveAttempt) SentUnheard(r *http.Request, protocol string, usesTLS bool) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.Sent, a.Protocol, a.TLS = a.l.now(), protocol, usesTLS
	a.Request, a.Asks = r, a.l.asks(r.Method)
}

// hear sets the hooks that cost least on the attempt's own trace, and chains what is
// there.
func (a *LiveAttempt) hear(trace *httptrace.ClientTrace) {
	if before := trace.GotConn; before == nil {
		trace.GotConn = a.gotConn
	} else {
		trace.GotConn = func(info httptrace.GotConnInfo) { a.gotConn(info); before(info) }
	}
	if before := trace.WroteRequest; before == nil {
		trace.WroteRequest = a.wroteRequest
	} else {
		trace.WroteRequest = func(info httptrace.WroteRequestInfo) { a.wroteRequest(info); before(info) }
	}
	if before := trace.GotFirstResponseByte; before == nil {
		trace.GotFirstResponseByte = a.gotFirstResponseByte
	} else {
		trace.GotFirstResponseByte = func() { a.gotFirstResponseByte(); before() }
	}
	if !a.TLS {
		return
	}
	if before := trace.TLSHandshakeDone; before == nil {
		trace.TLSHandshakeDone = a.tlsHandshakeDone
	} else {
		trace.TLSHandshakeDone = func(state tls.ConnectionState, err error) {
			a.tlsHandshakeDone(state, err)
			before(state, err)
		}
	}
}

// Trace is a trace of all hooks, for where the dialer can't be listened to.
func (a *LiveAttempt) Trace() *httptrace.ClientTrace {
	trace := &httptrace.ClientTrace{
		GotConn:              a.gotConn,
		WroteRequest:         a.wroteRequest,
		GotFirstResponseByte: a.gotFirstResponseByte,
		TLSHandshakeDone:     a.tlsHandshakeDone,
	}
	a.HearDial(trace)
	return trace
}

// HearDial sets the hooks of dialling on trace.
func (a *LiveAttempt) HearDial(trace *httptrace.ClientTrace) {
	trace.DNSStart, trace.DNSDone = a.dnsStart, a.dnsDone
	trace.ConnectStart, trace.ConnectDone = a.connectStart, a.connectDone
}

func (a *LiveAttempt) gotConn(info httptrace.GotConnInfo) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return
	}
	if a.at > 0 && a.FirstByte == 0 {
		// HTTP/2 tells of the same connection twice.
		if a.conn.Conn == info.Conn {
			return
		}
		a.silentRetry()
	}
	a.conn, a.at = info, a.l.now()
	ourPorts.add(info.Conn)
	a.hearTLS(info.Conn)
	if wire, encrypted := wireOf(info.Conn); wire != nil {
		a.number = wire.begin(!info.Reused, encrypted, isHTTP2(info.Conn))
	}
}

// hearTLS names the protocol that was negotiated for a connection. The caller holds
// the lock.
func (a *LiveAttempt) hearTLS(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok && a.Protocol == "" {
		a.Protocol = negotiated(c.ConnectionState())
	}
}

func negotiated(state tls.ConnectionState) string {
	if state.NegotiatedProtocol == "h2" {
		return "h2"
	}
	return "http/1.1"
}

// silentRetry hears that Go's transport tries again by itself: the connection
// that this attempt had died before the first byte. The caller holds the lock.
func (a *LiveAttempt) silentRetry() {
	dead := a.freeze()
	dead.Silent = true
	dead.End = a.l.now()
	a.l.troubled = true
	a.l.keep(dead)
	a.l.count++
	a.Attempt = Attempt{
		Upstream: a.Upstream, Past: a.Past, Limits: a.Limits, Exact: a.Exact, Asks: a.Asks, handled: a.handled,
		Network: a.Network, Address: a.Address, ForwardProxy: a.ForwardProxy, FromEnvironment: a.FromEnvironment, ProxyUser: a.ProxyUser,
		Protocol: a.Protocol, TLS: a.TLS, Request: a.Request, Start: dead.End, Sent: dead.End, RequestBytes: a.RequestBytes,
	}
	a.at = 0
}

func (a *LiveAttempt) wroteRequest(info httptrace.WroteRequestInfo) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() && a.Wrote == 0 && a.at > 0 {
		a.Wrote, a.WriteErr = a.l.now(), info.Err
	}
}

func (a *LiveAttempt) gotFirstResponseByte() {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() && a.FirstByte == 0 {
		a.FirstByte = a.l.now()
	}
}

func (a *LiveAttempt) tlsHandshakeDone(state tls.ConnectionState, err error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return
	}
	d := a.dialing()
	if d.TLSDone, d.TLSErr = a.l.now(), err; err == nil {
		a.hearHandshake(d, &state)
	}
}

// dialing gives what is heard of the dial. The caller holds the lock.
func (a *LiveAttempt) dialing() *Dialing {
	if a.Dialing == nil {
		a.Dialing = &Dialing{Start: a.l.now()}
	}
	return a.Dialing
}

// Dial hears that a connection is dialled for the attempt whose own trace is in
// ctx, and gives the context to dial with. Where no attempt of l or of those
// around it has that trace, it gives nil.
func (l *Listener) Dial(ctx context.Context) (*LiveAttempt, context.Context) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return nil, ctx
	}
	for ; l != nil; l = l.outer {
		l.mu.Lock()
		a := l.current
		if a == nil || a.trace != trace || l.sealed.Load() {
			l.mu.Unlock()
			continue
		}
		if a.at > 0 && a.conn.WasIdle && a.FirstByte == 0 {
			a.silentRetry()
		}
		a.dialing()
		l.mu.Unlock()
		hooks := new(httptrace.ClientTrace)
		a.HearDial(hooks)
		if trace.DNSStart == nil && trace.DNSDone == nil && trace.ConnectStart == nil && trace.ConnectDone == nil {
			return a, dialContext{ctx, httptrace.WithClientTrace(context.Background(), hooks)}
		}
		return a, httptrace.WithClientTrace(ctx, hooks)
	}
	return nil, ctx
}

// dialContext is the context of a dial with the hooks that are in trace: what
// httptrace.WithClientTrace gives where there is none to chain to, which it does by
// reflection even then.
type dialContext struct {
	context.Context
	trace context.Context
}

// Value implements context.Context.
func (c dialContext) Value(key any) any {
	if value := c.trace.Value(key); value != nil {
		return value
	}
	return c.Context.Value(key)
}

// Dialed hears how the dial ended.
func (a *LiveAttempt) Dialed(err error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() {
		d := a.dialing()
		d.End, d.Err = a.l.now(), err
	}
}

// PastOfUpstream is the past of the upstream that the attempt is made at; nil where nobody
// keeps it. A dial may outlast its attempt, so that it asks while another is begun.
func (a *LiveAttempt) PastOfUpstream() *Past {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	return a.Past
}

// Wired hears by which connection the dial ended.
func (a *LiveAttempt) Wired(conn net.Conn) {
	w, ok := conn.(*Wire)
	if !ok {
		return
	}
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() {
		a.dialing().wire = w
	}
}

func (a *LiveAttempt) dnsStart(info httptrace.DNSStartInfo) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.live() {
		a.dialing().Lookup = &Lookup{Host: info.Host, Start: a.l.now()}
	}
}

func (a *LiveAttempt) dnsDone(info httptrace.DNSDoneInfo) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return
	}
	d := a.dialing()
	if d.Lookup == nil {
		d.Lookup = &Lookup{Start: a.l.now()}
	}
	d.Lookup.End, d.Lookup.Err = a.l.now(), info.Err
}

// resolving says that a connect is the resolver's own. The caller holds the lock.
func (d *Dialing) resolving() bool { return d.Lookup != nil && d.Lookup.End == 0 }

func (a *LiveAttempt) connectStart(network, address string) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return
	}
	d := a.dialing()
	if !d.resolving() && len(d.Connects) < MaxConnects {
		d.Connects = append(d.Connects, Connect{Network: network, Address: address, Start: a.l.now()})
	}
}

func (a *LiveAttempt) connectDone(network, address string, err error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return
	}
	d := a.dialing()
	if d.resolving() {
		return
	}
	if err == nil {
		a.hearConnected(d)
	}
	for i := range d.Connects {
		c := &d.Connects[i]
		if c.End == 0 && c.Network == network && c.Address == address {
			c.End, c.Err = a.l.now(), err
			return
		}
	}
	if len(d.Connects) < MaxConnects {
		d.Connects = append(d.Connects, Connect{Network: network, Address: address, Start: a.l.now(), End: a.l.now(), Err: err})
	}
}

// Ended hears how the round trip ended: with an answer, whose body is listened
// to from here on, or with the transport's exact error. dialErr says that the
// transport calls it a dial error. It gives what nearly went wrong until then, nil for
// nothing.
func (a *LiveAttempt) Ended(res *http.Response, err error, dialErr bool) (near *Near) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return nil
	}
	a.hearCertificate()
	if err != nil {
		a.End = a.l.now()
		a.Err, a.DialErr = err, dialErr
		a.l.troubled = true
		return a.nearMisses()
	}
	a.Answered = a.l.now()
	near = a.nearMisses()
	a.Status = res.StatusCode
	if a.l.sampled {
		a.Server = serverOf(res.Header)
	}
	a.Past.Answered(a.conn.IdleTime)
	if wire, _ := wireOf(a.conn.Conn); wire != nil && res.StatusCode != http.StatusSwitchingProtocols {
		wire.answered(a.number, a.method(), res)
	}
	if a.Limits != nil && a.Limits.AnswersCount && a.Limits.Counts(a.Status, a.Answered-a.Sent) {
		a.Past.Counts(a.Status, a.Answered-a.Sent)
	}
	if a.Protocol == "" {
		a.Protocol = protocolOf(res, a.TLS)
	}
	a.Body.Expected = res.ContentLength
	if a.Body.Uncompressed = res.Uncompressed; res.Uncompressed || unannounced(res) {
		a.Body.Expected = -1
	}
	if Unpassable(res.StatusCode) && a.l.answers && a.l.before == nil {
		// Nothing of the answer is in it yet.
		a.l.before = a.l.ResponseWriter.Header().Clone()
		if a.l.before == nil {
			a.l.before = make(http.Header)
		}
	}
	if a.asksOtherwise(res) || res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusSwitchingProtocols || Unpassable(res.StatusCode) || a.ForwardProxy != "" {
		a.Header = received(res.Header)
		if wish := a.l.wish; wish != nil {
			a.Header[clientUpgrade] = []string{wish.upgrade}
			a.Header[clientConnection] = []string{wish.connection}
			if came := wishOf(a.l.request); came != *wish {
				a.Header[passedUpgrade] = []string{came.upgrade}
				a.Header[passedConnection] = []string{came.connection}
			}
		}
		if res.Close {
			a.Header[closes] = nil
		}
	}
	switch {
	case res.Body == nil, res.Body == http.NoBody:
		a.Body.Ended = true
		a.rest()
	case res.StatusCode == http.StatusSwitchingProtocols:
		// An upgrade's body is the connection itself and must stay an io.ReadWriteCloser.
	default:
		a.responseBody.ReadCloser, a.responseBody.a = res.Body, a
		res.Body = &a.responseBody
	}
	return near
}

// unannounced says that an answer of FastCGI has no length, which Caddy's transport calls
// 0: it names no protocol.
func unannounced(res *http.Response) bool {
	return res.ProtoMajor == 0 && res.ContentLength == 0 && res.Header.Get("Content-Length") == ""
}

// method is that of the request as it went out.
func (a *LiveAttempt) method() string {
	if a.Request != nil {
		return a.Request.Method
	}
	return a.l.method
}

// rest hears that all of the answer came, so that the connection is idle.
func (a *LiveAttempt) rest() {
	if wire, _ := wireOf(a.conn.Conn); wire != nil {
		wire.rest(a.number)
	}
}

// hearBeyond hears what has come by now after the answer's end. Of a body that is longer
// than its length the client has lost a part.
func (a *LiveAttempt) hearBeyond() {
	wire, _ := wireOf(a.conn.Conn)
	if wire == nil || !a.Body.Ended || hasNoBody(a.method(), a.Status) {
		return
	}
	if a.Past.overruns() {
		runtime.Gosched() // who reads the connection may see it a moment later
	}
	if beyond := wire.beyond(a.number); beyond != nil && !beyond.Blank() {
		a.Body.Beyond = beyond
	}
}

// protocolOf names the protocol of an answer.
func protocolOf(res *http.Response, usesTLS bool) string {
	switch res.ProtoMajor {
	case 1:
		return "http/1.1"
	case 2:
		if usesTLS {
			return "h2"
		}
		return "h2c"
	case 3:
		return "h3"
	}
	return ""
}

// asksOtherwise hears whether an answer that is no error of the upstream's may be one to
// how it was asked: a status that says so, a sentence that may stand in its body, or the
// status of gRPC in its header. The caller holds the lock.
func (a *LiveAttempt) asksOtherwise(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusBadRequest:
		a.wanting = true
	case http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusHTTPVersionNotSupported:
		a.wanting = true
	case http.StatusLengthRequired, http.StatusNotImplemented:
		a.wanting = a.LengthUntold()
	case http.StatusNotFound:
		a.wanting = a.Protocol == ProtocolFastCGI // php-fpm's own, which has no such script
	case http.StatusForbidden:
		// Node's server of HTTP/2 alone says so in HTTP/1.0: applications answer in 1.1.
		// Apache can't be told by more than its name. An application may refuse its own
		// address for a Host, or the page that opens a WebSocket.
		node := res.ProtoMajor == 1 && res.ProtoMinor == 0
		a.wanting = a.TLS && (node || strings.HasPrefix(res.Header.Get("Server"), "Apache")) || a.HostIsAddress() || a.l.wish != nil || a.Protocol == ProtocolFastCGI
	case http.StatusOK:
		if code := res.Header["Grpc-Status"]; len(code) > 0 && code[0] == grpcUnavailable {
			a.wanting = strings.HasPrefix(res.Header.Get("Content-Type"), "application/grpc")
		}
	}
	return a.wanting
}

// saysInBody says that a server may say in the body of an answer with this status how it
// wants to be asked.
func saysInBody(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusNotImplemented:
		return true
	}
	return false
}

// grpcUnavailable is gRPC's own 503.
const grpcUnavailable = "14"

// received keeps what an answer says of who gave it, and of what it wants.
func received(header http.Header) http.Header {
	kept := make(http.Header)
	for _, field := range []string{"Server", "Via", "Retry-After", "Proxy-Status", "Connection", "Upgrade", "Sec-Websocket-Version", "Grpc-Status", "Grpc-Message"} {
		if values := header.Values(field); len(values) > 0 {
			kept[field] = append([]string(nil), values...)
		}
	}
	return kept
}

// RequestBody listens to how much of the request's body the transport reads.
func (a *LiveAttempt) RequestBody(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.RequestBytes = 0
	if b := a.l.body; b != nil {
		a.uploadedBefore = b.waited.total()
	}
	a.requestBody = requestBody{ReadCloser: body, a: a}
	return &a.requestBody
}

// requestBody counts what a transport reads of the request's body. HTTP/2 may close it
// from another goroutine while it is read, and read it after that; what Caddy puts
// around a body can't bear either (reverseproxy.go, bodyNopCloserIfNotRead). So who
// reads closes it then, and nothing is read any more. The read itself is broken off at
// the client's end, or the failure would wait for what the client sends next.
type requestBody struct {
	io.ReadCloser
	a *LiveAttempt
	// All are guarded by the listener's lock. begun says that something has been read:
	// Caddy closes no body before that, for the next attempt.
	reading, begun, closed bool
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	if !b.beginRead() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	if closed := b.endRead(n, err); closed {
		_ = b.ReadCloser.Close() // who closed it waits for no answer
	}
	return n, err
}

func (b *requestBody) beginRead() bool {
	b.a.l.mu.Lock()
	defer b.a.l.mu.Unlock()
	b.reading = !b.closed
	return b.reading
}

func (b *requestBody) endRead(n int, err error) (closed bool) {
	b.a.l.mu.Lock()
	defer b.a.l.mu.Unlock()
	if b.a.live() {
		b.a.RequestBytes += int64(n)
		if err != nil && !b.closed && b.a.RequestErr == nil {
			b.a.RequestErr = err
		}
	}
	b.reading = false
	b.begun = b.begun || n > 0
	return b.closed
}

// Close implements io.Closer.
func (b *requestBody) Close() error {
	b.a.l.mu.Lock()
	b.closed = true
	reading, begun := b.reading, b.begun
	b.a.l.mu.Unlock()
	switch {
	case !reading:
		return b.ReadCloser.Close()
	case begun:
		return b.a.l.body.breakOff()
	}
	return nil
}

// keepsStart says that an answer's body may say who wrote it, or how its server wants to be
// asked.
func keepsStart(a *Attempt) bool {
	switch a.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return a.wanting && saysInBody(a.Status)
}

// responseBody hears the exact error that breaks an answer's body.
type responseBody struct {
	io.ReadCloser
	a      *LiveAttempt
	waited waiting
}

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	if b.a.unwanted.Load() {
		return 0, io.EOF
	}
	b.waited.begin()
	n, err := b.ReadCloser.Read(p)
	at := b.waited.end()
	a := b.a
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.live() {
		return n, err
	}
	if keepsStart(&a.Attempt) && len(a.Body.Start) < MaxBodyStart {
		a.Body.Start = append(a.Body.Start, p[:min(n, MaxBodyStart-len(a.Body.Start))]...)
		if a.Status == http.StatusNotFound && n > 0 && !bytes.HasPrefix(a.Body.Start, []byte(NoScript)[:min(len(NoScript), len(a.Body.Start))]) {
			a.wanting = false // an application's own, as most are
		}
	}
	a.Body.Bytes += int64(n)
	if n > 0 {
		a.Body.Last = at - a.l.start
	}
	switch {
	case err == io.EOF:
		a.Body.Ended = true
		a.End = a.l.now()
		a.rest()
		if a.Body.Bytes < a.Body.Expected && !hasNoBody(a.method(), a.Status) {
			// HTTP/3's transport takes the end of a stream for that of an answer: the
			// client alone finds out.
			a.Body.Err = io.ErrUnexpectedEOF
			a.l.troubled = true
		}
	case err != nil && a.Body.Err == nil:
		a.Body.Err = err
		a.End = a.l.now()
	}
	return n, err
}
