//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// caddyCommand runs one of Caddy's commands to its end.
func caddyCommand(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := command(dir, caddyBinary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// What only a process shows: exit codes, a terminal, Ctrl-C, a Caddy that begins anew, and
// what Caddy makes of its commands.
func TestCommandLine(t *testing.T) {
	dir := workDir(t)
	c := &caddy{address: freeAddress(t), admin: freeAddress(t)}
	c.url = "http://" + c.address
	dead := deadAddress(t)
	write(t, filepath.Join(dir, "Caddyfile"), fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	grace_period 1s
}
%s {
	bind 127.0.0.1
	upstream_diagnostics {
		site shop
	}
	reverse_proxy %s
}
`, c.admin, c.url, dead))
	start := func() {
		t.Helper()
		c.part = startPart(t, dir, caddyBinary, "run", "--config", "Caddyfile")
		c.await(t, "has its admin endpoint", func() bool { return c.ask(t, "/upstream_diagnostics", nil) == nil })
		c.listening(t, "tcp", c.address)
	}
	// The Caddyfile in its directory says where it is.
	cli := func(want int, args ...string) (out, errs string) {
		t.Helper()
		code, out, errs := caddyCommand(t, dir, append([]string{"upstream-failures"}, args...)...)
		if code != want {
			t.Errorf("%v: exit code %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out, errs
	}

	if _, errs := cli(2); !strings.HasPrefix(errs, "Error: nothing listens at "+c.admin+" (which Caddyfile names): is Caddy running") {
		t.Errorf("before it runs: %q", errs)
	}
	start()
	if out, errs := cli(0, "--check"); out+errs != "" {
		t.Errorf("nothing is open, and it prints %q", out+errs)
	}
	c.visit(t, visit{path: "/cart"})
	out, errs := cli(0)
	if !strings.Contains(out, "1 incident is open\n") || !strings.Contains(out, dead) || errs != "" || strings.Contains(out, "\x1b") {
		t.Errorf("got %q, %q", out, errs)
	}
	if out, errs := cli(1, "--check"); !strings.Contains(out, "connection_refused") || errs != "" {
		t.Errorf("one is open: %q, %q", out, errs)
	}
	for _, args := range [][]string{{"--check", "--nonsense"}, {"--check", "a"}, {"--check", "--cause", "nonsense"}, {"--check", "--address", dead}} {
		if out, errs := cli(2, args...); out != "" || !strings.HasPrefix(errs, "Error: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %q, %q", args, out, errs)
		}
	}

	t.Run("terminal", func(t *testing.T) {
		script := program(t, "bsdutils", "script")
		for _, environment := range []string{"TERM=xterm", "TERM=xterm NO_COLOR=1"} {
			cmd := command(dir, script, "-qefc", "stty cols 70; "+environment+" "+caddyBinary+" upstream-failures", "/dev/null")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if coloured := bytes.Contains(out, []byte("\x1b[31m✗ failed\x1b[0m")); coloured == strings.Contains(environment, "NO_COLOR") ||
				!coloured && bytes.Contains(out, []byte("\x1b")) {
				t.Errorf("%s: %q", environment, out)
			}
			for line := range strings.Lines(string(out)) {
				plain := line
				for _, code := range []string{"0", "1", "2", "31", "32", "33", "36", "1;31"} {
					plain = strings.ReplaceAll(plain, "\x1b["+code+"m", "")
				}
				if plain = strings.TrimRight(plain, "\r\n"); utf8.RuneCountInString(plain) > 70 {
					t.Errorf("%s: a line of %d columns: %q", environment, utf8.RuneCountInString(plain), plain)
				}
			}
		}
	})

	t.Run("follow", func(t *testing.T) {
		cmd := command(dir, caddyBinary, "upstream-failures", "--follow", "--json")
		outPath, errPath := filepath.Join(dir, "followed"), filepath.Join(dir, "told")
		stdout, err := os.Create(outPath)
		if err != nil {
			t.Fatal(err)
		}
		defer stdout.Close()
		stderr, err := os.Create(errPath)
		if err != nil {
			t.Fatal(err)
		}
		defer stderr.Close()
		cmd.Stdout, cmd.Stderr = stdout, stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer guard(t, cmd.Process.Pid)()
		read := func(path string) string {
			t.Helper()
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(content)
		}
		shows := func(want string) {
			t.Helper()
			await(t, "followed: "+want, func() bool {
				var uris []string
				for line := range strings.Lines(read(outPath)) {
					var f failure.Failure
					if json.Unmarshal([]byte(line), &f) != nil {
						return false // half of it is written
					}
					uris = append(uris, f.Request.URI)
				}
				return strings.Join(uris, " ") == want
			})
		}
		shows("/cart")
		c.visit(t, visit{path: "/1"})
		shows("/cart /1")
		if code, out, errs := caddyCommand(t, dir, "reload", "--force"); code != 0 {
			t.Fatalf("%s%s", out, errs)
		}
		c.visit(t, visit{path: "/2"})
		shows("/cart /1 /2")
		if told := read(errPath); told != "" {
			t.Errorf("a reload is told: %q", told)
		}
		if code, out, errs := caddyCommand(t, dir, "stop", "--address", c.admin); code != 0 {
			t.Fatalf("%s%s", out, errs)
		}
		<-c.exited
		await(t, "it is told that Caddy is away", func() bool { return strings.HasSuffix(read(errPath), "\nWaiting for it; what comes is shown.\n") })
		start()
		c.visit(t, visit{path: "/3"})
		shows("/cart /1 /2 /3")
		if told := read(errPath); strings.Count(told, "Nothing listens at "+c.admin) != 1 || !strings.HasSuffix(told, "\nCaddy answers again.\n") {
			t.Errorf("told %q", told)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil { // Ctrl-C
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C ends it with %v", err)
		}
	})

	t.Run("manpage", func(t *testing.T) {
		if code, out, errs := caddyCommand(t, dir, "manpage", "--directory", "man"); code != 0 {
			t.Fatalf("%s%s", out, errs)
		}
		for page, want := range map[string]string{"caddy-upstream-failures.8": `\-\-cause`, "caddy-upstream-failures-probe.8": "Asks a configured upstream", "caddy-upstream-failures-preview.8": `\-\-request-sent`} {
			content, err := os.ReadFile(filepath.Join(dir, "man", page))
			if err != nil || !strings.Contains(strings.ReplaceAll(string(content), "--", `\-\-`), want) {
				t.Errorf("%s: %v\n%s", page, err, content)
			}
		}
	})

	t.Run("completion", func(t *testing.T) {
		code, out, errs := caddyCommand(t, dir, "__complete", "upstream-failures", "--cause", "connection_")
		if code != 0 || !strings.Contains(out, "connection_refused\n") {
			t.Errorf("%d, %s%s", code, out, errs)
		}
		code, out, errs = caddyCommand(t, dir, "__complete", "upstream-failures", "preview", "--category", "time")
		if code != 0 || !strings.Contains(out, "timeout\n") {
			t.Errorf("%d, %s%s", code, out, errs)
		}
		if code, out, errs := caddyCommand(t, dir, "completion", "bash"); code != 0 || !strings.Contains(out, "complete") {
			t.Errorf("%d, %s%s", code, out, errs)
		}
	})
}

// What asking again prints and ends with: of an upstream that is well, one that is broken,
// one that no config names, and into a pipe as on a terminal.
func TestProbeCommand(t *testing.T) {
	t.Parallel()
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	good, dead := well.Listener.Addr().String(), deadAddress(t)
	c := startCaddy(t, "upstream_diagnostics {\nsite shop\n}\nreverse_proxy "+good+" "+dead)
	dir := workDir(t)
	probe := func(args ...string) (code int, out, errs string) {
		return caddyCommand(t, dir, append([]string{"upstream-failures", "probe", "--address", c.admin}, args...)...)
	}
	for name, test := range map[string]struct {
		args      []string
		code      int
		out, errs []string // each a part of it, the first its beginning; nil for none
	}{
		"well":              {[]string{good}, 0, []string{good + " answered HEAD / with 200 in ", "\nWell  yes\n", "\nSteps\n", "\nBy way of  shop\n"}, nil},
		"broken":            {[]string{dead}, 0, []string{"Nothing accepts connections at " + dead + ".\n", "\nWell   no\nCause  connection_refused\n", "\nWhat to do\n"}, nil},
		"of its site":       {[]string{good, "--site", "shop"}, 0, []string{good + " answered "}, nil},
		"of another site":   {[]string{good, "--site", "blog"}, 2, nil, []string{"Error: ", "blog"}},
		"not configured":    {[]string{"127.0.0.1:1"}, 2, nil, []string{"Error: ", `127.0.0.1:1`}},
		"none":              {nil, 2, nil, []string{"Error: expected one upstream, such as app:8080, got 0"}},
		"a flag of another": {[]string{good, "--check"}, 2, nil, []string{"Error: unknown flag: --check"}},
		"Caddy isn't there": {[]string{good, "--address", dead}, 2, nil, []string{"Error: nothing listens at " + dead + ": is Caddy running"}},
	} {
		t.Run(name, func(t *testing.T) {
			var code int
			var out, errs string
			await(t, "it may be asked", func() bool { // each once a second
				code, out, errs = probe(test.args...)
				return !strings.Contains(errs, "it was asked only now")
			})
			if code != test.code || !says(out, test.out) || !says(errs, test.errs) || strings.Contains(out+errs, "\x1b") || len(test.errs) > 0 && strings.Count(errs, "\n") != 1 {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		})
	}

	t.Run("JSON", func(t *testing.T) {
		for upstream, want := range map[string]struct {
			ok    bool
			cause string
		}{good: {true, ""}, dead: {false, "connection_refused"}} {
			var code int
			var out, errs string
			await(t, "it may be asked", func() bool {
				code, out, errs = probe(upstream, "--json")
				return !strings.Contains(errs, "it was asked only now")
			})
			var p failure.Probe
			if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 || errs != "" || strings.Count(out, "\n") != 1 ||
				p.OK != want.ok || p.Cause != want.cause || p.Upstream != upstream || len(p.Steps) == 0 {
				t.Errorf("%s: exit code %d, %v\n%s%s", upstream, code, err, out, errs)
			}
		}
	})

	t.Run("terminal", func(t *testing.T) {
		script := program(t, "bsdutils", "script")
		var out []byte
		await(t, "it may be asked", func() bool {
			cmd := command(dir, script, "-qefc", "NO_COLOR=1 TERM=xterm "+caddyBinary+" upstream-failures probe "+dead+" --address "+c.admin, "/dev/null")
			var err error
			out, err = cmd.CombinedOutput()
			return err == nil || !bytes.Contains(out, []byte("it was asked only now"))
		})
		if !says(string(out), []string{"Nothing accepts connections at " + dead + ".\r\n", "connection_refused"}) || bytes.Contains(out, []byte("\x1b")) {
			t.Errorf("%q", out)
		}
	})

	// It opened no incident.
	if code, out, errs := caddyCommand(t, dir, "upstream-failures", "--check", "--address", c.admin); code != 0 || out+errs != "" {
		t.Errorf("asking is told as a failure: %d, %s%s", code, out, errs)
	}
}

// says that a text begins with the first of the parts and has the others, or is empty where
// there are none.
func says(text string, parts []string) bool {
	if len(parts) == 0 {
		return text == ""
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return strings.HasPrefix(text, parts[0])
}
