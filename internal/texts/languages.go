package texts

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"golang.org/x/text/language"
)

//go:embed languages/*.json
var embedded embed.FS

// Auto is the language of each visitor, as Accept-Language names it.
const Auto = "auto"

// Bounds of what an owner's folder may have.
const (
	maxFiles     = 100
	maxFileBytes = 64 << 10
	maxTextBytes = 600
)

// maxAccept is how many bytes of Accept-Language are looked at, and maxRemembered how many
// values of it are remembered. Browsers send some 50 bytes; who sends more than maxAccept
// gets English, so that it costs no more than English does. Of a value that isn't
// remembered the first maxWanted languages are looked at, about 1 µs each: people who read
// more of them name those that they read best before.
const (
	maxAccept     = 256
	maxWanted     = 16
	maxRemembered = 512
)

// Languages are those in which a handler answers. It is safe for concurrent use.
type Languages struct {
	all     []*Texts // the first is for who asks for none of them
	matcher language.Matcher
	fixed   bool
	// remembered has the language for each value of Accept-Language that came lately.
	remembered atomic.Pointer[remembered]
}

type remembered struct {
	languages sync.Map // of string to *Texts
	count     atomic.Int32
}

// builtin are the embedded languages, English first.
var builtin = sync.OnceValues(func() ([]*Texts, error) {
	files, err := fs.Sub(embedded, "languages")
	if err != nil {
		return nil, err
	}
	return read(files, "", nil)
})

// English is for who asks for no language that we have.
func English() *Texts {
	all, err := builtin()
	if err != nil {
		panic(err) // of our own files: a test would have found it
	}
	return all[0]
}

// New are the embedded languages, and those of the owner's folder, which add to them or
// change them; nil is no folder, folder is its name in errors. use is a language for all,
// or Auto.
func New(use string, files fs.FS, folder string) (*Languages, error) {
	all, err := builtin()
	if err != nil {
		return nil, err
	}
	if files != nil {
		if all, err = read(files, folder, all); err != nil {
			return nil, err
		}
	}
	l := &Languages{all: all}
	l.remembered.Store(new(remembered))
	tags := make([]language.Tag, len(all))
	for i, t := range all {
		tags[i] = t.tag
	}
	l.matcher = language.NewMatcher(tags)
	if use == "" || use == Auto {
		return l, nil
	}
	wanted, err := language.Parse(use)
	if err != nil {
		return nil, fmt.Errorf("language %q is not auto, nor a language tag such as de or pt-BR", use)
	}
	_, index, confidence := l.matcher.Match(wanted)
	if confidence < language.High {
		return nil, fmt.Errorf("language %q: there are no texts in it; there are %s, and languages <folder> adds others", use, strings.Join(l.Tags(), ", "))
	}
	// What else there is can't be asked for.
	l.all, l.fixed = []*Texts{all[index].at(0)}, true
	return l, nil
}

// at is a copy of t for another place.
func (t *Texts) at(index int) *Texts {
	c := *t
	c.index = index
	return &c
}

// Len is how many languages there are.
func (l *Languages) Len() int { return len(l.all) }

// Tags are the languages, sorted, as BCP 47 writes them.
func (l *Languages) Tags() []string {
	var tags []string
	for _, t := range l.all {
		tags = append(tags, t.Lang())
	}
	slices.Sort(tags)
	return tags
}

// Vary says whether the language depends on Accept-Language.
func (l *Languages) Vary() bool { return !l.fixed }

// For is the language of who sent h.
func (l *Languages) For(h http.Header) *Texts {
	fields := h["Accept-Language"]
	if l.fixed || len(fields) == 0 {
		return l.all[0]
	}
	length := len(fields) - 1 // of the commas between them
	for _, field := range fields {
		if length += len(field); length > maxAccept {
			return l.all[0]
		}
	}
	accept := fields[0]
	if len(fields) > 1 {
		accept = strings.Join(fields, ",")
	}
	lately := l.remembered.Load()
	if t, ok := lately.languages.Load(accept); ok {
		return t.(*Texts)
	}
	t := l.match(accept)
	if lately.count.Add(1) > maxRemembered {
		// Who sends ever others must not keep those of the rest out.
		lately = new(remembered)
		l.remembered.Store(lately)
	}
	lately.languages.Store(strings.Clone(accept), t)
	return t
}

func (l *Languages) match(accept string) *Texts {
	wanted := 0
	end := strings.IndexFunc(accept, func(r rune) bool {
		if r == ',' {
			wanted++
		}
		return wanted == maxWanted
	})
	if end >= 0 {
		accept = accept[:end]
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return l.all[0]
	}
	// Low is another language that many who speak the wanted one are said to read.
	if _, index, confidence := l.matcher.Match(tags...); confidence >= language.High {
		return l.all[index]
	}
	return l.all[0]
}

// read reads a folder's files over what is there.
func read(files fs.FS, folder string, over []*Texts) ([]*Texts, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 || len(names) > maxFiles {
		return nil, fmt.Errorf("languages %s: %d files named <language>.json, want 1 to %d", folder, len(names), maxFiles)
	}
	all := slices.Clone(over)
	for _, name := range names {
		t, err := readFile(files, name, over)
		if err != nil {
			return nil, fmt.Errorf("languages %s: %w", path.Join(folder, name), err)
		}
		replaced := slices.IndexFunc(all, func(other *Texts) bool { return other.tag == t.tag })
		if replaced >= 0 {
			all[replaced] = t
		} else {
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(a, b *Texts) int { return cmp.Compare(rank(a), rank(b)) })
	for i, t := range all {
		all[i] = t.at(i)
	}
	return all, nil
}

// rank puts English first.
func rank(t *Texts) int {
	if t.tag == language.English {
		return 0
	}
	return 1
}

// readFile reads one language. A key that it doesn't have is that of the language that is
// nearest to it; where there is none, all keys have to be there.
func readFile(files fs.FS, name string, over []*Texts) (*Texts, error) {
	tag, err := language.Parse(strings.TrimSuffix(name, ".json"))
	if err != nil {
		return nil, errors.New("the file's name is not a language's tag, such as de.json or pt-BR.json")
	}
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("%d bytes are more than %d", len(content), maxFileBytes)
	}
	t := nearest(tag, over)
	t.setTag(tag)
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(t); err != nil {
		return nil, withLine(content, decoder, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, withLine(content, decoder, errors.New("there is more after the texts' closing brace"))
	}
	return t, t.check()
}

// nearest is a copy of the texts that a language goes on from; empty where there are none.
func nearest(tag language.Tag, over []*Texts) *Texts {
	t := new(Texts)
	if len(over) == 0 {
		return t
	}
	tags := make([]language.Tag, len(over))
	for i, other := range over {
		tags[i] = other.tag
	}
	_, index, confidence := language.NewMatcher(tags).Match(tag)
	if confidence < language.High {
		return t
	}
	*t = *over[index]
	for _, forms := range []*Plural{&t.ComeBackSeconds, &t.ComeBackMinutes, &t.ComeBackHours} {
		own := make(Plural, len(*forms))
		for form, text := range *forms {
			own[form] = text
		}
		*forms = own
	}
	return t
}

// withLine says in which line of a file an error is.
func withLine(content []byte, decoder *json.Decoder, err error) error {
	offset := decoder.InputOffset()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = kind.Offset
	}
	if _, key, ok := strings.Cut(err.Error(), "unknown field "); ok {
		if at := bytes.Index(content, []byte(key)); at >= 0 {
			offset = int64(at)
		}
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(content[:min(offset, int64(len(content)))], []byte("\n")), err)
}

// mayLack are the keys that a situation has only where there is something to say.
var mayLack = []string{"state", "help"}

// placeholders are those that a text has to have, by its key.
var placeholders = map[string]string{
	"come_back_seconds": "{n}", "come_back_minutes": "{n}", "come_back_hours": "{n}",
	"error_number": "{status}", "checking_in": "{n}",
}

// mayLackNumber are the forms that are for one number alone, in some languages a word.
var mayLackNumber = []string{"zero", "one", "two"}

// check says what is missing, or can't be shown.
func (t *Texts) check() error {
	var wrong []error
	t.each(func(key, form, text string) {
		if err := checkText(key, form, text); err != nil {
			wrong = append(wrong, err)
		}
	})
	for _, counted := range []struct {
		key   string
		forms Plural
	}{{"come_back_seconds", t.ComeBackSeconds}, {"come_back_minutes", t.ComeBackMinutes}, {"come_back_hours", t.ComeBackHours}} {
		if err := t.checkForms(counted.key, counted.forms); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// checkForms wants just the forms that whole numbers have in the language.
func (t *Texts) checkForms(key string, forms Plural) error {
	wanted := map[string]bool{"other": true}
	for n := range 200 {
		wanted[formOf(t.tag, n)] = true
	}
	for form := range wanted {
		if forms[form] == "" {
			return fmt.Errorf("%s: the form %q is missing, which numbers have in %s", key, form, t.tag)
		}
	}
	for form := range forms {
		if !wanted[form] {
			return fmt.Errorf("%s: no whole number has the form %q in %s", key, form, t.tag)
		}
	}
	return nil
}

func checkText(key, form, text string) error {
	name := key[strings.LastIndexByte(key, '.')+1:]
	switch {
	case text == "" && slices.Contains(mayLack, name):
		return nil
	case text == "":
		return fmt.Errorf("%s is missing", key)
	case len(text) > maxTextBytes:
		return fmt.Errorf("%s is %d bytes long, more than %d", key, len(text), maxTextBytes)
	case strings.ContainsFunc(text, unprintable):
		return fmt.Errorf("%s %q is not printable text", key, text)
	}
	wanted := placeholders[name]
	if wanted != "" && !strings.Contains(text, wanted) && !slices.Contains(mayLackNumber, form) {
		return fmt.Errorf("%s %q has no %s", key, text, wanted)
	}
	if rest := strings.Replace(text, wanted, "", 1); strings.ContainsAny(rest, "{}") {
		return fmt.Errorf("%s %q has braces that stand for nothing", key, text)
	}
	return nil
}

// unprintable lets the spaces through that don't break a line, which French writes.
func unprintable(r rune) bool { return !unicode.IsPrint(r) && r != '\u00a0' && r != '\u202f' }

// each gives all texts with their keys: situations.timeout.title, and of those that count,
// each form.
func (t *Texts) each(do func(key, form, text string)) {
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.IsExported() {
				continue
			}
			switch value := v.Field(i).Interface().(type) {
			case string:
				do(prefix+key, "", value)
			case Plural:
				for form, text := range value {
					do(prefix+key, form, text)
				}
			default:
				walk(prefix+key+".", v.Field(i))
			}
		}
	}
	walk("", reflect.ValueOf(t).Elem())
}
