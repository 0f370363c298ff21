package faultlab

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
)

// Frames of HTTP/2: types and flags (RFC 9113, section 6).
const (
	frameData        = 0
	frameHeaders     = 1
	frameReset       = 3
	frameSettings    = 4
	framePing        = 6
	frameGoaway      = 7
	frameWindow      = 8
	flagAck          = 1
	flagEndOfStream  = 1
	flagEndOfHeaders = 4

	frameHead    = 9 // bytes
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	firstStream  = 1
	status200    = "\x88"             // HPACK's static entry 8 (RFC 7541, appendix A)
	length5      = "\x0f\x0d\x015"    // a literal with the static name 28, content-length
	length1000   = "\x0f\x0d\x041000" // the same
	unknownEntry = "\xff\xff\x0f"     // an index far beyond both tables
)

// Settings of HTTP/2 (RFC 9113, section 6.5.2).
const (
	windowSize    = 4
	maxHeaderList = 6
	maxWindow     = 1<<31 - 1
	initialWindow = 1<<16 - 1
)

// Error codes of HTTP/2 (RFC 9113, section 7).
const (
	noError         = 0
	protocolError   = 1
	internalError   = 2
	refusedStream   = 7
	cancelStream    = 8
	enhanceYourCalm = 11
)

func http2Faults() []Fault {
	failed := func(name, number, cause, phase, side string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: phase, Side: side, Outcome: "failed", Status: 502,
			Start: start,
		}
	}
	truncated := func(name, cause string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: "34e",
			Cause: cause, Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200,
			Start: start,
		}
	}
	speaksH2C := transport("versions h2c")
	faults := []Fault{
		failed("h2_stream_reset", "34a", "stream_reset", "wait", "upstream", overH2(resetsStream(internalError))),
		failed("h2_stream_reset_cancel", "34a", "stream_reset", "wait", "upstream", overH2(resetsStream(cancelStream))),
		failed("h2c_stream_reset", "34a", "stream_reset", "wait", "upstream", overH2C(resetsStream(internalError))),
		failed("h2_stream_refused_post", "34b", "stream_reset", "wait", "upstream", overH2(resetsStream(refusedStream), sends(post()))),
		failed("h2c_stream_refused_post", "34b", "stream_reset", "wait", "upstream", overH2C(resetsStream(refusedStream), sends(post()))),
		{
			// Go's transport sends a GET again by itself: it was not processed.
			Name: "h2_stream_refused_once", Number: "34b", Status: 200,
			Start: overH2(once(resetsStream(refusedStream))),
		},
		failed("h2_stream_reset_on_reused", "34a", "stream_reset", "wait", "upstream",
			overH2(firstWell(resetsStream(internalError)), sends(post()), after(warmUp))),

		// The request's body is still on its way.
		failed("h2_upload_stream_reset", "34a", "stream_reset", "send", "upstream", overH2Early(resetsStream(internalError), buffered())),
		failed("h2c_upload_stream_reset", "34a", "stream_reset", "send", "upstream", overH2CEarly(resetsStream(internalError), buffered())),
		failed("h2_upload_goaway", "34c", "goaway", "send", "upstream", overH2Early(closesAfter(saysGoaway(firstStream, internalError)), buffered())),
		failed("h2_upload_closed", "34d", "request_write_failed", "send", "upstream", overH2Early(closesLateFramed, buffered())),
		failed("h2c_upload_closed", "34d", "request_write_failed", "send", "upstream", overH2CEarly(closesLateFramed, buffered())),
		failed("h2_reset_while_sending", "17b", "request_write_failed", "send", "upstream", overH2Early(resetsLate, buffered())),
		failed("h2c_reset_while_sending", "17b", "request_write_failed", "send", "upstream", overH2CEarly(resetsLate, buffered())),
		{
			Name: "h2_upstream_never_reads", Number: "23c",
			Cause: "request_write_timeout", Phase: "send", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overTLSWith(&tls.Config{NextProtos: []string{"h2"}}, framedEndless(stopsReading), transport("write_timeout 200ms"), sends(upload())),
		},
		{
			Name: "h2c_upstream_never_reads", Number: "23c",
			Cause: "request_write_timeout", Phase: "send", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overTCP(framedEndless(stopsReading), speaksH2C, transport("write_timeout 200ms"), sends(upload())),
		},
		failed("h2_header_list_limited", "58", "request_not_sendable", "send", "upstream", overH2(limitsHeaderList, sends(post()), after(warmUp))),
		failed("h2_host_is_a_socket", "58", "request_not_sendable", "send", "proxy", startH2OnSocket),

		failed("h2_goaway_unprocessed", "34c", "goaway", "wait", "upstream", overH2(saysGoaway(0, noError), sends(post()))),
		failed("h2_goaway_unprocessed_error", "34c", "goaway", "wait", "upstream", overH2(saysGoaway(0, enhanceYourCalm))),
		failed("h2_goaway_then_closed", "34c", "goaway", "wait", "upstream", overH2(closesAfter(saysGoaway(firstStream, internalError)))),
		failed("h2c_goaway_then_closed", "34c", "goaway", "wait", "upstream", overH2C(closesAfter(saysGoaway(firstStream, noError)))),

		failed("h2_closed_unanswered", "34d", "closed_before_response", "wait", "upstream", overH2(closesFramed)),
		failed("h2c_closed_unanswered", "34d", "closed_before_response", "wait", "upstream", overH2C(closesFramed)),
		// Right away, a frame that is being written could take the reset instead.
		failed("h2_reset_unanswered", "34d", "reset_before_response", "wait", "upstream", overH2(resetsLate)),
		failed("h2c_reset_unanswered", "34d", "reset_before_response", "wait", "upstream", overH2C(resetsLate)),
		failed("h2_keepalive_race", "34d", "keepalive_race", "wait", "proxy", overH2(firstWell(closesFramed), sends(post()), after(warmUp))),
		failed("h2c_keepalive_race", "34d", "keepalive_race", "wait", "proxy", overH2C(firstWell(closesFramed), sends(post()), after(warmUp))),
		// A header block is read whole, so that nothing tells one that was cut.
		failed("h2_cut_in_headers", "34d", "closed_before_response", "wait", "upstream", overH2(cutsHeaders)),
		failed("h2c_cut_in_headers", "34d", "closed_before_response", "wait", "upstream", overH2C(cutsHeaders)),
		{
			Name: "h2_response_header_timeout", Number: "22",
			Cause: "response_timeout", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overH2(saysNothing, transport("response_header_timeout 200ms")),
		},
		{
			Name: "h2c_response_header_timeout", Number: "22",
			Cause: "response_timeout", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overH2C(saysNothing, transport("response_header_timeout 200ms")),
		},
		{
			Name: "h2c_read_timeout", Number: "23a",
			Cause: "read_timeout", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overH2C(saysNothing, transport("read_timeout 200ms")),
		},
		{
			Name: "h2_read_timeout", Number: "23a",
			Cause: "read_timeout", Phase: "wait", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overH2(saysNothing, transport("read_timeout 200ms")),
		},
		{
			// It is told a little late that the request is written.
			Name: "h2_client_leaves_while_waiting", Number: "30",
			Cause: "client_closed_request", Phase: "wait", Side: "client", Outcome: "abandoned",
			Start: overH2(saysNothing, sends(Request{Leave: LeaveDelayed})),
		},

		failed("h2_hpack_broken", "34f", "http_framing_error", "headers", "upstream", overH2(answersHeaders(unknownEntry))),
		failed("h2c_hpack_broken", "34f", "http_framing_error", "headers", "upstream", overH2C(answersHeaders(unknownEntry))),
		failed("h2_headers_without_status", "34f", "http_framing_error", "headers", "upstream", overH2(answersHeaders(field("server", "lab")))),
		failed("h2_status_042", "19", "response_malformed", "headers", "upstream", overH2(answersHeaders(field(":status", "042")))),
		failed("h2_status_1000", "19", "response_malformed", "headers", "upstream", overH2(answersHeaders(field(":status", "1000")))),
		failed("h2c_status_1000", "19", "response_malformed", "headers", "upstream", overH2C(answersHeaders(field(":status", "1000")))),
		failed("h2_header_name_in_capitals", "34f", "http_framing_error", "headers", "upstream", overH2(answersHeaders(status200+field("X-Capital", "a")))),
		failed("h2_header_with_newline", "34f", "http_framing_error", "headers", "upstream", overH2(answersHeaders(status200+field("x-bad", "a\nb")))),
		failed("h2_data_before_headers", "34f", "http_framing_error", "wait", "upstream", overH2(answersFrame(frameData, 0, "too early"))),
		failed("h2_frame_too_large", "34f", "http_framing_error", "wait", "upstream", overH2(answersFrame(frameData, 0, strings.Repeat("x", 2<<20)))),
		failed("h2_window_overflows", "34f", "http_framing_error", "wait", "upstream", overH2(answersFrame(frameWindow, 0, "\x7f\xff\xff\xff"))),
		failed("h2c_settings_malformed", "34f", "http_framing_error", "wait", "upstream", overTCP(speaksFirst(frame(frameSettings, 0, 0, "odd")), speaksH2C)),

		failed("h2c_to_http1", "35", "http_version_mismatch", "headers", "proxy", overHTTP1(speaksH2C)),
		failed("h2c_to_http1_cut", "35", "http_version_mismatch", "headers", "proxy", overTCP(answersAnything, speaksH2C)),
		failed("h2c_to_ssh", "35", "not_http", "headers", "upstream", overTCP(speaksFirst(sshBanner), speaksH2C)),
		failed("h2c_to_tls", "10", "tls_expected", "headers", "proxy", overTCP(alertsAnything, speaksH2C)),
		failed("h2c_to_tls_nginx", "10b", "tls_expected", "headers", "proxy", overTCP(speaksFirst(nginxBadRequest()), speaksH2C)),
		failed("http1_to_h2c", "35", "http_version_mismatch", "headers", "proxy", overTCP(framed(saysNothing))),
		failed("http1_to_h2_tls", "35", "http_version_mismatch", "headers", "proxy", overTLS(framed(saysNothing), transport("versions 1.1"))),
		// Go's own server of h2c alone says nothing to HTTP/1.1, so nothing can tell.
		failed("http1_to_h2c_of_go", "35", "reset_before_response", "wait", "upstream", startH2COnly),

		failed("h2_headers_too_large", "21", "response_headers_too_large", "headers", "proxy",
			overH2(answersHeaders(status200+manyFields(40)), transport("max_response_header 4KiB"))),
		failed("h2c_headers_too_large", "21", "response_headers_too_large", "headers", "proxy",
			overH2C(answersHeaders(status200+manyFields(40)), transport("max_response_header 4KiB"))),
		// So much more that the transport gives the connection up, as for broken ones.
		failed("h2_headers_far_too_large", "21", "unknown", "headers", "",
			overH2(answersHeaders(status200+manyFields(120)), transport("max_response_header 1KiB"))),

		failed("h2c_headers_far_too_large", "21", "unknown", "headers", "",
			overH2C(answersHeaders(status200+manyFields(120)), transport("max_response_header 1KiB"))),

		truncated("h2_body_stream_reset", "stream_reset", overH2(answersPart(resetsStream(internalError)))),
		truncated("h2c_body_stream_reset", "stream_reset", overH2C(answersPart(resetsStream(internalError)))),
		truncated("h2_body_goaway", "goaway", overH2(answersPart(closesAfter(saysGoaway(firstStream, internalError))))),
		truncated("h2_body_closed", "response_truncated", overH2(answersPart(closesFramed))),
		truncated("h2c_body_closed", "response_truncated", overH2C(answersPart(closesFramed))),
		truncated("h2c_body_reset", "response_truncated", overH2C(answersPart(resetsFramed))),
		truncated("h2_body_shorter_than_said", "response_truncated", overH2(answersPart(endsStream))),
		truncated("h2_body_longer_than_said", "response_length_exceeded", overH2(answersTooMuch)),
		truncated("h2c_body_longer_than_said", "response_length_exceeded", overH2C(answersTooMuch)),
		truncated("h2_body_stalled", "response_stalled", overH2(answersPart(saysNothing), transport("read_timeout 200ms"))),
		truncated("h2c_body_stalled", "response_stalled", overH2C(answersPart(saysNothing), transport("read_timeout 200ms"))),
		truncated("h2_body_framing", "http_framing_error", overH2(answersPart(answersFrame(frameWindow, 0, "\x7f\xff\xff\xff")))),
	}
	for i := range faults {
		switch faults[i].Name {
		case "h2_stream_refused_post", "h2c_stream_refused_post", "h2_goaway_unprocessed", "h2_goaway_unprocessed_error":
			faults[i].RequestSent = "no" // the upstream said so
		case "h2_stream_reset", "h2_goaway_then_closed", "h2_closed_unanswered":
			faults[i].RequestSent = "maybe"
		case "h2_headers_without_status", "h2c_hpack_broken", "h2_header_name_in_capitals", "h2_header_with_newline":
			faults[i].RequestSent = "yes"
		case "h2c_settings_malformed", "h2c_to_http1", "h2c_to_http1_cut", "h2c_to_ssh", "h2c_to_tls", "h2c_to_tls_nginx", "http1_to_h2c", "http1_to_h2_tls":
			// "client conn could not be established", or "readLoopPeekFailLocked".
			faults[i].OrCause = "unknown"
		case "h2c_body_reset", "http1_to_h2c_of_go":
			faults[i].Skip = unless(!onWindows, resetLosesData)
		}
	}
	return faults
}

// peer is a server's end of an HTTP/2 connection. It knows just enough of the
// protocol to break it.
type peer struct {
	*conn
	requests int              // that have come
	window   uint32           // bytes of a body that may come; 0 for as many as may unasked
	bodies   map[uint32]int64 // by stream, the bytes that have come
}

// enough is more of a body than a client may send unasked.
const enough = 256 << 10

// buffered is a request with more of a body than enough, which Caddy has whole before
// it sends it: the body that it reads while it sends has a data race where an upstream
// ends it (reverseproxy.go, bodyNopCloserIfNotRead).
func buffered() option {
	const n = 2 * enough
	return func(u *Upstream) {
		u.Block = append(u.Block, "request_buffers 1MiB")
		u.Request = Request{Method: http.MethodPost, Body: zeros(n), Length: n}
	}
}

// reply answers a request, and says whether the connection goes on.
type reply func(p *peer, stream uint32) (goesOn bool)

// framed speaks HTTP/2 and answers each request.
func framed(answer reply) behaviour { return framedBy(0, answer) }

// framedEarly answers each request when so much of its body has come that the client
// may send no more: with that it is in the middle.
func framedEarly(answer reply) behaviour { return framedBy(enough, answer) }

// framedEndless answers then as well, and lets the client send on.
func framedEndless(answer reply) behaviour { return framedBy(maxWindow, answer) }

func framedBy(window uint32, answer reply) behaviour {
	return func(c *conn) {
		(&peer{conn: c, window: window, bodies: make(map[uint32]int64)}).serve(answer)
	}
}

func (p *peer) serve(answer reply) {
	p.frame(frameSettings, 0, 0, "")
	if p.window > 0 {
		p.frame(frameSettings, 0, 0, setting(windowSize, p.window))
		p.frame(frameWindow, 0, 0, word(maxWindow-initialWindow))
	}
	begin := make([]byte, len(preface))
	if _, err := io.ReadFull(p.reader, begin); err != nil {
		return
	}
	if string(begin) != preface {
		p.frame(frameGoaway, 0, 0, word(0)+word(protocolError))
		return
	}
	for {
		stream, err := p.request()
		if err != nil {
			return
		}
		p.reached()
		p.requests++
		if !answer(p, stream) {
			return
		}
	}
}

// request reads frames until a request is to be answered, and returns its stream.
func (p *peer) request() (stream uint32, err error) {
	head := make([]byte, frameHead)
	for {
		if _, err := io.ReadFull(p.reader, head); err != nil {
			return 0, err
		}
		length := int64(head[0])<<16 | int64(binary.BigEndian.Uint16(head[1:]))
		payload := make([]byte, length)
		if _, err := io.ReadFull(p.reader, payload); err != nil {
			return 0, err
		}
		kind, flags := head[3], head[4]
		stream := binary.BigEndian.Uint32(head[5:])
		if kind == frameData {
			p.bodies[stream] += length
		}
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			p.frame(frameSettings, flagAck, 0, "")
		case kind == framePing && flags&flagAck == 0:
			p.frame(framePing, flagAck, 0, string(payload))
		case kind == frameData && p.window > 0 && p.bodies[stream] >= enough,
			(kind == frameHeaders || kind == frameData) && flags&flagEndOfStream != 0:
			return stream, nil
		}
	}
}

// frame writes one frame.
func (p *peer) frame(kind, flags byte, stream uint32, payload string) {
	p.say(frame(kind, flags, stream, payload))
}

// frame is a frame's bytes (RFC 9113, section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	head := make([]byte, frameHead)
	binary.BigEndian.PutUint32(head, uint32(len(payload))<<8)
	head[3], head[4] = kind, flags
	binary.BigEndian.PutUint32(head[5:], stream)
	return string(head) + payload
}

// field is a header field in HPACK, literal and not indexed (RFC 7541, section
// 6.2.2). Both strings must be shorter than 127 bytes.
func field(name, value string) string {
	return "\x00" + string([]byte{byte(len(name))}) + name + string([]byte{byte(len(value))}) + value
}

// manyFields are n fields of 120 bytes each.
func manyFields(n int) string { return strings.Repeat(field("x-large", strings.Repeat("x", 120)), n) }

// setting is one setting, for a SETTINGS frame.
func setting(name uint16, value uint32) string {
	return string(binary.BigEndian.AppendUint16(nil, name)) + word(value)
}

func word(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// overH2 makes an upstream that speaks HTTP/2 over TLS, overH2C one without.
func overH2(answer reply, options ...option) func() (*Upstream, error) {
	return overTLSWith(&tls.Config{NextProtos: []string{"h2"}}, framed(answer), options...)
}

func overH2C(answer reply, options ...option) func() (*Upstream, error) {
	return overTCP(framed(answer), append(options, transport("versions h2c"))...)
}

// overH2Early and overH2CEarly do so with framedEarly.
func overH2Early(answer reply, options ...option) func() (*Upstream, error) {
	return overTLSWith(&tls.Config{NextProtos: []string{"h2"}}, framedEarly(answer), options...)
}

func overH2CEarly(answer reply, options ...option) func() (*Upstream, error) {
	return overTCP(framedEarly(answer), append(options, transport("versions h2c"))...)
}

// startH2OnSocket makes an upstream that speaks HTTP/2 over TLS on a unix socket:
// Caddy takes the socket's path for the host, with which no request can be sent.
func startH2OnSocket() (*Upstream, error) {
	u := newUpstream(transport("tls_server_name 127.0.0.1"))
	config := &tls.Config{NextProtos: []string{"h2"}}
	ca, err := u.certify(config)
	if err != nil {
		return nil, err
	}
	if err := u.serveOnSocket(secured(config, framed(answersWell))); err != nil {
		return u.fails(err)
	}
	if err := u.trust(ca); err != nil {
		return u.fails(err)
	}
	return u, nil
}

// overHTTP1 is Go's own server, of HTTP/1.1 alone.
func overHTTP1(options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		l, err := listenTCP()
		if err != nil {
			return nil, err
		}
		u := newUpstream(options...)
		u.To = l.Addr().String()
		u.serveHTTP(l, goodHandler())
		return u, nil
	}
}

// startH2COnly makes Go's own server, of HTTP/2 without TLS alone.
func startH2COnly() (*Upstream, error) {
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	u := newUpstream()
	u.To = l.Addr().String()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	u.runHTTP(l, &http.Server{Handler: goodHandler(), ErrorLog: quiet(), Protocols: protocols})
	return u, nil
}

func resetsStream(code uint32) reply {
	return func(p *peer, stream uint32) bool {
		p.frame(frameReset, 0, stream, word(code))
		return true
	}
}

// saysGoaway ends the connection; no stream after the last has been processed.
func saysGoaway(last, code uint32) reply {
	return func(p *peer, _ uint32) bool {
		p.frame(frameGoaway, 0, 0, word(last)+word(code))
		return true
	}
}

func closesAfter(answer reply) reply {
	return func(p *peer, stream uint32) bool {
		answer(p, stream)
		return closesFramed(p, stream)
	}
}

// closesFramed ends the connection in good order: what still comes is read, for a
// close with something unread is a reset.
func closesFramed(p *peer, _ uint32) bool {
	p.closeWrite()
	return false
}

// closeWrite ends our half of the connection, and reads what still comes.
func (c *conn) closeWrite() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other side may be gone
		c.hold()
	}
}

func resetsFramed(p *peer, _ uint32) bool {
	p.reset()
	return false
}

// resetsLate and closesLateFramed end the connection long after the handshake, for
// right after it that could be about a certificate.
func resetsLate(p *peer, stream uint32) bool {
	p.wait(lateness)
	return resetsFramed(p, stream)
}

func closesLateFramed(p *peer, stream uint32) bool {
	p.wait(lateness)
	return closesFramed(p, stream)
}

func saysNothing(*peer, uint32) bool { return true }

// stopsReading leaves what comes where it is.
func stopsReading(p *peer, _ uint32) bool {
	if c, ok := p.raw.(*net.TCPConn); ok {
		_ = c.SetReadBuffer(enough) // so that it is soon full
	}
	<-p.closing
	return false
}

// limitsHeaderList answers the first request well, and says that no other may have
// header fields.
func limitsHeaderList(p *peer, stream uint32) bool {
	p.frame(frameSettings, 0, 0, setting(maxHeaderList, 1))
	return answersWell(p, stream)
}

// cutsHeaders ends the connection between the two parts of a header block.
func cutsHeaders(p *peer, stream uint32) bool {
	p.frame(frameHeaders, 0, stream, status200)
	return closesFramed(p, stream)
}

// answersTooMuch answers with more of a body than it says.
func answersTooMuch(p *peer, stream uint32) bool {
	p.frame(frameHeaders, flagEndOfHeaders, stream, status200+length5)
	p.frame(frameData, 0, stream, "hello")
	p.frame(frameData, flagEndOfStream, stream, "and more")
	return true
}

// alertsAnything is a TLS port that refuses what is no TLS.
func alertsAnything(c *conn) {
	_, _ = c.reader.Peek(1)
	c.reached()
	c.say(string(alert(10)))
	c.closeWrite()
}

// answersHeaders answers with this block of header fields, and no body.
func answersHeaders(block string) reply {
	return answersFrame(frameHeaders, flagEndOfHeaders|flagEndOfStream, block)
}

func answersFrame(kind, flags byte, payload string) reply {
	return func(p *peer, stream uint32) bool {
		p.frame(kind, flags, stream, payload)
		return true
	}
}

// answersWell answers 200.
var answersWell = answersHeaders(status200)

// answersPart answers 200 and a part of the body that it promised.
func answersPart(then reply) reply {
	return func(p *peer, stream uint32) bool {
		p.frame(frameHeaders, flagEndOfHeaders, stream, status200+length1000)
		p.frame(frameData, 0, stream, "the first part\n")
		return then(p, stream)
	}
}

// endsStream ends an answer in good order.
func endsStream(p *peer, stream uint32) bool {
	p.frame(frameData, flagEndOfStream, stream, "")
	return true
}

// firstWell answers the connection's first request well.
func firstWell(answer reply) reply {
	return func(p *peer, stream uint32) bool {
		if p.requests == 1 {
			return answersWell(p, stream)
		}
		return answer(p, stream)
	}
}

// once answers the connection's first request so, and all others well.
func once(answer reply) reply {
	return func(p *peer, stream uint32) bool {
		if p.requests == 1 {
			return answer(p, stream)
		}
		return answersWell(p, stream)
	}
}
