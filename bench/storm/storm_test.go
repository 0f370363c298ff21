package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

func TestMain(m *testing.M) {
	if isCaddy() {
		caddycmd.Main()
		return
	}
	testcaddy.Main(m)
}

// A short storm, but one that would fill the records several times: all counts agree, and
// the rare one has each of its records.
func TestStorm(t *testing.T) {
	const failures = 5000
	for _, out := range []bool{false, true} {
		t.Run(fmt.Sprint("out ", out), func(t *testing.T) {
			f, err := storm{
				out:  out,
				rate: 10_000, most: failures, lasts: time.Hour, connections: 16,
				rareEvery: 10 * time.Millisecond, mostRare: 20,
				readEvery: 50 * time.Millisecond, measureEvery: 50 * time.Millisecond,
			}.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for n, count := range f.counted[:rare] {
				if count != failures/rare {
					t.Errorf("the clients counted %d failures of %s", count, sites[n])
				}
				if f.records[n] < f.keep/f.kinds() {
					t.Errorf("%d records of %s are kept, fewer than its share of %d", f.records[n], sites[n], f.keep)
				}
			}
			if len(f.rareIDs) != 20 || f.records[rare] != 20 {
				t.Errorf("the rare one failed %d times and has %d records", len(f.rareIDs), f.records[rare])
			}
			for _, wrong := range f.disagreements() {
				t.Error(wrong)
			}
			if testing.Verbose() {
				var tables strings.Builder
				f.print(&tables)
				t.Log("\n" + tables.String())
			}
		})
	}
}

// Whatever doesn't agree is told.
func TestDisagreements(t *testing.T) {
	agreed := func() *found {
		return &found{
			counted: []int{10, 10, 10, 10, 10, 2}, incidents: []int{10, 10, 10, 10, 10, 2}, exported: []int{10, 10, 10, 10, 10, 2},
			failed: 52, keep: 1000, rareIDs: []string{"x", "y"}, rareRecords: []string{"x", "y"},
		}
	}
	for _, test := range []struct {
		name   string
		change func(f *found)
		want   string
	}{
		{"nothing", func(*found) {}, "[]"},
		{"an incident", func(f *found) { f.incidents[1] = 9 }, "[storm-2: the clients counted 10, its incidents 9]"},
		{"a metric", func(f *found) { f.exported[5] = 3 }, "[rare: the clients counted 2, caddy_upstream_failures_total 3]"},
		{"no metric", func(f *found) { f.exported = nil }, "[caddy_upstream_failures_total " + notExported + "]"},
		{"the overview", func(f *found) { f.failed = 51 }, "[all: the clients counted 52, the overview 51]"},
		{"dropped ones", func(f *found) { f.dropped = 1 }, "[1 failures were of no incident]"},
		{"a rare record", func(f *found) { f.rareRecords = f.rareRecords[1:] }, `[of the rare one ["y"] are kept, want ["x" "y"]]`},
		{"more rare ones than a share", func(f *found) { f.keep, f.rareRecords = 6, f.rareRecords[1:] }, "[]"},
		{"and the wrong one of them", func(f *found) { f.keep, f.rareRecords = 6, f.rareRecords[:1] }, `[of the rare one ["x"] are kept, want ["x" "y"]]`},
	} {
		f := agreed()
		test.change(f)
		if got := fmt.Sprint(f.disagreements()); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestSumOf(t *testing.T) {
	const metrics = `# TYPE failures_total counter
failures_total{cause="a",outcome="failed",site="shop"} 3
failures_total{site="shop",cause="b"} 1e+06
failures_total{cause="a",site=""} 2
failures_total_other{site="shop"} 9
`
	got, err := sumOf(metrics, "failures_total")
	if want := map[string]int{"shop": 1_000_003, "": 2}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	if got, err := sumOf(metrics, "others_total"); err != nil || got != nil {
		t.Errorf("got %v %v of none", got, err)
	}
	if got, err := sumOf("x{cause=\"a\"} 1\n", "x"); err == nil {
		t.Errorf("got %v of one without a site", slices.Collect(maps.Keys(got)))
	}
}
