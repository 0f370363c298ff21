package operator

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// docs/openapi.yaml is held against what is served, both ways: the requests, the fields of
// each type, the values of each closed set, and answers of a handler. e2e/openapi_test.go
// has the document itself checked, and the answers of a running Caddy.

// answers are the types of what is answered, and of what is sent, by the name of their schema. The types that
// these are made of follow from their fields.
var answers = map[string]any{
	"Overview":     failure.Overview{},
	"FailurePage":  failure.FailurePage{},
	"Failure":      failure.Failure{},
	"IncidentList": incidentList{},
	"Incident":     failure.Incident{},
	"Board":        failure.Board{},
	"CauseList":    causeList{},
	"Probe":        failure.Probe{},
	"ProbeQuery":   failure.ProbeQuery{},
	"Error":        errorAnswer{},
}

// schemaNames are the names of schemas that aren't those of their types.
var schemaNames = map[string]string{"Row": "Cause", "errorAnswer": "Error"}

// object is one of the document's.
type object = map[string]any

// readOpenAPI reads the document, its numbers as JSON has them.
func readOpenAPI(t *testing.T) (document object) {
	t.Helper()
	text, err := os.ReadFile("../../docs/openapi.yaml")
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
	if err := json.Unmarshal(asJSON, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// at walks down into the document; nil where there is nothing.
func at(from any, path ...string) any {
	for _, name := range path {
		in, _ := from.(object)
		from = in[name]
	}
	return from
}

// objectAt is at, of an object.
func objectAt(from any, path ...string) object {
	found, _ := at(from, path...).(object)
	return found
}

// referred is what a reference leads to, or what was given where it is none.
func referred(t *testing.T, document, from object) object {
	t.Helper()
	ref, ok := from["$ref"].(string)
	if !ok {
		return from
	}
	path, _ := strings.CutPrefix(ref, "#/")
	to := objectAt(document, strings.Split(path, "/")...)
	if to == nil {
		t.Fatalf("%s leads nowhere", ref)
	}
	return to
}

func texts(list any) (all []string) {
	items, _ := list.([]any)
	for _, item := range items {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// operation is one of the document's, with its method and path.
type operation struct {
	method, path string
	of           object
	// query and inPath are its parameters.
	query, inPath []object
}

func operations(t *testing.T, document object) (all []operation) {
	t.Helper()
	for path, methods := range objectAt(document, "paths") {
		for method, of := range methods.(object) {
			o := operation{method: strings.ToUpper(method), path: path, of: of.(object)}
			parameters, _ := o.of["parameters"].([]any)
			for _, parameter := range parameters {
				p := referred(t, document, parameter.(object))
				switch p["in"] {
				case "query":
					o.query = append(o.query, p)
				case "path":
					o.inPath = append(o.inPath, p)
				default:
					t.Errorf("%s %s: %v is in %v", method, path, p["name"], p["in"])
				}
			}
			all = append(all, o)
		}
	}
	return all
}

// target is its path, of something that fullView shows.
func (o operation) target() string {
	id := fullFailure
	if strings.HasPrefix(o.path, "/incidents") {
		id = fullIncident
	}
	return strings.Replace(o.path, idSegment, id, 1)
}

func parameterNames(parameters []object) (names []string) {
	for _, p := range parameters {
		names = append(names, p["name"].(string))
	}
	return names
}

func TestOpenAPIRequests(t *testing.T) {
	document := readOpenAPI(t)
	described := map[string]operation{}
	for _, o := range operations(t, document) {
		described[o.method+" "+o.path] = o
		if !slices.ContainsFunc(Requests, func(r Request) bool { return r.Method == o.method && r.Path == o.path }) {
			t.Errorf("%s %s is described, and isn't served", o.method, o.path)
		}
	}
	ids := map[any]bool{}
	for _, r := range Requests {
		name := r.Method + " " + r.Path
		o, ok := described[name]
		if !ok {
			t.Errorf("%s is served, and isn't described", name)
			continue
		}
		if got, want := parameterNames(o.query), r.known(); !slices.Equal(got, want) {
			t.Errorf("%s: its parameters are described as\n%q, want\n%q", name, got, want)
		}
		if got := parameterNames(o.inPath); strings.Contains(r.Path, idSegment) != slices.Equal(got, []string{"id"}) {
			t.Errorf("%s: %q are in its path", name, got)
		}
		if o.of["summary"] != r.Answer {
			t.Errorf("%s: its summary is %q, want %q", name, o.of["summary"], r.Answer)
		}
		if id := o.of["operationId"]; id == nil || ids[id] {
			t.Errorf("%s: its operationId is %v", name, id)
		}
		ids[o.of["operationId"]] = true
		for _, p := range slices.Concat(o.query, o.inPath) {
			if p["description"] == nil || p["example"] == nil || objectAt(p, "schema") == nil {
				t.Errorf("%s: the parameter %s lacks its description, an example or its schema", name, p["name"])
			}
			// What takes a,b is a list, whose default would be a&b.
			if objectAt(p, "schema")["type"] == "array" && (p["style"] != "form" || p["explode"] != false) {
				t.Errorf("%s: the parameter %s is a list without commas", name, p["name"])
			}
		}
	}
}

// constants are the values of the types of closed sets, as the source has them.
var constants = sync.OnceValues(func() (map[string][]string, error) {
	values := map[string][]string{}
	for _, room := range []string{"failure", "cause"} {
		files, err := filepath.Glob("../" + room + "/*.go")
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			for _, declaration := range parsed.Decls {
				group, ok := declaration.(*ast.GenDecl)
				if !ok || group.Tok != token.CONST {
					continue
				}
				for _, spec := range group.Specs {
					constant := spec.(*ast.ValueSpec)
					of, ok := constant.Type.(*ast.Ident)
					if !ok || len(constant.Values) != 1 {
						continue
					}
					if literal, ok := constant.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
						value, err := strconv.Unquote(literal.Value)
						if err != nil {
							return nil, err
						}
						values[of.Name] = append(values[of.Name], value)
					}
				}
			}
		}
	}
	return values, nil
})

func constantsOf(t *testing.T) map[string][]string {
	t.Helper()
	values, err := constants()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// comparison holds types against schemas.
type comparison struct {
	*testing.T
	schemas   object
	constants map[string][]string
	// seen are the types by the names of their schemas.
	seen map[string]reflect.Type
}

func TestOpenAPITypes(t *testing.T) {
	c := comparison{t, objectAt(readOpenAPI(t), "components", "schemas"), constantsOf(t), map[string]reflect.Type{}}
	for name, value := range answers {
		c.named(name, reflect.TypeOf(value))
	}
	// These are of parameters and of text, and no type of ours.
	for name := range c.schemas {
		if c.seen[name] == nil && name != "Text" && name != "TimeOrBack" {
			t.Errorf("the schema %s is of no type that is answered", name)
		}
	}
}

// named compares a type that has a schema of its own.
func (c comparison) named(name string, of reflect.Type) {
	c.Helper()
	if known := c.seen[name]; known != nil {
		if known != of {
			c.Errorf("the schema %s is of %s and of %s", name, known, of)
		}
		return
	}
	c.seen[name] = of
	schema := objectAt(c.schemas, name)
	if schema == nil {
		c.Errorf("there is no schema %s for %s", name, of)
		return
	}
	if want := schemaNames[of.Name()]; name != want && !strings.EqualFold(name, of.Name()) {
		c.Errorf("the schema of %s is %s", of, name)
	}
	if schema["description"] == nil {
		c.Errorf("the schema %s has no description", name)
	}
	switch {
	case of == reflect.TypeFor[failure.Timestamp]():
		c.same(name, schema["type"], "string")
		c.same(name, schema["format"], "date-time")
	case of.Kind() == reflect.Struct:
		c.fields(name, schema, of)
	case of.Kind() == reflect.String:
		c.same(name, schema["type"], "string")
		c.same(name, texts(schema["enum"]), c.constants[of.Name()])
	default:
		c.plain(name, schema, of)
	}
}

// fields compares a struct, field by field.
func (c comparison) fields(name string, schema object, of reflect.Type) {
	c.Helper()
	c.same(name, schema["type"], "object")
	described := objectAt(schema, "properties")
	var required []string
	there := map[string]bool{}
	for _, field := range flattened(of) {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "" {
			c.Errorf("%s.%s has no name in JSON", of, field.Name)
			continue
		}
		there[tag] = true
		if !strings.Contains(options, "omit") {
			required = append(required, tag)
		}
		property := objectAt(described, tag)
		if property == nil {
			c.Errorf("%s.%s is answered, and isn't described", name, tag)
			continue
		}
		if property["description"] == nil {
			c.Errorf("%s.%s has no description", name, tag)
		}
		c.value(name+"."+tag, property, field.Type)
	}
	for tag := range described {
		if !there[tag] {
			c.Errorf("%s.%s is described, and no field of %s", name, tag, of)
		}
	}
	c.same(name+": required", slices.Sorted(slices.Values(texts(schema["required"]))), slices.Sorted(slices.Values(required)))
}

// flattened are a struct's fields with those of what it embeds, as encoding/json has them:
// of what may be nil, each may be left out.
func flattened(of reflect.Type) (fields []reflect.StructField) {
	for field := range of.Fields() {
		if !field.Anonymous || field.Tag != "" {
			fields = append(fields, field)
			continue
		}
		embedded, optional := field.Type, field.Type.Kind() == reflect.Pointer
		if optional {
			embedded = embedded.Elem()
		}
		for _, inner := range flattened(embedded) {
			if optional {
				name, _, _ := strings.Cut(inner.Tag.Get("json"), ",")
				inner.Tag = reflect.StructTag(`json:"` + name + `,omitempty"`)
			}
			fields = append(fields, inner)
		}
	}
	return fields
}

// value compares what a field, an element or a key is of.
func (c comparison) value(name string, schema object, of reflect.Type) {
	c.Helper()
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	ref, isRef := schema["$ref"].(string)
	if ours := strings.Contains(of.PkgPath(), "upstream-diagnostics"); ours != isRef {
		c.Errorf("%s: a type of our own has a schema of its own, which %s has not, or is not", name, of)
		return
	}
	if isRef {
		c.named(strings.TrimPrefix(ref, "#/components/schemas/"), of)
		return
	}
	c.plain(name, schema, of)
}

// plain compares what has no name of ours.
func (c comparison) plain(name string, schema object, of reflect.Type) {
	c.Helper()
	switch of.Kind() {
	case reflect.Bool:
		c.same(name, schema["type"], "boolean")
	case reflect.String:
		c.same(name, schema["type"], "string")
		c.same(name, schema["enum"], nil)
	case reflect.Float64:
		c.same(name, schema["type"], "number")
	case reflect.Int, reflect.Int64:
		c.same(name, schema["type"], "integer")
	case reflect.Uint32, reflect.Uint64:
		c.same(name, schema["type"], "integer")
		c.same(name+": minimum", schema["minimum"] != nil, true)
	case reflect.Uint8:
		c.same(name, []any{schema["type"], schema["minimum"], schema["maximum"]}, []any{"integer", 0.0, 255.0})
	case reflect.Array:
		c.same(name, []any{schema["minItems"], schema["maxItems"]}, []any{float64(of.Len()), float64(of.Len())})
		fallthrough
	case reflect.Slice:
		c.same(name, schema["type"], "array")
		c.value(name+"[]", objectAt(schema, "items"), of.Elem())
	case reflect.Map:
		c.same(name, schema["type"], "object")
		c.value(name+"{}", objectAt(schema, "additionalProperties"), of.Elem())
		if of.Key().PkgPath() != "" {
			c.value(name+": propertyNames", objectAt(schema, "propertyNames"), of.Key())
		}
	default:
		c.Errorf("%s: nothing is known of %s", name, of)
	}
}

func (c comparison) same(name string, got, want any) {
	c.Helper()
	if !reflect.DeepEqual(got, want) {
		c.Errorf("%s is described as %v, want %v", name, got, want)
	}
}

// validator holds values against schemas: a small part of JSON Schema, and what it doesn't
// know is an error. It is stricter in one thing: a field that isn't described is wrong.
type validator struct{ schemas object }

// wrong says what is wrong with a value; nothing where it fits.
func (v validator) wrong(at string, schema object, value any) (wrong []string) {
	say := func(format string, values ...any) {
		wrong = append(wrong, at+": "+fmt.Sprintf(format, values...))
	}
	in := func(name string, schema, value any) {
		of, ok := schema.(object)
		if !ok {
			say("%v is no schema", schema)
			return
		}
		wrong = append(wrong, v.wrong(at+name, of, value)...)
	}
	asObject, _ := value.(object)
	asList, _ := value.([]any)
	asNumber, isNumber := value.(float64)
	for keyword, says := range schema {
		switch keyword {
		case "description", "example", "examples", "default":
		case "$ref":
			in("", v.schemas[strings.TrimPrefix(says.(string), "#/components/schemas/")], value)
		case "type":
			is := map[any]bool{
				"object": asObject != nil, "array": asList != nil, "number": isNumber,
				"integer": isNumber && asNumber == float64(int64(asNumber)),
			}
			_, is["string"] = value.(string)
			_, is["boolean"] = value.(bool)
			if !is[says] {
				say("%v is no %v", value, says)
			}
		case "enum":
			if !slices.Contains(says.([]any), value) {
				say("%v is none of %v", value, says)
			}
		case "format":
			if _, err := time.Parse(time.RFC3339, fmt.Sprint(value)); says != "date-time" || err != nil {
				say("%v is no %v", value, says)
			}
		case "minimum":
			if asNumber < says.(float64) {
				say("%v is less than %v", value, says)
			}
		case "maximum":
			if asNumber > says.(float64) {
				say("%v is more than %v", value, says)
			}
		case "minItems":
			if float64(len(asList)) < says.(float64) {
				say("%d are less than %v", len(asList), says)
			}
		case "maxItems":
			if float64(len(asList)) > says.(float64) {
				say("%d are more than %v", len(asList), says)
			}
		case "items":
			for n, item := range asList {
				in(fmt.Sprintf("[%d]", n), says, item)
			}
		case "required":
			for _, name := range texts(says) {
				if _, there := asObject[name]; !there {
					say("%s isn't there", name)
				}
			}
		case "properties":
			for name, property := range asObject {
				if described := says.(object)[name]; described != nil {
					in("."+name, described, property)
				} else {
					say("%s isn't described", name)
				}
			}
		case "additionalProperties":
			for name, property := range asObject {
				in("."+name, says, property)
			}
		case "propertyNames":
			for name := range asObject {
				in("{"+name+"}", says, name)
			}
		default:
			say("nothing is known of the keyword %s", keyword)
		}
	}
	return wrong
}

// full is a value of which every field is set.
func full[T any](t *testing.T) (value T) {
	t.Helper()
	fill(t, reflect.ValueOf(&value).Elem(), constantsOf(t))
	return value
}

func fill(t *testing.T, value reflect.Value, constants map[string][]string) {
	t.Helper()
	switch {
	case value.Type() == reflect.TypeFor[failure.Timestamp]():
		value.Set(reflect.ValueOf(failure.At(time.Date(2026, 11, 24, 4, 11, 26, 123e6, time.UTC))))
		return
	case value.Kind() == reflect.String && len(constants[value.Type().Name()]) > 0:
		value.SetString(constants[value.Type().Name()][0])
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		for _, field := range value.Fields() {
			fill(t, field, constants)
		}
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(t, value.Elem(), constants)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(t, value.Index(0), constants)
	case reflect.Array:
		for n := range value.Len() {
			fill(t, value.Index(n), constants)
		}
	case reflect.Map:
		key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		fill(t, key, constants)
		fill(t, element, constants)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, element)
	case reflect.String:
		value.SetString("text")
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int64:
		value.SetInt(7)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		value.SetUint(7)
	case reflect.Float64:
		value.SetFloat(0.283)
	default:
		t.Fatalf("nothing is known of %s", value.Type())
	}
}

// The ids in fullView.
const (
	fullFailure  = "k3f9qw2ax"
	fullIncident = "57d54133a3361326"
)

// fullView shows one of each with every field, and one with as few as there can be.
func fullView(t *testing.T) *fakeView {
	t.Helper()
	one := full[failure.Failure](t)
	one.ID = fullFailure
	overview := full[failure.Overview](t)
	overview.UpgradesEnded = map[string]uint64{"reload": 1, "upstream": 2}
	incident := full[failure.Incident](t)
	incident.ID = fullIncident
	return &fakeView{
		overview: overview,
		page: failure.FailurePage{
			Failures: []*failure.Failure{&one, {
				Outcome: failure.Abandoned, Category: failure.CategoryRequest, Evidence: []string{}, Attempts: []failure.Attempt{{}},
				Unavailable: []failure.Unavailable{{}}, Received: &failure.Received{}, Limit: &failure.Limit{Source: failure.LimitAbsent},
			}},
			Next: "n", Newest: "m",
		},
		board:     failure.Board{Upstreams: []failure.UpstreamState{full[failure.UpstreamState](t)}, Warnings: []failure.Warning{full[failure.Warning](t)}, WarningsDropped: 1},
		incidents: []failure.Incident{incident, {State: failure.IncidentResolved, Outcomes: map[failure.Outcome]uint64{}, Samples: []string{}, Changes: []failure.Change{}, Probes: []failure.Probe{leastProbe}}},
		probe:     full[failure.Probe](t),
	}
}

// leastProbe has as few fields as there can be.
var leastProbe = failure.Probe{
	Proxy: failure.ProbeProxy{Sites: []string{}}, Request: failure.ProbeRequest{By: failure.ProbeByDefault},
	Steps:  []failure.ProbeStep{{Step: failure.ProbeTLS, TLS: &failure.Handshake{Certificate: &failure.PeerCertificate{Names: []string{}}}}},
	Checks: []failure.ProbeCheck{{Check: failure.CheckTLS}}, NotTried: []failure.NotTried{},
}

// Every answer is one that is described, with its status and its type.
func TestOpenAPIAnswers(t *testing.T) {
	document := readOpenAPI(t)
	v := validator{objectAt(document, "components", "schemas")}
	catalogue := slices.Collect(cause.Rows())
	for _, o := range operations(t, document) {
		t.Run(o.method+" "+o.path, func(t *testing.T) {
			target := o.target()
			seen := map[string]bool{}
			check := func(view View, method, target string, options ...Option) {
				t.Helper()
				w := ask(New(view, catalogue, options...), method, target)
				status := strconv.Itoa(w.Code)
				response := referred(t, document, objectAt(o.of, "responses", status))
				if response == nil {
					t.Errorf("%s %s: %d isn't described: %s", method, target, w.Code, w.Body)
					return
				}
				seen[status] = true
				mediaType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
				content := objectAt(response, "content")
				switch described := objectAt(content, mediaType, "schema"); {
				case content == nil && w.Body.Len() == 0:
				case described == nil:
					t.Errorf("%s %s: %s isn't described", method, target, mediaType)
				case mediaType == typeJSON:
					for _, wrong := range v.wrong("", described, decode[any](t, w)) {
						t.Errorf("%s %s: %s", method, target, wrong)
					}
				}
				for name := range objectAt(response, "headers") {
					if w.Header().Get(name) == "" {
						t.Errorf("%s %s: there is no field %s", method, target, name)
					}
				}
			}
			check(fullView(t), o.method, target)
			check(fullView(t), o.method, target+"?colour=red")
			check(fullView(t), http.MethodPut, target)
			if o.method == http.MethodGet {
				check(fullView(t), o.method, target+"?format=text")
				check(&fakeView{
					overview: failure.Overview{Counts: map[failure.Outcome]uint64{}},
					board:    failure.Board{Upstreams: []failure.UpstreamState{}, Warnings: []failure.Warning{}},
				}, o.method, target)
			}
			if o.method == http.MethodPost {
				check(fullView(t), o.method, target+"?format=text")
				check(&fakeView{probe: leastProbe}, o.method, target)
				check(fullView(t), o.method, target, WithoutProbe("set allow_probe in upstream_dashboard"))
				for _, why := range []failure.ProbeRefusal{failure.ProbeUnknown, failure.ProbeImpossible, failure.ProbeTooOften} {
					check(&fakeView{probeErr: &failure.ProbeRefused{Why: why, Message: "no", RetryAfter: time.Second}}, o.method, target)
				}
			}
			for status := range objectAt(o.of, "responses") {
				if !seen[status] && status != "default" {
					t.Errorf("%s is described, and was never answered", status)
				}
			}
		})
	}
}

// Of each parameter the values that are described are taken, and others refused.
func TestOpenAPIParameters(t *testing.T) {
	document := readOpenAPI(t)
	h := New(fullView(t), slices.Collect(cause.Rows()))
	// Any text may be the name of one of these.
	free := []string{"site", "upstream", "host", "id", "incident", "instance"}
	for _, o := range operations(t, document) {
		for _, p := range o.query {
			name, schema := p["name"].(string), objectAt(p, "schema")
			example := fmt.Sprint(p["example"])
			if items := objectAt(schema, "items"); items != nil {
				schema, example = items, strings.Join(texts(p["example"]), ",")
			}
			schema = referred(t, document, schema)
			taken, refused := slices.Concat([]string{example}, texts(schema["enum"]), texts(schema["examples"])), []string{"\x00"}
			for limit, beyond := range map[string]float64{"minimum": -1, "maximum": 1} {
				if number, ok := schema[limit].(float64); ok {
					taken, refused = append(taken, fmt.Sprint(number)), append(refused, fmt.Sprint(number+beyond))
				}
			}
			if slices.Contains(free, name) {
				refused = nil
			}
			for status, values := range map[int][]string{http.StatusOK: taken, http.StatusBadRequest: refused} {
				for _, value := range values {
					if w := ask(h, o.method, o.target()+"?"+url.Values{name: {value}}.Encode()); w.Code != status {
						t.Errorf("%s %s: %s=%q gave %d, want %d: %.200s", o.method, o.path, name, value, w.Code, status, w.Body)
					}
				}
			}
		}
	}
	limit := objectAt(document, "components", "parameters", "limit", "schema")
	if limit["default"] != float64(failure.DefaultLimit) || limit["maximum"] != float64(failure.MaxLimit) {
		t.Errorf("limit is %v", limit)
	}
}

// The examples are what they are examples of.
func TestOpenAPIExamples(t *testing.T) {
	document := readOpenAPI(t)
	v := validator{objectAt(document, "components", "schemas")}
	var look func(name string, at any)
	look = func(name string, at any) {
		switch at := at.(type) {
		case []any:
			for n, item := range at {
				look(fmt.Sprintf("%s[%d]", name, n), item)
			}
		case object:
			schema := at
			if of := objectAt(at, "schema"); of != nil {
				schema = of
			}
			examples, _ := at["examples"].([]any)
			if example, ok := at["example"]; ok {
				examples = append(examples, example)
			}
			for _, example := range examples {
				for _, wrong := range v.wrong(name, schema, example) {
					t.Errorf("an example: %s", wrong)
				}
			}
			for key, value := range at {
				if key != "example" && key != "examples" {
					look(name+"/"+key, value)
				}
			}
		}
	}
	look("", object{"paths": document["paths"], "components": document["components"]})
}
