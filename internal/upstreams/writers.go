package upstreams

import (
	"encoding/json"
	"strings"
	"sync"
	"weak"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Writer is what a `vars` or a `map` of a server writes: a variable or a placeholder,
// whose value may be what the client says.
type Writer struct {
	// Directive is vars or map.
	Directive string
	// Name is what it writes; of a variable it may have placeholders, and a placeholder
	// is without its braces.
	Name string
}

// String is what the owner has written, for people.
func (w Writer) String() string {
	if w.Directive == "map" {
		return "map … {" + w.Name + "}"
	}
	return w.Directive + " " + w.Name
}

// WritesVariable says whether it may write a variable.
func (w Writer) WritesVariable(name string) bool {
	if w.Directive != "vars" {
		return false
	}
	beginning, _, open := strings.Cut(w.Name, "{")
	return w.Name == name || open && strings.HasPrefix(name, beginning)
}

// userPlaceholder is the one that `vars` writes along with the variable of its name.
const userPlaceholder = "http.auth.user.id"

// WritesPlaceholder says whether it may write a placeholder.
func (w Writer) WritesPlaceholder(name string) bool {
	return w.Directive == "map" && w.Name == name || name == userPlaceholder && w.WritesVariable(name)
}

// written is what was found in the server that was asked about last: each of its
// handlers asks while it is loaded, and the first one's answer holds for all.
var written struct {
	sync.Mutex
	server  weak.Pointer[caddyhttp.Server]
	writers []Writer
}

// WritersIn are those of a server which may still be loading: of a route that is not
// loaded it reads the JSON.
func WritersIn(server *caddyhttp.Server) []Writer {
	if server == nil {
		return nil
	}
	written.Lock()
	defer written.Unlock()
	if key := weak.Make(server); written.server != key {
		w := newWalk(func(*reverseproxy.Handler, way) {})
		w.walk(server)
		written.server, written.writers = key, w.writers
	}
	return written.writers
}

// learnVars learns what a `vars` writes.
func (w *walk) learnVars(vars map[string]any) {
	for name := range vars {
		w.writers = append(w.writers, Writer{"vars", name})
	}
}

// learnMap learns what a `map` writes.
func (w *walk) learnMap(destinations []string) {
	for _, name := range destinations {
		w.writers = append(w.writers, Writer{"map", strings.Trim(name, "{}")})
	}
}

// unloaded learns it of handlers that are JSON still, and of those in them.
func (w *walk) unloaded(handlers []json.RawMessage) {
	for _, raw := range handlers {
		var config any
		if json.Unmarshal(raw, &config) == nil { // else Caddy says what is wrong with it
			w.learnJSON(config)
		}
	}
}

func (w *walk) learnJSON(config any) {
	switch config := config.(type) {
	case []any:
		for _, value := range config {
			w.learnJSON(value)
		}
	case map[string]any:
		switch config["handler"] {
		case "vars":
			w.learnVars(config)
		case "map":
			var h maphandler.Handler
			if text, err := json.Marshal(config); err == nil && json.Unmarshal(text, &h) == nil {
				w.learnMap(h.Destinations)
			}
		}
		for _, value := range config {
			w.learnJSON(value)
		}
	}
}
