package diagnostics

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Where the wish behind a wrong option is plain, the error says what to write, and
// where it stands.
func TestHints(t *testing.T) {
	for name, tc := range map[string]struct {
		block string // of the directive
		want  string
	}{
		"retry_after without a unit":     {`retry_after 30`, `retry_after "30" is not auto, off or a duration from 1s to 24h (did you mean 30s?), at Caddyfile:3`},
		"retry_after far too long":       {`retry_after 86401`, `retry_after "86401" is not auto, off or a duration from 1s to 24h, at Caddyfile:3`},
		"retry_after in words":           {`retry_after Auto`, `(did you mean auto?), at Caddyfile:3`},
		"support without mailto":         {"brand {\nsupport help@example.com\n}", `brand.support "help@example.com" is not an http, https, mailto or tel URL of at most 2048 bytes (did you mean mailto:help@example.com?), at Caddyfile:4`},
		"support without a scheme":       {"brand {\nsupport example.com/help\n}", `(did you mean https://example.com/help?), at Caddyfile:4`},
		"support by script":              {"brand {\nsupport javascript:alert(1)\n}", `of at most 2048 bytes, at Caddyfile:4`},
		"status_page without a scheme":   {"brand {\nstatus_page status.example.com\n}", `brand.status_page "status.example.com" is not an http or https URL of at most 2048 bytes (did you mean https://status.example.com?), at Caddyfile:4`},
		"status_page by its path":        {"brand {\nstatus_page /status\n}", `of at most 2048 bytes, at Caddyfile:4`},
		"logo from the web":              {"brand {\nlogo https://example.com/logo.png\n}", `brand.logo "https://example.com/logo.png" is a URL, not a file: the file is read when the config is loaded, and nothing is fetched, at Caddyfile:4`},
		"template from the web":          {`template https://example.com/page.html`, `template "https://example.com/page.html" is a URL, not a file`},
		"intercept the client's errors":  {`intercept 404`, `intercept "404" is not a status from 500 to 599, nor 5xx for all of them: other answers of an upstream are left alone (Caddy's own intercept directive can replace them), at Caddyfile:3`},
		"intercept a class of them":      {`intercept 502 4xx`, `intercept "4xx" is not a status from 500 to 599, nor 5xx for all of them: other answers`},
		"client_ip none":                 {`client_ip none`, `client_ip "none" is not one of full, masked, off (did you mean off?), at Caddyfile:3`},
		"client_ip in capitals":          {`client_ip Masked`, `(did you mean masked?), at Caddyfile:3`},
		"page none":                      {`page none`, `page "none" is not one of public, minimal, off (did you mean off?), at Caddyfile:3`},
		"page private":                   {`page private`, `(did you mean minimal?), at Caddyfile:3`},
		"page mistyped":                  {`page pubilc`, `(did you mean public?), at Caddyfile:3`},
		"page in no way":                 {`page 404.html`, `page "404.html" is not one of public, minimal, off: template <file> takes a page of your own, at Caddyfile:3`},
		"a language that is none":        {`language xx`, `language "xx" is not auto, nor a language's tag such as de or pt-BR (there are texts in ar, de, en, `},
		"a subdirective mistyped":        {`tempalte page.html`, `client_ip, language, languages (did you mean template?), at Caddyfile:3`},
		"a subdirective with a hyphen":   {`retry-after 30s`, `(did you mean retry_after?), at Caddyfile:3`},
		"a subdirective in the singular": {`keep_header X-A`, `(did you mean keep_headers?), at Caddyfile:3`},
		"what brand has, mistyped":       {"brand {\nsuport https://example.com\n}", `(did you mean support?), at Caddyfile:4`},
		"what the global option has":     {`keep 100`, `(keep is an option of the global upstream_diagnostics), at Caddyfile:3`},
		"what stands inside of brand":    {`name Shop`, `(name stands inside of brand), at Caddyfile:3`},
		"what the dashboard has":         {`no_auth`, `(no_auth is an option of upstream_dashboard), at Caddyfile:3`},
		"what stands outside of brand":   {"brand {\ntemplate page.html\n}", `(template stands outside of brand), at Caddyfile:4`},
		"what the dashboard has, too":    {`allow_probe`, `(allow_probe is an option of upstream_dashboard), at Caddyfile:3`},
		"a subdirective in part":         {`proxy_status edge`, `(did you mean proxy_status_name?), at Caddyfile:3`},
		"what brand has, in part":        {"brand {\nstatus https://example.com\n}", `(did you mean status_page?), at Caddyfile:4`},
		"no argument":                    {`page`, `after 'page': expected page public|minimal|off, at Caddyfile:3`},
		"an argument too many":           {`client_ip full masked`, `after 'masked': expected client_ip full|masked|off, at Caddyfile:3`},
		"no argument of many":            {`keep_query`, `after 'keep_query': expected keep_query <key>..., at Caddyfile:3`},
		"no status":                      {`intercept`, `after 'intercept': expected intercept <status>..., at Caddyfile:3`},
		"a name without quotes":          {"brand {\nname Example Shop\n}", `after 'Shop': expected name <text> (did you mean name "Example Shop"?), at Caddyfile:4`},
		"brand on one line":              {`brand name Shop`, `after 'name': options stand in a block, one a line, at Caddyfile:3`},
		"logo_only with a word":          {"brand {\nlogo_only yes\n}", `logo_only takes no argument, got "yes": leave the line out for no, at Caddyfile:4`},
		"a name of the request":          {"brand {\nname {host}\n}", `brand.name "{http.request.host}" is not the same for all requests: placeholders are not expanded here, {$NAME} in a Caddyfile is, at Caddyfile:4`},
		"a file of the environment":      {`template {env.PAGE}`, `template "{env.PAGE}" is not the path of a file: placeholders are not expanded here, {$NAME} in a Caddyfile is, at Caddyfile:3`},
		"a phone number":                 {"brand {\nsupport \"+49 30 123456\"\n}", `(did you mean tel:+49-30-123456?), at Caddyfile:4`},
		"statuses with a comma":          {`intercept 502,503`, `nor 5xx for all of them (did you mean intercept 502 503?), at Caddyfile:3`},
		"statuses in quotes":             {`intercept "502 503"`, `(did you mean intercept 502 503?), at Caddyfile:3`},
		"keys with a comma":              {`keep_query page,id`, `keep_query "page,id" is not a query key of 1 to 128 bytes (did you mean keep_query page id?), at Caddyfile:3`},
		"a key as in a URL":              {`keep_query ?page`, `(did you mean keep_query page?), at Caddyfile:3`},
		"a key of the request":           {`keep_query {query.page}`, `keep_query "{http.request.uri.query.page}" is not a query key of 1 to 128 bytes: placeholders are not expanded here`},
		"fields with a comma":            {`keep_headers X-A,X-B`, `(did you mean keep_headers X-A X-B?), at Caddyfile:3`},
		"a field with a colon":           {`keep_headers X-A:`, `(did you mean keep_headers X-A?), at Caddyfile:3`},
		"a language in capitals":         {`language AUTO`, `and languages <dir> adds others) (did you mean auto?), at Caddyfile:3`},
		"a matcher without its @":        {`details ops`, `and name it here, as details @operators (did you mean @ops?), at Caddyfile:3`},
		"a matcher in place of its name": {`details remote_ip 10.0.0.0/8`, `is not one named matcher: define one in this site, as @operators remote_ip 10.0.0.0/8, and name it here, as details @operators, at Caddyfile:3`},
		"what nobody knows":              {`persist`, `keep_query, keep_headers, client_ip, language, languages, at Caddyfile:3`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := adaptCaddyfile(t, ":80 {\nupstream_diagnostics {\n"+tc.block+"\n}\n}\n")
			wantError(t, err, tc.want)
		})
	}
	for name, tc := range map[string]struct {
		block string // of the global option
		want  string
	}{
		"keep a duration":         {`keep 24h`, `keep "24h" is not a number of failures from 1 to 100000 (did you mean keep 1000 24h?), at Caddyfile:3`},
		"keep nothing":            {`keep`, `after 'keep': expected keep <n> [<duration>], at Caddyfile:3`},
		"keep a word":             {`keep all`, `keep "all" is not a number of failures from 1 to 100000, at Caddyfile:3`},
		"keep for so many":        {`keep 1000 48`, `keep_for "48" is not a duration from 1m to 8760h (did you mean 48h?), at Caddyfile:3`},
		"an option mistyped":      {`instnace edge`, `(did you mean instance?), at Caddyfile:3`},
		"what a site's block has": {`page off`, `(page is an option of a site's upstream_diagnostics), at Caddyfile:3`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := adaptCaddyfile(t, "{\nupstream_diagnostics {\n"+tc.block+"\n}\n}\n:80\n")
			wantError(t, err, tc.want)
		})
	}
}

// What is found only when the config is loaded says at which site, and in which file.
func TestLoadErrorsSayWhere(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd() // as the system names it
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) string {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	folder := func(name, file, content string) string {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if file != "" {
			write(filepath.Join(name, file), content)
		}
		return name
	}
	for name, tc := range map[string]struct{ block, want string }{
		"template missing":        {"template no.html", "site shop.example.com: template " + in("no.html") + " does not exist: a relative path starts at Caddy's working directory"},
		"template does not parse": {"template " + write("broken.html", "<p>\n{{if}}"), "site shop.example.com: template: " + in("broken.html") + ":2"},
		"template does not run":   {"template " + write("fails.html", "<p>\n{{.Cause}}"), "site shop.example.com: template: " + in("fails.html") + ":2"},
		"a value mistyped":        {"template " + write("titel.html", "<p>\n\n{{.Titel}}"), "site shop.example.com: template: " + in("titel.html") + ":3:2: there is no .Titel (did you mean .Title?); there are .Became, .Brand, .Category, .ComeBack, "},
		"one of the brand":        {"template " + write("brand.html", "<p>\n{{.Brand.Nam}}"), "site shop.example.com: template: " + in("brand.html") + ":2:8: there is no .Brand.Nam (did you mean .Brand.Name?); there are .Brand.LogoDataURI, "},
		"one of the texts":        {"template " + write("texts.html", "{{.Texts.Tryagain}}"), "site shop.example.com: template: " + in("texts.html") + ":1:8: there is no .Texts.Tryagain (did you mean .Texts.TryAgain?); there are .Texts.AnsweredWithError, "},
		"a partial mistyped":      {"template " + write("partial.html", "<p>\n{{template \"hopps\" .}}"), "site shop.example.com: template: " + in("partial.html") + ":2:11: there is no partial \"hopps\" (did you mean hops?); there are again, hops, next, reference"},
		"languages missing":       {"languages no", "site shop.example.com: languages " + in("no") + " is no folder that can be read: a relative path starts at Caddy's working directory"},
		"languages a file":        {"languages broken.html", "site shop.example.com: languages " + in("broken.html") + " is no folder that can be read"},
		"languages for language":  {"languages de", "site shop.example.com: languages " + in("de") + " is no folder that can be read (did you mean language de?)"},
		"languages empty":         {"languages " + folder("empty", "", ""), "site shop.example.com: languages " + in("empty") + ": there is no file named <language>.json in it, such as de.json"},
		"a text mistyped":         {"languages " + folder("mistyped", "de.json", "{\r\n\"tryagain\": \"x\"}"), "site shop.example.com: languages " + in("mistyped/de.json") + `: line 2: there is no key "tryagain" (did you mean try_again?); there are `},
		"a language of no texts":  {"language da\nlanguages " + folder("german", "de.json", "{}"), `site shop.example.com: language "da": there are no texts in it; there are ar, de, en, `},
		"a new one, in part":      {"languages " + folder("part", "sv.json", `{"name": "Svenska"}`), "site shop.example.com: languages " + in("part/sv.json") + ": "},
		"template is not text":    {"template " + write("latin1.html", "\xe9"), "site shop.example.com: template " + in("latin1.html") + " is not UTF-8 text"},
		"template is a directory": {"template .", "site shop.example.com: template " + dir + " is not a regular file"},
		"logo missing":            {"brand {\nlogo no.png\n}", "site shop.example.com: brand.logo " + in("no.png") + " does not exist"},
		"logo is no image":        {"brand {\nlogo " + write("logo.png", "no image") + "\n}", "site shop.example.com: brand.logo " + in("logo.png") + " is not a PNG"},
		"a label of its own":      {"site till\ntemplate no.html", "site till: template " + in("no.html")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, site := range []string{
				"upstream_diagnostics {\n" + tc.block + "\n}\nreverse_proxy 127.0.0.1:1",
				"handle {\nupstream_diagnostics {\n" + tc.block + "\n}\nreverse_proxy 127.0.0.1:1\n}",
			} {
				err := validateCaddyfile(t, "{\nadmin off\nlog {\noutput discard\n}\n}\nhttp://a.example.com {\nupstream_diagnostics\nreverse_proxy 127.0.0.1:1\n}\n"+
					"http://shop.example.com, http://www.example.com {\n"+site+"\n}\nhttp://b.example.com {\nrespond ok\n}\n")
				wantError(t, err, tc.want)
			}
		})
	}
	t.Run("the options of JSON", func(t *testing.T) {
		err := validateConfig(t, `{"http": {"servers": {"edge": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [{"handler": "static_response"}]}, `+
			`{"match": [{"host": ["shop.example.com"]}], "handle": [{"handler": "upstream_diagnostics", "page": "pubic"}]}]}}}}`)
		wantError(t, err, `site shop.example.com: page "pubic" is not one of public, minimal, off (did you mean public?)`)
	})
	t.Run("files of JSON", func(t *testing.T) {
		for fields, want := range map[string]string{
			`"template": "titel.html"`:  "site shop.example.com: template: " + in("titel.html") + ":3:2: there is no .Titel (did you mean .Title?); there are .Became, ",
			`"languages": "mistyped"`:   "site shop.example.com: languages " + in("mistyped/de.json") + ": line 2: there is no key ",
			`"language": "xx"`:          `site shop.example.com: language "xx" is not auto, nor a language's tag such as de or pt-BR; there are texts in ar, de, en, `,
			`"template": "https://a.b"`: "site shop.example.com: template \"https://a.b\" is a URL, not a file",
		} {
			err := validateConfig(t, `{"http": {"servers": {"edge": {"listen": ["127.0.0.1:0"], "routes": [`+
				`{"match": [{"host": ["shop.example.com"]}], "handle": [{"handler": "upstream_diagnostics", `+fields+`}]}]}}}}`)
			wantError(t, err, want)
		}
	})
	t.Run("error routes", func(t *testing.T) {
		err := validateCaddyfile(t, "{\nadmin off\nlog {\noutput discard\n}\n}\nhttp://shop.example.com {\nhandle_errors {\nupstream_diagnostics {\ntemplate no.html\n}\n}\n}\n")
		wantError(t, err, "site srv0: template "+in("no.html"))
	})
}

// validateCaddyfile loads a config, without running it.
func validateCaddyfile(t *testing.T, source string) error {
	t.Helper()
	adapted, err := adaptCaddyfile(t, source)
	if err != nil {
		t.Fatalf("%v in\n%s", err, source)
	}
	return validateJSON(t, strings.TrimSpace(adapted))
}

// Whatever option is wrong, a Caddyfile's error has its file and line, and JSON's the
// field's name. No option may be left out here, nor of the README's syntax.
func TestEveryOptionIsRefusedWhereItStands(t *testing.T) {
	wrong := map[string]struct{ caddyfile, field, json string }{
		"site":              {`site {a}`, `site "{a}"`, `"site": "{a}"`},
		"page":              {`page 404`, `page "404"`, `"page": "404"`},
		"template":          {`template https://example.com/`, `template "https://example.com/"`, `"template": "https://example.com/"`},
		"details":           {`details @path`, `details`, `"details": [{"path": ["/"]}]`},
		"intercept":         {`intercept 404`, `intercept`, `"intercept": [404]`},
		"brand":             {`brand Shop`, `after 'Shop'`, ``},
		"retry_after":       {`retry_after 30`, `retry_after "30"`, `"retry_after": "30"`},
		"proxy_status_name": {`proxy_status_name é`, `proxy_status_name "é"`, `"proxy_status_name": "é"`},
		"keep_query":        {`keep_query *`, `keep_query "*"`, `"keep_query": ["*"]`},
		"keep_headers":      {`keep_headers *`, `keep_headers "*"`, `"keep_headers": ["*"]`},
		"client_ip":         {`client_ip no`, `client_ip "no"`, `"client_ip": "no"`},
		"name":              {"brand {\nname \"\a\"\n}", `brand.name "\a"`, `"brand": {"name": "\u0007"}`},
		"logo":              {"brand {\nlogo https://example.com/\n}", `brand.logo "https://example.com/"`, `"brand": {"logo": "https://example.com/"}`},
		"language":          {`language klingonese`, `language "klingonese"`, `"language": "klingonese"`},
		"languages":         {`languages https://example.com/de`, `languages "https://example.com/de"`, `"languages": "https://example.com/de"`},
		"logo_only":         {"brand {\nlogo_only\n}", `brand.logo_only needs logo`, `"brand": {"logo_only": true}`},
		"support":           {"brand {\nsupport help\n}", `brand.support "help"`, `"brand": {"support": "help"}`},
		"status_page":       {"brand {\nstatus_page help\n}", `brand.status_page "help"`, `"brand": {"status_page": "help"}`},
	}
	for _, option := range slices.Concat(handlerOptions, brandOptions) {
		t.Run(option, func(t *testing.T) {
			tc, ok := wrong[option]
			if !ok {
				t.Fatal("no wrong value is tried")
			}
			line := "4"
			if slices.Contains(brandOptions, option) {
				line = "5"
			}
			_, err := adaptCaddyfile(t, ":80 {\n@path path /\nupstream_diagnostics {\n"+tc.caddyfile+"\n}\n}\n")
			wantError(t, err, ", at Caddyfile:"+line)
			wantError(t, err, tc.field)
			if tc.json != "" {
				wantError(t, validateHandler(t, `{"handler": "upstream_diagnostics", `+tc.json+`}`), "site srv0: "+strings.Fields(tc.field)[0])
			}
		})
	}
	for option, tc := range map[string]struct{ caddyfile, json, want string }{
		"keep":     {`keep 0`, `"keep": -1`, `keep `},
		"instance": {`instance {a}`, `"instance": "{a}"`, `instance "{a}"`},
	} {
		t.Run(option, func(t *testing.T) {
			_, err := adaptCaddyfile(t, "{\nupstream_diagnostics {\n"+tc.caddyfile+"\n}\n}\n")
			wantError(t, err, ", at Caddyfile:3")
			wantError(t, err, tc.want)
			wantError(t, validateConfig(t, `{"upstream_diagnostics": {`+tc.json+`}}`), tc.want)
		})
	}

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, match := range fence.FindAllStringSubmatch(strings.ReplaceAll(string(readme), "\r\n", "\n"), -1) {
		if match[1] != "caddyfile" || !strings.Contains(match[2], "<") {
			continue
		}
		for line := range strings.Lines(match[2]) {
			if words := strings.Fields(line); len(words) > 0 && words[0] != "}" && strings.HasPrefix(line, "\t") {
				documented[words[0]] = strings.Join(words[1:], " ")
			}
		}
	}
	for _, option := range slices.Concat(handlerOptions, brandOptions, appOptions) {
		if syntax, ok := documented[option]; !ok {
			t.Errorf("the README's syntax has no %s", option)
		} else if syntax != takes[option] && option != "brand" {
			t.Errorf("the README's syntax is %s %s, an error's %s", option, syntax, takes[option])
		}
		delete(documented, option)
	}
	delete(documented, "upstream_diagnostics")
	for option := range documented {
		t.Errorf("the README's syntax has %s, which nobody reads", option)
	}
}
