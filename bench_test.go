package diagnostics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What a request costs in a whole Caddy, without and with this module in front of
// reverse_proxy: one that goes well, and one whose upstream refuses.
func BenchmarkRequest(b *testing.B) {
	ok := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	defer ok.Close()
	for _, upstream := range []struct {
		name, address string
		status        int
	}{
		{"works", ok.Listener.Addr().String(), http.StatusOK},
		{"refuses", "127.0.0.1:1", http.StatusBadGateway},
	} {
		for _, with := range []struct{ name, directive string }{
			{"bare", ""},
			{"listened", "upstream_diagnostics"},
			{"recorded", "upstream_diagnostics {\npage off\n}"},
		} {
			b.Run(upstream.name+"/"+with.name, func(b *testing.B) {
				server := benchServer(b, with.directive+"\nreverse_proxy "+upstream.address)
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
					r.Header.Set("Accept", "text/html")
					w := httptest.NewRecorder()
					server.ServeHTTP(w, r)
					if w.Code != upstream.status {
						b.Fatalf("got %d", w.Code)
					}
				}
			})
		}
	}
}

// benchServer is the server of a running Caddy, to be called without a socket.
func benchServer(b *testing.B, site string) *caddyhttp.Server {
	b.Helper()
	config := "{\nadmin off\nauto_https off\npersist_config off\nupstream_diagnostics\nlog {\noutput discard\n}\n}\nhttp://127.0.0.1:0 {\n" + site + "\n}\n"
	if err := loadCaddyfile(config); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		b.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	b.Fatal("no server")
	return nil
}
