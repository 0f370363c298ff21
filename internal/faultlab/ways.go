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
		{"h2", overHTTP2},
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
	unfitRace     = "Caddy's own body has a data race there"
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
	case u.behave == nil, !isTCP(u.To), u.speaks("network_proxy"):
		return "", unfitSpeaks, nil
	}
	if err := u.secure(new(tls.Config), u.behave); err != nil {
		return "", "", err
	}
	return u.Caddyfile(), "", nil
}

// secure serves another behaviour in place of the one that u has, over TLS.
func (u *Upstream) secure(config *tls.Config, b behaviour) error {
	ca, err := u.certify(config)
	if err != nil {
		return err
	}
	if err := u.serveAgain(secured(config, b)); err != nil {
		return err
	}
	return u.trust(ca)
}

// certify adds a certificate to config, and returns who vouches for it.
func (u *Upstream) certify(config *tls.Config) (*authority, error) {
	ca, certificate, err := newCertificate(nil)
	config.Certificates = []tls.Certificate{certificate}
	return ca, err
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

// leavesUploading says that the client leaves while its body is sent on. Over HTTP/2 and
// 3 Caddy's own body has a data race then (reverseproxy.go, bodyNopCloserIfNotRead).
func (u *Upstream) leavesUploading() bool {
	return u.Request.Body != nil && u.Request.Leave != LeaveAnswered
}

// overHTTP2 serves the application of a fault over TLS; what shows before the
// application is asked is the same as over TLS.
func overHTTP2(_ Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case u.app == nil, !u.plain():
		return "", unfitSpeaks, nil
	case u.leavesUploading():
		return "", unfitRace, nil
	}
	if err := u.secure(&tls.Config{NextProtos: []string{"h2"}}, servesHTTP2(u.application())); err != nil {
		return "", "", err
	}
	return u.Caddyfile(), "", nil
}

func overH2CTransport(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case !u.plain(), !beforeConnection(f) && u.app == nil:
		return "", unfitSpeaks, nil
	case u.leavesUploading():
		return "", unfitRace, nil
	case !beforeConnection(f):
		if err := u.serveAgain(servesHTTP2(u.application())); err != nil {
			return "", "", err
		}
	}
	u.Transport = append(u.Transport, "versions h2c 2")
	return u.Caddyfile(), "", nil
}

// overSocket serves the fault on a unix socket.
func overSocket(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case f.Cause == "upstreams_unhealthy" && u.behave == nil:
		dir, err := u.tempDir()
		u.To = unixAddress(filepath.Join(dir, "app.sock"))
		return u.Caddyfile(), "", err
	case beforeConnection(f) && f.Cause != "file_descriptors_exhausted", f.Cause == "connection_lost", f.Cause == "reset_before_response":
		return "", "a socket has no name, address, port or network, and is reset in another way", nil
	case f.Cause == "read_timeout", f.Cause == "request_write_timeout", f.Cause == "response_stalled":
		return "", "Caddy has read_timeout and write_timeout for TCP alone", nil
	case u.behave == nil, !isTCP(u.To), u.speaks("network_proxy"), u.has("dynamic"), u.has("health_"):
		return "", unfitSpeaks, nil
	}
	if err := u.serveOnSocket(u.behave); err != nil {
		return "", "", err
	}
	if u.speaks("tls") {
		u.nameServer()
		// Without, Caddy takes the socket's path for the host.
		u.Block = append(u.Block, "header_up Host "+labName)
	}
	return u.Caddyfile(), "", nil
}

// inUDP are causes that show while connecting in UDP, too.
var inUDP = []string{"host_unreachable", "network_unreachable", "connect_prohibited", "address_family_unavailable", "file_descriptors_exhausted"}

// overHTTP3 serves the handshake of a fault in QUIC, or its application over HTTP/3.
// What shows before is another thing in UDP, but where the system itself refuses.
func overHTTP3(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case u.handshake != nil && (u.handshake.MaxVersion == 0 || u.handshake.MaxVersion >= tls.VersionTLS13):
		config := u.handshake.Clone()
		config.NextProtos = []string{"h3"}
		err = u.serveH3(config, h3Server{})
	case !u.plain():
		return "", unfitSpeaks, nil
	case f.Cause == "upstreams_unhealthy" && u.behave == nil: // a handshake that fails takes less time than silence
		err = u.serveH3(new(tls.Config), h3Server{})
	case f.Phase == "dns":
		u.resolveHere()
	case beforeConnection(f) && (f.Phase == "select" || slices.Contains(inUDP, f.Cause)):
	case u.leavesUploading():
		return "", unfitRace, nil
	case u.app != nil:
		err = u.secureHTTP3()
	default:
		return "", unfitSpeaks, nil
	}
	if !u.speaks("tls") {
		u.Transport = append(u.Transport, "tls")
	}
	u.Transport = append(u.Transport, "versions 3")
	return u.Caddyfile(), "", err
}

// secureHTTP3 serves u's application over HTTP/3.
func (u *Upstream) secureHTTP3() error {
	config := new(tls.Config)
	ca, err := u.certify(config)
	if err != nil {
		return err
	}
	if err := u.serveHTTP3(config, u.application()); err != nil {
		return err
	}
	return u.trust(ca)
}

func overFastCGITransport(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case !u.plain(), !beforeConnection(f) && u.app == nil:
		return "", unfitSpeaks, nil
	case f.Cause == "content_coding_invalid", f.Cause == "request_not_sendable":
		return "", "transport fastcgi neither undoes a coding nor refuses a header", nil
	case f.Phase == "dns":
		u.resolveHere()
	case !beforeConnection(f):
		if err := u.serveAgain(servesFastCGI(u.application())); err != nil {
			return "", "", err
		}
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
	case f.Phase == "select" && f.Name != "placeholder_empty" && beforeConnection(f):
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
	u.Block = append(u.Block, "header_up Host {upstream_hostport}") // or it would be asked for another than the upstream
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
	u.nameServer() // Caddy makes the handshake by itself then, and knows no name for it
	return u.Caddyfile(), "", nil
}

// nameServer names what the certificate is for, where the address doesn't tell.
func (u *Upstream) nameServer() {
	if u.speaks("tls") && !u.speaks("tls_server_name") {
		u.Transport = append(u.Transport, "tls_server_name 127.0.0.1")
	}
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
func overActiveChecks(f Fault, u *Upstream) (site, unfit string, err error) {
	switch {
	case u.has("health_"):
		return "", unfitOwn, nil
	case u.has("dynamic"), u.To == "":
		return "", "dynamic upstreams are not checked actively", nil
	case f.Cause == "retried_without_body" && u.FastCGI:
		return "", "no ear hears FastCGI read a body there", nil
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
