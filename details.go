package diagnostics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

// operators are the matcher sets of details: who sees the operator's view.
type operators struct {
	sets []operatorSet
	// readFields says that a set may look at fields of the request.
	readFields bool
	// unverified says that a client may come with a certificate that nobody verifies.
	unverified bool

	doubted, failed, unplaced sync.Once
	// copies are found by the first request where nobody walked the config.
	copies *upstreams.Copies
}

// operatorSet is one of them. raw is its JSON, testimony what it looks at.
type operatorSet struct {
	name      string
	matchers  caddyhttp.MatcherSet
	raw       caddy.ModuleMap
	testimony testimony
}

// theProofs is what to use instead, where something is refused.
const theProofs = "remote_ip of your own network, a client certificate, or the user that basic_auth has set ({http.auth.user.id})"

// loadDetails checks the matcher sets of details, loads them, and asks them about
// strangers. Their JSON is copied because loading clears it. No set means nobody.
func (h *Handler) loadDetails(ctx caddy.Context) error {
	if len(h.DetailsRaw) == 0 {
		return nil
	}
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	o := &operators{unverified: acceptsUnverified(server)}
	for i, set := range h.DetailsRaw {
		name := fmt.Sprintf("details[%d]", i)
		if h.Site != "" {
			name += " of " + h.Site
		}
		t, err := checkSet(name, set)
		if err != nil {
			return err
		}
		if t.clientIP && trustsWithoutStrict(server) {
			return fmt.Errorf("%s looks at client_ip, which any client of a trusted proxy can forge here: the server has trusted_proxies without trusted_proxies_strict; "+
				"expected trusted_proxies_strict beside it, or %s", name, theProofs)
		}
		if read, writer, ok := t.writtenBy(server); ok {
			return fmt.Errorf("%s looks at %s, which a %s handler of this server writes (%s), so that it may be what a client says: "+
				"expected another name in that handler, or a matcher that proves who the client is, as %s", name, read, writer.Directive, writer, theProofs)
		}
		o.sets = append(o.sets, operatorSet{name: name, raw: maps.Clone(set), testimony: t})
		o.readFields = o.readFields || readsFields(set) || t.clientIP // which is made of them
	}
	loaded, err := ctx.LoadModule(h, "DetailsRaw")
	if err != nil {
		return fmt.Errorf("details: %w", err)
	}
	var matchers caddyhttp.MatcherSets
	if err := matchers.FromInterface(loaded); err != nil {
		return fmt.Errorf("details: %w", err)
	}
	for i := range o.sets {
		set := &o.sets[i]
		set.matchers = matchers[i]
		who, err := lettingIn(set.matchers, strangersTo(set.testimony, hostsOf(h.Site)), server)
		if err != nil {
			h.logger.Warn("details could not be tried", zap.String("set", set.name), zap.Error(err))
		}
		if who != nil {
			return fmt.Errorf("%s lets a stranger in: %s; expected a matcher that proves who the client is, as %s", set.name, who, theProofs)
		}
	}
	h.details = o
	return nil
}

// checkDetails refuses a set that looks at nothing that tells who the client is: the
// operator's view names addresses, so what guards it fails closed.
func checkDetails(field string, set caddy.ModuleMap) error {
	_, err := checkSet(field, set)
	return err
}

func checkSet(field string, set caddy.ModuleMap) (testimony, error) {
	if len(set) == 0 {
		return testimony{}, fmt.Errorf("%s is empty, so everybody would see the operator's view: expected a matcher that proves who the client is, as %s", field, theProofs)
	}
	t, err := witness{}.set(set)
	if err != nil {
		return testimony{}, fmt.Errorf("%s: %w", field, err)
	}
	if t.proof == noProof {
		return testimony{}, fmt.Errorf("%s looks only at %s, which proves nothing about the client%s: expected another matcher beside it that does, as %s",
			field, names(set), whyAddressesDoNot(set), theProofs)
	}
	return t, nil
}

// writtenBy is what t takes as a proof and a handler of the server writes, and which one
// does. Where it stands says little: a `route`, a named route or an error's routes may put
// it in front of any other.
func (t testimony) writtenBy(server *caddyhttp.Server) (read string, by upstreams.Writer, ok bool) {
	if !t.clientIP && len(t.placeholders) == 0 {
		return "", upstreams.Writer{}, false
	}
	for _, w := range upstreams.WritersIn(server) {
		if t.clientIP && (w.WritesVariable(caddyhttp.ClientIPVarKey) || w.WritesVariable(caddyhttp.TrustedProxyVarKey)) {
			return caddyhttp.ClientIPVarKey, w, true
		}
		for _, name := range t.placeholders {
			if w.WritesPlaceholder(name) {
				return "{" + name + "}", w, true
			}
		}
	}
	return "", upstreams.Writer{}, false
}

// warnOfWords says which sets take a client at its word. copies are the fields that are
// an upstream's word, by a forward_auth.
func (h *Handler) warnOfWords(copies *upstreams.Copies) {
	if h.details == nil {
		return
	}
	for _, set := range h.details.sets {
		t, err := witness{vouched: copies.Has}.set(set.raw)
		if err != nil || t.proof != wordOnly {
			continue // an error was one when it was loaded
		}
		h.logger.Warn("details takes a client at its word: whoever sends what it looks for sees the operator's view; better is "+theProofs,
			zap.String("site", cmp.Or(h.Site, h.place.Site)), zap.String("set", set.name), zap.String("looks_at", t.taken()))
	}
}

// trustsWithoutStrict says whether a server takes client_ip from what a trusted proxy
// passes on, beginning with what the client itself sent. Caddy tells nobody of
// the ranges, so where their field has another name than today this says no, and
// the first request that comes by such a proxy shows it.
func trustsWithoutStrict(server *caddyhttp.Server) bool {
	if server == nil || server.TrustedProxiesStrict > 0 {
		return false
	}
	ranges := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return server.TrustedProxiesUnix || len(server.TrustedProxiesRaw) > 0 ||
		ranges.IsValid() && ranges.Kind() == reflect.Interface && !ranges.IsNil()
}

// acceptsUnverified says whether a client of this server may come with a certificate
// that it has made itself. It must be asked before the policies are provisioned, which
// clears the verifiers' JSON; routes are before them.
func acceptsUnverified(server *caddyhttp.Server) bool {
	if server == nil {
		return false
	}
	for _, policy := range server.TLSConnPolicies {
		if policy == nil || policy.ClientAuthentication == nil {
			continue
		}
		auth := policy.ClientAuthentication
		verifies := len(auth.VerifiersRaw)+len(auth.TrustedLeafCerts) > 0
		pool := len(auth.CARaw)+len(auth.TrustedCACerts)+len(auth.TrustedCACertPEMFiles) > 0
		if !verifies && (auth.Mode == "request" || auth.Mode == "require" || auth.Mode == "" && !pool) {
			return true
		}
	}
	return false
}

// fieldsSent keeps the fields of a request as they reached this handler, where details
// look at any, or an upstream's address may be made of them; else nil.
func (h *Handler) fieldsSent(r *http.Request) http.Header {
	if !h.place.Expands && (h.details == nil || !h.details.readFields) {
		return nil
	}
	return r.Header.Clone()
}

// provenCtxKey has the fields of a request by what they prove.
type provenCtxKey struct{}

// withFields is r for seesDetails: which asks about the fields that the client sent,
// but for those that a forward_auth has copied from its answer.
func (h *Handler) withFields(r *http.Request, sent http.Header, heard *listen.Heard) *http.Request {
	if sent == nil || h.details == nil || !h.details.readFields {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), provenCtxKey{}, h.copies(r).Prove(sent, heard)))
}

// copies are the fields that are copied in this handler's server.
func (h *Handler) copies(r *http.Request) *upstreams.Copies {
	if h.place.Copies != nil {
		return h.place.Copies
	}
	o := h.details
	o.unplaced.Do(func() { // nobody walked the config
		if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil {
			o.copies = upstreams.CopiesOf(server)
		}
		h.warnOfWords(o.copies)
	})
	return o.copies
}

// seesDetails says whether the client may see the operator's view: nobody, where
// no matcher says so or one fails.
func (h *Handler) seesDetails(r *http.Request) bool {
	if h.details == nil {
		return false
	}
	r = question(r)
	for _, set := range h.details.sets {
		match, err := askSet(set.matchers, r)
		if err != nil {
			h.details.failed.Do(func() {
				h.logger.Warn("details can't be asked: such clients get the public's answer; this is said once", zap.String("set", set.name), zap.Error(err))
			})
			return false
		}
		if !match {
			continue
		}
		if err := h.details.doubt(set.testimony, r); err != nil {
			h.details.doubted.Do(func() {
				h.logger.Warn("details proves nothing about some clients: they get the public's answer; this is said once", zap.String("set", set.name), zap.Error(err))
			})
			continue
		}
		return true
	}
	return false
}

// doubt says why what a set looks at proves nothing in this request; nil where it does.
func (o *operators) doubt(t testimony, r *http.Request) error {
	if t.clientIP {
		trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
		server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
		if trusted && (server == nil || server.TrustedProxiesStrict <= 0) {
			return errors.New("client_ip is what the client says: the server has trusted_proxies without trusted_proxies_strict")
		}
		// A handler of another plugin's may write it, or hold one that does.
		own := clientIP(caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server))
		if found := clientIP(r); found != own {
			return fmt.Errorf("client_ip is %s, and %s by what reached this directive: a handler in front has written it, or a field that it is taken from", found, own)
		}
	}
	if t.certificate && o.unverified && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return errors.New("nobody has verified the client's certificate: client_auth of this server requests or requires one without a trust_pool")
	}
	if host := hostOf(r); t.certificate && r.TLS != nil && !strings.EqualFold(r.TLS.ServerName, host) {
		// Which authorities verified it went by that name; Caddy refuses such requests itself,
		// unless strict_sni_host is insecure_off.
		return fmt.Errorf("the client's certificate was asked for as %q, and the request is for %q: another site's trust_pool may have verified it", r.TLS.ServerName, host)
	}
	return nil
}

// hostOf is the host that is asked for, without its port.
func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}

// question is a request to ask matchers about: as its client sent it, for them and for
// the placeholders. Nothing of it changes r.
func question(r *http.Request) *http.Request {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return r
	}
	q := *r // see asSent
	if fields, ok := r.Context().Value(provenCtxKey{}).(http.Header); ok {
		q.Header = fields
	}
	q.Body = http.NoBody // which may still be on its way
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	asked := caddy.NewReplacer()
	prepared := caddyhttp.PrepareRequest(&q, asked, nil, server)
	asked.Map(repl.Get) // what handlers have set, as the user
	if vars, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		for name, value := range vars {
			caddyhttp.SetVar(prepared.Context(), name, value)
		}
	}
	return prepared
}
