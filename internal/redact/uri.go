package redact

import (
	"net/url"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// uri is the path and the query, in which only the values that are kept show.
func (rules *Rules) uri(u *url.URL) string {
	var b strings.Builder
	writePath(&b, u.EscapedPath())
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
		rules.writePair(&b, pair)
	}
	return b.String()
}

// writePair writes what is kept of a name and value of a query.
func (rules *Rules) writePair(b *strings.Builder, pair string) {
	name, value, hasValue := strings.Cut(pair, "=")
	key, err := url.QueryUnescape(name)
	known := err == nil && slices.Contains(rules.keepQuery, key)
	switch {
	case pair == "":
	case err != nil, strings.ContainsAny(decoded(key), "=&;"):
		// Something else than a name and a value: some upstreams take what is behind a
		// semicolon for another pair (Go doesn't, golang/go#25192).
		b.WriteString(failure.Redacted)
	case known && strings.Contains(value, ";"), !known && len(name) <= maxKeyBytes && strings.Trim(value, "=") != "":
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(failure.Redacted)
	case known:
		b.WriteString(name)
		if hasValue {
			b.WriteByte('=')
			b.WriteString(value)
		}
	default:
		b.WriteString(failure.Redacted) // the key may be the secret itself; base64 ends in equals signs
	}
}

// decoded is a key in which percent signs stand for no more signs, however often they do.
func decoded(key string) string {
	for range maxEncoded {
		again, err := url.PathUnescape(key)
		if err != nil || again == key {
			break
		}
		key = again
	}
	return key
}

// writePath writes a path without the values of its parameters, in which some servers
// put a session's id: /cart;jsessionid=1. Percent signs may stand for their signs.
func writePath(b *strings.Builder, path string) {
	for {
		before, rest, sign := cutSign(path, ';')
		b.WriteString(before)
		if sign == "" || b.Len() > maxKeptBytes {
			return
		}
		b.WriteString(sign)
		end := len(rest)
		if next := strings.IndexByte(rest, '/'); next >= 0 {
			end = next
		}
		if next, _, another := cutSign(rest[:end], ';'); another != "" {
			end = len(next)
		}
		name, value, equals := cutSign(rest[:end], '=')
		switch {
		case equals == "" && name != "":
			b.WriteString(failure.Redacted)
		case equals != "" && len(name) <= maxKeyBytes:
			b.WriteString(name)
			b.WriteString(equals)
			if value != "" {
				b.WriteString(failure.Redacted)
			}
		case equals != "":
			b.WriteString(failure.Redacted)
		}
		path = rest[end:]
	}
}

// cutSign cuts s at the first such sign, or what stands for it in a URL; sign is as
// it is written, "" for none.
func cutSign(s string, what byte) (before, after, sign string) {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch {
		case s[i] == what:
			return s[:i], s[i+1:], s[i : i+1]
		case s[i] == '%' && len(s) >= i+3 && s[i+1] == hex[what>>4] && s[i+2]|0x20 == hex[what&15]:
			return s[:i], s[i+3:], s[i : i+3]
		}
	}
	return s, "", ""
}
