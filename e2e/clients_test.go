//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// clientPackages are the clients of browsers that don't speak plain HTTP, and what runs
// them in Node.
var clientPackages = []string{
	"@bufbuild/protobuf@2.17.0", "@connectrpc/connect@2.3.0", "@connectrpc/connect-web@2.3.0",
	"eventsource@4.1.1", "graphql@16.12.0", "graphql-request@7.4.0", "grpc-web@2.1.1", "xhr2@0.2.1",
}

// clientScript makes a call with each client, and prints what it says of the failure.
const clientScript = `
const { createConnectTransport, createGrpcWebTransport } = require("@connectrpc/connect-web");
const { ConnectError } = require("@connectrpc/connect");
const { EmptySchema } = require("@bufbuild/protobuf/wkt");
const { EventSource } = require("eventsource");
const { request } = require("graphql-request");
globalThis.XMLHttpRequest = require("xhr2");
const grpc = require("grpc-web");

const [baseUrl, language] = process.argv.slice(2);
const headers = { "Accept-Language": language };

const method = methodKind => ({
	kind: "rpc", name: "Method", localName: "method", methodKind, parent: { typeName: "Service" },
	input: EmptySchema, output: EmptySchema, idempotency: 1, // without side effects: by GET where that is used
});
async function* one() { yield {}; }
async function unary(transport) {
	try {
		await transport.unary(method("unary"), undefined, undefined, headers, {});
	} catch (e) {
		return told(e);
	}
}
async function stream(transport) {
	try {
		const answer = await transport.stream(method("server_streaming"), undefined, undefined, headers, one());
		for await (const message of answer.message);
	} catch (e) {
		return told(e);
	}
}
function told(e) {
	if (!(e instanceof ConnectError)) throw e;
	return [e.code, e.rawMessage];
}

const descriptor = type => new grpc.MethodDescriptor("/Service/Method", type, Object, Object, () => new Uint8Array(), () => ({}));
const grpcWeb = format => new grpc.GrpcWebClientBase({ format });
const grpcWebUnary = format => grpcWeb(format).unaryCall(baseUrl + "/Service/Method", {}, headers, descriptor("unary"))
	.then(() => undefined, e => [e.code, e.message]);
const grpcWebStream = format => new Promise(resolve => {
	const said = []; // all of it: an error must come once
	const call = grpcWeb(format).serverStreaming(baseUrl + "/Service/Method", {}, headers, descriptor("server_streaming"));
	call.on("error", e => said.push(e.code, e.message));
	call.on("end", () => resolve(said));
});

(async () => {
	const got = {};
	for (const useBinaryFormat of [false, true]) {
		const codec = useBinaryFormat ? " of protobuf" : " of JSON";
		const connect = createConnectTransport({ baseUrl, useBinaryFormat });
		got["Connect, unary" + codec] = await unary(connect);
		got["Connect, stream" + codec] = await stream(connect);
		got["Connect, GET" + codec] = await unary(createConnectTransport({ baseUrl, useBinaryFormat, useHttpGet: true }));
		const web = createGrpcWebTransport({ baseUrl, useBinaryFormat });
		got["gRPC-Web of connect-web, unary" + codec] = await unary(web);
		got["gRPC-Web of connect-web, stream" + codec] = await stream(web);
	}
	for (const format of ["text", "binary"]) {
		got["gRPC-Web, unary, " + format] = await grpcWebUnary(format);
		got["gRPC-Web, stream, " + format] = await grpcWebStream(format);
	}
	got["GraphQL"] = await request(baseUrl + "/graphql", "{ name }", {}, headers)
		.then(() => undefined, e => [e.response.status, e.response.errors[0].message, e.response.errors[0].extensions.category]);
	got["EventSource"] = await new Promise(resolve => {
		const source = new EventSource(baseUrl + "/events");
		source.onmessage = resolve;
		source.onerror = e => { source.close(); resolve([e.code]); };
	});
	console.log(JSON.stringify(got));
})();
`

// The clients themselves read what they get: the code, and the words in the visitor's language.
func TestClients(t *testing.T) {
	t.Parallel()
	node, npm := program(t, "nodejs", "node", "nodejs"), program(t, "npm", "npm")
	dir := workDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, append([]string{"install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund"}, clientPackages...)...)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the clients can't be installed: %v\n%s", err, out)
	}
	script := write(t, filepath.Join(dir, "clients.js"), clientScript)
	c := startCaddy(t, "reverse_proxy "+deadAddress(t))

	languages, err := texts.New(texts.Auto, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []string{"en", "de"} {
		words := languages.For(http.Header{"Accept-Language": {language}}).Words(texts.Unavailable)
		call := exec.CommandContext(ctx, node, script, c.url, language)
		call.Stderr = os.Stderr
		out, err := call.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got map[string][]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if len(got) != 16 {
			t.Errorf("%d clients: %s", len(got), out)
		}
		for client, said := range got {
			want := []any{14.0, words.Title}
			switch client {
			case "GraphQL":
				want = []any{502.0, words.Title + " – " + words.Detail, "unavailable"}
			case "EventSource":
				want = []any{502.0}
			}
			if !reflect.DeepEqual(said, want) {
				t.Errorf("%s, %s: says %v, want %v", client, language, said, want)
			}
		}
	}
}
