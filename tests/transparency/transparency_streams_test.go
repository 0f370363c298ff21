package transparency

import (
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 says so
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpccreds "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// echoWebSocket is an upstream that sends each text message back, and a close for a
// close. It refuses requests for /refused.
func echoWebSocket(s *seen) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/refused", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		http.Error(w, "not you", http.StatusForbidden)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.request(r)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			s.upstream("%v", err)
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 says so
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		_ = rw.Flush()
		for {
			opcode, payload, err := readFrame(rw.Reader)
			s.upstream("frame %x %q %v", opcode, payload, err)
			if err != nil {
				return
			}
			_ = writeFrame(rw, opcode, payload, false)
			_ = rw.Flush()
			if opcode == frameClose {
				return
			}
		}
	})
	return mux
}

// The opcodes of RFC 6455, section 5.2, that are needed.
const (
	frameText  = 1
	frameClose = 8
)

// writeFrame writes an unfragmented frame of at most 125 bytes; a client masks it.
func writeFrame(w io.Writer, opcode byte, payload []byte, mask bool) error {
	frame := []byte{0x80 | opcode, byte(len(payload))}
	if !mask {
		_, err := w.Write(append(frame, payload...))
		return err
	}
	key := [4]byte{1, 2, 3, 4}
	frame[1] |= 0x80
	frame = append(frame, key[:]...)
	for i, b := range payload {
		frame = append(frame, b^key[i%4])
	}
	_, err := w.Write(frame)
	return err
}

func readFrame(r io.Reader) (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	var key [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return head[0] & 0x0f, payload, nil
}

// talkWebSocket is the client of it, once the tunnel is open. It closes its half
// once the upstream has.
func talkWebSocket(t *testing.T, w io.WriteCloser, r io.Reader, s *seen) {
	t.Helper()
	for _, message := range []string{"one", "two", ""} {
		opcode := byte(frameText)
		if message == "" {
			opcode = frameClose
		}
		if err := writeFrame(w, opcode, []byte(message), true); err != nil {
			t.Fatal(err)
		}
		gotOpcode, got, err := readFrame(r)
		s.client("frame %x %q %v", gotOpcode, got, err)
		if err != nil || gotOpcode != opcode || string(got) != message {
			t.Errorf("got %x %q %v for %q", gotOpcode, got, err, message)
		}
	}
	rest, err := io.ReadAll(r)
	s.client("the end: %q %v", rest, err)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// A WebSocket is a tunnel in both directions, until either side ends it.
func TestTransparencyWebSocket(t *testing.T) {
	upgrade := func(path string) []string {
		return []string{"GET " + path + " HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""}
	}
	for name, lines := range map[string][]string{
		"talk":                    nil,
		"talk with active checks": {"health_uri /refused", "health_interval 1h", "health_status 403"},
	} {
		transparent(t, exchange{name: name, site: proxied(quietChecks(echoWebSocket), lines...), talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			conn, r := dial(c)
			say(t, conn, upgrade("/")...)
			res, err := http.ReadResponse(r, nil)
			if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %v %v, want 101", res, err)
			}
			s.client("%s %s", res.Status, fields(res.Header))
			talkWebSocket(t, conn, r, s)
		}})
	}
	transparent(t, exchange{name: "refused", site: proxied(echoWebSocket), talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
		conn, r := dial(c)
		say(t, conn, upgrade("/refused")...)
		s.response(http.ReadResponse(r, nil))
	}})
	// The upstream goes on after the client has closed its half.
	transparent(t, exchange{
		name: "half closed",
		site: proxied(func(s *seen) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.request(r)
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					s.upstream("%v", err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
				all, err := io.ReadAll(rw)
				s.upstream("%q %v", all, err)
				_, _ = io.WriteString(conn, "all read: "+string(all))
			})
		}),
		talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			conn, r := dial(c)
			say(t, conn, "GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: other", "", "")
			res, err := http.ReadResponse(r, nil)
			if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %v %v, want 101", res, err)
			}
			say(t, conn, "my half")
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(r)
			s.client("%q %v", rest, err)
			if string(rest) != "all read: my half" {
				t.Errorf("read %q %v", rest, err)
			}
		},
	})
}

// quietChecks leaves Caddy's own health checks out of what the upstream saw.
func quietChecks(do func(*seen) http.Handler) func(*seen) http.Handler {
	return func(s *seen) http.Handler {
		seen, unseen := do(s), do(newSeen())
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Via") == "" {
				unseen.ServeHTTP(w, r)
				return
			}
			seen.ServeHTTP(w, r)
		})
	}
}

// extendedConnect is the switch that Go reads once, when a process starts.
const extendedConnect = "http2xconnect=1"

// A WebSocket over HTTP/2 (RFC 8441). Go's servers offer it to processes that were
// started with a switch in their environment, so the test starts itself again.
func TestTransparencyExtendedConnect(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), extendedConnect) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), "GODEBUG="+strings.Trim(os.Getenv("GODEBUG")+","+extendedConnect, ","))
		out, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	transparent(t, exchange{name: "talk", tls: true, site: proxied(echoWebSocket), talk: func(t *testing.T, c *testcaddy.Caddy, s *seen) {
		transport := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is the test's own
		t.Cleanup(transport.CloseIdleConnections)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		read, write := io.Pipe()
		defer write.Close()
		r, err := http.NewRequestWithContext(ctx, http.MethodConnect, c.URL+"/chat", read)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(":protocol", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		res, err := transport.RoundTrip(r)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("got %v %v, want 200", res, err)
		}
		defer res.Body.Close()
		s.client("%s %s %s", res.Proto, res.Status, fields(res.Header))
		talkWebSocket(t, write, res.Body, s)
	}})
}

// echo is a gRPC service without generated code: it takes and gives the messages of
// the health service, which every gRPC module brings along.
type echo struct{ s *seen }

type (
	ask   = grpc_health_v1.HealthCheckRequest
	reply = grpc_health_v1.HealthCheckResponse
)

var echoService = grpc.ServiceDesc{
	ServiceName: "test.Echo",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{StreamName: "Many", ClientStreams: true, ServerStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
		s := srv.(*echo).s
		for {
			in := new(ask)
			if err := stream.RecvMsg(in); err != nil {
				s.upstream("the end: %t", errors.Is(err, io.EOF))
				stream.SetTrailer(metadata.Pairs("x-tail", "t"))
				return status.Error(codes.OutOfRange, "that was all")
			}
			s.upstream("asked %q", in.GetService())
			if err := stream.SendMsg(&reply{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}); err != nil {
				return err
			}
		}
	}}, {StreamName: "One", ClientStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
		in := new(ask)
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		// The same as a unary method, but for this: an answer before the end of the
		// request makes reading and closing its body race, in reverse_proxy itself.
		if err := stream.RecvMsg(new(ask)); !errors.Is(err, io.EOF) {
			return status.Errorf(codes.InvalidArgument, "more than one: %v", err)
		}
		s := srv.(*echo).s
		md, _ := metadata.FromIncomingContext(stream.Context())
		s.upstream("asked %q, x-key %q", in.GetService(), md.Get("x-key"))
		_ = stream.SetHeader(metadata.Pairs("x-head", "h"))
		stream.SetTrailer(metadata.Pairs("x-tail", "t"))
		if in.GetService() == "nobody" {
			return status.Error(codes.NotFound, "nobody is here")
		}
		return stream.SendMsg(&reply{Status: grpc_health_v1.HealthCheckResponse_SERVING})
	}}},
}

// gRPC: messages in both directions before the other side is done, and a status in
// the trailers, also of a call that fails: that is the application's own answer.
func TestTransparencyGRPC(t *testing.T) {
	site := func(t *testing.T, s *seen) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		server.RegisterService(&echoService, &echo{s})
		go func() { _ = server.Serve(ln) }() // nil after Stop
		t.Cleanup(server.Stop)
		return reverseProxy(ln.Addr(), "transport http {", "versions h2c", "}")
	}
	talk := func(creds grpccreds.TransportCredentials) func(*testing.T, *testcaddy.Caddy, *seen) {
		return func(t *testing.T, c *testcaddy.Caddy, s *seen) {
			conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", c.Port), grpc.WithTransportCredentials(creds))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-key", "value"), 20*time.Second)
			defer cancel()
			for _, name := range []string{"somebody", "nobody"} {
				var header, trailer metadata.MD
				out := new(reply)
				err := conn.Invoke(ctx, "/test.Echo/One", &ask{Service: name}, out, grpc.Header(&header), grpc.Trailer(&trailer))
				s.client("%v, %v, %v, %v", out.GetStatus(), err, pairs(header), pairs(trailer))
			}
			stream, err := conn.NewStream(ctx, &echoService.Streams[0], "/test.Echo/Many")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"one", "two", "three"} {
				if err := stream.SendMsg(&ask{Service: name}); err != nil {
					t.Fatal(err)
				}
				out := new(reply)
				err := stream.RecvMsg(out)
				s.client("%v %v", out.GetStatus(), err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			err = stream.RecvMsg(new(reply))
			s.client("%v %v", err, pairs(stream.Trailer()))
			if status.Code(err) != codes.OutOfRange || strings.Count(s.by("client"), "NOT_SERVING <nil>") != 3 || !strings.Contains(s.by("client"), "nobody is here") {
				t.Errorf("the client saw\n%s", s.by("client"))
			}
		}
	}
	transparent(t, exchange{name: "over h2c", servers: "protocols h1 h2c", site: site, talk: talk(insecure.NewCredentials())})
	transparent(t, exchange{name: "over TLS", tls: true, site: site,
		talk: talk(grpccreds.NewTLS(&tls.Config{InsecureSkipVerify: true}))}) //nolint:gosec // the certificate is the test's own
}

// pairs are a gRPC header's, in order, without the date.
func pairs(md metadata.MD) string {
	var all []string
	for name, values := range md {
		if name != "date" {
			all = append(all, fmt.Sprintf("%s=%q", name, values))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// An upstream gives up on an upload that the client goes on with, slowly: the failure
// is told at once, as by a Caddy without us, and not when the next part of it comes.
func TestTransparencyStalledUpload(t *testing.T) {
	const ours = "upstream_diagnostics\n"
	for name, front := range map[string]string{"bare": "", "with the directive": ours, "with two": ours + ours} {
		for _, protocol := range []string{"h2", "h3"} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadFull(r.Body, make([]byte, len("part")))
					panic(http.ErrAbortHandler) // resets the stream
				}))
				upstream.Config.Protocols = new(http.Protocols)
				upstream.Config.Protocols.SetUnencryptedHTTP2(true)
				upstream.Start()
				defer upstream.Close()
				c := startProxy(t, proxyConfig{tls: true, bare: front == "", site: front + reverseProxy(upstream.Listener.Addr(), "transport http {", "versions h2c", "}")})

				body, part := io.Pipe()
				go func() { _, _ = io.WriteString(part, "part") }()
				defer part.Close()
				client := clientFor(t, protocol)
				res, err := client.Post(c.URL, "text/plain", body)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.StatusCode != http.StatusBadGateway {
					t.Errorf("got %s", res.Status)
				}
				if front != "" {
					if f := c.Failure(); f.Cause != "stream_reset" {
						t.Errorf("named %s: %s", f.Cause, f.Error)
					}
				}
			})
		}
	}
}
