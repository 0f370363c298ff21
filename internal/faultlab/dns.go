package faultlab

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// labName is the name that is looked up: under .test nothing exists (RFC 6761).
const labName = "app.test"

func dnsFaults() []Fault {
	failed := func(name, number, cause string, status int, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "dns", Side: "network", Outcome: "failed", Status: status,
			Start: start,
		}
	}
	return []Fault{
		failed("dns_nxdomain", "04a", "dns_name_not_found", 502, resolvedBy(nameNotFound)),
		failed("dns_no_address", "04b", "dns_name_not_found", 502, resolvedBy(noAddress)),
		failed("dns_lame", "04b'", "dns_server_failed", 502, resolvedBy(lame)),
		failed("dns_servfail", "05a", "dns_server_failed", 502, resolvedBy(serverFailed)),
		failed("dns_refused", "05b", "dns_server_failed", 502, resolvedBy(serverRefused)),
		failed("dns_server_closed", "05c", "dns_server_failed", 502, startResolverClosed),
		failed("dns_silent", "06a", "dns_timeout", 502, resolvedBy(silent, transport("dial_timeout 300ms"))),
		{
			Name: "dns_label_too_long", Number: "06c",
			Cause: "dns_name_not_found", Phase: "dns", Side: "proxy", Outcome: "failed", Status: 502, RequestSent: "no",
			Start: notListening(strings.Repeat("a", 64) + ".test:80"),
		},
		{
			Name:  "dns_target_unknown_here",
			Cause: "dns_name_not_found", Phase: "dns", Side: "proxy", Outcome: "failed", Status: 502, RequestSent: "no",
			Start: startTarget,
		},
	}
}

// startTarget makes a dynamic source whose resolver knows the service and where it is,
// and a system whose resolver doesn't know that name.
func startTarget() (*Upstream, error) {
	u := newUpstream()
	knows, err := u.serveDNS(servedByLab)
	if err != nil {
		return u.fails(err)
	}
	// Caddy keeps what a name led to: no other fault has this one.
	u.Block = append(u.Block, "dynamic srv {", "\tname _target._tcp."+labName, "\tresolvers "+knows, "}")
	system, err := u.serveDNS(nameNotFound)
	if err != nil {
		return u.fails(err)
	}
	nameServer.Store(&system)
	u.undo = append(u.undo, func() error { nameServer.Store(nil); return nil })
	return u, nil
}

// servedByLab is a reply that names the lab as the host of a service (RFC 2782).
func servedByLab(query []byte) []byte {
	reply := emptyReply(query, dnsRecursionAvailable)
	if reply == nil {
		return nil
	}
	binary.BigEndian.PutUint16(reply[6:], 1) // one answer
	data := []byte{0, 1, 0, 1, 0, 80}        // priority, weight, port
	for label := range strings.SplitSeq(labName, ".") {
		data = append(append(data, byte(len(label))), label...)
	}
	data = append(data, 0)
	reply = append(reply, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 0) // the question's name, SRV, IN, no time to live
	return append(binary.BigEndian.AppendUint16(reply, uint16(len(data))), data...)
}

// resolvedBy makes an upstream whose name a resolver of our own answers for.
func resolvedBy(answer func([]byte) []byte, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		resolver, err := u.serveDNS(answer)
		if err != nil {
			return u.fails(err)
		}
		u.To = labName + ":80"
		u.Transport = append(u.Transport, "resolvers "+resolver)
		return u, nil
	}
}

// startResolverClosed makes an upstream whose resolver isn't there: a UDP port that
// was given back, so that the system refuses what is sent to it.
func startResolverClosed() (*Upstream, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	resolver := c.LocalAddr().String()
	if err := c.Close(); err != nil {
		return nil, err
	}
	return notListening(labName+":80", transport("resolvers "+resolver))()
}

// resolveHere makes the name server of a fault the system's own, for transports that
// can't be told of one: so it works only for a proxy in this process, which has
// called OwnResolver.
func (u *Upstream) resolveHere() {
	for i, line := range u.Transport {
		if server, ok := strings.CutPrefix(line, "resolvers "); ok {
			nameServer.Store(&server)
			u.undo = append(u.undo, func() error { nameServer.Store(nil); return nil })
			u.Transport = slices.Delete(u.Transport, i, i+1)
			return
		}
	}
}

// nameServer is asked instead of the system's; nil for none.
var nameServer atomic.Pointer[string]

// OwnResolver lets faults have a name server of their own where the system's is
// asked. It must be called before this process looks up anything, for it replaces
// net.DefaultResolver.
func OwnResolver() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		server := nameServer.Load()
		if server == nil {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		c, err := new(net.Dialer).DialContext(ctx, "udp", *server)
		if err != nil {
			return nil, err
		}
		return impatient{c.(*net.UDPConn)}, nil //nolint:forcetypeassert // it was dialled in UDP
	}}
}

// impatient waits for an answer not as long as the system would, which is five
// seconds each time.
type impatient struct{ *net.UDPConn }

// SetDeadline implements net.Conn.
func (c impatient) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(50 * time.Millisecond); t.After(soon) {
		t = soon
	}
	return c.UDPConn.SetDeadline(t)
}

// serveDNS answers each query with what answer makes of it; nil for silence.
func (u *Upstream) serveDNS(answer func(query []byte) []byte) (address string, err error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		query := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(query)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error of an earlier answer
			}
			u.hasReached()
			if reply := answer(query[:n]); reply != nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	u.undo = append(u.undo, func() error { err := c.Close(); <-ended; return err })
	return c.LocalAddr().String(), nil
}

// The codes and flags of RFC 1035, section 4.1.1.
const (
	dnsResponse           = 1 << 15
	dnsRecursionDesired   = 1 << 8
	dnsRecursionAvailable = 1 << 7
	dnsServerFailure      = 2
	dnsNameError          = 3
	dnsRefused            = 5
)

func nameNotFound(q []byte) []byte  { return emptyReply(q, dnsRecursionAvailable|dnsNameError) }
func noAddress(q []byte) []byte     { return emptyReply(q, dnsRecursionAvailable) }
func serverFailed(q []byte) []byte  { return emptyReply(q, dnsRecursionAvailable|dnsServerFailure) }
func serverRefused(q []byte) []byte { return emptyReply(q, dnsRecursionAvailable|dnsRefused) }
func silent([]byte) []byte          { return nil }

// lame neither knows the name nor asks others.
func lame(q []byte) []byte { return emptyReply(q, 0) }

// emptyReply is a reply to the query with its question and without an answer.
func emptyReply(query []byte, flags uint16) []byte {
	const header = 12
	end := header
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	reply := append([]byte(nil), query[:end]...)
	desired := binary.BigEndian.Uint16(query[2:]) & dnsRecursionDesired
	binary.BigEndian.PutUint16(reply[2:], dnsResponse|desired|flags)
	binary.BigEndian.PutUint16(reply[4:], 1)
	clear(reply[6:header]) // no answer, no authority, nothing additional
	return reply
}
