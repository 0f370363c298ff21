package redact

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// What a client sent can come back: an upstream that answers with something else than
// HTTP may send the request's credentials in it, and a record quotes some of that.

// minBackBytes is the shortest value of the client's that is looked for in what came
// back: shorter ones are words of any sentence.
const minBackBytes = 8

// mayQuote says that a record may have texts of an upstream's: in quotes, as fields of
// its answer, or as what HTTP/2 and HTTP/3 say in their errors.
func mayQuote(f *failure.Failure) bool {
	within := f.Received != nil
	eachText(f, func(text *string, _ bool) { within = within || strings.Contains(*text, `"`) })
	return within || slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool {
		return strings.HasPrefix(a.Protocol, "h2") || a.Protocol == "h3"
	})
}

// addSaidBack adds what the client sent, the record doesn't show of the request and may
// say of the upstream: credentials wherever they stand, other values where they stand in
// quotes.
func (s *Sent) addSaidBack(f *failure.Failure) {
	c := s.client()
	var said strings.Builder
	eachText(f, func(text *string, _ bool) {
		said.WriteString(strings.ToLower(*text))
		said.WriteByte('\n')
	})
	add := func(words *[]word, text string) {
		if len(text) < minBackBytes || len(text) > maxWordBytes || strings.Contains(c.shown, strings.ToLower(text)) {
			return
		}
		for _, form := range []string{text, failure.Visible(text), inQuotes(text), url.QueryEscape(text), url.PathEscape(text)} {
			// What is cut off after less than this tells nothing.
			if strings.Contains(said.String(), strings.ToLower(form[:min(len(form), minWordBytes)])) {
				addWord(words, form, failure.Redacted)
			}
		}
	}
	for _, value := range c.credentials {
		add(&s.words, value)
	}
	for _, value := range c.asked {
		add(&s.quoted, value)
	}
	longestFirst(s.words)
	longestFirst(s.quoted)
}

// credentialsOf are the client's credentials: what stands in fields that are called so,
// each part of it, and the password of Basic authentication (RFC 7617).
func credentialsOf(fields http.Header) []string {
	var all []string
	for field, values := range fields {
		if field == "Cookie" || !failure.IsCredential(field) {
			continue
		}
		for _, value := range values {
			all = append(all, value)
			all = append(all, strings.FieldsFunc(value, endsValue)...)
		}
	}
	if cookies := fields["Cookie"]; len(cookies) > 0 {
		for _, cookie := range (&http.Request{Header: http.Header{"Cookie": cookies}}).Cookies() {
			if failure.IsCredential(cookie.Name) {
				all = append(all, cookie.Value)
			}
		}
	}
	if user, password, ok := (&http.Request{Header: fields}).BasicAuth(); ok {
		all = append(all, password, user+":"+password)
	}
	return all
}

// askedOf are the values in the query and the path's parameters, in cookies and in the
// Referer. What is said of a connection in other fields, Upgrade's protocol or what is
// expected, is no secret.
func askedOf(came Came) []string {
	texts := append([]string{came.Request.RequestURI}, came.Fields["Cookie"]...)
	texts = append(texts, came.Fields["Referer"]...)
	var all []string
	for _, text := range texts {
		all = append(all, strings.FieldsFunc(text, endsValue)...)
		if decoded, err := url.QueryUnescape(text); err == nil && decoded != text {
			all = append(all, strings.FieldsFunc(decoded, endsValue)...)
		}
	}
	return all
}
