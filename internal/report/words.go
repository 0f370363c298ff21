package report

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Printable returns s on one line, with all that a terminal or a browser would
// obey rather than show (control characters, escapes, changes of direction,
// invalid UTF-8) written out: an escape becomes \x1b. Text that is clean is
// returned as it is.
func Printable(s string) string {
	first := strings.IndexFunc(s, hidden)
	if first < 0 {
		return s
	}
	var shown strings.Builder
	shown.WriteString(s[:first])
	for rest := s[first:]; rest != ""; {
		r, length := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && length == 1:
			shown.WriteString(`\x` + strconv.FormatUint(uint64(rest[0]), 16))
		case hidden(r):
			quoted := strconv.QuoteRuneToASCII(r)
			shown.WriteString(quoted[1 : len(quoted)-1])
		default:
			shown.WriteString(rest[:length])
		}
		rest = rest[length:]
	}
	return shown.String()
}

// hidden also holds for the replacement character: an invalid byte looks like it.
// Spaces of every width may stay, and the joiners that Persian and emoji need.
func hidden(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	switch {
	case ' ' <= r && r <= '~':
		return false
	case r == utf8.RuneError:
		return true
	case r == nonJoiner || r == joiner || unicode.Is(unicode.Zs, r):
		return false
	default:
		return !unicode.IsPrint(r)
	}
}

// duration says ms as people read it: 0.2 ms, 312 ms, 3 s, 2m5s.
func duration(ms failure.Milliseconds) string {
	switch {
	case ms < 0.1:
		return rounded(float64(ms), 1000) + " ms"
	case ms < 10:
		return rounded(float64(ms), 10) + " ms"
	case ms < 1000:
		return rounded(float64(ms), 1) + " ms"
	case ms < 60_000:
		return rounded(float64(ms)/1000, 10) + " s"
	default:
		return withoutZeros(ms.Duration().Round(time.Second))
	}
}

// withoutZeros is d without zeros at its end: 2m, not 2m0s.
func withoutZeros(d time.Duration) string {
	said := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(said, zero) {
			said = said[:len(said)-2]
		}
	}
	return said
}

// rounded is f to one part in that many, without zeros at its end.
func rounded(f, parts float64) string {
	return humanize.Ftoa(math.Round(f*parts) / parts)
}

// size says n bytes as people read it; fewer than a thousand are exact.
func size(n int64) string {
	if n < 0 {
		return "?"
	}
	if n >= humanize.MiByte { // what is a little less than the whole must not look like it
		return humanize.IBytesN(uint64(n), 4)
	}
	return humanize.IBytes(uint64(n))
}
