package redact

import (
	"net"
	"net/netip"
	"net/textproto"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Sent is what the client sent that a placeholder made a part of where a request was
// led to, and that is not kept.
type Sent struct {
	rules    *Rules
	came     func() Came
	known    *client // what came, once somebody has asked
	value    func(placeholder string) string
	looked   []string // what was looked at already
	words    []word
	found    bool // also where it can't be read again, and there are no words of it
	unparsed bool // a URL was made of it that is none
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

// Sent is nothing yet of what came, which is asked for at most once; value gives what a
// placeholder stands for.
func (rules *Rules) Sent(came func() Came, value func(placeholder string) string) *Sent {
	return &Sent{rules: rules, came: came, value: value}
}

func (s *Sent) client() *client {
	if s.known == nil {
		s.known = clientOf(s.came())
	}
	return s.known
}

// Add adds what is made of what the client sent of a configured text: an upstream's
// address, a dynamic source's name, a server name. network and address are what was
// dialled for it, "" where nothing was.
func (s *Sent) Add(configured, network, address string) {
	if !failure.Expands(configured) {
		return
	}
	key := configured + " " + network + " " + address
	if slices.Contains(s.looked, key) {
		return
	}
	s.looked = append(s.looked, key)
	e := s.expand(configured)
	if !e.sent && !s.made(e.literal, append(e.values, network, address)...) {
		return
	}
	if e.whole {
		network, inner := splitNetwork(e.text)
		s.addNetwork(network, e.literal)
		s.addAddress(inner, configured)
	}
	s.addNetwork(network, e.literal)
	s.addAddress(address, configured)
	s.added()
}

// AddUnknown adds where a request was led by a config that isn't known, as host and port.
func (s *Sent) AddUnknown(address string) {
	if address != "" && s.made("", address) {
		s.addAddress(address, "")
		s.added()
	}
}

// AddUnparsed adds a URL that could not be parsed: which part of it is which, nobody
// knows.
func (s *Sent) AddUnparsed(url string) {
	s.unparsed = s.unparsed || s.made("", strings.ReplaceAll(url, ":", " "))
}

func (s *Sent) made(literal string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		return text != "" && !slices.Contains(networks, text) && s.client().made(text, literal)
	})
}

func (s *Sent) added() {
	s.found = true
	slices.SortStableFunc(s.words, func(a, b word) int { return len(b.text) - len(a.text) })
}

// expansion is what a configured text became.
type expansion struct {
	text, literal string   // literal is what the config itself has of it
	values        []string // of its placeholders
	whole         bool     // the text could be made again
	sent          bool     // one of them stands for nothing but what the client sent
}

func (s *Sent) expand(configured string) expansion {
	e := expansion{whole: true}
	for rest := configured; ; {
		before, after, ok := strings.Cut(rest, "{")
		name, behind, closed := strings.Cut(after, "}")
		if !ok || !closed {
			e.text += rest
			e.literal += rest
			return e
		}
		rest = behind
		e.literal += before + " "
		if isBody(name) { // which can't be read again
			e.whole, e.sent = false, true
			continue
		}
		text := s.value(name)
		text = text[:min(len(text), maxWordBytes)]
		e.text += before + text
		e.values = append(e.values, text)
		if !s.rules.keeps(name) {
			e.sent = true
			s.add(text, failure.Redacted)
			if host, _, err := net.SplitHostPort(text); err == nil {
				s.add(host, failure.Redacted)
			}
		}
	}
}

// networks are those that can be dialled: their names are no secret.
var networks = []string{
	"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "ip", "ip4", "ip6", "unix", "unixgram", "unixpacket", "unix+h2c", "fd", "fdgram",
}

// splitNetwork takes the network from an address as Caddy does: all that stands before the
// first slash.
func splitNetwork(address string) (network, inner string) {
	before, after, ok := strings.Cut(address, "/")
	if !ok {
		return "", address
	}
	return strings.ToLower(strings.TrimSpace(before)), after
}

// addNetwork adds the name of a network that is none: an error says it twice.
func (s *Sent) addNetwork(network, literal string) {
	if network == "" || slices.Contains(networks, network) || strings.Contains(literal, network) {
		return
	}
	s.add(network, failure.Redacted)
	if _, protocol, ok := strings.Cut(network, ":"); ok {
		s.add(protocol, failure.Redacted)
	}
	for _, before := range []string{"dial ", "unknown network "} {
		s.words = append(s.words, word{before + network, before + failure.Redacted})
	}
}

// addAddress adds an address that is made of what the client sent: all of its host is
// not kept, for it may be written otherwise there.
func (s *Sent) addAddress(address, configured string) {
	address = address[:min(len(address), maxWordBytes)]
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		s.add(address, failure.Redacted)
		s.addName(address)
		return
	}
	instead := failure.Redacted
	if strings.HasSuffix(configured, ":"+port) {
		instead += ":" + port
	}
	s.add(address, instead)
	if host == "" || strings.HasPrefix(configured, host+":") { // the config has it
		return
	}
	s.add(host, failure.Redacted)
	s.addName(host)
	s.words = append(s.words, word{"lookup " + host, "lookup " + failure.Redacted})
	if ip, err := netip.ParseAddr(host); err == nil { // as what was connected to is written
		s.add(ip.String(), failure.Redacted)
		s.add(ip.Unmap().WithZone("").String(), failure.Redacted)
	}
}

// addName adds a host's name as it is looked up.
func (s *Sent) addName(host string) {
	if name, err := idna.Lookup.ToASCII(host); err == nil && name != host {
		s.add(name, failure.Redacted)
	}
}

// add adds a word, and what becomes of it where it is quoted, cleaned, or where only
// the folders of it are named.
func (s *Sent) add(text, instead string) {
	for _, form := range []string{text, strings.ToValidUTF8(text, "�"), failure.Visible(text), inQuotes(text)} {
		s.addWord(form, instead)
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
	if s.found || s.unparsed {
		eachText(f, func(text *string, _ bool) { s.takeOut(text) })
	}
	if mayQuote(f) {
		eachText(f, s.back().takeOut)
	}
}

// eachText goes through what a record says of the upstream; quoted says that all of a text
// is the upstream's.
func eachText(f *failure.Failure, do func(text *string, quoted bool)) {
	for _, text := range []*string{&f.Summary, &f.Advice, &f.Error} {
		do(text, false)
	}
	for i := range f.Evidence {
		do(&f.Evidence[i], false)
	}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		for _, text := range []*string{&a.Address, &a.LocalAddress, &a.Error} {
			do(text, false)
		}
	}
	for i := range f.Unavailable {
		do(&f.Unavailable[i].Upstream, false)
		do(&f.Unavailable[i].Check, false)
	}
	if r := f.Received; r != nil {
		for _, text := range []*string{&r.Server, &r.Via, &r.RetryAfter, &r.ProxyStatus, &r.GRPCStatus, &r.GRPCMessage} {
			do(text, true)
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
	if s.found {
		for _, before := range invalidAddresses {
			cutBehind(text, before)
		}
	}
	if s.unparsed {
		cutBehind(text, "parse ")
	}
}

// cutBehind leaves nothing of what stands behind these words.
func cutBehind(text *string, words string) {
	if i := strings.Index(*text, words); i >= 0 {
		*text = (*text)[:i+len(words)] + failure.Redacted
	}
}

// replaceWord replaces whole words only, in capitals or not, and what is left of one where
// a text was cut.
func replaceWord(text string, w word) string {
	for from := 0; ; {
		i := indexFold(text, from, w.text[0])
		if i < 0 {
			return text
		}
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

func indexFold(text string, from int, letter byte) int {
	for i := from; i < len(text); i++ {
		if lower(text[i]) == lower(letter) {
			return i
		}
	}
	return -1
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && lower(a[n]) == lower(b[n]) {
		n++
	}
	return n
}

func lower(letter byte) byte {
	if 'A' <= letter && letter <= 'Z' {
		return letter + 'a' - 'A'
	}
	return letter
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
