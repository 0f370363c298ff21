package cause

import (
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
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
			return found(DNSTimeout).within(t.ran(failure.DialTimeout, d.Start, t.end))
		}
		return nothing
	}
	if canceled(dnsError) {
		return nothing
	}
	switch errno := errnoByText(dnsError.Err); {
	case errno == syscall.EMFILE || errno == syscall.ENFILE:
		return found(FileDescriptorsExhausted)
	case dnsError.Err == "unknown port":
		return found(DialAddressInvalid, withoutSecrets(dnsError.Error()))
	case dnsError.IsNotFound && dnsError.Name == "":
		// HTTP/3's transport looks up even no name; the others dial this machine.
		return found(DialAddressInvalid, "the address that was dialled: "+quote([]byte(t.Address)))
	case dnsError.IsNotFound:
		return found(DNSNameNotFound)
	case dnsError.IsTimeout:
		f := found(DNSTimeout)
		if d != nil {
			f.limit = t.ran(failure.DialTimeout, d.Start, t.end)
		}
		return f
	}
	f := found(DNSServerFailed)
	if len(t.resolvers()) > 0 {
		return f.advise(adviceResolvers)
	}
	return f
}

// adviceResolvers is for a transport that asks name servers of its own.
const adviceResolvers = "Check the name servers that resolvers in the transport names: they are asked, not this machine's."

// resolvers are the name servers that are asked for an attempt; none where the system's
// are, or where it isn't known.
func (t *try) resolvers() []string {
	if t.Limits == nil {
		return nil
	}
	return t.Limits.Resolvers
}

// asked puts the name servers that were asked into what an error says: Go names that of
// resolv.conf, whichever it is. The first of errs that is a lookup's has its words.
func asked(text string, resolvers []string, errs ...error) string {
	if len(resolvers) == 0 {
		return text
	}
	for _, err := range errs {
		lookup, ok := errors.AsType[*net.DNSError](err)
		if !ok || lookup.Server == "" {
			continue
		}
		corrected := *lookup
		corrected.Server = serverWords(resolvers)
		return strings.Replace(text, lookup.Error(), corrected.Error(), 1)
	}
	return text
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
