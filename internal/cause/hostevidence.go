package cause

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// What is asked of this machine, only once an errno has two meanings; replaced in
// tests.
var (
	hasIPv6     = host.HasIPv6
	portsUsedUp = host.LocalPortsUsedUp
	here        = host.Here
	confinedAs  = host.ConfinedAs
	clockIsKept = host.ClockSynchronised
)

// testimony is what this machine knows of a failure, where it is about this machine:
// evidence, and the advice and side that follow from it. Nothing is asked over a network.
// address is the attempt's.
func testimony(row *Row, a *listen.Attempt, address string) finding {
	if a == nil {
		return nothing
	}
	if f := loopbackElsewhere(row, a, address); len(f.evidence) > 0 {
		return f
	}
	return bareNameOutside(row, a, address, ownTestimony(row, a, address))
}

// ownTestimony is testimony, whatever the name that was dialled.
func ownTestimony(row *Row, a *listen.Attempt, address string) finding {
	switch row {
	case ConnectionRefused:
		if a.Network == "unix" {
			return socketTestimony(row, a.Address)
		}
		if asConfigured(a) {
			return refusedAt(a.Address, address)
		}
		return refusedTestimony(a.Address, address)
	case SocketNotFound:
		return socketTestimony(row, a.Address)
	case SocketPermissionDenied:
		return finding{evidence: socketEvidence(a.Address)}
	case ConnectTimeout, HostUnreachable, NetworkUnreachable, ConnectionLost:
		return wayTestimony(row, a, address)
	case ResponseTimeout, ReadTimeout, TLSTimeout, ClientClosedRequest:
		taken := takenEvidence(a, address)
		f := finding{evidence: slices.Concat(onTheWay(acknowledgedEvidence(a), a, address), waitingEvidence(address), taken)}
		if row == ReadTimeout && a.Protocol == protocolFastCGI {
			f.undecided = openScript(a, len(taken) > 0)
		}
		return f
	case RequestWriteTimeout:
		return finding{evidence: slices.Concat(onTheWay(windowEvidence(a), a, address), waitingEvidence(address), takenEvidence(a, address))}
	case ConnectProhibited:
		return prohibitedTestimony(a, address)
	case FileDescriptorsExhausted:
		return openFilesTestimony()
	}
	return nothing
}

// loopbackElsewhere is for a connect to localhost that went to another machine: something
// answers for that name which should not be asked for it (RFC 6761 section 6.3).
func loopbackElsewhere(row *Row, a *listen.Attempt, address string) finding {
	name := strings.TrimSuffix(bareHost(a.Address), ".")
	to, err := netip.ParseAddrPort(address)
	if row.Phase != failure.PhaseConnect || err != nil || to.Addr().Unmap().IsLoopback() || name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return nothing
	}
	return finding{
		evidence: []string{name + " led to " + to.Addr().Unmap().String() + ", which is no address of " + here() + "'s loopback: a name server answered for it, not /etc/hosts"},
		advice:   "Write 127.0.0.1 instead of " + name + " in reverse_proxy, if " + here() + " is meant, and look in its /etc/hosts for the line 127.0.0.1 localhost: where that is missing, name servers are asked.",
		side:     failure.SideProxy,
	}.leavesOpen("why it leads there can't be told from here: /etc/hosts and /etc/resolv.conf tell")
}

// bareNameOutside adds that a name without a dot, as containers and machines nearby have it,
// led to a public address: a search domain that answers for every name makes one of it.
func bareNameOutside(row *Row, a *listen.Attempt, address string, f finding) finding {
	name := bareHost(a.Address)
	to, err := netip.ParseAddrPort(address)
	if row.Phase != failure.PhaseConnect || err != nil || name == "" || strings.ContainsAny(name, ".:{") {
		return f
	}
	addr := to.Addr().Unmap()
	if _, inside := host.NetworkOf(addr); inside || !addr.IsGlobalUnicast() || addr.IsPrivate() || sharedRange.Contains(addr) {
		return f
	}
	f.evidence = append(f.evidence[:len(f.evidence):len(f.evidence)], name+" has no dot, and led to "+addr.String()+", which is no private address: /etc/hosts or a search domain of /etc/resolv.conf made that of it")
	f.advice = "Look whether " + addr.String() + " is meant: a search domain that answers for every name leads there where nobody near has the name " + name + ". In Docker put both containers on one network; else write the whole name, or the address, in reverse_proxy. If it is meant: " + orText(f.advice, row.Advice)
	return f.leavesOpen("whether this address is meant, and does not answer, or the name was to be another's can't be told from here: getent hosts " + name + ", and where the application runs, tell")
}

// sharedRange is that of carriers, which overlay networks use for their own (RFC 6598).
var sharedRange = netip.MustParsePrefix("100.64.0.0/10")

// with adds what this machine knows; what the rule itself knows better stays.
func (f finding) with(known finding) finding {
	f.evidence = append(f.evidence[:len(f.evidence):len(f.evidence)], known.evidence...)
	if f.advice == "" {
		f.advice = known.advice
		f.undecided = orText(known.undecided, f.undecided)
	}
	f.decided = f.decided || known.decided
	if f.side == "" {
		f.side = known.side
	}
	if f.summary == "" {
		f.summary = known.summary
	}
	if f.undecided == "" {
		f.undecided = known.undecided
	}
	return f
}

// refusedAt is refusedTestimony, once for each list of listeners.
func refusedAt(dialled, address string) finding {
	list, _ := host.Listeners()
	key := refusal{dialled: dialled, address: address, machine: here()}
	if len(list) > 0 {
		key.list = &list[0]
	}
	if f, ok := refusals.get(key); ok {
		return f
	}
	f := refusedTestimony(dialled, address)
	key.dialled, key.address = strings.Clone(dialled), strings.Clone(address)
	refusals.put(key, f)
	return f
}

type refusal struct {
	dialled, address, machine string
	list                      *host.Listener
}

var refusals memo[refusal, finding]

// refusedTestimony says who listens where a connection was refused by this machine itself:
// on the port, or next to it. dialled is what was asked to be dialled.
func refusedTestimony(dialled, address string) finding {
	var f finding
	if noHost := strings.HasPrefix(dialled, ":"); noHost {
		f.evidence = append(f.evidence, "'"+dialled+"' has no host: Caddy dials itself, "+here())
		f.advice = "Write the application's host before the port in reverse_proxy: without one Caddy dials " + here() + "."
		f.side = failure.SideProxy
		if strings.HasPrefix(address, ":") {
			address = "127.0.0.1" + address // as Go's dialer has it
		}
	}
	refused, err := netip.ParseAddrPort(address)
	if err == nil && refused.Addr().IsUnspecified() {
		f.evidence = append(f.evidence, refused.Addr().String()+" is for listening: who dials it dials itself, "+here())
		if host.InContainer() {
			f.advice = "Write the application's own host in reverse_proxy instead of " + refused.Addr().String() + ", by which Caddy dials its own container: a service's name, or host.docker.internal for what runs on the host."
			f.side = failure.SideProxy
		}
		refused = netip.AddrPortFrom(loopbackLike(refused.Addr()), refused.Port())
	}
	if err == nil && (namesHost(dialled) || isHostOfContainer(refused.Addr())) {
		return refusedByHost(dialled, refused)
	}
	if err != nil {
		return f
	}
	if !host.Own(refused.Addr()) {
		return refusedNextDoor(refused.Addr())
	}
	list, known := host.Listeners()
	if !known {
		return f
	}
	near := ""
	for i := range list {
		l, listened := &list[i], list[i].Address
		switch distance := int(listened.Port()) - int(refused.Port()); {
		case distance == 0 && l.Serves(refused.Addr()):
			f.evidence = append(f.evidence, "somebody listened on "+listened.String()+" within a second of it: it was starting or ending, or its queue was full")
			return f
		case distance == 0:
			line := "port " + strconv.Itoa(int(refused.Port())) + " is listened on at " + listened.Addr().String() + ", not at " + refused.Addr().String()
			if l.Ours() {
				line += ", by this very Caddy"
			} else {
				f.advice = "Write " + listened.String() + " in reverse_proxy: the application listens there alone."
				f.side = failure.SideProxy
			}
			f.evidence = append(f.evidence, line)
			return f
		case distance >= -neighbours && distance <= neighbours && l.Serves(refused.Addr()) && near == "" && !l.Ours():
			near = "somebody listened on " + listened.String()
		}
	}
	f.evidence = append(f.evidence, "nobody listened on port "+strconv.Itoa(int(refused.Port()))+" of "+here())
	if near != "" {
		f.evidence = append(f.evidence, near)
		f = f.leavesOpen("whether that is the application can't be told from here: what runs there tells")
	}
	if f.advice == "" && host.InContainer() {
		f = f.advise(adviceContainer).leavesOpen("whether the application is meant to run in this container, is down, or listens on another port can't be told from here: your compose file and ss -ltnp tell")
	}
	return f
}

// loopbackLike is the loopback's address of the same family.
func loopbackLike(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// refusedNextDoor is for a neighbour of the container that Caddy runs in, mostly another
// container, whose own loopback and whose published ports are not there for Caddy.
func refusedNextDoor(addr netip.Addr) finding {
	network, inside := host.NetworkOf(addr)
	if !inside || !host.InContainer() {
		return nothing
	}
	return finding{evidence: []string{addr.Unmap().String() + " is in a network of " + here() + ", " + network.String() + ": its machine or container is up, and refuses"}}.
		advise("Start the application, or correct the port in reverse_proxy: it is that inside the application's container, not the published one. If it listens there on 127.0.0.1 alone (ss -ltn in its container), let it listen on 0.0.0.0.").
		leavesOpen("whether the application is down, listens on another port, or on 127.0.0.1 of its own container alone can't be told from here: ss -ltn there tells")
}

// namesHost says that what is dialled is the host of the container that Caddy runs in, by a
// name that Docker and Podman give it.
func namesHost(dialled string) bool {
	name := bareHost(dialled)
	return host.InContainer() && (name == "host.docker.internal" || name == "host.containers.internal")
}

// refusedByHost is for the host of the container that Caddy runs in: who listens on its
// loopback takes no connections from containers.
func refusedByHost(dialled string, refused netip.AddrPort) finding {
	line := hostOfContainer(refused.Addr())
	if namesHost(dialled) {
		line = bareHost(dialled) + " is the host that the container runs on"
	}
	return finding{evidence: []string{line}}.
		advise("Let the application listen on 0.0.0.0 of the host, or on {address}, if it runs there and listens on 127.0.0.1 alone (ss -ltnp on the host): the host's 127.0.0.1 is not reached from containers. If it is down, start it; if it runs in a container, write its service's name in reverse_proxy (app:8080).").
		leavesOpen("whether the application is down, listens on the host's 127.0.0.1 alone, or on another port can't be told from here: ss -ltnp on the host tells")
}

// openFilesTestimony says what holds the files of this process. Visitors and upstreams
// hold sockets.
func openFilesTestimony() finding {
	limit := host.OpenFilesLimit()
	if limit == 0 {
		return nothing
	}
	f := finding{evidence: []string{"the limit of this process is " + strconv.FormatUint(limit, 10) + " open files (ulimit -n)"}}
	open, whole, known := host.OpenNow()
	if !known {
		return f
	}
	of := "open are "
	if !whole {
		of = "of the first 4096 numbers, open are "
	}
	f.evidence = append(f.evidence, of+counted(int64(open.Sockets), "socket")+" and "+counted(int64(open.Others), "file")+" of other kinds")
	if open.Others <= open.Sockets {
		return f
	}
	f.advice = "Look what holds so many files that are no sockets, so neither visitors nor upstreams (lsof -p of Caddy's process): a leak is to be mended there, else raise the limit of open files (LimitNOFILE in systemd, ulimit -n)."
	return f.leavesOpen("whether they leak, or are as many as Caddy's modules and logs need, can't be told from one failure: lsof -p, some time apart, tells")
}

// droppedHere is for a connect to this machine itself that nothing answered: there is no
// network on the way, and a port on which nobody listens refuses. It is nothing where the
// queue of who listens may be full, which is an answer by itself.
func droppedHere(at netip.AddrPort) finding {
	list, known := host.ListenersNow()
	if !known {
		return nothing
	}
	if _, published := publishedPort(at.Port()); published && !at.Addr().IsLoopback() {
		return nothing // Docker leads what goes there on to a container: who listens there is not asked
	}
	l, there := listenerAt(list, at)
	f := finding{advice: "Look for what drops packets to {address} on " + thisMachine + " itself (nft list ruleset, iptables -S)"}
	switch {
	case !there:
		f.evidence = []string{"nobody listens on port " + strconv.Itoa(int(at.Port())) + " of " + here() + ", and yet no refusal came"}
		f.advice += ", and start the application: nobody listens there, and yet no refusal came."
	case l.Full() || l.Backlog < 0:
		return nothing
	default:
		f.evidence = []string{"somebody listens there, on " + here() + " itself with no router on the way, and has room: " + queueWords(l)}
		f.advice += ": somebody listens there, and has room for connections that wait."
		return f.leavesOpen("which firewall, filter or full connection table (conntrack) of " + here() + " drops them, or whether the queue was full only when the connect began, can't be told from here: its rules, and nstat -az TcpExtListenOverflows, tell")
	}
	return f.leavesOpen("which firewall, filter or full connection table (conntrack) of " + here() + " drops them can't be told from here: its rules tell")
}

// noListener says that nobody listens at an address of this machine.
func noListener(address string) bool {
	at, own := ownAddress(address)
	if !own {
		return false
	}
	list, known := host.Listeners()
	_, there := listenerAt(list, at)
	return known && !there
}

// othersRefused says of the attempts before, which were refused too, that nobody listened
// there either, where that is known.
func othersRefused(h *listen.Heard, v verdict) []string {
	var lines []string
	for i := range h.Attempts {
		a := &h.Attempts[i]
		if a == v.attempt || a.Err == nil || a.Limits != v.attempt.Limits || len(lines) == maxTold || errnoFor(tryOf(h, a), a.Err) != syscall.ECONNREFUSED {
			continue
		}
		if address := addressOf(a); address != addressOf(v.attempt) && noListener(address) {
			line := "nobody listened at " + address + " of " + here() + " either"
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// adviceContainer is for who dials the loopback in a container.
const adviceContainer = "Start the application, or correct the address: nobody listens there (ss -ltnp), and {address} is Caddy's own container (with network_mode host: its host). If the application runs in another container, write its service's name in reverse_proxy (app:8080)."

// neighbours is how far from the port somebody is looked for.
const neighbours = 10

// wayTestimony says by which way an address of another machine is reached, and who said
// that it can't be.
func wayTestimony(row *Row, a *listen.Attempt, address string) finding {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nothing
	}
	addr := to.Addr().Unmap()
	if row == ConnectTimeout && host.Own(addr) && a.Protocol != protocolHTTP3 {
		return droppedHere(to)
	}
	if host.Own(addr) || addr.IsLinkLocalUnicast() || addr.IsUnspecified() {
		return nothing
	}
	f := nothing
	network, inside := host.NetworkOf(addr)
	if inside {
		f.evidence = append(f.evidence, addr.String()+" is in a network of "+here()+", "+network.String()+": no router is on the way")
	} else if line := outsideWords(addr); line != "" {
		f.evidence = append(f.evidence, line)
		if addr.IsPrivate() && row != ConnectionLost {
			f.advice = adviceRouted
			if host.InContainer() {
				f.advice = adviceOtherNetwork
			}
		}
	}
	switch row {
	case ConnectTimeout:
		switch {
		case inside && tookTo(a, address) >= unanswered && host.NobodyAnswers(addr):
			return nobodyThere(f, a, addr)
		case inside && isHostOfContainer(addr):
			f.evidence = append(f.evidence, hostOfContainer(addr))
			f.advice = "Let the host's firewall take what comes from " + network.String() + " at this port (ufw allow from " + network.String() + "): it drops what containers send to the host itself."
		}
	case NetworkUnreachable:
		routed, known := host.HasRoute(addr)
		switch {
		case routed:
			f.evidence = append(f.evidence, here()+" has a route to it: a router on the way answered that it has none (ICMP)")
			if f.advice == "" {
				f.advice = adviceRouter
			}
		case known:
			f.evidence = append(f.evidence, here()+" itself has no route to it")
			f.advice = "" // the row's
		}
	case HostUnreachable:
		took := tookTo(a, address)
		switch routed, known := host.HasRoute(addr); {
		case known && !routed:
			f.evidence = append(f.evidence, "a route of "+here()+" itself says so")
			f.advice = ""
		case inside && took >= unanswered:
			return nobodyThere(f, a, addr)
		case routed && took > 0 && took < unanswered:
			f.evidence = append(f.evidence, "a router or a firewall on the way says so (ICMP)")
		}
	}
	return f
}

// prohibitedTestimony tells a route that forbids a connect from a policy about this
// process, which has no errno of its own. A router's word is EACCES in IPv6 alone.
func prohibitedTestimony(a *listen.Attempt, address string) finding {
	to, err := netip.ParseAddrPort(address)
	if err != nil || a.Protocol == protocolHTTP3 {
		return nothing
	}
	addr := to.Addr().Unmap()
	errno := syscall.Errno(0)
	for _, c := range connects(a) {
		if c.Address == address {
			errno = errnoOf(c.Err)
		}
	}
	routed, known := host.HasRoute(addr)
	switch {
	case !known || errno == 0:
		return nothing
	case !routed:
		return finding{evidence: []string{"a route of " + here() + " itself forbids it"}, advice: "Look for the route that forbids it on " + thisMachine + " (ip route get " + addr.String() + "), and for what sets it."}.
			leavesOpen("who set that route can't be told from here: ip route, and what manages the network, tell")
	case runtime.GOOS != "linux", errno != syscall.EACCES, addr.Is6() && !host.Own(addr): // a router may have said so
		return nothing
	}
	f := finding{
		summary:  "A security policy of " + thisMachine + " forbids Caddy to connect to {upstream}.",
		evidence: []string{"a route lets packets to it out, and EACCES came: a security policy about this process says so, not a route and no firewall"},
		advice:   "Let the security policy of " + thisMachine + " allow it: with SELinux ausearch -m avc -ts recent shows what it denied, and setsebool -P httpd_can_network_connect 1 allows it to Caddy as httpd_t; with AppArmor look at the kernel's log.",
	}
	if label := confinedAs(); label != "" {
		f.evidence = append(f.evidence, cut("this process is confined as "+failure.Visible(label), maxEvidence))
	}
	return f.leavesOpen("which rule of which policy forbids it the kernel does not say here: its audit log tells")
}

// nobodyThere is for an address on a network of this machine's own that nobody answered
// to: no firewall and no queue is what kept the connection from coming about.
func nobodyThere(f finding, a *listen.Attempt, addr netip.Addr) finding {
	f.evidence = append(f.evidence, "nobody on that network answers to "+addr.String()+" (ARP): its machine or container is down, or has another address")
	f.advice = "Look which address {upstream} has now, and whether it is up: nobody answers to {address}, to which its name led."
	if _, err := netip.ParseAddr(bareHost(a.Address)); err == nil {
		f.advice = "Look which address the upstream has now, and whether it is up: nobody answers to " + addr.String() + ". A container has another one once it was made anew: write its service's name in reverse_proxy (app:8080), which is looked up for each connection."
	}
	return f.leavesOpen("whether it is down, or has another address now, can't be told from here: where it runs tells (docker inspect, ip addr)")
}

// isHostOfContainer says that an address is that by which a container reaches the host that
// it runs on.
func isHostOfContainer(addr netip.Addr) bool { return host.InContainer() && host.IsGateway(addr) }

// hostOfContainer says so.
func hostOfContainer(addr netip.Addr) string {
	return addr.String() + " is the gateway of " + here() + ": the host that it runs on, where Docker made its network"
}

// unanswered is what tells a kernel that waited for a host's answer from one that was told.
const unanswered = 500 * time.Millisecond

const (
	// adviceRouted is for a private address in a network that this machine isn't in, and
	// adviceOtherNetwork for where that is a container, which mostly has no way there.
	adviceRouted       = "Check the address, whether its machine is up, and the routers and firewalls on the way; if it is a container's address, connect Caddy to the network of {address}, or use one of the upstream's in a network that Caddy is in."
	adviceOtherNetwork = "Connect Caddy to the network of {address}, or use an address of the upstream's in a network that Caddy is in; in Docker, put both containers on one network and write the service's name."
	// adviceRouter is for where the route ends elsewhere.
	adviceRouter = "Look at the routes of the router on the way to {address}, or correct the address: Caddy's own machine has a route."
)

// maxNetworks is how many of this machine's networks are named.
const maxNetworks = 4

// outsideWords says that an address is in none of this machine's networks, and by which
// way it goes; "" where that can't be told.
func outsideWords(addr netip.Addr) string {
	list, known := host.Networks()
	if !known {
		return ""
	}
	var networks []string
	for _, p := range list {
		if p.Addr().Is4() == addr.Is4() && !p.Addr().IsLinkLocalUnicast() {
			networks = append(networks, p.Masked().String())
		}
	}
	if len(networks) > maxNetworks {
		networks = append(networks[:maxNetworks], "…")
	}
	words := addr.String() + " is in none of the networks of " + here()
	if len(networks) > 0 {
		words += " (" + strings.Join(networks, ", ") + ")"
	}
	route, found, known := host.RouteTo(addr)
	switch {
	case !known || !found:
	case route.Gateway.IsValid() && !route.Gateway.IsUnspecified():
		words += ": it goes over the gateway " + route.Gateway.String()
	default:
		words += ": it goes out by " + route.Interface
	}
	return words
}

// tookTo is how long the connect to an address took; 0 where it wasn't heard.
func tookTo(a *listen.Attempt, address string) time.Duration {
	for _, c := range connects(a) {
		if c.Address == address && c.End > 0 {
			return elapsed(c.Start, c.End)
		}
	}
	return 0
}

// socketTestimony says what became of a unix socket on which nobody is reached.
func socketTestimony(row *Row, path string) finding {
	f := finding{evidence: socketEvidence(path)}
	info, err := os.Stat(path)
	listened, _ := host.SocketListened(path)
	switch {
	case row == SocketNotFound && listened:
		f.evidence = append(f.evidence, "somebody listens on a socket that was bound at this path: its file is gone, or was made in another folder of that name")
		f.advice = "Restart the application, so that it makes its socket anew, and let nothing clean up that folder; with systemd's PrivateTmp or a container's own mount, use a folder that both see (/run/app)."
	case row == SocketNotFound && fileOnWay(path) != nil:
		return belowAFile(fileOnWay(path))
	case row == SocketNotFound:
		f.evidence = folderEvidence(path)
	case err != nil:
	case info.Mode()&os.ModeSocket == 0:
		kind := "another file"
		switch {
		case info.Mode().IsRegular():
			kind = "a regular file"
		case info.IsDir():
			kind = "a folder"
		}
		// Whose it is, and its mode, have nothing to do with it.
		f.evidence = []string{path + " is no socket, but " + kind}
		f.undecided = "whether the application's socket belongs there can't be told from here: the application's config tells"
		f.summary = "There is no socket at {upstream}, but " + kind + "."
		f.advice = "Look what stands at {address}. If the application's socket belongs there, move that file away and start the application, which can't make its socket while it is there; else correct the path in reverse_proxy."
	case listened:
		f.evidence = append(f.evidence, "somebody listens on a socket that was bound at this path, but this file is another: it was replaced, or is a mount of an older one")
		f.undecided = "which of the two can't be told from here: where the application makes its socket, and how Caddy gets it, tells"
		f.advice = "Restart the application, so that it makes its socket anew; with containers, mount the socket's folder, not the file, which stays the old one."
	default:
		f.evidence = append(f.evidence, "nobody listens on this socket: the file is left over, as from a process that has ended")
		f.undecided = "whether the application was stopped, crashed, or listens elsewhere now can't be told from here: its log, and ss -xl where it runs, tell"
		f.advice = "Start the application, so that it makes its socket anew."
		if host.InContainer() {
			f.advice = adviceMount
			f.undecided = "whether the application was stopped, crashed, listens elsewhere now, or made a new socket that Caddy's container does not see can't be told from here: its log, and ss -xl where it runs, tell"
		}
	}
	return f
}

// standing is what stands at a path.
type standing struct {
	path string
	os.FileInfo
}

// fileOnWay is the file that stands where a path has a folder, nil for none.
func fileOnWay(path string) *standing {
	for folder := filepath.Dir(path); folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err == nil {
			if info.IsDir() {
				return nil
			}
			return &standing{folder, info}
		}
	}
	return nil
}

// belowAFile is for a path of which a part is a file: whoever owns it, and whether the
// application runs, nothing can be reached below it.
func belowAFile(file *standing) finding {
	f := finding{
		summary:   "There can be no socket at {upstream}: a part of this path is a file, not a folder.",
		evidence:  []string{cut(file.path, maxEvidence-maxQuoted) + " is a file, not a folder: nothing can be below it"},
		advice:    "Correct the socket's path in reverse_proxy: a file stands where it has a folder. If that is to be a folder, as one of a volume that is not mounted, put the folder in the file's place.",
		undecided: "whether the path is wrong, or a folder belongs where the file is, can't be told from here: where the application makes its socket tells",
	}
	if file.Mode()&os.ModeSocket != 0 {
		f.evidence[0] = cut(file.path, maxEvidence-maxQuoted) + " is a socket, not a folder: nothing can be below it"
		f.advice = "Correct the socket's path in reverse_proxy: a part of it is a socket itself, most likely the one that is meant."
	}
	return f
}

// folderEvidence says what is in the folder where a socket should be: another name tells of
// a wrong path, an empty folder of an application that has not started. Whose the folder is
// counts only where few may make a socket in it.
func folderEvidence(path string) []string {
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	for ; err != nil; info, err = os.Stat(folder) {
		if folder == filepath.Dir(folder) {
			return nil
		}
		folder = filepath.Dir(folder)
	}
	shown := cut(folder, maxEvidence-maxQuoted)
	if folder != filepath.Dir(path) {
		return []string{"its folder is not there: the path ends for Caddy at " + shown}
	}
	var lines []string
	if words := contentWords(folder); words != "" {
		lines = append(lines, "the folder "+shown+" "+words)
	}
	if info.Mode().Perm()&0o022 == 0 {
		lines = append(lines, cut("only its owner and root may make a socket in "+folder+": "+host.OwnerOf(info)+"mode "+info.Mode().String(), maxEvidence))
	}
	return lines
}

const (
	maxFolder  = 256 // entries of a folder that are looked at
	maxSockets = 3   // sockets in it that are named
)

// contentWords say which sockets a folder has, "" where it can't be read.
func contentWords(folder string) string {
	f, err := os.Open(folder)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // it was only read
	entries, err := f.ReadDir(maxFolder)
	if err != nil && err != io.EOF { //nolint:errorlint // ReadDir has it as it is
		return ""
	}
	if len(entries) == 0 {
		return "is empty"
	}
	var sockets []string
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 {
			sockets = append(sockets, cut(failure.Visible(e.Name()), maxName))
		}
	}
	slices.Sort(sockets)
	switch {
	case len(sockets) > maxSockets:
		return "has other sockets: " + strings.Join(sockets[:maxSockets], ", ") + ", …"
	case len(sockets) > 0:
		return "has other sockets: " + strings.Join(sockets, ", ")
	case len(entries) == maxFolder:
		return "" // there may be some among the rest
	}
	return "has other files, and no socket"
}

// adviceMount is for a socket in a container: a mount of a file stays that file.
const adviceMount = "Start the application, so that it makes its socket anew; if it did, and Caddy's container still has the old file, mount the socket's folder instead of the file."

// socketEvidence says whose a socket is, or how far its path leads.
func socketEvidence(path string) []string {
	info, err := os.Stat(path)
	if err == nil {
		return socketLines(path, info)
	}
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err == nil {
			return socketLines(folder, info)
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

func socketLines(path string, info os.FileInfo) []string {
	lines := []string{cut(path+": "+host.OwnerOf(info)+"mode "+info.Mode().String(), maxEvidence)}
	if who := host.WeAre(); who != "" {
		lines = append(lines, who)
	}
	return lines
}
