package operator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// askProbe asks by POST with a body.
func askProbe(h http.Handler, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://localhost:2019"+target, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestProbeBodies(t *testing.T) {
	one := 1
	for _, test := range []struct {
		name, body string
		want       failure.ProbeQuery
		// refused are words of the error; "" where it is asked.
		refused string
	}{
		{"an upstream", `{"upstream": "app:8080"}`, failure.ProbeQuery{Upstream: "app:8080"}, ""},
		{"which handler", `{"upstream": "app:8080", "site": "shop", "index": 1}`, failure.ProbeQuery{Upstream: "app:8080", Site: "shop", Index: &one}, ""},
		{"with a line end", "{\"upstream\": \"app:8080\"}\n", failure.ProbeQuery{Upstream: "app:8080"}, ""},
		{"nothing", "", failure.ProbeQuery{}, "the body: it is empty: expected {\"upstream\": \"app:8080\"}"},
		{"no upstream", `{}`, failure.ProbeQuery{}, "upstream is missing"},
		{"an unknown field", `{"upstream": "app:8080", "colour": "red"}`, failure.ProbeQuery{}, `unknown field "colour"`},
		{"another type", `{"upstream": 7}`, failure.ProbeQuery{}, "upstream can't be a number"},
		{"no object", `"app:8080"`, failure.ProbeQuery{}, "it is a string and no object"},
		{"no JSON", `upstream=app:8080`, failure.ProbeQuery{}, "invalid character 'u'"},
		{"cut", `{"upstream": "app`, failure.ProbeQuery{}, "it ends too early"},
		{"two", `{"upstream": "app:8080"}{"upstream": "other"}`, failure.ProbeQuery{}, "more than one value"},
		{"something behind it", `{"upstream": "app:8080"}]`, failure.ProbeQuery{}, "more than one value"},
		{"too long", `{"upstream": "` + strings.Repeat("x", maxBody) + `"}`, failure.ProbeQuery{}, "longer than 4096 bytes"},
		{"a long field", `{"` + strings.Repeat("x\\u001b", 400) + `": 1}`, failure.ProbeQuery{}, "unknown field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			view := &fakeView{probe: leastProbe}
			w := askProbe(New(view, rows), "/probe", test.body)
			if test.refused != "" {
				check(t, w, http.StatusBadRequest, typeJSON)
				if got := errorOf(t, w); !strings.Contains(got, test.refused) || len(got) > 512 || strings.Contains(got, "\x1b") || len(view.probed) > 0 {
					t.Errorf("asked was %v, the error is %q", view.probed, got)
				}
				return
			}
			check(t, w, http.StatusOK, typeJSON)
			if len(view.probed) != 1 || view.probed[0].Upstream != test.want.Upstream || view.probed[0].Site != test.want.Site || (view.probed[0].Index == nil) != (test.want.Index == nil) {
				t.Errorf("asked was %+v, want %+v", view.probed, test.want)
			}
		})
	}
}

func TestProbeRefused(t *testing.T) {
	const body = `{"upstream": "app:8080"}`
	for _, test := range []struct {
		name  string
		err   error
		want  int
		retry string
	}{
		{"unknown", &failure.ProbeRefused{Why: failure.ProbeUnknown, Message: "no such one"}, http.StatusNotFound, ""},
		{"impossible", &failure.ProbeRefused{Why: failure.ProbeImpossible, Message: "no such one"}, http.StatusBadRequest, ""},
		{"too often", &failure.ProbeRefused{Why: failure.ProbeTooOften, Message: "no such one", RetryAfter: 300 * time.Millisecond}, http.StatusTooManyRequests, "1"},
		{"who asked has left", context.Canceled, http.StatusInternalServerError, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := askProbe(New(&fakeView{probeErr: test.err}, rows), "/probe", body)
			check(t, w, test.want, typeJSON)
			if got := w.Header().Get("Retry-After"); got != test.retry {
				t.Errorf("Retry-After is %q, want %q", got, test.retry)
			}
		})
	}

	view := &fakeView{probe: leastProbe}
	w := askProbe(New(view, rows, WithoutProbe("set allow_probe in upstream_dashboard")), "/probe", body)
	check(t, w, http.StatusForbidden, typeJSON)
	if got := errorOf(t, w); got != "asking an upstream again is not allowed here: set allow_probe in upstream_dashboard" || len(view.probed) > 0 {
		t.Errorf("asked was %v: %s", view.probed, got)
	}
	w = ask(New(view, rows), http.MethodGet, "/probe")
	check(t, w, http.StatusMethodNotAllowed, typeJSON)
	if got := w.Header().Get("Allow"); got != "POST" {
		t.Errorf("allowed is %s", got)
	}
	check(t, askProbe(New(view, rows), "/probe?upstream=app:8080", body), http.StatusBadRequest, typeJSON)
	if len(view.probed) > 0 {
		t.Errorf("asked was %v", view.probed)
	}
}

// The text says all that there is, and obeys nothing that others say.
func TestProbeAsText(t *testing.T) {
	hostile := "\x1b[31m<script>\u202e"
	p := failure.Probe{
		Upstream: "app:8080", Address: "10.0.0.7:8080", Summary: "It is down " + hostile, Cause: "certificate_untrusted", Phase: failure.PhaseTLS, Side: failure.SideProxy, Advice: "Mend it.",
		Evidence: []string{"seen " + hostile}, Error: "x509 " + hostile,
		Proxy:   failure.ProbeProxy{Index: 1, Count: 3, Sites: []string{"one", "two"}},
		Request: failure.ProbeRequest{Method: "GET", Host: "shop", URI: "/up", By: failure.ProbeByHealthCheck},
		Steps: []failure.ProbeStep{
			{Step: failure.ProbeDNS, OK: true, Name: "app", Addresses: []string{"10.0.0.7", "10.0.0.8"}},
			{Step: failure.ProbeConnect, Address: "10.0.0.8:8080", Error: "connection refused"},
			{Step: failure.ProbeTLS, TLS: &failure.Handshake{Version: "TLS 1.3", ALPN: "h2", ServerName: "app.internal", Certificate: &failure.PeerCertificate{Subject: "CN=" + hostile, Names: []string{hostile}, Error: "x509 " + hostile}}, Error: "x509 " + hostile},
			{Step: failure.ProbeHTTP, OK: true, Protocol: "h2", Status: 200, Server: "nginx " + hostile, Via: "varnish"},
		},
		Checks:   []failure.ProbeCheck{{Check: failure.CheckTLS, Summary: "It speaks " + hostile, TLS: &failure.Handshake{Certificate: &failure.PeerCertificate{Subject: "CN=other"}}}},
		NotTried: []failure.NotTried{{What: "header_up " + hostile, Why: "it can't be"}},
	}
	w := askProbe(New(&fakeView{probe: p}, rows), "/probe?format=text", `{"upstream": "app:8080"}`)
	check(t, w, http.StatusOK, typeText)
	text := w.Body.String()
	for _, words := range []string{
		"It is down ", "certificate_untrusted", "#certificate_untrusted", "Mend it.", "seen ", "app, is 10.0.0.7, 10.0.0.8", "10.0.0.8:8080, connection refused",
		"TLS 1.3, ALPN h2, asked for app.internal, certificate of CN=", "not to be trusted: x509", "answered 200, in h2, by nginx", "via varnish", "It speaks ", "certificate of CN=other",
		"header_up ", "it can't be", "GET /up, Host shop (as its active health check)", "one, two (index 1 of 3 that lead there)", "Address",
	} {
		if !strings.Contains(text, words) {
			t.Errorf("%q isn't in it", words)
		}
	}
	if strings.ContainsAny(text, "\x1b\u202e") || strings.Count(text, "x509 ") != 2 {
		t.Errorf("got %q", text)
	}
}

// An incident shows what it was, and what came of asking since then, side by side.
func TestProbesOfIncident(t *testing.T) {
	at := func(minute int) failure.Timestamp {
		return failure.At(time.Date(2026, 11, 24, 4, minute, 0, 0, time.UTC))
	}
	i := failure.Incident{
		ID: fullIncident, Cause: "connection_refused", Summary: "Nothing accepts connections at app:8080.", LastSeen: at(1),
		Probes: []failure.Probe{{Time: at(2), Cause: "dns_timeout", Summary: "No resolver answered."}, {Time: at(3), Summary: "It fails its check."}, {Time: at(4), OK: true, Summary: "app:8080 answered HEAD / with 200 in 3 ms."}},
	}
	w := ask(New(&fakeView{incidents: []failure.Incident{i}}, rows), http.MethodGet, "/incidents/"+fullIncident+"?format=text")
	check(t, w, http.StatusOK, typeText)
	_, after, ok := strings.Cut(w.Body.String(), "\nAsked again\n")
	lines := strings.Split(after, "\n")
	want := []string{
		"  before  2026-11-24T04:01:00.000Z  connection_refused  Nothing accepts connections at app:8080.",
		"  then    2026-11-24T04:02:00.000Z  dns_timeout         No resolver answered.",
		"  then    2026-11-24T04:03:00.000Z  -                   It fails its check.",
		"  now     2026-11-24T04:04:00.000Z  well                app:8080 answered HEAD / with 200 in 3 ms.",
	}
	if !ok || !slices.Equal(lines[:min(len(lines), len(want))], want) {
		t.Errorf("got\n%s", w.Body)
	}
}
