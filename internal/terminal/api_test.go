package terminal

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dialing asks what listens there.
func dialing(network, address string) *API {
	return NewAPI(Endpoint{
		Address: address, Host: "localhost:2019", Origin: "http://localhost:2019", Path: "/upstream_diagnostics",
		Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, address) },
	})
}

// Each error says what to do about it.
func TestErrors(t *testing.T) {
	serving := func(handler http.HandlerFunc) func(*testing.T) *API {
		return func(t *testing.T) *API {
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			return dialing("tcp", server.Listener.Addr().String())
		}
	}
	answering := func(status int, body string) func(*testing.T) *API {
		return serving(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for name, test := range map[string]struct {
		api  func(*testing.T) *API
		want string
	}{
		"nothing listens": {func(t *testing.T) *API {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			listener.Close()
			return dialing("tcp", listener.Addr().String())
		}, `nothing listens at <address>: is Caddy running, and without "admin off"? If its admin endpoint is another one, name it by --address, or its config by --config`},
		"no socket": {func(t *testing.T) *API {
			return dialing("unix", filepath.Join(t.TempDir(), "none.sock"))
		}, "nothing listens at <address>: is Caddy running"},
		"a file that is no socket": {func(t *testing.T) *API {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return dialing("unix", file)
		}, "nothing listens at <address>"},
		"a name that isn't": {func(t *testing.T) *API { return dialing("tcp", "caddy.invalid:2019") }, "<address> can't be reached: "},
		"no HTTP": {func(t *testing.T) *API {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if conn, err := listener.Accept(); err == nil {
					_, _ = conn.Read(make([]byte, 1<<10)) // the request
					_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n")
					conn.Close()
				}
			}()
			t.Cleanup(func() { listener.Close(); <-done })
			return dialing("tcp", listener.Addr().String())
		}, "no answer from <address>: "},
		"TLS": {func(t *testing.T) *API {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of us
			server.StartTLS()
			t.Cleanup(server.Close)
			return dialing("tcp", server.Listener.Addr().String())
		}, "what answers at <address> is not Caddy's admin endpoint: status 400 to /upstream_diagnostics"},
		"without the module": {
			serving(http.NotFound),
			"the Caddy at <address> was built without upstream_diagnostics; if its binary was changed since it started, restart it (a reload is not enough)",
		},
		"an id that isn't kept": {answering(404, `{"error":"no failure \"x\" is kept"}`), `no failure "x" is kept`},
		"a filter that isn't":   {answering(400, `{"error":"cause: expected one that the list of causes has, got \"x\""}`), `cause: expected one that the list of causes has, got "x"`},
		"another host": {
			answering(403, `{"error":"host not allowed: localhost:2019"}`),
			"Caddy refuses who asks it as <address>: host not allowed: localhost:2019 (see the origins of its admin option)",
		},
		"a page":      {answering(200, "<!DOCTYPE html>"), "what answers at <address> is not Caddy's admin endpoint: invalid character '<'"},
		"another API": {answering(200, `{"failures": 3}`), "what answers at <address> is not Caddy's admin endpoint: json: "},
		"a redirect": {serving(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusPermanentRedirect)
		}), "what answers at <address> is not Caddy's admin endpoint: status 308 to /upstream_diagnostics"},
		"an error of its own": {answering(502, ""), "what answers at <address> is not Caddy's admin endpoint: status 502"},
		"half an answer": {serving(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), "no answer from <address>: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			api := test.api(t)
			defer api.Close()
			var found page
			err := api.get(t.Context(), "failures", nil, &found)
			if want := strings.ReplaceAll(test.want, "<address>", api.Address); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// Who may not open a socket is told so.
func TestNotAllowed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may open any socket")
	}
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	api := dialing("unix", path)
	defer api.Close()
	if err := api.get(t.Context(), "", nil, nil); err == nil || !strings.Contains(err.Error(), "may not be opened by this user") {
		t.Errorf("%v", err)
	}
}

// A Caddy that hangs is not waited for for ever.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }() // it reads, and says nothing
		api := NewAPI(Endpoint{Address: "localhost:2019", Host: "localhost:2019", Dial: func(context.Context) (net.Conn, error) { return ours, nil }})
		defer api.Close()
		started := time.Now()
		err := api.get(t.Context(), "failures", nil, new(page))
		if err == nil || err.Error() != "no answer from localhost:2019 within 15s" || time.Since(started) != answerWithin {
			t.Errorf("after %s: %v", time.Since(started), err)
		}
		theirs.Close()
	})
}

// Origin and host are those that Caddy's own commands send: an admin endpoint with
// enforce_origin wants them.
func TestWhoAsks(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	api := dialing("tcp", server.Listener.Addr().String())
	defer api.Close()
	if err := api.get(t.Context(), "failures", nil, new(page)); err != nil {
		t.Fatal(err)
	}
	if got.Host != "localhost:2019" || got.Header.Get("Origin") != "http://localhost:2019" || got.URL.Path != "/upstream_diagnostics/failures" {
		t.Errorf("%s %s %v", got.Host, got.URL, got.Header)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := api.get(ctx, "", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who is interrupted gets %v", err)
	}
}
