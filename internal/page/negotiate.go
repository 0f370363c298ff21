package page

import (
	"net/http"
	"strconv"
	"strings"
)

// form is what kind of answer a request can use.
type form int

const (
	formText          form = iota
	formBare               // a status and no body
	formHTML               // text/html
	formSmall              // text/html within another page
	formProblem            // application/problem+json, RFC 9457
	formGraphQL            // application/graphql-response+json
	formGRPC               // wire status 200, trailers only
	formGRPCWeb            // wire status 200, the trailers in the body
	formGRPCWebText        // the same in base64
	formConnect            // an error of a unary call: application/json
	formConnectStream      // wire status 200, an error that ends the stream
)

// typeRule says what form a media type asks for: one that is so called, or that begins
// or ends so.
type typeRule struct {
	matches func(mediaType, name string) bool
	name    string
	form    form
}

// acceptedTypes are those of Accept that name a form; the first rule that fits counts.
var acceptedTypes = []typeRule{
	{strings.EqualFold, "text/html", formHTML},
	{strings.EqualFold, "application/graphql-response+json", formGraphQL},
	{strings.EqualFold, "application/json", formProblem},
	{hasFoldSuffix, "+json", formProblem},
	{strings.EqualFold, "text/plain", formText},
	{strings.EqualFold, "text/*", formText},
	// What can't show text: an EventSource looks at the status, and so do the rest.
	{strings.EqualFold, "text/event-stream", formBare},
	{hasFoldPrefix, "image/", formBare},
	{hasFoldPrefix, "font/", formBare},
	{hasFoldPrefix, "audio/", formBare},
	{hasFoldPrefix, "video/", formBare},
	{strings.EqualFold, "text/css", formBare},
	{strings.EqualFold, "text/javascript", formBare},
	{strings.EqualFold, "application/javascript", formBare},
}

// sentTypes are those of the requests of RPC protocols, whose clients can read an answer
// of the same type alone.
var sentTypes = []typeRule{
	{hasFoldPrefix, "application/grpc-web-text", formGRPCWebText},
	{hasFoldPrefix, "application/grpc-web", formGRPCWeb},
	{hasFoldPrefix, "application/grpc", formGRPC},
	{hasFoldPrefix, "application/connect+", formConnectStream},
	// Others send these, too, JSON-RPC among them: see isConnect.
	{strings.EqualFold, "application/json", formConnect},
	{strings.EqualFold, "application/proto", formConnect},
}

// formOf is what a media type asks for by the rules, if there is one for it.
func formOf(rules []typeRule, mediaType string) (asked form, named bool) {
	for _, rule := range rules {
		if rule.matches(mediaType, rule.name) {
			return rule.form, true
		}
	}
	return formText, false
}

// choice is a form, and what it was chosen by.
type choice struct {
	form form
	// mediaType is the type that an RPC's client asks for.
	mediaType string
	// by are the fields of the request that the choice depended on, for Vary. Upgrade and
	// Connection, which no cache sees, are not among them, nor is it said of other forms
	// that no RPC's Content-Type was there: what can be cached has none.
	by []string
}

var (
	byAccept      = []string{"Accept", "Sec-Fetch-Dest"}
	byDestination = []string{"Sec-Fetch-Dest"}
	bySent        = []string{"Content-Type"}
	bySentAccept  = []string{"Content-Type", "Accept"}
	bySentVersion = []string{"Content-Type", "Connect-Protocol-Version"}
)

// maxRanges is how many media ranges of Accept are looked at; browsers send
// about eight.
const maxRanges = 32

// choose decides the form from the request alone. HTML is only for who asks for
// it by name: many API clients send */*.
func choose(r *http.Request) choice {
	if isUpgrade(r) {
		return choice{form: formBare}
	}
	if rpc, ok := chooseRPC(r); ok {
		return rpc
	}
	destination := r.Header.Get("Sec-Fetch-Dest")
	if isSubresource(destination) {
		return choice{form: formBare, by: byDestination}
	}
	accepted := bestAccepted(r.Header["Accept"])
	if accepted == formHTML && isFramed(destination) {
		accepted = formSmall
	}
	return choice{form: accepted, by: byAccept}
}

// chooseRPC is the choice for a call of gRPC, gRPC-Web or Connect.
func chooseRPC(r *http.Request) (choice, bool) {
	if isConnectGet(r) {
		return choice{form: formConnect}, true
	}
	sent := withoutParameters(r.Header.Get("Content-Type"))
	asked, ok := formOf(sentTypes, sent)
	switch {
	case !ok:
		return choice{}, false
	case asked == formConnect:
		return choice{asked, sent, bySentVersion}, r.Header.Get("Connect-Protocol-Version") == "1"
	case asked == formGRPCWeb, asked == formGRPCWebText:
		// In base64 where Accept says so, "e.g. when XHR is used":
		// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md.
		accepted, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
		accepted = withoutParameters(accepted)
		if web, _ := formOf(sentTypes, accepted); web == formGRPCWeb || web == formGRPCWebText {
			asked, sent = web, accepted
		}
		return choice{asked, sent, bySentAccept}, true
	default:
		return choice{asked, sent, bySent}, true
	}
}

// isConnectGet says whether a request is a unary call by GET, which its query tells:
// https://connectrpc.com/docs/protocol#unary-get-request.
func isConnectGet(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	version, encoding := false, false
	for parameter := range strings.SplitSeq(r.URL.RawQuery, "&") {
		switch {
		case parameter == "connect=v1":
			version = true
		case strings.HasPrefix(parameter, "encoding="):
			encoding = true
		}
	}
	return version && encoding
}

// bestAccepted is the form that Accept prefers.
func bestAccepted(fields []string) form {
	best, bestQ, looked := formText, 0.0, 0
	for _, field := range fields {
		for rest := field; rest != "" && looked < maxRanges; looked++ {
			var mediaRange string
			mediaRange, rest, _ = strings.Cut(rest, ",")
			mediaType, parameters, _ := strings.Cut(mediaRange, ";")
			offered, named := formOf(acceptedTypes, strings.TrimSpace(mediaType))
			q := quality(parameters)
			if offered == formText && !named {
				q /= 2 // of equals, one that is named is meant rather than */*
			}
			// Of equals the first one wins: axios asks for JSON by
			// "application/json, text/plain, */*".
			if q > bestQ {
				best, bestQ = offered, q
			}
		}
	}
	return best
}

// isFramed says whether a page is loaded into a part of another.
func isFramed(destination string) bool {
	switch strings.ToLower(destination) {
	case "iframe", "frame", "embed", "object":
		return true
	default:
		return false
	}
}

// withoutParameters is a media type alone.
func withoutParameters(mediaType string) string {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	return strings.TrimSpace(mediaType)
}

// quality is the q parameter, 1 without one. What can't be read counts as 0, so
// that nobody gets what they didn't ask for.
func quality(parameters string) float64 {
	for rest := parameters; rest != ""; {
		var parameter string
		parameter, rest, _ = strings.Cut(rest, ";")
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// isUpgrade says whether the client wants another protocol on this connection,
// or a tunnel (also RFC 8441's extended CONNECT). Who offers h2c, as Java's client and
// `curl --http2` do by themselves, reads an answer in HTTP/1.1 as well.
func isUpgrade(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return true
	}
	if to := r.Header.Get("Upgrade"); to == "" || strings.EqualFold(to, "h2c") {
		return false
	}
	for _, field := range r.Header["Connection"] {
		for option := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.TrimSpace(option), "upgrade") {
				return true
			}
		}
	}
	return false
}

// isSubresource says whether a browser loads something that can't show text.
// The names are those of the Fetch standard's request destinations.
func isSubresource(destination string) bool {
	switch strings.ToLower(destination) {
	case "audio", "audioworklet", "font", "image", "json", "manifest", "paintworklet", "script",
		"serviceworker", "sharedworker", "style", "text", "track", "video", "worker", "xslt":
		return true
	default:
		return false
	}
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasFoldSuffix(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
