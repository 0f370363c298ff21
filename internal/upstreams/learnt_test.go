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
	all.Wait()
	if n := l.count.Load(); n > maxLearnt+8 {
		t.Errorf("%d upstreams are known", n)
	}
	if past := l.Past("app:80"); past != nil {
		if worked, _, _ := past.Idle(); worked != maxLearnt {
			t.Errorf("worked after %s", worked)
		}
	}
}

// What is kept of an upstream's past is small, for there may be many.
func TestPastIsSmall(t *testing.T) {
	if size := reflect.TypeFor[listen.Past]().Size(); size > 64 {
		t.Errorf("%d bytes", size)
	}
}
