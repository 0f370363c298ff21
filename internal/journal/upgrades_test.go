package journal

import (
	"strconv"
	"testing"
)

// Ends are told apart up to a bound, and each is told of once.
func TestUpgrades(t *testing.T) {
	var u Upgrades
	if u.Counts() != nil || len(u.Take()) != 0 {
		t.Error("something ended")
	}
	firsts := 0
	for i := range 3 * maxUpgradeEnds {
		if u.Add(UpgradeEnd{Site: "a", Upstream: strconv.Itoa(i), By: EndedByReload}) {
			firsts++
		}
	}
	if firsts != 1 {
		t.Errorf("%d were the first", firsts)
	}
	taken, all := u.Take(), 0
	for _, n := range taken {
		all += n
	}
	if len(taken) != maxUpgradeEnds+1 || all != 3*maxUpgradeEnds || taken[UpgradeEnd{By: EndedByReload}] != 2*maxUpgradeEnds {
		t.Errorf("%d kinds, %d in all", len(taken), all)
	}
	if len(u.Take()) != 0 || !u.Add(UpgradeEnd{By: EndedByUpstream}) {
		t.Error("something is told of twice")
	}
	if c := u.Counts(); c[EndedByReload] != 3*maxUpgradeEnds || c[EndedByUpstream] != 1 {
		t.Errorf("counted %v", c)
	}
}
