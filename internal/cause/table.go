package cause

import (
	"iter"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// all is the catalogue, in the order in which the rows are declared below: the
// order in which they are documented.
var all []*Row

// row enters r into the catalogue.
func row(r Row) *Row {
	if r.Rivals == nil {
		r.Rivals = []Rival{}
	}
	all = append(all, &r)
	return &r
}

// nothingToChange says that a fault can't be ended at this place.
const nothingToChange = "Nothing to change."

// Where a line of a Caddyfile belongs: in the block of reverse_proxy, or in that of
// its transport.

func inProxy(lines ...string) string { return inProxyTo("app:8080", lines...) }

func inProxyTo(upstreams string, lines ...string) string {
	directive := "reverse_proxy "
	if upstreams != "" {
		directive += upstreams + " "
	}
	return directive + "{\n\t" + strings.Join(lines, "\n\t") + "\n}"
}

func inTransport(lines ...string) string { return inTransportTo("app:8080", lines...) }

func inTransportTo(upstreams string, lines ...string) string {
	return inProxyTo(upstreams, "transport http {", "\t"+strings.Join(lines, "\n\t\t"), "}")
}

// Rows goes through the catalogue in its order.
func Rows() iter.Seq[*Row] { return slices.Values(all) }

// ByName returns the row of that name, or nil.
func ByName(name string) *Row {
	for _, r := range all {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Noteworthy says whether a status that an upstream itself answered is worth a
// record: those with which a gateway speaks of what is behind it, 520 to 530
// being Cloudflare's.
func Noteworthy(status int) bool {
	switch status {
	case 502, 503, 504:
		return true
	}
	return 520 <= status && status <= 530
}

// Before an upstream was chosen.
var (
	UpstreamsUnhealthy = row(Row{
		Name: "upstreams_unhealthy", Category: failure.CategoryUnavailable, ProxyError: "destination_unavailable",
		Phase: failure.PhaseSelect, Side: failure.SideUpstream,
		Summary:      "No upstream is healthy, so none was tried.",
		Advice:       "Look at the last failure of each upstream in the list; fail_duration and max_fails say how long one stays out.",
		Meaning:      "Every upstream of the pool is marked as unhealthy, so Caddy answered without trying one. The fault that counts is the one that marked them.",
		RecognisedBy: "reverse_proxy chose nobody, and each upstream of the pool is out by max_fails, by its active check or by its circuit breaker; the record lists each one's reason.",
		UsualReasons: []string{
			"the application is down, or failed max_fails times within fail_duration",
			"the health check asks for a path that the application does not serve, or with a Host that it refuses",
			"one slow or broken request after another counts against a single upstream, with max_fails at its default of 1",
		},
		Fix: Fix{
			Caddy:       "Raise max_fails or shorten fail_duration if single failures put a good upstream out; let the request wait for one with lb_try_duration.",
			Caddyfile:   inProxy("max_fails 3", "fail_duration 10s", "lb_try_duration 5s"),
			Docker:      "Look with docker compose ps whether the container runs or restarts in a loop, and let Caddy start after it: depends_on with condition: service_healthy.",
			Application: "Repair what the last failure of each upstream says; make the path of the health check cheap, and let it answer 200 without a login.",
		},
		Rivals: []Rival{
			{"upstreams_full", "no upstream in unavailable has the reason full"},
			{"upstreams_missing", "unavailable lists at least one upstream"},
		},
	})
	UpstreamsFull = row(Row{
		Name: "upstreams_full", Category: failure.CategoryUnavailable, ProxyError: "connection_limit_reached",
		Phase: failure.PhaseSelect, Side: failure.SideProxy,
		Summary:      "Every healthy upstream has as many requests as it may have.",
		Advice:       "Raise unhealthy_request_count, add upstreams, or let requests wait with lb_try_duration.",
		Meaning:      "At least one upstream is healthy, but has as many requests in flight as it may have, and all others are full or unhealthy. Nobody was tried.",
		RecognisedBy: "reverse_proxy chose nobody, and at least one upstream of the pool had reached unhealthy_request_count; the record lists each one's reason.",
		UsualReasons: []string{
			"more visitors than usual, or a slow application whose requests pile up",
			"unhealthy_request_count is lower than what the application can do",
			"long-lived requests (WebSocket, event streams) fill the slots",
		},
		Fix: Fix{
			Caddy:       "Raise unhealthy_request_count, add upstreams, or let requests wait for a free slot.",
			Caddyfile:   inProxy("unhealthy_request_count 200", "lb_try_duration 5s"),
			Docker:      "Run more containers of the service (docker compose up --scale app=3) and let dynamic a find them.",
			Application: "Find out which requests take long; give the application more workers.",
		},
		Rivals: []Rival{
			{"upstreams_unhealthy", "at least one upstream in unavailable has the reason full"},
			{"upstream_status", "the request was sent to nobody: attempts is empty and received is left out"},
		},
	})
	UpstreamsMissing = row(Row{
		Name: "upstreams_missing", Category: failure.CategoryUnavailable, ProxyError: "destination_not_found",
		Phase: failure.PhaseSelect, Side: failure.SideProxy,
		Summary:      "There is no upstream to choose from.",
		Advice:       "Name an upstream in reverse_proxy, or look at what its dynamic source returns.",
		Meaning:      "The pool was empty: no upstream is configured, or the dynamic source found none.",
		RecognisedBy: "reverse_proxy chose nobody, its pool was empty, and no lookup of a dynamic source failed.",
		UsualReasons: []string{
			"the DNS name of a dynamic source exists, but has no records of the kind asked for",
			"a service that is scaled to zero",
			"a config made by a generator, without upstreams",
		},
		Fix: Fix{
			Caddy:       "Name an upstream, or correct the name that the dynamic source looks up.",
			Caddyfile:   inProxyTo("", "dynamic a app 8080"),
			Docker:      "Start the service (docker compose up -d app); the name of a service without running containers has no addresses.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"upstream_lookup_failed", "the lookup gave no error, and the evidence has none"},
			{"upstreams_unhealthy", "unavailable is left out, for there was nobody to list"},
		},
	})
	UpstreamLookupFailed = row(Row{
		Name: "upstream_lookup_failed", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
		Phase: failure.PhaseSelect, Side: failure.SideNetwork,
		Summary:      "Looking up the upstreams of {upstream} failed.",
		Advice:       "Ask the resolver for the name by hand, and check the name and the resolvers of dynamic.",
		Meaning:      "The upstreams come from a dynamic source, and its lookup failed. Caddy had no earlier result to go on with, and tried nobody.",
		RecognisedBy: "The dynamic source returned an error, and the pool was empty; the evidence quotes the lookup and its error.",
		UsualReasons: []string{
			"the name does not exist, often just after a deployment",
			"the resolver is down, or refuses to answer",
			"the resolvers line names a server that does not know the internal zone",
		},
		Fix: Fix{
			Caddy:       "Correct the name or the resolvers; for SRV records, grace_period keeps the last result while lookups fail.",
			Caddyfile:   inProxyTo("", "dynamic srv _http._tcp.app.internal {", "\tresolvers 10.0.0.2", "\tgrace_period 1m", "}"),
			Docker:      "Put Caddy on the network of the service: Docker's resolver, 127.0.0.11, answers only for names of networks that the container is on.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"upstreams_missing", "the evidence has the lookup's error; an empty answer has none"},
			{"dns_name_not_found", "the phase is select and attempts is empty: no upstream had been chosen"},
			{"dns_server_failed", "the phase is select and attempts is empty: no upstream had been chosen"},
			{"dns_timeout", "the phase is select and attempts is empty: no upstream had been chosen"},
		},
	})
	DialAddressInvalid = row(Row{
		Name: "dial_address_invalid", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseSelect, Side: failure.SideProxy,
		Summary:      "{upstream} does not give an address that can be dialled.",
		Advice:       "Check the placeholder in the upstream's address in reverse_proxy: it is empty, or not one host and port.",
		Meaning:      "The upstream's address could not be made into one host and one port, mostly because a placeholder in it was empty. Nothing was connected.",
		RecognisedBy: "reverse_proxy refused to make dial info of the address, or the address that was dialled has no host or port 0; the evidence quotes it.",
		UsualReasons: []string{
			"an environment variable or a map that sets no value for this request",
			"a placeholder that holds a whole URL, or a range of ports",
			"a header of the client's that is used as an address and is missing",
		},
		Fix: Fix{
			Caddy:       "Give the placeholder a default, so that it is never empty.",
			Caddyfile:   "reverse_proxy {$APP_HOST:app}:8080",
			Docker:      "Set the variable in the environment of Caddy's container, not of the application's.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"dns_name_not_found", "no name was looked up: attempts has no dns phase"},
			{"connection_refused", "the address in the evidence has no host or port 0, on which nobody can listen"},
		},
	})
)

// Until a connection came about.
var (
	ProxyLoop = row(Row{
		Name: "proxy_loop", Category: failure.CategoryUnavailable, ProxyError: "proxy_loop_detected",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary:      "{upstream} leads back to this same site.",
		Advice:       "Let reverse_proxy point at the application, not at an address that this site serves.",
		Meaning:      "The upstream's address leads back to the handler that sent the request: it would go round until something gives up.",
		RecognisedBy: "The request that this same handler is serving came from the very local address of the connection to the upstream. Without that proof the cause is what the attempt's own error says.",
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
	})
	DNSNameNotFound = row(Row{
		Name: "dns_name_not_found", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork,
		Summary:      "The name of {upstream} does not exist, or has no address.",
		Advice:       "Correct the host in reverse_proxy, or create the name; in Docker, both containers must be on one network.",
		Meaning:      "The resolver answered that the upstream's name does not exist, or that it has no IPv4 or IPv6 address.",
		RecognisedBy: "The lookup's typed error says not found. The evidence names what was looked up, and how long it took.",
		UsualReasons: []string{
			"a typo in the host, or a name that only another network knows",
			"the container is not running, or is on another Docker network",
			"the record has been deleted, or is not there yet",
		},
		Fix: Fix{
			Caddy:       "Correct the host, or name a resolver that knows the zone.",
			Caddyfile:   inTransport("resolvers 10.0.0.2"),
			Docker:      "Put both containers on one network that you have made (networks: in the compose file): on the default bridge names do not resolve. A container that has stopped has no name.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"dns_server_failed", "the evidence says no such host: the resolver did answer"},
			{"dns_timeout", "the evidence says no such host: the resolver did answer"},
			{"upstream_lookup_failed", "the phase is dns: an upstream had been chosen"},
			{"dial_address_invalid", "the evidence has the name that was looked up"},
		},
	})
	DNSServerFailed = row(Row{
		Name: "dns_server_failed", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork,
		Summary:      "The resolver could not look up the name of {upstream}.",
		Advice:       "Check the resolver of this machine, or name others with resolvers in the transport.",
		Meaning:      "A lookup of the upstream's name gave no answer that says yes or no: the resolver reported a failure, refused, knew nothing, or could not be reached.",
		RecognisedBy: "The lookup's typed error is neither not found nor a timeout. The evidence quotes it: server misbehaving (SERVFAIL, REFUSED), lame referral, or connection refused by the resolver.",
		UsualReasons: []string{
			"the machine's resolver is down or restarting",
			"the resolver cannot reach the servers of the zone, or DNSSEC fails there",
			"/etc/resolv.conf or the resolvers line names a machine that is no resolver",
		},
		Fix: Fix{
			Caddy:       "Name a resolver that works, and use an address instead of a name if the upstream has a fixed one.",
			Caddyfile:   inTransport("resolvers 10.0.0.2 10.0.0.3"),
			Docker:      "Look at what Docker's resolver passes on to: dns: in the compose file, or the host's /etc/resolv.conf.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"dns_name_not_found", "the error in the evidence is not no such host"},
			{"dns_timeout", "the error in the evidence came from the resolver or the system, and no time ran out"},
			{"file_descriptors_exhausted", "the error's text does not end in too many open files"},
			{"connection_refused", "the lookup failed, and no connect is in the evidence: what is refused is the resolver's port"},
			{"upstream_lookup_failed", "the phase is dns: an upstream had been chosen"},
		},
	})
	DNSTimeout = row(Row{
		Name: "dns_timeout", Category: failure.CategoryTimeout, ProxyError: "dns_timeout",
		Phase: failure.PhaseDNS, Side: failure.SideNetwork, Status: 504,
		Summary:      "No resolver answered for the name of {upstream} in time.",
		Advice:       "Check that the resolver of this machine can be reached, or name others with resolvers in the transport.",
		Meaning:      "Nobody answered for the upstream's name before dial_timeout, or the resolver's own time, was over.",
		RecognisedBy: "The lookup's typed error is a timeout, or dialling timed out while the lookup was still going on. The evidence has the lookup's time and the limit that ran out.",
		UsualReasons: []string{
			"the resolver's machine is down, or a firewall drops UDP port 53",
			"/etc/resolv.conf lists a dead server first",
			"a dial_timeout so short that a second try of the resolver has no time",
		},
		Fix: Fix{
			Caddy:       "Name resolvers that can be reached; a slow one needs a longer dial_timeout.",
			Caddyfile:   inTransport("resolvers 10.0.0.2", "dial_timeout 10s"),
			Docker:      "Check dns: in the compose file, and whether the container may reach that address.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"connect_timeout", "the evidence has an unanswered lookup, and no connect"},
			{"dns_server_failed", "the time ran out; no server said anything"},
			{"dns_name_not_found", "the time ran out; no server said anything"},
			{"upstream_lookup_failed", "the phase is dns: an upstream had been chosen"},
		},
	})
	ConnectionRefused = row(Row{
		Name: "connection_refused", Category: failure.CategoryUnavailable, ProxyError: "connection_refused",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary:      "Nothing accepts connections at {upstream}.",
		Advice:       "Start the application, or correct the port in reverse_proxy.",
		Meaning:      "The upstream's machine answered at once that nothing accepts connections at this port or socket. The request was not sent.",
		RecognisedBy: "connect said ECONNREFUSED, over TCP or on a unix socket that exists. The evidence has the address that was tried and the time it took.",
		UsualReasons: []string{
			"the application has not started, has crashed, or is restarting",
			"it listens on another port, or on 127.0.0.1 of another machine or container",
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
	})
	SocketBacklogFull = row(Row{
		Name: "socket_backlog_full", Category: failure.CategoryUnavailable, ProxyError: "connection_limit_reached",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary:      "The queue of connections at {upstream} is full.",
		Advice:       "Give the application more workers, or raise its listen backlog.",
		Meaning:      "The unix socket exists and somebody listens, but its queue of waiting connections is full: the application accepts too slowly.",
		RecognisedBy: "connect on a unix socket said EAGAIN.",
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
			{"connect_timeout", "errno is EAGAIN, and came at once: no limit ran out"},
		},
	})
	ConnectTimeout = row(Row{
		Name: "connect_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_timeout",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork, Status: 504,
		Summary:      "{upstream} did not take a connection within {limit}.",
		Advice:       "Check the address and the firewall between here and there; a slow network needs a longer dial_timeout.",
		Meaning:      "The connection did not come about in time: nothing at all was answered. The request was not sent.",
		RecognisedBy: "The connect timed out by dial_timeout, or the system gave it up (ETIMEDOUT). The evidence has each address that was tried, and the limit. Over HTTP/3, a port that stays silent is found so, too.",
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
			{"host_unreachable", "no answer came; dial_timeout (3 s by default) may end the try just before the system would say EHOSTUNREACH: raise it to tell"},
			{"a listener whose queue is full", "nothing from here: look at the queue on the upstream's machine"},
			{"dns_timeout", "the name had been resolved: the evidence has a connect to an address"},
			{"socket_backlog_full", "errno is not EAGAIN"},
			{"tls_timeout", "no connect in the evidence says connected"},
			{"a wrong port over HTTP/3", "nothing from here: UDP has no refusal that is passed on"},
		},
	})
	HostUnreachable = row(Row{
		Name: "host_unreachable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary:      "There is no way to the host of {upstream}.",
		Advice:       "Check that the host is up, that its address is right, and the route to it.",
		Meaning:      "The network, or this machine's own kernel, reported that the upstream's host cannot be reached.",
		RecognisedBy: "connect said EHOSTUNREACH. The time in the evidence tells who said it: within 100 ms a router or firewall, after 1 to 3 s the kernel, because the host did not answer on the local network.",
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
	})
	NetworkUnreachable = row(Row{
		Name: "network_unreachable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary:      "This machine has no route to the network of {upstream}.",
		Advice:       "Check the routes of this machine, and whether the upstream's name leads to an IPv6 address that cannot be reached from here.",
		Meaning:      "This machine has no route to the upstream's address, or one that throws everything away.",
		RecognisedBy: "connect said ENETUNREACH, or EINVAL as a blackhole route does.",
		UsualReasons: []string{
			"the upstream's name has an IPv6 address, and this machine has no IPv6 route",
			"the default route or a VPN's route is missing",
			"a blackhole route, as a ban of addresses sets one",
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
	})
	ConnectProhibited = row(Row{
		Name: "connect_prohibited", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_prohibited",
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary:      "A firewall or a route of this machine forbids connecting to {upstream}.",
		Advice:       "Look for a prohibiting route or an outgoing firewall rule on this machine.",
		Meaning:      "Connecting to this address is forbidden here, by a rule of this machine's firewall, by a route, or on the way.",
		RecognisedBy: "connect over TCP said EACCES or EPERM.",
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
			{"a security policy for this process", "nothing from here: SELinux and AppArmor give the same errno; they have a log of their own"},
			{"socket_permission_denied", "the address in the evidence is a host and port, no socket's path"},
		},
	})
	AddressFamilyUnavailable = row(Row{
		Name: "address_family_unavailable", Category: failure.CategoryUnreachable, ProxyError: "destination_ip_unroutable",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary:      "This process cannot use the kind of address that {upstream} has.",
		Advice:       "Use an IPv4 address in reverse_proxy, or turn on IPv6 here (Docker's network, systemd's RestrictAddressFamilies).",
		Meaning:      "The upstream's address is of a kind, mostly IPv6, that this process cannot use.",
		RecognisedBy: "EAFNOSUPPORT, or EADDRNOTAVAIL for an IPv6 address where no interface of this machine has one. Another address of the same upstream that failed otherwise goes first.",
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
	})
	LocalAddressUnavailable = row(Row{
		Name: "local_address_unavailable", Category: failure.CategoryUnreachable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary:      "The local address to connect from is not one of this machine.",
		Advice:       "Correct local_address in the transport.",
		Meaning:      "Caddy was told to connect from a local address which this machine does not have.",
		RecognisedBy: "bind, before connect, said EADDRNOTAVAIL.",
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
	})
	PortsExhausted = row(Row{
		Name: "ports_exhausted", Category: failure.CategoryUnavailable, ProxyError: "proxy_internal_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary:      "This machine has no free local port to connect to {upstream} from.",
		Advice:       "Keep connections open with keepalive, or widen net.ipv4.ip_local_port_range.",
		Meaning:      "All local ports from which this machine may connect to the upstream are in use, or wait until they may be used again.",
		RecognisedBy: "connect said EADDRNOTAVAIL, and the sockets in use or in TIME_WAIT fill the local port range (Linux). Without that proof it is unknown.",
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
	})
	FileDescriptorsExhausted = row(Row{
		Name: "file_descriptors_exhausted", Category: failure.CategoryUnavailable, ProxyError: "proxy_internal_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary:      "This process may not open another socket to reach {upstream}.",
		Advice:       "Raise the limit of open files (LimitNOFILE in systemd, ulimit -n), and look for what holds them.",
		Meaning:      "Caddy, or the whole machine, has as many files and sockets open as it may, so that no new connection could be made.",
		RecognisedBy: "socket said EMFILE (this process) or ENFILE (the machine); also where a lookup's error ends so. The evidence has this process's limit.",
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
	})
	SocketNotFound = row(Row{
		Name: "socket_not_found", Category: failure.CategoryUnavailable, ProxyError: "destination_unavailable",
		Phase: failure.PhaseConnect, Side: failure.SideUpstream,
		Summary:      "There is no socket at {upstream}.",
		Advice:       "Start the application, or correct the socket's path in reverse_proxy.",
		Meaning:      "There is no file at the unix socket's path.",
		RecognisedBy: "connect on a unix socket said ENOENT, or ENOTDIR where a part of the path is a file.",
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
	})
	SocketPermissionDenied = row(Row{
		Name: "socket_permission_denied", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseConnect, Side: failure.SideProxy,
		Summary:      "Caddy may not open the socket at {upstream}.",
		Advice:       "Let Caddy's user into the socket's group, or change the socket's mode (listen.group, listen.mode of php-fpm).",
		Meaning:      "The unix socket, or a folder on the way to it, does not let Caddy's user in.",
		RecognisedBy: "connect on a unix socket said EACCES or EPERM. The evidence has the socket's owner and mode, or those of the folder where the path ends for Caddy, and as whom Caddy runs.",
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
	})
	ForwardProxyFailed = row(Row{
		Name: "forward_proxy_failed", Category: failure.CategoryUnreachable,
		Phase: failure.PhaseConnect, Side: failure.SideNetwork,
		Summary:      "The forward proxy on the way to {upstream} could not be used.",
		Advice:       "Check the proxy that network_proxy names, or HTTP_PROXY and HTTPS_PROXY in Caddy's environment.",
		Meaning:      "Caddy reaches this upstream through a forward proxy, and that proxy could not be used. The upstream itself was not asked.",
		RecognisedBy: "The transport names the operation proxyconnect. The evidence has the cause at the forward proxy, which also gives proxy_error.",
		UsualReasons: []string{
			"the forward proxy is down, or its address is wrong",
			"HTTP_PROXY or HTTPS_PROXY is set in Caddy's environment without being meant for this",
			"the forward proxy refuses the host or the port",
		},
		Fix: Fix{
			Caddy:       "Name the right proxy, or none.",
			Caddyfile:   inTransport("network_proxy none"),
			Docker:      "Look for HTTP_PROXY in the environment of Caddy's container; Docker's client sets it from its own config.",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"connection_refused", "the error speaks of proxyconnect, and the address in the evidence is the forward proxy's"},
			{"tls_closed", "the address that was dialled is the forward proxy's, and no handshake had begun in a tunnel"},
		},
	})
	TLSNotSpoken = row(Row{
		Name: "tls_not_spoken", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary:      "{upstream} does not speak TLS on this port.",
		Advice:       "Use http:// in reverse_proxy, or the port on which the upstream speaks TLS.",
		Meaning:      "Caddy began a TLS handshake, and what came back is no TLS: the port speaks something else.",
		RecognisedBy: "The first bytes of the answer are no TLS record; the evidence quotes them, so that it shows what speaks there.",
		UsualReasons: []string{
			"https:// for a port that speaks plain HTTP",
			"port 443 in the address of an upstream without TLS",
			"a mail or database server that starts TLS only when it is asked (STARTTLS)",
		},
		Fix: Fix{
			Caddy:       "Use plain HTTP to this port, or the port with TLS.",
			Caddyfile:   "reverse_proxy http://app:8080",
			Docker:      "Inside a Docker network most applications speak plain HTTP: TLS ends at Caddy.",
			Application: "If it is to speak TLS, give it a certificate and turn TLS on for this port.",
		},
		Rivals: []Rival{
			{"tls_closed", "bytes came back, and the evidence quotes them"},
			{"not_http", "the phase is tls: no HTTP had been sent"},
		},
	})
	TLSClosed = row(Row{
		Name: "tls_closed", Category: failure.CategoryUnreachable, ProxyError: "tls_protocol_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary:      "{upstream} closed the connection during the TLS handshake.",
		Advice:       "Look at the upstream's TLS log: a name it does not serve (tls_server_name), or a port that speaks no TLS.",
		Meaning:      "The connection came about, and the upstream ended it in the middle of the TLS handshake, without an alert that says why.",
		RecognisedBy: "The handshake ended with end of file or a reset, after the connect had worked and before there was a connection to send on.",
		UsualReasons: []string{
			"the server has no certificate for the name, and closes",
			"the port speaks no TLS, and closes on what it cannot read",
			"the port expects a PROXY protocol header first",
			"a balancer whose backend is down",
		},
		Fix: Fix{
			Caddy:       "Ask for the name that the upstream serves; where a large ClientHello does not get through, send a smaller one.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_server_name app.internal", "tls_curves x25519"),
			Docker:      "Use the port on which the container speaks TLS.",
			Application: "Look at its TLS log at this time.",
		},
		Rivals: []Rival{
			{"a box on the way that drops a large ClientHello", "nothing from here: try with tls_curves x25519"},
			{"tls_not_spoken", "no byte came back"},
			{"tls_alert", "no alert came: tls_alert is left out of the attempt"},
			{"closed_before_response", "the handshake had not finished: the phase is tls"},
			{"forward_proxy_failed", "a handshake with the upstream had begun: the evidence has how it ended"},
			{"a PROXY protocol header that is missing or not expected", "nothing from here: look at proxy_protocol on both sides"},
		},
	})
	TLSTimeout = row(Row{
		Name: "tls_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_timeout",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream, Status: 504,
		Summary:      "{upstream} did not finish the TLS handshake within {limit}.",
		Advice:       "Check that the upstream speaks TLS on this port and is not overloaded; a slow one needs a longer tls_timeout.",
		Meaning:      "The connection came about, but the TLS handshake did not finish in time.",
		RecognisedBy: "The transport's timer for the handshake ran out after the connect had worked. The evidence has both times and the limit.",
		UsualReasons: []string{
			"the port speaks another protocol, and waits for the client to say something it knows",
			"the upstream is overloaded, or a balancer accepts and has no backend",
			"packets of the handshake are lost: an MTU that is too large on the way",
		},
		Fix: Fix{
			Caddy:       "If the upstream is slow, give it longer.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_timeout 20s"),
			Docker:      "With a VPN or overlay network, set the network's MTU (com.docker.network.driver.mtu).",
			Application: "Check that it speaks TLS on this port, and what it does at this time.",
		},
		Rivals: []Rival{
			{"connect_timeout", "the evidence has a connect that says connected"},
			{"a box on the way that drops a large ClientHello", "nothing from here: try with tls_curves x25519"},
			{"client_closed_request", "the limit that ran out is tls_timeout; the client was still there"},
		},
	})
	CertificateUntrusted = row(Row{
		Name: "certificate_untrusted", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary:      "The certificate of {upstream} is from an authority that Caddy does not trust.",
		Advice:       "Name the authority with tls_trust_pool in the transport, or let the upstream send its whole chain.",
		Meaning:      "The upstream's certificate is signed by an authority that Caddy does not trust, or the chain to one is incomplete. Caddy ended the handshake.",
		RecognisedBy: "The verification's typed error says unknown authority. The evidence has the certificate's subject, issuer and names, and whether it is self-signed, comes without its intermediate (side upstream), or this machine has no trusted authorities at all.",
		UsualReasons: []string{
			"an internal authority, or a self-signed certificate",
			"the upstream sends its own certificate without the intermediate",
			"a container image without ca-certificates",
		},
		Fix: Fix{
			Caddy:       "Trust the authority's certificate.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_trust_pool file /etc/caddy/app-ca.pem"),
			Docker:      "Mount the authority's certificate into Caddy's container; install ca-certificates in a bare image.",
			Application: "Let it send the whole chain (fullchain.pem, not cert.pem).",
		},
		Rivals: []Rival{
			{"an intermediate certificate that is missing", "the evidence says how many certificates came, and that the intermediate is missing where the certificate tells"},
			{"a box on the way that intercepts TLS", "the issuer in the evidence"},
			{"certificate_invalid", "the error says unknown authority"},
			{"certificate_expired", "the error says unknown authority; dates are checked before"},
			{"certificate_name_mismatch", "the error says unknown authority; the name is checked before"},
			{"client_certificate_rejected", "Caddy ended the handshake: it is about the upstream's certificate, and tls_alert is left out"},
		},
	})
	CertificateExpired = row(Row{
		Name: "certificate_expired", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary:      "The certificate of {upstream} has expired.",
		Advice:       "Renew the upstream's certificate and reload the upstream.",
		Meaning:      "A certificate in the upstream's chain was valid only until a time that has passed, as this machine's clock has it.",
		RecognisedBy: "The verification's typed error says expired, and the time here is after the end. The evidence has the certificate, both dates and the time here.",
		UsualReasons: []string{
			"the renewal failed, or the server was not reloaded after it",
			"an intermediate in the chain has expired",
			"this machine's clock is wrong",
		},
		Fix: Fix{
			Caddy:       "Nothing: trusting an expired certificate would end the check for all others as well.",
			Docker:      "Mount the folder of the certificates, not single files: a renewal replaces the files.",
			Application: "Renew the certificate, and reload the server.",
		},
		Rivals: []Rival{
			{"this machine's clock", "the time here, in the evidence, is the true one"},
			{"certificate_not_yet_valid", "the time here is after the end, not before the start"},
			{"certificate_untrusted", "the error says expired"},
		},
	})
	CertificateNotYetValid = row(Row{
		Name: "certificate_not_yet_valid", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary:      "The certificate of {upstream} is not valid yet.",
		Advice:       "Check the clock of this machine, and of the one that made the certificate.",
		Meaning:      "A certificate in the upstream's chain becomes valid only later, as this machine's clock has it.",
		RecognisedBy: "The verification's typed error says that a date does not fit, and the time here is before the start. The evidence has the certificate, both dates and the time here.",
		UsualReasons: []string{
			"this machine's clock is behind, as after a boot without a battery or NTP",
			"the certificate was made by a machine whose clock is ahead",
		},
		Fix: Fix{
			Caddy:       "Nothing in the Caddyfile; set this machine's clock (timedatectl, chronyc).",
			Docker:      "A container has its host's clock: set that.",
			Application: "Make the certificate again with a start that lies in the past.",
		},
		Rivals: []Rival{
			{"this machine's clock", "the time here, in the evidence, is the true one"},
			{"certificate_expired", "the time here is before the start, not after the end"},
		},
	})
	CertificateNameMismatch = row(Row{
		Name: "certificate_name_mismatch", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary:      "The certificate of {upstream} is for another name.",
		Advice:       "Set tls_server_name in the transport to a name that the certificate has.",
		Meaning:      "The upstream's certificate is for other names than the one Caddy asked for. Caddy ended the handshake.",
		RecognisedBy: "The verification's typed error is about the name. The evidence has the name asked for and the names in the certificate.",
		UsualReasons: []string{
			"reverse_proxy names an address or a container, and the certificate is for the public name",
			"a certificate with a common name and no names of the modern kind (SAN)",
			"the server sends its default certificate, for it does not know the name",
		},
		Fix: Fix{
			Caddy:       "Ask for a name that the certificate has.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_server_name www.example.com"),
			Docker:      "Keep the service's name in reverse_proxy, and the certificate's name in tls_server_name.",
			Application: "Make a certificate that has the name under which Caddy asks as SAN.",
		},
		Rivals: []Rival{
			{"another server at this address", "the names in the certificate, in the evidence"},
			{"tls_server_name_rejected", "a certificate came; no alert did"},
			{"certificate_untrusted", "the error is about the name; whether the authority is trusted had not been checked yet"},
		},
	})
	CertificateInvalid = row(Row{
		Name: "certificate_invalid", Category: failure.CategoryUnreachable, ProxyError: "tls_certificate_error",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary:      "The certificate of {upstream} may not be used for a server.",
		Advice:       "Give the upstream a certificate for server authentication that breaks none of its authority's constraints.",
		Meaning:      "The upstream's certificate breaks a rule other than its dates, its name or its authority: what it may be used for, or a constraint of its chain.",
		RecognisedBy: "The verification's typed error has another reason; the evidence quotes it.",
		UsualReasons: []string{
			"a certificate for clients that is used by a server (extended key usage)",
			"a certificate that signs others without being an authority, or more than its authority allows",
		},
		Fix: Fix{
			Caddy:       "Nothing: the certificate has to be made again.",
			Docker:      nothingToChange,
			Application: "Make a certificate with the usage server authentication, within its authority's constraints.",
		},
		Rivals: []Rival{
			{"certificate_untrusted", "the reason in the evidence is not unknown authority"},
		},
	})
	ClientCertificateRejected = row(Row{
		Name: "client_certificate_rejected", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary:      "{upstream} wants a client certificate and did not accept what Caddy presented.",
		Advice:       "Set tls_client_auth in the transport to a certificate from an authority that the upstream trusts.",
		Meaning:      "The upstream wants a certificate of its client, and Caddy presented none, or one that the upstream does not accept.",
		RecognisedBy: "The upstream sent an alert that only speaks of the client's certificate: 116 (required), 48 (unknown authority), or 42 to 46. In TLS 1.3 it comes after the handshake. Or its own 400 has the sentence by which nginx says so (phase headers, outcome upstream_answered); the evidence quotes it.",
		UsualReasons: []string{
			"tls_client_auth is not set",
			"the certificate is from another authority, has expired, or is not meant for clients",
		},
		Fix: Fix{
			Caddy:       "Present a certificate that the upstream accepts.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_client_auth /etc/caddy/client.pem /etc/caddy/client.key"),
			Docker:      "Mount certificate and key into Caddy's container, readable for its user.",
			Application: "Let it trust the authority of Caddy's certificate; its log says what it disliked.",
		},
		Rivals: []Rival{
			{"tls_alert", "the alert's number, tls_alert in the attempt, speaks of a certificate"},
			{"upstream_status", "the answer has the sentence about the certificate, which the evidence quotes"},
			{"certificate_untrusted", "the alert came from the upstream: it is about Caddy's certificate"},
		},
	})
	TLSServerNameRejected = row(Row{
		Name: "tls_server_name_rejected", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideProxy,
		Summary:      "{upstream} does not serve the name that was asked for in the TLS handshake.",
		Advice:       "Set tls_server_name in the transport to a name that the upstream serves.",
		Meaning:      "The upstream refused the handshake because it does not serve the name that Caddy asked for.",
		RecognisedBy: "The upstream sent alert 112, unrecognized name.",
		UsualReasons: []string{
			"reverse_proxy names a container or an internal host, and the upstream serves its public name only",
			"the upstream has no site for this name yet",
		},
		Fix: Fix{
			Caddy:       "Ask for a name that the upstream serves. An upstream that is written as an IP address is asked for no name at all.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_server_name www.example.com"),
			Docker:      nothingToChange,
			Application: "Add the name to its sites, or give it a default certificate.",
		},
		Rivals: []Rival{
			{"tls_alert", "tls_alert in the attempt is 112"},
			{"certificate_name_mismatch", "an alert came, and no certificate"},
		},
	})
	TLSVersionUnsupported = row(Row{
		Name: "tls_version_unsupported", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary:      "Caddy and {upstream} have no version of TLS in common.",
		Advice:       "Turn on TLS 1.2 or newer at the upstream.",
		Meaning:      "Caddy speaks TLS 1.2 and 1.3 to upstreams, and this one speaks neither.",
		RecognisedBy: "The upstream sent alert 70, protocol version, or chose a version that Caddy does not speak.",
		UsualReasons: []string{
			"an old device or library with TLS 1.0 or 1.1 only",
			"a server that is set to TLS 1.3 only, behind a box that allows less",
		},
		Fix: Fix{
			Caddy:       "Nothing: older versions cannot be turned on. If the network between is yours, plain HTTP is the honest choice.",
			Caddyfile:   "reverse_proxy http://app:8080",
			Docker:      nothingToChange,
			Application: "Turn on TLS 1.2 or newer.",
		},
		Rivals: []Rival{
			{"tls_alert", "tls_alert in the attempt is 70, or the error names the version"},
		},
	})
	TLSAlert = row(Row{
		Name: "tls_alert", Category: failure.CategoryUnreachable, ProxyError: "tls_alert_received",
		Phase: failure.PhaseTLS, Side: failure.SideUpstream,
		Summary:      "{upstream} refused the TLS handshake with an alert.",
		Advice:       "Look at the upstream's TLS log for the alert's reason.",
		Meaning:      "The upstream ended the handshake with an alert that has no cause of its own here. Its number says as much as the upstream told.",
		RecognisedBy: "Any other alert of the upstream's; number and name are in the evidence, the number also in tls_alert of the attempt.",
		UsualReasons: []string{
			"alert 40, handshake failure: no cipher suite or curve in common, no certificate for the name, or a missing client certificate before TLS 1.3",
			"alert 80, internal error: the server's own TLS setup is broken",
		},
		Fix: Fix{
			Caddy:       "Ask for the name that the upstream serves; present a client certificate if it wants one.",
			Caddyfile:   inTransportTo("https://app:8443", "tls_server_name app.internal"),
			Docker:      nothingToChange,
			Application: "Look at its TLS log: the alert is its own, and it alone knows the reason.",
		},
		Rivals: []Rival{
			{"client_certificate_rejected", "nothing for alert 40: before TLS 1.3 it is also sent where a client certificate is missing; any other number rules it out"},
			{"tls_server_name_rejected", "nothing for alert 40: some servers send it for a name that they do not serve; any other number rules it out"},
			{"tls_version_unsupported", "nothing for alert 40: some servers send it where versions differ; any other number rules it out"},
			{"tls_closed", "an alert came"},
		},
	})
)

// Until the request was sent.
var (
	RequestWriteTimeout = row(Row{
		Name: "request_write_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_write_timeout",
		Phase: failure.PhaseSend, Side: failure.SideUpstream, Status: 504,
		Summary:      "{upstream} did not take the request within {limit}.",
		Advice:       "Find out why the upstream reads so slowly; if it may, raise write_timeout in the transport.",
		Meaning:      "The upstream took the connection, but did not read the request fast enough: writing it timed out.",
		RecognisedBy: "Writing to the upstream's connection timed out, and the client's side had no error. The evidence names write_timeout.",
		UsualReasons: []string{
			"the application reads the body slowly, or not before something else is done",
			"it hangs: the system takes what fits into its buffers, and no more",
		},
		Fix: Fix{
			Caddy:       "If it may be so slow, raise write_timeout; request_buffers lets Caddy take a slow upload first.",
			Caddyfile:   inTransport("write_timeout 1m"),
			Docker:      "Look at the container's CPU and memory limits (docker stats).",
			Application: "Read the body as it comes; refuse what is too large before reading it.",
		},
		Rivals: []Rival{
			{"client_upload_failed", "the error is one of writing to the upstream; reading from the client had none"},
			{"request_write_failed", "the time ran out: errno is left out"},
			{"connection_lost", "the limit of Caddy's ran out; the system had not given up (ETIMEDOUT)"},
		},
	})
	RequestWriteFailed = row(Row{
		Name: "request_write_failed", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseSend, Side: failure.SideUpstream,
		Summary:      "{upstream} closed the connection while the request was being sent.",
		Advice:       "Look at the upstream's log and its limit for the size of a request: many close instead of answering 413.",
		Meaning:      "The upstream closed or reset the connection while the request was still being sent to it.",
		RecognisedBy: "The connection ended before the request was written whole: ECONNRESET, EPIPE, end of file or a closed connection, and the client's side had no error. request_bytes says how much of the body had been read for it.",
		UsualReasons: []string{
			"the body is larger than the upstream allows, and it closes instead of answering 413",
			"the application crashed on the first part of it",
			"the connection was used again just when the upstream had ended it",
		},
		Fix: Fix{
			Caddy:       "Refuse what is too large before it is sent on, so that the client gets a 413.",
			Caddyfile:   "request_body {\n\tmax_size 10MB\n}\nreverse_proxy app:8080",
			Docker:      "Look for a container that was killed for its memory (docker inspect: OOMKilled).",
			Application: "Raise its limit (client_max_body_size, post_max_size), or let it read to the end before it answers 413.",
		},
		Rivals: []Rival{
			{"client_upload_failed", "the upstream's connection ended; reading from the client had no error"},
			{"request_write_timeout", "errno names a connection that ended; no time ran out"},
			{"reset_before_response", "the request had not been written whole"},
			{"keepalive_race", "the connection was new, or died later than one round trip"},
			{"an early answer, such as 413, that was lost", "nothing from here: a reset destroys what had come before it; look at the upstream's log"},
		},
	})
	ClientUploadFailed = row(Row{
		Name: "client_upload_failed", Category: failure.CategoryRequest, ProxyError: "http_request_error",
		Phase: failure.PhaseSend, Side: failure.SideClient,
		Summary:      "The client's request broke off, stalled or was malformed while it was passed to {upstream}.",
		Advice:       "Nothing to do for single ones; if slow clients are cut off, raise read_body of the server's timeouts.",
		Meaning:      "The client's request body broke off, stalled, or was framed wrongly while it was passed on. The upstream did nothing wrong.",
		RecognisedBy: "Reading the request's body from the client failed; the evidence quotes that error. A malformed body is answered with 400, a client that has gone is outcome abandoned.",
		UsualReasons: []string{
			"a visitor on a phone lost the network, or closed the page",
			"an upload slower than read_body allows",
			"a client that announces another length than it sends, or sends bad chunks",
		},
		Fix: Fix{
			Caddy:       "If slow clients are cut off, give them longer.",
			Caddyfile:   "{\n\tservers {\n\t\ttimeouts {\n\t\t\tread_body 10m\n\t\t}\n\t}\n}",
			Docker:      nothingToChange,
			Application: "Let large uploads be sent in parts that can be taken up again.",
		},
		Rivals: []Rival{
			{"request_write_failed", "the error in the evidence is one of reading from the client"},
			{"request_write_timeout", "the error in the evidence is one of reading from the client"},
			{"client_closed_request", "the body had not been read to its end"},
		},
	})
	RequestNotSendable = row(Row{
		Name: "request_not_sendable", Category: failure.CategoryUnavailable, ProxyError: "proxy_configuration_error",
		Phase: failure.PhaseSend, Side: failure.SideProxy,
		Summary:      "Caddy's own transport refused to send the request to {upstream}.",
		Advice:       "Check what header_up sets; where a length is missing, set request_buffers.",
		Meaning:      "The transport refused to send the request: it has a header field, a method or a length that must not be sent, or no name is known to check the certificate by. Nothing of the request left this machine.",
		RecognisedBy: "The transport's own refusal, before any byte of the request was written; the error names the field.",
		UsualReasons: []string{
			"header_up builds a name or a value from a placeholder that holds a line break or a control character",
			"a FastCGI application, and a request whose length is not known",
			"an upstream with a scheme that the transport does not speak",
			"proxy_protocol to a TLS port without tls_server_name (phase tls)",
		},
		Fix: Fix{
			Caddy:       "Correct what header_up sets; where a length is missing, buffer the request.",
			Caddyfile:   inProxy("request_buffers 10MiB"),
			Docker:      nothingToChange,
			Application: nothingToChange,
		},
	})
)

// Until an answer came.
var (
	KeepaliveRace = row(Row{
		Name: "keepalive_race", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideProxy,
		Summary:      "{upstream} closed an idle connection at the moment when it was used again.",
		Advice:       "Set keepalive in the transport to less than the upstream's own idle timeout.",
		Meaning:      "Caddy used an idle connection again at the very moment when the upstream closed it. The application most likely never saw the request.",
		RecognisedBy: "The connection was reused and had been idle, and it died without a byte of an answer within one round trip of the request (at least 50 ms are granted). The evidence has how long it was idle.",
		UsualReasons: []string{
			"the upstream's idle timeout is shorter than Caddy's keepalive, which is 2 minutes by default: Node closes after 5 s, gunicorn after 2 s, uvicorn after 5 s",
			"a balancer or NAT on the way that closes idle connections",
			"the upstream was restarted",
		},
		Fix: Fix{
			Caddy:       "Close idle connections before the upstream does: a little less than its own idle timeout.",
			Caddyfile:   inTransport("keepalive 4s"),
			Docker:      "Swarm's load balancing forgets idle connections after 15 minutes: stay below that.",
			Application: "Or let it keep idle connections longer than Caddy: keepAliveTimeout of Node above 120000, --keep-alive of gunicorn above 120.",
		},
		Rivals: []Rival{
			{"closed_before_response", "the connection was reused (idle_ms), and died within one round trip: too soon for work to have been done"},
			{"reset_before_response", "the connection was reused (idle_ms), and died within one round trip: too soon for work to have been done"},
			{"request_write_failed", "the connection was reused (idle_ms), and died within one round trip"},
			{"an application that crashes at once upon a request", "nothing where it dies within one round trip on a reused connection; on a new one it shows as closed_before_response"},
		},
	})
	ClosedBeforeResponse = row(Row{
		Name: "closed_before_response", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary:      "{upstream} closed the connection without an answer.",
		Advice:       "Look at the application's log for a crash or a killed worker at this time.",
		Meaning:      "The upstream took the connection and closed it in good order without a byte of an answer.",
		RecognisedBy: "End of file on a connection that was new, or that died later than one round trip after the request. The evidence says how long after.",
		UsualReasons: []string{
			"the application crashed, or its worker was killed for its time or its memory",
			"nginx's return 444, or a firewall in the application's own server",
			"the port speaks TLS and closes on plain HTTP, or expects a PROXY protocol header",
			"php-fpm's request_terminate_timeout",
		},
		Fix: Fix{
			Caddy:       "A GET may be tried again at another upstream.",
			Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_retries 1"),
			Docker:      "Look at docker events and docker inspect (OOMKilled, RestartCount), and at memory limits in the compose file.",
			Application: "Look at its log at this time for a crash, a killed worker or its own timeout (--timeout of gunicorn is 30 s by default).",
		},
		Rivals: []Rival{
			{"keepalive_race", "the connection was new, or died later than one round trip after the request"},
			{"reset_before_response", "the end was end of file: errno is not ECONNRESET"},
			{"response_cut_in_headers", "no byte of an answer came"},
			{"tls_closed", "the handshake had finished, or there was none"},
			{"tls_expected", "nothing from here: some TLS ports close on plain HTTP without a word"},
			{"goaway", "nothing over HTTP/2, where a connection that is dropped says no more; over HTTP/1.1 there is none"},
			{"fastcgi_malformed", "the error is end of file"},
			{"a PROXY protocol header that is missing or not expected", "nothing from here: look at proxy_protocol on both sides"},
		},
	})
	ResetBeforeResponse = row(Row{
		Name: "reset_before_response", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary:      "{upstream} reset the connection without an answer.",
		Advice:       "Look at the application's log for a crash or a killed worker at this time.",
		Meaning:      "The upstream, or something on the way, reset the connection without a byte of an answer.",
		RecognisedBy: "ECONNRESET, EPIPE or ECONNABORTED after the request was written, on a connection that was new, or that died later than one round trip after the request.",
		UsualReasons: []string{
			"the application's process was killed with the request unread",
			"a balancer whose backend has gone",
			"a firewall that resets connections it does not know",
			"a server that speaks only HTTP/2, and was sent HTTP/1.1",
		},
		Fix: Fix{
			Caddy:       "A GET may be tried again at another upstream.",
			Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_retries 1"),
			Docker:      "Look at docker events and docker inspect (OOMKilled, RestartCount); give it time to end by stop_grace_period.",
			Application: "Look at its log at this time for a crash or a killed worker; let it finish its requests before it stops.",
		},
		Rivals: []Rival{
			{"keepalive_race", "the connection was new, or died later than one round trip after the request"},
			{"closed_before_response", "errno names a reset"},
			{"request_write_failed", "the request had been written"},
			{"connection_lost", "errno is not ETIMEDOUT or EHOSTUNREACH"},
			{"http_version_mismatch", "nothing from here: a server that speaks HTTP/2 alone may reset what it cannot read"},
			{"a firewall that resets connections", "nothing from here: capture on the upstream's machine"},
		},
	})
	ConnectionLost = row(Row{
		Name: "connection_lost", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideNetwork,
		Summary:      "The connection to {upstream} was lost on the way.",
		Advice:       "Look for a NAT, balancer or firewall that forgets idle connections; set keepalive in the transport shorter than its time.",
		Meaning:      "The connection had worked, and then nothing came through any more: this machine gave it up. Nobody closed it.",
		RecognisedBy: "ETIMEDOUT or EHOSTUNREACH after the connect had worked, \"http2: client connection lost\", or QUIC's idle timeout.",
		UsualReasons: []string{
			"a NAT, balancer or firewall that forgot the idle connection",
			"the upstream's machine lost its power or its network",
			"packets that are too large for a part of the way (MTU)",
		},
		Fix: Fix{
			Caddy:       "Close idle connections sooner than the box on the way forgets them, and probe them.",
			Caddyfile:   inTransport("keepalive 30s", "keepalive_interval 10s"),
			Docker:      "With a VPN or overlay network, set the network's MTU (com.docker.network.driver.mtu).",
			Application: nothingToChange,
		},
		Rivals: []Rival{
			{"read_timeout", "the system gave the connection up; no limit of Caddy's ran out"},
			{"reset_before_response", "errno is not that of a reset"},
			{"host_unreachable", "the connection had come about"},
			{"request_write_timeout", "the system gave the connection up; no limit of Caddy's ran out"},
			{"response_stalled", "the system gave the connection up; no limit of Caddy's ran out"},
		},
	})
	ResponseTimeout = row(Row{
		Name: "response_timeout", Category: failure.CategoryTimeout, ProxyError: "http_response_timeout",
		Phase: failure.PhaseWait, Side: failure.SideUpstream, Status: 504,
		Summary:      "{upstream} did not begin to answer within {limit}.",
		Advice:       "Find out what the application waits for; if it may take that long, raise response_header_timeout in the transport.",
		Meaning:      "The request was sent, and the upstream did not send a whole response header in time. It may still be working on it.",
		RecognisedBy: "The transport's timer for the response header ran out (response_header_timeout). The phase is headers if a byte had come.",
		UsualReasons: []string{
			"a slow query, a lock, or a service that the application waits for",
			"all workers are busy, and the request waits in the application's queue",
			"the limit is shorter than this request takes",
		},
		Fix: Fix{
			Caddy:       "If it may take so long, raise the limit.",
			Caddyfile:   inTransport("response_header_timeout 2m"),
			Docker:      "Look at the container's CPU limit and use (docker stats).",
			Application: "Log slow requests; answer long work at once with 202 and let the client ask for the result.",
		},
		Rivals: []Rival{
			{"read_timeout", "the limit in the evidence is response_header_timeout"},
			{"client_closed_request", "Caddy's limit ran out; the client was still there"},
			{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
		},
	})
	ReadTimeout = row(Row{
		Name: "read_timeout", Category: failure.CategoryTimeout, ProxyError: "connection_read_timeout",
		Phase: failure.PhaseWait, Side: failure.SideUpstream, Status: 504,
		Summary:      "{upstream} sent nothing for {limit}.",
		Advice:       "Find out what the application waits for; if it may take that long, raise read_timeout in the transport.",
		Meaning:      "The request was sent, and the upstream sent nothing for as long as Caddy waits for each read. It may still be working on it.",
		RecognisedBy: "Reading from the upstream's connection timed out (read_timeout) before there was a whole response header. FastCGI's read_timeout is found so, too.",
		UsualReasons: []string{
			"a slow query, a lock, or a service that the application waits for",
			"an event stream or long poll with a pause longer than the limit",
		},
		Fix: Fix{
			Caddy:       "If it may pause so long, raise the limit.",
			Caddyfile:   inTransport("read_timeout 5m"),
			Docker:      "Look at the container's CPU limit and use (docker stats).",
			Application: "Log slow requests; let event streams send a comment line now and then.",
		},
		Rivals: []Rival{
			{"response_timeout", "the limit in the evidence is read_timeout"},
			{"response_stalled", "no response header had come: the phase is wait or headers"},
			{"connection_lost", "errno is left out: the limit of Caddy's ran out, the system had not given up"},
		},
	})
	StreamReset = row(Row{
		Name: "stream_reset", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary:      "{upstream} ended the request's stream with an error.",
		Advice:       "Look at the application's log; the error's code is in the evidence.",
		Meaning:      "Over HTTP/2 or HTTP/3, the upstream ended this request alone, with an error code; the connection goes on.",
		RecognisedBy: "RST_STREAM of the upstream's, or its HTTP/3 twin; the evidence has the code. REFUSED_STREAM means that the request was not processed.",
		UsualReasons: []string{
			"the application's handler crashed (INTERNAL_ERROR)",
			"too many streams at once, or a restart (REFUSED_STREAM)",
			"the upstream gave the request up for its own timeout (CANCEL)",
		},
		Fix: Fix{
			Caddy:       "HTTP/1.1 shows whether it is the protocol or the application.",
			Caddyfile:   inTransportTo("https://app:8443", "versions 1.1"),
			Docker:      nothingToChange,
			Application: "Look at its log at this time; the code says which part of it gave up.",
		},
		Rivals: []Rival{
			{"http_framing_error", "the reset was received from the upstream; the error says so"},
			{"goaway", "the error is about one stream, not the connection"},
		},
	})
	Goaway = row(Row{
		Name: "goaway", Category: failure.CategoryInterrupted, ProxyError: "connection_terminated",
		Phase: failure.PhaseWait, Side: failure.SideUpstream,
		Summary:      "{upstream} closed the HTTP/2 connection before it answered.",
		Advice:       "Usually a restart of the upstream; let it drain its connections before it stops.",
		Meaning:      "The upstream ended the whole HTTP/2 connection before it had answered this request.",
		RecognisedBy: "GOAWAY of the upstream's, or a request that could not be repeated after one; the evidence has the code where there is one.",
		UsualReasons: []string{
			"the upstream is restarting or was deployed anew",
			"it closes connections after a number of requests or an age",
			"it disliked what was sent on the connection (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)",
		},
		Fix: Fix{
			Caddy:       "A GET is tried again by itself; more upstreams and lb_retries save more.",
			Caddyfile:   inProxyTo("h2c://app1:8080 h2c://app2:8080", "lb_retries 1"),
			Docker:      "Give the container time to end its requests: stop_grace_period.",
			Application: "Send GOAWAY with NO_ERROR first, finish what runs, and close then.",
		},
		Rivals: []Rival{
			{"stream_reset", "the error is about the connection, not one stream"},
			{"closed_before_response", "the error names GOAWAY"},
			{"http_framing_error", "the GOAWAY was received from the upstream"},
		},
	})
)

// The answer's headers.
var (
	ResponseCutInHeaders = row(Row{
		Name: "response_cut_in_headers", Category: failure.CategoryInterrupted, ProxyError: "http_response_incomplete",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "{upstream} closed the connection in the middle of its answer's headers.",
		Advice:       "Look at the application's log for a crash at this time.",
		Meaning:      "An answer had begun, and the connection ended before its headers were complete.",
		RecognisedBy: "At least one byte had come, and the connection ended: unexpected end of file, or a line that is not finished. Where the bytes were heard, the evidence quotes how the answer began.",
		UsualReasons: []string{
			"the application crashed or was killed while it answered",
			"a server in front of it that gave up in between",
			"an interim answer (103) came, and then no final one",
		},
		Fix: Fix{
			Caddy:       "A GET may be tried again at another upstream.",
			Caddyfile:   inProxyTo("app1:8080 app2:8080", "lb_retries 1"),
			Docker:      "Look at docker events and docker inspect (OOMKilled, RestartCount).",
			Application: "Look at its log at this time for a crash.",
		},
		Rivals: []Rival{
			{"closed_before_response", "a byte of an answer had come"},
			{"response_malformed", "the connection ended in the middle of a line; over TLS, where bytes are not heard, nothing tells a cut within a line"},
			{"response_truncated", "the headers were not complete: the attempt has no status"},
		},
	})
	NotHTTP = row(Row{
		Name: "not_http", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "{upstream} speaks another protocol than HTTP.",
		Advice:       "Correct the port in reverse_proxy: a mail, SSH or database server answers there.",
		Meaning:      "What answers at this port speaks another protocol than HTTP.",
		RecognisedBy: "The first bytes are those of another protocol or binary, or it spoke before the request was written; the evidence quotes them where they were heard.",
		UsualReasons: []string{
			"the port of SSH, mail, a database or a cache instead of the application's",
			"a FastCGI, uwsgi or AJP port that is addressed as HTTP",
		},
		Fix: Fix{
			Caddy:       "Correct the port; for PHP use php_fastcgi.",
			Caddyfile:   "reverse_proxy app:8080",
			Docker:      "Use the port on which the container serves HTTP (docker compose ps shows which it has).",
			Application: "Turn on its HTTP port, if it has one.",
		},
		Rivals: []Rival{
			{"response_malformed", "it greeted before it was asked, or its first bytes are those of another protocol"},
			{"tls_expected", "the first bytes are no TLS record"},
			{"http_version_mismatch", "the first bytes are not HTTP/2's"},
			{"tls_not_spoken", "no TLS was spoken to it"},
		},
	})
	TLSExpected = row(Row{
		Name: "tls_expected", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideProxy,
		Summary:      "{upstream} expects TLS, and was sent plain HTTP.",
		Advice:       "Use https:// in reverse_proxy, or tls in its transport.",
		Meaning:      "Caddy sent plain HTTP to a port that expects TLS.",
		RecognisedBy: "The port's own 400 has a sentence that says so (Go, nginx, Apache), or a TLS alert came instead of an answer; the evidence quotes it.",
		UsualReasons: []string{
			"port 443 or 8443 without https:// in reverse_proxy",
			"the application turned TLS on",
		},
		Fix: Fix{
			Caddy:       "Speak TLS to it.",
			Caddyfile:   "reverse_proxy https://app:8443",
			Docker:      "Or use the container's port without TLS: inside a Docker network TLS can end at Caddy.",
			Application: "Or let it serve plain HTTP on a port for Caddy.",
		},
		Rivals: []Rival{
			{"not_http", "the first bytes are a TLS alert, or the answer says itself that TLS is expected"},
			{"closed_before_response", "something came back; a port that closes without a word cannot be told from here"},
			{"upstream_status", "the answer has the sentence of a TLS port, which the evidence quotes"},
		},
	})
	HTTPVersionMismatch = row(Row{
		Name: "http_version_mismatch", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideProxy,
		Summary:      "Caddy and {upstream} speak different versions of HTTP.",
		Advice:       "Set versions in the transport to what the upstream speaks: h2c for HTTP/2 without TLS.",
		Meaning:      "Caddy and the upstream speak different versions of HTTP: HTTP/1.1 was sent to a server of HTTP/2, or the reverse.",
		RecognisedBy: "The answer to HTTP/1.1 begins with HTTP/2's settings frame, HTTP/2's transport saw an HTTP/1.1 answer, or the upstream sent alert 120, no application protocol.",
		UsualReasons: []string{
			"a gRPC server without TLS, which needs h2c",
			"h2c:// for an application that speaks HTTP/1.1",
		},
		Fix: Fix{
			Caddy:       "Use the version that the upstream speaks: h2c:// for HTTP/2 without TLS, http:// for HTTP/1.1.",
			Caddyfile:   "reverse_proxy h2c://app:50051",
			Docker:      nothingToChange,
			Application: "Let it speak HTTP/1.1 as well, or offer both in TLS (ALPN).",
		},
		Rivals: []Rival{
			{"not_http", "the first bytes are those of the other version"},
			{"reset_before_response", "something came back"},
		},
	})
	ResponseMalformed = row(Row{
		Name: "response_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "The answer of {upstream} is not valid HTTP.",
		Advice:       "Look at what the application writes as status line and header fields; the error quotes the place.",
		Meaning:      "The upstream answered, and what it wrote breaks HTTP's rules: the status line, a header field, or the length.",
		RecognisedBy: "The parser refused it; the error quotes the place, and the evidence how the answer began where the bytes were heard.",
		UsualReasons: []string{
			"a script that prints before its headers, or a line break in a header value",
			"two different Content-Length fields, or one that is no number",
			"a home-made server",
		},
		Fix: Fix{
			Caddy:       "Nothing: what cannot be read cannot be repaired.",
			Docker:      nothingToChange,
			Application: "Correct what it writes as status line and header fields; set no Content-Length by hand.",
		},
		Rivals: []Rival{
			{"response_cut_in_headers", "the connection had not ended within a line; over TLS, where bytes are not heard, nothing tells a cut within a line"},
			{"not_http", "the first bytes are not known to be those of another protocol"},
			{"transfer_coding_invalid", "the error is not about Transfer-Encoding"},
		},
	})
	ResponseHeadersTooLarge = row(Row{
		Name: "response_headers_too_large", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_header_section_size",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "The headers of the answer of {upstream} are too large.",
		Advice:       "Find the field that grows, mostly cookies; or raise max_response_header in the transport.",
		Meaning:      "The upstream's header fields are together larger than Caddy accepts: max_response_header, about 10 MB unless it is set.",
		RecognisedBy: "The transport's own error, which names the limit in bytes.",
		UsualReasons: []string{
			"cookies or debugging fields that grow with each answer",
			"max_response_header is set too low",
		},
		Fix: Fix{
			Caddy:       "Raise the limit, if such headers are meant.",
			Caddyfile:   inTransport("max_response_header 1MiB"),
			Docker:      nothingToChange,
			Application: "Find the field that grows, mostly Set-Cookie; keep sessions on the server.",
		},
		Rivals: []Rival{
			{"http_framing_error", "the error names the limit; headers that are far too large over HTTP/2 end as an error code that broken frames have, too, and are then unknown"},
		},
	})
	HTTPFramingError = row(Row{
		Name: "http_framing_error", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "{upstream} broke the rules of HTTP/2 or HTTP/3.",
		Advice:       "Report it to whoever makes the upstream's server; versions 1.1 in the transport avoids it.",
		Meaning:      "The upstream sent HTTP/2 or HTTP/3 frames that break the protocol's rules, and Caddy's side ended the stream or the connection.",
		RecognisedBy: "An error of the protocol that this side raised: it was not received from the upstream. The evidence has its code.",
		UsualReasons: []string{
			"a server or a box on the way with a broken implementation",
			"header fields that HTTP/2 forbids, such as Connection, or names with capital letters",
		},
		Fix: Fix{
			Caddy:       "Speak HTTP/1.1 to it.",
			Caddyfile:   inTransportTo("https://app:8443", "versions 1.1"),
			Docker:      nothingToChange,
			Application: "Update its HTTP server; report what the error says to whoever makes it.",
		},
		Rivals: []Rival{
			{"stream_reset", "the error does not say that it was received from the upstream"},
			{"goaway", "the error does not say that it was received from the upstream"},
			{"response_headers_too_large", "max_response_header is not set, or the error code in the evidence is not one that headers which are too large have; else the cause is unknown"},
		},
	})
	FastCGIMalformed = row(Row{
		Name: "fastcgi_malformed", Category: failure.CategoryInvalidResponse, ProxyError: "http_protocol_error",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "The answer of {upstream} breaks the rules of FastCGI or CGI.",
		Advice:       "Check that a FastCGI server listens at this address; for an HTTP server use reverse_proxy without transport fastcgi.",
		Meaning:      "The upstream answered, and its answer is not FastCGI, or its headers are not what CGI allows.",
		RecognisedBy: "FastCGI's reader refused the record, the header or the Status field; the error says which.",
		UsualReasons: []string{
			"an HTTP server behind php_fastcgi or transport fastcgi",
			"a script that prints before its headers",
		},
		Fix: Fix{
			Caddy:       "Use php_fastcgi for a FastCGI server alone, and plain reverse_proxy for one that speaks HTTP.",
			Caddyfile:   "php_fastcgi unix//run/php/php-fpm.sock",
			Docker:      "The images php:fpm speak FastCGI on port 9000; php:apache speak HTTP on port 80.",
			Application: "Let the script print its headers first, each in a line of its own.",
		},
		Rivals: []Rival{
			{"closed_before_response", "something came back that is no FastCGI"},
		},
	})
	UpgradeFailed = row(Row{
		Name: "upgrade_failed", Category: failure.CategoryInvalidResponse, ProxyError: "http_upgrade_failed",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream, Status: 502,
		Summary:      "{upstream} switched to another protocol than the client asked for.",
		Advice:       "Check the Upgrade field of the upstream's 101 answer, and what header_up does to Upgrade and Connection.",
		Meaning:      "The upstream answered 101, Switching Protocols, but to another protocol than the client asked for, or unasked. Caddy does not pass that on.",
		RecognisedBy: "The upstream's status was 101, and the client was given no 101. The evidence has the upstream's Upgrade field.",
		UsualReasons: []string{
			"header_up changes or removes Upgrade or Connection",
			"an application that upgrades to something else, or whatever it is asked",
		},
		Fix: Fix{
			Caddy:       "Remove what header_up does to Upgrade and Connection; or refuse upgrades altogether.",
			Caddyfile:   inProxy("header_up -Connection", "header_up -Upgrade"),
			Docker:      nothingToChange,
			Application: "Answer 101 only to a request with that Upgrade, and repeat its value.",
		},
		Rivals: []Rival{
			{"upstream_status", "the upstream's status is 101"},
		},
	})
	TransferCodingInvalid = row(Row{
		Name: "transfer_coding_invalid", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_transfer_coding",
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "The answer of {upstream} is not framed as its Transfer-Encoding says.",
		Advice:       "Let the application's server set Transfer-Encoding and Content-Length, not the application.",
		Meaning:      "The answer's framing is broken: a Transfer-Encoding that Caddy does not know, or chunks that are none.",
		RecognisedBy: "The header's Transfer-Encoding was refused (phase headers), or a chunk's length or a trailer could not be read (phase body, outcome truncated).",
		UsualReasons: []string{
			"the application writes chunks by hand, or sets Transfer-Encoding itself",
			"something printed into the connection between two chunks",
		},
		Fix: Fix{
			Caddy:       "Nothing: what cannot be read cannot be repaired.",
			Docker:      nothingToChange,
			Application: "Let its server frame the answer; set neither Transfer-Encoding nor Content-Length.",
		},
		Rivals: []Rival{
			{"response_truncated", "what came is no chunk; an answer that is cut lacks one"},
			{"response_malformed", "the error is about Transfer-Encoding or a chunk"},
		},
	})
)

// The answer's body, and what belongs to no phase.
var (
	ResponseTruncated = row(Row{
		Name: "response_truncated", Category: failure.CategoryInterrupted, ProxyError: "http_response_incomplete",
		Phase: failure.PhaseBody, Side: failure.SideUpstream,
		Summary:      "{upstream} closed the connection before its answer was complete.",
		Advice:       "Look at the application's log for a crash or a timeout while it was sending.",
		Meaning:      "Headers and a part of the body were passed on, and then the upstream's connection ended. The client has a part of the answer, with the status of a whole one.",
		RecognisedBy: "Reading the body failed: end of file or a reset before the length or the last chunk. The evidence says how many bytes came, and of how many. The client's side had no error.",
		UsualReasons: []string{
			"the application crashed, or its worker was killed, while it was sending",
			"a server or balancer on the way with a limit for the whole answer",
			"a wrong Content-Length, larger than what is sent",
		},
		Fix: Fix{
			Caddy:       "Nothing: the status is sent already, and a part cannot be taken back.",
			Docker:      "Look at docker events and docker inspect (OOMKilled), and at memory limits in the compose file.",
			Application: "Look at its log at this time for a crash or a timeout while it was sending (max_execution_time, worker timeouts).",
		},
		Rivals: []Rival{
			{"client_closed_request", "writing to the client had no error; and a client that leaves after the headers makes no record"},
			{"response_cut_in_headers", "the headers were complete: the attempt has a status"},
			{"transfer_coding_invalid", "something is missing; nothing that came was malformed"},
			{"content_coding_invalid", "the connection ended before the body did"},
			{"response_stalled", "the connection ended; no time ran out"},
			{"an answer without a length that ends too early", "nothing: where neither a length nor chunks are used, the end of the connection is the end of the answer, and no record is made"},
		},
	})
	ResponseStalled = row(Row{
		Name: "response_stalled", Category: failure.CategoryTimeout, ProxyError: "connection_read_timeout",
		Phase: failure.PhaseBody, Side: failure.SideUpstream,
		Summary:      "{upstream} stopped sending in the middle of its answer, for {limit}.",
		Advice:       "Find out what the application waits for; if it may pause that long, raise read_timeout in the transport.",
		Meaning:      "Headers and a part of the body were passed on, and then nothing came for as long as read_timeout allows.",
		RecognisedBy: "Reading the body timed out. The evidence says how many bytes had come, and names the limit.",
		UsualReasons: []string{
			"an event stream or a long export with a pause longer than the limit",
			"the application waits for something in the middle of its answer",
		},
		Fix: Fix{
			Caddy:       "If it may pause so long, raise the limit.",
			Caddyfile:   inTransport("read_timeout 10m"),
			Docker:      "Look at the container's CPU limit and use (docker stats).",
			Application: "Let event streams send a comment line now and then; prepare exports before sending.",
		},
		Rivals: []Rival{
			{"read_timeout", "the headers had come: the phase is body"},
			{"response_truncated", "the connection had not ended; the time ran out"},
			{"connection_lost", "errno is left out: the limit of Caddy's ran out, the system had not given up"},
		},
	})
	ContentCodingInvalid = row(Row{
		Name: "content_coding_invalid", Category: failure.CategoryInvalidResponse, ProxyError: "http_response_content_coding",
		Phase: failure.PhaseBody, Side: failure.SideUpstream,
		Summary:      "The answer of {upstream} is not compressed as it says.",
		Advice:       "Check the upstream's compression: a Content-Encoding that is set twice, or for a body that is not compressed.",
		Meaning:      "The answer says that it is compressed with gzip, Caddy had asked for that itself, and what came cannot be decoded.",
		RecognisedBy: "The decoder refused the body, or its stream ended while the answer was whole. Caddy decodes only where it had asked for gzip by itself.",
		UsualReasons: []string{
			"Content-Encoding: gzip on a body that is not compressed, or compressed twice",
			"a cache that holds a part of a compressed body",
		},
		Fix: Fix{
			Caddy:       "Do not ask the upstream for compression; encode compresses for the client.",
			Caddyfile:   "encode\n" + inTransport("compression off"),
			Docker:      nothingToChange,
			Application: "Let only one part of it compress; remove Content-Encoding from what is not.",
		},
		Rivals: []Rival{
			{"response_truncated", "the answer came whole: its bytes are as many as promised, or the connection had not ended"},
		},
	})
	ClientClosedRequest = row(Row{
		Name: "client_closed_request", Category: failure.CategoryRequest,
		Side:         failure.SideClient,
		Summary:      "The client left while it waited for {upstream}.",
		Advice:       "If clients often give up here, find out why the upstream is slow; a limit in the transport lets Caddy answer first.",
		Meaning:      "The client left before an answer had begun. The phase says what was being waited for, and the time for how long.",
		RecognisedBy: "The request's context had ended and nothing had been answered, or Caddy answered 499. The limit that would have ended the wait is named, or that none is set.",
		UsualReasons: []string{
			"a visitor who closed the page, or clicked again",
			"a client, or a balancer in front of Caddy, with a shorter timeout than the application needs",
			"an upstream that hangs, with no limit in Caddy that would end it",
		},
		Fix: Fix{
			Caddy:       "Set a limit, so that Caddy answers before clients give up.",
			Caddyfile:   inTransport("response_header_timeout 20s", "tls_timeout 5s"),
			Docker:      nothingToChange,
			Application: "Find out why the answer takes so long, in the phase that the record names.",
		},
		Rivals: []Rival{
			{"client_upload_failed", "reading the request from the client had no error"},
			{"response_timeout", "no limit of Caddy's had run out"},
			{"tls_timeout", "no limit of Caddy's had run out"},
			{"response_truncated", "no header of an answer had been passed on"},
			{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
		},
	})
	UpstreamStatus = row(Row{
		Name: "upstream_status", Category: failure.CategoryErrorResponse,
		Phase: failure.PhaseHeaders, Side: failure.SideUpstream,
		Summary:      "{upstream} itself answered with an error status.",
		Advice:       "Look at the upstream's own log: the answer is its own, or that of something behind it.",
		Meaning:      "The upstream answered in good order, and its answer is an error of its own: 502, 503, 504, 520 to 530, or what intercept names.",
		RecognisedBy: "A status came from the upstream. received has it, with the fields that tell who said it: Server, Via, Retry-After, Proxy-Status.",
		UsualReasons: []string{
			"the application is in maintenance, or overloaded",
			"the upstream is itself a gateway, and what is behind it fails",
		},
		Fix: Fix{
			Caddy:       "Show the visitor your own page instead.",
			Caddyfile:   "upstream_diagnostics {\n\tintercept 5xx\n}\nreverse_proxy app:8080",
			Docker:      "If a proxy runs in between, look at its container's log first.",
			Application: "Look at its log at this time; the answer is its own.",
		},
		Rivals: []Rival{
			{"tls_expected", "the answer does not have the sentence of a TLS port"},
			{"client_certificate_rejected", "the answer does not have the sentence about a client certificate"},
			{"upgrade_failed", "the upstream's status is not 101"},
			{"upstreams_full", "an upstream was asked, and answered: received is there"},
			{"proxy_loop", "the request did not come back to this handler, as far as this machine sees"},
			{"a gateway behind the upstream", "received: Server, Via and Proxy-Status, where that gateway names itself"},
		},
	})
	Unknown = row(Row{
		Name: "unknown", Category: failure.CategoryUnknown,
		Summary:      "A request to {upstream} failed for a reason that has no name yet.",
		Advice:       "Read the error and the evidence; please report them, so that the cause gets a name.",
		Meaning:      "The request failed, and nothing that was heard proves one of the other causes. No name is better than a wrong one.",
		RecognisedBy: "No rule applies. The raw error and the phase are kept.",
		UsualReasons: []string{
			"an error that a new version of Go or Caddy words differently",
			"a reverse_proxy inside another plugin, of which only a part can be heard",
			"EADDRNOTAVAIL without a proof that the local ports are used up",
			"over HTTP/2, headers that are far too large: they end as broken frames do",
			"over HTTP/2, a connection that was closed before its first request was sent",
		},
		Fix: Fix{
			Caddy:       "Read the error and the evidence; debug in the global options makes Caddy log each attempt.",
			Caddyfile:   "{\n\tdebug\n}",
			Docker:      "Look at docker compose logs of both containers at this time.",
			Application: "Look at its log at this time.",
		},
	})
)
