package diagnostics

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/parser"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// proof is how much a matcher knows of who the client is.
type proof int

const (
	// noProof is had of what is asked for and how, and of anything that fits all.
	noProof proof = iota
	// wordOnly is what nobody but the client says, or what can't be told: it is no
	// proof, but somebody may want it so.
	wordOnly
	// proven is who sent the request, or nobody at all.
	proven
)

// testimony is what a matcher set looks at, and what that proves.
type testimony struct {
	proof proof
	// fields, cookies and others are what it takes at its word: of the request, and
	// what can't be told from here (variables, other modules).
	fields, cookies, others []string
	// placeholders are those that it takes as a proof.
	placeholders []string
	// address says that it looks at an address, clientIP at client_ip, certificate at
	// what a client certificate says of its owner.
	address, clientIP, certificate bool
	// key says that it looks at what only a certificate's owner can have, which only the
	// whole of it proves: Caddy makes some of it of nothing, too.
	key bool
}

// and is the testimony of two that must both fit, or that of either.
func (t testimony) and(other testimony) testimony { return t.with(other, max(t.proof, other.proof)) }
func (t testimony) or(other testimony) testimony  { return t.with(other, min(t.proof, other.proof)) }

func (t testimony) with(other testimony, p proof) testimony {
	return testimony{
		proof:        p,
		fields:       append(slices.Clone(t.fields), other.fields...),
		cookies:      append(slices.Clone(t.cookies), other.cookies...),
		others:       append(slices.Clone(t.others), other.others...),
		placeholders: append(slices.Clone(t.placeholders), other.placeholders...),
		address:      t.address || other.address,
		clientIP:     t.clientIP || other.clientIP,
		certificate:  t.certificate || other.certificate,
		key:          t.key || other.key,
	}
}

// atMost is t where it proves no more than p.
func (t testimony) atMost(p proof) testimony {
	t.proof = min(t.proof, p)
	return t
}

// fitting says whether a pattern for what t looks at fits a stranger: anything that
// comes to its mind, no name where it has none, its address.
func (t testimony) fitting(pattern string) bool {
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return false // Caddy says what is wrong with it
	}
	samples := []string{""}
	if t.proof == wordOnly {
		samples = []string{"", "0", "7", "q", "Zk", "wq-7", "ö", strangerText}
	}
	return slices.ContainsFunc(samples, expression.MatchString)
}

// witness says what matchers look at. vouched says of which request fields somebody
// else than the client has the word; it may be nil.
type witness struct {
	vouched func(field string) bool
}

// askedMatchers look at what is asked for and how, not at who asks.
var askedMatchers = []string{"path", "path_regexp", "url_pattern", "file", "query", "method", "host", "protocol", "tls"}

// whoMatchers may look at who asks. Both are Caddy's own.
var whoMatchers = []string{"header", "header_regexp", "vars", "vars_regexp", "remote_ip", "client_ip"}

// set is what a matcher set looks at: all of its matchers must fit.
func (w witness) set(set caddy.ModuleMap) (testimony, error) {
	var t testimony
	for _, name := range slices.Sorted(maps.Keys(set)) {
		var config any
		if err := json.Unmarshal(set[name], &config); err != nil {
			return testimony{}, fmt.Errorf("%s: %w", name, err)
		}
		matcher, err := w.matcher(name, config)
		if err != nil {
			return testimony{}, fmt.Errorf("%s: %w", name, err)
		}
		t = t.and(matcher)
	}
	return t, nil
}

// matcher is what one matcher looks at. A `not` says who the client isn't, never who
// it is.
func (w witness) matcher(name string, config any) (testimony, error) {
	switch name {
	case "not":
		return testimony{}, nil
	case "expression":
		return w.expression(config)
	case "remote_ip":
		return testimony{proof: ownRanges(config)}, nil
	case "client_ip":
		return testimony{proof: ownRanges(config), clientIP: true}, nil
	case "header", "header_regexp":
		return w.header(config), nil
	case "vars", "vars_regexp":
		return w.vars(config), nil
	}
	if slices.Contains(askedMatchers, name) || !looksFor(config) {
		return testimony{}, nil
	}
	return testimony{proof: wordOnly, others: []string{name}}, nil
}

// header is what header and header_regexp look at: each field must fit one of its
// values, or its pattern.
func (w witness) header(config any) testimony {
	var t testimony
	fields, _ := config.(map[string]any)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		t = t.and(w.wanted(w.field(field), fields[field]))
	}
	return t
}

// vars is what vars and vars_regexp look at: one of the variables must fit one of its
// values, or its pattern.
func (w witness) vars(config any) testimony {
	keys, _ := config.(map[string]any)
	if len(keys) == 0 {
		return testimony{}
	}
	t := testimony{proof: proven}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		t = t.or(w.wanted(w.variableOrPlaceholder(key), keys[key]))
	}
	return t
}

// wanted is what is left of t where one of these values is wanted, or what fits the
// pattern.
func (w witness) wanted(t testimony, wanted any) testimony {
	switch wanted := wanted.(type) {
	case string:
		if strings.Trim(wanted, "*") == "" || t.address && !ownAddresses([]any{wanted}) || t.key && !areKeys([]any{wanted}) {
			return t.atMost(noProof)
		}
		// What a value is compared to may itself be the client's to say.
		for _, name := range placeholdersIn(wanted) {
			if !isConstant(name) {
				t = t.or(w.placeholder(name)).atMost(noProof)
			}
		}
		return t
	case []any:
		if len(wanted) == 0 || t.address && !ownAddresses(wanted) || t.key && !areKeys(wanted) {
			return t.atMost(noProof)
		}
		result := t
		for _, value := range wanted {
			result = result.or(w.wanted(t, value))
		}
		return result
	case map[string]any:
		pattern, _ := wanted["pattern"].(string)
		// Patterns of addresses fit strangers' too: ^10 does 100.1.2.3.
		if pattern == "" || t.address || t.key || t.fitting(pattern) {
			return t.atMost(noProof)
		}
		return t
	}
	return t.atMost(noProof)
}

func (w witness) variableOrPlaceholder(key string) testimony {
	if names := placeholdersIn(key); len(names) == 1 && "{"+names[0]+"}" == key {
		return w.placeholder(names[0])
	}
	return w.variable(key)
}

// askedFields are what is asked for and how, not who asks.
var askedFields = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Connection", "Content-Encoding", "Content-Length",
	"Content-Type", "Expect", "Host", "Range", "Te", "Transfer-Encoding", "Upgrade",
}

// field is what a field of the request proves.
func (w witness) field(name string) testimony {
	switch {
	case slices.Contains(askedFields, http.CanonicalHeaderKey(name)):
		return testimony{}
	case w.vouched != nil && w.vouched(name):
		return testimony{proof: proven, fields: []string{name}}
	}
	return testimony{proof: wordOnly, fields: []string{name}}
}

// variable is what one of Caddy's variables proves.
func (w witness) variable(name string) testimony {
	switch name {
	case caddyhttp.ClientIPVarKey:
		return testimony{proof: proven, address: true, clientIP: true}
	case caddyhttp.TrustedProxyVarKey, "start_time", "uuid":
		return testimony{}
	}
	if strings.HasPrefix(name, "http.") {
		return testimony{proof: wordOnly, others: []string{"the variable " + name + " (the placeholder of that name has braces, {" + name + "})"}}
	}
	return testimony{proof: wordOnly, others: []string{"the variable " + name}}
}

// aside are the beginnings of placeholders that say nothing of who the client is.
var aside = []string{
	"http.request.", "http.regexp.", "http.matchers.", "http.error", "http.response.", "http.intercept.", "http.reverse_proxy.",
	"http.shutting_down", "http.time_until_shutdown", "http.upstream_diagnostics.", "time.", "env.", "file.", "system.",
}

// certificateSecrets are what of a client certificate only its owner can have, whoever
// issued it.
var certificateSecrets = []string{"fingerprint", "public_key", "public_key_sha256", "certificate_pem", "certificate_der_base64"}

// areKeys says whether all of these may be the whole of a fingerprint, a key or a
// certificate, and none that of nothing.
func areKeys(values []any) bool {
	return len(values) > 0 && !slices.ContainsFunc(values, func(value any) bool {
		text, _ := value.(string)
		return len(placeholdersIn(text)) == 0 && (len(text) < shortestKey || strings.EqualFold(text, hashOfNothing))
	})
}

const (
	// shortestKey is less than the fingerprint of a certificate, a SHA-256 in hexadecimal,
	// or any key.
	shortestKey = 32
	// hashOfNothing is the fingerprint that Caddy gives a client without a certificate.
	hashOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// masked is what a client's address proves of which only the first bits are left, such as
// 16 or 16,64 for IPv4 and IPv6: nothing where networks are that wide which are nobody's own.
func masked(bits string) testimony {
	widest := [...]int{mostIPv4Bits, mostIPv6Bits}
	for i, text := range strings.SplitN(bits, ",", len(widest)) {
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < widest[i] {
			return testimony{}
		}
	}
	return testimony{proof: proven, address: true}
}

// placeholder is what a placeholder proves.
func (w witness) placeholder(name string) testimony {
	if name == "http.request.remote" || name == "http.request.remote.host" {
		return testimony{proof: proven, address: true, placeholders: []string{name}}
	}
	for prefix, of := range map[string]func(rest string) testimony{
		"http.request.remote.host/": masked,
		"http.request.tls.client.": func(rest string) testimony {
			key := slices.Contains(certificateSecrets, rest)
			return testimony{proof: proven, certificate: !key, key: key, placeholders: []string{name}}
		},
		"http.auth.user.":      func(string) testimony { return testimony{proof: proven, placeholders: []string{name}} },
		"http.request.header.": w.field,
		"http.request.cookie.": func(rest string) testimony { return testimony{proof: w.field("Cookie").proof, cookies: []string{rest}} },
		"http.vars.":           w.variable,
	} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return of(rest)
		}
	}
	if slices.ContainsFunc(aside, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
		return testimony{}
	}
	return testimony{proof: wordOnly, others: []string{"{" + name + "}"}}
}

// isConstant says whether a placeholder is the owner's to say.
func isConstant(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.") || strings.HasPrefix(name, "system.")
}

var placeholderPattern = regexp.MustCompile(`\{([^{}\s]+)\}`)

func placeholdersIn(s string) []string {
	var names []string
	for _, match := range placeholderPattern.FindAllStringSubmatch(s, -1) {
		names = append(names, match[1])
	}
	return names
}

// Of public addresses a set may have so many: an organisation has an IPv4 /16 or an IPv6
// /32 to itself, hardly more. Networks that are nobody's on the internet may be of any size.
const (
	mostIPv4Bits   = 16
	mostIPv6Bits   = 32
	mostWideRanges = 16
)

var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"), // RFC 6890
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"), // RFC 4193, 4291
}

// translated are the ranges of IPv6 addresses that have an IPv4 address in them, and
// at which of their bits: so much of the IPv4 internet may come by them.
var translated = []struct {
	in       netip.Prefix
	at       int
	inverted bool
}{
	{in: netip.MustParsePrefix("::/96"), at: 96},                     // RFC 4291, IPv4-compatible
	{in: netip.MustParsePrefix("::ffff:0:0/96"), at: 96},             // RFC 4291, IPv4-mapped
	{in: netip.MustParsePrefix("::ffff:0:0:0/96"), at: 96},           // RFC 2765, IPv4-translated
	{in: netip.MustParsePrefix("64:ff9b::/96"), at: 96},              // RFC 6052, NAT64
	{in: netip.MustParsePrefix("64:ff9b:1::/48"), at: 96},            // RFC 8215, NAT64 of one's own
	{in: netip.MustParsePrefix("2001::/32"), at: 96, inverted: true}, // RFC 4380, Teredo
	{in: netip.MustParsePrefix("2002::/16"), at: 16},                 // RFC 3056, 6to4
}

// ipv4In is the range of IPv4 addresses that are in those of an IPv6 range.
func ipv4In(p netip.Prefix) (netip.Prefix, bool) {
	for _, t := range translated {
		if !t.in.Overlaps(p) {
			continue
		}
		all := p.Addr().As16()
		address := [4]byte(all[t.at/8:])
		for i := range address {
			if t.inverted {
				address[i] = ^address[i]
			}
		}
		return netip.PrefixFrom(netip.AddrFrom4(address), min(max(p.Bits()-t.at, 0), 32)).Masked(), true
	}
	return netip.Prefix{}, false
}

// isWide says that a range has more public addresses than most have to themselves, tooWide
// that nobody has it. Bits behind the range's are 0.
func isWide(p netip.Prefix) (wide, tooWide bool) {
	for _, private := range privateRanges {
		if private.Contains(p.Addr()) && p.Bits() >= private.Bits() {
			return false, false
		}
	}
	if ipv4, ok := ipv4In(p); ok {
		return isWide(ipv4)
	}
	most := mostIPv6Bits
	if p.Addr().Is4() {
		most = mostIPv4Bits
	}
	return p.Bits() <= most, p.Bits() < most
}

// ownRanges says what ranges of addresses prove: nothing, where the client has a say in
// them, or a part of the internet is in them that nobody has to themselves.
func ownRanges(config any) proof {
	fields, _ := config.(map[string]any)
	ranges, _ := fields["ranges"].([]any)
	if !looksFor(fields["ranges"]) || !ownAddresses(ranges) {
		return noProof
	}
	return proven
}

// ownAddresses says whether somebody can have all these addresses and ranges to themselves.
func ownAddresses(ranges []any) bool {
	wideRanges := 0
	for _, r := range ranges {
		text, _ := r.(string)
		if slices.ContainsFunc(placeholdersIn(text), func(name string) bool { return !isConstant(name) }) {
			return false
		}
		// As Caddy reads it: an address's zone is apart.
		text, _, _ = strings.Cut(caddy.NewReplacer().ReplaceAll(text, ""), "%")
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			continue // one address, or Caddy says what is wrong with it
		}
		wide, tooWide := isWide(prefix.Masked())
		if wide {
			wideRanges++
		}
		if tooWide || wideRanges > mostWideRanges {
			return false
		}
	}
	return true
}

// looksFor reports whether a matcher was given something to look for.
func looksFor(config any) bool {
	switch config := config.(type) {
	case nil:
		return false
	case string:
		return config != ""
	case []any:
		return slices.ContainsFunc(config, looksFor)
	case map[string]any:
		for _, value := range config {
			if looksFor(value) {
				return true
			}
		}
		return false
	}
	return true
}

// In an expression Caddy puts a call in the place of a placeholder (celmatcher.go).
var (
	celPlaceholder = regexp.MustCompile(`([^\\]|^){([a-zA-Z][\w.-]+)}`)
	celEscaped     = regexp.MustCompile(`\\{([a-zA-Z][\w.-]+)}`)
)

// expression is what an expression looks at: a text, or an object that has it.
func (w witness) expression(config any) (testimony, error) {
	text, ok := config.(string)
	if object, isObject := config.(map[string]any); isObject {
		text, ok = object["expr"].(string)
	}
	if !ok {
		return testimony{}, errors.New("is neither a text nor an object with expr")
	}
	text = celPlaceholder.ReplaceAllString(text, `${1}`+caddyhttp.CELPlaceholderFuncName+`(`+caddyhttp.CELRequestVarName+`, "${2}")`)
	text = celEscaped.ReplaceAllString(text, `{${1}}`)
	p, err := parser.NewParser()
	if err != nil {
		return testimony{}, err
	}
	parsed, faults := p.Parse(common.NewTextSource(text))
	if len(faults.GetErrors()) > 0 {
		return testimony{}, errors.New(faults.ToDisplayString())
	}
	return w.cel(parsed.Expr()), nil
}

// cel is what must be so of the client where an expression is true.
func (w witness) cel(e ast.Expr) testimony {
	if e.Kind() == ast.LiteralKind && e.AsLiteral().Value() == false {
		return testimony{proof: proven} // nobody
	}
	if e.Kind() != ast.CallKind {
		return w.compared(e)
	}
	call := e.AsCall()
	args := call.Args()
	switch name := call.FunctionName(); {
	case name == celop.LogicalAnd:
		return w.cel(args[0]).and(w.cel(args[1]))
	case name == celop.LogicalOr:
		return w.cel(args[0]).or(w.cel(args[1]))
	case name == celop.Conditional:
		return w.cel(args[0]).and(w.cel(args[1])).or(w.cel(args[2]))
	case name == celop.LogicalNot:
		return testimony{}
	case !call.IsMemberFunction() && slices.Contains(askedMatchers, name):
		return testimony{}
	case !call.IsMemberFunction() && slices.Contains(whoMatchers, name):
		t, _ := w.matcher(name, celConfig(name, args)) // only an expression gives an error
		return t
	}
	return w.compared(e)
}

// compared is what a comparison proves, which is no more than the least of what it
// reads: nothing, where many values would do, and nothing of the client's own word
// unless that must be something definite.
func (w witness) compared(e ast.Expr) testimony {
	c := comparison{witness: w, testimony: testimony{proof: proven}}
	c.read(e, false)
	t := c.testimony
	ownWord := len(t.fields)+len(t.cookies) > 0
	switch {
	case !c.reads, c.indefinite, t.address && (c.inPart || !ownAddresses(c.texts)), t.key && (c.inPart || !areKeys(c.texts)), slices.ContainsFunc(c.patterns, t.fitting):
		return t.atMost(noProof)
	case ownWord && t.proof == wordOnly && (!c.definite || c.proven):
		return t.atMost(noProof) // what a proof is compared to may itself be the client's to say
	}
	return t
}

type comparison struct {
	witness
	testimony testimony
	// reads says that it reads anything at all, proven that some of it is proven.
	reads, proven bool
	// definite says that there is a value in it to compare to, indefinite that many
	// values would do; patterns are those that must fit.
	definite, indefinite bool
	patterns             []string
	// texts are what there is to compare to.
	texts []any
	// inPart says that something else than the whole of a value is looked at: its
	// beginning, its size.
	inPart bool
}

// read reads a part of the comparison; compared says that it is compared to another.
func (c *comparison) read(e ast.Expr, compared bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		switch value := e.AsLiteral().Value().(type) {
		case string:
			c.texts = append(c.texts, value)
			c.definite = c.definite || value != ""
			c.indefinite = c.indefinite || value == ""
		case bool:
			c.indefinite = c.indefinite || !value
		}
	case ast.SelectKind:
		c.read(e.AsSelect().Operand(), compared)
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			c.read(element, compared)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			c.read(entry.AsMapEntry().Key(), compared)
			c.read(entry.AsMapEntry().Value(), compared)
		}
	case ast.CallKind:
		c.readCall(e.AsCall(), compared)
	case ast.UnspecifiedExprKind, ast.ComprehensionKind, ast.IdentKind, ast.StructKind:
	}
}

func (c *comparison) readCall(call ast.CallExpr, compared bool) {
	args, name := call.Args(), call.FunctionName()
	switch name {
	case caddyhttp.CELPlaceholderFuncName:
		var t testimony // of a name that is known only when it is evaluated
		if len(args) == 2 && celText(args[1]) != "" {
			t = c.placeholder(celText(args[1]))
		}
		c.reads, c.proven, c.testimony = true, c.proven || t.proof == proven, c.testimony.or(t)
		return
	case celop.LogicalAnd, celop.LogicalOr, celop.LogicalNot, celop.Conditional,
		celop.NotEquals, celop.Less, celop.LessEquals, celop.Greater, celop.GreaterEquals:
		c.indefinite = true
	case celop.Equals, celop.In:
		c.indefinite = c.indefinite || compared // its opposite may be what is asked for
		compared = true
	case celop.Add, celop.Exists, celop.ExistsOne: // makes a text; looks for one of a list
	case "matches":
		if len(args) > 0 {
			c.patterns = append(c.patterns, celText(args[len(args)-1]))
		}
		c.inPart = true
	default:
		c.inPart = true
	}
	if call.IsMemberFunction() {
		c.read(call.Target(), compared)
	} else if slices.Contains(askedMatchers, name) || slices.Contains(whoMatchers, name) {
		c.indefinite = true // as above
	}
	for _, arg := range args {
		c.read(arg, compared)
	}
}

// celConfig is what the arguments of a matcher's function stand for in JSON.
func celConfig(name string, args []ast.Expr) any {
	switch name {
	case "remote_ip", "client_ip":
		ranges := make([]any, len(args))
		for i, arg := range args {
			ranges[i] = celText(arg)
		}
		return map[string]any{"ranges": ranges}
	case "header", "vars":
		if len(args) != 1 || args[0].Kind() != ast.MapKind {
			return nil
		}
		config := make(map[string]any)
		for _, entry := range args[0].AsMap().Entries() {
			value := entry.AsMapEntry().Value()
			if value.Kind() != ast.ListKind {
				config[celText(entry.AsMapEntry().Key())] = celText(value)
				continue
			}
			values := []any{}
			for _, element := range value.AsList().Elements() {
				values = append(values, celText(element))
			}
			config[celText(entry.AsMapEntry().Key())] = values
		}
		return config
	case "header_regexp", "vars_regexp": // a name may stand in front
		if len(args) < 2 {
			return nil
		}
		return map[string]any{celText(args[len(args)-2]): map[string]any{"pattern": celText(args[len(args)-1])}}
	}
	return nil
}

// celText is a text as it would stand in JSON; "" where it isn't one.
func celText(e ast.Expr) string {
	if e.Kind() == ast.LiteralKind {
		text, _ := e.AsLiteral().Value().(string)
		return text
	}
	if e.Kind() != ast.CallKind {
		return ""
	}
	args := e.AsCall().Args()
	switch e.AsCall().FunctionName() {
	case caddyhttp.CELPlaceholderFuncName:
		if len(args) == 2 {
			return "{" + celText(args[1]) + "}"
		}
	case celop.Add:
		if len(args) == 2 {
			return celText(args[0]) + celText(args[1])
		}
	}
	return ""
}

// whyAddressesDoNot says why the addresses of a set prove nothing, where those of one's own
// network would.
func whyAddressesDoNot(set caddy.ModuleMap) string {
	for _, name := range []string{"remote_ip", "client_ip"} {
		var config map[string]any
		if err := json.Unmarshal(set[name], &config); err != nil {
			continue // it isn't there
		}
		if !looksFor(config["ranges"]) {
			return " (" + name + " names no address)"
		}
		return fmt.Sprintf(" (some addresses of %s may be anybody's: a range of public ones is an IPv4 /%d or an IPv6 /%d at most)", name, mostIPv4Bits, mostIPv6Bits)
	}
	return ""
}

// names says what a set looks at, for people.
func names(set caddy.ModuleMap) string {
	names := slices.Sorted(maps.Keys(set))
	for i, name := range names {
		var keys map[string]any
		if json.Unmarshal(set[name], &keys) == nil && len(keys) > 0 && strings.HasPrefix(name, "vars") {
			names[i] = name + " " + strings.Join(slices.Sorted(maps.Keys(keys)), " ")
		}
	}
	return strings.Join(names, ", ")
}

// taken is what t takes at its word, for people.
func (t testimony) taken() string {
	var words []string
	for _, field := range t.fields {
		words = append(words, "the header field "+field)
	}
	for _, cookie := range t.cookies {
		words = append(words, "the cookie "+cookie)
	}
	words = append(words, t.others...)
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

// readsFields says whether a set may look at fields of the request; of what isn't
// Caddy's own nobody knows.
func readsFields(set caddy.ModuleMap) bool {
	for name, raw := range set {
		known := slices.Contains(askedMatchers, name) || slices.Contains(whoMatchers, name) || name == "not" || name == "expression"
		if !known || mentionsFields.MatchString(name) || mentionsFields.Match(raw) {
			return true
		}
	}
	return false
}

var mentionsFields = regexp.MustCompile(`(?i)header|cookie`)
