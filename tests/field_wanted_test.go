package tests

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
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
	f := newest(c, "response_stalled")
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
	f := newest(c, "client_closed_request")
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
	f := newest(c, "upstream_status")
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
