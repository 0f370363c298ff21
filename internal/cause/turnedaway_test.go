package cause

import (
	"bytes"
	"context"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// goaway is how a connection of HTTP/2 begins over which nothing is taken.
func goaway(t *testing.T, last uint32, code http2.ErrCode) []byte {
	t.Helper()
	var b bytes.Buffer
	frames := http2.NewFramer(&b, nil)
	if err := frames.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := frames.WriteGoAway(last, code, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A client that left is not to blame where nothing was taken over any new connection, and
// is where it had waited for the last one, or where these were few or old.
func TestTurnedAway(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  int
		opening []byte
		link    listen.Link
		last    time.Duration
		cause   *Row
		side    failure.Side
	}{
		{name: "each by a GOAWAY", before: 8, opening: goaway(t, 0, http2.ErrCodeNo), last: millisecond, cause: Goaway, side: failure.SideUpstream},
		{name: "a GOAWAY that may have taken it", before: 8, opening: goaway(t, 1, http2.ErrCodeNo), last: millisecond, cause: ClientClosedRequest, side: failure.SideUpstream},
		{name: "unheard", before: 8, last: millisecond, cause: ClientClosedRequest, side: failure.SideUpstream},
		{name: "no frames", before: 8, opening: []byte("HTTP/1.1 400 Bad Request"), last: millisecond, cause: ClientClosedRequest, side: failure.SideUpstream},
		{name: "the last one was waited for", before: 8, opening: goaway(t, 0, http2.ErrCodeNo), last: 5 * time.Second, cause: ClientClosedRequest, side: failure.SideClient},
		{name: "a restart", before: 2, opening: goaway(t, 0, http2.ErrCodeNo), last: millisecond, cause: ClientClosedRequest, side: failure.SideClient},
		{name: "connections that had worked", before: 8, link: listen.Link{Requests: 3}, last: millisecond, cause: ClientClosedRequest, side: failure.SideClient},
	} {
		t.Run(test.name, func(t *testing.T) {
			var attempts []listen.Attempt
			for i := range test.before + 1 {
				attempts = append(attempts, sentAttempt(func(a *listen.Attempt) {
					a.Protocol, a.Silent = "h2c", true
					link := test.link
					a.Connection.Link, a.Connection.Opening = &link, test.opening
					shift := time.Duration(i) * 100 * millisecond
					a.Start, a.Sent, a.Wrote = a.Start+shift, a.Sent+shift, a.Wrote+shift
					a.End = a.Start + 100*millisecond
				}))
			}
			last := &attempts[test.before]
			last.Silent, last.Err, last.End = false, context.Canceled, last.Wrote+test.last
			h := heard(nil, attempts...)
			h.Client.Left, h.AttemptCount = true, len(attempts)
			f := Diagnose(h)
			if f == nil {
				t.Fatal("nothing was found")
			}
			check(t, f)
			if f.Cause != test.cause.Name || f.Side != test.side || f.Outcome != failure.Abandoned {
				t.Errorf("%s, side %s, %s: %s", f.Cause, f.Side, f.Outcome, f.Summary)
			}
		})
	}
}
