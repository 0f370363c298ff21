package redact

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// What of a request comes back in a quote is found whatever stands around it, however it
// was written, and where it was cut; what was not sent, and what the record shows anyway,
// stays.
func TestWhatComesBack(t *testing.T) {
	const key, session, asked, password = "SECRETkey1234567890", "SECRETsid1234567890", "SECRETtok1234567890", "SECRETpw+12"
	r := httptest.NewRequest(http.MethodGet, "/order;jsessionid=SECRETjs12?next=%2Fhome&token="+asked+"&a=sevench%3DSECRET7", nil)
	r.Header.Set("X-Api-Key", key)
	r.Header.Set("Cookie", "theme=dark; sid="+session)
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("joe:"+password)))
	r.Header.Set("Referer", "https://shop.example/?back=SECRETref12")
	r.Header.Set("X-Short", "U1f%cdxDE")
	r.Header.Set("Upgrade", "proxmox-backup-protocol-h2")
	owners := http.Header{"X-Upstream-Token": {"SECRETown12345"}}

	quoted := func(text string) string { return "the answer begins with " + strconv.Quote(text) }
	for _, test := range []struct{ name, text, want string }{
		{"whole", quoted("no key " + key), quoted("no key REDACTED")},
		{"letters in front", quoted("k_" + key), quoted("k_REDACTED")},
		{"letters behind", quoted(key + "abc"), quoted("REDACTEDabc")},
		{"a tab in front", quoted("x\t" + key), quoted("x\tREDACTED")},
		{"a control character in front", quoted("x\x01" + key), quoted("x\x01REDACTED")},
		{"a byte that is no text in front", quoted("x\xe9" + key), quoted("x\xe9REDACTED")},
		{"colours", quoted("x\x1b[31m" + key + "\x1b[0m"), quoted("x\x1b[31mREDACTED\x1b[0m")},
		{"in JSON", quoted(`{"error":"x\n` + key + `"}`), quoted(`{"error":"x\nREDACTED"}`)},
		{"percent-encoded blanks", quoted("fail%20Bearer%20" + key + "%20y"), quoted("fail%20Bearer%20REDACTED%20y")},
		{"in other capitals", quoted(strings.ToUpper(key)), quoted("REDACTED")},
		{"the front of it", quoted("yyyy " + key[:15]), quoted("yyyy REDACTED")},
		{"the front of it, cut", quoted("yyyy "+key[:9]) + "…", quoted("yyyy REDACTED") + "…"},
		{"the tail of it", quoted(key[9:]), quoted("REDACTED")},
		{"less than tells", quoted(key[:7]), quoted(key[:7])},
		{"the cookies, encoded", quoted(url.QueryEscape("theme=dark; sid=" + session)), quoted("REDACTED")},
		{"in small letters, encoded", quoted("sid%3d" + session), quoted("REDACTED")},
		{"encoded twice", quoted(url.QueryEscape(url.QueryEscape("sid=" + session))), quoted("REDACTED")},
		{"the query", quoted("a%3D1%26token%3D" + asked), quoted("a%3D1REDACTED")},
		{"a value with short pieces", quoted("sevench=SECRET7"), quoted("REDACTED")},
		{"a path's parameter", quoted("no session SECRETjs12"), quoted("no session REDACTED")},
		{"the password", quoted("user joe, " + password), quoted("user joe, REDACTED")},
		{"the password, encoded", quoted(url.QueryEscape(password)), quoted("REDACTED")},
		{"where it came from", quoted("from SECRETref12"), quoted("from REDACTED")},
		{"what is shorter decoded", quoted("got U1f%cdxDE"), quoted("got REDACTED")},
		{"the owner's own", quoted("bad token SECRETown12345"), quoted("bad token REDACTED")},
		{"what the record shows", quoted("https://shop.example"), quoted("https://shop.example")},
		{"what is asked of the connection", quoted("proxmox-backup-protocol-h2"), quoted("proxmox-backup-protocol-h2")},
		{"another's", quoted("SECRETother123"), quoted("SECRETother123")},
		{"outside of quotes", "the words of ours are " + key, "the words of ours are " + key},
		{"a cookie that is no credential, outside", "theme=dark; is how it began", "theme=dark; is how it began"},
		{"two", quoted(key + " and " + session), quoted("REDACTED and REDACTED")},
		{"two quotes", quoted(key) + ", " + quoted("x"), quoted("REDACTED") + ", " + quoted("x")},
		{"a quote that was cut", `it says "` + key, `it says "REDACTED`},
		{"a percent sign at the end", quoted(key + "%2"), quoted("REDACTED%2")},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules := New(nil, nil, ClientIPFull)
			kept := rules.Request(r, "")
			sent := rules.Sent(func() Came { return Came{Request: r, Fields: r.Header, SentOn: []http.Header{owners}, Kept: &kept} }, func(string) string { return "" })
			f := &failure.Failure{Error: test.text, Evidence: []string{test.text}, Attempts: []failure.Attempt{{Protocol: "h3", Error: test.text}}}
			sent.TakeOutOf(f)
			for _, got := range []string{f.Error, f.Evidence[0], f.Attempts[0].Error} {
				if got != test.want {
					t.Errorf("%s is kept as %s, want %s", test.text, got, test.want)
				}
			}
		})
	}
	t.Run("fields of an answer", func(t *testing.T) {
		rules := New(nil, nil, ClientIPFull)
		kept := rules.Request(r, "")
		f := &failure.Failure{Received: &failure.Received{Status: 502, GRPCMessage: "fail%20" + key, Via: session, ProxyStatus: "x; details=" + asked}}
		rules.Sent(func() Came { return Came{Request: r, Fields: r.Header, Kept: &kept} }, func(string) string { return "" }).TakeOutOf(f)
		if got := fmt.Sprintf("%+v", *f.Received); strings.Contains(got, "SECRET") {
			t.Error(got)
		}
	})
}

// A text's folding knows where each byte came from.
func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "Ab+C": "ab c", "a%20b": "a b", "a%2520b": "a b", "%": "%", "%2": "%2", "%zz": "%zz", "100%25": "100%", "%41%42": "ab",
	} {
		folded, at := fold(text)
		if folded != want || len(at) != len(folded)+1 || at[len(folded)] != len(text) {
			t.Errorf("%q is folded to %q, %v", text, folded, at)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("a%2520b")
	f.Fuzz(func(t *testing.T, text string) {
		folded, at := fold(text)
		for i := range folded {
			if at[i] >= at[i+1] || at[i+1] > len(text) {
				t.Fatalf("%q: %v", text, at)
			}
		}
	})
}

// BenchmarkBack measures what looking for what came back costs: with what a browser sends,
// and with the most that is looked at.
func BenchmarkBack(b *testing.B) {
	for _, size := range []int{40, maxSentBytes} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/order?token=abcdefgh", nil)
			r.Header.Set("Authorization", "Bearer "+strings.Repeat("the connection was closed; ", size/26))
			r.Header.Set("Cookie", "sid=0123456789abcdef; theme=dark")
			rules := New(nil, nil, ClientIPFull)
			kept := rules.Request(r, "")
			text := strings.Repeat("the answer is not what was expected of it, ", 20) + `"quoted, and the rest"`
			b.ReportAllocs()
			for b.Loop() {
				f := &failure.Failure{Error: text, Evidence: []string{text[:200], text[:200]}, Attempts: []failure.Attempt{{Error: text[:250]}}}
				rules.Sent(func() Came { return Came{Request: r, Fields: r.Header, Kept: &kept} }, func(string) string { return "" }).TakeOutOf(f)
			}
		})
	}
}
