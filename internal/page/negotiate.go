package page

import (
	"net/http"
	"strconv"
	"strings"
)

// form is what kind of answer a request can use.
type form int

const (
	formText    form = iota
	formBare         // a status and no body
	formHTML         // text/html
	formSmall        // text/html within another page
	formProblem      // application/problem+json, RFC 9457
	formGRPC         // wire status 200, trailers only
)

// maxRanges is how many media ranges of Accept are looked at; browsers send
// about eight.
const maxRanges = 32

// formFor decides the form from the request alone. HTML is only for who asks for
// it by name: many API clients send */*.
func formFor(r *http.Request) form {
	switch {
	case isUpgrade(r):
		return formBare
	case hasFoldPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		return formGRPC
	case isSubresource(r.Header.Get("Sec-Fetch-Dest")):
		return formBare
	}

	best, bestQ, looked := formText, 0.0, 0
	for _, field := range r.Header["Accept"] {
		for rest := field; rest != "" && looked < maxRanges; looked++ {
			var mediaRange string
			mediaRange, rest, _ = strings.Cut(rest, ",")
			mediaType, parameters, _ := strings.Cut(mediaRange, ";")
			offered, named := formOf(strings.TrimSpace(mediaType))
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
	if best == formHTML && isFramed(r.Header.Get("Sec-Fetch-Dest")) {
		return formSmall
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

// formOf says what a media range asks for, and whether it names a type that
// we have or that wants no body.
func formOf(mediaRange string) (offered form, named bool) {
	switch {
	case strings.EqualFold(mediaRange, "text/html"):
		return formHTML, true
	case strings.EqualFold(mediaRange, "application/json"), hasFoldSuffix(mediaRange, "+json"):
		return formProblem, true
	case strings.EqualFold(mediaRange, "text/plain"), strings.EqualFold(mediaRange, "text/*"):
		return formText, true
	case hasFoldPrefix(mediaRange, "image/"),
		hasFoldPrefix(mediaRange, "font/"),
		hasFoldPrefix(mediaRange, "audio/"),
		hasFoldPrefix(mediaRange, "video/"),
		strings.EqualFold(mediaRange, "text/css"),
		strings.EqualFold(mediaRange, "text/javascript"),
		strings.EqualFold(mediaRange, "application/javascript"):
		return formBare, true
	default:
		return formText, false
	}
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
// or a tunnel (also RFC 8441's extended CONNECT).
func isUpgrade(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return true
	}
	if r.Header.Get("Upgrade") == "" {
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
