package texts

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

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

// BuiltinTags are the embedded languages, sorted.
func BuiltinTags() []string {
	all, err := builtin()
	if err != nil {
		panic(err) // see English
	}
	return (&Languages{all: all}).Tags()
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
		return nil, fmt.Errorf("language %q is not auto, nor a language's tag such as de or pt-BR; there are texts in %s", use, strings.Join(l.Tags(), ", "))
	}
	_, index, confidence := l.matcher.Match(wanted)
	if confidence < language.High {
		return nil, fmt.Errorf("language %q: there are no texts in it; there are %s, and a folder of languages adds others", use, strings.Join(l.Tags(), ", "))
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

// All are the languages; the first is for who asks for none of them.
func (l *Languages) All() []*Texts { return l.all }

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

// read reads a folder's files over what is there. Those of a region or a script come after
// the language's own, on which they go on.
func read(files fs.FS, folder string, over []*Texts) ([]*Texts, error) {
	names, err := namesIn(files)
	if err != nil {
		return nil, fmt.Errorf("languages %s: %w", folder, err)
	}
	all, tags := slices.Clone(over), make(map[language.Tag]string)
	for _, name := range names {
		t, err := readFile(files, name, all)
		if err == nil && tags[t.tag] != "" {
			err = fmt.Errorf("it is of the same language as %s", tags[t.tag])
		}
		if err != nil {
			return nil, fmt.Errorf("languages %s: %w", filepath.Join(folder, name), err)
		}
		tags[t.tag] = name
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

// namesIn are the names of a folder's files, the shorter ones first: de.json is before
// de-AT.json. What editors and systems leave there begins with a dot.
func namesIn(files fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, reason(err)
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); path.Ext(name) == ".json" && name[0] != '.' {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("there is no file named <language>.json in it, such as de.json")
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("%d files named <language>.json, want %d at most", len(names), maxFiles)
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return names, nil
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
	if base, _, _ := tag.Raw(); err != nil || base.String() == "und" {
		return nil, errors.New("the file's name is not a language's tag, such as de.json or pt-BR.json")
	}
	content, err := contentOf(files, name)
	if err != nil {
		return nil, err
	}
	keys, err := keysOf(content)
	if err != nil {
		return nil, err
	}
	t, base := nearest(tag, over)
	t.setTag(tag)
	if err := json.Unmarshal(content, t); err != nil {
		return nil, err
	}
	return t, t.check(keys, base)
}

// contentOf reads a file. Only a regular one: opening a pipe would hold up the load.
func contentOf(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	if err != nil {
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxFileBytes)
	}
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, reason(err)
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // as some editors begin a file
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, errors.New("it is empty: expected an object in JSON, with the keys that are to change")
	}
	if !utf8.Valid(content) {
		return nil, errors.New("it is not UTF-8 text")
	}
	return content, nil
}

// reason is what is wrong with a file, whose name is told already.
func reason(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	return err
}

// nearest is a copy of the texts that a language goes on from, and whose they are; empty where
// there are none.
func nearest(tag language.Tag, over []*Texts) (t *Texts, of *Texts) {
	t = new(Texts)
	if len(over) == 0 {
		return t, nil
	}
	tags := make([]language.Tag, len(over))
	for i, other := range over {
		tags[i] = other.tag
	}
	_, index, confidence := language.NewMatcher(tags).Match(tag)
	if confidence < language.High {
		return t, nil
	}
	*t = *over[index]
	for _, forms := range []*Plural{&t.ComeBackSeconds, &t.ComeBackMinutes, &t.ComeBackHours} {
		own := make(Plural, len(*forms))
		for form, text := range *forms {
			own[form] = text
		}
		*forms = own
	}
	return t, over[index]
}

// mayLack are the keys that a situation has only where there is something to say.
var mayLack = []string{"state", "help"}

// placeholders are those that a text has to have, by its key.
var placeholders = map[string]string{
	"come_back_seconds": "{n}", "come_back_minutes": "{n}", "come_back_hours": "{n}",
	"error_number": "{status}", "checking_in": "{n}",
}

// checkedNumbers are those of which it is looked which form they have.
const checkedNumbers = 200

// mayLackNumber says that a form is for one number alone, of those that are told: some
// languages have a word for it. In Russian "one" is for 21, too.
func (t *Texts) mayLackNumber(form string) bool {
	if form == "" || form == "other" {
		return false
	}
	numbers := 0
	for n := 1; n < checkedNumbers; n++ {
		if formOf(t.tag, n) == form {
			numbers++
		}
	}
	return numbers <= 1
}

// maxTold is how many of many faults of a file are told.
const maxTold = 10

// check says what is missing, or can't be shown. keys are the file's own; base are the texts
// that it goes on from, or nil.
func (t *Texts) check(keys fileKeys, base *Texts) error {
	var missing, wrong []string
	t.each(func(key, form, text string) {
		name := key
		if form != "" {
			name += "." + form
		}
		switch err := t.checkText(key, form, text); {
		case err == nil:
		case text == "" && !keys.has(name):
			missing = append(missing, name)
		default:
			wrong = append(wrong, keys.where(name)+" "+err.Error())
		}
	})
	for _, counted := range []struct {
		key   string
		forms Plural
	}{{"come_back_seconds", t.ComeBackSeconds}, {"come_back_minutes", t.ComeBackMinutes}, {"come_back_hours", t.ComeBackHours}} {
		lacks, tooMany := t.checkForms(counted.forms)
		for _, form := range lacks {
			missing = append(missing, counted.key+"."+form)
		}
		for _, form := range tooMany {
			wrong = append(wrong, fmt.Sprintf("%s: no whole number has this form in %s", keys.where(counted.key+"."+form), t.tag))
		}
	}
	if len(missing) > 0 {
		lack := fmt.Sprintf("%d keys are missing", len(missing))
		if len(missing) == 1 {
			lack = "a key is missing"
		}
		if base == nil {
			lack += ", of which a language that is not there yet has all"
		}
		wrong = append([]string{lack + ": " + some(missing, ", ")}, wrong...)
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(some(wrong, "; "))
}

// some are the first of many.
func some(all []string, between string) string {
	if len(all) <= maxTold {
		return strings.Join(all, between)
	}
	return strings.Join(all[:maxTold], between) + fmt.Sprintf("%sand %d more", between, len(all)-maxTold)
}

// checkForms wants just the forms that whole numbers have in the language.
func (t *Texts) checkForms(forms Plural) (lacks, tooMany []string) {
	wanted := map[string]bool{"other": true}
	for n := range checkedNumbers {
		wanted[formOf(t.tag, n)] = true
	}
	for form := range wanted {
		if _, ok := forms[form]; !ok {
			lacks = append(lacks, form)
		}
	}
	for form := range forms {
		if !wanted[form] {
			tooMany = append(tooMany, form)
		}
	}
	slices.Sort(lacks)
	slices.Sort(tooMany)
	return lacks, tooMany
}

// checkText says what is wrong with the text of a key.
func (t *Texts) checkText(key, form, text string) error {
	name := key[strings.LastIndexByte(key, '.')+1:]
	switch {
	case text == "" && slices.Contains(mayLack, name):
		return nil
	case text == "":
		return errors.New("is empty")
	case len(text) > maxTextBytes:
		return fmt.Errorf("is %d bytes long, more than %d", len(text), maxTextBytes)
	case strings.ContainsFunc(text, unprintable):
		return fmt.Errorf("%q is not printable text", text)
	}
	wanted := placeholders[name]
	if wanted != "" && !strings.Contains(text, wanted) && !t.mayLackNumber(form) {
		return fmt.Errorf("%q has no %s", text, wanted)
	}
	if rest := strings.Replace(text, wanted, "", 1); strings.ContainsAny(rest, "{}") {
		return fmt.Errorf("%q has braces that stand for nothing", text)
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
				for _, form := range slices.Sorted(maps.Keys(value)) {
					do(prefix+key, form, value[form])
				}
			default:
				walk(prefix+key+".", v.Field(i))
			}
		}
	}
	walk("", reflect.ValueOf(t).Elem())
}
