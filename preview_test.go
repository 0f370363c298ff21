package diagnostics

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// previewCaddyfile has a site of each kind. What would listen, log, ask an upstream or make
// a certificate must not.
const previewCaddyfile = `{
	admin 127.0.0.1:1
	log {
		output file log/caddy.log
	}
	storage file_system storage
	skip_install_trust
}
off-for-now.example.com {
	tls internal
	upstream_diagnostics {
		page off
	}
	reverse_proxy 127.0.0.1:1
}
shop.example.com, www.example.com {
	tls internal
	log {
		output file log/access.log
	}
	upstream_diagnostics {
		brand {
			name "The Shop"
			support tel:+49-30-123456
		}
	}
	reverse_proxy 127.0.0.1:1 {
		health_uri /
	}
	handle_errors {
		upstream_diagnostics {
			site fallback
			page minimal
		}
		reverse_proxy 127.0.0.1:1
	}
}
http://own.example.com:9 {
	handle /blog/* {
		upstream_diagnostics {
			site till
			template page.html
			languages texts
			language de
			retry_after 30s
			intercept 500
		}
		reverse_proxy 127.0.0.1:1
	}
}
`

// previewFolder is the working directory, with the config and what it names.
func previewFolder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPreview(t *testing.T) {
	files := map[string]string{
		"Caddyfile":     previewCaddyfile,
		"page.html":     `<p>{{.Status}} {{.Category}} {{.RequestSent}} {{.RetryAfterSeconds}} {{.Method}} {{.Lang}}: {{.Title}}, {{.Texts.You}} {{.ID}}`,
		"texts/de.json": `{"you": "Du", "situations": {"timeout": {"title": "Zu langsam"}}}`,
		"broken": `http://shop.example.com {
	upstream_diagnostics {
		template broken.html
	}
}`,
		"broken.html": "<p>\n{{.Titel}}",
		"none":        "http://shop.example.com {\nrespond ok\n}",
		"off":         "http://shop.example.com {\nupstream_diagnostics {\npage off\n}\n}",
		"two":         "http://shop.example.com {\nhandle /a {\nupstream_diagnostics\n}\nhandle {\nupstream_diagnostics\n}\n}",
		"route.json":  `{"apps": {"http": {"servers": {"edge": {"@id": "x", "named_routes": {"app": {"handle": [{"handler": "upstream_diagnostics"}]}}}}}}}`,
		"wrong.json":  `{"apps": {"http": {"servers": {"edge": {"routes": [{"match": [{"host": ["a.example.com"]}], "handle": [{"handler": "upstream_diagnostics", "pages": "off"}]}]}}}}}`,
	}
	previewFolder(t, files)
	for name, test := range map[string]struct {
		args      []string
		code      int
		out, errs []string // each a part; nil for none
	}{
		"the first with a page": {nil, 0, []string{"<!doctype html>", "This site is not available right now", "The Shop", `href="tel:&#43;49-30-123456"`, previewID, "Error 502"},
			[]string{"this is the page of shop.example.com: --site chooses another one (off-for-now.example.com, fallback, till)\n"}},
		"by its site":       {[]string{"--site", "shop.example.com", "--category", "timeout"}, 0, []string{"This site took too long to answer", "Error 504"}, nil},
		"in a language":     {[]string{"--site", "shop.example.com", "--language", "de-AT"}, 0, []string{`<html lang="de" dir="ltr">`, "Fehler 502"}, nil},
		"right to left":     {[]string{"--site", "shop.example.com", "--language", "ar"}, 0, []string{`<html lang="ar" dir="rtl">`}, nil},
		"a POST":            {[]string{"--site", "shop.example.com", "--method", "post", "--request-sent", "no"}, 0, []string{"Your request was not carried out"}, nil},
		"when to come back": {[]string{"--site", "shop.example.com", "--retry-after", "40s"}, 0, []string{"Please try again in about 40 seconds."}, nil},
		"of another status": {[]string{"--site", "shop.example.com", "--category", "request", "--status", "413"}, 0, []string{"What you sent is too large", "Error 413"}, nil},
		"as text":           {[]string{"--site", "shop.example.com", "--accept", "*/*"}, 0, []string{"This site is not available right now\n\n"}, nil},
		"as a problem": {[]string{"--site", "shop.example.com", "--accept", "application/json", "-i"}, 0,
			[]string{"HTTP/1.1 502 Bad Gateway\r\n", "Content-Type: application/problem+json\r\n", "\r\n\r\n{\"type\""}, nil},
		"minimal":    {[]string{"--site", "fallback", "--category", "timeout"}, 0, []string{"This request could not be answered", "Error 504"}, nil},
		"a template": {[]string{"--site", "till", "--category", "timeout"}, 0, []string{"<p>504 timeout maybe 30 GET de: Zu langsam, Du " + previewID}, nil},
		"an upstream's own": {[]string{"--site", "till", "--category", "error_response"}, 0,
			[]string{"<p>500 error_response yes 30 GET de: "}, nil},
		"of a fixed language": {[]string{"--site", "till", "--language", "fr"}, 0, []string{"GET de: "}, []string{"who asks for fr gets de: there are texts in de\n"}},
		"JSON":                {[]string{"--config", "route.json"}, 0, []string{"<!doctype html>"}, nil},
		"by the server":       {[]string{"--config", "route.json", "--site", "edge"}, 0, []string{"<!doctype html>"}, nil},
		"two of a site": {[]string{"--config", "two", "--adapter", "caddyfile"}, 0, []string{"<!doctype html>"},
			[]string{"shop.example.com has more than one upstream_diagnostics: this is the page of the first; give each a name by its option site\n"}},
		"of no language": {[]string{"--site", "shop.example.com", "--language", "sv"}, 0, []string{`<html lang="en"`}, []string{"who asks for sv gets en: there are texts in ar, de, en, "}},
		"no body":        {[]string{"--site", "shop.example.com", "--accept", "image/png"}, 0, nil, []string{"the answer has no body: --include shows its status (502) and header\n"}},

		"no such category":    {[]string{"--category", "tiemout"}, 2, nil, []string{`Error: --category: expected one of unavailable, unreachable, timeout, invalid_response, error_response, interrupted, request, unknown, got "tiemout" (did you mean timeout?)`}},
		"no such answer":      {[]string{"--request-sent", "never"}, 2, nil, []string{`Error: --request-sent: expected one of no, maybe, yes, got "never"`}},
		"no such site":        {[]string{"--site", "shop.exmaple.com"}, 2, nil, []string{`Error: Caddyfile: --site: there is no upstream_diagnostics of "shop.exmaple.com"; there are those of off-for-now.example.com, shop.example.com, fallback, till (did you mean shop.example.com?)`}},
		"a site that is off":  {[]string{"--site", "off-for-now.example.com"}, 2, nil, []string{"Error: Caddyfile: the upstream_diagnostics of off-for-now.example.com has `page off`, which answers nobody"}},
		"all are off":         {[]string{"-c", "off", "-a", "caddyfile"}, 2, nil, []string{"Error: off: each upstream_diagnostics has `page off`"}},
		"none":                {[]string{"-c", "none", "-a", "caddyfile"}, 2, nil, []string{"Error: none: there is no upstream_diagnostics in it"}},
		"no config":           {[]string{"-c", "missing"}, 2, nil, []string{"Error: open missing: "}},
		"a wrong field":       {[]string{"-c", "wrong.json"}, 2, nil, []string{`Error: wrong.json: site a.example.com: `, `unknown field "pages"`}},
		"a broken template":   {[]string{"-c", "broken", "-a", "caddyfile"}, 2, nil, []string{"Error: site shop.example.com: template: ", "broken.html:2:2: there is no .Titel (did you mean .Title?); there are .Became, "}},
		"no status":           {[]string{"--status", "200"}, 2, nil, []string{"Error: --status: expected an error from 400 to 599, got 200"}},
		"a wait too long":     {[]string{"--retry-after", "48h"}, 2, nil, []string{"Error: --retry-after: expected a duration from 1s to 24h, got 48h0m0s"}},
		"no language's tag":   {[]string{"--language", "xx"}, 2, nil, []string{`Error: --language: expected a language's tag such as de or pt-BR, got "xx"; there are texts in ar, `}},
		"no method":           {[]string{"--method", "A B"}, 2, nil, []string{"Error: --method: "}},
		"an answer untouched": {[]string{"--site", "shop.example.com", "--category", "error_response"}, 2, nil, []string{"Error: site shop.example.com: an upstream's own answer with 503 passes as it is: `intercept 503` would replace it"}},
		"a wait of its own":   {[]string{"--site", "till", "--retry-after", "40s"}, 2, nil, []string{"Error: site till: --retry-after: a visitor is told what the config says: retry_after 30s"}},
		"a flag of another":   {[]string{"--json"}, 2, nil, []string{"Error: preview has no --json: it asks no Caddy"}},
		"an argument":         {[]string{"timeout"}, 2, nil, []string{"Error: preview takes flags alone, got timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs := runCommand(t, test.code, append([]string{"preview"}, test.args...)...)
			for got, parts := range map[*string][]string{&out: test.out, &errs: test.errs} {
				for _, part := range parts {
					if !strings.Contains(*got, part) {
						t.Errorf("%q is not in\n%s", part, *got)
					}
				}
				if len(parts) == 0 && *got != "" {
					t.Errorf("it writes %q", *got)
				}
			}
			if strings.Count(errs, "\n") > 1 {
				t.Errorf("more than a line: %q", errs)
			}
		})
	}

	// Nothing is left by it: no log, no storage with certificates, no process of ours.
	var found []string
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if _, ok := files[name]; !ok {
			t.Errorf("it has written %s", name)
		}
	}
	if p := currentProcess(); p != nil {
		t.Error("it holds what outlives a config")
	}
}

// Where there is no Caddyfile it says so.
func TestPreviewWithoutConfig(t *testing.T) {
	previewFolder(t, nil)
	if _, errs := runCommand(t, 2, "preview"); !strings.Contains(errs, "there is no Caddyfile in the current directory: name the config by --config") {
		t.Error(errs)
	}
}

// Each category has what is usual for it, and a page.
func TestPreviewOfEachCategory(t *testing.T) {
	previewFolder(t, map[string]string{"Caddyfile": "http://localhost {\nupstream_diagnostics {\nintercept 5xx\n}\n}"})
	titles := make(map[string]string)
	for _, category := range failure.Categories {
		if usual[category].status == 0 || usual[category].sent == "" {
			t.Errorf("nothing is usual for %s", category)
		}
		out, errs := runCommand(t, 0, "preview", "--category", string(category), "--accept", "text/plain")
		title, _, _ := strings.Cut(out, "\n")
		if titles[title] != "" || errs != "" {
			t.Errorf("%s: %q is that of %s, %s", category, title, titles[title], errs)
		}
		titles[title] = string(category)
	}
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d( UTC|Z)`)

// The preview is what the site's visitor really gets.
func TestPreviewIsTheAnswer(t *testing.T) {
	previewFolder(t, map[string]string{
		"page.html":     "<h1>{{.Title}}</h1>{{template \"hops\" .}}{{template \"next\" .}}{{template \"again\" .}}",
		"texts/de.json": `{"site": "Der Laden"}`,
	})
	for name, block := range map[string]string{
		"built in":   "brand {\nname Shop\nsupport https://example.com/help\n}",
		"template":   "template page.html",
		"minimal":    "page minimal",
		"the texts":  "languages texts",
		"fixed wait": "retry_after 30s",
	} {
		t.Run(name, func(t *testing.T) {
			site := "upstream_diagnostics {\n" + block + "\n}\nreverse_proxy " + testcaddy.Dead(t)
			c := testcaddy.Start(t, site)
			if err := os.WriteFile("Caddyfile", []byte(c.Caddyfile("", site)), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, test := range []struct{ method, language, accept string }{
				{http.MethodGet, "en", "text/html"}, {http.MethodPost, "de", "text/html"}, {http.MethodGet, "pl", "application/json"}, {http.MethodDelete, "ar", "text/plain"},
			} {
				a := c.Do(test.method, "/", nil, "Accept: "+test.accept, "Accept-Language: "+test.language)
				out, _ := runCommand(t, 0, "preview", "--method", test.method, "--language", test.language, "--accept", test.accept)
				// The reference and the time are each answer's own.
				plain := func(text string) string {
					return times.ReplaceAllString(strings.NewReplacer(c.Failures()[0].ID, "", previewID, "").Replace(text), "")
				}
				if plain(out) != plain(a.Body) || a.Body == "" {
					t.Errorf("%v: the preview is\n%s\nand the answer\n%s", test, out, a.Body)
				}
			}
		})
	}
}
