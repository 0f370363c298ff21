package page

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"time"
)

// A handler in front may have wrapped the ResponseWriter in one that changes the header
// when the status is written, after we have set our fields: a deferred `header` does.
// A shield stands behind all that wraps it, next to the server's own, and sets them
// once more when the header leaves.
type shield struct {
	http.ResponseWriter

	own *own
	// replaced says that what leaves is not our answer any more; nil where nothing in
	// front can replace it.
	replaced func() bool
	left     bool
}

// Shieldable says whether a shield can stand behind all that is between w and the client,
// and nothing there makes another body of ours: an operator's answer is only for where this
// holds.
func Shieldable(w http.ResponseWriter) bool {
	return !BodyIsKept(w) && (changesNothing(w) || wrappersOf(w).passed)
}

// BodyIsKept says that a handler in front keeps the body and looks what to make of it, as
// `templates` does: what is for operators has in it what clients and upstreams said, which
// would be run. What `intercept` keeps is shown as it is, or not at all.
func BodyIsKept(w http.ResponseWriter) bool {
	around := ""
	for range maxWrappers {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		by := packageOf(w)
		if kept, ok := w.(interface{ Buffer() *bytes.Buffer }); ok && by != intercepting && around != intercepting && kept.Buffer() != nil {
			return true
		}
		around, w = by, wrapper.Unwrap()
		if w == nil {
			return false
		}
	}
	return false
}

// shielded puts a shield that holds o behind what wraps w. Where nothing can take it,
// nothing is changed.
func shielded(w http.ResponseWriter, o *own) {
	if changesNothing(w) {
		return
	}
	found := wrappersOf(w)
	if !found.slot.IsValid() {
		return
	}
	inner, _ := found.slot.Interface().(http.ResponseWriter)
	found.slot.Set(reflect.ValueOf(&shield{ResponseWriter: inner, own: o, replaced: found.replaced}))
}

// servers is the package of the wrappers that Caddy's server puts around each request:
// time limits, the access log's recorder. They leave the header as it is.
const servers = "github.com/caddyserver/caddy/v2/modules/caddyhttp"

// changesNothing says that only such wrappers are between w and the client. It is so for
// most configs, where looking further would cost a request that fails more than the rest
// of its answer's header.
func changesNothing(w http.ResponseWriter) bool {
	for range maxWrappers {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return isServers(w)
		}
		if packageOf(w) != servers {
			return false
		}
		w = wrapper.Unwrap()
	}
	return false
}

// wrappers is what stands between a handler and the client.
type wrappers struct {
	// slot is where the innermost wrapper that can take a shield holds what it wraps; not
	// valid where there is none.
	slot reflect.Value
	// passed says that nothing but the server's own writer is behind the slot.
	passed bool
	// replaced is shield.replaced.
	replaced func() bool
}

// maxWrappers bounds how many wrappers are passed; some ten are usual.
const maxWrappers = 64

// maxEmbedded is how deep a wrapper's field may be embedded.
const maxEmbedded = 4

func wrappersOf(w http.ResponseWriter) wrappers {
	found := wrappers{passed: true}
	for range maxWrappers {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			found.passed = found.passed && isServers(w)
			return found
		}
		inner := wrapper.Unwrap()
		if inner == nil {
			break
		}
		if slot, ok := slotOf(reflect.ValueOf(w), inner, maxEmbedded); ok {
			found.slot, found.passed = slot, true
		} else {
			found.passed = false
		}
		if held, ok := w.(interface{ Buffered() bool }); ok && packageOf(w) == intercepting {
			found.replaced = held.Buffered
		}
		w = inner
	}
	found.passed = false
	return found
}

// intercepting is the package of Caddy's `intercept`, which holds an answer back where it
// puts another in its place.
const intercepting = "github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"

func packageOf(w http.ResponseWriter) string {
	t := reflect.TypeOf(w)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}

// isServers says whether w is the server's own writer, not a wrapper that doesn't tell
// what it wraps: it alone sets a connection's deadlines.
func isServers(w http.ResponseWriter) bool {
	_, ok := w.(interface {
		SetReadDeadline(time.Time) error
		SetWriteDeadline(time.Time) error
	})
	return ok
}

var writerType = reflect.TypeFor[http.ResponseWriter]()

// slotOf finds the exported field of a wrapper, or of what it embeds, that holds inner.
func slotOf(wrapper reflect.Value, inner http.ResponseWriter, depth int) (reflect.Value, bool) {
	if wrapper.Kind() == reflect.Pointer {
		wrapper = wrapper.Elem()
	}
	if wrapper.Kind() != reflect.Struct {
		return reflect.Value{}, false
	}
	for i := range wrapper.NumField() {
		field := wrapper.Field(i)
		if field.Type() == writerType {
			if field.CanSet() && same(field.Elem(), reflect.ValueOf(inner)) {
				return field, true
			}
			continue
		}
		if kind := field.Kind(); depth == 0 || kind != reflect.Pointer && kind != reflect.Struct {
			continue
		}
		if wrapper.Type().Field(i).Anonymous {
			if slot, ok := slotOf(field, inner, depth-1); ok {
				return slot, true
			}
		}
	}
	return reflect.Value{}, false
}

// same says whether both are the same pointer, or values of a comparable type that are
// equal.
func same(a, b reflect.Value) bool {
	return a.IsValid() && b.IsValid() && a.Type() == b.Type() && a.Comparable() && b.Comparable() && a.Equal(b)
}

// hold sets the fields once more, the first time that a final header leaves.
func (s *shield) hold() {
	if s.left {
		return
	}
	s.left = true
	// What replaced an operator's answer may still have its body (replace_status).
	if s.own.operators || s.replaced == nil || !s.replaced() {
		s.own.apply(s.ResponseWriter.Header())
	}
}

// WriteHeader implements http.ResponseWriter.
func (s *shield) WriteHeader(status int) {
	if status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		s.hold()
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *shield) Write(b []byte) (int, error) {
	s.hold()
	return s.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom: io.Copy asks what is behind for its own.
func (s *shield) ReadFrom(r io.Reader) (int64, error) {
	s.hold()
	return io.Copy(s.ResponseWriter, r)
}

// FlushError implements what http.ResponseController asks for.
func (s *shield) FlushError() error {
	s.hold()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush implements http.Flusher, for who asks for it by its old name.
func (s *shield) Flush() { _ = s.FlushError() }

// Unwrap lets http.ResponseController reach what this type doesn't have.
func (s *shield) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Interface guards
var (
	_ http.Flusher  = (*shield)(nil)
	_ io.ReaderFrom = (*shield)(nil)
)
