package terminal

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/dustin/go-humanize"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

const day = 24 * time.Hour

var magnitudes = []humanize.RelTimeMagnitude{
	{D: time.Second, Format: "now", DivBy: 1},
	{D: time.Minute, Format: "%d s %s", DivBy: time.Second},
	{D: time.Hour, Format: "%d min %s", DivBy: time.Minute},
	{D: 2 * day, Format: "%d h %s", DivBy: time.Hour},
	{D: math.MaxInt64, Format: "%d d %s", DivBy: day},
}

// when says it as people do where one looks now, and exactly where it is kept.
func (s Screen) when(t failure.Timestamp, now time.Time) string {
	if !s.Terminal {
		return t.String()
	}
	return humanize.CustomRelTime(t.Time, now, "ago", "from now", magnitudes)
}

// at is when in a sentence.
func (s Screen) at(t failure.Timestamp, now time.Time) string {
	if !s.Terminal {
		return "at " + t.String()
	}
	return s.when(t, now)
}

// clock says a time in a list that goes on while somebody looks.
func (s Screen) clock(t failure.Timestamp) string {
	if !s.Terminal {
		return t.String()
	}
	return t.Local().Format(time.TimeOnly)
}

// count is a number with its noun, which has an s where it is another than one.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// oneLine is JSON in one line, in which nothing makes a terminal do anything: what it
// would obey rather than show is escaped, which means the same to who reads the JSON.
func oneLine(raw json.RawMessage) string {
	var line strings.Builder
	for _, r := range string(raw) {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			// In JSON these stand between values only.
		case ' ' <= r && r <= '~', report.Printable(string(r)) == string(r):
			line.WriteRune(r)
		case r > math.MaxUint16:
			high, low := utf16.EncodeRune(r)
			line.WriteString(escaped(high) + escaped(low))
		default:
			line.WriteString(escaped(r))
		}
	}
	return line.String()
}

func escaped(r rune) string {
	digits := strconv.FormatInt(int64(r), 16)
	return `\u` + strings.Repeat("0", 4-len(digits)) + digits
}
