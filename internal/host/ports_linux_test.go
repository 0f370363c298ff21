package host

import "testing"

func TestPortsUsedUpNeedsProof(t *testing.T) {
	if proof, ok := LocalPortsUsedUp(); ok {
		t.Skip("this machine really has none left: ", proof)
	}
	if socketsInUse("/proc/net/no-such-file", "TCP:") != 0 {
		t.Error("a file that isn't there counts nothing")
	}
}
