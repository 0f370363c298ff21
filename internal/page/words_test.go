package page

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

var update = flag.Bool("update", false, "write testdata/words.txt anew")

// All that a visitor is told, for whoever reads it to judge: title, detail, what became
// of the request and the hops must go along with each other, whatever comes together.
func TestWords(t *testing.T) {
	p := newPage(t, Options{})
	var all strings.Builder
	for _, category := range failure.Categories {
		for _, sent := range []failure.Sent{failure.SentNo, failure.SentMaybe, failure.SentYes} {
			for _, method := range []string{"GET", "PROPFIND", "POST"} {
				public := sample(category)
				public.RequestSent = sent
				fmt.Fprintf(&all, "== %s, request_sent %s, %s\n", category, sent, method)
				all.WriteString(answer(t, p, request(method), public, nil).Body.String())
				for _, hop := range p.data(english, method, public).Hops {
					broken := ""
					if hop.Broken {
						broken = " (broken)"
					}
					fmt.Fprintf(&all, "[%s: %s%s]\n", hop.Name, hop.State, broken)
				}
				all.WriteByte('\n')
			}
		}
	}
	file := filepath.Join("testdata", "words.txt")
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(all.String(), "\n== "); all.String() != string(want) {
		for i, block := range strings.Split(string(want), "\n== ") {
			if i >= len(got) || got[i] != block {
				t.Fatalf("not as in %s (go test -run TestWords ./internal/page -update writes it anew): want\n%s", file, block)
			}
		}
		t.Fatalf("more than in %s", file)
	}
}

// Where an answer came, nothing says that none was got; where the request is not known
// to be unread, nothing says that it is safe to send again.
func TestWordsDoNotContradict(t *testing.T) {
	p := newPage(t, Options{})
	for _, category := range failure.Categories {
		for _, sent := range []failure.Sent{failure.SentNo, failure.SentMaybe, failure.SentYes, ""} {
			public := sample(category)
			public.RequestSent = sent
			text := answer(t, p, request("POST"), public, nil).Body.String()
			if got, want := strings.Contains(text, "it is safe"), sent == failure.SentNo; got != want {
				t.Errorf("%s, %q: says that it is safe: %v", category, sent, got)
			}
			if strings.Contains(text, "not taking requests") || strings.Contains(text, "could not connect") {
				t.Errorf("%s, %q: says more than is known: %s", category, sent, text)
			}
			gotThrough := sent != failure.SentNo && (strings.Contains(text, "cannot hand") || strings.Contains(text, "could not set up"))
			if gotThrough && !strings.Contains(text, "already") {
				t.Errorf("%s, %q: contradicts itself: %s", category, sent, text)
			}
		}
	}
}
