package page

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// stale are the fields that describe another body than ours: an answer that was
// held back may have left them.
var stale = []string{
	"Accept-Ranges", "Age", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language",
	"Content-Length", "Content-Location", "Content-Md5", "Content-Range", "Digest", "Etag", "Expires",
	"Last-Modified", "Repr-Digest", "Trailer", "Transfer-Encoding",
}

func dropStale(h http.Header) {
	for _, field := range stale {
		delete(h, field)
	}
}

// fieldSetter sets canonical fields of h, in one piece of memory for all their values:
// an answer has about ten.
func fieldSetter(h http.Header) func(name, value string) {
	values := make([]string, 0, 12)
	return func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
}

// addVary adds a field's name to Vary unless it is there.
func addVary(h http.Header, name string) {
	for _, value := range h["Vary"] {
		for listed := range strings.SplitSeq(value, ",") {
			listed = strings.TrimSpace(listed)
			if listed == "*" || strings.EqualFold(listed, name) {
				return
			}
		}
	}
	h.Add("Vary", name)
}

// policy allows the page its own style, images in data: URIs, and nothing else.
func policy(style template.CSS) string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'"
}

// gRPC's status codes, https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
const (
	grpcDeadlineExceeded = "4"
	grpcUnavailable      = "14" // clients take it as leave to try again
)

func grpcStatus(timeout bool, sent failure.Sent) string {
	if timeout && sent != failure.SentNo {
		return grpcDeadlineExceeded
	}
	return grpcUnavailable
}

// grpcType is the content type of an answer to a gRPC request; gRPC-Web clients
// don't take the plain one.
func grpcType(requested string) string {
	for _, web := range []string{"application/grpc-web-text", "application/grpc-web"} {
		if hasFoldPrefix(requested, web) {
			return web
		}
	}
	return "application/grpc"
}

// percentEncoded is how gRPC's specification wants a message:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses.
func percentEncoded(message string) string {
	const hex = "0123456789ABCDEF"
	var encoded strings.Builder
	for i := range len(message) {
		c := message[i]
		if c >= ' ' && c <= '~' && c != '%' {
			encoded.WriteByte(c)
			continue
		}
		encoded.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return encoded.String()
}
