package tests

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// lacks fails where a text of the record has one of these in it; known are fields that may.
func lacks(t *testing.T, f *failure.Failure, secrets []string, known ...string) {
	t.Helper()
	testcaddy.EachText(reflect.ValueOf(f), "", func(path, text string) {
		for _, secret := range secrets {
			if strings.Contains(text, secret) && !strings.Contains(strings.Join(known, " "), path) {
				t.Errorf("%s has %q in it: %s", path, secret, text)
			}
		}
	})
}

// uploadTakers are upstreams that read a request's body, over each transport, with
// what its block has.
func uploadTakers(t *testing.T) map[string]string {
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler) // who broke its upload off gets no answer
		}
	})
	plain := httptest.NewUnstartedServer(read)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(read)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	script, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = fcgi.Serve(script, read) }()
	t.Cleanup(func() { script.Close() })
	cert, key := testcaddy.CertificateFiles(t)
	certificate, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quic := &http3.Server{Handler: read, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{certificate}})}
	go func() { _ = quic.Serve(datagrams) }()
	t.Cleanup(func() { quic.Close(); datagrams.Close() })

	return map[string]string{
		"http1":    plain.Listener.Addr().String(),
		"http1tls": secure.Listener.Addr().String() + " {\ntransport http {\ntls_insecure_skip_verify\nversions 1.1\n}\n}",
		"h2":       secure.Listener.Addr().String() + " {\ntransport http {\ntls_insecure_skip_verify\n}\n}",
		"h2c":      plain.Listener.Addr().String() + " {\ntransport http {\nversions h2c\n}\n}",
		"h3":       datagrams.LocalAddr().String() + " {\ntransport http {\ntls_insecure_skip_verify\nversions 3\n}\n}",
		"fastcgi":  script.Addr().String() + " {\ntransport fastcgi {\nroot /srv\n}\n}",
		"buffered": plain.Listener.Addr().String() + " {\nrequest_buffers 1MB\n}",
	}
}

// uploader is a client at an address of its own, whose uploads break off.
type uploader struct{ from, plain, secure string }

// dial connects to the plain or the secure site.
func (u uploader) dial(address string) (*net.TCPConn, error) {
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(u.from)}}).Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(20 * time.Second))
}

const halfOfIt = "half of it"

// http1 sends a part of a body over HTTP/1, then does what how says.
func (u uploader) http1(secure bool, path, how string) error {
	address := u.plain
	if secure {
		address = u.secure
	}
	tcp, err := u.dial(address)
	if err != nil {
		return err
	}
	defer tcp.Close()
	conn := net.Conn(tcp)
	if secure {
		conn = tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // the certificate is the test's own
	}
	length, body := "Content-Length: 20", halfOfIt
	if how == "malformed" {
		length, body = "Transfer-Encoding: chunked", "5\r\nhello\r\nzz\r\n"
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s", path, address, length, body); err != nil {
		return err
	}
	switch how {
	case "resets":
		_ = tcp.SetLinger(0)
		return tcp.Close()
	case "leaves":
		return conn.Close()
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		res.Body.Close()
	}
	return err
}

// http2 is http1 over HTTP/2.
func (u uploader) http2(secure bool, path, how string) error {
	url, protocols := "http://"+u.plain+path, new(http.Protocols)
	if secure {
		url = "https://" + u.secure + path
	}
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure)
	var tcp *net.TCPConn
	transport := &http.Transport{
		Protocols:       protocols,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is the test's own
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, err := u.dial(address)
			tcp = conn
			return conn, err
		},
	}
	defer transport.CloseIdleConnections()
	body, part := io.Pipe()
	defer part.Close()
	go func() {
		_, _ = io.WriteString(part, halfOfIt)
		switch how {
		case "resets":
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		case "leaves", "malformed":
			_ = part.CloseWithError(errors.New("no more of it")) // RST_STREAM
		}
	}()
	r, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		return err
	}
	r.ContentLength = 20
	res, err := transport.RoundTrip(r)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return err
}

// Whatever becomes of an upload, nothing of the record but the fields made for it has
// the client's address in it, and no line of our log.
func TestUploadsTellNoClientAddress(t *testing.T) {
	testcaddy.RecordsAbandoned(t)
	const from = "127.0.0.5"
	if ln, err := net.Listen("tcp", from+":0"); err != nil {
		t.Skip("this machine has no second address:", err)
	} else {
		ln.Close()
	}
	for _, mode := range []string{"off", "masked", "full"} {
		t.Run(mode, func(t *testing.T) {
			takers, l := uploadTakers(t), testcaddy.NewLogFile(t)
			handlers := "upstream_diagnostics {\nclient_ip " + mode + "\n}\n"
			for name, block := range takers {
				handlers += "reverse_proxy /" + name + "/* " + block + "\n"
			}
			cert, key := testcaddy.CertificateFiles(t)
			secure := "127.0.0.1:" + strconv.Itoa(testcaddy.FreePort(t))
			c := testcaddy.StartWith(t, l.OfOurs()+"\nservers {\nprotocols h1 h2 h2c\ntimeouts {\nread_body 1s\n}\n}",
				handlers+"}\nhttps://"+secure+" {\ntls "+cert+" "+key+"\n"+handlers)
			u := uploader{from, strings.TrimPrefix(c.URL, "http://"), secure}
			var group sync.WaitGroup
			for name := range takers {
				for _, how := range []string{"stalls", "resets", "leaves", "malformed"} {
					for _, secure := range []bool{false, true} {
						path := fmt.Sprintf("/%s/%s/%t", name, how, secure)
						group.Go(func() { _ = u.http1(secure, path+"/1", how) })
						group.Go(func() { _ = u.http2(secure, path+"/2", how) })
					}
				}
			}
			group.Wait()
			var list []*failure.Failure
			testcaddy.Eventually(t, "uploads of each kind are recorded", func() bool {
				list = c.Failures("limit=1000")
				kinds := map[string]bool{}
				for _, f := range list {
					_, kind, _ := strings.Cut(f.Request.URI[1:], "/")
					kinds[kind] = true
				}
				for _, kind := range []string{"stalls/false/1", "stalls/true/1", "stalls/false/2", "stalls/true/2", "malformed/false/1", "malformed/true/1"} {
					if !kinds[kind] {
						return false
					}
				}
				return true
			})
			var known []string
			if mode == "full" {
				known = []string{".Request.RemoteIP", ".Request.ClientIP"}
			}
			timeouts := 0
			for _, f := range list {
				lacks(t, f, []string{from}, known...)
				if f.Error == "i/o timeout" {
					timeouts++
				}
			}
			if timeouts == 0 {
				t.Errorf("none of %d records has the error of an upload that stalled", len(list))
			}
			testcaddy.Eventually(t, "the records are logged", func() bool { return len(l.Entries(testcaddy.LogMessage)) > 0 })
			content, err := os.ReadFile(l.Path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(content)) {
				if mode == "full" {
					line = strings.NewReplacer(`"remote_ip":"`+from+`"`, "", `"client_ip":"`+from+`"`, "").Replace(line)
				}
				if strings.Contains(line, from) {
					t.Errorf("the log has the client's address: %s", line)
				}
			}
			t.Logf("%d records, %d of them of uploads that stalled", len(list), timeouts)
		})
	}
}

// What a placeholder in an upstream's address reads of what the client sent stands in
// nothing that is kept, logged or shown.
func TestPlaceholdersTellNoSecret(t *testing.T) {
	const secret = "hunter2hunter2"
	ports := testcaddy.Dead(t)[len("127.0.0.1"):]
	fields := []string{"X-Upstream: " + secret, "Cookie: upstream=" + secret}
	for _, test := range []struct {
		name, block, directive, path, body, cause string
		kept                                      bool
	}{
		{name: "a query", directive: "reverse_proxy {query.u}" + ports, path: "/?u=" + secret},
		{name: "a query that is named", block: "keep_query u", directive: "reverse_proxy {query.u}" + ports, path: "/?u=" + secret, kept: true},
		{name: "a part of a name", directive: "reverse_proxy x{query.u}x" + ports, path: "/?u=" + secret},
		{name: "an address", directive: "reverse_proxy {query.u}" + ports, path: "/?u=127.99.88.77", cause: "connection_refused"},
		{name: "an address and port", directive: "reverse_proxy {query.u}", path: "/?u=" + secret + ports},
		{name: "no address", directive: "reverse_proxy {query.u}" + ports, path: "/?u=" + secret + ":" + secret + ":" + secret},
		{name: "a port", directive: "reverse_proxy 127.0.0.1:{query.u}", path: "/?u=" + secret, cause: "dial_address_invalid"},
		{name: "a cookie", directive: "reverse_proxy {cookie.upstream}" + ports},
		{name: "a field", directive: "reverse_proxy {header.X-Upstream}" + ports},
		{name: "a field that is kept", block: "keep_headers X-Upstream", directive: "reverse_proxy {header.X-Upstream}" + ports, kept: true},
		{name: "the body", directive: "reverse_proxy {http.request.body}" + ports, body: secret},
		{name: "a socket", directive: "reverse_proxy unix/{query.u}", path: "/?u=/tmp/" + secret + "/" + secret + ".sock", cause: "socket_not_found"},
		{name: "HTTP/3", directive: "reverse_proxy {query.u}" + ports + " {\ntransport http {\ntls\nversions 3\n}\n}", path: "/?u=" + secret},
		{name: "FastCGI", directive: "reverse_proxy {query.u}" + ports + " {\ntransport fastcgi\n}", path: "/?u=" + secret},
		{name: "with retries", directive: "reverse_proxy {query.u}" + ports + " {query.u}.internal" + ports + " {\nlb_retries 1\n}", path: "/?u=" + secret},
		{name: "with active checks", directive: "reverse_proxy {query.u}" + ports + " {\nhealth_port 1\nhealth_interval 1h\nhealth_fails 100000\n}", path: "/?u=" + secret},
		{name: "a dynamic source", directive: "reverse_proxy {\ndynamic a {\nname {query.u}\nport 80\n}\n}", path: "/?u=" + secret},
		{name: "rewritten meanwhile", directive: "reverse_proxy {query.u}" + ports + " {\nrewrite /x?u=other\n}", path: "/?u=" + secret},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testcaddy.NewLogFile(t)
			c := testcaddy.StartWith(t, l.OfOurs(), "@operator header X-Operator yes\nupstream_diagnostics {\ndetails @operator\nproxy_status_name edge\n"+test.block+"\n}\n"+
				test.directive)
			if test.path == "" {
				test.path = "/"
			}
			a := c.Do("POST", test.path, strings.NewReader(test.body), append(fields, "X-Operator: yes", "Accept: text/plain")...)
			f := c.Failure()
			if a.Status < 500 || test.cause != "" && f.Cause != test.cause || !strings.Contains(f.Upstream, "{http.request.") {
				t.Errorf("got %d, %s of %s: %s", a.Status, f.Cause, f.Upstream, f.Error)
			}
			l.Wait(testcaddy.LogMessage, 1)
			log, err := os.ReadFile(l.Path)
			if err != nil {
				t.Fatal(err)
			}
			record := c.AdminDo("GET", "/failures/latest?format=text").Body
			shown := map[string]string{"record": fmt.Sprintf("%+v %+v", *f, f.Attempts), "log": string(log), "admin": record, "answer": a.Body, "fields": fmt.Sprint(a.Header)}
			for face, text := range shown {
				if has := strings.Contains(text, secret) || strings.Contains(text, "127.99.88.77"); has != test.kept && (has || face == "record" || face == "log") {
					t.Errorf("%s: the value shows: %t, want %t: %s", face, has, test.kept, text)
				}
			}
		})
	}
}
