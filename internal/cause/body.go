package cause

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"slices"
	"strings"
	"syscall"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// textsBadChunk are what net/http says of a body whose chunks are none.
var textsBadChunk = []string{
	"invalid byte in chunk length",
	"empty hex number for chunk length",
	"http chunk length too large",
	"malformed chunked encoding",
	"chunked encoding contains too much non-data",
	"chunked line ends with bare LF",
	"invalid CR in chunked line",
	"header line too long",
	"http: suspiciously long trailer after chunked body",
}

const (
	textBadTrailer   = "bad trailer key "
	textTrailerCut   = "http: unexpected EOF reading trailer"
	textClosedByUs   = "http: read on closed response body"
	textClosedByUsH2 = "http2: response body closed"
)

// isChunkError says that a body's chunks, or its trailer, are malformed.
func isChunkError(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return true
	}
	text := innermost(err)
	return slices.Contains(textsBadChunk, text) || strings.HasPrefix(text, textBadTrailer)
}

// bodyCause finds what broke an answer's body, t's error.
func bodyCause(t *try) finding {
	f := brokenBody(t)
	if !f.is() {
		f = found(Unknown)
	}
	f.phase = failure.PhaseBody
	f.evidence = append(f.evidence, received(t))
	return f
}

func brokenBody(t *try) finding {
	switch text := t.text(); {
	case text == textClosedByUs, text == textClosedByUsH2:
		return nothing
	case isChunkError(t.err):
		return found(TransferCodingInvalid)
	case isCodingError(t.err):
		return found(ContentCodingInvalid)
	case isReadTimeout(t.err):
		if t.absent(failure.ReadTimeout) {
			return nothing
		}
		return found(ResponseStalled).within(limitFor(failure.ReadTimeout, t.Limits, t.Attempt))
	case text == textConnectionLost:
		return found(ConnectionLost)
	}
	if alert, ok := receivedAlert(t.err); ok {
		return alertCause(alert)
	}
	if f := http2Cause(t); f.is() {
		return f
	}
	if f := http3Cause(t); f.is() {
		return f
	}
	switch errno := errnoOf(t.err); {
	case errno == syscall.ETIMEDOUT, errno == syscall.EHOSTUNREACH:
		return found(ConnectionLost)
	case t.Body.Uncompressed && errors.Is(t.err, io.ErrUnexpectedEOF) && t.cameWhole():
		// It is the decoder's error, not the connection's.
		return found(ContentCodingInvalid, "the answer came to its end, its gzip stream did not")
	case died(t.err), t.text() == textTrailerCut:
		return found(ResponseTruncated)
	}
	return nothing
}

// cameWhole says that an answer came to its end, as far as the connection tells:
// all of it came, or nothing ended the connection.
func (t *try) cameWhole() bool {
	if t.Connection == nil || t.Connection.Carried == nil {
		return false
	}
	if complete, known := t.Connection.Carried.Complete(); known {
		return complete
	}
	return t.Connection.Carried.ReadErr == nil
}

// isCodingError says that a decoder refused the body.
func isCodingError(err error) bool {
	for _, known := range []error{gzip.ErrHeader, gzip.ErrChecksum, zlib.ErrHeader, zlib.ErrChecksum, zlib.ErrDictionary} {
		if errors.Is(err, known) {
			return true
		}
	}
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return true
	}
	_, ok := errors.AsType[flate.InternalError](err)
	return ok
}

// received says how much of an answer's body came.
func received(t *try) string {
	if t.Body.Expected < 0 {
		return fmt.Sprintf("%d bytes of the answer came, of a length that was not announced", t.Body.Bytes)
	}
	return fmt.Sprintf("%d of %d bytes of the answer came", t.Body.Bytes, t.Body.Expected)
}
