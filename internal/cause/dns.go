package cause

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// dnsCause finds the cause where a name could not be resolved.
func dnsCause(t *try) finding {
	d := t.Dialing
	if t.Connection != nil || dialled(t.Attempt) {
		return nothing
	}
	if addressError, ok := errors.AsType[*net.AddrError](t.err); ok && addressError.Err != "no suitable address found" {
		return found(DialAddressInvalid, "address "+quote([]byte(addressError.Addr))+": "+addressError.Err)
	}
	var lookup error
	switch {
	case d != nil && d.Lookup != nil && d.Lookup.Err != nil:
		lookup = d.Lookup.Err
	case len(connects(t.Attempt)) == 0: // where an address was tried, the name was found
		lookup = firstError(dialErr(t), t.err)
	default:
		return nothing
	}
	dnsError, ok := errors.AsType[*net.DNSError](lookup)
	if !ok {
		if d != nil && d.Lookup != nil && d.Lookup.End == 0 && isTimeout(lookup) {
			return t.onlySystems(t.askedElsewhere(t.silentResolvers(found(DNSTimeout).within(t.ran(failure.DialTimeout, d.Start, t.end)), nil)))
		}
		return nothing
	}
	if canceled(dnsError) {
		return nothing
	}
	return t.onlySystems(t.askedElsewhere(lookupCause(t, dnsError)))
}

// onlySystems is for transports that ask the system's resolver alone: FastCGI's has no
// resolvers, and HTTP/3's does not heed them.
func (t *try) onlySystems(f finding) finding {
	if f.advice != "" || t.protocol != protocolFastCGI && t.protocol != protocolHTTP3 {
		return f
	}
	const instead = ", or write the upstream's address in place of its name: this transport asks no other."
	switch f.row {
	case DNSServerFailed:
		return f.advise("Check the resolver of this machine (/etc/resolv.conf)" + instead)
	case DNSTimeout:
		return f.advise("Check that the resolver of this machine can be reached (/etc/resolv.conf)" + instead)
	}
	return f
}

// lookupCause is that of a lookup's error.
func lookupCause(t *try, dnsError *net.DNSError) finding {
	d := t.Dialing
	switch errno := errnoByText(dnsError.Err); {
	case errno == syscall.EMFILE || errno == syscall.ENFILE:
		return descriptorsCause(errno)
	case dnsError.Err == "unknown port":
		return found(DialAddressInvalid, withoutSecrets(dnsError.Error()))
	case dnsError.IsNotFound && dnsError.Name == "":
		// HTTP/3's transport looks up even no name; the others dial this machine.
		return emptyCause(t.Attempt)
	case dnsError.IsNotFound:
		if dnsError.Server == "" && slices.ContainsFunc(strings.Split(dnsError.Name, "."), func(label string) bool { return len(label) > maxLabel }) {
			return longLabel(t.Attempt)
		}
		if f := noHost(t, dnsError); f.is() {
			return f
		}
		f := found(DNSNameNotFound, notFoundWords(dnsError)...)
		if f = t.askedServer(dnsError).ofContainer(f, dnsError); f.advice != "" {
			return f
		}
		if len(resolversOf(t.Attempt)) > 0 {
			return f.advise(adviceNotAtResolvers).leavesOpen("whether the name in reverse_proxy is wrong, is missing at that resolver, or another resolver should be asked can't be told from here: dig tells")
		}
		return f
	case dnsError.IsTimeout:
		f := found(DNSTimeout)
		if d != nil {
			f.limit = t.ran(failure.DialTimeout, d.Start, t.end)
		}
		return t.silentResolvers(f, dnsError)
	}
	server := t.askedServer(dnsError)
	f := server.ofContainer(server.failed(found(DNSServerFailed), dnsError), dnsError)
	if len(resolversOf(t.Attempt)) > 0 && f.advice == "" {
		return f.advise(adviceResolvers)
	}
	return f
}

// longLabel is for a name that can be nobody's: no resolver has to be asked.
func longLabel(a *listen.Attempt) finding {
	f := found(DNSNameNotFound, "no resolver was asked: a part of a name has at most 63 characters")
	f = f.advise("Correct the host in reverse_proxy: no name has so long a part.").decides()
	if strings.Contains(a.Upstream, "{") {
		f = f.advise("Look at what sets the placeholder in the upstream's address in reverse_proxy, and refuse requests for which it gives no name: none has so long a part.")
	}
	f.side = failure.SideProxy
	f.summary = "The host of {upstream} can be nobody's: a part of its name is too long."
	return f
}

// noHost is for what stands in reverse_proxy where a host belongs and is none: the name of a
// service record, or what can't be a name.
func noHost(t *try, lookup *net.DNSError) finding {
	if t.dynamic || bareHost(t.Upstream) != lookup.Name || strings.Contains(lookup.Name, "{") {
		return nothing // something else gave it
	}
	name, marked := strings.CutPrefix(lookup.Name, "srv+")
	f := found(DNSNameNotFound)
	f.side = failure.SideProxy
	if isServiceName(name) {
		f.summary = "{upstream} is named like a service (SRV), and such a name has no address."
		f.evidence = append(f.evidence, "for an upstream's host only its addresses are asked for (A, AAAA); "+name+" is what a service's record is called (SRV)")
		if marked {
			f.evidence = append(f.evidence, "srv+ in front of it is no syntax of Caddy's")
		}
		return f.advise("Write dynamic srv " + name + " in reverse_proxy in place of the address: its lookup gives both host and port.").
			leavesOpen("whether such a record exists can't be told from here, for it was not asked for: dig " + name + " SRV tells")
	}
	if lookup.Server != "" {
		return nothing // it may be a name: somebody was asked for it
	}
	stranger := strings.IndexFunc(lookup.Name, func(r rune) bool { return !isOfName(r) })
	switch {
	case strings.Contains(lookup.Name, ":"):
		f.evidence = append(f.evidence, "a name has no : in it, and it is no IPv6 address: that has up to eight groups of hexadecimal digits, and :: once at most")
		f = f.advise("Correct the address in reverse_proxy: it is no IPv6 address.")
		f.summary = "The host of {upstream} is neither an address nor a name."
	case stranger >= 0:
		strange := []rune(lookup.Name[stranger:])[0]
		f.evidence = append(f.evidence, "a host's name has no "+strconv.QuoteToASCII(string(strange))+" in it: letters, digits, - and _ are what its parts are made of")
		f = f.advise("Correct the host in reverse_proxy: no name has a " + strconv.QuoteToASCII(string(strange)) + " in it.")
		if strange >= utf8.RuneSelf && unicode.IsLetter(strange) {
			if runtime.GOOS == "windows" {
				return nothing // whose own resolver writes it so by itself
			}
			f = f.advise("Write the host in reverse_proxy in ASCII, as DNS has it (xn--).")
		}
		f.summary = "The host of {upstream} can be nobody's: it has a character in it that no name has."
	case !strings.ContainsFunc(lookup.Name, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }):
		f.evidence = append(f.evidence, "it is made of numbers alone, as no name is, and is no IPv4 address, which has four of them from 0 to 255, none with a 0 in front")
		f = f.advise("Correct the address in reverse_proxy: it is no IPv4 address, which has four numbers from 0 to 255, none with a 0 in front (10, not 010).")
		f.summary = "The host of {upstream} is neither an address nor a name."
	default:
		return nothing
	}
	return f.decides()
}

// isServiceName says that a name is that of a service's record (RFC 2782). Consul has a tag where
// others have _tcp or _udp.
func isServiceName(name string) bool {
	service, rest, _ := strings.Cut(name, ".")
	protocol, of, _ := strings.Cut(rest, ".")
	return len(service) > 1 && service[0] == '_' && len(protocol) > 1 && protocol[0] == '_' && of != ""
}

// isOfName says that a name which Go looks up may have this in it.
func isOfName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
}

// dockerServer is where Docker's own resolver is, in each container that is on a network
// which somebody has made.
const dockerServer = "127.0.0.11"

// inDocker can be another in tests.
var inDocker = host.InDocker

// isOneWord says that a name has no dot, as those of containers mostly do.
func isOneWord(name string) bool { return !strings.Contains(strings.TrimSuffix(name, "."), ".") }

// isDockers says that it is Docker's own.
func (s askedServer) isDockers() bool { return bareHost(s.address) == dockerServer }

// ofContainer is for a name that may be a container's, where a resolver answered that it has
// none or could not find out. Docker's knows by itself those on a network of this container's,
// so that it knew none; others know none at all.
func (s askedServer) ofContainer(f finding, lookup *net.DNSError) finding {
	answered := lookup.IsNotFound && lookup.Server != "" || lookup.Err == "server misbehaving" || lookup.Err == "lame referral"
	const tell = " can't be told from here: docker ps, and docker network inspect, tell"
	switch {
	case !answered || !isOneWord(lookup.Name):
	case s.isDockers():
		f.evidence = append(f.evidence, "it is Docker's own resolver ("+dockerServer+"): it answers by itself for what runs on a network of this container's, and asks others only for what it does not know")
		f = f.advise("Look whether the container that has this name runs, and on a network that Caddy's container is on, too (docker ps, docker network inspect): start it, or put both on one network. If the name is wrong, correct it.").
			leavesOpen("whether no container on a network of this one's has the name, or it is another machine's and what Docker asks for it fails," + tell)
		if lookup.IsNotFound {
			f = f.leavesOpen("whether the name is wrong, its container does not run, or it is on another network" + tell)
		}
	case lookup.IsNotFound && s.named == systemsServers && inDocker():
		f.evidence = append(f.evidence, "it is not Docker's own resolver ("+dockerServer+"), which alone knows containers by name, and is missing on Docker's default bridge and on the host's network")
		f = f.advise("If the name is a container's, put that and Caddy's on a network that you have made (networks: in the compose file, no network_mode): on Docker's default bridge and on the host's network no container has a name. If not, correct it, or create it at that resolver.").
			leavesOpen("whether the name is a container's, is wrong, or is missing at that resolver can't be told from here: docker ps, and dig, tell")
	}
	return f
}

// adviceNotAtResolvers is for a name that the transport's own name servers don't know.
const adviceNotAtResolvers = "Ask the name server that resolvers in the transport names for it (dig), and correct the host in reverse_proxy, or create the name there. Names of containers only Docker's own resolver knows: leave resolvers out for them."

// maxLabel is how long a part of a name may be (RFC 1035 section 2.3.4).
const maxLabel = 63

// notFoundWords say of a name that was looked up in vain what isn't known of it: Go has one
// error for a name that does not exist, and for one that has no such record. nil where no
// server answered that.
func notFoundWords(err error) []string {
	lookup, ok := errors.AsType[*net.DNSError](err)
	if !ok || !lookup.IsNotFound || lookup.Server == "" {
		return nil
	}
	return []string{"the resolver answered: either the name does not exist there (NXDOMAIN), or it has no such record; Go does not say which"}
}

// askedServer is a name server that was asked for a name.
type askedServer struct {
	// address is "" where it isn't known which of several was asked.
	address string
	// named is what names it.
	named string
}

// systemsServers names the system's.
const systemsServers = "/etc/resolv.conf"

// askedServer is the one that the error of this attempt's lookup is about.
func (t *try) askedServer(lookup *net.DNSError) askedServer {
	return askedServerOf(resolversOf(t.Attempt), "resolvers in the transport", lookup)
}

// askedServerOf is the one that an error is about, nil for one that names none. resolvers are
// those that named has; none where the system's are asked, which Go names rightly.
func askedServerOf(resolvers []string, named string, lookup *net.DNSError) askedServer {
	switch {
	case len(resolvers) == 1:
		return askedServer{resolvers[0], named}
	case len(resolvers) > 1:
		return askedServer{"", named}
	case lookup == nil:
		return askedServer{"", systemsServers}
	}
	return askedServer{lookup.Server, systemsServers}
}

// here says at which port of this machine the name server is. Docker's own is at none, nor is
// one whose port is published: what goes there is led elsewhere.
func (s askedServer) here() (netip.AddrPort, bool) {
	at, own := ownAddress(s.address)
	if !own || s.isDockers() {
		return at, false
	}
	_, published := publishedPort(at.Port())
	return at, !published
}

// failed says what a name server's failure says of it. Go has one word for all codes of an
// answer, and calls temporary what SERVFAIL is.
func (s askedServer) failed(f finding, lookup *net.DNSError) finding {
	const itsLog = ": its log, and dig by hand, tell"
	said := func(evidence, undecided string) finding {
		f.evidence = append(f.evidence, evidence)
		return f.leavesOpen(undecided + itsLog)
	}
	switch refusal := strings.HasPrefix(lookup.Err, "read udp ") && errnoByText(lookup.Err) == syscall.ECONNREFUSED; {
	case lookup.Err == "server misbehaving" && lookup.IsTemporary:
		return said("the resolver answered SERVFAIL: it runs, and could not find out",
			"why it could not can't be told from here (its zone, DNSSEC or what it asks itself fails, or the wrong resolver is asked)")
	case lookup.Err == "server misbehaving":
		return said("the resolver answered with a code that is neither SERVFAIL nor NXDOMAIN (REFUSED or the like): it runs, and does not take the question",
			"why it does not can't be told from here (the wrong resolver is asked, or it does not serve this client or this name)")
	case lookup.Err == "lame referral":
		return said("the resolver answered: it runs, has no such zone of its own, and offers to ask nobody else (no recursion)",
			"why can't be told from here (the wrong resolver is asked, its zone is missing, or it asks others for some clients only)")
	case lookup.Err == "cannot unmarshal DNS message":
		return said("what came can't be read as an answer of DNS",
			"a resolver that answers wrongly, and another program on that port, look the same from here")
	case refusal:
		f = f.advise("Start the name server at " + orText(s.address, "that address") + ", or correct its address (" + s.named + "): nobody takes questions there (ss -lunp).")
		if at, own := s.here(); own {
			list, known := host.BoundUDP()
			if _, there := listenerAt(list, at); known && !there {
				return said("it was refused: nobody had port "+strconv.Itoa(int(at.Port()))+" of UDP on "+here(),
					"whether the resolver does not run, or another address is its, can't be told from here")
			}
		}
		return said("it was refused: nobody has that port of UDP there, or a firewall rejects it",
			"a resolver that does not run, a wrong address, and a firewall that rejects look the same from here")
	}
	return f.leavesOpen(DNSServerFailed.Undecided)
}

// silent says what is known of a name server that did not answer in time.
func (s askedServer) silent(f finding) finding {
	at, own := s.here()
	if !own {
		return f
	}
	list, _ := host.BoundUDP()
	if _, there := listenerAt(list, at); !there {
		return f
	}
	port := "port " + strconv.Itoa(int(at.Port())) + " of UDP on " + here()
	f.evidence = append(f.evidence, "somebody has "+port+", and did not answer")
	return f.advise("Look what has " + port + " (ss -lunp). If it is the name server, its log says whether it hangs, or waits for those that it asks; if it is only slow, raise dial_timeout. If not, correct the address (" + s.named + ").").
		leavesOpen("a name server that hangs, is too slow or waits for those that it asks, another program on that port, and a firewall of " + here() + " that drops UDP look the same from here: what has the port, and dig from here, tell")
}

// adviceResolvers is for a transport that asks name servers of its own.
const adviceResolvers = "Ask the name servers that resolvers in the transport names, by hand (dig), and look at their log at this time: they are asked, not this machine's."

// silentResolvers is for name servers that did not answer. lookup is nil where dialling ended
// before the lookup did.
func (t *try) silentResolvers(f finding, lookup *net.DNSError) finding {
	f = t.askedServer(lookup).silent(f)
	if len(resolversOf(t.Attempt)) == 0 || f.advice != "" {
		return f
	}
	return f.advise("Ask the name server that resolvers in the transport names, by hand from " + thisMachine + " (dig): start it, correct its address, or open the way to it (UDP and TCP); if it is only slow, raise dial_timeout.").leavesOpen(f.row.Undecided)
}

// askedElsewhere tells of a name that the system's resolver was asked for, where the source
// that gave the name has resolvers of its own, which serve only its own lookup.
func (t *try) askedElsewhere(f finding) finding {
	if len(t.source) == 0 || f.decided || t.Limits == nil || t.Limits.Transport != "http" || len(t.Limits.Resolvers) > 0 {
		return f
	}
	switch f.row {
	case DNSNameNotFound, DNSServerFailed, DNSTimeout:
	default:
		return f
	}
	f.evidence = append(f.evidence, "the resolvers of the dynamic source ("+strings.Join(t.source[:min(len(t.source), maxServers)], ", ")+") were not asked for it: they serve only the source's own lookup")
	f.side = failure.SideProxy
	if f.row == DNSNameNotFound {
		f.summary = "The system's resolver has no address for a name that the dynamic source gave: {upstream}."
	}
	name := "<name>"
	if d := t.Dialing; d != nil && d.Lookup != nil && len(d.Lookup.Host) <= maxQuoted && isHostName(strings.TrimSuffix(d.Lookup.Host, ".")) {
		name = d.Lookup.Host
	}
	dig := digAt(t.source[0], name)
	return f.advise("Ask the source's resolver for the name (" + dig + "). If it has an address for it, name it in the transport, too: transport http { resolvers " + strings.Join(t.source[:min(len(t.source), maxServers)], " ") + " }. If not, create the name there, or correct the name that the source gives.").
		leavesOpen("whether the source's resolver has an address for it, or the source gives a wrong name, can't be told from here, for it was not asked: " + dig + " tells")
}

// digAt is how to ask a name server by hand.
func digAt(server, name string) string {
	host, port, err := net.SplitHostPort(server)
	switch {
	case err != nil:
		return "dig @" + server + " " + name
	case port == "53":
		return "dig @" + host + " " + name
	}
	return "dig @" + host + " -p " + port + " " + name
}

// systemServer names the system's resolver that answered, where no others were asked.
func systemServer(t *try, err error) string {
	if dnsError, ok := errors.AsType[*net.DNSError](err); ok && dnsError.Server != "" && len(resolversOf(t.Attempt)) == 0 {
		return ", from the system's resolver " + dnsError.Server
	}
	return ""
}

// resolversOf are the name servers that are asked for an attempt; none where the
// system's are, or where it isn't known.
func resolversOf(a *listen.Attempt) []string {
	if a.Limits == nil {
		return nil
	}
	return a.Limits.Resolvers
}

// asked puts the name servers that were asked into a text that quotes a lookup's error:
// Go names that of resolv.conf, whichever it is.
func asked(text string, resolvers []string, err error) string {
	if len(resolvers) == 0 {
		return text
	}
	lookup, ok := errors.AsType[*net.DNSError](err)
	if !ok || lookup.Server == "" {
		return text
	}
	corrected := *lookup
	corrected.Server = serverWords(resolvers)
	return strings.Replace(text, lookup.Error(), corrected.Error(), 1)
}

// maxServers is how many name servers are named.
const maxServers = 3

func serverWords(resolvers []string) string {
	if len(resolvers) == 1 {
		return resolvers[0]
	}
	more := ""
	if len(resolvers) > maxServers {
		resolvers, more = resolvers[:maxServers], ", …"
	}
	return "one of " + strings.Join(resolvers, ", ") + more
}

func dialErr(t *try) error {
	if t.Dialing == nil {
		return nil
	}
	return t.Dialing.Err
}

// firstError is the first of errs that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var DNSNameNotFound = &Row{
	Name: "dns_name_not_found", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
	Phase: failure.PhaseDNS, Side: failure.SideNetwork,
	Summary:      "The name of {upstream} does not exist, or has no address.",
	Advice:       "Correct the host in reverse_proxy, or create the name; in Docker, both containers must be on one network.",
	Meaning:      "The resolver answered that the upstream's name does not exist, or that it has no IPv4 or IPv6 address.",
	RecognisedBy: "The lookup's typed error says not found. The evidence names what was looked up, and how long it took.",
	Witnesses:    []Witness{WitnessError},
	Undecided:    "whether the name in reverse_proxy is wrong, is missing at the resolver (a container that does not run has none), or only another network or resolver knows it can't be told from here: dig tells",
	UsualReasons: []string{
		"a typo in the host, or a name that only another network knows",
		"the container is not running, or is on another Docker network",
		"the record has been deleted, or is not there yet",
		"the name of a service record (_http._tcp.app), which has no address: dynamic srv looks that up",
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
}

var DNSServerFailed = &Row{
	Name: "dns_server_failed", Category: failure.CategoryUnreachable, ProxyError: "dns_error",
	Phase: failure.PhaseDNS, Side: failure.SideNetwork,
	Summary:      "The resolver could not look up the name of {upstream}.",
	Advice:       "Check the resolver of this machine, or name others with resolvers in the transport.",
	Meaning:      "A lookup of the upstream's name gave no answer that says yes or no: the resolver reported a failure, refused, knew nothing, or could not be reached.",
	RecognisedBy: "The lookup's typed error is neither not found nor a timeout. The evidence quotes it: server misbehaving (SERVFAIL, REFUSED), lame referral, or connection refused by the resolver.",
	Witnesses:    []Witness{WitnessError},
	Undecided:    "why can't be told from here (it does not run, the wrong one is asked, its zone or what it asks itself fails, it does not serve this client): its log, and dig by hand, tell",
	UsualReasons: []string{
		"the machine's resolver is down or restarting",
		"the resolver cannot reach the servers of the zone, or DNSSEC fails there",
		"/etc/resolv.conf or the resolvers line names a machine that is no resolver",
		"in Docker: no container of this name runs on a network of Caddy's, and what Docker's resolver then asks fails",
	},
	Fix: Fix{
		Caddy:       "Name a resolver that works, and use an address instead of a name if the upstream has a fixed one.",
		Caddyfile:   inTransport("resolvers 10.0.0.2 10.0.0.3"),
		Docker:      "If the name is a container's, start that, on a network that Caddy's container is on; else look at what Docker's resolver passes on to: dns: in the compose file, or the host's /etc/resolv.conf.",
		Application: nothingToChange,
	},
	Rivals: []Rival{
		{"dns_name_not_found", "the error in the evidence is not no such host"},
		{"dns_timeout", "the error in the evidence came from the resolver or the system, and no time ran out"},
		{"file_descriptors_exhausted", "the error's text does not end in too many open files"},
		{"connection_refused", "the lookup failed, and no connect is in the evidence: what is refused is the resolver's port"},
		{"upstream_lookup_failed", "the phase is dns: an upstream had been chosen"},
	},
}

var DNSTimeout = &Row{
	Name: "dns_timeout", Category: failure.CategoryTimeout, ProxyError: "dns_timeout",
	Phase: failure.PhaseDNS, Side: failure.SideNetwork, Status: 504,
	Summary:      "No resolver answered for the name of {upstream} in time.",
	Advice:       "Check that the resolver of this machine can be reached, or name others with resolvers in the transport.",
	Meaning:      "Nobody answered for the upstream's name before dial_timeout, or the resolver's own time, was over.",
	RecognisedBy: "The lookup's typed error is a timeout, or dialling timed out while the lookup was still going on. The evidence has the lookup's time and the limit that ran out.",
	Witnesses:    []Witness{WitnessError, WitnessAsked},
	Undecided:    "a resolver that is down, hangs, is too slow or waits for those that it asks, one that can't be reached, and a wrong address look the same from here: dig from this machine tells",
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
}
