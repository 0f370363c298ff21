package tests

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// leaves gets an answer's beginning, and leaves after so long without any more of it.
func leaves(c *testcaddy.Caddy, path string, patience time.Duration) {
	c.T.Helper()
	ctx, cancel := context.WithCancel(c.T.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+path, nil)
	if err != nil {
		c.T.Fatal(err)
	}
	res, err := testcaddy.Client.Do(r)
	if err != nil {
		c.T.Fatal(err)
	}
	defer res.Body.Close()
	time.AfterFunc(patience, cancel)
	_, _ = io.Copy(io.Discard, res.Body) // until it is cancelled
}

// A visitor who gives up on an answer that stalls had reason to; one who leaves an event
// stream in a pause, or an answer that has just begun, had none that is to be told.
func TestAnswerStallsUntilTheVisitorLeaves(t *testing.T) {
	over := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			w.Header().Set("Content-Length", "100000")
		}
		_, _ = w.Write(make([]byte, 30000))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	defer app.Close()
	defer close(over)
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+strings.TrimPrefix(app.URL, "http://")+" {\n\tflush_interval -1\n}")

	leaves(c, "/events", 3500*time.Millisecond)
	leaves(c, "/left", 100*time.Millisecond)
	c.Idle()
	if list := c.Failures(); len(list) > 0 {
		t.Fatalf("recorded as %s: %q", list[0].Cause, list[0].Evidence)
	}
	leaves(c, "/stalled", 3500*time.Millisecond)
	f := c.Newest("response_stalled")
	if f.Cause != "response_stalled" || f.Outcome != "truncated" || f.Side != "upstream" || f.Status != http.StatusOK || f.RequestSent != "yes" {
		t.Errorf("%s %s side %s %d, sent %s", f.Outcome, f.Cause, f.Side, f.Status, f.RequestSent)
	}
	if !slices.Contains(f.Evidence, "30000 of 100000 bytes of the answer came") {
		t.Errorf("%q", f.Evidence)
	}
}

// PHP's answer that comes when the visitor has given up.
func TestFastCGIAnswersNobody(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, answers := make(chan struct{}), make(chan struct{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(asked)
				<-answers
			}
			_, _ = io.WriteString(w, "fine")
		}))
	}()
	defer func() { _ = l.Close(); <-served }()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+l.Addr().String()+" {\n\ttransport fastcgi {\n\t\troot /srv\n\t}\n}")
	if got := c.Get("/quick"); got.Body != "fine" {
		t.Fatalf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		if r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/slow", nil); err == nil {
			if res, err := testcaddy.Client.Do(r); err == nil {
				_ = res.Body.Close()
			}
		}
	}()
	<-asked
	cancel()
	<-left
	time.Sleep(100 * time.Millisecond) // nothing tells when Caddy's server has seen that it is gone
	close(answers)
	f := c.Newest("client_closed_request")
	if f.Cause != "client_closed_request" || f.Outcome != "abandoned" || f.Phase != "wait" || f.Status != 499 || f.Request.URI != "/slow" {
		t.Errorf("%s %s in %s, %d, %s: %q", f.Outcome, f.Cause, f.Phase, f.Status, f.Request.URI, f.Evidence)
	}
}

// A gRPC client takes UNAVAILABLE for what 503 is to others.
func TestGRPCUnavailableInTheHeader(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "14")
		w.Header().Set("Grpc-Message", "no healthy upstream; token=hunter2")
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy h2c://"+strings.TrimPrefix(app.URL, "http://"))
	got := c.Do(http.MethodPost, "/s/M", strings.NewReader("\x00\x00\x00\x00\x00"), "Content-Type: application/grpc")
	if got.Status != http.StatusOK || got.Header.Get("Grpc-Status") != "14" {
		t.Fatalf("%+v", got)
	}
	f := c.Newest("upstream_status")
	if f.Outcome != "upstream_answered" || f.Status != http.StatusServiceUnavailable || f.Received == nil {
		t.Fatalf("%s %d, received %+v", f.Outcome, f.Status, f.Received)
	}
	if f.Received.GRPCStatus != "14" || !strings.HasPrefix(f.Received.GRPCMessage, "no healthy upstream") || strings.Contains(f.Received.GRPCMessage, "hunter2") {
		t.Errorf("received %+v", f.Received)
	}
	if all := strings.Join(f.Evidence, "\n"); strings.Contains(all, "hunter2") || !strings.Contains(all, "no healthy upstream") {
		t.Errorf("%s", all)
	}
}

// What takes no body without a length, and says so: a backup by WebDAV
// (seedvault-app/seedvault#852), an upload to S3 (minio/minio#6477).
func TestABodyOfUnknownLength(t *testing.T) {
	wants := func(status int, body string) string {
		return testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.ContentLength >= 0 && r.URL.Path != "/always" {
				return
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	wantsOverHTTP2 := func() string {
		app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _ = io.Copy(io.Discard, r.Body); r.ContentLength < 0 {
				w.WriteHeader(http.StatusLengthRequired)
			}
		}))
		app.Config.Protocols = new(http.Protocols)
		app.Config.Protocols.SetUnencryptedHTTP2(true)
		app.Start()
		t.Cleanup(app.Close)
		return "h2c://" + strings.TrimPrefix(app.URL, "http://")
	}
	const s3 = `<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message><Header>Transfer-Encoding</Header></Error>"
	const recorded = "upstream_status upstream_answered headers proxy"
	for _, test := range []struct {
		name, upstream, options, path string
		http2, known                  bool
		status                        int
		want                          string
		words                         []string
	}{
		{name: "411", upstream: wants(411, ""), http2: true, status: 411, want: recorded,
			words: []string{"answered 411: it wants to be told how long", "came without a Content-Length", "request_buffers is not set", "Set request_buffers", "request_sent no"}},
		{name: "buffered, as the advice says", upstream: wants(411, ""), http2: true, options: " {\nrequest_buffers 1MiB\n}", status: 200},
		{name: "buffered too little", upstream: wants(411, ""), http2: true, options: " {\nrequest_buffers 3\n}", status: 411, want: recorded, words: []string{"request_buffers in force: 3 bytes, and the body is longer"}},
		{name: "411 to chunks", upstream: wants(411, ""), status: 411, want: recorded, words: []string{"in chunks over HTTP/1.1", "let it speak HTTP/2 to Caddy"}},
		{name: "411 to chunks, though they are buffered", upstream: wants(411, ""), options: " {\nrequest_buffers 1MiB\n}", status: 411, want: recorded, words: []string{"with request_buffers, too"}},
		{name: "411 over HTTP/2 to chunks", upstream: wantsOverHTTP2(), status: 411, want: recorded, words: []string{"came without a Content-Length", "Set request_buffers"}},
		{name: "buffered for HTTP/2, as the advice says", upstream: wantsOverHTTP2(), options: " {\nrequest_buffers 1MiB\n}", status: 200},
		{name: "S3's 501 to chunks", upstream: wants(501, s3), status: 501, want: recorded, words: []string{"answered 501", "A header you provided implies functionality", "let it speak HTTP/2 to Caddy"}},
		{name: "the length was told", upstream: wants(411, ""), path: "/always", known: true, status: 411},
		{name: "any other 501", upstream: wants(501, "no such method"), status: 501},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.StartWith(t, "servers {\nprotocols h1 h2c\n}", "upstream_diagnostics\nreverse_proxy "+test.upstream+test.options)
			var body io.Reader = strings.NewReader("hello")
			if !test.known {
				body = io.MultiReader(body)
			}
			transport := &http.Transport{Protocols: new(http.Protocols)}
			t.Cleanup(transport.CloseIdleConnections)
			transport.Protocols.SetHTTP1(!test.http2)
			transport.Protocols.SetUnencryptedHTTP2(test.http2)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.URL+test.path, body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != test.status {
				t.Errorf("got %d", res.StatusCode)
			}
			wantRecord(t, c, test.want, test.words...)
		})
	}
}

// php-fpm in a container without the site's files, or that has them elsewhere
// (caddyserver/caddy#761), may not read them, or is sent what is no script
// (caddyserver/caddy#141): its own words, heard from php-fpm 8.2.
func TestScriptsThatPHPRefuses(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"index.php", "style.css"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("<?php"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	php := func(status int, body string) string {
		return testcaddy.FastCGI(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
	}
	const recorded = "upstream_status upstream_answered headers proxy"
	for _, test := range []struct {
		name, options, path string
		status              int
		body                string
		want                string
		words               []string
	}{
		{name: "no such file there", path: "/", status: 404, body: "File not found.\n", want: recorded,
			words: []string{"finds no script where Caddy has one", `"index.php"`, "asked for it at the same path", "the same volume", "php-fpm's own log tells"}},
		{name: "below another root", path: "/index.php/more", options: "root /var/www/html", status: 404, body: "File not found.\n", want: recorded,
			words: []string{"below another root", `"/var/www/html"`, "Set root in php_fastcgi to where php-fpm has the site's files"}},
		{name: "may not be read", path: "/", status: 403, body: "Access denied.\n", want: recorded, words: []string{"refuses to run a file", "user that php-fpm runs as"}},
		{name: "no such file here either", path: "/other.php", options: "try_files {path}", status: 404, body: "File not found.\n"},
		{name: "the application's own 404", path: "/", status: 404, body: "no such order\n"},
		{name: "the application's own 404, which goes on", path: "/", status: 404, body: "File not found.\nNor will it be."},
		{name: "the application's own 403", path: "/", status: 403, body: "Access denied."},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testcaddy.Start(t, "root "+root+"\nupstream_diagnostics\nphp_fastcgi "+php(test.status, test.body)+" {\n"+test.options+"\n}")
			if a := c.Get(test.path); a.Status != test.status || a.Body != test.body {
				t.Errorf("got %d: %s", a.Status, a.Body)
			}
			wantRecord(t, c, test.want, test.words...)
		})
	}
	t.Run("what is no script", func(t *testing.T) {
		c := testcaddy.Start(t, "root "+root+"\nupstream_diagnostics\nreverse_proxy "+php(403, "Access denied.\n")+" {\ntransport fastcgi\n}")
		c.Get("/style.css")
		wantRecord(t, c, recorded, `"style.css"`, "security.limit_extensions", "Send php-fpm the site's scripts alone")
	})
}

// A page's own requests, WebSockets among them, are refused as another site's since the Host
// is the upstream's address (jgyates/genmon#1414, nesquena/hermes-webui#218, portainer/portainer#12748).
func TestOriginOfTheSite(t *testing.T) {
	for _, says := range []string{
		"Cross origin websockets not allowed", `request Origin "shop.test" is not authorized for Host "10.0.0.7:8443"`, "Invalid CORS request",
		"Origin checking failed - https://shop.test does not match any trusted origins.", `{"error":"Cross-origin request blocked"}`,
		"Forbidden - origin invalid",
	} {
		upstream := testcaddy.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
			if origin := strings.TrimPrefix(r.Header.Get("Origin"), "http://"); origin != r.Host {
				http.Error(w, says, http.StatusForbidden)
			}
		})
		site := func(host string) string {
			return "upstream_diagnostics\nreverse_proxy " + upstream + " {\nheader_up Host " + host + "\n}"
		}
		for _, test := range []struct {
			name, host, origin string // "" for the site's
			status             int
			want               string
		}{
			{"refused", "{upstream_hostport}", "", 403, "upstream_status upstream_answered headers proxy"},
			{"as the advice says", "{hostport}", "", 200, ""},
			{"another site's", "{upstream_hostport}", "https://evil.test", 403, ""},
			{"another site's, and the right Host", "{hostport}", "https://evil.test", 403, ""},
			{"none", "{upstream_hostport}", "null", 403, ""},
		} {
			t.Run(says+"/"+test.name, func(t *testing.T) {
				c := testcaddy.Start(t, site(test.host))
				origin := test.origin
				if origin == "" {
					origin = c.URL
				}
				if a := c.Get("/", "Origin: "+origin); a.Status != test.status {
					t.Errorf("got %d: %s", a.Status, a.Body)
				}
				var words []string
				if test.want != "" {
					words = []string{"took a request of its own site for another site's", "the Origin sent was that of the site", "header_up Host {hostport}", "the answer says", "request_sent no"}
				}
				wantRecord(t, c, test.want, words...)
			})
		}
	}
}
