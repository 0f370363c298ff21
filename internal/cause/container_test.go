package cause

import (
	"net"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// A word without a dot is mostly a container's name. What Docker's resolver passes on it did not
// know, whatever becomes of that, and a resolver that is not Docker's knows no container.
func TestLookupOfAContainersName(t *testing.T) {
	saved := inDocker
	t.Cleanup(func() { inDocker = saved })
	failed := func(name, server string) net.DNSError {
		return net.DNSError{Err: "server misbehaving", Name: name, Server: server, IsTemporary: true}
	}
	unknown := func(name, server string) net.DNSError {
		return net.DNSError{Err: "no such host", Name: name, Server: server, IsNotFound: true}
	}
	const (
		containers = "docker network inspect"
		others     = "name others with resolvers"
		own        = "put that and Caddy's on a network that you have made"
	)
	for _, test := range []struct {
		name      string
		err       net.DNSError
		elsewhere bool // not in a container of Docker's
		row       *Row
		says, not []string
	}{
		{name: "passed on in vain (madpsy/ka9q_ubersdr#83)", err: failed("hfdl", "127.0.0.11:53"), row: DNSServerFailed, says: []string{containers, "Docker's own resolver", "SERVFAIL"}, not: []string{others}},
		{name: "nobody's (Tecnativa/docker-socket-proxy#94)", err: unknown("tecnativa", "127.0.0.11:53"), row: DNSNameNotFound, says: []string{containers, "start it, or put both on one network"}},
		{name: "of another machine", err: failed("app.example.com", "127.0.0.11:53"), row: DNSServerFailed, says: []string{others}, not: []string{containers}},
		{name: "not Docker's (mholt/caddy-l4#296)", err: unknown("liquidsoap", "203.0.113.53:53"), row: DNSNameNotFound, says: []string{own, "it is not Docker's own resolver"}},
		{name: "of another machine, not Docker's", err: unknown("app.example.com", "203.0.113.53:53"), row: DNSNameNotFound, not: []string{own}},
		{name: "not Docker's, and failed", err: failed("liquidsoap", "203.0.113.53:53"), row: DNSServerFailed, says: []string{others}, not: []string{own}},
		{name: "without Docker", err: unknown("liquidsoap", "203.0.113.53:53"), elsewhere: true, row: DNSNameNotFound, not: []string{own, containers}},
		{name: "silence tells nothing", err: net.DNSError{Err: "i/o timeout", Name: "app", Server: "127.0.0.11:53", IsTimeout: true}, row: DNSTimeout, not: []string{containers}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inDocker = func() bool { return !test.elsewhere }
			f := Diagnose(heard(nil, unresolved("http/1.1", &test.err)))
			check(t, f)
			if f.Cause != test.row.Name {
				t.Error(f.Cause)
			}
			says(t, f, test.says, test.not)
		})
	}
}

// So it is where a dynamic source asks.
func TestLookupOfContainers(t *testing.T) {
	f := Diagnose(heard(func(h *listen.Heard) {
		nobodyFor()(h)
		h.Selection.Source, h.Selection.LookupErr = "a app 8080", &net.DNSError{Err: "server misbehaving", Name: "app", Server: "127.0.0.11:53", IsTemporary: true}
	}))
	check(t, f)
	if f.Cause != UpstreamLookupFailed.Name {
		t.Error(f.Cause)
	}
	says(t, f, []string{"docker network inspect", "Docker's own resolver"}, []string{"resolvers of dynamic"})
}

// A host that is none stands in the config only where no dynamic source gave it.
func TestNoHostOfASource(t *testing.T) {
	a := unresolved("http/1.1", &net.DNSError{Err: "no such host", Name: "app+1", IsNotFound: true})
	a.Upstream = "app+1:8080"
	for source, side := range map[string]failure.Side{"": failure.SideProxy, "srv _app._tcp.test": failure.SideNetwork} {
		f := Diagnose(heard(func(h *listen.Heard) {
			h.Selection.Limits, h.Selection.Source = a.Limits, source
		}, a))
		if f.Cause != DNSNameNotFound.Name || f.Side != side {
			t.Errorf("source %q: %s, side %s, %q", source, f.Cause, f.Side, f.Advice)
		}
	}
}
