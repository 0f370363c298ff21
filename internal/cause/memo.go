package cause

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// A memo keeps what was made of a key, for in a storm of failures the same is made of the
// same again and again. Each key has one place, and the last that came to it stays: what is
// kept is bounded, and nobody waits. A key that is kept must be no part of anything larger.
// Nothing is made so of what a client sent (see asConfigured): that is kept in no other place
// than a record.
type memo[K comparable, V any] struct {
	places [32]atomic.Pointer[remembered[K, V]]
}

// asConfigured says that an attempt went where the config says by itself: no placeholder, no
// dynamic source led there.
func asConfigured(a *listen.Attempt) bool { return a != nil && a.Upstream == a.Address }

type remembered[K comparable, V any] struct {
	key   K
	value V
}

var memoSeed = maphash.MakeSeed()

func (m *memo[K, V]) place(key K) *atomic.Pointer[remembered[K, V]] {
	return &m.places[maphash.Comparable(memoSeed, key)%uint64(len(m.places))]
}

// get gives what is kept of a key.
func (m *memo[K, V]) get(key K) (value V, ok bool) {
	if kept := m.place(key).Load(); kept != nil && kept.key == key {
		return kept.value, true
	}
	return value, false
}

func (m *memo[K, V]) put(key K, value V) {
	m.place(key).Store(&remembered[K, V]{key, value})
}
