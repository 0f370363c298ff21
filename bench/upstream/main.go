// Command upstream is the upstream that works, for bench/compare.sh: it answers
// every request with 1 KiB of text.
package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: upstream <address to listen at>")
		os.Exit(2)
	}
	body := bytes.Repeat([]byte("0123456789abcde\n"), 64)
	err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(body) // a client that left needs no answer
	}))
	fmt.Fprintln(os.Stderr, "upstream:", err)
	os.Exit(1)
}
