package diagnostics

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// stranger is a request of somebody who is no operator.
type stranger struct {
	remote, method, url string
	client              browser
	// extra are fields that the client adds to its own.
	extra http.Header
}

// browser is what sends a request, and the fields that it sends.
type browser struct {
	name   string
	fields map[string]string
}

// String says who it is, for people.
func (s stranger) String() string {
	text := fmt.Sprintf("%s %s from %s", s.method, s.url, s.remote)
	if s.client.name != "" {
		text += " with the header of " + s.client.name
	}
	for _, field := range slices.Sorted(keysOf(s.extra)) {
		text += fmt.Sprintf(" and %s: %s", field, s.extra.Get(field))
	}
	return text
}

func keysOf(header http.Header) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for field := range header {
			if !yield(field) {
				return
			}
		}
	}
}

// Whence and how strangers come. Their addresses are for documentation (RFC 5737, 3849):
// nobody has them.
var (
	strangerAddresses = []string{"192.0.2.1", "2001:db8::1"}
	strangerMethods   = []string{http.MethodGet, http.MethodPost, http.MethodHead}
	strangerPaths     = []string{"/", "/index.html", "/admin", "/debug?debug=1&token=x", "/api/cart", "/login"}
	strangerHosts     = []string{"example.com", "localhost"}
	strangerValues    = []string{"", "x", "1", strangerText}
)

// strangerText is what many patterns fit that are meant for something definite.
const strangerText = "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789=."

var browsers = []browser{
	{"Firefox", map[string]string{
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Accept-Language": "en-US,en;q=0.5",
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Encoding": "gzip, deflate, br, zstd", "Connection": "keep-alive", "Upgrade-Insecure-Requests": "1",
		"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Sec-Fetch-User": "?1", "Priority": "u=0, i",
	}},
	{"Chrome", map[string]string{
		"User-Agent":      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
		"Accept-Encoding": "gzip, deflate, br, zstd", "Accept-Language": "de-DE,de;q=0.9", "Cache-Control": "max-age=0", "Connection": "keep-alive",
		"Upgrade-Insecure-Requests": "1", "Referer": "https://www.example.org/", "Sec-Ch-Ua": `"Chromium";v="130", "Not?A_Brand";v="99"`,
		"Sec-Ch-Ua-Mobile": "?0", "Sec-Ch-Ua-Platform": `"Windows"`,
		"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-User": "?1",
	}},
	{"Safari", map[string]string{
		"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
		"Accept":     "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language": "fr-FR,fr;q=0.9",
		"Accept-Encoding": "gzip, deflate, br", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none",
	}},
	{"curl", map[string]string{"User-Agent": "curl/8.10.1", "Accept": "*/*"}},
	{"", nil},
}

// strangersTo are strangers of many kinds; some add what t takes at its word.
func strangersTo(t testimony, hosts []string) []stranger {
	var all []stranger
	add := func(i int, extra http.Header) {
		scheme := "http"
		if i/12%2 == 1 {
			scheme = "https"
		}
		all = append(all, stranger{
			remote: strangerAddresses[i%2],
			method: strangerMethods[i/24%3],
			url:    scheme + "://" + hosts[i/5%len(hosts)] + strangerPaths[i/2%6],
			client: browsers[i%5],
			extra:  extra,
		})
	}
	for i := range 120 {
		add(i, nil)
	}
	fields := slices.Compact(slices.Sorted(slices.Values(t.fields)))
	for i, value := range strangerValues {
		everything := make(http.Header)
		for _, field := range fields {
			everything.Set(field, value)
			add(i, http.Header{http.CanonicalHeaderKey(field): {value}})
		}
		for _, name := range t.cookies {
			everything.Add("Cookie", name+"="+value)
		}
		for j := range 12 {
			add(j, everything)
		}
	}
	for i, address := range strangerAddresses { // each says its own
		everything := make(http.Header)
		for _, field := range fields {
			everything.Set(field, address)
		}
		add(i, everything)
	}
	return all
}

// request is the request as the server would pass it to its handlers; the server may be
// nil.
func (s stranger) request(ctx context.Context, server *caddyhttp.Server) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, s.method, s.url, nil)
	if err != nil {
		return nil, err
	}
	r.RemoteAddr, r.RequestURI = net.JoinHostPort(s.remote, "50000"), r.URL.RequestURI()
	if r.URL.Scheme == "https" {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
	}
	r.URL.Scheme, r.URL.Host, r.Body = "", "", http.NoBody // as net/http's server has them
	for field, value := range s.client.fields {
		r.Header.Set(field, value)
	}
	for field, values := range s.extra {
		r.Header[field] = values
	}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}))
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)
	// Whatever proxies the server trusts, this is no client of theirs.
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, false)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, s.remote)
	return r, nil
}

// strangersTimeout is how long a matcher set may take for all of them: a config's load
// waits for it. Tests don't.
var strangersTimeout = 2 * time.Second

// maxAskErrors is after how many errors a set is not asked on: what can't be asked
// lets nobody in, and Caddy logs each error of an expression.
const maxAskErrors = 6

// lettingIn finds a stranger whom a set lets in, if it asks for the right thing; nil for
// none.
func lettingIn(set caddyhttp.MatcherSet, strangers []stranger, server *caddyhttp.Server) (*stranger, error) {
	type found struct {
		stranger *stranger
		err      error
	}
	ctx, cancel := context.WithTimeout(context.Background(), strangersTimeout)
	defer cancel()
	result := make(chan found, 1)
	set = slices.DeleteFunc(slices.Clone(set), looksAside)
	go func() {
		for i, faults := 0, 0; i < len(strangers) && faults < maxAskErrors && ctx.Err() == nil; i++ {
			r, err := strangers[i].request(ctx, server)
			if err != nil {
				result <- found{err: err}
				return
			}
			match, err := askSet(set, r)
			if err != nil {
				faults++ // it would let nobody in
			} else if match {
				result <- found{stranger: &strangers[i]}
				return
			}
		}
		result <- found{}
	}()
	select {
	case f := <-result:
		return f.stranger, f.err
	case <-ctx.Done():
		return nil, errors.New("whether it lets strangers in can't be told in time")
	}
}

// looksAside says whether a matcher says nothing of who the client is: no stranger is
// kept out by a path that only nobody has told it.
func looksAside(matcher any) bool {
	module, ok := matcher.(caddy.Module)
	if !ok {
		return false
	}
	name := module.CaddyModule().ID.Name()
	return name == "not" || slices.Contains(askedMatchers, name)
}

// askSet asks a matcher set about a request. A panic of a matcher is its error.
func askSet(set caddyhttp.MatcherSet, r *http.Request) (match bool, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			match, err = false, fmt.Errorf("a matcher panicked: %v", fault)
		}
	}()
	return set.MatchWithError(r)
}

// hostsOf are the hosts that strangers ask for, the site's among them.
func hostsOf(site string) []string {
	if site == "" || strings.ContainsAny(site, " /?#%@") {
		return strangerHosts
	}
	return append(slices.Clone(strangerHosts), site)
}
