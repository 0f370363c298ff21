package cause

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

const (
	// leastRetransmits is how often the same bytes must have been sent in vain before that
	// is no accident: the wait doubles each time.
	leastRetransmits = 2
	// fullPacket is more than fits into the smallest packet that every way of IPv6 has to
	// let pass (RFC 8200 section 5: 1280, with the headers of IP and TCP).
	fullPacket = 1220
	// leastForgotten is how long a connection must have been idle for a NAT or a firewall to
	// have forgotten it: theirs is a matter of minutes.
	leastForgotten = 5 * time.Second
)

// unacknowledged is what the kernel knows of a connection on which bytes were sent again
// and again, and never acknowledged; nil where it is not so, or can't be told. A peer
// whose application is merely slow acknowledges.
func unacknowledged(a *listen.Attempt) *host.TCPInfo {
	link := linkOf(a)
	if link == nil {
		return nil
	}
	tcp := link.TCP
	if tcp == nil || tcp.Unacknowledged == 0 || tcp.Retransmits < leastRetransmits {
		return nil
	}
	return tcp
}

// linkOf is the connection that an attempt got, or on which it got no further than the
// handshake; nil where nothing was heard of it.
func linkOf(a *listen.Attempt) *listen.Link {
	switch {
	case a.Connection != nil:
		return a.Connection.Link
	case a.Dialing != nil:
		return a.Dialing.Link
	}
	return nil
}

// arrivedCause finds the cause where a limit of ours ended the wait for an upstream which
// the request never reached.
func arrivedCause(t *try) finding {
	if !isTimeout(t.err) || t.HasAnswer() {
		return nothing
	}
	f := notArrived(t)
	for _, name := range []string{failure.ResponseHeaderTimeout, failure.ReadTimeout, failure.WriteTimeout} {
		if f.is() && limitRanOut(t, name) {
			f.limit = t.ran(name, sendStart(t), t.end)
		}
	}
	return f
}

// limitRanOut says that an attempt's error is that of this limit.
func limitRanOut(t *try, name string) bool {
	switch name {
	case failure.ReadTimeout:
		return isReadTimeout(t.err)
	case failure.WriteTimeout:
		return isWriteError(t.err)
	}
	return isAwaitingTimeout(t)
}

// notArrived is the finding where bytes of the request never arrived, or no word that they
// did came back; nothing where that is not so. Who gave up then, we or the client, makes
// no difference.
func notArrived(t *try) finding {
	tcp := unacknowledged(t.Attempt)
	if tcp == nil {
		return answerNotArrived(t)
	}
	var (
		link  = linkOf(t.Attempt)
		phase = failure.PhaseWait
		start = sendStart(t)
		what  = "of the request"
		idle  time.Duration
		fresh = true
	)
	switch {
	case t.Connection == nil:
		phase, start, what = failure.PhaseTLS, handshakeStart(t), "of the TLS handshake"
	case t.HasAnswer():
		phase = failure.PhaseBody
	case !written(t.Attempt):
		phase = failure.PhaseSend
	}
	if c := t.Connection; c != nil {
		idle, fresh = c.Idle, !c.Reused
	}
	lines := []string{fmt.Sprintf("%d bytes %s were never acknowledged: %s in %s", tcp.Unacknowledged, what, counted(int64(tcp.Retransmits), "retransmission"), ms(elapsed(start, t.end)))}
	if link.Shared {
		lines[0] = fmt.Sprintf("%d bytes that were sent over this connection were never acknowledged: %s", tcp.Unacknowledged, counted(int64(tcp.Retransmits), "retransmission"))
		lines = append(lines, silentFor(link, t.end)+": all requests on it are lost")
	}
	if fresh && tcp.Acknowledged == 0 {
		if queue, full := fullQueueAt(addressOf(t.Attempt)); full {
			return found(SocketBacklogFull, append(lines, queue)...).at(phase)
		}
	}
	f := found(ConnectionLost).at(phase)
	switch {
	case tcp.Unacknowledged > fullPacket && tcp.Acknowledged > 0:
		lines = append(lines, strconv.FormatInt(tcp.Acknowledged, 10)+" bytes before them had been acknowledged: smaller packets passed")
		f = f.advise(adviceMTU)
	case tcp.Unacknowledged > fullPacket && fresh:
		lines = append(lines, "the connect, which takes small packets, had been answered")
		f = f.advise(adviceMTU)
	case tcp.Acknowledged > 0:
		lines = append(lines, strconv.FormatInt(tcp.Acknowledged, 10)+" bytes before them had been acknowledged")
	case fresh:
		lines = append(lines, "the connect had been answered")
	}
	if phase == failure.PhaseTLS && f.advice != "" {
		f = f.advise(adviceHello)
	}
	if f.advice == "" && idle < leastForgotten {
		f = f.advise(adviceLost).leavesOpen(ConnectionLost.Undecided)
	}
	f.evidence = lines
	return f
}

// answerNotArrived is the finding where packets of an upstream's came, and never those that
// belong in front of them: nothing is there to be read.
func answerNotArrived(t *try) finding {
	link := linkOf(t.Attempt)
	if link == nil || link.TCP == nil || link.TCP.Received > 0 || link.TCP.OutOfOrder == 0 {
		return nothing
	}
	phase, advice := failure.PhaseWait, adviceMTU
	if t.Connection == nil {
		phase, advice = failure.PhaseTLS, adviceHello
	}
	return found(ConnectionLost, "something came from the upstream ("+packets(link.TCP.OutOfOrder)+"), and never what belongs in front of it: larger packets of its answer are lost on the way").
		at(phase).advise(advice)
}

func packets(n int) string {
	if n == 1 {
		return "1 packet"
	}
	return strconv.Itoa(n) + " packets"
}

// silentFor says for how long nothing has come over a connection.
func silentFor(link *listen.Link, now time.Duration) string {
	if link.Received == nil {
		return "nothing ever came over this connection"
	}
	return "nothing came over this connection for " + ms(elapsed(*link.Received, now))
}

const (
	// adviceMTU is for packets that are too large for a part of the way.
	adviceMTU = "Compare the MTU of the way to {upstream} with this machine's (ping -M do -s 1472): large packets seem to be lost where small ones pass, so lower the interface's MTU or clamp the MSS; else look for a firewall or NAT that forgot the connection."
	// adviceHello is for a handshake's first message, which is larger than a packet by the
	// keys of a post-quantum exchange.
	adviceHello = "Compare the MTU of the way to {upstream} with this machine's (ping -M do -s 1472), and clamp the MSS: large packets seem to be lost where small ones pass; tls_curves x25519 in the transport makes the handshake smaller."
	// adviceLost is for a connection that had not been idle: nobody forgot it.
	adviceLost = "Look at the network between here and {upstream}, and whether its machine is still up: the connection was made, and then nothing came through; a longer limit in Caddy does not help."
)

// unansweredCause is that of a connect which nothing answered.
func unansweredCause(c listen.Connect) finding {
	if queue, full := fullQueueAt(c.Address); full && !isUDP(c.Network) {
		return found(SocketBacklogFull, queue)
	}
	return found(ConnectTimeout)
}

// acknowledgedEvidence says that the kernel at the other end has all that was sent:
// whoever is waited for, it isn't the network between.
func acknowledgedEvidence(a *listen.Attempt) []string {
	link, what := linkOf(a), "request"
	switch {
	case a.Connection != nil:
		if !written(a) {
			return nil
		}
	case !a.TLS || !dialled(a) || throughProxy(a): // what was sent is another's
		return nil
	default:
		what = "TLS handshake"
	}
	if link == nil || link.TCP == nil || a.FirstByte > 0 || link.TCP.Unacknowledged > 0 || link.TCP.Acknowledged == 0 {
		return nil
	}
	return []string{"the other end acknowledged every byte of the " + what + ": the network took it there"}
}

// onTheWay is what is known of the way where a connection was had: that the other end
// acknowledged what was sent, or else that it is this machine.
func onTheWay(acknowledged []string, a *listen.Attempt, address string) []string {
	if _, own := ownAddress(address); len(acknowledged) > 0 || !own || a.Connection == nil && !dialled(a) {
		return acknowledged
	}
	return []string{address + " is an address of " + here() + " itself: what listens there is reached over no network"}
}

// windowEvidence says that the kernel at the other end took what it had room for, where
// that was not all that there was to send.
func windowEvidence(a *listen.Attempt) []string {
	if a.Connection == nil || a.Connection.Link == nil {
		return nil
	}
	tcp := a.Connection.Link.TCP
	if tcp == nil || tcp.Unacknowledged > 0 || tcp.Acknowledged == 0 || tcp.Unsent == 0 { // without more to send it was the client that was waited for
		return nil
	}
	return []string{"the other end acknowledged the " + strconv.FormatInt(tcp.Acknowledged, 10) + " bytes that it had room for: nothing is lost on the way, and nobody there reads on"}
}

// fullQueueAt says that an address is one of this machine's, whose listener has as many
// connections waiting to be accepted as it takes: the system drops all others.
func fullQueueAt(address string) (evidence string, full bool) {
	at, ok := ownAddress(address)
	if !ok {
		return "", false
	}
	list, _ := host.ListenersNow()
	l, ok := listenerAt(list, at)
	if !ok || !l.Full() {
		return "", false
	}
	return queueWords(l), true
}

// ownAddress is the address of a socket, where it is one of this machine's.
func ownAddress(address string) (netip.AddrPort, bool) {
	at, err := netip.ParseAddrPort(address)
	return at, err == nil && host.Own(at.Addr())
}

// overNetwork says that an attempt went to another machine, as far as this one knows.
func overNetwork(a *listen.Attempt) bool {
	_, own := ownAddress(addressOf(a))
	return !own && !strings.HasPrefix(a.Network, "unix")
}

// listenerAt is who is reached at an address of this machine.
func listenerAt(list []host.Listener, at netip.AddrPort) (host.Listener, bool) {
	for _, l := range list {
		if l.Address.Port() == at.Port() && l.Serves(at.Addr().Unmap()) {
			return l, true
		}
	}
	return host.Listener{}, false
}

// queueWords says how many wait to be accepted.
func queueWords(l host.Listener) string {
	words := strconv.Itoa(l.Waiting) + " connections wait to be accepted at " + l.Address.String()
	if l.Waiting == 1 {
		words = "1 connection waits to be accepted at " + l.Address.String()
	}
	if l.Backlog >= 0 {
		words += " (backlog " + strconv.Itoa(l.Backlog) + ", and Linux takes one more)"
	}
	return words
}

// takenEvidence says that an application of this machine accepted the connection, where
// FastCGI tells nothing of what became of it.
func takenEvidence(a *listen.Attempt, address string) []string {
	at, ok := ownAddress(address)
	if !ok || a.Protocol != protocolFastCGI || !dialled(a) {
		return nil
	}
	list, _ := host.ListenersNow()
	if l, ok := listenerAt(list, at); ok && l.Waiting == 0 && !l.Ours() {
		return []string{"no connection waits to be accepted at " + l.Address.String() + ": the application accepted this one"}
	}
	return nil
}

// waitingEvidence says that connections wait to be accepted where a request waits for its
// answer: whoever listens there is busy, or hangs.
func waitingEvidence(address string) []string {
	at, ok := ownAddress(address)
	if !ok {
		return nil
	}
	list, _ := host.Listeners()
	if l, ok := listenerAt(list, at); ok && l.Waiting > 0 && !l.Ours() {
		return []string{queueWords(l) + ": the application accepts none"}
	}
	return nil
}
