package cause

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// connectCause finds the cause where no network connection came about.
func connectCause(t *try) finding {
	if t.Connection != nil || dialled(t.Attempt) {
		return nothing
	}
	c, ok := failedConnect(t)
	if !ok {
		return nothing
	}
	if addressIsEmpty(t.Attempt) {
		return found(DialAddressInvalid, "the address that was dialled: "+quote([]byte(t.Address)))
	}
	errno := errnoOf(c.Err)
	if errno == 0 {
		errno = errnoByText(c.Err.Error())
	}
	if errno == syscall.EMFILE || errno == syscall.ENFILE {
		return found(FileDescriptorsExhausted)
	}
	if errno == 0 {
		if isTimeout(c.Err) || strings.HasSuffix(c.Err.Error(), ": i/o timeout") {
			return found(ConnectTimeout).within(t.ran(failure.DialTimeout, dialStart(t), t.end))
		}
		return nothing
	}
	if strings.HasPrefix(c.Network, "unix") {
		return unixConnectCause(errno)
	}
	return tcpConnectCause(errno, c)
}

func unixConnectCause(errno syscall.Errno) finding {
	switch errno {
	case syscall.ECONNREFUSED:
		return found(ConnectionRefused)
	case syscall.EAGAIN:
		return found(SocketBacklogFull)
	case syscall.ENOENT, syscall.ENOTDIR:
		return found(SocketNotFound)
	case syscall.EACCES, syscall.EPERM:
		return found(SocketPermissionDenied)
	}
	return nothing
}

func tcpConnectCause(errno syscall.Errno, c listen.Connect) finding {
	call := systemCall(c.Err)
	switch errno {
	case syscall.ECONNREFUSED:
		return found(ConnectionRefused)
	case syscall.ETIMEDOUT:
		return found(ConnectTimeout, "the system gave up by itself; no limit of Caddy's had run out")
	case syscall.EHOSTUNREACH:
		return found(HostUnreachable)
	case syscall.ENETUNREACH:
		return found(NetworkUnreachable)
	case syscall.EINVAL:
		// A blackhole route says so; so does a link-local address without its zone.
		if call != "bind" && !linkLocal(c.Address) {
			return found(NetworkUnreachable, "EINVAL: a blackhole route")
		}
	case syscall.EACCES, syscall.EPERM:
		if call == "connect" || call == "connectex" || strings.HasPrefix(call, "send") {
			return found(ConnectProhibited)
		}
	case syscall.EAFNOSUPPORT:
		return found(AddressFamilyUnavailable)
	case syscall.EADDRNOTAVAIL:
		if call == "bind" {
			return found(LocalAddressUnavailable)
		}
		if isIPv6(c.Address) && !hasIPv6() {
			return found(AddressFamilyUnavailable, "no interface of this machine has an IPv6 address")
		}
		if proof, ok := portsUsedUp(); ok {
			return found(PortsExhausted, proof)
		}
	}
	return nothing
}

// adviceSocketOnce is for HTTP/3, whose transport asks for its one socket once and
// keeps the refusal.
const adviceSocketOnce = "Raise the limit of open files for Caddy (LimitNOFILE, ulimit -n), and reload its config then: an HTTP/3 transport that was refused its socket once stays broken."

// udpConnectCause is that of HTTP/3, which has a system's error before a connection:
// its socket could not be had, or sending to the address was refused.
func udpConnectCause(t *try) finding {
	errno := errnoOf(t.err)
	if errno == syscall.EMFILE || errno == syscall.ENFILE {
		return found(FileDescriptorsExhausted).advise(adviceSocketOnce)
	}
	c := listen.Connect{Network: "udp", Address: t.Address, Err: t.err}
	if tried := connects(t.Attempt); len(tried) > 0 {
		c.Address = tried[0].Address
	}
	return tcpConnectCause(errno, c)
}

// failedConnect picks the connect that the attempt's error is about: the one whose
// error was returned. An address of a family that this machine hasn't hides what
// another address says.
func failedConnect(t *try) (listen.Connect, bool) {
	tried := connects(t.Attempt)
	failed := func(c listen.Connect) bool { return c.Err != nil && !canceled(c.Err) }
	chosen := slices.IndexFunc(tried, failed)
	err := firstError(dialErr(t), t.err)
	if chosen < 0 {
		if err == nil || canceled(err) || len(tried) == 0 && !t.DialErr && !isDialError(err) {
			return listen.Connect{}, false
		}
		if t.Dialing != nil && t.Dialing.Lookup != nil && len(tried) == 0 && (t.Dialing.Lookup.End == 0 || t.Dialing.Lookup.Err != nil) {
			return listen.Connect{}, false // the name never led to an address
		}
		return listen.Connect{Network: networkOf(t, err), Address: t.Address, Err: err}, true
	}
	if returned := slices.IndexFunc(tried, func(c listen.Connect) bool { return failed(c) && sameError(c.Err, err) }); returned >= 0 {
		chosen = returned
	}
	if lacksFamily(tried[chosen]) {
		if other := slices.IndexFunc(tried, func(c listen.Connect) bool { return failed(c) && !lacksFamily(c) }); other >= 0 {
			chosen = other
		}
	}
	return tried[chosen], true
}

// sameError says that one error is the other, or both are of one address.
func sameError(a, b error) bool {
	opA, okA := errors.AsType[*net.OpError](a)
	opB, okB := errors.AsType[*net.OpError](b)
	if !okA || !okB {
		return false
	}
	return opA == opB || opA.Addr != nil && opB.Addr != nil && opA.Addr.String() == opB.Addr.String()
}

// lacksFamily says that an IPv6 address could not even be tried.
func lacksFamily(c listen.Connect) bool {
	switch errnoOf(c.Err) {
	case syscall.EAFNOSUPPORT, syscall.EADDRNOTAVAIL, syscall.ENETUNREACH:
		return isIPv6(c.Address)
	}
	return false
}

func isDialError(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// networkOf is the network of a dial that was heard by its error alone.
func networkOf(t *try, err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Net != "" {
		return op.Net
	}
	return t.Network
}

func systemCall(err error) string {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Syscall
	}
	return ""
}

func isIPv6(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Is6() && !a.Addr().Is4In6()
}

func linkLocal(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().IsLinkLocalUnicast()
}
