package typo

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"language", "languages", "keep_query", "status_page", "Logo", "Title", "off", "template"}
	for word, want := range map[string]string{
		"": "", "langage": "language", "languagess": "languages", "status": "status_page", "keep": "keep_query", "kee": "", "lang": "", "page": "",
		"Titel": "Title", "of": "off", "tmplate": "template", "Foo": "", "xx": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"page", "page", 0}, {"nmae", "name", 1}, {"pag", "page", 1},
		{"paage", "page", 1}, {"pbge", "page", 1}, {"tempalte", "template", 1}, {"site", "logo", 4}, {"ba", "abc", 2},
	} {
		if got := count(tc.a, tc.b); got != tc.want {
			t.Errorf("%q for %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
