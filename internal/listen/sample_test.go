package listen

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// What is kept of a sample, and of no other request: the answers that are no errors.
func TestSample(t *testing.T) {
	auth, app := &failure.Limits{AsksFirst: true}, new(failure.Limits)
	answer := func(l *Listener, upstream string, limits *failure.Limits, status int, server ...string) *LiveAttempt {
		l.Selected(upstream, nil, limits)
		a := l.RoundTrip(limits, Trip{Network: "tcp", Address: upstream})
		a.gotConn(httptrace.GotConnInfo{Reused: upstream == "app:80"})
		a.Ended(&http.Response{StatusCode: status, ProtoMajor: 1, Header: http.Header{"Server": server}}, nil, false)
		return a
	}
	for _, test := range []struct {
		name    string
		sampled bool
		do      func(*Listener)
		want    []string
	}{
		{"no sample", false, func(l *Listener) { answer(l, "app:80", app, 200, "app/1") }, nil},
		{"one answer", true, func(l *Listener) { answer(l, "app:80", app, 404, "app/1", "of two") }, []string{"app:80 true app/1, of two"}},
		{"no Server field", true, func(l *Listener) { answer(l, "app:80", app, 200) }, []string{"app:80 true "}},
		{"of two reverse_proxy", true, func(l *Listener) {
			answer(l, "auth:80", auth, 204, "auth/1")
			answer(l, "app:80", app, 200, "app/1")
		}, []string{"auth:80 false auth/1", "app:80 true app/1"}},
		{"an error of a server", true, func(l *Listener) { answer(l, "app:80", app, 500, "app/1") }, nil},
		{"no answer", true, func(l *Listener) {
			l.Selected("app:80", nil, app)
			l.RoundTrip(app, Trip{Network: "tcp", Address: "app:80"}).Ended(nil, errors.New("refused"), true)
		}, nil},
		{"a body that broke", true, func(l *Listener) {
			a := answer(l, "app:80", app, 200, "app/1")
			a.Body.Err = io.ErrUnexpectedEOF
		}, nil},
		{"nobody was asked", true, func(*Listener) {}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			hear(t, nil, strings.NewReader("body"), func(l *Listener, _ *http.Request) error {
				if test.sampled {
					l.Sample()
				}
				test.do(l)
				var got []string
				l.EachWorked(func(a *Attempt) {
					got = append(got, fmt.Sprint(a.Upstream, " ", a.Connection.Reused, " ", *a.Server))
				})
				if !slices.Equal(got, test.want) || l.Sampled() != test.sampled {
					t.Errorf("%q, want %q", got, test.want)
				}
				return nil
			})
		})
	}
}
