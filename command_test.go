package diagnostics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// printed is what a command prints, also while it goes on.
type printed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// commandLine is one of `caddy upstream-failures`.
type commandLine struct {
	out, err printed
	in       io.Reader
}

// run gives the exit code, as caddycmd.Main makes it.
func (c *commandLine) run(ctx context.Context, args ...string) (code int) {
	root, cmd := &cobra.Command{Use: "caddy", SilenceUsage: true}, &cobra.Command{Use: "upstream-failures"}
	describeCommand(cmd)
	root.AddCommand(cmd)
	root.SetArgs(append([]string{"upstream-failures"}, args...))
	root.SetOut(&c.out)
	root.SetErr(&c.err)
	root.SetIn(c.in)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errOpen):
		return 1
	}
	if n, _ := fmt.Sscanf(err.Error(), "exiting with status %d", &code); n != 1 {
		return -1 // it is 1, and cobra has told it
	}
	return code
}

// runCommand runs it, and wants that exit code.
func runCommand(t *testing.T, code int, args ...string) (out, err string) {
	t.Helper()
	var c commandLine
	if got := c.run(t.Context(), args...); got != code {
		t.Errorf("%s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, c.out.String(), c.err.String())
	}
	return c.out.String(), c.err.String()
}

// addressOf is where a Caddy's admin endpoint is.
func addressOf(c *testcaddy.Caddy) string { return strings.TrimPrefix(c.Admin, "http://") }

// words are those of each line, so that widths don't matter.
func words(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestCommandShowsFailures(t *testing.T) {
	c := adminCaddy(t)
	address := addressOf(c)
	all := c.Failures()
	out, _ := runCommand(t, 0, "--address", address)
	lines := words(out)
	if len(lines) != 1+4+1+5 || !strings.HasPrefix(lines[0], "3 incidents are open") ||
		lines[1] != "STATE SINCE LAST SEEN REQUESTS SITE UPSTREAM CAUSE INCIDENT SUMMARY" || lines[5] != "" ||
		lines[6] != "TIME ID OUTCOME STATUS SITE UPSTREAM CAUSE SUMMARY" {
		t.Fatalf("got\n%s", out)
	}
	for i, f := range all {
		want := fmt.Sprintf("%s %s %s %d shop %s %s %s", f.Time, f.ID, f.Outcome, f.Status, f.Upstream, f.Cause, f.Summary)
		if lines[7+i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[7+i], want)
		}
	}
	for name, test := range map[string]struct {
		filters []string
		want    int
	}{
		"an upstream":       {[]string{"--upstream", all[0].Upstream}, 2},
		"two causes":        {[]string{"--cause", "connection_refused,closed_before_response"}, 3},
		"two causes, twice": {[]string{"--cause", "connection_refused", "--cause", "closed_before_response"}, 3},
		"another site":      {[]string{"--site", "other"}, 0},
		"an outcome":        {[]string{"--outcome", "upstream_answered"}, 1},
		"not long ago":      {[]string{"--since", "15m"}, 4},
		"since a time":      {[]string{"--since", "2026-01-01T00:00:00Z"}, 4},
		"some":              {[]string{"--limit", "3"}, 3},
	} {
		out, _ := runCommand(t, 0, append(test.filters, "--json", "--address", address)...)
		if got := strings.Count(out, "\n"); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// As JSON each is the very object that the API gives.
func TestCommandShowsJSON(t *testing.T) {
	c := adminCaddy(t)
	address := addressOf(c)
	var list struct {
		Failures, Incidents []json.RawMessage
		Next, Newest        string
	}
	objects := func(raw []json.RawMessage) (lines string) {
		for _, one := range raw {
			lines += string(one) + "\n"
		}
		return lines
	}
	c.AdminGet("/upstream_diagnostics/failures", &list)
	if out, _ := runCommand(t, 0, "--json", "--address", address); out != objects(list.Failures) {
		t.Errorf("got %s, want %s", out, objects(list.Failures))
	}
	id := c.Failures()[2].ID
	if out, _ := runCommand(t, 0, id, "--json", "--address", address); out != objects(list.Failures[2:3]) {
		t.Errorf("one: %s", out)
	}
	if out, _ := runCommand(t, 0, "latest", "--json", "--cause", "closed_before_response", "--address", address); out != objects(list.Failures[2:3]) {
		t.Errorf("the latest of its cause: %s", out)
	}
	c.AdminGet("/upstream_diagnostics/incidents", &list)
	if out, _ := runCommand(t, 0, "--incidents", "--json", "--address", address); out != objects(list.Incidents) || len(list.Incidents) != 3 {
		t.Errorf("incidents: %s", out)
	}
	if out, _ := runCommand(t, 0, "--incidents", "--json", "--limit", "2", "--address", address); out != objects(list.Incidents[:2]) {
		t.Errorf("two of them: %s", out)
	}
}

// failingWait is the bar of an attempt that failed while it waited, however short that was.
var failingWait = regexp.MustCompile(`(?m)^ *\[[ .cs]*W+[ .]*\]`)

func TestCommandShowsOneInFull(t *testing.T) {
	c := adminCaddy(t)
	f := c.Failures("cause=closed_before_response")[0]
	text := c.AdminDo(http.MethodGet, "/failures/"+f.ID, "Accept: text/plain").Body
	for _, args := range [][]string{{f.ID}, {"latest", "--cause", "closed_before_response"}, {"latest", "--upstream", f.Upstream}} {
		out, _ := runCommand(t, 0, append(args, "--address", addressOf(c))...)
		if out != text || !failingWait.MatchString(out) || !strings.Contains(out, "w wait, . none of these, in capitals where it failed") {
			t.Errorf("%v: got\n%s\nwant\n%s", args, out, text)
		}
	}
	t.Setenv("CLICOLOR_FORCE", "1")
	if out, _ := runCommand(t, 0, f.ID, "--address", addressOf(c)); !strings.Contains(out, "\x1b[1;31mclosed_before_response\x1b[0m") {
		t.Errorf("without colours:\n%s", out)
	}
	i := incidentsOf(c, "")[0]
	if out, _ := runCommand(t, 0, "--incidents", i.ID, "--address", addressOf(c)); !strings.Contains(out, i.Advice) || !strings.Contains(out, i.ID) {
		t.Errorf("an incident: %s", out)
	}
}

func TestCommandChecks(t *testing.T) {
	c := adminCaddy(t)
	address := addressOf(c)
	i := incidentsOf(c, "?cause=connection_refused")[0]
	out, _ := runCommand(t, 1, "--check", "--upstream", i.Upstream, "--address", address)
	if lines := words(out); len(lines) != 2 || !strings.HasPrefix(lines[1], "open ") || !strings.Contains(lines[1], i.Upstream+" connection_refused "+i.ID) {
		t.Errorf("got %s", out)
	}
	if out, _ := runCommand(t, 1, "--check", "--json", "--address", address); strings.Count(out, "\n") != 3 {
		t.Errorf("got %s", out)
	}
	out, errs := runCommand(t, 2, "--check", "--site", "other", "--address", address)
	if out != "" || errs != "Error: --site: no running config has \"other\", so nothing can be told of it; there are "+i.Site+"\n" {
		t.Errorf("a site that nobody has: %q, %q", out, errs)
	}
	c.Forget()
	for _, args := range [][]string{nil, {"--site", i.Site}, {"--upstream", i.Upstream}} {
		if out, errs := runCommand(t, 0, append([]string{"--check", "--address", address}, args...)...); out+errs != "" {
			t.Errorf("%v: nothing is open, and it says %q", args, out+errs)
		}
	}
	out, errs = runCommand(t, 2, "--check", "--address", "127.0.0.1:1")
	if out != "" || !strings.HasPrefix(errs, "Error: nothing listens at 127.0.0.1:1: is Caddy running") {
		t.Errorf("nobody is there: %q, %q", out, errs)
	}
}

// Where no site has the directive, that nothing is known to fail means nothing.
func TestCommandTellsThatNothingIsRecorded(t *testing.T) {
	const none = "no site has upstream_diagnostics, so nothing is recorded: put it into each site that has a reverse_proxy\n"
	c := testcaddy.Start(t, "reverse_proxy "+testcaddy.Dead(t))
	if out, errs := runCommand(t, 2, "--check", "--address", addressOf(c)); out != "" || errs != "Error: "+none {
		t.Errorf("--check: %q, %q", out, errs)
	}
	if out, errs := runCommand(t, 0, "--address", addressOf(c)); !strings.Contains(out, "No failure is kept.") || errs != none {
		t.Errorf("the list: %q, %q", out, errs)
	}
	if err := c.Load("", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)); err != nil {
		t.Fatal(err)
	}
	if out, errs := runCommand(t, 0, "--check", "--address", addressOf(c)); out+errs != "" {
		t.Errorf("it is there: %q, %q", out, errs)
	}
	if err := c.Load("", "upstream_diagnostics {\nlanguage sv\n}\nreverse_proxy "+testcaddy.Dead(t)); err == nil {
		t.Fatal("it was loaded")
	}
	if err := c.Load("", "reverse_proxy "+testcaddy.Dead(t)); err != nil {
		t.Fatal(err)
	}
	if _, errs := runCommand(t, 2, "--check", "--address", addressOf(c)); errs != "Error: "+none {
		t.Errorf("it is gone again: %q", errs)
	}
}

// A site or an upstream that nobody has is told of, where nothing is found.
func TestCommandTellsOfUnknownNames(t *testing.T) {
	upstream := testcaddy.Good(t)
	c := testcaddy.Start(t, "upstream_diagnostics {\nsite shop\n}\nreverse_proxy "+upstream)
	for args, want := range map[string]string{
		"--site shop":                "",
		"--site shpo":                `--site: no running config has "shpo", so nothing can be told of it; there are shop (did you mean shop?)` + "\n",
		"--site shop --upstream a:1": `--upstream: no running config has "a:1", so nothing can be told of it; there are ` + upstream + "\n",
		"--upstream " + upstream:     "",
		"--cause unknown":            "",
	} {
		if _, errs := runCommand(t, 0, append(strings.Fields(args), "--address", addressOf(c))...); errs != want {
			t.Errorf("%s: %q, want %q", args, errs, want)
		}
	}
}

// What can't be meant is refused with a sentence, and never with the exit code that says
// that an incident is open.
func TestCommandRefuses(t *testing.T) {
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	for args, want := range map[string]string{
		"--nonsense":                             "unknown flag: --nonsense",
		"--check --nonsense":                     "unknown flag: --nonsense",
		"--limit many":                           `invalid argument "many" for "--limit" flag`,
		"--limit 0":                              "--limit: expected a number from 1 to 1000, got 0",
		"--limit 1001":                           "--limit: expected a number from 1 to 1000, got 1001",
		"--follow --limit -1":                    "--limit: expected a number from 1 to 1000, got -1",
		"k3f9qw2ax zff9ge3t7":                    "expected one id at most, got 2: k3f9qw2ax zff9ge3t7",
		"k3f9qw2ax --cause unknown":              "one that is named by its id has no --cause",
		"k3f9qw2ax --follow":                     "one that is named by its id has no --follow",
		"latest --follow":                        "latest has no --follow",
		"latest --limit 3":                       "latest has no --limit",
		"--check k3f9qw2ax":                      "--check takes no id",
		"--check --follow":                       "--check has no --follow",
		"--check --since 1h":                     "--check has no --since",
		"--incidents --follow --limit 3":         "--follow --incidents has no --limit",
		"../causes":                              `expected an id such as k3f9qw2ax, or latest, got "../causes"`,
		"nope":                                   `no failure "nope" is kept`,
		"--incidents nope":                       `no incident "nope" is kept`,
		"latest":                                 "no failure is kept that is one of those asked for",
		"--cause nope":                           "cause: expected one",
		"--check --cause nope":                   "cause: expected one",
		"--follow --cause nope":                  "cause: expected one",
		"--since yesterday":                      "since: expected a time such as ",
		"--outcome died":                         "outcome: expected one of failed, rescued, truncated, abandoned, upstream_answered, got ",
		"--upstream \u202e\x1b[2J --since x":     "since: expected a time such as ",
		"probe":                                  "expected one upstream, such as app:8080, got 0",
		"prob app:8080":                          "expected one id at most, got 2: prob app:8080 (did you mean probe?)",
		"--cause conection_refused":              `cause: expected one that the list of causes has, got "conection_refused" (did you mean connection_refused?)`,
		"--check --cause dns_timeout,dns_timout": `cause: expected one that the list of causes has, got "dns_timout" (did you mean dns_timeout?)`,
		"--outcome fialed":                       `outcome: expected one of failed, rescued, truncated, abandoned, upstream_answered, got "fialed" (did you mean failed?)`,
		"probe a b":                              "expected one upstream, such as app:8080, got 2",
		"probe --follow a":                       "unknown flag: --follow",
		"\u202e\x1b[2J":                          `expected an id such as k3f9qw2ax, or latest, got "\u202e\x1b[2J"`,
		"--\u202e\x1b[2J":                        `unknown flag: --\u202e\x1b[2J`,
		"--address localhost":                    `expected an admin address with a port such as localhost:2019, got "localhost"`,
		"--address http://localhost:2019":        `expected an admin address such as localhost:2019 or unix//run/caddy.sock, got "http://localhost:2019"`,
		"--address localhost:2019-2021":          `expected an admin address such as localhost:2019 or unix//run/caddy.sock, got "localhost:2019-2021"`,
		"--address fd/3":                         "fd/3 is a socket that only Caddy's process has",
		"--adapter caddyfile":                    "which admin endpoint is meant? --adapter is that of a --config; name it by --address, such as --address ",
		"--config none.json":                     "which admin endpoint is meant? open none.json: ",
	} {
		fields := strings.Fields(args)
		if !slices.Contains(fields, "--address") && !slices.Contains(fields, "--config") && !slices.Contains(fields, "--adapter") {
			fields = append(fields, "--address", addressOf(c))
		}
		out, errs := runCommand(t, 2, fields...)
		if out != "" || !strings.HasPrefix(errs, "Error: "+want) || strings.Count(errs, "\n") != 1 || strings.ContainsAny(errs, "\x1b\u202e") {
			t.Errorf("%s: %q, %q, want %q", args, out, errs, want)
		}
	}
}

// follow begins to follow, and ends when the test wants it.
func follow(t *testing.T, args ...string) (c *commandLine, end func()) {
	t.Helper()
	c = new(commandLine)
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- c.run(ctx, append(args, "--follow")...) }()
	return c, func() {
		t.Helper()
		cancel()
		if got := <-code; got != 0 {
			t.Errorf("exit code %d: %s", got, c.err.String())
		}
	}
}

// A reload in between goes unnoticed, but for what fails.
func TestCommandFollows(t *testing.T) {
	c := testcaddy.New(t)
	site := "upstream_diagnostics\nreverse_proxy " + testcaddy.Dead(t)
	if err := c.Load("", site); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	c.Visit("/before")
	failures, endFailures := follow(t, "--json", "--address", addressOf(c))
	incidents, endIncidents := follow(t, "--incidents", "--address", addressOf(c))
	uris := func() (uris []string) {
		for line := range strings.Lines(failures.out.String()) {
			var f failure.Failure
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			uris = append(uris, f.Request.URI)
		}
		return uris
	}
	shows := func(want ...string) {
		t.Helper()
		testcaddy.Eventually(t, fmt.Sprint(want), func() bool { return slices.Equal(uris(), want) })
	}
	shows("/before")
	c.Visit("/1")
	shows("/before", "/1")
	if err := c.Load("", site+"\nheader X-Config second"); err != nil {
		t.Fatal(err)
	}
	c.Visit("/2")
	shows("/before", "/1", "/2")

	testcaddy.Eventually(t, "the incident", func() bool { return len(words(incidents.out.String())) == 2 })
	c.Forget()
	c.Visit("/3")
	shows("/before", "/1", "/2", "/3")
	testcaddy.Eventually(t, "the incident that came instead", func() bool { return len(words(incidents.out.String())) == 3 })
	endFailures()
	endIncidents()
	if told := failures.err.String() + incidents.err.String(); told != "" {
		t.Errorf("told %q", told)
	}
}

// The admin endpoint is found as `caddy reload` finds it.
func TestCommandFindsCaddy(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	c := testcaddy.New(t)
	admin := addressOf(c)
	write := func(t *testing.T, name, text string) string {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, listens := range map[string]string{"by TCP": admin, "enforcing origins": admin + " {\nenforce_origin\n}", "by a unix socket": "unix/" + socket + "|0600"} {
		caddyfile := strings.Replace(c.Caddyfile("", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)), "admin "+admin, "admin "+listens, 1)
		if err := testcaddy.Load(caddyfile); err != nil {
			t.Fatal(err)
		}
		address, _, _ := strings.Cut(listens, " ")
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			finds := func(args ...string) {
				t.Helper()
				out, errs := runCommand(t, 0, args...)
				if !strings.HasPrefix(out, "No incident was opened since recording began, at ") || errs != "" {
					t.Errorf("%v: %q, %q", args, out, errs)
				}
			}
			finds("--address", address)
			config, _, err := readConfig(strings.NewReader(caddyfile), "-", "caddyfile")
			if err != nil {
				t.Fatal(err)
			}
			finds("--config", write(t, "caddy.json", string(config)))
			finds("--config", write(t, "site.caddyfile", caddyfile))
			finds("-c", write(t, "site.conf", caddyfile), "-a", "caddyfile")
			var stdin commandLine
			stdin.in = bytes.NewReader(config)
			if code := stdin.run(t.Context(), "--config", "-"); code != 0 {
				t.Errorf("from stdin: %d, %s", code, stdin.err.String())
			}
			before := caddy.DefaultAdminListen // which CADDY_ADMIN sets when Caddy starts
			caddy.DefaultAdminListen = address
			finds()
			finds("--config", write(t, "none.json", "{}"))
			caddy.DefaultAdminListen = "localhost:1"
			write(t, "Caddyfile", caddyfile)
			finds()
			caddy.DefaultAdminListen = before
		})
	}
	testcaddy.Stop(t)
}

// A config that can't say where Caddy is says why.
func TestCommandAndConfigs(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct {
		file, text string
		args       []string
		want       string
	}{
		"admin off":          {"Caddyfile", "{\nadmin off\n}\n", nil, `Caddyfile has "admin off", so that nobody can be asked: failures are in Caddy's log alone (to ask another Caddy, name it by --address)`},
		"admin off, by name": {"site.caddyfile", "{\nadmin off\n}\n", []string{"-c", "site.caddyfile"}, `site.caddyfile has "admin off"`},
		"no Caddyfile":       {"Caddyfile", "localhost {\nnonsense\n}\n", nil, "which admin endpoint is meant? Caddyfile can't be adapted: Caddyfile:2: unrecognized directive: nonsense; name it by --address, such as --address "},
		"no JSON":            {"site.json", "localhost", []string{"-c", "site.json"}, "which admin endpoint is meant? site.json is not JSON: name its adapter by --adapter; "},
		"no adapter":         {"site.yaml", "", []string{"-c", "site.yaml", "-a", "no"}, `which admin endpoint is meant? there is no adapter "no"; `},
		"nobody there":       {"Caddyfile", "{\nadmin 127.0.0.1:1\n}\n", nil, "nothing listens at 127.0.0.1:1 (which Caddyfile names): is Caddy running"},
	} {
		if err := os.WriteFile(test.file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs := runCommand(t, 2, test.args...)
		if out != "" || !strings.HasPrefix(errs, "Error: "+test.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %q, %q, want %q", name, out, errs, test.want)
		}
	}
}

// A Caddy that wants to be asked by another name says so.
func TestCommandIsRefused(t *testing.T) {
	c := testcaddy.New(t)
	caddyfile := strings.Replace(c.Caddyfile("", "respond ok"), "admin "+addressOf(c), "admin "+addressOf(c)+" {\norigins caddy.example.com\n}", 1)
	if err := testcaddy.Load(caddyfile); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	_, errs := runCommand(t, 2, "--address", addressOf(c))
	if want := "Error: Caddy refuses who asks it as " + addressOf(c) + ": host not allowed: "; !strings.HasPrefix(errs, want) {
		t.Errorf("%q, want %q", errs, want)
	}
}

// One that listens at all addresses, as in a container, is asked at localhost.
func TestCommandAsksWhoListensEverywhere(t *testing.T) {
	c := testcaddy.New(t)
	everywhere := strings.Replace(addressOf(c), "127.0.0.1", "0.0.0.0", 1)
	caddyfile := strings.Replace(c.Caddyfile("", "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t)), "admin "+addressOf(c), "admin "+everywhere, 1)
	if err := testcaddy.Load(caddyfile); err != nil {
		t.Fatal(err)
	}
	defer testcaddy.Stop(t)
	for _, args := range [][]string{{"--check"}, {}, {"--json", "--incidents"}} {
		runCommand(t, 0, append(args, "--address", addressOf(c))...)
	}
	if _, errs := runCommand(t, 2, "probe", "app:1", "--address", addressOf(c)); !strings.Contains(errs, "is neither configured nor") {
		t.Errorf("a question that is refused: %q", errs)
	}
}

func TestCommandCompletes(t *testing.T) {
	for args, want := range map[string][]string{
		"--cause connection_":         {"connection_refused", "connection_lost"},
		"--cause unknown,connection_": {"unknown,connection_refused", "unknown,connection_lost"},
		"--outcome ":                  {"failed", "rescued", "truncated", "abandoned", "upstream_answered"},
		"":                            {"latest", "probe"},
	} {
		root, cmd := &cobra.Command{Use: "caddy"}, &cobra.Command{Use: "upstream-failures"}
		describeCommand(cmd)
		root.AddCommand(cmd)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs(append([]string{cobra.ShellCompNoDescRequestCmd, "upstream-failures"}, strings.Split(args, " ")...))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(out.String())
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%q: no %s in %q", args, name, got)
			}
		}
	}
}
