package upstreams

import (
	"fmt"
	"sync"
	"testing"
	"time"
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
		{"the shortest counts", nil, []time.Duration{time.Minute, 7 * time.Second, time.Minute}, 5 * time.Second},
		{"between the two", []time.Duration{3 * time.Second, time.Second}, []time.Duration{5200 * time.Millisecond, 7 * time.Second}, 4 * time.Second},
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
			var l Learnt
			for _, idle := range test.worked {
				l.IdleWorked("app:80", idle)
			}
			for _, idle := range test.died {
				l.IdleDied("app:80", idle)
			}
			got, ok := l.Idle("app:80").Keepalive()
			if ok != (test.want > 0) || ok && got != test.want {
				t.Errorf("got %v %v, want %v", got, ok, test.want)
			}
		})
	}
	if _, ok := new(Learnt).Idle("app:80").Keepalive(); ok {
		t.Error("advises without having learnt")
	}
}

func TestLearntIsBounded(t *testing.T) {
	var l Learnt
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range maxLearnt {
				l.IdleWorked(fmt.Sprint("app", worker, ":", i), time.Second)
				l.IdleDied("app:80", time.Duration(i+1))
				l.IdleWorked("app:80", time.Duration(i+1))
			}
		})
	}
	all.Wait()
	if n := l.count.Load(); n > maxLearnt+8 {
		t.Errorf("%d upstreams are known", n)
	}
	if i := l.Idle("app:80"); i != nil && (i.Worked() != maxLearnt || i.Died() != 1) {
		t.Errorf("got %v %v", i.Worked(), i.Died())
	}
}
