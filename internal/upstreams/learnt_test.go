package upstreams

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

func TestKeepalive(t *testing.T) {
	twice := func(d time.Duration) []time.Duration { return []time.Duration{d, d + time.Millisecond} }
	tests := []struct {
		name         string
		worked, died []time.Duration
		want         time.Duration
	}{
		{"nothing died", []time.Duration{time.Minute}, nil, 0},
		{"one death", []time.Duration{3 * time.Second}, []time.Duration{5 * time.Second}, 0},
		{"nothing worked", nil, twice(5 * time.Second), 4 * time.Second},
		{"the shortest counts", nil, []time.Duration{7200 * time.Millisecond, 7 * time.Second, 7300 * time.Millisecond}, 5 * time.Second},
		{"after other times, as when it restarts", nil, []time.Duration{time.Minute, 7 * time.Second, time.Minute}, 0},
		{"between the two", []time.Duration{3 * time.Second, time.Second}, []time.Duration{5200 * time.Millisecond, 5500 * time.Millisecond}, 4 * time.Second},
		{"close together", []time.Duration{4900 * time.Millisecond}, twice(5 * time.Second), 4 * time.Second},
		{"a round number would be below what worked", []time.Duration{56 * time.Second}, twice(time.Minute), 57 * time.Second},
		{"what worked was longer", []time.Duration{9 * time.Second}, twice(5 * time.Second), 4 * time.Second},
		{"two seconds", nil, twice(2 * time.Second), time.Second},
		{"a balancer's minute", nil, twice(time.Minute), 55 * time.Second},
		{"nginx", nil, twice(75 * time.Second), time.Minute},
		{"two minutes", nil, twice(2 * time.Minute), 90 * time.Second},
		{"minutes", []time.Duration{time.Minute}, twice(10 * time.Minute), 9 * time.Minute},
		{"an hour", nil, twice(time.Hour), 57 * time.Minute},
		{"a second", nil, twice(time.Second), 0},
		{"tiny", nil, twice(time.Microsecond), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				past := new(listen.Past)
				for _, idle := range test.worked {
					past.Answered(idle)
				}
				for _, idle := range test.died {
					time.Sleep(time.Minute) // each is an event of its own
					past.IdleDied(idle)
				}
				got, ok := Keepalive(past)
				if ok != (test.want > 0) || ok && got != test.want {
					t.Errorf("got %v %v, want %v", got, ok, test.want)
				}
			})
		})
	}
	if _, ok := Keepalive(nil); ok {
		t.Error("advises without having learnt")
	}
}

func TestLearntIsBounded(t *testing.T) {
	var l Learnt
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range maxLearnt {
				l.Past(fmt.Sprint("app", worker, ":", i)).Answered(time.Second)
				l.Past("app:80").IdleDied(time.Duration(i+1) * time.Second)
				l.Past("app:80").Answered(time.Duration(i + 1))
			}
		})
	}
	all.Go(func() {
		for range 20 {
			l.Forget(func(past *listen.Past) bool { return past == l.Known("app:80") })
		}
	})
	all.Wait()
	if n := l.count.Load(); n > maxLearnt+8 || int(n) != len(l.All()) {
		t.Errorf("%d upstreams are known", n)
	}
	if past := l.Past("app:80"); past != nil {
		if worked, _, _ := past.Idle(); worked != maxLearnt {
			t.Errorf("worked after %s", worked)
		}
	}
}

// Where too many are known, those make room that nobody asked for longest: not who is asked
// still, nor who is held.
func TestLearntForgets(t *testing.T) {
	var l Learnt
	address := func(n int) string { return fmt.Sprint("10.0.0.1:", n) }
	held := make(map[*listen.Past]bool)
	forget := func() int { return len(l.Forget(func(past *listen.Past) bool { return held[past] })) }
	for n := range maxLearnt - 1 {
		l.Past(address(n)).Answered(0)
		if n == maxLearnt/2 { // the other half comes later
			forget()
		}
	}
	held[l.Known(address(0))] = true
	for range 3 {
		if n := forget(); n != 0 {
			t.Fatalf("there was room, and %d are forgotten", n)
		}
		l.Past(address(1))
	}
	last := l.Past("last:80")
	if last == nil || l.Past("new:80") != nil {
		t.Fatal("as many are known as can be, or not")
	}
	forgotten := l.Forget(func(past *listen.Past) bool { return held[past] })
	if len(forgotten) != mostForgotten || l.count.Load() != maxLearnt-mostForgotten || len(l.All()) != maxLearnt-mostForgotten {
		t.Fatalf("%d are forgotten, %d remain, which are %d", len(forgotten), l.count.Load(), len(l.All()))
	}
	for n := range maxLearnt - 1 {
		switch known := l.Known(address(n)); {
		case known == nil && (n < 2 || n > maxLearnt/2):
			t.Errorf("%s is forgotten", address(n))
		case known != nil && known.LastAnswer().IsZero():
			t.Errorf("%s has another past", address(n))
		}
	}
	if l.Known("last:80") != last || l.Past("new:80") == nil {
		t.Error("there is no room after all, or the last one had to make it")
	}
	// Who is asked still stays, however many come.
	for round := range 3 * maxLearnt / mostForgotten {
		for n := range mostForgotten {
			l.Past(address(10_000 + round*mostForgotten + n))
		}
		l.Past(address(1)) // each asks for it
		l.Past("last:80")
		forget()
	}
	if l.Known(address(0)) == nil || l.Known(address(1)) == nil || l.Known("last:80") != last {
		t.Error("who is held or asked is forgotten")
	}
	if l.Known(address(2)) != nil || l.count.Load() > maxLearnt {
		t.Errorf("who is asked no more stays, or too many are known: %d", l.count.Load())
	}
	// Where all are asked, nobody makes room.
	for n := 100_000; l.Past(address(n)) != nil; n++ {
	}
	for upstream := range l.All() {
		l.Past(upstream)
	}
	if n := forget(); n != 0 {
		t.Errorf("%d are forgotten that somebody asks", n)
	}
}

// What is kept of an upstream's past is small, for there may be many.
func TestPastIsSmall(t *testing.T) {
	if size := reflect.TypeFor[listen.Past]().Size(); size > 64 {
		t.Errorf("%d bytes", size)
	}
}
