package cause

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What net/http calls the operations of a forward proxy.
const (
	opProxyConnect = "proxyconnect"
	opSOCKSConnect = "socks connect"
)

// forwardProxyCause finds the cause where a forward proxy led to no upstream: it
// could not be dialled, it refused, or it broke off. What fails in an open tunnel is
// the upstream's.
func forwardProxyCause(t *try) finding {
	f := stoppedCause(t)
	if f.is() && !t.FromEnvironment && t.ForwardProxy != "" {
		f.evidence = append(f.evidence, "network_proxy names this forward proxy")
		if f.advice == "" {
			f.advice = "Start the forward proxy that network_proxy names, or correct its address there."
		}
		if f.proxyError == ConnectionRefused.ProxyError {
			f.undecided = orText(f.undecided, "whether the forward proxy is down, listens elsewhere, a firewall refuses for it, or none is meant for this upstream can't be told from here: its own machine (ss -ltnp) tells")
		}
	}
	if f.is() && t.FromEnvironment {
		f.side = failure.SideProxy
		f.evidence = append(f.evidence, proxyVariable(t.Attempt)+" of Caddy's environment names it")
		f.advice = "Set network_proxy none in the transport, or name " + bareHost(t.Address) + " in NO_PROXY of Caddy's environment. If the way by it is meant: " + orText(f.advice, "repair that forward proxy.")
	}
	return f
}

// stoppedCause is forwardProxyCause wherever the forward proxy's name comes from.
func stoppedCause(t *try) finding {
	if op := proxyOperation(t.err); op != nil {
		if op.Op == opProxyConnect {
			return proxyDialCause(t, op.Err)
		}
		return proxyStopped(t, op.Err)
	}
	if !connectUnanswered(t.Attempt) || t.err == nil || canceled(t.err) {
		return nothing
	}
	return proxyStopped(t, t.err)
}

// proxyStopped is the finding where a forward proxy took the connection, and opened no
// way on: by err, in which it says why, or that it broke off.
func proxyStopped(t *try, err error) finding {
	f := found(ForwardProxyFailed)
	text := innermost(err)
	code, reply := socksReply(text)
	status := statusNamed(text)
	f.proxyError = brokenOffError(err)
	switch {
	case code >= socksNetworkUnreachable && code <= socksExpired, status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout:
		f.proxyError = "destination_unavailable"
		f.summary = "The forward proxy at {address} answered that it can't reach {upstream}."
		name, unknown := "the name is known there, ", "a name that is unknown there, "
		if _, err := netip.ParseAddr(bareHost(t.Address)); err == nil {
			name, unknown = "", ""
		}
		other := ", a server that is no forward proxy"
		if reply {
			other = ""
		}
		return f.advise("Check the way from the forward proxy to {upstream}: whether " + name + "the address is right, no firewall between, and the application up; or go there without it (network_proxy none in the transport).").
			leavesOpen("why it can't be reached from there can't be told from here (" + unknown + "a wrong address, a firewall, an application that is down" + other + ", or none is meant for this upstream): the forward proxy's log tells")
	case status == http.StatusProxyAuthRequired, slices.Contains(textsSOCKSUser, text):
		f.proxyError = "proxy_configuration_error" // we have not said who we are, or said it wrong
		f = f.advise("Write the user and the password that the forward proxy knows into the URL of network_proxy.")
		if wants := proxySchemes(t); len(wants) > 0 {
			f.evidence = append(f.evidence, "it wants them by "+strings.Join(wants, " or "))
			if !slices.ContainsFunc(wants, func(scheme string) bool { return strings.EqualFold(scheme, "Basic") }) {
				f.summary = "The forward proxy at {address} wants a user and a password in a way that Caddy does not have."
				return f.advise("Let the forward proxy take Basic, which is the one way that Caddy has, or let it take " + thisMachine + " by its address; or go there without it (network_proxy none in the transport).").
					leavesOpen("whether this forward proxy is meant for this upstream can't be told from here: what network_proxy is set for tells")
			}
		}
		switch {
		case t.ForwardProxy == "":
			f.summary = "The forward proxy at {address} wants another user and password, or any."
			return f.leavesOpen("whether no user is written there, a wrong one, or no forward proxy is meant for this upstream can't be told from here: that URL tells")
		case t.ProxyUser:
			f.summary = "The forward proxy at {address} does not take the user and the password that Caddy has for it."
			return f.leavesOpen("whether the user or the password is wrong, it wants to be told them in another way than Caddy does (Basic), or none is meant for this upstream can't be told from here: its log tells")
		}
		f.summary = "The forward proxy at {address} wants a user and a password, and Caddy has none for it."
		f.evidence = append(f.evidence, "no user is written in the forward proxy's URL")
		return f.leavesOpen("whether this forward proxy is meant for this upstream, or ought to take " + thisMachine + " by its address, can't be told from here: what network_proxy is set for, and its rules, tell")
	case code == socksForbidden, status != 0 && status < http.StatusInternalServerError:
		f.proxyError = "proxy_configuration_error" // we may not
		f.summary = "The forward proxy at {address} refused to connect to {upstream}."
		return f.advise("Let the forward proxy allow {upstream}, host and port, in its rules; or go there without it (network_proxy none in the transport).").
			leavesOpen("why it refuses can't be told from here (a rule for this upstream, its port or " + thisMachine + ", a server that is no forward proxy, or none is meant for this upstream): its rules and its log tell")
	case strings.HasPrefix(text, textSOCKSVersion), strings.HasPrefix(text, textMalformedResponse), strings.HasPrefix(text, textMalformedVersion), strings.HasPrefix(text, textMalformedStatus):
		f.summary = "What answers at {address} does not speak the forward proxy's protocol."
		if begins := proxySaid(t); begins != "" {
			f.evidence = append(f.evidence, "what it answered begins with "+begins)
		}
		return f.advise("Correct the scheme (http, https, socks5), the address or the port of the forward proxy in network_proxy, or in HTTP_PROXY and HTTPS_PROXY of Caddy's environment.").
			leavesOpen("whether the scheme, the address or the port is the wrong one, or none is meant for this upstream, can't be told from here: what listens there tells")
	case reply, status != 0:
		f.summary = "The forward proxy at {address} answered with an error instead of a way to {upstream}."
		if status != 0 {
			f.proxyError = "destination_unavailable"
		}
		return f.advise("Look at the forward proxy's log at this time: the answer is its own.")
	case died(err):
		f.summary = "The forward proxy at {address} ended the connection instead of answering."
		advice := "Look at the forward proxy's log at this time: it ended the connection when it was asked to connect to {upstream}. If the log has nothing of this, {address} is no forward proxy of this kind: correct network_proxy."
		step, known := socksStep(t)
		if known && step == stepConnect {
			return f.advise("Look at the log of the SOCKS proxy at {address} at this time: it had answered the greeting, and ended the connection when it was asked to connect to {upstream}.").
				leavesOpen("why it ended this can't be told from here (it does not let this through, can't reach the upstream, crashed, was restarted, or none is meant for this upstream): its log tells")
		}
		if known {
			advice = "Check that {address} is the port of a SOCKS proxy, which takes connections from " + thisMachine + " (else correct network_proxy), and look at its log at this time: it ended the connection before it was told where to connect to."
		}
		published := "a published port leads to nobody, "
		if errnoOf(err) != 0 {
			published += "a firewall reset this, "
		}
		return f.advise(advice).leavesOpen("why it ended this can't be told from here (it forbids this, can't reach the upstream, crashed, restarted, is none of this kind, " + published + "or none is meant here): its log, and what listens there, tell")
	}
	return f
}

// Replies of a SOCKS proxy (RFC 1928 section 6), as Go's client words them.
const (
	socksForbidden          = 2
	socksNetworkUnreachable = 3
	socksExpired            = 6
	textSOCKSReply          = "unknown error " // then the reply, known or not
	textSOCKSVersion        = "unexpected protocol version "
)

// textsSOCKSUser are what Go's client says of a SOCKS proxy that wants to know who we are.
var textsSOCKSUser = []string{"no acceptable authentication methods", "username/password authentication failed", "invalid username/password"}

var socksReplies = []string{
	"", "general SOCKS server failure", "connection not allowed by ruleset", "network unreachable", "host unreachable",
	"connection refused", "TTL expired", "command not supported", "address type not supported",
}

// socksReply is the code that a SOCKS proxy answered, 0 for one that has no words; ok is
// false where it answered none.
func socksReply(text string) (code int, ok bool) {
	words, ok := strings.CutPrefix(text, textSOCKSReply)
	if !ok {
		return 0, false
	}
	return max(0, slices.Index(socksReplies, words)), true
}

// proxySaid is the first line of what a forward proxy answered, "" where that wasn't heard
// or is encrypted.
func proxySaid(t *try) string {
	if t.Dialing == nil || t.Dialing.Carried == nil || strings.HasPrefix(t.ForwardProxy, "https") {
		return ""
	}
	line, _, _ := strings.Cut(string(t.Dialing.Carried.Head), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return ""
	}
	return said(line)
}

// proxySchemes are the ways in which a forward proxy wants to be told who asks, as far as
// its answer's beginning has them (RFC 9110 section 11.7.1).
func proxySchemes(t *try) (schemes []string) {
	if proxySaid(t) == "" {
		return nil
	}
	for line := range strings.Lines(string(t.Dialing.Carried.Head)) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !strings.EqualFold(name, "Proxy-Authenticate") || !strings.HasSuffix(line, "\n") {
			continue
		}
		scheme, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		if scheme = cut(failure.Visible(scheme), maxScheme); scheme != "" && !slices.Contains(schemes, scheme) && len(schemes) < maxTold {
			schemes = append(schemes, scheme)
		}
	}
	return schemes
}

// maxScheme is longer than any that is registered.
const maxScheme = 24

// Steps in which a SOCKS proxy is asked.
const (
	stepGreeting = "the greeting"
	stepUser     = "user and password"
	stepConnect  = "CONNECT"
)

// socksStep is to which step a SOCKS proxy gave no answer, by what had come of it: two
// bytes answer the greeting, two more user and password, where it wants them.
func socksStep(t *try) (step string, known bool) {
	if op := proxyOperation(t.err); op == nil || op.Op != opSOCKSConnect || t.Dialing == nil || t.Dialing.Carried == nil {
		return "", false
	}
	c := t.Dialing.Carried
	const withUser = 2
	switch {
	case c.Received < 2:
		return stepGreeting, true
	case c.Received < 4 && len(c.Head) >= 2 && c.Head[1] == withUser:
		return stepUser, true
	}
	return stepConnect, true
}

// proxyOperation is the operation of a forward proxy that an error is about, nil for
// none.
func proxyOperation(err error) *net.OpError {
	for ; err != nil; err = errors.Unwrap(err) {
		op, ok := err.(*net.OpError) //nolint:errorlint // each layer is looked at by itself
		if ok && (op.Op == opProxyConnect || op.Op == opSOCKSConnect) {
			return op
		}
	}
	return nil
}

// stoppedAtProxy says that an attempt came to a forward proxy, and no further.
func stoppedAtProxy(t *try) bool {
	return dialled(t.Attempt) && t.Connection == nil && (proxyOperation(t.err) != nil || connectUnanswered(t.Attempt))
}

// proxyLine is what the forward proxy where an attempt stopped was asked for, and did.
func proxyLine(t *try) string {
	proxy := "the forward proxy"
	if tried := connects(t.Attempt); len(tried) > 0 {
		proxy += " at " + tried[0].Address
	}
	what, err := "CONNECT "+t.Address+" to "+proxy, t.err
	switch op := proxyOperation(t.err); {
	case op != nil && op.Op == opSOCKSConnect:
		what, err = "SOCKS "+what, op.Err
	case op != nil:
		what, err = "TLS handshake with "+proxy, op.Err
	}
	words := proxyWords(err)
	if step, known := socksStep(t); known && words == wordsClosed {
		words += " upon " + step
	}
	return cut(what+": "+words+" after "+ms(elapsed(handshakeStart(t), t.end)), maxEvidence)
}

const wordsClosed = "it closed the connection"

// proxyWords is what a forward proxy that led nowhere did.
func proxyWords(err error) string {
	if name := errnoName(errnoOf(err)); name != "" {
		return name
	}
	switch status := statusNamed(innermost(err)); {
	case err == nil, canceled(err):
		return "no answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return wordsClosed
	case status != 0:
		return "it answered " + strconv.Itoa(status) + " " + http.StatusText(status)
	}
	if code, ok := socksReply(innermost(err)); ok && code > 0 {
		return "it answered \"" + socksReplies[code] + "\" (reply " + strconv.Itoa(code) + ")"
	}
	return failure.Visible(strings.TrimPrefix(proxyPhrase(err), textSOCKSReply))
}

// proxyDialCause is that of a forward proxy to which there is no connection, for err.
func proxyDialCause(t *try, err error) finding {
	inner := *t
	inner.err = err
	f := found(ForwardProxyFailed)
	for _, rule := range []func(*try) finding{dnsCause, connectCause, tlsCause} {
		if own := rule(&inner); own.is() {
			f.proxyError, f.limit = own.row.ProxyError, own.limit
			f.evidence = append([]string{"the forward proxy: " + own.row.Name}, own.evidence...)
			if own.row == ConnectionRefused && noListener(addressOf(t.Attempt)) {
				f.evidence = append(f.evidence, "nobody listened on the forward proxy's port of "+here())
				f.undecided = "whether the forward proxy is down, listens elsewhere, or none is meant for this upstream can't be told from here: ss -ltnp, and what network_proxy is set for, tell"
			}
			break
		}
	}
	return f
}

// brokenOffError is RFC 9209's word for a forward proxy that ended the connection, ""
// where that isn't what happened.
func brokenOffError(err error) string {
	if died(err) || errors.Is(err, io.EOF) {
		return "connection_terminated"
	}
	return ""
}

// connectUnanswered says that a forward proxy was asked for a tunnel, and that no TLS
// handshake began in one. Who tries to shake hands reports how it ended; one that ended
// well and led to no connection was made with the forward proxy itself.
func connectUnanswered(a *listen.Attempt) bool {
	if !a.TLS || a.Connection != nil || !dialled(a) || a.Dialing.TLSErr != nil || !throughProxy(a) {
		return false
	}
	return a.Dialing.TLSDone == 0 || a.Err != nil && !canceled(a.Err)
}

// throughProxy says that what was dialled is not the upstream's address: a forward
// proxy stands between.
func throughProxy(a *listen.Attempt) bool {
	tried := connects(a)
	if len(tried) == 0 || !strings.HasPrefix(a.Network, "tcp") || a.Protocol == protocolHTTP3 || a.Protocol == protocolFastCGI {
		return false
	}
	if tried[0].Address == a.Address && a.Dialing.Lookup == nil {
		return false
	}
	host, port, err := net.SplitHostPort(a.Address)
	if err != nil || host == "" {
		return false
	}
	dialled, err := netip.ParseAddrPort(tried[0].Address)
	if err != nil {
		return false
	}
	if number, err := strconv.ParseUint(port, 10, 16); err == nil && uint16(number) != dialled.Port() {
		return true
	}
	wanted, err := netip.ParseAddr(host)
	lookup := a.Dialing.Lookup
	switch {
	case err == nil && lookup == nil:
		return wanted.Unmap() != dialled.Addr().Unmap()
	case err == nil || lookup == nil:
		return true // an address needs no lookup, a name does
	}
	return !strings.EqualFold(lookup.Host, host)
}

// neverNamed says that a request went to a forward proxy which was not told of the
// upstream: over plain HTTP it is asked for the request's Host, and whoever answers is
// found by that.
func neverNamed(a *listen.Attempt) bool {
	if !strings.HasPrefix(a.ForwardProxy, "http") || a.TLS || a.Request == nil || !strings.HasPrefix(a.Network, "tcp") {
		return false
	}
	return !sameHost(hostAsked(a), a.Address)
}

// hostAsked is the Host that went out.
func hostAsked(a *listen.Attempt) string {
	if a.Request.Host == "" && a.Request.URL != nil {
		return a.Request.URL.Host
	}
	return a.Request.Host
}

// sameHost says whether two hosts of plain HTTP are one, with or without its port.
func sameHost(a, b string) bool {
	const port = ":80"
	return strings.EqualFold(strings.TrimSuffix(a, port), strings.TrimSuffix(b, port))
}

// answeredInPlace says that an error came as an answer, and not from the upstream.
func answeredInPlace(a *listen.Attempt) bool {
	return a.Status >= http.StatusBadRequest && neverNamed(a)
}

// inPlaceCause is that of an answer which a forward proxy gave or got elsewhere.
func inPlaceCause(a *listen.Attempt) finding {
	f := misdirected(a, found(ForwardProxyAnswered))
	f.summary = "The forward proxy " + proxyName(a) + " answered in place of {upstream}."
	return f
}

// misdirectedCause is f of an attempt that had a connection, seen as what it is where the
// request went to a forward proxy which was not told of the upstream: f is that one's then.
func misdirectedCause(a *listen.Attempt, f finding) finding {
	if !neverNamed(a) || !connected(a) || f.row == ForwardProxyFailed || f.row.Side == failure.SideClient && f.row != ClientClosedRequest {
		return f
	}
	if f.row == ClientClosedRequest && !written(a) {
		return f // it had not been asked yet
	}
	found := misdirected(a, f)
	what := "did not answer"
	if a.FirstByte > 0 {
		what = "gave no whole answer"
	}
	found.row, found.summary = ForwardProxyFailed, "The forward proxy "+proxyName(a)+" was asked in place of {upstream}, and "+what+"."
	if f.phase == "" {
		found.phase = f.row.Phase
	}
	if f.proxyError == "" {
		found.proxyError = f.row.ProxyError
	}
	switch f.row {
	case ClientClosedRequest:
		found.evidence = append(found.evidence, "the client left before it had a whole answer, and before any limit of Caddy's ran out")
		found.undecided = "whether the client was impatient, or the forward proxy, the host that it was asked for, or what else listens there does not answer, can't be told from here: its log tells"
	case Unknown:
	default:
		found.evidence = append(found.evidence, "the forward proxy: "+f.row.Name)
	}
	return found
}

// misdirected adds to f what a forward proxy was asked for, and how to ask it no more.
func misdirected(a *listen.Attempt, f finding) finding {
	asked := "http://" + hostAsked(a)
	if a.Request.URL != nil {
		asked += a.Request.URL.EscapedPath()
	}
	f.side = failure.SideProxy
	if f.row != ForwardProxyAnswered {
		f.undecided = "whether the forward proxy, the host that it was asked for, or what else listens there did this, why, and whether one is meant to be asked, can't be told from here: its log tells"
	}
	f.evidence = append(slices.Clone(f.evidence), cut("it was asked for "+withoutURLSecrets(asked, true)+", by the Host that was sent", maxEvidence))
	f.advice = "Set network_proxy none in the transport, or let Caddy speak TLS to {upstream}: over plain HTTP a forward proxy is asked for the request's Host (header_up Host {upstream_hostport} would name the upstream)."
	if a.FromEnvironment {
		f.advice = "Set network_proxy none in the transport, or name " + bareHost(a.Address) + " in NO_PROXY of Caddy's environment."
	}
	return f
}

// proxyName is a forward proxy as people know it, and where its name comes from.
func proxyName(a *listen.Attempt) string {
	_, address, _ := strings.Cut(a.ForwardProxy, "://")
	if !a.FromEnvironment {
		return address + " (network_proxy)"
	}
	return address + " (" + proxyVariable(a) + " of Caddy's environment)"
}

// proxyVariable is the one of the environment that names the forward proxy.
func proxyVariable(a *listen.Attempt) string {
	if a.TLS {
		return "HTTPS_PROXY"
	}
	return "HTTP_PROXY"
}

// bareHost is an address without its port.
func bareHost(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// statusNamed is the error status that has this reason phrase, 0 for none. net/http
// keeps nothing else of an answer to CONNECT.
func statusNamed(phrase string) int {
	for status := http.StatusBadRequest; status < 600; status++ {
		if phrase != "" && http.StatusText(status) == phrase {
			return status
		}
	}
	return 0
}

var ForwardProxyFailed = &Row{
	Name: "forward_proxy_failed", Category: failure.CategoryUnreachable,
	Phase: failure.PhaseConnect, Side: failure.SideNetwork,
	Summary:      "The forward proxy on the way to {upstream} could not be used.",
	Advice:       "Check the proxy that network_proxy names, or HTTP_PROXY and HTTPS_PROXY in Caddy's environment.",
	Meaning:      "Caddy reaches this upstream through a forward proxy, and that proxy could not be used, or opened no way on: it refused, could not reach the upstream itself, or broke off. The upstream was not asked.",
	RecognisedBy: "The transport names the operation proxyconnect or socks connect, a request to CONNECT was not answered by a tunnel, or the request of plain HTTP went to a forward proxy for another Host than the upstream's and got no answer. The evidence has the cause at the forward proxy, which also gives proxy_error, or what it was asked for and answered: a status, a SOCKS reply, or the step upon which it closed.",
	Witnesses:    []Witness{WitnessError, WitnessReceived, WitnessAsked},
	Undecided:    "whether the forward proxy is down, its address or its kind is wrong, something keeps it away, or none is meant for this upstream can't be told from here: its own machine and its log tell",
	UsualReasons: []string{
		"the forward proxy can't reach the upstream: its name or its network is not known there",
		"the forward proxy is down, or its address is wrong",
		"HTTP_PROXY or HTTPS_PROXY is set in Caddy's environment without being meant for this",
		"the forward proxy refuses the host or the port",
	},
	Fix: Fix{
		Caddy:       "Name the right proxy, or none.",
		Caddyfile:   inTransport("network_proxy none"),
		Docker:      "Look for HTTP_PROXY in the environment of Caddy's container; Docker's client sets it from its own config.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"connection_refused", "the error speaks of proxyconnect, and the address in the evidence is the forward proxy's"},
		{"tls_closed", "the address that was dialled is the forward proxy's, and no handshake had begun in a tunnel"},
		{"forward_proxy_answered", "no answer came"},
		{"client_closed_request", "the request was with a forward proxy that had not been told of the upstream, whoever gave up first"},
	},
}

var ForwardProxyAnswered = &Row{
	Name: "forward_proxy_answered", Category: failure.CategoryErrorResponse, ProxyError: "proxy_configuration_error",
	Phase: failure.PhaseHeaders, Side: failure.SideProxy,
	Summary:      "A forward proxy answered in place of {upstream}.",
	Advice:       "Set network_proxy none in the transport, or name the upstream's host in NO_PROXY of Caddy's environment.",
	Meaning:      "Caddy sent the request to a forward proxy, which over plain HTTP is asked for the request's Host and is never told of the upstream. The error is that proxy's own, or of whom it found under that name. The upstream was not asked.",
	RecognisedBy: "The transport chose a forward proxy for the request, no TLS is spoken to the upstream, and the Host that was sent is not the upstream's address. The evidence has what the forward proxy was asked for; received has who signed the answer.",
	Witnesses:    []Witness{WitnessAsked, WitnessReceived},
	Undecided:    "whether the forward proxy made this answer or had it from the host that it was asked for, is a server that is no forward proxy, and is meant to be asked, can't be told from here: its log tells",
	UsualReasons: []string{
		"HTTP_PROXY is set in the environment of Caddy's container, and NO_PROXY doesn't have the service",
		"network_proxy for an upstream of plain HTTP, to which the client's Host is passed on",
		"the forward proxy finds this very site under the Host, and asks Caddy again",
	},
	Fix: Fix{
		Caddy:       "Use no forward proxy for this upstream; or name the upstream in the Host that is sent.",
		Caddyfile:   inTransport("network_proxy none"),
		Docker:      "Look for HTTP_PROXY in the environment of Caddy's container (Docker's client sets it from its own config), and put the service's name into NO_PROXY.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"upstream_status", "the connection leads to a forward proxy, and the Host that was sent is not the upstream's address"},
		{"forward_proxy_failed", "an answer came"},
	},
}
