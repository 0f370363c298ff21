package diagnostics

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// ownerFolder is a folder with these files.
func ownerFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// htmlIn is the page as a browser of that language gets it.
func htmlIn(c *testcaddy.Caddy, language string) testcaddy.Answer {
	return c.Get("/", "Accept: text/html", "Accept-Language: "+language)
}

func wantIn(t *testing.T, a testcaddy.Answer, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(a.Body, part) {
			t.Errorf("%q is not in\n%s", part, a.Body)
		}
	}
}

// Texts of a folder are in the page, the template, the problem document and the text, and a
// reload takes up those that were changed.
func TestOwnersLanguages(t *testing.T) {
	texts := ownerFolder(t, map[string]string{
		"de.json":    "\ufeff{\r\n\"site\": \"Der Laden\", \"situations\": {\"unavailable\": {\"title\": \"Der Laden macht Pause\"}}}",
		"de-AT.json": `{"try_again": "Noch einmal, bitte"}`,
	})
	file := filepath.Join(ownerFolder(t, map[string]string{"page.html": `{{.Texts.Site}}|{{.Title}}|{{.Texts.TryAgain}}|{{.Lang}}`}), "page.html")
	site := func(options string) string {
		return "upstream_diagnostics {\nlanguages " + texts + "\n" + options + "\n}\nreverse_proxy " + testcaddy.Dead(t)
	}
	c := testcaddy.Start(t, site(""))
	wantIn(t, htmlIn(c, "de"), "Der Laden macht Pause", "<b>Der Laden</b>", `<html lang="de" dir="ltr">`)
	wantIn(t, htmlIn(c, "de-AT,de;q=0.9"), "Der Laden macht Pause", "Noch einmal, bitte", `<html lang="de-AT"`)
	wantIn(t, htmlIn(c, "en"), "This site is not available right now")
	wantIn(t, c.Get("/", "Accept: application/json", "Accept-Language: de"), `"title":"Der Laden macht Pause"`)
	wantIn(t, c.Get("/", "Accept-Language: de"), "Der Laden macht Pause\n")

	if err := c.Load("", site("template "+file)); err != nil {
		t.Fatal(err)
	}
	wantIn(t, htmlIn(c, "de-AT"), "Der Laden|Der Laden macht Pause|Noch einmal, bitte|de-AT")

	// Both are read again by a load, and a wrong one leaves what runs.
	for name, content := range map[string]string{filepath.Join(texts, "de.json"): `{"site": "Das Geschäft"}`, file: "new {{.Texts.Site}}"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Load("", site("template "+file)); err != nil {
		t.Fatal(err)
	}
	wantIn(t, htmlIn(c, "de"), "new Das Geschäft")
	if err := os.WriteFile(filepath.Join(texts, "de.json"), []byte(`{"site": ""}`), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, c.Load("", site("template "+file)), filepath.Join(texts, "de.json")+": line 1: site is empty")
	wantIn(t, htmlIn(c, "de"), "new Das Geschäft")

	// One language for all.
	if err := os.WriteFile(filepath.Join(texts, "de.json"), []byte(`{"site": "Der Laden"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Load("", site("language de")); err != nil {
		t.Fatal(err)
	}
	a := htmlIn(c, "fr")
	wantIn(t, a, "<b>Der Laden</b>", `<html lang="de"`)
	if vary := strings.Join(a.Header["Vary"], ", "); strings.Contains(vary, "Accept-Language") || a.Header.Get("Content-Language") != "de" {
		t.Errorf("Vary %q, Content-Language %q", vary, a.Header.Get("Content-Language"))
	}
}

// A logo alone says the name to who can't see it, and help may be a phone number.
func TestLogoOnlyAndPhone(t *testing.T) {
	logo := filepath.Join(ownerFolder(t, map[string]string{"logo.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>"}), "logo.svg")
	for name, test := range map[string]struct {
		brand string
		has   []string
		not   []string
	}{
		"logo only": {"logo_only\nname \"Tom & Tim\"\nlogo " + logo, []string{`alt="Tom &amp; Tim">`, "data:image/svg&#43;xml;base64,", " · Tom &amp; Tim</title>"}, []string{"<bdi>Tom"}},
		"both":      {"name Shop\nlogo " + logo, []string{`alt="">`, "<bdi>Shop</bdi>"}, nil},
		"a phone":   {"support tel:+49-30-123456", []string{`href="tel:&#43;49-30-123456">Get help</a>`}, nil},
		"mail":      {"support mailto:help@example.com?subject=Shop", []string{`href="mailto:help@example.com?subject=Shop%20Reference%20`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := testcaddy.Start(t, "upstream_diagnostics {\nbrand {\n"+test.brand+"\n}\n}\nreverse_proxy "+testcaddy.Dead(t))
			a := htmlIn(c, "en")
			wantIn(t, a, test.has...)
			for _, part := range test.not {
				if strings.Contains(a.Body, part) {
					t.Errorf("%q is in\n%s", part, a.Body)
				}
			}
		})
	}
}

// The examples of own pages run as they are.
func TestPageExamples(t *testing.T) {
	for name, test := range map[string]struct{ english, german []string }{
		"page-plain": {
			[]string{"<p>Example shop</p>", "<h1>This site is not available right now</h1>", "<b>Example shop</b> reached", `<a href="https://status.example.com/">`, `subject=Reference%20`, "<code>"},
			[]string{`<html lang="de" dir="ltr">`, "<h1>Diese Website ist zurzeit nicht verfügbar</h1>"},
		},
		"page-framework": {
			[]string{"<header>Example shop</header>", "<h1>The shop is closed for a moment</h1>", "<dt>The shop&#39;s server</dt>", "✕ not available", `href="tel:&#43;49-30-123456"`},
			[]string{"<h1>Der Laden ist für einen Moment geschlossen</h1>", "Server des Ladens"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile("examples/" + name + "/Caddyfile")
			if err != nil {
				t.Fatal(err)
			}
			c := testcaddy.New(t)
			c.URL = "http://localhost:" + strconv.Itoa(c.Port)
			options := "admin 127.0.0.1:" + strconv.Itoa(c.AdminPort) + "\npersist_config off\nauto_https off\nlog {\noutput discard\n}\n"
			if err := testcaddy.Load(strings.NewReplacer("admin localhost:2020\n", options, ":8080", ":"+strconv.Itoa(c.Port), "127.0.0.1:9000", testcaddy.Dead(t)).Replace(string(source))); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = caddy.Stop() })
			english := htmlIn(c, "en")
			wantIn(t, english, append(test.english, c.Failures()[0].ID, "<script>{")...)
			wantIn(t, htmlIn(c, "de"), test.german...)
			if english.Status != http.StatusBadGateway || strings.Contains(english.Body, "http:") {
				t.Errorf("status %d, or it loads something: %s", english.Status, english.Body)
			}
			if policy := english.Header.Get("Content-Security-Policy"); policy != "" {
				t.Errorf("an owner's page has our policy %q", policy)
			}
		})
	}
}
