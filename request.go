package diagnostics

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// redacted stands for a value that is not kept.
const redacted = "REDACTED"

// maxKeptBytes bounds a URI, and all values of a header field, that are kept.
const maxKeptBytes = 2048

// minValueBytes is what one value of a field counts at least: a field can come ten
// thousand times with nothing in it.
const minValueBytes = 16

// cutMark stands where something was cut.
const cutMark = "…"

// maxHostBytes is the longest host name (RFC 1035), and a port.
const maxHostBytes = 253 + len(":65535")

// credentials are the request fields whose values are never kept.
var credentials = []string{"Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie", "X-Api-Key", "X-Auth-Token", "X-Csrf-Token"}

// describeRequest keeps of the client's request (see asSent) what this handler is
// told to.
func (h *Handler) describeRequest(r *http.Request) failure.Request {
	kept := failure.Request{
		Method: clean(r.Method, 32),
		Host:   clean(r.Host, maxHostBytes),
		URI:    clean(h.redactURI(r.URL), maxKeptBytes),
		Proto:  clean(r.Proto, 32),
	}
	if h.ClientIP != clientIPOff {
		kept.RemoteIP = h.maskIP(hostOnly(r.RemoteAddr))
		clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
		kept.ClientIP = h.maskIP(clientIP)
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
	for _, field := range h.keepHeaders {
		if field == "User-Agent" || field == "Referer" {
			continue // kept already
		}
		room := maxKeptBytes
		for _, value := range r.Header.Values(field) {
			if room < minValueBytes {
				keep(field, cutMark)
				break
			}
			if slices.Contains(credentials, field) {
				value = redacted
			}
			value = clean(value, room-len(cutMark))
			keep(field, value)
			room -= max(len(value), minValueBytes)
		}
	}
	return kept
}

// asSent is r with method and URI as the client sent them: handlers after us may
// have rewritten it.
func asSent(r *http.Request) *http.Request {
	sent, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || sent.URL == nil {
		return r
	}
	if r.Method == sent.Method && r.RequestURI == sent.RequestURI && r.RemoteAddr == sent.RemoteAddr && *r.URL == *sent.URL {
		return r
	}
	c := *r
	c.Method, c.URL, c.RequestURI, c.RemoteAddr = sent.Method, sent.URL, sent.RequestURI, sent.RemoteAddr
	return &c
}

// redactURI is the path and the query, in which only the values that are kept show.
func (h *Handler) redactURI(u *url.URL) string {
	var b strings.Builder
	b.WriteString(u.EscapedPath())
	if u.RawQuery == "" {
		return b.String()
	}
	separator := byte('?')
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if b.Len() > maxKeptBytes {
			break
		}
		b.WriteByte(separator)
		separator = '&'
		name, value, hasValue := strings.Cut(pair, "=")
		// A key without a value may be the secret itself. Behind a semicolon is what
		// some upstreams take for another pair (Go doesn't, golang/go#25192).
		key, err := url.QueryUnescape(name)
		known := err == nil && slices.Contains(h.KeepQuery, key)
		if strings.Contains(name, ";") || !hasValue && name != "" && !known {
			b.WriteString(redacted)
			continue
		}
		if !known || strings.Contains(value, ";") {
			value = redacted
		}
		b.WriteString(name)
		if hasValue {
			b.WriteByte('=')
			b.WriteString(value)
		}
	}
	return b.String()
}

// originOf is scheme and host of a URL, "" where it has none.
func originOf(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
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

// maskIP cuts an address to its /24 or /48 where this handler is told to.
func (h *Handler) maskIP(s string) string {
	if h.ClientIP != clientIPMasked {
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
