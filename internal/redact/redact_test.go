package redact

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestURI(t *testing.T) {
	long := strings.Repeat("k", maxKeyBytes+1)
	for _, test := range []struct {
		name, sent, want string
		keep             []string
	}{
		{"nothing", "/", "/", nil},
		{"values", "/cart?id=1&token=secret&a=b=c", "/cart?id=REDACTED&token=REDACTED&a=REDACTED", nil},
		{"named", "/cart?id=1&filter%5Bx%5D=3&ID=4&id", "/cart?id=1&filter%5Bx%5D=3&ID=REDACTED&id", []string{"id", "filter[x]"}},
		{"named, with equals signs", "/?id=1==", "/?id=1==", []string{"id"}},
		{"named and empty", "/?id=&x=", "/?id=&REDACTED", []string{"id"}},
		{"a bare key", "/?secret", "/?REDACTED", nil},
		{"a bare token, padded once", "/?U0VDUkVU=", "/?REDACTED", nil},
		{"a bare token, padded twice", "/?U0VDUkVUMQ==&x=1", "/?REDACTED&x=REDACTED", nil},
		{"nothing but signs", "/?==&&=", "/?REDACTED&&REDACTED", nil},
		{"no name", "/?=secret", "/?=REDACTED", nil},
		{"an encoded equals sign", "/?token%3Dsecret=1&token%3dsecret&a%26secret=1", "/?REDACTED&REDACTED&REDACTED", nil},
		{"a semicolon", "/?id=1;secret=2&key;secret=2&key%3Bsecret=2", "/?id=REDACTED&REDACTED&REDACTED", []string{"id"}},
		{"no key", "/?%zzsecret=1", "/?REDACTED", nil},
		{"a long key", "/?" + long + "=1&" + long[1:] + "=1", "/?REDACTED&" + long[1:] + "=REDACTED", nil},
		{"a long key that is named", "/?" + long + "=1", "/?" + long + "=1", []string{long}},
		{"a session in the path", "/cart;jsessionid=secret?x=1", "/cart;jsessionid=REDACTED?x=REDACTED", nil},
		{"in the middle", "/a;v=secret;w=secret/b;x=secret/c", "/a;v=REDACTED;w=REDACTED/b;x=REDACTED/c", nil},
		{"encoded", "/cart%3Bjsessionid%3Dsecret/x%3bjsessionid%3dsecret", "/cart%3Bjsessionid%3DREDACTED/x%3bjsessionid%3dREDACTED", nil},
		{"half encoded", "/cart%3Bjsessionid=secret%2Fsecret", "/cart%3Bjsessionid=REDACTED", nil},
		{"no name in the path", "/cart;secret/x;secret", "/cart;REDACTED/x;REDACTED", nil},
		{"a long name in the path", "/cart;" + long + "=1", "/cart;REDACTED", nil},
		{"nothing in the path", "/cart;/x;=;a=", "/cart;/x;=;a=", nil},
		{"a percent sign at the end", "/a%25", "/a%25", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := url.ParseRequestURI(test.sent)
			if err != nil {
				t.Fatal(err)
			}
			if got := New(test.keep, nil, ClientIPFull).uri(u); got != test.want {
				t.Errorf("%s is kept as %s, want %s", test.sent, got, test.want)
			}
		})
	}
}

func TestKeepHeaders(t *testing.T) {
	credentials := []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Api-Key", "Apikey", "X-Auth-Token", "X-Csrf-Token", "X-Xsrf-Token",
		"X-Access-Token", "X-Amz-Security-Token", "X-Amz-Credential", "Sec-Websocket-Protocol", "X-Client-Secret", "X-Password", "X-Passwd", "X-Pass",
		"X-Session-Id", "X-Hub-Signature-256", "X-Jwt-Assertion", "Phpsessid", "Bearer", "Sid", "Sig",
	}
	others := []string{"X-Request-Id", "Accept", "X-Tenant", "Content-Type", "X-Forwarded-For", "Sec-Fetch-Site", "X-Inside"}
	r := httptest.NewRequest("GET", "/", nil)
	for _, field := range append(credentials, others...) {
		r.Header.Set(field, "secret")
	}
	var names []string
	for _, field := range append(credentials, others...) {
		names = append(names, strings.ToLower(field))
	}
	kept := New(nil, names, ClientIPFull).Request(r, "")
	for _, field := range credentials {
		if got := fmt.Sprint(kept.Headers[field]); got != "[REDACTED]" {
			t.Errorf("%s is kept as %s", field, got)
		}
	}
	for _, field := range others {
		if got := fmt.Sprint(kept.Headers[field]); got != "[secret]" {
			t.Errorf("%s is kept as %s", field, got)
		}
	}
}

func TestClientIP(t *testing.T) {
	for _, test := range []struct{ mode, remote, client, wantRemote, wantClient string }{
		{ClientIPFull, "192.0.2.1:1", "2001:db8:1:2::3", "192.0.2.1", "2001:db8:1:2::3"},
		{ClientIPMasked, "192.0.2.1:1", "2001:db8:1:2::3", "192.0.2.0", "2001:db8:1::"},
		{ClientIPMasked, "[::ffff:192.0.2.1]:1", "nonsense", "192.0.2.0", ""},
		{ClientIPOff, "192.0.2.1:1", "2001:db8:1:2::3", "", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.remote
		if kept := New(nil, nil, test.mode).Request(r, test.client); kept.RemoteIP != test.wantRemote || kept.ClientIP != test.wantClient {
			t.Errorf("%s: %s and %s are kept as %q and %q", test.mode, test.remote, test.client, kept.RemoteIP, kept.ClientIP)
		}
	}
}
