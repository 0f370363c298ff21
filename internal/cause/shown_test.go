package cause

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Of a request that passed several reverse_proxy handlers, each attempt says whose it was.
func TestAttemptRole(t *testing.T) {
	auth, outer := &failure.Limits{AsksFirst: true}, new(failure.Limits)
	of := func(limits *failure.Limits) listen.Attempt {
		return answered200(func(a *listen.Attempt) { a.Limits = limits })
	}
	full := nobodyFor(listen.Candidate{Upstream: "app:8080", Reason: failure.ReasonFull})
	refused := sentAttempt(func(a *listen.Attempt) {
		a.Limits, a.Err = handler, errors.New("net/http: "+textAwaiting)
	})
	for name, test := range map[string]struct {
		heard *listen.Heard
		want  []failure.AttemptRole
	}{
		"forward_auth, then nobody":    {heard(full, of(auth)), []failure.AttemptRole{failure.RoleAsksFirst}},
		"handle_response, then nobody": {heard(full, of(outer)), []failure.AttemptRole{failure.RoleOtherProxy}},
		"its own, then nobody":         {heard(full, of(handler)), []failure.AttemptRole{""}},
		"nobody knows whose":           {heard(full, of(nil)), []failure.AttemptRole{""}},
		"both, then one that failed":   {heard(nil, of(auth), of(outer), refused), []failure.AttemptRole{failure.RoleAsksFirst, failure.RoleOtherProxy, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Diagnose(test.heard)
			if f == nil {
				t.Fatal("no failure")
			}
			var roles []failure.AttemptRole
			for _, a := range f.Attempts {
				roles = append(roles, a.Role)
			}
			if !slices.Equal(roles, test.want) {
				t.Errorf("%s: %q, want %q", f.Cause, roles, test.want)
			}
		})
	}
}

// Whoever sets a limit has to act where it is exceeded.
func TestOwnHeaderLimit(t *testing.T) {
	exceeded := func(limits *failure.Limits) *failure.Failure {
		return Diagnose(heard(nil, sentAttempt(func(a *listen.Attempt) {
			a.Limits, a.FirstByte, a.Err = limits, 5*millisecond, errors.New(textHeadersExceeded+"64 bytes; aborted")
		})))
	}
	own := exceeded(&failure.Limits{Transport: "http", MaxResponseHeader: 64})
	if own.Side != failure.SideProxy || !strings.Contains(own.Summary, "max_response_header 64 allows") || !strings.Contains(own.Advice, "max_response_header 64") {
		t.Errorf("%s: %q, %q", own.Side, own.Summary, own.Advice)
	}
	usual := exceeded(&failure.Limits{Transport: "http"})
	if usual.Side != failure.SideUpstream || usual.Summary == own.Summary {
		t.Errorf("without it, %s: %q", usual.Side, usual.Summary)
	}
}
