package failure

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Redacted stands for a value that is not kept.
const Redacted = "REDACTED"

// credentialWords are what a credential's name has in it, credentialNames are those
// that have none of these. It is the one list, for a request's fields and for what is
// quoted of an upstream's answer.
var (
	credentialWords = []string{
		"auth", "bearer", "cookie", "credential", "csrf", "jwt", "key", "pass", "pwd",
		"secret", "sess", "signature", "token", "xsrf",
	}
	credentialNames = []string{
		"sec-websocket-protocol", // the place of a browser's token, which can set no other field
		"sid", "sig",
	}
)

// IsCredential says that a field or parameter of this name holds a credential, by how
// it is called: X-Access-Token, Api-Key, PHPSESSID.
func IsCredential(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(credentialNames, name) ||
		slices.ContainsFunc(credentialWords, func(word string) bool { return strings.Contains(name, word) })
}

// Visible takes out of a text what could break the line that it stands in.
func Visible(text string) string {
	if isPrintableASCII(text) { // as nearly all are
		return text
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '�'
		}
		return r
	}, text)
}

func isPrintableASCII(text string) bool {
	for i := range len(text) {
		if text[i]-' ' > '~'-' ' {
			return false
		}
	}
	return true
}
