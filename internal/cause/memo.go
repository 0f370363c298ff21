package cause

import (
	"hash/maphash"
	"sync/atomic"
)

// A memo keeps what was made of a key, for in a storm of failures the same is made of the
// same again and again. Each key has one place, and the last that came to it stays: what is
// kept is bounded, and nobody waits. A key that is kept must be no part of anything larger.
type memo[K comparable, V any] struct {
	places [32]atomic.Pointer[remembered[K, V]]
}

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
