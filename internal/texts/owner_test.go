package texts

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/text/language"
)

// file is a file of an owner's folder.
func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }

// owned are the languages with an owner's folder.
func owned(t *testing.T, use string, files fstest.MapFS) *Languages {
	t.Helper()
	l, err := New(use, files, "/etc/texts")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func asked(l *Languages, accept string) *Texts {
	return l.For(http.Header{"Accept-Language": {accept}})
}

// whole is a whole file of texts.
func whole(t *testing.T, change func(map[string]any)) string {
	t.Helper()
	content, err := embedded.ReadFile("languages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]any)
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	change(all)
	if content, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestOwnersTexts(t *testing.T) {
	l := owned(t, Auto, fstest.MapFS{
		"de.json":     file("\ufeff{\r\n\"site\": \"Der Laden\",\r\n\"situations\": {\"timeout\": {\"title\": \"Zu langsam\"}},\r\n\"come_back_seconds\": {\"other\": \"In {n} Sekunden.\"}}\r\n"),
		"de-AT.json":  file(`{"try_again": "Noch einmal, bitte"}`),
		"sv.json":     file(whole(t, func(all map[string]any) { all["name"] = "Svenska"; all["site"] = "Butiken" })),
		"sv-FI.json":  file(`{"server": "Servern"}`),
		".de.json":    file("what an editor left"),
		"README.md":   file("not a language"),
		"notes/x.txt": file("nor this"),
	})
	german, austrian := asked(l, "de-DE,de;q=0.9"), asked(l, "de-AT,de;q=0.9")
	if german.Site != "Der Laden" || german.Situations.Timeout.Title != "Zu langsam" || german.ComeBackSeconds["other"] != "In {n} Sekunden." {
		t.Errorf("what de.json says is not said: %q, %q", german.Site, german.Situations.Timeout.Title)
	}
	ours, err := New(Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	before := asked(ours, "de")
	if german.Name != "Deutsch" || german.TryAgain != before.TryAgain || german.Situations.Timeout.Detail != before.Situations.Timeout.Detail || german.ComeBackSeconds["one"] != before.ComeBackSeconds["one"] {
		t.Errorf("what it doesn't say is lost: %+v", german)
	}
	if before.Site == "Der Laden" || before.ComeBackSeconds["other"] == "In {n} Sekunden." {
		t.Error("the folder of one handler is another's too")
	}
	if austrian.Lang() != "de-AT" || austrian.TryAgain != "Noch einmal, bitte" || austrian.Site != "Der Laden" {
		t.Errorf("%s doesn't go on from de.json: %q, %q", austrian.Lang(), austrian.TryAgain, austrian.Site)
	}
	if german.TryAgain == austrian.TryAgain {
		t.Error("German has what is Austrian")
	}
	swedish, finnish := asked(l, "sv"), asked(l, "sv-FI")
	if swedish.Lang() != "sv" || swedish.Site != "Butiken" || finnish.Lang() != "sv-FI" || finnish.Server != "Servern" || finnish.Site != "Butiken" {
		t.Errorf("the new language: %s %q, %s %q", swedish.Lang(), swedish.Site, finnish.Lang(), finnish.Site)
	}
	if got := asked(l, "tlh").Lang(); got != "en" {
		t.Errorf("who asks for none gets %s", got)
	}
	for i, one := range l.all {
		if one.Index() != i {
			t.Errorf("%s is %d, and says %d", one.Lang(), i, one.Index())
		}
	}
}

// Where a form is for one number alone, it may be a word.
func TestOwnersTextsCount(t *testing.T) {
	l := owned(t, Auto, fstest.MapFS{
		"de.json": file(`{"come_back_seconds": {"one": "Gleich."}}`),
		"ar.json": file(`{"come_back_hours": {"two": "ساعتين"}}`),
	})
	for want, got := range map[string]string{"Gleich.": asked(l, "de").ComeBack(1), "ساعتين": asked(l, "ar").ComeBack(2 * 3600)} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// One language for all may be one of the folder.
func TestFixedLanguage(t *testing.T) {
	files := fstest.MapFS{
		"de.json": file(`{"site": "Der Laden"}`),
		"sv.json": file(whole(t, func(all map[string]any) { all["site"] = "Butiken" })),
	}
	for use, want := range map[string]string{"de": "Der Laden", "de-CH": "Der Laden", "sv": "Butiken", "en": English().Site} {
		l := owned(t, use, files)
		if got := asked(l, "fr").Site; got != want || l.Vary() || l.Len() != 1 {
			t.Errorf("language %s says %q", use, got)
		}
	}
	for use, want := range map[string]string{
		"xx": `language "xx" is not auto, nor a language's tag such as de or pt-BR; there are texts in ar, de, en,`,
		"da": `language "da": there are no texts in it; there are ar, de, en,`,
	} {
		_, err := New(use, files, "/etc/texts")
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "ru, sv, tr") {
			t.Errorf("of language %s it says: %v", use, err)
		}
	}
}

func TestOwnersTextsAreRefused(t *testing.T) {
	many := fstest.MapFS{}
	for i := range maxFiles + 1 {
		many[strings.Repeat("a", 1+i)+".json"] = file("{}")
	}
	for name, test := range map[string]struct {
		files fstest.MapFS
		want  string // behind "languages " and the folder
	}{
		"no files":            {fstest.MapFS{"de.txt": file("{}")}, ": there is no file named <language>.json in it, such as de.json"},
		"too many files":      {many, ": 101 files named <language>.json, want 100 at most"},
		"a word for 1 and 21": {fstest.MapFS{"ru.json": file(`{"come_back_seconds": {"one": "Попробуйте через секунду."}}`)}, `/ru.json: line 1: come_back_seconds.one "Попробуйте через секунду." has no {n}`},
		"no language":         {fstest.MapFS{"page.json": file("{}")}, "/page.json: the file's name is not a language's tag, such as de.json or pt-BR.json"},
		"the unknown one":     {fstest.MapFS{"und.json": file("{}")}, "/und.json: the file's name is not a language's tag"},
		"empty":               {fstest.MapFS{"de.json": file("")}, "/de.json: it is empty: expected an object"},
		"only a mark":         {fstest.MapFS{"de.json": file("\ufeff\r\n")}, "/de.json: it is empty: expected an object"},
		"not UTF-8":           {fstest.MapFS{"de.json": file("{\"site\": \"\xe4\"}")}, "/de.json: it is not UTF-8 text"},
		"UTF-16":              {fstest.MapFS{"de.json": file("\xff\xfe{\x00}\x00")}, "/de.json: it is not UTF-8 text"},
		"too large":           {fstest.MapFS{"de.json": file("{" + strings.Repeat(" ", maxFileBytes) + "}")}, "/de.json: it has 65538 bytes, more than 65536"},
		"a folder":            {fstest.MapFS{"de.json": {Mode: fs.ModeDir}}, "/de.json: it is not a regular file"},
		"a pipe":              {fstest.MapFS{"de.json": {Mode: fs.ModeNamedPipe}}, "/de.json: it is not a regular file"},
		"no object":           {fstest.MapFS{"de.json": file("[]")}, "/de.json: line 1: expected an object in JSON"},
		"null":                {fstest.MapFS{"de.json": file("null")}, "/de.json: line 1: expected an object in JSON"},
		"not JSON":            {fstest.MapFS{"de.json": file("{\n\"site\": \"Laden\"\n\"you\": \"Du\"}")}, "/de.json: line 3: invalid character"},
		"not at its end":      {fstest.MapFS{"de.json": file("{\n\"site\": \"Laden\",\n\n")}, "/de.json: line 2: the end of the object is missing"},
		"something after it":  {fstest.MapFS{"de.json": file("{}\n{}")}, "/de.json: line 2: something stands after the end of the object"},
		"no such key":         {fstest.MapFS{"de.json": file("{\r\n\"site\": \"Laden\",\r\n\"tryagain\": \"x\"}")}, `/de.json: line 3: there is no key "tryagain" (did you mean try_again?); there are answered_with_error, `},
		"no such key within":  {fstest.MapFS{"de.json": file("{\"situations\": {\n\"timout\": {}}}")}, `/de.json: line 2: there is no key "situations.timout" (did you mean situations.timeout?); there are error_response, `},
		"in capitals":         {fstest.MapFS{"de.json": file(`{"Site": "Laden"}`)}, `/de.json: line 1: there is no key "Site" (did you mean site?)`},
		"no such form":        {fstest.MapFS{"de.json": file(`{"come_back_hours": {"some": "{n}"}}`)}, `/de.json: line 1: there is no key "come_back_hours.some"; there are few, many, one, other, two, zero`},
		"a form of others":    {fstest.MapFS{"de.json": file("{\"come_back_hours\": {\n\"few\": \"{n}\"}}")}, "/de.json: line 2: come_back_hours.few: no whole number has this form in de"},
		"twice":               {fstest.MapFS{"de.json": file("{\"site\": \"a\",\n\"site\": \"b\"}")}, "/de.json: line 2: site is there twice, in line 1 too"},
		"a number":            {fstest.MapFS{"de.json": file("{\n\"site\": 1}")}, "/de.json: line 2: site is not a text"},
		"nothing for a text":  {fstest.MapFS{"de.json": file("{\n\"site\": null}")}, "/de.json: line 2: site is not a text"},
		"text for an object":  {fstest.MapFS{"de.json": file("{\n\"situations\": \"a\"}")}, "/de.json: line 2: situations is not an object, which has error_response, "},
		"an empty text":       {fstest.MapFS{"de.json": file("{\n\"site\": \"\"}")}, "/de.json: line 2: site is empty"},
		"no placeholder":      {fstest.MapFS{"de.json": file("{\n\"error_number\": \"Fehler\"}")}, `/de.json: line 2: error_number "Fehler" has no {status}`},
		"a placeholder more":  {fstest.MapFS{"de.json": file("{\n\"site\": \"{host}\"}")}, `/de.json: line 2: site "{host}" has braces that stand for nothing`},
		"an escape":           {fstest.MapFS{"de.json": file("{\n\"site\": \"a\\u001b\"}")}, `/de.json: line 2: site "a\x1b" is not printable text`},
		"two things":          {fstest.MapFS{"de.json": file("{\n\"site\": \"\",\n\"you\": \"\"}")}, "/de.json: line 3: you is empty; line 2: site is empty"},
		"a key of a new one":  {fstest.MapFS{"sv.json": file(whole(t, func(all map[string]any) { delete(all, "go_back") }))}, "/sv.json: a key is missing, of which a language that is not there yet has all: go_back"},
		"one language, twice": {fstest.MapFS{"he.json": file(`{}`), "iw.json": file(`{}`)}, "/iw.json: it is of the same language as he.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Auto, test.files, filepath.FromSlash("/etc/texts"))
			if err == nil || !strings.HasPrefix(err.Error(), "languages "+filepath.FromSlash("/etc/texts"+beforeColon(test.want))) || !strings.Contains(err.Error(), test.want[len(beforeColon(test.want)):]) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
		})
	}
}

// unreadable is a folder in which that file, or the folder itself, can't be read.
type unreadable struct {
	fstest.MapFS

	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}

func (u unreadable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == u.name {
		_, err := u.Open(name)
		return nil, err
	}
	return u.MapFS.ReadDir(name)
}

func (u unreadable) ReadFile(name string) ([]byte, error) {
	if _, err := u.Open(name); err != nil {
		return nil, err
	}
	return u.MapFS.ReadFile(name)
}

func TestUnreadableTexts(t *testing.T) {
	for name, path := range map[string]string{"de.json": "/etc/texts/de.json", ".": "/etc/texts"} {
		want := "languages " + filepath.FromSlash(path) + ": " + fs.ErrPermission.Error()
		_, err := New(Auto, unreadable{fstest.MapFS{"de.json": file("{}")}, name}, filepath.FromSlash("/etc/texts"))
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Of a new language the first keys that are missing are told, and how many they are.
func TestNewLanguageLacksMost(t *testing.T) {
	lacks := 0
	English().each(func(key, _, _ string) {
		if key != "name" && English().checkText(key, "", "") != nil {
			lacks++
		}
	})
	_, err := New(Auto, fstest.MapFS{"sv.json": file(`{"name": "Svenska"}`)}, "/etc/texts")
	want := fmt.Sprintf("sv.json: %d keys are missing, of which a language that is not there yet has all: you, site, server, route, connected, reached, no_fault_known, situations.unavailable.title, situations.unavailable.detail, situations.unreachable.title, and %d more", lacks, lacks-maxTold)
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// beforeColon is the name of a file in what is said of it.
func beforeColon(s string) string {
	name, _, _ := strings.Cut(s, ":")
	return name
}

// All that is a key is one that a text of ours has, and the other way round.
func TestKeys(t *testing.T) {
	keys := allKeys()
	English().each(func(key, form, _ string) {
		if form != "" {
			key += "." + form
		}
		if !keys[key] {
			t.Errorf("%s is no key", key)
		}
	})
}

func TestDirections(t *testing.T) {
	for tag, want := range map[string]string{"ar": "rtl", "he": "rtl", "fa": "rtl", "ur": "rtl", "dv": "rtl", "sv": "ltr", "az-Arab": "rtl", "az": "ltr"} {
		texts := new(Texts)
		texts.setTag(language.MustParse(tag))
		if got := texts.Dir(); got != want {
			t.Errorf("%s is written %s", tag, got)
		}
	}
}
