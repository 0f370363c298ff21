package listen

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// MaxBeyond is how many bytes are kept of what came after an answer's end.
const MaxBeyond = 64

// Previous is the answer before on a connection, and what came after its end.
type Previous struct {
	// Method is that of its request, OTHER for one that HTTP doesn't name; Status is its.
	Method string
	Status int
	// Length is how long its body was said to be, -1 where that wasn't said in advance, 0
	// where it can have none.
	Length int64
	// Beyond is nil where nothing is known to have come after its end.
	Beyond *Beyond
}

// Beyond are bytes that came over a connection while no answer was awaited any more: more
// than the length of the answer before allows.
type Beyond struct {
	Bytes int64
	// Start are the first of them.
	Start []byte
}

// lastAnswer is what a Wire keeps of the answer that came last.
type lastAnswer struct {
	method string
	// request is which of the connection's requests it answers, 0 for none.
	request, status int32
	length          int64
	// end is where it does, among the bytes that the connection received for its request;
	// 0 where that isn't known.
	end    int64
	beyond *Beyond
	// chunked says that it comes in chunks: without them, and without a length, what follows
	// the last one belongs to it.
	chunked bool
}

// knownMethod is the method as a constant: a request's own keeps the whole request in
// memory.
func knownMethod(method string) string {
	for _, known := range [...]string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect,
	} {
		if method == known {
			return known
		}
	}
	return "OTHER"
}

// hasNoBody says that an answer can't have one (RFC 9112, 6.3).
func hasNoBody(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// answered hears the final answer to a request, by its number on the connection.
func (w *Wire) answered(request int32, method string, res *http.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shared || w.answer.request > request {
		return
	}
	w.answer = lastAnswer{method: knownMethod(method), status: int32(res.StatusCode), request: request, length: res.ContentLength} //nolint:gosec // of three or four digits
	w.answer.chunked = slices.Contains(res.TransferEncoding, "chunked")
	if hasNoBody(method, res.StatusCode) {
		w.answer.length = 0
	}
	if w.encrypted || w.answer.length < 0 || w.movedOn(request) {
		return
	}
	header := headerEnd(w.now.Head)
	if header == 0 {
		return
	}
	w.answer.end = header + w.answer.length
	switch more, kept := w.now.Received-w.answer.end, int64(len(w.now.Tail)); {
	case more <= 0:
	case more <= kept:
		w.hearBeyond(more, w.now.Tail[kept-more:])
	default:
		w.hearBeyond(more, w.now.Head[min(int64(len(w.now.Head)), w.answer.end):])
	}
}

// beyond is what has come by now after the end of the answer to one of the connection's
// requests.
func (w *Wire) beyond(request int32) *Beyond {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answer.request != request {
		return nil
	}
	return w.answer.beyond.copied()
}

// headerEnd is where the header of a final answer ends, 0 where that isn't there.
func headerEnd(head []byte) (end int64) {
	const blank = "\r\n\r\n"
	for {
		n := bytes.Index(head[end:], []byte(blank))
		if n < 0 {
			return 0
		}
		interim := interimStatus(head[end:])
		end += int64(n + len(blank))
		if interim == 0 {
			return end
		}
	}
}

// overran hears of the bytes that came last those which no answer was awaited for. The
// caller holds the lock.
func (w *Wire) overran(last []byte) {
	if w.encrypted || w.shared {
		return
	}
	switch {
	case w.answer.end > 0:
		if more := w.now.Received - w.answer.end; more > 0 {
			more = min(more, int64(len(last)))
			w.hearBeyond(more, last[int64(len(last))-more:])
		}
	case w.idle > 0, w.requests > 1 && !w.writing:
		w.hearBeyond(int64(len(last)), last)
	}
}

func (w *Wire) hearBeyond(n int64, first []byte) {
	b := w.answer.beyond
	if b == nil {
		b = new(Beyond)
		w.answer.beyond = b
		w.past.Overran()
	}
	b.Bytes += n
	b.Start = append(b.Start, first[:min(len(first), MaxBeyond-len(b.Start))]...)
}

// endsInChunks hears the end of an answer in chunks: what comes after the last one in
// the same breath is beyond it. Trailers end like the last chunk does.
func (w *Wire) endsInChunks() {
	const last = "\r\n" + lastChunk
	if w.encrypted || w.answer.length >= 0 || !w.answer.chunked || w.answer.beyond != nil || string(w.now.Tail[1:]) == "\r\n\r\n" || w.now.Received != int64(len(w.now.Head)) {
		return
	}
	if end := bytes.LastIndex(w.now.Head, []byte(last)); end >= 0 {
		first := w.now.Head[end+len(last):]
		w.hearBeyond(int64(len(first)), first)
	}
}

// previous is the answer before the one that is awaited, nil where there was none. The
// caller holds the lock.
func (w *Wire) previous() *Previous {
	a := w.answer
	if a.request == 0 || a.request != w.requests-1 {
		return nil
	}
	return &Previous{Method: a.method, Status: int(a.status), Length: a.length, Beyond: a.beyond.copied()}
}

func (b *Beyond) copied() *Beyond {
	if b == nil {
		return nil
	}
	return &Beyond{Bytes: b.Bytes, Start: bytes.Clone(b.Start)}
}

// Blank says that nothing but line breaks came, which some servers write after a body.
func (b *Beyond) Blank() bool {
	return b.Bytes <= int64(len(b.Start)) && strings.Trim(string(b.Start), "\r\n") == ""
}
