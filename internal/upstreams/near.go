package upstreams

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Nearly hears what nearly went wrong: a warning that has its kind, upstream, time and what
// was measured, and no words yet.
type Nearly func(failure.Warning)

// leastFull is the least unhealthy_request_count that is warned of: four fifths of a
// smaller one are all of it, which is how such a one is meant.
const leastFull = 5

// hearFull hears that an upstream, which is about to get one more request, is near the
// number that it may have at a time.
func (s *selection) hearFull(name string, upstream *reverseproxy.Upstream) {
	inFlight := upstream.NumRequests() + 1
	if inFlight < failure.NearOf(upstream.MaxRequests) {
		return
	}
	s.nearly(failure.Warning{
		Kind: failure.WarnRequests, Upstream: name, Address: shownAddress(name, upstream.Dial), LastSeen: failure.At(time.Now()),
		Measured: &failure.Measured{Name: "unhealthy_request_count", Value: float64(inFlight), Limit: float64(upstream.MaxRequests), Unit: "requests"},
	})
}

// hearNear tells what nearly went wrong in the round trip of r.
func (e *ear) hearNear(near *listen.Near, r *http.Request) {
	if near.Upstream == "" {
		return
	}
	seen := failure.Warning{Upstream: near.Upstream, Address: shownAddress(near.Upstream, near.Address), LastSeen: failure.At(time.Now())}
	slow := func(kind failure.WarningKind, took time.Duration, limit failure.Setting) {
		if took > 0 {
			seen.Kind = kind
			seen.Measured = &failure.Measured{Name: limit.Name, Value: float64(failure.MS(took)), Limit: float64(failure.MS(limit.Value)), Unit: "ms"}
			e.nearly(seen)
		}
	}
	connect, _ := e.limits.Setting(failure.DialTimeout)
	slow(failure.WarnConnect, near.Connect, connect)
	response, _ := e.limits.ResponseLimit()
	slow(failure.WarnResponse, near.Response, response)
	if chosen, _ := forwardProxy(r); chosen != nil {
		return // before the handshake a tunnel was asked for, and the certificate may be the forward proxy's
	}
	handshake, _ := e.limits.Setting(failure.TLSTimeout)
	slow(failure.WarnHandshake, near.Handshake, handshake)
	if c := near.Certificate; c != nil {
		if e.asksForAnyName(near.Upstream) {
			c.Name = ""
		}
		seen.Kind, seen.Measured, seen.Certificate = failure.WarnCertificate, nil, c
		e.nearly(seen)
	}
}

// asksForAnyName says that a client may have a part in which name a certificate of this
// upstream is asked for. Who has one for each has the name in it, too.
func (e *ear) asksForAnyName(upstream string) bool {
	switch upstream {
	case dynamicSource, severalSources: // a plugin's names, or one's among several
		return true
	}
	return failure.Expands(upstream) || e.limits.TLS != nil && failure.Expands(e.limits.TLS.ServerName)
}

// shownAddress is the address of an upstream of that name where it says more than the name,
// and is not made of what a client sent: "" for others.
func shownAddress(name, address string) string {
	if address == name || failure.Expands(name) {
		return ""
	}
	if !isPlain(address) {
		return ""
	}
	return address
}

// isPlain says that an address is of numbers alone. A zone may be any text.
func isPlain(address string) bool {
	plain, err := netip.ParseAddrPort(address)
	return err == nil && plain.Addr().Zone() == ""
}
