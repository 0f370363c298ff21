package tests

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// showsNothingOf fails where the newest record, its line in the log, or what an operator
// got has one of these in it, in capitals or not.
func showsNothingOf(t *testing.T, c *testcaddy.Caddy, l *testcaddy.LogFile, a testcaddy.Answer, secrets ...string) *failure.Failure {
	t.Helper()
	f := c.Failure()
	l.Wait(testcaddy.LogMessage, 1)
	log, err := os.ReadFile(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	faces := map[string]string{
		"record": fmt.Sprintf("%+v %+v %+v", *f, f.Attempts, f.Received), "log": string(log), "admin": c.AdminDo("GET", "/failures/latest?format=text").Body,
		"answer": a.Body, "fields": fmt.Sprint(a.Header),
	}
	for face, text := range faces {
		for _, secret := range secrets {
			if i := strings.Index(strings.ToLower(text), strings.ToLower(secret)); i >= 0 {
				t.Errorf("%s: %s shows: …%.200s", face, secret, text[max(0, i-60):])
			}
		}
	}
	return f
}

// What the client sent stands in nothing that is kept, logged or shown, whatever way it
// came into an upstream's address or the name in its certificate; what the owner made of it
// by a list of his own is kept.
func TestIndirectionsTellNoSecret(t *testing.T) {
	const (
		secret     = "ZSECRET031"
		from       = "127.99.88.77"
		forwarded  = "servers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}"
		proxyTo    = "reverse_proxy {tgt}"
		checked    = " {\nhealth_port 1\nhealth_interval 1h\nhealth_fails 100000\n"
		serverName = " {\ntransport http {\ntls\ntls_server_name "
	)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	secureAt := secure.Listener.Addr().String()
	datagrams := uploadTakers(t)["h3"]
	datagrams, _, _ = strings.Cut(datagrams, " ")
	port := testcaddy.Dead(t)[len("127.0.0.1"):]
	byProxy := func(proxy string) string {
		return "reverse_proxy app.invalid:80 {\ntransport http {\nnetwork_proxy url " + proxy + "\n}\n}"
	}
	for _, test := range []struct {
		name, options, block, site, path string
		fields                           []string
		cause                            string
		keeps                            string // of the error
	}{
		{name: "a map of a field", site: "map {header.Authorization} {tgt} {\n~(.*) \"${1}.invalid:80\"\n}\n" + proxyTo, fields: []string{"Authorization: " + secret}},
		{name: "a map of a part of a field", site: "map {header.Authorization} {tgt} {\n\"~Bearer (.*)\" \"x${1}.invalid:80\"\n}\n" + proxyTo, fields: []string{"Authorization: Bearer " + secret}},
		{name: "a map of a map", site: "map {query.t} {one} {\n~(.*) \"a-${1}\"\n}\nmap {one} {tgt} {\n~(.*) \"${1}.invalid:80\"\n}\n" + proxyTo, path: "/?t=" + secret},
		{name: "a map of a user", site: "map {http.auth.user.id} {tgt} {\n~(.*) \"${1}.invalid:80\"\n}\nbasic_auth {\n" + secret + " $2a$04$3l0aINCdOElJMfoCBisLoOhLQokNT38tkz9JLfI9etVtMfN0wBkV6\n}\n" + proxyTo,
			fields: []string{"Authorization: Basic WlNFQ1JFVDAzMTpodW50ZXIy"}},
		{name: "a variable", site: "vars tgt \"{query.t}.invalid:80\"\nreverse_proxy {vars.tgt}", path: "/?t=" + secret},
		{name: "a variable that isn't there any more", site: "vars tgt \"{header.X-Up}.invalid:80\"\nrequest_header -X-Up\nreverse_proxy {vars.tgt}", fields: []string{"X-Up: " + secret}},
		{name: "a variable that isn't there any more, to the public", site: "vars tgt \"{header.X-Up}.invalid:80\"\nrequest_header -X-Up\nreverse_proxy {vars.tgt}", fields: []string{"X-Up: " + secret}},
		{name: "a server name that isn't there any more, to the public", site: "vars tgt {header.X-Up}\nrequest_header -X-Up\nreverse_proxy " + secureAt + serverName + "{vars.tgt}.invalid\n}\n}", fields: []string{"X-Up: " + secret}},
		{name: "a dynamic source that isn't there any more, to the public", site: "vars tgt {header.X-Up}\nrequest_header -X-Up\nreverse_proxy {\ndynamic a {\nname {vars.tgt}.invalid\nport 80\n}\n}", fields: []string{"X-Up: " + secret}},
		{name: "a variable, encoded in the query", site: "vars tgt \"{query.t}.invalid:80\"\nreverse_proxy {vars.tgt}", path: "/?t=%5ASECRET%3031"},
		{name: "a variable of another handler", site: "vars tgt \"{query.t}.invalid:80\"\nroute {\nupstream_diagnostics {\ndetails @operator\nproxy_status_name edge\n}\nforeign {vars.tgt}\n}", path: "/?t=" + secret},
		{name: "a variable, with active checks", site: "vars tgt \"{query.t}.invalid:80\"\nreverse_proxy {vars.tgt}" + checked + "}", path: "/?t=" + secret},
		{name: "a variable, over FastCGI", site: "vars tgt \"{query.t}.invalid:80\"\nreverse_proxy {vars.tgt} {\ntransport fastcgi\n}", path: "/?t=" + secret},
		{name: "a variable, over HTTP/3", site: "vars tgt \"{query.t}.invalid:80\"\nreverse_proxy {vars.tgt} {\ntransport http {\ntls\nversions 3\n}\n}", path: "/?t=" + secret},
		{name: "a variable of a dynamic source", site: "vars tgt {query.t}\nreverse_proxy {\ndynamic a {\nname x{vars.tgt}x.invalid\nport 80\n}\n}", path: "/?t=" + secret},
		{name: "a variable of a service", site: "vars tgt {query.t}\nreverse_proxy {\ndynamic srv {\nname {vars.tgt}.invalid\n}\n}", path: "/?t=" + secret},
		{name: "an address for a dynamic source", site: "vars tgt {query.t}\nreverse_proxy {\ndynamic a {\nname {vars.tgt}\nport " + port[1:] + "\n}\n}", path: "/?t=" + from, cause: "connection_refused"},
		{name: "an address for one of several sources", site: "vars tgt {query.t}\nreverse_proxy {\ndynamic multi {\na {\nname {vars.tgt}\nport " + port[1:] + "\n}\n}\n}", path: "/?t=" + from, cause: "connection_refused"},
		{name: "a variable for a socket", site: "vars tgt \"unix//tmp/{query.t}/app.sock\"\nreverse_proxy {vars.tgt}", path: "/?t=" + secret},
		{name: "a variable for a forward proxy", site: "vars tgt \"http://{query.t}.invalid:3128\"\n" + byProxy("{vars.tgt}"), path: "/?t=" + secret},
		{name: "a forward proxy that is no URL, without an end", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: http://[" + secret}},
		{name: "a forward proxy that is no URL, badly encoded", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: http://x" + secret + "%zz"}, cause: "request_not_sendable", keeps: "parse "},
		{name: "a forward proxy that is no URL, the wrong code alone", site: "map {header.X-Up} {tgt} {\n~(.*) \"http://${1}\"\n}\n" + byProxy("{tgt}"), fields: []string{"X-Up: %" + secret}},
		{name: "a forward proxy that is no URL, without a scheme", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: ://" + secret}},
		{name: "a forward proxy that is no URL, in its port", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: http://u:p@127.0.0.1:" + secret}},
		{name: "a forward proxy that is no URL, in the port alone", site: "map {header.X-Up} {tgt} {\n~(.*) \"http://127.0.0.1:${1}\"\n}\n" + byProxy("{tgt}"), fields: []string{"X-Up: " + secret}},
		{name: "a forward proxy that is no URL, by a map", site: "map {header.X-Up} {tgt} {\n~(.*) \"http://${1}\"\n}\n" + byProxy("{tgt}"), fields: []string{"X-Up: [" + secret}},
		{name: "a forward proxy that is no URL, by a part in a map", site: "map {header.Authorization} {tgt} {\n\"~Bearer (.*)\" \"http://u:${1}@127.0.0.1:port\"\n}\n" + byProxy("{tgt}"), fields: []string{"Authorization: Bearer " + secret}},
		{name: "a forward proxy that is no URL, by a variable that isn't there any more", site: "vars tgt \"http://127.0.0.1:{header.X-Up}\"\nrequest_header -X-Up\n" + byProxy("{vars.tgt}"), fields: []string{"X-Up: " + secret}},
		{name: "a forward proxy that is no URL, with a name", site: byProxy("{query.t}"), path: "/?t=http://" + secret + ":x%20y@h/", cause: "request_not_sendable"},
		{name: "a forward proxy of a scheme that is none", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: " + secret + "://127.0.0.1:1"}},
		{name: "a forward proxy of the owner's that is no URL", site: "vars tgt \"http://127.0.0.1:port\"\n" + byProxy("{vars.tgt}"), path: "/?t=" + secret, cause: "request_not_sendable", keeps: "127.0.0.1"},
		{name: "a forward proxy's zone", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: http://[::1%25" + secret + "]:80"}},
		{name: "a forward proxy's zone, by the query", site: byProxy("{query.p}"), path: "/?p=http://%5B::1%2525" + secret + "%5D:80"},
		{name: "a forward proxy's name in letters of its own", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: http://" + secret + "é.invalid"}},
		{name: "a name in letters of its own", site: "reverse_proxy {header.X-Up}:80", fields: []string{"X-Up: " + secret + "é.invalid"}},
		{name: "a forward proxy that sends its user back", site: byProxy("{header.X-Up}"), fields: []string{"X-Up: http://" + secret + "u:" + secret + "p@" + testcaddy.Blabbing(t, "HTTP/1.1 "+secret+"u:"+secret+"p x\r\nVia: "+secret+"u:"+secret+"p\r\n\r\n")}},
		{name: "a variable that is no address", site: "vars tgt \"{query.t}:{query.t}:{query.t}\"\nreverse_proxy {vars.tgt}", path: "/?t=" + secret},
		{name: "a variable for a port", site: "vars tgt {query.t}\nreverse_proxy 127.0.0.1:{vars.tgt}", path: "/?t=" + secret},
		{name: "a match of a cookie", site: "@rc header_regexp up Cookie t=([^;]+)\nreverse_proxy @rc {re.up.1}.invalid:80", fields: []string{"Cookie: a=1; t=" + secret + "; b=2"}},
		{name: "a match of a variable", site: "@v vars_regexp upq {query.t} ^(.+)$\nreverse_proxy @v {re.upq.1}.invalid:80", path: "/?t=" + secret},
		{name: "a match of the URI", site: "@v vars_regexp u {uri} t=(.+)$\nreverse_proxy @v {re.u.1}.invalid:80", path: "/?t=" + secret},
		{name: "the client's address, off", options: forwarded, block: "client_ip off", site: "vars tgt \"{client_ip}" + port + "\"\nreverse_proxy {vars.tgt}", fields: []string{"X-Forwarded-For: " + from}, cause: "connection_refused"},
		{name: "the client's address, masked", options: forwarded, block: "client_ip masked", site: "map {client_ip} {tgt} {\n~(.*) \"${1}" + port + "\"\n}\n" + proxyTo, fields: []string{"X-Forwarded-For: " + from}, cause: "connection_refused"},
		{name: "an address in another form", site: "reverse_proxy {query.t}" + port, path: "/?t=[::ffff:" + from + "]"},

		{name: "a network", site: "reverse_proxy {header.Authorization}", fields: []string{"Authorization: " + secret + "/x"}},
		{name: "a network that is asked for its number", site: "reverse_proxy {header.X-Up}", fields: []string{"X-Up: ip:" + secret + "/x:1"}},
		{name: "a network of a variable", site: "vars tgt {header.X-Up}\nreverse_proxy {vars.tgt}", fields: []string{"X-Up: " + secret + "/x"}},
		{name: "a network, over FastCGI", site: "reverse_proxy {header.X-Up} {\ntransport fastcgi\n}", fields: []string{"X-Up: " + secret + "/x"}},
		{name: "a network, with active checks", site: "reverse_proxy {header.X-Up} " + checked + "}", fields: []string{"X-Up: " + secret + "/x"}},

		{name: "a path's parameter", site: "reverse_proxy {http.request.uri.path.file}:80", path: "/md/a;jsessionid=" + secret},
		{name: "a path's parameter, encoded", site: "reverse_proxy {http.request.uri.path.file}:80", path: "/md/a%3Bjsessionid%3D" + secret},
		{name: "a path's parameter, in another placeholder", site: "reverse_proxy {http.request.orig_uri.path.1}:80", path: "/md/a;jsessionid=" + secret},

		{name: "a server name", site: "reverse_proxy " + secureAt + serverName + "{query.t}.invalid\n}\n}", path: "/?t=" + secret, cause: "certificate_name_mismatch"},
		{name: "a server name by a variable", site: "vars tgt {header.Authorization}\nreverse_proxy " + secureAt + serverName + "{vars.tgt}.invalid\n}\n}", fields: []string{"Authorization: Bearer-" + secret}, cause: "certificate_name_mismatch"},
		{name: "a server name, with active checks", site: "reverse_proxy " + secureAt + checked + "transport http {\ntls\ntls_server_name {query.t}.invalid\n}\n}", path: "/?t=" + secret, cause: "certificate_name_mismatch"},
		{name: "a server name over HTTP/3", site: "reverse_proxy " + datagrams + " {\ntransport http {\ntls\nversions 3\ntls_server_name {query.t}.invalid\n}\n}", path: "/?t=" + secret},

		{name: "a backend from a map", site: "map {query.t} {tgt} {\n" + secret + " backend-7.invalid:80\n}\n" + proxyTo, path: "/?t=" + secret, keeps: "lookup backend-7.invalid"},
		{name: "a backend by the host", site: "map {host} {tgt} {\ndefault backend-7.invalid:80\n}\n" + proxyTo, fields: []string{"Cookie: t=" + secret}, keeps: "lookup backend-7.invalid"},
		{name: "a query that is kept", block: "keep_query k", site: "vars tgt \"{query.k}.invalid:80\"\nreverse_proxy {vars.tgt}", path: "/?t=" + secret + "&k=tenant-7", keeps: "lookup tenant-7.invalid"},
		{name: "a network and a backend of the owner's", site: "vars tgt \"tcp/backend-7.invalid:80\"\nreverse_proxy {vars.tgt}", path: "/?t=" + secret, keeps: "dial tcp: lookup backend-7.invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			if !strings.Contains(test.name, "to the public") {
				test.block += "\ndetails @operator"
			}
			c := testcaddy.StartWith(t, l.OfOurs()+"\n"+test.options, "@operator header X-Operator yes\nupstream_diagnostics {\nproxy_status_name edge\n"+test.block+"\n}\n"+test.site)
			if test.path == "" {
				test.path = "/"
			}
			a := c.Get(test.path, append(test.fields, "X-Operator: yes", "Accept: text/plain")...)
			f := showsNothingOf(t, c, l, a, secret, from)
			if a.Status < 500 || test.cause != "" && f.Cause != test.cause || !strings.Contains(f.Error, test.keeps) {
				t.Errorf("got %d, %s of %s: %s", a.Status, f.Cause, f.Upstream, f.Error)
			}
			t.Logf("%s: %s %q", f.Cause, f.Error, f.Evidence)
		})
	}
}

// What an upstream sent is not quoted where the label that told what it is was cut off.
func TestQuotesWithoutTheirLabelTellNoSecret(t *testing.T) {
	const secret = "ULEAK03"
	for _, test := range []struct{ name, says, keeps string }{
		{"a status", "Bearer " + secret + "\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a length", "HTTP/1.1 200 OK\r\nContent-Length: token-" + secret + "\r\n\r\n", `bad Content-Length "REDACTED"`},
		{"a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: -12\r\n\r\n", `bad Content-Length "-12"`},
		{"a version", "Authorization/" + secret + " 200 OK\r\n\r\n", `malformed HTTP version "REDACTED"`},
		{"a status that tells nothing", "HTTP/1.1 abc OK\r\n\r\n", `malformed HTTP status code "REDACTED"`},
		{"a name and password", "user:" + secret + "@host/x\r\n\r\n", `malformed HTTP response "REDACTED@host/x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), "@operator header X-Operator yes\nupstream_diagnostics {\ndetails @operator\nproxy_status_name edge\n}\nreverse_proxy "+testcaddy.Blabbing(t, test.says))
			f := showsNothingOf(t, c, l, c.Get("/", "X-Operator: yes", "Accept: text/plain"), secret)
			if !strings.Contains(f.Error, test.keeps) {
				t.Errorf("the error is %q, without %q", f.Error, test.keeps)
			}
			t.Logf("%s %q", f.Error, f.Evidence)
		})
	}
}

// A credential of the client's that an upstream sends back is in nothing that is kept,
// logged or shown, whatever the upstream makes of it.
func TestCredentialsThatComeBack(t *testing.T) {
	const (
		user, password = "alice", "Zq7Sekret+91"
		apiKey         = "Kq5-0b1e2f3a"
		session        = "5f2c9d1ab3e84c77"
		own            = "T1dORVI6aHVudGVyMmh1bnRlcjI="
		asked, cookie  = "alice@example.com", "left-7f3d"
	)
	encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	sent := []string{"Authorization: Basic " + encoded, "X-Api-Key: " + apiKey, "Cookie: theme=" + cookie + "; s=" + session, "X-Operator: yes", "Accept: text/plain"}
	secrets := []string{encoded, encoded[:len(encoded)-2], password, apiKey, session, own[:12], asked, url.QueryEscape(asked), cookie}
	for name, says := range map[string]string{
		"a status line":              "HTTP/1.1 Basic " + encoded + "\r\n\r\n",
		"a status line, label gone":  "HTTP/1.1 " + encoded + "\r\n\r\n",
		"a version":                  "Basic/" + encoded + " 200 OK\r\n\r\n",
		"no HTTP":                    "Basic " + encoded + "\r\n\r\n",
		"no HTTP, label gone":        encoded + "\r\n\r\n",
		"a line without a colon":     "HTTP/1.1 200 OK\r\nBasic " + encoded + "\r\n\r\n",
		"a line without its label":   "HTTP/1.1 200 OK\r\n" + encoded + "\r\n\r\n",
		"a field's name":             "HTTP/1.1 200 OK\r\n:Basic " + encoded + "\r\n\r\n",
		"a transfer coding":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: Basic " + encoded + "\r\n\r\n",
		"a length":                   "HTTP/1.1 200 OK\r\nContent-Length: Basic " + encoded + "\r\n\r\n",
		"an upgrade":                 "HTTP/1.1 101 Basic\r\nUpgrade: Basic " + encoded + "\r\nConnection: upgrade\r\n\r\n",
		"Proxy-Status":               "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: x; error=http_protocol_error; details=\"Basic " + encoded + "\"\r\nContent-Length: 0\r\n\r\n",
		"Server":                     "HTTP/1.1 502 Bad Gateway\r\nServer: " + encoded + "\r\nVia: 1.1 " + apiKey + "\r\nContent-Length: 0\r\n\r\n",
		"the password":               "HTTP/1.1 200 OK\r\nunknown user " + password + "\r\n\r\n",
		"user and password":          user + ":" + password + "\r\n\r\n",
		"a key":                      "HTTP/1.1 200 OK\r\nno such client: " + apiKey + "\r\nx\r\n\r\n",
		"a key alone":                apiKey + "\r\n\r\n",
		"a session":                  "HTTP/1.1 200 OK\r\nno such session " + session + "\r\n\r\n",
		"cut off at its end":         strings.Repeat("x", 50) + " " + encoded + "\r\n\r\n",
		"what was asked for":         "HTTP/1.1 200 OK\r\nno user " + asked + "\r\n\r\n",
		"as it was asked for":        "no user " + url.QueryEscape(asked) + "\r\n\r\n",
		"a cookie":                   "HTTP/1.1 200 OK\r\nno theme " + cookie + "\r\n\r\n",
		"encoded":                    "HTTP/1.1 200 OK\r\nno user " + url.QueryEscape(password) + "\r\n\r\n",
		"the owner's, by its scheme": "HTTP/1.1 200 OK\r\nBasic " + own + "\r\n\r\n",
		"another scheme":             "HTTP/1.1 200 OK\r\nNegotiate " + own + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), "@operator header X-Operator yes\nupstream_diagnostics {\ndetails @operator\nproxy_status_name edge\nintercept 502\n}\nreverse_proxy "+testcaddy.Blabbing(t, says))
			a := c.Get("/?email="+url.QueryEscape(asked), sent...)
			a.Header.Del("Proxy-Status") // an operator gets the upstream's own member: what came back goes to who sent it
			f := showsNothingOf(t, c, l, a, secrets...)
			t.Logf("%s: %s %q %+v", f.Cause, f.Error, f.Evidence, f.Received)
		})
	}
}

// What a client says of the connection is no secret, and stays in what is quoted of it.
func TestWhatIsAskedOfTheConnectionStays(t *testing.T) {
	const protocol = "proxmox-backup-protocol-h2"
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+testcaddy.Blabbing(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+protocol+"\r\n\r\n"))
	c.Get("/", "Connection: Upgrade", "Upgrade: "+protocol)
	if f := c.Failure(); !strings.Contains(fmt.Sprint(f.Evidence), `asked for "`+protocol+`"`) {
		t.Errorf("%s: %q", f.Cause, f.Evidence)
	}
}

// What a client sends where a trailer belongs is of its body, and in no error.
func TestABodyIsNotQuoted(t *testing.T) {
	const secret = "SECRET1234"
	for name, end := range map[string]string{
		"a line without a colon": "0\r\nuser=joe&pin=" + secret + "\r\n\r\n",
		"a trailer's value":      "0\r\nX-Foo: " + secret + "\x01\r\n\r\n",
		"JSON":                   "0\r\n{\"card\":\"" + secret + "\"}\r\n\r\n",
		"a line with a blank":    "0\r\n " + secret + "\r\n\r\n",
		"a chunk's length":       secret + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), "@operator header X-Operator yes\nupstream_diagnostics {\ndetails @operator\n}\nreverse_proxy "+testcaddy.Upstream(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			a := c.Raw("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Operator: yes\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + end)
			f := showsNothingOf(t, c, l, a, secret)
			t.Logf("%s: %s %q", f.Cause, f.Error, f.Evidence)
		})
	}
}
