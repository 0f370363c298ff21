package page

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

// stale are the fields that describe another body than ours: an answer that was
// held back may have left them.
var stale = []string{
	"Accept-Ranges", "Age", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language",
	"Content-Length", "Content-Location", "Content-Md5", "Content-Range", "Digest", "Etag", "Expires",
	"Last-Modified", "Repr-Digest", "Trailer", "Transfer-Encoding",
}

func dropStale(h http.Header) {
	for name := range h { // there are few, when an answer begins
		if slices.Contains(stale, name) {
			delete(h, name)
		}
	}
}

// own are the fields of an answer that must leave as they are. What describes the body
// as it is sent (its length, its coding) is not among them: `encode` changes that.
type own struct {
	fields []field
	// operators says that only the operator may see the answer.
	operators bool
	// depends are the fields of the request that the answer depends on, for Vary.
	depends []string
	// varies says that it depends on Accept-Language, too.
	varies bool
}

type field struct{ name, value string }

// set adds a field; its name is canonical.
func (o *own) set(name, value string) { o.fields = append(o.fields, field{name, value}) }

// apply sets the fields in h, and takes out what would undo them.
func (o *own) apply(h http.Header) {
	for name := range h {
		if o.undoneBy(name) {
			delete(h, name)
		}
	}
	values := make([]string, len(o.fields), len(o.fields)+len(o.depends)+1) // one piece of memory for all: an answer has about ten
	for i, f := range o.fields {
		values[i] = f.value
		h[f.name] = values[i : i+1 : i+1]
	}
	if o.operators { // whose Vary is among the fields
		return
	}
	if len(h["Vary"]) > 0 {
		for _, name := range o.depends {
			addVary(h, name)
		}
		if o.varies {
			addVary(h, acceptLanguage)
		}
		return
	}
	vary := append(values, o.depends...)
	if o.varies {
		vary = append(vary, acceptLanguage)
	}
	if vary = vary[len(values):]; len(vary) > 0 {
		h["Vary"] = vary
	}
}

const acceptLanguage = "Accept-Language"

// undoneBy says whether a field of that name would change what ours say: the same in
// other letters, one that caches heed before Cache-Control (RFC 9213), or what shows an
// operator's answer to the pages of other sites.
func (o *own) undoneBy(name string) bool {
	canonical := http.CanonicalHeaderKey(name)
	if canonical != name && slices.ContainsFunc(o.fields, func(f field) bool { return f.name == canonical }) {
		return true
	}
	switch canonical {
	case "Surrogate-Control", "X-Accel-Expires":
		return true
	}
	return strings.HasSuffix(canonical, "-Cache-Control") ||
		o.operators && (strings.HasPrefix(canonical, "Access-Control-") || canonical == "Timing-Allow-Origin")
}

// addVary adds a field's name to Vary unless it is there.
func addVary(h http.Header, name string) {
	for _, value := range h["Vary"] {
		for listed := range strings.SplitSeq(value, ",") {
			listed = strings.TrimSpace(listed)
			if listed == "*" || strings.EqualFold(listed, name) {
				return
			}
		}
	}
	h.Add("Vary", name)
}

// nothingAllowed is the policy of an operator's answer that is no page.
const nothingAllowed = "default-src 'none'; frame-ancestors 'none'"

// policyOf allows a page its own style, images in data: URIs, its own script, which may ask
// the site itself, and nothing else.
func policyOf(style template.CSS, script template.JS) string {
	policy := "default-src 'none'; style-src " + hashOf(string(style)) + "; img-src data:; base-uri 'none'; form-action 'none'"
	if script != "" {
		policy += "; script-src " + hashOf(string(script)) + "; connect-src 'self'"
	}
	return policy
}

// hashOf is how a policy names what is part of the page.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
