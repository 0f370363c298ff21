package cause

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// destinationCause is that of a WebDAV server's refusal to copy or move a file to another
// server. COPY and MOVE name the target by a whole URL, of which the upstream knows only
// what Caddy asks it as; a scheme or a host of the visitor's is another server's to it. RFC
// 4918 has 502 for that (sections 9.8.5 and 9.9.4), nginx answers 400.
func destinationCause(a *listen.Attempt) finding {
	if a.Request == nil || a.Request.Method != "COPY" && a.Request.Method != "MOVE" ||
		a.Status != http.StatusBadGateway && a.Status != http.StatusBadRequest || a.Header.Get("Proxy-Status") != "" {
		return nothing
	}
	to, err := url.Parse(a.Request.Header.Get("Destination"))
	if err != nil || to.Host == "" || !plainHost(to.Host) || !plainHost(a.Request.Host) {
		return nothing
	}
	scheme := "http"
	if a.TLS {
		scheme = "https"
	}
	otherHost := !strings.EqualFold(to.Host, a.Request.Host)
	if strings.EqualFold(to.Scheme, scheme) && !otherHost {
		return nothing
	}
	f := found(UpstreamStatus,
		"the upstream answered "+strconv.Itoa(a.Status)+" to "+a.Request.Method,
		"Destination: "+cut(to.Scheme+"://"+to.Host, maxOrigin)+", and the upstream is asked as "+cut(scheme+"://"+a.Request.Host, maxOrigin)+": to it that is another server (RFC 4918)")
	f.side = failure.SideProxy
	if otherHost {
		return f.advise("Set header_up Destination ^[a-z]+://[^/]+ " + scheme + "://" + a.Request.Host + " in reverse_proxy, or leave the visitor's Host as it is: the upstream copies and moves only to its own name.")
	}
	return f.advise("Set header_up Destination ^" + strings.ToLower(to.Scheme) + ": " + scheme + ": in reverse_proxy: TLS ends at Caddy, and the upstream copies and moves only to its own " + scheme + ".")
}

// maxOrigin is how much is kept of a scheme and a host in such a line.
const maxOrigin = 70

// plainHost says that a host is a name or an address, with or without a port, and short
// enough for an advice.
func plainHost(host string) bool {
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-_:[]", rune(c)) {
			return false
		}
	}
	return host != "" && len(host) <= 253
}
