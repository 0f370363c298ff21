package testcaddy

import (
	"reflect"
	"time"
)

// EachText calls do with every string in v, however deep, and where it is.
func EachText(v reflect.Value, path string, do func(path, text string)) {
	switch v.Kind() {
	case reflect.String:
		do(path, v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			EachText(v.Elem(), path, do)
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			if field.IsExported() && field.Type != reflect.TypeFor[time.Time]() {
				EachText(value, path+"."+field.Name, do)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			EachText(v.Index(i), path+"[]", do)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			EachText(key, path+"{}", do)
			EachText(v.MapIndex(key), path+"[]", do)
		}
	}
}
