package redact

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const (
	// maxSentBytes bounds what is looked at of what a client sent. Who sends more is
	// taken to have sent everything.
	maxSentBytes = 32 << 10
	// maxMadeBytes is more than a host or a socket's path can have: what is longer was
	// sent.
	maxMadeBytes = 512
)

// Came is a request as it came, and what the record keeps of it.
type Came struct {
	// Request has method and URI as the client sent them, Fields has its header so.
	Request *http.Request
	Fields  http.Header
	// SentOn are the headers that were sent on to upstreams: the owner's own credentials
	// are in them.
	SentOn []http.Header
	// ClientIP is the client's address, which is not the peer's where that is a proxy.
	ClientIP string
	Kept     *failure.Request
}

// client is what a client sent, and what the record shows of it, both in lower case.
type client struct {
	sent, shown string
	words       []string // the values that were sent, and the words in them
	tooMuch     bool
	came        Came
}

func clientOf(came Came) *client {
	c := &client{shown: ofBrowsers, came: came}
	var sent strings.Builder
	add := func(text string) {
		if sent.Len()+len(text) > maxSentBytes {
			c.tooMuch = true
			return
		}
		sent.WriteString(strings.ToLower(text))
		sent.WriteByte('\n')
	}
	r := came.Request
	add(r.RequestURI)
	add(r.URL.Path)
	if query, err := url.QueryUnescape(r.URL.RawQuery); err == nil {
		add(query)
	}
	add(r.Host)
	add(hostOnly(r.RemoteAddr))
	add(came.ClientIP)
	if user, password, ok := (&http.Request{Header: came.Fields}).BasicAuth(); ok {
		add(user)
		add(password)
	}
	for _, values := range came.Fields {
		for _, value := range values {
			add(value)
		}
	}
	c.sent = sent.String()
	for _, ends := range []func(rune) bool{endsValue, notInWord} {
		for word := range strings.FieldsFuncSeq(c.sent, ends) {
			if minWordBytes <= len(word) && len(word) <= maxMadeBytes {
				c.words = append(c.words, word)
			}
		}
	}

	kept := came.Kept
	shown := []string{c.shown, kept.Method, kept.Host, kept.URI, kept.RemoteIP, kept.ClientIP}
	if uri, err := url.QueryUnescape(kept.URI); err == nil {
		shown = append(shown, uri)
	}
	for _, values := range kept.Headers {
		shown = append(shown, values...)
	}
	c.shown = strings.ToLower(strings.Join(shown, "\n"))
	return c
}

// ofBrowsers is what browsers send to everyone.
const ofBrowsers = "text/html,application/xhtml+xml,application/xml,image/avif,image/webp,image/apng,image/svg+xml,image/png,application/signed-exchange," +
	"application/json,text/plain,text/css,text/javascript,application/javascript,application/x-www-form-urlencoded,multipart/form-data,charset=utf-8," +
	"gzip,deflate,identity,keep-alive,upgrade,websocket,trailers,no-cache,no-store,max-age,same-origin,same-site,cross-site,none,navigate,cors,no-cors," +
	"document,empty,script,style,image,font,iframe,audio,video,xmlhttprequest,https"

// made says whether a text may have been made of what the client sent and the record
// doesn't show: a word of one stands in the other. literal is what the config itself has
// of it.
func (c *client) made(text, literal string) bool {
	if c.tooMuch || len(text) > maxMadeBytes {
		return true
	}
	host := strings.ToLower(text)
	if before, _, err := net.SplitHostPort(host); err == nil {
		host = before
	}
	literal = strings.ToLower(literal)
	secret := func(word string) bool {
		return len(word) >= minWordBytes && !strings.Contains(c.shown, word) && !strings.Contains(literal, word)
	}
	came := func(word string) bool { return secret(word) && strings.Contains(c.sent, word) }
	within := func(word string) bool { return strings.Contains(host, word) && secret(word) }
	if name, err := idna.ToUnicode(host); err == nil && name != host && c.made(name, literal) { // it was sent in letters of its own
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" { // the numbers in it are in many texts
		return came(host) || slices.ContainsFunc(c.words, func(word string) bool { return strings.ContainsAny(word, ".:") && within(word) })
	}
	return came(host) || slices.ContainsFunc(strings.FieldsFunc(host, notInWord), came) || slices.ContainsFunc(c.words, within)
}

// endsValue says that a value ends here, in a query, a cookie or a list.
func endsValue(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`&=;,"`, r) }

func notInWord(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
