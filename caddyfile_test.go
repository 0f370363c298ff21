package diagnostics

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// adaptCaddyfile turns a Caddyfile into indented JSON.
func adaptCaddyfile(t *testing.T, source string) (string, error) {
	t.Helper()
	adapter := caddyconfig.GetAdapter("caddyfile")
	adapted, _, err := adapter.Adapt([]byte(source), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, adapted, "", "\t"); err != nil {
		t.Fatalf("the adapter's answer is not JSON: %v\n%s", err, adapted)
	}
	return indented.String(), nil
}

// validateHandler loads a config with h as its only handler, without running it.
func validateHandler(t *testing.T, h string) error {
	t.Helper()
	return validateConfig(t, `{"http": {"servers": {"srv0": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [`+h+`]}]}}}}`)
}

// validateConfig loads a config with these apps, without running it.
func validateConfig(t *testing.T, apps string) error {
	t.Helper()
	return validateJSON(t, `{"admin": {"disabled": true}, "logging": {"logs": {"default": {"writer": {"output": "discard"}}}}, "apps": `+apps+`}`)
}

func validateJSON(t *testing.T, source string) error {
	t.Helper()
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON([]byte(source), config); err != nil {
		t.Fatalf("not a config: %v\n%s", err, source)
	}
	return caddy.Validate(config)
}

// wantError fails unless err says what is expected; "" expects no error.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Fatalf("no error, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Fatalf("error is\n%v\nwant it to contain\n%s", err, want)
	}
}

// Each file holds a Caddyfile, a line of dashes, and the JSON or the error that is
// to come out of it.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source, want, found := strings.Cut(strings.ReplaceAll(string(content), "\r\n", "\n"), "----------\n")
			if want = strings.TrimSpace(want); !found || want == "" {
				t.Fatal("the file has no expectation below a line of dashes")
			}
			got, err := adaptCaddyfile(t, source)
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestUnmarshalHandler(t *testing.T) {
	for name, tc := range map[string]struct {
		block   string
		want    Handler
		wantErr string
	}{
		"nothing":                     {block: ``},
		"site":                        {block: `site shop`, want: Handler{Site: "shop"}},
		"site with spaces":            {block: `site "the shop"`, want: Handler{Site: "the shop"}},
		"site missing":                {block: `site`, wantErr: `wrong argument count or unexpected line ending after 'site': expected site <label>, at Testfile:2`},
		"site twice on a line":        {block: `site a b`, wantErr: `after 'b': expected site <label> (did you mean site "a b"?), at Testfile:2`},
		"site empty":                  {block: `site ""`, wantErr: `site is empty: leave it out for the default`},
		"site blank":                  {block: `site "  "`, wantErr: `site "  " is blank: leave it out for the default, at Testfile:2`},
		"site given twice":            {block: "site a\nsite a", wantErr: `site is given twice, at Testfile:3`},
		"site of a request":           {block: `site {http.request.host}`, wantErr: `placeholders are not expanded here`},
		"site too long":               {block: `site ` + strings.Repeat("a", 129), wantErr: `site is 129 bytes long, more than 128`},
		"site as long as can be":      {block: `site ` + strings.Repeat("a", 128), want: Handler{Site: strings.Repeat("a", 128)}},
		"site not printable":          {block: "site \"a\nb\"", wantErr: `site "a\nb" is not printable text`},
		"site with a block":           {block: "site a {\nb\n}", wantErr: `unrecognized subdirective "{"`},
		"page public":                 {block: `page public`, want: Handler{Page: "public"}},
		"page off":                    {block: `page off`, want: Handler{Page: "off"}},
		"page in capitals":            {block: `page Off`, wantErr: `page "Off" is not one of public, minimal, off (did you mean off?), at Testfile:2`},
		"template":                    {block: `template page.html`, want: Handler{Template: "page.html"}},
		"template missing":            {block: `template`, wantErr: `wrong argument count`},
		"details without a site":      {block: `details @operators`, wantErr: `needs the named matchers of a site`},
		"intercept":                   {block: `intercept 500 5xx 599`, want: Handler{Intercept: []int{500, 5, 599}}},
		"intercept missing":           {block: `intercept`, wantErr: `wrong argument count`},
		"intercept 404":               {block: `intercept 404`, wantErr: `intercept "404" is not a status from 500 to 599, nor 5xx for all of them: other answers of an upstream are left alone`},
		"intercept 600":               {block: `intercept 600`, wantErr: `intercept "600" is not a status from 500 to 599, nor 5xx for all of them, at Testfile:2`},
		"intercept negative":          {block: `intercept -500`, wantErr: `intercept "-500" is not a status`},
		"intercept 4xx":               {block: `intercept 4xx`, wantErr: `intercept "4xx" is not a status from 500 to 599, nor 5xx for all of them: other answers of an upstream are left alone`},
		"intercept 50x":               {block: `intercept 50x`, wantErr: `intercept "50x" is not a status from 500 to 599, nor 5xx for all of them, at Testfile:2`},
		"intercept absurd":            {block: `intercept 99999999999999999999`, wantErr: `is not a status`},
		"intercept before page off":   {block: "intercept 5xx\npage off", wantErr: `page is off: remove one of the two, at Testfile:3`},
		"page off before intercept":   {block: "page off\nintercept 5xx", wantErr: `page is off: remove one of the two, at Testfile:3`},
		"brand":                       {block: "brand {\nname Shop\n}", want: Handler{Brand: &Brand{Name: "Shop"}}},
		"brand and what follows":      {block: "brand {\nname Shop\n}\nsite a", want: Handler{Site: "a", Brand: &Brand{Name: "Shop"}}},
		"brand without a block":       {block: `brand`, wantErr: `brand is empty`},
		"brand with nothing":          {block: "brand {\n}", wantErr: `brand is empty`},
		"brand on one line":           {block: `brand Shop`, wantErr: `wrong argument count`},
		"brand with a typo":           {block: "brand {\nnmae Shop\n}", wantErr: `unrecognized subdirective "nmae": expected one of name, logo, logo_only, support, status_page (did you mean name?), at Testfile:3`},
		"brand name twice":            {block: "brand {\nname a\nname b\n}", wantErr: `name is given twice, at Testfile:4`},
		"brand name too long":         {block: "brand {\nname " + strings.Repeat("a", 129) + "\n}", wantErr: `brand.name is 129 bytes long`},
		"brand name with braces":      {block: "brand {\nname \"{Shop}\"\n}", want: Handler{Brand: &Brand{Name: "{Shop}"}}},
		"support by web":              {block: "brand {\nsupport https://example.com/help\n}", want: Handler{Brand: &Brand{Support: "https://example.com/help"}}},
		"support by mail":             {block: "brand {\nsupport mailto:a@b.example?subject=Help\n}", want: Handler{Brand: &Brand{Support: "mailto:a@b.example?subject=Help"}}},
		"support without an address":  {block: "brand {\nsupport mailto:\n}", wantErr: `brand.support "mailto:" has no mail address after mailto:`},
		"support without mailto":      {block: "brand {\nsupport a@b.example\n}", wantErr: `brand.support "a@b.example" is not an http, https, mailto or tel URL`},
		"support by script":           {block: "brand {\nsupport javascript:alert(1)\n}", wantErr: `is not an http, https, mailto or tel URL`},
		"support without a host":      {block: "brand {\nsupport https:///help\n}", wantErr: `is not an http, https, mailto or tel URL`},
		"status page by mail":         {block: "brand {\nstatus_page mailto:a@b.example\n}", wantErr: `brand.status_page "mailto:a@b.example" is not an http or https URL`},
		"status page without a host":  {block: "brand {\nstatus_page http://:80\n}", wantErr: `is not an http or https URL`},
		"retry_after auto":            {block: `retry_after auto`, want: Handler{RetryAfter: "auto"}},
		"retry_after off":             {block: `retry_after off`, want: Handler{RetryAfter: "off"}},
		"retry_after a day":           {block: `retry_after 1d`, want: Handler{RetryAfter: "1d"}},
		"retry_after too short":       {block: `retry_after 999ms`, wantErr: `retry_after "999ms" is not auto, off or a duration from 1s to 24h, at Testfile:2`},
		"retry_after too long":        {block: `retry_after 25h`, wantErr: `retry_after "25h" is not`},
		"retry_after negative":        {block: `retry_after -5s`, wantErr: `retry_after "-5s" is not`},
		"retry_after without a unit":  {block: `retry_after 120`, wantErr: `retry_after "120" is not`},
		"proxy_status_name":           {block: `proxy_status_name "edge \"1\""`, want: Handler{ProxyStatusName: `edge "1"`}},
		"proxy_status_name not ASCII": {block: `proxy_status_name kanté`, wantErr: `is not printable ASCII`},
		"proxy_status_name two lines": {block: "proxy_status_name \"a\nb\"", wantErr: `is not printable ASCII`},
		"keep_query":                  {block: `keep_query page filter[name]`, want: Handler{KeepQuery: []string{"page", "filter[name]"}}},
		"keep_query missing":          {block: `keep_query`, wantErr: `wrong argument count`},
		"keep_query all":              {block: `keep_query *`, wantErr: `keep_query "*" is not a query key of 1 to 128 bytes (patterns are not supported)`},
		"keep_query with a value":     {block: `keep_query page=1`, wantErr: `keep_query "page=1" is not a query key`},
		"keep_query empty":            {block: `keep_query ""`, wantErr: `keep_query "" is not a query key`},
		"keep_query with too many":    {block: `keep_query ` + strings.Repeat("a ", 65), wantErr: `keep_query has 65 entries, more than 64`},
		"keep_headers":                {block: `keep_headers X-Request-Id Cookie`, want: Handler{KeepHeaders: []string{"X-Request-Id", "Cookie"}}},
		"keep_headers all":            {block: `keep_headers *`, wantErr: `keep_headers "*" is not a field name`},
		"keep_headers with a colon":   {block: `keep_headers X-A:`, wantErr: `keep_headers "X-A:" is not a field name`},
		"keep_headers not ASCII":      {block: `keep_headers X-É`, wantErr: `keep_headers "X-É" is not a field name`},
		"client_ip masked":            {block: `client_ip masked`, want: Handler{ClientIP: "masked"}},
		"client_ip half":              {block: `client_ip half`, wantErr: `client_ip "half" is not one of full, masked, off`},
		"what does not exist":         {block: `persist`, wantErr: `unrecognized subdirective "persist": expected one of site, page, `},
	} {
		t.Run(name, func(t *testing.T) {
			var got Handler
			err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser("upstream_diagnostics {\n" + tc.block + "\n}"))
			wantError(t, err, tc.wantErr)
			if err == nil && !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if err == nil && got.Validate() != nil {
				t.Errorf("Validate refuses what the Caddyfile accepts: %v", got.Validate())
			}
		})
	}
}

func TestUnmarshalHandlerArgument(t *testing.T) {
	err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(`upstream_diagnostics off`))
	wantError(t, err, `wrong argument count or unexpected line ending after 'off': options stand in a block, one a line, at Testfile:1`)
}

func TestUnmarshalApp(t *testing.T) {
	for name, tc := range map[string]struct {
		source  string
		want    App
		wantErr string
	}{
		"nothing":             {source: ``},
		"empty block":         {source: "{\n}"},
		"argument":            {source: `1000`, wantErr: `wrong argument count`},
		"keep":                {source: "{\nkeep 10\n}", want: App{Keep: 10}},
		"keep the most":       {source: "{\nkeep 100000 365d\n}", want: App{Keep: 100_000, KeepFor: caddy.Duration(8760 * time.Hour)}},
		"keep the least":      {source: "{\nkeep 1 1m\n}", want: App{Keep: 1, KeepFor: caddy.Duration(time.Minute)}},
		"keep nothing":        {source: "{\nkeep 0\n}", wantErr: `keep 0 is not a number of failures from 1 to 100000, at Testfile:2`},
		"keep too many":       {source: "{\nkeep 100001\n}", wantErr: `keep 100001 is not a number`},
		"keep an absurd lot":  {source: "{\nkeep 99999999999999999999\n}", wantErr: `keep "99999999999999999999" is not a number of failures`},
		"keep in words":       {source: "{\nkeep many\n}", wantErr: `keep "many" is not a number of failures from 1 to 100000`},
		"keep missing":        {source: "{\nkeep\n}", wantErr: `wrong argument count`},
		"keep with too much":  {source: "{\nkeep 10 1h 1h\n}", wantErr: `wrong argument count`},
		"keep for a moment":   {source: "{\nkeep 10 59s\n}", wantErr: `keep_for 59s is not a duration from 1m to 8760h, at Testfile:2`},
		"keep for ever":       {source: "{\nkeep 10 8761h\n}", wantErr: `keep_for 8761h0m0s is not a duration`},
		"keep for no time":    {source: "{\nkeep 10 0\n}", wantErr: `keep_for 0s is not a duration`},
		"keep for a word":     {source: "{\nkeep 10 ever\n}", wantErr: `keep_for "ever" is not a duration from 1m to 8760h`},
		"keep given twice":    {source: "{\nkeep 10\nkeep 10\n}", wantErr: `keep is given twice, at Testfile:3`},
		"instance":            {source: "{\ninstance edge-1\n}", want: App{Instance: "edge-1"}},
		"instance of a host":  {source: "{\ninstance {env.HOST}\n}", wantErr: `placeholders are not expanded here`},
		"instance missing":    {source: "{\ninstance\n}", wantErr: `wrong argument count`},
		"what does not exist": {source: "{\npersist 10s\n}", wantErr: `unrecognized subdirective "persist": expected one of keep, instance, at Testfile:2`},
	} {
		t.Run(name, func(t *testing.T) {
			var got App
			err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser("upstream_diagnostics " + tc.source))
			wantError(t, err, tc.wantErr)
			if err == nil && !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if err == nil && got.Validate() != nil {
				t.Errorf("Validate refuses what the Caddyfile accepts: %v", got.Validate())
			}
		})
	}
}

// The operator's view is given to those only whose matcher says something of who they are.
func TestDetailsMatcher(t *testing.T) {
	for name, tc := range map[string]struct {
		matcher string // defined in the site
		details string // what stands behind details; default @operators
		wantErr string
	}{
		"address":               {matcher: `remote_ip 192.0.2.1`},
		"client's address":      {matcher: `client_ip 192.0.2.1`},
		"header":                {matcher: `header X-Token secret`},
		"header by pattern":     {matcher: `header_regexp X-Token ^s`},
		"variable":              {matcher: `vars {http.auth.user.id} admin`},
		"expression":            {matcher: "`{http.auth.user.id} == \"ann\"`"},
		"no user is not \"\"":   {matcher: "`{http.auth.user.id} != \"\"`", wantErr: `looks only at expression`},
		"address and path":      {matcher: "{\nremote_ip 192.0.2.1\npath /shop/*\n}"},
		"address and not path":  {matcher: "{\nremote_ip 192.0.2.1\nnot path /shop/*\n}"},
		"path":                  {matcher: `path /shop/*`, wantErr: `details @operators looks only at path, which proves nothing about the client`},
		"path by pattern":       {matcher: `path_regexp ^/`, wantErr: `looks only at path_regexp`},
		"query":                 {matcher: `query debug=1`, wantErr: `looks only at query`},
		"method":                {matcher: `method GET`, wantErr: `looks only at method`},
		"host":                  {matcher: `host example.com`, wantErr: `looks only at host`},
		"protocol":              {matcher: `protocol https`, wantErr: `looks only at protocol`},
		"file":                  {matcher: `file debug.txt`, wantErr: `looks only at file`},
		"not an address":        {matcher: `not remote_ip 192.0.2.1`, wantErr: `looks only at not`},
		"host and not a path":   {matcher: "{\nhost example.com\nnot path /\n}", wantErr: `looks only at host, not`},
		"header left out":       {matcher: `header !X-Public`, wantErr: `looks only at header`},
		"the host as a header":  {matcher: `header Host example.com`, wantErr: `details @operators looks only at header`},
		"an expression of path": {matcher: "expression `path('/shop/*')`", wantErr: `details @operators looks only at expression`},
		"an expression":         {matcher: "expression `remote_ip('192.0.2.0/24')`"},
		"empty set":             {matcher: "{\n}", wantErr: `details @operators is empty, so everybody would see the operator's view`},
		"everything":            {details: `*`, wantErr: `details "*" is not one named matcher: define one in this site, as @operators remote_ip 10.20.0.0/16, and name it here, as details @operators, at Caddyfile:4`},
		"inline path":           {details: `/debug`, wantErr: `details "/debug" is not one named matcher`},
		"a word":                {details: `operators`, wantErr: `details "operators" is not one named matcher`},
		"nothing":               {details: ` `, wantErr: `details "" is not one named matcher`},
		"two":                   {details: `@operators @others`, wantErr: `details "@operators @others" is not one named matcher`},
		"undefined":             {details: `@others`, wantErr: `details: unrecognized matcher name: @others: define it in this site, as @others remote_ip 10.20.0.0/16, at Caddyfile:4`},
		"given twice":           {details: "@operators\ndetails @operators", wantErr: `details is given twice, at Caddyfile:5`},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.matcher == "" {
				tc.matcher = "remote_ip 192.0.2.1"
			}
			if tc.details == "" {
				tc.details = "@operators"
			}
			got, err := adaptCaddyfile(t, ":80 {\nroute {\nupstream_diagnostics {\ndetails "+tc.details+"\n}\n}\n@operators "+tc.matcher+"\n}\n")
			wantError(t, err, tc.wantErr)
			if err == nil && !strings.Contains(got, `"details": [`) {
				t.Errorf("no details in\n%s", got)
			}
		})
	}
}

func TestLoadHandlerJSON(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(quoted)
	}
	missing, err := json.Marshal(filepath.Join(dir, "missing"))
	if err != nil {
		t.Fatal(err)
	}
	directory, err := json.Marshal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		fields  string
		wantErr string
	}{
		"nothing":                 {fields: ``},
		"all of the contract":     {fields: `, "site": "a", "page": "public", "template": "", "details": [{"remote_ip": {"ranges": ["10.20.0.0/16"]}}], "intercept": [502, 5], "brand": {"name": "a", "logo": "", "support": "https://example.com/", "status_page": "https://example.com/"}, "retry_after": "auto", "proxy_status_name": "edge", "keep_query": ["a"], "keep_headers": ["X-A"], "client_ip": "full"`},
		"unknown field":           {fields: `, "pages": "off"`, wantErr: `unknown field "pages"`},
		"page":                    {fields: `, "page": "pubic"`, wantErr: `page "pubic" is not one of public, minimal, off`},
		"intercept":               {fields: `, "intercept": [50]`, wantErr: `intercept 50 is not a status`},
		"intercept, page off":     {fields: `, "intercept": [5], "page": "off"`, wantErr: `page is off`},
		"retry_after":             {fields: `, "retry_after": "soon"`, wantErr: `retry_after "soon"`},
		"client_ip":               {fields: `, "client_ip": "no"`, wantErr: `client_ip "no"`},
		"site":                    {fields: `, "site": "a\u0000b"`, wantErr: `site "a\x00b" is not printable text`},
		"support":                 {fields: `, "brand": {"support": "javascript:alert(1)"}`, wantErr: `brand.support`},
		"status_page":             {fields: `, "brand": {"status_page": "/status"}`, wantErr: `brand.status_page`},
		"proxy_status_name":       {fields: `, "proxy_status_name": "é"`, wantErr: `proxy_status_name`},
		"keep_query":              {fields: `, "keep_query": [""]`, wantErr: `keep_query ""`},
		"keep_headers":            {fields: `, "keep_headers": ["a b"]`, wantErr: `keep_headers "a b"`},
		"details, nobody":         {fields: `, "details": []`},
		"details, empty set":      {fields: `, "details": [{}]`, wantErr: `details[0] is empty`},
		"details, second set":     {fields: `, "details": [{"remote_ip": {"ranges": ["10.20.0.1"]}}, {"path": ["/debug"]}]`, wantErr: `details[1] looks only at path`},
		"details, null":           {fields: `, "details": [{"vars": null}]`, wantErr: `details[0] looks only at vars`},
		"details, no variable":    {fields: `, "details": [{"vars": {}}]`, wantErr: `details[0] looks only at vars`},
		"details, no header":      {fields: `, "details": [{"header": {"X-A": null}}]`, wantErr: `details[0] looks only at header`},
		"details, any header":     {fields: `, "details": [{"header": {"X-A": []}}]`, wantErr: `details[0] looks only at header`},
		"details, empty pattern":  {fields: `, "details": [{"header_regexp": {"User-Agent": {"pattern": ""}}}]`, wantErr: `details[0] looks only at header_regexp`},
		"details, only tls":       {fields: `, "details": [{"tls": {"handshake_complete": true}}]`, wantErr: `details[0] looks only at tls`},
		"details, unknown module": {fields: `, "details": [{"remote_pi": {"ranges": ["192.0.2.1"]}}]`, wantErr: `remote_pi`},
		"template":                {fields: `, "template": ` + write("page.html", "<p>sorry")},
		"template missing":        {fields: `, "template": ` + string(missing), wantErr: `site srv0: template ` + filepath.Join(dir, "missing") + ` does not exist`},
		"template a directory":    {fields: `, "template": ` + string(directory), wantErr: `is not a regular file`},
		"template empty":          {fields: `, "template": ` + write("empty.html", ""), wantErr: `is empty`},
		"template not text":       {fields: `, "template": ` + write("latin1.html", "\xe9"), wantErr: `is not UTF-8 text`},
		"template does not parse": {fields: `, "template": ` + write("broken.html", "<p>\n{{if}}"), wantErr: `broken.html:2`},
		"template too large":      {fields: `, "template": ` + write("large.html", strings.Repeat(" ", maxTemplateBytes+1)), wantErr: `has 1048577 bytes, more than 1048576`},
		"logo":                    {fields: `, "brand": {"logo": ` + write("logo", "<svg xmlns='http://www.w3.org/2000/svg'/>") + `}`},
		"logo missing":            {fields: `, "brand": {"logo": ` + string(missing) + `}`, wantErr: `site srv0: brand.logo ` + filepath.Join(dir, "missing") + ` does not exist`},
		"logo not an image":       {fields: `, "brand": {"logo": ` + write("logo.png", "<p>no image") + `}`, wantErr: `is not a PNG, JPEG, GIF, WebP or SVG image`},
		"logo too large":          {fields: `, "brand": {"logo": ` + write("large.png", "\x89PNG\r\n\x1a\n"+strings.Repeat(" ", maxLogoBytes)) + `}`, wantErr: `has 65544 bytes, more than 65536`},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, validateHandler(t, `{"handler": "upstream_diagnostics"`+tc.fields+`}`), tc.wantErr)
		})
	}
}

func TestLoadAppJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		app     string
		wantErr string
	}{
		"nothing":             {app: `{}`},
		"all of the contract": {app: `{"keep": 1000, "keep_for": "24h", "instance": "edge-1"}`},
		"keep":                {app: `{"keep": -1}`, wantErr: `keep -1 is not a number of failures from 1 to 100000`},
		"keep in words":       {app: `{"keep": "many"}`, wantErr: `keep`},
		"keep_for":            {app: `{"keep_for": "-1h"}`, wantErr: `keep_for -1h0m0s is not a duration from 1m to 8760h`},
		"instance":            {app: `{"instance": "a\nb"}`, wantErr: `instance "a\nb" is not printable text`},
		"unknown field":       {app: `{"kep": 1}`, wantErr: `unknown field "kep"`},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, validateConfig(t, `{"upstream_diagnostics": `+tc.app+`}`), tc.wantErr)
		})
	}
}

// Whatever has an upstream stands behind us, or we would not hear it; templates do
// too, or they would run what our page quotes.
func TestDirectiveOrder(t *testing.T) {
	for directive, wantFirst := range map[string]bool{
		"forward_auth 127.0.0.1:1 {\nuri /\n}":               true,
		"php_fastcgi 127.0.0.1:1":                            true,
		"reverse_proxy 127.0.0.1:1":                          true,
		"handle {\nreverse_proxy 127.0.0.1:1\n}":             true,
		"handle_path /a* {\nreverse_proxy 127.0.0.1:1\n}":    true,
		"route {\nreverse_proxy 127.0.0.1:1\n}":              true,
		"intercept {\nhandle_response {\nrespond \"\"\n}\n}": true,
		"templates":    true,
		"encode gzip":  true,
		"respond 200":  true,
		"header X-A b": false,
		"log_append cause {http.upstream_diagnostics.cause}": false,
		"rewrite * /a": false,
		"basic_auth {\nu $2a$14$AAAAAAAAAAAAAAAAAAAAAAAAAAAA\n}": false,
	} {
		name, _, _ := strings.Cut(directive, " ")
		t.Run(name, func(t *testing.T) {
			adapted, err := adaptCaddyfile(t, ":80 {\n"+directive+"\nupstream_diagnostics\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			var config struct {
				Apps struct {
					HTTP caddyhttp.App `json:"http"`
				} `json:"apps"`
			}
			if err := json.Unmarshal([]byte(adapted), &config); err != nil {
				t.Fatal(err)
			}
			var first struct{ Handler string }
			if err := json.Unmarshal(config.Apps.HTTP.Servers["srv0"].Routes[0].HandlersRaw[0], &first); err != nil {
				t.Fatal(err)
			}
			if gotFirst := first.Handler == "upstream_diagnostics"; gotFirst != wantFirst {
				t.Errorf("ours first: %v, want %v, in\n%s", gotFirst, wantFirst, adapted)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for setting, want := range map[string]retryPolicy{
		"":     {auto: true},
		"auto": {auto: true},
		"off":  {},
		"90s":  {fixed: 90 * time.Second},
		"1d":   {fixed: 24 * time.Hour},
	} {
		t.Run(setting, func(t *testing.T) {
			got, err := (&Handler{RetryAfter: setting}).retryAfter()
			if err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestImageType(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"png":                  {"\x89PNG\r\n\x1a\n…", "image/png"},
		"jpeg":                 {"\xff\xd8\xff…", "image/jpeg"},
		"gif":                  {"GIF89a…", "image/gif"},
		"webp":                 {"RIFF\x00\x00\x00\x00WEBPVP8 …", "image/webp"},
		"bmp":                  {"BM…", ""},
		"svg":                  {"<svg/>", "image/svg+xml"},
		"svg with all before":  {"\ufeff<?xml version='1.0' encoding='ISO-8859-1'?>\n<!-- a --><!DOCTYPE svg>\n<svg width='1'/>", "image/svg+xml"},
		"svg inside html":      {"<html><svg/></html>", ""},
		"text that names svg":  {"svg <", ""},
		"nothing but a prolog": {"<?xml version='1.0'?>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := imageType([]byte(tc.content)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLoadLogo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logo")
	if err := os.WriteFile(path, []byte("<svg/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := (&Handler{Brand: &Brand{Logo: path}}).loadLogo()
	if want := "data:image/svg+xml;base64,PHN2Zy8+"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

var fence = regexp.MustCompile("(?ms)^```(json|caddyfile)\n(.*?)^```")

// What the documents show is what works. A fence of JSON is a whole config or one
// handler; a Caddyfile with <…> or … in it is a description of the syntax.
func TestDocumentedConfigsLoad(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, document := range append(documents, "README.md") {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range fence.FindAllStringSubmatch(strings.ReplaceAll(string(content), "\r\n", "\n"), -1) {
			language, source := match[1], match[2]
			switch {
			case language == "caddyfile" && strings.Contains(source, "upstream_diagnostics") && !strings.ContainsAny(source, "<…"):
				_, err = adaptCaddyfile(t, source)
			case language == "json" && strings.Contains(source, `"handler": "upstream_diagnostics"`) && strings.Contains(source, `"apps"`):
				err = validateJSON(t, source)
			case language == "json" && strings.Contains(source, `"handler": "upstream_diagnostics"`):
				err = validateHandler(t, source)
			case language == "json" && strings.Contains(source, `"remote"`):
				err = validateJSON(t, source)
				config := new(caddy.Config)
				if err == nil {
					err = json.Unmarshal([]byte(source), config)
				}
				if err == nil && config.Admin.Identity == nil {
					err = errors.New("remote administration needs an identity")
				}
			default:
				continue
			}
			examples++
			if err != nil {
				t.Errorf("%s: %v in\n%s", document, err, source)
			}
		}
	}
	if examples == 0 {
		t.Error("the documents have no example")
	}
}
