package cause

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

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
	for err := t.err; err != nil; err = errors.Unwrap(err) {
		op, ok := err.(*net.OpError) //nolint:errorlint // each layer is looked at by itself
		switch {
		case !ok:
		case op.Op == opProxyConnect:
			return proxyDialCause(t, op.Err)
		case op.Op == opSOCKSConnect:
			f := found(ForwardProxyFailed, "the SOCKS proxy: "+cut(clean(innermost(op.Err)), maxEvidence))
			f.proxyError = brokenOffError(op.Err)
			return f
		}
	}
	if !connectUnanswered(t.Attempt) || t.err == nil || canceled(t.err) {
		return nothing
	}
	f := found(ForwardProxyFailed)
	if status := statusNamed(innermost(t.err)); status != 0 {
		f.evidence = []string{"the forward proxy answered CONNECT with " + strconv.Itoa(status) + " " + http.StatusText(status)}
		f.proxyError = "destination_unavailable"
		if status < http.StatusInternalServerError {
			f.proxyError = "proxy_configuration_error" // we may not, or have not said who we are
		}
		return f
	}
	f.evidence = []string{"the forward proxy did not open a tunnel: " + cut(clean(innermost(t.err)), maxEvidence)}
	f.proxyError = brokenOffError(t.err)
	return f
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
// handshake began in one. Who tries to shake hands reports how it ended.
func connectUnanswered(a *listen.Attempt) bool {
	return a.TLS && a.Connection == nil && dialled(a) && a.Dialing.TLSErr == nil && a.Dialing.TLSDone == 0 && throughProxy(a)
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
