package diagnostics

import (
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// Where the wish behind a wrong option is plain, its error names what to write.

// otherWords are words that people use for ours.
var otherWords = map[string]map[string]string{
	"page":      {"none": pageOff, "no": pageOff, "false": pageOff, "private": pageMinimal, "on": pagePublic, "full": pagePublic},
	"client_ip": {"none": redact.ClientIPOff, "no": redact.ClientIPOff, "false": redact.ClientIPOff, "anonymized": redact.ClientIPMasked, "on": redact.ClientIPFull},
}

// wordMeant is which of words was meant by value.
func wordMeant(field, value string, words []string) string {
	value = strings.ToLower(value)
	if word, ok := otherWords[field][value]; ok {
		return word
	}
	return typo.Nearest(value, words)
}

// quoted is for a text whose words were taken for arguments; "" where it is none.
func quoted(option string, args []string) string {
	if len(args) < 2 || !slices.Contains([]string{"<label>", "<text>", "<name>"}, takes[option]) {
		return ""
	}
	return option + " " + strconv.Quote(strings.Join(args, " "))
}

// separated is for several values that something else than a space separates, or one that
// something adheres to; "" where neither is.
func separated(option, value string) string {
	parts := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", ;:?&", r) })
	if written := strings.Join(parts, " "); written != "" && written != value || len(parts) > 1 {
		return option + " " + written
	}
	return ""
}

// exampleMatcher is how a matcher is named: the one that stands where its name belongs, or
// one that proves something.
func exampleMatcher(name string, args []string) string {
	if len(args) > 1 && slices.Contains(whoMatchers, args[0]) {
		return name + " " + strings.Join(args, " ")
	}
	return name + " remote_ip 10.20.0.0/16"
}

// matcherMeant is for a matcher's name without its @.
func matcherMeant(args []string) string {
	if len(args) != 1 || strings.ContainsAny(args[0], "/*{.:") {
		return ""
	}
	return "@" + args[0]
}

// retryAfterMeant takes a number for seconds, as in the field that is sent.
func retryAfterMeant(s string) string {
	seconds, err := strconv.Atoi(s)
	if err == nil && seconds > 0 && seconds <= int(maxRetryAfter/time.Second) {
		return s + "s"
	}
	return wordMeant("retry_after", s, []string{retryAfterAuto, retryAfterOff})
}

// keepMeant is for a duration that stands where the number belongs.
func keepMeant(s string) string {
	if d, err := caddy.ParseDuration(s); err == nil && checkKeepFor(d) == nil {
		return "keep " + strconv.Itoa(defaultKeep) + " " + s
	}
	return ""
}

// keepForMeant takes a number for hours.
func keepForMeant(s string) string {
	if hours, err := strconv.Atoi(s); err == nil && checkKeepFor(time.Duration(hours)*time.Hour) == nil {
		return s + "h"
	}
	return ""
}

// supportMeant is for a mail address, or a URL, without its scheme.
func supportMeant(s string) string {
	if address, err := mail.ParseAddress(s); err == nil && address.Address == s {
		return "mailto:" + s
	}
	if number := strings.NewReplacer(" ", "-", "/", "-").Replace(s); strings.HasPrefix(s, "+") && checkSupport("tel:"+number) == nil {
		return "tel:" + number
	}
	return urlMeant(s)
}

// urlMeant is for a URL without its scheme: what begins with a domain.
func urlMeant(s string) string {
	host, _, _ := strings.Cut(s, "/")
	if strings.Contains(strings.Trim(host, "."), ".") && !strings.ContainsAny(host, ": @") && checkStatusPage("https://"+s) == nil {
		return "https://" + s
	}
	return ""
}

// isURL says whether a URL was given where a file is wanted.
func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "data:")
}
