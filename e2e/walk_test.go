//go:build linux

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"
)

// From an alert to the fix, as docs/operating.md walks it: its Caddyfiles are loaded, its
// commands are run in a terminal, in their order, and print what stands below each. Only
// ports, times and ids are others.
func TestFromAnAlertToTheFix(t *testing.T) {
	t.Parallel()
	script := program(t, "bsdutils", "script")
	section, text := sectionOf(t, "../docs/operating.md", "From an alert to the fix")

	dir := workDir(t)
	cert, key, _ := writeCertificate(t, dir)
	if err := os.Rename(cert, filepath.Join(dir, "app-ca.pem")); err != nil {
		t.Fatal(err)
	}
	application := startTLS(t, filepath.Join(dir, "app-ca.pem"), key)
	c := &caddy{address: freeAddress(t), admin: freeAddress(t)}
	c.url = "http://localhost" + c.address[strings.LastIndex(c.address, ":"):]
	w := &walk{t: t, dir: dir, script: script, ids: map[string]string{}, here: strings.NewReplacer(
		"127.0.0.1:9443", application, "localhost:8080", strings.TrimPrefix(c.url, "http://"))}
	options := fmt.Sprintf("{\n\tadmin %s\n\tpersist_config off\n\tauto_https off\n\tgrace_period 1s\n\tdefault_bind 127.0.0.1\n}\n", c.admin)

	for _, block := range section {
		switch block.language {
		case "caddyfile":
			w.configure(options, block.text)
			if c.part == nil {
				c.part = startPart(t, dir, caddyBinary, "run")
				c.await(t, "has its admin endpoint", func() bool { return c.ask(t, "/upstream_diagnostics", nil) == nil })
				for range 3 { // visitors, before anybody looks
					c.visit(t, visit{path: "/cart"})
				}
			}
		case "console":
			w.console(block.text)
		}
	}
	if w.commands < 8 {
		t.Errorf("it has %d commands", w.commands)
	}
	if alert := alertOf(t, "CaddyUpstreamBroken"); !strings.Contains(text, "`"+alert+"`") {
		t.Errorf("it doesn't name the alert, %q", alert)
	}
}

// startTLS runs an application that speaks TLS alone, and gives its address.
func startTLS(t *testing.T, cert, key string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the shop\n") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// block is a fence of a document.
type block struct{ language, text string }

// sectionOf are the fences below a heading of a document.
func sectionOf(t *testing.T, document, heading string) (blocks []block, text string) {
	t.Helper()
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(content), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", document, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, match := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, block{match[1], match[2]})
	}
	return blocks, section
}

// alertOf is what the example's alert says of the incident.
func alertOf(t *testing.T, name string) string {
	t.Helper()
	rules, err := os.ReadFile("../examples/observability/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, _ := strings.Cut(string(rules), "alert: "+name+"\n")
	summary := regexp.MustCompile(`summary: "(.*)"`).FindStringSubmatch(rule)
	if summary == nil {
		t.Fatalf("there is no alert %s", name)
	}
	said, err := template.New(name).Parse("{{ $labels := . }}" + summary[1]) // as Prometheus does
	if err != nil {
		t.Fatal(err)
	}
	var alert strings.Builder
	if err := said.Execute(&alert, map[string]string{"upstream": "127.0.0.1:9443", "site": "shop", "cause": "tls_expected"}); err != nil {
		t.Fatal(err)
	}
	return alert.String()
}

// walk runs what a document shows.
type walk struct {
	t           *testing.T
	dir, script string
	here        *strings.Replacer // what is another one here
	ids         map[string]string // those of failures, by the document's
	commands    int
}

// configure writes the Caddyfile: a whole one, or what stands in the place of its reverse_proxy.
func (w *walk) configure(options, text string) {
	w.t.Helper()
	text = w.here.Replace(text)
	path := filepath.Join(w.dir, "Caddyfile")
	if strings.HasPrefix(text, "\t") {
		before, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		write(w.t, path, regexp.MustCompile(`(?m)^\treverse_proxy .*\n`).ReplaceAllLiteralString(string(before), text))
		return
	}
	write(w.t, path, options+text)
}

// console runs each command of a block, and compares what it prints with what stands below.
func (w *walk) console(text string) {
	w.t.Helper()
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "$ "), "\n$ ") {
		line, printed, _ := strings.Cut(part, "\n")
		w.commands++
		for of, id := range w.ids {
			line = strings.ReplaceAll(line, of, id)
		}
		line = w.here.Replace(line)
		got := w.run(line)
		if problem := w.compare(w.here.Replace(printed), got); problem != "" {
			w.t.Fatalf("$ %s\n%s\nit prints\n%s\nand should\n%s", line, problem, got, printed)
		}
	}
}

// run runs a command in a terminal of 160 columns.
func (w *walk) run(line string) string {
	w.t.Helper()
	write(w.t, filepath.Join(w.dir, "command"), line+"\n")
	var out []byte
	var code int
	await(w.t, line, func() bool {
		cmd := command(w.dir, w.script, "-qec", "stty cols 160; exec bash command", "/dev/null")
		cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(caddyBinary)+":"+os.Getenv("PATH"), "TERM=xterm", "NO_COLOR=1")
		over := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
		defer over.Stop()
		out, _ = cmd.CombinedOutput() // see code
		code = cmd.ProcessState.ExitCode()
		return !strings.HasPrefix(string(out), "Error: it was asked only now") // nobody types so fast
	})
	wanted := 0
	if strings.HasSuffix(line, " --check") {
		wanted = 1 // as the text says
	}
	if code != wanted {
		w.t.Fatalf("$ %s: exit code %d\n%s", line, code, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// compare says what is not as the document has it. There, a line of … stands for any number of
// them, and … at the end of a line for the rest of it.
func (w *walk) compare(documented, got string) (problem string) {
	lines := strings.Split(strings.TrimRight(got, "\n"), "\n")
	leftOut := false
	for want := range strings.SplitSeq(strings.TrimRight(documented, "\n"), "\n") {
		if want == "…" {
			leftOut = true
			continue
		}
		for leftOut && len(lines) > 1 && !w.same(want, lines[0]) {
			lines = lines[1:]
		}
		if len(lines) == 0 || !w.same(want, lines[0]) {
			return fmt.Sprintf("there is no line %q", want)
		}
		lines, leftOut = lines[1:], false
	}
	if len(lines) > 0 && !leftOut {
		return fmt.Sprintf("there is a line more: %q", lines[0])
	}
	return ""
}

var (
	someID = regexp.MustCompile(`^[a-z0-9]{9}$`)
	// othersEachTime are times, durations and ids of incidents.
	othersEachTime = []*regexp.Regexp{
		regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`),
		regexp.MustCompile(`\bnow\b|\b\d+ (s|min|h) ago\b`),
		regexp.MustCompile(`\b\d+(\.\d+)? (ms|s)\b`),
		regexp.MustCompile(`\b[0-9a-f]{16}\b`),
	}
)

// same compares two lines, but for spaces and what is another one each time.
func (w *walk) same(want, got string) bool {
	for n, other := range othersEachTime {
		stands := fmt.Sprintf("<%d>", n)
		want, got = other.ReplaceAllString(want, stands), other.ReplaceAllString(got, stands)
	}
	wanted, found := strings.Fields(want), strings.Fields(got)
	for n := range min(len(wanted), len(found)) {
		if someID.MatchString(wanted[n]) && strings.ContainsAny(wanted[n], "0123456789") && someID.MatchString(found[n]) {
			w.ids[wanted[n]] = found[n]
			found[n] = wanted[n]
		}
	}
	want, got = strings.Join(wanted, " "), strings.Join(found, " ")
	begun, cut := strings.CutSuffix(want, "…")
	if cut {
		got = strings.TrimSuffix(got, "…")
		shorter := min(len(begun), len(got))
		return shorter > 0 && begun[:shorter] == got[:shorter]
	}
	return want == got
}
