package diagnostics

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// describe adds to a diagnosis what it takes to be a record: when, where, and for
// whom.
func (h *Handler) describe(r *http.Request, heard *listen.Heard, f *failure.Failure) {
	f.ID = idOf(heard.Err)
	if h.page == nil && f.Outcome == failure.Failed {
		f.Status = passedOn(heard)
	}
	f.Time = failure.At(heard.Start.Add(heard.Duration))
	f.Instance = *h.process.instance.Load()
	f.Site = h.siteOf(r)
	f.Request = h.describeRequest(r)
	f.TraceID = traceID(r)
	h.nameIncidents(f)
	h.learn(heard, f)
	for i := range f.Unavailable {
		h.lastFailure(&f.Unavailable[i], f, heard.Selection.Limits)
		heard.Selection.Pool[i].Check.Ask() // the next record has the result
	}
	f.Own()
}

// nameIncidents names the incident of a failure, and that of each failed attempt: its own
// upstream's. The failure has its site.
func (h *Handler) nameIncidents(f *failure.Failure) {
	if f.Outcome != failure.Abandoned && f.Side != failure.SideClient {
		f.Incident = h.incidentOf(f.Site, f.Upstream, f.Cause)
	}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		if !f.Blames(a) {
			continue
		}
		if row := cause.ByName(a.Cause); row != nil && row.Side != failure.SideClient {
			a.Incident = f.Incident
			if a.Upstream != f.Upstream || a.Cause != f.Cause || f.Incident == "" {
				a.Incident = h.incidentOf(f.Site, a.Upstream, a.Cause)
			}
		}
	}
}

// takeOutSent takes out of a record what the client sent and a placeholder made a part of
// where its request was led to, or an upstream sent back. fields are the header that came;
// nil where nobody kept it.
func (h *Handler) takeOutSent(r *http.Request, fields http.Header, heard *listen.Heard, f *failure.Failure) {
	value := func(placeholder string) string {
		repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		if !ok {
			return ""
		}
		text, _ := repl.GetString(placeholder)
		return text
	}
	if fields == nil {
		fields = r.Header
	}
	sent := h.redact.Sent(func() redact.Came {
		came := redact.Came{Request: r, Fields: fields, ClientIP: clientIP(r), Kept: &f.Request}
		for i := range heard.Attempts {
			if asked := heard.Attempts[i].Request; asked != nil {
				came.SentOn = append(came.SentOn, asked.Header)
			}
		}
		return came
	}, value)
	source := heard.Selection.Source
	_, name, named := strings.Cut(source, " ")
	sent.Add(name, "", "")
	for i := range heard.Attempts {
		a := &heard.Attempts[i]
		switch {
		case a.Limits == nil, a.Upstream == source && !named: // nobody knows what led there
			sent.AddUnknown(a.Address)
		case a.Upstream != source: // what a source led to is its own
			sent.Add(a.Upstream, a.Network, a.Address)
		}
		if a.Limits != nil && a.Limits.TLS != nil {
			sent.Add(a.Limits.TLS.ServerName, "", "")
		}
		if _, proxy, ok := strings.Cut(a.ForwardProxy, "://"); ok && !a.FromEnvironment {
			sent.AddUnknown(proxy)
		}
		if unparsed, ok := errors.AsType[*url.Error](a.Err); ok && unparsed.Op == "parse" {
			sent.AddUnparsed(unparsed.URL)
		}
	}
	sent.TakeOutOf(f)
}

// passedOn is the status that the client gets where nothing of ours is answered, 0
// where it gets none: Go's servers panic.
func passedOn(heard *listen.Heard) int {
	status := heard.Response.Status
	switch {
	case heard.Err != nil:
		status = heard.ErrStatus
	case status == 0 && !heard.Panicked:
		status = http.StatusOK // as net/http does
	}
	if listen.Unpassable(status) {
		return 0
	}
	return status
}

// learn learns from connections that had been idle and were closed, and advises the
// keepalive that would have avoided it. The attempts of f are those of heard.
func (h *Handler) learn(heard *listen.Heard, f *failure.Failure) {
	var past *listen.Past
	for i, a := range f.Attempts {
		if a.Cause == cause.KeepaliveRace.Name && a.IdleMS != nil && a.IdleMS.Duration() >= listen.LeastIdle {
			past = heard.Attempts[i].Past
			past.IdleDied(a.IdleMS.Duration())
		}
	}
	worked, died, deaths := past.Idle()
	if f.Cause != cause.KeepaliveRace.Name || deaths == 0 {
		return
	}
	shortest := died.Round(time.Millisecond)
	if deaths == 1 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("seen once: an idle connection to it was closed, after %s", shortest))
	} else {
		f.Evidence = append(f.Evidence, fmt.Sprintf("idle connections to it were closed %d times, after %s at the earliest", deaths, shortest))
		f.Advice = fmt.Sprintf("Let %s keep idle connections for longer, or set keepalive off in the transport: it closes them too soon for any number.", f.Upstream)
		if keepalive, ok := upstreams.Keepalive(past); ok {
			f.Advice = fmt.Sprintf("Set keepalive %s in the transport: below the time after which %s closes idle connections.", inWords(keepalive), f.Upstream)
		}
	}
	if worked > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("others still worked after %s", worked.Round(time.Millisecond)))
	}
}

// inWords is a duration as a Caddyfile has it.
func inWords(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// lastFailure adds what is known of an upstream that could not be chosen for f: that it
// failed in this very request, or what the journal has.
func (h *Handler) lastFailure(u *failure.Unavailable, f *failure.Failure, limits *failure.Limits) {
	last, attempt := f, f.FailedAttempt(u.Upstream)
	if attempt == nil {
		if last = h.process.journal.Last(u.Upstream); last == nil {
			return
		}
		attempt = last.FailedAttempt(u.Upstream)
	}
	u.LastFailure = last.ID
	if attempt != nil {
		u.LastCause = attempt.Cause
	}
	// Where several failures count, the last one doesn't say when they are few enough,
	// and where answers count, one that wasn't recorded may be the last.
	if u.Reason != failure.ReasonFails || limits == nil || limits.FailDuration == 0 || limits.MaxFails > 1 || limits.AnswersCount {
		return
	}
	if attempt == nil || attempt.Status != 0 {
		return // what has answered didn't count
	}
	failed := last.Time.Time
	if attempt != &last.Attempts[len(last.Attempts)-1] || len(last.Unavailable) > 0 { // the request went on
		failed = failed.Add((attempt.StartMS + attempt.DurationMS - last.DurationMS).Duration())
	}
	if until := failed.Add(limits.FailDuration); until.After(f.Time.Time) {
		at := failure.At(until)
		u.Until = &at
	}
}

// idOf is Caddy's own id where an error has one, so that both logs tell of the same.
func idOf(err error) string {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok && handlerErr.ID != "" {
		return handlerErr.ID
	}
	return newID()
}

// newID makes an id as Caddy makes its own: nine characters that can't be mistaken
// for each other when they are read out (caddyhttp.Error).
func newID() string {
	const alphabet = "abcdefghijkmnpqrstuvwxyz0123456789"
	var id [9]byte
	for i := range id {
		id[i] = alphabet[rand.IntN(len(alphabet))] //nolint:gosec // it is a reference, no secret
	}
	return string(id[:])
}

// incidentOf is incidentID. It is kept of upstreams that a config names: in a storm the
// same ones fail again and again.
func (h *Handler) incidentOf(site, upstream, cause string) string {
	if !h.process.names(upstream) {
		return incidentID(site, upstream, cause)
	}
	of := journal.Fingerprint{Site: site, Upstream: upstream, Cause: cause}
	place := &h.known[maphash.Comparable(knownSeed, of)%uint64(len(h.known))]
	if known := place.Load(); known != nil && known.of == of {
		return known.id
	}
	id := incidentID(site, upstream, cause)
	place.Store(&knownIncident{of, id})
	return id
}

// knownIncidents has a place for each fingerprint; the last that came to it stays.
type knownIncidents [16]atomic.Pointer[knownIncident]

type knownIncident struct {
	of journal.Fingerprint
	id string
}

var knownSeed = maphash.MakeSeed()

// incidentID is the same for the same fingerprint, on every machine.
func incidentID(site, upstream, cause string) string {
	var room [256]byte
	text := room[:0]
	for _, part := range [...]string{site, upstream, cause} {
		text = append(append(text, part...), 0)
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:8])
}

// site is the label of a handler that nobody walked to, found at the first failure.
type site struct {
	once  sync.Once
	label string
}

// siteOf is the label of this handler.
func (h *Handler) siteOf(r *http.Request) string {
	if h.Site != "" {
		return h.Site
	}
	if h.place.Site != "" {
		return h.place.Site
	}
	h.site.once.Do(func() {
		if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil {
			h.site.label = upstreams.SiteOf(server, h)
		}
	})
	return h.site.label
}
