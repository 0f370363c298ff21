package report

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// The catalogue's samples name an application that nobody has. In the view of one failure
// they name its own, where that is a plain word of a Caddyfile.
var (
	// sampleUpstreams is every upstream that a sample names: one, or the first two of several.
	sampleUpstreams = regexp.MustCompile(`\bapp1:8080 app2:8080|\bapp:(?:8080|8443)\b`)
	// sampleServerName is a name that a sample has TLS ask for.
	sampleServerName = regexp.MustCompile(`\btls_server_name (?:www\.example\.com|app\.internal)`)
	// scheme is what a sample says of the upstream behind it.
	sampleScheme = regexp.MustCompile(`\b(https?|h2c)://$`)

	plainHostPort = regexp.MustCompile(`^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}$`)
	plainName     = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})$`)
)

// Sample is the guide's Caddyfile with the names of f in it, printable.
func (g Guide) Sample(f *failure.Failure) string {
	sample := g.Caddyfile
	if g.CaddyfileAlone != "" && len(poolOf(f)) == 1 {
		sample = g.CaddyfileAlone
	}
	if usesFastCGI(f) {
		sample = forFastCGI(sample)
	}
	return printableLines(withOwnNames(sample, f))
}

// dialingFastCGI begins the error of Caddy's transport fastcgi where it got no connection,
// over which nothing was spoken yet.
const dialingFastCGI = "dialing backend: "

// usesFastCGI says that an upstream of f is asked by FastCGI.
func usesFastCGI(f *failure.Failure) bool {
	return slices.ContainsFunc(f.Attempts, func(a failure.Attempt) bool {
		return a.Role == "" && (a.Protocol == "fastcgi" || strings.HasPrefix(a.Error, dialingFastCGI))
	})
}

// fastCGILimit are the limits of php_fastcgi, by those of the samples. It waits for an
// answer by read_timeout.
var fastCGILimit = map[string]string{
	"dial_timeout": "dial_timeout", "read_timeout": "read_timeout", "write_timeout": "write_timeout", "response_header_timeout": "read_timeout",
}

// forFastCGI is a sample for php_fastcgi, whose limits stand in it without a transport; ""
// where nothing is left. One with a scheme shows what is no FastCGI.
func forFastCGI(sample string) string {
	if strings.Contains(sample, "://") {
		return sample
	}
	const opening, closing = "\ttransport http {\n", "\n\t}"
	sample = strings.Replace(sample, "reverse_proxy ", "php_fastcgi ", 1)
	sample = strings.Replace(sample, "unix//run/app/app.sock", "unix//run/php/php-fpm.sock", 1)
	before, rest, ok := strings.Cut(sample, opening)
	if !ok {
		return sample
	}
	options, after, _ := strings.Cut(rest, closing)
	var kept []string
	for option := range strings.SplitSeq(options, "\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(option), " ")
		if limit := fastCGILimit[name]; limit != "" {
			kept = append(kept, "\t"+limit+" "+value)
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return before + strings.Join(kept, "\n") + after
}

// withOwnNames is a sample with the names of f in it.
func withOwnNames(sample string, f *failure.Failure) string {
	if name := serverName(f); name != "" {
		sample = sampleServerName.ReplaceAllString(sample, "tls_server_name "+name)
	}
	pool := poolOf(f)
	own := f.Upstream
	if own == "" && len(pool) > 0 {
		own = pool[0]
	}
	if !plainHostPort.MatchString(own) {
		return sample
	}
	others := slices.DeleteFunc(slices.Clone(pool), func(name string) bool { return name == own || !plainHostPort.MatchString(name) })
	var drawn strings.Builder
	at := 0
	for _, found := range sampleUpstreams.FindAllStringIndex(sample, -1) {
		named := own
		if strings.Contains(sample[found[0]:found[1]], " ") {
			other := "app2:8080"
			if len(others) > 0 {
				other = others[0]
			}
			named += " " + other
		}
		before := sample[:found[0]]
		if scheme := sampleScheme.FindStringSubmatch(before); scheme != nil && !fits(scheme[1], own) {
			named = sample[found[0]:found[1]] // another port is meant, which nobody here knows
		}
		drawn.WriteString(sample[at:found[0]] + named)
		at = found[1]
	}
	return drawn.String() + sample[at:]
}

// fits says that Caddy takes the port behind that scheme: it refuses one that belongs to
// another.
func fits(scheme, hostPort string) bool {
	port := hostPort[strings.LastIndexByte(hostPort, ':')+1:]
	return !(port == "443" && scheme != "https") && !(port == "80" && scheme == "https")
}

// poolOf are the upstreams that a failure's reverse_proxy is known to choose among.
func poolOf(f *failure.Failure) (names []string) {
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, u := range f.Unavailable {
		add(u.Upstream)
	}
	for i := range f.Attempts {
		if f.Attempts[i].Role == "" {
			add(f.Attempts[i].Upstream)
		}
	}
	return names
}

// serverName is a name that this failure's upstream may be asked for by: one that its
// certificate has, else the site's own, if that is what the visitor asked for. "" for none.
func serverName(f *failure.Failure) string {
	for _, line := range f.Evidence {
		list, ok := strings.CutPrefix(line, failure.CertificateNames)
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(list, ", ") {
			if _, err := netip.ParseAddr(name); err != nil && name != "none" && plainName.MatchString(name) {
				return name
			}
		}
		return ""
	}
	host, _, _ := strings.Cut(f.Request.Host, ":")
	if f.Site == host && strings.Contains(f.Site, ".") && plainName.MatchString(f.Site) {
		return f.Site
	}
	return ""
}
