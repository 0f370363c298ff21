package redact

import (
	"net"
	"net/textproto"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Sent is what the client sent that became part of an upstream's address, by a
// placeholder in it, and that is not kept. Its zero value is nothing.
type Sent struct {
	words []word
	found bool // also where it can't be read again, and there are no words of it
}

// word is a text that is not kept, and what stands for it.
type word struct{ text, instead string }

const (
	// minWordBytes is the shortest word that is looked for by itself: the letter a
	// is in most texts.
	minWordBytes = 4
	// maxWordBytes bounds what is looked for: no text of a record is longer.
	maxWordBytes = 4 << 10
)

// Add adds what an upstream's address, or a dynamic source's name, has of the client:
// upstream is as configured, address what was dialled for it, "" where that is not
// made of it, and value gives what a placeholder stands for.
func (s *Sent) Add(rules *Rules, upstream, address string, value func(placeholder string) string) {
	rest, expanded, whole, sent := upstream, "", true, false
	for {
		before, after, ok := strings.Cut(rest, "{")
		name, behind, closed := strings.Cut(after, "}")
		if !ok || !closed {
			expanded += rest
			break
		}
		rest = behind
		if isBody(name) { // which can't be read again
			whole, sent = false, true
			continue
		}
		text := value(name)
		text = text[:min(len(text), maxWordBytes)]
		expanded += before + text
		if rules.keeps(name) {
			continue
		}
		sent = true
		s.add(text, failure.Redacted)
	}
	if !sent {
		return
	}
	s.found = true
	s.addAddress(address, upstream)
	if whole {
		s.addAddress(expanded, upstream)
	}
	slices.SortStableFunc(s.words, func(a, b word) int { return len(b.text) - len(a.text) })
}

// addAddress adds an address that is made of what the client sent: all of its host is
// not kept, for it may be written otherwise there.
func (s *Sent) addAddress(address, upstream string) {
	if network, inner, ok := strings.Cut(address, "/"); ok && !strings.ContainsAny(network, ".:") {
		address = inner // unix//run/app.sock
	}
	address = address[:min(len(address), maxWordBytes)]
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		s.add(address, failure.Redacted)
		return
	}
	instead := failure.Redacted
	if strings.HasSuffix(upstream, ":"+port) {
		instead += ":" + port
	}
	s.add(address, instead)
	if host != "" {
		s.add(host, failure.Redacted)
		s.words = append(s.words, word{"lookup " + host, "lookup " + failure.Redacted})
	}
}

// add adds a word, and what becomes of it where it is quoted, cleaned, or where only
// the folders or the host of it are named.
func (s *Sent) add(text, instead string) {
	for _, form := range []string{text, strings.ToValidUTF8(text, "�"), failure.Visible(text), inQuotes(text)} {
		s.addWord(form, instead)
	}
	if host, _, err := net.SplitHostPort(text); err == nil && instead == failure.Redacted {
		s.addWord(host, instead)
	}
	if len(text) > maxSocketPath {
		return
	}
	for folder := path.Dir(text); len(folder) > 1; folder = path.Dir(folder) {
		s.addWord(folder, instead)
	}
}

// maxSocketPath is more than a unix socket's path can have.
const maxSocketPath = 256

func (s *Sent) addWord(text, instead string) {
	w := word{text, instead}
	if len(text) >= minWordBytes && !slices.Contains(s.words, w) {
		s.words = append(s.words, w)
	}
}

func inQuotes(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// isBody says that a placeholder stands for the request's body.
func isBody(placeholder string) bool { return strings.HasPrefix(placeholder, "http.request.body") }

// clientSent are the beginnings of the placeholders that stand for what the client
// sent and a record doesn't have. Path, host and method are in it anyway.
var clientSent = []string{
	"body", "cookie.", "orig_uri.prefixed_query", "orig_uri.query",
	"uri.prefixed_query", "uri.query", "uri_escaped",
}

// keeps says whether a record may have what a placeholder stands for.
func (rules *Rules) keeps(placeholder string) bool {
	name, ok := strings.CutPrefix(placeholder, "http.request.")
	if !ok {
		return placeholder != "http.vars.client_ip" || rules.clientIP == ClientIPFull
	}
	if key, ok := strings.CutPrefix(name, "uri.query."); ok {
		return slices.Contains(rules.keepQuery, key)
	}
	if field, ok := strings.CutPrefix(name, "header."); ok {
		field = textproto.CanonicalMIMEHeaderKey(field)
		return (field == "User-Agent" || slices.Contains(rules.keepHeaders, field)) && !failure.IsCredential(field)
	}
	if name == "remote" || strings.HasPrefix(name, "remote.") {
		return rules.clientIP == ClientIPFull
	}
	return name != "uri" && name != "orig_uri" &&
		!slices.ContainsFunc(clientSent, func(begins string) bool { return strings.HasPrefix(name, begins) })
}

// TakeOutOf takes it out of what a record says of the upstream.
func (s *Sent) TakeOutOf(f *failure.Failure) {
	if !s.found {
		return
	}
	for _, text := range []*string{&f.Summary, &f.Advice, &f.Error} {
		s.takeOut(text)
	}
	for i := range f.Evidence {
		s.takeOut(&f.Evidence[i])
	}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		for _, text := range []*string{&a.Address, &a.LocalAddress, &a.Error} {
			s.takeOut(text)
		}
	}
	for i := range f.Unavailable {
		s.takeOut(&f.Unavailable[i].Upstream)
		s.takeOut(&f.Unavailable[i].Check)
	}
	if r := f.Received; r != nil {
		for _, text := range []*string{&r.Server, &r.Via, &r.RetryAfter, &r.ProxyStatus} {
			s.takeOut(text)
		}
	}
}

// invalidAddresses are what reverse_proxy says before an address that it can't dial.
// What follows takes it apart.
var invalidAddresses = []string{"invalid dial address ", "dial address must represent precisely one socket: "}

func (s *Sent) takeOut(text *string) {
	for _, w := range s.words {
		*text = replaceWord(*text, w)
	}
	for _, before := range invalidAddresses {
		if i := strings.Index(*text, before); i >= 0 {
			*text = (*text)[:i+len(before)] + failure.Redacted
		}
	}
}

// replaceWord replaces whole words only, and what is left of one where a text was cut.
func replaceWord(text string, w word) string {
	for from := 0; ; {
		i := strings.IndexByte(text[from:], w.text[0])
		if i < 0 {
			return text
		}
		i += from
		from = i + 1
		n := commonPrefix(text[i:], w.text)
		after := text[i+n:]
		whole := n == len(w.text) && !(endsInWord(w.text) && beginsWithWord(after))
		cutOff := n < len(w.text) && (strings.HasPrefix(after, cutMark) || strings.HasPrefix(after, `"`+cutMark))
		if !whole && !cutOff || beginsWithWord(w.text) && endsInWord(text[:i]) {
			continue
		}
		instead := w.instead
		if cutOff {
			instead = failure.Redacted
		}
		text = text[:i] + instead + after
		from = i + len(instead)
	}
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func beginsWithWord(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return isWordRune(r)
}

func endsInWord(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return isWordRune(r)
}

func isWordRune(r rune) bool {
	return r == '_' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
