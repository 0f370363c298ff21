package diagnostics

import (
	"net/http"
	"net/url"
	"strings"
)

// origin is what a request says of the page that made a browser send it, kept as it
// came: handlers behind us may change the request.
type origin struct {
	origin, host, method string
	count                int
	tls                  bool
	// site, mode and dest are what a browser says of a request by itself (Fetch
	// Metadata).
	site, mode, dest string
}

func originFrom(r *http.Request) origin {
	o := origin{host: r.Host, method: r.Method, count: len(r.Header["Origin"]), tls: r.TLS != nil}
	o.site, o.mode, o.dest = r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	if o.count > 0 {
		o.origin = r.Header["Origin"][0]
	}
	return o
}

// foreign says whether a page of another site made the browser send the request: it
// comes with the visitor's address and credentials, and its answer is the other site's
// to read where CORS lets it. Without TLS the scheme is left open, for a proxy in front
// may have ended it.
func (o origin) foreign() bool {
	if o.count == 0 {
		// A link to here is followed in a window of its own, whosever it is; anything else
		// is a part of the other site's page, or a form of it whose Origin was taken out on
		// the way.
		fromOther := o.site == "cross-site" || o.site == "same-site"
		link := o.mode == "navigate" && o.dest == "document" && (o.method == http.MethodGet || o.method == http.MethodHead)
		return fromOther && !link
	}
	from, err := url.Parse(o.origin)
	if err != nil || o.count > 1 || from.Host == "" || (&url.URL{Scheme: from.Scheme, Host: from.Host}).String() != o.origin {
		return true // "null" among them
	}
	port, known := defaultPorts[from.Scheme]
	if !known || o.tls && from.Scheme != "https" {
		return true
	}
	own := url.URL{Host: o.host}
	portOf := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return port
	}
	return !strings.EqualFold(from.Hostname(), own.Hostname()) || portOf(from) != portOf(&own)
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}
