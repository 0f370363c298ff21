package diagnostics

import (
	"net/http"
	"strings"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// sampleWell keeps what worked of a request that went well, if it is a sample.
// fields are the header that came; nil where nobody kept it.
func (h *Handler) sampleWell(r *http.Request, fields http.Header, l *listen.Listener) {
	if !l.Sampled() {
		return
	}
	defer func() {
		if fault := recover(); fault != nil { // it must not become the request's, which went well
			h.faulted("sampling a request panicked", fault)
		}
	}()
	r = asSent(r)
	now := time.Now()
	l.EachWorked(func(a *listen.Attempt) { h.sample(r, fields, a, now) })
}

// sampleRescue keeps what worked of a request in which something else failed, if it is a
// sample.
func (h *Handler) sampleRescue(r *http.Request, fields http.Header, heard *listen.Heard, f *failure.Failure) {
	for n := range heard.Attempts {
		if a := &heard.Attempts[n]; f.Attempts[n].Cause == "" && a.Worked() {
			h.sample(r, fields, a, heard.Start.Add(heard.Duration))
		}
	}
}

func (h *Handler) sample(r *http.Request, fields http.Header, a *listen.Attempt, at time.Time) {
	if a.Limits == nil { // nobody knows which reverse_proxy made it
		return
	}
	h.sampler.Add(&journal.Worked{At: at, Upstream: a.Upstream, Limits: a.Limits, Traits: traitsOf(r, a, cause.AddressOf(a), h.serverOf(r, fields, a))})
	h.process.works(a.Past, at)
}

// maxServer is how many bytes of a Server field are looked at.
const maxServer = 512

// serverOf is the Server field of an answer that went well, "" where it has in it what the
// client sent, for it may be shown in changes, or is too long to be a name. Mostly it is the
// same as before.
func (h *Handler) serverOf(r *http.Request, fields http.Header, a *listen.Attempt) string {
	server := *a.Server
	if known := h.harmless.Load(); server == "" || known != nil && *known == server {
		return server
	}
	if len(server) > maxServer {
		return ""
	}
	f := failure.Failure{Received: &failure.Received{Server: server}, Request: h.describeRequest(r)}
	h.takeOutSent(r, fields, &listen.Heard{Attempts: []listen.Attempt{*a}}, &f)
	if f.Received.Server != server {
		return ""
	}
	server = strings.Clone(server)
	h.harmless.Store(&server)
	return server
}

// traitsOf is what can be compared of an attempt that reached, or was to reach, this address,
// and of whose answer the Server field is this.
func traitsOf(r *http.Request, a *listen.Attempt, address, server string) (traits journal.Traits) {
	traits[journal.TraitMethod] = r.Method
	traits[journal.TraitHost] = r.Host
	traits[journal.TraitProtocol] = r.Proto
	traits[journal.TraitAddress] = address
	traits[journal.TraitServer] = server
	if c := a.Connection; c != nil {
		traits[journal.TraitConnection] = failure.ConnectionFresh
		if c.Reused {
			traits[journal.TraitConnection] = failure.ConnectionReused
		}
	}
	return traits
}

// circumstancesOf are those of the nth attempt, which failed.
func (h *Handler) circumstancesOf(r *http.Request, heard *listen.Heard, f *failure.Failure, n int) journal.Circumstances {
	a := &heard.Attempts[n]
	c := journal.Circumstances{Start: heard.Start, Config: h.process.configOf(a.Upstream), Answered: h.process.answeredBefore(a)}
	if a.Limits == nil {
		return c
	}
	c.Limits, c.Sampler = a.Limits, h.sampler
	c.Traits = traitsOf(r, a, f.Attempts[n].Address, strings.Join(a.Header["Server"], ", "))
	if f.Received == nil || f.Received.Server != c.Traits[journal.TraitServer] {
		c.Traits[journal.TraitServer] = "" // another attempt's, or some of it is not kept
	}
	if strings.Contains(f.Attempts[n].Address, failure.Redacted) {
		c.Traits[journal.TraitAddress] = "" // what it was isn't kept
	}
	for trait, kind := range journal.Compared {
		if !cause.Compares(f.Attempts[n].Cause, kind) {
			c.Traits[trait] = ""
		}
	}
	return c
}

// answeredBefore is what an upstream had done before an attempt failed.
func (p *process) answeredBefore(a *listen.Attempt) (answered journal.Answered) {
	if a.Past == nil {
		return answered
	}
	answered.Known, answered.Last = true, a.Past.LastSuccess()
	if known, ok := p.beginnings.Load(a.Past); ok {
		b := known.(*beginning) //nolint:forcetypeassert // see process
		answered.Asked = b.asked
		if worked := b.worked.Load(); worked != nil {
			answered.Since = *worked
		}
	}
	return answered
}

// works hears that an upstream worked at this time.
func (p *process) works(past *listen.Past, at time.Time) {
	if past == nil {
		return
	}
	known, ok := p.beginnings.Load(past)
	if !ok {
		known, _ = p.beginnings.LoadOrStore(past, new(beginning))
	}
	if b := known.(*beginning); b.worked.Load() == nil { //nolint:forcetypeassert // see process
		b.worked.CompareAndSwap(nil, new(at)) // allocated here alone
	}
}
