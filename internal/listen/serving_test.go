package listen

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"
)

func tcp(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

// from is a request that came from that address, to port 80.
func from(address string) *Listener {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = address
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tcp(80)))
	return To(httptest.NewRecorder(), r, nil)
}

// connectTo gives l's attempt a connection with these ends, connect one to port 80.
func connectTo(l *Listener, local, remote net.Addr) *Listener {
	l.Selected("app:80", nil, nil).gotConn(httptrace.GotConnInfo{Conn: end{local: local, remote: remote}})
	return l
}

func connect(l *Listener, local net.Addr) *Listener { return connectTo(l, local, tcp(80)) }

// come is Enter of one that comes now.
func (s *Serving) come(l *Listener) {
	l.start = time.Since(began)
	s.Enter(l)
}

// count is how many are being served.
func (s *Serving) count() (n int) {
	for i := range s.shards {
		n += len(s.shards[i].served) - s.shards[i].gaps
	}
	return n
}

func TestServing(t *testing.T) {
	tests := []struct {
		name string
		ours *Listener
		all  []*Listener
		want bool
	}{
		{"alone", connect(from("127.0.0.1:1000"), tcp(1001)), nil, false},
		{"to itself: no request came by it", connect(from("127.0.0.1:1000"), tcp(1000)), nil, false},
		{"another request came by our connection", connect(from("127.0.0.1:1000"), tcp(1001)), []*Listener{from("127.0.0.1:1001"), from("127.0.0.1:9")}, true},
		{"we came by another's connection", from("127.0.0.1:1001"), []*Listener{from("127.0.0.1:9"), connect(from("127.0.0.1:1000"), tcp(1001))}, true},
		{"our port is a client's by chance, for another destination", connectTo(from("127.0.0.1:1000"), tcp(1001), tcp(8080)), []*Listener{from("127.0.0.1:1001")}, false},
		{"others", connect(from("127.0.0.1:1000"), tcp(1001)), []*Listener{from("127.0.0.1:1002"), connect(from("127.0.0.1:1003"), tcp(1004))}, false},
		{"unix sockets have no names", connect(from("@"), &net.UnixAddr{Name: "@", Net: "unix"}), []*Listener{from("@"), connect(from("@"), &net.UnixAddr{Name: "@", Net: "unix"})}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s Serving
			for _, l := range append(test.all, test.ours) {
				s.come(l)
			}
			if got := s.Loops(test.ours, test.ours.Seal(nil, 0, false)); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			s.Leave(test.ours)
			for _, l := range test.all {
				s.Leave(l)
			}
			if left := s.count(); left > 0 {
				t.Errorf("%d are left", left)
			}
		})
	}
}

// A request that came back is found among thousands of others: from the outside wherever
// it is, because it is looked for where the requests of our connection are; from the
// inside, where it may be anybody's connection, among its neighbours.
func TestServingThousands(t *testing.T) {
	enter := func(s *Serving, others int) {
		for i := range others {
			s.come(connectTo(from("127.0.0.1:"+strconv.Itoa(10000+i)), tcp(20000+i), tcp(8080)))
		}
	}
	for _, test := range []struct {
		name    string
		between int
		inside  bool
	}{
		{"at once", 0, true},
		{"as late as can be", maxNeighbours - 1, true},
		{"too late", maxNeighbours, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s Serving
			outer, inner := connect(from("127.0.0.1:1000"), tcp(1001)), from("127.0.0.1:1001")
			enter(&s, 2000)
			s.come(outer)
			enter(&s, test.between)
			s.come(inner)
			enter(&s, 2000)
			if !s.Loops(outer, outer.Seal(nil, 0, false)) {
				t.Error("not found from the outside")
			}
			if got := s.Loops(inner, inner.Seal(nil, 0, false)); got != test.inside {
				t.Errorf("found from the inside: %v, want %v", got, test.inside)
			}
		})
	}
}

// All that came by one connection are in one place, and no less found: a page's images,
// by HTTP/2.
func TestServingOneConnection(t *testing.T) {
	var s Serving
	var outer []*Listener
	for i := range maxNeighbours {
		outer = append(outer, connect(from("127.0.0.1:1000"), tcp(2000+i)))
		s.come(outer[i])
	}
	first := from("127.0.0.1:2000")
	s.come(first)
	if !s.Loops(first, first.Seal(nil, 0, false)) {
		t.Error("not found from the inside")
	}
	if !s.Loops(outer[0], outer[0].Seal(nil, 0, false)) {
		t.Error("not found from the outside")
	}
}

// Who comes and who leaves in any order leaves nothing behind, and who stays is found.
func TestServingInAnyOrder(t *testing.T) {
	var s Serving
	random := rand.New(rand.NewPCG(1, 2))
	outer, inner := connect(from("127.0.0.1:1000"), tcp(1001)), from("127.0.0.1:1001")
	s.come(outer)
	var others []*Listener
	for i := range 20000 {
		if len(others) < 1000 || random.IntN(2) == 0 {
			l := connectTo(from("127.0.0.1:"+strconv.Itoa(1002+i%30000)), tcp(40000), tcp(8080))
			s.come(l)
			others = append(others, l)
		} else {
			n := random.IntN(len(others))
			s.Leave(others[n])
			others = slices.Delete(others, n, n+1)
		}
		if i == 100 {
			s.come(inner)
		}
	}
	if want := len(others) + 2; s.count() != want {
		t.Errorf("%d are being served, want %d", s.count(), want)
	}
	for i := range s.shards {
		if kept, count := len(s.shards[i].served), len(s.shards[i].served)-s.shards[i].gaps; kept > 2*count+1 {
			t.Errorf("room for %d is kept for %d", kept, count)
		}
	}
	for _, l := range []*Listener{outer, inner} {
		if !s.Loops(l, l.Seal(nil, 0, false)) {
			t.Errorf("not found from %s", l.remote)
		}
	}
	for _, l := range append(others, outer, inner) {
		s.Leave(l)
	}
	if left := s.count(); left > 0 {
		t.Errorf("%d are left", left)
	}
}

// comeAndGo lets requests of other connections come and go, and says whether they have
// in time.
func comeAndGo(s *Serving, all []*Listener) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, l := range all {
			s.Enter(l)
			s.Leave(l)
		}
	}()
	select {
	case <-done:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// Nobody waits for who looks for a loop, however long that takes.
func TestServingWhileLookedAt(t *testing.T) {
	var s Serving
	busy, failed := connect(from("127.0.0.1:1000"), tcp(1001)), from("127.0.0.1:1001")
	s.come(busy)
	s.come(failed)
	heard := failed.Seal(nil, 0, false)
	busy.mu.Lock() // it hears something at this moment
	looked := make(chan bool, 1)
	go func() { looked <- s.Loops(failed, heard) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stacks := make([]byte, 1<<20)
		if strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "listen.(*Listener).ends") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not looked at")
		}
	}
	var all []*Listener
	for i := range 1000 {
		all = append(all, from("127.0.0.1:"+strconv.Itoa(2000+i)))
	}
	if !comeAndGo(&s, all) {
		t.Error("they wait")
	}
	busy.mu.Unlock()
	if !<-looked {
		t.Error("the loop was not found")
	}
}

// Requests of different connections don't wait for each other.
func TestServingConnectionsApart(t *testing.T) {
	var s Serving
	held := s.shardOf("127.0.0.1:1000")
	var apart []*Listener
	for i := range 1000 {
		if l := from("127.0.0.1:" + strconv.Itoa(1001+i)); s.shardOf(l.remote) != held {
			apart = append(apart, l)
		}
	}
	if len(apart) < 900 {
		t.Errorf("only %d of 1000 are apart", len(apart))
	}
	held.mu.Lock()
	defer held.mu.Unlock()
	if !comeAndGo(&s, apart) {
		t.Error("they wait")
	}
}

// A handler behind us may change its request while another one's failure is looked at.
func TestServingWhileRequestsChange(t *testing.T) {
	var s Serving
	failed, changing := connect(from("127.0.0.1:1000"), tcp(1001)), from("127.0.0.1:1001")
	s.come(failed)
	s.come(changing)
	var changes sync.WaitGroup
	changes.Go(func() {
		r := changing.request
		r.RemoteAddr = "192.0.2.1:1"
		*r = *r.WithContext(context.Background())
	})
	heard := failed.Seal(nil, 0, false)
	if !s.Loops(failed, heard) {
		t.Error("it came by our connection, whatever has become of it")
	}
	changes.Wait()
}

// What a failure costs where so many requests are being served: the others wait
// meanwhile.
func BenchmarkLoops(b *testing.B) {
	for _, others := range []int{10, 100, 1000, 10000} {
		b.Run(strconv.Itoa(others), func(b *testing.B) {
			var s Serving
			l := connect(from("127.0.0.1:1000"), tcp(1001))
			for i := range others {
				if i == others/2 {
					s.come(l)
				}
				s.come(connectTo(from("127.0.0.1:"+strconv.Itoa(10000+i)), tcp(20000+i), tcp(8080)))
			}
			heard := l.Seal(nil, 0, false)
			b.ReportAllocs()
			for b.Loop() {
				s.Loops(l, heard)
			}
		})
	}
}

// What each request pays where many come at once, over many connections, beside a
// thousand streams: where all go well, and where one of a hundred fails.
func BenchmarkServing(b *testing.B) {
	for _, test := range []struct {
		name string
		fail int // one of so many fails
	}{{"well", 0}, {"failing", 100}} {
		b.Run(test.name, func(b *testing.B) {
			var s Serving
			for i := range 1000 {
				s.Enter(connectTo(from("127.0.0.1:"+strconv.Itoa(10000+i)), tcp(20000+i), tcp(8080)))
			}
			var port atomic.Int32
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var all [100]*Listener
				var heard [100]*Heard
				for i := range all {
					all[i] = from("127.0.0.1:" + strconv.Itoa(1000+int(port.Add(1))))
					heard[i] = all[i].Seal(nil, 0, false)
				}
				for i := 0; pb.Next(); i++ {
					n := i % len(all)
					s.Enter(all[n])
					if test.fail > 0 && i%test.fail == 0 {
						s.Loops(all[n], heard[n])
					}
					s.Leave(all[n])
				}
			})
		})
	}
}

// end is a connection of which only its ends are known.
type end struct {
	net.Conn
	local, remote net.Addr
}

func (e end) LocalAddr() net.Addr  { return e.local }
func (e end) RemoteAddr() net.Addr { return e.remote }

// A request that is over is kept by nothing, however many there were at a time.
func TestServingKeepsNothing(t *testing.T) {
	var s Serving
	var gone []weak.Pointer[Listener]
	func() {
		var all []*Listener
		for i := range 2000 {
			l := new(Listener)
			l.remote = "127.0.0.1:" + strconv.Itoa(10000+i%500)
			s.come(l)
			all, gone = append(all, l), append(gone, weak.Make(l))
		}
		for i := range all { // the later ones first, and then the others
			s.Leave(all[(i*7+1000)%len(all)])
		}
	}()
	kept := 0
	for deadline := time.Now().Add(5 * time.Second); ; {
		runtime.GC()
		kept = 0
		for _, l := range gone {
			if l.Value() != nil {
				kept++
			}
		}
		if kept == 0 || time.Now().After(deadline) {
			break
		}
	}
	if kept > 0 {
		t.Errorf("%d of %d are kept", kept, len(gone))
	}
	runtime.KeepAlive(&s)
}
