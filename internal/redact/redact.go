// Package redact decides what is kept of a client's request: bounded, and without
// secrets.
package redact

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// maxKeptBytes bounds a URI, and all values of a header field, that are kept.
const maxKeptBytes = 2048

// minValueBytes is what one value of a field counts at least: a field can come ten
// thousand times with nothing in it.
const minValueBytes = 16

// cutMark stands where something was cut.
const cutMark = "…"

// maxHostBytes is the longest host name (RFC 1035), and a port.
const maxHostBytes = 253 + len(":65535")

// maxKeyBytes is the longest query key that shows: what is longer is more likely a
// token than a name.
const maxKeyBytes = 64

// How much of the client's address is kept.
const (
	ClientIPFull   = "full"
	ClientIPMasked = "masked" // its /24 or /48
	ClientIPOff    = "off"
)

// Rules say what is kept. They are one handler's.
type Rules struct {
	keepQuery   []string
	keepHeaders []string // canonical
	clientIP    string
}

// New makes the rules of a handler: the query keys whose values are kept, the fields
// that are kept besides User-Agent and Referer's origin, and how much of the client's
// address is.
func New(keepQuery, keepHeaders []string, clientIP string) *Rules {
	r := &Rules{keepQuery: keepQuery, clientIP: clientIP}
	for _, field := range keepHeaders {
		r.keepHeaders = append(r.keepHeaders, strings.Clone(textproto.CanonicalMIMEHeaderKey(field))) // records have it as a key
	}
	return r
}

// Request is what is kept of r. clientIP is the client's address, which is not the
// peer's where that is a proxy.
func (rules *Rules) Request(r *http.Request, clientIP string) failure.Request {
	kept := failure.Request{
		Method: clean(r.Method, 32),
		Host:   clean(r.Host, maxHostBytes),
		URI:    clean(rules.uri(r.URL), maxKeptBytes),
		Proto:  clean(r.Proto, 32),
	}
	if rules.clientIP != ClientIPOff {
		kept.RemoteIP = rules.mask(hostOnly(r.RemoteAddr))
		kept.ClientIP = rules.mask(clientIP)
	}
	keep := func(field, value string) {
		if kept.Headers == nil {
			kept.Headers = make(map[string][]string)
		}
		kept.Headers[field] = append(kept.Headers[field], value)
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		keep("User-Agent", clean(agent, maxKeptBytes))
	}
	if origin := originOf(r.Header.Get("Referer")); origin != "" {
		keep("Referer", clean(origin, maxKeptBytes))
	}
	for _, field := range rules.keepHeaders {
		if field == "User-Agent" || field == "Referer" {
			continue // kept already
		}
		room := maxKeptBytes
		for _, value := range r.Header.Values(field) {
			if room < minValueBytes {
				keep(field, cutMark)
				break
			}
			if failure.IsCredential(field) {
				value = failure.Redacted
			}
			value = clean(value, room-len(cutMark))
			keep(field, value)
			room -= max(len(value), minValueBytes)
		}
	}
	return kept
}

// originOf is scheme and host of a URL, "" where it has none.
func originOf(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func hostOnly(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// mask cuts an address to its /24 or /48 where the rules say so.
func (rules *Rules) mask(s string) string {
	if rules.clientIP != ClientIPMasked {
		return clean(s, 64)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return ""
	}
	bits := 48
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.Addr().String()
}

// clean bounds what a client sent to so many bytes, the mark of the cut included,
// and leaves no invalid UTF-8.
func clean(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	s = strings.ToValidUTF8(s, "\uFFFD") // which may make it longer
	if !cut && len(s) <= limit {
		return s
	}
	end := min(limit-len(cutMark), len(s))
	for end > 0 && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + cutMark
}
