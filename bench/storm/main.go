// Command storm shows that many failures at once change nothing of what is said of them:
// clients meet the upstreams of five sites that fail, as often as they can up to a rate, and
// once a second that of a sixth, while somebody reads what was recorded. In the end
// everybody's counts must agree, and the sixth must have its records. It prints Markdown
// tables, and exits with 1 where something disagrees.
//
//	go run ./bench/storm                      10 000 failures a second for 60 s
//	go run ./bench/storm -out                 the five upstreams are out, and not dialled
//	go run ./bench/storm -rate 500 -seconds 10
//
// Caddy is a process of its own, this program again, so that its memory and its time are
// its own. Everything stays on loopback. Resident memory needs Linux's /proc.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed-0f014f16/caddy-upstream-diagnostics"
)

func main() {
	if isCaddy() {
		caddycmd.Main()
		return
	}
	rate := flag.Int("rate", 10_000, "failures a `second` of the five sites together")
	out := flag.Bool("out", false, "after their first failure the five upstreams are out (fail_duration) and not dialled, which costs less")
	seconds := flag.Int("seconds", 60, "for how many `seconds`")
	connections := flag.Int("connections", 32, "how many keep-alive `connections` they come over")
	flag.Parse()
	if flag.NArg() > 0 || *rate < 1 || *seconds < 1 || *connections < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	agreed, err := show(ctx, storm{
		rate: *rate, out: *out, most: *rate * *seconds, lasts: time.Duration(*seconds) * time.Second, connections: *connections,
		rareEvery: time.Second, mostRare: *seconds,
		readEvery: 100 * time.Millisecond, measureEvery: time.Second,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
	}
	if err != nil || !agreed {
		os.Exit(1)
	}
}

// show runs a storm and prints what it found.
func show(ctx context.Context, s storm) (agreed bool, err error) {
	fmt.Fprintf(os.Stderr, "storm: %d failures a second for %s\n", s.rate, s.lasts)
	f, err := s.run(ctx)
	if err != nil {
		return false, err
	}
	fmt.Println(machine())
	fmt.Println()
	f.print(os.Stdout)
	wrong := f.disagreements()
	for _, what := range wrong {
		fmt.Fprintln(os.Stderr, "storm:", what)
	}
	return len(wrong) == 0, nil
}

// machine says what it was measured on, as bench/compare.sh does.
func machine() string {
	model := "unknown CPU"
	info, _ := os.ReadFile("/proc/cpuinfo") // elsewhere than on Linux it isn't known
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	system := runtime.GOOS
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system = "Linux " + string(bytes.TrimSpace(release))
	}
	caddy := "Caddy"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "github.com/caddyserver/caddy/v2" {
				caddy += " " + module.Version
			}
		}
	}
	return fmt.Sprintf("Machine: %s, %d cores, %s.\nGo %s, %s.", model, runtime.NumCPU(), system, strings.TrimPrefix(runtime.Version(), "go"), caddy)
}
