package listen

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
)

func TestServing(t *testing.T) {
	tcp := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }
	// from is a request that came from that address, to port 80.
	from := func(address string) *Listener {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = address
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tcp(80)))
		return To(httptest.NewRecorder(), r, nil)
	}
	// connectTo gives l's attempt a connection with these ends, connect one to port 80.
	connectTo := func(l *Listener, local, remote net.Addr) *Listener {
		l.Selected("app:80", nil).gotConn(httptrace.GotConnInfo{Conn: end{local: local, remote: remote}})
		return l
	}
	connect := func(l *Listener, local net.Addr) *Listener { return connectTo(l, local, tcp(80)) }
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

// end is a connection of which only its ends are known.
type end struct {
	net.Conn
	local, remote net.Addr
}

func (e end) LocalAddr() net.Addr  { return e.local }
func (e end) RemoteAddr() net.Addr { return e.remote }
