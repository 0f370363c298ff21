package faultlab

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
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
	h3NoStatus     = "\x01\x08\x00\x00\x23foo\x01a" // foo: a
	h3BadEntry     = "\x01\x05\x00\x00\xff\xff\x03"
	h3Interim      = "\x01\x08\x00\x00\x5f\x09\x03103" // the status in full
	h3Status042    = "\x01\x08\x00\x00\x5f\x09\x03042"
	h3Status1000   = "\x01\x09\x00\x00\x5f\x09\x041000"
	h3Length5      = "\x01\x06\x00\x00\xd9\x54\x015"
	h3HugeHeaders  = "\x01\x81\x00\x00\x00" // a HEADERS frame of 16 MiB
	h3Goaway       = "\x07\x01\x00"         // GOAWAY: no request was taken
	h3Nothing      = "\x21"                 // a stream of a type that has no meaning (RFC 9114, section 6.2.3)
	h3SettingsHere = "\x04\x00"             // SETTINGS, which belong to the control stream alone
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
	nobodyThere := "network"
	if onLinux { // which alone tells that nobody has the port
		nobodyThere = "upstream"
	}
	faults := []Fault{
		failed("h3_port_silent", "connect_timeout", "connect", "network", 504, udpPort(false)),
		failed("h3_port_closed", "connect_timeout", "connect", nobodyThere, 504, udpPort(true)),
		failed("h3_certificate_untrusted", "certificate_untrusted", "tls", "proxy", 502, overH3(h3Server{stranger: true, protocols: alpn})),
		failed("h3_protocol_not_common", "http_version_mismatch", "tls", "proxy", 502, overH3(h3Server{protocols: []string{"other"}})),
		failed("h3_client_certificate_missing", "client_certificate_rejected", "tls", "proxy", 502, overH3(h3Server{protocols: alpn, asksForCertificate: true})),

		failed("h3_server_name_rejected", "tls_server_name_rejected", "tls", "proxy", 502, overH3(h3Server{protocols: alpn, certificateFor: noCertificate})),
		// It was asked for no name, as an address is none.
		failed("h3_internal_error", "tls_alert", "tls", "proxy", 502, overH3(h3Server{protocols: alpn, certificateFor: failsToFind})),

		failed("h3_stream_reset", "stream_reset", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Resets("", h3InternalError)})),
		failed("h3_request_rejected", "stream_reset", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Resets("", h3RequestRejected)})),
		failed("h3_connection_closed", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Closes("", h3NoError)})),
		failed("h3_connection_closed_error", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Closes("", h3InternalError)})),
		// QUIC says that it was closed, so that it is no race.
		failed("h3_closed_on_reused", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3FirstWell(h3Closes("", h3NoError))}, sends(post()), after(warmUp))),
		failed("h3_stream_ended_unanswered", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends("")})),
		failed("h3_ended_after_interim", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Interim)})),
		failed("h3_goaway", "goaway", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, control: h3Control + h3Goaway, takesNothing: true})),
		failed("h3_upload_stream_reset", "stream_reset", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, early: true, answer: h3Aborts(h3InternalError)}, sends(upload()))),
		failed("h3_upload_connection_closed", "closed_before_response", "wait", "upstream", 502, overH3(h3Server{protocols: alpn, early: true, answer: h3Closes("", h3InternalError)}, sends(upload()))),
		failed("h3_moved", "connection_lost", "wait", "upstream", 502, startH3Moved),
		failed("h3_lost", "connection_lost", "wait", "network", 502, overH3(h3Server{protocols: alpn, idle: 500 * time.Millisecond, answer: h3Vanishes("")})),

		failed("h3_data_before_headers", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Part)})),
		failed("h3_headers_without_status", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3NoStatus)})),
		failed("h3_status_042", "response_malformed", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Status042)})),
		failed("h3_status_1000", "response_malformed", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Status1000)})),
		failed("h3_qpack_broken", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3BadEntry)})),
		failed("h3_settings_on_stream", "http_framing_error", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3SettingsHere)})),
		failed("h3_headers_too_large", "response_headers_too_large", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3HugeHeaders)})),
		// Nothing has a name for it: six interim answers are more than the transport takes.
		failed("h3_too_many_interim", "unknown", "headers", "", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(strings.Repeat(h3Interim, 6))})),
		failed("h3_cut_in_headers", "response_cut_in_headers", "headers", "upstream", 502, overH3(h3Server{protocols: alpn, answer: h3Ends(h3Status200[:3])})),
		{
			Name: "h3_client_leaves_while_waiting", Number: "30",
			Cause: "client_closed_request", Phase: "wait", Side: "client", Outcome: "abandoned",
			Start: overH3(h3Server{protocols: alpn, answer: func(*h3Request) {}}, sends(Request{Leave: LeaveDelayed})),
		},
		{Name: "h3_good", Status: 200, Start: overH3(h3Server{protocols: alpn, answer: h3Ends(h3Status200)})},

		truncated("h3_body_stream_reset", "stream_reset", overH3(h3Server{protocols: alpn, answer: h3Resets(h3Length1000+h3Part, h3InternalError)})),
		truncated("h3_body_connection_closed", "response_truncated", overH3(h3Server{protocols: alpn, answer: h3Closes(h3Length1000+h3Part, h3InternalError)})),
		truncated("h3_body_longer_than_said", "response_length_exceeded", overH3(h3Server{protocols: alpn, answer: h3Ends(h3Length5 + h3Part)})),
		// QUIC's stream ends in good order: no transport finds fault with it.
		truncated("h3_body_shorter_than_said", "response_truncated", overH3(h3Server{protocols: alpn, answer: h3Ends(h3Length1000 + h3Part)})),
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
	certificateFor     func(*tls.ClientHelloInfo) (*tls.Certificate, error) // instead of the one that there is
	control            string                                               // what the control stream says; settings by default
	takesNothing       bool                                                 // whether no request may come
	early              bool                                                 // whether requests are answered before they are whole
	resetKey           *quic.StatelessResetKey
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

// noCertificate has none for any name, failsToFind an error of its own.
func noCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }

func failsToFind(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, errors.New("the store of certificates is not there")
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
		if s.certificateFor != nil {
			config.Certificates, config.GetCertificate = nil, s.certificateFor
		}
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

// startH3Moved makes an upstream behind a balancer, which leads a connection with a
// request on it to another server: that one knows nothing of it, and says so.
func startH3Moved() (*Upstream, error) {
	var moved atomic.Bool
	s := h3Server{protocols: []string{"h3"}, resetKey: new(quic.StatelessResetKey), answer: func(r *h3Request) {
		moved.Store(true)
		r.makesStream() // which the client acknowledges
	}}
	u, err := overH3(s)()
	if err != nil {
		return nil, err
	}
	first := u.To
	config := &tls.Config{NextProtos: s.protocols}
	if _, err := u.certify(config); err != nil {
		return u.fails(err)
	}
	if err := u.serveH3(config, s); err != nil {
		return u.fails(err)
	}
	if u.To, err = u.balance(first, u.To, &moved); err != nil {
		return u.fails(err)
	}
	return u, nil
}

// balance passes on what comes in UDP to the first server, and once it has moved to the
// second; what either says goes back.
func (u *Upstream) balance(first, second string, moved *atomic.Bool) (address string, err error) {
	var running sync.WaitGroup
	u.undo = append(u.undo, func() error { running.Wait(); return nil })
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	u.undo = append(u.undo, front.Close)
	var client atomic.Pointer[net.UDPAddr]
	servers := make(map[bool]net.Conn, 2)
	for i, to := range []string{first, second} {
		server, err := net.Dial("udp", to)
		if err != nil {
			return "", err
		}
		u.undo = append(u.undo, server.Close)
		servers[i == 1] = server
		running.Go(func() {
			for b := make([]byte, 1<<16); ; {
				n, err := server.Read(b)
				if err != nil {
					return
				}
				_, _ = front.WriteToUDP(b[:n], client.Load())
			}
		})
	}
	running.Go(func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := front.ReadFromUDP(b)
			if err != nil {
				return
			}
			client.Store(from)
			_, _ = servers[moved.Load()].Write(b[:n])
		}
	})
	return front.LocalAddr().String(), nil
}

func (u *Upstream) serveH3(config *tls.Config, s h3Server) error {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	wire := &vanishing{PacketConn: socket}
	carrier := &quic.Transport{Conn: wire, StatelessResetKey: s.resetKey}
	limits := &quic.Config{MaxIdleTimeout: s.idle}
	if s.takesNothing {
		limits.MaxIncomingStreams = -1
	}
	if s.early {
		limits.InitialStreamReceiveWindow = enough
	}
	listener, err := carrier.ListenEarly(config, limits)
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
			running.Go(func() { u.answerH3(ctx, connection, s, wire.vanish) })
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
func (u *Upstream) answerH3(ctx context.Context, connection *quic.Conn, s h3Server, vanish func()) {
	if control, err := connection.OpenUniStream(); err == nil {
		_, _ = io.WriteString(control, cmp.Or(s.control, h3Control)) // the client may be gone
	}
	for {
		stream, err := connection.AcceptStream(ctx)
		if err != nil {
			return
		}
		if s.early { // the rest is left where it is, until the client may send no more
			_, _ = io.ReadFull(stream, make([]byte, 1))
			time.Sleep(lateness)
		} else {
			_, _ = io.Copy(io.Discard, stream)
		}
		u.hasReached()
		if s.answer != nil {
			s.answer(&h3Request{connection, stream, vanish})
		}
	}
}

func (r *h3Request) say(s string) { _, _ = r.stream.Write([]byte(s)) }

// makesStream makes the client answer.
func (r *h3Request) makesStream() {
	if stream, err := r.connection.OpenUniStream(); err == nil {
		_, _ = io.WriteString(stream, h3Nothing) // the client may be gone
	}
}

// h3Ends says this and ends the stream in good order.
func h3Ends(s string) func(*h3Request) {
	return func(r *h3Request) {
		r.say(s)
		_ = r.stream.Close() // the client may be gone
	}
}

// h3FirstWell answers the connection's first request well.
func h3FirstWell(answer func(*h3Request)) func(*h3Request) {
	return func(r *h3Request) {
		if r.stream.StreamID() == 0 {
			h3Ends(h3Status200)(r)
			return
		}
		answer(r)
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

// h3Aborts resets both of a stream's directions.
func h3Aborts(code quic.StreamErrorCode) func(*h3Request) {
	return func(r *h3Request) {
		r.stream.CancelRead(code)
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
