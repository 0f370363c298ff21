//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi/datamodel"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// openAPI is docs/openapi.yaml, with a compiler of its schemas.
type openAPI struct {
	document any
	*jsonschema.Compiler
}

// openAPIFile is the name that the compiler has for it.
const openAPIFile = "openapi.json"

// readOpenAPI reads it, and holds it against the schema that OpenAPI 3.1 has for itself.
func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var read any
	if err := yaml.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	o := openAPI{parsed(t, asJSON), jsonschema.NewCompiler()}
	o.AssertFormat()

	const ofItself = "https://spec.openapis.org/oas/3.1/schema/2022-10-07"
	if err := o.AddResource(ofItself, parsed(t, []byte(datamodel.OpenAPI31SchemaData))); err != nil {
		t.Fatal(err)
	}
	if err := o.MustCompile(ofItself).Validate(o.document); err != nil {
		t.Errorf("it is not valid OpenAPI 3.1: %v", err)
	}
	refuseUnknownFields(o.document)
	if err := o.AddResource(openAPIFile, o.document); err != nil {
		t.Fatal(err)
	}
	for name := range o.at("components", "schemas").(map[string]any) {
		if _, err := o.Compile(openAPIFile + "#/components/schemas/" + name); err != nil {
			t.Errorf("the schema %s is not valid: %v", name, err)
		}
	}
	return o
}

func parsed(t *testing.T, text []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

// refuseUnknownFields makes all schemas strict, which the document is not: clients have to
// accept what a later release adds.
func refuseUnknownFields(at any) {
	switch at := at.(type) {
	case []any:
		for _, item := range at {
			refuseUnknownFields(item)
		}
	case map[string]any:
		for _, value := range at {
			refuseUnknownFields(value)
		}
		if at["type"] == "object" && at["properties"] != nil {
			at["additionalProperties"] = false
		}
	}
}

// at walks down into the document; nil where there is nothing.
func (o openAPI) at(path ...string) any {
	at := o.document
	for _, name := range path {
		in, _ := at.(map[string]any)
		if ref, ok := in["$ref"].(string); ok && name != "$ref" {
			in, _ = o.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
		}
		at = in[name]
	}
	return at
}

// check holds an answer against what is described of the operation.
func (o openAPI) check(t *testing.T, method, path string, status int, contentType, body string) {
	t.Helper()
	response := []string{"paths", path, strings.ToLower(method), "responses", strconv.Itoa(status)}
	if o.at(response...) == nil {
		t.Errorf("%s %s: %d is not described: %s", method, path, status, body)
		return
	}
	if body == "" && o.at(append(response, "content")...) == nil {
		return
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	ref, ok := o.at(append(response, "content", mediaType, "schema", "$ref")...).(string)
	switch {
	case !ok:
		t.Errorf("%s %s: %s is not described", method, path, mediaType)
	case mediaType == "application/json":
		if err := o.MustCompile(openAPIFile + ref).Validate(parsed(t, []byte(body))); err != nil {
			t.Errorf("%s %s: %v in %s", method, path, err, body)
		}
	}
}

// docs/openapi.yaml is valid, and what a running Caddy answers is what it says.
// internal/operator holds it against the source.
func TestOpenAPI(t *testing.T) {
	described := readOpenAPI(t)
	answering := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "short")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/closed":
			panic(http.ErrAbortHandler)
		}
	}))
	defer answering.Close()
	good, dead := answering.Listener.Addr().String(), freeAddress(t)
	c := startCaddy(t, `
reverse_proxy /rescued `+dead+" "+good+` {
	lb_policy first
	lb_retries 1
	fail_duration 1m
}
reverse_proxy /dead `+freeAddress(t)+`
reverse_proxy /nobody* `+freeAddress(t)+` {
	fail_duration 1m
}
reverse_proxy /name nobody.invalid:80
reverse_proxy /socket unix//nowhere/app.sock
reverse_proxy /tls https://`+good+`
reverse_proxy `+good)
	for _, path := range []string{"/rescued", "/dead", "/nobody", "/nobody/again", "/name", "/socket", "/tls", "/busy", "/cut", "/closed"} {
		c.visit(t, visit{path: path})
		c.recorded(t, path)
	}

	asked := func(method, path, target string, status int, body ...string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.admin+"/upstream_diagnostics"+target, strings.NewReader(strings.Join(body, "")))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != status {
			t.Errorf("%s %s: %d, want %d", method, target, res.StatusCode, status)
		}
		described.check(t, method, path, res.StatusCode, res.Header.Get("Content-Type"), string(answer))
	}
	asked("POST", "/probe", "/probe", 200, `{"upstream": "nobody.invalid:80"}`)
	asked("POST", "/probe", "/probe", 200, `{"upstream": "`+good+`", "index": 1}`)
	asked("POST", "/probe", "/probe", 404, `{"upstream": "nobody.invalid"}`)
	asked("POST", "/probe", "/probe", 400, `{"upstrem": "nobody.invalid"}`)
	asked("POST", "/probe", "/probe?format=text", 200, `{"upstream": "unix//nowhere/app.sock"}`)
	for _, f := range c.failures(t) {
		asked("GET", "/failures/{id}", "/failures/"+f.ID, 200)
		asked("GET", "/incidents/{id}", "/incidents/"+f.Incident, 200)
	}
	var page failure.FailurePage
	if err := c.ask(t, "/upstream_diagnostics/failures?limit=3", &page); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"", "?format=text"} {
		// Whatever takes no id answers without a filter.
		for path := range described.at("paths").(map[string]any) {
			if !strings.Contains(path, "{") && described.at("paths", path, "get") != nil {
				asked("GET", path, path+query, 200)
			}
		}
	}
	asked("GET", "/failures", "/failures?limit=3&before="+page.Next, 200)
	asked("GET", "/failures", "/failures?after="+page.Newest, 200)
	asked("GET", "/failures", "/failures?host=nobody.example", 200)
	asked("GET", "/incidents", "/incidents?state=resolved", 200)
	asked("GET", "/failures", "/failures?before=yesterday", 400)
	asked("GET", "/failures/latest", "/failures/latest?site=none", 404)
	asked("GET", "/failures/{id}", "/failures/nosuchone", 404)
	asked("GET", "/incidents/{id}", "/incidents/none", 404)
	asked("DELETE", "/failures", "/failures?site=none", 400)
	asked("DELETE", "/failures", "/failures", 204)
	asked("GET", "/failures/latest", "/failures/latest", 404)
	asked("GET", "/", "/", 200)
}
