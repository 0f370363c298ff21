package faultlab

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

func bodyFaults() []Fault {
	truncated := func(name, number, cause string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "body", Side: "upstream", Outcome: "truncated", Status: 200,
			Start: start,
		}
	}
	const (
		sized   = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nthe first part\n"
		noGzip  = "this is no gzip stream"
		chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
	)
	faults := []Fault{
		truncated("body_cut", "24a", "response_truncated", overTCP(answers(sized))),
		truncated("body_cut_unix", "24a", "response_truncated", overUnix(answers(sized))),
		truncated("body_cut_tls", "24a", "response_truncated", overTLS(answers(sized))),
		truncated("body_reset", "24b", "response_truncated", overTCP(resetsAfter(sized))),
		truncated("body_without_last_chunk", "25", "response_truncated", overTCP(answers(chunked))),
		truncated("body_cut_in_chunk", "25", "response_truncated", overTCP(answers(chunked+"64\r\nnot so much"))),
		truncated("chunk_size_malformed", "25", "transfer_coding_invalid", overTCP(answers(chunked+"zz\r\nhello\r\n"))),
		truncated("chunk_longer_than_said", "25", "transfer_coding_invalid", overTCP(answers(chunked+"2\r\nhello\r\n0\r\n\r\n"))),
		truncated("body_stalled", "23b", "response_stalled", overTCP(stallsAfter(sized), transport("read_timeout 200ms"))),
		truncated("gzip_not_gzip", "43", "content_coding_invalid", overTCP(answers(gzipped([]byte(noGzip))), app(answersCoded([]byte(noGzip))))),
		truncated("gzip_corrupt", "43", "content_coding_invalid", overTCP(answers(gzipped(corrupt(compressed()))))),
		truncated("gzip_cut", "43", "content_coding_invalid", overTCP(answers(gzipped(compressed()[:40])))),
		{
			// Once headers have come, a client that leaves is no failure.
			Name: "client_leaves_in_body", Number: "24d", Status: 200,
			Start: overTCP(stallsAfter(sized), block("flush_interval -1"), sends(Request{Leave: LeaveInBody})),
		},
	}
	for i := range faults {
		switch faults[i].Name {
		case "body_reset":
			faults[i].Skip = unless(!onWindows, resetLosesData)
		case "body_cut_unix":
			faults[i].Skip = unless(!onWindows, needsUnixSockets)
		}
	}
	return faults
}

// gzipped is a whole answer with body, which says that it is gzip.
func gzipped(body []byte) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// compressed is a good gzip stream, of words that don't compress to next to nothing.
func compressed() []byte {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "%d squared is %d\n", i, i*i)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text.String())) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// corrupt spoils the checksum in the stream's last 8 bytes (RFC 1952).
func corrupt(stream []byte) []byte {
	stream[len(stream)-8] ^= 0xff
	return stream
}
