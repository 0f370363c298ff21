package cause

import (
	"errors"
	"net"
	"net/netip"
	"os"
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
		return emptyCause(t.Attempt)
	}
	errno := errnoOf(c.Err)
	if errno == 0 {
		errno = errnoByText(c.Err.Error())
	}
	if errno == syscall.EMFILE || errno == syscall.ENFILE {
		return descriptorsCause(errno)
	}
	if errno == 0 {
		if isTimeout(c.Err) || strings.HasSuffix(c.Err.Error(), ": i/o timeout") {
			return unansweredCause(c).within(t.ran(failure.DialTimeout, dialStart(t), t.end))
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
		f := unansweredCause(c)
		f.evidence = append(f.evidence, "the system gave up by itself; no limit of Caddy's had run out")
		return f
	case syscall.EHOSTUNREACH:
		return found(HostUnreachable)
	case syscall.ENETUNREACH:
		return found(NetworkUnreachable)
	case syscall.EINVAL:
		// A blackhole route says so; so does a link-local address without its zone.
		switch {
		case call == "bind":
		case lacksZone(c.Address):
			return zoneless()
		case !linkLocal(c.Address):
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
			return found(AddressFamilyUnavailable, "no interface of "+here()+" has an IPv6 address")
		}
		if proof, ok := portsUsedUp(); ok {
			return found(PortsExhausted, proof)
		}
	}
	return nothing
}

// descriptorsCause says whose limit it is that was reached.
func descriptorsCause(errno syscall.Errno) finding {
	if errno == syscall.EMFILE {
		return found(FileDescriptorsExhausted, "EMFILE: it is the limit of this process alone, not the whole machine's")
	}
	return found(FileDescriptorsExhausted, "ENFILE: it is the limit of the whole machine, not this process's own").
		advise("Raise fs.file-max of the whole machine (sysctl; a container has its host's), and look for what holds so many files open there (lsof).")
}

// adviceSocketOnce is for HTTP/3, whose transport asks for its one socket once and
// keeps the refusal.
const adviceSocketOnce = "Raise the limit of open files for Caddy (LimitNOFILE, ulimit -n), and reload its config then: an HTTP/3 transport that was refused its socket once stays broken."

// udpConnectCause is that of HTTP/3, which has a system's error before a connection:
// its socket could not be had, or sending to the address was refused.
func udpConnectCause(t *try) finding {
	errno := errnoOf(t.err)
	if errno == syscall.EMFILE || errno == syscall.ENFILE {
		return descriptorsCause(errno).advise(adviceSocketOnce)
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
	err := firstError(dialErr(t), t.err)
	first, returned, other := -1, -1, -1 // that failed, whose error came back, of a family that there is
	for i := range tried {
		c := &tried[i]
		if c.Err == nil || canceled(c.Err) {
			continue
		}
		if first < 0 {
			first = i
		}
		if returned < 0 && sameError(c.Err, err) {
			returned = i
		}
		if other < 0 && !lacksFamily(c) {
			other = i
		}
	}
	chosen := first
	if returned >= 0 {
		chosen = returned
	}
	switch {
	case chosen < 0:
		if err == nil || canceled(err) || len(tried) == 0 && !t.DialErr && !isDialError(err) {
			return listen.Connect{}, false
		}
		if t.Dialing != nil && t.Dialing.Lookup != nil && len(tried) == 0 && (t.Dialing.Lookup.End == 0 || t.Dialing.Lookup.Err != nil) {
			return listen.Connect{}, false // the name never led to an address
		}
		return listen.Connect{Network: networkOf(t, err), Address: t.Address, Err: err}, true
	case other >= 0 && lacksFamily(&tried[chosen]):
		chosen = other
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
func lacksFamily(c *listen.Connect) bool {
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

// lacksZone says that an address is one of IPv6 that is on each link another host's, and
// does not say on which it is meant (RFC 4007 section 6).
func lacksZone(address string) bool {
	return isIPv6(address) && linkLocal(address) && !strings.Contains(address, "%")
}

// zoneless has no name of its own: it is a matter of the config, and no route helps.
func zoneless() finding {
	f := found(Unknown, "EINVAL: a link-local address (fe80::) is on no link until its zone says on which").at(failure.PhaseConnect)
	f.side = failure.SideProxy
	f.summary = "The address of {upstream} is link-local, and does not say by which interface it is reached."
	return f.advise("Write the interface behind the address in reverse_proxy ([fe80::1%eth0]:8080; behind a scheme %25 for the %), or name an address of {upstream} that is not link-local.").decides()
}

var ProxyLoop = &Row{
	Name: "proxy_loop", Category: failure.CategoryUnavailable, ProxyError: "proxy_loop_detected",
	Phase: failure.PhaseConnect, Side: failure.SideProxy,
	Summary:      "{upstream} leads back to this same site.",
	Advice:       "Let reverse_proxy point at the application, not at an address that this site serves.",
	Meaning:      "The upstream's address leads back to the handler that sent the request: it would go round until something gives up.",
	RecognisedBy: "The request that this same handler is serving came from the very local address of the connection to the upstream. Without that proof the cause is what the attempt's own error says.",
	Witnesses:    []Witness{WitnessKernel},
	UsualReasons: []string{
		"reverse_proxy names the site's own public host, and DNS leads it back to Caddy",
		"two proxies that each send to the other",
		"the application moved, and its old port is now Caddy's",
	},
	Fix: Fix{
		Caddy:       "Point reverse_proxy at the address where the application itself listens.",
		Caddyfile:   "reverse_proxy app:8080",
		Docker:      "Use the name of the service and the port inside its container; localhost in Caddy's container is Caddy.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"client_closed_request", "the evidence names the connection that came back to this handler"},
		{"response_timeout", "the evidence names the connection that came back to this handler"},
		{"upstream_status", "the evidence names the connection that came back to this handler; a loop over another machine cannot be proven from here"},
	},
}

var ConnectionRefused = &Row{
	Name: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
	Phase: failure.PhaseConnect, Side: failure.SideUpstream,
	Summary:      "Nothing accepts connections at {upstream}.",
	Advice:       "Start the application, or correct the port in reverse_proxy.",
	Meaning:      "The upstream's machine answered at once that nothing accepts connections at this port or socket. The request was not sent.",
	RecognisedBy: "connect said ECONNREFUSED, over TCP or on a unix socket that exists. The evidence has the address that was tried and the time it took.",
	Witnesses:    []Witness{WitnessKernel},
	Undecided:    "whether the application is down, or listens on another port or address, can't be told from here: its own machine tells (ss -ltnp)",
	UsualReasons: []string{
		"the application has not started, has crashed, or is restarting",
		"it listens on another port, or on 127.0.0.1 of another machine or container, or of the host that Caddy's container runs on",
		"a unix socket file is left over from a process that has ended",
	},
	Fix: Fix{
		Caddy:       "Correct the port; to ride out restarts, let Caddy try again for some seconds.",
		Caddyfile:   inProxy("lb_try_duration 10s"),
		Docker:      "Let the application listen on 0.0.0.0, not 127.0.0.1, and use the port inside its container, not the published one.",
		Application: "Look at its log for why it does not listen; remove a stale socket before it starts.",
	},
	Rivals: []Rival{
		{"a firewall that rejects with a reset", "on this machine's loopback, the evidence says who listens (Linux); for another machine nothing from here: it is the same answer, so look there"},
		{"a Kubernetes Service without endpoints", "nothing from here: it is the same answer; list the endpoints of the Service"},
		{"socket_not_found", "ECONNREFUSED: the file exists, and nobody accepts on it"},
		{"forward_proxy_failed", "the error does not speak of proxyconnect, and the address in the evidence is the upstream's"},
		{"dns_server_failed", "the evidence has a connect to the upstream's address, not a failed lookup"},
		{"dial_address_invalid", "the address in the evidence has a host and a port"},
	},
}

var SocketBacklogFull = &Row{
	Name: "socket_backlog_full", Category: failure.CategoryUnavailable, ProxyError: "connection_limit_reached",
	Phase: failure.PhaseConnect, Side: failure.SideUpstream,
	Summary:      "The queue of connections at {upstream} is full.",
	Advice:       "Look whether the application still accepts connections: restart one that hangs or was stopped (a debugger, docker pause). If it does, give it more workers, or raise its listen backlog.",
	Meaning:      "Somebody listens at the unix socket, or at a port of this machine, but its queue of waiting connections is full: the application accepts too slowly.",
	RecognisedBy: "connect on a unix socket said EAGAIN; or a connect to an address of this machine was not answered, or nothing that was sent over it ever acknowledged, while as many connections waited there as may (Linux): the evidence has how many.",
	Witnesses:    []Witness{WitnessKernel, WitnessError, WitnessPast},
	Undecided:    "a process that hangs, one that is only too busy, and a backlog that is too short look the same from here: its state and its log tell",
	UsualReasons: []string{
		"all workers of php-fpm or gunicorn are busy, and the queue behind them has filled up",
		"the backlog is small (net.core.somaxconn bounds it)",
		"the process hangs and accepts no more",
	},
	Fix: Fix{
		Caddy:       "Let the request be tried again for a moment.",
		Caddyfile:   inProxyTo("unix//run/app/app.sock", "lb_try_duration 2s"),
		Docker:      "Raise net.core.somaxconn under sysctls: of the application's container.",
		Application: "Give it more workers (pm.max_children of php-fpm, --workers of gunicorn) or a longer backlog (listen.backlog, --backlog).",
	},
	Rivals: []Rival{
		{"connect_timeout", "errno is EAGAIN and came at once, or the evidence counts who waits at a port of this machine"},
		{"connection_lost", "the evidence counts who waits at a port of this machine"},
		{"response_timeout", "the connection was not accepted: the phase is connect, or bytes of the request were never acknowledged"},
	},
}

var ConnectTimeout = &Row{
	Name: "connect_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_timeout",
	Phase: failure.PhaseConnect, Side: failure.SideNetwork, Status: 504,
	Summary:      "{upstream} did not take a connection within {limit}.",
	Advice:       "Check the address, the firewall between here and there, and whether the application there still takes connections; a slow network needs a longer dial_timeout.",
	Meaning:      "The connection did not come about in time: nothing at all was answered. The request was not sent.",
	RecognisedBy: "The connect timed out by dial_timeout, or the system gave it up (ETIMEDOUT). The evidence has each address that was tried, and the limit. Over HTTP/3, a port that stays silent is found so, too.",
	Witnesses:    []Witness{WitnessError, WitnessKernel, WitnessAsked},
	Undecided:    "a firewall that drops packets, a machine that is down, a full queue there, a wrong address, and a network that is slow or loses packets look the same from here",
	UsualReasons: []string{
		"a firewall or a security group drops the packets",
		"the address is wrong, or its machine is down",
		"the application's listen queue is full, and the system drops what comes",
		"a NAT or VPN on the way that is down",
	},
	Fix: Fix{
		Caddy:       "Correct the address; where the network is slow, raise dial_timeout. With several upstreams, fail_duration keeps a dead one out.",
		Caddyfile:   inTransport("dial_timeout 10s"),
		Docker:      "Check that both containers are on one network, and that no firewall of the host stands between its bridges.",
		Application: "If its machine can be reached, look at its listen queue (ss -ltn: Recv-Q at Send-Q): it accepts too slowly.",
	},
	Rivals: []Rival{
		{"host_unreachable", "no answer came; dial_timeout (3 s by default) may end the try just before the system would say EHOSTUNREACH: where nobody answers on a network of Caddy's own, the evidence says so (ARP, on Linux), else raise it to tell"},
		{"a listener whose queue is full", "on this machine that is socket_backlog_full (Linux); for another nothing from here: look at the queue there"},
		{"dns_timeout", "the name had been resolved: the evidence has a connect to an address"},
		{"socket_backlog_full", "errno is not EAGAIN, and the address is another machine's, or fewer wait there than may"},
		{"tls_timeout", "no connect in the evidence says connected"},
		{"a wrong port over HTTP/3", "nothing from here: UDP has no refusal that is passed on"},
	},
}

var HostUnreachable = &Row{
	Name: "host_unreachable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
	Phase: failure.PhaseConnect, Side: failure.SideNetwork,
	Summary:      "There is no way to the host of {upstream}.",
	Advice:       "Check that the host is up, that its address is right, and the route to it.",
	Meaning:      "The network, or this machine's own kernel, reported that the upstream's host cannot be reached.",
	RecognisedBy: "connect said EHOSTUNREACH. The time in the evidence tells who said it: within 100 ms a router or firewall, after 1 to 3 s the kernel, because the host did not answer on the local network.",
	Witnesses:    []Witness{WitnessKernel, WitnessError},
	Undecided:    "a machine that is down, and a wrong address, look the same from here",
	UsualReasons: []string{
		"the host is down, or its address has changed",
		"a firewall that rejects with an ICMP message",
		"an unreachable route on this machine, or a VPN that is down",
	},
	Fix: Fix{
		Caddy:       "Correct the address; with a second upstream the request can be saved.",
		Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_try_duration 5s", "fail_duration 30s"),
		Docker:      "Use the service's name instead of an address: a container gets a new address when it is made again.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"a firewall that rejects", "the time in the evidence: a firewall answers within 100 ms, a host that is not there takes 1 to 3 s"},
		{"connect_timeout", "errno is EHOSTUNREACH: an answer came, or the kernel gave up by itself"},
		{"network_unreachable", "errno is EHOSTUNREACH, not ENETUNREACH"},
		{"connection_lost", "no connection had come about: the phase is connect"},
	},
}

var NetworkUnreachable = &Row{
	Name: "network_unreachable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
	Phase: failure.PhaseConnect, Side: failure.SideNetwork,
	Summary:      "There is no route to the network of {upstream}.",
	Advice:       "Check the routes of this machine, and whether the upstream's name leads to an IPv6 address that cannot be reached from here.",
	Meaning:      "This machine has no route to the upstream's address, or one that throws everything away; or a router on the way has none.",
	RecognisedBy: "connect said ENETUNREACH, or EINVAL as a blackhole route does. The evidence says whether this machine has a route to the address: then a router on the way said so.",
	Witnesses:    []Witness{WitnessKernel},
	UsualReasons: []string{
		"the upstream's name has an IPv6 address, and this machine has no IPv6 route",
		"the default route or a VPN's route is missing",
		"a blackhole route, as a ban of addresses sets one",
		"the address is in a network that only others are in, and the router on the way does not know it",
	},
	Fix: Fix{
		Caddy:       "If only IPv6 is missing, ask for IPv4 addresses alone.",
		Caddyfile:   inProxyTo("", "dynamic a {", "\tname app", "\tport 8080", "\tversions ipv4", "}"),
		Docker:      "A network with internal: true has no way out; give Caddy a second network, or set enable_ipv6.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"host_unreachable", "errno is ENETUNREACH or EINVAL, not EHOSTUNREACH"},
		{"address_family_unavailable", "errno: a family that cannot be used says EAFNOSUPPORT or EADDRNOTAVAIL"},
	},
}

var ConnectProhibited = &Row{
	Name: "connect_prohibited", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_prohibited",
	Phase: failure.PhaseConnect, Side: failure.SideNetwork,
	Summary:      "A rule of this machine forbids connecting to {upstream}.",
	Advice:       "Look for a prohibiting route, an outgoing firewall rule, or a security policy (SELinux, AppArmor) on this machine.",
	Meaning:      "Connecting to this address is forbidden here, by a rule of this machine's firewall, by a route, or on the way.",
	RecognisedBy: "connect over TCP said EACCES or EPERM.",
	Witnesses:    []Witness{WitnessKernel},
	Undecided:    "which rule or route forbids it the kernel does not say",
	UsualReasons: []string{
		"an outgoing rule of nftables or iptables that rejects",
		"a prohibit route, or an ICMP message that says administratively prohibited",
		"systemd's IPAddressDeny, a network policy, SELinux or AppArmor",
	},
	Fix: Fix{
		Caddy:       "Nothing in the Caddyfile; in Caddy's systemd unit look at IPAddressDeny, and with SELinux at httpd_can_network_connect.",
		Docker:      "Look at the host's rules in the chain DOCKER-USER.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"a security policy for this process", "the evidence, where a route lets packets out and errno is EACCES (Linux); which rule it is, its own log alone tells"},
		{"socket_permission_denied", "the address in the evidence is a host and port, no socket's path"},
	},
}

var AddressFamilyUnavailable = &Row{
	Name: "address_family_unavailable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
	Phase: failure.PhaseConnect, Side: failure.SideProxy,
	Summary:      "This process cannot use the kind of address that {upstream} has.",
	Advice:       "Use an IPv4 address in reverse_proxy, or turn on IPv6 here (Docker's network, systemd's RestrictAddressFamilies).",
	Meaning:      "The upstream's address is of a kind, mostly IPv6, that this process cannot use.",
	RecognisedBy: "EAFNOSUPPORT, or EADDRNOTAVAIL for an IPv6 address where no interface of this machine has one. Another address of the same upstream that failed otherwise goes first.",
	Witnesses:    []Witness{WitnessKernel},
	UsualReasons: []string{
		"IPv6 is off in this container or machine, and the name has an IPv6 address",
		"RestrictAddressFamilies in Caddy's systemd unit",
	},
	Fix: Fix{
		Caddy:       "Ask for IPv4 addresses alone, or write the IPv4 address.",
		Caddyfile:   inProxyTo("", "dynamic a {", "\tname app", "\tport 8080", "\tversions ipv4", "}"),
		Docker:      "Set enable_ipv6: true on the network, or remove the IPv6 address (localhost has two: write 127.0.0.1).",
		Application: "Let it listen on IPv4 as well.",
	},
	Rivals: []Rival{
		{"ports_exhausted", "errno is EAFNOSUPPORT, or the evidence says that no interface has an IPv6 address"},
		{"network_unreachable", "errno is not ENETUNREACH"},
		{"local_address_unavailable", "the error does not speak of bind"},
	},
}

var LocalAddressUnavailable = &Row{
	Name: "local_address_unavailable", Category: failure.CategoryUnreachable, ProxyError: "proxy_configuration_error",
	Phase: failure.PhaseConnect, Side: failure.SideProxy,
	Summary:      "The local address to connect from is not one of this machine.",
	Advice:       "Compare local_address in the transport with the addresses of this machine (ip addr), and correct it.",
	Meaning:      "Caddy was told to connect from a local address which this machine does not have.",
	RecognisedBy: "bind, before connect, said EADDRNOTAVAIL.",
	Witnesses:    []Witness{WitnessKernel},
	Undecided:    "whether it was written wrongly, or this machine has lost it, can't be told from here: ip addr tells",
	UsualReasons: []string{
		"local_address names an address of another machine, or one that a container does not have",
		"a floating address that has moved away",
	},
	Fix: Fix{
		Caddy:       "Correct local_address, or leave it out.",
		Caddyfile:   inTransport("local_address 10.0.0.2"),
		Docker:      "A container has its own addresses: remove local_address, or give the container that one (ipv4_address).",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"ports_exhausted", "the error says bind: nothing had been connected yet"},
		{"address_family_unavailable", "the error says bind: the upstream's address had not been tried"},
	},
}

var PortsExhausted = &Row{
	Name: "ports_exhausted", Category: failure.CategoryUnavailable, ProxyError: "proxy_internal_error",
	Phase: failure.PhaseConnect, Side: failure.SideProxy,
	Summary:      "This machine has no free local port to connect to {upstream} from.",
	Advice:       "Keep connections open with keepalive, or widen net.ipv4.ip_local_port_range.",
	Meaning:      "All local ports from which this machine may connect to the upstream are in use, or wait until they may be used again.",
	RecognisedBy: "connect said EADDRNOTAVAIL, and the sockets in use or in TIME_WAIT fill the local port range (Linux). Without that proof it is unknown.",
	Witnesses:    []Witness{WitnessKernel},
	UsualReasons: []string{
		"many connections, each closed after one request: keepalive is off, or the upstream closes",
		"more requests at once than keepalive_idle_conns_per_host (32 by default) lets stay open",
		"a narrow net.ipv4.ip_local_port_range",
	},
	Fix: Fix{
		Caddy:       "Keep more connections open, so that fewer are made.",
		Caddyfile:   inTransport("keepalive 2m", "keepalive_idle_conns_per_host 512"),
		Docker:      "Set net.ipv4.ip_local_port_range under sysctls: of Caddy's container.",
		Application: "Let it keep connections open: no Connection: close, and an idle timeout longer than Caddy's.",
	},
	Rivals: []Rival{
		{"address_family_unavailable", "the evidence counts the sockets and the ports"},
		{"local_address_unavailable", "the error says connect, not bind"},
		{"file_descriptors_exhausted", "errno is EADDRNOTAVAIL, not EMFILE or ENFILE"},
	},
}

var FileDescriptorsExhausted = &Row{
	Name: "file_descriptors_exhausted", Category: failure.CategoryUnavailable, ProxyError: "proxy_internal_error",
	Phase: failure.PhaseConnect, Side: failure.SideProxy,
	Summary:      "This process may not open another socket to reach {upstream}.",
	Advice:       "Raise the limit of open files (LimitNOFILE in systemd, ulimit -n), and look for what holds them.",
	Meaning:      "Caddy, or the whole machine, has as many files and sockets open as it may, so that no new connection could be made.",
	RecognisedBy: "socket said EMFILE (this process) or ENFILE (the machine); also where a lookup's error ends so. The evidence has this process's limit, and how many of its open files are sockets (Linux).",
	Witnesses:    []Witness{WitnessKernel},
	Undecided:    "whether the limit is too low for so many visitors or such slow upstreams, or sockets leak, can't be told from one failure: lsof -p, some time apart, tells",
	UsualReasons: []string{
		"a low limit (ulimit -n, LimitNOFILE) for many visitors at once: each needs two",
		"slow upstreams that hold connections open",
		"a leak in this process",
	},
	Fix: Fix{
		Caddy:       "Raise LimitNOFILE in Caddy's systemd unit; max_conns_per_host bounds what one upstream may take.",
		Caddyfile:   inTransport("max_conns_per_host 500"),
		Docker:      "Set ulimits: nofile: for Caddy's container.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"dns_server_failed", "the error's text ends in too many open files"},
		{"ports_exhausted", "errno is EMFILE or ENFILE, not EADDRNOTAVAIL"},
	},
}

var SocketNotFound = &Row{
	Name: "socket_not_found", Category: failure.CategoryUnavailable, ProxyError: "destination_unavailable",
	Phase: failure.PhaseConnect, Side: failure.SideUpstream,
	Summary:      "There is no socket at {upstream}.",
	Advice:       "Start the application, or correct the socket's path in reverse_proxy.",
	Meaning:      "There is no file at the unix socket's path.",
	RecognisedBy: "connect on a unix socket said ENOENT, or ENOTDIR where a part of the path is a file.",
	Witnesses:    []Witness{WitnessKernel},
	Undecided:    "an application that does not run, one that may not make its socket there, and one that makes it elsewhere or in another container look the same from here: its log, and ss -xl there, tell",
	UsualReasons: []string{
		"the application has not started, and makes the socket when it does",
		"the path has another version or name (php8.2-fpm.sock, php8.3-fpm.sock)",
		"the socket is in another container, or in another /tmp (systemd's PrivateTmp)",
	},
	Fix: Fix{
		Caddy:       "Correct the path: unix/ and then the absolute path, so that two slashes follow each other.",
		Caddyfile:   "reverse_proxy unix//run/app/app.sock",
		Docker:      "Mount the folder of the socket, not the socket, into both containers with one volume.",
		Application: "Let it make its socket in a folder that stays, such as RuntimeDirectory of systemd.",
	},
	Rivals: []Rival{
		{"connection_refused", "errno is ENOENT or ENOTDIR: there is no file at the path"},
		{"socket_permission_denied", "errno is not EACCES: the path could be searched"},
		{"a socket that this process cannot see", "the evidence has the last folder of the path that Caddy sees; a container or PrivateTmp has a file system of its own"},
	},
}

var SocketPermissionDenied = &Row{
	Name: "socket_permission_denied", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
	Phase: failure.PhaseConnect, Side: failure.SideProxy,
	Summary:      "Caddy may not open the socket at {upstream}.",
	Advice:       "Let Caddy's user into the socket's group, or change the socket's mode (listen.group, listen.mode of php-fpm).",
	Meaning:      "The unix socket, or a folder on the way to it, does not let Caddy's user in.",
	RecognisedBy: "connect on a unix socket said EACCES or EPERM. The evidence has the socket's owner and mode, or those of the folder where the path ends for Caddy, and as whom Caddy runs.",
	Witnesses:    []Witness{WitnessKernel},
	UsualReasons: []string{
		"the socket belongs to the application's user and group, and its mode lets nobody else write",
		"a folder above it may not be searched by Caddy's user",
		"SELinux or AppArmor",
	},
	Fix: Fix{
		Caddy:       "Nothing in the Caddyfile; let Caddy's user join the socket's group (SupplementaryGroups in its systemd unit).",
		Docker:      "Let both containers run with the same group id (user:, group_add:).",
		Application: "Make the socket writable for Caddy's group: listen.group and listen.mode of php-fpm, --umask of gunicorn.",
	},
	Rivals: []Rival{
		{"a security policy for this process", "the owner, the mode and Caddy's user in the evidence: if they would let it in, it is the policy"},
		{"connect_prohibited", "the address in the evidence is a socket's path"},
		{"socket_not_found", "errno is EACCES or EPERM"},
	},
}
