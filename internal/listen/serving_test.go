package listen

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"sync"
	"testing"
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
	l.Selected("app:80", nil).gotConn(httptrace.GotConnInfo{Conn: end{local: local, remote: remote}})
	return l
}

func connect(l *Listener, local net.Addr) *Listener { return connectTo(l, local, tcp(80)) }

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
				s.Enter(l)
			}
			if got := s.Loops(test.ours, test.ours.Seal(nil, 0, false)); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			s.Leave(test.ours)
			for _, l := range test.all {
				s.Leave(l)
			}
			if s.first != nil {
				t.Error("somebody is left")
			}
		})
	}
}

// A request that came back is found among thousands of others, and no more of them
// are looked at than its neighbours.
func TestServingThousands(t *testing.T) {
	enter := func(s *Serving, others int) {
		for i := range others {
			s.Enter(connectTo(from("127.0.0.1:"+strconv.Itoa(10000+i)), tcp(20000+i), tcp(8080)))
		}
	}
	for _, test := range []struct {
		name    string
		between int
		want    bool
	}{
		{"at once", 0, true},
		{"as late as can be", maxNeighbours - 1, true},
		{"too late", maxNeighbours, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s Serving
			outer, inner := connect(from("127.0.0.1:1000"), tcp(1001)), from("127.0.0.1:1001")
			enter(&s, 2000)
			s.Enter(outer)
			enter(&s, test.between)
			s.Enter(inner)
			enter(&s, 2000)
			for _, l := range []*Listener{outer, inner} {
				if got := s.Loops(l, l.Seal(nil, 0, false)); got != test.want {
					t.Errorf("from %s: got %v, want %v", l.remote, got, test.want)
				}
			}
		})
	}
}

// A handler behind us may change its request while another one's failure is looked at.
func TestServingWhileRequestsChange(t *testing.T) {
	var s Serving
	failed, changing := connect(from("127.0.0.1:1000"), tcp(1001)), from("127.0.0.1:1001")
	s.Enter(failed)
	s.Enter(changing)
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
					s.Enter(l)
				}
				s.Enter(connectTo(from("127.0.0.1:"+strconv.Itoa(10000+i)), tcp(20000+i), tcp(8080)))
			}
			heard := l.Seal(nil, 0, false)
			b.ReportAllocs()
			for b.Loop() {
				s.Loops(l, heard)
			}
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
