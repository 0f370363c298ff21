package cause

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// password stands in every text that must not be kept; the tests look for parts of it.
const password = "hunter2hunter2"

// What a broken answer says is quoted shortly, and without what may be a credential.
func TestQuotesOfAnAnswerTellNoSecret(t *testing.T) {
	quiet(t)
	const ok = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("x", 1<<10)
	for _, test := range []struct{ name, answer, keeps string }{
		{"a line of 1 KiB", long + password + "\r\n\r\n", "xxx"},
		{"a status of 1 KiB", "HTTP/1.1 " + long + password + "\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a version of 1 KiB", "HTTP/" + long + password + " 200 OK\r\n\r\n", `malformed HTTP version "REDACTED"`},
		{"a field of 1 KiB without a colon", ok + long + password + "\r\n\r\n", "xxx"},
		{"a field's name with a blank", ok + "X" + long + " : " + password + "\r\n\r\n", "malformed MIME header"},
		{"Set-Cookie where the status line belongs", "Set-Cookie: sid=" + password + "; HttpOnly\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a cookie in lower case", "set-cookie:" + password + "\r\n\r\n", "set-cookie"},
		{"Authorization without a colon", ok + "Authorization Bearer " + password + "\r\n\r\n", "Authorization"},
		{"a token in the middle", ok + "result access_token=" + password + "&x=1\r\n\r\n", "result access_token="},
		{"JSON", `{"error":"x","api_key":"` + password + `"}` + "\r\n\r\n", "api_key"},
		{"a session's id", "HTTP/1.1 PHPSESSID=" + password + " OK\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a status that is a token", "HTTP/1.1 token:" + password + "\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a link", "Location http://user:" + password + "@host/?q=" + password + "\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a link alone", "http://user:" + password + "@host/?q=" + password + "\r\n\r\n", "http://REDACTED@host/"},
		{"a link without a scheme", "user:" + password + "@host/x\r\n\r\n", `"REDACTED@host/x"`},
		{"a link without a scheme in a line", "see user:" + password + "/" + password + "@" + password + "@host/x or me@host for more\r\n\r\n", ""},
		{"a status whose label is cut off", "Bearer " + password + "\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"Basic credentials", ok + "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+password)) + "\r\n\r\n", `"Basic REDACTED"`},
		{"Basic credentials in the middle", ok + "for Basic aHVu+/MTY= it is closed\r\n\r\n", `"for Basic REDACTED it is closed"`},
		{"a scheme in a sentence", ok + "no Basic authentication was tried\r\n\r\n", "no Basic authentication was tried"},
		{"a scheme at the end", ok + "Basic\r\n\r\n", `"Basic"`},
		{"a number whose label is cut off", "Bearer -12\r\n\r\n", `malformed HTTP status code "-12"`},
		{"a version that is one", "HTTP/7.1 200 OK\r\n\r\n", ""},
		{"a length that is a token", ok + "Content-Length: token-" + password + "\r\n\r\n", `bad Content-Length "REDACTED"`},
		{"a length that is none", ok + "Content-Length: -7\r\n\r\n", `bad Content-Length "-7"`},
		{"two lengths, the second a token", ok + "Content-Length: 1\r\nContent-Length: " + password + "\r\n\r\n", `got ["1" "REDACTED"]`},
		{"a length", ok + "Content-Length: token=" + password + "\r\n\r\n", "bad Content-Length"},
		{"a transfer coding", ok + "Transfer-Encoding: secret=" + password + "\r\n\r\n", "transfer encoding"},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: key=" + password + "\r\n\r\n", "Content-Length"},
		{"a trailer", ok + "Transfer-Encoding: chunked\r\nTrailer: Authorization" + password + "=" + long + "\r\n\r\n0\r\n\r\n", ""},
		{"a banner", "220 mail.example.com token " + password + "\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := Diagnose(to(t, serve(t, answer(test.answer)), func(p *proxy) { p.wired = true }).ask(t))
			if f == nil {
				t.Skip("net/http takes that for an answer")
			}
			tellsNoSecret(t, f, test.keeps)
		})
	}
}

// tellsNoSecret fails where a record has the password in it or quotes too much, and
// where it doesn't have what it may.
func tellsNoSecret(t *testing.T, f *failure.Failure, keeps string) {
	t.Helper()
	record, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(record), password[:4]) {
		t.Errorf("a secret is kept: %s", record)
	}
	if keeps != "" && !strings.Contains(f.Error, keeps) {
		t.Errorf("the error is %q, without %q", f.Error, keeps)
	}
	texts := append([]string{f.Error, f.Summary, f.Advice}, f.Evidence...)
	for _, a := range f.Attempts {
		texts = append(texts, a.Error)
	}
	for _, text := range texts {
		for _, quoted := range quotes.FindAllString(text, -1) {
			said, err := strconv.Unquote(quoted)
			if err != nil || len(said) > maxQuoted+len(failure.Redacted) {
				t.Errorf("%d bytes are quoted (%v): %q", len(said), err, text)
			}
		}
	}
}

var quotes = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// Errors that name what must not be kept, and what is kept of them.
func TestErrorsTellNoSecret(t *testing.T) {
	parse := func(proxy string) error {
		_, err := url.Parse(proxy)
		if err == nil {
			t.Fatalf("%s can be parsed", proxy)
		}
		return err
	}
	number := func(text string) error {
		_, err := strconv.Atoi(text)
		return err
	}
	dial := errors.New("connect: connection refused")
	for _, test := range []struct {
		name   string
		err    error
		keeps  string
		change func(*listen.Attempt)
	}{
		{name: "a proxy that can't be parsed", err: parse("http://user:" + password + "%zz@proxy:3128"), keeps: `parse "http://REDACTED@proxy:3128": invalid URL escape "REDACTED"`},
		{name: "a slash in the password", err: parse("http://user:" + password + "/" + password + "@proxy:3128"), keeps: `parse "http://REDACTED@proxy:3128": invalid port "REDACTED" after host`},
		{name: "an at in the password", err: parse("http://user:" + password + "@" + password + "%zz@proxy"), keeps: `parse "http://REDACTED@proxy"`},
		{name: "a hash in the password", err: parse("http://user:" + password + "#" + password + "@proxy"), keeps: `parse "http://user:REDACTED": invalid port "REDACTED" after host`},
		{name: "a blank in the password", err: parse("http://user:" + password + " " + password + "@proxy"), keeps: `parse "http://REDACTED@proxy"`},
		{name: "a quote in the password", err: parse(`http://user:"` + password + `%zz@proxy`), keeps: `parse "http://REDACTED@proxy"`},
		{name: "no scheme", err: parse("us_er:" + password + "@proxy:3128"), keeps: `parse "REDACTED@proxy:3128"`},
		{name: "a control character", err: parse("http://user:" + password + "\x7f@proxy"), keeps: `parse "http://REDACTED@proxy"`},
		{name: "Get", err: &url.Error{Op: "Get", URL: "http://user:" + password + "@host/?q=" + password, Err: dial}, keeps: `Get "http://REDACTED@host/?REDACTED": connect: connection refused`},
		{name: "a query", err: &url.Error{Op: "Get", URL: "http://host/path?q=" + password + "&r=1", Err: dial}, keeps: `Get "http://host/path?REDACTED": connect`},
		{name: "a fragment", err: &url.Error{Op: "Get", URL: "http://host/path#token=" + password, Err: dial}, keeps: `Get "http://host/path#REDACTED": connect`},
		{name: "no quotes", err: errors.New("dialling http://user:" + password + "/" + password + "@proxy:3128/?q=" + password + " failed, see http://other/x"), keeps: "dialling http://REDACTED@proxy:3128/?REDACTED failed, see http://other/x"},
		{name: "proxyconnect", err: &net.OpError{Op: "proxyconnect", Net: "tcp", Err: parse("http://user:" + password + "%zz@proxy")}, keeps: `proxyconnect tcp: parse "http://REDACTED@proxy"`},
		{name: "a path", err: errors.New(`http2: invalid request :path "/x?q=` + password + `" from URL.Opaque = "/x?q=` + password + `"`), keeps: `:path "/x?REDACTED" from URL.Opaque = "/x?REDACTED"`},
		{name: "a script's status", err: number("token " + password), keeps: `strconv.Atoi: parsing "REDACTED"`},
		{name: "a script's status that is a token", err: number("token-" + password), keeps: `strconv.Atoi: parsing "REDACTED"`, change: func(a *listen.Attempt) { a.Protocol = "fastcgi" }},
		{name: "two lengths over HTTP/3", err: fmt.Errorf("http3: invalid response: %w", fmt.Errorf("contradicting content lengths (%s and %s)", "1", password)), keeps: "contradicting content lengths (REDACTED)",
			change: func(a *listen.Attempt) { a.Protocol = "h3" }},
		{name: "two lengths that are numbers", err: fmt.Errorf("http3: invalid response: %w", fmt.Errorf("contradicting content lengths (%s and %s)", "1", "22")), keeps: "contradicting content lengths (1 and 22)",
			change: func(a *listen.Attempt) { a.Protocol = "h3" }},
		{name: "no scheme, no quotes", err: errors.New("dialling user:" + password + "@proxy:3128 failed"), keeps: "dialling REDACTED@proxy:3128 failed"},
		{name: "a script's field", err: textproto.ProtocolError(fmt.Sprintf("malformed MIME header line: %q", "Set-Cookie sid="+password)), keeps: `malformed MIME header line: "Set-Cookie REDACTED"`},
		{name: "GOAWAY with words", err: http2.GoAwayError{ErrCode: http2.ErrCodeInternal, DebugData: "token=" + password}, keeps: `debug="token=REDACTED"`},
		{name: "HTTP/3, a field's value", err: fmt.Errorf("http3: invalid response: %w", fmt.Errorf("invalid header field value for %s: %q", "set-cookie", "sid"+password)), keeps: `set-cookie: "REDACTED"`,
			change: func(a *listen.Attempt) { a.Protocol = "h3" }},
		{name: "HTTP/3, a reason", err: errors.New("Application error 0x102 (remote): broken, authorization " + password), keeps: `Application error 0x102 (remote): "broken, authorization REDACTED"`,
			change: func(a *listen.Attempt) { a.Protocol = "h3" }},
		{name: "HTTP/3, a long reason", err: errors.New("Application error 0x102 (remote): " + strings.Repeat("x", 2<<10) + password), keeps: "(remote): \"xxx",
			change: func(a *listen.Attempt) { a.Protocol = "h3" }},
		{name: "what a forward proxy says", err: errors.New("Token " + password), keeps: "Token REDACTED", change: throughForwardProxy},
		{name: "what a forward proxy says at length", err: errors.New(strings.Repeat("x", 200) + password), keeps: "xxx", change: throughForwardProxy},
		{name: "what a forward proxy says by the rules", err: errors.New("Proxy Authentication Required"), keeps: "Proxy Authentication Required", change: throughForwardProxy},
		{name: "an algorithm of signatures", err: fmt.Errorf("x509: certificate signed by unknown authority (possibly because of %q)", x509.InsecureAlgorithmError(x509.SHA1WithRSA)), keeps: `(possibly because of "x509: cannot verify signature: insecure algorithm SHA1-RSA")`},
		{name: "a signature behind an algorithm", err: fmt.Errorf("read %q", x509.InsecureAlgorithmError(x509.SHA1WithRSA).Error()+" "+password), keeps: `"x509: cannot verify signature: REDACTED"`},
		{name: "an authority", err: errors.New("tls: failed to verify certificate: x509: certificate signed by unknown authority"), keeps: "x509: certificate signed by unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := sentAttempt(func(a *listen.Attempt) { a.Err = test.err })
			if test.change != nil {
				test.change(&a)
			}
			for name, h := range map[string]*listen.Heard{
				"failed":  heard(nil, a),
				"rescued": heard(func(h *listen.Heard) { h.Err, h.ErrStatus, h.Response.Status = nil, 0, 200 }, a, answered200(nil)),
			} {
				f := Diagnose(h)
				if f == nil {
					t.Fatal(name, "nothing was found")
				}
				tellsNoSecret(t, f, test.keeps)
				if keeps := cut(test.keeps, 40); !strings.Contains(f.Attempts[0].Error, strings.TrimSuffix(keeps, "…")) {
					t.Errorf("%s: the attempt's error is %q, without %q", name, f.Attempts[0].Error, keeps)
				}
			}
		})
	}
	t.Run("a lookup", func(t *testing.T) {
		f := Diagnose(heard(func(h *listen.Heard) {
			nobodyFor()(h)
			h.Selection.Source = "dynamic"
			h.Selection.LookupErr = parse("http://user:" + password + "%zz@consul:8500")
		}))
		tellsNoSecret(t, f, "")
		if !strings.Contains(strings.Join(f.Evidence, "\n"), "REDACTED@consul:8500") {
			t.Errorf("evidence: %q", f.Evidence)
		}
	})
}

func throughForwardProxy(a *listen.Attempt) {
	a.TLS, a.Connection, a.Wrote = true, nil, 0
	a.Dialing = &listen.Dialing{Start: 2 * millisecond, Connects: []listen.Connect{{Network: "tcp", Address: "10.0.0.3:3128", Start: 2 * millisecond, End: 3 * millisecond}}}
}

// Of an error on the client's side nothing is kept that names the client's address,
// whatever the transport puts around it.
func TestErrorsOfTheClientsSideNameNoAddress(t *testing.T) {
	const client = "203.0.113.9"
	ends := func(err error) error {
		return &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443},
			Addr: &net.TCPAddr{IP: net.ParseIP(client), Port: 5555}, Err: err,
		}
	}
	for _, test := range []struct {
		name string
		err  error
		says string
	}{
		{"it stalls", ends(os.ErrDeadlineExceeded), "i/o timeout"},
		{"it resets", ends(errors.New("connection reset by peer")), "connection reset by peer"},
		{"it ends", ends(io.ErrUnexpectedEOF), "unexpected EOF"},
	} {
		for name, wrap := range map[string]func(error) error{
			"as it is":    func(err error) error { return err },
			"copied":      func(err error) error { return &net.OpError{Op: "readfrom", Net: "tcp", Err: err} },
			"in words":    func(err error) error { return fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err) },
			"said anew":   func(error) error { return ends(errors.New(test.says)) },
			"not by this": func(error) error { return nil },
		} {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				broken := func(a *listen.Attempt) { a.Err, a.RequestBytes = wrap(test.err), 7 }
				f := Diagnose(heard(func(h *listen.Heard) {
					h.Client.BodyErr, h.Client.Left = test.err, true
					h.Response.Status = 499
				}, sentAttempt(broken), sentAttempt(broken)))
				record, _ := json.Marshal(f)
				if strings.Contains(string(record), client) || f.Cause != ClientUploadFailed.Name || f.Error != test.says {
					t.Errorf("got %s", record)
				}
			})
		}
	}
}
