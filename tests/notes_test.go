package tests

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// The catalogue's notes number every fault that was looked at. Each number is a fault
// of the lab, or is tested elsewhere, or is left out for the reason that stands here.
func TestNotes(t *testing.T) {
	elsewhere := map[string]string{
		"26n":  "with a real nginx: TestNginxKeepalive in e2e",
		"29c":  "as 29a, and in TestFaultsCrossed after a retry",
		"29f":  "as 29a, and in TestFaultsCrossed after a retry",
		"36c":  "with a real php-fpm: TestPHP in e2e",
		"40":   "TestProxyLoop",
		"45":   "TestHearing",
		"06b":  "the resolver's own limit takes 10 s; what it says is that of 06a",
		"N07k": "the kernel gives up after some seconds, and says ETIMEDOUT: TestDiagnose of the catalogue",
		"N08e": "ARP fails after 3 s, and says what N08a says",
		"N08f": "the same with a limit that is shorter: what it says is that of 07a",
	}
	of := make(map[string][]string)
	for _, fault := range slices.Concat(faultlab.Faults(), faultlab.KernelFaults()) {
		of[fault.Number] = append(of[fault.Number], fault.Name)
	}
	for _, note := range notesBeyondTheLab() {
		of[note.number] = append(of[note.number], note.name)
	}
	// One that stands for another, which fails alike; the lab has the PROXY protocol's
	// faults under 42.
	for number, as := range map[string]string{"N07": "07a", "N08h": "N08a", "41": "42"} {
		of[number] = append(of[number], of[as]...)
	}
	const numbers = `01a 01b 01c 02a 02b 02c 03 04a 04b 04b' 05a 05b 05c 06a 06b 06c 07a N07 N07k 07b N08a N08h N08e N08f N08b N08c N08d
		09a 09b 09c 09d 10a 10b 10c 10d 11 12 13 14a 14b 14c 14d 14e 15a 15b 15c 16a 16b 17a 17b 18 18b 19 20 21 22 23a 23b 23c
		24a 24b 24c 24d 24e 25 26a 26b 26d 26n 27 28a 28b 28c 29a 29b 29c 29d 29e 29f 29g 30 31a 31b 31c 31d 32 33a 33b
		34a 34b 34c 34d 34e 34f 35 36 36b 36c 37 38 39 40 41 42 43 44 45 46 47 53 57 58 61 62`
	all := strings.Fields(numbers)
	for _, number := range all {
		if runtime.GOOS != "linux" && strings.HasPrefix(number, "N08") {
			continue // routes are made by Linux alone
		}
		if len(of[number]) == 0 && elsewhere[number] == "" {
			t.Errorf("%s has no fault, and no word why", number)
		}
	}
	for number := range elsewhere {
		if !slices.Contains(all, number) || len(of[number]) > 0 {
			t.Errorf("%s is no number of the notes, or has %v", number, of[number])
		}
	}
	for number, faults := range of {
		// 10 is any port that speaks TLS.
		if number != "" && number != "10" && !slices.Contains(all, number) {
			t.Errorf("%s of %v is no number of the notes", number, faults)
		}
	}
	t.Logf("%d numbers, %d of them tested elsewhere or left out", len(all), len(elsewhere))
}

// note is a number of the notes that is made of more than a broken upstream, or is no
// failure at all.
type note struct {
	number, name string
	linux        bool
	site         func(t *testing.T) string
	request      string // orderGET by default
	// before is what has to happen before the request, at the same Caddy.
	before func(t *testing.T, c *testcaddy.Caddy)
	// leave waits for the moment in which the client leaves; nil if it stays.
	leave  func(c *testcaddy.Caddy)
	status []int // that it may get
	// want is cause, phase, side and outcome; none for no record. Where or says so,
	// there may also be none, or what it is.
	want, or string
	sent     failure.Sent // "" where it isn't looked at
	attempts []string     // their causes
	check    func(t *testing.T, f *failure.Failure)
}

func notesBeyondTheLab() []note {
	const (
		POST    = "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 7\r\n\r\norder=1"
		upgrade = "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
		part    = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe first part"
		endless = "HTTP/1.1 200 OK\r\n\r\nthe first part"
		full    = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
	)
	// answering is an upstream that says this to each request, and ends the connection.
	answering := func(s string, resets bool) func(*testing.T) string {
		return func(t *testing.T) string {
			return peer(t, func(c net.Conn) {
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				io.WriteString(c, s)
				if resets {
					testcaddy.Reset(c)
				}
			})
		}
	}
	is := func(directives string, upstream func(*testing.T) string) func(*testing.T) string {
		return func(t *testing.T) string { return "reverse_proxy " + upstream(t) + " {\n" + directives + "\n}" }
	}
	return []note{
		{
			number: "01b", name: "three addresses refuse", linux: true, status: []int{502},
			site: func(t *testing.T) string {
				return "reverse_proxy app.test:" + strconv.Itoa(testcaddy.FreePort(t)) + " {\ntransport http {\nresolvers " + resolver(t, "127.0.0.1", "127.0.0.2", "127.0.0.3") + "\n}\n}"
			},
			want: "connection_refused connect upstream failed",
		},
		{
			number: "01c", name: "the first address refuses, the second is well", linux: true, status: []int{200},
			site: func(t *testing.T) string {
				_, port, _ := net.SplitHostPort(testcaddy.Good(t))
				return "reverse_proxy app.test:" + port + " {\ntransport http {\nresolvers " + resolver(t, "127.0.0.2", "127.0.0.1") + "\n}\n}"
			},
		},
		{
			number: "10c", name: "plain HTTP to a port that wants TLS and hangs up", status: []int{502},
			site: is("", func(t *testing.T) string {
				return peer(t, func(c net.Conn) { bufio.NewReader(c).ReadString('\n'); testcaddy.CloseWrite(c); io.Copy(io.Discard, c) })
			}),
			want: "closed_before_response wait upstream failed",
		},
		{
			number: "10d", name: "plain HTTP to a server of TLS", status: []int{502},
			site: is("", func(t *testing.T) string {
				return peer(t, func(c net.Conn) {
					tls.Server(c, &tls.Config{Certificates: testCertificates()}).Handshake()
					testcaddy.CloseWrite(c)
					io.Copy(io.Discard, c)
				})
			}),
			want: "closed_before_response wait upstream failed", or: "tls_expected headers proxy failed", // by its alert
		},
		{
			number: "15c", name: "a server's name by a placeholder", status: []int{504},
			site: is("transport http {\ntls\ntls_timeout 200ms\ntls_server_name {http.request.host}\n}", func(t *testing.T) string {
				return peer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
			}),
			want: "tls_timeout tls upstream failed",
		},
		{
			number: "24c", name: "a body that is buffered is cut", status: []int{200},
			site: is("response_buffers 1MiB", answering(part, false)),
			want: "response_truncated body upstream truncated",
		},
		{number: "24e", name: "a body without a length ends", status: []int{200}, site: is("", answering(endless, false))},
		{
			number: "24e", name: "a body without a length is reset", linux: true, status: []int{200},
			site: is("", answering(endless, true)), want: "response_truncated body upstream truncated",
		},
		{
			number: "26b", name: "a connection that was closed while it was idle", status: []int{200},
			site:   is("", answering(goodAnswer, false)),
			before: func(_ *testing.T, c *testcaddy.Caddy) { c.Get("/") },
			or:     "keepalive_race wait proxy rescued", // where it was taken in that moment
		},
		{
			number: "26d", name: "two idle connections die, and a fresh one", status: []int{502},
			site: is("", func(t *testing.T) string { return dyingTwice(t) }),
			before: func(_ *testing.T, c *testcaddy.Caddy) {
				var clients sync.WaitGroup
				for range 2 {
					clients.Go(func() { c.Get("/") })
				}
				clients.Wait()
			},
			want: "closed_before_response wait upstream failed", attempts: []string{"keepalive_race", "keepalive_race", "closed_before_response"},
		},
		{
			number: "29g", name: "the first fails, then none is available", status: []int{502},
			site: is("lb_retries 2\nfail_duration 30s\nmax_fails 1", func(t *testing.T) string { return testcaddy.Dead(t) }),
			want: "connection_refused connect upstream failed",
		},
		{
			number: "31d", name: "more than request_body takes", status: []int{413},
			site:    func(t *testing.T) string { return "request_body {\nmax_size 4\n}\nreverse_proxy " + testcaddy.Good(t) },
			request: "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n7\r\norder=1\r\n0\r\n\r\n",
		},
		{
			number: "32", name: "413 before the upload is read", status: []int{413, 502},
			site: is("", func(t *testing.T) string {
				return peer(t, func(c net.Conn) {
					if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						io.WriteString(c, full)
					}
				})
			}),
			request: orderUpload, or: "request_write_failed send upstream failed",
		},
		{number: "33a", name: "an upgrade is refused", status: []int{400}, site: is("", answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false)), request: upgrade},
		{
			number: "33b", name: "a tunnel ends", status: []int{101}, request: upgrade,
			site: is("", answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false)),
		},
		{
			number: "33b", name: "a tunnel is reset", status: []int{101}, request: upgrade, linux: true,
			site: is("", answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true)),
		},
		{
			number: "42", name: "the server of a gRPC request is down", status: []int{200},
			site:    is("transport http {\nversions h2c 2\n}", func(t *testing.T) string { return testcaddy.Dead(t) }),
			request: strings.Replace(POST, "\r\n", "\r\nContent-Type: application/grpc\r\nTE: trailers\r\n", 1),
			want:    "connection_refused connect upstream failed",
		},
		{
			number: "44", name: "Expect is answered with 417", status: []int{417},
			site: is("transport http {\nexpect_continue_timeout 5s\n}", func(t *testing.T) string {
				return peer(t, func(c net.Conn) {
					if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
					}
				})
			}),
			request: strings.Replace(POST, "\r\n", "\r\nExpect: 100-continue\r\n", 1),
		},
		{
			number: "44", name: "Expect is answered with a close", status: []int{502},
			site: is("transport http {\nexpect_continue_timeout 5s\n}", func(t *testing.T) string {
				return peer(t, func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) })
			}),
			request: strings.Replace(POST, "\r\n", "\r\nExpect: 100-continue\r\n", 1),
			want:    "closed_before_response wait upstream failed",
		},
		{
			number: "53", name: "a client leaves that waits for one of max_conns_per_host",
			site: is("transport http {\nmax_conns_per_host 1\n}", func(t *testing.T) string {
				return peer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
			}),
			before: func(t *testing.T, c *testcaddy.Caddy) { stay(t, c) },
			leave: func(c *testcaddy.Caddy) {
				awaitStates(c, "has both", func(requests, _ int) bool { return requests == 2 })
			},
			want: "client_closed_request connect client abandoned", or: "client_closed_request select client abandoned",
			sent: "no", // it never had a connection
			check: func(t *testing.T, f *failure.Failure) {
				if f.Phase == failure.PhaseConnect && (f.Limit != nil || !strings.Contains(strings.Join(f.Evidence, "\n"), "max_conns_per_host 1 allows no more")) {
					t.Errorf("the limit is %v, the evidence %q", f.Limit, f.Evidence)
				}
			},
		},
		{
			number: "57", name: "a route of handle_response fails", status: []int{418},
			site: is("handle_response {\nerror 418\n}", testcaddy.Good),
		},
		{
			number: "62", name: "a client leaves between two tries",
			site: is("lb_try_duration 1s\nlb_try_interval 300ms\nfail_duration 30s\nmax_fails 1000", func(t *testing.T) string { return testcaddy.Dead(t) }),
			leave: func(c *testcaddy.Caddy) {
				awaitStates(c, "has failed once", func(_, fails int) bool { return fails > 0 })
			},
			want: "client_closed_request select client abandoned", or: "client_closed_request connect client abandoned", // in the try that it didn't wait for
			sent: "no",
		},
	}
}

// What the notes have besides the lab's faults is named right, too.
func TestNotesBeyondTheLab(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	for _, test := range notesBeyondTheLab() {
		t.Run(test.number+" "+test.name, func(t *testing.T) {
			if test.linux && runtime.GOOS != "linux" {
				t.Skip("needs all of 127.0.0.0/8, and that a reset loses no data")
			}
			c := testcaddy.Start(t, "upstream_diagnostics\n"+test.site(t))
			if test.before != nil {
				test.before(t, c)
			}
			request := test.request
			if request == "" {
				request = orderGET
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			var writing sync.WaitGroup
			writing.Go(func() { writeRaw(conn, request) })
			if test.leave != nil {
				writing.Wait()
				test.leave(c)
				conn.Close()
			} else {
				reader := bufio.NewReader(conn)
				res, err := http.ReadResponse(reader, nil)
				if err == nil && res.StatusCode == http.StatusContinue {
					res, err = http.ReadResponse(reader, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != http.StatusSwitchingProtocols {
					io.Copy(io.Discard, res.Body)
				}
				conn.Close()
				writing.Wait()
				if !slices.Contains(test.status, res.StatusCode) {
					t.Errorf("the client got %d, want %v", res.StatusCode, test.status)
				}
			}
			var f *failure.Failure
			if test.want != "" {
				f = c.Failure()
			} else {
				c.Idle()
				if list := c.Failures(); len(list) > 0 {
					f = list[0]
				}
			}
			got := ""
			if f != nil {
				got = strings.Join([]string{f.Cause, string(f.Phase), string(f.Side), string(f.Outcome)}, " ")
			}
			if got != test.want && (got != test.or || got == "") {
				record, _ := json.MarshalIndent(f, "", "  ")
				t.Errorf("got %q, want %q %q\n%s", got, test.want, test.or, record)
			}
			if f != nil && test.sent != "" && f.RequestSent != test.sent {
				t.Errorf("request_sent is %s, want %s", f.RequestSent, test.sent)
			}
			if f != nil && test.check != nil {
				test.check(t, f)
			}
			for i, name := range test.attempts {
				if f == nil || len(f.Attempts) != len(test.attempts) || f.Attempts[i].Cause != name {
					record, _ := json.MarshalIndent(f, "", "  ")
					t.Fatalf("want attempts %v\n%s", test.attempts, record)
				}
			}
			if testing.Verbose() {
				record, _ := json.MarshalIndent(f, "", "  ")
				t.Logf("%s", record)
			}
		})
	}
}

// peer is a server that behaves so on each connection, which is closed after it.
func peer(t *testing.T, behave func(net.Conn)) string {
	t.Helper()
	u := &takers{behave: func(c *taker) { behave(c.Conn) }}
	address := u.start(t)
	t.Cleanup(u.stop)
	return address
}

// dyingTwice answers the first requests of two connections, when both have come, and
// hangs up on all others.
func dyingTwice(t *testing.T) string {
	var mu sync.Mutex
	count, both := 0, make(chan struct{})
	return peer(t, func(c net.Conn) {
		reader := bufio.NewReader(c)
		if _, err := http.ReadRequest(reader); err != nil {
			return
		}
		mu.Lock()
		count++
		number := count
		if number == 2 {
			close(both)
		}
		mu.Unlock()
		if number > 2 {
			return
		}
		<-both
		io.WriteString(c, goodAnswer)
		http.ReadRequest(reader)
	})
}

// resolver is a name server that knows these addresses for every name.
func resolver(t *testing.T, addresses ...string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			for _, address := range addresses {
				if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
						Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())},
					})
				}
			}
			if reply, err := m.Pack(); err == nil {
				c.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() { c.Close(); running.Wait() })
	return c.LocalAddr().String()
}

// stay is a client that waits for its answer until the test is over.
func stay(t *testing.T, c *testcaddy.Caddy) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+conn.RemoteAddr().String()+"\r\n\r\n")
	awaitStates(c, "has it", func(requests, _ int) bool { return requests == 1 })
}

// awaitStates waits until an upstream has so many requests, and has failed so often.
func awaitStates(c *testcaddy.Caddy, what string, ok func(requests, fails int) bool) {
	c.T.Helper()
	testcaddy.Eventually(c.T, "the upstream "+what, func() bool {
		for _, u := range c.UpstreamStates() {
			if ok(u.NumRequests, u.Fails) {
				return true
			}
		}
		return false
	})
}
