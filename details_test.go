package diagnostics

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// detailsWarnings are those of details.
func detailsWarnings(l *testcaddy.LogFile) (warnings []map[string]any) {
	l.T.Helper()
	for _, entry := range l.Entries("") {
		if text, _ := entry["msg"].(string); entry["level"] == "warn" && strings.Contains(text, "details") {
			warnings = append(warnings, entry)
		}
	}
	return warnings
}

// Details that fit a stranger are refused, and what to use instead is said; what
// takes a client at its word is accepted and warned of, once.
func TestDetailsStrangers(t *testing.T) {
	const (
		nothing = `looks only at`
		inside  = `details[0] lets a stranger in: `
	)
	expression := func(text string) string { return "expression `" + text + "`" }
	t.Setenv("UPSTREAM_DIAGNOSTICS_WIDE", "1.0.0.0/8")
	for name, tc := range map[string]struct {
		matcher string
		servers string // the servers' options
		wantErr string
		warns   string
	}{
		// What is asked, and how, by whatever matcher.
		"a query by vars":                  {matcher: `vars {query.debug} 1`, wantErr: nothing + ` vars {http.request.uri.query.debug}, which proves nothing`},
		"a path by vars_regexp":            {matcher: `vars_regexp {http.request.uri} .`, wantErr: nothing + ` vars_regexp {http.request.uri}`},
		"a host by vars":                   {matcher: `vars {host} admin.example.com`, wantErr: nothing},
		"a port by vars":                   {matcher: `vars {remote_port} 50000`, wantErr: nothing},
		"TLS's version by vars":            {matcher: `vars {tls_version} tls1.3`, wantErr: nothing},
		"a constant by vars":               {matcher: `vars {env.STAGE} prod`, wantErr: nothing},
		"one of vars":                      {matcher: "{\nvars {http.auth.user.id} ops\nvars {query.debug} 1\n}", wantErr: nothing},
		"an address as a client says":      {matcher: `vars {remote_host} {header.X-Me}`, wantErr: nothing},
		"a path by expression":             {matcher: expression(`{path} == "/debug"`), wantErr: nothing + ` expression`},
		"a host by expression":             {matcher: expression(`{host}.startsWith("admin.")`), wantErr: nothing},
		"a query by expression":            {matcher: expression(`{query.debug} == "1" && path("/x*")`), wantErr: nothing},
		"a method by expression":           {matcher: expression(`method("PATCH")`), wantErr: nothing},
		"a header's name in a path":        {matcher: expression(`path("/client/auth/header")`), wantErr: nothing},
		"a query by a matcher":             {matcher: expression(`query({"debug": "remote"})`), wantErr: nothing},
		"vars by a matcher":                {matcher: expression(`vars({"\{http.request.uri.query.debug}": "1"})`), wantErr: nothing},
		"a negation":                       {matcher: expression(`!remote_ip("198.51.100.1")`), wantErr: nothing},
		"a negation and a path":            {matcher: expression(`path("/x") && !({http.auth.user.id} == "guest")`), wantErr: nothing},
		"an address or a path":             {matcher: expression(`remote_ip("10.20.0.0/16") || path("/xyzzy")`), wantErr: nothing},
		"an address or anything":           {matcher: expression(`remote_ip("10.20.0.0/16") || true`), wantErr: nothing},
		"an address or not one":            {matcher: expression(`remote_ip("10.20.0.0/16") ? true : path("/xyzzy")`), wantErr: nothing},
		"an address that a header says":    {matcher: expression(`{remote_host} == {header.X-Me}`), wantErr: nothing},
		"the opposite of an address":       {matcher: expression(`remote_ip("10.20.0.0/16") == false`), wantErr: nothing},
		"a comparison of nothing":          {matcher: expression(`1 == 1`), wantErr: nothing},
		"an expression that can't be read": {matcher: expression(`path(`), wantErr: `details @ops: expression: `},

		"an address that a field names": {matcher: expression(`remote_ip({header.X-Me})`), wantErr: nothing},
		"an address of a field's list":  {matcher: expression(`{remote_host} in ["10.20.0.1", {header.X-Me}]`), wantErr: nothing},
		"the opposite of a comparison":  {matcher: expression(`path("/xyzzy") && ({remote_host} == "10.20.0.1") == false`), wantErr: nothing},
		"not an address, a path":        {matcher: expression(`path("/xyzzy") && {remote_host} != "10.20.0.1"`), wantErr: nothing},
		"any address, a path":           {matcher: expression(`path("/xyzzy") && {remote_host}.matches("[.:]")`), wantErr: nothing},
		"any address by a matcher":      {matcher: expression("path(\"/xyzzy\") && vars_regexp('\\{http.request.remote.host}', '[.:]')"), wantErr: nothing},
		"no user":                       {matcher: expression(`{http.auth.user.id} != ""`), wantErr: nothing},
		"any user, or none":             {matcher: `vars_regexp {http.auth.user.id} .*`, wantErr: nothing},
		"any certificate, or none":      {matcher: `vars_regexp {tls_client_subject} ^`, wantErr: nothing},

		// What only the client says, if anything will do.
		"any value of a field":          {matcher: `header X-Debug *`, wantErr: nothing + ` header`},
		"any value of a field in stars": {matcher: `header X-Debug **`, wantErr: nothing},
		"a value or any":                {matcher: "{\nheader X-Debug secret\nheader X-Debug *\n}", wantErr: nothing},
		"any pattern of a field":        {matcher: `header_regexp User-Agent .*`, wantErr: nothing + ` header_regexp`},
		"some pattern of a field":       {matcher: `header_regexp X-Debug .+`, wantErr: nothing},
		"any number of a field":         {matcher: `header_regexp X-Debug ^[0-9]+$`, wantErr: nothing},
		"any cookie":                    {matcher: `vars_regexp {cookie.session} .`, wantErr: nothing},
		"a field that is there":         {matcher: expression(`{header.X-Debug} != ""`), wantErr: nothing},
		"a field of any length":         {matcher: expression(`{header.X-Debug}.size() > 0`), wantErr: nothing},
		"a field of any pattern":        {matcher: expression(`{header.X-Debug}.matches(".")`), wantErr: nothing},
		"a field with anything in it":   {matcher: expression(`{header.X-Debug}.contains("")`), wantErr: nothing},
		"any value by a matcher":        {matcher: expression(`header({"X-Debug": "*"})`), wantErr: nothing},

		// What looks like a proof, and lets in who isn't meant.
		"everybody's address":           {matcher: `remote_ip 0.0.0.0/0 ::/0`, wantErr: nothing + ` remote_ip`},
		"half of the addresses":         {matcher: `remote_ip 0.0.0.0/1 128.0.0.0/1`, wantErr: nothing},
		"a wide range":                  {matcher: `remote_ip 192.0.0.0/8`, wantErr: `looks only at remote_ip, which proves nothing about the client (some addresses of remote_ip may be anybody's: a range of public ones is an IPv4 /16 or an IPv6 /32 at most): expected another matcher`},
		"no address":                    {matcher: `remote_ip {$UPSTREAM_DIAGNOSTICS_UNSET}`, wantErr: `which proves nothing about the client (remote_ip names no address): expected another matcher`},
		"a wide range, and a path":      {matcher: "{\nremote_ip 192.0.0.0/16\npath /xyzzy\nhost x.example\nnot path /y\n}", wantErr: inside + `GET http://example.com/ from 192.0.2.1 with the header of Firefox; expected a matcher that proves who the client is, as remote_ip of your own network`},
		"an address's beginning":        {matcher: `vars {http.request.remote.host/8} 192.0.0.0/8`, wantErr: nothing},
		"a fingerprint's size":          {matcher: expression(`size({http.request.tls.client.fingerprint}) == 64`), wantErr: nothing},
		"a fingerprint's form":          {matcher: expression(`{http.request.tls.client.fingerprint}.matches("^[0-9a-f]{64}$")`), wantErr: nothing},
		"a fingerprint's beginning":     {matcher: expression(`{http.request.tls.client.fingerprint}.startsWith("ab")`), wantErr: nothing},
		"a fingerprint's pattern":       {matcher: `vars_regexp {http.request.tls.client.fingerprint} ^a`, wantErr: nothing},
		"a key's pattern":               {matcher: `vars_regexp {http.request.tls.client.public_key_sha256} .`, wantErr: nothing},
		"a certificate's beginning":     {matcher: expression(`{http.request.tls.client.certificate_der_base64}.startsWith("MII")`), wantErr: nothing},
		"a certificate's pattern":       {matcher: `vars_regexp {http.request.tls.client.certificate_pem} MII`, wantErr: nothing},
		"the fingerprint of nothing":    {matcher: `vars {http.request.tls.client.fingerprint} ` + hashOfNothing, wantErr: nothing},
		"the same in an expression":     {matcher: expression(`{http.request.tls.client.fingerprint} == "` + hashOfNothing + `"`), wantErr: nothing},
		"it among others":               {matcher: expression(`{http.request.tls.client.fingerprint} in ["` + strings.Repeat("ab", 32) + `", "` + hashOfNothing + `"]`), wantErr: nothing},
		"an upstream's address":         {matcher: `vars {http.reverse_proxy.upstream.host} 127.0.0.1`, wantErr: nothing},
		"an upstream's port or another": {matcher: expression(`remote_ip("10.20.0.0/16") || {http.reverse_proxy.upstream.port} == "1"`), wantErr: nothing},
		"a whole fingerprint":           {matcher: `vars {http.request.tls.client.fingerprint} ` + strings.Repeat("ab", 32)},
		"whole ones in an expression":   {matcher: expression(`{http.request.tls.client.fingerprint} in ["` + strings.Repeat("ab", 32) + `", "` + strings.Repeat("cd", 32) + `"]`)},
		"an address's first bit":        {matcher: `vars {http.request.remote.host/1} 0.0.0.0/1`, wantErr: nothing},
		"few bits of an IPv6 address":   {matcher: `vars {http.request.remote.host/24,16} 2001::/16`, wantErr: nothing},
		"everybody's address, as IPv6":  {matcher: `client_ip 2001:db8::/32`, wantErr: inside + `GET http://example.com`},
		"a browser":                     {matcher: `header_regexp User-Agent Firefox`, wantErr: inside},
		"a browser's language":          {matcher: `header Accept-Language en*`, wantErr: `looks only at header, which proves nothing`},
		"the length of a body":          {matcher: `header Content-Length 5`, wantErr: `looks only at header, which proves nothing`},
		"a field that fits much":        {matcher: `header_regexp X-A .*s.*`, wantErr: `looks only at header_regexp, which proves nothing`},
		"an address by its beginning":   {matcher: `vars_regexp {remote_host} ^10`, wantErr: `which proves nothing`},
		"an address by a part":          {matcher: `vars_regexp {remote_host} 10[.]20`, wantErr: `which proves nothing`},
		"an address by how it begins":   {matcher: expression(`{remote_host}.startsWith("10.20.")`), wantErr: `which proves nothing`},
		"an address's end":              {matcher: expression(`{remote_host}.endsWith(".7")`), wantErr: `which proves nothing`},
		"an address's length":           {matcher: expression(`{remote_host}.size() == 8`), wantErr: `which proves nothing`},
		"an address that fits":          {matcher: expression(`{client_ip}.matches("^[3-9]")`), wantErr: `which proves nothing`},
		"a registry's range":            {matcher: `remote_ip 2a00::/12`, wantErr: `which proves nothing`},
		"a provider's range":            {matcher: `remote_ip 2600::/28`, wantErr: `which proves nothing`},
		"a range of a list":             {matcher: `remote_ip 10.20.0.0/16 1.0.0.0/8`, wantErr: `which proves nothing`},
		"the IPv4 internet by NAT64":    {matcher: `remote_ip 64:ff9b::/96`, wantErr: `which proves nothing`},
		"some of it":                    {matcher: `remote_ip 64:ff9b::c000:0/104`, wantErr: `which proves nothing`},
		"NAT64 and what is around it":   {matcher: `client_ip 64:ff9b::/32`, wantErr: `which proves nothing`},
		"NAT64 of one's own":            {matcher: `remote_ip 64:ff9b:1::/48`, wantErr: `which proves nothing`},
		"all of Teredo":                 {matcher: `remote_ip 2001::/32`, wantErr: `which proves nothing`},
		"a Teredo server's clients":     {matcher: `remote_ip 2001:0:c000:201::/64`, wantErr: `which proves nothing`},
		"Teredo that looks private":     {matcher: `remote_ip 2001::a00:0/104`, wantErr: `which proves nothing`},
		"all of 6to4":                   {matcher: `remote_ip 2002::/16`, wantErr: `which proves nothing`},
		"a part of 6to4":                {matcher: `remote_ip 2002:c000::/31`, wantErr: `which proves nothing`},
		"IPv4 mapped":                   {matcher: `remote_ip ::ffff:0:0/96`, wantErr: `which proves nothing`},
		"IPv4 mapped, looks private":    {matcher: `remote_ip ::ffff:10.0.0.0/96`, wantErr: `which proves nothing`},
		"IPv4 translated":               {matcher: `remote_ip ::ffff:0:0:0/96`, wantErr: `which proves nothing`},
		"IPv4 compatible":               {matcher: `remote_ip ::/96`, wantErr: `which proves nothing`},
		"a wide range of no zone":       {matcher: `remote_ip 1.0.0.0/8%`, wantErr: `which proves nothing`},
		"a wide range by a variable":    {matcher: `remote_ip {env.UPSTREAM_DIAGNOSTICS_WIDE}`, wantErr: `which proves nothing`},
		"NAT64 by a masked address":     {matcher: `vars {http.request.remote.host/16,96} 64:ff9b::/96`, wantErr: `which proves nothing`},
		"NAT64 by an expression":        {matcher: expression(`ph(req, "http.request.remote.host/16,96") == "64:ff9b::/96"`), wantErr: `which proves nothing`},
		"NAT64 of a list":               {matcher: expression(`ph(req, "http.request.remote.host/16,96") in ["10.20.0.0/16", "64:ff9b::/96"]`), wantErr: `which proves nothing`},
		"NAT64 by an expression's call": {matcher: expression(`remote_ip("64:ff9b::/96")`), wantErr: `which proves nothing`},
		"a field by a variable not set": {matcher: `header X-Token {env.UPSTREAM_DIAGNOSTICS_NOT_SET}`, wantErr: inside + `GET http://example.com/ from 192.0.2.1 with the header of Firefox and X-Token: `},

		// client_ip is what the client says where proxies are trusted without strict.
		"client_ip, trusted":                  {matcher: `client_ip 10.20.0.0/16`, servers: "trusted_proxies static 127.0.0.1", wantErr: `details[0] looks at client_ip, which any client of a trusted proxy can forge here: the server has trusted_proxies without trusted_proxies_strict`},
		"client_ip by expression, trusted":    {matcher: expression(`path("/x") && client_ip("10.20.0.0/16")`), servers: "trusted_proxies static private_ranges", wantErr: `looks at client_ip`},
		"client_ip by a placeholder, trusted": {matcher: `vars {client_ip} 10.20.0.5`, servers: "trusted_proxies static private_ranges", wantErr: `looks at client_ip`},
		"client_ip by a variable, trusted":    {matcher: `vars client_ip 10.20.0.5`, servers: "trusted_proxies static private_ranges", wantErr: `looks at client_ip`},
		"client_ip, trusted on a socket":      {matcher: `client_ip 10.20.0.0/16`, servers: "trusted_proxies_unix", wantErr: `looks at client_ip`},
		"client_ip, trusted strictly":         {matcher: `client_ip 10.20.0.0/16`, servers: "trusted_proxies static 127.0.0.1\ntrusted_proxies_strict"},
		"client_ip, nobody trusted":           {matcher: `client_ip 10.20.0.0/16`},
		"remote_ip, trusted":                  {matcher: `remote_ip 10.20.0.0/16`, servers: "trusted_proxies static 127.0.0.1"},
		"remote_ip but for a client, trusted": {matcher: "{\nremote_ip 10.20.0.0/16\nnot client_ip 10.20.0.1\n}", servers: "trusted_proxies static 127.0.0.1"},

		// Proofs.
		"an address":              {matcher: `remote_ip 10.20.0.0/16`},
		"private addresses":       {matcher: `remote_ip private_ranges`},
		"an address and a path":   {matcher: expression(`remote_ip("10.20.0.0/16") && path("/x")`)},
		"an address or another":   {matcher: expression(`remote_ip("10.20.0.0/16") || {remote_host} == "10.30.0.1"`)},
		"a private network":       {matcher: `remote_ip 10.0.0.0/8 fd00::/8`},
		"an organisation's":       {matcher: `remote_ip 198.51.0.0/16 2a02:6b8::/32`},
		"a network by NAT64":      {matcher: `remote_ip 64:ff9b::c633:6400/120 ::1 ::ffff:10.0.0.0/104`},
		"a network by 6to4":       {matcher: `remote_ip 2002:c633:6407::/48`},
		"a masked address":        {matcher: `vars {http.request.remote.host/24,64} 198.51.100.0/24`},
		"an address of a list":    {matcher: expression(`["10.20.0.1", "10.20.0.2"].exists(a, a == {remote_host})`)},
		"an address, not a field": {matcher: "{\nremote_ip 10.20.0.0/16\nheader !X-Public\n}"},
		"a user":                  {matcher: `vars {http.auth.user.id} ops`},
		"a user of some":          {matcher: expression(`{http.auth.user.id} in ["ann", "bob"]`)},
		"any user that there is":  {matcher: `vars_regexp {http.auth.user.id} .+`},
		"any user, a path":        {matcher: expression(`path("/x") && {http.auth.user.id}.matches("^.+$")`)},
		"some user":               {matcher: `vars_regexp {http.auth.user.id} ^ops-`},
		"a certificate":           {matcher: `vars {tls_client_subject} CN=ops`},
		"a certificate's key":     {matcher: `vars {tls_client_fingerprint} ` + strings.Repeat("0102", 16)},

		// A client's own word, taken.
		"a field":                {matcher: `header X-Token secret`, warns: `the header field X-Token`},
		"a field by pattern":     {matcher: `header_regexp X-Token ^secret`, warns: `the header field X-Token`},
		"a cookie":               {matcher: `vars {cookie.token} secret`, warns: `the cookie token`},
		"a field by expression":  {matcher: expression(`{header.X-Token} == "secret"`), warns: `the header field X-Token`},
		"a field by a matcher":   {matcher: expression(`header({"X-Token": ["secret"]}) && path("/x")`), warns: `the header field X-Token`},
		"an address or a field":  {matcher: expression(`remote_ip("10.20.0.0/16") || header({"X-Token": "secret"})`), warns: `X-Token`},
		"an address and a field": {matcher: "{\nremote_ip 10.20.0.0/16\nheader X-Token secret\n}"},
		"a user without braces":  {matcher: `vars http.auth.user.id operator`, warns: `the variable http.auth.user.id (the placeholder of that name has braces, {http.auth.user.id})`},
		"a variable":             {matcher: `vars role operator`, warns: `the variable role`},
		"another's placeholder":  {matcher: `vars {is_operator} yes`, warns: `{is_operator}`},
	} {
		t.Run(name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			config, err := adaptCaddyfile(t, "{\nadmin off\nupstream_diagnostics\npersist_config off\nlog {\noutput discard\n}\n"+l.OfOurs()+
				"\nservers {\n"+tc.servers+"\n}\n}\nhttp://127.0.0.1:0 {\n@ops "+tc.matcher+"\nupstream_diagnostics {\ndetails @ops\n}\nreverse_proxy 127.0.0.1:1\n}\n")
			if err == nil {
				err = validateJSON(t, config)
			} else if !strings.Contains(err.Error(), "Caddyfile:") {
				t.Errorf("no file and line: %v", err)
			}
			wantError(t, err, tc.wantErr)
			if err != nil && strings.Contains(err.Error(), "details") {
				_, expected, _ := strings.Cut(err.Error(), "expected")
				for _, word := range []string{"header", "cookie", "vars"} {
					if strings.Contains(expected, word) {
						t.Errorf("recommends %s: %v", word, err)
					}
				}
			}
			warnings := detailsWarnings(l)
			if tc.warns == "" {
				if len(warnings) > 0 {
					t.Errorf("warns: %v", warnings)
				}
				return
			}
			if len(warnings) != 1 {
				t.Fatalf("%d warnings: %v", len(warnings), warnings)
			}
			if looksAt, _ := warnings[0]["looks_at"].(string); !strings.Contains(looksAt, tc.warns) {
				t.Errorf("warns of %v", warnings[0])
			}
		})
	}
}

// The same in JSON, whose placeholders have their whole names.
func TestDetailsStrangersJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		details string
		wantErr string
	}{
		"a query":                    {`[{"vars": {"{http.request.uri.query.debug}": ["1"]}}]`, `details[0] looks only at vars`},
		"a path":                     {`[{"vars_regexp": {"{http.request.uri}": {"pattern": "."}}}]`, `details[0] looks only at vars_regexp`},
		"an expression's object":     {`[{"expression": {"expr": "{http.request.uri.path} == \"/debug\"", "name": "remote_ip"}}]`, `details[0] looks only at expression`},
		"an expression's proof":      {`[{"expression": {"expr": "remote_ip('10.20.0.0/16')", "name": "ops"}}]`, ``},
		"the second set":             {`[{"remote_ip": {"ranges": ["10.20.0.1"]}}, {"remote_ip": {"ranges": ["192.0.2.0/24"]}}]`, `details[1] lets a stranger in`},
		"an expression of no text":   {`[{"expression": 1}]`, `details[0]: expression`},
		"a negation of a negation":   {`[{"not": [{"not": [{"remote_ip": {"ranges": ["10.20.0.1"]}}]}]}]`, `details[0] looks only at not`},
		"a certificate's fields":     {`[{"vars": {"{http.request.tls.client.san.emails.0}": ["ops@example.com"]}}]`, ``},
		"what a module makes of it":  {`[{"vars": {"{http.auth.user.role}": ["ops"]}}]`, ``},
		"a variable of Caddy's own":  {`[{"vars": {"trusted_proxy": ["true"]}}]`, `details[0] looks only at vars`},
		"no value of a user":         {`[{"vars": {"{http.auth.user.id}": [""]}}]`, `details[0] looks only at vars`},
		"no values of a user at all": {`[{"vars": {"{http.auth.user.id}": []}}]`, `details[0] looks only at vars`},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, validateHandler(t, `{"handler": "upstream_diagnostics", "details": `+tc.details+`}`), tc.wantErr)
		})
	}
}

// Whoever comes by a trusted proxy can put an address of its own in front of what the
// proxy appends.
func TestDetailsForwardedFor(t *testing.T) {
	const spoofed = "X-Forwarded-For: 10.20.0.5, 203.0.113.9"
	site := "@ops client_ip 10.20.0.0/16\nupstream_diagnostics {\ndetails @ops\n}\nreverse_proxy " + testcaddy.Dead(t)
	options := "servers {\ntrusted_proxies static 127.0.0.1\n%s\n}"
	c := testcaddy.StartWith(t, strings.ReplaceAll(options, "%s", "trusted_proxies_strict"), site)
	if a := c.Get("/", spoofed); a.Status != 502 || strings.Contains(a.Body, "connection_refused") {
		t.Errorf("a stranger is an operator: %s", a.Body)
	}
	if a := c.Get("/", "X-Forwarded-For: 203.0.113.9, 10.20.0.5"); !strings.Contains(a.Body, "connection_refused") {
		t.Errorf("an operator isn't: %s", a.Body)
	}
	if err := c.Load(strings.ReplaceAll(options, "%s", ""), site); err == nil {
		t.Errorf("accepted without strict; a stranger gets %s", c.Get("/", spoofed).Body)
	}
}

// What a handler of the same server writes is no proof, wherever it stands.
func TestDetailsWriters(t *testing.T) {
	const (
		address   = `client_ip 10.20.0.0/16`
		user      = `vars {http.auth.user.id} ops`
		overwrite = `vars client_ip {header.X-C}`
		mapUser   = "map {header.X-C} {http.auth.user.id} {\n~(.*) \"${1}\"\n}"
		refused   = `site 127.0.0.1: details[0] looks at `
	)
	expression := func(text string) string { return "expression `" + text + "`" }
	const named = "&(named) {\n" + overwrite + "\n}\n"
	for name, tc := range map[string]struct {
		matcher string
		front   string // what stands in front of ours, by Caddy's order or in a route
		behind  string
		outside string // beside the site
		wantErr string
	}{
		"a variable":               {matcher: address, front: overwrite, wantErr: refused + `client_ip, which a vars handler of this server writes (vars client_ip), so that it may be what a client says: expected another name in that handler, or a matcher that proves`},
		"for some requests":        {matcher: address, front: `vars /x client_ip 10.20.0.1`, wantErr: refused + `client_ip`},
		"one of several":           {matcher: address, front: "vars {\na 1\nclient_ip {query.c}\n}", wantErr: refused + `client_ip`},
		"behind ours":              {matcher: address, behind: overwrite, wantErr: refused + `client_ip`},
		"in a handle":              {matcher: address, front: "handle /x {\n" + overwrite + "\n}", wantErr: refused + `client_ip`},
		"in a route of a route":    {matcher: address, front: "route {\nroute /x {\n" + overwrite + "\n}\n}", wantErr: refused + `client_ip`},
		"in a named route":         {matcher: address, outside: named, front: "invoke named", wantErr: refused + `client_ip`},
		"in another site":          {matcher: address, outside: "http://other.example:0 {\nbind 127.0.0.1\n" + overwrite + "\n}\n", wantErr: refused + `client_ip`},
		"in an error's routes":     {matcher: address, behind: "handle_errors {\n" + overwrite + "\n}", wantErr: refused + `client_ip`},
		"in an answer's routes":    {matcher: address, front: "forward_auth 127.0.0.1:1 {\nuri /\n@any status 2xx\nhandle_response @any {\n" + overwrite + "\n}\n}", wantErr: refused + `client_ip`},
		"in an intercept":          {matcher: address, front: "intercept {\n@any status 2xx\nhandle_response @any {\n" + overwrite + "\n}\n}", wantErr: refused + `client_ip`},
		"a name that is asked for": {matcher: address, front: `vars {query.name} {query.value}`, wantErr: refused + `client_ip, which a vars handler of this server writes (vars {http.request.uri.query.name})`},
		"a part of a name":         {matcher: address, front: `vars client_{query.name} 10.20.0.1`, wantErr: refused + `client_ip`},
		"the trusted proxy":        {matcher: address, front: `vars trusted_proxy false`, wantErr: refused + `client_ip, which a vars handler of this server writes (vars trusted_proxy)`},
		"read by its name":         {matcher: `vars client_ip 10.20.0.1`, front: overwrite, wantErr: refused + `client_ip`},
		"read by a placeholder":    {matcher: `vars {client_ip} 10.20.0.1`, front: overwrite, wantErr: refused + `client_ip`},
		"read by an expression":    {matcher: expression(`path("/x") && client_ip("10.20.0.0/16")`), front: overwrite, wantErr: refused + `client_ip`},
		"compared in one":          {matcher: expression(`{client_ip} == "10.20.0.1"`), front: overwrite, wantErr: refused + `client_ip`},

		"a user by map":               {matcher: user, front: mapUser, wantErr: refused + `{http.auth.user.id}, which a map handler of this server writes (map … {http.auth.user.id})`},
		"a user by map, behind":       {matcher: user, behind: "handle /x {\n" + mapUser + "\n}", wantErr: refused + `{http.auth.user.id}`},
		"a user by vars":              {matcher: user, front: `vars http.auth.user.id {header.X-C}`, wantErr: refused + `{http.auth.user.id}, which a vars handler of this server writes (vars http.auth.user.id)`},
		"a user by vars, asked for":   {matcher: user, front: `vars {query.name} {query.value}`, wantErr: refused + `{http.auth.user.id}`},
		"a user by an expression":     {matcher: expression(`{http.auth.user.id} in ["ann", "ops"]`), front: mapUser, wantErr: refused + `{http.auth.user.id}`},
		"a user by a pattern":         {matcher: `vars_regexp {http.auth.user.id} ^ops$`, front: mapUser, wantErr: refused + `{http.auth.user.id}`},
		"what else is known of users": {matcher: `vars {http.auth.user.role} ops`, front: "map {header.X-C} {a} {http.auth.user.role} {\nx 1 ops\n}", wantErr: refused + `{http.auth.user.role}`},
		"a certificate by map":        {matcher: `vars {http.request.tls.client.san.emails.0} ops@example.com`, front: "map {header.X-C} {http.request.tls.client.san.emails.0} {\n~(.*) \"${1}\"\n}", wantErr: refused + `{http.request.tls.client.san.emails.0}`},
		"an address and a user":       {matcher: "{\nremote_ip 10.20.0.0/16\nvars {http.auth.user.id} ops\n}", front: mapUser, wantErr: refused + `{http.auth.user.id}`},

		"another variable":         {matcher: address, front: `vars client {header.X-C}`},
		"another one's beginning":  {matcher: address, front: `vars user_{query.name} 1`},
		"Caddy's own variables":    {matcher: address, front: "root /srv\nlog_skip /x"},
		"the peer's address":       {matcher: `remote_ip 10.20.0.0/16`, front: overwrite},
		"another placeholder":      {matcher: user, front: "map {header.X-C} {user} {\nx ops\n}"},
		"a user, and client_ip":    {matcher: user, front: overwrite},
		"a user by authentication": {matcher: user, front: "basic_auth /x {\nops $2a$14$wvsrOu7rlyGmtGbZaTdlyOtPYZkPBcPSDTZfLxSYi4JnRTVrxjwdC\n}"},
		"in another server":        {matcher: address, outside: "http://127.0.0.1:1 {\n" + overwrite + "\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, options := range []string{"", "upstream_diagnostics"} {
				config, err := adaptCaddyfile(t, "{\nadmin off\n"+options+"\npersist_config off\nauto_https off\nlog {\noutput discard\n}\n}\n"+tc.outside+
					"http://127.0.0.1:0 {\nbind 127.0.0.1\n@ops "+tc.matcher+"\nroute {\n"+tc.front+"\nupstream_diagnostics {\ndetails @ops\n}\n}\n"+tc.behind+"\nreverse_proxy 127.0.0.1:1\n}\n")
				if err != nil {
					t.Fatal(err)
				}
				wantError(t, validateJSON(t, config), tc.wantErr)
			}
		})
	}
}

// The same in JSON, in what is loaded before ours and after it.
func TestDetailsWritersJSON(t *testing.T) {
	const ours = `{"handler": "upstream_diagnostics", "details": [{"client_ip": {"ranges": ["10.20.0.0/16"]}}]}`
	for name, routes := range map[string]string{
		"before": `[{"handle": [{"handler": "subroute", "routes": [{"handle": [{"handler": "vars", "client_ip": "{http.request.header.X-C}"}]}]}]}, {"handle": [` + ours + `]}]`,
		"beside": `[{"handle": [` + ours + `, {"handler": "vars", "client_ip": "{http.request.header.X-C}"}]}]`,
		"after":  `[{"handle": [` + ours + `]}, {"handle": [{"handler": "subroute", "errors": {"routes": [{"handle": [{"client_ip": "{http.request.header.X-C}", "handler": "vars"}]}]}}]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			err := validateConfig(t, `{"http": {"servers": {"srv0": {"listen": ["127.0.0.1:0"], "routes": `+routes+`}}}}`)
			wantError(t, err, `details[0] looks at client_ip, which a vars handler of this server writes (vars client_ip)`)
		})
	}
}

// oddHandler is somebody else's handler that writes a variable.
type oddHandler struct{}

func init() {
	caddy.RegisterModule(oddHandler{})
	httpcaddyfile.RegisterHandlerDirective("odd", func(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		helper.Next()
		return oddHandler{}, nil
	})
}

func (oddHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.odd", New: func() caddy.Module { return new(oddHandler) }}
}

func (oddHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if address := r.Header.Get("X-C"); address != "" {
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, address)
	}
	return next.ServeHTTP(w, r)
}

// What another plugin's handler makes of client_ip can't be known when the config is
// loaded: a client whose address isn't what Caddy finds is no operator, which is said once.
func TestDetailsWrittenByOther(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs()+"\nservers {\ntrusted_proxies static 127.0.0.1\ntrusted_proxies_strict\n}",
		"@ops client_ip 10.20.0.0/16\nroute {\nodd\nupstream_diagnostics {\ndetails @ops\n}\nrequest_header -X-Forwarded-For\nreverse_proxy "+testcaddy.Dead(t)+"\n}")
	const operator = "X-Forwarded-For: 10.20.0.5"
	if a := c.Get("/", operator); !strings.Contains(a.Body, "connection_refused") {
		t.Errorf("an operator isn't: %s", a.Body)
	}
	for range 2 {
		if a := c.Get("/", "X-Forwarded-For: 203.0.113.9", "X-C: 10.20.0.5"); a.Status != 502 || strings.Contains(a.Body, "connection_refused") {
			t.Errorf("a stranger is an operator: %s", a.Body)
		}
	}
	if warnings := detailsWarnings(l); len(warnings) != 1 || !strings.Contains(warnings[0]["error"].(string), "client_ip is 10.20.0.5, and 203.0.113.9 by what reached this directive") {
		t.Errorf("warned: %v", warnings)
	}
}

// Where the server isn't known when details are loaded, the request shows that it
// trusts its proxies too much; it is said once.
func TestDetailsForwardedForUnknown(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	config, err := adaptCaddyfile(t, "{\nadmin off\npersist_config off\nauto_https off\n"+l.OfOurs()+"\nservers {\nprotocols h1\n}\n}\nhttp://127.0.0.1:0 {\n"+
		"@ops client_ip 10.20.0.0/16\nupstream_diagnostics {\ndetails @ops\n}\nreverse_proxy 127.0.0.1:1\n}")
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load([]byte(config), true); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = caddy.Stop() }()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	server := app.(*caddyhttp.App).Servers["srv0"]
	ask := func(strict int) string {
		server.TrustedProxiesUnix, server.TrustedProxiesStrict = true, strict
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
		r.RemoteAddr = "@"
		r.Header.Set("X-Forwarded-For", "10.20.0.5")
		w := httptest.NewRecorder()
		server.ServeHTTP(deadlines{w}, r)
		return w.Body.String()
	}
	if body := ask(1); !strings.Contains(body, "connection_refused") {
		t.Errorf("an operator isn't: %s", body)
	}
	for range 3 {
		if body := ask(0); strings.Contains(body, "connection_refused") {
			t.Errorf("a stranger is an operator: %s", body)
		}
	}
	if warnings := detailsWarnings(l); len(warnings) != 1 || !strings.Contains(warnings[0]["error"].(string), "trusted_proxies_strict") {
		t.Errorf("warned: %v", warnings)
	}
}

// What a forward_auth in front copies to a request is the auth server's word where it
// let the request pass, and else the client's own, which counts for nothing.
func TestDetailsForwardAuth(t *testing.T) {
	auth := func(answer func(w http.ResponseWriter)) string {
		return testcaddy.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { answer(w) })
	}
	admin := auth(func(w http.ResponseWriter) { w.Header().Set("Remote-Groups", "users,admins") })
	user := auth(func(w http.ResponseWriter) { w.Header().Set("Remote-Groups", "users") })
	nobody := auth(func(http.ResponseWriter) {})
	renamed := auth(func(w http.ResponseWriter) { w.Header().Set("X-Said", "users,admins") })
	unwell := auth(func(w http.ResponseWriter) {
		w.Header().Set("Remote-Groups", "users,admins")
		w.WriteHeader(http.StatusBadGateway)
	})
	down, none := testcaddy.Dead(t), testcaddy.Dead(t)
	handWritten := func(to string) string {
		return "reverse_proxy " + to + " {\nmethod GET\nrewrite /auth\n@good status 2xx\nhandle_response @good {\n" +
			"request_header Remote-Groups {http.reverse_proxy.header.Remote-Groups}\n}\n}"
	}
	byCaddy := func(to string) string { return "forward_auth " + to + " {\nuri /auth\ncopy_headers Remote-Groups\n}" }
	const forged = "Remote-Groups: users,admins"
	for name, tc := range map[string]struct {
		front   string // what stands between ours and the application
		options string // global ones
		outside string // beside the site
		matcher string // header Remote-Groups *admins* by default
		fields  []string
		want    bool
		warns   bool
	}{
		"the auth server is down":              {front: byCaddy(down), fields: []string{forged}},
		"it answers an error":                  {front: byCaddy(unwell), fields: []string{forged}},
		"it is down, set in front":             {options: "order request_header first", front: "request_header Remote-Groups {header.X-G}\n" + byCaddy(down), fields: []string{"X-G: users,admins"}},
		"it says user, set in front":           {options: "order request_header first", front: "request_header Remote-Groups {header.X-G}\n" + byCaddy(user), fields: []string{"X-G: users,admins"}},
		"copied of what the client says":       {front: "reverse_proxy " + user + " {\nmethod GET\n@good status 2xx\nhandle_response @good {\nrequest_header Remote-Groups {header.X-G}\n}\n}", fields: []string{"X-G: users,admins"}},
		"it says admin":                        {front: byCaddy(admin), want: true},
		"it says admin, so does the client":    {front: byCaddy(admin), fields: []string{forged}, want: true},
		"it says user, the client admin":       {front: byCaddy(user), fields: []string{forged}},
		"it says nothing, the client admin":    {front: byCaddy(nobody), fields: []string{forged}},
		"it isn't asked":                       {front: "@api path /api/*\nforward_auth @api " + admin + " {\nuri /auth\ncopy_headers Remote-Groups\n}", fields: []string{forged}},
		"renamed":                              {front: "forward_auth " + renamed + " {\nuri /auth\ncopy_headers X-Said>Remote-Groups\n}", want: true},
		"renamed, down":                        {front: "forward_auth " + down + " {\nuri /auth\ncopy_headers X-Said>Remote-Groups\n}", fields: []string{forged}},
		"written by hand":                      {front: handWritten(admin), want: true},
		"written by hand, user":                {front: handWritten(user), fields: []string{forged}},
		"written by hand, down":                {front: handWritten(down), fields: []string{forged}},
		"two, the first said so, then down":    {front: "route {\n" + byCaddy(admin) + "\nforward_auth " + down + " {\nuri /auth\n}\n}", fields: []string{forged}, want: true},
		"in a route":                           {front: "route {\n" + byCaddy(down) + "\n}", fields: []string{forged}},
		"by a placeholder":                     {front: byCaddy(user), matcher: "vars_regexp {header.Remote-Groups} admins", fields: []string{forged}},
		"by a placeholder, and so":             {front: byCaddy(admin), matcher: "vars_regexp {header.Remote-Groups} admins", want: true},
		"by an expression":                     {front: byCaddy(down), matcher: "expression `{header.Remote-Groups}.contains(\"admins\")`", fields: []string{forged}},
		"nobody walked the config":             {options: "admin off", front: byCaddy(down), fields: []string{forged}},
		"nobody walked the config, invoking":   {options: "admin off", front: "invoke named", outside: "&(named) {\nheader X-A b\n}\n", matcher: "header X-Token secret", fields: []string{"X-Token: secret"}, want: true, warns: true},
		"nobody walked the config, a user":     {options: "admin off", front: byCaddy(user), fields: []string{forged}},
		"a field that it doesn't copy":         {front: byCaddy(user), matcher: "header X-Token secret", fields: []string{"X-Token: secret"}, want: true, warns: true},
		"a field, nobody walked the config":    {options: "admin off", front: byCaddy(user), matcher: "header X-Token secret", fields: []string{"X-Token: secret"}, want: true, warns: true},
		"a field that another handler sets":    {front: "request_header X-Token secret", matcher: "header X-Token secret", warns: true},
		"a field that another handler drops":   {front: "request_header -X-Token", matcher: "header X-Token secret", fields: []string{"X-Token: secret"}, want: true, warns: true},
		"a placeholder of a field that is set": {front: "request_header X-Token secret", matcher: "vars {header.X-Token} secret", warns: true},
	} {
		t.Run(name, func(t *testing.T) {
			matcher := tc.matcher
			if matcher == "" {
				matcher = "header Remote-Groups *admins*"
			}
			l := testcaddy.NewLogFile(t)
			c := testcaddy.New(t)
			config := c.Caddyfile(tc.options+"\n"+l.OfOurs(), "@ops "+matcher+"\nupstream_diagnostics {\ndetails @ops\n}\n"+tc.front+"\nreverse_proxy "+none) + tc.outside
			if err := testcaddy.Load(config); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = caddy.Stop() })
			a := c.Get("/", append(tc.fields, "Accept: text/plain")...)
			if a.Status != 502 {
				t.Fatalf("got %d %s", a.Status, a.Body)
			}
			if operator := strings.Contains(a.Body, "Cause "); operator != tc.want {
				t.Errorf("an operator: %v, got %s", operator, a.Body)
			}
			if warnings := detailsWarnings(l); len(warnings) > 0 != tc.warns {
				t.Errorf("warned: %v", warnings)
			}
		})
	}
}

// A user that basic_auth has set is a proof.
func TestDetailsExample(t *testing.T) {
	source, err := os.ReadFile("examples/details/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	c := testcaddy.New(t)
	c.URL = "http://localhost:" + strconv.Itoa(c.Port)
	options := "admin 127.0.0.1:" + strconv.Itoa(c.AdminPort) + "\npersist_config off\nauto_https off\nlog {\noutput discard\n}\n"
	example := strings.NewReplacer("admin localhost:2020\n", options, ":8080", ":"+strconv.Itoa(c.Port), ":8081", ":"+strconv.Itoa(testcaddy.FreePort(t)), "127.0.0.1:9000", testcaddy.Dead(t)).Replace(string(source))
	if err := testcaddy.Load(example); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	for _, test := range []struct {
		user, password string
		status         int
		operator       bool
	}{
		{status: 502},
		{user: "operator", password: "choose-your-own", status: 502, operator: true},
		{user: "operator", password: "wrong", status: 401},
	} {
		r, err := http.NewRequest(http.MethodGet, c.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.user != "" {
			r.SetBasicAuth(test.user, test.password)
		}
		res, err := testcaddy.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != test.status || strings.Contains(string(body), "connection_refused") != test.operator {
			t.Errorf("%s %s: got %d %s", test.user, test.password, res.StatusCode, body)
		}
	}
}

// What a certificate says of its owner is a proof where somebody has verified it.
func TestDetailsCertificate(t *testing.T) {
	dir := t.TempDir()
	newCertificate := func(name string, issuer *tls.Certificate) *tls.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: issuer == nil,
		}
		parent, parentKey := template, any(key)
		if issuer != nil {
			parent, parentKey = issuer.Leaf, issuer.PrivateKey
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	}
	save := func(name, kind string, der []byte) string {
		path := filepath.ToSlash(filepath.Join(dir, name))
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := newCertificate("authority", nil)
	server, operator, forger := newCertificate("server", authority), newCertificate("ops", authority), newCertificate("ops", nil)
	key, err := x509.MarshalECPrivateKey(server.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := "trust_pool file " + save("ca.pem", "CERTIFICATE", authority.Leaf.Raw)
	files := `"` + save("server.pem", "CERTIFICATE", server.Leaf.Raw) + `" "` + save("server.key", "EC PRIVATE KEY", key) + `"`
	for name, tc := range map[string]struct {
		clientAuth string
		with       *tls.Certificate
		variable   bool // the set reads one that is made of it
		want       bool
		warns      int
	}{
		"verified":                    {"mode verify_if_given\n" + pool, operator, false, true, 0},
		"verified for another name":   {"mode verify_if_given\n" + pool, operator, false, false, 1},
		"none":                        {"mode verify_if_given\n" + pool, nil, false, false, 0},
		"requested, a forger's":       {"mode request", forger, false, false, 1},
		"required, a forger's":        {"mode require", forger, false, false, 1},
		"requested, a good one":       {"mode request\n" + pool, operator, false, false, 1},
		"a variable, verified":        {"mode verify_if_given\n" + pool, operator, true, true, 1},
		"a variable, a forger's":      {"mode require", forger, true, true, 1}, // as it was warned
		"a variable without anything": {"mode request", nil, true, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			port, adminPort := testcaddy.FreePort(t), testcaddy.FreePort(t)
			l, subject := testcaddy.NewLogFile(t), "{tls_client_subject}"
			if tc.variable {
				subject = "subject"
			}
			err := testcaddy.Load("{\nadmin 127.0.0.1:" + strconv.Itoa(adminPort) + "\npersist_config off\nauto_https off\nlog {\noutput discard\n}\n" + l.OfOurs() + "\nservers {\nprotocols h1\nstrict_sni_host insecure_off\n}\n}\n" +
				"https://localhost:" + strconv.Itoa(port) + ", https://other.localhost:" + strconv.Itoa(port) + " {\nbind 127.0.0.1\ntls " + files + " {\nclient_auth {\n" + tc.clientAuth + "\n}\n}\n" +
				"vars subject {tls_client_subject}\n@ops vars " + subject + " CN=ops\nupstream_diagnostics {\ndetails @ops\n}\nreverse_proxy " + testcaddy.Dead(t) + "\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = caddy.Stop() })
			roots := x509.NewCertPool()
			roots.AddCert(authority.Leaf)
			config := &tls.Config{RootCAs: roots}
			if tc.with != nil { // whatever authorities the server names
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.with, nil }
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost:"+strconv.Itoa(port), nil)
			if err != nil {
				t.Fatal(err)
			}
			if name == "verified for another name" { // as by another site's authorities
				req.Host = "other.localhost:" + strconv.Itoa(port)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 502 || strings.Contains(string(body), "connection_refused") != tc.want {
				t.Errorf("got %d %s", res.StatusCode, body)
			}
			if warnings := detailsWarnings(l); len(warnings) != tc.warns {
				t.Errorf("warned: %v", warnings)
			}
		})
	}
}

// oddMatcher is a matcher of somebody else's.
type oddMatcher struct {
	Does string `json:"does,omitempty"`
}

func init() { caddy.RegisterModule(oddMatcher{}) }

func (oddMatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.odd", New: func() caddy.Module { return new(oddMatcher) }}
}

func (m oddMatcher) MatchWithError(r *http.Request) (bool, error) {
	switch m.Does {
	case "hang":
		<-r.Context().Done()
	case "panic":
		panic("odd")
	}
	return false, errors.New("odd")
}

// deadlines makes of a recorder what tells a server's own writer: it sets a connection's
// deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetReadDeadline(time.Time) error  { return nil }
func (deadlines) SetWriteDeadline(time.Time) error { return nil }

// handlerWith is a handler outside of any server, with these details.
func handlerWith(t *testing.T, details string) *Handler {
	t.Helper()
	h := new(Handler)
	if err := caddy.StrictUnmarshalJSON([]byte(`{"details": `+details+`}`), h); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Cleanup() })
	return h
}

// A matcher that hangs, panics or fails lets nobody in, holds up no load, and is told
// of once.
func TestDetailsOddMatchers(t *testing.T) {
	defer func(before time.Duration) { strangersTimeout = before }(strangersTimeout)
	strangersTimeout = 50 * time.Millisecond
	for _, does := range []string{"hang", "panic", "fail"} {
		t.Run(does, func(t *testing.T) {
			core, logged := observer.New(zapcore.WarnLevel)
			h := handlerWith(t, `[{"odd": {"does": "`+does+`"}}]`)
			h.logger = zap.New(core)
			for range 3 {
				gone, leave := context.WithTimeout(t.Context(), time.Millisecond)
				r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil).WithContext(gone)
				if h.seesDetails(caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)) {
					t.Error("an operator")
				}
				leave()
			}
			if entries := logged.All(); len(entries) != 1 || !strings.Contains(entries[0].ContextMap()["error"].(string), "odd") {
				t.Errorf("logged: %v", entries)
			}
		})
	}
}

// A request that goes well pays for details only where they look at its fields.
func TestDetailsCost(t *testing.T) {
	allocations := func(details string) float64 {
		h := handlerWith(t, details)
		h.place.Heard = true
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusNoContent)
			return nil
		})
		w := httptest.NewRecorder()
		return testing.AllocsPerRun(200, func() {
			r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil), caddy.NewReplacer(), nil, nil)
			r.Header.Set("User-Agent", "test")
			if err := h.ServeHTTP(w, r, next); err != nil {
				t.Fatal(err)
			}
		})
	}
	none := allocations(`[]`)
	for name, tc := range map[string]struct {
		details string
		pays    bool
	}{
		"address":    {`[{"remote_ip": {"ranges": ["10.20.0.0/16"]}}]`, false},
		"user":       {`[{"vars": {"{http.auth.user.id}": ["ops"]}}]`, false},
		"expression": {`[{"expression": "remote_ip('10.20.0.0/16') && path('/x')"}]`, false},
		"field":      {`[{"header": {"X-Token": ["secret"]}}]`, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := allocations(tc.details); (got > none) != tc.pays {
				t.Errorf("%v allocations, %v without details", got, none)
			}
		})
	}
}
