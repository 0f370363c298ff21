package diagnostics

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/text/language"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// Values of the fields that are one word of a few.
const (
	pagePublic  = "public"
	pageMinimal = "minimal"
	pageOff     = "off"

	retryAfterAuto = "auto"
	retryAfterOff  = "off"
)

// Bounds of what a config may say.
const (
	maxKeep = 100_000 // failures; README says what one takes in memory

	minKeepFor = time.Minute
	maxKeepFor = 8760 * time.Hour // a year

	minRetryAfter = time.Second
	maxRetryAfter = 24 * time.Hour

	maxLabelBytes    = 128
	maxURLBytes      = 2048
	maxKeptNames     = 64
	maxTemplateBytes = 1 << 20
	maxLogoBytes     = 64 << 10 // it is part of every page
)

// Validate says what is wrong with the config and what was expected. It is called
// after Provision, by which time the matchers of details have been loaded and their
// JSON is gone: loadDetails checks them.
func (h *Handler) Validate() error {
	_, retryAfterErr := h.retryAfter()
	return h.here(cmp.Or(
		checkLabel("site", h.Site),
		checkPage(h.Page),
		checkIntercept(h.Intercept, h.Page),
		h.Brand.validate(),
		retryAfterErr,
		checkProxyStatusName(h.ProxyStatusName),
		checkKeepQuery(h.KeepQuery),
		checkKeepHeaders(h.KeepHeaders),
		checkClientIP(h.ClientIP),
		checkLanguage(h.Language),
		checkLanguages(h.Languages),
	))
}

// Validate says what is wrong with the config and what was expected. A 0 stands for
// the default.
func (a *App) Validate() error {
	var keepErr, keepForErr error
	if a.Keep != 0 {
		keepErr = checkKeep(a.Keep)
	}
	if a.KeepFor != 0 {
		keepForErr = checkKeepFor(time.Duration(a.KeepFor))
	}
	return cmp.Or(keepErr, keepForErr, checkLabel("instance", a.Instance))
}

func (b *Brand) validate() error {
	if b == nil {
		return nil
	}
	return cmp.Or(
		checkBrandName(b.Name),
		b.checkLogoOnly(),
		checkSupport(b.Support),
		checkStatusPage(b.StatusPage),
	)
}

func checkKeep(n int) error {
	if n < 1 || n > maxKeep {
		return fmt.Errorf("keep %d is not a number of failures from 1 to %d", n, maxKeep)
	}
	return nil
}

func checkKeepFor(d time.Duration) error {
	if d < minKeepFor || d > maxKeepFor {
		return fmt.Errorf("keep_for %s is not a duration from 1m to 8760h", d)
	}
	return nil
}

// checkLabel checks a name that becomes a label of metrics and records, which is why
// it is the same for all requests.
func checkLabel(field, value string) error {
	if err := checkText(field, value); err != nil {
		return err
	}
	if strings.ContainsAny(value, "{}") {
		return fmt.Errorf("%s %q is not a plain name%s", field, value, notExpanded)
	}
	return nil
}

// notExpanded is what to do where a placeholder stands in a text that is the same for all
// requests.
const notExpanded = ": placeholders are not expanded here, {$NAME} in a Caddyfile is"

// placeholder is one of Caddy's, as {http.request.host}: it has a dot.
var placeholder = regexp.MustCompile(`\{[a-z_]+\.[^{}]+\}`)

// checkText checks a short text that people read.
func checkText(field, value string) error {
	if len(value) > maxLabelBytes {
		return fmt.Errorf("%s is %d bytes long, more than %d", field, len(value), maxLabelBytes)
	}
	if value != "" && strings.TrimSpace(value) == "" {
		return fmt.Errorf("%s %q is blank: leave it out for the default", field, value)
	}
	if !isPrintable(value) {
		return fmt.Errorf("%s %q is not printable text", field, value)
	}
	return nil
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func checkPage(page string) error {
	err := checkOneOf("page", page, pagePublic, pageMinimal, pageOff)
	if err != nil && strings.ContainsAny(page, "./") {
		return fmt.Errorf("%w: template <file> takes a page of your own", err)
	}
	return err
}

func checkClientIP(mode string) error {
	return checkOneOf("client_ip", mode, redact.ClientIPFull, redact.ClientIPMasked, redact.ClientIPOff)
}

// checkOneOf accepts "", the default, too.
func checkOneOf(field, value string, words ...string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%s %q is not one of %s%s", field, value, strings.Join(words, ", "), typo.DidYouMean(wordMeant(field, value, words)))
}

func checkIntercept(statuses []int, page string) error {
	for _, status := range statuses {
		if !isIntercepted(status) {
			return fmt.Errorf("intercept %d is not a status from 500 to 599, nor 5 for all of them%s", status, othersThan5xx(status))
		}
	}
	if len(statuses) > 0 && page == pageOff {
		return fmt.Errorf("intercept replaces an upstream's answer by the page, but page is off: remove one of the two")
	}
	return nil
}

// isIntercepted accepts the status of a server's error, and 5 for all of them.
func isIntercepted(status int) bool { return status == 5 || status >= 500 && status <= 599 }

// othersThan5xx says of other statuses what to do about them.
func othersThan5xx(status int) string {
	if status >= 1 && status <= 4 || status >= 100 && status <= 499 {
		return ": other answers of an upstream are left alone (Caddy's own intercept directive can replace them)"
	}
	return ""
}

// retryPolicy is when Retry-After is sent; the zero value never does.
type retryPolicy struct {
	// auto sends it where the cause passes by itself.
	auto bool
	// fixed is sent always; 0 where it isn't fixed.
	fixed time.Duration
}

// retryAfter parses the setting: once, when the config is loaded.
func (h *Handler) retryAfter() (retryPolicy, error) { return parseRetryAfter(h.RetryAfter) }

func parseRetryAfter(s string) (retryPolicy, error) {
	switch s {
	case "", retryAfterAuto:
		return retryPolicy{auto: true}, nil
	case retryAfterOff:
		return retryPolicy{}, nil
	}
	d, err := caddy.ParseDuration(s)
	if err != nil || d < minRetryAfter || d > maxRetryAfter {
		return retryPolicy{}, fmt.Errorf("retry_after %q is not auto, off or a duration from 1s to 24h%s", s, typo.DidYouMean(retryAfterMeant(s)))
	}
	return retryPolicy{fixed: d}, nil
}

// checkProxyStatusName accepts what can be written as an RFC 8941 token or string:
// printable ASCII.
func checkProxyStatusName(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("proxy_status_name %q is not printable ASCII, which is all that Proxy-Status can carry (RFC 8941)", name)
	}
	return checkLabel("proxy_status_name", name)
}

// checkKeepQuery accepts any key that can be told from its neighbours in a query, as
// it is when decoded: filter[name] is one. One with a comma is meant for a list.
func checkKeepQuery(keys []string) error {
	return checkNames("keep_query", keys, "query key", func(key string) bool {
		return isPrintable(key) && !strings.ContainsAny(key, "*&=;#, ") && key[0] != '?' && !placeholder.MatchString(key)
	})
}

// checkKeepHeaders accepts field names. Those of credentials are accepted, for their
// presence tells much; their values stay REDACTED all the same.
func checkKeepHeaders(fields []string) error {
	return checkNames("keep_headers", fields, "field name", func(field string) bool {
		return !strings.ContainsFunc(field, func(r rune) bool { return !isTokenChar(r) || r == '*' })
	})
}

// checkNames refuses patterns and lists by name: `*` and `a,b` would keep nothing, and look as
// if they kept all, or both.
func checkNames(field string, names []string, kind string, valid func(string) bool) error {
	if len(names) > maxKeptNames {
		return fmt.Errorf("%s has %d entries, more than %d", field, len(names), maxKeptNames)
	}
	for _, name := range names {
		if name == "" || len(name) > maxLabelBytes || !valid(name) {
			hint := cmp.Or(typo.DidYouMean(separated(field, name)), " (patterns are not supported)")
			if placeholder.MatchString(name) {
				hint = notExpanded
			}
			return fmt.Errorf("%s %q is not a %s of 1 to %d bytes%s", field, name, kind, maxLabelBytes, hint)
		}
	}
	return nil
}

// isTokenChar reports whether a field name may have r in it (RFC 9110 section 5.6.2).
func isTokenChar(r rune) bool {
	return r < utf8.RuneSelf &&
		(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}

func checkBrandName(name string) error {
	if placeholder.MatchString(name) {
		return fmt.Errorf("brand.name %q is not the same for all requests%s", name, notExpanded)
	}
	return checkText("brand.name", name)
}

// checkLogoOnly wants what a logo alone needs: itself, and the name for who can't see it.
func (b *Brand) checkLogoOnly() error {
	if b.LogoOnly && (b.Logo == "" || b.Name == "") {
		return errors.New("brand.logo_only needs logo, which is shown alone then, and name, which says it to who can't see it")
	}
	return nil
}

// checkLanguage accepts auto and a language's tag. Whether there are texts in it is known
// when those of the owner are read.
func checkLanguage(tag string) error {
	if _, err := language.Parse(tag); err != nil && tag != "" && tag != texts.Auto {
		return fmt.Errorf("language %q is not auto, nor a language's tag such as de or pt-BR (there are texts in %s, and languages <dir> adds others)%s",
			tag, strings.Join(texts.BuiltinTags(), ", "), typo.DidYouMean(wordMeant("language", tag, []string{texts.Auto})))
	}
	return nil
}

func checkLanguages(dir string) error { return checkFile("languages", dir) }

// loadLanguages are those in which a visitor is answered.
func (h *Handler) loadLanguages() (*texts.Languages, error) {
	var folder fs.FS
	if h.Languages != "" {
		folder = os.DirFS(h.Languages)
		if info, err := os.Stat(h.Languages); err != nil || !info.IsDir() {
			hint := ""
			if slices.Contains(texts.BuiltinTags(), h.Languages) {
				hint = typo.DidYouMean("language " + h.Languages)
			} else if !filepath.IsAbs(h.Languages) {
				hint = ": a relative path starts at Caddy's working directory"
			}
			return nil, fmt.Errorf("languages %s is no folder that can be read%s", absolute(h.Languages), hint)
		}
	}
	return texts.New(h.Language, folder, absolute(h.Languages))
}

func checkSupport(s string) error {
	if address, isMail := strings.CutPrefix(s, "mailto:"); isMail {
		address, _, _ = strings.Cut(address, "?")
		address, err := url.PathUnescape(address)
		if err == nil {
			_, err = mail.ParseAddress(address)
		}
		if err != nil || len(s) > maxURLBytes || !isPrintable(s) {
			return fmt.Errorf("brand.support %q has no mail address after mailto:", s)
		}
		return nil
	}
	if number, isPhone := strings.CutPrefix(s, "tel:"); isPhone {
		if len(s) > maxLabelBytes || !strings.ContainsAny(number, "0123456789") || strings.Trim(number, "+0123456789-.()") != "" {
			return fmt.Errorf("brand.support %q has no phone number after tel:, such as tel:+49-30-123456 (RFC 3966)", s)
		}
		return nil
	}
	return checkURL("brand.support", s, "an http, https, mailto or tel URL", supportMeant)
}

func checkStatusPage(s string) error {
	return checkURL("brand.status_page", s, "an http or https URL", urlMeant)
}

// checkURL accepts "", and http and https URLs with a host: anything else in a link
// would be a trap (javascript:) or lead nowhere.
func checkURL(field, s, expected string, meant func(string) string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(s) > maxURLBytes || !isPrintable(s) {
		return fmt.Errorf("%s %q is not %s of at most %d bytes%s", field, s, expected, maxURLBytes, typo.DidYouMean(meant(s)))
	}
	return nil
}

func checkTemplate(path string) error { return checkFile("template", path) }

func checkLogo(path string) error { return checkFile("brand.logo", path) }

// checkFile refuses what can't be a file's name. The file itself is read when the
// config is loaded: a Caddyfile may be adapted on another machine.
func checkFile(field, path string) error {
	if isURL(path) {
		return fmt.Errorf("%s %q is a URL, not a file: the file is read when the config is loaded, and nothing is fetched", field, path)
	}
	if placeholder.MatchString(path) {
		return fmt.Errorf("%s %q is not the path of a file%s", field, path, notExpanded)
	}
	return nil
}

// absolute is the path of a file as it is found: a relative one starts at the
// process's working directory.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if found, err := filepath.Abs(path); err == nil {
		return found
	}
	return path
}

// loadTemplate reads the owner's template; "" where there is none.
func (h *Handler) loadTemplate() (source string, err error) {
	if h.Template == "" {
		return "", nil
	}
	content, err := readFile("template", h.Template, maxTemplateBytes)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(content) {
		return "", fmt.Errorf("template %s is not UTF-8 text", absolute(h.Template))
	}
	return string(content), nil
}

// loadLogo reads the brand's logo and returns it as a data: URI; "" where there is
// none. What the file is named doesn't matter.
func (h *Handler) loadLogo() (dataURI string, err error) {
	if h.Brand == nil || h.Brand.Logo == "" {
		return "", nil
	}
	content, err := readFile("brand.logo", h.Brand.Logo, maxLogoBytes)
	if err != nil {
		return "", err
	}
	mediaType := imageType(content)
	if mediaType == "" {
		return "", fmt.Errorf("brand.logo %s is not a PNG, JPEG, GIF, WebP or SVG image", absolute(h.Brand.Logo))
	}
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(content), nil
}

// imageType tells the media type by the content; "" for what isn't an image that all
// browsers show.
func imageType(content []byte) string {
	switch sniffed := http.DetectContentType(content); sniffed {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return sniffed
	}
	if isSVG(content) {
		return "image/svg+xml"
	}
	return ""
}

// isSVG reports whether content is an XML document whose root is svg.
func isSVG(content []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	// Names are ASCII in every charset that an SVG is written in.
	decoder.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if root, ok := token.(xml.StartElement); ok {
			return root.Name.Local == "svg"
		}
	}
}

// readFile reads a file of at most limit bytes. Only a regular one: opening a pipe
// would hold up the config's load.
func readFile(field, name string, limit int64) ([]byte, error) {
	if err := checkFile(field, name); err != nil {
		return nil, err
	}
	path := absolute(name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		hint := ""
		if !filepath.IsAbs(name) {
			hint = ": a relative path starts at Caddy's working directory"
		}
		return nil, fmt.Errorf("%s %s does not exist%s", field, path, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s is not a regular file", field, path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s %s has %d bytes, more than %d", field, path, info.Size(), limit)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if len(content) == 0 {
		return nil, fmt.Errorf("%s %s is empty", field, path)
	}
	return content, nil
}
