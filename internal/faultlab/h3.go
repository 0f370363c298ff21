package faultlab

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// Error codes of HTTP/3 (RFC 9114, section 8.1).
const (
	h3NoError         = 0x100
	h3InternalError   = 0x102
	h3RequestRejected = 0x10b
)

// Bytes of HTTP/3: a control stream with empty settings, a HEADERS frame with status
// 200 (QPACK's static entry 25, RFC 9204, appendix A), the same with a Content-Length
// of 1000, and frames that don't fit.
const (
	h3Control      = "\x00\x04\x00"
	h3Status200    = "\x01\x03\x00\x00\xd9"
	h3Length1000   = "\x01\x09\x00\x00\xd9\x54\x041000"
	h3Part         = "\x00\x0fthe first part\n"
	h3NoStatus     = "\x01\x09\x00\x00\x25\x03foo\x01a" + "\x00"
	h3BadEntry     = "\x01\x05\x00\x00\xff\xff\x03"
	h3SettingsHere = "\x04\x00" // SETTINGS, which belong to the control stream alone
)

func http3Faults() []Fault {
	failed := func(name, cause, phase, side string, status int, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "46",
			Cause: cause, Phase: phase, Side: side, Outcome: "failed", Status: status,
			Start: start,
		}
	}
	truncated := func(name, cause string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "46",
			Cause: cause, Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200,
			Start: start,
		}
	}
	alpn := []string{"h3"}
	faults := []Fault{
		failed("h3_port_silent", "connect_timeout", "connect", "network", 504, udpPort(false)),
		failed("h3_port_closed", "connect_timeout", "connect", "network", 504, udpPort(true)),
		failed("h3_certificate_untrusted", "certificate_untrusted", "tls", "proxy", 502, overH3(h3Server{stranger: true, protocols: alpn})),
		failed("h3_protocol_not_common", "http_version_mismatch", "tls", "proxy", 502, overH3(h3Server{protocols: []string{"other"}})),
		failed("h3_client_certificate_missing", "client_certificate_rejected", "tls", "proxy", 502, overH3(h3Server{protocols: alpn, asksForCertificate: true})),

		failed("h3_stream_reset", "stream_reset", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Resets("", h3InternalError)})),
		failed("h3_request_rejected", "stream_reset", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Resets("", h3RequestRejected)})),
		failed("h3_connection_closed", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Closes("", h3NoError)})),
		failed("h3_connection_closed_error", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Closes("", h3InternalError)})),
		failed("h3_stream_ended_unanswered", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends("")})),
		failed("h3_lost", "connection_lost", "wait", "network", 502, overH3(h3Server{protocols: alpn, idle: 500 * time.Millisecond, answer: h3Vanishes("")})),

		failed("h3_data_before_headers", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Part)})),
		failed("h3_headers_without_status", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3NoStatus)})),
		failed("h3_qpack_broken", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3BadEntry)})),
		failed("h3_settings_on_stream", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3SettingsHere)})),
		failed("h3_cut_in_headers", "response_cut_in_headers", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Status200[:3])})),
		{
			Name: "h3_client_leaves_while_waiting", Number: "30",
			Cause: "client_closed_request", Phase: "wait", Side: "client", Outcome: "abandoned",
			Start: overH3(h3Server{protocols: alpn, answer: func(*h3Request) {}}, sends(Request{Leave: LeaveDelayed})),
		},
		{Name: "h3_good", Status: 200, Start: overH3(h3Server{protocols: alpn, answer: h3Ends(h3Status200)})},

		truncated("h3_body_stream_reset", "stream_reset", overH3(h3Server{protocols: alpn, answer: h3Resets(h3Length1000+h3Part, h3InternalError)})),
		truncated("h3_body_connection_closed", "response_truncated", overH3(h3Server{protocols: alpn, answer: h3Closes(h3Length1000+h3Part, h3InternalError)})),
		truncated("h3_body_lost", "connection_lost", overH3(h3Server{protocols: alpn, idle: 500 * time.Millisecond, answer: h3Vanishes(h3Length1000 + h3Part)})),
	}
	for i := range faults {
		switch faults[i].Name {
		case "h3_body_lost":
			faults[i].Side = "network"
		case "h3_port_silent", "h3_request_rejected", "h3_certificate_untrusted":
			faults[i].RequestSent = "no"
		case "h3_stream_reset", "h3_lost":
			faults[i].RequestSent = "maybe"
		}
	}
	return faults
}

// h3Server is a server of HTTP/3 that breaks its rules.
type h3Server struct {
	protocols          []string // of ALPN
	stranger           bool     // the certificate is one that nobody trusts
	asksForCertificate bool
	idle               time.Duration // after which a silent connection is given up; 0 for QUIC's default
	answer             func(*h3Request)
}

// h3Request is a request that has come.
type h3Request struct {
	connection *quic.Conn
	stream     *quic.Stream
	vanish     func()
}

// udpPort makes an upstream on a UDP port where nothing answers: nobody reads there,
// or, where it is closed, the system refuses. It is the port of a socket that is
// connected elsewhere, so that no other test is given it.
func udpPort(closed bool) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(transport("tls", "versions 3"))
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		u.undo = append(u.undo, c.Close)
		u.To = c.LocalAddr().String()
		if !closed {
			return u, nil
		}
		connected, err := net.DialUDP("udp", nil, c.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return u.fails(err)
		}
		u.undo = append(u.undo, connected.Close)
		u.To = connected.LocalAddr().String()
		return u, nil
	}
}

// overH3 makes an upstream that speaks HTTP/3, with a certificate that is trusted
// unless s says otherwise.
func overH3(s h3Server, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		ca, err := newAuthority("Lab CA")
		if err != nil {
			return nil, err
		}
		issuer := ca
		if s.stranger {
			if issuer, err = newAuthority("Stranger CA"); err != nil {
				return nil, err
			}
		}
		certificate, err := issuer.issue(nil)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: s.protocols}
		if s.asksForCertificate {
			config.ClientAuth = tls.RequireAnyClientCert
		}
		if err := u.serveH3(config, s); err != nil {
			return u.fails(err)
		}
		if err := u.trust(ca); err != nil {
			return u.fails(err)
		}
		u.Transport = append(u.Transport, "versions 3")
		return u, nil
	}
}

func (u *Upstream) serveH3(config *tls.Config, s h3Server) error {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	wire := &vanishing{PacketConn: socket}
	carrier := &quic.Transport{Conn: wire}
	listener, err := carrier.Listen(config, &quic.Config{MaxIdleTimeout: s.idle})
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	u.To = socket.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			connection, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			running.Go(func() { u.answerH3(ctx, connection, s.answer, wire.vanish) })
		}
	})
	u.undo = append(u.undo, func() error {
		cancel()
		err := errors.Join(listener.Close(), carrier.Close(), socket.Close())
		running.Wait()
		return err
	})
	return nil
}

// answerH3 answers the requests of a connection.
func (u *Upstream) answerH3(ctx context.Context, connection *quic.Conn, answer func(*h3Request), vanish func()) {
	if control, err := connection.OpenUniStream(); err == nil {
		_, _ = control.Write([]byte(h3Control)) // the client may be gone
	}
	for {
		stream, err := connection.AcceptStream(ctx)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, stream)
		u.hasReached()
		if answer != nil {
			answer(&h3Request{connection, stream, vanish})
		}
	}
}

func (r *h3Request) say(s string) { _, _ = r.stream.Write([]byte(s)) }

// h3Ends says this and ends the stream in good order.
func h3Ends(s string) func(*h3Request) {
	return func(r *h3Request) {
		r.say(s)
		_ = r.stream.Close() // the client may be gone
	}
}

// h3Resets says this and resets the stream, h3Closes the whole connection.
func h3Resets(s string, code quic.StreamErrorCode) func(*h3Request) {
	return func(r *h3Request) {
		r.say(s)
		r.settle(s)
		r.stream.CancelWrite(code)
	}
}

func h3Closes(s string, code quic.ApplicationErrorCode) func(*h3Request) {
	return func(r *h3Request) {
		r.say(s)
		r.settle(s)
		_ = r.connection.CloseWithError(code, "")
	}
}

// h3Vanishes says this, and from then on nothing comes through in either direction.
func h3Vanishes(s string) func(*h3Request) {
	return func(r *h3Request) {
		r.say(s)
		r.settle(s)
		r.vanish()
	}
}

// settle lets what was said arrive: a reset overtakes it, and takes it back.
func (r *h3Request) settle(s string) {
	if s != "" {
		time.Sleep(lateness)
	}
}

// vanishing is a socket that can be made to lose everything.
// QUIC must not see it as the UDP socket that it is, which it would read past us.
type vanishing struct {
	net.PacketConn
	gone atomic.Bool
}

// SetReadBuffer and SetWriteBuffer are what QUIC asks of a socket.
func (v *vanishing) SetReadBuffer(bytes int) error {
	return v.PacketConn.(*net.UDPConn).SetReadBuffer(bytes)
}

func (v *vanishing) SetWriteBuffer(bytes int) error {
	return v.PacketConn.(*net.UDPConn).SetWriteBuffer(bytes)
}

func (v *vanishing) vanish() { v.gone.Store(true) }

// ReadFrom implements net.PacketConn.
func (v *vanishing) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := v.PacketConn.ReadFrom(b)
		if err != nil || !v.gone.Load() {
			return n, from, err
		}
	}
}

// WriteTo implements net.PacketConn.
func (v *vanishing) WriteTo(b []byte, to net.Addr) (int, error) {
	if v.gone.Load() {
		return len(b), nil
	}
	return v.PacketConn.WriteTo(b, to)
}
