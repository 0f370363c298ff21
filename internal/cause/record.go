package cause

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// record writes the verdict down.
func record(h *listen.Heard, v verdict) *failure.Failure {
	row, a := v.finding.row, v.attempt
	text, address := errorText(h, a, v.err), ""
	var t *try // of a
	if a != nil {
		t, address = tryOf(h, a), cut(addressOf(a), maxAddress)
	}
	v.finding = v.finding.with(testimony(row, a, address))
	f := &failure.Failure{
		Outcome:      v.outcome,
		Status:       v.status,
		Cause:        row.Name,
		Category:     row.Category,
		ProxyError:   row.ProxyError,
		Phase:        row.Phase,
		Side:         row.Side,
		Limit:        v.finding.limit,
		RequestSent:  requestSent(h, a, h.Elsewhere),
		AttemptCount: max(h.AttemptCount, len(h.Attempts)),
		Attempts:     attempts(h, v, t, text, address),
		Error:        cut(text, maxError),
		DurationMS:   failure.MS(h.Duration),
	}
	if v.finding.proxyError != "" {
		f.ProxyError = v.finding.proxyError
	}
	if v.finding.phase != "" {
		f.Phase = v.finding.phase
	}
	if v.finding.side != "" {
		f.Side = v.finding.side
	}
	if a != nil {
		f.Upstream = cut(a.Upstream, maxAddress)
		if v.outcome == failure.UpstreamAnswered || row == UpstreamStatus || row == ForwardProxyAnswered || unpassable(a) {
			f.Received = receivedOf(a)
		}
	} else {
		f.Upstream = cut(h.Selection.Source, maxAddress)
	}
	if h.Selection.Rounds > 0 && v.outcome == failure.Failed && (a == nil || a.Limits == h.Selection.Limits) {
		for _, c := range h.Selection.Pool[:min(len(h.Selection.Pool), failure.MaxUnavailable)] {
			f.Unavailable = append(f.Unavailable, failure.Unavailable{Upstream: cut(c.Upstream, maxAddress), Reason: c.Reason, Check: checkWords(h.Selection.Limits, c)})
		}
	}
	f.Evidence = evidence(h, v, t)
	upstream := nameOf(h, f.Upstream, address)
	fill := fillIn
	if asConfigured(a) {
		fill = fillOnce
	}
	f.Summary = fill(v.summary(), upstream, address, f.Limit)
	if p, ok := poolOf(h, v, f); ok && row.namesOne() {
		f.Summary = p.summary(f.Summary)
	}
	f.Summary = cut(f.Summary, maxError)
	advice := orText(v.finding.advice, row.Advice)
	if c := connectionOf(a); row == ConnectionLost && v.finding.advice == "" && c != nil && !a.HasAnswer() && (!c.Reused || c.WasIdle && c.Idle < leastForgotten) {
		advice = adviceLost
	}
	if a != nil && a.Protocol == protocolFastCGI {
		advice = wordsOfFastCGI.Replace(advice)
	}
	f.Advice = cut(fill(advice, upstream, address, f.Limit), maxError)
	return f
}

// wordsOfFastCGI say where an upstream of FastCGI is written: mostly in php_fastcgi.
var wordsOfFastCGI = strings.NewReplacer(
	" in reverse_proxy or php_fastcgi", " in php_fastcgi or reverse_proxy",
	" in reverse_proxy", " in php_fastcgi or reverse_proxy",
	"(app:8080)", "(php:9000)",
)

// connectionOf is the connection of an attempt, nil for none; a may be nil.
func connectionOf(a *listen.Attempt) *listen.Connection {
	if a == nil {
		return nil
	}
	return a.Connection
}

// summary is the row's, unless what was seen says more: which status came, or that an
// answer had begun.
func (v verdict) summary() string {
	f, a := v.finding, v.attempt
	if f.summary != "" || a == nil {
		return orText(f.summary, f.row.Summary)
	}
	begun := a.FirstByte > 0 && a.Status == 0 && f.phase == failure.PhaseHeaders
	switch {
	case f.row == HTTPFramingError && a.Protocol == protocolHTTP3:
		return "{upstream} broke the rules of HTTP/3."
	case f.row == HTTPFramingError && (a.Protocol == protocolH2 || a.Protocol == protocolH2C):
		return "{upstream} broke the rules of HTTP/2."
	case f.row == UpstreamStatus && grpcUnavailable(a):
		return "{upstream} itself answered grpc-status 14 (UNAVAILABLE)."
	case f.row == UpstreamStatus && a.Status != 0:
		return "{upstream} itself answered " + strconv.Itoa(a.Status) + "."
	case f.row == ResponseTimeout && begun:
		return "{upstream} began to answer, and did not finish its headers within {limit}."
	case f.row == ReadTimeout && begun:
		return "{upstream} began to answer, and then sent nothing for {limit}."
	}
	return f.row.Summary
}

// requestSent is the highest of all attempts that carried the client's request, of any
// reverse_proxy on its way. Where nobody knows whose an attempt was, it may have been a
// question about the request. elsewhere is how far it came in attempts that aren't listed.
func requestSent(h *listen.Heard, focus *listen.Attempt, elsewhere listen.Reach) failure.Sent {
	maybe, yes := elsewhere.Left, elsewhere.Answered
	for i := range h.Attempts {
		a := &h.Attempts[i]
		if !a.CarriesRequest() {
			continue
		}
		sent := sentBy(a)
		maybe = maybe || sent != failure.SentNo
		yes = yes || sent == failure.SentYes && (a.Limits != nil || a == focus)
	}
	switch {
	case yes:
		return failure.SentYes
	case maybe:
		return failure.SentMaybe
	}
	return failure.SentNo
}

// sentElsewhere is the evidence for a request_sent that no attempt of the record shows.
func sentElsewhere(h *listen.Heard, focus *listen.Attempt) []string {
	if h.Elsewhere == (listen.Reach{}) {
		return nil
	}
	sent := requestSent(h, focus, h.Elsewhere)
	switch {
	case sent == requestSent(h, focus, listen.Reach{}):
		return nil
	case sent == failure.SentYes:
		return []string{"an attempt before, which is not listed here, was answered"}
	}
	return []string{"an attempt before, which is not listed here, had sent the request"}
}

// sentBefore says what became of the request at an upstream that failed, where another
// attempt rescued it: request_sent is over both.
func sentBefore(h *listen.Heard, v verdict) []string {
	last := lastAttempt(h)
	if v.outcome != failure.Rescued || v.attempt == nil || last == v.attempt || !v.attempt.CarriesRequest() {
		return nil
	}
	again := "another attempt"
	if last.Upstream != "" && last.Upstream != v.attempt.Upstream {
		again = last.Upstream
	}
	again += " answered it"
	if last.Status != 0 {
		again += " with " + strconv.Itoa(last.Status)
	}
	twice := ""
	if r := v.attempt.Request; r != nil && (r.Method == http.MethodPost || r.Method == http.MethodPatch) {
		twice = ": this " + r.Method + " may have been carried out twice"
	}
	switch sentBy(v.attempt) {
	case failure.SentNo:
		return []string{"the failed attempt's upstream did not process the request; " + again}
	case failure.SentMaybe:
		return []string{"the failed attempt's upstream may have processed the request before " + again + twice}
	}
	if v.attempt.HasAnswer() {
		return []string{"the failed attempt's upstream had answered the request with " + strconv.Itoa(v.attempt.Status) + " before " + again}
	}
	return []string{"the failed attempt's upstream had begun to answer the request before " + again + twice}
}

// sentBy says whether the request reached the upstream in one attempt.
func sentBy(a *listen.Attempt) failure.Sent {
	switch {
	case a.FirstByte == 0 && !a.HasAnswer() && neverDialled(a): // most are of these, and need no reading of texts
		return failure.SentNo
	case neverNamed(a) && (a.HasAnswer() || a.FirstByte > 0):
		return failure.SentMaybe // somebody has it, and nobody knows who
	case unprocessed(a):
		return failure.SentNo
	case a.HasAnswer():
		return failure.SentYes
	case a.FirstByte > 0 && beyondCause(&try{Attempt: a, err: a.Err, protocol: a.Protocol}).is():
		if nothingSent(a) {
			return failure.SentNo
		}
		return failure.SentMaybe // what came is no answer to it, or not all of it is
	case noApplication(&try{Attempt: a, err: a.Err, protocol: a.Protocol}):
		return failure.SentNo
	case a.FirstByte > 0 && saidSettings(a) && a.Connection != nil && !a.Connection.Reused:
		return failure.SentNo // it speaks HTTP/2 over this connection, where HTTP/1 is no request (RFC 9113 section 3.4)
	case a.FirstByte == 0 && saidHTTP1(a):
		return failure.SentNo // nor is HTTP/2 one where HTTP/1 alone is spoken
	case a.FirstByte > 0 && (saidSettings(a) || greeted(&try{Attempt: a, protocol: a.Protocol})):
		return failure.SentMaybe // what came is no answer to it
	case a.FirstByte > 0:
		return failure.SentYes
	case a.Connection == nil && a.Exact && a.Protocol == protocolHTTP3, refusedUnsent(a):
		return failure.SentNo
	case certificateRefused(a.Err), refusedUnprocessed(a.Err), a.Silent && a.Protocol == protocolHTTP3:
		// HTTP/3 tries again by itself only what was rejected, or not sent.
		return failure.SentNo
	case a.Protocol == protocolFastCGI && strings.HasPrefix(innermost(a.Err), "fcgi: "):
		return failure.SentMaybe // what came is no answer of FastCGI's
	case fastCGICause(&try{Attempt: a, err: a.Err, protocol: a.Protocol}).is():
		return failure.SentYes // FastCGI has no first byte, but this is of an answer
	case nothingSent(a):
		return failure.SentNo
	case a.Connection == nil && a.Dialing != nil && a.Dialing.TLSErr != nil:
		return failure.SentNo
	case connected(a):
		return failure.SentMaybe
	case a.Sent == 0 || a.Exact && (a.Dialing != nil && a.Protocol != protocolFastCGI || a.Limits != nil && a.Limits.Transport == "http"):
		return failure.SentNo // Caddy's own transport always tells of a connection
	case a.Dialing != nil && !dialled(a):
		return failure.SentNo
	}
	return failure.SentMaybe // hooks can be missing
}

// neverDialled says that no connection came about at all. FastCGI tells of none.
func neverDialled(a *listen.Attempt) bool {
	return a.Connection == nil && (a.DialErr || a.Dialing != nil && a.Protocol != protocolFastCGI && !dialled(a))
}

// saidHTTP1 says that HTTP/1 came over a new connection over which HTTP/2 was spoken.
func saidHTTP1(a *listen.Attempt) bool {
	c := a.Connection
	return c != nil && !c.Reused && a.Protocol == protocolH2C && strings.HasPrefix(string(c.Opening), "HTTP/1")
}

// saidSettings says that what came is HTTP/2's first frame, which comes unasked.
func saidSettings(a *listen.Attempt) bool {
	t := &try{Attempt: a, err: a.Err}
	line := t.head()
	if line == "" {
		line, _ = strconv.Unquote(strings.TrimPrefix(t.text(), textMalformedResponse))
	}
	return isHTTP2Settings(line)
}

// certificateRefused says that the upstream refused the handshake for our certificate.
// In TLS 1.3 it does so after we may have sent the request, which it never reads.
func certificateRefused(err error) bool {
	alert, ok := receivedAlert(err)
	if !ok {
		alert, ok = quicAlert(err)
	}
	return ok && ofOurCertificate(alert)
}

// receivedOf is what an upstream's own answer said.
func receivedOf(a *listen.Attempt) *failure.Received {
	if a.Status == 0 {
		return nil
	}
	field := func(name string) string {
		return cut(strings.ToValidUTF8(strings.Join(a.Header.Values(name), ", "), "�"), maxField)
	}
	return &failure.Received{
		Status:      a.Status,
		Server:      field("Server"),
		Via:         field("Via"),
		RetryAfter:  field("Retry-After"),
		ProxyStatus: field("Proxy-Status"),
		GRPCStatus:  field("Grpc-Status"),
		GRPCMessage: withoutCredentials(withoutURLSecrets(field("Grpc-Message"), true)),
	}
}

// attempts are the attempts as a record has them. Of the verdict's own, told is what is
// diagnosed, text what its error says, and address where it led.
func attempts(h *listen.Heard, v verdict, told *try, text, address string) []failure.Attempt {
	kept := make([]failure.Attempt, 0, len(h.Attempts))
	for i := range h.Attempts {
		a := &h.Attempts[i]
		if a == v.attempt {
			kept = append(kept, attempt(h, v, told, text, address))
		} else {
			kept = append(kept, attempt(h, v, tryOf(h, a), "", cut(addressOf(a), maxAddress)))
		}
	}
	return kept
}

// roleOf says whose attempt a is, where it is another's than the verdict's.
func roleOf(h *listen.Heard, v verdict, a *listen.Attempt) failure.AttemptRole {
	about := h.Selection.Limits
	if v.attempt != nil {
		about = v.attempt.Limits
	}
	switch {
	case a.Limits == nil:
		return "" // nobody knows
	case a.Limits.AsksFirst:
		return failure.RoleAsksFirst
	case about != nil && a.Limits != about:
		return failure.RoleOtherProxy
	}
	return ""
}

func attempt(h *listen.Heard, v verdict, t *try, text, address string) failure.Attempt {
	a := t.Attempt
	f := failure.Attempt{
		Upstream:   cut(a.Upstream, maxAddress),
		Role:       roleOf(h, v, a),
		Address:    address,
		StartMS:    failure.MS(a.Start),
		DurationMS: failure.MS(elapsed(a.Start, t.end)),
		PhasesMS:   phases(t),
		Status:     a.Status,
	}
	if connected(a) || dialled(a) || a.HasAnswer() { // else nothing was spoken
		f.Protocol = t.protocol
	}
	if c := a.Connection; c != nil {
		if local, err := netip.ParseAddrPort(c.LocalAddress); err != nil || !local.Addr().IsUnspecified() { // QUIC's socket has none of its own
			f.LocalAddress = cut(c.LocalAddress, maxAddress)
		}
		f.Reused = new(c.Reused) // a copy, here as below: a pointer into what was heard would keep all of it
		if c.WasIdle {
			f.IdleMS = failure.MSPointer(c.Idle)
		}
	}
	if a.RequestBytes >= 0 && connected(a) {
		f.RequestBytes = new(a.RequestBytes)
	}
	if a.Status != 0 && (a.Body.Bytes > 0 || a.Body.Ended || a.Body.Err != nil) {
		f.ResponseBytes = new(a.Body.Bytes)
		if a.Body.Expected >= 0 {
			f.ResponseBytesExpected = new(a.Body.Expected)
		}
	}
	err := t.err
	switch {
	case a == v.attempt:
		err = v.err
		f.Cause = v.finding.row.Name
	case a.Body.Err != nil && !canceled(a.Body.Err):
		err = a.Body.Err
		t.err = err
		f.Cause = bodyCause(t).row.Name
	case failed(h, a):
		f.Cause = attemptCause(t).row.Name
	case repeated(h, a):
		f.Cause = thrownAway(a).row.Name
	}
	if err == nil {
		if a.Silent && t.protocol == protocolHTTP3 && f.Cause == Unknown.Name { // see sentBy
			f.Error = "not sent, or refused unprocessed: the transport tried again by itself"
		}
		return f
	}
	if a != v.attempt {
		text = errorText(h, a, err)
	}
	f.Error = cut(text, maxAttemptError)
	f.Errno = errnoName(errnoFor(t, err))
	if alert, ok := receivedAlert(firstError(tlsErr(a), err)); ok {
		f.TLSAlert = &alert
	} else if t.protocol == protocolHTTP3 {
		if alert, ok := quicAlert(err); ok {
			f.TLSAlert = &alert
		}
	}
	return f
}

// errnoFor is the system's error of an attempt, of its connect where the attempt's
// own error hides it.
func errnoFor(t *try, err error) (errno syscall.Errno) {
	if errno = errnoOf(err); errno != 0 || t.Connection != nil || dialled(t.Attempt) {
		return errno
	}
	if c, ok := failedConnect(t); ok {
		return errnoOf(c.Err)
	}
	return 0
}

func tlsErr(a *listen.Attempt) error {
	if a.Connection != nil || a.Dialing == nil {
		return nil
	}
	return a.Dialing.TLSErr
}

// addressOf is the address that a connection leads to, or that was dialled last.
func addressOf(a *listen.Attempt) string {
	if a.Connection != nil && a.Connection.RemoteAddress != "" {
		return a.Connection.RemoteAddress
	}
	tried := connects(a)
	for _, c := range tried {
		if c.End > 0 && c.Err == nil {
			return c.Address
		}
	}
	if len(tried) > 0 {
		t := &try{Attempt: a, err: a.Err}
		if c, ok := failedConnect(t); ok {
			return c.Address
		}
		return tried[0].Address
	}
	return a.Address
}

// phases are the times of an attempt, each from the end of the one before.
func phases(t *try) failure.Phases {
	var p failure.Phases
	between := func(from, to time.Duration) *failure.Milliseconds {
		if to == 0 {
			to = t.end
		}
		return failure.MSPointer(elapsed(from, to))
	}
	d := t.Dialing
	if d != nil && (t.Connection == nil || !t.Connection.Reused) {
		start := d.Start
		if l := d.Lookup; l != nil {
			p.DNS = between(l.Start, l.End)
			start = l.End
		}
		if tried := connects(t.Attempt); len(tried) > 0 {
			start = tried[0].Start
			switch {
			case t.protocol == protocolHTTP3 && t.Connection == nil: // its connect is a handshake that nobody tells of
				p.Connect = between(start, t.end)
			case !dialled(t.Attempt):
				p.Connect = between(start, d.End)
			case stoppedAtProxy(t):
				p.Connect = between(start, t.end)
			default:
				p.Connect = between(start, handshakeStart(t))
			}
		}
		if t.TLS && dialled(t.Attempt) && !stoppedAtProxy(t) && !unbegun(t) {
			to := d.TLSDone
			if to == 0 && t.Connection != nil {
				to = t.Connection.At
			}
			if t.protocol != protocolHTTP3 {
				p.TLS = between(handshakeStart(t), to)
			} else if t.Connection == nil && layer(firstError(d.TLSErr, t.err), textQUICCrypto) != "" { // else QUIC's connect has it in it
				p.Connect, p.TLS = nil, between(handshakeStart(t), to)
			}
		}
	}
	if t.Connection == nil {
		if t.protocol == protocolFastCGI && dialled(t.Attempt) && !refusedUnsent(t.Attempt) {
			// It tells of nothing between the connect and the answer.
			p.Wait = between(handshakeStart(t), t.Answered)
			if t.Answered > 0 && t.end > t.Answered {
				p.Body = between(t.Answered, t.end)
			}
		}
		return p
	}
	p.Send = between(t.Connection.At, t.Wrote)
	if t.WriteErr != nil && t.FirstByte == 0 || t.Wrote == 0 && t.FirstByte == 0 {
		return p
	}
	p.Wait = between(sent(t), t.FirstByte)
	if t.FirstByte == 0 {
		return p
	}
	p.Headers = between(t.FirstByte, t.Answered)
	if t.Answered > 0 && t.end > t.Answered {
		p.Body = between(t.Answered, t.end)
	}
	return p
}

// evidence are the facts that prove the verdict: what was seen on the way of its attempt,
// which is nil for none, what the rule saw, and the limit.
func evidence(h *listen.Heard, v verdict, t *try) []string {
	lines := make([]string, 0, 4)
	if t != nil {
		if throughProxy(v.attempt) && !stoppedAtProxy(t) {
			lines = append(lines, "the connection leads to a forward proxy: "+connects(v.attempt)[0].Address)
		}
		lines = way(lines, h, t)
	}
	lines = append(lines, v.finding.evidence...)
	if limit := v.finding.limit; limit != nil && v.finding.row != ResponseHeadersTooLarge { // which is no time
		lines = append(lines, limitLine(v, limit))
	}
	if a := v.attempt; a != nil {
		switch v.finding.row {
		case RequestWriteFailed, ClientUploadFailed:
			if a.RequestBytes >= 0 {
				lines = append(lines, "Caddy's transport had taken "+bodyRead(a)+" bytes of the request's body"+uploadHeld(h)+"; how many of them the upstream took is not known")
			}
		case ConnectionRefused:
			lines = append(lines, othersRefused(h, v)...)
		case ConnectTimeout, ConnectionLost, ResponseTimeout, ReadTimeout, ResponseStalled:
			lines = append(lines, otherLimits(a, v.finding)...)
		}
	}
	lines = append(lines, notAgain(h, v)...)
	lines = append(lines, sentBefore(h, v)...)
	lines = append(lines, sentElsewhere(h, v.attempt)...)
	if undecided := v.undecided(); undecided != "" {
		lines = append(lines, undecided)
	}
	if len(lines) > maxLines {
		lines = lines[:maxLines]
	}
	for i, line := range lines {
		lines[i] = cut(failure.Visible(line), maxEvidence)
	}
	return lines
}

// uploadHeld says that the client's side of an upload had no error.
func uploadHeld(h *listen.Heard) string {
	if h.Client.BodyErr != nil {
		return ""
	}
	return ", and the client's side had no error"
}

// undecided is what can't be told from here. Where another side has to act than the row
// says, the diagnosis knows more than the row.
func (v verdict) undecided() string {
	f := v.finding
	if f.decided || f.undecided == "" && f.side != "" && f.side != f.row.Side {
		return ""
	}
	if f.undecided == "" && f.row.Undecided == undecidedWait && v.attempt != nil {
		switch a := v.attempt; {
		case a.Protocol == protocolH2 && a.TLS && (a.Before == nil || a.Before.Answers == 0) && a.Interim == 0 && a.FirstByte == 0:
			return undecidedAgreed
		case spokeHTTP(a):
			return undecidedSpoken
		}
	}
	return orText(f.undecided, f.row.Undecided)
}

// way adds what was seen of an attempt up to the phase that it reached.
func way(lines []string, h *listen.Heard, t *try) []string {
	if c := t.Connection; c != nil {
		switch {
		case c.WasIdle:
			lines = append(lines, "reused a connection that had been idle for "+ms(c.Idle))
		case c.Reused:
			lines = append(lines, "reused a connection")
		}
		if t.Status == 0 && t.Interim != 0 {
			lines = append(lines, interimLine(t))
		}
		if t.Status == 0 && (t.Wrote > 0 || nothingSent(t.Attempt)) {
			switch {
			case nothingSent(t.Attempt) && t.FirstByte == 0:
				lines = append(lines, "no byte of the request had been sent after "+ms(elapsed(c.At, t.end)))
			case t.Wrote == 0:
			case t.WriteErr != nil:
				lines = append(lines, "sending the request failed after "+ms(elapsed(c.At, t.Wrote)))
			case t.FirstByte > 0 && t.Interim != 0: // the first byte is the interim one's
				lines = append(lines, "a final answer began after it")
			case t.FirstByte > 0 && t.FirstByte < t.Wrote:
				lines = append(lines, "the first byte that came back was there before the request was known to be written")
			case t.FirstByte > 0:
				lines = append(lines, "the first byte of an answer came "+ms(elapsed(t.Wrote, t.FirstByte))+" after the request was written")
			case certificateRefused(t.err):
				// In TLS 1.3 a client has done its part before it hears whether its certificate is
				// accepted (RFC 8446, 4.4.2.4 and 6.2), and may send at once.
				lines = append(lines, "the request was written behind the TLS handshake, which the upstream then refused, "+ms(elapsed(t.Wrote, t.end))+" later: it never took the request in")
			case unreadable(t):
				lines = append(lines, "the request was written; what came in "+ms(elapsed(t.Wrote, t.end))+" can't be read as an answer to it")
			case openingCause(t).is(), saidOther(t).is(), // something came, and is quoted
				isHTTP2(t), t.protocol == protocolHTTP3: // what can't be decoded is no first byte
				lines = append(lines, noFinal(t, "the request was written; no answer to it came in ")+ms(elapsed(t.Wrote, t.end)))
			default:
				lines = append(lines, noFinal(t, "the request was written; no byte of an answer came in ")+ms(elapsed(t.Wrote, t.end)))
			}
		}
		return lines
	}
	d := t.Dialing
	if d == nil {
		return lines
	}
	if l := d.Lookup; l != nil && (l.Err != nil || l.End == 0) {
		what := "no answer"
		if l.Err != nil {
			what = lookupWords(l.Err)
		}
		host := l.Host
		if servers := resolversOf(t.Attempt); len(servers) > 0 {
			host += " on " + serverWords(servers)
		}
		lines = append(lines, "lookup "+host+": "+what+" after "+ms(elapsed(l.Start, orElse(l.End, t.end)))+systemServer(t, l.Err))
	}
	shaken := t.protocol == protocolHTTP3 && layer(firstError(d.TLSErr, t.err), textQUICCrypto) != ""
	for _, c := range connects(t.Attempt) {
		if shaken && c.Err != nil {
			continue // that is the handshake's: UDP has no connect
		}
		lines = append(lines, "connect "+c.Address+": "+connectWords(c)+" after "+ms(elapsed(c.Start, orElse(c.End, t.end))))
	}
	if stoppedAtProxy(t) {
		lines = append(lines, proxyLine(t))
	} else if t.TLS && dialled(t.Attempt) && (shaken || t.protocol != protocolHTTP3) {
		took := ms(elapsed(handshakeStart(t), orElse(d.TLSDone, t.end)))
		if err := firstError(d.TLSErr, t.err); unbegun(t) {
			lines = append(lines, "TLS handshake: not begun")
		} else if endedHandshake(err) { // the rule says how
			lines = append(lines, "TLS handshake: ended after "+took)
		} else if err != nil {
			// The time first: an error may end in a date. What Go supposes the rule says better.
			words, _, _ := strings.Cut(errorText(h, t.Attempt, err), " (possibly because of ")
			lines = append(lines, "TLS handshake: ended after "+took+": "+words)
		} else {
			lines = append(lines, "TLS handshake: not finished after "+took)
		}
	}
	return lines
}

// unbegun says that TLS was not even begun, for want of a name.
func unbegun(t *try) bool {
	return t.Connection == nil && strings.HasPrefix(innermost(firstError(tlsErr(t.Attempt), t.err)), textNoServerName)
}

func lookupWords(err error) string {
	if dnsError, ok := errors.AsType[*net.DNSError](err); ok {
		return withoutSecrets(dnsError.Err)
	}
	return withoutSecrets(err.Error())
}

func connectWords(c listen.Connect) string {
	if c.Err == nil {
		if c.End == 0 {
			return "no answer"
		}
		return "connected"
	}
	if name := errnoName(errnoOf(c.Err)); name != "" {
		return name
	}
	if isTimeout(c.Err) {
		return "no answer"
	}
	return errorWords(c.Err)
}

// limitLine says which limit ended the attempt, or would have.
func limitLine(v verdict, limit *failure.Limit) string {
	if limit.Source == failure.LimitAbsent {
		return "no limit is set: " + limit.Name
	}
	if limit.ValueMS == nil {
		return "limit: " + limit.Name
	}
	if v.finding.row == ClientClosedRequest {
		return "would have waited until " + limitWords(limit)
	}
	return "gave up by " + limitWords(limit)
}

// limitWords is a limit that is set, its value and where it comes from.
func limitWords(limit *failure.Limit) string {
	words := limit.Name + " " + ms(limit.ValueMS.Duration())
	if limit.Source == failure.LimitDefault {
		words += " (Caddy's default)"
	}
	return words
}

// nameOf is an upstream as people know it: nobody can connect to a dynamic source or a
// placeholder, so that they need the address too.
func nameOf(h *listen.Heard, upstream, address string) string {
	if upstream == "" || address == "" || upstream != h.Selection.Source && !strings.Contains(upstream, "{") {
		return upstream
	}
	return address + " (" + upstream + ")"
}

// thisMachine is where this process runs, as the rows have it: it may be a container.
const thisMachine = "this machine"

// fillIn puts in what the placeholders of a row's words stand for.
func fillIn(words, upstream, address string, limit *failure.Limit) string {
	if words == "" {
		return ""
	}
	if upstream == "" {
		upstream = orText(address, "the upstream")
	}
	if here() != thisMachine && strings.Contains(words, "his machine") {
		words = strings.ReplaceAll(strings.ReplaceAll(words, thisMachine, here()), "This machine", "This container")
	}
	var b strings.Builder
	b.Grow(len(words) + len(upstream) + len(address))
	for {
		text, rest, ok := strings.Cut(words, "{")
		b.WriteString(text)
		if !ok {
			break
		}
		name, after, ended := strings.Cut(rest, "}")
		switch {
		case !ended:
			name = ""
		case name == "upstream":
			b.WriteString(upstream)
		case name == "address":
			b.WriteString(orText(address, upstream))
		case name == "limit":
			b.WriteString(allowed(limit))
		default:
			name = ""
		}
		if words = after; name == "" { // one of Caddy's own
			b.WriteByte('{')
			words = rest
		}
	}
	filled := b.String()
	if strings.HasPrefix(filled, "the ") {
		return "The " + filled[len("the "):]
	}
	return filled
}

// fillOnce is fillIn, once for the same words of the same upstream.
func fillOnce(words, upstream, address string, limit *failure.Limit) string {
	key := filling{words: words, upstream: upstream, address: address, machine: here()}
	if strings.Contains(words, "{limit}") {
		key.limit = allowed(limit)
	}
	if text, ok := filled.get(key); ok {
		return text
	}
	text := fillIn(words, upstream, address, limit)
	key.words, key.upstream, key.address = strings.Clone(words), strings.Clone(upstream), strings.Clone(address)
	filled.put(key, text)
	return text
}

// Said are this row's own words of an upstream.
func (r *Row) Said(upstream, address string) (summary, advice string) {
	return cut(fillIn(r.Summary, upstream, address, nil), maxError), cut(fillIn(r.Advice, upstream, address, nil), maxError)
}

// filling is all that filled words are made of.
type filling struct{ words, upstream, address, limit, machine string }

var filled memo[filling, string]

// allowed is the limit that a row's words speak of.
func allowed(limit *failure.Limit) string {
	if limit == nil || limit.ValueMS == nil {
		return "the time allowed"
	}
	return limit.Name + " " + ms(limit.ValueMS.Duration())
}

// ms writes a duration as people do: 0.2 ms, 40 ms, 3 s.
func ms(d time.Duration) string {
	switch {
	case d >= time.Second:
		return decimal(d.Round(100*time.Millisecond), time.Second) + " s"
	case d >= 10*time.Millisecond:
		return decimal(d.Round(time.Millisecond), time.Millisecond) + " ms"
	case d < 100*time.Microsecond: // else nothing would seem to have passed
		return decimal(d.Round(time.Microsecond), time.Millisecond) + " ms"
	}
	return decimal(d.Round(100*time.Microsecond), time.Millisecond) + " ms"
}

// decimal writes how many units there are in d, which is not negative and has not more
// than nine decimals of them; a unit is a power of ten. Of floating numbers, each record
// would have several.
func decimal(d, unit time.Duration) string {
	whole := strconv.FormatInt(int64(d/unit), 10)
	if d%unit == 0 {
		return whole
	}
	decimals := strconv.FormatInt(int64(unit+d%unit), 10)[1:]
	return whole + "." + strings.TrimRight(decimals, "0")
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

func orText(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
