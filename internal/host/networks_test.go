package host

import (
	"net/netip"
	"testing"
)

func TestNetworks(t *testing.T) {
	list, known := Networks()
	if !known {
		t.Fatal("not known")
	}
	for _, network := range list {
		if got, found := NetworkOf(network.Addr()); !found || !got.Contains(network.Addr()) {
			t.Errorf("%s: %s %v", network, got, found)
		}
		if !Own(network.Addr()) {
			t.Errorf("%s isn't ours", network.Addr())
		}
	}
	stranger := netip.MustParseAddr("198.51.100.1") // RFC 5737
	if network, found := NetworkOf(stranger); found {
		t.Errorf("%s is in %s", stranger, network)
	}
	if Own(stranger) || !Own(netip.MustParseAddr("127.0.0.2")) {
		t.Error("what is ours isn't told")
	}
}

func TestRouteTo(t *testing.T) {
	linuxOnly(t)
	list, known := Networks()
	if !known {
		t.Skip("no networks are known")
	}
	for _, network := range list {
		if network.Bits() == network.Addr().BitLen() || network.Addr().IsLinkLocalUnicast() || network.IsSingleIP() {
			continue
		}
		r, found, known := RouteTo(network.Masked().Addr().Next())
		if !known || found && r.Interface == "" {
			t.Errorf("to %s: %+v %v %v", network, r, found, known)
		}
	}
}
