package diagnostics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
)

// Nothing that a client sent comes back in the Server field of an answer that went well, which
// an incident's changes show.
func TestServerFieldOfWhatWentWell(t *testing.T) {
	h := &Handler{redact: redact.New(nil, nil, redact.ClientIPFull), harmless: new(atomic.Pointer[string])}
	for server, want := range map[string]string{
		"nginx/1.25": "nginx/1.25", "": "", "app hunter2hunter2": "", "app Bearer-letmein0": "", "for tracking-cookie": "", strings.Repeat("x", maxServer+1): "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/?token=hunter2hunter2", nil)
		r.Header.Set("Authorization", "Bearer Bearer-letmein0")
		r.Header.Set("Cookie", "id=tracking-cookie")
		for range 2 {
			if got := h.serverOf(r, nil, &listen.Attempt{Server: &server}); got != want {
				t.Errorf("%.64q: %.64q", server, got)
			}
		}
	}
}
