package failure

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// Every string of a record is its own after Own, and says what it said.
func TestOwnTakesEveryText(t *testing.T) {
	f := new(Failure)
	fill(reflect.ValueOf(f).Elem())
	before := texts(reflect.ValueOf(f).Elem(), "")
	f.Own()
	after := texts(reflect.ValueOf(f).Elem(), "")
	if len(before) < 40 || len(after) != len(before) {
		t.Fatalf("%d texts before, %d after", len(before), len(after))
	}
	for i, b := range before {
		a := after[i]
		if a.text != b.text {
			t.Errorf("%s was %q and is %q", b.path, b.text, a.text)
		}
		if unsafe.StringData(a.text) == unsafe.StringData(b.text) && !slices.Contains(neverAPart, a.path) {
			t.Errorf("%s is not the record's own: give it to texts", b.path)
		}
	}
	new(Failure).Own()
}

// neverAPart are the fields whose texts are never a part of something larger (see texts).
var neverAPart = []string{
	".Instance", ".Cause", ".ProxyError", ".Incident",
	".Attempts[].Cause", ".Attempts[].Incident", ".Unavailable[].LastCause",
}

// fill makes each string that isn't one of this package's words a text of its own, and
// what it stands in.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(fmt.Sprintf("%*x", int(14+v.Addr().Pointer()>>4%7), v.Addr().Pointer())) // of many lengths, each another
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"A", "B", "C", "D", "E", "F"} {
			element := reflect.New(v.Type().Elem()).Elem()
			fill(element)
			v.SetMapIndex(reflect.ValueOf(key), element)
		}
	}
}

type textAt struct{ path, text string }

func texts(v reflect.Value, path string) (found []textAt) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			found = append(found, textAt{path, v.String()})
		}
	case reflect.Pointer:
		found = texts(v.Elem(), path)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for field, value := range v.Fields() {
			found = append(found, texts(value, path+"."+field.Name)...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			found = append(found, texts(v.Index(i), path+"[]")...)
		}
	case reflect.Map: // whose keys are the config's
		for _, key := range []string{"A", "B", "C", "D", "E", "F"} {
			if values := v.MapIndex(reflect.ValueOf(key)); values.IsValid() {
				found = append(found, texts(values, path+"{}")...)
			}
		}
	}
	return found
}
