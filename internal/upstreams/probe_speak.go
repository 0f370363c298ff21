package upstreams

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// maxSpokenHead is how many bytes are read of what isn't understood.
const maxSpokenHead = 256

// speakOtherwise looks what else is spoken where the request was sent to, on connections of
// their own, all at once. asked is told what is not tried.
func (p *probe) speakOtherwise(ctx context.Context, asked *Asked) []listen.Spoken {
	network, address, connected := p.reached(asked.Heard)
	not := ""
	select {
	case <-p.finished:
		switch {
		case p.own.protocol == "h3":
			not = "the transport speaks HTTP/3 alone, over UDP"
		case p.own.dial == nil:
			not = "the transport is another plugin's"
		case caddyhttp.GetVar(p.request.Context(), forwardProxyVar) != nil:
			not = "requests go by a forward proxy"
		case !connected:
			not = "no connection came about"
		}
	default:
		not = "the transport has not returned"
	}
	if not != "" {
		asked.NotTried = append(asked.NotTried, failure.NotTried{What: "what else is spoken there", Why: not})
		return nil
	}
	var spoken []listen.Spoken
	for _, what := range p.otherwise(asked) {
		spoken = append(spoken, listen.Spoken{What: what})
	}
	var all sync.WaitGroup
	for i := range spoken {
		all.Go(func() { p.speak(ctx, &spoken[i], network, address) })
	}
	all.Wait()
	secure := asked.Told.Handshake != nil || slices.ContainsFunc(spoken, func(s listen.Spoken) bool { return s.Handshake != nil })
	for i := range spoken {
		// To plain HTTP, a TLS port answers so by itself.
		if s := &spoken[i]; s.What == failure.CheckPlain && s.Status == http.StatusBadRequest && secure {
			s.Speaks = new(false)
		}
	}
	return spoken
}

// otherwise is what is to be tried: all that the request itself doesn't show.
func (p *probe) otherwise(asked *Asked) (what []failure.ProbeCheckName) {
	protocol := ""
	if attempts := asked.Heard.Attempts; len(attempts) > 0 && attempts[len(attempts)-1].HasAnswer() {
		protocol = attempts[len(attempts)-1].Protocol
	}
	switch {
	case p.own.protocol == "fastcgi" && protocol != "":
		return nil // nobody else speaks it
	case p.own.protocol == "fastcgi":
		return []failure.ProbeCheckName{failure.CheckFastCGI, failure.CheckPlain}
	case p.own.tls != nil:
		what = []failure.ProbeCheckName{failure.CheckHTTP1, failure.CheckH2, failure.CheckPlain}
	default:
		what = []failure.ProbeCheckName{failure.CheckHTTP1, failure.CheckH2C, failure.CheckTLS}
	}
	return slices.DeleteFunc(what, func(one failure.ProbeCheckName) bool { return string(one) == protocol })
}

// reached is where a connection came about.
func (p *probe) reached(heard *listen.Heard) (network, address string, ok bool) {
	info := p.dialInfo()
	for i := range heard.Attempts {
		a := &heard.Attempts[i]
		if d := a.Dialing; d != nil {
			for _, c := range d.Connects {
				if c.End > 0 && c.Err == nil && !strings.HasPrefix(c.Network, "udp") {
					network, address, ok = info.Network, c.Address, true
				}
			}
		}
		if c := a.Connection; c != nil {
			network, address, ok = info.Network, c.RemoteAddress, true
		}
	}
	if strings.HasPrefix(info.Network, "unix") {
		address = info.Address
	}
	return network, address, ok && address != ""
}

// speak speaks one protocol and keeps what came of it.
func (p *probe) speak(ctx context.Context, s *listen.Spoken, network, address string) {
	began := time.Now()
	s.Patience = within(ctx, probeCheckTimeout)
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, caddyhttp.VarsCtxKey, p.request.Context().Value(caddyhttp.VarsCtxKey)), s.Patience)
	defer cancel()
	conn, err := p.dialled(ctx, network, address)
	if err == nil {
		// Caddy's connections set deadlines of their own.
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = p.converse(ctx, s, conn)
		stop()
		_ = conn.Close()
	}
	switch s.Took = time.Since(began); {
	case ctx.Err() != nil:
		s.Err = ctx.Err()
	case err != nil:
		s.Err = err
	}
	if s.Speaks == nil && s.Err != nil && ctx.Err() == nil && (len(s.Head) > 0 || listen.EndedByPeer(s.Err)) {
		s.Speaks = new(false)
	}
}

func (p *probe) converse(ctx context.Context, s *listen.Spoken, conn net.Conn) error {
	switch s.What {
	case failure.CheckFastCGI:
		return speakFastCGI(s, conn)
	case failure.CheckH2C:
		return speakHTTP2(s, conn)
	case failure.CheckTLS:
		_, err := p.shakeHands(ctx, s, conn, "h2", "http/1.1")
		switch {
		case err == nil, s.Speaks != nil:
		case isAlert(err):
			s.Speaks = new(true) // who isn't satisfied says so in TLS
		}
		if err == nil {
			s.Speaks = new(true)
		}
		return err
	case failure.CheckH2:
		secure, err := p.shakeHands(ctx, s, conn, "h2")
		switch {
		case err != nil:
			return err
		case s.Handshake.ALPN != "h2":
			s.Speaks = new(false)
			return nil
		}
		return speakHTTP2(s, secure)
	case failure.CheckHTTP1:
		if p.own.tls == nil {
			return p.speakHTTP1(s, conn)
		}
		secure, err := p.shakeHands(ctx, s, conn, "http/1.1")
		if err != nil {
			return err
		}
		return p.speakHTTP1(s, secure)
	default:
		return p.speakHTTP1(s, conn)
	}
}

// noApplicationProtocol is TLS's alert for protocols of which none is spoken (RFC 7301).
const noApplicationProtocol = "tls: no application protocol"

// shakeHands speaks TLS as the transport does, or as anybody would where it doesn't, and
// offers these protocols. It looks at any certificate.
func (p *probe) shakeHands(ctx context.Context, s *listen.Spoken, conn net.Conn, protocols ...string) (net.Conn, error) {
	config, name := new(tls.Config), p.dialInfo().Host
	if p.own.tls != nil {
		config, name = p.own.tls.Clone(), p.own.name
	} else {
		config.MinVersion = tls.VersionTLS10
	}
	seen := &tls.Config{RootCAs: config.RootCAs, InsecureSkipVerify: true} //nolint:gosec // it is verified after that
	if config.ServerName == "" {
		if config.ServerName = name; p.dialInfo().Network == "unix" {
			config.ServerName = "localhost"
		}
	}
	config.InsecureSkipVerify = true //nolint:gosec // see above
	config.VerifyConnection, config.VerifyPeerCertificate = nil, nil
	config.NextProtos = protocols
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		if other, ok := errors.AsType[tls.RecordHeaderError](err); ok {
			s.Head = bytes.Clone(other.RecordHeader[:])
		}
		if isAlert(err) && strings.Contains(err.Error(), noApplicationProtocol) {
			s.Speaks = new(false)
		}
		return nil, err
	}
	state := secure.ConnectionState()
	s.Handshake = handshakeOf(&state, seen, config.ServerName)
	return secure, nil
}

// isAlert says that the peer has ended a handshake in TLS's own words.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

func (p *probe) speakHTTP1(s *listen.Spoken, conn net.Conn) error {
	host := p.request.Host
	if strings.ContainsAny(host, "\r\n") {
		host = p.dialInfo().Address
	}
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: "+host+"\r\nUser-Agent: "+probeAgent+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	line, err := firstLine(conn)
	s.Status = statusIn(line)
	if s.Status > 0 {
		s.Speaks = new(true)
		return nil
	}
	if s.Head = line; len(line) > 0 {
		s.Speaks = new(false)
	}
	return err
}

// firstLine reads up to the end of a line.
func firstLine(r io.Reader) ([]byte, error) {
	line := make([]byte, 0, maxSpokenHead)
	for len(line) < cap(line) {
		n, err := r.Read(line[len(line):cap(line)])
		line = line[:len(line)+n]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			return bytes.TrimRight(line[:end], "\r"), nil
		}
		if err != nil {
			return line, err
		}
	}
	return line, nil
}

// statusIn is the status of an HTTP/1 status line; 0 where it is none.
func statusIn(line []byte) int {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1."))
	if !ok || len(rest) < len("1 200") || rest[1] != ' ' {
		return 0
	}
	status, err := strconv.Atoi(string(rest[2:5]))
	if err != nil || status < 100 {
		return 0
	}
	return status
}

// speakHTTP2 begins as a client of HTTP/2 does: whoever speaks it answers with its settings
// (RFC 9113 section 3.4).
func speakHTTP2(s *listen.Spoken, conn net.Conn) error {
	var came bytes.Buffer
	framer := http2.NewFramer(conn, io.TeeReader(conn, &limited{&came}))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	frame, err := framer.ReadFrame()
	if _, settings := frame.(*http2.SettingsFrame); err == nil && settings {
		s.Speaks = new(true)
		return nil
	}
	s.Head, _ = firstLine(bytes.NewReader(came.Bytes()))
	if s.Status = statusIn(s.Head); came.Len() > 0 {
		s.Speaks = new(false)
	}
	return err
}

// limited keeps the first bytes of what is written to it.
type limited struct{ *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), max(0, maxSpokenHead-l.Len()))])
	return len(p), nil
}

// speakFastCGI asks for a value, which needs no script (the FastCGI specification, section
// 4.1). Records begin with version 1.
func speakFastCGI(s *listen.Spoken, conn net.Conn) error {
	const getValues, getValuesResult, unknownType = 9, 10, 11
	const asks = "\x0e\x00FCGI_MAX_CONNS"
	if _, err := io.WriteString(conn, "\x01"+string(rune(getValues))+"\x00\x00\x00"+string(rune(len(asks)))+"\x00\x00"+asks); err != nil {
		return err
	}
	head := make([]byte, 8)
	n, err := io.ReadFull(conn, head)
	if err == nil && head[0] == 1 && (head[1] == getValuesResult || head[1] == unknownType) {
		s.Speaks = new(true)
		return nil
	}
	if s.Head = head[:n]; n > 0 {
		s.Speaks = new(false)
		return nil
	}
	return err
}
