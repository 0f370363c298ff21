package upstreams

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestKeepalive(t *testing.T) {
	tests := []struct {
		name         string
		worked, died []time.Duration
		want         time.Duration
	}{
		{"nothing died", []time.Duration{time.Minute}, nil, 0},
		{"nothing worked", nil, []time.Duration{5 * time.Second}, 2 * time.Second},
		{"between the two", []time.Duration{3 * time.Second, time.Second}, []time.Duration{5200 * time.Millisecond, 7 * time.Second}, 4 * time.Second},
		{"close together", []time.Duration{4900 * time.Millisecond}, []time.Duration{5 * time.Second}, 4950 * time.Millisecond},
		{"what worked was longer", []time.Duration{9 * time.Second}, []time.Duration{5 * time.Second}, 2 * time.Second},
		{"minutes", []time.Duration{time.Minute}, []time.Duration{5 * time.Minute}, 3 * time.Minute},
		{"tiny", nil, []time.Duration{time.Microsecond}, time.Millisecond},
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
			if got != test.want || ok != (test.want > 0) {
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
