package listen

import (
	"crypto/tls"
	"net/http/httptrace"
)

// StandIn is a trace for the request itself: it hears the attempts of a
// reverse_proxy in which no ear could be hung. While an ear hears an attempt, it
// is silent, so that no attempt is heard twice.
func (l *Listener) StandIn() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(hostPort string) {
			if a := l.standIn(true); a != nil {
				l.mu.Lock()
				a.Network, a.Address, a.Sent = "tcp", hostPort, a.Start
				l.mu.Unlock()
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			if a := l.standIn(false); a != nil {
				a.gotConn(info)
			}
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if a := l.standIn(false); a != nil {
				a.wroteRequest(info)
			}
		},
		GotFirstResponseByte: func() {
			if a := l.standIn(false); a != nil {
				a.gotFirstResponseByte()
			}
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if a := l.standIn(false); a != nil {
				a.tlsHandshakeDone(state, err)
			}
		},
		DNSStart: func(info httptrace.DNSStartInfo) {
			if a := l.standIn(false); a != nil {
				a.dnsStart(info)
			}
		},
		DNSDone: func(info httptrace.DNSDoneInfo) {
			if a := l.standIn(false); a != nil {
				a.dnsDone(info)
			}
		},
		// FastCGI dials without having asked for a connection.
		ConnectStart: func(network, address string) {
			if a := l.standInDial(network, address); a != nil {
				a.connectStart(network, address)
			}
		},
		ConnectDone: func(network, address string, err error) {
			if a := l.standIn(false); a != nil {
				a.connectDone(network, address, err)
			}
		},
	}
}

// standIn gives the attempt that the stand-in hears, or nil while an ear does.
// Where begin says so, a new one begins: a connection is asked for.
func (l *Listener) standIn(begin bool) *LiveAttempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.current
	if l.sealed.Load() || a != nil && a.Exact && a.End == 0 && !a.HasAnswer() {
		return nil
	}
	if begin {
		return l.begin(nil)
	}
	if a == nil || a.Exact {
		return nil
	}
	return a
}

// standInDial is standIn for a connect, which begins an attempt where nothing was
// heard of the request yet: once an ear has heard, it may be one of its late hooks.
func (l *Listener) standInDial(network, address string) *LiveAttempt {
	l.mu.Lock()
	first := l.current == nil && !l.exact && !l.sealed.Load()
	if first {
		a := l.begin(nil)
		a.Network, a.Address, a.Sent = network, address, a.Start
	}
	l.mu.Unlock()
	return l.standIn(false)
}
