package upstreams

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// A transport of another plugin's may not heed a context. Its handler's config is unloaded all
// the same.
func TestRunEndsWhileATransportHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, hangs := make(chan struct{}), make(chan struct{})
		upstream := &reverseproxy.Upstream{Host: new(reverseproxy.Host), Dial: "app:80"}
		checks := newChecks()
		check := checks.of(&reverseproxy.Handler{
			Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				close(asked)
				<-hangs
				return nil, http.ErrServerClosed
			}),
			HealthChecks: &reverseproxy.HealthChecks{Active: new(reverseproxy.ActiveHealthChecks)},
			Upstreams:    reverseproxy.UpstreamPool{upstream},
		}, nil)[upstream]

		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); checks.Run(ctx) }()
		check.Ask()
		<-asked
		cancel()
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("it waits for the transport")
		}
		close(hangs)
		<-ended
	})
}
