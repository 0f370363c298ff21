package diagnostics

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
)

// A fault is called the same over every way that leads to it: one fault of each
// cause is tried over each.
func TestFaultsOverWays(t *testing.T) {
	testOverWays(t, faultlab.Faults())
}

func testOverWays(t *testing.T, faults []faultlab.Fault) {
	t.Helper()
	recordsAbandoned(t)
	for _, way := range faultlab.Ways() {
		t.Run(way.Name, func(t *testing.T) {
			proven := make(map[string]bool)
			for _, fault := range faults {
				if fault.Cause == "" || fault.Skip != "" || proven[fault.Cause] {
					continue
				}
				t.Run(fault.Name, func(t *testing.T) {
					if testOver(t, way, fault) {
						proven[fault.Cause] = true
					}
				})
			}
		})
	}
}

// testOver says whether the fault can be met over this way.
func testOver(t *testing.T, way faultlab.Way, fault faultlab.Fault) bool {
	broken, options := breakUpstream(t, fault)
	site, unfit, err := way.Over(fault, broken)
	if err != nil {
		t.Fatal(err)
	}
	if unfit != "" {
		return false
	}
	c := startCaddyWith(t, options, "upstream_diagnostics\n"+site)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := broken.Visit(ctx, c.url+"/order"); err != nil {
		t.Fatal(err)
	}
	f := newest(c, fault.Cause)
	if f.Cause == fault.OrCause {
		return false
	}
	got := []string{f.Cause, string(f.Phase), string(f.Side), string(f.Outcome)}
	want := []string{fault.Cause, fault.Phase, fault.Side, fault.Outcome}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		record, _ := json.MarshalIndent(f, "", "  ")
		t.Errorf("got %v, want %v\n%s\n%s", got, want, site, record)
	}
	return true
}
