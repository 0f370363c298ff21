package redact

import (
	"iter"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// What a client sent can come back: an upstream that answers with something else than HTTP
// may send the request's credentials in it, and a record quotes some of that. It is found
// by what both have in common, whatever stands around it and wherever it was cut.

// minCommonBytes is the shortest part of what the client sent that is looked for in what
// came back: shorter ones are in any sentence.
const minCommonBytes = 8

// back is what must not come back, folded.
type back struct {
	// asked are the credentials, the query, the cookies and the client's own fields. They
	// are looked for where an upstream is quoted, for they may have words of ours in them.
	asked *grams
	// literal is the same as it came: some parts of it are shorter when they are decoded.
	literal *grams
	// shown is what the record has of the request anyway.
	shown string
}

// mayQuote says that a record may have texts of an upstream's: in quotes, or as fields of
// its answer.
func mayQuote(f *failure.Failure) bool {
	within := f.Received != nil
	eachText(f, func(text *string, _ bool) { within = within || strings.Contains(*text, `"`) })
	return within
}

// back is what of the request the record doesn't have.
func (s *Sent) back() *back {
	c := s.client()
	asked := credentialsOf(c.came.Fields)
	for _, header := range c.came.SentOn {
		asked = append(asked, credentialsOf(header)...)
	}
	for _, sign := range []string{"?", ";"} {
		if _, behind, ok := strings.Cut(c.came.Request.RequestURI, sign); ok {
			asked = append(asked, behind)
		}
	}
	if s.rules.clientIP != ClientIPFull {
		asked = append(asked, hostOnly(c.came.Request.RemoteAddr), c.came.ClientIP)
	}
	for field, values := range c.came.Fields {
		if !isOpen(field) {
			asked = append(asked, values...)
		}
	}
	return &back{gramsOf(foldAll(asked, fold)), gramsOf(foldAll(asked, lowered)), c.shown}
}

// openFields are those that say what is asked for and how, and openBeginnings how others
// begin: what an upstream says of them is no secret.
var (
	openFields = []string{
		"Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Dnt", "Expect", "Host", "Keep-Alive", "Origin", "Pragma",
		"Priority", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Requested-With",
	}
	openBeginnings = []string{"Accept", "Access-Control-Request-", "If-", "Sec-Ch-", "Sec-Fetch-", "Sec-Websocket-Version", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto"}
)

func isOpen(field string) bool {
	return slices.Contains(openFields, field) || slices.ContainsFunc(openBeginnings, func(begins string) bool { return strings.HasPrefix(field, begins) })
}

// credentialsOf are the credentials in a header: what stands in fields that are called so,
// without the scheme of authentication, and the password of the Basic one (RFC 7617).
func credentialsOf(header http.Header) []string {
	var all []string
	for field, values := range header {
		if field == "Cookie" || !failure.IsCredential(field) {
			continue
		}
		for _, value := range values {
			if _, credentials, ok := strings.Cut(value, " "); ok && strings.HasSuffix(field, "Authorization") {
				value = credentials
			}
			all = append(all, value)
		}
	}
	if len(header["Cookie"]) > 0 {
		for _, cookie := range (&http.Request{Header: header}).Cookies() {
			if failure.IsCredential(cookie.Name) {
				all = append(all, cookie.Value)
			}
		}
	}
	if user, password, ok := (&http.Request{Header: header}).BasicAuth(); ok {
		all = append(all, user+":"+password)
	}
	return all
}

// takeOut takes out of a text what came back; quoted says that all of it is an upstream's.
func (b *back) takeOut(text *string, quoted bool) {
	if quoted {
		*text = b.without(*text)
		return
	}
	*text = inQuotesOf(*text, b.without)
}

// without takes out of a text what it has in common with these secrets.
func (b *back) without(text string) string {
	return b.withoutCommon(b.withoutCommon(text, b.asked, fold), b.literal, lowered)
}

func (b *back) withoutCommon(text string, secrets *grams, fold func(text string) (folded string, at []int)) string {
	if len(secrets.text) < minCommonBytes || len(text) < minCommonBytes {
		return text
	}
	folded, at := fold(text)
	var kept strings.Builder
	done := 0
	for i, seen := range secrets.seen(folded) {
		if at[i] < done || !seen {
			continue
		}
		n := secrets.common(folded[i:])
		if n == 0 || strings.Contains(b.shown, folded[i:i+n]) {
			continue
		}
		if at[i] > done || done == 0 { // else it goes on elsewhere in the secrets
			kept.WriteString(text[done:at[i]])
			kept.WriteString(failure.Redacted)
		}
		done = at[i+n]
	}
	if done == 0 {
		return text
	}
	return kept.String() + text[done:]
}

// grams are the parts of minCommonBytes that a text has, as a set that may have more: who
// sends much must not make the search in it dear.
type grams struct {
	text string
	bits []uint64
}

// bitsOfGram keeps the set so thin that a few parts in a hundred are in it by chance.
const bitsOfGram = 16

func gramsOf(text string) *grams {
	g := &grams{text: text}
	if len(text) < minCommonBytes {
		return g
	}
	g.bits = make([]uint64, max(1, 1<<bits.Len(uint(len(text)*bitsOfGram))/64))
	for _, gram := range eachGram(text) {
		at := g.place(gram)
		g.bits[at/64] |= 1 << (at % 64)
	}
	return g
}

func (g *grams) place(gram uint64) uint64 {
	return gram * 0x9e3779b97f4a7c15 >> 20 % uint64(len(g.bits)*64) // the golden ratio spreads well
}

// seen says for each part of a text, by where it begins, whether it may be one of them.
func (g *grams) seen(text string) iter.Seq2[int, bool] {
	return func(yield func(int, bool) bool) {
		for i, gram := range eachGram(text) {
			at := g.place(gram)
			if !yield(i, g.bits[at/64]&(1<<(at%64)) != 0) {
				return
			}
		}
	}
}

// common is how many bytes of a text stand in this one, 0 where fewer than count.
func (g *grams) common(text string) int {
	at := strings.Index(g.text, text[:minCommonBytes])
	if at < 0 {
		return 0
	}
	n := minCommonBytes
	for n < len(text) && at+n < len(g.text) && g.text[at+n] == text[n] {
		n++
	}
	return n
}

// eachGram gives each part of a text as a number.
func eachGram(text string) iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		var gram uint64
		for i := range len(text) {
			gram = gram>>8 | uint64(text[i])<<56
			if begins := i + 1 - minCommonBytes; begins >= 0 && !yield(begins, gram) {
				return
			}
		}
	}
}

// maxEncoded is how often a text may have been percent-encoded and still is found.
const maxEncoded = 3

// fold makes equal what is the same in capitals or not, and percent-encoded or not; at is
// where each byte of it begins in text, and where the last one ends.
func fold(text string) (folded string, at []int) {
	b, at := []byte(text), make([]int, len(text)+1)
	for i := range at {
		at[i] = i
	}
	for range maxEncoded {
		n := 0
		for i := 0; i < len(b); i, n = i+1, n+1 {
			from := at[i]
			letter := b[i]
			if letter == '%' && i+2 < len(b) {
				if code, err := strconv.ParseUint(string(b[i+1:i+3]), 16, 8); err == nil {
					letter = byte(code)
					i += 2
				}
			}
			b[n], at[n] = letter, from
		}
		at[n] = len(text)
		if n == len(b) {
			break
		}
		b, at = b[:n], at[:n+1]
	}
	for i, letter := range b {
		if b[i] = lower(letter); letter == '+' { // a blank in a query
			b[i] = ' '
		}
	}
	return string(b), at
}

// lowered makes equal what is the same in capitals or not.
func lowered(text string) (folded string, at []int) {
	b, at := []byte(text), make([]int, len(text)+1)
	for i, letter := range b {
		b[i], at[i] = lower(letter), i
	}
	at[len(text)] = len(text)
	return string(b), at
}

func foldAll(texts []string, fold func(text string) (folded string, at []int)) string {
	var all strings.Builder
	for _, text := range texts {
		if all.Len()+len(text) > maxSentBytes {
			text = text[:max(0, maxSentBytes-all.Len())]
		}
		folded, _ := fold(text)
		all.WriteString(folded)
		all.WriteByte(0)
	}
	return all.String()
}

// inQuotesOf changes what stands in quotes, as Go writes them, in a text.
func inQuotesOf(text string, change func(said string) string) string {
	var b strings.Builder
	for q := range failure.Quotes(text) {
		b.WriteString(q.Before)
		switch changed := change(q.Said); {
		case changed == q.Said:
			b.WriteString(q.Quoted)
		case q.Cut:
			b.WriteString(`"` + failure.Visible(changed))
		default:
			b.WriteString(strconv.Quote(changed))
		}
	}
	return b.String()
}
