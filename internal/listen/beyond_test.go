package listen

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"unsafe"
)

// What comes after an answer's end is told from what belongs to it, whenever it comes.
func TestBeyond(t *testing.T) {
	const sized = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
	large := "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000)
	sizedAnswer := &http.Response{StatusCode: 200, ContentLength: 2}
	inChunks := &http.Response{StatusCode: 200, ContentLength: -1, TransferEncoding: []string{"chunked"}}
	for _, test := range []struct {
		name, method    string
		res             *http.Response
		with            string // what comes before the answer has been read
		idle            string // what comes after that
		next            string // what comes when the next request has the connection, unsent
		encrypted       bool
		beyond          string // "" for nothing
		bytes           int64
		length          int64
		knownWhenItRest bool
	}{
		{name: "nothing", res: sizedAnswer, with: sized, length: 2},
		{name: "in the same breath", res: sizedAnswer, with: sized + "more", beyond: "more", bytes: 4, length: 2, knownWhenItRest: true},
		{name: "while it is idle", res: sizedAnswer, with: sized, idle: "more", beyond: "more", bytes: 4, length: 2},
		{name: "for the next request", res: sizedAnswer, with: sized, next: "more", beyond: "more", bytes: 4, length: 2},
		{name: "in pieces", res: sizedAnswer, with: sized + "a", idle: "b", next: "c", beyond: "abc", bytes: 3, length: 2, knownWhenItRest: true},
		{name: "with a 204", res: &http.Response{StatusCode: 204}, with: "HTTP/1.1 204 No Content\r\n\r\nnull", beyond: "null", bytes: 4, knownWhenItRest: true},
		{name: "to HEAD", method: "HEAD", res: &http.Response{StatusCode: 200, ContentLength: 2}, with: sized, beyond: "ok", bytes: 2, knownWhenItRest: true},
		{name: "after an interim answer", res: sizedAnswer, with: "HTTP/1.1 103 Early Hints\r\n\r\n" + sized + "!", beyond: "!", bytes: 1, length: 2, knownWhenItRest: true},
		{name: "an interim answer of HTTP/1.0", res: sizedAnswer, with: "HTTP/1.0 100 Continue\r\n\r\n" + sized, length: 2},
		{name: "chunks", res: inChunks, with: chunked + "\r\n", length: -1},
		{name: "chunks and a trailer", res: inChunks, with: chunked + "X: y\r\n\r\n", length: -1},
		{name: "after the last chunk", res: inChunks, with: chunked + "\r\nmore", beyond: "more", bytes: 4, length: -1, knownWhenItRest: true},
		{name: "after chunks, while it is idle", res: inChunks, with: chunked + "\r\n", idle: "more", beyond: "more", bytes: 4, length: -1},
		{name: "no chunks, but what ends such", res: &http.Response{StatusCode: 200, ContentLength: -1}, with: "HTTP/1.1 200 OK\r\n\r\n0\r\n\r\nmore", length: -1},
		{name: "a large one", res: &http.Response{StatusCode: 200, ContentLength: 9000}, with: large, length: 9000},
		{name: "after a large one", res: &http.Response{StatusCode: 200, ContentLength: 9000}, with: large + "more", beyond: "more", bytes: 4, length: 9000, knownWhenItRest: true},
		{name: "much", res: sizedAnswer, with: sized, idle: strings.Repeat("z", 100), beyond: strings.Repeat("z", MaxBeyond), bytes: 100, length: 2},
		{name: "over TLS", res: sizedAnswer, with: sized, idle: "more", encrypted: true, length: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, peer := linked(t, nil)
			w.begin(true, test.encrypted, false)
			w.requests = 1
			if _, err := io.WriteString(w, "request"); err != nil {
				t.Fatal(err)
			}
			read := func(text string, size int) {
				t.Helper()
				if text == "" {
					return
				}
				if _, err := io.WriteString(peer, text); err != nil {
					t.Fatal(err)
				}
				for n := 0; n < len(text); {
					m, err := w.Read(make([]byte, size))
					if err != nil {
						t.Fatal(err)
					}
					n += m
				}
			}
			if test.res.ContentLength > 2 { // its header comes first, then the rest in reads of its own
				head := strings.Index(test.with, "xxx")
				read(test.with[:head], 4096)
				w.answered(w.requests, "GET", test.res)
				read(test.with[head:], 4096)
			} else {
				read(test.with, 4096)
				method := test.method
				if method == "" {
					method = http.MethodGet
				}
				w.answered(w.requests, method, test.res)
			}
			w.rest(w.requests)
			if known := w.beyond(1) != nil; known != test.knownWhenItRest {
				t.Errorf("known at its end: %v", known)
			}
			if w.previous() != nil {
				t.Error("an answer is its own past")
			}
			read(test.idle, 4096)
			w.begin(false, test.encrypted, false)
			read(test.next, 4096)
			p := w.previous()
			if p == nil || p.Status != test.res.StatusCode || p.Length != test.length {
				t.Fatalf("got %+v", p)
			}
			if test.beyond == "" {
				if p.Beyond != nil {
					t.Errorf("got %+v", p.Beyond)
				}
				return
			}
			if p.Beyond == nil || p.Beyond.Bytes != test.bytes || string(p.Beyond.Start) != test.beyond {
				t.Errorf("got %+v", p.Beyond)
			}
			w.begin(false, test.encrypted, false)
			if w.answered(w.requests, "GET", &http.Response{StatusCode: 200}); w.previous() != nil {
				t.Error("the past of an answer stays")
			}
		})
	}
}

// What came in the same breath as an answer that is longer than what is kept of it is told
// from nothing but line breaks all the same.
func TestBeyondALongAnswer(t *testing.T) {
	for more, blank := range map[string]bool{"\r\n": true, "\n\n": true, "null": false, "more than is kept": false} {
		w, peer := linked(t, nil)
		request := w.begin(true, false, false)
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 1500\r\n\r\n" + strings.Repeat("x", 1500) + more
		if _, err := io.WriteString(peer, answer); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(w, make([]byte, len(answer))); err != nil {
			t.Fatal(err)
		}
		w.answered(request, http.MethodGet, &http.Response{StatusCode: 200, ContentLength: 1500})
		if b := w.beyond(request); b == nil || b.Bytes != int64(len(more)) || b.Blank() != blank || len(more) <= 5 && string(b.Start) != more {
			t.Errorf("%q: %+v", more, b)
		}
	}
}

// What is kept of the answer before is small, and keeps nothing else.
func TestLastAnswerIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(lastAnswer{}); size > 64 {
		t.Errorf("%d bytes", size)
	}
	if method := knownMethod("FROBNICATE"); method != "OTHER" {
		t.Error(method)
	}
	if (&Beyond{Bytes: 2, Start: []byte("\r\n")}).Blank() == false || (&Beyond{Bytes: 3, Start: []byte("\r\n")}).Blank() {
		t.Error("which lines are blank")
	}
}

// An answer that comes before its request is told to have been written is its own.
func TestAnswerDuringTheWrite(t *testing.T) {
	w, peer := linked(t, nil)
	w.answered(w.requests, "GET", &http.Response{StatusCode: 204})
	w.rest(w.requests)
	w.begin(false, false, false)
	w.writes() // and the peer is faster than we are
	if _, err := io.WriteString(peer, "HTTP/1.1 200 OK\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if p := w.previous(); p == nil || p.Beyond != nil {
		t.Errorf("%+v", p)
	}
}

// The transport hands a connection on before it tells of the answer before, and of its end:
// what comes then is the next request's, and nothing of it the one before's.
func TestHandedOn(t *testing.T) {
	w, peer := linked(t, nil)
	read := func(text string) {
		t.Helper()
		if _, err := io.WriteString(peer, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(w, make([]byte, len(text))); err != nil {
			t.Fatal(err)
		}
	}
	const header = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	first := w.begin(false, false, false)
	w.writes()
	read("HTTP/1.1 204 No Content\r\n\r\n")
	second := w.begin(false, false, false)
	w.writes()
	w.answered(first, "GET", &http.Response{StatusCode: 204})
	read(header)
	w.rest(first)
	w.answered(second, "GET", &http.Response{StatusCode: 200, ContentLength: -1})
	w.answered(first, "GET", &http.Response{StatusCode: 204}) // later still
	read("2\r\nok\r\n0\r\n\r\n")
	if w.idle != 0 {
		t.Error("a connection at work is called idle")
	}
	if link, carried := w.heard(first, 0); link != nil || carried != nil {
		t.Errorf("the first has %+v of the second's", carried)
	}
	if link, carried := w.heard(second, 0); link == nil || link.Previous != nil || !strings.HasPrefix(string(carried.Head), header) {
		t.Errorf("the second has %+v", carried)
	}
	w.rest(second)
	if b := w.beyond(second); b != nil {
		t.Errorf("its own body is beyond its end: %q", b.Start)
	}
}
