package journal

import (
	"maps"
	"sync"
)

// Upgrades counts upgraded connections that were ended by somebody else than their client,
// so that many that end at one moment become one line. Its zero value is ready; any
// number of goroutines may use it.
type Upgrades struct {
	mu      sync.Mutex
	counts  map[string]uint64 // by who ended them
	pending map[UpgradeEnd]int
}

// UpgradeEnd is what ends of upgraded connections have in common.
type UpgradeEnd struct {
	Site, Upstream string
	// By is who ended them.
	By string
}

// Who ends upgraded connections that are counted.
const (
	EndedByReload   = "reload"
	EndedByUpstream = "upstream"
)

// maxUpgradeEnds bounds how many are told apart in one line each; what is beyond is
// counted without its upstream.
const maxUpgradeEnds = 100

// Add counts one; first says that nobody waits yet to tell of it.
func (u *Upgrades) Add(end UpgradeEnd) (first bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counts == nil {
		u.counts = make(map[string]uint64)
	}
	u.counts[end.By]++
	if _, known := u.pending[end]; !known && len(u.pending) >= maxUpgradeEnds {
		end = UpgradeEnd{By: end.By}
	}
	first = len(u.pending) == 0
	if u.pending == nil {
		u.pending = make(map[UpgradeEnd]int)
	}
	u.pending[end]++
	return first
}

// Take gives what has not been told of, which is told then.
func (u *Upgrades) Take() map[UpgradeEnd]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.pending
	u.pending = nil
	return taken
}

// Counts says how many were ended by whom, nil for none.
func (u *Upgrades) Counts() map[string]uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.counts)
}
