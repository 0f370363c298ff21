//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Services of the health checks under test, by what is done to their calls.
const (
	fine = ""
	hang = "hang" // until the test is over
	down = "down" // what it needs isn't there
)

// grpcServer is a gRPC server with the standard health service.
type grpcServer struct {
	*grpc.Server
	address string
	hanging chan struct{} // one for each call that hangs
	over    chan struct{} // closed when the test is
}

func startGRPC(t *testing.T) *grpcServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &grpcServer{address: ln.Addr().String(), hanging: make(chan struct{}, 16), over: make(chan struct{})}
	s.Server = grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if check, ok := request.(*grpc_health_v1.HealthCheckRequest); ok && check.Service == hang {
			s.hanging <- struct{}{}
			<-s.over // not ctx: at the client's deadline it might still answer, and nothing had failed
			return nil, ctx.Err()
		}
		if check, ok := request.(*grpc_health_v1.HealthCheckRequest); ok && check.Service == down {
			return nil, status.Error(codes.Unavailable, "no healthy upstream")
		}
		return handler(ctx, request)
	}))
	grpc_health_v1.RegisterHealthServer(s.Server, health.NewServer())
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.Serve(ln); err != nil {
			t.Errorf("serving gRPC: %v", err)
		}
	}()
	t.Cleanup(func() {
		s.Stop()
		close(s.over)
		<-served
	})
	return s
}

// checks gives a client of the health service, with a connection to Caddy of its own.
func (c *caddy) checks(t *testing.T) func(ctx context.Context, service string) error {
	t.Helper()
	conn, err := grpc.NewClient(c.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func(ctx context.Context, service string) error {
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		return err
	}
}

// check is a single call.
func (c *caddy) check(t *testing.T, ctx context.Context, service string) error {
	t.Helper()
	return c.checks(t)(ctx, service)
}

// A gRPC client understands our answer as one of its own kind.
func TestGRPC(t *testing.T) {
	t.Parallel()
	const path = grpc_health_v1.Health_Check_FullMethodName
	h2c := func(address, options string) string {
		return fmt.Sprintf("reverse_proxy h2c://%s {\n transport http {\n%s\n}\n}", address, options)
	}

	t.Run("fine", func(t *testing.T) {
		c := startCaddy(t, h2c(startGRPC(t).address, ""))
		if err := c.check(t, t.Context(), fine); err != nil {
			t.Error(err)
		}
		c.idle(t)
		if n := len(c.failures(t)); n > 0 {
			t.Errorf("%d failures were recorded", n)
		}
	})

	t.Run("an error of its own", func(t *testing.T) {
		c := startCaddy(t, h2c(startGRPC(t).address, ""))
		if got := status.Code(c.check(t, t.Context(), "unheard of")); got != codes.NotFound {
			t.Errorf("the client got %v", got)
		}
		c.idle(t)
		if n := len(c.failures(t)); n > 0 {
			t.Errorf("%d failures were recorded", n)
		}
	})

	// Without a message before it, its status goes into the header.
	t.Run("unavailable by its own word", func(t *testing.T) {
		c := startCaddy(t, h2c(startGRPC(t).address, ""))
		if got := status.Code(c.check(t, t.Context(), down)); got != codes.Unavailable {
			t.Errorf("the client got %v", got)
		}
		f := c.recorded(t, path)
		want{
			status: 503, cause: "upstream_status", phase: failure.PhaseHeaders, side: failure.SideUpstream,
			outcome: failure.UpstreamAnswered, sent: failure.SentYes, evidence: []string{`grpc-status 14`, `no healthy upstream`},
		}.check(t, f)
		if f.Received == nil || f.Received.GRPCStatus != "14" || f.Received.GRPCMessage != "no healthy upstream" {
			t.Errorf("received %+v", f.Received)
		}
	})

	t.Run("down", func(t *testing.T) {
		c := startCaddy(t, h2c(deadAddress(t), ""))
		if got := status.Code(c.check(t, t.Context(), fine)); got != codes.Unavailable {
			t.Errorf("the client got %v", got)
		}
		want{
			status: 502, cause: "connection_refused", phase: failure.PhaseConnect, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentNo, evidence: []string{`ECONNREFUSED`},
		}.check(t, c.recorded(t, path))
	})

	t.Run("slow", func(t *testing.T) {
		c := startCaddy(t, h2c(startGRPC(t).address, "response_header_timeout 300ms"))
		if got := status.Code(c.check(t, t.Context(), hang)); got != codes.DeadlineExceeded {
			t.Errorf("the client got %v", got)
		}
		want{
			status: 504, cause: "response_timeout", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`gave up by response_header_timeout 300 ms`},
		}.check(t, c.recorded(t, path))
	})

	// Who leaves within a second is only counted.
	const patience = 1200 * time.Millisecond

	t.Run("the client cancels", func(t *testing.T) {
		server := startGRPC(t)
		c := startCaddy(t, h2c(server.address, ""))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			<-server.hanging
			<-time.After(patience)
			cancel()
		}()
		if got := status.Code(c.check(t, ctx, hang)); got != codes.Canceled {
			t.Errorf("the client got %v", got)
		}
		want{
			status: 499, cause: "client_closed_request", phase: failure.PhaseWait, side: failure.SideClient,
			outcome: failure.Abandoned, sent: failure.SentMaybe, evidence: []string{`no limit is set: response_header_timeout`},
		}.check(t, c.recorded(t, path))
	})

	t.Run("the client's deadline", func(t *testing.T) {
		c := startCaddy(t, h2c(startGRPC(t).address, ""))
		check := c.checks(t)
		if err := check(t.Context(), fine); err != nil { // so that no time goes into connecting
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		got := status.Code(check(ctx, hang))
		f := c.recorded(t, path)
		checkOneOf(t, f, want{
			status: 499, cause: "client_closed_request", phase: failure.PhaseWait, side: failure.SideClient,
			outcome: failure.Abandoned, sent: failure.SentMaybe, evidence: []string{`no limit is set: response_header_timeout`},
		}, want{
			// The server knows the deadline too (grpc-timeout), and may end the stream before
			// Caddy has heard that the client is gone.
			status: 502, cause: "stream_reset", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe, evidence: []string{`HTTP/2 error code CANCEL`},
		})
		// The answer to a stream that was reset may just reach the client.
		if got != codes.DeadlineExceeded && (got != codes.Unavailable || f.Cause != "stream_reset") {
			t.Errorf("the client got %v", got)
		}
	})

	t.Run("stopped in the middle of a call", func(t *testing.T) {
		server := startGRPC(t)
		c := startCaddy(t, h2c(server.address, ""))
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			<-server.hanging
			server.Stop()
		}()
		if got := status.Code(c.check(t, t.Context(), hang)); got != codes.Unavailable {
			t.Errorf("the client got %v", got)
		}
		<-stopped
		// It resets the connection if it closes while anything has not been read. Caddy may
		// hear of the end before it knows that all was sent: then it can't tell why.
		want{
			status: 502, cause: "closed_before_response|reset_before_response|unknown", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe,
		}.check(t, c.recorded(t, path))
	})

	t.Run("spoken to in HTTP/1", func(t *testing.T) {
		c := startCaddy(t, "reverse_proxy "+startGRPC(t).address)
		if got := status.Code(c.check(t, t.Context(), fine)); got != codes.Unavailable {
			t.Errorf("the client got %v", got)
		}
		// It sends its settings first, even before the request is sent, and resets the
		// connection at what it doesn't understand: they may be lost with it.
		checkOneOf(t, c.recorded(t, path), want{
			status: 502, cause: "http_version_mismatch", phase: failure.PhaseHeaders, side: failure.SideProxy,
			outcome: failure.Failed, sent: "no|maybe|yes",
		}, requestWriteFailed(), want{
			status: 502, cause: "reset_before_response", phase: failure.PhaseWait, side: failure.SideUpstream,
			outcome: failure.Failed, sent: failure.SentMaybe,
		})
	})
}
