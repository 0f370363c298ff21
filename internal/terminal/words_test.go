package terminal

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

func TestWhen(t *testing.T) {
	for ago, want := range map[time.Duration]string{
		0: "now", 900 * time.Millisecond: "now", time.Second: "1 s ago", 59 * time.Second: "59 s ago", time.Minute: "1 min ago",
		59*time.Minute + 59*time.Second: "59 min ago", time.Hour: "1 h ago", 47 * time.Hour: "47 h ago", 48 * time.Hour: "2 d ago", 400 * 24 * time.Hour: "400 d ago",
		-5 * time.Second: "5 s from now", // its clock isn't ours
	} {
		at := failure.At(now.Add(-ago))
		if got := (Screen{Terminal: true}).when(at, now); got != want {
			t.Errorf("%v ago is %q, want %q", ago, got, want)
		}
		if got := (Screen{}).when(at, now); got != at.String() {
			t.Errorf("in a pipe %v ago is %q", ago, got)
		}
	}
}

func TestCalmSentence(t *testing.T) {
	resolved, ofNone := incidentOf(failure.IncidentResolved, "app:8080", 10*time.Minute), incidentOf(failure.IncidentResolved, "", time.Hour)
	since := failure.At(now.Add(-3 * time.Hour))
	for name, test := range map[string]struct {
		screen   Screen
		last     *failure.Incident
		filtered bool
		want     string
	}{
		"never":           {Screen{Terminal: true}, nil, false, "No incident was opened since recording began, 3 h ago."},
		"never, filtered": {Screen{Terminal: true}, nil, true, "No incident of what is asked for was opened since recording began, 3 h ago."},
		"never, in a pipe": {
			Screen{}, nil, false, "No incident was opened since recording began, at 2026-11-24T01:11:26.000Z.",
		},
		"one was": {Screen{Terminal: true}, resolved, false, "No incident is open; the last one was resolved 5 min ago (app:8080, connection_refused)."},
		"of no upstream, in a pipe": {
			Screen{}, ofNone, true, "No incident of what is asked for is open; the last one was resolved at 2026-11-24T03:41:26.000Z (connection_refused).",
		},
	} {
		if got := test.screen.calmSentence(test.last, since, now, test.filtered); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// What comes out is the same JSON as went in, on one line, and has nothing that a terminal
// would obey.
func TestOneLine(t *testing.T) {
	for _, text := range []string{"", "plain", hostile, "ü日本 e\u0301", "\U0001f600", "\U000e0041\u2028\ufeff", "\\\"\t"} {
		raw, err := json.MarshalIndent(map[string]any{"upstream": text, "list": []string{text, text}}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		line := oneLine(raw)
		if strings.ContainsAny(line, wicked+"\n\t\u2028\ufeff\U000e0041") {
			t.Errorf("%q has something wicked", line)
		}
		var before, after any
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(line), &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%s became %s (%v)", raw, line, err)
		}
	}
	if got := oneLine([]byte(`{"a":"ü"}`)); got != `{"a":"ü"}` {
		t.Errorf("what is fine is changed: %s", got)
	}
}
