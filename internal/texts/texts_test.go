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
