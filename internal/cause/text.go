package cause

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// How much of what others wrote is kept, in bytes.
const (
	maxError        = 2 << 10 // a record's error, its summary and its advice
	maxAttemptError = 256     // an attempt's error
	maxEvidence     = 256     // one line of evidence
	maxField        = 256     // one field of an upstream's answer
	maxAddress      = 512     // an upstream's name, an address
	maxLines        = 16      // lines of evidence
	maxQuoted       = 64      // bytes quoted of what an upstream sent
	maxToAnother    = 8       // bytes quoted of what may have been sent to another client
	maxName         = 32      // a credential's name: what is longer is more than that
)

// What is kept of an error. Rules read an error as it is; what a record says of it
// comes from here, wherever it stands.

// errorText is what a record says of an attempt's error, "" for none; a may be nil.
func errorText(h *listen.Heard, a *listen.Attempt, err error) string {
	switch {
	case err == nil:
		return ""
	case ofClient(h, err):
		return clientError(err)
	case a != nil && connectUnanswered(a):
		return proxyPhrase(err)
	}
	if text, ok := dialText(a, err); ok {
		return text
	}
	text := err.Error()
	if a == nil {
		text = asked(text, h.Selection.Resolvers, err)
	} else {
		looked := err // where it hides the lookup's, the trace has it
		if d := a.Dialing; d != nil && d.Lookup != nil && d.Lookup.Err != nil {
			looked = d.Lookup.Err
		}
		text = asked(text, resolversOf(a), looked)
	}
	text = withoutSecrets(strings.TrimSuffix(text, textForProgrammers))
	if a != nil && a.Connection != nil && beyondCause(tryOf(h, a)).is() {
		return eachQuote(text, saidToAnother)
	}
	return text
}

// dialText is the text of an error that the system had for a TCP connect. It is made of
// nothing but what is in its key, so that there is nothing to take out.
func dialText(a *listen.Attempt, err error) (string, bool) {
	op, ok := err.(*net.OpError) //nolint:errorlint // what wraps it adds to its text
	if !ok && a != nil && a.DialErr {
		// Caddy's own wrapper adds nothing, and hides what it wraps: of a dial that made one
		// connect, that one's error.
		if tried := connects(a); len(tried) == 1 {
			op, ok = tried[0].Err.(*net.OpError) //nolint:errorlint // as above
		}
	}
	if !ok || !asConfigured(a) || a.Connection != nil || op.Op != "dial" || op.Source != nil {
		return "", false
	}
	to, isTCP := op.Addr.(*net.TCPAddr)
	call, isCall := op.Err.(*os.SyscallError) //nolint:errorlint // as above
	if !isTCP || !isCall {
		return "", false
	}
	errno, isErrno := call.Err.(syscall.Errno) //nolint:errorlint // as above
	if !isErrno {
		return "", false
	}
	key := dialError{op.Net, call.Syscall, to.AddrPort(), errno}
	text, ok := dialTexts.get(key)
	if !ok {
		text = err.Error()
		dialTexts.put(key, text)
	}
	return text, true
}

type dialError struct {
	network, call string // Go's own constants
	to            netip.AddrPort
	errno         syscall.Errno
}

var dialTexts memo[dialError, string]

// textForProgrammers is what Go's transport of HTTP/2 adds for who wrote the program: it
// leads an operator nowhere.
const textForProgrammers = "; define Request.GetBody to avoid this error"

// errorWords is the innermost error, for a line of evidence.
func errorWords(err error) string { return withoutSecrets(innermost(err)) }

// ofClient says that an error is of the client's side: reading the request's body
// failed, which a transport hands on in wrappers of its own, or writing the answer.
func ofClient(h *listen.Heard, err error) bool {
	for _, own := range [...]error{h.Client.BodyErr, h.Client.WriteErr} {
		if own != nil && (errors.Is(err, own) || innermost(err) == innermost(own)) {
			return true
		}
	}
	return false
}

// clientError is what is kept of an error of the client's side: the innermost alone,
// because the others name the client's address, and nothing of what it quotes, which is of
// the request's body.
func clientError(err error) string {
	return eachQuote(errorWords(err), func(string) string { return strconv.Quote(failure.Redacted) })
}

// eachQuote puts something else in the place of all that a text quotes.
func eachQuote(text string, instead func(said string) string) string {
	var b strings.Builder
	for q := range failure.Quotes(text) {
		b.WriteString(q.Before)
		if q.Quoted != "" {
			b.WriteString(instead(q.Said))
		}
	}
	return b.String()
}

// proxyPhrase is a forward proxy's own where it opened no tunnel: net/http makes an
// error of the reason phrase alone.
func proxyPhrase(err error) string {
	text := innermost(err)
	if statusNamed(text) != 0 {
		return text
	}
	if fmt.Sprintf("%T", root(err)) == "*errors.errorString" && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(text, `"`) {
		return said(text) // errors of Go's and of the system's have other types
	}
	return cut(withoutCredentials(withoutSecrets(text)), maxQuoted)
}

// said quotes what an upstream sent: not much of it, and nothing that a credential's
// name stands before.
func said(text string) string {
	return quote([]byte(withoutCredentials(withoutURLSecrets(text, true))))
}

// saidToAnother quotes less of it: what came over a connection that another client had
// before may be that one's.
func saidToAnother(text string) string {
	if len(text) > maxToAnother {
		return strconv.Quote(text[:maxToAnother]) + "…"
	}
	return said(text)
}

// withoutSecrets takes out of an error's text what is not kept: passwords and queries
// of URLs, and of what an upstream sent, which errors quote, what said leaves out.
func withoutSecrets(text string) string {
	text = strings.ToValidUTF8(text, "�")
	if own, phrase, ok := strings.Cut(text, textQUICRemote+": "); ok && !strings.Contains(own, `"`) {
		// What QUIC's peer says of its error is not quoted.
		if !isAlertText(phrase) {
			phrase = said(phrase)
		}
		return withoutSecrets(own) + textQUICRemote + ": " + phrase
	}
	if before, lengths, ok := strings.Cut(text, textH3Lengths); ok && !isNumber(strings.Replace(strings.TrimSuffix(lengths, ")"), " and ", "", 1)) {
		return withoutSecrets(before) + textH3Lengths + failure.Redacted + ")" // nor does HTTP/3 quote these
	}
	if !strings.Contains(text, `"`) {
		return withoutURLSecrets(text, false)
	}
	var b strings.Builder
	password := false // of a URL that can't be parsed: what comes then repeats parts of it
	number := false
	for q := range failure.Quotes(text) {
		b.WriteString(withoutURLSecrets(q.Before, false))
		if q.Quoted == "" {
			break
		}
		if strings.TrimSpace(q.Before) != "" { // else it is another of several
			number = wantsNumber(q.Before)
		}
		switch {
		case password, labelled(q.Before), number && !isNumber(q.Said):
			b.WriteString(strconv.Quote(failure.Redacted))
		case strings.HasSuffix(q.Before, "parse "):
			var url string
			url, password = withoutPassword(q.Said)
			b.WriteString(said(url))
		case isAlgorithmText(q.Said):
			b.WriteString(strconv.Quote(q.Said))
		default:
			b.WriteString(said(q.Said))
		}
	}
	return b.String()
}

// isAlertText says that a text is Go's for one of TLS's alerts, which is nobody's own.
func isAlertText(text string) bool {
	for alert := range 256 {
		if text == tls.AlertError(alert).Error() {
			return true
		}
	}
	return false
}

// isAlgorithmText says that a text is Go's for an algorithm of signatures that it does not
// take, which looks as if it had a signature in it and is nobody's own.
func isAlgorithmText(text string) bool {
	for algorithm := range x509.PureEd25519 + 1 {
		if text == x509.InsecureAlgorithmError(algorithm).Error() {
			return true
		}
	}
	return text == x509.ErrUnsupportedAlgorithm.Error()
}

// withoutPassword takes the password out of a URL that could not be parsed, if it may
// have one. Go gives none of what comes after a #, where the host may be.
func withoutPassword(url string) (without string, had bool) {
	start := 0
	if scheme := strings.Index(url, "://"); scheme >= 0 {
		start = scheme + len("://")
	}
	if user := strings.LastIndexByte(url[start:], '@'); user >= 0 {
		return url[:start] + failure.Redacted + url[start+user:], true
	}
	host, port, ok := strings.Cut(url[start:], ":")
	if ok && strings.Trim(port, "0123456789") != "" {
		return url[:start] + host + ":" + failure.Redacted, true
	}
	return url, false
}

// labelled says that what comes next is a credential, because its name and a colon or
// an equals sign came before.
func labelled(before string) bool {
	before = strings.TrimRight(before, " ")
	name := strings.TrimRight(before, ":=")
	if name == before {
		return false
	}
	start := strings.LastIndexFunc(name, func(r rune) bool { return !isNameRune(r) }) + 1
	return failure.IsCredential(name[start:])
}

// textH3Lengths is quic-go's, before two lengths of one answer.
const textH3Lengths = "contradicting content lengths ("

// numbers are what stands before a quote of what should be a number. Whatever else it is,
// its label was cut off: a line "Bearer x" has the status x.
var numbers = []string{"status code", "version", "length", "length headers; got [", "parsing"}

// wantsNumber says that what comes next should be a number.
func wantsNumber(before string) bool {
	before = strings.ToLower(strings.TrimRight(before, " :"))
	return slices.ContainsFunc(numbers, func(label string) bool { return strings.HasSuffix(before, label) })
}

// isNumber says that a quote can be nothing but a number, or a version of HTTP.
func isNumber(quoted string) bool {
	return strings.Trim(strings.TrimPrefix(quoted, "HTTP/"), "0123456789+-., ") == ""
}

// withoutCredentials takes out what comes after the name of a credential.
func withoutCredentials(text string) string {
	for rest := text; rest != ""; {
		name := rest
		if end := strings.IndexFunc(rest, func(r rune) bool { return !isNameRune(r) }); end >= 0 {
			name = rest[:end]
		}
		if name == "" {
			_, size := utf8.DecodeRuneInString(rest)
			rest = rest[size:]
			continue
		}
		before := text[:len(text)-len(rest)]
		rest = rest[len(name):]
		if !failure.IsCredential(name) {
			if n := schemeCredentials(name, rest); n > 0 {
				text = before + name + " " + failure.Redacted + rest[n:]
				rest = rest[n:]
			}
			continue
		}
		if len(name) > maxName {
			return before + failure.Redacted
		}
		value := strings.TrimLeft(rest, " \t\r\n:=\"'")
		if value == "" {
			return text
		}
		separator := rest[:len(rest)-len(value)]
		if !strings.ContainsAny(separator, ":=") && !slices.Contains(bareNames, strings.ToLower(name)) {
			continue
		}
		return text[:len(text)-len(value)] + failure.Redacted
	}
	return text
}

// schemes are those of authentication (RFC 9110 section 11.1) that bear no credential's
// name themselves.
var schemes = []string{"basic", "digest", "negotiate", "ntlm"}

// schemeCredentials is how much of rest are the credentials of a scheme, 0 where it is
// none, or a sentence goes on: "Basic authentication".
func schemeCredentials(scheme, rest string) int {
	value := strings.TrimLeft(rest, " \t:/=\"")
	if len(value) == len(rest) || !slices.Contains(schemes, strings.ToLower(scheme)) {
		return 0
	}
	end := strings.IndexFunc(value, func(r rune) bool { return !isNameRune(r) && !strings.ContainsRune("~+/=", r) }) // token68
	if end < 0 {
		end = len(value)
	}
	if strings.Trim(value[1:max(1, end)], "abcdefghijklmnopqrstuvwxyz") == "" {
		return 0
	}
	return len(rest) - len(value) + end
}

// bareNames are those after which a credential may stand with nothing but a blank
// between; others are words of a sentence there: Redis's "NOAUTH Authentication
// required".
var bareNames = []string{"authorization", "bearer", "cookie", "password", "proxy-authorization", "secret", "set-cookie", "token"}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
}

// withoutURLSecrets takes user and query out of the URLs in a text. What stands in
// quotes may have blanks in it, and a password that breaks the rules slashes and more.
func withoutURLSecrets(text string, quoted bool) string {
	scheme := strings.Index(text, "://")
	if scheme < 0 {
		text = withoutUserInfo(text)
		if quoted && strings.HasPrefix(text, "/") {
			return withoutQuery(text)
		}
		return text
	}
	start, end := scheme+len("://"), len(text)
	if !quoted {
		if blank := strings.IndexAny(text[start:], blanks); blank >= 0 {
			end = start + blank
		}
	}
	url := text[start:end]
	if user := strings.LastIndexByte(url, '@'); user >= 0 {
		url = failure.Redacted + url[user:]
	}
	return withoutUserInfo(text[:start]) + withoutQuery(url) + withoutURLSecrets(text[end:], quoted)
}

const blanks = " \t\r\n"

// withoutUserInfo takes name and password out of what is a URL without a scheme:
// name:secret@host.
func withoutUserInfo(text string) string {
	at := strings.IndexByte(text, '@')
	if at < 0 {
		return text
	}
	start, end := strings.LastIndexAny(text[:at], blanks)+1, len(text)
	if next := strings.IndexAny(text[at:], blanks); next >= 0 {
		end = at + next
	}
	word := text[start:end]
	if user := strings.LastIndexByte(word, '@'); strings.Contains(word[:user], ":") {
		word = failure.Redacted + word[user:]
	}
	return text[:start] + word + withoutUserInfo(text[end:])
}

func withoutQuery(url string) string {
	if query := strings.IndexAny(url, "?#"); query >= 0 && query+1 < len(url) {
		return url[:query+1] + failure.Redacted
	}
	return url
}

// quote writes bytes so that nothing in them can do harm, and not many of them.
func quote(b []byte) string {
	if len(b) > maxQuoted {
		return fmt.Sprintf("%q…", b[:maxQuoted])
	}
	return fmt.Sprintf("%q", b)
}

// cut keeps a text to so many bytes, the mark of the cut included.
func cut(text string, most int) string {
	const mark = "…"
	if len(text) <= most {
		return text
	}
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}
