package diagnostics

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/typo"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("upstream_diagnostics", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("upstream_diagnostics", parseHandler)
	// In front of forward_auth, handle and php_fastcgi, so that it hears their
	// upstreams too; and of templates, which would run what a page quotes.
	httpcaddyfile.RegisterDirectiveOrder("upstream_diagnostics", httpcaddyfile.Before, "forward_auth")
}

// parseGlobalOption sets up the app. Its syntax is that of App.UnmarshalCaddyfile.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	if existing != nil {
		return nil, d.Err("the global option upstream_diagnostics is given twice")
	}
	return httpcaddyfile.App{
		Name:  "upstream_diagnostics",
		Value: caddyconfig.JSON(app, nil),
	}, nil
}

// parseHandler sets up the handler. Its syntax is that of Handler.UnmarshalCaddyfile.
func parseHandler(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	err := h.unmarshalCaddyfile(helper.Dispenser, func() (caddy.ModuleMap, error) {
		set, _, err := helper.MatcherToken()
		return set, err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	upstream_diagnostics {
//		keep     <n> [<duration>]
//		instance <name>
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume option name
	if err := onlyABlock(d); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		if err := checkFirst(d, seen); err != nil {
			return err
		}
		switch d.Val() {
		case "keep":
			if err := a.unmarshalKeep(d); err != nil {
				return err
			}
		case "instance":
			err := set(d, &a.Instance, func(s string) error { return checkLabel("instance", s) })
			if err != nil {
				return err
			}
		default:
			return unrecognized(d, appOptions, elsewhere{handlerOptions, "is an option of a site's upstream_diagnostics"})
		}
	}
	return nil
}

func (a *App) unmarshalKeep(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 && len(args) != 2 {
		return wrongCount(d, "keep", args)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return d.Errf("keep %q is not a number of failures from 1 to %d%s", args[0], maxKeep, typo.DidYouMean(keepMeant(args[0])))
	}
	a.Keep = n
	if err := checkKeep(n); err != nil {
		return d.WrapErr(err)
	}
	if len(args) == 1 {
		return nil
	}
	keepFor, err := caddy.ParseDuration(args[1])
	if err != nil {
		return d.Errf("keep_for %q is not a duration from 1m to 8760h%s", args[1], typo.DidYouMean(keepForMeant(args[1])))
	}
	a.KeepFor = caddy.Duration(keepFor)
	if err := checkKeepFor(keepFor); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	upstream_diagnostics [<matcher>] {
//		site      <label>
//		page      public|minimal|off
//		template  <file>
//		details   @<matcher>
//		intercept <status>...
//		brand {
//			name        <text>
//			logo        <file>
//			logo_only
//			support     <url|mailto:|tel:>
//			status_page <url>
//		}
//		retry_after       auto|off|<duration>
//		proxy_status_name <name>
//		keep_query        <key>...
//		keep_headers      <field>...
//		client_ip         full|masked|off
//		language          auto|<tag>
//		languages         <dir>
//	}
//
// The matcher of details is one of the site's, so it is known only to the directive,
// not here.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.unmarshalCaddyfile(d, nil)
}

// unmarshalCaddyfile reads the directive; namedMatcher reads the next argument and
// returns the matcher set of that name.
func (h *Handler) unmarshalCaddyfile(d *caddyfile.Dispenser, namedMatcher func() (caddy.ModuleMap, error)) error {
	d.Next() // consume directive name
	if err := onlyABlock(d); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		if err := checkFirst(d, seen); err != nil {
			return err
		}
		if err := h.unmarshalSubdirective(d, namedMatcher); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalSubdirective(d *caddyfile.Dispenser, namedMatcher func() (caddy.ModuleMap, error)) error {
	switch name := d.Val(); name {
	case "details":
		return h.unmarshalDetails(d, namedMatcher)
	case "brand":
		h.Brand = new(Brand)
		return h.Brand.unmarshalCaddyfile(d)
	case "intercept":
		return h.unmarshalIntercept(d)
	case "keep_query":
		return arguments(d, &h.KeepQuery, checkKeepQuery)
	case "keep_headers":
		return arguments(d, &h.KeepHeaders, checkKeepHeaders)
	case "site":
		return set(d, &h.Site, func(s string) error { return checkLabel("site", s) })
	case "template":
		return set(d, &h.Template, checkTemplate)
	case "page":
		return set(d, &h.Page, func(s string) error {
			if err := checkPage(s); err != nil {
				return err
			}
			return checkIntercept(h.Intercept, s)
		})
	case "retry_after":
		return set(d, &h.RetryAfter, func(s string) error {
			_, err := parseRetryAfter(s)
			return err
		})
	case "proxy_status_name":
		return set(d, &h.ProxyStatusName, checkProxyStatusName)
	case "client_ip":
		return set(d, &h.ClientIP, checkClientIP)
	case "language":
		return set(d, &h.Language, checkLanguage)
	case "languages":
		return set(d, &h.Languages, checkLanguages)
	default:
		return unrecognized(d, handlerOptions, elsewhere{appOptions, "is an option of the global upstream_diagnostics"},
			elsewhere{brandOptions, "stands inside of brand"}, elsewhere{dashboardOptions, "is an option of upstream_dashboard"})
	}
}

// unmarshalDetails takes a named matcher only: of a path or a * nobody could say that
// it was meant as a guard.
func (h *Handler) unmarshalDetails(d *caddyfile.Dispenser, namedMatcher func() (caddy.ModuleMap, error)) error {
	if namedMatcher == nil {
		return d.Err("details needs the named matchers of a site, which are not known here")
	}
	args := d.RemainingArgs()
	if len(args) != 1 || !strings.HasPrefix(args[0], "@") {
		return d.Errf("details %q is not one named matcher: define one in this site, as %s, and name it here, as details @operators%s",
			strings.Join(args, " "), exampleMatcher("@operators", args), typo.DidYouMean(matcherMeant(args)))
	}
	d.Prev()
	matchers, err := namedMatcher()
	if err != nil {
		return d.Errf("details: %w: define it in this site, as %s", err, exampleMatcher(args[0], nil))
	}
	if err := checkDetails("details "+args[0], matchers); err != nil {
		return d.WrapErr(err)
	}
	h.DetailsRaw = caddyhttp.RawMatcherSets{matchers}
	return nil
}

func (h *Handler) unmarshalIntercept(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return wrongCount(d, "intercept", args)
	}
	for _, arg := range args {
		digits := arg
		if class, isClass := strings.CutSuffix(strings.ToLower(arg), "xx"); isClass && len(class) == 1 {
			digits = class
		}
		status, err := strconv.Atoi(digits)
		if err != nil || !isIntercepted(status) {
			return d.Errf("intercept %q is not a status from 500 to 599, nor 5xx for all of them%s", arg, cmp.Or(othersThan5xx(status), typo.DidYouMean(separated("intercept", arg))))
		}
		h.Intercept = append(h.Intercept, status)
	}
	if err := checkIntercept(h.Intercept, h.Page); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (b *Brand) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := onlyABlock(d); err != nil {
		return err
	}
	seen := make(map[string]bool)
	logoOnly := *d // where that stands: what it needs may come after it
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := checkFirst(d, seen); err != nil {
			return err
		}
		var err error
		switch d.Val() {
		case "name":
			err = set(d, &b.Name, checkBrandName)
		case "logo":
			err = set(d, &b.Logo, checkLogo)
		case "logo_only":
			if d.NextArg() {
				return d.Errf("logo_only takes no argument, got %q: leave the line out for no", d.Val())
			}
			b.LogoOnly, logoOnly = true, *d
		case "support":
			err = set(d, &b.Support, checkSupport)
		case "status_page":
			err = set(d, &b.StatusPage, checkStatusPage)
		default:
			err = unrecognized(d, brandOptions, elsewhere{handlerOptions, "stands outside of brand"})
		}
		if err != nil {
			return err
		}
	}
	if len(seen) == 0 {
		return d.Err("brand is empty: expected a block with name, logo, logo_only, support or status_page")
	}
	if err := b.checkLogoOnly(); err != nil {
		return logoOnly.WrapErr(err)
	}
	return nil
}

// checkFirst refuses a subdirective that stands in its block already: of two values
// one would be ignored.
func checkFirst(d *caddyfile.Dispenser, seen map[string]bool) error {
	if seen[d.Val()] {
		return d.Errf("%s is given twice", d.Val())
	}
	seen[d.Val()] = true
	return nil
}

// What may stand in a block, in the order in which it is documented.
var (
	appOptions     = []string{"keep", "instance"}
	handlerOptions = []string{
		"site", "page", "template", "details", "intercept", "brand",
		"retry_after", "proxy_status_name", "keep_query", "keep_headers", "client_ip",
		"language", "languages",
	}
	brandOptions = []string{"name", "logo", "logo_only", "support", "status_page"}
)

// takes is what stands behind an option, as the documentation has it.
var takes = map[string]string{
	"keep": "<n> [<duration>]", "instance": "<name>",
	"site": "<label>", "page": "public|minimal|off", "template": "<file>", "details": "@<matcher>", "intercept": "<status>...",
	"name": "<text>", "logo": "<file>", "support": "<url|mailto:|tel:>", "status_page": "<url>",
	"retry_after": "auto|off|<duration>", "proxy_status_name": "<name>", "keep_query": "<key>...", "keep_headers": "<field>...",
	"client_ip": "full|masked|off", "language": "auto|<tag>", "languages": "<dir>",
}

// wrongCount is d.ArgErr with what was expected.
func wrongCount(d *caddyfile.Dispenser, option string, args []string) error {
	return d.Errf("%w: expected %s %s%s", argErr(d), option, takes[option], typo.DidYouMean(quoted(option, args)))
}

// onlyABlock refuses an argument where there is none but a matcher: options stand in the
// block.
func onlyABlock(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("%w: options stand in a block, one a line", argErr(d))
	}
	return nil
}

// argErr is d.ArgErr without the place, which stands behind the whole.
func argErr(d *caddyfile.Dispenser) error {
	return fmt.Errorf("wrong argument count or unexpected line ending after '%s'", d.Val())
}

// elsewhere are options that have another place, and the words for it.
type elsewhere struct {
	options []string
	thatIs  string
}

// unrecognized refuses what is not expected here.
func unrecognized(d *caddyfile.Dispenser, expected []string, others ...elsewhere) error {
	hint := typo.DidYouMean(typo.Nearest(strings.ToLower(d.Val()), expected))
	for _, other := range others {
		if slices.Contains(other.options, d.Val()) {
			hint = " (" + d.Val() + " " + other.thatIs + ")"
		}
	}
	return d.Errf("unrecognized subdirective %q: expected one of %s%s", d.Val(), strings.Join(expected, ", "), hint)
}

// set reads the one argument of the subdirective into field.
func set(d *caddyfile.Dispenser, field *string, check func(string) error) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) != 1 {
		return wrongCount(d, name, args)
	}
	value := args[0]
	if value == "" {
		return d.Errf("%s is empty: leave it out for the default", name)
	}
	*field = value
	if err := check(value); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// arguments reads the arguments of the subdirective into field, at least one.
func arguments(d *caddyfile.Dispenser, field *[]string, check func([]string) error) error {
	name := d.Val()
	if *field = d.RemainingArgs(); len(*field) == 0 {
		return wrongCount(d, name, nil)
	}
	if err := check(*field); err != nil {
		return d.WrapErr(err)
	}
	return nil
}
