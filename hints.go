package diagnostics

import (
	"net/mail"
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

// retryAfterMeant takes a number for seconds, as in the field that is sent.
func retryAfterMeant(s string) string {
	seconds, err := strconv.Atoi(s)
	if err == nil && seconds > 0 && seconds <= int(maxRetryAfter/time.Second) {
		return s + "s"
	}
	return wordMeant("retry_after", s, []string{retryAfterAuto, retryAfterOff})
}

// interceptMeant is for statuses with commas between them.
func interceptMeant(s string) string {
	statuses := strings.Split(s, ",")
	for _, one := range statuses {
		if status, err := strconv.Atoi(one); err != nil || !isIntercepted(status) {
			return ""
		}
	}
	return strings.Join(statuses, " ")
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
