package page

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

// partialsName is what errors in our partials call their file.
const partialsName = "partials.html"

// parseOwner parses an owner's template, which can have our partials. name is what errors
// call its file.
func parseOwner(name, source string) (*template.Template, error) {
	ours, err := template.New(partialsName).Parse(partials)
	if err != nil {
		return nil, err
	}
	owner, err := ours.New(name).Parse(source)
	if err != nil {
		return nil, err
	}
	for _, t := range owner.Templates() {
		if t.Tree == nil || t.Tree.ParseName != name {
			continue
		}
		for call := range calls(t.Tree.Root) {
			if err := checkCall(owner, t.Tree, call); err != nil {
				return nil, err
			}
		}
	}
	return owner, nil
}

// checkCall wants a partial that is there, and the values that ours need.
func checkCall(owner *template.Template, tree *parse.Tree, call *parse.TemplateNode) error {
	location, _ := tree.ErrorContext(call)
	called := owner.Lookup(call.Name)
	if called == nil || called.Tree == nil {
		var names []string
		for _, t := range owner.Templates() {
			if t.Tree != nil && t.Name() != owner.Name() && t.Name() != partialsName {
				names = append(names, t.Name())
			}
		}
		slices.Sort(names)
		return fmt.Errorf("template: %s: there is no partial %q%s; there are %s", location, call.Name, didYouMean("", call.Name, names), strings.Join(names, ", "))
	}
	if call.Pipe == nil && called.Tree.ParseName == partialsName {
		return fmt.Errorf("template: %s: the partial %q is without its values: write {{template %q .}}", location, call.Name, call.Name)
	}
	return nil
}

// calls are the places where a part of a template has another one.
func calls(node parse.Node) func(yield func(*parse.TemplateNode) bool) {
	return func(yield func(*parse.TemplateNode) bool) { eachCall(node, yield) }
}

// eachCall goes on as long as yield says so.
func eachCall(node parse.Node, yield func(*parse.TemplateNode) bool) bool {
	branches := func(b *parse.BranchNode) bool { return eachCall(b.List, yield) && eachCall(b.ElseList, yield) }
	switch node := node.(type) {
	case *parse.ListNode:
		if node == nil {
			return true
		}
		for _, part := range node.Nodes {
			if !eachCall(part, yield) {
				return false
			}
		}
	case *parse.IfNode:
		return branches(&node.BranchNode)
	case *parse.RangeNode:
		return branches(&node.BranchNode)
	case *parse.WithNode:
		return branches(&node.BranchNode)
	case *parse.TemplateNode:
		return yield(node)
	}
	return true
}

// What the owner's template is tried with, besides each category.
var (
	// One method of each class, with every status.
	triedMethods = []string{http.MethodGet, http.MethodOptions, http.MethodPost}
	// Other methods, one that nobody knows among them, with the common status.
	otherMethods = []string{http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, "PURGE"}
	// What Caddy answers for an upstream, and one that only an upstream answers.
	triedStatuses = []int{
		http.StatusBadRequest, http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 599,
	}
	triedSent       = []failure.Sent{"", failure.SentNo, failure.SentMaybe, failure.SentYes}
	triedRetryAfter = []time.Duration{0, 30 * time.Second}
)

// tryOwner runs the owner's template with every value that it gets when something
// failed: what it does with one of them would be found out by a visitor. With each
// language, and within another page, it is run with each category.
func (p *Page) tryOwner() error {
	first := p.languages.For(nil)
	for _, category := range failure.Categories {
		for _, sent := range triedSent {
			for _, retryAfter := range triedRetryAfter {
				for _, status := range triedStatuses {
					sample := p.sample(category, sent, retryAfter, status)
					methods := triedMethods
					if status == http.StatusBadGateway {
						methods = slices.Concat(triedMethods, otherMethods)
					}
					for _, method := range methods {
						if err := p.try(p.data(first, method, sample)); err != nil {
							return err
						}
					}
				}
			}
		}
		sample := p.sample(category, failure.SentMaybe, triedRetryAfter[1], http.StatusBadGateway)
		for _, language := range p.languages.All() {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				if err := p.try(p.data(language, method, sample)); err != nil {
					return err
				}
			}
		}
		small := p.data(first, http.MethodGet, sample)
		small.Small = true
		if err := p.try(small); err != nil {
			return err
		}
		if p.mode == Minimal {
			return nil // to the public all categories are one
		}
	}
	return nil
}

func (p *Page) sample(category failure.Category, sent failure.Sent, retryAfter time.Duration, status int) failure.Public {
	return p.disclosed(failure.Public{
		ID: "k3f9qw2ax", Time: failure.At(time.Unix(0, 0)), Status: status,
		Category: category, RequestSent: sent, RetryAfter: retryAfter,
	})
}

func (p *Page) try(d Data) error {
	err := p.runOwner(io.Discard, d)
	if err == nil {
		return nil
	}
	with := fmt.Sprintf("Category %q, RequestSent %q, RetryAfterSeconds %d, Status %d, Method %s and Lang %s", d.Category, d.RequestSent, d.RetryAfterSeconds, d.Status, d.Method, d.Lang)
	if d.Small {
		with += ", within another page"
	}
	return fmt.Errorf("%w (tried with %s)", p.explained(err), with)
}

// noField is how a template's error says that there is no field.
var noField = regexp.MustCompile(`^(template: .*?): executing "([^"]*)" at <.*>: (?:can't evaluate field (\S+) in type (\S+)|nil data; no entry for key .*)$`)

// explained says of a field that isn't there which ones are, and of a partial that has not
// got its values how it gets them. Any other error stays as it is.
func (p *Page) explained(err error) error {
	said := noField.FindStringSubmatch(err.Error())
	if said == nil {
		return err
	}
	location, partial, field, in := said[1], plainName(said[2]), said[3], said[4]
	if strings.HasPrefix(location, "template: "+partialsName+":") {
		return fmt.Errorf("template: %s: the partial %q has not got all values: within {{range}} or {{with}} write {{template %q $}}", p.whereCalled(partial), partial, partial)
	}
	for _, place := range fieldPlaces() {
		if place.of.String() == strings.TrimLeft(in, "*") {
			return fmt.Errorf("%s: there is no %s%s%s%s; there are %s", location, place.prefix, field, place.within, didYouMean(place.prefix, field, place.names()), place.all())
		}
	}
	return err
}

// whereCalled is the first place in the owner's template where a partial may be given
// something else than all values, or its name.
func (p *Page) whereCalled(partial string) string {
	at := p.owner.Name()
	for _, t := range p.owner.Templates() {
		if t.Tree == nil || t.Tree.ParseName != p.owner.Name() {
			continue
		}
		for call := range calls(t.Tree.Root) {
			if plainName(call.Name) == partial && call.Pipe.String() != "$" {
				at, _ = t.Tree.ErrorContext(call)
				return at
			}
		}
	}
	return at
}

// plainName is the name of a template that html/template has copied for another context.
func plainName(name string) string {
	name, _, _ = strings.Cut(name, "$htmltemplate_")
	return name
}

// fieldPlace is where a template finds fields: those of type of are called prefix and their
// name, within says where else.
type fieldPlace struct {
	of             reflect.Type
	prefix, within string
}

func fieldPlaces() []fieldPlace {
	return []fieldPlace{
		{reflect.TypeFor[Data](), ".", ""},
		{reflect.TypeFor[Brand](), ".Brand.", ""},
		{reflect.TypeFor[Hop](), ".", " in one of .Hops"},
		{reflect.TypeFor[texts.Texts](), ".Texts.", ""},
		{reflect.TypeFor[texts.Situations](), ".Texts.Situations.", ""},
		{reflect.TypeFor[texts.Words](), ".", " in one of .Texts.Situations"},
	}
}

// names are the fields that a template can have there, sorted. Report is the operator's.
func (f fieldPlace) names() (names []string) {
	for _, field := range reflect.VisibleFields(f.of) {
		if field.IsExported() && !field.Anonymous && field.Type != reflect.TypeFor[template.HTML]() {
			names = append(names, field.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (f fieldPlace) all() string {
	return f.prefix + strings.Join(f.names(), ", "+f.prefix)
}

// didYouMean is put behind what isn't there; "" where nothing is meant plainly.
func didYouMean(prefix, word string, words []string) string {
	meant := typo.Nearest(word, words)
	if meant == "" {
		for _, other := range words {
			if strings.EqualFold(other, word) {
				meant = other
			}
		}
	}
	if meant != "" {
		meant = prefix + meant
	}
	return typo.DidYouMean(meant)
}

// maxOwner is how much an owner's template may write.
const maxOwner = 1 << 20

var errOwnerTooLong = errors.New("writes more than 1 MiB")

// runOwner runs the owner's template. An error has its name.
func (p *Page) runOwner(w io.Writer, d Data) error {
	err := p.owner.Execute(&limited{w, maxOwner}, d)
	if errors.Is(err, errOwnerTooLong) { // which html/template gives as it is
		err = fmt.Errorf("template: %s: %w", p.owner.Name(), err)
	}
	return err
}

// limited is a writer that takes no more than the rest.
type limited struct {
	io.Writer
	rest int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.rest -= len(b); l.rest < 0 {
		return 0, errOwnerTooLong
	}
	return l.Writer.Write(b)
}
