package diagnostics

import (
	"net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
)

// Where the wish behind a wrong option is plain, its error names what to write.

// didYouMean is put behind what was expected; "" where nothing is meant plainly.
func didYouMean(meant string) string {
	if meant == "" {
		return ""
	}
	return " (did you mean " + meant + "?)"
}

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
	return nearest(value, words)
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

// nearest is the one of words that was mistyped as word; "" where none is near.
func nearest(word string, words []string) string {
	best, least := "", 3
	for _, candidate := range words {
		// Half of a word must be right.
		if d := typos(word, candidate); d < least && 2*d <= len(candidate) {
			best, least = candidate, d
		}
	}
	return best
}

// typos counts the letters that are missing, too many, wrong or swapped with their
// neighbour (the optimal string alignment distance).
func typos(a, b string) int {
	above, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above[j-2]+1)
			}
		}
		above = before
	}
	return row[len(b)]
}
