package typo

import "testing"

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
