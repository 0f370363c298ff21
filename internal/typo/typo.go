// Package typo finds the word that was meant where another was written.
package typo

import "strings"

// DidYouMean is put behind what was expected; "" where nothing is meant plainly.
func DidYouMean(meant string) string {
	if meant == "" {
		return ""
	}
	return " (did you mean " + meant + "?)"
}

// Nearest is the one of words that was mistyped as word; "" where none is near.
func Nearest(word string, words []string) string {
	best, least := "", 3
	for _, candidate := range words {
		if max(len(word), len(candidate))-min(len(word), len(candidate)) >= least {
			continue // each letter too many is a typo
		}
		// Half of both words must be right.
		if d := count(word, candidate); d < least && 2*d <= min(len(word), len(candidate)) {
			best, least = candidate, d
		}
	}
	if best == "" {
		return whole(word, words)
	}
	return best
}

// whole is the one of words that begins with word, where that is enough to tell it.
func whole(word string, words []string) (found string) {
	if len(word) < 4 {
		return ""
	}
	for _, candidate := range words {
		if strings.HasPrefix(candidate, word) {
			if found != "" {
				return ""
			}
			found = candidate
		}
	}
	return found
}

// count counts the letters that are missing, too many, wrong or swapped with their
// neighbour (the optimal string alignment distance).
func count(a, b string) int {
	above, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above[j-2]+1)
			}
		}
		above = before
	}
	return row[len(b)]
}
