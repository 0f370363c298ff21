package texts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/text/language"
)

func newLanguages(t testing.TB) *Languages {
	t.Helper()
	l, err := New(Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// accepts are values of Accept-Language as browsers and others send them, with what each gets.
var accepts = []struct {
	name   string
	fields []string
	want   string
}{
	{"none", nil, "en"},
	{"english", []string{"en-US,en;q=0.9"}, "en"},
	{"german", []string{"de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"}, "de"},
	{"six languages", []string{"uk-UA,uk;q=0.9,pl;q=0.8,de;q=0.7,fr;q=0.6,en;q=0.5,ru;q=0.4"}, "uk"},
	{"the 16th of 20", []string{strings.Repeat("tlh,", 15) + "ko;q=0.9,de,de,de,de"}, "ko"},
	{"the 17th of 20", []string{strings.Repeat("tlh,", 16) + "ko,de,de,de"}, "en"},
	{"unknown", []string{"tlh"}, "en"},
	{"q is no number", []string{"*;q=nan"}, "en"},
	{"10000 entries", []string{strings.Repeat("de,", 10_000)}, "en"},
	{"64 KiB", []string{strings.Repeat("x", 64<<10)}, "en"},
	{"300 fields", slices.Repeat([]string{"de"}, 300), "en"},
	{"128 fields of 8 KiB", slices.Repeat([]string{strings.Repeat("x", 8<<10)}, 128), "en"},
	{"300 empty fields", slices.Repeat([]string{""}, 300), "en"},
	{"empty", []string{""}, "en"},
}

func TestHostileAcceptLanguage(t *testing.T) {
	l := newLanguages(t)
	for _, test := range accepts {
		h := http.Header{"Accept-Language": test.fields}
		for _, when := range []string{"first", "again"} {
			if got := l.For(h).Lang(); got != test.want {
				t.Errorf("%s, %s: got %s, want %s", test.name, when, got, test.want)
			}
		}
		// Whatever it is, it allocates no more than English does.
		english := http.Header{"Accept-Language": accepts[1].fields}
		want := testing.AllocsPerRun(100, func() { l.For(english) })
		if got := testing.AllocsPerRun(100, func() { l.For(h) }); got > want && len(test.fields) < 2 {
			t.Errorf("%s: %v allocations, English %v", test.name, got, want)
		}
	}
}

// Who sends ever other values fills no memory, and keeps nobody's language out.
func TestRememberedIsBounded(t *testing.T) {
	l := newLanguages(t)
	different := 1_000_000
	if testing.Short() {
		different = 20_000
	}
	h := http.Header{"Accept-Language": {""}}
	for i := range different {
		h["Accept-Language"][0] = "x" + strconv.Itoa(i) // no language's tag: it is refused soon
		if got := l.For(h).Lang(); got != "en" {
			t.Fatalf("%s gets %s", h["Accept-Language"][0], got)
		}
		if i%10_000 != 0 {
			continue
		}
		kept := 0
		l.remembered.Load().languages.Range(func(any, any) bool { kept++; return true })
		if kept > maxRemembered+1 {
			t.Fatalf("%d values are remembered", kept)
		}
		if got := l.For(http.Header{"Accept-Language": {"ko-KR,ko;q=0.9"}}).Lang(); got != "ko" {
			t.Fatalf("Korean gets %s", got)
		}
	}
}

func BenchmarkLanguage(b *testing.B) {
	l := newLanguages(b)
	for _, bench := range accepts {
		b.Run(bench.name, func(b *testing.B) {
			h := http.Header{"Accept-Language": bench.fields}
			b.ReportAllocs()
			for b.Loop() {
				l.For(h)
			}
		})
	}
	// Never the same twice: what the most costs that one request can ask for.
	for name, format := range map[string]string{
		"ever different, short":   "de;q=0.%09d",
		"ever different, typical": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7,fr;q=0.%09d",
		"ever different, longest": strings.Repeat("tlh,", 59) + "de;q=0.%09d",
	} {
		b.Run(name, func(b *testing.B) {
			h := http.Header{"Accept-Language": {""}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				h["Accept-Language"][0] = fmt.Sprintf(format, i)
				l.For(h)
			}
		})
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	l := newLanguages(f)
	for _, seed := range accepts {
		f.Add(strings.Join(seed.fields, ","), "")
	}
	f.Add("zh-Hant-HK;q=1,*;q=0", "tlh")
	f.Add("de-u-co-phonebk-x-a;q=.5", "\x00\xff")
	f.Add("i-klingon, art-lojban, sgn-BE-FR, en-GB-oed", "a-b-c-d-e-f-g")
	f.Fuzz(func(t *testing.T, first, second string) {
		h := http.Header{"Accept-Language": {first, second}}
		texts := l.For(h)
		if !slices.Contains(l.all, texts) {
			t.Errorf("%q gets %q, which is none of ours", first, texts.Lang())
		}
		if l.For(h) != texts {
			t.Errorf("%q gets another language when it is sent again", first)
		}
		if len(first)+len(second) > maxAccept && texts != l.all[0] {
			t.Errorf("%d bytes get %s", len(first)+len(second), texts.Lang())
		}
	})
}

// What an owner's file holds is refused, or whole.
func FuzzLanguageFile(f *testing.F) {
	files, err := fs.Sub(embedded, "languages")
	if err != nil {
		f.Fatal(err)
	}
	for _, tag := range []string{"en", "ar", "zh"} {
		content, err := fs.ReadFile(files, tag+".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(tag, content)
	}
	f.Add("de", []byte(`{"you": "<script>alert(1)</script>"}`))
	f.Add("de-AT", []byte(`{"come_back_seconds": {"one": "{n}", "other": null}, "situations": null}`))
	f.Add("pl", []byte(`{"come_back_hours": null}`))
	f.Add("und", []byte("null"))
	f.Add("x-own", []byte("{} {}"))
	f.Add("tlh", []byte(`{"name": "tlhIngan Hol"}`))
	f.Add("en-u-nu-arab", []byte("{\"error_number\":\n\"{status}{\"}"))
	oneSecond, you := English().ComeBackSeconds["one"], English().You
	f.Fuzz(func(t *testing.T, tag string, content []byte) {
		l, err := New(Auto, fstest.MapFS{tag + ".json": {Data: content}}, "folder")
		if err != nil {
			return
		}
		if !json.Valid(bytes.TrimPrefix(content, []byte("\ufeff"))) {
			t.Error("what is no JSON was taken")
		}
		for _, texts := range l.all {
			if texts.tag != language.Make(tag) {
				continue
			}
			texts.each(func(key, form, text string) {
				if err := texts.checkText(key, form, text); err != nil {
					t.Errorf("%s was taken: %v", texts.Lang(), err)
				}
			})
			if texts.Lang() == "" || !slices.Contains([]string{"ltr", "rtl"}, texts.Dir()) {
				t.Errorf("its language is %q, its direction %q", texts.Lang(), texts.Dir())
			}
			for _, seconds := range []int64{0, 1, 2, 3, 11, 100, 6000, 1 << 40} {
				if said := texts.ComeBack(seconds) + texts.Status(502); strings.ContainsAny(said, "{}") || said == "" {
					t.Errorf("%s says %q", texts.Lang(), said)
				}
			}
		}
		if l.For(nil).Lang() != "en" {
			t.Errorf("who asks for none gets %s", l.For(nil).Lang())
		}
		// A file changes its own handler's texts, and nothing of the embedded ones.
		if English().ComeBackSeconds["one"] != oneSecond || English().You != you {
			t.Fatal("ours were changed")
		}
	})
}
