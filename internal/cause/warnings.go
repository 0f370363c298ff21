package cause

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// WarningRow is one kind of warning: all that is ever said of it is read from here.
type WarningRow struct {
	// Kind is stable.
	Kind failure.WarningKind
	// Meaning is what was seen, as a list has it.
	Meaning string
	// Summary is one sentence, Advice one concrete line. Both may name {upstream}, {value},
	// {limit} and {left}, the time until a certificate ends.
	Summary, Advice string
}

// warnings are all kinds, in the order in which they are documented.
var warnings = []*WarningRow{
	{
		Kind:    failure.WarnCertificate,
		Meaning: "a handshake showed a certificate that ends within 14 days (one made for less than 56 days: in the last quarter of its time), or has ended and was let pass (`tls_insecure_skip_verify`)",
		Summary: "The certificate of {upstream} {left}.",
		Advice:  "Renew the certificate that {upstream} shows, and let it load the new one: once it has ended, Caddy refuses it unless tls_insecure_skip_verify is set.",
	},
	{
		Kind:    failure.WarnConnect,
		Meaning: "a connection took 80 % of `dial_timeout` or more, the lookup of the name included",
		Summary: "Connecting to {upstream} took {value} of {limit}.",
		Advice:  "Look at the network on the way to {upstream}, at its name server, and at how many connections wait there to be accepted (ss -lnt on its machine); raise dial_timeout in the transport of reverse_proxy only if so long is normal.",
	},
	{
		Kind:    failure.WarnHandshake,
		Meaning: "a TLS handshake took 80 % of `tls_timeout` or more",
		Summary: "The TLS handshake with {upstream} took {value} of {limit}.",
		Advice:  "Look how busy {upstream} is, and keep connections to it open (keepalive in the transport of reverse_proxy), so that fewer handshakes are made; raise tls_timeout only if so long is normal.",
	},
	{
		Kind:    failure.WarnResponse,
		Meaning: "an answer's header came after 80 % of `response_header_timeout` or `read_timeout` or more",
		Summary: "{upstream} answered after {value} of {limit}.",
		Advice:  "Look which requests {upstream} takes so long for, and make them faster, or raise {name} in the transport of reverse_proxy.",
	},
	{
		Kind:    failure.WarnRescued,
		Meaning: "an attempt failed, and another one served the visitor",
		Summary: "Requests failed at {upstream}, and only another attempt saved them.",
		Advice:  "Repair {upstream}: last_failure has the record. Until then fail_duration in reverse_proxy leaves it out for a while after each failure, so that not every visitor waits for it.",
	},
	{
		Kind:    failure.WarnRequests,
		Meaning: "an upstream got a request while it had 80 % of `unhealthy_request_count` or more (of 5 and above: of less, any is near it)",
		Summary: "{upstream} had {value} at a time, of at most {limit}.",
		Advice:  "Add another upstream, or raise unhealthy_request_count in reverse_proxy if {upstream} bears more at a time: who is full gets no more requests.",
	},
	{
		Kind:    failure.WarnNeverAnswered,
		Meaning: "an upstream failed, or its active check gets no answer, and it has never answered since the config was loaded; one that was never asked is not warned of",
		Summary: "{upstream} has not answered once since the config was loaded.",
		Advice:  "Correct its address in reverse_proxy, or start what should answer there.",
	},
	{
		Kind:    failure.WarnOpenFiles,
		Meaning: "this process has 80 % of the files open that it may, or more, sockets included (Linux)",
		Summary: "This process has {value} open, of at most {limit}.",
		Advice:  "Raise the limit of open files (LimitNOFILE in systemd, ulimit -n), and look for what holds them: at the limit Caddy accepts no visitor and reaches no upstream.",
	},
	{
		Kind:    failure.WarnLocalPorts,
		Meaning: "connections to one address have 80 % of the local ports or more, those that wait after their end included (Linux)",
		Summary: "Connections to {address} hold {value}, of {limit} local ones.",
		Advice:  "Keep more connections open (keepalive and keepalive_idle_conns_per_host in the transport of reverse_proxy), so that fewer are made, or widen net.ipv4.ip_local_port_range.",
	},
}

// Warnings are all kinds of warnings.
func Warnings() iter.Seq[*WarningRow] { return slices.Values(warnings) }

// TellWarning puts the words of its kind to a warning.
func TellWarning(w *failure.Warning, now time.Time) {
	i := slices.IndexFunc(warnings, func(row *WarningRow) bool { return row.Kind == w.Kind })
	if i < 0 {
		return
	}
	value, limit, name, left := "", "", "", ""
	if m := w.Measured; m != nil {
		name = m.Name
		value, limit = amount(m.Value, m.Unit), m.Name+" "+amount(m.Limit, m.Unit)
		if m.Unit != unitMS {
			limit = amount(m.Limit, "")
		}
	}
	if c := w.Certificate; c != nil {
		left = "ends in " + spanWords(c.NotAfter.Sub(now))
		if !now.Before(c.NotAfter.Time) {
			left = "ended " + spanWords(now.Sub(c.NotAfter.Time)) + " ago"
		}
		if w.LastSeen.After(c.NotAfter.Time) {
			left += ", and is let pass"
		}
	}
	words := strings.NewReplacer(
		"{upstream}", cut(cmp.Or(w.Upstream, "the upstream"), maxAddress), "{address}", cut(cmp.Or(w.Address, "one address"), maxAddress),
		"{value}", value, "{limit}", limit, "{name}", name, "{left}", left,
	)
	w.Summary, w.Advice = words.Replace(warnings[i].Summary), words.Replace(warnings[i].Advice)
	w.Evidence = warningEvidence(w)
}

// warningEvidence are the facts that a warning rests on.
func warningEvidence(w *failure.Warning) []string {
	evidence := []string{}
	if c := w.Certificate; c != nil {
		whose := "the certificate"
		if c.Name != "" {
			whose += " of '" + c.Name + "'"
		}
		evidence = append(evidence, whose+" is valid until "+c.NotAfter.UTC().Format(certificateTimeLayout))
	}
	if m := w.Measured; m != nil && m.Limit > 0 {
		evidence = append(evidence, fmt.Sprintf("%s of %s %s, which is %d %%", amount(m.Value, m.Unit), m.Name, amount(m.Limit, m.Unit), int(100*m.Value/m.Limit)))
	}
	if w.Address != "" && w.Upstream != "" {
		evidence = append(evidence, "the last time at "+cut(w.Address, maxAddress))
	}
	if w.LastFailure != "" {
		evidence = append(evidence, "the last failure was "+w.LastCause+", "+w.LastFailure)
	}
	return evidence
}

// unitMS is the unit of a measured time.
const unitMS = "ms"

// amount is a measured number in words.
func amount(value float64, unit string) string {
	if unit == unitMS {
		return ms(failure.Milliseconds(value).Duration())
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', -1, 64)+" "+unit, " ")
}

// CheckWords are what an upstream's active check asks for and what it got when it was last
// repeated, "" where that isn't known.
func CheckWords(limits *failure.Limits, upstream string, check *listen.Check) string {
	return checkWords(limits, listen.Candidate{Upstream: upstream, Check: check})
}
