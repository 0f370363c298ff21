package report

import (
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// A sample names what the failure names, where that is plain.
func TestWithOwnNames(t *testing.T) {
	const one, two, tls = "reverse_proxy app:8080 {\n\tlb_retries 1\n}", "reverse_proxy app1:8080 app2:8080", "reverse_proxy https://app:8443 {\n\ttransport http {\n\t\ttls_server_name www.example.com\n\t}\n}"
	asked := func(upstreams ...string) (attempts []failure.Attempt) {
		for _, upstream := range upstreams {
			attempts = append(attempts, failure.Attempt{Upstream: upstream})
		}
		return attempts
	}
	for name, test := range map[string]struct {
		sample string
		f      failure.Failure
		want   string
	}{
		"an address":             {one, failure.Failure{Upstream: "10.0.0.7:3000"}, "reverse_proxy 10.0.0.7:3000 {\n\tlb_retries 1\n}"},
		"an IPv6 address":        {one, failure.Failure{Upstream: "[2001:db8::1]:3000"}, "reverse_proxy [2001:db8::1]:3000 {\n\tlb_retries 1\n}"},
		"nobody was chosen":      {one, failure.Failure{Unavailable: []failure.Unavailable{{Upstream: "shop:80"}}}, "reverse_proxy shop:80 {\n\tlb_retries 1\n}"},
		"two":                    {two, failure.Failure{Upstream: "b:1", Attempts: asked("a:1", "b:1")}, "reverse_proxy b:1 a:1"},
		"one of two is known":    {two, failure.Failure{Upstream: "b:1", Attempts: asked("b:1")}, "reverse_proxy b:1 app2:8080"},
		"another proxy's":        {two, failure.Failure{Upstream: "b:1", Attempts: []failure.Attempt{{Upstream: "auth:1", Role: failure.RoleAsksFirst}}}, "reverse_proxy b:1 app2:8080"},
		"a socket":               {one, failure.Failure{Upstream: "unix//run/app.sock"}, one},
		"a placeholder":          {one, failure.Failure{Upstream: "{http.request.host}:80"}, one},
		"a hostile name":         {one, failure.Failure{Upstream: "<script>:80"}, one},
		"a line break":           {one, failure.Failure{Upstream: "app\n}:80"}, one},
		"no port":                {one, failure.Failure{Upstream: "app"}, one},
		"a port of another kind": {"reverse_proxy http://app:8080", failure.Failure{Upstream: "app.example:443"}, "reverse_proxy http://app:8080"},
		"and of this kind":       {"reverse_proxy http://app:8080", failure.Failure{Upstream: "app.example:8081"}, "reverse_proxy http://app.example:8081"},
		"the certificate's name": {tls, failure.Failure{Upstream: "app:1", Site: "x.example", Request: failure.Request{Host: "x.example"}, Evidence: []string{failure.CertificateNames + "*.y.example, 10.0.0.7, y.example"}}, strings.NewReplacer("app:8443", "app:1", "www.example.com", "y.example").Replace(tls)},
		"a certificate of none":  {tls, failure.Failure{Upstream: "app:1", Site: "x.example", Request: failure.Request{Host: "x.example"}, Evidence: []string{failure.CertificateNames + "none"}}, strings.Replace(tls, "app:8443", "app:1", 1)},
		"the site's own name":    {tls, failure.Failure{Upstream: "app:1", Site: "x.example", Request: failure.Request{Host: "x.example:8443"}}, strings.NewReplacer("app:8443", "app:1", "www.example.com", "x.example").Replace(tls)},
		"what a client made up":  {tls, failure.Failure{Upstream: "app:1", Site: "x.example", Request: failure.Request{Host: "evil.example"}}, strings.Replace(tls, "app:8443", "app:1", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withOwnNames(test.sample, &test.f); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Who asks by FastCGI is shown what php_fastcgi takes.
func TestSampleForFastCGI(t *testing.T) {
	spoken := []failure.Attempt{{Upstream: "php:9000", Protocol: "fastcgi"}}
	const transport = "reverse_proxy app:8080 {\n\ttransport http {\n\t\t"
	for name, test := range map[string]struct {
		sample   string
		attempts []failure.Attempt
		want     string
	}{
		"a directive alone":      {"reverse_proxy app:8080", spoken, "php_fastcgi php:9000"},
		"what is in it":          {"reverse_proxy app:8080 {\n\tlb_try_duration 10s\n}", spoken, "php_fastcgi php:9000 {\n\tlb_try_duration 10s\n}"},
		"behind another one":     {"upstream_diagnostics {\n\tintercept 5xx\n}\nreverse_proxy app:8080", spoken, "upstream_diagnostics {\n\tintercept 5xx\n}\nphp_fastcgi php:9000"},
		"a limit":                {transport + "read_timeout 5m\n\t}\n}", spoken, "php_fastcgi php:9000 {\n\tread_timeout 5m\n}"},
		"one that is read's":     {transport + "response_header_timeout 20s\n\t\ttls_timeout 5s\n\t}\n}", spoken, "php_fastcgi php:9000 {\n\tread_timeout 20s\n}"},
		"what it has not":        {transport + "resolvers 10.0.0.2\n\t}\n}", spoken, ""},
		"a socket":               {"reverse_proxy unix//run/app/app.sock", spoken, "php_fastcgi unix//run/php/php-fpm.sock"},
		"nothing was spoken yet": {"reverse_proxy app:8080", []failure.Attempt{{Upstream: "php:9000", Error: "dialing backend: dial tcp 10.0.0.7:9000: connect: connection refused"}}, "php_fastcgi php:9000"},
		"another protocol":       {"reverse_proxy https://app:8443", spoken, "reverse_proxy https://php:9000"},
		"another proxy's":        {"reverse_proxy app:8080", []failure.Attempt{{Upstream: "auth:9000", Protocol: "fastcgi", Role: failure.RoleAsksFirst}}, "reverse_proxy php:9000"},
		"no FastCGI":             {transport + "read_timeout 5m\n\t}\n}", []failure.Attempt{{Upstream: "php:9000", Protocol: "h2c"}}, strings.Replace(transport, "app:8080", "php:9000", 1) + "read_timeout 5m\n\t}\n}"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failure.Failure{Upstream: "php:9000", Attempts: test.attempts}
			if got := (Guide{Caddyfile: test.sample}).Sample(f); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Where there is one upstream, the sample is the one for that.
func TestSampleAlone(t *testing.T) {
	l := Lookup{Guide: func(string) Guide { return Guide{Caddyfile: "for several", CaddyfileAlone: "for one"} }}
	for n, want := range map[int]string{0: "for several", 1: "for one", 2: "for several"} {
		f := &failure.Failure{Unavailable: []failure.Unavailable{{Upstream: "a:1"}, {Upstream: "b:1"}}[:n]}
		if got := l.guide(f).Caddyfile; got != want {
			t.Errorf("%d upstreams: %s", n, got)
		}
	}
}

// Whose an attempt was stands with it, on every face.
func TestRoleIsTold(t *testing.T) {
	f := whole()
	f.Attempts[0].Role = failure.RoleAsksFirst
	for name, draw := range faces {
		drawn, err := draw(f)
		if err != nil || !strings.Contains(strings.ReplaceAll(drawn, `\_`, "_"), "before the request was passed on (forward_auth)") {
			t.Errorf("%s doesn't say it: %v\n%s", name, err, drawn)
		}
	}
}

// What the client got stands in one line, and every word has its meaning.
func TestGotAndTerms(t *testing.T) {
	for outcome, want := range map[failure.Outcome]string{
		failure.Failed: "502, this site's page: “This site is down”", failure.Rescued: "502, the answer of a later attempt: nothing but the time that it took",
		failure.Truncated: "502, and a part of the upstream's answer, which broke off", failure.Abandoned: "nothing: it left before there was an answer",
		failure.UpstreamAnswered: "502, the upstream's own answer, or this site's page where intercept names that status",
	} {
		f := whole()
		f.Outcome = outcome
		if got := textOf(all(parsed(t, knowing(), f), "p", "uf-got")[0]); got != "The client got "+want {
			t.Errorf("%s: %q", outcome, got)
		}
		if outcomeTerms[outcome] == "" {
			t.Errorf("%s has no meaning", outcome)
		}
	}
	for _, phase := range failure.PhaseOrder {
		if phaseTerms[phase] == "" {
			t.Errorf("%s has no meaning", phase)
		}
	}
	for _, side := range failure.Sides {
		if sideTerms[side] == "" {
			t.Errorf("%s has no meaning", side)
		}
	}
	text := textOf(all(parsed(t, knowing(), whole()), "details", "uf-terms")[0])
	for _, want := range []string{"Outcome failed", "Phase connect", "It failed when the connection was being made.", "Side upstream", "Category unavailable", "“This site is not available right now”"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}
