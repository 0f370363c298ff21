package texts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// fileKeys are the keys of a file, as situations.timeout.title, each with its line.
type fileKeys map[string]int

func (k fileKeys) has(key string) bool { return k[key] > 0 }

// where is the line and the name of a key.
func (k fileKeys) where(key string) string {
	if line := k[key]; line > 0 {
		return fmt.Sprintf("line %d: %s", line, key)
	}
	return key
}

// allKeys are all that a file can have: texts are true, what holds others false. Of what
// counts any form may be there.
func allKeys() map[string]bool {
	keys := make(map[string]bool)
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			field := t.Field(i)
			if !field.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			key := prefix + name
			switch field.Type {
			case reflect.TypeFor[string]():
				keys[key] = true
			case reflect.TypeFor[Plural]():
				keys[key] = false
				for _, form := range formNames {
					keys[key+"."+form] = true
				}
			default:
				keys[key] = false
				walk(key+".", field.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Texts]())
	return keys
}

// keysReader reads the keys of a file.
type keysReader struct {
	content []byte
	decoder *json.Decoder
	known   map[string]bool
	keys    fileKeys
}

// keysOf are the keys of a file. It wants one object, whose keys are known and there once:
// of two values, or of one that is misspelt, one would be ignored.
func keysOf(content []byte) (fileKeys, error) {
	r := &keysReader{content, json.NewDecoder(bytes.NewReader(content)), allKeys(), make(fileKeys)}
	token, err := r.decoder.Token()
	if err == nil && token != json.Delim('{') {
		err = errors.New("expected an object in JSON, with the keys that are to change")
	}
	if err == nil {
		err = r.object("")
	}
	if err == nil {
		if _, after := r.decoder.Token(); after != io.EOF {
			err = errors.New("something stands after the end of the object")
		}
	}
	if err == nil {
		return r.keys, nil
	}
	offset := r.decoder.InputOffset()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		offset, err = int64(len(bytes.TrimSpace(content))), errors.New("the end of the object is missing")
	}
	return nil, fmt.Errorf("line %d: %w", r.line(offset), err)
}

func (r *keysReader) line(offset int64) int {
	return 1 + bytes.Count(r.content[:min(offset, int64(len(r.content)))], []byte("\n"))
}

// object reads one up to its end, whose beginning has been read.
func (r *keysReader) object(prefix string) error {
	for {
		token, err := r.decoder.Token()
		if err != nil || token == json.Delim('}') {
			return err
		}
		name, _ := token.(string)
		key := prefix + name
		holdsText, known := r.known[key]
		switch {
		case !known:
			return r.unknown(prefix, name)
		case r.keys.has(key):
			return fmt.Errorf("%s is there twice, in line %d too", key, r.keys[key])
		}
		r.keys[key] = r.line(r.decoder.InputOffset())
		value, err := r.decoder.Token()
		if err != nil {
			return err
		}
		_, isText := value.(string)
		switch {
		case holdsText && !isText:
			return fmt.Errorf("%s is not a text", key)
		case !holdsText && value != json.Delim('{'):
			return fmt.Errorf("%s is not an object, which has %s", key, strings.Join(r.within(key+"."), ", "))
		case !holdsText:
			if err := r.object(key + "."); err != nil {
				return err
			}
		}
	}
}

func (r *keysReader) unknown(prefix, name string) error {
	within := r.within(prefix)
	meant := ""
	if nearest := typo.Nearest(strings.ToLower(name), within); nearest != "" {
		meant = typo.DidYouMean(prefix + nearest)
	}
	return fmt.Errorf("there is no key %.100q%s; there are %s", prefix+name, meant, strings.Join(within, ", "))
}

// within are the names of the keys that are right there.
func (r *keysReader) within(prefix string) (names []string) {
	for key := range r.known {
		if rest, ok := strings.CutPrefix(key, prefix); ok && !strings.Contains(rest, ".") {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}
