package texts

import (
	"io/fs"
	"net/http"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Each language is whole, has room where English has, and repeats nothing of English.
func TestLanguagesAreWhole(t *testing.T) {
	names, err := fs.Glob(embedded, "languages/*.json")
	if err != nil {
		t.Fatal(err)
	}
	english := map[string]string{}
	English().each(func(key, form, text string) { english[key] = max(english[key], text) })
	files, err := fs.Sub(embedded, "languages")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		tag := strings.TrimSuffix(path.Base(name), ".json")
		t.Run(tag, func(t *testing.T) {
			texts, err := readFile(files, path.Base(name), nil)
			if err != nil {
				t.Fatal(err)
			}
			if tag != texts.Lang() {
				t.Errorf("%s is written %s", tag, texts.Lang())
			}
			if tag == "en" {
				return
			}
			same := 0
			texts.each(func(key, form, text string) {
				original := english[key]
				// Long words break the layout: a button or a state has a little more room than
				// in English, a sentence twice as much.
				if got, room := utf8.RuneCountInString(text), 2*utf8.RuneCountInString(original)+14; got > room {
					t.Errorf("%s has %d characters, English %d: %s", key, got, utf8.RuneCountInString(original), text)
				}
				if text == original && strings.Contains(text, " ") && key != "error_number" {
					t.Errorf("%s is English: %s", key, text)
				}
				if strings.TrimSpace(text) != text || strings.Contains(text, "  ") {
					t.Errorf("%s has space too much: %q", key, text)
				}
				if text == original && text != "" {
					same++
				}
			})
			if same > 6 {
				t.Errorf("%d texts are as in English", same)
			}
		})
	}
}

func TestEnglishIsFirst(t *testing.T) {
	if got := English().tag; got != language.English {
		t.Errorf("the first language is %s", got)
	}
	l, err := New(Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.For(http.Header{}); got.Lang() != "en" {
		t.Errorf("who asks for none gets %s", got.Lang())
	}
}

func TestComeBack(t *testing.T) {
	l, err := New(Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		accept  string
		seconds int64
		says    string
	}{
		{"en", 1, "1 second."}, {"en", 30, "30 seconds."}, {"en", 89, "89 seconds."}, {"en", 90, "2 minutes."},
		{"en", 89 * 60, "89 minutes."}, {"en", 90 * 60, "2 hours."}, {"en", 24 * 3600, "24 hours."},
		{"pl", 3, "3 sekundy"}, {"pl", 22, "22 sekundy"}, {"pl", 5, "5 sekund"}, {"ru", 21, "21 секунду"}, {"ru", 11, "11 секунд"},
		{"ar", 2, "ثانيتين"}, {"ar", 40, "40"},
	} {
		if got := l.For(http.Header{"Accept-Language": {test.accept}}).ComeBack(test.seconds); !strings.Contains(strings.ReplaceAll(got, "\u00a0", " "), test.says) {
			t.Errorf("%s, %d s: %s", test.accept, test.seconds, got)
		}
	}
}

func TestLanguageOfAVisitor(t *testing.T) {
	l, err := New(Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{
		"": "en", "de-AT,de;q=0.9,en;q=0.8": "de", "fr-CA": "fr", "pt": "pt-BR", "pt-BR,pt;q=0.9": "pt-BR", "pt-PT": "pt-PT", "pt-AO": "pt-PT",
		"zh": "zh", "zh-CN,zh;q=0.9": "zh", "zh-TW,zh;q=0.9,en;q=0.5": "zh-Hant", "zh-HK": "zh-Hant", "zh-MO": "zh-Hant", "zh-SG": "zh", "pt-MZ": "pt-PT", "iw": "he", "he-IL": "he",
		"tlh, ja;q=0.5": "ja", "en-GB,de;q=0.9": "en", "de;q=0,fr;q=0.1": "fr", "es-419": "es", "hi-IN": "hi", "ar-EG": "ar",
		"*": "en", "*;q=nan": "en", "xx-yy-zz": "en", "\x00\xff": "en",
		strings.Repeat("de,", 10_000): "en", strings.Repeat("x", 64<<10): "en",
	} {
		for range 2 { // the second time it is remembered
			if got := l.For(http.Header{"Accept-Language": {accept}}).Lang(); got != want {
				t.Errorf("%.40q gets %s, want %s", accept, got, want)
			}
		}
	}
	if got := l.For(http.Header{"Accept-Language": {"tlh", "ko"}}).Lang(); got != "ko" {
		t.Errorf("of two fields the first alone counts: %s", got)
	}
}
