package cause

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
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
	if op := proxyOperation(t.err); op != nil {
		if op.Op == opProxyConnect {
			return proxyDialCause(t, op.Err)
		}
		f := found(ForwardProxyFailed)
		f.proxyError = brokenOffError(op.Err)
		return f
	}
	if !connectUnanswered(t.Attempt) || t.err == nil || canceled(t.err) {
		return nothing
	}
	f := found(ForwardProxyFailed)
	switch status := statusNamed(innermost(t.err)); {
	case status == 0:
		f.proxyError = brokenOffError(t.err)
	case status < http.StatusInternalServerError:
		f.proxyError = "proxy_configuration_error" // we may not, or have not said who we are
	default:
		f.proxyError = "destination_unavailable"
	}
	return f
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
	return cut(what+": "+proxyWords(err)+" after "+ms(elapsed(handshakeStart(t), t.end)), maxEvidence)
}

// proxyWords is what a forward proxy that led nowhere did.
func proxyWords(err error) string {
	if name := errnoName(errnoOf(err)); name != "" {
		return name
	}
	switch status := statusNamed(innermost(err)); {
	case err == nil, canceled(err):
		return "no answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection"
	case status != 0:
		return strconv.Itoa(status) + " " + http.StatusText(status)
	}
	// Go's SOCKS client says so of each code, known or not.
	return failure.Visible(strings.TrimPrefix(proxyPhrase(err), "unknown error "))
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
	Meaning:      "Caddy reaches this upstream through a forward proxy, and that proxy could not be used. The upstream itself was not asked.",
	RecognisedBy: "The transport names the operation proxyconnect. The evidence has the cause at the forward proxy, which also gives proxy_error.",
	UsualReasons: []string{
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
	},
}
