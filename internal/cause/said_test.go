package cause

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// answering is all that was heard of how an answer began: what somebody read of its body, and
// what the connection carried.
func answering(a *listen.Attempt) string {
	all := string(a.Body.Start)
	if a.Connection != nil && a.Connection.Carried != nil && !a.Connection.Carried.Encrypted {
		all += string(a.Connection.Carried.Head)
	}
	return all
}

// Go's server answers plain HTTP on a TLS port in a sentence and closes. It has read
// less than what a browser sends, so that a reset follows, which may come at any time:
// while the rest of the request is written, while the answer is read, before it is.
// Where the sentence came, it is heard.
func TestTLSPortSaysThenResets(t *testing.T) {
	quiet(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	const sentence, tries = "Client sent an HTTP request to an HTTPS server.", 300
	browsers := func(p *proxy) { p.header = http.Header{"Cookie": {strings.Repeat("0123456789abcdef", 2<<10/16)}} }
	for _, test := range []struct {
		name    string
		options []func(*proxy)
	}{
		{"GET of 2 KiB", []func(*proxy){browsers}},
		{"HEAD of 2 KiB", []func(*proxy){browsers, func(p *proxy) { p.method = http.MethodHead }}},
		{"POST of 64 KiB", []func(*proxy){browsers, post(64 << 10)}},
		{"POST of 8 MiB", []func(*proxy){browsers, post(8 << 20)}},
	} {
		for _, wired := range []bool{true, false} {
			name := test.name
			if !wired {
				name += ", where nothing listens to the connection"
			}
			t.Run(name, func(t *testing.T) {
				outcomes := make(map[failure.Outcome]int)
				for range tries {
					p := to(t, server.Listener.Addr().String(), test.options...)
					p.wired = wired
					h := p.ask(t)
					p.transport.CloseIdleConnections()
					f := Diagnose(h)
					came := strings.Contains(answering(&h.Attempts[0]), sentence)
					switch {
					case came && (f == nil || f.Cause != TLSExpected.Name || f.Side != failure.SideProxy):
						t.Fatalf("the sentence came, and this was found: %+v", f)
					case came && !strings.Contains(strings.Join(f.Evidence, "\n"), sentence):
						t.Fatalf("the evidence is %q", f.Evidence)
					case !came && f != nil && f.Cause == TLSExpected.Name:
						t.Fatalf("nothing came, and this was found: %+v", f)
					case came:
						outcomes[f.Outcome]++
						written, broke := h.Response.Status != 0, h.Panicked
						if want := outcomeOf(written, broke); f.Outcome != want {
							t.Fatalf("the outcome is %s, want %s", f.Outcome, want)
						}
					}
				}
				t.Logf("the sentence came in %v of %d", outcomes, tries)
				if len(outcomes) == 0 && wired {
					t.Errorf("the sentence came never")
				}
			})
		}
	}
}

// outcomeOf is what happened to a client: it got a header or none, that broke or not.
func outcomeOf(written, broke bool) failure.Outcome {
	switch {
	case broke:
		return failure.Truncated
	case written:
		return failure.UpstreamAnswered
	}
	return failure.Failed
}

// What a port says itself is heard, whatever becomes of the connection then.
func TestPortSays(t *testing.T) {
	quiet(t)
	if runtime.GOOS == "windows" {
		t.Skip("Windows drops what was received when a reset follows it")
	}
	const (
		bare   = "HTTP/1.0 400 Bad Request\r\n\r\n"
		fields = "HTTP/1.1 400 Bad Request\r\nServer: x\r\nConnection: close\r\n\r\n"
		golang = "Client sent an HTTP request to an HTTPS server.\n"
		nginx  = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n"
		apache = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n<h1>Bad Request</h1>\n" +
			"<p>Your browser sent a request that this server could not understand.<br />\nReason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n"
		none    = "<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n"
		expired = "<html>\r\n<head><title>400 The SSL certificate error</title></head>\r\n"
	)
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	overTLS := withTLS(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what it says is what is tested
	resets := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, text)
			if s, ok := c.(*tls.Conn); ok {
				c = s.NetConn()
			}
			reset(c)
		}
	}
	stops := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = io.WriteString(c, text)
			reset(c)
		}
	}
	for _, test := range []struct {
		name    string
		handle  func(net.Conn)
		options []func(*proxy)
		want    *Row
		says    string
		outcome failure.Outcome // "" where a race decides it
	}{
		{"Go, then a reset", resets(bare + golang), nil, TLSExpected, "Client sent an HTTP request", failure.Truncated},
		{"nginx, then a reset", resets(fields + nginx), nil, TLSExpected, "The plain HTTP request was sent", failure.Truncated},
		{"Apache, then a reset", resets(fields + apache), nil, TLSExpected, "speaking plain HTTP to an SSL-enabled server port", failure.Truncated},
		{"Apache, in good order", answer(fields + apache), nil, TLSExpected, "speaking plain HTTP to an SSL-enabled server port", failure.UpstreamAnswered},
		{"nginx without a certificate, then a reset", resets(fields + none), []func(*proxy){overTLS}, ClientCertificateRejected, "No required SSL certificate was sent", failure.Truncated},
		{"nginx with another certificate, then a reset", resets(fields + expired), []func(*proxy){overTLS}, ClientCertificateRejected, "The SSL certificate error", failure.Truncated},
		{"during an upload", stops(bare + golang), []func(*proxy){post(64 << 20), wired}, TLSExpected, "Client sent an HTTP request", ""},
		{"nginx, during an upload", stops(fields + nginx), []func(*proxy){post(64 << 20), wired}, TLSExpected, "The plain HTTP request was sent", ""},
		{"to HEAD", answer(fields + golang), []func(*proxy){func(p *proxy) { p.method = http.MethodHead }, wired}, TLSExpected, "Client sent an HTTP request", failure.UpstreamAnswered},

		{"no sentence, then a reset", resets(bare), nil, ResponseTruncated, "", failure.Truncated},
		{"another sentence, then a reset", resets(bare + "Please send a name.\n"), nil, ResponseTruncated, "", failure.Truncated},
		{"the sentence with another status", resets("HTTP/1.0 200 OK\r\n\r\n" + golang), []func(*proxy){wired}, ResponseTruncated, "", failure.Truncated},
		{"the sentence in a field", resets("HTTP/1.0 400 Bad Request\r\nX-Reason: " + golang + "\r\nno"), []func(*proxy){wired}, ResponseTruncated, "", failure.Truncated},
	} {
		t.Run(test.name, func(t *testing.T) {
			handle := test.handle
			if p := to(t, "", test.options...); p.tls {
				handle = func(c net.Conn) { test.handle(tls.Server(c, server.TLS)) }
			}
			address := serve(t, handle)
			var h *listen.Heard
			for range 100 { // the reset may come before anything was read
				h = to(t, address, test.options...).ask(t)
				if came := answering(&h.Attempts[0]); test.says == "" || strings.Contains(came, test.says) {
					break
				}
			}
			f := Diagnose(h)
			if f == nil {
				t.Fatalf("nothing was found of %+v", h.Attempts[0])
			}
			check(t, f)
			if f.Cause != test.want.Name || test.outcome != "" && f.Outcome != test.outcome || !strings.Contains(strings.Join(f.Evidence, "\n"), test.says) {
				t.Errorf("got %s %s %q %q, want %s %s %q", f.Cause, f.Outcome, f.Evidence, f.Error, test.want.Name, test.outcome, test.says)
			}
			if attempt := f.Attempts[0].Cause; attempt != f.Cause {
				t.Errorf("the attempt's cause is %s", attempt)
			}
		})
	}
}

func wired(p *proxy) { p.wired = true }
