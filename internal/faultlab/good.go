package faultlab

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
)

// Good starts an upstream that is well:
//
//	/             says "ok"
//	/echo         says what it was sent: method, URI and headers, then the body
//	/stream?n=3   says n lines, each flushed
//	/bytes?n=1000 says n bytes, with their length
//	/status?n=204 answers with that status
//	/wait         answers nothing until the client has left
func Good() (*Upstream, error) {
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	u := newUpstream()
	u.To = l.Addr().String()
	u.serveHTTP(l, goodHandler())
	return u, nil
}

func goodHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && http.NewResponseController(w).EnableFullDuplex() != nil {
			return // never: an HTTP/1 server of Go can do it
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s %s\nHost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
		_ = r.Header.Write(w) // the client may be gone
		fmt.Fprintln(w)
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		flush := http.NewResponseController(w)
		for i := range number(r, 3) {
			fmt.Fprintln(w, i)
			if flush.Flush() != nil {
				return
			}
		}
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n := int64(number(r, 1000))
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.CopyN(w, zeroReader{}, n) // the client may be gone
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, 204)) })
	mux.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

// number is the query's n, or otherwise where there is none.
func number(r *http.Request, otherwise int) int {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		return otherwise
	}
	return n
}

// quiet is for servers whose complaints are what we want.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
