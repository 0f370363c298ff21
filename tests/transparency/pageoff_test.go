package transparency

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// With `page off`, whatever an upstream does wrong ends as it does without us: the
// client gets the same, by the same calls in the same order, and the same error goes
// up.
func TestPageOff(t *testing.T) {
	// Some faults are a race of goroutines in Go's transport, and end in one of a few
	// ways by themselves. Ours must be one of those.
	const tries = 12
	for _, fault := range faultlab.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			if fault.Skip != "" {
				t.Skip(fault.Skip)
			}
			var bare, ours []string
			for range tries {
				bare = append(bare, endsAs(t, fault, true))
				ours = append(ours, endsAs(t, fault, false))
				if t.Failed() {
					return
				}
				if slices.ContainsFunc(ours, func(o string) bool { return slices.Contains(bare, o) }) {
					return
				}
			}
			t.Errorf("without us:\n%s\nwith us:\n%s", strings.Join(distinct(bare), "\nor:\n"), strings.Join(distinct(ours), "\nor:\n"))
		})
	}
}

// distinct are the different ones.
func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// endsAs visits a fault and tells how it ended: for the client, and for a handler in
// front of all others.
func endsAs(t *testing.T, fault faultlab.Fault, bare bool) string {
	t.Helper()
	var end string
	name := "with page off"
	if bare {
		name = "bare"
	}
	t.Run(name, func(t *testing.T) {
		broken, _ := testcaddy.Break(t, fault)
		forgetRecordings()
		front := ""
		if !bare {
			front = "upstream_diagnostics {\npage off\n}\n"
		}
		c := startProxy(t, proxyConfig{
			bare:    bare,
			servers: strings.Join(broken.Servers, "\n"),
			site:    "recording outer\n" + front + "recording inner\n" + broken.Caddyfile(),
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		answer, err := broken.Visit(ctx, c.URL+"/order")
		if err != nil {
			t.Fatal(err)
		}
		outer, inner := lastRecorded(t, "outer"), lastRecorded(t, "inner")
		if o, i := outer.done(), inner.done(); !slices.Equal(o, i) {
			t.Errorf("behind us: %q\nin front of us: %q", i, o)
		}
		if outer.err != inner.err { //nolint:errorlint // the very value
			t.Errorf("another error goes up: %#v, was %#v", outer.err, inner.err)
		}
		if outer.panicked != inner.panicked {
			t.Errorf("another panic goes up: %v, was %v", outer.panicked, inner.panicked)
		}
		err = outer.err
		if fault.Name == "closed_at_accept" {
			err = closedAtAccept(t, err)
		}
		end = withoutChance(fmt.Sprintf("the client got %d %s %q %v\nthe calls were %s\nthe error was %s, the panic %v",
			answer.Status, fields(answer.Header), answer.Body, answer.Err, steady(outer.done()), told(err), outer.panicked))
	})
	return end
}

// closedAtAccept stands for each of the errors that Go's transport has for a connection
// that is closed as soon as it is there: which one it is, is a race of its goroutines,
// and each side may lose it every time. (That each comes without us is proven in
// faultlab.)
func closedAtAccept(t *testing.T, err error) error {
	t.Helper()
	handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err)
	known := regexp.MustCompile(`EOF$|server closed idle connection|connection reset by peer|broken pipe|forcibly closed|connection was aborted`)
	if !ok || !known.MatchString(err.Error()) {
		t.Errorf("got %v", err)
		return err
	}
	handlerErr.Err = errors.New("closed at accept")
	return handlerErr
}

// told is what handle_errors could show of an error.
func told(err error) string {
	handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok {
		return fmt.Sprintf("%T %v", err, err)
	}
	return fmt.Sprintf("%d %T %v", handlerErr.StatusCode, handlerErr.Err, handlerErr.Err)
}

// steady are the calls as they are each time: how a body comes in parts, and whether
// a flush comes before the first of them, is the network's and a timer's doing.
func steady(ops []string) string {
	var all []string
	for i, op := range ops {
		quoted, isWrite := strings.CutPrefix(op, "Write ")
		last := len(all) - 1
		switch {
		case op == "Flush" && slices.ContainsFunc(ops[i+1:], func(later string) bool { return strings.HasPrefix(later, "Write ") || later == "Flush" }):
			// not the last one
		case isWrite && last >= 0 && strings.HasPrefix(all[last], "Write "):
			all[last] = strings.TrimSuffix(all[last], `"`) + strings.TrimPrefix(quoted, `"`)
		default:
			all = append(all, op)
		}
	}
	return strings.Join(all, ", ")
}

var chance = []struct{ pattern, replacement string }{
	{`:\d{4,5}\b`, ":PORT"},
	{`faultlab\d+`, "faultlab"},
	{`\d{4}-\d\d-\d\dT[\d:]+Z`, "TIME"},
}

// withoutChance leaves out what differs each time.
func withoutChance(s string) string {
	for _, c := range chance {
		s = regexp.MustCompile(c.pattern).ReplaceAllString(s, c.replacement)
	}
	return s
}

// With `page off`, handle_errors knows what it knows without us, and more.
func TestPageOffHandleErrors(t *testing.T) {
	for _, name := range []string{
		"refused_twice", "no_upstream_configured", "placeholder_bad_port", "closed_unanswered", "reset_unanswered",
		"read_timeout", "response_header_timeout", "status_malformed", "speaks_ssh", "retries_used_up", "header_name_invalid",
	} {
		t.Run(name, func(t *testing.T) {
			var answers []string
			for _, front := range []string{"", "upstream_diagnostics {\npage off\n}\n"} {
				fault, err := faultlab.Find(name)
				if err != nil {
					t.Fatal(err)
				}
				t.Run(strings.ReplaceAll(front, "\n", " "), func(t *testing.T) {
					broken, err := fault.Start()
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() {
						if err := broken.Close(); err != nil {
							t.Error(err)
						}
					})
					c := startProxy(t, proxyConfig{
						bare: front == "",
						site: front + broken.Caddyfile(),
						after: `handle_errors {
							header X-Id {err.id}
							header X-Cause {http.upstream_diagnostics.cause}
							respond "{err.status_code}, {err.status_text}, {err.message}"
						}`,
					})
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					answer, err := broken.Visit(ctx, c.URL+"/order")
					if err != nil || answer.Err != nil {
						t.Fatal(err, answer)
					}
					if id := answer.Header.Get("X-Id"); len(id) != 9 {
						t.Errorf("the error's id is %q", id)
					}
					want := "{http.upstream_diagnostics.cause}" // nobody knows it
					if front != "" {
						want = fault.Cause
					}
					if got := answer.Header.Get("X-Cause"); got != want {
						t.Errorf("the cause is %q, want %q", got, want)
					}
					answer.Header.Del("X-Id")
					answer.Header.Del("X-Cause")
					if answer.Status < http.StatusInternalServerError || !strings.HasPrefix(string(answer.Body), fmt.Sprintf("%d, ", answer.Status)) {
						t.Errorf("handle_errors answered %d %s", answer.Status, answer.Body)
					}
					answers = append(answers, withoutChance(fmt.Sprintf("%d %s %s", answer.Status, fields(answer.Header), answer.Body)))
				})
			}
			if len(answers) != 2 || answers[0] != answers[1] {
				t.Errorf("handle_errors answered\n%s", strings.Join(answers, "\nwith us:\n"))
			}
		})
	}
}
