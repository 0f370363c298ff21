package upstreams

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// ownTransport is a transport as a reverse_proxy's, listened to, whose connections are its
// own: it takes none that a client's request would get, and leaves none behind.
type ownTransport struct {
	http.RoundTripper
	// dial makes connections as the transport does, unheard; nil where it can't be told how.
	dial dialFunc
	// tls is how TLS is spoken, nil where it isn't; name is what the certificate has to be
	// for.
	tls  *tls.Config
	name string
	// protocol is what is spoken, "" where a TLS handshake decides it.
	protocol string
	// close ends its connections.
	close    func()
	notTried []failure.NotTried
}

// bareTransport is the handler's own transport, without the ear.
func (t *Target) bareTransport() http.RoundTripper {
	if e, ok := t.via.proxy.Transport.(*ear); ok {
		return e.RoundTripper
	}
	return t.via.proxy.Transport
}

// ownTransport makes one for a request with these placeholders.
func (t *Target) ownTransport(repl *caddy.Replacer) ownTransport {
	info := t.dialInfo()
	e := &ear{limits: t.via.limits}
	own := ownTransport{RoundTripper: e, close: func() {}}
	switch inner := t.bareTransport().(type) {
	case *reverseproxy.HTTPTransport:
		e.protocol = protocolOf(inner)
		if e.tls = inner.TLS; e.tls != nil && !slices.Contains(inner.TLS.ExceptPorts, info.Port) {
			if own.tls = inner.Transport.TLSClientConfig.Clone(); own.tls == nil {
				own.tls = new(tls.Config)
			}
			own.tls.ClientSessionCache = nil // a handshake that is resumed shows no certificate
			if strings.Contains(own.tls.ServerName, "{") {
				own.tls.ServerName = repl.ReplaceAll(own.tls.ServerName, "")
			}
			own.name = cmp.Or(own.tls.ServerName, info.Host)
		}
		if own.protocol = e.protocol; own.protocol == "" && own.tls == nil {
			own.protocol = "http/1.1" // a port of except_ports
		}
		var next http.RoundTripper
		if e.protocol == "h3" {
			e.quic = true
			h3 := &http3.Transport{TLSClientConfig: own.tls}
			next, own.close = h3, func() { _ = h3.Close() }
		} else {
			apart := t.apart(inner)
			next, own.dial, own.close = apart, t.plainDial(inner), apart.CloseIdleConnections
		}
		e.RoundTripper = roundTripper(func(r *http.Request) (*http.Response, error) {
			inner.SetScheme(r)
			return next.RoundTrip(r)
		})
	case *fastcgi.Transport:
		apart := *inner // it keeps no connections
		// Once it is connected it heeds no context.
		apart.ReadTimeout, apart.WriteTimeout = sooner(apart.ReadTimeout), sooner(apart.WriteTimeout)
		if strings.Contains(apart.Root, "{") {
			own.notTried = append(own.notTried, failure.NotTried{What: "a script of the site", Why: "where the site's files are (root) is known of a client's request alone: any answer of the FastCGI server counts"})
		}
		e.RoundTripper, e.protocol, e.wholeTrace = apart, "fastcgi", true
		own.dial, own.protocol = new(net.Dialer).DialContext, "fastcgi"
	default:
		e.RoundTripper, e.wholeTrace = inner, true
		own.notTried = append(own.notTried, failure.NotTried{What: "a connection of its own", Why: "the transport is another plugin's, and may have used one that it had"})
	}
	return own
}

// sooner bounds a timeout by what a probe waits for; 0 is none.
func sooner(limit caddy.Duration) caddy.Duration {
	most := caddy.Duration(forRequest(ProbeTimeout))
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}

// apart is Go's transport with the settings of a reverse_proxy's and connections of its
// own, whose dialer is listened to.
func (t *Target) apart(inner *reverseproxy.HTTPTransport) *http.Transport {
	apart := inner.Transport.Clone()
	if apart.TLSClientConfig != nil {
		apart.TLSClientConfig.ClientSessionCache = nil
	}
	if t.via.dial == nil { // that of the original isn't
		hear := func(c net.Conn, past *listen.Past) net.Conn { return listen.NewWire(c, past) }
		if t.via.protocol == "h2c" {
			hear = func(c net.Conn, past *listen.Past) net.Conn { return listen.NewSharedWire(c, past) }
		}
		hearDialer(apart, hear)
	}
	if slices.Contains(inner.Versions, "2") || slices.Contains(inner.Versions, "h2c") {
		// Of what Clone has copied, this leads to the connections of the original. It worked for
		// that one, in NewTransport.
		_ = http2.ConfigureTransport(apart)
	}
	return apart
}

// plainDial is the transport's own dialer.
func (t *Target) plainDial(inner *reverseproxy.HTTPTransport) dialFunc {
	if t.via.dial != nil {
		return t.via.dial
	}
	return inner.Transport.DialContext
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// handshakeOf is what a handshake tells that worked, for a certificate that has to be for
// name; config is the one that it was made with.
func handshakeOf(state *tls.ConnectionState, config *tls.Config, name string) *failure.Handshake {
	h := &failure.Handshake{Version: tls.VersionName(state.Version), ALPN: state.NegotiatedProtocol, ServerName: cmp.Or(state.ServerName, name)}
	if len(state.PeerCertificates) == 0 {
		return h
	}
	var err error
	if config == nil || config.InsecureSkipVerify {
		err = verify(state, config, name)
	}
	h.Certificate = certificateOf(state.PeerCertificates[0], err)
	return h
}

// verify checks a certificate that nobody has checked.
func verify(state *tls.ConnectionState, config *tls.Config, name string) error {
	options := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	if config != nil {
		options.Roots = config.RootCAs
	}
	for _, one := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(one)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}

// certificateOf is what is shown of a certificate, which is not verified where err says
// why.
func certificateOf(of *x509.Certificate, err error) *failure.PeerCertificate {
	c := &failure.PeerCertificate{
		Subject: of.Subject.String(), Issuer: of.Issuer.String(), Names: append([]string{}, of.DNSNames...),
		NotAfter: failure.At(of.NotAfter), Verified: err == nil,
	}
	for _, ip := range of.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	if err != nil {
		c.Error = err.Error()
	}
	return c
}

// dialled makes a connection of its own to the address that the request reached.
func (p *probe) dialled(ctx context.Context, network, address string) (net.Conn, error) {
	info := p.dialInfo()
	info.Network, info.Address = network, address
	return p.own.dial(context.WithValue(ctx, dialInfoKey, info), network, address)
}

// within is how long something may take.
func within(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(most, time.Until(deadline)), time.Millisecond)
	}
	return most
}
