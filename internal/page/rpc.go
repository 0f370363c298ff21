package page

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// rpcCode is a status of gRPC's, https://grpc.github.io/grpc/core/md_doc_statuscodes.html,
// which Connect has by name, each with an HTTP status of its own:
// https://connectrpc.com/docs/protocol#error-codes.
type rpcCode struct {
	number, name string
	status       int
}

var (
	// invalidArgument is for a request that will not do, however often it is sent.
	invalidArgument  = rpcCode{"3", "invalid_argument", http.StatusBadRequest}
	deadlineExceeded = rpcCode{"4", "deadline_exceeded", http.StatusGatewayTimeout}
	// unavailable is taken as leave to try again.
	unavailable = rpcCode{"14", "unavailable", http.StatusServiceUnavailable}
)

// rpcCodeOf is the code for what the client may know: without a category (page minimal),
// what the status tells.
func rpcCodeOf(d Data) rpcCode {
	timeout := d.Category == failure.CategoryTimeout || d.Category == "" && d.Status == http.StatusGatewayTimeout
	switch {
	case !d.situation.Again():
		return invalidArgument
	case timeout && d.RequestSent != failure.SentNo:
		return deadlineExceeded
	default:
		return unavailable
	}
}

// rpcType is the content type of an answer to an RPC: what its client asked for, because
// clients with another codec than protobuf take no other ("application/grpc+json").
func rpcType(asked string) string {
	for i := range len(asked) {
		// RFC 6838, 4.2, which is all that a type of ours needs
		if c := asked[i]; c != '/' && c != '+' && c != '-' && c != '.' && !isAlphanumeric(c) {
			asked = asked[:i]
			break
		}
	}
	return strings.ToLower(asked)
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// writeGRPCWeb writes a frame of trailers, which are the whole body:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md. The header could have them,
// too, but a page of another origin sees the fields of a header only where the server
// exposes them, and grpc-web's streams tell of an error twice where both have it.
func writeGRPCWeb(body *bytes.Buffer, d Data, inBase64 bool) {
	trailers := "grpc-status: " + rpcCodeOf(d).number + "\r\ngrpc-message: " + percentEncoded(d.Title) + "\r\n"
	framed := appendFrame(nil, trailersFrame, []byte(trailers))
	if inBase64 {
		framed = base64.StdEncoding.AppendEncode(nil, framed)
	}
	body.Write(framed)
}

// The flags of a frame that ends a stream.
const (
	trailersFrame  = 0x80 // gRPC-Web
	endStreamFrame = 0x02 // Connect
)

// appendFrame appends a frame as gRPC and Connect have it: flags, length, content.
func appendFrame(b []byte, flags byte, content []byte) []byte {
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	return append(b, content...)
}

// connectError is Connect's error: https://connectrpc.com/docs/protocol#error-end-stream.
type connectError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func writeConnect(body *bytes.Buffer, d Data) error {
	return json.NewEncoder(body).Encode(connectError{rpcCodeOf(d).name, d.Title})
}

// writeConnectStream writes the one frame of a stream that failed before it began.
func writeConnectStream(body *bytes.Buffer, d Data) error {
	end, err := json.Marshal(struct {
		Error connectError `json:"error"`
	}{connectError{rpcCodeOf(d).name, d.Title}})
	if err != nil {
		return err
	}
	body.Write(appendFrame(nil, endStreamFrame, end))
	return nil
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
