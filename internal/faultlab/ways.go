package faultlab

import (
	"net"
	"slices"
	"strings"
)

// Way is something that a config may have between Caddy and an upstream. A fault is
// called the same over every way over which it can be met.
type Way struct {
	Name string
	// Over returns the site's directives that lead to u over this way, or why the
	// fault can't be met so. It changes u.
	Over func(f Fault, u *Upstream) (site, unfit string)
}

// Ways lists the ways that any fault of the lab may be led over; what an upstream
// itself speaks isn't one of them.
func Ways() []Way {
	return []Way{
		{"TLS", overHTTPS},
		{"h2c", overH2CTransport},
		{"HTTP/3", overHTTP3},
		{"FastCGI", overFastCGITransport},
		{"forward proxy", overForwardProxy},
		{"PROXY protocol", overPROXY},
		{"dynamic upstreams", overDynamic},
		{"active checks", overActiveChecks},
		{"forward_auth", overForwardAuth},
	}
}

// Why a fault can't be met over a way.
const (
	unfitSpeaks   = "the upstream of this fault would have to speak it"
	unfitUpstream = "the fault is made of other upstreams"
	unfitOwn      = "it is in the fault already"
)

// beforeConnection says that a fault shows before there is a connection, and so
// whatever would be spoken over it.
func beforeConnection(f Fault) bool {
	switch {
	case f.Outcome == "rescued", f.Cause == "upstreams_full":
		return false // an upstream has to answer, or to be kept busy
	}
	return f.Phase == "select" || f.Phase == "dns" || f.Phase == "connect"
}

func (u *Upstream) speaks(word string) bool {
	return slices.ContainsFunc(u.Transport, func(line string) bool { return strings.HasPrefix(line+" ", word+" ") })
}

func (u *Upstream) has(word string) bool {
	return slices.ContainsFunc(u.Block, func(line string) bool { return strings.HasPrefix(line, word) })
}

// plain says that HTTP/1.1 is spoken to the upstream, without TLS.
func (u *Upstream) plain() bool {
	return !u.FastCGI && !strings.Contains(u.To, "://") && !slices.ContainsFunc(u.Transport, func(line string) bool {
		return strings.HasPrefix(line, "tls") || strings.HasPrefix(line, "versions")
	})
}

func overHTTPS(f Fault, u *Upstream) (site, unfit string) {
	if !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks
	}
	u.Transport = append(u.Transport, "tls")
	return u.Caddyfile(), ""
}

func overH2CTransport(f Fault, u *Upstream) (site, unfit string) {
	if !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks
	}
	u.Transport = append(u.Transport, "versions h2c 2")
	return u.Caddyfile(), ""
}

// overHTTP3 has nothing to do with a fault in UDP: what is over TCP shows before.
func overHTTP3(f Fault, u *Upstream) (site, unfit string) {
	if f.Phase != "select" || !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks
	}
	u.Transport = append(u.Transport, "tls", "versions 3")
	return u.Caddyfile(), ""
}

func overFastCGITransport(f Fault, u *Upstream) (site, unfit string) {
	if !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks
	}
	for _, line := range u.Transport {
		if !strings.HasPrefix(line, "dial_timeout ") {
			return "", "transport fastcgi has no " + strings.Fields(line)[0]
		}
	}
	u.FastCGI = true
	return u.Caddyfile(), ""
}

// overForwardProxy makes the upstream a forward proxy: to plain HTTP it does what it
// would do otherwise.
func overForwardProxy(f Fault, u *Upstream) (site, unfit string) {
	switch {
	case beforeConnection(f):
		return "", "the forward proxy looks up and connects, not Caddy"
	case u.speaks("network_proxy"):
		return "", unfitOwn
	case !u.plain() || !isTCP(u.To):
		return "", unfitSpeaks
	}
	u.Transport = append(u.Transport, "network_proxy url http://"+u.To)
	u.To = labName + ":80"
	return u.Caddyfile(), ""
}

func overPROXY(f Fault, u *Upstream) (site, unfit string) {
	if !beforeConnection(f) || u.FastCGI {
		return "", unfitSpeaks
	}
	u.Transport = append(u.Transport, "proxy_protocol v2")
	return u.Caddyfile(), ""
}

func overDynamic(f Fault, u *Upstream) (site, unfit string) {
	switch {
	case f.Phase == "dns":
		return "", "the dynamic source looks the name up"
	case !isTCP(u.To):
		return "", unfitUpstream
	}
	host, port, err := net.SplitHostPort(u.To)
	if err != nil || host == "" {
		return "", unfitUpstream
	}
	u.To = ""
	u.Block = append(u.Block, "dynamic a "+host+" "+port)
	return u.Caddyfile(), ""
}

// overActiveChecks lets the checks fail on another port, so that they don't use up
// the fault, and not often enough to count.
func overActiveChecks(_ Fault, u *Upstream) (site, unfit string) {
	switch {
	case u.has("health_"):
		return "", unfitOwn
	case u.FastCGI:
		return "", "of FastCGI with active checks the request's trace alone is heard"
	case u.has("dynamic"), u.To == "":
		return "", "dynamic upstreams are not checked actively"
	case strings.Contains(u.To, "unix/"), strings.Contains(u.To, "{"):
		return "", "the checks would use up the fault's own connections"
	}
	u.Block = append(u.Block, "health_port 1", "health_interval 1h", "health_fails 100000")
	return u.Caddyfile(), ""
}

func overForwardAuth(f Fault, u *Upstream) (site, unfit string) {
	switch {
	case u.Request.Body != nil:
		return "", "forward_auth sends a GET without a body"
	case f.Phase == "body":
		return "", "the body of an answer that lets the request pass is not read"
	case u.Request.Header["Upgrade"] != "", f.Cause == "upgrade_failed":
		return "", "forward_auth does not upgrade"
	case f.Outcome == "rescued":
		return "", "the request goes on to another upstream"
	}
	return "forward_auth " + u.To + " {\n\turi /auth\n" + u.Directives() + "}\nrespond ok\n", ""
}

// isTCP says that to is one host and port.
func isTCP(to string) bool {
	return !strings.ContainsAny(to, " /{") && strings.Contains(to, ":")
}
