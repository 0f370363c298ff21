package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A phase is near its limit from four fifths of it on, and what was near is told once.
func TestNear(t *testing.T) {
	const limit = 10 * time.Second
	limits := &failure.Limits{Near: failure.Near{Connect: failure.NearOf(limit), Handshake: failure.NearOf(limit), Response: failure.NearOf(limit)}}
	none := new(failure.Limits)
	state := func(ends, lasts time.Duration) tls.ConnectionState {
		notAfter := time.Now().Add(ends)
		return tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "app"}, NotBefore: notAfter.Add(-lasts), NotAfter: notAfter}}}
	}
	const far = 365 * 24 * time.Hour
	for _, test := range []struct {
		name                         string
		limits                       *failure.Limits
		protocol                     string
		connect, shake, send, answer time.Duration
		ends, lasts                  time.Duration // of the certificate; a year where it doesn't matter
		fails                        bool
		want                         Near
		wantCertificate              bool
	}{
		{name: "all in time", limits: limits, connect: 7 * time.Second, shake: 7 * time.Second, send: 9 * time.Second, answer: 7 * time.Second, ends: far},
		{name: "a slow connect", limits: limits, connect: 8 * time.Second, ends: far, want: Near{Connect: 8 * time.Second}},
		{name: "a slow handshake", limits: limits, connect: time.Second, shake: 8 * time.Second, ends: far, want: Near{Handshake: 8 * time.Second}},
		{name: "a slow answer", limits: limits, send: time.Second, answer: 9 * time.Second, ends: far, want: Near{Response: 9 * time.Second}},
		{name: "a slow upload is none", limits: limits, send: time.Hour, answer: time.Second, ends: far},
		{name: "nor is an answer in the midst of it", limits: limits, send: -1, answer: time.Hour, ends: far},
		{name: "of FastCGI it counts", limits: limits, protocol: "fastcgi", connect: time.Second, send: -1, answer: 8 * time.Second, ends: far, want: Near{Response: 8 * time.Second}},
		{name: "of FastCGI the connect doesn't", limits: limits, protocol: "fastcgi", connect: 7 * time.Second, send: -1, answer: 7 * time.Second, ends: far},
		{name: "all slow", limits: limits, connect: 8 * time.Second, shake: 9 * time.Second, send: 1, answer: 10 * time.Second, ends: far, want: Near{Connect: 8 * time.Second, Handshake: 9 * time.Second, Response: 10 * time.Second}},
		{name: "no limits", limits: none, connect: time.Hour, shake: time.Hour, send: 1, answer: time.Hour, ends: far},
		{name: "nobody's", connect: time.Hour, shake: time.Hour, send: 1, answer: time.Hour, ends: far},
		{name: "a certificate that ends soon", limits: none, ends: failure.CertificateNear, wantCertificate: true},
		{name: "one that has ended", limits: limits, ends: -time.Hour, wantCertificate: true},
		{name: "one that ends later", limits: limits, ends: failure.CertificateNear + 2*time.Second},
		{name: "one made for 12 hours, soon after", limits: none, ends: 11 * time.Hour, lasts: 12 * time.Hour},
		{name: "one made for 12 hours, near its end", limits: none, ends: 3 * time.Hour, lasts: 12 * time.Hour, wantCertificate: true},
		{name: "a slow connect before a failure", limits: limits, connect: 9 * time.Second, ends: far, fails: true, want: Near{Connect: 9 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				l := To(httptest.NewRecorder(), r, nil)
				past := new(Past)
				if test.limits != nil {
					l.Selected("app:8443", past, test.limits)
				}
				trace := new(httptrace.ClientTrace)
				time.Sleep(time.Second) // the request's first moment is told as the second one
				a := l.RoundTrip(test.limits, Trip{Network: "tcp", Address: "10.0.0.7:8443", Protocol: test.protocol, TLS: true, Trace: trace})
				begun := time.Now()
				_, ctx := l.Dial(httptrace.WithClientTrace(context.Background(), trace))
				dialled := httptrace.ContextClientTrace(ctx)
				dialled.ConnectStart("tcp", "10.0.0.7:8443")
				time.Sleep(test.connect)
				dialled.ConnectDone("tcp", "10.0.0.7:8443", nil)
				a.Dialed(nil)
				time.Sleep(test.shake)
				ends := begun.Add(test.ends)
				if test.protocol != "fastcgi" {
					shown := state(ends.Sub(time.Now()), cmp.Or(test.lasts, far))
					trace.TLSHandshakeDone(shown, nil)
				}
				trace.GotConn(httptrace.GotConnInfo{})
				if test.send >= 0 {
					time.Sleep(test.send)
					trace.WroteRequest(httptrace.WroteRequestInfo{})
				}
				time.Sleep(test.answer)
				var near *Near
				if test.fails {
					near = a.Ended(nil, errors.New("reset"), false)
				} else {
					near = a.Ended(&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil, false)
				}
				if test.want == (Near{}) && !test.wantCertificate {
					if near != nil {
						t.Fatalf("got %+v", near)
					}
				} else {
					if near == nil {
						t.Fatal("nothing is near")
					}
					if near.Certificate != nil != test.wantCertificate || near.Certificate != nil && (near.Certificate.Name != "app" || !near.Certificate.NotAfter.Equal(ends.Truncate(time.Millisecond))) {
						t.Errorf("the certificate is %+v", near.Certificate)
					}
					if near.Certificate = nil; test.limits != nil {
						test.want.Upstream = "app:8443"
					}
					test.want.Address = "10.0.0.7:8443"
					if *near != test.want {
						t.Errorf("got %+v, want %+v", *near, test.want)
					}
				}
				if test.limits != nil && test.protocol != "fastcgi" && past.CertificateEnd().Unix() != ends.Unix() {
					t.Errorf("its certificate ends %s, want %s", past.CertificateEnd(), ends)
				}
				if again := a.Ended(&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil, false); again != nil && (again.Connect|again.Handshake) != 0 {
					t.Errorf("told again: %+v", again)
				}
			})
		})
	}
}

// Nothing in a certificate's name can do harm, however long it is.
func TestNameOfACertificate(t *testing.T) {
	for name, want := range map[string]string{
		"app.internal":              "app.internal",
		"a\x1b[31m\r\n\"b\"\\\xff":  `a\x1b[31m\r\n\"b\"\\\xff`,
		strings.Repeat("\x00", 500): strings.Repeat(`\x00`, maxCertificateName) + `\u2026`,
		"ünï\u202e":                 `\u00fcn\u00ef\u202e`,
	} {
		if got := nameOf(&x509.Certificate{Subject: pkix.Name{CommonName: name}}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := nameOf(&x509.Certificate{DNSNames: []string{"app.internal"}}); got != "app.internal" {
		t.Errorf("got %s", got)
	}
	if got := nameOf(new(x509.Certificate)); got != "" {
		t.Errorf("got %s", got)
	}
}

// A clock that is set back makes no answer come after a failure: of an answer it is known how
// long ago it came.
func TestPastIsByNoClock(t *testing.T) {
	p := new(Past)
	p.Answered(0)
	p.Succeeded(time.Since(began))
	for what, at := range map[string]time.Time{"answer": p.LastAnswer(), "success": p.LastSuccess()} {
		if at == at.Round(0) { // it has no monotonic reading
			t.Errorf("the last %s is when the clock said so, not by the clock as it is now", what)
		}
	}
}

// What an upstream's past has of its answers.
func TestPastOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Past)
		if !p.LastAnswer().IsZero() || !p.LastSuccess().IsZero() || !p.CertificateEnd().IsZero() || p.overruns() {
			t.Error("nothing has happened")
		}
		p.Overran()
		if !p.overruns() || p.count() != 0 || !p.LastAnswer().IsZero() {
			t.Error("that more came is no answer")
		}
		p.Succeeded(time.Since(began))
		succeeded := time.Now()
		time.Sleep(time.Minute)
		if !p.LastSuccess().Equal(succeeded) || !p.LastAnswer().Equal(succeeded) {
			t.Errorf("succeeded %s, answered %s, want both %s", p.LastSuccess(), p.LastAnswer(), succeeded)
		}
		p.Answered(0)
		if !p.LastSuccess().Equal(succeeded) || !p.LastAnswer().Equal(time.Now()) || p.count() != 1 || !p.overruns() {
			t.Errorf("succeeded %s, answered %s", p.LastSuccess(), p.LastAnswer())
		}
		p.CertificateEnds(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
		if p.CertificateEnd().Year() != 2106 {
			t.Errorf("the last moment that is told apart: %s", p.CertificateEnd())
		}
		var nobody *Past
		nobody.Succeeded(1)
		nobody.CertificateEnds(time.Now())
		if !nobody.LastSuccess().IsZero() || !nobody.LastAnswer().IsZero() || !nobody.CertificateEnd().IsZero() {
			t.Error("nobody has a past")
		}
	})
}
