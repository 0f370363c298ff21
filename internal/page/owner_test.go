package page

import (
	"html/template"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// frozen are the fields on which owners' templates depend. One may be put in; who takes one
// out, or names it otherwise, breaks the page of a site.
var frozen = map[reflect.Type]string{
	reflect.TypeFor[Data](): "Became Brand Category ComeBack Detail Dir DoesNotHelp ErrorNumber GoBack Help Hops ID Lang Logo Method Report RequestSent RetryAfter RetryAfterSeconds " +
		"Returns Script Small Status Style Support Texts Time TimeMachine TimeUTC Title TryAgain Wait YourSide",
	reflect.TypeFor[Brand](): "LogoDataURI LogoOnly Name StatusPage Support",
	reflect.TypeFor[Hop]():   "Broken Name State",
	reflect.TypeFor[texts.Texts](): "AnsweredWithError Checking CheckingIn ComeBackHours ComeBackMinutes ComeBackSeconds Connected Copied Copy DoesNotHelp ErrorNumber GoBack IsBack Logo " +
		"MaybeInPart MaybeReceived MaybeReceivedBefore Name NoFaultKnown NoScript NotCarriedOut NotYourSide Pause Paused Reached ReadAgain Received ReceivedBefore ReceivedInPart Reference " +
		"ReferenceLabel Resume Route Server Site Situations StatusPage Support TryAgain You",
	reflect.TypeFor[texts.Situations](): "ErrorResponse Interrupted InvalidResponse LengthRequired Malformed Minimal Request Timeout TooLarge Unavailable Unknown Unreachable",
	reflect.TypeFor[texts.Words]():      "Detail Help State Title",
}

// frozenMethods are those of the texts.
const frozenMethods = "ComeBack Dir Lang Space Status"

func TestNeverLosesAField(t *testing.T) {
	for of, names := range frozen {
		for _, name := range strings.Fields(names) {
			if _, ok := of.FieldByName(name); !ok {
				t.Errorf("%s has lost %s", of, name)
			}
		}
		for _, field := range reflect.VisibleFields(of) {
			if field.IsExported() && !field.Anonymous && !slices.Contains(strings.Fields(names), field.Name) {
				t.Errorf("%s is new in %s: put it here, and in docs/page.md", field.Name, of)
			}
		}
	}
	for _, name := range strings.Fields(frozenMethods) {
		if _, ok := reflect.TypeFor[*texts.Texts]().MethodByName(name); !ok {
			t.Errorf("texts have lost %s", name)
		}
	}
	for _, partial := range []string{"hops", "next", "again", "reference"} {
		if builtin.Lookup(partial) == nil {
			t.Errorf("the partial %s is gone", partial)
		}
	}
}

// Each field is documented, and each key of a language's file.
func TestFieldsAreDocumented(t *testing.T) {
	content, err := os.ReadFile("../../docs/page.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, match := range regexp.MustCompile("`([^`\n]*)`").FindAllStringSubmatch(string(content), -1) {
		named[match[1]] = true
	}
	want := func(name string) {
		if !named[name] {
			t.Errorf("docs/page.md has no `%s`", name)
		}
	}
	for _, place := range fieldPlaces() {
		for _, field := range reflect.VisibleFields(place.of) {
			if !field.IsExported() || field.Anonymous {
				continue
			}
			want(place.prefix + field.Name)
			if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != "" {
				want(key)
			}
		}
	}
	for _, method := range strings.Fields(frozenMethods) {
		want(".Texts." + method)
	}
	for _, partial := range []string{"hops", "next", "again", "reference"} {
		want(`{{template "` + partial + `" .}}`)
	}
}

func TestTemplateErrorsNameWhatThereIs(t *testing.T) {
	for name, test := range map[string]struct{ source, want string }{
		"a field":              {"<p>\n{{.Titel}}", `template: /etc/page.html:2:2: there is no .Titel (did you mean .Title?); there are .Became, .Brand, .Category, `},
		"in small letters":     {"{{.id}}", `there is no .id (did you mean .ID?); there are .Became, `},
		"nothing like it":      {"{{.Upstream}}", `:1:2: there is no .Upstream; there are .Became, `},
		"of the brand":         {"<p>\n\n{{.Brand.Nam}}", `/etc/page.html:3:8: there is no .Brand.Nam (did you mean .Brand.Name?); there are .Brand.LogoDataURI, .Brand.LogoOnly, .Brand.Name, .Brand.StatusPage, .Brand.Support (tried with`},
		"within the brand":     {"{{with .Brand}}{{.Nam}}{{end}}", `there is no .Brand.Nam (did you mean .Brand.Name?)`},
		"of the texts":         {"{{.Texts.Frobnicate}}", `there is no .Texts.Frobnicate; there are .Texts.AnsweredWithError, `},
		"of the situations":    {"{{.Texts.Situations.Timout}}", `there is no .Texts.Situations.Timout (did you mean .Texts.Situations.Timeout?)`},
		"of one of them":       {"{{.Texts.Situations.Timeout.Titel}}", `there is no .Titel in one of .Texts.Situations (did you mean .Title?); there are .Detail, .Help, .State, .Title (tried`},
		"of a hop":             {"{{range .Hops}}{{.Nam}}{{end}}", `there is no .Nam in one of .Hops (did you mean .Name?); there are .Broken, .Name, .State (tried`},
		"in one language only": {`{{if eq .Lang "he"}}{{.Titel}}{{end}}`, `there is no .Titel (did you mean .Title?)`},
		"within another page":  {"{{if .Small}}{{.Titel}}{{end}}", `and Lang en, within another page)`},
		"a partial":            {"<p>\n{{if .Hops}}{{template \"hopps\" .}}{{end}}", `template: /etc/page.html:2:23: there is no partial "hopps" (did you mean hops?); there are again, hops, next, reference`},
		"a partial of theirs":  {`{{define "foot"}}{{end}}{{with .ID}}{{else}}{{template "feet" .}}{{end}}`, `there is no partial "feet" (did you mean foot?); there are again, foot, hops, next, reference`},
		"in a partial":         {"{{define \"foot\"}}\n{{template \"hop\" .}}{{end}}", `template: /etc/page.html:2:11: there is no partial "hop" (did you mean hops?)`},
		"without values":       {"<p>\n{{template \"reference\"}}", `template: /etc/page.html:2:11: the partial "reference" is without its values: write {{template "reference" .}}`},
		"with other values":    {"<p>\n{{range .Hops}}{{template \"reference\" .}}{{end}}", `template: /etc/page.html:2:26: the partial "reference" has not got all values: within {{range}} or {{with}} write {{template "reference" $}} (tried`},
		"with other texts":     {"<p>\n{{with .ID}}{{template \"hops\" .}}{{end}}", `template: /etc/page.html:2:23: the partial "hops" has not got all values`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Template: test.source, TemplateName: "/etc/page.html"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), ".Report") || strings.Contains(err.Error(), partialsName)) {
				t.Errorf("it names what is none of the owner's: %v", err)
			}
		})
	}
}

// Partials may be there once, twice, not at all, or be the owner's own.
func TestPartialsOfOurs(t *testing.T) {
	public := sample(failure.CategoryTimeout)
	public.RetryAfter = 40 * time.Second
	for name, test := range map[string]struct {
		source string
		want   map[string]int // how often each is there
	}{
		"none":    {`<p>{{.Title}} {{.Dir}} {{.Texts.You}}`, map[string]int{"<p>This site took too long to answer ltr You": 1, "k3f9qw2ax": 0}},
		"all":     {`{{template "hops" .}}{{template "next" .}}{{template "again" .}}{{template "reference" .}}`, map[string]int{"<ol": 1, "k3f9qw2ax": 1, "<nav>": 1, "40 seconds": 1}},
		"twice":   {`{{template "reference" .}}<hr>{{template "reference" .}}`, map[string]int{"k3f9qw2ax": 2, "<hr>": 1}},
		"a $":     {`{{range .Hops}}{{if .Broken}}{{template "reference" $}}{{end}}{{end}}`, map[string]int{"k3f9qw2ax": 1}},
		"theirs":  {`{{define "hops"}}<i>{{.ID}}</i>{{end}}{{template "hops" .}}`, map[string]int{"<i>k3f9qw2ax</i>": 1, "<ol": 0}},
		"scripts": {`<style>{{.Style}}</style>{{template "reference" .}}<script>{{.Script}}</script>`, map[string]int{string(style): 1, string(script): 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := answer(t, newPage(t, Options{Template: test.source}), request("GET", "Accept", "text/html"), public, nil)
			for text, want := range test.want {
				if got := strings.Count(w.Body.String(), text); got != want {
					t.Errorf("%q is there %d times, want %d:\n%s", text, got, want, w.Body)
				}
			}
		})
	}
	// Another page's partials are not changed by it.
	w := answer(t, newPage(t, Options{}), request("GET", "Accept", "text/html"), public, nil)
	if strings.Contains(w.Body.String(), "<i>") || !strings.Contains(w.Body.String(), "<ol") {
		t.Errorf("an owner's partial is in the built-in page: %s", w.Body)
	}
}

// What an owner has in a mail's address and fields stays what it is (RFC 6068).
func TestSupportByMail(t *testing.T) {
	for support, want := range map[string]string{
		"mailto:help@example.com":                                "mailto:help@example.com?subject=Reference%20k3f9qw2ax",
		"mailto:help+shop@example.com?cc=ops+alerts@example.com": "mailto:help+shop@example.com?cc=ops%2Balerts%40example.com&subject=Reference%20k3f9qw2ax",
		"mailto:help@example.com?subject=C++%20shop;%20help":     "mailto:help@example.com?subject=C%2B%2B%20shop%3B%20help%20Reference%20k3f9qw2ax",
		"mailto:help@example.com?Subject=Help":                   "mailto:help@example.com?subject=Help%20Reference%20k3f9qw2ax",
	} {
		if got := supportFor(template.URL(support), texts.English(), "k3f9qw2ax"); string(got) != want {
			t.Errorf("%s: got %s, want %s", support, got, want)
		}
	}
}
