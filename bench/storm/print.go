package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// print writes the tables.
func (f *found) print(w io.Writer) {
	total := sum(f.counted)
	fmt.Fprintf(w, "%d connections for %.0f s. %d failures a second were asked for, %.0f reached. Caddy took %.0f µs of CPU for each, all else that it did included.\n\n",
		f.storm.connections, f.took.Seconds(), f.storm.rate, float64(total)/f.took.Seconds(), f.cpu.Seconds()*1e6/float64(total))

	fmt.Fprintf(w, "| site | clients counted | its incidents | `%s` | records kept |\n", metric)
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|")
	exported := func(counts ...int) string {
		if f.exported == nil {
			return notExported
		}
		return fmt.Sprint(sum(counts))
	}
	for n, site := range sites {
		count := 0
		if f.exported != nil {
			count = f.exported[n]
		}
		fmt.Fprintf(w, "| %s | %d | %d | %s | %d |\n", site, f.counted[n], f.incidents[n], exported(count), f.records[n])
	}
	fmt.Fprintf(w, "| all; the overview has %d | %d | %d | %s | %d |\n\n", f.failed, total, sum(f.incidents), exported(f.exported...), sum(f.records))

	fmt.Fprintf(w, "| a read, every %s | reads | median | 99th of 100 | slowest |\n", f.storm.readEvery)
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|")
	for _, path := range []string{readFailures, readIncidents} {
		took := slices.Sorted(slices.Values(f.reads[path]))
		at := func(of float64) string { return inMS(took[int(of*float64(len(took)-1))]) }
		fmt.Fprintf(w, "| `%s` | %d | %s | %s | %s |\n", path, len(took), at(0.5), at(0.99), at(1))
	}
	fmt.Fprintln(w)

	fmt.Fprintln(w, "| Caddy's memory after a collection | at the start | after a third | after two thirds | in the end | at most |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|")
	for _, row := range []struct {
		name string
		of   func(memory) uint64
	}{
		{"heap in use", func(m memory) uint64 { return m.heap }},
		{"resident", func(m memory) uint64 { return m.resident }},
	} {
		last := len(f.memory) - 1
		fmt.Fprintf(w, "| %s", row.name)
		for _, n := range []int{0, last / 3, last * 2 / 3, last} {
			fmt.Fprintf(w, " | %s", inMiB(row.of(f.memory[n])))
		}
		most := slices.MaxFunc(f.memory, func(a, b memory) int { return int(row.of(a)) - int(row.of(b)) })
		fmt.Fprintf(w, " | %s |\n", inMiB(row.of(most)))
	}
}

func sum(counts []int) (total int) {
	for _, count := range counts {
		total += count
	}
	return total
}

func inMS(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

func inMiB(bytes uint64) string {
	if bytes == 0 {
		return "not known"
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}
