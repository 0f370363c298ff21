package faultlab

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Way is something that a config may have between Caddy and an upstream. A fault is
// called the same over every way over which it can be met.
type Way struct {
	Name string
	// Over returns the site's directives that lead to u over this way, or why the
	// fault can't be met so. It changes u.
	Over func(f Fault, u *Upstream) (site, unfit string, err error)
}

// Ways lists the ways that any fault of the lab may be led over; what an upstream
// itself speaks isn't one of them.
func Ways() []Way {
	return []Way{
		{"TLS", overHTTPS},
		{"h2c", overH2CTransport},
		{"HTTP/3", overHTTP3},
		{"unix socket", overSocket},
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

// overHTTPS serves the fault over TLS, where it is one of a server of ours.
func overHTTPS(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case !u.plain(), f.Cause == "tls_expected":
		return "", unfitSpeaks, nil
	case beforeConnection(f):
		u.Transport = append(u.Transport, "tls")
		return u.Caddyfile(), "", nil
	case u.behave == nil, !isTCP(u.To):
		return "", unfitSpeaks, nil
	}
	ca, err := newAuthority("Lab CA")
	if err != nil {
		return "", "", err
	}
	certificate, err := ca.issue(nil)
	if err != nil {
		return "", "", err
	}
	if err := u.serveAgain(secured(&tls.Config{Certificates: []tls.Certificate{certificate}}, u.behave)); err != nil {
		return "", "", err
	}
	if err := u.trust(ca); err != nil {
		return "", "", err
	}
	return u.Caddyfile(), "", nil
}

// serveAgain serves another behaviour in place of the one that u has.
func (u *Upstream) serveAgain(b behaviour) error {
	l, err := listenTCP()
	if err != nil {
		return err
	}
	u.To = l.Addr().String()
	u.serve(l, b)
	return nil
}

func overH2CTransport(f Fault, u *Upstream) (site, unfit string, err error) {
	if !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks, nil
	}
	u.Transport = append(u.Transport, "versions h2c 2")
	return u.Caddyfile(), "", nil
}

// overSocket serves the fault on a unix socket.
func overSocket(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case beforeConnection(f), f.Cause == "connection_lost", f.Cause == "reset_before_response":
		return "", "a socket has no name, address, port, network or reset", nil
	case f.Cause == "read_timeout", f.Cause == "request_write_timeout", f.Cause == "response_stalled":
		return "", "Caddy has read_timeout and write_timeout for TCP alone", nil
	case u.behave == nil, !isTCP(u.To), u.speaks("tls"), u.speaks("network_proxy"), u.has("dynamic"), u.has("health_"):
		return "", unfitSpeaks, nil
	}
	dir, err := u.tempDir()
	if err != nil {
		return "", "", err
	}
	path := filepath.Join(dir, "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", "", err
	}
	u.To = unixAddress(path)
	u.serve(l, u.behave)
	return u.Caddyfile(), "", nil
}

// overHTTP3 has nothing to do with a fault in UDP: what is over TCP shows before.
func overHTTP3(f Fault, u *Upstream) (site, unfit string, err error) {
	if f.Phase != "select" || !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks, nil
	}
	u.Transport = append(u.Transport, "tls", "versions 3")
	return u.Caddyfile(), "", nil
}

func overFastCGITransport(f Fault, u *Upstream) (site, unfit string, err error) {
	if !beforeConnection(f) || !u.plain() {
		return "", unfitSpeaks, nil
	}
	for _, line := range u.Transport {
		if !strings.HasPrefix(line, "dial_timeout ") {
			return "", "transport fastcgi has no " + strings.Fields(line)[0], nil
		}
	}
	u.FastCGI = true
	return u.Caddyfile(), "", nil
}

// overForwardProxy makes the upstream a forward proxy: to plain HTTP it does what it
// would do otherwise.
func overForwardProxy(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case f.Phase == "select" && f.Cause != "dial_address_invalid" && beforeConnection(f):
		u.Transport = append(u.Transport, "network_proxy url http://127.0.0.1:1") // which is never asked
		return u.Caddyfile(), "", nil
	case beforeConnection(f):
		return "", "the forward proxy looks up and connects, not Caddy", nil
	case u.speaks("network_proxy"):
		return "", unfitOwn, nil
	case u.speaks("proxy_protocol"):
		return "", "the forward proxy gets the header, and Go's transport makes the handshake", nil
	case !isTCP(u.To), u.FastCGI, u.speaks("versions"):
		return "", unfitSpeaks, nil
	case f.Cause == "client_closed_request" && !u.plain():
		return "", "whether the tunnel or the handshake is waited for cannot be told", nil
	case !u.plain():
		l, err := listenTCP()
		if err != nil {
			return "", "", err
		}
		to := u.To
		u.serve(l, tunnel(to))
		u.Transport = append(u.Transport, "network_proxy url http://"+l.Addr().String())
		return u.Caddyfile(), "", nil
	}
	u.Transport = append(u.Transport, "network_proxy url http://"+u.To)
	u.To = labName + ":80"
	return u.Caddyfile(), "", nil
}

// tunnel is a forward proxy that connects whoever asks for it with to.
func tunnel(to string) behaviour {
	return func(c *conn) {
		if _, err := http.ReadRequest(c.reader); err != nil {
			return
		}
		upstream, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer upstream.Close()
		c.say("HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(upstream, c.reader)
			_ = upstream.Close() // the client has gone
		}()
		if _, err := io.Copy(c.Conn, upstream); errors.Is(err, syscall.ECONNRESET) {
			c.reset()
		}
	}
}

// overPROXY has the upstream read the header, where the fault comes after it.
func overPROXY(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case u.FastCGI, u.speaks("versions 3"), u.speaks("proxy_protocol"):
		return "", unfitSpeaks, nil
	case f.Cause == "keepalive_race":
		return "", "a connection is used again for the same client's connection alone", nil
	case beforeConnection(f):
	case u.behave == nil, !isTCP(u.To), u.speaks("network_proxy"):
		return "", unfitSpeaks, nil
	default:
		if err := u.serveAgain(afterHeader(u.behave)); err != nil {
			return "", "", err
		}
	}
	u.Transport = append(u.Transport, "proxy_protocol v2")
	if u.speaks("tls") && !u.speaks("tls_server_name") {
		// Caddy makes the handshake by itself then, and knows no name for it.
		u.Transport = append(u.Transport, "tls_server_name 127.0.0.1")
	}
	return u.Caddyfile(), "", nil
}

// afterHeader reads a header of the PROXY protocol's second version, 16 bytes and as
// many as the last two of them say, then behaves like b.
func afterHeader(b behaviour) behaviour {
	return func(c *conn) {
		header := make([]byte, 16)
		if _, err := io.ReadFull(c.Conn, header); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c.Conn, int64(binary.BigEndian.Uint16(header[14:]))); err != nil {
			return
		}
		b(c)
	}
}

func overDynamic(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case f.Phase == "dns":
		return "", "the dynamic source looks the name up", nil
	case !isTCP(u.To), u.has("health_"):
		return "", unfitUpstream, nil
	}
	host, port, err := net.SplitHostPort(u.To)
	if err != nil || host == "" {
		return "", unfitUpstream, nil
	}
	u.Block = append(u.Block, "dynamic a "+host+" "+port)
	return "reverse_proxy {\n" + u.Directives() + "}\n", "", nil
}

// overActiveChecks lets the checks fail on another port, so that they don't use up
// the fault, and not often enough to count.
func overActiveChecks(_ Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case u.has("health_"):
		return "", unfitOwn, nil
	case u.has("dynamic"), u.To == "":
		return "", "dynamic upstreams are not checked actively", nil
	case strings.Contains(u.To, "unix/"), strings.Contains(u.To, "{"):
		return "", "the checks would use up the fault's own connections", nil
	}
	u.Block = append(u.Block, "health_port 1", "health_interval 1h", "health_fails 100000")
	return u.Caddyfile(), "", nil
}

func overForwardAuth(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case u.Request.Body != nil:
		return "", "forward_auth sends a GET without a body", nil
	case f.Phase == "body":
		return "", "the body of an answer that lets the request pass is not read", nil
	case u.Request.Header["Upgrade"] != "", f.Cause == "upgrade_failed":
		return "", "forward_auth does not upgrade", nil
	case f.Outcome == "rescued":
		return "", "the request goes on to another upstream", nil
	}
	return "forward_auth " + u.To + " {\n\turi /auth\n" + u.Directives() + "}\nrespond ok\n", "", nil
}

// isTCP says that to is one host and port.
func isTCP(to string) bool {
	return !strings.ContainsAny(to, " /{") && strings.Contains(to, ":")
}
