package cause

import (
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestRefusedEvidence(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who listens is told on Linux alone")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	listens := ln.Addr().(*net.TCPAddr).AddrPort()
	other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), listens.Port())
	tests := []struct {
		name    string
		refused netip.AddrPort
		want    string
	}{
		{"it listens by now", listens, "somebody listens on " + listens.String() + " now"},
		{"on another address", other, "is listened on at 127.0.0.1, not at 127.0.0.2"},
		{"on a neighbour", netip.AddrPortFrom(listens.Addr(), listens.Port()+1), "somebody listens on "},
		{"not this machine", netip.MustParseAddrPort("192.0.2.1:80"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The list may be one of a second ago, from before it was listened on.
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				got := strings.Join(refusedEvidence(test.refused), "\n")
				if strings.Contains(got, test.want) && (test.want != "" || got == "") {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("got %q, want %q", got, test.want)
				}
			}
		})
	}
}

func TestSocketEvidence(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Join(folder, "not", "there.sock")} {
		got := strings.Join(socketEvidence(path), "\n")
		if !strings.Contains(got, folder+": ") || !strings.Contains(got, "mode d") {
			t.Errorf("%s: got %q", path, got)
		}
		if runtime.GOOS != "windows" && !strings.Contains(got, "Caddy runs as ") {
			t.Errorf("%s: got %q", path, got)
		}
	}
}
