package cause

import (
	"slices"
	"strings"
	"testing"
)

// What docs/causes.md needs of every row.
func TestEveryRowIsDocumented(t *testing.T) {
	for r := range Rows() {
		t.Run(r.Name, func(t *testing.T) {
			for what, text := range map[string]string{
				"meaning": r.Meaning, "recognised_by": r.RecognisedBy,
				"fix in Caddy": r.Fix.Caddy, "fix in Docker": r.Fix.Docker, "fix in the application": r.Fix.Application,
			} {
				if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ")") || strings.ContainsAny(text, "\n{}|") {
					t.Errorf("%s is no sentence for a page: %q", what, text)
				}
			}
			if len(r.UsualReasons) == 0 {
				t.Error("no usual reason is given")
			}
			for _, reason := range r.UsualReasons {
				if reason == "" || strings.HasSuffix(reason, ".") || strings.ContainsAny(reason, "\n{}|") {
					t.Errorf("no words of a list: %q", reason)
				}
			}
			if r.Witnesses == nil || (len(r.Witnesses) == 0) != (r == Unknown) {
				t.Errorf("the witnesses are %q; only what is unknown has none, and an empty list then", r.Witnesses)
			}
			for i, w := range r.Witnesses {
				if w.Words() == "" || slices.Contains(r.Witnesses[:i], w) {
					t.Errorf("the witness %q is none, or is there twice", w)
				}
			}
			for _, rival := range r.Rivals {
				if strings.ContainsAny(rival.Cause+rival.RuledOutBy, "\n{}|") || strings.HasSuffix(rival.RuledOutBy, ".") {
					t.Errorf("no words for a table: %+v", rival)
				}
			}
		})
	}
}

// A cause that looks like another is looked like by it.
func TestRivalsAreMutual(t *testing.T) {
	for r := range Rows() {
		for _, rival := range r.Rivals {
			other := ByName(rival.Cause)
			if other == nil {
				continue // it has no row
			}
			if !slices.ContainsFunc(other.Rivals, func(back Rival) bool { return back.Cause == r.Name }) {
				t.Errorf("%s has the rival %s, which does not have it", r.Name, other.Name)
			}
		}
	}
}
