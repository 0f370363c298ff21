package host

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Listener is a TCP socket of this machine on which somebody listens.
type Listener struct {
	Address netip.AddrPort
	// Waiting is how many connections wait there to be accepted.
	Waiting int
	// Backlog is how many may wait, -1 where that isn't known.
	Backlog int

	inode string
}

// Full says that as many wait as may. One that has just been taken away leaves room for
// one more, which is filled as soon as anybody tries again.
func (l Listener) Full() bool { return l.Backlog >= 0 && l.Waiting > 0 && l.Waiting >= l.Backlog }

// Serves says whether who listens there is reached at address.
func (l Listener) Serves(address netip.Addr) bool {
	listening := l.Address.Addr()
	return listening == address || listening.IsUnspecified() && (listening.Is6() || address.Is4())
}

// Ours says whether this very process listens there.
func (l Listener) Ours() bool {
	list, _ := ownSockets.now(time.Now())
	return slices.Contains(list, l.inode)
}

// Listeners lists those who listen on TCP on this machine; known is false where that
// can't be told.
func Listeners() (list []Listener, known bool) { return listeners.now(time.Now()) }

// ListenersNow is Listeners read at this moment: how many wait changes faster.
func ListenersNow() (list []Listener, known bool) { return listening() }

// BoundUDP lists the UDP sockets of this machine to which anybody can send, at this
// moment; known is false where that can't be told.
func BoundUDP() (list []Listener, known bool) { return boundUDP() }

// SocketListened says whether somebody listens on a unix socket of that path, as it was
// named when it was bound: the file that has the path now may be another.
func SocketListened(path string) (listened, known bool) {
	list, known := unixSockets.now(time.Now())
	return slices.Contains(list, path), known
}

// keptFor is how long what was read of this machine is taken for true: a storm of
// failures reads it as often as a single one.
const keptFor = time.Second

var (
	listeners   = kept[Listener]{read: listening}
	ownSockets  = kept[string]{read: socketsOfOurs}
	unixSockets = kept[string]{read: listenedPaths}
	networks    = kept[netip.Prefix]{read: interfaceNetworks}
	routing     = kept[route]{read: routes}
	unresolved  = kept[netip.Addr]{read: unresolvedNeighbours}
	files       = kept[OpenFiles]{read: openFiles}
)

// kept is a list that is read at most once in keptFor.
type kept[T any] struct {
	read func() ([]T, bool)

	mu    sync.Mutex
	at    time.Time
	list  []T
	known bool
}

func (k *kept[T]) now(now time.Time) ([]T, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at.IsZero() || now.Sub(k.at) >= keptFor {
		k.list, k.known = k.read()
		k.at = now
	}
	return k.list, k.known
}
