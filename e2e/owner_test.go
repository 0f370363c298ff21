//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The preview is of a process that starts nothing: it is made while another program has the
// config's ports, and leaves nothing behind. What it writes is a page that a browser shows, with
// its script at work and nothing blocked.
func TestPreviewCommand(t *testing.T) {
	t.Parallel()
	chromium := program(t, "chromium", "chromium", "chromium-browser", "google-chrome")
	dir := workDir(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	for name, want := range map[string]string{
		"page-plain":     "<h1>This site took too long to answer</h1>",
		"page-framework": "<strong>✕ no answer in time</strong>",
	} {
		t.Run(name, func(t *testing.T) {
			example, err := os.ReadFile(filepath.Join(root, "examples", name, "Caddyfile"))
			if err != nil {
				t.Fatal(err)
			}
			address := taken.Addr().String()
			config := write(t, filepath.Join(dir, name+".caddyfile"), strings.NewReplacer("localhost:2020", address, "localhost:8080", address).Replace(string(example)))
			code, page, errs := caddyCommand(t, root, "upstream-failures", "preview", "--config", config, "--adapter", "caddyfile", "--category", "timeout")
			if code != 0 || errs != "" || !strings.HasPrefix(page, "<!doctype html>") {
				t.Fatalf("exit code %d, %s%s", code, page, errs)
			}
			file := write(t, filepath.Join(dir, name+".html"), page)
			for _, window := range []string{"320,800", "1280,800"} {
				shown := inBrowser(t, chromium, dir, window, "file://"+file)
				for _, part := range []string{want, "<code>k3f9qw2ax</code>"} {
					if !strings.Contains(shown, part) {
						t.Errorf("the page doesn't have %q:\n%s", part, shown)
					}
				}
				if !shownButton.MatchString(shown) {
					t.Error("the script has not shown the button that copies the reference")
				}
				if said := consoleLine.FindAllString(shown, -1); len(said) > 0 {
					t.Errorf("the console says %q", said)
				}
			}
		})
	}

	t.Run("several sites", func(t *testing.T) {
		write(t, filepath.Join(dir, "Caddyfile"), "a.example.com {\n\ttls internal\n\tupstream_diagnostics\n\treverse_proxy app:8080 {\n\t\thealth_uri /\n\t}\n}\nb.example.com {\n\tupstream_diagnostics {\n\t\tlanguage de\n\t}\n\treverse_proxy app:8080\n}\n")
		before := filesIn(t, dir)
		code, page, errs := caddyCommand(t, dir, "upstream-failures", "preview", "--site", "b.example.com")
		if code != 0 || errs != "" || !strings.Contains(page, `<html lang="de"`) {
			t.Errorf("exit code %d, %s%s", code, page, errs)
		}
		code, page, errs = caddyCommand(t, dir, "upstream-failures", "preview")
		if code != 0 || !strings.Contains(page, `<html lang="en"`) || errs != "this is the page of a.example.com: --site chooses another one (b.example.com)\n" {
			t.Errorf("exit code %d, %s%s", code, page, errs)
		}
		code, page, errs = caddyCommand(t, dir, "upstream-failures", "preview", "--category", "late")
		if code != 2 || page != "" || !strings.HasPrefix(errs, "Error: --category: expected one of unavailable, ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("exit code %d, %s%s", code, page, errs)
		}
		if after := filesIn(t, dir); after != before {
			t.Errorf("it leaves files:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// shownButton is the button of the reference once the script runs: it is hidden before.
var shownButton = regexp.MustCompile(`<button id="copy" value="Copied">Copy</button>`)

// filesIn are the names of all files within a directory.
func filesIn(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !strings.Contains(path, "/profile") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, "\n")
}

// inBrowser is what a browser has made of a page, and what its console says.
func inBrowser(t *testing.T, chromium, dir, window, url string) string {
	t.Helper()
	// Its sandbox needs rights that a container hasn't.
	browser := startPart(t, dir, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size="+window,
		"--user-data-dir="+filepath.Join(dir, "profile"), "--accept-lang=en-US", "--enable-logging=stderr", "--dump-dom", url)
	select {
	case <-browser.exited:
	case <-time.After(time.Minute):
		t.Fatal("the browser doesn't end")
	}
	printed, err := os.ReadFile(browser.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(printed)
}
