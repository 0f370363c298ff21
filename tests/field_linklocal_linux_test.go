package tests

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// A link-local address is on no link until its zone says on which
// (caddy.community/t/caddy-ipv6-reverse-proxy-throws-connect-invalid-argument/24805).
func TestLinkLocalAddressWithoutItsInterface(t *testing.T) {
	address, ok := linkLocal()
	if !ok {
		t.Skip("no interface has a link-local address")
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		t.Skip(err)
	}
	app := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.NotFoundHandler()}}
	app.Start()
	defer app.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy ["+address.WithZone("").String()+"]:"+port)
	c.Get("/")
	wantRecord(t, c, "unknown failed connect proxy", "EINVAL", "does not say by which interface", "[fe80::1%eth0]:8080", "request_sent no")

	c = testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy ["+address.String()+"]:"+port)
	if a := c.Get("/"); a.Status != http.StatusNotFound {
		t.Errorf("as the advice says: %d %s", a.Status, a.Body)
	}
}

// linkLocal finds a link-local address of this machine, with its zone.
func linkLocal() (netip.Addr, bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, addr := range addrs {
			if p, err := netip.ParsePrefix(addr.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
				return p.Addr().WithZone(i.Name), true
			}
		}
	}
	return netip.Addr{}, false
}
